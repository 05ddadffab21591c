//! The order of merged lists: the patch's items keep the patch's order, the others the document's.

use serde_json::Value;

use super::{PATCH, no_merge_key};
use crate::error::PatchError;

/// Up to so many items the reference sorts by insertion.
const UNPLACED: usize = 20;

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
    if !key.is_empty() {
        for item in &items {
            let value = item.get(key).ok_or_else(|| no_merge_key(item, key))?;
            // Items of the other list are looked at up to the one that fits.
            for (index, other) in by.iter().enumerate() {
                if !other.is_object() {
                    return Err(PatchError::new(format!("value for key {index} is not a map")));
                }
                if other.get(key) == Some(value) {
                    break;
                }
            }
        }
    }
    Ok(items
        .into_iter()
        .partition(|item| position(by, item, key).is_some()))
}

/// Removes values that came before. The last one takes the place of what is removed, as in the
/// reference, whose orders show it.
pub(super) fn deduplicate(list: &mut Vec<Value>) {
    let mut at = 0;
    while at + 1 < list.len() {
        let mut other = at + 1;
        while other < list.len() {
            if list[at] == list[other] {
                list.swap_remove(other);
            } else {
                other += 1;
            }
        }
        at += 1;
    }
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
            kept.push((position(order, &item, key), item));
        }
    }
    if kept.len() <= UNPLACED && kept.iter().any(|(place, _)| place.is_none()) {
        // An item without a place goes before whatever it is compared with.
        for end in 1..kept.len() {
            let mut at = end;
            while at > 0
                && kept[at]
                    .0
                    .zip(kept[at - 1].0)
                    .is_none_or(|(own, before)| own < before)
            {
                kept.swap(at, at - 1);
                at -= 1;
            }
        }
    } else {
        kept.sort_by_key(|(place, _)| place.unwrap_or(usize::MAX));
    }
    Ok(kept.into_iter().map(|(_, item)| item).chain(gone).collect())
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
