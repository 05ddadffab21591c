//! What a refused patch is shown as: for strategic merges the patch itself as Go prints maps, else the patched object as
//! text, in which what the patch did not touch has the order of Go's types.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::Form;

/// A patch, to be shown.
pub(super) struct Shown<'a> {
    pub(super) form: Form,
    pub(super) patch: &'a Value,
    /// The version and the kind of what it was made for, by whose type what is not touched is ordered. Custom resources
    /// have none.
    pub(super) kind: Option<String>,
}

/// Fields in the order of Go's types, one type a line; after the colon the type of what is below, in a map after `{`.
/// Types with nothing to put in order are left out.
static ORDER: LazyLock<BTreeMap<&'static str, &'static str>> = LazyLock::new(|| {
    let lines = include_str!("../../../data/order.txt").lines();
    lines.filter_map(|line| line.split_once(' ')).collect()
});

impl Shown<'_> {
    /// As text, if it made this object.
    pub(super) fn text(&self, new: &Value) -> String {
        let mut out = String::new();
        match self.form {
            Form::Strategic => print(self.patch, &mut out),
            Form::Json => write(new, self.kind.as_deref(), Some(&places(self.patch)), &mut out),
            _ => write(new, self.kind.as_deref(), Some(self.patch), &mut out),
        }
        out
    }
}

/// A value of one of Go's types, in its order.
pub(in super::super) fn in_order(form: &str, value: &Value) -> String {
    let mut out = String::new();
    write(value, Some(form), None, &mut out);
    out
}

/// Where the operations of a JSON patch lead, as an object of objects that ends in truth values.
fn places(patch: &Value) -> Value {
    let mut all = Value::Object(Map::new());
    let operations = patch.as_array().into_iter().flatten();
    let paths = operations.flat_map(|operation| [&operation["path"], &operation["from"]]);
    for path in paths.filter_map(Value::as_str) {
        let mut at = &mut all;
        for token in path.split('/').skip(1) {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            at = &mut at[token.replace("~1", "/").replace("~0", "~")];
        }
        if at.is_null() {
            *at = true.into();
        }
    }
    all
}

/// Writes a value: what was touched is sorted by name, for Go had to make a map of it, the rest is as its type has it.
fn write(value: &Value, name: Option<&str>, touched: Option<&Value>, out: &mut String) {
    let mark = name.and_then(|name| name.strip_prefix('{'));
    match value {
        Value::Object(map) => {
            let line = name.and_then(|name| ORDER.get(name)).copied().unwrap_or_default();
            let known: Vec<(&str, Option<&str>)> = line
                .split(' ')
                .filter(|word| !word.is_empty())
                .map(|word| match word.split_once(':') {
                    Some((field, below)) => (field, Some(below)),
                    None => (word, None),
                })
                .collect();
            let place = |field: &str| known.iter().position(|(own, _)| *own == field);
            let mut fields: Vec<(&String, &Value)> = map.iter().collect();
            if touched.is_none() {
                fields.sort_by_key(|(field, _)| place(field).unwrap_or(usize::MAX));
            }
            out.push('{');
            for (index, (field, value)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                plain(&field.as_str().into(), out);
                out.push(':');
                let below = mark.or_else(|| known[place(field)?].1);
                let touched = match touched {
                    Some(Value::Object(touched)) => touched.get(field),
                    other => other,
                };
                write(value, below, touched, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                let touched = match touched {
                    Some(Value::Object(touched)) => touched.get(&index.to_string()),
                    other => other,
                };
                write(item, name, touched, out);
            }
            out.push(']');
        }
        other => plain(other, out),
    }
}

/// A value as Go writes it, with characters escaped that mean something in HTML.
fn plain(value: &Value, out: &mut String) {
    let text = value.to_string();
    for character in text.chars() {
        match character {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            other => out.push(other),
        }
    }
}

/// Go's `%v` of a decoded value.
fn print(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                print(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push_str("map[");
            for (index, (name, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                out.push_str(name);
                out.push(':');
                print(item, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(form: Form, kind: Option<&str>, patch: &Value, new: &Value) -> String {
        let kind = kind.map(str::to_owned);
        Shown { form, patch, kind }.text(new)
    }

    #[test]
    fn strategic_patches_are_shown_as_go_prints_maps() {
        let patch = json!({"a": {"c": [1, null, "x"]}, "b": true});
        let text = text(Form::Strategic, None, &patch, &json!({}));
        assert_eq!(text, "map[a:map[c:[1 <nil> x]] b:true]");
    }

    #[test]
    fn what_a_patch_does_not_touch_has_the_order_of_its_type() {
        let new = json!({"data": {"z": "", "a": "<"}, "metadata": {"labels": {}, "name": "a"}});
        let text = |form, patch: Value| text(form, Some("v1.ConfigMap"), &patch, &new);
        let untouched = r#"{"data":{"a":"\u003c","z":""},"metadata":{"name":"a","labels":{}}}"#;
        let touched = r#"{"data":{"a":"\u003c","z":""},"metadata":{"labels":{},"name":"a"}}"#;
        assert_eq!(text(Form::Merge, json!({"data": {"a": "<"}})), untouched);
        assert_eq!(text(Form::Merge, json!({"metadata": {"labels": {}}})), touched);
        let operation = |path: &str| json!([{"op": "replace", "path": path, "value": 1}]);
        assert_eq!(text(Form::Json, operation("/data/a")), untouched);
        assert_eq!(text(Form::Json, operation("/metadata/labels/a")), touched);
    }

    #[test]
    fn only_the_item_that_a_json_patch_leads_to_is_sorted() {
        let container = json!({"name": "c", "image": "i"});
        let new = json!({"spec": {"containers": [container, container]}});
        let patch = json!([{"op": "replace", "path": "/spec/containers/1/image", "value": 1}]);
        assert_eq!(
            text(Form::Json, Some("v1.Pod"), &patch, &new),
            r#"{"spec":{"containers":[{"name":"c","image":"i"},{"image":"i","name":"c"}]}}"#
        );
    }

    #[test]
    fn all_types_that_are_named_are_there() {
        for line in ORDER.values() {
            for (_, name) in line.split(' ').filter_map(|word| word.split_once(':')) {
                assert!(
                    ORDER.contains_key(name.trim_start_matches('{')),
                    "{name} of {line}"
                );
            }
        }
    }
}
