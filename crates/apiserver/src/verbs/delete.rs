//! Deletion of one object or of many.

use serde_json::{Map, Value, json};

use super::{Reply, read, show};
use crate::admission;
use crate::api::{Api, meta, rfc3339};
use crate::convert;
use crate::crd;
use crate::http::{body, negotiate};
use crate::registry::prepare;
use crate::request::Request;
use crate::status::{Failure, Outcome, deleted};
use crate::store::{Expect, Refused};

/// What a deletion is to do.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Seconds to wait.
    pub grace: Option<i64>,
    /// Background, Foreground or Orphan.
    pub propagation: Option<String>,
    /// The uid that the object must have.
    pub uid: Option<String>,
    /// The version that the object must have.
    pub version: Option<String>,
}

fn read_options(request: &mut Request) -> Outcome<Options> {
    let mut given = Map::new();
    if !request.body.is_empty() {
        let format = negotiate::body_format(request.content_type.as_deref())?;
        let decoded = body::read(&request.body, format, true).map_err(|error| {
            Failure::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
        })?;
        given = fields(decoded.value)?;
        let text = |field: &str| given.get(field).and_then(Value::as_str).unwrap_or("");
        let (kind, version) = (text("kind"), text("apiVersion"));
        if !kind.is_empty() && kind != "DeleteOptions" {
            let version = if version.is_empty() {
                "meta.k8s.io/v1"
            } else {
                version
            };
            return Err(Failure::bad_request(format!(
                "no kind \"{kind}\" is registered for version \"{version}\" in scheme \"pkg/runtime/scheme.go:111\""
            )));
        }
    } else {
        let number = |name: &str| request.query.get(name).map(str::parse::<i64>);
        if let Some(grace) = number("gracePeriodSeconds") {
            let grace = grace.map_err(|_| {
                let text = request.query.text("gracePeriodSeconds");
                Failure::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"))
            })?;
            given.insert("gracePeriodSeconds".into(), grace.into());
        }
        if let Some(policy) = request.query.get("propagationPolicy") {
            given.insert("propagationPolicy".into(), policy.into());
        }
        if let Some(orphan) = request.query.get("orphanDependents") {
            given.insert("orphanDependents".into(), (orphan == "true").into());
        }
        let dry: Vec<&str> = request.query.all("dryRun").collect();
        if !dry.is_empty() {
            given.insert("dryRun".into(), json!(dry));
        }
    }
    let (options, dry) = check_options(&given)?;
    request.dry_run = dry;
    Ok(options)
}

/// The fields of options, each of the type that it has in Go.
fn fields(value: Value) -> Outcome<Map<String, Value>> {
    let named = |value: &Value| match value {
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        _ => "number",
    };
    let map = match value {
        Value::Object(map) => map,
        Value::Null => return Ok(Map::new()),
        other => {
            let why = "couldn't get version/kind; json parse error: json: cannot unmarshal";
            let into = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
            let text = format!("{why} {} into Go value of type {into}", named(&other));
            return Err(Failure::bad_request(text));
        }
    };
    for (field, wanted, go) in [
        ("gracePeriodSeconds", "number", "int64"),
        ("preconditions", "object", "v1.Preconditions"),
        ("orphanDependents", "bool", "bool"),
        ("propagationPolicy", "string", "v1.DeletionPropagation"),
        ("dryRun", "array", "[]string"),
    ] {
        let given = map.get(field).filter(|given| !given.is_null());
        if let Some(given) = given.filter(|given| named(given) != wanted) {
            return Err(Failure::bad_request(format!(
                "json: cannot unmarshal {} into Go struct field DeleteOptions.{field} of type {go}",
                named(given)
            )));
        }
    }
    for field in ["uid", "resourceVersion"] {
        let given = map.get("preconditions").and_then(|all| all.get(field));
        let odd = given.filter(|given| !given.is_null() && !given.is_string());
        if let Some(given) = odd {
            let go = if field == "uid" { "types.UID" } else { "string" };
            return Err(Failure::bad_request(format!(
                "json: cannot unmarshal {} into Go struct field Preconditions.preconditions.{field} of type {go}",
                named(given)
            )));
        }
    }
    Ok(map)
}

fn check_options(given: &Map<String, Value>) -> Outcome<(Options, bool)> {
    use fluvial_schema::{ErrorKind, FieldError};
    let mut errors = vec![];
    let dry = given
        .get("dryRun")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let policy = given.get("propagationPolicy").and_then(Value::as_str);
    let orphan = given.get("orphanDependents").and_then(Value::as_bool);
    if policy.is_some() && orphan.is_some() {
        let detail = "orphanDependents and deletionPropagation cannot be both set";
        let value = policy.map_or(Value::Null, Value::from);
        errors.push(FieldError::new(
            ErrorKind::Invalid,
            "propagationPolicy",
            value,
            detail,
        ));
    }
    if let Some(other) = policy.filter(|policy| !matches!(*policy, "Background" | "Foreground" | "Orphan")) {
        let detail = "supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"";
        errors.push(FieldError::new(
            ErrorKind::NotSupported,
            "propagationPolicy",
            other.into(),
            detail,
        ));
    }
    if dry.iter().any(|value| value != "All") {
        let value = Value::Array(dry.clone());
        errors.push(FieldError::new(
            ErrorKind::NotSupported,
            "dryRun",
            value,
            "supported values: \"All\"",
        ));
    }
    if !errors.is_empty() {
        return Err(Failure::invalid("meta.k8s.io", "DeleteOptions", "", &errors));
    }
    let propagation = policy.map(str::to_owned).or_else(|| {
        orphan.map(|orphan| {
            if orphan {
                "Orphan".to_owned()
            } else {
                "Background".to_owned()
            }
        })
    });
    let condition = |field: &str| {
        given
            .get("preconditions")
            .and_then(|all| all.get(field))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let options = Options {
        grace: given.get("gracePeriodSeconds").and_then(Value::as_i64),
        propagation,
        uid: condition("uid"),
        version: condition("resourceVersion"),
    };
    Ok((options, !dry.is_empty()))
}

/// DELETE of an object.
///
/// # Errors
/// It is missing or may not be deleted.
pub fn delete(api: &Api, request: &mut Request) -> Outcome<Reply> {
    let options = read_options(request)?;
    one(api, request, &options)
}

/// DELETE of a collection.
///
/// # Errors
/// The selection cannot be read, or an object may not be deleted.
pub fn collection(api: &Api, request: &mut Request) -> Outcome<Reply> {
    let options = read_options(request)?;
    let reply = read::list(api, request)?;
    if options.propagation.is_none() {
        prepare::warn_of_orphans(request);
    }
    if let Reply::List { objects, .. } = &reply {
        for stored in objects {
            request.target.namespace = stored.namespace().to_owned();
            request.target.name = stored.name().to_owned();
            match one(api, request, &options) {
                Err(failure) if failure.code != 404 => return Err(failure),
                _ => {}
            }
        }
        request.target.name.clear();
    }
    Ok(reply)
}

fn precondition(request: &Request, what: &str, given: &str, found: &str, end: &str) -> Failure {
    let kind = &request.kind;
    // Jobs warn before anything is looked at, kinds that go in two steps look themselves, and events have one store.
    if request.query.text("propagationPolicy").is_empty() {
        prepare::warn_of_orphans(request);
    }
    if kind.is("", "Namespace") || kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        let why =
            format!("Precondition failed: {what} in precondition: {given}, {what} in object meta: {found}");
        return Failure::conflict(&kind.group, &kind.plural, &request.target.name, &why);
    }
    let group = if kind.kind == "Event" {
        ""
    } else {
        kind.group.as_str()
    };
    let why = format!(
        "the {what} in the precondition ({given}) does not match the {what} in record ({found}). The object might have \
         been {end}"
    );
    let mut failure = Failure::conflict(group, &kind.kind, &request.target.name, &why);
    failure.message = format!(
        "Operation cannot be fulfilled on {} \"{}\": {why}",
        crate::status::qualified(group, &kind.kind),
        request.target.name
    );
    failure
}

/// Deletes one object.
///
/// # Errors
/// It is missing or may not be deleted.
pub fn one(api: &Api, request: &Request, options: &Options) -> Outcome<Reply> {
    let kind = &request.kind;
    let collection = api.store.collection(&kind.collection);
    let key = request.key();
    loop {
        let Some(stored) = collection.get(&key) else {
            if options.propagation.is_none() {
                prepare::warn_of_orphans(request);
            }
            return Err(request.not_found());
        };
        let seen = convert::webhook::one(api, &request.calls, kind, stored.clone(), false)?;
        let live = show(kind, &seen);
        if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != meta(&live, "uid")) {
            return Err(precondition(
                request,
                "UID",
                uid,
                meta(&live, "uid"),
                "deleted and then recreated",
            ));
        }
        let have = stored.version.to_string();
        if let Some(version) = options.version.as_deref().filter(|version| *version != have) {
            return Err(precondition(
                request,
                "ResourceVersion",
                version,
                &have,
                "modified",
            ));
        }
        admission::before_delete(api, request, &live)?;
        let mut doomed = live.clone();
        let fate = doom(api, request, options, &mut doomed);
        let uid = meta(&live, "uid").to_owned();
        let shown = |object: Value| {
            if prepare::deletion_shows_object(kind) || fate != Fate::Gone {
                Reply::Value(200, object)
            } else {
                Reply::Value(
                    200,
                    deleted(&kind.group, &kind.plural, &request.target.name, &uid),
                )
            }
        };
        if request.dry_run || fate == Fate::Unchanged {
            return Ok(shown(doomed));
        }
        let mut storage = if fate == Fate::Gone && convert::webhook::is_foreign(kind, &stored) {
            stored.value()
        } else {
            let mut storage = doomed.clone();
            convert::to_storage(api, &request.calls, kind, &mut storage)?;
            storage
        };
        let result = if fate == Fate::Gone {
            api.store.remove(&collection, &key, stored.version, &mut storage)
        } else {
            api.store
                .put(&collection, &key, Expect::Version(stored.version), &mut storage)
        };
        match result {
            Ok(written) => {
                if fate == Fate::Waits {
                    doomed["metadata"]["resourceVersion"] = written.version.to_string().into();
                }
                crd::written(api, kind);
                prepare::released(api, kind, fate == Fate::Gone, &storage, &live);
                return Ok(shown(doomed));
            }
            Err(Refused::Changed) => {}
            Err(_) => return Err(request.not_found()),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is removed now.
    Gone,
    /// It waits for its finalizers or its grace period.
    Waits,
    /// It waits already.
    Unchanged,
}

/// Marks an object as being deleted.
fn doom(api: &Api, request: &Request, options: &Options, object: &mut Value) -> Fate {
    let kind = &request.kind;
    let mut finalizers: Vec<Value> = object["metadata"]["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let before = finalizers.clone();
    let policy = match options.propagation.as_deref() {
        Some(policy) => policy,
        None if finalizers.iter().any(|item| item == "orphan") => "Orphan",
        None if finalizers.iter().any(|item| item == "foregroundDeletion") => "Foreground",
        None => prepare::default_propagation(request),
    };
    finalizers.retain(|item| item != "orphan" && item != "foregroundDeletion");
    match policy {
        "Orphan" => finalizers.push("orphan".into()),
        "Foreground" => finalizers.push("foregroundDeletion".into()),
        _ => {}
    }
    let deleting = !object["metadata"]["deletionTimestamp"].is_null();
    // It stays until its objects are gone.
    let definition = kind.is("apiextensions.k8s.io", "CustomResourceDefinition");
    if definition && !deleting {
        crd::definition::doom(object, &mut finalizers, &api.now());
    }
    let namespace = kind.is("", "Namespace")
        && object["spec"]["finalizers"]
            .as_array()
            .is_some_and(|list| !list.is_empty());
    let grace = prepare::grace(kind, object, options.grace);
    let old_grace = object["metadata"]["deletionGracePeriodSeconds"]
        .as_i64()
        .unwrap_or(0);
    let waits = !finalizers.is_empty() || namespace || (grace > 0 && !(deleting && old_grace == 0));
    let Some(meta) = object["metadata"].as_object_mut() else {
        return Fate::Gone;
    };
    if deleting {
        if waits && finalizers == before && (grace >= old_grace || old_grace == 0) {
            return Fate::Unchanged;
        }
        if grace < old_grace {
            meta.insert("deletionGracePeriodSeconds".into(), grace.into());
        }
    } else if waits || grace == 0 && prepare::graceful(kind) {
        let at = (api.clock)() + jiff::SignedDuration::from_secs(grace);
        meta.insert("deletionTimestamp".into(), rfc3339(at).into());
        if !kind.is("", "Namespace") && !definition {
            meta.insert("deletionGracePeriodSeconds".into(), grace.into());
        }
        if let Some(generation) = meta.get("generation").and_then(Value::as_i64)
            && !definition
        {
            meta.insert("generation".into(), (generation + 1).into());
        }
    }
    if finalizers.is_empty() {
        meta.remove("finalizers");
    } else {
        meta.insert("finalizers".into(), finalizers.into());
    }
    if kind.is("", "Namespace") && waits {
        object["status"]["phase"] = "Terminating".into();
    }
    if waits { Fate::Waits } else { Fate::Gone }
}
