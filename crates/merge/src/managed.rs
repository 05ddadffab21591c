//! Server-side apply: who manages which field, and what an apply or update does to that.

use std::fmt;

use fluvial_schema::TypeRef;
use serde_json::Value;

use self::entries::Entries;
use self::shape::Shape;
use self::update::{Operation, Stop};

mod check;
mod csa;
mod entries;
mod path;
mod reconcile;
mod set;
mod shape;
mod typed;
mod update;

pub(crate) use self::check::go_plain;
pub(crate) use self::path::equal;

/// One server-side apply.
#[derive(Clone, Debug)]
pub struct ApplyRequest<'a> {
    /// The kind's schema; `None` deduces types from values.
    pub types: Option<&'a TypeRef>,
    /// The object with its `metadata.managedFields`; `None` creates.
    pub live: Option<&'a Value>,
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
    let mut bare = live.clone();
    entries::drop_from(&mut bare);
    if let Some(error) = check::check(operation.shape, &bare, true) {
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
        .update(&skeleton(&bare), &bare, entries, "before-first-apply");
    }
    let result = operation.apply(&bare, applied, &entries, request.manager, request.force);
    let result = match result {
        Err(Stop::Conflicts(found)) if request.manager == "kubectl" => {
            match csa::migrate(operation.shape, &bare, request.api_version, found) {
                Ok(()) => operation.apply(&bare, applied, &entries, request.manager, true),
                Err(left) => Err(Stop::Conflicts(left)),
            }
        }
        other => other,
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
    let mut bare = live.clone();
    entries::drop_from(&mut bare);
    let fits = |value: &Value| check::check(operation.shape, value, true).is_none();
    let entries = if fits(&new) && fits(&bare) {
        operation.update(&bare, &new, entries, request.manager)
    } else {
        entries
    };
    entries.encode(&mut new);
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
