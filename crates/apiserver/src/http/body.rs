//! Bodies: bytes to values, with what strict decoding complains about.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::status::{Failure, Outcome};

use super::negotiate::BodyFormat;

mod places;

pub use places::Places;

/// Paths of fields that are longer are not looked into: nobody reads them.
const LONGEST_PATH: usize = 4096;

/// A decoded body.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The value.
    pub value: Value,
    /// Paths of fields that were there twice.
    pub duplicates: Vec<String>,
}

/// Where a value is, spelled only where somebody asks.
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Field(Path::Root, key) => formatter.write_str(key),
            Path::Field(parent, key) => write!(formatter, "{parent}.{key}"),
            Path::Item(parent, index) => write!(formatter, "{parent}[{index}]"),
        }
    }
}

struct Reader<'a> {
    path: &'a Path<'a>,
    duplicates: &'a mut Vec<String>,
    /// A field that is there twice is read into what it held already.
    merges: bool,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = Path::Item(self.path, list.len());
            let reader = Reader {
                path: &path,
                duplicates: &mut *self.duplicates,
                merges: self.merges,
            };
            match access.next_element_seed(reader)? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let path = Path::Field(self.path, &key);
            let value = access.next_value_seed(Reader {
                path: &path,
                duplicates: &mut *self.duplicates,
                merges: self.merges,
            })?;
            let Some(before) = map.get_mut(&key) else {
                map.insert(key, value);
                continue;
            };
            let path = path.to_string();
            if !self.duplicates.contains(&path) {
                self.duplicates.push(path);
            }
            let before = std::mem::take(before);
            let value = if self.merges { joined(before, value) } else { value };
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// What a typed field holds that is there twice: maps keep what only the first one had.
fn joined(before: Value, value: Value) -> Value {
    match (before, value) {
        (Value::Object(mut before), Value::Object(value)) => {
            for (key, item) in value {
                let item = match before.remove(&key) {
                    Some(own) => joined(own, item),
                    None => item,
                };
                before.insert(key, item);
            }
            Value::Object(before)
        }
        (_, value) => value,
    }
}

/// Reads JSON text; what is no Unicode is replaced, as Go does.
///
/// # Errors
/// The text of a syntax error, as Go words it where that is known.
pub fn json(bytes: &[u8]) -> Result<Decoded, String> {
    json_of(bytes, false)
}

fn json_of(bytes: &[u8], merges: bool) -> Result<Decoded, String> {
    let text = String::from_utf8_lossy(bytes);
    match read_json(&text, merges) {
        Err(error) if error.to_string().contains("surrogate") || error.to_string().contains("hex escape") => {
            read_json(&replace_surrogates(&text), merges).map_err(|error| syntax_error(&text, &error))
        }
        other => other.map_err(|error| syntax_error(&text, &error)),
    }
}

fn read_json(text: &str, merges: bool) -> Result<Decoded, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut duplicates = Vec::new();
    let value = Reader {
        path: &Path::Root,
        duplicates: &mut duplicates,
        merges,
    }
    .deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(Decoded { value, duplicates })
}

/// Replaces escapes of lone surrogates by the replacement character.
fn replace_surrogates(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\u") {
        let unit = |text: &str| text.get(2..6).and_then(|hex| u16::from_str_radix(hex, 16).ok());
        out.push_str(&rest[..at]);
        let here = &rest[at..];
        let second = here
            .get(6..)
            .filter(|next| next.starts_with("\\u"))
            .and_then(unit);
        let (take, shown) = match (unit(here), second) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, None),
            (Some(0xd800..=0xdfff), _) => (6, Some("\\ufffd")),
            _ => (2, None),
        };
        out.push_str(shown.unwrap_or(&here[..take]));
        rest = &here[take..];
    }
    out + rest
}

/// A syntax error in Go's words.
fn syntax_error(text: &str, error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    if error.classify() == Category::Eof {
        return "unexpected end of JSON input".to_owned();
    }
    let message = error.to_string();
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or("");
    let column = error.column().saturating_sub(1).min(line.len());
    let at = (0..=column)
        .rev()
        .find(|at| line.is_char_boundary(*at))
        .unwrap_or(0);
    let character = line[at..].chars().next().unwrap_or(' ');
    let place = if message.starts_with("recursion limit") {
        return format!("invalid character '{character}' exceeded max depth");
    } else if message.starts_with("trailing characters") {
        "after top-level value"
    } else if message.starts_with("key must be a string") {
        "looking for beginning of object key string"
    } else if message.starts_with("expected `,` or `}`") {
        "after object key:value pair"
    } else if message.starts_with("expected `,` or `]`") {
        "after array element"
    } else if message.starts_with("expected `:`") {
        "after object key"
    } else if message.starts_with("control character") {
        "in string literal"
    } else {
        "looking for beginning of value"
    };
    format!("invalid character '{character}' {place}")
}

/// Reads a body in its format; `typed` if its kind is one that Go has a type for.
///
/// # Errors
/// The text of the error.
pub fn read(bytes: &[u8], format: BodyFormat, typed: bool) -> Result<Decoded, String> {
    match format {
        BodyFormat::Json => json_of(bytes, typed),
        BodyFormat::Yaml => yaml(bytes),
        BodyFormat::Protobuf => Err(
            "provided data does not appear to be a protobuf message, expected prefix \
                                     [107 56 115 0]"
                .to_owned(),
        ),
    }
}

/// Reads YAML text of one document.
///
/// # Errors
/// The text of the error.
pub fn yaml(bytes: &[u8]) -> Result<Decoded, String> {
    let text = String::from_utf8_lossy(bytes);
    let first = text.trim_start();
    if first.starts_with('{')
        && let Ok(decoded) = read_json(&text, false)
    {
        return Ok(decoded);
    }
    match fluvial_yaml::yaml_to_json(&text, false) {
        Ok(value) => Ok(Decoded {
            value,
            duplicates: yaml_duplicates(&text),
        }),
        Err(error) => Err(format!("yaml: {}", yaml_error(&error.to_string()))),
    }
}

/// An error of the parser as Go's tools word it: without columns, lines counted from zero, and without what it was in.
fn yaml_error(text: &str) -> String {
    let Some((place, message)) = text.split_once(": ") else {
        return text.to_owned();
    };
    let number = place
        .strip_prefix("line ")
        .and_then(|rest| rest.split(',').next())
        .and_then(|number| number.parse::<usize>().ok());
    let Some(number) = number else {
        return text.to_owned();
    };
    let message = message.split(" in the ").next().unwrap_or(message);
    // What to do about it is said to people only.
    let message = message.split(": quote the value").next().unwrap_or(message);
    let scanned = !message.starts_with("did not find expected");
    if scanned && (number > 1 || !message.starts_with("mapping values")) {
        return format!("line {number}: {message}");
    }
    match number.saturating_sub(1) {
        0 => message.to_owned(),
        line => format!("line {line}: {message}"),
    }
}

/// Names of the fields that strict reading refuses because they are there twice.
fn yaml_duplicates(text: &str) -> Vec<String> {
    match fluvial_yaml::yaml_to_json(text, true) {
        Ok(_) => vec![],
        // Places have no columns there.
        Err(error) => vec![
            match (error.to_string().split_once(", column "), error.to_string()) {
                (Some((line, rest)), _) => {
                    format!("{line}{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
                }
                (None, whole) => whole,
            },
        ],
    }
}

/// Splits an apiVersion.
///
/// # Errors
/// It has more than one slash.
pub fn group_version(text: &str) -> Outcome<(&str, &str)> {
    match text.matches('/').count() {
        0 => Ok(("", text)),
        1 => Ok(text.split_once('/').unwrap_or(("", text))),
        _ => Err(Failure::bad_request(format!(
            "unexpected GroupVersion string: {text}"
        ))),
    }
}

/// The beginning of a body, as messages quote it.
#[must_use]
pub fn excerpt(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "<empty>".to_owned();
    }
    // Short texts that are no object are shown as hexadecimal numbers.
    if bytes[0] != b'{' && bytes.len() < 30 {
        return bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    }
    let text = String::from_utf8_lossy(bytes);
    if text.len() <= 30 {
        return text.into_owned();
    }
    let end = (0..=30).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{} ...", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_fields_are_named_with_their_paths() {
        let decoded = json(br#"{"a":{"b":1,"b":2},"c":[{"d":1,"d":1}],"a2":1}"#).unwrap();
        assert_eq!(decoded.duplicates, ["a.b", "c[0].d"]);
        assert_eq!(decoded.value["a"]["b"], 2);
    }

    #[test]
    fn syntax_errors_have_gos_words() {
        assert_eq!(json(b"{").unwrap_err(), "unexpected end of JSON input");
        assert_eq!(
            json(b"{bad").unwrap_err(),
            "invalid character 'b' looking for beginning of object key string"
        );
        assert_eq!(
            json(b"{} trailing").unwrap_err(),
            "invalid character 't' after top-level value"
        );
    }

    #[test]
    fn lone_surrogates_become_replacement_characters() {
        assert_eq!(json(br#""\ud800""#).unwrap().value, "\u{fffd}");
        assert_eq!(
            json(br#""\ud83d\ude00 \ud800x""#).unwrap().value,
            "\u{1f600} \u{fffd}x"
        );
    }
}
