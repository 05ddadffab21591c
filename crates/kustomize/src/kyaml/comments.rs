//! Bringing the comments, or the order of fields, of one tree into another.

use fluvial_yaml::{Comments, Entry, Node, NodeData, ScalarStyle};

use crate::facts::{SchemaRef, schema_for};

/// Copies comments to the fields that both trees have, where the target has none.
pub fn copy_comments(from: &Node, to: &mut Node) {
    if let Some((head, foot)) = from.document_comments() {
        let (head, foot) = (head.to_owned(), foot.to_owned());
        let own = to
            .document_comments()
            .map(|(head, foot)| (head.to_owned(), foot.to_owned()));
        let (own_head, own_foot) = own.unwrap_or_default();
        to.set_document_comments(or(own_head, head), or(own_foot, foot));
    }
    copy(from, to, object_schema(from).as_ref());
}

fn object_schema(node: &Node) -> Option<SchemaRef> {
    let text = |key| node.get(key).and_then(Node::as_text);
    schema_for(text("apiVersion")?, text("kind")?)
}

fn or(own: String, other: String) -> String {
    if own.is_empty() { other } else { own }
}

fn copy(from: &Node, to: &mut Node, schema: Option<&SchemaRef>) {
    copy_own(from, to);
    match &from.data {
        NodeData::Mapping { entries, .. } => {
            for entry in entries {
                let name = entry.key.as_text().unwrap_or_default();
                let target = to
                    .entries_mut()
                    .and_then(|entries| entries.iter_mut().find(|own| own.key.as_text() == Some(name)));
                if let Some(target) = target {
                    copy_own(&entry.key, &mut target.key);
                    let child = schema.and_then(|schema| schema.field(name));
                    copy(&entry.value, &mut target.value, child.as_ref());
                }
            }
        }
        NodeData::Sequence { items, .. } => copy_items(items, to, schema),
        NodeData::Scalar { .. } => {
            // A line comment does not fit behind a folded text.
            if let NodeData::Scalar { style, .. } = &mut to.data
                && *style == ScalarStyle::Folded
            {
                *style = ScalarStyle::DoubleQuoted;
            }
        }
        NodeData::Alias(_) => {}
    }
}

fn copy_items(items: &[Node], to: &mut Node, schema: Option<&SchemaRef>) {
    let Some(targets) = to.items_mut() else {
        return;
    };
    for (item, target) in items.iter().zip(targets.iter_mut()) {
        if item.as_text().unwrap_or_default() == target.as_text().unwrap_or_default() {
            copy(item, target, object_schema(item).as_ref());
        }
    }
    let Some(schema) = schema.filter(|schema| schema.merges_items()) else {
        return;
    };
    let keys = schema.merge_keys();
    let child = schema.items();
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
            copy(item, target, child.as_ref());
        }
    }
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
pub fn sync_order(from: &Node, to: &mut Node) {
    order(from, to);
    gather_item_comments(to);
}

fn order(from: &Node, to: &mut Node) {
    match (&from.data, &mut to.data) {
        (NodeData::Mapping { entries, .. }, NodeData::Mapping { entries: own, .. }) => {
            let mut old: Vec<Option<Entry>> = std::mem::take(own).into_iter().map(Some).collect();
            for entry in entries {
                let name = entry.key.as_text();
                let found = old
                    .iter_mut()
                    .find(|own| own.as_ref().is_some_and(|own| own.key.as_text() == name));
                if let Some(mut found) = found.and_then(Option::take) {
                    order(&entry.value, &mut found.value);
                    own.push(found);
                }
            }
            own.extend(old.into_iter().flatten());
        }
        (NodeData::Sequence { items, .. }, NodeData::Sequence { items: own, .. }) => {
            for (item, own) in items.iter().zip(own) {
                order(item, own);
            }
        }
        _ => {}
    }
}

/// The head comment of an item's first field belongs above the item.
fn gather_item_comments(node: &mut Node) {
    match &mut node.data {
        NodeData::Mapping { entries, .. } => {
            for entry in entries {
                gather_item_comments(&mut entry.value);
            }
        }
        NodeData::Sequence { items, .. } => {
            for item in items {
                let first = item.entries_mut().and_then(|entries| entries.first_mut());
                let Some(first) = first else {
                    continue;
                };
                if first
                    .key
                    .comments()
                    .is_none_or(|comments| comments.head.is_empty())
                {
                    continue;
                }
                let head = std::mem::take(&mut first.key.comments_mut().head);
                let own = &mut item.comments_mut().head;
                if !own.is_empty() {
                    own.push('\n');
                }
                own.push_str(&head);
            }
        }
        _ => {}
    }
}
