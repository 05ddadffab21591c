//! The end of a Kustomization: its objects go as its policy says, then its finalizer.

use std::sync::Arc;

use fluvial_api::Kustomization;
use fluvial_api::kustomize::DeletionPolicy;
use fluvial_delivery::changes::event_text;
use fluvial_delivery::control::Owner;
use fluvial_delivery::inventory::Inventory;
use fluvial_ports::{Resource, Severity, Target};
use rustc_hash::FxHashSet;

use super::Kustomizations;
use super::prune::{Pruned, Pruner, gone};
use super::step::{self, Facts, Failure, PRUNE_FAILED};
use crate::Key;
use crate::queue::{Reasons, Work};
use crate::runner::{Requeue, Slot};

impl Kustomizations {
    pub(super) async fn delete(
        &self,
        key: &Key,
        object: &Arc<Kustomization>,
        work: &mut Work<Key>,
        slot: &mut Slot,
    ) -> Requeue {
        if let Err(failure) = self.clean_up(key, object, work, slot).await {
            return self.conclude(key, object, &Facts::default(), Err(failure)).await;
        }
        self.wakes.wait_for_takers(key, Vec::new());
        match self.writer.release(object).await {
            Ok(()) => Requeue::Never,
            Err(error) => self.unwritten(key, &error),
        }
    }

    async fn clean_up(
        &self,
        key: &Key,
        object: &Arc<Kustomization>,
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
        let inventory = step::inventory_of(&object.status).map_err(failed)?;
        let can = !inventory.is_empty() && spec.kube_config.is_none();
        if !deletes || spec.suspend || !can || !self.may_act(object).await? {
            return Ok(());
        }
        let cluster = self.cluster_of(object);
        let pruner = Pruner {
            cluster: &*cluster,
            owner: Owner::new(key.namespace.as_ref(), key.name.as_ref()),
            applied: &FxHashSet::default(),
            metrics: &self.context.metrics,
        };
        let pruned = self
            .delete_objects(key, object, &inventory, &pruner, work, slot)
            .await;
        if let Some(text) = event_text(&pruned.changes) {
            self.tell(object, &Facts::default(), Severity::Info, &text, None);
        }
        if !pruned.failed.is_empty() {
            let texts: Vec<String> = pruned.failed.into_iter().map(|(_, text)| text).take(5).collect();
            return Err(failed(texts.join("\n")));
        }
        if spec.deletion_policy() == DeletionPolicy::WaitForTermination {
            let all = async {
                for (id, resource, uid) in &pruned.deleted {
                    if let Err(error) = gone(&*cluster, id, resource, uid).await {
                        tracing::warn!(%key, %error, "cannot tell whether {id} is gone");
                    }
                }
            };
            // After the time limit the objects are let go, as Flux does.
            let _ = slot.parked(tokio::time::timeout(spec.timeout().0, all)).await;
        }
        Ok(())
    }

    /// Deletes what nobody else wants. What somebody wants is left to them, for as long as a run may take: they
    /// should have it in their inventory before this one goes.
    async fn delete_objects(
        &self,
        key: &Key,
        object: &Arc<Kustomization>,
        inventory: &Inventory,
        pruner: &Pruner<'_>,
        work: &mut Work<Key>,
        slot: &mut Slot,
    ) -> Pruned {
        let deadline = tokio::time::Instant::now() + object.spec.timeout().0;
        let mut all = Pruned::default();
        let mut left = inventory.entries().to_vec();
        loop {
            let claims = match self.source(object).await {
                Ok(source) => match self.tree(&source).await {
                    Ok(tree) => Some(self.claims(&source, &tree).await),
                    Err(_) => None,
                },
                // Without its source nobody can want anything from it.
                Err(_) => None,
            };
            let claimant = |id: &_| claims.as_ref().and_then(|claims| claims.claimant(id, key));
            let pruned = pruner.prune(left, |id| claimant(id).is_some()).await;
            all.changes.extend(pruned.changes);
            all.deleted.extend(pruned.deleted);
            all.failed = pruned.failed;
            let mut takers: Vec<Key> = pruned
                .wanted
                .iter()
                .filter_map(|entry| claimant(&entry.id).cloned())
                .collect();
            takers.sort();
            takers.dedup();
            if takers.is_empty() {
                return all;
            }
            self.wakes.wait_for_takers(key, takers.clone());
            for taker in takers {
                self.queue.add(taker, Reasons::DEPENDENCY);
            }
            let changed = slot
                .parked(tokio::time::timeout_at(deadline, work.changed()))
                .await;
            if changed.is_err() {
                tracing::warn!(%key, "objects that another Kustomization wants were not taken over in time; they stay");
                return all;
            }
            left = pruned.wanted;
        }
    }

    /// Whether the identity that applied still exists; without it nothing can be deleted.
    async fn may_act(&self, object: &Kustomization) -> Result<bool, Failure> {
        let settings = &self.context.settings;
        let account = object
            .spec
            .service_account_name
            .as_ref()
            .filter(|name| !name.is_empty())
            .or(settings.default_service_account.as_ref());
        let Some(name) = account else {
            return Ok(true);
        };
        let resource = Resource {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "ServiceAccount".to_owned(),
            plural: "serviceaccounts".to_owned(),
            namespaced: true,
        };
        let target = Target {
            resource: &resource,
            namespace: &object.metadata.namespace,
            name,
        };
        match self.context.cluster.get(target).await {
            Ok(found) => Ok(found.is_some()),
            Err(error) => Err(Failure::retry(
                PRUNE_FAILED,
                format!("ServiceAccount '{name}' cannot be read: {error}"),
            )),
        }
    }
}
