//! Quantities of resources.

use std::sync::Arc;

use fluvial_object::quantity::{Format, Quantity};

use super::super::error::Error;
use super::super::library::Function;
use super::super::value::{Opaque, Value};

type Done<'a> = Result<Value<'a>, Error>;

pub(crate) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "quantity" => |args| match args[0].as_str() {
            Some(text) => Quantity::parse(text)
                .map(value)
                .map_err(|error| Error::new(error.to_string())),
            None => Err(Error::no_overload()),
        },
        "isQuantity" => |args| match args[0].as_str() {
            Some(text) => Ok(Value::Bool(Quantity::parse(text).is_ok())),
            None => Err(Error::no_overload()),
        },
        "sign" => |args| Ok(Value::Int(get(&args[0])?.sign().into())),
        "isInteger" => |args| Ok(Value::Bool(get(&args[0])?.as_integer().is_some())),
        "asInteger" => |args| {
            let number = get(&args[0])?.as_integer();
            number
                .map(Value::Int)
                .ok_or_else(|| Error::new("cannot convert value to integer"))
        },
        "asApproximateFloat" => |args| Ok(Value::Double(get(&args[0])?.as_float())),
        "add" => |args| {
            let other = operand(&args[1])?;
            Ok(value(get(&args[0])?.add(&other)))
        },
        "sub" => |args| {
            let other = operand(&args[1])?;
            Ok(value(get(&args[0])?.sub(&other)))
        },
        _ => return None,
    })
}

fn value<'a>(quantity: Quantity) -> Value<'a> {
    Value::Opaque(Opaque::Quantity(Arc::new(quantity)))
}

fn get(value: &Value<'_>) -> Result<Arc<Quantity>, Error> {
    match value {
        Value::Opaque(Opaque::Quantity(quantity)) => Ok(quantity.clone()),
        _ => Err(Error::no_overload()),
    }
}

fn operand(value: &Value<'_>) -> Result<Arc<Quantity>, Error> {
    match value {
        Value::Int(number) => Ok(Arc::new(Quantity::from_integer(*number, Format::DecimalSi))),
        other => get(other),
    }
}

pub(crate) fn greater<'a>(args: &[Value<'a>]) -> Done<'a> {
    Ok(Value::Bool(get(&args[0])? > get(&args[1])?))
}

pub(crate) fn less<'a>(args: &[Value<'a>]) -> Done<'a> {
    Ok(Value::Bool(get(&args[0])? < get(&args[1])?))
}

pub(crate) fn compare_to<'a>(args: &[Value<'a>]) -> Done<'a> {
    Ok(Value::Int(get(&args[0])?.cmp(&get(&args[1])?) as i64))
}
