//! Carries deletions out: looks at what is no longer wanted, lets [`plan::prune`] decide, and deletes what it says,
//! each object only as it was seen.

use std::sync::Arc;

use fluvial_delivery::control::Owner;
use fluvial_delivery::inventory::{Entry, Inventory};
use fluvial_delivery::plan::prune::{Deletion, Fate, Hold, MAX_LOOKS, Plan, Rules, Seen, decide, plan};
use fluvial_delivery::plan::{Claims, Wanted};
use fluvial_object::{ObjectExt, ObjectId};
use fluvial_ports::{
    BoxFuture, Cluster, ClusterError, Delete, ErrorKind, Propagation, Resource, Select, Watched,
};
use fluvial_tree::Tree;
use futures::{StreamExt, stream};
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;

use super::Kustomizations;
use super::apply::target;
use super::inputs::Source;
use crate::Key;
use crate::remote::Place;

/// Deletes objects of one Kustomization.
pub(crate) struct Pruner<'a> {
    /// The cluster, as the identity that deletes.
    pub(crate) cluster: &'a dyn Cluster,
    /// Whose objects they are.
    pub(crate) owner: Owner,
    /// Objects that are applied now, possibly under another group.
    pub(crate) applied: &'a FxHashSet<String>,
    /// All that may want them, too.
    pub(crate) everybody: &'a Kustomizations,
    /// Which cluster they are in.
    pub(crate) place: Place,
    /// The revision that they want something at.
    pub(crate) source: Option<(&'a Source, &'a Tree)>,
    /// Whether others have time to take objects over.
    pub(crate) patient: bool,
}

/// What became of the objects.
#[derive(Debug, Default)]
pub(crate) struct Pruned {
    /// What was decided.
    pub(crate) plan: Plan,
    /// What could not be deleted, and why.
    pub(crate) failed: FxHashMap<ObjectId, String>,
    /// What was to be deleted and has changed before it was.
    spared: Vec<ObjectId>,
    /// What was deleted, with its kind and UID.
    pub(crate) deleted: Vec<(ObjectId, Arc<Resource>, String)>,
}

impl Pruned {
    /// Those that objects are held for.
    pub(crate) fn takers(&self) -> Vec<Key> {
        let mut takers: Vec<Key> = self
            .plan
            .held()
            .filter_map(|(_, hold)| match hold {
                Hold::Wanted(owner) | Hold::Unsure(owner) => Some(owner),
                Hold::Shelters(wanted) => Some(&wanted.owner),
                Hold::Unreadable(_) => None,
            })
            .map(|owner| Key::new(&owner.namespace, &owner.name))
            .collect();
        takers.sort();
        takers.dedup();
        takers
    }

    /// What is on record afterwards.
    pub(crate) fn inventory(&self, wanted: &Inventory) -> Inventory {
        self.plan.inventory(wanted, |id| self.failed.contains_key(id))
    }

    /// Notes that an object is not deleted after all.
    fn spare(&mut self, entry: &Entry, fate: Fate) {
        if !matches!(fate, Fate::Gone | Fate::Terminating) {
            self.spared.push(entry.id.clone());
        }
        self.plan.replace(&entry.id, fate);
    }

    /// Something that was spared on the way and would go along with an object.
    fn sheltered(&self, id: &ObjectId) -> Option<&ObjectId> {
        let group = (id.kind == "CustomResourceDefinition")
            .then(|| id.name.split_once('.'))
            .flatten()
            .map(|(_, group)| group);
        self.spared.iter().find(|spared| match group {
            Some(group) => spared.group == group,
            None => id.kind == "Namespace" && spared.namespace == id.name,
        })
    }

    /// Why some objects could not be deleted, or not even looked at.
    pub(crate) fn errors(&self) -> Vec<String> {
        let unreadable = self.plan.held().filter_map(|(entry, hold)| match hold {
            Hold::Unreadable(_) => Some(format!("{} {hold}", entry.id)),
            _ => None,
        });
        let failed = self.failed.iter().map(|(id, error)| format!("{id} {error}"));
        let mut errors: Vec<String> = failed.chain(unreadable).collect();
        errors.sort();
        errors
    }
}

/// What a look at an object has shown.
enum Look {
    There(Arc<Resource>, Value),
    Absent,
    Unreadable(String),
}

impl Look {
    fn seen(&self) -> Seen<'_> {
        match self {
            Look::There(_, live) => Seen::There(live),
            Look::Absent => Seen::Absent,
            Look::Unreadable(why) => Seen::Unreadable(why),
        }
    }
}

impl Pruner<'_> {
    /// Deletes what is ours and wanted by nobody.
    pub(crate) async fn prune(&self, candidates: Vec<Entry>) -> Pruned {
        let wishes = self.everybody.wishes(&self.place, self.source).await;
        let claims = wishes.about(&candidates, &self.owner);
        let rules = self.rules(&claims);
        let concurrent = self.everybody.context.settings.concurrent_requests;
        let looks: Vec<BoxFuture<'_, (ObjectId, Look)>> = candidates
            .iter()
            .map(|entry| Box::pin(self.look_at(entry)) as BoxFuture<'_, _>)
            .collect();
        let mut seen: FxHashMap<ObjectId, Look> =
            stream::iter(looks).buffered(concurrent.max(1)).collect().await;
        let absent = Look::Absent;
        let plan = plan(
            candidates,
            |entry| seen.get(&entry.id).unwrap_or(&absent).seen(),
            &rules,
        );
        let todo: Vec<(Entry, Deletion)> = plan
            .deletions()
            .map(|(entry, deletion)| (entry.clone(), deletion.clone()))
            .collect();
        let mut pruned = Pruned {
            plan,
            ..Pruned::default()
        };
        for (entry, deletion) in todo {
            if let Some(Look::There(resource, _)) = seen.remove(&entry.id) {
                self.delete(&entry, deletion, resource, &rules, &mut pruned).await;
            }
        }
        pruned
    }

    fn rules<'r>(&'r self, claims: &'r Claims) -> Rules<'r> {
        Rules {
            owner: &self.owner,
            prune: true,
            claims,
            applied: self.applied,
            patient: self.patient,
        }
    }

    async fn look_at(&self, entry: &Entry) -> (ObjectId, Look) {
        let look = async {
            let resource = match self.cluster.resource(&entry.api_version(), &entry.id.kind).await {
                Ok(resource) => resource,
                // With its definition all objects of a kind are gone.
                Err(error) if error.kind == ErrorKind::NoKind => return Ok(Look::Absent),
                Err(error) => return Err(error),
            };
            let live = self.cluster.get(target(&resource, &entry.id)).await?;
            Ok::<_, ClusterError>(match live {
                Some(live) => Look::There(resource, live),
                None => Look::Absent,
            })
        };
        let look = look
            .await
            .unwrap_or_else(|error| Look::Unreadable(error.to_string()));
        (entry.id.clone(), look)
    }

    /// Deletes one object. Whoever changes it meanwhile may be taking it over: then it is decided again.
    async fn delete(
        &self,
        entry: &Entry,
        mut deletion: Deletion,
        resource: Arc<Resource>,
        rules: &Rules<'_>,
        pruned: &mut Pruned,
    ) {
        for looks in 1..=MAX_LOOKS {
            if deletion.takes_along {
                match self.decide_again(entry, pruned).await {
                    Fate::Delete(again) => deletion = again,
                    other => return pruned.spare(entry, other),
                }
            }
            let how = Delete {
                uid: Some(&deletion.uid),
                resource_version: Some(&deletion.resource_version),
                propagation: Propagation::Background,
            };
            self.everybody.context.metrics.wrote("object");
            tracing::debug!(object = %entry.id, owner = %self.owner, uid = %deletion.uid, "deleting");
            match self.cluster.delete(target(&resource, &entry.id), how).await {
                Ok(_) => {
                    pruned.deleted.push((entry.id.clone(), resource, deletion.uid));
                    return;
                }
                Err(error) if error.kind == ErrorKind::Conflict && looks < MAX_LOOKS => {}
                Err(error) => {
                    pruned
                        .failed
                        .insert(entry.id.clone(), format!("delete failed: {error}"));
                    return;
                }
            }
            let (_, look) = self.look_at(entry).await;
            match decide(entry, look.seen(), rules) {
                Fate::Delete(again) => deletion = again,
                other => return pruned.spare(entry, other),
            }
        }
    }

    /// Decides over an object that takes others along, right before its deletion: its version does not tell of what
    /// has been put into it meanwhile, so everybody is asked once more, and not by hearsay.
    async fn decide_again(&self, entry: &Entry, pruned: &Pruned) -> Fate {
        if let Some(id) = pruned.sheltered(&entry.id) {
            let owner = self.owner.clone();
            // The next run decides over both together.
            return Fate::Hold(Hold::Shelters(Wanted {
                owner,
                id: id.clone(),
            }));
        }
        let candidates: Vec<Entry> = pruned.plan.fates.iter().map(|(entry, _)| entry.clone()).collect();
        let wishes = match self.everybody.newest_wishes(&self.place, self.source).await {
            Ok(wishes) => wishes,
            Err(error) => return Fate::Hold(Hold::Unreadable(error.to_string())),
        };
        let claims = wishes.about(&candidates, &self.owner);
        let (_, look) = self.look_at(entry).await;
        decide(entry, look.seen(), &self.rules(&claims))
    }
}

/// Waits until an object (the one with this UID) is gone.
pub(crate) async fn gone(
    cluster: &dyn Cluster,
    id: &ObjectId,
    resource: &Arc<Resource>,
    uid: &str,
) -> Result<(), ClusterError> {
    let still = |object: &Value| object.uid() == uid;
    let live = cluster.get(target(resource, id)).await?;
    let Some(live) = live.filter(|live| still(live)) else {
        return Ok(());
    };
    let select = Select {
        namespace: resource.namespaced.then(|| id.namespace.clone()),
        fields: Some(format!("metadata.name={}", id.name)),
        since: Some(live.resource_version().to_owned()),
        ..Select::default()
    };
    let mut watch = cluster.watch(resource, &select);
    let mut listed = false;
    while let Some(watched) = watch.next().await {
        match watched {
            Watched::Restarted => listed = false,
            Watched::Applied(object) if still(&object) => listed = true,
            Watched::Ready if listed => {}
            // The watch tries again by itself.
            Watched::Failed(error) if error.is_transient() => {}
            Watched::Failed(error) => return Err(error),
            Watched::Applied(_) | Watched::Deleted(_) | Watched::Ready => return Ok(()),
        }
    }
    Ok(())
}
