//! Shell patterns over the beginning of a text: `*`, `?`, `[a-z]`, `\x`. A star takes slashes too.

/// A pattern.
pub(super) struct Glob(Vec<Token>);

enum Token {
    Star,
    Any,
    Letter(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    /// Reads a pattern; `None` if it is malformed.
    pub(super) fn parse(pattern: &str) -> Option<Glob> {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Star,
                '?' => Token::Any,
                '\\' => Token::Letter(chars.next()?),
                '[' => {
                    let negated = chars.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    while ranges.is_empty() || chars.peek() != Some(&']') {
                        let low = class_letter(&mut chars)?;
                        let high = match chars.next_if_eq(&'-') {
                            Some(_) => class_letter(&mut chars)?,
                            None => low,
                        };
                        ranges.push((low, high));
                    }
                    chars.next();
                    Token::Class { negated, ranges }
                }
                c => Token::Letter(c),
            });
        }
        Some(Glob(tokens))
    }

    /// Length of the shortest or longest beginning that is not empty and matches. Every position that the pattern can
    /// be at is followed at once, so that no pattern takes more than its length times the text's.
    pub(super) fn prefix(&self, text: &str, longest: bool) -> Option<usize> {
        let mut at = vec![false; self.0.len() + 1];
        let mut next = at.clone();
        at[0] = true;
        self.pass_stars(&mut at);
        let mut found = None;
        for (offset, c) in text.char_indices() {
            next.fill(false);
            for (position, token) in self.0.iter().enumerate().filter(|(position, _)| at[*position]) {
                match token {
                    Token::Star => next[position] = true,
                    token if token.takes(c) => next[position + 1] = true,
                    _ => {}
                }
            }
            self.pass_stars(&mut next);
            std::mem::swap(&mut at, &mut next);
            if at[self.0.len()] {
                found = Some(offset + c.len_utf8());
                if !longest {
                    break;
                }
            }
            if !at.contains(&true) {
                break;
            }
        }
        found
    }

    fn pass_stars(&self, at: &mut [bool]) {
        for (position, token) in self.0.iter().enumerate() {
            if at[position] && matches!(token, Token::Star) {
                at[position + 1] = true;
            }
        }
    }
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Token::Star | Token::Any => true,
            Token::Letter(letter) => *letter == c,
            Token::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

fn class_letter(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}
