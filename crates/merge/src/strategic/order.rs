//! The order of merged lists: the patch's items keep the patch's order, the others the document's.

use serde_json::Value;

use super::{PATCH, no_merge_key};
use crate::error::PatchError;

/// Position of the item whose key has a value.
pub(super) fn find(list: &[Value], key: &str, value: &Value) -> Option<usize> {
    list.iter().position(|item| item.get(key) == Some(value))
}

fn position(list: &[Value], item: &Value, key: &str) -> Option<usize> {
    if key.is_empty() {
        return list.iter().position(|other| other == item);
    }
    find(list, key, item.get(key)?)
}

/// Splits items into those that another list has too, and the rest.
pub(super) fn partition(
    items: Vec<Value>,
    by: &[Value],
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    if !key.is_empty()
        && let Some(item) = items.iter().find(|item| item.get(key).is_none())
    {
        return Err(no_merge_key(item, key));
    }
    Ok(items
        .into_iter()
        .partition(|item| position(by, item, key).is_some()))
}

/// Sorts items by their places in a list; items to delete come last.
pub(super) fn sort(items: Vec<Value>, order: &[Value], key: &str) -> Result<Vec<Value>, PatchError> {
    let mut gone = Vec::new();
    let mut kept = Vec::with_capacity(items.len());
    if !key.is_empty()
        && let Some(item) = items.iter().chain(order).find(|item| item.get(key).is_none())
    {
        return Err(no_merge_key(item, key));
    }
    for item in items {
        if !key.is_empty() && item.get(PATCH).is_some_and(|kind| kind == "delete") {
            gone.push(item);
        } else {
            kept.push(item);
        }
    }
    kept.sort_by_cached_key(|item| position(order, item, key).unwrap_or(usize::MAX));
    kept.extend(gone);
    Ok(kept)
}

/// Joins the patch's items and the document's others.
pub(super) fn in_order(
    wanted: Vec<Value>,
    rest: Vec<Value>,
    wanted_order: &[Value],
    rest_order: &[Value],
    key: &str,
) -> Result<Vec<Value>, PatchError> {
    let mut wanted = sort(wanted, wanted_order, key)?.into_iter().peekable();
    let mut rest = sort(rest, rest_order, key)?.into_iter().peekable();
    let mut out = Vec::new();
    loop {
        let first = match (rest.peek(), wanted.peek()) {
            (None, None) => return Ok(out),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(own)) => {
                match (position(rest_order, other, key), position(rest_order, own, key)) {
                    (Some(other), Some(own)) => other < own,
                    _ => false,
                }
            }
        };
        out.extend(if first { rest.next() } else { wanted.next() });
    }
}
