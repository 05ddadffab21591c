//! The built-in kinds: reads `data/kinds.txt`, which is written by `cargo xtask codegen schema`.
//!
//! A line is `name TAB type (TAB attribute)*`, indented by one space a level. The type is a JSON
//! type, `-` for any, `@name` for a reference, `&name` for one inside `allOf`. Children are named
//! fields, `[]` for items and `{}` for additional fields.

use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::resources::Resource;
use crate::table::{Base, Index, ListType, MapType, Node, Table, Text};
use crate::types::{Type, TypeRef};

static KINDS: &str = include_str!("../data/kinds.txt");
static BUILTIN: LazyLock<Arc<Builtin>> = LazyLock::new(|| Arc::new(Builtin::read(KINDS)));

/// Types whose values merge as a whole.
const RAW: [&str; 2] = [
    "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
];

/// A set of kinds with their schemas; cloning is cheap.
#[derive(Clone, Debug)]
pub struct SchemaSet {
    inner: Arc<Builtin>,
}

#[derive(Debug)]
struct Builtin {
    table: Arc<Table>,
    /// Group, version, kind → node, sorted.
    kinds: Vec<([Text; 3], Index)>,
}

impl SchemaSet {
    /// The kinds that an API server has built in; the first call reads them (about a millisecond).
    #[must_use]
    pub fn builtin() -> SchemaSet {
        SchemaSet {
            inner: Arc::clone(&BUILTIN),
        }
    }

    /// The schema of a kind.
    #[must_use]
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<TypeRef> {
        let key = [group, version, kind];
        let at = self
            .inner
            .kinds
            .binary_search_by(|(own, _)| own.each_ref().map(AsRef::as_ref).cmp(&key))
            .ok()?;
        Some(self.type_at(self.inner.kinds[at].1))
    }

    /// The schema of a named definition, such as `io.k8s.api.core.v1.PodSpec`.
    #[must_use]
    pub fn definition(&self, name: &str) -> Option<TypeRef> {
        self.inner.table.named(name).map(|index| self.type_at(index))
    }

    /// All definitions in order of their names.
    pub fn definitions(&self) -> impl Iterator<Item = (&str, Type<'_>)> {
        let table = &*self.inner.table;
        table
            .names
            .iter()
            .map(move |(name, index)| (name.as_ref(), Type { table, index: *index }))
    }

    /// The served built-in resources in order of group, version and kind.
    #[must_use]
    pub fn resources(&self) -> &'static [Resource] {
        crate::resources::all()
    }

    fn type_at(&self, index: Index) -> TypeRef {
        TypeRef {
            table: Arc::clone(&self.inner.table),
            index,
        }
    }
}

/// A reference that is bound once all definitions are read.
struct Pending {
    node: Index,
    target: &'static str,
}

impl Builtin {
    fn read(text: &'static str) -> Builtin {
        let mut table = Table::default();
        let mut pending = Vec::new();
        let mut parents: Vec<Index> = Vec::new();
        for line in text.lines() {
            let name_on = line.trim_start_matches(' ');
            let depth = line.len() - name_on.len();
            let mut parts = name_on.split('\t');
            let (Some(name), Some(kind)) = (parts.next(), parts.next()) else {
                continue;
            };
            let mut node = Node::default();
            let mut target = None;
            if let Some(name) = kind.strip_prefix('@') {
                target = Some(name);
            } else if let Some(name) = kind.strip_prefix('&') {
                target = Some(name);
                node.wrapped = true;
            } else {
                node.base = Base::parse(kind).unwrap_or_default();
            }
            let mut one_of = Vec::new();
            for attribute in parts {
                if let Some((key, value)) = attribute.split_once('=') {
                    read_attribute(&mut node, &mut one_of, key, value);
                }
            }
            for kind in one_of {
                let index = table.push(kind);
                node.more_mut().one_of.push(index);
            }
            let index = table.push(node);
            pending.extend(target.map(|target| Pending { node: index, target }));
            parents.truncate(depth);
            match parents.last() {
                None => {
                    table.nodes[index as usize].raw = RAW.contains(&name);
                    table.names.push((name.into(), index));
                }
                Some(parent) => {
                    let parent = &mut table.nodes[*parent as usize];
                    match name {
                        "[]" => parent.items = Some(index),
                        "{}" => parent.additional = Some(index),
                        _ => parent.fields.push((name.into(), index)),
                    }
                }
            }
            parents.push(index);
        }
        for Pending { node, target } in pending {
            table.nodes[node as usize].reference = table.named(target);
        }
        let mut kinds: Vec<([Text; 3], Index)> = Vec::new();
        for (_, index) in &table.names {
            let own = &table.nodes[*index as usize].more().kinds;
            kinds.extend(own.iter().map(|kind| (kind.clone(), *index)));
        }
        kinds.sort();
        table.nodes.shrink_to_fit();
        Builtin {
            table: Arc::new(table),
            kinds,
        }
    }
}

fn read_attribute(node: &mut Node, one_of: &mut Vec<Node>, key: &'static str, value: &'static str) {
    let json = || serde_json::from_str::<Value>(value).unwrap_or_default();
    let texts = || -> Vec<Text> {
        serde_json::from_str::<Vec<String>>(value)
            .unwrap_or_default()
            .into_iter()
            .map(Text::from)
            .collect()
    };
    match key {
        "format" => node.more_mut().format = Some(value.into()),
        "required" => node.more_mut().required = texts(),
        "default" => node.more_mut().default = Some(json()),
        "enum" => node.more_mut().enumeration = serde_json::from_str(value).unwrap_or_default(),
        "list-type" => node.list_type = list_type(value),
        "map-type" => node.map_type = map_type(value),
        "list-map-keys" => node.more_mut().map_keys = texts(),
        "patch-strategy" => node.more_mut().patch_strategy = Some(value.into()),
        "patch-merge-key" => node.more_mut().patch_merge_key = Some(value.into()),
        "kind" => {
            let mut parts = value.splitn(3, '/').map(Text::from);
            let mut part = || parts.next().unwrap_or_default();
            let kind = [part(), part(), part()];
            node.more_mut().kinds.push(kind);
        }
        "oneOf" => {
            let all = json();
            for kind in all.as_array().into_iter().flatten() {
                one_of.push(Node {
                    base: kind["type"].as_str().and_then(Base::parse).unwrap_or_default(),
                    ..Node::default()
                });
            }
        }
        "unions" => node.more_mut().extra.push(("x-kubernetes-unions".into(), json())),
        _ => {}
    }
}

pub(crate) fn list_type(text: &str) -> Option<ListType> {
    match text {
        "atomic" => Some(ListType::Atomic),
        "set" => Some(ListType::Set),
        "map" => Some(ListType::Map),
        _ => None,
    }
}

pub(crate) fn map_type(text: &str) -> Option<MapType> {
    match text {
        "atomic" => Some(MapType::Atomic),
        "granular" => Some(MapType::Granular),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_leads_to_its_containers() {
        let set = SchemaSet::builtin();
        let deployment = set.kind("apps", "v1", "Deployment").expect("known");
        let containers = ["spec", "template", "spec", "containers"]
            .iter()
            .fold(deployment, |at, name| at.field(name).expect("declared"));
        let containers = containers.view();
        assert_eq!(containers.list_type(), Some(ListType::Map));
        assert_eq!(containers.map_keys(), ["name"]);
        assert_eq!(containers.patch_merge_key(), Some("name"));
        let port = containers
            .items()
            .and_then(|item| item.field("ports"))
            .and_then(Type::items);
        let protocol = port.and_then(|port| port.field("protocol")).expect("declared");
        assert_eq!(protocol.default_value(), Some(&Value::from("TCP")));
    }

    #[test]
    fn every_reference_is_bound_and_names_are_sorted() {
        let table = &BUILTIN.table;
        assert!(table.names.is_sorted());
        for node in &table.nodes {
            assert!(node.fields.is_sorted());
            assert!(!node.wrapped || node.reference.is_some());
        }
        assert!(table.nodes.len() > 3000);
        assert!(SchemaSet::builtin().kind("", "v1", "ConfigMap").is_some());
        assert!(SchemaSet::builtin().kind("", "v1", "Nope").is_none());
    }
}
