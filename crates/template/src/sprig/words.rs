//! Text as words: cases, wrapping, abbreviations.

use crate::function::{FunctionResult, Functions, Params, Type, text};
use crate::value::{IntType, Value};

use super::cases::{pascal, separated};
use super::strings::{lower, upper};
use super::{int_at, text_at};

const INT: Type = Type::Int(IntType::Int);

pub(super) fn register(functions: &mut Functions) {
    let s1 = || Params::fixed(&[Type::Str]);
    functions.pure("title", s1(), |v| text(title(text_at(v, 0))));
    functions.pure("untitle", s1(), |v| text(map_first(text_at(v, 0), lower)));
    functions.pure("nospace", s1(), |v| text(no_space(text_at(v, 0))));
    functions.pure("initials", s1(), |v| text(initials(text_at(v, 0))));
    functions.pure("swapcase", s1(), |v| text(swap_case(text_at(v, 0))));
    functions.pure("snakecase", s1(), |v| text(separated(text_at(v, 0), '_')));
    functions.pure("kebabcase", s1(), |v| text(separated(text_at(v, 0), '-')));
    functions.pure("camelcase", s1(), |v| text(pascal(text_at(v, 0))));
    functions.pure("wrap", Params::fixed(&[INT, Type::Str]), |v| {
        text(wrap(text_at(v, 1), int_at(v, 0), "\n", false))
    });
    functions.pure("wrapWith", Params::fixed(&[INT, Type::Str, Type::Str]), |v| {
        let newline = if text_at(v, 1).is_empty() {
            "\n"
        } else {
            text_at(v, 1)
        };
        text(wrap(text_at(v, 2), int_at(v, 0), newline, true))
    });
    functions.pure("abbrev", Params::fixed(&[INT, Type::Str]), |v| {
        text(abbreviate(text_at(v, 1), 0, int_at(v, 0)))
    });
    functions.pure(
        "abbrevboth",
        Params::fixed(&[INT, INT, Type::Str]),
        abbreviate_both,
    );
}

/// A text without white space. The reference takes each byte for a character: what is not ASCII comes out mangled.
fn no_space(body: &str) -> String {
    body.bytes()
        .map(char::from)
        .filter(|c| !c.is_whitespace())
        .collect()
}

/// Go's old `strings.Title`: a letter after anything that is no letter, digit or underscore.
fn title(words: &str) -> String {
    let mut before = ' ';
    words
        .chars()
        .map(|c| {
            let starts = is_separator(before);
            before = c;
            if starts { upper(c) } else { c }
        })
        .collect()
}

fn is_separator(c: char) -> bool {
    if c.is_ascii() {
        return !(c.is_ascii_alphanumeric() || c == '_');
    }
    !c.is_alphanumeric() && c.is_whitespace()
}

fn map_first(words: &str, change: fn(char) -> char) -> String {
    let mut at_start = true;
    words
        .chars()
        .map(|c| {
            let starts = at_start && !c.is_whitespace();
            at_start = c.is_whitespace();
            if starts { change(c) } else { c }
        })
        .collect()
}

/// The first letter of each word; each byte counts as a character.
fn initials(words: &str) -> String {
    let mut before_space = true;
    let mut out = String::new();
    for c in words.bytes().map(char::from) {
        if before_space && !c.is_whitespace() {
            out.push(c);
        }
        before_space = c.is_whitespace();
    }
    out
}

fn swap_case(words: &str) -> String {
    let mut at_start = true;
    words
        .chars()
        .map(|c| {
            let starts = std::mem::replace(&mut at_start, c.is_whitespace());
            if c.is_uppercase() {
                lower(c)
            } else if c.is_lowercase() {
                if starts { title_case(c) } else { upper(c) }
            } else {
                c
            }
        })
        .collect()
}

fn title_case(c: char) -> char {
    upper(c)
}

/// Breaks lines at spaces so that they are at most `width` long, as `goutils.WrapCustom`.
fn wrap(words: &str, width: i64, newline: &str, split_long: bool) -> String {
    let width = usize::try_from(width).unwrap_or(0).max(1);
    let bytes = words.as_bytes();
    let mut out: Vec<u8> = Vec::with_capacity(words.len() + 16);
    let mut offset = 0;
    while bytes.len().saturating_sub(offset) > width {
        if bytes[offset] == b' ' {
            offset += 1;
            continue;
        }
        let end = width + offset + 1;
        let space = bytes[offset..end.min(bytes.len())]
            .iter()
            .rposition(|byte| *byte == b' ')
            .map(|at| at + offset);
        match space {
            Some(space) if space >= offset => {
                out.extend_from_slice(&bytes[offset..space]);
                out.extend_from_slice(newline.as_bytes());
                offset = space + 1;
            }
            _ if split_long => {
                let mut cut = width + offset;
                while cut < bytes.len() && !words.is_char_boundary(cut) {
                    cut += 1;
                }
                out.extend_from_slice(&bytes[offset..cut]);
                out.extend_from_slice(newline.as_bytes());
                offset = cut;
            }
            _ => match bytes[(width + offset).min(bytes.len())..]
                .iter()
                .position(|byte| *byte == b' ')
            {
                Some(at) => {
                    let space = at + width + offset;
                    out.extend_from_slice(&bytes[offset..space]);
                    out.extend_from_slice(newline.as_bytes());
                    offset = space + 1;
                }
                None => {
                    out.extend_from_slice(&bytes[offset..]);
                    offset = bytes.len();
                }
            },
        }
    }
    out.extend_from_slice(&bytes[offset.min(bytes.len())..]);
    String::from_utf8_lossy(&out).into_owned()
}

/// Cuts to a width with `...`, starting near an offset; widths under 4 change nothing.
fn abbreviate(words: &str, offset: i64, width: i64) -> String {
    let length = i64::try_from(words.len()).unwrap_or(i64::MAX);
    if width < 4 || (offset > 0 && width < 7) || length <= width {
        return words.to_owned();
    }
    let cut = |from: i64, to: i64| {
        let range = usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0).min(words.len());
        String::from_utf8_lossy(words.as_bytes().get(range).unwrap_or_default()).into_owned()
    };
    let mut offset = offset.min(length);
    // As in Go, sums wrap around.
    if length.wrapping_sub(offset) < width - 3 {
        offset = length - (width - 3);
    }
    if offset <= 4 {
        return cut(0, width - 3) + "...";
    }
    if offset.wrapping_add(width - 3) < length {
        return "...".to_owned() + &abbreviate(&cut(offset, length), 0, width - 3);
    }
    "...".to_owned() + &cut(length - (width - 3), length)
}

fn abbreviate_both(values: &[Value]) -> FunctionResult {
    let (left, right, words) = (int_at(values, 0), int_at(values, 1), text_at(values, 2));
    if right < 4 || (left > 0 && right < 7) {
        return text(words);
    }
    text(abbreviate(words, left, right))
}
