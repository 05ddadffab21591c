//! LimitRange: defaults for containers that say nothing, and bounds for those that do.

use std::collections::{BTreeMap, BTreeSet};

use fluvial_object::quantity::Quantity;
use serde_json::Value;

use super::resources::{self, Amounts};
use crate::api::{Api, meta};
use crate::request::Request;
use crate::status::{Failure, Outcome};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

fn ranges(api: &Api, namespace: &str) -> Vec<Value> {
    let collection = api.store.collection("limitranges");
    if collection.is_empty() {
        return vec![];
    }
    collection
        .snapshot(&api.store, &format!("{namespace}/"), None, None)
        .map(|snapshot| snapshot.objects.iter().map(|stored| stored.value()).collect())
        .unwrap_or_default()
}

fn limits<'a>(range: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let list = range["spec"]["limits"].as_array().into_iter().flatten();
    list.filter(move |limit| limit["type"] == kind)
}

/// Gives a new pod's containers what their namespace's ranges say.
pub fn fill(api: &Api, request: &Request, object: &mut Value) {
    if request.kind.is("", "Pod") && request.target.subresource.is_empty() {
        for range in ranges(api, &request.target.namespace) {
            defaults(&range, object);
        }
    }
}

/// Holds what pods and claims want against the bounds of their namespace's ranges. What a pod wants changes by a resize
/// alone.
///
/// # Errors
/// It wants less or more than it may.
pub fn validate(api: &Api, request: &Request, object: &Value, changed: bool) -> Outcome<()> {
    let sub = request.target.subresource.as_str();
    let pod = request.kind.is("", "Pod") && sub == if changed { "resize" } else { "" };
    let claim = request.kind.is("", "PersistentVolumeClaim") && sub.is_empty();
    if !pod && !claim {
        return Ok(());
    }
    for range in ranges(api, &request.target.namespace) {
        let mut wrong = vec![];
        if pod {
            pod_bounds(&range, &object["spec"], &mut wrong);
        } else {
            for limit in limits(&range, "PersistentVolumeClaim") {
                let requests = amounts(&object["spec"]["resources"]["requests"]);
                bounds(limit, "PersistentVolumeClaim", &requests, &requests, &mut wrong);
            }
        }
        if !wrong.is_empty() {
            let why = if let [one] = wrong.as_slice() {
                one.clone()
            } else {
                format!("[{}]", wrong.join(", "))
            };
            let plural = &request.kind.plural;
            return Err(Failure::forbidden("", plural, meta(object, "name"), &why));
        }
    }
    Ok(())
}

fn pod_bounds(range: &Value, spec: &Value, wrong: &mut Vec<String>) {
    for limit in limits(range, "Container") {
        for field in ["containers", "initContainers"] {
            for container in spec[field].as_array().into_iter().flatten() {
                let (requests, limited) = (
                    amounts(&container["resources"]["requests"]),
                    amounts(&container["resources"]["limits"]),
                );
                bounds(limit, "Container", &requests, &limited, wrong);
            }
        }
    }
    for limit in limits(range, "Pod") {
        let (requests, limited) = resources::pod(spec);
        bounds(limit, "Pod", &requests, &limited, wrong);
    }
}

fn amounts(value: &Value) -> Amounts {
    resources::amounts(value)
}

/// Fills in defaults, and notes which on the pod.
fn defaults(range: &Value, pod: &mut Value) {
    let mut requests: BTreeMap<String, Value> = BTreeMap::new();
    let mut maxima: BTreeMap<String, Value> = BTreeMap::new();
    for limit in limits(range, "Container") {
        let pairs = |field: &str| limit[field].as_object().cloned().unwrap_or_default();
        maxima.extend(pairs("default"));
        requests.extend(pairs("defaultRequest"));
    }
    let mut notes = vec![];
    for (field, what) in [("containers", "container"), ("initContainers", "init container")] {
        let list = pod["spec"].get_mut(field).and_then(Value::as_array_mut);
        for container in list.into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or("").to_owned();
            for (own, known, kind) in [("requests", &requests, "request"), ("limits", &maxima, "limit")] {
                let mut set = BTreeSet::new();
                for (resource, amount) in known {
                    if container["resources"][own][resource].is_null() {
                        container["resources"][own][resource] = amount.clone();
                        set.insert(resource.as_str());
                    }
                }
                if !set.is_empty() {
                    let set: Vec<&str> = set.into_iter().collect();
                    notes.push(format!("{} {kind} for {what} {name}", set.join(", ")));
                }
            }
            resources::tidy(container);
        }
    }
    if !notes.is_empty() {
        let text = format!("LimitRanger plugin set: {}", notes.join("; "));
        pod["metadata"]["annotations"][ANNOTATION] = text.into();
    }
}

fn bounds(limit: &Value, kind: &str, requests: &Amounts, limited: &Amounts, wrong: &mut Vec<String>) {
    let claim = kind == "PersistentVolumeClaim";
    for (name, least) in &amounts(&limit["min"]) {
        let head = format!("minimum {name} usage per {kind} is {least}");
        match (requests.get(name), limited.get(name)) {
            (None, _) => wrong.push(format!("{head}.  No request is specified")),
            (Some(own), _) if own < least => wrong.push(format!("{head}, but request is {own}")),
            (_, Some(own)) if own < least && !claim => wrong.push(format!("{head}, but limit is {own}")),
            _ => {}
        }
    }
    for (name, most) in &amounts(&limit["max"]) {
        let head = format!("maximum {name} usage per {kind} is {most}");
        match (requests.get(name), limited.get(name)) {
            (Some(own), _) if claim && own > most => wrong.push(format!("{head}, but request is {own}")),
            (_, None) => wrong.push(format!("{head}.  No limit is specified")),
            (_, Some(own)) if own > most => wrong.push(format!("{head}, but limit is {own}")),
            (Some(own), _) if own > most => wrong.push(format!("{head}, but request is {own}")),
            _ => {}
        }
    }
    for (name, most) in &amounts(&limit["maxLimitRequestRatio"]) {
        let head = format!("{name} max limit to request ratio per {kind} is {most}");
        let milli = |amounts: &Amounts| {
            amounts
                .get(name)
                .map(Quantity::milli_value)
                .filter(|own| *own != 0)
        };
        match (milli(requests), milli(limited)) {
            (None, _) => wrong.push(format!("{head}, but no request is specified or request is 0")),
            (_, None) => wrong.push(format!("{head}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let (request, limit) = (i128::from(request), i128::from(limit));
                if limit * 1000 > request * i128::from(most.milli_value()) {
                    let ratio = Quantity::from_milli(
                        i64::try_from(limit * 1000 / request).unwrap_or(i64::MAX),
                        fluvial_object::quantity::Format::DecimalSi,
                    );
                    wrong.push(format!("{head}, but provided ratio is {:.6}", ratio.as_float()));
                }
            }
        }
    }
}
