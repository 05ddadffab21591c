//! The number of a quantity: short where 63 bits do, long where more digits are asked for.

use std::cmp::Ordering;

/// A decimal number `value × 10^scale`.
#[derive(Clone, Debug)]
pub(super) enum Amount {
    /// What most quantities are.
    Short {
        /// Digits.
        value: i64,
        /// Power of ten.
        scale: i32,
    },
    /// What did not fit, or came of rounding; `scale` is never above 0.
    Long {
        /// Digits.
        value: i128,
        /// Power of ten.
        scale: i32,
    },
}

impl Default for Amount {
    fn default() -> Self {
        Amount::integer(0)
    }
}

/// The number with all factors taken out, and how many there were.
pub(super) fn without_factor(mut number: i128, factor: i128) -> (i128, u32) {
    let mut times = 0;
    while number != 0 && number % factor == 0 {
        number /= factor;
        times += 1;
    }
    (number, times)
}

pub(super) fn power_of_ten(exponent: u32) -> Option<i128> {
    10i128.checked_pow(exponent)
}

impl Amount {
    pub(super) fn integer(value: i64) -> Self {
        Amount::Short { value, scale: 0 }
    }

    fn parts(&self) -> (i128, i32) {
        match *self {
            Amount::Short { value, scale } => (i128::from(value), scale),
            Amount::Long { value, scale } => (value, scale),
        }
    }

    pub(super) fn sign(&self) -> i8 {
        self.parts().0.signum() as i8
    }

    pub(super) fn negated(&self) -> Self {
        match *self {
            Amount::Short { value, scale } => match value.checked_neg() {
                Some(value) => Amount::Short { value, scale },
                None => Amount::Long {
                    value: -i128::from(value),
                    scale,
                },
            },
            Amount::Long { value, scale } => Amount::Long { value: -value, scale },
        }
    }

    pub(super) fn as_integer(&self) -> Option<i64> {
        match *self {
            Amount::Short { value: 0, .. } => Some(0),
            Amount::Short { value, scale } if scale >= 0 => {
                let power = power_of_ten(scale.unsigned_abs())?;
                i64::try_from(i128::from(value).checked_mul(power)?).ok()
            }
            _ => None,
        }
    }

    pub(super) fn as_float(&self) -> f64 {
        let (value, scale) = self.parts();
        format!("{value}e{scale}").parse().unwrap_or(f64::NAN)
    }

    /// The value in units of `10^to`, rounded away from zero.
    pub(super) fn scaled(&self, to: i32) -> i64 {
        match *self {
            Amount::Short { value, scale } => scaled_short(value, scale, to),
            Amount::Long { value, scale } => scaled_long(value, scale, to),
        }
    }

    /// The value, if it is whole.
    pub(super) fn whole(&self) -> Option<i128> {
        let (value, scale) = self.parts();
        if scale >= 0 {
            return value.checked_mul(power_of_ten(scale.unsigned_abs())?);
        }
        let power = power_of_ten(scale.unsigned_abs())?;
        (value % power == 0).then(|| value / power)
    }

    /// Number and exponent, where the exponent is a multiple of 3 and the number has no three zeros to give.
    pub(super) fn canonical(&self) -> (i128, i32) {
        let (value, scale) = self.parts();
        let (mut number, times) = without_factor(value, 10);
        let mut exponent = scale + times as i32;
        while exponent % 3 != 0 {
            number = number.saturating_mul(10);
            exponent -= 1;
        }
        (number, exponent)
    }

    pub(super) fn plus(&self, other: &Amount) -> Amount {
        let ((a, a_scale), (b, b_scale)) = (self.parts(), other.parts());
        let scale = a_scale.min(b_scale);
        let lift = |value: i128, from: i32| value.saturating_mul(lift_factor(from, scale));
        let sum = lift(a, a_scale).saturating_add(lift(b, b_scale));
        let short = matches!((self, other), (Amount::Short { .. }, Amount::Short { .. }));
        match i64::try_from(sum) {
            Ok(value) if short => Amount::Short { value, scale },
            _ => Amount::Long { value: sum, scale },
        }
    }

    pub(super) fn compare(&self, other: &Amount) -> Ordering {
        let ((a, a_scale), (b, b_scale)) = (self.parts(), other.parts());
        if a.signum() != b.signum() || a == 0 {
            return a.signum().cmp(&b.signum());
        }
        let scale = a_scale.min(b_scale);
        let lift = |value: i128, from: i32| value.saturating_mul(lift_factor(from, scale));
        lift(a, a_scale).cmp(&lift(b, b_scale))
    }

    pub(super) fn to_decimal(&self) -> String {
        let (value, scale) = self.parts();
        if scale >= 0 {
            let zeros = if value == 0 {
                0
            } else {
                scale.unsigned_abs() as usize
            };
            return format!("{value}{}", "0".repeat(zeros));
        }
        let decimals = scale.unsigned_abs() as usize;
        let sign = if value < 0 { "-" } else { "" };
        let digits = format!("{:0width$}", value.unsigned_abs(), width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        format!("{sign}{whole}.{fraction}")
    }
}

fn lift_factor(from: i32, to: i32) -> i128 {
    u32::try_from(from - to)
        .ok()
        .and_then(power_of_ten)
        .unwrap_or(i128::MAX)
}

fn scaled_short(value: i64, scale: i32, to: i32) -> i64 {
    if scale >= to {
        let lifted = power_of_ten(scale.abs_diff(to)).and_then(|power| i128::from(value).checked_mul(power));
        return lifted
            .and_then(|value| i64::try_from(value).ok())
            .unwrap_or_default();
    }
    match power_of_ten(to.abs_diff(scale)) {
        Some(power) => round_away(i128::from(value), power) as i64,
        None => value.signum(),
    }
}

fn round_away(value: i128, power: i128) -> i128 {
    value / power + if value % power == 0 { 0 } else { value.signum() }
}

/// The Go library computes with the low 64 bits of what does not fit; so does this.
fn scaled_long(value: i128, scale: i32, to: i32) -> i64 {
    if scale >= to {
        let power = power_of_ten(scale.abs_diff(to)).unwrap_or_default();
        return (value as i64).wrapping_mul(power as i64);
    }
    let power = power_of_ten(to.abs_diff(scale)).unwrap_or(i128::MAX);
    if value < i128::from(i64::MAX) && power < i128::from(i64::MAX) {
        let low = low_bits(value);
        return low / power as i64 + i64::from(low % power as i64 != 0);
    }
    let rounded = value.div_euclid(power) + i128::from(value.rem_euclid(power) != 0);
    rounded as i64
}

/// `big.Int.Int64`: the low bits of the magnitude, with the sign put back.
fn low_bits(value: i128) -> i64 {
    let low = value.unsigned_abs() as i64;
    if value < 0 { low.wrapping_neg() } else { low }
}
