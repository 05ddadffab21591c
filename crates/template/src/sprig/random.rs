//! Random texts and numbers, from the run's ambient.

use base64::Engine as _;

use crate::exec::Scope;
use crate::function::{Function, FunctionError, FunctionResult, Functions, Params, Type, text};
use crate::value::{IntType, Value};

use super::{ambient, int_at, text_at};

const INT: Type = Type::Int(IntType::Int);
const DIGITS: &str = "0123456789";
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

pub(super) fn register(functions: &mut Functions) {
    let ascii: String = (' '..='~').collect();
    let sets = [
        ("randAlphaNum", format!("{LETTERS}{DIGITS}")),
        ("randAlpha", LETTERS.to_owned()),
        ("randNumeric", DIGITS.to_owned()),
        ("randAscii", ascii),
    ];
    for (name, set) in sets {
        let set: Vec<char> = set.chars().collect();
        functions.insert(
            name,
            Function::new(Params::fixed(&[INT]), move |scope, v| random_text(scope, v, &set)),
        );
    }
    functions.insert(
        "randBytes",
        Function::new(Params::fixed(&[INT]), |scope, v| {
            let mut buffer = vec![0; count(scope, v)?];
            ambient(scope)?.random(&mut buffer);
            text(base64::engine::general_purpose::STANDARD.encode(buffer))
        }),
    );
    functions.insert(
        "randInt",
        Function::new(Params::fixed(&[INT, INT]), |scope, v| {
            let (low, high) = (int_at(v, 0), int_at(v, 1));
            let span = u64::try_from(high.wrapping_sub(low))
                .ok()
                .filter(|span| *span > 0);
            let span = span.ok_or("invalid argument to Intn")?;
            let offset = i64::try_from(below(scope, span)?).unwrap_or(0);
            Ok(Value::int(low + offset))
        }),
    );
    functions.insert(
        "uuidv4",
        Function::new(Params::default(), |scope, _| {
            let mut bytes = [0u8; 16];
            ambient(scope)?.random(&mut bytes);
            bytes[6] = (bytes[6] & 0x0f) | 0x40;
            bytes[8] = (bytes[8] & 0x3f) | 0x80;
            let hex = super::encoding::hex(&bytes);
            text(format!(
                "{}-{}-{}-{}-{}",
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..]
            ))
        }),
    );
    functions.insert(
        "shuffle",
        Function::new(Params::fixed(&[Type::Str]), |scope, v| {
            let mut chars: Vec<char> = text_at(v, 0).chars().collect();
            for index in (1..chars.len()).rev() {
                let other = below(scope, u64::try_from(index + 1).unwrap_or(1))?;
                chars.swap(index, usize::try_from(other).unwrap_or(0));
            }
            text(chars.into_iter().collect::<String>())
        }),
    );
}

fn count(scope: &Scope<'_, '_>, values: &[Value]) -> Result<usize, FunctionError> {
    let count = usize::try_from(int_at(values, 0)).unwrap_or(0);
    scope.reserve(count)?;
    Ok(count)
}

/// Numbers that are drawn at once for a text.
const DRAWN: usize = 64;

/// A number below `bound` from eight random bytes; nothing for draws that would favour the low ones.
fn even(bytes: [u8; 8], bound: u64) -> Option<u64> {
    let fair = u64::MAX - u64::MAX % bound;
    let number = u64::from_le_bytes(bytes);
    (number < fair).then_some(number % bound)
}

/// An even choice among `bound` numbers.
fn below(scope: &mut Scope<'_, '_>, bound: u64) -> Result<u64, FunctionError> {
    let ambient = ambient(scope)?;
    loop {
        let mut bytes = [0u8; 8];
        ambient.random(&mut bytes);
        if let Some(number) = even(bytes, bound) {
            return Ok(number);
        }
    }
}

fn random_text(scope: &mut Scope<'_, '_>, values: &[Value], set: &[char]) -> FunctionResult {
    let length = count(scope, values)?;
    let bound = u64::try_from(set.len()).unwrap_or(1);
    let ambient = ambient(scope)?;
    let mut out = String::with_capacity(length);
    let mut left = length;
    // Asking the system for each character would take longer than all the rest.
    let mut drawn = [[0u8; 8]; DRAWN];
    while left > 0 {
        let drawn = &mut drawn[..left.min(DRAWN)];
        ambient.random(drawn.as_flattened_mut());
        for index in drawn.iter().filter_map(|bytes| even(*bytes, bound)) {
            out.push(set[usize::try_from(index).unwrap_or(0)]);
            left -= 1;
        }
    }
    text(out)
}
