//! How to sign in to Git servers: by a Secret, as a GitHub App, or with the identity that a cloud gives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use fluvial_cli::{SshKey, SshLogin};
use fluvial_ports::{Account, BoxFuture, Cluster, FetchRequest};
use fluvial_source::credentials::cloud::{Ask, Clouds, GitLogin, ServiceAccount, ServiceAccountTokens};
use fluvial_source::credentials::{Basic, GitHubApp, Secret, TokenCache};
use fluvial_source::git::deploy::{self, DeployKey, KeyKind};
use fluvial_source::git::{Credentials, redact};
use fluvial_source::http::HttpClients;
use fluvial_source::{SourceError, error::reason};

/// Tokens that were given, and what it takes to get more.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    clients: HttpClients,
    clouds: Clouds,
    apps: TokenCache<Basic>,
}

impl Logins {
    /// The credentials for one fetch.
    pub(crate) async fn credentials(
        &self,
        request: &FetchRequest,
        url: &str,
    ) -> Result<Credentials, SourceError> {
        let none = BTreeMap::new();
        let data = request.credentials.as_ref().unwrap_or(&none);
        let mut credentials = Credentials::from_secret(data)?;
        if let Some(data) = &request.proxy {
            credentials = credentials.with_proxy(data)?;
        }
        let misfit = |message: String| SourceError::retry(reason::INVALID_PROVIDER_CONFIGURATION, message);
        match request.provider.as_str() {
            "github" => {
                if !GitHubApp::is_in(data) {
                    return Err(misfit(
                        "the secret of spec.secretRef has no github app data but provider is set to github; add \
                         githubAppID, githubAppInstallationID and githubAppPrivateKey"
                            .to_owned(),
                    ));
                }
                over_https(url)?;
                let app = GitHubApp::from_secret(data)?;
                let settings = credentials.http_settings();
                let deadline = Instant::now() + request.timeout;
                let ask = app.token(&self.clients, &settings, deadline);
                let basic = self.apps.get(&app.cache_key(), ask).await?;
                Ok(credentials.with_basic(Some(basic)))
            }
            _ if GitHubApp::is_in(data) => Err(misfit(
                "the secret of spec.secretRef has github app data but provider is not set to github; set \
                 spec.provider to github"
                    .to_owned(),
            )),
            "" | "generic" => Ok(credentials),
            provider => {
                over_https(url)?;
                // The settings of the proxy are for the cloud's services as well.
                let settings = credentials.http_settings();
                let environment: BTreeMap<String, String> = std::env::vars().collect();
                let account = request.account.as_ref().map(service_account);
                let ask = Ask {
                    account: account.as_ref(),
                    environment: &environment,
                    clients: &self.clients,
                    settings: &settings,
                    deadline: Instant::now() + request.timeout,
                };
                let login = self.clouds.git(provider, &request.object, &ask, url).await?;
                Ok(match login {
                    GitLogin::Basic(basic) => credentials.with_basic(Some(basic)),
                    GitLogin::Bearer(token) => with_bearer(credentials, token),
                })
            }
        }
    }
}

/// A service account whose tokens its cluster makes.
pub(crate) fn service_account(account: &Account) -> ServiceAccount {
    ServiceAccount {
        namespace: account.namespace.clone(),
        name: account.name.clone(),
        annotations: account.annotations.clone(),
        tokens: Arc::new(Tokens(Arc::clone(&account.cluster))),
    }
}

/// Tokens of service accounts, made by their cluster.
struct Tokens(Arc<dyn Cluster>);

impl ServiceAccountTokens for Tokens {
    fn token<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        audience: &'a str,
    ) -> BoxFuture<'a, Result<String, SourceError>> {
        Box::pin(async move {
            self.0
                .token((namespace, name), &[audience.to_owned()])
                .await
                .map(|token| token.text.to_string())
                .map_err(|error| {
                    SourceError::retry(
                        reason::AUTHENTICATION_FAILED,
                        format!(
                            "no token for ServiceAccount '{namespace}/{name}': {error}; let this program create \
                             serviceaccounts/token"
                        ),
                    )
                })
        })
    }
}

fn with_bearer(mut credentials: Credentials, token: Secret) -> Credentials {
    credentials.bearer_token = Some(token);
    credentials
}

/// Tokens go over https only: not in the clear, and ssh has no use for them.
fn over_https(url: &str) -> Result<(), SourceError> {
    if url.starts_with("https://") {
        return Ok(());
    }
    Err(SourceError::stalled(
        reason::INVALID_PROVIDER_CONFIGURATION,
        format!(
            "'{}' is not an https URL, which spec.provider needs; write spec.url with https",
            redact(url)
        ),
    ))
}

/// A key for Git over ssh, new or given, and the one that the server shows.
pub(crate) async fn ssh(url: &str, key: &SshKey) -> Result<SshLogin, String> {
    let pair = match key {
        SshKey::Ed25519 => DeployKey::generate(KeyKind::Ed25519),
        SshKey::Ecdsa(bits) => DeployKey::generate(KeyKind::Ecdsa(*bits)),
        SshKey::Rsa(bits) => DeployKey::generate(KeyKind::Rsa(*bits)),
        SshKey::Given { private, passphrase } => DeployKey::given(private, passphrase.as_deref()),
    };
    let pair = pair.map_err(|error| format!("the private key cannot be used: {error}"))?;
    let known_hosts = deploy::host_key(url).await.map_err(|error| error.to_string())?;
    Ok(SshLogin {
        private: pair.private,
        public: pair.public,
        known_hosts,
    })
}
