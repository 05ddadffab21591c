//! One object of a build with what the build knows about it: where it came from, the names it had,
//! how it was generated.

use std::sync::Arc;

use fluvial_yaml::{FileId, Mode, Node};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::explain::Change;
use crate::id::{Gvk, IdRef, ResId, effective_namespace, split_api_version};
use crate::nodes::{self, Kind, metadata_map, string, text_at};
use crate::provenance::Trace;
use crate::session::Session;

/// The file and line that an object came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file: an index into [`crate::Build::files`].
    pub file: FileId,
    /// The line, from 1.
    pub line: u32,
}

/// A name that an object had before a transformer changed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PreviousId {
    pub(crate) kind: String,
    pub(crate) name: String,
    /// The effective namespace.
    pub(crate) namespace: String,
}

/// What a generated object does with one that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Behavior {
    #[default]
    Create,
    Replace,
    Merge,
}

impl Behavior {
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "replace" => Behavior::Replace,
            "merge" => Behavior::Merge,
            _ => Behavior::Create,
        }
    }
}

/// An object.
#[derive(Clone, Debug)]
pub struct Resource {
    /// The object; each field keeps the file and line that set it.
    pub node: Node,
    /// Where the object itself came from.
    pub origin: Origin,
    pub(crate) history: Vec<PreviousId>,
    pub(crate) prefixes: Vec<String>,
    pub(crate) suffixes: Vec<String>,
    pub(crate) behavior: Behavior,
    pub(crate) needs_hash: bool,
    /// Whether a generator made it.
    pub(crate) generated: bool,
    pub(crate) allow_name_change: bool,
    pub(crate) allow_kind_change: bool,
    pub(crate) variables: Vec<String>,
    pub(crate) cluster_scoped: bool,
    /// Whether a chart made it, which then sees to its namespace.
    pub(crate) from_chart: bool,
    /// What is recorded of its origin.
    pub(crate) trace: Option<Arc<Trace>>,
    /// What changed its fields, if that is recorded.
    pub(crate) changes: Vec<Change>,
    /// What is recorded of the transformers that ran over it.
    pub(crate) transformations: Vec<Arc<Trace>>,
    /// The last number that its nodes have for those that are one.
    pub(crate) twins: u32,
}

impl Resource {
    /// An object as loaded.
    pub(crate) fn new(node: Node, session: &Session<'_>) -> Self {
        let origin = Origin {
            file: node.pos.file,
            line: node.pos.line,
        };
        let cluster_scoped =
            session.is_cluster_scoped(text_at(&node, &["apiVersion"]), text_at(&node, &["kind"]));
        let mut resource = Resource {
            node,
            origin,
            history: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            behavior: Behavior::Create,
            needs_hash: false,
            generated: false,
            allow_name_change: false,
            allow_kind_change: false,
            variables: Vec::new(),
            cluster_scoped,
            from_chart: false,
            trace: None,
            changes: Vec::new(),
            transformations: Vec::new(),
            twins: 0,
        };
        resource.read_records();
        resource
    }

    /// What the object's own annotations say that the reference keeps records of in the same place.
    fn read_records(&mut self) {
        const RECORDS: &str = "internal.config.kubernetes.io/";
        let annotations = metadata_map(&self.node, "annotations");
        let value = |name: &str| {
            let found = annotations
                .iter()
                .find(|(key, _)| key.strip_prefix(RECORDS) == Some(name));
            found.map(|(_, value)| *value)
        };
        if !annotations.iter().any(|(key, _)| key.starts_with(RECORDS)) {
            return;
        }
        let list = |name: &str| value(name).map(|value| value.split(',')).into_iter().flatten();
        let history = list("previousKinds")
            .zip(list("previousNames"))
            .zip(list("previousNamespaces"))
            .map(|((kind, name), namespace)| PreviousId {
                kind: kind.to_owned(),
                name: name.to_owned(),
                namespace: namespace.to_owned(),
            })
            .collect();
        let needs_hash = value("needsHashSuffix") == Some("enabled");
        self.history = history;
        self.needs_hash = needs_hash;
    }

    /// The object as JSON.
    ///
    /// # Errors
    /// If a mapping has a key twice.
    pub fn to_json(&self) -> Result<Value> {
        self.node
            .to_json(Mode::Kyaml)
            .map_err(|error| Error::new(error.to_string()))
    }

    /// `apiVersion`
    #[must_use]
    pub fn api_version(&self) -> &str {
        text_at(&self.node, &["apiVersion"])
    }

    /// `kind`
    #[must_use]
    pub fn kind(&self) -> &str {
        text_at(&self.node, &["kind"])
    }

    /// `metadata.name`
    #[must_use]
    pub fn name(&self) -> &str {
        text_at(&self.node, &["metadata", "name"])
    }

    /// `metadata.namespace`
    #[must_use]
    pub fn namespace(&self) -> &str {
        text_at(&self.node, &["metadata", "namespace"])
    }

    /// The labels.
    #[must_use]
    pub fn labels(&self) -> Vec<(&str, &str)> {
        metadata_map(&self.node, "labels")
    }

    /// The annotations.
    #[must_use]
    pub fn annotations(&self) -> Vec<(&str, &str)> {
        metadata_map(&self.node, "annotations")
    }

    /// Group, version and kind.
    #[must_use]
    pub fn gvk(&self) -> Gvk {
        Gvk::new(self.api_version(), self.kind())
    }

    /// The identity it has now.
    #[must_use]
    pub fn id(&self) -> ResId {
        ResId {
            gvk: self.gvk(),
            name: self.name().to_owned(),
            namespace: self.namespace().to_owned(),
            cluster_scoped: self.cluster_scoped,
        }
    }

    /// The namespace that counts.
    pub(crate) fn effective_namespace(&self) -> &str {
        effective_namespace(self.namespace(), self.cluster_scoped)
    }

    /// The kind, name and effective namespace it had first.
    pub(crate) fn first(&self) -> (&str, &str, &str) {
        self.history.first().map_or_else(
            || (self.kind(), self.name(), self.effective_namespace()),
            |id| (&*id.kind, &*id.name, &*id.namespace),
        )
    }

    /// Every identity it had, the current one last, to look at.
    pub(crate) fn ids(&self) -> impl Iterator<Item = IdRef<'_>> {
        let (group, version) = split_api_version(self.api_version());
        let current = IdRef {
            group,
            version,
            kind: self.kind(),
            name: self.name(),
            namespace: self.effective_namespace(),
        };
        let former = self.history.iter().map(move |previous| IdRef {
            kind: &previous.kind,
            name: &previous.name,
            namespace: &previous.namespace,
            ..current
        });
        former.chain(std::iter::once(current))
    }

    /// The same as replacements see them: the current namespace as it is written, the former ones as they counted.
    pub(crate) fn written_ids(&self) -> impl Iterator<Item = IdRef<'_>> {
        let current = self.history.len();
        self.ids().enumerate().map(move |(index, id)| IdRef {
            namespace: if index == current {
                self.namespace()
            } else {
                id.namespace
            },
            ..id
        })
    }

    /// Every identity it had, the current one last.
    pub(crate) fn all_ids(&self) -> Vec<ResId> {
        let current = self.id();
        let mut ids: Vec<ResId> = self
            .history
            .iter()
            .map(|previous| {
                let mut id = current.clone();
                previous.gvk_into(&mut id);
                id
            })
            .collect();
        ids.push(current);
        ids
    }

    /// Remembers the current identity before it changes.
    pub(crate) fn remember_id(&mut self) {
        let (kind, name) = (self.kind().to_owned(), self.name().to_owned());
        if name.is_empty() {
            return;
        }
        let namespace = self.effective_namespace().to_owned();
        self.history.push(PreviousId {
            kind,
            name,
            namespace,
        });
    }

    pub(crate) fn set_name(&mut self, name: &str) -> Result<()> {
        let metadata = nodes::field_or_create(&mut self.node, "metadata", Kind::Mapping)?;
        nodes::set_field(metadata, "name", &string(name))
    }

    pub(crate) fn set_namespace(&mut self, namespace: &str) -> Result<()> {
        let metadata = nodes::field_or_create(&mut self.node, "metadata", Kind::Mapping)?;
        if namespace.is_empty() {
            nodes::remove(metadata, "namespace");
            return Ok(());
        }
        nodes::set_field(metadata, "namespace", &string(namespace))
    }

    /// Looks again whether its kind has namespaces, after the kind may have changed.
    pub(crate) fn refresh_scope(&mut self, session: &Session<'_>) {
        self.cluster_scoped = session.is_cluster_scoped(self.api_version(), self.kind());
    }

    /// Replaces all labels or annotations; none removes the field.
    pub(crate) fn set_metadata_map(&mut self, field: &str, values: &[(String, String)]) -> Result<()> {
        let metadata = nodes::field_or_create(&mut self.node, "metadata", Kind::Mapping)?;
        if values.is_empty() {
            nodes::remove(metadata, field);
            return Ok(());
        }
        let mut map = Node::mapping(Vec::with_capacity(values.len()));
        for (key, value) in values {
            // What stays keeps its place.
            let own = metadata.get(field).and_then(|own| own.get(key));
            let pos = own.map_or(fluvial_yaml::Pos::NONE, |own| own.pos);
            nodes::put(&mut map, key, string(value).at(pos).to_node());
        }
        nodes::put(metadata, field, map);
        Ok(())
    }

    /// Makes texts of name, namespace, and all labels and annotations, nulls too, as the reference does with a patch of
    /// `patchesStrategicMerge` or one with a target: such a patch cannot take a label away.
    pub(crate) fn spell_out_metadata(&mut self) -> Result<()> {
        self.spell_out("labels")?;
        self.spell_out("annotations")?;
        // What is no text counts as none.
        let (name, namespace) = (self.name().to_owned(), self.namespace().to_owned());
        self.set_name(&name)?;
        self.set_namespace(&namespace)
    }

    /// Makes texts of all labels or annotations.
    pub(crate) fn spell_out(&mut self, field: &str) -> Result<()> {
        let metadata = self.node.get("metadata");
        if metadata.is_none_or(|metadata| metadata.get(field).is_none()) {
            return Ok(());
        }
        let values: Vec<(String, String)> = metadata_map(&self.node, field)
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        self.set_metadata_map(field, &values)
    }

    /// Sets one annotation.
    pub(crate) fn annotate(&mut self, key: &str, value: &str) -> Result<()> {
        let metadata = nodes::field_or_create(&mut self.node, "metadata", Kind::Mapping)?;
        let annotations = nodes::field_or_create(metadata, "annotations", Kind::Mapping)?;
        if nodes::is_null(annotations) {
            nodes::revive(annotations, Kind::Mapping, None);
        }
        nodes::set_field(annotations, key, &string(value))
    }

    /// Whether the reference has written records of its own about it, which it keeps in annotations.
    pub(crate) fn has_records(&self) -> bool {
        self.generated
            || self.from_chart
            || self.trace.is_some()
            || !(self.history.is_empty() && self.prefixes.is_empty() && self.suffixes.is_empty())
            || !self.transformations.is_empty()
    }

    /// Makes the annotations that such records are in, for what asks whether there are any.
    pub(crate) fn make_room_for_records(&mut self) -> Result<()> {
        if !self.has_records() {
            return Ok(());
        }
        let metadata = nodes::field_or_create(&mut self.node, "metadata", Kind::Mapping)?;
        let annotations = nodes::field_or_create(metadata, "annotations", Kind::Mapping)?;
        if nodes::is_null(annotations) {
            nodes::revive(annotations, Kind::Mapping, None);
        }
        Ok(())
    }

    /// What is recorded about the names that it had.
    pub(crate) fn records(&self) -> (&[PreviousId], &[String], &[String]) {
        (&self.history, &self.prefixes, &self.suffixes)
    }

    /// Whether there is nothing left of it.
    pub(crate) fn is_empty(&self) -> bool {
        nodes::is_nil_or_empty(&self.node)
    }

    /// Whether the name prefixes and suffixes of two objects end alike, so that one may refer to
    /// the other; with `allow_none`, having none at all fits everything.
    pub(crate) fn same_affixes(&self, other: &Resource, allow_none: bool) -> bool {
        let fits = |mine: &[String], theirs: &[String]| {
            (allow_none && (mine.is_empty() || theirs.is_empty())) || same_ending(mine, theirs)
        };
        fits(&self.prefixes, &other.prefixes) && fits(&self.suffixes, &other.suffixes)
    }
}

impl PreviousId {
    fn gvk_into(&self, id: &mut ResId) {
        id.gvk.kind.clone_from(&self.kind);
        id.name.clone_from(&self.name);
        id.namespace.clone_from(&self.namespace);
        id.cluster_scoped = self.namespace == crate::id::NO_NAMESPACE;
    }
}

/// Whether the shorter list ends the longer one; an empty list ends an empty one only.
fn same_ending(a: &[String], b: &[String]) -> bool {
    a.is_empty() == b.is_empty() && (a.ends_with(b) || b.ends_with(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_end_alike_if_one_ends_the_other() {
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert!(same_ending(&list("a b"), &list("b")));
        assert!(!same_ending(&list(""), &list("b")));
        assert!(!same_ending(&list("a b"), &list("a")));
    }
}
