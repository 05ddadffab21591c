//! Statuses that workload controllers write.

use fluvial_schema::FieldError;
use serde_json::Value;

use crate::kinds::Kind;

use super::common::invalid;

/// What must hold of the numbers in a status.
struct Rules {
    /// Those that are never negative.
    counts: &'static [&'static str],
    /// Pairs of which the first is at most the second.
    ordered: &'static [(&'static str, &'static str)],
    /// Whether the count of collisions only rises.
    collisions: bool,
}

const DEPLOYMENT: Rules = Rules {
    counts: &[
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
    ],
    ordered: &[
        ("updatedReplicas", "replicas"),
        ("readyReplicas", "replicas"),
        ("availableReplicas", "replicas"),
        ("availableReplicas", "readyReplicas"),
    ],
    collisions: true,
};

const REPLICA_SET: Rules = Rules {
    counts: &[
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
    ],
    ordered: &[
        ("fullyLabeledReplicas", "replicas"),
        ("readyReplicas", "replicas"),
        ("availableReplicas", "replicas"),
        ("availableReplicas", "readyReplicas"),
    ],
    collisions: false,
};

const STATEFUL_SET: Rules = Rules {
    counts: &[
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
    ],
    ordered: &[
        ("readyReplicas", "replicas"),
        ("currentReplicas", "replicas"),
        ("updatedReplicas", "replicas"),
        ("availableReplicas", "replicas"),
        ("availableReplicas", "readyReplicas"),
    ],
    collisions: true,
};

const DAEMON_SET: Rules = Rules {
    counts: &[
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
    ],
    ordered: &[],
    collisions: true,
};

const BUDGET: Rules = Rules {
    counts: &[
        "disruptionsAllowed",
        "currentHealthy",
        "desiredHealthy",
        "expectedPods",
    ],
    ordered: &[],
    collisions: false,
};

fn number(status: &Value, field: &str) -> i64 {
    status[field].as_i64().unwrap_or(0)
}

/// Errors of a status.
pub(super) fn validate(kind: &Kind, new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let rules = match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment") => DEPLOYMENT,
        ("apps", "ReplicaSet") | ("", "ReplicationController") => REPLICA_SET,
        ("apps", "StatefulSet") => STATEFUL_SET,
        ("apps", "DaemonSet") => DAEMON_SET,
        ("policy", "PodDisruptionBudget") => BUDGET,
        _ => return,
    };
    let status = &new["status"];
    for field in rules.counts {
        if number(status, field) < 0 {
            let detail = "must be greater than or equal to 0";
            errors.push(invalid(format!("status.{field}"), number(status, field), detail));
        }
    }
    for (field, most) in rules.ordered {
        if number(status, field) > number(status, most) {
            // Deployments and replica sets name this one alone without its place.
            let bare = *most == "readyReplicas"
                && matches!(
                    kind.kind.as_str(),
                    "Deployment" | "ReplicaSet" | "ReplicationController"
                );
            let place = if bare { "" } else { "status." };
            let detail = format!("cannot be greater than {place}{most}");
            errors.push(invalid(format!("status.{field}"), number(status, field), detail));
        }
    }
    let (is, was) = (
        number(status, "collisionCount"),
        number(&old["status"], "collisionCount"),
    );
    if rules.collisions && is < was {
        errors.push(invalid("status.collisionCount", is, "cannot be decremented"));
    }
}
