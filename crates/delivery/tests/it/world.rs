//! A cluster as far as the plan can tell: objects with UIDs and versions, namespaces and definitions that take their
//! objects with them, finalizers of Kustomizations. It writes down who destroyed what.

use std::collections::{BTreeMap, BTreeSet};

use fluvial_delivery::control::Owner;
use fluvial_delivery::plan::Refusal;
use fluvial_object::{ObjectExt, ObjectId};
use serde_json::{Value, json};

pub(crate) const KUSTOMIZE: &str = "kustomize.toolkit.fluxcd.io";

/// An object that is no more.
#[derive(Clone, Debug)]
pub(crate) struct Destroyed {
    pub(crate) id: ObjectId,
    pub(crate) object: Value,
    /// Whether it went with its namespace or definition.
    pub(crate) cascade: bool,
    /// The run that did it.
    pub(crate) by: Owner,
    pub(crate) revision: usize,
    /// Whether it was to be made anew at once.
    pub(crate) recreate: bool,
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) objects: BTreeMap<ObjectId, Value>,
    pub(crate) destroyed: Vec<Destroyed>,
    /// UIDs of objects that were left in the cluster on purpose.
    pub(crate) released: BTreeSet<String>,
    pub(crate) writes: usize,
    counter: usize,
}

pub(crate) fn kustomization_id(owner: &Owner) -> ObjectId {
    ObjectId::new(KUSTOMIZE, "Kustomization", &owner.namespace, &owner.name)
}

pub(crate) fn owner_of_id(id: &ObjectId) -> Option<Owner> {
    (id.group == KUSTOMIZE && id.kind == "Kustomization").then(|| Owner::new(&id.namespace, &id.name))
}

/// What the deletion of `container` takes along.
fn goes_with(container: &ObjectId, id: &ObjectId) -> bool {
    match container.kind.as_str() {
        "Namespace" => id.namespace == container.name,
        "CustomResourceDefinition" => {
            container.name.split_once('.').map(|(_, group)| group) == Some(&id.group)
        }
        _ => false,
    }
}

impl World {
    fn fresh(&mut self) -> String {
        self.counter += 1;
        self.counter.to_string()
    }

    /// What a server makes of an apply, without storing it.
    pub(crate) fn dry_run(&self, desired: &Value) -> Result<Value, Refusal> {
        let id = desired.id();
        let missing = |what: String| Refusal::new(404, "NotFound", format!("{what} not found"));
        if !id.namespace.is_empty() && id.namespace != "flux-system" {
            let namespace = ObjectId::new("", "Namespace", "", &id.namespace);
            if !self.objects.contains_key(&namespace) {
                return Err(missing(format!("namespaces {:?}", id.namespace)));
            }
        }
        if id.group == "x.y" {
            let definition = ObjectId::new(
                "apiextensions.k8s.io",
                "CustomResourceDefinition",
                "",
                "widgets.x.y",
            );
            if !self.objects.contains_key(&definition) {
                return Err(Refusal::new(
                    0,
                    "",
                    "no matches for kind \"Widget\" in version \"x.y/v1\"",
                ));
            }
        }
        let mut result = desired.clone();
        if let Some(live) = self.objects.get(&id) {
            if live["frozen"] != desired["frozen"] {
                return Err(Refusal::new(422, "Invalid", "frozen: field is immutable"));
            }
            for field in ["uid", "resourceVersion", "deletionTimestamp"] {
                if let Some(value) = live["metadata"].get(field) {
                    result["metadata"][field] = value.clone();
                }
            }
            if let Some(status) = live.get("status") {
                result["status"] = status.clone();
            }
        }
        Ok(result)
    }

    pub(crate) fn apply(&mut self, desired: &Value) -> Result<(), Refusal> {
        let mut object = self.dry_run(desired)?;
        self.writes += 1;
        if object.uid().is_empty() {
            object["metadata"]["uid"] = json!(format!("uid-{}", self.fresh()));
        }
        object["metadata"]["resourceVersion"] = json!(self.fresh());
        self.objects.insert(desired.id(), object);
        Ok(())
    }

    /// Another writer touches an object, as an autoscaler or a status does.
    pub(crate) fn touch(&mut self, id: &ObjectId) {
        let version = self.fresh();
        if let Some(object) = self.objects.get_mut(id) {
            object["metadata"]["resourceVersion"] = json!(version);
        }
    }

    pub(crate) fn set_status(&mut self, id: &ObjectId, status: &Value) {
        let version = self.fresh();
        if let Some(object) = self.objects.get_mut(id)
            && object["status"] != *status
        {
            self.writes += 1;
            object["status"] = status.clone();
            object["metadata"]["resourceVersion"] = json!(version);
        }
    }

    /// Deletes an object under its preconditions. A Kustomization is only marked: its finalizer has work to do.
    pub(crate) fn delete(
        &mut self,
        id: &ObjectId,
        uid: &str,
        version: Option<&str>,
        by: &Owner,
        revision: usize,
    ) -> Result<(), Refusal> {
        let Some(live) = self.objects.get(id) else {
            return Err(Refusal::new(404, "NotFound", "not found"));
        };
        if live.uid() != uid || version.is_some_and(|version| live.resource_version() != version) {
            return Err(Refusal::new(409, "Conflict", "the precondition does not hold"));
        }
        self.writes += 1;
        if owner_of_id(id).is_some() {
            let version = self.fresh();
            if let Some(live) = self.objects.get_mut(id) {
                live["metadata"]["deletionTimestamp"] = json!("now");
                live["metadata"]["resourceVersion"] = json!(version);
            }
            return Ok(());
        }
        self.destroy(id, by, revision, version.is_none());
        Ok(())
    }

    fn destroy(&mut self, id: &ObjectId, by: &Owner, revision: usize, recreate: bool) {
        let along: Vec<ObjectId> = self
            .objects
            .keys()
            .filter(|other| goes_with(id, other))
            .cloned()
            .collect();
        let all = along
            .into_iter()
            .map(|id| (id, true))
            .chain([(id.clone(), false)]);
        for (id, cascade) in all {
            if let Some(object) = self.objects.remove(&id) {
                self.destroyed.push(Destroyed {
                    id,
                    object,
                    cascade,
                    by: by.clone(),
                    revision,
                    recreate,
                });
            }
        }
    }

    /// The finalizer of a Kustomization is gone, and so is it.
    pub(crate) fn finalized(&mut self, owner: &Owner) {
        self.writes += 1;
        self.objects.remove(&kustomization_id(owner));
    }
}
