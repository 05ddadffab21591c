//! What checks of several kinds have in common.

use fluvial_object::labels::Selector;
use fluvial_schema::{ErrorKind, FieldError};
use serde_json::{Value, json};

use crate::names;

/// The list that errors are added to.
pub(super) type Errors = Vec<FieldError>;

pub(super) fn invalid(
    path: impl Into<String>,
    value: impl Into<Value>,
    detail: impl Into<String>,
) -> FieldError {
    FieldError::new(ErrorKind::Invalid, path, value.into(), detail)
}

pub(super) fn required(path: impl Into<String>, detail: &str) -> FieldError {
    FieldError::plain(ErrorKind::Required, path, detail)
}

pub(super) fn forbidden(path: impl Into<String>, detail: impl Into<String>) -> FieldError {
    FieldError::plain(ErrorKind::Forbidden, path, detail.into())
}

/// An error whose value is shown as Go shows a struct of its own: `shown` has the fields in their order.
pub(super) fn go_struct(kind: ErrorKind, path: impl Into<String>, shown: &str, detail: &str) -> FieldError {
    let detail = if detail.is_empty() {
        shown.to_owned()
    } else {
        format!("{shown}: {detail}")
    };
    FieldError::plain(kind, path, detail)
}

pub(super) fn duplicate(path: impl Into<String>, value: impl Into<Value>) -> FieldError {
    FieldError::new(ErrorKind::Duplicate, path, value.into(), "")
}

/// A text field; empty if it is absent.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or("")
}

/// The items of a list field with their indices.
pub(super) fn items<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    object[field].as_array().into_iter().flatten().enumerate()
}

/// Whether a list or map has nothing in it.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// A value that is there must be one of these.
pub(super) fn one_of(value: &Value, allowed: &[&str], path: impl Into<String>, errors: &mut Errors) {
    if let Some(text) = value.as_str()
        && !allowed.contains(&text)
    {
        errors.push(FieldError::not_supported(path, value.clone(), allowed));
    }
}

/// A number that is there must not be negative.
pub(super) fn not_negative(object: &Value, field: &str, path: &str, errors: &mut Errors) {
    if object[field].as_i64().is_some_and(|number| number < 0) {
        errors.push(invalid(
            format!("{path}.{field}"),
            object[field].clone(),
            "must be greater than or equal to 0",
        ));
    }
}

/// A number must be a port.
pub(super) fn port(value: &Value, path: &str, errors: &mut Errors) {
    let number = value.as_i64().unwrap_or(0);
    if !(1..=65_535).contains(&number) {
        errors.push(invalid(path, number, "must be between 1 and 65535, inclusive"));
    }
}

/// A name must keep a rule.
pub(super) fn named(value: &str, rule: fn(&str) -> names::Complaints, path: &str, errors: &mut Errors) {
    errors.extend(rule(value).into_iter().map(|detail| invalid(path, value, detail)));
}

/// A label selector must be one.
pub(super) fn selector(value: &Value, path: &str, errors: &mut Errors) {
    crate::registry::meta::validate_labels(&value["matchLabels"], &format!("{path}.matchLabels"), errors);
    for (index, expression) in items(value, "matchExpressions") {
        let path = format!("{path}.matchExpressions[{index}]");
        let given = !is_empty(&expression["values"]);
        match text(expression, "operator") {
            "In" | "NotIn" if !given => errors.push(required(
                format!("{path}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if given => errors.push(forbidden(
                format!("{path}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(invalid(
                format!("{path}.operator"),
                expression["operator"].clone(),
                "not a valid selector operator",
            )),
        }
        named(
            text(expression, "key"),
            names::qualified_name,
            &format!("{path}.key"),
            errors,
        );
        for (number, value) in items(expression, "values") {
            let at = format!("{path}.values[{number}]");
            named(value.as_str().unwrap_or(""), names::label_value, &at, errors);
        }
    }
}

/// The selector of a workload and the labels of its template must go together; whether the template is worth a look.
pub(super) fn selector_matches(spec: &Value, kind: &str, errors: &mut Errors) -> bool {
    let own = &spec["selector"];
    let before = errors.len();
    if own.is_null() {
        errors.push(required("spec.selector", ""));
    } else {
        selector(own, "spec.selector", errors);
        if is_empty(&own["matchLabels"]) && is_empty(&own["matchExpressions"]) {
            let detail = format!("empty selector is invalid for {kind}");
            errors.push(invalid("spec.selector", own.clone(), detail));
        }
    }
    let labels = &spec["template"]["metadata"]["labels"];
    match Selector::from_value(own) {
        Ok(selector) if errors.len() == before || own.is_null() => {
            let fits = selector.matches(|name| labels[name].as_str());
            if !fits {
                let path = "spec.template.metadata.labels";
                errors.push(invalid(
                    path,
                    labels.clone(),
                    "`selector` does not match template `labels`",
                ));
            }
        }
        Ok(_) => {}
        Err(_) if kind == "daemonset" => {}
        Err(_) => {
            let parts = ["matchLabels", "matchExpressions"].iter();
            let shown: Vec<String> = parts
                .filter(|field| !is_empty(&own[**field]))
                .map(|field| format!("\"{field}\":{}", own[*field]))
                .collect();
            let shown = format!("{{{}}}", shown.join(","));
            let detail = if kind == "statefulset" {
                ""
            } else {
                "invalid label selector"
            };
            errors.push(go_struct(ErrorKind::Invalid, "spec.selector", &shown, detail));
            return false;
        }
    }
    true
}

/// A whole number or a percentage.
pub(super) fn int_or_percent(value: &Value, path: &str, errors: &mut Errors) {
    match value {
        Value::String(text) => {
            let number = text.strip_suffix('%').unwrap_or("");
            if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                let detail = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or \
                    '93%', regex used for validation is '[0-9]+%')";
                errors.push(invalid(path, text.clone(), detail));
            }
        }
        Value::Number(number) if number.as_i64().is_some_and(|number| number < 0) => {
            errors.push(invalid(path, value.clone(), "must be greater than or equal to 0"));
        }
        _ => {}
    }
}

/// An internet address.
pub(super) fn address(value: &str, path: &str, errors: &mut Errors) -> bool {
    let good = value.parse::<std::net::IpAddr>().is_ok();
    if !good {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.push(invalid(path, value, detail));
    }
    good
}

/// An address that others can reach.
pub(super) fn outside_address(value: &str, path: &str, errors: &mut Errors) {
    let Ok(address) = value.parse::<std::net::IpAddr>() else {
        return;
    };
    if address.is_loopback() {
        let detail = "may not be in the loopback range (127.0.0.0/8, ::1/128)";
        errors.push(invalid(path, value, detail));
    } else if address.is_unspecified() {
        errors.push(invalid(path, value, "may not be unspecified (0.0.0.0 or ::)"));
    }
}

/// A value as the JSON that errors show, with nothing for what is absent.
pub(super) fn shown(value: &Value) -> Value {
    if value.is_null() {
        json!(null)
    } else {
        value.clone()
    }
}
