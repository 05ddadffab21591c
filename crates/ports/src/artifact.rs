//! The artifact store: what third parties download, with the layout and digests that they expect.

use fluvial_tree::Tree;
use futures::future::BoxFuture;

use crate::registry::Content;

/// Whose artifact it is, and under which file name it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactName {
    /// Kind of the owner.
    pub kind: String,
    /// Namespace of the owner.
    pub namespace: String,
    /// Name of the owner.
    pub name: String,
    /// File name.
    pub file: String,
}

/// A stored artifact, as `status.artifact` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Artifact {
    /// Path below the store's root.
    pub path: String,
    /// Where it can be downloaded.
    pub url: String,
    /// Revision of the source.
    pub revision: String,
    /// `sha256:…` of the file.
    pub digest: String,
    /// Size of the file in bytes.
    pub size: u64,
}

/// The store failed or has no such artifact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ArtifactError {
    /// Reason word for the condition.
    pub reason: String,
    /// Whether the artifact is missing (and not just the way to it).
    pub missing: bool,
    /// Text.
    pub message: String,
}

/// Stores and reads artifacts.
pub trait Artifacts: Send + Sync + 'static {
    /// Packs and stores a tree; calling it twice with equal input is free of harm.
    fn put<'a>(
        &'a self,
        name: &'a ArtifactName,
        revision: &'a str,
        tree: &'a Tree,
    ) -> BoxFuture<'a, Result<Artifact, ArtifactError>>;

    /// Stores bytes as they are; calling it twice with equal input is free of harm.
    fn put_content<'a>(
        &'a self,
        name: &'a ArtifactName,
        revision: &'a str,
        content: &'a Content,
    ) -> BoxFuture<'a, Result<Artifact, ArtifactError>> {
        let message = format!(
            "this store keeps trees only, not '{}' of revision {revision}",
            name.file
        );
        let (reason, missing) = ("ArchiveOperationFailed".to_owned(), false);
        let _ = content;
        Box::pin(async move {
            Err(ArtifactError {
                reason,
                missing,
                message,
            })
        })
    }

    /// The bytes of an artifact, from the store or from its URL, after checking its digest.
    fn bytes<'a>(&'a self, artifact: &'a Artifact) -> BoxFuture<'a, Result<Vec<u8>, ArtifactError>> {
        Box::pin(async move {
            Err(ArtifactError {
                reason: "ReadOperationFailed".to_owned(),
                missing: false,
                message: format!(
                    "this store reads trees only, not the bytes of '{}'",
                    artifact.path
                ),
            })
        })
    }

    /// Whether the stored file is there and has this digest.
    fn verify<'a>(&'a self, artifact: &'a Artifact) -> BoxFuture<'a, bool>;

    /// Reads an artifact back, from the store or from its URL, after checking its digest.
    fn load<'a>(&'a self, artifact: &'a Artifact) -> BoxFuture<'a, Result<Tree, ArtifactError>>;

    /// Where an artifact of this path is served now.
    fn url(&self, path: &str) -> String;

    /// Removes old files of the owner of `current`; names what was removed.
    fn collect<'a>(&'a self, current: &'a Artifact) -> BoxFuture<'a, Result<Vec<String>, ArtifactError>>;

    /// Removes all files of an owner.
    fn remove<'a>(
        &'a self,
        kind: &'a str,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<(), ArtifactError>>;
}
