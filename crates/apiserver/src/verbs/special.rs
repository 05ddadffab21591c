//! Subresources with a meaning of their own, and kinds that are asked rather than kept.

use serde_json::{Value, json};

use super::{Reply, create, decode, delete, show, update};
use crate::api::{Api, meta};
use crate::crd::Scale;
use crate::http::{body, negotiate};
use crate::request::{FieldValidation, Request};
use crate::status::{Failure, Outcome};

pub mod connect;
mod review;

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

fn paths(request: &Request) -> Scale {
    match &request.kind.custom {
        Some(custom) => custom.scale.clone().unwrap_or_default(),
        None => Scale {
            spec: ".spec.replicas".to_owned(),
            status: ".status.replicas".to_owned(),
            selector: None,
        },
    }
}

fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.trim_start_matches('.')
        .split('.')
        .fold(object, |value, name| &value[name])
}

/// An object as its scale subresource shows it.
#[must_use]
pub fn scale_of(request: &Request, object: &Value) -> Value {
    let paths = paths(request);
    let source = &object["metadata"];
    let mut meta = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if !source[field].is_null() {
            meta[field] = source[field].clone();
        }
    }
    let mut scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": {},
        "status": {"replicas": at(object, &paths.status).as_i64().unwrap_or(0)}});
    if let Some(wanted) = at(object, &paths.spec).as_i64().filter(|wanted| *wanted != 0) {
        scale["spec"]["replicas"] = wanted.into();
    }
    let selector = match &paths.selector {
        Some(path) => at(object, path).as_str().unwrap_or("").to_owned(),
        None if request.kind.custom.is_some() => String::new(),
        None if request.kind.kind == "ReplicationController" => {
            let pairs = object["spec"]["selector"].as_object().into_iter().flatten();
            let pairs: Vec<String> = pairs
                .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("")))
                .collect();
            pairs.join(",")
        }
        None => fluvial_object::labels::Selector::from_value(&object["spec"]["selector"])
            .map(|selector| selector.formatted())
            .unwrap_or_default(),
    };
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

/// GET of the scale subresource.
///
/// # Errors
/// The object is missing.
pub fn get_scale(api: &Api, request: &Request) -> Outcome<Reply> {
    let stored = api.store.collection(&request.kind.collection).get(&request.key());
    let stored = stored.ok_or_else(|| request.not_found())?;
    let stored = crate::convert::webhook::one(api, &request.calls, &request.kind, stored, true)?;
    let object = show(&request.kind, &stored);
    let paths = paths(request);
    if at(&object, &paths.spec).is_null() {
        return Err(Failure::internal(format!(
            "the spec replicas field {:?} does not exist",
            paths.spec
        )));
    }
    Ok(Reply::Value(200, scale_of(request, &object)))
}

fn negative(request: &Request, paths: &Scale, wanted: i64) -> Failure {
    let kind = &request.kind;
    let error = |path: &str, detail: &str| {
        fluvial_schema::FieldError::new(fluvial_schema::ErrorKind::Invalid, path, wanted.into(), detail)
    };
    if kind.custom.is_some() {
        let error = error(&paths.spec, "should be a non-negative integer");
        return Failure::invalid(&kind.group, &kind.kind, &request.target.name, &[error]);
    }
    let error = error("spec.replicas", "must be greater than or equal to 0");
    Failure::invalid("autoscaling", "Scale", &request.target.name, &[error])
}

/// What was written through the scale subresource says who, but not when.
fn timeless(object: &mut Value, manager: &str) {
    let entries = object["metadata"]
        .get_mut("managedFields")
        .and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten().filter_map(Value::as_object_mut) {
        let is = |field: &str, value: &str| entry.get(field).is_some_and(|own| own == value);
        if is("subresource", "scale") && is("manager", manager) {
            entry.remove("time");
        }
    }
}

/// The new state of an object whose scale is applied: who else owns the number has a say.
fn applied_scale(api: &Api, request: &Request, live: &Value, given: &Value, paths: &Scale) -> Outcome<Value> {
    let kind = &request.kind;
    let wanted = given["spec"]["replicas"].as_i64().unwrap_or(0);
    if wanted < 0 {
        return Err(negative(request, paths, wanted));
    }
    let mut applied = serde_json::json!({"apiVersion": kind.api_version(), "kind": kind.kind});
    let slot = paths
        .spec
        .trim_start_matches('.')
        .split('.')
        .fold(&mut applied, |value, name| &mut value[name]);
    *slot = wanted.into();
    let own = format!("using {}", kind.api_version());
    let types = kind.types(&api.schemas);
    let new = fluvial_merge::managed::apply(&fluvial_merge::managed::ApplyRequest {
        types: types.as_ref(),
        live: Some(live),
        applied: &applied,
        manager: request.query.text("fieldManager"),
        subresource: "scale",
        api_version: &kind.api_version(),
        time: &api.now(),
        force: request.query.flag("force"),
        reset_fields: &[],
    });
    let mut new = new.map_err(|error| {
        let mut failure = super::patch::apply_failure(error);
        // Managers are named with the version of the scale.
        failure.message = failure.message.replace(&own, "using autoscaling/v1");
        let details = failure.details.as_mut();
        let causes = details.and_then(|details| details.get_mut("causes")?.as_array_mut());
        for cause in causes.into_iter().flatten() {
            let text = cause["message"]
                .as_str()
                .unwrap_or("")
                .replace(&own, "using autoscaling/v1");
            cause["message"] = text.into();
        }
        failure
    })?;
    timeless(&mut new, request.query.text("fieldManager"));
    Ok(new)
}

/// Complains about fields that a scale does not have, as the request wishes.
fn strange_fields(request: &Request, scale: &Value) -> Outcome<()> {
    let known = |part: &str| -> &[&str] {
        match part {
            "spec" => &["replicas"],
            "status" => &["replicas", "selector"],
            _ => &["apiVersion", "kind", "metadata", "spec", "status"],
        }
    };
    let mut strange = vec![];
    for (path, part) in [
        ("", scale),
        ("spec", &scale["spec"]),
        ("status", &scale["status"]),
    ] {
        for field in part.as_object().into_iter().flat_map(serde_json::Map::keys) {
            if !known(path).contains(&field.as_str()) {
                let dot = if path.is_empty() { "" } else { "." };
                strange.push(format!("unknown field \"{path}{dot}{field}\""));
            }
        }
    }
    match request.validation {
        FieldValidation::Strict if !strange.is_empty() => {
            let text = format!("strict decoding error: {}", strange.join(", "));
            Err(Failure::bad_request(text))
        }
        FieldValidation::Warn => {
            strange.iter().for_each(|text| request.warn(text));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// PUT or PATCH of the scale subresource.
///
/// # Errors
/// The scale cannot be read, or is refused.
pub fn put_scale(api: &Api, request: &mut Request, patch: bool) -> Outcome<Reply> {
    let apply = negotiate::media_type(request.content_type.as_deref()) == "application/apply-patch+yaml";
    request.read_options(
        if patch { "PatchOptions" } else { "UpdateOptions" },
        patch && apply,
    )?;
    let given = if patch && apply {
        body::yaml(&request.body).map_err(Failure::bad_request)?.value
    } else if patch {
        body::json(&request.body).map_err(Failure::bad_request)?.value
    } else {
        decode::object(api, request)?
    };
    let form = negotiate::media_type(request.content_type.as_deref());
    let manager = request.manager();
    let paths = paths(request);
    let reply = update::change(api, request, &mut |live| {
        let mut scale = scale_of(request, live);
        if patch && apply {
            return applied_scale(api, request, live, &given, &paths);
        }
        if !patch {
            scale = given.clone();
        } else if form == "application/json-patch+json" {
            fluvial_merge::json_patch::apply(&mut scale, &given)
                .map_err(|error| Failure::bad_request(error.to_string()))?;
        } else {
            fluvial_merge::merge_patch::apply(&mut scale, &given)
                .map_err(|error| Failure::bad_request(error.to_string()))?;
        }
        if patch {
            strange_fields(request, &scale)?;
        }
        let wanted = scale["spec"]["replicas"].as_i64().unwrap_or(0);
        let name = meta(&scale, "name");
        if name != request.target.name && !name.is_empty() {
            let why = format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                request.target.name
            );
            return Err(Failure::bad_request(why));
        }
        if wanted < 0 {
            return Err(negative(request, &paths, wanted));
        }
        let mut new = live.clone();
        let version = meta(&scale, "resourceVersion");
        if !version.is_empty() && version != meta(live, "resourceVersion") {
            return Err(request.changed());
        }
        let slot = paths
            .spec
            .trim_start_matches('.')
            .split('.')
            .fold(&mut new, |value, name| &mut value[name]);
        *slot = wanted.into();
        let mut new = create::own(api, request, Some(live), new, &manager);
        timeless(&mut new, &manager);
        Ok(new)
    })?;
    Ok(match reply {
        Reply::Stored(code, stored) => Reply::Value(code, scale_of(request, &show(&request.kind, &stored))),
        Reply::Value(code, value) => Reply::Value(code, scale_of(request, &value)),
        other => other,
    })
}
