//! Decisions about a source: what to do at the start of a run, and what its status says at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use fluvial_api::meta::Artifact;
use fluvial_object::time;
use fluvial_ports::{self as ports, Severity, SourceErrorClass};
use jiff::Timestamp;

use super::kinds::{Kind, Subject};
use crate::backoff::jitter;
use crate::condition::{self, Conditions};
use crate::context::Settings;
use crate::runner::Requeue;

/// An artifact is stored.
pub const ARTIFACT_IN_STORAGE: &str = "ArtifactInStorage";
/// The stored artifact is not of the newest revision.
pub const ARTIFACT_OUTDATED: &str = "ArtifactOutdated";
/// Signatures were verified.
pub const SOURCE_VERIFIED: &str = "SourceVerified";

/// An event to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub severity: Severity,
    /// Reason word.
    pub reason: String,
    /// Text.
    pub message: String,
    /// Facts, without their group.
    pub facts: BTreeMap<&'static str, String>,
}

/// In which part of a run a failure happened.
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
    /// Putting in the artifacts of other repositories.
    Include,
}

impl Part {
    /// The condition that says that it failed.
    pub fn condition(self) -> &'static str {
        match self {
            Part::Fetch => "FetchFailed",
            Part::Build => "BuildFailed",
            Part::Verify => SOURCE_VERIFIED,
            Part::Storage => "StorageOperationFailed",
            Part::Include => "IncludeUnavailable",
        }
    }
}

/// Conditions of most kinds that say which part failed.
pub(super) const FAILURES: [&str; 3] = ["FetchFailed", "BuildFailed", "StorageOperationFailed"];

/// Why there is no new artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Where it happened.
    pub part: Part,
    /// What has to happen.
    pub class: SourceErrorClass,
    /// Whether another object is waited for, which is looked for sooner than another revision.
    pub depends: bool,
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
            depends: false,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// A failed fetch that may pass by itself.
    pub fn fetch(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Part::Fetch, SourceErrorClass::Retry, reason, message)
    }

    /// Another object must come first.
    pub fn new_waiting(part: Part, reason: &str, message: impl Into<String>) -> Self {
        Failure {
            depends: true,
            ..Self::new(part, SourceErrorClass::Waiting, reason, message)
        }
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
pub fn begin<K: Subject>(object: &K) -> Begin {
    if object.metadata().is_deleting() {
        Begin::Delete
    } else if object.rests() {
        Begin::Rest
    } else {
        Begin::Work
    }
}

/// What a good run of a kind came to.
pub trait Found<K: Subject>: Send {
    /// How the run ends; `url` says where a path of the store is served.
    fn conclude(self, object: &K, url: &dyn Fn(&str) -> String, moment: Moment<'_>) -> Decision<K::Status>;
}

/// What a run observed besides the artifact, to be written into the status as it is at the end.
pub type Observed<S> = Box<dyn FnOnce(&mut S) + Send>;

/// An artifact to be named in the status; it may be the one that is there already.
pub struct Stored<S> {
    /// The artifact.
    pub artifact: ports::Artifact,
    /// Metadata of its upstream.
    pub metadata: BTreeMap<String, String>,
    /// What was observed besides.
    pub observed: Observed<S>,
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
pub fn working<K: Subject>(object: &K, message: &str, now: Timestamp) -> K::Status {
    let mut status = object.status().clone();
    let generation = object.metadata().generation;
    Conditions::of(K::common(&mut status).conditions, generation, now).progressing(message);
    status
}

/// How a run ends that failed; `failures` counts those before it.
pub fn failed<K: Subject>(
    object: &K,
    failure: &Failure,
    failures: u32,
    moment: Moment<'_>,
) -> Decision<K::Status> {
    let mut status = handled(object);
    let generation = object.metadata().generation;
    let common = K::common(&mut status);
    let mut conditions = Conditions::of(common.conditions, generation, moment.now);
    let kind = K::failed(failure.part);
    for other in K::FAILURES.iter().filter(|other| Some(**other) != kind) {
        conditions.remove(other);
    }
    if let Some(kind) = kind {
        conditions.yes(kind, &failure.reason, &failure.message);
    } else if failure.part == Part::Verify {
        conditions.no(SOURCE_VERIFIED, &failure.reason, &failure.message);
    }
    if kind.is_some() && failure.part == Part::Storage {
        conditions.yes(
            ARTIFACT_OUTDATED,
            "NewRevision",
            "a new revision could not be stored",
        );
    }
    if failure.class == SourceErrorClass::Stalled {
        conditions.stalled(&failure.reason, &failure.message);
        if let Some(observed) = common.observed_generation {
            *observed = generation;
        }
    } else {
        conditions.retrying(&failure.reason, &failure.message);
    }
    let requeue = match failure.class {
        SourceErrorClass::Stalled => Requeue::Never,
        SourceErrorClass::Waiting if failure.depends => {
            Requeue::After(object.interval().min(moment.settings.requeue_dependency))
        }
        SourceErrorClass::Waiting => Requeue::After(object.interval()),
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

impl<K: Kind> Found<K> for Stored<K::Status> {
    fn conclude(self, object: &K, url: &dyn Fn(&str) -> String, moment: Moment<'_>) -> Decision<K::Status> {
        let recovered = K::FAILURES
            .iter()
            .any(|kind| condition::is_true(object.conditions(), kind))
            || condition::get(object.conditions(), SOURCE_VERIFIED)
                .is_some_and(|verified| verified.status == "False");
        let is_new = object
            .artifact()
            .is_none_or(|known| !is_same(known, &self.artifact));
        let folder = self
            .artifact
            .path
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        let latest = url(&format!("{folder}/{}", K::LATEST));
        let mut status = handled(object);
        (self.observed)(&mut status);
        let (artifact, place) = K::slots(&mut status);
        let described = described(&self.artifact, self.metadata, artifact.as_ref(), moment.now);
        let facts = BTreeMap::from([
            ("revision", described.revision.clone()),
            ("digest", described.digest.clone()),
        ]);
        *artifact = Some(described);
        if let Some(place) = place {
            *place = Some(latest);
        }
        well::<K>(&mut status, object.metadata().generation, moment, |conditions| {
            match &self.verified {
                Verified::Unasked => {
                    conditions.remove(SOURCE_VERIFIED);
                }
                Verified::Before => {}
                Verified::Now(how) => {
                    conditions.yes(SOURCE_VERIFIED, condition::SUCCEEDED, how);
                }
            }
            conditions
                .yes(ARTIFACT_IN_STORAGE, self.reason, &self.message)
                .ready(self.reason, &self.message);
        });
        let told = if is_new {
            Some(self.event)
        } else {
            recovered.then_some((self.reason, self.message))
        };
        let notices = told.map(|(reason, message)| Notice {
            severity: Severity::Info,
            reason: reason.to_owned(),
            message,
            facts,
        });
        Decision {
            status,
            notices: notices.into_iter().collect(),
            requeue: again(object, moment),
        }
    }
}

/// Sets the conditions of a good run, and the generation that it was for.
pub(crate) fn well<K: Subject>(
    status: &mut K::Status,
    generation: i64,
    moment: Moment<'_>,
    set: impl FnOnce(&mut Conditions<'_>),
) {
    let common = K::common(status);
    if let Some(observed) = common.observed_generation {
        *observed = generation;
    }
    let mut conditions = Conditions::of(common.conditions, generation, moment.now);
    for gone in K::FAILURES.iter().chain([&ARTIFACT_OUTDATED]) {
        conditions.remove(gone);
    }
    set(&mut conditions);
}

/// When an object is looked at again after a good run.
pub(crate) fn again<K: Subject>(object: &K, moment: Moment<'_>) -> Requeue {
    let wait = jitter(object.interval(), moment.settings.jitter_percent, moment.random);
    Requeue::After(wait.max(LEAST))
}

/// The status of an object, whose request is handled.
pub(crate) fn handled<K: Subject>(object: &K) -> K::Status {
    let mut status = object.status().clone();
    if let Some(token) = object.metadata().requested_at() {
        *K::common(&mut status).last_handled = Some(token.to_owned());
    }
    status
}

fn is_same(known: &Artifact, artifact: &ports::Artifact) -> bool {
    known.revision == artifact.revision && known.digest == artifact.digest && known.path == artifact.path
}

/// An artifact as a status describes it; one that stays keeps its time.
pub fn described(
    artifact: &ports::Artifact,
    metadata: BTreeMap<String, String>,
    known: Option<&Artifact>,
    now: Timestamp,
) -> Artifact {
    let same = known.filter(|known| is_same(known, artifact));
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

    fn success() -> Stored<<HelmRepository as fluvial_api::Resource>::Status> {
        Stored {
            artifact: ports::Artifact {
                path: "helmrepository/ns/charts/index-1.yaml".to_owned(),
                revision: "sha256:1".to_owned(),
                digest: "sha256:2".to_owned(),
                ..ports::Artifact::default()
            },
            metadata: BTreeMap::new(),
            observed: Box::new(|_| {}),
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

        let decision = success().conclude(&object, &|path| format!("http://x/{path}"), moment(&settings));
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
        let again = success().conclude(&object, &|path| format!("http://x/{path}"), moment(&settings));
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
