//! Points in time as templates hold them: Go's `time.Time`, with its zone, printing and methods.

mod layout;

use std::any::Any;
use std::rc::Rc;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::durations::{self, duration};
use crate::function::{Params, Type};
use crate::value::{IntType, Object, Underlying, Value};

pub(super) const SECOND: i128 = 1_000_000_000;
const DAY: i64 = 86_400;
const INT: Type = Type::Int(IntType::Int);

/// Where a clock stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Zone {
    Utc,
    Fixed { name: Rc<str>, offset: i64 },
    Named(TimeZone),
}

impl Zone {
    /// As Go loads locations; none if there is no such zone. The local zone is UTC.
    pub(super) fn load(name: &str) -> Option<Zone> {
        match name {
            "" | "UTC" | "Local" => Some(Zone::Utc),
            name => TimeZoneDatabase::bundled().get(name).ok().map(Zone::Named),
        }
    }
}

/// A point in time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Time {
    /// Seconds since 1970.
    pub(super) seconds: i64,
    pub(super) nanos: u32,
    pub(super) zone: Zone,
}

/// The parts of a date and a time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Civil {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
}

/// Days since 1970 of a date; months beyond twelve and days beyond the month's end run on.
pub(super) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year + (month - 1).div_euclid(12);
    let month = (month - 1).rem_euclid(12) + 1;
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468 + day - 1
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

impl Time {
    /// Go's zero time: the first day of the year 1.
    pub(super) fn zero() -> Self {
        Time {
            seconds: -62_135_596_800,
            nanos: 0,
            zone: Zone::Utc,
        }
    }

    pub(super) fn from_unix(seconds: i64) -> Self {
        Time {
            seconds,
            nanos: 0,
            zone: Zone::Utc,
        }
    }

    pub(super) fn from_nanos(nanos: i128) -> Self {
        Time {
            seconds: i64::try_from(nanos.div_euclid(SECOND)).unwrap_or(0),
            nanos: u32::try_from(nanos.rem_euclid(SECOND)).unwrap_or(0),
            zone: Zone::Utc,
        }
    }

    pub(super) fn nanos_since_1970(&self) -> i128 {
        i128::from(self.seconds) * SECOND + i128::from(self.nanos)
    }

    pub(super) fn plus(&self, nanos: i64) -> Self {
        Time {
            zone: self.zone.clone(),
            ..Time::from_nanos(self.nanos_since_1970() + i128::from(nanos))
        }
    }

    pub(super) fn in_zone(mut self, zone: Zone) -> Self {
        self.zone = zone;
        self
    }

    /// The zone's short name and its seconds east of UTC at this time.
    pub(super) fn offset(&self) -> (String, i64) {
        match &self.zone {
            Zone::Utc => ("UTC".to_owned(), 0),
            Zone::Fixed { name, offset } => (name.to_string(), *offset),
            Zone::Named(zone) => match Timestamp::from_second(self.seconds) {
                Ok(stamp) => {
                    let info = zone.to_offset_info(stamp);
                    (info.abbreviation().to_owned(), i64::from(info.offset().seconds()))
                }
                Err(_) => ("UTC".to_owned(), 0),
            },
        }
    }

    pub(super) fn civil(&self) -> Civil {
        let local = self.seconds.saturating_add(self.offset().1);
        let (year, month, day) = civil_from_days(local.div_euclid(DAY));
        let rest = local.rem_euclid(DAY);
        Civil {
            year,
            month,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }

    /// 0 is Sunday.
    pub(super) fn weekday(&self) -> i64 {
        let local = self.seconds.saturating_add(self.offset().1);
        (local.div_euclid(DAY) + 4).rem_euclid(7)
    }

    pub(super) fn year_day(&self) -> i64 {
        let civil = self.civil();
        days_from_civil(civil.year, civil.month, civil.day) - days_from_civil(civil.year, 1, 1) + 1
    }

    pub(super) fn format(&self, layout: &str) -> String {
        layout::format(self, layout)
    }

    /// Reads a text as Go's `time.Parse` does.
    pub(super) fn parse(layout: &str, text: &str) -> Result<Self, String> {
        layout::parse(layout, text)
    }

    fn add_date(&self, years: i64, months: i64, days: i64) -> Self {
        let civil = self.civil();
        let offset = self.offset().1;
        let date = days_from_civil(
            civil.year.saturating_add(years),
            civil.month.saturating_add(months),
            civil.day,
        );
        let of_day = self.seconds.saturating_add(offset).rem_euclid(DAY);
        let mut moved = self.clone();
        moved.seconds = date
            .saturating_add(days)
            .saturating_mul(DAY)
            .saturating_add(of_day - offset);
        // The zone may stand elsewhere at the new date.
        moved.seconds += offset - moved.offset().1;
        moved
    }

    pub(super) fn value(self) -> Value {
        Value::Object(Rc::new(self))
    }
}

/// The time behind a value.
pub(super) fn time_of(value: &Value) -> Option<&Time> {
    match value {
        Value::Object(object) => object.as_any().downcast_ref::<Time>(),
        _ => None,
    }
}

fn int_at(arguments: &[Value], index: usize) -> i64 {
    match arguments.get(index) {
        Some(Value::Int(value, _)) => *value,
        _ => 0,
    }
}

impl Object for Time {
    fn type_name(&self) -> String {
        "time.Time".to_owned()
    }

    fn field(&self, _: &str) -> Option<Value> {
        None
    }

    fn has_unexported(&self, name: &str) -> bool {
        matches!(name, "wall" | "ext" | "loc")
    }

    fn method(&self, name: &str) -> Option<Params> {
        match name {
            "Format" => Some(Params::fixed(&[Type::Str])),
            "AddDate" => Some(Params::fixed(&[INT, INT, INT])),
            "Add" | "Round" | "Truncate" => Some(Params::fixed(&[Type::Object("time.Duration")])),
            "Sub" | "Before" | "After" | "Equal" | "Compare" => {
                Some(Params::fixed(&[Type::Object("time.Time")]))
            }
            "Unix" | "UnixMilli" | "UnixMicro" | "UnixNano" | "Year" | "Month" | "Day" | "Hour"
            | "Minute" | "Second" | "Nanosecond" | "Weekday" | "YearDay" | "IsZero" | "UTC" | "Local"
            | "String" => Some(Params::default()),
            _ => None,
        }
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, String> {
        let nanos = self.nanos_since_1970();
        let whole = |divisor: i128| Value::int64(i64::try_from(nanos.div_euclid(divisor)).unwrap_or(0));
        let other = || arguments.first().and_then(time_of).ok_or("not a time");
        let step = || arguments.first().and_then(durations::nanos_of).unwrap_or(0);
        Ok(match name {
            "Format" => self
                .format(arguments.first().and_then(Value::as_str).unwrap_or_default())
                .into(),
            "AddDate" => self
                .add_date(int_at(arguments, 0), int_at(arguments, 1), int_at(arguments, 2))
                .value(),
            "Add" => self.plus(step()).value(),
            "Round" | "Truncate" => {
                let step = i128::from(step());
                if step <= 0 {
                    return Ok(self.clone().value());
                }
                let since = nanos - Time::zero().nanos_since_1970();
                let rest = since.rem_euclid(step);
                let up = name == "Round" && rest * 2 >= step;
                let moved = if up { nanos - rest + step } else { nanos - rest };
                Time::from_nanos(moved).in_zone(self.zone.clone()).value()
            }
            "Sub" => duration(i64::try_from(nanos - other()?.nanos_since_1970()).unwrap_or(i64::MAX)),
            "Before" => (nanos < other()?.nanos_since_1970()).into(),
            "After" => (nanos > other()?.nanos_since_1970()).into(),
            "Equal" => (nanos == other()?.nanos_since_1970()).into(),
            "Compare" => Value::int(nanos.cmp(&other()?.nanos_since_1970()) as i64),
            "Unix" => Value::int64(self.seconds),
            "UnixMilli" => whole(1_000_000),
            "UnixMicro" => whole(1000),
            "UnixNano" => whole(1),
            "Year" => Value::int(self.civil().year),
            "Month" => named(self.civil().month, "time.Month", layout::MONTHS, 1),
            "Weekday" => named(self.weekday(), "time.Weekday", layout::DAYS, 0),
            "Day" => Value::int(self.civil().day),
            "Hour" => Value::int(self.civil().hour),
            "Minute" => Value::int(self.civil().minute),
            "Second" => Value::int(self.civil().second),
            "Nanosecond" => Value::int(i64::from(self.nanos)),
            "YearDay" => Value::int(self.year_day()),
            "IsZero" => (nanos == Time::zero().nanos_since_1970()).into(),
            "UTC" | "Local" => self.clone().in_zone(Zone::Utc).value(),
            _ => self.text().unwrap_or_default().into(),
        })
    }

    fn text(&self) -> Option<String> {
        Some(self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }

    fn underlying(&self) -> Underlying {
        Underlying::Struct {
            pointer: false,
            fields: vec![],
        }
    }

    fn to_json(&self) -> serde_json::Value {
        self.format("2006-01-02T15:04:05.999999999Z07:00").into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A month or a day of the week: a number that prints as its name.
struct Named {
    number: i64,
    kind: &'static str,
    text: &'static str,
}

fn named(number: i64, kind: &'static str, names: &[&'static str], from: i64) -> Value {
    let index = usize::try_from(number - from).unwrap_or(0);
    Value::Object(Rc::new(Named {
        number,
        kind,
        text: names.get(index).copied().unwrap_or_default(),
    }))
}

impl Object for Named {
    fn type_name(&self) -> String {
        self.kind.to_owned()
    }

    fn kind(&self) -> &'static str {
        "int"
    }

    fn field(&self, _: &str) -> Option<Value> {
        None
    }

    fn method(&self, name: &str) -> Option<Params> {
        (name == "String").then(Params::default)
    }

    fn call(&self, _: &str, _: &[Value]) -> Result<Value, String> {
        Ok(self.text.into())
    }

    fn text(&self) -> Option<String> {
        Some(self.text.to_owned())
    }

    fn underlying(&self) -> Underlying {
        Underlying::Value(Value::int(self.number))
    }

    fn to_json(&self) -> serde_json::Value {
        self.number.into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
