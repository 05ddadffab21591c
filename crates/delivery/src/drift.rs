//! Does the cluster hold what Git says? The answer of a dry run, held against what is there.
//!
//! Labels and annotations are compared whole, the body without `metadata` and `status`. Without drift nothing is
//! written.

use fluvial_object::path::{FieldPath, Step};
use fluvial_object::{ObjectExt, path};
use serde_json::{Map, Value};

/// How the outcome of an apply would differ from what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drift {
    /// The object is not there yet.
    Created,
    /// It would change, at these fields (the first few).
    Changed(Vec<FieldPath>),
    /// It would not change.
    None,
}

/// Fields listed at most.
const MAX_FIELDS: usize = 20;

/// How many fields of an object an apply would add, change and remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Fields that are not there.
    pub additions: usize,
    /// Fields that have other values.
    pub changes: usize,
    /// Fields that are there and should not be.
    pub removals: usize,
}

/// Counts what `compare` finds.
#[must_use]
pub fn counts(dry_run: &Value, live: &Value, ignored: &[String]) -> Counts {
    walk(dry_run, live, ignored, usize::MAX).counts
}

/// Compares the answer of a dry run with the live object, fields under `ignored` JSON pointers aside.
#[must_use]
pub fn compare(dry_run: &Value, live: Option<&Value>, ignored: &[String]) -> Drift {
    let Some(live) = live else {
        return Drift::Created;
    };
    // A dry run on an object that has no version is the creation of one that was deleted just now.
    if dry_run.resource_version().is_empty()
        && !live.resource_version().is_empty()
        && dry_run.uid() != live.uid()
    {
        return Drift::Created;
    }
    let found = walk(dry_run, live, ignored, MAX_FIELDS).found;
    if found.is_empty() {
        Drift::None
    } else {
        Drift::Changed(found)
    }
}

/// Walks over what is compared of two objects, until so many differences are found.
fn walk<'a>(dry_run: &Value, live: &Value, ignored: &'a [String], limit: usize) -> Walk<'a> {
    let mut walk = Walk {
        path: FieldPath::root(),
        ignored,
        limit,
        found: Vec::new(),
        counts: Counts::default(),
    };
    let empty = Map::new();
    let map = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (new, old) = (
        dry_run.as_object().unwrap_or(&empty),
        live.as_object().unwrap_or(&empty),
    );
    for field in ["labels", "annotations"] {
        let (new, old) = (dry_run.at(&["metadata", field]), live.at(&["metadata", field]));
        walk.path = FieldPath::root().field("metadata").field(field);
        walk.values(new.unwrap_or(&Value::Null), old.unwrap_or(&Value::Null));
    }
    walk.path = FieldPath::root();
    let keys = new.keys().chain(old.keys().filter(|key| !new.contains_key(*key)));
    for key in keys.filter(|key| !matches!(key.as_str(), "metadata" | "status")) {
        walk.path.push(Step::Field(key.clone()));
        let (new, old) = (
            new.get(key).unwrap_or(&Value::Null),
            old.get(key).unwrap_or(&Value::Null),
        );
        if key == "spec" && dry_run.kind() == "HorizontalPodAutoscaler" {
            walk.values(&sorted_metrics(map(new)), &sorted_metrics(map(old)));
        } else {
            walk.values(new, old);
        }
        walk.path.pop();
    }
    walk
}

/// The API server keeps the metrics of a HorizontalPodAutoscaler in an order of its own.
fn sorted_metrics(mut spec: Map<String, Value>) -> Value {
    if let Some(metrics) = spec.get_mut("metrics").and_then(Value::as_array_mut) {
        metrics.sort_by_key(Value::to_string);
    }
    Value::Object(spec)
}

struct Walk<'a> {
    path: FieldPath,
    ignored: &'a [String],
    limit: usize,
    found: Vec<FieldPath>,
    counts: Counts,
}

impl Walk<'_> {
    fn values(&mut self, new: &Value, old: &Value) {
        if new == old || self.found.len() >= self.limit || (is_empty(new) && is_empty(old)) {
            return;
        }
        if !self.ignored.is_empty() && self.is_ignored() {
            return;
        }
        match (new, old) {
            (Value::Object(new), Value::Object(old)) => self.maps(new, old),
            // Something below an ignored pointer may be all that one side has.
            (Value::Object(new), Value::Null) if !self.ignored.is_empty() => self.maps(new, &Map::new()),
            (Value::Null, Value::Object(old)) if !self.ignored.is_empty() => self.maps(&Map::new(), old),
            (Value::Array(new), Value::Array(old)) if new.len() == old.len() => {
                for (index, (new, old)) in new.iter().zip(old).enumerate() {
                    self.path.push(Step::Index(index));
                    self.values(new, old);
                    self.path.pop();
                }
            }
            (Value::Number(new), Value::Number(old))
                if new.as_f64() == old.as_f64() && !both_whole(new, old) => {}
            _ => self.differ(new, old),
        }
    }

    fn differ(&mut self, new: &Value, old: &Value) {
        self.found.push(self.path.clone());
        let count = match (new, old) {
            (_, Value::Null) => &mut self.counts.additions,
            (Value::Null, _) => &mut self.counts.removals,
            _ => &mut self.counts.changes,
        };
        *count += 1;
    }

    fn maps(&mut self, new: &Map<String, Value>, old: &Map<String, Value>) {
        let keys = new.keys().chain(old.keys().filter(|key| !new.contains_key(*key)));
        for key in keys {
            self.path.push(Step::Field(key.clone()));
            let (new, old) = (new.get(key), old.get(key));
            self.values(new.unwrap_or(&Value::Null), old.unwrap_or(&Value::Null));
            self.path.pop();
        }
    }

    fn is_ignored(&self) -> bool {
        let pointer = self.path.to_pointer();
        self.ignored.iter().any(|ignored| {
            pointer
                .strip_prefix(ignored.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

fn both_whole(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    !a.is_f64() && !b.is_f64()
}

/// Nothing, an empty list and an empty map are the same to the API.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The value that a JSON pointer leads to.
#[must_use]
pub fn at_pointer<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    if pointer.is_empty() {
        return Some(object);
    }
    pointer
        .strip_prefix('/')?
        .split('/')
        .try_fold(object, |value, token| match value {
            Value::Object(map) => map.get(&path::unescape_pointer(token)),
            Value::Array(list) => list.get(token.parse::<usize>().ok()?),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(new: &Value, old: &Value, ignored: &[&str]) -> Vec<String> {
        let ignored: Vec<String> = ignored.iter().map(|text| (*text).to_owned()).collect();
        match compare(new, Some(old), &ignored) {
            Drift::Changed(paths) => paths.iter().map(ToString::to_string).collect(),
            Drift::Created => vec!["created".to_owned()],
            Drift::None => Vec::new(),
        }
    }

    #[test]
    fn status_and_the_servers_metadata_are_no_drift() {
        let old = json!({"metadata": {"name": "a", "resourceVersion": "1", "labels": {"a": "b"}}, "status": {"x": 1},
            "spec": {"list": [], "n": 1}});
        let new = json!({"metadata": {"name": "a", "resourceVersion": "2", "labels": {"a": "b"}, "annotations": {}},
            "spec": {"n": 1}});
        assert!(changed(&new, &old, &[]).is_empty());
    }

    #[test]
    fn changes_are_named_by_field() {
        let old = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"c": [{"image": "1"}], "gone": 1}, "data": {"k": "v"}});
        let new = json!({"metadata": {"labels": {"a": "c"}, "annotations": {"x": "y"}}, "spec": {"c": [{"image": "2"}]},
            "data": {"k": "v", "l": "w"}});
        assert_eq!(
            changed(&new, &old, &[]),
            [
                "metadata.labels.a",
                "metadata.annotations",
                "data.l",
                "spec.c[0].image",
                "spec.gone"
            ]
        );
        assert_eq!(compare(&new, None, &[]), Drift::Created);
        let counted = Counts {
            additions: 2,
            changes: 2,
            removals: 1,
        };
        assert_eq!(counts(&new, &old, &[]), counted);
    }

    #[test]
    fn ignored_pointers_cover_what_lies_below() {
        let old = json!({"spec": {"replicas": 3, "template": {"a": 1}}});
        let new = json!({"spec": {"replicas": 1, "template": {"a": 2}, "replicasX": 1}});
        assert_eq!(
            changed(&new, &old, &["/spec/replicas", "/spec/template"]),
            ["spec.replicasX"]
        );
        assert!(changed(&new, &old, &[""]).is_empty());
    }

    #[test]
    fn the_order_of_metrics_does_not_count() {
        let hpa = |metrics: Value| json!({"kind": "HorizontalPodAutoscaler", "spec": {"metrics": metrics}});
        assert!(
            changed(
                &hpa(json!([{"a": 1}, {"b": 2}])),
                &hpa(json!([{"b": 2}, {"a": 1}])),
                &[]
            )
            .is_empty()
        );
    }
}
