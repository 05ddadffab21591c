//! Failures as the API answers them: `Status` objects with the reasons and texts of a real server.

use fluvial_schema::FieldError;
use serde_json::{Map, Value, json};

/// A request that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// HTTP status.
    pub code: u16,
    /// Machine-readable reason; empty when a real server gives none.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// What it is about.
    pub details: Option<Value>,
    /// Not a Status but plain text (paths that are no API).
    pub plain: bool,
    /// Where a list can go on though it failed.
    pub next: Option<String>,
}

/// Result of a request's step.
pub type Outcome<T> = Result<T, Failure>;

/// `plural` or `plural.group`, as messages name resources.
#[must_use]
pub fn qualified(group: &str, plural: &str) -> String {
    if group.is_empty() {
        plural.to_owned()
    } else {
        format!("{plural}.{group}")
    }
}

fn details(group: &str, kind: &str, name: &str) -> Value {
    let mut details = Map::new();
    if !name.is_empty() {
        details.insert("name".into(), name.into());
    }
    if !group.is_empty() {
        details.insert("group".into(), group.into());
    }
    if !kind.is_empty() {
        details.insert("kind".into(), kind.into());
    }
    Value::Object(details)
}

impl Failure {
    /// A failure of any code.
    #[must_use]
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Failure {
            code,
            reason,
            message: message.into(),
            details: None,
            plain: false,
            next: None,
        }
    }

    /// The same with a token for those who take what is left of a list.
    #[must_use]
    pub fn with_continue(mut self, token: String) -> Self {
        self.next = Some(token);
        self
    }

    /// The same with details.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// 400.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Failure::new(400, "BadRequest", message)
    }

    /// 500 for an error that carries no reason.
    #[must_use]
    pub fn unclassified(message: impl Into<String>) -> Self {
        Failure::new(500, "", message)
    }

    /// 503 for what another server would have to answer.
    #[must_use]
    pub fn unavailable() -> Self {
        let mut failure = Failure::new(503, "", "service unavailable\n");
        failure.plain = true;
        failure
    }

    /// 500 with the reason InternalError.
    #[must_use]
    pub fn internal(message: impl std::fmt::Display) -> Self {
        let text = message.to_string();
        Failure::new(500, "InternalError", format!("Internal error occurred: {text}"))
            .with_details(json!({"causes": [{"message": text}]}))
    }

    /// 404 for an object.
    #[must_use]
    pub fn not_found(group: &str, plural: &str, name: &str) -> Self {
        Failure::new(
            404,
            "NotFound",
            format!("{} \"{name}\" not found", qualified(group, plural)),
        )
        .with_details(details(group, plural, name))
    }

    /// 409 for a name that is taken.
    #[must_use]
    pub fn already_exists(group: &str, plural: &str, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", qualified(group, plural));
        Failure::new(409, "AlreadyExists", message).with_details(details(group, plural, name))
    }

    /// The same, of an object whose name the server may make: the client is to ask again.
    #[must_use]
    pub fn not_generated(mut self) -> Self {
        self.message
            .push_str(", the server was not able to generate a unique name for the object");
        if let Some(details) = &mut self.details {
            details["retryAfterSeconds"] = 1.into();
        }
        self
    }

    /// 409 for an object that has changed or must not be written now.
    #[must_use]
    pub fn conflict(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            qualified(group, plural)
        );
        Failure::new(409, "Conflict", message).with_details(details(group, plural, name))
    }

    /// 403.
    #[must_use]
    pub fn forbidden(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let mut message = qualified(group, plural);
        if !name.is_empty() {
            message.push_str(&format!(" \"{name}\""));
        }
        Failure::new(403, "Forbidden", format!("{message} is forbidden: {why}"))
            .with_details(details(group, plural, name))
    }

    /// 405.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Failure::new(405, "MethodNotAllowed", message).with_details(json!({}))
    }

    /// 405 naming the resource and verb, which some resources answer.
    #[must_use]
    pub fn method_not_supported(group: &str, plural: &str, verb: &str) -> Self {
        let message = format!(
            "{verb} is not supported on resources of kind \"{}\"",
            qualified(group, plural)
        );
        Failure::new(405, "MethodNotAllowed", message).with_details(details(group, plural, ""))
    }

    /// 404 for a path below a known group.
    #[must_use]
    pub fn no_resource() -> Self {
        Failure::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .with_details(json!({}))
    }

    /// 404 in plain text.
    #[must_use]
    pub fn no_page() -> Self {
        Failure {
            plain: true,
            ..Failure::new(404, "", "404 page not found\n")
        }
    }

    /// 401.
    #[must_use]
    pub fn unauthorized() -> Self {
        Failure::new(401, "Unauthorized", "Unauthorized")
    }

    /// 410: a version that is no longer known.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Failure::new(410, "Expired", message)
    }

    /// 415 for a body.
    #[must_use]
    pub fn unsupported_body() -> Self {
        Failure::new(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: \
             application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )
    }

    /// 422 with causes.
    #[must_use]
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let all = match texts.as_slice() {
            [one] => one.clone(),
            many => {
                let mut unique: Vec<&str> = Vec::new();
                for text in many {
                    if !unique.contains(&text.as_str()) {
                        unique.push(text);
                    }
                }
                if let [one] = unique.as_slice() {
                    (*one).to_owned()
                } else {
                    format!("[{}]", unique.join(", "))
                }
            }
        };
        let shown = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let mut details = details(group, kind, name);
        if !errors.is_empty() {
            let causes: Vec<Value> = errors.iter().map(cause).collect();
            details["causes"] = causes.into();
        }
        Failure::new(422, "Invalid", format!("{shown} \"{name}\" is invalid: {all}")).with_details(details)
    }

    /// The body.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(token) = &self.next {
            status["metadata"]["continue"] = token.as_str().into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

fn cause(error: &FieldError) -> Value {
    json!({"reason": error.kind.reason(), "message": error.body(), "field": error.field()})
}

/// The answer to a deletion that has finished.
#[must_use]
pub fn deleted(group: &str, plural: &str, name: &str, uid: &str) -> Value {
    let mut about = details(group, plural, name);
    about["uid"] = uid.into();
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": about})
}
