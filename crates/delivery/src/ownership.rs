//! Clean-up of field ownership before an apply: fields that `kubectl` or an earlier tool set are folded into our own,
//! so that what leaves Git leaves the cluster.

use fluvial_object::ObjectExt;
use fluvial_object::path::escape_pointer;
use serde_json::{Value, json};

/// A field manager whose fields are taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenOver {
    /// Name, or its beginning.
    pub name: String,
    /// Whether `name` is the whole name.
    pub exact: bool,
    /// Of which operation (`Apply`, `Update`); `None`: both.
    pub operation: Option<&'static str>,
}

impl TakenOver {
    fn fits(&self, manager: &str, operation: &str) -> bool {
        let named = if self.exact {
            manager == self.name
        } else {
            manager.starts_with(&self.name)
        };
        named && self.operation.is_none_or(|own| own == operation)
    }
}

/// The managers that are taken over: kubectl in all its forms, the entry for times before server-side apply, our own
/// updates, and what the operator names.
#[must_use]
pub fn taken_over(manager: &str, overrides: &[String]) -> Vec<TakenOver> {
    let entry = |name: &str, exact, operation| TakenOver {
        name: name.to_owned(),
        exact,
        operation,
    };
    let mut managers = vec![
        entry("kubectl", false, None),
        entry("before-first-apply", true, Some("Update")),
        entry(manager, true, Some("Update")),
    ];
    managers.extend(overrides.iter().map(|name| entry(name, true, None)));
    managers
}

/// Annotations and labels of earlier tools, which are removed.
const LEGACY: [&str; 4] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "kustomize.toolkit.fluxcd.io/checksum",
    "fluxcd.io/sync-checksum",
    "fluxcd.io/sync-gc-mark",
];

/// The JSON patch that cleans a live object up, `None` if it is clean. The patch holds the object's version: it is
/// refused if the object has changed meanwhile, and then made anew.
#[must_use]
pub fn clean_up(live: &Value, manager: &str, managers: &[TakenOver]) -> Option<Value> {
    let mut patch = Vec::new();
    for (field, map) in [("annotations", live.annotations()), ("labels", live.labels())] {
        for key in LEGACY
            .iter()
            .filter(|key| map.is_some_and(|map| map.contains_key(**key)))
        {
            patch.push(json!({"op": "remove", "path": format!("/metadata/{field}/{}", escape_pointer(key))}));
        }
    }
    if let Some(entries) = fold(live, manager, managers) {
        patch.push(json!({"op": "replace", "path": "/metadata/managedFields", "value": entries}));
    }
    if patch.is_empty() {
        return None;
    }
    if !live.resource_version().is_empty() {
        patch.push(
            json!({"op": "replace", "path": "/metadata/resourceVersion", "value": live.resource_version()}),
        );
    }
    Some(Value::Array(patch))
}

/// The entries with those of `managers` folded into our Apply entry; `None` if there are none to fold.
fn fold(live: &Value, manager: &str, managers: &[TakenOver]) -> Option<Vec<Value>> {
    let entries = live.at(&["metadata", "managedFields"])?.as_array()?;
    let text = |entry: &Value, field: &str| entry.text_at(&[field]).unwrap_or_default().to_owned();
    let is_ours = |entry: &Value| {
        text(entry, "manager") == manager
            && text(entry, "operation") == "Apply"
            && text(entry, "subresource").is_empty()
    };
    let is_folded = |entry: &Value| {
        !is_ours(entry)
            && text(entry, "subresource").is_empty()
            && managers
                .iter()
                .any(|taken| taken.fits(&text(entry, "manager"), &text(entry, "operation")))
    };
    if !entries.iter().any(is_folded) {
        return None;
    }
    let mut ours = entries.iter().find(|entry| is_ours(entry)).cloned();
    let mut kept = Vec::new();
    for entry in entries.iter().filter(|entry| !is_ours(entry)) {
        if !is_folded(entry) {
            kept.push(entry.clone());
            continue;
        }
        let target = ours.get_or_insert_with(|| {
            let mut fresh = entry.clone();
            fresh["manager"] = manager.into();
            fresh["operation"] = "Apply".into();
            fresh["fieldsV1"] = json!({});
            fresh
        });
        let fields = entry.get("fieldsV1").cloned().unwrap_or_default();
        union(&mut target["fieldsV1"], fields);
    }
    let mut folded: Vec<Value> = ours.into_iter().collect();
    for entry in &mut folded {
        forget_legacy(&mut entry["fieldsV1"]);
    }
    folded.extend(kept);
    Some(folded)
}

fn union(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(&key) {
                    Some(slot) => union(slot, value),
                    None => {
                        into.insert(key, value);
                    }
                }
            }
        }
        (into, from) if into.is_null() => *into = from,
        _ => {}
    }
}

/// What is removed from the object is not owned either.
fn forget_legacy(fields: &mut Value) {
    let metadata = fields.get_mut("f:metadata").and_then(Value::as_object_mut);
    for (_, map) in metadata
        .into_iter()
        .flatten()
        .filter(|(key, _)| matches!(key.as_str(), "f:annotations" | "f:labels"))
    {
        if let Some(map) = map.as_object_mut() {
            map.retain(|key: &String, _| !LEGACY.iter().any(|legacy| key.strip_prefix("f:") == Some(legacy)));
        }
    }
}

/// Whether a live object's ownership is as it should be: nothing to fold, nothing to remove.
#[must_use]
pub fn is_clean(live: &Value, manager: &str, managers: &[TakenOver]) -> bool {
    clean_up(live, manager, managers).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: &str = "kustomize-controller";

    fn entry(manager: &str, operation: &str, fields: impl Into<Value>) -> Value {
        let fields: Value = fields.into();
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "time": "t", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn object(entries: &[Value]) -> Value {
        json!({"metadata": {"resourceVersion": "7", "managedFields": entries}})
    }

    #[test]
    fn fields_of_kubectl_become_ours() {
        let live = object(&[
            entry(
                "kubectl-client-side-apply",
                "Update",
                json!({"f:spec": {"f:a": {}}}),
            ),
            entry(US, "Apply", json!({"f:spec": {"f:b": {}}})),
            entry("hpa", "Update", json!({"f:spec": {"f:replicas": {}}})),
        ]);
        let patch = clean_up(&live, US, &taken_over(US, &[])).expect("a patch");
        assert_eq!(
            patch,
            json!([
                {"op": "replace", "path": "/metadata/managedFields", "value": [
                    entry(US, "Apply", json!({"f:spec": {"f:a": {}, "f:b": {}}})),
                    entry("hpa", "Update", json!({"f:spec": {"f:replicas": {}}}))]},
                {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}])
        );
    }

    #[test]
    fn which_managers_are_folded() {
        let managers = taken_over(US, &["argo".to_owned()]);
        for (manager, operation, folded) in [
            ("kubectl", "Apply", true),
            ("kubectl-edit", "Update", true),
            ("before-first-apply", "Update", true),
            (US, "Update", true),
            (US, "Apply", false),
            ("argo", "Apply", true),
            ("argo-rollouts", "Update", false),
            ("flux-client-side-apply", "Update", false),
        ] {
            let live = object(&[entry(manager, operation, json!({}))]);
            assert_eq!(!is_clean(&live, US, &managers), folded, "{manager} {operation}");
        }
        let mut status = entry("kubectl", "Update", json!({}));
        status["subresource"] = "status".into();
        assert!(is_clean(&object(&[status]), US, &managers));
    }

    #[test]
    fn annotations_of_earlier_tools_go_with_their_ownership() {
        let mut live = object(&[entry(
            "kubectl-client-side-apply",
            "Update",
            json!({"f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}}}}),
        )]);
        live["metadata"]["annotations"] =
            json!({"kubectl.kubernetes.io/last-applied-configuration": "{}", "keep": "1"});
        let patch = clean_up(&live, US, &taken_over(US, &[])).expect("a patch");
        assert_eq!(
            patch[0],
            json!({"op": "remove", "path": "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"})
        );
        assert_eq!(
            patch[1]["value"][0]["fieldsV1"],
            json!({"f:metadata": {"f:annotations": {".": {}}}})
        );
    }
}
