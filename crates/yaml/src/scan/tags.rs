//! Anchors, aliases, tags and directives.

use std::borrow::Cow;

use super::{Kind, Mark, Scanner};
use crate::error::Error;

impl<'a> Scanner<'a> {
    pub(super) fn scan_anchor(&mut self) -> Result<(), Error> {
        let start = self.mark();
        let alias = self.at(0) == b'*';
        self.skip(1);
        let name = self.take_while(is_name_byte);
        let closed = self.is_blank_or_end(0)
            || matches!(self.at(0), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if name.is_empty() || !closed {
            let what = if alias { "alias" } else { "anchor" };
            return Err(self.error(
                start,
                format!("did not find the letters, digits, '-' or '_' expected as name of an {what}"),
            ));
        }
        self.push(
            if alias {
                Kind::Alias(name)
            } else {
                Kind::Anchor(name)
            },
            start,
        );
        Ok(())
    }

    pub(super) fn scan_tag(&mut self) -> Result<(), Error> {
        let start = self.mark();
        let (handle, suffix);
        if self.at(1) == b'<' {
            self.skip(2);
            handle = "";
            suffix = self.tag_uri(start)?;
            if self.at(0) != b'>' {
                return Err(self.error(start, "did not find the '>' expected at the end of a tag"));
            }
            self.skip(1);
        } else {
            let from = self.pos;
            self.skip(1);
            self.take_while(is_name_byte);
            if self.at(0) == b'!' && self.pos > from {
                self.skip(1);
                handle = &self.text[from..self.pos];
                suffix = self.tag_uri(start)?;
                if suffix.is_empty() {
                    return Err(self.error(start, "did not find a tag after its handle"));
                }
            } else {
                self.rewind(from + 1);
                let rest = self.tag_uri(start)?;
                if rest.is_empty() {
                    handle = "";
                    suffix = Cow::Borrowed("!");
                } else {
                    handle = "!";
                    suffix = rest;
                }
            }
        }
        if !self.is_blank_or_end(0) && (self.flow_level == 0 || !matches!(self.at(0), b',' | b']' | b'}')) {
            return Err(self.error(
                start,
                "did not find the white space or line break expected after a tag",
            ));
        }
        self.push(Kind::Tag { handle, suffix }, start);
        Ok(())
    }

    pub(super) fn scan_directive(&mut self) -> Result<(), Error> {
        let start = self.mark();
        self.skip(1);
        let name = self.take_while(is_name_byte);
        match name {
            "YAML" => {
                self.skip_blanks();
                let major = self.take_while(|byte| byte.is_ascii_digit());
                let dot = self.at(0) == b'.';
                if dot {
                    self.skip(1);
                }
                let minor = self.take_while(|byte| byte.is_ascii_digit());
                if !dot || major.is_empty() || minor.is_empty() {
                    return Err(self.error(
                        start,
                        "did not find expected digit or '.' character of a version like 1.1",
                    ));
                }
                let known = major == "1" && minor == "1";
                self.push(Kind::VersionDirective { known }, start);
            }
            "TAG" => {
                self.skip_blanks();
                let from = self.pos;
                if self.at(0) == b'!' {
                    self.skip(1);
                    self.take_while(is_name_byte);
                    if self.at(0) == b'!' {
                        self.skip(1);
                    }
                }
                let handle = &self.text[from..self.pos];
                let spaced = self.is_blank(0);
                self.skip_blanks();
                let prefix = self.tag_uri(start)?;
                if handle.is_empty() || !spaced || prefix.is_empty() {
                    return Err(self.error(start, "did not find the handle and prefix of a %TAG directive"));
                }
                self.push(Kind::TagDirective { handle, prefix }, start);
            }
            _ => {
                return Err(self.error(
                    start,
                    format!("found unknown directive '%{name}': %YAML and %TAG are known"),
                ));
            }
        }
        self.skip_blanks();
        if self.at(0) == b'#' {
            self.skip_to(self.line_end());
        }
        if !self.is_break_or_end(0) {
            return Err(self.error(
                self.mark(),
                "did not find the comment or line break expected after a directive",
            ));
        }
        self.skip_break();
        Ok(())
    }

    fn skip_blanks(&mut self) {
        while self.is_blank(0) {
            self.pos += 1;
        }
    }

    fn rewind(&mut self, to: usize) {
        self.pos = to;
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a str {
        let start = self.pos;
        let len = self.bytes[start..]
            .iter()
            .take_while(|byte| accept(**byte))
            .count();
        self.skip(len);
        &self.text[start..self.pos]
    }

    fn tag_uri(&mut self, start: Mark) -> Result<Cow<'a, str>, Error> {
        // Commas and brackets too, even between brackets: `[!a, b]` holds one item.
        let raw = self.take_while(|byte| is_name_byte(byte) || b",[];/?:@&=+$.!~*'()%".contains(&byte));
        if !raw.contains('%') {
            return Ok(Cow::Borrowed(raw));
        }
        let mut bytes = Vec::with_capacity(raw.len());
        let mut rest = raw.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            if first != b'%' {
                bytes.push(first);
                rest = after;
                continue;
            }
            let octet = after
                .get(..2)
                .and_then(|digits| std::str::from_utf8(digits).ok())
                .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                .ok_or_else(|| self.error(start, "did not find two hexadecimal digits after '%' in a tag"))?;
            bytes.push(octet);
            rest = &after[2..];
        }
        String::from_utf8(bytes)
            .map(Cow::Owned)
            .map_err(|_| self.error(start, "found escapes in a tag that are no UTF-8"))
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

#[cfg(test)]
mod tests {
    use crate::{EmitOptions, ReadOptions, emit, parse_documents};

    fn again(text: &str) -> Result<String, String> {
        let nodes = parse_documents(text, &ReadOptions::default()).map_err(|error| error.to_string())?;
        Ok(nodes
            .iter()
            .map(|node| emit(node, &EmitOptions::default()))
            .collect())
    }

    #[test]
    fn tags_are_read_and_written_as_go_yaml_does() {
        for (text, written) in [
            ("[!a, b]\n", "[!a, b]\n"),
            ("!<!a%2Cb%5B%7B%25> x\n", "!a,b[%7B%25 x\n"),
            ("[!<!a> b]\n", "[!a b]\n"),
            ("!<!a!b> x\n", "!a%21b x\n"),
            ("!<![0> x\n", "![0 x\n"),
            ("! <<\n", "!!merge <<\n"),
            ("! 1\n", "1\n"),
        ] {
            assert_eq!(again(text).as_deref(), Ok(written), "{text}");
            assert_eq!(again(written).as_deref(), Ok(written), "{written}");
        }
    }

    #[test]
    fn a_tag_takes_the_brackets_that_follow_it() {
        for text in ["[!a]\n", "!a{b\n", "!a#b\n"] {
            let error = again(text).expect_err(text);
            assert!(error.contains("did not find"), "{text}: {error}");
        }
    }
}
