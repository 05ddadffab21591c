//! Accessors over an object as a JSON value: total, borrowing, and blind to wrongly typed fields.

use serde_json::{Map, Value};

use crate::id::{GroupVersionKind, ObjectId, id_of, split_api_version};

/// What one asks of any Kubernetes object. Absent or wrongly typed fields read as empty.
pub trait ObjectExt {
    /// `apiVersion`.
    fn api_version(&self) -> &str;
    /// `kind`.
    fn kind(&self) -> &str;
    /// `metadata.name`.
    fn name(&self) -> &str;
    /// `metadata.namespace`.
    fn namespace(&self) -> &str;
    /// `metadata.uid`.
    fn uid(&self) -> &str;
    /// `metadata.resourceVersion`.
    fn resource_version(&self) -> &str;
    /// `metadata.generation`, 0 when absent.
    fn generation(&self) -> i64;
    /// `metadata.deletionTimestamp`, if the object is being deleted.
    fn deletion_timestamp(&self) -> Option<&str>;
    /// Group part of `apiVersion`.
    fn group(&self) -> &str {
        split_api_version(self.api_version()).0
    }
    /// Version part of `apiVersion`.
    fn version(&self) -> &str {
        split_api_version(self.api_version()).1
    }
    /// Group, version and kind.
    fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::parse(self.api_version(), self.kind())
    }
    /// Group, kind, namespace and name.
    fn id(&self) -> ObjectId;
    /// `metadata.labels`.
    fn labels(&self) -> Option<&Map<String, Value>>;
    /// `metadata.annotations`.
    fn annotations(&self) -> Option<&Map<String, Value>>;
    /// One label's value.
    fn label(&self, key: &str) -> Option<&str>;
    /// One annotation's value.
    fn annotation(&self, key: &str) -> Option<&str>;
    /// `metadata.finalizers`.
    fn finalizers(&self) -> impl Iterator<Item = &str>;
    /// The value at `path`, one map key a step.
    fn at(&self, path: &[&str]) -> Option<&Value>;
    /// The text at `path`.
    fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_str()
    }
    /// The whole number at `path`.
    fn integer_at(&self, path: &[&str]) -> Option<i64> {
        self.at(path)?.as_i64()
    }
    /// `metadata` as a map, made if absent.
    fn metadata_mut(&mut self) -> &mut Map<String, Value>;
    /// Sets a label.
    fn set_label(&mut self, key: &str, value: &str);
    /// Sets an annotation.
    fn set_annotation(&mut self, key: &str, value: &str);
    /// Removes an annotation, and the map when it becomes empty; says whether it was there.
    fn remove_annotation(&mut self, key: &str) -> bool;
    /// Removes a label, and the map when it becomes empty; says whether it was there.
    fn remove_label(&mut self, key: &str) -> bool;
}

impl ObjectExt for Value {
    fn api_version(&self) -> &str {
        self.text_at(&["apiVersion"]).unwrap_or_default()
    }

    fn kind(&self) -> &str {
        self.text_at(&["kind"]).unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.text_at(&["metadata", "name"]).unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.text_at(&["metadata", "namespace"]).unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.text_at(&["metadata", "uid"]).unwrap_or_default()
    }

    fn resource_version(&self) -> &str {
        self.text_at(&["metadata", "resourceVersion"]).unwrap_or_default()
    }

    fn generation(&self) -> i64 {
        self.integer_at(&["metadata", "generation"]).unwrap_or_default()
    }

    fn deletion_timestamp(&self) -> Option<&str> {
        self.text_at(&["metadata", "deletionTimestamp"])
    }

    fn id(&self) -> ObjectId {
        id_of(self)
    }

    fn labels(&self) -> Option<&Map<String, Value>> {
        self.at(&["metadata", "labels"])?.as_object()
    }

    fn annotations(&self) -> Option<&Map<String, Value>> {
        self.at(&["metadata", "annotations"])?.as_object()
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.labels()?.get(key)?.as_str()
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations()?.get(key)?.as_str()
    }

    fn finalizers(&self) -> impl Iterator<Item = &str> {
        self.at(&["metadata", "finalizers"])
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter()
            .try_fold(self, |value, key| value.as_object()?.get(*key))
    }

    fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        child_map(as_map(self), "metadata")
    }

    fn set_label(&mut self, key: &str, value: &str) {
        child_map(self.metadata_mut(), "labels").insert(key.to_owned(), value.into());
    }

    fn set_annotation(&mut self, key: &str, value: &str) {
        child_map(self.metadata_mut(), "annotations").insert(key.to_owned(), value.into());
    }

    fn remove_annotation(&mut self, key: &str) -> bool {
        remove_entry(self, "annotations", key)
    }

    fn remove_label(&mut self, key: &str) -> bool {
        remove_entry(self, "labels", key)
    }
}

fn remove_entry(object: &mut Value, field: &str, key: &str) -> bool {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return false;
    };
    let Some(map) = metadata.get_mut(field).and_then(Value::as_object_mut) else {
        return false;
    };
    let found = map.remove(key).is_some();
    if found && map.is_empty() {
        metadata.remove(field);
    }
    found
}

/// The value as a map; anything else is replaced by an empty one.
fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made a map above")
}

/// The map under `key`, made if absent or of another type.
fn child_map<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    as_map(map.entry(key).or_insert(Value::Null))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn absent_and_wrongly_typed_fields_read_as_empty() {
        let object = json!({"kind": 5, "metadata": {"labels": "x", "generation": "y"}});
        assert_eq!((object.kind(), object.name(), object.generation()), ("", "", 0));
        assert_eq!(object.label("a"), None);
        assert_eq!(object.finalizers().count(), 0);
    }

    #[test]
    fn labels_and_annotations_are_set_and_removed_with_their_maps() {
        let mut object = json!({});
        object.set_label("a", "b");
        object.set_annotation("c", "d");
        assert_eq!(
            object,
            json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}})
        );
        assert!(object.remove_annotation("c"));
        assert!(!object.remove_annotation("c"));
        assert!(object.remove_label("a"));
        assert_eq!(object, json!({"metadata": {}}));
    }
}
