//! Revisions for the controllers' port: Git in process, after the rewrites of the mirrors file and of the command.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fluvial_cli::{LocalRepository, SourceOptions};
use fluvial_ports::{
    BoxFuture, BoxStream, CommitFacts, FetchRequest, Fetched, Revision, SourceError, SourceErrorClass,
    Sources,
};
use fluvial_source::Class;
use fluvial_source::git::{self, Credentials, GitReference, GitRequest, GitSource, Location};
use fluvial_source::limits::Limits;
use fluvial_source::mirrors::Mirrors;
use fluvial_tree::Tree;
use futures::StreamExt;
use jiff::Timestamp;
use serde_json::Value;

use crate::folders;

/// What all ways to sources share: one cache.
#[derive(Default)]
pub(crate) struct Shared {
    git: Mutex<Option<GitSource>>,
}

impl Shared {
    /// A way with these options. The first call chooses the cache's folder.
    pub(crate) fn with(
        &self,
        options: &SourceOptions,
        folders: &folders::Folders,
    ) -> Result<Arc<dyn Sources>, String> {
        let mirrors = match &options.mirrors {
            Some(path) => read_mirrors(path)?,
            None => Mirrors::default(),
        };
        let mut git = self.git.lock().unwrap_or_else(PoisonError::into_inner);
        let git = match &*git {
            Some(git) => git.clone(),
            None => {
                let cache = folders.of(options.data.as_deref(), "sources")?;
                git.insert(GitSource::new(cache, Limits::default())).clone()
            }
        };
        Ok(Arc::new(Git {
            git,
            mirrors,
            rewrites: options.rewrites.clone(),
            dirty: options.dirty,
        }))
    }
}

/// The rules of a file: a list, or a list under `mirrors`.
fn read_mirrors(path: &Path) -> Result<Mirrors, String> {
    let fail = |error: &dyn std::fmt::Display| format!("mirrors file {}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| fail(&error))?;
    let mut value = fluvial_yaml::yaml_to_json(&text, true).map_err(|error| fail(&error))?;
    if let Value::Object(fields) = &mut value
        && fields.len() == 1
        && let Some(list) = fields.remove("mirrors")
    {
        value = list;
    }
    let folder = std::path::absolute(path)
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned))
        .unwrap_or_default();
    Mirrors::from_value(&value, &folder).map_err(|error| fail(&error))
}

/// The repository that holds a path.
pub(crate) fn repository(path: &Path) -> Result<LocalRepository, String> {
    let absolute = std::fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let root = absolute
        .ancestors()
        .find(|folder| {
            folder.join(".git").exists() || (folder.join("HEAD").is_file() && folder.join("objects").is_dir())
        })
        .ok_or_else(|| {
            format!(
                "{} is no Git repository; run git init there and commit, or name another folder",
                path.display()
            )
        })?;
    Ok(LocalRepository {
        path: root.to_owned(),
        branch: git::head_branch(root),
    })
}

struct Git {
    git: GitSource,
    mirrors: Mirrors,
    rewrites: Vec<(String, String)>,
    dirty: bool,
}

impl Git {
    /// Where to go, and what to say of it if that is somewhere else.
    fn rewritten(&self, url: &str) -> (String, Option<String>) {
        if let Some((_, to)) = self.rewrites.iter().find(|(from, _)| from == url) {
            return (
                to.clone(),
                Some(format!(
                    "'{}' is taken from '{}'",
                    git::redact(url),
                    git::redact(to)
                )),
            );
        }
        match self.mirrors.rewrite(url) {
            Some(rewritten) => {
                let told = rewritten.describe(url);
                (rewritten.url, Some(told))
            }
            None => (url.to_owned(), None),
        }
    }

    fn request(&self, request: FetchRequest, url: String) -> Result<GitRequest, SourceError> {
        let mut credentials = match &request.credentials {
            Some(data) => Credentials::from_secret(data).map_err(error)?,
            None => Credentials::default(),
        };
        if let Some(data) = &request.proxy {
            credentials = credentials.with_proxy(data).map_err(error)?;
        }
        if request.verify.is_some() {
            return Err(SourceError {
                class: SourceErrorClass::Stalled,
                reason: "VerificationError".to_owned(),
                message: "signatures of commits cannot be verified yet; remove spec.verify to go on without"
                    .to_owned(),
            });
        }
        Ok(GitRequest {
            dirty: self.dirty && local(&url).is_some(),
            url,
            reference: GitReference {
                branch: request.reference.branch,
                tag: request.reference.tag,
                semver: request.reference.semver,
                name: request.reference.name,
                commit: request.reference.commit,
            },
            credentials,
            sparse_checkout: request.sparse_checkout,
            recurse_submodules: request.recurse_submodules,
            timeout: Some(request.timeout),
            last_revision: request.last_revision,
        })
    }
}

/// The path of a URL that is one.
fn local(url: &str) -> Option<PathBuf> {
    match Location::parse(url) {
        Ok(Location::Local(path)) => Some(path),
        _ => None,
    }
}

fn error(error: fluvial_source::SourceError) -> SourceError {
    SourceError {
        class: match error.class {
            Class::Stalled => SourceErrorClass::Stalled,
            Class::Waiting => SourceErrorClass::Waiting,
            Class::Retry => SourceErrorClass::Retry,
        },
        reason: error.reason.to_owned(),
        message: error.message,
    }
}

impl Sources for Git {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        Box::pin(async move {
            let (url, rewritten) = self.rewritten(&request.url);
            let request = self.request(request, url)?;
            match self.git.fetch(&request).await.map_err(error)? {
                git::Fetched::Unchanged => Ok(Fetched::Unchanged),
                git::Fetched::Changed(revision) => Ok(Fetched::Changed(Box::new(Revision {
                    revision: revision.revision,
                    tree: revision.tree,
                    commit: CommitFacts {
                        id: revision.commit.id,
                        subject: revision.commit.subject,
                        author: revision.commit.author,
                        time: Timestamp::from_second(revision.commit.time).ok(),
                    },
                    rewritten,
                    verified: None,
                }))),
            }
        })
    }

    fn filter(&self, tree: &Tree, ignore: Option<&str>) -> Result<Tree, SourceError> {
        Ok(fluvial_source::ignore::filter(tree, ignore))
    }

    fn changes(&self, url: &str) -> Option<BoxStream<'static, ()>> {
        let path = local(&self.rewritten(url).0)?;
        // What cannot be watched is still looked at in its interval, and the fetch says what is wrong.
        let watch = fluvial_source::watch::local(&path, self.dirty).ok()?;
        let changes = futures::stream::unfold(watch, |mut watch| async move {
            watch.changed().await.then_some(((), watch))
        });
        Some(changes.boxed())
    }
}
