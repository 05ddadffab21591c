//! Life of namespaces: what each gets when it is made, and how it is emptied before it goes.

use serde_json::{Value, json};

use super::{mutate, remove};
use crate::api::{Api, new_uid};
use crate::store::{Change, Expect, Notice, Stored};

const ACCOUNTS: &str = "serviceaccounts";
const ROOT: &str = "kube-root-ca.crt";

/// Furnishes the namespaces that are there at the start, and goes on emptying those that were being deleted.
pub fn load(api: &Api) {
    if let Ok(snapshot) = api
        .store
        .collection("namespaces")
        .snapshot(&api.store, "", None, None)
    {
        for stored in snapshot.objects {
            follow(api, &stored);
        }
    }
}

/// Reacts to a change.
pub fn react(api: &Api, notice: &Notice) {
    let event = &notice.event;
    match &*notice.collection {
        "namespaces" if event.change != Change::Deleted => follow(api, &event.object),
        ACCOUNTS if event.change == Change::Deleted && event.object.name() == "default" => {
            furnish_if_there(api, event.object.namespace());
        }
        "configmaps" if event.change != Change::Added && event.object.name() == ROOT => {
            furnish_if_there(api, event.object.namespace());
        }
        _ => {}
    }
    let namespace = event.object.namespace();
    if event.change == Change::Deleted && !namespace.is_empty() {
        finish(api, namespace);
    }
}

fn deleting(stored: &Stored) -> Option<Value> {
    let value = stored.value();
    (!value["metadata"]["deletionTimestamp"].is_null()).then_some(value)
}

fn follow(api: &Api, stored: &Stored) {
    if deleting(stored).is_some() {
        empty(api, stored.name());
        finish(api, stored.name());
    } else {
        furnish(api, stored.name());
    }
}

fn furnish_if_there(api: &Api, namespace: &str) {
    if let Some(found) = api.store.collection("namespaces").get(namespace)
        && deleting(&found).is_none()
    {
        furnish(api, namespace);
    }
}

fn furnish(api: &Api, namespace: &str) {
    let now = api.now();
    let meta = |name: &str| json!({"name": name, "namespace": namespace, "uid": new_uid(), "creationTimestamp": now});
    let accounts = api.store.collection(ACCOUNTS);
    let key = format!("{namespace}/default");
    if accounts.get(&key).is_none() {
        let _there = api.store.put(
            &accounts,
            &key,
            Expect::Absent,
            &mut json!({"metadata": meta("default")}),
        );
    }
    let maps = api.store.collection("configmaps");
    let key = format!("{namespace}/{ROOT}");
    let data = json!({"ca.crt": api.authority});
    if maps.get(&key).is_none() {
        let mut meta = meta(ROOT);
        meta["annotations"] = json!({"kubernetes.io/description": "Contains a CA bundle that can be used to verify the \
            kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No \
            other usage is guaranteed across distributions of Kubernetes clusters."});
        meta["managedFields"] = json!([{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
            "time": now, "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {".": {}, "f:ca.crt": {}},
            "f:metadata": {"f:annotations": {".": {}, "f:kubernetes.io/description": {}}}}}]);
        let mut map = json!({"metadata": meta, "data": data});
        let _there = api.store.put(&maps, &key, Expect::Absent, &mut map);
    } else {
        mutate(api, &maps, &key, &mut |value| {
            let wrong = value["data"] != data;
            value["data"] = data.clone();
            wrong
        });
    }
}

/// Deletes everything in a namespace.
fn empty(api: &Api, namespace: &str) {
    let prefix = format!("{namespace}/");
    for kind in api.kinds().collections().filter(|kind| kind.namespaced) {
        let collection = api.store.collection(&kind.collection);
        if collection.is_empty() {
            continue;
        }
        if let Ok(snapshot) = collection.snapshot(&api.store, &prefix, None, None) {
            for stored in snapshot.objects {
                if kind.is("", "Pod") {
                    // Nobody stops the containers of simulated pods.
                    let options = crate::verbs::delete::Options {
                        grace: Some(0),
                        propagation: Some("Background".into()),
                        ..crate::verbs::delete::Options::default()
                    };
                    let request = super::request(kind, namespace, stored.name());
                    // It may be gone by now.
                    let _gone = crate::verbs::delete::one(api, &request, &options);
                } else {
                    remove(api, kind, namespace, stored.name(), "Background");
                }
            }
        }
    }
}

/// Lets a namespace go that is being deleted and holds nothing more.
fn finish(api: &Api, namespace: &str) {
    let namespaces = api.store.collection("namespaces");
    let Some(found) = namespaces.get(namespace) else {
        return;
    };
    if deleting(&found).is_none() {
        return;
    }
    let prefix = format!("{namespace}/");
    let left = api
        .kinds()
        .collections()
        .filter(|kind| kind.namespaced)
        .any(|kind| {
            let collection = api.store.collection(&kind.collection);
            !collection.is_empty()
                && collection
                    .snapshot(&api.store, &prefix, None, None)
                    .is_ok_and(|snapshot| !snapshot.objects.is_empty())
        });
    if left {
        return;
    }
    mutate(api, &namespaces, namespace, &mut |value| {
        let Some(spec) = value["spec"].as_object_mut() else {
            return false;
        };
        let Some(list) = spec.get_mut("finalizers").and_then(Value::as_array_mut) else {
            return false;
        };
        let before = list.len();
        list.retain(|item| item != "kubernetes");
        let changed = list.len() != before;
        if list.is_empty() {
            spec.remove("finalizers");
        }
        changed
    });
}
