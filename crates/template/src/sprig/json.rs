//! What Go's JSON decoder says of a text that is no JSON: its words name the byte and the place.

use crate::quote::quote_char;

/// Go's error for a text; none if it is JSON after all.
#[must_use]
pub fn go_json_error(text: &str) -> Option<String> {
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: 0,
    };
    scanner.space();
    if let Err(error) = scanner.value(0) {
        return Some(error);
    }
    scanner.space();
    if scanner.at < scanner.bytes.len() {
        return scanner.bad("after top-level value").err();
    }
    None
}

/// Go's error for the first value of a stream of JSON, with the byte at which it gave up; none if the value is one.
#[must_use]
pub fn go_json_stream_error(text: &str) -> Option<String> {
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: 0,
    };
    scanner.space();
    let error = scanner.value(0).err()?;
    Some(match scanner.at < scanner.bytes.len() {
        true => format!("json: offset {}: {error}", scanner.at + 1),
        false => "unexpected EOF".to_owned(),
    })
}

struct Scanner<'t> {
    bytes: &'t [u8],
    at: usize,
}

type Step = Result<(), String>;

/// Where no control character may be.
const IN_STRING: &str = "in string literal";

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn bad(&self, place: &str) -> Step {
        let Some(byte) = self.peek() else {
            // A text ends as if a space followed, which words and numbers do not take.
            let open = ["in ", "after decimal"]
                .iter()
                .any(|start| place.starts_with(start));
            return Err(if open && place != IN_STRING {
                format!("invalid character ' ' {place}")
            } else {
                "unexpected end of JSON input".to_owned()
            });
        };
        let shown = match byte {
            b'\'' => r"'\''".to_owned(),
            b'"' => "'\"'".to_owned(),
            // Go quotes the single byte.
            _ => quote_char(char::from(byte), false),
        };
        Err(format!("invalid character {shown} {place}"))
    }

    fn value(&mut self, depth: usize) -> Step {
        if depth > 10_000 {
            return Err("exceeded max depth".to_owned());
        }
        match self.peek() {
            Some(b'{') => stacker::maybe_grow(64 << 10, 1 << 20, || self.object(depth)),
            Some(b'[') => stacker::maybe_grow(64 << 10, 1 << 20, || self.array(depth)),
            Some(b'"') => self.string(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.bad("looking for beginning of value"),
        }
    }

    fn object(&mut self, depth: usize) -> Step {
        self.at += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return self.bad("looking for beginning of object key string");
            }
            self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return self.bad("after object key");
            }
            self.at += 1;
            self.space();
            self.value(depth + 1)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.bad("after object key:value pair"),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Step {
        self.at += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            self.value(depth + 1)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.bad("after array element"),
            }
        }
    }

    fn string(&mut self) -> Step {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"') => self.at += 1,
                        Some(b'u') => {
                            self.at += 1;
                            for _ in 0..4 {
                                if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                                    return self.bad(r"in \u hexadecimal character escape");
                                }
                                self.at += 1;
                            }
                        }
                        _ => return self.bad("in string escape code"),
                    }
                }
                Some(byte) if byte >= b' ' => self.at += 1,
                _ => return self.bad(IN_STRING),
            }
        }
    }

    fn word(&mut self, word: &str) -> Step {
        for expected in word.chars() {
            if self.peek().map(char::from) != Some(expected) {
                return self.bad(&format!("in literal {word} (expecting '{expected}')"));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn digits(&mut self, place: &str) -> Step {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return self.bad(place);
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Step {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::go_json_error;

    #[test]
    fn errors_are_gos() {
        let error = |text| go_json_error(text).unwrap_or_default();
        assert_eq!(error("{\"a\":1}"), "");
        assert_eq!(error("{"), "unexpected end of JSON input");
        assert_eq!(error("\"a"), "unexpected end of JSON input");
        assert_eq!(
            error("tru"),
            "invalid character ' ' in literal true (expecting 'e')"
        );
        assert_eq!(error("-"), "invalid character ' ' in numeric literal");
        assert_eq!(
            error("{'a':1}"),
            r"invalid character '\'' looking for beginning of object key string"
        );
        assert_eq!(error("{\"a\":1}x"), "invalid character 'x' after top-level value");
        assert_eq!(
            error("nul "),
            "invalid character ' ' in literal null (expecting 'l')"
        );
    }
}
