//! A server in a process of its own, and the smallest client: HTTP without TLS, one connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fluvial_apiserver::api::Features;
use fluvial_apiserver::{ApiServer, Config, StaticTokens};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

/// Says to the test program that it is to be a server, and where its data is.
const ROLE: &str = "FLUVIAL_TEST_SERVER_DATA";
const TOKENS: &str = "admin-token,admin,admin-uid,system:masters\n";

/// Not a test: the server's process, in which this program runs nothing else.
#[test]
#[ignore = "the server that other tests start"]
fn the_server_process() {
    let Ok(data) = std::env::var(ROLE) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = ApiServer::new(Config {
            data: Some(data.into()),
            tokens: StaticTokens::parse(TOKENS).unwrap(),
            features: Features {
                controllers: true,
                workloads: false,
            },
            ..Config::default()
        })
        .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("\nport {}", listener.local_addr().unwrap().port());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let service = TowerToHyperService::new(server.service());
            tokio::spawn(async move {
                auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await
            });
        }
    });
}

/// A server's process; it ends with the value.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start(data: &Path) -> Server {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "plain::the_server_process", "--ignored", "--nocapture"])
            .env(ROLE, data)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines
            .find_map(|line| line.ok()?.strip_prefix("port ")?.parse().ok())
            .expect("the server says its port");
        Server { child, port }
    }

    /// Ends the process as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// One connection; None of its answers is waited for longer than a few seconds.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(port: u16) -> std::io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Client {
            stream: BufReader::new(stream),
        })
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Sends a request; the status and the whole body come back.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, Vec<u8>)> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin-token\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        let status = status
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        let (mut length, mut chunked) = (0_usize, false);
        loop {
            let line = self.line()?.to_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            chunked |= line == "transfer-encoding: chunked";
        }
        if !chunked {
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body)?;
            return Ok((status, body));
        }
        let mut body = vec![];
        loop {
            let size = usize::from_str_radix(&self.line()?, 16).unwrap_or(0);
            let mut piece = vec![0; size];
            self.stream.read_exact(&mut piece)?;
            body.extend(piece);
            self.line()?;
            if size == 0 {
                return Ok((status, body));
            }
        }
    }

    /// The same with the answer as JSON.
    pub(crate) fn json(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, Value)> {
        let (status, body) = self.send(method, path, body)?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}
