//! Parts of points and lengths of time, in any time zone.

use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;

use super::super::error::Error;
use super::super::instant::{Civil, Instant};
use super::super::library::Function;
use super::super::value::Value;

type Done<'a> = Result<Value<'a>, Error>;

pub(crate) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "getFullYear" => |args| part(args, |time| time.year),
        "getMonth" => |args| part(args, |time| time.month - 1),
        "getDayOfYear" => |args| part(args, |time| time.day_of_year),
        "getDayOfMonth" => |args| part(args, |time| time.day - 1),
        "getDate" => |args| part(args, |time| time.day),
        "getDayOfWeek" => |args| part(args, |time| time.weekday),
        "getHours" => |args| unit(args, 3_600_000_000_000, |time| time.hour),
        "getMinutes" => |args| unit(args, 60_000_000_000, |time| time.minute),
        "getSeconds" => |args| unit(args, 1_000_000_000, |time| time.second),
        "getMilliseconds" => |args| match &args[0] {
            Value::Timestamp(time) => {
                // A zone may be named, and must be known, although it changes nothing.
                part(args, |_| 0)?;
                Ok(Value::Int(i64::from(time.nanoseconds() / 1_000_000)))
            }
            _ => unit(args, 1_000_000, |_| 0),
        },
        _ => return None,
    })
}

/// A part of a length of time (in all, not of the next larger unit) or of a point in time.
fn unit<'a>(args: &[Value<'a>], nanoseconds: i64, of: fn(&Civil) -> i64) -> Done<'a> {
    match args {
        [Value::Duration(length)] => Ok(Value::Int(length / nanoseconds)),
        _ => part(args, of),
    }
}

fn part<'a>(args: &[Value<'a>], of: fn(&Civil) -> i64) -> Done<'a> {
    let Value::Timestamp(time) = &args[0] else {
        return Err(Error::no_overload());
    };
    let offset = match args.get(1) {
        None => 0,
        Some(Value::String(name)) => offset(name.as_str(), *time)?,
        Some(_) => return Err(Error::no_overload()),
    };
    Ok(Value::Int(of(&time.civil(offset))))
}

/// Seconds east of Greenwich of a zone, by name or by offset (`+02:00`), at a time.
fn offset(name: &str, time: Instant) -> Result<i64, Error> {
    let unknown = || Error::new(format!("unknown time zone {name}"));
    if let Some((hours, minutes)) = name.split_once(':') {
        let number = |text: &str| text.parse::<i32>().map_err(|_| unknown());
        let sign = if hours.starts_with('-') { -1 } else { 1 };
        return Ok(i64::from(number(hours)?) * 3600 + sign * i64::from(number(minutes)?) * 60);
    }
    if matches!(name, "" | "UTC") {
        return Ok(0);
    }
    // The tables within the binary: the answer is the same on every machine.
    let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| unknown())?;
    let (first, last) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    let time = Timestamp::from_second(time.seconds().clamp(first, last)).map_err(|_| unknown())?;
    Ok(i64::from(zone.to_offset(time).seconds()))
}
