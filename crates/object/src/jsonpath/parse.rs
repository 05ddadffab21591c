//! From template text to nodes.

use super::{JsonPathError, error};

/// A part of a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// What stands in one pair of braces.
    List(Vec<Node>),
    Text(String),
    Field(String),
    Slice(Slice),
    Filter {
        left: Vec<Node>,
        right: Vec<Node>,
        operator: String,
    },
    Int(i64),
    Float(f64),
    Bool(bool),
    Wildcard,
    Recursive,
    Union(Vec<Vec<Node>>),
    Identifier(String),
}

/// `[start:end:step]`, or `[index]`: then the end is derived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    pub(super) start: Option<i64>,
    pub(super) end: Option<i64>,
    pub(super) step: Option<i64>,
    pub(super) end_is_derived: bool,
}

const MAX_DEPTH: usize = 32;

pub(super) fn template(text: &str) -> Result<Vec<Node>, JsonPathError> {
    nested(text, 0)
}

fn nested(text: &str, depth: usize) -> Result<Vec<Node>, JsonPathError> {
    if depth > MAX_DEPTH {
        return error("template is nested too deeply");
    }
    let mut nodes = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        if open > 0 {
            nodes.push(Node::Text(rest[..open].to_owned()));
        }
        let mut reader = Reader {
            rest: &rest[open + 1..],
            depth,
            nodes: Vec::new(),
        };
        reader.action()?;
        nodes.push(Node::List(reader.nodes));
        rest = reader.rest;
    }
    if !rest.is_empty() {
        nodes.push(Node::Text(rest.to_owned()));
    }
    Ok(nodes)
}

/// The nodes of one expression without braces.
fn expression(text: &str, depth: usize) -> Result<Vec<Node>, JsonPathError> {
    let nodes = nested(&format!("{{{text}}}"), depth + 1)?;
    match nodes.into_iter().next() {
        Some(Node::List(nodes)) => Ok(nodes),
        _ => Ok(Vec::new()),
    }
}

/// Reads what stands between braces.
struct Reader<'a> {
    rest: &'a str,
    depth: usize,
    nodes: Vec<Node>,
}

fn ends_word(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}'
    )
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphabetic() || c.is_numeric()
}

impl Reader<'_> {
    fn action(&mut self) -> Result<(), JsonPathError> {
        loop {
            let Some(c) = self.rest.chars().next() else {
                return error("unclosed action");
            };
            let after = &self.rest[c.len_utf8()..];
            match c {
                '}' => {
                    self.rest = after;
                    return Ok(());
                }
                '\r' | '\n' => return error("unclosed action"),
                ' ' | '@' | '$' => self.rest = after,
                '[' if after.starts_with("?(") => self.filter()?,
                '[' => self.array()?,
                '"' | '\'' => self.quoted(c)?,
                '.' if after.starts_with('.') => self.recursive()?,
                '.' => {
                    self.rest = after;
                    self.field();
                }
                '+' | '-' => self.number()?,
                _ if c.is_numeric() => self.number()?,
                _ if is_word(c) => self.identifier(),
                _ => {
                    return error(format!(
                        "unrecognized character in action: U+{:04X} '{c}'",
                        u32::from(c)
                    ));
                }
            }
        }
    }

    fn recursive(&mut self) -> Result<(), JsonPathError> {
        if matches!(self.nodes.last(), Some(Node::Recursive)) {
            return error("invalid multiple recursive descent");
        }
        self.rest = &self.rest[2..];
        self.nodes.push(Node::Recursive);
        if self.rest.starts_with(is_word) {
            self.field();
        }
        Ok(())
    }

    fn field(&mut self) {
        let mut end = self.rest.len();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                chars.next();
            } else if ends_word(c) {
                end = at;
                break;
            }
        }
        let name = &self.rest[..end];
        self.nodes.push(match name {
            "*" => Node::Wildcard,
            name => Node::Field(name.replace('\\', "")),
        });
        self.rest = &self.rest[end..];
    }

    fn identifier(&mut self) {
        let end = self.rest.find(ends_word).unwrap_or(self.rest.len());
        self.nodes.push(match &self.rest[..end] {
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            name => Node::Identifier(name.to_owned()),
        });
        self.rest = &self.rest[end..];
    }

    fn number(&mut self) -> Result<(), JsonPathError> {
        let sign = usize::from(self.rest.starts_with(['+', '-']));
        let end = self.rest[sign..]
            .find(|c: char| c != '.' && !c.is_numeric())
            .map_or(self.rest.len(), |length| sign + length);
        let text = &self.rest[..end];
        let node = match (text.parse(), text.parse()) {
            (Ok(integer), _) => Node::Int(integer),
            (_, Ok(float)) => Node::Float(float),
            _ => return error(format!("cannot parse number {text}")),
        };
        self.nodes.push(node);
        self.rest = &self.rest[end..];
        Ok(())
    }

    fn quoted(&mut self, quote: char) -> Result<(), JsonPathError> {
        let mut previous = quote;
        for (at, c) in self.rest.char_indices().skip(1) {
            if c == '\n' {
                break;
            }
            if c == quote && previous != '\\' {
                let text = &self.rest[..=at];
                let Some(plain) = unquote(&text[1..at], quote) else {
                    return error(format!("unquote string {text} error invalid syntax"));
                };
                self.nodes.push(Node::Text(plain));
                self.rest = &self.rest[at + 1..];
                return Ok(());
            }
            previous = c;
        }
        error("unterminated quoted string")
    }

    fn array(&mut self) -> Result<(), JsonPathError> {
        let end = self.rest.find([']', '\n']);
        let Some(end) = end.filter(|end| self.rest[*end..].starts_with(']')) else {
            return error("unterminated array");
        };
        let text = &self.rest[1..end];
        self.rest = &self.rest[end + 1..];
        let text = if text == "*" { ":" } else { text };
        if text.contains(',') {
            let parts = text
                .split(',')
                .map(|part| expression(&format!("[{}]", part.trim_matches(' ')), self.depth))
                .collect::<Result<_, _>>()?;
            self.nodes.push(Node::Union(parts));
            return Ok(());
        }
        let key = text
            .strip_prefix('\'')
            .and_then(|text| text.strip_suffix('\''))
            .filter(|key| !key.contains('\''));
        if let Some(key) = key {
            self.nodes.extend(expression(&format!(".{key}"), self.depth)?);
            return Ok(());
        }
        let Some(slice) = slice(text) else {
            return error(format!("invalid array index {text}"));
        };
        self.nodes.push(Node::Slice(slice?));
        Ok(())
    }

    fn filter(&mut self) -> Result<(), JsonPathError> {
        let body = &self.rest["[?(".len()..];
        let Some(end) = filter_end(body) else {
            return error("unterminated filter");
        };
        let text = &body[..end];
        let Some(rest) = body[end + 1..].strip_prefix(']') else {
            return error("unclosed array expect ]");
        };
        let node = match comparison(text) {
            Some((left, operator, right)) => Node::Filter {
                left: expression(left, self.depth)?,
                right: expression(right, self.depth)?,
                operator: operator.to_owned(),
            },
            None => Node::Filter {
                left: expression(text, self.depth)?,
                right: Vec::new(),
                operator: "exists".to_owned(),
            },
        };
        self.nodes.push(node);
        self.rest = rest;
        Ok(())
    }
}

/// Where the bracket stands that closes a filter; brackets in its one quoted string do not count.
fn filter_end(body: &str) -> Option<usize> {
    let (mut pair, mut closed, mut previous) = (None, false, ' ');
    for (at, c) in body.char_indices() {
        match c {
            '\n' => return None,
            '"' | '\'' => match pair {
                None => {
                    pair = Some(c);
                    previous = c;
                    continue;
                }
                Some(quote) if quote == c && previous != '\\' => closed = true,
                Some(_) => {}
            },
            ')' if pair.is_some() == closed => return Some(at),
            _ => {}
        }
        previous = c;
    }
    None
}

/// Splits `left op right`.
fn comparison(text: &str) -> Option<(&str, &str, &str)> {
    let is_operator = |c: char| matches!(c, '!' | '<' | '>' | '=');
    let start = text.find(is_operator).filter(|start| *start > 0)?;
    let end = text[start..]
        .find(|c| !is_operator(c))
        .map_or(text.len() - 1, |length| start + length);
    (end > start).then(|| (&text[..start], &text[start..end], &text[end..]))
}

/// `None`: not of a slice's form; `Some(Err)`: numbers that are none.
fn slice(text: &str) -> Option<Result<Slice, JsonPathError>> {
    let parts: Vec<&str> = text.split(':').collect();
    let shaped = parts.iter().all(|part| {
        let digits = part.strip_prefix('-').unwrap_or(part);
        digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    if !shaped || parts.len() > 3 {
        return None;
    }
    let number = |part: Option<&&str>| match part.copied().unwrap_or_default() {
        "" => Ok(None),
        digits => digits
            .parse()
            .map(Some)
            .or_else(|_| error(format!("array index {digits} is not a number"))),
    };
    let read = || {
        let start: Option<i64> = number(parts.first())?;
        let derived = parts.len() == 1;
        Ok(Slice {
            start,
            end: if derived {
                start.unwrap_or_default().checked_add(1)
            } else {
                number(parts.get(1))?
            },
            step: number(parts.get(2))?,
            end_is_derived: derived,
        })
    };
    Some(read())
}

/// Go's string escapes, in single or double quotes.
fn unquote(text: &str, quote: char) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.push(escape(&mut chars, quote)?),
            c if c == quote => return None,
            c => plain.push(c),
        }
    }
    Some(plain)
}

/// What follows a backslash.
fn escape(chars: &mut std::str::Chars<'_>, quote: char) -> Option<char> {
    let first = chars.next()?;
    let (length, radix, digits) = match first {
        'a' => return Some('\u{7}'),
        'b' => return Some('\u{8}'),
        'f' => return Some('\u{c}'),
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        'v' => return Some('\u{b}'),
        '\\' => return Some('\\'),
        '"' | '\'' => return (first == quote).then_some(first),
        'x' => (2, 16, String::new()),
        'u' => (4, 16, String::new()),
        'U' => (8, 16, String::new()),
        '0'..='7' => (3, 8, first.to_string()),
        _ => return None,
    };
    let missing = length - digits.len();
    let digits: String = digits.chars().chain(chars.by_ref().take(missing)).collect();
    if digits.len() != length {
        return None;
    }
    u32::from_str_radix(&digits, radix).ok().and_then(char::from_u32)
}
