//! Repositories of this machine, read from their object store, and what a reference leads to there.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::checkout::{Snapshot, Snapshots, Sparse};
use super::reference::{self, Target};
use super::{Commit, versions};
use crate::error::{SourceError, reason};
use crate::limits::Limits;

/// Most letters of a commit's subject that are kept.
const MAX_SUBJECT: usize = 200;

/// An opened repository with its last revisions.
#[derive(Debug)]
pub(crate) struct Repo {
    inner: gix::ThreadSafeRepository,
    identity: Identity,
    snapshots: Arc<Mutex<Snapshots>>,
}

/// Tells a folder from another one that took its place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity(Option<std::time::SystemTime>, u64);

/// What a reference leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) commit: ObjectId,
    pub(crate) tag: Option<ObjectId>,
    /// What stands before the `@` of the revision.
    pub(crate) label: String,
}

impl Resolved {
    pub(crate) fn revision(&self) -> String {
        reference::revision(&self.label, &self.commit)
    }
}

/// The folder that holds the repository named by a path: itself, its `.git`, or `PATH.git`, as Git looks.
fn find(path: &Path) -> Option<PathBuf> {
    let with_suffix = |path: &Path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".git");
        PathBuf::from(name)
    };
    let without_suffix = path
        .to_str()
        .and_then(|text| text.strip_suffix(".git"))
        .filter(|text| !text.ends_with('/'))
        .map(PathBuf::from);
    [Some(path.to_owned()), Some(with_suffix(path)), without_suffix]
        .into_iter()
        .flatten()
        .find(|candidate| candidate.join(".git").exists() || candidate.join("HEAD").is_file())
}

/// No object is unpacked that is larger, whatever folder it is in; the limit of files holds for those that are wanted.
const LARGEST_OBJECT: u64 = 1 << 30;

fn options() -> gix::open::Options {
    gix::open::Options::isolated()
        .with(gix::sec::Trust::Full)
        .config_overrides([format!("gitoxide.objects.allocLimit={LARGEST_OBJECT}")])
}

impl Repo {
    /// Opens the repository at a path.
    pub(crate) fn open(path: &Path) -> Result<Self, SourceError> {
        let shown = path.display();
        let folder = find(path).ok_or_else(|| {
            let what = if path.exists() {
                "is no Git repository; run 'git init' there and commit, or correct the path"
            } else {
                "does not exist; if it was moved or deleted, bring it back or change spec.url"
            };
            SourceError::retry(
                reason::GIT_OPERATION_FAILED,
                format!("repository '{shown}' {what}"),
            )
        })?;
        let inner = options().open(folder).map_err(|error| {
            SourceError::retry(
                reason::GIT_OPERATION_FAILED,
                format!("cannot open repository '{shown}': {error}"),
            )
        })?;
        Ok(Repo {
            identity: Identity::of(inner.path()),
            inner,
            snapshots: Arc::default(),
        })
    }

    /// Whether the folder on disk is still the one that was opened.
    pub(crate) fn is_current(&self) -> bool {
        self.identity == Identity::of(self.inner.path())
    }

    /// Shares the revisions of another store of the same repository.
    pub(crate) fn take_over(&mut self, other: &Repo) {
        self.snapshots = Arc::clone(&other.snapshots);
    }

    /// A handle for this thread.
    pub(crate) fn handle(&self) -> gix::Repository {
        let mut handle = self.inner.to_thread_local();
        handle.object_cache_size(4 << 20);
        handle
    }

    /// The files of a commit.
    pub(crate) fn snapshot(
        &self,
        handle: &gix::Repository,
        commit: ObjectId,
        sparse: &Sparse,
        limits: Limits,
    ) -> Result<Snapshot, SourceError> {
        let tree = handle
            .find_commit(commit)
            .and_then(|commit| commit.tree_id().map(gix::Id::detach))
            .map_err(|error| {
                SourceError::retry(
                    reason::INVALID_GIT_OBJECT,
                    format!("cannot read commit {commit}: {error}"),
                )
            })?;
        self.snapshots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .load(&handle.objects, tree, sparse, limits)
    }
}

impl Identity {
    fn of(git_dir: &Path) -> Self {
        // The config file is written once; its age and inode tell a new repository at an old path.
        let meta = std::fs::metadata(git_dir.join("config")).or_else(|_| std::fs::metadata(git_dir));
        #[cfg(unix)]
        let inode = meta.as_ref().map_or(0, std::os::unix::fs::MetadataExt::ino);
        #[cfg(not(unix))]
        let inode = 0;
        Identity(meta.ok().and_then(|meta| meta.modified().ok()), inode)
    }
}

/// The branch that a local repository has checked out.
#[must_use]
pub fn head_branch(path: &Path) -> Option<String> {
    let head = options()
        .open(find(path)?)
        .ok()?
        .to_thread_local()
        .head_name()
        .ok()??;
    Some(head.shorten().to_string())
}

/// Opens a repository for a look at where its parts are.
pub(crate) fn open(path: &Path) -> Result<gix::Repository, SourceError> {
    Repo::open(path).map(|repo| repo.handle())
}

/// All reference names of a repository.
pub(crate) fn names(repo: &gix::Repository) -> Vec<String> {
    let Ok(platform) = repo.references() else {
        return Vec::new();
    };
    let Ok(all) = platform.all() else {
        return Vec::new();
    };
    all.filter_map(Result::ok)
        .map(|reference| reference.name().as_bstr().to_str_lossy().into_owned())
        .collect()
}

fn operation(url: &str, error: &gix::Error) -> SourceError {
    SourceError::retry(
        reason::GIT_OPERATION_FAILED,
        format!("cannot read references of repository '{url}': {error}"),
    )
}

/// A reference's commit, and the tag object that led there.
fn peel(
    repo: &gix::Repository,
    url: &str,
    name: &str,
) -> Result<Option<(ObjectId, Option<ObjectId>)>, SourceError> {
    let found = repo
        .try_find_reference(name)
        .map_err(|error| operation(url, &error))?
        .filter(|reference| reference.name().as_bstr() == name.as_bytes().as_bstr());
    let Some(mut reference) = found else {
        return Ok(None);
    };
    let direct = reference.try_id().map(gix::Id::detach);
    let Ok(peeled) = reference.peel_to_id() else {
        // A symbolic reference to a branch without commits.
        return Ok(None);
    };
    let object = peeled.object().map_err(|error| operation(url, &error))?;
    if object.kind != gix::objs::Kind::Commit {
        return Err(SourceError::retry(
            reason::INVALID_GIT_OBJECT,
            format!(
                "'{name}' of repository '{url}' leads to a {}, not to a commit",
                object.kind
            ),
        ));
    }
    let id = object.id;
    Ok(Some((id, direct.filter(|direct| *direct != id))))
}

/// What a reference leads to in a local repository.
pub(crate) fn resolve(repo: &gix::Repository, url: &str, target: &Target) -> Result<Resolved, SourceError> {
    let found = match target {
        Target::Commit { id, .. } => {
            let exists = repo
                .try_find_header(*id)
                .is_ok_and(|header| header.is_some_and(|header| header.kind() == gix::objs::Kind::Commit));
            if !exists {
                return Err(missing_commit(url, target));
            }
            Some((*id, None, target.label().to_owned()))
        }
        Target::Semver(range) => {
            let names = names(repo);
            let tag = newest_tag(repo, url, range, &names)?;
            let name = format!("refs/tags/{tag}");
            peel(repo, url, &name)?.map(|(id, object)| (id, object, tag))
        }
        Target::Name(name) => peel(repo, url, name)?.map(|(id, object)| (id, object, name.clone())),
        Target::Tag(_) | Target::Branch(_) => {
            let name = target.full_name().unwrap_or_default();
            peel(repo, url, &name)?.map(|(id, object)| (id, object, target.label().to_owned()))
        }
    };
    let (commit, tag, label) = found.ok_or_else(|| reference::missing(url, target, &names(repo)))?;
    Ok(Resolved { commit, tag, label })
}

/// The tag with the highest version; of equal versions the one with the newest commit.
fn newest_tag(
    repo: &gix::Repository,
    url: &str,
    range: &str,
    names: &[String],
) -> Result<String, SourceError> {
    let mut tags = choose_tags(url, range, names)?;
    if tags.len() > 1 {
        let mut newest: Option<(i64, String)> = None;
        for tag in tags {
            let time = peel(repo, url, &format!("refs/tags/{tag}"))?
                .and_then(|(id, _)| describe(repo, id, None).ok())
                .map_or(0, |commit| commit.time);
            if newest.as_ref().is_none_or(|(best, _)| time > *best) {
                newest = Some((time, tag));
            }
        }
        return Ok(newest.map(|(_, tag)| tag).unwrap_or_default());
    }
    Ok(tags.pop().unwrap_or_default())
}

/// The tags, at least one, that have the highest version in the range.
pub(crate) fn choose_tags(url: &str, range: &str, names: &[String]) -> Result<Vec<String>, SourceError> {
    if names.is_empty() {
        return Err(reference::empty(url));
    }
    let tags: Vec<&str> = names
        .iter()
        .filter_map(|name| name.strip_prefix("refs/tags/"))
        .collect();
    let chosen = versions::highest(range, tags.iter().copied())
        .map_err(|error| SourceError::stalled(reason::GIT_OPERATION_FAILED, error))?;
    if chosen.is_empty() {
        let mut shown: Vec<&str> = tags.iter().rev().copied().take(5).collect();
        shown.sort_unstable();
        let have = match (shown.as_slice(), tags.len() > shown.len()) {
            ([], _) => "it has no tags".to_owned(),
            (shown, false) => format!("its tags are '{}'", shown.join("', '")),
            (shown, true) => format!("among its {} tags are '{}'", tags.len(), shown.join("', '")),
        };
        return Err(SourceError::retry(
            reason::GIT_OPERATION_FAILED,
            format!(
                "repository '{url}' has no tag in the version range '{range}': {have}; push a tag or change \
                 spec.ref.semver"
            ),
        ));
    }
    Ok(chosen.into_iter().map(str::to_owned).collect())
}

/// The error for a commit that is not there.
pub(crate) fn missing_commit(url: &str, target: &Target) -> SourceError {
    SourceError::retry(
        reason::GIT_OPERATION_FAILED,
        format!(
            "repository '{url}' has no {}: it was never pushed, or a force push removed it; push it again or \
             change spec.ref.commit",
            target.describe()
        ),
    )
}

/// What is worth knowing of a commit.
pub(crate) fn describe(
    repo: &gix::Repository,
    id: ObjectId,
    tag: Option<ObjectId>,
) -> Result<Commit, SourceError> {
    let broken = |error: gix::Error| {
        SourceError::retry(
            reason::INVALID_GIT_OBJECT,
            format!("cannot read commit {id}: {error}"),
        )
    };
    let commit = repo.find_commit(id).map_err(broken)?;
    let decoded = commit.decode().map_err(broken)?;
    let first_line = decoded.message.lines().next().unwrap_or_default();
    let author = decoded.author().map_err(broken)?;
    Ok(Commit {
        id: id.to_string(),
        subject: first_line
            .to_str_lossy()
            .trim()
            .chars()
            .take(MAX_SUBJECT)
            .collect(),
        author: format!(
            "{} <{}>",
            author.name.trim().to_str_lossy(),
            author.email.trim().to_str_lossy()
        ),
        time: decoded.committer().map_err(broken)?.seconds(),
        tag: tag.map(|tag| tag.to_string()),
    })
}

/// The repositories that are open, by their path.
#[derive(Debug, Default)]
pub(crate) struct OpenRepos {
    repos: Mutex<rustc_hash::FxHashMap<PathBuf, Arc<Repo>>>,
}

impl OpenRepos {
    /// The repository at a path, opened once.
    pub(crate) fn get(&self, path: &Path) -> Result<Arc<Repo>, SourceError> {
        let mut repos = self.repos.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(repo) = repos.get(path)
            && repo.is_current()
        {
            return Ok(Arc::clone(repo));
        }
        repos.remove(path);
        let repo = Arc::new(Repo::open(path)?);
        repos.insert(path.to_owned(), Arc::clone(&repo));
        Ok(repo)
    }

    /// Forgets a repository, so that it is opened anew.
    pub(crate) fn forget(&self, path: &Path) {
        self.repos
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(path);
    }
}
