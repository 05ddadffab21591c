//! What loading and rendering a chart can fail with.

use std::fmt;

/// At which stage a chart failed: callers decide by it whether a retry could help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The chart's files.
    Load,
    /// The release's name or options.
    Request,
    /// Values: their syntax, or how they fit together.
    Values,
    /// The values do not fit the chart's schema.
    Schema,
    /// The cluster's version is not one that the chart allows.
    Version,
    /// A template does not parse or fails.
    Template,
    /// What a template made is no manifest.
    Manifest,
}

/// Why a chart could not be loaded or rendered, worded as Helm words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where it failed.
    pub stage: Stage,
    message: String,
}

impl Error {
    /// An error of a stage.
    pub fn new(stage: Stage, message: impl Into<String>) -> Self {
        Error {
            stage,
            message: message.into(),
        }
    }

    pub(crate) fn load(message: impl Into<String>) -> Self {
        Error::new(Stage::Load, message)
    }

    pub(crate) fn values(message: impl Into<String>) -> Self {
        Error::new(Stage::Values, message)
    }

    /// The same error behind a text.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
