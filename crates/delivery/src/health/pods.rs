//! Rules for pods, volumes and services.

use fluvial_object::{ObjectExt, time};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::generic::Condition;
use super::{Health, HealthError};

/// How long a new pod may be without a node before that counts as a failure.
const SCHEDULE_WINDOW: SignedDuration = SignedDuration::from_secs(15);

pub(super) fn pod(
    object: &Value,
    conditions: &[Condition<'_>],
    now: Timestamp,
) -> Result<Health, HealthError> {
    let phase = object.text_at(&["status", "phase"]).unwrap_or_default();
    Ok(match phase {
        "Succeeded" => Health::current("Pod has completed successfully"),
        "Failed" => Health::current("Pod has completed, but not successfully"),
        "Running" => running(object, conditions),
        "Pending" => pending(object, conditions, now),
        "" => Health::in_progress("PodNotObserved", "Pod phase not available"),
        other => return Err(HealthError(format!("unknown phase {other}"))),
    })
}

fn running(object: &Value, conditions: &[Condition<'_>]) -> Health {
    if conditions.iter().any(|condition| condition.is("Ready", "True")) {
        return Health::current("Pod is Ready");
    }
    let crashing: Vec<&str> = object
        .at(&["status", "containerStatuses"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|container| container.text_at(&["state", "waiting", "reason"]) == Some("CrashLoopBackOff"))
        .filter_map(|container| container.text_at(&["name"]))
        .collect();
    if crashing.is_empty() {
        return Health::in_progress("PodRunningNotReady", "Pod is running but is not Ready");
    }
    Health::failed(
        "ContainerCrashLooping",
        format!("Containers in CrashLoop state: {}", crashing.join(",")),
    )
}

fn pending(object: &Value, conditions: &[Condition<'_>], now: Timestamp) -> Health {
    let unscheduled = conditions
        .iter()
        .find(|condition| condition.is("PodScheduled", "False"))
        .is_some_and(|condition| condition.reason == "Unschedulable");
    if !unscheduled {
        return Health::in_progress("PodPending", "Pod is in the Pending phase");
    }
    let created = object
        .text_at(&["metadata", "creationTimestamp"])
        .and_then(|text| time::parse(text).ok());
    if created.is_some_and(|created| now.duration_since(created) < SCHEDULE_WINDOW) {
        return Health::in_progress("PodNotScheduled", "Pod has not been scheduled");
    }
    Health::failed("PodUnschedulable", "Pod could not be scheduled")
}

pub(super) fn claim(object: &Value) -> Health {
    match object.text_at(&["status", "phase"]).unwrap_or("unknown") {
        "Bound" => Health::current("PVC is Bound"),
        phase => Health::in_progress("NotBound", format!("PVC is not Bound. phase: {phase}")),
    }
}

/// A load balancer needs no outer address: not every cluster has one to give.
pub(super) fn service(object: &Value) -> Health {
    let balanced = object.text_at(&["spec", "type"]) == Some("LoadBalancer");
    let address = object.text_at(&["spec", "clusterIP"]).unwrap_or_default();
    if balanced && address.is_empty() {
        return Health::in_progress("NoIPAssigned", "ClusterIP not set. Service type: LoadBalancer");
    }
    Health::current("Service is ready")
}
