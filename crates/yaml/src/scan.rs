//! Text to tokens.
//!
//! YAML's block structure becomes explicit here: tokens for the start and end of collections are
//! derived from indentation, and a key is recognised when its `:` arrives, at most 1024 characters
//! later. Which texts are accepted follows libyaml and go-yaml, not the specification: what the
//! Go tools read must read the same here.

mod comments;
mod fetch;
mod quoted;
mod scalars;
mod tags;

use std::borrow::Cow;
use std::collections::VecDeque;

pub(crate) use comments::Comment;

use crate::error::Error;
use crate::node::{FileId, Pos, ScalarStyle};

/// A place in the text: byte offset, line and column, all from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) index: usize,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Mark {
    pub(crate) fn pos(self, file: FileId) -> Pos {
        Pos {
            file,
            line: self.line + 1,
            column: self.column + 1,
        }
    }
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind<'a> {
    StreamEnd,
    VersionDirective {
        /// 1.1, which is the only one that a document may ask for.
        known: bool,
    },
    TagDirective {
        handle: &'a str,
        prefix: Cow<'a, str>,
    },
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(&'a str),
    Anchor(&'a str),
    Tag {
        handle: &'a str,
        suffix: Cow<'a, str>,
    },
    Scalar {
        text: Cow<'a, str>,
        style: ScalarStyle,
    },
}

/// A token with its place.
#[derive(Clone, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind<'a>,
    pub(crate) start: Mark,
    pub(crate) end: Mark,
}

/// A place where a key may have begun.
#[derive(Clone, Copy, Default)]
struct SimpleKey {
    possible: bool,
    required: bool,
    token: usize,
    mark: Mark,
}

/// The scanner: hands out tokens in order, with the comments found on the way.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    file: FileId,
    pos: usize,
    line: u32,
    /// Where column 0 would be if each character of the line took one byte.
    line_start: usize,
    /// Line breaks since the last character that is no blank.
    newlines: u32,
    /// The line that the text begins in.
    first_line: u32,
    tokens: VecDeque<Token<'a>>,
    taken: usize,
    /// The first token is the next one, whatever follows.
    settled: bool,
    ended: bool,
    indent: i32,
    indents: Vec<i32>,
    flow_level: usize,
    depth_limit: usize,
    simple_key_allowed: bool,
    simple_keys: Vec<SimpleKey>,
    /// How many tokens behind the next one are looked at.
    ahead: usize,
    /// Whether this reads as go-yaml v2.
    pub(crate) older: bool,
    /// Comments that no token has taken yet.
    pub(crate) comments: VecDeque<Comment>,
}

const BLANK: u8 = 1;
const BREAK: u8 = 2;
const END: u8 = 4;

/// Classes of the ASCII bytes; line breaks beyond ASCII are looked at apart.
const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    table[b' ' as usize] = BLANK;
    table[b'\t' as usize] = BLANK;
    table[b'\n' as usize] = BREAK;
    table[b'\r' as usize] = BREAK;
    table[0] = END;
    table
};

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str, file: FileId, depth_limit: usize) -> Self {
        Scanner {
            text,
            bytes: text.as_bytes(),
            file,
            pos: 0,
            line: 0,
            line_start: 0,
            newlines: 0,
            first_line: 0,
            tokens: VecDeque::with_capacity(16),
            taken: 0,
            settled: false,
            ended: false,
            indent: -1,
            indents: Vec::new(),
            flow_level: 0,
            depth_limit,
            simple_key_allowed: true,
            simple_keys: vec![SimpleKey::default()],
            ahead: 2,
            older: false,
            comments: VecDeque::new(),
        }
    }

    /// Counts lines from one that has as many before it.
    pub(crate) fn start_at(&mut self, line: u32) {
        self.line = line;
        self.first_line = line;
    }

    /// Looks at no more tokens than it must: comments may get lost, but what is wrong further on is nobody's error yet.
    pub(crate) fn look_at_one(&mut self) {
        self.ahead = 0;
    }

    /// The next token without taking it. Three tokens are looked at, because a foot comment must
    /// be known when the token before it is taken.
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<&Token<'a>, Error> {
        if !self.settled {
            self.settle()?;
        }
        Ok(self
            .tokens
            .front()
            .expect("the stream end is never taken off the queue"))
    }

    /// Reads on until no later `:` can put another token in front of the next one.
    fn settle(&mut self) -> Result<(), Error> {
        while !self.ended && (self.tokens.len() <= self.ahead || self.key_may_precede_head()?) {
            self.fetch()?;
        }
        self.settled = true;
        Ok(())
    }

    /// Takes the token that [`Scanner::peek`] showed.
    pub(crate) fn take(&mut self) -> Token<'a> {
        self.taken += 1;
        self.settled = false;
        self.tokens
            .pop_front()
            .expect("only what peek has shown is taken")
    }

    fn key_may_precede_head(&mut self) -> Result<bool, Error> {
        let mark = self.mark();
        for i in (0..self.simple_keys.len()).rev() {
            let key = self.simple_keys[i];
            if key.possible && key.token < self.taken {
                break;
            }
            if !key.possible {
                continue;
            }
            if self.expire_key(i, mark)? {
                continue;
            }
            if key.token == self.taken {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A key must end on its line and within 1024 characters. True if the candidate is no more.
    fn expire_key(&mut self, i: usize, mark: Mark) -> Result<bool, Error> {
        let key = self.simple_keys[i];
        if key.mark.line < mark.line || key.mark.column + 1024 < mark.column {
            if key.required {
                return Err(self.missing_colon(key.mark));
            }
            self.simple_keys[i].possible = false;
            return Ok(true);
        }
        Ok(false)
    }

    fn missing_colon(&self, mark: Mark) -> Error {
        self.error(mark, "could not find the ':' that was expected after this key")
    }

    fn error(&self, mark: Mark, message: impl Into<String>) -> Error {
        Error::new(mark.pos(self.file), message)
    }

    #[expect(clippy::cast_possible_truncation, reason = "texts beyond 4 GiB are refused")]
    fn mark(&self) -> Mark {
        Mark {
            index: self.pos,
            line: self.line,
            column: (self.pos - self.line_start) as u32,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "lines beyond 2 GiB are refused"
    )]
    fn column(&self) -> i32 {
        (self.pos - self.line_start) as i32
    }

    fn at(&self, offset: usize) -> u8 {
        self.bytes.get(self.pos + offset).copied().unwrap_or(0)
    }

    fn is_blank(&self, offset: usize) -> bool {
        CLASS[self.at(offset) as usize] & BLANK != 0
    }

    /// Bytes of the line break at an offset: 0 if there is none.
    fn break_len(&self, offset: usize) -> usize {
        break_len(self.bytes, self.pos + offset)
    }

    fn is_break(&self, offset: usize) -> bool {
        self.break_len(offset) > 0
    }

    fn is_end(&self, offset: usize) -> bool {
        self.pos + offset >= self.bytes.len()
    }

    fn is_blank_or_end(&self, offset: usize) -> bool {
        let byte = self.at(offset);
        CLASS[byte as usize] != 0 || byte >= 0x80 && self.is_break(offset)
    }

    fn is_break_or_end(&self, offset: usize) -> bool {
        self.is_end(offset) || self.is_break(offset)
    }

    /// Passes ASCII characters that are no line breaks.
    fn skip(&mut self, count: usize) {
        for byte in &self.bytes[self.pos..self.pos + count] {
            if CLASS[*byte as usize] & BLANK == 0 {
                self.newlines = 0;
            }
        }
        self.pos += count;
    }

    /// Passes text up to an offset in the same line.
    fn skip_to(&mut self, end: usize) -> &'a str {
        let text = &self.text[self.pos..end];
        if !text.is_ascii() {
            self.line_start += text.len() - text.chars().count();
        }
        if text.bytes().any(|byte| CLASS[byte as usize] & BLANK == 0) {
            self.newlines = 0;
        }
        self.pos = end;
        text
    }

    /// Where the current line ends.
    fn line_end(&self) -> usize {
        let mut end = self.pos;
        while end < self.bytes.len() {
            let byte = self.bytes[end];
            if byte == b'\n' || byte == b'\r' || byte >= 0x80 && break_len(self.bytes, end) > 0 {
                break;
            }
            end += 1;
        }
        end
    }

    /// Passes a line break; what it stands for in a scalar.
    fn skip_break(&mut self) -> &'a str {
        let len = self.break_len(0);
        if len == 0 {
            return "";
        }
        let start = self.pos;
        self.pos += len;
        self.line += 1;
        self.line_start = self.pos;
        self.newlines += 1;
        // Line and paragraph separators stay, everything else is a line feed.
        if len == 3 {
            &self.text[start..self.pos]
        } else {
            "\n"
        }
    }

    fn at_document_indicator(&self) -> bool {
        self.pos == self.line_start
            && self.bytes.len() >= self.pos + 3
            && matches!(&self.bytes[self.pos..self.pos + 3], b"---" | b"...")
            && self.is_blank_or_end(3)
    }
}

/// Bytes of the line break at an index: 0 if there is none.
pub(crate) fn break_len(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'\n') => 1,
        Some(b'\r') => 1 + usize::from(bytes.get(at + 1) == Some(&b'\n')),
        Some(0xC2) if bytes.get(at + 1) == Some(&0x85) => 2,
        Some(0xE2) if bytes.get(at + 1) == Some(&0x80) && matches!(bytes.get(at + 2), Some(0xA8 | 0xA9)) => 3,
        _ => 0,
    }
}
