//! From bytes to resources: documents are split, lists expanded, what has no identity is refused.

use std::collections::VecDeque;

use fluvial_yaml::{FileId, Limits, Node, NodeData, ReadOptions, parse_part_first};

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
    let malformed = |error: fluvial_yaml::Error| {
        Error::new(format!("MalformedYAMLError: {}", error.message))
            .at(session.file_name(file), error.pos.line)
    };
    // The reference cuts at lines of `---` alone and reads one document of each part: what follows a document that
    // ends otherwise is lost.
    let mut nodes = if fluvial_yaml::ends_oddly(text) {
        fluvial_yaml::separated(text).and_then(|parts| {
            parts
                .iter()
                .filter_map(|part| parse_part_first(part, &options).transpose())
                .collect()
        })
    } else {
        parallel::read(text, &options, session.options.threads)
    }
    .map_err(malformed)?;
    for node in &mut nodes {
        expand(session, node, file)?;
    }
    Ok(nodes)
}

/// Reads the first document of a text, anchors expanded; what follows it is not looked at.
pub(crate) fn first_document(session: &Session<'_>, text: &str, file: FileId) -> Result<Option<Node>> {
    session.budget.read(text.len())?;
    let options = ReadOptions {
        file,
        limits: Limits::default(),
    };
    let mut node = fluvial_yaml::parse_values(text, &options).map_err(|error| {
        Error::new(format!("MalformedYAMLError: {}", error.message))
            .at(session.file_name(file), error.pos.line)
    })?;
    if let Some(node) = &mut node {
        expand(session, node, file)?;
    }
    Ok(node)
}

fn expand(session: &Session<'_>, node: &mut Node, file: FileId) -> Result<()> {
    node.deanchor()
        .map_err(|error| Error::new(error.message).at(session.file_name(file), error.pos.line))
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
    Ok(Some(node))
}

/// Fails unless an object has a kind and a name (a list needs none).
fn validate(node: &Node) -> Result<()> {
    if Kind::of(node) != Kind::Mapping {
        return Err(Error::new(format!(
            "an object must be a mapping, this is a {}",
            Kind::of(node).name()
        )));
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
