//! What goes wrong with expressions: when they are compiled, and when they run.

use std::borrow::Cow;
use std::fmt;

/// An expression that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    text: Cow<'static, str>,
    kind: ErrorKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// Something in the expression.
    Plain,
    /// A variable that is not there.
    Missing,
    /// The cost limit: no operator may swallow it.
    Cost,
}

impl Error {
    /// An error with this text.
    #[must_use]
    pub fn new(text: impl Into<Cow<'static, str>>) -> Error {
        Error {
            text: text.into(),
            kind: ErrorKind::Plain,
        }
    }

    pub(crate) fn missing(name: &str) -> Error {
        Error {
            text: format!("no such attribute(s): {name}").into(),
            kind: ErrorKind::Missing,
        }
    }

    pub(crate) fn cost() -> Error {
        Error {
            text: "operation cancelled: actual cost limit exceeded".into(),
            kind: ErrorKind::Cost,
        }
    }

    /// Whether the expression cost more than it may.
    #[must_use]
    pub fn is_cost(&self) -> bool {
        self.kind == ErrorKind::Cost
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.kind == ErrorKind::Missing
    }

    pub(crate) fn no_key(key: &impl fmt::Display) -> Error {
        Error::new(format!("no such key: {key}"))
    }

    pub(crate) fn no_overload() -> Error {
        Error::new("no such overload")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// One problem of an expression, at a place counted in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Issue {
    pub(crate) at: u32,
    pub(crate) text: String,
}

impl Issue {
    pub(crate) fn new(at: u32, text: impl Into<String>) -> Issue {
        Issue {
            at,
            text: text.into(),
        }
    }
}

/// Why an expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompileError {
    /// Syntax or types; the text shows the places.
    Check(String),
    /// A constant part that cannot be computed.
    Program(String),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompileError::Check(text) | CompileError::Program(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for CompileError {}

impl CompileError {
    pub(crate) fn of(source: &str, mut issues: Vec<Issue>) -> CompileError {
        issues.sort_by_key(|issue| issue.at);
        let shown: Vec<String> = issues.iter().take(100).map(|issue| show(source, issue)).collect();
        CompileError::Check(shown.join("\n"))
    }
}

/// The problem with its line and a mark under its place.
fn show(source: &str, issue: &Issue) -> String {
    let (mut line, mut column, mut start) = (1_usize, 0_usize, 0_usize);
    for (count, (at, character)) in source.char_indices().enumerate() {
        if count >= issue.at as usize {
            break;
        }
        column += 1;
        if character == '\n' {
            line += 1;
            column = 0;
            start = at + 1;
        }
    }
    let text = source[start..]
        .lines()
        .next()
        .unwrap_or_default()
        .replace('\t', " ");
    let mut marks: String = text
        .chars()
        .take(column)
        .map(|character| if character.len_utf8() > 1 { '．' } else { '.' })
        .collect();
    let wide = text
        .chars()
        .nth(column)
        .is_some_and(|character| character.len_utf8() > 1);
    marks.push(if wide { '＾' } else { '^' });
    format!(
        "ERROR: <input>:{line}:{}: {}\n | {text}\n | {marks}",
        column + 1,
        issue.text
    )
}
