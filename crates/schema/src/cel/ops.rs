//! Operators: equality, order, arithmetic, look-ups.

use std::cmp::Ordering;

use crate::table::ListType;

use super::error::Error;
use super::instant::Instant;
use super::library::Function;
use super::value::{List, Map, Opaque, Value};

type Done<'a> = Result<Value<'a>, Error>;

/// What runs for an operator.
pub(crate) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "!_" => not,
        "-_" => negate,
        "_+_" => add,
        "_-_" => subtract,
        "_*_" => multiply,
        "_/_" => divide,
        "_%_" => remainder,
        "_==_" => |args| Ok(Value::Bool(equal(&args[0], &args[1]))),
        "_!=_" => |args| Ok(Value::Bool(!equal(&args[0], &args[1]))),
        "_<_" => |args| order(args, Ordering::is_lt),
        "_<=_" => |args| order(args, Ordering::is_le),
        "_>_" => |args| order(args, Ordering::is_gt),
        "_>=_" => |args| order(args, Ordering::is_ge),
        "@in" => within,
        "_[_]" => index,
        "_[?_]" => optional_index,
        _ => return None,
    })
}

/// Names that the reference's own types have in some texts.
pub(crate) fn go_name(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "types.Null",
        Value::Bool(_) => "types.Bool",
        Value::Int(_) => "types.Int",
        Value::Uint(_) => "types.Uint",
        Value::Double(_) => "types.Double",
        Value::String(_) => "types.String",
        Value::Bytes(_) => "types.Bytes",
        Value::Duration(_) => "types.Duration",
        Value::Timestamp(_) => "types.Timestamp",
        Value::Optional(_) => "*types.Optional",
        Value::Type(_) => "*types.Type",
        Value::List(_) | Value::Map(_) | Value::Opaque(_) => value.type_name(),
    }
}

fn overflow<'a>(value: Option<i64>) -> Done<'a> {
    value
        .map(Value::Int)
        .ok_or_else(|| Error::new("integer overflow"))
}

fn unsigned<'a>(value: Option<u64>) -> Done<'a> {
    value
        .map(Value::Uint)
        .ok_or_else(|| Error::new("unsigned integer overflow"))
}

fn not<'a>(args: &[Value<'a>]) -> Done<'a> {
    match &args[0] {
        Value::Bool(value) => Ok(Value::Bool(!value)),
        _ => Err(Error::no_overload()),
    }
}

fn negate<'a>(args: &[Value<'a>]) -> Done<'a> {
    match &args[0] {
        Value::Int(value) => overflow(value.checked_neg()),
        Value::Double(value) => Ok(Value::Double(-value)),
        _ => Err(Error::no_overload()),
    }
}

/// The time that many nanoseconds later, within the years that timestamps have.
fn shift<'a>(time: Instant, nanoseconds: Option<i64>) -> Done<'a> {
    let later = nanoseconds.and_then(|nanoseconds| time.plus(nanoseconds));
    later
        .map(Value::Timestamp)
        .ok_or_else(|| Error::new("timestamp overflow"))
}

fn length<'a>(nanoseconds: Option<i64>) -> Done<'a> {
    nanoseconds
        .map(Value::Duration)
        .ok_or_else(|| Error::new("duration overflow"))
}

fn add<'a>(args: &[Value<'a>]) -> Done<'a> {
    match (&args[0], &args[1]) {
        (Value::Int(one), Value::Int(other)) => overflow(one.checked_add(*other)),
        (Value::Uint(one), Value::Uint(other)) => unsigned(one.checked_add(*other)),
        (Value::Double(one), Value::Double(other)) => Ok(Value::Double(one + other)),
        (Value::String(one), Value::String(other)) => {
            let mut text = String::with_capacity(one.as_str().len() + other.as_str().len());
            text.push_str(one.as_str());
            text.push_str(other.as_str());
            Ok(Value::text(text))
        }
        (Value::Bytes(one), Value::Bytes(other)) => Ok(Value::Bytes([&**one, &**other].concat().into())),
        (Value::List(one), Value::List(other)) => Ok(concat(one, other)),
        (Value::Duration(one), Value::Duration(other)) => length(one.checked_add(*other)),
        (Value::Timestamp(time), Value::Duration(by)) | (Value::Duration(by), Value::Timestamp(time)) => {
            shift(*time, Some(*by))
        }
        _ => Err(Error::no_overload()),
    }
}

/// Lists one after the other; sets and keyed lists of objects without doubles.
fn concat<'a>(one: &List<'a>, other: &List<'a>) -> Value<'a> {
    let mut items: Vec<Value<'a>> = one.iter().collect();
    match unique_by(one) {
        Some(Unique::Value) => {
            for item in other.iter() {
                if !items.iter().any(|own| equal(own, &item)) {
                    items.push(item);
                }
            }
        }
        Some(Unique::Keys(keys)) => {
            for item in other.iter() {
                match items.iter_mut().find(|own| same_keys(own, &item, &keys)) {
                    Some(own) => *own = item,
                    None => items.push(item),
                }
            }
        }
        None => items.extend(other.iter()),
    }
    Value::list(items)
}

fn subtract<'a>(args: &[Value<'a>]) -> Done<'a> {
    match (&args[0], &args[1]) {
        (Value::Int(one), Value::Int(other)) => overflow(one.checked_sub(*other)),
        (Value::Uint(one), Value::Uint(other)) => unsigned(one.checked_sub(*other)),
        (Value::Double(one), Value::Double(other)) => Ok(Value::Double(one - other)),
        (Value::Duration(one), Value::Duration(other)) => length(one.checked_sub(*other)),
        (Value::Timestamp(time), Value::Duration(by)) => shift(*time, by.checked_neg()),
        (Value::Timestamp(one), Value::Timestamp(other)) => {
            let nanoseconds = one.since_epoch() - other.since_epoch();
            length(i64::try_from(nanoseconds).ok())
        }
        _ => Err(Error::no_overload()),
    }
}

fn multiply<'a>(args: &[Value<'a>]) -> Done<'a> {
    match (&args[0], &args[1]) {
        (Value::Int(one), Value::Int(other)) => overflow(one.checked_mul(*other)),
        (Value::Uint(one), Value::Uint(other)) => unsigned(one.checked_mul(*other)),
        (Value::Double(one), Value::Double(other)) => Ok(Value::Double(one * other)),
        _ => Err(Error::no_overload()),
    }
}

fn divide<'a>(args: &[Value<'a>]) -> Done<'a> {
    match (&args[0], &args[1]) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => {
            Err(Error::new("division by zero"))
        }
        (Value::Int(one), Value::Int(other)) => overflow(one.checked_div(*other)),
        (Value::Uint(one), Value::Uint(other)) => Ok(Value::Uint(one / other)),
        (Value::Double(one), Value::Double(other)) => Ok(Value::Double(one / other)),
        _ => Err(Error::no_overload()),
    }
}

fn remainder<'a>(args: &[Value<'a>]) -> Done<'a> {
    match (&args[0], &args[1]) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => {
            Err(Error::new("modulus by zero"))
        }
        (Value::Int(one), Value::Int(other)) => overflow(one.checked_rem(*other)),
        (Value::Uint(one), Value::Uint(other)) => Ok(Value::Uint(one % other)),
        _ => Err(Error::no_overload()),
    }
}

fn order<'a>(args: &[Value<'a>], wanted: fn(Ordering) -> bool) -> Done<'a> {
    let nan = |value: &Value<'_>| matches!(value, Value::Double(value) if value.is_nan());
    match compare(&args[0], &args[1]) {
        Some(ordering) => Ok(Value::Bool(wanted(ordering))),
        None if nan(&args[0]) || nan(&args[1]) => Err(Error::new("NaN values cannot be ordered")),
        None => Err(Error::no_overload()),
    }
}

/// The order of two values; `None` where there is none.
pub(crate) fn compare(one: &Value<'_>, other: &Value<'_>) -> Option<Ordering> {
    #[expect(clippy::cast_precision_loss, reason = "as the reference compares")]
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        (Value::Int(one), Value::Int(other)) => Some(one.cmp(other)),
        (Value::Uint(one), Value::Uint(other)) => Some(one.cmp(other)),
        (Value::Double(one), Value::Double(other)) => one.partial_cmp(other),
        (Value::Int(one), Value::Uint(other)) => Some(i128::from(*one).cmp(&i128::from(*other))),
        (Value::Uint(one), Value::Int(other)) => Some(i128::from(*one).cmp(&i128::from(*other))),
        (Value::Int(one), Value::Double(other)) => (*one as f64).partial_cmp(other),
        (Value::Double(one), Value::Int(other)) => one.partial_cmp(&(*other as f64)),
        (Value::Uint(one), Value::Double(other)) => (*one as f64).partial_cmp(other),
        (Value::Double(one), Value::Uint(other)) => one.partial_cmp(&(*other as f64)),
        (Value::String(one), Value::String(other)) => Some(one.as_str().cmp(other.as_str())),
        (Value::Bytes(one), Value::Bytes(other)) => Some(one.cmp(other)),
        (Value::Duration(one), Value::Duration(other)) => Some(one.cmp(other)),
        (Value::Timestamp(one), Value::Timestamp(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

/// Whether two values are equal; values of different types never are, apart from numbers.
pub(crate) fn equal(one: &Value<'_>, other: &Value<'_>) -> bool {
    match (one, other) {
        (Value::Null, Value::Null) => true,
        (Value::Type(one), Value::Type(other)) => one == other,
        (Value::List(one), Value::List(other)) => equal_lists(one, other),
        (Value::Map(one), Value::Map(other)) => equal_maps(one, other),
        (Value::Optional(one), Value::Optional(other)) => match (one, other) {
            (Some(one), Some(other)) => equal(one, other),
            (None, None) => true,
            _ => false,
        },
        (Value::Opaque(one), Value::Opaque(other)) => equal_opaque(one, other),
        _ => compare(one, other) == Some(Ordering::Equal),
    }
}

fn equal_opaque(one: &Opaque<'_>, other: &Opaque<'_>) -> bool {
    match (one, other) {
        (Opaque::Ip(one), Opaque::Ip(other)) => one == other,
        (Opaque::Cidr(one, bits), Opaque::Cidr(other, others)) => one == other && bits == others,
        (Opaque::Url(one), Opaque::Url(other)) => one.to_string() == other.to_string(),
        (Opaque::Quantity(one), Opaque::Quantity(other)) => one == other,
        (Opaque::Semver(one), Opaque::Semver(other)) => one.compare(other).is_eq(),
        (Opaque::Format(one), Opaque::Format(other)) => one == other,
        _ => false,
    }
}

enum Unique {
    Value,
    Keys(Vec<String>),
}

/// How a list of an object tells its items apart.
fn unique_by(list: &List<'_>) -> Option<Unique> {
    let List::Json(_, Some(schema)) = list else {
        return None;
    };
    match schema.list_type()? {
        ListType::Atomic => None,
        ListType::Set => Some(Unique::Value),
        ListType::Map => {
            let keys = schema.map_keys().iter();
            Some(Unique::Keys(keys.map(|key| key.to_string()).collect()))
        }
    }
}

fn same_keys(one: &Value<'_>, other: &Value<'_>, keys: &[String]) -> bool {
    let (Value::Map(one), Value::Map(other)) = (one, other) else {
        return false;
    };
    keys.iter().all(|key| match (one.field(key), other.field(key)) {
        (Some(one), Some(other)) => equal(&one, &other),
        (None, None) => true,
        _ => false,
    })
}

fn equal_lists(one: &List<'_>, other: &List<'_>) -> bool {
    if one.len() != other.len() {
        return false;
    }
    if unique_by(one).is_some() || unique_by(other).is_some() {
        let others: Vec<Value<'_>> = other.iter().collect();
        return one
            .iter()
            .all(|item| others.iter().any(|other| equal(&item, other)));
    }
    one.iter()
        .zip(other.iter())
        .all(|(one, other)| equal(&one, &other))
}

fn equal_maps(one: &Map<'_>, other: &Map<'_>) -> bool {
    one.len() == other.len()
        && one.keys().iter().all(|key| match (one.get(key), other.get(key)) {
            (Some(one), Some(other)) => equal(&one, &other),
            _ => false,
        })
}

fn within<'a>(args: &[Value<'a>]) -> Done<'a> {
    match &args[1] {
        Value::List(list) => Ok(Value::Bool(list.iter().any(|item| equal(&item, &args[0])))),
        Value::Map(map) => Ok(Value::Bool(map.get(&args[0]).is_some())),
        _ => Err(Error::no_overload()),
    }
}

/// The index that a value is, for lists.
fn position(list: &List<'_>, index: &Value<'_>) -> Result<Option<usize>, Error> {
    #[expect(clippy::cast_possible_truncation, reason = "whole and of moderate size")]
    let number = match index {
        Value::Int(number) => *number,
        Value::Uint(number) => i64::try_from(*number).unwrap_or(i64::MAX),
        Value::Double(number) if number.fract() == 0.0 && number.abs() < 9e18 => *number as i64,
        Value::Double(_) => {
            return Err(Error::new(format!("unsupported index value {index} in list")));
        }
        other => {
            return Err(Error::new(format!(
                "unsupported index type '{}' in list",
                other.type_name()
            )));
        }
    };
    let found = usize::try_from(number).ok().filter(|at| *at < list.len());
    Ok(found)
}

fn find<'a>(container: &Value<'a>, index: &Value<'a>) -> Result<Option<Value<'a>>, Error> {
    match container {
        Value::List(list) => Ok(position(list, index)?.and_then(|at| list.get(at))),
        Value::Map(map) => Ok(map.get(index)),
        _ => Err(Error::no_overload()),
    }
}

fn index<'a>(args: &[Value<'a>]) -> Done<'a> {
    match &args[0] {
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => {
            let found = find(inner, &args[1])?;
            Ok(Value::Optional(found.map(std::sync::Arc::new)))
        }
        container => find(container, &args[1])?.ok_or_else(|| match container {
            Value::List(_) => Error::new(format!("index out of bounds: {}", args[1])),
            _ => Error::no_key(&args[1]),
        }),
    }
}

fn optional_index<'a>(args: &[Value<'a>]) -> Done<'a> {
    let container = match &args[0] {
        Value::Optional(None) => return Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => inner,
        other => other,
    };
    let found = find(container, &args[1])?;
    Ok(Value::Optional(found.map(std::sync::Arc::new)))
}
