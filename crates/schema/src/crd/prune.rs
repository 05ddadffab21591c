//! Removal of undeclared fields from custom resources.

use serde_json::Value;

use crate::table::Base;
use crate::types::Type;

/// Removes what the schema does not know; returns the paths of what went.
pub(super) fn prune(schema: Type<'_>, value: &mut Value) -> Vec<String> {
    let mut out = Vec::new();
    walk(schema, value, &mut String::new(), true, &mut out);
    out
}

/// The same for a value below the root, such as a default.
pub(super) fn prune_below(schema: Type<'_>, value: &mut Value) -> Vec<String> {
    let mut out = Vec::new();
    walk(schema, value, &mut String::new(), false, &mut out);
    out
}

fn walk(schema: Type<'_>, value: &mut Value, path: &mut String, object: bool, out: &mut Vec<String>) {
    let end = path.len();
    match value {
        Value::Object(map) => {
            let keep = schema.preserve_unknown();
            let whole = object || schema.embedded();
            map.retain(|key, child| {
                if end > 0 {
                    path.push('.');
                }
                path.push_str(key);
                let kept = match schema.field(key) {
                    // Metadata has its own rules; apiVersion and kind always stay.
                    _ if whole && matches!(key.as_str(), "apiVersion" | "kind" | "metadata") => true,
                    Some(field) => {
                        walk(field, child, path, false, out);
                        true
                    }
                    None => keep || (schema.base() == Base::Any && schema.int_or_string()),
                };
                if !kept {
                    out.push(path.clone());
                }
                path.truncate(end);
                kept
            });
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                for (index, child) in list.iter_mut().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    walk(items, child, path, false, out);
                    path.truncate(end);
                }
            }
        }
        _ => {}
    }
}
