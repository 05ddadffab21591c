//! ConfigMaps, Secrets and what must not change in common kinds.

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use crate::kinds::Kind;
use crate::names;

fn invalid(path: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> FieldError {
    FieldError::new(ErrorKind::Invalid, path, value.into(), detail)
}

/// Errors of an object.
pub(super) fn validate(kind: &Kind, object: &Value, errors: &mut Vec<FieldError>) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "ConfigMap") => config_map(object, errors),
        ("", "Secret") => secret(object, errors),
        _ => {}
    }
}

fn config_map(object: &Value, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in object[field].as_object().into_iter().flatten() {
            let path = format!("{field}[{key}]");
            errors.extend(
                names::config_key(key)
                    .into_iter()
                    .map(|text| invalid(&path, key.clone(), text)),
            );
            if field == "data" && object["binaryData"].get(key).is_some() {
                errors.push(invalid(
                    &path,
                    key.clone(),
                    "duplicate of key present in binaryData",
                ));
            }
            size += value.as_str().map_or(0, str::len);
        }
    }
    if size > 1 << 20 {
        errors.push(FieldError::plain(
            ErrorKind::TooLong,
            "",
            "may not be more than 1048576 bytes",
        ));
    }
}

fn secret(object: &Value, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let path = format!("data[{key}]");
        errors.extend(
            names::config_key(key)
                .into_iter()
                .map(|text| invalid(&path, key.clone(), text)),
        );
        size += value.as_str().map_or(0, str::len) / 4 * 3;
    }
    if size > 1 << 20 {
        errors.push(FieldError::plain(
            ErrorKind::TooLong,
            "data",
            "may not be more than 1048576 bytes",
        ));
    }
    let required: &[&str] = match object["type"].as_str().unwrap_or("") {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in required {
        if object["data"].get(key).is_none() {
            errors.push(FieldError::plain(ErrorKind::Required, format!("data[{key}]"), ""));
        }
    }
}

/// Errors of a change.
pub(super) fn immutable(kind: &Kind, new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    const FIXED: &str = "field is immutable";
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "ConfigMap" | "Secret") => {
            if old["immutable"] == true {
                if new["immutable"] != true {
                    let detail = "field is immutable when `immutable` is set";
                    errors.push(FieldError::plain(ErrorKind::Forbidden, "immutable", detail));
                }
                for field in ["data", "binaryData"] {
                    if new[field] != old[field] {
                        let detail = "field is immutable when `immutable` is set";
                        errors.push(FieldError::plain(ErrorKind::Forbidden, field, detail));
                    }
                }
            }
            if kind.kind == "Secret" && new["type"] != old["type"] {
                errors.push(invalid("type", new["type"].clone(), FIXED));
            }
        }
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet")
            if new["spec"]["selector"] != old["spec"]["selector"] =>
        {
            errors.push(invalid("spec.selector", new["spec"]["selector"].clone(), FIXED));
        }
        ("batch", "Job") => {
            for field in [
                "selector",
                "template",
                "completionMode",
                "podFailurePolicy",
                "backoffLimitPerIndex",
                "managedBy",
            ] {
                if new["spec"][field] != old["spec"][field] {
                    errors.push(invalid(
                        format!("spec.{field}"),
                        new["spec"][field].clone(),
                        FIXED,
                    ));
                }
            }
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding")
            if new["roleRef"] != old["roleRef"] =>
        {
            let role = new["roleRef"].clone();
            errors.push(invalid("roleRef", role, "cannot change roleRef"));
        }
        _ => {}
    }
}
