//! From client-side apply to server-side apply: what `kubectl apply` noted on the object is taken
//! over without conflicts, and kept current.

use serde_json::Value;

use super::shape::Shape;
use super::update::Found;
use super::{check, entries, typed};

/// Annotation in which `kubectl apply` keeps what it applied on the client's side.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Annotations of one object may have this many bytes.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

fn last_applied(object: &Value) -> Option<&str> {
    let annotations = object.pointer("/metadata/annotations")?;
    annotations
        .get(LAST_APPLIED)?
        .as_str()
        .filter(|text| !text.is_empty())
}

/// The conflicts that remain when unchanged fields of the last client-side apply may be taken.
pub(super) fn migrate(
    shape: Shape<'_>,
    live: &Value,
    api_version: &str,
    found: Vec<Found>,
) -> Result<(), Vec<Found>> {
    let allowed = || {
        let last: Value = serde_json::from_str(last_applied(live)?).ok()?;
        let version = last.get("apiVersion").and_then(Value::as_str);
        if version != Some(api_version)
            || check::check(shape, &last, false).is_some()
            || check::check(shape, live, false).is_some()
        {
            return None;
        }
        let changes = typed::compare(shape, &last, live);
        let fields = typed::fields(shape, &last);
        Some(
            fields
                .difference(&changes.modified)
                .difference(&changes.added)
                .difference(&changes.removed),
        )
    };
    let Some(allowed) = allowed() else {
        return Err(found);
    };
    let has = |found: &Found| {
        let (last, above) = found.path.split_last()?;
        let mut here = &allowed;
        for step in above {
            here = &here.get(step)?.below;
        }
        here.get(last).filter(|item| item.member)
    };
    let left: Vec<Found> = found.into_iter().filter(|found| has(found).is_none()).collect();
    if left.is_empty() { Ok(()) } else { Err(left) }
}

/// Writes the annotation again, if the object has it.
pub(super) fn renew(object: &mut Value, applied: &Value) {
    if last_applied(object).is_none() {
        return;
    }
    let mut note = applied.clone();
    entries::drop_from(&mut note);
    if let Some(Value::Object(annotations)) = note.pointer_mut("/metadata/annotations") {
        annotations.remove(LAST_APPLIED);
    }
    // As Go's encoder writes JSON for HTML, with a line end.
    let text = format!("{note}\n");
    let text = text
        .replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e");
    let Some(Value::Object(annotations)) = object.pointer_mut("/metadata/annotations") else {
        return;
    };
    annotations.insert(LAST_APPLIED.to_owned(), Value::String(text));
    let size: usize = annotations
        .iter()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    if size > ANNOTATIONS_LIMIT {
        annotations.remove(LAST_APPLIED);
    }
}
