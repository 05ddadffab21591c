//! Decrypts all values of a file where they stand, and adds up what its message authentication code covers.

use sha2::{Digest, Sha512};

use crate::cipher::{self, DataKey};
use crate::metadata::Metadata;
use crate::value::{Comment, Item, Value};

/// What goes first into a code that covers encrypted values only, so that it is never that of all values.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b,
    0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

struct Walk<'a> {
    metadata: &'a Metadata,
    key: &'a DataKey,
    hash: Sha512,
    path: Vec<String>,
    /// The comments above what is looked at, by branch.
    comments: Vec<Vec<String>>,
}

/// Decrypts the documents of a file; returns their code.
pub(crate) fn decrypt(
    branches: &mut [Vec<Item>],
    metadata: &Metadata,
    key: &DataKey,
) -> Result<String, String> {
    let mut walk = Walk {
        metadata,
        key,
        hash: Sha512::new(),
        path: Vec::new(),
        comments: Vec::new(),
    };
    if metadata.only_encrypted {
        walk.hash.update(ONLY_ENCRYPTED);
    }
    for branch in branches {
        walk.branch(branch)?;
    }
    let digest = walk.hash.finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02X}")).collect())
}

impl Walk<'_> {
    fn branch(&mut self, branch: &mut [Item]) -> Result<(), String> {
        self.comments.push(Vec::new());
        for item in branch {
            match item {
                Item::Comment(comment) => {
                    self.note(comment);
                    self.comment(comment)?;
                }
                Item::Entry { key, value } => {
                    self.path.push(key.clone());
                    self.value(value)?;
                    self.path.pop();
                    self.forget();
                }
            }
        }
        self.comments.pop();
        Ok(())
    }

    fn list(&mut self, items: &mut [Value]) -> Result<(), String> {
        self.comments.push(Vec::new());
        for item in items {
            if let Value::Comment(comment) = item {
                self.note(comment);
            }
            self.value(item)?;
            if !matches!(item, Value::Comment(_)) {
                self.forget();
            }
        }
        self.comments.pop();
        Ok(())
    }

    fn note(&mut self, comment: &Comment) {
        if let Some(last) = self.comments.last_mut() {
            last.push(comment.text.clone());
        }
    }

    fn forget(&mut self) {
        if let Some(last) = self.comments.last_mut() {
            last.clear();
        }
    }

    fn value(&mut self, value: &mut Value) -> Result<(), String> {
        match value {
            Value::Branch(branch) => self.branch(branch),
            Value::List(items) => self.list(items),
            Value::Comment(comment) => self.comment(comment),
            Value::Null => Ok(()),
            _ => self.leaf(value),
        }
    }

    fn place(&self) -> String {
        self.path.join(":") + ":"
    }

    fn comment(&mut self, comment: &mut Comment) -> Result<(), String> {
        if !self.metadata.rule.covers(&self.path, &self.comments, true) {
            return Ok(());
        }
        // A comment that does not decrypt was never encrypted: older writers left them as they were.
        match cipher::decrypt(comment.text.as_bytes(), self.key, &self.place()) {
            Ok(Value::Comment(plain)) => *comment = plain,
            Ok(other) => {
                let text = other.plain().unwrap_or_default();
                self.cover(&other);
                comment.text = String::from_utf8_lossy(&text).into_owned();
                comment.inline = false;
            }
            Err(_) => {}
        }
        Ok(())
    }

    fn leaf(&mut self, value: &mut Value) -> Result<(), String> {
        let encrypted = self.metadata.rule.covers(&self.path, &self.comments, false);
        if encrypted {
            let Value::Text(text) = &*value else {
                return Err(format!(
                    "Could not decrypt value: {} at '{}' is not encrypted, and the metadata say that it is",
                    value.kind(),
                    self.path.join(".")
                ));
            };
            *value = cipher::decrypt(text, self.key, &self.place()).map_err(|error| {
                format!(
                    "Error walking tree: Could not decrypt value: {error} (at '{}')",
                    self.path.join(".")
                )
            })?;
        }
        if encrypted || !self.metadata.only_encrypted {
            self.cover(value);
        }
        Ok(())
    }

    fn cover(&mut self, value: &Value) {
        if let Some(bytes) = value.authenticated() {
            self.hash.update(bytes);
        }
    }
}
