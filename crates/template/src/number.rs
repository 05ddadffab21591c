//! Numbers as Go's `strconv` reads and writes them.

use std::borrow::Cow;

/// `ParseUint(text, 0, 64)`: prefixes `0x`, `0o`, `0b`, `0`, and underscores between digits.
#[must_use]
pub fn parse_uint(text: &str) -> Option<u64> {
    let (digits, radix, prefixed) = split_base(text)?;
    if !digits.contains('_') {
        return u64::from_str_radix(digits, radix)
            .ok()
            .filter(|_| !digits.starts_with('+'));
    }
    // An underscore stands between digits, or between the prefix and a digit.
    let bytes = digits.as_bytes();
    let fine = bytes.iter().enumerate().all(|(index, byte)| {
        *byte != b'_'
            || (bytes.get(index + 1).is_some_and(|next| *next != b'_')
                && (index > 0 || prefixed)
                && (index == 0 || bytes[index - 1] != b'_'))
    });
    fine.then(|| u64::from_str_radix(&digits.replace('_', ""), radix).ok())
        .flatten()
}

fn split_base(text: &str) -> Option<(&str, u32, bool)> {
    let lower = text.get(..2).map(str::to_ascii_lowercase);
    match lower.as_deref() {
        Some("0x") => Some((&text[2..], 16, true)),
        Some("0o") => Some((&text[2..], 8, true)),
        Some("0b") => Some((&text[2..], 2, true)),
        _ if text.len() > 1 && text.starts_with('0') => Some((&text[1..], 8, true)),
        _ if text.is_empty() => None,
        _ => Some((text, 10, false)),
    }
}

/// `ParseInt(text, 0, 64)`.
#[must_use]
pub fn parse_int(text: &str) -> Option<i64> {
    if let Some(rest) = text.strip_prefix('-') {
        let magnitude = parse_uint(rest)?;
        return if magnitude == 1 << 63 {
            Some(i64::MIN)
        } else {
            i64::try_from(magnitude).ok().map(|value| -value)
        };
    }
    i64::try_from(parse_uint(text.strip_prefix('+').unwrap_or(text))?).ok()
}

/// `ParseFloat(text, 64)`; what overflows is an error there, so `None` here.
#[must_use]
pub fn parse_float(text: &str) -> Option<f64> {
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = without_underscores(body)?.to_ascii_lowercase();
    let magnitude = match lower.as_str() {
        "inf" | "infinity" => f64::INFINITY,
        "nan" => f64::NAN,
        _ if lower.starts_with("0x") => parse_hex_float(&lower[2..])?,
        _ => {
            let plain = lower
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'+' | b'-'));
            let value: f64 = if plain { lower.parse().ok()? } else { return None };
            if value.is_infinite() {
                return None;
            }
            value
        }
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// A number without the underscores between its digits; none if one stands elsewhere.
fn without_underscores(body: &str) -> Option<Cow<'_, str>> {
    if !body.contains('_') {
        return Some(Cow::Borrowed(body));
    }
    let hex = body.starts_with("0x") || body.starts_with("0X");
    let digit =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_digit() || hex && byte.is_ascii_hexdigit());
    let bytes = body.as_bytes();
    let placed = bytes.iter().enumerate().all(|(at, byte)| {
        let after_prefix = hex && at == 2;
        *byte != b'_' || (after_prefix || at > 0 && digit(bytes.get(at - 1))) && digit(bytes.get(at + 1))
    });
    placed.then(|| Cow::Owned(body.replace('_', "")))
}

fn parse_hex_float(body: &str) -> Option<f64> {
    let (mantissa, exponent) = body.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0f64;
    for digit in whole.chars() {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let mut scale = 1.0 / 16.0;
    for digit in fraction.chars() {
        value += f64::from(digit.to_digit(16)?) * scale;
        scale /= 16.0;
    }
    let result = value * 2f64.powi(exponent.parse().ok()?);
    result.is_finite().then_some(result)
}

/// Shortest decimal digits that read back as the same number, with the decimal exponent:
/// `0.d1d2d3… × 10^exponent`.
fn shortest_digits(value: f64) -> (String, i32) {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    (digits, exponent.parse::<i32>().unwrap_or(0) + 1)
}

/// No float has more digits other than zeros; the standard library refuses many more.
const MOST_DIGITS: usize = 1_100;

/// `FormatFloat(value, verb, precision, 64)` for the verbs `e E f F g G`; without a precision, the
/// shortest text that reads back the same.
#[must_use]
pub fn format_float(value: f64, verb: char, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let magnitude = value.abs();
    let body = match verb {
        'f' | 'F' => match precision {
            Some(precision) => {
                let digits = precision.min(MOST_DIGITS);
                format!("{magnitude:.digits$}{}", "0".repeat(precision - digits))
            }
            None => plain(&shortest_digits(magnitude)),
        },
        'e' | 'E' => exponential(magnitude, verb, precision),
        _ => general(magnitude, if verb == 'G' { 'E' } else { 'e' }, precision),
    };
    format!("{sign}{body}")
}

/// As `strconv.FormatFloat(value, 'g', -1, 64)`: exponents below -4 and from 6 digits on.
#[must_use]
pub fn shortest(value: f64) -> String {
    format_float(value, 'g', None)
}

fn plain((digits, point): &(String, i32)) -> String {
    let length = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if *point <= 0 {
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() {
            return "0".to_owned();
        }
        return format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize));
    }
    if *point >= length {
        return format!("{digits}{}", "0".repeat((point - length).unsigned_abs() as usize));
    }
    let at = point.unsigned_abs() as usize;
    let fraction = digits[at..].trim_end_matches('0');
    if fraction.is_empty() {
        digits[..at].to_owned()
    } else {
        format!("{}.{fraction}", &digits[..at])
    }
}

fn exponential(magnitude: f64, verb: char, precision: Option<usize>) -> String {
    let text = match precision {
        Some(precision) => {
            let digits = precision.min(MOST_DIGITS);
            let zeros = "0".repeat(precision - digits);
            format!("{magnitude:.digits$e}").replacen('e', &format!("{zeros}e"), 1)
        }
        None => format!("{magnitude:e}"),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}{verb}{sign}{:02}", exponent.abs())
}

fn general(magnitude: f64, exponent_char: char, precision: Option<usize>) -> String {
    let (digits, point) = match precision {
        None => shortest_digits(magnitude),
        Some(precision) => {
            let digits = (precision.max(1) - 1).min(MOST_DIGITS);
            let text = format!("{magnitude:.digits$e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let all: String = mantissa.chars().filter(char::is_ascii_digit).collect();
            let trimmed = all.trim_end_matches('0');
            let kept = if trimmed.is_empty() { "0" } else { trimmed };
            (kept.to_owned(), exponent.parse::<i32>().unwrap_or(0) + 1)
        }
    };
    let point = if magnitude == 0.0 { 1 } else { point };
    let mut limit = match precision {
        Some(precision) => i32::try_from(precision.max(1)).unwrap_or(i32::MAX),
        None => 6,
    };
    let length = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if precision.is_some() && limit > length && length >= point {
        limit = length;
    }
    let exponent = point - 1;
    if exponent < -4 || exponent >= limit {
        let (first, rest) = digits.split_at(1);
        let rest = rest.trim_end_matches('0');
        let dot = if rest.is_empty() { "" } else { "." };
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{first}{dot}{rest}{exponent_char}{sign}{:02}", exponent.abs());
    }
    plain(&(digits, point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_prefixes_and_underscores() {
        assert_eq!(parse_int("0x1F"), Some(31));
        assert_eq!(parse_int("-017"), Some(-15));
        assert_eq!(parse_int("0o17"), Some(15));
        assert_eq!(parse_int("1_000"), Some(1000));
        assert_eq!(parse_int("1__0"), None);
        assert_eq!(parse_int("09"), None);
        assert_eq!(parse_int("-9223372036854775808"), Some(i64::MIN));
    }

    #[test]
    fn floats_print_as_in_go() {
        assert_eq!(shortest(1e6), "1e+06");
        assert_eq!(shortest(1e21), "1e+21");
        assert_eq!(shortest(123_456_789.0), "1.23456789e+08");
        assert_eq!(shortest(0.00001), "1e-05");
        assert_eq!(shortest(3.0), "3");
        assert_eq!(shortest(0.0), "0");
        assert_eq!(shortest(-2.5), "-2.5");
        assert_eq!(format_float(3.2416, 'f', Some(2)), "3.24");
        assert_eq!(format_float(1234.5678, 'e', Some(3)), "1.235e+03");
        assert_eq!(format_float(1e6, 'g', Some(3)), "1e+06");
        assert_eq!(format_float(100.0, 'g', Some(3)), "100");
        assert_eq!(format_float(1e20, 'f', None), "100000000000000000000");
    }
}
