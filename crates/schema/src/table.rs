//! The arena that all schemas live in: built-in kinds and custom ones have the same nodes, so that
//! merging, defaulting and validating know one form only.
//!
//! Texts of built-in kinds borrow from the file in the binary; nothing is copied when it is read.

use std::borrow::Cow;

use serde_json::Value;

/// A text that may lie in the binary.
pub(crate) type Text = Cow<'static, str>;

/// Index of a node.
pub(crate) type Index = u32;

/// JSON type of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Base {
    /// No type is named: any value.
    #[default]
    Any,
    /// A map or struct.
    Object,
    /// A list.
    Array,
    /// A string.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A truth value.
    Boolean,
}

impl Base {
    /// The type with this name in OpenAPI documents.
    #[must_use]
    pub fn parse(name: &str) -> Option<Base> {
        Some(match name {
            "object" => Base::Object,
            "array" => Base::Array,
            "string" => Base::String,
            "integer" => Base::Integer,
            "number" => Base::Number,
            "boolean" => Base::Boolean,
            _ => return None,
        })
    }

    /// The name in OpenAPI documents; empty for any.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Base::Any => "",
            Base::Object => "object",
            Base::Array => "array",
            Base::String => "string",
            Base::Integer => "integer",
            Base::Number => "number",
            Base::Boolean => "boolean",
        }
    }
}

/// How a list merges (`x-kubernetes-list-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// As a whole.
    Atomic,
    /// By value.
    Set,
    /// By key fields.
    Map,
}

/// How a map merges (`x-kubernetes-map-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapType {
    /// As a whole.
    Atomic,
    /// Field by field.
    Granular,
}

/// One schema.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) base: Base,
    pub(crate) list_type: Option<ListType>,
    pub(crate) map_type: Option<MapType>,
    /// The type that this node stands for; its own extensions go before the target's.
    pub(crate) reference: Option<Index>,
    /// The reference was written inside `allOf`, which documents do where it has siblings.
    pub(crate) wrapped: bool,
    pub(crate) nullable: bool,
    pub(crate) preserve_unknown: bool,
    pub(crate) embedded: bool,
    pub(crate) int_or_string: bool,
    /// A value that merges as a whole whatever its form: quantities and raw extensions.
    pub(crate) raw: bool,
    /// Below a schema that keeps unknown fields, which merge by deduced types.
    pub(crate) open: bool,
    /// Metadata of every object, which has its own rules for defaults and nulls.
    pub(crate) foreign: bool,
    pub(crate) items: Option<Index>,
    pub(crate) additional: Option<Index>,
    /// Sorted by name.
    pub(crate) fields: Vec<(Text, Index)>,
    pub(crate) more: Option<Box<More>>,
    /// Limits and compositions; custom resources only.
    pub(crate) checks: Option<Box<Checks>>,
}

/// Checks of values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    pub(crate) maximum: Option<serde_json::Number>,
    pub(crate) exclusive_maximum: bool,
    pub(crate) minimum: Option<serde_json::Number>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) multiple_of: Option<serde_json::Number>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) pattern: Option<crate::crd::Pattern>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) all_of: Vec<Index>,
    pub(crate) any_of: Vec<Index>,
    pub(crate) one_of: Vec<Index>,
    pub(crate) not: Option<Index>,
    /// Rules in the expression language.
    pub(crate) rules: Vec<crate::crd::Rule>,
}

/// What few nodes have.
#[derive(Clone, Debug, Default)]
pub(crate) struct More {
    pub(crate) format: Option<Text>,
    pub(crate) required: Vec<Text>,
    pub(crate) map_keys: Vec<Text>,
    pub(crate) patch_strategy: Option<Text>,
    pub(crate) patch_merge_key: Option<Text>,
    pub(crate) default: Option<Value>,
    pub(crate) enumeration: Vec<Value>,
    pub(crate) one_of: Vec<Index>,
    /// Parts without a field of their own here, published again as they are.
    pub(crate) extra: Vec<(Text, Value)>,
    /// Group, version and kind that the type is.
    pub(crate) kinds: Vec<[Text; 3]>,
}

static NOTHING: More = More {
    format: None,
    required: Vec::new(),
    map_keys: Vec::new(),
    patch_strategy: None,
    patch_merge_key: None,
    default: None,
    enumeration: Vec::new(),
    one_of: Vec::new(),
    extra: Vec::new(),
    kinds: Vec::new(),
};

impl Node {
    pub(crate) fn more(&self) -> &More {
        self.more.as_deref().unwrap_or(&NOTHING)
    }

    pub(crate) fn more_mut(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    pub(crate) fn checks_mut(&mut self) -> &mut Checks {
        self.checks.get_or_insert_default()
    }

    pub(crate) fn field(&self, name: &str) -> Option<Index> {
        let at = self
            .fields
            .binary_search_by(|(own, _)| own.as_ref().cmp(name))
            .ok()?;
        Some(self.fields[at].1)
    }
}

/// An immutable set of schemas that refer to each other.
#[derive(Debug, Default)]
pub struct Table {
    pub(crate) nodes: Vec<Node>,
    /// Named types, sorted.
    pub(crate) names: Vec<(Text, Index)>,
}

impl Table {
    pub(crate) fn push(&mut self, node: Node) -> Index {
        self.nodes.push(node);
        Index::try_from(self.nodes.len() - 1).expect("a table has far fewer nodes")
    }

    pub(crate) fn named(&self, name: &str) -> Option<Index> {
        let at = self
            .names
            .binary_search_by(|(own, _)| own.as_ref().cmp(name))
            .ok()?;
        Some(self.names[at].1)
    }

    pub(crate) fn name_of(&self, index: Index) -> Option<&str> {
        self.names
            .iter()
            .find(|(_, own)| *own == index)
            .map(|(name, _)| name.as_ref())
    }
}
