//! Go's `strconv.Quote` and `strconv.Unquote`.

use std::fmt::Write as _;

use crate::bytes::stands_for;

/// A double-quoted Go string literal.
#[must_use]
pub fn quote(text: &str) -> String {
    quote_with(text, '"', false)
}

/// A double-quoted literal with everything beyond ASCII escaped (`%+q`).
pub(crate) fn quote_ascii(text: &str) -> String {
    quote_with(text, '"', true)
}

/// A single-quoted rune literal (`%q` of an integer).
#[must_use]
pub fn quote_char(c: char, ascii: bool) -> String {
    quote_with(c.encode_utf8(&mut [0; 4]), '\'', ascii)
}

fn quote_with(text: &str, delimiter: char, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(delimiter);
    for c in text.chars() {
        match c {
            c if c == delimiter || c == '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if let Some(byte) = stands_for(c) => {
                let _ = write!(out, "\\x{byte:02x}");
            }
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            // Writing into a String cannot fail.
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if c.is_ascii() || (!ascii && is_printable(c)) => out.push(c),
            c if u32::from(c) < 0x10000 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
        }
    }
    out.push(delimiter);
    out
}

/// Go's `strconv.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
#[must_use]
pub fn is_printable(c: char) -> bool {
    let code = u32::from(c);
    let separator = matches!(
        c,
        '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200a}' | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    );
    let format = matches!(c, '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    let private = matches!(code, 0xe000..=0xf8ff | 0xf0000..=0x10ffff)
        || code & 0xfffe == 0xfffe
        || (0xe0000..=0xe007f).contains(&code);
    !c.is_control() && !separator && !format && !private
}

/// The value of a Go string or rune literal with its quotes; `None` if it is malformed.
pub(crate) fn unquote(literal: &str) -> Option<String> {
    let delimiter = literal.chars().next()?;
    let inner = literal.strip_prefix(delimiter)?.strip_suffix(delimiter)?;
    if delimiter == '`' {
        return Some(inner.replace('\r', ""));
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c == delimiter || c == '\n' {
            return None;
        }
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = chars.next()?;
        let mut digits = |count: usize, first: Option<char>, radix: u32| -> Option<u32> {
            let mut value = first.map_or(Some(0), |c| c.to_digit(radix))?;
            for _ in 0..count {
                value = value * radix + chars.next()?.to_digit(radix)?;
            }
            Some(value)
        };
        match escape {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            '\\' => out.push(b'\\'),
            'x' => out.push(u8::try_from(digits(2, None, 16)?).ok()?),
            '0'..='7' => out.push(u8::try_from(digits(2, Some(escape), 8)?).ok()?),
            'u' | 'U' => {
                let c = char::from_u32(digits(if escape == 'u' { 4 } else { 8 }, None, 16)?)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            c if c == delimiter => out.push(u8::try_from(c).ok()?),
            _ => return None,
        }
    }
    Some(crate::bytes::from_bytes(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_goes_both_ways() {
        for text in ["", "a\"b", "tab\tnl\n", "é世😀", "\u{1}\\", "\u{200b}"] {
            assert_eq!(unquote(&quote(text)).as_deref(), Some(text), "{}", quote(text));
        }
        assert_eq!(quote("\u{200b}\u{1}"), "\"\\u200b\\x01\"");
        assert_eq!(unquote(r#""\101\x41A""#).as_deref(), Some("AAA"));
        assert_eq!(unquote(r#""\q""#), None);
    }
}
