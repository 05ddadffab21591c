//! One bare object store per URL on disk. It holds nothing that cannot be fetched again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};

use super::local::Repo;
use crate::error::{SourceError, reason};

/// With so many packs a store is dropped and fetched afresh, which is one small pack again.
const MAX_PACKS: usize = 50;
/// Pause before another look at a lock that another process holds.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// All stores below one folder.
#[derive(Debug)]
pub(crate) struct Caches {
    root: PathBuf,
    stores: Mutex<FxHashMap<String, Arc<Store>>>,
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
