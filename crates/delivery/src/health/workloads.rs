//! Rules for what runs pods.

use fluvial_object::ObjectExt;
use serde_json::Value;

use super::generic::{Condition, integer};
use super::{Health, Status};

/// In progress while `have` of `want` is too few.
fn lacking(what: &str, reason: &str, have: i64, want: i64) -> Option<Health> {
    (have < want).then(|| Health::in_progress(reason, format!("{what}: {have}/{want}")))
}

fn surplus(have: i64, want: i64) -> Option<Health> {
    (have > want).then(|| Health::in_progress("ExtraPods", format!("Pending termination: {}", have - want)))
}

pub(super) fn deployment(object: &Value, conditions: &[Condition<'_>]) -> Health {
    // Without a deadline the controller says nothing about progress.
    let deadline = integer(object, &["spec", "progressDeadlineSeconds"], i64::from(i32::MAX));
    let mut progressing = deadline == i64::from(i32::MAX);
    let mut available = false;
    let mut refused = None;
    for condition in conditions {
        if condition.is("ReplicaFailure", "True") {
            refused = Some(condition.message.to_owned());
        }
        if condition.kind == "Progressing" && condition.reason == "ProgressDeadlineExceeded" {
            let mut health = Health::failed(condition.reason, "Progress deadline exceeded");
            health.detail = Some(condition.message.to_owned());
            return health;
        }
        progressing |= condition.is("Progressing", "True") && condition.reason == "NewReplicaSetAvailable";
        available |= condition.is("Available", "True");
    }
    let status = |field: &str| integer(object, &["status", field], 0);
    let wanted = integer(object, &["spec", "replicas"], 1);
    let replicas = status("replicas");
    let updated = status("updatedReplicas");
    let mut health = lacking("Replicas", "LessReplicas", replicas, wanted)
        .or_else(|| lacking("Updated", "LessUpdated", updated, wanted))
        .or_else(|| surplus(replicas, wanted))
        .or_else(|| lacking("Available", "LessAvailable", status("availableReplicas"), updated))
        .or_else(|| lacking("Ready", "LessReady", status("readyReplicas"), wanted))
        .unwrap_or_else(|| match (progressing, available) {
            (false, _) => Health::in_progress("ReplicaSetNotAvailable", "ReplicaSet not Available"),
            (true, false) => Health::in_progress("DeploymentNotAvailable", "Deployment not Available"),
            (true, true) => Health::current(format!("Deployment is available. Replicas: {replicas}")),
        });
    if health.status != Status::Current {
        // Pods that may not be made: a quota, an admission.
        health.hindrance = refused;
    }
    health
}

pub(super) fn stateful_set(object: &Value) -> Health {
    if object.text_at(&["spec", "updateStrategy", "type"]) == Some("OnDelete") {
        return Health::current("StatefulSet is using the ondelete update strategy");
    }
    let status = |field: &str| integer(object, &["status", field], 0);
    let wanted = integer(object, &["spec", "replicas"], 1);
    let replicas = status("replicas");
    let updated = status("updatedReplicas");
    let early = lacking("Replicas", "LessReplicas", replicas, wanted)
        .or_else(|| lacking("Ready", "LessReady", status("readyReplicas"), wanted))
        .or_else(|| surplus(replicas, wanted));
    if let Some(health) = early {
        return health;
    }
    let partition = integer(
        object,
        &["spec", "updateStrategy", "rollingUpdate", "partition"],
        -1,
    );
    if partition != -1 {
        return lacking(
            "updated",
            "PartitionRollout",
            updated,
            wanted.saturating_sub(partition),
        )
        .unwrap_or_else(|| Health::current(format!("Partition rollout complete. updated: {updated}")));
    }
    if let Some(health) = lacking("current", "LessCurrent", status("currentReplicas"), wanted) {
        return health;
    }
    let revision = |field: &str| object.text_at(&["status", field]).unwrap_or_default();
    if revision("currentRevision") != revision("updateRevision") {
        return Health::in_progress(
            "RevisionMismatch",
            "Waiting for updated revision to match current",
        );
    }
    Health::current(format!(
        "All replicas scheduled as expected. Replicas: {replicas}"
    ))
}

pub(super) fn daemon_set(object: &Value) -> Health {
    for (path, reason) in [
        (["metadata", "generation"], "NoGeneration"),
        (["status", "observedGeneration"], "NoObservedGeneration"),
    ] {
        if object.integer_at(&path).is_none() {
            return Health::in_progress(reason, format!("DaemonSet {} not found", path.join(".")));
        }
    }
    let status = |field: &str, default| integer(object, &["status", field], default);
    let wanted = status("desiredNumberScheduled", -1);
    if wanted == -1 {
        return Health::in_progress("NoDesiredNumber", "Missing .status.desiredNumberScheduled");
    }
    [
        ("Current", "LessCurrent", "currentNumberScheduled"),
        ("Updated", "LessUpdated", "updatedNumberScheduled"),
        ("Available", "LessAvailable", "numberAvailable"),
        ("Ready", "LessReady", "numberReady"),
    ]
    .into_iter()
    .find_map(|(what, reason, field)| lacking(what, reason, status(field, 0), wanted))
    .unwrap_or_else(|| Health::current(format!("All replicas scheduled as expected. Replicas: {wanted}")))
}

pub(super) fn replica_set(object: &Value, conditions: &[Condition<'_>]) -> Health {
    if conditions
        .iter()
        .any(|condition| condition.is("ReplicaFailure", "True"))
    {
        return Health::in_progress("ReplicaFailure", "Replica Failure condition. Check Pods");
    }
    let status = |field: &str| integer(object, &["status", field], 0);
    let wanted = integer(object, &["spec", "replicas"], 1);
    let replicas = status("replicas");
    lacking("Labelled", "LessLabelled", status("fullyLabeledReplicas"), wanted)
        .or_else(|| lacking("Available", "LessAvailable", status("availableReplicas"), wanted))
        .or_else(|| lacking("Ready", "LessReady", status("readyReplicas"), wanted))
        .or_else(|| surplus(replicas, wanted))
        .unwrap_or_else(|| Health::current(format!("ReplicaSet is available. Replicas: {replicas}")))
}

/// A Job that has ended, by either rule.
fn ended_job(object: &Value, conditions: &[Condition<'_>]) -> Option<Health> {
    let parallelism = integer(object, &["spec", "parallelism"], 1);
    let completions = integer(object, &["spec", "completions"], parallelism);
    let status = |field: &str| integer(object, &["status", field], 0);
    conditions
        .iter()
        .find_map(|condition| match (condition.kind, condition.status) {
            ("Complete", "True") => Some(Health::current(format!(
                "Job Completed. succeeded: {}/{completions}",
                status("succeeded")
            ))),
            ("Failed", "True") => Some(Health::failed(
                "JobFailed",
                format!("Job Failed. failed: {}/{completions}", status("failed")),
            )),
            _ => None,
        })
}

pub(super) fn job(object: &Value, conditions: &[Condition<'_>]) -> Health {
    if let Some(health) = ended_job(object, conditions) {
        return health;
    }
    if object
        .text_at(&["status", "startTime"])
        .unwrap_or_default()
        .is_empty()
    {
        return Health::in_progress("JobNotStarted", "Job not started");
    }
    let status = |field: &str| integer(object, &["status", field], 0);
    Health::current(format!(
        "Job in progress. success:{}, active: {}, failed: {}",
        status("succeeded"),
        status("active"),
        status("failed")
    ))
}

pub(super) fn flux_job(object: &Value, conditions: &[Condition<'_>]) -> Health {
    if let Some(health) = ended_job(object, conditions) {
        return health;
    }
    if conditions
        .iter()
        .any(|condition| condition.is("Suspended", "True"))
    {
        return Health::current("Job is suspended");
    }
    Health::in_progress("JobInProgress", "Job in progress")
}
