//! An encrypted file, from its text to the plain one.

use fluvial_ports::{Format, Integrity};

use crate::cipher::{self, DataKey};
use crate::error::Error;
use crate::metadata::Metadata;
use crate::store::{self, Loaded};
use crate::value::{Item, Value};
use crate::walk;

/// An encrypted file that has been read.
pub struct File {
    format: Format,
    branches: Vec<Vec<Item>>,
    pub(crate) metadata: Metadata,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File")
            .field("format", &self.format)
            .field("documents", &self.branches.len())
            .finish_non_exhaustive()
    }
}

impl File {
    /// Reads a file. No key is needed for that.
    ///
    /// # Errors
    /// The text is malformed or carries no metadata.
    pub fn read(data: &[u8], format: Format) -> Result<Self, Error> {
        let refused = |message| Error::Load { format, message };
        let Loaded { branches, metadata } = store::load(data, format).map_err(refused)?;
        Ok(Self {
            format,
            branches,
            metadata: Metadata::read(metadata).map_err(refused)?,
        })
    }

    /// The plain text, as a file of the wanted format.
    ///
    /// # Errors
    /// A value does not belong where it stands or the code over all of them is wrong; the format cannot hold them.
    pub fn decrypt(mut self, key: &DataKey, output: Format, integrity: Integrity) -> Result<Vec<u8>, Error> {
        let computed = walk::decrypt(&mut self.branches, &self.metadata, key).map_err(Error::Tree)?;
        if integrity == Integrity::Checked {
            self.verify(key, &computed)?;
        }
        store::emit(&self.branches, output).map_err(|message| Error::Emit {
            input: self.format,
            output,
            message,
        })
    }

    fn verify(&self, key: &DataKey, computed: &str) -> Result<(), Error> {
        let Metadata {
            mac, last_modified, ..
        } = &self.metadata;
        let written = cipher::decrypt(mac.as_bytes(), key, last_modified).map_err(|error| {
            Error::Integrity(format!("the code of the file cannot be decrypted: {error}"))
        })?;
        match written {
            Value::Text(written) if written == computed.as_bytes() => Ok(()),
            Value::Text(written) if written.is_empty() => Err(Error::Integrity(format!(
                "expected mac 'no MAC', got '{computed}'"
            ))),
            Value::Text(written) => Err(Error::Integrity(format!(
                "expected mac '{}', got '{computed}'",
                String::from_utf8_lossy(&written)
            ))),
            other => Err(Error::Integrity(format!(
                "the code of the file is {}",
                other.kind()
            ))),
        }
    }
}
