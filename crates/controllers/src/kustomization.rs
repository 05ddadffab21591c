//! Kustomization: builds what a revision holds and makes the cluster match it.
//!
//! One run is one straight line: source, dependencies, build, apply, prune, wait. Where it waits it holds no worker.

pub(crate) mod apply;
mod claims;
mod delete;
mod first;
pub(crate) mod health;
mod inputs;
mod keys;
mod manifest;
pub(crate) mod prune;
mod run;
mod steady;
pub mod step;
mod wakes;

use std::sync::{Arc, Mutex, PoisonError};

use fluvial_api::{GitRepository, Kustomization, Resource as Kind};
use fluvial_delivery::ownership::{TakenOver, taken_over};
use fluvial_delivery::stage::GroupKind;
use fluvial_object::ObjectExt;
use fluvial_ports::{BoxFuture, ClusterError, Severity};
use fluvial_schema::SchemaSet;
use futures::{FutureExt, StreamExt};
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;

use crate::context::Context;
use crate::deliverer::depends::Peers;
use crate::deliverer::failure::{ARTIFACT_FAILED, Begin, Class, Failure};
use crate::deliverer::wakes::Wakes;
use crate::feed::Feed;
use crate::metrics::ResourceFacts;
use crate::queue::{Queue, Reasons, Work};
use crate::recorder::About;
use crate::runner::{Reconcile, Requeue, Slot};
use crate::writer::Writer;
use crate::{Key, SourceId, condition};
use claims::Builds;
use steady::Remembered;
use step::Facts;
use wakes::Takers;

/// Name under which events are reported, as dashboards know it.
const CONTROLLER: &str = "kustomize-controller";
/// How long after its definition a kind is looked for once more.
const SERVED_SOON: std::time::Duration = std::time::Duration::from_millis(300);

/// Reconciles Kustomizations.
pub struct Kustomizations {
    context: Arc<Context>,
    feed: Arc<Feed<Kustomization>>,
    git: Arc<Feed<GitRepository>>,
    writer: Writer<Kustomization>,
    queue: Queue<Key>,
    wakes: Arc<Wakes<Kustomization>>,
    takers: Arc<Takers>,
    peers: Arc<Peers>,
    schemas: SchemaSet,
    taken_over: Vec<TakenOver>,
    stage_kinds: Vec<GroupKind>,
    remembered: Mutex<FxHashMap<Key, Arc<Remembered>>>,
    /// Those (by uid) that this process has put its finalizer on, and of which nothing has been applied.
    untouched: Mutex<FxHashSet<(Key, String)>>,
    builds: tokio::sync::Mutex<FxHashMap<SourceId, (inputs::Fingerprint, Arc<Builds>)>>,
}

impl Kustomizations {
    /// A reconciler whose queue is filled by `feed` and by its sources.
    pub fn new(
        context: Arc<Context>,
        feed: Arc<Feed<Kustomization>>,
        git: Arc<Feed<GitRepository>>,
        peers: Arc<Peers>,
        queue: Queue<Key>,
    ) -> Self {
        let wakes = Wakes::new(&feed, &queue);
        let takers = Takers::new(&feed, &queue);
        {
            let wakes = Arc::clone(&wakes);
            git.listen(move |transition| {
                let artifact = |repository: &Option<Arc<GitRepository>>| {
                    repository.as_ref().and_then(|git| git.status.artifact.clone())
                };
                let (old, new) = (artifact(&transition.old), artifact(&transition.new));
                if wakes::is_new(old.as_ref(), new.as_ref()) {
                    wakes.source(&wakes::source_id::<GitRepository>(&transition.key));
                }
            });
        }
        let writer = Writer::new(
            Arc::clone(&context.cluster),
            Arc::clone(&feed),
            Arc::clone(&context.metrics),
            "gotk-kustomize-controller",
        );
        let kinds = context.settings.stage_kinds.iter();
        let stage_kinds = kinds
            .map(|text| {
                let (group, kind) = text.rsplit_once('/').unwrap_or(("", text));
                GroupKind {
                    group: group.to_owned(),
                    kind: kind.to_owned(),
                }
            })
            .collect();
        Self {
            context,
            feed,
            git,
            writer,
            queue,
            wakes,
            takers,
            peers,
            schemas: SchemaSet::builtin(),
            taken_over: taken_over(apply::MANAGER, &[]),
            stage_kinds,
            remembered: Mutex::default(),
            untouched: Mutex::default(),
            builds: tokio::sync::Mutex::default(),
        }
    }

    /// What is followed besides the Kustomizations and their sources: kinds, ConfigMaps and Secrets.
    pub fn watches(&self) -> Vec<BoxFuture<'static, ()>> {
        let wakes = Arc::clone(&self.wakes);
        let mut changes = self.context.cluster.kind_changes();
        let kinds = async move {
            while let Some(change) = changes.next().await {
                wakes.kind(&change);
            }
        };
        let artifact = |source: &'static str, plural: &str| {
            self.wakes
                .follow_sources(&self.context, source, plural, revision_of)
                .boxed()
        };
        vec![
            artifact("OCIRepository", "ocirepositories"),
            artifact("Bucket", "buckets"),
            artifact("ExternalArtifact", "externalartifacts"),
            kinds.boxed(),
            self.wakes.follow_configs(&self.context, "ConfigMap").boxed(),
            self.wakes.follow_configs(&self.context, "Secret").boxed(),
        ]
    }

    async fn run(&self, work: &mut Work<Key>, slot: &mut Slot) -> Requeue {
        let key = work.key().clone();
        let Some(mut object) = self.feed.store().get(&key) else {
            self.forget(&key);
            return Requeue::Never;
        };
        let started = tokio::time::Instant::now();
        let mut run = run::Run::default();
        let result = match step::begin(&object, &self.context.settings) {
            Begin::Delete => return self.delete(&key, &object, work, slot).await,
            Begin::Rest => {
                self.show(&key, &object);
                return Requeue::Never;
            }
            Begin::Refuse(failure) => {
                let recorded = self.recorded(&key, &object, &mut run.facts).await;
                Err(recorded.err().unwrap_or(failure))
            }
            Begin::Go => {
                match self.writer.hold(&object).await {
                    Ok(Some(held)) => {
                        if object.metadata.finalizers != held.metadata.finalizers {
                            self.untouched(&key, &held);
                        }
                        object = held;
                    }
                    Ok(None) => return Requeue::Never,
                    Err(error) => return self.unwritten(&key, &error),
                }
                match self.reconcile_once(&key, &object, &mut run, work, slot).await {
                    Ok(run::End::Done) => Ok(()),
                    Ok(run::End::Again) => return Requeue::Now,
                    Err(failure) => Err(failure),
                }
            }
        };
        run.facts.took = started.elapsed();
        // What was done was done for this spec, whatever it is by now.
        if let Some(newest) = self.feed.store().get(&key) {
            Arc::make_mut(&mut object).status = newest.status.clone();
        }
        let requeue = self.conclude(&key, &object, &run.facts, result).await;
        let requeue = match requeue {
            // A definition is established a moment before its kind is served.
            Requeue::After(delay) if run.misses_kinds => {
                Requeue::After(delay.min(if work.reasons().any(Reasons::KINDS) {
                    SERVED_SOON
                } else {
                    self.context.settings.requeue_dependency
                }))
            }
            requeue => requeue,
        };
        match (run.unhealthy, requeue) {
            (Some(mut wait), Requeue::After(delay)) => {
                // Until the next try somebody may have helped.
                slot.parked(async {
                    tokio::select! {
                        _ended = wait.run(false) => {}
                        _news = work.changed() => {}
                        () = tokio::time::sleep(delay) => {}
                    }
                })
                .await;
                Requeue::Now
            }
            (_, requeue) => requeue,
        }
    }

    /// Writes the end of a run.
    async fn conclude(
        &self,
        key: &Key,
        object: &Arc<Kustomization>,
        facts: &Facts,
        result: Result<(), Failure>,
    ) -> Requeue {
        let context = &self.context;
        let decision = step::finish(
            object,
            facts,
            result.as_ref().copied(),
            &context.settings,
            context.clock.now(),
            context.clock.random(),
        );
        let quiet = decision.status == object.status;
        let written = match self.writer.status(object, &decision.status).await {
            Ok(Some(written)) => written,
            Ok(None) => return Requeue::Now,
            Err(error) => return self.unwritten(key, &error),
        };
        self.tell_end(&written, facts, result.as_ref(), quiet, decision.requeue);
        self.show(key, &written);
        decision.requeue
    }

    /// The event at the end of a run. What is no news goes to notifications only.
    fn tell_end(
        &self,
        object: &Kustomization,
        facts: &Facts,
        result: Result<&(), &Failure>,
        quiet: bool,
        requeue: Requeue,
    ) {
        let next = match requeue {
            Requeue::After(delay) => fluvial_api::Duration(round(delay)).to_string(),
            Requeue::Now | Requeue::Never => "0s".to_owned(),
        };
        let (severity, message) = match result {
            Ok(()) => (
                Severity::Info,
                format!(
                    "Reconciliation finished in {}, next run in {next}",
                    fluvial_api::Duration(facts.took)
                ),
            ),
            // What is missing is waited for; it is no news.
            Err(failure) if failure.class == Class::Waiting && failure.reason == ARTIFACT_FAILED => {
                tracing::info!("{}: {}", object.metadata.name, failure.message);
                return;
            }
            // Before anything is built, it waits for what it depends on.
            Err(failure) if failure.class == Class::Waiting && facts.digest.is_none() => (
                Severity::Info,
                format!(
                    "Dependencies do not meet ready condition, retrying in {}",
                    fluvial_api::Duration(self.context.settings.requeue_dependency)
                ),
            ),
            Err(failure) if failure.class == Class::Waiting => (Severity::Info, failure.message.clone()),
            Err(failure) => (Severity::Error, failure.message.clone()),
        };
        let more = result.is_ok().then_some(("commit_status", "update"));
        if quiet {
            let event = self.event(object, facts, severity, &message, more);
            self.context.recorder.notify(&event);
        } else {
            self.tell(object, facts, severity, &message, more);
        }
    }

    fn event(
        &self,
        object: &Kustomization,
        facts: &Facts,
        severity: Severity,
        message: &str,
        more: Option<(&str, &str)>,
    ) -> fluvial_ports::Event {
        let about = About {
            api_version: &Kustomization::api_version(),
            kind: Kustomization::KIND,
            metadata: &object.metadata,
            controller: CONTROLLER,
        };
        let ready = condition::get(&object.status.conditions, condition::READY);
        let reason = ready.map_or("Progressing", |ready| ready.reason.as_str());
        let mut event = self.context.recorder.event(&about, severity, reason, message);
        let mut put = |name: &str, value: &str| {
            let name = format!("{}/{name}", Kustomization::GROUP);
            event.metadata.insert(name, value.to_owned());
        };
        if !facts.revision.is_empty() {
            put("revision", &facts.revision);
        }
        if let Some(origin) = &facts.origin_revision {
            put("originRevision", origin);
        }
        if let Some((name, value)) = more {
            put(name, value);
        }
        event
    }

    /// Sends an event.
    fn tell(
        &self,
        object: &Kustomization,
        facts: &Facts,
        severity: Severity,
        message: &str,
        more: Option<(&str, &str)>,
    ) {
        let event = self.event(object, facts, severity, message, more);
        self.context.recorder.send(event);
    }

    fn unwritten(&self, key: &Key, error: &ClusterError) -> Requeue {
        tracing::warn!(kind = Kustomization::KIND, %key, %error, "the object could not be written; it is tried again");
        Requeue::After(self.context.settings.backoff.after(1))
    }

    fn show(&self, key: &Key, object: &Kustomization) {
        let conditions = &object.status.conditions;
        let source = wakes::source_of(object);
        let facts = ResourceFacts {
            ready: condition::get(conditions, condition::READY)
                .map_or("Unknown", |ready| ready.status.as_str()),
            suspended: object.spec.suspend,
            revision: object.status.last_applied_revision.as_deref().unwrap_or_default(),
            source: &source.to_string(),
        };
        self.context
            .metrics
            .show(Kustomization::KIND, key, conditions, &facts);
    }

    fn forget(&self, key: &Key) {
        self.untouched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(own, _)| own != key);
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
        self.context.metrics.forget(Kustomization::KIND, key);
        self.queue.forget(key);
    }

    fn recall(&self, key: &Key) -> Arc<Remembered> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(key).cloned().unwrap_or_default()
    }

    fn remember(&self, key: &Key, what: Remembered) {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.clone(), Arc::new(what));
    }
}

/// What a Kustomization looks at of a source: the same files again are nothing new.
fn revision_of(source: &Value) -> Option<&Value> {
    source.at(&["status", "artifact", "revision"])
}

/// Durations in texts are whole milliseconds.
fn round(duration: std::time::Duration) -> std::time::Duration {
    std::time::Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

impl Reconcile for Kustomizations {
    const KIND: &'static str = Kustomization::KIND;

    async fn reconcile(self: Arc<Self>, work: &mut Work<Key>, slot: &mut Slot) -> Requeue {
        self.run(work, slot).await
    }
}
