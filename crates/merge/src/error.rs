//! Why a patch does not apply.

use std::fmt;

/// A patch that is malformed or does not fit its document; the text is the API server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchError {
    message: String,
}

impl PatchError {
    pub(crate) fn new(message: impl Into<String>) -> PatchError {
        PatchError {
            message: message.into(),
        }
    }
}

impl fmt::Display for PatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PatchError {}
