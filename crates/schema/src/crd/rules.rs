//! Rules of definitions (`x-kubernetes-validations`): compiled once, run over objects with the
//! server's texts, reasons and budget.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::cel::{CompileError, Env, Error, PER_CALL, PER_OBJECT, Program, Type as CelType, Value, Vars};
use crate::error::{ErrorKind, FieldError};
use crate::table::{Base, Index, ListType, Node};
use crate::types::{Type, TypeRef};

use super::field_path;

/// A rule as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    pub(crate) rule: String,
    pub(crate) message: String,
    pub(crate) message_expression: String,
    pub(crate) reason: Option<String>,
    pub(crate) field_path: String,
    pub(crate) optional_old_self: Option<bool>,
}

impl Rule {
    /// What errors call the rule.
    fn name(&self) -> &str {
        let message = self.message.trim();
        if self.message.is_empty() {
            self.rule.trim()
        } else {
            message
        }
    }

    fn default_message(&self) -> String {
        if self.message.is_empty() {
            format!("failed rule: {}", self.name())
        } else {
            self.message.trim().to_owned()
        }
    }

    fn kind(&self) -> ErrorKind {
        match self.reason.as_deref() {
            Some("FieldValueRequired") => ErrorKind::Required,
            Some("FieldValueDuplicate") => ErrorKind::Duplicate,
            Some("FieldValueForbidden") => ErrorKind::Forbidden,
            _ => ErrorKind::Invalid,
        }
    }
}

/// A rule that is ready to run.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) source: Rule,
    pub(crate) program: Result<Program, String>,
    pub(crate) uses_old: bool,
    pub(crate) message: Option<Result<Program, String>>,
    pub(crate) field: Option<Result<String, String>>,
}

/// All rules of a definition by the nodes that have them.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) of: BTreeMap<Index, Vec<Compiled>>,
    /// Nodes with rules at or below them.
    below: Vec<bool>,
}

impl Rules {
    pub(crate) fn compile(root: &TypeRef) -> Rules {
        if !any(root) {
            return Rules::default();
        }
        let mut rules = Rules {
            of: BTreeMap::new(),
            below: vec![false; root.table.nodes.len()],
        };
        rules.add(root, root.index, "self");
        rules
    }

    fn add(&mut self, root: &TypeRef, index: Index, name: &str) -> bool {
        let here = TypeRef {
            table: root.table.clone(),
            index,
        };
        let view = here.view();
        let sources = view
            .checks()
            .map(|checks| checks.rules.as_slice())
            .unwrap_or_default();
        if !sources.is_empty()
            && let Some(kind) = CelType::of_schema(&here, name)
        {
            let compiled = sources.iter().map(|rule| compile(rule, &kind, view)).collect();
            self.of.insert(index, compiled);
        }
        let mut found = self.of.contains_key(&index);
        let fields = view
            .fields()
            .map(|(field, below)| (format!("{name}.{field}"), below));
        let items = view.items().map(|below| (format!("{name}.@idx"), below));
        let values = view.additional().map(|below| (format!("{name}.@elem"), below));
        let below: Vec<(String, Type<'_>)> = fields.chain(items).chain(values).collect();
        for (name, below) in below {
            found |= self.add(root, below.index, &name);
        }
        self.below[index as usize] = found;
        found
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Runs all rules over an object.
    pub(crate) fn validate(&self, schema: Type<'_>, value: &Json, old: Option<&Json>) -> Vec<FieldError> {
        let mut run = Run {
            rules: self,
            budget: PER_OBJECT,
            errors: Vec::new(),
        };
        // Out of budget: what was found until then is the answer.
        let _ = run.walk(schema, value, old, &mut String::new());
        run.errors
    }
}

/// Whether a definition has rules at all: most have none.
pub(super) fn any(root: &TypeRef) -> bool {
    let has = |node: &Node| {
        node.checks
            .as_ref()
            .is_some_and(|checks| !checks.rules.is_empty())
    };
    root.table.nodes.iter().any(has)
}

/// The rules of a node as they are written.
pub(super) fn sources(schema: Type<'_>) -> &[Rule] {
    schema
        .checks()
        .map(|checks| checks.rules.as_slice())
        .unwrap_or_default()
}

fn compile(source: &Rule, kind: &CelType, schema: Type<'_>) -> Compiled {
    let optional = source.optional_old_self == Some(true);
    let old = if optional {
        CelType::optional(kind.clone())
    } else {
        kind.clone()
    };
    let env = Env::kubernetes()
        .variable("self", kind.clone())
        .variable("oldSelf", old);
    let program = program(&source.rule, &env, &CelType::Bool, "bool");
    let uses_old = program.as_ref().is_ok_and(|program| program.uses("oldSelf"));
    let expression = &source.message_expression;
    Compiled {
        program,
        uses_old,
        message: (!expression.trim().is_empty())
            .then(|| self::program(expression, &env, &CelType::String, "string")),
        field: (!source.field_path.trim().is_empty())
            .then(|| field_path::resolve(source.field_path.trim(), schema)),
        source: source.clone(),
    }
}

fn program(source: &str, env: &Env, wanted: &CelType, name: &str) -> Result<Program, String> {
    let program = Program::compile(source, env).map_err(|error| match error {
        CompileError::Check(text) => format!("compilation failed: {text}"),
        CompileError::Program(text) => format!("program instantiation failed: {text}"),
    })?;
    if program.output().same(wanted) || program.output().is_dyn() && name == "bool" {
        Ok(program)
    } else {
        Err(match name {
            "bool" => "cel expression must evaluate to a bool".to_owned(),
            _ => format!("must evaluate to a {name}"),
        })
    }
}

/// No further rules are run.
struct Stop;

struct Run<'r> {
    rules: &'r Rules,
    budget: u64,
    errors: Vec<FieldError>,
}

impl Run<'_> {
    fn walk(
        &mut self,
        schema: Type<'_>,
        value: &Json,
        old: Option<&Json>,
        path: &mut String,
    ) -> Result<(), Stop> {
        if value.is_null() || !self.rules.below[schema.index as usize] {
            return Ok(());
        }
        let old = old.filter(|old| !old.is_null());
        if let Some(compiled) = self.rules.of.get(&schema.index) {
            for rule in compiled {
                self.rule(rule, schema, value, old, path)?;
            }
        }
        let end = path.len();
        match value {
            Json::Array(items) => {
                let Some(below) = schema.items() else {
                    return Ok(());
                };
                let before = old.and_then(Json::as_array);
                for (index, item) in items.iter().enumerate() {
                    let before = before.and_then(|before| correlated(schema, item, before));
                    path.push_str(&format!("[{index}]"));
                    self.walk(below, item, before, path)?;
                    path.truncate(end);
                }
            }
            Json::Object(map) => {
                // Items of atomic maps are told apart by their keys as well.
                let before = old.and_then(Json::as_object);
                self.fields(schema, map, before, path)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn fields(
        &mut self,
        schema: Type<'_>,
        map: &Map<String, Json>,
        before: Option<&Map<String, Json>>,
        path: &mut String,
    ) -> Result<(), Stop> {
        let end = path.len();
        for (name, child) in map {
            let own = schema.own_field(name);
            let Some(below) = own.or_else(|| schema.additional()) else {
                continue;
            };
            if own.is_some() {
                if end > 0 {
                    path.push('.');
                }
                path.push_str(name);
            } else {
                path.push_str(&format!("[{name}]"));
            }
            self.walk(below, child, before.and_then(|before| before.get(name)), path)?;
            path.truncate(end);
        }
        Ok(())
    }

    fn rule(
        &mut self,
        rule: &Compiled,
        schema: Type<'_>,
        value: &Json,
        old: Option<&Json>,
        path: &str,
    ) -> Result<(), Stop> {
        let optional = rule.source.optional_old_self == Some(true);
        let kind = || Json::from(kind_name(schema));
        let program = match &rule.program {
            Ok(program) => program,
            Err(text) => {
                let text = format!("rule compile error: {text}");
                self.errors
                    .push(FieldError::new(ErrorKind::Invalid, path, kind(), text));
                return Ok(());
            }
        };
        if rule.uses_old && old.is_none() && !optional {
            return Ok(());
        }
        let mut vars = Vars::default().with("self", Value::typed(value, schema));
        let before = old.map(|old| Value::typed(old, schema));
        match (before, optional) {
            (before, true) => vars.set("oldSelf", Ok(before.map_or(Value::Optional(None), Value::some))),
            (Some(before), false) => vars.set("oldSelf", Ok(before)),
            (None, false) => {}
        }
        let (result, cost) = program.eval_within(&vars, PER_CALL);
        if cost > self.budget {
            let text = "validation failed due to running out of cost budget, no further validation rules will be run";
            self.errors
                .push(FieldError::new(ErrorKind::Invalid, path, kind(), text));
            return Err(Stop);
        }
        self.budget -= cost;
        match result {
            Ok(Value::Bool(true)) => Ok(()),
            Ok(_) => {
                // What did not change may stay, unless the rule is about the change.
                if !rule.uses_old && old == Some(value) {
                    return Ok(());
                }
                self.failed(rule, schema, value, &vars, path)
            }
            Err(error) => self.error(rule, &error, kind(), path),
        }
    }

    fn error(&mut self, rule: &Compiled, error: &Error, kind: Json, path: &str) -> Result<(), Stop> {
        let name = rule.source.name();
        let text = error.to_string();
        let (text, stop) = if text.starts_with("no such overload") {
            let text = format!(
                "'{text}': call arguments did not match a supported operator, function or macro signature for rule: {name}"
            );
            (text, false)
        } else if error.is_cost() {
            let text = format!(
                "'{text}': no further validation rules will be run due to call cost exceeds limit for rule: {name}"
            );
            (text, true)
        } else {
            (format!("{text} evaluating rule: {name}"), false)
        };
        self.errors
            .push(FieldError::new(ErrorKind::Invalid, path, kind, text));
        if stop { Err(Stop) } else { Ok(()) }
    }

    fn failed(
        &mut self,
        rule: &Compiled,
        schema: Type<'_>,
        value: &Json,
        vars: &Vars<'_>,
        path: &str,
    ) -> Result<(), Stop> {
        let mut at = path.to_owned();
        if let Some(Ok(field)) = &rule.field {
            match at.is_empty() {
                true => at.push_str(field.strip_prefix('.').unwrap_or(field)),
                false => at.push_str(field),
            }
        }
        let message = match &rule.message {
            Some(Ok(program)) => self.message(program, vars),
            _ => None,
        };
        let detail = message.unwrap_or_else(|| rule.source.default_message());
        let kind = rule.source.kind();
        let detail = if kind == ErrorKind::Duplicate {
            String::new()
        } else {
            detail
        };
        self.errors.push(match schema.base() {
            Base::Object | Base::Array => FieldError::plain(kind, at, detail),
            _ => FieldError::new(kind, at, value.clone(), detail),
        });
        Ok(())
    }

    /// The message that an expression makes, if it is a good one.
    fn message(&mut self, program: &Program, vars: &Vars<'_>) -> Option<String> {
        let (result, cost) = program.eval_within(vars, self.budget);
        self.budget = self.budget.saturating_sub(cost);
        let value = result.ok()?;
        let text = value.as_str()?.trim();
        let good = !text.is_empty() && !text.contains('\n') && text.len() <= 5 * 1024;
        good.then(|| text.to_owned())
    }
}

/// The item of the old list that is the same entry as an item of the new one.
pub(super) fn correlated<'o>(schema: Type<'_>, item: &Json, before: &'o [Json]) -> Option<&'o Json> {
    if schema.list_type() != Some(ListType::Map) {
        return None;
    }
    let keys = schema.map_keys();
    let key_of = |item: &Json, key: &str| {
        item.get(key).cloned().or_else(|| {
            let field = schema.items()?.own_field(key)?;
            field.default_value().cloned()
        })
    };
    before
        .iter()
        .find(|old| keys.iter().all(|key| key_of(item, key) == key_of(old, key)))
}

fn kind_name(schema: Type<'_>) -> &'static str {
    schema.base().name()
}
