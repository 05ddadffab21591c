//! What the reconciled kinds of this group have in common, so that one reconciler serves them all.

use std::time::Duration;

use fluvial_api::meta::{Artifact, Condition};
use fluvial_api::{
    ArtifactGenerator, Bucket, GitRepository, HelmChart, HelmRepository, OCIRepository, Resource, keys,
};

use super::step::{FAILURES, Part};

/// The parts of a status that all subjects have.
pub struct Common<'a> {
    /// Generation that was handled last.
    pub observed_generation: Option<&'a mut i64>,
    /// Conditions.
    pub conditions: &'a mut Vec<Condition>,
    /// Token of the last handled request.
    pub last_handled: &'a mut Option<String>,
}

/// A kind whose runs begin and end as those of all others here.
pub trait Subject:
    Resource<Status: PartialEq + Clone + Default + Send + Sync, Spec: Send + Sync> + Clone + Send + Sync + 'static
{
    /// Name under which events are reported, as dashboards know it.
    const CONTROLLER: &'static str = "source-controller";
    /// Name under which the objects are written.
    const MANAGER: &'static str = "gotk-source-controller";
    /// What holds its objects until they are cleaned up.
    const FINALIZER: &'static str = keys::FINALIZER;
    /// Conditions that say which part failed; a kind without them has `Ready` only.
    const FAILURES: &'static [&'static str] = &FAILURES;

    /// Whether it rests.
    fn rests(&self) -> bool;
    /// How often it is looked at.
    fn interval(&self) -> Duration;
    /// Where it comes from, for people.
    fn address(&self) -> &str;
    /// Conditions.
    fn conditions(&self) -> &[Condition];
    /// What it came to last; empty if nothing.
    fn revision(&self) -> &str;
    /// The common parts of a status.
    fn common(status: &mut Self::Status) -> Common<'_>;
    /// Puts another status in.
    fn set_status(&mut self, status: Self::Status);

    /// The condition for a failure of a part.
    fn failed(part: Part) -> Option<&'static str> {
        Some(part.condition()).filter(|kind| Self::FAILURES.contains(kind))
    }
}

/// A kind that comes to an artifact of its own.
pub trait Kind: Subject {
    /// How `latest` is called beside its artifacts.
    const LATEST: &'static str = "latest.tar.gz";
    /// The stored artifact.
    fn artifact(&self) -> Option<&Artifact>;
    /// The stored artifact of a status, and where the newest one is found if the kind tells it.
    fn slots(status: &mut Self::Status) -> (&mut Option<Artifact>, Option<&mut Option<String>>);
}

/// What all kinds with an artifact have at the same places.
macro_rules! common {
    () => {
        fn rests(&self) -> bool {
            self.spec.suspend
        }

        fn conditions(&self) -> &[Condition] {
            &self.status.conditions
        }

        fn revision(&self) -> &str {
            let artifact = self.status.artifact.as_ref();
            artifact.map_or("", |artifact| artifact.revision.as_str())
        }

        fn common(status: &mut Self::Status) -> Common<'_> {
            Common {
                observed_generation: Some(&mut status.observed_generation),
                conditions: &mut status.conditions,
                last_handled: &mut status.last_handled_reconcile_at,
            }
        }

        fn set_status(&mut self, status: Self::Status) {
            self.status = status;
        }
    };
}

macro_rules! kind {
    ($name:ident, |$object:ident| $interval:expr, $address:expr $(, $latest:literal)?) => {
        impl Subject for $name {
            common!();

            fn interval(&self) -> Duration {
                let $object = self;
                $interval
            }

            fn address(&self) -> &str {
                let $object = self;
                $address
            }
        }

        impl Kind for $name {
            $(const LATEST: &'static str = $latest;)?

            fn artifact(&self) -> Option<&Artifact> {
                self.status.artifact.as_ref()
            }

            fn slots(status: &mut Self::Status) -> (&mut Option<Artifact>, Option<&mut Option<String>>) {
                (&mut status.artifact, Some(&mut status.url))
            }
        }
    };
}

/// Interval of a HelmRepository that names none.
const MINUTE: Duration = Duration::from_secs(60);

kind!(
    HelmRepository,
    |o| o.spec.interval.map_or(MINUTE, |i| i.0),
    &o.spec.url,
    "index.yaml"
);
kind!(HelmChart, |o| o.spec.interval.0, &o.spec.chart);
kind!(OCIRepository, |o| o.spec.interval.0, &o.spec.url);
kind!(Bucket, |o| o.spec.interval.0, &o.spec.endpoint);

impl Subject for GitRepository {
    const FAILURES: &'static [&'static str] = &[FAILURES[0], FAILURES[2], "IncludeUnavailable"];
    common!();

    fn interval(&self) -> Duration {
        self.spec.interval.0
    }

    fn address(&self) -> &str {
        &self.spec.url
    }
}

impl Kind for GitRepository {
    fn artifact(&self) -> Option<&Artifact> {
        self.status.artifact.as_ref()
    }

    fn slots(status: &mut Self::Status) -> (&mut Option<Artifact>, Option<&mut Option<String>>) {
        (&mut status.artifact, None)
    }
}

/// Annotation that stops a generator.
const RECONCILE: &str = "source.extensions.fluxcd.io/reconcile";
/// How often a generator is looked at without being woken.
const HOUR: Duration = Duration::from_secs(3600);

impl Subject for ArtifactGenerator {
    const CONTROLLER: &'static str = "source-watcher";
    const MANAGER: &'static str = "gotk-source-watcher";
    const FINALIZER: &'static str = "source.extensions.fluxcd.io/finalizer";
    const FAILURES: &'static [&'static str] = &[];

    fn rests(&self) -> bool {
        let value = self.metadata.annotation(RECONCILE);
        value.is_some_and(|value| value.eq_ignore_ascii_case("disabled"))
    }

    fn interval(&self) -> Duration {
        HOUR
    }

    fn address(&self) -> &str {
        ""
    }

    fn conditions(&self) -> &[Condition] {
        &self.status.conditions
    }

    fn revision(&self) -> &str {
        self.status.observed_sources_digest.as_deref().unwrap_or_default()
    }

    fn common(status: &mut Self::Status) -> Common<'_> {
        Common {
            observed_generation: None,
            conditions: &mut status.conditions,
            last_handled: &mut status.last_handled_reconcile_at,
        }
    }

    fn set_status(&mut self, status: Self::Status) {
        self.status = status;
    }
}
