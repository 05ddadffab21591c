//! Lists.

use crate::function::{FunctionError, FunctionResult, Functions, Params, Type};
use crate::value::{Element, IntType, List, Value};

use super::cast::to_int;
use super::int_at;

const INT: Type = Type::Int(IntType::Int);

/// Registers a function twice: under its name, where an error ends the run, and as `must…`.
fn both(functions: &mut Functions, name: &str, params: Params, body: fn(&[Value]) -> FunctionResult) {
    let must = format!("must{}{}", name[..1].to_uppercase(), &name[1..]);
    functions.pure(name, params.clone(), body);
    functions.pure(&must, params, body);
}

pub(super) fn register(functions: &mut Functions) {
    let one = || Params::fixed(&[Type::Any]);
    let two = || Params::fixed(&[Type::Any, Type::Any]);
    functions.pure("list", Params::variadic(&[], Type::Any), |v| {
        Ok(List::any(interfaces(v)).into())
    });
    functions.alias("tuple", "list");
    both(functions, "append", two(), |v| {
        let mut items = items("push", &v[0])?.to_vec();
        items.push(v[1].clone());
        Ok(List::any(interfaces(&items)).into())
    });
    functions.alias("push", "append");
    functions.alias("mustPush", "mustAppend");
    both(functions, "prepend", two(), |v| {
        let mut all = vec![v[1].clone()];
        all.extend_from_slice(items("prepend", &v[0])?);
        Ok(List::any(interfaces(&all)).into())
    });
    both(functions, "first", one(), |v| {
        Ok(items("first", &v[0])?
            .first()
            .cloned()
            .unwrap_or(Value::NilInterface))
    });
    both(functions, "last", one(), |v| {
        Ok(items("last", &v[0])?
            .last()
            .cloned()
            .unwrap_or(Value::NilInterface))
    });
    both(functions, "rest", one(), |v| {
        Ok(part(items("rest", &v[0])?, 1, 0))
    });
    both(functions, "initial", one(), |v| {
        Ok(part(items("initial", &v[0])?, 0, 1))
    });
    both(functions, "reverse", one(), |v| {
        Ok(List::any(items("reverse", &v[0])?.iter().rev().cloned().collect()).into())
    });
    both(functions, "compact", one(), |v| {
        Ok(List::any(
            items("compact", &v[0])?
                .iter()
                .filter(|item| item.truth())
                .cloned()
                .collect(),
        )
        .into())
    });
    both(functions, "uniq", one(), uniq);
    both(
        functions,
        "without",
        Params::variadic(&[Type::Any], Type::Any),
        |v| {
            let kept = items("without", &v[0])?
                .iter()
                .filter(|item| !v[1..].iter().any(|other| other.deep_equal(item)));
            Ok(List::any(kept.cloned().collect()).into())
        },
    );
    both(functions, "has", two(), |v| match &v[1] {
        Value::Nil => Ok(false.into()),
        Value::List(list) => Ok(list.items().iter().any(|item| item.deep_equal(&v[0])).into()),
        other => Err(format!("Cannot find has on type {}", other.kind()).into()),
    });
    both(
        functions,
        "slice",
        Params::variadic(&[Type::Any], Type::Any),
        slice,
    );
    both(functions, "chunk", Params::fixed(&[INT, Type::Any]), chunk);
    functions.pure("concat", Params::variadic(&[], Type::Any), |v| {
        let mut all = Vec::new();
        for value in v {
            match value {
                Value::List(list) => all.extend_from_slice(list.items()),
                other if other.is_nil() => return Err(NIL.into()),
                other => return Err(format!("Cannot concat type {} as list", other.kind()).into()),
            }
        }
        Ok(List::any(all).or_nil().into())
    });
}

/// Nil inside a list is an `interface {}` that holds nil.
pub(super) fn interfaces(values: &[Value]) -> Vec<Value> {
    values
        .iter()
        .map(|value| {
            if value.is_nil() {
                Value::NilInterface
            } else {
                value.clone()
            }
        })
        .collect()
}

/// What Go says when a function looks for the type of nothing.
const NIL: &str = "runtime error: invalid memory address or nil pointer dereference";

fn items<'a>(what: &str, value: &'a Value) -> Result<&'a [Value], FunctionError> {
    match value {
        Value::List(list) => Ok(list.items()),
        other if other.is_nil() => Err(NIL.into()),
        // The functions that add to a list are named differently in their failures.
        other if matches!(what, "push" | "prepend" | "compact") => {
            Err(format!("Cannot {what} on type {}", other.kind()).into())
        }
        other => Err(format!("Cannot find {what} on type {}", other.kind()).into()),
    }
}

/// A part of a list; of an empty one, nil.
fn part(items: &[Value], skip: usize, drop: usize) -> Value {
    if items.is_empty() {
        return Value::List(List::any(Vec::new()).or_nil());
    }
    Value::List(List::any(items[skip..items.len() - drop].to_vec()))
}

fn uniq(values: &[Value]) -> FunctionResult {
    let mut kept: Vec<Value> = Vec::new();
    for item in items("uniq", &values[0])? {
        if !kept.iter().any(|other| other.deep_equal(item)) {
            kept.push(item.clone());
        }
    }
    Ok(List::any(kept).into())
}

fn slice(values: &[Value]) -> FunctionResult {
    if values[0].is_nil() {
        return Err(NIL.into());
    }
    let Value::List(list) = &values[0] else {
        return Err(format!("list should be type of slice or array but {}", values[0].kind()).into());
    };
    let length = list.items().len();
    if length == 0 {
        return Ok(Value::NilInterface);
    }
    let start = values.get(1).map_or(0, to_int);
    let end = values
        .get(2)
        .map_or_else(|| i64::try_from(length).unwrap_or(i64::MAX), to_int);
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let found = range.and_then(|(start, end)| list.items().get(start..end));
    let found = found.ok_or("reflect.Value.Slice: slice index out of bounds")?;
    Ok(Value::List(List::of(list.element, found.to_vec())))
}

fn chunk(values: &[Value]) -> FunctionResult {
    if values[1].is_nil() {
        return Err(NIL.into());
    }
    let Value::List(list) = &values[1] else {
        return Err(format!("Cannot chunk type {}", values[1].kind()).into());
    };
    let size = usize::try_from(int_at(values, 0)).ok().filter(|size| *size > 0);
    let size = size.ok_or("runtime error: makeslice: len out of range")?;
    let chunks = list
        .items()
        .chunks(size)
        .map(|chunk| List::any(chunk.to_vec()).into());
    Ok(List::of(Element::List, chunks.collect()).into())
}
