//! The scale subresource: the number of replicas of an object, as an object of its own.

use std::sync::Arc;

use fluvial_merge::managed;
use fluvial_merge::managed::scale::Places;
use serde_json::{Value, json};

use super::super::patch::{self, Patch};
use super::super::{Reply, decode, show, update};
use crate::api::{Api, meta};
use crate::crd::Scale;
use crate::kinds::Kind;
use crate::request::Request;
use crate::status::{Failure, Outcome};

/// What a scale is given in place of a number that its object does not have.
const ABSENT: i64 = i32::MIN as i64;

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
pub fn get(api: &Api, request: &Request) -> Outcome<Reply> {
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

/// The kind that scales are.
fn kind() -> Kind {
    Kind {
        group: "autoscaling".into(),
        version: "v1".into(),
        kind: "Scale".into(),
        namespaced: true,
        ..Kind::default()
    }
}

/// The names on the way to the number.
fn names(paths: &Scale) -> Vec<&str> {
    paths.spec.trim_start_matches('.').split('.').collect()
}

/// Where the number is in all versions that the object's managers may have written.
fn places(request: &Request, paths: &Scale) -> Arc<Places> {
    if let Some(custom) = &request.kind.custom {
        return custom.scales.clone();
    }
    let names = names(paths).into_iter().map(str::to_owned).collect();
    Arc::new(Places::from([(request.kind.api_version(), Some(names))]))
}

/// The scale of a custom resource can be applied only to stay as it is: kube-apiserver asks for it as a version of the
/// definition, and there is none.
fn unconverted(what: &str, namespace: &str, name: &str) -> Failure {
    Failure::unclassified(format!(
        "failed to {what} object ({namespace}/{name}; autoscaling/v1, Kind=Scale) to proper version: \
         request to convert CR to an invalid group/version: autoscaling/v1"
    ))
}

/// What a request makes of the scale that is there; with its managers.
fn wanted(api: &Api, request: &Request, live: &Value, write: &Write) -> Outcome<Value> {
    let kind = kind();
    let types = kind.types(&api.schemas);
    let manager = request.manager();
    let mut scale = match write {
        Write::Put(scale) => scale.clone(),
        Write::Patch(patch) => patch.made(api, request, &kind, live)?,
        Write::Apply(applied) => {
            patch::check_applied(request, applied)?;
            let custom = request.kind.custom.is_some();
            if custom && live["metadata"]["managedFields"].is_null() {
                return Err(unconverted(
                    "create manager for existing fields: failed to convert live",
                    "",
                    "",
                ));
            }
            let mut scale = managed::apply(&managed::ApplyRequest {
                types: types.as_ref(),
                live: Some(live),
                empty: None,
                applied,
                manager: request.query.text("fieldManager"),
                subresource: "scale",
                api_version: managed::scale::VERSION,
                time: &api.now(),
                force: request.query.flag("force"),
                reset_fields: &[],
            })
            .map_err(patch::apply_failure)?;
            if custom && ["spec", "status"].iter().any(|part| scale[*part] != live[*part]) {
                let (namespace, name) = (meta(applied, "namespace"), meta(applied, "name"));
                return Err(unconverted("convert new", namespace, name));
            }
            decode::typed(api, &kind, &mut scale, &mut decode::Complaints::default())
                .map_err(|why| patch::unconverted(&scale, &kind, &why))?;
            scale
        }
    };
    update::named(request, &mut scale)?;
    if matches!(write, Write::Apply(_)) {
        return Ok(scale);
    }
    // None is not written at all, and so nobody's.
    if scale["spec"]["replicas"] == 0
        && let Some(spec) = scale["spec"].as_object_mut()
    {
        spec.remove("replicas");
    }
    Ok(managed::update(managed::UpdateRequest {
        types: types.as_ref(),
        live: Some(live),
        updated: scale,
        manager: &manager,
        subresource: "scale",
        api_version: managed::scale::VERSION,
        time: &api.now(),
        reset_fields: &[],
    }))
}

/// How a scale is written.
enum Write {
    Put(Value),
    Patch(Patch),
    Apply(Value),
}

/// PUT or PATCH of the scale subresource.
///
/// # Errors
/// The scale cannot be read, or is refused.
pub fn put(api: &Api, request: &mut Request, patched: bool) -> Outcome<Reply> {
    let write = if !patched {
        request.read_options("UpdateOptions", false)?;
        Write::Put(decode::object(api, request)?)
    } else if patch::is_apply(request) {
        request.read_options("PatchOptions", true)?;
        Write::Apply(patch::applied(request, &kind())?)
    } else {
        Write::Patch(Patch::read(request)?)
    };
    let paths = paths(request);
    let version = request.kind.api_version();
    let places = places(request, &paths);
    let reply = update::change(api, request, &mut |parent| {
        let mut live = scale_of(request, parent);
        if at(parent, &paths.spec).is_null() {
            live["spec"]["replicas"] = ABSENT.into();
        }
        managed::scale::lend(parent, &places, &mut live);
        let scale = wanted(api, request, &live, &write)?;
        let number = scale["spec"]["replicas"].as_i64().unwrap_or(0);
        if number == ABSENT {
            let why = format!("the spec replicas field {:?} cannot be empty", paths.spec);
            return Err(Failure::unclassified(why));
        }
        if number < 0 {
            return Err(negative(request, &paths, number));
        }
        let mut new = parent.clone();
        let slot = names(&paths)
            .into_iter()
            .fold(&mut new, |value, name| &mut value[name]);
        *slot = number.into();
        managed::scale::take_back(&mut new, &places, &version, &scale);
        let expected = meta(&scale, "resourceVersion");
        if !expected.is_empty() {
            new["metadata"]["resourceVersion"] = expected.into();
        }
        Ok(new)
    })?;
    Ok(match reply {
        Reply::Stored(code, stored) => Reply::Value(code, scale_of(request, &show(&request.kind, &stored))),
        Reply::Value(code, value) => Reply::Value(code, scale_of(request, &value)),
        other => other,
    })
}
