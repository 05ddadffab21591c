//! Repositories behind ssh: a server in process that runs Git, and a real sshd where there is one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fluvial_source::SourceError;
use fluvial_source::git::{Credentials, Fetched, GitReference, GitRequest};
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session};
use russh::{Channel, ChannelId, ChannelMsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{TestRepo, changed, git_is_missing, source, text};

/// Whether keys can be made; says so if not.
fn keygen_is_missing() -> bool {
    let missing = Command::new("ssh-keygen").arg("-?").output().is_err();
    if missing {
        println!("skipped: there is no ssh-keygen");
    }
    missing
}

/// A key pair's private file, made as people make it.
fn keygen(folder: &Path, name: &str, args: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let output = Command::new("ssh-keygen")
        .args(["-q", "-C", "test", "-f"])
        .arg(&path)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    path
}

fn public(path: &Path) -> String {
    std::fs::read_to_string(path.with_extension("pub")).unwrap()
}

/// What the server lets in, and where its repositories are.
#[derive(Clone)]
struct Rules {
    root: PathBuf,
    keys: Vec<PublicKey>,
    seen: Arc<Mutex<Vec<String>>>,
    old: bool,
}

struct Server {
    port: u16,
    host_key: PublicKey,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(root: &Path, host_key: &Path, keys: &[&Path], old: bool) -> Self {
        let host = russh::keys::load_secret_key(host_key, None).unwrap();
        let seen = Arc::default();
        let rules = Rules {
            root: root.to_owned(),
            keys: keys
                .iter()
                .map(|path| PublicKey::from_openssh(public(path).trim()).unwrap())
                .collect(),
            seen: Arc::clone(&seen),
            old,
        };
        Server {
            host_key: host.public_key().clone(),
            port: serve(host, rules).await,
            seen,
        }
    }

    fn known_hosts(&self) -> String {
        format!(
            "[127.0.0.1]:{} {}\n",
            self.port,
            self.host_key.to_openssh().unwrap()
        )
    }

    fn url(&self, repo: &TestRepo) -> String {
        format!("ssh://git@127.0.0.1:{}{}", self.port, repo.path().display())
    }
}

async fn serve(host: PrivateKey, rules: Rules) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(Config {
        keys: vec![host],
        auth_rejection_time: Duration::ZERO,
        ..Config::default()
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (config, connection) = (
                Arc::clone(&config),
                Connection {
                    rules: rules.clone(),
                    version: None,
                    channels: BTreeMap::new(),
                },
            );
            tokio::spawn(async move {
                if let Ok(session) = russh::server::run_stream(config, stream, connection).await {
                    let _ = session.await;
                }
            });
        }
    });
    port
}

struct Connection {
    rules: Rules,
    version: Option<String>,
    channels: BTreeMap<ChannelId, Channel<Msg>>,
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: russh::server::VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        let known = user == "git"
            && self
                .rules
                .keys
                .iter()
                .any(|known| known.key_data() == key.public_key.key_data());
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn env_request(
        &mut self,
        _channel: ChannelId,
        name: &str,
        value: &str,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        if name == "GIT_PROTOCOL" && !self.rules.old {
            self.version = Some(value.to_owned());
        }
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let command = String::from_utf8_lossy(data).into_owned();
        self.rules.seen.lock().unwrap().push(command.clone());
        session.channel_success(id)?;
        let channel = self.channels.remove(&id).unwrap();
        let (root, version) = (self.rules.root.clone(), self.version.clone());
        tokio::spawn(run(channel, command, root, version));
        Ok(())
    }
}

/// Runs what the client wants with the channel as its streams.
async fn run(channel: Channel<Msg>, command: String, root: PathBuf, version: Option<String>) {
    let mut process = tokio::process::Command::new("sh");
    process
        .arg("-c")
        .arg(&command)
        .current_dir(root)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(version) = version {
        process.env("GIT_PROTOCOL", version);
    }
    let mut child = process.spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take(), child.stdout.take().unwrap());
    let mut errors = child.stderr.take().unwrap();
    let (mut read, write) = channel.split();
    tokio::spawn(async move {
        while let Some(message) = read.wait().await {
            match (message, &mut input) {
                (ChannelMsg::Data { data }, Some(input)) => {
                    let _ = input.write_all(&data).await;
                }
                (ChannelMsg::Eof | ChannelMsg::Close, _) => input = None,
                _ => {}
            }
        }
    });
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let count = output.read(&mut buffer).await.unwrap();
        if count == 0 {
            break;
        }
        if write.data_bytes(buffer[..count].to_vec()).await.is_err() {
            return;
        }
    }
    let mut text = Vec::new();
    errors.read_to_end(&mut text).await.unwrap();
    if !text.is_empty() {
        let _ = write.extended_data_bytes(1, text).await;
    }
    let status = child.wait().await.unwrap().code().unwrap_or(1);
    let _ = write.exit_status(status.unsigned_abs()).await;
    let _ = write.eof().await;
    let _ = write.close().await;
}

fn credentials(identity: &Path, passphrase: Option<&str>, known_hosts: &str) -> Credentials {
    let mut data = BTreeMap::from([
        ("identity".to_owned(), std::fs::read(identity).unwrap()),
        ("known_hosts".to_owned(), known_hosts.as_bytes().to_vec()),
    ]);
    if let Some(passphrase) = passphrase {
        data.insert("password".to_owned(), passphrase.as_bytes().to_vec());
    }
    Credentials::from_secret(&data).unwrap()
}

fn request(url: String, credentials: Credentials) -> GitRequest {
    GitRequest {
        url,
        reference: GitReference::branch("main"),
        credentials,
        timeout: Some(Duration::from_secs(20)),
        ..GitRequest::default()
    }
}

async fn refused(request: &GitRequest) -> SourceError {
    let cache = tempfile::tempdir().unwrap();
    source(&cache).fetch(request).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_key_signs_in() {
    if git_is_missing() || keygen_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    let commit = repo.commit(&[("a", "1")], "first");
    let keys = tempfile::tempdir().unwrap();
    let folder = keys.path();
    let host = keygen(folder, "host", &["-t", "ed25519", "-N", ""]);
    let made = [
        (keygen(folder, "ed", &["-t", "ed25519", "-N", ""]), None),
        (
            keygen(folder, "ec", &["-t", "ecdsa", "-b", "384", "-N", ""]),
            None,
        ),
        (
            keygen(folder, "rsa", &["-t", "rsa", "-b", "2048", "-N", ""]),
            None,
        ),
        (
            keygen(folder, "pem", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""]),
            None,
        ),
        (
            keygen(folder, "locked", &["-t", "ed25519", "-N", "secret"]),
            Some("secret"),
        ),
        (
            keygen(
                folder,
                "lockedpem",
                &["-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "secret"],
            ),
            Some("secret"),
        ),
        (
            keygen(
                folder,
                "oldpem",
                &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "secret"],
            ),
            Some("secret"),
        ),
    ];
    let paths: Vec<&Path> = made.iter().map(|(path, _)| path.as_path()).collect();
    let server = Server::start(repo.root(), &host, &paths, false).await;
    for (path, passphrase) in &made {
        let cache = tempfile::tempdir().unwrap();
        let request = request(
            server.url(&repo),
            credentials(path, *passphrase, &server.known_hosts()),
        );
        let revision = changed(
            source(&cache)
                .fetch(&request)
                .await
                .unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        );
        assert_eq!(
            revision.revision,
            format!("main@sha1:{commit}"),
            "{}",
            path.display()
        );
        assert_eq!(text(&revision.tree, "a"), "1");
    }
    let locked = credentials(&made[4].0, None, &server.known_hosts());
    let error = refused(&request(server.url(&repo), locked)).await;
    assert_eq!(error.reason, "AuthenticationFailed");
    assert!(error.message.contains("encrypted"), "{error}");
    let wrong = credentials(&made[4].0, Some("wrong"), &server.known_hosts());
    let error = refused(&request(server.url(&repo), wrong)).await;
    assert!(error.message.contains("passphrase"), "{error}");
}

/// A real sshd that runs until this is dropped.
struct Sshd(std::process::Child, u16);

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Sshd {
    /// None if there is no sshd; says so.
    async fn start(folder: &Path, host: &Path, key: &Path) -> Option<Self> {
        // sshd starts itself again for each connection and wants to know where it is.
        let program = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd"]
            .iter()
            .map(Path::new)
            .find(|path| path.is_file());
        let Some(program) = program else {
            println!("skipped: there is no sshd");
            return None;
        };
        let authorized = folder.join("authorized_keys");
        std::fs::write(&authorized, public(key)).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Command::new(program)
            .args(["-D", "-e", "-f", "/dev/null", "-p", &port.to_string()])
            .arg("-h")
            .arg(host)
            .args([
                "-o",
                "ListenAddress=127.0.0.1",
                "-o",
                "StrictModes=no",
                "-o",
                "PidFile=none",
            ])
            .args(["-o", "PermitRootLogin=yes", "-o", "AcceptEnv=GIT_PROTOCOL"])
            .arg("-o")
            .arg(format!("AuthorizedKeysFile={}", authorized.display()))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Sshd(child, port);
        for _ in 0..100 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Some(server);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("skipped: sshd does not start here");
        None
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_sshd_lets_in_keys_of_every_kind() {
    if git_is_missing() || keygen_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    repo.commit(&[("a", "1")], "first");
    let keys = tempfile::tempdir().unwrap();
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let user = String::from_utf8(user).unwrap();
    for (host, key) in [("ed25519", "rsa"), ("rsa", "ecdsa"), ("ecdsa", "ed25519")] {
        let folder = keys.path().join(host);
        std::fs::create_dir(&folder).unwrap();
        let host = keygen(&folder, "host", &["-t", host, "-N", ""]);
        let key = keygen(&folder, "key", &["-t", key, "-N", ""]);
        let Some(server) = Sshd::start(&folder, &host, &key).await else {
            return;
        };
        let known = format!("[127.0.0.1]:{} {}", server.1, public(&host));
        let url = format!(
            "ssh://{}@127.0.0.1:{}{}",
            user.trim(),
            server.1,
            repo.path().display()
        );
        let request = request(url, credentials(&key, None, &known));
        let cache = tempfile::tempdir().unwrap();
        let revision = changed(source(&cache).fetch(&request).await.unwrap());
        assert_eq!(text(&revision.tree, "a"), "1");
        let other = keygen(&folder, "other", &["-t", "ed25519", "-N", ""]);
        let error = refused(&GitRequest {
            credentials: credentials(&other, None, &known),
            ..request
        })
        .await;
        assert!(error.message.contains("refused the key"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_fetched_bit_by_bit_and_every_reference_is_found() {
    if git_is_missing() || keygen_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    let first = repo.commit(&[("a", "1")], "first");
    repo.git(&["tag", "-a", "v1.0.0", "-m", "one"]);
    let keys = tempfile::tempdir().unwrap();
    let host = keygen(keys.path(), "host", &["-t", "ecdsa", "-b", "256", "-N", ""]);
    let key = keygen(keys.path(), "key", &["-t", "ed25519", "-N", ""]);
    for old in [false, true] {
        let server = Server::start(repo.root(), &host, &[&key], old).await;
        let cache = tempfile::tempdir().unwrap();
        let source = source(&cache);
        let mut request = request(server.url(&repo), credentials(&key, None, &server.known_hosts()));
        let revision = changed(source.fetch(&request).await.unwrap());
        request.last_revision = Some(revision.revision);
        assert!(matches!(
            source.fetch(&request).await.unwrap(),
            Fetched::Unchanged
        ));
        let next = repo.commit(&[("a", "2")], "next");
        let revision = changed(source.fetch(&request).await.unwrap());
        assert_eq!(revision.revision, format!("main@sha1:{next}"));
        for reference in [
            GitReference {
                semver: Some(">=1".into()),
                ..GitReference::default()
            },
            GitReference {
                commit: Some(first.clone()),
                ..GitReference::default()
            },
        ] {
            request.reference = reference;
            let revision = changed(source.fetch(&request).await.unwrap());
            assert_eq!(revision.commit.id, first);
            assert_eq!(text(&revision.tree, "a"), "1");
        }
        request.reference = GitReference::branch("mian");
        let error = source.fetch(&request).await.unwrap_err();
        assert!(error.message.contains("'main'"), "{error}");
        assert!(server.seen.lock().unwrap()[0].starts_with("git-upload-pack '/"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_hosts_keys_and_repositories_are_told_apart() {
    if git_is_missing() || keygen_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    repo.commit(&[("a", "1")], "first");
    let keys = tempfile::tempdir().unwrap();
    let host = keygen(keys.path(), "host", &["-t", "ed25519", "-N", ""]);
    let other = keygen(keys.path(), "other", &["-t", "ed25519", "-N", ""]);
    let rsa = keygen(keys.path(), "rsa", &["-t", "rsa", "-b", "2048", "-N", ""]);
    let key = keygen(keys.path(), "key", &["-t", "ed25519", "-N", ""]);
    let server = Server::start(repo.root(), &host, &[&key], false).await;
    let url = server.url(&repo);
    let line = |key: &Path| format!("[127.0.0.1]:{} {}", server.port, public(key));

    let error = refused(&request(url.clone(), credentials(&key, None, &line(&other)))).await;
    assert_eq!(error.reason, "AuthenticationFailed");
    assert!(error.message.contains("is not the known one"), "{error}");
    let error = refused(&request(url.clone(), credentials(&key, None, &line(&rsa)))).await;
    assert!(error.message.contains("add its key"), "{error}");
    let unknown = format!("example.com {}", public(&host));
    let error = refused(&request(url.clone(), credentials(&key, None, &unknown))).await;
    assert!(error.message.contains("is unknown"), "{error}");
    let revoked = format!("{}@revoked * {}", line(&host), public(&host));
    let error = refused(&request(url.clone(), credentials(&key, None, &revoked))).await;
    assert!(error.message.contains("revoked"), "{error}");

    let error = refused(&request(
        url.clone(),
        credentials(&other, None, &server.known_hosts()),
    ))
    .await;
    assert_eq!(error.reason, "AuthenticationFailed");
    assert!(error.message.contains("refused the key SHA256:"), "{error}");
    let error = refused(&request(url.clone(), Credentials::default())).await;
    assert!(error.message.contains("needs a key"), "{error}");

    let good = credentials(&key, None, &server.known_hosts());
    let error = refused(&request(format!("{url}-gone"), good.clone())).await;
    assert_eq!(error.reason, "GitOperationFailed");
    assert!(error.message.contains("check spec.url"), "{error}");
    let dead = "ssh://git@127.0.0.1:1/x".to_owned();
    let error = refused(&request(dead, good.clone())).await;
    assert!(error.message.contains("check host and port"), "{error}");

    // A server that says nothing is waited for no longer than the request allows.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut slow = request(format!("ssh://git@{}/x", silent.local_addr().unwrap()), good);
    slow.timeout = Some(Duration::from_millis(300));
    let error = refused(&slow).await;
    assert!(error.message.contains("spec.timeout"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hashed_hosts_and_proxies_work() {
    if git_is_missing() || keygen_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    repo.commit(&[("a", "1")], "first");
    let keys = tempfile::tempdir().unwrap();
    let host = keygen(keys.path(), "host", &["-t", "ed25519", "-N", ""]);
    let key = keygen(keys.path(), "key", &["-t", "ed25519", "-N", ""]);
    let server = Server::start(repo.root(), &host, &[&key], false).await;
    let file = keys.path().join("known_hosts");
    std::fs::write(&file, server.known_hosts()).unwrap();
    let hashed = Command::new("ssh-keygen")
        .arg("-H")
        .arg("-f")
        .arg(&file)
        .output()
        .unwrap();
    assert!(hashed.status.success());
    let hosts = std::fs::read_to_string(&file).unwrap();
    assert!(hosts.starts_with("|1|"), "{hosts}");
    for scheme in ["", "http", "socks5"] {
        let mut credentials = credentials(&key, None, &hosts);
        if !scheme.is_empty() {
            let port = proxy(scheme == "socks5").await;
            let data = BTreeMap::from([
                (
                    "address".to_owned(),
                    format!("{scheme}://127.0.0.1:{port}").into_bytes(),
                ),
                ("username".to_owned(), b"u".to_vec()),
                ("password".to_owned(), b"p".to_vec()),
            ]);
            credentials = credentials.with_proxy(&data).unwrap();
        }
        let cache = tempfile::tempdir().unwrap();
        let fetched = source(&cache)
            .fetch(&request(server.url(&repo), credentials))
            .await;
        assert_eq!(text(&changed(fetched.unwrap()).tree, "a"), "1", "{scheme}");
    }
}

/// A proxy that wants user `u` and password `p`.
async fn proxy(socks: bool) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let target = if socks {
                    let mut start = [0; 3];
                    client.read_exact(&mut start).await.unwrap();
                    assert_eq!(start, [5, 1, 2]);
                    client.write_all(&[5, 2]).await.unwrap();
                    let mut login = [0; 5];
                    client.read_exact(&mut login).await.unwrap();
                    assert_eq!(&login, b"\x01\x01u\x01p");
                    client.write_all(&[1, 0]).await.unwrap();
                    let mut head = [0; 5];
                    client.read_exact(&mut head).await.unwrap();
                    let mut name = vec![0; usize::from(head[4]) + 2];
                    client.read_exact(&mut name).await.unwrap();
                    let port = u16::from_be_bytes([name[name.len() - 2], name[name.len() - 1]]);
                    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
                    format!("{}:{port}", String::from_utf8_lossy(&name[..name.len() - 2]))
                } else {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        request.push(client.read_u8().await.unwrap());
                    }
                    let request = String::from_utf8(request).unwrap();
                    assert!(
                        request.contains("Proxy-Authorization: Basic dTpw\r\n"),
                        "{request}"
                    );
                    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    request.split(' ').nth(1).unwrap().to_owned()
                };
                let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn the_key_that_a_server_shows_is_told_as_known_hosts_has_it() {
    if keygen_is_missing() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let host = keygen(folder.path(), kind, &["-t", kind, "-N", ""]);
        let server = Server::start(folder.path(), &host, &[], false).await;
        let url = format!("ssh://git@127.0.0.1:{}/repo", server.port);
        let told = fluvial_source::git::deploy::host_key(&url).await.unwrap();
        // The comment of the key is not shown.
        assert!(server.known_hosts().starts_with(told.trim_end()), "{told}");
    }
    let error = fluvial_source::git::deploy::host_key("ssh://git@127.0.0.1:1/repo").await;
    assert!(error.unwrap_err().to_string().contains("127.0.0.1:1"));
}
