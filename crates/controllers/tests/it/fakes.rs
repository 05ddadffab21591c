//! Repositories and an artifact store in memory.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex};

use fluvial_controllers::ports::{
    Artifact, ArtifactError, ArtifactName, Artifacts, BoxFuture, BoxStream, BucketFound, BucketRequest,
    Clock, Cluster, ClusterError, CommitFacts, Content, ErrorKind, FetchRequest, Fetched, Remote, Remotes,
    Revision, SourceError, SourceErrorClass, Sources,
};
use fluvial_tree::{File, Tree, TreeBuilder};
use futures::StreamExt;
use tokio::sync::broadcast;

/// The wall clock.
pub struct Wall;

impl Clock for Wall {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn random(&self) -> f64 {
        0.5
    }

    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

/// A tree from names and contents.
pub fn tree(files: &[(&str, &str)]) -> Tree {
    let mut builder = TreeBuilder::default();
    for (path, text) in files {
        builder
            .file(path, File::new(text.as_bytes(), false))
            .expect("a valid path");
    }
    builder.build()
}

/// The files of a packed chart.
pub fn unpack(packed: impl Read) -> Tree {
    let mut builder = TreeBuilder::default();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).unwrap();
        builder.file(&name, File::new(data, false)).unwrap();
    }
    builder.build()
}

struct Repository {
    commits: u32,
    tree: Tree,
    changed: broadcast::Sender<()>,
}

/// Repositories by URL; each commit is reported to those who watch.
#[derive(Default)]
pub struct Repositories(Mutex<BTreeMap<String, Repository>>);

impl Repositories {
    /// Makes a commit; gives the revision.
    pub fn commit(&self, url: &str, tree: Tree) -> String {
        let mut repositories = self.0.lock().unwrap();
        let repository = repositories.entry(url.to_owned()).or_insert_with(|| Repository {
            commits: 0,
            tree: Tree::default(),
            changed: broadcast::channel(16).0,
        });
        repository.commits += 1;
        repository.tree = tree;
        let _ = repository.changed.send(());
        format!("main@sha1:{:040x}", repository.commits)
    }

    /// Takes a repository away.
    pub fn remove(&self, url: &str) {
        self.0.lock().unwrap().remove(url);
    }
}

impl Sources for Repositories {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        let repositories = self.0.lock().unwrap();
        let Some(repository) = repositories.get(&request.url) else {
            let error = SourceError {
                class: SourceErrorClass::Retry,
                reason: "GitOperationFailed".to_owned(),
                message: format!("'{}' is not there", request.url),
            };
            return Box::pin(async move { Err(error) });
        };
        let id = format!("{:040x}", repository.commits);
        let revision = Revision {
            revision: format!("main@sha1:{id}"),
            tree: repository.tree.clone(),
            commit: CommitFacts {
                id,
                subject: format!("Commit {}", repository.commits),
                ..CommitFacts::default()
            },
            rewritten: None,
            verified: None,
        };
        let known = request.last_revision.as_deref() == Some(&revision.revision);
        Box::pin(async move {
            Ok(if known {
                Fetched::Unchanged
            } else {
                Fetched::Changed(Box::new(revision))
            })
        })
    }

    fn filter(&self, tree: &Tree, _ignore: Option<&str>) -> Result<Tree, SourceError> {
        Ok(tree.clone())
    }

    fn changes(&self, url: &str) -> Option<BoxStream<'static, ()>> {
        let receiver = self.0.lock().unwrap().get(url)?.changed.subscribe();
        let stream = futures::stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(()) | Err(broadcast::error::RecvError::Lagged(_)) => Some(((), receiver)),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        });
        Some(stream.boxed())
    }

    /// Buckets are repositories too, by endpoint and name.
    fn bucket(&self, request: BucketRequest) -> BoxFuture<'_, Result<BucketFound, SourceError>> {
        let repositories = self.0.lock().unwrap();
        let found = repositories
            .get(&format!("{}/{}", request.endpoint, request.bucket))
            .map(|bucket| {
                let revision = bucket.tree.digest().to_string();
                BucketFound {
                    files: (request.last_revision.as_deref() != Some(&revision)).then(|| bucket.tree.clone()),
                    revision,
                    rewritten: None,
                }
            });
        Box::pin(async move {
            found.ok_or_else(|| SourceError {
                class: SourceErrorClass::Retry,
                reason: "BucketOperationFailed".to_owned(),
                message: format!("bucket '{}' not found", request.bucket),
            })
        })
    }
}

/// Artifacts by path.
#[derive(Default)]
pub struct Shelf(Mutex<BTreeMap<String, (Artifact, Tree)>>);

impl Shelf {
    /// Paths of what is stored.
    pub fn paths(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    /// Loses everything.
    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

fn folder(kind: &str, namespace: &str, name: &str) -> String {
    format!("{}/{namespace}/{name}/", kind.to_lowercase())
}

impl Artifacts for Shelf {
    fn put<'a>(
        &'a self,
        name: &'a ArtifactName,
        revision: &'a str,
        tree: &'a Tree,
    ) -> BoxFuture<'a, Result<Artifact, ArtifactError>> {
        let path = format!("{}{}", folder(&name.kind, &name.namespace, &name.name), name.file);
        let artifact = Artifact {
            url: self.url(&path),
            path: path.clone(),
            revision: revision.to_owned(),
            digest: format!("sha256:{}", tree.digest().to_hex()),
            size: tree.len() as u64,
        };
        let stored = (artifact.clone(), tree.clone());
        self.0.lock().unwrap().insert(path, stored);
        Box::pin(async move { Ok(artifact) })
    }

    fn put_content<'a>(
        &'a self,
        name: &'a ArtifactName,
        revision: &'a str,
        content: &'a Content,
    ) -> BoxFuture<'a, Result<Artifact, ArtifactError>> {
        let bytes = match content {
            Content::Bytes(bytes) => bytes.to_vec(),
            Content::File(path) => std::fs::read(path).expect("the file is there"),
        };
        let path = format!("{}{}", folder(&name.kind, &name.namespace, &name.name), name.file);
        let artifact = Artifact {
            url: self.url(&path),
            path: path.clone(),
            revision: revision.to_owned(),
            digest: format!("sha256:{}", fluvial_tree::Digest::of(&bytes).to_hex()),
            size: bytes.len() as u64,
        };
        let stored = (artifact.clone(), unpack(&*bytes));
        self.0.lock().unwrap().insert(path, stored);
        Box::pin(async move { Ok(artifact) })
    }

    fn verify<'a>(&'a self, artifact: &'a Artifact) -> BoxFuture<'a, bool> {
        let shelf = self.0.lock().unwrap();
        let found = shelf
            .get(&artifact.path)
            .is_some_and(|(stored, _)| stored.digest == artifact.digest);
        Box::pin(async move { found })
    }

    fn load<'a>(&'a self, artifact: &'a Artifact) -> BoxFuture<'a, Result<Tree, ArtifactError>> {
        let found = self
            .0
            .lock()
            .unwrap()
            .get(&artifact.path)
            .map(|(_, tree)| tree.clone());
        Box::pin(async move {
            found.ok_or_else(|| ArtifactError {
                reason: "ArtifactFailed".to_owned(),
                missing: true,
                message: format!("'{}' is not stored", artifact.path),
            })
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://artifacts.test/{path}")
    }

    fn collect<'a>(&'a self, current: &'a Artifact) -> BoxFuture<'a, Result<Vec<String>, ArtifactError>> {
        let folder = current.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut shelf = self.0.lock().unwrap();
        let old: Vec<String> = shelf
            .keys()
            .filter(|path| path.starts_with(folder) && **path != current.path)
            .cloned()
            .collect();
        for path in &old {
            shelf.remove(path);
        }
        Box::pin(async move { Ok(old) })
    }

    fn remove<'a>(
        &'a self,
        kind: &'a str,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<(), ArtifactError>> {
        let folder = folder(kind, namespace, name);
        self.0
            .lock()
            .unwrap()
            .retain(|path, _| !path.starts_with(&folder));
        Box::pin(async { Ok(()) })
    }
}

/// Shared fakes.
#[derive(Clone, Default)]
pub struct Fakes {
    /// Repositories.
    pub repositories: Arc<Repositories>,
    /// Artifacts.
    pub shelf: Arc<Shelf>,
    /// Other clusters.
    pub remotes: Arc<Others>,
}

/// Other clusters by what their kubeconfigs hold.
#[derive(Default)]
pub struct Others(pub Mutex<BTreeMap<Vec<u8>, Arc<dyn Cluster>>>);

impl Remotes for Others {
    fn cluster<'a>(&'a self, remote: &'a Remote) -> BoxFuture<'a, Result<Arc<dyn Cluster>, ClusterError>> {
        let key = match remote {
            Remote::Kubeconfig(data) => data.to_vec(),
            Remote::Token { address, token, .. } => format!("{address} {}", !token.is_empty()).into_bytes(),
        };
        let found = self.0.lock().unwrap().get(&key).cloned();
        let missing = || ClusterError::new(ErrorKind::Unreachable, "nobody answers there");
        Box::pin(async move { found.ok_or_else(missing) })
    }
}
