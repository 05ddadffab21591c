//! JSON patch (RFC 6902) with the habits of the library that the API server and kustomize use:
//! negative indices count from the end, `add` cannot replace the root, a missing value is null.

use serde_json::{Map, Value};

use crate::error::PatchError;

/// Copies may add up to this many bytes, so that a small patch cannot make a huge document.
const COPY_LIMIT: usize = 3 * 1024 * 1024;

/// Applies the operations of `patch` in order. On an error the document is half changed.
///
/// # Errors
/// The first operation that is malformed or does not apply.
pub fn apply(document: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let operations = match patch {
        Value::Array(operations) => operations.as_slice(),
        Value::Null => &[],
        other => return Err(unreadable(other, "jsonpatch.Patch")),
    };
    for operation in operations {
        if !operation.is_object() && !operation.is_null() {
            return Err(unreadable(operation, "jsonpatch.Operation"));
        }
    }
    if !document.is_object() && !document.is_array() && !document.is_null() {
        return Err(unreadable(document, "jsonpatch.partialDoc"));
    }
    let empty = Map::new();
    let mut copied = 0;
    for operation in operations {
        let operation = Operation(operation.as_object().unwrap_or(&empty));
        operation.apply(document, &mut copied)?;
    }
    Ok(())
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn unreadable(value: &Value, into: &str) -> PatchError {
    PatchError::new(format!(
        "json: cannot unmarshal {} into Go value of type {into}",
        go_kind(value)
    ))
}

fn missing(message: impl std::fmt::Display) -> PatchError {
    PatchError::new(format!("{message}: missing value"))
}

struct Operation<'a>(&'a Map<String, Value>);

impl<'a> Operation<'a> {
    /// The path of an operation that says why it has none.
    fn path(&self, verb: &str) -> Result<&'a str, PatchError> {
        self.text("path", "operation missing path field")
            .map_err(|error| PatchError::new(format!("{verb} operation failed to decode path: {error}")))
    }

    /// The path of an operation that only says that it is missing.
    fn bare_path(&self, verb: &str) -> Result<&'a str, PatchError> {
        let path = self.0.get("path").and_then(Value::as_str);
        path.ok_or_else(|| missing(format!("{verb} operation failed to decode path")))
    }

    fn from(&self, verb: &str) -> Result<&'a str, PatchError> {
        self.text("from", "operation, missing from field")
            .map_err(|error| PatchError::new(format!("{verb} operation failed to decode from: {error}")))
    }

    fn text(&self, field: &str, absent: &str) -> Result<&'a str, PatchError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Err(missing(absent)),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(unreadable(other, "string")),
        }
    }

    fn value(&self) -> &'a Value {
        self.0.get("value").unwrap_or(&Value::Null)
    }

    fn apply(&self, document: &mut Value, copied: &mut usize) -> Result<(), PatchError> {
        match self.0.get("op").and_then(Value::as_str).unwrap_or("unknown") {
            "add" => self.add(document),
            "remove" => self.remove(document),
            "replace" => self.replace(document),
            "move" => self.relocate(document),
            "copy" => self.copy(document, copied),
            "test" => self.test(document),
            other => Err(PatchError::new(format!("Unexpected kind: {other}"))),
        }
    }

    fn add(&self, document: &mut Value) -> Result<(), PatchError> {
        let path = self.bare_path("add")?;
        let (parent, key) = find(document, path).ok_or_else(|| {
            missing(format!(
                "add operation does not apply: doc is missing path: \"{path}\""
            ))
        })?;
        insert(parent, &key, self.value().clone())
            .map_err(|error| PatchError::new(format!("error in add for path: '{path}': {error}")))
    }

    fn remove(&self, document: &mut Value) -> Result<(), PatchError> {
        let path = self.bare_path("remove")?;
        let (parent, key) = find(document, path).ok_or_else(|| {
            missing(format!(
                "remove operation does not apply: doc is missing path: \"{path}\""
            ))
        })?;
        take(parent, &key)
            .map(drop)
            .map_err(|error| PatchError::new(format!("error in remove for path: '{path}': {error}")))
    }

    fn replace(&self, document: &mut Value) -> Result<(), PatchError> {
        let path = self.path("replace")?;
        if path.is_empty() {
            let value = self.value();
            if !value.is_object() && !value.is_array() {
                return Err(PatchError::new(
                    // The library formats an error that is not there.
                    "replace operation value must be object or array: %!w(<nil>)",
                ));
            }
            *document = value.clone();
            return Ok(());
        }
        let (parent, key) = find(document, path).ok_or_else(|| {
            missing(format!(
                "replace operation does not apply: doc is missing path: {path}"
            ))
        })?;
        // A field that is not there is set; a list item must be there.
        if let Value::Object(map) = parent {
            map.insert(key, self.value().clone());
            return Ok(());
        }
        let slot = get_mut(parent, &key).ok_or_else(|| {
            missing(format!(
                "replace operation does not apply: doc is missing key: {path}"
            ))
        })?;
        *slot = self.value().clone();
        Ok(())
    }

    fn relocate(&self, document: &mut Value) -> Result<(), PatchError> {
        let from = self.from("move")?;
        let (parent, key) = find(document, from).ok_or_else(|| {
            missing(format!(
                "move operation does not apply: doc is missing from path: {from}"
            ))
        })?;
        let value = take(parent, &key)
            .map_err(|error| PatchError::new(format!("error in move for path: '{key}': {error}")))?;
        let path = self.path("move")?;
        let (parent, key) = find(document, path).ok_or_else(|| {
            missing(format!(
                "move operation does not apply: doc is missing destination path: {path}"
            ))
        })?;
        insert(parent, &key, value)
            .map_err(|error| PatchError::new(format!("error in move for path: '{path}': {error}")))
    }

    fn copy(&self, document: &mut Value, copied: &mut usize) -> Result<(), PatchError> {
        let from = self.from("copy")?;
        let (parent, key) = find(document, from).ok_or_else(|| {
            missing(format!(
                "copy operation does not apply: doc is missing from path: {from}"
            ))
        })?;
        // What is not in an object is nothing, and nothing can be copied.
        let value = get(parent, &key)
            .map_err(|error| PatchError::new(format!("error in copy for from: '{from}': {error}")))?
            .cloned()
            .unwrap_or_default();
        *copied += size(&value);
        if *copied > COPY_LIMIT {
            return Err(PatchError::new(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {COPY_LIMIT}"
            )));
        }
        let path = self.bare_path("copy")?;
        let (parent, key) = find(document, path).ok_or_else(|| {
            missing(format!(
                "copy operation does not apply: doc is missing destination path: {path}"
            ))
        })?;
        insert(parent, &key, value)
            .map_err(|error| PatchError::new(format!("error while adding value during copy: {error}")))
    }

    fn test(&self, document: &mut Value) -> Result<(), PatchError> {
        let path = self.path("test")?;
        let found = if path.is_empty() {
            Some(&*document)
        } else {
            let (parent, key) = find(document, path)
                .ok_or_else(|| missing(format!("test operation does not apply: is missing path: {path}")))?;
            get(parent, &key)
                .map_err(|error| PatchError::new(format!("error in test for path: '{path}': {error}")))?
        };
        // A document that is null is an object without fields.
        let nothing = path.is_empty() && found.is_some_and(Value::is_null);
        let same = if nothing {
            self.value().as_object().is_some_and(Map::is_empty)
        } else {
            found.unwrap_or(&Value::Null) == self.value()
        };
        if same {
            Ok(())
        } else {
            Err(PatchError::new(format!(
                "testing value {path} failed: test failed"
            )))
        }
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(list) => list.iter().map(|item| size(item) + 1).sum::<usize>() + 2,
        Value::Object(map) => {
            map.iter()
                .map(|(key, item)| key.len() + size(item) + 4)
                .sum::<usize>()
                + 2
        }
    }
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// The container that a path's last part is in, and that part.
fn find<'a>(document: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (_, rest) = path.split_once('/')?;
    let mut parts: Vec<&str> = rest.split('/').collect();
    let last = parts.pop()?;
    let mut here = document;
    for part in parts {
        here = get_mut(here, &unescape(part))?;
        if !here.is_object() && !here.is_array() {
            return None;
        }
    }
    Some((here, unescape(last)))
}

fn get_mut<'a>(parent: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    match parent {
        Value::Object(map) => map.get_mut(key),
        Value::Array(list) => {
            let at = position(key, list.len()).ok()?;
            list.get_mut(at)
        }
        _ => None,
    }
}

/// What an object has under a key, or a list at an index, which must be there.
fn get<'a>(parent: &'a Value, key: &str) -> Result<Option<&'a Value>, PatchError> {
    match parent {
        Value::Array(list) => Ok(list.get(position(key, list.len())?)),
        other => Ok(other.get(key)),
    }
}

fn index(key: &str) -> Result<i64, PatchError> {
    let digits = key.strip_prefix(['-', '+']).unwrap_or(key);
    let error = |what: &str| {
        let key = fluvial_schema::quote(key);
        PatchError::new(format!("strconv.Atoi: parsing {key}: {what}"))
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error("invalid syntax"));
    }
    key.parse().map_err(|_| error("value out of range"))
}

/// The index that a key names in a list of `len` items; -1 is the last.
fn position(key: &str, len: usize) -> Result<usize, PatchError> {
    let index = index(key)?;
    let length = i64::try_from(len).unwrap_or(i64::MAX);
    let at = if index < 0 { index + length } else { index };
    if at < 0 || at >= length {
        return Err(PatchError::new(format!(
            "Unable to access invalid index: {index}: invalid index referenced"
        )));
    }
    Ok(usize::try_from(at).unwrap_or(usize::MAX))
}

fn insert(parent: &mut Value, key: &str, value: Value) -> Result<(), PatchError> {
    match parent {
        Value::Object(map) => {
            map.insert(key.to_owned(), value);
        }
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => {
            index(key).map_err(|error| {
                PatchError::new(format!("value was not a proper array index: '{key}': {error}"))
            })?;
            let at = position(key, list.len() + 1)?;
            list.insert(at, value);
        }
        _ => return Err(missing("not a container")),
    }
    Ok(())
}

fn take(parent: &mut Value, key: &str) -> Result<Value, PatchError> {
    match parent {
        Value::Object(map) => map
            .remove(key)
            .ok_or_else(|| missing(format!("Unable to remove nonexistent key: {key}"))),
        Value::Array(list) => {
            let at = position(key, list.len())?;
            Ok(list.remove(at))
        }
        _ => Err(missing(format!("Unable to remove nonexistent key: {key}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_apply_in_order() {
        let mut document = json!({"a": [1, 2], "b": {"c": "x"}});
        let patch = json!([
            {"op": "test", "path": "/b/c", "value": "x"},
            {"op": "add", "path": "/a/-", "value": 3},
            {"op": "move", "from": "/b/c", "path": "/d"},
            {"op": "remove", "path": "/a/-3"},
            {"op": "copy", "from": "/d", "path": "/b/e"}
        ]);
        apply(&mut document, &patch).expect("applies");
        assert_eq!(document, json!({"a": [2, 3], "b": {"e": "x"}, "d": "x"}));
    }

    #[test]
    fn a_missing_path_is_named() {
        let error =
            apply(&mut json!({}), &json!([{"op": "remove", "path": "/a"}])).expect_err("nothing there");
        assert_eq!(
            error.to_string(),
            "error in remove for path: '/a': Unable to remove nonexistent key: a: missing value"
        );
    }

    #[test]
    fn each_operation_says_what_it_lacks() {
        let error = |document: Value, operation: Value| {
            let mut document = document;
            let result = apply(&mut document, &json!([operation]));
            result.expect_err("does not apply").to_string()
        };
        let list = || json!({"l": [1]});
        for (operation, want) in [
            (
                json!({"op": "replace"}),
                "replace operation failed to decode path: operation missing path field: missing value",
            ),
            (
                json!({"op": "add"}),
                "add operation failed to decode path: missing value",
            ),
            (
                json!({"op": "test", "path": 1}),
                "test operation failed to decode path: json: cannot unmarshal number into Go value of type string",
            ),
            (
                json!({"op": "remove", "path": "/l/x"}),
                "error in remove for path: '/l/x': strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                json!({"op": "add", "path": "/l/x"}),
                "error in add for path: '/l/x': value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                json!({"op": "test", "path": "/l/4"}),
                "error in test for path: '/l/4': Unable to access invalid index: 4: invalid index referenced",
            ),
            (
                json!({"op": "replace", "path": "", "value": 1}),
                "replace operation value must be object or array: %!w(<nil>)",
            ),
        ] {
            assert_eq!(error(list(), operation), want);
        }
    }

    #[test]
    fn null_is_a_patch_without_operations_and_a_document_without_fields() {
        let mut document = json!({"a": 1});
        apply(&mut document, &Value::Null).expect("nothing to do");
        assert_eq!(document, json!({"a": 1}));
        let mut document = Value::Null;
        apply(
            &mut document,
            &json!([{"op": "test", "path": "/a", "value": null}]),
        )
        .expect("nothing there");
        assert_eq!(document, Value::Null);
    }
}
