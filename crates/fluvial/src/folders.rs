//! Folders for what a process keeps: below the data folder if one was named, else temporary ones that go with the process.
//! A data folder belongs to one process at a time.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

/// Name of the file that is locked while a process uses a data folder; the system lets go of it when the process ends.
const LOCK: &str = "lock";

/// The folders of this process, made when first needed.
#[derive(Default)]
pub(crate) struct Folders {
    temporary: Mutex<Option<TempDir>>,
    locked: Mutex<BTreeMap<PathBuf, File>>,
}

impl Folders {
    /// A folder of this name, which exists.
    pub(crate) fn of(&self, data: Option<&Path>, name: &str) -> Result<PathBuf, String> {
        let parent = match data {
            Some(data) => data.to_owned(),
            None => self.temporary()?,
        };
        let folder = parent.join(name);
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        if data.is_some() {
            self.take(&parent)?;
        }
        Ok(folder)
    }

    /// Keeps other processes out of a data folder until this one ends.
    fn take(&self, data: &Path) -> Result<(), String> {
        let data = std::fs::canonicalize(data).map_err(|error| format!("{}: {error}", data.display()))?;
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        if locked.contains_key(&data) {
            return Ok(());
        }
        let fail = |error: std::io::Error| format!("{}: {error}", data.join(LOCK).display());
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(data.join(LOCK))
            .map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(fail)?;
                writeln!(file, "{}", std::process::id()).map_err(fail)?;
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Its number is a help, no more.
                let _ = file.take(32).read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => String::new(),
                    number => format!(" (process {number})"),
                };
                return Err(format!(
                    "{} is in use by another fluvial{holder}; end that one, or name another folder with --data",
                    data.display()
                ));
            }
            // A file system without locks cannot keep anybody out.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        locked.insert(data, file);
        Ok(())
    }

    fn temporary(&self) -> Result<PathBuf, String> {
        let mut temporary = self.temporary.lock().unwrap_or_else(PoisonError::into_inner);
        if temporary.is_none() {
            let made = TempDir::with_prefix("fluvial-");
            *temporary = Some(made.map_err(|error| format!("a temporary folder cannot be made: {error}"))?);
        }
        Ok(temporary
            .as_ref()
            .map(|folder| folder.path().to_owned())
            .unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_folder_belongs_to_one_process_at_a_time() {
        let data = tempfile::tempdir().unwrap();
        let first = Folders::default();
        assert!(first.of(Some(data.path()), "one").unwrap().is_dir());
        assert!(first.of(Some(data.path()), "two").unwrap().is_dir());
        let refused = Folders::default().of(Some(data.path()), "one").unwrap_err();
        let wanted = format!("is in use by another fluvial (process {})", std::process::id());
        assert!(refused.contains(&wanted), "{refused}");
        drop(first);
        assert!(Folders::default().of(Some(data.path()), "one").is_ok());
    }
}
