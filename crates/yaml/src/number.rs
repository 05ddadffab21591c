//! Numbers and times as Go reads and prints them.

use std::fmt::Write as _;

/// A whole number or a float that a plain scalar stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    Uint(u64),
    Float(f64),
}

impl Number {
    /// As Go reads any number of JSON.
    #[expect(
        clippy::cast_precision_loss,
        reason = "what a float cannot hold becomes what is nearest"
    )]
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Number::Int(value) => value as f64,
            Number::Uint(value) => value as f64,
            Number::Float(value) => value,
        }
    }
}

/// Reads a whole number with Go's prefixes: `0x`, `0o`, `0b`, and `0` for octal.
pub(crate) fn parse_int(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = |at: usize| digits.as_bytes().get(at).map(u8::to_ascii_lowercase);
    let (radix, digits) = if digits.len() > 1 && lower(0) == Some(b'0') {
        match lower(1) {
            Some(b'x') => (16, &digits[2..]),
            Some(b'o') => (8, &digits[2..]),
            Some(b'b') => (2, &digits[2..]),
            _ => (8, &digits[1..]),
        }
    } else {
        (10, digits)
    };
    if !digits.bytes().next()?.is_ascii_hexdigit() {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        return 0i64.checked_sub_unsigned(value).map(Number::Int);
    }
    // An explicit plus sign is for signed numbers only.
    match i64::try_from(value) {
        Ok(value) => Some(Number::Int(value)),
        Err(_) if text.starts_with('+') => None,
        Err(_) => Some(Number::Uint(value)),
    }
}

/// Reads a float of the form that YAML gives it: no hexadecimal, no names.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let joined;
    let text = if text.contains('_') {
        // Go lets an underscore stand between two digits.
        let between = |(at, _): (usize, &str)| {
            let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
            at > 0 && digit(at - 1) && digit(at + 1)
        };
        if !text.match_indices('_').all(between) {
            return None;
        }
        joined = text.replace('_', "");
        &joined
    } else {
        text
    };
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if digits.is_empty() || !all_digits(digits) {
            return None;
        }
    }
    let formed = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty())
        }
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    if !formed {
        return None;
    }
    // Out of range is an error in Go, infinity here.
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// The shortest decimal digits of a finite float and the exponent of the first of them.
fn shortest(value: f64) -> (String, i32) {
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    (digits, exponent.parse().unwrap_or(0))
}

/// A float as `strconv.FormatFloat(value, 'g', -1, 64)` prints it: with an exponent from 1e-5 down and
/// from 1e6 up.
pub(crate) fn format_general(value: f64) -> String {
    format_float(value, -4, 6)
}

/// A float as Go's JSON encoder prints it.
pub(crate) fn format_json(value: f64) -> String {
    format_float(value, -6, 21)
}

fn format_float(value: f64, low: i32, high: i32) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let mut out = String::new();
    if value.is_sign_negative() {
        out.push('-');
    }
    let value = value.abs();
    if value == 0.0 {
        out.push('0');
        return out;
    }
    let (digits, exponent) = shortest(value);
    if exponent < low || exponent >= high {
        out.push_str(&digits[..1]);
        if digits.len() > 1 {
            out.push('.');
            out.push_str(&digits[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "e{sign}{:02}", exponent.abs());
        // JSON drops the exponent's leading zero.
        if low == -6 && exponent < 0 && exponent > -10 {
            let at = out.len() - 2;
            out.remove(at);
        }
    } else {
        let _ = write!(out, "{value}");
    }
    out
}

/// Reads a timestamp of one of the forms that go-yaml knows, and prints it as RFC 3339.
pub(crate) fn timestamp(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return None;
    }
    let mut rest = &text[5..];
    let year: u32 = text[..4].parse().ok()?;
    let month = take_number(&mut rest)?;
    rest = rest.strip_prefix('-')?;
    let day = take_number(&mut rest)?;
    if !(1..=12).contains(&month) || day == 0 || day > days(year, month) {
        return None;
    }
    let mut out = format!("{year:04}-{month:02}-{day:02}T");
    if rest.is_empty() {
        out.push_str("00:00:00Z");
        return Some(out);
    }
    let zoned = match rest.as_bytes()[0] {
        b'T' | b't' => true,
        b' ' => false,
        _ => return None,
    };
    rest = &rest[1..];
    let hour = take_number(&mut rest)?;
    rest = rest.strip_prefix(':')?;
    let minute = take_number(&mut rest)?;
    rest = rest.strip_prefix(':')?;
    let second = take_number(&mut rest)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let _ = write!(out, "{hour:02}:{minute:02}:{second:02}");
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let len = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if len == 0 {
            return None;
        }
        let digits = fraction[..len.min(9)].trim_end_matches('0');
        if !digits.is_empty() {
            let _ = write!(out, ".{digits}");
        }
        rest = &fraction[len..];
    }
    out.push_str(&zone(rest, zoned)?);
    Some(out)
}

fn zone(text: &str, zoned: bool) -> Option<String> {
    if !zoned {
        return text.is_empty().then(|| "Z".to_owned());
    }
    if text == "Z" {
        return Some(text.to_owned());
    }
    let bytes = text.as_bytes();
    let shaped = bytes.len() == 6
        && matches!(bytes[0], b'+' | b'-')
        && bytes[3] == b':'
        && [1, 2, 4, 5].iter().all(|at| bytes[*at].is_ascii_digit());
    if !shaped {
        return None;
    }
    let (hours, minutes) = (text[1..3].parse::<u32>().ok()?, text[4..6].parse::<u32>().ok()?);
    if hours > 24 || minutes > 60 {
        return None;
    }
    Some(if hours == 0 && minutes == 0 {
        "Z".to_owned()
    } else {
        text.to_owned()
    })
}

fn take_number(rest: &mut &str) -> Option<u32> {
    let len = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
    let number = rest[..len].parse().ok()?;
    *rest = &rest[len..];
    Some(number)
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A float as a key in JSON: with the digits that 32 bits can tell apart.
#[expect(clippy::cast_possible_truncation, reason = "the reference prints 32 bits")]
pub(crate) fn format_key(value: f64) -> String {
    match value {
        value if value.is_nan() => ".nan".to_owned(),
        f64::INFINITY => ".inf".to_owned(),
        f64::NEG_INFINITY => "-.inf".to_owned(),
        value => {
            let short = format!("{}", value as f32);
            short.parse().map_or(short, format_general)
        }
    }
}
