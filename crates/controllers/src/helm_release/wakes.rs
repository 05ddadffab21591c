//! Who is woken by what: charts, dependencies, values, kinds.

use std::collections::BTreeSet;
use std::sync::Arc;

use fluvial_api::HelmRelease;
use fluvial_ports::KindChange;
use tokio::sync::watch;

use super::chart::source_of;
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

/// References of all HelmReleases.
#[derive(Default)]
pub(crate) struct Wakes {
    sources: Links<SourceId>,
    dependencies: Links<Key>,
    configs: Links<ConfigId>,
    /// Kinds of sources that are used, and of ConfigMaps and Secrets that are read.
    used_kinds: watch::Sender<BTreeSet<String>>,
    kinds: Links<(String, String)>,
}

/// The HelmReleases that one depends on.
pub(crate) fn dependencies(object: &HelmRelease) -> Vec<Key> {
    let own = &object.metadata.namespace;
    object
        .spec
        .depends_on
        .iter()
        .map(|dependency| Key::new(dependency.namespace.as_deref().unwrap_or(own), &dependency.name))
        .collect()
}

impl Wakes {
    /// Listens to the HelmReleases themselves.
    pub(crate) fn listen(self: &Arc<Self>, feed: &Feed<HelmRelease>, queue: &Queue<Key>) {
        let (wakes, queue) = (Arc::clone(self), queue.clone());
        feed.listen(move |transition| wakes.heard(&queue, transition));
    }

    fn heard(&self, queue: &Queue<Key>, transition: &Transition<HelmRelease>) {
        let key = &transition.key;
        let (old, new) = (transition.old.as_deref(), transition.new.as_deref());
        let spec_changed = old.map(|old| old.metadata.generation) != new.map(|new| new.metadata.generation);
        if spec_changed || new.is_none() {
            self.dependencies
                .set(key, new.map(dependencies).unwrap_or_default());
            self.refer(key, new.and_then(source_of), new.map(configs).unwrap_or_default());
        }
        if new.is_none() {
            self.kinds.set(key, Vec::new());
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
    }

    /// A chart is ready, or another one.
    pub(crate) fn source(&self, source: &SourceId, queue: &Queue<Key>) {
        for user in self.sources.referrers(source) {
            queue.add(user, Reasons::SOURCE);
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
}

/// What dependents look at.
fn readiness(object: Option<&HelmRelease>) -> Option<(bool, bool, i64, &str)> {
    let object = object?;
    let status = &object.status;
    Some((
        condition::is_true(&status.conditions, READY),
        object.metadata.generation == status.observed_generation,
        super::state::latest(&status.history).map_or(0, |snapshot| snapshot.version),
        // Expressions may look at anything in the status; a new reason says that there is something to see.
        condition::get(&status.conditions, READY).map_or("", |ready| ready.reason.as_str()),
    ))
}

fn configs(object: &HelmRelease) -> Vec<ConfigId> {
    object
        .spec
        .values_from
        .iter()
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
