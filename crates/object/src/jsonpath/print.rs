//! Printing what was found: containers as JSON, scalars as Go prints them.

use serde_json::{Number, Value};

use super::Numbers;
use super::eval::Item;

pub(super) fn results(text: &mut String, items: &[Item<'_>], numbers: Numbers) {
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            text.push(' ');
        }
        match item {
            Item::Data(value @ (Value::Object(_) | Value::Array(_))) => json(text, value),
            other => text.push_str(&go_value(other, numbers)),
        }
    }
}

/// Compact JSON with what HTML takes for markup escaped, as Go's encoder does.
fn json(text: &mut String, value: &Value) {
    match value {
        Value::Object(map) => {
            text.push('{');
            for (position, (key, value)) in map.iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                json_string(text, key);
                text.push(':');
                json(text, value);
            }
            text.push('}');
        }
        Value::Array(list) => {
            text.push('[');
            for (position, value) in list.iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                json(text, value);
            }
            text.push(']');
        }
        Value::String(string) => json_string(text, string),
        Value::Number(number) => text.push_str(&json_number(number)),
        other => text.push_str(&other.to_string()),
    }
}

fn json_string(text: &mut String, string: &str) {
    let quoted = Value::from(string).to_string();
    for c in quoted.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => text.push(c),
        }
    }
}

/// A number as Go's JSON encoder writes it.
fn json_number(number: &Number) -> String {
    match (number.is_f64(), number.as_f64()) {
        (true, Some(float)) if float != 0.0 && (float.abs() < 1e-6 || float.abs() >= 1e21) => {
            let text = format!("{float:e}");
            match text.split_once("e-") {
                Some(_) => text,
                None => text.replace('e', "e+"),
            }
        }
        (true, Some(float)) => format!("{float}"),
        _ => number.to_string(),
    }
}

/// A value as `%v` prints it.
pub(super) fn go_value(item: &Item<'_>, numbers: Numbers) -> String {
    match item {
        Item::Data(value) => go_data(value, numbers),
        Item::Text(text) => text.clone(),
        Item::Int(number) => number.to_string(),
        Item::Float(number) => go_float(*number),
        Item::Bool(flag) => flag.to_string(),
        Item::Byte(byte) => byte.to_string(),
    }
}

fn go_data(value: &Value, numbers: Numbers) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) if numbers == Numbers::Typed && !number.is_f64() => number.to_string(),
        Value::Number(number) => go_float(number.as_f64().unwrap_or_default()),
        Value::Array(list) => {
            let parts: Vec<String> = list.iter().map(|value| go_data(value, numbers)).collect();
            format!("[{}]", parts.join(" "))
        }
        Value::Object(map) => {
            let parts: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", go_data(value, numbers)))
                .collect();
            format!("map[{}]", parts.join(" "))
        }
    }
}

/// The shortest form of a floating number, with an exponent from ten to the sixth up.
fn go_float(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return format!("{number}");
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{number}")
}

/// The Go type of a value in decoded data.
pub(super) fn go_type(item: &Item<'_>, numbers: Numbers) -> &'static str {
    match item {
        Item::Text(_) | Item::Data(Value::String(_)) => "string",
        Item::Bool(_) | Item::Data(Value::Bool(_)) => "bool",
        Item::Int(_) => "int",
        Item::Float(_) => "float64",
        Item::Byte(_) => "uint8",
        Item::Data(Value::Number(number)) if numbers == Numbers::Typed && !number.is_f64() => "int64",
        Item::Data(Value::Number(_)) => "float64",
        Item::Data(Value::Array(_)) => "[]interface {}",
        Item::Data(Value::Object(_)) => "map[string]interface {}",
        Item::Data(Value::Null) => "<nil>",
    }
}
