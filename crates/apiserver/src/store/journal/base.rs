//! The data file: a redb table of all objects as they were when the log was handed over the last time.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::{JournalError, Loaded, Operation};
use crate::store::{LabelHint, Stored};

const OBJECTS: TableDefinition<'static, (&str, &str), (u64, &[u8])> = TableDefinition::new("objects");
const NUMBERS: TableDefinition<'static, &str, u64> = TableDefinition::new("numbers");
const RESERVED: &str = "reserved";
const EPOCH: &str = "epoch";

fn file(error: impl Into<redb::Error>) -> JournalError {
    JournalError::File(Box::new(error.into()))
}

/// The open file.
#[derive(Debug)]
pub(super) struct Base {
    database: Database,
    /// Versions below are never given again.
    pub(super) reserved: u64,
    /// Records of the log with this number come after the file, others are in it; 0 if nothing was written yet.
    pub(super) epoch: u64,
}

impl Base {
    pub(super) fn open(folder: &Path) -> Result<Base, JournalError> {
        let database = Database::builder()
            .set_cache_size(4 << 20)
            .create(folder.join("store.redb"))
            .map_err(file)?;
        let mut base = Base {
            database,
            reserved: 0,
            epoch: 0,
        };
        base.numbers()?;
        Ok(base)
    }

    /// The number of the log's next turn.
    pub(super) fn next_epoch(&self) -> u64 {
        if self.epoch == 0 {
            // So that the log of another data file is never taken for this one's.
            uuid::Uuid::new_v4().as_u64_pair().0 >> 1
        } else {
            self.epoch + 1
        }
    }

    fn numbers(&mut self) -> Result<(), JournalError> {
        let transaction = self.database.begin_read().map_err(file)?;
        // A new file has no tables until the first write: to make them here would cost a wait for the disk.
        let numbers = match transaction.open_table(NUMBERS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            numbers => numbers.map_err(file)?,
        };
        let number = |name: &str| {
            numbers
                .get(name)
                .map(|found| found.map_or(0, |found| found.value()))
        };
        self.reserved = number(RESERVED).map_err(file)?;
        self.epoch = number(EPOCH).map_err(file)?;
        Ok(())
    }

    /// Takes writes in, and says that the log goes on with another number.
    pub(super) fn commit<'a>(
        &mut self,
        operations: impl Iterator<Item = &'a Operation>,
        reserved: u64,
        epoch: u64,
    ) -> Result<(), JournalError> {
        let transaction = self.database.begin_write().map_err(file)?;
        {
            let mut objects = transaction.open_table(OBJECTS).map_err(file)?;
            for operation in operations {
                let key = (&*operation.collection, &*operation.key);
                match &operation.json {
                    Some(json) => {
                        let with_form;
                        let bytes: &[u8] = match &operation.form {
                            Some(form) => {
                                with_form = [form.as_bytes(), json].concat();
                                &with_form
                            }
                            None => json,
                        };
                        objects.insert(key, (operation.version, bytes)).map_err(file)?;
                    }
                    None => {
                        objects.remove(key).map_err(file)?;
                    }
                }
            }
            let mut numbers = transaction.open_table(NUMBERS).map_err(file)?;
            numbers.insert(RESERVED, reserved).map_err(file)?;
            numbers.insert(EPOCH, epoch).map_err(file)?;
        }
        transaction.commit().map_err(file)?;
        self.reserved = reserved;
        self.epoch = epoch;
        Ok(())
    }

    /// All objects.
    pub(super) fn load(&self) -> Result<Loaded, JournalError> {
        let mut loaded = Loaded {
            version: self.reserved,
            objects: vec![],
        };
        let transaction = self.database.begin_read().map_err(file)?;
        let objects = match transaction.open_table(OBJECTS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(loaded),
            objects => objects.map_err(file)?,
        };
        let mut last: Option<Arc<str>> = None;
        let mut form: Option<Arc<str>> = None;
        for entry in objects.iter().map_err(file)? {
            let (key, value) = entry.map_err(file)?;
            let (collection, key) = key.value();
            let collection = match &last {
                Some(last) if **last == *collection => last.clone(),
                _ => Arc::from(collection),
            };
            last = Some(collection.clone());
            let (version, json) = value.value();
            // A form stands before the object, which begins with a brace.
            let start = json.iter().position(|byte| *byte == b'{').unwrap_or(0);
            let given = std::str::from_utf8(&json[..start]).unwrap_or("");
            let object = Stored {
                key: key.into(),
                version,
                text: Bytes::copy_from_slice(&json[start..]).into(),
                labels: LabelHint::UNKNOWN,
                form: match &form {
                    _ if given.is_empty() => None,
                    Some(last) if **last == *given => Some(last.clone()),
                    _ => Some(given.into()),
                },
            };
            if object.form.is_some() {
                form.clone_from(&object.form);
            }
            loaded.objects.push((collection, object));
        }
        Ok(loaded)
    }
}
