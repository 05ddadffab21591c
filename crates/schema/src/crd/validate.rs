//! Checks of values against a schema: types, enums, limits, formats and compositions, in the order
//! and with the texts of an API server.

use serde_json::{Map, Number, Value};

use crate::error::{ErrorKind, FieldError};
use crate::table::Base;
use crate::types::Type;

use super::format;
use super::rules::correlated;

/// The errors of a value. What an update leaves as it was may be wrong: definitions grow stricter
/// while objects live.
pub(super) fn validate(schema: Type<'_>, value: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut found = Found::default();
    walk(schema, value, None, &mut String::new(), &mut found);
    if old.is_some() && !found.errors.is_empty() {
        found = Found::default();
        walk(schema, value, old, &mut String::new(), &mut found);
    }
    found.errors
}

/// Errors, and how many checks were made: of several alternatives the one with most is reported.
#[derive(Default)]
struct Found {
    errors: Vec<FieldError>,
    checks: usize,
}

impl Found {
    fn add(&mut self, kind: ErrorKind, path: &str, value: Value, detail: String) {
        self.errors.push(FieldError::new(kind, path, value, detail));
    }

    fn invalid(&mut self, path: &str, value: Value, detail: String) {
        self.add(ErrorKind::Invalid, path, value, detail);
    }

    /// An error that is about no single field.
    fn whole(&mut self, detail: String) {
        self.add(ErrorKind::Invalid, "", Value::from(""), detail);
    }

    fn merge(&mut self, other: Found) {
        self.errors.extend(other.errors);
        self.checks += other.checks;
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn whole_number(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            !number.is_f64() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
        }
        _ => false,
    }
}

/// Checks a value and all below, but for what equals the old value.
fn walk(schema: Type<'_>, value: &Value, old: Option<&Value>, path: &mut String, found: &mut Found) {
    if old == Some(value) {
        return;
    }
    check_type(schema, value, path, found);
    if value.is_null() {
        return;
    }
    compositions(schema, value, path, found);
    match value {
        Value::String(text) => {
            strings(schema, text, path, found);
            if let Some(format) = schema.format() {
                found.checks += 1;
                if format::check(format, text) == Some(false) {
                    let detail = format!(
                        "{path} in body must be of type {format}: {}",
                        crate::error::quote(text)
                    );
                    found.add(ErrorKind::TypeInvalid, path, value.clone(), detail);
                }
            }
        }
        Value::Number(number) => numbers(schema, number, path, found),
        Value::Array(list) => lists(schema, list, old.and_then(Value::as_array), path, found),
        _ => {}
    }
    let allowed = schema.enumeration();
    found.checks += 1;
    if !allowed.is_empty() && !allowed.contains(value) {
        let allowed: Vec<String> = allowed
            .iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
        found
            .errors
            .push(FieldError::not_supported(path.clone(), value.clone(), &allowed));
    }
    if let Value::Object(map) = value {
        objects(schema, map, old.and_then(Value::as_object), path, found);
    }
}

fn check_type(schema: Type<'_>, value: &Value, path: &str, found: &mut Found) {
    found.checks += 1;
    let mixed = schema.base() == Base::Any && schema.int_or_string();
    let want = if mixed {
        "integer,string"
    } else {
        schema.base().name()
    };
    let good = match value {
        Value::Null => want.is_empty() || schema.nullable(),
        Value::Number(_) if mixed => whole_number(value),
        Value::String(_) if mixed => true,
        _ if mixed => false,
        Value::Number(_) => match schema.base() {
            Base::Any | Base::Number => true,
            Base::Integer => whole_number(value),
            _ => false,
        },
        other => want.is_empty() || want == kind_of(other),
    };
    if !good {
        let kind = kind_of(value);
        let detail = format!("{path} in body must be of type {want}: \"{kind}\"");
        found.add(ErrorKind::TypeInvalid, path, kind.into(), detail);
    }
}

fn alternatives(
    schema: Type<'_>,
    of: &[Type<'_>],
    value: &Value,
    path: &mut String,
) -> (usize, Option<Found>) {
    let _ = schema;
    let mut good = 0;
    let mut best: Option<Found> = None;
    for one in of {
        let mut found = Found::default();
        walk(*one, value, None, path, &mut found);
        if found.errors.is_empty() {
            good += 1;
        } else if best.as_ref().is_none_or(|best| found.checks > best.checks) {
            best = Some(found);
        }
    }
    (good, best)
}

fn compositions(schema: Type<'_>, value: &Value, path: &mut String, found: &mut Found) {
    let (any, one, all, not) = (schema.any_of(), schema.one_of(), schema.all_of(), schema.not());
    found.checks += 1;
    let name = crate::error::quote(path);
    if !any.is_empty() {
        let (good, best) = alternatives(schema, &any, value, path);
        if good == 0 {
            found.whole(format!("{name} must validate at least one schema (anyOf)"));
            best.into_iter().for_each(|best| found.merge(best));
        }
    }
    if !one.is_empty() {
        let (good, best) = alternatives(schema, &one, value, path);
        if good == 0 {
            found.whole(format!(
                "{name} must validate one and only one schema (oneOf). Found none valid"
            ));
            best.into_iter().for_each(|best| found.merge(best));
        } else if good > 1 {
            found.whole(format!(
                "{name} must validate one and only one schema (oneOf). Found {good} valid alternatives"
            ));
        }
    }
    if !all.is_empty() {
        let mut good = 0;
        for part in &all {
            let mut below = Found::default();
            walk(*part, value, None, path, &mut below);
            good += usize::from(below.errors.is_empty());
            found.merge(below);
        }
        if good != all.len() {
            let none = if good == 0 { ". None validated" } else { "" };
            found.whole(format!("{name} must validate all the schemas (allOf){none}"));
        }
    }
    if let Some(not) = not {
        let mut below = Found::default();
        walk(not, value, None, path, &mut below);
        if below.errors.is_empty() {
            found.whole(format!("{name} must not validate the schema (not)"));
        }
    }
}

fn strings(schema: Type<'_>, text: &str, path: &str, found: &mut Found) {
    let Some(checks) = schema.checks() else { return };
    found.checks += 1;
    let length = || text.chars().count() as u64;
    if let Some(max) = checks.max_length
        && length() > max
    {
        let detail = format!("may not be more than {max} bytes");
        found.add(ErrorKind::TooLong, path, text.into(), detail);
    } else if let Some(min) = checks.min_length
        && length() < min
    {
        found.invalid(
            path,
            text.into(),
            format!("{path} in body should be at least {min} chars long"),
        );
    } else if let Some(pattern) = &checks.pattern
        && !pattern.is_match(text)
    {
        found.invalid(
            path,
            text.into(),
            format!("{path} in body should match '{pattern}'"),
        );
    }
}

fn numbers(schema: Type<'_>, number: &Number, path: &str, found: &mut Found) {
    let value = || Value::Number(number.clone());
    let float = number.as_f64().unwrap_or(0.0);
    found.checks += 1;
    if schema.base() == Base::Integer {
        let format = schema.format().unwrap_or_default();
        let fits = whole_number(&value())
            && match format {
                "int32" => float >= f64::from(i32::MIN) && float <= f64::from(i32::MAX),
                _ => number.as_i64().is_some() || number.is_f64(),
            };
        if !fits {
            let format = match format {
                "" => "(default format)".to_owned(),
                format => format!("with format {format}"),
            };
            found.whole(format!(
                "Checked value must be of type integer {format} in {path}"
            ));
        }
    }
    let Some(checks) = schema.checks() else { return };
    if let Some(of) = &checks.multiple_of {
        let by = of.as_f64().unwrap_or(1.0);
        let rest = match (number.as_i64(), of.as_i64()) {
            (Some(number), Some(of)) if of != 0 => number % of != 0,
            _ => (float / by).fract() != 0.0,
        };
        if rest {
            found.invalid(
                path,
                value(),
                format!("{path} in body should be a multiple of {of}"),
            );
        }
    }
    if let Some(max) = &checks.maximum {
        let limit = max.as_f64().unwrap_or(f64::MAX);
        if float > limit || (checks.exclusive_maximum && float >= limit) {
            let or = if checks.exclusive_maximum {
                ""
            } else {
                " or equal to"
            };
            found.invalid(
                path,
                value(),
                format!("{path} in body should be less than{or} {max}"),
            );
        }
    }
    if let Some(min) = &checks.minimum {
        let limit = min.as_f64().unwrap_or(f64::MIN);
        if float < limit || (checks.exclusive_minimum && float <= limit) {
            let or = if checks.exclusive_minimum {
                ""
            } else {
                " or equal to"
            };
            found.invalid(
                path,
                value(),
                format!("{path} in body should be greater than{or} {min}"),
            );
        }
    }
}

fn lists(schema: Type<'_>, list: &[Value], old: Option<&Vec<Value>>, path: &mut String, found: &mut Found) {
    let end = path.len();
    found.checks += 1;
    if let Some(items) = schema.items() {
        for (index, item) in list.iter().enumerate() {
            path.push_str(&format!("[{index}]"));
            let before = old.and_then(|old| correlated(schema, item, old));
            walk(items, item, before, path, found);
            path.truncate(end);
        }
    }
    let Some(checks) = schema.checks() else { return };
    let count = list.len() as u64;
    if let Some(min) = checks.min_items
        && count < min
    {
        found.invalid(
            path,
            count.into(),
            format!("{path} in body should have at least {min} items"),
        );
    }
    if let Some(max) = checks.max_items
        && count > max
    {
        found.add(
            ErrorKind::TooMany,
            path,
            count.into(),
            format!(
                "must have at most {max} {}",
                if max == 1 { "item" } else { "items" }
            ),
        );
    }
}

fn objects(
    schema: Type<'_>,
    map: &Map<String, Value>,
    old: Option<&Map<String, Value>>,
    path: &mut String,
    found: &mut Found,
) {
    let end = path.len();
    let count = map.len() as u64;
    found.checks += 1;
    if let Some(checks) = schema.checks() {
        if let Some(min) = checks.min_properties
            && count < min
        {
            let detail = format!("{path} in body should have at least {min} properties");
            found.invalid(path, count.into(), detail);
        }
        if let Some(max) = checks.max_properties
            && count > max
        {
            found.add(
                ErrorKind::TooMany,
                path,
                count.into(),
                format!(
                    "must have at most {max} {}",
                    if max == 1 { "item" } else { "items" }
                ),
            );
        }
    }
    let descend = |path: &mut String, name: &str| {
        if end > 0 {
            path.push('.');
        }
        path.push_str(name);
    };
    let whole = schema.embedded() || end == 0;
    for (name, child) in map {
        // Metadata is checked as that of every object.
        if whole && name == "metadata" && schema.own_field("metadata").is_some() {
            continue;
        }
        if let Some(field) = schema.field(name) {
            descend(path, name);
            walk(field, child, old.and_then(|old| old.get(name)), path, found);
            path.truncate(end);
        }
    }
    for name in schema.required() {
        let defaulted = || {
            schema
                .own_field(name)
                .is_some_and(|field| field.default_value().is_some())
        };
        if !map.contains_key(name.as_ref()) && !defaulted() {
            descend(path, name);
            found
                .errors
                .push(FieldError::plain(ErrorKind::Required, path.clone(), ""));
            path.truncate(end);
        }
    }
}
