//! Expressions as tokens. Places are counted in characters, as error texts show them.

use super::error::Issue;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    End,
    /// An operator or a bracket, or one of `in`, `true`, `false`, `null`.
    Sign(&'static str),
    Name,
    Int,
    Uint,
    Float,
    String(String),
    Bytes(Vec<u8>),
}

/// A token with its place and its text.
#[derive(Clone, Debug)]
pub(crate) struct Lexeme<'s> {
    pub(crate) token: Token,
    pub(crate) at: u32,
    pub(crate) text: &'s str,
}

const SIGNS: [&str; 22] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":",
    "+", "*",
];
const MORE_SIGNS: [&str; 2] = ["/", "%"];
const WORDS: [&str; 4] = ["in", "true", "false", "null"];

struct Lexer<'s> {
    source: &'s str,
    /// Byte and character offset.
    at: usize,
    count: u32,
    issues: Vec<Issue>,
}

/// All tokens, the last one is the end; and what is none.
pub(crate) fn lex(source: &str) -> (Vec<Lexeme<'_>>, Vec<Issue>) {
    let mut lexer = Lexer {
        source,
        at: 0,
        count: 0,
        issues: Vec::new(),
    };
    let mut out = Vec::new();
    while let Some(lexeme) = lexer.next() {
        out.push(lexeme);
    }
    out.push(Lexeme {
        token: Token::End,
        at: lexer.count,
        text: "<EOF>",
    });
    (out, lexer.issues)
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn skip(&mut self, bytes: usize) -> &'s str {
        let text = &self.source[self.at..self.at + bytes];
        self.at += bytes;
        self.count += u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        text
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{c}']).len();
            let comment = if rest[blank..].starts_with("//") {
                rest[blank..].find('\n').unwrap_or(rest.len() - blank)
            } else {
                0
            };
            if blank + comment == 0 {
                return;
            }
            self.skip(blank + comment);
        }
    }

    fn next(&mut self) -> Option<Lexeme<'s>> {
        loop {
            self.skip_blank();
            let rest = self.rest();
            let first = rest.chars().next()?;
            let at = self.count;
            let lexeme = |token, text| Some(Lexeme { token, at, text });
            match read_string(rest) {
                Text::Whole(token, length) => {
                    let text = self.skip(length);
                    return lexeme(token, text);
                }
                Text::Broken(length) => {
                    self.refuse(at, length);
                    continue;
                }
                Text::None => {}
            }
            if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()))
            {
                let (token, length) = number(rest);
                let text = self.skip(length);
                return lexeme(token, text);
            }
            if first.is_ascii_alphabetic() || first == '_' {
                let length = rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(rest.len());
                let text = self.skip(length);
                let word = WORDS.iter().find(|word| **word == text);
                return lexeme(word.map_or(Token::Name, |word| Token::Sign(word)), text);
            }
            let sign = SIGNS
                .iter()
                .chain(&MORE_SIGNS)
                .find(|sign| rest.starts_with(**sign));
            if let Some(sign) = sign {
                let text = self.skip(sign.len());
                return lexeme(Token::Sign(sign), text);
            }
            self.refuse(at, first.len_utf8());
        }
    }

    fn refuse(&mut self, at: u32, mut length: usize) {
        // What broke in the middle of a character takes all of it.
        while !self.rest().is_char_boundary(length) {
            length += 1;
        }
        let text = self
            .skip(length)
            .replace('\n', "\\n")
            .replace('\t', "\\t")
            .replace('\r', "\\r");
        let text = format!("Syntax error: token recognition error at: '{text}'");
        self.issues.push(Issue::new(at, text));
    }
}

fn number(rest: &str) -> (Token, usize) {
    let bytes = rest.as_bytes();
    let digits = |from: usize, hex: bool| {
        let good = |byte: &&u8| {
            if hex {
                byte.is_ascii_hexdigit()
            } else {
                byte.is_ascii_digit()
            }
        };
        from + bytes[from..].iter().take_while(good).count()
    };
    let unsigned = |end: usize| match bytes.get(end) {
        Some(b'u' | b'U') => (Token::Uint, end + 1),
        _ => (Token::Int, end),
    };
    if rest.starts_with("0x") && digits(2, true) > 2 {
        return unsigned(digits(2, true));
    }
    let whole = digits(0, false);
    let mut end = whole;
    if bytes.get(end) == Some(&b'.') && digits(end + 1, false) > end + 1 {
        end = digits(end + 1, false);
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let last = digits((end + 1 + sign).min(bytes.len()), false);
        if last > end + 1 + sign {
            end = last;
        }
    }
    if end > whole {
        (Token::Float, end)
    } else {
        unsigned(whole)
    }
}

enum Text {
    None,
    Whole(Token, usize),
    /// Not well formed up to here.
    Broken(usize),
}

fn read_string(rest: &str) -> Text {
    let lower = |at: usize| rest.as_bytes().get(at).map(u8::to_ascii_lowercase);
    let is_bytes = lower(0) == Some(b'b');
    let mut at = usize::from(is_bytes);
    let raw = lower(at) == Some(b'r');
    at += usize::from(raw);
    let quote = match rest.as_bytes().get(at) {
        Some(b'"') => "\"",
        Some(b'\'') => "'",
        _ => return Text::None,
    };
    let triple = quote.repeat(3);
    let long = rest[at..].starts_with(&triple);
    let close = if long { triple.as_str() } else { quote };
    at += close.len();
    let mut out = Vec::new();
    loop {
        let here = &rest[at..];
        if here.starts_with(close) {
            at += close.len();
            break;
        }
        let Some(character) = here.chars().next() else {
            return Text::Broken(rest.len());
        };
        if !long && matches!(character, '\n' | '\r') {
            return Text::Broken(at + 1);
        }
        if character != '\\' || raw {
            out.extend_from_slice(&here.as_bytes()[..character.len_utf8()]);
            at += character.len_utf8();
            continue;
        }
        match unescape(&here[1..], is_bytes, &mut out) {
            Ok(length) => at += 1 + length,
            Err(length) => return Text::Broken((at + 1 + length).min(rest.len())),
        }
    }
    let token = if is_bytes {
        Token::Bytes(out)
    } else {
        Token::String(String::from_utf8_lossy(&out).into_owned())
    };
    Text::Whole(token, at)
}

/// Reads what follows a backslash; the length read, or where it broke.
fn unescape(rest: &str, bytes: bool, out: &mut Vec<u8>) -> Result<usize, usize> {
    let Some(first) = rest.chars().next() else {
        return Err(0);
    };
    let plain = match first {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' | '\'' | '"' | '`' | '?' => first as u8,
        _ => 0,
    };
    if plain != 0 {
        out.push(plain);
        return Ok(1);
    }
    let (from, digits, radix) = match first {
        'x' | 'X' => (1, 2, 16),
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        '0'..='3' => (0, 3, 8),
        _ => return Err(first.len_utf8()),
    };
    let text = rest.get(from..from + digits).ok_or(1_usize)?;
    if !text.chars().all(|c| c.is_digit(radix)) {
        return Err(from + text.chars().take_while(|c| c.is_digit(radix)).count() + 1);
    }
    let code = u32::from_str_radix(text, radix).map_err(|_| from)?;
    match u8::try_from(code) {
        Ok(byte) if bytes && !matches!(first, 'u' | 'U') => out.push(byte),
        _ => {
            let character = char::from_u32(code).ok_or(from + digits)?;
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Ok(from + digits)
}
