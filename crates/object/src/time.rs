//! Times as `metav1.Time` and `metav1.MicroTime` read and write them: Go's lenient RFC 3339.

use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, fmt::strtime};

use crate::duration::quote;

/// A text that is no time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeError(String);

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TimeError {}

const TIME_LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
const MICRO_LAYOUT: &str = "2006-01-02T15:04:05.000000Z07:00";

/// Reads a `metav1.Time`; `Err` has Go's text.
pub fn parse(text: &str) -> Result<Timestamp, TimeError> {
    Reader::new(text, TIME_LAYOUT).read(false)
}

/// Reads a `metav1.MicroTime`, which must have six digits of fraction.
pub fn parse_micro(text: &str) -> Result<Timestamp, TimeError> {
    Reader::new(text, MICRO_LAYOUT).read(true)
}

/// Writes a `metav1.Time`: UTC, whole seconds.
#[must_use]
pub fn format(time: Timestamp) -> String {
    write(time, "%Y-%m-%dT%H:%M:%SZ")
}

/// Writes a `metav1.MicroTime`: UTC, six digits of fraction.
#[must_use]
pub fn format_micro(time: Timestamp) -> String {
    write(time, "%Y-%m-%dT%H:%M:%S.%6fZ")
}

fn write(time: Timestamp, format: &str) -> String {
    let utc = time.to_zoned(TimeZone::UTC);
    strtime::format(format, &utc).expect("the formats of this module name no fields that a time lacks")
}

/// Reads a text along one of the two layouts, and fails with the words that Go has for the place.
struct Reader<'a> {
    text: &'a str,
    layout: &'static str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, layout: &'static str) -> Self {
        Reader {
            text,
            layout,
            rest: text,
        }
    }

    fn read(mut self, micro: bool) -> Result<Timestamp, TimeError> {
        let year = self.year()?;
        self.literal("-")?;
        let month = self.number("01", true)?;
        self.in_range((1..=12).contains(&month), "month")?;
        self.literal("-")?;
        let day = self.number("02", true)?;
        self.literal("T")?;
        let hour = self.number("15", false)?;
        self.in_range(hour < 24, "hour")?;
        self.literal(":")?;
        let minute = self.number("04", true)?;
        self.in_range(minute < 60, "minute")?;
        self.literal(":")?;
        let second = self.number("05", true)?;
        self.in_range(second < 60, "second")?;
        let nanosecond = self.fraction(micro)?;
        let offset = self.offset()?;
        if !self.rest.is_empty() {
            return Err(self.error(&format!(": extra text: {}", quote(self.rest))));
        }
        let date = Date::new(year, month as i8, day as i8).map_err(|_| self.error(": day out of range"))?;
        let time: DateTime = date.at(hour as i8, minute as i8, second as i8, nanosecond);
        offset
            .to_timestamp(time)
            .map_err(|_| self.error(": year out of range"))
    }

    fn year(&mut self) -> Result<i16, TimeError> {
        let digits = self.rest.get(..4).filter(|digits| all_digits(digits));
        let Some(digits) = digits else {
            return Err(self.mismatch("2006", self.rest));
        };
        self.rest = &self.rest[4..];
        Ok(digits.parse().unwrap_or_default())
    }

    fn literal(&mut self, literal: &str) -> Result<(), TimeError> {
        match self.rest.strip_prefix(literal) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.mismatch(literal, self.rest)),
        }
    }

    /// Two digits; one will do where `fixed` is not asked.
    fn number(&mut self, element: &str, fixed: bool) -> Result<u8, TimeError> {
        let digits = self.rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
        if digits == 0 || (digits == 1 && fixed) {
            return Err(self.mismatch(element, self.rest));
        }
        let value = self.rest[..digits].parse().unwrap_or_default();
        self.rest = &self.rest[digits..];
        Ok(value)
    }

    fn fraction(&mut self, micro: bool) -> Result<i32, TimeError> {
        let bytes = self.rest.as_bytes();
        let separated = matches!(bytes.first(), Some(b'.' | b','));
        let count = if micro {
            6
        } else if separated {
            bytes[1..].iter().take_while(|byte| byte.is_ascii_digit()).count()
        } else {
            0
        };
        if count == 0 {
            return Ok(0);
        }
        let digits = self.rest.get(1..=count).filter(|digits| all_digits(digits));
        let Some(digits) = digits.filter(|_| separated) else {
            return Err(self.mismatch(".000000", self.rest));
        };
        let nanoseconds = digits
            .bytes()
            .chain(std::iter::repeat(b'0'))
            .take(9)
            .fold(0, |total, digit| total * 10 + i32::from(digit - b'0'));
        self.rest = &self.rest[count + 1..];
        Ok(nanoseconds)
    }

    fn offset(&mut self) -> Result<Offset, TimeError> {
        let hold = self.rest;
        if let Some(rest) = hold.strip_prefix('Z') {
            self.rest = rest;
            return Ok(Offset::UTC);
        }
        let bytes = hold.as_bytes();
        let shaped = bytes.len() >= 6
            && matches!(bytes[0], b'+' | b'-')
            && bytes[3] == b':'
            && [1, 2, 4, 5].iter().all(|at| bytes[*at].is_ascii_digit());
        if !shaped {
            return Err(self.mismatch("Z07:00", hold));
        }
        let hours: i32 = hold[1..3].parse().unwrap_or_default();
        let minutes: i32 = hold[4..6].parse().unwrap_or_default();
        self.in_range(hours <= 24, "time zone offset hour")?;
        self.in_range(minutes <= 60, "time zone offset minute")?;
        self.rest = &hold[6..];
        let seconds = (hours * 60 + minutes) * 60 * if bytes[0] == b'-' { -1 } else { 1 };
        Offset::from_seconds(seconds).map_err(|_| self.error(": time zone offset hour out of range"))
    }

    fn in_range(&self, holds: bool, what: &str) -> Result<(), TimeError> {
        if holds {
            Ok(())
        } else {
            Err(self.error(&format!(": {what} out of range")))
        }
    }

    fn mismatch(&self, element: &str, rest: &str) -> TimeError {
        TimeError(format!(
            "parsing time {} as {}: cannot parse {} as {}",
            quote(self.text),
            quote(self.layout),
            quote(rest),
            quote(element)
        ))
    }

    fn error(&self, what: &str) -> TimeError {
        TimeError(format!("parsing time {}{what}", quote(self.text)))
    }
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_in_utc() {
        for (text, want) in [
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
            ("2024-01-02T03:04:05.999+02:00", "2024-01-02T01:04:05Z"),
            ("2024-02-29T3:04:05,5-00:30", "2024-02-29T03:34:05Z"),
        ] {
            assert_eq!(parse(text).map(format).as_deref(), Ok(want));
        }
        let micro = "2024-01-02T03:04:05.000042Z";
        assert_eq!(parse_micro(micro).map(format_micro).as_deref(), Ok(micro));
    }

    #[test]
    fn errors_say_what_was_expected_where() {
        for (text, want) in [
            (
                "2024-02-30T00:00:00Z",
                "parsing time \"2024-02-30T00:00:00Z\": day out of range",
            ),
            (
                "2024-13-01T00:00:00Z",
                "parsing time \"2024-13-01T00:00:00Z\": month out of range",
            ),
            (
                "2024-01-01T00:00:00Zx",
                "parsing time \"2024-01-01T00:00:00Zx\": extra text: \"x\"",
            ),
            (
                "2024-01-01T00:00:00",
                "parsing time \"2024-01-01T00:00:00\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"Z07:00\"",
            ),
        ] {
            assert_eq!(
                parse(text).map_err(|error| error.to_string()),
                Err(want.to_owned())
            );
        }
    }
}
