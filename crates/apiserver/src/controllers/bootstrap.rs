//! What a new cluster holds: namespaces, roles, priorities, its own service.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::{Api, meta, new_uid};
use crate::registry::services::Range;
use crate::store::Expect;

/// Objects by collection, as a real server makes them at its first start.
const OBJECTS: &str = include_str!("../../data/bootstrap.json");

/// Makes what is missing.
pub fn run(api: &Api, range: Range) {
    super::aggregation::sync(api);
    if api.store.collection("namespaces").get("kube-system").is_some() {
        return;
    }
    let Ok(all) = serde_json::from_str::<BTreeMap<String, Vec<Value>>>(OBJECTS) else {
        return;
    };
    let now = api.now();
    let _together = api.store.together();
    for (collection, objects) in all {
        let collection = api.store.collection(&collection);
        for mut object in objects {
            if object["spec"]["cidrs"].is_array() {
                object["spec"]["cidrs"] = serde_json::json!([range.to_string()]);
            }
            let (namespace, name) = (
                meta(&object, "namespace").to_owned(),
                meta(&object, "name").to_owned(),
            );
            if &*collection.name == "namespaces" {
                object["metadata"]["managedFields"] = serde_json::json!([{"manager": "kube-apiserver",
                    "operation": "Update", "apiVersion": "v1", "time": now, "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:kubernetes.io/metadata.name": {}}}}}]);
            }
            object["metadata"]["uid"] = new_uid().into();
            object["metadata"]["creationTimestamp"] = now.clone().into();
            let key = if namespace.is_empty() {
                name
            } else {
                format!("{namespace}/{name}")
            };
            // What somebody else made stays.
            let _there = api.store.put(&collection, &key, Expect::Absent, &mut object);
        }
    }
    api.services.load(&api.store);
    super::access::aggregate(api);
}
