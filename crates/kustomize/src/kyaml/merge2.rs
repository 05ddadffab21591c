//! Merging a patch into a tree: kustomize's strategic merge.
//!
//! Maps merge field by field, null removes, lists with merge keys in their schema merge item by
//! item, other lists are replaced; `$patch: delete`, `replace` and `merge` say otherwise.

use std::sync::Arc;

use fluvial_yaml::{Comments, Entry, Node, NodeData, Style};

use super::walk::{Choice, PlaceStyle, Sources, Visitor, Walker};
use super::{Error, is_empty_map, is_missing, is_null, quote_for_yaml_1_1, take_style};
use crate::facts::{SchemaRef, SchemaSet};

pub use super::walk::ListDirection;

/// How to merge.
#[derive(Clone, Debug, Default)]
pub struct MergeOptions {
    /// Where new items of a list go.
    pub list_direction: ListDirection,
    /// Guess the merge key of lists that no schema describes.
    pub infer: bool,
    /// The schemas that nested objects are looked up in; the built-in ones if there are none.
    pub schemas: Option<Arc<SchemaSet>>,
}

/// Merges a patch over a tree. Without a schema, `apiVersion` and `kind` of the trees select one.
/// Nothing remains if the patch deletes the tree.
///
/// # Errors
/// Patch and tree have different kinds of nodes at one place, or the patch has an unknown
/// directive.
pub fn merge(
    patch: &Node,
    dest: Option<Node>,
    schema: Option<SchemaRef>,
    options: &MergeOptions,
) -> Result<Option<Node>, Error> {
    let schemas = options.schemas.clone().unwrap_or_else(SchemaSet::built_in);
    let mut walker = Walker {
        visitor: &Merge,
        infer: options.infer,
        keys: false,
        direction: options.list_direction,
        schemas: &schemas,
        depth: 0,
        shared: false,
        written: Vec::new(),
    };
    let mut merged = walker.walk(schema, dest, [Some(patch), None])?.into_node();
    if let Some(merged) = &mut merged {
        walker
            .written
            .iter()
            .for_each(|written| merged.write_twins(written));
    }
    Ok(merged)
}

/// Applies a strategic merge patch to a resource as kustomize does: kind, name and namespace of
/// the resource stay, unless the patch may change kind or name. Nothing remains if the patch
/// deletes the resource.
///
/// # Errors
/// As [`merge`].
pub fn apply_patch(
    patch: &Node,
    resource: Node,
    allow_name_change: bool,
    allow_kind_change: bool,
    schemas: Option<&Arc<SchemaSet>>,
) -> Result<Option<Node>, Error> {
    let metadata = |field: &str| {
        resource
            .get("metadata")
            .and_then(|metadata| metadata.get(field))
            .cloned()
    };
    let (kind, name, namespace) = (
        resource.get("kind").cloned(),
        metadata("name"),
        metadata("namespace"),
    );
    let options = MergeOptions {
        list_direction: ListDirection::Prepend,
        infer: false,
        schemas: schemas.cloned(),
    };
    // The reference writes into the resource that it has, where nothing can take the place of the whole.
    if patch.get("$patch").and_then(Node::as_text) == Some("replace") {
        return Ok(Some(resource));
    }
    let Some(mut merged) = merge(patch, Some(resource), None, &options)? else {
        return Ok(None);
    };
    if merged.entries().is_none_or(<[Entry]>::is_empty) {
        return Ok(None);
    }
    if !allow_kind_change {
        restore(&mut merged, "kind", kind);
    }
    if !allow_name_change && name.is_some() && merged.get("metadata").is_none() {
        restore(&mut merged, "metadata", Some(Node::mapping(Vec::new())));
    }
    if let Some(metadata) = merged.get_mut("metadata") {
        if !allow_name_change {
            restore(metadata, "name", name);
        }
        restore(metadata, "namespace", namespace);
    }
    Ok(Some(merged))
}

/// Sets a field to a text that it had, written as what is there now.
fn restore(node: &mut Node, key: &str, value: Option<Node>) {
    let Some(entries) = node.entries_mut() else {
        return;
    };
    let value = value.map(|old| match old.as_text() {
        Some(text) => {
            let mut new = Node::plain(text);
            new.pos = old.pos;
            match entries.iter().find(|entry| entry.key.as_text() == Some(key)) {
                Some(entry) => {
                    take_style(&mut new, PlaceStyle::of(&entry.value));
                    new.set_tag(None);
                }
                None => quote_for_yaml_1_1(&mut new),
            }
            new
        }
        None => old,
    });
    let at = entries.iter().position(|entry| entry.key.as_text() == Some(key));
    match (at, value) {
        (Some(at), Some(value)) => entries[at].value = value,
        (Some(at), None) => {
            entries.remove(at);
        }
        (None, Some(value)) => entries.push(Entry {
            key: Node::plain(key),
            value,
        }),
        (None, None) => {}
    }
}

struct Merge;

type CommentField = fn(&mut Comments) -> &mut String;

impl Visitor for Merge {
    fn prepare(&self, dest: &mut Node, origin: &Node) {
        if let Some(comments) = origin.comments() {
            for (own, new) in [
                (|own: &mut Comments| &mut own.head) as CommentField,
                |own| &mut own.line,
                |own| &mut own.foot,
            ]
            .into_iter()
            .zip([&comments.head, &comments.line, &comments.foot])
            {
                if !new.is_empty() {
                    own(dest.comments_mut()).clone_from(new);
                }
            }
        }
        // An empty collection is in flow style because it is empty.
        let origin_style = match origin.data {
            NodeData::Mapping { style, .. } | NodeData::Sequence { style, .. } => style,
            _ => Style::Block,
        };
        match &mut dest.data {
            NodeData::Mapping { entries, style } if entries.is_empty() => *style = origin_style,
            NodeData::Sequence { items, style } if items.is_empty() => *style = origin_style,
            _ => {}
        }
    }

    fn map(&self, nodes: &Sources<'_, '_>) -> Result<Choice, Error> {
        let origin = nodes.origin();
        if is_missing(nodes.dest) {
            let Some(patch) = origin else {
                return Ok(Choice::Clear);
            };
            return Ok(match directive(patch) {
                Ok(Some((Directive::Delete, _))) => Choice::Clear,
                Ok(Some((_, rest))) => Choice::Both(rest),
                Ok(None) | Err(_) => Choice::Both(patch.clone()),
            });
        }
        let Some(patch) = origin else {
            return Ok(Choice::Dest);
        };
        if is_null(patch) {
            return Ok(Choice::Clear);
        }
        Ok(match directive(patch)? {
            Some((Directive::Delete, _)) => Choice::Clear,
            Some((Directive::Replace, rest)) => Choice::Both(rest),
            Some((Directive::Merge, rest)) => Choice::DestWith(rest),
            None => Choice::Dest,
        })
    }

    fn scalar(&self, nodes: &Sources<'_, '_>) -> Result<Choice, Error> {
        Ok(match nodes.origin() {
            Some(patch) if is_null(patch) => Choice::Clear,
            Some(patch) => Choice::Source(patch.clone()),
            None => Choice::Dest,
        })
    }

    fn list(&self, nodes: &Sources<'_, '_>, associative: bool) -> Result<Choice, Error> {
        let Some(patch) = nodes.origin() else {
            return Ok(Choice::Dest);
        };
        if !associative {
            return Ok(if is_null(patch) {
                Choice::Clear
            } else {
                Choice::Source(patch.clone())
            });
        }
        if is_missing(nodes.dest) {
            return Ok(Choice::Both(patch.clone()));
        }
        if is_null(patch) {
            return Ok(Choice::Clear);
        }
        Ok(match directive(patch)? {
            Some((Directive::Delete, _)) => Choice::Clear,
            Some((Directive::Replace, rest)) => Choice::Both(rest),
            Some((Directive::Merge, rest)) => Choice::DestWith(rest),
            None => Choice::Dest,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Delete,
    Replace,
    Merge,
}

const DIRECTIVE: &str = "$patch";

/// The `$patch` directive of a map or list, and the node without it.
fn directive(node: &Node) -> Result<Option<(Directive, Node)>, Error> {
    if let Some(items) = node.items() {
        let Some((item, value)) = items.iter().find_map(|item| Some((item, item.get(DIRECTIVE)?))) else {
            return Ok(None);
        };
        // Beside other fields it is the item's own.
        if item.entries().is_none_or(|entries| entries.len() > 1) {
            return Ok(None);
        }
        let directive = parse_directive(value)?;
        let text = value.as_text();
        let mut rest = node.clone();
        if let Some(items) = rest.items_mut() {
            items.retain(|item| {
                let same = item.get(DIRECTIVE).is_some_and(|own| own.as_text() == text);
                !same && !is_null(item) && !is_empty_map(item)
            });
        }
        return Ok(Some((directive, rest)));
    }
    let Some(value) = node.get(DIRECTIVE) else {
        return Ok(None);
    };
    let directive = parse_directive(value)?;
    let mut rest = node.clone();
    if let Some(entries) = rest.entries_mut()
        && let Some(at) = entries
            .iter()
            .position(|entry| entry.key.as_text() == Some(DIRECTIVE))
    {
        entries.remove(at);
    }
    Ok(Some((directive, rest)))
}

fn parse_directive(value: &Node) -> Result<Directive, Error> {
    match value.as_text() {
        Some("delete") => Ok(Directive::Delete),
        Some("replace") => Ok(Directive::Replace),
        Some("merge") => Ok(Directive::Merge),
        other => Err(Error {
            pos: value.pos,
            message: format!(
                "unknown patch strategy '{}': delete, replace and merge are known",
                other.unwrap_or_default()
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use fluvial_yaml::{EmitOptions, ReadOptions, emit, parse_first};

    use super::*;

    fn node(text: &str) -> Node {
        parse_first(text, &ReadOptions::default()).unwrap().unwrap()
    }

    fn patched(dest: &str, patch: &str) -> Result<String, String> {
        let merged =
            apply_patch(&node(patch), node(dest), false, false, None).map_err(|error| error.to_string())?;
        Ok(merged.map_or_else(String::new, |node| emit(&node, &EmitOptions::default())))
    }

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: \"1\"\n";

    #[test]
    fn names_are_written_as_the_patch_writes_them() {
        let output = patched(POD, "metadata:\n  name: x\n  labels: {a: b}\n").unwrap();
        assert!(output.contains("  name: \"1\"\n"), "{output}");
        let output = patched(&POD.replace("\"1\"", "a # c"), "metadata: null\n").unwrap();
        assert!(output.ends_with("metadata:\n  name: a\n"), "{output}");
    }

    #[test]
    fn a_field_without_a_name_fits_nothing() {
        let error = patched(POD, "spec:\n  \"\": x\n").unwrap_err();
        assert!(
            error.starts_with("wrong node kind: expected ScalarNode but got MappingNode"),
            "{error}"
        );
    }

    #[test]
    fn tags_are_a_part_of_a_fields_style() {
        let output = patched(&format!("{POD}x: !!str a\ny: b\n"), "x: c\ny: !!str d\n").unwrap();
        assert!(output.ends_with("x: !!str c\ny: d\n"), "{output}");
    }

    #[test]
    fn lists_that_grow_in_front_are_new() {
        let output = patched(POD, "metadata:\n  finalizers: [a, b]\n").unwrap();
        assert!(output.ends_with("  finalizers:\n  - a\n  - b\n"), "{output}");
    }
}
