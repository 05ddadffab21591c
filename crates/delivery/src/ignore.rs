//! `spec.ignore`: fields of chosen objects that others may set.
//!
//! Such a field is no drift. When its object is applied all the same, the field is left out if another applier owns
//! it, and else carries the value that is in the cluster.

use std::fmt;

use fluvial_object::labels::{Selector, SelectorError};
use fluvial_object::{ObjectExt, path};
use regex::Regex;
use serde_json::Value;

use crate::drift::at_pointer;

/// A rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoreError {
    rule: usize,
    detail: String,
}

impl fmt::Display for IgnoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spec.ignore[{}]: {}", self.rule, self.detail)
    }
}

impl std::error::Error for IgnoreError {}

#[derive(Clone, Debug)]
struct Rule {
    paths: Vec<String>,
    target: Target,
}

/// Which objects a rule is for; what is not given fits all.
#[derive(Clone, Debug, Default)]
struct Target {
    group: Option<Regex>,
    version: Option<Regex>,
    kind: Option<Regex>,
    name: Option<Regex>,
    namespace: Option<Regex>,
    labels: Option<Selector>,
    annotations: Option<Selector>,
}

/// The compiled rules of a Kustomization.
#[derive(Clone, Debug, Default)]
pub struct IgnoreRules(Vec<Rule>);

impl IgnoreRules {
    /// Reads `spec.ignore`; absent or null is no rule.
    pub fn from_value(ignore: &Value) -> Result<Self, IgnoreError> {
        let rules = ignore.as_array().into_iter().flatten().enumerate();
        rules
            .map(|(position, rule)| {
                read_rule(rule).map_err(|detail| IgnoreError {
                    rule: position,
                    detail,
                })
            })
            .collect::<Result<_, _>>()
            .map(IgnoreRules)
    }

    /// The JSON pointers that are ignored in an object; `""` is the whole of it.
    #[must_use]
    pub fn pointers(&self, object: &Value) -> Vec<String> {
        let mut pointers: Vec<String> = self
            .0
            .iter()
            .filter(|rule| rule.target.fits(object))
            .flat_map(|rule| rule.paths.iter().cloned())
            .collect();
        pointers.sort_unstable();
        pointers.dedup();
        pointers
    }
}

fn read_rule(rule: &Value) -> Result<Rule, String> {
    let paths = rule
        .get("paths")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|path| match path.as_str() {
            Some(path) if path.is_empty() || path.starts_with('/') => Ok(if path == "/" {
                String::new()
            } else {
                path.to_owned()
            }),
            _ => Err(format!(
                "path {path} is no JSON pointer: it must begin with a slash"
            )),
        })
        .collect::<Result<_, _>>()?;
    let none = Value::Null;
    let target = rule.get("target").unwrap_or(&none);
    let text = |field: &str| {
        target
            .get(field)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let anchored = |field: &str| {
        text(field)
            .map(|pattern| {
                Regex::new(&format!("^(?:{pattern})$"))
                    .map_err(|error| format!("target.{field} {pattern:?} is no regular expression: {error}"))
            })
            .transpose()
    };
    let selector = |field: &str| {
        text(field)
            .map(|text| {
                Selector::parse(text)
                    .map_err(|error: SelectorError| format!("target.{field} {text:?}: {error}"))
            })
            .transpose()
    };
    Ok(Rule {
        paths,
        target: Target {
            group: anchored("group")?,
            version: anchored("version")?,
            kind: anchored("kind")?,
            name: anchored("name")?,
            namespace: anchored("namespace")?,
            labels: selector("labelSelector")?,
            annotations: selector("annotationSelector")?,
        },
    })
}

impl Target {
    fn fits(&self, object: &Value) -> bool {
        let matches = |pattern: &Option<Regex>, text: &str| {
            pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
        };
        matches(&self.group, object.group())
            && matches(&self.version, object.version())
            && matches(&self.kind, object.kind())
            && matches(&self.name, object.name())
            && matches(&self.namespace, object.namespace())
            && self
                .labels
                .as_ref()
                .is_none_or(|selector| selector.matches_object(object))
            && self
                .annotations
                .as_ref()
                .is_none_or(|selector| selector.matches(|key| object.annotation(key)))
    }
}

/// Makes a desired object leave ignored fields alone: taken out where another manager applies them, else set to what
/// the live object has (or taken out where it has nothing). Fields that cannot be missing are never touched.
pub fn leave_alone(desired: &mut Value, live: &Value, pointers: &[String], manager: &str) {
    for pointer in pointers {
        if is_protected(pointer) || at_pointer(desired, pointer).is_none() {
            continue;
        }
        let foreign = owned_by_other_applier(live, pointer, manager);
        match at_pointer(live, pointer).filter(|_| !foreign) {
            Some(value) => {
                let value = value.clone();
                if let Some(slot) = desired.pointer_mut(pointer) {
                    *slot = value;
                }
            }
            None => remove(desired, pointer),
        }
    }
}

/// Without these an object is none.
fn is_protected(pointer: &str) -> bool {
    matches!(
        pointer,
        "" | "/apiVersion" | "/kind" | "/metadata" | "/metadata/name" | "/metadata/namespace"
    )
}

fn remove(object: &mut Value, pointer: &str) {
    let Some((parent, token)) = pointer.rsplit_once('/') else {
        return;
    };
    match object.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.remove(&path::unescape_pointer(token));
        }
        Some(Value::Array(list)) => {
            if let Some(index) = token.parse::<usize>().ok().filter(|index| *index < list.len()) {
                list.remove(index);
            }
        }
        _ => {}
    }
}

/// Whether another manager's Apply owns the field at `pointer`, or something within it.
fn owned_by_other_applier(live: &Value, pointer: &str, manager: &str) -> bool {
    live.at(&["metadata", "managedFields"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|entry| entry.text_at(&["operation"]) == Some("Apply"))
        .filter(|entry| entry.text_at(&["manager"]) != Some(manager))
        .filter_map(|entry| entry.get("fieldsV1"))
        .any(|fields| owns(fields, live, pointer))
}

/// Follows a pointer through a set of owned fields; list elements are known by their keys or values.
fn owns(fields: &Value, live: &Value, pointer: &str) -> bool {
    let (mut fields, mut value) = (fields, live);
    for token in pointer.split('/').skip(1) {
        let Some(set) = fields.as_object() else {
            return false;
        };
        let next = match value {
            Value::Array(list) => {
                let Some((index, element)) = token
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| Some((index, list.get(index)?)))
                else {
                    return false;
                };
                let owned = set.iter().find(|(key, _)| names_element(key, index, element));
                owned.map(|(_, fields)| (fields, element))
            }
            _ => {
                let name = path::unescape_pointer(token);
                set.get(&format!("f:{name}"))
                    .map(|fields| (fields, value.get(&name).unwrap_or(&Value::Null)))
            }
        };
        let Some(next) = next else { return false };
        (fields, value) = next;
        // A list or map owned as one: everything in it is.
        if fields.as_object().is_some_and(serde_json::Map::is_empty) {
            return true;
        }
    }
    true
}

/// Whether a key of a field set (`k:{…}`, `v:…`, `i:…`) means a list element.
fn names_element(key: &str, index: usize, element: &Value) -> bool {
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    match key.split_at_checked(2) {
        Some(("k:", keys)) => match parse(keys) {
            Some(Value::Object(keys)) => keys
                .iter()
                .all(|(key, value)| element.get(key).unwrap_or(&Value::Null) == value),
            _ => false,
        },
        Some(("v:", value)) => parse(value).as_ref() == Some(element),
        Some(("i:", position)) => position.parse() == Ok(index),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_fit_by_anchored_patterns_and_selectors() {
        let rules = json!([{"paths": ["/spec/replicas"], "target": {"kind": "Deploy.*", "name": "web"}},
            {"paths": ["/data"], "target": {"labelSelector": "a=b"}}, {"paths": ["/x"]}]);
        let rules = IgnoreRules::from_value(&rules).expect("valid");
        let object = |kind: &str, name: &str| json!({"kind": kind, "metadata": {"name": name}});
        assert_eq!(
            rules.pointers(&object("Deployment", "web")),
            ["/spec/replicas", "/x"]
        );
        assert_eq!(rules.pointers(&object("Deployment", "web2")), ["/x"]);
        let labelled = json!({"kind": "ConfigMap", "metadata": {"labels": {"a": "b"}}});
        assert_eq!(rules.pointers(&labelled), ["/data", "/x"]);
    }

    #[test]
    fn bad_rules_are_named() {
        for (rule, want) in [
            (
                json!({"paths": ["spec"]}),
                "spec.ignore[0]: path \"spec\" is no JSON pointer",
            ),
            (
                json!({"paths": [], "target": {"kind": "("}}),
                "spec.ignore[0]: target.kind \"(\" is no regular",
            ),
        ] {
            let error = IgnoreRules::from_value(&json!([rule]))
                .expect_err("bad")
                .to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }

    #[test]
    fn ignored_fields_take_the_live_value_or_go() {
        let live = json!({"spec": {"replicas": 5, "c": [{"name": "a", "image": "live"}]},
            "metadata": {"name": "x", "managedFields": [
                {"manager": "scaler", "operation": "Apply", "fieldsV1": {"f:spec": {"f:c": {"k:{\"name\":\"a\"}": {"f:image": {}}}}}},
                {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "us", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]}});
        let mut desired = json!({"metadata": {"name": "x"}, "spec": {"replicas": 1, "c": [{"name": "a", "image": "git"}], "new": 1}});
        let pointers = [
            "/spec/replicas",
            "/spec/c/0/image",
            "/spec/new",
            "/metadata/name",
            "/spec/none",
        ];
        leave_alone(&mut desired, &live, &pointers.map(str::to_owned), "us");
        assert_eq!(
            desired,
            json!({"metadata": {"name": "x"}, "spec": {"replicas": 5, "c": [{"name": "a"}]}})
        );
    }
}
