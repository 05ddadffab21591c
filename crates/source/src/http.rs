//! HTTP(S) for all kinds of sources: one way to make clients (CA, client certificate, proxy, limits), and requests whose
//! redirects never carry credentials to another server.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, LOCATION};
use reqwest::{Client, Method, Response, StatusCode, Url};
use rustc_hash::FxHashMap;

use crate::credentials::{Basic, Proxy, Secret, Tls};
use crate::error::{SourceError, reason};
use crate::git::redact;
use crate::limits::human;

/// Most redirects that are followed.
pub const MAX_REDIRECTS: usize = 5;
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait between two pieces of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Most clients that are kept.
const KEPT_CLIENTS: usize = 200;

/// What decides about a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpSettings {
    /// Trust and client certificate.
    pub tls: Tls,
    /// Proxy; without one, that of the environment.
    pub proxy: Option<Proxy>,
}

impl HttpSettings {
    /// The same, without what identifies the client to a server.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        HttpSettings {
            tls: self.tls.anonymous(),
            proxy: self.proxy.clone(),
        }
    }
}

/// What a request carries to say whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpAuth {
    /// User and password.
    Basic(Basic),
    /// Token.
    Bearer(Secret),
}

/// Clients by their settings: making one reads all of the system's certificates, and a kept one has open connections.
#[derive(Clone, Debug, Default)]
pub struct HttpClients(Arc<Mutex<FxHashMap<HttpSettings, Client>>>);

fn unusable(what: &str, error: &dyn std::error::Error) -> SourceError {
    SourceError::retry(
        reason::AUTHENTICATION_FAILED,
        format!("{what} cannot be used: {}; correct the secret", chain(error)),
    )
}

impl HttpClients {
    /// The client with these settings. It follows no redirects: [`HttpSession`] does.
    ///
    /// # Errors
    /// If a certificate, key or proxy address cannot be used.
    pub fn client(&self, settings: &HttpSettings) -> Result<Client, SourceError> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(settings) {
            return Ok(client.clone());
        }
        let client = build(settings)?;
        if clients.len() >= KEPT_CLIENTS {
            clients.clear();
        }
        clients.insert(settings.clone(), client.clone());
        Ok(client)
    }
}

fn build(settings: &HttpSettings) -> Result<Client, SourceError> {
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .user_agent(concat!("git/2.0 (fluvial/", env!("CARGO_PKG_VERSION"), ")"));
    if let Some(ca) = &settings.tls.ca {
        let certificates = reqwest::Certificate::from_pem_bundle(ca)
            .map_err(|error| unusable("the CA certificate (ca.crt)", &error))?;
        if certificates.is_empty() {
            return Err(SourceError::retry(
                reason::AUTHENTICATION_FAILED,
                "the CA certificate (ca.crt) holds no PEM certificate; correct the secret",
            ));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    if let Some(identity) = &settings.tls.client {
        let mut pem = identity.certificate.clone();
        pem.push(b'\n');
        pem.extend_from_slice(identity.key.expose());
        let identity = reqwest::Identity::from_pem(&pem)
            .map_err(|error| unusable("the client certificate (tls.crt, tls.key)", &error))?;
        builder = builder.identity(identity);
    }
    if settings.tls.accept_any {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    if let Some(proxy) = &settings.proxy {
        builder = builder.proxy(proxy_setting(proxy)?);
    }
    builder
        .build()
        .map_err(|error| unusable("the TLS settings", &error))
}

fn proxy_setting(proxy: &Proxy) -> Result<reqwest::Proxy, SourceError> {
    let setting = reqwest::Proxy::all(&proxy.address).map_err(|error| {
        SourceError::retry(
            reason::PROXY_INVALID,
            format!(
                "proxy address '{}' cannot be used: {error}; write it as http://HOST:PORT",
                redact(&proxy.address)
            ),
        )
    })?;
    Ok(match &proxy.username {
        Some(username) => {
            let password = proxy.password.as_ref().map(Secret::expose_text);
            setting.basic_auth(username, &password.unwrap_or_default())
        }
        None => setting,
    })
}

/// Why there is no answer, or no good one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// The server answered with this status.
    Status(u16),
    /// No connection; with all causes.
    Connect(String),
    /// The deadline passed.
    Timeout,
    /// A redirect that is not followed; what it is.
    Redirect(String),
    /// The answer is larger than this.
    TooLarge(u64),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::Status(status) => write!(f, "status {status}"),
            HttpError::Connect(text) => write!(f, "{text}; {}", connect_advice(text)),
            HttpError::Timeout => {
                f.write_str("no answer in time; check that the server answers, or raise the timeout")
            }
            HttpError::Redirect(what) => write!(
                f,
                "{what}, which is not followed; use the address that it leads to"
            ),
            HttpError::TooLarge(limit) => write!(f, "the answer has more than {}", human(*limit)),
        }
    }
}

impl HttpError {
    /// Whether the server wants other credentials, or any.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, HttpError::Status(401 | 403))
    }

    /// The error for a condition: `AuthenticationFailed` if the server refused the credentials, else `reason`.
    /// `what` says what was tried, as in `cannot fetch 'https://…'`.
    #[must_use]
    pub fn explain(&self, what: &str, reason: &'static str, signed_in: bool) -> SourceError {
        let auth = |text: &str| SourceError::retry(reason::AUTHENTICATION_FAILED, format!("{what}: {text}"));
        match self {
            HttpError::Status(401) if signed_in => auth(
                "the credentials were refused (401); check user name and password or token in the secret",
            ),
            HttpError::Status(401) => auth("the server wants credentials (401); name a secret with them"),
            HttpError::Status(403) => auth("access was denied (403); give the account the right to read"),
            HttpError::Status(404) => SourceError::retry(
                reason,
                format!("{what}: not found (404); check the URL, and that the account may read it"),
            ),
            HttpError::Status(407) => SourceError::retry(
                reason::PROXY_INVALID,
                format!("{what}: the proxy wants other credentials (407); check the proxy's secret"),
            ),
            other => SourceError::retry(reason, format!("{what}: {other}")),
        }
    }
}

/// What may help after a failed connection.
pub(crate) fn connect_advice(text: &str) -> &'static str {
    let lower = text.to_lowercase();
    if lower.contains("certificaterequired") || lower.contains("certificate required") {
        "the server wants a client certificate; add tls.crt and tls.key to the secret"
    } else if lower.contains("certificate") || lower.contains("unknownissuer") {
        "the server's certificate is not trusted; add its CA as ca.crt to the secret of spec.certSecretRef (of a GitRepository, \
         spec.secretRef)"
    } else if lower.contains("dns") || lower.contains("resolve") {
        "the host name cannot be resolved; check the URL and the DNS"
    } else if lower.contains("refused") {
        "nothing listens there; check host and port of the URL"
    } else if BROKEN_OFF.iter().any(|word| lower.contains(word)) {
        "the answer broke off; it is asked for again, look at the server and what is before it if that does not help"
    } else {
        "trying again"
    }
}

/// What errors of transfers that ended too soon say.
const BROKEN_OFF: [&str; 5] = [
    "body",
    "before message completed",
    "reset",
    "end of file",
    "unexpected eof",
];

/// An error with all its causes, each said once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
}

/// Requests on behalf of one source: credentials go to its own server (scheme, host and port), to others only if told.
#[derive(Clone, Debug)]
pub struct HttpSession {
    own: Client,
    foreign: Client,
    origin: Url,
    auth: Option<HttpAuth>,
    everywhere: bool,
    deadline: Deadline,
}

impl HttpSession {
    /// A session for the server of `origin`, until `deadline`.
    ///
    /// # Errors
    /// As [`HttpClients::client`].
    pub fn new(
        clients: &HttpClients,
        origin: &Url,
        settings: &HttpSettings,
        auth: Option<HttpAuth>,
        deadline: Instant,
    ) -> Result<Self, SourceError> {
        let own = clients.client(settings)?;
        let foreign = if settings.tls.client.is_some() {
            clients.client(&settings.anonymous())?
        } else {
            own.clone()
        };
        Ok(HttpSession {
            own,
            foreign,
            origin: origin.clone(),
            auth,
            everywhere: false,
            deadline: Deadline(deadline),
        })
    }

    /// Sends the credentials to every server that `send` is called for, too (`passCredentials`). Redirects to other
    /// servers still do not carry them.
    #[must_use]
    pub fn pass_credentials(mut self, everywhere: bool) -> Self {
        self.everywhere = everywhere;
        self
    }

    /// Whether requests to the source's own server carry anything.
    #[must_use]
    pub fn signed_in(&self) -> bool {
        self.auth.is_some()
    }

    /// Asks, follows redirects, and gives the answer if its status is one of success or 304.
    ///
    /// # Errors
    /// For every other outcome.
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response, HttpError> {
        let mut trusted = url.origin() == self.origin.origin() || self.everywhere;
        let (mut here, mut method, mut body, mut headers) = (url.clone(), method, body, headers.clone());
        for _ in 0..=MAX_REDIRECTS {
            let client = if trusted { &self.own } else { &self.foreign };
            let mut request = client
                .request(method.clone(), here.clone())
                .headers(headers.clone())
                .body(body.clone());
            if trusted {
                request = match &self.auth {
                    Some(HttpAuth::Basic(basic)) => {
                        request.basic_auth(&basic.username, Some(basic.password.expose_text()))
                    }
                    Some(HttpAuth::Bearer(token)) => request.bearer_auth(token.expose_text()),
                    None => request,
                };
            }
            let response = self.deadline.wait(request.send()).await?;
            let status = response.status();
            if status.is_success() || status == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            if !status.is_redirection() {
                return Err(HttpError::Status(status.as_u16()));
            }
            let next = redirect_target(&here, &response)?;
            if status == StatusCode::SEE_OTHER {
                (method, body) = (Method::GET, Bytes::new());
            }
            if next.origin() != here.origin() {
                trusted = false;
                if method == Method::POST && !body.is_empty() {
                    // Such a body is a form with tokens.
                    let to = redact(next.as_str());
                    return Err(HttpError::Redirect(format!("a redirect of a form to '{to}'")));
                }
                headers = harmless(&headers);
            }
            here = next;
        }
        Err(HttpError::Redirect(format!(
            "more than {MAX_REDIRECTS} redirects"
        )))
    }

    /// [`HttpSession::send`] with GET.
    ///
    /// # Errors
    /// As there.
    pub async fn get(&self, url: &Url, headers: &HeaderMap) -> Result<Response, HttpError> {
        self.send(Method::GET, url, headers, Bytes::new()).await
    }

    /// The next piece of an answer, within the deadline.
    ///
    /// # Errors
    /// If the connection breaks or the deadline passes.
    pub async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, HttpError> {
        self.deadline.wait(response.chunk()).await
    }

    /// The whole answer, if it has at most `limit` bytes.
    ///
    /// # Errors
    /// If it is larger, breaks off or takes too long.
    pub async fn read(&self, mut response: Response, limit: u64) -> Result<Vec<u8>, HttpError> {
        self.deadline.read(&mut response, limit).await
    }
}

/// Of the headers of a request, those that say nothing about who asks.
fn harmless(headers: &HeaderMap) -> HeaderMap {
    let kept = [ACCEPT, CONTENT_TYPE, IF_MODIFIED_SINCE, IF_NONE_MATCH];
    let pairs = kept.into_iter().filter_map(|name| {
        let value = headers.get(&name)?.clone();
        Some((name, value))
    });
    pairs.collect()
}

/// When everything about a request must be over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(pub(crate) Instant);

impl Deadline {
    /// The whole answer, if it has at most `limit` bytes.
    pub(crate) async fn read(self, response: &mut Response, limit: u64) -> Result<Vec<u8>, HttpError> {
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(HttpError::TooLarge(limit));
        }
        let mut all = Vec::new();
        while let Some(chunk) = self.wait(response.chunk()).await? {
            if (all.len() + chunk.len()) as u64 > limit {
                return Err(HttpError::TooLarge(limit));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    /// What comes of a step, if it comes in time.
    pub(crate) async fn wait<T>(
        self,
        future: impl Future<Output = reqwest::Result<T>>,
    ) -> Result<T, HttpError> {
        match tokio::time::timeout_at(tokio::time::Instant::from_std(self.0), future).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if error.is_timeout() => Err(HttpError::Timeout),
            Ok(Err(error)) => Err(HttpError::Connect(chain(&error.without_url()))),
            Err(_) => Err(HttpError::Timeout),
        }
    }
}

/// Where a redirect leads, if it may be followed.
pub(crate) fn redirect_target(from: &Url, response: &Response) -> Result<Url, HttpError> {
    let refuse = |what: String| HttpError::Redirect(what);
    let target = response
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| from.join(value).ok())
        .ok_or_else(|| refuse("a redirect without a usable Location".to_owned()))?;
    let shown = redact(target.as_str());
    match (from.scheme(), target.scheme()) {
        (_, "https") | ("http", "http") => Ok(target),
        ("https", "http") => Err(refuse(format!("a redirect from https to plain http ('{shown}')"))),
        _ => Err(refuse(format!("a redirect to '{shown}'"))),
    }
}
