//! Cuts a template's text into items, with Go's rules for delimiters, trimming and literals.

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
pub(crate) struct Item<'a> {
    pub(crate) kind: Kind,
    /// Byte offset of its start.
    pub(crate) pos: usize,
    /// The text; of an error nothing.
    pub(crate) text: &'a str,
    /// Line of its start, from 1.
    pub(crate) line: usize,
}

/// An item as it is kept: a text has very many.
#[derive(Clone, Copy, Debug)]
struct Packed {
    kind: Kind,
    pos: u32,
    len: u32,
    line: u32,
}

/// All items of a text, at least one.
#[derive(Debug)]
pub(crate) struct Items<'a> {
    input: &'a str,
    items: Vec<Packed>,
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
    pub(crate) fn get(&self, index: usize) -> Item<'a> {
        let Packed { kind, pos, len, line } = self.items[index.min(self.last())];
        let pos = pos as usize;
        Item {
            kind,
            pos,
            text: &self.input[pos..pos + len as usize],
            line: line as usize,
        }
    }
}

impl Item<'_> {
    /// As parse errors quote it; errors tell their own text.
    pub(crate) fn describe(&self) -> String {
        match self.kind {
            Kind::Eof => "EOF".to_owned(),
            kind if kind.is_keyword() => format!("<{}>", self.text),
            _ if self.text.len() > 10 => {
                let head: String = self.text.chars().take(10).collect();
                format!("{}...", crate::quote::quote(&head))
            }
            _ => crate::quote::quote(self.text),
        }
    }
}

const LEFT: &[u8] = b"{{";
const RIGHT: &[u8] = b"}}";

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

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_space_byte(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphabetic() || c.is_numeric()
}

fn is_alphanumeric_byte(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

fn left_trim(text: &[u8]) -> bool {
    matches!(text, [b'-', space, ..] if is_space_byte(*space))
}

fn right_trim(text: &[u8]) -> bool {
    matches!(text, [space, b'-', ..] if is_space_byte(*space))
}

/// Cuts the whole text; the last item is an error or the end.
pub(crate) fn lex(input: &str) -> Items<'_> {
    let mut lexer = Lexer {
        input,
        pos: 0,
        start: 0,
        line: 1,
        start_line: 1,
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
    line: usize,
    start_line: usize,
    items: Vec<Packed>,
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
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn skip_to(&mut self, pos: usize) {
        self.line += memchr::memchr_iter(b'\n', &self.input.as_bytes()[self.pos..pos]).count();
        self.pos = pos;
    }

    fn emit(&mut self, kind: Kind) {
        self.push(kind, self.pos - self.start);
        self.ignore();
    }

    fn push(&mut self, kind: Kind, len: usize) {
        self.items.push(Packed {
            kind,
            pos: short(self.start),
            len: short(len),
            line: short(self.start_line),
        });
    }

    fn ignore(&mut self) {
        self.start = self.pos;
        self.start_line = self.line;
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
            self.skip_to(self.input.len());
            if self.pos > self.start {
                self.emit(Kind::Text);
            }
            return Ok(());
        };
        let delim = self.pos + offset;
        let mut end = delim;
        if left_trim(&self.input.as_bytes()[delim + LEFT.len()..]) {
            end = self.pos + self.input[self.pos..delim].trim_end_matches(is_space).len();
        }
        self.skip_to(end);
        if self.pos > self.start {
            self.emit(Kind::Text);
        }
        self.skip_to(delim);
        self.ignore();
        self.left_delim()
    }

    fn left_delim(&mut self) -> Step {
        self.pos += LEFT.len();
        let marker = if left_trim(self.bytes()) { 2 } else { 0 };
        if self.bytes()[marker..].starts_with(b"/*") {
            self.skip_to(self.pos + marker);
            self.ignore();
            return self.comment();
        }
        self.emit(Kind::LeftDelim);
        let target = self.pos + marker;
        self.skip_to(target);
        self.ignore();
        self.parens = 0;
        self.action()
    }

    fn comment(&mut self) -> Step {
        self.pos += 2;
        let Some(offset) = memchr::memmem::find(self.bytes(), b"*/") else {
            return self.error("unclosed comment");
        };
        self.skip_to(self.pos + offset + 2);
        let Some(trim) = self.at_right_delim() else {
            return self.error("comment ends before closing delimiter");
        };
        self.right_delim(trim, false)
    }

    /// Whether a closing delimiter is next, and whether it trims.
    fn at_right_delim(&self) -> Option<bool> {
        let rest = self.bytes();
        if right_trim(rest) && rest[2..].starts_with(RIGHT) {
            return Some(true);
        }
        rest.starts_with(RIGHT).then_some(false)
    }

    fn right_delim(&mut self, trim: bool, emit: bool) -> Step {
        if trim {
            self.skip_to(self.pos + 2);
            self.ignore();
        }
        self.pos += RIGHT.len();
        if emit {
            self.emit(Kind::RightDelim);
        } else {
            self.ignore();
        }
        if trim {
            let rest = self.bytes();
            let blank = rest.iter().position(|byte| !is_space_byte(*byte));
            self.skip_to(self.pos + blank.unwrap_or(rest.len()));
            self.ignore();
        }
        Ok(())
    }

    fn action(&mut self) -> Step {
        loop {
            if let Some(trim) = self.at_right_delim() {
                if self.parens > 0 {
                    return self.error("unclosed left paren");
                }
                return self.right_delim(trim, true);
            }
            let Some(c) = self.next() else {
                return self.error("unclosed action");
            };
            match c {
                c if is_space(c) => self.space(),
                '=' => self.emit(Kind::Assign),
                ':' => {
                    if self.next() != Some('=') {
                        return self.error("expected :=");
                    }
                    self.emit(Kind::Declare);
                }
                '|' => self.emit(Kind::Pipe),
                '"' => self.quote('"', Kind::String, "unterminated quoted string")?,
                '\'' => self.quote('\'', Kind::CharConstant, "unterminated character constant")?,
                '`' => self.raw_quote()?,
                '$' => self.field(Kind::Variable)?,
                '.' if !self.peek().is_some_and(|next| next.is_ascii_digit()) => self.field(Kind::Field)?,
                '.' | '+' | '-' | '0'..='9' => {
                    self.pos -= 1;
                    self.number()?;
                }
                c if is_alphanumeric(c) => {
                    self.pos -= c.len_utf8();
                    self.identifier()?;
                }
                '(' => {
                    self.emit(Kind::LeftParen);
                    self.parens += 1;
                }
                ')' => {
                    if self.parens == 0 {
                        return self.error("unexpected right paren");
                    }
                    self.emit(Kind::RightParen);
                    self.parens -= 1;
                }
                c if c.is_ascii_graphic() => self.emit(Kind::Char),
                c => {
                    return self.error(format!("unrecognized character in action: {}", unicode(c)));
                }
            }
        }
    }

    /// A run of spaces; the last one may belong to a trimming delimiter.
    fn space(&mut self) {
        while let Some(byte) = self.byte().filter(|byte| is_space_byte(*byte)) {
            self.line += usize::from(byte == b'\n');
            self.pos += 1;
        }
        let last = self.pos - 1;
        let rest = &self.input.as_bytes()[last..];
        if right_trim(rest) && rest[2..].starts_with(RIGHT) {
            if self.input.as_bytes()[last] == b'\n' {
                self.line -= 1;
            }
            self.pos = last;
            if self.pos == self.start {
                return;
            }
        }
        self.emit(Kind::Space);
    }

    fn quote(&mut self, end: char, kind: Kind, unterminated: &str) -> Step {
        loop {
            // What means nothing special is passed by at once.
            let plain = |byte: &u8| *byte != b'\\' && *byte != b'\n' && char::from(*byte) != end;
            self.pos += self.bytes().iter().take_while(|byte| plain(byte)).count();
            match self.next() {
                Some('\\') if self.peek().is_some_and(|c| c != '\n') => {
                    self.next();
                }
                Some(c) if c == end => break,
                None | Some('\n' | '\\') => return self.error(unterminated),
                Some(_) => {}
            }
        }
        self.emit(kind);
        Ok(())
    }

    fn raw_quote(&mut self) -> Step {
        loop {
            match self.next() {
                None => return self.error("unterminated raw quoted string"),
                Some('`') => break,
                Some(_) => {}
            }
        }
        self.emit(Kind::RawString);
        Ok(())
    }

    fn at_terminator(&self) -> bool {
        match self.byte() {
            None | Some(b'.' | b',' | b'|' | b':' | b')' | b'(') => true,
            Some(byte) => is_space_byte(byte) || self.bytes().starts_with(RIGHT),
        }
    }

    /// Goes past letters, digits and the like.
    fn word(&mut self) {
        loop {
            self.pos += self
                .bytes()
                .iter()
                .take_while(|byte| is_alphanumeric_byte(**byte))
                .count();
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
        let kind = match &self.input[self.start..self.pos] {
            "true" | "false" => Kind::Bool,
            "nil" => Kind::Nil,
            "block" => Kind::Block,
            "break" => Kind::Break,
            "continue" => Kind::Continue,
            "define" => Kind::Define,
            "else" => Kind::Else,
            "end" => Kind::End,
            "if" => Kind::If,
            "range" => Kind::Range,
            "template" => Kind::Template,
            "with" => Kind::With,
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
        let text = |item: &Item<'_>| match item.kind {
            Kind::Error => items.error.clone(),
            _ => item.text.to_owned(),
        };
        (0..=items.last())
            .map(|index| items.get(index))
            .map(|item| (item.kind, text(&item)))
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
