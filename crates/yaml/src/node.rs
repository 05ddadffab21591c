//! The node tree: what a document holds and how it was written.
//!
//! The shape follows go-yaml v3's `Node` (kind, tag, style, anchor, head, line and foot comments),
//! because kustomize's output depends on each of these. What most nodes lack (explicit tag, anchor,
//! comments) is boxed away, so that a plain scalar costs 56 bytes.

/// Which file a node came from: an index into a table that the caller keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

impl FileId {
    /// No file: made by the program.
    pub const NONE: FileId = FileId(u32::MAX);
}

/// Where a node starts: file, line and column, both counted from 1 (0: made by the program).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pos {
    /// The file.
    pub file: FileId,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Pos {
    /// The position of nodes that no file holds.
    pub const NONE: Pos = Pos {
        file: FileId::NONE,
        line: 0,
        column: 0,
    };
}

/// Comments as go-yaml attaches them. Each text keeps its `#` and its inner line breaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comments {
    /// Lines above the node.
    pub head: String,
    /// At the end of the node's line.
    pub line: String,
    /// Lines below the node.
    pub foot: String,
}

/// How a scalar was, or is to be, written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScalarStyle {
    /// Unquoted.
    #[default]
    Plain,
    /// `'…'`
    SingleQuoted,
    /// `"…"`
    DoubleQuoted,
    /// `|`
    Literal,
    /// `>`
    Folded,
}

/// How a collection was, or is to be, written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// One entry a line.
    #[default]
    Block,
    /// `{…}` or `[…]`
    Flow,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key; any node, as YAML allows.
    pub key: Node,
    /// The value.
    pub value: Node,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeData {
    /// A scalar's text after unescaping and unfolding.
    Scalar {
        /// The text.
        text: Box<str>,
        /// How it is written.
        style: ScalarStyle,
    },
    /// Key-value pairs in source order; duplicates are kept for the reader to judge.
    Mapping {
        /// The pairs.
        entries: Vec<Entry>,
        /// How it is written.
        style: Style,
    },
    /// Items in order.
    Sequence {
        /// The items.
        items: Vec<Node>,
        /// How it is written.
        style: Style,
    },
    /// `*name`: the anchor's name without the star.
    Alias(Box<str>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Extra {
    tag: Option<Box<str>>,
    explicit: bool,
    document: Option<Box<(String, String)>>,
    anchor: Option<Box<str>>,
    comments: Comments,
}

/// A node of a document. Equality compares everything but the position.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it holds.
    pub data: NodeData,
    extra: Option<Box<Extra>>,
    /// Where it starts.
    pub pos: Pos,
    twin: u32,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data && self.extra == other.extra
    }
}

impl Eq for Node {}

impl Node {
    /// A node without tag, anchor, comments and position.
    #[must_use]
    pub fn new(data: NodeData) -> Self {
        Node {
            data,
            extra: None,
            pos: Pos::NONE,
            twin: 0,
        }
    }

    /// A plain scalar: its type follows from its text, as in YAML.
    #[must_use]
    pub fn plain(text: impl Into<Box<str>>) -> Self {
        Self::new(NodeData::Scalar {
            text: text.into(),
            style: ScalarStyle::Plain,
        })
    }

    /// A string, tagged `!!str`: the emitter quotes it where its text would read as something else.
    #[must_use]
    pub fn string(text: impl Into<Box<str>>) -> Self {
        let mut node = Self::plain(text);
        node.set_tag(Some("!!str".into()));
        node
    }

    /// A block mapping.
    #[must_use]
    pub fn mapping(entries: Vec<Entry>) -> Self {
        Self::new(NodeData::Mapping {
            entries,
            style: Style::Block,
        })
    }

    /// A block sequence.
    #[must_use]
    pub fn sequence(items: Vec<Node>) -> Self {
        Self::new(NodeData::Sequence {
            items,
            style: Style::Block,
        })
    }

    /// The tag in short form (`!!str`, `!custom`), if it is given or was set.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.extra.as_ref()?.tag.as_deref()
    }

    /// Sets or removes the tag.
    pub fn set_tag(&mut self, tag: Option<Box<str>>) {
        if tag.is_some() || self.extra.is_some() {
            let extra = self.extra_mut();
            extra.tag = tag;
            extra.explicit = false;
        }
    }

    /// Sets a tag that is written out even where the text alone would resolve to it.
    pub fn set_explicit_tag(&mut self, tag: Box<str>) {
        let extra = self.extra_mut();
        extra.tag = Some(tag);
        extra.explicit = true;
    }

    /// True if the tag was written out in the source.
    #[must_use]
    pub fn has_explicit_tag(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.explicit)
    }

    /// The comments above and below the document whose root this is: those that a blank line
    /// separates from the content.
    #[must_use]
    pub fn document_comments(&self) -> Option<(&str, &str)> {
        let (head, foot) = self.extra.as_ref()?.document.as_deref()?;
        Some((head, foot))
    }

    /// Sets the comments above and below the document whose root this is.
    pub fn set_document_comments(&mut self, head: String, foot: String) {
        self.extra_mut().document = if head.is_empty() && foot.is_empty() {
            None
        } else {
            Some(Box::new((head, foot)))
        };
    }

    /// The anchor's name, without `&`.
    #[must_use]
    pub fn anchor(&self) -> Option<&str> {
        self.extra.as_ref()?.anchor.as_deref()
    }

    /// Sets or removes the anchor.
    pub fn set_anchor(&mut self, anchor: Option<Box<str>>) {
        if anchor.is_some() || self.extra.is_some() {
            self.extra_mut().anchor = anchor;
        }
    }

    /// The comments, if there are any.
    #[must_use]
    pub fn comments(&self) -> Option<&Comments> {
        self.extra.as_ref().map(|extra| &extra.comments)
    }

    /// The comments, to change them.
    pub fn comments_mut(&mut self) -> &mut Comments {
        &mut self.extra_mut().comments
    }

    /// Removes the comments of this node, not those of its children.
    pub fn clear_comments(&mut self) {
        if let Some(extra) = &mut self.extra {
            extra.comments = Comments::default();
        }
    }

    fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// The same node with other content.
    #[must_use]
    pub fn with_data(&self, data: NodeData) -> Self {
        Node {
            data,
            extra: self.extra.clone(),
            pos: self.pos,
            twin: 0,
        }
    }

    /// Which nodes of a tree are one: those with the same number, 0 for none. Programs whose trees point to nodes put
    /// one node into several places, and what they then write to one place is in all of them. Equality does not look at it.
    #[must_use]
    pub fn twin(&self) -> u32 {
        self.twin
    }

    /// Says which nodes of its tree it is one with.
    pub fn set_twin(&mut self, twin: u32) {
        self.twin = twin;
    }

    /// Writes content and tag of a node to all below that are one with it.
    pub fn write_twins(&mut self, written: &Node) {
        if self.twin == written.twin && self.twin != 0 {
            self.data = written.data.clone();
            self.pos = written.pos;
            self.set_tag(written.tag().map(Into::into));
            return;
        }
        self.children_mut(&mut |child| child.write_twins(written));
    }

    /// Makes all nodes below, and this one, nodes of their own.
    pub fn part_twins(&mut self) {
        self.twin = 0;
        self.children_mut(&mut Node::part_twins);
    }

    /// Visits values and items, not keys.
    fn children_mut(&mut self, visit: &mut impl FnMut(&mut Node)) {
        match &mut self.data {
            NodeData::Mapping { entries, .. } => entries.iter_mut().for_each(|entry| visit(&mut entry.value)),
            NodeData::Sequence { items, .. } => items.iter_mut().for_each(visit),
            NodeData::Scalar { .. } | NodeData::Alias(_) => {}
        }
    }

    /// The text of a scalar.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.data {
            NodeData::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The pairs of a mapping.
    #[must_use]
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.data {
            NodeData::Mapping { entries, .. } => Some(entries),
            _ => None,
        }
    }

    /// The pairs of a mapping, to change them.
    pub fn entries_mut(&mut self) -> Option<&mut Vec<Entry>> {
        match &mut self.data {
            NodeData::Mapping { entries, .. } => Some(entries),
            _ => None,
        }
    }

    /// The items of a sequence.
    #[must_use]
    pub fn items(&self) -> Option<&[Node]> {
        match &self.data {
            NodeData::Sequence { items, .. } => Some(items),
            _ => None,
        }
    }

    /// The items of a sequence, to change them.
    pub fn items_mut(&mut self) -> Option<&mut Vec<Node>> {
        match &mut self.data {
            NodeData::Sequence { items, .. } => Some(items),
            _ => None,
        }
    }

    /// The value under a scalar key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?
            .iter()
            .find(|entry| entry.key.as_text() == Some(key))
            .map(|entry| &entry.value)
    }

    /// The value under a scalar key, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries_mut()?
            .iter_mut()
            .find(|entry| entry.key.as_text() == Some(key))
            .map(|entry| &mut entry.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_node_stays_small() {
        assert!(size_of::<Node>() <= 56, "{} bytes", size_of::<Node>());
    }

    #[test]
    fn equality_ignores_the_position() {
        let mut moved = Node::plain("a");
        moved.pos = Pos {
            file: FileId(3),
            line: 7,
            column: 1,
        };
        assert_eq!(moved, Node::plain("a"));
        assert_ne!(Node::string("a"), Node::plain("a"));
    }
}
