//! Sources and what is made of them, reconciled by one piece of code: what is a kind's own is how it comes to what its status
//! says. How a run begins (deletion, suspension, finalizer) and ends (conditions, events, metrics, the next look) is here
//! and in `step`, once.

pub mod kinds;
pub mod secrets;
pub mod step;
pub(crate) mod verification;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fluvial_api::{Resource, meta};
use fluvial_ports as ports;
use fluvial_tree::{Entry, Tree, TreePath};
use rustc_hash::FxHashMap;

use crate::condition;
use crate::context::Context;
use crate::feed::Feed;
use crate::metrics::ResourceFacts;
use crate::queue::{Queue, Reasons, Work};
use crate::recorder::About;
use crate::revisions::Held;
use crate::runner::{Reconcile, Requeue, Slot};
use crate::writer::Writer;
use crate::{Key, SourceId};
use kinds::{Kind, Subject};
use step::{Begin, Decision, Failure, Found, Moment};

/// A run that takes longer is shown in the status.
const SLOW: Duration = Duration::from_secs(2);

/// How a kind comes to what its status says.
pub trait Obtain<K: Subject>: Send + Sync + 'static {
    /// What a good run comes to.
    type Found: Found<K>;

    /// Whether the object only holds data for others: no status, no finalizer.
    fn is_static(&self, _object: &K) -> bool {
        false
    }

    /// What is shown while it takes long.
    fn doing(&self, object: &K) -> String {
        format!("fetching '{}'", object.address())
    }

    /// Does the work of a run; what is there already if nothing has changed.
    fn obtain(
        &self,
        context: &Context,
        key: &Key,
        object: &K,
    ) -> impl Future<Output = Result<Self::Found, Failure>> + Send;

    /// Removes what was made for an object that is being deleted.
    fn clean_up(
        &self,
        context: &Context,
        key: &Key,
        _object: &K,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        async move {
            let removed = context.artifacts.remove(K::KIND, &key.namespace, &key.name).await;
            if let Err(error) = removed {
                tracing::warn!(kind = K::KIND, %key, %error, "the artifacts of a deleted source could not be removed");
            }
            Ok(())
        }
    }

    /// Lets go of what is held in memory for an object that goes or is gone.
    fn forget(&self, _context: &Context, _key: &Key) {}
}

/// Reconciles the objects of one kind.
pub struct SourceReconciler<K: Subject, O> {
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

impl<K: Subject, O: Obtain<K>> SourceReconciler<K, O> {
    /// A reconciler whose queue is filled by `feed`.
    pub fn new(context: Arc<Context>, feed: Arc<Feed<K>>, queue: Queue<Key>, obtain: O) -> Self {
        let wake = queue.clone();
        feed.listen(move |transition| {
            let (old, new) = (transition.old.as_deref(), transition.new.as_deref());
            let mut reasons = crate::wake::own(old.map(K::metadata), new.map(K::metadata));
            if old.map(K::rests) != new.map(K::rests) {
                reasons = reasons.with(Reasons::SPEC);
            }
            if !reasons.is_empty() {
                wake.add(transition.key.clone(), reasons);
            }
        });
        let writer = Writer::new(
            Arc::clone(&context.cluster),
            Arc::clone(&feed),
            Arc::clone(&context.metrics),
            K::MANAGER,
        )
        .with_finalizer(K::FINALIZER);
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
        if let Some(newest) = self.feed.store().get(key) {
            Arc::make_mut(&mut object).set_status(newest.status().clone());
        }
        self.conclude(key, &object, outcome).await
    }

    async fn outcome(&self, key: &Key, object: &Arc<K>) -> Result<O::Found, Failure> {
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
    async fn conclude(&self, key: &Key, object: &Arc<K>, outcome: Result<O::Found, Failure>) -> Requeue {
        let context = &self.context;
        let failures = self.count_failures(key, outcome.is_err());
        let moment = Moment {
            settings: &context.settings,
            now: context.clock.now(),
            random: context.clock.random(),
        };
        let decision = match outcome {
            Ok(found) => found.conclude(object, &|path| context.artifacts.url(path), moment),
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
                controller: K::CONTROLLER,
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
            suspended: object.rests(),
            revision: object.revision(),
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

    async fn delete(&self, key: &Key, object: &Arc<K>) -> Requeue {
        self.obtain.forget(&self.context, key);
        if let Err(failure) = self.obtain.clean_up(&self.context, key, object).await {
            tracing::warn!(kind = K::KIND, %key, error = %failure.message, "a deleted object could not be cleaned up; it is tried again");
            let failures = self.count_failures(key, true);
            return Requeue::After(self.context.settings.backoff.after(failures + 1));
        }
        match self.writer.release(object).await {
            Ok(()) => Requeue::Never,
            Err(error) => self.unwritten(key, &error),
        }
    }

    /// Takes away what an object that only holds data has from the time when it was another.
    async fn strip(&self, key: &Key, object: &Arc<K>) -> Requeue {
        if !object.revision().is_empty()
            && let Err(failure) = self.obtain.clean_up(&self.context, key, object).await
        {
            tracing::warn!(kind = K::KIND, %key, error = %failure.message, "what was made before could not be removed");
        }
        if let Err(error) = self.writer.release(object).await {
            return self.unwritten(key, &error);
        }
        if object.metadata().is_deleting() || (object.conditions().is_empty() && object.revision().is_empty())
        {
            return Requeue::Never;
        }
        match self.writer.status(object, &K::Status::default()).await {
            Ok(_) => Requeue::Never,
            Err(error) => self.unwritten(key, &error),
        }
    }
}

impl<K: Subject, O: Obtain<K>> Reconcile for SourceReconciler<K, O> {
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

/// An artifact of a status, as the artifact store knows it.
pub fn port_artifact(artifact: &meta::Artifact) -> ports::Artifact {
    ports::Artifact {
        path: artifact.path.clone(),
        url: artifact.url.clone(),
        revision: artifact.revision.clone(),
        digest: artifact.digest.clone(),
        size: artifact
            .size
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or_default(),
    }
}

/// Stores files as an artifact, and holds them for those who build from it.
pub(crate) async fn keep_files<K: Resource>(
    context: &Context,
    key: &Key,
    file: String,
    revision: &str,
    tree: Tree,
) -> Result<ports::Artifact, Failure> {
    let name = artifact_name::<K>(key, file);
    let artifact = context.artifacts.put(&name, revision, &tree).await?;
    hold::<K>(context, key, &artifact, tree);
    Ok(artifact)
}

/// Holds the files of an artifact for those who build from it.
pub(crate) fn hold<K: Resource>(context: &Context, key: &Key, artifact: &ports::Artifact, tree: Tree) {
    let held = Held {
        revision: artifact.revision.clone(),
        digest: artifact.digest.clone(),
        tree,
    };
    context.revisions.put(source_id::<K>(key), held);
}

/// The files of a source that count: without those that ignore rules exclude, and without symlinks. Artifacts hold none, so
/// nothing that is built in this process may see one either.
pub(crate) fn counted(context: &Context, tree: &Tree, ignore: Option<&str>) -> Result<Tree, Failure> {
    let filtered = context
        .sources
        .filter(tree, ignore)
        .map_err(|error| Failure::new(step::Part::Storage, error.class, &error.reason, error.message))?;
    let links: Vec<TreePath> = filtered
        .iter()
        .filter(|(_, entry)| matches!(entry, Entry::Symlink(_)))
        .map(|(path, _)| path.clone())
        .collect();
    if links.is_empty() {
        return Ok(filtered);
    }
    let mut builder = filtered.to_builder();
    for link in &links {
        builder.remove(link);
    }
    Ok(builder.build())
}
