//! Cutting a long text into runs of whole documents, to be read side by side.

use memchr::{memchr_iter, memchr3, memmem};

use crate::error::Error;
use crate::node::Pos;

/// A run of whole documents of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    pub(crate) text: &'a str,
    /// How many lines are before it.
    pub(crate) line: u32,
}

impl<'a> Part<'a> {
    /// The text of the part.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// How many lines are before the part.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.line
    }
}

/// Whether a document of a text may end or begin otherwise than by a line `---`: by the marker `...`, a directive, or
/// something behind `---`. Then reading the parts between such lines ([`separated`]) gives other documents than reading
/// the whole.
#[must_use]
pub fn ends_oddly(text: &str) -> bool {
    let odd = |line: &[u8]| match line.first() {
        Some(b'.') => line.starts_with(b"..."),
        Some(b'%') => true,
        Some(b'-') => line.starts_with(b"---") && !is_separator(line),
        _ => false,
    };
    let bytes = text.as_bytes();
    matches!(bytes.first(), Some(b'.' | b'%')) && odd(bytes)
        || memchr_iter(b'\n', bytes).any(|at| odd(&bytes[at + 1..]))
}

/// Whether nothing but a comment follows the `---` that a line begins with.
fn is_separator(line: &[u8]) -> bool {
    let end = memchr::memchr(b'\n', line).unwrap_or(line.len());
    let behind = line[3..end].trim_ascii();
    behind.is_empty() || behind.starts_with(b"#")
}

/// The parts of a text between lines that begin with `---`, as kustomize cuts it before it reads one document of each.
///
/// # Errors
/// Something else than a comment follows `---` in its line.
pub fn separated(text: &str) -> Result<Vec<Part<'_>>, Error> {
    let mut parts = Vec::new();
    let (mut start, mut start_line) = (0, 0);
    let (mut at, mut line) = (0, 0);
    while let Some(end) = memchr::memchr(b'\n', &text.as_bytes()[at..]) {
        (at, line) = (at + end + 1, line + 1);
        let rest = &text[at..];
        let Some(end) = rest.find('\n').filter(|_| rest.starts_with("---")) else {
            continue;
        };
        if !is_separator(rest.as_bytes()) {
            let pos = Pos {
                line: line + 1,
                column: 1,
                ..Pos::NONE
            };
            let message = format!("invalid document separator: {}", rest[..end].trim());
            return Err(Error::new(pos, message));
        }
        parts.push(Part {
            text: &text[start..at],
            line: start_line,
        });
        // The line break of a separator belongs to it: another one does not follow at once.
        (at, line) = (at + end + 1, line + 1);
        (start, start_line) = (at, line);
    }
    if !text.is_empty() {
        parts.push(Part {
            text: &text[start..],
            line: start_line,
        });
    }
    Ok(parts)
}

/// Cuts a text into at most `count` runs of documents of about the same length. Read one by one with
/// [`crate::parse_part`], they give what [`crate::parse_documents`] gives, but for comments, which a whole text may
/// give to a document before the one that they stand in; if one is in error, only reading the whole text tells which
/// error it is.
#[must_use]
pub fn parts(text: &str, count: usize) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut start, mut line) = (0, 0);
    if only_plain_breaks(text) {
        for number in 1..count {
            let Some(end) = boundary(text, start.max(text.len() / count * number)) else {
                break;
            };
            let part = &text[start..end];
            parts.push(Part { text: part, line });
            start = end;
            line += u32::try_from(memchr_iter(b'\n', part.as_bytes()).count()).unwrap_or(u32::MAX);
        }
    }
    parts.push(Part {
        text: &text[start..],
        line,
    });
    parts
}

/// Whether `\n` is the only line break.
fn only_plain_breaks(text: &str) -> bool {
    let bytes = text.as_bytes();
    // The first bytes of the others: a carriage return, U+0085, U+2028 and U+2029.
    memchr3(b'\r', 0xC2, 0xE2, bytes).is_none() || !text.contains(['\r', '\u{85}', '\u{2028}', '\u{2029}'])
}

/// Where the first document behind `from` begins whose marker stands alone in its line between two with content, so
/// that no comment is parted from what it belongs to: one behind the marker may be a foot comment of what is before.
fn boundary(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    memmem::find_iter(&bytes[from..], b"\n---\n").find_map(|at| {
        let end = from + at;
        let start = memchr::memrchr(b'\n', &bytes[..end]).map_or(0, |before| before + 1);
        let holds = |line: &[u8]| {
            let line = line.trim_ascii_start();
            !line.is_empty() && !line.starts_with(b"#")
        };
        let after = &bytes[end + b"\n---\n".len()..];
        let after = &after[..memchr::memchr(b'\n', after).unwrap_or(after.len())];
        (holds(&bytes[start..end]) && holds(after)).then_some(end + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Node, ReadOptions, parse_documents, parse_part};

    fn read(text: &str, count: usize) -> Vec<Node> {
        let options = ReadOptions::default();
        parts(text, count)
            .iter()
            .flat_map(|part| parse_part(part, &options).unwrap())
            .collect()
    }

    #[test]
    fn parts_read_as_the_whole_does_with_the_same_places() {
        let mut text = String::from("# head\nfirst: 1\n# foot\n");
        for number in 0..40 {
            text.push_str("---\na: |\n  --- no marker\n  # of this one\n  x\nb: [1,\n 2] # line\n");
            if number % 3 == 0 {
                text.push_str("\n# between\n\n");
            }
        }
        let whole = parse_documents(&text, &ReadOptions::default()).unwrap();
        assert_eq!(whole.len(), 41);
        for count in 1..12 {
            assert_eq!(parts(&text, count).len(), count);
            assert_eq!(read(&text, count), whole, "{count} parts");
        }
    }

    #[test]
    fn empty_documents_are_documents_in_parts_too() {
        let text = "---\n---\n---\na: 1\n---\n";
        let whole = parse_documents(text, &ReadOptions::default()).unwrap();
        assert_eq!(read(text, 4), whole);
    }

    #[test]
    fn texts_without_a_safe_place_stay_whole() {
        for text in [
            "",
            "a: 1\n",
            "a: 1\r\n---\r\nb: 1\n---\nc: 2\n",
            "a: 1\n# x\n---\nb: 1\n",
            "\n-\n\n-\n---\n#--\n",
        ] {
            assert_eq!(parts(text, 4), [Part { text, line: 0 }], "{text:?}");
        }
    }

    #[test]
    fn documents_that_end_by_other_marks_are_seen() {
        for text in [
            "a: 1\n...\nb: 2\n",
            "%YAML 1.1\n---\na: 1\n",
            "a: 1\n--- b\n",
            "a: 1\n---b\n",
        ] {
            assert!(ends_oddly(text), "{text:?}");
        }
        for text in ["", "--- a\n", "a: 1\n--- # b\n---\r\n- x\n.a: 1\n", "a: ...\n"] {
            assert!(!ends_oddly(text), "{text:?}");
        }
    }

    #[test]
    fn separators_hold_nothing_but_comments() {
        let texts = |text| {
            separated(text).map(|parts| {
                parts
                    .iter()
                    .map(|part| (part.text, part.line))
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(
            texts("---\na: 1\n...\nb\n--- # c\n---\nd\n").unwrap(),
            [("---\na: 1\n...\nb\n", 0), ("---\nd\n", 5)]
        );
        assert_eq!(texts("").unwrap(), []);
        assert!(texts("a\n--- b\n").is_err());
    }
}
