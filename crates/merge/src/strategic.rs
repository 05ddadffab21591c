//! Strategic merge patch: merge patch that knows lists by key, with directives in the patch.
//!
//! Directives: `$patch` (`replace`, `delete`), `$retainKeys`, `$setElementOrder/FIELD` and
//! `$deleteFromPrimitiveList/FIELD`.

use fluvial_object::go;
use fluvial_schema::{Base, Type, TypeRef, quote};
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

/// What is known of a field of a struct. An error if the type has no such field; no types, no error.
fn meta<'a>(schema: Option<Type<'a>>, name: &str, list: bool) -> Result<Meta<'a>, PatchError> {
    let Some(schema) = schema else {
        return Ok(Meta::default());
    };
    let field = field(schema, name)?;
    let mut out = Meta {
        schema: Some(field),
        key: field.patch_merge_key().unwrap_or_default(),
        ..Meta::default()
    };
    if list {
        let items = field.items().ok_or_else(|| {
            // Texts of bytes are lists too, of no interest to anybody.
            PatchError::new("expected slice or array type, but got: struct")
        })?;
        if items.base() == Base::Array {
            return Err(PatchError::new("unexpected slice of slice"));
        }
        out.schema = Some(items);
    }
    for strategy in field.patch_strategy().unwrap_or_default().split(',') {
        match strategy {
            "retainKeys" => out.retain_keys = true,
            "merge" => out.merge = true,
            "replace" => out.replace = true,
            _ => {}
        }
    }
    Ok(out)
}

/// The field of a struct, its name in any case if none fits as it is.
fn field<'a>(schema: Type<'a>, name: &str) -> Result<Type<'a>, PatchError> {
    if let Some(field) = schema.own_field(name) {
        return Ok(field);
    }
    if !schema.has_fields() {
        let kind = match schema.base() {
            Base::Object if schema.additional().is_some() => "map",
            Base::String if schema.name().is_none() => "string",
            Base::Array => "slice",
            Base::Boolean => "bool",
            Base::Integer => schema.format().unwrap_or("int64"),
            _ => "struct",
        };
        if kind != "struct" {
            return Err(PatchError::new(format!(
                "merging an object in json but data type is not struct, instead is: {kind}"
            )));
        }
    }
    let mut fields = schema.fields();
    let found = fields.find(|(own, _)| own.eq_ignore_ascii_case(name));
    found.map(|(_, field)| field).ok_or_else(|| {
        let full = schema.name().unwrap_or_default();
        let own = full.rsplit('.').next().unwrap_or_default();
        PatchError::new(format!(
            "unable to find api field in struct {own} for the json field {}",
            quote(name)
        ))
    })
}

fn no_merge_key(item: &Value, key: &str) -> PatchError {
    // A value that is no map fails before anybody looks for its key.
    if !item.is_object() {
        return bad_argument("map[string]interface {}", item);
    }
    PatchError::new(format!(
        "map: {} does not contain declared merge key: {key}",
        go::plain(item)
    ))
}

/// An argument of the wrong type, which the reference prints by the verb for texts.
fn bad_argument(wanted: &str, got: &Value) -> PatchError {
    let got = if got.is_null() {
        "%!s(<nil>)"
    } else {
        go::type_name(got)
    };
    PatchError::new(format!("expected a {wanted}, but received a {got}"))
}

/// What the items of lists are: whether maps. They must all be alike, and no lists; there must be one.
fn item_kind(lists: &[&[Value]]) -> Result<bool, PatchError> {
    let mut items = lists.iter().copied().flatten();
    let Some(first) = items.next() else {
        return Err(PatchError::new("no elements in any of the given slices"));
    };
    if first.is_array() {
        return Err(PatchError::new("lists of lists are not supported"));
    }
    // The reference crashes at a null that comes first.
    if first.is_null() || items.any(|item| go::type_name(first) != go::type_name(item)) {
        let shown = Value::Array(lists.iter().map(|list| list.to_vec().into()).collect());
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

#[cfg(test)]
mod tests {
    use super::*;
    use fluvial_schema::SchemaSet;
    use serde_json::json;

    fn pod() -> Option<TypeRef> {
        SchemaSet::builtin().kind("", "v1", "Pod")
    }

    fn error(original: Value, patch: &Value) -> String {
        apply(original, patch, pod().as_ref()).unwrap_err().to_string()
    }

    #[test]
    fn fields_that_no_type_has_are_errors_once_they_are_to_be_merged() {
        let odd = json!({"spec": {"odd": {"a": 1}}});
        let want = r#"unable to find api field in struct PodSpec for the json field "odd""#;
        assert_eq!(error(odd.clone(), &odd), want);
        assert_eq!(apply(json!({"spec": {}}), &odd, pod().as_ref()), Ok(odd.clone()));
        // What stays as it is makes no patch.
        assert_eq!(diff(&odd, &odd, pod().as_ref()), Ok(json!({})));
        let other = json!({"spec": {"odd": {"a": 2}}});
        assert_eq!(diff(&odd, &other, pod().as_ref()).unwrap_err().to_string(), want);
        let labels = json!({"metadata": {"labels": {"a": {"b": "c"}}}});
        let want = "merging an object in json but data type is not struct, instead is: map";
        assert_eq!(error(labels.clone(), &labels), want);
    }

    #[test]
    fn directives_of_wrong_types_are_named_with_the_types() {
        let patch = json!({"spec": {"$setElementOrder/containers": "a"}});
        let want = "expected a []interface {}, but received a string";
        assert_eq!(error(json!({"spec": {}}), &patch), want);
        let patch = json!({"spec": {"$patch": null}});
        let want = "unknown patch type: %!s(<nil>) in map: map[$patch:<nil>]";
        assert_eq!(error(json!({"spec": {}}), &patch), want);
        let patch = json!({"spec": {"$setElementOrder/containers": []}});
        let want = "no elements in any of the given slices";
        assert_eq!(error(json!({"spec": {"containers": []}}), &patch), want);
    }

    #[test]
    fn a_list_of_texts_out_of_their_order_counts_as_moved() {
        let own = json!({"metadata": {"finalizers": ["b", "a"]}});
        let want = json!({"metadata": {"$setElementOrder/finalizers": ["b", "a"]}});
        assert_eq!(diff(&own, &own, pod().as_ref()), Ok(want));
    }

    #[test]
    fn what_is_removed_twice_is_named_once_and_the_last_takes_its_place() {
        let own = json!({"metadata": {"finalizers": ["a", "a", "b", "c", "d"]}});
        let new = json!({"metadata": {"finalizers": ["d"]}});
        let patch = diff(&own, &new, pod().as_ref()).unwrap_or_default();
        let gone = &patch["metadata"]["$deleteFromPrimitiveList/finalizers"];
        assert_eq!(gone, &json!(["a", "c", "b"]));
    }

    #[test]
    fn maps_that_ask_for_their_own_deletion_are_in_no_patch() {
        let own = json!({"metadata": {}});
        let new = json!({"metadata": {"labels": {"$patch": "delete"}, "name": "a"}});
        let patch = diff3(&own, &new, &own, pod().as_ref(), true);
        assert_eq!(patch, Ok(json!({"metadata": {"name": "a"}})));
    }
}
