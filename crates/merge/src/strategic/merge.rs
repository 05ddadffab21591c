//! Merging a patch into a document, or a patch into another patch.

use fluvial_object::go;
use fluvial_schema::Type;
use serde_json::{Map, Value};

use super::order::{find, in_order, partition};
use super::{DELETE_FROM, Meta, PATCH, RETAIN_KEYS, SET_ORDER, item_kind, meta, no_merge_key};
use crate::error::PatchError;

/// What the left side is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A document: directives are carried out, nulls remove.
    Document,
    /// Another patch: directives and nulls are kept.
    Patches,
}

type Fields = Map<String, Value>;

/// Merges `patch` into `original`.
pub(super) fn maps(
    mut original: Fields,
    mut patch: Fields,
    schema: Option<Type<'_>>,
    mode: Mode,
) -> Result<Fields, PatchError> {
    match patch.get(PATCH) {
        None => {}
        Some(Value::String(text)) if text == "replace" => {
            patch.remove(PATCH);
            return Ok(patch);
        }
        Some(Value::String(text)) if text == "delete" => return Ok(Map::new()),
        Some(other) => return Err(bad_patch_type(&other.clone(), &Value::Object(patch))),
    }
    retain_keys(&mut original, &mut patch, mode)?;
    set_orders(&mut original, &mut patch, schema, mode)?;
    for (key, value) in patch {
        let mut name = key.as_str();
        let mut deletes = false;
        if key.starts_with(DELETE_FROM) {
            if mode == Mode::Patches {
                original.insert(key, value);
                continue;
            }
            name = field_of(&key, DELETE_FROM)?;
            deletes = true;
        }
        if value.is_null() {
            original.remove(name);
            if mode == Mode::Document {
                continue;
            }
        }
        let merged = match (original.remove(name), value) {
            (Some(Value::Object(own)), Value::Object(value)) => {
                let meta = meta(schema, name, false);
                Some(Value::Object(if meta.replace {
                    value
                } else {
                    maps(own, value, meta.schema, mode)?
                }))
            }
            (Some(Value::Array(own)), Value::Array(value)) => {
                let meta = meta(schema, name, true);
                Some(Value::Array(if meta.merge || deletes {
                    lists(own, value, &meta, mode, deletes)?
                } else {
                    value
                }))
            }
            (own, _) if deletes => own,
            (Some(own), value) if same_kind(&own, &value) => Some(value),
            (_, mut value) => {
                if mode == Mode::Document {
                    drop_nulls(&mut value);
                    without_directives(value)
                } else {
                    Some(value)
                }
            }
        };
        if let Some(merged) = merged {
            original.insert(name.to_owned(), merged);
        }
    }
    Ok(original)
}

fn same_kind(a: &Value, b: &Value) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

fn bad_patch_type(kind: &Value, map: &Value) -> PatchError {
    let plain = go::plain;
    PatchError::new(format!(
        "unknown patch type: {} in map: {}",
        plain(kind),
        plain(map)
    ))
}

/// The field that a directive such as `$setElementOrder/ports` is about.
fn field_of<'k>(key: &'k str, directive: &str) -> Result<&'k str, PatchError> {
    match key.split('/').collect::<Vec<_>>().as_slice() {
        [prefix, name] if *prefix == directive => Ok(name),
        _ => Err(PatchError::new(format!(
            "invalid patch format of {}",
            directive.trim_start_matches('$')
        ))),
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// The value without maps that hold a directive.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) => {
            if map.contains_key(PATCH) {
                return None;
            }
            let kept = map
                .into_iter()
                .filter_map(|(key, value)| Some((key, without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(list) => Some(Value::Array(
            list.into_iter().filter_map(without_directives).collect(),
        )),
        other => Some(other),
    }
}

/// `$retainKeys`: fields that are not named go.
fn retain_keys(original: &mut Fields, patch: &mut Fields, mode: Mode) -> Result<(), PatchError> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let bad = || PatchError::new("invalid patch format of retainKeys");
    if mode == Mode::Patches {
        if original.get(RETAIN_KEYS).is_some_and(|own| *own != keys) {
            return Err(bad());
        }
        original.insert(RETAIN_KEYS.to_owned(), keys);
        return Ok(());
    }
    let keys = keys.as_array().ok_or_else(bad)?;
    let kept = |name: &str| keys.iter().any(|key| key == name);
    for (name, value) in patch.iter() {
        let directive = name.starts_with(DELETE_FROM) || name.starts_with(SET_ORDER);
        if !value.is_null() && !directive && !kept(name) {
            return Err(bad());
        }
    }
    original.retain(|name, _| kept(name));
    Ok(())
}

/// `$setElementOrder/FIELD`: merges these lists at once, and puts them into the wanted order.
fn set_orders(
    original: &mut Fields,
    patch: &mut Fields,
    schema: Option<Type<'_>>,
    mode: Mode,
) -> Result<(), PatchError> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|key| key.starts_with(SET_ORDER))
        .cloned()
        .collect();
    for key in directives {
        let Some(order) = patch.remove(&key) else { continue };
        let bad = || PatchError::new("invalid patch format of setElementOrder list");
        if mode == Mode::Patches {
            if original.get(&key).is_some_and(|own| *own != order) {
                return Err(bad());
            }
            original.insert(key.clone(), order.clone());
        }
        let Value::Array(order) = order else {
            return Err(bad());
        };
        let name = field_of(&key, SET_ORDER)?;
        let meta = meta(schema, name, true);
        let list = |value: Option<Value>| match value {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(PatchError::new(format!("{name} is no list"))),
        };
        let own = list(original.get(name).cloned())?;
        let new = list(patch.remove(name))?;
        let mut server_order = own.clone().unwrap_or_default();
        if let Some(new) = &new {
            order_fits(new, &order, meta.key)?;
        }
        let maps = item_kind(
            own.as_deref().unwrap_or_default(),
            new.as_deref().unwrap_or_default(),
        )?;
        let merged = match (own, new) {
            (None, None) => continue,
            (Some(own), None) => own,
            (None, Some(new)) => new.into_iter().filter_map(without_directives).collect(),
            (Some(own), Some(new)) if meta.merge => {
                if maps {
                    overwrite_gaps(&mut server_order, &new, meta.key);
                }
                lists(own, new, &meta, mode, false)?
            }
            (Some(_), Some(new)) => new,
        };
        let key = if maps { meta.key } else { "" };
        let (wanted, rest) = partition(merged, &order, key)?;
        let merged = in_order(wanted, rest, &order, &server_order, key)?;
        original.insert(name.to_owned(), Value::Array(merged));
    }
    Ok(())
}

/// The document's order as the reference sees it once it has merged: items that are added take
/// the places, at the end, of items that were deleted.
fn overwrite_gaps(order: &mut [Value], patch: &[Value], key: &str) {
    let directive = |item: &Value, kind: &str| item.get(PATCH).is_some_and(|own| own == kind);
    let mut len = order.len();
    for item in patch.iter().filter(|item| directive(item, "delete")) {
        let Some(value) = item.get(key) else { continue };
        while let Some(at) = find(&order[..len], key, value) {
            order[at..len].rotate_left(1);
            // What is shifted leaves a copy of the last item behind.
            len -= 1;
            if len > 0 {
                order[len] = order[len - 1].clone();
            }
        }
    }
    if patch.iter().any(|item| directive(item, "replace")) {
        return;
    }
    for item in patch.iter().filter(|item| item.get(PATCH).is_none()) {
        let known = item
            .get(key)
            .is_some_and(|value| find(&order[..len], key, value).is_some());
        if !known && len < order.len() {
            order[len] = item.clone();
            len += 1;
        }
    }
}

/// The patch's items must come in the order that the directive gives.
fn order_fits(items: &[Value], order: &[Value], key: &str) -> Result<(), PatchError> {
    let mut rest = order.iter();
    for item in items {
        if item.get(PATCH).is_some_and(|kind| kind == "delete") {
            continue;
        }
        let same = |other: &Value| {
            if key.is_empty() {
                item == other
            } else {
                item.get(key) == other.get(key)
            }
        };
        if !rest.any(same) {
            let show = |list: &[Value]| go::plain(&Value::Array(list.to_vec()));
            return Err(PatchError::new(format!(
                "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
                show(items),
                show(order)
            )));
        }
    }
    Ok(())
}

/// Merges two lists whose field has the merge strategy, or removes the patch's plain items.
fn lists(
    original: Vec<Value>,
    patch: Vec<Value>,
    meta: &Meta<'_>,
    mode: Mode,
    deletes: bool,
) -> Result<Vec<Value>, PatchError> {
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    if !item_kind(&original, &patch)? {
        if deletes && mode == Mode::Document {
            return Ok(original
                .into_iter()
                .filter(|item| !patch.contains(item))
                .collect());
        }
        let mut merged: Vec<Value> = Vec::with_capacity(original.len() + patch.len());
        for item in original.iter().chain(&patch) {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        let (wanted, rest) = partition(merged, &patch, "")?;
        return in_order(wanted, rest, &patch, &original, "");
    }
    if meta.key.is_empty() {
        return Err(PatchError::new("cannot merge lists without merge key"));
    }
    let (original, patch) = carry_out(original, patch, meta.key)?;
    let mut merged = original.clone();
    for item in &patch {
        let value = item.get(meta.key).ok_or_else(|| no_merge_key(item, meta.key))?;
        let at = find(&merged, meta.key, value);
        match (at, item) {
            (Some(at), Value::Object(fields)) => {
                if let Value::Object(own) = merged[at].take() {
                    merged[at] = Value::Object(maps(own, fields.clone(), meta.schema, mode)?);
                }
            }
            _ => merged.push(item.clone()),
        }
    }
    let (wanted, rest) = partition(merged, &patch, meta.key)?;
    in_order(wanted, rest, &patch, &original, meta.key)
}

/// Carries out `$patch` in list items: both lists without what that removes.
fn carry_out(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut plain = Vec::with_capacity(patch.len());
    let mut replaces = false;
    for item in patch {
        match item.get(PATCH) {
            None => plain.push(item),
            Some(kind) if kind == "delete" => {
                let value = item.get(key).ok_or_else(|| no_merge_key(&item, key))?;
                original.retain(|own| own.get(key) != Some(value));
            }
            Some(kind) if kind == "replace" => replaces = true,
            Some(kind) if kind == "merge" => {
                return Err(PatchError::new(
                    "merging lists cannot yet be specified in the patch",
                ));
            }
            Some(kind) => return Err(bad_patch_type(kind, &item)),
        }
    }
    Ok(if replaces {
        (plain, Vec::new())
    } else {
        (original, plain)
    })
}
