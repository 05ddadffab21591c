//! `eq` and its family: which values compare, and how.

use std::cmp::Ordering;

use crate::exec::plain;
use crate::function::FunctionError;
use crate::value::Value;

/// The kinds that compare with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basic {
    Bool,
    Int,
    Uint,
    Float,
    Str,
}

fn basic(value: &Value) -> Option<Basic> {
    match value {
        Value::Bool(_) => Some(Basic::Bool),
        Value::Int(..) => Some(Basic::Int),
        Value::Uint(..) => Some(Basic::Uint),
        Value::Float(_) => Some(Basic::Float),
        Value::Str(_) => Some(Basic::Str),
        _ => None,
    }
}

/// Whether two values are equal as `eq` sees it.
///
/// # Errors
/// If they do not compare.
pub fn equal(left: &Value, right: &Value) -> Result<bool, FunctionError> {
    let (types, left, right) = ((left, right), &plain(left), &plain(right));
    match (left, right) {
        (Value::Bool(a), Value::Bool(b)) => return Ok(a == b),
        (Value::Int(a, _), Value::Int(b, _)) => return Ok(a == b),
        (Value::Uint(a, _), Value::Uint(b, _)) => return Ok(a == b),
        (Value::Int(a, _), Value::Uint(b, _)) | (Value::Uint(b, _), Value::Int(a, _)) => {
            return Ok(u64::try_from(*a).is_ok_and(|a| a == *b));
        }
        (Value::Float(a), Value::Float(b)) => return Ok(a == b),
        (Value::Str(a), Value::Str(b)) => return Ok(a == b),
        _ => {}
    }
    if left.is_nil() || right.is_nil() {
        return Ok(left.is_nil() == right.is_nil());
    }
    if basic(left) != basic(right) {
        return Err(incompatible(types.0, types.1));
    }
    match (left, right) {
        (Value::Object(a), Value::Object(b)) if a.as_map().is_none() && b.as_map().is_none() => {
            Ok(left.deep_equal(right))
        }
        _ => Err(non_comparable(types.0, types.1)),
    }
}

fn incompatible(left: &Value, right: &Value) -> FunctionError {
    format!(
        "incompatible types for comparison: {} and {}",
        left.type_name(),
        right.type_name()
    )
    .into()
}

fn non_comparable(left: &Value, right: &Value) -> FunctionError {
    let shown = |value: &Value| crate::print::sprintf("%s", std::slice::from_ref(value));
    if left.kind() == right.kind() {
        return format!("non-comparable type {}: {}", shown(right), right.type_name()).into();
    }
    format!(
        "non-comparable types {}: {}, {}: {}",
        shown(left),
        left.type_name(),
        right.type_name(),
        crate::print::go_value(right)
    )
    .into()
}

pub(super) fn eq(values: &[Value]) -> Result<bool, FunctionError> {
    let Some((first, others)) = values.split_first() else {
        return Ok(false);
    };
    if others.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in others {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Orders two values of one basic kind.
///
/// # Errors
/// If one has no order, or they are of different kinds.
pub fn compare_basic(left: &Value, right: &Value) -> Result<Option<Ordering>, FunctionError> {
    let (left, right) = (&plain(left), &plain(right));
    if basic(left).is_none() || basic(right).is_none() {
        return Err("invalid type for comparison".into());
    }
    match (left, right) {
        (Value::Int(a, _), Value::Int(b, _)) => Ok(Some(a.cmp(b))),
        (Value::Uint(a, _), Value::Uint(b, _)) => Ok(Some(a.cmp(b))),
        (Value::Int(a, _), Value::Uint(b, _)) => Ok(Some(i128::from(*a).cmp(&i128::from(*b)))),
        (Value::Uint(a, _), Value::Int(b, _)) => Ok(Some(i128::from(*a).cmp(&i128::from(*b)))),
        (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b)),
        (Value::Str(a), Value::Str(b)) => Ok(Some(a.cmp(b))),
        (Value::Bool(_), Value::Bool(_)) => Err("invalid type for comparison".into()),
        _ => Err(incompatible(left, right)),
    }
}

pub(super) fn lt(left: &Value, right: &Value) -> Result<bool, FunctionError> {
    Ok(compare_basic(left, right)? == Some(Ordering::Less))
}

pub(super) fn le(left: &Value, right: &Value) -> Result<bool, FunctionError> {
    Ok(lt(left, right)? || equal(left, right)?)
}
