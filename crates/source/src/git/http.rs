//! Git's smart protocol over HTTP with our own client: credentials, CA, proxy, redirects, deadline
//! and size limit are in one place, and a failure is remembered as what it was.

use std::io::{self, BufRead, Cursor, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use gix::error::Error as GixError;
use gix::protocol::transport::client::blocking_io::http::{
    GetResponse, Http, PostBodyDataKind, PostResponse,
};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode, Url};

use super::Credentials;
use super::url::{percent_decode, redact};
use super::wire::{Failure, Wire};
use crate::credentials::Secret;
use crate::error::{SourceError, reason};
use crate::http::{HttpClients, HttpError, MAX_REDIRECTS, chain, redirect_target};

impl Wire {
    fn request<T>(&self, future: impl Future<Output = reqwest::Result<T>>) -> io::Result<T> {
        match self.wait(future)? {
            Ok(value) => Ok(value),
            Err(error) if error.is_timeout() && Instant::now() >= self.deadline => {
                Err(self.outcome.fail(Failure::Timeout))
            }
            Err(error) => Err(self.outcome.fail(Failure::Connect(chain(&error.without_url())))),
        }
    }
}

/// The HTTP side of gix's transport.
#[derive(Debug)]
pub(crate) struct GitHttp {
    shared: Arc<Wire>,
    /// Shows the client's certificate.
    own: Client,
    /// For every other server.
    foreign: Client,
    credentials: Credentials,
    origin: Url,
    base: Option<String>,
}

impl GitHttp {
    /// A client for one fetch from `url`.
    pub(crate) fn new(
        clients: &HttpClients,
        url: &str,
        credentials: &Credentials,
        wire: Arc<Wire>,
    ) -> Result<Self, SourceError> {
        let mut origin = Url::parse(url).map_err(|error| {
            SourceError::stalled(
                reason::URL_INVALID,
                format!("invalid Git URL '{}': {error}", redact(url)),
            )
        })?;
        let mut credentials = credentials.clone();
        if !origin.username().is_empty()
            && credentials.username.is_none()
            && credentials.bearer_token.is_none()
        {
            credentials.username = Some(percent_decode(origin.username()));
            credentials.password = origin.password().map(|text| Secret::new(percent_decode(text)));
        }
        // Without user information both of these always succeed.
        let _ = origin.set_username("");
        let _ = origin.set_password(None);
        let settings = credentials.http_settings();
        let own = clients.client(&settings)?;
        let foreign = clients.client(&settings.anonymous())?;
        Ok(GitHttp {
            shared: wire,
            own,
            foreign,
            credentials,
            origin,
            base: None,
        })
    }

    /// The URL without credentials, for gix.
    pub(crate) fn plain_url(&self) -> &str {
        self.origin.as_str().trim_end_matches('/')
    }

    /// A request to `url`; credentials are added for the server that they are for.
    fn request(&self, post: bool, url: &Url, headers: &HeaderMap) -> reqwest::RequestBuilder {
        let trusted = url.origin() == self.origin.origin();
        let client = if trusted { &self.own } else { &self.foreign };
        let method = if post {
            reqwest::Method::POST
        } else {
            reqwest::Method::GET
        };
        let mut request = client.request(method, url.clone()).headers(headers.clone());
        if trusted {
            if let Some(token) = &self.credentials.bearer_token {
                request = request.bearer_auth(token.expose_text());
            } else if let Some(username) = &self.credentials.username {
                let password = self.credentials.password.as_ref().map(Secret::expose_text);
                request = request.basic_auth(username, password);
            }
        }
        request
    }

    fn follow(&self, from: &Url, response: &reqwest::Response) -> io::Result<Url> {
        redirect_target(from, response).map_err(|error| {
            let what = match error {
                HttpError::Redirect(what) => what,
                other => other.to_string(),
            };
            self.shared.outcome.fail(Failure::Redirect(what))
        })
    }
}

fn header_map(headers: impl IntoIterator<Item = impl AsRef<str>>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for header in headers {
        let Some((name, value)) = header.as_ref().split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("authorization") || name.eq_ignore_ascii_case("user-agent") {
            continue;
        }
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.trim().as_bytes()),
            HeaderValue::from_str(value.trim()),
        ) {
            map.append(name, value);
        }
    }
    map
}

fn header_lines(response: &reqwest::Response) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in response.headers() {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.as_bytes());
        lines.push(b'\n');
    }
    lines
}

fn gix_error(error: io::Error) -> GixError {
    GixError::from_error(error)
}

impl Http for GitHttp {
    type Headers = ResponseHeaders;
    type ResponseBody = ResponseBody;
    type PostBody = PostBody;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<ResponseHeaders, ResponseBody>> {
        let headers = header_map(headers);
        let tail = url.strip_prefix(base_url).unwrap_or_default().to_owned();
        let mut here = Url::parse(url).map_err(|error| gix_error(io::Error::other(error)))?;
        let outcome = Arc::clone(&self.shared.outcome);
        for hop in 0.. {
            let response = self
                .shared
                .request(self.request(false, &here, &headers).send())
                .map_err(gix_error)?;
            let status = response.status();
            if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
                if hop >= MAX_REDIRECTS {
                    let what = format!("more than {MAX_REDIRECTS} redirects");
                    return Err(gix_error(outcome.fail(Failure::Redirect(what))));
                }
                here = self.follow(&here, &response).map_err(gix_error)?;
                continue;
            }
            if !status.is_success() {
                return Err(gix_error(outcome.fail(Failure::Status(status.as_u16()))));
            }
            if hop > 0 {
                let base = here.as_str().strip_suffix(&tail).ok_or_else(|| {
                    let what = format!(
                        "a redirect to '{}', which is no Git address",
                        redact(here.as_str())
                    );
                    gix_error(outcome.fail(Failure::Redirect(what)))
                })?;
                self.base = Some(base.to_owned());
            }
            let lines = header_lines(&response);
            let exchange = Exchange::started(Arc::clone(&self.shared), response);
            return Ok(GetResponse {
                headers: ResponseHeaders(HeaderState::Ready(Cursor::new(lines))),
                body: ResponseBody(Arc::new(Mutex::new(exchange)), Bytes::new()),
            });
        }
        Err(gix_error(io::Error::other("no answer")))
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<ResponseHeaders, ResponseBody, PostBody>> {
        let url = Url::parse(url).map_err(|error| gix_error(io::Error::other(error)))?;
        let request = self.request(true, &url, &header_map(headers));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let exchange = Arc::new(Mutex::new(Exchange {
            shared: Arc::clone(&self.shared),
            request: Some((request, Arc::clone(&sent))),
            response: None,
            lines: Vec::new(),
            begun: false,
        }));
        Ok(PostResponse {
            post_body: PostBody(sent),
            headers: ResponseHeaders(HeaderState::Waiting(Arc::clone(&exchange))),
            body: ResponseBody(exchange, Bytes::new()),
        })
    }

    fn configure(&mut self, _config: &dyn std::any::Any) -> gix::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.base.clone()
    }
}

/// The body of a request; it is sent when the answer is first read, and is complete then.
#[derive(Debug)]
pub(crate) struct PostBody(Arc<Mutex<Vec<u8>>>);

impl Write for PostBody {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A request and its answer, sent at the first need.
#[derive(Debug)]
pub(crate) struct Exchange {
    shared: Arc<Wire>,
    request: Option<(reqwest::RequestBuilder, Arc<Mutex<Vec<u8>>>)>,
    response: Option<reqwest::Response>,
    lines: Vec<u8>,
    begun: bool,
}

impl Exchange {
    fn started(shared: Arc<Wire>, response: reqwest::Response) -> Self {
        Exchange {
            shared,
            request: None,
            response: Some(response),
            lines: Vec::new(),
            begun: false,
        }
    }

    fn start(&mut self) -> io::Result<()> {
        let Some((request, body)) = self.request.take() else {
            return Ok(());
        };
        let body = std::mem::take(&mut *body.lock().unwrap_or_else(PoisonError::into_inner));
        let response = self.shared.request(request.body(body).send())?;
        let status = response.status();
        if status.is_redirection() {
            let what = "a redirect in the middle of a fetch".to_owned();
            return Err(self.shared.outcome.fail(Failure::Redirect(what)));
        }
        if !status.is_success() {
            return Err(self.shared.outcome.fail(Failure::Status(status.as_u16())));
        }
        self.lines = header_lines(&response);
        self.response = Some(response);
        Ok(())
    }

    fn chunk(&mut self) -> io::Result<Bytes> {
        self.start()?;
        let Some(response) = &mut self.response else {
            return Ok(Bytes::new());
        };
        let chunk = self.shared.request(response.chunk())?.unwrap_or_default();
        let first = !std::mem::replace(&mut self.begun, true);
        self.shared.outcome.take(&chunk, first)?;
        Ok(chunk)
    }
}

/// Header lines of an answer.
#[derive(Debug)]
pub(crate) struct ResponseHeaders(HeaderState);

#[derive(Debug)]
enum HeaderState {
    Ready(Cursor<Vec<u8>>),
    Waiting(Arc<Mutex<Exchange>>),
}

impl ResponseHeaders {
    fn ready(&mut self) -> io::Result<&mut Cursor<Vec<u8>>> {
        if let HeaderState::Waiting(exchange) = &self.0 {
            let lines = {
                let mut exchange = exchange.lock().unwrap_or_else(PoisonError::into_inner);
                exchange.start()?;
                std::mem::take(&mut exchange.lines)
            };
            self.0 = HeaderState::Ready(Cursor::new(lines));
        }
        match &mut self.0 {
            HeaderState::Ready(lines) => Ok(lines),
            HeaderState::Waiting(_) => Err(io::Error::other("no headers")),
        }
    }
}

impl Read for ResponseHeaders {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.ready()?.read(buffer)
    }
}

impl BufRead for ResponseHeaders {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.ready()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let HeaderState::Ready(lines) = &mut self.0 {
            lines.consume(amount);
        }
    }
}

/// The body of an answer, read as it comes.
#[derive(Debug)]
pub(crate) struct ResponseBody(Arc<Mutex<Exchange>>, Bytes);

impl Read for ResponseBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for ResponseBody {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.1.is_empty() {
            self.1 = self.0.lock().unwrap_or_else(PoisonError::into_inner).chunk()?;
        }
        Ok(&self.1)
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.1.len());
        self.1 = self.1.slice(amount..);
    }
}
