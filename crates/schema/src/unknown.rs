//! Fields that a schema does not know, and the schema's defaults.

use serde_json::Value;

use crate::table::Base;
use crate::types::Type;

/// Paths of unknown fields in the order of a walk, such as `spec.containers[0].imagee`.
pub(crate) fn find(schema: Type<'_>, value: &Value) -> Vec<String> {
    let mut out = Vec::new();
    walk(schema, value, &mut String::new(), &mut out);
    out
}

fn walk(schema: Type<'_>, value: &Value, path: &mut String, out: &mut Vec<String>) {
    let end = path.len();
    match value {
        Value::Object(map) => {
            let open = open_ended(schema);
            for (key, child) in map {
                if end > 0 {
                    path.push('.');
                }
                path.push_str(key);
                match schema.field(key) {
                    Some(field) => walk(field, child, path, out),
                    None if open => {}
                    None => out.push(path.clone()),
                }
                path.truncate(end);
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                for (index, child) in list.iter().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    walk(items, child, path, out);
                    path.truncate(end);
                }
            }
        }
        _ => {}
    }
}

/// Whether a map may have fields that are not declared.
fn open_ended(schema: Type<'_>) -> bool {
    schema.preserve_unknown() || !schema.has_fields() || schema.base() != Base::Object
}

/// Sets declared defaults where a field is absent, and null where null is no value.
pub(crate) fn fill_defaults(schema: Type<'_>, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, field) in schema.fields() {
                if let Some(default) = field.default_value()
                    && map.get(name).is_none_or(|own| own.is_null() && !field.nullable())
                {
                    map.insert(name.to_owned(), default.clone());
                }
            }
            for (name, child) in map.iter_mut() {
                if let Some(field) = schema.field(name).filter(|field| !field.is_foreign()) {
                    if child.is_null()
                        && !field.nullable()
                        && let Some(default) = field.default_value()
                    {
                        *child = default.clone();
                    }
                    fill_defaults(field, child);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                for child in list {
                    if child.is_null()
                        && !items.nullable()
                        && let Some(default) = items.default_value()
                    {
                        *child = default.clone();
                    }
                    fill_defaults(items, child);
                }
            }
        }
        _ => {}
    }
}

/// Removes nulls from fields that are not nullable and have no default.
pub(crate) fn drop_nulls(schema: Type<'_>, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|name, child| {
                let Some(field) = schema.field(name).filter(|field| !field.is_foreign()) else {
                    return true;
                };
                drop_nulls(field, child);
                !child.is_null()
                    || field.nullable()
                    || field.default_value().is_some()
                    || field.base() == Base::Any
            });
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                list.iter_mut().for_each(|child| drop_nulls(items, child));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::SchemaSet;

    #[test]
    fn unknown_fields_are_named_with_their_paths() {
        let pod = SchemaSet::builtin().kind("", "v1", "Pod").expect("known");
        let value = json!({"spec": {"containers": [{"name": "a", "imagee": "x"}], "nodeSelector": {"any": "x"}}, "x": 1});
        assert_eq!(pod.unknown_fields(&value), ["spec.containers[0].imagee", "x"]);
    }
}
