//! Machines: networks, which are said twice, and the mark of those that are not ready.

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
