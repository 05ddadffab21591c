//! The object store: one version counter, ordered collections, and a bounded history per collection.
//!
//! Objects are kept as JSON text without `kind` and `apiVersion` (these depend on the version asked
//! for, and lists of built-in kinds leave them out): a read copies bytes and parses nothing. Custom
//! resources remember which version they are kept in. Every
//! watcher reads the collection's history at its own pace, so a change costs the writer the same
//! whether one or a thousand watch; a watcher that falls behind the history's start has expired.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

mod hint;
mod history;
pub mod journal;
mod text;

pub use hint::LabelHint;
use history::History;
use journal::Journal;
use text::Packer;
pub use text::Text;

/// Room for making an object's text that is kept from one write to the next.
const SCRATCH: usize = 64 << 10;

/// One object at one version.
#[derive(Debug)]
pub struct Stored {
    /// `namespace/name`, or `name` for cluster-scoped objects: etcd's order of keys.
    pub key: Arc<str>,
    /// Resource version of the write that made it.
    pub version: u64,
    /// JSON object without `kind` and `apiVersion`.
    pub text: Text,
    /// The `apiVersion` that a custom resource is kept in.
    pub form: Option<Arc<str>>,
    /// Which labels it may have.
    pub labels: LabelHint,
}

impl Stored {
    /// The object's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.rsplit_once('/').map_or(&*self.key, |(_, name)| name)
    }

    /// The object's namespace; empty for cluster-scoped objects.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.key.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The text of the object, unpacked if need be.
    #[must_use]
    pub fn json(&self) -> Bytes {
        self.text.json()
    }

    /// Whether a text occurs in the object's, told without parsing it.
    #[must_use]
    pub fn mentions(&self, part: &str) -> bool {
        std::str::from_utf8(&self.json()).is_ok_and(|text| text.contains(part))
    }

    /// The parsed object.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.json()).unwrap_or_default()
    }
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Created.
    Added,
    /// Written again.
    Modified,
    /// Removed; the event's object is its last state at the removal's version.
    Deleted,
}

impl Change {
    /// The watch event's type.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Change::Added => "ADDED",
            Change::Modified => "MODIFIED",
            Change::Deleted => "DELETED",
        }
    }
}

/// An entry of a collection's log.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub change: Change,
    /// The object after it.
    pub object: Arc<Stored>,
    /// The object before it.
    pub previous: Option<Arc<Stored>>,
    /// The line that watchers of one version are sent, encoded by the first of them, with that version.
    line: Mutex<Option<(Arc<str>, Bytes)>>,
}

impl Event {
    /// The version of the change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.object.version
    }

    /// A change, as nobody has been told it yet.
    #[must_use]
    pub fn new(change: Change, object: Arc<Stored>, previous: Option<Arc<Stored>>) -> Self {
        Event {
            change,
            object,
            previous,
            line: Mutex::default(),
        }
    }

    /// The line that watchers of a version are sent, made by the first who asks; nothing if that one wanted another version.
    pub fn line(&self, version: &str, make: impl FnOnce() -> Bytes) -> Option<Bytes> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let (made, text) = line.get_or_insert_with(|| (version.into(), make()));
        (**made == *version).then(|| text.clone())
    }

    fn forget_line(&self) {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A change as the controllers inside the process see it.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Name of the collection.
    pub collection: Arc<str>,
    /// The change.
    pub event: Arc<Event>,
}

/// Why a write was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The object to create is there.
    Exists,
    /// The object to write is gone.
    Missing,
    /// The object has another version by now.
    Changed,
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Absent,
    /// The object at this version.
    Version(u64),
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Arc<str>, Arc<Stored>>,
    history: History,
    packer: Packer,
    scratch: Vec<u8>,
}

impl State {
    /// Records a change. Objects whose last change is old news by then are packed.
    fn record(&mut self, event: Arc<Event>) {
        for old in self.history.record(event) {
            if let Some(now) = self.objects.get_mut(&old.object.key)
                && Arc::ptr_eq(now, &old.object)
                && let Some(text) = self.packer.pack(&now.text)
            {
                *now = Arc::new(Stored {
                    key: now.key.clone(),
                    version: now.version,
                    text,
                    form: now.form.clone(),
                    labels: now.labels,
                });
            }
        }
    }
}

/// Wakes the watchers of a collection.
type Bell = watch::Sender<()>;

/// All objects of one resource.
#[derive(Debug)]
pub struct Collection {
    /// `plural.group`, the key in the store.
    pub name: Arc<str>,
    state: RwLock<State>,
    latest: AtomicU64,
    bell: Arc<Bell>,
    forms: AtomicBool,
}

/// A consistent part of a collection.
#[derive(Debug)]
pub struct Snapshot {
    /// The version it is from.
    pub version: u64,
    /// The objects in order.
    pub objects: Vec<Arc<Stored>>,
}

/// The version asked for is no longer in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The oldest version that can still be asked for.
    pub oldest: u64,
}

impl Collection {
    fn new(name: Arc<str>, compacted: u64) -> Self {
        let state = State {
            history: History::after(compacted),
            ..State::default()
        };
        Collection {
            name,
            state: RwLock::new(state),
            latest: AtomicU64::new(compacted),
            bell: Arc::default(),
            forms: AtomicBool::new(false),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Arc<Stored>> {
        self.read().objects.get(key).cloned()
    }

    /// From now on the `apiVersion` of each object is kept with it: these are custom resources.
    pub fn keep_forms(&self) {
        self.forms.store(true, Ordering::Relaxed);
    }

    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().objects.len()
    }

    /// Whether there is no object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.read().objects.is_empty()
    }

    /// The objects whose key begins with `prefix` and comes after `after`, now or at a version.
    ///
    /// # Errors
    /// The version is older than the log.
    pub fn snapshot(
        &self,
        store: &Store,
        prefix: &str,
        after: Option<&str>,
        at: Option<u64>,
    ) -> Result<Snapshot, Expired> {
        let state = self.read();
        let now = store.version();
        let low = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let range = state
            .objects
            .range::<str, _>((low, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        let Some(at) = at.filter(|at| *at < now) else {
            return Ok(Snapshot {
                version: now,
                objects: range.map(|(_, object)| object.clone()).collect(),
            });
        };
        let mut objects: BTreeMap<Arc<str>, Arc<Stored>> =
            range.map(|(key, object)| (key.clone(), object.clone())).collect();
        state.history.undo(&mut objects, at, |key| {
            key.starts_with(prefix) && after.is_none_or(|after| key > after)
        })?;
        Ok(Snapshot {
            version: at,
            objects: objects.into_values().collect(),
        })
    }

    /// Events after a version, at most `limit`; fewer when they are large. None are left when there are none.
    ///
    /// # Errors
    /// The log no longer goes back that far.
    pub fn events_after(&self, version: u64, limit: usize) -> Result<Vec<Arc<Event>>, Expired> {
        self.read().history.after_version(version, limit)
    }

    /// The version of the last change.
    #[must_use]
    pub fn latest(&self) -> u64 {
        self.latest.load(Ordering::SeqCst)
    }

    /// A receiver that wakes on every change, once it is on disk.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    /// Forgets the log up to now, as a compaction does.
    pub fn compact(&self, store: &Store) {
        self.write().history.compact(store.version());
    }
}

/// The store.
#[derive(Debug)]
pub struct Store {
    counter: AtomicU64,
    collections: RwLock<FxHashMap<Arc<str>, Arc<Collection>>>,
    journal: Option<Journal>,
    notices: mpsc::UnboundedSender<Notice>,
}

impl Store {
    /// A store in memory, with the receiver of all its changes.
    #[must_use]
    pub fn in_memory() -> (Self, mpsc::UnboundedReceiver<Notice>) {
        let (notices, receiver) = mpsc::unbounded_channel();
        let store = Store {
            counter: AtomicU64::new(1),
            collections: RwLock::default(),
            journal: None,
            notices,
        };
        (store, receiver)
    }

    /// A store kept in a folder.
    ///
    /// # Errors
    /// The folder's file cannot be opened or read.
    pub fn durable(
        folder: &std::path::Path,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Notice>), journal::JournalError> {
        let (journal, loaded) = Journal::open(folder)?;
        let (notices, receiver) = mpsc::unbounded_channel();
        let mut collections: FxHashMap<Arc<str>, Arc<Collection>> = FxHashMap::default();
        let start = loaded.version.max(1);
        for (collection, object) in loaded.objects {
            let collection = collections
                .entry(collection)
                .or_insert_with_key(|name| Arc::new(Collection::new(name.clone(), start)));
            collection
                .write()
                .objects
                .insert(object.key.clone(), Arc::new(object));
        }
        let store = Store {
            counter: AtomicU64::new(start),
            collections: RwLock::new(collections),
            journal: Some(journal),
            notices,
        };
        Ok((store, receiver))
    }

    /// Has what is written until the result is dropped kept together.
    #[must_use]
    pub fn together(&self) -> Option<journal::Together> {
        self.journal.as_ref().map(Journal::together)
    }

    /// Says that the caller waits for its writes, by [`Store::settled`], before it drops the result.
    #[must_use]
    pub fn attend(&self) -> Option<journal::Attended> {
        self.journal.as_ref().map(Journal::attend)
    }

    /// The latest version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.counter.load(Ordering::SeqCst)
    }

    /// The collection of a name, made if it is not there.
    #[must_use]
    pub fn collection(&self, name: &str) -> Arc<Collection> {
        if let Some(found) = self
            .collections
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
        {
            return found.clone();
        }
        let mut all = self.collections.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = all.get(name) {
            return found.clone();
        }
        let name: Arc<str> = name.into();
        // A collection without history answers for all versions: nothing was ever in it.
        let start = if self.journal.is_some() { self.version() } else { 0 };
        let made = Arc::new(Collection::new(name.clone(), start));
        all.insert(name, made.clone());
        made
    }

    /// All collections.
    #[must_use]
    pub fn collections(&self) -> Vec<Arc<Collection>> {
        let all = self.collections.read().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<_> = all.values().cloned().collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }

    /// Writes an object; `metadata.resourceVersion` is set in `object`.
    ///
    /// # Errors
    /// The collection does not hold what `expect` says.
    pub fn put(
        &self,
        collection: &Collection,
        key: &str,
        expect: Expect,
        object: &mut Value,
    ) -> Result<Arc<Stored>, Refused> {
        let mut state = collection.write();
        let previous = state.objects.get(key).cloned();
        match (expect, &previous) {
            (Expect::Absent, Some(_)) => return Err(Refused::Exists),
            (Expect::Version(_), None) => return Err(Refused::Missing),
            (Expect::Version(want), Some(have)) if have.version != want => return Err(Refused::Changed),
            _ => {}
        }
        let change = if previous.is_some() {
            Change::Modified
        } else {
            Change::Added
        };
        let key = previous
            .as_ref()
            .map_or_else(|| Arc::from(key), |previous| previous.key.clone());
        let stored = self.stamp(collection, &mut state.scratch, key, object, previous.as_deref());
        state.objects.insert(stored.key.clone(), stored.clone());
        self.publish(collection, &mut state, change, stored.clone(), previous);
        Ok(stored)
    }

    /// Removes an object whose last state is `object`; its version becomes the removal's.
    ///
    /// # Errors
    /// The object is gone or has another version.
    pub fn remove(
        &self,
        collection: &Collection,
        key: &str,
        version: u64,
        object: &mut Value,
    ) -> Result<Arc<Stored>, Refused> {
        let mut state = collection.write();
        let Some(previous) = state.objects.get(key).cloned() else {
            return Err(Refused::Missing);
        };
        if previous.version != version {
            return Err(Refused::Changed);
        }
        let key_of = previous.key.clone();
        let stored = self.stamp(collection, &mut state.scratch, key_of, object, Some(&previous));
        state.objects.remove(key);
        self.publish(
            collection,
            &mut state,
            Change::Deleted,
            stored.clone(),
            Some(previous),
        );
        Ok(stored)
    }

    fn stamp(
        &self,
        collection: &Collection,
        scratch: &mut Vec<u8>,
        key: Arc<str>,
        object: &mut Value,
        previous: Option<&Stored>,
    ) -> Arc<Stored> {
        let version = self.counter.fetch_add(1, Ordering::SeqCst) + 1;
        object["metadata"]["resourceVersion"] = Value::String(version.to_string());
        let mut given = None;
        if let Some(fields) = object.as_object_mut() {
            fields.remove("kind");
            given = fields.remove("apiVersion");
        }
        let form = if collection.forms.load(Ordering::Relaxed) {
            let old = previous.and_then(|previous| previous.form.clone());
            match given.as_ref().and_then(Value::as_str) {
                Some(given) => old.filter(|old| **old == *given).or_else(|| Some(given.into())),
                None => old,
            }
        } else {
            None
        };
        scratch.clear();
        scratch.shrink_to(SCRATCH);
        serde_json::to_writer(&mut *scratch, object).expect("the keys of a value are strings");
        Arc::new(Stored {
            key,
            version,
            // Kept for long, so without the room that grew while it was written.
            text: Bytes::copy_from_slice(scratch).into(),
            form,
            labels: LabelHint::of(object),
        })
    }

    fn publish(
        &self,
        collection: &Collection,
        state: &mut State,
        change: Change,
        object: Arc<Stored>,
        previous: Option<Arc<Stored>>,
    ) {
        if let Some(journal) = &self.journal {
            journal.queue(&collection.name, change, &object, &collection.bell);
        }
        let version = object.version;
        let event = Arc::new(Event::new(change, object, previous));
        state.record(event.clone());
        collection.latest.store(version, Ordering::SeqCst);
        if self.journal.is_none() {
            collection.bell.send_replace(());
        }
        // Nobody listens once the server stops.
        let _stopped = self.notices.send(Notice {
            collection: collection.name.clone(),
            event,
        });
    }

    /// Waits until everything written so far is on disk.
    ///
    /// # Errors
    /// The disk refused it.
    pub async fn settled(&self) -> Result<(), journal::JournalError> {
        match &self.journal {
            Some(journal) => journal.settled().await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(text: &str) -> Value {
        json!({"metadata": {"name": text}})
    }

    #[test]
    fn a_list_at_an_old_version_undoes_later_changes() {
        let (store, _notices) = Store::in_memory();
        let things = store.collection("things");
        let first = store
            .put(&things, "n/a", Expect::Absent, &mut object("a"))
            .unwrap();
        let second = store
            .put(&things, "n/b", Expect::Absent, &mut object("b"))
            .unwrap();
        store
            .put(&things, "n/a", Expect::Version(first.version), &mut object("a"))
            .unwrap();
        store
            .remove(&things, "n/b", second.version, &mut object("b"))
            .unwrap();
        store
            .put(&things, "n/c", Expect::Absent, &mut object("c"))
            .unwrap();
        let keys = |snapshot: Snapshot| -> Vec<(String, u64)> {
            snapshot
                .objects
                .iter()
                .map(|object| (object.key.to_string(), object.version))
                .collect()
        };
        let old = things.snapshot(&store, "n/", None, Some(second.version)).unwrap();
        assert_eq!(
            keys(old),
            [
                ("n/a".to_owned(), first.version),
                ("n/b".to_owned(), second.version)
            ]
        );
        let now = things.snapshot(&store, "n/", Some("n/a"), None).unwrap();
        assert_eq!(keys(now), [("n/c".to_owned(), store.version())]);
    }

    #[test]
    fn writes_are_refused_when_the_object_changed() {
        let (store, _notices) = Store::in_memory();
        let things = store.collection("things");
        let first = store.put(&things, "a", Expect::Absent, &mut object("a")).unwrap();
        assert_eq!(
            store
                .put(&things, "a", Expect::Absent, &mut object("a"))
                .unwrap_err(),
            Refused::Exists
        );
        store
            .put(&things, "a", Expect::Version(first.version), &mut object("a"))
            .unwrap();
        assert_eq!(
            store
                .remove(&things, "a", first.version, &mut object("a"))
                .unwrap_err(),
            Refused::Changed
        );
        assert_eq!(things.events_after(0, 10).unwrap().len(), 2);
        things.compact(&store);
        assert!(things.events_after(first.version, 10).is_err());
    }
}
