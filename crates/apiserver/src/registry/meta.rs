//! Rules of metadata that hold for all kinds.

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use crate::kinds::Kind;
use crate::names;

mod looks;

fn invalid(path: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> FieldError {
    FieldError::new(ErrorKind::Invalid, path, value.into(), detail)
}

/// What the names of a kind may look like.
#[must_use]
pub fn name_rule(kind: &Kind) -> fn(&str) -> names::Complaints {
    if kind.custom.is_some() {
        return names::subdomain;
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace") => names::label,
        ("", "Service") | ("apps", "StatefulSet") => names::label,
        ("rbac.authorization.k8s.io", _) | ("certificates.k8s.io", _) => names::segment,
        ("apiregistration.k8s.io", _) | ("policy", "PodDisruptionBudget") => names::segment,
        ("networking.k8s.io", "IPAddress") => names::address,
        _ => names::subdomain,
    }
}

fn labels(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        errors.extend(
            names::qualified_name(key)
                .into_iter()
                .map(|text| invalid(path, key.clone(), text)),
        );
        let value = value.as_str().unwrap_or("");
        errors.extend(
            names::label_value(value)
                .into_iter()
                .map(|text| invalid(path, value, text)),
        );
    }
}

/// Labels, under whatever path they are.
pub fn validate_labels(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    labels(value, path, errors);
}

/// Annotations, under whatever path they are.
pub fn annotations(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for (key, value) in value.as_object().into_iter().flatten() {
        let low = key.to_lowercase();
        errors.extend(
            names::qualified_name(&low)
                .into_iter()
                .map(|text| invalid(path, key.clone(), text)),
        );
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > 262_144 {
        errors.push(FieldError::plain(
            ErrorKind::TooLong,
            path,
            "may not be more than 262144 bytes",
        ));
    }
}

/// Errors of a whole map of labels or annotations.
#[must_use]
pub fn texts(field: &str, map: &serde_json::Map<String, Value>) -> Vec<FieldError> {
    let mut errors = vec![];
    let value = Value::Object(map.clone());
    if field == "labels" {
        labels(&value, "metadata.labels", &mut errors);
    } else {
        annotations(&value, "metadata.annotations", &mut errors);
    }
    errors
}

/// Finalizers must be qualified names, and not contradict each other.
fn finalizers(value: &Value, errors: &mut Vec<FieldError>) {
    let path = "metadata.finalizers";
    for finalizer in value.as_array().into_iter().flatten() {
        let text = finalizer.as_str().unwrap_or("");
        let complaints = names::qualified_name(text);
        errors.extend(
            complaints
                .into_iter()
                .map(|complaint| invalid(path, text, complaint)),
        );
    }
    let list = value.as_array().map_or(&[][..], Vec::as_slice);
    if list.iter().any(|item| item == "orphan") && list.iter().any(|item| item == "foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(invalid(path, value.clone(), detail));
    }
}

/// Owner references with their fields in Go's order.
fn go_owners(value: &Value) -> String {
    let one = |owner: &Value| {
        let fields = [
            "apiVersion",
            "kind",
            "name",
            "uid",
            "controller",
            "blockOwnerDeletion",
        ];
        let shown: Vec<String> = fields
            .iter()
            .filter_map(|field| owner.get(field).map(|value| format!("\"{field}\":{value}")))
            .collect();
        format!("{{{}}}", shown.join(","))
    };
    let all: Vec<String> = value.as_array().into_iter().flatten().map(one).collect();
    format!("[{}]", all.join(","))
}

fn owners(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let mut controller: Option<String> = None;
    for owner in value.as_array().into_iter().flatten() {
        let text = |field: &str| owner[field].as_str().unwrap_or("");
        let version = text("apiVersion");
        let parts = version.split('/').collect::<Vec<_>>();
        if parts.len() > 2 || parts.last().is_none_or(|last| last.is_empty()) {
            let field = format!("{path}.apiVersion");
            errors.push(invalid(field, version, "version must not be empty"));
        }
        for field in ["kind", "name", "uid"] {
            if text(field).is_empty() {
                errors.push(invalid(format!("{path}.{field}"), "", "must not be empty"));
            }
        }
        if text("apiVersion") == "v1" && text("kind") == "Event" {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(invalid(path, owner.clone(), detail));
        }
        if owner["controller"] == true {
            let shown = format!("{}/{}", text("kind"), text("name"));
            if let Some(first) = &controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {shown}"
                );
                errors.push(FieldError::plain(
                    ErrorKind::Invalid,
                    path,
                    format!("{}: {detail}", go_owners(value)),
                ));
            }
            controller = Some(shown);
        }
    }
}

/// The one name that an object may have, if its own fields say it, and what is said of another.
fn only_name(kind: &Kind, object: &Value) -> Option<(String, String)> {
    let spec = &object["spec"];
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    match kind.kind.as_str() {
        "CustomResourceDefinition" => Some((
            format!("{}.{}", text(&spec["names"]["plural"]), text(&spec["group"])),
            "must be spec.names.plural+\".\"+spec.group".to_owned(),
        )),
        "APIService" => {
            let name = format!("{}.{}", text(&spec["version"]), text(&spec["group"]));
            let detail = format!("must be `spec.version+\".\"+spec.group`: {name:?}");
            Some((name, detail))
        }
        _ => None,
    }
}

/// Complains about a name, or the beginning of one, that is not the only one.
fn is_only(kind: &Kind, object: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let name = object["metadata"][field].as_str().unwrap_or("");
    if kind.custom.is_some() || name.is_empty() {
        return;
    }
    if let Some((_, detail)) = only_name(kind, object).filter(|(only, _)| only != name) {
        errors.push(invalid(format!("metadata.{field}"), name, detail));
    }
}

/// The beginning of a generated name.
fn generated(kind: &Kind, meta: &Value, errors: &mut Vec<FieldError>) {
    let generate = meta["generateName"].as_str().unwrap_or("");
    if generate.is_empty() {
        return;
    }
    // A prefix may end in a dash: the generated part follows.
    let prefix = generate
        .strip_suffix('-')
        .map_or_else(|| generate.to_owned(), |start| format!("{start}a"));
    errors.extend(
        name_rule(kind)(&prefix)
            .into_iter()
            .map(|complaint| invalid("metadata.generateName", generate, complaint)),
    );
}

/// Metadata of a new object.
pub fn validate(kind: &Kind, object: &Value, errors: &mut Vec<FieldError>) {
    let meta = &object["metadata"];
    let text = |field: &str| meta[field].as_str().unwrap_or("");
    let rule = name_rule(kind);
    generated(kind, meta, errors);
    is_only(kind, object, "generateName", errors);
    let name = text("name");
    if name.is_empty() {
        let detail = "name or generateName is required";
        errors.push(FieldError::plain(ErrorKind::Required, "metadata.name", detail));
    } else {
        errors.extend(
            rule(name)
                .into_iter()
                .map(|complaint| invalid("metadata.name", name, complaint)),
        );
        is_only(kind, object, "name", errors);
    }
    if kind.namespaced && text("namespace").is_empty() {
        errors.push(FieldError::plain(ErrorKind::Required, "metadata.namespace", ""));
    }
    validate_common(kind, object, errors);
}

/// A finalizer without a domain must be one of the few that the server knows.
fn known_finalizers(value: &Value, errors: &mut Vec<FieldError>) {
    for (index, finalizer) in value.as_array().into_iter().flatten().enumerate() {
        let text = finalizer.as_str().unwrap_or("");
        if !text.contains('/') && !matches!(text, "kubernetes" | "orphan" | "foregroundDeletion") {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(invalid(format!("metadata.finalizers[{index}]"), text, detail));
        }
    }
}

/// Labels, annotations and owners.
fn marks(meta: &Value, errors: &mut Vec<FieldError>) {
    labels(&meta["labels"], "metadata.labels", errors);
    annotations(&meta["annotations"], "metadata.annotations", errors);
    owners(&meta["ownerReferences"], "metadata.ownerReferences", errors);
}

fn validate_common(kind: &Kind, object: &Value, errors: &mut Vec<FieldError>) {
    let meta = &object["metadata"];
    marks(meta, errors);
    finalizers(&meta["finalizers"], errors);
    if looks::at_changes(kind).strict {
        known_finalizers(&meta["finalizers"], errors);
    }
}

/// Metadata of a changed object.
pub fn validate_update(
    kind: &Kind,
    subresource: &str,
    object: &Value,
    old: &Value,
    errors: &mut Vec<FieldError>,
) {
    let looks = looks::at_changes(kind);
    immutable(object, old, looks.compares || !subresource.is_empty(), errors);
    if !subresource.is_empty() {
        (0..4).for_each(|_| managers(object, errors));
        validate_common(kind, object, errors);
        return;
    }
    let meta = &object["metadata"];
    // What all kinds have in common is looked at by two checks, of which one knows finalizers.
    for _ in 0..2 + usize::from(looks.compares) + looks.whole {
        managers(object, errors);
        marks(meta, errors);
    }
    for _ in 0..=looks.whole {
        finalizers(&meta["finalizers"], errors);
    }
    for _ in 0..usize::from(looks.strict) * (usize::from(looks.compares) + looks.whole) {
        known_finalizers(&meta["finalizers"], errors);
    }
    for _ in 0..looks.whole {
        generated(kind, meta, errors);
    }
}

/// What must stay, and what must not come when an object is being deleted.
fn immutable(object: &Value, old: &Value, twice: bool, errors: &mut Vec<FieldError>) {
    let (new, old) = (&object["metadata"], &old["metadata"]);
    if !old["deletionTimestamp"].is_null() {
        let had = old["finalizers"].as_array().map_or(&[][..], Vec::as_slice);
        let added: Vec<&str> = new["finalizers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|item| !had.contains(item))
            .filter_map(Value::as_str)
            .collect();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|text| format!("\"{text}\"")).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                list.join(", ")
            );
            let error = FieldError::plain(ErrorKind::Forbidden, "metadata.finalizers", detail);
            errors.extend(std::iter::repeat_n(error, 1 + usize::from(twice)));
        }
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        if new[field] != old[field] {
            let path = format!("metadata.{field}");
            let error = invalid(path, new[field].clone(), "field is immutable");
            // Two of its checks find these.
            if twice && matches!(field, "uid" | "deletionTimestamp" | "deletionGracePeriodSeconds") {
                errors.push(error.clone());
            }
            errors.push(error);
        }
    }
}

/// Names of managers. Each of the checks that a changed object goes through reports them.
fn managers(object: &Value, errors: &mut Vec<FieldError>) {
    let entries = object["metadata"]["managedFields"].as_array();
    for (index, entry) in entries.into_iter().flatten().enumerate() {
        if entry["manager"].as_str().unwrap_or("").len() > 128 {
            errors.push(FieldError::plain(
                ErrorKind::TooLong,
                format!("metadata.managedFields[{index}].manager"),
                "may not be more than 128 bytes",
            ));
        }
    }
}
