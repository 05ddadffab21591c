//! Who is woken by what: the objects themselves, sources, ConfigMaps and Secrets, kinds.

use std::collections::BTreeSet;
use std::sync::Arc;

use fluvial_api::GitRepository;
use fluvial_object::ObjectExt;
use fluvial_ports::{KindChange, Resource, Select, Watched};
use futures::StreamExt;
use rustc_hash::FxHashMap;
use serde_json::Value;
use tokio::sync::watch;

use super::Deliverer;
use super::depends::in_order;
use crate::context::Context;
use crate::feed::Feed;
use crate::links::Links;
use crate::queue::{Queue, Reasons};
use crate::{Key, SourceId};

/// A ConfigMap or Secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ConfigId {
    /// `ConfigMap` or `Secret`.
    pub(crate) kind: &'static str,
    /// Which one.
    pub(crate) key: Key,
}

/// References of all objects of a kind.
pub(crate) struct Wakes<T> {
    feed: Arc<Feed<T>>,
    queue: Queue<Key>,
    references: Arc<References>,
}

#[derive(Default)]
struct References {
    sources: Links<SourceId>,
    configs: Links<ConfigId>,
    /// Kinds of sources that are used, and of ConfigMaps and Secrets that are read.
    used_kinds: watch::Sender<BTreeSet<String>>,
    kinds: Links<(String, String)>,
}

impl<T: Deliverer> Wakes<T> {
    /// Listens to the objects themselves.
    pub(crate) fn new(feed: &Arc<Feed<T>>, queue: &Queue<Key>) -> Arc<Self> {
        let references = Arc::new(References::default());
        {
            let (references, queue) = (Arc::clone(&references), queue.clone());
            feed.listen(move |transition| {
                let (old, new) = (transition.old.as_deref(), transition.new.as_deref());
                references.heard(&transition.key, old, new);
                let reasons = crate::wake::own(old.map(T::metadata), new.map(T::metadata));
                if !reasons.is_empty() {
                    queue.add(transition.key.clone(), reasons);
                }
            });
        }
        Arc::new(Self {
            feed: Arc::clone(feed),
            queue: queue.clone(),
            references,
        })
    }

    /// A source has something else: wakes those that use it, the ones that others depend on first.
    pub(crate) fn source(&self, source: &SourceId) {
        let users = self.references.sources.referrers(source);
        let users: Vec<Arc<T>> = users
            .iter()
            .filter_map(|key| self.feed.store().get(key))
            .collect();
        for key in in_order(&users) {
            self.queue.add(key, Reasons::SOURCE);
        }
    }

    /// A kind is served now, or no longer.
    pub(crate) fn kind(&self, change: &KindChange) {
        if change.served {
            let kind = (change.group.clone(), change.kind.clone());
            for waiting in self.references.kinds.referrers(&kind) {
                self.queue.add(waiting, Reasons::KINDS);
            }
        }
    }

    /// States which kinds one waits for.
    pub(crate) fn wait_for_kinds(&self, key: &Key, kinds: Vec<(String, String)>) {
        self.references.kinds.set(key, kinds);
    }

    /// Waits until somebody reads a ConfigMap or Secret, or uses a source, of a kind.
    async fn used(&self, kind: &str) {
        let mut kinds = self.references.used_kinds.subscribe();
        // The sender lives as long as this does.
        let _ = kinds.wait_for(|kinds| kinds.contains(kind)).await;
    }

    /// Follows sources that this process may not reconcile, from the moment when one is used. Those that use one are
    /// woken when what `look` sees of it changes.
    pub(crate) fn follow_sources(
        self: &Arc<Self>,
        context: &Context,
        kind: &'static str,
        plural: &str,
        look: fn(&Value) -> Option<&Value>,
    ) -> impl Future<Output = ()> + Send + use<T> {
        let resource = Resource {
            group: GitRepository::GROUP.to_owned(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced: true,
        };
        let select = Select {
            namespace: context.settings.namespace.clone(),
            ..Select::default()
        };
        let (wakes, cluster) = (Arc::clone(self), Arc::clone(&context.cluster));
        async move {
            wakes.used(kind).await;
            let mut watch = cluster.watch(&resource, &select);
            let mut known: FxHashMap<Key, Value> = FxHashMap::default();
            while let Some(watched) = watch.next().await {
                let Watched::Applied(object) = watched else {
                    continue;
                };
                let Some(seen) = look(&object).cloned() else {
                    continue;
                };
                let key = Key::new(object.namespace(), object.name());
                let source = SourceId {
                    kind: kind.into(),
                    key: key.clone(),
                };
                if known.get(&key) != Some(&seen) {
                    known.insert(key, seen);
                    wakes.source(&source);
                }
            }
        }
    }

    /// Follows ConfigMaps or Secrets, from the moment when somebody reads one.
    pub(crate) fn follow_configs(
        self: &Arc<Self>,
        context: &Context,
        kind: &'static str,
    ) -> impl Future<Output = ()> + Send + use<T> {
        let resource = Resource::core(kind);
        let select = Select {
            namespace: context.settings.namespace.clone(),
            labels: context.settings.config_selector.clone(),
            metadata_only: true,
            ..Select::default()
        };
        let (wakes, cluster) = (Arc::clone(self), Arc::clone(&context.cluster));
        async move {
            wakes.used(kind).await;
            let mut watch = cluster.watch(&resource, &select);
            let mut versions: FxHashMap<Key, String> = FxHashMap::default();
            let mut listed = false;
            while let Some(watched) = watch.next().await {
                let (object, gone) = match watched {
                    Watched::Applied(object) => (object, false),
                    Watched::Deleted(object) => (object, true),
                    Watched::Ready => {
                        listed = true;
                        continue;
                    }
                    Watched::Restarted | Watched::Failed(_) => continue,
                };
                let key = Key::new(object.namespace(), object.name());
                let config = ConfigId { kind, key };
                let readers = wakes.references.configs.referrers(&config);
                if readers.is_empty() {
                    continue;
                }
                let version = if gone { "" } else { object.resource_version() };
                let known = versions.insert(config.key, version.to_owned());
                // What the first list shows has been read by those who need it, or will be.
                if listed && known.as_deref() != Some(version) {
                    for reader in readers {
                        wakes.queue.add(reader, Reasons::CONFIG);
                    }
                }
            }
        }
    }
}

impl References {
    fn heard<T: Deliverer>(&self, key: &Key, old: Option<&T>, new: Option<&T>) {
        let generation = |object: Option<&T>| object.map(|object| object.metadata().generation);
        if new.is_none() {
            self.kinds.set(key, Vec::new());
        } else if generation(old) == generation(new) {
            return;
        }
        let source = new.and_then(T::source);
        let configs = new.map(configs).unwrap_or_default();
        let kinds = configs.iter().map(|config| config.kind.to_owned());
        let kinds = kinds.chain(source.iter().map(|source| source.kind.to_string()));
        for kind in kinds {
            self.used_kinds.send_if_modified(|known| known.insert(kind));
        }
        self.sources.set(key, source.into_iter().collect());
        self.configs.set(key, configs);
    }
}

/// The ConfigMaps and Secrets that one reads.
fn configs<T: Deliverer>(object: &T) -> Vec<ConfigId> {
    let kube_config = object.kube_config().into_iter().flat_map(|kube_config| {
        let secret = kube_config.secret_ref.as_ref();
        let map = kube_config.config_map_ref.as_ref();
        let secret = secret.map(|secret| ("Secret", secret.name.as_str()));
        secret
            .into_iter()
            .chain(map.map(|map| ("ConfigMap", map.name.as_str())))
    });
    let namespace = &object.metadata().namespace;
    object
        .reads()
        .into_iter()
        .chain(kube_config)
        .map(|(kind, name)| ConfigId {
            kind,
            key: Key::new(namespace, name),
        })
        .collect()
}
