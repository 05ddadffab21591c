//! Is a live object where it should be? kstatus, as Flux forked it, and what Flux adds.
//!
//! [`compute`] is kstatus. [`assess`] is what a health check asks: user expressions for the object's kind if there
//! are any, else Flux's own rule for Jobs, else kstatus.

use std::fmt;

use fluvial_object::ObjectExt;
use jiff::Timestamp;
use serde_json::Value;

pub mod custom;
mod generic;
mod pods;
mod workloads;

/// How far an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Under way.
    InProgress,
    /// Stuck; it takes a change to go on.
    Failed,
    /// There.
    Current,
    /// Being deleted.
    Terminating,
    /// Not there.
    NotFound,
    /// It cannot be told.
    Unknown,
}

impl Status {
    /// The status as text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::InProgress => "InProgress",
            Status::Failed => "Failed",
            Status::Current => "Current",
            Status::Terminating => "Terminating",
            Status::NotFound => "NotFound",
            Status::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// How far it is.
    pub status: Status,
    /// Why, in words.
    pub message: String,
    /// Why, in one word; empty where nothing is amiss.
    pub reason: String,
    /// The object's own words, where the message is a general one.
    pub detail: Option<String>,
    /// What keeps it from getting on, where it tells of that apart: a quota, an admission.
    pub hindrance: Option<String>,
}

impl Health {
    pub(crate) fn new(status: Status, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Health {
            status,
            message: message.into(),
            reason: reason.into(),
            detail: None,
            hindrance: None,
        }
    }

    /// The words that tell a person most.
    #[must_use]
    pub fn words(&self) -> &str {
        let own = self.hindrance.as_ref().or(self.detail.as_ref());
        own.unwrap_or(&self.message)
    }

    fn current(message: impl Into<String>) -> Self {
        Health::new(Status::Current, "", message)
    }

    fn in_progress(reason: &str, message: impl Into<String>) -> Self {
        Health::new(Status::InProgress, reason, message)
    }

    fn failed(reason: &str, message: impl Into<String>) -> Self {
        Health::new(Status::Failed, reason, message)
    }

    /// The condition that kstatus derives: `Reconciling` while in progress, `Stalled` when failed.
    #[must_use]
    pub fn condition(&self) -> Option<&'static str> {
        match self.status {
            Status::InProgress => Some("Reconciling"),
            Status::Failed => Some("Stalled"),
            _ => None,
        }
    }
}

/// An object whose status cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthError(String);

impl fmt::Display for HealthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HealthError {}

/// The status of a live object as kstatus computes it. `now` tells how long a pod has waited for a node.
pub fn compute(object: &Value, now: Timestamp) -> Result<Health, HealthError> {
    if let Some(health) = generic::deletion_and_generation(object)? {
        return Ok(health);
    }
    let conditions = generic::conditions(object)?;
    if let Some(health) = generic::standard_conditions(&conditions) {
        return Ok(health);
    }
    let health = match (object.group(), object.kind()) {
        ("apps" | "extensions", "Deployment") => workloads::deployment(object, &conditions),
        ("apps", "StatefulSet") => workloads::stateful_set(object),
        ("apps" | "extensions", "DaemonSet") => workloads::daemon_set(object),
        ("apps" | "extensions", "ReplicaSet") => workloads::replica_set(object, &conditions),
        ("batch", "Job") => workloads::job(object, &conditions),
        ("", "Pod") => return pods::pod(object, &conditions, now),
        ("", "PersistentVolumeClaim") => pods::claim(object),
        ("", "Service") => pods::service(object),
        ("policy", "PodDisruptionBudget") => Health::current("AllowedDisruptions has been computed."),
        ("", "Secret" | "ConfigMap") | ("batch", "CronJob") => Health::current("Resource is always ready"),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => generic::definition(&conditions),
        _ => generic::ready_condition(&conditions),
    };
    Ok(health)
}

/// Flux's own rule for Jobs: there only when complete or suspended.
fn flux_job(object: &Value) -> Result<Health, HealthError> {
    if let Some(health) = generic::deletion_and_generation(object)? {
        return Ok(health);
    }
    let conditions = generic::conditions(object)?;
    Ok(workloads::flux_job(object, &conditions))
}

/// The status of a live object (`None`: it is not there) as a health check without expressions sees it; an object
/// that cannot be read is `Unknown`.
#[must_use]
pub fn assess(object: Option<&Value>, now: Timestamp) -> Health {
    let Some(object) = object else {
        return Health::new(Status::NotFound, "NotFound", "Resource not found");
    };
    let health = match (object.group(), object.kind()) {
        ("batch", "Job") => flux_job(object),
        _ => compute(object, now),
    };
    health.unwrap_or_else(|error| Health::new(Status::Unknown, "Unknown", error.to_string()))
}

/// Whether a Job, seen before and gone now, removed itself when it was done.
#[must_use]
pub fn removes_itself(desired: &Value) -> bool {
    desired.group() == "batch"
        && desired.kind() == "Job"
        && desired.integer_at(&["spec", "ttlSecondsAfterFinished"]).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_is_there_only_when_it_has_ended() {
        let job = |status: Value| {
            let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {}, "status": status});
            assess(Some(&job), Timestamp::UNIX_EPOCH).status
        };
        let condition =
            |kind: &str| json!({"startTime": "x", "conditions": [{"type": kind, "status": "True"}]});
        assert_eq!(job(json!({"startTime": "x", "active": 1})), Status::InProgress);
        assert_eq!(job(condition("Complete")), Status::Current);
        assert_eq!(job(condition("Suspended")), Status::Current);
        assert_eq!(job(condition("Failed")), Status::Failed);
    }

    #[test]
    fn what_keeps_pods_away_is_told_beside_what_is_missing() {
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3},
            "status": {"replicas": 1, "conditions": [
                {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small"}]}});
        let health = assess(Some(&web), Timestamp::UNIX_EPOCH);
        assert_eq!(
            (health.message.as_str(), health.words()),
            ("Replicas: 1/3", "exceeded quota: small")
        );
        assert_eq!(health.detail, None, "the condition keeps the message of kstatus");
    }

    #[test]
    fn an_unready_custom_resource_is_in_progress_and_a_stalled_one_failed() {
        let widget = |condition: Value| {
            let widget = json!({"apiVersion": "a/v1", "kind": "W", "metadata": {}, "status": {"conditions": [condition]}});
            assess(Some(&widget), Timestamp::UNIX_EPOCH).status
        };
        assert_eq!(
            widget(json!({"type": "Ready", "status": "False"})),
            Status::InProgress
        );
        assert_eq!(
            widget(json!({"type": "Stalled", "status": "True"})),
            Status::Failed
        );
        assert_eq!(widget(json!({"type": "Ready", "status": true})), Status::Unknown);
        assert_eq!(assess(None, Timestamp::UNIX_EPOCH).status, Status::NotFound);
    }

    #[test]
    fn a_new_pod_without_a_node_has_fifteen_seconds() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}});
        let at = |text: &str| compute(&pod, text.parse().expect("a time")).map(|health| health.status);
        assert_eq!(at("2026-01-01T00:00:14Z"), Ok(Status::InProgress));
        assert_eq!(at("2026-01-01T00:00:16Z"), Ok(Status::Failed));
    }
}
