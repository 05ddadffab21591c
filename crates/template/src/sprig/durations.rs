//! Go's `time.Duration`, and the functions that take anything for one.

use std::any::Any;
use std::fmt::Write as _;
use std::rc::Rc;

use crate::function::{Functions, Params, Type, text};
use crate::quote::quote;
use crate::value::{Object, Underlying, Value};

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

pub(super) fn register(functions: &mut Functions) {
    let any = || Params::fixed(&[Type::Any]);
    functions.pure("mustToDuration", any(), |v| Ok(duration(read(&v[0])?)));
    functions.pure("durationSeconds", any(), |v| Ok(in_units(&v[0], SECOND).into()));
    functions.pure("durationMinutes", any(), |v| Ok(in_units(&v[0], MINUTE).into()));
    functions.pure("durationHours", any(), |v| Ok(in_units(&v[0], HOUR).into()));
    functions.pure("durationDays", any(), |v| {
        Ok((in_units(&v[0], HOUR) / 24.0).into())
    });
    functions.pure("durationWeeks", any(), |v| {
        Ok((in_units(&v[0], HOUR) / 24.0 / 7.0).into())
    });
    functions.pure("durationMilliseconds", any(), |v| {
        Ok(Value::int64(lenient(&v[0]) / 1_000_000))
    });
    functions.pure("durationMicroseconds", any(), |v| {
        Ok(Value::int64(lenient(&v[0]) / 1000))
    });
    functions.pure("durationNanoseconds", any(), |v| Ok(Value::int64(lenient(&v[0]))));
    let two = || Params::fixed(&[Type::Any, Type::Any]);
    functions.pure("durationRoundTo", two(), |v| {
        Ok(duration(rounded(lenient(&v[0]), lenient(&v[1]), true)))
    });
    functions.pure("durationTruncateTo", two(), |v| {
        Ok(duration(rounded(lenient(&v[0]), lenient(&v[1]), false)))
    });
    functions.pure("duration", any(), |v| {
        let seconds = match &v[0] {
            Value::Str(text) => crate::number::parse_int(text).unwrap_or(0),
            Value::Int(value, crate::value::IntType::Int64) => *value,
            _ => 0,
        };
        text(format_go(seconds.saturating_mul(SECOND)))
    });
}

fn lenient(value: &Value) -> i64 {
    read(value).unwrap_or(0)
}

/// Whole units and the fraction apart, as Go divides, so that the last digit is the same.
#[expect(clippy::cast_precision_loss, reason = "as Go converts")]
fn in_units(value: &Value, unit: i64) -> f64 {
    let nanos = lenient(value);
    (nanos / unit) as f64 + (nanos % unit) as f64 / unit as f64
}

fn rounded(nanos: i64, step: i64, to_nearest: bool) -> i64 {
    if step <= 0 {
        return nanos;
    }
    let rest = nanos % step;
    let down = nanos - rest;
    if !to_nearest || rest.unsigned_abs() < step.unsigned_abs() - rest.unsigned_abs() {
        return down;
    }
    down.checked_add(if nanos < 0 { -step } else { step })
        .unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

/// A duration of anything: numbers are seconds, texts are durations or numbers.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "as Go converts"
)]
fn read(value: &Value) -> Result<i64, String> {
    let seconds = |seconds: f64| (seconds * SECOND as f64) as i64;
    match value {
        Value::Nil | Value::NilInterface => Err("invalid duration".to_owned()),
        Value::Int(value, _) => Ok(value.saturating_mul(SECOND)),
        Value::Uint(value, _) => Ok(i64::try_from(*value).unwrap_or(i64::MAX).saturating_mul(SECOND)),
        Value::Float(value) => Ok(seconds(*value)),
        Value::Str(text) => {
            let text = text.trim();
            if text.is_empty() {
                return Err("empty duration".to_owned());
            }
            if let Ok(nanos) = parse_go(text) {
                return Ok(nanos);
            }
            match crate::number::parse_float(text) {
                Some(value) => Ok(seconds(value)),
                None => Err(format!("could not parse duration {}", quote(text))),
            }
        }
        other => match nanos_of(other) {
            Some(nanos) => Ok(nanos),
            None => Err(format!("unsupported duration type {}", other.type_name())),
        },
    }
}

/// The nanoseconds of a duration.
pub(super) fn nanos_of(value: &Value) -> Option<i64> {
    match value {
        Value::Object(object) => object
            .as_any()
            .downcast_ref::<Duration>()
            .map(|duration| duration.0),
        _ => None,
    }
}

pub(super) fn duration(nanos: i64) -> Value {
    Value::Object(Rc::new(Duration(nanos)))
}

struct Duration(i64);

#[expect(clippy::cast_precision_loss, reason = "as Go converts")]
impl Object for Duration {
    fn type_name(&self) -> String {
        "time.Duration".to_owned()
    }

    fn kind(&self) -> &'static str {
        "int64"
    }

    fn field(&self, _: &str) -> Option<Value> {
        None
    }

    fn method(&self, name: &str) -> Option<Params> {
        match name {
            "String" | "Seconds" | "Minutes" | "Hours" | "Milliseconds" | "Microseconds" | "Nanoseconds"
            | "Abs" => Some(Params::default()),
            "Round" | "Truncate" => Some(Params::fixed(&[Type::Object("time.Duration")])),
            _ => None,
        }
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, String> {
        let units = |unit: i64| Value::Float((self.0 / unit) as f64 + (self.0 % unit) as f64 / unit as f64);
        let step = arguments.first().and_then(nanos_of).unwrap_or(0);
        Ok(match name {
            "Seconds" => units(SECOND),
            "Minutes" => units(MINUTE),
            "Hours" => units(HOUR),
            "Milliseconds" => Value::int64(self.0 / 1_000_000),
            "Microseconds" => Value::int64(self.0 / 1000),
            "Nanoseconds" => Value::int64(self.0),
            "Abs" => duration(self.0.saturating_abs()),
            "Round" => duration(rounded(self.0, step, true)),
            "Truncate" => duration(rounded(self.0, step, false)),
            _ => format_go(self.0).into(),
        })
    }

    fn text(&self) -> Option<String> {
        Some(format_go(self.0))
    }

    fn underlying(&self) -> Underlying {
        Underlying::Value(Value::int64(self.0))
    }

    fn to_json(&self) -> serde_json::Value {
        self.0.into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `1h2m3.5s`, as Go prints durations.
pub(super) fn format_go(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let value = nanos.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let width = unit.ilog10() as usize;
        let digits = format!("{:0width$}", value % unit);
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() || unit == 1 {
            (value / unit).to_string()
        } else {
            format!("{}.{digits}", value / unit)
        }
    };
    if value < 1_000_000_000 {
        let (unit, name) = match value {
            0..1000 => (1, "ns"),
            1000..1_000_000 => (1000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{sign}{}{name}", fraction(value, unit));
    }
    let minutes = value / 60_000_000_000;
    let seconds = fraction(value % 60_000_000_000, 1_000_000_000);
    let mut out = sign.to_owned();
    // Writing into a String cannot fail.
    if minutes >= 60 {
        let _ = write!(out, "{}h", minutes / 60);
    }
    if minutes > 0 {
        let _ = write!(out, "{}m", minutes % 60);
    }
    let _ = write!(out, "{seconds}s");
    out
}

/// Reads `1h2m3.5s` as Go does.
pub(super) fn parse_go(source: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(source));
    let unsigned = source.strip_prefix(['+', '-']).unwrap_or(source);
    let negative = source.starts_with('-');
    if unsigned == "0" {
        return Ok(0);
    }
    if unsigned.is_empty() {
        return Err(invalid());
    }
    let mut rest = unsigned;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
        let mut end = whole;
        let mut decimals = "";
        if rest[end..].starts_with('.') {
            let digits = rest[end + 1..].bytes().take_while(u8::is_ascii_digit).count();
            decimals = &rest[end + 1..end + 1 + digits];
            end += 1 + digits;
        }
        if whole == 0 && decimals.is_empty() {
            return Err(invalid());
        }
        let number: u128 = match whole {
            0 => 0,
            1..=19 => rest[..whole].parse().map_err(|_| invalid())?,
            _ => return Err(invalid()),
        };
        rest = &rest[end..];
        let unit_end = rest
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit = &rest[..unit_end];
        let scale: u128 = match unit {
            "" => return Err(format!("time: missing unit in duration {}", quote(source))),
            "ns" => 1,
            "us" | "µs" | "μs" => 1000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => {
                return Err(format!(
                    "time: unknown unit {} in duration {}",
                    quote(unit),
                    quote(source)
                ));
            }
        };
        total += number * scale;
        let digits = &decimals[..decimals.len().min(18)];
        if !digits.is_empty() {
            let part: u128 = digits.parse().map_err(|_| invalid())?;
            total += part * scale / 10u128.pow(u32::try_from(digits.len()).unwrap_or(18));
        }
        rest = &rest[unit_end..];
    }
    let limit = if negative { 1u128 << 63 } else { (1u128 << 63) - 1 };
    if total > limit {
        return Err(invalid());
    }
    let total = i128::try_from(total).map_err(|_| invalid())?;
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}
