//! Random Git histories: which Kustomization holds which object at which revision.

use std::collections::{BTreeMap, BTreeSet};

use fluvial_delivery::control::{self, Owner};
use fluvial_object::{ObjectExt, ObjectId};
use serde_json::{Value, json};

use crate::random::Random;
use crate::world::{KUSTOMIZE, kustomization_id};

/// What Git says at one revision.
#[derive(Clone, Debug, Default)]
pub(crate) struct Revision {
    /// Each Kustomization's objects; the root's hold the other Kustomizations.
    pub(crate) builds: BTreeMap<Owner, BTreeMap<ObjectId, Value>>,
    /// Those whose build fails.
    pub(crate) broken: BTreeSet<Owner>,
}

pub(crate) fn root() -> Owner {
    Owner::new("flux-system", "root")
}

fn owners() -> Vec<Owner> {
    ["a", "b", "c", "d"]
        .map(|name| Owner::new("flux-system", name))
        .into()
}

fn namespace(name: &str) -> ObjectId {
    ObjectId::new("", "Namespace", "", name)
}

fn definition() -> ObjectId {
    ObjectId::new(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "",
        "widgets.x.y",
    )
}

/// Everything that may come up.
fn ids() -> Vec<ObjectId> {
    let mut ids = vec![definition()];
    for space in ["n0", "n1"] {
        ids.push(namespace(space));
        ids.extend((0..4).map(|number| ObjectId::new("", "ConfigMap", space, format!("c{number}"))));
        ids.push(ObjectId::new("x.y", "Widget", space, "w"));
    }
    ids
}

fn manifest(id: &ObjectId, random: &mut Random) -> Value {
    let api_version = match id.group.as_str() {
        "" => "v1".to_owned(),
        group => format!("{group}/v1"),
    };
    let mut object = json!({"apiVersion": api_version, "kind": id.kind, "metadata": {"name": id.name},
        "data": {"value": random.below(3).to_string()}});
    if !id.namespace.is_empty() {
        object["metadata"]["namespace"] = json!(id.namespace);
    }
    if *id == definition() {
        object["spec"] = json!({"group": "x.y", "names": {"kind": "Widget"}});
    }
    // One that is never to be deleted, and one that cannot be changed but may be made anew.
    match (id.namespace.as_str(), id.name.as_str()) {
        ("n1", "c3") => object.set_annotation(control::PRUNE, "disabled"),
        ("n0", "c3") => {
            object["frozen"] = json!(random.below(3));
            object.set_annotation(control::FORCE, "enabled");
        }
        _ => {}
    }
    object
}

/// Which of the fleet's ways are in play.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Play {
    /// Kustomizations come and go.
    pub(crate) owners_change: bool,
    /// Some do not prune, or orphan what they leave.
    pub(crate) policies: bool,
    /// Builds fail now and then.
    pub(crate) broken: bool,
}

/// A history of `count` revisions. The last one can be reached: nothing is broken, claimed twice, or without its
/// namespace.
pub(crate) fn history(random: &mut Random, count: usize, play: Play) -> Vec<Revision> {
    let mut place: BTreeMap<ObjectId, (Option<Owner>, Value)> = BTreeMap::new();
    for id in ids() {
        let owner = random.chance(60).then(|| random.pick(&owners()).clone());
        let manifest = manifest(&id, random);
        place.insert(id, (owner, manifest));
    }
    let mut revisions = Vec::with_capacity(count);
    let mut present: BTreeSet<Owner> = owners().into_iter().collect();
    for number in 0..count {
        for (id, (owner, object)) in &mut place {
            if random.chance(25) {
                *owner = random.chance(65).then(|| random.pick(&owners()).clone());
            }
            if random.chance(15) {
                *object = manifest(id, random);
            }
        }
        if play.owners_change {
            for owner in owners() {
                if random.chance(15) && !present.remove(&owner) {
                    present.insert(owner);
                }
            }
        }
        let last = number + 1 == count;
        if last || random.chance(70) {
            complete(&mut place, &mut present, random);
        }
        let mut revision = revision(&place, &present, random, play);
        if last {
            revision.broken.clear();
        }
        revisions.push(revision);
    }
    revisions
}

/// Sees to it that all that is wanted can be had: by a Kustomization that is there, in a namespace that is.
fn complete(
    place: &mut BTreeMap<ObjectId, (Option<Owner>, Value)>,
    present: &mut BTreeSet<Owner>,
    random: &mut Random,
) {
    if present.is_empty() {
        present.insert(random.pick(&owners()).clone());
    }
    let there: Vec<Owner> = present.iter().cloned().collect();
    for (owner, _) in place.values_mut() {
        if owner.as_ref().is_some_and(|owner| !present.contains(owner)) {
            *owner = random.chance(80).then(|| random.pick(&there).clone());
        }
    }
    let wanted: Vec<ObjectId> = place
        .iter()
        .filter(|(_, (owner, _))| owner.is_some())
        .map(|(id, _)| id.clone())
        .collect();
    for id in wanted {
        let mut needs = vec![namespace(&id.namespace)];
        if id.group == "x.y" {
            needs.push(definition());
        }
        for need in needs {
            if let Some((owner, _)) = place.get_mut(&need) {
                owner.get_or_insert_with(|| random.pick(&there).clone());
            }
        }
    }
}

fn revision(
    place: &BTreeMap<ObjectId, (Option<Owner>, Value)>,
    present: &BTreeSet<Owner>,
    random: &mut Random,
    play: Play,
) -> Revision {
    let mut revision = Revision::default();
    let mut kustomizations = BTreeMap::new();
    for owner in present {
        let (prune, policy) = if play.policies && random.chance(25) {
            (
                random.chance(50),
                *random.pick(&["MirrorPrune", "Delete", "Orphan"]),
            )
        } else {
            (true, "MirrorPrune")
        };
        let object = json!({"apiVersion": format!("{KUSTOMIZE}/v1"), "kind": "Kustomization",
            "metadata": {"name": owner.name, "namespace": owner.namespace},
            "spec": {"prune": prune, "deletionPolicy": policy}});
        kustomizations.insert(kustomization_id(owner), object);
        revision.builds.insert(owner.clone(), BTreeMap::new());
        if play.broken && random.chance(12) {
            revision.broken.insert(owner.clone());
        }
    }
    revision.builds.insert(root(), kustomizations);
    for (id, (owner, object)) in place {
        if let Some(build) = owner.as_ref().and_then(|owner| revision.builds.get_mut(owner)) {
            build.insert(id.clone(), object.clone());
        }
    }
    revision
}

impl Revision {
    /// Whether any Kustomization wants an object.
    pub(crate) fn wants(&self, id: &ObjectId) -> bool {
        self.builds.values().any(|build| build.contains_key(id))
    }
}
