//! Handles on schema nodes: [`TypeRef`] owns its table, [`Type`] borrows it for inner loops.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::table::{Base, Checks, Index, ListType, MapType, Node, Table, Text};

/// A schema that keeps its table alive; cloning counts a reference.
#[derive(Clone, Debug)]
pub struct TypeRef {
    pub(crate) table: Arc<Table>,
    pub(crate) index: Index,
}

/// A borrowed schema; copying is free.
#[derive(Clone, Copy, Debug)]
pub struct Type<'a> {
    pub(crate) table: &'a Table,
    pub(crate) index: Index,
}

impl PartialEq for Type<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.table, other.table) && self.index == other.index
    }
}

impl TypeRef {
    /// The same schema, borrowed.
    #[must_use]
    pub fn view(&self) -> Type<'_> {
        Type {
            table: &self.table,
            index: self.index,
        }
    }

    /// Reads any OpenAPI v3 schema without checking its form.
    #[must_use]
    pub fn from_openapi(schema: &Value) -> TypeRef {
        let mut table = Table::default();
        let index = crate::crd::read_any(&mut table, schema);
        TypeRef {
            table: Arc::new(table),
            index,
        }
    }

    fn at(&self, other: Type<'_>) -> TypeRef {
        TypeRef {
            table: Arc::clone(&self.table),
            index: other.index,
        }
    }

    /// The field of this name, or what additional fields are.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<TypeRef> {
        self.view().field(name).map(|field| self.at(field))
    }

    /// The declared field of this name.
    #[must_use]
    pub fn own_field(&self, name: &str) -> Option<TypeRef> {
        self.view().own_field(name).map(|field| self.at(field))
    }

    /// Whether nothing at all is said about the value.
    pub(crate) fn is_free(&self) -> bool {
        let view = self.view();
        view.base() == Base::Any && !view.int_or_string()
    }

    /// What list items are.
    #[must_use]
    pub fn items(&self) -> Option<TypeRef> {
        self.view().items().map(|items| self.at(items))
    }

    /// What the values of a map are.
    #[must_use]
    pub fn additional(&self) -> Option<TypeRef> {
        self.view().additional().map(|values| self.at(values))
    }

    /// How the list merges.
    #[must_use]
    pub fn list_type(&self) -> Option<ListType> {
        self.view().list_type()
    }

    /// Paths of fields in `value` that the schema does not know, as the API server names them.
    #[must_use]
    pub fn unknown_fields(&self, value: &Value) -> Vec<String> {
        crate::unknown::find(self.view(), value)
    }

    /// Fills in the schema's defaults.
    pub fn default(&self, value: &mut Value) {
        crate::unknown::fill_defaults(self.view(), value);
    }
}

impl<'a> Type<'a> {
    fn node(self) -> &'a Node {
        &self.table.nodes[self.index as usize]
    }

    fn at(self, index: Index) -> Type<'a> {
        Type {
            table: self.table,
            index,
        }
    }

    /// The node itself if it is no reference, else where its references end.
    #[must_use]
    pub fn resolve(self) -> Type<'a> {
        let mut here = self;
        // Documents have references to references at most; a cycle would be a broken table.
        for _ in 0..8 {
            match here.node().reference {
                Some(target) => here = self.at(target),
                None => break,
            }
        }
        here
    }

    fn target(self) -> &'a Node {
        self.resolve().node()
    }

    /// Whether two handles are the same node.
    #[must_use]
    pub fn same(self, other: Type<'_>) -> bool {
        std::ptr::eq(self.table, other.table) && self.index == other.index
    }

    /// Name of the definition that this is or refers to.
    #[must_use]
    pub fn name(self) -> Option<&'a str> {
        self.table.name_of(self.resolve().index)
    }

    /// JSON type.
    #[must_use]
    pub fn base(self) -> Base {
        self.target().base
    }

    /// Whether fields are declared.
    #[must_use]
    pub fn has_fields(self) -> bool {
        !self.target().fields.is_empty()
    }

    /// The declared field of this name.
    #[must_use]
    pub fn own_field(self, name: &str) -> Option<Type<'a>> {
        self.target().field(name).map(|index| self.at(index))
    }

    /// The field of this name, or what additional fields are.
    #[must_use]
    pub fn field(self, name: &str) -> Option<Type<'a>> {
        self.own_field(name).or_else(|| self.additional())
    }

    /// Declared fields in order of their names.
    pub fn fields(self) -> impl Iterator<Item = (&'a str, Type<'a>)> {
        self.target()
            .fields
            .iter()
            .map(move |(name, index)| (name.as_ref(), self.at(*index)))
    }

    /// What list items are.
    #[must_use]
    pub fn items(self) -> Option<Type<'a>> {
        self.target().items.map(|index| self.at(index))
    }

    /// What the values of a map are.
    #[must_use]
    pub fn additional(self) -> Option<Type<'a>> {
        self.target().additional.map(|index| self.at(index))
    }

    /// How the list merges.
    #[must_use]
    pub fn list_type(self) -> Option<ListType> {
        self.node().list_type.or(self.target().list_type)
    }

    /// How the map merges: a field's own word goes before its type's.
    #[must_use]
    pub fn map_type(self) -> Option<MapType> {
        self.node().map_type.or(self.target().map_type)
    }

    /// Key fields of a list that merges by key.
    #[must_use]
    pub fn map_keys(self) -> &'a [Text] {
        let own = &self.node().more().map_keys;
        if own.is_empty() {
            &self.target().more().map_keys
        } else {
            own
        }
    }

    /// `x-kubernetes-patch-strategy`, for example `merge,retainKeys`.
    #[must_use]
    pub fn patch_strategy(self) -> Option<&'a str> {
        let own = self.node().more().patch_strategy.as_deref();
        own.or(self.target().more().patch_strategy.as_deref())
    }

    /// `x-kubernetes-patch-merge-key`.
    #[must_use]
    pub fn patch_merge_key(self) -> Option<&'a str> {
        let own = self.node().more().patch_merge_key.as_deref();
        own.or(self.target().more().patch_merge_key.as_deref())
    }

    /// The default, if one is declared here or on the type.
    #[must_use]
    pub fn default_value(self) -> Option<&'a Value> {
        let own = self.node().more().default.as_ref();
        own.or(self.target().more().default.as_ref())
    }

    /// `format`.
    #[must_use]
    pub fn format(self) -> Option<&'a str> {
        self.target().more().format.as_deref()
    }

    /// Names of required fields.
    #[must_use]
    pub fn required(self) -> &'a [Text] {
        &self.target().more().required
    }

    /// Allowed values; empty for all.
    #[must_use]
    pub fn enumeration(self) -> &'a [Value] {
        &self.target().more().enumeration
    }

    /// Whether null is a value.
    #[must_use]
    pub fn nullable(self) -> bool {
        self.node().nullable || self.target().nullable
    }

    /// Whether undeclared fields are kept.
    #[must_use]
    pub fn preserve_unknown(self) -> bool {
        self.node().preserve_unknown || self.target().preserve_unknown
    }

    /// Whether the value merges as a whole whatever its form (quantities, raw extensions).
    #[must_use]
    pub fn is_raw(self) -> bool {
        self.target().raw
    }

    /// Whether undeclared fields merge by types deduced from their values.
    #[must_use]
    pub fn merges_unknown(self) -> bool {
        self.target().open
    }

    /// Whether the value is a whole object with apiVersion, kind and metadata.
    #[must_use]
    pub fn embedded(self) -> bool {
        self.target().embedded
    }

    /// Whether the value is a whole number or a string.
    #[must_use]
    pub fn int_or_string(self) -> bool {
        self.target().int_or_string || self.format() == Some("int-or-string")
    }

    /// Whether this is the metadata of every object, which has its own rules.
    pub(crate) fn is_foreign(self) -> bool {
        self.target().foreign
    }

    pub(crate) fn checks(self) -> Option<&'a Checks> {
        self.target().checks.as_deref()
    }

    fn parts(self, of: impl Fn(&'a Checks) -> &'a [Index]) -> Vec<Type<'a>> {
        let all = self.checks().map(of).unwrap_or_default();
        all.iter().map(|index| self.at(*index)).collect()
    }

    pub(crate) fn any_of(self) -> Vec<Type<'a>> {
        self.parts(|checks| &checks.any_of)
    }

    pub(crate) fn one_of(self) -> Vec<Type<'a>> {
        self.parts(|checks| &checks.one_of)
    }

    pub(crate) fn all_of(self) -> Vec<Type<'a>> {
        self.parts(|checks| &checks.all_of)
    }

    pub(crate) fn not(self) -> Option<Type<'a>> {
        self.checks()
            .and_then(|checks| checks.not)
            .map(|index| self.at(index))
    }

    /// The OpenAPI v3 schema, references as `{prefix}{name}`.
    #[must_use]
    pub fn to_openapi(self, prefix: &str) -> Value {
        let node = self.node();
        let mut out = Map::new();
        if let Some(target) = node.reference {
            let reference = format!("{prefix}{}", self.table.name_of(target).unwrap_or_default());
            if node.wrapped {
                out.insert("allOf".into(), json!([{ "$ref": reference }]));
            } else {
                out.insert("$ref".into(), reference.into());
            }
        } else if node.base != Base::Any {
            out.insert("type".into(), node.base.name().into());
        }
        if !node.fields.is_empty() {
            let fields = node.fields.iter();
            let fields = fields.map(|(name, index)| (name.to_string(), self.at(*index).to_openapi(prefix)));
            out.insert("properties".into(), Value::Object(fields.collect()));
        }
        for (key, index) in [("items", node.items), ("additionalProperties", node.additional)] {
            if let Some(index) = index {
                out.insert(key.into(), self.at(index).to_openapi(prefix));
            }
        }
        self.extensions_to_openapi(prefix, &mut out);
        Value::Object(out)
    }

    fn extensions_to_openapi(self, prefix: &str, out: &mut Map<String, Value>) {
        let node = self.node();
        let more = node.more();
        let texts = |list: &[Text]| Value::Array(list.iter().map(|text| text.as_ref().into()).collect());
        let mut put = |key: &str, value: Value| {
            out.insert(key.to_owned(), value);
        };
        if let Some(format) = &more.format {
            put("format", format.as_ref().into());
        }
        if !more.required.is_empty() {
            put("required", texts(&more.required));
        }
        if let Some(default) = &more.default {
            put("default", default.clone());
        }
        if !more.enumeration.is_empty() {
            put("enum", more.enumeration.clone().into());
        }
        if !more.one_of.is_empty() {
            let all = more.one_of.iter().map(|index| self.at(*index).to_openapi(prefix));
            put("oneOf", all.collect());
        }
        if let Some(kind) = node.list_type {
            put(
                "x-kubernetes-list-type",
                match kind {
                    ListType::Atomic => "atomic",
                    ListType::Set => "set",
                    ListType::Map => "map",
                }
                .into(),
            );
        }
        if let Some(kind) = node.map_type {
            put(
                "x-kubernetes-map-type",
                match kind {
                    MapType::Atomic => "atomic",
                    MapType::Granular => "granular",
                }
                .into(),
            );
        }
        if !more.map_keys.is_empty() {
            put("x-kubernetes-list-map-keys", texts(&more.map_keys));
        }
        if let Some(strategy) = &more.patch_strategy {
            put("x-kubernetes-patch-strategy", strategy.as_ref().into());
        }
        if let Some(key) = &more.patch_merge_key {
            put("x-kubernetes-patch-merge-key", key.as_ref().into());
        }
        for (key, value) in &more.extra {
            put(key, value.clone());
        }
        if !more.kinds.is_empty() {
            let kinds = more.kinds.iter();
            let kinds =
                kinds.map(|[group, version, kind]| json!({"group": group, "version": version, "kind": kind}));
            put("x-kubernetes-group-version-kind", kinds.collect());
        }
    }
}
