//! The durable side of the store: what is written is kept, many writes at a time, by a thread or by one who waits for it.
//!
//! What is acknowledged is in the log, whose blocks are allocated already, so that a write costs the disk one run of
//! blocks; when the log is full, the data file takes over all that is in it in one transaction.
//!
//! Versions are reserved in blocks ahead of use: after a crash the counter starts at the end of the
//! last reserved block, so that no version that a client has seen is ever given to another write.

mod base;
mod blocks;
mod log;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use super::{Bell, Change, Stored};
use base::Base;
use log::Log;

/// Versions reserved at a time.
const BLOCK: u64 = 16_384;
/// Longest that a caller writes itself, which keeps what else its thread has to do.
const PATIENCE: Duration = Duration::from_millis(1);

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
    /// Those of the collections that are written to, to be rung when that is done.
    bells: Vec<Arc<Bell>>,
    queued: u64,
    /// How many want that nothing is kept yet.
    held: usize,
    /// How many see to it themselves that what they queue is kept.
    attended: usize,
    closed: bool,
}

impl Queue {
    /// Whether there is something to keep now.
    fn is_due(&self) -> bool {
        !self.operations.is_empty() && (self.held == 0 || self.closed)
    }
}

#[derive(Clone, Debug, Default)]
struct Progress {
    done: u64,
    failure: Option<String>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Locked before the queue is, by whoever writes.
    writer: Mutex<Writer>,
    /// The last write took longer than a caller may be kept.
    slow: AtomicBool,
    progress: watch::Sender<Progress>,
}

/// The open files with their writing thread.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
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
        let mut queue = self.0.lock();
        queue.held -= 1;
        self.0.wake_for(&queue);
    }
}

/// While it is there, somebody is about to wait for what is queued: the thread is not woken for it.
#[derive(Debug)]
pub struct Attended(Arc<Shared>);

impl Drop for Attended {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.attended -= 1;
        self.0.wake_for(&queue);
    }
}

fn ring(bells: &[Arc<Bell>]) {
    for bell in bells {
        bell.send_replace(());
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
            writer: Mutex::new(Writer {
                base,
                log,
                pending: BTreeMap::new(),
                reserved: loaded.version,
            }),
            slow: AtomicBool::new(false),
            progress: watch::Sender::default(),
        });
        let worker = shared.clone();
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || worker.run())
            .map_err(|error| JournalError::Folder(folder.to_owned(), error))?;
        let thread = Some(thread);
        Ok((Journal { shared, thread }, loaded))
    }

    /// Collects what is written until the result is dropped: many small writes cost the disk as much as one then.
    #[must_use]
    pub fn together(&self) -> Together {
        self.shared.lock().held += 1;
        Together(self.shared.clone())
    }

    /// Says that the caller waits for what it is about to queue, by [`Journal::settled`], before it drops the result.
    #[must_use]
    pub fn attend(&self) -> Attended {
        self.shared.lock().attended += 1;
        Attended(self.shared.clone())
    }

    /// Queues a write; [`Journal::settled`] says when it is on disk, and the bell tells those who watch the collection:
    /// were they woken before, they would wait for the disk one by one.
    pub fn queue(&self, collection: &Arc<str>, change: Change, object: &Stored, bell: &Arc<Bell>) {
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
        if !queue.bells.iter().any(|known| Arc::ptr_eq(known, bell)) {
            queue.bells.push(bell.clone());
        }
        queue.queued += 1;
        if queue.attended == 0 {
            self.shared.wake_for(&queue);
        }
    }

    /// Waits until all that is queued now is on disk. Where the disk is quick and nobody else waits, it is written
    /// here: to wake a thread and be woken by it takes as long as the disk does. The thread writes for many at once.
    ///
    /// # Errors
    /// Writing failed.
    pub async fn settled(&self) -> Result<(), JournalError> {
        let shared = &self.shared;
        let (want, is_alone) = {
            let queue = shared.lock();
            (queue.queued, queue.attended <= 1)
        };
        if shared.progress.borrow().done >= want {
            return Ok(());
        }
        if is_alone
            && !shared.slow.load(Ordering::Relaxed)
            && let Ok(mut writer) = shared.writer.try_lock()
        {
            shared.keep(&mut writer, false);
        }
        let mut progress = shared.progress.subscribe();
        if progress.borrow().done < want {
            shared.wake_for(&shared.lock());
        }
        let seen = progress
            .wait_for(|progress| progress.done >= want || progress.failure.is_some())
            .await
            .map_err(|error| JournalError::Stopped(error.to_string()))?;
        match &seen.failure {
            Some(failure) if seen.done < want => {
                // Those who watch are not to wait for what will never be there.
                ring(&std::mem::take(&mut shared.lock().bells));
                Err(JournalError::Stopped(failure.clone()))
            }
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

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the thread write what is there.
    fn wake_for(&self, queue: &Queue) {
        if queue.is_due() {
            self.wake.notify_one();
        }
    }

    /// The thread.
    fn run(&self) {
        while self.wait() {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            self.keep(&mut writer, true);
            if let Err(error) = writer.log.prepare() {
                self.fail(&error);
            }
            if self.progress.borrow().failure.is_some() {
                return;
            }
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if !writer.pending.is_empty()
            && let Err(error) = writer.hand_over()
        {
            self.fail(&error);
        }
    }

    /// Waits for something to write; false at the end.
    fn wait(&self) -> bool {
        let mut queue = self.lock();
        while !queue.is_due() && !queue.closed {
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        !queue.operations.is_empty()
    }

    /// Puts what is queued on the disk. What takes long, which is all but adding to the log, is left to the thread.
    fn keep(&self, writer: &mut Writer, is_thread: bool) {
        if self.progress.borrow().failure.is_some() {
            return;
        }
        let mut queue = self.lock();
        if !queue.is_due() {
            return;
        }
        let batch = std::mem::take(&mut queue.operations);
        let bells = std::mem::take(&mut queue.bells);
        let queued = queue.queued;
        drop(queue);
        let began = Instant::now();
        let kept = match writer.add(&batch) {
            Ok(true) => {
                self.slow.store(began.elapsed() > PATIENCE, Ordering::Relaxed);
                writer.remember(batch);
                Ok(())
            }
            Ok(false) if is_thread => {
                writer.remember(batch);
                writer.hand_over()
            }
            Ok(false) => {
                let mut queue = self.lock();
                let later = std::mem::replace(&mut queue.operations, batch);
                queue.operations.extend(later);
                queue.bells.extend(bells);
                return;
            }
            Err(error) => Err(error),
        };
        match kept {
            Ok(()) => {
                self.progress.send_modify(|progress| progress.done = queued);
            }
            Err(error) => self.fail(&error),
        }
        ring(&bells);
    }

    fn fail(&self, error: &JournalError) {
        tracing::error!(%error, "the data file cannot be written");
        self.progress
            .send_modify(|progress| progress.failure = Some(error.to_string()));
    }
}

/// The open files.
#[derive(Debug)]
struct Writer {
    base: Base,
    log: Log,
    /// What only the log has, the last write of each object.
    pending: BTreeMap<(Arc<str>, Arc<str>), Operation>,
    reserved: u64,
}

impl Writer {
    /// Adds writes to the log; false if it has no room for them.
    fn add(&mut self, batch: &[Operation]) -> Result<bool, JournalError> {
        let highest = batch.iter().map(|operation| operation.version).max().unwrap_or(0);
        // Half a block is always left, for writes that are answered from memory meanwhile.
        if highest + BLOCK / 2 > self.reserved {
            self.reserved = highest + BLOCK;
        }
        self.log.append(batch, self.reserved)
    }

    fn remember(&mut self, batch: Vec<Operation>) {
        let keyed = batch
            .into_iter()
            .map(|operation| ((operation.collection.clone(), operation.key.clone()), operation));
        self.pending.extend(keyed);
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
    use super::super::{Expect, LabelHint, Store};
    use super::*;
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

    fn write(journal: &Journal, version: u64, bell: &Arc<Bell>) {
        let object = Stored {
            key: "a".into(),
            version,
            text: Bytes::from_static(b"{}").into(),
            form: None,
            labels: LabelHint::of(&json!({})),
        };
        journal.queue(&"things".into(), Change::Added, &object, bell);
    }

    #[tokio::test]
    async fn who_watches_is_woken_when_a_write_is_kept_and_when_none_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(folder.path()).unwrap();
        let bell = Arc::<Bell>::default();
        let mut rung = bell.subscribe();
        let together = journal.together();
        write(&journal, 1, &bell);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!rung.has_changed().unwrap());
        drop(together);
        journal.settled().await.unwrap();
        let woken = tokio::time::timeout(Duration::from_secs(60), rung.changed());
        woken.await.unwrap().unwrap();
        journal.shared.fail(&JournalError::Stopped("full".into()));
        write(&journal, 2, &bell);
        journal.settled().await.unwrap_err();
        assert!(rung.has_changed().unwrap());
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_kept_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(folder.path()).unwrap();
        let mut progress = journal.shared.progress.subscribe();
        let mut kept = async |number| {
            let seen = progress.wait_for(|progress: &Progress| progress.done == number);
            tokio::time::timeout(Duration::from_secs(60), seen)
                .await
                .unwrap()
                .unwrap();
        };
        let write = |version: u64| write(&journal, version, &Arc::default());
        write(1);
        kept(1).await;
        // Whoever was to wait for it has gone.
        let attended = journal.attend();
        write(2);
        drop(attended);
        kept(2).await;
        let together = journal.together();
        write(3);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(journal.shared.progress.borrow().done, 2);
        drop(together);
        kept(3).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_writers_at_once_fill_the_log_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _notices) = Store::durable(folder.path()).unwrap();
        let store = std::sync::Arc::new(store);
        let writers = (0..8).map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let things = store.collection("things");
                for count in 0..50 {
                    let attended = (writer % 3 != 0).then(|| store.attend());
                    let name = format!("{writer}-{count}");
                    let mut object = json!({"metadata": {"name": name}, "filler": "x".repeat(300)});
                    store.put(&things, &name, Expect::Absent, &mut object).unwrap();
                    if attended.is_some() {
                        store.settled().await.unwrap();
                    }
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        store.settled().await.unwrap();
        let version = store.version();
        drop(store);
        let (store, _notices) = Store::durable(folder.path()).unwrap();
        assert_eq!(store.collection("things").len(), 400);
        assert!(store.version() >= version);
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
