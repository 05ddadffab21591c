//! From what the server or the transport says to the errors of the port.

use std::time::Duration;

use fluvial_ports::{ClusterError, ErrorKind, FieldCause};
use http::StatusCode;
use serde::Deserialize;

use crate::connect::chain;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Status {
    message: String,
    reason: String,
    code: u16,
    details: Details,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    causes: Vec<Cause>,
    retry_after_seconds: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Cause {
    reason: String,
    field: String,
    message: String,
}

/// The error in a response that is not a success.
pub(crate) fn from_response(code: StatusCode, body: &[u8]) -> ClusterError {
    match serde_json::from_slice::<Status>(body) {
        Ok(status) if !status.message.is_empty() => from_status(status, code.as_u16()),
        _ => {
            let text = String::from_utf8_lossy(body);
            let text: String = text.trim().chars().take(500).collect();
            from_status(
                Status {
                    message: format!("{code}: {text}"),
                    ..Status::default()
                },
                code.as_u16(),
            )
        }
    }
}

pub(crate) fn from_status(status: Status, code: u16) -> ClusterError {
    let code = if status.code == 0 { code } else { status.code };
    let seconds = status.details.retry_after_seconds;
    ClusterError {
        kind: kind(&status.reason, code),
        reason: status.reason,
        message: status.message,
        code,
        causes: status
            .details
            .causes
            .into_iter()
            .map(|cause| FieldCause {
                reason: cause.reason,
                field: cause.field,
                message: cause.message,
            })
            .collect(),
        retry_after: (seconds > 0).then(|| Duration::from_secs(seconds)),
    }
}

fn kind(reason: &str, code: u16) -> ErrorKind {
    match (reason, code) {
        ("AlreadyExists", _) => ErrorKind::AlreadyExists,
        ("NotFound", _) | (_, 404) => ErrorKind::NotFound,
        ("Conflict", _) | (_, 409) => ErrorKind::Conflict,
        ("Invalid" | "BadRequest", _) | (_, 400 | 422) => ErrorKind::Invalid,
        ("Forbidden", _) | (_, 403) => ErrorKind::Forbidden,
        ("Unauthorized", _) | (_, 401) => ErrorKind::Unauthorized,
        ("Expired" | "Gone", _) | (_, 410) => ErrorKind::Expired,
        ("TooManyRequests", _) | (_, 429) => ErrorKind::Throttled,
        ("Timeout" | "ServerTimeout", _) | (_, 504) => ErrorKind::Timeout,
        _ => ErrorKind::Other,
    }
}

/// The error of a request that got no answer from a server.
pub(crate) fn from_transport(error: &kube::Error, server: &str) -> ClusterError {
    match error {
        kube::Error::Api(status) => {
            let mut mapped = from_status(
                Status {
                    message: status.message.clone(),
                    reason: status.reason.clone(),
                    ..Status::default()
                },
                status.code,
            );
            mapped.code = status.code;
            mapped
        }
        other => ClusterError::new(ErrorKind::Unreachable, unanswered(&chain(other), server)),
    }
}

/// What went wrong on the way, and what helps.
fn unanswered(chain: &str, server: &str) -> String {
    let cause = chain.trim_start_matches("ServiceError: ");
    let cause = cause.trim_start_matches("client error (Connect): ");
    let help = if cause.contains("Connection refused") {
        "; nothing listens there: is the cluster running, and is this its kubeconfig?"
    } else if cause.contains("certificate") || cause.contains("UnknownIssuer") {
        "; the kubeconfig is of another cluster, or of an earlier run"
    } else {
        ""
    };
    match server {
        "" => format!("{cause}{help}"),
        server => format!("no answer from {server}: {cause}{help}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_keeps_its_reason_causes_and_wait() {
        let body = br#"{"kind":"Status","status":"Failure","message":"no","reason":"Invalid","code":422,
            "details":{"causes":[{"reason":"FieldValueRequired","message":"Required value","field":"spec.x"}],"retryAfterSeconds":3}}"#;
        let error = from_response(StatusCode::UNPROCESSABLE_ENTITY, body);
        assert_eq!(
            (error.kind, error.code, error.retry_after),
            (ErrorKind::Invalid, 422, Some(Duration::from_secs(3)))
        );
        assert_eq!(error.causes[0].field, "spec.x");
    }

    #[test]
    fn an_answer_that_is_no_status_is_quoted() {
        let error = from_response(StatusCode::BAD_GATEWAY, b"<html>upstream</html>\n");
        assert_eq!(error.to_string(), "502 Bad Gateway: <html>upstream</html>");
        assert!(error.is_transient());
    }
}
