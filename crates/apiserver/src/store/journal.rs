//! The durable side of the store: one thread keeps what is written, many writes at a time.
//!
//! What is acknowledged is in the log, whose blocks are allocated already, so that a write costs the disk one run of
//! blocks; when the log is full, the data file takes over all that is in it in one transaction.
//!
//! Versions are reserved in blocks ahead of use: after a crash the counter starts at the end of the
//! last reserved block, so that no version that a client has seen is ever given to another write.

mod base;
mod log;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::{Change, Stored};
use base::Base;
use log::Log;

/// Versions reserved at a time.
const BLOCK: u64 = 16_384;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder cannot be made.
    #[error("create data folder {0}: {1}")]
    Folder(std::path::PathBuf, std::io::Error),
    /// redb refuses.
    #[error("data file: {0}")]
    File(#[from] Box<redb::Error>),
    /// The log cannot be read or written.
    #[error("data log {0}: {1}")]
    Log(std::path::PathBuf, std::io::Error),
    /// The writing thread has stopped after an error.
    #[error("data file no longer written: {0}")]
    Stopped(String),
}

/// A write that is to be kept.
#[derive(Clone, Debug, PartialEq)]
struct Operation {
    collection: Arc<str>,
    key: Arc<str>,
    version: u64,
    /// None removes.
    json: Option<Bytes>,
    form: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct Queue {
    operations: Vec<Operation>,
    queued: u64,
    /// How many want that nothing is kept yet.
    held: usize,
    closed: bool,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Debug, Default)]
struct Progress {
    done: u64,
    failure: Option<String>,
}

/// The open files with their writing thread.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the files held.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The version to start from.
    pub version: u64,
    /// Objects with the names of their collections.
    pub objects: Vec<(Arc<str>, Stored)>,
}

/// While it is there, writes are collected, to be kept together.
#[derive(Debug)]
pub struct Together(Arc<Shared>);

impl Drop for Together {
    fn drop(&mut self) {
        self.0.lock().held -= 1;
        self.0.wake.notify_one();
    }
}

impl Journal {
    /// Opens the files in a folder, which is made if needed.
    ///
    /// # Errors
    /// The folder or a file cannot be used.
    pub fn open(folder: &Path) -> Result<(Self, Loaded), JournalError> {
        std::fs::create_dir_all(folder).map_err(|error| JournalError::Folder(folder.to_owned(), error))?;
        let mut base = Base::open(folder)?;
        let (mut log, left) = Log::open(folder, base.epoch)?;
        if !left.operations.is_empty() {
            base.commit(
                left.operations.iter(),
                left.reserved.max(base.reserved),
                base.next_epoch(),
            )?;
            log.restart(base.epoch);
        }
        let loaded = base.load()?;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
        });
        let (sender, progress) = watch::channel(Progress::default());
        let worker = Worker {
            base,
            log,
            pending: BTreeMap::new(),
            shared: shared.clone(),
            progress: sender,
            reserved: loaded.version,
        };
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || worker.run())
            .map_err(|error| JournalError::Folder(folder.to_owned(), error))?;
        Ok((
            Journal {
                shared,
                progress,
                thread: Some(thread),
            },
            loaded,
        ))
    }

    /// Collects what is written until the result is dropped: many small writes cost the disk as much as one then.
    #[must_use]
    pub fn together(&self) -> Together {
        self.shared.lock().held += 1;
        Together(self.shared.clone())
    }

    /// Queues a write; [`Journal::settled`] says when it is on disk.
    pub fn queue(&self, collection: &Arc<str>, change: Change, object: &Stored) {
        let json = (change != Change::Deleted).then(|| object.json());
        let operation = Operation {
            collection: collection.clone(),
            key: object.key.clone(),
            version: object.version,
            json,
            form: object.form.clone(),
        };
        let mut queue = self.shared.lock();
        queue.operations.push(operation);
        queue.queued += 1;
        self.shared.wake.notify_one();
    }

    /// Waits until all that is queued now is on disk.
    ///
    /// # Errors
    /// Writing failed.
    pub async fn settled(&self) -> Result<(), JournalError> {
        let want = self.shared.lock().queued;
        if self.progress.borrow().done >= want {
            return Ok(());
        }
        let mut progress = self.progress.clone();
        let seen = progress
            .wait_for(|progress| progress.done >= want || progress.failure.is_some())
            .await
            .map_err(|error| JournalError::Stopped(error.to_string()))?;
        match &seen.failure {
            Some(failure) if seen.done < want => Err(JournalError::Stopped(failure.clone())),
            _ => Ok(()),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panicked writer has nothing left to save.
            let _ended = thread.join();
        }
    }
}

struct Worker {
    base: Base,
    log: Log,
    /// What only the log has, the last write of each object.
    pending: BTreeMap<(Arc<str>, Arc<str>), Operation>,
    shared: Arc<Shared>,
    progress: watch::Sender<Progress>,
    reserved: u64,
}

impl Worker {
    fn run(mut self) {
        if let Err(error) = self.follow() {
            tracing::error!(%error, "the data file cannot be written");
            self.progress
                .send_modify(|progress| progress.failure = Some(error.to_string()));
        }
    }

    fn follow(&mut self) -> Result<(), JournalError> {
        while let Some((batch, queued)) = self.next() {
            self.keep(batch)?;
            self.progress.send_modify(|progress| progress.done = queued);
            self.log.prepare()?;
        }
        if self.pending.is_empty() {
            Ok(())
        } else {
            self.hand_over()
        }
    }

    /// What has been written meanwhile, and the number of its last write; nothing at the end.
    fn next(&self) -> Option<(Vec<Operation>, u64)> {
        let mut queue = self.shared.lock();
        while (queue.operations.is_empty() || queue.held > 0) && !queue.closed {
            queue = self
                .shared
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let batch = std::mem::take(&mut queue.operations);
        (!batch.is_empty()).then_some((batch, queue.queued))
    }

    /// Puts writes on the disk.
    fn keep(&mut self, batch: Vec<Operation>) -> Result<(), JournalError> {
        let highest = batch.iter().map(|operation| operation.version).max().unwrap_or(0);
        // Half a block is always left, for writes that are answered from memory meanwhile.
        if highest + BLOCK / 2 > self.reserved {
            self.reserved = highest + BLOCK;
        }
        let logged = self.log.append(&batch, self.reserved)?;
        let keyed = batch
            .into_iter()
            .map(|operation| ((operation.collection.clone(), operation.key.clone()), operation));
        self.pending.extend(keyed);
        if logged { Ok(()) } else { self.hand_over() }
    }

    /// The data file takes over what is pending; the log begins anew.
    fn hand_over(&mut self) -> Result<(), JournalError> {
        let epoch = self.base.next_epoch();
        self.base.commit(self.pending.values(), self.reserved, epoch)?;
        self.pending = BTreeMap::new();
        self.log.restart(epoch);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expect, Store};
    use serde_json::json;

    #[tokio::test]
    async fn what_was_written_is_there_after_reopening_and_versions_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let last = {
            let (store, _notices) = Store::durable(folder.path()).unwrap();
            let things = store.collection("things");
            for name in ["a", "b"] {
                let mut object = json!({"metadata": {"name": name}});
                store.put(&things, name, Expect::Absent, &mut object).unwrap();
            }
            let b = things.get("b").unwrap();
            store.remove(&things, "b", b.version, &mut b.value()).unwrap();
            store.settled().await.unwrap();
            store.version()
        };
        let (store, _notices) = Store::durable(folder.path()).unwrap();
        let things = store.collection("things");
        assert_eq!(things.len(), 1);
        assert_eq!(things.get("a").unwrap().value()["metadata"]["name"], "a");
        assert!(store.version() >= last);
        assert!(things.events_after(last, 1).is_err());
    }

    const FOLDER: &str = "FLUVIAL_TEST_JOURNAL";
    const ROUNDS: usize = 8;

    /// The process that is killed: writes as fast as it can and prints what is acknowledged.
    #[tokio::test]
    #[ignore = "runs in a process of its own, started by the test below"]
    async fn writes_until_killed() {
        use std::io::Write as _;
        let Ok(folder) = std::env::var(FOLDER) else { return };
        let (store, _notices) = Store::durable(std::path::Path::new(&folder)).unwrap();
        let things = store.collection("things");
        let mut out = std::io::stdout();
        for count in 0_u64.. {
            let name = format!("t{}", count % 50);
            let mut object = json!({"metadata": {"name": name}, "count": count});
            let expect = things
                .get(&name)
                .map_or(Expect::Absent, |found| Expect::Version(found.version));
            let stored = match things.get(&name).filter(|_| count % 7 == 0) {
                Some(found) => store.remove(&things, &name, found.version, &mut object),
                None => store.put(&things, &name, expect, &mut object),
            };
            let version = stored.unwrap().version;
            store.settled().await.unwrap();
            let there = u8::from(things.get(&name).is_some());
            writeln!(out, "acknowledged {name} {version} {there}").unwrap();
            out.flush().unwrap();
        }
    }

    #[test]
    fn what_was_acknowledged_survives_being_killed() {
        use std::io::BufRead as _;
        let folder = tempfile::tempdir().unwrap();
        let mut last = std::collections::BTreeMap::new();
        let mut highest = 0;
        for round in 0..ROUNDS {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "store::journal::tests::writes_until_killed",
                    "--ignored",
                    "--nocapture",
                ])
                .env(FOLDER, folder.path())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
            let wanted = 20 + 17 * round;
            let mut seen = 0;
            for line in lines.map_while(Result::ok) {
                // The test harness writes before the first of them on the same line.
                let Some(at) = line.find("acknowledged ") else {
                    continue;
                };
                let words: Vec<&str> = line[at..].split(' ').collect();
                // A line cut off by the end was not read as an answer.
                let [_, name, version, there] = words[..] else {
                    continue;
                };
                let version: u64 = version.parse().unwrap();
                assert!(version > highest, "version {version} was given twice");
                highest = version;
                last.insert(name.to_owned(), (version, there == "1"));
                seen += 1;
                if seen == wanted {
                    child.kill().unwrap();
                }
            }
            child.wait().unwrap();
            assert!(seen >= wanted);
            let (store, _notices) = Store::durable(folder.path()).unwrap();
            let things = store.collection("things");
            assert!(store.version() >= highest);
            for (name, (version, there)) in &last {
                let found = things.get(name).map(|stored| stored.version);
                // A later write may have reached the disk without its answer reaching anybody.
                let later = found.is_some_and(|found| found > *version) || found.is_none() && !there;
                assert!(
                    later || found == Some(*version).filter(|_| *there) || last_write_was_cut(&last, name),
                    "{name}: {found:?}, acknowledged {version} {there}"
                );
            }
        }
    }

    /// Whether the write after the last answer may have been this object's removal.
    fn last_write_was_cut(last: &std::collections::BTreeMap<String, (u64, bool)>, name: &str) -> bool {
        let newest = last.values().map(|(version, _)| *version).max().unwrap_or(0);
        let of_newest = last
            .iter()
            .find(|(_, (version, _))| *version == newest)
            .and_then(|(name, _)| name.trim_start_matches('t').parse::<u64>().ok());
        let own = name.trim_start_matches('t').parse::<u64>().ok();
        own.zip(of_newest)
            .is_some_and(|(own, newest)| own == (newest + 1) % 50)
    }
}
