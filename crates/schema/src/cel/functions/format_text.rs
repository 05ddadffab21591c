//! `format`: clauses such as `%s` and `%.2f` filled with values.

use super::super::error::Error;
use super::super::value::{List, Value};

/// One piece of a format.
enum Piece<'t> {
    Text(&'t str),
    /// A letter with its precision.
    Clause(char, Option<usize>),
}

/// Digits behind the point that anybody may ask for.
const PRECISION: usize = 1000;

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push(Piece::Text(&rest[..at]));
        rest = &rest[at + 1..];
        let wrong = |what: &str| format!("could not parse formatting clause: {what}");
        if let Some(after) = rest.strip_prefix('%') {
            out.push(Piece::Text("%"));
            rest = after;
            continue;
        }
        let mut precision = None;
        if let Some(after) = rest.strip_prefix('.') {
            let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number = after[..digits]
                .parse::<usize>()
                .ok()
                .filter(|number| *number <= PRECISION);
            let number = number.ok_or_else(|| wrong("error while parsing precision"))?;
            precision = Some(number);
            rest = &after[digits..];
        }
        let letter = rest
            .chars()
            .next()
            .ok_or_else(|| wrong("unexpected end of format string"))?;
        if !"sdfebxXo".contains(letter) {
            return Err(wrong(&format!("unrecognized formatting clause \"{letter}\"")));
        }
        out.push(Piece::Clause(letter, precision));
        rest = &rest[letter.len_utf8()..];
    }
    out.push(Piece::Text(rest));
    Ok(out)
}

/// Fills a format.
pub(crate) fn format(text: &str, args: &List<'_>) -> Result<String, Error> {
    let mut out = String::new();
    let mut next = 0;
    for piece in pieces(text).map_err(Error::new)? {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Clause(letter, precision) => {
                let arg = args
                    .get(next)
                    .ok_or_else(|| Error::new(format!("index {next} out of range")))?;
                next += 1;
                let text = clause(letter, precision, &arg);
                out.push_str(&text.map_err(|text| Error::new(format!("error during formatting: {text}")))?);
            }
        }
    }
    Ok(out)
}

/// Holds a format against constant arguments: the place (of an argument) and the text of a mistake.
pub(crate) fn check(text: &str, args: &[(u32, Option<&Value<'_>>)]) -> Option<(Option<u32>, String)> {
    let pieces = match pieces(text) {
        Ok(pieces) => pieces,
        Err(text) => return Some((None, text)),
    };
    let letters = pieces.iter().filter_map(|piece| match piece {
        Piece::Clause(letter, precision) => Some((*letter, *precision)),
        Piece::Text(_) => None,
    });
    for (index, (letter, precision)) in letters.enumerate() {
        let Some((at, value)) = args.get(index) else {
            return Some((None, format!("index {index} out of range")));
        };
        if let Some(value) = value
            && let Err(text) = clause(letter, precision, value)
        {
            return Some((Some(*at), format!("error during formatting: {text}")));
        }
    }
    None
}

fn clause(letter: char, precision: Option<usize>, value: &Value<'_>) -> Result<String, String> {
    let kind = value.type_name();
    Ok(match (letter, value) {
        ('s', Value::Opaque(_)) => {
            return Err(format!(
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given {kind}"
            ));
        }
        ('s', value) => value.to_string(),
        ('d', Value::Int(_) | Value::Uint(_)) => value.to_string(),
        ('d', Value::Double(number)) if !number.is_finite() => special(*number),
        ('d', _) => {
            return Err(format!(
                "decimal clause can only be used on integers, was given {kind}"
            ));
        }
        ('f', _) => fixed(number(value, "fixed-point")?, precision.unwrap_or(6)),
        ('e', _) => scientific(number(value, "scientific")?, precision.unwrap_or(6)),
        ('b', Value::Int(number)) => signed(*number, |number| format!("{number:b}")),
        ('b', Value::Uint(number)) => format!("{number:b}"),
        ('b', Value::Bool(value)) => u8::from(*value).to_string(),
        ('b', _) => {
            return Err(format!(
                "only integers and bools can be formatted as binary, was given {kind}"
            ));
        }
        ('o', Value::Int(number)) => signed(*number, |number| format!("{number:o}")),
        ('o', Value::Uint(number)) => format!("{number:o}"),
        ('o', _) => {
            return Err(format!(
                "octal clause can only be used on integers, was given {kind}"
            ));
        }
        (letter, value) => {
            let text = hex(value).ok_or_else(|| {
                format!("only integers, byte buffers, and strings can be formatted as hex, was given {kind}")
            })?;
            if letter == 'X' { text.to_uppercase() } else { text }
        }
    })
}

fn signed(number: i64, of: fn(u64) -> String) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", of(number.unsigned_abs()))
}

fn hex(value: &Value<'_>) -> Option<String> {
    let bytes = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(match value {
        Value::Int(number) => signed(*number, |number| format!("{number:x}")),
        Value::Uint(number) => format!("{number:x}"),
        Value::String(text) => bytes(text.as_str().as_bytes()),
        Value::Bytes(all) => bytes(all),
        _ => return None,
    })
}

#[expect(clippy::cast_precision_loss, reason = "floats are what is printed")]
fn number(value: &Value<'_>, name: &str) -> Result<f64, String> {
    match value {
        Value::Double(number) => Ok(*number),
        Value::Int(number) => Ok(*number as f64),
        Value::Uint(number) => Ok(*number as f64),
        other => Err(format!(
            "{name} clause can only be used on doubles, was given {}",
            other.type_name()
        )),
    }
}

fn special(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number > 0.0 {
        "Infinity".to_owned()
    } else {
        "-Infinity".to_owned()
    }
}

fn fixed(number: f64, precision: usize) -> String {
    if number.is_finite() {
        format!("{number:.precision$}")
    } else {
        special(number)
    }
}

fn scientific(number: f64, precision: usize) -> String {
    if !number.is_finite() {
        return special(number);
    }
    let text = format!("{number:.precision$e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let sign = if power < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", power.abs())
}
