//! What a schema node means for merging: a scalar, a list (atomic, set, by key) or a map.
//!
//! Without a schema the value itself tells: maps merge field by field, lists are atomic.

use std::fmt::Write as _;

use fluvial_schema::{Base, ListType, MapType, Type};
use serde_json::Value;

use super::path::Step;

/// The schema at one place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape<'a> {
    /// Deduced from values.
    Deduced,
    /// Below a list without item schema: everything is atomic.
    Atomic,
    /// From a schema.
    Typed(Type<'a>),
}

/// What plain values may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Numeric,
    String,
    Boolean,
    Untyped,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ListShape<'a> {
    pub(super) relation: ListType,
    pub(super) schema: Option<Type<'a>>,
    pub(super) items: Shape<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct MapShape<'a> {
    pub(super) atomic: bool,
    schema: Option<Type<'a>>,
    /// What undeclared fields are; `None` forbids them.
    rest: Option<Shape<'a>>,
}

/// The forms that a place may take; several if the schema names no type.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Atom<'a> {
    pub(super) scalar: Option<Scalar>,
    pub(super) list: Option<ListShape<'a>>,
    pub(super) map: Option<MapShape<'a>>,
}

/// The one form that is walked.
pub(super) enum Form<'a> {
    Map(MapShape<'a>),
    Scalar(Scalar),
    List(ListShape<'a>),
    Nothing,
}

impl<'a> Shape<'a> {
    pub(super) fn atom(self) -> Atom<'a> {
        match self {
            Shape::Deduced | Shape::Atomic => {
                let deduced = matches!(self, Shape::Deduced);
                Atom {
                    scalar: Some(Scalar::Untyped),
                    list: Some(ListShape {
                        relation: ListType::Atomic,
                        schema: None,
                        items: Shape::Atomic,
                    }),
                    map: Some(MapShape {
                        atomic: !deduced,
                        schema: None,
                        rest: Some(self),
                    }),
                }
            }
            Shape::Typed(schema) => typed(schema),
        }
    }
}

fn typed(schema: Type<'_>) -> Atom<'_> {
    let untyped = Atom {
        scalar: Some(Scalar::Untyped),
        ..Atom::default()
    };
    match schema.base() {
        Base::Object if schema.is_raw() => Shape::Atomic.atom(),
        Base::Object => Atom {
            map: Some(map(schema)),
            ..Atom::default()
        },
        Base::Array => Atom {
            list: Some(list(schema)),
            ..Atom::default()
        },
        Base::Integer | Base::Number => Atom {
            scalar: Some(Scalar::Numeric),
            ..Atom::default()
        },
        Base::Boolean => Atom {
            scalar: Some(Scalar::Boolean),
            ..Atom::default()
        },
        Base::String => Atom {
            scalar: Some(match schema.format() {
                None | Some("byte") => Scalar::String,
                Some(_) => Scalar::Untyped,
            }),
            ..Atom::default()
        },
        Base::Any if schema.is_raw() => untyped,
        Base::Any => Atom {
            scalar: Some(Scalar::Untyped),
            list: Some(list(schema)),
            map: Some(map(schema)),
        },
    }
}

fn map(schema: Type<'_>) -> MapShape<'_> {
    let rest = match schema.additional() {
        Some(values) => Some(Shape::Typed(values)),
        None if !schema.has_fields() || schema.merges_unknown() => Some(Shape::Deduced),
        None => None,
    };
    MapShape {
        atomic: schema.map_type() == Some(MapType::Atomic),
        schema: Some(schema),
        rest,
    }
}

fn list(schema: Type<'_>) -> ListShape<'_> {
    let relation = match schema.list_type() {
        Some(relation) => relation,
        None if schema
            .patch_strategy()
            .is_some_and(|strategy| strategy.starts_with("merge")) =>
        {
            if schema.patch_merge_key().is_some() {
                ListType::Map
            } else {
                ListType::Set
            }
        }
        None => ListType::Atomic,
    };
    ListShape {
        relation,
        schema: Some(schema),
        items: schema.items().map_or(Shape::Atomic, Shape::Typed),
    }
}

impl<'a> Atom<'a> {
    /// The forms that fit a value; all if there is none or it is null.
    pub(super) fn for_value(self, value: Option<&Value>) -> Atom<'a> {
        match value {
            Some(Value::Array(_)) if self.list.is_some() => Atom {
                list: self.list,
                ..Atom::default()
            },
            Some(Value::Object(_)) if self.map.is_some() => Atom {
                map: self.map,
                ..Atom::default()
            },
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) if self.scalar.is_some() => Atom {
                scalar: self.scalar,
                ..Atom::default()
            },
            _ => self,
        }
    }

    /// Whether two atoms of one schema are the same forms.
    pub(super) fn same(&self, other: &Atom<'_>) -> bool {
        self.scalar.is_some() == other.scalar.is_some()
            && self.list.is_some() == other.list.is_some()
            && self.map.is_some() == other.map.is_some()
    }

    pub(super) fn form(self) -> Form<'a> {
        match self {
            Atom { map: Some(map), .. } => Form::Map(map),
            Atom {
                scalar: Some(scalar), ..
            } => Form::Scalar(scalar),
            Atom { list: Some(list), .. } => Form::List(list),
            _ => Form::Nothing,
        }
    }
}

impl<'a> MapShape<'a> {
    pub(super) fn declares(&self, name: &str) -> bool {
        self.schema.is_some_and(|schema| schema.own_field(name).is_some())
    }

    /// What a field is, and whether the schema names it.
    pub(super) fn look_up(&self, name: &str) -> (Option<Shape<'a>>, bool) {
        match self.schema.and_then(|schema| schema.own_field(name)) {
            Some(field) => (Some(Shape::Typed(field)), true),
            None => (self.rest, false),
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<Shape<'a>> {
        match self.schema.and_then(|schema| schema.own_field(name)) {
            Some(field) => Some(Shape::Typed(field)),
            None => self.rest,
        }
    }
}

impl<'a> ListShape<'a> {
    fn keys(&self) -> Vec<&'a str> {
        let Some(schema) = self.schema else { return vec![] };
        let keys: Vec<&str> = schema.map_keys().iter().map(AsRef::as_ref).collect();
        if keys.is_empty() {
            schema.patch_merge_key().into_iter().collect()
        } else {
            keys
        }
    }

    /// What names an item of a keyed list, as it is: key names in order with their values.
    pub(super) fn keys_of<'v>(&self, item: &'v Value) -> Vec<(&'a str, &'v Value)>
    where
        'a: 'v,
    {
        let Value::Object(map) = item else { return vec![] };
        let mut keys: Vec<(&'a str, &'v Value)> = Vec::new();
        for name in self.keys() {
            let value = map.get(name).or_else(|| match self.items {
                Shape::Typed(items) => items.own_field(name)?.default_value(),
                _ => None,
            });
            keys.extend(value.map(|value| (name, value)));
        }
        keys.sort_by_key(|(name, _)| *name);
        keys
    }

    /// Appends the step that names an item as keys of `fieldsV1` have it; `None` if nothing does.
    pub(super) fn encode_step(&self, item: &Value, out: &mut String) -> Option<()> {
        if self.relation == ListType::Set {
            if matches!(item, Value::Object(_) | Value::Array(_) | Value::Null) {
                return None;
            }
            return write!(out, "v:{item}").ok();
        }
        let keys = self.keys_of(item);
        out.push_str("k:{");
        for (index, (name, value)) in keys.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            // Key names are identifiers: nothing in them is escaped.
            write!(out, "{comma}\"{name}\":{value}").ok()?;
        }
        out.push('}');
        (!keys.is_empty()).then_some(())
    }

    /// The step that names an item of a set or keyed list.
    pub(super) fn step(&self, item: &Value) -> Result<Step, String> {
        if self.relation == ListType::Set {
            return match item {
                Value::Object(_) => {
                    Err("associative list without keys has an element that's a map type".to_owned())
                }
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => {
                    Err("associative list without keys has an element that's an explicit null".to_owned())
                }
                plain => Ok(Step::Value(plain.clone())),
            };
        }
        let map = match item {
            Value::Object(map) => map,
            Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
            _ => return Err("associative list with keys may not have non-map elements".to_owned()),
        };
        let names = self.keys();
        let mut keys: Vec<(Box<str>, Value)> = Vec::with_capacity(names.len());
        for name in &names {
            let value = map.get(*name).or_else(|| match self.items {
                Shape::Typed(items) => items.own_field(name)?.default_value(),
                _ => None,
            });
            if let Some(value) = value {
                keys.push(((*name).into(), value.clone()));
            }
        }
        if keys.is_empty() {
            let names: Vec<String> = names.iter().map(|name| fluvial_schema::quote(name)).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                names.join(" ")
            ));
        }
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Step::Key(keys.into()))
    }
}
