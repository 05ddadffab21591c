//! How to sign in to a Git server: the shapes of Secrets that GitRepositories know, put together.

use crate::credentials::{self, Basic, ClientCertificate, Proxy, Secret, SecretData, SshIdentity, Tls};
use crate::error::SourceError;
use crate::http::HttpSettings;

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

impl Credentials {
    /// Reads the data of a GitRepository's secret.
    ///
    /// # Errors
    /// If parts that belong together are not all there.
    pub fn from_secret(data: &SecretData) -> Result<Self, SourceError> {
        let Tls { ca, client, .. } = Tls::from_secret(data)?;
        let mut credentials = Credentials {
            bearer_token: credentials::bearer_token(data)?,
            ca,
            client_certificate: client,
            ssh: SshIdentity::from_secret(data)?,
            ..Credentials::default()
        };
        // With a key, `password` is the key's.
        if credentials.ssh.is_none() {
            credentials = credentials.with_basic(Basic::from_secret(data)?);
        }
        Ok(credentials)
    }

    /// Adds the data of a proxy secret.
    ///
    /// # Errors
    /// If it is no proxy's.
    pub fn with_proxy(mut self, data: &SecretData) -> Result<Self, SourceError> {
        self.proxy = Some(Proxy::from_secret(data)?);
        Ok(self)
    }

    /// Signs in with user and password, if there are any.
    #[must_use]
    pub fn with_basic(mut self, basic: Option<Basic>) -> Self {
        if let Some(Basic { username, password }) = basic {
            self.username = Some(username);
            self.password = Some(password);
        }
        self
    }

    /// What HTTP clients are made from.
    #[must_use]
    pub fn http_settings(&self) -> HttpSettings {
        HttpSettings {
            tls: Tls {
                ca: self.ca.clone(),
                client: self.client_certificate.clone(),
                accept_any: false,
            },
            proxy: self.proxy.clone(),
        }
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
    use crate::credentials::tests::data;

    #[test]
    fn secrets_of_all_shapes_are_read() {
        let basic = Credentials::from_secret(&data(&[("username", "me"), ("password", "pw\n")])).unwrap();
        assert_eq!(basic.username.as_deref(), Some("me"));
        assert_eq!(basic.password.unwrap().expose(), b"pw");
        let ssh = Credentials::from_secret(&data(&[
            ("identity", "k"),
            ("known_hosts", "h"),
            ("password", "p"),
        ]))
        .unwrap();
        assert!(ssh.ssh.is_some() && ssh.password.is_none());
        let both = Credentials::from_secret(&data(&[("bearerToken", "t"), ("ca.crt", "c")])).unwrap();
        assert!(both.bearer_token.is_some() && both.ca.is_some());
        assert!(both.anonymous().bearer_token.is_none());
        for wrong in [data(&[("username", "me")]), data(&[("tls.crt", "c")])] {
            assert!(Credentials::from_secret(&wrong).is_err());
        }
    }
}
