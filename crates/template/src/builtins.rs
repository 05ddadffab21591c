//! The functions of the language itself.

mod compare;

use crate::bytes::{from_bytes, to_bytes};
use crate::exec::Scope;
use crate::function::{Function, FunctionResult, Functions, Params, Type, text};
use crate::print;
use crate::trace::Reads;
use crate::value::{Element, IntType, List, UintType, Value};

pub use compare::{compare_basic, equal};

pub(crate) fn register(functions: &mut Functions) {
    let any_values = || Params::variadic(&[], Type::Any);
    let one_or_more = || Params::variadic(&[Type::Value], Type::Value);
    let two = || Params::fixed(&[Type::Value, Type::Value]);
    for (name, stop) in [("and", false), ("or", true)] {
        let mut function = Function::new(one_or_more(), |_: &mut Scope<'_, '_>, _: &[Value]| {
            Err("is evaluated by the executor".into())
        });
        function.short_circuit = Some(stop);
        functions.insert(name, function);
    }
    functions.pure("not", Params::fixed(&[Type::Value]), |values| {
        Ok(Value::Bool(!values[0].truth()))
    });
    functions.pure("call", one_or_more(), call);
    functions.pure("html", any_values(), |values| {
        text(crate::escape::html(&joined(values)))
    });
    functions.pure("js", any_values(), |values| {
        text(crate::escape::js(&joined(values)))
    });
    functions.pure("urlquery", any_values(), |values| {
        text(crate::escape::url_query(&joined(values)))
    });
    functions.pure("print", any_values(), |values| text(print::sprint(values)));
    functions.pure("println", any_values(), |values| text(print::sprintln(values)));
    functions.pure("printf", Params::variadic(&[Type::Str], Type::Any), |values| {
        text(print::sprintf(
            values[0].as_str().unwrap_or_default(),
            &values[1..],
        ))
    });
    functions.pure("index", one_or_more(), index);
    functions.pure("slice", one_or_more(), slice);
    functions.pure("len", Params::fixed(&[Type::Value]), len);
    functions.reading(Reads::Shallow, &["len"]);
    functions.reading(Reads::Emptiness, &["not"]);
    functions.reading(Reads::Entry, &["index"]);
    functions.pure("eq", one_or_more(), |values| compare::eq(values).map(Value::Bool));
    functions.pure("ne", two(), |values| {
        compare::eq(values).map(|equal| Value::Bool(!equal))
    });
    functions.pure("lt", two(), |values| {
        compare::lt(&values[0], &values[1]).map(Value::Bool)
    });
    functions.pure("le", two(), |values| {
        compare::le(&values[0], &values[1]).map(Value::Bool)
    });
    functions.pure("gt", two(), |values| {
        compare::le(&values[0], &values[1]).map(|le| Value::Bool(!le))
    });
    functions.pure("ge", two(), |values| {
        compare::lt(&values[0], &values[1]).map(|lt| Value::Bool(!lt))
    });
}

/// What `html`, `js` and `urlquery` escape: a lone string as it is, anything else printed.
fn joined(values: &[Value]) -> String {
    match values {
        [Value::Str(text)] => text.to_string(),
        values => {
            let shown: Vec<Value> = values
                .iter()
                .map(|value| {
                    if value.is_nil() {
                        "<no value>".into()
                    } else {
                        value.clone()
                    }
                })
                .collect();
            print::sprint(&shown)
        }
    }
}

fn call(values: &[Value]) -> FunctionResult {
    match &values[0] {
        Value::Nil | Value::NilInterface => Err("call of nil".into()),
        // Values of templates are data; none of them is a function.
        other => Err(format!("non-function of type {}", other.type_name()).into()),
    }
}

/// A list's or map's item as it leaves `index`: nil inside an interface stays one.
fn index(values: &[Value]) -> FunctionResult {
    let mut item = values[0].clone();
    if item.is_nil() {
        return Err("index of untyped nil".into());
    }
    for key in &values[1..] {
        item = match &item {
            Value::Nil | Value::NilInterface => return Err("index of nil pointer".into()),
            Value::List(list) => {
                let at = position(key, list.items().len(), "slice")?;
                list.items()[at].clone()
            }
            Value::Str(string) => {
                let bytes = to_bytes(string);
                let at = position(key, bytes.len(), "string")?;
                Value::Uint(u64::from(bytes[at]), UintType::Uint8)
            }
            Value::Map(map) => entry(map.get(map_key(key)?), map.element),
            Value::Object(object) => match object.as_map() {
                Some(map) => entry(map.get(map_key(key)?), map.element),
                None => return Err(format!("can't index item of type {}", item.pointee_name()).into()),
            },
            other => return Err(format!("can't index item of type {}", other.type_name()).into()),
        };
    }
    Ok(item)
}

fn entry(found: Option<Value>, element: Element) -> Value {
    found.unwrap_or_else(|| match element {
        Element::Str => Value::from(""),
        Element::Int => Value::int(0),
        Element::Bytes => List::bytes(&[]).into(),
        _ => Value::NilInterface,
    })
}

fn map_key(key: &Value) -> Result<&str, String> {
    match key {
        Value::Str(key) => Ok(key),
        Value::Nil | Value::NilInterface => Err("value is nil; should be of type string".to_owned()),
        other => Err(format!("value has type {}; should be string", other.type_name())),
    }
}

/// An index into something of this length. The place right behind the end gets past the check of the reference, and fails
/// deeper down.
fn position(key: &Value, length: usize, what: &str) -> Result<usize, String> {
    let number = whole(key)?;
    match usize::try_from(number) {
        Ok(position) if position < length => Ok(position),
        Ok(position) if position == length => Err(format!("reflect: {what} index out of range")),
        _ => Err(format!("index out of range: {number}")),
    }
}

fn whole(key: &Value) -> Result<i64, String> {
    match key {
        Value::Int(number, _) => Ok(*number),
        Value::Uint(number, _) => Ok(i64::try_from(*number).unwrap_or(i64::MAX)),
        Value::Nil | Value::NilInterface => Err("cannot index slice/array with nil".to_owned()),
        other => Err(format!(
            "cannot index slice/array with type {}",
            other.type_name()
        )),
    }
}

fn slice(values: &[Value]) -> FunctionResult {
    let (item, bounds) = (&values[0], &values[1..]);
    if item.is_nil() {
        return Err("slice of untyped nil".into());
    }
    if bounds.len() > 3 {
        return Err(format!("too many slice indexes: {}", bounds.len()).into());
    }
    let length = match item {
        Value::Str(_) if bounds.len() == 3 => return Err("cannot 3-index slice a string".into()),
        Value::Str(string) => string.len(),
        Value::List(list) => list.items().len(),
        other => return Err(format!("can't slice item of type {}", other.type_name()).into()),
    };
    let mut ends = [0, length, length];
    for (index, bound) in bounds.iter().enumerate() {
        let number = whole(bound)?;
        let bound = usize::try_from(number).ok().filter(|bound| *bound <= length);
        ends[index] = bound.ok_or_else(|| format!("index out of range: {number}"))?;
    }
    let [from, to, cap] = ends;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}").into());
    }
    if bounds.len() == 3 && to > cap {
        return Err(format!("invalid slice index: {to} > {cap}").into());
    }
    match item {
        Value::Str(string) => text(from_bytes(&to_bytes(string)[from..to]).into_owned()),
        Value::List(list) => Ok(Value::List(List::of(
            list.element,
            list.items()[from..to].to_vec(),
        ))),
        _ => Err("cannot be sliced".into()),
    }
}

fn len(values: &[Value]) -> FunctionResult {
    let length = match &values[0] {
        Value::Nil | Value::NilInterface => return Err("len of nil pointer".into()),
        Value::Str(string) => to_bytes(string).len(),
        Value::List(list) => list.items().len(),
        Value::Map(map) => map.borrow().len(),
        Value::Object(object) => match object.as_map() {
            Some(map) => map.borrow().len(),
            None => return Err(format!("len of type {}", values[0].pointee_name()).into()),
        },
        other => return Err(format!("len of type {}", other.type_name()).into()),
    };
    Ok(Value::Int(
        i64::try_from(length).unwrap_or(i64::MAX),
        IntType::Int,
    ))
}
