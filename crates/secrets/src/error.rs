//! Why a file does not open.

use fluvial_ports::Format;

/// Why an encrypted file cannot be read. Never holds what is secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is malformed, or not encrypted.
    #[error("failed to load encrypted {} data: {message}", name(*format))]
    Load {
        /// The format it was read as.
        format: Format,
        /// What is wrong.
        message: String,
    },
    /// No group of keys, or too few, could be opened.
    #[error("cannot get sops data key: {report}")]
    DataKey {
        /// What was tried, key by key.
        report: String,
        /// Whether a key service could not be asked.
        transient: bool,
    },
    /// A value does not decrypt: the file was changed, or the key is another one.
    #[error("error decrypting sops tree: {0}")]
    Tree(String),
    /// The code over all values is not right: values were added, removed or moved.
    #[error("failed to verify sops data integrity: {0}")]
    Integrity(String),
    /// The values cannot be written in the wanted format.
    #[error("failed to emit encrypted {} file as decrypted {}: {message}", name(*input), name(*output))]
    Emit {
        /// The format that was read.
        input: Format,
        /// The wanted one.
        output: Format,
        /// What is wrong.
        message: String,
    },
}

/// A format as messages call it.
fn name(format: Format) -> &'static str {
    match format {
        Format::Yaml => "YAML",
        Format::Json => "JSON",
        Format::Dotenv => "dotenv",
        Format::Ini => "INI",
        Format::Binary => "binary",
    }
}
