//! Ways to an ssh server: directly, through an HTTP proxy's CONNECT, or through SOCKS5.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Stream;
use crate::credentials::{Proxy, Secret};
use crate::error::{SourceError, reason};
use crate::git::url::redact;

/// Longest answer of a proxy.
const MAX_ANSWER: usize = 8192;

/// A connection to `host:port`.
pub(super) async fn open(
    host: &str,
    port: u16,
    proxy: Option<&Proxy>,
) -> Result<Box<dyn Stream>, SourceError> {
    let Some(proxy) = proxy else {
        return TcpStream::connect((host, port))
            .await
            .map(|stream| Box::new(stream) as Box<dyn Stream>)
            .map_err(|error| {
                SourceError::retry(
                    reason::GIT_OPERATION_FAILED,
                    format!("cannot connect to '{host}:{port}': {error}; check host and port in spec.url"),
                )
            });
    };
    let shown = redact(&proxy.address);
    let invalid = |what: String| {
        SourceError::retry(
            reason::PROXY_INVALID,
            format!("proxy '{shown}' of spec.proxySecretRef: {what}"),
        )
    };
    let url = Url::parse(&proxy.address).map_err(|error| invalid(error.to_string()))?;
    let socks = match url.scheme() {
        "http" => false,
        "socks5" | "socks5h" => true,
        other => {
            return Err(invalid(format!(
                "scheme '{other}' is not one of http, socks5 for a repository on ssh"
            )));
        }
    };
    let address = (
        url.host_str().unwrap_or_default().trim_matches(['[', ']']),
        url.port_or_known_default().unwrap_or(1080),
    );
    let mut stream = TcpStream::connect(address)
        .await
        .map_err(|error| invalid(format!("cannot connect: {error}; check its address")))?;
    let done = if socks {
        socks5(&mut stream, host, port, proxy).await
    } else {
        tunnel(&mut stream, host, port, proxy).await
    };
    done.map_err(invalid)?;
    Ok(Box::new(stream))
}

#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn broken(error: std::io::Error) -> String {
    format!("the connection broke off: {error}")
}

fn login(proxy: &Proxy) -> Option<(String, String)> {
    let password = proxy.password.as_ref().map(Secret::expose_text);
    Some((proxy.username.clone()?, password.unwrap_or_default()))
}

/// HTTP's CONNECT.
async fn tunnel(stream: &mut TcpStream, host: &str, port: u16, proxy: &Proxy) -> Result<(), String> {
    let target = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some((user, password)) = login(proxy) {
        let login = STANDARD.encode(format!("{user}:{password}"));
        request.push_str(&format!("Proxy-Authorization: Basic {login}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    // Byte by byte: what follows the answer belongs to ssh.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MAX_ANSWER {
            return Err("its answer is too long; is it an HTTP proxy?".to_owned());
        }
        answer.push(stream.read_u8().await.map_err(broken)?);
    }
    let answer = String::from_utf8_lossy(&answer);
    match answer.split_ascii_whitespace().nth(1) {
        Some(status) if status.starts_with('2') => Ok(()),
        Some("407") => Err("it wants other credentials (407); check username and password".to_owned()),
        Some(status) => Err(format!(
            "it does not connect to '{target}' (status {status}); allow that there"
        )),
        None => Err("its answer is not HTTP".to_owned()),
    }
}

/// SOCKS version 5, with names resolved by the proxy.
async fn socks5(stream: &mut TcpStream, host: &str, port: u16, proxy: &Proxy) -> Result<(), String> {
    let login = login(proxy);
    let method = if login.is_some() { 2 } else { 0 };
    stream.write_all(&[5, 1, method]).await.map_err(broken)?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await.map_err(broken)?;
    if chosen != [5, method] {
        return Err("it wants another way of signing in; check username and password".to_owned());
    }
    if let Some((user, password)) = login {
        let length = |text: &str| {
            u8::try_from(text.len()).map_err(|_| "username or password is longer than 255".to_owned())
        };
        let mut request = vec![1, length(&user)?];
        request.extend_from_slice(user.as_bytes());
        request.push(length(&password)?);
        request.extend_from_slice(password.as_bytes());
        stream.write_all(&request).await.map_err(broken)?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await.map_err(broken)?;
        if answer[1] != 0 {
            return Err("it refuses the credentials; check username and password".to_owned());
        }
    }
    let name = u8::try_from(host.len()).map_err(|_| "the host name is longer than 255".to_owned())?;
    let mut request = vec![5, 1, 0, 3, name];
    request.extend_from_slice(host.as_bytes());
    request.extend_from_slice(&port.to_be_bytes());
    stream.write_all(&request).await.map_err(broken)?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(broken)?;
    if head[1] != 0 {
        return Err(format!(
            "it does not connect to '{host}:{port}' (SOCKS error {})",
            head[1]
        ));
    }
    let rest = match head[3] {
        1 => 4,
        3 => usize::from(stream.read_u8().await.map_err(broken)?),
        4 => 16,
        _ => return Err("its answer is not SOCKS".to_owned()),
    };
    let mut rest = vec![0; rest + 2];
    stream.read_exact(&mut rest).await.map_err(broken)?;
    Ok(())
}
