//! Whether two patches of one document change the same fields differently.

use std::collections::BTreeMap;

use fluvial_schema::Type;
use serde_json::{Map, Value};

use super::order::deduplicate;
use super::{Meta, PATCH, RETAIN_KEYS, item_kind, meta, no_merge_key};
use crate::error::PatchError;
use fluvial_object::go;

type Fields = Map<String, Value>;

pub(super) fn in_maps(left: &Fields, right: &Fields, schema: Option<Type<'_>>) -> Result<bool, PatchError> {
    // A directive is about the whole map.
    if left.get(PATCH) != right.get(PATCH) {
        return Ok(true);
    }
    for (key, value) in left {
        if key == PATCH || key == RETAIN_KEYS {
            continue;
        }
        if let Some(other) = right.get(key) {
            let meta = if value.is_array() || value.is_object() {
                meta(schema, key, value.is_array())?
            } else {
                Meta::default()
            };
            if in_values(value, other, &meta)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn in_values(left: &Value, right: &Value, meta: &Meta<'_>) -> Result<bool, PatchError> {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) if meta.replace => {
            Ok(left.get(PATCH) != right.get(PATCH))
        }
        (Value::Object(left), Value::Object(right)) => in_maps(left, right, meta.schema),
        (Value::Array(left), Value::Array(right)) => in_lists(left, right, meta),
        _ => Ok(left != right),
    }
}

fn in_lists(left: &[Value], right: &[Value], meta: &Meta<'_>) -> Result<bool, PatchError> {
    let of_maps = item_kind(&[left, right])?;
    if meta.merge {
        if !of_maps {
            return Ok(false);
        }
        let (left, right) = (by_key(left, meta.key)?, by_key(right, meta.key)?);
        for (key, value) in left {
            if let (Value::Object(value), Some(Value::Object(other))) = (value, right.get(&key))
                && in_maps(value, other, meta.schema)?
            {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    let sorted = |list: &[Value]| {
        let mut out = list.to_vec();
        if !of_maps {
            deduplicate(&mut out);
            out.sort_by_cached_key(go::plain);
        }
        out
    };
    if left.len() != right.len() {
        return Ok(true);
    }
    let (left, right) = (sorted(left), sorted(right));
    let item = Meta {
        schema: meta.schema,
        ..Meta::default()
    };
    for (left, right) in left.iter().zip(&right) {
        if in_values(left, right, &item)? {
            return Ok(true);
        }
    }
    Ok(left.len() != right.len())
}

fn by_key<'v>(list: &'v [Value], key: &str) -> Result<BTreeMap<String, &'v Value>, PatchError> {
    let keyed = list.iter().map(|item| {
        let value = item.get(key).ok_or_else(|| no_merge_key(item, key))?;
        Ok((go::plain(value), item))
    });
    keyed.collect()
}
