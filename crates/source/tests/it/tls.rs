//! Repositories behind https: private authorities, client certificates, proxies, and GitHub Apps.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use fluvial_source::SourceError;
use fluvial_source::credentials::GitHubApp;
use fluvial_source::git::{Credentials, GitReference, GitRequest};
use fluvial_source::http::{HttpClients, HttpSettings};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::support::{Server, TestRepo, backend_is_missing, changed, source, text};

/// A certificate authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// Certificate and key, PEM.
    fn certify(&self, name: &str, client: bool) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if client {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// What a server of 127.0.0.1 does, for clients of an authority if one is given.
    fn server(&self, clients: Option<&Authority>) -> TlsAcceptor {
        let (certificate, key) = self.certify("127.0.0.1", false);
        let builder = match clients {
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots
                    .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap())
                    .unwrap();
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
                ServerConfig::builder().with_client_cert_verifier(verifier)
            }
            None => ServerConfig::builder().with_no_client_auth(),
        };
        let config = builder
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

struct TlsListener(TcpListener, TlsAcceptor);

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, from) = self.0.accept().await.unwrap();
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

async fn serve(repo: &TestRepo, acceptor: TlsAcceptor) -> (Server, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Server::on(repo.root(), TlsListener(listener, acceptor), port);
    let url = server.url(repo).replace("http:", "https:");
    (server, url)
}

fn secret(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
        .collect()
}

async fn fetch(url: &str, credentials: Credentials) -> Result<String, SourceError> {
    let cache = tempfile::tempdir().unwrap();
    let request = GitRequest {
        url: url.to_owned(),
        reference: GitReference::branch("main"),
        credentials,
        timeout: Some(Duration::from_secs(20)),
        ..GitRequest::default()
    };
    let revision = changed(source(&cache).fetch(&request).await?);
    Ok(text(&revision.tree, "a"))
}

fn of(pairs: &[(&str, &str)]) -> Credentials {
    Credentials::from_secret(&secret(pairs)).unwrap()
}

#[tokio::test]
async fn a_private_authority_must_be_named() {
    if backend_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    repo.commit(&[("a", "1")], "first");
    let (authority, other) = (Authority::new(), Authority::new());
    let (_server, url) = serve(&repo, authority.server(None)).await;
    assert_eq!(fetch(&url, of(&[("ca.crt", &authority.pem)])).await.unwrap(), "1");
    assert_eq!(fetch(&url, of(&[("caFile", &authority.pem)])).await.unwrap(), "1");
    let error = fetch(&url, Credentials::default()).await.unwrap_err();
    assert!(error.message.contains("ca.crt"), "{error}");
    let error = fetch(&url, of(&[("ca.crt", &other.pem)])).await.unwrap_err();
    assert!(error.message.contains("does not fit the CA"), "{error}");
    let error = fetch(&url, of(&[("ca.crt", "nonsense")])).await.unwrap_err();
    assert!(error.message.contains("holds no PEM certificate"), "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_its_server_only() {
    if backend_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    repo.commit(&[("a", "1")], "first");
    let (authority, clients) = (Authority::new(), Authority::new());
    let (server, url) = serve(&repo, authority.server(Some(&clients))).await;
    let (certificate, key) = clients.certify("me", true);
    let all = [
        ("ca.crt", authority.pem.as_str()),
        ("tls.crt", certificate.as_str()),
        ("tls.key", key.as_str()),
    ];
    assert_eq!(fetch(&url, of(&all)).await.unwrap(), "1");
    // The server's refusal and its hanging up race: what is heard first is told.
    let mut told = vec![];
    for _ in 0..20 {
        let error = fetch(&url, of(&all[..1])).await.unwrap_err();
        told.push(error.message);
        if told.last().is_some_and(|text| text.contains("tls.crt")) {
            break;
        }
    }
    assert!(told.iter().any(|text| text.contains("tls.crt")), "{told:?}");
    let (wrong, wrong_key) = authority.certify("me", true);
    let error = fetch(
        &url,
        of(&[
            all[0],
            ("tls.crt", wrong.as_str()),
            ("tls.key", wrong_key.as_str()),
        ]),
    )
    .await
    .unwrap_err();
    assert_eq!(error.reason, "GitOperationFailed");
    let error = fetch(&url, of(&[("tls.crt", "x"), ("tls.key", "y")]))
        .await
        .unwrap_err();
    assert!(error.message.contains("client certificate"), "{error}");

    // A redirect to another server that wants one, too, gets none.
    let (_second, target) = serve(&repo, authority.server(Some(&clients))).await;
    server.behaviour.lock().unwrap().redirect = Some(("/repo".into(), target));
    assert!(fetch(&url, of(&all)).await.is_err());
}

#[tokio::test]
async fn a_proxy_is_used_and_its_refusal_told() {
    if backend_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    repo.commit(&[("a", "1")], "first");
    let authority = Authority::new();
    let (_server, url) = serve(&repo, authority.server(None)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let used = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&used);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(client.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            // user u, password p
            if !request.to_lowercase().contains("proxy-authorization: basic dtpw") {
                client
                    .write_all(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
                    .await
                    .unwrap();
                continue;
            }
            *counter.lock().unwrap() += 1;
            let target = request.split(' ').nth(1).unwrap().to_owned();
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let with = |password: &str| {
        of(&[("ca.crt", &authority.pem)])
            .with_proxy(&secret(&[
                ("address", &address),
                ("username", "u"),
                ("password", password),
            ]))
            .unwrap()
    };
    assert_eq!(fetch(&url, with("p")).await.unwrap(), "1");
    assert!(*used.lock().unwrap() > 0);
    let error = fetch(&url, with("wrong-one")).await.unwrap_err();
    assert!(
        error.message.contains("proxy") && !error.message.contains("wrong-one"),
        "{error}"
    );
    let broken = Credentials::default()
        .with_proxy(&secret(&[("address", "no url")]))
        .unwrap();
    let error = fetch(&url, broken).await.unwrap_err();
    assert_eq!(error.reason, "InvalidProxyConfiguration");
}

/// An RSA key for tests, made here.
fn rsa_key() -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f"])
        .arg(&path)
        .output();
    match made {
        Ok(output) if output.status.success() => Some(std::fs::read_to_string(path).unwrap()),
        _ => {
            println!("skipped: there is no ssh-keygen");
            None
        }
    }
}

type Seen = Arc<Mutex<Vec<String>>>;

async fn github(
    State(seen): State<Seen>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> (StatusCode, String) {
    let token = headers["authorization"].to_str().unwrap();
    assert!(token.starts_with("Bearer ") && token.split('.').count() == 3);
    seen.lock().unwrap().push(format!("{method} {}", uri.path()));
    match uri.path() {
        "/api/v3/users/me/installation" => (StatusCode::OK, r#"{"id": 7}"#.to_owned()),
        "/api/v3/app/installations/7/access_tokens" => (
            StatusCode::CREATED,
            r#"{"token": "ghs_secret", "expires_at": "2999-01-01T00:00:00Z"}"#.to_owned(),
        ),
        "/api/v3/app/installations/8/access_tokens" => (StatusCode::UNAUTHORIZED, "{}".to_owned()),
        _ => (StatusCode::NOT_FOUND, "{}".to_owned()),
    }
}

#[tokio::test]
async fn a_github_app_gets_a_token_for_its_installation() {
    let Some(key) = rsa_key() else {
        return;
    };
    let seen = Seen::default();
    let router = Router::new().fallback(github).with_state(Arc::clone(&seen));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v3/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let app = |name: &str, value: &str| {
        GitHubApp::from_secret(&secret(&[
            ("githubAppID", "5"),
            (name, value),
            ("githubAppPrivateKey", &key),
            ("githubAppBaseURL", &url),
        ]))
        .unwrap()
    };
    let ask = async |app: GitHubApp| {
        let deadline = Instant::now() + Duration::from_secs(10);
        app.token(&HttpClients::default(), &HttpSettings::default(), deadline)
            .await
    };
    let token = ask(app("githubAppInstallationOwner", "me")).await.unwrap();
    assert_eq!(token.value.username, "x-access-token");
    assert_eq!(token.value.password.expose(), b"ghs_secret");
    assert!(token.lifetime > Duration::from_secs(3600));
    assert_eq!(
        *seen.lock().unwrap(),
        [
            "GET /api/v3/orgs/me/installation",
            "GET /api/v3/users/me/installation",
            "POST /api/v3/app/installations/7/access_tokens"
        ]
    );
    let error = ask(app("githubAppInstallationID", "8")).await.unwrap_err();
    assert_eq!(error.reason, "AuthenticationFailed");
    assert!(error.message.contains("githubAppPrivateKey"), "{error}");
    let error = ask(app("githubAppInstallationID", "9")).await.unwrap_err();
    assert!(error.message.contains("installed there"), "{error}");
}
