//! What actions leave behind in the status and in events: conditions, counts, snapshots, in Flux's words.

use fluvial_api::HelmRelease;
use fluvial_api::helm::{HelmReleaseStatus, Snapshot};
use fluvial_helm::release::Stored;
use fluvial_ports::Severity;
use jiff::Timestamp;

use super::HelmReleases;
use super::actions::{Outcome, tests_of};
use super::chart;
use super::names::{self, Action, Names};
use super::objects::Trouble;
use super::state::{self, Desired};
use super::step::{self, RELEASED, REMEDIATED, TEST_SUCCESS};
use crate::Key;
use crate::condition::{self, Conditions};
use crate::deliverer::failure::{Class, Failure};
use crate::metrics::ResourceFacts;

/// An event to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Reason word.
    pub(crate) reason: String,
    /// Text.
    pub(crate) message: String,
    /// Version of the chart.
    pub(crate) revision: String,
    /// Digest of the values.
    pub(crate) token: String,
    /// Version of the application.
    pub(crate) app_version: Option<String>,
    /// Digest of the chart's source.
    pub(crate) oci_digest: Option<String>,
}

/// `namespace/name.vN`
pub(crate) fn full_name(snapshot: &Snapshot) -> String {
    format!("{}/{}.v{}", snapshot.namespace, snapshot.name, snapshot.version)
}

/// `name@version`
pub(crate) fn chart_of(snapshot: &Snapshot) -> String {
    format!("{}@{}", snapshot.chart_name, snapshot.chart_version)
}

/// A status being changed by what a run does.
pub(crate) struct Report<'a> {
    /// Whose status it is.
    pub(crate) object: &'a HelmRelease,
    /// The status.
    pub(crate) status: &'a mut HelmReleaseStatus,
    /// What is wanted.
    pub(crate) desired: &'a Desired,
    /// What the release is called.
    pub(crate) names: &'a Names,
    /// When.
    pub(crate) now: Timestamp,
}

impl Report<'_> {
    fn conditions(&mut self) -> Conditions<'_> {
        Conditions::of(
            &mut self.status.conditions,
            self.object.metadata.generation,
            self.now,
        )
    }

    fn latest(&self) -> Option<Snapshot> {
        state::latest(&self.status.history).cloned()
    }

    fn news(&self, severity: Severity, reason: &str, message: String, about: Option<&Snapshot>) -> News {
        News {
            severity,
            reason: reason.to_owned(),
            message,
            revision: about.map_or_else(
                || self.desired.chart_version.clone(),
                |snapshot| snapshot.chart_version.clone(),
            ),
            token: about.map_or_else(
                || self.desired.config_digest.clone(),
                |snapshot| snapshot.config_digest.clone(),
            ),
            app_version: about.map_or_else(
                || self.desired.app_version.clone(),
                |snapshot| snapshot.app_version.clone(),
            ),
            oci_digest: about
                .map_or(self.status.last_attempted_revision_digest.clone(), |snapshot| {
                    snapshot.oci_digest.clone()
                })
                .filter(|digest| !digest.is_empty()),
        }
    }

    /// An action is about to begin.
    pub(crate) fn begin(&mut self, action: Action, now: Timestamp) {
        self.now = now;
        let timeout = fluvial_api::Duration(names::timeout(self.object, action));
        let text = format!("Running '{}' action with timeout of {timeout}", action.as_str());
        let mut conditions = self.conditions();
        conditions
            .remove(condition::STALLED)
            .yes(condition::RECONCILING, condition::PROGRESSING, &text);
        if matches!(action, Action::Install | Action::Upgrade) {
            conditions.unknown(condition::READY, condition::PROGRESSING, &text);
        }
    }

    /// Takes versions that an action wrote into the snapshots.
    fn record(&mut self, outcome: &Outcome, action: Action) {
        let digest = self
            .status
            .last_attempted_revision_digest
            .clone()
            .unwrap_or_default();
        for stored in outcome.written.iter().rev() {
            state::record(&mut self.status.history, stored, &digest, Some(action));
        }
    }

    /// How an installation or upgrade ended.
    pub(crate) fn released(&mut self, action: Action, outcome: &Outcome) -> (News, Result<(), Failure>) {
        if action == Action::Install {
            self.status.history.clear();
        }
        self.conditions().remove(TEST_SUCCESS).remove(REMEDIATED);
        self.record(outcome, action);
        let (good, bad) = match action {
            Action::Install => ("InstallSucceeded", "InstallFailed"),
            _ => ("UpgradeSucceeded", "UpgradeFailed"),
        };
        let verb = action.as_str();
        if let Some(trouble) = &outcome.trouble {
            let message = format!(
                "Helm {verb} failed for release {}/{} with chart {}@{}: {}",
                self.names.namespace,
                self.names.release,
                self.desired.chart_name,
                self.desired.chart_version,
                trouble.text.trim()
            );
            let reason = reason_of(trouble, bad);
            self.status.failures += 1;
            self.conditions().no(RELEASED, reason, &message);
            let news = self.news(Severity::Error, reason, message.clone(), None);
            if outcome.written.is_empty() {
                self.summarize();
                return (news, Err(told(reason, message)));
            }
            match action {
                Action::Install => self.status.install_failures += 1,
                _ => self.status.upgrade_failures += 1,
            }
            self.summarize();
            return (news, Ok(()));
        }
        let latest = self.latest().unwrap_or_default();
        let message = format!(
            "Helm {verb} succeeded for release {} with chart {}",
            full_name(&latest),
            chart_of(&latest)
        );
        self.conditions().yes(RELEASED, good, &message);
        if names::tests(self.object) && latest.test_hooks.is_none() {
            let text = format!(
                "Helm release {} with chart {} is awaiting tests",
                full_name(&latest),
                chart_of(&latest)
            );
            self.conditions().unknown(TEST_SUCCESS, "AwaitingTests", &text);
        }
        if names::retry_interval(self.object, action).is_some() {
            state::clear_failures(self.status);
        }
        let news = self.news(Severity::Info, good, message, Some(&latest));
        self.summarize();
        (news, Ok(()))
    }

    /// How tests ended.
    pub(crate) fn tested(&mut self, outcome: &Outcome) -> (News, Result<(), Failure>) {
        self.record(outcome, Action::Test);
        if let (Some(stored), Some(snapshot)) = (outcome.written.first(), self.status.history.first_mut()) {
            snapshot.test_hooks = Some(tests_of(stored));
        }
        let latest = self.latest().unwrap_or_default();
        let about = format!("release {} with chart {}", full_name(&latest), chart_of(&latest));
        if let Some(trouble) = &outcome.trouble {
            let message = format!("Helm test failed for {about}: {}", trouble.text.trim());
            self.status.failures += 1;
            self.conditions().no(TEST_SUCCESS, "TestFailed", &message);
            let news = self.news(Severity::Error, "TestFailed", message.clone(), Some(&latest));
            if outcome.written.is_empty() {
                self.summarize();
                return (news, Err(told("TestFailed", message)));
            }
            let action = state::active(self.status);
            let remedy = action.and_then(|action| names::remedy(self.object, action));
            if remedy.is_some_and(|remedy| !remedy.ignore_tests) {
                match action {
                    Some(Action::Install) => self.status.install_failures += 1,
                    _ => self.status.upgrade_failures += 1,
                }
            }
            self.summarize();
            return (news, Ok(()));
        }
        let count = latest
            .test_hooks
            .as_ref()
            .map_or(0, std::collections::BTreeMap::len);
        let what = match count {
            0 => "no test hooks".to_owned(),
            1 => "1 test hook completed successfully".to_owned(),
            many => format!("{many} test hooks completed successfully"),
        };
        let message = format!("Helm test succeeded for {about}: {what}");
        self.conditions().yes(TEST_SUCCESS, "TestSucceeded", &message);
        let news = self.news(Severity::Info, "TestSucceeded", message, Some(&latest));
        self.summarize();
        (news, Ok(()))
    }

    /// How a rollback ended.
    pub(crate) fn rolled_back(
        &mut self,
        target: &Snapshot,
        outcome: &Outcome,
    ) -> (News, Result<(), Failure>) {
        let digest = target.oci_digest.clone().unwrap_or_default();
        for stored in outcome.written.iter().rev() {
            state::record(&mut self.status.history, stored, &digest, Some(Action::Rollback));
        }
        let about = format!(
            "Helm rollback to previous release {} with chart {}",
            full_name(target),
            chart_of(target)
        );
        let (message, reason) = match &outcome.trouble {
            Some(trouble) => (
                format!("{about} failed: {}", trouble.text.trim()),
                reason_of(trouble, "RollbackFailed"),
            ),
            None => (format!("{about} succeeded"), "RollbackSucceeded"),
        };
        // It is told beside which values were to be released.
        let target = Snapshot {
            config_digest: self.desired.config_digest.clone(),
            ..target.clone()
        };
        self.remediated(reason, message, Some(&target), outcome)
    }

    /// How an uninstallation after a failure ended.
    pub(crate) fn uninstalled(&mut self, outcome: &Outcome) -> (News, Result<(), Failure>) {
        self.record(outcome, Action::Uninstall);
        let latest = self.latest().unwrap_or_default();
        let about = format!(
            "Helm uninstall remediation for release {} with chart {}",
            full_name(&latest),
            chart_of(&latest)
        );
        let (message, reason) = match &outcome.trouble {
            Some(trouble) => (
                format!("{about} failed: {}", trouble.text.trim()),
                reason_of(trouble, "UninstallFailed"),
            ),
            None => (format!("{about} succeeded"), "UninstallSucceeded"),
        };
        self.remediated(reason, message, Some(&latest), outcome)
    }

    fn remediated(
        &mut self,
        reason: &str,
        message: String,
        about: Option<&Snapshot>,
        outcome: &Outcome,
    ) -> (News, Result<(), Failure>) {
        if outcome.trouble.is_some() {
            self.status.failures += 1;
            self.conditions().no(REMEDIATED, reason, &message);
            let news = self.news(Severity::Error, reason, message.clone(), about);
            self.summarize();
            if outcome.written.is_empty() {
                return (news, Err(told(reason, message)));
            }
            return (news, Ok(()));
        }
        self.conditions().yes(REMEDIATED, reason, &message);
        let news = self.news(Severity::Info, reason, message, about);
        self.summarize();
        (news, Ok(()))
    }

    /// An action that was cut off is now a failed one: the `last` of the stored versions.
    pub(crate) fn unlocked(
        &mut self,
        was: &str,
        last: Option<&Stored>,
        outcome: &Outcome,
    ) -> (News, Result<(), Failure>) {
        for stored in &outcome.written {
            let known = self.status.history.iter().any(|snapshot| {
                snapshot.name == stored.name
                    && snapshot.namespace == stored.namespace
                    && snapshot.version == stored.version
            });
            if known {
                state::record(&mut self.status.history, stored, "", None);
            }
        }
        let about = last
            .map(|stored| state::snapshot(stored, "", None))
            .unwrap_or_default();
        let name = format!("{} with chart {}", full_name(&about), chart_of(&about));
        if let Some(trouble) = &outcome.trouble {
            let message = format!(
                "Unlock of Helm release {name} in {was} state failed: {}",
                trouble.text.trim()
            );
            self.status.failures += 1;
            self.conditions().no(RELEASED, "PendingRelease", &message);
            let news = self.news(Severity::Error, "PendingRelease", message.clone(), None);
            self.summarize();
            return (news, Err(told("PendingRelease", message)));
        }
        let message = format!("Unlocked Helm release {name} in {was} state");
        self.conditions().no(RELEASED, "PendingRelease", &message);
        let news = self.news(Severity::Info, "PendingRelease", message, Some(&about));
        (news, Ok(()))
    }

    /// The release is as wanted: what was remediated before is settled, and what was done but not told is told.
    pub(crate) fn settle(&mut self) {
        let remediated = condition::is_true(&self.status.conditions, REMEDIATED);
        let latest = self.latest().unwrap_or_default();
        let name = full_name(&latest);
        let told = condition::get(&self.status.conditions, RELEASED).is_some_and(|released| {
            let mut words = released.message.split(' ');
            released.status == "True" && words.any(|word| word == name)
        });
        if !remediated && told {
            return;
        }
        let installed = !remediated && latest.action.as_deref() == Some(Action::Install.as_str());
        let (verb, reason) = if installed {
            ("install", "InstallSucceeded")
        } else {
            ("upgrade", "UpgradeSucceeded")
        };
        let message = format!(
            "Helm {verb} succeeded for release {name} with chart {}",
            chart_of(&latest)
        );
        self.conditions()
            .remove(REMEDIATED)
            .yes(RELEASED, reason, &message);
    }

    /// Sums the conditions up in Ready.
    pub(crate) fn summarize(&mut self) {
        step::summarize(self.object, self.status, self.now);
    }
}

/// Why an action failed; one that was cut off for something newer has not.
fn reason_of(trouble: &Trouble, otherwise: &'static str) -> &'static str {
    if trouble.canceled {
        "HealthCheckCanceled"
    } else {
        otherwise
    }
}

/// A failure that conditions tell of already.
pub(crate) fn told(reason: &str, message: String) -> Failure {
    Failure {
        class: Class::Retry,
        reason: reason.to_owned().into(),
        message,
        told: true,
    }
}

impl HelmReleases {
    /// Shows an object in the metrics.
    pub(super) fn show(&self, key: &Key, object: &HelmRelease) {
        let conditions = &object.status.conditions;
        let source = chart::source_of(object)
            .map(|id| id.to_string())
            .unwrap_or_default();
        let facts = ResourceFacts {
            ready: condition::get(conditions, condition::READY)
                .map_or("Unknown", |ready| ready.status.as_str()),
            suspended: object.spec.suspend,
            revision: state::latest(&object.status.history)
                .map(|snapshot| snapshot.chart_version.as_str())
                .unwrap_or_default(),
            source: &source,
        };
        self.context
            .metrics
            .show(HelmRelease::KIND, key, conditions, &facts);
    }
}
