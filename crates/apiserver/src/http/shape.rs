//! The forms in which objects are sent: whole, metadata alone, or rows of a table.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::negotiate::Shape;
use super::route::Query;
use super::table;
use crate::api::Api;
use crate::kinds::Kind;
use crate::status::{Failure, Outcome};

/// Turns objects into the form asked for.
#[derive(Clone, Debug)]
pub struct Shaper {
    kind: Arc<Kind>,
    /// The form.
    pub shape: Shape,
    include: Include,
    columns_sent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Include {
    None,
    Metadata,
    Object,
}

impl Shaper {
    /// Reads the options of the form.
    ///
    /// # Errors
    /// An option has a value that is not known.
    pub fn new(kind: Arc<Kind>, shape: &Shape, query: &Query) -> Outcome<Self> {
        let include = match query.text("includeObject") {
            "None" => Include::None,
            "" | "Metadata" => Include::Metadata,
            "Object" => Include::Object,
            other => {
                let text = format!(
                    "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', \
                     'Object', 'None', or empty"
                );
                return Err(Failure::bad_request(text));
            }
        };
        Ok(Shaper {
            kind,
            shape: shape.clone(),
            include,
            columns_sent: false,
        })
    }

    fn go_name(&self) -> String {
        let package = match self.kind.group.split('.').next() {
            None | Some("" | "events") => "core",
            Some(name) => name,
        };
        format!("*{package}.{}", self.kind.kind)
    }

    /// The form of one object.
    ///
    /// # Errors
    /// The form is one of lists.
    pub fn one(&self, object: Value, api: &Api) -> Outcome<Value> {
        match &self.shape {
            Shape::Partial(version) => Ok(partial(object, version)),
            Shape::PartialList(_) if self.kind.custom.is_some() => {
                Err(Failure::unclassified("content is not a list"))
            }
            Shape::PartialList(_) => Err(Failure::new(
                406,
                "NotAcceptable",
                format!(
                    "you requested PartialObjectMetadataList, but the requested object is not a list ({})",
                    self.go_name()
                ),
            )),
            Shape::Table(version) => {
                let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"].clone()});
                Ok(self.table(version, &meta, object, api, true))
            }
            _ => Ok(object),
        }
    }

    /// The text of a list in its form. Each object is made when its turn comes: as values, a thousand of them take
    /// ten times the room of the text.
    ///
    /// # Errors
    /// The form is one of single objects.
    pub fn list(
        &self,
        meta: &Value,
        objects: impl ExactSizeIterator<Item = Value>,
        api: &Api,
    ) -> Outcome<Bytes> {
        let is_empty = objects.len() == 0;
        match &self.shape {
            Shape::PartialList(version) => {
                let fields = [
                    ("kind", "PartialObjectMetadataList".into()),
                    ("apiVersion", format!("meta.k8s.io/{version}").into()),
                    ("metadata", meta.clone()),
                ];
                let items = objects.map(|object| partial(object, version));
                Ok(text(&fields, "items", (!is_empty).then_some(items)))
            }
            Shape::Partial(_) => Err(Failure::new(
                406,
                "NotAcceptable",
                format!(
                    "you requested PartialObjectMetadata, but the requested object is a list ({}List)",
                    match self.kind.custom {
                        Some(_) => "*unstructured.Unstructured".to_owned(),
                        None => self.go_name(),
                    }
                ),
            )),
            Shape::Table(version) => {
                let now = (api.clock)();
                let fields = [
                    ("kind", "Table".into()),
                    ("apiVersion", format!("meta.k8s.io/{version}").into()),
                    ("metadata", meta.clone()),
                    ("columnDefinitions", table::definitions(&self.kind)),
                ];
                let mut objects: Box<dyn Iterator<Item = Value>> = Box::new(objects);
                if self.kind.is("flowcontrol.apiserver.k8s.io", "FlowSchema") {
                    // What is matched first is shown first.
                    let mut flows: Vec<Value> = objects.collect();
                    flows.sort_by_key(|flow| flow["spec"]["matchingPrecedence"].as_i64());
                    objects = Box::new(flows.into_iter());
                }
                let rows = objects.map(|object| self.row(version, object, now));
                let shown = !is_empty || table::has_columns(&self.kind);
                Ok(text(&fields, "rows", shown.then_some(rows)))
            }
            _ => {
                let fields = [
                    ("kind", self.kind.list_kind.as_str().into()),
                    ("apiVersion", self.kind.api_version().into()),
                    ("metadata", meta.clone()),
                ];
                Ok(text(&fields, "items", Some(objects)))
            }
        }
    }

    fn row(&self, version: &str, object: Value, now: Timestamp) -> Value {
        let cells = table::cells(&self.kind, &object, now);
        let conditions = table::conditions(&self.kind, &object);
        let mut row = match self.include {
            Include::None => json!({"cells": cells, "object": null}),
            Include::Metadata => json!({"cells": cells, "object": partial(object, version)}),
            Include::Object => json!({"cells": cells, "object": object}),
        };
        if let Some(conditions) = conditions {
            row["conditions"] = conditions;
        }
        row
    }

    /// The table of one object.
    fn table(&self, version: &str, meta: &Value, object: Value, api: &Api, columns: bool) -> Value {
        let definitions = if columns {
            table::definitions(&self.kind)
        } else {
            Value::Null
        };
        json!({"kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": meta,
            "columnDefinitions": definitions, "rows": [self.row(version, object, (api.clock)())]})
    }

    /// The form of an object in a watch; columns are sent once.
    pub fn event(&mut self, object: Value, api: &Api) -> Value {
        match &self.shape {
            Shape::Partial(version) | Shape::PartialList(version) => partial(object, version),
            Shape::Table(version) => {
                let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"].clone()});
                let first = !std::mem::replace(&mut self.columns_sent, true);
                let version = version.clone();
                self.table(&version, &meta, object, api, first)
            }
            _ => object,
        }
    }

    /// The form of a bookmark.
    #[must_use]
    pub fn bookmark(&self, object: Value, api: &Api) -> Value {
        match &self.shape {
            Shape::Partial(version) | Shape::PartialList(version) => partial(object, version),
            Shape::Table(version) => self.empty_row(version, object, api),
            _ => object,
        }
    }

    /// A bookmark has a row as an object of the kind that says nothing would have it.
    fn empty_row(&self, version: &str, mut object: Value, api: &Api) -> Value {
        let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"].clone()});
        object["metadata"]["name"] = "".into();
        let mut table = self.table(version, &meta, object, api, false);
        let shown = table.pointer_mut("/rows/0/object/metadata");
        if let Some(shown) = shown.and_then(Value::as_object_mut) {
            shown.remove("name");
        }
        table
    }
}

/// An object of some fields and a list, which is null if there is none.
fn text(fields: &[(&str, Value)], name: &str, items: Option<impl Iterator<Item = Value>>) -> Bytes {
    let mut out = BytesMut::new();
    for (index, (name, value)) in fields.iter().enumerate() {
        out.put_slice(if index == 0 { b"{\"" } else { b",\"" });
        out.put_slice(name.as_bytes());
        out.put_slice(b"\":");
        put(&mut out, value);
    }
    out.put_slice(format!(",\"{name}\":").as_bytes());
    match items {
        None => out.put_slice(b"null"),
        Some(items) => {
            out.put_u8(b'[');
            for (index, item) in items.enumerate() {
                if index > 0 {
                    out.put_u8(b',');
                }
                put(&mut out, &item);
            }
            out.put_u8(b']');
        }
    }
    out.put_u8(b'}');
    out.freeze()
}

fn put(out: &mut BytesMut, value: &Value) {
    // Memory takes whatever is written.
    let _written = serde_json::to_writer(out.writer(), value);
}

fn partial(mut object: Value, version: &str) -> Value {
    // Kept as a field, not as an annotation: only whole objects show it.
    if object["kind"] == "DaemonSet"
        && let Some(meta) = object["metadata"].as_object_mut()
        && let Some(annotations) = meta.get_mut("annotations").and_then(Value::as_object_mut)
    {
        annotations.remove("deprecated.daemonset.template.generation");
        if annotations.is_empty() {
            meta.remove("annotations");
        }
    }
    json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object["metadata"].take()})
}
