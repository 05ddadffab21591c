//! Decisions about a GitRepository: what to do at the start of a run, and what its status says at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use fluvial_api::GitRepository;
use fluvial_api::meta::Artifact;
use fluvial_api::source::{GitProvider, GitRepositorySpec, GitRepositoryStatus};
use fluvial_object::time;
use fluvial_ports::{self as ports, CommitFacts, Severity, SourceErrorClass};
use jiff::Timestamp;

use crate::backoff::jitter;
use crate::condition::{self, Conditions};
use crate::context::Settings;
use crate::runner::Requeue;

/// An artifact is stored.
pub const ARTIFACT_IN_STORAGE: &str = "ArtifactInStorage";
/// The stored artifact is not of the newest revision.
pub const ARTIFACT_OUTDATED: &str = "ArtifactOutdated";
/// The fetch failed.
pub const FETCH_FAILED: &str = "FetchFailed";
/// The artifact could not be stored.
pub const STORAGE_OPERATION_FAILED: &str = "StorageOperationFailed";
/// An included artifact is missing.
pub const INCLUDE_UNAVAILABLE: &str = "IncludeUnavailable";
/// Signatures were verified.
pub const SOURCE_VERIFIED: &str = "SourceVerified";

/// What a run begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// The object is being deleted.
    Delete,
    /// It is suspended.
    Rest,
    /// The spec asks for what is not there.
    Refuse(Failure),
    /// Fetch.
    Fetch,
}

/// In which part of the run a failure happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Reading Secrets, talking to the repository.
    Fetch,
    /// Putting in the artifacts of other repositories.
    Include,
    /// Checking signatures.
    Verify,
    /// Storing the artifact.
    Storage,
}

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

/// What a run came to.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The stored artifact is of the newest revision.
    UpToDate,
    /// There is an artifact to be named in the status; it may be the one that is there already.
    Stored(Box<Stored>),
    /// No artifact.
    Failed(Failure),
}

/// A stored artifact.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// The artifact.
    pub artifact: ports::Artifact,
    /// Its commit.
    pub commit: CommitFacts,
    /// Where it really came from.
    pub rewritten: Option<String>,
    /// How it was verified.
    pub verified: Option<String>,
    /// Artifacts that are in it.
    pub included: Vec<Artifact>,
}

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

/// How a run ends.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The status from now on.
    pub status: GitRepositoryStatus,
    /// Events.
    pub notices: Vec<Notice>,
    /// When to look again.
    pub requeue: Requeue,
}

/// What a run begins with.
pub fn begin(repository: &GitRepository) -> Begin {
    let spec = &repository.spec;
    if repository.metadata.is_deleting() {
        return Begin::Delete;
    }
    if spec.suspend {
        return Begin::Rest;
    }
    match unfit(spec) {
        Some(message) => Begin::Refuse(Failure {
            part: Part::Fetch,
            class: SourceErrorClass::Stalled,
            reason: "InvalidProviderConfiguration".to_owned(),
            message: message.to_owned(),
        }),
        None => Begin::Fetch,
    }
}

/// What of the provider and the credentials does not fit together.
fn unfit(spec: &GitRepositorySpec) -> Option<&'static str> {
    let account = spec.service_account_name.as_deref().unwrap_or_default();
    match spec.provider {
        GitProvider::Github if spec.secret_ref.is_none() => {
            Some("secretRef with github app data must be specified when provider is set to github")
        }
        GitProvider::Generic | GitProvider::Github if !account.is_empty() => {
            Some("spec.serviceAccountName is for the providers azure and aws; remove it or set spec.provider")
        }
        _ => None,
    }
}

/// Whether the stored artifact was made with the present settings, so that an unchanged revision means an unchanged
/// artifact.
pub fn settings_observed(repository: &GitRepository) -> bool {
    let (spec, status) = (&repository.spec, &repository.status);
    status.observed_ignore == spec.ignore
        && status.observed_recurse_submodules == spec.recurse_submodules
        && status.observed_sparse_checkout == spec.sparse_checkout
        && status.observed_include == spec.include
}

/// Whether the reason of a failed fetch is that signatures are not there as they must be.
pub fn is_about_signatures(reason: &str) -> bool {
    [
        "VerificationError",
        "InvalidCommitSignature",
        "InvalidTagSignature",
        "InvalidVerificationMode",
        // Of an unsigned tag.
        "InvalidGitObject",
    ]
    .contains(&reason)
}

/// Whether the stored artifact's signatures were verified as the spec wants it now.
pub fn verification_observed(repository: &GitRepository) -> bool {
    let (spec, status) = (&repository.spec, &repository.status);
    match &spec.verify {
        None => true,
        Some(verify) => {
            status.source_verification_mode == Some(verify.mode.to_string())
                && status.observed_generation == repository.metadata.generation
                && condition::is_true(&status.conditions, SOURCE_VERIFIED)
        }
    }
}

/// The status while a slow fetch is under way.
pub fn fetching(repository: &GitRepository, now: Timestamp) -> GitRepositoryStatus {
    let mut status = repository.status.clone();
    Conditions::of(&mut status.conditions, repository.metadata.generation, now)
        .progressing(&format!("fetching '{}'", repository.spec.url));
    status
}

/// How a run ends. `failures` counts the failed runs before this one.
pub fn finish(
    repository: &GitRepository,
    outcome: Outcome,
    failures: u32,
    settings: &Settings,
    now: Timestamp,
    random: f64,
) -> Decision {
    let mut status = repository.status.clone();
    let requested = repository.metadata.requested_at().map(str::to_owned);
    status.last_handled_reconcile_at = requested.or(status.last_handled_reconcile_at);
    let interval = repository.spec.interval.0;
    match outcome {
        Outcome::Failed(failure) => {
            let requeue = match (failure.class, failure.part) {
                (SourceErrorClass::Stalled, _) => Requeue::Never,
                (SourceErrorClass::Waiting, Part::Include) => Requeue::After(settings.requeue_dependency),
                (SourceErrorClass::Waiting, _) => Requeue::After(interval),
                (SourceErrorClass::Retry, _) => Requeue::After(settings.backoff.after(failures + 1)),
            };
            let notices = vec![Notice {
                severity: Severity::Error,
                reason: failure.reason.clone(),
                message: failure.message.clone(),
                facts: BTreeMap::new(),
            }];
            failed(repository, &mut status, &failure, now);
            Decision {
                status,
                notices,
                requeue,
            }
        }
        outcome => {
            let notices = succeeded(repository, &mut status, outcome, now);
            Decision {
                status,
                notices,
                requeue: Requeue::After(jitter(interval, settings.jitter_percent, random).max(LEAST)),
            }
        }
    }
}

/// No interval is shorter.
const LEAST: Duration = Duration::from_millis(100);

fn failed(repository: &GitRepository, status: &mut GitRepositoryStatus, failure: &Failure, now: Timestamp) {
    let generation = repository.metadata.generation;
    let stalled = failure.class == SourceErrorClass::Stalled;
    let mut conditions = Conditions::of(&mut status.conditions, generation, now);
    let kind = match failure.part {
        Part::Fetch => FETCH_FAILED,
        Part::Include => INCLUDE_UNAVAILABLE,
        Part::Verify => SOURCE_VERIFIED,
        Part::Storage => STORAGE_OPERATION_FAILED,
    };
    for other in [FETCH_FAILED, INCLUDE_UNAVAILABLE, STORAGE_OPERATION_FAILED] {
        if other != kind {
            conditions.remove(other);
        }
    }
    if failure.part == Part::Verify {
        conditions.no(kind, &failure.reason, &failure.message);
    } else {
        conditions.yes(kind, &failure.reason, &failure.message);
    }
    if failure.part == Part::Storage {
        conditions.yes(
            ARTIFACT_OUTDATED,
            "NewRevision",
            "a new revision could not be stored",
        );
    }
    if stalled {
        conditions.stalled(&failure.reason, &failure.message);
        status.observed_generation = generation;
    } else {
        conditions.retrying(&failure.reason, &failure.message);
    }
}

fn succeeded(
    repository: &GitRepository,
    status: &mut GitRepositoryStatus,
    outcome: Outcome,
    now: Timestamp,
) -> Vec<Notice> {
    let spec = &repository.spec;
    let generation = repository.metadata.generation;
    let was_failed = condition::get(&status.conditions, FETCH_FAILED).is_some()
        || condition::get(&status.conditions, STORAGE_OPERATION_FAILED).is_some()
        || condition::get(&status.conditions, INCLUDE_UNAVAILABLE).is_some()
        || condition::get(&status.conditions, SOURCE_VERIFIED)
            .is_some_and(|condition| condition.status == "False");
    let mut notices = Vec::new();
    let mut fresh = None;
    let mut verified = None;
    if let Outcome::Stored(stored) = outcome {
        verified.clone_from(&stored.verified);
        if is_same(status.artifact.as_ref(), &stored.artifact) {
            if let Some(artifact) = &mut status.artifact {
                artifact.url.clone_from(&stored.artifact.url);
            }
        } else {
            status.artifact = Some(described(&stored.artifact, now));
            fresh = Some((stored.commit, stored.rewritten));
        }
        status.included_artifacts = stored.included;
    }
    status.observed_generation = generation;
    status.observed_ignore.clone_from(&spec.ignore);
    status.observed_recurse_submodules = spec.recurse_submodules;
    status.observed_include.clone_from(&spec.include);
    status.observed_sparse_checkout.clone_from(&spec.sparse_checkout);
    status.source_verification_mode = spec.verify.as_ref().map(|verify| verify.mode.to_string());
    let revision = status
        .artifact
        .as_ref()
        .map(|artifact| artifact.revision.clone())
        .unwrap_or_default();
    let message = format!("stored artifact for revision '{revision}'");
    let mut conditions = Conditions::of(&mut status.conditions, generation, now);
    for gone in [
        FETCH_FAILED,
        STORAGE_OPERATION_FAILED,
        INCLUDE_UNAVAILABLE,
        ARTIFACT_OUTDATED,
    ] {
        conditions.remove(gone);
    }
    conditions
        .yes(ARTIFACT_IN_STORAGE, condition::SUCCEEDED, &message)
        .ready(condition::SUCCEEDED, &message);
    match (&spec.verify, &verified) {
        (None, _) => {
            conditions.remove(SOURCE_VERIFIED);
        }
        (Some(_), Some(verified)) => {
            conditions.yes(SOURCE_VERIFIED, condition::SUCCEEDED, verified);
        }
        (Some(_), None) => {}
    }
    let facts = facts_of(status.artifact.as_ref());
    if let Some((commit, rewritten)) = fresh {
        notices.push(Notice {
            severity: Severity::Info,
            reason: "NewArtifact".to_owned(),
            message: new_artifact(&commit, &revision, rewritten.as_deref()),
            facts,
        });
    } else if was_failed {
        notices.push(Notice {
            severity: Severity::Info,
            reason: condition::SUCCEEDED.to_owned(),
            message,
            facts,
        });
    }
    notices
}

fn facts_of(artifact: Option<&Artifact>) -> BTreeMap<&'static str, String> {
    artifact
        .map(|artifact| {
            BTreeMap::from([
                ("revision", artifact.revision.clone()),
                ("digest", artifact.digest.clone()),
            ])
        })
        .unwrap_or_default()
}

fn new_artifact(commit: &CommitFacts, revision: &str, rewritten: Option<&str>) -> String {
    let mut message = if commit.subject.is_empty() {
        format!("stored artifact for revision '{revision}'")
    } else {
        let subject: String = commit.subject.chars().take(50).collect();
        let more = if commit.subject.chars().count() > 50 {
            "..."
        } else {
            ""
        };
        format!("stored artifact for commit '{subject}{more}'")
    };
    if let Some(rewritten) = rewritten {
        message.push_str(&format!(" (fetched from '{rewritten}', as the mirrors say)"));
    }
    message
}

fn is_same(known: Option<&Artifact>, stored: &ports::Artifact) -> bool {
    known.is_some_and(|known| {
        known.revision == stored.revision && known.digest == stored.digest && known.path == stored.path
    })
}

/// A stored artifact as a status describes it.
fn described(artifact: &ports::Artifact, now: Timestamp) -> Artifact {
    Artifact {
        digest: artifact.digest.clone(),
        last_update_time: time::format(now),
        path: artifact.path.clone(),
        revision: artifact.revision.clone(),
        url: artifact.url.clone(),
        size: i64::try_from(artifact.size).ok(),
        metadata: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fluvial_api::Resource;
    use fluvial_api::source::{GitVerification, VerificationMode};
    use serde_json::json;

    fn repository() -> GitRepository {
        GitRepository::from_value(&json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "fleet", "namespace": "ns", "generation": 2,
                "annotations": {"reconcile.fluxcd.io/requestedAt": "now"}},
            "spec": {"url": "https://example.com/fleet", "interval": "1m"},
            "status": {"observedGeneration": -1},
        }))
        .expect("valid")
    }

    fn stored(revision: &str) -> Outcome {
        Outcome::Stored(Box::new(Stored {
            artifact: ports::Artifact {
                revision: revision.to_owned(),
                digest: format!("sha256:{revision}"),
                ..ports::Artifact::default()
            },
            commit: CommitFacts {
                subject: "Fix it".to_owned(),
                ..CommitFacts::default()
            },
            ..Stored::default()
        }))
    }

    fn finished(repository: &GitRepository, outcome: Outcome, failures: u32) -> Decision {
        finish(
            repository,
            outcome,
            failures,
            &Settings::default(),
            Timestamp::UNIX_EPOCH,
            0.5,
        )
    }

    fn failure(part: Part, class: SourceErrorClass) -> Outcome {
        Outcome::Failed(Failure {
            part,
            class,
            reason: "GitOperationFailed".to_owned(),
            message: "no".to_owned(),
        })
    }

    #[test]
    fn a_first_artifact_makes_the_object_ready_and_the_same_one_again_changes_nothing() {
        let mut repository = repository();
        let first = finished(&repository, stored("main@sha1:1"), 0);
        assert!(condition::is_true(&first.status.conditions, "Ready"));
        assert!(condition::is_true(&first.status.conditions, ARTIFACT_IN_STORAGE));
        assert_eq!(first.status.observed_generation, 2);
        assert_eq!(first.status.last_handled_reconcile_at.as_deref(), Some("now"));
        assert_eq!(first.notices[0].message, "stored artifact for commit 'Fix it'");
        assert_eq!(first.requeue, Requeue::After(Duration::from_secs(60)));
        repository.status = first.status.clone();
        for again in [stored("main@sha1:1"), Outcome::UpToDate] {
            let again = finished(&repository, again, 0);
            assert_eq!(again.status, first.status);
            assert!(again.notices.is_empty());
        }
    }

    #[test]
    fn a_failed_fetch_keeps_the_artifact_and_is_tried_again_ever_later() {
        let mut repository = repository();
        repository.status = finished(&repository, stored("main@sha1:1"), 0).status;
        repository.metadata.generation = 3;
        let failed = finished(&repository, failure(Part::Fetch, SourceErrorClass::Retry), 1);
        assert_eq!(failed.requeue, Requeue::After(Duration::from_millis(1500)));
        assert!(failed.status.artifact.is_some());
        assert_eq!(failed.status.observed_generation, 2);
        assert!(condition::is_true(&failed.status.conditions, FETCH_FAILED));
        assert_eq!(
            condition::get(&failed.status.conditions, "Reconciling").map(|found| found.reason.as_str()),
            Some("ProgressingWithRetry")
        );
        repository.status = failed.status;
        let well = finished(&repository, stored("main@sha1:1"), 2);
        assert_eq!(well.notices[0].reason, "Succeeded");
        assert!(condition::get(&well.status.conditions, FETCH_FAILED).is_none());
        assert!(condition::get(&well.status.conditions, "Reconciling").is_none());
    }

    #[test]
    fn what_only_a_new_spec_can_mend_is_stalled_and_not_tried_again() {
        let mut repository = repository();
        repository.spec.provider = GitProvider::Github;
        let Begin::Refuse(refusal) = begin(&repository) else {
            unreachable!("it is refused")
        };
        let decision = finished(&repository, Outcome::Failed(refusal), 0);
        assert_eq!(decision.requeue, Requeue::Never);
        assert_eq!(decision.status.observed_generation, 2);
        assert!(condition::is_true(&decision.status.conditions, "Stalled"));
        assert!(condition::get(&decision.status.conditions, "Reconciling").is_none());
    }

    #[test]
    fn providers_that_need_more_than_the_spec_gives_are_refused() {
        let mut repository = repository();
        for (provider, account, refused) in [
            (GitProvider::Azure, "", false),
            (GitProvider::Aws, "", false),
            (GitProvider::Azure, "account", false),
            (GitProvider::Generic, "account", true),
            (GitProvider::Github, "", true),
        ] {
            repository.spec.provider = provider;
            repository.spec.service_account_name = Some(account.to_owned());
            assert_eq!(
                begin(&repository) != Begin::Fetch,
                refused,
                "{provider:?} {account}"
            );
        }
    }

    #[test]
    fn a_wrong_signature_is_told_as_such_until_there_is_a_right_one() {
        let mut repository = repository();
        repository.spec.verify = Some(GitVerification::default());
        assert!(!verification_observed(&repository));
        let outcome = Outcome::Failed(Failure {
            part: Part::Verify,
            class: SourceErrorClass::Retry,
            reason: "InvalidCommitSignature".to_owned(),
            message: "no".to_owned(),
        });
        let wrong = finished(&repository, outcome, 0);
        let verified = condition::get(&wrong.status.conditions, SOURCE_VERIFIED).expect("it is there");
        assert_eq!(
            (verified.status.as_str(), verified.reason.as_str()),
            ("False", "InvalidCommitSignature")
        );
        assert!(condition::get(&wrong.status.conditions, FETCH_FAILED).is_none());
        repository.status = wrong.status;
        let Outcome::Stored(mut right) = stored("main@sha1:1") else {
            unreachable!("it is stored")
        };
        right.verified = Some("verified signature of x".to_owned());
        repository.status = finished(&repository, Outcome::Stored(right), 1).status;
        assert!(condition::is_true(&repository.status.conditions, SOURCE_VERIFIED));
        assert!(verification_observed(&repository));
        // Another mode has to be looked at.
        repository.spec.verify = Some(GitVerification {
            mode: VerificationMode::Tag,
            ..GitVerification::default()
        });
        assert!(!verification_observed(&repository));
    }

    #[test]
    fn a_missing_include_is_looked_for_at_a_set_time() {
        let decision = finished(
            &repository(),
            failure(Part::Include, SourceErrorClass::Waiting),
            7,
        );
        assert_eq!(decision.requeue, Requeue::After(Duration::from_secs(30)));
        assert!(condition::is_true(
            &decision.status.conditions,
            INCLUDE_UNAVAILABLE
        ));
    }

    #[test]
    fn deletion_comes_before_suspension() {
        let mut repository = repository();
        repository.spec.suspend = true;
        assert_eq!(begin(&repository), Begin::Rest);
        repository.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
        assert_eq!(begin(&repository), Begin::Delete);
    }

    #[test]
    fn other_settings_mean_another_artifact() {
        let mut repository = repository();
        repository.status = finished(&repository, stored("main@sha1:1"), 0).status;
        assert!(settings_observed(&repository));
        repository.spec.ignore = Some("*.md".to_owned());
        assert!(!settings_observed(&repository));
    }
}
