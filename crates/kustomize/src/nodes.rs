//! Reading and writing fields of node trees the way kustomize's node library does: which value a
//! path leads to, what is made when it is missing, which style and tag a written scalar gets.

use fluvial_yaml::{Entry, FileId, Mode, Node, NodeData, Pos, ScalarStyle, Style};

use crate::error::{Error, Result};

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A scalar.
    Scalar,
    /// A mapping.
    Mapping,
    /// A sequence.
    Sequence,
    /// An alias; loaded resources have none.
    Alias,
}

impl Kind {
    pub(crate) fn of(node: &Node) -> Kind {
        match node.data {
            NodeData::Scalar { .. } => Kind::Scalar,
            NodeData::Mapping { .. } => Kind::Mapping,
            NodeData::Sequence { .. } => Kind::Sequence,
            NodeData::Alias(_) => Kind::Alias,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Scalar => "ScalarNode",
            Kind::Mapping => "MappingNode",
            Kind::Sequence => "SequenceNode",
            Kind::Alias => "AliasNode",
        }
    }

    /// An empty node of this kind.
    pub(crate) fn make(self) -> Node {
        match self {
            Kind::Mapping => Node::mapping(Vec::new()),
            Kind::Sequence => Node::sequence(Vec::new()),
            Kind::Scalar | Kind::Alias => Node::plain(""),
        }
    }
}

/// Whether a node is null: tagged so, or a plain scalar that reads as null.
pub(crate) fn is_null(node: &Node) -> bool {
    match (&node.data, node.tag()) {
        (_, Some(tag)) => tag == "!!null",
        (
            NodeData::Scalar {
                text,
                style: ScalarStyle::Plain,
            },
            None,
        ) => matches!(&**text, "" | "~" | "null" | "Null" | "NULL"),
        _ => false,
    }
}

/// Whether a node holds nothing: null, an empty collection, or an empty plain scalar.
pub(crate) fn is_nil_or_empty(node: &Node) -> bool {
    if is_null(node) {
        return true;
    }
    match &node.data {
        NodeData::Mapping { entries, .. } => entries.is_empty(),
        NodeData::Sequence { items, .. } => items.is_empty(),
        _ => false,
    }
}

/// A scalar's text; empty for null and for everything else.
pub(crate) fn text_of(node: &Node) -> &str {
    if is_null(node) {
        ""
    } else {
        node.as_text().unwrap_or("")
    }
}

/// A value two mappings down, as text.
pub(crate) fn text_at<'a>(node: &'a Node, path: &[&str]) -> &'a str {
    path.iter()
        .try_fold(node, |node, key| node.get(key))
        .map_or("", text_of)
}

/// Fails unless the node is of this kind.
pub(crate) fn expect_kind(node: &Node, kind: Kind) -> Result<()> {
    let found = Kind::of(node);
    if found == kind {
        Ok(())
    } else {
        Err(Error::new(format!(
            "wrong node kind: expected {} but got {}: node contents:\n{}",
            kind.name(),
            found.name(),
            fluvial_yaml::emit(node, &fluvial_yaml::EmitOptions::default()).trim_end()
        )))
    }
}

/// Whether YAML 1.1 reads a plain text as something else than a string.
pub(crate) fn reads_as_non_string(text: &str) -> bool {
    fluvial_yaml::is_yaml_1_1_non_string(text)
}

/// The tag of a scalar that has none yet, as its text reads.
pub(crate) fn resolved_tag(node: &Node) -> Option<&'static str> {
    match &node.data {
        NodeData::Scalar {
            text,
            style: ScalarStyle::Plain,
        } => Some(fluvial_yaml::scalar_type(text, Mode::Kyaml).tag()),
        NodeData::Scalar { .. } => Some("!!str"),
        _ => None,
    }
}

/// Whether a scalar is a string.
pub(crate) fn is_string(node: &Node) -> bool {
    match node.tag() {
        Some(tag) => tag == "!!str",
        None => resolved_tag(node) == Some("!!str"),
    }
}

/// A scalar for [`write_scalar`] and [`set_field`]: text with an optional tag.
#[derive(Clone, Debug)]
pub(crate) struct NewScalar<'a> {
    pub(crate) text: &'a str,
    pub(crate) tag: Option<&'static str>,
    /// Where it comes from, if that is known.
    pub(crate) pos: Pos,
}

/// A string scalar.
pub(crate) fn string(text: &str) -> NewScalar<'_> {
    NewScalar {
        text,
        tag: Some("!!str"),
        pos: Pos::NONE,
    }
}

/// A scalar whose type follows from its text.
pub(crate) fn untagged(text: &str) -> NewScalar<'_> {
    NewScalar {
        text,
        tag: None,
        pos: Pos::NONE,
    }
}

impl NewScalar<'_> {
    /// Says where it comes from.
    pub(crate) fn at(mut self, pos: Pos) -> Self {
        self.pos = pos;
        self
    }

    fn place(&self, node: &mut Node) {
        if self.pos.file != FileId::NONE {
            node.pos = self.pos;
        }
    }

    /// A node of its own, quoted where YAML 1.1 would read a string as something else.
    pub(crate) fn to_node(&self) -> Node {
        let style = if self.tag == Some("!!str") && reads_as_non_string(self.text) {
            ScalarStyle::DoubleQuoted
        } else {
            ScalarStyle::Plain
        };
        let mut node = Node::new(NodeData::Scalar {
            text: self.text.into(),
            style,
        });
        node.set_tag(self.tag.map(Into::into));
        self.place(&mut node);
        node
    }

    /// Writes over a node: text and tag are new, an existing scalar's style stays.
    pub(crate) fn write_over(&self, node: &mut Node) {
        let kept = match &node.data {
            NodeData::Scalar { style, .. } => *style,
            _ => ScalarStyle::Plain,
        };
        node.data = NodeData::Scalar {
            text: self.text.into(),
            style: kept,
        };
        node.set_tag(self.tag.map(Into::into));
        self.place(node);
    }
}

/// Writes a scalar's new value, keeping its style.
pub(crate) fn write_scalar(node: &mut Node, value: &NewScalar<'_>) -> Result<()> {
    if is_null(node) {
        node.data = Kind::Scalar.make().data;
    }
    expect_kind(node, Kind::Scalar)?;
    value.write_over(node);
    Ok(())
}

/// Sets a field of a mapping to a scalar; an existing value's style stays.
pub(crate) fn set_field(node: &mut Node, name: &str, value: &NewScalar<'_>) -> Result<()> {
    expect_kind(node, Kind::Mapping)?;
    if let Some(field) = node.get_mut(name) {
        value.write_over(field);
    } else {
        put(node, name, value.to_node());
    }
    Ok(())
}

/// Sets a field of a mapping to a node, replacing what is there.
pub(crate) fn put(node: &mut Node, name: &str, value: Node) {
    if let Some(field) = node.get_mut(name) {
        *field = value;
    } else if let Some(entries) = node.entries_mut() {
        entries.push(Entry {
            key: Node::plain(name),
            value,
        });
    }
}

/// Removes a field of a mapping.
pub(crate) fn remove(node: &mut Node, name: &str) -> Option<Node> {
    let entries = node.entries_mut()?;
    let index = entries
        .iter()
        .position(|entry| entry.key.as_text() == Some(name))?;
    Some(entries.remove(index).value)
}

/// A field of a mapping, made with this kind if missing. Null counts as there.
pub(crate) fn field_or_create<'a>(node: &'a mut Node, name: &str, kind: Kind) -> Result<&'a mut Node> {
    expect_kind(node, Kind::Mapping)?;
    let Some(entries) = node.entries_mut() else {
        return Err(Error::new("expected a mapping"));
    };
    let index = entries
        .iter()
        .position(|entry| entry.key.as_text() == Some(name))
        .unwrap_or_else(|| {
            entries.push(Entry {
                key: Node::plain(name),
                value: kind.make(),
            });
            entries.len() - 1
        });
    Ok(&mut entries[index].value)
}

/// Makes a null node one of this kind.
pub(crate) fn revive(node: &mut Node, kind: Kind, tag: Option<&str>) {
    node.data = match kind {
        Kind::Mapping => NodeData::Mapping {
            entries: Vec::new(),
            style: Style::Block,
        },
        Kind::Sequence => NodeData::Sequence {
            items: Vec::new(),
            style: Style::Block,
        },
        Kind::Scalar | Kind::Alias => NodeData::Scalar {
            text: "".into(),
            style: ScalarStyle::Plain,
        },
    };
    node.set_tag(tag.map(Into::into));
}

/// The string values of `metadata.<field>`, as their text stands in the file: a null that is written `~` reads as `~`.
pub(crate) fn metadata_map<'a>(node: &'a Node, field: &str) -> Vec<(&'a str, &'a str)> {
    node.get("metadata")
        .and_then(|metadata| metadata.get(field))
        .and_then(Node::entries)
        .map(|entries| {
            entries
                .iter()
                .map(|entry| (text_of(&entry.key), entry.value.as_text().unwrap_or_default()))
                .collect()
        })
        .unwrap_or_default()
}

/// Visits the values of sequences, or the node itself.
pub(crate) fn elements_mut(node: &mut Node) -> Result<&mut Vec<Node>> {
    expect_kind(node, Kind::Sequence)?;
    node.items_mut().ok_or_else(|| Error::new("expected a sequence"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_over_a_scalar_keeps_its_style() {
        let mut node = Node::mapping(vec![Entry {
            key: Node::plain("a"),
            value: Node::new(NodeData::Scalar {
                text: "x".into(),
                style: ScalarStyle::DoubleQuoted,
            }),
        }]);
        set_field(&mut node, "a", &untagged("1")).unwrap();
        let value = node.get("a").unwrap();
        assert_eq!(text_of(value), "1");
        assert!(matches!(
            value.data,
            NodeData::Scalar {
                style: ScalarStyle::DoubleQuoted,
                ..
            }
        ));
    }

    #[test]
    fn null_has_many_spellings() {
        assert!(is_null(&Node::plain("~")));
        assert!(is_null(&Node::plain("")));
        assert!(!is_null(&Node::string("null")));
        assert!(is_nil_or_empty(&Node::mapping(vec![])));
    }
}
