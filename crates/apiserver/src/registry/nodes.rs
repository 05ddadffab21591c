//! Fields that say the same twice: the networks of machines, where claims take their data from.

use serde_json::{Value, json};

/// The one network of a machine and the list of its networks follow each other.
pub fn networks(node: &mut Value) {
    let spec = &mut node["spec"];
    if let Some(first) = spec["podCIDRs"][0].as_str().map(str::to_owned) {
        if spec["podCIDR"].is_null() {
            spec["podCIDR"] = first.into();
        }
    } else if let Some(one) = spec["podCIDR"].as_str().map(str::to_owned) {
        spec["podCIDRs"] = json!([one]);
    }
}

/// A new machine is not ready until its agent says so.
pub fn taint(node: &mut Value) {
    const KEY: &str = "node.kubernetes.io/not-ready";
    let spec = &mut node["spec"];
    if !spec["taints"].is_array() {
        spec["taints"] = json!([]);
    }
    if let Some(taints) = spec["taints"].as_array_mut() {
        let same = |taint: &Value| taint["key"] == KEY && taint["effect"] == "NoSchedule";
        if !taints.iter().any(same) {
            taints.push(json!({"key": KEY, "effect": "NoSchedule"}));
        }
    }
}

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
