//! What a release is called and where it lives, and which settings an action has: the spec with Flux's defaults.

use std::time::Duration;

use fluvial_api::HelmRelease;
use fluvial_api::helm::{
    ActionStrategyName, CrdsPolicy, DeletionPropagation, DriftMode, PostRenderStrategy, RemediationStrategy,
    ServerSideApplyMode, WaitStrategyName,
};
use fluvial_ports::Propagation;
use fluvial_tree::Digest;

/// The longest name that Helm takes.
const NAME_LIMIT: usize = 53;
/// Time limit of an action that names none.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Time between attempts if none is named.
const RETRY_INTERVAL: Duration = Duration::from_secs(300);
/// Versions kept if no number is named.
const MAX_HISTORY: i64 = 5;

/// Name and namespaces of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// Name of the release.
    pub(crate) release: String,
    /// Namespace that it is installed in.
    pub(crate) namespace: String,
    /// Namespace of its stored versions.
    pub(crate) storage: String,
}

/// Empty settings count as absent.
fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

impl Names {
    /// The names that a HelmRelease asks for.
    pub(crate) fn of(object: &HelmRelease) -> Self {
        let spec = &object.spec;
        let own = &object.metadata.namespace;
        let target = given(spec.target_namespace.as_ref());
        let release = match (given(spec.release_name.as_ref()), target) {
            (Some(name), _) => name.to_owned(),
            (None, Some(target)) => format!("{target}-{}", object.metadata.name),
            (None, None) => object.metadata.name.clone(),
        };
        Self {
            release: shorten(&release),
            namespace: target.unwrap_or(own).to_owned(),
            storage: given(spec.storage_namespace.as_ref()).unwrap_or(own).to_owned(),
        }
    }
}

/// A name that is too long is cut and told apart by a digest.
fn shorten(name: &str) -> String {
    if name.len() <= NAME_LIMIT {
        return name.to_owned();
    }
    let end = name.floor_char_boundary(40);
    let digest = Digest::of(name.as_bytes()).to_hex();
    format!("{}-{}", &name[..end], &digest[..12])
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Installation.
    Install,
    /// Upgrade.
    Upgrade,
    /// Tests.
    Test,
    /// Rollback after a failed upgrade.
    Rollback,
    /// Uninstallation.
    Uninstall,
    /// An action that was cut off is marked as failed.
    Unlock,
}

impl Action {
    /// As messages and `lastAttemptedReleaseAction` call it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Action::Install => "install",
            Action::Upgrade => "upgrade",
            Action::Test => "test",
            Action::Rollback => "rollback",
            Action::Uninstall => "uninstall",
            Action::Unlock => "unlock",
        }
    }
}

/// How an action is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    /// How long it may take.
    pub(crate) timeout: Duration,
    /// Whether hooks run.
    pub(crate) hooks: bool,
    /// Whether health is waited for.
    pub(crate) wait: bool,
    /// Whether jobs are waited for too.
    pub(crate) wait_for_jobs: bool,
    /// Whether health is told as Helm's older waiter does.
    pub(crate) legacy_wait: bool,
    /// Whether objects of others are taken over.
    pub(crate) take_ownership: bool,
    /// Whether the server keeps track of owners of fields.
    pub(crate) server_side: bool,
    /// Whether objects are replaced (only without server-side apply).
    pub(crate) replace: bool,
    /// Whether objects that a failed action made are deleted.
    pub(crate) cleanup: bool,
    /// Whether values are held against the charts' schemas.
    pub(crate) check_schema: bool,
    /// What happens to definitions in `crds/`.
    pub(crate) crds: CrdsPolicy,
    /// How dependants of deleted objects go.
    pub(crate) propagation: Propagation,
    /// Whether the record of an uninstalled release stays.
    pub(crate) keep_history: bool,
}

/// The time limit of an action.
pub(crate) fn timeout(object: &HelmRelease, action: Action) -> Duration {
    let spec = &object.spec;
    let own = match action {
        Action::Install => spec.install.as_ref().and_then(|install| install.timeout),
        Action::Upgrade => spec.upgrade.as_ref().and_then(|upgrade| upgrade.timeout),
        Action::Test => spec.test.as_ref().and_then(|test| test.timeout),
        Action::Rollback => spec.rollback.as_ref().and_then(|rollback| rollback.timeout),
        Action::Uninstall => spec.uninstall.as_ref().and_then(|uninstall| uninstall.timeout),
        Action::Unlock => None,
    };
    own.or(spec.timeout).map_or(TIMEOUT, |timeout| timeout.0)
}

/// Whether the server keeps track of owners: said, or as the last version was applied.
fn server_side(mode: Option<&ServerSideApplyMode>, last: bool) -> bool {
    match mode {
        Some(ServerSideApplyMode::Enabled) => true,
        Some(ServerSideApplyMode::Disabled) => false,
        Some(ServerSideApplyMode::Auto) | None => last,
    }
}

/// How an action is carried out; `last_server_side` says how the version before was applied.
pub(crate) fn manner(object: &HelmRelease, action: Action, last_server_side: bool) -> Manner {
    let spec = &object.spec;
    let legacy = spec
        .wait_strategy
        .as_ref()
        .is_some_and(|strategy| strategy.name == WaitStrategyName::Legacy);
    let plain = Manner {
        timeout: timeout(object, action),
        hooks: true,
        wait: true,
        wait_for_jobs: true,
        legacy_wait: legacy,
        take_ownership: true,
        server_side: last_server_side,
        replace: false,
        cleanup: false,
        check_schema: true,
        crds: CrdsPolicy::Skip,
        propagation: Propagation::Background,
        keep_history: false,
    };
    match action {
        Action::Install => install(object, plain),
        Action::Upgrade => upgrade(object, plain),
        Action::Rollback => rollback(object, plain),
        Action::Uninstall => uninstall(object, plain),
        Action::Test | Action::Unlock => plain,
    }
}

fn install(object: &HelmRelease, plain: Manner) -> Manner {
    let install = object.spec.install.clone().unwrap_or_default();
    let default = if install.skip_crds {
        CrdsPolicy::Skip
    } else {
        CrdsPolicy::Create
    };
    Manner {
        hooks: !install.disable_hooks,
        wait: !install.disable_wait,
        wait_for_jobs: !install.disable_wait_for_jobs,
        take_ownership: !install.disable_take_ownership,
        server_side: install.server_side_apply.unwrap_or(true),
        check_schema: !install.disable_schema_validation,
        crds: install.crds.unwrap_or(default),
        ..plain
    }
}

fn upgrade(object: &HelmRelease, plain: Manner) -> Manner {
    let upgrade = object.spec.upgrade.clone().unwrap_or_default();
    Manner {
        hooks: !upgrade.disable_hooks,
        wait: !upgrade.disable_wait,
        wait_for_jobs: !upgrade.disable_wait_for_jobs,
        take_ownership: !upgrade.disable_take_ownership,
        server_side: server_side(upgrade.server_side_apply.as_ref(), plain.server_side),
        replace: upgrade.force,
        cleanup: upgrade.cleanup_on_fail,
        check_schema: !upgrade.disable_schema_validation,
        crds: upgrade.crds.unwrap_or(CrdsPolicy::Skip),
        ..plain
    }
}

fn rollback(object: &HelmRelease, plain: Manner) -> Manner {
    let rollback = object.spec.rollback.clone().unwrap_or_default();
    Manner {
        hooks: !rollback.disable_hooks,
        wait: !rollback.disable_wait,
        wait_for_jobs: !rollback.disable_wait_for_jobs,
        server_side: server_side(rollback.server_side_apply.as_ref(), plain.server_side),
        replace: rollback.force,
        cleanup: rollback.cleanup_on_fail,
        ..plain
    }
}

fn uninstall(object: &HelmRelease, plain: Manner) -> Manner {
    let uninstall = object.spec.uninstall.clone().unwrap_or_default();
    Manner {
        hooks: !uninstall.disable_hooks,
        wait: !uninstall.disable_wait,
        keep_history: uninstall.keep_history,
        propagation: match uninstall.deletion_propagation {
            DeletionPropagation::Foreground => Propagation::Foreground,
            DeletionPropagation::Orphan => Propagation::Orphan,
            DeletionPropagation::Background => Propagation::Background,
        },
        ..plain
    }
}

/// Versions kept; 0: all.
pub(crate) fn max_history(object: &HelmRelease) -> i64 {
    object.spec.max_history.unwrap_or(MAX_HISTORY)
}

/// What a failed action leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remedy {
    /// How often the action is tried again; negative: without end.
    pub(crate) retries: i64,
    /// Whether failed tests do not count.
    pub(crate) ignore_tests: bool,
    /// Whether the last failure is remediated too.
    pub(crate) remediate_last: bool,
    /// By uninstalling, not by rolling back.
    pub(crate) uninstalls: bool,
}

impl Remedy {
    /// Whether so many failures are too many.
    pub(crate) fn is_exhausted(self, failures: i64) -> bool {
        self.retries >= 0 && failures > self.retries
    }
}

/// What a failed action leads to; nothing for actions that are not remediated, or only tried again.
pub(crate) fn remedy(object: &HelmRelease, action: Action) -> Option<Remedy> {
    let ignore_all = ignores_tests(object);
    let (strategy, remediation, upgrades) = match action {
        Action::Install => {
            let install = object.spec.install.clone().unwrap_or_default();
            (install.strategy, install.remediation.unwrap_or_default(), false)
        }
        Action::Upgrade => {
            let upgrade = object.spec.upgrade.clone().unwrap_or_default();
            (upgrade.strategy, upgrade.remediation.unwrap_or_default(), true)
        }
        _ => return None,
    };
    if strategy.is_some_and(|strategy| strategy.name == ActionStrategyName::RetryOnFailure) {
        return None;
    }
    Some(Remedy {
        retries: remediation.retries,
        ignore_tests: remediation.ignore_test_failures.unwrap_or(ignore_all),
        remediate_last: remediation
            .remediate_last_failure
            .unwrap_or(upgrades && remediation.retries > 0),
        uninstalls: !upgrades || remediation.strategy == Some(RemediationStrategy::Uninstall),
    })
}

/// The time between attempts of an action that is only tried again.
pub(crate) fn retry_interval(object: &HelmRelease, action: Action) -> Option<Duration> {
    let strategy = match action {
        Action::Install => object.spec.install.as_ref()?.strategy.as_ref()?,
        Action::Upgrade => object.spec.upgrade.as_ref()?.strategy.as_ref()?,
        _ => return None,
    };
    (strategy.name == ActionStrategyName::RetryOnFailure).then(|| {
        strategy
            .retry_interval
            .map_or(RETRY_INTERVAL, |interval| interval.0)
    })
}

/// Whether tests run.
pub(crate) fn tests(object: &HelmRelease) -> bool {
    object.spec.test.as_ref().is_some_and(|test| test.enable)
}

/// Whether failed tests do not count, where the remediation of an action does not say otherwise.
pub(crate) fn ignores_tests(object: &HelmRelease) -> bool {
    object.spec.test.as_ref().is_some_and(|test| test.ignore_failures)
}

/// What is done about drift.
pub(crate) fn drift_mode(object: &HelmRelease) -> DriftMode {
    object
        .spec
        .drift_detection
        .as_ref()
        .map_or(DriftMode::Disabled, |drift| drift.mode)
}

/// Where post-renderers apply.
pub(crate) fn post_render(object: &HelmRelease) -> PostRenderStrategy {
    object
        .spec
        .post_render_strategy
        .unwrap_or(PostRenderStrategy::Combined)
}

#[cfg(test)]
mod tests {
    use fluvial_api::Resource;
    use serde_json::{Value, json};

    use super::*;

    fn release(spec: Value) -> HelmRelease {
        let mut object = json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "web", "namespace": "ns"}, "spec": {"interval": "1m"}});
        let Value::Object(fields) = spec else {
            unreachable!("a spec is a map")
        };
        for (key, value) in fields {
            object["spec"][key] = value;
        }
        HelmRelease::from_value(&object).unwrap()
    }

    #[test]
    fn names_follow_the_spec() {
        let names = |spec| {
            let names = Names::of(&release(spec));
            [names.release, names.namespace, names.storage]
        };
        assert_eq!(names(json!({})), ["web", "ns", "ns"]);
        assert_eq!(names(json!({"targetNamespace": "t"})), ["t-web", "t", "ns"]);
        assert_eq!(
            names(json!({"targetNamespace": "t", "releaseName": "r", "storageNamespace": "s"})),
            ["r", "t", "s"]
        );
        let long = "a".repeat(60);
        let short = names(json!({"releaseName": long}))[0].clone();
        assert_eq!(short.len(), 53);
        assert!(short.starts_with(&format!("{}-", "a".repeat(40))));
    }

    #[test]
    fn settings_have_fluxs_defaults() {
        let plain = release(json!({}));
        let install = manner(&plain, Action::Install, false);
        assert_eq!((install.crds, install.server_side), (CrdsPolicy::Create, true));
        let upgrade = manner(&plain, Action::Upgrade, false);
        assert_eq!((upgrade.crds, upgrade.server_side), (CrdsPolicy::Skip, false));
        assert!(manner(&plain, Action::Upgrade, true).server_side);
        assert_eq!(install.timeout, TIMEOUT);
        let other = release(
            json!({"timeout": "1m", "upgrade": {"timeout": "2m", "remediation": {"retries": 2}},
            "install": {"skipCRDs": true, "strategy": {"name": "RetryOnFailure"}}}),
        );
        assert_eq!(timeout(&other, Action::Install).as_secs(), 60);
        assert_eq!(timeout(&other, Action::Upgrade).as_secs(), 120);
        assert_eq!(manner(&other, Action::Install, false).crds, CrdsPolicy::Skip);
        assert_eq!(remedy(&other, Action::Install), None);
        assert_eq!(retry_interval(&other, Action::Install), Some(RETRY_INTERVAL));
        let remedy = remedy(&other, Action::Upgrade).unwrap();
        assert!(remedy.remediate_last && !remedy.uninstalls);
        assert!(!remedy.is_exhausted(2) && remedy.is_exhausted(3));
    }
}
