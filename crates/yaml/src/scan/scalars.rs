//! Plain scalars and block scalars.

use std::borrow::Cow;

use super::{BLANK, BREAK, CLASS, Mark, Scanner, break_len};
use crate::error::Error;
use crate::node::ScalarStyle;

/// Bytes at which the scan of a plain scalar must look closer.
const PLAIN_STOP: [bool; 256] = {
    let mut table = [false; 256];
    let stops = b" \t\r\n:,?[]{}\0";
    let mut i = 0;
    while i < stops.len() {
        table[stops[i] as usize] = true;
        i += 1;
    }
    // First bytes of line breaks beyond ASCII.
    table[0xC2] = true;
    table[0xE2] = true;
    table
};

/// White space between two words of a scalar, folded when the next word comes.
#[derive(Default)]
pub(super) struct Gap<'a> {
    /// Blanks within a line.
    pub(super) blanks: &'a str,
    /// True after a line break.
    pub(super) broken: bool,
    /// The first line break.
    pub(super) first_break: &'a str,
    /// All further line breaks.
    pub(super) more_breaks: String,
}

impl Gap<'_> {
    /// Adds what the gap folds to.
    pub(super) fn flush(&mut self, text: &mut String) {
        if self.broken {
            if self.first_break.starts_with('\n') {
                if self.more_breaks.is_empty() {
                    text.push(' ');
                } else {
                    text.push_str(&self.more_breaks);
                }
            } else {
                text.push_str(self.first_break);
                text.push_str(&self.more_breaks);
            }
        } else {
            text.push_str(self.blanks);
        }
        *self = Gap::default();
    }
}

impl<'a> Scanner<'a> {
    pub(super) fn scan_plain_scalar(&mut self) -> Result<(), Error> {
        let start = self.mark();
        let indent = self.indent + 1;
        let first = self.plain_word_line();
        let mut end = self.mark();
        let mut owned: Option<String> = None;
        let mut gap = Gap::default();
        let mut broken = false;
        loop {
            if !(self.is_blank(0) || self.is_break(0)) {
                break;
            }
            self.read_gap(&mut gap, |scanner, broken| {
                if broken && scanner.column() < indent && scanner.at(0) == b'\t' {
                    return Err(
                        scanner.error(scanner.mark(), "found a tab character that violates indentation")
                    );
                }
                Ok(())
            })?;
            broken = gap.broken;
            if self.flow_level == 0 && self.column() < indent
                || self.at_document_indicator()
                || self.at(0) == b'#'
                || self.is_end(0)
            {
                break;
            }
            let from = self.pos;
            let word = self.plain_word_line();
            if self.pos == from {
                break;
            }
            end = self.mark();
            broken = false;
            let text = owned.get_or_insert_with(|| first.to_owned());
            gap.flush(text);
            text.push_str(word);
        }
        if broken {
            self.simple_key_allowed = true;
        }
        let text = owned.map_or(Cow::Borrowed(first), Cow::Owned);
        self.push_scalar(text, ScalarStyle::Plain, start, end);
        Ok(())
    }

    /// Plain text up to the end of the line, a comment or an indicator, without trailing blanks.
    fn plain_word_line(&mut self) -> &'a str {
        let bytes = self.bytes;
        let mut at = self.pos;
        let mut end = at;
        while at < bytes.len() {
            let byte = bytes[at];
            if !PLAIN_STOP[byte as usize] {
                at += 1;
                end = at;
                continue;
            }
            match byte {
                b' ' | b'\t' => {
                    at += 1;
                    if bytes.get(at) == Some(&b'#') {
                        break;
                    }
                    continue;
                }
                b'\n' | b'\r' => break,
                b':' if blank_or_end(bytes, at + 1) => break,
                b',' | b'[' | b']' | b'{' | b'}' if self.flow_level > 0 => break,
                b'?' if self.flow_level > 0 && (self.older || ends_flow_plain(bytes, at)) => break,
                0xC2 | 0xE2 if break_len(bytes, at) > 0 => break,
                _ => {}
            }
            at += 1;
            end = at;
        }
        self.skip_to(end)
    }

    /// Passes blanks and line breaks and notes them.
    pub(super) fn read_gap(
        &mut self,
        gap: &mut Gap<'a>,
        check: impl Fn(&Self, bool) -> Result<(), Error>,
    ) -> Result<(), Error> {
        loop {
            let class = CLASS[self.at(0) as usize];
            if class & BLANK != 0 {
                check(self, gap.broken)?;
                let start = self.pos;
                if gap.broken {
                    self.pos += 1;
                } else {
                    while self.is_blank(0) {
                        self.pos += 1;
                    }
                    gap.blanks = &self.text[start..self.pos];
                }
            } else if class & BREAK != 0 || self.is_break(0) {
                let text = self.skip_break();
                if gap.broken {
                    gap.more_breaks.push_str(text);
                } else {
                    gap.blanks = "";
                    gap.first_break = text;
                    gap.broken = true;
                }
            } else {
                return Ok(());
            }
        }
    }

    pub(super) fn scan_block_scalar(&mut self, style: ScalarStyle) -> Result<(), Error> {
        let start = self.mark();
        self.skip(1);
        let (chomping, increment) = self.block_header(start)?;
        let mut indent = match increment {
            0 => 0,
            n => self.indent.max(0) + n,
        };
        let mut text = String::new();
        let mut first_break = "";
        let mut breaks = String::new();
        let mut end = self.mark();
        self.block_breaks(&mut indent, &mut breaks, &mut end)?;
        let mut leading_blank = false;
        while self.column() == indent && !self.is_end(0) {
            let trailing_blank = self.is_blank(0);
            let folds = style == ScalarStyle::Folded
                && !leading_blank
                && !trailing_blank
                && first_break.starts_with('\n');
            if !folds {
                text.push_str(first_break);
            } else if breaks.is_empty() {
                text.push(' ');
            }
            text.push_str(&breaks);
            breaks.clear();
            leading_blank = self.is_blank(0);
            let line = self.skip_to(self.line_end());
            text.push_str(line);
            first_break = self.skip_break();
            self.block_breaks(&mut indent, &mut breaks, &mut end)?;
        }
        if chomping >= 0 {
            text.push_str(first_break);
        }
        if chomping > 0 {
            text.push_str(&breaks);
        }
        self.push_scalar(Cow::Owned(text), style, start, end);
        Ok(())
    }

    /// The signs after `|` or `>`: chomping (-1, 0, 1) and the indentation (0: to be found).
    fn block_header(&mut self, start: Mark) -> Result<(i8, i32), Error> {
        let (mut chomping, mut increment) = (0, 0);
        for _ in 0..2 {
            match self.at(0) {
                b'+' if chomping == 0 => chomping = 1,
                b'-' if chomping == 0 => chomping = -1,
                b'0' => {
                    return Err(self.error(
                        self.mark(),
                        "found an indentation indicator equal to 0 in a block scalar: 1 to 9 are possible",
                    ));
                }
                digit @ b'1'..=b'9' if increment == 0 => increment = i32::from(digit - b'0'),
                _ => break,
            }
            self.skip(1);
        }
        while self.is_blank(0) {
            self.pos += 1;
        }
        if self.at(0) == b'#' {
            self.scan_line_comment(start);
        }
        if !self.is_break_or_end(0) {
            return Err(self.error(
                self.mark(),
                "did not find the comment or line break expected after a block scalar's indicator",
            ));
        }
        self.skip_break();
        Ok((chomping, increment))
    }

    /// Indentation and empty lines in front of a block scalar's next line; finds the indentation
    /// where it is not known yet.
    fn block_breaks(&mut self, indent: &mut i32, breaks: &mut String, end: &mut Mark) -> Result<(), Error> {
        *end = self.mark();
        let mut max_indent = 0;
        loop {
            while (*indent == 0 || self.column() < *indent) && self.at(0) == b' ' {
                self.pos += 1;
            }
            max_indent = max_indent.max(self.column());
            if (*indent == 0 || self.column() < *indent) && self.at(0) == b'\t' {
                return Err(self.error(
                    self.mark(),
                    "found a tab character where an indentation space is expected",
                ));
            }
            if !self.is_break(0) {
                break;
            }
            breaks.push_str(self.skip_break());
            *end = self.mark();
        }
        if *indent == 0 {
            *indent = max_indent.max(self.indent + 1).max(1);
        }
        Ok(())
    }
}

fn blank_or_end(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at) {
        None => true,
        Some(byte) => CLASS[*byte as usize] != 0 || *byte >= 0x80 && break_len(bytes, at) > 0,
    }
}

/// Whether `?` ends a plain scalar within brackets.
fn ends_flow_plain(bytes: &[u8], at: usize) -> bool {
    blank_or_end(bytes, at + 1)
}
