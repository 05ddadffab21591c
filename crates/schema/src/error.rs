//! Errors about single fields, printed as an API server prints them in messages and causes.

use std::fmt;

use serde_json::Value;

/// What is wrong with a field; names are those of the causes' reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// The value is missing.
    Required,
    /// The value is known already.
    Duplicate,
    /// The value is not allowed.
    Invalid,
    /// The value is not one of a list.
    NotSupported,
    /// The field may not be set.
    Forbidden,
    /// The value has too many characters or bytes.
    TooLong,
    /// The list has too many items.
    TooMany,
    /// The value has the wrong type.
    TypeInvalid,
    /// What the value refers to is missing.
    NotFound,
    /// The server failed.
    Internal,
}

impl ErrorKind {
    /// Reason of the cause in a Status.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            ErrorKind::Required => "FieldValueRequired",
            ErrorKind::Duplicate => "FieldValueDuplicate",
            ErrorKind::Invalid => "FieldValueInvalid",
            ErrorKind::NotSupported => "FieldValueNotSupported",
            ErrorKind::Forbidden => "FieldValueForbidden",
            ErrorKind::TooLong => "FieldValueTooLong",
            ErrorKind::TooMany => "FieldValueTooMany",
            ErrorKind::TypeInvalid => "FieldValueTypeInvalid",
            ErrorKind::NotFound => "FieldValueNotFound",
            ErrorKind::Internal => "InternalError",
        }
    }

    fn text(self) -> &'static str {
        match self {
            ErrorKind::Required => "Required value",
            ErrorKind::Duplicate => "Duplicate value",
            ErrorKind::Invalid | ErrorKind::TypeInvalid => "Invalid value",
            ErrorKind::NotSupported => "Unsupported value",
            ErrorKind::Forbidden => "Forbidden",
            ErrorKind::TooLong => "Too long",
            ErrorKind::TooMany => "Too many",
            ErrorKind::NotFound => "Not found",
            ErrorKind::Internal => "Internal error",
        }
    }
}

/// An error about one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Path such as `spec.containers[0].image`; empty for the root, which prints as `<nil>`.
    pub path: String,
    /// The value, where the message shows it.
    pub value: Option<Value>,
    /// What to do better.
    pub detail: String,
}

impl FieldError {
    /// An error that shows its value.
    #[must_use]
    pub fn new(kind: ErrorKind, path: impl Into<String>, value: Value, detail: impl Into<String>) -> Self {
        FieldError {
            kind,
            path: path.into(),
            value: Some(value),
            detail: detail.into(),
        }
    }

    /// An error without a value.
    #[must_use]
    pub fn plain(kind: ErrorKind, path: impl Into<String>, detail: impl Into<String>) -> Self {
        FieldError {
            kind,
            path: path.into(),
            value: None,
            detail: detail.into(),
        }
    }

    /// An error about a value that is not one of a few.
    #[must_use]
    pub fn not_supported(path: impl Into<String>, value: Value, allowed: &[&str]) -> Self {
        let allowed: Vec<String> = allowed.iter().map(|text| quote(text)).collect();
        let detail = format!("supported values: {}", allowed.join(", "));
        FieldError::new(ErrorKind::NotSupported, path, value, detail)
    }

    /// Reason of the cause in a Status.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.kind.reason()
    }

    /// Field of the cause in a Status.
    #[must_use]
    pub fn field(&self) -> &str {
        if self.path.is_empty() { "<nil>" } else { &self.path }
    }

    /// Message of the cause in a Status: the error without its path.
    #[must_use]
    pub fn body(&self) -> String {
        let mut out = self.kind.text().to_owned();
        let shown = !matches!(
            self.kind,
            ErrorKind::Required | ErrorKind::Forbidden | ErrorKind::Internal | ErrorKind::TooLong
        );
        if shown && let Some(value) = &self.value {
            out.push_str(": ");
            out.push_str(&go_value(value));
        }
        if !self.detail.is_empty() {
            out.push_str(": ");
            out.push_str(&self.detail);
        }
        out
    }
}

/// A value in an error text: strings quoted as Go's `%q`, others as JSON.
fn go_value(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        other => other.to_string(),
    }
}

/// Quotes as Go's `strconv.Quote`.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            control if (control as u32) < 0x20 || control == '\u{7f}' => {
                out.push_str(&format!("\\x{:02x}", control as u32));
            }
            '\u{80}'..='\u{a0}'
            | '\u{ad}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{200b}'..='\u{200f}'
            | '\u{feff}' => {
                out.push_str(&format!("\\u{:04x}", character as u32));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field(), self.body())
    }
}

impl std::error::Error for FieldError {}
