//! Creation.

use serde_json::Value;

use super::{Reply, decode};
use crate::admission;
use crate::api::{Api, meta};
use crate::auth::{Attributes, rbac};
use crate::convert;
use crate::crd::ownership;
use crate::kinds::Kind;
use crate::registry::{self, prepare, validate};
use crate::request::Request;
use crate::status::{Failure, Outcome};
use crate::store::{Expect, Refused};
use crate::typed;

/// POST to a collection.
///
/// # Errors
/// The object is refused.
pub fn create(api: &Api, request: &mut Request) -> Outcome<Reply> {
    request.read_options("CreateOptions", false)?;
    let mut object = decode::object(api, request)?;
    place(request, &mut object)?;
    if request.kind.is("authentication.k8s.io", "TokenReview") || !request.kind.can("list") {
        return super::special::review(api, request, object);
    }
    // What the server sets is nobody's.
    if let Some(meta) = object["metadata"].as_object_mut() {
        meta.remove("deletionTimestamp");
        meta.remove("deletionGracePeriodSeconds");
    }
    object = own_new(api, request, object);
    insert(api, request, object)
}

/// Records who owns the fields of a new object. A job without labels has those of its template before anybody looks.
fn own_new(api: &Api, request: &Request, mut object: Value) -> Value {
    let manager = request.manager();
    let labels = object["metadata"]["labels"].as_object();
    let bare = request.kind.is("batch", "Job") && labels.is_none_or(serde_json::Map::is_empty);
    let template = object["spec"]["template"]["metadata"]["labels"].clone();
    if !bare || template.as_object().is_none_or(serde_json::Map::is_empty) {
        return own(api, request, None, object, &manager);
    }
    object["metadata"]["labels"] = template;
    let mut object = own(api, request, None, object, &manager);
    if let Some(meta) = object["metadata"].as_object_mut() {
        meta.remove("labels");
    }
    object
}

/// Sets the namespace of the path, or refuses another.
///
/// # Errors
/// The object names another namespace.
pub fn place(request: &Request, object: &mut Value) -> Outcome<()> {
    let given = meta(object, "namespace").to_owned();
    let own = if request.kind.namespaced {
        request.target.namespace.as_str()
    } else {
        ""
    };
    if own.is_empty() {
        // What lives in no namespace loses the one it names.
        if let Some(meta) = object["metadata"].as_object_mut() {
            meta.remove("namespace");
        }
    } else if given.is_empty() {
        object["metadata"]["namespace"] = own.into();
    } else if given != own {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Failure::bad_request(why));
    }
    Ok(())
}

/// Drops what is recorded of versions that are gone.
fn forget_unserved(api: &Api, kind: &Kind, object: &mut Value) {
    let own = kind.api_version();
    let served = |entry: &Value| {
        let version = entry["apiVersion"].as_str().unwrap_or("");
        version == own || version.is_empty() || {
            let (group, short) = version.split_once('/').unwrap_or(("", version));
            ownership::declares(kind, version)
                || api.kinds().find(group, short, &kind.plural).is_some()
                || (kind.kind == "Event" && api.kinds().version(group, short).is_some())
        }
    };
    let Some(meta) = object["metadata"].as_object_mut() else {
        return;
    };
    let Some(entries) = meta.get_mut("managedFields").and_then(Value::as_array_mut) else {
        return;
    };
    let before = entries.len();
    entries.retain(served);
    if entries.is_empty() && before > 0 {
        meta.insert("managedFields".into(), Value::Array(vec![]));
    }
}

/// An object of a kind without anything in it: parts that are no pointers are there.
pub(super) fn nothing(kind: &Kind, types: &fluvial_schema::TypeRef) -> Value {
    let mut empty = typed::empty(types.view());
    registry::defaults::nulls(kind, &mut empty);
    empty
}

/// Records who owns the fields of a written object.
#[must_use]
pub fn own(api: &Api, request: &Request, live: Option<&Value>, updated: Value, manager: &str) -> Value {
    let kind = &request.kind;
    let mut updated = updated;
    forget_unserved(api, kind, &mut updated);
    if let Some(live) = live {
        let cleared = updated["metadata"]["managedFields"]
            .as_array()
            .is_some_and(Vec::is_empty);
        if !cleared && ownership::misfit(kind, live, &[live, &updated]).is_some() {
            if let Some(meta) = updated["metadata"].as_object_mut() {
                meta.remove("managedFields");
            }
            return updated;
        }
    }
    let types = kind.types(&api.schemas);
    let fields = prepare::reset_fields(kind, &request.target.subresource);
    // A new object is compared with an empty one, in which parts that are no pointers are there.
    let empty = match (&types, live) {
        (Some(types), None) if kind.custom.is_none() => Some(nothing(kind, types)),
        _ => None,
    };
    fluvial_merge::managed::update(fluvial_merge::managed::UpdateRequest {
        types: types.as_ref(),
        live: live.or(empty.as_ref()),
        updated,
        manager,
        subresource: &request.target.subresource,
        api_version: &kind.api_version(),
        time: &api.now(),
        reset_fields: &fields,
    })
}

/// Whether whoever changes an object may also create it.
///
/// # Errors
/// They may not.
pub fn authorize(api: &Api, request: &Request) -> Outcome<()> {
    let target = &request.target;
    let wanted = Attributes {
        verb: "create",
        group: &target.group,
        resource: &target.resource,
        namespace: &target.namespace,
        name: &target.name,
        ..Attributes::default()
    };
    if rbac::authorize(api, &request.user, &wanted).allowed {
        return Ok(());
    }
    let why = wanted.refusal(&request.user);
    let (group, plural) = (&request.kind.group, &request.kind.plural);
    Err(Failure::forbidden(group, plural, &target.name, &why))
}

/// What every new object gets.
pub fn system_fields(api: &Api, request: &Request, object: &mut Value) {
    let kind = &request.kind;
    let now = api.now();
    let Some(meta) = object["metadata"].as_object_mut() else {
        return;
    };
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
        "selfLink",
    ] {
        meta.remove(field);
    }
    meta.insert("uid".into(), request.calls.uid().into());
    meta.insert("creationTimestamp".into(), now.into());
    if prepare::has_generation(kind) {
        meta.insert("generation".into(), 1.into());
    }
}

/// Puts a new object into the store, or shows what would come of it.
///
/// # Errors
/// It is refused.
pub fn insert(api: &Api, request: &Request, object: Value) -> Outcome<Reply> {
    attempt(api, request, object, 0)
}

/// Names that are generated until one is free.
const NAMES: usize = 8;

fn attempt(api: &Api, request: &Request, mut object: Value, attempts: usize) -> Outcome<Reply> {
    let kind = &request.kind;
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(serde_json::Map::new());
    }
    let generated = generated_name(request, &object, attempts);
    if let Some(name) = &generated {
        object["metadata"]["name"] = name.clone().into();
    }
    let name = meta(&object, "name").to_owned();
    admission::before_create(api, request, &mut object)?;
    let asked = meta(&object, "resourceVersion").to_owned();
    if !request.dry_run && !matches!(asked.as_str(), "" | "0") {
        return Err(Failure::unclassified(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    system_fields(api, request, &mut object);
    prepare::create(api, request, &mut object)?;
    // Services are given their addresses before anybody looks at the rest.
    let served = kind.is("", "Service");
    if served {
        api.services.check_address(&object, request.dry_run)?;
    }
    let mut errors = vec![];
    registry::meta::validate(kind, &object, &mut errors);
    validate::create(api, kind, &object, &mut errors);
    if !errors.is_empty() {
        return Err(Failure::invalid(kind.error_group(), &kind.kind, &name, &errors));
    }
    // They are warned of once they have them.
    if !served {
        registry::warnings::warn(request, kind, &object, &Value::Null);
    }
    let quota = admission::validate(api, request, &object, None)?;
    let key = kind.key(meta(&object, "namespace"), &name);
    let collection = api.store.collection(&kind.collection);
    let named = meta(&object, "generateName").is_empty();
    let exists = || {
        let mut failure = Failure::already_exists(&kind.group, &kind.plural, &name);
        let there = collection.get(&key);
        if there.is_some_and(|there| !there.value()["metadata"]["deletionTimestamp"].is_null()) {
            failure.message = format!("object is being deleted: {}", failure.message);
        }
        if named { failure } else { failure.not_generated() }
    };
    if request.dry_run {
        if collection.get(&key).is_some() {
            return Err(exists());
        }
        if kind.is("", "Service") {
            api.services.rehearse(&mut object, None)?;
            registry::warnings::warn(request, kind, &object, &Value::Null);
        }
        // What was asked for is shown, though nothing has a version yet.
        if !asked.is_empty() {
            object["metadata"]["resourceVersion"] = asked.into();
        }
        return Ok(Reply::Value(201, object));
    }
    prepare::allocate(api, request, &mut object)?;
    if served {
        registry::warnings::warn(request, kind, &object, &Value::Null);
    }
    let again = generated.is_some().then(|| object.clone());
    let shown = convert::to_storage(api, &request.calls, kind, &mut object)?;
    match api.store.put(&collection, &key, Expect::Absent, &mut object) {
        Ok(stored) => {
            crate::crd::written(api, kind);
            Ok(convert::written(201, stored, shown))
        }
        Err(Refused::Exists) if attempts < NAMES => {
            drop(quota);
            let mut object = again.ok_or_else(exists)?;
            object["metadata"]["name"] = "".into();
            attempt(api, request, object, attempts + 1)
        }
        Err(_) => Err(exists()),
    }
}

fn generated_name(request: &Request, object: &Value, attempt: usize) -> Option<String> {
    let prefix = meta(object, "generateName");
    if prefix.is_empty() && meta(object, "name").is_empty() && request.kind.is("", "LimitRange") {
        return Some(request.calls.uid());
    }
    if !meta(object, "name").is_empty() || prefix.is_empty() {
        return None;
    }
    let end = (0..=prefix.len().min(58))
        .rev()
        .find(|end| prefix.is_char_boundary(*end))
        .unwrap_or(0);
    Some(format!("{}{}", &prefix[..end], request.calls.suffix(attempt)))
}
