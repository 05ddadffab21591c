//! Printing what was found: containers as JSON, scalars as Go prints them.

use serde_json::{Number, Value};

use super::Numbers;
use super::eval::Item;
use crate::go;

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
        Item::Data(value) => go::plain_with(value, numbers),
        Item::Text(text) => text.clone(),
        Item::Int(number) => number.to_string(),
        Item::Float(number) => go::float(*number),
        Item::Bool(flag) => flag.to_string(),
        Item::Byte(byte) => byte.to_string(),
    }
}

/// The Go type of a value in decoded data.
pub(super) fn go_type(item: &Item<'_>, numbers: Numbers) -> &'static str {
    match item {
        Item::Text(_) => "string",
        Item::Bool(_) => "bool",
        Item::Int(_) => "int",
        Item::Float(_) => "float64",
        Item::Byte(_) => "uint8",
        Item::Data(Value::Number(_)) if numbers != Numbers::Typed => "float64",
        Item::Data(value) => go::type_name(value),
    }
}
