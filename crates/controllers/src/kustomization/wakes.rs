//! Who is woken by what: sources, dependencies, ConfigMaps and Secrets, kinds, and those that take objects over.

use std::collections::BTreeSet;
use std::sync::Arc;

use fluvial_api::meta::Artifact;
use fluvial_api::{Kustomization, Resource};
use fluvial_ports::KindChange;
use tokio::sync::watch;

use super::depends::{dependencies, in_order, source_of};
use crate::condition::{self, READY};
use crate::feed::Feed;
use crate::links::Links;
use crate::queue::{Queue, Reasons};
use crate::store::Transition;
use crate::{Key, SourceId};

/// A ConfigMap or Secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ConfigId {
    /// `ConfigMap` or `Secret`.
    pub(crate) kind: &'static str,
    /// Which one.
    pub(crate) key: Key,
}

/// References of all Kustomizations.
#[derive(Default)]
pub(crate) struct Wakes {
    sources: Links<SourceId>,
    dependencies: Links<Key>,
    configs: Links<ConfigId>,
    /// Kinds of sources that are used, and of ConfigMaps and Secrets that are read.
    used_kinds: watch::Sender<BTreeSet<String>>,
    kinds: Links<(String, String)>,
    /// Those that are to take objects over.
    takers: Links<Key>,
}

impl Wakes {
    /// Listens to the Kustomizations themselves.
    pub(crate) fn listen(self: &Arc<Self>, feed: &Feed<Kustomization>, queue: &Queue<Key>) {
        let (wakes, queue) = (Arc::clone(self), queue.clone());
        feed.listen(move |transition| wakes.heard(&queue, transition));
    }

    fn heard(&self, queue: &Queue<Key>, transition: &Transition<Kustomization>) {
        let key = &transition.key;
        let (old, new) = (transition.old.as_deref(), transition.new.as_deref());
        let spec_changed = old.map(|old| old.metadata.generation) != new.map(|new| new.metadata.generation);
        if spec_changed || new.is_none() {
            self.dependencies
                .set(key, new.map(dependencies).unwrap_or_default());
            self.refer(key, new.map(source_of), new.map(configs).unwrap_or_default());
        }
        if new.is_none() {
            self.kinds.set(key, Vec::new());
            self.takers.set(key, Vec::new());
        }
        let reasons = crate::wake::own(old.map(|old| &old.metadata), new.map(|new| &new.metadata));
        if !reasons.is_empty() {
            queue.add(key.clone(), reasons);
        }
        if readiness(old) != readiness(new) {
            for dependent in self.dependencies.referrers(key) {
                queue.add(dependent, Reasons::DEPENDENCY);
            }
        }
        if taken(old) != taken(new) {
            for waiting in self.takers.referrers(key) {
                queue.add(waiting, Reasons::DEPENDENCY);
            }
        }
    }

    /// A source has another artifact: wakes those that use it, the ones that others depend on first.
    pub(crate) fn source(&self, source: &SourceId, feed: &Feed<Kustomization>, queue: &Queue<Key>) {
        let users: Vec<Arc<Kustomization>> = self
            .sources
            .referrers(source)
            .iter()
            .filter_map(|key| feed.store().get(key))
            .collect();
        for key in in_order(&users) {
            queue.add(key, Reasons::SOURCE);
        }
    }

    /// A ConfigMap or Secret has changed.
    pub(crate) fn config(&self, config: &ConfigId, queue: &Queue<Key>) {
        for user in self.configs.referrers(config) {
            queue.add(user, Reasons::CONFIG);
        }
    }

    /// Whether anybody reads a ConfigMap or Secret.
    pub(crate) fn is_read(&self, config: &ConfigId) -> bool {
        !self.configs.referrers(config).is_empty()
    }

    /// Waits until somebody reads a ConfigMap or Secret, or uses a source, of a kind.
    pub(crate) async fn used(&self, kind: &str) {
        let mut kinds = self.used_kinds.subscribe();
        // The sender lives as long as this does.
        let _ = kinds.wait_for(|kinds| kinds.contains(kind)).await;
    }

    fn refer(&self, key: &Key, source: Option<SourceId>, configs: Vec<ConfigId>) {
        let kinds = configs.iter().map(|config| config.kind.to_owned());
        let kinds = kinds.chain(source.iter().map(|source| source.kind.to_string()));
        for kind in kinds {
            self.used_kinds.send_if_modified(|known| known.insert(kind));
        }
        self.sources.set(key, source.into_iter().collect());
        self.configs.set(key, configs);
    }

    /// A kind is served now, or no longer.
    pub(crate) fn kind(&self, change: &KindChange, queue: &Queue<Key>) {
        if change.served {
            for waiting in self.kinds.referrers(&(change.group.clone(), change.kind.clone())) {
                queue.add(waiting, Reasons::KINDS);
            }
        }
    }

    /// States which kinds one waits for.
    pub(crate) fn wait_for_kinds(&self, key: &Key, kinds: Vec<(String, String)>) {
        self.kinds.set(key, kinds);
    }

    /// States who is to take objects over from one.
    pub(crate) fn wait_for_takers(&self, key: &Key, takers: Vec<Key>) {
        self.takers.set(key, takers);
    }
}

/// What dependents look at.
fn readiness(object: Option<&Kustomization>) -> Option<(bool, bool, Option<&str>, &str)> {
    let object = object?;
    let status = &object.status;
    Some((
        condition::is_true(&status.conditions, READY),
        object.metadata.generation == status.observed_generation,
        status.last_applied_revision.as_deref(),
        // Expressions may look at anything in the status; a new revision says that there is something to see.
        condition::get(&status.conditions, READY).map_or("", |ready| ready.reason.as_str()),
    ))
}

/// What those look at whose objects are to be taken over.
fn taken(object: Option<&Kustomization>) -> Option<(bool, Option<&str>, usize, i64)> {
    let object = object?;
    let status = &object.status;
    Some((
        object.metadata.is_deleting(),
        status.last_applied_revision.as_deref(),
        status
            .inventory
            .as_ref()
            .map_or(0, |inventory| inventory.entries.len()),
        status.observed_generation,
    ))
}

fn configs(object: &Kustomization) -> Vec<ConfigId> {
    let references = object
        .spec
        .post_build
        .iter()
        .flat_map(|post_build| &post_build.substitute_from);
    let variables = references.filter_map(|reference| match reference.kind.as_str() {
        "ConfigMap" => Some(("ConfigMap", reference.name.as_str())),
        "Secret" => Some(("Secret", reference.name.as_str())),
        _ => None,
    });
    let decryption = object.spec.decryption.iter();
    let keys =
        decryption.filter_map(|decryption| Some(("Secret", decryption.secret_ref.as_ref()?.name.as_str())));
    let remote = object.spec.kube_config.iter().flat_map(|kube_config| {
        let secret = kube_config.secret_ref.as_ref();
        let map = kube_config.config_map_ref.as_ref();
        let secret = secret.map(|secret| ("Secret", secret.name.as_str()));
        secret
            .into_iter()
            .chain(map.map(|map| ("ConfigMap", map.name.as_str())))
    });
    variables
        .chain(keys)
        .chain(remote)
        .map(|(kind, name)| ConfigId {
            kind,
            key: Key::new(&object.metadata.namespace, name),
        })
        .collect()
}

/// Whether a source has another artifact than before.
pub(crate) fn is_new(old: Option<&Artifact>, new: Option<&Artifact>) -> bool {
    new.is_some_and(|new| old.is_none_or(|old| old.revision != new.revision || old.digest != new.digest))
}

/// The id of a source of a kind.
pub(crate) fn source_id<T: Resource>(key: &Key) -> SourceId {
    SourceId {
        kind: T::KIND.into(),
        key: key.clone(),
    }
}
