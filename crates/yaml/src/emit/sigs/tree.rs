//! Node trees as JSON where that is plain to see: no aliases, no merge keys, nothing that a tag or a
//! folding changes. The rest goes through [`Node::to_json`], whose rules these are.

use super::{Look, Source};
use crate::error::Limits;
use crate::json::number_value;
use crate::node::{Entry, Node, NodeData, ScalarStyle, Style};
use crate::parse::is_merge_key;
use crate::resolve::{Mode, Resolved, resolve_plain};

/// A node with what its place says about it.
#[derive(Clone, Copy)]
pub(super) struct Plain<'n> {
    node: &'n Node,
    in_flow: bool,
    depth: usize,
}

/// The items of a sequence.
pub(super) struct Items<'n> {
    nodes: std::slice::Iter<'n, Node>,
    parent: Plain<'n>,
}

impl<'n> Iterator for Items<'n> {
    type Item = Plain<'n>;

    fn next(&mut self) -> Option<Plain<'n>> {
        self.nodes.next().map(|node| self.parent.child(node))
    }
}

impl<'n> Plain<'n> {
    pub(super) fn new(node: &'n Node) -> Self {
        Plain {
            node,
            in_flow: false,
            depth: 1,
        }
    }

    fn child(self, node: &'n Node) -> Self {
        Plain {
            node,
            depth: self.depth + 1,
            ..self
        }
    }

    fn within(self, style: Style) -> Self {
        Plain {
            in_flow: self.in_flow || style == Style::Flow,
            ..self
        }
    }

    fn fields(self, entries: &'n [Entry]) -> Option<Vec<(&'n str, Self)>> {
        let mut fields = Vec::with_capacity(entries.len());
        for entry in entries {
            if is_merge_key(&entry.key) {
                return None;
            }
            match self.child(&entry.key).scalar()? {
                Look::Text(key) => fields.push((key, self.child(&entry.value))),
                _ => return None,
            }
        }
        if !fields.is_sorted_by(|left, right| left.0 < right.0) {
            fields.sort_unstable_by_key(|field| field.0);
            // A key that is there twice is an error, which the other way words.
            if fields.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                return None;
            }
        }
        Some(fields)
    }

    fn scalar(self) -> Option<Look<'n, Self>> {
        let NodeData::Scalar { text, style } = &self.node.data else {
            return None;
        };
        match self.node.tag() {
            None | Some("!") if self.in_flow && text.is_empty() => return Some(Look::Text("")),
            None | Some("!") => {}
            Some("!!str") if *style != ScalarStyle::Folded => return Some(Look::Text(text)),
            Some(_) => return None,
        }
        match style {
            ScalarStyle::Folded => return None,
            ScalarStyle::Plain => {}
            _ => return Some(Look::Text(text)),
        }
        match resolve_plain(text, Mode::Kyaml, true) {
            Resolved::Str => Some(Look::Text(text)),
            Resolved::Null => Some(Look::Null),
            Resolved::Bool(value) => Some(Look::Bool(value)),
            Resolved::Number(number) => match number_value(number)? {
                serde_json::Value::Number(number) => Some(Look::Number(number)),
                _ => None,
            },
            Resolved::Timestamp | Resolved::Merge => None,
        }
    }
}

impl<'n> Source<'n> for Plain<'n> {
    type Items = Items<'n>;

    fn look(self) -> Option<Look<'n, Self>> {
        if self.depth > Limits::default().depth {
            return None;
        }
        match &self.node.data {
            NodeData::Alias(_) => None,
            NodeData::Scalar { .. } => self.scalar(),
            NodeData::Sequence { items, style } => Some(Look::Items(Items {
                nodes: items.iter(),
                parent: self.within(*style),
            })),
            NodeData::Mapping { entries, style } => self.within(*style).fields(entries).map(Look::Fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{json_to_yaml, node_to_yaml, write_source};
    use super::*;

    /// Both ways say the same of a text; `straight` tells whether the tree alone was enough.
    fn both(text: &str, straight: bool) {
        let node = crate::parse_first(text, &crate::ReadOptions::default())
            .unwrap()
            .unwrap();
        let direct = write_source(Plain::new(&node), true);
        assert_eq!(direct.is_some(), straight, "{text}");
        match node.to_json(Mode::Kyaml) {
            Ok(value) => assert_eq!(node_to_yaml(&node).unwrap(), json_to_yaml(&value), "{text}"),
            Err(error) => assert_eq!(node_to_yaml(&node).unwrap_err().to_string(), error.to_string()),
        }
    }

    #[test]
    fn control_characters_that_json_does_not_escape_are_refused() {
        let written = |text: &str| {
            let node = crate::parse_first(text, &crate::ReadOptions::default())
                .unwrap()
                .unwrap();
            node_to_yaml(&node)
        };
        for text in [
            "a: \"\\x7F\"",
            "\"\\x80\": 1",
            "- >-\n  a\n- \"\\uFFFE\"",
            "- \"\\uFFFF\"",
        ] {
            assert!(written(text).is_err(), "{text}");
        }
        for text in [
            "a: \"\\x01\\e\\0\"",
            "a: \"\\x85\\uFEFF\\L\\U0001F600\"",
            "a: '\\x7F'",
        ] {
            written(text).unwrap();
        }
    }

    #[test]
    fn plain_documents_are_written_from_the_tree() {
        for text in [
            "b: 1\na10: x\na2: [1, '', ~, {}, []]\na1: {x: , y: \"\"}\n",
            "n: 0x1F\nf: 1.50\ne: 1e3\nt: yes\ns: !!str 5\nq: '5'\nl: |\n  a\n  b\n",
            "- - a\n  - b\n- c: [d, {e: f}]\n-\n",
            "\"\\n\": 1\n'5': 2\n",
            "text",
            "---\n",
        ] {
            both(text, true);
        }
    }

    #[test]
    fn what_json_would_change_goes_through_json() {
        for text in [
            "a: &x {b: 1}\nc: *x\n",
            "a: &x {b: 1}\nc:\n  <<: *x\n",
            "a: >\n  one\n  two\n\n  three\n",
            "5: a\n",
            "a: 1\nb: 2\na: 3\n",
            "t: 2020-01-01\n",
            "i: !!int 5\n",
            "f: .inf\n",
            "[a]: b\n",
        ] {
            both(text, false);
        }
    }
}
