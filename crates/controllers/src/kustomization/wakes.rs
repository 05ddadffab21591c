//! What a Kustomization refers to, and who is woken when objects may be taken over.

use std::sync::Arc;

use fluvial_api::meta::{Artifact, Condition, Dependency, DependencyKind, KubeConfig};
use fluvial_api::{Kustomization, Resource};

use super::inputs::Source;
use crate::deliverer::Deliverer;
use crate::deliverer::depends::Found;
use crate::feed::Feed;
use crate::links::Links;
use crate::queue::{Queue, Reasons};
use crate::{Key, SourceId};

/// The source that a Kustomization names.
pub(crate) fn source_of(object: &Kustomization) -> SourceId {
    let reference = &object.spec.source_ref;
    let namespace = reference
        .namespace
        .as_deref()
        .unwrap_or(&object.metadata.namespace);
    SourceId {
        kind: reference.kind.as_str().into(),
        key: Key::new(namespace, &reference.name),
    }
}

impl Deliverer for Kustomization {
    const DEPENDENCY: DependencyKind = DependencyKind::Kustomization;

    fn depends_on(&self) -> &[Dependency] {
        &self.spec.depends_on
    }

    fn kube_config(&self) -> Option<&KubeConfig> {
        self.spec.kube_config.as_ref()
    }

    fn service_account(&self) -> Option<&str> {
        self.spec.service_account_name.as_deref()
    }

    fn source(&self) -> Option<SourceId> {
        Some(source_of(self))
    }

    fn reads(&self) -> Vec<(&'static str, &str)> {
        let post_build = self.spec.post_build.iter();
        let references = post_build.flat_map(|post_build| &post_build.substitute_from);
        let variables = references.filter_map(|reference| match reference.kind.as_str() {
            "ConfigMap" => Some(("ConfigMap", reference.name.as_str())),
            "Secret" => Some(("Secret", reference.name.as_str())),
            _ => None,
        });
        let decryption = self.spec.decryption.iter();
        let keys = decryption
            .filter_map(|decryption| Some(("Secret", decryption.secret_ref.as_ref()?.name.as_str())));
        variables.chain(keys).collect()
    }

    fn conditions(&self) -> &[Condition] {
        &self.status.conditions
    }

    fn observed_generation(&self) -> i64 {
        self.status.observed_generation
    }

    fn reached(&self) -> (Option<&str>, i64) {
        (self.status.last_applied_revision.as_deref(), 0)
    }
}

/// Those that are to take objects over, by who waits for it.
#[derive(Default)]
pub(crate) struct Takers(Links<Key>);

impl Takers {
    /// Listens to all Kustomizations.
    pub(crate) fn new(feed: &Feed<Kustomization>, queue: &Queue<Key>) -> Arc<Self> {
        let takers = Arc::new(Self::default());
        let (heard, queue) = (Arc::clone(&takers), queue.clone());
        feed.listen(move |transition| {
            let key = &transition.key;
            if transition.new.is_none() {
                heard.0.set(key, Vec::new());
            }
            if taken(transition.old.as_deref()) != taken(transition.new.as_deref()) {
                for waiting in heard.0.referrers(key) {
                    queue.add(waiting, Reasons::DEPENDENCY);
                }
            }
        });
        takers
    }

    /// States who is to take objects over from one.
    pub(crate) fn wait_for(&self, key: &Key, takers: Vec<Key>) {
        self.0.set(key, takers);
    }
}

/// What those look at whose objects are to be taken over.
fn taken(object: Option<&Kustomization>) -> Option<(bool, Option<&str>, usize, i64)> {
    let object = object?;
    let status = &object.status;
    let entries = status.inventory.as_ref();
    Some((
        object.metadata.is_deleting(),
        status.last_applied_revision.as_deref(),
        entries.map_or(0, |inventory| inventory.entries.len()),
        status.observed_generation,
    ))
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

/// What is of the same source must have come as far.
pub(super) fn is_at_revision(name: &str, found: &Found, source: &Source) -> Result<(), String> {
    let Found::Kustomization(found) = found else {
        return Ok(());
    };
    let applied = found.status.last_applied_revision.as_deref();
    if source_of(found) == source.id && applied != Some(source.artifact.revision.as_str()) {
        return Err(format!("dependency '{name}' revision is not up to date"));
    }
    Ok(())
}
