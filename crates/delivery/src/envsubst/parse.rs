//! From text to parts. The grammar is what the reference's scanner takes, with its oddities: what may follow a name,
//! which texts take escapes, and which error each mistake gives.

use super::functions::Function;
use super::{EnvsubstError, Located};

/// A piece of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Expression {
        name: String,
        function: Function,
        arguments: Vec<Part>,
    },
}

const MAX_DEPTH: usize = 100;

/// The pieces of a text with the offsets at which they begin.
pub(super) fn parts(text: &str) -> Result<Vec<(usize, Part)>, Located> {
    let mut reader = Reader {
        text,
        at: 0,
        depth: 0,
    };
    let mut parts = Vec::new();
    while reader.at < text.len() {
        let offset = reader.at;
        let part = if reader.take("${") {
            reader.expression().map_err(|error| Located { error, offset })?
        } else {
            Part::Text(reader.literal())
        };
        parts.push((offset, part));
    }
    Ok(parts)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    /// Text up to the next expression, with `$$` folded.
    fn literal(&mut self) -> String {
        let mut literal = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(dollar) = rest.find('$') else {
                literal.push_str(rest);
                self.at = self.text.len();
                return literal;
            };
            literal.push_str(&rest[..dollar]);
            self.at += dollar;
            if self.rest().starts_with("${") {
                return literal;
            }
            self.at += if self.rest().starts_with("$$") { 2 } else { 1 };
            literal.push('$');
        }
    }

    /// What follows `${`.
    fn expression(&mut self) -> Result<Part, EnvsubstError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(EnvsubstError::TooDeep);
        }
        let part = if self.take("#") {
            let name = self.name().ok_or(EnvsubstError::BadSubstitution)?;
            self.close()?;
            Part::Expression {
                name,
                function: Function::Length,
                arguments: Vec::new(),
            }
        } else {
            let name = self.name().ok_or(EnvsubstError::VariableName)?;
            let (function, arguments) = self.function()?;
            Part::Expression {
                name,
                function,
                arguments,
            }
        };
        self.depth -= 1;
        Ok(part)
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| c != '_' && !c.is_alphabetic() && !is_digit(c))
            .unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        self.at += end;
        (!name.is_empty()).then_some(name)
    }

    fn function(&mut self) -> Result<(Function, Vec<Part>), EnvsubstError> {
        match self.peek() {
            Some(':') => match self.rest().chars().nth(1) {
                Some('=' | '-' | '?' | '+') => {
                    self.at += 2;
                    self.default_arguments()
                }
                _ => {
                    self.at += 1;
                    self.part_arguments()
                }
            },
            Some('=') => {
                self.at += 1;
                self.default_arguments()
            }
            Some(',' | '^') => self.casing(),
            Some('/') => self.replacing(),
            Some(sign @ ('#' | '%')) => self.trimming(sign),
            Some('}') => {
                self.at += 1;
                Ok((Function::Default(false), Vec::new()))
            }
            _ => Err(EnvsubstError::MissingClosingBrace),
        }
    }

    /// Texts and expressions up to the closing brace.
    fn default_arguments(&mut self) -> Result<(Function, Vec<Part>), EnvsubstError> {
        let mut arguments = Vec::new();
        while !self.take("}") {
            arguments.push(self.argument(|c| c != '}', false)?);
        }
        Ok((Function::Default(true), arguments))
    }

    fn part_arguments(&mut self) -> Result<(Function, Vec<Part>), EnvsubstError> {
        // The reference steps back by one byte here.
        if !self.peek().is_some_and(|c| c.is_ascii()) {
            return Err(EnvsubstError::BadSubstitution);
        }
        let mut arguments = vec![self.argument(|c| !matches!(c, ':' | '}'), false)?];
        if self.take("}") {
            return Ok((Function::Slice, arguments));
        }
        if !self.take(":") {
            return Err(EnvsubstError::BadSubstitution);
        }
        while self.take(":") {}
        arguments.push(self.argument(|c| c != '}', false)?);
        self.close()?;
        Ok((Function::Slice, arguments))
    }

    fn casing(&mut self) -> Result<(Function, Vec<Part>), EnvsubstError> {
        let rest = self.rest();
        let signs = &rest[..rest
            .bytes()
            .take(2)
            .take_while(|byte| matches!(byte, b',' | b'^'))
            .count()];
        let function = match signs {
            "," => Function::LowerFirst,
            ",," => Function::Lower,
            "^" => Function::UpperFirst,
            "^^" => Function::Upper,
            _ => Function::Default(false),
        };
        self.at += signs.len();
        self.close()?;
        Ok((function, Vec::new()))
    }

    fn trimming(&mut self, sign: char) -> Result<(Function, Vec<Part>), EnvsubstError> {
        self.at += 1;
        let longest = self.peek() == Some(sign);
        self.at += usize::from(longest);
        let pattern = self.argument(|c| c != '}', false)?;
        self.close()?;
        let function = Function::Trim {
            suffix: sign == '%',
            longest,
        };
        Ok((function, vec![pattern]))
    }

    fn replacing(&mut self) -> Result<(Function, Vec<Part>), EnvsubstError> {
        self.at += 1;
        let function = match self.peek() {
            Some('/') => Function::ReplaceAll,
            Some('#') => Function::ReplacePrefix,
            Some('%') => Function::ReplaceSuffix,
            _ => Function::ReplaceFirst,
        };
        self.at += usize::from(function != Function::ReplaceFirst);
        let mut arguments = vec![self.argument(|c| c != '/', true)?];
        if !self.take("/") {
            return Err(EnvsubstError::BadSubstitution);
        }
        while self.take("/") {}
        if self.peek() != Some('}') {
            arguments.push(self.argument(|c| c != '}', true)?);
        }
        self.close()?;
        Ok((function, arguments))
    }

    /// One expression, or a text that is not empty and ends before what is not accepted.
    fn argument(&mut self, accepts: impl Fn(char) -> bool, escapes: bool) -> Result<Part, EnvsubstError> {
        if self.take("${") {
            return self.expression();
        }
        let mut text = String::new();
        while let Some(c) = self.peek() {
            let rest = self.rest();
            let escaped = escapes && ["$$", "\\/", "\\\\"].iter().any(|pair| rest.starts_with(pair));
            if rest.starts_with("${") || (!escaped && !accepts(c)) {
                break;
            }
            self.at += c.len_utf8();
            if escaped {
                text.extend(self.peek());
                self.at += 1;
            } else {
                text.push(c);
            }
        }
        if text.is_empty() {
            return Err(EnvsubstError::FunctionArgument);
        }
        Ok(Part::Text(text))
    }

    fn close(&mut self) -> Result<(), EnvsubstError> {
        if self.take("}") {
            Ok(())
        } else {
            Err(EnvsubstError::BadSubstitution)
        }
    }
}

/// Decimal digits; letters like `²` are none.
fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}
