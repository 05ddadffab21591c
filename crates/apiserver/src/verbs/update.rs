//! Replacement, and what all changes of an object have in common.

use serde_json::Value;

use super::{Reply, create, decode, show};
use crate::admission;
use crate::api::{Api, meta};
use crate::convert;
use crate::registry::{self, prepare, validate};
use crate::request::Request;
use crate::status::{Failure, Outcome};
use crate::store::{Collection, Expect, Refused, Stored};

/// How often a change is tried again when somebody else was faster.
const ATTEMPTS: usize = 64;

/// PUT of an object.
///
/// # Errors
/// The change is refused.
pub fn update(api: &Api, request: &mut Request) -> Outcome<Reply> {
    request.read_options("UpdateOptions", false)?;
    let mut object = decode::object(api, request)?;
    named(request, &mut object)?;
    let manager = request.manager();
    if prepare::made_by_update(&request.kind)
        && request.target.subresource.is_empty()
        && api
            .store
            .collection(&request.kind.collection)
            .get(&request.key())
            .is_none()
    {
        let uid = meta(&object, "uid");
        if !uid.is_empty() {
            return Err(other_uid(request, uid, ""));
        }
        create::authorize(api, request)?;
        let object = create::own(api, request, None, object, &manager);
        return create::insert(api, request, object);
    }
    change(api, request, &mut |live| {
        let mut object = object.clone();
        let uid = meta(&object, "uid");
        if !uid.is_empty() && uid != meta(live, "uid") {
            return Err(other_uid(request, uid, meta(live, "uid")));
        }
        if object["metadata"]["managedFields"].is_null() && !live["metadata"]["managedFields"].is_null() {
            object["metadata"]["managedFields"] = live["metadata"]["managedFields"].clone();
        }
        if !prepare::in_time(request) {
            prepare::update(api, request, &mut object, live);
        }
        Ok(create::own(api, request, Some(live), object, &manager))
    })
}

/// 409 for another object's state; nothing is kept of what only might be.
fn other_uid(request: &Request, wanted: &str, found: &str) -> Failure {
    let root = if request.dry_run { "" } else { "/registry" };
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: {root}/{}/{}, ResourceVersion: 0, AdditionalErrorMsg: \
         Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}",
        shelf(&request.kind),
        request.key(),
    );
    let (group, plural) = (&request.kind.group, &request.kind.plural);
    Failure::conflict(group, plural, &request.target.name, &why)
}

/// Where kube-apiserver keeps the objects of a kind, which it shows to those who write another object's state.
fn shelf(kind: &crate::kinds::Kind) -> String {
    let apart = matches!(
        kind.group.as_str(),
        "apiextensions.k8s.io" | "apiregistration.k8s.io"
    );
    if kind.custom.is_some() || apart {
        return format!("{}/{}", kind.group, kind.plural);
    }
    match kind.plural.as_str() {
        "services" => "services/specs",
        "endpoints" => "services/endpoints",
        "replicationcontrollers" => "controllers",
        "nodes" => "minions",
        "ingresses" => "ingress",
        plural => plural,
    }
    .to_owned()
}

/// 400 for an object without a name, which has to have the one of the path.
pub(super) fn nameless(request: &Request) -> Failure {
    Failure::bad_request(format!(
        "the name of the object ({} based on URL) was undeterminable: name must be provided",
        request.target.name
    ))
}

/// Whether an object has the name and the namespace of the path.
///
/// # Errors
/// It is another object's state.
pub(super) fn named(request: &Request, object: &mut Value) -> Outcome<()> {
    let name = meta(object, "name");
    if name.is_empty() {
        return Err(nameless(request));
    }
    if name != request.target.name {
        let why = format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            request.target.name
        );
        return Err(Failure::bad_request(why));
    }
    create::place(request, object)
}

/// Changes an object: reads it, makes its new state, writes it, and does so again if another was faster.
///
/// # Errors
/// The object is missing or the new state refused.
pub fn change(
    api: &Api,
    request: &Request,
    make: &mut dyn FnMut(&Value) -> Outcome<Value>,
) -> Outcome<Reply> {
    let kind = &request.kind;
    let collection = api.store.collection(&kind.collection);
    let key = request.key();
    for _ in 0..ATTEMPTS {
        let Some(stored) = collection.get(&key) else {
            return Err(request.not_found());
        };
        let seen = convert::webhook::one(api, &request.calls, kind, stored.clone(), false)?;
        let live = show(kind, &seen);
        let new = make(&live)?;
        match write(api, request, &collection, &stored, &live, new)? {
            Some(reply) => return Ok(reply),
            None => continue,
        }
    }
    Err(request.changed())
}

/// Whether the new state may replace any version; else it must be that of this one.
fn check_version(request: &Request, stored: &Stored, new: &Value) -> Outcome<bool> {
    let kind = &request.kind;
    let version = meta(new, "resourceVersion").to_owned();
    let free = version.is_empty() || version == "0";
    if free && !prepare::unconditional(kind) {
        let error = fluvial_schema::FieldError::new(
            fluvial_schema::ErrorKind::Invalid,
            "metadata.resourceVersion",
            if version.is_empty() {
                0.into()
            } else {
                version.into()
            },
            "must be specified for an update",
        );
        // Kinds are named by their resource here.
        let named = &kind.plural;
        return Err(Failure::invalid(
            &kind.group,
            named,
            &request.target.name,
            &[error],
        ));
    }
    if !free && version.parse::<u64>().is_err() {
        let why = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
        return Err(Failure::unclassified(why));
    }
    if !free && version != stored.version.to_string() {
        return Err(request.changed());
    }
    Ok(free)
}

/// Writes a new state; None if the object changed meanwhile.
fn write(
    api: &Api,
    request: &Request,
    collection: &Collection,
    stored: &Stored,
    live: &Value,
    mut new: Value,
) -> Outcome<Option<Reply>> {
    let kind = &request.kind;
    let free = check_version(request, stored, &new)?;
    new["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
    // Whoever may change the object sees it as it was sent: only then it takes over what is not its own to say.
    admission::before_update(api, request, &mut new, live)?;
    prepare::update(api, request, &mut new, live);
    admission::allocate(api, request, &mut new, live)?;
    prepare::settle(request, &mut new, live);
    prepare::count(request, &mut new, live);
    let mut errors = vec![];
    registry::meta::validate_update(kind, &request.target.subresource, &new, live, &mut errors);
    validate::update(api, kind, &new, live, &request.target.subresource, &mut errors);
    if !errors.is_empty() {
        return Err(Failure::invalid(
            kind.error_group(),
            &kind.kind,
            &request.target.name,
            &errors,
        ));
    }
    if request.target.subresource.is_empty() {
        registry::warnings::warn(request, kind, &new, live);
    }
    let _quota = admission::validate(api, request, &new, Some(live))?;
    if request.dry_run {
        return Ok(Some(Reply::Value(200, new)));
    }
    // One that is kept in another version than today's is written though nothing changed.
    if new == *live && !convert::is_outdated(kind, stored) {
        return Ok(Some(Reply::Value(200, new)));
    }
    let finished = !live["metadata"]["deletionTimestamp"].is_null()
        && new["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty)
        && new["metadata"]["deletionGracePeriodSeconds"]
            .as_i64()
            .unwrap_or(0)
            == 0
        && !(kind.is("", "Namespace")
            && new["spec"]["finalizers"]
                .as_array()
                .is_some_and(|list| !list.is_empty()));
    let last = finished.then(|| new.clone());
    let shown = convert::to_storage(api, &request.calls, kind, &mut new)?;
    let result = if finished {
        // Watchers see the last state that was kept.
        let mut kept = stored.value();
        api.store
            .remove(collection, &stored.key, stored.version, &mut kept)
    } else {
        api.store
            .put(collection, &stored.key, Expect::Version(stored.version), &mut new)
    };
    match result {
        Ok(stored) => {
            crate::crd::written(api, kind);
            prepare::released(api, kind, finished, &new, live);
            Ok(Some(match last {
                Some(value) => Reply::Value(200, value),
                None => convert::written(200, stored, shown),
            }))
        }
        Err(Refused::Changed) if free || request.target.watch => Ok(None),
        Err(Refused::Changed) => Ok(None),
        Err(_) => Err(request.not_found()),
    }
}
