//! Objects that a kustomization makes: ConfigMaps and Secrets from files and literals, rendered
//! charts; and how a generated object merges with one that is there.

pub(crate) mod helm;
pub(crate) mod iam_policy;
pub(crate) mod key_values;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fluvial_yaml::{Node, NodeData, Pos, ScalarStyle};

use crate::error::{Error, Result};
use crate::kustomization::read::Reader;
use crate::loader::Loader;
use crate::nodes::{self, Kind, NewScalar, string, text_of};
use crate::resource::{Behavior, Resource};
use crate::session::Session;
use key_values::{KeyValues, Sources};

/// Which of the two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapKind {
    /// ConfigMap
    ConfigMap,
    /// Secret
    Secret,
}

/// `options` and `generatorOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GeneratorOptions {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    disable_name_suffix_hash: bool,
    immutable: bool,
}

impl GeneratorOptions {
    pub(crate) fn read(reader: &Reader<'_>) -> Result<Self> {
        reader.only(&["labels", "annotations", "disableNameSuffixHash", "immutable"])?;
        Ok(GeneratorOptions {
            labels: reader.string_map("labels")?,
            annotations: reader.string_map("annotations")?,
            disable_name_suffix_hash: reader.boolean("disableNameSuffixHash")?,
            immutable: reader.boolean("immutable")?,
        })
    }

    /// A generator's own options win over those of the kustomization.
    fn over(mut self, global: Option<&GeneratorOptions>) -> Self {
        let Some(global) = global else {
            return self;
        };
        for (own, all) in [
            (&mut self.labels, &global.labels),
            (&mut self.annotations, &global.annotations),
        ] {
            for (key, value) in all {
                own.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        self.disable_name_suffix_hash |= global.disable_name_suffix_hash;
        self.immutable |= global.immutable;
        self
    }
}

/// An entry of `configMapGenerator` or `secretGenerator`.
#[derive(Clone, Debug)]
pub(crate) struct MapGenerator {
    kind: MapKind,
    name: String,
    namespace: String,
    behavior: Behavior,
    secret_type: String,
    sources: Sources,
    options: GeneratorOptions,
    pub(crate) pos: Pos,
}

impl MapGenerator {
    /// Reads an entry of a kustomization.
    pub(crate) fn read(reader: &Reader<'_>, kind: MapKind) -> Result<Self> {
        let mut known = vec![
            "name",
            "namespace",
            "behavior",
            "literals",
            "files",
            "envs",
            "env",
            "options",
        ];
        if kind == MapKind::Secret {
            known.push("type");
        }
        reader.only(&known)?;
        Self::read_fields(reader, kind)
    }

    /// Reads the fields, whatever else is there.
    pub(crate) fn read_fields(reader: &Reader<'_>, kind: MapKind) -> Result<Self> {
        Ok(MapGenerator {
            kind,
            name: reader.string("name")?,
            namespace: reader.string("namespace")?,
            behavior: Behavior::parse(&reader.string("behavior")?),
            secret_type: reader.string("type")?,
            sources: Sources::read(reader)?,
            options: reader
                .object("options")?
                .map_or(Ok(GeneratorOptions::default()), |options| {
                    GeneratorOptions::read(&options)
                })?,
            pos: reader.pos(),
        })
    }

    /// Names it as a configured generator's metadata says.
    pub(crate) fn named(mut self, name: String, namespace: String) -> Self {
        if self.name.is_empty() {
            self.name = name;
        }
        if self.namespace.is_empty() {
            self.namespace = namespace;
        }
        self
    }

    /// Makes the object.
    pub(crate) fn generate(
        &self,
        session: &Session<'_>,
        loader: &Loader,
        global: Option<&GeneratorOptions>,
    ) -> Result<Resource> {
        self.make(session, loader, global)
            .map_err(|error| session.at(error, self.pos))
    }

    fn make(
        &self,
        session: &Session<'_>,
        loader: &Loader,
        global: Option<&GeneratorOptions>,
    ) -> Result<Resource> {
        let options = self.options.clone().over(global);
        if self.name.is_empty() {
            return Err(Error::new(format!("a {} must have a name", self.what())));
        }
        let mut node = Node::mapping(Vec::new());
        nodes::put(&mut node, "apiVersion", Node::plain("v1"));
        let kind = match self.kind {
            MapKind::ConfigMap => "ConfigMap",
            MapKind::Secret => "Secret",
        };
        nodes::put(&mut node, "kind", Node::plain(kind));
        let mut metadata = Node::mapping(Vec::new());
        nodes::put(&mut metadata, "name", string(&self.name).to_node());
        if !self.namespace.is_empty() {
            nodes::put(&mut metadata, "namespace", string(&self.namespace).to_node());
        }
        nodes::put(&mut node, "metadata", metadata);
        if self.kind == MapKind::Secret {
            let secret_type = if self.secret_type.is_empty() {
                "Opaque"
            } else {
                &self.secret_type
            };
            nodes::put(&mut node, "type", string(secret_type).to_node());
        }
        for (field, map) in [("labels", &options.labels), ("annotations", &options.annotations)] {
            for (key, value) in map {
                let metadata = nodes::field_or_create(&mut node, "metadata", Kind::Mapping)?;
                let entries = nodes::field_or_create(metadata, field, Kind::Mapping)?;
                nodes::set_field(entries, key, &string(value))?;
            }
        }
        if options.immutable {
            let immutable = NewScalar {
                text: "true",
                tag: Some("!!bool"),
                pos: self.pos,
            };
            nodes::put(&mut node, "immutable", immutable.to_node());
        }
        place(&mut node, self.pos);
        let pairs = self.sources.load(session, loader, self.what())?;
        fill(&mut node, self.kind, &pairs)?;
        session.count_resources(1)?;
        let mut resource = Resource::new(node, session);
        resource.behavior = self.behavior;
        resource.generated = true;
        resource.needs_hash = !options.disable_name_suffix_hash;
        Ok(resource)
    }

    fn what(&self) -> &'static str {
        match self.kind {
            MapKind::ConfigMap => "configmap",
            MapKind::Secret => "secret",
        }
    }
}

/// Everything that a generator makes stands where the generator stands.
pub(crate) fn place(node: &mut Node, pos: Pos) {
    node.pos = pos;
    if let Some(entries) = node.entries_mut() {
        for entry in entries {
            entry.key.pos = pos;
            place(&mut entry.value, pos);
        }
    } else if let Some(items) = node.items_mut() {
        items.iter_mut().for_each(|item| place(item, pos));
    }
}

/// Writes the values, in the order of their keys.
fn fill(node: &mut Node, kind: MapKind, pairs: &KeyValues) -> Result<()> {
    if kind == MapKind::Secret {
        // The reference makes this field even where nothing is put into it.
        nodes::field_or_create(node, "data", Kind::Mapping)?;
    }
    for (key, (value, pos)) in pairs {
        let (field, text) = match (kind, std::str::from_utf8(value)) {
            (MapKind::ConfigMap, Ok(text)) => ("data", text.to_owned()),
            (MapKind::ConfigMap, Err(_)) => ("binaryData", encode(value)),
            (MapKind::Secret, _) => ("data", encode(value)),
        };
        let map = nodes::field_or_create(node, field, Kind::Mapping)?;
        let mut value = text_node(&text);
        value.pos = *pos;
        nodes::put(map, key, value);
    }
    Ok(())
}

/// A string, as a block if it has lines.
fn text_node(text: &str) -> Node {
    let mut node = string(text).to_node();
    if text.contains('\n') {
        node.data = NodeData::Scalar {
            text: text.into(),
            style: ScalarStyle::Literal,
        };
    }
    node
}

/// Base64 in lines of 70 characters, if it is longer than one.
fn encode(value: &[u8]) -> String {
    const LINE: usize = 70;
    let encoded = STANDARD.encode(value);
    if encoded.len() <= LINE {
        return encoded;
    }
    let mut out = String::with_capacity(encoded.len() + encoded.len() / LINE + 1);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out
}

/// What a generated object takes over from the one that it replaces.
pub(crate) fn merge_metadata(new: &mut Resource, old: &Resource) -> Result<()> {
    for field in ["labels", "annotations"] {
        let mut merged: BTreeMap<String, String> = owned(&nodes::metadata_map(&old.node, field));
        merged.extend(owned(&nodes::metadata_map(&new.node, field)));
        let list: Vec<(String, String)> = merged.into_iter().collect();
        new.set_metadata_map(field, &list)?;
    }
    new.set_name(old.name())?;
    new.set_namespace(old.namespace())?;
    new.needs_hash &= old.needs_hash;
    new.behavior = old.behavior;
    new.generated = old.generated;
    new.history.clone_from(&old.history);
    new.prefixes.clone_from(&old.prefixes);
    new.suffixes.clone_from(&old.suffixes);
    new.variables.clone_from(&old.variables);
    new.transformations.clone_from(&old.transformations);
    Ok(())
}

fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Adds the old object's values to those of a generated one, whose own win.
pub(crate) fn merge_data(new: &mut Resource, old: &Resource) -> Result<()> {
    if old.trace.is_some() {
        new.trace.clone_from(&old.trace);
    }
    for field in ["data", "binaryData"] {
        let Some(values) = old.node.get(field).and_then(Node::entries) else {
            continue;
        };
        let map = nodes::field_or_create(&mut new.node, field, Kind::Mapping)?;
        for entry in values {
            let key = text_of(&entry.key);
            if map.get(key).is_none() {
                let mut value = text_node(text_of(&entry.value));
                value.pos = entry.value.pos;
                nodes::put(map, key, value);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_broken_into_lines() {
        assert_eq!(encode(b"abc"), "YWJj");
        let long = encode(&[0; 100]);
        assert!(long.lines().all(|line| line.len() <= 70));
        assert!(long.ends_with('\n'));
    }
}
