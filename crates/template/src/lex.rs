//! Cuts a template's text into items, with Go's rules for delimiters, trimming and literals.

use crate::ast::Span;

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Error,
    Bool,
    Char,
    CharConstant,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    Dot,
    Nil,
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

impl Kind {
    fn is_keyword(self) -> bool {
        matches!(
            self,
            Kind::Dot
                | Kind::Nil
                | Kind::Block
                | Kind::Break
                | Kind::Continue
                | Kind::Define
                | Kind::Else
                | Kind::End
                | Kind::If
                | Kind::Range
                | Kind::Template
                | Kind::With
        )
    }
}

/// A piece of the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) kind: Kind,
    /// Byte offset of its start.
    pub(crate) pos: u32,
    /// Its bytes; an error has none.
    len: u32,
}

impl Item {
    /// Where it stands.
    pub(crate) fn span(self) -> Span {
        Span {
            pos: self.pos,
            end: self.pos + self.len,
        }
    }
}

/// All items of a text, at least one.
#[derive(Debug)]
pub(crate) struct Items<'a> {
    input: &'a str,
    items: Vec<Item>,
    /// What the error says that ends them, if one does.
    pub(crate) error: String,
}

impl<'a> Items<'a> {
    /// The index of the last one.
    pub(crate) fn last(&self) -> usize {
        self.items.len() - 1
    }

    /// What one is, if there are so many.
    pub(crate) fn kind(&self, index: usize) -> Option<Kind> {
        self.items.get(index).map(|item| item.kind)
    }

    /// An item; behind the last one that is the last.
    pub(crate) fn get(&self, index: usize) -> Item {
        match self.items.get(index) {
            Some(item) => *item,
            None => self.items[self.last()],
        }
    }

    /// What stands there.
    pub(crate) fn text(&self, item: Item) -> &'a str {
        let pos = item.pos as usize;
        &self.input[pos..pos + item.len as usize]
    }

    /// Line of an item's start, from 1. Few ask for it, so nobody counts before.
    pub(crate) fn line(&self, item: Item) -> usize {
        1 + memchr::memchr_iter(b'\n', &self.input.as_bytes()[..item.pos as usize]).count()
    }

    /// An item as parse errors quote it; errors tell their own text.
    pub(crate) fn describe(&self, item: Item) -> String {
        let text = self.text(item);
        match item.kind {
            Kind::Eof => "EOF".to_owned(),
            kind if kind.is_keyword() => format!("<{text}>"),
            _ if text.len() > 10 => {
                let head: String = text.chars().take(10).collect();
                format!("{}...", crate::quote::quote(&head))
            }
            _ => crate::quote::quote(text),
        }
    }
}

const LEFT: &[u8] = b"{{";
const RIGHT: &[u8] = b"}}";
/// What closes an action and trims behind it, after a space.
const TRIMMING: &[u8] = b"-}}";

/// Where the next action begins.
fn find_left(text: &[u8]) -> Option<usize> {
    let mut start = 0;
    loop {
        let at = start + memchr::memchr(b'{', &text[start..])?;
        if text.get(at + 1) == Some(&b'{') {
            return Some(at);
        }
        start = at + 1;
    }
}

/// What a byte of an action can be.
const SPACE: u8 = 1;
const ALPHANUMERIC: u8 = 2;
/// It ends a word, or nothing does.
const TERMINATOR: u8 = 4;

const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "it counts to 255")]
        let c = byte as u8;
        table[byte] = match c {
            b' ' | b'\t' | b'\r' | b'\n' => SPACE | TERMINATOR,
            b'.' | b',' | b'|' | b':' | b')' | b'(' => TERMINATOR,
            b'_' => ALPHANUMERIC,
            c if c.is_ascii_alphanumeric() => ALPHANUMERIC,
            _ => 0,
        };
        byte += 1;
    }
    table
};

fn is(class: u8, byte: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphabetic() || c.is_numeric()
}

fn left_trim(text: &[u8]) -> bool {
    matches!(text, [b'-', space, ..] if is(SPACE, *space))
}

/// Cuts the whole text; the last item is an error or the end.
pub(crate) fn lex(input: &str) -> Items<'_> {
    let mut lexer = Lexer {
        input,
        pos: 0,
        start: 0,
        // A guess that most templates fit in.
        items: Vec::with_capacity(input.len() / 12 + 8),
        error: String::new(),
        parens: 0,
    };
    if u32::try_from(input.len()).is_ok() {
        lexer.run();
    } else {
        // An error ends the lexing.
        let _ = lexer.error("the text is too long for a template");
    }
    Items {
        input,
        items: lexer.items,
        error: lexer.error,
    }
}

struct Lexer<'a> {
    input: &'a str,
    pos: usize,
    start: usize,
    items: Vec<Item>,
    error: String,
    parens: usize,
}

/// `Err` ends the lexing: an error item was emitted.
type Step = Result<(), ()>;

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.input[self.pos..]
    }

    fn bytes(&self) -> &[u8] {
        &self.input.as_bytes()[self.pos..]
    }

    fn byte(&self) -> Option<u8> {
        self.input.as_bytes().get(self.pos).copied()
    }

    fn peek(&self) -> Option<char> {
        match self.byte()? {
            byte if byte.is_ascii() => Some(char::from(byte)),
            _ => self.rest().chars().next(),
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn emit(&mut self, kind: Kind) {
        self.push(kind, self.pos - self.start);
        self.start = self.pos;
    }

    fn push(&mut self, kind: Kind, len: usize) {
        self.items.push(Item {
            kind,
            pos: short(self.start),
            len: short(len),
        });
    }

    fn error(&mut self, message: impl Into<String>) -> Step {
        self.push(Kind::Error, 0);
        self.error = message.into();
        Err(())
    }

    fn run(&mut self) {
        while self.text().is_ok() {
            if self.pos >= self.input.len() {
                self.emit(Kind::Eof);
                return;
            }
        }
    }

    /// Text up to the next action, then the action.
    fn text(&mut self) -> Step {
        let Some(offset) = find_left(self.bytes()) else {
            self.pos = self.input.len();
            if self.pos > self.start {
                self.emit(Kind::Text);
            }
            return Ok(());
        };
        let bytes = self.input.as_bytes();
        let delim = self.pos + offset;
        let mut end = delim;
        if left_trim(&bytes[delim + LEFT.len()..]) {
            while end > self.pos && is(SPACE, bytes[end - 1]) {
                end -= 1;
            }
        }
        self.pos = end;
        if self.pos > self.start {
            self.emit(Kind::Text);
        }
        self.pos = delim;
        self.start = delim;
        self.left_delim()
    }

    fn left_delim(&mut self) -> Step {
        self.pos += LEFT.len();
        let marker = if left_trim(self.bytes()) { 2 } else { 0 };
        if self.bytes()[marker..].starts_with(b"/*") {
            self.pos += marker;
            self.start = self.pos;
            return self.comment();
        }
        self.emit(Kind::LeftDelim);
        self.pos += marker;
        self.start = self.pos;
        self.parens = 0;
        self.action()
    }

    fn comment(&mut self) -> Step {
        self.pos += 2;
        let Some(offset) = memchr::memmem::find(self.bytes(), b"*/") else {
            return self.error("unclosed comment");
        };
        self.pos += offset + 2;
        let Some(trim) = self.at_right_delim() else {
            return self.error("comment ends before closing delimiter");
        };
        self.right_delim(trim, false);
        Ok(())
    }

    /// Whether a closing delimiter is next, and whether it trims.
    fn at_right_delim(&self) -> Option<bool> {
        match self.bytes() {
            [b'}', b'}', ..] => Some(false),
            [space, rest @ ..] if is(SPACE, *space) && rest.starts_with(TRIMMING) => Some(true),
            _ => None,
        }
    }

    fn right_delim(&mut self, trim: bool, emit: bool) {
        if trim {
            self.pos += 2;
            self.start = self.pos;
        }
        self.pos += RIGHT.len();
        if emit {
            self.emit(Kind::RightDelim);
        }
        if trim {
            let rest = self.bytes();
            let blank = rest.iter().position(|byte| !is(SPACE, *byte));
            self.pos += blank.unwrap_or(rest.len());
        }
        self.start = self.pos;
    }

    fn action(&mut self) -> Step {
        loop {
            let Some(byte) = self.byte() else {
                return self.error("unclosed action");
            };
            let class = CLASSES[usize::from(byte)];
            if (class & SPACE != 0 || byte == b'}')
                && let Some(trim) = self.at_right_delim()
            {
                if self.parens > 0 {
                    return self.error("unclosed left paren");
                }
                self.right_delim(trim, true);
                return Ok(());
            }
            if class & SPACE != 0 {
                self.space();
                continue;
            }
            if class & ALPHANUMERIC != 0 && !byte.is_ascii_digit() {
                self.identifier()?;
                continue;
            }
            self.pos += 1;
            match byte {
                b'=' => self.emit(Kind::Assign),
                b':' => {
                    if self.next() != Some('=') {
                        return self.error("expected :=");
                    }
                    self.emit(Kind::Declare);
                }
                b'|' => self.emit(Kind::Pipe),
                b'"' => self.quote(b'"', Kind::String, "unterminated quoted string")?,
                b'\'' => self.quote(b'\'', Kind::CharConstant, "unterminated character constant")?,
                b'`' => self.raw_quote()?,
                b'$' => self.field(Kind::Variable)?,
                b'.' if !self.byte().is_some_and(|next| next.is_ascii_digit()) => self.field(Kind::Field)?,
                b'.' | b'+' | b'-' | b'0'..=b'9' => {
                    self.pos -= 1;
                    self.number()?;
                }
                b'(' => {
                    self.emit(Kind::LeftParen);
                    self.parens += 1;
                }
                b')' => {
                    if self.parens == 0 {
                        return self.error("unexpected right paren");
                    }
                    self.emit(Kind::RightParen);
                    self.parens -= 1;
                }
                byte if byte.is_ascii_graphic() => self.emit(Kind::Char),
                _ => {
                    self.pos -= 1;
                    let c = self.peek().unwrap_or_default();
                    if !is_alphanumeric(c) {
                        return self.error(format!("unrecognized character in action: {}", unicode(c)));
                    }
                    self.identifier()?;
                }
            }
        }
    }

    /// A run of spaces; the last one may belong to a trimming delimiter.
    fn space(&mut self) {
        while self.byte().is_some_and(|byte| is(SPACE, byte)) {
            self.pos += 1;
        }
        if self.bytes().starts_with(TRIMMING) {
            self.pos -= 1;
            if self.pos == self.start {
                return;
            }
        }
        self.emit(Kind::Space);
    }

    fn quote(&mut self, end: u8, kind: Kind, unterminated: &str) -> Step {
        loop {
            // What means nothing special is passed by at once.
            let plain = |byte: &u8| *byte != b'\\' && *byte != b'\n' && *byte != end;
            self.pos += self.bytes().iter().take_while(|byte| plain(byte)).count();
            match self.next() {
                Some('\\') if self.peek().is_some_and(|c| c != '\n') => {
                    self.next();
                }
                Some(c) if c == char::from(end) => break,
                None | Some('\n' | '\\') => return self.error(unterminated),
                Some(_) => {}
            }
        }
        self.emit(kind);
        Ok(())
    }

    fn raw_quote(&mut self) -> Step {
        match memchr::memchr(b'`', self.bytes()) {
            Some(offset) => self.pos += offset + 1,
            None => return self.error("unterminated raw quoted string"),
        }
        self.emit(Kind::RawString);
        Ok(())
    }

    fn at_terminator(&self) -> bool {
        match self.byte() {
            None => true,
            Some(byte) => is(TERMINATOR, byte) || self.bytes().starts_with(RIGHT),
        }
    }

    /// Goes past letters, digits and the like.
    fn word(&mut self) {
        loop {
            let rest = self.bytes();
            let length = rest.iter().position(|byte| !is(ALPHANUMERIC, *byte));
            self.pos += length.unwrap_or(rest.len());
            match self.peek() {
                Some(c) if !c.is_ascii() && is_alphanumeric(c) => self.pos += c.len_utf8(),
                _ => return,
            }
        }
    }

    fn bad_character(&mut self) -> Step {
        let c = self.peek().unwrap_or_default();
        self.error(format!("bad character {}", unicode(c)))
    }

    /// A field or variable; its first character is read already.
    fn field(&mut self, kind: Kind) -> Step {
        if self.at_terminator() {
            self.emit(if kind == Kind::Variable {
                Kind::Variable
            } else {
                Kind::Dot
            });
            return Ok(());
        }
        self.word();
        if !self.at_terminator() {
            return self.bad_character();
        }
        self.emit(kind);
        Ok(())
    }

    fn identifier(&mut self) -> Step {
        self.word();
        if !self.at_terminator() {
            return self.bad_character();
        }
        let kind = match &self.input.as_bytes()[self.start..self.pos] {
            [b't', b'r', b'u', b'e'] | [b'f', b'a', b'l', b's', b'e'] => Kind::Bool,
            [b'n', b'i', b'l'] => Kind::Nil,
            [b'b', b'l', b'o', b'c', b'k'] => Kind::Block,
            [b'b', b'r', b'e', b'a', b'k'] => Kind::Break,
            [b'c', b'o', b'n', b't', b'i', b'n', b'u', b'e'] => Kind::Continue,
            [b'd', b'e', b'f', b'i', b'n', b'e'] => Kind::Define,
            [b'e', b'l', b's', b'e'] => Kind::Else,
            [b'e', b'n', b'd'] => Kind::End,
            [b'i', b'f'] => Kind::If,
            [b'r', b'a', b'n', b'g', b'e'] => Kind::Range,
            [b't', b'e', b'm', b'p', b'l', b'a', b't', b'e'] => Kind::Template,
            [b'w', b'i', b't', b'h'] => Kind::With,
            _ => Kind::Identifier,
        };
        self.emit(kind);
        Ok(())
    }

    fn accept(&mut self, set: &str) -> bool {
        let accepted = self.peek().is_some_and(|c| set.contains(c));
        if accepted {
            self.next();
        }
        accepted
    }

    fn number(&mut self) -> Step {
        let mut good = self.scan_number();
        // A sign right behind a number could only begin the second half of a complex one.
        if good && self.peek().is_some_and(|c| matches!(c, '+' | '-')) {
            good = self.scan_number() && self.input[self.start..self.pos].ends_with('i');
        }
        if !good {
            let text = crate::quote::quote(&self.input[self.start..self.pos]);
            return self.error(format!("bad number syntax: {text}"));
        }
        self.emit(Kind::Number);
        Ok(())
    }

    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        let hex = digits.len() > 20;
        while self.accept(digits) {}
        if self.accept(".") {
            while self.accept(digits) {}
        }
        if (digits.len() == 11 && self.accept("eE")) || (hex && self.accept("pP")) {
            self.accept("+-");
            while self.accept("0123456789_") {}
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.next();
            return false;
        }
        true
    }
}

/// A place in a text, which [`lex`] has seen to be short enough.
fn short(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// Go's `%#U`.
fn unicode(c: char) -> String {
    let code = u32::from(c);
    if c.is_control() {
        format!("U+{code:04X}")
    } else {
        format!("U+{code:04X} '{c}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, String)> {
        let items = lex(text);
        let text = |item: Item| match item.kind {
            Kind::Error => items.error.clone(),
            _ => items.text(item).to_owned(),
        };
        (0..=items.last())
            .map(|index| items.get(index))
            .map(|item| (item.kind, text(item)))
            .collect()
    }

    #[test]
    fn trimming_takes_the_space_around() {
        let items = kinds("a \n{{- .x -}} \n b");
        let texts: Vec<&str> = items
            .iter()
            .filter(|(kind, _)| *kind == Kind::Text)
            .map(|(_, text)| text.as_str())
            .collect();
        assert_eq!(texts, ["a", "b"]);
    }

    #[test]
    fn comments_vanish() {
        assert_eq!(kinds("a{{/* x */}}b").len(), 3);
        assert_eq!(kinds("{{/* x").last().unwrap().1, "unclosed comment");
        assert_eq!(
            kinds("{{/* x */ y}}").last().unwrap().1,
            "comment ends before closing delimiter"
        );
    }

    #[test]
    fn numbers_and_fields_share_the_dot() {
        assert_eq!(kinds("{{.5}}")[1], (Kind::Number, ".5".into()));
        assert_eq!(kinds("{{.a.b}}")[2], (Kind::Field, ".b".into()));
        assert_eq!(kinds("{{3x}}").last().unwrap().1, "bad number syntax: \"3x\"");
    }
}
