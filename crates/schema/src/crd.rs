//! Schemas of custom resources.

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::error::{ErrorKind, FieldError};
use crate::table::{Index, Table};
use crate::types::{Type, TypeRef};
use crate::unknown;

mod definition;
mod field_path;
mod format;
mod lists;
mod pattern;
mod prune;
mod read;
mod rules;
mod structural;
mod validate;

pub(crate) use format::check as check_format;
pub(crate) use format::go_duration;
pub(crate) use pattern::{Pattern, compile as compile_pattern};
pub(crate) use rules::Rule;

/// What paths in a definition's schema begin with.
const ROOT: &str = "openAPIV3Schema";

/// Reads a schema as it is.
pub(crate) fn read_any(table: &mut Table, schema: &Value) -> Index {
    read::read(table, schema, 0, false)
}

/// The schema of one version of a custom resource.
#[derive(Clone, Debug)]
pub struct CrdSchema {
    root: TypeRef,
    /// Compiled when they are first needed.
    rules: Arc<OnceLock<rules::Rules>>,
}

impl CrdSchema {
    /// Reads an `openAPIV3Schema`. Errors have paths that begin with `openAPIV3Schema`.
    ///
    /// # Errors
    /// All violations of the rules for structural schemas, and defaults that the schema refuses.
    pub fn parse(schema: &Value) -> Result<CrdSchema, Vec<FieldError>> {
        let errors = structural::check(schema);
        if !errors.is_empty() {
            return Err(errors);
        }
        let crd = CrdSchema::read(schema);
        let mut errors = Vec::new();
        crd.check_defaults(crd.root.view(), ROOT, &mut errors);
        if !schema["properties"]["metadata"]["default"].is_null() {
            errors.push(FieldError::plain(
                ErrorKind::Forbidden,
                format!("{ROOT}.properties[metadata].default"),
                "must not be set in top-level metadata",
            ));
        }
        if errors.is_empty() {
            errors = definition::check(&crd.root, crd.rules());
        }
        if errors.is_empty() { Ok(crd) } else { Err(errors) }
    }

    /// Reads a schema that is known to be good, such as one that is stored.
    #[must_use]
    pub fn read(schema: &Value) -> CrdSchema {
        let mut table = Table::default();
        let root = read::root(&mut table, schema);
        CrdSchema {
            root: TypeRef {
                table: Arc::new(table),
                index: root,
            },
            rules: Arc::default(),
        }
    }

    fn rules(&self) -> &rules::Rules {
        self.rules.get_or_init(|| rules::Rules::compile(&self.root))
    }

    fn check_defaults(&self, schema: Type<'_>, path: &str, errors: &mut Vec<FieldError>) {
        if let Some(default) = schema.default_value() {
            let mut value = default.clone();
            if !prune::prune_below(schema, &mut value).is_empty() {
                errors.push(FieldError::new(
                    ErrorKind::Invalid,
                    format!("{path}.default"),
                    default.clone(),
                    "must not have unknown fields",
                ));
            }
            unknown::fill_defaults(schema, &mut value);
            let mut found = validate::validate(schema, &value, None);
            if schema.embedded() || path == ROOT {
                found.extend(lists::unnamed(&value, ""));
            }
            if found.is_empty() && !self.rules().is_empty() {
                found = self.rules().validate(schema, &value, None);
            }
            errors.extend(found.into_iter().map(|mut error| {
                let dot = if error.path.is_empty() || error.path.starts_with('[') {
                    ""
                } else {
                    "."
                };
                error.path = format!("{path}.default{dot}{}", error.path);
                error
            }));
        }
        for (name, field) in schema.fields() {
            if path == ROOT && matches!(name, "metadata" | "apiVersion" | "kind") {
                continue;
            }
            self.check_defaults(field, &format!("{path}.properties[{name}]"), errors);
        }
        for (key, below) in [
            ("items", schema.items()),
            ("additionalProperties", schema.additional()),
        ] {
            if let Some(below) = below {
                self.check_defaults(below, &format!("{path}.{key}"), errors);
            }
        }
    }

    /// The type of the whole object, with `metadata` as every object has it.
    #[must_use]
    pub fn as_type(&self) -> TypeRef {
        self.root.clone()
    }

    /// Sets defaults, and removes nulls where null is no value and there is no default.
    pub fn default(&self, value: &mut Value) {
        self.root.default(value);
        unknown::drop_nulls(self.root.view(), value);
    }

    /// Removes fields that the schema does not know; returns their paths.
    pub fn prune(&self, value: &mut Value) -> Vec<String> {
        prune::prune(self.root.view(), value)
    }

    /// Checks an object (and its rules); `old` is the object before an update.
    #[must_use]
    pub fn validate(&self, value: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let schema = self.root.view();
        let mut errors = validate::validate(schema, value, old);
        errors.extend(lists::embedded(schema, value));
        errors.extend(lists::duplicates(schema, value));
        let rules = self.rules();
        if rules.is_empty() {
            return errors;
        }
        let blocks = |kind: ErrorKind| {
            use ErrorKind::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
            matches!(kind, NotSupported | Required | TooLong | TooMany | TypeInvalid)
        };
        if errors.iter().any(|error| blocks(error.kind)) {
            errors.push(FieldError::new(
                ErrorKind::Invalid,
                "",
                Value::Null,
                "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
            ));
        } else {
            errors.extend(rules.validate(schema, value, old));
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_schema_must_be_structural() {
        let schema = json!({"type": "object", "properties": {
            "a": {"anyOf": [{"type": "string"}]}, "b": {"type": "array"}, "c": {"type": "string", "default": 5}}});
        let errors = CrdSchema::parse(&schema).expect_err("not structural");
        assert_eq!(
            texts(&errors),
            [
                "openAPIV3Schema.properties[a].anyOf[0].type: Forbidden: must be empty to be structural",
                "openAPIV3Schema.properties[a].type: Required value: must not be empty for specified object fields",
                "openAPIV3Schema.properties[b].items: Required value: must be specified",
            ]
        );
    }

    #[test]
    fn values_are_defaulted_pruned_and_checked() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["n"], "properties": {
            "n": {"type": "integer", "maximum": 5},
            "d": {"type": "string", "default": "x"},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}}}}});
        let crd = CrdSchema::parse(&schema).expect("structural");
        let mut value = json!({"kind": "W", "metadata": {"name": "x"},
            "spec": {"n": 9, "d": null, "zz": 1, "set": ["a", "a"]}});
        assert_eq!(crd.prune(&mut value), ["spec.zz"]);
        crd.default(&mut value);
        assert_eq!(value["spec"]["d"], "x");
        assert_eq!(
            texts(&crd.validate(&value, None)),
            [
                "spec.n: Invalid value: 9: spec.n in body should be less than or equal to 5",
                "spec.set[1]: Duplicate value: \"a\"",
            ]
        );
    }

    #[test]
    fn defaults_keep_the_rules() {
        let refused = |spec: serde_json::Value| {
            let schema = json!({"type": "object", "properties": {"spec": spec}});
            let errors = CrdSchema::parse(&schema).unwrap_err();
            errors
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        };
        let rule = json!([{"rule": "self == 'y'", "message": "must be y"}]);
        assert_eq!(
            refused(json!({"type": "string", "default": "x", "x-kubernetes-validations": rule})),
            "openAPIV3Schema.properties[spec].default: Invalid value: \"x\": must be y"
        );
        let items = json!({"type": "string", "x-kubernetes-validations": rule});
        assert_eq!(
            refused(json!({"type": "array", "maxItems": 3, "default": ["x"], "items": items})),
            "openAPIV3Schema.properties[spec].default[0]: Invalid value: \"x\": must be y"
        );
        assert_eq!(
            refused(json!({"type": "object", "x-kubernetes-embedded-resource": true,
                "x-kubernetes-preserve-unknown-fields": true, "default": {"kind": "Pod"}})),
            "openAPIV3Schema.properties[spec].default.apiVersion: Required value"
        );
    }
}
