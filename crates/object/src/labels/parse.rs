//! The grammar of selector texts, with the API server's words for what it does not take.

use std::collections::BTreeSet;

use super::{Operator, Requirement, Selector, SelectorError, validate};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Error,
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
}

#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    kind: Kind,
    text: &'a str,
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn symbol(text: &str) -> Option<Kind> {
    Some(match text {
        ")" => Kind::Close,
        "," => Kind::Comma,
        "!" => Kind::Not,
        "==" => Kind::DoubleEquals,
        "=" => Kind::Equals,
        ">" => Kind::Greater,
        "<" => Kind::Less,
        "!=" => Kind::NotEquals,
        "(" => Kind::Open,
        _ => return None,
    })
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(is_space);
        let Some(first) = rest.chars().next().filter(|c| *c != '\0') else {
            tokens.push(Token {
                kind: Kind::End,
                text: "",
            });
            return tokens;
        };
        let (kind, length) = if is_special(first) {
            // The longest symbol that the text begins with; all are one or two characters long.
            match rest.get(..2).and_then(|two| Some((symbol(two)?, 2))) {
                Some(found) => found,
                None => (symbol(&rest[..1]).unwrap_or(Kind::Error), 1),
            }
        } else {
            let length = rest
                .find(|c| is_special(c) || is_space(c) || c == '\0')
                .unwrap_or(rest.len());
            let kind = match &rest[..length] {
                "in" => Kind::In,
                "notin" => Kind::NotIn,
                _ => Kind::Identifier,
            };
            (kind, length)
        };
        tokens.push(Token {
            kind,
            text: &rest[..length],
        });
        rest = &rest[length..];
    }
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    position: usize,
}

fn unexpected(found: &str, expected: &str) -> SelectorError {
    SelectorError(format!("found '{found}', expected: {expected}"))
}

impl<'a> Parser<'a> {
    /// The next token where a value may stand: there, keywords are words.
    fn peek(&self) -> Token<'a> {
        let mut token = self.tokens[self.position.min(self.tokens.len() - 1)];
        if matches!(token.kind, Kind::In | Kind::NotIn) {
            token.kind = Kind::Identifier;
        }
        token
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.position += 1;
        token
    }

    fn next_operator(&mut self) -> Token<'a> {
        let token = self.tokens[self.position.min(self.tokens.len() - 1)];
        self.position += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let mut token = self.next();
        let negated = token.kind == Kind::Not;
        if negated {
            token = self.next();
        }
        if token.kind != Kind::Identifier {
            return Err(unexpected(token.text, "identifier"));
        }
        validate::key("<nil>", token.text)?;
        let key = token.text;
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, []);
        }
        if matches!(self.peek().kind, Kind::End | Kind::Comma) {
            return Requirement::new(key, Operator::Exists, []);
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => self.exact_value()?,
        };
        Requirement::new(key, operator, values)
    }

    fn operator(&mut self) -> Result<Operator, SelectorError> {
        let token = self.next_operator();
        Ok(match token.kind {
            Kind::In => Operator::In,
            Kind::NotIn => Operator::NotIn,
            Kind::Equals => Operator::Equals,
            Kind::DoubleEquals => Operator::DoubleEquals,
            Kind::NotEquals => Operator::NotEquals,
            Kind::Greater => Operator::GreaterThan,
            Kind::Less => Operator::LessThan,
            _ => return Err(unexpected(token.text, "in, notin, =, ==, !=, gt, lt")),
        })
    }

    fn exact_value(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        if matches!(self.peek().kind, Kind::End | Kind::Comma) {
            return Ok([String::new()].into());
        }
        let token = self.next();
        if token.kind != Kind::Identifier {
            return Err(unexpected(token.text, "identifier"));
        }
        Ok([token.text.to_owned()].into())
    }

    fn values(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        let open = self.next();
        if open.kind != Kind::Open {
            return Err(SelectorError(format!("found '{}' expected: '('", open.text)));
        }
        let first = self.peek();
        match first.kind {
            Kind::Identifier | Kind::Comma => {
                let values = self.list()?;
                if self.next().kind != Kind::Close {
                    return Err(unexpected(first.text, "')'"));
                }
                Ok(values)
            }
            Kind::Close => {
                self.next();
                Ok([String::new()].into())
            }
            _ => Err(unexpected(first.text, "',', ')' or identifier")),
        }
    }

    /// Values between brackets; a comma with nothing before or after it stands for an empty value.
    fn list(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        let mut values = BTreeSet::new();
        loop {
            let token = self.next();
            match token.kind {
                Kind::Identifier => {
                    values.insert(token.text.to_owned());
                    let after = self.peek();
                    match after.kind {
                        Kind::Comma => {}
                        Kind::Close => return Ok(values),
                        _ => return Err(unexpected(after.text, "',' or ')'")),
                    }
                }
                Kind::Comma => {
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.peek().kind {
                        Kind::Close => {
                            values.insert(String::new());
                            return Ok(values);
                        }
                        Kind::Comma => {
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                _ => return Err(unexpected(token.text, "',', or identifier")),
            }
        }
    }
}

pub(super) fn selector(text: &str) -> Result<Selector, SelectorError> {
    let mut parser = Parser {
        tokens: tokens(text),
        position: 0,
    };
    let mut requirements = Vec::new();
    loop {
        let token = parser.peek();
        match token.kind {
            Kind::Identifier | Kind::Not => {
                let requirement = parser
                    .requirement()
                    .map_err(|error| SelectorError(format!("unable to parse requirement: {error}")))?;
                requirements.push(requirement);
                let after = parser.next();
                match after.kind {
                    Kind::End => return Ok(Selector::new(requirements)),
                    Kind::Comma => {
                        let next = parser.peek();
                        if !matches!(next.kind, Kind::Identifier | Kind::Not) {
                            return Err(unexpected(next.text, "identifier after ','"));
                        }
                    }
                    _ => return Err(unexpected(after.text, "',' or 'end of string'")),
                }
            }
            Kind::End => return Ok(Selector::new(requirements)),
            _ => return Err(unexpected(token.text, "!, identifier, or 'end of string'")),
        }
    }
}
