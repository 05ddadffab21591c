//! A work tree's files as they are on disk, committed or not, without what Git ignores.

use std::path::Path;

use fluvial_tree::{Entry, Tree, TreeBuilder};

use crate::error::{SourceError, reason};
use crate::folder;
use crate::limits::{Budget, Limits};

/// The files of a work tree. `head` is the committed state: its files count even if a rule ignores them.
pub(crate) fn read(worktree: &Path, head: &Tree, limits: Limits) -> Result<Tree, SourceError> {
    let mut builder = TreeBuilder::default();
    let mut budget = Budget::new(limits, reason::READ_OPERATION_FAILED);
    let walk = ignore::WalkBuilder::new(worktree)
        .hidden(false)
        .ignore(false)
        .git_global(false)
        .git_ignore(true)
        .git_exclude(true)
        .parents(false)
        .require_git(false)
        .follow_links(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build();
    for entry in walk {
        let entry = entry.map_err(|error| {
            SourceError::retry(
                reason::READ_OPERATION_FAILED,
                format!("cannot read work tree '{}': {error}", worktree.display()),
            )
        })?;
        if entry.depth() > 0 && entry.file_type().is_none_or(|kind| !kind.is_dir()) {
            folder::add(&mut builder, &mut budget, worktree, entry.path())?;
        }
    }
    let so_far = builder.clone().build();
    for (path, entry) in head.iter() {
        if matches!(entry, Entry::Folder) || so_far.get(path).is_some() {
            continue;
        }
        let on_disk = worktree.join(path.as_str());
        if on_disk.symlink_metadata().is_ok_and(|meta| !meta.is_dir()) {
            folder::add(&mut builder, &mut budget, worktree, &on_disk)?;
        }
    }
    Ok(builder.build())
}
