//! What the controllers ask of the outside, as object-safe traits and plain values. Adapters implement these traits,
//! the controllers see nothing else, and tests put fakes in their place.

mod artifact;
mod cluster;
mod connection;
mod decryption;
mod event;
mod registry;
mod remote;
mod source;

pub use artifact::{Artifact, ArtifactError, ArtifactName, Artifacts};
pub use cluster::{
    Apply, Cluster, ClusterError, Create, Delete, ErrorKind, FieldCause, KindChange, Lines, Patch, PatchKind,
    PodLog, Propagation, Resource, Select, Served, Target, Watched,
};
pub use connection::Connection;
pub use decryption::{Decryption, DecryptionError, Decryptor, Format, Integrity, KeyError, NoDecryption};
pub use event::{Event, Events, NoEvents, Severity};
pub use futures::future::BoxFuture;
pub use futures::stream::BoxStream;
pub use registry::{
    Access, BucketFound, BucketRequest, ChartFound, ChartRequest, Content, ImageFound, ImageReference,
    ImageRequest, IndexFound, IndexRequest, Layer, Provider, SecretData, TokenService, Verdict, Verification,
};
pub use remote::{NoRemotes, Remote, Remotes, Token};
pub use source::{
    Account, CommitFacts, FetchRequest, Fetched, Reference, Revision, SourceError, SourceErrorClass, Sources,
};

use jiff::Timestamp;

/// The wall clock. Waiting is not its business: timers follow the runtime's (pausable) clock.
pub trait Clock: Send + Sync + 'static {
    /// What time it is.
    fn now(&self) -> Timestamp;
    /// A number between 0 and 1, for jitter.
    fn random(&self) -> f64;
    /// Fills a buffer with bytes that nobody can guess: charts make keys and passwords of them.
    fn fill(&self, buffer: &mut [u8]);
}
