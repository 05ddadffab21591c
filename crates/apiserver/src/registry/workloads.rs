//! What pods and jobs get when they are created.

use serde_json::{Value, json};

fn is_guaranteed(spec: &Value) -> bool {
    let mut containers = spec["containers"].as_array().into_iter().flatten().peekable();
    containers.peek().is_some()
        && containers.all(|container| {
            ["cpu", "memory"].iter().all(|name| {
                let limit = &container["resources"]["limits"][name];
                !limit.is_null() && *limit == container["resources"]["requests"][name]
            })
        })
}

/// A new pod's status.
pub fn pod_status(object: &mut Value) {
    let spec = &object["spec"];
    let any = spec["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|container| {
            ["limits", "requests"].iter().any(|field| {
                container["resources"][field]
                    .as_object()
                    .is_some_and(|map| !map.is_empty())
            })
        });
    let class = match (any, is_guaranteed(spec)) {
        (_, true) => "Guaranteed",
        (true, _) => "Burstable",
        _ => "BestEffort",
    };
    object["status"] = json!({"phase": "Pending", "qosClass": class});
}

/// A new job's selector and the labels that fit it.
pub fn job_labels(object: &mut Value) {
    if object["spec"]["manualSelector"] == true {
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
    if object["metadata"]["labels"]
        .as_object()
        .is_none_or(serde_json::Map::is_empty)
    {
        object["metadata"]["labels"] = object["spec"]["template"]["metadata"]["labels"].clone();
    }
    object["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"] = uid;
}
