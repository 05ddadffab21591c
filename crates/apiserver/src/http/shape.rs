//! The forms in which objects are sent: whole, metadata alone, or rows of a table.

use std::sync::Arc;

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
        let package = self
            .kind
            .group
            .split('.')
            .next()
            .filter(|name| !name.is_empty())
            .unwrap_or("core");
        format!("*{package}.{}", self.kind.kind)
    }

    /// The form of one object.
    ///
    /// # Errors
    /// The form is one of lists.
    pub fn one(&self, object: Value, api: &Api) -> Outcome<Value> {
        match &self.shape {
            Shape::Partial(version) => Ok(partial(object, version)),
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
                Ok(self.table(version, &meta, vec![object], api, true))
            }
            _ => Ok(object),
        }
    }

    /// The form of a list.
    ///
    /// # Errors
    /// The form is one of single objects.
    pub fn list(&self, meta: &Value, objects: Vec<Value>, api: &Api) -> Outcome<Value> {
        match &self.shape {
            Shape::PartialList(version) => {
                let items: Vec<Value> = objects
                    .into_iter()
                    .map(|object| partial(object, version))
                    .collect();
                let items = if items.is_empty() {
                    Value::Null
                } else {
                    items.into()
                };
                Ok(
                    json!({"kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"),
                    "metadata": meta, "items": items}),
                )
            }
            Shape::Partial(_) => Err(Failure::new(
                406,
                "NotAcceptable",
                format!(
                    "you requested PartialObjectMetadata, but the requested object is a list ({}List)",
                    self.go_name()
                ),
            )),
            Shape::Table(version) => Ok(self.table(version, meta, objects, api, true)),
            _ => Ok(
                json!({"kind": self.kind.list_kind, "apiVersion": self.kind.api_version(),
                "metadata": meta, "items": objects}),
            ),
        }
    }

    fn table(&self, version: &str, meta: &Value, objects: Vec<Value>, api: &Api, columns: bool) -> Value {
        let now = (api.clock)();
        let rows: Vec<Value> = objects
            .into_iter()
            .map(|object| {
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
            })
            .collect();
        let definitions = if columns {
            table::definitions(&self.kind)
        } else {
            Value::Null
        };
        let rows = if rows.is_empty() && !table::has_columns(&self.kind) {
            Value::Null
        } else {
            rows.into()
        };
        json!({"kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": meta,
            "columnDefinitions": definitions, "rows": rows})
    }

    /// The form of an object in a watch; columns are sent once.
    pub fn event(&mut self, object: Value, api: &Api) -> Value {
        match &self.shape {
            Shape::Partial(version) | Shape::PartialList(version) => partial(object, version),
            Shape::Table(version) => {
                let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"].clone()});
                let first = !std::mem::replace(&mut self.columns_sent, true);
                let version = version.clone();
                self.table(&version, &meta, vec![object], api, first)
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
        let mut table = self.table(version, &meta, vec![object], api, false);
        let shown = table.pointer_mut("/rows/0/object/metadata");
        if let Some(shown) = shown.and_then(Value::as_object_mut) {
            shown.remove("name");
        }
        table
    }
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
