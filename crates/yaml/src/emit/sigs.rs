//! JSON values to text, as sigs.k8s.io/yaml prints them: what kustomize writes in the end, Helm's
//! `toYaml`, and `-o yaml`.
//!
//! It is yaml.v2's encoder: keys in natural order, strings in double quotes where YAML 1.1 would
//! read something else, long plain texts folded behind column 80.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::Place;
use super::scalar::Shape;
use super::writer::{Dialect, Writer};
use crate::error::Error;
use crate::json::yaml_to_json;
use crate::node::ScalarStyle;
use crate::number;
use crate::resolve::{Mode, Resolved, is_base_60, resolve_plain};

/// A value as `sigs.k8s.io/yaml.Marshal` prints it. Whole floats are numbers without exponent, as
/// Go's JSON encoder makes them on the way.
#[must_use]
pub fn json_to_yaml(value: &Value) -> String {
    write(value, true)
}

/// A JSON text as `sigs.k8s.io/yaml.JSONToYAML` prints it: floats keep being floats. As there, a
/// text that is no JSON is read as YAML.
///
/// # Errors
/// The text is neither JSON nor YAML.
pub fn json_text_to_yaml(text: &str) -> Result<String, Error> {
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(_) => yaml_to_json(text, false)?,
    };
    Ok(write(&value, false))
}

fn write(value: &Value, whole_floats: bool) -> String {
    let mut writer = JsonWriter {
        w: Writer::new(Dialect::V2),
        whole_floats,
    };
    writer.value(value, Place::Root);
    if writer.w.column != 0 {
        writer.w.put_break();
    }
    writer.w.out
}

struct JsonWriter {
    w: Writer,
    whole_floats: bool,
}

impl JsonWriter {
    fn value(&mut self, value: &Value, place: Place) {
        match value {
            Value::Null => self.plain("null", place),
            Value::Bool(true) => self.plain("true", place),
            Value::Bool(false) => self.plain("false", place),
            Value::Number(number) => {
                let text = self.number(number);
                self.plain(&text, place);
            }
            Value::String(text) => self.string(text, place),
            Value::Array(items) if items.is_empty() => self.empty("[", "]"),
            Value::Array(items) => self.sequence(items, place),
            Value::Object(fields) if fields.is_empty() => self.empty("{", "}"),
            Value::Object(fields) => self.mapping(fields, place),
        }
    }

    fn plain(&mut self, text: &str, place: Place) {
        self.w.scalar(text, ScalarStyle::Plain, place);
    }

    fn string(&mut self, text: &str, place: Place) {
        self.w.scalar(text, string_style(text), place);
    }

    fn empty(&mut self, open: &str, close: &str) {
        self.w.write_indicator(open, true, true, false);
        self.w.write_indicator(close, false, false, false);
    }

    fn number(&self, number: &Number) -> String {
        let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
            return number.to_string();
        };
        if self.whole_floats {
            // Through Go's JSON, where a whole number has no fraction, and back.
            let text = number::format_json(float);
            return match resolve_plain(&text, Mode::Json, false) {
                Resolved::Number(number::Number::Float(value)) => number::format_general(value),
                Resolved::Number(number::Number::Int(value)) => value.to_string(),
                _ => text,
            };
        }
        number::format_general(float)
    }

    fn sequence(&mut self, items: &[Value], place: Place) {
        let compact = place == Place::Mapping && !self.w.indention;
        let outer = self.w.increase_indent(place, false, compact);
        for item in items {
            self.w.write_indent();
            self.w.write_indicator("-", true, false, true);
            self.value(item, Place::Item);
        }
        self.w.indent = outer;
    }

    fn mapping(&mut self, fields: &Map<String, Value>, place: Place) {
        let outer = self.w.increase_indent(place, false, false);
        let mut keys: Vec<(&String, &Value)> = fields.iter().collect();
        sort_keys(&mut keys);
        for (key, value) in keys {
            self.w.write_indent();
            let simple = key.len() <= 128 && !Shape::of(key, Dialect::V2).multiline;
            if simple {
                self.string(key, Place::SimpleKey);
                self.w.write_indicator(":", false, false, false);
            } else {
                self.w.write_indicator("?", true, false, true);
                self.string(key, Place::Mapping);
                self.w.write_indent();
                self.w.write_indicator(":", true, false, true);
            }
            self.value(value, Place::Mapping);
        }
        self.w.indent = outer;
    }
}

/// The style that yaml.v2 asks for when it writes a string.
fn string_style(text: &str) -> ScalarStyle {
    if text.contains('\n') {
        ScalarStyle::Literal
    } else if matches!(
        resolve_plain(text, Mode::Json, true),
        Resolved::Str | Resolved::Merge
    ) && !is_base_60(text)
    {
        ScalarStyle::Plain
    } else {
        ScalarStyle::DoubleQuoted
    }
}

/// Sorts keys in natural order. The order is not transitive for keys such as `a2`, `a10`, `a1b`,
/// so that the library's sort, which demands a total order, is out; few keys are sorted by
/// insertion, as the reference does.
fn sort_keys(keys: &mut [(&String, &Value)]) {
    // Keys come in code point order, which mostly is the natural one.
    if keys
        .windows(2)
        .all(|pair| natural_order(pair[0].0, pair[1].0) == Ordering::Less)
    {
        return;
    }
    if keys.len() <= 12 {
        for i in 1..keys.len() {
            let mut at = i;
            while at > 0 && natural_order(keys[at].0, keys[at - 1].0) == Ordering::Less {
                keys.swap(at, at - 1);
                at -= 1;
            }
        }
        return;
    }
    let (left, right) = keys.split_at_mut(keys.len() / 2);
    sort_keys(left);
    sort_keys(right);
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut l, mut r) = (left.iter().copied().peekable(), right.iter().copied().peekable());
    while let (Some(first), Some(second)) = (l.peek(), r.peek()) {
        let take_second = natural_order(second.0, first.0) == Ordering::Less;
        merged.extend(if take_second { r.next() } else { l.next() });
    }
    merged.extend(l);
    merged.extend(r);
    keys.copy_from_slice(&merged);
}

/// yaml.v2's order of keys: at the first difference two letters compare by code point, a letter
/// comes after anything else, and numbers that start there compare by value, then by length.
pub(crate) fn natural_order(left: &str, right: &str) -> Ordering {
    let common = left
        .bytes()
        .zip(right.bytes())
        .take_while(|(l, r)| l == r)
        .count();
    let mut at = common;
    while !left.is_char_boundary(at) || !right.is_char_boundary(at) {
        at -= 1;
    }
    let (Some(l), Some(r)) = (left[at..].chars().next(), right[at..].chars().next()) else {
        return left.len().cmp(&right.len());
    };
    match (l.is_alphabetic(), r.is_alphabetic()) {
        (true, true) => return l.cmp(&r),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // Zeros at the difference count only after other digits: `10` and `1` against `0` and nothing.
    let mut start = 0;
    if l == '0' || r == '0' {
        let before = left[..at].bytes().rev().take_while(u8::is_ascii_digit);
        if before.into_iter().any(|digit| digit != b'0') {
            start = 1;
        }
    }
    let (left_number, left_digits) = number_at(&left[at..], start);
    let (right_number, right_digits) = number_at(&right[at..], start);
    left_number
        .cmp(&right_number)
        .then(left_digits.cmp(&right_digits))
        .then(l.cmp(&r))
}

fn number_at(text: &str, start: i64) -> (i64, usize) {
    let mut value = start;
    let mut count = 0;
    for byte in text.bytes().take_while(u8::is_ascii_digit) {
        value = value.wrapping_mul(10).wrapping_add(i64::from(byte - b'0'));
        count += 1;
    }
    (value, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_in_natural_order() {
        let text = json_to_yaml(&serde_json::json!({"a10": 1, "a2": 2, "a": 3, "B": 4, "1": 5, "a-b": 6}));
        assert_eq!(text, "\"1\": 5\nB: 4\na: 3\na-b: 6\na2: 2\na10: 1\n");
    }

    #[test]
    fn strings_that_yaml_1_1_reads_otherwise_are_quoted() {
        let text =
            json_to_yaml(&serde_json::json!({"y": ["yes", "1_0", "2020-01-01", "a: b", "", "x\ny\n"]}));
        assert_eq!(
            text,
            "\"y\":\n- \"yes\"\n- \"1_0\"\n- \"2020-01-01\"\n- 'a: b'\n- \"\"\n- |\n  x\n  y\n"
        );
    }

    #[test]
    fn floats_print_as_go_prints_them() {
        assert_eq!(json_to_yaml(&serde_json::json!(1e6)), "1000000\n");
        assert_eq!(json_to_yaml(&serde_json::json!(1e21)), "1e+21\n");
        assert_eq!(json_text_to_yaml("1000000.0").unwrap(), "1e+06\n");
        assert_eq!(json_text_to_yaml("0.00001").unwrap(), "1e-05\n");
    }
}
