//! Metrics under the names that dashboards for Flux know, and the figures of the queues.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::Key;

mod objects;

use objects::Objects;

type Labels = Vec<(&'static str, String)>;

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    objects: Arc<Objects>,
    depth: Family<Labels, Gauge<i64>>,
    panics: Family<Labels, Counter>,
    writes: Family<Labels, Counter>,
    builds: Family<Labels, Counter>,
    revisions: Gauge<f64, AtomicU64>,
}

/// Facts of one object for `gotk_resource_info`.
#[derive(Debug, Clone, Default)]
pub struct ResourceFacts<'a> {
    /// `True`, `False` or `Unknown`.
    pub ready: &'a str,
    /// Whether it rests.
    pub suspended: bool,
    /// Revision, for kinds that have one.
    pub revision: &'a str,
    /// Source or URL.
    pub source: &'a str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            objects: Arc::default(),
            depth: Family::default(),
            panics: Family::default(),
            writes: Family::default(),
            builds: Family::default(),
            revisions: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register_collector(Box::new(metrics.objects.clone()));
        registry.register(
            "workqueue_depth",
            "Keys that wait for a worker",
            metrics.depth.clone(),
        );
        registry.register(
            "fluvial_panics",
            "Runs that ended in a panic",
            metrics.panics.clone(),
        );
        registry.register(
            "fluvial_api_writes",
            "Writes to the API server",
            metrics.writes.clone(),
        );
        registry.register(
            "fluvial_builds",
            "Builds by result: built, reused, failed",
            metrics.builds.clone(),
        );
        registry.register(
            "fluvial_held_revisions",
            "Revisions held in memory",
            metrics.revisions.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// A run has ended.
    pub fn reconciled(&self, kind: &'static str, key: &Key, took: Duration) {
        self.objects.reconciled(kind, key, took);
    }

    /// A run has panicked.
    pub fn panicked(&self, kind: &'static str) {
        self.panics.get_or_create(&vec![("kind", kind.to_owned())]).inc();
    }

    /// A write was sent to the API server.
    pub fn wrote(&self, what: &'static str) {
        self.writes.get_or_create(&vec![("what", what.to_owned())]).inc();
    }

    /// Writes of one sort so far.
    pub fn writes(&self, what: &'static str) -> u64 {
        self.writes.get_or_create(&vec![("what", what.to_owned())]).get()
    }

    /// A build was made, reused or failed.
    pub fn built(&self, result: &'static str) {
        self.builds
            .get_or_create(&vec![("result", result.to_owned())])
            .inc();
    }

    /// Builds of one result so far.
    pub fn builds(&self, result: &'static str) -> u64 {
        self.builds
            .get_or_create(&vec![("result", result.to_owned())])
            .get()
    }

    /// How many keys wait in the queue of a kind.
    pub fn queue_depth(&self, kind: &'static str, depth: usize) {
        self.depth
            .get_or_create(&vec![("name", kind.to_lowercase())])
            .set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    /// How many revisions are held in memory.
    pub fn held_revisions(&self, count: u32) {
        self.revisions.set(f64::from(count));
    }

    /// Shows the state of an object in place of what was shown before.
    pub fn show(
        &self,
        kind: &'static str,
        key: &Key,
        conditions: &[fluvial_api::Condition],
        facts: &ResourceFacts<'_>,
    ) {
        self.objects.show(kind, key, conditions, facts);
    }

    /// Takes back everything that is shown of an object.
    pub fn forget(&self, kind: &'static str, key: &Key) {
        self.objects.forget(kind, key);
    }

    /// All metrics in the text form that Prometheus reads.
    pub fn text(self: &Arc<Self>) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_shown_as_it_is_now_and_taken_back() {
        let metrics = Arc::new(Metrics::default());
        let key = Key::new("ns", "apps");
        let condition = |status: &str| fluvial_api::Condition {
            r#type: "Ready".to_owned(),
            status: status.to_owned(),
            ..fluvial_api::Condition::default()
        };
        let facts = ResourceFacts {
            ready: "False",
            ..ResourceFacts::default()
        };
        metrics.show("Kustomization", &key, &[condition("False")], &facts);
        let facts = ResourceFacts {
            ready: "True",
            revision: "main@sha1:1",
            ..ResourceFacts::default()
        };
        metrics.show("Kustomization", &key, &[condition("True")], &facts);
        metrics.reconciled("Kustomization", &key, Duration::from_millis(20));
        let text = metrics.text();
        assert!(
            text.contains(r#"ready="True",suspended="false",revision="main@sha1:1""#),
            "{text}"
        );
        assert!(!text.contains(r#"ready="False""#), "{text}");
        assert!(text.contains("gotk_reconcile_duration_seconds_bucket"), "{text}");
        metrics.forget("Kustomization", &key);
        assert!(!metrics.text().contains("apps"));
    }
}
