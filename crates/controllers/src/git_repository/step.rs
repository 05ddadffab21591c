//! What a GitRepository's spec and status say of a run: whether it can be made at all, and what need not be made again.

use fluvial_api::GitRepository;
use fluvial_api::source::{GitProvider, GitRepositorySpec};
use fluvial_ports::Revision;

use crate::condition;
use crate::source::step::{SOURCE_VERIFIED, told};

/// What of the provider and the credentials does not fit together.
pub fn unfit(spec: &GitRepositorySpec) -> Option<&'static str> {
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

/// What is told of a new artifact.
pub fn new_artifact(revision: &Revision) -> String {
    let subject = &revision.commit.subject;
    let message = if subject.is_empty() {
        format!("stored artifact for revision '{}'", revision.revision)
    } else {
        let more = if subject.chars().count() > 50 { "..." } else { "" };
        let subject: String = subject.chars().take(50).collect();
        format!("stored artifact for commit '{subject}{more}'")
    };
    told(message, revision.rewritten.as_deref())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fluvial_api::Resource;
    use fluvial_api::source::{GitRepositoryStatus, GitVerification, VerificationMode};
    use fluvial_ports::{self as ports, CommitFacts, SourceErrorClass};
    use fluvial_tree::Tree;
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::context::Settings;
    use crate::runner::Requeue;
    use crate::source::step::{
        self, ARTIFACT_IN_STORAGE, Begin, Decision, Failure, Found as _, Moment, Part,
    };

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

    fn with_moment<T>(run: impl FnOnce(Moment<'_>) -> T) -> T {
        run(Moment {
            settings: &Settings::default(),
            now: Timestamp::UNIX_EPOCH,
            random: 0.5,
        })
    }

    fn artifact(revision: &str) -> ports::Artifact {
        ports::Artifact {
            revision: revision.to_owned(),
            digest: format!("sha256:{revision}"),
            ..ports::Artifact::default()
        }
    }

    fn stored(
        repository: &GitRepository,
        revision: &str,
        verified: Option<&str>,
    ) -> Decision<GitRepositoryStatus> {
        let fetched = Revision {
            revision: revision.to_owned(),
            tree: Tree::default(),
            commit: CommitFacts {
                subject: "Fix it".to_owned(),
                ..CommitFacts::default()
            },
            rewritten: None,
            verified: verified.map(str::to_owned),
        };
        let stored = super::super::stored(repository, artifact(revision), Some(&fetched), Vec::new());
        with_moment(|moment| stored.conclude(repository, &str::to_owned, moment))
    }

    fn failed(repository: &GitRepository, failure: &Failure, failures: u32) -> Decision<GitRepositoryStatus> {
        with_moment(|moment| step::failed(repository, failure, failures, moment))
    }

    #[test]
    fn a_first_artifact_makes_the_object_ready_and_the_same_one_again_changes_nothing() {
        let mut repository = repository();
        let first = stored(&repository, "main@sha1:1", None);
        assert!(condition::is_true(&first.status.conditions, "Ready"));
        assert!(condition::is_true(&first.status.conditions, ARTIFACT_IN_STORAGE));
        assert_eq!(first.status.observed_generation, 2);
        assert_eq!(first.status.last_handled_reconcile_at.as_deref(), Some("now"));
        assert_eq!(first.notices[0].message, "stored artifact for commit 'Fix it'");
        assert_eq!(first.requeue, Requeue::After(Duration::from_secs(60)));
        repository.status = first.status.clone();
        let unchanged = super::super::stored(&repository, artifact("main@sha1:1"), None, Vec::new());
        let unchanged = with_moment(|moment| unchanged.conclude(&repository, &str::to_owned, moment));
        for again in [stored(&repository, "main@sha1:1", None), unchanged] {
            assert_eq!(again.status, first.status);
            assert!(again.notices.is_empty());
        }
    }

    #[test]
    fn a_failed_fetch_keeps_the_artifact_and_is_tried_again_ever_later() {
        let mut repository = repository();
        repository.status = stored(&repository, "main@sha1:1", None).status;
        repository.metadata.generation = 3;
        let failure = Failure::fetch("GitOperationFailed", "no");
        let failed = failed(&repository, &failure, 1);
        assert_eq!(failed.requeue, Requeue::After(Duration::from_millis(1500)));
        assert!(failed.status.artifact.is_some());
        assert_eq!(failed.status.observed_generation, 2);
        assert!(condition::is_true(&failed.status.conditions, "FetchFailed"));
        assert_eq!(
            condition::get(&failed.status.conditions, "Reconciling").map(|found| found.reason.as_str()),
            Some("ProgressingWithRetry")
        );
        repository.status = failed.status;
        let well = stored(&repository, "main@sha1:1", None);
        assert_eq!(well.notices[0].reason, "Succeeded");
        assert!(condition::get(&well.status.conditions, "FetchFailed").is_none());
        assert!(condition::get(&well.status.conditions, "Reconciling").is_none());
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
                unfit(&repository.spec).is_some(),
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
        let failure = Failure::new(
            Part::Verify,
            SourceErrorClass::Retry,
            "InvalidCommitSignature",
            "no",
        );
        let wrong = failed(&repository, &failure, 0);
        let verified = condition::get(&wrong.status.conditions, SOURCE_VERIFIED).expect("it is there");
        assert_eq!(
            (verified.status.as_str(), verified.reason.as_str()),
            ("False", "InvalidCommitSignature")
        );
        assert!(condition::get(&wrong.status.conditions, "FetchFailed").is_none());
        repository.status = wrong.status;
        repository.status = stored(&repository, "main@sha1:1", Some("verified signature of x")).status;
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
    fn a_missing_include_is_looked_for_at_a_set_time_and_a_revision_at_the_next_interval() {
        let include = Failure::new_waiting(Part::Include, "IncludeUnavailable", "no");
        let decision = failed(&repository(), &include, 7);
        assert_eq!(decision.requeue, Requeue::After(Duration::from_secs(30)));
        assert!(condition::is_true(
            &decision.status.conditions,
            "IncludeUnavailable"
        ));
        let too_large = Failure::new(Part::Fetch, SourceErrorClass::Waiting, "GitOperationFailed", "no");
        let decision = failed(&repository(), &too_large, 7);
        assert_eq!(decision.requeue, Requeue::After(Duration::from_secs(60)));
    }

    #[test]
    fn deletion_comes_before_suspension() {
        let mut repository = repository();
        repository.spec.suspend = true;
        assert_eq!(step::begin(&repository), Begin::Rest);
        repository.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
        assert_eq!(step::begin(&repository), Begin::Delete);
    }

    #[test]
    fn other_settings_mean_another_artifact() {
        let mut repository = repository();
        repository.status = stored(&repository, "main@sha1:1", None).status;
        assert!(settings_observed(&repository));
        repository.spec.ignore = Some("*.md".to_owned());
        assert!(!settings_observed(&repository));
    }
}
