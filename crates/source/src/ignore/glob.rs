//! File name patterns as Go's `path/filepath.Match` reads them: `*`, `?`, `[a-c]`, `[^a]`, `\x`.
//!
//! `!` does not negate a class, braces are plain text, and a malformed pattern matches nothing.

/// One name's pattern, made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Glob {
    /// Malformed: matches nothing.
    Never,
    /// No special character.
    Literal(String),
    /// `*` and then plain text, the most common kind.
    Suffix(String),
    /// Everything else.
    General(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Star,
    One,
    Char(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    pub(crate) fn new(text: &str) -> Self {
        let Some(tokens) = tokens(text) else {
            return Glob::Never;
        };
        let plain = |tokens: &[Token]| -> Option<String> {
            tokens
                .iter()
                .map(|token| match token {
                    Token::Char(c) => Some(*c),
                    _ => None,
                })
                .collect()
        };
        if let Some(literal) = plain(&tokens) {
            return Glob::Literal(literal);
        }
        if let [Token::Star, rest @ ..] = tokens.as_slice()
            && let Some(suffix) = plain(rest)
        {
            return Glob::Suffix(suffix);
        }
        Glob::General(tokens)
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Glob::Never => false,
            Glob::Literal(literal) => literal == name,
            Glob::Suffix(suffix) => name.ends_with(suffix.as_str()),
            Glob::General(tokens) => matches(tokens, name),
        }
    }
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => {
                if tokens.last() != Some(&Token::Star) {
                    tokens.push(Token::Star);
                }
            }
            '?' => tokens.push(Token::One),
            '\\' => tokens.push(Token::Char(chars.next()?)),
            '[' => tokens.push(class(&mut chars)?),
            c => tokens.push(Token::Char(c)),
        }
    }
    Some(tokens)
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Some(Token::Class { negated, ranges });
        }
        let low = class_char(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() {
            class_char(chars)?
        } else {
            low
        };
        ranges.push((low, high));
    }
}

fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

/// Greedy match that goes back to the last star only, so the cost is at most name × pattern.
fn matches(tokens: &[Token], name: &str) -> bool {
    let (mut at, mut rest) = (0, name);
    let mut retry: Option<(usize, &str)> = None;
    loop {
        match tokens.get(at) {
            Some(Token::Star) => {
                retry = Some((at, rest));
                at += 1;
                continue;
            }
            Some(token) => {
                let mut chars = rest.chars();
                if chars.next().is_some_and(|c| one(token, c)) {
                    at += 1;
                    rest = chars.as_str();
                    continue;
                }
            }
            None if rest.is_empty() => return true,
            None => {}
        }
        let Some((star, tail)) = retry else {
            return false;
        };
        let mut chars = tail.chars();
        if chars.next().is_none() {
            return false;
        }
        rest = chars.as_str();
        retry = Some((star, rest));
        at = star + 1;
    }
}

fn one(token: &Token, c: char) -> bool {
    match token {
        Token::Star => false,
        Token::One => true,
        Token::Char(want) => *want == c,
        Token::Class { negated, ranges } => {
            ranges.iter().any(|(low, high)| *low <= c && c <= *high) != *negated
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_gos_do() {
        for (pattern, name, want) in [
            ("*.txt", "a.txt", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("?.txt", "é.txt", true),
            ("[a-c].txt", "b.txt", true),
            ("[^a]", "b", true),
            ("[!a]", "!", true),
            ("[!a]", "b", false),
            ("[]a]", "a", false),
            ("[z-a]", "m", false),
            ("[", "[", false),
            ("\\*", "*", true),
            ("a\\", "a\\", false),
            ("{a,b}", "a", false),
            ("**", "anything", true),
            ("", "", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_stay_cheap() {
        let pattern = "a*".repeat(200) + "b";
        assert!(!Glob::new(&pattern).matches(&"a".repeat(5_000)));
    }
}
