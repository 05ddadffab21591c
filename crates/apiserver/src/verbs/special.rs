//! Subresources with a meaning of their own, and kinds that are asked rather than kept.

use serde_json::{Value, json};

use super::{Reply, create, decode, delete, show, update};
use crate::api::{Api, meta};
use crate::http::{body, negotiate};
use crate::request::Request;
use crate::status::{Failure, Outcome};

pub mod connect;
mod review;
pub mod scale;

pub use review::review;

/// POST to a subresource.
///
/// # Errors
/// The subresource does not take it, or refuses it.
pub fn post(api: &Api, request: &mut Request) -> Outcome<Reply> {
    request.read_options("CreateOptions", false)?;
    match request.target.subresource.as_str() {
        "eviction" => eviction(api, request),
        "binding" => binding(api, request),
        "token" => review::token(api, request),
        other if connect::is(other) => connect::open(api, request),
        _ => Err(Failure::method_not_allowed()),
    }
}

fn success(code: u16) -> Reply {
    Reply::Value(
        code,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code}),
    )
}

fn pod(api: &Api, request: &Request) -> Outcome<Value> {
    let stored = api
        .store
        .collection("pods")
        .get(&request.key())
        .ok_or_else(|| request.not_found())?;
    Ok(show(&request.kind, &stored))
}

fn eviction(api: &Api, request: &mut Request) -> Outcome<Reply> {
    let format = negotiate::body_format(request.content_type.as_deref())?;
    let eviction = body::read(&request.body, format, true)
        .map_err(Failure::bad_request)?
        .value;
    if meta(&eviction, "name") != request.target.name {
        return Err(Failure::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let pod = pod(api, request)?;
    let given = &eviction["deleteOptions"];
    let dry = given["dryRun"].as_array().is_some_and(|list| !list.is_empty());
    request.dry_run |= dry;
    let counts = !matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed" | "Pending")
    );
    if counts {
        disruption(api, request, &pod)?;
    }
    let options = delete::Options {
        grace: given["gracePeriodSeconds"].as_i64(),
        uid: given["preconditions"]["uid"].as_str().map(str::to_owned),
        version: given["preconditions"]["resourceVersion"]
            .as_str()
            .map(str::to_owned),
        ..delete::Options::default()
    };
    delete::one(api, request, &options)?;
    Ok(success(201))
}

fn budget_failure(why: &str, retry: Option<i64>) -> Failure {
    let mut details = json!({"causes": [{"reason": "DisruptionBudget", "message": why}]});
    if let Some(seconds) = retry {
        details["retryAfterSeconds"] = seconds.into();
    }
    let text = "Cannot evict pod as it would violate the pod's disruption budget.";
    Failure::new(429, "TooManyRequests", text).with_details(details)
}

/// Takes one disruption from the pod's budget.
fn disruption(api: &Api, request: &Request, pod: &Value) -> Outcome<()> {
    let collection = api.store.collection("poddisruptionbudgets.policy");
    let prefix = format!("{}/", request.target.namespace);
    let Ok(snapshot) = collection.snapshot(&api.store, &prefix, None, None) else {
        return Ok(());
    };
    let matching: Vec<_> = snapshot
        .objects
        .into_iter()
        .map(|stored| (stored.value(), stored))
        .filter(|(value, _)| {
            fluvial_object::labels::Selector::from_value(&value["spec"]["selector"])
                .is_ok_and(|selector| selector.matches_object(pod))
        })
        .collect();
    if matching.len() > 1 {
        let text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(Failure::unclassified(text));
    }
    let Some((mut budget, stored)) = matching.into_iter().next() else {
        return Ok(());
    };
    let name = meta(&budget, "name").to_owned();
    let status = &budget["status"];
    let observed = status["observedGeneration"].as_i64().unwrap_or(0);
    if observed < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(budget_failure(&why, Some(10)));
    }
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    if number("disruptionsAllowed") <= 0 {
        let why = format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            number("desiredHealthy"),
            number("currentHealthy")
        );
        return Err(budget_failure(&why, None));
    }
    if request.dry_run {
        return Ok(());
    }
    let left = number("disruptionsAllowed") - 1;
    let mut live = budget.clone();
    live["apiVersion"] = "policy/v1".into();
    live["kind"] = "PodDisruptionBudget".into();
    let mut updated = live.clone();
    updated["status"]["disruptionsAllowed"] = left.into();
    updated["status"]["disruptedPods"][&request.target.name] = api.now().into();
    if left == 0 {
        updated["status"]["conditions"] = json!([{"type": "DisruptionAllowed", "status": "False",
            "observedGeneration": observed, "lastTransitionTime": api.now(), "reason": "InsufficientPods",
            "message": ""}]);
    }
    let types = api.schemas.kind("policy", "v1", "PodDisruptionBudget");
    budget = fluvial_merge::managed::update(fluvial_merge::managed::UpdateRequest {
        types: types.as_ref(),
        live: Some(&live),
        updated,
        manager: "kube-apiserver",
        subresource: "status",
        api_version: "policy/v1",
        time: &api.now(),
        reset_fields: &[],
    });
    let expect = crate::store::Expect::Version(stored.version);
    api.store
        .put(&collection, &stored.key, expect, &mut budget)
        .map(drop)
        .map_err(|_| {
            budget_failure(
                &format!("The disruption budget {name} is still being processed by the server."),
                Some(10),
            )
        })
}

fn binding(api: &Api, request: &mut Request) -> Outcome<Reply> {
    let mut binding = decode::object(api, request)?;
    create::place(request, &mut binding)?;
    if meta(&binding, "name") != request.target.name {
        let why = "name in URL does not match name in Binding object";
        return Err(Failure::bad_request(why));
    }
    bind(api, request, &binding)
}

fn check_target(target: &Value) -> Outcome<()> {
    use fluvial_schema::{ErrorKind, FieldError};
    let mut errors = vec![];
    let kind = target["kind"].as_str().unwrap_or("");
    if !matches!(kind, "" | "Node") {
        errors.push(FieldError::not_supported(
            "target.kind",
            kind.into(),
            &["Node", "<empty>"],
        ));
    }
    if target["name"].as_str().unwrap_or("").is_empty() {
        errors.push(FieldError::plain(ErrorKind::Required, "target.name", ""));
    }
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(Failure::unclassified(one.to_string())),
        many => {
            let all: Vec<String> = many.iter().map(ToString::to_string).collect();
            Err(Failure::unclassified(format!("[{}]", all.join(", "))))
        }
    }
}

/// Binds a pod to a node.
///
/// # Errors
/// The pod is missing or bound already.
pub fn bind(api: &Api, request: &Request, binding: &Value) -> Outcome<Reply> {
    let target = &binding["target"];
    let node = target["name"].as_str().unwrap_or("").to_owned();
    check_target(target)?;
    update::change(api, request, &mut |live| {
        let bound = live["spec"]["nodeName"].as_str().unwrap_or("");
        if !bound.is_empty() {
            let why = format!(
                "pod {} is already assigned to node \"{bound}\"",
                request.target.name
            );
            return Err(Failure::conflict("", "pods/binding", &request.target.name, &why));
        }
        let mut new = live.clone();
        new["spec"]["nodeName"] = node.clone().into();
        let condition = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
            "lastTransitionTime": api.now()});
        match new["status"]["conditions"].as_array_mut() {
            Some(list) => {
                list.retain(|item| item["type"] != "PodScheduled");
                list.push(condition);
            }
            None => new["status"]["conditions"] = json!([condition]),
        }
        Ok(new)
    })?;
    Ok(success(201))
}
