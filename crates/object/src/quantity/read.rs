//! Reading a quantity: sign, digits, suffix, with the Go library's leniency.

use super::amount::{Amount, power_of_ten};
use super::{Format, QuantityError};

/// A quantity's text in parts.
struct Parts<'a> {
    positive: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

/// The amount, its format, and whether number and exponent were canonical as they stood.
pub(super) fn read(text: &str) -> Result<(Amount, Format, bool), QuantityError> {
    if text.is_empty() {
        return Err(QuantityError::Format);
    }
    let parts = split(text)?;
    let digits = || {
        text.trim_end_matches(parts.suffix)
            .contains(|c: char| c.is_ascii_digit())
    };
    let (base, exponent, format) = suffix(parts.suffix).ok_or(QuantityError::Suffix)?;
    if let Some(short) = short(&parts, format, exponent) {
        let exact = is_canonical(&parts, &short, format);
        return Ok((short, format, exact));
    }
    if !digits() {
        return Err(QuantityError::Numeric);
    }
    let (amount, format) = long(&parts, base, exponent, format)?;
    Ok((amount, format, false))
}

fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    let (positive, rest) = match text.as_bytes()[0] {
        b'-' => (false, &text[1..]),
        b'+' => (true, &text[1..]),
        _ => (true, text),
    };
    let rest = rest.trim_start_matches('0');
    let (whole, rest) = digits(rest);
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    let exponent = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    if !digits(exponent).1.is_empty() {
        return Err(QuantityError::Format);
    }
    Ok(Parts {
        positive,
        whole: if whole.is_empty() { "0" } else { whole },
        fraction,
        suffix,
    })
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Base, exponent and format of a suffix.
fn suffix(text: &str) -> Option<(u8, i32, Format)> {
    let decimal = |exponent| Some((10, exponent, Format::DecimalSi));
    let binary = |exponent| Some((2, exponent, Format::BinarySi));
    match text {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent: i64 = text.strip_prefix(['e', 'E'])?.parse().ok()?;
            Some((10, exponent as i32, Format::DecimalExponent))
        }
    }
}

/// The amount, if it fits the short form without rounding.
fn short(parts: &Parts<'_>, format: Format, exponent: i32) -> Option<Amount> {
    let length = parts.whole.len() + parts.fraction.len();
    let (factor, scale) = if format == Format::BinarySi {
        let room = 14 - parts.whole.len() as i64 - i64::from(exponent) * 3 / 10;
        if room < 0 || !parts.fraction.is_empty() {
            return None;
        }
        (1i64 << exponent, 0)
    } else {
        if length > 18 {
            return None;
        }
        (1, exponent.checked_sub(parts.fraction.len() as i32)?)
    };
    if scale < -9 {
        return None;
    }
    let number: i64 = format!("{}{}", parts.whole, parts.fraction).parse().ok()?;
    let value = number.checked_mul(factor)?;
    Some(Amount::Short {
        value: if parts.positive { value } else { -value },
        scale,
    })
}

/// Whether a text is kept as it was written. It need not be what would be written for the amount.
fn is_canonical(parts: &Parts<'_>, amount: &Amount, format: Format) -> bool {
    let Amount::Short { scale, .. } = *amount else {
        return false;
    };
    let digits = format!("{}{}", parts.whole, parts.fraction);
    if format == Format::BinarySi {
        let number: i64 = digits.parse().unwrap_or_default();
        return number & 7 != 0;
    }
    scale % 3 == 0 && !digits.ends_with("000") && !digits.starts_with('0')
}

fn long(
    parts: &Parts<'_>,
    base: u8,
    exponent: i32,
    format: Format,
) -> Result<(Amount, Format), QuantityError> {
    let digits = format!("{}{}", parts.whole, parts.fraction);
    let digits = digits.trim_start_matches('0');
    let mut value: i128 = match digits {
        "" => 0,
        digits => digits.parse().map_err(|_| QuantityError::TooLarge)?,
    };
    let mut scale = -(i32::try_from(parts.fraction.len()).map_err(|_| QuantityError::TooLarge)?);
    if base == 10 {
        scale = scale.checked_add(exponent).ok_or(QuantityError::TooLarge)?;
    } else {
        value = value.checked_mul(1 << exponent).ok_or(QuantityError::TooLarge)?;
    }
    if value != 0 {
        value = round_up_to_nano(value, scale)?;
        scale = -9;
    }
    let max = i128::from(i64::MAX);
    let nano = 1_000_000_000;
    let mut format = format;
    if format == Format::BinarySi && scale == -9 {
        if value > max * nano {
            (value, scale) = (max, 0);
        } else if value < nano {
            format = Format::DecimalSi;
        }
    }
    let value = if parts.positive { value } else { -value };
    Ok((Amount::Long { value, scale }, format))
}

/// What is asked for is never rounded down to less, least of all to nothing.
fn round_up_to_nano(value: i128, scale: i32) -> Result<i128, QuantityError> {
    let shift = scale.checked_add(9).ok_or(QuantityError::TooLarge)?;
    match (power_of_ten(shift.unsigned_abs()), shift >= 0) {
        (Some(power), true) => value.checked_mul(power).ok_or(QuantityError::TooLarge),
        (Some(power), false) => Ok(value / power + i128::from(value % power != 0)),
        (None, true) => Err(QuantityError::TooLarge),
        (None, false) => Ok(1),
    }
}
