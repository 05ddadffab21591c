//! Arithmetic: integers wrap as in Go, decimal sums go through exact decimals as Sprig's do.

use crate::function::{FunctionResult, Functions, Params, Type, text};
use crate::value::{Element, IntType, List, Value};

use super::cast::{to_float, to_int};
use super::{int_at, text_at};

const INT: Type = Type::Int(IntType::Int);
/// `until` and its like make at most this many numbers.
const MAX_LIST: i64 = 1_000_000;

pub(super) fn register(functions: &mut Functions) {
    let one = || Params::fixed(&[Type::Any]);
    let two = || Params::fixed(&[Type::Any, Type::Any]);
    let some = || Params::variadic(&[Type::Any], Type::Any);
    functions.pure("atoi", Params::fixed(&[Type::Str]), |v| {
        Ok(Value::int(text_at(v, 0).parse().unwrap_or(0)))
    });
    functions.pure("int64", one(), |v| Ok(Value::int64(to_int(&v[0]))));
    functions.pure("int", one(), |v| Ok(Value::int(to_int(&v[0]))));
    functions.pure("float64", one(), |v| Ok(Value::Float(to_float(&v[0]))));
    functions.pure("toDecimal", one(), |v| {
        Ok(Value::int64(
            i64::from_str_radix(&crate::print::go_value(&v[0]), 8).unwrap_or(0),
        ))
    });
    functions.pure("add1", one(), |v| Ok(Value::int64(to_int(&v[0]).wrapping_add(1))));
    functions.pure("add", Params::variadic(&[], Type::Any), |v| {
        Ok(Value::int64(
            v.iter().fold(0i64, |sum, value| sum.wrapping_add(to_int(value))),
        ))
    });
    functions.pure("sub", two(), |v| {
        Ok(Value::int64(to_int(&v[0]).wrapping_sub(to_int(&v[1]))))
    });
    functions.pure("mul", some(), |v| {
        Ok(Value::int64(
            v[1..].iter().fold(to_int(&v[0]), |product, value| {
                product.wrapping_mul(to_int(value))
            }),
        ))
    });
    functions.pure("div", two(), |v| {
        divide(to_int(&v[0]), to_int(&v[1]), i64::wrapping_div)
    });
    functions.pure("mod", two(), |v| {
        divide(to_int(&v[0]), to_int(&v[1]), i64::wrapping_rem)
    });
    functions.pure("max", some(), |v| {
        Ok(Value::int64(v.iter().map(to_int).max().unwrap_or(0)))
    });
    functions.alias("biggest", "max");
    functions.pure("min", some(), |v| {
        Ok(Value::int64(v.iter().map(to_int).min().unwrap_or(0)))
    });
    functions.pure("maxf", some(), |v| {
        Ok(Value::Float(
            v.iter().map(to_float).fold(f64::NEG_INFINITY, f64::max),
        ))
    });
    functions.pure("minf", some(), |v| {
        Ok(Value::Float(v.iter().map(to_float).fold(f64::INFINITY, f64::min)))
    });
    functions.pure("ceil", one(), |v| Ok(Value::Float(to_float(&v[0]).ceil())));
    functions.pure("floor", one(), |v| Ok(Value::Float(to_float(&v[0]).floor())));
    functions.pure("round", Params::variadic(&[Type::Any, INT], Type::Float), round);
    functions.pure("add1f", one(), |v| {
        decimals(&[v[0].clone(), Value::int(1)], decimal::add)
    });
    functions.pure("addf", Params::variadic(&[], Type::Any), |v| {
        let mut all = vec![Value::int(0)];
        all.extend_from_slice(v);
        decimals(&all, decimal::add)
    });
    functions.pure("subf", some(), |v| decimals(v, decimal::sub));
    functions.pure("mulf", some(), |v| decimals(v, decimal::mul));
    functions.pure("divf", some(), |v| decimals(v, decimal::div));
    functions.pure("until", Params::fixed(&[INT]), |v| {
        let count = int_at(v, 0);
        steps(0, count, if count < 0 { -1 } else { 1 })
    });
    functions.pure("untilStep", Params::fixed(&[INT, INT, INT]), |v| {
        steps(int_at(v, 0), int_at(v, 1), int_at(v, 2))
    });
    functions.pure("seq", Params::variadic(&[], INT), sequence);
}

fn divide(a: i64, b: i64, operation: fn(i64, i64) -> i64) -> FunctionResult {
    if b == 0 {
        return Err("runtime error: integer divide by zero".into());
    }
    Ok(Value::int64(operation(a, b)))
}

fn round(values: &[Value]) -> FunctionResult {
    let (number, places) = (to_float(&values[0]), int_at(values, 1));
    let threshold = match values.get(2) {
        Some(Value::Float(threshold)) => *threshold,
        _ => 0.5,
    };
    let scale = 10f64.powi(i32::try_from(places).unwrap_or(i32::MAX));
    let digits = scale * number;
    let fraction = digits - digits.trunc();
    let rounded = if fraction >= threshold {
        digits.ceil()
    } else {
        digits.floor()
    };
    Ok(Value::Float(rounded / scale))
}

fn ints(numbers: Vec<i64>) -> Value {
    Value::List(List::of(
        Element::Int,
        numbers.into_iter().map(Value::int).collect(),
    ))
}

fn count_up(start: i64, stop: i64, step: i64) -> Result<Vec<i64>, String> {
    let mut numbers = Vec::new();
    let mut at = start;
    while (step > 0 && at < stop) || (step < 0 && at > stop) {
        numbers.push(at);
        if i64::try_from(numbers.len()).unwrap_or(i64::MAX) > MAX_LIST {
            return Err(format!("makes more than {MAX_LIST} numbers"));
        }
        let Some(next) = at.checked_add(step) else { break };
        at = next;
    }
    Ok(numbers)
}

fn steps(start: i64, stop: i64, step: i64) -> FunctionResult {
    if (stop < start && step >= 0) || (stop > start && step <= 0) {
        return Ok(ints(Vec::new()));
    }
    Ok(ints(count_up(start, stop, step)?))
}

/// `seq`, as the shell's: inclusive, separated by spaces.
fn sequence(values: &[Value]) -> FunctionResult {
    let number = |index| int_at(values, index);
    let numbers = match values.len() {
        1 => {
            let end = number(0);
            let step = if end < 1 { -1 } else { 1 };
            count_up(1, end.saturating_add(step), step)?
        }
        2 => {
            let step = if number(1) < number(0) { -1 } else { 1 };
            count_up(number(0), number(1).saturating_add(step), step)?
        }
        3 => {
            let (start, step, end) = (number(0), number(1), number(2));
            let direction = if end < start { -1 } else { 1 };
            if direction == -1 && step > 0 {
                return text("");
            }
            count_up(start, end.saturating_add(direction), step)?
        }
        _ => Vec::new(),
    };
    text(numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(" "))
}

fn decimals(
    values: &[Value],
    operation: fn(&decimal::Decimal, &decimal::Decimal) -> Result<decimal::Decimal, String>,
) -> FunctionResult {
    let mut numbers = values
        .iter()
        .map(|value| decimal::Decimal::from_float(to_float(value)));
    let mut result = numbers.next().ok_or("no number")??;
    for number in numbers {
        result = operation(&result, &number?)?;
    }
    Ok(Value::Float(result.to_float()))
}

/// Exact decimal arithmetic, enough for sums of floats as they are written.
mod decimal {
    /// `digits × 10^exponent`.
    #[derive(Clone, Debug)]
    pub(super) struct Decimal {
        digits: i128,
        exponent: i32,
    }

    /// Digits after the point of a quotient.
    const PRECISION: i32 = 16;

    impl Decimal {
        pub(super) fn from_float(value: f64) -> Result<Self, String> {
            if !value.is_finite() {
                return Err(format!(
                    "Cannot create a Decimal from {}",
                    crate::number::shortest(value)
                ));
            }
            let text = format!("{value:e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            let digits = mantissa
                .replace('.', "")
                .parse()
                .map_err(|_| "number out of range".to_owned())?;
            let exponent = exponent.parse::<i32>().unwrap_or(0) - i32::try_from(fraction).unwrap_or(0);
            Ok(Decimal { digits, exponent })
        }

        pub(super) fn to_float(&self) -> f64 {
            format!("{}e{}", self.digits, self.exponent)
                .parse()
                .unwrap_or(f64::NAN)
        }
    }

    fn align(a: &Decimal, b: &Decimal) -> Option<(i128, i128, i32)> {
        let exponent = a.exponent.min(b.exponent);
        let scale = |number: &Decimal| {
            let shift = u32::try_from(number.exponent - exponent).ok()?;
            number.digits.checked_mul(10i128.checked_pow(shift)?)
        };
        Some((scale(a)?, scale(b)?, exponent))
    }

    fn fallback(value: f64) -> Result<Decimal, String> {
        Decimal::from_float(value)
    }

    pub(super) fn add(a: &Decimal, b: &Decimal) -> Result<Decimal, String> {
        match align(a, b) {
            Some((x, y, exponent)) => Ok(Decimal {
                digits: x + y,
                exponent,
            }),
            None => fallback(a.to_float() + b.to_float()),
        }
    }

    pub(super) fn sub(a: &Decimal, b: &Decimal) -> Result<Decimal, String> {
        add(
            a,
            &Decimal {
                digits: -b.digits,
                exponent: b.exponent,
            },
        )
    }

    pub(super) fn mul(a: &Decimal, b: &Decimal) -> Result<Decimal, String> {
        match a.digits.checked_mul(b.digits) {
            Some(digits) => Ok(Decimal {
                digits,
                exponent: a.exponent + b.exponent,
            }),
            None => fallback(a.to_float() * b.to_float()),
        }
    }

    pub(super) fn div(a: &Decimal, b: &Decimal) -> Result<Decimal, String> {
        if b.digits == 0 {
            return Err("decimal division by 0".to_owned());
        }
        // The quotient has PRECISION digits after the point, rounded half away from zero.
        let shift = a.exponent - b.exponent + PRECISION;
        let power = 10i128.checked_pow(shift.unsigned_abs());
        let scaled = if shift < 0 {
            power.and_then(|power| Some((a.digits, b.digits.checked_mul(power)?)))
        } else {
            power.and_then(|power| Some((a.digits.checked_mul(power)?, b.digits)))
        };
        match scaled {
            Some((above, below)) => {
                let (quotient, rest) = (above / below, above % below);
                let up = rest.unsigned_abs().saturating_mul(2) >= below.unsigned_abs();
                let sign = if (above < 0) == (below < 0) { 1 } else { -1 };
                Ok(Decimal {
                    digits: quotient + if up { sign } else { 0 },
                    exponent: -PRECISION,
                })
            }
            None => fallback(a.to_float() / b.to_float()),
        }
    }
}
