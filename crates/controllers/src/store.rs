//! The objects of one reconciled kind, as a watch and our own writes last showed them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fluvial_api::Resource;
use fluvial_ports::Watched;
use rustc_hash::FxHashSet;
use serde_json::Value;

use crate::Key;

/// What happened to one object.
#[derive(Debug)]
pub struct Transition<T> {
    /// Which one.
    pub key: Key,
    /// Its state before, if it was known.
    pub old: Option<Arc<T>>,
    /// Its state now, if it still exists.
    pub new: Option<Arc<T>>,
}

/// Objects that are gone and remembered: more than writes can be under way.
const REMEMBERED: usize = 4096;

/// The objects that went last, by `metadata.uid`, which no other object ever has. The answer to a write may arrive after
/// the watch has shown that its object is gone, and even that there is another one of its name.
#[derive(Default)]
struct Gone {
    ids: FxHashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Gone {
    fn add(&mut self, uid: &str) {
        let uid: Arc<str> = uid.into();
        if uid.is_empty() || !self.ids.insert(Arc::clone(&uid)) {
            return;
        }
        self.order.push_back(uid);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    fn forget(&mut self, uid: &str) {
        if self.ids.remove(uid) {
            self.order.retain(|other| **other != *uid);
        }
    }
}

struct Inner<T> {
    objects: BTreeMap<Key, Arc<T>>,
    gone: Gone,
    /// Keys seen since the watch restarted, until its list is complete.
    seen: Option<FxHashSet<Key>>,
    complete: bool,
}

/// The objects of one kind.
pub struct Store<T>(Mutex<Inner<T>>);

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self(Mutex::new(Inner {
            objects: BTreeMap::new(),
            gone: Gone::default(),
            seen: None,
            complete: false,
        }))
    }
}

impl<T: Resource> Store<T> {
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<Arc<T>> {
        self.lock().objects.get(key).cloned()
    }

    /// All objects, in order of their keys.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.lock().objects.values().cloned().collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.lock().objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a first list has been read to its end.
    pub fn is_complete(&self) -> bool {
        self.lock().complete
    }

    /// Takes in what a watch reports.
    pub fn observe(&self, watched: Watched) -> Vec<Transition<T>> {
        match watched {
            Watched::Restarted => {
                self.lock().seen = Some(FxHashSet::default());
                Vec::new()
            }
            Watched::Applied(object) => self.take(&object, true).into_iter().collect(),
            Watched::Deleted(object) => self.remove(&object).into_iter().collect(),
            Watched::Ready => self.finish_list(),
            Watched::Failed(error) => {
                tracing::warn!(kind = T::KIND, %error, "the watch failed and is tried again");
                Vec::new()
            }
        }
    }

    /// Takes in an object that a write returned. Older states than the known one are ignored, and objects that are known
    /// to be gone.
    pub fn put(&self, object: &Value) -> Option<Transition<T>> {
        self.take(object, false)
    }

    fn take(&self, object: &Value, watched: bool) -> Option<Transition<T>> {
        let parsed = match T::from_value(object) {
            Ok(parsed) => Arc::new(parsed),
            Err(error) => {
                tracing::warn!(kind = T::KIND, %error, "the object cannot be read and is left alone");
                return None;
            }
        };
        let key = Key::of(parsed.metadata());
        let uid = &parsed.metadata().uid;
        let mut inner = self.lock();
        // A watch that shows an object knows better: the list before may have been an old one.
        if watched {
            inner.gone.forget(uid);
        } else if inner.gone.ids.contains(uid.as_str()) {
            return None;
        }
        if let Some(seen) = &mut inner.seen {
            seen.insert(key.clone());
        }
        if let Some(known) = inner.objects.get(&key)
            && !is_newer(
                &parsed.metadata().resource_version,
                &known.metadata().resource_version,
            )
            && *uid == known.metadata().uid
        {
            return None;
        }
        let old = inner.objects.insert(key.clone(), Arc::clone(&parsed));
        if let Some(old) = old.as_ref().filter(|old| old.metadata().uid != *uid) {
            inner.gone.add(&old.metadata().uid);
        }
        Some(Transition {
            key,
            old,
            new: Some(parsed),
        })
    }

    fn remove(&self, object: &Value) -> Option<Transition<T>> {
        let text = |name: &str| object.pointer(name).and_then(Value::as_str).unwrap_or_default();
        let key = Key::new(text("/metadata/namespace"), text("/metadata/name"));
        let mut inner = self.lock();
        inner.gone.add(text("/metadata/uid"));
        if inner.objects.get(&key)?.metadata().uid != text("/metadata/uid") {
            return None;
        }
        let old = inner.objects.remove(&key);
        Some(Transition { key, old, new: None })
    }

    fn finish_list(&self) -> Vec<Transition<T>> {
        let mut inner = self.lock();
        inner.complete = true;
        let Some(seen) = inner.seen.take() else {
            return Vec::new();
        };
        let gone: Vec<Key> = inner
            .objects
            .keys()
            .filter(|key| !seen.contains(*key))
            .cloned()
            .collect();
        gone.into_iter()
            .map(|key| {
                let old = inner.objects.remove(&key);
                if let Some(old) = &old {
                    inner.gone.add(&old.metadata().uid);
                }
                Transition { key, old, new: None }
            })
            .collect()
    }
}

/// Resource versions are numbers that grow; what is not a number is taken as newer unless it is equal.
fn is_newer(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version > than,
        _ => version != than,
    }
}

#[cfg(test)]
mod tests {
    use fluvial_api::GitRepository;
    use serde_json::json;

    use super::*;

    fn object(name: &str, version: &str) -> Value {
        json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"namespace": "ns", "name": name, "resourceVersion": version, "uid": name},
            "spec": {"url": "https://example.org/x", "interval": "1m"}})
    }

    #[test]
    fn older_states_do_not_come_back() {
        let store = Store::<GitRepository>::default();
        assert!(store.put(&object("a", "10")).is_some());
        assert!(store.observe(Watched::Applied(object("a", "9"))).is_empty());
        assert!(store.observe(Watched::Applied(object("a", "10"))).is_empty());
        let newer = store.observe(Watched::Applied(object("a", "11")));
        assert_eq!(newer[0].old.as_ref().unwrap().metadata.resource_version, "10");
    }

    #[test]
    fn a_late_answer_for_what_is_gone_changes_nothing() {
        let store = Store::<GitRepository>::default();
        let of = |uid: &str, version: &str| {
            let mut object = object("a", version);
            object["metadata"]["uid"] = uid.into();
            object
        };
        store.observe(Watched::Applied(of("first", "10")));
        store.observe(Watched::Deleted(of("first", "12")));
        assert!(store.put(&of("first", "11")).is_none());
        assert!(store.is_empty());
        store.observe(Watched::Applied(of("second", "13")));
        assert!(store.put(&of("first", "11")).is_none());
        // A new list says nothing of those that went in between.
        store.observe(Watched::Restarted);
        store.observe(Watched::Applied(of("third", "15")));
        assert!(store.put(&of("second", "14")).is_none());
        store.observe(Watched::Ready);
        let key = Key::new("ns", "a");
        assert_eq!(store.get(&key).unwrap().metadata.uid, "third");
        store.observe(Watched::Restarted);
        store.observe(Watched::Ready);
        assert!(store.put(&of("third", "16")).is_none() && store.is_empty());
        // The list was an old one.
        store.observe(Watched::Applied(of("third", "17")));
        assert!(store.put(&of("third", "18")).is_some());
    }

    #[test]
    fn only_so_many_of_the_gone_are_remembered() {
        let mut gone = Gone::default();
        for number in 0..REMEMBERED + 2 {
            gone.add(&number.to_string());
            gone.add("");
        }
        assert_eq!((gone.ids.len(), gone.order.len()), (REMEMBERED, REMEMBERED));
        assert!(!gone.ids.contains("1") && gone.ids.contains("2"));
    }

    #[test]
    fn what_a_new_list_does_not_show_is_gone() {
        let store = Store::<GitRepository>::default();
        for event in [
            Watched::Restarted,
            Watched::Applied(object("a", "1")),
            Watched::Applied(object("b", "2")),
        ] {
            store.observe(event);
        }
        assert!(!store.is_complete());
        assert!(store.observe(Watched::Ready).is_empty());
        assert!(store.is_complete());
        for event in [Watched::Restarted, Watched::Applied(object("b", "2"))] {
            store.observe(event);
        }
        let gone = store.observe(Watched::Ready);
        assert_eq!(
            (gone.len(), gone[0].key.to_string().as_str(), store.len()),
            (1, "ns/a", 1)
        );
    }
}
