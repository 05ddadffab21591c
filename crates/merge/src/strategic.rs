//! Strategic merge patch: merge patch that knows lists by key, with directives in the patch.
//!
//! Directives: `$patch` (`replace`, `delete`), `$retainKeys`, `$setElementOrder/FIELD` and
//! `$deleteFromPrimitiveList/FIELD`.

use fluvial_object::go;
use fluvial_schema::{Type, TypeRef};
use serde_json::{Map, Value};

use crate::error::PatchError;

mod conflict;
mod diff;
mod merge;
mod order;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";

/// What a field's schema says about merging it.
#[derive(Clone, Copy, Debug, Default)]
struct Meta<'a> {
    /// Schema of the field, or of the items if it is a list.
    schema: Option<Type<'a>>,
    retain_keys: bool,
    merge: bool,
    replace: bool,
    key: &'a str,
}

fn meta<'a>(schema: Option<Type<'a>>, name: &str, list: bool) -> Meta<'a> {
    let Some(field) = schema.and_then(|schema| schema.field(name)) else {
        return Meta::default();
    };
    let mut out = Meta {
        schema: if list { field.items() } else { Some(field) },
        key: field.patch_merge_key().unwrap_or_default(),
        ..Meta::default()
    };
    for strategy in field.patch_strategy().unwrap_or_default().split(',') {
        match strategy {
            "retainKeys" => out.retain_keys = true,
            "merge" => out.merge = true,
            "replace" => out.replace = true,
            _ => {}
        }
    }
    out
}

fn no_merge_key(item: &Value, key: &str) -> PatchError {
    PatchError::new(format!(
        "map: {} does not contain declared merge key: {key}",
        go::plain(item)
    ))
}

/// What the items of two lists are; they must all be alike, and no lists.
fn item_kind(one: &[Value], other: &[Value]) -> Result<bool, PatchError> {
    let mut items = one.iter().chain(other);
    let Some(first) = items.next() else {
        return Ok(false);
    };
    if first.is_array() {
        return Err(PatchError::new("lists of lists are not supported"));
    }
    if items.any(|item| std::mem::discriminant(first) != std::mem::discriminant(item)) {
        let shown = Value::Array(vec![one.to_vec().into(), other.to_vec().into()]);
        return Err(PatchError::new(format!(
            "list element types are not identical: {}",
            go::plain(&shown)
        )));
    }
    Ok(first.is_object())
}

fn object(value: &Value) -> Result<&Map<String, Value>, PatchError> {
    value
        .as_object()
        .ok_or_else(|| PatchError::new("invalid JSON document"))
}

/// Applies a strategic merge patch. Without types, lists are replaced.
///
/// # Errors
/// If a directive is malformed, or a list item lacks its merge key.
pub fn apply(original: Value, patch: &Value, types: Option<&TypeRef>) -> Result<Value, PatchError> {
    let patch = object(patch)?.clone();
    let Value::Object(original) = original else {
        return Err(PatchError::new("invalid JSON document"));
    };
    let merged = merge::maps(original, patch, types.map(TypeRef::view), merge::Mode::Document)?;
    Ok(Value::Object(merged))
}

/// The strategic patch that makes `modified` from `original`.
///
/// # Errors
/// If a list item lacks its merge key.
pub fn diff(original: &Value, modified: &Value, types: Option<&TypeRef>) -> Result<Value, PatchError> {
    let options = diff::Options {
        order: true,
        ..diff::Options::default()
    };
    let patch = diff::maps(
        object(original)?,
        object(modified)?,
        types.map(TypeRef::view),
        options,
    )?;
    Ok(Value::Object(patch))
}

/// The strategic patch that turns `current` into `modified`, removing what `original` had and
/// `modified` has not. With `overwrite`, others' changes of the same fields are no error.
///
/// # Errors
/// If a list item lacks its merge key, or others changed the same fields.
pub fn diff3(
    original: &Value,
    modified: &Value,
    current: &Value,
    types: Option<&TypeRef>,
    overwrite: bool,
) -> Result<Value, PatchError> {
    let schema = types.map(TypeRef::view);
    let (original, modified, current) = (object(original)?, object(modified)?, object(current)?);
    let additions = diff::Options {
        order: true,
        ignore_deletions: true,
        ..diff::Options::default()
    };
    let deletions = diff::Options {
        order: true,
        ignore_additions: true,
        ..diff::Options::default()
    };
    let delta = diff::maps(current, modified, schema, additions)?;
    let gone = diff::maps(original, modified, schema, deletions)?;
    let patch = merge::maps(gone, delta, schema, merge::Mode::Patches)?;
    if !overwrite {
        let changed = diff::maps(original, current, schema, diff::Options::default())?;
        if conflict::in_maps(&patch, &changed, schema)? {
            return Err(PatchError::new(format!(
                "patch:\n{}\nconflicts with changes made from original to current:\n{}\n",
                Value::Object(patch),
                Value::Object(changed)
            )));
        }
    }
    Ok(Value::Object(patch))
}
