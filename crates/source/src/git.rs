//! Git repositories: from a URL and a reference to a revision and its file tree.
//!
//! A local repository is opened in process from its object store; a remote one is fetched into one
//! object cache per URL. Neither ever has a work tree of ours: trees are read from Git objects.

mod auth;
mod cache;
mod checkout;
mod dirty;
mod http;
mod local;
mod reference;
mod remote;
mod source;
mod ssh;
mod submodule;
mod url;
mod verify;
mod versions;
mod wire;

use std::time::Duration;

use fluvial_tree::Tree;

pub use crate::credentials::{ClientCertificate, Proxy, Secret, SshIdentity};
pub use auth::Credentials;
pub use local::head_branch;
pub(crate) use local::open;
pub use reference::{GitReference, normalise_revision};
pub use source::GitSource;
pub use ssh::deploy;
pub(crate) use url::percent_decode;
pub use url::{Location, redact};
pub use verify::{Verify, VerifyMode};

/// What to fetch.
#[derive(Clone, Debug, Default)]
pub struct GitRequest {
    /// http, https or file URL, or a path of a local repository.
    pub url: String,
    /// Which revision.
    pub reference: GitReference,
    /// How to sign in; unused for local repositories.
    pub credentials: Credentials,
    /// Only these folders, if there are any.
    pub sparse_checkout: Vec<String>,
    /// Whether to fetch submodules too.
    pub recurse_submodules: bool,
    /// Most time for it all; a minute if not set.
    pub timeout: Option<Duration>,
    /// If this is still the revision, the answer is [`Fetched::Unchanged`].
    pub last_revision: Option<String>,
    /// Which signatures must be there.
    pub verify: Option<Verify>,
    /// Of a local repository: the files as they are in the work tree, committed or not.
    pub dirty: bool,
}

/// What came of a fetch.
#[derive(Clone, Debug)]
pub enum Fetched {
    /// The reference still leads to the last revision.
    Unchanged,
    /// Another revision, or the first.
    Changed(Revision),
}

/// A revision with its files.
#[derive(Clone, Debug)]
pub struct Revision {
    /// As Flux writes it: `main@sha1:…`.
    pub revision: String,
    /// All files; ignore rules are not applied yet. Equal revisions share one tree.
    pub tree: Tree,
    /// The commit.
    pub commit: Commit,
    /// Which signatures were verified, for a condition.
    pub verified: Option<String>,
    /// What is odd about the files, for an event.
    pub warnings: Vec<String>,
}

/// What is worth knowing of a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Its id in hexadecimal.
    pub id: String,
    /// The first line of its message.
    pub subject: String,
    /// `Name <email>`.
    pub author: String,
    /// Seconds since 1970 of the committer's clock.
    pub time: i64,
    /// The tag object's id if the reference led to an annotated tag.
    pub tag: Option<String>,
}
