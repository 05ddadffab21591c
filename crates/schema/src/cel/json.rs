//! JSON as values, by its schema or as it is.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map as JsonMap, Number, Value as Json};

use crate::crd::go_duration;
use crate::table::Base;
use crate::types::Type as Schema;

use super::instant::Instant;
use super::value::{List, Map, Text, Value};

pub(crate) fn value<'a>(json: &'a Json, schema: Option<Schema<'a>>) -> Value<'a> {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => self::number(number, schema),
        Json::String(text) => match schema.and_then(|schema| string(text, schema)) {
            Some(value) => value,
            None => Value::String(Text::Borrowed(text)),
        },
        Json::Array(items) => Value::List(List::Json(items, schema)),
        Json::Object(map) => Value::Map(Map::Json(map, schema)),
    }
}

fn number<'a>(number: &Number, schema: Option<Schema<'a>>) -> Value<'a> {
    let base = schema.map_or(Base::Any, Schema::base);
    let float = || number.as_f64().unwrap_or(f64::NAN);
    match base {
        Base::Number => Value::Double(float()),
        _ => match number.as_i64() {
            Some(value) => Value::Int(value),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "saturates, and validation has refused it"
            )]
            None if base == Base::Integer => Value::Int(float() as i64),
            None => number
                .as_u64()
                .map_or_else(|| Value::Double(float()), Value::Uint),
        },
    }
}

/// A string whose format makes it something else.
fn string<'a>(text: &str, schema: Schema<'_>) -> Option<Value<'a>> {
    if schema.base() != Base::String {
        return None;
    }
    match schema.format()? {
        "byte" => STANDARD.decode(text).ok().map(|bytes| Value::Bytes(bytes.into())),
        "duration" => go_duration(text).map(Value::Duration),
        "date-time" => Instant::parse(text).map(Value::Timestamp),
        "date" => Instant::parse(&format!("{text}T00:00:00Z")).map(Value::Timestamp),
        _ => None,
    }
}

/// A value as JSON, as the API server converts results of expressions.
pub(crate) fn write(value: &Value<'_>) -> Option<Json> {
    Some(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Uint(value) => (*value).into(),
        Value::Double(value) => {
            Number::from_f64(*value).map_or_else(|| value.to_string().into(), Json::Number)
        }
        Value::String(text) => text.as_str().into(),
        Value::Bytes(bytes) => STANDARD.encode(bytes).into(),
        Value::Duration(_) => value.to_string().into(),
        Value::Timestamp(time) => time.to_string().into(),
        Value::List(List::Json(items, _)) => items.to_vec().into(),
        Value::List(list) => list
            .iter()
            .map(|item| write(&item))
            .collect::<Option<Vec<_>>>()?
            .into(),
        Value::Map(Map::Json(map, _)) => Json::Object((*map).clone()),
        Value::Map(map) => {
            let mut out = JsonMap::new();
            for key in map.keys() {
                let value = map.get(&key)?;
                out.insert(key.to_string(), write(&value)?);
            }
            Json::Object(out)
        }
        Value::Optional(None) => Json::Null,
        Value::Optional(Some(value)) => write(value)?,
        Value::Type(_) | Value::Opaque(_) => return None,
    })
}

/// Bytes as a shared value.
pub(crate) fn bytes<'a>(bytes: &[u8]) -> Value<'a> {
    Value::Bytes(Arc::from(bytes))
}
