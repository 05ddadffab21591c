//! Deleting what is no longer wanted: only what still carries our labels, nothing that another Kustomization of the
//! same revision wants.

use std::sync::Arc;

use fluvial_delivery::changes::{Action, Change};
use fluvial_delivery::control::{self, Owner};
use fluvial_delivery::inventory::Entry;
use fluvial_delivery::stage::sort_for_deletion;
use fluvial_object::{ObjectExt, ObjectId};
use fluvial_ports::{Cluster, ClusterError, Delete, ErrorKind, Propagation, Resource, Select, Watched};
use futures::StreamExt;
use rustc_hash::FxHashSet;
use serde_json::Value;

use super::apply::target;
use crate::metrics::Metrics;

/// Deletes objects of one Kustomization.
pub(crate) struct Pruner<'a> {
    /// The cluster, as the identity that deletes.
    pub(crate) cluster: &'a dyn Cluster,
    /// Whose objects they are.
    pub(crate) owner: Owner,
    /// Objects that are applied now, possibly under another group.
    pub(crate) applied: &'a FxHashSet<String>,
    /// Counts writes.
    pub(crate) metrics: &'a Metrics,
}

/// What became of the objects.
#[derive(Debug, Default)]
pub(crate) struct Pruned {
    /// What was deleted.
    pub(crate) changes: Vec<Change>,
    /// What could not be deleted, and why.
    pub(crate) failed: Vec<(Entry, String)>,
    /// What another Kustomization is to take over.
    pub(crate) wanted: Vec<Entry>,
    /// What was deleted, with its kind and UID.
    pub(crate) deleted: Vec<(ObjectId, Arc<Resource>, String)>,
}

enum Fate {
    /// Not there, not ours, or to be kept.
    Nothing,
    Wanted,
    Deleted(Arc<Resource>, String),
}

impl Pruner<'_> {
    /// Deletes what is ours and not `wanted` by others.
    pub(crate) async fn prune(&self, mut entries: Vec<Entry>, wanted: impl Fn(&ObjectId) -> bool) -> Pruned {
        sort_by_deletion(&mut entries);
        let mut pruned = Pruned::default();
        for entry in entries {
            match self.one(&entry, &wanted).await {
                Ok(Fate::Nothing) => {}
                Ok(Fate::Wanted) => pruned.wanted.push(entry),
                Ok(Fate::Deleted(resource, uid)) => {
                    pruned
                        .changes
                        .push(Change::new(entry.id.clone(), Action::Deleted));
                    pruned.deleted.push((entry.id, resource, uid));
                }
                Err(error) => {
                    let text = format!("{} delete failed: {error}", entry.id);
                    pruned.failed.push((entry, text));
                }
            }
        }
        pruned
    }

    async fn one(&self, entry: &Entry, wanted: &impl Fn(&ObjectId) -> bool) -> Result<Fate, ClusterError> {
        const TRIES: usize = 4;
        let resource = match self.cluster.resource(&entry.api_version(), &entry.id.kind).await {
            Ok(resource) => resource,
            // With its definition all objects of a kind are gone.
            Err(error) if error.kind == ErrorKind::NoKind => return Ok(Fate::Nothing),
            Err(error) => return Err(error),
        };
        let target = target(&resource, &entry.id);
        for tries in 1..=TRIES {
            let Some(live) = self.cluster.get(target).await? else {
                return Ok(Fate::Nothing);
            };
            if self.spares(&live) {
                return Ok(Fate::Nothing);
            }
            if wanted(&entry.id) {
                return Ok(Fate::Wanted);
            }
            let how = Delete {
                uid: Some(live.uid()),
                // Whoever changes it meanwhile may be taking it over: look again.
                resource_version: Some(live.resource_version()),
                propagation: Propagation::Background,
            };
            self.metrics.wrote("object");
            match self.cluster.delete(target, how).await {
                Ok(true) => return Ok(Fate::Deleted(resource.clone(), live.uid().to_owned())),
                Ok(false) => return Ok(Fate::Nothing),
                Err(error) if error.kind == ErrorKind::Conflict && tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Fate::Nothing)
    }

    /// Whether a live object is not to be deleted by us.
    fn spares(&self, live: &Value) -> bool {
        !self.owner.owns(live)
            || control::keep(live).is_some()
            || self.applied.contains(live.uid())
            || live.deletion_timestamp().is_some()
    }
}

fn sort_by_deletion(entries: &mut [Entry]) {
    sort_for_deletion(entries, |entry| &entry.id);
}

/// Waits until an object (the one with this UID) is gone.
pub(crate) async fn gone(
    cluster: &dyn Cluster,
    id: &ObjectId,
    resource: &Arc<Resource>,
    uid: &str,
) -> Result<(), ClusterError> {
    let still = |object: &Value| object.uid() == uid;
    if !cluster
        .get(target(resource, id))
        .await?
        .is_some_and(|live| still(&live))
    {
        return Ok(());
    }
    let select = Select {
        namespace: resource.namespaced.then(|| id.namespace.clone()),
        fields: Some(format!("metadata.name={}", id.name)),
        ..Select::default()
    };
    let mut watch = cluster.watch(resource, &select);
    let mut listed = false;
    while let Some(watched) = watch.next().await {
        match watched {
            Watched::Restarted => listed = false,
            Watched::Applied(object) if still(&object) => listed = true,
            Watched::Ready if listed => {}
            Watched::Failed(error) => return Err(error),
            Watched::Applied(_) | Watched::Deleted(_) | Watched::Ready => return Ok(()),
        }
    }
    Ok(())
}
