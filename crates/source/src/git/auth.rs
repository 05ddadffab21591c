//! Credentials for Git servers: typed from the shapes that secrets have, and never printed.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{SourceError, reason};

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

/// A certificate that the client shows, with its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientCertificate {
    /// Certificate chain.
    pub certificate: Vec<u8>,
    /// Private key.
    pub key: Secret,
}

/// An HTTP(S) proxy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proxy {
    /// `http://host:port`.
    pub address: String,
    /// User, if it asks for one.
    pub username: Option<String>,
    /// Password, if it asks for one.
    pub password: Option<Secret>,
}

/// What an ssh server wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SshIdentity {
    /// Private key, PEM or OpenSSH.
    pub identity: Secret,
    /// Passphrase of the key.
    pub passphrase: Option<Secret>,
    /// Lines of `known_hosts`.
    pub known_hosts: String,
}

/// How to sign in to a Git server. `Debug` shows which parts are set, never their content.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Credentials {
    /// User of basic authentication.
    pub username: Option<String>,
    /// Password of basic authentication.
    pub password: Option<Secret>,
    /// Token sent as `Authorization: Bearer`.
    pub bearer_token: Option<Secret>,
    /// Certificates (PEM) trusted besides the system's.
    pub ca: Option<Vec<u8>>,
    /// Certificate of the client.
    pub client_certificate: Option<ClientCertificate>,
    /// Proxy to use.
    pub proxy: Option<Proxy>,
    /// Key for ssh.
    pub ssh: Option<SshIdentity>,
}

fn text(data: &BTreeMap<String, Vec<u8>>, key: &str) -> Option<String> {
    data.get(key).map(|value| {
        String::from_utf8_lossy(value)
            .trim_end_matches(['\n', '\r'])
            .to_owned()
    })
}

fn secret(data: &BTreeMap<String, Vec<u8>>, key: &str) -> Option<Secret> {
    text(data, key).map(Secret::new)
}

impl Credentials {
    /// Reads the data of a GitRepository's secret.
    ///
    /// # Errors
    /// If parts that belong together are not all there.
    pub fn from_secret(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, SourceError> {
        let refuse = |message: &str| SourceError::retry(reason::AUTHENTICATION_FAILED, message);
        let mut credentials = Credentials {
            bearer_token: secret(data, "bearerToken"),
            ca: data.get("ca.crt").or_else(|| data.get("caFile")).cloned(),
            ..Credentials::default()
        };
        let first = |keys: [&str; 2]| keys.iter().find_map(|key| data.get(*key).cloned());
        match (first(["tls.crt", "certFile"]), first(["tls.key", "keyFile"])) {
            (Some(certificate), Some(key)) => {
                credentials.client_certificate = Some(ClientCertificate {
                    certificate,
                    key: Secret(key),
                });
            }
            (None, None) => {}
            (Some(_), None) => return Err(refuse("the secret has 'tls.crt' without 'tls.key'; add the key")),
            (None, Some(_)) => {
                return Err(refuse(
                    "the secret has 'tls.key' without 'tls.crt'; add the certificate",
                ));
            }
        }
        if let Some(identity) = data.get("identity") {
            let known_hosts = text(data, "known_hosts").ok_or_else(|| {
                refuse(
                    "the secret has 'identity' without 'known_hosts'; add the server's host keys (ssh-keyscan)",
                )
            })?;
            credentials.ssh = Some(SshIdentity {
                identity: Secret(identity.clone()),
                passphrase: secret(data, "password"),
                known_hosts,
            });
            return Ok(credentials);
        }
        credentials.username = text(data, "username");
        credentials.password = secret(data, "password");
        if credentials.username.is_some() && credentials.password.is_none() {
            return Err(refuse(
                "the secret has 'username' without 'password'; add the password or token",
            ));
        }
        if credentials.password.is_some() && credentials.username.is_none() {
            return Err(refuse(
                "the secret has 'password' without 'username'; add the user name",
            ));
        }
        Ok(credentials)
    }

    /// Adds the data of a proxy secret.
    ///
    /// # Errors
    /// If it has no address.
    pub fn with_proxy(mut self, data: &BTreeMap<String, Vec<u8>>) -> Result<Self, SourceError> {
        let address = text(data, "address").ok_or_else(|| {
            SourceError::retry(
                reason::PROXY_INVALID,
                "the proxy secret has no 'address'; add it as http://HOST:PORT",
            )
        })?;
        self.proxy = Some(Proxy {
            address,
            username: text(data, "username"),
            password: secret(data, "password"),
        });
        Ok(self)
    }

    /// These without what identifies the client: for another host.
    pub(crate) fn anonymous(&self) -> Self {
        Credentials {
            ca: self.ca.clone(),
            proxy: self.proxy.clone(),
            ..Credentials::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn secrets_of_all_shapes_are_read() {
        let basic = Credentials::from_secret(&data(&[("username", "me"), ("password", "pw\n")])).unwrap();
        assert_eq!(basic.username.as_deref(), Some("me"));
        assert_eq!(basic.password.unwrap().expose(), b"pw");
        let bearer = Credentials::from_secret(&data(&[("bearerToken", "t")])).unwrap();
        assert!(bearer.bearer_token.is_some());
        let ssh = Credentials::from_secret(&data(&[
            ("identity", "k"),
            ("known_hosts", "h"),
            ("password", "p"),
        ]))
        .unwrap();
        assert!(ssh.ssh.is_some() && ssh.password.is_none());
        for wrong in [
            data(&[("username", "me")]),
            data(&[("tls.crt", "c")]),
            data(&[("identity", "k")]),
        ] {
            assert!(Credentials::from_secret(&wrong).is_err());
        }
    }

    #[test]
    fn secrets_are_never_printed() {
        let credentials = Credentials {
            username: Some("me".to_owned()),
            password: Some(Secret::new("hunter2")),
            bearer_token: Some(Secret::new("hunter2")),
            proxy: Some(Proxy {
                address: "http://p".to_owned(),
                username: None,
                password: Some(Secret::new("hunter2")),
            }),
            ..Credentials::default()
        };
        let shown = format!("{credentials:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("104, 117"),
            "{shown}"
        );
    }
}
