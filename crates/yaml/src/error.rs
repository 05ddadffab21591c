//! What reading can fail with, and how much reading may cost.

use std::fmt;

use crate::node::Pos;

/// Why a text could not be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where; line 0 if the failure has no place in a text.
    pub pos: Pos,
    /// What was found or expected.
    pub message: String,
}

impl Error {
    pub(crate) fn new(pos: Pos, message: impl Into<String>) -> Self {
        Error {
            pos,
            message: message.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pos.line > 0 {
            write!(f, "line {}, column {}: ", self.pos.line, self.pos.column)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Bounds that hostile texts run into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a text.
    pub bytes: usize,
    /// Nesting of collections. Reading and all that walks the nodes recurses this deep: the default
    /// leaves room on the stack of a thread with 2 MiB, in a build without optimisation too.
    pub depth: usize,
    /// Nodes that the aliases of a document may make; long texts count for several.
    pub expanded_nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bytes: 256 << 20,
            depth: 200,
            expanded_nodes: 1_000_000,
        }
    }
}
