//! Loose conversions: numbers from anything, text from anything.

use crate::number::{parse_float, parse_int};
use crate::print::go_value;
use crate::value::{Element, Underlying, Value};

/// As Sprig's `toString`: strings and bytes as they are, objects by their text, else `%v`.
#[must_use]
pub fn to_text(value: &Value) -> String {
    match value {
        Value::Str(text) => text.to_string(),
        Value::List(list) if list.element == Element::Byte => {
            crate::bytes::from_bytes(&list.as_bytes().unwrap_or_default()).into_owned()
        }
        Value::Object(object) => object.text().unwrap_or_else(|| go_value(value)),
        other => go_value(other),
    }
}

/// As `int64`: what is no number is 0.
#[must_use]
pub fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(value, _) => *value,
        Value::Uint(value, _) => value.cast_signed(),
        Value::Float(value) => go_truncate(*value),
        Value::Bool(value) => i64::from(*value),
        Value::Str(text) => int_from_text(text),
        Value::Object(object) => match object.underlying() {
            Underlying::Value(value) => to_int(&value),
            Underlying::Struct { .. } => 0,
        },
        _ => 0,
    }
}

/// Go on amd64 gives the smallest integer for what does not fit.
#[expect(clippy::cast_possible_truncation, reason = "checked to fit")]
fn go_truncate(value: f64) -> i64 {
    if value.is_nan() || value.abs() >= 2f64.powi(63) {
        i64::MIN
    } else {
        value as i64
    }
}

fn int_from_text(text: &str) -> i64 {
    // `8.0` and `8.00` count as whole numbers, `8.5` as none.
    let whole = match text.find('.') {
        Some(dot) if text[dot + 1..].bytes().all(|byte| byte == b'0') && dot > 0 => &text[..dot],
        _ => text,
    };
    parse_int(whole).unwrap_or(0)
}

/// As `float64`: what is no number is 0.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "as Go converts")]
pub fn to_float(value: &Value) -> f64 {
    match value {
        Value::Int(value, _) => *value as f64,
        Value::Uint(value, _) => *value as f64,
        Value::Float(value) => *value,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Str(text) => parse_float(text).unwrap_or(0.0),
        Value::Object(object) => match object.underlying() {
            Underlying::Value(value) => to_float(&value),
            Underlying::Struct { .. } => 0.0,
        },
        _ => 0.0,
    }
}
