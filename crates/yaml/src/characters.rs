//! Which characters a text may hold at all.

use crate::error::Error;
use crate::node::FileId;
use crate::scan::Mark;

/// Fails at the first control character.
pub(crate) fn check(text: &str, file: FileId) -> Result<(), Error> {
    let bytes = text.as_bytes();
    // Without a way out of the loop, the compiler looks at many bytes at a time.
    let suspect = bytes.iter().fold(false, |found, byte| {
        found
            | ((*byte < 0x20) & (*byte != b'\t') & (*byte != b'\n') & (*byte != b'\r'))
            | matches!(byte, 0x7F | 0xC2 | 0xEF)
    });
    let found = if suspect {
        text.char_indices().find(|(_, c)| {
            matches!(c, '\0'..='\x08' | '\x0B' | '\x0C' | '\x0E'..='\x1F' | '\x7F'..='\u{84}' | '\u{86}'..='\u{9F}' | '\u{FFFE}' | '\u{FFFF}')
        })
    } else {
        None
    };
    let Some((at, found)) = found else {
        return Ok(());
    };
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let mark = Mark {
        index: at,
        line: u32::try_from(before.matches('\n').count()).unwrap_or(u32::MAX - 1),
        column: u32::try_from(before[line_start..].chars().count()).unwrap_or(u32::MAX - 1),
    };
    Err(Error::new(
        mark.pos(file),
        format!("control characters are not allowed, found {found:?}"),
    ))
}
