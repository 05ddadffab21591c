//! Where artifacts are kept: each content once, linked under the paths that Flux publishes.
//!
//! A file appears complete or not at all (written aside, synced, renamed), so a crash leaves at
//! most leftovers that the next start removes. Other replicas may serve the same folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustc_hash::FxHashMap;

use super::Packed;
use super::disk::{digest_of, sync_folder, write_synced};
use crate::error::{SourceError, reason};

/// Contents by digest.
const OBJECTS: &str = ".objects";
/// Files under way.
const PENDING: &str = ".pending";

/// Whose artifact it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Kind, as `GitRepository`; lower-cased in paths.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// A stored artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Path in the store and of the URL.
    pub path: String,
    /// `sha256:…` of the file.
    pub digest: String,
    /// Bytes of the file.
    pub size: u64,
}

/// A folder of artifacts. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    counter: AtomicU64,
    /// Files whose digest was computed, by path: with what they looked like then.
    known: Mutex<FxHashMap<PathBuf, (Fingerprint, String)>>,
}

/// What tells a changed file from an unchanged one without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fingerprint(u64, Option<SystemTime>, u64);

impl Fingerprint {
    fn of(meta: &fs::Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(meta);
        #[cfg(not(unix))]
        let inode = 0;
        Fingerprint(meta.len(), meta.modified().ok(), inode)
    }
}

/// The file name of a Git revision's artifact: `<commit>.tar.gz`.
#[must_use]
pub fn git_file_name(revision: &str) -> String {
    let id = revision.rsplit_once(':').map_or(revision, |(_, id)| id);
    let id: String = id
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect();
    format!("{id}.tar.gz")
}

fn plain(part: &str) -> bool {
    !part.is_empty() && !part.starts_with('.') && !part.contains(['/', '\\', '\0'])
}

fn failed(reason: &'static str, what: &str, path: &Path, error: &io::Error) -> SourceError {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull => "; free space in the artifact store",
        io::ErrorKind::PermissionDenied => "; give the process the right to write there",
        io::ErrorKind::ReadOnlyFilesystem => "; mount the artifact store writable",
        _ => "",
    };
    SourceError::retry(
        reason,
        format!("cannot {what} '{}': {error}{hint}", path.display()),
    )
}

impl Owner {
    /// The folder of its artifacts below the store.
    ///
    /// # Errors
    /// If a part is no plain name.
    fn folder(&self) -> Result<String, SourceError> {
        let kind = self.kind.to_ascii_lowercase();
        if ![kind.as_str(), &self.namespace, &self.name]
            .into_iter()
            .all(plain)
        {
            return Err(SourceError::stalled(
                reason::DIRECTORY_CREATION_FAILED,
                format!(
                    "'{kind}/{}/{}' names no folder of the artifact store",
                    self.namespace, self.name
                ),
            ));
        }
        Ok(format!("{kind}/{}/{}", self.namespace, self.name))
    }

    /// The link to its newest artifact, in the same folder.
    fn latest(&self) -> &'static str {
        if self.kind.eq_ignore_ascii_case("HelmRepository") {
            "index.yaml"
        } else {
            "latest.tar.gz"
        }
    }

    /// The path of the link to its newest artifact.
    ///
    /// # Errors
    /// If a part is no plain name.
    pub fn latest_path(&self) -> Result<String, SourceError> {
        Ok(format!("{}/{}", self.folder()?, self.latest()))
    }
}

impl Store {
    /// Opens a store, made if it is not there; leftovers of a crash are removed.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, SourceError> {
        let root = root.into();
        let pending = root.join(PENDING);
        for folder in [&root.join(OBJECTS), &pending] {
            fs::create_dir_all(folder)
                .map_err(|error| failed(reason::DIRECTORY_CREATION_FAILED, "create", folder, &error))?;
        }
        for leftover in fs::read_dir(&pending).into_iter().flatten().flatten() {
            // Another replica may be quicker.
            let _ = fs::remove_file(leftover.path());
        }
        Ok(Store(Arc::new(Inner {
            root,
            counter: AtomicU64::new(0),
            known: Mutex::default(),
        })))
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Keeps an artifact under its owner's path and points the link to the newest at it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put(&self, owner: &Owner, file: &str, packed: &Packed) -> Result<Stored, SourceError> {
        let write = |path: &Path| write_synced(path, &packed.data);
        self.put_with(owner, file, &packed.digest.to_string(), packed.size(), &write)
    }

    /// Keeps a copy of a file as an artifact, without taking it into memory.
    ///
    /// # Errors
    /// If it cannot be read, or the copy not be written.
    pub fn put_file(&self, owner: &Owner, file: &str, from: &Path) -> Result<Stored, SourceError> {
        let unreadable = |error: io::Error| failed(reason::READ_OPERATION_FAILED, "read", from, &error);
        let digest = digest_of(from).map_err(unreadable)?;
        let size = fs::metadata(from).map_err(unreadable)?.len();
        let write = |path: &Path| {
            fs::copy(from, path)?;
            fs::File::open(path)?.sync_all()
        };
        self.put_with(owner, file, &digest, size, &write)
    }

    fn put_with(
        &self,
        owner: &Owner,
        file: &str,
        digest: &str,
        size: u64,
        write: &dyn Fn(&Path) -> io::Result<()>,
    ) -> Result<Stored, SourceError> {
        let folder = owner.folder()?;
        if !plain(file) {
            return Err(SourceError::stalled(
                reason::DIRECTORY_CREATION_FAILED,
                format!("'{file}' names no file of the artifact store"),
            ));
        }
        let stored = Stored {
            path: format!("{folder}/{file}"),
            digest: digest.to_owned(),
            size,
        };
        let folder = self.0.root.join(folder);
        fs::create_dir_all(&folder)
            .map_err(|error| failed(reason::DIRECTORY_CREATION_FAILED, "create", &folder, &error))?;
        let target = folder.join(file);
        let archive = |error: io::Error| failed(reason::ARCHIVE_OPERATION_FAILED, "write", &target, &error);
        if !self.holds(&target, &stored.digest) {
            let object = self.object(digest, write).map_err(archive)?;
            let pending = self.pending();
            if fs::hard_link(&object, &pending).is_err() {
                write(&pending).map_err(archive)?;
            }
            fs::rename(&pending, &target).map_err(archive)?;
            // Renaming one link onto another of the same file leaves both.
            let _ = fs::remove_file(&pending);
            sync_folder(&folder).map_err(archive)?;
            self.remember(&target, &stored.digest);
        }
        self.link_latest(owner, &folder, file)?;
        Ok(stored)
    }

    /// The content's file, written if it is not there.
    fn object(&self, digest: &str, write: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<PathBuf> {
        let name = digest.strip_prefix("sha256:").unwrap_or(digest);
        let object = self.0.root.join(OBJECTS).join(name);
        if self.holds(&object, digest) {
            // It counts as new again: retention goes by age.
            let _ = fs::File::options()
                .append(true)
                .open(&object)
                .and_then(|file| file.set_modified(SystemTime::now()));
            return Ok(object);
        }
        let pending = self.pending();
        write(&pending)?;
        fs::rename(&pending, &object)?;
        sync_folder(&self.0.root.join(OBJECTS))?;
        Ok(object)
    }

    fn pending(&self) -> PathBuf {
        let number = self.0.counter.fetch_add(1, Ordering::Relaxed);
        self.0
            .root
            .join(PENDING)
            .join(format!("{}-{number}", std::process::id()))
    }

    fn link_latest(&self, owner: &Owner, folder: &Path, file: &str) -> Result<(), SourceError> {
        let link = folder.join(owner.latest());
        if fs::read_link(&link).is_ok_and(|target| target == Path::new(file)) {
            return Ok(());
        }
        let pending = self.pending();
        #[cfg(unix)]
        let linked = std::os::unix::fs::symlink(file, &pending);
        #[cfg(not(unix))]
        let linked = fs::hard_link(folder.join(file), &pending);
        linked
            .and_then(|()| fs::rename(&pending, &link))
            .map_err(|error| failed(reason::SYMLINK_UPDATE_FAILED, "set", &link, &error))
    }

    /// Whether the file of a status is there and has the digest that the status says.
    #[must_use]
    pub fn verify(&self, path: &str, digest: &str) -> bool {
        path.split('/').all(plain) && self.holds(&self.0.root.join(path), digest)
    }

    /// Whether a file has this digest; read only if it changed since the last look.
    fn holds(&self, path: &Path, digest: &str) -> bool {
        let Ok(meta) = fs::symlink_metadata(path) else {
            return false;
        };
        if !meta.is_file() {
            return false;
        }
        let fingerprint = Fingerprint::of(&meta);
        {
            let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((seen, known)) = known.get(path)
                && *seen == fingerprint
            {
                return known == digest;
            }
        }
        let Ok(found) = digest_of(path) else {
            return false;
        };
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let same = found == digest;
        known.insert(path.to_owned(), (fingerprint, found));
        same
    }

    fn remember(&self, path: &Path, digest: &str) {
        if let Ok(meta) = fs::symlink_metadata(path) {
            let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(path.to_owned(), (Fingerprint::of(&meta), digest.to_owned()));
        }
    }

    /// The content of a stored artifact.
    ///
    /// # Errors
    /// If it is missing or has another digest.
    pub fn get(&self, path: &str, digest: &str) -> Result<Vec<u8>, SourceError> {
        let file = self.0.root.join(path);
        let damaged =
            |error: &io::Error| failed(reason::READ_OPERATION_FAILED, "read artifact", &file, error);
        if !path.split('/').all(plain) {
            return Err(damaged(&io::ErrorKind::InvalidInput.into()));
        }
        let data = fs::read(&file).map_err(|error| damaged(&error))?;
        let found = fluvial_tree::Digest::of(&data).to_string();
        if found != digest {
            return Err(SourceError::retry(
                reason::READ_OPERATION_FAILED,
                format!("artifact '{path}' has digest {found} instead of {digest}; it is fetched again"),
            ));
        }
        Ok(data)
    }

    /// Removes what retention no longer keeps: artifacts older than `ttl` beyond the newest `records`.
    /// The current one always stays. The names of what was removed.
    ///
    /// # Errors
    /// If the folder cannot be read or a file cannot be removed.
    pub fn collect(
        &self,
        owner: &Owner,
        current: &str,
        ttl: Duration,
        records: usize,
        now: SystemTime,
    ) -> Result<Vec<String>, SourceError> {
        let folder = self.0.root.join(owner.folder()?);
        let unreadable = |error: io::Error| failed(reason::STAT_OPERATION_FAILED, "read", &folder, &error);
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let meta = entry.metadata().map_err(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if meta.is_file() && name != current {
                files.push((meta.modified().map_err(unreadable)?, name));
            }
        }
        files.sort_unstable_by(|a, b| b.cmp(a));
        let mut removed = Vec::new();
        // The current one is one of the records.
        for (modified, name) in files.into_iter().skip(records.saturating_sub(1)) {
            let age = now.duration_since(modified).unwrap_or_default();
            if age <= ttl {
                continue;
            }
            let path = folder.join(&name);
            fs::remove_file(&path)
                .map_err(|error| failed(reason::ARCHIVE_OPERATION_FAILED, "remove", &path, &error))?;
            self.forget(&path);
            removed.push(name);
        }
        if !removed.is_empty() {
            self.sweep();
        }
        Ok(removed)
    }

    /// Removes everything of an owner that is no more.
    ///
    /// # Errors
    /// If the folder cannot be removed.
    pub fn remove(&self, owner: &Owner) -> Result<(), SourceError> {
        let folder = self.0.root.join(owner.folder()?);
        match fs::remove_dir_all(&folder) {
            Ok(()) => {
                let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.retain(|path, _| !path.starts_with(&folder));
                drop(known);
                self.sweep();
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(
                reason::ARCHIVE_OPERATION_FAILED,
                "remove",
                &folder,
                &error,
            )),
        }
    }

    fn forget(&self, path: &Path) {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(path);
    }

    /// Removes contents that no path names any more.
    #[cfg(unix)]
    fn sweep(&self) {
        use std::os::unix::fs::MetadataExt;
        for entry in fs::read_dir(self.0.root.join(OBJECTS))
            .into_iter()
            .flatten()
            .flatten()
        {
            let alone = entry.metadata().is_ok_and(|meta| {
                let settled = meta
                    .modified()
                    .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > Duration::from_secs(60)));
                meta.nlink() == 1 && settled
            });
            if alone && fs::remove_file(entry.path()).is_ok() {
                self.forget(&entry.path());
            }
        }
    }

    #[cfg(not(unix))]
    fn sweep(&self) {}

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        fs::read_dir(self.0.root.join(OBJECTS)).is_ok_and(|mut entries| entries.next().is_none())
    }

    /// Reads every content and removes what does not have the digest that it is named by, so that a
    /// reconcile stores it anew. The number of damaged contents.
    #[must_use]
    pub fn check(&self) -> usize {
        let mut damaged = 0;
        for entry in fs::read_dir(self.0.root.join(OBJECTS))
            .into_iter()
            .flatten()
            .flatten()
        {
            let want = format!("sha256:{}", entry.file_name().to_string_lossy());
            if digest_of(&entry.path()).is_ok_and(|found| found != want) {
                damaged += 1;
                // The paths that link here fail their own check.
                let _ = fs::remove_file(entry.path());
                self.forget(&entry.path());
            }
        }
        damaged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            kind: "GitRepository".into(),
            namespace: "flux-system".into(),
            name: "fleet".into(),
        }
    }

    #[test]
    fn artifacts_have_fluxs_paths_and_the_link_follows() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let first = store.put(&owner(), "aa.tar.gz", &Packed::new("one")).unwrap();
        assert_eq!(first.path, "gitrepository/flux-system/fleet/aa.tar.gz");
        assert_eq!(first.size, 3);
        store.put(&owner(), "bb.tar.gz", &Packed::new("two")).unwrap();
        let latest = dir.path().join(owner().latest_path().unwrap());
        assert_eq!(fs::read_to_string(latest).unwrap(), "two");
        assert_eq!(store.get(&first.path, &first.digest).unwrap(), b"one");
        assert_eq!(git_file_name("main@sha1:0a1b"), "0a1b.tar.gz");
    }

    #[test]
    fn a_missing_or_changed_file_is_noticed_and_put_right() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let packed = Packed::new("one");
        let stored = store.put(&owner(), "aa.tar.gz", &packed).unwrap();
        assert!(store.verify(&stored.path, &stored.digest));
        fs::write(dir.path().join(&stored.path), "forged").unwrap();
        assert!(!store.verify(&stored.path, &stored.digest));
        assert!(store.get(&stored.path, &stored.digest).is_err());
        store.put(&owner(), "aa.tar.gz", &packed).unwrap();
        assert!(store.verify(&stored.path, &stored.digest));
        fs::remove_file(dir.path().join(&stored.path)).unwrap();
        assert!(!store.verify(&stored.path, &stored.digest));
        assert!(!store.verify("../../etc/passwd", &stored.digest));
    }

    #[test]
    fn a_start_removes_leftovers_and_a_check_damaged_contents() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(store.is_empty());
        store.put(&owner(), "aa.tar.gz", &Packed::new("one")).unwrap();
        assert!(!store.is_empty());
        fs::write(dir.path().join(PENDING).join("1-1"), "half").unwrap();
        let object = dir.path().join(OBJECTS).join(Packed::new("one").digest.to_hex());
        fs::write(&object, "damaged").unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path().join(PENDING)).unwrap().count(), 0);
        assert_eq!(store.check(), 1);
        assert!(!object.exists());
    }

    #[test]
    fn retention_keeps_the_newest_and_the_current() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let start = SystemTime::now();
        for (index, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let stored = store.put(&owner(), name, &Packed::new(name.to_owned())).unwrap();
            fs::File::options()
                .append(true)
                .open(dir.path().join(&stored.path))
                .unwrap()
                .set_modified(start + Duration::from_secs(index as u64))
                .unwrap();
        }
        let ttl = Duration::from_secs(60);
        assert!(store.collect(&owner(), "a", ttl, 2, start).unwrap().is_empty());
        let removed = store
            .collect(&owner(), "a", ttl, 2, start + Duration::from_secs(600))
            .unwrap();
        assert_eq!(removed, ["c", "b"]);
        store.remove(&owner()).unwrap();
        assert!(!dir.path().join("gitrepository/flux-system/fleet").exists());
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for name in ["..", "a/b", "", ".objects"] {
            let owner = Owner {
                name: name.into(),
                ..owner()
            };
            assert!(store.put(&owner, "x", &Packed::new("x")).is_err(), "{name}");
        }
    }
}
