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
    /// Whether ConfigMaps, and Secrets, are read by anybody.
    read_kinds: watch::Sender<BTreeSet<&'static str>>,
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
            self.sources.set(key, new.map(source_of).into_iter().collect());
            self.dependencies
                .set(key, new.map(dependencies).unwrap_or_default());
            self.refer_to_configs(key, new.map(configs).unwrap_or_default());
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

    /// Waits until somebody reads a ConfigMap, or a Secret.
    pub(crate) async fn config_read(&self, kind: &str) {
        let mut kinds = self.read_kinds.subscribe();
        // The sender lives as long as this does.
        let _ = kinds.wait_for(|kinds| kinds.contains(kind)).await;
    }

    fn refer_to_configs(&self, key: &Key, configs: Vec<ConfigId>) {
        for config in &configs {
            self.read_kinds
                .send_if_modified(|kinds| kinds.insert(config.kind));
        }
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
    references
        .filter_map(|reference| {
            let kind = match reference.kind.as_str() {
                "ConfigMap" => "ConfigMap",
                "Secret" => "Secret",
                _ => return None,
            };
            let key = Key::new(&object.metadata.namespace, &reference.name);
            Some(ConfigId { kind, key })
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
