//! What pods and jobs get when they are created.

use serde_json::{Value, json};

/// What the quality of a pod follows from: its own resources, or those of all its containers.
fn resources(spec: &Value) -> Vec<&Value> {
    if !spec["resources"].is_null() {
        return vec![&spec["resources"]];
    }
    let lists = ["containers", "initContainers"].map(|field| spec[field].as_array());
    let containers = lists.into_iter().flatten().flatten();
    containers.map(|container| &container["resources"]).collect()
}

fn is_guaranteed(spec: &Value) -> bool {
    let all = resources(spec);
    !all.is_empty()
        && all.iter().all(|own| {
            ["cpu", "memory"].iter().all(|name| {
                let limit = &own["limits"][name];
                !limit.is_null() && *limit == own["requests"][name]
            })
        })
}

/// How well a pod's share of its node is kept.
pub fn quality(spec: &Value) -> &'static str {
    let any = resources(spec).iter().any(|own| {
        ["limits", "requests"].iter().any(|field| {
            let given = own[field].as_object().into_iter().flatten();
            given
                .into_iter()
                .any(|(name, _)| matches!(name.as_str(), "cpu" | "memory"))
        })
    });
    match (any, is_guaranteed(spec)) {
        (_, true) => "Guaranteed",
        (true, _) => "Burstable",
        _ => "BestEffort",
    }
}

/// A new pod's status.
pub fn pod_status(object: &mut Value, now: &str) {
    let spec = &object["spec"];
    let class = quality(spec);
    let gated = spec["schedulingGates"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    let mut status = json!({"phase": "Pending", "qosClass": class});
    if gated {
        status["conditions"] = json!([{"type": "PodScheduled", "status": "False", "lastProbeTime": null,
            "lastTransitionTime": now, "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates"}]);
    }
    object["status"] = status;
}

/// A new job's selector and the labels that fit it.
pub fn job_labels(object: &mut Value) {
    let bare = object["metadata"]["labels"]
        .as_object()
        .is_none_or(serde_json::Map::is_empty);
    if object["spec"]["manualSelector"] == true {
        let labels = object["spec"]["template"]["metadata"]["labels"].clone();
        if bare && !labels.is_null() {
            object["metadata"]["labels"] = labels;
        }
        return;
    }
    let uid = object["metadata"]["uid"].clone();
    let name = object["metadata"]["name"].clone();
    let labels = [
        ("controller-uid", uid.clone()),
        ("batch.kubernetes.io/controller-uid", uid.clone()),
        ("job-name", name.clone()),
        ("batch.kubernetes.io/job-name", name),
    ];
    for (label, value) in labels {
        object["spec"]["template"]["metadata"]["labels"][label] = value;
    }
    // A job without labels of its own takes those of its template.
    if bare {
        object["metadata"]["labels"] = object["spec"]["template"]["metadata"]["labels"].clone();
    }
    object["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"] = uid;
}
