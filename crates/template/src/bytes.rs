//! Go's strings are bytes, ours are text. Bytes that are no UTF-8 (a keystore out of `.Files.Get`, what
//! `b64dec` gives) travel inside of texts as characters from the last 128 code points, which nobody else
//! uses; functions that look at bytes turn them back.

use std::borrow::Cow;

/// The character that stands for byte 0x00 would be here; only those from 0x80 are used.
const BASE: u32 = 0x0010_FF00;

/// Bytes as a text that [`to_bytes`] turns back into them.
#[must_use]
pub fn from_bytes(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() * 2);
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        let stand_ins = chunk.invalid().iter().map(|byte| BASE + u32::from(*byte));
        out.extend(stand_ins.filter_map(char::from_u32));
    }
    Cow::Owned(out)
}

/// The byte that a character stands for, if it is not a character of its own.
#[must_use]
pub fn stands_for(c: char) -> Option<u8> {
    let offset = u32::from(c).checked_sub(BASE)?;
    u8::try_from(offset).ok().filter(|byte| *byte >= 0x80)
}

/// Whether a text holds bytes that are no UTF-8.
#[must_use]
pub fn is_binary(text: &str) -> bool {
    // All stand-ins begin with this byte in UTF-8, and hardly anything else does.
    text.as_bytes().contains(&0xF4) && text.chars().any(|c| stands_for(c).is_some())
}

/// The bytes of a text, as Go sees them.
#[must_use]
pub fn to_bytes(text: &str) -> Cow<'_, [u8]> {
    if !is_binary(text) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        match stands_for(c) {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(out)
}

/// The text with a replacement character for each byte that is no UTF-8, as encoders to text write them.
#[must_use]
pub fn lossy(text: String) -> String {
    if is_binary(&text) {
        text.chars()
            .map(|c| stands_for(c).map_or(c, |_| char::REPLACEMENT_CHARACTER))
            .collect()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_come_back_whole() {
        let bytes: Vec<u8> = (0..=255).chain(*b"text \xe4\xb8\x96 \xe4\xb8").collect();
        let text = from_bytes(&bytes);
        assert!(is_binary(&text));
        assert_eq!(&*to_bytes(&text), bytes);
        assert!(!is_binary("plain \u{1F600}"));
        assert_eq!(lossy(from_bytes(b"a\xff").into_owned()), "a\u{fffd}");
    }
}
