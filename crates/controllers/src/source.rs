//! The sources that are not Git, reconciled by one piece of code: what is theirs alone is how they come to an artifact.

pub mod kinds;
pub mod secrets;
pub mod step;
pub(crate) mod verification;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fluvial_api::Resource;
use fluvial_ports as ports;
use rustc_hash::FxHashMap;

use crate::condition::{self};
use crate::context::Context;
use crate::feed::Feed;
use crate::git_repository::port_artifact;
use crate::metrics::ResourceFacts;
use crate::queue::{Queue, Work};
use crate::recorder::About;
use crate::runner::{Reconcile, Requeue, Slot};
use crate::writer::Writer;
use crate::{Key, SourceId};
use kinds::Kind;
use step::{Begin, Decision, Failure, Moment, Stored};

/// Name under which events are reported and objects written, as dashboards know it.
const CONTROLLER: &str = "source-controller";
/// A run that takes longer is shown in the status.
const SLOW: Duration = Duration::from_secs(2);

/// How a kind comes to its artifact.
pub trait Obtain<K: Kind>: Send + Sync + 'static {
    /// Whether the object only holds data for others: no status, no finalizer.
    fn is_static(&self, _object: &K) -> bool {
        false
    }

    /// What is shown while it takes long.
    fn doing(&self, object: &K) -> String {
        format!("fetching '{}'", object.address())
    }

    /// Comes to an artifact; the one that is there already if nothing has changed.
    fn obtain(
        &self,
        context: &Context,
        key: &Key,
        object: &K,
    ) -> impl Future<Output = Result<Stored<K::Status>, Failure>> + Send;

    /// Lets go of what is held in memory for an object that is gone.
    fn forget(&self, _context: &Context, _key: &Key) {}
}

/// Reconciles sources of one kind.
pub struct SourceReconciler<K: Kind, O> {
    context: Arc<Context>,
    feed: Arc<Feed<K>>,
    writer: Writer<K>,
    queue: Queue<Key>,
    failures: Mutex<FxHashMap<Key, u32>>,
    obtain: O,
}

/// The id of an object among all sources.
pub fn source_id<K: Resource>(key: &Key) -> SourceId {
    SourceId {
        kind: K::KIND.into(),
        key: key.clone(),
    }
}

impl<K: Kind, O: Obtain<K>> SourceReconciler<K, O> {
    /// A reconciler whose queue is filled by `feed`.
    pub fn new(context: Arc<Context>, feed: Arc<Feed<K>>, queue: Queue<Key>, obtain: O) -> Self {
        let wake = queue.clone();
        feed.listen(move |transition| {
            let metadata = |object: &Option<Arc<K>>| object.as_ref().map(|object| object.metadata().clone());
            let (old, new) = (metadata(&transition.old), metadata(&transition.new));
            let reasons = crate::wake::own(old.as_ref(), new.as_ref());
            if !reasons.is_empty() {
                wake.add(transition.key.clone(), reasons);
            }
        });
        let writer = Writer::new(
            Arc::clone(&context.cluster),
            Arc::clone(&feed),
            Arc::clone(&context.metrics),
            "gotk-source-controller",
        );
        Self {
            context,
            feed,
            writer,
            queue,
            failures: Mutex::default(),
            obtain,
        }
    }

    async fn run(&self, key: &Key) -> Requeue {
        let Some(mut object) = self.feed.store().get(key) else {
            self.forget(key);
            return Requeue::Never;
        };
        if self.obtain.is_static(&object) {
            return self.strip(key, &object).await;
        }
        match step::begin(&*object) {
            Begin::Delete => return self.delete(key, &object).await,
            Begin::Rest => {
                self.show(key, &object);
                return Requeue::Never;
            }
            Begin::Work => {}
        }
        match self.writer.hold(&object).await {
            Ok(Some(held)) => object = held,
            Ok(None) => return Requeue::Never,
            Err(error) => return self.unwritten(key, &error),
        }
        let outcome = self.outcome(key, &object).await;
        // What was done was done for this spec, whatever it is by now; what a slow run showed is in the status already.
        let shown = self.feed.store().get(key).map(|newest| newest.status().clone());
        let outcome = outcome.map(|mut stored| {
            if let Some(shown) = &shown {
                let mut shown = shown.clone();
                K::parts(&mut stored.status)
                    .conditions
                    .clone_from(K::parts(&mut shown).conditions);
            }
            stored
        });
        if let Some(status) = shown {
            Arc::make_mut(&mut object).set_status(status);
        }
        self.conclude(key, &object, outcome).await
    }

    async fn outcome(&self, key: &Key, object: &Arc<K>) -> Result<Stored<K::Status>, Failure> {
        let obtain = self.obtain.obtain(&self.context, key, object);
        tokio::pin!(obtain);
        if let Ok(outcome) = tokio::time::timeout(SLOW, &mut obtain).await {
            return outcome;
        }
        let status = step::working(&**object, &self.obtain.doing(object), self.context.clock.now());
        if let Err(error) = self.writer.status(object, &status).await {
            tracing::debug!(kind = K::KIND, %key, %error, "progress could not be shown");
        }
        obtain.await
    }

    /// Writes the end of a run.
    async fn conclude(
        &self,
        key: &Key,
        object: &Arc<K>,
        outcome: Result<Stored<K::Status>, Failure>,
    ) -> Requeue {
        let context = &self.context;
        let failures = self.count_failures(key, outcome.is_err());
        let moment = Moment {
            settings: &context.settings,
            now: context.clock.now(),
            random: context.clock.random(),
        };
        let decision = match outcome {
            Ok(stored) => {
                let folder = stored
                    .artifact
                    .path
                    .rsplit_once('/')
                    .map_or("", |(folder, _)| folder);
                let latest = context.artifacts.url(&format!("{folder}/{}", K::LATEST));
                step::stored(&**object, stored, latest, moment)
            }
            Err(failure) => step::failed(&**object, &failure, failures, moment),
        };
        self.write(key, object, decision).await
    }

    async fn write(&self, key: &Key, object: &Arc<K>, decision: Decision<K::Status>) -> Requeue {
        let written = match self.writer.status(object, &decision.status).await {
            Ok(Some(written)) => written,
            Ok(None) => return Requeue::Now,
            Err(error) => return self.unwritten(key, &error),
        };
        let recorder = &self.context.recorder;
        for notice in decision.notices {
            let about = About {
                api_version: &K::api_version(),
                kind: K::KIND,
                metadata: written.metadata(),
                controller: CONTROLLER,
            };
            let mut event = recorder.event(&about, notice.severity, &notice.reason, &notice.message);
            for (name, value) in notice.facts {
                event.metadata.insert(format!("{}/{name}", K::GROUP), value);
            }
            recorder.send(event);
        }
        self.show(key, &written);
        decision.requeue
    }

    /// Counts a run; says how many failed before it.
    fn count_failures(&self, key: &Key, failed: bool) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failed {
            let count = failures.entry(key.clone()).or_default();
            *count += 1;
            *count - 1
        } else {
            failures.remove(key);
            0
        }
    }

    fn unwritten(&self, key: &Key, error: &ports::ClusterError) -> Requeue {
        tracing::warn!(kind = K::KIND, %key, %error, "the object could not be written; it is tried again");
        let failures = self.count_failures(key, true);
        Requeue::After(self.context.settings.backoff.after(failures + 1))
    }

    fn show(&self, key: &Key, object: &K) {
        let conditions = object.conditions();
        let facts = ResourceFacts {
            ready: condition::get(conditions, condition::READY)
                .map_or("Unknown", |ready| ready.status.as_str()),
            suspended: object.suspended(),
            revision: object
                .artifact()
                .map_or("", |artifact| artifact.revision.as_str()),
            source: object.address(),
        };
        self.context.metrics.show(K::KIND, key, conditions, &facts);
    }

    fn forget(&self, key: &Key) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
        self.context.revisions.remove(&source_id::<K>(key));
        self.obtain.forget(&self.context, key);
        self.context.metrics.forget(K::KIND, key);
        self.queue.forget(key);
    }

    async fn remove_artifacts(&self, key: &Key) {
        let removed = self
            .context
            .artifacts
            .remove(K::KIND, &key.namespace, &key.name)
            .await;
        if let Err(error) = removed {
            tracing::warn!(kind = K::KIND, %key, %error, "the artifacts of a deleted source could not be removed");
        }
    }

    async fn delete(&self, key: &Key, object: &Arc<K>) -> Requeue {
        self.remove_artifacts(key).await;
        match self.writer.release(object).await {
            Ok(()) => Requeue::Never,
            Err(error) => self.unwritten(key, &error),
        }
    }

    /// Takes away what an object that only holds data has from the time when it was another.
    async fn strip(&self, key: &Key, object: &Arc<K>) -> Requeue {
        if object.artifact().is_some() {
            self.remove_artifacts(key).await;
        }
        if let Err(error) = self.writer.release(object).await {
            return self.unwritten(key, &error);
        }
        if object.metadata().is_deleting() || (object.conditions().is_empty() && object.artifact().is_none())
        {
            return Requeue::Never;
        }
        match self.writer.status(object, &K::Status::default()).await {
            Ok(_) => Requeue::Never,
            Err(error) => self.unwritten(key, &error),
        }
    }
}

impl<K: Kind, O: Obtain<K>> Reconcile for SourceReconciler<K, O> {
    const KIND: &'static str = K::KIND;

    fn reconcile(
        self: Arc<Self>,
        work: &mut Work<Key>,
        _slot: &mut Slot,
    ) -> impl Future<Output = Requeue> + Send {
        let key = work.key().clone();
        async move { self.run(&key).await }
    }
}

/// The artifact of a status, if the stored file is intact and served where the status says.
pub(crate) async fn intact<K: Kind>(context: &Context, object: &K) -> Option<ports::Artifact> {
    let known = port_artifact(object.artifact()?);
    let good = context.artifacts.url(&known.path) == known.url && context.artifacts.verify(&known).await;
    good.then_some(known)
}

/// Removes what retention no longer keeps beside an artifact.
pub(crate) async fn collect(context: &Context, current: &ports::Artifact) {
    if let Err(error) = context.artifacts.collect(current).await {
        tracing::warn!(artifact = %current.path, %error, "old artifacts could not be removed");
    }
}

/// The name of an object's artifact.
pub(crate) fn artifact_name<K: Resource>(key: &Key, file: String) -> ports::ArtifactName {
    ports::ArtifactName {
        kind: K::KIND.to_owned(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        file,
    }
}
