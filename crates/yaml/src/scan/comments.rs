//! Comments and the tokens they belong to.
//!
//! A comment is a head of what follows, the end of a line, or a foot of what came before. go-yaml
//! decides by blank lines and indentation; the rules here reproduce its decisions.

use super::{Kind, Mark, Scanner, break_len};

/// A comment that waits for its token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comment {
    /// Where the search that found it had begun.
    pub(super) scanned_from: Mark,
    /// It belongs to the first token that starts here or later.
    pub(crate) token: Mark,
    /// The place of its `#`; the column counts from 1.
    pub(super) start: Mark,
    pub(super) end: Mark,
    pub(crate) head: String,
    pub(crate) line: String,
    pub(crate) foot: String,
}

/// A run of comment lines that is being read.
struct Run {
    scanned_from: Mark,
    token: Mark,
    start: Mark,
    text: String,
}

impl Run {
    fn finish_foot(&mut self, at: Mark) -> Comment {
        let comment = Comment {
            scanned_from: self.scanned_from,
            token: self.token,
            start: self.start,
            end: at,
            foot: std::mem::take(&mut self.text),
            ..Comment::default()
        };
        self.scanned_from = at;
        self.token = at;
        comment
    }
}

/// How far ahead a comment is looked for, in characters.
const LOOKAHEAD: usize = 512;

impl Scanner<'_> {
    /// A comment after a token in the same line.
    pub(super) fn scan_line_comment(&mut self, token: Mark) {
        if self.newlines > 0 {
            return;
        }
        let mut ahead = 0;
        while ahead < LOOKAHEAD && self.is_blank(ahead) {
            ahead += 1;
        }
        if ahead == LOOKAHEAD || self.at(ahead) != b'#' {
            return;
        }
        self.pos += ahead;
        let start = self.mark();
        let line = self.skip_to(self.line_end()).to_owned();
        self.comments.push_back(Comment {
            token,
            start,
            line,
            ..Comment::default()
        });
    }

    /// `- # text` above the item's content is a head comment of that content.
    pub(super) fn turn_line_comment_into_head(&mut self) {
        let count = self.tokens.len();
        if self.comments.is_empty() || count < 2 || self.is_break(0) {
            return;
        }
        if self.tokens[count - 2].kind != Kind::BlockSequenceStart
            || self.tokens[count - 1].kind != Kind::BlockEntry
        {
            return;
        }
        let mark = self.mark();
        if let Some(comment) = self.comments.back_mut()
            && !comment.line.is_empty()
        {
            comment.head = std::mem::take(&mut comment.line);
            if comment.start.line + 1 == mark.line {
                comment.token = mark;
            }
        }
    }

    /// Comment lines from here on. Stops before the first character that is neither comment nor
    /// blank nor line break.
    pub(super) fn scan_comments(&mut self, scan_mark: Mark) {
        let count = self.tokens.len();
        let mut previous = self.tokens.back();
        if count > 1 && matches!(previous, Some(token) if token.kind == Kind::FlowEntry) {
            previous = self.tokens.get(count - 2);
        }
        let after_value = matches!(previous, Some(token) if token.kind == Kind::Value);
        let mut run = Run {
            scanned_from: scan_mark,
            token: previous.map_or(Mark::default(), |token| token.start),
            start: Mark::default(),
            text: String::new(),
        };
        let indent = self.indent.max(0) as u32;
        let mut recent_empty = false;
        let mut first_empty = self.newlines <= 1;
        let mut line = self.line;
        let mut column = self.mark().column;
        let foot_line = self.foot_line(scan_mark, column);
        let mut ahead = 0;
        while ahead < LOOKAHEAD {
            column += 1;
            if self.is_blank(ahead) {
                ahead += 1;
                continue;
            }
            let here = Mark {
                index: self.pos + ahead,
                line,
                column,
            };
            let closes = self.flow_level > 0 && matches!(self.at(ahead), b']' | b'}');
            if closes || self.is_break_or_end(ahead) {
                if closes || !recent_empty {
                    let dedented = run.start.column.saturating_sub(1) < indent;
                    let foot = closes
                        || first_empty
                            && (i64::from(run.start.line) == foot_line && !after_value || dedented);
                    if foot {
                        if !run.text.is_empty() {
                            if dedented {
                                run.token = run.start;
                            }
                            let comment = run.finish_foot(here);
                            self.comments.push_back(comment);
                        }
                    } else if !run.text.is_empty() && !self.is_end(ahead) {
                        run.text.push('\n');
                    }
                }
                if !self.is_break(ahead) {
                    break;
                }
                first_empty = false;
                recent_empty = true;
                column = 0;
                line += 1;
                ahead += 1;
                continue;
            }
            if !run.text.is_empty() && column - 1 < indent && column != run.start.column {
                let comment = run.finish_foot(here);
                self.comments.push_back(comment);
            }
            if self.at(ahead) != b'#' {
                break;
            }
            if run.text.is_empty() {
                run.start = here;
            } else {
                run.text.push('\n');
            }
            recent_empty = false;
            self.pass_to(self.pos + ahead);
            let text = self.skip_to(self.line_end());
            run.text.push_str(text);
            // The line break after the comment is passed over.
            ahead = 1;
            column = 0;
            line = self.line + 1;
        }
        if !run.text.is_empty() {
            self.comments.push_back(Comment {
                scanned_from: run.scanned_from,
                token: run.start,
                start: run.start,
                end: Mark {
                    index: (self.pos + ahead).saturating_sub(1),
                    line,
                    column,
                },
                head: run.text,
                ..Comment::default()
            });
        }
    }

    /// Where a comment must start to be a foot of the content before. What is searched from the first line on has none.
    fn foot_line(&self, scan_mark: Mark, column: u32) -> i64 {
        if scan_mark.line <= self.first_line {
            return -1;
        }
        let line = i64::from(self.line) - i64::from(self.newlines) + 1;
        if self.newlines == 0 && column > 1 {
            line + 1
        } else {
            line
        }
    }

    /// Passes blanks and line breaks up to an offset.
    fn pass_to(&mut self, index: usize) {
        while self.pos < index {
            if break_len(self.bytes, self.pos) > 0 {
                self.skip_break();
            } else {
                self.pos += 1;
            }
        }
    }
}
