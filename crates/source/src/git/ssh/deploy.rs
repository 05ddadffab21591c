//! What a Secret for Git over ssh is made of: a key, new or given, and the key that the server shows.

use std::sync::{Arc, Mutex, PoisonError};

use russh::client;
use russh::keys::key::safe_rng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{KeypairData, RsaKeypair};
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey, PublicKeyOrCertificate};

use super::{CONNECT_TIMEOUT, DEFAULT_PORT, KEY_KINDS, Place, unreachable};
use crate::error::SourceError;

/// Kinds of keys that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Ed25519.
    Ed25519,
    /// On a curve of NIST with so many bits: 256, 384 or 521.
    Ecdsa(u16),
    /// RSA with so many bits.
    Rsa(usize),
}

/// A key in OpenSSH's form.
#[derive(Clone)]
pub struct DeployKey {
    /// The private half, as a file holds it.
    pub private: String,
    /// The public half: one line.
    pub public: String,
}

/// The private half is for no log.
impl std::fmt::Debug for DeployKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeployKey({})", self.public.trim_end())
    }
}

/// The public half, as a line of a file.
fn public_line(key: &PrivateKey) -> Result<String, String> {
    let public = key.public_key().to_openssh().map_err(|error| error.to_string())?;
    Ok(format!("{}\n", public.trim_end()))
}

impl DeployKey {
    /// A new key.
    ///
    /// # Errors
    /// There is no such curve, or the number of bits is none for a key.
    pub fn generate(kind: KeyKind) -> Result<Self, String> {
        let text = |error: russh::keys::ssh_key::Error| error.to_string();
        let mut random = safe_rng();
        let key = match kind {
            KeyKind::Ed25519 => PrivateKey::random(&mut random, Algorithm::Ed25519).map_err(text)?,
            KeyKind::Ecdsa(bits) => {
                let curve = match bits {
                    256 => EcdsaCurve::NistP256,
                    384 => EcdsaCurve::NistP384,
                    521 => EcdsaCurve::NistP521,
                    other => return Err(format!("there is no curve of {other} bits")),
                };
                PrivateKey::random(&mut random, Algorithm::Ecdsa { curve }).map_err(text)?
            }
            KeyKind::Rsa(bits) => {
                let pair = RsaKeypair::random(&mut random, bits).map_err(text)?;
                PrivateKey::new(KeypairData::from(pair), "").map_err(text)?
            }
        };
        Ok(DeployKey {
            private: key.to_openssh(LineEnding::LF).map_err(text)?.to_string(),
            public: public_line(&key)?,
        })
    }

    /// A key that somebody has, with its passphrase if it is encrypted. It stays as it is.
    ///
    /// # Errors
    /// It is no private key, or the passphrase is not its own.
    pub fn given(private: &str, passphrase: Option<&str>) -> Result<Self, String> {
        let key = russh::keys::decode_secret_key(private, passphrase).map_err(|error| error.to_string())?;
        Ok(DeployKey {
            private: private.to_owned(),
            public: public_line(&key)?,
        })
    }
}

/// The key that the server of a URL shows, as a line for `known_hosts`. Whether it is the right one is for people to say.
///
/// # Errors
/// The URL is none for ssh, or no server of ssh answers there.
pub async fn host_key(url: &str) -> Result<String, SourceError> {
    let place = Place::parse(url)?;
    let shown = super::redact(url);
    let found = Arc::new(Mutex::new(None));
    let asking = async {
        let stream = tokio::net::TcpStream::connect((place.host.as_str(), place.port))
            .await
            .map_err(|error| unreachable(&shown, &format!("{error}; check host and port")))?;
        let config = client::Config {
            preferred: russh::Preferred {
                key: KEY_KINDS.to_vec().into(),
                ..russh::Preferred::default()
            },
            ..client::Config::default()
        };
        let witness = Witness(Arc::clone(&found));
        // The connection has done its part once the key was shown.
        match client::connect_stream(Arc::new(config), stream, witness).await {
            Ok(_) => Ok(()),
            Err(error) => Err(unreachable(&shown, &format!("{error}; is it a server of SSH?"))),
        }
    };
    let ended = tokio::time::timeout(CONNECT_TIMEOUT, asking).await;
    let key = found.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (key, ended) {
        (Some(key), _) if place.port == DEFAULT_PORT => Ok(format!("{} {key}\n", place.host)),
        (Some(key), _) => Ok(format!("[{}]:{} {key}\n", place.host, place.port)),
        (None, Ok(Err(error))) => Err(error),
        (None, _) => Err(unreachable(&shown, "it shows no key")),
    }
}

/// Writes down the key that a server shows.
struct Witness(Arc<Mutex<Option<String>>>);

impl client::Handler for Witness {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let line = key.public_key().to_openssh()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(line.trim_end().to_owned());
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_kinds_are_made_and_read_again() {
        for (kind, begins) in [
            (KeyKind::Ed25519, "ssh-ed25519 "),
            (KeyKind::Ecdsa(256), "ecdsa-sha2-nistp256 "),
            (KeyKind::Ecdsa(384), "ecdsa-sha2-nistp384 "),
            (KeyKind::Ecdsa(521), "ecdsa-sha2-nistp521 "),
            (KeyKind::Rsa(1024), "ssh-rsa "),
        ] {
            let made = DeployKey::generate(kind).unwrap();
            assert!(made.public.starts_with(begins), "{}", made.public);
            assert!(made.private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
            let read = DeployKey::given(&made.private, None).unwrap();
            assert_eq!(
                (read.private, read.public),
                (made.private.clone(), made.public.clone())
            );
            assert!(!format!("{made:?}").contains("PRIVATE"));
        }
        assert!(DeployKey::generate(KeyKind::Ecdsa(1)).is_err());
        assert!(DeployKey::given("no key", None).is_err());
    }
}
