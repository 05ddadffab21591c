//! Which file and line set each field of an object, and, where a build was asked to record it, what
//! had set it before.

use std::fmt::Write as _;

use fluvial_yaml::{Node, NodeData, Pos};

use crate::build::Build;
use crate::error::Location;
use crate::nodes::text_of;
use crate::resource::Resource;

/// A field that a step of a build set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The field; items of lists go by their name, if they have one.
    path: String,
    /// The kind of the generator or transformer.
    by: &'static str,
    /// Where the value stood before.
    before: Option<Pos>,
}

/// One link of a field's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Where the value is written; nothing if the build made it.
    pub place: Option<Location>,
    /// The kind of the transformer that set it; nothing for a value as it was loaded or generated.
    pub by: Option<&'static str>,
}

/// Where each field of an object was set: lines of `path: file:line`, and what was there before
/// if [`crate::Options::record_changes`] was on.
#[must_use]
pub fn explain(build: &Build, resource: &Resource) -> String {
    let mut out = String::new();
    let mut fields = Vec::new();
    let mut paths = Paths::default();
    leaves(&resource.node, &mut paths, &mut fields);
    for (shown, path, pos) in fields {
        let mut line = String::new();
        for setting in chain(build, resource, &path, pos) {
            line.push_str(if line.is_empty() { ": " } else { ", before " });
            match &setting.place {
                // Writing to a string cannot fail.
                Some(place) => {
                    let _ = write!(line, "{place}");
                }
                None => line.push_str("(made by the build)"),
            }
            if let Some(by) = setting.by {
                let _ = write!(line, " by {by}");
            }
        }
        let _ = writeln!(out, "{shown}{line}");
    }
    out
}

/// The history of one field, the newest first; `path` as [`explain`] shows it. Nothing if there is
/// no such field.
#[must_use]
pub fn history(build: &Build, resource: &Resource, path: &str) -> Option<Vec<Setting>> {
    let mut fields = Vec::new();
    leaves(&resource.node, &mut Paths::default(), &mut fields);
    let (_, path, pos) = fields.into_iter().find(|(shown, ..)| shown == path)?;
    Some(chain(build, resource, &path, pos))
}

fn chain(build: &Build, resource: &Resource, path: &str, pos: Pos) -> Vec<Setting> {
    let place = |pos: Pos| {
        build.file(pos.file).map(|file| Location {
            file: file.to_owned(),
            line: pos.line,
        })
    };
    let mut links = Vec::new();
    let mut here = Some(pos);
    for change in resource.changes.iter().rev().filter(|change| change.path == path) {
        let Some(pos) = here else { break };
        links.push(Setting {
            place: place(pos),
            by: Some(change.by),
        });
        here = change.before;
    }
    if let Some(pos) = here {
        links.push(Setting {
            place: place(pos),
            by: None,
        });
    }
    links
}

/// The way to a node: as people write it, and as it stays when lists change.
#[derive(Default)]
struct Paths {
    shown: String,
    stable: String,
}

impl Paths {
    fn field<T>(&mut self, name: &str, visit: impl FnOnce(&mut Self) -> T) -> T {
        let lengths = (self.shown.len(), self.stable.len());
        for path in [&mut self.shown, &mut self.stable] {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
        }
        self.back(lengths, visit)
    }

    fn item<T>(&mut self, index: usize, item: &Node, visit: impl FnOnce(&mut Self) -> T) -> T {
        let lengths = (self.shown.len(), self.stable.len());
        let _ = write!(self.shown, "[{index}]");
        match item_name(item) {
            Some(name) => {
                let _ = write!(self.stable, "[name={name}]");
            }
            None => {
                let _ = write!(self.stable, "[{index}]");
            }
        }
        self.back(lengths, visit)
    }

    fn back<T>(&mut self, lengths: (usize, usize), visit: impl FnOnce(&mut Self) -> T) -> T {
        let result = visit(self);
        self.shown.truncate(lengths.0);
        self.stable.truncate(lengths.1);
        result
    }
}

fn item_name(item: &Node) -> Option<&str> {
    item.get("name").and_then(Node::as_text)
}

/// The scalars of a node with their paths and places.
fn leaves(node: &Node, paths: &mut Paths, out: &mut Vec<(String, String, Pos)>) {
    match &node.data {
        NodeData::Mapping { entries, .. } if !entries.is_empty() => {
            for entry in entries {
                paths.field(text_of(&entry.key), |paths| leaves(&entry.value, paths, out));
            }
        }
        NodeData::Sequence { items, .. } if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                paths.item(index, item, |paths| leaves(item, paths, out));
            }
        }
        _ => out.push((paths.shown.clone(), paths.stable.clone(), node.pos)),
    }
}

/// Notes what a step has set in an object.
pub(crate) fn record(resource: &mut Resource, before: &Node, by: &'static str) {
    let Resource { node, changes, .. } = resource;
    compare(Some(before), node, &mut Paths::default(), by, changes);
}

fn compare(before: Option<&Node>, after: &Node, paths: &mut Paths, by: &'static str, out: &mut Vec<Change>) {
    match &after.data {
        NodeData::Mapping { entries, .. } if !entries.is_empty() => {
            for entry in entries {
                let name = text_of(&entry.key);
                let known = before.and_then(|node| node.get(name));
                paths.field(name, |paths| compare(known, &entry.value, paths, by, out));
            }
        }
        NodeData::Sequence { items, .. } if !items.is_empty() => {
            let old = before.and_then(Node::items).unwrap_or_default();
            for (index, item) in items.iter().enumerate() {
                let known = match item_name(item) {
                    Some(name) => old.iter().find(|one| item_name(one) == Some(name)),
                    None => old.get(index),
                };
                paths.item(index, item, |paths| compare(known, item, paths, by, out));
            }
        }
        _ => {
            if before.is_none_or(|before| before.data != after.data || before.pos != after.pos) {
                out.push(Change {
                    path: paths.stable.clone(),
                    by,
                    before: before.map(|before| before.pos),
                });
            }
        }
    }
}
