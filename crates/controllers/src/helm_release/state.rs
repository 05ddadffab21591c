//! What state a release is in, and what is to be done about it: decisions over what is stored and what is wanted.

use fluvial_api::HelmRelease;
use fluvial_api::helm::{HelmReleaseStatus, Snapshot};
use fluvial_helm::release::{Forms, History, Status, Stored};

use super::names::{self, Action, Names};

/// Version of the form of a snapshot.
pub(crate) const SNAPSHOT_VERSION: &str = "v2";
/// A test that failed.
const FAILED: &str = "Failed";
/// What the description of a rollback begins with, before the number of the version.
pub(crate) const ROLLBACK: &str = "Rollback to ";
/// There is no version to roll back to.
const MISSING_TARGET: &str = "MissingRollbackTarget";
/// Snapshots kept if there is none to roll back to.
const SNAPSHOTS: usize = 5;

/// What is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Desired {
    /// Name of the chart.
    pub(crate) chart_name: String,
    /// Its version.
    pub(crate) chart_version: String,
    /// The version of the application in it.
    pub(crate) app_version: Option<String>,
    /// Digest of the values.
    pub(crate) config_digest: String,
    /// Digest of the post-renderers.
    pub(crate) post_renderers: Option<String>,
    /// Digest of the common metadata.
    pub(crate) common_metadata: Option<String>,
}

/// What state a release is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It is not installed.
    Absent,
    /// It is there and somebody else made it what it is.
    Unmanaged,
    /// An action was cut off.
    Locked(Status),
    /// Its removal was cut off.
    HalfGone,
    /// It is not what is wanted.
    OutOfSync(&'static str),
    /// It has not been tested.
    Untested,
    /// It has failed.
    Failed,
    /// All is as it should be, as far as is stored.
    InSync,
}

/// The newest snapshot.
pub(crate) fn latest(history: &[Snapshot]) -> Option<&Snapshot> {
    history.iter().max_by_key(|snapshot| snapshot.version)
}

/// The newest snapshot before the latest that can be rolled back to.
pub(crate) fn previous(history: &[Snapshot], ignore_tests: bool) -> Option<&Snapshot> {
    let last = latest(history)?.version;
    history
        .iter()
        .filter(|snapshot| snapshot.version != last && is_good(snapshot, ignore_tests))
        .max_by_key(|snapshot| snapshot.version)
}

fn is_good(snapshot: &Snapshot, ignore_tests: bool) -> bool {
    matches!(snapshot.status.as_str(), "deployed" | "superseded")
        && (ignore_tests || !has_failed_test(snapshot))
}

/// Whether a test of a snapshot failed.
pub(crate) fn has_failed_test(snapshot: &Snapshot) -> bool {
    snapshot
        .test_hooks
        .iter()
        .flatten()
        .any(|(_, hook)| hook.phase.as_deref() == Some(FAILED))
}

/// Forgets snapshots older than the one that can be rolled back to.
pub(crate) fn truncate(history: &mut Vec<Snapshot>, ignore_tests: bool) {
    history.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.version));
    let good = history
        .iter()
        .skip(1)
        .position(|snapshot| is_good(snapshot, ignore_tests));
    match good {
        Some(position) => history.truncate(position + 2),
        None => history.truncate(SNAPSHOTS),
    }
}

/// Forgets snapshots that are of no more use: once all is as wanted, and before a failure is remediated.
pub(crate) fn forget_older(object: &HelmRelease, status: &mut HelmReleaseStatus, state: &State, next: &Next) {
    let remedy = active(status).and_then(|action| names::remedy(object, action));
    let ignore = remedy.map_or_else(|| names::ignores_tests(object), |remedy| remedy.ignore_tests);
    let remediates = match next {
        Next::Do(Action::Rollback | Action::Uninstall) => true,
        Next::Stall(reason, _) => *reason == MISSING_TARGET,
        _ => false,
    };
    if *state == State::InSync || remediates {
        truncate(&mut status.history, ignore);
    }
}

/// The snapshot of a stored version.
pub(crate) fn snapshot(release: &Stored, oci_digest: &str, action: Option<Action>) -> Snapshot {
    let second = |text: &str| {
        fluvial_object::time::parse(text)
            .map(fluvial_object::time::format)
            .unwrap_or_else(|_unreadable| text.to_owned())
    };
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Snapshot {
        digest: fluvial_helm::release::observation_digest(release, oci_digest),
        name: release.name.clone(),
        namespace: release.namespace.clone(),
        version: release.version,
        status: release.info.status.to_string(),
        chart_name: release.chart_name().to_owned(),
        chart_version: release.chart_version().to_owned(),
        config_digest: fluvial_helm::release::config_digest(&release.values()),
        first_deployed: second(&release.info.first_deployed),
        last_deployed: second(&release.info.last_deployed),
        api_version: Some(SNAPSHOT_VERSION.to_owned()),
        action: action.map(|action| action.as_str().to_owned()),
        app_version: filled(release.app_version()),
        oci_digest: filled(oci_digest),
        deleted: filled(&second(&release.info.deleted)).filter(|_| !release.info.deleted.is_empty()),
        test_hooks: None,
    }
}

/// Takes what was observed of a version into the history of snapshots. Its tests and what else is only known from the
/// snapshot before stay.
pub(crate) fn record(
    history: &mut Vec<Snapshot>,
    release: &Stored,
    oci_digest: &str,
    action: Option<Action>,
) {
    let known = history.iter().position(|known| {
        known.name == release.name && known.namespace == release.namespace && known.version == release.version
    });
    match known {
        Some(position) => {
            let old = &history[position];
            let oci_digest = old.oci_digest.clone().unwrap_or_default();
            let mut new = snapshot(release, &oci_digest, None);
            new.action.clone_from(&old.action);
            new.test_hooks.clone_from(&old.test_hooks);
            history[position] = new;
        }
        None => history.insert(0, snapshot(release, oci_digest, action)),
    }
    history.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.version));
}

/// Takes versions into the snapshots that were made for this object and that no status tells of yet: the process was
/// killed after it had stored them. Those that somebody else has touched since are none of them. Gives the version that
/// was rolled back to, if the last one is a rollback that was complete.
pub(crate) fn catch_up(
    status: &mut HelmReleaseStatus,
    history: &History,
    uid: &str,
    oci_digest: &str,
) -> Option<i64> {
    let known = latest(&status.history).map_or(0, |snapshot| snapshot.version);
    let in_place = latest(&status.history).is_none_or(|snapshot| {
        // A chain is only gone on with where it is whole.
        history
            .get(snapshot.version)
            .is_some_and(|stored| stored.made_for == uid)
    });
    if uid.is_empty() || !in_place {
        return None;
    }
    for stored in history.all().iter().filter(|stored| stored.version >= known) {
        if stored.made_for != uid {
            return None;
        }
        record(&mut status.history, stored, oci_digest, action_of(stored));
        let action = action_of(stored).filter(|_| stored.version > known);
        if let Some(action @ (Action::Install | Action::Upgrade)) = action {
            status.last_attempted_release_action = Some(action.as_str().to_owned());
        }
    }
    let last = history
        .last()
        .filter(|last| last.version > known && last.info.status == Status::Deployed)?;
    last.info.description.strip_prefix(ROLLBACK)?.parse().ok()
}

/// Takes what was changed of a stored version into its snapshot, if it has one.
pub(crate) fn mark(history: &mut Vec<Snapshot>, release: &Stored) {
    let is_known = history.iter().any(|known| {
        known.name == release.name && known.namespace == release.namespace && known.version == release.version
    });
    if is_known {
        record(history, release, "", None);
    }
}

/// Which action made a version, as far as it tells.
fn action_of(stored: &Stored) -> Option<Action> {
    let text = &stored.info.description;
    if stored.info.status == Status::PendingRollback || text.starts_with(ROLLBACK) {
        Some(Action::Rollback)
    } else if stored.info.status == Status::PendingUpgrade || text.starts_with("Upgrade") {
        Some(Action::Upgrade)
    } else if stored.info.status == Status::PendingInstall || stored.version == 1 {
        Some(Action::Install)
    } else {
        None
    }
}

/// Whether a snapshot is of a stored version as it stands. Older forms of snapshots are not looked at closely.
pub(crate) fn is_of(snapshot: &Snapshot, release: &Stored) -> bool {
    if snapshot.name != release.name
        || snapshot.namespace != release.namespace
        || snapshot.version != release.version
    {
        return false;
    }
    if snapshot.api_version.as_deref() != Some(SNAPSHOT_VERSION) {
        return true;
    }
    Forms::of(release, snapshot.oci_digest.as_deref().unwrap_or_default()).include(&snapshot.digest)
}

/// What state a release is in.
pub(crate) fn determine(
    object: &HelmRelease,
    status: &HelmReleaseStatus,
    history: &History,
    desired: &Desired,
) -> Result<State, String> {
    let Some(last) = history.last() else {
        return Ok(State::Absent);
    };
    let state = last.info.status;
    if state.is_pending() {
        return Ok(State::Locked(state));
    }
    if state == Status::Uninstalling {
        return Ok(State::HalfGone);
    }
    let Some(current) = latest(&status.history) else {
        return Ok(if state == Status::Uninstalled {
            State::Absent
        } else {
            State::Unmanaged
        });
    };
    if !is_of(current, last) {
        return Ok(State::Unmanaged);
    }
    match state {
        Status::Failed => Ok(State::Failed),
        Status::Uninstalled => Ok(State::Absent),
        Status::Deployed => Ok(deployed(object, status, last, current, desired)),
        other => Err(format!(
            "unable to determine state for release with status '{other}'"
        )),
    }
}

fn deployed(
    object: &HelmRelease,
    status: &HelmReleaseStatus,
    last: &Stored,
    current: &Snapshot,
    desired: &Desired,
) -> State {
    if last.chart_name() != desired.chart_name || last.chart_version() != desired.chart_version {
        return State::OutOfSync("chart changed");
    }
    if current.config_digest != desired.config_digest {
        return State::OutOfSync("config values changed");
    }
    let newer = status.observed_generation != object.metadata.generation;
    if newer && status.observed_post_renderers_digest != desired.post_renderers {
        return State::OutOfSync("postRenderers changed");
    }
    if newer && status.observed_common_metadata_digest != desired.common_metadata {
        return State::OutOfSync("commonMetadata changed");
    }
    if names::tests(object) {
        if current.test_hooks.is_none() {
            return State::Untested;
        }
        let remedy = active(status).and_then(|action| names::remedy(object, action));
        let counts = remedy.is_some_and(|remedy| !remedy.ignore_tests);
        if counts && has_failed_test(current) {
            return State::Failed;
        }
    }
    State::InSync
}

/// The action that was attempted last, if it is one that can be remediated.
pub(crate) fn active(status: &HelmReleaseStatus) -> Option<Action> {
    match status.last_attempted_release_action.as_deref() {
        Some("install") => Some(Action::Install),
        Some("upgrade") => Some(Action::Upgrade),
        _ => None,
    }
}

/// Failures of an action since the last change.
pub(crate) fn failures(status: &HelmReleaseStatus, action: Action) -> i64 {
    match action {
        Action::Install => status.install_failures,
        Action::Upgrade => status.upgrade_failures,
        _ => 0,
    }
}

/// Whether retries of the last action are used up; never for actions without remediation.
pub(crate) fn is_exhausted(object: &HelmRelease, status: &HelmReleaseStatus) -> bool {
    active(status).is_some_and(|action| {
        names::remedy(object, action).is_some_and(|remedy| remedy.is_exhausted(failures(status, action)))
    })
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing.
    Rest,
    /// An action.
    Do(Action),
    /// Nothing more can be done before the object changes: reason and text.
    Stall(&'static str, String),
}

/// What is to be done about a state. `forced` says that somebody asked for an action regardless.
pub(crate) fn next(
    object: &HelmRelease,
    status: &HelmReleaseStatus,
    history: &History,
    state: &State,
    forced: bool,
) -> Next {
    let exhausted = |action: Action| {
        names::remedy(object, action).is_some_and(|remedy| remedy.is_exhausted(failures(status, action)))
    };
    match state {
        State::InSync if forced => Next::Do(Action::Upgrade),
        State::InSync => Next::Rest,
        State::Locked(_) => Next::Do(Action::Unlock),
        State::HalfGone => Next::Do(Action::Uninstall),
        State::Absent if !forced && exhausted(Action::Install) => retries_exceeded(status),
        State::Absent => Next::Do(Action::Install),
        State::Unmanaged => Next::Do(Action::Upgrade),
        State::OutOfSync(_) if !forced && exhausted(Action::Upgrade) => retries_exceeded(status),
        State::OutOfSync(_) => Next::Do(Action::Upgrade),
        State::Untested => Next::Do(Action::Test),
        State::Failed => remediate(object, status, history, forced),
    }
}

fn retries_exceeded(status: &HelmReleaseStatus) -> Next {
    let action = status
        .last_attempted_release_action
        .as_deref()
        .unwrap_or("install");
    let failures = active(status).map_or(0, |action| failures(status, action));
    Next::Stall(
        "RetriesExceeded",
        format!("Failed to {action} after {failures} attempt(s)"),
    )
}

fn remediate(object: &HelmRelease, status: &HelmReleaseStatus, history: &History, forced: bool) -> Next {
    let Some(action) = active(status) else {
        return Next::Do(Action::Upgrade);
    };
    let Some(remedy) = names::remedy(object, action) else {
        return Next::Do(Action::Upgrade);
    };
    let failures = failures(status, action);
    if failures <= 0 || forced {
        return Next::Do(Action::Upgrade);
    }
    if remedy.is_exhausted(failures) && !remedy.remediate_last {
        return retries_exceeded(status);
    }
    if remedy.uninstalls {
        return Next::Do(Action::Uninstall);
    }
    let target = previous(&status.history, remedy.ignore_tests);
    let Some(target) = target else {
        return missing_target();
    };
    match history.get(target.version) {
        None => missing_target(),
        Some(stored) if is_of(target, stored) => Next::Do(Action::Rollback),
        // Somebody has changed it: the most correct remedy is another upgrade.
        Some(_) => Next::Do(Action::Upgrade),
    }
}

fn missing_target() -> Next {
    Next::Stall(
        MISSING_TARGET,
        "Failed to perform remediation: missing target release for rollback: cannot remediate failed release"
            .to_owned(),
    )
}

/// Why the release that is there has to go before another one is made in its place.
pub(crate) fn target_changed(
    object: &HelmRelease,
    status: &HelmReleaseStatus,
    wanted: &Names,
    chart_name: &str,
) -> Option<&'static str> {
    use fluvial_api::helm::ChartNameChangeStrategy::InPlaceUpdate;
    let current = latest(&status.history)?;
    let storage = status.storage_namespace.as_deref()?;
    if storage != wanted.storage {
        return Some("storage namespace changed");
    }
    if current.namespace != wanted.namespace {
        return Some("target namespace changed");
    }
    if current.name != wanted.release {
        return Some("release name changed");
    }
    let strategy = object
        .spec
        .upgrade
        .as_ref()
        .and_then(|upgrade| upgrade.chart_name_change_strategy);
    if current.chart_name != chart_name && strategy != Some(InPlaceUpdate) {
        return Some("chart name changed");
    }
    None
}

/// Whether failures before this attempt still count: not after a change of the object, the chart or the values.
pub(crate) fn must_reset(object: &HelmRelease, status: &HelmReleaseStatus, desired: &Desired) -> bool {
    status.last_attempted_generation != object.metadata.generation
        || status.last_attempted_revision.as_deref() != Some(desired.chart_version.as_str())
        || status.last_attempted_config_digest.as_deref() != Some(desired.config_digest.as_str())
}

/// Forgets failures.
pub(crate) fn clear_failures(status: &mut HelmReleaseStatus) {
    status.failures = 0;
    status.install_failures = 0;
    status.upgrade_failures = 0;
}

#[cfg(test)]
#[path = "state/tests.rs"]
mod tests;
