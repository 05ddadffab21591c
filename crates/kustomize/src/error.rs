//! What can go wrong in a build, and where: a message, the file and line it is about, and the
//! steps that led there, outermost first.

use std::fmt;

/// A file and, if known, a line in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file, relative to the tree, or the address of a remote file.
    pub file: String,
    /// The line, from 1; 0 if unknown.
    pub line: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            f.write_str(&self.file)
        } else {
            write!(f, "{}:{}", self.file, self.line)
        }
    }
}

/// A failed build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    message: String,
    location: Option<Location>,
    context: Vec<String>,
}

/// Short form.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with a message of its own.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Error {
            message: message.into(),
            location: None,
            context: Vec::new(),
        }
    }

    /// Says where, unless something closer to the cause said it already.
    #[must_use]
    pub fn at(mut self, file: impl Into<String>, line: u32) -> Self {
        self.location.get_or_insert(Location {
            file: file.into(),
            line,
        });
        self
    }

    /// Adds the step that failed.
    #[must_use]
    pub fn within(mut self, step: impl Into<String>) -> Self {
        self.context.push(step.into());
        self
    }

    /// The cause, without place and steps.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where the cause is.
    #[must_use]
    pub fn location(&self) -> Option<&Location> {
        self.location.as_ref()
    }

    /// The steps that led there, outermost first.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.context.iter().rev().map(String::as_str)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in self.steps() {
            write!(f, "{step}: ")?;
        }
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Adds steps to results.
pub(crate) trait Within<T> {
    /// Adds the step that failed.
    fn within(self, step: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Within<T> for Result<T> {
    fn within(self, step: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.within(step()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_from_the_outermost_step_to_the_cause() {
        let error = Error::new("no such field")
            .at("a/b.yaml", 3)
            .at("later.yaml", 1)
            .within("inner")
            .within("outer");
        assert_eq!(error.to_string(), "outer: inner: a/b.yaml:3: no such field");
    }
}
