//! The durable side of the store: a redb file written by one thread, many writes to a transaction.
//!
//! Versions are reserved in blocks ahead of use: after a crash the counter starts at the end of the
//! last reserved block, so that no version that a client has seen is ever given to another write.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use tokio::sync::watch;

use super::{Change, Stored};

const OBJECTS: TableDefinition<'static, (&str, &str), (u64, &[u8])> = TableDefinition::new("objects");
const NUMBERS: TableDefinition<'static, &str, u64> = TableDefinition::new("numbers");
const RESERVED: &str = "reserved";
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
    /// The writing thread has stopped after an error.
    #[error("data file no longer written: {0}")]
    Stopped(String),
}

fn file(error: impl Into<redb::Error>) -> JournalError {
    JournalError::File(Box::new(error.into()))
}

#[derive(Debug)]
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

/// The open file with its writing thread.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the file held.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The version to start from.
    pub version: u64,
    /// Objects with the names of their collections.
    pub objects: Vec<(Arc<str>, Stored)>,
}

impl Journal {
    /// Opens the file in a folder, which is made if needed.
    ///
    /// # Errors
    /// The folder or the file cannot be used.
    pub fn open(folder: &Path) -> Result<(Self, Loaded), JournalError> {
        std::fs::create_dir_all(folder).map_err(|error| JournalError::Folder(folder.to_owned(), error))?;
        let database = Database::builder()
            .set_cache_size(4 << 20)
            .create(folder.join("store.redb"))
            .map_err(file)?;
        let loaded = load(&database)?;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
        });
        let (sender, progress) = watch::channel(Progress::default());
        let worker = Worker {
            database,
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

fn load(database: &Database) -> Result<Loaded, JournalError> {
    let mut loaded = Loaded::default();
    let transaction = database.begin_read().map_err(file)?;
    // A new file has no tables until the first write: to make them here would cost a wait for the disk.
    let numbers = match transaction.open_table(NUMBERS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(loaded),
        numbers => numbers.map_err(file)?,
    };
    loaded.version = numbers
        .get(RESERVED)
        .map_err(file)?
        .map_or(0, |number| number.value());
    let objects = transaction.open_table(OBJECTS).map_err(file)?;
    let mut last: Option<Arc<str>> = None;
    let mut form: Option<Arc<str>> = None;
    for entry in objects.iter().map_err(file)? {
        let (key, value) = entry.map_err(file)?;
        let (collection, key) = key.value();
        let collection = match &last {
            Some(last) if **last == *collection => last.clone(),
            _ => Arc::from(collection),
        };
        last = Some(collection.clone());
        let (version, json) = value.value();
        // A form stands before the object, which begins with a brace.
        let start = json.iter().position(|byte| *byte == b'{').unwrap_or(0);
        let given = std::str::from_utf8(&json[..start]).unwrap_or("");
        let object = Stored {
            key: key.into(),
            version,
            text: Bytes::copy_from_slice(&json[start..]).into(),
            form: match &form {
                _ if given.is_empty() => None,
                Some(last) if **last == *given => Some(last.clone()),
                _ => Some(given.into()),
            },
        };
        if object.form.is_some() {
            form.clone_from(&object.form);
        }
        loaded.objects.push((collection, object));
    }
    Ok(loaded)
}

struct Worker {
    database: Database,
    shared: Arc<Shared>,
    progress: watch::Sender<Progress>,
    reserved: u64,
}

impl Worker {
    fn run(mut self) {
        loop {
            let (batch, queued) = {
                let mut queue = self.shared.lock();
                while queue.operations.is_empty() && !queue.closed {
                    queue = self
                        .shared
                        .wake
                        .wait(queue)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                if queue.operations.is_empty() {
                    return;
                }
                (std::mem::take(&mut queue.operations), queue.queued)
            };
            match self.commit(&batch) {
                Ok(()) => {
                    self.progress.send_modify(|progress| progress.done = queued);
                }
                Err(error) => {
                    tracing::error!(%error, "the data file cannot be written");
                    self.progress
                        .send_modify(|progress| progress.failure = Some(error.to_string()));
                    return;
                }
            }
        }
    }

    fn commit(&mut self, batch: &[Operation]) -> Result<(), JournalError> {
        let transaction = self.database.begin_write().map_err(file)?;
        {
            let mut objects = transaction.open_table(OBJECTS).map_err(file)?;
            for operation in batch {
                let key = (&*operation.collection, &*operation.key);
                match &operation.json {
                    Some(json) => {
                        let with_form;
                        let bytes: &[u8] = match &operation.form {
                            Some(form) => {
                                with_form = [form.as_bytes(), json].concat();
                                &with_form
                            }
                            None => json,
                        };
                        objects.insert(key, (operation.version, bytes)).map_err(file)?;
                    }
                    None => {
                        objects.remove(key).map_err(file)?;
                    }
                }
            }
            let highest = batch.iter().map(|operation| operation.version).max().unwrap_or(0);
            // Half a block is always left, for writes that are answered from memory meanwhile.
            if highest + BLOCK / 2 > self.reserved {
                self.reserved = highest + BLOCK;
                let mut numbers = transaction.open_table(NUMBERS).map_err(file)?;
                numbers.insert(RESERVED, self.reserved).map_err(file)?;
            }
        }
        transaction.commit().map_err(file)
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
