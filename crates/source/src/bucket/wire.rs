//! One request to an object store and what came of it. Redirects are not followed: what signs a request is for one server.

use std::fmt;
use std::time::Instant;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Response, StatusCode, Url};

use super::xml;
use crate::error::SourceError;
use crate::git::redact;
use crate::http::{Deadline, HttpError};

/// Longest error that a store is listened to.
const MAX_ERROR: u64 = 64 << 10;
/// Longest page of a listing.
pub(super) const MAX_PAGE: u64 = 32 << 20;

/// Why a store did not do what it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// It answered with an error.
    Refused {
        status: u16,
        /// Its word for it.
        code: String,
        /// Its text.
        message: String,
        /// The region that it says the bucket is in.
        region: Option<String>,
    },
    /// There was no good answer.
    Http(HttpError),
    /// It answered with something that is no answer.
    Answer(String),
    /// The credentials could not be had or used.
    Source(SourceError),
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Failure::Http(error)
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Failure::Source(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused {
                status,
                code,
                message,
                ..
            } => {
                let what = match (code.is_empty(), message.is_empty()) {
                    (false, false) => format!("{code}: {message} (status {status})"),
                    (false, true) => format!("{code} (status {status})"),
                    (true, _) => format!("status {status}"),
                };
                write!(f, "{what}; {}", advice(*status, code))
            }
            Failure::Http(error) => error.fmt(f),
            Failure::Answer(text) => write!(
                f,
                "the answer is not that of an object store ({text}); check spec.endpoint and spec.provider"
            ),
            Failure::Source(error) => error.fmt(f),
        }
    }
}

fn advice(status: u16, code: &str) -> &'static str {
    match (status, code) {
        (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "AuthenticationFailed" | "InvalidToken") => {
            "the credentials were refused: check those in the secret of spec.secretRef"
        }
        (_, "ExpiredToken" | "TokenRefreshRequired") => "the credentials have expired: renew them",
        (_, "RequestTimeTooSkewed") => "set the clock of this machine",
        (401, _) => "the store wants other credentials: check the secret of spec.secretRef",
        (403, _) => "give the account the right to list the bucket and to read its objects",
        (404, _) => "check spec.bucketName and spec.endpoint",
        (429 | 503, _) => "the store asks for fewer requests; trying again",
        _ => "trying again",
    }
}

impl Failure {
    /// Whether the store has no such bucket or object.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Failure::Refused { status: 404, .. })
    }
}

/// A way to one store.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) client: Client,
    pub(super) deadline: Instant,
}

/// An answer: status of success, etag, body.
pub(super) struct Answer {
    pub(super) etag: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Wire {
    /// Asks with GET; the answer if it is one of success with at most `most` bytes.
    pub(super) async fn get(
        &self,
        url: Url,
        headers: &[(String, String)],
        most: u64,
    ) -> Result<Answer, Failure> {
        let from = url.clone();
        let request = self.client.get(url).headers(map(headers)?);
        let mut response = Deadline(self.deadline).wait(request.send()).await?;
        if response.status().is_success() {
            let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok());
            let etag = etag.map(|etag| etag.trim_matches('"').to_owned());
            let body = Deadline(self.deadline).read(&mut response, most).await?;
            return Ok(Answer { etag, body });
        }
        Err(self.refusal(&from, response).await)
    }

    async fn refusal(&self, from: &Url, mut response: Response) -> Failure {
        let status = response.status();
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            Some(value.to_str().ok()?.to_owned())
        };
        let region = header("x-amz-bucket-region");
        let code = header("x-ms-error-code").unwrap_or_default();
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED && region.is_none() {
            let target = header(LOCATION.as_str()).and_then(|to| from.join(&to).ok());
            let target = target.map_or_else(String::new, |to| format!(" to '{}'", redact(to.as_str())));
            return HttpError::Redirect(format!("a redirect{target}")).into();
        }
        let body = Deadline(self.deadline)
            .read(&mut response, MAX_ERROR)
            .await
            .unwrap_or_default();
        let (own, message, told) = error_of(&body);
        Failure::Refused {
            status: status.as_u16(),
            code: if own.is_empty() { code } else { own },
            message,
            region: region.or(told),
        }
    }
}

fn map(headers: &[(String, String)]) -> Result<HeaderMap, Failure> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let pair = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .zip(HeaderValue::from_str(value).ok());
        let Some((name, mut value)) = pair else {
            return Err(super::unusable(format!(
                "header '{name}' cannot be sent: it has characters that none may have"
            ))
            .into());
        };
        value.set_sensitive(true);
        map.insert(name, value);
    }
    Ok(map)
}

/// Code, text and region of an error in XML or JSON.
fn error_of(body: &[u8]) -> (String, String, Option<String>) {
    if let Ok(error) = xml::parse(body) {
        let region = Some(error.child("Region")).filter(|region| !region.is_empty());
        return (
            error.child("Code").to_owned(),
            error
                .child("Message")
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
            region.map(str::to_owned),
        );
    }
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |pointer: &str| json.pointer(pointer).and_then(serde_json::Value::as_str);
    let code = text("/error/errors/0/reason").or_else(|| text("/error/status"));
    let message = text("/error/message").or_else(|| text("/error_description"));
    (
        code.unwrap_or_default().to_owned(),
        message.unwrap_or_default().to_owned(),
        None,
    )
}

/// Everything but letters, digits and `-_.~` as `%XX`, slashes as they are if they part a path.
pub(super) fn percent(text: &str, path: bool) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (path && byte == b'/') {
            out.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A query in canonical form: sorted, everything encoded.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    let mut pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", percent(name, false), percent(value, false)))
        .collect();
    pairs.sort();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_in_each_store_s_form() {
        let s3 = b"<Error><Code>NoSuchBucket</Code><Message>gone</Message><Region>eu-west-1</Region></Error>";
        assert_eq!(
            error_of(s3),
            (
                "NoSuchBucket".to_owned(),
                "gone".to_owned(),
                Some("eu-west-1".to_owned())
            )
        );
        let gcs = br#"{"error":{"code":401,"message":"no","errors":[{"reason":"required"}]}}"#;
        assert_eq!(error_of(gcs), ("required".to_owned(), "no".to_owned(), None));
        assert_eq!(error_of(b"<html>"), (String::new(), String::new(), None));
    }

    #[test]
    fn keys_and_queries_are_encoded_as_signatures_want_them() {
        assert_eq!(percent("a b/ü+.~", true), "a%20b/%C3%BC%2B.~");
        assert_eq!(
            query(&[("prefix", "a/b"), ("list-type", "2")]),
            "list-type=2&prefix=a%2Fb"
        );
    }
}
