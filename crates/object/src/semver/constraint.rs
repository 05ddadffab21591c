//! Constraints on versions: `^1.2`, `>=1.0 <2 || 3.x`, `1.0 - 1.4`.

use std::cmp::Ordering;
use std::fmt;

use super::{MAX_LENGTH, SemverError, Version, compare_prereleases, split};

/// Alternatives of terms that must hold together.
#[derive(Clone, Debug)]
pub struct Constraint {
    groups: Vec<Group>,
}

#[derive(Clone, Debug)]
struct Group {
    terms: Vec<Term>,
    /// One term with a pre-release lets pre-releases in for all of them.
    prereleases: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    Tilde,
    Caret,
}

#[derive(Clone, Debug)]
struct Term {
    operator: Operator,
    /// As it was written, without blanks.
    text: String,
    version: Version,
    /// Which number was left open: 0 major, 1 minor, 2 patch.
    open: Option<usize>,
}

/// Symbols, longest first.
const OPERATORS: [(&str, Operator); 11] = [
    ("!=", Operator::NotEqual),
    (">=", Operator::GreaterEqual),
    ("=>", Operator::GreaterEqual),
    ("<=", Operator::LessEqual),
    ("=<", Operator::LessEqual),
    ("~>", Operator::Tilde),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
];

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}')
}

impl Constraint {
    /// Reads a constraint.
    pub fn parse(text: &str) -> Result<Self, SemverError> {
        if text.len() > 16 * MAX_LENGTH {
            return Err(improper(&text[..text.floor_char_boundary(MAX_LENGTH)]));
        }
        let text = rewrite_ranges(text);
        let groups = text.split("||").map(group).collect::<Result<_, _>>()?;
        Ok(Constraint { groups })
    }

    /// Whether a version fulfils the constraint.
    #[must_use]
    pub fn matches(&self, version: &Version) -> bool {
        self.groups.iter().any(|group| {
            (version.prerelease.is_empty() || group.prereleases)
                && group.terms.iter().all(|term| term.holds(version))
        })
    }

    /// The highest of the versions that fulfil the constraint; of equal ones the first.
    pub fn best<'a>(&self, versions: impl IntoIterator<Item = &'a Version>) -> Option<&'a Version> {
        versions
            .into_iter()
            .filter(|version| self.matches(version))
            .fold(None, |best, version| match best {
                Some(best) if best >= version => Some(best),
                _ => Some(version),
            })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, group) in self.groups.iter().enumerate() {
            if position > 0 {
                f.write_str(" || ")?;
            }
            let terms: Vec<&str> = group.terms.iter().map(|term| term.text.as_str()).collect();
            f.write_str(&terms.join(" "))?;
        }
        Ok(())
    }
}

fn improper(text: &str) -> SemverError {
    SemverError(format!("improper constraint: {}", crate::quote::quote(text)))
}

fn version_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '*' | '|')
}

/// The version that a text begins with: its length, or 0.
fn version_length(text: &str) -> usize {
    let end = text.find(|c| !version_character(c)).unwrap_or(text.len());
    if parts(&text[..end]).is_some() { end } else { 0 }
}

fn parts(text: &str) -> Option<super::Split<'_>> {
    split(text, |c| c.is_ascii_digit() || matches!(c, 'x' | 'X' | '*' | '|'))
}

/// `a - b` means `>= a, <= b`.
fn rewrite_ranges(text: &str) -> String {
    let mut rewritten = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from, to, after)) = next_range(rest) {
        rewritten.push_str(before);
        rewritten.push_str(&format!(">= {from}, <= {to} "));
        rest = after;
    }
    rewritten.push_str(rest);
    rewritten
}

fn next_range(text: &str) -> Option<(&str, &str, &str, &str)> {
    for (start, _) in text.char_indices() {
        let from = prefix_length(&text[start..]);
        if from == 0 {
            continue;
        }
        let end = start + from;
        let Some(right) = after_dash(&text[end..]) else {
            continue;
        };
        let to = prefix_length(right);
        if to > 0 {
            let before = text[..start].trim_end_matches(is_blank);
            let after = right[to..].trim_start_matches(is_blank);
            return Some((before, &text[start..end], &right[..to], after));
        }
    }
    None
}

/// What follows a hyphen between blanks.
fn after_dash(text: &str) -> Option<&str> {
    let dash = text.trim_start_matches(is_blank);
    let right = dash.strip_prefix('-')?;
    let trimmed = right.trim_start_matches(is_blank);
    (dash.len() < text.len() && trimmed.len() < right.len()).then_some(trimmed)
}

/// How much of a text's beginning can be read as a version, 0 if nothing.
fn prefix_length(text: &str) -> usize {
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, 'x' | 'X' | '*' | '|');
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut end = usize::from(text.starts_with('v'));
    let run = |at: usize, accepts: &dyn Fn(char) -> bool| {
        let rest = &text[at..];
        rest.find(|c| !accepts(c)).unwrap_or(rest.len())
    };
    let major = run(end, &is_number);
    if major == 0 {
        return 0;
    }
    end += major;
    for _ in 0..2 {
        if !text[end..].starts_with('.') {
            break;
        }
        match run(end + 1, &is_number) {
            0 => break,
            length => end += 1 + length,
        }
    }
    for sign in ['-', '+'] {
        if !text[end..].starts_with(sign) {
            continue;
        }
        let mut length = run(end + 1, &is_word);
        while length > 0 {
            end += 1 + length;
            if !text[end..].starts_with('.') {
                break;
            }
            length = run(end + 1, &is_word);
        }
    }
    end
}

/// Terms separated by blanks or commas.
fn group(text: &str) -> Result<Group, SemverError> {
    let mut terms = Vec::new();
    let mut rest = text.trim_start_matches(is_blank);
    loop {
        let (operator, symbol, after) = OPERATORS
            .iter()
            .find_map(|(symbol, operator)| Some((*operator, *symbol, rest.strip_prefix(symbol)?)))
            .unwrap_or((Operator::Equal, "", rest));
        let after = after.trim_start_matches(is_blank);
        let length = version_length(after);
        if length == 0 {
            return Err(improper(text));
        }
        terms.push((operator, symbol, &after[..length]));
        let after = &after[length..];
        rest = after.trim_start_matches(is_blank);
        if rest.is_empty() {
            break;
        }
        match rest.strip_prefix(',') {
            Some(next) => rest = next.trim_start_matches(is_blank),
            None if rest.len() == after.len() => return Err(improper(text)),
            None => {}
        }
    }
    let terms = terms
        .into_iter()
        .map(|(operator, symbol, text)| term(operator, symbol, text))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Group {
        prereleases: terms.iter().any(|term| !term.version.prerelease.is_empty()),
        terms,
    })
}

fn term(operator: Operator, symbol: &str, text: &str) -> Result<Term, SemverError> {
    let parser_error = || SemverError("constraint parser error".to_owned());
    let parts = parts(text).ok_or_else(|| improper(text))?;
    let open = parts
        .numbers
        .iter()
        .position(|number| number.is_none_or(|number| matches!(number, "x" | "X" | "*")));
    let known = open.unwrap_or(3);
    let mut version = parts.numbers[..known]
        .iter()
        .map(|number| number.unwrap_or("0"))
        .chain(std::iter::repeat_n("0", 3 - known))
        .collect::<Vec<_>>()
        .join(".");
    if !parts.prerelease.is_empty() {
        version.push('-');
        version.push_str(parts.prerelease);
    }
    Ok(Term {
        operator,
        text: format!("{symbol}{text}"),
        version: Version::parse(&version).map_err(|_| parser_error())?,
        open,
    })
}

impl Term {
    fn holds(&self, version: &Version) -> bool {
        let want = &self.version;
        match self.operator {
            Operator::Equal if self.open.is_some() => self.tilde(version),
            Operator::Equal => version == want,
            Operator::NotEqual => self.differs(version),
            Operator::Greater => match (self.open, version.major.cmp(&want.major)) {
                (None | Some(0), _) => version > want,
                (_, Ordering::Greater) => true,
                (_, Ordering::Less) => false,
                (Some(1), Ordering::Equal) => false,
                (Some(_), Ordering::Equal) => version.minor > want.minor,
            },
            Operator::Less => version < want,
            Operator::GreaterEqual => version >= want,
            Operator::LessEqual if self.open.is_some() => {
                version.major < want.major
                    || (version.major == want.major && (version.minor <= want.minor || self.open == Some(1)))
            }
            Operator::LessEqual => version <= want,
            Operator::Tilde => self.tilde(version),
            Operator::Caret => self.caret(version),
        }
    }

    fn tilde(&self, version: &Version) -> bool {
        let want = &self.version;
        if version < want {
            return false;
        }
        let zero = (want.major, want.minor, want.patch) == (0, 0, 0);
        if zero && matches!(self.open, None | Some(0)) {
            return true;
        }
        version.major == want.major && (version.minor == want.minor || self.open == Some(1))
    }

    fn caret(&self, version: &Version) -> bool {
        let want = &self.version;
        if version < want {
            return false;
        }
        if want.major > 0 || self.open == Some(1) {
            return version.major == want.major;
        }
        if version.major > 0 {
            return false;
        }
        if want.minor > 0 || self.open == Some(2) {
            return version.minor == want.minor;
        }
        version.minor == 0 && version.patch == want.patch
    }

    fn differs(&self, version: &Version) -> bool {
        let want = &self.version;
        if self.open.is_none() {
            return version != want;
        }
        if version.major != want.major {
            return true;
        }
        match self.open {
            Some(1) => false,
            _ if version.minor != want.minor => true,
            Some(2) => {
                let either = !version.prerelease.is_empty() || !want.prerelease.is_empty();
                either && compare_prereleases(&version.prerelease, &want.prerelease).is_ne()
            }
            _ => version.patch != want.patch || version != want,
        }
    }
}
