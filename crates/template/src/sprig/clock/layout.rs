//! Go's layouts: a time written out by example, for printing and for reading.

use std::fmt::Write as _;

use super::{Civil, Time, Zone, days_from_civil};

pub(super) const MONTHS: &[&str] = &[
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(super) const DAYS: &[&str] = &[
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// A part of a layout that stands for a part of a time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Chunk {
    LongMonth,
    Month,
    /// Digits wanted at least: 1 or 2.
    MonthNumber(usize),
    LongWeekday,
    Weekday,
    Day(usize),
    /// Padded by a space.
    SpacedDay,
    YearDay {
        spaced: bool,
    },
    Hour,
    Hour12(usize),
    Minute(usize),
    Second(usize),
    LongYear,
    Year,
    Noon {
        upper: bool,
    },
    ZoneName,
    Offset {
        z: bool,
        colon: bool,
        parts: usize,
    },
    Fraction {
        digits: usize,
        trim: bool,
        mark: char,
    },
}

/// The chunk that a layout begins with, and its length.
fn chunk_at(text: &str) -> Option<(Chunk, usize)> {
    let bytes = text.as_bytes();
    let digit_at = |index: usize| bytes.get(index).is_some_and(u8::is_ascii_digit);
    let lower_at = |index: usize| bytes.get(index).is_some_and(u8::is_ascii_lowercase);
    const OFFSETS: [(&str, bool, usize); 5] = [
        ("07:00:00", true, 3),
        ("070000", false, 3),
        ("07:00", true, 2),
        ("0700", false, 2),
        ("07", false, 1),
    ];
    let fixed: &[(&str, Chunk)] = &[
        ("January", Chunk::LongMonth),
        ("Monday", Chunk::LongWeekday),
        ("MST", Chunk::ZoneName),
        ("2006", Chunk::LongYear),
        ("002", Chunk::YearDay { spaced: false }),
        ("__2", Chunk::YearDay { spaced: true }),
        ("01", Chunk::MonthNumber(2)),
        ("02", Chunk::Day(2)),
        ("03", Chunk::Hour12(2)),
        ("04", Chunk::Minute(2)),
        ("05", Chunk::Second(2)),
        ("06", Chunk::Year),
        ("15", Chunk::Hour),
        ("PM", Chunk::Noon { upper: true }),
        ("pm", Chunk::Noon { upper: false }),
        ("1", Chunk::MonthNumber(1)),
        ("2", Chunk::Day(1)),
        ("3", Chunk::Hour12(1)),
        ("4", Chunk::Minute(1)),
        ("5", Chunk::Second(1)),
    ];
    match bytes.first()? {
        b'J' if text.starts_with("Jan") && !text.starts_with("January") => {
            return (!lower_at(3)).then_some((Chunk::Month, 3));
        }
        b'M' if text.starts_with("Mon") && !text.starts_with("Monday") => {
            return (!lower_at(3)).then_some((Chunk::Weekday, 3));
        }
        b'_' if text.starts_with("_2006") => return None,
        b'_' if text.starts_with("_2") => return Some((Chunk::SpacedDay, 2)),
        sign @ (b'-' | b'Z') => {
            let rest = &text[1..];
            let found = OFFSETS.iter().find(|(example, _, _)| rest.starts_with(example))?;
            let chunk = Chunk::Offset {
                z: *sign == b'Z',
                colon: found.1,
                parts: found.2,
            };
            return Some((chunk, 1 + found.0.len()));
        }
        mark @ (b'.' | b',') => {
            let example = *bytes.get(1).filter(|byte| matches!(byte, b'0' | b'9'))?;
            let digits = bytes[1..].iter().take_while(|byte| **byte == example).count();
            if digit_at(1 + digits) {
                return None;
            }
            let chunk = Chunk::Fraction {
                digits,
                trim: example == b'9',
                mark: char::from(*mark),
            };
            return Some((chunk, 1 + digits));
        }
        _ => {}
    }
    let (example, chunk) = fixed.iter().find(|(example, _)| text.starts_with(example))?;
    Some((*chunk, example.len()))
}

/// Text before the next chunk, the chunk with its example, the rest.
fn next_chunk(layout: &str) -> (&str, Option<(Chunk, &str)>, &str) {
    for (index, _) in layout.char_indices() {
        // `_2006` is an underscore before a year.
        if let Some((chunk, length)) = chunk_at(&layout[index..]) {
            let end = index + length;
            return (
                &layout[..index],
                Some((chunk, &layout[index..end])),
                &layout[end..],
            );
        }
    }
    (layout, None, "")
}

pub(super) fn format(time: &Time, layout: &str) -> String {
    let civil = time.civil();
    let mut out = String::new();
    let mut rest = layout;
    while !rest.is_empty() {
        let (before, chunk, after) = next_chunk(rest);
        out.push_str(before);
        if let Some((chunk, _)) = chunk {
            write_chunk(&mut out, chunk, time, &civil);
        }
        rest = after;
    }
    out
}

fn name(names: &[&'static str], index: i64) -> &'static str {
    usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index))
        .copied()
        .unwrap_or_default()
}

fn write_chunk(out: &mut String, chunk: Chunk, time: &Time, civil: &Civil) {
    let hour12 = (civil.hour + 11) % 12 + 1;
    // Writing into a String cannot fail.
    let _ = match chunk {
        Chunk::LongMonth => write!(out, "{}", name(MONTHS, civil.month - 1)),
        Chunk::Month => write!(out, "{:.3}", name(MONTHS, civil.month - 1)),
        Chunk::LongWeekday => write!(out, "{}", name(DAYS, time.weekday())),
        Chunk::Weekday => write!(out, "{:.3}", name(DAYS, time.weekday())),
        Chunk::MonthNumber(width) => write!(out, "{:0width$}", civil.month),
        Chunk::Day(width) => write!(out, "{:0width$}", civil.day),
        Chunk::SpacedDay => write!(out, "{:2}", civil.day),
        Chunk::YearDay { spaced: true } => write!(out, "{:3}", time.year_day()),
        Chunk::YearDay { spaced: false } => write!(out, "{:03}", time.year_day()),
        Chunk::Hour => write!(out, "{:02}", civil.hour),
        Chunk::Hour12(width) => write!(out, "{hour12:0width$}"),
        Chunk::Minute(width) => write!(out, "{:0width$}", civil.minute),
        Chunk::Second(width) => write!(out, "{:0width$}", civil.second),
        Chunk::LongYear if civil.year < 0 => write!(out, "-{:04}", -civil.year),
        Chunk::LongYear => write!(out, "{:04}", civil.year),
        Chunk::Year => write!(out, "{:02}", civil.year.rem_euclid(100)),
        Chunk::Noon { upper } => {
            let text = if civil.hour >= 12 { "PM" } else { "AM" };
            out.push_str(&if upper {
                text.to_owned()
            } else {
                text.to_lowercase()
            });
            Ok(())
        }
        Chunk::ZoneName => {
            let (name, offset) = time.offset();
            // Zones without letters have no name in Go.
            if name.is_empty() || name.starts_with(['+', '-']) {
                write_offset(
                    out,
                    offset,
                    false,
                    if offset % 3600 == 0 && !name.is_empty() {
                        1
                    } else {
                        2
                    },
                );
            } else {
                out.push_str(&name);
            }
            Ok(())
        }
        Chunk::Offset { z, colon, parts } => {
            let (_, offset) = time.offset();
            if z && offset == 0 {
                out.push('Z');
            } else {
                write_offset(out, offset, colon, parts);
            }
            Ok(())
        }
        Chunk::Fraction { digits, trim, mark } => {
            let text = std::format!("{:09}", time.nanos);
            let mut shown = text[..digits.min(9)].to_owned();
            shown.extend(std::iter::repeat_n('0', digits.saturating_sub(9)));
            if trim {
                shown.truncate(shown.trim_end_matches('0').len());
            }
            if !shown.is_empty() || !trim {
                out.push(mark);
                out.push_str(&shown);
            }
            Ok(())
        }
    };
}

fn write_offset(out: &mut String, offset: i64, colon: bool, parts: usize) {
    out.push(if offset < 0 { '-' } else { '+' });
    let offset = offset.abs();
    let _ = write!(out, "{:02}", offset / 3600);
    for part in [offset / 60 % 60, offset % 60].into_iter().take(parts - 1) {
        if colon {
            out.push(':');
        }
        let _ = write!(out, "{part:02}");
    }
}

/// What reading has found so far.
#[derive(Default)]
struct Found {
    civil: Civil,
    month: Option<i64>,
    day: Option<i64>,
    year_day: Option<i64>,
    noon: Option<bool>,
    nanos: u32,
    offset: Option<i64>,
    zone: Option<String>,
    utc: bool,
}

/// A text as errors about times show it: what is not ASCII, and control characters, byte by byte.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' | 0x7F => out.push(char::from(byte)),
            // Writing into a String cannot fail.
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

/// Why a chunk could not be read.
enum Bad {
    Text,
    Range(&'static str),
}

pub(super) fn parse(layout: &str, text: &str) -> Result<Time, String> {
    let cannot = |value: &str, element: &str| {
        std::format!(
            "parsing time {} as {}: cannot parse {} as {}",
            quote(text),
            quote(layout),
            quote(value),
            quote(element)
        )
    };
    let range = |what: &str| std::format!("parsing time {}: {what} out of range", quote(text));
    let mut found = Found::default();
    let mut value = text;
    let mut rest = layout;
    loop {
        let (before, chunk, after) = next_chunk(rest);
        value = skip(value, before).ok_or_else(|| cannot(value, before))?;
        let Some((chunk, example)) = chunk else {
            if !value.is_empty() {
                return Err(std::format!(
                    "parsing time {}: extra text: {}",
                    quote(text),
                    quote(value)
                ));
            }
            break;
        };
        let hold = value;
        match read_chunk(chunk, value, &mut found) {
            Ok(left) => value = left,
            Err(Bad::Text) => return Err(cannot(hold, example)),
            Err(Bad::Range(what)) => return Err(range(what)),
        }
        // A fraction may follow the seconds even where the layout has none.
        if matches!(chunk, Chunk::Second(_)) {
            let next = next_chunk(after);
            let planned = matches!(next.1, Some((Chunk::Fraction { .. }, _))) && next.0.is_empty();
            let digits = value
                .strip_prefix(['.', ','])
                .map_or(0, |rest| leading_digits(rest, 9));
            if !planned && digits > 0 {
                found.nanos = fraction(&value[1..=digits]);
                value = &value[1 + digits..];
            }
        }
        rest = after;
    }
    finish(&found).map_err(range)
}

/// Skips literal text; spaces match any number of spaces.
fn skip<'t>(mut value: &'t str, mut prefix: &str) -> Option<&'t str> {
    while let Some(c) = prefix.chars().next() {
        if c == ' ' {
            if !value.is_empty() && !value.starts_with(' ') {
                return None;
            }
            prefix = prefix.trim_start_matches(' ');
            value = value.trim_start_matches(' ');
            continue;
        }
        value = value.strip_prefix(c)?;
        prefix = &prefix[c.len_utf8()..];
    }
    Some(value)
}

fn leading_digits(text: &str, at_most: usize) -> usize {
    text.bytes().take(at_most).take_while(u8::is_ascii_digit).count()
}

fn fraction(digits: &str) -> u32 {
    std::format!("{digits:0<9}")[..9].parse().unwrap_or(0)
}

/// One or two digits, or exactly two.
fn number(text: &str, two: bool) -> Option<(i64, &str)> {
    let digits = leading_digits(text, 2);
    if digits == 0 || two && digits < 2 {
        return None;
    }
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

fn word<'t>(text: &'t str, names: &[&str], length: Option<usize>) -> Option<(i64, &'t str)> {
    names.iter().enumerate().find_map(|(index, name)| {
        let name = &name[..length.unwrap_or(name.len())];
        let head = text.get(..name.len())?;
        let index = i64::try_from(index).ok()?;
        head.eq_ignore_ascii_case(name)
            .then(|| (index, &text[name.len()..]))
    })
}

fn read_chunk<'t>(chunk: Chunk, value: &'t str, found: &mut Found) -> Result<&'t str, Bad> {
    let mut take = |pair: Option<(i64, &'t str)>, slot: fn(&mut Found) -> &mut i64| {
        let (number, rest) = pair.ok_or(Bad::Text)?;
        *slot(found) = number;
        Ok(rest)
    };
    match chunk {
        Chunk::LongYear => {
            let digits = leading_digits(value, 4);
            if digits < 4 {
                return Err(Bad::Text);
            }
            take(value[..4].parse().ok().map(|year| (year, &value[4..])), |f| {
                &mut f.civil.year
            })
        }
        Chunk::Year => {
            let rest = take(number(value, true), |f| &mut f.civil.year)?;
            found.civil.year += if found.civil.year >= 69 { 1900 } else { 2000 };
            Ok(rest)
        }
        Chunk::LongMonth | Chunk::Month => {
            let length = if chunk == Chunk::Month { Some(3) } else { None };
            let (month, rest) = word(value, MONTHS, length).ok_or(Bad::Text)?;
            found.month = Some(month + 1);
            Ok(rest)
        }
        Chunk::MonthNumber(width) => {
            let (month, rest) = number(value, width == 2).ok_or(Bad::Text)?;
            if !(1..=12).contains(&month) {
                return Err(Bad::Range("month"));
            }
            found.month = Some(month);
            Ok(rest)
        }
        Chunk::LongWeekday => word(value, DAYS, None).map(|(_, rest)| rest).ok_or(Bad::Text),
        Chunk::Weekday => word(value, DAYS, Some(3)).map(|(_, rest)| rest).ok_or(Bad::Text),
        Chunk::Day(_) | Chunk::SpacedDay => {
            let value = if chunk == Chunk::SpacedDay {
                value.strip_prefix(' ').unwrap_or(value)
            } else {
                value
            };
            let (day, rest) = number(value, chunk == Chunk::Day(2)).ok_or(Bad::Text)?;
            found.day = Some(day);
            Ok(rest)
        }
        Chunk::YearDay { spaced } => {
            let trimmed = if spaced {
                value.trim_start_matches(' ')
            } else {
                value
            };
            let digits = leading_digits(trimmed, 3);
            if digits == 0 || !spaced && digits < 3 {
                return Err(Bad::Text);
            }
            found.year_day = trimmed[..digits].parse().ok();
            Ok(&trimmed[digits..])
        }
        Chunk::Hour => read_clock(value, false, 23, "hour", &mut found.civil.hour),
        Chunk::Hour12(width) => read_clock(value, width == 2, 12, "hour", &mut found.civil.hour),
        Chunk::Minute(width) => read_clock(value, width == 2, 59, "minute", &mut found.civil.minute),
        Chunk::Second(width) => read_clock(value, width == 2, 59, "second", &mut found.civil.second),
        Chunk::Noon { upper } => {
            let head = value.get(..2).ok_or(Bad::Text)?;
            let (am, pm) = if upper { ("AM", "PM") } else { ("am", "pm") };
            found.noon = Some(if head == pm {
                true
            } else if head == am {
                false
            } else {
                return Err(Bad::Text);
            });
            Ok(&value[2..])
        }
        Chunk::Offset { z, colon, parts } => read_offset(value, z, colon, parts, found),
        Chunk::ZoneName => read_zone(value, found),
        Chunk::Fraction { digits, trim, .. } => read_fraction(value, digits, trim, found),
    }
}

fn read_clock<'t>(
    value: &'t str,
    two: bool,
    most: i64,
    what: &'static str,
    slot: &mut i64,
) -> Result<&'t str, Bad> {
    let (read, rest) = number(value, two).ok_or(Bad::Text)?;
    *slot = read;
    if read > most {
        Err(Bad::Range(what))
    } else {
        Ok(rest)
    }
}

fn read_fraction<'t>(value: &'t str, digits: usize, trim: bool, found: &mut Found) -> Result<&'t str, Bad> {
    let Some(rest) = value.strip_prefix(['.', ',']) else {
        return if trim { Ok(value) } else { Err(Bad::Text) };
    };
    let given = leading_digits(rest, if trim { 9 } else { digits });
    if given == 0 && trim {
        return Ok(value);
    }
    if !trim && given < digits {
        return Err(Bad::Text);
    }
    found.nanos = fraction(&rest[..given]);
    Ok(&rest[given..])
}

fn read_offset<'t>(
    value: &'t str,
    z: bool,
    colon: bool,
    parts: usize,
    found: &mut Found,
) -> Result<&'t str, Bad> {
    if z && let Some(rest) = value.strip_prefix('Z') {
        found.utc = true;
        return Ok(rest);
    }
    let sign = match value.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(Bad::Text),
    };
    let mut rest = &value[1..];
    let mut numbers = [0; 3];
    for (index, slot) in numbers.iter_mut().enumerate().take(parts) {
        if index > 0 && colon {
            rest = rest.strip_prefix(':').ok_or(Bad::Text)?;
        }
        (*slot, rest) = number(rest, true).ok_or(Bad::Text)?;
    }
    if numbers[0] > 24 {
        return Err(Bad::Range("time zone offset hour"));
    }
    if numbers[1] > 60 {
        return Err(Bad::Range("time zone offset minute"));
    }
    found.offset = Some(sign * (numbers[0] * 3600 + numbers[1] * 60 + numbers[2]));
    Ok(rest)
}

/// Three or four capital letters, perhaps with a sign and hours.
fn read_zone<'t>(value: &'t str, found: &mut Found) -> Result<&'t str, Bad> {
    if let Some(rest) = value.strip_prefix("UTC") {
        found.utc = true;
        return Ok(rest);
    }
    if value.starts_with(['+', '-']) {
        let digits = leading_digits(&value[1..], 2);
        let hours: i64 = value[1..=digits].parse().map_err(|_| Bad::Text)?;
        if hours > 23 {
            return Err(Bad::Text);
        }
        found.zone = Some(value[..=digits].to_owned());
        return Ok(&value[1 + digits..]);
    }
    let mut length = value.bytes().take(6).take_while(u8::is_ascii_uppercase).count();
    if !(3..=5).contains(&length) || length == 4 && !value[..4].ends_with('T') && !value.starts_with("WITA") {
        return Err(Bad::Text);
    }
    if let Some(rest) = value.strip_prefix("GMT") {
        length = 3;
        if let Some(hours) = rest.strip_prefix(['+', '-']) {
            length = 4 + leading_digits(hours, 2);
        }
    }
    found.zone = Some(value[..length].to_owned());
    Ok(&value[length..])
}

fn finish(found: &Found) -> Result<Time, &'static str> {
    let mut civil = found.civil;
    match found.noon {
        Some(true) if civil.hour < 12 => civil.hour += 12,
        Some(false) if civil.hour == 12 => civil.hour = 0,
        _ => {}
    }
    let leap = civil.year % 4 == 0 && (civil.year % 100 != 0 || civil.year % 400 == 0);
    let date = match found.year_day {
        Some(day) if day < 1 || day > 365 + i64::from(leap) => return Err("day-of-year"),
        Some(day) => days_from_civil(civil.year, 1, day),
        None => {
            let month = found.month.unwrap_or(1);
            let day = found.day.unwrap_or(1);
            let last = days_from_civil(civil.year, month + 1, 1) - days_from_civil(civil.year, month, 1);
            if day < 1 || day > last {
                return Err("day");
            }
            days_from_civil(civil.year, month, day)
        }
    };
    let local = date * 86_400 + civil.hour * 3600 + civil.minute * 60 + civil.second;
    let (offset, zone) = match (found.utc, found.offset, &found.zone) {
        (true, _, _) | (false, None, None) => (0, Zone::Utc),
        (_, Some(0), None) => (0, Zone::Utc),
        (_, Some(offset), name) => (
            offset,
            Zone::Fixed {
                name: name.as_deref().unwrap_or_default().into(),
                offset,
            },
        ),
        (_, None, Some(name)) => {
            let hours: i64 = name
                .strip_prefix("GMT")
                .and_then(|rest| rest.parse().ok())
                .unwrap_or(0);
            (
                hours * 3600,
                Zone::Fixed {
                    name: name.as_str().into(),
                    offset: hours * 3600,
                },
            )
        }
    };
    Ok(Time {
        seconds: local - offset,
        nanos: found.nanos,
        zone,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_go_both_ways() {
        let time = Time::from_unix(1_700_000_000);
        assert_eq!(
            format(&time, "Mon Jan _2 15:04:05.000 MST 2006, 3PM -07:00 Z0700 002"),
            "Tue Nov 14 22:13:20.000 UTC 2023, 10PM +00:00 Z 318"
        );
        let read = parse("2006-01-02T15:04:05Z07:00", "2024-02-29T01:02:03+05:30").unwrap();
        assert_eq!(
            format(&read, "2006-01-02 15:04:05 -0700 MST"),
            "2024-02-29 01:02:03 +0530 +0530"
        );
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert_eq!(
            parse("2006-01-02", "bad").unwrap_err(),
            r#"parsing time "bad" as "2006-01-02": cannot parse "bad" as "2006""#
        );
        assert_eq!(
            parse("2006-01-02", "2024-02-30").unwrap_err(),
            r#"parsing time "2024-02-30": day out of range"#
        );
    }
}
