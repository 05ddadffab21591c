//! The text that is being written: columns, indentation, white space, comments in waiting.

use super::Place;

/// Whose decisions apply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// yaml.v2 as sigs.k8s.io/yaml uses it.
    V2,
    /// go-yaml v3 as kyaml uses it.
    V3,
}

pub(crate) struct Writer {
    pub(crate) out: String,
    pub(crate) dialect: Dialect,
    /// Characters written in the current line.
    pub(crate) column: usize,
    /// Indentation of the current collection; -1 outside of all.
    pub(crate) indent: i32,
    /// Columns of one level.
    pub(crate) step: i32,
    /// Lines are folded behind this column.
    pub(crate) width: usize,
    pub(crate) whitespace: bool,
    /// Only indentation and indicators so far in this line.
    pub(crate) indention: bool,
    pub(crate) flow_level: usize,
    /// A blank line follows a foot comment before content of this indentation.
    pub(crate) foot_indent: i32,
    pub(crate) head: String,
    pub(crate) line: String,
    pub(crate) foot: String,
    pub(crate) tail: String,
    pub(crate) key_line: String,
    /// Whether a character was escaped that a YAML text may not hold and JSON does not escape.
    pub(crate) unreadable: bool,
}

const SPACES: &str = "                                                                ";

impl Writer {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Writer {
            out: String::new(),
            dialect,
            column: 0,
            indent: -1,
            step: 2,
            width: if dialect == Dialect::V2 { 80 } else { usize::MAX },
            whitespace: true,
            indention: true,
            flow_level: 0,
            foot_indent: -1,
            head: String::new(),
            line: String::new(),
            foot: String::new(),
            tail: String::new(),
            key_line: String::new(),
            unreadable: false,
        }
    }

    pub(crate) fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += if text.is_ascii() {
            text.len()
        } else {
            text.chars().count()
        };
    }

    pub(crate) fn put_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
        self.indention = true;
    }

    /// Starts a line at the current indentation, unless it has just begun there.
    pub(crate) fn write_indent(&mut self) {
        let indent = usize::try_from(self.indent).unwrap_or(0);
        if !self.indention || self.column > indent || self.column == indent && !self.whitespace {
            self.put_break();
        }
        if self.foot_indent >= 0 && self.foot_indent == self.indent.max(0) {
            self.put_break();
        }
        while self.column < indent {
            let count = (indent - self.column).min(SPACES.len());
            self.out.push_str(&SPACES[..count]);
            self.column += count;
        }
        self.whitespace = true;
        self.foot_indent = -1;
    }

    pub(crate) fn write_indicator(
        &mut self,
        text: &str,
        need_whitespace: bool,
        is_whitespace: bool,
        is_indention: bool,
    ) {
        if need_whitespace && !self.whitespace {
            self.out.push(' ');
            self.column += 1;
        }
        self.out.push_str(text);
        self.column += text.len();
        self.whitespace = is_whitespace;
        self.indention = self.indention && is_indention;
    }

    /// An anchor's or alias's name behind its indicator.
    pub(crate) fn write_word(&mut self, text: &str) {
        self.put(text);
        self.whitespace = false;
        self.indention = false;
    }

    pub(crate) fn write_tag(&mut self, handle: &str, name: &str) {
        if !self.whitespace {
            self.put(" ");
        }
        self.write_word(handle);
        self.write_tag_name(name);
    }

    pub(crate) fn write_verbatim_tag(&mut self, tag: &str) {
        self.write_indicator("!<", true, false, false);
        self.write_tag_name(tag);
        self.write_indicator(">", false, false, false);
    }

    fn write_tag_name(&mut self, name: &str) {
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_;/?:@&=+$,.~*'()[]".contains(&byte) {
                self.out.push(byte as char);
                self.column += 1;
            } else {
                use std::fmt::Write as _;
                let _ = write!(self.out, "%{byte:02X}");
                self.column += 3;
            }
        }
        self.whitespace = false;
        self.indention = false;
    }

    /// Enters a collection or scalar; what [`Writer::indent`] was.
    pub(crate) fn increase_indent(&mut self, place: Place, flow: bool, compact: bool) -> i32 {
        let outer = self.indent;
        if outer < 0 {
            self.indent = if flow { self.step } else { 0 };
        } else if place == Place::Item {
            self.indent += 2;
        } else {
            self.indent = self.step * ((outer + self.step) / self.step);
        }
        if compact && outer >= 0 {
            self.indent -= 2;
        }
        outer
    }

    /// Breaks a flow collection's line after a comment or where it has become too long.
    pub(crate) fn break_flow(&mut self) {
        if self.column == 0 {
            self.write_indent();
        }
        self.break_long_flow();
    }

    pub(crate) fn break_long_flow(&mut self) {
        if self.column > self.width {
            self.write_indent();
        }
    }

    pub(crate) fn set_head(&mut self, text: &str) {
        set(&mut self.head, text);
    }

    pub(crate) fn set_line(&mut self, text: &str) {
        set(&mut self.line, text);
    }

    pub(crate) fn set_foot(&mut self, text: &str) {
        set(&mut self.foot, text);
    }

    pub(crate) fn set_tail(&mut self, text: &str) {
        set(&mut self.tail, text);
    }

    /// A key's line comment waits for the value.
    pub(crate) fn keep_key_line(&mut self) {
        if !self.line.is_empty() {
            self.key_line = std::mem::take(&mut self.line);
        }
    }

    pub(crate) fn has_trailing_comment(&self) -> bool {
        !(self.line.is_empty() && self.foot.is_empty() && self.tail.is_empty())
    }

    pub(crate) fn has_end_comment(&self) -> bool {
        !(self.head.is_empty() && self.foot.is_empty() && self.tail.is_empty())
    }

    pub(crate) fn process_head(&mut self) {
        if !self.tail.is_empty() {
            self.write_indent();
            let text = std::mem::take(&mut self.tail);
            self.write_comment(&text);
            self.foot_indent = self.indent.max(0);
        }
        if !self.head.is_empty() {
            self.write_indent();
            let text = std::mem::take(&mut self.head);
            self.write_comment(&text);
        }
    }

    pub(crate) fn process_line(&mut self) {
        if self.line.is_empty() {
            return;
        }
        if !self.whitespace {
            self.put(" ");
        }
        let text = std::mem::take(&mut self.line);
        self.write_comment(&text);
    }

    pub(crate) fn process_foot(&mut self) {
        if self.foot.is_empty() {
            return;
        }
        self.write_indent();
        let text = std::mem::take(&mut self.foot);
        self.write_comment(&text);
        self.foot_indent = self.indent.max(0);
    }

    fn write_comment(&mut self, text: &str) {
        let mut breaks = false;
        for (i, line) in text.split('\n').enumerate() {
            if i > 0 {
                self.put_break();
                breaks = true;
            }
            if line.is_empty() {
                continue;
            }
            if breaks {
                self.write_indent();
            }
            if !line.starts_with('#') {
                self.put("# ");
            }
            self.put(line);
            self.indention = false;
            breaks = false;
        }
        if !breaks {
            self.put_break();
        }
        self.whitespace = true;
    }
}

fn set(to: &mut String, text: &str) {
    if !text.is_empty() {
        text.clone_into(to);
    }
}
