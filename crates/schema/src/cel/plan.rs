//! Makes a checked tree ready to run: functions are looked up, and what is constant is computed once,
//! so that mistakes in constants are found when an expression is compiled.

use super::ast::{Call, Expr, Kind, Prepared};
use super::check;
use super::error::Error;
use super::library::{self, Libraries};
use super::value::Value;
use crate::crd::compile_pattern;

/// Conversions that are computed where their argument is constant.
const CONVERSIONS: [&str; 8] = [
    "int",
    "uint",
    "double",
    "bool",
    "string",
    "bytes",
    "duration",
    "timestamp",
];

pub(crate) fn plan(expr: &mut Expr, libraries: Libraries) -> Result<(), Error> {
    match &mut expr.kind {
        Kind::Literal(_) | Kind::Ident(_) => {}
        Kind::Struct(message) => {
            for field in &mut message.fields {
                plan(&mut field.value, libraries)?;
            }
        }
        Kind::Select(select) => plan(&mut select.operand, libraries)?,
        Kind::Logic { args, .. } => {
            for arg in args {
                plan(arg, libraries)?;
            }
        }
        Kind::Ternary(parts) => {
            for part in parts.iter_mut() {
                plan(part, libraries)?;
            }
        }
        Kind::List(items) => {
            for (_, item) in items {
                plan(item, libraries)?;
            }
        }
        Kind::Map(entries) => {
            for entry in entries {
                plan(&mut entry.key, libraries)?;
                plan(&mut entry.value, libraries)?;
            }
        }
        Kind::Fold(fold) => {
            plan(&mut fold.range, libraries)?;
            if let Some(filter) = &mut fold.filter {
                plan(filter, libraries)?;
            }
            plan(&mut fold.body, libraries)?;
        }
        Kind::Bind(bind) => {
            plan(&mut bind.target, libraries)?;
            plan(&mut bind.body, libraries)?;
        }
        Kind::Call(call) => {
            check::namespaced(call, libraries);
            for arg in &mut call.args {
                plan(arg, libraries)?;
            }
            call.function = library::function(&call.name, call.member, call.args.len(), libraries);
            if let Some(value) = converted(call)? {
                expr.kind = Kind::Literal(value);
                return Ok(());
            }
            prepare(call)?;
        }
    }
    fold_constant(expr);
    Ok(())
}

/// The value of a conversion of a constant.
fn converted(call: &Call) -> Result<Option<Value<'static>>, Error> {
    let [argument] = call.args.as_slice() else {
        return Ok(None);
    };
    match (argument.literal(), call.function) {
        (Some(value), Some(function)) if CONVERSIONS.contains(&&*call.name) => {
            function(std::slice::from_ref(value)).map(Some)
        }
        _ => Ok(None),
    }
}

/// Compiles constant patterns, and computes parsers of constant texts once.
fn prepare(call: &mut Call) -> Result<(), Error> {
    let constant = |at: usize| call.args.get(at).and_then(Expr::literal).and_then(Value::as_str);
    match &*call.name {
        "matches" | "find" | "findAll" => {
            if let Some(pattern) = constant(1) {
                let pattern = compile_pattern(pattern).map_err(Error::new)?;
                if call.args.len() == 2 {
                    call.prepared = Prepared::Pattern(pattern.into());
                }
            }
        }
        "quantity" | "url" | "ip" | "cidr" | "semver" if call.args.len() == 1 => {
            // What cannot be read stays an error of the run.
            if let (Some(value), Some(function)) = (call.args[0].literal(), call.function)
                && let Ok(value) = function(std::slice::from_ref(value))
            {
                call.prepared = Prepared::Value(value);
            }
        }
        _ => {}
    }
    Ok(())
}

/// Lists of constants are constants.
fn fold_constant(expr: &mut Expr) {
    if let Kind::List(items) = &expr.kind {
        let all: Option<Vec<Value<'static>>> = items
            .iter()
            .map(|(optional, item)| item.literal().filter(|_| !optional).cloned())
            .collect();
        if let Some(all) = all {
            expr.kind = Kind::Literal(Value::list(all));
        }
    }
}
