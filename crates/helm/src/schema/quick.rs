//! A quick look whether values fit a schema. It knows the common keywords and only ever says yes: a schema with
//! anything else in it, and values that do not fit, are left to the whole library, which words the failures.
//!
//! Invariant: what is accepted here, the library accepts too.

use std::collections::BTreeSet;

use fluvial_template::{Map, Value};
use serde_json::Number;

use super::node::Node;

/// Schemas may not nest deeper, and not refer deeper.
const DEPTH: usize = 64;

/// A schema that holds nothing but what is known here, each keyword as its draft wants it.
pub(super) struct Quick(Node);

/// The schema or the values are not for this look.
struct Unsure;

type Sure = Result<(), Unsure>;

impl Quick {
    /// Looks over a schema.
    pub(super) fn of(schema: &[u8]) -> Option<Self> {
        let json: Node = serde_json::from_slice(schema).ok()?;
        json.as_object()?;
        let mut check = Check {
            root: &json,
            followed: BTreeSet::new(),
        };
        check.schema(&json, 0).ok()?;
        Some(Quick(json))
    }

    /// Whether values certainly fit.
    pub(super) fn accepts(&self, values: &Map) -> bool {
        let look = Look { root: &self.0 };
        look.fits(&self.0, &Value::Map(values.clone()), 0).is_ok()
    }
}

/// Drafts from 6 on agree on all that is known here.
fn is_known_draft(url: &str) -> bool {
    let url = url.strip_suffix('#').unwrap_or(url);
    let path = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    matches!(
        path,
        Some(
            "json-schema.org/schema"
                | "json-schema.org/draft-06/schema"
                | "json-schema.org/draft-07/schema"
                | "json-schema.org/draft/2019-09/schema"
                | "json-schema.org/draft/2020-12/schema"
        )
    )
}

fn sure(fine: bool) -> Sure {
    if fine { Ok(()) } else { Err(Unsure) }
}

/// The names of types.
const TYPES: [&str; 7] = [
    "null", "boolean", "object", "array", "number", "string", "integer",
];

/// Keywords of some draft that are not known here.
const OTHERS: [&str; 30] = [
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$recursiveAnchor",
    "$recursiveRef",
    "$vocabulary",
    "additionalItems",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "deprecated",
    "discriminator",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "id",
    "maxContains",
    "minContains",
    "multipleOf",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
];

/// Looks whether a schema is valid and simple.
struct Check<'s> {
    root: &'s Node,
    /// Where references lead that have been followed.
    followed: BTreeSet<&'s str>,
}

impl<'s> Check<'s> {
    fn schema(&mut self, schema: &'s Node, depth: usize) -> Sure {
        sure(depth < DEPTH)?;
        let fields = match schema {
            Node::Bool(_) => return Ok(()),
            Node::Object(fields) => fields,
            _ => return Err(Unsure),
        };
        // What stands beside a reference counts in some drafts only: what fits both fits either way.
        fields
            .iter()
            .try_for_each(|(keyword, value)| self.keyword(keyword, value, depth))
    }

    fn keyword(&mut self, keyword: &str, value: &'s Node, depth: usize) -> Sure {
        let mut below = |schema| self.schema(schema, depth + 1);
        match keyword {
            "$schema" => sure(depth == 0 && value.as_str().is_some_and(is_known_draft)),
            "title" | "description" | "$comment" => sure(value.as_str().is_some()),
            "examples" => sure(value.as_list().is_some()),
            "readOnly" | "writeOnly" => sure(matches!(value, Node::Bool(_))),
            "type" => check_types(value),
            "properties" | "definitions" | "$defs" => {
                let mut schemas = value.as_object().ok_or(Unsure)?.iter();
                schemas.try_for_each(|(_, schema)| below(schema))
            }
            "additionalProperties" | "items" | "not" | "if" | "then" | "else" => below(value),
            "anyOf" | "oneOf" | "allOf" => {
                let schemas = value.as_list().filter(|schemas| !schemas.is_empty());
                schemas.ok_or(Unsure)?.iter().try_for_each(below)
            }
            "required" => check_names(value),
            "enum" => check_choices(value),
            "const" => sure(is_scalar(value)),
            "minimum" | "maximum" => sure(value.as_number().is_some()),
            "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
                sure(value.as_number().is_some_and(Number::is_u64))
            }
            "pattern" => sure(value.as_str().is_some_and(is_plain_pattern)),
            "$ref" => {
                let there = target(self.root, value).ok_or(Unsure)?;
                match value.as_str().is_some_and(|place| self.followed.insert(place)) {
                    true => self.schema(there, depth + 1),
                    false => Ok(()),
                }
            }
            // What no draft knows says nothing.
            other => sure(!OTHERS.contains(&other)),
        }
    }
}

fn check_choices(value: &Node) -> Sure {
    let values = value.as_list().filter(|values| !values.is_empty());
    let all = values.ok_or(Unsure)?;
    let twice = all
        .iter()
        .enumerate()
        .any(|(at, value)| all[..at].contains(value));
    sure(!twice && all.iter().all(is_scalar))
}

fn is_scalar(value: &Node) -> bool {
    value.as_list().is_none() && value.as_object().is_none()
}

/// Whether a text is a regular expression to everybody: nothing in it that some know and others do not.
fn is_plain_pattern(pattern: &str) -> bool {
    !pattern.contains(['\\', '{']) && !pattern.contains("(?") && regex_syntax::parse(pattern).is_ok()
}

fn check_types(value: &Node) -> Sure {
    let known = |value: &Node| value.as_str().is_some_and(|name| TYPES.contains(&name));
    match value {
        Node::List(names) => {
            let twice = names
                .iter()
                .enumerate()
                .any(|(at, name)| names[..at].contains(name));
            sure(!names.is_empty() && !twice && names.iter().all(known))
        }
        name => sure(known(name)),
    }
}

fn check_names(value: &Node) -> Sure {
    let names = value.as_list().ok_or(Unsure)?;
    let twice = names
        .iter()
        .enumerate()
        .any(|(at, name)| names[..at].contains(name));
    sure(!twice && names.iter().all(|name| name.as_str().is_some()))
}

/// What a reference within the document leads to.
fn target<'s>(root: &'s Node, reference: &Node) -> Option<&'s Node> {
    let path = reference.as_str()?.strip_prefix('#')?;
    let plain = path.starts_with('/') && !path.contains(['~', '%']);
    // A place in a list may be a schema too; that is left to the library.
    plain.then_some(())?;
    path[1..].split('/').try_fold(root, |place, name| place.get(name))
}

struct Look<'s> {
    root: &'s Node,
}

impl Look<'_> {
    /// Whether a value certainly fits. What certainly does not fit is unsure here, too.
    fn fits(&self, schema: &Node, value: &Value, depth: usize) -> Sure {
        sure(depth < DEPTH)?;
        let fields = match schema {
            Node::Object(fields) => fields,
            Node::Bool(true) => return Ok(()),
            _ => return Err(Unsure),
        };
        let below = |schema: &Node| self.fits(schema, value, depth + 1);
        for (keyword, wanted) in fields.iter() {
            match &**keyword {
                "type" => match wanted {
                    Node::List(names) => sure(names.iter().any(|name| has_type(value, name))),
                    name => sure(has_type(value, name)),
                }?,
                "properties" => {
                    let (Value::Map(map), Some(_)) = (value, wanted.as_object()) else {
                        continue;
                    };
                    for (name, value) in map.borrow().iter() {
                        if let Some(schema) = wanted.get(name) {
                            self.fits(schema, value, depth + 1)?;
                        }
                    }
                }
                "additionalProperties" => {
                    let Value::Map(map) = value else { continue };
                    let known = schema.get("properties");
                    for (name, value) in map.borrow().iter() {
                        if known.is_none_or(|known| known.get(name).is_none()) {
                            self.fits(wanted, value, depth + 1)?;
                        }
                    }
                }
                "items" => {
                    let Value::List(list) = value else { continue };
                    for item in list.items() {
                        self.fits(wanted, item, depth + 1)?;
                    }
                }
                "required" => {
                    let (Value::Map(map), Some(names)) = (value, wanted.as_list()) else {
                        continue;
                    };
                    let map = map.borrow();
                    let there = |name: &Node| name.as_str().is_some_and(|name| map.contains_key(name));
                    sure(names.iter().all(there))?;
                }
                "enum" => sure(
                    wanted
                        .as_list()
                        .is_some_and(|all| all.iter().any(|one| same(value, one))),
                )?,
                "const" => sure(same(value, wanted))?,
                "allOf" => wanted.as_list().into_iter().flatten().try_for_each(below)?,
                // One that fits is enough; the others cannot change that.
                "anyOf" => {
                    let mut schemas = wanted.as_list().into_iter().flatten();
                    sure(schemas.any(|schema| below(schema).is_ok()))?;
                }
                "$ref" => self.fits(target(self.root, wanted).ok_or(Unsure)?, value, depth + 1)?,
                "minimum" | "maximum" => self.bound(keyword, wanted, value)?,
                "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
                    sure(has_size(
                        value,
                        keyword,
                        wanted.as_number().and_then(Number::as_u64).ok_or(Unsure)?,
                    ))?;
                }
                "pattern" => {
                    let Value::Str(text) = value else { continue };
                    let pattern = wanted
                        .as_str()
                        .and_then(|pattern| regex::Regex::new(pattern).ok());
                    sure(pattern.is_some_and(|pattern| pattern.is_match(text)))?;
                }
                // Whether something does not fit is never known here.
                "oneOf" | "not" | "if" => return Err(Unsure),
                _ => {}
            }
        }
        Ok(())
    }

    fn bound(&self, keyword: &str, wanted: &Node, value: &Value) -> Sure {
        let number = match value {
            Value::Int(..) | Value::Uint(..) | Value::Float(_) => number(value).ok_or(Unsure)?,
            _ => return Ok(()),
        };
        let wanted = wanted.as_number().and_then(Number::as_f64).ok_or(Unsure)?;
        sure(if keyword == "minimum" {
            number >= wanted
        } else {
            number <= wanted
        })
    }
}

/// A number that floats hold exactly.
fn number(value: &Value) -> Option<f64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_precision_loss, reason = "larger ones are refused")]
    let number = match value {
        Value::Int(number, _) => *number as f64,
        Value::Uint(number, _) => *number as f64,
        Value::Float(number) => *number,
        _ => return None,
    };
    (number.abs() < EXACT).then_some(number)
}

fn has_type(value: &Value, name: &Node) -> bool {
    match name.as_str() {
        Some("null") => matches!(value, Value::Nil | Value::NilInterface),
        Some("boolean") => matches!(value, Value::Bool(_)),
        Some("object") => matches!(value, Value::Map(_)),
        Some("array") => matches!(value, Value::List(list) if list.as_bytes().is_none()),
        Some("string") => matches!(value, Value::Str(_)),
        Some("number") => number(value).is_some(),
        Some("integer") => number(value).is_some_and(|number| number.fract() == 0.0),
        _ => false,
    }
}

fn same(value: &Value, wanted: &Node) -> bool {
    match (value, wanted) {
        (Value::Nil | Value::NilInterface, Node::Null) => true,
        (Value::Bool(value), Node::Bool(wanted)) => value == wanted,
        (Value::Str(value), Node::Text(wanted)) => **value == **wanted,
        (_, Node::Number(wanted)) => number(value).is_some() && number(value) == wanted.as_f64(),
        _ => false,
    }
}

/// Whether a value is as long as a keyword wants it, if the keyword means it at all.
fn has_size(value: &Value, keyword: &str, wanted: u64) -> bool {
    let size = match (value, &keyword[3..]) {
        (Value::Str(text), "Length") => text.chars().count(),
        (Value::List(list), "Items") => list.items().len(),
        (Value::Map(map), "Properties") => map.borrow().len(),
        (Value::Object(_), _) => return false,
        _ => return true,
    };
    let size = size as u64;
    if keyword.starts_with("min") {
        size >= wanted
    } else {
        size <= wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Validator, one};

    fn quick(schema: &str, values: &str) -> Option<bool> {
        let values = crate::Values::from_yaml(values).unwrap().to_map();
        let accepted = Quick::of(schema.as_bytes())?.accepts(&values);
        if accepted {
            let whole = one(&Validator::default(), schema.as_bytes(), &values);
            assert_eq!(whole, Ok(()), "{schema}");
        }
        Some(accepted)
    }

    #[test]
    fn simple_schemas_are_decided_at_a_glance() {
        let schema = r##"{"$schema": "http://json-schema.org/schema#", "type": "object", "required": ["a"],
            "properties": {"a": {"type": ["string", "null"], "minLength": 2}, "b": {"type": "integer", "maximum": 5},
            "c": {"type": "array", "items": {"$ref": "#/definitions/x", "description": "one", "type": "object"}}, "d": {"enum": [1, "e", null]}},
            "additionalProperties": {"anyOf": [{"type": "boolean"}, {"const": 7}]},
            "definitions": {"x": {"type": "object", "minProperties": 1, "properties": {"p": {"$ref": "#/definitions/y/z"},
                "q": {"$ref": "#/definitions/x"}}}, "y": {"z": {"pattern": "^(a|[b-d]+)$"}}}}"##;
        for (values, accepted) in [
            ("a: xy\nb: 5\nc: [{k: v}]\nd: e\nz: true\n", true),
            ("a: null\nd: null\n", true),
            ("a: null\nd: 1\nother: 7\n", true),
            ("b: 1\n", false),
            ("a: x\n", false),
            ("a: xy\nb: 6\n", false),
            ("a: xy\nb: 1.5\n", false),
            ("a: xy\nc: [{p: 1}]\n", true),
            ("a: xy\nc: [{q: {q: {p: a}}}]\n", true),
            ("a: xy\nc: [{q: {q: {p: x}}}]\n", false),
            ("a: xy\nc: [{p: bcd}]\n", true),
            ("a: xy\nc: [{p: e}]\n", false),
            ("a: xy\nc: [{}]\n", false),
            ("a: xy\nc: {}\n", false),
            ("a: xy\nd: f\n", false),
            ("a: xy\nz: 8\n", false),
        ] {
            assert_eq!(quick(schema, values), Some(accepted), "{values}");
        }
    }

    #[test]
    fn schemas_with_more_in_them_are_left_to_the_library() {
        for schema in [
            r#"{"$schema": "http://json-schema.org/draft-04/schema#"}"#,
            r#"{"$schema": "https://example.com/own"}"#,
            r#"{"type": "objekt"}"#,
            r#"{"type": []}"#,
            r#"{"required": "a"}"#,
            r#"{"properties": {"a": {"pattern": "\\d"}}}"#,
            r#"{"properties": {"a": {"pattern": "(a"}}}"#,
            r#"{"properties": {"a": {"pattern": 1}}}"#,
            r#"{"properties": {"a": 1}}"#,
            r#"{"minLength": -1}"#,
            r#"{"enum": []}"#,
            r#"{"title": 1}"#,
            r##"{"$ref": "#/definitions/none"}"##,
            r##"{"properties": {"a": {"$ref": "#/x/y"}}, "x": {"y": {"uniqueItems": true}}}"##,
            r#"{"format": "email"}"#,
            "[]",
            "true",
            "{",
        ] {
            assert_eq!(quick(schema, "a: 1\n"), None, "{schema}");
        }
        let circle = r##"{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}"##;
        assert_eq!(quick(circle, "a: 1\n"), Some(false));
        let circle = r##"{"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/a"}}}"##;
        assert_eq!(quick(circle, "a: 1\n"), Some(false));
    }
}
