//! GitRepository: fetches revisions, stores them as artifacts and holds their trees for those who build from them.

pub mod step;

use std::sync::{Arc, Mutex, PoisonError};

use fluvial_api::source::GitRepositoryStatus;
use fluvial_api::{GitRepository, meta};
use fluvial_ports::{self as ports, FetchRequest, Fetched, Reference, Revision, SourceErrorClass};
use fluvial_tree::{Entry, Tree, TreePath};
use futures::StreamExt;
use rustc_hash::FxHashMap;
use tokio::task::AbortHandle;

use crate::Key;
use crate::condition::SUCCEEDED;
use crate::context::Context;
use crate::feed::Feed;
use crate::links::Links;
use crate::queue::{Queue, Reasons};
use crate::source::step::{Failure, Part, Stored, Verified};
use crate::source::{
    Obtain, SourceReconciler, artifact_name, collect, counted, hold, port_artifact, secrets, source_id,
};
use crate::store::Transition;

/// Reconciles GitRepositories.
pub type GitRepositories = SourceReconciler<GitRepository, Commits>;

/// Comes to commits.
pub struct Commits {
    feed: Arc<Feed<GitRepository>>,
    queue: Queue<Key>,
    /// Watches of repositories: URL, and the task that watches it.
    watched: Mutex<FxHashMap<Key, (String, AbortHandle)>>,
}

/// A reconciler of GitRepositories, which a change of an included one wakes.
pub fn reconciler(
    context: Arc<Context>,
    feed: Arc<Feed<GitRepository>>,
    queue: Queue<Key>,
) -> GitRepositories {
    let (includes, wake) = (Links::default(), queue.clone());
    feed.listen(move |transition| heard(&includes, &wake, transition));
    let commits = Commits {
        feed: Arc::clone(&feed),
        queue: queue.clone(),
        watched: Mutex::default(),
    };
    SourceReconciler::new(context, feed, queue, commits)
}

impl Obtain<GitRepository> for Commits {
    type Found = Stored<GitRepositoryStatus>;

    async fn obtain(
        &self,
        context: &Context,
        key: &Key,
        object: &GitRepository,
    ) -> Result<Self::Found, Failure> {
        if let Some(message) = step::unfit(&object.spec) {
            return Err(Failure::stalled("InvalidProviderConfiguration", message));
        }
        self.watch(context, key, &object.spec.url);
        let known = known(context, key, object).await;
        let last_revision = known.as_ref().map(|known| known.revision.clone());
        let request = request(context, object, last_revision).await?;
        let fetched = context.sources.fetch(request).await;
        match (fetched.map_err(|error| source_failure(object, error))?, known) {
            (Fetched::Unchanged, Some(artifact)) => {
                let included = object.status.included_artifacts.clone();
                Ok(stored(object, artifact, None, included))
            }
            (Fetched::Unchanged, None) => Err(Failure::fetch(
                "GitOperationFailed",
                "the artifact has gone meanwhile",
            )),
            (Fetched::Changed(revision), _) => self.store(context, key, object, &revision).await,
        }
    }

    fn forget(&self, _context: &Context, key: &Key) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, task)) = watched.remove(key) {
            task.abort();
        }
    }
}

/// What the status says of an artifact.
fn stored(
    object: &GitRepository,
    artifact: ports::Artifact,
    revision: Option<&Revision>,
    included: Vec<meta::Artifact>,
) -> Stored<GitRepositoryStatus> {
    let message = format!("stored artifact for revision '{}'", artifact.revision);
    let event = revision.map_or_else(|| message.clone(), step::new_artifact);
    let how = revision.and_then(|revision| revision.verified.clone());
    let verified = match (&object.spec.verify, how) {
        (None, _) => Verified::Unasked,
        (Some(_), None) => Verified::Before,
        (Some(_), Some(how)) => Verified::Now(how),
    };
    let spec = object.spec.clone();
    Stored {
        artifact,
        metadata: Default::default(),
        observed: Box::new(move |status| {
            status.included_artifacts = included;
            status.observed_ignore = spec.ignore;
            status.observed_recurse_submodules = spec.recurse_submodules;
            status.observed_include = spec.include;
            status.observed_sparse_checkout = spec.sparse_checkout;
            status.source_verification_mode = spec.verify.map(|verify| verify.mode.to_string());
        }),
        reason: SUCCEEDED,
        message,
        event: ("NewArtifact", event),
        verified,
    }
}

/// The artifact whose revision need not be fetched: its tree is held, it is stored, and both are as the spec wants.
async fn known(context: &Context, key: &Key, object: &GitRepository) -> Option<ports::Artifact> {
    let artifact = object.status.artifact.as_ref()?;
    if !object.spec.include.is_empty()
        || !step::settings_observed(object)
        || !step::verification_observed(object)
    {
        return None;
    }
    let id = source_id::<GitRepository>(key);
    context
        .revisions
        .exactly(&id, &artifact.revision, &artifact.digest)?;
    let known = crate::source::intact(context, object).await?;
    collect(context, &known).await;
    Some(known)
}

async fn request(
    context: &Context,
    object: &GitRepository,
    last_revision: Option<String>,
) -> Result<FetchRequest, Failure> {
    let spec = &object.spec;
    let namespace = &object.metadata.namespace;
    let reference = spec.r#ref.clone().unwrap_or_default();
    let given = |text: String| (!text.is_empty()).then_some(text);
    let secret = |reference, field| secrets::optional(context, namespace, reference, field);
    let verify = match &spec.verify {
        Some(verify) => {
            let keys = &verify.secret_ref.name;
            let keys = secrets::secret(context, namespace, keys, "spec.verify.secretRef").await?;
            Some((verify.mode.to_string(), keys))
        }
        None => None,
    };
    let account = spec.service_account_name.as_deref();
    Ok(FetchRequest {
        object: format!("{}/{namespace}/{}", GitRepository::KIND, object.metadata.name),
        provider: spec.provider.to_string(),
        account: secrets::account(context, namespace, account).await?,
        url: spec.url.clone(),
        reference: Reference {
            branch: given(reference.branch),
            tag: given(reference.tag),
            semver: given(reference.semver),
            name: given(reference.name),
            commit: given(reference.commit),
        },
        credentials: secret(spec.secret_ref.as_ref(), "spec.secretRef").await?,
        proxy: secret(spec.proxy_secret_ref.as_ref(), "spec.proxySecretRef").await?,
        verify,
        sparse_checkout: spec.sparse_checkout.clone(),
        recurse_submodules: spec.recurse_submodules,
        timeout: spec.timeout().0,
        last_revision,
    })
}

impl Commits {
    /// Follows a repository that can be watched, instead of looking at it at intervals only.
    fn watch(&self, context: &Context, key: &Key, url: &str) {
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
        let Some(mut changes) = context.sources.changes(url) else {
            return;
        };
        let (queue, woken) = (self.queue.clone(), key.clone());
        let task = tokio::spawn(async move {
            while changes.next().await.is_some() {
                queue.add(woken.clone(), Reasons::SOURCE);
            }
        });
        watched.insert(key.clone(), (url.to_owned(), task.abort_handle()));
    }

    /// Makes an artifact of a fetched revision.
    async fn store(
        &self,
        context: &Context,
        key: &Key,
        object: &GitRepository,
        revision: &Revision,
    ) -> Result<Stored<GitRepositoryStatus>, Failure> {
        let tree = counted(context, &revision.tree, object.spec.ignore.as_deref())?;
        let (tree, included) = self.include(context, object, tree).await?;
        let artifact = put(context, key, object, revision, &tree, &included).await?;
        hold::<GitRepository>(context, key, &artifact, tree);
        Ok(stored(object, artifact, Some(revision), included))
    }

    /// Copies the artifacts of other repositories in.
    async fn include(
        &self,
        context: &Context,
        object: &GitRepository,
        tree: Tree,
    ) -> Result<(Tree, Vec<meta::Artifact>), Failure> {
        const REASON: &str = "IncludeUnavailable";
        if object.spec.include.is_empty() {
            return Ok((tree, Vec::new()));
        }
        let waiting = |message: String| Failure::new_waiting(Part::Include, REASON, message);
        let mut builder = tree.to_builder();
        let mut artifacts = Vec::new();
        for include in &object.spec.include {
            let name = &include.repository.name;
            let key = Key::new(&object.metadata.namespace, name);
            let artifact = self
                .feed
                .store()
                .get(&key)
                .and_then(|other| other.status.artifact.clone())
                .ok_or_else(|| {
                    waiting(format!(
                        "GitRepository '{key}' of spec.include has no artifact yet"
                    ))
                })?;
            let other = tree_of(context, &key, &artifact).await.map_err(|error| {
                Failure::new(Part::Include, SourceErrorClass::Retry, REASON, error.message)
            })?;
            let bad_path = |error: fluvial_tree::PathError| {
                let text = format!("spec.include of '{name}': {error}");
                Failure::new(Part::Include, SourceErrorClass::Stalled, REASON, text)
            };
            let from = TreePath::parse(&include.from_path).map_err(bad_path)?;
            if !other.is_folder(&from) {
                return Err(waiting(format!(
                    "GitRepository '{key}' has no folder '{from}', which spec.include asks for"
                )));
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
}

impl Drop for Commits {
    fn drop(&mut self) {
        let watched = self.watched.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (_, task) in watched.values() {
            task.abort();
        }
    }
}

/// Stores a tree, unless that was done before (in an earlier life of this process).
async fn put(
    context: &Context,
    key: &Key,
    object: &GitRepository,
    revision: &Revision,
    tree: &Tree,
    included: &[meta::Artifact],
) -> Result<ports::Artifact, Failure> {
    let artifacts = &context.artifacts;
    if let Some(known) = &object.status.artifact
        && known.revision == revision.revision
        && step::settings_observed(object)
        && object.status.included_artifacts == included
    {
        let mut known = port_artifact(known);
        known.url = artifacts.url(&known.path);
        if artifacts.verify(&known).await {
            return Ok(known);
        }
    }
    let name = artifact_name::<GitRepository>(key, format!("{}.tar.gz", revision.commit.id));
    let stored = artifacts.put(&name, &revision.revision, tree).await?;
    collect(context, &stored).await;
    Ok(stored)
}

async fn tree_of(
    context: &Context,
    key: &Key,
    artifact: &meta::Artifact,
) -> Result<Tree, ports::ArtifactError> {
    let id = source_id::<GitRepository>(key);
    match context
        .revisions
        .exactly(&id, &artifact.revision, &artifact.digest)
    {
        Some(held) => Ok(held.tree.clone()),
        None => context.artifacts.load(&port_artifact(artifact)).await,
    }
}

/// Wakes those that include a GitRepository whose artifact changes.
fn heard(includes: &Links<Key>, queue: &Queue<Key>, transition: &Transition<GitRepository>) {
    let key = &transition.key;
    let (old, new) = (transition.old.as_deref(), transition.new.as_deref());
    let links = new.map(|new| {
        let include =
            |include: &fluvial_api::source::Include| Key::new(&key.namespace, &include.repository.name);
        new.spec.include.iter().map(include).collect()
    });
    includes.set(key, links.unwrap_or_default());
    let artifact = |repository: Option<&GitRepository>| {
        repository.and_then(|repository| repository.status.artifact.clone())
    };
    if artifact(old) != artifact(new) {
        for includer in includes.referrers(key) {
            queue.add(includer, Reasons::SOURCE);
        }
    }
}

fn source_failure(object: &GitRepository, error: ports::SourceError) -> Failure {
    let part = if object.spec.verify.is_some() && step::is_about_signatures(&error.reason) {
        Part::Verify
    } else {
        Part::Fetch
    };
    Failure::new(part, error.class, &error.reason, error.message)
}
