//! Folders and files of this machine on the way into artifacts, and back.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use fluvial_tree::{Entry, File, Tree, TreeBuilder};

use crate::environment::{Failure, Session};

/// Name of the file that standard input becomes.
const INPUT: &str = "manifest.yaml";
/// Most bytes of all files together.
const LARGEST: u64 = 1 << 30;
/// Most files.
const MOST: usize = 200_000;

/// What is on standard input as a file.
pub(super) fn from_input(session: &mut Session<'_>) -> Result<Tree, Failure> {
    let mut data = Vec::new();
    let mut input = (&mut session.env.input).take(LARGEST);
    input.read_to_end(&mut data)?;
    while data.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
        data.pop();
    }
    let mut tree = TreeBuilder::default();
    tree.file(INPUT, File::new(data, false))?;
    Ok(tree.build())
}

/// A folder with all that is in it, or one file. Links are left out, or followed if that is asked for.
pub(super) fn read(path: &Path, resolve: bool) -> Result<Tree, String> {
    let mut reader = Reader {
        tree: TreeBuilder::default(),
        resolve,
        bytes: 0,
        files: 0,
        above: Vec::new(),
    };
    if path.is_dir() {
        reader.folder(path, "")?;
    } else {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        reader.file(path, &name.unwrap_or_default())?;
    }
    Ok(reader.tree.build())
}

struct Reader {
    tree: TreeBuilder,
    resolve: bool,
    bytes: u64,
    files: usize,
    /// The real folders that are being read: a link to one of them leads in circles.
    above: Vec<PathBuf>,
}

impl Reader {
    fn folder(&mut self, folder: &Path, name: &str) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        let real = std::fs::canonicalize(folder).map_err(failed)?;
        if self.above.contains(&real) {
            return Ok(());
        }
        self.above.push(real);
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let last = entry.file_name().to_string_lossy().into_owned();
            let inner = if name.is_empty() {
                last
            } else {
                format!("{name}/{last}")
            };
            if entry.file_type().map_err(failed)?.is_symlink() && !self.resolve {
                continue;
            }
            let facts = std::fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            if facts.is_dir() {
                self.tree.folder(&inner).map_err(|error| error.to_string())?;
                self.folder(&path, &inner)?;
            } else if facts.is_file() {
                self.file(&path, &inner)?;
            }
        }
        self.above.pop();
        Ok(())
    }

    fn file(&mut self, path: &Path, name: &str) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let facts = std::fs::metadata(path).map_err(failed)?;
        self.bytes += facts.len();
        self.files += 1;
        if self.bytes > LARGEST || self.files > MOST {
            return Err(format!(
                "{}: more than {MOST} files or {LARGEST} bytes",
                path.display()
            ));
        }
        let data = std::fs::read(path).map_err(failed)?;
        let executable = facts.permissions().mode() & 0o111 != 0;
        self.tree
            .file(name, File::new(data, executable))
            .map_err(|error| error.to_string())?;
        Ok(())
    }
}

/// Writes files into a folder. No link that is there already is followed.
pub(super) fn write(files: &Tree, folder: &Path) -> Result<(), String> {
    for (path, entry) in files.iter() {
        let place = folder.join(path.as_str());
        let failed = |error: std::io::Error| format!("{}: {error}", place.display());
        if place.is_symlink() {
            return Err(format!(
                "{}: it is a link, which is not written through",
                place.display()
            ));
        }
        match entry {
            Entry::Folder => std::fs::create_dir_all(&place).map_err(failed)?,
            Entry::File(file) => {
                if let Some(parent) = place.parent() {
                    std::fs::create_dir_all(parent).map_err(failed)?;
                }
                std::fs::write(&place, file.data()).map_err(failed)?;
                if file.executable {
                    let mode = std::fs::Permissions::from_mode(0o755);
                    std::fs::set_permissions(&place, mode).map_err(failed)?;
                }
            }
            Entry::Symlink(_) => {}
        }
    }
    Ok(())
}

/// What differs, a line each: `+` only here, `-` only there, `~` other content.
pub(super) fn differences(here: &Tree, there: &Tree) -> Vec<String> {
    let plain = |tree: &Tree| -> std::collections::BTreeMap<String, File> {
        let files = tree.iter().filter_map(|(path, entry)| match entry {
            Entry::File(file) => Some((path.as_str().to_owned(), file.clone())),
            _ => None,
        });
        files.collect()
    };
    let (here, there) = (plain(here), plain(there));
    let mut lines = Vec::new();
    for (path, file) in &here {
        match there.get(path) {
            None => lines.push(format!("+ {path}\n")),
            Some(other) if other.data() != file.data() => lines.push(format!("~ {path}\n")),
            Some(_) => {}
        }
    }
    let gone = there.keys().filter(|path| !here.contains_key(*path));
    lines.extend(gone.map(|path| format!("- {path}\n")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_go_in_and_come_out_again() {
        let from = tempfile::tempdir().unwrap();
        std::fs::create_dir(from.path().join("a")).unwrap();
        std::fs::write(from.path().join("a/run.sh"), "x").unwrap();
        let run = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(from.path().join("a/run.sh"), run).unwrap();
        std::fs::write(from.path().join("b.yaml"), "kind: B\n").unwrap();
        std::os::unix::fs::symlink("..", from.path().join("a/up")).unwrap();
        let tree = read(from.path(), false).unwrap();
        let to = tempfile::tempdir().unwrap();
        write(&tree, to.path()).unwrap();
        assert_eq!(read(to.path(), false).unwrap().digest(), tree.digest());
        // Links are followed once, not in circles.
        let followed = read(from.path(), true).unwrap();
        assert!(followed.len() > tree.len() - 1, "{}", followed.len());
        std::fs::write(to.path().join("b.yaml"), "kind: C\n").unwrap();
        std::fs::write(to.path().join("c.yaml"), "kind: C\n").unwrap();
        std::fs::remove_file(to.path().join("a/run.sh")).unwrap();
        let other = read(to.path(), false).unwrap();
        assert_eq!(
            differences(&other, &tree),
            ["~ b.yaml\n", "+ c.yaml\n", "- a/run.sh\n"]
        );
        // What is there as a link is not written through.
        std::fs::remove_file(to.path().join("b.yaml")).unwrap();
        std::os::unix::fs::symlink("/dev/null", to.path().join("b.yaml")).unwrap();
        assert!(write(&tree, to.path()).unwrap_err().contains("it is a link"));
    }
}
