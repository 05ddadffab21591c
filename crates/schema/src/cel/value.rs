//! Values of expressions. JSON is looked into where it lies; nothing is copied until something new
//! is made of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use fluvial_object::duration;
use fluvial_object::quantity::Quantity;
use serde_json::{Map as JsonMap, Value as Json};

use crate::types::Type as Schema;

use super::authorizer::Authorization;
use super::functions::formats::NamedFormat;
use super::functions::semver::Semver;
use super::functions::url::Url;
use super::instant::Instant;
use super::json;

/// A text, borrowed or shared.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// Part of the input.
    Borrowed(&'a str),
    /// Made by the expression.
    Shared(Arc<str>),
}

impl Text<'_> {
    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }
}

/// The value of an expression.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number without sign.
    Uint(u64),
    /// A float.
    Double(f64),
    /// A text.
    String(Text<'a>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A length of time in nanoseconds.
    Duration(i64),
    /// A point in time.
    Timestamp(Instant),
    /// A list.
    List(List<'a>),
    /// A map or an object.
    Map(Map<'a>),
    /// A value that may be missing.
    Optional(Option<Arc<Value<'a>>>),
    /// A type, by its name.
    Type(&'static str),
    /// A value of a library.
    Opaque(Opaque<'a>),
}

/// Values of Kubernetes' libraries.
#[derive(Clone, Debug)]
pub enum Opaque<'a> {
    /// An IP address.
    Ip(IpAddr),
    /// A network: address and prefix length.
    Cidr(IpAddr, u8),
    /// A URL.
    Url(Arc<Url>),
    /// A quantity.
    Quantity(Arc<Quantity>),
    /// A version.
    Semver(Arc<Semver>),
    /// A named format of strings.
    Format(NamedFormat),
    /// A question to the authorizer, or its answer.
    Authorization(Arc<Authorization<'a>>),
}

/// A list.
#[derive(Clone, Debug)]
pub enum List<'a> {
    /// JSON with its schema.
    Json(&'a [Json], Option<Schema<'a>>),
    /// Made by the expression.
    Owned(Arc<Vec<Value<'a>>>),
}

/// A map.
#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// JSON with its schema.
    Json(&'a JsonMap<String, Json>, Option<Schema<'a>>),
    /// Made by the expression.
    Owned(Arc<BTreeMap<Key, Value<'a>>>),
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number without sign.
    Uint(u64),
    /// A text.
    String(Arc<str>),
}

impl Key {
    /// The key as a value.
    #[must_use]
    pub fn value<'a>(&self) -> Value<'a> {
        match self {
            Key::Bool(value) => Value::Bool(*value),
            Key::Int(value) => Value::Int(*value),
            Key::Uint(value) => Value::Uint(*value),
            Key::String(text) => Value::String(Text::Shared(text.clone())),
        }
    }

    /// The key that a value is, whole floats included.
    pub(crate) fn of(value: &Value<'_>) -> Option<Key> {
        Some(match value {
            Value::Bool(value) => Key::Bool(*value),
            Value::Int(value) => Key::Int(*value),
            Value::Uint(value) => Key::Uint(*value),
            Value::String(text) => Key::String(text.as_str().into()),
            _ => return None,
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Bool(value) => value.fmt(f),
            Key::Int(value) => value.fmt(f),
            Key::Uint(value) => value.fmt(f),
            Key::String(text) => f.write_str(text),
        }
    }
}

impl<'a> Value<'a> {
    /// A text made anew.
    #[must_use]
    pub fn text(text: impl Into<Arc<str>>) -> Value<'a> {
        Value::String(Text::Shared(text.into()))
    }

    /// A list made anew.
    #[must_use]
    pub fn list(items: Vec<Value<'a>>) -> Value<'a> {
        Value::List(List::Owned(Arc::new(items)))
    }

    /// An optional that is there.
    #[must_use]
    pub fn some(value: Value<'a>) -> Value<'a> {
        Value::Optional(Some(Arc::new(value)))
    }

    /// A JSON value without a schema.
    #[must_use]
    pub fn json(value: &'a Json) -> Value<'a> {
        json::value(value, None)
    }

    /// A JSON value with its schema: times, durations and bytes are read as such.
    #[must_use]
    pub fn typed(value: &'a Json, schema: Schema<'a>) -> Value<'a> {
        json::value(value, Some(schema))
    }

    /// The name of the value's type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::List(_) => "list",
            Value::Map(Map::Json(_, Some(schema))) if schema.has_fields() => "object",
            Value::Map(_) => "map",
            Value::Optional(_) => "optional_type",
            Value::Type(_) => "type",
            Value::Opaque(opaque) => opaque.type_name(),
        }
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// The truth value.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The value as JSON; `None` for what has no such form.
    #[must_use]
    pub fn to_json(&self) -> Option<Json> {
        json::write(self)
    }

    /// How many characters, bytes, items or entries it has; 1 for anything else.
    pub(crate) fn extent(&self) -> u64 {
        match self {
            Value::String(text) => text.as_str().chars().count() as u64,
            Value::Bytes(bytes) => bytes.len() as u64,
            Value::List(list) => list.len() as u64,
            Value::Map(map) => map.len() as u64,
            _ => 1,
        }
    }

    /// Whether it is the empty value of its type.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Bool(value) => !value,
            Value::Int(value) => *value == 0,
            Value::Uint(value) => *value == 0,
            Value::Double(value) => *value == 0.0,
            Value::Duration(value) => *value == 0,
            Value::Optional(value) => value.is_none(),
            Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_) => self.extent() == 0,
            Value::Timestamp(_) | Value::Type(_) | Value::Opaque(_) => false,
        }
    }
}

impl Opaque<'_> {
    fn type_name(&self) -> &'static str {
        match self {
            Opaque::Ip(_) => "net.IP",
            Opaque::Cidr(..) => "net.CIDR",
            Opaque::Url(_) => "kubernetes.URL",
            Opaque::Quantity(_) => "kubernetes.Quantity",
            Opaque::Semver(_) => "kubernetes.Semver",
            Opaque::Format(_) => "kubernetes.NamedFormat",
            Opaque::Authorization(authorization) => authorization.type_name(),
        }
    }
}

impl<'a> List<'a> {
    /// How many items.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            List::Json(items, _) => items.len(),
            List::Owned(items) => items.len(),
        }
    }

    /// Whether there are no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at an index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            List::Json(items, schema) => {
                let item = items.get(index)?;
                Some(json::value(item, schema.and_then(Schema::items)))
            }
            List::Owned(items) => items.get(index).cloned(),
        }
    }

    /// All items.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<'a> Map<'a> {
    /// How many entries.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Map::Json(map, _) => map.len(),
            Map::Owned(map) => map.len(),
        }
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value under a text key.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Map::Json(map, schema) => map
                .get(name)
                .map(|value| json::value(value, schema.and_then(|schema| schema.field(name)))),
            Map::Owned(map) => map.get(&Key::String(name.into())).cloned(),
        }
    }

    /// The value under any key.
    #[must_use]
    pub fn get(&self, key: &Value<'_>) -> Option<Value<'a>> {
        if let Value::String(text) = key {
            return self.field(text.as_str());
        }
        let Map::Owned(map) = self else { return None };
        let number = match key {
            Value::Bool(value) => return map.get(&Key::Bool(*value)).cloned(),
            Value::Int(value) => i128::from(*value),
            Value::Uint(value) => i128::from(*value),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "whole numbers of moderate size only"
            )]
            Value::Double(value) if value.fract() == 0.0 && value.abs() < 1e19 => *value as i128,
            _ => return None,
        };
        let int = i64::try_from(number).ok().and_then(|int| map.get(&Key::Int(int)));
        let uint = || {
            u64::try_from(number)
                .ok()
                .and_then(|uint| map.get(&Key::Uint(uint)))
        };
        int.or_else(uint).cloned()
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Map::Json(map, _) => map.keys().map(|key| Value::String(Text::Borrowed(key))).collect(),
            Map::Owned(map) => map.keys().map(Key::value).collect(),
        }
    }
}

impl<'a> From<BTreeMap<Key, Value<'a>>> for Value<'a> {
    fn from(map: BTreeMap<Key, Value<'a>>) -> Self {
        Value::Map(Map::Owned(Arc::new(map)))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::String(Text::Borrowed(text))
    }
}

/// Values as `%s` of a format prints them, and as errors show them.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => value.fmt(f),
            Value::Int(value) => value.fmt(f),
            Value::Uint(value) => value.fmt(f),
            Value::Double(value) => f.write_str(&super::functions::convert::double_text(*value)),
            Value::String(text) => f.write_str(text.as_str()),
            Value::Bytes(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
            Value::Duration(nanoseconds) => f.write_str(&duration::format_go(*nanoseconds)),
            Value::Timestamp(time) => time.fmt(f),
            Value::List(list) => {
                f.write_str("[")?;
                for (index, item) in list.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    item.fmt(f)?;
                }
                f.write_str("]")
            }
            Value::Map(map) => {
                f.write_str("{")?;
                for (index, key) in map.keys().iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    let value = map.get(key).unwrap_or(Value::Null);
                    write!(f, "{key}: {value}")?;
                }
                f.write_str("}")
            }
            Value::Optional(None) => f.write_str("optional.none()"),
            Value::Optional(Some(value)) => write!(f, "optional({value})"),
            Value::Type(name) => f.write_str(name),
            Value::Opaque(opaque) => opaque.fmt(f),
        }
    }
}

impl fmt::Display for Opaque<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Opaque::Ip(address) => address.fmt(f),
            Opaque::Cidr(address, bits) => write!(f, "{address}/{bits}"),
            Opaque::Url(url) => url.fmt(f),
            Opaque::Quantity(quantity) => quantity.fmt(f),
            Opaque::Semver(version) => version.fmt(f),
            Opaque::Format(format) => f.write_str(format.name()),
            Opaque::Authorization(_) => f.write_str("authorizer"),
        }
    }
}
