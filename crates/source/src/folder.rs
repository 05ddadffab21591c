//! A folder on disk as a file tree. Symlinks are kept as data and never followed.

use std::path::Path;

use fluvial_tree::{File, Tree, TreeBuilder};

use crate::error::{SourceError, reason};
use crate::limits::{Budget, Limits};

fn unreadable(path: &Path, error: &std::io::Error) -> SourceError {
    SourceError::retry(
        reason::READ_OPERATION_FAILED,
        format!("cannot read '{}': {error}", path.display()),
    )
}

/// Reads a folder with everything in it but `.git`.
///
/// # Errors
/// If something cannot be read, has a name that no tree may hold, or a limit is met.
pub fn read(path: &Path, limits: Limits) -> Result<Tree, SourceError> {
    if !path.is_dir() {
        let what = if path.exists() {
            "is no folder"
        } else {
            "does not exist"
        };
        return Err(SourceError::retry(
            reason::READ_OPERATION_FAILED,
            format!("'{}' {what}; correct the path", path.display()),
        ));
    }
    let mut builder = TreeBuilder::default();
    let mut budget = Budget::new(limits, reason::READ_OPERATION_FAILED);
    let mut open = vec![path.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&folder, &error))?;
            if entry.file_name() == ".git" {
                continue;
            }
            let here = entry.path();
            let kind = entry.file_type().map_err(|error| unreadable(&here, &error))?;
            if kind.is_dir() {
                let name = relative(path, &here)?;
                budget.depth(&name)?;
                budget.entry(&name, 0)?;
                builder.folder(&name).map_err(|error| odd_name(&here, &error))?;
                open.push(here);
            } else {
                add(&mut builder, &mut budget, path, &here)?;
            }
        }
    }
    Ok(builder.build())
}

/// Adds a file or symlink; sockets, pipes and devices are refused.
pub(crate) fn add(
    builder: &mut TreeBuilder,
    budget: &mut Budget,
    root: &Path,
    path: &Path,
) -> Result<(), SourceError> {
    let name = relative(root, path)?;
    budget.depth(&name)?;
    let meta = path
        .symlink_metadata()
        .map_err(|error| unreadable(path, &error))?;
    if meta.is_symlink() {
        let target = std::fs::read_link(path).map_err(|error| unreadable(path, &error))?;
        let target = target
            .to_str()
            .ok_or_else(|| odd_name(path, &"its symlink target is no UTF-8"))?;
        budget.entry(&name, 0)?;
        builder
            .symlink(&name, target)
            .map_err(|error| odd_name(path, &error))?;
        return Ok(());
    }
    if !meta.is_file() {
        return Err(odd_name(path, &"it is neither file, folder nor symlink"));
    }
    budget.entry(&name, meta.len())?;
    let data = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    builder
        .file(&name, File::new(data, is_executable(&meta)))
        .map_err(|error| odd_name(path, &error))?;
    Ok(())
}

fn relative(root: &Path, path: &Path) -> Result<String, SourceError> {
    path.strip_prefix(root)
        .ok()
        .and_then(Path::to_str)
        .map(str::to_owned)
        .ok_or_else(|| odd_name(path, &"its name is no UTF-8"))
}

fn odd_name(path: &Path, what: &dyn std::fmt::Display) -> SourceError {
    SourceError::retry(
        reason::READ_OPERATION_FAILED,
        format!("cannot take in '{}': {what}; rename or remove it", path.display()),
    )
}

#[cfg(unix)]
fn is_executable(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use fluvial_tree::{Entry, TreePath};

    use super::*;

    #[test]
    fn a_folder_is_read_with_links_as_data() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/empty")).unwrap();
        std::fs::create_dir_all(dir.path().join(".git")).unwrap();
        std::fs::write(dir.path().join("a/x"), "x").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        let tree = read(dir.path(), Limits::default()).unwrap();
        let names: Vec<_> = tree.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(names, ["a", "a/empty", "a/x", "link"]);
        assert!(matches!(
            tree.get(&TreePath::parse("link").unwrap()),
            Some(Entry::Symlink(target)) if target == "/etc/passwd"
        ));
    }

    #[test]
    fn a_large_file_and_a_missing_folder_are_said_clearly() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("big"), vec![0; 100]).unwrap();
        let limits = Limits {
            file: 10,
            ..Limits::default()
        };
        assert!(
            read(dir.path(), limits)
                .unwrap_err()
                .message
                .contains("'big' has 100 bytes")
        );
        let missing = read(&dir.path().join("nope"), limits).unwrap_err();
        assert!(missing.message.contains("does not exist"));
    }
}
