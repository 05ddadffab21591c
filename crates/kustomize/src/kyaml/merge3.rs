//! Three-way merge: what changed between an original and an update is brought into a tree.

use fluvial_yaml::{EmitOptions, Node, emit};

use super::walk::{Choice, ListDirection, Sources, Visitor, Walker};
use super::{Error, is_missing, is_null};
use crate::facts::SchemaSet;

/// Merges the changes from `original` to `updated` into `dest`.
///
/// # Errors
/// The trees have different kinds of nodes at one place.
pub fn merge(dest: Node, original: &Node, updated: &Node, infer: bool) -> Result<Option<Node>, Error> {
    let schemas = SchemaSet::built_in();
    let mut walker = Walker {
        visitor: &Merge,
        infer,
        keys: true,
        direction: ListDirection::Append,
        schemas: &schemas,
        depth: 0,
        shared: false,
        written: Vec::new(),
    };
    let merged = walker.walk(None, Some(dest), [Some(original), Some(updated)])?;
    Ok(merged.into_node())
}

struct Merge;

fn updated(nodes: &Sources<'_, '_>) -> Choice {
    nodes
        .updated()
        .map_or(Choice::Clear, |node| Choice::Source(node.clone()))
}

fn cleared(nodes: &Sources<'_, '_>) -> bool {
    nodes.updated().is_some_and(is_null) || nodes.dest.is_some_and(is_null)
}

impl Visitor for Merge {
    fn map(&self, nodes: &Sources<'_, '_>) -> Result<Choice, Error> {
        if cleared(nodes) {
            return Ok(Choice::Clear);
        }
        Ok(match (nodes.dest, nodes.updated()) {
            (None, None) => Choice::Clear,
            (None, Some(_)) => Choice::Source(Node::mapping(Vec::new())),
            (Some(_), _) => Choice::Dest,
        })
    }

    fn scalar(&self, nodes: &Sources<'_, '_>) -> Result<Choice, Error> {
        if cleared(nodes) {
            return Ok(Choice::Clear);
        }
        let (origin, update) = (nodes.origin(), nodes.updated());
        if is_missing(update) != is_missing(origin) {
            return Ok(updated(nodes));
        }
        if is_missing(update) {
            return Ok(Choice::Dest);
        }
        let text = |node: Option<&Node>| node.map(print).unwrap_or_default();
        let (dest, origin_text, update_text) = (text(nodes.dest), text(origin), text(update));
        if (dest.is_empty() || dest == origin_text) && origin_text != update_text {
            return Ok(updated(nodes));
        }
        if update.and_then(Node::as_text) != origin.and_then(Node::as_text) {
            return Ok(updated(nodes));
        }
        Ok(Choice::Dest)
    }

    fn list(&self, nodes: &Sources<'_, '_>, associative: bool) -> Result<Choice, Error> {
        let (origin, update) = (nodes.origin(), nodes.updated());
        if associative {
            if is_missing(update) && !is_missing(origin) {
                return Ok(Choice::Clear);
            }
            if is_missing(nodes.dest) {
                return Ok(Choice::Source(Node::sequence(Vec::new())));
            }
            return Ok(Choice::Dest);
        }
        if cleared(nodes) {
            return Ok(Choice::Clear);
        }
        if is_missing(update) != is_missing(origin) {
            return Ok(updated(nodes));
        }
        if is_missing(update) || update.map(print) == origin.map(print) {
            return Ok(Choice::Dest);
        }
        Ok(updated(nodes))
    }
}

fn print(node: &Node) -> String {
    emit(node, &EmitOptions::default())
}
