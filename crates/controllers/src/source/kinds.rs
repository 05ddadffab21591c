//! What the kinds of sources have in common, so that one reconciler serves them all.

use std::time::Duration;

use fluvial_api::meta::{Artifact, Condition};
use fluvial_api::{Bucket, HelmChart, HelmRepository, OCIRepository, Resource};

/// The parts of a status that all sources have.
pub struct Parts<'a> {
    /// Generation that was handled last.
    pub observed_generation: &'a mut i64,
    /// Conditions.
    pub conditions: &'a mut Vec<Condition>,
    /// The stored artifact.
    pub artifact: &'a mut Option<Artifact>,
    /// Where the newest artifact is found.
    pub url: &'a mut Option<String>,
    /// Token of the last handled request.
    pub last_handled: &'a mut Option<String>,
}

/// A kind that comes to an artifact.
pub trait Kind:
    Resource<Status: PartialEq + Clone + Send + Sync, Spec: Send + Sync> + Clone + Send + Sync + 'static
{
    /// How `latest` is called beside its artifacts.
    const LATEST: &'static str;
    /// Whether it rests.
    fn suspended(&self) -> bool;
    /// How often it is looked at.
    fn interval(&self) -> Duration;
    /// Where it comes from, for people.
    fn address(&self) -> &str;
    /// Conditions.
    fn conditions(&self) -> &[Condition];
    /// The stored artifact.
    fn artifact(&self) -> Option<&Artifact>;
    /// The common parts of a status.
    fn parts(status: &mut Self::Status) -> Parts<'_>;
    /// Puts another status in.
    fn set_status(&mut self, status: Self::Status);
}

macro_rules! kind {
    ($name:ident, $latest:literal, |$object:ident| $interval:expr, $address:expr) => {
        impl Kind for $name {
            const LATEST: &'static str = $latest;

            fn suspended(&self) -> bool {
                self.spec.suspend
            }

            fn interval(&self) -> Duration {
                let $object = self;
                $interval
            }

            fn address(&self) -> &str {
                let $object = self;
                $address
            }

            fn conditions(&self) -> &[Condition] {
                &self.status.conditions
            }

            fn artifact(&self) -> Option<&Artifact> {
                self.status.artifact.as_ref()
            }

            fn parts(status: &mut Self::Status) -> Parts<'_> {
                Parts {
                    observed_generation: &mut status.observed_generation,
                    conditions: &mut status.conditions,
                    artifact: &mut status.artifact,
                    url: &mut status.url,
                    last_handled: &mut status.last_handled_reconcile_at,
                }
            }

            fn set_status(&mut self, status: Self::Status) {
                self.status = status;
            }
        }
    };
}

/// Interval of a HelmRepository that names none.
const MINUTE: Duration = Duration::from_secs(60);

kind!(
    HelmRepository,
    "index.yaml",
    |o| o.spec.interval.map_or(MINUTE, |i| i.0),
    &o.spec.url
);
kind!(HelmChart, "latest.tar.gz", |o| o.spec.interval.0, &o.spec.chart);
kind!(OCIRepository, "latest.tar.gz", |o| o.spec.interval.0, &o.spec.url);
kind!(Bucket, "latest.tar.gz", |o| o.spec.interval.0, &o.spec.endpoint);
