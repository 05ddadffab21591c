//! Server-side apply: who manages which field, and what an apply or update does to that.

use std::fmt;

use fluvial_schema::TypeRef;
use serde_json::Value;

use self::entries::Entries;
use self::shape::Shape;
use self::update::{Operation, Stop};

mod check;
mod covers;
mod csa;
mod entries;
mod path;
mod reconcile;
pub mod scale;
mod set;
mod shape;
mod typed;
mod update;

pub(crate) use self::path::equal;

/// One server-side apply.
#[derive(Clone, Debug)]
pub struct ApplyRequest<'a> {
    /// The kind's schema; `None` deduces types from values.
    pub types: Option<&'a TypeRef>,
    /// The object with its `metadata.managedFields`; `None` creates.
    pub live: Option<&'a Value>,
    /// What is in an object with nothing in it: it is nobody's. `None` for nothing at all.
    pub empty: Option<&'a Value>,
    /// What the manager wants.
    pub applied: &'a Value,
    /// Who applies.
    pub manager: &'a str,
    /// Subresource such as `status`; empty for the object.
    pub subresource: &'a str,
    /// Version of the request, `group/version`.
    pub api_version: &'a str,
    /// Now, RFC 3339.
    pub time: &'a str,
    /// Take fields from other managers.
    pub force: bool,
    /// Fields that this endpoint ignores, such as `[["status"]]`.
    pub reset_fields: &'a [&'a [&'a str]],
}

/// One create, update or patch.
#[derive(Clone, Debug)]
pub struct UpdateRequest<'a> {
    /// The kind's schema; `None` deduces types from values.
    pub types: Option<&'a TypeRef>,
    /// The object before; `None` for a create.
    pub live: Option<&'a Value>,
    /// The object after, before managed fields are settled.
    pub updated: Value,
    /// Who updates.
    pub manager: &'a str,
    /// Subresource such as `status`; empty for the object.
    pub subresource: &'a str,
    /// Version of the request, `group/version`.
    pub api_version: &'a str,
    /// Now, RFC 3339.
    pub time: &'a str,
    /// Fields that this endpoint ignores, such as `[["status"]]`.
    pub reset_fields: &'a [&'a [&'a str]],
}

/// One field that another manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Cause's message, such as `conflict with "m" using apps/v1`.
    pub message: String,
    /// Path such as `.spec.replicas`.
    pub field: String,
}

/// Why an apply fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// Others own fields (HTTP 409, reason Conflict).
    Conflict {
        /// The Status's message.
        message: String,
        /// The Status's causes, reason `FieldManagerConflict`.
        conflicts: Vec<Conflict>,
    },
    /// The request is malformed (HTTP 400).
    BadRequest(String),
    /// The applied object does not fit its schema (HTTP 500 without a reason).
    Typed(String),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApplyError::Conflict { message, .. }
            | ApplyError::BadRequest(message)
            | ApplyError::Typed(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ApplyError {}

fn shape(types: Option<&TypeRef>) -> Shape<'_> {
    types.map_or(Shape::Deduced, |types| Shape::Typed(types.view()))
}

/// Whether an apply would leave the live object as it is: nothing to merge, nothing to own. `false`
/// also where only [`apply`] can tell.
#[must_use]
pub fn unchanged(request: &ApplyRequest<'_>) -> bool {
    let (Some(live), applied) = (request.live, request.applied) else {
        return false;
    };
    let plain = request.manager != "kubectl"
        && applied.get("apiVersion").and_then(Value::as_str) == Some(request.api_version)
        && applied.pointer("/metadata/managedFields").is_none();
    let list = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let (true, Some(list)) = (plain, list) else {
        return false;
    };
    let is = |entry: &Value, key: &str, wanted: &str| {
        entry.get(key).and_then(Value::as_str).unwrap_or_default() == wanted
    };
    let mut own = list.iter().filter(|entry| {
        is(entry, "operation", "Apply")
            && is(entry, "manager", request.manager)
            && is(entry, "subresource", request.subresource)
    });
    let (Some(own), None) = (own.next(), own.next()) else {
        return false;
    };
    if !is(own, "apiVersion", request.api_version) || is(own, "time", "") {
        return false;
    }
    let shape = shape(request.types);
    let owned = covers::Owned {
        ignored: &update::from_names(request.reset_fields),
        stripped: update::stripped(),
    };
    let fields = own.get("fieldsV1").unwrap_or(&Value::Null);
    owned.same(shape, applied, fields) && covers::covers(shape, live, applied)
}

/// Why an object does not fit a schema, in the words of field ownership; `None` if it does.
#[must_use]
pub fn misfit(types: Option<&TypeRef>, object: &Value) -> Option<String> {
    check::check(shape(types), object, true)
}

/// Applies; the result has its managed fields and equals the live object if nothing changes.
///
/// # Errors
/// Conflicts with other managers, or an object that does not fit its schema.
pub fn apply(request: &ApplyRequest<'_>) -> Result<Value, ApplyError> {
    let applied = request.applied;
    let version = applied
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if version != request.api_version {
        return Err(ApplyError::BadRequest(format!(
            "Incorrect version specified in apply patch. Specified patch version: {version}, expected: {}",
            request.api_version
        )));
    }
    if applied
        .pointer("/metadata/managedFields")
        .is_some_and(|fields| !fields.is_null())
    {
        return Err(ApplyError::BadRequest(
            "metadata.managedFields must be nil".to_owned(),
        ));
    }
    if let Some(live) = request.live
        && unchanged(request)
    {
        return Ok(live.clone());
    }
    let operation = Operation {
        shape: shape(request.types),
        ignored: update::from_names(request.reset_fields),
        subresource: request.subresource,
        api_version: request.api_version,
        time: request.time,
    };
    let empty = skeleton(applied);
    let live = request.live.unwrap_or(&empty);
    let typed = |error: String, what: &str, object: &Value| {
        ApplyError::Typed(format!(
            "failed to create typed {what} object ({}): {error}",
            update::describe(object)
        ))
    };
    let mut entries = Entries::decode(live)
        .map_err(|error| ApplyError::Typed(format!("failed to decode managed fields: {error}")))?;
    if let Some(error) = check::check(operation.shape, live, true) {
        return Err(typed(error, "live", live));
    }
    if let Some(error) = check::check(operation.shape, applied, false) {
        return Err(typed(error, "patch", applied));
    }
    if entries.by_manager.is_empty() && request.live.is_some() {
        // What was there before the first apply gets an owner, so that it is not taken silently.
        entries = Operation {
            ignored: update::from_names(request.reset_fields),
            ..operation
        }
        .update(
            request.empty.unwrap_or(&skeleton(live)),
            live,
            entries,
            "before-first-apply",
        );
    }
    // Only kubectl may have to try again.
    let again = (request.manager == "kubectl").then(|| entries.clone());
    let result = operation.apply(live, applied, entries, request.manager, request.force);
    let result = match (result, again) {
        (Err(Stop::Conflicts(found)), Some(entries)) => {
            match csa::migrate(operation.shape, live, request.api_version, found) {
                Ok(()) => operation.apply(live, applied, entries, request.manager, true),
                Err(left) => Err(Stop::Conflicts(left)),
            }
        }
        (other, _) => other,
    };
    let (mut out, entries) = result.map_err(|Stop::Conflicts(found)| update::conflict_error(&found))?;
    if request.manager == "kubectl" {
        csa::renew(&mut out, applied);
    }
    entries.encode(&mut out);
    Ok(out)
}

/// An object of the same kind without anything in it.
fn skeleton(object: &Value) -> Value {
    let mut out = serde_json::Map::new();
    for key in ["apiVersion", "kind"] {
        if let Some(value) = object.get(key) {
            out.insert(key.to_owned(), value.clone());
        }
    }
    Value::Object(out)
}

/// Settles the managed fields of a created or updated object.
#[must_use]
pub fn update(request: UpdateRequest<'_>) -> Value {
    let operation = Operation {
        shape: shape(request.types),
        ignored: update::from_names(request.reset_fields),
        subresource: request.subresource,
        api_version: request.api_version,
        time: request.time,
    };
    let mut new = request.updated;
    let empty = skeleton(&new);
    let live = request.live.unwrap_or(&empty);
    let entries = entries_for_update(live, &new, !request.subresource.is_empty());
    entries::drop_from(&mut new);
    let known = live
        .pointer("/metadata/uid")
        .and_then(Value::as_str)
        .is_some_and(|uid| !uid.is_empty());
    if entries.by_manager.is_empty() && known {
        // Nobody applies to this object: its fields stay unmanaged until someone does.
        return new;
    }
    let fits = |value: &Value| check::check(operation.shape, value, true).is_none();
    // What does not fit its schema has no fields that could be told apart: it is left without managers.
    if fits(&new) && fits(live) {
        operation
            .update(live, &new, entries, request.manager)
            .encode(&mut new);
    }
    new
}

/// The entries to go on with: those of the request, if they are good, else those of the object.
fn entries_for_update(live: &Value, new: &Value, subresource: bool) -> Entries {
    let own = || Entries::decode(live).unwrap_or_default();
    if subresource {
        return own();
    }
    // An empty list, or a list of one empty entry, clears the managed fields.
    if let Some(Value::Array(list)) = new.pointer("/metadata/managedFields") {
        let clears = match list.as_slice() {
            [] => true,
            [only] => only.as_object().is_some_and(serde_json::Map::is_empty),
            _ => false,
        };
        if clears {
            return Entries::default();
        }
    }
    match Entries::decode(new) {
        Ok(entries) if !entries.by_manager.is_empty() => entries,
        _ => own(),
    }
}

#[cfg(test)]
mod tests {
    use fluvial_schema::SchemaSet;
    use serde_json::json;

    use super::*;

    const TIME: &str = "2026-01-01T00:00:00Z";

    fn request<'a>(
        types: Option<&'a TypeRef>,
        live: Option<&'a Value>,
        applied: &'a Value,
        manager: &'a str,
    ) -> ApplyRequest<'a> {
        ApplyRequest {
            types,
            live,
            empty: None,
            applied,
            manager,
            subresource: "",
            api_version: "v1",
            time: TIME,
            force: false,
            reset_fields: &[&["status"]],
        }
    }

    fn service(ports: &Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "labels": {"a": "b"}},
            "spec": {"selector": {"app": "web"}, "ports": ports}})
    }

    #[test]
    fn an_apply_that_changes_nothing_is_seen_at_once() {
        let types = SchemaSet::builtin().kind("", "v1", "Service");
        let port = |number: u16| json!({"port": number, "protocol": "TCP", "name": format!("p{number}")});
        let wanted = service(&json!([port(80), port(443)]));
        let live = apply(&request(types.as_ref(), None, &wanted, "m")).expect("created");
        let is_unchanged = |live: &Value, wanted: &Value, manager: &str| {
            unchanged(&request(types.as_ref(), Some(live), wanted, manager))
        };
        assert!(is_unchanged(&live, &wanted, "m"));
        let mut more = live.clone();
        more["spec"]["clusterIP"] = "10.0.0.1".into();
        more["status"] = json!({"loadBalancer": {}});
        assert!(
            is_unchanged(&more, &wanted, "m"),
            "defaults and status are others'"
        );
        assert!(
            !is_unchanged(&live, &wanted, "other"),
            "another manager comes to own it"
        );
        for changed in [
            service(&json!([port(80)])),
            service(&json!([port(443), port(80)])),
            service(&json!([port(80), port(443), port(8080)])),
            service(&json!([port(80), {"port": 443, "protocol": "TCP", "name": "other"}])),
        ] {
            assert!(!is_unchanged(&live, &changed, "m"), "{changed}");
        }
        let mut fewer = wanted;
        fewer["metadata"] = json!({"name": "web"});
        assert!(!is_unchanged(&live, &fewer, "m"), "a label is given up");
    }

    #[test]
    fn others_fields_are_conflicts_unless_forced() {
        let object = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": value}});
        let types = SchemaSet::builtin().kind("", "v1", "ConfigMap");
        let live = apply(&request(types.as_ref(), None, &object("1"), "one")).expect("created");
        let wanted = object("2");
        let other = request(types.as_ref(), Some(&live), &wanted, "two");
        assert_eq!(
            apply(&other).expect_err("one owns it").to_string(),
            "Apply failed with 1 conflict: conflict with \"one\": .data.k"
        );
        let forced = apply(&ApplyRequest { force: true, ..other }).expect("forced");
        assert_eq!(forced["data"]["k"], "2");
        let owners = forced["metadata"]["managedFields"].as_array().map(Vec::len);
        assert_eq!(owners, Some(1), "one owns nothing any more");
    }
}
