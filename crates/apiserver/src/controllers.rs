//! What a cluster does by itself: one task follows every change of the store and reacts at once.

pub mod access;
pub mod aggregation;
pub mod bootstrap;
pub mod flows;
pub mod garbage;
pub mod namespaces;
pub mod tokens;

use std::sync::{Arc, Weak};

use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::api::Api;
use crate::crd;
use crate::kinds::Kind;
use crate::request::{FieldValidation, Request};
use crate::simulator::Simulator;
use crate::store::{Collection, Expect, Notice, Refused};
use crate::verbs::delete;

/// Changes taken in before the simulator looks at what they marked.
const BATCH: usize = 128;

/// Follows the store until the server is gone.
pub fn start(api: Arc<Api>, mut notices: UnboundedReceiver<Notice>, mut simulator: Option<Simulator>) {
    let enabled = api.features.controllers;
    // What was written so far is seen by looking.
    while notices.try_recv().is_ok() {}
    let mut garbage = garbage::Collector::default();
    if enabled {
        garbage.load(&api);
        namespaces::load(&api);
    }
    let weak: Weak<Api> = Arc::downgrade(&api);
    drop(api);
    tokio::spawn(async move {
        loop {
            let due = simulator.as_ref().and_then(Simulator::due);
            let first = match due {
                Some(due) => tokio::time::timeout_at(due, notices.recv()).await.ok(),
                None => Some(notices.recv().await),
            };
            let Some(api) = weak.upgrade() else { return };
            let mut next = match first {
                Some(None) => return,
                Some(notice) => notice,
                None => None,
            };
            let mut taken = 0;
            let (mut roles, mut served) = (false, false);
            let mut spaces = std::collections::BTreeSet::new();
            while let Some(notice) = next {
                if &*notice.collection == crd::COLLECTION {
                    served = true;
                    definition(&api, &notice);
                }
                aggregation::react(&api, &notice);
                flows::react(&api, &notice);
                if enabled {
                    garbage.react(&api, &notice);
                    namespaces::react(&api, &notice);
                    tokens::react(&api, &notice);
                    roles |= &*notice.collection == access::COLLECTION;
                    crate::admission::policies::status::react(&api, &notice);
                    let space = notice.event.object.namespace();
                    if !space.is_empty() && !api.store.collection("resourcequotas").is_empty() {
                        spaces.insert(space.to_owned());
                    }
                }
                if let Some(simulator) = &mut simulator {
                    simulator.react(&api, &notice);
                }
                taken += 1;
                next = if taken < BATCH {
                    notices.try_recv().ok()
                } else {
                    None
                };
            }
            if roles {
                access::aggregate(&api);
            }
            if served {
                aggregation::sync(&api);
            }
            for space in spaces {
                crate::admission::quota::refresh(&api, &space);
            }
            if let Some(simulator) = &mut simulator {
                simulator.run(&api);
            }
            drop(api);
            // Requests come first.
            tokio::task::yield_now().await;
        }
    });
}

/// A definition that is being deleted takes its objects with it.
fn definition(api: &Api, notice: &Notice) {
    let value = notice.event.object.value();
    if value["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    finish_definition(api, notice.event.object.name());
}

/// Deletes what is left of a definition's objects; lets the definition go when nothing is.
pub fn finish_definition(api: &Api, name: &str) {
    let Some(stored) = api.store.collection(crd::COLLECTION).get(name) else {
        return;
    };
    let value = stored.value();
    let collection = api.store.collection(name);
    let kinds = api.kinds();
    let kind = kinds
        .all()
        .find(|kind| kind.collection == name && kind.custom.is_some())
        .cloned();
    if let (Some(kind), Ok(snapshot)) = (kind, collection.snapshot(&api.store, "", None, None)) {
        for object in snapshot.objects {
            remove(api, &kind, object.namespace(), object.name(), "Background");
        }
    }
    if collection.is_empty() && !value["metadata"]["deletionTimestamp"].is_null() {
        mutate(api, &api.store.collection(crd::COLLECTION), name, &mut |value| {
            drop_finalizer(value, crd::definition::FINALIZER)
        });
        api.reload_definitions();
        aggregation::sync(api);
    }
}

/// A request as if a controller had sent it.
#[must_use]
pub fn request(kind: &Arc<Kind>, namespace: &str, name: &str) -> Request {
    let target = crate::http::route::Target {
        group: kind.group.clone(),
        version: kind.version.clone(),
        namespace: if kind.namespaced {
            namespace.to_owned()
        } else {
            String::new()
        },
        resource: kind.plural.clone(),
        name: name.to_owned(),
        ..crate::http::route::Target::default()
    };
    Request {
        user: crate::auth::User::new("system:kube-controller-manager", &["system:masters"]),
        kind: kind.clone(),
        target,
        query: crate::http::route::Query::default(),
        accept: crate::http::negotiate::Accept::default(),
        content_type: None,
        user_agent: "kube-controller-manager".to_owned(),
        body: bytes::Bytes::new(),
        dry_run: false,
        validation: FieldValidation::Ignore,
        warnings: std::sync::Mutex::default(),
        calls: crate::admission::webhooks::Calls::default(),
    }
}

/// Deletes an object as a controller does.
pub fn remove(api: &Api, kind: &Arc<Kind>, namespace: &str, name: &str, propagation: &str) {
    let options = delete::Options {
        propagation: Some(propagation.to_owned()),
        ..delete::Options::default()
    };
    if let Err(failure) = delete::one(api, &request(kind, namespace, name), &options)
        && failure.code != 404
    {
        tracing::debug!(
            resource = kind.plural,
            namespace,
            name,
            message = failure.message,
            "not deleted"
        );
    }
}

/// Takes a finalizer away; true if it was there.
pub fn drop_finalizer(value: &mut Value, name: &str) -> bool {
    let Some(meta) = value["metadata"].as_object_mut() else {
        return false;
    };
    let Some(list) = meta.get_mut("finalizers").and_then(Value::as_array_mut) else {
        return false;
    };
    let before = list.len();
    list.retain(|item| item != name);
    let changed = list.len() != before;
    if list.is_empty() {
        meta.remove("finalizers");
    }
    changed
}

/// Changes a stored object in the name of the controllers, whose fields are recorded; it goes if nothing keeps it.
pub fn mutate_managed(api: &Api, kind: &Kind, key: &str, change: &mut dyn FnMut(&mut Value) -> bool) {
    let collection = api.store.collection(&kind.collection);
    mutate(api, &collection, key, &mut |value| {
        let mut live = value.clone();
        if !change(value) {
            return false;
        }
        let mut updated = std::mem::take(value);
        kind.stamp(&mut live);
        kind.stamp(&mut updated);
        let types = kind.types(&api.schemas);
        *value = fluvial_merge::managed::update(fluvial_merge::managed::UpdateRequest {
            types: types.as_ref(),
            live: Some(&live),
            updated,
            manager: "kube-controller-manager",
            subresource: "",
            api_version: &kind.api_version(),
            time: &api.now(),
            reset_fields: &[],
        });
        // It stays in the version that it is kept in.
        if let Some(map) = value.as_object_mut() {
            map.remove("apiVersion");
        }
        true
    });
}

/// Changes a stored object; it goes if it was being deleted and nothing keeps it any more.
pub fn mutate(api: &Api, collection: &Collection, key: &str, change: &mut dyn FnMut(&mut Value) -> bool) {
    while let Some(stored) = collection.get(key) {
        let mut value = stored.value();
        if !change(&mut value) {
            return;
        }
        let meta = &value["metadata"];
        let finished = !meta["deletionTimestamp"].is_null()
            && meta["finalizers"].as_array().is_none_or(Vec::is_empty)
            && meta["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
            && (&*collection.name != "namespaces"
                || value["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty));
        let result = if finished {
            let mut last = stored.value();
            api.store.remove(collection, key, stored.version, &mut last)
        } else {
            api.store
                .put(collection, key, Expect::Version(stored.version), &mut value)
        };
        match result {
            Err(Refused::Changed) => {}
            _ => return,
        }
    }
}
