//! Static types of expressions, as the checker knows them and error texts name them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::table::Base;
use crate::types::TypeRef;

use super::escape;

/// The type of an expression or a variable.
#[derive(Clone, Debug, Default)]
pub enum Type {
    /// Known at run time only.
    #[default]
    Dyn,
    /// The result of something that is wrong already.
    Error,
    /// `null`.
    Null,
    /// A truth value.
    Bool,
    /// A whole number of 64 bits.
    Int,
    /// A whole number of 64 bits without sign.
    Uint,
    /// A float of 64 bits.
    Double,
    /// A text.
    String,
    /// Bytes.
    Bytes,
    /// A length of time.
    Duration,
    /// A point in time.
    Timestamp,
    /// A list.
    List(Arc<Type>),
    /// A map.
    Map(Arc<(Type, Type)>),
    /// A value that may be missing.
    Optional(Arc<Type>),
    /// A type as a value.
    Type,
    /// A value of a library, such as `kubernetes.Quantity`.
    Opaque(&'static str),
    /// An object with the fields of a schema.
    Object(ObjectType),
    /// A record with named, typed fields.
    Record(Arc<RecordType>),
    /// A type parameter.
    Param(u32),
}

/// An object type that a schema describes.
#[derive(Clone, Debug)]
pub struct ObjectType {
    name: Arc<str>,
    schema: TypeRef,
}

/// A record type, for example that of the `variables` of a policy.
#[derive(Debug)]
pub struct RecordType {
    name: String,
    fields: BTreeMap<String, Type>,
}

impl RecordType {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Type> {
        self.fields.get(name)
    }

    /// Whether it says nothing of its fields.
    pub(crate) fn is_open(&self) -> bool {
        self.fields.is_empty()
    }
}

impl Type {
    /// A list of `items`.
    #[must_use]
    pub fn list(items: Type) -> Type {
        Type::List(Arc::new(items))
    }

    /// A map from `keys` to `values`.
    #[must_use]
    pub fn map(keys: Type, values: Type) -> Type {
        Type::Map(Arc::new((keys, values)))
    }

    /// A value that may be missing.
    #[must_use]
    pub fn optional(of: Type) -> Type {
        Type::Optional(Arc::new(of))
    }

    /// A record called `name`.
    #[must_use]
    pub fn record(name: impl Into<String>, fields: BTreeMap<String, Type>) -> Type {
        Type::Record(Arc::new(RecordType {
            name: name.into(),
            fields,
        }))
    }

    /// The type of values of a schema; objects below are called after `name`. `None` for values
    /// that expressions may not see: those without a type.
    #[must_use]
    pub fn of_schema(schema: &TypeRef, name: &str) -> Option<Type> {
        let view = schema.view();
        if view.int_or_string() {
            return Some(Type::Dyn);
        }
        Some(match view.base() {
            Base::Array => Type::list(Type::of_schema(&schema.items()?, &format!("{name}.@idx"))?),
            Base::Object if view.is_foreign() => Type::metadata(name),
            Base::Object => match schema.additional() {
                Some(values) if !view.has_fields() && !values.is_free() => {
                    let values = Type::of_schema(&values, &format!("{name}.@elem"))?;
                    Type::map(Type::String, values)
                }
                _ => Type::Object(ObjectType {
                    name: name.into(),
                    schema: schema.clone(),
                }),
            },
            Base::Boolean => Type::Bool,
            Base::Number => Type::Double,
            Base::Integer => Type::Int,
            Base::String => match view.format() {
                Some("byte") => Type::Bytes,
                Some("duration") => Type::Duration,
                Some("date" | "date-time") => Type::Timestamp,
                _ => Type::String,
            },
            Base::Any => return None,
        })
    }

    /// Metadata: rules may look at the names alone.
    fn metadata(name: &str) -> Type {
        let fields = ["name", "generateName"].map(|field| (field.to_owned(), Type::String));
        Type::record(name, fields.into())
    }

    /// The type of a field, with the name that objects have it under.
    pub(crate) fn field(&self, name: &str) -> Option<(Type, Option<String>)> {
        match self {
            Type::Object(object) => {
                let own = escape::unescape(name)?;
                let below = format!("{}.{name}", object.name);
                let kind = match object.schema.own_field(&own) {
                    _ if own == "metadata" && object.schema.view().embedded() => Type::metadata(&below),
                    Some(field) => Type::of_schema(&field, &below)?,
                    None if object.schema.view().embedded() && matches!(&*own, "apiVersion" | "kind") => {
                        Type::String
                    }
                    None => return None,
                };
                Some((kind, (own != name).then_some(own)))
            }
            Type::Record(record) => record.fields.get(name).map(|kind| (kind.clone(), None)),
            _ => None,
        }
    }

    /// Whether it is dyn or an error, which fit everything.
    pub(crate) fn is_wild(&self) -> bool {
        matches!(self, Type::Dyn | Type::Error)
    }

    /// Whether it is dyn.
    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Type::Dyn)
    }

    /// Whether both are the same type.
    pub(crate) fn same(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::List(one), Type::List(other)) | (Type::Optional(one), Type::Optional(other)) => {
                one.same(other)
            }
            (Type::Map(one), Type::Map(other)) => one.0.same(&other.0) && one.1.same(&other.1),
            (Type::Opaque(one), Type::Opaque(other)) => one == other,
            (Type::Object(one), Type::Object(other)) => {
                one.name == other.name || one.schema.view().same(other.schema.view())
            }
            (Type::Record(one), Type::Record(other)) => one.name == other.name,
            (Type::Param(one), Type::Param(other)) => one == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Dyn => "dyn",
            Type::Error => "!error!",
            Type::Null => "null",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Duration => "duration",
            Type::Timestamp => "timestamp",
            Type::Type => "type",
            Type::Opaque(name) => name,
            Type::Object(object) => &object.name,
            Type::Record(record) => &record.name,
            Type::List(items) => return write!(f, "list({items})"),
            Type::Map(of) => return write!(f, "map({}, {})", of.0, of.1),
            Type::Optional(of) => return write!(f, "optional_type({of})"),
            Type::Param(number) => return write!(f, "_var{number}"),
        })
    }
}
