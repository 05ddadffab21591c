//! HelmRelease: a chart with values, installed, kept up to date, tested, and remediated when that fails.
//!
//! One run determines the state of the release from what is stored, decides what to do next (`state`), does it
//! (`actions`), and begins again until nothing is left to do. Where it waits it holds no worker.

mod actions;
mod chart;
mod crds;
mod delete;
mod drift;
mod hooks;
mod names;
mod objects;
mod progress;
mod render;
mod report;
mod run;
mod state;
pub mod step;
mod storage;
mod tries;
mod values;
mod wakes;

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fluvial_api::helm::HelmReleaseStatus;
use fluvial_api::{HelmChart, HelmRelease, Resource as Kind};
use fluvial_delivery::ownership::{TakenOver, taken_over};
use fluvial_helm::{Capabilities, KubeVersion};
use fluvial_ports::{BoxFuture, Cluster, ClusterError, Severity};
use fluvial_schema::SchemaSet;
use futures::{FutureExt, StreamExt};
use rustc_hash::FxHashSet;
use serde_json::Value;

use crate::backoff::jitter;
use crate::condition::{self, Conditions};
use crate::context::Context;
use crate::deliverer::depends::Peers;
use crate::deliverer::failure::{Begin, Class, DEPENDENCY_NOT_READY, Failure};
use crate::deliverer::wakes::Wakes;
use crate::feed::Feed;
use crate::queue::{Queue, Reasons, Work};
use crate::recorder::About;
use crate::runner::{Reconcile, Requeue, Slot};
use crate::writer::Writer;
use crate::{Key, SourceId};
pub use render::as_released;
use report::News;
pub use values::values_of;

/// Name under which events are reported, as dashboards know it.
const CONTROLLER: &str = "helm-controller";
/// No interval is shorter.
const LEAST: Duration = Duration::from_millis(100);
/// How long something that is about to be there is waited for before its absence is written down.
const PATIENCE: Duration = Duration::from_millis(500);
/// The same for the chart of a release of which nothing is written down yet: it is on its way.
const CHART_PATIENCE: Duration = Duration::from_secs(5);

/// Reconciles HelmReleases.
pub struct HelmReleases {
    context: Arc<Context>,
    feed: Arc<Feed<HelmRelease>>,
    charts_feed: Arc<Feed<HelmChart>>,
    writer: Writer<HelmRelease>,
    queue: Queue<Key>,
    wakes: Arc<Wakes<HelmRelease>>,
    peers: Arc<Peers>,
    schemas: SchemaSet,
    taken_over: Vec<TakenOver>,
    charts: chart::Charts,
    tries: tries::Tries,
    /// Objects whose definition is an older one, without an inventory in the status.
    without_inventory: Mutex<FxHashSet<Key>>,
    /// How many actions are under way that may be a matter of a moment.
    under_way: AtomicU32,
    /// What the cluster can do, until a kind comes or goes.
    capabilities: Arc<Mutex<Option<Capabilities>>>,
}

/// How a run ends that has not failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// All is as it should be, or nothing can be done before something changes.
    Done,
    /// There is more to do at once.
    Again,
    /// What was missing may be there now: from the beginning, and nothing is worth writing down.
    Woken,
}

impl HelmReleases {
    /// A reconciler whose queue is filled by `feed` and by its charts.
    pub fn new(
        context: Arc<Context>,
        feed: Arc<Feed<HelmRelease>>,
        charts_feed: Arc<Feed<HelmChart>>,
        peers: Arc<Peers>,
        queue: Queue<Key>,
    ) -> Self {
        let wakes = Wakes::new(&feed, &queue);
        {
            let wakes = Arc::clone(&wakes);
            charts_feed.listen(move |transition| {
                let seen = |chart: &Option<Arc<HelmChart>>| {
                    chart.as_ref().map(|chart| {
                        let ready = condition::get(&chart.status.conditions, condition::READY);
                        (
                            chart
                                .status
                                .artifact
                                .as_ref()
                                .map(|artifact| artifact.digest.clone()),
                            chart.status.observed_generation == chart.metadata.generation,
                            ready.map(|ready| (ready.status.clone(), ready.message.clone())),
                        )
                    })
                };
                if seen(&transition.old) != seen(&transition.new) {
                    let id = SourceId {
                        kind: HelmChart::KIND.into(),
                        key: transition.key.clone(),
                    };
                    wakes.source(&id);
                }
            });
        }
        let writer = Writer::new(
            Arc::clone(&context.cluster),
            Arc::clone(&feed),
            Arc::clone(&context.metrics),
            CONTROLLER,
        );
        Self {
            context,
            feed,
            charts_feed,
            writer,
            queue,
            wakes,
            peers,
            schemas: SchemaSet::builtin(),
            taken_over: taken_over(objects::MANAGER, &["helm".to_owned()]),
            charts: chart::Charts::default(),
            tries: tries::Tries::default(),
            without_inventory: Mutex::default(),
            under_way: AtomicU32::new(0),
            capabilities: Arc::default(),
        }
    }

    /// What is followed besides the HelmReleases and their charts: kinds, other sources, ConfigMaps and Secrets.
    pub fn watches(&self) -> Vec<BoxFuture<'static, ()>> {
        let wakes = Arc::clone(&self.wakes);
        let known = Arc::clone(&self.capabilities);
        let mut changes = self.context.cluster.kind_changes();
        let kinds = async move {
            while let Some(change) = changes.next().await {
                *known.lock().unwrap_or_else(PoisonError::into_inner) = None;
                wakes.kind(&change);
            }
        };
        let mut all = vec![
            kinds.boxed(),
            self.wakes.follow_configs(&self.context, "ConfigMap").boxed(),
            self.wakes.follow_configs(&self.context, "Secret").boxed(),
        ];
        for (kind, plural) in chart::FOREIGN {
            let following = self
                .wakes
                .follow_sources(&self.context, kind, plural, seen_of)
                .boxed();
            all.push(following);
        }
        all
    }

    /// What the cluster of a release can do, as templates are told.
    async fn capabilities(
        &self,
        object: &HelmRelease,
        cluster: &dyn Cluster,
    ) -> Result<Capabilities, Failure> {
        let here = object.spec.kube_config.is_none();
        let known = self
            .capabilities
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(known) = known.filter(|_| here) {
            return Ok(known);
        }
        let failed = |text: String| Failure::retry(step::REST_CLIENT_ERROR, text);
        let asked = if here { &*self.context.cluster } else { cluster };
        let served = asked
            .served()
            .await
            .map_err(|error| failed(format!("could not get the API versions of the cluster: {error}")))?;
        let mut capabilities = Capabilities::default();
        if let Some(served) = served {
            capabilities.kube_version = KubeVersion::parse(&served.version).map_err(failed)?;
            capabilities.api_versions = Arc::new(served.api_versions);
        }
        if here {
            *self.capabilities.lock().unwrap_or_else(PoisonError::into_inner) = Some(capabilities.clone());
        }
        Ok(capabilities)
    }

    async fn reconcile_one(&self, work: &mut Work<Key>, slot: &mut Slot) -> Requeue {
        let key = work.key().clone();
        let Some(mut object) = self.feed.store().get(&key) else {
            self.forget(&key);
            return Requeue::Never;
        };
        let mut status = object.status.clone();
        let result = match step::begin(&object, &self.context.settings) {
            Begin::Delete => return self.delete(&key, &object, work, slot).await,
            Begin::Rest => {
                self.show(&key, &object);
                return Requeue::Never;
            }
            Begin::Refuse(failure) => Err(failure),
            Begin::Go => {
                match self.writer.hold(&object).await {
                    Ok(Some(held)) => object = held,
                    Ok(None) => return Requeue::Never,
                    Err(error) => return self.unwritten(&key, &error),
                }
                if self.context.settings.only_retry {
                    step::only_retry(Arc::make_mut(&mut object));
                }
                status.clone_from(&object.status);
                self.release(&key, &mut object, &mut status, work, slot).await
            }
        };
        if result == Ok(End::Woken) || result == Ok(End::Again) && status == object.status {
            return Requeue::Now;
        }
        self.conclude(&key, &object, status, result).await
    }

    /// Writes the end of a run.
    async fn conclude(
        &self,
        key: &Key,
        object: &Arc<HelmRelease>,
        mut status: HelmReleaseStatus,
        result: Result<End, Failure>,
    ) -> Requeue {
        let now = self.context.clock.now();
        step::handle_requests(object, &mut status);
        let requeue = match &result {
            Ok(End::Done) => {
                status.observed_generation = object.metadata.generation;
                Conditions::of(&mut status.conditions, object.metadata.generation, now)
                    .remove(condition::RECONCILING);
                self.tries.over(key);
                let settings = &self.context.settings;
                let random = self.context.clock.random();
                Requeue::After(jitter(object.spec.interval.0, settings.jitter_percent, random).max(LEAST))
            }
            Ok(End::Again | End::Woken) => Requeue::Now,
            Err(failure) => {
                step::failed(object, &mut status, failure, now);
                match failure.class {
                    Class::Stalled => {
                        self.tries.over(key);
                        Requeue::Never
                    }
                    Class::Waiting => Requeue::After(self.context.settings.requeue_dependency),
                    Class::Retry => {
                        Requeue::After(self.context.settings.backoff.after(self.tries.failed(key)))
                    }
                    Class::RetryAfter(delay) => {
                        self.tries.put_off(key, delay);
                        Requeue::After(delay.max(LEAST))
                    }
                    Class::Superseded => Requeue::Now,
                }
            }
        };
        let quiet = status == object.status;
        let written = match self.writer.status(object, &status).await {
            Ok(Some(written)) => written,
            Ok(None) => return Requeue::Now,
            Err(error) => return self.unwritten(key, &error),
        };
        if status.inventory.is_some() && written.status.inventory.is_none() {
            let mut without = self
                .without_inventory
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            without.insert(key.clone());
        }
        if let Err(failure) = &result
            && !failure.told
            && !is_awaited(failure)
            && !quiet
        {
            let severity = if failure.class == Class::Waiting {
                Severity::Info
            } else {
                Severity::Error
            };
            let news = News {
                severity,
                reason: failure.reason.to_string(),
                message: failure.message.clone(),
                revision: status.last_attempted_revision.clone().unwrap_or_default(),
                token: String::new(),
                app_version: None,
                oci_digest: None,
            };
            self.tell(&written, &news);
        }
        self.show(key, &written);
        requeue
    }

    /// Sends an event.
    fn tell(&self, object: &HelmRelease, news: &News) {
        let about = About {
            api_version: &HelmRelease::api_version(),
            kind: HelmRelease::KIND,
            metadata: &object.metadata,
            controller: CONTROLLER,
        };
        let mut event = self
            .context
            .recorder
            .event(&about, news.severity, &news.reason, &news.message);
        for (name, value) in [
            ("revision", Some(&news.revision)),
            ("token", Some(&news.token)),
            ("app-version", news.app_version.as_ref()),
            ("oci-digest", news.oci_digest.as_ref()),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                let name = format!("{}/{name}", HelmRelease::GROUP);
                event.metadata.insert(name, value.clone());
            }
        }
        self.context.recorder.send(event);
    }

    fn unwritten(&self, key: &Key, error: &ClusterError) -> Requeue {
        tracing::warn!(kind = HelmRelease::KIND, %key, %error, "the object could not be written; it is tried again");
        Requeue::After(self.context.settings.backoff.after(1))
    }

    /// Whether the status of an object can hold an inventory, as far as is known.
    fn keeps_inventory(&self, key: &Key) -> bool {
        let without = self
            .without_inventory
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        !without.contains(key)
    }

    fn forget(&self, key: &Key) {
        self.tries.over(key);
        self.without_inventory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
        self.context.metrics.forget(HelmRelease::KIND, key);
        self.queue.forget(key);
    }

    /// Something that is missing may be there in a moment.
    async fn patience(
        object: &HelmRelease,
        work: &mut Work<Key>,
        slot: &mut Slot,
        failure: Failure,
    ) -> Result<End, Failure> {
        if failure.class == Class::Waiting {
            let is_fresh = object.status.conditions.is_empty() && failure.reason == step::SOURCE_NOT_READY;
            let patience = if is_fresh { CHART_PATIENCE } else { PATIENCE };
            let news = slot.parked(tokio::time::timeout(patience, work.changed())).await;
            if news.is_ok_and(|news: Reasons| !news.is_empty()) {
                return Ok(End::Woken);
            }
        }
        Err(failure)
    }
}

/// Whether a chart is on its way, which is no news.
fn is_awaited(failure: &Failure) -> bool {
    failure.class == Class::Waiting && failure.reason != DEPENDENCY_NOT_READY
}

/// What a release looks at of a source: whether it is ready, and what it holds.
fn seen_of(source: &Value) -> Option<&Value> {
    source.get("status")
}

impl Reconcile for HelmReleases {
    const KIND: &'static str = HelmRelease::KIND;

    async fn reconcile(self: Arc<Self>, work: &mut Work<Key>, slot: &mut Slot) -> Requeue {
        self.reconcile_one(work, slot).await
    }
}
