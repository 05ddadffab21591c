//! Node trees to text, as go-yaml v3 writes them for kyaml.
//!
//! The decisions are those of libyaml's emitter with go-yaml's changes: which style a scalar can
//! have where it stands, what fits into a simple key, where comments go. Comments wait in the
//! writer until the place where the reference writes them; the order of the steps below matters.

mod scalar;
mod sigs;
mod writer;

pub use sigs::{checked_json_to_yaml, json_text_to_yaml, json_to_yaml, node_to_yaml};

use crate::node::{Node, NodeData, ScalarStyle, Style};
use crate::parse::LONG_TAG;
use crate::resolve::{Mode, Resolved, resolve_plain};
use scalar::Shape;
use writer::{Dialect, Writer};

/// Where sequences in mappings start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SequenceIndent {
    /// At the column of the key.
    #[default]
    Compact,
    /// Two columns further in.
    Wide,
}

/// How to write.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmitOptions {
    /// Where sequences in mappings start.
    pub sequences: SequenceIndent,
}

/// Writes a document as kyaml's `String()` does, with a final line break.
#[must_use]
pub fn emit(node: &Node, options: &EmitOptions) -> String {
    let mut emitter = Emitter {
        w: Writer::new(Dialect::V3),
        wide: options.sequences == SequenceIndent::Wide,
    };
    emitter.document(node);
    emitter.w.out
}

/// Writes a document as go-yaml v3's encoder does by itself: all collections four columns further in.
#[must_use]
pub fn emit_deep(node: &Node) -> String {
    let mut emitter = Emitter {
        w: Writer::new(Dialect::V3),
        wide: true,
    };
    emitter.w.step = 4;
    emitter.document(node);
    emitter.w.out
}

/// Where a node stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Root,
    /// Item of a block sequence.
    Item,
    /// Item of a flow sequence.
    FlowItem,
    /// Key that is written without `?`.
    SimpleKey,
    /// Key after `?`, or a value.
    Mapping,
}

/// What of a node is still to be written after its beginning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Nothing,
    Block,
    Flow,
}

struct Emitter {
    w: Writer,
    wide: bool,
}

impl Emitter {
    fn document(&mut self, node: &Node) {
        let (head, foot) = node.document_comments().unwrap_or(("", ""));
        if !head.is_empty() {
            self.w.set_head(head);
            self.w.process_head();
            self.w.put_break();
        }
        self.load(node, "");
        self.w.process_head();
        let rest = self.begin(node, Place::Root);
        self.w.process_line();
        self.w.process_foot();
        self.finish(node, rest, Place::Root);
        if !foot.is_empty() {
            self.w.set_foot(foot);
        }
        self.w.foot_indent = 0;
        self.w.process_foot();
        self.w.foot_indent = -1;
        self.w.write_indent();
    }

    /// Hands a node's comments to the writer: those of its beginning.
    fn load(&mut self, node: &Node, tail: &str) {
        self.w.set_tail(tail);
        let Some(comments) = node.comments() else {
            return;
        };
        self.w.set_head(&comments.head);
        if matches!(node.data, NodeData::Scalar { .. } | NodeData::Alias(_)) {
            self.w.set_line(&comments.line);
            self.w.set_foot(&comments.foot);
        }
    }

    fn load_end(&mut self, node: &Node, tail: &str) {
        self.w.set_tail(tail);
        if let Some(comments) = node.comments() {
            self.w.set_line(&comments.line);
            self.w.set_foot(&comments.foot);
        }
    }

    /// Writes a scalar or alias whole, of a collection anchor and tag.
    fn begin(&mut self, node: &Node, place: Place) -> Rest {
        match &node.data {
            NodeData::Alias(name) => {
                self.w.write_indicator("*", true, false, false);
                self.w.write_word(name);
                Rest::Nothing
            }
            NodeData::Scalar { text, style } => {
                let (tag, forced) = scalar_tag(node, text, *style);
                let style = match style {
                    ScalarStyle::Plain if text.contains('\n') => ScalarStyle::Literal,
                    ScalarStyle::Plain if forced => ScalarStyle::DoubleQuoted,
                    style => *style,
                };
                self.anchor(node);
                if let Some(tag) = tag {
                    self.tag(tag);
                }
                self.w.scalar(text, style, place);
                Rest::Nothing
            }
            NodeData::Sequence { items, style } => {
                self.anchor(node);
                if let Some(tag) = collection_tag(node, "!!seq") {
                    self.tag(tag);
                }
                if self.w.flow_level > 0 || *style == Style::Flow || items.is_empty() {
                    Rest::Flow
                } else {
                    Rest::Block
                }
            }
            NodeData::Mapping { entries, style } => {
                self.anchor(node);
                if let Some(tag) = collection_tag(node, "!!map") {
                    self.tag(tag);
                }
                if self.w.flow_level > 0 || *style == Style::Flow || entries.is_empty() {
                    Rest::Flow
                } else {
                    Rest::Block
                }
            }
        }
    }

    fn anchor(&mut self, node: &Node) {
        if let Some(anchor) = node.anchor() {
            self.w.write_indicator("&", true, false, false);
            self.w.write_word(anchor);
        }
    }

    fn tag(&mut self, tag: &str) {
        let long = tag.strip_prefix(LONG_TAG);
        if let Some(name) = long.or_else(|| tag.strip_prefix("!!")) {
            self.w.write_tag("!!", name);
        } else if let Some(name) = tag.strip_prefix('!').filter(|name| !name.is_empty()) {
            self.w.write_tag("!", name);
        } else {
            self.w.write_verbatim_tag(tag);
        }
    }

    /// Writes the content of a collection whose beginning [`Emitter::begin`] wrote.
    fn finish(&mut self, node: &Node, rest: Rest, place: Place) {
        match (rest, &node.data) {
            (Rest::Block, NodeData::Sequence { items, .. }) => self.block_sequence(node, items, place),
            (Rest::Block, NodeData::Mapping { .. }) => self.block_mapping(node, place),
            (Rest::Flow, NodeData::Sequence { items, .. }) => self.flow_sequence(node, items, place),
            (Rest::Flow, NodeData::Mapping { .. }) => self.flow_mapping(node, place),
            _ => {}
        }
    }

    fn block_sequence(&mut self, node: &Node, items: &[Node], place: Place) {
        let in_mapping = matches!(place, Place::Mapping | Place::SimpleKey);
        let compact = !self.wide && in_mapping && (self.w.column == 0 || !self.w.indention);
        let outer = self.w.increase_indent(place, false, compact);
        for item in items {
            self.load(item, "");
            self.w.process_head();
            self.w.write_indent();
            self.w.write_indicator("-", true, false, true);
            let rest = self.begin(item, Place::Item);
            self.w.process_line();
            self.w.process_foot();
            self.finish(item, rest, Place::Item);
        }
        self.load_end(node, "");
        self.w.indent = outer;
    }

    fn block_mapping(&mut self, node: &Node, place: Place) {
        let outer = self.w.increase_indent(place, false, false);
        let mut tail = "";
        for entry in node.entries().unwrap_or_default() {
            self.load_key(&entry.key, tail);
            tail = foot_of(&entry.key);
            self.w.process_head();
            self.w.write_indent();
            self.w.keep_key_line();
            let simple = self.is_simple_key(&entry.key);
            let key_place = if simple { Place::SimpleKey } else { Place::Mapping };
            if !simple {
                self.w.write_indicator("?", true, false, true);
            }
            let rest = self.begin(&entry.key, key_place);
            self.finish(&entry.key, rest, key_place);
            self.load(&entry.value, "");
            if simple {
                self.w.write_indicator(":", false, false, false);
            } else {
                self.w.write_indent();
                self.w.write_indicator(":", true, false, true);
            }
            self.key_line_comment(&entry.value);
            let rest = self.begin(&entry.value, Place::Mapping);
            self.w.process_line();
            self.w.process_foot();
            self.finish(&entry.value, rest, Place::Mapping);
        }
        self.load_end(node, tail);
        self.w.process_head();
        self.w.indent = outer;
    }

    /// A key without its foot, which waits for the end of the value.
    fn load_key(&mut self, key: &Node, tail: &str) {
        self.w.set_tail(tail);
        let Some(comments) = key.comments() else {
            return;
        };
        self.w.set_head(&comments.head);
        if matches!(key.data, NodeData::Scalar { .. } | NodeData::Alias(_)) {
            self.w.set_line(&comments.line);
        }
    }

    /// A line comment of a key stands behind the value, or before a value of several lines.
    fn key_line_comment(&mut self, value: &Node) {
        if self.w.key_line.is_empty() {
            return;
        }
        match &value.data {
            NodeData::Scalar { .. } if self.w.line.is_empty() => {
                self.w.line = std::mem::take(&mut self.w.key_line);
            }
            NodeData::Sequence { style, .. } | NodeData::Mapping { style, .. } if *style == Style::Block => {
                std::mem::swap(&mut self.w.line, &mut self.w.key_line);
                self.w.process_line();
                std::mem::swap(&mut self.w.line, &mut self.w.key_line);
            }
            _ => {}
        }
    }

    fn flow_sequence(&mut self, node: &Node, items: &[Node], place: Place) {
        self.w.write_indicator("[", true, true, false);
        let outer = self.w.increase_indent(place, true, false);
        self.w.flow_level += 1;
        let mut comma = false;
        for item in items {
            self.load(item, "");
            if comma {
                self.w.write_indicator(",", false, false, false);
            }
            self.w.process_head();
            self.w.break_flow();
            let trail = self.w.has_trailing_comment();
            let rest = self.begin(item, Place::FlowItem);
            if self.w.has_trailing_comment() {
                self.w.write_indicator(",", false, false, false);
            }
            self.w.process_line();
            self.w.process_foot();
            self.finish(item, rest, Place::FlowItem);
            comma = !trail;
        }
        self.load_end(node, "");
        self.w.flow_level -= 1;
        self.w.indent = outer;
        if self.w.column == 0 {
            self.w.write_indent();
        }
        self.w.write_indicator("]", false, false, false);
        self.w.process_line();
        self.w.process_foot();
    }

    fn flow_mapping(&mut self, node: &Node, place: Place) {
        self.w.write_indicator("{", true, true, false);
        let outer = self.w.increase_indent(place, true, false);
        self.w.flow_level += 1;
        let mut tail = "";
        let mut comma = false;
        for entry in node.entries().unwrap_or_default() {
            self.load_key(&entry.key, tail);
            tail = foot_of(&entry.key);
            if comma {
                self.w.write_indicator(",", false, false, false);
            }
            self.w.process_head();
            self.w.break_flow();
            let simple = self.is_simple_key(&entry.key);
            let key_place = if simple { Place::SimpleKey } else { Place::Mapping };
            if !simple {
                self.w.write_indicator("?", true, false, false);
            }
            let rest = self.begin(&entry.key, key_place);
            self.finish(&entry.key, rest, key_place);
            self.load(&entry.value, "");
            if simple {
                self.w.write_indicator(":", false, false, false);
            } else {
                self.w.break_long_flow();
                self.w.write_indicator(":", true, false, false);
            }
            let trail = self.w.has_trailing_comment();
            let rest = self.begin(&entry.value, Place::Mapping);
            if self.w.has_trailing_comment() {
                self.w.write_indicator(",", false, false, false);
            }
            self.w.process_line();
            self.w.process_foot();
            self.finish(&entry.value, rest, Place::Mapping);
            comma = !trail;
        }
        self.load_end(node, tail);
        if comma && self.w.has_end_comment() {
            self.w.write_indicator(",", false, false, false);
        }
        self.w.process_head();
        self.w.flow_level -= 1;
        self.w.indent = outer;
        self.w.write_indicator("}", false, false, false);
        self.w.process_line();
        self.w.process_foot();
    }

    fn is_simple_key(&self, key: &Node) -> bool {
        let mut length = key.anchor().map_or(0, str::len);
        match &key.data {
            NodeData::Alias(name) => length += name.len(),
            NodeData::Scalar { text, style } => {
                if Shape::of(text, Dialect::V3).multiline {
                    return false;
                }
                length += text.len() + scalar_tag(key, text, *style).0.map_or(0, str::len);
            }
            NodeData::Sequence { items, .. } if items.is_empty() => {
                length += collection_tag(key, "!!seq").map_or(0, str::len);
            }
            NodeData::Mapping { entries, .. } if entries.is_empty() => {
                length += collection_tag(key, "!!map").map_or(0, str::len);
            }
            _ => return false,
        }
        length <= 128
    }
}

fn foot_of(node: &Node) -> &str {
    node.comments().map_or("", |comments| &comments.foot)
}

/// The tag that must be written, and whether the text must be quoted to stay a string.
fn scalar_tag<'n>(node: &'n Node, text: &str, style: ScalarStyle) -> (Option<&'n str>, bool) {
    match node.tag() {
        None | Some("!") if style == ScalarStyle::Plain && text == "<<" => (Some("!!merge"), false),
        None | Some("!") => (None, false),
        Some(tag) if node.has_explicit_tag() => (Some(tag), false),
        Some("!!str") if style != ScalarStyle::Plain => (None, false),
        Some(tag) => {
            // The emitter takes `<<` for a string, so that a merge key's tag is written out.
            let found = match resolve_plain(text, Mode::Kyaml, true) {
                Resolved::Merge => Resolved::Str,
                other => other,
            };
            if found.kind().tag() == tag {
                (None, false)
            } else if tag == "!!str" {
                (None, true)
            } else {
                (Some(tag), false)
            }
        }
    }
}

fn collection_tag<'n>(node: &'n Node, own: &str) -> Option<&'n str> {
    node.tag()
        .filter(|tag| *tag != "!" && (node.has_explicit_tag() || *tag != own))
}
