//! Tokens to node trees.
//!
//! Grammar and leniency follow libyaml. Comments are attached as go-yaml attaches them: each node
//! takes what the tokens before and in it have brought, then mappings hand foot comments on to the
//! key they stand under.

use std::borrow::Cow;

use crate::characters;
use crate::error::{Error, Limits};
use crate::node::{Comments, Entry, FileId, Node, NodeData, ScalarStyle, Style};
use crate::parts::Part;
use crate::scan::{Kind, Mark, Scanner};

/// How to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// The file that positions name.
    pub file: FileId,
    /// Bounds.
    pub limits: Limits,
}

/// All documents of a text, with comments, positions, anchors and aliases. A document without
/// content is an empty plain scalar; a text without any document gives none.
///
/// # Errors
/// The text is no YAML, or exceeds a limit.
pub fn parse_documents(text: &str, options: &ReadOptions) -> Result<Vec<Node>, Error> {
    all_documents(Parser::new(text, options)?)
}

/// All documents of a part of a text, with their places in that text.
///
/// # Errors
/// The part is no YAML by itself, or exceeds a limit.
pub fn parse_part(part: &Part<'_>, options: &ReadOptions) -> Result<Vec<Node>, Error> {
    let mut parser = Parser::new(part.text, options)?;
    parser.scanner.start_at(part.line);
    all_documents(parser)
}

/// The first document of a text as it is read for its values alone, as `sigs.k8s.io/yaml` does: errors come in another order
/// than with comments, which look further ahead, and the comments of the nodes mean nothing.
///
/// # Errors
/// The document is no YAML, or exceeds a limit.
pub fn parse_values(text: &str, options: &ReadOptions) -> Result<Option<Node>, Error> {
    let mut parser = Parser::new(text, options)?;
    parser.scanner.look_at_one();
    parser.document()
}

/// As [`parse_values`], with go-yaml v2's rule that a question mark within brackets ends a plain text.
pub(crate) fn parse_values_v2(text: &str, options: &ReadOptions) -> Result<Option<Node>, Error> {
    let mut parser = Parser::new(text, options)?;
    parser.scanner.look_at_one();
    parser.scanner.older = true;
    parser.document()
}

/// The first document of a part of a text, if it has one, with its places in that text.
///
/// # Errors
/// The document is no YAML, or exceeds a limit.
pub fn parse_part_first(part: &Part<'_>, options: &ReadOptions) -> Result<Option<Node>, Error> {
    let mut parser = Parser::new(part.text, options)?;
    parser.scanner.start_at(part.line);
    parser.document()
}

fn all_documents(mut parser: Parser<'_>) -> Result<Vec<Node>, Error> {
    let mut documents = Vec::new();
    while let Some(document) = parser.document()? {
        documents.push(document);
    }
    Ok(documents)
}

/// The first document of a text, if it has one. What follows it is not looked at.
///
/// # Errors
/// The document is no YAML, or exceeds a limit.
pub fn parse_first(text: &str, options: &ReadOptions) -> Result<Option<Node>, Error> {
    Parser::new(text, options)?.document()
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    file: FileId,
    depth: usize,
    limit: usize,
    head: String,
    line: String,
    foot: String,
    /// The head comment of a sequence item whose content is a collection.
    stem: Option<String>,
    anchors: Vec<Box<str>>,
    tags: Vec<(&'a str, Cow<'a, str>)>,
    first: bool,
    /// Buffers that collections gather in.
    spare_entries: Vec<Vec<Entry>>,
    spare_items: Vec<Vec<Node>>,
}

/// The properties in front of a node.
struct Properties<'a> {
    start: Mark,
    anchor: Option<&'a str>,
    tag: Option<String>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, options: &ReadOptions) -> Result<Self, Error> {
        let file = options.file;
        if text.len() > options.limits.bytes.min(u32::MAX as usize / 2) {
            return Err(Error::new(
                Mark::default().pos(file),
                format!(
                    "the text has {} bytes, the limit is {}",
                    text.len(),
                    options.limits.bytes
                ),
            ));
        }
        characters::check(text, file)?;
        // The mark of the encoding is no part of the first line.
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        Ok(Parser {
            scanner: Scanner::new(text, file, options.limits.depth),
            file,
            depth: 0,
            limit: options.limits.depth,
            head: String::new(),
            line: String::new(),
            foot: String::new(),
            stem: None,
            anchors: Vec::new(),
            tags: Vec::new(),
            first: true,
            spare_entries: Vec::new(),
            spare_items: Vec::new(),
        })
    }

    /// The kind of the next token; brings its comments in.
    #[inline]
    fn peek(&mut self) -> Result<&Kind<'a>, Error> {
        self.scanner.peek()?;
        if !self.scanner.comments.is_empty() {
            self.bring_comments()?;
        }
        Ok(&self.scanner.peek()?.kind)
    }

    fn bring_comments(&mut self) -> Result<(), Error> {
        let token = self.scanner.peek()?;
        let (start, block_end) = (token.start.index, matches!(token.kind, Kind::BlockEnd));
        while let Some(comment) = self.scanner.comments.front_mut() {
            if start < comment.token.index || block_end && !comment.head.is_empty() {
                break;
            }
            append(&mut self.head, std::mem::take(&mut comment.head));
            append(&mut self.foot, std::mem::take(&mut comment.foot));
            append(&mut self.line, std::mem::take(&mut comment.line));
            self.scanner.comments.pop_front();
        }
        Ok(())
    }

    fn mark(&mut self) -> Result<Mark, Error> {
        Ok(self.scanner.peek()?.start)
    }

    fn take(&mut self) {
        self.scanner.take();
    }

    fn take_comments(&mut self) -> Option<Comments> {
        self.stem = None;
        if self.head.is_empty() && self.line.is_empty() && self.foot.is_empty() {
            return None;
        }
        Some(Comments {
            head: std::mem::take(&mut self.head),
            line: std::mem::take(&mut self.line),
            foot: std::mem::take(&mut self.foot),
        })
    }

    fn expected(&mut self, what: &str, context: &str, from: Mark) -> Error {
        let found = match self.scanner.peek() {
            Ok(token) => token.start,
            Err(error) => return error,
        };
        Error::new(
            found.pos(self.file),
            format!(
                "did not find expected {what} in the {context} that begins in line {}",
                from.line + 1
            ),
        )
    }

    fn document(&mut self) -> Result<Option<Node>, Error> {
        if !self.first {
            while matches!(self.peek()?, Kind::DocumentEnd) {
                self.take();
            }
        }
        let mut head = String::new();
        let implicit = self.first;
        self.first = false;
        self.anchors.clear();
        self.tags.clear();
        let mut empty = false;
        match self.peek()? {
            Kind::StreamEnd => return Ok(None),
            Kind::VersionDirective { .. } | Kind::TagDirective { .. } | Kind::DocumentStart => {
                empty = self.explicit_start()?;
            }
            _ if implicit => head = self.split_document_head(),
            _ => {
                let mark = self.mark()?;
                return Err(Error::new(
                    mark.pos(self.file),
                    "did not find expected <document start>: begin a further document with '---'",
                ));
            }
        }
        let mut node = if empty {
            self.empty_scalar()?
        } else {
            self.node(true, false)?
        };
        if matches!(self.peek()?, Kind::DocumentEnd) {
            self.take();
        }
        let mut foot = String::new();
        if let Some(mut comments) = self.take_comments() {
            if comments.foot.is_empty() {
                comments.foot = std::mem::take(&mut comments.head);
            }
            foot = comments.foot;
        }
        if !head.is_empty() || !foot.is_empty() {
            node.set_document_comments(head, foot);
        }
        Ok(Some(node))
    }

    /// Directives and `---`. True if no content follows.
    fn explicit_start(&mut self) -> Result<bool, Error> {
        let mut version = false;
        loop {
            self.peek()?;
            let start = self.mark()?;
            match &self.scanner.peek()?.kind {
                Kind::VersionDirective { .. } if version => {
                    return Err(Error::new(
                        start.pos(self.file),
                        "found duplicate %YAML directive",
                    ));
                }
                Kind::VersionDirective { known: false } => {
                    return Err(Error::new(
                        start.pos(self.file),
                        "found incompatible YAML document: %YAML 1.1 is the only version that it may ask for",
                    ));
                }
                Kind::VersionDirective { .. } => version = true,
                Kind::TagDirective { handle, prefix } => {
                    if self.tags.iter().any(|(known, _)| known == handle) {
                        return Err(Error::new(start.pos(self.file), "found duplicate %TAG directive"));
                    }
                    let pair = (*handle, prefix.clone());
                    self.tags.push(pair);
                }
                Kind::DocumentStart => break,
                _ => {
                    return Err(Error::new(
                        start.pos(self.file),
                        "did not find expected <document start> after directives",
                    ));
                }
            }
            self.take();
        }
        self.take();
        Ok(matches!(
            self.peek()?,
            Kind::VersionDirective { .. }
                | Kind::TagDirective { .. }
                | Kind::DocumentStart
                | Kind::DocumentEnd
                | Kind::StreamEnd
        ))
    }

    /// Comments above the last blank line before the content belong to the document.
    fn split_document_head(&mut self) -> String {
        let bytes = self.head.as_bytes();
        for i in (1..bytes.len()).rev() {
            if bytes[i] != b'\n' {
                continue;
            }
            if i == bytes.len() - 1 {
                let document = self.head[..i].to_owned();
                self.head.clear();
                return document;
            }
            if bytes[i - 1] == b'\n' {
                let document = self.head[..i - 1].to_owned();
                self.head.drain(..=i);
                return document;
            }
        }
        String::new()
    }

    fn empty_scalar(&mut self) -> Result<Node, Error> {
        let mut node = Node::plain("");
        node.pos = self.mark()?.pos(self.file);
        Ok(node)
    }

    fn node(&mut self, block: bool, indentless: bool) -> Result<Node, Error> {
        self.depth += 1;
        if self.depth > self.limit {
            let mark = self.mark()?;
            return Err(Error::new(
                mark.pos(self.file),
                format!("exceeded the nesting limit of {}", self.limit),
            ));
        }
        let node = self.node_inner(block, indentless);
        self.depth -= 1;
        node
    }

    fn node_inner(&mut self, block: bool, indentless: bool) -> Result<Node, Error> {
        self.peek()?;
        if let Kind::Alias(name) = self.scanner.peek()?.kind {
            return self.alias(name);
        }
        let properties = self.properties()?;
        let file = self.file;
        let pos = properties.start.pos(file);
        let mut node = match self.peek()? {
            Kind::BlockEntry if indentless => {
                let mut node = Node::sequence(Vec::new());
                self.begin(&mut node, &properties, None);
                self.indentless_sequence(&mut node)?;
                node
            }
            Kind::Scalar { .. } => {
                let comments = self.take_comments();
                let Kind::Scalar { text, style } = self.scanner.take().kind else {
                    return Ok(Node::plain(""));
                };
                let mut node = Node::new(NodeData::Scalar {
                    text: text.into(),
                    style,
                });
                self.begin(&mut node, &properties, comments);
                node
            }
            Kind::FlowSequenceStart => {
                let comments = self.take_comments();
                let mut node = Node::sequence(Vec::new());
                self.begin(&mut node, &properties, comments);
                self.flow_sequence(&mut node)?;
                node
            }
            Kind::FlowMappingStart => {
                let comments = self.take_comments();
                let mut node = Node::mapping(Vec::new());
                self.begin(&mut node, &properties, comments);
                self.flow_mapping(&mut node)?;
                node
            }
            Kind::BlockSequenceStart if block => {
                let comments = self.stem_comments();
                let mut node = Node::sequence(Vec::new());
                self.begin(&mut node, &properties, comments);
                self.block_sequence(&mut node)?;
                node
            }
            Kind::BlockMappingStart if block => {
                let comments = self.stem_comments();
                let mut node = Node::mapping(Vec::new());
                self.begin(&mut node, &properties, comments);
                self.block_mapping(&mut node)?;
                node
            }
            _ if properties.anchor.is_some() || properties.tag.is_some() => {
                let mut node = Node::plain("");
                self.begin(&mut node, &properties, None);
                node
            }
            _ => {
                let mark = self.mark()?;
                return Err(Error::new(mark.pos(file), "did not find expected node content"));
            }
        };
        node.pos = pos;
        Ok(node)
    }

    fn alias(&mut self, name: &'a str) -> Result<Node, Error> {
        let pos = self.mark()?.pos(self.file);
        if !self.anchors.iter().any(|known| **known == *name) {
            return Err(Error::new(pos, format!("unknown anchor '{name}' referenced")));
        }
        let mut node = Node::new(NodeData::Alias(name.into()));
        node.pos = pos;
        if let Some(comments) = self.take_comments() {
            *node.comments_mut() = comments;
        }
        self.take();
        Ok(node)
    }

    fn stem_comments(&mut self) -> Option<Comments> {
        self.stem.take().map(|head| Comments {
            head,
            ..Comments::default()
        })
    }

    /// What a node has from its beginning on: anchor, tag, comments.
    fn begin(&mut self, node: &mut Node, properties: &Properties<'a>, comments: Option<Comments>) {
        if let Some(anchor) = properties.anchor {
            node.set_anchor(Some(anchor.into()));
            self.anchors.push(anchor.into());
        }
        if let Some(tag) = &properties.tag {
            node.set_explicit_tag(short_tag(tag).into());
        }
        if let Some(comments) = comments {
            *node.comments_mut() = comments;
        }
    }

    fn properties(&mut self) -> Result<Properties<'a>, Error> {
        let mut found = Properties {
            start: self.mark()?,
            anchor: None,
            tag: None,
        };
        loop {
            self.peek()?;
            let start = self.mark()?;
            match &self.scanner.peek()?.kind {
                Kind::Anchor(name) if found.anchor.is_none() => found.anchor = Some(*name),
                Kind::Tag { handle, suffix } if found.tag.is_none() => {
                    let tag = expand_tag(&self.tags, handle, suffix).ok_or_else(|| {
                        Error::new(
                            start.pos(self.file),
                            format!("found undefined tag handle '{handle}'"),
                        )
                    })?;
                    found.tag = Some(tag);
                }
                _ => return Ok(found),
            }
            self.take();
        }
    }

    /// After a `-`: the comment above it moves to a collection that follows as a whole.
    fn split_stem(&mut self, length: usize) -> Result<(), Error> {
        if length == 0 {
            return Ok(());
        }
        if !matches!(self.peek()?, Kind::BlockSequenceStart | Kind::BlockMappingStart) {
            return Ok(());
        }
        let rest = self.head.split_off(length);
        let stem = std::mem::replace(&mut self.head, rest.get(1..).unwrap_or("").to_owned());
        self.stem = Some(stem);
        Ok(())
    }

    fn sequence_item(&mut self, items: &mut Vec<Node>, indentless: bool) -> Result<(), Error> {
        let mark = self.scanner.peek()?.end;
        let length = self.head.len();
        self.take();
        self.split_stem(length)?;
        let empty = match self.peek()? {
            Kind::BlockEntry | Kind::BlockEnd => true,
            Kind::Key | Kind::Value => indentless,
            _ => false,
        };
        items.push(if empty {
            let mut node = Node::plain("");
            node.pos = mark.pos(self.file);
            node
        } else {
            self.node(true, false)?
        });
        Ok(())
    }

    fn block_sequence(&mut self, node: &mut Node) -> Result<(), Error> {
        let start = self.mark()?;
        self.take();
        let mut items = self.spare_items.pop().unwrap_or_default();
        loop {
            match self.peek()? {
                Kind::BlockEntry => self.sequence_item(&mut items, false)?,
                Kind::BlockEnd => break,
                _ => return Err(self.expected("'-' indicator", "sequence", start)),
            }
        }
        self.take();
        node.set_items(exact(items, &mut self.spare_items));
        Ok(())
    }

    fn indentless_sequence(&mut self, node: &mut Node) -> Result<(), Error> {
        let mut items = self.spare_items.pop().unwrap_or_default();
        while matches!(self.peek()?, Kind::BlockEntry) {
            self.sequence_item(&mut items, true)?;
        }
        node.set_items(exact(items, &mut self.spare_items));
        Ok(())
    }

    fn block_mapping(&mut self, node: &mut Node) -> Result<(), Error> {
        let start = self.mark()?;
        self.take();
        let mut entries: Vec<Entry> = self.spare_entries.pop().unwrap_or_default();
        loop {
            match self.peek()? {
                Kind::Key => {
                    let mark = self.scanner.peek()?.end;
                    self.take();
                    let mut key = self.mapping_part(mark)?;
                    if let Some(foot) = key.take_foot() {
                        // It stood under the value before.
                        match entries.last_mut() {
                            Some(previous) => previous.key.comments_mut().foot = foot,
                            None => key.comments_mut().foot = foot,
                        }
                    }
                    let value = self.mapping_value()?;
                    entries.push(settle_foot(key, value));
                }
                Kind::BlockEnd => break,
                _ => return Err(self.expected("key", "mapping", start)),
            }
        }
        let comments = self.take_comments();
        self.take();
        if let Some(mut comments) = comments {
            if !comments.foot.is_empty()
                && let Some(last) = entries.last_mut()
            {
                last.key.comments_mut().foot = std::mem::take(&mut comments.foot);
            }
            node.end_comments(comments);
        }
        node.set_entries(exact(entries, &mut self.spare_entries));
        Ok(())
    }

    fn mapping_part(&mut self, mark: Mark) -> Result<Node, Error> {
        if matches!(self.peek()?, Kind::Key | Kind::Value | Kind::BlockEnd) {
            let mut node = Node::plain("");
            node.pos = mark.pos(self.file);
            return Ok(node);
        }
        self.node(true, true)
    }

    fn mapping_value(&mut self) -> Result<Node, Error> {
        if !matches!(self.peek()?, Kind::Value) {
            return self.empty_scalar();
        }
        let mark = self.scanner.peek()?.end;
        self.take();
        self.mapping_part(mark)
    }

    fn flow_sequence(&mut self, node: &mut Node) -> Result<(), Error> {
        let start = self.mark()?;
        self.take();
        let mut items = self.spare_items.pop().unwrap_or_default();
        loop {
            if matches!(self.peek()?, Kind::FlowSequenceEnd) {
                break;
            }
            if !items.is_empty() {
                if !matches!(self.peek()?, Kind::FlowEntry) {
                    return Err(self.expected("',' or ']'", "flow sequence", start));
                }
                self.take();
            }
            match self.peek()? {
                Kind::FlowSequenceEnd => break,
                Kind::Key => items.push(self.pair_in_sequence()?),
                _ => items.push(self.node(false, false)?),
            }
        }
        let comments = self.take_comments();
        self.take();
        node.set_items(exact(items, &mut self.spare_items));
        node.set_flow();
        if let Some(comments) = comments {
            node.end_comments(comments);
        }
        Ok(())
    }

    /// `[a: b]`: a mapping of one pair.
    fn pair_in_sequence(&mut self) -> Result<Node, Error> {
        let start = self.mark()?;
        self.take();
        let key = if matches!(
            self.peek()?,
            Kind::Value | Kind::FlowEntry | Kind::FlowSequenceEnd
        ) {
            self.empty_scalar()?
        } else {
            self.node(false, false)?
        };
        let value = if matches!(self.peek()?, Kind::Value) {
            self.take();
            if matches!(self.peek()?, Kind::FlowEntry | Kind::FlowSequenceEnd) {
                self.empty_scalar()?
            } else {
                self.node(false, false)?
            }
        } else {
            self.empty_scalar()?
        };
        let mut node = Node::mapping(vec![settle_foot(key, value)]);
        node.set_flow();
        node.pos = start.pos(self.file);
        Ok(node)
    }

    fn flow_mapping(&mut self, node: &mut Node) -> Result<(), Error> {
        let start = self.mark()?;
        self.take();
        let mut entries = self.spare_entries.pop().unwrap_or_default();
        loop {
            if matches!(self.peek()?, Kind::FlowMappingEnd) {
                break;
            }
            if !entries.is_empty() {
                if !matches!(self.peek()?, Kind::FlowEntry) {
                    return Err(self.expected("',' or '}'", "flow mapping", start));
                }
                self.take();
            }
            match self.peek()? {
                Kind::FlowMappingEnd => break,
                Kind::Key => {
                    self.take();
                    let key = match self.peek()? {
                        Kind::Value | Kind::FlowEntry | Kind::FlowMappingEnd => self.empty_scalar()?,
                        _ => self.node(false, false)?,
                    };
                    let value = self.flow_value()?;
                    entries.push(settle_foot(key, value));
                }
                _ => {
                    let key = self.node(false, false)?;
                    self.peek()?;
                    let value = self.empty_scalar()?;
                    entries.push(settle_foot(key, value));
                }
            }
        }
        let comments = self.take_comments();
        self.take();
        node.set_entries(exact(entries, &mut self.spare_entries));
        node.set_flow();
        if let Some(comments) = comments {
            node.end_comments(comments);
        }
        Ok(())
    }

    fn flow_value(&mut self) -> Result<Node, Error> {
        if matches!(self.peek()?, Kind::Value) {
            self.take();
            if !matches!(self.peek()?, Kind::FlowEntry | Kind::FlowMappingEnd) {
                return self.node(false, false);
            }
        }
        self.empty_scalar()
    }
}

impl Node {
    fn set_items(&mut self, new: Vec<Node>) {
        if let Some(items) = self.items_mut() {
            *items = new;
        }
    }

    fn set_entries(&mut self, new: Vec<Entry>) {
        if let Some(entries) = self.entries_mut() {
            *entries = new;
        }
    }

    fn set_flow(&mut self) {
        if let NodeData::Mapping { style, .. } | NodeData::Sequence { style, .. } = &mut self.data {
            *style = Style::Flow;
        }
    }

    /// Comments that came with a collection's end replace those of its beginning, the head apart.
    fn end_comments(&mut self, comments: Comments) {
        if comments.line.is_empty() && comments.foot.is_empty() && self.comments().is_none() {
            return;
        }
        let own = self.comments_mut();
        own.line = comments.line;
        own.foot = comments.foot;
    }

    fn take_foot(&mut self) -> Option<String> {
        if self.comments()?.foot.is_empty() {
            return None;
        }
        Some(std::mem::take(&mut self.comments_mut().foot))
    }
}

/// A foot comment of a value stands under the whole entry: its key keeps it.
fn settle_foot(mut key: Node, mut value: Node) -> Entry {
    if key.comments().is_none_or(|comments| comments.foot.is_empty())
        && let Some(foot) = value.take_foot()
    {
        key.comments_mut().foot = foot;
    }
    Entry { key, value }
}

fn append(to: &mut String, more: String) {
    if more.is_empty() {
        return;
    }
    if to.is_empty() {
        *to = more;
    } else {
        to.push('\n');
        to.push_str(&more);
    }
}

fn expand_tag(tags: &[(&str, Cow<'_, str>)], handle: &str, suffix: &str) -> Option<String> {
    if handle.is_empty() {
        return Some(suffix.to_owned());
    }
    let prefix = match tags.iter().find(|(known, _)| *known == handle) {
        Some((_, prefix)) => prefix,
        None => match handle {
            "!" => "!",
            "!!" => LONG_TAG,
            _ => return None,
        },
    };
    Some(format!("{prefix}{suffix}"))
}

/// What `!!` stands for.
pub(crate) const LONG_TAG: &str = "tag:yaml.org,2002:";

/// The tag with `!!` for YAML's own prefix.
pub(crate) fn short_tag(tag: &str) -> Cow<'_, str> {
    match tag.strip_prefix(LONG_TAG) {
        Some(name) => Cow::Owned(format!("!!{name}")),
        None => Cow::Borrowed(tag),
    }
}

/// YAML allows no control characters but tab and line breaks.
/// What a buffer holds in a vector without room to spare, since most are never added to; the buffer goes back.
fn exact<T>(mut buffer: Vec<T>, spare: &mut Vec<Vec<T>>) -> Vec<T> {
    let mut kept = Vec::with_capacity(buffer.len());
    kept.append(&mut buffer);
    spare.push(buffer);
    kept
}

/// True if the text of a plain scalar stands for the merge key.
pub(crate) fn is_merge_key(node: &Node) -> bool {
    matches!(&node.data, NodeData::Scalar { text, style: ScalarStyle::Plain } if **text == *"<<")
        && matches!(node.tag(), None | Some("!" | "!!merge"))
        || matches!(&node.data, NodeData::Scalar { text, .. } if **text == *"<<")
            && node.tag() == Some("!!merge")
}
