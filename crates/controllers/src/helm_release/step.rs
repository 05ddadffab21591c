//! Decisions about a HelmRelease: what a run begins with, how conditions are summed up, what the status says.

use fluvial_api::HelmRelease;
use fluvial_api::helm::{ActionStrategy, ActionStrategyName, HelmReleaseStatus};
use fluvial_api::keys::{FORCE_AT, RESET_AT};
use jiff::Timestamp;

use super::names;
use crate::condition::{self, Conditions, READY};
use crate::context::Settings;
use crate::deliverer::failure::ACCESS_DENIED;
pub use crate::deliverer::failure::{Begin, Class, Failure};

/// The source is not ready.
pub const SOURCE_NOT_READY: &str = "SourceNotReady";
/// Values cannot be put together.
pub const VALUES_ERROR: &str = "ValuesError";
/// The chart does not fit its source.
pub const CHART_MUTATE_ERROR: &str = "ChartMutateError";
/// What state the release is in cannot be told.
pub const STATE_ERROR: &str = "StateError";
/// The cluster cannot be asked.
pub const REST_CLIENT_ERROR: &str = "RESTClientError";

/// Whether a version is released.
pub const RELEASED: &str = "Released";
/// Whether the tests succeeded.
pub const TEST_SUCCESS: &str = "TestSuccess";
/// Whether a failure was remediated.
pub const REMEDIATED: &str = "Remediated";
/// Whether the cluster differs from the release.
pub const DRIFTED: &str = "Drifted";

/// What a run begins with.
pub fn begin(object: &HelmRelease, settings: &Settings) -> Begin {
    let spec = &object.spec;
    if object.metadata.is_deleting() {
        return Begin::Delete;
    }
    if spec.suspend {
        return Begin::Rest;
    }
    let refuse = |reason: &'static str, text: String| Begin::Refuse(Failure::stalled(reason, text));
    if spec.chart.is_some() == spec.chart_ref.is_some() {
        return refuse(
            "InvalidChartReference",
            "exactly one of spec.chart and spec.chartRef must be set".to_owned(),
        );
    }
    let own = &object.metadata.namespace;
    let reference = spec
        .chart_ref
        .as_ref()
        .or_else(|| spec.chart.as_ref().map(|chart| &chart.spec.source_ref));
    let other = reference
        .and_then(|reference| reference.namespace.as_ref())
        .filter(|namespace| !namespace.is_empty() && *namespace != own);
    if let (true, Some(reference), Some(other)) =
        (settings.releases.no_cross_namespace_refs, reference, other)
    {
        return refuse(
            ACCESS_DENIED,
            format!(
                "can't access '{}/{other}/{}', cross-namespace references have been blocked",
                reference.kind, reference.name
            ),
        );
    }
    Begin::Go
}

/// Has failed actions tried again, and nothing else, where the spec names no strategy.
pub fn only_retry(object: &mut HelmRelease) {
    let retry = || ActionStrategy {
        name: ActionStrategyName::RetryOnFailure,
        retry_interval: None,
    };
    let spec = &mut object.spec;
    let install = spec.install.get_or_insert_default();
    install.strategy.get_or_insert_with(retry);
    let upgrade = spec.upgrade.get_or_insert_default();
    upgrade.strategy.get_or_insert_with(retry);
}

/// Whether somebody asks for an action regardless of the state, by a request that has not been handled.
pub fn is_forced(object: &HelmRelease) -> bool {
    asked(object, FORCE_AT, object.status.last_handled_force_at.as_deref())
}

/// Whether somebody asks to forget failures, by a request that has not been handled.
pub fn is_reset(object: &HelmRelease) -> bool {
    asked(object, RESET_AT, object.status.last_handled_reset_at.as_deref())
}

/// Such a request counts only together with a request to reconcile, and once.
fn asked(object: &HelmRelease, key: &str, handled: Option<&str>) -> bool {
    let token = object.metadata.annotation(key);
    token.is_some()
        && token == object.metadata.requested_at()
        && token != handled
        && token != object.status.last_handled_reconcile_at.as_deref()
}

/// Marks the requests of an object as handled.
pub fn handle_requests(object: &HelmRelease, status: &mut HelmReleaseStatus) {
    let metadata = &object.metadata;
    if let Some(token) = metadata.annotation(FORCE_AT) {
        status.last_handled_force_at = Some(token.to_owned());
    }
    if let Some(token) = metadata.annotation(RESET_AT) {
        status.last_handled_reset_at = Some(token.to_owned());
    }
    if let Some(token) = metadata.requested_at() {
        status.last_handled_reconcile_at = Some(token.to_owned());
    }
}

/// Sums Remediated, TestSuccess and Released up in Ready: the newest counts, of equal ones the first.
pub fn summarize(object: &HelmRelease, status: &mut HelmReleaseStatus, now: Timestamp) {
    let tested = names::tests(object);
    let ignored = names::ignores_tests(object);
    let kinds: &[&str] = if tested && !ignored {
        &[REMEDIATED, TEST_SUCCESS, RELEASED]
    } else {
        &[REMEDIATED, RELEASED]
    };
    let found = kinds
        .iter()
        .filter_map(|kind| condition::get(&status.conditions, kind))
        .rev()
        .max_by_key(|condition| condition.observed_generation)
        .cloned();
    let mut conditions = Conditions::of(&mut status.conditions, object.metadata.generation, now);
    if !tested {
        conditions.remove(TEST_SUCCESS);
    }
    let Some(found) = found else { return };
    // What had to be remediated is a failure.
    let state = if found.r#type == REMEDIATED {
        "False"
    } else {
        found.status.as_str()
    };
    if state == "True" {
        conditions.remove(condition::STALLED);
    }
    conditions.set(READY, state, &found.reason, &found.message);
}

/// The status at the end of a run that failed.
pub fn failed(object: &HelmRelease, status: &mut HelmReleaseStatus, failure: &Failure, now: Timestamp) {
    let generation = object.metadata.generation;
    match failure.class {
        Class::Stalled => {
            let mut conditions = Conditions::of(&mut status.conditions, generation, now);
            if failure.told {
                conditions.remove(condition::RECONCILING).yes(
                    condition::STALLED,
                    &failure.reason,
                    &failure.message,
                );
            } else {
                conditions.stalled(&failure.reason, &failure.message);
            }
            status.observed_generation = generation;
        }
        Class::Waiting | Class::Retry | Class::RetryAfter(_) | Class::Superseded => {
            // Tried again as its spec says, it has been seen to.
            if matches!(failure.class, Class::RetryAfter(_)) {
                status.observed_generation = generation;
            }
            if failure.told {
                let message = condition::get(&status.conditions, READY)
                    .map_or_else(|| failure.message.clone(), |ready| ready.message.clone());
                Conditions::of(&mut status.conditions, generation, now)
                    .remove(condition::STALLED)
                    .yes(
                        condition::RECONCILING,
                        condition::PROGRESSING_WITH_RETRY,
                        &message,
                    );
            } else {
                Conditions::of(&mut status.conditions, generation, now)
                    .retrying(&failure.reason, &failure.message);
            }
        }
    }
}

#[cfg(test)]
#[path = "step/tests.rs"]
mod tests;
