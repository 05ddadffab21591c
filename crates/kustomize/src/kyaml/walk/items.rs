//! Merging lists whose items are told apart by keys, or by their text if they are scalars.
//!
//! What kustomize does with odd lists (items without key, items twice, scalars among maps) follows
//! from setting items one after the other; [`set_item`] and [`put_items`] do the same. Lists whose
//! items have one key each, none of them twice, go a shorter way to the same result.

use fluvial_yaml::{Entry, Node, NodeData};
use rustc_hash::FxHashMap;

use super::{ListDirection, Visitor, Walker};
use crate::facts::SchemaRef;
use crate::kyaml::{Error, is_empty_map, is_null, wrong_kind};

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

/// The values of an item's keys.
type Id = Vec<String>;

impl<V: Visitor> Walker<'_, V> {
    pub(super) fn merge_items(
        &mut self,
        schema: Option<&SchemaRef>,
        mut dest: Node,
        others: [Option<&Node>; 2],
    ) -> Result<Option<Node>, Error> {
        let keys: Vec<String> = match schema {
            Some(schema) => schema.merge_keys().into_iter().map(str::to_owned).collect(),
            None => vec![inferred_key(&dest, others)?.to_owned()],
        };
        let child = schema.and_then(SchemaRef::items);
        let items = dest.items_mut().map(std::mem::take).unwrap_or_default();
        let other_items = others.map(|other| other.and_then(Node::items).unwrap_or_default());
        let short = match &keys[..] {
            [key] => Index::new(key, &items, other_items),
            _ => None,
        };
        let merged = match short {
            Some(index) => self.merge_indexed(child.as_ref(), items, &index)?,
            None => self.merge_listed(child.as_ref(), keys, items, other_items)?,
        };
        if let Some(slot) = dest.items_mut() {
            *slot = merged;
        }
        Ok(Some(dest))
    }

    /// Merges items that all have the one key, with a value of their own.
    fn merge_indexed(
        &mut self,
        schema: Option<&SchemaRef>,
        items: Vec<Node>,
        index: &Index<'_>,
    ) -> Result<Vec<Node>, Error> {
        let mut items: Vec<Option<Node>> = items.into_iter().map(Some).collect();
        let mut merged = Vec::with_capacity(items.len());
        let order = index.order(self.direction);
        for id in order {
            let own = id.dest.and_then(|at| items[at].take());
            let kept = self.kept_item(own.as_ref(), id.others[0]);
            let value = self.walk(schema.cloned(), own, id.others)?.into_node();
            if let Some(mut value) = value.filter(|value| !is_null(value) && !is_empty_map(value)) {
                add_key(&mut value, index.key, id.text);
                merged.push(kept.unwrap_or(value));
            }
        }
        Ok(merged)
    }

    /// The destination's item, if it is what is left of a merge: items come in front, and then
    /// those of the destination are put over them. One that is the patch's own has lost its directive.
    fn kept_item(&self, own: Option<&Node>, patch: Option<&Node>) -> Option<Node> {
        let (own, patch) = (own?, patch?);
        let replaces =
            own.as_text().is_some() || patch.get("$patch").and_then(Node::as_text) == Some("replace");
        (self.direction == ListDirection::Prepend && replaces).then(|| {
            let mut kept = own.clone();
            if self.shared {
                crate::nodes::remove(&mut kept, "$patch");
            }
            kept
        })
    }

    /// Merges items as kustomize does, one after the other.
    fn merge_listed(
        &mut self,
        schema: Option<&SchemaRef>,
        mut keys: Vec<String>,
        mut items: Vec<Node>,
        others: [&[Node]; 2],
    ) -> Result<Vec<Node>, Error> {
        if keys.is_empty() {
            // Scalars are their own keys.
            keys.push(String::new());
        }
        let mut ids = self.item_ids(&keys, &items, others);
        if keys.len() > 1 {
            merge_ids(&mut ids);
        }
        let valid: Vec<usize> = (0..keys.len())
            .filter(|at| ids.iter().any(|id| !id[*at].is_empty()))
            .collect();
        if !valid.is_empty() {
            keys = valid.iter().map(|at| keys[*at].clone()).collect();
            for id in &mut ids {
                *id = valid.iter().map(|at| id[*at].clone()).collect();
            }
        }
        let mut merged = Vec::new();
        for id in &ids {
            self.merge_item(schema, &keys, id, &mut items, others, &mut merged)?;
        }
        if ids.is_empty() {
            return Ok(items);
        }
        match self.direction {
            ListDirection::Prepend => put_items(&mut merged, items, &keys)?,
            ListDirection::Append => {
                put_items(&mut items, merged, &keys)?;
                merged = items;
            }
        }
        Ok(merged)
    }

    /// Merges what all trees have under an identity.
    fn merge_item(
        &mut self,
        schema: Option<&SchemaRef>,
        keys: &[String],
        id: &[String],
        items: &mut Vec<Node>,
        others: [&[Node]; 2],
        merged: &mut Vec<Node>,
    ) -> Result<(), Error> {
        let at = find_item(items, keys, id);
        let own = at.map(|at| std::mem::replace(&mut items[at], Node::plain("")));
        let theirs = others.map(|items| find_item(items, keys, id).map(|at| &items[at]));
        let kept = self.kept_item(own.as_ref(), theirs[0]);
        let value = self.walk(schema.cloned(), own, theirs)?.into_node();
        let value = value.filter(|value| !is_null(value) && !is_empty_map(value));
        let Some(mut value) = value else {
            // Its place is empty now, unless it had none.
            if let Some(at) = at {
                items.remove(at);
            }
            return set_item(items, keys, id, None);
        };
        for (key, text) in keys.iter().zip(id) {
            add_key(&mut value, key, text);
        }
        if let Some(at) = at {
            items[at] = kept.unwrap_or_else(|| value.clone());
        }
        set_item(merged, keys, id, Some(value))
    }

    /// The items' key values in order, each once; those of the tree that comes first first.
    fn item_ids(&self, keys: &[String], items: &[Node], others: [&[Node]; 2]) -> Vec<Id> {
        let mut sources = [items, others[0], others[1]];
        if self.direction == ListDirection::Prepend {
            sources.rotate_left(1);
        }
        let mut seen = rustc_hash::FxHashSet::default();
        let mut ids = Vec::new();
        for item in sources.into_iter().flatten() {
            let id: Id = keys.iter().map(|key| key_value(item, key).to_owned()).collect();
            if seen.insert(id.clone()) {
                ids.push(id);
            }
        }
        ids
    }
}

/// The items of all trees by their key.
struct Index<'n> {
    key: &'n str,
    dest: Vec<String>,
    others: [&'n [Node]; 2],
    places: FxHashMap<String, [Option<usize>; 3]>,
}

/// What the trees have under one key value.
struct Indexed<'i, 'n> {
    text: &'i str,
    dest: Option<usize>,
    others: [Option<&'n Node>; 2],
}

impl<'n> Index<'n> {
    /// Nothing if an item is no map, lacks the key, or has that of another.
    fn new(key: &'n str, items: &[Node], others: [&'n [Node]; 2]) -> Option<Self> {
        let mut places: FxHashMap<String, [Option<usize>; 3]> = FxHashMap::default();
        for (tree, items) in [items, others[0], others[1]].into_iter().enumerate() {
            for (at, item) in items.iter().enumerate() {
                let text = key_value(item, key);
                if text.is_empty() {
                    return None;
                }
                let place = match places.get_mut(text) {
                    Some(place) => place,
                    None => places.entry(text.to_owned()).or_default(),
                };
                if place[tree].replace(at).is_some() {
                    return None;
                }
            }
        }
        Some(Index {
            key,
            dest: items.iter().map(|item| key_value(item, key).to_owned()).collect(),
            others,
            places,
        })
    }

    /// The items in the order in which they come out.
    fn order(&self, direction: ListDirection) -> Vec<Indexed<'_, 'n>> {
        let dest = self.dest.iter().map(String::as_str).enumerate();
        let of = |tree: usize| {
            let texts = self.others[tree - 1].iter().map(|item| key_value(item, self.key));
            texts.enumerate().map(move |(at, text)| (tree, at, text))
        };
        let dest = dest.map(|(at, text)| (0, at, text));
        let all: Vec<(usize, usize, &str)> = match direction {
            ListDirection::Append => dest.chain(of(1)).chain(of(2)).collect(),
            ListDirection::Prepend => of(1).chain(of(2)).chain(dest).collect(),
        };
        let first_tree = match direction {
            ListDirection::Append => [0, 1, 2],
            ListDirection::Prepend => [1, 2, 0],
        };
        all.into_iter()
            .filter_map(|(tree, _, text)| {
                let (text, places) = self.places.get_key_value(text)?;
                let first = first_tree.into_iter().find(|tree| places[*tree].is_some());
                (first == Some(tree)).then(|| Indexed {
                    text,
                    dest: places[0],
                    others: [1, 2].map(|tree| places[tree].map(|at| &self.others[tree - 1][at])),
                })
            })
            .collect()
    }
}

/// The text under an item's key; empty if there is none. A scalar is its own key.
fn key_value<'n>(item: &'n Node, key: &str) -> &'n str {
    if key.is_empty() {
        return item.as_text().unwrap_or_default();
    }
    let value = item.get(key).filter(|value| !is_null(value));
    value.and_then(Node::as_text).unwrap_or_default()
}

/// Gives an item the key that it was found by.
fn add_key(item: &mut Node, key: &str, text: &str) {
    if key.is_empty() || text.is_empty() || item.get(key).is_some() {
        return;
    }
    if let Some(entries) = item.entries_mut() {
        entries.push(Entry {
            key: Node::plain(key),
            value: Node::text(text),
        });
    }
}

/// Brings together identities that have a part in common and differ only where one is empty: a
/// port without protocol is the one with it.
fn merge_ids(ids: &mut Vec<Id>) {
    let partial: Vec<usize> = (0..ids.len())
        .filter(|at| ids[*at].iter().any(String::is_empty))
        .collect();
    if partial.is_empty() {
        return;
    }
    for a in 0..ids.len() {
        let id = ids[a].clone();
        for b in 0..ids.len() {
            if let Some(both) = one_of(&id, &ids[b]) {
                ids[a].clone_from(&both);
                ids[b] = both;
            }
        }
    }
    let mut seen = rustc_hash::FxHashSet::default();
    ids.retain(|id| seen.insert(id.clone()));
}

fn one_of(a: &[String], b: &[String]) -> Option<Id> {
    let mut common = false;
    for (a, b) in a.iter().zip(b) {
        if a == b {
            common = true;
        } else if !a.is_empty() && !b.is_empty() {
            return None;
        }
    }
    let both = a.iter().zip(b).map(|(a, b)| if a.is_empty() { b } else { a });
    common.then(|| both.cloned().collect())
}

/// The item whose keys have these values; keys without value are left out, unless all are.
fn find_item(items: &[Node], keys: &[String], id: &[String]) -> Option<usize> {
    if keys.first().is_some_and(String::is_empty) {
        return items
            .iter()
            .position(|item| item.as_text() == id.first().map(String::as_str));
    }
    let all_empty = id.iter().all(String::is_empty);
    items.iter().position(|item| {
        item.entries().is_some()
            && keys
                .iter()
                .zip(id)
                .filter(|(_, value)| all_empty || !value.is_empty())
                .all(|(key, value)| item.get(key).is_some_and(|own| value_text(own) == value))
    })
}

fn value_text(node: &Node) -> &str {
    node.as_text().unwrap_or_default()
}

/// Whether an item has these key values; an empty value stands for any.
fn has_id(item: &Node, keys: &[String], id: &[String]) -> Result<bool, Error> {
    let scalars = keys.first().is_some_and(String::is_empty);
    if !scalars && item.entries().is_none() {
        if id.first().is_some_and(|value| !value.is_empty()) {
            return Ok(false);
        }
        return Err(wrong_kind(&Node::mapping(Vec::new()), item));
    }
    if scalars {
        return match &item.data {
            NodeData::Scalar { text, .. } => Ok(id.first().is_some_and(|id| **id == **text)),
            _ => Err(wrong_kind(&Node::plain(""), item)),
        };
    }
    // Without values nothing is like the item.
    Ok(!id.is_empty()
        && keys.iter().enumerate().all(|(at, key)| {
            let Some(value) = id.get(at) else {
                return true;
            };
            let own = item.get(key);
            own.is_some_and(|own| value.is_empty() || value_text(own) == value)
        }))
}

/// Replaces the items with these key values, removes them, or adds the item. Items that are empty
/// go.
fn set_item(items: &mut Vec<Node>, keys: &[String], id: &[String], new: Option<Node>) -> Result<(), Error> {
    let mut found = false;
    for item in std::mem::take(items) {
        if is_null(&item) || is_empty_map(&item) {
            continue;
        }
        if has_id(&item, keys, id)? {
            found = true;
            items.extend(new.clone());
        } else if !id.is_empty() {
            items.push(item);
        }
    }
    if !found {
        items.extend(new);
    }
    Ok(())
}

/// Sets one item after the other by their own key values; an item without a key is added as well.
fn put_items(into: &mut Vec<Node>, from: Vec<Node>, keys: &[String]) -> Result<(), Error> {
    for item in from {
        let mut id = Vec::new();
        for key in keys {
            if key.is_empty() {
                id.push(value_text(&item).to_owned());
            } else if item.entries().is_none() && !is_null(&item) {
                return Err(wrong_kind(&Node::mapping(Vec::new()), &item));
            } else if let Some(value) = item.get(key) {
                id.push(value_text(value).to_owned());
            } else {
                into.push(item.clone());
            }
        }
        if keys.len() > 1 {
            set_item(into, keys, &id, None)?;
        }
        set_item(into, keys, &id, Some(item))?;
    }
    Ok(())
}

/// Whether one of the lists looks as if its items had a key.
pub(super) fn is_associative(dest: Option<&Node>, others: [Option<&Node>; 2]) -> bool {
    [dest, others[0], others[1]]
        .into_iter()
        .flatten()
        .filter_map(Node::items)
        .any(|items| key_of(items).is_some())
}

fn key_of(items: &[Node]) -> Option<&'static str> {
    ASSOCIATIVE_KEYS
        .into_iter()
        .find(|key| items.iter().all(|item| item.get(key).is_some()))
}

/// The field that tells the items apart, which must be the same in all lists.
fn inferred_key(dest: &Node, others: [Option<&Node>; 2]) -> Result<&'static str, Error> {
    let mut found: Option<&'static str> = None;
    for list in [Some(dest), others[0], others[1]].into_iter().flatten() {
        let items = list.items().unwrap_or_default();
        if items.is_empty() {
            continue;
        }
        let key = key_of(items).unwrap_or_default();
        match found {
            Some(known) if !known.is_empty() && known != key => {
                return Err(Error {
                    pos: list.pos,
                    message: format!("conflicting merge keys [{known},{key}]"),
                });
            }
            _ => found = Some(key),
        }
    }
    found.filter(|key| !key.is_empty()).ok_or_else(|| Error {
        pos: dest.pos,
        message: "no merge key found for the list's items".to_owned(),
    })
}
