//! The second OpenAPI document as protocol buffers, for clients that ask for nothing else: client-go's discovery does.
//!
//! The numbers are those of gnostic's `openapi.v2` messages. What the document never has (XML, file schemas,
//! OAuth) has no number here.

use std::ops::ControlFlow;

use serde_json::{Map, Value};

/// How a JSON field is written.
#[derive(Clone, Copy)]
enum Form {
    /// A text.
    Text,
    /// A list of texts.
    Texts,
    /// A boolean.
    Flag,
    /// A whole number.
    Integer,
    /// A double.
    Number,
    /// Anything, as YAML text.
    Any,
    /// A list of anything.
    Anys,
    /// A message.
    One(&'static Message),
    /// A list of messages.
    Many(&'static Message),
    /// A map whose entries are messages with a name.
    Named(&'static Message),
    /// One text or several, in a message of their own.
    Types,
    /// One schema or several, in a message of their own.
    Items,
    /// A schema, or whether there may be any.
    Open,
    /// A schema in a message of its own.
    Wrapped,
    /// Parameters by where they stand.
    Parameters,
    /// Responses by code.
    Responses,
    /// The security schemes, all of them keys.
    Keys,
    /// What a request has to bring.
    Security,
}

/// A message: its fields by JSON name, and the number under which extensions go.
struct Message {
    fields: &'static [(&'static str, u64, Form)],
    extensions: u64,
}

static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Form::Text),
        ("info", 2, Form::One(&INFO)),
        ("host", 3, Form::Text),
        ("basePath", 4, Form::Text),
        ("schemes", 5, Form::Texts),
        ("consumes", 6, Form::Texts),
        ("produces", 7, Form::Texts),
        ("definitions", 9, Form::Named(&SCHEMA)),
        ("security", 12, Form::Security),
        ("securityDefinitions", 13, Form::Keys),
    ],
    extensions: 16,
};

static INFO: Message = Message {
    fields: &[
        ("title", 1, Form::Text),
        ("version", 2, Form::Text),
        ("description", 3, Form::Text),
    ],
    extensions: 7,
};

static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 2, Form::One(&OPERATION)),
        ("put", 3, Form::One(&OPERATION)),
        ("post", 4, Form::One(&OPERATION)),
        ("delete", 5, Form::One(&OPERATION)),
        ("options", 6, Form::One(&OPERATION)),
        ("head", 7, Form::One(&OPERATION)),
        ("patch", 8, Form::One(&OPERATION)),
        ("parameters", 9, Form::Parameters),
    ],
    extensions: 10,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Form::Texts),
        ("summary", 2, Form::Text),
        ("description", 3, Form::Text),
        ("operationId", 5, Form::Text),
        ("produces", 6, Form::Texts),
        ("consumes", 7, Form::Texts),
        ("parameters", 8, Form::Parameters),
        ("responses", 9, Form::Responses),
        ("schemes", 10, Form::Texts),
        ("deprecated", 11, Form::Flag),
    ],
    extensions: 13,
};

static BODY: Message = Message {
    fields: &[
        ("description", 1, Form::Text),
        ("name", 2, Form::Text),
        ("in", 3, Form::Text),
        ("required", 4, Form::Flag),
        ("schema", 5, Form::One(&SCHEMA)),
    ],
    extensions: 6,
};

/// Parameters of paths and headers.
static PLAIN: Message = Message {
    fields: &[
        ("required", 1, Form::Flag),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("type", 5, Form::Text),
        ("format", 6, Form::Text),
        ("uniqueItems", 19, Form::Flag),
    ],
    extensions: 22,
};

static QUERY: Message = Message {
    fields: &[
        ("required", 1, Form::Flag),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("allowEmptyValue", 5, Form::Flag),
        ("type", 6, Form::Text),
        ("format", 7, Form::Text),
        ("uniqueItems", 20, Form::Flag),
    ],
    extensions: 23,
};

static RESPONSE: Message = Message {
    fields: &[("description", 1, Form::Text), ("schema", 2, Form::Wrapped)],
    extensions: 5,
};

static KEY: Message = Message {
    fields: &[
        ("type", 1, Form::Text),
        ("name", 2, Form::Text),
        ("in", 3, Form::Text),
        ("description", 4, Form::Text),
    ],
    extensions: 5,
};

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Form::Text),
        ("format", 2, Form::Text),
        ("title", 3, Form::Text),
        ("description", 4, Form::Text),
        ("default", 5, Form::Any),
        ("multipleOf", 6, Form::Number),
        ("maximum", 7, Form::Number),
        ("exclusiveMaximum", 8, Form::Flag),
        ("minimum", 9, Form::Number),
        ("exclusiveMinimum", 10, Form::Flag),
        ("maxLength", 11, Form::Integer),
        ("minLength", 12, Form::Integer),
        ("pattern", 13, Form::Text),
        ("maxItems", 14, Form::Integer),
        ("minItems", 15, Form::Integer),
        ("uniqueItems", 16, Form::Flag),
        ("maxProperties", 17, Form::Integer),
        ("minProperties", 18, Form::Integer),
        ("required", 19, Form::Texts),
        ("enum", 20, Form::Anys),
        ("additionalProperties", 21, Form::Open),
        ("type", 22, Form::Types),
        ("items", 23, Form::Items),
        ("allOf", 24, Form::Many(&SCHEMA)),
        ("properties", 25, Form::Named(&SCHEMA)),
        ("readOnly", 27, Form::Flag),
        ("example", 30, Form::Any),
    ],
    extensions: 31,
};

/// The document as an `openapi.v2.Document`.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, &DOCUMENT, document);
    let mut paths = Vec::new();
    for (path, item) in entries(document, "paths") {
        named(&mut paths, 2, path, |out| message(out, &PATH_ITEM, item));
    }
    bytes(&mut out, 8, &paths);
    out
}

fn entries<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    value[field].as_object().into_iter().flatten()
}

fn items(value: &Value) -> &[Value] {
    value
        .as_array()
        .map_or(std::slice::from_ref(value), Vec::as_slice)
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

fn bytes(out: &mut Vec<u8>, number: u64, content: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

fn nested(out: &mut Vec<u8>, number: u64, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    write(&mut inner);
    bytes(out, number, &inner);
}

/// A message of a name and a value.
fn named(out: &mut Vec<u8>, number: u64, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
    nested(out, number, |out| {
        bytes(out, 1, name.as_bytes());
        nested(out, 2, write);
    });
}

/// Anything: its JSON, which is YAML too.
fn any(out: &mut Vec<u8>, value: &Value) {
    bytes(out, 2, format!("{value}\n").as_bytes());
}

fn message(out: &mut Vec<u8>, kind: &Message, value: &Value) {
    let empty = Map::new();
    for (name, value) in value.as_object().unwrap_or(&empty) {
        if name.starts_with("x-") {
            named(out, kind.extensions, name, |out| any(out, value));
        } else if let Some((_, number, form)) = kind.fields.iter().find(|(field, ..)| field == name)
            && scalar(out, *number, *form, value).is_continue()
        {
            compound(out, *number, *form, value);
        }
    }
}

/// Writes a field if it is a plain one.
fn scalar(out: &mut Vec<u8>, number: u64, form: Form, value: &Value) -> ControlFlow<()> {
    match form {
        Form::Text => bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Form::Texts => items(value)
            .iter()
            .filter_map(Value::as_str)
            .for_each(|text| bytes(out, number, text.as_bytes())),
        Form::Flag | Form::Integer => {
            varint(out, number << 3);
            // Negative numbers have the bits of their two's complement.
            let whole = value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned));
            varint(out, whole.unwrap_or(u64::from(value == &Value::Bool(true))));
        }
        Form::Number => {
            varint(out, number << 3 | 1);
            out.extend_from_slice(&value.as_f64().unwrap_or_default().to_le_bytes());
        }
        Form::Any => nested(out, number, |out| any(out, value)),
        Form::Anys => items(value)
            .iter()
            .for_each(|item| nested(out, number, |out| any(out, item))),
        _ => return ControlFlow::Continue(()),
    }
    ControlFlow::Break(())
}

fn compound(out: &mut Vec<u8>, number: u64, form: Form, value: &Value) {
    match form {
        Form::One(kind) => nested(out, number, |out| message(out, kind, value)),
        Form::Many(kind) => items(value)
            .iter()
            .for_each(|item| nested(out, number, |out| message(out, kind, item))),
        Form::Named(kind) => nested(out, number, |out| {
            for (name, value) in value.as_object().into_iter().flatten() {
                named(out, 1, name, |out| message(out, kind, value));
            }
        }),
        Form::Types => nested(out, number, |out| {
            let texts = items(value).iter().filter_map(Value::as_str);
            texts.for_each(|text| bytes(out, 1, text.as_bytes()));
        }),
        Form::Items => nested(out, number, |out| compound(out, 1, Form::Many(&SCHEMA), value)),
        Form::Open => nested(out, number, |out| match value {
            Value::Bool(_) => {
                let _ = scalar(out, 2, Form::Flag, value);
            }
            schema => compound(out, 1, Form::One(&SCHEMA), schema),
        }),
        Form::Wrapped => nested(out, number, |out| compound(out, 1, Form::One(&SCHEMA), value)),
        Form::Parameters => items(value)
            .iter()
            .for_each(|item| nested(out, number, |out| parameter(out, item))),
        Form::Responses => nested(out, number, |out| {
            for (code, response) in value.as_object().into_iter().flatten() {
                named(out, 1, code, |out| {
                    compound(out, 1, Form::One(&RESPONSE), response)
                });
            }
        }),
        Form::Keys => nested(out, number, |out| {
            for (name, scheme) in value.as_object().into_iter().flatten() {
                named(out, 1, name, |out| compound(out, 2, Form::One(&KEY), scheme));
            }
        }),
        _ => requirements(out, number, value),
    }
}

fn parameter(out: &mut Vec<u8>, value: &Value) {
    let (number, kind) = match value["in"].as_str().unwrap_or_default() {
        "body" => return nested(out, 1, |out| compound(out, 1, Form::One(&BODY), value)),
        "header" => (1, &PLAIN),
        "path" => (4, &PLAIN),
        _ => (3, &QUERY),
    };
    nested(out, 1, |out| {
        nested(out, 2, |out| compound(out, number, Form::One(kind), value));
    });
}

fn requirements(out: &mut Vec<u8>, number: u64, value: &Value) {
    for requirement in items(value) {
        nested(out, number, |out| {
            for (name, scopes) in requirement.as_object().into_iter().flatten() {
                named(out, 1, name, |out| {
                    let _ = scalar(out, 1, Form::Texts, scopes);
                });
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_go_where_the_messages_have_them() {
        let document = json!({
            "definitions": {"S": {"additionalProperties": true, "maxLength": 300, "minimum": -1,
                "type": "object", "x-y": [1]}},
            "paths": {"/a": {"get": {"parameters": [{"in": "query", "name": "q"}]}}},
            "swagger": "2.0",
        });
        let schema: [&[u8]; 5] = [
            b"\xaa\x01\x02\x10\x01",
            b"\x58\xac\x02",
            b"\x49\x00\x00\x00\x00\x00\x00\xf0\xbf",
            b"\xb2\x01\x08\x0a\x06object",
            b"\xfa\x01\x0d\x0a\x03x-y\x12\x06\x12\x04[1]\n",
        ];
        let parts: [&[u8]; 4] = [
            b"\x4a\x33\x0a\x31\x0a\x01S\x12\x2c",
            &schema.concat(),
            b"\x0a\x032.0",
            b"\x42\x1c\x12\x1a\x0a\x02/a\x12\x14\x12\x12\x42\x10\x0a\x0e\x12\x0c\x1a\x0a\x12\x05query\x22\x01q",
        ];
        assert_eq!(encode(&document), parts.concat());
    }
}
