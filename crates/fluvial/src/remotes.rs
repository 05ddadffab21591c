//! Bases and files that kustomizations name by address, fetched in process.

use std::sync::Arc;
use std::time::Duration;

use fluvial_kustomize::{FileError, RemoteResolver, RepoSpec};
use fluvial_source::SourceError;
use fluvial_source::git::{Fetched, GitReference, GitRequest, GitSource};
use fluvial_tree::Tree;
use tokio::runtime::Handle;

use crate::folders::Folders;
use crate::sources::Shared;

/// Files above this are no manifests.
const LARGEST: usize = 64 << 20;
/// How long a file may take.
const DOWNLOAD: Duration = Duration::from_secs(60);

/// Fetches; called from threads that may wait.
pub(crate) struct Remotes {
    sources: Arc<Shared>,
    folders: Arc<Folders>,
    runtime: Handle,
}

impl Remotes {
    /// With a shared cache of repositories, whose folder is made when something is fetched.
    pub(crate) fn new(sources: Arc<Shared>, folders: Arc<Folders>) -> Self {
        Remotes {
            sources,
            folders,
            runtime: Handle::current(),
        }
    }

    fn fetch(git: &GitSource, spec: &RepoSpec, reference: GitReference) -> Result<Tree, SourceError> {
        let request = GitRequest {
            url: spec.clone_url(),
            reference,
            recurse_submodules: spec.submodules,
            timeout: Some(spec.timeout),
            ..GitRequest::default()
        };
        match git.fetch_blocking(&request)? {
            Fetched::Changed(revision) => Ok(revision.tree),
            // Nothing was said to be known.
            Fetched::Unchanged => Ok(Tree::default()),
        }
    }
}

/// What a name may mean, the likeliest first.
fn references(name: &str) -> Vec<GitReference> {
    let named = |name: String| GitReference {
        name: Some(name),
        ..GitReference::default()
    };
    if name.is_empty() {
        return vec![named("HEAD".to_owned())];
    }
    let commit = GitReference {
        commit: Some(name.to_owned()),
        ..GitReference::default()
    };
    if name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return vec![commit];
    }
    if name.starts_with("refs/") {
        return vec![named(name.to_owned())];
    }
    vec![
        named(format!("refs/heads/{name}")),
        named(format!("refs/tags/{name}")),
    ]
}

impl RemoteResolver for Remotes {
    fn repository(&self, spec: &RepoSpec) -> Result<Tree, String> {
        let git = self.sources.git(None, &self.folders)?;
        let mut first = None;
        for reference in references(&spec.reference) {
            match Self::fetch(&git, spec, reference) {
                Ok(tree) => return Ok(tree),
                Err(error) => first = first.or(Some(error.message)),
            }
        }
        Err(first.unwrap_or_else(|| format!("{} cannot be fetched", spec.raw)))
    }

    fn file(&self, url: &str) -> Result<Vec<u8>, FileError> {
        let failed = |error: reqwest::Error| FileError::Failed(format!("{url}: {error}"));
        self.runtime.block_on(async {
            let client = reqwest::Client::builder()
                .timeout(DOWNLOAD)
                .build()
                .map_err(failed)?;
            let mut response = client.get(url).send().await.map_err(failed)?;
            if !response.status().is_success() {
                return Err(FileError::Status(response.status().as_u16()));
            }
            let mut data = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(failed)? {
                data.extend_from_slice(&chunk);
                if data.len() > LARGEST {
                    return Err(FileError::Failed(format!("{url} is too large for a manifest")));
                }
            }
            Ok(data)
        })
    }
}
