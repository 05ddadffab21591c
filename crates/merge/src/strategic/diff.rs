//! The patch between two documents.

use fluvial_schema::Type;
use serde_json::{Map, Value, json};

use super::order::{deduplicate, sort};
use super::{DELETE_FROM, Meta, PATCH, RETAIN_KEYS, SET_ORDER, item_kind, meta, no_merge_key};
use crate::error::PatchError;
use fluvial_object::go;

/// What a patch is to hold.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    /// Leave out what is only in the modified document or differs there.
    pub(super) ignore_additions: bool,
    /// Leave out what is only in the original.
    pub(super) ignore_deletions: bool,
    /// Write `$setElementOrder`.
    pub(super) order: bool,
    /// Write `$retainKeys` here.
    pub(super) retain_keys: bool,
}

type Fields = Map<String, Value>;

pub(super) fn maps(
    original: &Fields,
    modified: &Fields,
    schema: Option<Type<'_>>,
    options: Options,
) -> Result<Fields, PatchError> {
    let mut patch = Map::new();
    for (key, value) in modified {
        match original.get(key) {
            None => {
                if !options.ignore_additions {
                    patch.insert(key.clone(), value.clone());
                }
            }
            Some(own) if key == PATCH => {
                if !own.is_string() || !value.is_string() {
                    return Err(PatchError::new(format!("invalid value for special key: {PATCH}")));
                }
                if own != value {
                    patch.insert(key.clone(), value.clone());
                }
            }
            Some(own) => field(key, own, value, schema, options, &mut patch)?,
        }
    }
    if !options.ignore_deletions {
        for key in original.keys() {
            if !modified.contains_key(key) {
                patch.insert(key.clone(), Value::Null);
            }
        }
    }
    if options.retain_keys {
        let gone = original
            .iter()
            .any(|(key, value)| !value.is_null() && !modified.contains_key(key));
        let keys: Vec<&String> = modified
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, _)| key)
            .collect();
        if !keys.is_empty() && (!patch.is_empty() || gone) {
            patch.insert(RETAIN_KEYS.to_owned(), json!(keys));
        }
    }
    Ok(patch)
}

fn field(
    key: &str,
    own: &Value,
    value: &Value,
    schema: Option<Type<'_>>,
    mut options: Options,
    patch: &mut Fields,
) -> Result<(), PatchError> {
    let alike = matches!(
        (own, value),
        (Value::Object(_), Value::Object(_)) | (Value::Array(_), Value::Array(_))
    );
    let found = if alike {
        match meta(schema, key, value.is_array()) {
            // What no type is known of may stay as it is.
            Err(_) if own == value => return Ok(()),
            found => found?,
        }
    } else {
        Meta::default()
    };
    match (own, value) {
        (Value::Object(own), Value::Object(value)) => {
            options.retain_keys = found.retain_keys;
            if found.replace {
                if !options.ignore_additions {
                    patch.insert(key.to_owned(), Value::Object(value.clone()));
                }
                return Ok(());
            }
            let below = maps(own, value, found.schema, options)?;
            if !below.is_empty() {
                patch.insert(key.to_owned(), Value::Object(below));
            }
        }
        (Value::Array(own), Value::Array(items)) if found.merge => {
            options.retain_keys = found.retain_keys;
            let found = lists(own, items, &found, options)?;
            let named = [
                (key.to_owned(), found.changes),
                (format!("{DELETE_FROM}/{key}"), found.gone),
                (format!("{SET_ORDER}/{key}"), found.order),
            ];
            for (name, list) in named {
                if !list.is_empty() {
                    patch.insert(name, Value::Array(list));
                }
            }
        }
        _ => {
            if !options.ignore_additions && own != value {
                patch.insert(key.to_owned(), value.clone());
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Lists {
    changes: Vec<Value>,
    gone: Vec<Value>,
    order: Vec<Value>,
}

fn lists(
    original: &[Value],
    modified: &[Value],
    meta: &Meta<'_>,
    options: Options,
) -> Result<Lists, PatchError> {
    if original.is_empty() {
        let changes = if options.ignore_additions {
            vec![]
        } else {
            modified.to_vec()
        };
        return Ok(Lists {
            changes,
            ..Lists::default()
        });
    }
    if !item_kind(&[original, modified])? {
        return scalars(original, modified, options);
    }
    let (changes, gone) = items(original, modified, meta, options)?;
    let mut changes = sort(changes, modified, meta.key)?;
    let same_order = original.len() == modified.len()
        && original
            .iter()
            .zip(modified)
            .all(|(a, b)| a.get(meta.key) == b.get(meta.key));
    changes.extend(gone);
    let moved = !options.ignore_additions && (!changes.is_empty() || !same_order);
    let fewer = !options.ignore_deletions && !changes.is_empty();
    let order = if options.order && (moved || fewer) {
        let keys = modified.iter().map(|item| {
            let value = item.get(meta.key).ok_or_else(|| no_merge_key(item, meta.key))?;
            Ok(json!({ meta.key: value }))
        });
        keys.collect::<Result<_, PatchError>>()?
    } else {
        vec![]
    };
    Ok(Lists {
        changes,
        gone: vec![],
        order,
    })
}

/// Plain items, compared as sorted by their texts.
fn scalars(original: &[Value], modified: &[Value], options: Options) -> Result<Lists, PatchError> {
    let sorted = |list: &[Value]| {
        let mut out: Vec<(String, Value)> = list.iter().map(|item| (go::plain(item), item.clone())).collect();
        out.sort_by(|a, b| a.0.cmp(&b.0));
        out
    };
    let (left, right) = (sorted(original), sorted(modified));
    let (mut l, mut r) = (0, 0);
    let mut out = Lists::default();
    while l < left.len() || r < right.len() {
        match (left.get(l), right.get(r)) {
            (Some(a), Some(b)) if a.0 == b.0 => {
                l += 1;
                r += 1;
            }
            (Some(a), b) if b.is_none_or(|b| a.0 < b.0) => {
                if !options.ignore_deletions {
                    out.gone.push(a.1.clone());
                }
                l += 1;
            }
            (_, b) => {
                if !options.ignore_additions {
                    out.changes.extend(b.map(|b| b.1.clone()));
                }
                r += 1;
            }
        }
    }
    out.changes = sort(out.changes, modified, "")?;
    deduplicate(&mut out.gone);
    let fewer = !options.ignore_deletions && !out.gone.is_empty();
    // The reference has sorted the original in its place by now: a list that is not in the order of
    // its texts counts as moved.
    let moved = !left.iter().map(|(_, item)| item).eq(modified);
    if options.order && (fewer || (!options.ignore_additions && moved)) {
        out.order = modified.to_vec();
    }
    Ok(out)
}

/// Items by merge key: what changes, and what is to be deleted.
fn items(
    original: &[Value],
    modified: &[Value],
    meta: &Meta<'_>,
    options: Options,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let sorted = |list: &[Value]| -> Result<Vec<(String, Value)>, PatchError> {
        let keyed = list.iter().map(|item| {
            let value = item.get(meta.key).ok_or_else(|| no_merge_key(item, meta.key))?;
            Ok((go::plain(value), item.clone()))
        });
        let mut out = keyed.collect::<Result<Vec<_>, PatchError>>()?;
        out.sort_by(|a, b| a.0.cmp(&b.0));
        // Items of one key come the other way round.
        out.chunk_by_mut(|a, b| a.0 == b.0).for_each(<[_]>::reverse);
        Ok(out)
    };
    let (left, right) = (sorted(original)?, sorted(modified)?);
    let (mut l, mut r) = (0, 0);
    let (mut changes, mut gone) = (Vec::new(), Vec::new());
    while l < left.len() || r < right.len() {
        match (left.get(l), right.get(r)) {
            (Some(a), Some(b)) if a.0 == b.0 => {
                if let (Value::Object(own), Value::Object(value)) = (&a.1, &b.1) {
                    let mut below = maps(own, value, meta.schema, options)?;
                    if !below.is_empty() {
                        below.insert(meta.key.to_owned(), b.1[meta.key].clone());
                        changes.push(Value::Object(below));
                    }
                }
                l += 1;
                r += 1;
            }
            (Some(a), b) if b.is_none_or(|b| a.0 < b.0) => {
                if !options.ignore_deletions {
                    gone.push(json!({ meta.key: a.1[meta.key], PATCH: "delete" }));
                }
                l += 1;
            }
            (_, b) => {
                if !options.ignore_additions {
                    changes.extend(b.map(|b| b.1.clone()));
                }
                r += 1;
            }
        }
    }
    Ok((changes, gone))
}
