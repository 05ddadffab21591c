//! Where claims take their data from.

use serde_json::Value;

/// Claims name what they are filled from in an older field, which knows claims and snapshots only, and in a newer one.
/// What a claim had from the start it keeps.
pub fn data_sources(spec: &mut Value, had: bool) {
    let source = &spec["dataSource"];
    let group = source["apiGroup"].as_str().unwrap_or("");
    let known = matches!(
        (group, source["kind"].as_str().unwrap_or("")),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    );
    let Some(fields) = spec.as_object_mut() else {
        return;
    };
    if !known && !had {
        fields.remove("dataSource");
    }
    if let Some(reference) = fields.get_mut("dataSourceRef").and_then(Value::as_object_mut) {
        reference.remove("namespace");
        let copy = Value::Object(reference.clone());
        fields.entry("dataSource").or_insert(copy);
    } else if let Some(source) = fields.get("dataSource").cloned() {
        fields.insert("dataSourceRef".to_owned(), source);
    }
}
