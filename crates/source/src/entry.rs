//! Small helpers over tree entries that several modules share.

use fluvial_tree::{Entry, PathError, TreeBuilder};

/// Adds an entry of whatever kind.
pub(crate) fn insert(builder: &mut TreeBuilder, path: &str, entry: &Entry) -> Result<(), PathError> {
    match entry {
        Entry::File(file) => builder.file(path, file.clone())?,
        Entry::Symlink(target) => builder.symlink(path, target)?,
        Entry::Folder => builder.folder(path)?,
    };
    Ok(())
}
