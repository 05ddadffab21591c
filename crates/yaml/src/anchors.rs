//! Expanding aliases and merge keys in place, as kyaml does before kustomize edits a resource.

use std::ptr;

use rustc_hash::FxHashMap;

use crate::error::{Error, Limits};
use crate::json::{BYTES_PER_NODE, alias_targets, check_depth};
use crate::node::{Entry, Node, NodeData, ScalarStyle};
use crate::parse::is_merge_key;

impl Node {
    /// Replaces every alias by a copy of what it stands for, merges `<<` and removes the anchors.
    ///
    /// # Errors
    /// An alias lies within its own anchor, a merge key is wrong or given twice, or the result
    /// exceeds the limits.
    pub fn deanchor(&mut self) -> Result<(), Error> {
        if !needs_expansion(self) {
            return Ok(());
        }
        let mut expander = Expander {
            targets: alias_targets(self),
            open: Vec::new(),
            budget: Limits::default().expanded_nodes,
            depth: 0,
        };
        let expanded = expander.node(self)?;
        *self = expanded;
        Ok(())
    }
}

fn needs_expansion(node: &Node) -> bool {
    if node.anchor().is_some() {
        return true;
    }
    match &node.data {
        NodeData::Alias(_) => true,
        NodeData::Scalar { .. } => false,
        NodeData::Sequence { items, .. } => items.iter().any(needs_expansion),
        NodeData::Mapping { entries, .. } => entries.iter().any(|entry| {
            is_merge_key(&entry.key)
                || is_null_key(&entry.key)
                || needs_expansion(&entry.key)
                || needs_expansion(&entry.value)
        }),
    }
}

/// A key that says null; one of which nothing is written has a name, the empty one.
fn is_null_key(key: &Node) -> bool {
    match (&key.data, key.tag()) {
        (NodeData::Scalar { text, .. }, Some("!!null")) => !text.is_empty(),
        (NodeData::Scalar { text, style }, None) => {
            *style == ScalarStyle::Plain && matches!(&**text, "~" | "null" | "Null" | "NULL")
        }
        _ => false,
    }
}

struct Expander<'n> {
    targets: FxHashMap<*const Node, &'n Node>,
    open: Vec<*const Node>,
    budget: usize,
    depth: usize,
}

impl<'n> Expander<'n> {
    fn node(&mut self, node: &'n Node) -> Result<Node, Error> {
        self.depth += 1;
        check_depth(self.depth, node)?;
        if !self.open.is_empty() {
            let cost = 1 + node.as_text().map_or(0, |text| text.len() / BYTES_PER_NODE);
            self.budget = self
                .budget
                .checked_sub(cost)
                .ok_or_else(|| Error::new(node.pos, "document contains excessive aliasing"))?;
        }
        let copy = self.copy(node)?;
        self.depth -= 1;
        Ok(copy)
    }

    fn copy(&mut self, node: &'n Node) -> Result<Node, Error> {
        match &node.data {
            NodeData::Scalar { .. } => {
                let mut copy = node.clone();
                copy.set_anchor(None);
                Ok(copy)
            }
            NodeData::Alias(name) => {
                let target = self.enter(node, name)?;
                let mut copy = self.node(target)?;
                self.open.pop();
                copy.pos = node.pos;
                Ok(copy)
            }
            NodeData::Sequence { items, style } => {
                let items = items
                    .iter()
                    .map(|item| self.node(item))
                    .collect::<Result<_, _>>()?;
                Ok(rebuilt(node, NodeData::Sequence { items, style: *style }))
            }
            NodeData::Mapping { entries, style } => {
                let entries = self.mapping(entries)?;
                Ok(rebuilt(
                    node,
                    NodeData::Mapping {
                        entries,
                        style: *style,
                    },
                ))
            }
        }
    }

    fn enter(&mut self, alias: &Node, name: &str) -> Result<&'n Node, Error> {
        let target = *self
            .targets
            .get(&ptr::from_ref(alias))
            .ok_or_else(|| Error::new(alias.pos, format!("unknown anchor '{name}' referenced")))?;
        let id = ptr::from_ref(target);
        if self.open.contains(&id) || self.open.len() > Limits::default().depth {
            return Err(Error::new(
                alias.pos,
                format!("anchor '{name}' value contains itself"),
            ));
        }
        self.open.push(id);
        Ok(target)
    }

    fn mapping(&mut self, entries: &'n [Entry]) -> Result<Vec<Entry>, Error> {
        let mut own = Vec::with_capacity(entries.len());
        let mut merged = Vec::new();
        let mut merge_key = false;
        for entry in entries {
            if !is_merge_key(&entry.key) {
                own.push(Entry {
                    key: self.node(&entry.key)?,
                    value: self.node(&entry.value)?,
                });
                continue;
            }
            if merge_key {
                return Err(Error::new(entry.key.pos, "duplicate merge key"));
            }
            merge_key = true;
            match &entry.value.data {
                NodeData::Sequence { items, .. } => {
                    for item in items {
                        merged.push(self.merge_source(item)?);
                    }
                }
                _ => merged.push(self.merge_source(&entry.value)?),
            }
        }
        // The reference sets a mapping's entries in it again, after those that it merges. It never finds null among
        // the keys, so that such entries come a second time: whoever reads the mapping then finds the key twice.
        let null: Vec<Entry> = own
            .iter()
            .filter(|entry| is_null_key(&entry.key))
            .filter_map(|entry| {
                own.iter()
                    .find(|first| first.key.as_text() == entry.key.as_text())
            })
            .cloned()
            .collect();
        if merged.is_empty() {
            own.extend(null);
            return Ok(own);
        }
        // Later sources first, so that earlier ones overwrite them.
        let mut places: FxHashMap<Box<str>, Option<usize>> = FxHashMap::default();
        for entry in &own {
            places.insert(entry.key.as_text().unwrap_or_default().into(), None);
        }
        for entry in merged.into_iter().rev().flatten() {
            if is_null_key(&entry.key) {
                own.push(entry);
                continue;
            }
            let key = entry.key.as_text().unwrap_or_default();
            match places.get(key) {
                // The mapping's own entry.
                Some(None) => {}
                Some(Some(at)) => own[*at].value = entry.value,
                None => {
                    places.insert(key.into(), Some(own.len()));
                    own.push(entry);
                }
            }
        }
        own.extend(null);
        Ok(own)
    }

    /// The expanded entries of a mapping that is merged.
    fn merge_source(&mut self, source: &'n Node) -> Result<Vec<Entry>, Error> {
        match &source.data {
            NodeData::Mapping { entries, .. } => self.mapping(entries),
            NodeData::Alias(name) => {
                let target = self.enter(source, name)?;
                let Some(entries) = target.entries() else {
                    return Err(Error::new(
                        source.pos,
                        "invalid map merge: received alias for a non-map value",
                    ));
                };
                let entries = self.mapping(entries);
                self.open.pop();
                entries
            }
            NodeData::Sequence { .. } => Err(Error::new(
                source.pos,
                "invalid map merge: received a nested sequence",
            )),
            NodeData::Scalar { .. } => Err(Error::new(
                source.pos,
                "invalid map merge: received a value that is no map",
            )),
        }
    }
}

/// A copy of a collection with other content and without its anchor.
fn rebuilt(node: &Node, data: NodeData) -> Node {
    let mut copy = node.with_data(data);
    copy.set_anchor(None);
    copy
}

#[cfg(test)]
mod tests {
    use crate::{EmitOptions, ReadOptions, emit, parse_first};

    fn written(text: &str, deanchor: bool) -> Result<String, String> {
        let parsed = parse_first(text, &ReadOptions::default()).map_err(|error| error.to_string())?;
        let mut node = parsed.ok_or("nothing")?;
        if deanchor {
            node.deanchor().map_err(|error| error.to_string())?;
        }
        Ok(emit(&node, &EmitOptions::default()))
    }

    #[test]
    fn null_keys_come_a_second_time() {
        assert_eq!(written("~: a\nb: c\n", true).unwrap(), "~: a\nb: c\n~: a\n");
        assert_eq!(written("\"null\": a\n", true).unwrap(), "\"null\": a\n");
    }

    #[test]
    fn aliases_comments_and_versions_are_written_as_go_does() {
        assert_eq!(written("a: &x 1\n*x : 2\n", false).unwrap(), "a: &x 1\n*x: 2\n");
        // A comment below the first line is the document's, unless the line's text was read to the next one.
        assert_eq!(written("a: 1 # x\n# c\n", false).unwrap(), "a: 1 # x\n\n# c\n");
        assert_eq!(written("a: 1\n# c\n", false).unwrap(), "a: 1\n# c\n");
        assert!(written("%YAML 1.2\n---\na: 1\n", false).is_err());
        assert_eq!(written("a: 1\n%YAML 1.2\n", false).unwrap(), "a: 1\n");
    }
}
