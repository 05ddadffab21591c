//! Values that may be missing.

use std::sync::Arc;

use super::super::error::Error;
use super::super::library::Function;
use super::super::value::Value;

type Done<'a> = Result<Value<'a>, Error>;

pub(crate) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "optional.of" => |args| Ok(Value::some(args[0].clone())),
        "optional.ofNonZeroValue" => |args| {
            Ok(if args[0].is_zero() {
                Value::Optional(None)
            } else {
                Value::some(args[0].clone())
            })
        },
        "optional.none" => |_| Ok(Value::Optional(None)),
        "optional.unwrap" | "unwrapOpt" => unwrap,
        "hasValue" => |args| Ok(Value::Bool(get(&args[0])?.is_some())),
        "value" => |args| {
            let value = get(&args[0])?;
            value
                .map(|value| (*value).clone())
                .ok_or_else(|| Error::new("optional.none() dereference"))
        },
        "or" => |args| {
            let first = get(&args[0])?;
            Ok(args[usize::from(first.is_none())].clone())
        },
        "orValue" => |args| Ok(get(&args[0])?.map_or_else(|| args[1].clone(), |value| (*value).clone())),
        "first" => |args| end(&args[0], true),
        "last" => |args| end(&args[0], false),
        _ => return None,
    })
}

fn get<'a>(value: &Value<'a>) -> Result<Option<Arc<Value<'a>>>, Error> {
    match value {
        Value::Optional(inner) => Ok(inner.clone()),
        _ => Err(Error::no_overload()),
    }
}

fn unwrap<'a>(args: &[Value<'a>]) -> Done<'a> {
    let Value::List(list) = &args[0] else {
        return Err(Error::no_overload());
    };
    let mut out = Vec::new();
    for item in list.iter() {
        if let Some(value) = get(&item)? {
            out.push((*value).clone());
        }
    }
    Ok(Value::list(out))
}

fn end<'a>(value: &Value<'a>, first: bool) -> Done<'a> {
    let Value::List(list) = value else {
        return Err(Error::no_overload());
    };
    let at = if first { 0 } else { list.len().saturating_sub(1) };
    Ok(Value::Optional(list.get(at).map(Arc::new)))
}
