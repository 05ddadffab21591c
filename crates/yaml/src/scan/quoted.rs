//! Scalars in quotes.

use std::borrow::Cow;

use super::scalars::Gap;
use super::{BLANK, CLASS, Scanner};
use crate::error::Error;
use crate::node::ScalarStyle;

impl Scanner<'_> {
    pub(super) fn scan_flow_scalar(&mut self, style: ScalarStyle) -> Result<(), Error> {
        let single = style == ScalarStyle::SingleQuoted;
        let quote = self.at(0);
        let start = self.mark();
        self.skip(1);
        // Most scalars are one run without escapes, which can be borrowed.
        let run = self.quoted_run(quote, single);
        if self.at(run) == quote && !(single && self.at(run + 1) == quote) {
            let text = self.skip_to(self.pos + run);
            self.skip(1);
            let end = self.mark();
            self.push_scalar(Cow::Borrowed(text), style, start, end);
            return Ok(());
        }
        let mut text = String::new();
        let mut gap = Gap::default();
        loop {
            if self.at_document_indicator() {
                return Err(self.error(
                    self.mark(),
                    format!(
                        "found unexpected document indicator in the quoted scalar that begins in line {}",
                        start.line + 1
                    ),
                ));
            }
            if self.is_end(0) {
                return Err(self.error(
                    start,
                    "found unexpected end of stream while scanning a quoted scalar: its closing quote is missing",
                ));
            }
            if self.quoted_word(&mut text, quote, single)? {
                gap.broken = true;
            }
            if self.at(0) == quote {
                break;
            }
            self.read_gap(&mut gap, |_, _| Ok(()))?;
            gap.flush(&mut text);
        }
        self.skip(1);
        let end = self.mark();
        self.push_scalar(Cow::Owned(text), style, start, end);
        Ok(())
    }

    /// Bytes up to the quote, an escape or a line break, blanks included.
    fn quoted_run(&self, quote: u8, single: bool) -> usize {
        let rest = &self.bytes[self.pos..];
        rest.iter()
            .position(|byte| {
                *byte == quote || !single && *byte == b'\\' || matches!(byte, b'\n' | b'\r' | 0xC2 | 0xE2)
            })
            .unwrap_or(rest.len())
    }

    /// Text up to white space or the closing quote. True if it ended with an escaped line break.
    fn quoted_word(&mut self, text: &mut String, quote: u8, single: bool) -> Result<bool, Error> {
        loop {
            let from = self.pos;
            let mut at = from;
            while at < self.bytes.len() {
                let byte = self.bytes[at];
                if CLASS[byte as usize] & BLANK != 0
                    || byte == quote
                    || byte == b'\\' && !single
                    || matches!(byte, b'\n' | b'\r')
                    || byte >= 0x80 && super::break_len(self.bytes, at) > 0
                {
                    break;
                }
                at += 1;
            }
            text.push_str(self.skip_to(at));
            match self.at(0) {
                b'\'' if single && self.at(1) == b'\'' => {
                    self.skip(2);
                    text.push('\'');
                }
                b'\\' if !single && self.is_break(1) => {
                    self.skip(1);
                    self.skip_break();
                    return Ok(true);
                }
                b'\\' if !single => text.push(self.escape()?),
                _ => return Ok(false),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Error> {
        let simple = match self.at(1) {
            b'0' => '\0',
            b'a' => '\x07',
            b'b' => '\x08',
            b't' | b'\t' => '\t',
            b'n' => '\n',
            b'v' => '\x0B',
            b'f' => '\x0C',
            b'r' => '\r',
            b'e' => '\x1B',
            b' ' => ' ',
            b'"' => '"',
            b'\'' => '\'',
            b'\\' => '\\',
            b'N' => '\u{85}',
            b'_' => '\u{A0}',
            b'L' => '\u{2028}',
            b'P' => '\u{2029}',
            b'x' => return self.hex_escape(2),
            b'u' => return self.hex_escape(4),
            b'U' => return self.hex_escape(8),
            _ => {
                return Err(self.error(
                    self.mark(),
                    "found unknown escape character in a double-quoted scalar: write \\\\ for a backslash",
                ));
            }
        };
        self.skip(2);
        Ok(simple)
    }

    fn hex_escape(&mut self, digits: usize) -> Result<char, Error> {
        let code = self
            .bytes
            .get(self.pos + 2..self.pos + 2 + digits)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or_else(|| {
                self.error(
                    self.mark(),
                    format!("did not find the {digits} hexadecimal digits expected after an escape"),
                )
            })?;
        let found = char::from_u32(code)
            .ok_or_else(|| self.error(self.mark(), "found invalid Unicode character escape code"))?;
        self.skip(2 + digits);
        Ok(found)
    }
}
