//! The values that templates compute with, as Go's reflection sees them.
//!
//! What templates can observe decides the shape: a missing field (`interface {}` that is nil) differs
//! from no value at all, integers keep their Go type, maps are shared and can be changed in place
//! (Sprig's `set`), lists cannot, and objects of the host answer fields and methods themselves.
//!
//! A run's values belong to one thread: sharing inside it is by `Rc`.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::function::Params;

/// Go's integer types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntType {
    /// `int`
    Int,
    /// `int32` (also `rune`)
    Int32,
    /// `int64`
    Int64,
}

/// Go's unsigned types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UintType {
    /// `uint`
    Uint,
    /// `uint8` (also `byte`)
    Uint8,
    /// `uint32`
    Uint32,
    /// `uint64`
    Uint64,
}

/// The element type of a list or map, as far as templates can tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// `interface {}`
    Any,
    /// `string`
    Str,
    /// `int`
    Int,
    /// `uint8`: the list is `[]uint8`.
    Byte,
    /// `map[string]interface {}`
    Map,
    /// `[]interface {}`
    List,
    /// `[]uint8`
    Bytes,
}

impl Element {
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Element::Any => "interface {}",
            Element::Str => "string",
            Element::Int => "int",
            Element::Byte => "uint8",
            Element::Map => "map[string]interface {}",
            Element::List => "[]interface {}",
            Element::Bytes => "[]uint8",
        }
    }
}

/// An immutable list.
#[derive(Clone)]
pub struct List {
    /// The type of its elements.
    pub element: Element,
    /// Whether it is Go's nil slice: empty, and null once it is written as JSON.
    nil: bool,
    object: Option<Rc<dyn Object>>,
    items: Rc<Vec<Value>>,
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.items.fmt(f)
    }
}

impl List {
    /// A `[]interface {}`.
    #[must_use]
    pub fn any(items: Vec<Value>) -> Self {
        List {
            element: Element::Any,
            nil: false,
            object: None,
            items: Rc::new(items),
        }
    }

    /// A `[]string`.
    pub fn strings<S: Into<Rc<str>>>(items: impl IntoIterator<Item = S>) -> Self {
        let items = items.into_iter().map(|item| Value::Str(item.into())).collect();
        List {
            element: Element::Str,
            nil: false,
            object: None,
            items: Rc::new(items),
        }
    }

    /// A list of elements of this type; the caller vouches for them.
    #[must_use]
    pub fn of(element: Element, items: Vec<Value>) -> Self {
        List {
            element,
            nil: false,
            object: None,
            items: Rc::new(items),
        }
    }

    /// The nil slice of this one's type if it is empty: without elements, and null where it becomes JSON or YAML.
    #[must_use]
    pub fn or_nil(mut self) -> Self {
        self.nil = self.items.is_empty();
        self
    }

    /// Whether it is a nil slice.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        self.nil
    }

    /// A `[]uint8`.
    #[must_use]
    pub fn bytes(bytes: &[u8]) -> Self {
        let items = bytes
            .iter()
            .map(|byte| Value::Uint(u64::from(*byte), UintType::Uint8));
        List::of(Element::Byte, items.collect())
    }

    /// The bytes of a `[]uint8`.
    #[must_use]
    pub fn as_bytes(&self) -> Option<Vec<u8>> {
        let byte = |item: &Value| match item {
            Value::Uint(byte, _) => u8::try_from(*byte).unwrap_or_default(),
            _ => 0,
        };
        (self.element == Element::Byte).then(|| self.items.iter().map(byte).collect())
    }

    /// The same list as a type of the host, which has a name and perhaps methods.
    #[must_use]
    pub fn with_object(mut self, object: Rc<dyn Object>) -> Self {
        self.object = Some(object);
        self
    }

    /// The host's type behind this list.
    #[must_use]
    pub fn object(&self) -> Option<&Rc<dyn Object>> {
        self.object.as_ref()
    }

    /// The elements.
    #[must_use]
    pub fn items(&self) -> &[Value] {
        &self.items
    }
}

/// A map with string keys, shared and changeable in place.
#[derive(Clone)]
pub struct Map {
    /// The type of its values.
    pub element: Element,
    /// A name other than `map[string]…`, if its Go type has one (`chart.Values`, say).
    pub type_name: Option<&'static str>,
    /// Whether it is Go's nil map: empty, and null once it is written as JSON.
    nil: bool,
    shared: Rc<Shared>,
}

/// What all copies of a map share.
struct Shared {
    entries: RefCell<BTreeMap<Rc<str>, Value>>,
    /// How often somebody asked to change it.
    changes: Cell<u32>,
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("map")
    }
}

impl Default for Map {
    fn default() -> Self {
        Map::new(BTreeMap::new())
    }
}

impl Map {
    /// A `map[string]interface {}`.
    #[must_use]
    pub fn new(entries: BTreeMap<Rc<str>, Value>) -> Self {
        Map {
            element: Element::Any,
            type_name: None,
            nil: false,
            shared: Rc::new(Shared {
                entries: RefCell::new(entries),
                changes: Cell::new(0),
            }),
        }
    }

    /// A `map[string]string`.
    #[must_use]
    pub fn strings(entries: BTreeMap<Rc<str>, Value>) -> Self {
        Map {
            element: Element::Str,
            ..Map::new(entries)
        }
    }

    /// The nil map of this one's type: without entries, and null where it becomes JSON or YAML.
    #[must_use]
    pub fn nil(mut self) -> Self {
        self.nil = true;
        self
    }

    /// Whether it is a nil map.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        self.nil
    }

    /// The same map under another type name.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Self {
        self.type_name = Some(name);
        self
    }

    /// The entries. Do not hold this while calling into templates.
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, BTreeMap<Rc<str>, Value>> {
        self.shared.entries.borrow()
    }

    /// The entries, to change them for everybody who shares the map.
    #[must_use]
    pub fn borrow_mut(&self) -> RefMut<'_, BTreeMap<Rc<str>, Value>> {
        let shared = &self.shared;
        shared.changes.set(shared.changes.get().wrapping_add(1));
        shared.entries.borrow_mut()
    }

    /// The value under a key; a nil value is [`Value::NilInterface`].
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value> {
        self.borrow().get(key).cloned()
    }

    /// Whether both are the same map, not only equal ones.
    #[must_use]
    pub fn same(&self, other: &Map) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }

    /// What tells this map from all others that are alive.
    pub(crate) fn address(&self) -> usize {
        Rc::as_ptr(&self.shared).addr()
    }

    /// How often it was lent for changes.
    pub(crate) fn changes(&self) -> u32 {
        self.shared.changes.get()
    }
}

/// What an object is to `fmt` when its methods do not count.
pub enum Underlying {
    /// A plain value under a type name of its own (a duration's nanoseconds, say).
    Value(Value),
    /// A struct's fields in order; behind a pointer if `pointer`.
    Struct {
        /// Whether it prints as `&{…}`.
        pointer: bool,
        /// Names and values.
        fields: Vec<(&'static str, Value)>,
    },
}

/// An object of the host: a struct, or a pointer to one, with fields and methods.
pub trait Object {
    /// Its Go type as `%T` prints it.
    fn type_name(&self) -> String;

    /// `struct` or `ptr`, as Sprig's `kindOf` prints it; a named map says `map`.
    fn kind(&self) -> &'static str {
        "struct"
    }

    /// A field. `None`: there is no such field.
    fn field(&self, name: &str) -> Option<Value>;

    /// Whether it has a field of this name that templates may not see.
    fn has_unexported(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// The parameters of a method. `None`: there is no such method.
    fn method(&self, name: &str) -> Option<Params> {
        let _ = name;
        None
    }

    /// Calls a method that [`Object::method`] knows, with arguments that fit.
    ///
    /// # Errors
    /// What the method reports.
    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, String> {
        let _ = arguments;
        Err(format!("no method {name}"))
    }

    /// What its `String` or `Error` method gives, if it has one: what `%v` and `%s` print.
    fn text(&self) -> Option<String> {
        None
    }

    /// What printing it gives where it stands as a field, if its `String` method needs its address.
    fn text_in_place(&self) -> Option<String> {
        None
    }

    /// What functions get of it, if that is another value than the field: a copy without an address, which prints as
    /// what it is underneath.
    fn copied(&self) -> Option<Value> {
        None
    }

    /// What it is without its methods: a number, or the fields of a struct.
    fn underlying(&self) -> Underlying;

    /// Its entries, if it is a map underneath (`range`, `index`, `toYaml`).
    fn as_map(&self) -> Option<Map> {
        None
    }

    /// What it is as JSON, for the functions that encode.
    fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Its fields as JSON in the order of its type, if that is not the order of the names.
    fn json_fields(&self) -> Option<Vec<(&'static str, Value)>> {
        None
    }

    /// For functions that want the concrete type back.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// A value of a template.
#[derive(Clone)]
pub enum Value {
    /// No value at all: Go's zero `reflect.Value`.
    Nil,
    /// An `interface {}` that holds nil: a missing or null field.
    NilInterface,
    /// `bool`
    Bool(bool),
    /// A signed integer with its Go type.
    Int(i64, IntType),
    /// An unsigned integer with its Go type.
    Uint(u64, UintType),
    /// `float64`
    Float(f64),
    /// `string`
    Str(Rc<str>),
    /// A slice.
    List(List),
    /// A map.
    Map(Map),
    /// An object of the host.
    Object(Rc<dyn Object>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::print::go_value(self))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Str(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Str(value.into())
    }
}

impl From<Map> for Value {
    fn from(value: Map) -> Self {
        Value::Map(value)
    }
}

impl From<List> for Value {
    fn from(value: List) -> Self {
        Value::List(value)
    }
}

impl Value {
    /// An `int`.
    #[must_use]
    pub fn int(value: i64) -> Self {
        Value::Int(value, IntType::Int)
    }

    /// An `int64`.
    #[must_use]
    pub fn int64(value: i64) -> Self {
        Value::Int(value, IntType::Int64)
    }

    /// The type as `%T` prints it.
    #[must_use]
    pub fn type_name(&self) -> String {
        match self {
            Value::Nil => "<nil>".to_owned(),
            Value::NilInterface => "interface {}".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Int(_, IntType::Int) => "int".to_owned(),
            Value::Int(_, IntType::Int32) => "int32".to_owned(),
            Value::Int(_, IntType::Int64) => "int64".to_owned(),
            Value::Uint(_, UintType::Uint) => "uint".to_owned(),
            Value::Uint(_, UintType::Uint8) => "uint8".to_owned(),
            Value::Uint(_, UintType::Uint32) => "uint32".to_owned(),
            Value::Uint(_, UintType::Uint64) => "uint64".to_owned(),
            Value::Float(_) => "float64".to_owned(),
            Value::Str(_) => "string".to_owned(),
            Value::List(list) => match &list.object {
                Some(object) => object.type_name(),
                None => format!("[]{}", list.element.type_name()),
            },
            Value::Map(map) => map.type_name.map_or_else(
                || format!("map[string]{}", map.element.type_name()),
                str::to_owned,
            ),
            Value::Object(object) => object.type_name(),
        }
    }

    /// The kind, as Go's `reflect.Kind` prints it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Nil => "invalid",
            Value::NilInterface => "interface",
            Value::Bool(_) => "bool",
            Value::Int(_, IntType::Int) => "int",
            Value::Int(_, IntType::Int32) => "int32",
            Value::Int(_, IntType::Int64) => "int64",
            Value::Uint(_, UintType::Uint) => "uint",
            Value::Uint(_, UintType::Uint8) => "uint8",
            Value::Uint(_, UintType::Uint32) => "uint32",
            Value::Uint(_, UintType::Uint64) => "uint64",
            Value::Float(_) => "float64",
            Value::Str(_) => "string",
            Value::List(_) => "slice",
            Value::Map(_) => "map",
            Value::Object(object) => object.kind(),
        }
    }

    /// Whether it is one of the two nils.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil | Value::NilInterface)
    }

    /// Go's truth: not the zero value, and not empty.
    #[must_use]
    pub fn truth(&self) -> bool {
        match self {
            Value::Nil | Value::NilInterface => false,
            Value::Bool(value) => *value,
            Value::Int(value, _) => *value != 0,
            Value::Uint(value, _) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Str(text) => !text.is_empty(),
            Value::List(list) => !list.items().is_empty(),
            Value::Map(map) => !map.borrow().is_empty(),
            Value::Object(object) => object.as_map().is_none_or(|map| !map.borrow().is_empty()),
        }
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// What a value out of an `interface {}` is: the nil inside is no value at all.
    #[must_use]
    pub fn unwrap_interface(self) -> Value {
        match self {
            Value::NilInterface => Value::Nil,
            value => value,
        }
    }

    /// What a function gets of a value.
    pub(crate) fn copied(self) -> Value {
        match self {
            Value::NilInterface => Value::Nil,
            Value::Object(object) => object.copied().unwrap_or(Value::Object(object)),
            value => value,
        }
    }

    /// The name of the type that it points to, or else of its own.
    pub(crate) fn pointee_name(&self) -> String {
        let name = self.type_name();
        match self.kind() {
            "ptr" => name.trim_start_matches('*').to_owned(),
            _ => name,
        }
    }

    /// What JSON decoded into Go's `interface {}` gives: every number is a float64.
    #[must_use]
    pub fn from_json(json: &serde_json::Value) -> Value {
        Self::decode(json, &|number| Value::Float(number.as_f64().unwrap_or(f64::NAN)))
    }

    /// Decoded with whole numbers as int64, as Helm's `--set` makes them.
    #[must_use]
    pub fn from_json_with_ints(json: &serde_json::Value) -> Value {
        Self::decode(json, &|number| {
            number
                .as_i64()
                .map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::int64)
        })
    }

    fn decode(json: &serde_json::Value, number: &dyn Fn(&serde_json::Number) -> Value) -> Value {
        match json {
            serde_json::Value::Null => Value::NilInterface,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(value) => number(value),
            serde_json::Value::String(text) => Value::Str(text.as_str().into()),
            serde_json::Value::Array(items) => Value::List(List::any(
                items.iter().map(|item| Self::decode(item, number)).collect(),
            )),
            serde_json::Value::Object(entries) => Value::Map(Map::new(
                entries
                    .iter()
                    .map(|(key, value)| (key.as_str().into(), Self::decode(value, number)))
                    .collect(),
            )),
        }
    }

    /// As Go's `encoding/json` would see it; floats that are no JSON numbers are null.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Nil | Value::NilInterface => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value, _) => (*value).into(),
            Value::Uint(value, _) => (*value).into(),
            Value::Float(value) => {
                serde_json::Number::from_f64(*value).map_or(serde_json::Value::Null, Into::into)
            }
            Value::Str(text) => serde_json::Value::String(text.to_string()),
            Value::List(list) if list.is_nil() => serde_json::Value::Null,
            Value::List(list) => match list.as_bytes() {
                Some(bytes) => serde_json::Value::String(STANDARD.encode(bytes)),
                None => list.items().iter().map(Value::to_json).collect(),
            },
            Value::Map(map) if map.is_nil() => serde_json::Value::Null,
            Value::Map(map) => serde_json::Value::Object(
                map.borrow()
                    .iter()
                    .map(|(key, value)| (key.to_string(), value.to_json()))
                    .collect(),
            ),
            Value::Object(object) => object
                .as_map()
                .map_or_else(|| object.to_json(), |map| Value::Map(map).to_json()),
        }
    }

    /// Go's `reflect.DeepEqual` over the values that templates can hold.
    #[must_use]
    pub fn deep_equal(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Nil | Value::NilInterface, Value::Nil | Value::NilInterface) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a, s), Value::Int(b, t)) => a == b && s == t,
            (Value::Uint(a, s), Value::Uint(b, t)) => a == b && s == t,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::List(a), Value::List(b)) => {
                a.element == b.element
                    && a.nil == b.nil
                    && a.items().len() == b.items().len()
                    && a.items().iter().zip(b.items()).all(|(a, b)| a.deep_equal(b))
            }
            (Value::Map(a), Value::Map(b)) => {
                a.same(b) || {
                    let (a, b) = (a.borrow(), b.borrow());
                    a.len() == b.len()
                        && a.iter()
                            .zip(b.iter())
                            .all(|((k, v), (l, w))| k == l && v.deep_equal(w))
                }
            }
            (Value::Object(a), Value::Object(b)) => Rc::ptr_eq(a, b),
            _ => false,
        }
    }
}
