//! The CEL implementation behind the expressions; nothing of it shows outside.

use kube_cel::KubeCelExt as _;
use kube_cel::cel::common::ast::{EntryExpr, Expr};
use kube_cel::cel::parser::Parser;
use kube_cel::cel::{Context, ExecutionError, IdedExpr, Value as Cel, to_value};
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use serde_json::Value;

/// Nesting that an expression may have.
const MAX_DEPTH: u16 = 64;

pub(super) struct Program(IdedExpr);

/// A JSON value whose whole numbers are ints, as in Go, also those that are not negative.
struct Ints<'v>(&'v Value);

impl Serialize for Ints<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_none(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => serializer.serialize_i64(whole),
                (None, float) => serializer.serialize_f64(float.unwrap_or_default()),
            },
            Value::String(text) => serializer.serialize_str(text),
            Value::Array(list) => {
                let mut seq = serializer.serialize_seq(Some(list.len()))?;
                for item in list {
                    seq.serialize_element(&Ints(item))?;
                }
                seq.end()
            }
            Value::Object(map) => {
                let mut entries = serializer.serialize_map(Some(map.len()))?;
                for (key, value) in map {
                    entries.serialize_entry(key, &Ints(value))?;
                }
                entries.end()
            }
        }
    }
}

impl Program {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Parser::new()
            .max_recursion_depth(MAX_DEPTH)
            .enable_optional_syntax(true)
            .parse(text)
            .map(Program)
            .map_err(|errors| errors.to_string())
    }

    /// A variable that the expression uses and that is none of these, nor bound in it.
    pub(super) fn unknown_variable(&self, variables: &[&str]) -> Option<String> {
        let mut bound: Vec<String> = variables.iter().map(|name| (*name).to_owned()).collect();
        unknown(&self.0, &mut bound)
    }

    /// The outcome, `None` if it is neither yes nor no.
    pub(super) fn run<'v>(
        &self,
        variables: impl IntoIterator<Item = (&'v str, &'v Value)>,
    ) -> Result<Option<bool>, String> {
        let mut context = Context::default().with_all();
        for (name, value) in variables {
            let value = to_value(Ints(value)).map_err(|error| error.to_string())?;
            context.add_variable_from_value(name, value);
        }
        match context.resolve(&self.0) {
            Ok(Cel::Bool(answer)) => Ok(Some(answer)),
            Ok(_) => Ok(None),
            Err(error) => Err(text(&error)),
        }
    }
}

fn unknown(expression: &IdedExpr, bound: &mut Vec<String>) -> Option<String> {
    match &expression.expr {
        Expr::Ident(name) => {
            let known = name.starts_with('@') || TYPES.contains(&name.as_str()) || bound.contains(name);
            (!known).then(|| name.clone())
        }
        Expr::Select(select) => unknown(&select.operand, bound),
        Expr::Call(call) => {
            let mut parts = call.target.iter().map(AsRef::as_ref).chain(&call.args);
            parts.find_map(|part| unknown(part, bound))
        }
        Expr::List(list) => list.elements.iter().find_map(|item| unknown(item, bound)),
        Expr::Map(map) => map.entries.iter().find_map(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => unknown(&entry.key, bound).or_else(|| unknown(&entry.value, bound)),
            EntryExpr::StructField(field) => unknown(&field.value, bound),
        }),
        Expr::Comprehension(comprehension) => {
            if let Some(name) = unknown(&comprehension.iter_range, bound) {
                return Some(name);
            }
            let before = bound.len();
            bound.push(comprehension.iter_var.clone());
            bound.extend(comprehension.iter_var2.clone());
            bound.push(comprehension.accu_var.clone());
            let inner = [
                &comprehension.accu_init,
                &comprehension.loop_cond,
                &comprehension.loop_step,
                &comprehension.result,
            ];
            let found = inner.into_iter().find_map(|part| unknown(part, bound));
            bound.truncate(before);
            found
        }
        _ => None,
    }
}

/// Names of types, which are values too.
const TYPES: [&str; 10] = [
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

fn text(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::UndeclaredReference(name) => format!("no such attribute(s): {name}"),
        ExecutionError::NoSuchOverload => "no such overload".to_owned(),
        other => other.to_string(),
    }
}
