//! Git over ssh in process: sign in with the key of the Secret, run `git-upload-pack` on the server, and hand its
//! streams to gix. The server's key must be one of `known_hosts`; there is no way around that.

pub mod deploy;
mod proxy;

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::blocking_io::Transport;
use gix::protocol::transport::client::git::ConnectMode;
use gix::protocol::transport::client::git::blocking_io::Connection;
use reqwest::Url;
use russh::client::{self, Handle};
use russh::keys::{
    Algorithm, EcdsaCurve, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate,
};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect, Preferred};
use tokio::io::{AsyncRead, AsyncWrite};

use super::url::{percent_decode, redact};
use super::wire::{Failure, Wire};
use crate::credentials::{HostKeyCheck, HostKeys, Proxy, SshIdentity};
use crate::error::{SourceError, reason};

/// The user of a URL without one.
const DEFAULT_USER: &str = "git";
/// The port of a URL without one.
const DEFAULT_PORT: u16 = 22;
/// Most that is kept of what the server's program says on its error output.
const MAX_STDERR: usize = 4096;
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Kinds of host keys that are asked for, strongest first.
const KEY_KINDS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

/// A connection to a stream of any kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Where an ssh URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    user: String,
    host: String,
    port: u16,
    path: String,
}

impl Place {
    /// Reads `ssh://user@host:port/path`; `/~user/path` is relative to that user's home, as Git has it.
    pub(crate) fn parse(url: &str) -> Result<Self, SourceError> {
        let invalid = |what: String| {
            SourceError::stalled(
                reason::URL_INVALID,
                format!("invalid Git URL '{}': {what}", redact(url)),
            )
        };
        let parsed = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
        let host = parsed
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| invalid("it names no host".to_owned()))?;
        let path = percent_decode(parsed.path());
        if path.trim_matches('/').is_empty() {
            return Err(invalid("it names no repository".to_owned()));
        }
        if path.contains(['\0', '\n']) {
            return Err(invalid("the path holds a line break or NUL".to_owned()));
        }
        Ok(Place {
            user: match parsed.username() {
                "" => DEFAULT_USER.to_owned(),
                user => percent_decode(user),
            },
            host: host.trim_matches(['[', ']']).to_owned(),
            port: parsed.port().unwrap_or(DEFAULT_PORT),
            path: match path.strip_prefix('/') {
                Some(home) if home.starts_with('~') => home.to_owned(),
                _ => path,
            },
        })
    }

    /// What the server's shell is given.
    fn command(&self) -> String {
        let quoted = self.path.replace('\'', r"'\''").replace('!', r"'\!'");
        format!("git-upload-pack '{quoted}'")
    }
}

/// A connection, ready for Git's protocol.
pub(crate) fn connect(
    url: &str,
    identity: Option<&SshIdentity>,
    proxy: Option<&Proxy>,
    wire: Arc<Wire>,
) -> Result<Box<dyn Transport + Send>, SourceError> {
    let place = Place::parse(url)?;
    let shown = redact(url);
    let identity = identity.ok_or_else(|| {
        auth(format!(
            "'{shown}' needs a key; name a secret with identity and known_hosts in spec.secretRef"
        ))
    })?;
    let key = private_key(identity)?;
    let hosts = HostKeys::parse(&identity.known_hosts)?;
    let connecting = async {
        let verdict = Arc::new(Mutex::new(None));
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, proxy::open(&place.host, place.port, proxy))
            .await
            .unwrap_or_else(|_| {
                Err(unreachable(
                    &shown,
                    "nothing answered; check host and port in spec.url",
                ))
            })?;
        let guard = HostGuard {
            hosts,
            host: place.host.clone(),
            port: place.port,
            verdict: Arc::clone(&verdict),
        };
        let config = Arc::new(config(&guard));
        let connected = client::connect_stream(config, stream, guard).await;
        let verdict = verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut handle = match (connected, verdict) {
            (_, Some(error)) => return Err(error),
            (Ok(handle), None) => handle,
            (Err(error), None) => return Err(handshake_failure(&shown, &error)),
        };
        sign_in(&mut handle, &place, key, &shown).await?;
        let channel = open(&handle, &place).await.map_err(|error| {
            failed(format!(
                "'{shown}' does not run git-upload-pack for {}: {error}",
                place.user
            ))
        })?;
        Ok((handle, channel))
    };
    let (handle, (read, write)) = wire.wait(connecting).map_err(|_| {
        unreachable(
            &shown,
            "no answer in time; check the server, or raise spec.timeout",
        )
    })??;
    let path = place.path.clone();
    let reader = Reader {
        wire: Arc::clone(&wire),
        channel: read,
        handle: Some(handle),
        chunk: Bytes::new(),
        begun: false,
        stderr: Vec::new(),
        status: None,
    };
    let writer = Writer {
        wire,
        channel: write,
        pending: Vec::new(),
    };
    let mode = ConnectMode::Process;
    let connection = Connection::new(reader, writer, Protocol::V2, path, None::<(&str, _)>, mode, false);
    Ok(Box::new(connection.custom_url(Some(shown.into()))))
}

fn auth(message: String) -> SourceError {
    SourceError::retry(reason::AUTHENTICATION_FAILED, message)
}

fn failed(message: String) -> SourceError {
    SourceError::retry(reason::GIT_OPERATION_FAILED, message)
}

fn unreachable(shown: &str, what: &str) -> SourceError {
    failed(format!("cannot connect to '{shown}': {what}"))
}

fn handshake_failure(shown: &str, error: &russh::Error) -> SourceError {
    match error {
        russh::Error::NoCommonAlgo { kind, ours, theirs } => failed(format!(
            "cannot connect to '{shown}': no common {kind:?} algorithm (the server has {}, here are {}); if the host key \
             is of another kind than known_hosts has, add its key there",
            theirs.join(", "),
            ours.join(", ")
        )),
        error => unreachable(shown, &format!("{error}; check host and port in spec.url")),
    }
}

/// The key of a Secret, with its passphrase.
fn private_key(identity: &SshIdentity) -> Result<PrivateKey, SourceError> {
    let text = identity.identity.expose_text();
    let passphrase = identity
        .passphrase
        .as_ref()
        .map(crate::credentials::Secret::expose_text);
    russh::keys::decode_secret_key(&text, passphrase.as_deref()).map_err(|error| {
        let encrypted = text.contains("ENCRYPTED") || matches!(error, russh::keys::Error::KeyIsEncrypted);
        let advice = match (encrypted, &passphrase) {
            (true, None) => "it is encrypted; add its passphrase as 'password' to the secret",
            (_, Some(_)) => "check the passphrase, 'password' in the secret",
            (false, None) => "it must be a private key as ssh-keygen writes it (OpenSSH or PEM)",
        };
        // The error's text tells the kind of mistake, never the key.
        auth(format!(
            "'identity' of the secret cannot be used: {error}; {advice}"
        ))
    })
}

fn config(guard: &HostGuard) -> client::Config {
    let kinds = guard.hosts.kinds(&guard.host, guard.port);
    let known = |algorithm: &&Algorithm| match algorithm {
        Algorithm::Rsa { .. } => kinds.contains(&"ssh-rsa"),
        other => kinds.contains(&other.as_str()),
    };
    let mut keys: Vec<Algorithm> = KEY_KINDS.iter().filter(known).cloned().collect();
    if keys.is_empty() {
        // The host is not known: let it show its key, so that the message can name it.
        keys = KEY_KINDS.to_vec();
    }
    client::Config {
        preferred: Preferred {
            key: Cow::Owned(keys),
            ..Preferred::default()
        },
        nodelay: true,
        ..client::Config::default()
    }
}

/// Tries the key; an RSA key with the best hash that the server takes.
async fn sign_in(
    handle: &mut Handle<HostGuard>,
    place: &Place,
    key: PrivateKey,
    shown: &str,
) -> Result<(), SourceError> {
    let broken = |error: russh::Error| failed(format!("signing in to '{shown}' broke off: {error}"));
    let hash = if key.algorithm().is_rsa() {
        handle
            .best_supported_rsa_hash()
            .await
            .map_err(broken)?
            .unwrap_or(Some(HashAlg::Sha256))
    } else {
        None
    };
    let public = key.public_key().fingerprint(HashAlg::Sha256);
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
    let result = handle
        .authenticate_publickey(place.user.as_str(), key)
        .await
        .map_err(broken)?;
    if result.success() {
        return Ok(());
    }
    Err(auth(format!(
        "'{shown}' refused the key {public} for user '{}'; add its public half to the repository as a deploy key, or \
         correct user and 'identity'",
        place.user
    )))
}

/// Starts the program on the server.
async fn open(
    handle: &Handle<HostGuard>,
    place: &Place,
) -> Result<(ChannelReadHalf, ChannelWriteHalf<client::Msg>), russh::Error> {
    let channel = handle.channel_open_session().await?;
    // Servers that do not take it speak an older version, which is as well.
    channel.set_env(false, "GIT_PROTOCOL", "version=2").await?;
    channel.exec(true, place.command()).await?;
    Ok(channel.split())
}

/// Lets in the server whose key is known.
struct HostGuard {
    hosts: HostKeys,
    host: String,
    port: u16,
    verdict: Arc<Mutex<Option<SourceError>>>,
}

impl client::Handler for HostGuard {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let key = key.public_key();
        let bytes = key.to_bytes()?;
        let kind = match key.algorithm() {
            Algorithm::Rsa { .. } => "ssh-rsa".to_owned(),
            other => other.as_str().to_owned(),
        };
        let place = if self.port == DEFAULT_PORT {
            self.host.clone()
        } else {
            format!("[{}]:{}", self.host, self.port)
        };
        let print = key.fingerprint(HashAlg::Sha256);
        let message = match self.hosts.check(&self.host, self.port, &kind, &bytes) {
            HostKeyCheck::Known => return Ok(true),
            HostKeyCheck::Other(kinds) => format!(
                "host key of '{place}' is not the known one: it shows {kind} {print}, and known_hosts has another key \
                 ({}); if the server's key was changed on purpose, update known_hosts, else somebody is in between",
                kinds.join(", ")
            ),
            HostKeyCheck::Unknown => format!(
                "host key of '{place}' is unknown: it shows {kind} {print}, and known_hosts has no line for this host; \
                 compare the key with what the server's owner publishes and add it (ssh-keyscan)"
            ),
            HostKeyCheck::Revoked => {
                format!("host key {print} of '{place}' is revoked in known_hosts; get the server's new key")
            }
            HostKeyCheck::OnlyAuthority => format!(
                "known_hosts has only a certificate authority for '{place}', which is not supported; add the host key \
                 {kind} {print} itself after comparing it"
            ),
        };
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(auth(message));
        Ok(false)
    }
}

/// What the server's program writes.
struct Reader {
    wire: Arc<Wire>,
    channel: ChannelReadHalf,
    handle: Option<Handle<HostGuard>>,
    chunk: Bytes,
    begun: bool,
    stderr: Vec<u8>,
    status: Option<u32>,
}

impl Reader {
    /// The next data; empty at the end.
    fn next(&mut self) -> io::Result<Bytes> {
        loop {
            match self.wire.wait(self.channel.wait())? {
                Some(ChannelMsg::Data { data }) if !data.is_empty() => {
                    let first = !std::mem::replace(&mut self.begun, true);
                    self.wire.outcome.take(&data, first)?;
                    return Ok(data);
                }
                Some(ChannelMsg::ExtendedData { data, .. }) => {
                    let room = MAX_STDERR.saturating_sub(self.stderr.len());
                    self.stderr.extend_from_slice(&data[..data.len().min(room)]);
                }
                Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(exit_status),
                Some(ChannelMsg::Failure) => {
                    let what =
                        "it does not run git-upload-pack; check that the account may use Git".to_owned();
                    return Err(self.wire.outcome.fail(Failure::Remote(what)));
                }
                // The status comes after the end of the data, so only the channel's end is the end.
                Some(ChannelMsg::Close) | None => return self.end(),
                Some(_) => {}
            }
        }
    }

    fn end(&mut self) -> io::Result<Bytes> {
        let text = String::from_utf8_lossy(&self.stderr);
        let text: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let ended_badly = self.status.is_some_and(|status| status != 0) || !self.begun;
        if ended_badly {
            let text = if text.is_empty() {
                "the connection was closed without an answer".to_owned()
            } else {
                text.join(" ")
                    .chars()
                    .filter(|letter| !letter.is_control())
                    .collect()
            };
            return Err(self.wire.outcome.fail(Failure::Remote(text)));
        }
        Ok(Bytes::new())
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            self.chunk = self.next()?;
        }
        let count = buffer.len().min(self.chunk.len());
        buffer[..count].copy_from_slice(&self.chunk.split_to(count));
        Ok(count)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(handle) = self.handle.take() else {
            return;
        };
        // Nobody waits for the goodbye; with an own runtime the connection ends with it.
        if let super::wire::Driver::Shared(runtime) = &self.wire.driver {
            runtime.spawn(async move { handle.disconnect(Disconnect::ByApplication, "", "").await });
        }
    }
}

/// What the server's program reads; sent at each flush.
struct Writer {
    wire: Arc<Wire>,
    channel: ChannelWriteHalf<client::Msg>,
    pending: Vec<u8>,
}

impl Write for Writer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let data = std::mem::take(&mut self.pending);
        self.wire
            .wait(self.channel.data_bytes(data))?
            .map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_user_host_port_and_path() {
        let place = Place::parse("ssh://me@h.example:2222/srv/a%20b.git").unwrap();
        assert_eq!((place.user.as_str(), place.port), ("me", 2222));
        assert_eq!(place.command(), "git-upload-pack '/srv/a b.git'");
        let place = Place::parse("ssh://[::1]/~me/it's!").unwrap();
        assert_eq!(
            (place.user.as_str(), place.host.as_str(), place.port),
            ("git", "::1", 22)
        );
        assert_eq!(place.command(), r"git-upload-pack '~me/it'\''s'\!''");
        for wrong in ["ssh://h", "ssh://h/", "ssh:///x", "ssh://h/a%0ab"] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn unusable_keys_say_what_to_do() {
        let identity = |passphrase: Option<&str>| SshIdentity {
            identity: crate::credentials::Secret::new("-----BEGIN NONSENSE-----"),
            passphrase: passphrase.map(crate::credentials::Secret::new),
            known_hosts: String::new(),
        };
        let error = private_key(&identity(None)).unwrap_err();
        assert!(error.message.contains("as ssh-keygen writes it"), "{error}");
        let error = private_key(&identity(Some("x"))).unwrap_err();
        assert!(error.message.contains("passphrase"), "{error}");
    }
}
