//! What a run can fail with, and how Go words it.

use std::fmt;

use crate::quote::quote;

/// Where in a template a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 0, as Go counts.
    pub column: usize,
    /// The action or operand, as Go prints it between `<` and `>`.
    pub context: String,
}

/// Why a run failed.
#[derive(Debug)]
pub struct ExecError {
    /// The template that was executing.
    pub template: String,
    /// Where; none if it was not yet at any place.
    pub location: Option<Location>,
    /// What went wrong, the texts of errors inside included.
    pub message: String,
    /// The error of a template that a function ran.
    pub source: Option<Box<ExecError>>,
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            None => write!(f, "template: {}: {}", self.template, self.message),
            Some(at) => write!(
                f,
                "template: {}:{}:{}: executing {} at <{}>: {}",
                at.file,
                at.line,
                at.column,
                quote(&self.template),
                at.context,
                self.message
            ),
        }
    }
}

impl std::error::Error for ExecError {}
