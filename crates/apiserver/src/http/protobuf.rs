//! Protobuf bodies, which Go clients send for built-in kinds: turned into JSON before anything else.
//!
//! The wire format names fields by number. A table tells the fields of each message; what a field
//! holds is told by the kind's schema, since both are made from the same types. Answers are JSON:
//! these clients take either.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use base64::Engine as _;
use fluvial_schema::{Base, SchemaSet, Type};
use serde_json::{Map, Value, json};

/// Messages with their fields in order: `=N` where a number does not follow the one before, and
/// `>MESSAGE` where JSON has the message's fields in place of the field.
const TABLE: &str = include_str!("../../data/protobuf.txt");
/// What such bodies begin with.
pub const MAGIC: &[u8] = b"k8s\0";
/// Deepest nesting.
const DEPTH: usize = 128;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

#[derive(Clone, Copy)]
struct Field {
    number: u32,
    name: &'static str,
    inline: Option<&'static str>,
}

type Messages = BTreeMap<&'static str, Vec<Field>>;

fn messages() -> &'static Messages {
    static MESSAGES: OnceLock<Messages> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let lines = TABLE.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(name, fields)| (name, read_fields(fields))).collect()
    })
}

fn read_fields(text: &'static str) -> Vec<Field> {
    let mut number = 0;
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| {
            let (word, given) = match word.split_once('=') {
                Some((word, given)) => (word, given.parse().ok()),
                None => (word, None),
            };
            number = given.unwrap_or(number + 1);
            let (name, inline) = match word.split_once('>') {
                Some((name, inline)) => (name, Some(inline)),
                None => (word, None),
            };
            Field { number, name, inline }
        })
        .collect()
}

fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

fn put_bytes(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(field << 3 | 2);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// A Status as clients get it that take nothing but protobuf: what is said when they cannot be served.
#[must_use]
pub fn status(code: u16, reason: &str, message: &str) -> Vec<u8> {
    let mut status = vec![];
    // The metadata of lists: three empty texts.
    put_bytes(1, &[0x0a, 0, 0x12, 0, 0x1a, 0], &mut status);
    put_bytes(2, b"Failure", &mut status);
    put_bytes(3, message.as_bytes(), &mut status);
    put_bytes(4, reason.as_bytes(), &mut status);
    status.push(6 << 3);
    put_varint(u64::from(code), &mut status);
    let mut types = vec![];
    put_bytes(1, b"v1", &mut types);
    put_bytes(2, b"Status", &mut types);
    let mut out = MAGIC.to_vec();
    put_bytes(1, &types, &mut out);
    put_bytes(2, &status, &mut out);
    put_bytes(3, b"", &mut out);
    put_bytes(4, b"", &mut out);
    out
}

/// The table's name of a schema definition.
fn short(definition: &str) -> String {
    definition
        .replace("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", "crd")
        .replace("io.k8s.apimachinery.pkg.apis.meta.v1", "meta")
        .replace("io.k8s.api.", "")
}

/// A field's value on the wire.
#[derive(Clone, Copy, Debug)]
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

type Decoded<T> = Result<T, String>;

fn cut_off() -> String {
    "unexpected EOF".to_owned()
}

fn varint(data: &mut &[u8]) -> Decoded<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = data.split_first().ok_or_else(cut_off)?;
        *data = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("proto: integer overflow".to_owned())
}

fn take<'a>(data: &mut &'a [u8], count: u64) -> Decoded<&'a [u8]> {
    let count = usize::try_from(count).map_err(|_| cut_off())?;
    let (taken, rest) = data.split_at_checked(count).ok_or_else(cut_off)?;
    *data = rest;
    Ok(taken)
}

/// The next field: its number and value.
fn next<'a>(data: &mut &'a [u8]) -> Decoded<(u32, Wire<'a>)> {
    let tag = varint(data)?;
    let number = u32::try_from(tag >> 3).map_err(|_| "proto: illegal tag".to_owned())?;
    let fixed = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let wire = match tag & 7 {
        0 => Wire::Number(varint(data)?),
        1 => Wire::Number(fixed(take(data, 8)?)),
        2 => {
            let length = varint(data)?;
            Wire::Bytes(take(data, length)?)
        }
        5 => Wire::Number(fixed(take(data, 4)?)),
        other => return Err(format!("proto: illegal wireType {other}")),
    };
    Ok((number, wire))
}

/// All fields of a message.
fn fields(mut data: &[u8]) -> Decoded<Vec<(u32, Wire<'_>)>> {
    let mut all = vec![];
    while !data.is_empty() {
        all.push(next(&mut data)?);
    }
    Ok(all)
}

fn bytes_of<'a>(fields: &[(u32, Wire<'a>)], number: u32) -> Option<&'a [u8]> {
    fields.iter().rev().find_map(|(own, wire)| match wire {
        Wire::Bytes(bytes) if *own == number => Some(*bytes),
        _ => None,
    })
}

fn number_of(fields: &[(u32, Wire<'_>)], number: u32) -> i64 {
    let found = fields.iter().rev().find_map(|(own, wire)| match wire {
        Wire::Number(value) if *own == number => Some(*value),
        _ => None,
    });
    found.unwrap_or(0).cast_signed()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Embedded JSON.
fn raw(bytes: Option<&[u8]>) -> Decoded<Value> {
    match bytes.filter(|bytes| !bytes.is_empty()) {
        Some(bytes) => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        None => Ok(Value::Null),
    }
}

fn time(data: &[u8], micro: bool) -> Decoded<Value> {
    let all = fields(data)?;
    let (seconds, nanos) = (number_of(&all, 1), number_of(&all, 2));
    if seconds == 0 && nanos == 0 {
        return Ok(Value::Null);
    }
    let nanos = i32::try_from(nanos).unwrap_or(0);
    let at = jiff::Timestamp::new(seconds, nanos).map_err(|error| error.to_string())?;
    Ok(if micro {
        at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string().into()
    } else {
        crate::api::rfc3339(at).into()
    })
}

struct Reader<'a> {
    schemas: &'a SchemaSet,
}

impl Reader<'_> {
    /// Reads a message into the fields of a type.
    fn message(
        &self,
        name: &str,
        data: &[u8],
        of: Type<'_>,
        out: &mut Map<String, Value>,
        depth: usize,
    ) -> Decoded<()> {
        if depth == 0 {
            return Err("exceeded max depth".to_owned());
        }
        let Some(known) = messages().get(name) else {
            return Err(format!("no message {name} is known"));
        };
        let mut rest = data;
        while !rest.is_empty() {
            let (number, wire) = next(&mut rest)?;
            // What is not known is of a newer version and passed over, as by any reader.
            let Some(field) = known.iter().find(|field| field.number == number) else {
                continue;
            };
            if let (Some(inline), Wire::Bytes(bytes)) = (field.inline, wire) {
                self.message(inline, bytes, of, out, depth - 1)?;
                continue;
            }
            let Some(kind) = of.own_field(field.name) else {
                continue;
            };
            self.field(field.name, wire, kind, out, depth)?;
        }
        Ok(())
    }

    fn field(
        &self,
        name: &str,
        wire: Wire<'_>,
        of: Type<'_>,
        out: &mut Map<String, Value>,
        depth: usize,
    ) -> Decoded<()> {
        let resolved = of.resolve();
        if resolved.base() == Base::Array
            && special(resolved).is_none()
            && let Some(items) = resolved.items()
        {
            let value = self.value(wire, items, depth - 1)?;
            if let Value::Array(list) = out.entry(name).or_insert_with(|| json!([])) {
                list.push(value);
            }
            return Ok(());
        }
        if resolved.base() == Base::Object
            && !resolved.has_fields()
            && special(resolved).is_none()
            && let (Some(values), Wire::Bytes(bytes)) = (resolved.additional(), wire)
        {
            let entry = fields(bytes)?;
            let key = bytes_of(&entry, 1).map(text).unwrap_or_default();
            let item = entry.iter().rev().find(|(number, _)| *number == 2);
            let item = item.map_or(Wire::Bytes(&[]), |(_, wire)| *wire);
            let value = self.value(item, values, depth - 1)?;
            if let Value::Object(map) = out.entry(name).or_insert_with(|| json!({})) {
                map.insert(key, value);
            }
            return Ok(());
        }
        let value = self.value(wire, of, depth - 1)?;
        if !value.is_null() {
            out.insert(name.to_owned(), value);
        }
        Ok(())
    }

    fn value(&self, wire: Wire<'_>, of: Type<'_>, depth: usize) -> Decoded<Value> {
        if depth == 0 {
            return Err("exceeded max depth".to_owned());
        }
        let of = of.resolve();
        if let (Some(form), Wire::Bytes(bytes)) = (special(of), wire) {
            return self.special(form, bytes, depth);
        }
        Ok(match (of.base(), wire) {
            (Base::Boolean, Wire::Number(number)) => (number != 0).into(),
            (Base::Number, Wire::Number(number)) => f64::from_bits(number).into(),
            (_, Wire::Number(number)) => number.cast_signed().into(),
            (Base::String, Wire::Bytes(bytes)) if of.format() == Some("byte") => {
                base64::engine::general_purpose::STANDARD.encode(bytes).into()
            }
            (Base::Object, Wire::Bytes(bytes)) if of.has_fields() => {
                let mut map = Map::new();
                let name = short(of.name().unwrap_or(""));
                self.message(&name, bytes, of, &mut map, depth - 1)?;
                map.into()
            }
            // A list within a map is wrapped in a message of its own.
            (Base::Array, Wire::Bytes(bytes)) => {
                let items: Vec<Value> = fields(bytes)?
                    .iter()
                    .filter_map(|(_, wire)| match wire {
                        Wire::Bytes(bytes) => Some(text(bytes).into()),
                        Wire::Number(_) => None,
                    })
                    .collect();
                items.into()
            }
            (_, Wire::Bytes(bytes)) => text(bytes).into(),
        })
    }

    fn special(&self, form: Special, bytes: &[u8], depth: usize) -> Decoded<Value> {
        let schema = |bytes: &[u8]| -> Decoded<Value> {
            let name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
            let of = self.schemas.definition(name).ok_or_else(cut_off)?;
            let mut map = Map::new();
            self.message("crd.JSONSchemaProps", bytes, of.view(), &mut map, depth - 1)?;
            Ok(map.into())
        };
        Ok(match form {
            Special::Time => time(bytes, false)?,
            Special::MicroTime => time(bytes, true)?,
            Special::Quantity => bytes_of(&fields(bytes)?, 1).map_or(Value::Null, |bytes| text(bytes).into()),
            Special::Raw => raw(bytes_of(&fields(bytes)?, 1))?,
            Special::IntOrString => {
                let all = fields(bytes)?;
                if number_of(&all, 1) == 0 {
                    number_of(&all, 2).into()
                } else {
                    bytes_of(&all, 3).map(text).unwrap_or_default().into()
                }
            }
            Special::SchemaOrBool => {
                let all = fields(bytes)?;
                match bytes_of(&all, 2) {
                    Some(bytes) => schema(bytes)?,
                    None => (number_of(&all, 1) != 0).into(),
                }
            }
            Special::SchemaOrList => {
                let all = fields(bytes)?;
                let several: Decoded<Vec<Value>> = all
                    .iter()
                    .filter_map(|(number, wire)| match wire {
                        Wire::Bytes(bytes) if *number == 2 => Some(schema(bytes)),
                        _ => None,
                    })
                    .collect();
                match bytes_of(&all, 1) {
                    Some(bytes) => schema(bytes)?,
                    None => several?.into(),
                }
            }
        })
    }
}

#[derive(Clone, Copy)]
enum Special {
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// JSON in a message's first field.
    Raw,
    SchemaOrBool,
    SchemaOrList,
}

/// Types whose JSON has another form than their message.
fn special(of: Type<'_>) -> Option<Special> {
    if of.int_or_string() {
        return Some(Special::IntOrString);
    }
    let name = of.name()?;
    Some(match name.rsplit('.').next()? {
        "Time" => Special::Time,
        "MicroTime" => Special::MicroTime,
        "Quantity" => Special::Quantity,
        "IntOrString" => Special::IntOrString,
        "FieldsV1" | "RawExtension" | "JSON" => Special::Raw,
        "JSONSchemaPropsOrBool" => Special::SchemaOrBool,
        "JSONSchemaPropsOrArray" => Special::SchemaOrList,
        _ => return None,
    })
}

/// The JSON of a protobuf body.
///
/// # Errors
/// The body is none, or of a kind that has no messages.
pub fn to_json(schemas: &SchemaSet, body: &[u8]) -> Result<Value, String> {
    let data = body.strip_prefix(MAGIC).ok_or_else(cut_off)?;
    let envelope = fields(data)?;
    let about = fields(bytes_of(&envelope, 1).unwrap_or_default())?;
    let field = |number| bytes_of(&about, number).map(text).unwrap_or_default();
    let (version, kind) = (field(1), field(2));
    let content = bytes_of(&envelope, 2).unwrap_or_default();
    let (group, short_version) = version.split_once('/').unwrap_or(("", &version));
    let of = schemas
        .kind(group, short_version, &kind)
        .or_else(|| schemas.definition(&format!("{META}{kind}")))
        .ok_or_else(|| format!("no kind \"{kind}\" is registered for version \"{version}\""))?;
    let mut map = Map::new();
    let name = short(of.view().resolve().name().unwrap_or(""));
    Reader { schemas }.message(&name, content, of.view().resolve(), &mut map, DEPTH)?;
    map.insert("apiVersion".to_owned(), version.into());
    map.insert("kind".to_owned(), kind.into());
    Ok(map.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        out.extend(content);
        out
    }

    fn body(version: &str, kind: &str, content: &[u8]) -> Vec<u8> {
        let about = [field(1, version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &about), field(2, content)].concat()
    }

    #[test]
    fn a_body_becomes_the_json_of_its_kind() {
        let schemas = SchemaSet::builtin();
        let meta = [
            field(1, b"s"),
            field(11, &[field(1, b"a"), field(2, b"b")].concat()),
        ]
        .concat();
        let data = [field(1, b"k"), field(2, b"\xffv")].concat();
        let content = [
            field(1, &meta),
            field(2, &data),
            field(3, b"Opaque"),
            vec![5 << 3, 1],
        ]
        .concat();
        let value = to_json(&schemas, &body("v1", "Secret", &content)).unwrap();
        assert_eq!(
            value,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "labels": {"a": "b"}},
                "data": {"k": "/3Y="}, "type": "Opaque", "immutable": true})
        );
    }

    #[test]
    fn fields_that_json_has_in_place_are_put_there() {
        let schemas = SchemaSet::builtin();
        let port = [vec![1 << 3, 1], field(3, b"http")].concat();
        let probe = field(1, &field(2, &[field(1, b"/ready"), field(2, &port)].concat()));
        let container = [field(1, b"c"), field(11, &probe)].concat();
        let pod = field(2, &field(2, &container));
        let value = to_json(&schemas, &body("v1", "Pod", &pod)).unwrap();
        let probe = &value["spec"]["containers"][0]["readinessProbe"];
        assert_eq!(*probe, json!({"httpGet": {"path": "/ready", "port": "http"}}));
    }

    #[test]
    fn garbage_is_refused() {
        let schemas = SchemaSet::builtin();
        assert_eq!(
            to_json(&schemas, b"k8s\0garbage").unwrap_err(),
            "proto: illegal wireType 7"
        );
        for end in 0..12 {
            let whole = body("v1", "Secret", &field(1, &field(1, b"name")));
            let _any = to_json(&schemas, &whole[..end]);
        }
    }
}
