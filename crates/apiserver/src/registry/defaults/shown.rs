//! What is shown though nothing is in it: fields that a real server writes as null.

use serde_json::Value;

use super::items;
use crate::kinds::Kind;

/// Shows as null what is absent but always shown.
pub fn nulls(kind: &Kind, object: &mut Value) {
    let times: &[&str] = match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment") => &["lastUpdateTime", "lastTransitionTime"],
        ("certificates.k8s.io", _) => &["lastUpdateTime", "lastTransitionTime"],
        ("batch", "Job") | ("", "Pod" | "PersistentVolumeClaim") => &["lastProbeTime", "lastTransitionTime"],
        ("", "Node") => &["lastHeartbeatTime", "lastTransitionTime"],
        ("apps" | "autoscaling" | "flowcontrol.apiserver.k8s.io", _)
        | ("", "ReplicationController" | "Namespace") => &["lastTransitionTime"],
        _ => &[],
    };
    if !times.is_empty() && object["status"].is_object() {
        let conditions = object["status"]
            .get_mut("conditions")
            .and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten().filter_map(Value::as_object_mut) {
            for time in times {
                condition.entry(*time).or_insert(Value::Null);
            }
        }
    }
    if kind.is("", "ReplicationController") {
        // What the schema gives is not shown.
        if object["spec"]["minReadySeconds"] == 0
            && let Some(spec) = object["spec"].as_object_mut()
        {
            spec.remove("minReadySeconds");
        }
        return;
    }
    if kind.is("", "PersistentVolumeClaim") {
        for field in ["dataSource", "dataSourceRef"] {
            if let Some(source) = object["spec"].get_mut(field).and_then(Value::as_object_mut) {
                source.entry("apiGroup").or_insert(Value::Null);
            }
        }
    }
    if kind.is("", "Pod") {
        states(&mut object["status"]);
    }
    if kind.is("storage.k8s.io", "CSINode") {
        for driver in items(&mut object["spec"], "drivers").filter_map(Value::as_object_mut) {
            driver.entry("topologyKeys").or_insert(Value::Null);
        }
    }
    for path in always_shown(kind) {
        if let Some((parent, field)) = path.rsplit_once('/')
            && let Some(map) = object.pointer_mut(parent).and_then(Value::as_object_mut)
        {
            map.entry(field).or_insert(Value::Null);
        }
    }
}

/// The times of containers' states.
fn states(status: &mut Value) {
    for list in [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ] {
        if status.get(list).is_none() {
            continue;
        }
        for container in items(status, list).filter_map(Value::as_object_mut) {
            for state in ["state", "lastState"] {
                let Some(state) = container.get_mut(state).and_then(Value::as_object_mut) else {
                    continue;
                };
                if let Some(running) = state.get_mut("running").and_then(Value::as_object_mut) {
                    running.entry("startedAt").or_insert(Value::Null);
                }
                if let Some(ended) = state.get_mut("terminated").and_then(Value::as_object_mut) {
                    for time in ["startedAt", "finishedAt"] {
                        ended.entry(time).or_insert(Value::Null);
                    }
                }
            }
        }
    }
}

/// Fields that are shown even if nothing is in them.
fn always_shown(kind: &Kind) -> &'static [&'static str] {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => &["/rules"],
        ("autoscaling", "HorizontalPodAutoscaler") if kind.version == "v2" => &["/status/currentMetrics"],
        ("", "Event") => &["/eventTime", "/firstTimestamp", "/lastTimestamp"],
        ("events.k8s.io", "Event") => &[
            "/eventTime",
            "/deprecatedFirstTimestamp",
            "/deprecatedLastTimestamp",
        ],
        ("discovery.k8s.io", "EndpointSlice") => &["/endpoints", "/ports"],
        ("", "LimitRange") => &["/spec/limits"],
        ("storage.k8s.io", "CSINode") => &["/spec/drivers"],
        ("resource.k8s.io", "ResourceClaim") => &["/spec/devices/requests"],
        ("resource.k8s.io", "ResourceClaimTemplate") => &["/spec/spec/devices/requests"],
        _ => &[],
    }
}

/// Which of the fields that are always shown are empty lists: whoever writes one owns it, though it is kept as nothing.
pub fn emptied(kind: &Kind, object: &Value) -> Vec<&'static str> {
    let empty = |path: &&&str| {
        let list = object.pointer(path).and_then(Value::as_array);
        list.is_some_and(Vec::is_empty)
    };
    always_shown(kind).iter().filter(empty).copied().collect()
}

/// Makes nothing of lists that are empty, where that shows.
pub fn without_emptied(kind: &Kind, object: &mut Value) {
    for path in emptied(kind, object) {
        if let Some(list) = object.pointer_mut(path) {
            *list = Value::Null;
        }
    }
}
