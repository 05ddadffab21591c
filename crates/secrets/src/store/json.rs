//! A JSON object whose fields keep their order.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use super::{Loaded, NO_METADATA};
use crate::metadata::FIELD;
use crate::value::{Item, Value};

/// A value with its fields in order. serde_json bounds how deep it nests.
struct Ordered(Value);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OrderedVisitor).map(Ordered)
    }
}

struct OrderedVisitor;

impl<'de> Visitor<'de> for OrderedVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "readers of JSON know such numbers as floats"
    )]
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Ordered(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some((key, Ordered(value))) = access.next_entry::<String, Ordered>()? {
            items.push(Item::Entry { key, value });
        }
        Ok(Value::Branch(items))
    }
}

pub(super) fn load(data: &[u8]) -> Result<Loaded, String> {
    let malformed = |error: serde_json::Error| format!("Could not unmarshal input data: {error}");
    let Ordered(root) = serde_json::from_slice(data).map_err(malformed)?;
    let Value::Branch(mut branch) = root else {
        return Err(malformed(serde_json::Error::custom("an object is expected")));
    };
    let at = branch
        .iter()
        .position(|item| matches!(item, Item::Entry { key, .. } if key == FIELD))
        .ok_or(NO_METADATA)?;
    let Item::Entry { value, .. } = branch.remove(at) else {
        return Err(NO_METADATA.to_owned());
    };
    let mut metadata = Vec::new();
    write(&value, 0, false, &mut metadata)?;
    let metadata: Json = serde_json::from_slice(&metadata).map_err(malformed)?;
    if metadata.is_null() {
        return Err(NO_METADATA.to_owned());
    }
    Ok(Loaded {
        branches: vec![branch],
        metadata,
    })
}

pub(super) fn emit(branches: &[Vec<Item>]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let none = Vec::new();
    branch(branches.first().unwrap_or(&none), 0, true, &mut out)?;
    out.push(b'\n');
    Ok(out)
}

fn line(depth: usize, pretty: bool, out: &mut Vec<u8>) {
    if pretty {
        out.push(b'\n');
        out.resize(out.len() + depth, b'\t');
    }
}

fn branch(items: &[Item], depth: usize, pretty: bool, out: &mut Vec<u8>) -> Result<(), String> {
    out.push(b'{');
    let mut first = true;
    for item in items {
        // JSON has no comments.
        let Item::Entry { key, value } = item else {
            continue;
        };
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        line(depth + 1, pretty, out);
        string(key.as_bytes(), out);
        out.extend_from_slice(if pretty { b": " } else { b":" });
        write(value, depth + 1, pretty, out)?;
    }
    if !first {
        line(depth, pretty, out);
    }
    out.push(b'}');
    Ok(())
}

fn write(value: &Value, depth: usize, pretty: bool, out: &mut Vec<u8>) -> Result<(), String> {
    match value {
        Value::Null | Value::Comment(_) => out.extend_from_slice(b"null"),
        Value::Bool(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Float(number) => out.extend_from_slice(float(*number)?.as_bytes()),
        Value::Text(text) => string(text, out),
        Value::Time(time) => string(time.as_bytes(), out),
        Value::Branch(items) => branch(items, depth, pretty, out)?,
        Value::List(items) => {
            out.push(b'[');
            let mut first = true;
            for item in items.iter().filter(|item| !matches!(item, Value::Comment(_))) {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                line(depth + 1, pretty, out);
                write(item, depth + 1, pretty, out)?;
            }
            if !first {
                line(depth, pretty, out);
            }
            out.push(b']');
        }
    }
    Ok(())
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    let quoted = Json::String(String::from_utf8_lossy(text).into_owned()).to_string();
    // Line ends of JavaScript are written out.
    let quoted = quoted
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029");
    out.extend_from_slice(quoted.as_bytes());
}

/// A number as Go writes it.
fn float(number: f64) -> Result<String, String> {
    if !number.is_finite() {
        return Err(format!("json: unsupported value: {number}"));
    }
    let size = number.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return Ok(number.to_string());
    }
    let text = format!("{number:e}");
    Ok(if size < 1.0 { text } else { text.replace('e', "e+") })
}
