//! JSON patches (RFC 6902) on node trees, so that what a patch does not touch keeps its place in
//! its file, and what it writes has the place in the patch.

use fluvial_yaml::{Entry, Mode, Node, NodeData};

use crate::budget::Budget;
use crate::error::{Error, Result, Within};
use crate::nodes::{self, text_of};

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    kind: OperationKind,
    path: Vec<String>,
    /// As written, for messages.
    text: String,
}

#[derive(Clone, Debug)]
enum OperationKind {
    Add(Node),
    Replace(Node),
    Test(Node),
    Remove,
    Move(Vec<String>),
    Copy(Vec<String>),
    /// Nothing that there is, or without what it needs: an error where the patch has a target.
    Wrong(Error),
}

/// Reads a patch: a sequence of operations.
pub(crate) fn read(node: &Node) -> Result<Vec<Operation>> {
    let items = node.items().ok_or_else(|| match node.as_text() {
        Some(text) => Error::new(format!(
            "a JSON patch is a sequence of operations, not \"{text}\""
        )),
        None => Error::new("a JSON patch is a sequence of operations"),
    })?;
    items
        .iter()
        .map(|item| {
            nodes::expect_kind(item, nodes::Kind::Mapping).within(|| "JSON patch operation".to_owned())?;
            Ok(read_operation(item).unwrap_or_else(|error| Operation {
                kind: OperationKind::Wrong(error),
                path: Vec::new(),
                text: item.get("path").map(text_of).unwrap_or_default().to_owned(),
            }))
        })
        .collect()
}

fn read_operation(node: &Node) -> Result<Operation> {
    let text = |name: &str| node.get(name).map(text_of).map(str::to_owned);
    let pointer = |name: &str| {
        text(name)
            .ok_or_else(|| Error::new(format!("JSON patch operation without '{name}'")))
            .and_then(|text| split(&text))
    };
    // A missing value is null.
    let value = || node.get("value").cloned().unwrap_or_else(|| Node::plain("null"));
    let op = text("op").ok_or_else(|| Error::new("JSON patch operation without 'op'"))?;
    let kind = match &*op {
        "add" => OperationKind::Add(value()),
        "replace" => OperationKind::Replace(value()),
        "test" => OperationKind::Test(value()),
        "remove" => OperationKind::Remove,
        "move" => OperationKind::Move(pointer("from")?),
        "copy" => OperationKind::Copy(pointer("from")?),
        other => return Err(Error::new(format!("unexpected JSON patch operation '{other}'"))),
    };
    Ok(Operation {
        kind,
        path: pointer("path")?,
        text: text("path").unwrap_or_default(),
    })
}

/// Splits a JSON pointer.
fn split(pointer: &str) -> Result<Vec<String>> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    // What stands before the first slash is ignored, as the reference does.
    Ok(pointer
        .split('/')
        .skip(1)
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect())
}

/// Whether the operations test annotations as a whole before they write them: records of the reference are among them,
/// which no value in a patch has.
pub(crate) fn test_records(operations: &[Operation]) -> bool {
    let whole = |operation: &Operation| {
        let path: Vec<&str> = operation.path.iter().map(String::as_str).collect();
        matches!(path[..], [] | ["metadata"] | ["metadata", "annotations"])
    };
    let first = operations.iter().find(|operation| whole(operation));
    first.is_some_and(|operation| matches!(operation.kind, OperationKind::Test(_)))
}

/// Applies all operations.
pub(crate) fn apply(document: &mut Node, operations: &[Operation], budget: &Budget) -> Result<()> {
    for operation in operations {
        apply_one(document, operation, budget).within(|| format!("JSON patch at '{}'", operation.text))?;
    }
    Ok(())
}

fn apply_one(document: &mut Node, operation: &Operation, budget: &Budget) -> Result<()> {
    let path = &operation.path;
    match &operation.kind {
        OperationKind::Add(value) => {
            budget.place(value, path.len())?;
            add(document, path, value.clone())
        }
        OperationKind::Replace(value) => {
            budget.place(value, path.len())?;
            replace(document, path, value.clone())
        }
        OperationKind::Remove => remove(document, path).map(drop),
        OperationKind::Move(from) => {
            let value = remove(document, from)?;
            budget.place(&value, path.len())?;
            add(document, path, value)
        }
        OperationKind::Copy(from) => {
            // A missing field is copied as null.
            let value = match find(document, from) {
                Ok(value) => {
                    budget.place(value, path.len())?;
                    value.clone()
                }
                Err(_) => Node::plain("null"),
            };
            parent(document, from)?;
            add(document, path, value)
        }
        OperationKind::Test(value) => test(document, path, value),
        OperationKind::Wrong(error) => Err(error.clone()),
    }
}

fn missing(path: &[String]) -> Error {
    Error::new(format!("doc is missing path: /{}", path.join("/")))
}

/// An index into a sequence of this length; negative ones count from the end.
fn index(part: &str, length: usize) -> Result<usize> {
    let number: i64 = part
        .parse()
        .map_err(|_| Error::new(format!("'{part}' is not an index of a sequence")))?;
    let at = if number < 0 {
        number + i64::try_from(length).unwrap_or(i64::MAX)
    } else {
        number
    };
    usize::try_from(at).map_err(|_| Error::new(format!("invalid index {part}")))
}

fn child<'a>(node: &'a Node, part: &str) -> Option<&'a Node> {
    match &node.data {
        NodeData::Mapping { .. } => node.get(part),
        NodeData::Sequence { items, .. } => items.get(index(part, items.len()).ok()?),
        _ => None,
    }
}

fn child_mut<'a>(node: &'a mut Node, part: &str) -> Option<&'a mut Node> {
    match &node.data {
        NodeData::Mapping { .. } => node.get_mut(part),
        NodeData::Sequence { items, .. } => {
            let at = index(part, items.len()).ok()?;
            node.items_mut()?.get_mut(at)
        }
        _ => None,
    }
}

fn find<'a>(document: &'a Node, path: &[String]) -> Result<&'a Node> {
    path.iter()
        .try_fold(document, |node, part| child(node, part))
        .ok_or_else(|| missing(path))
}

/// The collection that holds the last part of a path.
fn parent<'a, 'p>(document: &'a mut Node, path: &'p [String]) -> Result<(&'a mut Node, &'p str)> {
    let Some((last, before)) = path.split_last() else {
        return Err(Error::new("the whole object cannot be changed this way"));
    };
    let mut node = document;
    for part in before {
        node = child_mut(node, part).ok_or_else(|| missing(path))?;
    }
    match node.data {
        NodeData::Mapping { .. } | NodeData::Sequence { .. } => Ok((node, last)),
        _ => Err(missing(path)),
    }
}

fn add(document: &mut Node, path: &[String], value: Node) -> Result<()> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let (holder, last) = parent(document, path)?;
    match &mut holder.data {
        NodeData::Mapping { .. } => {
            put(holder, last, value);
            Ok(())
        }
        NodeData::Sequence { items, .. } => {
            if last == "-" {
                items.push(value);
                return Ok(());
            }
            // Counting from the end, the new item itself counts.
            let at = index(last, items.len() + 1)?;
            if at > items.len() {
                return Err(Error::new(format!(
                    "invalid index {last}: the sequence has {} items",
                    items.len()
                )));
            }
            items.insert(at, value);
            Ok(())
        }
        _ => Err(missing(path)),
    }
}

/// Sets a key; the key is a string, whatever its text reads as.
fn put(holder: &mut Node, key: &str, value: Node) {
    if let Some(field) = holder.get_mut(key) {
        *field = value;
    } else if let Some(entries) = holder.entries_mut() {
        entries.push(Entry {
            key: nodes::string(key).to_node(),
            value,
        });
    }
}

fn replace(document: &mut Node, path: &[String], value: Node) -> Result<()> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let (holder, last) = parent(document, path)?;
    if holder.entries().is_some() {
        // The reference makes a missing field here too.
        put(holder, last, value);
        return Ok(());
    }
    match child_mut(holder, last) {
        Some(item) => {
            *item = value;
            Ok(())
        }
        None => Err(missing(path)),
    }
}

fn remove(document: &mut Node, path: &[String]) -> Result<Node> {
    let (holder, last) = parent(document, path)?;
    let removed = match &mut holder.data {
        NodeData::Sequence { items, .. } => {
            let at = index(last, items.len())?;
            (at < items.len()).then(|| items.remove(at))
        }
        _ => nodes::remove(holder, last),
    };
    removed.ok_or_else(|| Error::new(format!("unable to remove nonexistent key: {last}")))
}

fn test(document: &Node, path: &[String], value: &Node) -> Result<()> {
    let json = |node: &Node| {
        node.to_json(Mode::Kyaml)
            .map_err(|error| Error::new(error.to_string()))
    };
    let want = json(value)?;
    let found = match find(document, path) {
        Ok(node) => json(node)?,
        Err(_) if want.is_null() => return Ok(()),
        Err(error) => return Err(error),
    };
    if found == want {
        Ok(())
    } else {
        Err(Error::new("testing value failed"))
    }
}
