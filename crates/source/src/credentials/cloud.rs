//! Workload identity: from a Kubernetes service account, or from the place where the program runs, to what a cloud's
//! services want. Every cloud is a few HTTP requests behind one trait, with endpoints that can be set.

mod aws;
mod azure;
mod gcp;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;

use super::{Basic, Expiring, Secret, TokenCache, refuse};
use crate::error::SourceError;
use crate::http::{HttpAuth, HttpClients, HttpError, HttpSession, HttpSettings};

pub use aws::{Aws, AwsKeys, SignedRequest};
pub use azure::Azure;
pub use gcp::Gcp;

/// Longest answer of a token service.
const MAX_ANSWER: u64 = 1 << 20;
/// Lifetime of a token whose expiry is not told.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Makes tokens for service accounts (the TokenRequest API).
pub trait ServiceAccountTokens: Send + Sync {
    /// A token of `namespace/name` for an audience.
    fn token<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        audience: &'a str,
    ) -> BoxFuture<'a, Result<String, SourceError>>;
}

/// A service account that a source acts as.
#[derive(Clone)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its annotations, which say who it is in the cloud.
    pub annotations: BTreeMap<String, String>,
    /// Makes its tokens.
    pub tokens: Arc<dyn ServiceAccountTokens>,
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceAccount({}/{})", self.namespace, self.name)
    }
}

impl ServiceAccount {
    /// The value of an annotation that must be there.
    fn annotation(&self, key: &str) -> Result<&str, SourceError> {
        self.annotations.get(key).map(String::as_str).filter(|value| !value.is_empty()).ok_or_else(|| {
            refuse(format!(
                "ServiceAccount '{}/{}' has no annotation '{key}'; add it, it says who the account is in the cloud",
                self.namespace, self.name
            ))
        })
    }

    async fn token(&self, audience: &str) -> Result<String, SourceError> {
        self.tokens.token(&self.namespace, &self.name, audience).await
    }
}

/// What a request for a cloud's credentials is made with.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// Acts as this account; without one, as what the program runs as.
    pub account: Option<&'a ServiceAccount>,
    /// The program's environment variables, which say what it runs as.
    pub environment: &'a BTreeMap<String, String>,
    /// Clients.
    pub clients: &'a HttpClients,
    /// Proxy and trust for the cloud's services.
    pub settings: &'a HttpSettings,
    /// Until when.
    pub deadline: Instant,
}

/// What a Git server of a cloud wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GitLogin {
    /// A bearer token.
    Bearer(Secret),
    /// User and password.
    Basic(Basic),
}

/// A cloud.
pub trait Cloud: Send + Sync + fmt::Debug {
    /// Its name, as `spec.provider` has it.
    fn name(&self) -> &'static str;

    /// User and password for one of its container registries.
    fn registry<'a>(
        &'a self,
        ask: &'a Ask<'a>,
        host: &'a str,
    ) -> BoxFuture<'a, Result<Expiring<Basic>, SourceError>>;

    /// What its Git service wants.
    fn git<'a>(
        &'a self,
        ask: &'a Ask<'a>,
        url: &'a str,
    ) -> BoxFuture<'a, Result<Expiring<GitLogin>, SourceError>>;

    /// A bearer token for its storage service; none for a cloud that signs requests instead.
    fn storage<'a>(&'a self, ask: &'a Ask<'a>) -> BoxFuture<'a, Result<Expiring<Secret>, SourceError>>;
}

/// The clouds, with all tokens that were given.
#[derive(Debug, Default)]
pub struct Clouds {
    /// Amazon's.
    pub aws: Aws,
    /// Microsoft's.
    pub azure: Azure,
    /// Google's.
    pub gcp: Gcp,
    registries: TokenCache<Basic>,
    git: TokenCache<GitLogin>,
    keys: TokenCache<AwsKeys>,
    storage: TokenCache<Secret>,
}

impl Clouds {
    /// The cloud that a `spec.provider` names.
    #[must_use]
    pub fn get(&self, provider: &str) -> Option<&dyn Cloud> {
        match provider {
            "aws" => Some(&self.aws),
            "azure" => Some(&self.azure),
            "gcp" => Some(&self.gcp),
            _ => None,
        }
    }

    fn named(&self, provider: &str) -> Result<&dyn Cloud, SourceError> {
        self.get(provider).ok_or_else(|| {
            SourceError::stalled(
                crate::error::reason::INVALID_PROVIDER_CONFIGURATION,
                format!("spec.provider '{provider}' is not one of aws, azure, gcp, generic"),
            )
        })
    }

    /// User and password for a registry, kept until they expire. `object` names who asks, as `kind/namespace/name`.
    ///
    /// # Errors
    /// If the identity is not enough.
    pub async fn registry(
        &self,
        provider: &str,
        object: &str,
        ask: &Ask<'_>,
        host: &str,
    ) -> Result<Basic, SourceError> {
        let cloud = self.named(provider)?;
        let key = cache_key(provider, object, ask, host);
        self.registries.get(&key, cloud.registry(ask, host)).await
    }

    /// What a Git server wants, kept until it expires, as [`Clouds::registry`].
    ///
    /// # Errors
    /// If the identity is not enough.
    pub async fn git(
        &self,
        provider: &str,
        object: &str,
        ask: &Ask<'_>,
        url: &str,
    ) -> Result<GitLogin, SourceError> {
        let cloud = self.named(provider)?;
        let key = cache_key(provider, object, ask, url);
        self.git.get(&key, cloud.git(ask, url)).await
    }
}

impl Clouds {
    /// Keys that sign requests to AWS, kept until they expire; `sts` is used in place of the region's token service.
    ///
    /// # Errors
    /// If the identity is not enough.
    pub async fn aws_keys(
        &self,
        object: &str,
        ask: &Ask<'_>,
        region: &str,
        sts: Option<&str>,
    ) -> Result<AwsKeys, SourceError> {
        let place = format!("{region} {}", sts.unwrap_or_default());
        let key = cache_key("aws", object, ask, &place);
        let mut aws = self.aws.clone();
        if let Some(sts) = sts {
            aws.sts = Some(sts.to_owned());
        }
        self.keys.get(&key, aws.keys(ask, region)).await
    }

    /// A token for a cloud's storage, kept until it expires.
    ///
    /// # Errors
    /// If the identity is not enough.
    pub async fn storage(&self, provider: &str, object: &str, ask: &Ask<'_>) -> Result<Secret, SourceError> {
        let cloud = self.named(provider)?;
        let key = cache_key(provider, object, ask, "");
        self.storage.get(&key, cloud.storage(ask)).await
    }
}

/// What a token service is asked with.
pub(crate) struct Exchange<'a> {
    /// Its name in messages.
    pub(crate) what: &'a str,
    /// Its address.
    pub(crate) url: &'a str,
    /// Fields of the form.
    pub(crate) fields: &'a [(&'a str, &'a str)],
}

fn cache_key(provider: &str, object: &str, ask: &Ask<'_>, place: &str) -> String {
    let account = ask
        .account
        .map(|account| (&account.namespace, &account.name, &account.annotations));
    format!("{provider} {object} {account:?} {:?} {place}", ask.settings.proxy)
}

impl Ask<'_> {
    /// What a token service answers to a form.
    pub(crate) async fn answer(&self, exchange: &Exchange<'_>) -> Result<Vec<u8>, SourceError> {
        self.bytes(exchange.what, Request::form(exchange.url, exchange.fields))
            .await
    }

    /// The access token that a token service gives for a form.
    pub(crate) async fn exchange(&self, exchange: &Exchange<'_>) -> Result<Expiring<Secret>, SourceError> {
        let what = exchange.what;
        let answer = self
            .json(what, Request::form(exchange.url, exchange.fields))
            .await?;
        Ok(Expiring {
            value: Secret::new(text_field(&answer, "access_token", what)?),
            lifetime: seconds(answer.get("expires_in")),
        })
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.environment
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The text of a file that a variable names: a projected token.
    fn file(&self, variable: &str) -> Result<Option<String>, SourceError> {
        let Some(path) = self.variable(variable) else {
            return Ok(None);
        };
        std::fs::read_to_string(path)
            .map(|text| Some(text.trim().to_owned()))
            .map_err(|error| refuse(format!("file '{path}' of {variable} cannot be read: {error}")))
    }

    /// Asks a token service; the answer must be JSON.
    async fn json(&self, what: &str, request: Request<'_>) -> Result<Value, SourceError> {
        let answer = self.bytes(what, request).await?;
        serde_json::from_slice(&answer).map_err(|_| refuse(format!("{what} gave an answer that is no JSON")))
    }

    /// Asks a service of the cloud.
    async fn bytes(&self, what: &str, request: Request<'_>) -> Result<Vec<u8>, SourceError> {
        let url = Url::parse(&request.url)
            .map_err(|error| refuse(format!("{what} has an address that is no URL: {error}")))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let pair = HeaderName::from_bytes(name.as_bytes())
                .ok()
                .zip(HeaderValue::from_str(value).ok());
            let (name, value) =
                pair.ok_or_else(|| refuse(format!("header '{name}' for {what} cannot be sent")))?;
            headers.insert(name, value);
        }
        if let Some(kind) = request.content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let auth = request.token.map(|token| HttpAuth::Bearer(token.clone()));
        let fail = |error: HttpError| {
            refuse(format!(
                "{what} gave no credentials: {error}; check what the identity may do in the cloud"
            ))
        };
        // The services of the machine itself are not behind the source's proxy.
        let near = HttpSettings::default();
        let settings = if url.scheme() == "http" {
            &near
        } else {
            self.settings
        };
        let session = HttpSession::new(self.clients, &url, settings, auth, self.deadline)?;
        let method = match (request.post, request.put) {
            (true, _) => Method::POST,
            (_, true) => Method::PUT,
            _ => Method::GET,
        };
        let response = session
            .send(method, &url, &headers, request.body)
            .await
            .map_err(fail)?;
        session.read(response, MAX_ANSWER).await.map_err(fail)
    }
}

/// One request to a cloud.
#[derive(Default)]
struct Request<'a> {
    post: bool,
    put: bool,
    url: String,
    headers: Vec<(&'a str, String)>,
    content_type: Option<&'static str>,
    token: Option<&'a Secret>,
    body: Bytes,
}

impl<'a> Request<'a> {
    fn get(url: impl Into<String>) -> Self {
        Request {
            url: url.into(),
            ..Request::default()
        }
    }

    fn form(url: impl Into<String>, fields: &[(&str, &str)]) -> Self {
        Request {
            post: true,
            url: url.into(),
            content_type: Some("application/x-www-form-urlencoded"),
            body: Bytes::from(form(fields)),
            ..Request::default()
        }
    }

    fn post_json(url: impl Into<String>, body: &Value) -> Self {
        Request {
            post: true,
            url: url.into(),
            content_type: Some("application/json"),
            body: Bytes::from(body.to_string()),
            ..Request::default()
        }
    }

    fn header(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// `application/x-www-form-urlencoded`.
fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", percent(name), percent(value)))
        .collect();
    pairs.join("&")
}

/// Everything but letters, digits and `-_.~` as `%XX`.
fn percent(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut out, byte| {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                // Writing into a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
            out
        })
}

/// A text field of an answer.
fn text_field<'v>(value: &'v Value, name: &str, what: &str) -> Result<&'v str, SourceError> {
    value
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| refuse(format!("{what} answered without '{name}'")))
}

/// How long a token is good: a number of seconds, which some services write as text.
fn seconds(value: Option<&Value>) -> Duration {
    value
        .and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()))
        .map_or(DEFAULT_LIFETIME, Duration::from_secs)
}

/// How long it is until an RFC 3339 time.
pub(crate) fn until(time: &str) -> Duration {
    time.parse::<jiff::Timestamp>().map_or(DEFAULT_LIFETIME, |time| {
        let left = time.duration_since(jiff::Timestamp::now());
        Duration::try_from(left).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests;
