//! Garbage collection: objects go when their owners have gone.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;

use super::{drop_finalizer, mutate, mutate_managed, remove};
use crate::api::{Api, meta};
use crate::crd;
use crate::kinds::Kind;
use crate::store::{Change, Notice, Stored};

type Place = (Arc<str>, Arc<str>);

/// Who owns whom.
#[derive(Debug, Default)]
pub struct Collector {
    /// Objects that are there.
    live: FxHashSet<Box<str>>,
    /// Dependents by the uid of their owner.
    dependents: FxHashMap<Box<str>, FxHashSet<Place>>,
    /// Owners by dependent.
    owners: FxHashMap<Place, Vec<Box<str>>>,
}

fn owner_uids(value: &Value) -> Vec<Box<str>> {
    let list = value["metadata"]["ownerReferences"].as_array();
    list.into_iter()
        .flatten()
        .filter_map(|owner| owner["uid"].as_str())
        .map(Box::from)
        .collect()
}

fn has_finalizer(value: &Value, name: &str) -> bool {
    value["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|list| list.iter().any(|item| item == name))
}

impl Collector {
    /// Learns what is there at the start.
    pub fn load(&mut self, api: &Api) {
        for collection in api.store.collections() {
            if let Ok(snapshot) = collection.snapshot(&api.store, "", None, None) {
                for stored in snapshot.objects {
                    self.learn(&collection.name, &stored, &stored.value());
                }
            }
        }
        let places: Vec<Place> = self.owners.keys().cloned().collect();
        for place in places {
            self.check(api, &place);
        }
    }

    fn learn(&mut self, collection: &Arc<str>, stored: &Stored, value: &Value) {
        self.live.insert(meta(value, "uid").into());
        let place = (collection.clone(), stored.key.clone());
        let owners = owner_uids(value);
        if self.owners.get(&place).is_some_and(|old| *old == owners) {
            return;
        }
        self.forget(&place);
        for owner in &owners {
            self.dependents
                .entry(owner.clone())
                .or_default()
                .insert(place.clone());
        }
        if !owners.is_empty() {
            self.owners.insert(place, owners);
        }
    }

    fn forget(&mut self, place: &Place) {
        for owner in self.owners.remove(place).unwrap_or_default() {
            if let Some(places) = self.dependents.get_mut(&owner) {
                places.remove(place);
                if places.is_empty() {
                    self.dependents.remove(&owner);
                }
            }
        }
    }

    fn dependents_of(&self, uid: &str) -> Vec<Place> {
        self.dependents
            .get(uid)
            .map(|places| places.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Reacts to a change.
    pub fn react(&mut self, api: &Api, notice: &Notice) {
        let event = &notice.event;
        let value = event.object.value();
        let uid = meta(&value, "uid");
        if event.change == Change::Deleted {
            let place = (notice.collection.clone(), event.object.key.clone());
            let owners = self.owners.get(&place).cloned().unwrap_or_default();
            self.forget(&place);
            self.live.remove(uid);
            for place in self.dependents_of(uid) {
                self.check(api, &place);
            }
            for owner in owners {
                self.foreground_done(api, &owner);
            }
            if notice.collection.contains('.') {
                let definitions = api.store.collection(crd::COLLECTION);
                let deleting = definitions.get(&notice.collection);
                if deleting.is_some_and(|found| !found.value()["metadata"]["deletionTimestamp"].is_null()) {
                    super::finish_definition(api, &notice.collection);
                }
            }
            return;
        }
        self.learn(&notice.collection, &event.object, &value);
        if !value["metadata"]["deletionTimestamp"].is_null() {
            self.deleting(api, &notice.collection, &event.object, &value);
        } else if value["metadata"]["ownerReferences"].is_array() {
            let place = (notice.collection.clone(), event.object.key.clone());
            self.check(api, &place);
        }
    }

    fn deleting(&mut self, api: &Api, collection: &Arc<str>, stored: &Stored, value: &Value) {
        let uid = meta(value, "uid");
        let collection = api.store.collection(collection);
        if has_finalizer(value, "orphan") {
            for (name, key) in self.dependents_of(uid) {
                if let Some(kind) = kind_of(api, &name) {
                    mutate_managed(api, &kind, &key, &mut |value| {
                        drop_owners(value, &|owner| owner == uid)
                    });
                }
            }
            mutate(api, &collection, &stored.key, &mut |value| {
                drop_finalizer(value, "orphan")
            });
        } else if has_finalizer(value, "foregroundDeletion") {
            let places = self.dependents_of(uid);
            let mut waits = false;
            for place in places {
                let Some(found) = api.store.collection(&place.0).get(&place.1) else {
                    continue;
                };
                let dependent = found.value();
                let blocks = dependent["metadata"]["ownerReferences"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|owner| owner["uid"] == uid && owner["blockOwnerDeletion"] == true);
                waits |= blocks;
                if dependent["metadata"]["deletionTimestamp"].is_null()
                    && let Some(kind) = kind_of(api, &place.0)
                {
                    remove(api, &kind, found.namespace(), found.name(), "Foreground");
                }
            }
            if !waits {
                mutate(api, &collection, &stored.key, &mut |value| {
                    drop_finalizer(value, "foregroundDeletion")
                });
            } else {
                self.waiting(api, uid, &collection.name, &stored.key);
            }
        }
    }

    /// Remembers nothing: an owner that waits is found again by its uid when a dependent goes.
    fn waiting(&mut self, _api: &Api, uid: &str, collection: &Arc<str>, key: &Arc<str>) {
        let place = (collection.clone(), key.clone());
        self.dependents
            .entry(format!("foreground/{uid}").into())
            .or_default()
            .insert(place);
    }

    fn foreground_done(&mut self, api: &Api, owner: &str) {
        let name: Box<str> = format!("foreground/{owner}").into();
        let Some(places) = self.dependents.get(&name).cloned() else {
            return;
        };
        let left = self.dependents_of(owner).into_iter().any(|(collection, key)| {
            api.store.collection(&collection).get(&key).is_some_and(|found| {
                let value = found.value();
                let owners = value["metadata"]["ownerReferences"].as_array();
                owners
                    .into_iter()
                    .flatten()
                    .any(|item| item["uid"] == owner && item["blockOwnerDeletion"] == true)
            })
        });
        if left {
            return;
        }
        self.dependents.remove(&name);
        for (collection, key) in places {
            mutate(api, &api.store.collection(&collection), &key, &mut |value| {
                meta(value, "uid") == owner && drop_finalizer(value, "foregroundDeletion")
            });
        }
    }

    /// Deletes an object whose owners are all gone; drops references to those that are.
    fn check(&mut self, api: &Api, place: &Place) {
        let collection = api.store.collection(&place.0);
        let Some(found) = collection.get(&place.1) else {
            return;
        };
        let value = found.value();
        let owners = owner_uids(&value);
        let namespace = found.namespace();
        let there = |owner: &Value| {
            let uid = owner["uid"].as_str().unwrap_or("");
            self.live.contains(uid) && in_reach(api, owner, namespace)
        };
        let list = value["metadata"]["ownerReferences"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let gone: Vec<&Value> = list.iter().filter(|owner| !there(owner)).collect();
        if owners.is_empty() || gone.is_empty() {
            return;
        }
        // An owner of a kind that is not known may be there.
        if gone.iter().any(|owner| owner_kind(api, owner).is_none()) {
            return;
        }
        if gone.len() == list.len() {
            if let Some(kind) = kind_of(api, &place.0)
                && value["metadata"]["deletionTimestamp"].is_null()
            {
                let policy = if has_finalizer(&value, "orphan") {
                    "Orphan"
                } else if has_finalizer(&value, "foregroundDeletion") {
                    "Foreground"
                } else {
                    "Background"
                };
                remove(api, &kind, namespace, found.name(), policy);
            }
            return;
        }
        let gone: Vec<String> = gone
            .iter()
            .filter_map(|owner| owner["uid"].as_str())
            .map(str::to_owned)
            .collect();
        if let Some(kind) = kind_of(api, &place.0) {
            mutate_managed(api, &kind, &place.1, &mut |value| {
                drop_owners(value, &|owner| gone.iter().any(|uid| uid == owner))
            });
        }
    }
}

fn owner_kind(api: &Api, owner: &Value) -> Option<Arc<Kind>> {
    let version = owner["apiVersion"].as_str().unwrap_or("");
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    api.kinds()
        .by_kind(group, version, owner["kind"].as_str().unwrap_or(""))
        .cloned()
}

/// An owner in a namespace owns only what is in the same one; the name must fit too.
fn in_reach(api: &Api, owner: &Value, namespace: &str) -> bool {
    let Some(kind) = owner_kind(api, owner) else {
        return true;
    };
    let key = kind.key(namespace, owner["name"].as_str().unwrap_or(""));
    api.store
        .collection(&kind.collection)
        .get(&key)
        .is_some_and(|found| meta(&found.value(), "uid") == owner["uid"])
}

fn drop_owners(value: &mut Value, gone: &dyn Fn(&str) -> bool) -> bool {
    let Some(meta) = value["metadata"].as_object_mut() else {
        return false;
    };
    let Some(list) = meta.get_mut("ownerReferences").and_then(Value::as_array_mut) else {
        return false;
    };
    let before = list.len();
    list.retain(|owner| !gone(owner["uid"].as_str().unwrap_or("")));
    let changed = before != list.len();
    if list.is_empty() {
        meta.remove("ownerReferences");
    }
    changed
}

fn kind_of(api: &Api, collection: &str) -> Option<Arc<Kind>> {
    api.kinds()
        .all()
        .find(|kind| kind.collection == collection && kind.can("delete"))
        .cloned()
}
