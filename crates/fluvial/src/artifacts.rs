//! Artifacts for the controllers' port: kept in a folder of this process, served under its address, and fetched from
//! whoever made them if that was another process.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use fluvial_controllers::Aside;
use fluvial_ports::{Artifact, ArtifactError, ArtifactName, Artifacts, BoxFuture, Content};
use fluvial_source::SourceError;
use fluvial_source::artifact::{self, Owner, Packed, Store};
use fluvial_source::limits::Limits;
use fluvial_tree::Tree;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// Older artifacts of an owner go after this time,
const TTL: Duration = Duration::from_secs(60);
/// unless they are among the newest.
const RECORDS: usize = 2;
/// How long a download may take.
const DOWNLOAD: Duration = Duration::from_secs(60);

/// The store behind the controllers' port.
pub(crate) struct Stored {
    store: Store,
    /// `http://HOST:PORT`, as others reach it.
    address: String,
    aside: Aside,
}

impl Stored {
    /// A store in a folder, served at an address.
    pub(crate) fn open(folder: PathBuf, address: String, aside: Aside) -> Result<Self, String> {
        let store = Store::open(folder).map_err(|error| error.message)?;
        if !store.is_empty() {
            // What it removes is fetched again at the first look at its source.
            let store = store.clone();
            std::thread::spawn(move || match store.check() {
                0 => tracing::debug!("all stored artifacts are intact"),
                damaged => {
                    tracing::warn!(
                        damaged,
                        "stored artifacts were damaged; they were removed and are made anew"
                    );
                }
            });
        }
        Ok(Stored {
            store,
            address,
            aside,
        })
    }

    fn described(&self, stored: artifact::Stored, revision: &str) -> Artifact {
        Artifact {
            url: self.url(&stored.path),
            path: stored.path,
            revision: revision.to_owned(),
            digest: stored.digest,
            size: stored.size,
        }
    }

    /// The bytes of an artifact of this store or of another.
    async fn read(&self, artifact: &Artifact) -> Result<Vec<u8>, ArtifactError> {
        if self.verify(artifact).await {
            let (store, path, digest) = (self.store.clone(), artifact.path.clone(), artifact.digest.clone());
            return aside(&self.aside, move || store.get(&path, &digest)).await;
        }
        if artifact.url == self.url(&artifact.path) {
            return Err(ArtifactError {
                reason: "ArtifactFailed".to_owned(),
                missing: true,
                message: format!("{} is not in the store", artifact.path),
            });
        }
        download(artifact).await
    }

    /// The files over HTTP.
    pub(crate) fn router(&self) -> axum::Router {
        artifact::serve(self.store.clone())
    }
}

/// Downloads an artifact, checks it, and reads it.
pub(crate) async fn fetch(artifact: &Artifact) -> Result<Tree, ArtifactError> {
    let data = download(artifact).await?;
    aside(&Aside::default(), move || {
        artifact::unpack(data.as_slice(), Limits::default())
    })
    .await
}

async fn download(artifact: &Artifact) -> Result<Vec<u8>, ArtifactError> {
    let fail = |error: reqwest::Error| ArtifactError {
        reason: "ArtifactFailed".to_owned(),
        missing: error.status().is_some_and(|status| status.as_u16() == 404),
        message: format!("{} cannot be downloaded: {}", artifact.url, why(&error)),
    };
    let (algorithm, _) = artifact.digest.split_once(':').unwrap_or_default();
    // Asked before anything is downloaded.
    if digest(algorithm, &[]).is_none() {
        let what = format!(
            "its digest '{}' is none that can be checked; its maker has to use sha256, sha384 or sha512",
            artifact.digest
        );
        return Err(broken(artifact, &what));
    }
    let client = reqwest::Client::builder()
        .timeout(DOWNLOAD)
        .build()
        .map_err(fail)?;
    let response = client.get(&artifact.url).send().await.map_err(fail)?;
    let mut response = response.error_for_status().map_err(fail)?;
    let told = Some(artifact.size).filter(|size| *size > 0);
    let most = Limits::default().total.min(told.unwrap_or(u64::MAX));
    let mut data = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(fail)? {
        data.extend_from_slice(&chunk);
        if data.len() as u64 > most {
            return Err(broken(
                artifact,
                &format!("it has more than the {most} bytes that it may have"),
            ));
        }
    }
    match digest(algorithm, &data) {
        Some(digest) if digest == artifact.digest => Ok(data),
        digest => {
            let digest = digest.unwrap_or_default();
            Err(broken(
                artifact,
                &format!("its digest is {digest}, not {}", artifact.digest),
            ))
        }
    }
}

/// The digest of an artifact's bytes by one of the algorithms that its maker may have chosen.
fn digest(algorithm: &str, data: &[u8]) -> Option<String> {
    let hex = match algorithm {
        "sha256" => hex(&Sha256::digest(data)),
        "sha384" => hex(&Sha384::digest(data)),
        "sha512" => hex(&Sha512::digest(data)),
        _ => return None,
    };
    Some(format!("{algorithm}:{hex}"))
}

/// A failure with what is behind it.
fn why(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    if error.is_timeout() {
        text.push_str("; check that its server answers");
    } else if error.is_body() || error.is_decode() {
        text.push_str("; the answer broke off, it is asked for again");
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn broken(artifact: &Artifact, what: &str) -> ArtifactError {
    ArtifactError {
        reason: "ArtifactFailed".to_owned(),
        missing: false,
        message: format!("{} cannot be used: {what}", artifact.url),
    }
}

fn failed(error: SourceError) -> ArtifactError {
    ArtifactError {
        reason: error.reason.to_owned(),
        missing: false,
        message: error.message,
    }
}

/// Work on files, away from the threads that must not wait.
async fn aside<T: Send + 'static>(
    aside: &Aside,
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, ArtifactError> {
    match aside.run(work).await {
        Ok(result) => result.map_err(failed),
        Err(error) => Err(ArtifactError {
            reason: "ArchiveOperationFailed".to_owned(),
            missing: false,
            message: format!("the artifact store failed: {error}"),
        }),
    }
}

fn owner(name: &ArtifactName) -> Owner {
    Owner {
        kind: name.kind.clone(),
        namespace: name.namespace.clone(),
        name: name.name.clone(),
    }
}

/// Kind, namespace, name and file of a path in the store.
fn parts(path: &str) -> Option<(Owner, &str)> {
    let mut parts = path.split('/');
    let owner = Owner {
        kind: parts.next()?.to_owned(),
        namespace: parts.next()?.to_owned(),
        name: parts.next()?.to_owned(),
    };
    Some((owner, parts.next()?))
}

impl Artifacts for Stored {
    fn put<'a>(
        &'a self,
        name: &'a ArtifactName,
        revision: &'a str,
        tree: &'a Tree,
    ) -> BoxFuture<'a, Result<Artifact, ArtifactError>> {
        Box::pin(async move {
            let owner = owner(name);
            let (store, tree, file) = (self.store.clone(), tree.clone(), name.file.clone());
            let stored = aside(&self.aside, move || {
                store.put(&owner, &file, &artifact::pack(&tree))
            })
            .await?;
            Ok(self.described(stored, revision))
        })
    }

    fn put_content<'a>(
        &'a self,
        name: &'a ArtifactName,
        revision: &'a str,
        content: &'a Content,
    ) -> BoxFuture<'a, Result<Artifact, ArtifactError>> {
        Box::pin(async move {
            let owner = owner(name);
            let (store, content, file) = (self.store.clone(), content.clone(), name.file.clone());
            let stored = aside(&self.aside, move || match &content {
                Content::Bytes(data) => store.put(&owner, &file, &Packed::new(data.to_vec())),
                Content::File(path) => store.put_file(&owner, &file, path),
            })
            .await?;
            Ok(self.described(stored, revision))
        })
    }

    fn bytes<'a>(&'a self, artifact: &'a Artifact) -> BoxFuture<'a, Result<Vec<u8>, ArtifactError>> {
        Box::pin(self.read(artifact))
    }

    fn verify<'a>(&'a self, artifact: &'a Artifact) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let (store, path, digest) = (self.store.clone(), artifact.path.clone(), artifact.digest.clone());
            aside(&self.aside, move || Ok(store.verify(&path, &digest)))
                .await
                .unwrap_or(false)
        })
    }

    fn load<'a>(&'a self, artifact: &'a Artifact) -> BoxFuture<'a, Result<Tree, ArtifactError>> {
        Box::pin(async move {
            let data = self.read(artifact).await?;
            aside(&self.aside, move || {
                artifact::unpack(data.as_slice(), Limits::default())
            })
            .await
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    fn collect<'a>(&'a self, current: &'a Artifact) -> BoxFuture<'a, Result<Vec<String>, ArtifactError>> {
        Box::pin(async move {
            let Some((owner, file)) = parts(&current.path) else {
                return Ok(vec![]);
            };
            let (store, file) = (self.store.clone(), file.to_owned());
            aside(&self.aside, move || {
                store.collect(&owner, &file, TTL, RECORDS, SystemTime::now())
            })
            .await
        })
    }

    fn remove<'a>(
        &'a self,
        kind: &'a str,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<(), ArtifactError>> {
        Box::pin(async move {
            let owner = Owner {
                kind: kind.to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            };
            let store = self.store.clone();
            aside(&self.aside, move || store.remove(&owner)).await
        })
    }
}

#[cfg(test)]
mod tests {
    use fluvial_tree::{File, TreeBuilder};

    use super::*;

    fn name() -> ArtifactName {
        ArtifactName {
            kind: "GitRepository".to_owned(),
            namespace: "ns".to_owned(),
            name: "a".to_owned(),
            file: "1234.tar.gz".to_owned(),
        }
    }

    #[tokio::test]
    async fn what_one_process_stored_another_downloads_and_checks() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let maker = Stored::open(folders[0].path().to_owned(), address, Aside::default()).unwrap();
        let router = maker.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut builder = TreeBuilder::default();
        builder.file("a/b.yaml", File::new(*b"x: 1\n", false)).unwrap();
        let tree = builder.build();
        let artifact = maker.put(&name(), "main@sha1:1234", &tree).await.unwrap();
        assert_eq!(artifact.path, "gitrepository/ns/a/1234.tar.gz");

        let other = Stored::open(
            folders[1].path().to_owned(),
            "http://other".to_owned(),
            Aside::default(),
        )
        .unwrap();
        assert_eq!(other.load(&artifact).await.unwrap().digest(), tree.digest());
        let mut changed = artifact.clone();
        changed.digest = "sha256:00".to_owned();
        let error = other.load(&changed).await.unwrap_err();
        assert!(error.message.contains("its digest is sha256:"), "{error}");
        maker.remove("GitRepository", "ns", "a").await.unwrap();
        assert!(maker.load(&artifact).await.unwrap_err().missing);
        assert!(other.load(&artifact).await.unwrap_err().missing);
    }
}
