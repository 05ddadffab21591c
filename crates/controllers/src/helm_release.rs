//! HelmRelease: a chart with values, installed, kept up to date, tested, and remediated when that fails.
//!
//! One run determines the state of the release from what is stored, decides what to do next (`state`), does it
//! (`actions`), and begins again until nothing is left to do. Where it waits it holds no worker.

mod actions;
mod chart;
mod crds;
mod delete;
mod depends;
mod drift;
mod hooks;
mod names;
mod objects;
mod render;
mod report;
mod run;
mod state;
pub mod step;
mod storage;
mod values;
mod wakes;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fluvial_api::helm::HelmReleaseStatus;
use fluvial_api::{HelmChart, HelmRelease, Resource as Kind};
use fluvial_delivery::ownership::{TakenOver, taken_over};
use fluvial_helm::{Capabilities, KubeVersion};
use fluvial_object::ObjectExt;
use fluvial_ports::{BoxFuture, Cluster, ClusterError, Resource, Select, Severity, Watched};
use fluvial_schema::SchemaSet;
use futures::{FutureExt, StreamExt};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::backoff::jitter;
use crate::condition::{self, Conditions};
use crate::context::Context;
use crate::feed::Feed;
use crate::queue::{Queue, Reasons, Work};
use crate::recorder::About;
use crate::runner::{Reconcile, Requeue, Slot};
use crate::writer::Writer;
use crate::{Key, SourceId};
use report::News;
use step::{Begin, Class, Failure};
use wakes::{ConfigId, Wakes};

/// Name under which events are reported, as dashboards know it.
const CONTROLLER: &str = "helm-controller";
/// No interval is shorter.
const LEAST: Duration = Duration::from_millis(100);
/// How long something that is about to be there is waited for before its absence is written down.
const PATIENCE: Duration = Duration::from_millis(500);

/// Reconciles HelmReleases.
pub struct HelmReleases {
    context: Arc<Context>,
    feed: Arc<Feed<HelmRelease>>,
    charts_feed: Arc<Feed<HelmChart>>,
    writer: Writer<HelmRelease>,
    queue: Queue<Key>,
    wakes: Arc<Wakes>,
    schemas: SchemaSet,
    taken_over: Vec<TakenOver>,
    charts: chart::Charts,
    /// Failures in a row, by object.
    tries: Mutex<FxHashMap<Key, u32>>,
    /// Objects whose definition is an older one, without an inventory in the status.
    without_inventory: Mutex<FxHashSet<Key>>,
    /// What the cluster can do, until a kind comes or goes.
    capabilities: Arc<Mutex<Option<Capabilities>>>,
}

/// How a run ends that has not failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// All is as it should be, or nothing can be done before something changes.
    Done,
    /// The reasons have changed, or there is more to do at once.
    Again,
}

impl HelmReleases {
    /// A reconciler whose queue is filled by `feed` and by its charts.
    pub fn new(
        context: Arc<Context>,
        feed: Arc<Feed<HelmRelease>>,
        charts_feed: Arc<Feed<HelmChart>>,
        queue: Queue<Key>,
    ) -> Self {
        let wakes = Arc::new(Wakes::default());
        wakes.listen(&feed, &queue);
        {
            let (wakes, queue) = (Arc::clone(&wakes), queue.clone());
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
                    wakes.source(&id, &queue);
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
            schemas: SchemaSet::builtin(),
            taken_over: taken_over(objects::MANAGER, &["helm".to_owned()]),
            charts: chart::Charts::default(),
            tries: Mutex::default(),
            without_inventory: Mutex::default(),
            capabilities: Arc::default(),
        }
    }

    /// What is followed besides the HelmReleases and their charts: kinds, other sources, ConfigMaps and Secrets.
    pub fn watches(&self) -> Vec<BoxFuture<'static, ()>> {
        let (wakes, queue) = (Arc::clone(&self.wakes), self.queue.clone());
        let known = Arc::clone(&self.capabilities);
        let mut changes = self.context.cluster.kind_changes();
        let kinds = async move {
            while let Some(change) = changes.next().await {
                *known.lock().unwrap_or_else(PoisonError::into_inner) = None;
                wakes.kind(&change, &queue);
            }
        };
        let mut all = vec![
            kinds.boxed(),
            self.configs("ConfigMap", "configmaps").boxed(),
            self.configs("Secret", "secrets").boxed(),
        ];
        for (kind, plural) in chart::FOREIGN {
            all.push(self.foreign(kind, plural).boxed());
        }
        all
    }

    fn select(&self) -> Select {
        Select {
            namespace: self.context.settings.namespace.clone(),
            ..Select::default()
        }
    }

    /// Follows sources other than HelmCharts, from the moment when one is used.
    fn foreign(&self, kind: &'static str, plural: &str) -> impl Future<Output = ()> + Send + use<> {
        let resource = Resource {
            group: HelmChart::GROUP.to_owned(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced: true,
        };
        let select = self.select();
        let (wakes, queue) = (Arc::clone(&self.wakes), self.queue.clone());
        let cluster = Arc::clone(&self.context.cluster);
        async move {
            wakes.used(kind).await;
            let mut watch = cluster.watch(&resource, &select);
            let mut known: FxHashMap<Key, Option<serde_json::Value>> = FxHashMap::default();
            while let Some(watched) = watch.next().await {
                let Watched::Applied(object) = watched else {
                    continue;
                };
                let key = Key::new(object.namespace(), object.name());
                let status = object.get("status").cloned();
                let id = SourceId {
                    kind: kind.into(),
                    key: key.clone(),
                };
                if known.insert(key, status.clone()) != Some(status) {
                    wakes.source(&id, &queue);
                }
            }
        }
    }

    /// Follows ConfigMaps or Secrets, from the moment when somebody has values from one.
    fn configs(&self, kind: &'static str, plural: &str) -> impl Future<Output = ()> + Send + use<> {
        let resource = Resource {
            group: String::new(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced: true,
        };
        let select = Select {
            labels: self.context.settings.config_selector.clone(),
            metadata_only: true,
            ..self.select()
        };
        let (wakes, queue) = (Arc::clone(&self.wakes), self.queue.clone());
        let cluster = Arc::clone(&self.context.cluster);
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
                if !wakes.is_read(&config) {
                    continue;
                }
                let version = if gone { "" } else { object.resource_version() };
                let known = versions.insert(config.key.clone(), version.to_owned());
                // What the first list shows has been read by those who need it, or will be.
                if listed && known.as_deref() != Some(version) {
                    wakes.config(&config, &queue);
                }
            }
        }
    }

    /// The service account that a HelmRelease acts as.
    fn account<'o>(&'o self, object: &'o HelmRelease) -> Option<&'o str> {
        object
            .spec
            .service_account_name
            .as_ref()
            .filter(|name| !name.is_empty())
            .or(self.context.settings.releases.default_service_account.as_ref())
            .map(String::as_str)
    }

    /// The cluster as the identity that applies for a HelmRelease.
    fn cluster_of(&self, object: &HelmRelease) -> Arc<dyn Cluster> {
        match self.account(object) {
            Some(name) => self.context.cluster.acting_as(&format!(
                "system:serviceaccount:{}:{name}",
                object.metadata.namespace
            )),
            None => Arc::clone(&self.context.cluster),
        }
    }

    /// What the cluster can do, as templates are told.
    async fn capabilities(&self) -> Result<Capabilities, Failure> {
        let known = self
            .capabilities
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let failed = |text: String| Failure::retry(step::REST_CLIENT_ERROR, text);
        let served = self
            .context
            .cluster
            .served()
            .await
            .map_err(|error| failed(format!("could not get the API versions of the cluster: {error}")))?;
        let mut capabilities = Capabilities::default();
        if let Some(served) = served {
            capabilities.kube_version = KubeVersion::parse(&served.version).map_err(failed)?;
            capabilities.api_versions = Arc::new(served.api_versions);
        }
        *self.capabilities.lock().unwrap_or_else(PoisonError::into_inner) = Some(capabilities.clone());
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
                status.clone_from(&object.status);
                self.release(&key, &mut object, &mut status, work, slot).await
            }
        };
        if result == Ok(End::Again) && status == object.status {
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
                self.tried(key, false);
                let settings = &self.context.settings;
                let random = self.context.clock.random();
                Requeue::After(jitter(object.spec.interval.0, settings.jitter_percent, random).max(LEAST))
            }
            Ok(End::Again) => Requeue::Now,
            Err(failure) => {
                step::failed(object, &mut status, failure, now);
                match failure.class {
                    Class::Stalled => {
                        self.tried(key, false);
                        Requeue::Never
                    }
                    Class::Waiting => Requeue::After(self.context.settings.requeue_dependency),
                    Class::Retry => {
                        Requeue::After(self.context.settings.backoff.after(self.tried(key, true)))
                    }
                    Class::RetryAfter(delay) => Requeue::After(delay.max(LEAST)),
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
            && !quiet
        {
            let severity = if failure.class == Class::Waiting {
                Severity::Info
            } else {
                Severity::Error
            };
            let news = News {
                severity,
                reason: failure.reason.clone(),
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

    /// Counts failures in a row.
    fn tried(&self, key: &Key, failed: bool) -> u32 {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        if !failed {
            tries.remove(key);
            return 0;
        }
        let count = tries.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        *count
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
        self.tried(key, false);
        self.without_inventory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
        self.context.metrics.forget(HelmRelease::KIND, key);
        self.queue.forget(key);
    }

    /// Something that is missing may be there in a moment.
    async fn patience(work: &mut Work<Key>, slot: &mut Slot, failure: Failure) -> Result<End, Failure> {
        if failure.class == Class::Waiting {
            let news = slot.parked(tokio::time::timeout(PATIENCE, work.changed())).await;
            if news.is_ok_and(|news: Reasons| !news.is_empty()) {
                return Ok(End::Again);
            }
        }
        Err(failure)
    }
}

impl Reconcile for HelmReleases {
    const KIND: &'static str = HelmRelease::KIND;

    async fn reconcile(self: Arc<Self>, work: &mut Work<Key>, slot: &mut Slot) -> Requeue {
        self.reconcile_one(work, slot).await
    }
}
