//! What a run begins with and why it may not succeed, for Kustomizations and HelmReleases.

use std::borrow::Cow;
use std::time::Duration;

use fluvial_api::GitRepository;

use crate::SourceId;

/// There are no files, or they cannot be read.
pub const ARTIFACT_FAILED: &str = "ArtifactFailed";
/// The source may not be used from this namespace.
pub const ACCESS_DENIED: &str = "AccessDenied";
/// Something that must be ready first is not.
pub const DEPENDENCY_NOT_READY: &str = "DependencyNotReady";
/// What stands before the text about a spec that can never work.
const TERMINAL: &str = "Reconciliation failed terminally due to configuration error";
/// `dependsOn` leads back to the object itself.
pub const DEPENDENCY_CYCLE: &str = "DependencyCycle";
/// An expression cannot be read.
pub const INVALID_EXPRESSION: &str = "InvalidCELExpression";
/// A rule by which fields are left alone cannot be read.
pub const INVALID_IGNORE: &str = "InvalidIgnoreRule";
/// The spec asks for what this version cannot do.
pub const NOT_SUPPORTED: &str = "NotSupported";

/// What has to happen before a run can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The object must change.
    Stalled,
    /// Something else must happen first, which wakes the object; looked at again at a set time all the same.
    Waiting,
    /// Trying again may help, after the time that is set for this kind.
    Retry,
    /// Trying again may help, after this time.
    RetryAfter(Duration),
    /// Something newer is there: at once.
    Superseded,
}

/// Why a run did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What has to happen.
    pub class: Class,
    /// Reason word.
    pub reason: Cow<'static, str>,
    /// Text.
    pub message: String,
    /// Whether conditions say it already, and Ready sums them up.
    pub told: bool,
}

impl Failure {
    /// A failure of a class.
    pub fn new(class: Class, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            class,
            reason: reason.into(),
            message: message.into(),
            told: false,
        }
    }

    /// The object must change.
    pub fn stalled(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Class::Stalled, reason, message)
    }

    /// An expression cannot be read.
    pub(crate) fn expression(error: impl std::fmt::Display) -> Self {
        Self::stalled(INVALID_EXPRESSION, format!("{TERMINAL}: {error}"))
    }

    /// Something else must happen first.
    pub fn waiting(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Class::Waiting, reason, message)
    }

    /// Trying again may help.
    pub fn retry(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Class::Retry, reason, message)
    }
}

/// That a source is not there, as Flux's caches say it.
pub(crate) fn not_found(id: &SourceId) -> String {
    format!(
        "{}.{} \"{}\" not found",
        id.kind,
        GitRepository::GROUP,
        id.key.name
    )
}

/// What a run begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// The object is being deleted.
    Delete,
    /// It is suspended.
    Rest,
    /// The spec asks for what cannot be had.
    Refuse(Failure),
    /// Reconcile.
    Go,
}
