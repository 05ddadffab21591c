//! Bringing the comments, or the order of fields, of one tree into another.

use fluvial_yaml::{Comments, Entry, Node, NodeData, ScalarStyle};
use rustc_hash::FxHashSet;

use super::{Error, is_null, wrong_kind};
use crate::facts::{SchemaRef, schema_for};

/// Copies comments to the fields that both trees have, where the target has none.
///
/// # Errors
/// The trees have different kinds of nodes at one place, or fields without a name.
pub fn copy_comments(from: &Node, to: &mut Node) -> Result<(), Error> {
    if let Some((head, foot)) = from.document_comments() {
        let (head, foot) = (head.to_owned(), foot.to_owned());
        let own = to
            .document_comments()
            .map(|(head, foot)| (head.to_owned(), foot.to_owned()));
        let (own_head, own_foot) = own.unwrap_or_default();
        to.set_document_comments(or(own_head, head), or(own_foot, foot));
    }
    copy(Some(from), Some(to), None, true)
}

fn object_schema(node: &Node) -> Option<SchemaRef> {
    let text = |key| node.get(key).and_then(Node::as_text);
    schema_for(text("apiVersion")?, text("kind")?)
}

fn or(own: String, other: String) -> String {
    if own.is_empty() { other } else { own }
}

/// What two trees have at one place. A document is not the node in it: the comments of that one stay where they are.
fn copy(
    from: Option<&Node>,
    to: Option<&mut Node>,
    schema: Option<SchemaRef>,
    document: bool,
) -> Result<(), Error> {
    let there = from.filter(|node| !is_null(node));
    if matches!(there.map(|node| &node.data), Some(NodeData::Alias(_))) {
        return Ok(());
    }
    if let (Some(from), Some(to)) = (there, to.as_deref().filter(|node| !is_null(node)))
        && std::mem::discriminant(&from.data) != std::mem::discriminant(&to.data)
    {
        return Err(wrong_kind(from, to));
    }
    let Some(to) = to else {
        return Ok(());
    };
    if !document {
        copy_scalar(from, to);
    }
    let Some(from) = from else {
        return Ok(());
    };
    let schema = schema.or_else(|| object_schema(from));
    match &to.data {
        NodeData::Mapping { .. } => copy_fields(from, to, schema.as_ref()),
        NodeData::Sequence { .. } => copy_items(from, to, schema.as_ref()),
        _ => Ok(()),
    }
}

/// Copies a node's own comments.
fn copy_scalar(from: Option<&Node>, to: &mut Node) {
    // A line comment does not fit behind a folded text.
    if let NodeData::Scalar { style, .. } = &mut to.data
        && *style == ScalarStyle::Folded
    {
        *style = ScalarStyle::DoubleQuoted;
    }
    if let Some(from) = from {
        copy_own(from, to);
    }
}

fn copy_fields(from: &Node, to: &mut Node, schema: Option<&SchemaRef>) -> Result<(), Error> {
    let own = from.entries().unwrap_or_default();
    let mut targets = to.entries_mut().map(std::mem::take).unwrap_or_default();
    let mut done = FxHashSet::default();
    let mut result = Ok(());
    for target in &mut targets {
        let name = target.key.as_text().unwrap_or_default().to_owned();
        if name.is_empty() && from.entries().is_some() {
            result = Err(wrong_kind(&Node::plain(""), from));
            break;
        }
        if !done.insert(name.clone()) {
            continue;
        }
        let entry = own.iter().find(|entry| entry.key.as_text() == Some(&*name));
        let key = entry.map(|entry| &entry.key).filter(|key| !is_null(key));
        if !is_null(&target.key) {
            copy_scalar(key, &mut target.key);
        }
        let child = schema.and_then(|schema| schema.field(&name));
        let value = entry.map(|entry| &entry.value);
        result = copy(value, Some(&mut target.value), child, false);
        if result.is_err() {
            break;
        }
    }
    if let Some(slot) = to.entries_mut() {
        *slot = targets;
    }
    result?;
    match own.iter().find(|entry| name_is_empty(&entry.key)) {
        Some(_) => Err(wrong_kind(&Node::plain(""), from)),
        None => Ok(()),
    }
}

fn name_is_empty(key: &Node) -> bool {
    key.as_text().unwrap_or_default().is_empty()
}

fn copy_items(from: &Node, to: &mut Node, schema: Option<&SchemaRef>) -> Result<(), Error> {
    let items = from.items().unwrap_or_default();
    let Some(targets) = to.items_mut() else {
        return Ok(());
    };
    for (item, target) in items.iter().zip(targets.iter_mut()) {
        if item.as_text().unwrap_or_default() == target.as_text().unwrap_or_default() {
            copy(Some(item), Some(target), None, false)?;
        }
    }
    let Some(schema) = schema.filter(|schema| schema.merges_items()) else {
        return Ok(());
    };
    let keys = schema.merge_keys();
    for item in items {
        let target = targets.iter_mut().find(|target| {
            if keys.is_empty() {
                return item.as_text().is_some() && item.as_text() == target.as_text();
            }
            keys.iter().any(|key| item.get(key).is_some())
                && keys.iter().all(|key| {
                    item.get(key).and_then(Node::as_text) == target.get(key).and_then(Node::as_text)
                })
        });
        if let Some(target) = target {
            copy(Some(item), Some(target), schema.items(), false)?;
        }
    }
    Ok(())
}

/// Copies a node's own comments where the target has none.
fn copy_own(from: &Node, to: &mut Node) {
    let Some(comments) = from.comments() else {
        return;
    };
    if *comments == Comments::default() {
        return;
    }
    let own = to.comments_mut();
    for (own, other) in [
        (&mut own.head, &comments.head),
        (&mut own.line, &comments.line),
        (&mut own.foot, &comments.foot),
    ] {
        if own.is_empty() {
            own.clone_from(other);
        }
    }
}

/// Brings the fields of a tree into the order that another has; fields that it lacks come last.
///
/// # Errors
/// One of the trees has a list where the other has none.
pub fn sync_order(from: &Node, to: &mut Node) -> Result<(), Error> {
    order(from, to).map_err(|error| Error {
        message: format!("failed to sync field order: {:?}", error.message),
        ..error
    })?;
    // A mapping is made anew, without what stands around it.
    if !is_empty(from) && !is_empty(to) && from.entries().is_some() && to.entries().is_some() {
        to.set_document_comments(String::new(), String::new());
    }
    gather_item_comments(to);
    Ok(())
}

fn is_empty(node: &Node) -> bool {
    is_null(node)
        || node.entries().is_some_and(<[Entry]>::is_empty)
        || node.items().is_some_and(<[Node]>::is_empty)
}

fn order(from: &Node, to: &mut Node) -> Result<(), Error> {
    if is_empty(from) || is_empty(to) {
        return Ok(());
    }
    match &from.data {
        NodeData::Mapping { entries, .. } => order_fields(entries, to),
        NodeData::Sequence { items, .. } => {
            if to.items().is_none() {
                return Err(wrong_kind(from, to));
            }
            let own = to.items_mut().into_iter().flatten();
            items.iter().zip(own).try_for_each(|(item, own)| order(item, own))
        }
        _ => Ok(()),
    }
}

/// Of fields that are there twice, the first takes both places.
fn order_fields(from: &[Entry], to: &mut Node) -> Result<(), Error> {
    let Some(slot) = to.entries_mut() else {
        return Ok(());
    };
    let mut old = std::mem::take(slot);
    let mut names: Vec<String> = old
        .iter()
        .map(|entry| entry.key.as_text().unwrap_or_default().to_owned())
        .collect();
    let first = |entries: &[Entry], name: &str| {
        entries
            .iter()
            .position(|entry| entry.key.as_text().unwrap_or_default() == name)
    };
    let mut own = Vec::with_capacity(old.len());
    let mut result = Ok(());
    for entry in from {
        let name = entry.key.as_text().unwrap_or_default();
        let Some(place) = names.iter().position(|own| own == name) else {
            continue;
        };
        names.remove(place);
        let (Some(at), Some(theirs)) = (first(&old, name), first(from, name)) else {
            continue;
        };
        result = result.and_then(|()| order(&from[theirs].value, &mut old[at].value));
        own.push(old[at].clone());
    }
    for name in names {
        own.extend(first(&old, &name).map(|at| old[at].clone()));
    }
    if let Some(slot) = to.entries_mut() {
        *slot = own;
    }
    result
}

/// The head comment of an item's first field belongs above the item; where the item has none, it stands in both places.
fn gather_item_comments(node: &mut Node) {
    match &mut node.data {
        NodeData::Mapping { entries, .. } => {
            for entry in entries {
                gather_item_comments(&mut entry.value);
            }
        }
        NodeData::Sequence { items, .. } => items.iter_mut().for_each(raise_head_comment),
        _ => {}
    }
}

fn raise_head_comment(item: &mut Node) {
    let alone = item.comments().is_none_or(|comments| comments.head.is_empty());
    let first = match &mut item.data {
        NodeData::Mapping { entries, .. } => entries.first_mut().map(|entry| &mut entry.key),
        NodeData::Sequence { items, .. } => items.first_mut(),
        _ => None,
    };
    let Some(first) = first.filter(|first| matches!(first.data, NodeData::Scalar { .. })) else {
        return;
    };
    let Some(comments) = first.comments().filter(|comments| !comments.head.is_empty()) else {
        return;
    };
    let head = comments.head.clone();
    if alone {
        item.comments_mut().head = head;
        return;
    }
    first.comments_mut().head.clear();
    let own = &mut item.comments_mut().head;
    own.push('\n');
    own.push_str(&head);
}

#[cfg(test)]
mod tests {
    use fluvial_yaml::{EmitOptions, ReadOptions, emit, parse_first};

    use super::*;

    fn node(text: &str) -> Node {
        parse_first(text, &ReadOptions::default()).unwrap().unwrap()
    }

    fn copied(from: &str, to: &str) -> Result<String, String> {
        let mut to = node(to);
        copy_comments(&node(from), &mut to).map_err(|error| error.to_string())?;
        Ok(emit(&to, &EmitOptions::default()))
    }

    fn ordered(from: &str, to: &str) -> Result<String, String> {
        let mut to = node(to);
        sync_order(&node(from), &mut to).map_err(|error| error.to_string())?;
        Ok(emit(&to, &EmitOptions::default()))
    }

    #[test]
    fn comments_come_to_the_same_fields() {
        assert_eq!(copied("a: 1 # c\n", "a: 2\nb: 3\n").unwrap(), "a: 2 # c\nb: 3\n");
        // A folded text is quoted, whether there is a comment or not.
        assert_eq!(copied("a: 1\n", "b: >-\n  x\n").unwrap(), "b: \"x\"\n");
        assert!(
            copied("a: {b: c}\n", "a: x\n")
                .unwrap_err()
                .contains("expected MappingNode")
        );
        assert!(
            copied("a: 1\n", "\"\": x\n")
                .unwrap_err()
                .contains("expected ScalarNode")
        );
    }

    #[test]
    fn fields_come_in_the_order_of_the_other() {
        assert_eq!(
            ordered("b: 1\na: 2\n", "c: 3\na: 4\nb: 5\n").unwrap(),
            "b: 5\na: 4\nc: 3\n"
        );
        // Of a field that is there twice, the first stands in both places.
        assert_eq!(ordered("a: 1\n", "a: 2\na: 3\n").unwrap(), "a: 2\na: 2\n");
        let error = ordered("a: [1]\n", "a: x\n").unwrap_err();
        assert!(
            error.starts_with("failed to sync field order: \"wrong node kind"),
            "{error}"
        );
    }
}
