//! Encodings and digests: base64, base32, JSON, SHA, Adler.

use std::fmt::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use crate::bytes::{from_bytes, to_bytes};
use crate::function::{Functions, Params, Type, text};
use crate::number::shortest;
use crate::value::Value;

use super::text_at;

pub(super) fn register(functions: &mut Functions) {
    let s1 = || Params::fixed(&[Type::Str]);
    let any = || Params::fixed(&[Type::Any]);
    functions.pure("b64enc", s1(), |v| text(STANDARD.encode(to_bytes(text_at(v, 0)))));
    functions.pure("b64dec", s1(), |v| {
        text(decode_base64(text_at(v, 0)).unwrap_or_else(|error| error))
    });
    functions.pure("b32enc", s1(), |v| text(encode_base32(&to_bytes(text_at(v, 0)))));
    functions.pure("b32dec", s1(), |v| {
        text(decode_base32(text_at(v, 0)).unwrap_or_else(|error| error))
    });
    functions.pure("sha1sum", s1(), |v| {
        text(hex(&Sha1::digest(to_bytes(text_at(v, 0)))))
    });
    functions.pure("sha256sum", s1(), |v| {
        text(hex(&Sha256::digest(to_bytes(text_at(v, 0)))))
    });
    functions.pure("sha512sum", s1(), |v| {
        text(hex(&Sha512::digest(to_bytes(text_at(v, 0)))))
    });
    functions.pure("adler32sum", s1(), |v| {
        text(adler32(&to_bytes(text_at(v, 0))).to_string())
    });
    functions.pure("toJson", any(), |v| {
        text(encode_json(&v[0], true, None).unwrap_or_default())
    });
    functions.pure("mustToJson", any(), |v| text(encode_json(&v[0], true, None)?));
    functions.pure("toPrettyJson", any(), |v| {
        text(encode_json(&v[0], true, Some(0)).unwrap_or_default())
    });
    functions.pure("mustToPrettyJson", any(), |v| {
        text(encode_json(&v[0], true, Some(0))?)
    });
    functions.pure("toRawJson", any(), |v| text(encode_json(&v[0], false, None)?));
    functions.alias("mustToRawJson", "toRawJson");
    functions.pure("fromJson", s1(), |v| {
        Ok(decode_json(text_at(v, 0)).unwrap_or(Value::NilInterface))
    });
    functions.pure("mustFromJson", s1(), |v| Ok(decode_json(text_at(v, 0))?));
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing into a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// Go's decoder skips line breaks and names the byte at which it gave up.
fn decode_base64(encoded: &str) -> Result<String, String> {
    decode_base64_bytes(encoded).map(|bytes| from_bytes(&bytes).into_owned())
}

/// The decoded bytes, or Go's failure.
pub(super) fn decode_base64_bytes(encoded: &str) -> Result<Vec<u8>, String> {
    let clean: String = encoded.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    STANDARD
        .decode(&clean)
        .map_err(|_| format!("illegal base64 data at input byte {}", base64_error(encoded)))
}

/// The offset that Go's decoder reports.
fn base64_error(encoded: &str) -> usize {
    let bytes = encoded.as_bytes();
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let mut in_quantum = 0;
    let mut index = 0;
    while index < bytes.len() {
        let byte = bytes[index];
        if matches!(byte, b'\r' | b'\n') {
            index += 1;
            continue;
        }
        if is_letter(byte) {
            in_quantum = (in_quantum + 1) % 4;
            index += 1;
            continue;
        }
        if byte == b'=' && in_quantum >= 2 {
            if in_quantum == 2 {
                let next = bytes[index + 1..]
                    .iter()
                    .position(|byte| !matches!(byte, b'\r' | b'\n'));
                match next.map(|at| index + 1 + at) {
                    None => return bytes.len(),
                    Some(at) if bytes[at] != b'=' => return at,
                    Some(at) => index = at,
                }
            }
            let rest = bytes[index + 1..]
                .iter()
                .position(|byte| !matches!(byte, b'\r' | b'\n'));
            return rest.map_or(bytes.len(), |at| index + 1 + at);
        }
        return index;
    }
    bytes.len() - in_quantum
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn encode_base32(data: &[u8]) -> String {
    let mut out = String::new();
    for chunk in data.chunks(5) {
        let mut buffer = [0u8; 8];
        buffer[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(buffer);
        let letters = (chunk.len() * 8).div_ceil(5);
        for index in 0..8 {
            if index < letters {
                let value = (bits >> (35 - 5 * index)) & 31;
                out.push(char::from(BASE32[usize::try_from(value).unwrap_or(0)]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

fn decode_base32(encoded: &str) -> Result<String, String> {
    let clean: Vec<u8> = encoded
        .bytes()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect();
    let letters = clean.iter().position(|byte| *byte == b'=').unwrap_or(clean.len());
    let fail = |at: usize| Err(format!("illegal base32 data at input byte {at}"));
    if !clean.len().is_multiple_of(8) {
        let bad = clean
            .iter()
            .position(|byte| !BASE32.contains(byte) && *byte != b'=');
        // What lacks padding is refused from the last group of eight on.
        let last = if letters == clean.len() {
            clean.len() / 8 * 8
        } else {
            clean.len()
        };
        return fail(bad.unwrap_or(last));
    }
    let padding = clean.len() - letters;
    if padding > 6 || matches!(padding, 2 | 5) || clean[letters..].iter().any(|byte| *byte != b'=') {
        return fail(letters);
    }
    let (mut bits, mut count, mut out) = (0u32, 0, Vec::new());
    for (index, byte) in clean[..letters].iter().enumerate() {
        let Some(value) = BASE32.iter().position(|letter| letter == byte) else {
            return fail(index);
        };
        bits = (bits << 5) | u32::try_from(value).unwrap_or(0);
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from((bits >> count) & 255).unwrap_or(0));
        }
    }
    Ok(from_bytes(&out).into_owned())
}

fn adler32(data: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in data {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    (b << 16) | a
}

/// Go's `encoding/json`, with or without HTML escapes, indented by two spaces if wanted.
///
/// # Errors
/// If the value holds what JSON cannot: infinity, or itself.
pub fn encode_json(value: &Value, escape: bool, indent: Option<usize>) -> Result<String, String> {
    let mut out = String::new();
    write_json(&mut out, value, escape, indent, 0)?;
    Ok(out)
}

fn write_json(
    out: &mut String,
    value: &Value,
    escape: bool,
    indent: Option<usize>,
    depth: usize,
) -> Result<(), String> {
    if depth > 1000 {
        return Err("json: unsupported value: encountered a cycle".to_owned());
    }
    let line = |out: &mut String, level: usize| {
        if indent.is_some() {
            out.push('\n');
            out.push_str(&"  ".repeat(level));
        }
    };
    match value {
        Value::Nil | Value::NilInterface => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Int(number, _) => {
            let _ = write!(out, "{number}");
        }
        Value::Uint(number, _) => {
            let _ = write!(out, "{number}");
        }
        Value::Float(number) => out.push_str(&json_float(*number)?),
        Value::Str(string) => write_json_text(out, string, escape),
        Value::List(list) if list.is_nil() => out.push_str("null"),
        Value::List(list) if list.element == crate::value::Element::Byte => {
            write_json_text(out, &STANDARD.encode(list.as_bytes().unwrap_or_default()), escape);
        }
        Value::List(list) if list.items().is_empty() => out.push_str("[]"),
        Value::List(list) => {
            for (index, item) in list.items().iter().enumerate() {
                out.push(if index == 0 { '[' } else { ',' });
                line(out, depth + 1);
                write_json(out, item, escape, indent, depth + 1)?;
            }
            line(out, depth);
            out.push(']');
        }
        Value::Map(map) if map.is_nil() => out.push_str("null"),
        Value::Map(map) if map.borrow().is_empty() => out.push_str("{}"),
        Value::Map(map) => {
            for (index, (key, item)) in map.borrow().iter().enumerate() {
                out.push(if index == 0 { '{' } else { ',' });
                line(out, depth + 1);
                write_json_text(out, key, escape);
                out.push_str(if indent.is_some() { ": " } else { ":" });
                write_json(out, item, escape, indent, depth + 1)?;
            }
            line(out, depth);
            out.push('}');
        }
        Value::Object(object) if let Some(fields) = object.json_fields() => {
            for (index, (name, item)) in fields.iter().enumerate() {
                out.push(if index == 0 { '{' } else { ',' });
                line(out, depth + 1);
                write_json_text(out, name, escape);
                out.push_str(if indent.is_some() { ": " } else { ":" });
                write_json(out, item, escape, indent, depth + 1)?;
            }
            line(out, depth);
            out.push('}');
        }
        Value::Object(object) => {
            let inner = object
                .as_map()
                .map_or_else(|| Value::from_json_with_ints(&object.to_json()), Value::Map);
            write_json(out, &inner, escape, indent, depth)?;
        }
    }
    Ok(())
}

/// Go's JSON floats: exponents below 1e-6 and from 1e21 on, without a leading zero in them.
fn json_float(number: f64) -> Result<String, String> {
    if !number.is_finite() {
        return Err(format!("json: unsupported value: {}", shortest(number)));
    }
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = crate::number::format_float(number, 'e', None);
        return Ok(text.replace("e-0", "e-"));
    }
    Ok(crate::number::format_float(number, 'f', None))
}

fn write_json_text(out: &mut String, string: &str, escape: bool) {
    out.push('"');
    for c in string.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' if escape => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c if crate::bytes::stands_for(c).is_some() => out.push_str("\\ufffd"),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn decode_json(source: &str) -> Result<Value, String> {
    let json: serde_json::Value = serde_json::from_str(source).map_err(|error| {
        super::go_json_error(source)
            .or_else(|| too_large(source))
            .unwrap_or_else(|| error.to_string())
    })?;
    Ok(Value::from_json(&json))
}

/// Go's error for the first number of a JSON text that no float can hold.
fn too_large(source: &str) -> Option<String> {
    let place = too_large_numbers(source).into_iter().next()?;
    Some(format!(
        "json: cannot unmarshal number {} into Go value of type float64",
        &source[place]
    ))
}

/// What Go's decoder makes of a JSON text whose only fault is that no float can hold some of its numbers: nothing in
/// their places, all else, and its error.
#[must_use]
pub fn json_with_overflow(source: &str) -> Option<(serde_json::Value, String)> {
    let error = too_large(source)?;
    let mut text = String::with_capacity(source.len());
    let mut end = 0;
    for place in too_large_numbers(source) {
        text.push_str(&source[end..place.start]);
        text.push_str("null");
        end = place.end;
    }
    text.push_str(&source[end..]);
    Some((serde_json::from_str(&text).ok()?, error))
}

/// Where a JSON text has numbers that no float can hold.
fn too_large_numbers(source: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = source[at..].find(|c: char| c.is_ascii_digit() || c == '"') {
        let start = at + start;
        if let Some(text) = source[start..].strip_prefix('"') {
            let mut escaped = false;
            let end = text.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            let Some(end) = end else { break };
            at = start + end + 2;
            continue;
        }
        let start = start - usize::from(source[at..start].ends_with('-'));
        let rest = &source[start..];
        let length = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)))
            .unwrap_or(rest.len());
        at = start + length;
        if source[start..at].parse::<f64>().is_ok_and(f64::is_infinite) {
            found.push(start..at);
        }
    }
    found
}

/// For tests of callers: JSON of a value as `toJson` gives it.
#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: &serde_json::Value) -> String {
        let result = text(encode_json(&Value::from_json(value), true, None).unwrap());
        result.unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn json_is_gos() {
        assert_eq!(
            json(&serde_json::json!({"b": [1, 2.5, 1e21], "a": "<&>"})),
            r#"{"a":"\u003c\u0026\u003e","b":[1,2.5,1e+21]}"#
        );
        assert_eq!(
            decode_json(r#"{"a\"1e999": [1, -1e999]}"#).unwrap_err(),
            "json: cannot unmarshal number -1e999 into Go value of type float64"
        );
        assert_eq!(
            json_with_overflow(r#"{"a": 1e999, "b": [-1e999, 2, "1e999"]}"#).unwrap(),
            (
                serde_json::json!({"a": null, "b": [null, 2, "1e999"]}),
                "json: cannot unmarshal number 1e999 into Go value of type float64".to_owned()
            )
        );
        assert_eq!(json_float(1e-7).unwrap(), "1e-7");
        assert_eq!(json_float(1_000_000.0).unwrap(), "1000000");
    }

    #[test]
    fn base32_goes_both_ways() {
        for text in ["", "f", "fo", "foo", "foob", "fooba", "foobar"] {
            assert_eq!(decode_base32(&encode_base32(text.as_bytes())).unwrap(), text);
        }
        let error = |text| decode_base32(text).unwrap_err();
        assert_eq!(error("42"), "illegal base32 data at input byte 0");
        assert_eq!(error("MFRGGZDFMY"), "illegal base32 data at input byte 8");
    }
}
