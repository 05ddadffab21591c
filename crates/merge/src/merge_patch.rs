//! JSON merge patch (RFC 7396), with the corners of the library that the API server uses.

use serde_json::{Map, Value};

use crate::error::PatchError;

/// Merges `patch` into `document`: null removes, objects merge, all else replaces.
///
/// # Errors
/// If the patch is null or a plain value, or the document is null.
pub fn apply(document: &mut Value, patch: &Value) -> Result<(), PatchError> {
    if document.is_null() {
        return Err(PatchError::new("Invalid JSON Document"));
    }
    match (&mut *document, patch) {
        (Value::Object(map), Value::Object(patch)) => merge(map, patch),
        (_, Value::Object(_) | Value::Array(_)) => *document = without_nulls(patch),
        _ => return Err(PatchError::new("Invalid JSON Patch")),
    }
    Ok(())
}

/// One patch that does what `first` and then `second` do; nulls stay.
///
/// # Errors
/// If a patch is null or a plain value.
pub fn combine(first: &Value, second: &Value) -> Result<Value, PatchError> {
    match (first, second) {
        (Value::Null, _) => Err(PatchError::new("Invalid JSON Document")),
        (Value::Object(own), Value::Object(patch)) => {
            let mut out = own.clone();
            combine_maps(&mut out, patch);
            Ok(Value::Object(out))
        }
        (_, Value::Object(_)) => Ok(second.clone()),
        (_, Value::Array(_)) => Ok(without_nulls(second)),
        _ => Err(PatchError::new("Invalid JSON Patch")),
    }
}

fn combine_maps(map: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match (map.get_mut(key), value) {
            (Some(Value::Object(own)), Value::Object(value)) => combine_maps(own, value),
            _ => {
                map.insert(key.clone(), value.clone());
            }
        }
    }
}

fn merge(map: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
            continue;
        }
        match (map.get_mut(key), value) {
            (Some(Value::Object(own)), Value::Object(value)) => merge(own, value),
            // An object that is replaced by something else takes it as it is.
            (Some(own @ Value::Object(_)), value) => *own = value.clone(),
            (Some(own), value) => *own = without_nulls(value),
            (None, value) => {
                map.insert(key.clone(), without_nulls(value));
            }
        }
    }
}

/// The value without null fields; nulls in lists stay.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                kept.map(|(key, value)| (key.clone(), without_nulls(value)))
                    .collect(),
            )
        }
        Value::Array(list) => Value::Array(list.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// The patch that makes `modified` from `original`. Numbers stay as they are: of whole ones above 2^53 the library
/// loses the last digits, which nobody wants of a patch.
///
/// # Errors
/// If they are not both objects, or lists of as many objects.
pub fn diff(original: &Value, modified: &Value) -> Result<Value, PatchError> {
    let mismatch = || PatchError::new("Mismatched JSON Documents");
    let none = Value::Object(Map::new());
    // Null counts as an object without fields.
    let filled = |value| {
        if matches!(value, &Value::Null) {
            &none
        } else {
            value
        }
    };
    match (filled(original), filled(modified)) {
        (Value::Object(original), Value::Object(modified)) => {
            Ok(Value::Object(diff_maps(original, modified)))
        }
        (Value::Array(original), Value::Array(modified)) if original.len() == modified.len() => original
            .iter()
            .zip(modified)
            .map(|pair| match pair {
                (Value::Object(original), Value::Object(modified)) => {
                    Ok(Value::Object(diff_maps(original, modified)))
                }
                _ => Err(mismatch()),
            })
            .collect(),
        _ => Err(mismatch()),
    }
}

fn diff_maps(original: &Map<String, Value>, modified: &Map<String, Value>) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, value) in modified {
        match (original.get(key), value) {
            (Some(Value::Object(own)), Value::Object(value)) => {
                let below = diff_maps(own, value);
                if !below.is_empty() {
                    out.insert(key.clone(), Value::Object(below));
                }
            }
            (Some(own), value) if crate::managed::equal(own, value) => {}
            _ => {
                out.insert(key.clone(), value.clone());
            }
        }
    }
    for key in original.keys() {
        if !modified.contains_key(key) {
            out.insert(key.clone(), Value::Null);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_removes_and_objects_merge() {
        let mut document = json!({"a": 1, "b": {"c": 1, "d": 2}, "l": [1]});
        apply(
            &mut document,
            &json!({"a": null, "b": {"c": null, "e": {"f": null}}, "l": [{"x": null}]}),
        )
        .expect("applies");
        assert_eq!(document, json!({"b": {"d": 2, "e": {}}, "l": [{}]}));
    }

    #[test]
    fn a_difference_applied_gives_the_other() {
        let (mut from, to) = (
            json!({"a": 1, "b": {"c": [1]}}),
            json!({"b": {"c": [2]}, "d": {}}),
        );
        let patch = diff(&from, &to).expect("objects");
        apply(&mut from, &patch).expect("applies");
        assert_eq!(from, to);
    }
}
