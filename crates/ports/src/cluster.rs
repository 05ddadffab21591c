//! The Kubernetes API as the controllers use it: objects are JSON values, kinds are looked up by name, and a watch
//! heals itself.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde_json::Value;

/// A kind that the API server serves, with what is needed to make its URLs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// Version within the group.
    pub version: String,
    /// Kind, as objects spell it.
    pub kind: String,
    /// Plural name, as URLs spell it.
    pub plural: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// A kind of the core group whose objects live in namespaces, as ConfigMap, Secret and ServiceAccount.
    #[must_use]
    pub fn core(kind: &str) -> Self {
        Resource {
            group: String::new(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: format!("{}s", kind.to_ascii_lowercase()),
            namespaced: true,
        }
    }

    /// `group/version`, or the version alone for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// One object of a kind. The namespace is empty for cluster-wide objects.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its kind.
    pub resource: &'a Resource,
    /// Its namespace, or empty.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// Which objects of a kind a list or a watch is about. Default: all, whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Select {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only objects whose labels match this selector.
    pub labels: Option<String>,
    /// Only objects whose fields match this selector (`metadata.name=x`).
    pub fields: Option<String>,
    /// Only `metadata` is wanted: the server leaves the rest out.
    pub metadata_only: bool,
    /// A watch tells what happened after this resource version, without a list first; one follows if the server has
    /// forgotten what happened since. Lists pay no heed to it.
    pub since: Option<String>,
}

/// How server-side apply is done.
#[derive(Debug, Clone, Copy)]
pub struct Apply<'a> {
    /// Field manager.
    pub manager: &'a str,
    /// Take fields from other managers.
    pub force: bool,
    /// Ask for the result only.
    pub dry_run: bool,
}

/// How an object is created.
#[derive(Debug, Clone, Copy)]
pub struct Create<'a> {
    /// Field manager.
    pub manager: &'a str,
    /// Ask for the result only. If the name is taken, the content is looked at all the same, and first.
    pub dry_run: bool,
}

/// The form of a patch body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902 operations.
    Json,
    /// RFC 7386 document.
    Merge,
}

/// A patch of one object or one of its sub-resources.
#[derive(Debug, Clone, Copy)]
pub struct Patch<'a> {
    /// Form of `body`.
    pub kind: PatchKind,
    /// `status`, or nothing for the object itself.
    pub subresource: Option<&'a str>,
    /// Field manager.
    pub manager: &'a str,
    /// The patch.
    pub body: &'a Value,
    /// Ask for the result only.
    pub dry_run: bool,
}

/// What happens to an object's dependents when it is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// They go afterwards.
    #[default]
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

/// Conditions and manner of a delete.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delete<'a> {
    /// Only if the object still has this UID.
    pub uid: Option<&'a str>,
    /// Only if the object is still at this resource version.
    pub resource_version: Option<&'a str>,
    /// What happens to dependents.
    pub propagation: Propagation,
}

/// What a watch reports. After `Restarted`, the objects that exist come as `Applied`, then `Ready`; objects known from
/// before that did not come again are gone.
#[derive(Debug, Clone)]
pub enum Watched {
    /// The watch (re)starts from a list.
    Restarted,
    /// An object exists or has changed.
    Applied(Value),
    /// An object is gone (its last state).
    Deleted(Value),
    /// The list that followed `Restarted` is complete.
    Ready,
    /// The server refused or was not reachable; the watch tries again by itself.
    Failed(ClusterError),
}

/// A custom kind that appeared, changed or went away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindChange {
    /// Its group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Whether it is served now.
    pub served: bool,
}

/// Class of an API error, by what a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The object is not there.
    NotFound,
    /// The kind is not served (yet).
    NoKind,
    /// An object of that name is there already.
    AlreadyExists,
    /// Somebody else changed it, or owns the field.
    Conflict,
    /// The content is not acceptable.
    Invalid,
    /// The identity may not do this.
    Forbidden,
    /// The identity is not known.
    Unauthorized,
    /// The resource version is too old.
    Expired,
    /// Too many requests.
    Throttled,
    /// No answer in time.
    Timeout,
    /// No connection.
    Unreachable,
    /// Anything else.
    Other,
}

/// One field that the server objects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldCause {
    /// Machine-readable reason.
    pub reason: String,
    /// Field path.
    pub field: String,
    /// Text.
    pub message: String,
}

/// An error of the API server or of the way to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClusterError {
    /// Class.
    pub kind: ErrorKind,
    /// The server's reason word (`Invalid`, `Forbidden`, …), or empty.
    pub reason: String,
    /// Text.
    pub message: String,
    /// HTTP status code, 0 when there was no answer.
    pub code: u16,
    /// Fields at fault.
    pub causes: Vec<FieldCause>,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
}

impl ClusterError {
    /// An error without an answer from the server.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            reason: String::new(),
            message: message.into(),
            code: 0,
            causes: Vec::new(),
            retry_after: None,
        }
    }

    /// Whether trying again later, with nothing changed, may help.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Throttled | ErrorKind::Timeout | ErrorKind::Unreachable | ErrorKind::Expired
        ) || self.code >= 500
    }
}

/// What an API server says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// Its version (`v1.36.0`).
    pub version: String,
    /// The group versions that it serves, and `group/version/Kind` of all their kinds.
    pub api_versions: Vec<String>,
}

/// Which part of a Pod's log, and of which of its containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodLog {
    /// The container; there is only one without it.
    pub container: Option<String>,
    /// Stay, and tell what comes.
    pub follow: bool,
    /// So many lines from the end.
    pub tail: Option<u64>,
    /// Of so many seconds at most.
    pub since_seconds: Option<u64>,
}

/// Lines of a log as they come.
pub type Lines = BoxStream<'static, Result<String, ClusterError>>;

/// A Kubernetes API server seen by one identity.
pub trait Cluster: Send + Sync + 'static {
    /// The same server, acting as another user (impersonation).
    fn acting_as(&self, user: &str) -> Arc<dyn Cluster>;

    /// Looks a kind up; `ErrorKind::NoKind` when it is not served.
    fn resource<'a>(
        &'a self,
        api_version: &'a str,
        kind: &'a str,
    ) -> BoxFuture<'a, Result<Arc<Resource>, ClusterError>>;

    /// What the server says of itself; nothing where that cannot be known.
    fn served(&self) -> BoxFuture<'_, Result<Option<Served>, ClusterError>> {
        Box::pin(async { Ok(None) })
    }

    /// Custom kinds that appear, change or go away, from now on.
    fn kind_changes(&self) -> BoxStream<'static, KindChange>;

    /// Reads one object.
    fn get<'a>(&'a self, target: Target<'a>) -> BoxFuture<'a, Result<Option<Value>, ClusterError>>;

    /// Reads the objects of a kind.
    fn list<'a>(
        &'a self,
        resource: &'a Resource,
        select: &'a Select,
    ) -> BoxFuture<'a, Result<Vec<Value>, ClusterError>>;

    /// Follows the objects of a kind; never ends.
    fn watch(&self, resource: &Resource, select: &Select) -> BoxStream<'static, Watched>;

    /// Server-side apply.
    fn apply<'a>(
        &'a self,
        target: Target<'a>,
        object: &'a Value,
        how: Apply<'a>,
    ) -> BoxFuture<'a, Result<Value, ClusterError>>;

    /// Patches an object or a sub-resource.
    fn patch<'a>(
        &'a self,
        target: Target<'a>,
        patch: Patch<'a>,
    ) -> BoxFuture<'a, Result<Value, ClusterError>>;

    /// Creates an object. The target's name may be empty when the object has a generateName.
    fn create<'a>(
        &'a self,
        target: Target<'a>,
        object: &'a Value,
        how: Create<'a>,
    ) -> BoxFuture<'a, Result<Value, ClusterError>>;

    /// A token for a service account (`namespace`, `name`), good for those who expect to be called `audiences`.
    fn token<'a>(
        &'a self,
        _account: (&'a str, &'a str),
        _audiences: &'a [String],
    ) -> BoxFuture<'a, Result<crate::Token, ClusterError>> {
        let error = ClusterError::new(ErrorKind::Other, "tokens are not issued here");
        Box::pin(std::future::ready(Err(error)))
    }

    /// The log of a Pod.
    fn log<'a>(&'a self, _pod: Target<'a>, _part: &'a PodLog) -> BoxFuture<'a, Result<Lines, ClusterError>> {
        let error = ClusterError::new(ErrorKind::Other, "logs are not kept here");
        Box::pin(std::future::ready(Err(error)))
    }

    /// Deletes an object; `false` when it was not there.
    fn delete<'a>(&'a self, target: Target<'a>, how: Delete<'a>)
    -> BoxFuture<'a, Result<bool, ClusterError>>;
}
