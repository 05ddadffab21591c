//! Revisions for the controllers' port: Git in process, after the rewrites of the mirrors file and of the command.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fluvial_cli::{LocalRepository, Rewrite, SourceOptions};
use fluvial_ports::{
    BoxFuture, BoxStream, BucketFound, BucketRequest, ChartFound, ChartRequest, CommitFacts, FetchRequest,
    Fetched, ImageFound, ImageRequest, IndexFound, IndexRequest, Revision, SourceError, SourceErrorClass,
    Sources,
};
use fluvial_source::Class;
use fluvial_source::bucket::BucketSource;
use fluvial_source::credentials::cloud::Clouds;
use fluvial_source::git::{
    self, Credentials, GitReference, GitRequest, GitSource, Location, Verify, VerifyMode,
};
use fluvial_source::helm::{HelmLimits, HelmSource};
use fluvial_source::limits::Limits;
use fluvial_source::mirrors::Mirrors;
use fluvial_source::oci::OciSource;
use fluvial_tree::{Tree, TreePath};
use futures::StreamExt;
use jiff::Timestamp;
use serde_json::Value;

use crate::folders;
use crate::logins::{Logins, service_account};

/// What all ways to sources share: one cache.
#[derive(Default)]
pub(crate) struct Shared {
    git: Mutex<Option<GitSource>>,
    charts: Mutex<Option<(HelmSource, OciSource)>>,
    buckets: Mutex<Option<BucketSource>>,
    logins: Arc<Logins>,
}

impl Shared {
    /// The cache of repositories, in a folder of the first caller's choice.
    pub(crate) fn git(&self, data: Option<&Path>, folders: &folders::Folders) -> Result<GitSource, String> {
        let mut git = self.git.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(git) = &*git {
            return Ok(git.clone());
        }
        let cache = folders.of(data, "sources")?;
        Ok(git.insert(GitSource::new(cache, Limits::default())).clone())
    }

    /// The cache of chart repositories, in a folder of the first caller's choice, and registries.
    fn charts(
        &self,
        data: Option<&Path>,
        root: Option<&Path>,
        folders: &folders::Folders,
    ) -> Result<(HelmSource, OciSource), String> {
        let mut charts = self.charts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(charts) = &*charts {
            return Ok(charts.clone());
        }
        let helm = HelmSource::new(folders.of(data, "charts")?, HelmLimits::default());
        let mut oci = OciSource::new(std::env::vars().collect(), helm.clone(), Clouds::default());
        if let Some(path) = root {
            let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let data = std::fs::read(path).map_err(|error| fail(&error))?;
            oci = oci.trusting(&data).map_err(|error| fail(&error))?;
        }
        Ok(charts.insert((helm, oci)).clone())
    }

    /// Registries alone.
    pub(crate) fn registries(&self, folders: &folders::Folders) -> Result<OciSource, String> {
        Ok(self.charts(None, None, folders)?.1)
    }

    /// Object stores.
    fn buckets(&self) -> BucketSource {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || BucketSource::new(std::env::vars().collect(), Clouds::default(), Limits::default());
        buckets.get_or_insert_with(made).clone()
    }

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
        let git = self.git(options.data.as_deref(), folders)?;
        let (helm, oci) = self.charts(options.data.as_deref(), options.trusted_root.as_deref(), folders)?;
        Ok(Arc::new(Ways {
            git,
            helm,
            oci,
            buckets: self.buckets(),
            logins: Arc::clone(&self.logins),
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
        folder: absolute
            .strip_prefix(root)
            .map(|folder| folder.to_string_lossy().into_owned())
            .unwrap_or_default(),
        branch: git::head_branch(root),
    })
}

/// Where a URL leads after the rewrites.
struct Place {
    /// URL or path.
    url: String,
    /// The folder there that is taken for the whole; empty for the root.
    folder: String,
    /// The place for people, if it is another than the URL says.
    told: Option<String>,
}

/// All ways to sources.
struct Ways {
    git: GitSource,
    helm: HelmSource,
    oci: OciSource,
    buckets: BucketSource,
    logins: Arc<Logins>,
    mirrors: Mirrors,
    rewrites: Vec<Rewrite>,
    dirty: bool,
}

impl Ways {
    /// Where to go for a URL.
    fn place(&self, url: &str) -> Place {
        if let Some(rewrite) = self.rewrites.iter().find(|rewrite| rewrite.url == url) {
            let path = match rewrite.folder.as_str() {
                "" => rewrite.path.clone(),
                folder => rewrite.path.join(folder),
            };
            return Place {
                url: rewrite.path.to_string_lossy().into_owned(),
                folder: rewrite.folder.clone(),
                told: Some(path.display().to_string()),
            };
        }
        match self.mirrors.rewrite(url) {
            Some(rewritten) => Place {
                told: Some(git::redact(&rewritten.url)),
                url: rewritten.url,
                folder: String::new(),
            },
            None => Place {
                url: url.to_owned(),
                folder: String::new(),
                told: None,
            },
        }
    }

    async fn request(&self, request: FetchRequest, url: String) -> Result<GitRequest, SourceError> {
        let credentials = if local(&url).is_some() {
            Credentials::default()
        } else {
            self.logins.credentials(&request, &url).await.map_err(error)?
        };
        let verify = match request.verify {
            Some((mode, keys)) => Some(Verify {
                mode: VerifyMode::parse(&mode).ok_or_else(|| SourceError {
                    class: SourceErrorClass::Stalled,
                    reason: "InvalidVerificationMode".to_owned(),
                    message: format!("spec.verify.mode '{mode}' is not one of HEAD, Tag, TagAndHEAD"),
                })?,
                keys,
            }),
            None => None,
        };
        Ok(GitRequest {
            verify,
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

/// A folder of a revision, taken for the whole.
fn folder_of(tree: &Tree, folder: &str, revision: &str) -> Result<Tree, SourceError> {
    if folder.is_empty() {
        return Ok(tree.clone());
    }
    let missing = |why: String| SourceError {
        class: SourceErrorClass::Retry,
        reason: "GitOperationFailed".to_owned(),
        message: format!("{why} in {revision}; commit it, or use --dirty"),
    };
    let path = TreePath::parse(folder).map_err(|error| missing(format!("folder '{folder}': {error}")))?;
    if !tree.is_folder(&path) {
        return Err(missing(format!("there is no folder '{folder}'")));
    }
    Ok(tree.subtree(&path))
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

impl Sources for Ways {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        Box::pin(async move {
            let place = self.place(&request.url);
            // An object in a cluster may not name files of the machine that this runs on; only rewrites lead there.
            if !request.object.is_empty() && place.told.is_none() && local(&place.url).is_some() {
                return Err(SourceError {
                    class: SourceErrorClass::Stalled,
                    reason: "URLInvalid".to_owned(),
                    message: "spec.url is a path of this machine; write an http, https or ssh URL".to_owned(),
                });
            }
            let request = self.request(request, place.url).await?;
            match self.git.fetch(&request).await.map_err(error)? {
                git::Fetched::Unchanged => Ok(Fetched::Unchanged),
                git::Fetched::Changed(revision) => Ok(Fetched::Changed(Box::new(Revision {
                    tree: folder_of(&revision.tree, &place.folder, &revision.revision)?,
                    revision: revision.revision,
                    commit: CommitFacts {
                        id: revision.commit.id,
                        subject: revision.commit.subject,
                        author: revision.commit.author,
                        time: Timestamp::from_second(revision.commit.time).ok(),
                    },
                    rewritten: place.told,
                    verified: revision.verified,
                }))),
            }
        })
    }

    fn filter(&self, tree: &Tree, ignore: Option<&str>) -> Result<Tree, SourceError> {
        Ok(fluvial_source::ignore::filter(tree, ignore))
    }

    fn changes(&self, url: &str) -> Option<BoxStream<'static, ()>> {
        let path = local(&self.place(url).url)?;
        // What cannot be watched is still looked at in its interval, and the fetch says what is wrong.
        let watch = fluvial_source::watch::local(&path, self.dirty).ok()?;
        let changes = futures::stream::unfold(watch, |mut watch| async move {
            watch.changed().await.then_some(((), watch))
        });
        Some(changes.boxed())
    }

    fn index(&self, request: IndexRequest) -> BoxFuture<'_, Result<IndexFound, SourceError>> {
        Box::pin(async move { self.helm.index(&request, &self.mirrors).await.map_err(error) })
    }

    fn chart(&self, request: ChartRequest) -> BoxFuture<'_, Result<ChartFound, SourceError>> {
        Box::pin(async move {
            let found = if request.repository.starts_with("oci://") {
                self.oci.chart(&request, &self.mirrors).await
            } else {
                self.helm.chart(&request, &self.mirrors).await
            };
            found.map_err(error)
        })
    }

    fn image(&self, request: ImageRequest) -> BoxFuture<'_, Result<ImageFound, SourceError>> {
        Box::pin(async move {
            let account = request.access.account.as_ref().map(service_account);
            let found = self.oci.image(&request, account.as_ref(), &self.mirrors).await;
            found.map_err(error)
        })
    }

    fn bucket(&self, request: BucketRequest) -> BoxFuture<'_, Result<BucketFound, SourceError>> {
        Box::pin(async move {
            let account = request.access.account.as_ref().map(service_account);
            let found = self
                .buckets
                .files(&request, account.as_ref(), &self.mirrors)
                .await;
            found.map_err(error)
        })
    }
}
