//! A quick way through the documents that most people and programs write: block collections, scalars of one
//! line, literal and folded texts. It builds nothing itself; what it does not know at a glance it leaves to the
//! whole parser, which alone says what is wrong.
//!
//! Invariant: what it accepts, the whole parser accepts too and reads as the same.

mod line;
mod value;

use std::borrow::Cow;

use crate::error::Limits;
use line::{comment, key, line_end, quoted, spaces, trim_end, trim_start};
pub(crate) use value::json;

/// The document is not of the simple kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSimple;

/// What a scan tells.
pub type Told = Result<(), NotSimple>;

/// A scalar where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar<'t> {
    /// Nothing is there.
    Missing,
    /// Without quotes; what it means is for its reader to say.
    Plain(&'t str),
    /// In quotes.
    Quoted(Cow<'t, str>),
    /// A block.
    Block(Block<'t>),
}

/// The lines of a literal or folded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'t> {
    lines: &'t str,
    indent: usize,
    folded: bool,
    /// `-` or `+`, or neither.
    chomp: Option<u8>,
}

/// Is told of a document's parts in order. Each may end the scan by refusing.
#[expect(clippy::missing_errors_doc, reason = "an error only ends the scan")]
pub trait Events<'t> {
    /// A mapping begins.
    fn map(&mut self) -> Told;
    /// A sequence begins.
    fn list(&mut self) -> Told;
    /// The innermost collection ends.
    fn end(&mut self) -> Told;
    /// A key of the mapping, plain or quoted.
    fn key(&mut self, key: Scalar<'t>) -> Told;
    /// A value of the mapping or sequence.
    fn scalar(&mut self, scalar: Scalar<'t>) -> Told;
}

/// Collections may not nest deeper here.
const DEPTH: usize = 64;

/// Scans a text that holds one document.
///
/// # Errors
/// It takes the whole parser to read it, or `events` refuses.
pub fn scan<'t>(text: &'t str, events: &mut dyn Events<'t>) -> Told {
    if text.len() > Limits::default().bytes || !printable(text) {
        return Err(NotSimple);
    }
    let mut scan = Scan {
        rest: text,
        open: Vec::with_capacity(16),
        pending: None,
        events,
    };
    let mut first = true;
    while let Some(line) = scan.line() {
        let indent = spaces(line);
        let content = trim_end(&line[indent..]);
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if indent == 0 && (content.starts_with("---") || content.starts_with("...")) {
            if first && content == "---" {
                first = false;
                continue;
            }
            return Err(NotSimple);
        }
        first = false;
        // Templates often write an empty collection below its key.
        if content.starts_with(['{', '[']) && scan.pending.is_some_and(|above| indent > above.indent) {
            scan.pending = None;
            scan.value(content)?;
            continue;
        }
        scan.place(indent, content)?;
        scan.item(indent, content)?;
    }
    if scan.open.is_empty() {
        return Err(NotSimple);
    }
    scan.missing()?;
    while scan.open.pop().is_some() {
        scan.events.end()?;
    }
    Ok(())
}

/// Whether a text holds nothing that YAML does not allow, or that it takes for the end of a line.
fn printable(text: &str) -> bool {
    let odd = |byte: u8| (byte < b' ' && byte != b'\n' && byte != b'\t') || byte >= 0x7f;
    // Whole pieces at once: a loop that may stop anywhere is slower.
    text.as_bytes().chunks(64).all(|piece| {
        !piece.iter().fold(false, |found, byte| found | odd(*byte))
            || piece.iter().all(|byte| !odd(*byte) || *byte >= 0x80)
    }) && (text.is_ascii() || text.chars().all(is_plain_char))
}

fn is_plain_char(c: char) -> bool {
    c.is_ascii()
        || matches!(c, '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
        || c > '\u{ffff}'
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Map,
    List,
}

#[derive(Clone, Copy)]
struct Open {
    kind: Kind,
    indent: usize,
}

struct Scan<'t, 'e> {
    rest: &'t str,
    open: Vec<Open>,
    /// The collection whose key or dash has no value yet.
    pending: Option<Open>,
    events: &'e mut dyn Events<'t>,
}

fn is_dash(content: &str) -> bool {
    content == "-" || content.starts_with("- ")
}

impl<'t> Scan<'t, '_> {
    /// The next line without its end.
    fn line(&mut self) -> Option<&'t str> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = self.rest;
        let end = line_end(rest);
        self.rest = rest.get(end + 1..).unwrap_or_default();
        Some(&rest[..end])
    }

    fn push(&mut self, kind: Kind, indent: usize) -> Told {
        if self.open.len() >= DEPTH {
            return Err(NotSimple);
        }
        self.open.push(Open { kind, indent });
        match kind {
            Kind::Map => self.events.map(),
            Kind::List => self.events.list(),
        }
    }

    /// The key or dash before has no value.
    fn missing(&mut self) -> Told {
        match self.pending.take() {
            Some(_) => self.events.scalar(Scalar::Missing),
            None => Ok(()),
        }
    }

    /// Finds the collection that a line belongs to: an open one, or one that begins here.
    fn place(&mut self, indent: usize, content: &str) -> Told {
        let dash = is_dash(content);
        let kind = if dash { Kind::List } else { Kind::Map };
        let begins = match self.pending {
            None => self.open.is_empty(),
            Some(above) => indent > above.indent || dash && above.kind == Kind::Map && indent == above.indent,
        };
        if begins {
            self.pending = None;
            return self.push(kind, indent);
        }
        self.missing()?;
        while let Some(top) = self.open.last() {
            // A sequence may stand as deep as the key above it.
            let over = top.indent > indent || top.indent == indent && top.kind == Kind::List && !dash;
            if !over {
                break;
            }
            self.open.pop();
            self.events.end()?;
        }
        match self.open.last() {
            Some(top) if top.indent == indent && top.kind == kind => Ok(()),
            _ => Err(NotSimple),
        }
    }

    /// The rest of a line from a column on, whose collection is open.
    fn item(&mut self, mut column: usize, mut content: &'t str) -> Told {
        while is_dash(content) {
            let inner = trim_start(&content[1..]);
            if comment(inner) {
                self.pending = self.open.last().copied();
                return Ok(());
            }
            column += content.len() - inner.len();
            content = inner;
            if is_dash(content) {
                self.push(Kind::List, column)?;
            } else if key(content).is_some() {
                self.push(Kind::Map, column)?;
            } else {
                return self.value(content);
            }
        }
        let (name, rest) = key(content).ok_or(NotSimple)?;
        self.events.key(name)?;
        let value = trim_start(rest);
        if value.is_empty() || value.starts_with('#') && value.len() < rest.len() {
            self.pending = self.open.last().copied();
            return Ok(());
        }
        self.value(value)
    }

    /// A value that begins in its line.
    fn value(&mut self, text: &'t str) -> Told {
        match text.as_bytes()[0] {
            b'|' | b'>' => {
                let block = self.block(text)?;
                self.events.scalar(Scalar::Block(block))
            }
            b'"' | b'\'' => {
                let (value, rest) = match quoted(text) {
                    Some(found) => found,
                    None => self.quoted_lines(text)?,
                };
                if !ends(rest) {
                    return Err(NotSimple);
                }
                self.events.scalar(Scalar::Quoted(value))
            }
            b'[' | b'{' => {
                let rest = line::flow(text, self.events, 0)?;
                if ends(rest) { Ok(()) } else { Err(NotSimple) }
            }
            _ => {
                let value = line::plain(text).ok_or(NotSimple)?;
                // After a comment the value cannot go on.
                let more = if value.len() == text.len() {
                    self.plain_lines(value)?
                } else {
                    None
                };
                self.events.scalar(match more {
                    Some(lines) => Scalar::Quoted(Cow::Owned(lines)),
                    None => Scalar::Plain(value),
                })
            }
        }
    }

    /// The next line that is not blank, if it stands deeper than the collection that is open: how many blank
    /// ones are before it, its content, and what follows it.
    fn deeper(&self) -> Option<(usize, &'t str, &'t str)> {
        let parent = self.open.last().map_or(0, |open| open.indent);
        let (mut rest, mut blank) = (self.rest, 0);
        loop {
            let indent = spaces(rest);
            match rest.as_bytes().get(indent) {
                None => return None,
                Some(b'\n') => {
                    blank += 1;
                    rest = &rest[indent + 1..];
                }
                Some(_) if indent <= parent => return None,
                Some(_) => {
                    let end = line_end(rest);
                    let after = rest.get(end + 1..).unwrap_or_default();
                    return Some((blank, trim_end(&rest[indent..end]), after));
                }
            }
        }
    }

    /// A plain scalar with the lines that continue it; they are never anything but a text.
    fn plain_lines(&mut self, first: &str) -> Result<Option<String>, NotSimple> {
        let mut text = None;
        while let Some((blank, content, after)) = self.deeper() {
            if content.starts_with('#') {
                break;
            }
            if !line::continues(content) {
                return Err(NotSimple);
            }
            let text = text.get_or_insert_with(|| first.to_owned());
            fold(text, blank, content);
            self.rest = after;
        }
        Ok(text)
    }

    /// A quoted scalar that ends in a later line.
    fn quoted_lines(&mut self, first: &str) -> Result<(Cow<'t, str>, &'t str), NotSimple> {
        let single = first.starts_with('\'');
        if line::closing(&first[1..], single).is_some() {
            return Err(NotSimple);
        }
        let mut text = first.to_owned();
        loop {
            let (blank, content, after) = self.deeper().ok_or(NotSimple)?;
            if text.ends_with('\\') || content.contains('\t') {
                return Err(NotSimple);
            }
            self.rest = after;
            if let Some(end) = line::closing(content, single) {
                fold(&mut text, blank, &content[..=end]);
                let (value, _) = quoted(&text).ok_or(NotSimple)?;
                return Ok((Cow::Owned(value.into_owned()), &content[end + 1..]));
            }
            fold(&mut text, blank, content);
        }
    }

    /// The lines below a `|` or `>`.
    fn block(&mut self, header: &str) -> Result<Block<'t>, NotSimple> {
        let folded = header.starts_with('>');
        let (chomp, rest) = match header.as_bytes().get(1) {
            Some(sign @ (b'-' | b'+')) => (Some(*sign), &header[2..]),
            _ => (None, &header[1..]),
        };
        if !ends(rest) {
            return Err(NotSimple);
        }
        let parent = self.open.last().map_or(0, |open| open.indent);
        let start = self.rest;
        let mut indent = 0;
        let mut deepest_blank = 0;
        let mut end = 0;
        while end < start.len() {
            let length = line_end(&start[end..]);
            let line = &start[end..end + length];
            let here = spaces(line);
            if here == line.len() {
                deepest_blank = deepest_blank.max(if indent == 0 { here } else { 0 });
            } else if indent == 0 {
                // Nothing but blank lines: an empty text, unless these count.
                if here <= parent && line.as_bytes()[here] != b'\t' && chomp != Some(b'+') {
                    self.rest = &start[end..];
                    return Ok(Block {
                        lines: "",
                        indent,
                        folded,
                        chomp,
                    });
                }
                if here <= parent || deepest_blank > here || line.as_bytes()[here] == b'\t' {
                    return Err(NotSimple);
                }
                indent = here;
            } else if here < indent {
                break;
            }
            end = (end + length + 1).min(start.len());
        }
        if indent == 0 {
            return Err(NotSimple);
        }
        self.rest = &start[end..];
        Ok(Block {
            lines: &start[..end],
            indent,
            folded,
            chomp,
        })
    }
}

/// Adds a line to a text: one end of a line is a space, each blank line an end of a line.
fn fold(text: &mut String, blank: usize, line: &str) {
    match blank {
        0 => text.push(' '),
        blank => text.extend(std::iter::repeat_n('\n', blank)),
    }
    text.push_str(line);
}

/// Whether nothing but a comment follows a value.
fn ends(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(' ') && comment(trim_start(rest))
}

impl Block<'_> {
    /// The text that the lines stand for; nothing if their folding is not simple.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let mut out = String::with_capacity(self.lines.len());
        // Ends of lines that have been met and not been written.
        let mut breaks = 0;
        for line in self.lines.split_inclusive('\n') {
            let ended = line.ends_with('\n');
            let content = line.strip_suffix('\n').unwrap_or(line);
            let content = content.get(self.indent..).unwrap_or_default();
            if self.folded && content.starts_with([' ', '\t']) {
                return None;
            }
            if !content.is_empty() {
                if self.folded && breaks > 0 && !out.is_empty() {
                    out.push_str(if breaks == 1 { " " } else { "" });
                    breaks -= 1;
                }
                out.extend(std::iter::repeat_n('\n', breaks));
                out.push_str(content);
                breaks = 0;
            }
            breaks += usize::from(ended);
        }
        match self.chomp {
            Some(b'-') => {}
            Some(_) => out.extend(std::iter::repeat_n('\n', breaks)),
            None if breaks > 0 && !out.is_empty() => out.push('\n'),
            None => {}
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests;
