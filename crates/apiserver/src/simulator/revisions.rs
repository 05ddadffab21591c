//! Controller revisions: the templates that stateful and daemon sets had.

use serde_json::{Value, json};

use super::{Class, Found, hash, make_kind, reference};
use crate::api::{Api, meta};
use crate::controllers;
use crate::store::Stored;
use std::sync::Arc;

/// The revision of a set's template, kept for going back; its name.
pub(super) fn of(api: &Api, class: Class, set: &Found) -> String {
    let template = &set.value["spec"]["template"];
    let hash = hash(template);
    let name = format!("{}-{hash}", meta(&set.value, "name"));
    let kinds = api.kinds();
    let Some(kind) = kinds.find("apps", "v1", "controllerrevisions") else {
        return name;
    };
    let collection = api.store.collection(&kind.collection);
    let namespace = set.stored.namespace();
    if collection.get(&kind.key(namespace, &name)).is_some() {
        return name;
    }
    let own = mine(api, set);
    let number = own
        .iter()
        .filter_map(|(value, _)| value["revision"].as_i64())
        .max()
        .unwrap_or(0)
        + 1;
    let mut data = template.clone();
    data["$patch"] = "replace".into();
    let mut object = json!({"metadata": {"name": name, "namespace": namespace,
        "ownerReferences": reference(api, class, &set.value)}, "revision": number, "data": {"spec": {"template": data}}});
    object["metadata"]["labels"] = set.value["spec"]["selector"]["matchLabels"].clone();
    object["metadata"]["labels"]["controller-revision-hash"] = name.clone().into();
    // One that cannot be kept costs the way back and nothing else.
    let _made = make_kind(api, kind, object, &mut |_| {});
    let limit = set.value["spec"]["revisionHistoryLimit"].as_u64().unwrap_or(10);
    let excess = own.len().saturating_sub(usize::try_from(limit).unwrap_or(10));
    for (_, stored) in &own[..excess] {
        controllers::remove(api, kind, namespace, stored.name(), "Background");
    }
    name
}

/// The revisions of a set, oldest first.
fn mine(api: &Api, set: &Found) -> Vec<(Value, Arc<Stored>)> {
    let prefix = format!("{}/{}-", set.stored.namespace(), meta(&set.value, "name"));
    let snapshot = api
        .store
        .collection("controllerrevisions.apps")
        .snapshot(&api.store, &prefix, None, None);
    let mut all: Vec<_> = snapshot
        .map(|snapshot| snapshot.objects)
        .unwrap_or_default()
        .into_iter()
        .map(|stored| (stored.value(), stored))
        .filter(|(value, _)| value["metadata"]["ownerReferences"][0]["uid"] == set.uid())
        .collect();
    all.sort_by_key(|(value, _)| value["revision"].as_i64());
    all
}
