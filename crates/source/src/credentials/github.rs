//! GitHub Apps: from the App's key to a token for one installation of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;

use super::{Basic, Expiring, Secret, SecretData, Tls, jwt, refuse, text};
use crate::error::SourceError;
use crate::http::{HttpAuth, HttpClients, HttpError, HttpSession, HttpSettings};

/// Where GitHub is.
const DEFAULT_API: &str = "https://api.github.com";
/// The user that tokens are the password of.
const USER: &str = "x-access-token";
/// How long the App's own token is good; GitHub allows ten minutes.
const APP_TOKEN: Duration = Duration::from_secs(9 * 60);
/// Clocks may differ by so much.
const SKEW: Duration = Duration::from_secs(60);
/// Lifetime of a token whose expiry cannot be read.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Longest answer.
const MAX_ANSWER: u64 = 1 << 20;

/// A GitHub App and the installation that a token is wanted for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GitHubApp {
    /// The App's id.
    pub id: String,
    /// Id of the installation, or nothing if the owner is named.
    pub installation_id: Option<String>,
    /// Account that the App is installed for.
    pub installation_owner: Option<String>,
    /// RSA key, PEM.
    pub private_key: Secret,
    /// The API's address.
    pub api: String,
    /// Trust for the API's server.
    pub tls: Tls,
}

impl GitHubApp {
    /// Whether a Secret holds an App's data.
    #[must_use]
    pub fn is_in(data: &SecretData) -> bool {
        [
            "githubAppID",
            "githubAppPrivateKey",
            "githubAppInstallationID",
            "githubAppInstallationOwner",
        ]
        .iter()
        .any(|key| data.contains_key(*key))
    }

    /// Reads `githubAppID`, `githubAppPrivateKey`, one of `githubAppInstallationID` and `githubAppInstallationOwner`,
    /// and `githubAppBaseURL`.
    ///
    /// # Errors
    /// If one of them is missing or not as it should be.
    pub fn from_secret(data: &SecretData) -> Result<Self, SourceError> {
        let given = |key: &str| text(data, key).filter(|text| !text.is_empty());
        let missing = |key: &str| {
            refuse(format!(
                "the secret has no '{key}', which a GitHub App needs; add it"
            ))
        };
        let (installation_id, installation_owner) = (
            given("githubAppInstallationID"),
            given("githubAppInstallationOwner"),
        );
        match (&installation_id, &installation_owner) {
            (None, None) => {
                return Err(missing("githubAppInstallationID' or 'githubAppInstallationOwner"));
            }
            (Some(_), Some(_)) => {
                return Err(refuse(
                    "the secret has both 'githubAppInstallationID' and 'githubAppInstallationOwner'; keep one",
                ));
            }
            _ => {}
        }
        let id = given("githubAppID").ok_or_else(|| missing("githubAppID"))?;
        for (key, value) in [
            ("githubAppID", Some(&id)),
            ("githubAppInstallationID", installation_id.as_ref()),
        ] {
            if value.is_some_and(|value| !value.bytes().all(|byte| byte.is_ascii_digit())) {
                return Err(refuse(format!("'{key}' of the secret is no number")));
            }
        }
        Ok(GitHubApp {
            id,
            installation_id,
            installation_owner,
            private_key: given("githubAppPrivateKey")
                .map(Secret::new)
                .ok_or_else(|| missing("githubAppPrivateKey"))?,
            api: given("githubAppBaseURL")
                .unwrap_or_else(|| DEFAULT_API.to_owned())
                .trim_end_matches('/')
                .to_owned(),
            tls: Tls::from_secret(data)?,
        })
    }

    /// Names the App, installation and key without showing the key: for caches.
    #[must_use]
    pub fn cache_key(&self) -> String {
        use sha2::Digest as _;
        let key = sha2::Sha256::digest(self.private_key.expose());
        format!(
            "github {} {} {:?} {:?} {}",
            self.api,
            self.id,
            self.installation_id,
            self.installation_owner,
            URL_SAFE_NO_PAD.encode(key)
        )
    }

    /// Asks GitHub for a token of the installation: the user and password for Git over https.
    ///
    /// # Errors
    /// If the key cannot be used, or GitHub refuses.
    pub async fn token(
        &self,
        clients: &HttpClients,
        settings: &HttpSettings,
        deadline: std::time::Instant,
    ) -> Result<Expiring<Basic>, SourceError> {
        let api = Url::parse(&self.api)
            .map_err(|error| refuse(format!("'githubAppBaseURL' of the secret is no URL: {error}")))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let settings = HttpSettings {
            tls: if self.tls == Tls::default() {
                settings.tls.clone()
            } else {
                self.tls.clone()
            },
            proxy: settings.proxy.clone(),
        };
        let auth = HttpAuth::Bearer(self.signed(now)?);
        let session = HttpSession::new(clients, &api, &settings, Some(auth), deadline)?;
        let installation = match (&self.installation_id, &self.installation_owner) {
            (Some(id), _) => id.clone(),
            (None, Some(owner)) => self.find(&session, owner).await?,
            (None, None) => return Err(refuse("the GitHub App's installation is not named")),
        };
        let answer = self
            .ask(
                &session,
                Method::POST,
                &format!("/app/installations/{installation}/access_tokens"),
            )
            .await
            .map_err(|error| self.explain(&error, &format!("its installation {installation}")))?;
        let token = answer
            .get("token")
            .and_then(Value::as_str)
            .ok_or_else(|| refuse(format!("'{}' answered without a token", self.api)))?;
        let lifetime = answer
            .get("expires_at")
            .and_then(Value::as_str)
            .and_then(|text| text.parse::<jiff::Timestamp>().ok())
            .map(|until| Duration::from_secs(u64::try_from(until.as_second()).unwrap_or_default()))
            .map_or(DEFAULT_LIFETIME, |until| until.saturating_sub(now));
        Ok(Expiring {
            value: Basic {
                username: USER.to_owned(),
                password: Secret::new(token),
            },
            lifetime,
        })
    }

    /// The id of an account's installation: of an organisation, or of a user.
    async fn find(&self, session: &HttpSession, owner: &str) -> Result<String, SourceError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !owner.bytes().all(fits) {
            return Err(refuse(
                "'githubAppInstallationOwner' of the secret is no account name",
            ));
        }
        let what = format!("its installation for '{owner}'");
        let answer = match self
            .ask(session, Method::GET, &format!("/orgs/{owner}/installation"))
            .await
        {
            Err(HttpError::Status(404)) => {
                self.ask(session, Method::GET, &format!("/users/{owner}/installation"))
                    .await
            }
            answer => answer,
        };
        let answer = answer.map_err(|error| self.explain(&error, &what))?;
        answer
            .get("id")
            .and_then(Value::as_u64)
            .map(|id| id.to_string())
            .ok_or_else(|| refuse(format!("'{}' answered without the id of {what}", self.api)))
    }

    async fn ask(&self, session: &HttpSession, method: Method, path: &str) -> Result<Value, HttpError> {
        let url = Url::parse(&format!("{}{path}", self.api))
            .map_err(|error| HttpError::Connect(error.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        let response = session.send(method, &url, &headers, Bytes::new()).await?;
        let body = session.read(response, MAX_ANSWER).await?;
        serde_json::from_slice(&body).map_err(|_| HttpError::Connect("the answer is no JSON".to_owned()))
    }

    fn explain(&self, error: &HttpError, what: &str) -> SourceError {
        let advice = match error {
            HttpError::Status(401) => "; check 'githubAppID' and 'githubAppPrivateKey' in the secret",
            HttpError::Status(403) => "; check the App's permissions",
            HttpError::Status(404) => "; check that the App is installed there",
            _ => "",
        };
        refuse(format!(
            "'{}' gives GitHub App {} no token for {what}: {error}{advice}",
            self.api, self.id
        ))
    }

    /// The token (RS256) with which the App speaks for itself.
    fn signed(&self, now: Duration) -> Result<Secret, SourceError> {
        let claims = serde_json::json!({
            "iat": now.saturating_sub(SKEW).as_secs(),
            "exp": (now + APP_TOKEN).as_secs(),
            "iss": self.id,
        });
        let key = "'githubAppPrivateKey' of the secret";
        jwt::rs256(serde_json::json!({}), &claims, self.private_key.expose(), key).map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::data;
    use super::*;

    #[test]
    fn an_app_needs_its_id_key_and_one_way_to_the_installation() {
        let all = [
            ("githubAppID", "1"),
            ("githubAppInstallationID", "2"),
            ("githubAppPrivateKey", "k"),
        ];
        let app = GitHubApp::from_secret(&data(&all)).unwrap();
        assert_eq!(app.api, DEFAULT_API);
        for left_out in 0..all.len() {
            let mut some = all.to_vec();
            let (key, _) = some.remove(left_out);
            let error = GitHubApp::from_secret(&data(&some)).unwrap_err();
            assert!(error.message.contains(key), "{error}");
        }
        let mut both = all.to_vec();
        both.push(("githubAppInstallationOwner", "org"));
        assert!(GitHubApp::from_secret(&data(&both)).is_err());
        let words = [("githubAppID", "x"), all[1], all[2]];
        assert!(GitHubApp::from_secret(&data(&words)).is_err());
        assert!(GitHubApp::is_in(&data(&all)) && !GitHubApp::is_in(&data(&[("username", "x")])));
        let error = app.signed(Duration::from_secs(1000)).unwrap_err();
        assert!(error.message.contains("no RSA key"));
    }
}
