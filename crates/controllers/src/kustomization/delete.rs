//! The end of a Kustomization: its objects go as its policy says, then its finalizer.

use std::sync::Arc;

use fluvial_api::Kustomization;
use fluvial_api::kustomize::DeletionPolicy;
use fluvial_delivery::changes::event_text;
use fluvial_delivery::inventory::Inventory;
use fluvial_object::ObjectId;
use fluvial_ports::{Cluster, Resource, Severity, Target};
use rustc_hash::FxHashSet;

use super::Kustomizations;
use super::claims::owner;
use super::prune::{Pruner, gone};
use super::step::{self, Facts, Failure, PRUNE_FAILED};
use crate::Key;
use crate::queue::Work;
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
        cluster: &dyn Cluster,
        work: &mut Work<Key>,
        slot: &mut Slot,
    ) -> (Vec<(ObjectId, Arc<Resource>, String)>, Vec<String>) {
        let deadline = tokio::time::Instant::now() + object.spec.timeout().0;
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
                source: revision.as_ref().map(|(source, tree)| (source, tree)),
                patient: tokio::time::Instant::now() < deadline,
            };
            let pruned = pruner.prune(left).await;
            let changes = pruned.plan.changes(|id| pruned.failed.contains_key(id));
            if let Some(text) = event_text(&changes) {
                self.tell(object, &Facts::default(), Severity::Info, &text, None);
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
            self.wake_takers(key, takers);
            // When the time is over, what is held is let go.
            let _ = slot
                .parked(tokio::time::timeout_at(deadline, work.changed()))
                .await;
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
