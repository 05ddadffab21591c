//! Decisions about a source: what to do at the start of a run, and what its status says at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use fluvial_api::meta::Artifact;
use fluvial_object::time;
use fluvial_ports::{self as ports, Severity, SourceErrorClass};
use jiff::Timestamp;

use super::kinds::Kind;
use crate::backoff::jitter;
use crate::condition::{self, Conditions};
use crate::context::Settings;
use crate::git_repository::step::{ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, Notice, SOURCE_VERIFIED};
use crate::runner::Requeue;

/// In which part of a run a failure happened; the name is the condition's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Reading Secrets, talking to the server.
    Fetch,
    /// Making something of what was fetched.
    Build,
    /// Checking a signature.
    Verify,
    /// Storing the artifact.
    Storage,
}

/// Conditions that say which part failed.
const FAILURES: [&str; 3] = ["FetchFailed", "BuildFailed", "StorageOperationFailed"];

/// Why there is no new artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Where it happened.
    pub part: Part,
    /// What has to happen.
    pub class: SourceErrorClass,
    /// Reason word.
    pub reason: String,
    /// Text.
    pub message: String,
}

impl Failure {
    /// A failure of a part.
    pub fn new(part: Part, class: SourceErrorClass, reason: &str, message: impl Into<String>) -> Self {
        Failure {
            part,
            class,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// A failed fetch that may pass by itself.
    pub fn fetch(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Part::Fetch, SourceErrorClass::Retry, reason, message)
    }

    /// Something else must come first.
    pub fn new_waiting(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Part::Fetch, SourceErrorClass::Waiting, reason, message)
    }

    /// What was fetched cannot be made into what is wanted; another revision may do.
    pub fn new_build(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Part::Build, SourceErrorClass::Waiting, reason, message)
    }

    /// Something that only another spec ends.
    pub fn stalled(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Part::Fetch, SourceErrorClass::Stalled, reason, message)
    }
}

impl From<ports::SourceError> for Failure {
    fn from(error: ports::SourceError) -> Self {
        let part = match error.reason.as_str() {
            "VerificationError" | "ChartVerificationError" => Part::Verify,
            "MetadataPatchError" | "ValuesFilesError" | "DependencyBuildError" | "ChartPackageError" => {
                Part::Build
            }
            _ => Part::Fetch,
        };
        Failure::new(part, error.class, &error.reason, error.message)
    }
}

impl From<ports::ArtifactError> for Failure {
    fn from(error: ports::ArtifactError) -> Self {
        Failure::new(
            Part::Storage,
            SourceErrorClass::Retry,
            &error.reason,
            error.message,
        )
    }
}

/// What a run begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// The object is being deleted.
    Delete,
    /// It is suspended.
    Rest,
    /// Look for something new.
    Work,
}

/// What a run begins with.
pub fn begin<K: Kind>(object: &K) -> Begin {
    if object.metadata().is_deleting() {
        Begin::Delete
    } else if object.suspended() {
        Begin::Rest
    } else {
        Begin::Work
    }
}

/// An artifact to be named in the status; it may be the one that is there already.
#[derive(Debug, Clone)]
pub struct Stored<S> {
    /// The artifact.
    pub artifact: ports::Artifact,
    /// Metadata of its upstream.
    pub metadata: BTreeMap<String, String>,
    /// The status, with what was observed besides the artifact.
    pub status: S,
    /// Reason of the conditions.
    pub reason: &'static str,
    /// Message of the conditions.
    pub message: String,
    /// Reason and message of the event for a new artifact.
    pub event: (&'static str, String),
    /// Whether signatures are asked for, and how they were verified if they were just looked at.
    pub verified: Verified,
}

/// What became of a signature check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Verified {
    /// None is asked for.
    #[default]
    Unasked,
    /// The last result holds.
    Before,
    /// Just now.
    Now(String),
}

/// How a run ends.
#[derive(Debug, Clone)]
pub struct Decision<S> {
    /// The status from now on.
    pub status: S,
    /// Events.
    pub notices: Vec<Notice>,
    /// When to look again.
    pub requeue: Requeue,
}

/// No interval is shorter.
const LEAST: Duration = Duration::from_millis(100);

/// What a decision depends on besides the object and the outcome.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// Settings of the process.
    pub settings: &'a Settings,
    /// The time.
    pub now: Timestamp,
    /// A number between 0 and 1.
    pub random: f64,
}

/// The status while a slow run is under way.
pub fn working<K: Kind>(object: &K, message: &str, now: Timestamp) -> K::Status {
    let mut status = object.status().clone();
    let generation = object.metadata().generation;
    Conditions::of(K::parts(&mut status).conditions, generation, now).progressing(message);
    status
}

/// How a run ends that failed; `failures` counts those before it.
pub fn failed<K: Kind>(
    object: &K,
    failure: &Failure,
    failures: u32,
    moment: Moment<'_>,
) -> Decision<K::Status> {
    let mut status = object.status().clone();
    let generation = object.metadata().generation;
    let parts = K::parts(&mut status);
    handled(object, parts.last_handled);
    let mut conditions = Conditions::of(parts.conditions, generation, moment.now);
    let kind = match failure.part {
        Part::Fetch => Some("FetchFailed"),
        Part::Build => Some("BuildFailed"),
        Part::Storage => Some("StorageOperationFailed"),
        Part::Verify => None,
    };
    for other in FAILURES.into_iter().filter(|other| Some(*other) != kind) {
        conditions.remove(other);
    }
    match kind {
        Some(kind) => conditions.yes(kind, &failure.reason, &failure.message),
        None => conditions.no(SOURCE_VERIFIED, &failure.reason, &failure.message),
    };
    if failure.class == SourceErrorClass::Stalled {
        conditions.stalled(&failure.reason, &failure.message);
        *parts.observed_generation = generation;
    } else {
        conditions.retrying(&failure.reason, &failure.message);
    }
    let requeue = match failure.class {
        SourceErrorClass::Stalled => Requeue::Never,
        SourceErrorClass::Waiting => {
            Requeue::After(object.interval().min(moment.settings.requeue_dependency))
        }
        SourceErrorClass::Retry => Requeue::After(moment.settings.backoff.after(failures + 1)),
    };
    let notice = Notice {
        severity: Severity::Error,
        reason: failure.reason.clone(),
        message: failure.message.clone(),
        facts: BTreeMap::new(),
    };
    Decision {
        status,
        notices: vec![notice],
        requeue,
    }
}

/// How a run ends that came to an artifact. `latest` is where the newest one is found.
pub fn stored<K: Kind>(
    object: &K,
    stored: Stored<K::Status>,
    latest: String,
    moment: Moment<'_>,
) -> Decision<K::Status> {
    let generation = object.metadata().generation;
    let recovered = FAILURES
        .iter()
        .any(|kind| condition::is_true(object.conditions(), kind))
        || condition::get(object.conditions(), SOURCE_VERIFIED)
            .is_some_and(|verified| verified.status == "False");
    let is_new = object.artifact().is_none_or(|known| {
        known.digest != stored.artifact.digest || known.revision != stored.artifact.revision
    });
    let mut status = stored.status;
    let parts = K::parts(&mut status);
    handled(object, parts.last_handled);
    let artifact = described(
        &stored.artifact,
        stored.metadata,
        parts.artifact.as_ref(),
        moment.now,
    );
    let facts = BTreeMap::from([
        ("revision", artifact.revision.clone()),
        ("digest", artifact.digest.clone()),
    ]);
    *parts.artifact = Some(artifact);
    *parts.url = Some(latest);
    *parts.observed_generation = generation;
    let mut conditions = Conditions::of(parts.conditions, generation, moment.now);
    for gone in FAILURES.into_iter().chain([ARTIFACT_OUTDATED]) {
        conditions.remove(gone);
    }
    match &stored.verified {
        Verified::Unasked => {
            conditions.remove(SOURCE_VERIFIED);
        }
        Verified::Before => {}
        Verified::Now(how) => {
            conditions.yes(SOURCE_VERIFIED, condition::SUCCEEDED, how);
        }
    }
    conditions
        .yes(ARTIFACT_IN_STORAGE, stored.reason, &stored.message)
        .ready(stored.reason, &stored.message);
    let told = if is_new {
        Some(stored.event)
    } else {
        recovered.then_some((stored.reason, stored.message))
    };
    let notices = told.map(|(reason, message)| Notice {
        severity: Severity::Info,
        reason: reason.to_owned(),
        message,
        facts,
    });
    let wait = jitter(object.interval(), moment.settings.jitter_percent, moment.random);
    Decision {
        status,
        notices: notices.into_iter().collect(),
        requeue: Requeue::After(wait.max(LEAST)),
    }
}

fn handled<K: Kind>(object: &K, last: &mut Option<String>) {
    if let Some(token) = object.metadata().requested_at() {
        *last = Some(token.to_owned());
    }
}

/// An artifact as a status describes it; one that stays keeps its time.
pub fn described(
    artifact: &ports::Artifact,
    metadata: BTreeMap<String, String>,
    known: Option<&Artifact>,
    now: Timestamp,
) -> Artifact {
    let same = known.filter(|known| {
        known.revision == artifact.revision && known.digest == artifact.digest && known.path == artifact.path
    });
    Artifact {
        digest: artifact.digest.clone(),
        last_update_time: same.map_or_else(|| time::format(now), |known| known.last_update_time.clone()),
        path: artifact.path.clone(),
        revision: artifact.revision.clone(),
        url: artifact.url.clone(),
        size: i64::try_from(artifact.size).ok(),
        metadata,
    }
}

/// What a message says of a mirror.
pub fn told(message: String, rewritten: Option<&str>) -> String {
    match rewritten {
        Some(place) => format!("{message} (fetched from '{place}', as the mirrors say)"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use fluvial_api::{HelmRepository, Metadata, Resource as _};
    use serde_json::json;

    use super::*;

    fn repository() -> HelmRepository {
        let mut object = HelmRepository::from_value(&json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmRepository",
            "metadata": {"name": "charts", "namespace": "ns"},
            "spec": {"url": "https://charts.example.org", "interval": "5m"}
        }))
        .unwrap();
        object.metadata = Metadata {
            generation: 3,
            ..object.metadata
        };
        object
    }

    fn moment(settings: &Settings) -> Moment<'_> {
        Moment {
            settings,
            now: Timestamp::from_second(10).unwrap(),
            random: 0.5,
        }
    }

    fn success(object: &HelmRepository) -> Stored<<HelmRepository as fluvial_api::Resource>::Status> {
        Stored {
            artifact: ports::Artifact {
                path: "helmrepository/ns/charts/index-1.yaml".to_owned(),
                revision: "sha256:1".to_owned(),
                digest: "sha256:2".to_owned(),
                ..ports::Artifact::default()
            },
            metadata: BTreeMap::new(),
            status: object.status.clone(),
            reason: "Succeeded",
            message: "stored artifact: revision 'sha256:1'".to_owned(),
            event: ("NewArtifact", "stored fetched index".to_owned()),
            verified: Verified::Unasked,
        }
    }

    #[test]
    fn a_failure_stays_visible_until_it_passes() {
        let settings = Settings::default();
        let mut object = repository();
        let failure = Failure::fetch("Failed", "no such host");
        let decision = failed(&object, &failure, 0, moment(&settings));
        assert_eq!(
            decision.status.observed_generation,
            object.status.observed_generation
        );
        assert!(matches!(decision.requeue, Requeue::After(_)));
        object.status = decision.status;
        let ready = condition::get(&object.status.conditions, condition::READY).unwrap();
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_str()),
            ("False", "Failed")
        );
        assert!(condition::is_true(&object.status.conditions, "FetchFailed"));

        let decision = stored(
            &object,
            success(&object),
            "http://x/index.yaml".to_owned(),
            moment(&settings),
        );
        assert_eq!(decision.notices[0].reason, "NewArtifact");
        let kinds: Vec<_> = decision
            .status
            .conditions
            .iter()
            .map(|c| c.r#type.clone())
            .collect();
        assert_eq!(kinds, ["Ready", "ArtifactInStorage"]);
        assert_eq!(decision.status.observed_generation, 3);
        object.status = decision.status;
        let again = stored(
            &object,
            success(&object),
            "http://x/index.yaml".to_owned(),
            moment(&settings),
        );
        assert!(again.notices.is_empty());
        assert_eq!(again.status, object.status);
    }

    #[test]
    fn a_stalled_source_waits_for_its_spec() {
        let settings = Settings::default();
        let object = repository();
        let failure = Failure::stalled("URLInvalid", "no URL");
        let decision = failed(&object, &failure, 0, moment(&settings));
        assert_eq!(decision.requeue, Requeue::Never);
        assert_eq!(decision.status.observed_generation, 3);
        assert!(condition::is_true(
            &decision.status.conditions,
            condition::STALLED
        ));
    }
}
