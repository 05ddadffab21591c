//! Values against the charts' `values.schema.json`, with failures worded as Helm's library words them.

mod node;
mod quick;

use std::fmt::Write as _;
use std::sync::OnceLock;

use boon::{CompileError, Compiler, SchemaIndex, Schemas, UrlLoader};
use fluvial_template::sprig::go_json_error;
use fluvial_template::{Map, Value};
use serde_json::Value as Json;

use crate::dependencies::Member;
use crate::error::{Error, Stage};
use crate::schema_report::report;
use quick::Quick;

const NAME: &str = "file:///values.schema.json";

/// A chart's schema, compiled when it is first needed.
#[derive(Default)]
pub(crate) struct Validator {
    quick: OnceLock<Option<Quick>>,
    whole: OnceLock<Result<Compiled, String>>,
}

struct Compiled {
    schemas: Schemas,
    index: SchemaIndex,
    document: Json,
}

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
        format!(
            "values don't meet the specifications of the schema(s) in the following chart(s):\n{problems}"
        ),
    ))
}

/// Holds values against a chart's own schema.
pub(crate) fn own(chart: &crate::chart::Chart, values: &Map) -> Result<(), String> {
    match &chart.schema {
        Some(schema) => fits(&chart.validator, schema, values),
        None => Ok(()),
    }
}

fn check(member: &Member, values: &Map, problems: &mut String) {
    if let Some(schema) = &member.chart.schema
        && let Err(problem) = fits(&member.chart.validator, schema, values)
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

fn fits(validator: &Validator, schema: &[u8], values: &Map) -> Result<(), String> {
    let quick = validator.quick.get_or_init(|| Quick::of(schema));
    if quick.as_ref().is_some_and(|quick| quick.accepts(values)) {
        return Ok(());
    }
    one(validator, schema, values)
}

/// Holds values against a schema by the library.
fn one(validator: &Validator, schema: &[u8], values: &Map) -> Result<(), String> {
    let compiled = validator.whole.get_or_init(|| compile(schema));
    let Compiled {
        schemas,
        index,
        document,
    } = compiled.as_ref().map_err(Clone::clone)?;
    let values = whole(Value::Map(values.clone()).to_json());
    schemas.validate(&values, *index).map_err(|error| {
        let text = report(&error, document);
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
        Json::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key, whole(value)))
            .collect(),
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

fn compile(schema: &[u8]) -> Result<Compiled, String> {
    let text = String::from_utf8_lossy(schema);
    if text.trim().is_empty() {
        return Err("EOF".to_owned());
    }
    let json: Json = serde_json::from_str(&text)
        .map_err(|error| go_json_error(&text).unwrap_or_else(|| error.to_string()))
        // The schema is read from a stream, whose end has a name of its own.
        .map_err(|error| error.replace("unexpected end of JSON input", "unexpected EOF"))?;
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.use_loader(Box::new(Refuse));
    let draft = json.get("$schema").and_then(Json::as_str).map(str::to_owned);
    compiler
        .add_resource(NAME, json.clone())
        .map_err(|error| error.to_string())?;
    match compiler.compile(NAME, &mut schemas) {
        Ok(index) => Ok(Compiled {
            schemas,
            index,
            document: json,
        }),
        Err(error) => Err(compile_problem(&error, &json, draft.as_deref())),
    }
}

fn compile_problem(error: &CompileError, json: &Json, draft: Option<&str>) -> String {
    match error {
        CompileError::ValidationError { src, .. } => {
            let text = report(src, &Json::Null);
            format!("\"{NAME}#\" is not valid against metaschema: {text}")
        }
        CompileError::InvalidRegex { .. } => match against_meta(json, draft) {
            Some(text) => format!("\"{NAME}#\" is not valid against metaschema: {text}"),
            None => error.to_string(),
        },
        CompileError::LoadUrlError { url, src } => {
            format!("failing loading {}: {src}", fluvial_template::quote(url))
        }
        CompileError::JsonPointerNotFound(url) => {
            format!("json-pointer in {} not found", fluvial_template::quote(url))
        }
        other => match draft.filter(|draft| !draft.contains(':')) {
            // A name that is no address cannot be fetched, whoever may.
            Some(draft) => {
                let draft = fluvial_template::quote(draft);
                format!("failing loading {draft}: no URLLoader registered for {draft}")
            }
            None => other.to_string(),
        },
    }
}

/// How a schema breaks the rules for schemas.
fn against_meta(json: &Json, draft: Option<&str>) -> Option<String> {
    let meta = draft
        .unwrap_or("https://json-schema.org/draft/2020-12/schema")
        .trim_end_matches('#');
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.enable_format_assertions();
    let index = compiler.compile(meta, &mut schemas).ok()?;
    let error = schemas.validate(json, index).err()?;
    Some(report(&error, &Json::Null))
}
