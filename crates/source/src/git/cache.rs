//! One bare object store per URL on disk. It holds nothing that cannot be fetched again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};

use super::local::Repo;
use crate::error::{SourceError, reason};

/// With so many packs a store is dropped and fetched afresh, which is one small pack again.
const MAX_PACKS: usize = 50;
/// A store that was not used for so long is removed.
const UNUSED: Duration = Duration::from_secs(7 * 24 * 3600);
/// Pause between two looks for such stores.
const SWEEP_PAUSE: Duration = Duration::from_secs(3600);
/// Pause before another look at a lock that another process holds.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// All stores below one folder.
#[derive(Debug)]
pub(crate) struct Caches {
    root: PathBuf,
    stores: Mutex<FxHashMap<String, Arc<Store>>>,
    swept: Mutex<Option<Instant>>,
}

/// The store of one URL.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    /// Held by the one fetch that runs.
    busy: Mutex<bool>,
    free: Condvar,
    repo: Mutex<Option<Arc<Repo>>>,
}

/// Permission to fetch into a store.
pub(crate) struct Turn<'a> {
    store: &'a Store,
    /// Keeps other processes out.
    lock: Option<std::fs::File>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.lock = None;
        *self.store.busy.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.store.free.notify_one();
    }
}

fn failed(what: &str, path: &Path, error: &dyn std::fmt::Display) -> SourceError {
    SourceError::retry(
        reason::DIRECTORY_CREATION_FAILED,
        format!("cannot {what} Git cache '{}': {error}", path.display()),
    )
}

/// The first 32 hexadecimal digits of a text's SHA-256.
pub(crate) fn short_digest(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text.as_bytes())
        .iter()
        .take(16)
        .fold(String::new(), |mut out, byte| {
            // Writing into a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

impl Caches {
    pub(crate) fn new(root: PathBuf) -> Self {
        Caches {
            root,
            stores: Mutex::default(),
            swept: Mutex::default(),
        }
    }

    /// Removes stores of URLs that nobody asks for any more, from time to time.
    pub(crate) fn sweep_sometimes(&self) {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.is_some_and(|last| last.elapsed() < SWEEP_PAUSE) {
            return;
        }
        *swept = Some(Instant::now());
        drop(swept);
        self.sweep(UNUSED);
    }

    /// Removes stores that were not used for so long. What cannot be removed stays for the next time.
    fn sweep(&self, unused: Duration) {
        let Ok(folders) = std::fs::read_dir(&self.root) else {
            return;
        };
        for folder in folders.flatten().map(|entry| entry.path()) {
            let lock = folder.join("lock");
            let idle = std::fs::metadata(&lock)
                .and_then(|metadata| metadata.modified())
                .ok()
                .and_then(|used| SystemTime::now().duration_since(used).ok());
            if idle.is_none_or(|idle| idle < unused) {
                continue;
            }
            let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever holds a store is about to use it.
            if stores
                .values()
                .any(|store| store.folder == folder && Arc::strong_count(store) > 1)
            {
                continue;
            }
            // Held until the folder is gone, so that no other process begins to use it meanwhile.
            let Ok(held) = std::fs::File::open(&lock) else {
                continue;
            };
            if held.try_lock().is_ok() && std::fs::remove_dir_all(&folder).is_ok() {
                stores.retain(|_, store| store.folder != folder);
            }
        }
    }

    /// The store of a URL (without credentials).
    pub(crate) fn store(&self, url: &str) -> Arc<Store> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let store = stores.entry(url.to_owned()).or_insert_with(|| {
            Arc::new(Store {
                folder: self.root.join(short_digest(url)),
                busy: Mutex::new(false),
                free: Condvar::new(),
                repo: Mutex::default(),
            })
        });
        Arc::clone(store)
    }
}

impl Store {
    /// Waits for the store; none if the deadline comes first.
    pub(crate) fn enter(&self, deadline: Instant) -> Result<Option<Turn<'_>>, SourceError> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        while *busy {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            busy = self
                .free
                .wait_timeout(busy, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *busy = true;
        drop(busy);
        let mut turn = Turn {
            store: self,
            lock: None,
        };
        std::fs::create_dir_all(&self.folder).map_err(|error| failed("create", &self.folder, &error))?;
        turn.lock = self.lock(deadline)?;
        Ok(Some(turn))
    }

    /// Keeps other processes out; none where the file system has no locks.
    fn lock(&self, deadline: Instant) -> Result<Option<std::fs::File>, SourceError> {
        let file = std::fs::File::create(self.folder.join("lock"))
            .map_err(|error| failed("lock", &self.folder, &error))?;
        // Tells when the store was used last. Where that cannot be set, the file's creation tells it.
        let _ = file.set_modified(SystemTime::now());
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(std::fs::TryLockError::Error(_)) => return Ok(None),
                Err(std::fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    return Err(SourceError::retry(
                        reason::GIT_OPERATION_FAILED,
                        format!(
                            "another process is using Git cache '{}'; give each its own cache folder",
                            self.folder.display()
                        ),
                    ));
                }
            }
        }
    }
}

impl Turn<'_> {
    fn objects(&self) -> PathBuf {
        self.store.folder.join("objects.git")
    }

    /// The store's repository, made if it is not there or cannot be opened.
    pub(crate) fn repo(&self, hash: Option<gix::hash::Kind>) -> Result<Arc<Repo>, SourceError> {
        let mut slot = self.store.repo.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(repo) = slot.as_ref().filter(|repo| repo.is_current()) {
            return Ok(Arc::clone(repo));
        }
        let folder = self.objects();
        let known = slot.take();
        let opened = if folder.join("HEAD").is_file() {
            Repo::open(&folder)
        } else {
            Err(failed("open", &folder, &"not there yet"))
        };
        let mut repo = match opened {
            Ok(repo) => repo,
            Err(_) => {
                self.create(&folder, hash)?;
                Repo::open(&folder)?
            }
        };
        if let Some(known) = known {
            repo.take_over(&known);
        }
        let repo = Arc::new(repo);
        *slot = Some(Arc::clone(&repo));
        Ok(repo)
    }

    fn create(&self, folder: &Path, hash: Option<gix::hash::Kind>) -> Result<(), SourceError> {
        if folder.exists() {
            std::fs::remove_dir_all(folder).map_err(|error| failed("clear", folder, &error))?;
        }
        let made = folder.with_extension("new");
        if made.exists() {
            std::fs::remove_dir_all(&made).map_err(|error| failed("clear", &made, &error))?;
        }
        let options = gix::create::Options {
            object_hash: hash.filter(|hash| *hash != gix::hash::Kind::Sha1),
            fs_capabilities: Some(gix::fs::Capabilities::default()),
            ..gix::create::Options::default()
        };
        gix::ThreadSafeRepository::init_opts(
            &made,
            gix::create::Kind::Bare,
            options,
            gix::open::Options::isolated(),
        )
        .map_err(|error| failed("create", folder, &error))?;
        std::fs::rename(&made, folder).map_err(|error| failed("create", folder, &error))
    }

    /// Drops everything that was fetched and starts anew; what is in memory is kept for reuse.
    pub(crate) fn renew(&self, hash: Option<gix::hash::Kind>) -> Result<Arc<Repo>, SourceError> {
        self.create(&self.objects(), hash)?;
        self.repo(hash)
    }

    /// Whether so much was fetched bit by bit that a fresh start is better.
    pub(crate) fn is_worn(&self) -> bool {
        std::fs::read_dir(self.objects().join("objects/pack")).is_ok_and(|entries| {
            entries
                .flatten()
                .filter(|entry| {
                    entry
                        .path()
                        .extension()
                        .is_some_and(|extension| extension == "pack")
                })
                .count()
                > MAX_PACKS
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_that_nobody_uses_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let caches = Caches::new(root.path().to_owned());
        let soon = Instant::now() + Duration::from_secs(5);
        let (used, idle) = (caches.store("https://h/used"), caches.store("https://h/idle"));
        for store in [&used, &idle] {
            let turn = store.enter(soon).unwrap().unwrap();
            turn.repo(None).unwrap();
        }
        let folder = idle.folder.clone();
        drop(idle);
        caches.sweep(Duration::from_secs(60));
        assert!(folder.exists());
        caches.sweep(Duration::ZERO);
        assert!(!folder.exists() && used.folder.exists());
        // It comes back when it is asked for again.
        let again = caches.store("https://h/idle");
        again.enter(soon).unwrap().unwrap().repo(None).unwrap();
        assert!(folder.exists());
    }
}
