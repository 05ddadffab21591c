//! Merging a patch into a document, or a patch into another patch.

use fluvial_object::go;
use fluvial_schema::Type;
use serde_json::{Map, Value};

use super::order::{deduplicate, find, in_order, partition};
use super::{DELETE_FROM, Meta, PATCH, RETAIN_KEYS, SET_ORDER, bad_argument, item_kind, meta, no_merge_key};
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
                let meta = meta(schema, name, false)?;
                Some(Value::Object(if meta.replace {
                    value
                } else {
                    maps(own, value, meta.schema, mode)?
                }))
            }
            (Some(Value::Array(own)), Value::Array(value)) => {
                let meta = meta(schema, name, true)?;
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
                }
                without_directives(value)
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
    PatchError::new(format!(
        "unknown patch type: {} in map: {}",
        go::as_text(kind),
        go::plain(map)
    ))
}

/// The field that a directive such as `$setElementOrder/ports` is about.
fn field_of<'k>(key: &'k str, directive: &str) -> Result<&'k str, PatchError> {
    match key.split_once('/') {
        Some((prefix, name)) if prefix == directive => Ok(name),
        _ if directive == DELETE_FROM => Err(PatchError::new("invalid patch format of primitive list")),
        _ => Err(PatchError::new("invalid patch format of setElementOrder list")),
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
        if let Some(own) = original.get(RETAIN_KEYS)
            && *own != keys
        {
            return Err(PatchError::new(format!(
                "{} and {} are not deep equal: this may happen when calculating the 3-way diff patch",
                go::plain(own),
                go::plain(&keys)
            )));
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
        let list = |value: Value| match value {
            Value::Array(list) => Ok(list),
            other => Err(bad_argument("[]interface {}", &other)),
        };
        let order = list(order)?;
        let name = field_of(&key, SET_ORDER)?;
        let own = original.get(name).cloned().map(list).transpose()?;
        let new = patch.remove(name).map(list).transpose()?;
        let meta = meta(schema, name, true)?;
        let mut server_order = own.clone().unwrap_or_default();
        if let Some(new) = &new {
            order_fits(new, &order, meta.key)?;
        }
        let kind = item_kind(&[
            own.as_deref().unwrap_or_default(),
            new.as_deref().unwrap_or_default(),
        ]);
        let merged = match (own, new) {
            (None, None) => continue,
            (Some(own), None) => own,
            (None, Some(new)) => new.into_iter().filter_map(without_directives).collect(),
            (Some(own), Some(new)) if meta.merge => {
                match &kind {
                    Ok(true) => overwrite_gaps(&mut server_order, &new, meta.key),
                    Ok(false) => server_order = united(server_order, &new).1,
                    Err(_) => {}
                }
                lists(own, new, &meta, mode, false)?
            }
            (Some(_), Some(new)) => new,
        };
        let (wanted, rest) = partition(merged, &order, meta.key)?;
        let key = if kind? { meta.key } else { "" };
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
    if items.is_empty() || order.is_empty() {
        return Ok(());
    }
    if !key.is_empty()
        && let Some(item) = items.iter().find(|item| !item.is_object())
    {
        return Err(no_merge_key(item, key));
    }
    let same = |item: &Value, other: &Value| {
        if key.is_empty() {
            return Ok(item == other);
        }
        let value = |of: &Value| of.get(key).cloned().ok_or_else(|| no_merge_key(of, key));
        if !other.is_object() {
            return Err(no_merge_key(other, key));
        }
        Ok(value(item)? == value(other)?)
    };
    let mut kept = items
        .iter()
        .filter(|item| key.is_empty() || item.get(PATCH).is_none_or(|kind| kind != "delete"))
        .peekable();
    let mut rest = order.iter();
    // A directive that comes when the order has ended counts as an item out of order.
    while let (Some(item), false) = (kept.peek(), rest.as_slice().is_empty()) {
        if item.get(PATCH).is_some() {
            kept.next();
            continue;
        }
        let Some(other) = rest.next() else { break };
        if same(item, other)? {
            kept.next();
        }
    }
    if kept.peek().is_none() {
        return Ok(());
    }
    let show = |list: &[Value]| go::plain(&Value::Array(list.to_vec()));
    Err(PatchError::new(format!(
        "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
        show(items),
        show(order)
    )))
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
    if !item_kind(&[&original, &patch])? {
        if deletes && mode == Mode::Document {
            return Ok(original
                .into_iter()
                .filter(|item| !patch.contains(item))
                .collect());
        }
        let (merged, original) = united(original, &patch);
        let (wanted, rest) = partition(merged, &patch, meta.key)?;
        return in_order(wanted, rest, &patch, &original, "");
    }
    if meta.key.is_empty() {
        return Err(PatchError::new("cannot merge lists without merge key for struct"));
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

/// The values of two lists, each once, and the first list as it is then: where its memory had room
/// for both, the reference has changed it.
fn united(original: Vec<Value>, patch: &[Value]) -> (Vec<Value>, Vec<Value>) {
    let length = original.len();
    let room = if length == 0 {
        0
    } else {
        length.next_power_of_two()
    };
    let mut own = original.clone();
    let mut merged = original;
    merged.extend_from_slice(patch);
    if merged.len() <= room {
        let all = merged.clone();
        deduplicate(&mut merged);
        for (at, place) in own.iter_mut().enumerate() {
            let kept = merged.get(at).or_else(|| all.get(at));
            place.clone_from(kept.unwrap_or(&Value::Null));
        }
    } else {
        deduplicate(&mut merged);
    }
    (merged, own)
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
