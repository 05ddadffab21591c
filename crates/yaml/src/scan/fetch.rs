//! Finding the next token: indentation, indicators, possible keys.

use std::borrow::Cow;

use super::{Kind, Mark, Scanner, SimpleKey, Token};
use crate::error::Error;
use crate::node::ScalarStyle;

impl<'a> Scanner<'a> {
    /// Reads one more token (or several, when indentation ends) into the queue.
    pub(super) fn fetch(&mut self) -> Result<(), Error> {
        let scan_mark = self.mark();
        self.skip_to_token(scan_mark);
        self.unroll_indent(self.column(), scan_mark);
        if self.is_end(0) {
            return self.fetch_stream_end();
        }
        if self.column() == 0 && self.at(0) == b'%' {
            self.unroll_indent(-1, self.mark());
            self.remove_simple_key()?;
            self.simple_key_allowed = false;
            return self.scan_directive();
        }
        let mut comment_mark = self.mark();
        let separator = match self.at(0) {
            b':' => self.flow_level == 0,
            b',' => self.flow_level > 0,
            _ => false,
        };
        if separator && let Some(last) = self.tokens.back() {
            comment_mark = last.start;
        }
        if self.at_document_indicator() {
            return self.fetch_document_indicator();
        }
        self.fetch_content()?;
        // What follows a lone '-' is a head comment of the item.
        if !matches!(
            self.tokens.back(),
            Some(Token {
                kind: Kind::BlockEntry,
                ..
            })
        ) {
            self.scan_line_comment(comment_mark);
        }
        Ok(())
    }

    fn fetch_content(&mut self) -> Result<(), Error> {
        match self.at(0) {
            b'[' => self.fetch_flow_start(Kind::FlowSequenceStart),
            b'{' => self.fetch_flow_start(Kind::FlowMappingStart),
            b']' => self.fetch_flow_end(Kind::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(Kind::FlowMappingEnd),
            b',' => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                self.push_indicator(Kind::FlowEntry, 1);
                Ok(())
            }
            b'-' if self.is_blank_or_end(1) => self.fetch_block_entry(),
            b'?' if self.flow_level > 0 || self.is_blank_or_end(1) => self.fetch_key(),
            b':' if self.flow_level > 0 || self.is_blank_or_end(1) => self.fetch_value(),
            b'*' | b'&' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                self.scan_anchor()
            }
            b'!' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                self.scan_tag()
            }
            b'|' if self.flow_level == 0 => self.fetch_block_scalar(ScalarStyle::Literal),
            b'>' if self.flow_level == 0 => self.fetch_block_scalar(ScalarStyle::Folded),
            b'\'' => self.fetch_flow_scalar(ScalarStyle::SingleQuoted),
            b'"' => self.fetch_flow_scalar(ScalarStyle::DoubleQuoted),
            first => {
                let plain = match first {
                    b'-' => !self.is_blank(1),
                    b'?' | b':' => self.flow_level == 0 && !self.is_blank_or_end(1),
                    b'#' | b'|' | b'>' | b'%' | b'@' | b'`' => false,
                    _ => !self.is_blank_or_end(0),
                };
                if plain {
                    self.save_simple_key()?;
                    self.simple_key_allowed = false;
                    return self.scan_plain_scalar();
                }
                let shown = self.text[self.pos..].chars().next().unwrap_or(' ');
                let message = if shown == '\t' {
                    "found a tab where indentation needs spaces".to_owned()
                } else {
                    format!("found character {shown:?} that cannot start any token: quote the value")
                };
                Err(self.error(self.mark(), message))
            }
        }
    }

    fn fetch_block_scalar(&mut self, style: ScalarStyle) -> Result<(), Error> {
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        self.scan_block_scalar(style)
    }

    fn fetch_flow_scalar(&mut self, style: ScalarStyle) -> Result<(), Error> {
        self.save_simple_key()?;
        self.simple_key_allowed = false;
        self.scan_flow_scalar(style)
    }

    fn fetch_stream_end(&mut self) -> Result<(), Error> {
        if self.column() != 0 {
            self.line += 1;
            self.line_start = self.pos;
        }
        self.unroll_indent(-1, self.mark());
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        self.ended = true;
        self.push(Kind::StreamEnd, self.mark());
        Ok(())
    }

    fn fetch_document_indicator(&mut self) -> Result<(), Error> {
        self.unroll_indent(-1, self.mark());
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        let kind = if self.at(0) == b'-' {
            Kind::DocumentStart
        } else {
            Kind::DocumentEnd
        };
        self.push_indicator(kind, 3);
        Ok(())
    }

    fn fetch_flow_start(&mut self, kind: Kind<'a>) -> Result<(), Error> {
        self.save_simple_key()?;
        self.flow_level += 1;
        self.simple_keys.push(SimpleKey::default());
        if self.flow_level > self.depth_limit {
            return Err(self.too_deep());
        }
        self.simple_key_allowed = true;
        self.push_indicator(kind, 1);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: Kind<'a>) -> Result<(), Error> {
        self.remove_simple_key()?;
        if self.flow_level > 0 {
            self.flow_level -= 1;
            self.simple_keys.pop();
        }
        self.simple_key_allowed = false;
        self.push_indicator(kind, 1);
        Ok(())
    }

    fn fetch_block_entry(&mut self) -> Result<(), Error> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return Err(self.error(
                    self.mark(),
                    "block sequence entries are not allowed in this context",
                ));
            }
            self.roll_indent(self.mark(), None, Kind::BlockSequenceStart)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        self.push_indicator(Kind::BlockEntry, 1);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<(), Error> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return Err(self.error(self.mark(), "mapping keys are not allowed in this context"));
            }
            self.roll_indent(self.mark(), None, Kind::BlockMappingStart)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = self.flow_level == 0;
        self.push_indicator(Kind::Key, 1);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<(), Error> {
        let last = self.simple_keys.len() - 1;
        let key = self.simple_keys[last];
        if key.possible && !self.expire_key(last, self.mark())? {
            let at = key.token - self.taken;
            self.tokens.insert(
                at,
                Token {
                    kind: Kind::Key,
                    start: key.mark,
                    end: key.mark,
                },
            );
            self.roll_indent(key.mark, Some(at), Kind::BlockMappingStart)?;
            self.simple_keys[last].possible = false;
            self.simple_key_allowed = false;
        } else {
            if self.flow_level == 0 {
                if !self.simple_key_allowed {
                    return Err(self.error(
                        self.mark(),
                        "mapping values are not allowed in this context: quote the value if it holds ': '",
                    ));
                }
                self.roll_indent(self.mark(), None, Kind::BlockMappingStart)?;
            }
            self.simple_key_allowed = self.flow_level == 0;
        }
        self.push_indicator(Kind::Value, 1);
        Ok(())
    }

    fn push_indicator(&mut self, kind: Kind<'a>, len: usize) {
        let start = self.mark();
        self.skip(len);
        self.push(kind, start);
    }

    pub(super) fn push(&mut self, kind: Kind<'a>, start: Mark) {
        let end = self.mark();
        self.tokens.push_back(Token { kind, start, end });
    }

    pub(super) fn push_scalar(&mut self, text: Cow<'a, str>, style: ScalarStyle, start: Mark, end: Mark) {
        self.tokens.push_back(Token {
            kind: Kind::Scalar { text, style },
            start,
            end,
        });
    }

    fn too_deep(&self) -> Error {
        self.error(
            self.mark(),
            format!("exceeded the nesting limit of {}", self.depth_limit),
        )
    }

    #[expect(clippy::cast_possible_wrap, reason = "lines beyond 2 GiB are refused")]
    fn roll_indent(&mut self, mark: Mark, at: Option<usize>, kind: Kind<'a>) -> Result<(), Error> {
        let column = mark.column as i32;
        if self.flow_level > 0 || self.indent >= column {
            return Ok(());
        }
        self.indents.push(self.indent);
        if self.indents.len() > self.depth_limit {
            return Err(self.too_deep());
        }
        self.indent = column;
        let token = Token {
            kind,
            start: mark,
            end: mark,
        };
        match at {
            Some(at) => self.tokens.insert(at, token),
            None => self.tokens.push_back(token),
        }
        Ok(())
    }

    /// Ends the collections that are indented further than `column`. A comment that stands at the
    /// indentation of an ended collection belongs into it: its end token moves before that comment.
    fn unroll_indent(&mut self, column: i32, scan_mark: Mark) {
        if self.flow_level > 0 || self.indent <= column {
            return;
        }
        // One before: a comment that starts right here must come after the end token.
        let mut end = scan_mark;
        let mut end_index = scan_mark.index as i64 - 1;
        while self.indent > column {
            let mut stop = end_index;
            for comment in self.comments.iter().rev() {
                if (comment.end.index as i64) < stop {
                    break;
                }
                if i64::from(comment.start.column) == i64::from(self.indent) + 1 {
                    end = comment.start;
                    end_index = comment.start.index as i64;
                }
                stop = comment.scanned_from.index as i64;
            }
            let mark = Mark {
                // Index 0 cannot end a block.
                index: usize::try_from(end_index).unwrap_or(0),
                ..end
            };
            self.tokens.push_back(Token {
                kind: Kind::BlockEnd,
                start: mark,
                end: mark,
            });
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    #[expect(clippy::cast_possible_wrap, reason = "lines beyond 2 GiB are refused")]
    fn save_simple_key(&mut self) -> Result<(), Error> {
        if !self.simple_key_allowed {
            return Ok(());
        }
        let mark = self.mark();
        self.remove_simple_key()?;
        let last = self.simple_keys.len() - 1;
        self.simple_keys[last] = SimpleKey {
            possible: true,
            required: self.flow_level == 0 && self.indent == mark.column as i32,
            token: self.taken + self.tokens.len(),
            mark,
        };
        Ok(())
    }

    fn remove_simple_key(&mut self) -> Result<(), Error> {
        let last = self.simple_keys.len() - 1;
        let key = self.simple_keys[last];
        if key.possible && key.required {
            return Err(self.missing_colon(key.mark));
        }
        self.simple_keys[last].possible = false;
        Ok(())
    }

    fn skip_to_token(&mut self, scan_mark: Mark) {
        loop {
            if self.pos == self.line_start && self.bytes[self.pos..].starts_with(b"\xEF\xBB\xBF") {
                self.pos += 3;
                self.line_start += 2;
                self.newlines = 0;
            }
            let tabs = self.flow_level > 0 || !self.simple_key_allowed;
            while self.at(0) == b' ' || tabs && self.at(0) == b'\t' {
                self.pos += 1;
            }
            self.turn_line_comment_into_head();
            if self.at(0) == b'#' {
                self.scan_comments(scan_mark);
            }
            if !self.is_break(0) {
                break;
            }
            self.skip_break();
            if self.flow_level == 0 {
                self.simple_key_allowed = true;
            }
        }
    }
}
