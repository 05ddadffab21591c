//! Operations on node trees as kyaml has them: merging, formatting, comments, order.

pub mod comments;
pub mod format;
pub mod merge2;
pub mod merge3;
#[cfg(test)]
mod random;
pub mod stream;
pub(crate) mod walk;

use fluvial_yaml::{
    Entry, Mode, Node, NodeData, ScalarStyle, ScalarType, is_yaml_1_1_non_string, scalar_type,
};

use walk::PlaceStyle;

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where the node stands that does not fit.
    pub pos: fluvial_yaml::Pos,
    /// What does not fit.
    pub message: String,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The type of a scalar as kyaml's tag says it: by style, tag and text.
pub(crate) fn tag_of(node: &Node) -> ScalarType {
    let NodeData::Scalar { text, style } = &node.data else {
        return ScalarType::Str;
    };
    match node.tag() {
        None | Some("!") if *style == ScalarStyle::Plain => scalar_type(text, Mode::Kyaml),
        Some("!!null") => ScalarType::Null,
        Some("!!bool") => ScalarType::Bool,
        Some("!!int") => ScalarType::Int,
        Some("!!float") => ScalarType::Float,
        Some("!!timestamp") => ScalarType::Timestamp,
        _ => ScalarType::Str,
    }
}

/// True for a null scalar.
#[must_use]
pub fn is_null(node: &Node) -> bool {
    matches!(node.data, NodeData::Scalar { .. }) && tag_of(node) == ScalarType::Null
}

/// True for nothing and for null.
pub(crate) fn is_missing(node: Option<&Node>) -> bool {
    node.is_none_or(is_null)
}

pub(crate) fn is_empty_map(node: &Node) -> bool {
    node.entries().is_some_and(<[Entry]>::is_empty)
}

/// Puts a plain string in double quotes if YAML 1.1 would read something else.
pub(crate) fn quote_for_yaml_1_1(node: &mut Node) {
    if node.has_explicit_tag() || tag_of(node) != ScalarType::Str {
        return;
    }
    if let NodeData::Scalar { text, style } = &mut node.data
        && *style == ScalarStyle::Plain
        && is_yaml_1_1_non_string(text)
    {
        *style = ScalarStyle::DoubleQuoted;
    }
}

/// Gives a node the style of the one that it takes the place of. That a tag is written out is a part of the style.
pub(crate) fn take_style(node: &mut Node, place: PlaceStyle) {
    if place.tagged != node.has_explicit_tag() && matches!(node.data, NodeData::Scalar { .. }) {
        let tag: Box<str> = match node.tag() {
            Some(tag) if tag != "!" => tag.into(),
            _ => tag_of(node).tag().into(),
        };
        if place.tagged {
            node.set_explicit_tag(tag);
        } else {
            node.set_tag(Some(tag));
        }
    }
    // A string in quotes stays a string without them.
    if let NodeData::Scalar { style, .. } = &node.data
        && *style != place.scalar
        && node.tag().is_none()
        && *style != ScalarStyle::Plain
    {
        node.set_tag(Some("!!str".into()));
    }
    match &mut node.data {
        NodeData::Scalar { style, .. } => *style = place.scalar,
        NodeData::Mapping { style, .. } | NodeData::Sequence { style, .. } => *style = place.collection,
        NodeData::Alias(_) => {}
    }
}

/// The error of a node that is not of the kind that another one of the place has.
pub(crate) fn wrong_kind(expected: &Node, found: &Node) -> Error {
    Error {
        pos: found.pos,
        message: format!(
            "wrong node kind: expected {} but got {}: node contents:\n{}",
            kind_name(expected),
            kind_name(found),
            fluvial_yaml::emit(found, &fluvial_yaml::EmitOptions::default())
        ),
    }
}

/// The kind's name as kyaml's errors have it.
fn kind_name(node: &Node) -> &'static str {
    match node.data {
        NodeData::Scalar { .. } => "ScalarNode",
        NodeData::Mapping { .. } => "MappingNode",
        NodeData::Sequence { .. } => "SequenceNode",
        NodeData::Alias(_) => "AliasNode",
    }
}
