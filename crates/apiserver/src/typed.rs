//! Built-in kinds as typed values: what decoding into a struct and encoding it again does.
//!
//! Unknown fields and nulls fall away, values of a wrong type are refused, and optional fields with
//! zero values are left out unless the field is a pointer, which tells zero from absent.

use std::sync::OnceLock;

mod times;

use fluvial_schema::{Base, Type};
use serde_json::Value;

/// Definitions with those of their fields that are pointers to numbers, truth values or texts: they
/// tell zero from absent.
const POINTERS: &str = include_str!("../data/pointers.txt");

type Pointers = rustc_hash::FxHashMap<String, Vec<&'static str>>;

fn pointers() -> &'static Pointers {
    static POINTERS_BY_NAME: OnceLock<Pointers> = OnceLock::new();
    POINTERS_BY_NAME.get_or_init(|| {
        let lines = POINTERS.lines().filter_map(|line| line.split_once(' '));
        lines
            .map(|(name, fields)| (definition(name), fields.split(' ').collect()))
            .collect()
    })
}

/// Definitions with what their fields are called in Go where the schema does not say: `field=type` for fields of named
/// text types, `field[]=type` for the items of lists and maps, `field@Embedded` for fields of embedded structs.
const GO_TYPES: &str = include_str!("../data/gotypes.txt");

/// What the table of Go's names says of a definition.
fn go_facts(owner: &str) -> Option<&'static str> {
    static FACTS: OnceLock<rustc_hash::FxHashMap<String, &'static str>> = OnceLock::new();
    let facts = FACTS.get_or_init(|| {
        let lines = GO_TYPES.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(name, facts)| (definition(name), facts)).collect()
    });
    facts.get(owner).copied()
}

/// What follows a field's name and a sign in what the table says of its definition.
fn go_fact(facts: Option<&'static str>, field: &str, sign: &str) -> Option<&'static str> {
    let mut words = facts?.split(' ');
    words.find_map(|word| word.strip_prefix(field)?.strip_prefix(sign))
}

/// The schema's name of a definition in the tables of facts.
fn definition(short: &str) -> String {
    if let Some(name) = short.strip_prefix("meta.") {
        return format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}");
    }
    match short.strip_prefix("crd.") {
        Some(name) => format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.{name}"),
        None => format!("io.k8s.api.{short}"),
    }
}

/// Whether a field keeps its zero value.
fn keeps_zero(owner: &str, field: &str) -> bool {
    pointers()
        .get(owner)
        .is_some_and(|fields| fields.contains(&field))
}

/// An object of a type before anything is set: parts that are no pointers are there, and empty.
#[must_use]
pub fn empty(of: Type<'_>) -> Value {
    let of = of.resolve();
    let mut map = serde_json::Map::new();
    for (name, field) in of.fields() {
        // A pointer of Go's: nothing is there, though the schema has a default.
        if name == "replicas"
            && of
                .name()
                .is_some_and(|name| name.ends_with(".ReplicationControllerSpec"))
        {
            continue;
        }
        let required = || of.required().iter().any(|own| **own == *name);
        match field.default_value() {
            Some(Value::Object(default)) if default.is_empty() => {
                map.insert(name.to_owned(), empty(field));
            }
            Some(default) => {
                map.insert(name.to_owned(), default.clone());
            }
            None if required() && always_shown(of.name().unwrap_or(""), name) => {
                map.insert(name.to_owned(), Value::Array(vec![]));
            }
            None => {}
        }
    }
    Value::Object(map)
}

/// Lists that are shown even if they are absent.
fn always_shown(owner: &str, field: &str) -> bool {
    matches!(
        (owner.rsplit('.').next().unwrap_or(""), field),
        ("PodSpec", "containers")
            | ("EndpointSlice", "endpoints" | "ports")
            | ("Role" | "ClusterRole", "rules")
            | ("CustomResourceDefinitionSpec", "versions")
            | ("TokenRequestSpec", "audiences")
    )
}

/// What decoding found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Paths of fields that the type does not have.
    pub unknown: Vec<String>,
    /// The first value of a wrong type, in Go's words.
    pub mismatch: Option<String>,
    /// The same where values are made typed that were read before.
    pub restored: Option<String>,
}

/// Why a value that was read already cannot be made one of a type.
fn restored(value: &Value, of: Type<'_>, wanted: &str) -> String {
    let found = match value {
        Value::Object(_) => "map",
        Value::Array(_) => "slice",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        _ => "int64",
    };
    match (of.base(), value) {
        (Base::Object, _) if of.has_fields() => format!("cannot restore struct from: {found}"),
        (Base::Object, _) => format!("cannot restore map from {found}"),
        (Base::Array, _) => format!("cannot restore slice from {found}"),
        (Base::Integer | Base::Number, Value::Number(_)) => {
            format!("cannot convert {found} to {wanted}")
        }
        (Base::String, _) if of.format() == Some("byte") => format!("cannot restore slice from {found}"),
        (Base::String, Value::Number(number)) if !number.is_f64() => {
            format!("cannot convert int64 to {wanted}")
        }
        (Base::String, _) => "unrecognized type: string".to_owned(),
        _ => format!("unrecognized type: {wanted}"),
    }
}

/// Go's name of a type: `v1.ObjectMeta`, `map[string]string`, `int32`.
fn go_name(of: Type<'_>) -> String {
    if let Some(name) = of.name() {
        let mut parts = name.rsplit('.');
        let (kind, package) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        return format!("{package}.{kind}");
    }
    match of.base() {
        Base::String if of.format() == Some("byte") => "[]uint8".to_owned(),
        Base::Integer => of.format().unwrap_or("int64").to_owned(),
        Base::Number => "float64".to_owned(),
        Base::Boolean => "bool".to_owned(),
        Base::Array => of.items().map_or("[]interface {}".to_owned(), |items| {
            format!("[]{}", go_name(items))
        }),
        Base::Object => of
            .additional()
            .map_or("map[string]interface {}".to_owned(), |values| {
                format!("map[string]{}", go_name(values))
            }),
        _ => "string".to_owned(),
    }
}

fn json_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

struct Walk {
    findings: Findings,
    /// Names of the fields down to here; list items add none.
    fields: Vec<String>,
    owner: String,
    /// Inside a list or a map of the last field.
    inside: bool,
}

impl Walk {
    /// Go's name of the type of the last field, or of the items in it.
    fn wanted(&self, of: Type<'_>) -> String {
        let field = self.fields.last().map_or("", String::as_str);
        let facts = go_facts(&self.owner);
        let items = || go_fact(facts, field, "[]=");
        if self.inside {
            return items().map_or_else(|| go_name(of), str::to_owned);
        }
        if let Some(named) = go_fact(facts, field, "=") {
            return named.to_owned();
        }
        match (of.base(), items()) {
            (Base::Array, Some(items)) => format!("[]{items}"),
            (Base::Object, Some(items)) => format!("map[string]{items}"),
            _ => go_name(of),
        }
    }

    /// Visits what a list or a map holds.
    fn visit_inside(&mut self, value: &mut Value, of: Type<'_>, path: &str) {
        let before = std::mem::replace(&mut self.inside, true);
        self.visit(value, of, path);
        self.inside = before;
    }

    fn mismatch(&mut self, value: &Value, of: Type<'_>) {
        let number = matches!(of.base(), Base::Integer);
        let wanted = self.wanted(of);
        self.mismatch_of(value, number, &wanted, restored(value, of, &wanted));
    }

    /// A value is not what is wanted, which may be a number.
    fn mismatch_of(&mut self, value: &Value, number: bool, wanted: &str, restored: String) {
        if self.findings.mismatch.is_some() {
            return;
        }
        let shown = match value {
            Value::Number(found) if number => format!("number {found}"),
            _ => json_name(value).to_owned(),
        };
        let text = if self.fields.is_empty() {
            format!("json: cannot unmarshal {shown} into Go value of type {wanted}")
        } else {
            let owner = self.owner.rsplit('.').next().unwrap_or("").to_owned();
            format!(
                "json: cannot unmarshal {shown} into Go struct field {owner}.{} of type {wanted}",
                self.fields.join(".")
            )
        };
        self.findings.mismatch = Some(text);
        self.findings.restored = Some(restored).filter(|text| !text.is_empty());
    }

    /// Quantities may be written as numbers, and are shown in one form.
    fn quantity(&mut self, value: &mut Value) {
        let text = match &mut *value {
            Value::Null => return,
            Value::String(text) => std::mem::take(text),
            Value::Number(number) => number.to_string(),
            // Go's quantities read whatever is there as text.
            _ => value.to_string(),
        };
        match canonical(&text) {
            Ok(text) => *value = text.into(),
            Err(error) => {
                self.findings.mismatch.get_or_insert(error);
                *value = text.into();
            }
        }
    }

    /// A number that is small and whole, or a text.
    fn int_or_text(&mut self, value: &Value) {
        let small = |number: i64| i32::try_from(number).is_ok();
        if !value.is_string() && !value.is_null() && !value.as_i64().is_some_and(small) {
            let shown = match value {
                Value::Number(found) => format!("number {found}"),
                _ => json_name(value).to_owned(),
            };
            let restored = format!("json: cannot unmarshal {shown} into Go value of type int32");
            self.mismatch_of(value, true, "int32", restored);
        }
    }

    fn visit(&mut self, value: &mut Value, of: Type<'_>, path: &str) {
        let of = of.resolve();
        if is_quantity(of) {
            self.quantity(value);
            return;
        }
        if of.int_or_string() {
            self.int_or_text(value);
            return;
        }
        if of.preserve_unknown() || is_open(of) {
            return;
        }
        match (of.base(), &mut *value) {
            (Base::Object, Value::Object(_)) if of.has_fields() => self.visit_struct(value, of, path),
            (Base::Object, Value::Object(map)) => {
                if let Some(values) = of.additional() {
                    for (key, item) in map.iter_mut() {
                        if item.is_null() && is_quantity(values.resolve()) {
                            *item = "0".into();
                        } else if item.is_null() && matches!(values.base(), Base::String) {
                            *item = Value::String(String::new());
                        }
                        self.visit_inside(item, values, &format!("{path}.{key}"));
                        if is_quantity(values.resolve()) {
                            round(item);
                        }
                    }
                }
            }
            (Base::Array, Value::Array(items)) => {
                if let Some(kind) = of.items() {
                    for (index, item) in items.iter_mut().enumerate() {
                        if item.is_null() && kind.has_fields() {
                            *item = Value::Object(serde_json::Map::new());
                        }
                        self.visit_inside(item, kind, &format!("{path}[{index}]"));
                    }
                }
            }
            (Base::Integer, Value::Number(number)) => {
                let small = of.format() == Some("int32");
                let fits = |number: i64| !small || i32::try_from(number).is_ok();
                if !number.as_i64().is_some_and(fits) {
                    let copy = value.clone();
                    self.mismatch(&copy, of);
                }
            }
            (Base::String, Value::String(text)) if is_time(of) => {
                if let Err(error) = times::check(text) {
                    self.findings.mismatch.get_or_insert(error);
                }
            }
            (Base::String, Value::String(_))
            | (Base::Number, Value::Number(_))
            | (Base::Boolean, Value::Bool(_))
            | (Base::Any, _) => {}
            (_, Value::Null) => {}
            _ => {
                let copy = value.clone();
                self.mismatch(&copy, of);
            }
        }
    }

    fn visit_struct(&mut self, value: &mut Value, of: Type<'_>, path: &str) {
        let Value::Object(map) = value else { return };
        let owner = of.name().unwrap_or("").to_owned();
        let before = std::mem::replace(&mut self.owner, owner.clone());
        let inside = std::mem::replace(&mut self.inside, false);
        let embedded = go_facts(&owner).filter(|facts| facts.contains('@'));
        let mut gone: Vec<String> = Vec::new();
        for (key, item) in map.iter_mut() {
            let here = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            let Some(kind) = of.own_field(key) else {
                self.findings.unknown.push(here);
                gone.push(key.clone());
                continue;
            };
            if item.is_null() {
                gone.push(key.clone());
                continue;
            }
            let depth = self.fields.len();
            self.fields.extend(go_fact(embedded, key, "@").map(str::to_owned));
            self.fields.push(key.clone());
            self.visit(item, kind, &here);
            self.fields.truncate(depth);
            self.owner.clone_from(&owner);
            let required = of.required().iter().any(|name| name == key);
            if !required && is_zero(item, kind) && !keeps_zero(&owner, key) {
                gone.push(key.clone());
            }
        }
        for key in gone {
            map.remove(&key);
        }
        self.owner = before;
        self.inside = inside;
    }
}

fn is_time(of: Type<'_>) -> bool {
    of.name().is_some_and(|name| name.ends_with(".meta.v1.Time"))
}

fn is_quantity(of: Type<'_>) -> bool {
    of.name().is_some_and(|name| name.ends_with(".Quantity"))
}

/// A quantity as it is shown.
fn canonical(text: &str) -> Result<String, String> {
    use fluvial_object::quantity::Quantity;
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    let quantity = Quantity::parse(text.trim()).map_err(|error| error.to_string())?;
    let nothing = Quantity::from_integer(0, quantity.format());
    // A sum is not shown as it was written.
    Ok(quantity.add(&nothing).to_string())
}

/// Amounts of resources have three places after the point, rounded up.
fn round(value: &mut Value) {
    use fluvial_object::quantity::Quantity;
    const EXACT: f64 = 1e12;
    let Some(text) = value.as_str().filter(|text| text.contains(['n', 'u', '.'])) else {
        return;
    };
    let Ok(own) = Quantity::parse(text) else { return };
    let rounded = Quantity::from_milli(own.milli_value(), own.format());
    if rounded != own && own.as_float().abs() < EXACT {
        *value = rounded.to_string().into();
    }
}

fn is_open(of: Type<'_>) -> bool {
    of.name().is_some_and(|name| {
        name.ends_with(".FieldsV1")
            || name.ends_with(".JSON")
            || name.ends_with(".JSONSchemaPropsOrBool")
            || name.ends_with(".JSONSchemaPropsOrArray")
            || name.ends_with(".JSONSchemaPropsOrStringArray")
            || name.ends_with(".RawExtension")
    })
}

fn is_zero(value: &Value, of: Type<'_>) -> bool {
    // A default that is false or empty is a value like any other.
    if is_open(of.resolve()) {
        return value.is_null();
    }
    match value {
        Value::Bool(flag) => !flag,
        Value::Number(number) => !of.int_or_string() && number.as_f64() == Some(0.0),
        Value::String(text) => !of.int_or_string() && text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty() && !of.has_fields() && of.additional().is_some(),
        Value::Null => true,
    }
}

/// Turns a value into what a struct of this type would be encoded to.
pub fn normalise(value: &mut Value, of: Type<'_>) -> Findings {
    let mut walk = Walk {
        findings: Findings::default(),
        fields: Vec::new(),
        owner: String::new(),
        inside: false,
    };
    walk.visit(value, of, "");
    walk.findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn decoding_drops_what_a_struct_cannot_hold() {
        let schemas = fluvial_schema::SchemaSet::builtin();
        let of = schemas.kind("apps", "v1", "Deployment").unwrap();
        let mut value = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {}},
            "spec": {"replicas": 0, "paused": false, "foo": 1, "minReadySeconds": 0,
            "template": {"spec": {"containers": [{"name": "c", "image": null, "resources": {}}]}}}});
        let findings = normalise(&mut value, of.view());
        assert_eq!(findings.unknown, ["spec.foo"]);
        assert_eq!(
            value["spec"],
            json!({"replicas": 0, "template": {"spec": {"containers": [{"name": "c", "resources": {}}]}}})
        );
        let mut wrong = json!({"spec": {"replicas": "x"}});
        assert_eq!(
            normalise(&mut wrong, of.view()).mismatch.unwrap(),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
    }
}
