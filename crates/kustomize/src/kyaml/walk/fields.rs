//! Merging maps: each field of all trees, in the order of the names.

use std::cmp::Ordering;

use fluvial_yaml::{Comments, Entry, Node, NodeData, ScalarStyle};

use super::{Choice, Sources, Visitor, Walked, Walker, comment_schema};
use crate::facts::SchemaRef;
use crate::kyaml::{Error, is_null, quote_for_yaml_1_1, take_style, wrong_kind};

/// One field in the trees that have it.
struct Field<'n> {
    /// Which of the destination's entries.
    at: Option<usize>,
    others: [Option<&'n Entry>; 2],
}

impl<V: Visitor> Walker<'_, V> {
    pub(super) fn merge_fields(
        &mut self,
        schema: Option<&SchemaRef>,
        mut dest: Node,
        others: [Option<&Node>; 2],
    ) -> Result<Node, Error> {
        if dest.entries().is_none() {
            return Ok(dest);
        }
        // A field of no name is a node itself to the reference, which it takes for a scalar.
        let nameless = |node: &Node| {
            let mut entries = node.entries().unwrap_or_default().iter();
            entries.any(|entry| name(entry).is_empty())
        };
        if nameless(&dest) || others.into_iter().flatten().any(nameless) {
            return Err(wrong_kind(&Node::plain(""), &dest));
        }
        let Some(slot) = dest.entries_mut() else {
            return Ok(dest);
        };
        let mut entries = std::mem::take(slot);
        let mut removed = Vec::new();
        let mut added = Vec::new();
        for field in fields(&entries, others) {
            match field.at {
                Some(at) => {
                    if !self.merge_field(schema, &mut entries[at], field.others)? {
                        removed.push(at);
                    }
                }
                None => added.extend(self.add_field(schema, field.others)?),
            }
        }
        if !removed.is_empty() {
            removed.sort_unstable();
            let mut at = 0;
            entries.retain(|_| {
                at += 1;
                removed.binary_search(&(at - 1)).is_err()
            });
        }
        entries.append(&mut added);
        if let Some(slot) = dest.entries_mut() {
            *slot = entries;
        }
        Ok(dest)
    }

    /// Merges into a field that the destination has; false if it goes.
    fn merge_field(
        &mut self,
        schema: Option<&SchemaRef>,
        entry: &mut Entry,
        others: [Option<&Entry>; 2],
    ) -> Result<bool, Error> {
        if self.keys
            && let Some(comments) = self.key_comments(Some(&entry.key), others)?
        {
            entry.key.clear_comments();
            if comments != Comments::default() {
                *entry.key.comments_mut() = comments;
            }
        }
        if others[0].is_none()
            && !self.keys
            && is_null(&entry.value)
            && entry.value.as_text().is_some_and(|text| !text.is_empty())
        {
            // A null that is written out stays.
            return Ok(true);
        }
        let child = self.child_schema(schema, Some(&entry.key), others);
        let value = std::mem::replace(&mut entry.value, Node::plain(""));
        let twin = value.twin();
        let (mut value, place) =
            match self.walk(child, Some(value), others.map(|other| Some(&other?.value)))? {
                Walked::Nothing => return Ok(false),
                Walked::Own(node) => (node, None),
                Walked::Other(node, place) => (node, place),
            };
        if is_null(&value) {
            return Ok(false);
        }
        quote_for_yaml_1_1(&mut value);
        if let Some(place) = place {
            // What takes its own place brings the style that it has got by now.
            if !self.shared {
                take_style(&mut value, place);
            }
            value.set_twin(twin);
            if twin != 0 {
                self.written.push(value.clone());
            }
        }
        entry.value = value;
        Ok(true)
    }

    fn add_field(
        &mut self,
        schema: Option<&SchemaRef>,
        others: [Option<&Entry>; 2],
    ) -> Result<Option<Entry>, Error> {
        let comments = if self.keys {
            self.key_comments(None, others)?
        } else {
            None
        };
        let child = self.child_schema(schema, None, others);
        let value = self.walk(child, None, others.map(|other| Some(&other?.value)))?;
        let Some(mut value) = value.into_node().filter(|value| !is_null(value)) else {
            return Ok(None);
        };
        quote_for_yaml_1_1(&mut value);
        let mut key = Node::plain("");
        for entry in others.into_iter().flatten() {
            key.data = NodeData::Scalar {
                text: entry.key.as_text().unwrap_or_default().into(),
                style: match entry.key.data {
                    NodeData::Scalar { style, .. } => style,
                    _ => ScalarStyle::Plain,
                },
            };
            key.pos = entry.key.pos;
        }
        if let Some(comments) = comments
            && comments != Comments::default()
        {
            *key.comments_mut() = comments;
        }
        Ok(Some(Entry { key, value }))
    }

    /// A field's schema: what a comment at one of its keys says, or its type's.
    fn child_schema(
        &self,
        schema: Option<&SchemaRef>,
        key: Option<&Node>,
        others: [Option<&Entry>; 2],
    ) -> Option<SchemaRef> {
        let keys = || {
            let others = others.into_iter().flatten().map(|entry| &entry.key);
            key.into_iter().chain(others)
        };
        keys()
            .find_map(|key| comment_schema(key, self.schemas))
            .or_else(|| {
                let name = keys().next()?.as_text().unwrap_or_default();
                schema?.field(name)
            })
    }

    /// The comments that a key gets when keys are merged as if they were scalars.
    fn key_comments(
        &self,
        dest: Option<&Node>,
        others: [Option<&Entry>; 2],
    ) -> Result<Option<Comments>, Error> {
        let others = others.map(|entry| Some(&entry?.key));
        let choice = self.visitor.scalar(&Sources { dest, others })?;
        let comments = |node: &Node| node.comments().cloned().unwrap_or_default();
        Ok(match choice {
            Choice::Clear => None,
            Choice::Dest | Choice::DestWith(_) => dest.map(comments),
            Choice::Source(node) | Choice::Both(node) => Some(comments(&node)),
        })
    }
}

fn name(entry: &Entry) -> &str {
    entry.key.as_text().unwrap_or_default()
}

/// All fields in the order of their names. Of fields that one tree has twice, the first counts.
fn fields<'n>(dest: &[Entry], others: [Option<&'n Node>; 2]) -> Vec<Field<'n>> {
    let lists = [
        dest,
        others[0].and_then(Node::entries).unwrap_or_default(),
        others[1].and_then(Node::entries).unwrap_or_default(),
    ];
    let other_lists = others.map(|other| other.and_then(Node::entries).unwrap_or_default());
    let orders = lists.map(|list| {
        let mut order: Vec<usize> = (0..list.len()).collect();
        order.sort_by(|a, b| name(&list[*a]).cmp(name(&list[*b])).then(a.cmp(b)));
        order.dedup_by(|b, a| name(&list[*a]) == name(&list[*b]));
        order
    });
    let mut next = [0; 3];
    let mut out = Vec::with_capacity(orders[0].len());
    loop {
        let heads: [Option<usize>; 3] = std::array::from_fn(|tree| orders[tree].get(next[tree]).copied());
        let least = (0..3)
            .filter_map(|tree| heads[tree].map(|at| name(&lists[tree][at])))
            .min();
        let Some(least) = least else {
            return out;
        };
        let mut chosen = [None; 3];
        for tree in 0..3 {
            if let Some(at) = heads[tree]
                && name(&lists[tree][at]).cmp(least) == Ordering::Equal
            {
                chosen[tree] = Some(at);
                next[tree] += 1;
            }
        }
        out.push(Field {
            at: chosen[0],
            others: [
                chosen[1].and_then(|at| other_lists[0].get(at)),
                chosen[2].and_then(|at| other_lists[1].get(at)),
            ],
        });
    }
}
