//! Reading an `openAPIV3Schema` into a table.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::kinds::{SchemaSet, list_type, map_type};
use crate::table::{Base, Index, Node, Table, Text};
use crate::types::Type;

use super::pattern::Pattern;
use super::rules::Rule;

/// Schemas nest no deeper than this.
const DEPTH: usize = 128;
/// Key of rules in the expression language.
const RULES: &str = "x-kubernetes-validations";

/// Reads the root schema; `metadata` becomes the built-in one.
pub(super) fn root(table: &mut Table, schema: &Value) -> Index {
    let index = read(table, schema, 0, false);
    let builtin = SchemaSet::builtin();
    let metadata = builtin.definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    let metadata = metadata.map(|metadata| copy(table, metadata.view()));
    if let Some(metadata) = metadata {
        table.nodes[metadata as usize].foreign = true;
    }
    let text = table.push(Node {
        base: Base::String,
        ..Node::default()
    });
    let fields = &mut table.nodes[index as usize].fields;
    for (name, child) in [
        ("apiVersion", Some(text)),
        ("kind", Some(text)),
        ("metadata", metadata),
    ] {
        let Some(child) = child else { continue };
        match fields.binary_search_by(|(own, _)| own.as_ref().cmp(name)) {
            Ok(at) if name == "metadata" => fields[at].1 = child,
            Ok(_) => {}
            Err(at) => fields.insert(at, (name.into(), child)),
        }
    }
    index
}

/// Copies a built-in type into another table, references resolved.
fn copy(table: &mut Table, from: Type<'_>) -> Index {
    let target = from.resolve();
    let mut node = target.table.nodes[target.index as usize].clone();
    node.items = target.items().map(|items| copy(table, items));
    node.additional = target.additional().map(|values| copy(table, values));
    let fields: Vec<(String, Index)> = target
        .fields()
        .map(|(name, field)| (name.to_owned(), copy(table, field)))
        .collect();
    node.fields = fields
        .into_iter()
        .map(|(name, index)| (Text::from(name), index))
        .collect();
    if let Some(more) = &mut node.more {
        more.one_of.clear();
    }
    table.push(node)
}

fn texts(value: &Value) -> Vec<Text> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(Value::as_str)
        .map(|text| Text::from(text.to_owned()))
        .collect()
}

pub(super) fn read(table: &mut Table, schema: &Value, depth: usize, open: bool) -> Index {
    let empty = Map::new();
    let map = schema.as_object().unwrap_or(&empty);
    let mut node = Node::default();
    let flag = |key: &str| map.get(key).and_then(Value::as_bool).unwrap_or(false);
    let text = |key: &str| map.get(key).and_then(Value::as_str);
    node.base = text("type").and_then(Base::parse).unwrap_or_default();
    node.nullable = flag("nullable");
    node.preserve_unknown = flag("x-kubernetes-preserve-unknown-fields");
    // Once unknown fields are kept, those of declared fields below merge by deduced types too.
    let open = open || node.preserve_unknown;
    node.open = open;
    node.embedded = flag("x-kubernetes-embedded-resource");
    node.int_or_string = flag("x-kubernetes-int-or-string");
    node.list_type = text("x-kubernetes-list-type").and_then(list_type);
    node.map_type = text("x-kubernetes-map-type").and_then(map_type);
    if let Some(format) = text("format") {
        node.more_mut().format = Some(format.to_owned().into());
    }
    if let Some(required) = map.get("required") {
        node.more_mut().required = texts(required);
    }
    if let Some(keys) = map.get("x-kubernetes-list-map-keys") {
        node.more_mut().map_keys = texts(keys);
    }
    if let Some(default) = map.get("default") {
        node.more_mut().default = Some(default.clone());
    }
    if let Some(Value::Array(values)) = map.get("enum") {
        node.more_mut().enumeration.clone_from(values);
    }
    if depth < DEPTH {
        read_checks(table, &mut node, map, depth, open);
        if let Some(Value::Object(properties)) = map.get("properties") {
            for (name, child) in properties {
                let index = read(table, child, depth + 1, open);
                node.fields.push((name.clone().into(), index));
            }
        }
        if let Some(items @ Value::Object(_)) = map.get("items") {
            node.items = Some(read(table, items, depth + 1, open));
        }
        match map.get("additionalProperties") {
            Some(values @ Value::Object(_)) => node.additional = Some(read(table, values, depth + 1, open)),
            Some(Value::Bool(true)) => {
                node.additional = Some(table.push(Node {
                    preserve_unknown: true,
                    ..Node::default()
                }));
            }
            _ => {}
        }
    }
    table.push(node)
}

fn read_checks(table: &mut Table, node: &mut Node, map: &Map<String, Value>, depth: usize, open: bool) {
    let number = |key: &str| map.get(key).and_then(Value::as_number).cloned();
    let count = |key: &str| map.get(key).and_then(Value::as_u64);
    let flag = |key: &str| map.get(key).and_then(Value::as_bool).unwrap_or(false);
    let mut all = |key: &str| -> Vec<Index> {
        let parts = map.get(key).and_then(Value::as_array).into_iter().flatten();
        parts.map(|part| read(table, part, depth + 1, open)).collect()
    };
    let (all_of, any_of, one_of) = (all("allOf"), all("anyOf"), all("oneOf"));
    let pattern = map
        .get("pattern")
        .and_then(Value::as_str)
        .filter(|pattern| !pattern.is_empty());
    const KEYS: [&str; 12] = [
        "maximum",
        "minimum",
        "multipleOf",
        "maxLength",
        "minLength",
        "pattern",
        "maxItems",
        "minItems",
        "maxProperties",
        "minProperties",
        "not",
        RULES,
    ];
    let plain = KEYS.iter().all(|key| !map.contains_key(*key));
    if plain && all_of.is_empty() && any_of.is_empty() && one_of.is_empty() {
        return;
    }
    let checks = node.checks_mut();
    checks.maximum = number("maximum");
    checks.exclusive_maximum = flag("exclusiveMaximum");
    checks.minimum = number("minimum");
    checks.exclusive_minimum = flag("exclusiveMinimum");
    checks.multiple_of = number("multipleOf");
    checks.max_length = count("maxLength");
    checks.min_length = count("minLength");
    checks.pattern = pattern.map(Pattern::new);
    checks.max_items = count("maxItems");
    checks.min_items = count("minItems");
    checks.max_properties = count("maxProperties");
    checks.min_properties = count("minProperties");
    checks.all_of = all_of;
    checks.any_of = any_of;
    checks.one_of = one_of;
    let rules = map.get(RULES).and_then(Value::as_array).into_iter().flatten();
    checks.rules = rules
        .map(|rule| Rule::deserialize(rule).unwrap_or_default())
        .collect();
    if let Some(not) = map.get("not") {
        checks.not = Some(read(table, not, depth + 1, open));
    }
}
