//! APIServices: one for each group and version that is served here, and the state of those that others serve.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::{Api, meta, new_uid};
use crate::store::{Change, Expect, Notice};

/// The collection.
pub const COLLECTION: &str = "apiservices.apiregistration.k8s.io";
const LABEL: &str = "kube-aggregator.kubernetes.io/automanaged";

/// Priorities of the built-in groups: of the group, and of its first version.
fn priority(group: &str, version: &str) -> (i64, i64) {
    match (group, version) {
        ("", _) => (18_000, 1),
        ("apps", _) => (17_800, 15),
        ("events.k8s.io", _) => (17_750, 15),
        ("authentication.k8s.io", _) => (17_700, 15),
        ("authorization.k8s.io", _) => (17_600, 15),
        ("autoscaling", "v2") => (17_500, 30),
        ("autoscaling", _) => (17_500, 15),
        ("batch", _) => (17_400, 15),
        ("certificates.k8s.io", _) => (17_300, 15),
        ("networking.k8s.io", _) => (17_200, 15),
        ("policy", _) => (17_100, 15),
        ("rbac.authorization.k8s.io", _) => (17_000, 15),
        ("storage.k8s.io", _) => (16_800, 15),
        ("apiextensions.k8s.io" | "admissionregistration.k8s.io", _) => (16_700, 15),
        ("scheduling.k8s.io", _) => (16_600, 15),
        ("coordination.k8s.io", _) => (16_500, 15),
        ("node.k8s.io", _) => (16_300, 15),
        ("resource.k8s.io", _) => (16_200, 21),
        ("discovery.k8s.io", _) => (16_200, 15),
        ("flowcontrol.apiserver.k8s.io", _) => (16_100, 21),
        _ => (1_000, 100),
    }
}

fn local(api: &Api, group: &str, version: &str, custom: bool) -> Value {
    let now = api.now();
    let (own, of_version) = if custom {
        (1_000, 100)
    } else {
        priority(group, version)
    };
    let mut spec = json!({"version": version, "groupPriorityMinimum": own, "versionPriority": of_version});
    let mut fields = json!({"f:version": {}, "f:groupPriorityMinimum": {}, "f:versionPriority": {}});
    if !group.is_empty() {
        spec["group"] = group.into();
        fields["f:group"] = json!({});
    }
    json!({
        "metadata": {
            "name": format!("{version}.{group}"), "uid": new_uid(), "creationTimestamp": now,
            "labels": {LABEL: if custom { "true" } else { "onstart" }},
            "managedFields": [{"manager": "kube-apiserver", "operation": "Update",
                "apiVersion": "apiregistration.k8s.io/v1", "time": now, "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": {"f:labels": {".": {}, format!("f:{LABEL}"): {}}}, "f:spec": fields}}],
        },
        "spec": spec,
        "status": {"conditions": [{"type": "Available", "status": "True", "lastTransitionTime": now,
            "reason": "Local", "message": "Local APIServices are always available"}]},
    })
}

/// Makes the objects of what is served here, and takes away those of what no longer is.
pub fn sync(api: &Api) {
    let mut wanted: BTreeMap<String, (String, String, bool)> = BTreeMap::new();
    for kind in api.kinds().all() {
        wanted
            .entry(format!("{}.{}", kind.version, kind.group))
            .or_insert_with(|| (kind.group.clone(), kind.version.clone(), kind.custom.is_some()));
    }
    let collection = api.store.collection(COLLECTION);
    let Ok(snapshot) = collection.snapshot(&api.store, "", None, None) else {
        return;
    };
    for stored in snapshot.objects {
        if wanted.remove(stored.name()).is_some() {
            continue;
        }
        let mut object = stored.value();
        if object["metadata"]["labels"][LABEL] == "true" {
            // Whoever changed it meanwhile keeps it.
            let _done = api
                .store
                .remove(&collection, &stored.key, stored.version, &mut object);
        }
    }
    for (name, (group, version, custom)) in wanted {
        let mut object = local(api, &group, &version, custom);
        let _there = api.store.put(&collection, &name, Expect::Absent, &mut object);
    }
}

/// Whether somebody else is to serve a group's version. Nothing here reaches them.
#[must_use]
pub fn is_remote(api: &Api, group: &str, version: &str) -> bool {
    let found = api
        .store
        .collection(COLLECTION)
        .get(&format!("{version}.{group}"));
    found.is_some_and(|stored| stored.value()["spec"]["service"].is_object())
}

/// Follows a change: an APIService that others serve says whether they can be reached.
pub fn react(api: &Api, notice: &Notice) {
    if &*notice.collection != COLLECTION || notice.event.change == Change::Deleted {
        return;
    }
    let collection = api.store.collection(COLLECTION);
    let Some(stored) = collection.get(&notice.event.object.key) else {
        return;
    };
    let mut live = stored.value();
    let service = &live["spec"]["service"];
    if !service.is_object() {
        return;
    }
    let text = |field: &str| service[field].as_str().unwrap_or("").to_owned();
    let (namespace, name) = (text("namespace"), text("name"));
    let there = api
        .store
        .collection("services")
        .get(&format!("{namespace}/{name}"))
        .is_some();
    let (reason, message) = if there {
        (
            "MissingEndpoints",
            format!("endpoints for service/{name} in {namespace:?} have no addresses with port name \"\""),
        )
    } else {
        (
            "ServiceNotFound",
            format!("service/{name} in {namespace:?} is not present"),
        )
    };
    let conditions = &live["status"]["conditions"];
    if conditions
        .as_array()
        .is_some_and(|list| list.iter().any(|own| own["message"] == *message))
    {
        return;
    }
    live["apiVersion"] = "apiregistration.k8s.io/v1".into();
    live["kind"] = "APIService".into();
    let mut updated = live.clone();
    updated["status"]["conditions"] = json!([{"type": "Available", "status": "False",
        "lastTransitionTime": api.now(), "reason": reason, "message": message}]);
    let types = api.schemas.kind("apiregistration.k8s.io", "v1", "APIService");
    let mut new = fluvial_merge::managed::update(fluvial_merge::managed::UpdateRequest {
        types: types.as_ref(),
        live: Some(&live),
        updated,
        manager: "kube-apiserver",
        subresource: "status",
        api_version: "apiregistration.k8s.io/v1",
        time: &api.now(),
        reset_fields: &[],
    });
    tracing::debug!(
        name = meta(&new, "name"),
        reason,
        "an APIService is not available"
    );
    let _done = api.store.put(
        &collection,
        &stored.key,
        Expect::Version(stored.version),
        &mut new,
    );
}
