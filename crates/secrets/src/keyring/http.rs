//! Requests to key services: bounded in time and size, and errors that say who refused.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value as Json;

use super::Refused;

/// Time limit of a request.
const LIMIT: Duration = Duration::from_secs(30);
/// Size of an answer. Keys are small.
const SIZE: usize = 1 << 20;

/// A client that is made when it is first needed: most files need none.
#[derive(Default)]
pub(super) struct Http(OnceLock<Result<reqwest::Client, String>>);

impl Http {
    pub(super) fn client(&self) -> Result<&reqwest::Client, Refused> {
        let client = self.0.get_or_init(|| {
            reqwest::Client::builder()
                .timeout(LIMIT)
                // A token is for the service that was asked, not for whom that names.
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .map_err(|error| format!("no HTTP client: {error}"))
        });
        client.as_ref().map_err(|error| error.clone().into())
    }
}

/// An answer that is JSON, whatever its status.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) location: Option<String>,
    pub(super) json: Json,
}

/// Sends a request to a service whose name is for messages.
pub(super) async fn send(service: &str, request: RequestBuilder) -> Result<Answer, Refused> {
    let lost = |error: reqwest::Error| Refused {
        message: format!("{service} does not answer: {}", reason(&error)),
        transient: true,
    };
    let mut response = request.send().await.map_err(lost)?;
    let status = response.status();
    let location = response
        .headers()
        .get(reqwest::header::LOCATION)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let mut body = zeroize::Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        if body.len() + chunk.len() > SIZE {
            return Err(format!("{service} answers with more than {SIZE} bytes").into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status,
        location,
        json: serde_json::from_slice(&body).unwrap_or(Json::Null),
    })
}

impl Answer {
    /// The answer, or what the service objects to.
    pub(super) fn accepted(self, service: &str) -> Result<Json, Refused> {
        if self.status.is_success() {
            return Ok(self.json);
        }
        Err(Refused {
            message: format!("{service} refuses ({}): {}", self.status, objection(&self.json)),
            transient: self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS,
        })
    }
}

/// A request that was accepted.
pub(super) async fn ask(service: &str, request: RequestBuilder) -> Result<Json, Refused> {
    send(service, request).await?.accepted(service)
}

/// A text field of an answer.
pub(super) fn text<'j>(json: &'j Json, pointer: &str, service: &str) -> Result<&'j str, Refused> {
    json.pointer(pointer).and_then(Json::as_str).ok_or_else(|| {
        format!(
            "the answer of {service} has no field {}",
            pointer.trim_start_matches('/')
        )
        .into()
    })
}

/// What services call what went wrong.
fn objection(json: &Json) -> String {
    const FIELDS: [&str; 8] = [
        "/error_description",
        "/error/message",
        "/errors/0",
        "/message",
        "/Message",
        "/Error/Message",
        "/__type",
        "/error",
    ];
    let found = FIELDS
        .iter()
        .filter_map(|pointer| json.pointer(pointer).and_then(Json::as_str));
    found
        .take(1)
        .map(|text| text.chars().take(500).collect())
        .next()
        .unwrap_or_else(|| "no reason given".to_owned())
}

/// An error with its causes, without the address: it can hold a token.
fn reason(error: &reqwest::Error) -> String {
    let mut next: Option<&dyn std::error::Error> = std::error::Error::source(error);
    if next.is_none() {
        return if error.is_timeout() {
            "no answer in time".to_owned()
        } else {
            "the request failed".to_owned()
        };
    }
    let mut last = String::new();
    while let Some(cause) = next {
        last = cause.to_string();
        next = cause.source();
    }
    last
}

/// Percent-encodes what is no unreserved character of a URL.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Fields as forms are sent.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.join("&")
}

/// JSON as the body of a request.
pub(super) fn with_json(request: RequestBuilder, json: &Json) -> RequestBuilder {
    request
        .header(reqwest::header::CONTENT_TYPE, "application/json")
        .body(json.to_string())
}

/// A form as the body of a request.
pub(super) fn with_form(request: RequestBuilder, fields: &[(&str, &str)]) -> RequestBuilder {
    request
        .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form(fields))
}
