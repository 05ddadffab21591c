//! What a refused patch is shown as: for strategic merges the patch itself as Go prints maps, else the patched object as
//! text, in which what the patch did not touch has the order of Go's types.

use serde_json::{Map, Value};

use super::Form;

/// A patch, to be shown.
pub(super) struct Shown<'a> {
    pub(super) form: Form,
    pub(super) patch: &'a Value,
    /// There is no type whose order it could have.
    pub(super) custom: bool,
}

const META: &[&str] = &[
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];
const ENTRY: &[&str] = &[
    "manager",
    "operation",
    "apiVersion",
    "time",
    "fieldsType",
    "fieldsV1",
    "subresource",
];

impl Shown<'_> {
    /// As text, if it made this object.
    pub(super) fn text(&self, new: &Value) -> String {
        if self.form == Form::Strategic {
            let mut out = String::new();
            print(self.patch, &mut out);
            return out;
        }
        let Some(map) = new.as_object().filter(|_| !self.custom) else {
            return new.to_string();
        };
        let fields = map.iter().map(|(name, value)| match (name.as_str(), value) {
            ("metadata", Value::Object(meta)) => pair(name, &self.meta(meta)),
            _ => pair(name, &value.to_string()),
        });
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    }

    fn touches_meta(&self) -> bool {
        match self.patch {
            Value::Array(operations) => operations.iter().any(|operation| {
                let path = operation["path"].as_str().unwrap_or("");
                path == "/metadata" || path.starts_with("/metadata/")
            }),
            other => other.get("metadata").is_some(),
        }
    }

    fn meta(&self, meta: &Map<String, Value>) -> String {
        let mut names: Vec<&str> = META
            .iter()
            .copied()
            .filter(|name| meta.contains_key(*name))
            .collect();
        names.extend(
            meta.keys()
                .map(String::as_str)
                .filter(|name| !META.contains(name)),
        );
        if self.touches_meta() {
            names.sort_unstable();
        }
        let fields = names.iter().map(|name| {
            let value = &meta[*name];
            match (*name, value) {
                ("managedFields", Value::Array(entries)) => {
                    let entries: Vec<String> = entries.iter().map(entry).collect();
                    pair(name, &format!("[{}]", entries.join(",")))
                }
                _ => pair(name, &value.to_string()),
            }
        });
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    }
}

fn pair(name: &str, text: &str) -> String {
    format!("{}:{text}", Value::from(name))
}

fn entry(entry: &Value) -> String {
    let fields = ENTRY
        .iter()
        .filter_map(|name| Some(pair(name, &entry.get(*name)?.to_string())));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
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

    #[test]
    fn strategic_patches_are_shown_as_go_prints_maps() {
        let patch = json!({"a": {"c": [1, null, "x"]}, "b": true});
        let shown = Shown {
            form: Form::Strategic,
            patch: &patch,
            custom: false,
        };
        assert_eq!(shown.text(&json!({})), "map[a:map[c:[1 <nil> x]] b:true]");
    }

    #[test]
    fn what_a_patch_does_not_touch_has_the_order_of_its_type() {
        let new = json!({"zz": 1, "metadata": {"labels": {}, "name": "a"}});
        let text = |patch: Value| {
            let shown = Shown {
                form: Form::Merge,
                patch: &patch,
                custom: false,
            };
            shown.text(&new)
        };
        assert_eq!(
            text(json!({"zz": 1})),
            r#"{"metadata":{"name":"a","labels":{}},"zz":1}"#
        );
        assert_eq!(
            text(json!({"zz": 1, "metadata": {"labels": {}}})),
            r#"{"metadata":{"labels":{},"name":"a"},"zz":1}"#
        );
    }
}
