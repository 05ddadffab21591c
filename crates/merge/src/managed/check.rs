//! Whether a value fits its schema well enough to be merged.

use fluvial_object::go;
use std::collections::BTreeSet;

use fluvial_schema::{ListType, quote};
use serde_json::Value;

use super::shape::{Form, ListShape, MapShape, Scalar, Shape};

/// The errors, joined as the API server joins them; `None` if the value fits.
pub(super) fn check<'v>(shape: Shape<'v>, value: &'v Value, duplicates: bool) -> Option<String> {
    let mut checker = Checker {
        duplicates,
        path: Vec::new(),
        errors: Vec::new(),
    };
    checker.walk(shape, value);
    match checker.errors.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("errors:\n  {}", many.join("\n  "))),
    }
}

struct Checker<'v> {
    duplicates: bool,
    path: Vec<Place<'v>>,
    errors: Vec<String>,
}

/// A step whose text is made only for errors.
enum Place<'v> {
    Field(&'v str),
    Index(usize),
    Item(ListShape<'v>, &'v Value),
}

impl<'v> Checker<'v> {
    fn error(&mut self, last: &str, message: &str) {
        let path: String = self
            .path
            .iter()
            .map(|place| match place {
                Place::Field(name) => format!(".{name}"),
                Place::Index(index) => format!("[{index}]"),
                Place::Item(shape, item) => shape.step(item).map_or(String::new(), |step| step.to_string()),
            })
            .collect();
        self.errors.push(if path.is_empty() && last.is_empty() {
            message.to_owned()
        } else {
            format!("{path}{last}: {message}")
        });
    }

    fn walk(&mut self, shape: Shape<'v>, value: &'v Value) {
        match shape.atom().for_value(Some(value)).form() {
            Form::Map(map) => self.map(&map, value),
            Form::Scalar(scalar) => {
                if let Some(message) = scalar_error(scalar, value) {
                    self.error("", &message);
                }
            }
            Form::List(list) => self.list(&list, value),
            Form::Nothing => self.error("", "schema error: invalid atom: inlined"),
        }
    }

    fn map(&mut self, shape: &MapShape<'v>, value: &'v Value) {
        let map = match value {
            Value::Null => return,
            Value::Object(map) => map,
            other => return self.error("", &format!("expected map, got &{{{}}}", go::plain(other))),
        };
        for (key, child) in map {
            let Some(field) = shape.field(key) else {
                self.error(&format!(".{key}"), "field not declared in schema");
                return;
            };
            self.path.push(Place::Field(key));
            self.walk(field, child);
            self.path.pop();
        }
    }

    fn list(&mut self, shape: &ListShape<'v>, value: &'v Value) {
        let list = match value {
            Value::Null => return,
            Value::Array(list) => list,
            other => return self.error("", &format!("expected list, got &{{{}}}", go::plain(other))),
        };
        let mut seen = BTreeSet::new();
        for (index, child) in list.iter().enumerate() {
            let place = if shape.relation == ListType::Atomic {
                Place::Index(index)
            } else if self.duplicates && shape.relation == ListType::Map && !shape.keys_of(child).is_empty() {
                // The step itself is made only where it is told apart from others, or shown.
                Place::Item(*shape, child)
            } else {
                match shape.step(child) {
                    Err(message) => return self.error("", &format!("element {index}: {message}")),
                    Ok(step) => {
                        if !self.duplicates && seen.contains(&step) {
                            self.error("", &format!("duplicate entries for key {step}"));
                        }
                        seen.insert(step);
                        Place::Item(*shape, child)
                    }
                }
            };
            self.path.push(place);
            self.walk(shape.items, child);
            self.path.pop();
        }
    }
}

fn scalar_error(scalar: Scalar, value: &Value) -> Option<String> {
    match (scalar, value) {
        (_, Value::Null)
        | (Scalar::Numeric, Value::Number(_))
        | (Scalar::String, Value::String(_))
        | (Scalar::Boolean, Value::Bool(_)) => None,
        (Scalar::Untyped, Value::Object(_) | Value::Array(_)) => {
            Some(format!("expected any scalar, got &{{{}}}", go::plain(value)))
        }
        (Scalar::Untyped, _) => None,
        (Scalar::Numeric, other) => Some(format!(
            "expected numeric (int or float), got {}",
            go::type_name(other)
        )),
        (Scalar::String, other) => Some(format!(
            "expected string, got &value.valueUnstructured{{Value:{}}}",
            go_syntax(other)
        )),
        (Scalar::Boolean, other) => Some(format!("expected boolean, got &{{{}}}", go::plain(other))),
    }
}

/// Go's `%#v`.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::String(text) => quote(text),
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(map) => {
            let items = map
                .iter()
                .map(|(key, value)| format!("{}:{}", quote(key), go_syntax(value)));
            format!(
                "map[string]interface {{}}{{{}}}",
                items.collect::<Vec<_>>().join(", ")
            )
        }
        other => other.to_string(),
    }
}
