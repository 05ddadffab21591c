//! Which schemas a definition may have: the rules for structural schemas, with the server's texts.

use serde_json::{Map, Value, json};

use crate::error::{ErrorKind, FieldError};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// Where the paths of errors begin.
const ROOT: &str = "openAPIV3Schema";

/// Schemas nest no deeper than this.
const DEPTH: usize = 128;

/// What a schema describes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Field,
    Item,
}

/// All violations; paths begin with `openAPIV3Schema`.
pub(super) fn check(schema: &Value) -> Vec<FieldError> {
    let mut checker = Checker { errors: Vec::new() };
    let path = ROOT;
    checker.form(schema, path, 0);
    // Of a malformed schema the structure says nothing more.
    if checker.errors.is_empty() {
        checker.structure(schema, Level::Root, path);
        // The server reports them by their texts.
        checker.errors.sort_by_cached_key(ToString::to_string);
    }
    checker.errors
}

struct Checker {
    errors: Vec<FieldError>,
}

fn text<'v>(map: &'v Map<String, Value>, key: &str) -> &'v str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn flag(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// The schemas directly below, with their paths.
fn children<'v>(map: &'v Map<String, Value>, path: &str) -> Vec<(String, &'v Value)> {
    let mut out = Vec::new();
    if let Some(Value::Object(properties)) = map.get("properties") {
        out.extend(
            properties
                .iter()
                .map(|(name, child)| (format!("{path}.properties[{name}]"), child)),
        );
    }
    for key in ["items", "additionalProperties", "not"] {
        if let Some(child @ Value::Object(_)) = map.get(key) {
            out.push((format!("{path}.{key}"), child));
        }
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        if let Some(Value::Array(all)) = map.get(key) {
            out.extend(
                all.iter()
                    .enumerate()
                    .map(|(at, child)| (format!("{path}.{key}[{at}]"), child)),
            );
        }
    }
    out
}

impl Checker {
    fn add(&mut self, kind: ErrorKind, path: String, value: Option<Value>, detail: &str) {
        self.errors.push(FieldError {
            kind,
            path,
            value,
            detail: detail.to_owned(),
        });
    }

    fn forbid(&mut self, path: String, detail: &str) {
        self.add(ErrorKind::Forbidden, path, None, detail);
    }

    fn require(&mut self, path: String, detail: &str) {
        self.add(ErrorKind::Required, path, None, detail);
    }

    fn invalid(&mut self, path: String, value: Value, detail: &str) {
        self.add(ErrorKind::Invalid, path, Some(value), detail);
    }

    /// What no schema in a definition may hold.
    fn form(&mut self, schema: &Value, path: &str, depth: usize) {
        let Value::Object(map) = schema else {
            self.invalid(path.to_owned(), schema.clone(), "must be a schema");
            return;
        };
        if depth > DEPTH {
            self.forbid(path.to_owned(), "nests too deep");
            return;
        }
        for key in [
            "$ref",
            "id",
            "additionalItems",
            "patternProperties",
            "definitions",
            "dependencies",
        ] {
            if map.contains_key(key) {
                self.forbid(format!("{path}.{key}"), &format!("{key} is not supported"));
            }
        }
        let kind = text(map, "type");
        if kind == "null" {
            self.forbid(
                format!("{path}.type"),
                "type cannot be set to null, use nullable as an alternative",
            );
        } else if !kind.is_empty() && !TYPES.contains(&kind) {
            self.errors.push(FieldError::not_supported(
                format!("{path}.type"),
                kind.into(),
                &TYPES,
            ));
        }
        if map.get("items").is_some_and(Value::is_array) {
            self.forbid(
                format!("{path}.items"),
                "items must be a schema object and not an array",
            );
        }
        if flag(map, "uniqueItems") {
            self.forbid(
                format!("{path}.uniqueItems"),
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            );
        }
        let extra = map.get("additionalProperties");
        let fields = map
            .get("properties")
            .and_then(Value::as_object)
            .is_some_and(|fields| !fields.is_empty());
        if extra.is_some_and(|extra| extra != false) && fields {
            self.forbid(
                format!("{path}.additionalProperties"),
                "additionalProperties and properties are mutual exclusive",
            );
        }
        if map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
            self.invalid(
                format!("{path}.x-kubernetes-preserve-unknown-fields"),
                false.into(),
                "must be true or undefined",
            );
        }
        let pattern = text(map, "pattern");
        if let Err(error) = super::pattern::compile(pattern) {
            self.invalid(
                format!("{path}.pattern"),
                pattern.into(),
                &format!("must be a valid regular expression, but isn't: {error}"),
            );
        }
        self.map_type(map, path);
        self.list_type(map, path);
        for (path, child) in children(map, path) {
            self.form(child, &path, depth + 1);
        }
    }

    fn needs_type(&mut self, map: &Map<String, Value>, path: &str, want: &str, detail: &str) {
        let kind = text(map, "type");
        if kind.is_empty() {
            self.require(format!("{path}.type"), detail);
        } else if kind != want {
            self.invalid(format!("{path}.type"), kind.into(), detail);
        }
    }

    fn map_type(&mut self, map: &Map<String, Value>, path: &str) {
        let Some(kind) = map.get("x-kubernetes-map-type") else {
            return;
        };
        self.needs_type(
            map,
            path,
            "object",
            "must be object if x-kubernetes-map-type is specified",
        );
        if !["atomic", "granular"].contains(&kind.as_str().unwrap_or_default()) {
            let path = format!("{path}.x-kubernetes-map-type");
            self.errors.push(FieldError::not_supported(
                path,
                kind.clone(),
                &["atomic", "granular"],
            ));
        }
    }

    fn list_type(&mut self, map: &Map<String, Value>, path: &str) {
        let kind = map.get("x-kubernetes-list-type");
        let keys = map.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
        let keys: Vec<&str> = keys.into_iter().flatten().filter_map(Value::as_str).collect();
        let own = format!("{path}.x-kubernetes-list-type");
        let kind_text = kind.and_then(Value::as_str).unwrap_or_default();
        if let Some(kind) = kind {
            self.needs_type(
                map,
                path,
                "array",
                "must be array if x-kubernetes-list-type is specified",
            );
            if !["atomic", "map", "set"].contains(&kind_text) {
                self.errors.push(FieldError::not_supported(
                    own.clone(),
                    kind.clone(),
                    &["atomic", "set", "map"],
                ));
            }
        }
        if kind_text == "set" {
            self.set_items(map, path);
        }
        if kind_text != "map" {
            if !keys.is_empty() {
                let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
                match kind {
                    None => self.require(own, detail),
                    Some(kind) => self.invalid(own, kind.clone(), detail),
                }
            }
            return;
        }
        let keys_path = format!("{path}.x-kubernetes-list-map-keys");
        if keys.is_empty() {
            self.require(
                keys_path.clone(),
                "must not be empty if x-kubernetes-list-type is map",
            );
        }
        let Some(Value::Object(items)) = map.get("items") else {
            let detail = "must have a schema if x-kubernetes-list-type is map";
            return self.require(format!("{path}.items"), detail);
        };
        if text(items, "type") != "object" {
            self.invalid(
                format!("{path}.items.type"),
                text(items, "type").into(),
                "must be object if parent array's x-kubernetes-list-type is map",
            );
            // What is no object has no properties to be keys.
            return;
        }
        let required = items.get("required").and_then(Value::as_array);
        for (at, key) in keys.iter().enumerate() {
            if keys[..at].contains(key) {
                self.invalid(
                    keys_path.clone(),
                    json!(keys),
                    "must not contain duplicate entries",
                );
            }
            let Some(field) = items.get("properties").and_then(|fields| fields.get(*key)) else {
                self.invalid(
                    keys_path.clone(),
                    json!(keys),
                    "entries must all be names of item properties",
                );
                continue;
            };
            let field_path = format!("{path}.items.properties[{key}]");
            if let Some(kind @ ("object" | "array")) = field.get("type").and_then(Value::as_str) {
                self.invalid(
                    format!("{field_path}.type"),
                    kind.into(),
                    "must be a scalar type if parent array's x-kubernetes-list-type is map",
                );
            }
            let needed = required.is_some_and(|required| required.iter().any(|name| name == key));
            if !needed && field.get("default").is_none() {
                self.require(
                    format!("{field_path}.default"),
                    "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
                );
            }
        }
    }

    /// The items of a set are compared as a whole, and none of them is nothing.
    fn set_items(&mut self, map: &Map<String, Value>, path: &str) {
        let Some(Value::Object(items)) = map.get("items") else {
            return;
        };
        let path = format!("{path}.items");
        if flag(items, "nullable") {
            let detail = "cannot be nullable when x-kubernetes-list-type is set";
            self.forbid(format!("{path}.nullable"), detail);
        }
        if text(items, "type") == "object" {
            let field = "x-kubernetes-map-type";
            let own = items.get(field).cloned().unwrap_or(Value::Null);
            if own != "atomic" {
                let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
                self.invalid(format!("{path}.{field}"), own, detail);
            }
        }
    }

    /// Every level names its type, and value checks add nothing to the structure.
    fn structure(&mut self, schema: &Value, level: Level, path: &str) {
        let Value::Object(map) = schema else { return };
        if let Some(items @ Value::Object(_)) = map.get("items") {
            self.structure(items, Level::Item, &format!("{path}.items"));
        }
        if let Some(Value::Object(properties)) = map.get("properties") {
            for (name, child) in properties {
                self.structure(child, Level::Field, &format!("{path}.properties[{name}]"));
            }
        }
        if let Some(values @ Value::Object(_)) = map.get("additionalProperties") {
            self.structure(values, Level::Field, &format!("{path}.additionalProperties"));
        }
        self.value_checks(map, path);
        let kind = text(map, "type");
        let embedded = flag(map, "x-kubernetes-embedded-resource");
        let untyped =
            flag(map, "x-kubernetes-int-or-string") || flag(map, "x-kubernetes-preserve-unknown-fields");
        if embedded && kind != "object" {
            self.needs_type(
                map,
                path,
                "object",
                "must be object if x-kubernetes-embedded-resource is true",
            );
        } else if kind.is_empty() && !untyped {
            self.require(
                format!("{path}.type"),
                match level {
                    Level::Root => "must not be empty at the root",
                    Level::Item => "must not be empty for specified array items",
                    Level::Field => "must not be empty for specified object fields",
                },
            );
        }
        let extra = format!("{path}.additionalProperties");
        if embedded && map.contains_key("additionalProperties") {
            self.forbid(
                extra.clone(),
                "must not be used if x-kubernetes-embedded-resource is set",
            );
        }
        if level == Level::Root {
            if !kind.is_empty() && kind != "object" {
                self.invalid(format!("{path}.type"), kind.into(), "must be object at the root");
            }
            if map.contains_key("additionalProperties") {
                self.forbid(extra, "must not be used at the root");
            }
            if flag(map, "nullable") {
                self.forbid(format!("{path}.nullable"), "nullable cannot be true at the root");
            }
        }
        if kind == "array" && !map.contains_key("items") {
            self.require(format!("{path}.items"), "must be specified");
        }
        let properties = map.get("properties").and_then(Value::as_object);
        if let (true, Some(properties)) = (level == Level::Root || embedded, properties) {
            self.object_fields(properties, path);
        }
        if embedded
            && !flag(map, "x-kubernetes-preserve-unknown-fields")
            && properties.is_none_or(Map::is_empty)
        {
            self.require(
                format!("{path}.properties"),
                "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
            );
        }
    }

    /// apiVersion, kind and metadata of a whole object.
    fn object_fields(&mut self, properties: &Map<String, Value>, path: &str) {
        for name in ["kind", "apiVersion"] {
            if let Some(kind) = properties.get(name).and_then(|field| field.get("type"))
                && kind != "string"
            {
                self.invalid(
                    format!("{path}.properties[{name}].type"),
                    kind.clone(),
                    "must be string",
                );
            }
        }
        let Some(Value::Object(metadata)) = properties.get("metadata") else {
            return;
        };
        let path = format!("{path}.properties[metadata]");
        if text(metadata, "type") != "object" {
            self.invalid(
                format!("{path}.type"),
                text(metadata, "type").into(),
                "must be object",
            );
        }
        let mut fields = metadata
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        let named = |name: &str| name == "name" || name == "generateName";
        let more = metadata.iter().any(|(key, value)| {
            let empty = [json!(""), json!(false), json!({}), json!([]), Value::Null];
            !matches!(key.as_str(), "type" | "properties" | "default") && !empty.contains(value)
        });
        if more || fields.any(|(name, _)| !named(name)) {
            self.forbid(
                path,
                "must not specify anything other than name and generateName, but metadata is implicitly specified",
            );
        }
    }

    /// allOf, anyOf, oneOf and not.
    fn value_checks(&mut self, map: &Map<String, Value>, path: &str) {
        let whole = flag(map, "x-kubernetes-int-or-string");
        // Whether what is checked is described, too, is asked at the root alone.
        let of = (path == ROOT).then_some(map);
        // The one form that may name types again.
        let both = json!([{"type": "integer"}, {"type": "string"}]);
        for key in ["allOf", "anyOf", "oneOf"] {
            let Some(Value::Array(all)) = map.get(key) else {
                continue;
            };
            if whole && key == "anyOf" && map.get(key) == Some(&both) {
                continue;
            }
            for (at, check) in all.iter().enumerate() {
                if whole && key == "allOf" && at == 0 && check.get("anyOf") == Some(&both) {
                    continue;
                }
                self.value_check(check, of, &format!("{path}.{key}[{at}]"), path);
            }
        }
        if let Some(check) = map.get("not") {
            self.value_check(check, of, &format!("{path}.not"), path);
        }
    }

    fn value_check(&mut self, check: &Value, of: Option<&Map<String, Value>>, path: &str, of_path: &str) {
        let Value::Object(check) = check else { return };
        for key in [
            "type",
            "title",
            "description",
            "x-kubernetes-list-map-keys",
            "x-kubernetes-validations",
        ] {
            let empty = [json!(""), json!([]), Value::Null];
            if check.get(key).is_some_and(|value| !empty.contains(value)) {
                self.forbid(format!("{path}.{key}"), "must be empty to be structural");
            }
        }
        for key in [
            "default",
            "additionalProperties",
            "x-kubernetes-list-type",
            "x-kubernetes-map-type",
        ] {
            if check.get(key).is_some_and(|value| !value.is_null()) {
                self.forbid(format!("{path}.{key}"), "must be undefined to be structural");
            }
        }
        for key in [
            "nullable",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-embedded-resource",
            "x-kubernetes-int-or-string",
        ] {
            if check.get(key) == Some(&json!(true)) {
                self.forbid(format!("{path}.{key}"), "must be false to be structural");
            }
        }
        if let Some(Value::Object(fields)) = check.get("properties") {
            if fields.contains_key("metadata") {
                let at = format!("{path}.properties[metadata]");
                self.forbid(at, "must not be specified in a nested context");
            }
            let own = of.and_then(|of| of.get("properties")).and_then(Value::as_object);
            let values = of
                .and_then(|of| of.get("additionalProperties"))
                .and_then(Value::as_object);
            for (name, field) in fields {
                let field_path = format!("{path}.properties[{name}]");
                let target = own
                    .and_then(|own| own.get(name))
                    .and_then(Value::as_object)
                    .or(values);
                let target_path = format!("{of_path}.properties[{name}]");
                if target.is_none() && of.is_some() {
                    self.require(
                        target_path.clone(),
                        &format!("because it is defined in {field_path}"),
                    );
                }
                self.value_check(field, target, &field_path, &target_path);
            }
        }
        if let Some(items @ Value::Object(_)) = check.get("items") {
            let own = of.and_then(|of| of.get("items")).and_then(Value::as_object);
            self.value_check(items, own, &format!("{path}.items"), &format!("{of_path}.items"));
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            for (at, inner) in check
                .get(key)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .enumerate()
            {
                self.value_check(inner, of, &format!("{path}.{key}[{at}]"), of_path);
            }
        }
        if let Some(inner) = check.get("not") {
            self.value_check(inner, of, &format!("{path}.not"), of_path);
        }
    }
}
