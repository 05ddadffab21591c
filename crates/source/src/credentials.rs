//! Credentials of all sources: typed from the shapes that Secrets have, and never printed.
//!
//! Every shape is read by one function, so that all kinds of sources understand the same keys and complain in the
//! same words. What takes a request to get (tokens of clouds and of GitHub Apps) is in the modules below, kept in a
//! [`TokenCache`] until it is about to expire.

mod cache;
pub mod cloud;
mod docker;
mod github;
pub(crate) mod jwt;
mod ssh;

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{SourceError, reason};

pub use cache::{Expiring, TokenCache};
pub use docker::{DockerConfig, Login};
pub use github::GitHubApp;
pub use ssh::{HostKeyCheck, HostKeys, SshIdentity};

/// Data of a Secret, by key.
pub type SecretData = BTreeMap<String, Vec<u8>>;

/// A text or key that is never shown.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps it.
    #[must_use]
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Secret(value.into())
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The text; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn expose_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// User name and password.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Basic {
    /// User.
    pub username: String,
    /// Password or token.
    pub password: Secret,
}

/// A certificate that the client shows, with its key, both PEM.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientCertificate {
    /// Certificate chain.
    pub certificate: Vec<u8>,
    /// Private key.
    pub key: Secret,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("certificate", &format_args!("{} bytes", self.certificate.len()))
            .field("key", &self.key)
            .finish()
    }
}

/// Whom TLS trusts, and what the client shows.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tls {
    /// Certificates (PEM) trusted besides the system's.
    pub ca: Option<Vec<u8>>,
    /// Certificate of the client.
    pub client: Option<ClientCertificate>,
    /// Whether a server's certificate is not looked at (`insecure`).
    pub accept_any: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &self.ca.as_ref().map(|ca| format!("{} bytes", ca.len())))
            .field("client", &self.client)
            .field("accept_any", &self.accept_any)
            .finish()
    }
}

/// An HTTP(S) or SOCKS proxy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proxy {
    /// `http://host:port`.
    pub address: String,
    /// User, if it asks for one.
    pub username: Option<String>,
    /// Password, if it asks for one.
    pub password: Option<Secret>,
}

fn text(data: &SecretData, key: &str) -> Option<String> {
    data.get(key).map(|value| {
        String::from_utf8_lossy(value)
            .trim_end_matches(['\n', '\r'])
            .to_owned()
    })
}

fn secret(data: &SecretData, key: &str) -> Option<Secret> {
    text(data, key).map(Secret::new)
}

fn refuse(message: impl Into<String>) -> SourceError {
    SourceError::retry(reason::AUTHENTICATION_FAILED, message)
}

impl Basic {
    /// Reads `username` and `password`; none if neither is there.
    ///
    /// # Errors
    /// If one is there without the other.
    pub fn from_secret(data: &SecretData) -> Result<Option<Self>, SourceError> {
        match (text(data, "username"), secret(data, "password")) {
            (Some(username), Some(password)) => Ok(Some(Basic { username, password })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(refuse(
                "the secret has 'username' without 'password'; add the password or token",
            )),
            (None, Some(_)) => Err(refuse(
                "the secret has 'password' without 'username'; add the user name",
            )),
        }
    }
}

/// Reads `bearerToken`.
///
/// # Errors
/// If it is empty.
pub fn bearer_token(data: &SecretData) -> Result<Option<Secret>, SourceError> {
    match secret(data, "bearerToken") {
        Some(token) if token.expose().is_empty() => Err(refuse(
            "the secret has an empty 'bearerToken'; put the token there",
        )),
        token => Ok(token),
    }
}

impl Tls {
    /// Reads `ca.crt`, `tls.crt`, `tls.key`, or their older names `caFile`, `certFile`, `keyFile`. Data with none of
    /// them is the system's trust.
    ///
    /// # Errors
    /// If a certificate is there without its key or the other way round.
    pub fn from_secret(data: &SecretData) -> Result<Self, SourceError> {
        let first = |keys: [&str; 2]| {
            keys.iter()
                .find_map(|key| data.get(*key).filter(|value| !value.is_empty()).cloned())
        };
        let client = match (first(["tls.crt", "certFile"]), first(["tls.key", "keyFile"])) {
            (Some(certificate), Some(key)) => Some(ClientCertificate {
                certificate,
                key: Secret(key),
            }),
            (None, None) => None,
            (Some(_), None) => return Err(refuse("the secret has 'tls.crt' without 'tls.key'; add the key")),
            (None, Some(_)) => {
                return Err(refuse(
                    "the secret has 'tls.key' without 'tls.crt'; add the certificate",
                ));
            }
        };
        Ok(Tls {
            ca: first(["ca.crt", "caFile"]),
            client,
            accept_any: false,
        })
    }

    /// Reads a Secret that is named for its certificates (`certSecretRef`), which must hold some.
    ///
    /// # Errors
    /// As [`Tls::from_secret`], and if there is nothing in it.
    pub fn from_cert_secret(data: &SecretData) -> Result<Self, SourceError> {
        let tls = Self::from_secret(data)?;
        if tls.ca.is_none() && tls.client.is_none() {
            return Err(refuse(
                "the secret holds no certificate; add 'ca.crt', or 'tls.crt' and 'tls.key'",
            ));
        }
        Ok(tls)
    }

    /// The same trust, without what identifies the client: for another host.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Tls {
            client: None,
            ..self.clone()
        }
    }
}

impl Proxy {
    /// Reads `address`, `username`, `password`.
    ///
    /// # Errors
    /// If there is no address, or a password without a user.
    pub fn from_secret(data: &SecretData) -> Result<Self, SourceError> {
        let invalid = |message: &str| SourceError::retry(reason::PROXY_INVALID, message);
        let address = text(data, "address")
            .filter(|address| !address.is_empty())
            .ok_or_else(|| invalid("the proxy secret has no 'address'; add it as http://HOST:PORT"))?;
        let (username, password) = (text(data, "username"), secret(data, "password"));
        if password.is_some() && username.is_none() {
            return Err(invalid(
                "the proxy secret has 'password' without 'username'; add the user name",
            ));
        }
        Ok(Proxy {
            address,
            username,
            password,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn data(pairs: &[(&str, &str)]) -> SecretData {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn each_shape_is_read_and_half_a_shape_is_refused() {
        let basic = Basic::from_secret(&data(&[("username", "me"), ("password", "pw\n")])).unwrap();
        assert_eq!(basic.unwrap().password.expose(), b"pw");
        assert!(Basic::from_secret(&data(&[])).unwrap().is_none());
        assert!(Basic::from_secret(&data(&[("username", "me")])).is_err());
        assert!(Basic::from_secret(&data(&[("password", "me")])).is_err());
        assert!(bearer_token(&data(&[("bearerToken", "")])).is_err());
        assert!(bearer_token(&data(&[("bearerToken", "t")])).unwrap().is_some());
        let proxy = Proxy::from_secret(&data(&[("address", "http://p:1")])).unwrap();
        assert_eq!((proxy.address.as_str(), proxy.username), ("http://p:1", None));
        assert!(Proxy::from_secret(&data(&[("username", "me")])).is_err());
        assert!(Proxy::from_secret(&data(&[("address", "http://p"), ("password", "x")])).is_err());
    }

    #[test]
    fn certificates_have_new_and_old_names() {
        for names in [
            ["ca.crt", "tls.crt", "tls.key"],
            ["caFile", "certFile", "keyFile"],
        ] {
            let tls =
                Tls::from_secret(&data(&[(names[0], "ca"), (names[1], "crt"), (names[2], "key")])).unwrap();
            assert_eq!(tls.ca.as_deref(), Some(b"ca".as_slice()));
            assert_eq!(tls.client.as_ref().unwrap().key.expose(), b"key");
            assert!(tls.anonymous().client.is_none() && tls.anonymous().ca.is_some());
        }
        assert!(Tls::from_secret(&data(&[("tls.crt", "c")])).is_err());
        assert!(Tls::from_secret(&data(&[("keyFile", "c")])).is_err());
        assert!(Tls::from_cert_secret(&data(&[("username", "c")])).is_err());
    }

    #[test]
    fn secrets_are_never_printed() {
        let secret = Secret::new("hunter2");
        let shown = format!(
            "{:?} {:?} {:?}",
            Basic {
                username: "me".to_owned(),
                password: secret.clone()
            },
            Proxy {
                address: "http://p".to_owned(),
                username: None,
                password: Some(secret.clone())
            },
            Tls {
                client: Some(ClientCertificate {
                    certificate: b"c".to_vec(),
                    key: secret
                }),
                ..Tls::default()
            },
        );
        assert!(
            !shown.contains("hunter2") && !shown.contains("104, 117"),
            "{shown}"
        );
    }
}
