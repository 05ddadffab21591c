//! Rules that say which requests a policy or a webhook is about.

use std::collections::BTreeSet;

use fluvial_schema::FieldError;
use serde_json::Value;

use super::{Errors, invalid, list, one_of, required};

/// Checks a rule about requests.
pub(super) fn rule(one: &Value, path: &str, errors: &mut Errors) {
    const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    let given = list(one, "operations");
    if given.is_empty() {
        errors.push(required(format!("{path}.operations"), ""));
    } else if given.len() > 1 && given.iter().any(|own| own == "*") {
        errors.push(invalid(
            format!("{path}.operations"),
            one["operations"].clone(),
            "if '*' is present, must not specify other operations",
        ));
    }
    for (index, own) in given.iter().enumerate() {
        let own = own.as_str().unwrap_or("");
        if !OPERATIONS.contains(&own) {
            errors.push(FieldError::not_supported(
                format!("{path}.operations[{index}]"),
                own.into(),
                OPERATIONS,
            ));
        }
    }
    for field in ["apiGroups", "apiVersions", "resources"] {
        let all = list(one, field);
        let at = format!("{path}.{field}");
        if all.is_empty() {
            errors.push(required(&at, ""));
        } else if field == "resources" {
            resources(all, &at, errors);
        } else if all.len() > 1 && all.iter().any(|own| own == "*") {
            let what = if field == "apiGroups" {
                "API groups"
            } else {
                "API versions"
            };
            let detail = format!("if '*' is present, must not specify other {what}");
            errors.push(invalid(&at, one[field].clone(), detail));
        }
        if field == "apiVersions" {
            for (index, own) in all.iter().enumerate() {
                if own == "" {
                    errors.push(required(format!("{at}[{index}]"), ""));
                }
            }
        }
    }
    let scopes = ["*", "Cluster", "Namespaced"];
    match one["scope"].as_str() {
        Some("") => {
            let path = format!("{path}.scope");
            errors.push(FieldError::not_supported(path, "".into(), &scopes));
        }
        _ => one_of(one, "scope", &scopes, path, errors),
    }
}

/// Names of resources and their parts, which must not say twice what one of them covers.
fn resources(all: &[Value], path: &str, errors: &mut Errors) {
    let (mut parts_of, mut part_of_all) = (BTreeSet::new(), BTreeSet::new());
    let (mut everything, mut whole, mut named) = (false, false, false);
    for (index, own) in all.iter().enumerate() {
        let at = format!("{path}[{index}]");
        let own = own.as_str().unwrap_or("");
        if own.is_empty() {
            errors.push(required(&at, ""));
            continue;
        }
        everything |= own == "*/*";
        whole |= own == "*";
        let Some((name, part)) = own.split_once('/') else {
            named = own != "*";
            continue;
        };
        if parts_of.contains(name) {
            let detail = format!("if '{name}/*' is present, must not specify {own}");
            errors.push(invalid(&at, own, detail));
        }
        if part_of_all.contains(part) {
            let detail = format!("if '*/{part}' is present, must not specify {own}");
            errors.push(invalid(&at, own, detail));
        }
        if part == "*" {
            parts_of.insert(name);
        }
        if name == "*" {
            part_of_all.insert(part);
        }
    }
    if all.len() > 1 && everything {
        let detail = "if '*/*' is present, must not specify other resources";
        errors.push(invalid(path, all.to_vec(), detail));
    }
    if whole && named {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.push(invalid(path, all.to_vec(), detail));
    }
}
