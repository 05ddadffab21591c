//! The status of flow schemas: whether the priority level that they name exists.

use fluvial_merge::managed::{ApplyRequest, apply};
use serde_json::{Value, json};

use crate::api::{Api, meta};
use crate::store::{Change, Expect, Notice};

const FLOWS: &str = "flowschemas.flowcontrol.apiserver.k8s.io";
const LEVELS: &str = "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io";
const VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";

/// Follows changes of flow schemas, and of the levels that they name.
pub fn react(api: &Api, notice: &Notice) {
    match &*notice.collection {
        FLOWS if notice.event.change != Change::Deleted => tell(api, &notice.event.object.key),
        LEVELS if notice.event.change != Change::Modified => {
            let flows = api.store.collection(FLOWS).snapshot(&api.store, "", None, None);
            for flow in flows.into_iter().flat_map(|flows| flows.objects) {
                tell(api, &flow.key);
            }
        }
        _ => {}
    }
}

/// The condition of a flow schema whose level is there, or not.
fn condition(level: &str, there: bool) -> Value {
    let what = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
    let (status, reason, end) = if there {
        ("False", "Found", "and it exists")
    } else {
        ("True", "NotFound", "but there is no such object")
    };
    json!({"type": "Dangling", "status": status, "reason": reason, "message": format!("{what} {end}")})
}

fn tell(api: &Api, key: &str) {
    let collection = api.store.collection(FLOWS);
    let Some(stored) = collection.get(key) else { return };
    let mut flow = stored.value();
    let level = flow["spec"]["priorityLevelConfiguration"]["name"]
        .as_str()
        .unwrap_or("")
        .to_owned();
    let mut wanted = condition(&level, api.store.collection(LEVELS).get(&level).is_some());
    let mut told = flow["status"]["conditions"].as_array().into_iter().flatten();
    let told = told.rfind(|told| told["type"] == "Dangling");
    if told.is_some_and(|told| told["status"] == wanted["status"] && told["message"] == wanted["message"]) {
        return;
    }
    let since = told.filter(|told| told["status"] == wanted["status"]);
    wanted["lastTransitionTime"] = match since {
        Some(since) => since["lastTransitionTime"].clone(),
        None => api.now().into(),
    };
    flow["apiVersion"] = VERSION.into();
    flow["kind"] = "FlowSchema".into();
    let applied = json!({"apiVersion": VERSION, "kind": "FlowSchema", "metadata": {"name": meta(&flow, "name")},
        "status": {"conditions": [wanted]}});
    let types = api
        .schemas
        .kind("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema");
    let result = apply(&ApplyRequest {
        types: types.as_ref(),
        live: Some(&flow),
        empty: None,
        applied: &applied,
        manager: "api-priority-and-fairness-config-consumer-v1",
        subresource: "status",
        api_version: VERSION,
        time: &api.now(),
        force: true,
        reset_fields: &[],
    });
    if let Ok(mut new) = result {
        // Whoever changed it meanwhile is followed next.
        let _done = api
            .store
            .put(&collection, key, Expect::Version(stored.version), &mut new);
    }
}
