//! Durations as Go's `time` package reads and writes them (`metav1.Duration`).

use std::fmt;

const NANOSECOND: i64 = 1;
const MICROSECOND: i64 = 1_000;
const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationError(String);

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DurationError {}

/// Reads `1h30m`, `-1.5s`, `0`, … as nanoseconds; `Err` has Go's text.
pub fn parse_go(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError(format!("time: invalid duration {}", quote(text)));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (amount, after) = term(text, rest)?;
        rest = after;
        // The sum of two halves of the whole range is 0, as in Go.
        total = total.wrapping_add(amount);
        if total > 1 << 63 {
            return Err(invalid());
        }
    }
    if negative {
        return Ok((total as i64).wrapping_neg());
    }
    i64::try_from(total).map_err(|_| invalid())
}

/// One number with its unit, in nanoseconds, and what follows.
fn term<'a>(text: &str, rest: &'a str) -> Result<(u64, &'a str), DurationError> {
    let invalid = || DurationError(format!("time: invalid duration {}", quote(text)));
    let whole_end = digits_end(rest, 0);
    let mut whole: u64 = 0;
    for digit in rest[..whole_end].bytes() {
        whole = whole
            .checked_mul(10)
            .and_then(|whole| whole.checked_add(u64::from(digit - b'0')))
            .filter(|whole| *whole <= 1 << 63)
            .ok_or_else(invalid)?;
    }
    let mut end = whole_end;
    let mut fraction = "";
    if rest[end..].starts_with('.') {
        let fraction_end = digits_end(rest, end + 1);
        fraction = &rest[end + 1..fraction_end];
        end = fraction_end;
    }
    if whole_end == 0 && fraction.is_empty() {
        return Err(invalid());
    }
    let unit_end = rest[end..]
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .map_or(rest.len(), |length| end + length);
    let unit = &rest[end..unit_end];
    if unit.is_empty() {
        return Err(DurationError(format!(
            "time: missing unit in duration {}",
            quote(text)
        )));
    }
    let scale = unit_nanoseconds(unit).ok_or_else(|| {
        DurationError(format!(
            "time: unknown unit {} in duration {}",
            quote(unit),
            quote(text)
        ))
    })? as u64;
    let amount = whole
        .checked_mul(scale)
        .filter(|amount| *amount <= 1 << 63)
        .ok_or_else(invalid)?;
    let amount = amount
        .checked_add(fraction_nanoseconds(fraction, scale))
        .filter(|amount| *amount <= 1 << 63)
        .ok_or_else(invalid)?;
    Ok((amount, &rest[unit_end..]))
}

fn digits_end(text: &str, start: usize) -> usize {
    text[start..]
        .find(|c: char| !c.is_ascii_digit())
        .map_or(text.len(), |length| start + length)
}

/// Digits beyond what 63 bits hold carry no weight, as in Go.
fn fraction_nanoseconds(digits: &str, unit: u64) -> u64 {
    let (mut value, mut scale) = (0u64, 1f64);
    for digit in digits.bytes() {
        let Some(next) = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(digit - b'0')))
            .filter(|value| *value <= 1 << 63)
        else {
            break;
        };
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

fn unit_nanoseconds(unit: &str) -> Option<i64> {
    Some(match unit {
        "ns" => NANOSECOND,
        "us" | "µs" | "μs" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return None,
    })
}

/// Quotes as Go's `time` does: ASCII escapes for quotes and backslashes, bytes of anything not printable ASCII.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if c < ' ' || !c.is_ascii() {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                quoted.push_str(&format!("\\x{byte:02x}"));
            }
        } else {
            if c == '"' || c == '\\' {
                quoted.push('\\');
            }
            quoted.push(c);
        }
    }
    quoted.push('"');
    quoted
}

/// Writes nanoseconds as Go's `Duration.String` does: `1h30m0s`, `1.5µs`, `0s`.
#[must_use]
pub fn format_go(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    if total == 0 {
        return "0s".to_owned();
    }
    if total < SECOND as u64 {
        let (unit, scale) = match total {
            _ if total < MICROSECOND as u64 => ("ns", 1),
            _ if total < MILLISECOND as u64 => ("µs", MICROSECOND as u64),
            _ => ("ms", MILLISECOND as u64),
        };
        return format!("{sign}{}{}{unit}", total / scale, fraction(total % scale, scale));
    }
    let seconds = total / SECOND as u64;
    let fraction = fraction(total % SECOND as u64, SECOND as u64);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}{fraction}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}{fraction}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

/// `.5` for 5 tenths of `scale`, without trailing zeros, empty for 0.
fn fraction(part: u64, scale: u64) -> String {
    if part == 0 {
        return String::new();
    }
    let width = scale.ilog10() as usize;
    let digits = format!("{part:0width$}");
    format!(".{}", digits.trim_end_matches('0'))
}

/// Writes a duration (not below zero) as [`format_go`] does.
#[must_use]
pub fn format_std(duration: std::time::Duration) -> String {
    format_go(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

/// Reads a duration that may not be negative.
pub fn parse_std(text: &str) -> Result<std::time::Duration, DurationError> {
    let nanoseconds = parse_go(text)?;
    u64::try_from(nanoseconds)
        .map(std::time::Duration::from_nanos)
        .map_err(|_| DurationError(format!("negative duration {}", quote(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_come_back_in_gos_form() {
        for (text, want) in [
            ("90m", "1h30m0s"),
            ("-.5h", "-30m0s"),
            ("1001us", "1.001ms"),
            ("1.5us", "1.5µs"),
            ("0", "0s"),
            ("+5.s", "5s"),
            ("1h0.25s", "1h0m0.25s"),
        ] {
            assert_eq!(parse_go(text).map(format_go).as_deref(), Ok(want), "{text}");
        }
        assert_eq!(format_go(i64::MIN), "-2562047h47m16.854775808s");
        assert_eq!(parse_go("-9223372036854775808ns"), Ok(i64::MIN));
    }

    #[test]
    fn texts_that_are_none_are_refused_with_gos_words() {
        for (text, want) in [
            ("", "time: invalid duration \"\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("3", "time: missing unit in duration \"3\""),
            (".s", "time: invalid duration \".s\""),
            (
                "9223372036854775808ns",
                "time: invalid duration \"9223372036854775808ns\"",
            ),
        ] {
            assert_eq!(
                parse_go(text).map_err(|error| error.to_string()),
                Err(want.to_owned())
            );
        }
        assert!(parse_std("-1s").is_err());
    }
}
