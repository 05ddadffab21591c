//! Nothing new: the files that a build reads, its variables and the spec are as they were, and every object is still
//! at the version in which it was left. Then there is nothing to build and nothing to try out.

use std::sync::Arc;

use fluvial_api::Kustomization;
use fluvial_delivery::inventory::Inventory;
use fluvial_delivery::substitute::Substitution;
use fluvial_kustomize::Reads;
use fluvial_object::ObjectExt;
use fluvial_ports::{BoxFuture, Cluster, ClusterError};
use fluvial_tree::{Digest, Tree};
use futures::{StreamExt, stream};

use super::apply::{Known, Memory, target};
use super::health::{Awaited, Judge};
use super::keys::Keys;
use super::{Kustomizations, manifest};

/// What is remembered of a run that came to its end.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Objects as they were left.
    pub(crate) objects: Memory,
    /// What they were made from; nothing if not all was well.
    pub(crate) basis: Option<Basis>,
}

/// What a build is made of besides the spec.
pub(crate) struct Ingredients<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) variables: &'a Substitution,
    pub(crate) keys: Option<&'a Keys>,
}

/// What the objects of a Kustomization are made from.
#[derive(Debug)]
pub(crate) struct Basis {
    uid: String,
    generation: i64,
    reads: Reads,
    variables: Substitution,
    /// What tells the keys from others.
    keys: Option<Digest>,
    /// Digest of what was built.
    pub(crate) digest: String,
    /// The objects.
    inventory: Inventory,
}

impl Basis {
    /// What a run was made from.
    pub(crate) fn new(
        object: &Kustomization,
        built: &manifest::Built,
        variables: Substitution,
        keys: Option<&Keys>,
        inventory: Inventory,
    ) -> Self {
        Self {
            uid: object.metadata.uid.clone(),
            generation: object.metadata.generation,
            reads: built.reads.clone(),
            variables,
            keys: keys.map(|keys| keys.digest),
            digest: built.digest.clone(),
            inventory,
        }
    }

    fn fits(&self, object: &Kustomization, with: &Ingredients<'_>) -> bool {
        self.uid == object.metadata.uid
            && self.generation == object.metadata.generation
            && self.variables == *with.variables
            && self.keys == with.keys.map(|keys| keys.digest)
    }
}

impl Kustomizations {
    /// The objects as they are, if nothing at all has changed.
    pub(super) async fn steady(
        &self,
        object: &Arc<Kustomization>,
        remembered: &Arc<Remembered>,
        with: &Ingredients<'_>,
        cluster: &dyn Cluster,
        judge: &Judge,
        recorded: &Inventory,
    ) -> Option<Vec<Awaited>> {
        let basis = remembered.basis.as_ref()?;
        if !basis.fits(object, with) || !basis.inventory.same_objects(recorded) {
            return None;
        }
        let (owner, memory, files) = (Arc::clone(object), Arc::clone(remembered), with.tree.clone());
        let same = self.context.aside.run(move || {
            let reads = memory.basis.as_ref().map(|basis| &basis.reads);
            reads.is_some_and(|reads| manifest::reads_same(&files, &owner, reads))
        });
        if !same.await.unwrap_or(false) {
            return None;
        }
        let looks: Vec<BoxFuture<'_, Result<Option<Awaited>, ClusterError>>> = basis
            .inventory
            .entries()
            .iter()
            .map(|entry| {
                let known = remembered.objects.get(&entry.id);
                Box::pin(unchanged(cluster, entry, known, judge)) as BoxFuture<'_, _>
            })
            .collect();
        let mut found = stream::iter(looks).buffered(self.context.settings.concurrent_requests.max(1));
        let mut seen = Vec::with_capacity(basis.inventory.len());
        while let Some(one) = found.next().await {
            // An error is met again where it can be reported.
            seen.push(one.ok()??);
        }
        self.context.metrics.built("unchanged");
        Some(seen)
    }
}

/// An object that is at the version in which it was left.
async fn unchanged(
    cluster: &dyn Cluster,
    entry: &fluvial_delivery::inventory::Entry,
    known: Option<&Known>,
    judge: &Judge,
) -> Result<Option<Awaited>, ClusterError> {
    let Some(known) = known else { return Ok(None) };
    let resource = cluster.resource(&entry.api_version(), &entry.id.kind).await?;
    let live = cluster.get(target(&resource, &entry.id)).await?;
    let Some(live) = live.filter(|live| live.resource_version() == known.version) else {
        return Ok(None);
    };
    Ok(Some(Awaited::seen(entry.id.clone(), resource, &live, judge)))
}
