//! Resource quantities (`100m`, `1.5Gi`, `12e6`): read, compared, added and written as the API server does.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

mod amount;
mod read;

use amount::Amount;

/// A text that is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantityError {
    /// Not a number with a suffix.
    Format,
    /// The number cannot be read.
    Numeric,
    /// The suffix is none.
    Suffix,
    /// More digits than are computed with here (about 28 before the point).
    TooLarge,
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            QuantityError::Format => {
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            }
            QuantityError::Numeric => "unable to parse numeric part of quantity",
            QuantityError::Suffix => "unable to parse quantity's suffix",
            QuantityError::TooLarge => "quantity has too many digits",
        })
    }
}

impl std::error::Error for QuantityError {}

/// In which suffixes a quantity is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `e3`, `e6`, …
    DecimalExponent,
    /// `Ki`, `Mi`, …
    BinarySi,
    /// `m`, `k`, `M`, …
    #[default]
    DecimalSi,
}

impl Format {
    /// The format's name in the Go library.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Format::DecimalExponent => "DecimalExponent",
            Format::BinarySi => "BinarySI",
            Format::DecimalSi => "DecimalSI",
        }
    }
}

/// An amount with the way in which it is written.
#[derive(Clone, Debug, Default)]
pub struct Quantity {
    amount: Amount,
    format: Format,
    /// The text that it was read from, kept when its number and exponent are canonical already.
    text: Option<Box<str>>,
}

impl Quantity {
    /// Reads a quantity.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (amount, format, exact) = read::read(text)?;
        Ok(Quantity {
            amount,
            format,
            text: exact.then(|| text.into()),
        })
    }

    /// Reads a quantity from a field's value: a string, a number, or null for none.
    pub fn from_value(value: &Value) -> Result<Self, QuantityError> {
        match value {
            Value::Null => Ok(Quantity::default()),
            Value::String(text) => Quantity::parse(text.trim()),
            other => Quantity::parse(&other.to_string()),
        }
    }

    /// A whole number.
    #[must_use]
    pub fn from_integer(value: i64, format: Format) -> Self {
        Quantity {
            amount: Amount::integer(value),
            format,
            text: None,
        }
    }

    /// A number of thousandths.
    #[must_use]
    pub fn from_milli(value: i64, format: Format) -> Self {
        Quantity {
            amount: Amount::Short { value, scale: -3 },
            format,
            text: None,
        }
    }

    /// How it is written.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// -1, 0 or 1.
    #[must_use]
    pub fn sign(&self) -> i8 {
        self.amount.sign()
    }

    /// The value rounded up to a whole number; what does not fit wraps, as in the Go library.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.amount.scaled(0)
    }

    /// The value in thousandths, rounded up; what does not fit wraps, as in the Go library.
    #[must_use]
    pub fn milli_value(&self) -> i64 {
        self.amount.scaled(-3)
    }

    /// The value, if it was read as a whole number that fits.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        self.amount.as_integer()
    }

    /// The value, nearest.
    #[must_use]
    pub fn as_float(&self) -> f64 {
        self.amount.as_float()
    }

    /// The value as a decimal number without suffix.
    #[must_use]
    pub fn to_decimal(&self) -> String {
        self.amount.to_decimal()
    }

    /// Adds; the format stays unless this is 0.
    #[must_use]
    pub fn add(&self, other: &Quantity) -> Quantity {
        self.combine(other, &other.amount)
    }

    /// Subtracts; the format stays unless this is 0.
    #[must_use]
    pub fn sub(&self, other: &Quantity) -> Quantity {
        self.combine(other, &other.amount.negated())
    }

    fn combine(&self, other: &Quantity, amount: &Amount) -> Quantity {
        Quantity {
            amount: self.amount.plus(amount),
            format: if self.sign() == 0 {
                other.format
            } else {
                self.format
            },
            text: None,
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.amount.compare(&other.amount)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.text {
            return f.write_str(text);
        }
        if self.sign() == 0 {
            return f.write_str("0");
        }
        let small = self.amount.compare(&Amount::integer(-1024)) == Ordering::Greater
            && self.amount.compare(&Amount::integer(1024)) == Ordering::Less;
        if self.format == Format::BinarySi
            && !small
            && let Some(whole) = self.amount.whole()
        {
            let (number, power) = amount::without_factor(whole, 1024);
            return write!(f, "{number}{}", binary_suffix(power));
        }
        let (mut number, mut exponent) = self.amount.canonical();
        if self.format == Format::DecimalExponent {
            return match exponent {
                0 => write!(f, "{number}"),
                _ => write!(f, "{number}e{exponent}"),
            };
        }
        while exponent > 18 {
            let Some(larger) = number.checked_mul(1000) else {
                return write!(f, "{number}e{exponent}");
            };
            (number, exponent) = (larger, exponent - 3);
        }
        write!(f, "{number}{}", decimal_suffix(exponent))
    }
}

fn binary_suffix(power: u32) -> &'static str {
    ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
        .get(power as usize)
        .copied()
        .unwrap_or_default()
}

fn decimal_suffix(exponent: i32) -> &'static str {
    match exponent {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        18 => "E",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        Quantity::parse(text).map_or_else(|error| error.to_string(), |quantity| quantity.to_string())
    }

    #[test]
    fn quantities_are_written_canonically() {
        for (text, want) in [
            ("0.1", "100m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("12e4", "120e3"),
            ("1e3", "1e3"),
            ("0.0001n", "1n"),
            ("1000000000000000000000", "1000E"),
            ("-0.5", "-500m"),
            ("0.5Ki", "512"),
            ("1.1Ki", "1126400m"),
        ] {
            assert_eq!(canonical(text), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        assert_eq!(Quantity::parse("1K"), Err(QuantityError::Suffix));
        assert_eq!(Quantity::parse("1 G"), Err(QuantityError::Format));
        assert_eq!(Quantity::parse(&"9".repeat(60)), Err(QuantityError::TooLarge));
    }

    #[test]
    fn sums_keep_the_first_format() {
        let parse = |text| Quantity::parse(text).expect("valid");
        assert_eq!(parse("1Gi").add(&parse("1024Mi")).to_string(), "2Gi");
        assert_eq!(parse("0").add(&parse("1Ki")).to_string(), "1Ki");
        assert_eq!(parse("1").sub(&parse("250m")).to_string(), "750m");
        assert!(parse("999m") < parse("1"));
        assert_eq!(parse("1k"), parse("1e3"));
        assert_eq!(parse("1500m").value(), 2);
        assert_eq!(parse("-1500m").value(), -2);
    }
}
