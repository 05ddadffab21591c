//! The end of a Kustomization: its objects go as its policy says, then its finalizer.

use std::sync::Arc;
use std::time::Duration;

use fluvial_api::Kustomization;
use fluvial_api::kustomize::DeletionPolicy;
use fluvial_delivery::changes::event_text;
use fluvial_delivery::inventory::Inventory;
use fluvial_object::{ObjectId, time};
use fluvial_ports::{Cluster, Resource, Severity};
use jiff::Timestamp;
use rustc_hash::FxHashSet;

use super::Kustomizations;
use super::claims::owner;
use super::inputs::remote_place;
use super::prune::{Pruner, gone};
use super::step::{Facts, PRUNE_FAILED};
use crate::deliverer::failure::Failure;
use crate::queue::Work;
use crate::remote::RemoteError;
use crate::runner::{Requeue, Slot};
use crate::{Key, deliverer};

/// However late this process comes to it, others have this long to take objects over.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);

/// How long a Kustomization that is being deleted still waits for others. Its time began when the deletion was asked
/// for, so that failures and restarts on the way do not make it longer.
fn time_left(object: &Kustomization, now: Timestamp) -> Duration {
    let asked = object.metadata.deletion_timestamp.as_deref();
    let waited = asked
        .and_then(|text| time::parse(text).ok())
        .and_then(|asked| Duration::try_from(now.duration_since(asked)).ok())
        .unwrap_or_default();
    let timeout = object.spec.timeout().0;
    timeout.saturating_sub(waited).max(LEAST_PATIENCE)
}

/// What was applied last, for events.
fn last(object: &Kustomization) -> Facts {
    let status = &object.status;
    Facts {
        revision: status.last_applied_revision.clone().unwrap_or_default(),
        origin_revision: status.last_applied_origin_revision.clone(),
        ..Facts::default()
    }
}

impl Kustomizations {
    pub(super) async fn delete(
        &self,
        key: &Key,
        object: &Arc<Kustomization>,
        work: &mut Work<Key>,
        slot: &mut Slot,
    ) -> Requeue {
        let mut facts = Facts::default();
        if let Err(failure) = self.clean_up(key, object, &mut facts, work, slot).await {
            return self.conclude(key, object, &facts, Err(failure)).await;
        }
        self.takers.wait_for(key, Vec::new());
        match self.writer.release(object).await {
            Ok(()) => Requeue::Never,
            Err(error) => self.unwritten(key, &error),
        }
    }

    async fn clean_up(
        &self,
        key: &Key,
        object: &Arc<Kustomization>,
        facts: &mut Facts,
        work: &mut Work<Key>,
        slot: &mut Slot,
    ) -> Result<(), Failure> {
        let spec = &object.spec;
        let deletes = match spec.deletion_policy() {
            DeletionPolicy::MirrorPrune => spec.prune,
            DeletionPolicy::Delete | DeletionPolicy::WaitForTermination => true,
            DeletionPolicy::Orphan => false,
        };
        let failed = |text: String| Failure::retry(PRUNE_FAILED, text);
        if !deletes || spec.suspend {
            return Ok(());
        }
        let inventory = self.recorded(key, object, facts).await?;
        if inventory.is_empty() {
            return Ok(());
        }
        let may = deliverer::may_act(&self.context, &**object).await;
        if !may.map_err(|error| failed(format!("the ServiceAccount cannot be read: {error}")))? {
            self.tell_left(object, &inventory);
            return Ok(());
        }
        let cluster = match deliverer::cluster_of(&self.context, &**object).await {
            Ok(cluster) => cluster,
            // Nobody can reach them any more.
            Err(RemoteError::Missing(why)) => {
                tracing::warn!(%key, "the objects in the other cluster are left there: {why}");
                self.tell_left(object, &inventory);
                return Ok(());
            }
            Err(error) => {
                return Err(failed(format!(
                    "failed to build kube client: {}",
                    error.message()
                )));
            }
        };
        let (deleted, errors) = self
            .delete_objects(key, object, &inventory, &*cluster, work, slot)
            .await;
        if !errors.is_empty() {
            return Err(failed(errors.join("\n")));
        }
        if spec.deletion_policy() == DeletionPolicy::WaitForTermination {
            let all = async {
                for (id, resource, uid) in &deleted {
                    if let Err(error) = gone(&*cluster, id, resource, uid).await {
                        tracing::warn!(%key, %error, "cannot tell whether {id} is gone");
                    }
                }
            };
            // After the time limit the objects are let go, as Flux does.
            let ended = slot.parked(tokio::time::timeout(spec.timeout().0, all)).await;
            if ended.is_err() {
                let text = "failed to wait for resources termination";
                self.tell(object, &last(object), Severity::Error, text, None);
            }
        }
        Ok(())
    }

    /// Says which objects stay because nobody can act for them any more.
    fn tell_left(&self, object: &Kustomization, inventory: &Inventory) {
        let names: Vec<String> = inventory.ids().map(ToString::to_string).collect();
        let text = format!("unable to prune objects: \n{}", names.join("\n"));
        self.tell(object, &last(object), Severity::Error, &text, None);
    }

    /// Deletes what nobody else wants. What somebody wants is left to them, for as long as a run may take: they
    /// should have it in their inventory before this one goes.
    async fn delete_objects(
        &self,
        key: &Key,
        object: &Arc<Kustomization>,
        inventory: &Inventory,
        cluster: &dyn Cluster,
        work: &mut Work<Key>,
        slot: &mut Slot,
    ) -> (Vec<(ObjectId, Arc<Resource>, String)>, Vec<String>) {
        let deadline = tokio::time::Instant::now() + time_left(object, self.context.clock.now());
        let mut in_vain = false;
        let mut deleted = Vec::new();
        let mut left = inventory.entries().to_vec();
        loop {
            // Without a revision, what is on record is all that can be known of the others.
            let revision = match self.source(object).await {
                Ok(source) => self.tree(&source).await.ok().map(|tree| (source, tree)),
                Err(_) => None,
            };
            let pruner = Pruner {
                cluster,
                owner: owner(key),
                applied: &FxHashSet::default(),
                everybody: self,
                place: remote_place(object),
                source: revision.as_ref().map(|(source, tree)| (source, tree)),
                patient: !in_vain && tokio::time::Instant::now() < deadline,
            };
            let pruned = pruner.prune(left).await;
            let changes = pruned.plan.changes(|id| pruned.failed.contains_key(id));
            if let Some(text) = event_text(&changes) {
                self.tell(object, &last(object), Severity::Info, &text, None);
            }
            let takers = pruned.takers();
            left = pruned.inventory(&Inventory::default()).entries().to_vec();
            let errors = pruned.errors();
            deleted.extend(pruned.deleted);
            if takers.is_empty() || !errors.is_empty() {
                return (deleted, errors);
            }
            for (entry, hold) in pruned.plan.held() {
                tracing::info!(%key, "{} is {hold}", entry.id);
            }
            // What its own successor wants cannot be taken over before this one is gone.
            in_vain = takers.iter().all(|taker| taker == key);
            if in_vain {
                continue;
            }
            self.wake_takers(key, takers);
            // When the time is over, what is held is let go.
            let _ = slot
                .parked(tokio::time::timeout_at(deadline, work.changed()))
                .await;
        }
    }
}

#[cfg(test)]
mod tests {
    use fluvial_api::Resource as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_time_limit_counts_from_when_the_deletion_was_asked_for() {
        let object = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps", "namespace": "ns", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"interval": "10m", "timeout": "1m", "prune": true,
                "sourceRef": {"kind": "GitRepository", "name": "fleet"}},
        });
        let mut object = Kustomization::from_value(&object).expect("valid");
        let left = |object: &Kustomization, at: &str| {
            let now = at.parse().expect("a time");
            time_left(object, now).as_secs()
        };
        for (at, seconds) in [
            ("2025-12-31T23:59:59Z", 60),
            ("2026-01-01T00:00:00Z", 60),
            ("2026-01-01T00:00:45Z", 15),
            ("2026-01-01T00:00:58Z", 5),
            ("2026-03-01T00:00:00Z", 5),
        ] {
            assert_eq!(left(&object, at), seconds, "{at}");
        }
        object.metadata.deletion_timestamp = None;
        assert_eq!(left(&object, "2026-01-01T00:00:45Z"), 60);
    }
}
