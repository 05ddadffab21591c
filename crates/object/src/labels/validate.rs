//! What keys and values of labels may look like, in the API server's words.

use super::{Operator, SelectorError};
use crate::quote::quote;

const NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used \
    for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
    '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// What is wrong with a label's (or annotation's) key; empty when nothing is.
#[must_use]
pub fn check_key(key: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let parts: Vec<&str> = key.split('/').collect();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                if prefix.len() > 253 {
                    errors.push("prefix part must be no more than 253 bytes".to_owned());
                }
                if !is_subdomain(prefix) {
                    errors.push(format!("prefix part {SUBDOMAIN}"));
                }
            }
            name
        }
        _ => {
            return vec![format!(
                "a valid label key {NAME} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        errors.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_name(name) {
        errors.push(format!("name part {NAME}"));
    }
    errors
}

/// What is wrong with a label's value; empty when nothing is.
#[must_use]
pub fn check_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > 63 {
        errors.push("must be no more than 63 bytes".to_owned());
    }
    if !value.is_empty() && !is_name(value) {
        errors.push(VALUE.to_owned());
    }
    errors
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    })
}

/// `key` with its errors, as the API server reports a bad key at `path`.
pub(super) fn key(path: &str, key: &str) -> Result<(), SelectorError> {
    let errors = check_key(key);
    if errors.is_empty() {
        return Ok(());
    }
    Err(SelectorError(invalid(path, &quote(key), &errors.join("; "))))
}

fn invalid(path: &str, value: &str, detail: &str) -> String {
    format!("{path}: Invalid value: {value}: {detail}")
}

/// Checks a requirement as a whole; `empty` is how an empty list of values prints.
pub(super) fn requirement(
    label: &str,
    operator: Operator,
    values: &[String],
    empty: &str,
) -> Result<(), SelectorError> {
    let mut errors = Vec::new();
    if let Err(error) = key("key", label) {
        errors.push(error.0);
    }
    let list = || {
        if values.is_empty() {
            empty.to_owned()
        } else {
            let quoted: Vec<String> = values.iter().map(|value| quote(value)).collect();
            format!("[{}]", quoted.join(","))
        }
    };
    let count_error = match operator {
        Operator::In | Operator::NotIn => values
            .is_empty()
            .then_some("for 'in', 'notin' operators, values set can't be empty"),
        Operator::Equals | Operator::DoubleEquals | Operator::NotEquals => {
            (values.len() != 1).then_some("exact-match compatibility requires one single value")
        }
        Operator::Exists | Operator::DoesNotExist => {
            (!values.is_empty()).then_some("values set must be empty for exists and does not exist")
        }
        Operator::GreaterThan | Operator::LessThan => {
            (values.len() != 1).then_some("for 'Gt', 'Lt' operators, exactly one value is required")
        }
    };
    if let Some(detail) = count_error {
        errors.push(invalid("values", &list(), detail));
    }
    for (index, value) in values.iter().enumerate() {
        let ordered = matches!(operator, Operator::GreaterThan | Operator::LessThan);
        if ordered && value.parse::<i64>().is_err() {
            errors.push(invalid(
                &format!("values[{index}]"),
                &quote(value),
                "for 'Gt', 'Lt' operators, the value must be an integer",
            ));
        }
    }
    for (index, value) in values.iter().enumerate() {
        let details = check_value(value);
        if !details.is_empty() {
            errors.push(invalid(
                &format!("values[{index}][{label}]"),
                &quote(value),
                &details.join("; "),
            ));
        }
    }
    match errors.len() {
        0 => Ok(()),
        1 => Err(SelectorError(errors.remove(0))),
        _ => Err(SelectorError(format!("[{}]", errors.join(", ")))),
    }
}
