//! The one door to Git: local repositories in process, servers through the object cache.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fluvial_tree::TreePath;
use rustc_hash::FxHashMap;
use tokio::sync::OnceCell;

use super::checkout::Sparse;
use super::local::{self, OpenRepos, Repo, Resolved};
use super::remote::{self, Remotes};
use super::url::{Location, redact};
use super::{
    Credentials, Fetched, GitReference, GitRequest, Revision, Verify, dirty, normalise_revision, submodule,
    verify,
};
use crate::error::{SourceError, reason};
use crate::limits::Limits;

/// Timeout of a request without one.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Fetches revisions of Git repositories. Clones share caches; one per process is enough.
#[derive(Clone, Debug)]
pub struct GitSource(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    local: OpenRepos,
    remotes: Remotes,
    running: Mutex<FxHashMap<Key, Arc<OnceCell<Result<Fetched, SourceError>>>>>,
}

/// Requests with equal keys have equal answers.
type Key = (
    String,
    GitReference,
    Credentials,
    Vec<String>,
    bool,
    Option<String>,
    bool,
    Option<Verify>,
);

/// What one fetch carries along.
pub(crate) struct Job<'a> {
    pub(crate) request: &'a GitRequest,
    pub(crate) sparse: Sparse,
    pub(crate) limits: Limits,
    pub(crate) deadline: Instant,
    pub(crate) cancelled: &'a Arc<AtomicBool>,
    /// How many repositories lead here through submodules.
    pub(crate) depth: usize,
}

impl Job<'_> {
    pub(crate) fn timeout(&self) -> Duration {
        self.request.timeout.unwrap_or(DEFAULT_TIMEOUT)
    }
}

impl GitSource {
    /// A source that keeps what it fetches from servers below `cache`.
    #[must_use]
    pub fn new(cache: impl Into<PathBuf>, limits: Limits) -> Self {
        GitSource(Arc::new(Inner {
            limits,
            local: OpenRepos::default(),
            remotes: Remotes::new(cache.into()),
            running: Mutex::default(),
        }))
    }

    /// Fetches on a blocking thread. Equal requests that run at the same time are one.
    ///
    /// # Errors
    /// Of the class, and with the reason and message, that its condition is to have.
    pub async fn fetch(&self, request: &GitRequest) -> Result<Fetched, SourceError> {
        let key = key_of(request);
        let cell = {
            let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(running.entry(key.clone()).or_default())
        };
        let result = cell.get_or_init(|| self.run(request.clone())).await.clone();
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running
            .get(&key)
            .is_some_and(|current| Arc::ptr_eq(current, &cell))
        {
            running.remove(&key);
        }
        result
    }

    async fn run(&self, request: GitRequest) -> Result<Fetched, SourceError> {
        let source = self.clone();
        let timeout = request.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let url = redact(&request.url);
        let guard = CancelOnDrop(Arc::default());
        let cancelled = Arc::clone(&guard.0);
        let task = tokio::task::spawn_blocking(move || source.fetch_inner(&request, &cancelled));
        // The work watches its deadline by itself; this is for steps that cannot.
        match tokio::time::timeout(timeout + Duration::from_secs(2), task).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(SourceError::retry(
                reason::GIT_OPERATION_FAILED,
                format!("fetching '{url}' ended unexpectedly: {error}"),
            )),
            Err(_) => Err(remote::timed_out(&url, timeout)),
        }
    }

    /// Fetches on this thread, which must not be one that drives async tasks.
    ///
    /// # Errors
    /// As [`GitSource::fetch`].
    pub fn fetch_blocking(&self, request: &GitRequest) -> Result<Fetched, SourceError> {
        self.fetch_inner(request, &Arc::default())
    }

    fn fetch_inner(&self, request: &GitRequest, cancelled: &Arc<AtomicBool>) -> Result<Fetched, SourceError> {
        let mut sparse = request
            .sparse_checkout
            .iter()
            .map(|folder| TreePath::parse(folder))
            .collect::<Result<Sparse, _>>()
            .map_err(|error| {
                SourceError::stalled(
                    reason::GIT_OPERATION_FAILED,
                    format!("invalid spec.sparseCheckout: {error}"),
                )
            })?;
        sparse.sort_unstable();
        sparse.dedup();
        let job = Job {
            request,
            sparse,
            limits: self.0.limits,
            deadline: Instant::now() + request.timeout.unwrap_or(DEFAULT_TIMEOUT),
            cancelled,
            depth: 0,
        };
        self.fetch_job(&job)
    }

    pub(crate) fn fetch_job(&self, job: &Job<'_>) -> Result<Fetched, SourceError> {
        let target = job.request.reference.target()?;
        match Location::parse(&job.request.url)? {
            Location::Local(path) => {
                let repo = self.0.local.get(&path)?;
                let result = self.local(job, &path, &repo, &target);
                if matches!(&result, Err(error) if error.reason == reason::INVALID_GIT_OBJECT) {
                    // Perhaps the repository was repacked or replaced under us: look afresh, once.
                    self.0.local.forget(&path);
                    let repo = self.0.local.get(&path)?;
                    return self.local(job, &path, &repo, &target);
                }
                result
            }
            Location::Http(url) | Location::Ssh(url) => {
                if job.request.dirty {
                    return Err(not_local(&redact(&url)));
                }
                self.0.remotes.fetch(self, job, &url, &target)
            }
        }
    }

    fn local(
        &self,
        job: &Job<'_>,
        path: &Path,
        repo: &Repo,
        target: &super::reference::Target,
    ) -> Result<Fetched, SourceError> {
        let shown = path.display().to_string();
        let handle = repo.handle();
        let resolved = local::resolve(&handle, &shown, target)?;
        if job.request.dirty {
            if job.request.verify.is_some() {
                return Err(SourceError::stalled(
                    reason::VERIFICATION_ERROR,
                    "uncommitted files are not signed; remove spec.verify, or use committed files",
                ));
            }
            return self.dirty(job, &shown, repo, &handle, &resolved);
        }
        if is_last(job.request, &resolved.revision()) {
            return Ok(Fetched::Unchanged);
        }
        self.finish(job, repo, &handle, &resolved, &shown)
    }

    /// The answer for a commit whose objects are all here.
    pub(crate) fn finish(
        &self,
        job: &Job<'_>,
        repo: &Repo,
        handle: &gix::Repository,
        resolved: &Resolved,
        url: &str,
    ) -> Result<Fetched, SourceError> {
        let snapshot = repo
            .snapshot(handle, resolved.commit, &job.sparse, job.limits)
            .map_err(|error| located(error, url, resolved))?;
        for folder in &job.sparse {
            if snapshot.tree.get(folder).is_none() {
                return Err(SourceError::stalled(
                    reason::GIT_OPERATION_FAILED,
                    format!(
                        "sparseCheckout folder '{folder}' does not exist in '{url}' at revision '{}'; correct \
                         spec.sparseCheckout",
                        resolved.revision()
                    ),
                ));
            }
        }
        let verified = Self::verified(job, handle, resolved, url)?;
        let mut warnings = snapshot.warnings.to_vec();
        let tree = if job.request.recurse_submodules && !snapshot.submodules.is_empty() {
            submodule::add(self, job, &snapshot, url)?
        } else {
            if !snapshot.submodules.is_empty() {
                warnings.push(format!(
                    "submodule '{}' is left empty because spec.recurseSubmodules is not set",
                    snapshot.submodules[0].0
                ));
            }
            snapshot.tree
        };
        Ok(Fetched::Changed(Revision {
            revision: resolved.revision(),
            tree,
            commit: local::describe(handle, resolved.commit, resolved.tag)?,
            verified,
            warnings,
        }))
    }

    /// Which signatures are there of those that must be.
    fn verified(
        job: &Job<'_>,
        handle: &gix::Repository,
        resolved: &Resolved,
        url: &str,
    ) -> Result<Option<String>, SourceError> {
        let Some(wanted) = &job.request.verify else {
            return Ok(None);
        };
        let target = job.request.reference.target()?;
        verify::verify(handle, &target, resolved, wanted)
            .map(Some)
            .map_err(|error| located(error, url, resolved))
    }

    fn dirty(
        &self,
        job: &Job<'_>,
        shown: &str,
        repo: &Repo,
        handle: &gix::Repository,
        resolved: &Resolved,
    ) -> Result<Fetched, SourceError> {
        let worktree = handle.workdir().ok_or_else(|| not_local(shown))?;
        let committed = repo.snapshot(handle, resolved.commit, &Sparse::new(), job.limits)?;
        let tree = dirty::read(worktree, &committed.tree, job.limits)?;
        let (tree, revision) = if tree.digest() == committed.tree.digest() {
            (committed.tree, resolved.revision())
        } else {
            let digest = tree.digest().to_hex();
            let revision = format!("{}-dirty-{}", resolved.revision(), &digest[..12]);
            (tree, revision)
        };
        if is_last(job.request, &revision) {
            return Ok(Fetched::Unchanged);
        }
        let tree = if job.sparse.is_empty() {
            tree
        } else {
            only(&tree, &job.sparse)
        };
        Ok(Fetched::Changed(Revision {
            revision,
            tree,
            commit: local::describe(handle, resolved.commit, resolved.tag)?,
            verified: None,
            warnings: Vec::new(),
        }))
    }
}

struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn key_of(request: &GitRequest) -> Key {
    (
        request.url.clone(),
        request.reference.clone(),
        request.credentials.clone(),
        request.sparse_checkout.clone(),
        request.recurse_submodules,
        request.last_revision.clone(),
        request.dirty,
        request.verify.clone(),
    )
}

/// Whether this is the revision that the caller has.
pub(crate) fn is_last(request: &GitRequest, revision: &str) -> bool {
    request
        .last_revision
        .as_deref()
        .is_some_and(|last| normalise_revision(last) == revision)
}

fn not_local(url: &str) -> SourceError {
    SourceError::stalled(
        reason::GIT_OPERATION_FAILED,
        format!("repository '{url}' has no work tree, so there are no uncommitted files to use"),
    )
}

fn located(mut error: SourceError, url: &str, resolved: &Resolved) -> SourceError {
    error.message = format!("'{url}' at revision '{}': {}", resolved.revision(), error.message);
    error
}

/// The tree with these folders only.
fn only(tree: &fluvial_tree::Tree, folders: &Sparse) -> fluvial_tree::Tree {
    let mut builder = fluvial_tree::TreeBuilder::default();
    for (path, entry) in tree.iter() {
        if folders.iter().any(|folder| path.starts_with(folder)) {
            // The paths come from a tree, so they are fit for one.
            let _ = crate::entry::insert(&mut builder, path.as_str(), entry);
        }
    }
    builder.build()
}
