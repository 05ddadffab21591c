//! Values: reading, merging, and how a chart's, its parent's and the user's come together.
//!
//! What is read is JSON, so that charts can be shared between threads; what a render works on are
//! the template engine's maps, which charts of one release share as in Helm: what one template
//! sets, the next one sees.

use std::rc::Rc;

use fluvial_template::{Map, Value};
use serde_json::Value as Json;

use crate::error::Error;
use crate::yaml_error::go_yaml_error;

/// The key whose table every chart of a release sees.
pub(crate) const GLOBAL: &str = "global";

/// The user's values: files and `--set` in the order in which they were given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values(pub(crate) serde_json::Map<String, Json>);

impl Values {
    /// No values.
    #[must_use]
    pub fn new() -> Self {
        Values::default()
    }

    /// Values from JSON, whose numbers are all floats to templates.
    ///
    /// # Errors
    /// If it is neither an object nor null.
    pub fn from_json(json: &Json) -> Result<Self, Error> {
        match json {
            Json::Null => Ok(Values::default()),
            Json::Object(_) => match floats(json.clone()) {
                Json::Object(fields) => Ok(Values(fields)),
                _ => Ok(Values::default()),
            },
            other => Err(Error::values(crate::metadata::mismatch(
                other,
                "",
                "map[string]interface {}",
            ))),
        }
    }

    /// Reads a values file.
    ///
    /// # Errors
    /// If it is no YAML, or no table.
    pub fn from_yaml(text: &str) -> Result<Self, Error> {
        match read_values(text)? {
            Json::Object(fields) => Ok(Values(fields)),
            _ => Ok(Values::default()),
        }
    }

    /// Lays other values over these: tables are merged, all else is replaced, null too.
    pub fn merge(&mut self, other: Values) {
        merge_json(&mut self.0, other.0);
    }

    /// The values as JSON.
    #[must_use]
    pub fn as_json(&self) -> Json {
        Json::Object(self.0.clone())
    }

    /// The value at a path.
    #[must_use]
    pub fn get(&self, path: &[&str]) -> Option<&Json> {
        let (first, rest) = path.split_first()?;
        rest.iter()
            .try_fold(self.0.get(*first)?, |here, key| here.as_object()?.get(*key))
    }

    pub(crate) fn to_map(&self) -> Map {
        Map::new(
            self.0
                .iter()
                .map(|(key, value)| (Rc::from(key.as_str()), Value::from_json_with_ints(value)))
                .collect(),
        )
    }
}

pub(crate) fn merge_json(into: &mut serde_json::Map<String, Json>, other: serde_json::Map<String, Json>) {
    for (key, value) in other {
        match (into.get_mut(&key), value) {
            (Some(Json::Object(here)), Json::Object(there)) => merge_json(here, there),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// YAML as `sigs.k8s.io/yaml` reads it, with that library's words for failures.
pub(crate) fn yaml_to_json(text: &str) -> Result<Json, String> {
    fluvial_yaml::yaml_to_json(text, false)
        .map_err(|error| format!("error converting YAML to JSON: {}", go_yaml_error(text, &error)))
}

/// As [`yaml_to_json`], without keys that are there twice.
pub(crate) fn yaml_to_json_strictly(text: &str) -> Result<Json, String> {
    fluvial_yaml::yaml_to_json(text, true).map_err(|error| {
        let problem = match error.message.contains("already set in map") {
            true => format!(
                "yaml: unmarshal errors:\n  line {}: {}",
                error.pos.line, error.message
            ),
            false => go_yaml_error(text, &error),
        };
        format!("error converting YAML to JSON: {problem}")
    })
}

/// A values file: several documents are merged.
pub(crate) fn read_values(text: &str) -> Result<Json, Error> {
    let read = |error: &dyn std::fmt::Display| Error::values(format!("error reading yaml document: {error}"));
    let mut values = serde_json::Map::new();
    for mut document in fluvial_yaml::split_documents(text).map_err(|error| read(&error))? {
        // The reference reads lines, whose ends it adds.
        if !document.ends_with('\n') {
            document.push('\n');
        }
        let json = yaml_to_json(&document)
            .map_err(|error| Error::values(format!("cannot unmarshal yaml document: {error}")))?;
        match floats(json) {
            Json::Null => {}
            Json::Object(fields) if values.is_empty() => values = fields,
            Json::Object(fields) => merge_json(&mut values, fields),
            other => {
                let problem = crate::metadata::mismatch(&other, "", "map[string]interface {}");
                return Err(Error::values(format!(
                    "cannot unmarshal yaml document: {problem}"
                )));
            }
        }
    }
    Ok(Json::Object(values))
}

/// The numbers of files are floats to templates; only `--set` makes integers.
pub(crate) fn floats(mut json: Json) -> Json {
    make_floats(&mut json);
    json
}

fn make_floats(json: &mut Json) {
    match json {
        Json::Number(number) if !number.is_f64() => {
            let float = number.as_f64().and_then(serde_json::Number::from_f64);
            *number = float.unwrap_or_else(|| number.clone());
        }
        Json::Array(items) => items.iter_mut().for_each(make_floats),
        Json::Object(fields) => fields.values_mut().for_each(make_floats),
        _ => {}
    }
}

/// A copy that shares no map with the original.
pub(crate) fn deep_copy(value: &Value) -> Value {
    match value {
        Value::Map(map) => copy_map(map).into(),
        Value::List(list)
            if list
                .items()
                .iter()
                .any(|item| matches!(item, Value::Map(_) | Value::List(_))) =>
        {
            let items = list.items().iter().map(deep_copy).collect();
            fluvial_template::List::of(list.element, items).into()
        }
        other => other.clone(),
    }
}

pub(crate) fn copy_map(map: &Map) -> Map {
    Map::new(
        map.borrow()
            .iter()
            .map(|(key, value)| (Rc::clone(key), deep_copy(value)))
            .collect(),
    )
}

/// A chart of a release while its values are put together: names and dependencies after aliases.
pub(crate) trait Node {
    fn name(&self) -> &str;
    /// A fresh copy of the chart's own values.
    fn values(&self) -> Map;
    fn children(&self) -> &[Self]
    where
        Self: Sized;
}

/// How values meet: `merge` keeps nulls, coalescing lets them delete.
#[derive(Clone, Copy)]
pub(crate) struct Coalesce<'w> {
    pub(crate) merge: bool,
    pub(crate) warnings: &'w std::cell::RefCell<Vec<String>>,
}

impl Coalesce<'_> {
    fn warn(&self, message: String) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < 1000 {
            warnings.push(message);
        }
    }

    /// The user's values over a chart's and those of its dependencies.
    pub(crate) fn chart<N: Node>(self, chart: &N, user: &Map) -> Result<Map, Error> {
        let values = copy_map(user);
        self.level(chart, &values, "")?;
        Ok(values)
    }

    fn level<N: Node>(self, chart: &N, values: &Map, prefix: &str) -> Result<(), Error> {
        self.own(chart, values, prefix);
        for child in chart.children() {
            let here = values.get(child.name());
            let table = match here {
                None => {
                    let table = Map::default();
                    put(values, child.name(), table.clone().into());
                    table
                }
                Some(Value::Map(table)) => table,
                Some(other) => {
                    return Err(Error::values(format!(
                        "type mismatch on {}: {}",
                        child.name(),
                        fluvial_template::print::sprintf("%t", &[other.unwrap_interface()])
                    )));
                }
            };
            let prefix = join(prefix, chart.name());
            self.globals(&table, values, &prefix);
            self.level(child, &table, &prefix)?;
        }
        Ok(())
    }

    /// A parent's globals into a child's.
    fn globals(self, child: &Map, parent: &Map, prefix: &str) {
        let Some(target) = self.global_table(child, "destination") else {
            return;
        };
        let Some(source) = self.global_table(parent, "source") else {
            return;
        };
        // The globals of a chart that is called `global` would become part of themselves.
        let source = if source.same(child) {
            copy_map(&source)
        } else {
            source
        };
        let entries: Vec<_> = source
            .borrow()
            .iter()
            .map(|(k, v)| (Rc::clone(k), v.clone()))
            .collect();
        for (key, value) in entries {
            let here = target.get(&key);
            match (&value, &here) {
                (Value::Map(table), _) => {
                    let table = Map::new(table.borrow().clone());
                    match &here {
                        None => {}
                        Some(Value::Map(own)) => {
                            let merging = Coalesce { merge: true, ..self };
                            merging.tables(&table, own, &join(prefix, &key));
                        }
                        Some(_) => {
                            self.warn(format!(
                                "Conflict: cannot merge map onto non-map for {}. Skipping.",
                                fluvial_template::quote(&key)
                            ));
                            continue;
                        }
                    }
                    put(&target, &key, table.into());
                }
                (_, Some(Value::Map(_))) => self.warn(format!("key {key} is table. Skipping")),
                _ => put(&target, &key, value),
            }
        }
        put(child, GLOBAL, target.into());
    }

    fn global_table(self, map: &Map, side: &str) -> Option<Map> {
        match map.get(GLOBAL) {
            None => Some(Map::default()),
            Some(Value::Map(table)) => Some(table),
            Some(_) => {
                self.warn(format!(
                    "warning: skipping globals because {side} {GLOBAL} is not a table."
                ));
                None
            }
        }
    }

    /// A chart's own values below what is there.
    fn own<N: Node>(self, chart: &N, values: &Map, prefix: &str) {
        let prefix = join(prefix, chart.name());
        let own = chart.values();
        let entries: Vec<_> = own
            .borrow()
            .iter()
            .map(|(k, v)| (Rc::clone(k), v.clone()))
            .collect();
        for (key, default) in entries {
            match values.get(&key) {
                None => self.fill(values, &key, default),
                Some(value) if value.is_nil() => {
                    if !self.merge {
                        values.borrow_mut().remove(&*key);
                    }
                }
                Some(Value::Map(table)) => match default {
                    Value::Map(default) => {
                        let child = chart.children().iter().any(|child| child.name() == &*key);
                        let how = Coalesce {
                            merge: self.merge || child,
                            ..self
                        };
                        how.tables(&table, &default, &join(&prefix, &key));
                    }
                    Value::NilInterface | Value::Nil => {}
                    _ => self.warn(format!("warning: skipped value for {prefix}.{key}: Not a table.")),
                },
                Some(_) => {}
            }
        }
    }

    /// Takes over what is missing; only merging keeps nulls.
    fn fill(self, target: &Map, key: &str, value: Value) {
        if self.merge {
            put(target, key, value);
        } else if !value.is_nil() {
            put(target, key, without_nulls(value));
        }
    }

    /// Merges a table below another, which is authoritative.
    pub(crate) fn tables(self, target: &Map, source: &Map, prefix: &str) {
        if target.same(source) {
            return;
        }
        let entries: Vec<_> = source
            .borrow()
            .iter()
            .map(|(k, v)| (Rc::clone(k), v.clone()))
            .collect();
        for (key, value) in entries {
            let here = target.get(&key);
            match (here, value) {
                (None, value) => self.fill(target, &key, value),
                (Some(here), value) if here.is_nil() && (self.merge || value.is_nil()) => {}
                (Some(here), _) if here.is_nil() => {
                    target.borrow_mut().remove(&*key);
                }
                (Some(Value::Map(here)), Value::Map(value)) => {
                    self.tables(&here, &value, &join(prefix, &key))
                }
                (Some(_), Value::Map(value)) => self.warn(format!(
                    "warning: cannot overwrite table with non table for {} ({})",
                    join(prefix, &key),
                    fluvial_template::print::go_value(&value.into())
                )),
                (Some(Value::Map(_)), value) if !value.is_nil() => self.warn(format!(
                    "warning: destination for {} is a table. Ignoring non-table value ({})",
                    join(prefix, &key),
                    fluvial_template::print::go_value(&value)
                )),
                _ => {}
            }
        }
    }
}

/// Drops the nulls of a chart's own values: they have nothing to delete.
fn without_nulls(value: Value) -> Value {
    if let Value::Map(map) = &value {
        let mut entries = map.borrow_mut();
        entries.retain(|_, value| !value.is_nil());
        for value in entries.values_mut() {
            *value = without_nulls(value.clone());
        }
    }
    value
}

pub(crate) fn put(map: &Map, key: &str, value: Value) {
    map.borrow_mut().insert(key.into(), value);
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() {
        key.to_owned()
    } else {
        format!("{prefix}.{key}")
    }
}

/// The table at a dotted path.
pub(crate) fn table_at(map: &Map, path: &str) -> Option<Map> {
    let mut here = map.clone();
    for part in path.split('.') {
        let next = match here.get(part)? {
            Value::Map(map) => map,
            Value::Object(object) => object.as_map()?,
            _ => return None,
        };
        here = next;
    }
    Some(here)
}

/// The value at a dotted path that is no table.
pub(crate) fn path_value(map: &Map, path: &str) -> Option<Value> {
    let (table, key) = match path.rsplit_once('.') {
        Some((table, key)) => (table_at(map, table)?, key),
        None => (map.clone(), path),
    };
    table.get(key).filter(|value| !matches!(value, Value::Map(_)))
}
