//! Server-side apply: who manages which field, and what an apply or update does to that.

use std::fmt;

use fluvial_schema::TypeRef;
use serde_json::Value;

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

/// Applies; the result has its managed fields and equals the live object if nothing changes.
///
/// # Errors
/// Conflicts with other managers, or an object that does not fit its schema.
pub fn apply(request: &ApplyRequest<'_>) -> Result<Value, ApplyError> {
    let mut out = request
        .live
        .cloned()
        .unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    crate::merge_patch::apply(&mut out, request.applied)
        .map_err(|error| ApplyError::Typed(error.to_string()))?;
    Ok(out)
}

/// Settles the managed fields of a created or updated object.
#[must_use]
pub fn update(request: UpdateRequest<'_>) -> Value {
    request.updated
}
