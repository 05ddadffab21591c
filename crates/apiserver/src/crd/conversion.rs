//! What is wrong with the way a definition's objects are converted, and with addresses of webhooks in general.

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use super::definition::{invalid, text};
use crate::names;

type Errors = Vec<FieldError>;

const AT: &str = "spec.conversion";

fn required(path: impl Into<String>, detail: &str) -> FieldError {
    FieldError::plain(ErrorKind::Required, path, detail)
}

/// Errors of a definition's conversion.
pub fn validate(conversion: &Value, errors: &mut Errors) {
    match conversion["strategy"].as_str().unwrap_or("None") {
        "None" => none(&conversion["webhook"], errors),
        "Webhook" => webhook(&conversion["webhook"], errors),
        other => errors.push(FieldError::not_supported(
            format!("{AT}.strategy"),
            other.into(),
            &["None", "Webhook"],
        )),
    }
}

fn none(hook: &Value, errors: &mut Errors) {
    let detail = "should not be set when strategy is not set to Webhook";
    let fields = [
        ("webhookClientConfig", "clientConfig"),
        ("conversionReviewVersions", "conversionReviewVersions"),
    ];
    for (shown, field) in fields {
        if !hook[field].is_null() {
            errors.push(FieldError::plain(
                ErrorKind::Forbidden,
                format!("{AT}.{shown}"),
                detail,
            ));
        }
    }
}

fn webhook(hook: &Value, errors: &mut Errors) {
    let client = &hook["clientConfig"];
    let at = format!("{AT}.webhookClientConfig");
    if client.is_null() {
        errors.push(required(at, "required when strategy is set to Webhook"));
    } else if client["url"].is_null() == client["service"].is_null() {
        errors.push(required(at, "exactly one of url or service is required"));
    } else if let Some(text) = client["url"].as_str() {
        url(text, &format!("{at}.url"), errors);
    } else {
        service(&client["service"], &format!("{at}.service"), errors);
    }
    review_versions(&hook["conversionReviewVersions"], errors);
}

/// Errors of a webhook's URL.
pub fn url(url: &str, at: &str, errors: &mut Errors) {
    const FORM: &str = "; desired format: https://host[/path]";
    if url.starts_with(':') {
        let detail = format!("url must be a valid URL: parse {url:?}: missing protocol scheme{FORM}");
        errors.push(required(at, &detail));
        return;
    }
    // Without a scheme it is a path, and has no host.
    let (scheme, rest) = url.split_once("://").unwrap_or(("", ""));
    if scheme != "https" {
        let detail = format!("'https' is the only allowed URL scheme{FORM}");
        errors.push(invalid(at, scheme, detail));
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let host = rest.split('/').next().unwrap_or("");
    if host.is_empty() {
        errors.push(invalid(at, "", format!("host must be specified{FORM}")));
    }
    if let Some((user, _)) = host.split_once('@') {
        errors.push(invalid(at, user, "user information is not permitted in the URL"));
    }
    if !fragment.is_empty() {
        errors.push(invalid(at, fragment, "fragments are not permitted in the URL"));
    }
    if !query.is_empty() {
        errors.push(invalid(
            at,
            query,
            "query parameters are not permitted in the URL",
        ));
    }
}

/// Errors of the service that a webhook is behind.
pub fn service(service: &Value, at: &str, errors: &mut Errors) {
    for field in ["name", "namespace"] {
        if text(service, field).is_empty() {
            errors.push(required(format!("{at}.{field}"), ""));
        }
    }
    if let Some(port) = service["port"]
        .as_i64()
        .filter(|port| !(1..=65_535).contains(port))
    {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(invalid(format!("{at}.port"), port, detail));
    }
    if let Some(path) = service["path"].as_str() {
        service_path(path, &format!("{at}.path"), errors);
    }
}

/// Errors of the path below a service.
fn service_path(path: &str, at: &str, errors: &mut Errors) {
    if path == "/" || path.is_empty() {
        return;
    }
    if path == "//" {
        errors.push(invalid(at, path, "segment[0] may not be empty"));
        return;
    }
    if !path.starts_with('/') {
        errors.push(invalid(at, path, "must start with a '/'"));
    }
    // The first character counts for nothing, whether or not it is a slash.
    let mut rest = path.chars();
    rest.next();
    let rest = rest.as_str();
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    for (index, step) in rest.split('/').enumerate() {
        match step {
            "" => {
                let detail = format!("segment[{index}] may not be empty");
                errors.push(invalid(at, path, detail));
            }
            step => errors.extend(
                names::subdomain(step)
                    .into_iter()
                    .map(|detail| invalid(at, path, format!("segment[{index}]: {detail}"))),
            ),
        }
    }
}

fn review_versions(given: &Value, errors: &mut Errors) {
    let path = format!("{AT}.conversionReviewVersions");
    if given.as_array().is_none_or(Vec::is_empty) {
        errors.push(required(path, ""));
        return;
    }
    known_versions(given, &path, errors);
}

/// Errors of the versions in which a webhook understands reviews.
pub fn known_versions(given: &Value, path: &str, errors: &mut Errors) {
    let list = given.as_array().map_or(&[][..], Vec::as_slice);
    for (index, version) in list.iter().enumerate() {
        let at = format!("{path}[{index}]");
        let name = version.as_str().unwrap_or("");
        if list[..index].contains(version) {
            errors.push(invalid(at, name, "duplicate version"));
        } else {
            errors.extend(
                names::label_1035(name)
                    .into_iter()
                    .map(|detail| invalid(&at, name, detail)),
            );
        }
    }
    if !list.iter().any(|version| version == "v1" || version == "v1beta1") {
        let detail = "must include at least one of v1, v1beta1";
        errors.push(invalid(path, given.clone(), detail));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_of_webhooks_are_looked_at_part_by_part() {
        let texts = |client: Value| {
            let mut errors = vec![];
            let hook = json!({"clientConfig": client, "conversionReviewVersions": ["v1"]});
            validate(&json!({"strategy": "Webhook", "webhook": hook}), &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let at = "spec.conversion.webhookClientConfig";
        assert_eq!(
            texts(json!({"url": "https://x?q"})),
            [format!(
                "{at}.url: Invalid value: \"q\": query parameters are not permitted in the URL"
            )]
        );
        assert_eq!(
            texts(json!({"service": {"name": "a", "namespace": "b", "path": "x//y"}})),
            [
                format!("{at}.service.path: Invalid value: \"x//y\": must start with a '/'"),
                format!("{at}.service.path: Invalid value: \"x//y\": segment[0] may not be empty"),
                format!("{at}.service.path: Invalid value: \"x//y\": segment[1] may not be empty"),
            ]
        );
        assert!(texts(json!({"url": "https://x/y"})).is_empty());
    }
}
