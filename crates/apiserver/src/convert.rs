//! Kinds that are served in another form than they are kept in.
//!
//! Events are kept as `v1` and also served as `events.k8s.io/v1`; horizontal pod autoscalers are
//! kept as `autoscaling/v2` and also served as `v1`. Versions of custom resources differ in their
//! schema alone, unless a webhook converts them: what a version does not know is not shown, what it
//! defaults is filled in.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::admission::webhooks::Calls;
use crate::api::Api;
use crate::kinds::Kind;
use crate::status::Outcome;
use crate::store::Stored;
use crate::verbs::Reply;

pub mod webhook;

/// Whether reading needs more than the stored text.
#[must_use]
pub fn differs(kind: &Kind) -> bool {
    match &kind.custom {
        Some(custom) => custom.several,
        None => kind.group == "events.k8s.io" || (kind.group == "autoscaling" && kind.version == "v1"),
    }
}

const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(object: &mut Value, pairs: impl Iterator<Item = (&'static str, &'static str)>) {
    if let Some(map) = object.as_object_mut() {
        for (from, to) in pairs {
            if let Some(value) = map.remove(from) {
                map.insert(to.to_owned(), value);
            }
        }
    }
}

/// Turns what the store holds into the version of `kind`.
pub fn from_storage(kind: &Kind, object: &mut Value) {
    if !differs(kind) {
        return;
    }
    if let Some(custom) = &kind.custom {
        if let Some(schema) = &custom.schema {
            schema.prune(object);
            schema.default(object);
        }
    } else if kind.kind == "Event" {
        rename(object, EVENT_FIELDS.iter().copied());
        if let Some(map) = object.as_object_mut() {
            for field in ["reportingController", "reportingInstance"] {
                if map.get(field).is_some_and(|value| value == "") {
                    map.remove(field);
                }
            }
        }
    } else {
        autoscaler_to_v1(object);
    }
}

/// Turns an object of the version of `kind` into what the store holds. What the client sees of it is returned if a
/// webhook had a say.
///
/// # Errors
/// A conversion webhook has to be asked first, or fails.
pub fn to_storage(api: &Api, calls: &Calls, kind: &Kind, object: &mut Value) -> Outcome<Option<Value>> {
    if kind.custom.is_some() {
        return webhook::to_storage(api, calls, kind, object);
    }
    builtin_to_storage(kind, object);
    Ok(None)
}

/// The reply to a write, whose new state is shown as [`to_storage`] said.
#[must_use]
pub fn written(code: u16, stored: Arc<Stored>, shown: Option<Value>) -> Reply {
    match shown {
        None => Reply::Stored(code, stored),
        Some(mut value) => {
            value["metadata"]["resourceVersion"] = stored.version.to_string().into();
            Reply::Value(code, value)
        }
    }
}

/// Whether a stored object is in another version than those written now.
#[must_use]
pub fn is_outdated(kind: &Kind, stored: &Stored) -> bool {
    let storage = kind.custom.as_ref().map(|custom| &*custom.storage);
    storage.is_some() && stored.form.is_some() && stored.form.as_deref() != storage
}

/// [`to_storage`] for kinds that no definition made.
pub fn builtin_to_storage(kind: &Kind, object: &mut Value) {
    if !differs(kind) {
        return;
    }
    if kind.kind == "Event" {
        rename(object, EVENT_FIELDS.iter().map(|(from, to)| (*to, *from)));
    } else {
        autoscaler_to_v2(object);
    }
}

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";

fn cpu(metric: &Value) -> Option<&Value> {
    (metric["type"] == "Resource" && metric["resource"]["name"] == "cpu").then_some(&metric["resource"])
}

fn annotate(object: &mut Value, name: &str, value: &Value) {
    object["metadata"]["annotations"][name] = value.to_string().into();
}

fn autoscaler_to_v1(object: &mut Value) {
    let spec = object["spec"]
        .as_object_mut()
        .map(std::mem::take)
        .unwrap_or_default();
    let mut target = Map::new();
    let mut others = vec![];
    for (name, value) in spec {
        match name.as_str() {
            "metrics" => {
                for metric in value.as_array().into_iter().flatten() {
                    match cpu(metric).and_then(|cpu| cpu["target"].get("averageUtilization")) {
                        Some(percent) if !target.contains_key("targetCPUUtilizationPercentage") => {
                            target.insert("targetCPUUtilizationPercentage".into(), percent.clone());
                        }
                        _ => others.push(metric.clone()),
                    }
                }
            }
            "behavior" => annotate(object, BEHAVIOR, &value),
            _ => {
                target.insert(name, value);
            }
        }
    }
    object["spec"] = Value::Object(target);
    if !others.is_empty() {
        annotate(object, METRICS, &Value::Array(others));
    }
    let status = object["status"]
        .as_object_mut()
        .map(std::mem::take)
        .unwrap_or_default();
    let mut shown = json!({"currentReplicas": 0, "desiredReplicas": 0});
    for (name, value) in status {
        match name.as_str() {
            "conditions" => annotate(object, CONDITIONS, &value),
            "currentMetrics" => {
                let found = value.as_array().into_iter().flatten().find_map(cpu);
                if let Some(percent) = found.and_then(|cpu| cpu["current"].get("averageUtilization")) {
                    shown["currentCPUUtilizationPercentage"] = percent.clone();
                }
                annotate(object, CURRENT, &value);
            }
            _ => shown[&name] = value,
        }
    }
    object["status"] = shown;
}

fn take_annotation(object: &mut Value, name: &str) -> Option<Value> {
    let annotations = object["metadata"].get_mut("annotations")?.as_object_mut()?;
    let text = annotations.remove(name)?;
    if annotations.is_empty() {
        object["metadata"].as_object_mut()?.remove("annotations");
    }
    serde_json::from_str(text.as_str()?).ok()
}

fn autoscaler_to_v2(object: &mut Value) {
    let mut metrics = vec![];
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
        && let Some(percent) = spec.remove("targetCPUUtilizationPercentage")
    {
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": percent}}}));
    }
    if let Some(Value::Array(others)) = take_annotation(object, METRICS) {
        metrics.extend(others);
    }
    if !metrics.is_empty() {
        object["spec"]["metrics"] = metrics.into();
    }
    if let Some(behavior) = take_annotation(object, BEHAVIOR) {
        object["spec"]["behavior"] = behavior;
    }
    for (name, field) in [(CONDITIONS, "conditions"), (CURRENT, "currentMetrics")] {
        if let Some(value) = take_annotation(object, name) {
            object["status"][field] = value;
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("currentCPUUtilizationPercentage");
    }
}
