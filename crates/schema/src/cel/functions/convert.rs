//! Conversions between types, sizes and type names.

use std::sync::Arc;

use fluvial_object::duration;

use super::super::error::Error;
use super::super::instant::Instant;
use super::super::json::bytes;
use super::super::library::Function;
use super::super::value::{Text, Value};

type Done<'a> = Result<Value<'a>, Error>;

pub(crate) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "size" => size,
        "type" => |args| Ok(Value::Type(args[0].type_name())),
        "dyn" => |args| Ok(args[0].clone()),
        "int" => int,
        "uint" => uint,
        "double" => double,
        "bool" => boolean,
        "string" => string,
        "bytes" => to_bytes,
        "duration" => to_duration,
        "timestamp" => to_timestamp,
        _ => return None,
    })
}

fn failed(value: &Value<'_>, to: &str) -> Error {
    Error::new(format!(
        "type conversion error from '{}' to '{to}'",
        value.type_name()
    ))
}

fn size<'a>(args: &[Value<'a>]) -> Done<'a> {
    match &args[0] {
        Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_) => {
            Ok(Value::Int(i64::try_from(args[0].extent()).unwrap_or(i64::MAX)))
        }
        _ => Err(Error::no_overload()),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked first")]
fn int<'a>(args: &[Value<'a>]) -> Done<'a> {
    let overflow = || Error::new("integer overflow");
    Ok(Value::Int(match &args[0] {
        Value::Int(value) => *value,
        Value::Uint(value) => i64::try_from(*value).map_err(|_| overflow())?,
        Value::Double(value)
            if value.is_nan()
                || *value <= -9.223_372_036_854_776e18
                || *value >= 9.223_372_036_854_776e18 =>
        {
            return Err(overflow());
        }
        Value::Double(value) => *value as i64,
        Value::String(text) => go_int(text.as_str()).ok_or_else(|| failed(&args[0], "int"))?,
        Value::Timestamp(time) => time.seconds(),
        Value::Duration(nanoseconds) => *nanoseconds,
        other => return Err(failed(other, "int")),
    }))
}

fn go_int(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.strip_prefix('+').unwrap_or(text).parse().ok()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked first"
)]
fn uint<'a>(args: &[Value<'a>]) -> Done<'a> {
    let overflow = || Error::new("unsigned integer overflow");
    Ok(Value::Uint(match &args[0] {
        Value::Uint(value) => *value,
        Value::Int(value) => u64::try_from(*value).map_err(|_| overflow())?,
        Value::Double(value) if value.is_nan() || *value < 0.0 || *value >= 1.844_674_407_370_955_2e19 => {
            return Err(overflow());
        }
        Value::Double(value) => *value as u64,
        Value::String(text) => text
            .as_str()
            .parse()
            .ok()
            .filter(|_| !text.as_str().starts_with('+'))
            .ok_or_else(|| failed(&args[0], "uint"))?,
        other => return Err(failed(other, "uint")),
    }))
}

#[expect(clippy::cast_precision_loss, reason = "the nearest float is meant")]
fn double<'a>(args: &[Value<'a>]) -> Done<'a> {
    Ok(Value::Double(match &args[0] {
        Value::Double(value) => *value,
        Value::Int(value) => *value as f64,
        Value::Uint(value) => *value as f64,
        Value::String(text) => text.as_str().parse().map_err(|_| failed(&args[0], "double"))?,
        other => return Err(failed(other, "double")),
    }))
}

fn boolean<'a>(args: &[Value<'a>]) -> Done<'a> {
    Ok(Value::Bool(match &args[0] {
        Value::Bool(value) => *value,
        Value::String(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            _ => return Err(failed(&args[0], "bool")),
        },
        other => return Err(failed(other, "bool")),
    }))
}

/// A float as Go's `%g` with the fewest digits prints it.
pub(crate) fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let exponent = format!("{value:e}");
    let (digits, power) = exponent.split_once('e').unwrap_or((&exponent, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    if value != 0.0 && !(-4..21).contains(&power) {
        let sign = if power < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", power.abs());
    }
    format!("{value}")
}

fn string<'a>(args: &[Value<'a>]) -> Done<'a> {
    Ok(Value::text(match &args[0] {
        Value::String(_) => return Ok(args[0].clone()),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => double_text(*value),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                return Err(Error::new("invalid UTF-8 in bytes, cannot convert to string"));
            }
        },
        Value::Timestamp(time) => time.to_string(),
        Value::Duration(nanoseconds) => seconds_text(*nanoseconds),
        Value::Opaque(opaque) => opaque.to_string(),
        other => return Err(failed(other, "string")),
    }))
}

/// A duration in seconds, as `string` gives it.
fn seconds_text(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let all = nanoseconds.unsigned_abs();
    let (seconds, rest) = (all / 1_000_000_000, all % 1_000_000_000);
    if rest == 0 {
        return format!("{sign}{seconds}s");
    }
    let digits = format!("{rest:09}");
    format!("{sign}{seconds}.{}s", digits.trim_end_matches('0'))
}

fn to_bytes<'a>(args: &[Value<'a>]) -> Done<'a> {
    match &args[0] {
        Value::Bytes(_) => Ok(args[0].clone()),
        Value::String(Text::Borrowed(text)) => Ok(bytes(text.as_bytes())),
        Value::String(Text::Shared(text)) => Ok(Value::Bytes(Arc::from(text.as_bytes()))),
        other => Err(failed(other, "bytes")),
    }
}

fn to_duration<'a>(args: &[Value<'a>]) -> Done<'a> {
    match &args[0] {
        Value::Duration(_) => Ok(args[0].clone()),
        Value::Int(nanoseconds) => Ok(Value::Duration(*nanoseconds)),
        Value::String(text) => duration::parse_go(text.as_str())
            .map(Value::Duration)
            .map_err(|error| Error::new(error.to_string())),
        other => Err(failed(other, "duration")),
    }
}

fn to_timestamp<'a>(args: &[Value<'a>]) -> Done<'a> {
    match &args[0] {
        Value::Timestamp(_) => Ok(args[0].clone()),
        Value::Int(seconds) => Instant::new(*seconds, 0)
            .map(Value::Timestamp)
            .ok_or_else(|| Error::new("timestamp overflow")),
        Value::String(text) => Instant::parse(text.as_str())
            .map(Value::Timestamp)
            .ok_or_else(|| failed(&args[0], "timestamp")),
        other => Err(failed(other, "timestamp")),
    }
}
