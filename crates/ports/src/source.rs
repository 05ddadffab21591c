//! Where revisions come from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fluvial_tree::Tree;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;

use crate::cluster::Cluster;
use crate::registry::{
    BucketFound, BucketRequest, ChartFound, ChartRequest, ImageFound, ImageRequest, IndexFound, IndexRequest,
};

/// Which revision of a repository is wanted; precedence is commit, name, semver, tag, branch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reference {
    /// Branch name.
    pub branch: Option<String>,
    /// Tag name.
    pub tag: Option<String>,
    /// Range over tags.
    pub semver: Option<String>,
    /// Full reference name.
    pub name: Option<String>,
    /// Commit id.
    pub commit: Option<String>,
}

/// A service account whose identity a cloud knows.
#[derive(Clone)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its annotations, which say who it is in the cloud.
    pub annotations: BTreeMap<String, String>,
    /// Makes its tokens.
    pub cluster: Arc<dyn Cluster>,
}

/// What to fetch, and with which rights.
#[derive(Clone, Default)]
pub struct FetchRequest {
    /// Who asks, as `kind/namespace/name`: tokens are kept per object.
    pub object: String,
    /// Who vouches for the credentials, as `spec.provider` says; empty means `generic`.
    pub provider: String,
    /// Whose identity the provider is asked with; without one, that of the program.
    pub account: Option<Account>,
    /// Repository URL as the object spells it; rewriting is the adapter's.
    pub url: String,
    /// Which revision.
    pub reference: Reference,
    /// Data of the credentials' Secret, by key.
    pub credentials: Option<BTreeMap<String, Vec<u8>>>,
    /// Data of the proxy's Secret, by key.
    pub proxy: Option<BTreeMap<String, Vec<u8>>>,
    /// Signature check: mode, and data of the Secret with public keys.
    pub verify: Option<(String, BTreeMap<String, Vec<u8>>)>,
    /// Only these folders.
    pub sparse_checkout: Vec<String>,
    /// Fetch submodules too.
    pub recurse_submodules: bool,
    /// Give up after this time.
    pub timeout: Duration,
    /// The revision that the caller has already.
    pub last_revision: Option<String>,
}

/// Facts of a commit, for messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitFacts {
    /// Commit id.
    pub id: String,
    /// First line of its message.
    pub subject: String,
    /// Author's name.
    pub author: String,
    /// Author's time.
    pub time: Option<Timestamp>,
}

/// A fetched revision.
#[derive(Debug, Clone)]
pub struct Revision {
    /// As `status.artifact.revision` spells it (`main@sha1:…`).
    pub revision: String,
    /// Its files, not yet filtered by ignore rules.
    pub tree: Tree,
    /// The commit.
    pub commit: CommitFacts,
    /// Where it really came from, when a mirror rule rewrote the URL.
    pub rewritten: Option<String>,
    /// How signatures were verified, for an event.
    pub verified: Option<String>,
}

/// Result of a fetch.
#[derive(Debug, Clone)]
pub enum Fetched {
    /// The reference still resolves to `last_revision`.
    Unchanged,
    /// Another revision than `last_revision`.
    Changed(Box<Revision>),
}

/// What has to happen before a fetch can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceErrorClass {
    /// The object must change.
    Stalled,
    /// Something else must happen first; looked at again at a set time.
    Waiting,
    /// Trying again may help.
    Retry,
}

/// Why a revision cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// What has to happen.
    pub class: SourceErrorClass,
    /// Reason word for the condition.
    pub reason: String,
    /// Text for people.
    pub message: String,
}

/// Fetches revisions.
pub trait Sources: Send + Sync + 'static {
    /// Fetches what the reference stands for now.
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, SourceError>>;

    /// Leaves out what `.sourceignore` files, `spec.ignore` and the built-in rules exclude.
    fn filter(&self, tree: &Tree, ignore: Option<&str>) -> Result<Tree, SourceError>;

    /// Reports each change of a repository that can be watched (a local one); nothing for others.
    fn changes(&self, url: &str) -> Option<BoxStream<'static, ()>>;

    /// The index of a chart repository.
    fn index(&self, request: IndexRequest) -> BoxFuture<'_, Result<IndexFound, SourceError>> {
        no_way("chart repositories", &request.url)
    }

    /// A chart of a repository.
    fn chart(&self, request: ChartRequest) -> BoxFuture<'_, Result<ChartFound, SourceError>> {
        no_way("charts", &request.repository)
    }

    /// A layer of an image in an OCI registry.
    fn image(&self, request: ImageRequest) -> BoxFuture<'_, Result<ImageFound, SourceError>> {
        no_way("OCI registries", &request.url)
    }

    /// The files of a bucket.
    fn bucket(&self, request: BucketRequest) -> BoxFuture<'_, Result<BucketFound, SourceError>> {
        no_way("buckets", &request.endpoint)
    }
}

/// What an adapter says of kinds of sources that it does not know.
fn no_way<T: Send + 'static>(what: &str, url: &str) -> BoxFuture<'static, Result<T, SourceError>> {
    let error = SourceError {
        class: SourceErrorClass::Stalled,
        reason: "UnsupportedConnectionType".to_owned(),
        message: format!("this process has no way to {what} ('{url}')"),
    };
    Box::pin(async { Err(error) })
}
