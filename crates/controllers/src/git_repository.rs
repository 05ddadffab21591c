//! GitRepository: fetches revisions, stores them as artifacts and holds their trees for those who build from them.

pub mod step;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fluvial_api::source::GitRepositoryStatus;
use fluvial_api::{GitRepository, Resource as _, meta};
use fluvial_ports::{
    self as ports, Account, ArtifactName, FetchRequest, Fetched, Reference, Resource, Revision,
    SourceErrorClass, Target,
};
use fluvial_tree::{Entry, Tree, TreePath};
use futures::StreamExt;
use rustc_hash::FxHashMap;
use tokio::task::AbortHandle;

use crate::context::Context;
use crate::feed::Feed;
use crate::links::Links;
use crate::metrics::ResourceFacts;
use crate::queue::{Queue, Reasons, Work};
use crate::recorder::About;
use crate::revisions::Held;
use crate::runner::{Reconcile, Requeue, Slot};
use crate::store::Transition;
use crate::writer::{Writer, config_data};
use crate::{Key, SourceId, condition};
use step::{Begin, Failure, Outcome, Part, Stored};

/// Name under which events are reported and objects written, as dashboards know it.
const CONTROLLER: &str = "source-controller";
/// A fetch that takes longer is shown in the status.
const SLOW: Duration = Duration::from_secs(2);

/// Reconciles GitRepositories.
pub struct GitRepositories {
    context: Arc<Context>,
    feed: Arc<Feed<GitRepository>>,
    writer: Writer<GitRepository>,
    queue: Queue<Key>,
    failures: Mutex<FxHashMap<Key, u32>>,
    /// Watches of repositories: URL, and the task that watches it.
    watched: Mutex<FxHashMap<Key, (String, AbortHandle)>>,
}

/// The id of a GitRepository among all sources.
pub fn source_id(key: &Key) -> SourceId {
    SourceId {
        kind: GitRepository::KIND.into(),
        key: key.clone(),
    }
}

impl GitRepositories {
    /// A reconciler whose queue is filled by `feed`.
    pub fn new(context: Arc<Context>, feed: Arc<Feed<GitRepository>>, queue: Queue<Key>) -> Self {
        let (includes, wake) = (Links::default(), queue.clone());
        feed.listen(move |transition| heard(&includes, &wake, transition));
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
            watched: Mutex::default(),
        }
    }

    async fn run(&self, key: &Key) -> Requeue {
        let Some(mut repository) = self.feed.store().get(key) else {
            self.forget(key);
            return Requeue::Never;
        };
        let outcome = match step::begin(&repository) {
            Begin::Delete => return self.delete(key, &repository).await,
            Begin::Rest => {
                self.show(key, &repository);
                return Requeue::Never;
            }
            Begin::Refuse(failure) => Outcome::Failed(failure),
            Begin::Fetch => {
                match self.writer.hold(&repository).await {
                    Ok(Some(held)) => repository = held,
                    Ok(None) => return Requeue::Never,
                    Err(error) => return self.unwritten(key, &error),
                }
                self.watch(key, &repository.spec.url);
                match self.obtain(key, &repository).await {
                    Ok(outcome) => outcome,
                    Err(failure) => Outcome::Failed(failure),
                }
            }
        };
        // What was done was done for this spec, whatever it is by now.
        if let Some(newest) = self.feed.store().get(key) {
            Arc::make_mut(&mut repository).status = newest.status.clone();
        }
        self.conclude(key, &repository, outcome).await
    }

    /// Writes the end of a run.
    async fn conclude(&self, key: &Key, repository: &GitRepository, outcome: Outcome) -> Requeue {
        let context = &self.context;
        let failures = self.count_failures(key, matches!(outcome, Outcome::Failed(_)));
        let decision = step::finish(
            repository,
            outcome,
            failures,
            &context.settings,
            context.clock.now(),
            context.clock.random(),
        );
        let written = match self.writer.status(repository, &decision.status).await {
            Ok(Some(written)) => written,
            Ok(None) => return Requeue::Now,
            Err(error) => return self.unwritten(key, &error),
        };
        for notice in decision.notices {
            let about = About {
                api_version: &GitRepository::api_version(),
                kind: GitRepository::KIND,
                metadata: &written.metadata,
                controller: CONTROLLER,
            };
            let mut event = context
                .recorder
                .event(&about, notice.severity, &notice.reason, &notice.message);
            for (name, value) in notice.facts {
                event
                    .metadata
                    .insert(format!("{}/{name}", GitRepository::GROUP), value);
            }
            context.recorder.send(event);
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
        tracing::warn!(kind = GitRepository::KIND, %key, %error, "the object could not be written; it is tried again");
        let failures = self.count_failures(key, true);
        Requeue::After(self.context.settings.backoff.after(failures + 1))
    }

    fn show(&self, key: &Key, repository: &GitRepository) {
        let conditions = &repository.status.conditions;
        let facts = ResourceFacts {
            ready: condition::get(conditions, condition::READY)
                .map_or("Unknown", |ready| ready.status.as_str()),
            suspended: repository.spec.suspend,
            revision: repository
                .status
                .artifact
                .as_ref()
                .map_or("", |artifact| artifact.revision.as_str()),
            source: &repository.spec.url,
        };
        self.context
            .metrics
            .show(GitRepository::KIND, key, conditions, &facts);
    }

    fn forget(&self, key: &Key) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
        self.unwatch(key);
        self.context.revisions.remove(&source_id(key));
        self.context.metrics.forget(GitRepository::KIND, key);
        self.queue.forget(key);
    }

    async fn delete(&self, key: &Key, repository: &Arc<GitRepository>) -> Requeue {
        self.unwatch(key);
        let removed = self
            .context
            .artifacts
            .remove(GitRepository::KIND, &key.namespace, &key.name)
            .await;
        if let Err(error) = removed {
            tracing::warn!(%key, %error, "the artifacts of a deleted GitRepository could not be removed");
        }
        match self.writer.release(repository).await {
            Ok(()) => Requeue::Never,
            Err(error) => self.unwritten(key, &error),
        }
    }

    /// Follows a repository that can be watched, instead of looking at it at intervals only.
    fn watch(&self, key: &Key, url: &str) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched
            .get(key)
            .is_some_and(|(known, task)| known == url && !task.is_finished())
        {
            return;
        }
        if let Some((_, task)) = watched.remove(key) {
            task.abort();
        }
        let Some(mut changes) = self.context.sources.changes(url) else {
            return;
        };
        let (queue, key) = (self.queue.clone(), key.clone());
        let task = tokio::spawn({
            let key = key.clone();
            async move {
                while changes.next().await.is_some() {
                    queue.add(key.clone(), Reasons::SOURCE);
                }
            }
        });
        watched.insert(key, (url.to_owned(), task.abort_handle()));
    }

    fn unwatch(&self, key: &Key) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, task)) = watched.remove(key) {
            task.abort();
        }
    }

    /// Fetches and stores.
    async fn obtain(&self, key: &Key, repository: &Arc<GitRepository>) -> Result<Outcome, Failure> {
        let known = self.known(key, repository).await;
        let request = self.request(repository, known).await?;
        let fetch = self.context.sources.fetch(request);
        tokio::pin!(fetch);
        let fetched = match tokio::time::timeout(SLOW, &mut fetch).await {
            Ok(fetched) => fetched,
            Err(_slow) => {
                let status: GitRepositoryStatus = step::fetching(repository, self.context.clock.now());
                if let Err(error) = self.writer.status(repository, &status).await {
                    tracing::debug!(%key, %error, "progress could not be shown");
                }
                fetch.await
            }
        };
        let revision = match fetched.map_err(|error| source_failure(repository, error))? {
            Fetched::Unchanged => return Ok(Outcome::UpToDate),
            Fetched::Changed(revision) => revision,
        };
        self.store(key, repository, &revision).await
    }

    /// The revision that need not be fetched: its tree is held, its artifact stored, and both are as the spec wants.
    async fn known(&self, key: &Key, repository: &GitRepository) -> Option<String> {
        let artifact = repository.status.artifact.as_ref()?;
        if !repository.spec.include.is_empty()
            || !step::settings_observed(repository)
            || !step::verification_observed(repository)
        {
            return None;
        }
        self.context
            .revisions
            .exactly(&source_id(key), &artifact.revision, &artifact.digest)?;
        if self.context.artifacts.url(&artifact.path) != artifact.url {
            return None;
        }
        let stored = port_artifact(artifact);
        let intact = self.context.artifacts.verify(&stored).await;
        self.collect(&stored).await;
        intact.then(|| artifact.revision.clone())
    }

    async fn collect(&self, current: &ports::Artifact) {
        match self.context.artifacts.collect(current).await {
            Ok(removed) if !removed.is_empty() => {
                tracing::debug!(artifact = %current.path, removed = removed.len(), "garbage collected artifacts");
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(artifact = %current.path, %error, "old artifacts could not be removed")
            }
        }
    }

    async fn request(
        &self,
        repository: &GitRepository,
        known: Option<String>,
    ) -> Result<FetchRequest, Failure> {
        let spec = &repository.spec;
        let namespace = &repository.metadata.namespace;
        let reference = spec.r#ref.clone().unwrap_or_default();
        let given = |text: String| (!text.is_empty()).then_some(text);
        let credentials = match &spec.secret_ref {
            Some(secret) => Some(self.secret(namespace, &secret.name, "spec.secretRef").await?),
            None => None,
        };
        let proxy = match &spec.proxy_secret_ref {
            Some(secret) => Some(
                self.secret(namespace, &secret.name, "spec.proxySecretRef")
                    .await?,
            ),
            None => None,
        };
        let verify = match &spec.verify {
            Some(verify) => Some((
                verify.mode.to_string(),
                self.secret(namespace, &verify.secret_ref.name, "spec.verify.secretRef")
                    .await?,
            )),
            None => None,
        };
        let account = match spec.service_account_name.as_deref() {
            Some(name) if !name.is_empty() => Some(self.account(namespace, name).await?),
            _ => None,
        };
        Ok(FetchRequest {
            object: format!("{}/{namespace}/{}", GitRepository::KIND, repository.metadata.name),
            provider: spec.provider.to_string(),
            account,
            url: spec.url.clone(),
            reference: Reference {
                branch: given(reference.branch),
                tag: given(reference.tag),
                semver: given(reference.semver),
                name: given(reference.name),
                commit: given(reference.commit),
            },
            credentials,
            proxy,
            verify,
            sparse_checkout: spec.sparse_checkout.clone(),
            recurse_submodules: spec.recurse_submodules,
            timeout: spec.timeout().0,
            last_revision: known,
        })
    }

    async fn secret(
        &self,
        namespace: &str,
        name: &str,
        field: &str,
    ) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        let secret = self
            .core_object(("Secret", "secrets"), namespace, name, field)
            .await?;
        config_data(&secret)
            .map_err(|error| sign_in(format!("Secret '{namespace}/{name}' of {field}: {error}")))
    }

    /// The service account whose identity is used.
    async fn account(&self, namespace: &str, name: &str) -> Result<Account, Failure> {
        let kind = ("ServiceAccount", "serviceaccounts");
        let account = self
            .core_object(kind, namespace, name, "spec.serviceAccountName")
            .await?;
        let annotations = account
            .pointer("/metadata/annotations")
            .and_then(serde_json::Value::as_object);
        let text =
            |(key, value): (&String, &serde_json::Value)| Some((key.clone(), value.as_str()?.to_owned()));
        Ok(Account {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            annotations: annotations
                .map(|all| all.iter().filter_map(text).collect())
                .unwrap_or_default(),
            cluster: Arc::clone(&self.context.cluster),
        })
    }

    async fn core_object(
        &self,
        (kind, plural): (&str, &str),
        namespace: &str,
        name: &str,
        field: &str,
    ) -> Result<serde_json::Value, Failure> {
        let resource = Resource {
            group: String::new(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced: true,
        };
        let target = Target {
            resource: &resource,
            namespace,
            name,
        };
        self.context
            .cluster
            .get(target)
            .await
            .map_err(|error| {
                sign_in(format!(
                    "cannot read {kind} '{namespace}/{name}' of {field}: {error}"
                ))
            })?
            .ok_or_else(|| {
                sign_in(format!(
                    "{kind} '{namespace}/{name}' of {field} not found; create it or correct the reference"
                ))
            })
    }

    /// Makes an artifact of a fetched revision.
    async fn store(
        &self,
        key: &Key,
        repository: &GitRepository,
        revision: &Revision,
    ) -> Result<Outcome, Failure> {
        let spec = &repository.spec;
        let filtered = self
            .context
            .sources
            .filter(&revision.tree, spec.ignore.as_deref())
            .map_err(|error| source_failure(repository, error))?;
        let (tree, included) = self.include(repository, without_symlinks(&filtered)).await?;
        let artifact = self.put(key, repository, revision, &tree, &included).await?;
        self.context.revisions.put(
            source_id(key),
            Held {
                revision: artifact.revision.clone(),
                digest: artifact.digest.clone(),
                tree,
            },
        );
        Ok(Outcome::Stored(Box::new(Stored {
            artifact,
            commit: revision.commit.clone(),
            rewritten: revision.rewritten.clone(),
            verified: revision.verified.clone(),
            included,
        })))
    }

    /// Stores a tree, unless that was done before (in an earlier life of this process).
    async fn put(
        &self,
        key: &Key,
        repository: &GitRepository,
        revision: &Revision,
        tree: &Tree,
        included: &[meta::Artifact],
    ) -> Result<ports::Artifact, Failure> {
        let artifacts = &self.context.artifacts;
        if let Some(known) = &repository.status.artifact
            && known.revision == revision.revision
            && step::settings_observed(repository)
            && repository.status.included_artifacts == included
        {
            let mut known = port_artifact(known);
            known.url = artifacts.url(&known.path);
            if artifacts.verify(&known).await {
                return Ok(known);
            }
        }
        let name = ArtifactName {
            kind: GitRepository::KIND.to_owned(),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            file: format!("{}.tar.gz", revision.commit.id),
        };
        let stored = artifacts
            .put(&name, &revision.revision, tree)
            .await
            .map_err(|error| Failure {
                part: Part::Storage,
                class: SourceErrorClass::Retry,
                reason: error.reason,
                message: error.message,
            })?;
        self.collect(&stored).await;
        Ok(stored)
    }

    /// Copies the artifacts of other repositories in.
    async fn include(
        &self,
        repository: &GitRepository,
        tree: Tree,
    ) -> Result<(Tree, Vec<meta::Artifact>), Failure> {
        if repository.spec.include.is_empty() {
            return Ok((tree, Vec::new()));
        }
        let failure = |class, message: String| Failure {
            part: Part::Include,
            class,
            reason: "IncludeUnavailable".to_owned(),
            message,
        };
        let mut builder = tree.to_builder();
        let mut artifacts = Vec::new();
        for include in &repository.spec.include {
            let name = &include.repository.name;
            let key = Key::new(&repository.metadata.namespace, name);
            let artifact = self
                .feed
                .store()
                .get(&key)
                .and_then(|other| other.status.artifact.clone())
                .ok_or_else(|| {
                    let text = format!("GitRepository '{key}' of spec.include has no artifact yet");
                    failure(SourceErrorClass::Waiting, text)
                })?;
            let other = self
                .tree_of(&key, &artifact)
                .await
                .map_err(|error| failure(SourceErrorClass::Retry, error.message))?;
            let bad_path = |error: fluvial_tree::PathError| {
                failure(
                    SourceErrorClass::Stalled,
                    format!("spec.include of '{name}': {error}"),
                )
            };
            let from = TreePath::parse(&include.from_path).map_err(bad_path)?;
            if !other.is_folder(&from) {
                let text =
                    format!("GitRepository '{key}' has no folder '{from}', which spec.include asks for");
                return Err(failure(SourceErrorClass::Waiting, text));
            }
            let to = if include.to_path.is_empty() {
                name
            } else {
                &include.to_path
            };
            let to = TreePath::parse(to).map_err(bad_path)?;
            for (path, entry) in other.subtree(&from).iter() {
                if let Entry::File(file) = entry {
                    let path = to.join(path.as_str()).map_err(bad_path)?;
                    builder.file(path.as_str(), file.clone()).map_err(bad_path)?;
                }
            }
            artifacts.push(artifact);
        }
        Ok((builder.build(), artifacts))
    }

    async fn tree_of(&self, key: &Key, artifact: &meta::Artifact) -> Result<Tree, ports::ArtifactError> {
        let held = self
            .context
            .revisions
            .exactly(&source_id(key), &artifact.revision, &artifact.digest);
        match held {
            Some(held) => Ok(held.tree.clone()),
            None => self.context.artifacts.load(&port_artifact(artifact)).await,
        }
    }
}

impl Reconcile for GitRepositories {
    const KIND: &'static str = GitRepository::KIND;

    fn reconcile(
        self: Arc<Self>,
        work: &mut Work<Key>,
        _slot: &mut Slot,
    ) -> impl Future<Output = Requeue> + Send {
        let key = work.key().clone();
        async move { self.run(&key).await }
    }
}

impl Drop for GitRepositories {
    fn drop(&mut self) {
        let watched = self.watched.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (_, task) in watched.values() {
            task.abort();
        }
    }
}

/// What a change of a GitRepository wakes: itself, and those that include it.
fn heard(includes: &Links<Key>, queue: &Queue<Key>, transition: &Transition<GitRepository>) {
    let key = &transition.key;
    let (old, new) = (transition.old.as_deref(), transition.new.as_deref());
    let links = new.map(|new| {
        let include =
            |include: &fluvial_api::source::Include| Key::new(&key.namespace, &include.repository.name);
        new.spec.include.iter().map(include).collect()
    });
    includes.set(key, links.unwrap_or_default());
    let reasons = crate::wake::own(old.map(|old| &old.metadata), new.map(|new| &new.metadata));
    if !reasons.is_empty() {
        queue.add(key.clone(), reasons);
    }
    let artifact = |repository: Option<&GitRepository>| {
        repository.and_then(|repository| repository.status.artifact.clone())
    };
    if artifact(old) != artifact(new) {
        for includer in includes.referrers(key) {
            queue.add(includer, Reasons::SOURCE);
        }
    }
}

/// What is needed for signing in is not there.
fn sign_in(message: String) -> Failure {
    Failure {
        part: Part::Fetch,
        class: SourceErrorClass::Retry,
        reason: "AuthenticationFailed".to_owned(),
        message,
    }
}

fn source_failure(repository: &GitRepository, error: ports::SourceError) -> Failure {
    Failure {
        part: if repository.spec.verify.is_some() && step::is_about_signatures(&error.reason) {
            Part::Verify
        } else {
            Part::Fetch
        },
        class: error.class,
        reason: error.reason,
        message: error.message,
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

/// Artifacts hold no symlinks, so nothing that is built in this process may see one either.
pub(crate) fn without_symlinks(tree: &Tree) -> Tree {
    let links: Vec<TreePath> = tree
        .iter()
        .filter(|(_, entry)| matches!(entry, Entry::Symlink(_)))
        .map(|(path, _)| path.clone())
        .collect();
    if links.is_empty() {
        return tree.clone();
    }
    let mut builder = tree.to_builder();
    for link in &links {
        builder.remove(link);
    }
    builder.build()
}
