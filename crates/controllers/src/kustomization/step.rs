//! Decisions about a Kustomization: what a run begins with, and what its status says at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use fluvial_api::kustomize::{HistoryEntry, KustomizationStatus};
use fluvial_api::meta::{Inventory, InventoryEntry};
use fluvial_api::{Duration as GoDuration, Kustomization};
use fluvial_delivery::inventory::{self, Entry};
use fluvial_object::time;
use jiff::Timestamp;

use crate::backoff::jitter;
use crate::condition::{self, Conditions, HEALTHY, READY, SUCCEEDED};
use crate::context::Settings;
use crate::deliverer::failure::{ACCESS_DENIED, NOT_SUPPORTED};
pub use crate::deliverer::failure::{Begin, Class, Failure};
use crate::runner::Requeue;

/// All went well.
pub const RECONCILIATION_SUCCEEDED: &str = "ReconciliationSucceeded";
/// Objects could not be applied.
pub const RECONCILIATION_FAILED: &str = "ReconciliationFailed";
/// The files cannot be built.
pub const BUILD_FAILED: &str = "BuildFailed";
/// Objects could not be deleted.
pub const PRUNE_FAILED: &str = "PruneFailed";
/// Objects are not healthy.
pub const HEALTH_CHECK_FAILED: &str = "HealthCheckFailed";
/// What a failed wait for health is told with, before how long it took.
pub(super) const HEALTH_CHECK_AFTER: &str = "health check failed after ";
/// The wait for health was ended by something newer.
pub const HEALTH_CHECK_CANCELED: &str = "HealthCheckCanceled";
/// The spec asks for what is switched off.
pub const FEATURE_GATE_DISABLED: &str = "FeatureGateDisabled";

/// What a run begins with.
pub fn begin(object: &Kustomization, settings: &Settings) -> Begin {
    let spec = &object.spec;
    if object.metadata.is_deleting() {
        return Begin::Delete;
    }
    if spec.suspend {
        return Begin::Rest;
    }
    let unsupported = |what: &str, instead: &str| {
        Begin::Refuse(Failure::stalled(
            NOT_SUPPORTED,
            format!("{what} is not supported yet; {instead}"),
        ))
    };
    if let Some(decryption) = &spec.decryption {
        if decryption.provider != "sops" {
            let what = format!("spec.decryption.provider '{}'", decryption.provider);
            return unsupported(&what, "use 'sops'");
        }
        if decryption
            .service_account_name
            .as_ref()
            .is_some_and(|name| !name.is_empty())
        {
            return Begin::Refuse(Failure::stalled(
                FEATURE_GATE_DISABLED,
                "to use spec.decryption.serviceAccountName for decryption authentication please enable the \
                 ObjectLevelWorkloadIdentity feature gate in the controller; this version has no such identities: \
                 use keys in spec.decryption.secretRef, or the controller's own identity",
            ));
        }
    }
    let own = &object.metadata.namespace;
    let other = spec
        .source_ref
        .namespace
        .as_ref()
        .filter(|namespace| *namespace != own);
    if let (true, Some(other)) = (settings.kustomizations.no_cross_namespace_refs, other) {
        return Begin::Refuse(Failure::stalled(
            ACCESS_DENIED,
            format!(
                "can't access '{}/{other}/{}', cross-namespace references have been blocked",
                spec.source_ref.kind, spec.source_ref.name
            ),
        ));
    }
    Begin::Go
}

/// What Ready says while a run goes on; how far it has come is Reconciling's to say.
const IN_PROGRESS: &str = "Reconciliation in progress";

/// What a run was about, as far as it came.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Revision of the source.
    pub revision: String,
    /// Revision of the source's origin.
    pub origin_revision: Option<String>,
    /// Digest of what was built.
    pub digest: Option<String>,
    /// How long the run took.
    pub took: Duration,
    /// Whether health is checked at all.
    pub checks_health: bool,
    /// How long the health check took, if there was one to wait for.
    pub health_took: Option<Duration>,
    /// The inventory from now on; `None` leaves it as it is.
    pub inventory: Option<Vec<Entry>>,
}

/// How a run ends.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The status from now on.
    pub status: KustomizationStatus,
    /// When to look again.
    pub requeue: Requeue,
}

/// The inventory of a status.
pub fn inventory_of(status: &KustomizationStatus) -> Result<inventory::Inventory, String> {
    let entries = status.inventory.iter().flat_map(|inventory| &inventory.entries);
    let entries = entries
        .map(|entry| {
            let id = inventory::decode(&entry.id).map_err(|error| error.to_string())?;
            Ok(Entry {
                id,
                version: entry.v.clone(),
            })
        })
        .collect::<Result<Vec<_>, String>>()?;
    Ok(inventory::Inventory::new(entries))
}

/// Entries as a status holds them.
pub fn status_inventory<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Inventory {
    let entries = entries
        .into_iter()
        .map(|entry| InventoryEntry {
            id: inventory::encode(&entry.id),
            v: entry.version.clone(),
        })
        .collect();
    Inventory { entries }
}

/// The status while work goes on.
pub fn progressing(
    object: &Kustomization,
    facts: &Facts,
    message: &str,
    now: Timestamp,
) -> KustomizationStatus {
    let mut status = object.status.clone();
    if let Some(entries) = &facts.inventory {
        status.inventory = Some(status_inventory(entries));
    }
    if !facts.revision.is_empty() {
        status.last_attempted_revision = Some(facts.revision.clone());
    }
    let mut conditions = Conditions::of(&mut status.conditions, object.metadata.generation, now);
    conditions
        .progressing(message)
        .unknown(READY, condition::PROGRESSING, IN_PROGRESS);
    if facts.health_took.is_some() {
        conditions.unknown(HEALTHY, condition::PROGRESSING, message);
    }
    status
}

/// How a run ends.
pub fn finish(
    object: &Kustomization,
    facts: &Facts,
    result: Result<(), &Failure>,
    settings: &Settings,
    now: Timestamp,
    random: f64,
) -> Decision {
    let mut status = object.status.clone();
    if let Some(token) = object.metadata.requested_at() {
        status.last_handled_reconcile_at = Some(token.to_owned());
    }
    if let Some(entries) = &facts.inventory {
        status.inventory = Some(status_inventory(entries));
    }
    if !facts.revision.is_empty() {
        status.last_attempted_revision = Some(facts.revision.clone());
    }
    let requeue = match result {
        Ok(()) => {
            succeeded(object, &mut status, facts, now);
            Requeue::After(jitter(object.spec.interval.0, settings.jitter_percent, random).max(LEAST))
        }
        Err(failure) => {
            failed(object, &mut status, failure, now);
            match failure.class {
                Class::Stalled => Requeue::Never,
                Class::Waiting => Requeue::After(settings.requeue_dependency),
                Class::Retry => Requeue::After(object.spec.retry_interval().0.max(LEAST)),
                Class::RetryAfter(delay) => Requeue::After(delay.max(LEAST)),
                Class::Superseded => Requeue::Now,
            }
        }
    };
    let reason = result.map_or_else(|failure| &*failure.reason, |()| RECONCILIATION_SUCCEEDED);
    if let Some(digest) = &facts.digest
        && (status != object.status || object.status.history.is_empty())
    {
        status.history = recorded(&status.history, digest, reason, facts, now);
    }
    Decision { status, requeue }
}

/// No interval is shorter.
const LEAST: Duration = Duration::from_millis(100);
/// Entries of the history kept at most.
const HISTORY: usize = 5;

fn succeeded(object: &Kustomization, status: &mut KustomizationStatus, facts: &Facts, now: Timestamp) {
    let generation = object.metadata.generation;
    status.observed_generation = generation;
    status.last_applied_revision = Some(facts.revision.clone());
    status
        .last_applied_origin_revision
        .clone_from(&facts.origin_revision);
    let was_healthy = condition::is_true(&status.conditions, HEALTHY);
    let known = condition::get(&status.conditions, HEALTHY).map(|healthy| healthy.message.clone());
    let mut conditions = Conditions::of(&mut status.conditions, generation, now);
    conditions.ready(
        RECONCILIATION_SUCCEEDED,
        &format!("Applied revision: {}", facts.revision),
    );
    if facts.checks_health {
        // A new duration in the text alone would be a write without news.
        let message = match (known.filter(|_| was_healthy), facts.health_took) {
            (Some(known), None) => known,
            (_, took) => {
                format!("Health check passed in {}", GoDuration(took.unwrap_or_default()))
            }
        };
        conditions.yes(HEALTHY, SUCCEEDED, &message);
    } else {
        conditions.remove(HEALTHY);
    }
}

fn failed(object: &Kustomization, status: &mut KustomizationStatus, failure: &Failure, now: Timestamp) {
    let generation = object.metadata.generation;
    let mut conditions = Conditions::of(&mut status.conditions, generation, now);
    if matches!(&*failure.reason, HEALTH_CHECK_FAILED | HEALTH_CHECK_CANCELED) {
        conditions.no(HEALTHY, &failure.reason, unhealthy(&failure.message));
    }
    if failure.class == Class::Stalled {
        conditions.stalled(&failure.reason, &failure.message);
        status.observed_generation = generation;
    } else {
        conditions.retrying(&failure.reason, &failure.message);
    }
}

/// What is not healthy, without how long it was waited for.
fn unhealthy(message: &str) -> &str {
    let rest = message.strip_prefix(HEALTH_CHECK_AFTER);
    rest.and_then(|rest| rest.split_once(": "))
        .map_or(message, |(_took, rest)| rest)
}

/// The history with a run put in: runs of one digest and outcome share an entry, which moves to the front.
fn recorded(
    history: &[HistoryEntry],
    digest: &str,
    reason: &str,
    facts: &Facts,
    now: Timestamp,
) -> Vec<HistoryEntry> {
    let mut entries = history.to_vec();
    let known = entries
        .iter()
        .position(|entry| entry.digest == digest && entry.last_reconciled_status == reason);
    let at = time::format(now);
    let mut entry = known.map_or_else(
        || HistoryEntry {
            digest: digest.to_owned(),
            first_reconciled: at.clone(),
            last_reconciled: at.clone(),
            last_reconciled_duration: GoDuration(facts.took),
            last_reconciled_status: reason.to_owned(),
            total_reconciliations: 0,
            metadata: BTreeMap::new(),
        },
        |position| entries.remove(position),
    );
    entry.last_reconciled.clone_from(&at);
    entry.last_reconciled_duration = GoDuration(facts.took);
    entry.total_reconciliations = entry.total_reconciliations.saturating_add(1);
    entry.metadata = BTreeMap::from([("revision".to_owned(), facts.revision.clone())]);
    if let Some(origin) = &facts.origin_revision {
        entry.metadata.insert("originRevision".to_owned(), origin.clone());
    }
    entries.insert(0, entry);
    entries.truncate(HISTORY);
    entries
}

#[cfg(test)]
mod tests {
    use fluvial_api::Resource;
    use serde_json::{Value, json};

    use super::*;
    use crate::deliverer::failure::{DEPENDENCY_NOT_READY, INVALID_EXPRESSION};

    fn object(spec: &Value, status: &Value) -> Kustomization {
        let mut object = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps", "namespace": "ns", "generation": 3,
                "annotations": {"reconcile.fluxcd.io/requestedAt": "token"}},
            "spec": {"interval": "10m", "retryInterval": "1m", "prune": true,
                "sourceRef": {"kind": "GitRepository", "name": "fleet"}},
            "status": status,
        });
        for (key, value) in spec.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        Kustomization::from_value(&object).unwrap()
    }

    fn facts(revision: &str) -> Facts {
        Facts {
            revision: revision.to_owned(),
            digest: Some("sha256:x".to_owned()),
            took: Duration::from_millis(12),
            ..Facts::default()
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn finished(
        object: &Kustomization,
        facts: &Facts,
        result: Result<(), &Failure>,
        second: i64,
    ) -> Decision {
        finish(object, facts, result, &Settings::default(), at(second), 0.5)
    }

    #[test]
    fn a_run_begins_as_the_spec_says() {
        let settings = Settings {
            kustomizations: crate::Restrictions {
                no_cross_namespace_refs: true,
                ..crate::Restrictions::default()
            },
            ..Settings::default()
        };
        let reason = |spec: Value| match begin(&object(&spec, &json!({})), &settings) {
            Begin::Delete => "delete".into(),
            Begin::Rest => "rest".into(),
            Begin::Go => "go".into(),
            Begin::Refuse(failure) => {
                assert_eq!(failure.class, Class::Stalled);
                failure.reason
            }
        };
        let source = |namespace: &str| json!({"sourceRef": {"kind": "GitRepository", "name": "x", "namespace": namespace}});
        let table = [
            (json!({}), "go"),
            (
                json!({"suspend": true, "decryption": {"provider": "sops"}}),
                "rest",
            ),
            (json!({"decryption": {"provider": "sops"}}), "go"),
            (json!({"decryption": {"provider": "other"}}), NOT_SUPPORTED),
            (
                json!({"decryption": {"provider": "sops", "serviceAccountName": "x"}}),
                FEATURE_GATE_DISABLED,
            ),
            (json!({"kubeConfig": {"secretRef": {"name": "x"}}}), "go"),
            (source("ns"), "go"),
            (source("other"), ACCESS_DENIED),
        ];
        for (spec, expected) in table {
            assert_eq!(reason(spec.clone()), expected, "{spec}");
        }
        let mut deleting = object(&json!({"suspend": true}), &json!({}));
        deleting.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
        assert_eq!(begin(&deleting, &settings), Begin::Delete);
    }

    #[test]
    fn success_moves_everything_and_the_same_again_changes_nothing() {
        let mut apps = object(&json!({}), &json!({"observedGeneration": 2}));
        let mut first_facts = facts("main@sha1:1");
        first_facts.inventory = Some(Vec::new());
        let first = finished(&apps, &first_facts, Ok(()), 10);
        let status = &first.status;
        assert_eq!(status.observed_generation, 3);
        assert_eq!(status.last_applied_revision.as_deref(), Some("main@sha1:1"));
        assert_eq!(status.last_attempted_revision.as_deref(), Some("main@sha1:1"));
        assert_eq!(status.last_handled_reconcile_at.as_deref(), Some("token"));
        assert_eq!(status.history.len(), 1);
        let ready = condition::get(&status.conditions, condition::READY).unwrap();
        assert_eq!(
            (ready.reason.as_str(), ready.message.as_str()),
            (RECONCILIATION_SUCCEEDED, "Applied revision: main@sha1:1")
        );
        assert_eq!(first.requeue, Requeue::After(Duration::from_secs(600)));
        apps.status = first.status;
        let mut same = facts("main@sha1:1");
        same.took = Duration::from_secs(5);
        assert_eq!(finished(&apps, &same, Ok(()), 20).status, apps.status);
        // A new revision with the same objects is counted with the one before.
        let moved = finished(&apps, &facts("main@sha1:2"), Ok(()), 30).status;
        assert_eq!(
            (moved.history.len(), moved.history[0].total_reconciliations),
            (1, 2)
        );
    }

    #[test]
    fn a_failure_keeps_what_was_applied_and_says_when_it_is_tried_again() {
        let status = json!({"observedGeneration": 2, "lastAppliedRevision": "main@sha1:1"});
        let apps = object(&json!({}), &status);
        let table = [
            (
                Failure::retry(RECONCILIATION_FAILED, "no"),
                Requeue::After(Duration::from_secs(60)),
                "ProgressingWithRetry",
                2,
            ),
            (
                Failure::waiting(DEPENDENCY_NOT_READY, "no"),
                Requeue::After(Duration::from_secs(30)),
                "ProgressingWithRetry",
                2,
            ),
            (
                Failure::stalled(INVALID_EXPRESSION, "no"),
                Requeue::Never,
                INVALID_EXPRESSION,
                3,
            ),
        ];
        for (failure, requeue, abnormal, observed) in table {
            let decision = finished(&apps, &facts("main@sha1:2"), Err(&failure), 10);
            assert_eq!(decision.requeue, requeue);
            assert_eq!(decision.status.observed_generation, observed);
            assert_eq!(
                decision.status.last_applied_revision.as_deref(),
                Some("main@sha1:1")
            );
            assert_eq!(
                decision.status.last_attempted_revision.as_deref(),
                Some("main@sha1:2")
            );
            let kind = if abnormal == INVALID_EXPRESSION {
                condition::STALLED
            } else {
                condition::RECONCILING
            };
            assert_eq!(
                condition::get(&decision.status.conditions, kind).unwrap().reason,
                abnormal
            );
        }
    }

    #[test]
    fn health_is_shown_only_where_it_is_checked() {
        let apps = object(&json!({"wait": true}), &json!({}));
        let mut checked = facts("main@sha1:1");
        checked.checks_health = true;
        checked.health_took = Some(Duration::from_secs(2));
        let mut status = finished(&apps, &checked, Ok(()), 10).status;
        let healthy = condition::get(&status.conditions, HEALTHY).unwrap();
        assert_eq!(healthy.message, "Health check passed in 2s");
        // Healthy at once the next time: no news.
        checked.health_took = None;
        let apps = object(&json!({"wait": true}), &serde_json::to_value(&status).unwrap());
        assert_eq!(finished(&apps, &checked, Ok(()), 20).status, status);
        let failure = Failure::retry(HEALTH_CHECK_FAILED, "health check failed after 1m0s: web is down");
        status = finished(&apps, &checked, Err(&failure), 30).status;
        let healthy = condition::get(&status.conditions, HEALTHY).unwrap();
        assert_eq!(
            (healthy.status.as_str(), healthy.message.as_str()),
            ("False", "web is down")
        );
        let apps = object(&json!({}), &serde_json::to_value(&status).unwrap());
        let status = finished(&apps, &facts("main@sha1:1"), Ok(()), 40).status;
        assert!(condition::get(&status.conditions, HEALTHY).is_none());
    }
}
