//! JSON values to text, as sigs.k8s.io/yaml prints them: what kustomize writes in the end, Helm's
//! `toYaml`, and `-o yaml`.
//!
//! It is yaml.v2's encoder: keys in natural order, strings in double quotes where YAML 1.1 would
//! read something else, long plain texts folded behind column 80.

mod tree;

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::Place;
use super::scalar::Shape;
use super::writer::{Dialect, Writer};
use crate::error::Error;
use crate::json::yaml_to_json;
use crate::node::{Node, ScalarStyle};
use crate::number;
use crate::resolve::{Mode, Resolved, is_base_60, resolve_plain};

/// A value as `sigs.k8s.io/yaml.Marshal` prints it. Whole floats are numbers without exponent, as
/// Go's JSON encoder makes them on the way.
#[must_use]
pub fn json_to_yaml(value: &Value) -> String {
    write(value, true)
}

/// As [`json_to_yaml`], with its failure.
///
/// # Errors
/// A text holds a control character that JSON does not escape: the JSON is read as YAML, which may not hold it.
pub fn checked_json_to_yaml(value: &Value) -> Result<String, Error> {
    let written = write_source(value, true).expect("a JSON value holds nothing but JSON");
    if written.unreadable {
        return Err(Error::new(
            crate::node::Pos::NONE,
            "control characters are not allowed",
        ));
    }
    Ok(written.text)
}

/// A JSON text as `sigs.k8s.io/yaml.JSONToYAML` prints it: floats keep being floats. As there, the
/// text is read as YAML, be it JSON or not.
///
/// # Errors
/// The text is no YAML.
pub fn json_text_to_yaml(text: &str) -> Result<String, Error> {
    let read = yaml_to_json(text, false)?;
    // JSON tells more of numbers than what YAML makes of it.
    let value = serde_json::from_str(text).unwrap_or(read);
    Ok(write(&value, false))
}

/// A document as kustomize prints it in the end: by way of JSON, so that keys are sorted and aliases expanded.
///
/// # Errors
/// As [`Node::to_json`] in [`Mode::Kyaml`]; or a text holds a control character that JSON does not escape: the JSON is
/// read as YAML, which may not hold it.
pub fn node_to_yaml(node: &Node) -> Result<String, Error> {
    // Nearly all documents hold nothing that JSON would change but the order of keys.
    let written = match write_source(tree::Plain::new(node), true) {
        Some(written) => written,
        None => {
            let value = node.to_json(Mode::Kyaml)?;
            write_source(&value, true).expect("a JSON value holds nothing but JSON")
        }
    };
    if written.unreadable {
        return Err(Error::new(node.pos, "control characters are not allowed"));
    }
    Ok(written.text)
}

/// What was written.
struct Written {
    text: String,
    /// Whether it has a character that YAML takes only as an escape, and JSON does not escape.
    unreadable: bool,
}

fn write(value: &Value, whole_floats: bool) -> String {
    let written = write_source(value, whole_floats);
    written.expect("a JSON value holds nothing but JSON").text
}

fn write_source<'v>(source: impl Source<'v>, whole_floats: bool) -> Option<Written> {
    let mut writer = JsonWriter {
        w: Writer::new(Dialect::V2),
        whole_floats,
    };
    writer.value(source, Place::Root)?;
    if writer.w.column != 0 {
        writer.w.put_break();
    }
    Some(Written {
        text: writer.w.out,
        unreadable: writer.w.unreadable,
    })
}

/// What JSON can be read from.
trait Source<'v>: Copy {
    /// The elements of an array.
    type Items: Iterator<Item = Self>;

    /// What it is; nothing if only [`Node::to_json`] can say it.
    fn look(self) -> Option<Look<'v, Self>>;
}

/// A JSON value, one level deep.
enum Look<'v, S: Source<'v>> {
    Null,
    Bool(bool),
    Number(Number),
    Text(&'v str),
    Items(S::Items),
    /// Fields in code point order.
    Fields(Vec<(&'v str, S)>),
}

impl<'v> Source<'v> for &'v Value {
    type Items = std::slice::Iter<'v, Value>;

    fn look(self) -> Option<Look<'v, Self>> {
        Some(match self {
            Value::Null => Look::Null,
            Value::Bool(value) => Look::Bool(*value),
            Value::Number(number) => Look::Number(number.clone()),
            Value::String(text) => Look::Text(text),
            Value::Array(items) => Look::Items(items.iter()),
            Value::Object(fields) => {
                Look::Fields(fields.iter().map(|(key, value)| (key.as_str(), value)).collect())
            }
        })
    }
}

struct JsonWriter {
    w: Writer,
    whole_floats: bool,
}

impl JsonWriter {
    /// Writes a value; nothing if the source could not say what some part of it is.
    fn value<'v, S: Source<'v>>(&mut self, source: S, place: Place) -> Option<()> {
        match source.look()? {
            Look::Null => self.plain("null", place),
            Look::Bool(true) => self.plain("true", place),
            Look::Bool(false) => self.plain("false", place),
            Look::Number(number) => {
                let text = self.number(&number);
                self.plain(&text, place);
            }
            Look::Text(text) => self.string(text, place),
            Look::Items(items) => return self.sequence(items, place),
            Look::Fields(fields) if fields.is_empty() => self.empty("{", "}"),
            Look::Fields(fields) => return self.mapping(fields, place),
        }
        Some(())
    }

    fn plain(&mut self, text: &str, place: Place) {
        self.w.scalar(text, ScalarStyle::Plain, place);
    }

    fn string(&mut self, text: &str, place: Place) {
        // Go's JSON does not escape a next line character, which YAML then takes for a line break. A key has no second line.
        if self.whole_floats && !text.is_ascii() && text.contains(NEXT_LINE) {
            self.w.unreadable |= place == Place::SimpleKey;
            let text = fold_next_lines(text);
            self.w.scalar(&text, string_style(&text), place);
            return;
        }
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

    fn sequence<'v, S: Source<'v>>(&mut self, items: impl Iterator<Item = S>, place: Place) -> Option<()> {
        let mut items = items.peekable();
        if items.peek().is_none() {
            self.empty("[", "]");
            return Some(());
        }
        let compact = place == Place::Mapping && !self.w.indention;
        let outer = self.w.increase_indent(place, false, compact);
        for item in items {
            self.w.write_indent();
            self.w.write_indicator("-", true, false, true);
            self.value(item, Place::Item)?;
        }
        self.w.indent = outer;
        Some(())
    }

    fn mapping<'v, S: Source<'v>>(&mut self, mut fields: Vec<(&'v str, S)>, place: Place) -> Option<()> {
        let outer = self.w.increase_indent(place, false, false);
        sort_keys(&mut fields);
        for (key, value) in fields {
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
            self.value(value, Place::Mapping)?;
        }
        self.w.indent = outer;
        Some(())
    }
}

const NEXT_LINE: char = '\u{85}';

/// A text in double quotes as YAML reads it: one line break is a blank, further ones are line feeds, blanks around are lost.
fn fold_next_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.split(NEXT_LINE).peekable();
    let mut first = true;
    let mut breaks = 0;
    while let Some(line) = lines.next() {
        let mut line = line;
        if !first {
            line = line.trim_start_matches(' ');
        }
        let last = lines.peek().is_none();
        if !last {
            line = line.trim_end_matches(' ');
        }
        if !first && (last || !line.is_empty()) {
            match breaks {
                1 => out.push(' '),
                more => out.extend(std::iter::repeat_n('\n', more - 1)),
            }
            breaks = 0;
        }
        out.push_str(line);
        breaks += 1;
        first = false;
    }
    out
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
fn sort_keys<S: Copy>(keys: &mut [(&str, S)]) {
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
    fn next_lines_are_folded_as_line_breaks_of_quoted_texts() {
        for (text, want) in [
            ("x\u{85}y", "x y"),
            ("x \u{85}  y ", "x y "),
            ("\u{85}", " "),
            ("x\u{85}", "x "),
            ("x\u{85}\u{85} \u{85}y", "x\n\ny"),
            (" x\u{85}y", " x y"),
        ] {
            assert_eq!(fold_next_lines(text), want, "{text:?}");
        }
        assert_eq!(json_to_yaml(&serde_json::json!({"a": "x\u{85}y"})), "a: x y\n");
        assert_eq!(
            json_text_to_yaml(r#"{"a": "x\u0085y"}"#).unwrap(),
            "a: \"x\\Ny\"\n"
        );
    }

    #[test]
    fn half_characters_are_no_yaml() {
        assert!(json_text_to_yaml(r#""\ud83d\ude00""#).is_err());
        assert_eq!(json_text_to_yaml(r#""\u263a""#).unwrap(), "☺\n");
    }

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
