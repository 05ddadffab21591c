//! Invariants beyond single values: items of sets and keyed lists are unique, embedded objects
//! have an apiVersion and a kind.

use serde_json::{Map, Value};

use crate::error::{ErrorKind, FieldError};
use crate::table::ListType;
use crate::types::Type;

/// Required fields of embedded objects.
pub(super) fn embedded(schema: Type<'_>, value: &Value) -> Vec<FieldError> {
    let mut out = Vec::new();
    walk(schema, value, &mut String::new(), &mut |schema, value, path| {
        if !schema.embedded() || path.is_empty() {
            return;
        }
        out.extend(unnamed(value, path));
    });
    out
}

/// The required fields that an embedded object at a path has not.
pub(super) fn unnamed(value: &Value, path: &str) -> Vec<FieldError> {
    let Value::Object(map) = value else { return vec![] };
    let mut out = Vec::new();
    for name in ["apiVersion", "kind"] {
        let path = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
        match map.get(name) {
            Some(Value::String(text)) if !text.is_empty() => {}
            Some(Value::String(text)) => {
                out.push(FieldError::new(
                    ErrorKind::Invalid,
                    path,
                    text.as_str().into(),
                    "must not be empty",
                ));
            }
            _ => out.push(FieldError::plain(ErrorKind::Required, path, "")),
        }
    }
    out
}

/// Duplicates in sets and keyed lists.
pub(super) fn duplicates(schema: Type<'_>, value: &Value) -> Vec<FieldError> {
    let mut out = Vec::new();
    walk(schema, value, &mut String::new(), &mut |schema, value, path| {
        let (Some(kind), Value::Array(list)) = (schema.list_type(), value) else {
            return;
        };
        if kind == ListType::Atomic {
            return;
        }
        let identity = |item: &Value| match (kind, item) {
            (ListType::Map, Value::Object(map)) => {
                let keys = schema.map_keys().iter();
                let keys = keys.filter_map(|key| Some((key.to_string(), map.get(key.as_ref())?.clone())));
                Value::Object(keys.collect::<Map<_, _>>())
            }
            _ => item.clone(),
        };
        let mut seen: rustc_hash::FxHashSet<String> = rustc_hash::FxHashSet::default();
        let mut told: rustc_hash::FxHashSet<String> = rustc_hash::FxHashSet::default();
        for (index, item) in list.iter().enumerate() {
            let identity = identity(item);
            let text = identity.to_string();
            if !seen.insert(text.clone()) && told.insert(text) {
                out.push(FieldError::new(
                    ErrorKind::Duplicate,
                    format!("{path}[{index}]"),
                    identity,
                    "",
                ));
            }
        }
    });
    out
}

/// Calls for each place; children come after their parents.
fn walk(schema: Type<'_>, value: &Value, path: &mut String, call: &mut dyn FnMut(Type<'_>, &Value, &str)) {
    call(schema, value, path);
    let end = path.len();
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                if end == 0 && name == "metadata" {
                    continue;
                }
                if let Some(field) = schema.field(name) {
                    if end > 0 {
                        path.push('.');
                    }
                    path.push_str(name);
                    walk(field, child, path, call);
                    path.truncate(end);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                for (index, child) in list.iter().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    walk(items, child, path, call);
                    path.truncate(end);
                }
            }
        }
        _ => {}
    }
}
