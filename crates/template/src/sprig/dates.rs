//! Dates: now, printing and reading by layout, moving, ages.

use super::clock::{SECOND, Time, Zone, time_of};
use super::durations::{format_go, parse_go};
use super::{ambient, text_at};
use crate::exec::Scope;
use crate::function::{Function, FunctionError, FunctionResult, Functions, Params, Type, text};
use crate::value::Value;

const TIME: Type = Type::Object("time.Time");

pub(super) fn register(functions: &mut Functions) {
    functions.insert(
        "now",
        Function::new(Params::default(), |scope, _| Ok(now(scope)?.value())),
    );
    functions.insert(
        "date",
        Function::new(Params::fixed(&[Type::Str, Type::Any]), |scope, v| {
            in_zone(scope, text_at(v, 0), &v[1], "Local")
        }),
    );
    functions.insert(
        "dateInZone",
        Function::new(Params::fixed(&[Type::Str, Type::Any, Type::Str]), |scope, v| {
            in_zone(scope, text_at(v, 0), &v[1], text_at(v, 2))
        }),
    );
    functions.alias("date_in_zone", "dateInZone");
    functions.insert(
        "htmlDate",
        Function::new(Params::fixed(&[Type::Any]), |scope, v| {
            in_zone(scope, "2006-01-02", &v[0], "Local")
        }),
    );
    functions.insert(
        "htmlDateInZone",
        Function::new(Params::fixed(&[Type::Any, Type::Str]), |scope, v| {
            in_zone(scope, "2006-01-02", &v[0], text_at(v, 1))
        }),
    );
    functions.insert("ago", Function::new(Params::fixed(&[Type::Any]), ago));
    functions.insert(
        "durationRound",
        Function::new(Params::fixed(&[Type::Any]), duration_round),
    );
    let moving = || Params::fixed(&[Type::Str, TIME]);
    functions.pure("dateModify", moving(), |v| {
        Ok(moved(v).unwrap_or_else(|_| v[1].clone()))
    });
    functions.pure("mustDateModify", moving(), |v| Ok(moved(v)?));
    functions.alias("date_modify", "dateModify");
    functions.alias("must_date_modify", "mustDateModify");
    let two = || Params::fixed(&[Type::Str, Type::Str]);
    functions.pure("toDate", two(), |v| {
        let read = Time::parse(text_at(v, 0), text_at(v, 1));
        Ok(read.unwrap_or_else(|_| Time::zero()).value())
    });
    functions.pure("mustToDate", two(), |v| {
        Ok(Time::parse(text_at(v, 0), text_at(v, 1))?.value())
    });
    functions.pure("unixEpoch", Params::fixed(&[TIME]), |v| {
        text(time_of(&v[0]).map_or(0, |time| time.seconds).to_string())
    });
}

fn now(scope: &mut Scope<'_, '_>) -> Result<Time, FunctionError> {
    Ok(Time::from_nanos(ambient(scope)?.now()))
}

/// A time, or seconds since 1970 of an integer; anything else is the present.
fn point(scope: &mut Scope<'_, '_>, value: &Value) -> Result<Time, FunctionError> {
    match value {
        Value::Int(seconds, _) => Ok(Time::from_unix(*seconds)),
        other => match time_of(other) {
            Some(time) => Ok(time.clone()),
            None => now(scope),
        },
    }
}

fn in_zone(scope: &mut Scope<'_, '_>, layout: &str, value: &Value, zone: &str) -> FunctionResult {
    let zone = Zone::load(zone).unwrap_or(Zone::Utc);
    text(point(scope, value)?.in_zone(zone).format(layout))
}

fn ago(scope: &mut Scope<'_, '_>, values: &[Value]) -> FunctionResult {
    let then = point(scope, &values[0])?;
    let nanos = now(scope)?.nanos_since_1970() - then.nanos_since_1970();
    let half = if nanos < 0 { -SECOND / 2 } else { SECOND / 2 };
    let seconds = (nanos + half) / SECOND;
    text(format_go(i64::try_from(seconds * SECOND).unwrap_or(i64::MAX)))
}

fn moved(values: &[Value]) -> Result<Value, String> {
    let step = parse_go(text_at(values, 0))?;
    let time = time_of(&values[1]).ok_or("not a time")?;
    Ok(time.plus(step).value())
}

/// The largest unit only: `2h`, `3mo`.
fn duration_round(scope: &mut Scope<'_, '_>, values: &[Value]) -> FunctionResult {
    let nanos = match &values[0] {
        Value::Str(text) => i128::from(parse_go(text).unwrap_or(0)),
        Value::Int(value, crate::value::IntType::Int64) => i128::from(*value),
        other => match time_of(other).cloned() {
            Some(time) => now(scope)?.nanos_since_1970() - time.nanos_since_1970(),
            None => 0,
        },
    };
    let nanos = nanos.unsigned_abs();
    let second = SECOND.unsigned_abs();
    let hour = 3600 * second;
    let units = [
        (hour * 24 * 365, "y"),
        (hour * 24 * 30, "mo"),
        (hour * 24, "d"),
        (hour, "h"),
        (60 * second, "m"),
        (second, "s"),
    ];
    let largest = units.iter().find(|(unit, _)| nanos > *unit);
    text(largest.map_or("0s".to_owned(), |(unit, name)| format!("{}{name}", nanos / unit)))
}
