//! What a repository holds encrypted, and who can read it.

use std::collections::BTreeMap;
use std::sync::Arc;

/// How an encrypted file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// YAML documents.
    Yaml,
    /// A JSON object.
    Json,
    /// `NAME=value` lines.
    Dotenv,
    /// Sections of `name = value` lines.
    Ini,
    /// Anything else: one value in a JSON envelope.
    Binary,
}

/// Whether the code that covers all of a file's values is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrity {
    /// It must be right: the file is as it was written.
    Checked,
    /// The values alone prove themselves, each at its place: the rest has been changed on purpose since.
    Values,
}

/// A text that cannot be decrypted, or keys that cannot be read. It never holds what is secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecryptionError {
    /// Text.
    pub message: String,
    /// Whether the same may work later with nothing changed here: a key service did not answer.
    pub transient: bool,
}

/// Reads what somebody has encrypted for a set of keys. May block its thread, as keys can be behind a network.
pub trait Decryptor: Send + Sync {
    /// The plain text of an encrypted one, as a file of the `output` format.
    ///
    /// # Errors
    /// No key fits, the text is malformed or has been tampered with.
    fn decrypt(
        &self,
        data: &[u8],
        input: Format,
        output: Format,
        integrity: Integrity,
    ) -> Result<Vec<u8>, DecryptionError>;
}

/// One entry of a Secret that cannot be used as a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct KeyError {
    /// Which entry.
    pub entry: String,
    /// What is wrong.
    pub message: String,
}

/// Makes decryptors.
pub trait Decryption: Send + Sync + 'static {
    /// A decryptor with the keys of a Secret, recognised by the names of its entries. Without any, the process's own
    /// identity at its cloud is what is left.
    ///
    /// # Errors
    /// An entry is no key.
    fn decryptor(&self, secret: &BTreeMap<String, Vec<u8>>) -> Result<Arc<dyn Decryptor>, KeyError>;
}

/// Decrypts nothing: for programs without keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDecryption;

impl Decryption for NoDecryption {
    fn decryptor(&self, _secret: &BTreeMap<String, Vec<u8>>) -> Result<Arc<dyn Decryptor>, KeyError> {
        Err(KeyError {
            entry: String::new(),
            message: "this program cannot decrypt".to_owned(),
        })
    }
}
