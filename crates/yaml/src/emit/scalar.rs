//! Scalars: which styles a text allows, and writing it in each.

use std::fmt::Write as _;

use super::Place;
use super::writer::{Dialect, Writer};
use crate::node::ScalarStyle;
use crate::scan::break_len;

/// What a scalar's text allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) multiline: bool,
    flow_plain: bool,
    block_plain: bool,
    single_quoted: bool,
    block: bool,
}

/// What a byte may mean to a scalar's shape: one look at each byte, with one table, tells what is worth a closer look.
mod class {
    /// Forbids the plain style within a flow collection.
    pub(super) const FLOW: u8 = 1;
    /// Forbids the plain style before a blank.
    pub(super) const COLON: u8 = 2;
    /// Forbids the plain style after a blank.
    pub(super) const HASH: u8 = 4;
    /// A line break, the only one of ASCII texts that are looked at here.
    pub(super) const BREAK: u8 = 8;
    /// Neither printable ASCII nor a line feed.
    pub(super) const OTHER: u8 = 16;

    pub(super) const TABLE: [u8; 256] = {
        let mut table = [OTHER; 256];
        let mut i = 0;
        while i < 128 {
            table[i] = match i as u8 {
                b',' | b'?' | b'[' | b']' | b'{' | b'}' => FLOW,
                b':' => FLOW | COLON,
                b'#' => HASH,
                b'\n' => BREAK,
                b' '..=b'~' => 0,
                _ => OTHER,
            };
            i += 1;
        }
        table
    };
}

/// Where white space stands in a text.
#[derive(Default)]
struct Spaces {
    outer: bool,
    trailing_space: bool,
    line_breaks: bool,
    break_space: bool,
    space_break: bool,
    tabs: bool,
    special: bool,
}

impl Shape {
    pub(crate) fn of(text: &str, dialect: Dialect) -> Self {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Shape {
                multiline: false,
                flow_plain: false,
                block_plain: true,
                single_quoted: true,
                block: false,
            };
        }
        let classes = bytes
            .iter()
            .fold(0, |found, byte| found | class::TABLE[*byte as usize]);
        if classes & class::OTHER == 0 {
            return Self::of_ascii(bytes, classes);
        }
        Self::of_any(text, dialect)
    }

    /// The shape of any text but the empty one.
    fn of_any(text: &str, dialect: Dialect) -> Self {
        let (flow_indicators, block_indicators) = indicators(text);
        let spaces = spaces(text, dialect);
        let plain = !(spaces.outer
            || spaces.break_space
            || spaces.space_break
            || spaces.tabs
            || spaces.special
            || spaces.line_breaks);
        Shape {
            multiline: spaces.line_breaks,
            flow_plain: plain && !flow_indicators,
            block_plain: plain && !block_indicators,
            single_quoted: !(spaces.break_space || spaces.space_break || spaces.tabs || spaces.special),
            block: !(spaces.trailing_space || spaces.space_break || spaces.special),
        }
    }

    /// The shape of printable ASCII with line feeds, which nearly all texts are.
    fn of_ascii(bytes: &[u8], classes: u8) -> Self {
        let (first, last) = (bytes[0], bytes[bytes.len() - 1]);
        let blank = |byte: Option<&u8>| matches!(byte, None | Some(b' ' | b'\n'));
        let multiline = classes & class::BREAK != 0;
        let (mut space_break, mut break_space) = (false, false);
        if multiline {
            for at in memchr::memchr_iter(b'\n', bytes) {
                space_break |= at > 0 && bytes[at - 1] == b' ';
                break_space |= bytes.get(at + 1) == Some(&b' ');
            }
        }
        let leading = match first {
            b'#' | b',' | b'[' | b']' | b'{' | b'}' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"'
            | b'%' | b'@' | b'`' => true,
            b'-' | b'?' => blank(bytes.get(1)),
            _ => false,
        };
        let comment = classes & class::HASH != 0
            && memchr::memchr_iter(b'#', bytes).any(|at| at == 0 || blank(bytes.get(at - 1)));
        let value = classes & class::COLON != 0
            && memchr::memchr_iter(b':', bytes).any(|at| blank(bytes.get(at + 1)));
        let marker = bytes.starts_with(b"---") || bytes.starts_with(b"...");
        let outer = matches!(first, b' ' | b'\n') || matches!(last, b' ' | b'\n');
        let plain = !(outer || multiline || leading || comment || marker);
        Shape {
            multiline,
            flow_plain: plain && classes & class::FLOW == 0,
            block_plain: plain && !value,
            single_quoted: !(break_space || space_break),
            block: !(last == b' ' || space_break),
        }
    }
}

/// Whether characters with a meaning forbid the plain style, in flow and in block context.
fn indicators(text: &str) -> (bool, bool) {
    let bytes = text.as_bytes();
    let (mut flow, mut block) = (false, false);
    if text.starts_with("---") || text.starts_with("...") {
        (flow, block) = (true, true);
    }
    let blank_at = |at: usize| matches!(bytes.get(at), None | Some(b' ' | b'\t'));
    let mut after_blank = true;
    for (i, byte) in bytes.iter().enumerate() {
        let before_blank = blank_at(i + 1) || break_len(bytes, i + 1) > 0;
        if i == 0 {
            match byte {
                b'#' | b',' | b'[' | b']' | b'{' | b'}' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"'
                | b'%' | b'@' | b'`' => (flow, block) = (true, true),
                b'?' | b':' => {
                    flow = true;
                    block |= before_blank;
                }
                b'-' if before_blank => (flow, block) = (true, true),
                _ => {}
            }
        } else {
            match byte {
                b',' | b'?' | b'[' | b']' | b'{' | b'}' => flow = true,
                b':' => {
                    flow = true;
                    block |= before_blank;
                }
                b'#' if after_blank => (flow, block) = (true, true),
                _ => {}
            }
        }
        after_blank =
            matches!(byte, b' ' | b'\t' | b'\n' | b'\r') || *byte >= 0x80 && ends_break(&bytes[..=i]);
    }
    (flow, block)
}

/// Whether the text ends with a line break beyond ASCII.
fn ends_break(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\xC2\x85") || bytes.ends_with(b"\xE2\x80\xA8") || bytes.ends_with(b"\xE2\x80\xA9")
}

fn spaces(text: &str, dialect: Dialect) -> Spaces {
    let mut found = Spaces::default();
    let (mut previous_space, mut previous_break) = (false, false);
    let last = text.len() - text.chars().next_back().map_or(0, char::len_utf8);
    for (i, c) in text.char_indices() {
        let edge = i == 0 || i == last;
        if is_break(c) {
            found.line_breaks = true;
            found.outer |= edge;
            found.space_break |= previous_space;
            (previous_space, previous_break) = (false, true);
        } else if c == ' ' {
            found.outer |= edge;
            found.trailing_space |= i == last;
            found.break_space |= previous_break;
            (previous_space, previous_break) = (true, false);
        } else {
            if c == '\t' && dialect == Dialect::V3 {
                found.tabs = true;
            } else if !is_printable(c) {
                found.special = true;
            }
            (previous_space, previous_break) = (false, false);
        }
        if is_break(c) && c != '\n' && !is_printable(c) {
            found.special = true;
        }
    }
    found
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{A0}'..='\u{D7FF}' | '\u{E000}'..='\u{FEFE}' | '\u{FF00}'..='\u{FFFD}')
}

impl Writer {
    /// Writes a scalar in the wished style or the next one that is possible.
    pub(crate) fn scalar(&mut self, text: &str, wish: ScalarStyle, place: Place) {
        let shape = Shape::of(text, self.dialect);
        let key = place == Place::SimpleKey;
        let in_flow = self.flow_level > 0;
        let mut style = wish;
        if key && shape.multiline {
            style = ScalarStyle::DoubleQuoted;
        }
        if style == ScalarStyle::Plain {
            let allowed = if in_flow {
                shape.flow_plain
            } else {
                shape.block_plain
            };
            if !allowed || text.is_empty() && (in_flow || key) {
                style = ScalarStyle::SingleQuoted;
            }
        }
        if style == ScalarStyle::SingleQuoted && !shape.single_quoted {
            style = ScalarStyle::DoubleQuoted;
        }
        if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) && (!shape.block || in_flow || key) {
            style = ScalarStyle::DoubleQuoted;
        }
        let outer = self.increase_indent(place, true, false);
        match style {
            ScalarStyle::Plain => self.write_plain(text, !key),
            ScalarStyle::SingleQuoted => self.write_single_quoted(text, !key),
            ScalarStyle::DoubleQuoted => self.write_double_quoted(text, !key),
            ScalarStyle::Literal => self.write_literal(text),
            ScalarStyle::Folded => self.write_folded(text),
        }
        self.indent = outer;
    }

    fn put_char(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn write_plain(&mut self, text: &str, allow_breaks: bool) {
        self.indention = false;
        if text.is_empty() {
            return;
        }
        if !self.whitespace {
            self.put(" ");
        }
        if self.width == usize::MAX || self.column + text.len() <= self.width || !text.contains(' ') {
            self.put(text);
        } else {
            self.write_folding(text, allow_breaks);
        }
        self.whitespace = false;
        self.indention = false;
    }

    /// Text without line breaks, folded at single spaces behind the width.
    fn write_folding(&mut self, text: &str, allow_breaks: bool) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let end = memchr::memchr(b' ', &bytes[at..]).map_or(bytes.len(), |found| at + found);
            if end > at {
                self.put(&text[at..end]);
                self.indention = false;
            }
            at = end;
            while bytes.get(at) == Some(&b' ') {
                let alone = at == end && bytes.get(at + 1) != Some(&b' ');
                if allow_breaks && alone && self.column > self.width {
                    self.write_indent();
                } else {
                    self.put_char(' ');
                }
                at += 1;
            }
        }
    }

    fn write_single_quoted(&mut self, text: &str, allow_breaks: bool) {
        self.write_indicator("'", true, false, false);
        let (mut spaces, mut breaks) = (false, false);
        let mut chars = text.char_indices().peekable();
        while let Some((i, c)) = chars.next() {
            if c == ' ' {
                let inner = i > 0 && i < text.len() - 1;
                let before_space = matches!(chars.peek(), Some((_, ' ')));
                if allow_breaks && !spaces && self.column > self.width && inner && !before_space {
                    self.write_indent();
                } else {
                    self.put_char(' ');
                }
                spaces = true;
            } else if is_break(c) {
                if !breaks && c == '\n' {
                    self.put_break();
                }
                self.write_break(c);
                breaks = true;
            } else {
                if breaks {
                    self.write_indent();
                }
                if c == '\'' {
                    self.put_char('\'');
                }
                self.put_char(c);
                self.indention = false;
                (spaces, breaks) = (false, false);
            }
        }
        self.write_indicator("'", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn write_break(&mut self, c: char) {
        if c == '\n' {
            self.put_break();
        } else {
            self.out.push(c);
            self.column = 0;
            self.indention = true;
        }
    }

    fn write_double_quoted(&mut self, text: &str, allow_breaks: bool) {
        self.write_indicator("\"", true, false, false);
        let mut spaces = false;
        // The reference escapes every character of a text that begins with a byte order mark.
        let all = text.starts_with('\u{FEFF}');
        let mut chars = text.char_indices().peekable();
        while let Some((i, c)) = chars.next() {
            if all || c == '"' || c == '\\' || is_break(c) || !is_printable(c) {
                self.write_escape(c);
                spaces = false;
            } else if c == ' ' {
                let inner = i > 0 && i < text.len() - 1;
                if allow_breaks && !spaces && self.column > self.width && inner {
                    self.write_indent();
                    if matches!(chars.peek(), Some((_, ' '))) {
                        self.put_char('\\');
                    }
                } else {
                    self.put_char(' ');
                }
                spaces = true;
            } else {
                self.put_char(c);
                spaces = false;
            }
        }
        self.write_indicator("\"", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn write_escape(&mut self, c: char) {
        let short = match c {
            '\0' => '0',
            '\x07' => 'a',
            '\x08' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\x0B' => 'v',
            '\x0C' => 'f',
            '\r' => 'r',
            '\x1B' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{A0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ => {
                self.unreadable |=
                    matches!(c, '\x7F'..='\u{84}' | '\u{86}'..='\u{9F}' | '\u{FFFE}' | '\u{FFFF}');
                let from = self.out.len();
                let code = u32::from(c);
                let _ = match code {
                    0..=0xFF => write!(self.out, "\\x{code:02X}"),
                    0x100..=0xFFFF => write!(self.out, "\\u{code:04X}"),
                    _ => write!(self.out, "\\U{code:08X}"),
                };
                self.column += self.out.len() - from;
                return;
            }
        };
        self.put_char('\\');
        self.put_char(short);
    }

    /// The signs after `|` and `>`, and a line comment.
    fn write_block_header(&mut self, text: &str) {
        if text.starts_with(|c| c == ' ' || is_break(c)) {
            self.write_indicator(if self.step == 4 { "4" } else { "2" }, false, false, false);
        }
        let mut back = text.chars().rev();
        let chomp = match back.next() {
            None => "-",
            Some(c) if !is_break(c) => "-",
            Some(_) => match back.next() {
                None => "+",
                Some(c) if is_break(c) => "+",
                Some(_) => "",
            },
        };
        if !chomp.is_empty() {
            self.write_indicator(chomp, false, false, false);
        }
        if self.line.is_empty() {
            self.put_break();
        } else {
            self.process_line();
        }
        self.whitespace = true;
    }

    fn write_literal(&mut self, text: &str) {
        self.write_indicator("|", true, false, false);
        self.write_block_header(text);
        let ascii = text.is_ascii();
        let mut rest = text;
        while !rest.is_empty() {
            let line_break = if ascii {
                memchr::memchr2(b'\n', b'\r', rest.as_bytes())
            } else {
                rest.find(is_break)
            };
            let end = line_break.unwrap_or(rest.len());
            if end > 0 {
                self.write_indent();
                self.put(&rest[..end]);
                self.indention = false;
            }
            let mut after = rest[end..].chars();
            if let Some(c) = after.next() {
                self.write_break(c);
            }
            rest = after.as_str();
        }
    }

    fn write_folded(&mut self, text: &str) {
        self.write_indicator(">", true, false, false);
        self.write_block_header(text);
        // Whether the text begins with a blank after its first line breaks decides for all folds.
        let begins_blank = text.trim_start_matches(is_break).starts_with([' ', '\t']);
        let (mut breaks, mut leading_spaces) = (true, true);
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if is_break(c) {
                if !breaks && !leading_spaces && c == '\n' && !begins_blank {
                    self.put_break();
                }
                self.write_break(c);
                breaks = true;
            } else {
                if breaks {
                    self.write_indent();
                    leading_spaces = matches!(c, ' ' | '\t');
                }
                let folds =
                    !breaks && c == ' ' && !matches!(chars.peek(), Some(' ')) && self.column > self.width;
                if folds {
                    self.write_indent();
                } else {
                    self.put_char(c);
                }
                self.indention = false;
                breaks = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_look_at_ascii_sees_what_the_thorough_one_sees() {
        const ALPHABET: &[u8] = b" \n:#-?,a.!";
        for length in 1..=5u32 {
            for number in 0..ALPHABET.len().pow(length) {
                let mut rest = number;
                let text: String = (0..length)
                    .map(|_| {
                        let c = ALPHABET[rest % ALPHABET.len()];
                        rest /= ALPHABET.len();
                        char::from(c)
                    })
                    .collect();
                for dialect in [Dialect::V2, Dialect::V3] {
                    assert_eq!(
                        Shape::of(&text, dialect),
                        Shape::of_any(&text, dialect),
                        "{text:?}"
                    );
                }
            }
        }
    }
}
