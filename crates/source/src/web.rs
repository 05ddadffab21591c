//! HTTP for sources that are not Git: clients with certificates and proxies, bounded downloads, redirects that keep
//! credentials at home.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fluvial_ports::Access;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt;

use crate::error::{SourceError, reason};
use crate::git::{Credentials, Secret, redact};
use crate::limits::human;

/// Longest time for a connection to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// Time limit where none is given.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Most clients that are kept.
const CLIENTS: usize = 64;

/// Clients by what they are made with: making one reads all root certificates.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<FxHashMap<[u8; 32], Client>>);

/// A client with its credentials.
#[derive(Clone, Debug)]
pub(crate) struct Web {
    pub(crate) client: Client,
    pub(crate) credentials: Credentials,
    pub(crate) timeout: Duration,
}

/// Why there is no response to use.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    /// What the server said, if it said something.
    pub(crate) status: Option<StatusCode>,
    /// Text with a hint.
    pub(crate) message: String,
}

impl Clients {
    /// A client for an access.
    pub(crate) fn web(&self, access: &Access) -> Result<Web, SourceError> {
        let mut credentials = match &access.credentials {
            // A docker configuration is read where the registry's host is known.
            Some(data) if !data.contains_key(".dockerconfigjson") => Credentials::from_secret(data)?,
            _ => Credentials::default(),
        };
        if let Some(data) = &access.certificates {
            let certificates = Credentials::from_secret(&only_certificates(data))?;
            credentials.ca = certificates.ca.or(credentials.ca);
            credentials.client_certificate =
                certificates.client_certificate.or(credentials.client_certificate);
        }
        if let Some(data) = &access.proxy {
            credentials = credentials.with_proxy(data)?;
        }
        let timeout = if access.timeout.is_zero() {
            TIMEOUT
        } else {
            access.timeout
        };
        let client = self.client(&credentials)?;
        Ok(Web {
            client,
            credentials,
            timeout,
        })
    }

    fn client(&self, credentials: &Credentials) -> Result<Client, SourceError> {
        let key = fingerprint(credentials);
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = build(credentials)?;
        if clients.len() >= CLIENTS {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }
}

/// What a Secret with certificates may hold besides is not looked at.
fn only_certificates(data: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let keys = ["ca.crt", "caFile", "tls.crt", "tls.key", "certFile", "keyFile"];
    let chosen = data.iter().filter(|(key, _)| keys.contains(&key.as_str()));
    chosen.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What makes a client differ from others; credentials in headers do not.
fn fingerprint(credentials: &Credentials) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |data: &[u8]| {
        hash.update(data.len().to_le_bytes());
        hash.update(data);
    };
    part(credentials.ca.as_deref().unwrap_or_default());
    if let Some(certificate) = &credentials.client_certificate {
        part(&certificate.certificate);
        part(certificate.key.expose());
    }
    if let Some(proxy) = &credentials.proxy {
        part(proxy.address.as_bytes());
        part(proxy.username.as_deref().unwrap_or_default().as_bytes());
        part(proxy.password.as_ref().map(Secret::expose).unwrap_or_default());
    }
    hash.finalize().into()
}

fn build(credentials: &Credentials) -> Result<Client, SourceError> {
    let unusable = |what: &str, error: &dyn std::fmt::Display| {
        SourceError::retry(
            reason::AUTHENTICATION_FAILED,
            format!("{what} cannot be used: {error}; correct the Secret"),
        )
    };
    let mut builder = Client::builder()
        .redirect(Policy::custom(|attempt| {
            let from_tls = attempt
                .previous()
                .last()
                .is_some_and(|url| url.scheme() == "https");
            if attempt.previous().len() > 10 {
                attempt.error("more than 10 redirects")
            } else if from_tls && attempt.url().scheme() != "https" {
                attempt.error("a redirect from https to plain http is not followed")
            } else {
                attempt.follow()
            }
        }))
        .connect_timeout(CONNECT)
        .user_agent(concat!("fluvial/", env!("CARGO_PKG_VERSION")));
    if let Some(ca) = &credentials.ca {
        let what = "the CA certificate (ca.crt)";
        let certificates =
            reqwest::Certificate::from_pem_bundle(ca).map_err(|error| unusable(what, &error))?;
        if certificates.is_empty() {
            return Err(unusable(what, &"it holds no PEM certificate"));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    if let Some(identity) = &credentials.client_certificate {
        let pem = [&identity.certificate[..], b"\n", identity.key.expose()].concat();
        let identity = reqwest::Identity::from_pem(&pem)
            .map_err(|error| unusable("the client certificate (tls.crt, tls.key)", &error))?;
        builder = builder.identity(identity);
    }
    if let Some(proxy) = &credentials.proxy {
        let mut setting = reqwest::Proxy::all(&proxy.address).map_err(|error| {
            SourceError::retry(
                reason::PROXY_INVALID,
                format!(
                    "proxy address '{}' cannot be used: {error}; write it as http://HOST:PORT",
                    redact(&proxy.address)
                ),
            )
        })?;
        if let Some(username) = &proxy.username {
            let password = proxy
                .password
                .as_ref()
                .map(Secret::expose_text)
                .unwrap_or_default();
            setting = setting.basic_auth(username, &password);
        }
        builder = builder.proxy(setting);
    }
    builder
        .build()
        .map_err(|error| SourceError::retry("Failed", format!("no HTTP client can be made: {error}")))
}

/// The innermost causes of a failure say what is wrong; the outer ones repeat the URL.
pub(crate) fn causes(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no (complete) answer in time; raise spec.timeout, or look at the server".to_owned();
    }
    let mut texts: Vec<String> = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    let text = texts.last().cloned().unwrap_or_else(|| error.to_string());
    let hint = if text.contains("UnknownIssuer") || text.contains("invalid peer certificate") {
        "; put the server's CA certificate into ca.crt of the Secret of spec.certSecretRef"
    } else {
        ""
    };
    format!("{text}{hint}")
}

impl Web {
    /// Asks for a URL. Credentials are sent if `trusted`.
    pub(crate) async fn get(
        &self,
        url: &Url,
        headers: HeaderMap,
        trusted: bool,
    ) -> Result<Response, Refused> {
        let mut request = self
            .client
            .get(url.clone())
            .headers(headers)
            .timeout(self.timeout);
        if trusted {
            if let Some(token) = &self.credentials.bearer_token {
                request = request.bearer_auth(token.expose_text());
            } else if let Some(username) = &self.credentials.username {
                let password = self.credentials.password.as_ref().map(Secret::expose_text);
                request = request.basic_auth(username, password);
            }
        }
        let shown = redact(url.as_str());
        let response = request.send().await.map_err(|error| Refused {
            status: None,
            message: format!("failed to fetch {shown}: {}", causes(&error)),
        })?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let hint = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if self.credentials.username.is_some() => {
                "; correct username and password in the Secret of spec.secretRef"
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "; name a Secret with username and password in spec.secretRef"
            }
            StatusCode::NOT_FOUND => "; correct the URL",
            StatusCode::TOO_MANY_REQUESTS => "; the server asks for fewer requests",
            _ => "",
        };
        Err(Refused {
            status: Some(status),
            message: format!("failed to fetch {shown}: {status}{hint}"),
        })
    }
}

/// Takes a response's body into a file; the digest of its bytes and their number.
pub(crate) async fn to_file(response: Response, path: &Path, most: u64) -> Result<(String, u64), String> {
    let io = |error: std::io::Error| format!("cannot write '{}': {error}", path.display());
    let mut file = tokio::fs::File::create(path).await.map_err(io)?;
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut response = response;
    while let Some(chunk) = response.chunk().await.map_err(|error| causes(&error))? {
        size += chunk.len() as u64;
        if size > most {
            return Err(format!("it is larger than the {} that are allowed", human(most)));
        }
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(io)?;
    }
    file.flush().await.map_err(io)?;
    Ok((format!("sha256:{}", crate::hex(&hash.finalize())), size))
}

/// Takes a response's body into memory.
pub(crate) async fn to_memory(response: Response, most: u64) -> Result<Arc<[u8]>, String> {
    let mut response = response;
    let mut data = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| causes(&error))? {
        if (data.len() + chunk.len()) as u64 > most {
            return Err(format!("it is larger than the {} that are allowed", human(most)));
        }
        data.extend_from_slice(&chunk);
    }
    Ok(data.into())
}
