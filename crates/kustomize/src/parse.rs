//! From bytes to resources: documents are split, lists expanded, what has no identity is refused.

use std::collections::VecDeque;

use fluvial_yaml::{FileId, Limits, Node, NodeData, ReadOptions};

use crate::error::{Error, Result};
use crate::nodes::{self, Kind, is_nil_or_empty, is_null, text_at};
use crate::parallel;
use crate::resource::Resource;
use crate::session::Session;

/// Reads the documents of a file, anchors expanded.
pub(crate) fn documents(session: &Session<'_>, text: &str, file: FileId) -> Result<Vec<Node>> {
    session.budget.read(text.len())?;
    let options = ReadOptions {
        file,
        limits: Limits::default(),
    };
    let mut nodes = parallel::read(text, &options, session.options.threads).map_err(|error| {
        let line = error.pos.line;
        Error::new(format!("MalformedYAMLError: {}", error.message)).at(session.file_name(file), line)
    })?;
    for node in &mut nodes {
        node.deanchor()
            .map_err(|error| Error::new(error.message).at(session.file_name(file), error.pos.line))?;
    }
    Ok(nodes)
}

/// Reads the resources of a file.
pub(crate) fn resources(session: &Session<'_>, text: &str, file: FileId) -> Result<Vec<Resource>> {
    let nodes = objects(session, text, file)?;
    session.count_resources(nodes.len())?;
    Ok(nodes
        .into_iter()
        .map(|node| Resource::new(node, session))
        .collect())
}

/// The objects of a file, lists expanded.
fn objects(session: &Session<'_>, text: &str, file: FileId) -> Result<Vec<Node>> {
    let mut documents = documents(session, text, file)?;
    if documents.len() == 1
        && let Some(items) = unwrap_list(&mut documents[0])
    {
        documents = items;
    }
    let mut queue: VecDeque<Node> = VecDeque::new();
    for node in documents {
        queue.extend(checked(session, node)?);
    }
    let mut objects = Vec::with_capacity(queue.len());
    while let Some(node) = queue.pop_front() {
        let kind = text_at(&node, &["kind"]);
        if !kind.ends_with("List") {
            objects.push(node);
            continue;
        }
        let kind = kind.to_owned();
        let mut node = node;
        match nodes::remove(&mut node, "items") {
            None => {}
            Some(items) if is_null(&items) => {}
            Some(items) => match items.data {
                NodeData::Sequence { items, .. } => {
                    for item in items {
                        queue.extend(checked(session, item)?);
                    }
                }
                _ => {
                    let error = Error::new(format!(
                        "expected array in {kind}/items, but found {}",
                        Kind::of(&items).name()
                    ));
                    return Err(session.about(error, &items));
                }
            },
        }
    }
    Ok(objects)
}

/// The items of a `List` or `ResourceList` that is a file's only document.
fn unwrap_list(node: &mut Node) -> Option<Vec<Node>> {
    if !matches!(text_at(node, &["kind"]), "List" | "ResourceList") {
        return None;
    }
    match node.get("items")?.data {
        NodeData::Sequence { .. } => match nodes::remove(node, "items")?.data {
            NodeData::Sequence { items, .. } => Some(items),
            _ => None,
        },
        _ => None,
    }
}

/// Drops an empty document, refuses one without identity.
fn checked(session: &Session<'_>, node: Node) -> Result<Option<Node>> {
    if is_nil_or_empty(&node) {
        return Ok(None);
    }
    validate(&node).map_err(|error| session.about(error, &node))?;
    if let Some(path) = null_item(&node, &mut Vec::new()) {
        let error = Error::new(format!("empty item at {path} in object"));
        return Err(session.about(error, &node));
    }
    Ok(Some(node))
}

/// Fails unless an object has a kind and a name (a list needs none) and well-formed metadata.
fn validate(node: &Node) -> Result<()> {
    if Kind::of(node) != Kind::Mapping {
        return Err(Error::new(format!(
            "an object must be a mapping, this is a {}",
            Kind::of(node).name()
        )));
    }
    for field in ["apiVersion", "kind"] {
        scalar_or_absent(node, field)?;
    }
    if let Some(metadata) = node.get("metadata").filter(|node| !is_null(node)) {
        nodes::expect_kind(metadata, Kind::Mapping)?;
        for field in ["name", "namespace"] {
            scalar_or_absent(metadata, field)?;
        }
        for field in ["labels", "annotations"] {
            string_values(metadata, field)?;
        }
    }
    let kind = text_at(node, &["kind"]);
    if kind.is_empty() {
        return Err(Error::new("missing kind in object"));
    }
    if !kind.ends_with("List") && text_at(node, &["metadata", "name"]).is_empty() {
        return Err(Error::new(format!(
            "missing metadata.name in object of kind {kind}"
        )));
    }
    Ok(())
}

fn scalar_or_absent(node: &Node, field: &str) -> Result<()> {
    match node.get(field) {
        Some(value) if Kind::of(value) != Kind::Scalar => {
            Err(Error::new(format!("field {field} must be a string")))
        }
        _ => Ok(()),
    }
}

fn string_values(metadata: &Node, field: &str) -> Result<()> {
    let Some(map) = metadata.get(field).filter(|node| !is_null(node)) else {
        return Ok(());
    };
    let entries = map
        .entries()
        .ok_or_else(|| Error::new(format!("metadata.{field} must be a mapping of strings")))?;
    for entry in entries {
        if Kind::of(&entry.value) != Kind::Scalar {
            return Err(Error::new(format!(
                "metadata.{field}.{} must be a string",
                nodes::text_of(&entry.key)
            )));
        }
    }
    Ok(())
}

/// The path of a null item of a sequence.
fn null_item(node: &Node, path: &mut Vec<String>) -> Option<String> {
    match &node.data {
        NodeData::Mapping { entries, .. } => entries.iter().find_map(|entry| {
            path.push(nodes::text_of(&entry.key).to_owned());
            let found = null_item(&entry.value, path);
            path.pop();
            found
        }),
        NodeData::Sequence { items, .. } => items.iter().find_map(|item| {
            if is_null(item) {
                Some(path.join("."))
            } else {
                null_item(item, path)
            }
        }),
        _ => None,
    }
}
