//! What stands in one line: keys, quoted and plain scalars, collections in brackets.

use std::borrow::Cow;

use super::{Events, NotSimple, Scalar};

/// Collections in brackets may not nest deeper.
const DEPTH: usize = 8;

/// Bytes that keys, and words in brackets, are made of here.
const WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "it counts to 255")]
        let c = byte as u8;
        table[byte] =
            c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'/' | b'$' | b'-' | b'+' | b'=');
        byte += 1;
    }
    table
};

/// Bytes that may end a plain scalar, or make something else of it.
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    table[b'\t' as usize] = true;
    table[b':' as usize] = true;
    table[b'#' as usize] = true;
    table
};

/// How many spaces a text begins with. Patterns of the standard library take several times as long for that.
pub(super) fn spaces(text: &str) -> usize {
    let other = text.as_bytes().iter().position(|byte| *byte != b' ');
    other.unwrap_or(text.len())
}

/// A text without the spaces before it.
pub(super) fn trim_start(text: &str) -> &str {
    &text[spaces(text)..]
}

/// A text without the spaces behind it.
pub(super) fn trim_end(text: &str) -> &str {
    let last = text.as_bytes().iter().rposition(|byte| *byte != b' ');
    &text[..last.map_or(0, |last| last + 1)]
}

/// Where a line ends: at the end of the text, if it is the last one.
pub(super) fn line_end(text: &str) -> usize {
    memchr::memchr(b'\n', text.as_bytes()).unwrap_or(text.len())
}

/// A word's length.
fn word(text: &str) -> usize {
    let end = text.bytes().position(|byte| !WORD[usize::from(byte)]);
    end.unwrap_or(text.len())
}

/// Whether a text without space before it is empty or a comment.
pub(super) fn comment(text: &str) -> bool {
    text.is_empty() || text.starts_with('#')
}

/// A key at the beginning of a text, and what follows its colon.
pub(super) fn key(text: &str) -> Option<(Scalar<'_>, &str)> {
    let (key, rest) = match text.as_bytes().first()? {
        b'"' | b'\'' => {
            let (text, rest) = quoted(text)?;
            (Scalar::Quoted(text), rest)
        }
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'/' | b'$' => {
            let (name, rest) = text.split_at(word(text));
            (Scalar::Plain(name), rest)
        }
        _ => return None,
    };
    // Longer keys need a question mark before them.
    if text.len() - rest.len() > 512 {
        return None;
    }
    let rest = rest.strip_prefix(':')?;
    (rest.is_empty() || rest.starts_with(' ')).then_some((key, rest))
}

/// A quoted scalar at the beginning of a text, and what follows it. Its quotes end in the same line.
pub(super) fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let bytes = text.as_bytes();
    let quote = *bytes.first()?;
    let stop = |byte: &u8| *byte == quote || *byte == b'\t' || *byte == b'\\' && quote == b'"';
    let end = 1 + bytes[1..].iter().position(stop)?;
    if bytes[end] == quote && (quote == b'"' || bytes.get(end + 1) != Some(&b'\'')) {
        return Some((Cow::Borrowed(&text[1..end]), &text[end + 1..]));
    }
    let mut out = text[1..end].to_owned();
    let mut rest = &text[end..];
    loop {
        let at = rest.bytes().position(|byte| stop(&byte))?;
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let next = rest.as_bytes().get(1).copied();
        match (rest.as_bytes()[0], next) {
            (b'\\', Some(escaped)) => out.push(match escaped {
                b'"' => '"',
                b'\\' => '\\',
                b'n' => '\n',
                b't' => '\t',
                b'r' => '\r',
                _ => return None,
            }),
            (b'\'', Some(b'\'')) if quote == b'\'' => out.push('\''),
            (here, _) if here == quote => return Some((Cow::Owned(out), &rest[1..])),
            _ => return None,
        }
        rest = &rest[2..];
    }
}

/// A plain scalar that fills the rest of a line, apart from a comment.
pub(super) fn plain(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let begins = match bytes[0] {
        b'-' | b'?' | b':' => bytes.get(1).is_some_and(|next| *next != b' '),
        first => {
            first.is_ascii_alphanumeric()
                || first >= 0x80
                || matches!(
                    first,
                    b'_' | b'/' | b'.' | b'$' | b'(' | b'+' | b'<' | b'=' | b'~' | b'^' | b';' | b'\\'
                )
        }
    };
    if !begins {
        return None;
    }
    let (mut end, mut from) = (text.len(), 0);
    while let Some(offset) = bytes[from..].iter().position(|byte| SPECIAL[usize::from(*byte)]) {
        let at = from + offset;
        match bytes[at] {
            b'\t' => return None,
            b':' if bytes.get(at + 1).is_none_or(|next| *next == b' ') => return None,
            b'#' if at > 0 && bytes[at - 1] == b' ' => {
                end = at;
                break;
            }
            _ => from = at + 1,
        }
    }
    let text = trim_end(&text[..end]);
    // These mean something else than a value, or a marker of documents in some readers.
    (!matches!(text, "<<" | "=")).then_some(text)
}

/// Whether a line that goes on with a plain scalar does so to its end.
pub(super) fn continues(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'\t' => false,
        b':' => bytes.get(at + 1).is_some_and(|next| *next != b' '),
        b'#' => at > 0 && bytes[at - 1] != b' ',
        _ => true,
    })
}

/// Where a quoted scalar ends in a line that belongs to it.
pub(super) fn closing(text: &str, single: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\'' if single => {
                if bytes.get(at + 1) != Some(&b'\'') {
                    return Some(at);
                }
                at += 1;
            }
            b'"' if !single => return Some(at),
            b'\\' if !single => at += 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// A collection in brackets that ends in its line; gives what follows it.
pub(super) fn flow<'t>(
    text: &'t str,
    events: &mut dyn Events<'t>,
    depth: usize,
) -> Result<&'t str, NotSimple> {
    if depth > DEPTH {
        return Err(NotSimple);
    }
    let map = text.starts_with('{');
    let close = if map { '}' } else { ']' };
    if map { events.map() } else { events.list() }?;
    let mut rest = trim_start(&text[1..]);
    if let Some(rest) = rest.strip_prefix(close) {
        events.end()?;
        return Ok(rest);
    }
    loop {
        if map {
            let (name, after) = key(rest).ok_or(NotSimple)?;
            events.key(name)?;
            rest = trim_start(after.strip_prefix(' ').ok_or(NotSimple)?);
        }
        rest = trim_start(flow_value(rest, events, depth)?);
        if let Some(after) = rest.strip_prefix(',') {
            rest = trim_start(after);
            continue;
        }
        let after = rest.strip_prefix(close).ok_or(NotSimple)?;
        events.end()?;
        return Ok(after);
    }
}

fn flow_value<'t>(text: &'t str, events: &mut dyn Events<'t>, depth: usize) -> Result<&'t str, NotSimple> {
    match text.as_bytes().first() {
        Some(b'[' | b'{') => flow(text, events, depth + 1),
        Some(b'"' | b'\'') => {
            let (value, rest) = quoted(text).ok_or(NotSimple)?;
            events.scalar(Scalar::Quoted(value))?;
            Ok(rest)
        }
        Some(first) if first.is_ascii_alphanumeric() || matches!(first, b'_' | b'.' | b'/' | b'$') => {
            let (name, rest) = text.split_at(word(text));
            // A colon would make a key of it.
            if trim_start(rest).starts_with([',', ']', '}']) {
                events.scalar(Scalar::Plain(name))?;
                return Ok(rest);
            }
            Err(NotSimple)
        }
        _ => Err(NotSimple),
    }
}
