//! Roles and who has them.

use fluvial_schema::FieldError;
use serde_json::Value;

use super::common::{Errors, invalid, is_empty, items, named, required, selector, text};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Checks a role, of a namespace or of the cluster.
pub(super) fn role(object: &Value, cluster: bool, errors: &mut Errors) {
    for (index, rule) in items(object, "rules") {
        let path = format!("rules[{index}]");
        if is_empty(&rule["verbs"]) {
            let detail = "verbs must contain at least one value";
            errors.push(required(format!("{path}.verbs"), detail));
        }
        let urls = &rule["nonResourceURLs"];
        if !is_empty(urls) {
            let path = format!("{path}.nonResourceURLs");
            if !cluster {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                errors.push(invalid(path.clone(), urls.clone(), detail));
            }
            if ["apiGroups", "resources", "resourceNames"]
                .iter()
                .any(|field| !is_empty(&rule[*field]))
            {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(invalid(path, urls.clone(), detail));
            }
            continue;
        }
        if is_empty(&rule["apiGroups"]) {
            let detail = "resource rules must supply at least one api group";
            errors.push(required(format!("{path}.apiGroups"), detail));
        }
        if is_empty(&rule["resources"]) {
            let detail = "resource rules must supply at least one resource";
            errors.push(required(format!("{path}.resources"), detail));
        }
    }
    let aggregation = &object["aggregationRule"];
    if aggregation.is_null() {
        return;
    }
    if is_empty(&aggregation["clusterRoleSelectors"]) {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(required("aggregationRule.clusterRoleSelectors", detail));
    }
    for (index, own) in items(aggregation, "clusterRoleSelectors") {
        let path = format!("aggregationRule.clusterRoleSelectors[{index}]");
        let before = errors.len();
        selector(own, &path, errors);
        if errors.len() > before {
            errors.push(invalid(path, Value::Null, "invalid label selector."));
        }
    }
}

/// Checks who is bound to which role.
pub(super) fn binding(object: &Value, cluster: bool, errors: &mut Errors) {
    let role = &object["roleRef"];
    let unsupported =
        |path: String, value: &str, allowed: &[&str]| FieldError::not_supported(path, value.into(), allowed);
    if !matches!(text(role, "apiGroup"), "" | GROUP) {
        errors.push(unsupported(
            "roleRef.apiGroup".into(),
            text(role, "apiGroup"),
            &[GROUP],
        ));
    }
    let kinds: &[&str] = if cluster {
        &["ClusterRole"]
    } else {
        &["Role", "ClusterRole"]
    };
    if !kinds.contains(&text(role, "kind")) {
        errors.push(unsupported("roleRef.kind".into(), text(role, "kind"), kinds));
    }
    match text(role, "name") {
        "" => errors.push(required("roleRef.name", "")),
        name => named(name, crate::names::segment, "roleRef.name", errors),
    }
    for (index, subject) in items(object, "subjects") {
        let path = format!("subjects[{index}]");
        if text(subject, "name").is_empty() {
            errors.push(required(format!("{path}.name"), ""));
        }
        let group = text(subject, "apiGroup");
        match text(subject, "kind") {
            "ServiceAccount" => {
                if !text(subject, "name").is_empty() {
                    let name = text(subject, "name");
                    named(name, crate::names::subdomain, &format!("{path}.name"), errors);
                }
                if !group.is_empty() {
                    errors.push(unsupported(format!("{path}.apiGroup"), group, &[""]));
                }
                if cluster && text(subject, "namespace").is_empty() {
                    errors.push(required(format!("{path}.namespace"), ""));
                }
            }
            "User" | "Group" => {
                if group != GROUP {
                    errors.push(unsupported(format!("{path}.apiGroup"), group, &[GROUP]));
                }
            }
            other => {
                let allowed = &["ServiceAccount", "User", "Group"];
                errors.push(unsupported(format!("{path}.kind"), other, allowed));
            }
        }
    }
}
