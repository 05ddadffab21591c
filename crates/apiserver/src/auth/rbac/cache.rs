//! Bindings by their subjects, and roles, read once: a request looks at what is bound to its user, not at all there is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::{BINDINGS, CLUSTER_BINDINGS, is_subject, text};
use crate::auth::User;
use crate::store::Store;

/// A binding as decisions need it.
#[derive(Debug)]
pub(super) struct Binding {
    /// Its key in the collection.
    key: Arc<str>,
    /// Its name.
    pub(super) name: String,
    /// Its namespace; empty for the whole cluster.
    pub(super) space: String,
    /// Role or ClusterRole.
    pub(super) role_kind: String,
    /// The role's name.
    pub(super) role: String,
    subjects: Vec<Value>,
}

impl Binding {
    fn read(key: &Arc<str>, space: &str, value: &Value) -> Binding {
        let role = &value["roleRef"];
        Binding {
            key: key.clone(),
            name: value["metadata"]["name"].as_str().unwrap_or("").to_owned(),
            space: space.to_owned(),
            role_kind: text(role, "kind").to_owned(),
            role: text(role, "name").to_owned(),
            subjects: value["subjects"].as_array().cloned().unwrap_or_default(),
        }
    }

    /// The subject that a user is.
    pub(super) fn subject(&self, user: &User) -> Option<&Value> {
        self.subjects
            .iter()
            .find(|subject| is_subject(subject, user, &self.space))
    }
}

type Parsed = BTreeMap<Arc<str>, (u64, Arc<Binding>)>;

/// Bindings by namespace and subject.
#[derive(Debug, Default)]
struct Index {
    /// Versions of the two collections.
    versions: (u64, u64),
    by_subject: FxHashMap<(Box<str>, Box<str>), Vec<Arc<Binding>>>,
}

/// What was read of bindings and roles.
#[derive(Debug, Default)]
pub struct Cache {
    index: RwLock<Arc<Index>>,
    parsed: Mutex<(Parsed, Parsed)>,
    roles: RwLock<FxHashMap<(Box<str>, Box<str>), (u64, Arc<Vec<Value>>)>>,
}

fn subject_key(kind: &str, space: &str, name: &str) -> Box<str> {
    match kind {
        "User" => format!("u:{name}"),
        "Group" => format!("g:{name}"),
        _ => format!("u:system:serviceaccount:{space}:{name}"),
    }
    .into()
}

/// Brings what was read of a collection up to date; only what changed is read.
fn refresh(store: &Store, collection: &str, parsed: &mut Parsed) -> u64 {
    let collection = store.collection(collection);
    let version = collection.latest();
    let Ok(snapshot) = collection.snapshot(store, "", None, None) else {
        return version;
    };
    let mut now = Parsed::new();
    for stored in snapshot.objects {
        let entry = match parsed.remove(&stored.key) {
            Some(entry) if entry.0 == stored.version => entry,
            _ => {
                let binding = Binding::read(&stored.key, stored.namespace(), &stored.value());
                (stored.version, Arc::new(binding))
            }
        };
        now.insert(stored.key.clone(), entry);
    }
    *parsed = now;
    version
}

impl Cache {
    fn index(&self, store: &Store) -> Arc<Index> {
        let now = || {
            (
                store.collection(CLUSTER_BINDINGS).latest(),
                store.collection(BINDINGS).latest(),
            )
        };
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner).clone();
        if index.versions == now() && !index.by_subject.is_empty() {
            return index;
        }
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        let (cluster, spaced) = &mut *parsed;
        let versions = (
            refresh(store, CLUSTER_BINDINGS, cluster),
            refresh(store, BINDINGS, spaced),
        );
        let mut new = Index {
            versions,
            ..Index::default()
        };
        for (_, binding) in cluster.values().chain(spaced.values()) {
            for subject in &binding.subjects {
                let own = text(subject, "namespace");
                let space = if own.is_empty() { &binding.space } else { own };
                let key = subject_key(text(subject, "kind"), space, text(subject, "name"));
                let list = new
                    .by_subject
                    .entry((binding.space.as_str().into(), key))
                    .or_default();
                if list.last().is_none_or(|last| !Arc::ptr_eq(last, binding)) {
                    list.push(binding.clone());
                }
            }
        }
        let new = Arc::new(new);
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = new.clone();
        new
    }

    /// The bindings of a user in a namespace, or in the whole cluster, in the order of their names.
    pub(super) fn bindings(&self, store: &Store, user: &User, space: &str) -> Vec<Arc<Binding>> {
        let index = self.index(store);
        let keys = std::iter::once(format!("u:{}", user.name))
            .chain(user.groups.iter().map(|group| format!("g:{group}")));
        let mut all: Vec<Arc<Binding>> = keys
            .filter_map(|key| index.by_subject.get(&(space.into(), key.into())))
            .flatten()
            .cloned()
            .collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all.dedup_by(|a, b| Arc::ptr_eq(a, b));
        all
    }

    /// The rules of a role.
    pub(super) fn rules(&self, store: &Store, collection: &str, key: &str) -> Option<Arc<Vec<Value>>> {
        let stored = store.collection(collection).get(key)?;
        let name = (Box::from(collection), Box::from(key));
        let known = self.roles.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((version, rules)) = known.get(&name)
            && *version == stored.version
        {
            return Some(rules.clone());
        }
        drop(known);
        let rules = match stored.value()["rules"].take() {
            Value::Array(rules) => rules,
            _ => vec![],
        };
        let rules = Arc::new(rules);
        let mut roles = self.roles.write().unwrap_or_else(PoisonError::into_inner);
        // Roles that are gone are forgotten now and then.
        if roles.len() >= 4096 {
            roles.clear();
        }
        roles.insert(name, (stored.version, rules.clone()));
        Some(rules)
    }
}
