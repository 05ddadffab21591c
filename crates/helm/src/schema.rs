//! Values against the charts' `values.schema.json`, with failures worded as Helm's library words them.

use std::fmt::Write as _;
use std::sync::OnceLock;

use boon::{CompileError, Compiler, ErrorKind, SchemaIndex, Schemas, UrlLoader, ValidationError};
use fluvial_template::sprig::{go_json_error, go_regex_error};
use fluvial_template::{Map, Value};
use serde_json::Value as Json;

use crate::dependencies::Member;
use crate::error::{Error, Stage};

const NAME: &str = "file:///values.schema.json";

/// A chart's schema, compiled when it is first needed.
#[derive(Default)]
pub(crate) struct Validator(OnceLock<Result<(Schemas, SchemaIndex), String>>);

impl std::fmt::Debug for Validator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Validator")
    }
}

/// Holds the values of a release's charts against their schemas.
pub(crate) fn validate(root: &Member, values: &Map) -> Result<(), Error> {
    let mut problems = String::new();
    check(root, values, &mut problems);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Stage::Schema,
        format!("values don't meet the specifications of the schema(s) in the following chart(s):\n{problems}"),
    ))
}

fn check(member: &Member, values: &Map, problems: &mut String) {
    if let Some(schema) = &member.chart.schema
        && let Err(problem) = one(&member.chart.validator, schema, values)
    {
        // Writing into a String cannot fail.
        let _ = write!(problems, "{}:\n{problem}", member.name);
    }
    for child in &member.children {
        match values.get(&child.name) {
            None | Some(Value::Nil | Value::NilInterface) => {}
            Some(Value::Map(table)) => check(child, &table, problems),
            Some(other) => {
                let kind = other.type_name();
                let name = &child.name;
                let _ = write!(
                    problems,
                    "{name}:\ninvalid type for values: expected object (map), got {kind}\n"
                );
            }
        }
    }
}

fn one(validator: &Validator, schema: &[u8], values: &Map) -> Result<(), String> {
    let compiled = validator.0.get_or_init(|| compile(schema));
    let (schemas, index) = compiled.as_ref().map_err(Clone::clone)?;
    let values = whole(Value::Map(values.clone()).to_json());
    schemas.validate(&values, *index).map_err(|error| {
        let mut text = String::new();
        display(&error, 0, &mut text);
        let head = format!("jsonschema validation failed with '{NAME}#'\n");
        text.strip_prefix(&head).unwrap_or(&text).to_owned() + "\n"
    })
}

/// Whole floats are integers to a schema.
fn whole(json: Json) -> Json {
    match json {
        Json::Number(number) if number.is_f64() => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
            Some(float) if float.fract() == 0.0 && float.abs() < 2f64.powi(53) => (float as i64).into(),
            _ => Json::Number(number),
        },
        Json::Array(items) => items.into_iter().map(whole).collect(),
        Json::Object(fields) => fields.into_iter().map(|(key, value)| (key, whole(value))).collect(),
        other => other,
    }
}

/// Schemas may not reach out: `urn:` allows everything, as in the reference; files and addresses
/// are refused.
struct Refuse;

impl UrlLoader for Refuse {
    fn load(&self, url: &str) -> Result<Json, Box<dyn std::error::Error>> {
        if url.starts_with("urn:") {
            return Ok(Json::Bool(true));
        }
        Err("schemas are not fetched here: put it into the chart, or skip the schema's validation".into())
    }
}

fn compile(schema: &[u8]) -> Result<(Schemas, SchemaIndex), String> {
    let text = String::from_utf8_lossy(schema);
    if text.trim().is_empty() {
        return Err("EOF\n".to_owned());
    }
    let json: Json = serde_json::from_str(&text)
        .map_err(|error| go_json_error(&text).unwrap_or_else(|| error.to_string()) + "\n")?;
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.use_loader(Box::new(Refuse));
    let draft = json.get("$schema").and_then(Json::as_str).map(str::to_owned);
    compiler
        .add_resource(NAME, json.clone())
        .map_err(|error| format!("{error}\n"))?;
    match compiler.compile(NAME, &mut schemas) {
        Ok(index) => Ok((schemas, index)),
        Err(error) => Err(compile_problem(&error, &json, draft.as_deref())),
    }
}

fn compile_problem(error: &CompileError, json: &Json, draft: Option<&str>) -> String {
    match error {
        CompileError::ValidationError { src, .. } => {
            let mut text = String::new();
            display(src, 0, &mut text);
            format!("\"{NAME}#\" is not valid against metaschema: {text}\n")
        }
        CompileError::InvalidRegex { .. } => match against_meta(json, draft) {
            Some(text) => format!("\"{NAME}#\" is not valid against metaschema: {text}\n"),
            None => format!("{error}\n"),
        },
        CompileError::LoadUrlError { url, src } => {
            format!("failing loading {}: {src}\n", fluvial_template::quote(url))
        }
        other => format!("{other}\n"),
    }
}

/// How a schema breaks the rules for schemas.
fn against_meta(json: &Json, draft: Option<&str>) -> Option<String> {
    let meta = draft.unwrap_or("https://json-schema.org/draft/2020-12/schema").trim_end_matches('#');
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.enable_format_assertions();
    let index = compiler.compile(meta, &mut schemas).ok()?;
    let error = schemas.validate(json, index).err()?;
    let mut text = String::new();
    display(&error, 0, &mut text);
    Some(text)
}

fn display(error: &ValidationError<'_, '_>, indent: usize, out: &mut String) {
    let hidden = matches!(error.kind, ErrorKind::Reference { .. }) && error.causes.len() == 1;
    let mut below = indent;
    if !hidden {
        if indent > 0 {
            out.push('\n');
            out.push_str(&"  ".repeat(indent - 1));
            out.push_str("- ");
        }
        below += 1;
        // Writing into a String cannot fail.
        let _ = match &error.kind {
            ErrorKind::Schema { url } => write!(out, "jsonschema validation failed with {}", quote(&hash(url))),
            kind => write!(
                out,
                "at {}: {}",
                quote(&error.instance_location.to_string()),
                describe(kind)
            ),
        };
    }
    for cause in &error.causes {
        display(cause, below, out);
    }
}

fn hash(url: &str) -> String {
    if url.contains('#') { url.to_owned() } else { format!("{url}#") }
}

fn describe(kind: &ErrorKind<'_, '_>) -> String {
    match kind {
        ErrorKind::Group => "validation failed".to_owned(),
        ErrorKind::Schema { url } => format!("validation failed with {}", quote(url)),
        ErrorKind::Reference { url, .. } => format!("validation failed with {}", quote(&hash(url))),
        ErrorKind::ContentSchema => "'contentSchema' failed".to_owned(),
        ErrorKind::PropertyName { prop } => format!("invalid propertyName {}", quote(prop)),
        ErrorKind::RefCycle {
            url,
            kw_loc1,
            kw_loc2,
        } => format!(
            "both {} and {} resolve to {url:?} causing reference cycle",
            quote(kw_loc1),
            quote(kw_loc2)
        ),
        ErrorKind::FalseSchema => "false schema".to_owned(),
        ErrorKind::Type { got, want } => {
            let want: Vec<String> = want.iter().map(|kind| kind.to_string()).collect();
            format!("got {got}, want {}", want.join(" or "))
        }
        ErrorKind::Enum { want } if want.iter().all(is_primitive) => match want.as_slice() {
            [want] => format!("value must be {}", shown(want)),
            want => {
                let want: Vec<String> = want.iter().map(shown).collect();
                format!("value must be one of {}", want.join(", "))
            }
        },
        ErrorKind::Enum { .. } => "'enum' failed".to_owned(),
        ErrorKind::Const { want } if is_primitive(want) => format!("value must be {}", shown(want)),
        ErrorKind::Const { .. } => "'const' failed".to_owned(),
        ErrorKind::Format { got, want, err } => {
            let problem = match (*want, got.as_str()) {
                ("regex", Some(pattern)) => go_regex_error(pattern),
                _ => None,
            };
            let problem = problem.unwrap_or_else(|| err.to_string());
            format!("{} is not valid {want}: {problem}", shown(got))
        }
        ErrorKind::Required { want } => match want.as_slice() {
            [want] => format!("missing property {}", quote(want)),
            want => format!("missing properties {}", names(want)),
        },
        ErrorKind::Dependency { prop, missing } | ErrorKind::DependentRequired { prop, missing } => {
            format!("properties {} required, if {} exists", names(missing), quote(prop))
        }
        ErrorKind::AdditionalProperties { got } => {
            format!("additional properties {} not allowed", names(got))
        }
        other => describe_limits(other),
    }
}

fn describe_limits(kind: &ErrorKind<'_, '_>) -> String {
    let limit = |name: &str, got: usize, want: usize| format!("{name}: got {}, want {}", count(got), count(want));
    let bound = |name: &str, got: &serde_json::Number, want: &serde_json::Number| {
        format!("{name}: got {}, want {}", decimal(got), decimal(want))
    };
    match kind {
        ErrorKind::MinProperties { got, want } => limit("minProperties", *got, *want),
        ErrorKind::MaxProperties { got, want } => limit("maxProperties", *got, *want),
        ErrorKind::MinItems { got, want } => limit("minItems", *got, *want),
        ErrorKind::MaxItems { got, want } => limit("maxItems", *got, *want),
        ErrorKind::MinLength { got, want } => limit("minLength", *got, *want),
        ErrorKind::MaxLength { got, want } => limit("maxLength", *got, *want),
        ErrorKind::Minimum { got, want } => bound("minimum", got, want),
        ErrorKind::Maximum { got, want } => bound("maximum", got, want),
        ErrorKind::ExclusiveMinimum { got, want } => bound("exclusiveMinimum", got, want),
        ErrorKind::ExclusiveMaximum { got, want } => bound("exclusiveMaximum", got, want),
        ErrorKind::MultipleOf { got, want } => bound("multipleOf", got, want),
        ErrorKind::Contains => "no items match contains schema".to_owned(),
        ErrorKind::MinContains { got, want } if got.is_empty() => {
            format!("min {want} items required to match contains schema, but none matched")
        }
        ErrorKind::MinContains { got, want } => format!(
            "min {want} items required to match contains schema, but matched {} items at {}",
            got.len(),
            places(got)
        ),
        ErrorKind::MaxContains { got, want } => format!(
            "max {want} items required to match contains schema, but matched {} items at {}",
            got.len(),
            places(got)
        ),
        ErrorKind::UniqueItems { got: [first, second] } => format!("items at {first} and {second} are equal"),
        ErrorKind::AdditionalItems { got } => format!("last {got} additionalItem(s) not allowed"),
        ErrorKind::Pattern { got, want } => format!("{} does not match pattern {}", quote(got), quote(want)),
        ErrorKind::ContentEncoding { want, err } => format!("value is not {} encoded: {err}", quote(want)),
        ErrorKind::ContentMediaType { want, err, .. } => {
            format!("value if not of mediatype {}: {err}", quote(want))
        }
        ErrorKind::Not => "'not' failed".to_owned(),
        ErrorKind::AllOf => "'allOf' failed".to_owned(),
        ErrorKind::AnyOf => "'anyOf' failed".to_owned(),
        ErrorKind::OneOf(None) => "'oneOf' failed, none matched".to_owned(),
        ErrorKind::OneOf(Some((first, second))) => {
            format!("'oneOf' failed, subschemas {first}, {second} matched")
        }
        other => other.to_string(),
    }
}

fn places(indexes: &[usize]) -> String {
    let indexes: Vec<String> = indexes.iter().map(usize::to_string).collect();
    format!("[{}]", indexes.join(" "))
}

fn names<T: AsRef<str>>(names: &[T]) -> String {
    let names: Vec<String> = names.iter().map(|name| quote(name.as_ref())).collect();
    names.join(", ")
}

fn is_primitive(value: &Json) -> bool {
    !value.is_array() && !value.is_object()
}

fn shown(value: &Json) -> String {
    match value {
        Json::String(text) => quote(text),
        Json::Array(_) | Json::Object(_) => "value".to_owned(),
        Json::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

/// A single-quoted text.
fn quote(text: &str) -> String {
    let quoted = fluvial_template::quote(text);
    let inner = quoted[1..quoted.len() - 1].replace("\\\"", "\"").replace('\'', "\\'");
    format!("'{inner}'")
}

fn count(number: usize) -> String {
    grouped(&number.to_string())
}

fn decimal(number: &serde_json::Number) -> String {
    let float = number.as_f64().unwrap_or(f64::NAN);
    grouped(&fluvial_template::number::format_float(float, 'f', None))
}

/// Thousands are set apart by commas.
fn grouped(text: &str) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, format!(".{fraction}")),
        None => (digits, String::new()),
    };
    let mut out = String::new();
    for (index, c) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    format!("{sign}{out}{fraction}")
}
