//! Folders for what a process keeps: below the data folder if one was named, else temporary ones that go with the process.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

/// The temporary folder, made when first needed.
#[derive(Default)]
pub(crate) struct Folders {
    temporary: Mutex<Option<TempDir>>,
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
        Ok(folder)
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
