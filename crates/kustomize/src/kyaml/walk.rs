//! Walking several trees at once, field by field, and making one of them.
//!
//! The first tree is the destination, which is changed; the others are looked at. Fields come in
//! the order of their names, so that those which the destination lacks are added in that order.
//! What is done with each node is up to a [`Visitor`].

use std::collections::BTreeSet;

use fluvial_yaml::{Comments, Entry, Node, NodeData, ScalarStyle};

use super::{Error, is_empty_map, is_missing, is_null, kind_name, quote_for_yaml_1_1, take_style};
use crate::facts::{SchemaRef, SchemaSet};

/// Where items go that the destination of a list lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListDirection {
    /// Behind those it has.
    #[default]
    Append,
    /// In front of them.
    Prepend,
}

/// What becomes the destination's node.
pub(crate) enum Choice {
    /// Nothing: the node is removed.
    Clear,
    /// The destination's own node.
    Dest,
    /// The destination's own node, the second tree's node replaced by this one.
    DestWith(Node),
    /// A copy of another tree's node; it is walked as the destination then.
    Source(Node),
    /// The same, for a node that takes the place of what other trees have, too.
    Both(Node),
}

/// The nodes at one place; the destination's first.
pub(crate) struct Sources<'s, 'n> {
    pub(crate) dest: Option<&'s Node>,
    pub(crate) others: [Option<&'n Node>; 2],
}

impl<'n> Sources<'_, 'n> {
    /// The second tree's node: the patch, or the original.
    pub(crate) fn origin(&self) -> Option<&'n Node> {
        self.others[0]
    }

    /// The third tree's node.
    pub(crate) fn updated(&self) -> Option<&'n Node> {
        self.others[1]
    }
}

/// Decides what becomes of each node.
pub(crate) trait Visitor {
    fn map(&self, nodes: &Sources<'_, '_>) -> Result<Choice, Error>;
    fn scalar(&self, nodes: &Sources<'_, '_>) -> Result<Choice, Error>;
    fn list(&self, nodes: &Sources<'_, '_>, associative: bool) -> Result<Choice, Error>;
}

pub(crate) struct Walker<'v, V> {
    pub(crate) visitor: &'v V,
    pub(crate) infer: bool,
    /// Keys are visited too, for their comments.
    pub(crate) keys: bool,
    pub(crate) direction: ListDirection,
    pub(crate) schemas: &'v std::sync::Arc<SchemaSet>,
    pub(crate) depth: usize,
}

/// Fields that identify the items of a list whose schema is not known.
const ASSOCIATIVE_KEYS: [&str; 7] = [
    "mountPath",
    "devicePath",
    "ip",
    "type",
    "topologyKey",
    "name",
    "containerPort",
];

const DEPTH: usize = 500;

impl<V: Visitor> Walker<'_, V> {
    pub(crate) fn walk(
        &mut self,
        schema: Option<SchemaRef>,
        dest: Option<Node>,
        others: [Option<&Node>; 2],
    ) -> Result<Option<Node>, Error> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Error {
                pos: dest
                    .as_ref()
                    .or(others[0])
                    .map_or(fluvial_yaml::Pos::NONE, |node| node.pos),
                message: format!("exceeded the nesting limit of {DEPTH}"),
            });
        }
        let result = self.walk_inner(schema, dest, others);
        self.depth -= 1;
        result
    }

    fn walk_inner(
        &mut self,
        schema: Option<SchemaRef>,
        dest: Option<Node>,
        others: [Option<&Node>; 2],
    ) -> Result<Option<Node>, Error> {
        let schema = schema.or_else(|| self.schema_of(dest.as_ref(), others));
        let first = [dest.as_ref(), others[0], others[1]]
            .into_iter()
            .flatten()
            .find(|node| !is_null(node));
        let Some(first) = first else {
            return self.walk_map(schema.as_ref(), dest, others);
        };
        for node in [dest.as_ref(), others[0], others[1]].into_iter().flatten() {
            if !is_null(node) && kind_name(node) != kind_name(first) {
                return Err(Error {
                    pos: node.pos,
                    message: format!(
                        "wrong node kind: expected {} but got {}: node contents:\n{}",
                        kind_name(first),
                        kind_name(node),
                        fluvial_yaml::emit(node, &fluvial_yaml::EmitOptions::default())
                    ),
                });
            }
        }
        match first.data {
            NodeData::Mapping { .. } => self.walk_map(schema.as_ref(), dest, others),
            NodeData::Sequence { .. } => self.walk_list(schema, dest, others),
            NodeData::Scalar { .. } => {
                let choice = self.visitor.scalar(&Sources {
                    dest: dest.as_ref(),
                    others,
                })?;
                Ok(match choice {
                    Choice::Clear => None,
                    Choice::Dest | Choice::DestWith(_) => dest,
                    Choice::Source(node) | Choice::Both(node) => Some(node),
                })
            }
            NodeData::Alias(_) => Ok(None),
        }
    }

    fn schema_of(&self, dest: Option<&Node>, others: [Option<&Node>; 2]) -> Option<SchemaRef> {
        [dest, others[0], others[1]]
            .into_iter()
            .flatten()
            .find_map(|node| {
                let version = node.get("apiVersion")?.as_text()?;
                let kind = node.get("kind")?.as_text()?;
                self.schemas.schema_for(version, kind)
            })
    }

    fn walk_map(
        &mut self,
        schema: Option<&SchemaRef>,
        dest: Option<Node>,
        others: [Option<&Node>; 2],
    ) -> Result<Option<Node>, Error> {
        let choice = self.visitor.map(&Sources {
            dest: dest.as_ref(),
            others,
        })?;
        match choice {
            Choice::Clear => Ok(None),
            Choice::Dest => match dest {
                Some(dest) => self.merge_fields(schema, dest, others).map(Some),
                None => Ok(None),
            },
            Choice::DestWith(patch) => match dest {
                Some(dest) => self.merge_fields(schema, dest, [Some(&patch), None]).map(Some),
                None => Ok(None),
            },
            Choice::Source(node) => self.merge_fields(schema, node, others).map(Some),
            Choice::Both(node) => {
                let source = node.clone();
                self.merge_fields(schema, node, [Some(&source), None]).map(Some)
            }
        }
    }

    fn merge_fields(
        &mut self,
        schema: Option<&SchemaRef>,
        mut dest: Node,
        others: [Option<&Node>; 2],
    ) -> Result<Node, Error> {
        let Some(entries) = dest.entries_mut() else {
            return Ok(dest);
        };
        let mut entries = std::mem::take(entries);
        let mut names: BTreeSet<Box<str>> = BTreeSet::new();
        for list in [
            Some(&entries[..]),
            others[0].and_then(Node::entries),
            others[1].and_then(Node::entries),
        ] {
            for entry in list.unwrap_or_default() {
                names.insert(entry.key.as_text().unwrap_or_default().into());
            }
        }
        for name in &names {
            self.merge_field(schema, name, &mut entries, others)?;
        }
        if let Some(slot) = dest.entries_mut() {
            *slot = entries;
        }
        Ok(dest)
    }

    fn merge_field(
        &mut self,
        schema: Option<&SchemaRef>,
        name: &str,
        entries: &mut Vec<Entry>,
        others: [Option<&Node>; 2],
    ) -> Result<(), Error> {
        let at = entries.iter().position(|entry| entry.key.as_text() == Some(name));
        let entry_of = |node: Option<&'_ Node>| -> Option<usize> {
            node?
                .entries()?
                .iter()
                .position(|entry| entry.key.as_text() == Some(name))
        };
        let other_entries = others.map(|node| entry_of(node).and_then(|at| node?.entries()?.get(at)));
        let comments = if self.keys {
            self.key_comments(
                at.map(|at| &entries[at].key),
                other_entries.map(|entry| entry.map(|entry| &entry.key)),
            )?
        } else {
            None
        };
        if let (Some(at), Some(comments)) = (at, &comments) {
            entries[at].key.clear_comments();
            if *comments != Comments::default() {
                *entries[at].key.comments_mut() = comments.clone();
            }
        }
        let dest_value = at.map(|at| std::mem::replace(&mut entries[at].value, Node::plain("")));
        // Style of the place, should another node come into it.
        let place = dest_value.as_ref().map(style_only);
        let dest_text = dest_value.as_ref().map(|node| node.pos);
        let values = other_entries.map(|entry| entry.map(|entry| &entry.value));
        let kept_null = at.is_some()
            && dest_value
                .as_ref()
                .is_some_and(|node| is_null(node) && node.as_text() != Some(""))
            && values[0].is_none()
            && !self.keys;
        if kept_null {
            // A null that is written out stays.
            if let (Some(at), Some(value)) = (at, dest_value) {
                entries[at].value = value;
            }
            return Ok(());
        }
        let child = schema.and_then(|schema| schema.field(name));
        let value = self.walk(child, dest_value, values)?;
        match (at, value.filter(|value| !is_null(value))) {
            (Some(at), Some(mut value)) => {
                quote_for_yaml_1_1(&mut value);
                if let Some(place) = place
                    && dest_text != Some(value.pos)
                {
                    take_style(&mut value, &place);
                }
                entries[at].value = value;
            }
            (Some(at), None) => {
                entries.remove(at);
            }
            (None, Some(mut value)) => {
                quote_for_yaml_1_1(&mut value);
                let mut key = Node::plain(name);
                for entry in other_entries.into_iter().flatten() {
                    if let (NodeData::Scalar { style, .. }, NodeData::Scalar { style: from, .. }) =
                        (&mut key.data, &entry.key.data)
                    {
                        *style = *from;
                    }
                    key.pos = entry.key.pos;
                }
                if let Some(comments) = comments
                    && comments != Comments::default()
                {
                    *key.comments_mut() = comments;
                }
                entries.push(Entry { key, value });
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// The comments that a key gets when keys are merged as if they were scalars.
    fn key_comments(
        &self,
        dest: Option<&Node>,
        others: [Option<&Node>; 2],
    ) -> Result<Option<Comments>, Error> {
        let choice = self.visitor.scalar(&Sources { dest, others })?;
        let comments = |node: &Node| node.comments().cloned().unwrap_or_default();
        Ok(match choice {
            Choice::Clear => None,
            Choice::Dest | Choice::DestWith(_) => dest.map(comments),
            Choice::Source(node) | Choice::Both(node) => Some(comments(&node)),
        })
    }

    fn walk_list(
        &mut self,
        schema: Option<SchemaRef>,
        dest: Option<Node>,
        others: [Option<&Node>; 2],
    ) -> Result<Option<Node>, Error> {
        let associative = match &schema {
            Some(schema) => schema.merges_items(),
            None => self.infer && inferred_key(dest.as_ref(), others).is_some(),
        };
        let choice = self.visitor.list(
            &Sources {
                dest: dest.as_ref(),
                others,
            },
            associative,
        )?;
        let (node, source) = match choice {
            Choice::Clear => return Ok(None),
            Choice::Dest => (dest, None),
            Choice::DestWith(patch) => (dest, Some(patch)),
            Choice::Source(node) => (Some(node), None),
            Choice::Both(node) => {
                let source = node.clone();
                (Some(node), Some(source))
            }
        };
        let Some(node) = node else {
            return Ok(None);
        };
        if !associative {
            return Ok(Some(node));
        }
        match source {
            Some(source) => self.merge_items(schema, node, [Some(&source), None]),
            None => self.merge_items(schema, node, others),
        }
    }

    /// Merges the items of lists, which are told apart by keys, or by their text if they are scalars.
    fn merge_items(
        &mut self,
        schema: Option<SchemaRef>,
        mut dest: Node,
        others: [Option<&Node>; 2],
    ) -> Result<Option<Node>, Error> {
        let mut keys: Vec<String> = schema
            .as_ref()
            .map(|schema| schema.merge_keys().into_iter().map(str::to_owned).collect())
            .unwrap_or_default();
        if keys.is_empty()
            && let Some(key) = inferred_key(Some(&dest), others)
        {
            keys.push(key.to_owned());
        }
        let ids = self.item_ids(&keys, &dest, others);
        let valid: Vec<usize> = (0..keys.len())
            .filter(|at| ids.iter().any(|id| !id[*at].is_empty()))
            .collect();
        let valid = if valid.is_empty() {
            (0..keys.len()).collect()
        } else {
            valid
        };
        let valid_keys: Vec<String> = valid.iter().map(|at| keys[*at].clone()).collect();
        let child = schema.and_then(|schema| schema.items());
        let mut items = dest.items_mut().map(std::mem::take).unwrap_or_default();
        let mut added: Vec<Node> = Vec::new();
        for id in &ids {
            let id: Vec<String> = if keys.is_empty() {
                id.clone()
            } else {
                valid.iter().map(|at| id[*at].clone()).collect()
            };
            let own = find_item(&items, &valid_keys, &id).map(|at| items[at].clone());
            let theirs = others.map(|node| {
                let items = node?.items()?;
                find_item(items, &valid_keys, &id).map(|at| &items[at])
            });
            let value = self.walk(child.clone(), own, theirs)?;
            match value.filter(|value| !is_null(value) && !is_empty_map(value)) {
                None => set_item(&mut items, &valid_keys, &id, None),
                Some(mut value) => {
                    for (key, text) in valid_keys.iter().zip(&id) {
                        if value.get(key).is_none()
                            && !text.is_empty()
                            && let Some(entries) = value.entries_mut()
                        {
                            entries.push(Entry {
                                key: Node::plain(key.as_str()),
                                value: Node::text(text),
                            });
                        }
                    }
                    set_item(&mut added, &valid_keys, &id, Some(value));
                }
            }
        }
        if !ids.is_empty() {
            let (mut into, from) = match self.direction {
                ListDirection::Prepend => (added, items),
                ListDirection::Append => (items, added),
            };
            for item in from {
                match item_id(&item, &valid_keys) {
                    Some(id) => {
                        // What was merged stands for what the destination had.
                        if self.direction == ListDirection::Prepend
                            && find_item(&into, &valid_keys, &id).is_some()
                        {
                            continue;
                        }
                        set_item(&mut into, &valid_keys, &id, Some(item));
                    }
                    None => into.push(item),
                }
            }
            items = into;
        }
        if items.is_empty() {
            return Ok(None);
        }
        if let Some(slot) = dest.items_mut() {
            *slot = items;
        }
        Ok(Some(dest))
    }

    /// The items' key values in order, each once.
    fn item_ids(&self, keys: &[String], dest: &Node, others: [Option<&Node>; 2]) -> Vec<Vec<String>> {
        let mut sources = vec![Some(dest), others[0]];
        if self.keys {
            sources.push(others[1]);
        }
        if self.direction == ListDirection::Prepend {
            sources.rotate_left(1);
        }
        let mut ids: Vec<Vec<String>> = Vec::new();
        for item in sources.into_iter().flatten().filter_map(Node::items).flatten() {
            let id: Vec<String> = if keys.is_empty() {
                vec![item.as_text().unwrap_or_default().to_owned()]
            } else {
                keys.iter()
                    .map(|key| {
                        let value = item.get(key).filter(|value| !is_null(value));
                        value.and_then(Node::as_text).unwrap_or_default().to_owned()
                    })
                    .collect()
            };
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }
}

/// A node without content but with the style.
fn style_only(node: &Node) -> Node {
    Node::new(match &node.data {
        NodeData::Scalar { style, .. } => NodeData::Scalar {
            text: "".into(),
            style: *style,
        },
        NodeData::Mapping { style, .. } => NodeData::Mapping {
            entries: Vec::new(),
            style: *style,
        },
        NodeData::Sequence { style, .. } => NodeData::Sequence {
            items: Vec::new(),
            style: *style,
        },
        NodeData::Alias(_) => NodeData::Scalar {
            text: "".into(),
            style: ScalarStyle::Plain,
        },
    })
}

/// The field that tells the items of the first list with content apart.
fn inferred_key(dest: Option<&Node>, others: [Option<&Node>; 2]) -> Option<&'static str> {
    [dest, others[0], others[1]]
        .into_iter()
        .flatten()
        .find_map(|list| {
            let items = list.items()?;
            if items.is_empty() || items.iter().any(|item| item.entries().is_none()) {
                return None;
            }
            ASSOCIATIVE_KEYS.into_iter().find(|key| {
                items
                    .iter()
                    .all(|item| item.get(key).is_some_and(|value| !is_null(value)))
            })
        })
}

/// The values of an item's keys; nothing if it lacks one.
fn item_id(item: &Node, keys: &[String]) -> Option<Vec<String>> {
    if keys.is_empty() {
        return item.as_text().map(|text| vec![text.to_owned()]);
    }
    keys.iter()
        .map(|key| {
            item.get(key)
                .map(|value| value.as_text().unwrap_or_default().to_owned())
        })
        .collect()
}

/// The item whose keys have these values.
fn find_item(items: &[Node], keys: &[String], id: &[String]) -> Option<usize> {
    items.iter().position(|item| {
        if keys.is_empty() {
            return item.as_text() == id.first().map(String::as_str);
        }
        keys.iter()
            .zip(id)
            .all(|(key, value)| item.get(key).and_then(Node::as_text) == Some(value))
    })
}

/// Replaces the items with these keys, removes them, or adds the item. An empty value stands for
/// any; items that are empty themselves go.
fn set_item(items: &mut Vec<Node>, keys: &[String], id: &[String], new: Option<Node>) {
    let mut found = false;
    let old = std::mem::take(items);
    for item in old {
        if is_missing(Some(&item)) || is_empty_map(&item) {
            continue;
        }
        let same = if keys.is_empty() {
            item.as_text() == id.first().map(String::as_str)
        } else {
            keys.iter().zip(id).all(|(key, value)| {
                item.get(key)
                    .is_some_and(|own| value.is_empty() || own.as_text() == Some(value))
            })
        };
        if !same {
            items.push(item);
            continue;
        }
        found = true;
        items.extend(new.clone());
    }
    if !found {
        items.extend(new);
    }
}
