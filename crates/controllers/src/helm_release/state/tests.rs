use fluvial_api::Resource;
use fluvial_helm::release::Info;
use serde_json::{Value, json};

use super::*;

fn object(spec: Value) -> HelmRelease {
    let mut object = json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": "web", "namespace": "ns", "generation": 1}, "spec": {"interval": "1m"}});
    let Value::Object(fields) = spec else {
        unreachable!("a spec is a map")
    };
    for (key, value) in fields {
        object["spec"][key] = value;
    }
    HelmRelease::from_value(&object).unwrap()
}

fn stored(version: i64, status: Status) -> Stored {
    Stored {
        name: "web".to_owned(),
        namespace: "ns".to_owned(),
        version,
        info: Info {
            status,
            ..Info::default()
        },
        chart: json!({"metadata": {"name": "podinfo", "version": "6.0.0"}}),
        ..Stored::default()
    }
}

fn desired() -> Desired {
    Desired {
        chart_name: "podinfo".to_owned(),
        chart_version: "6.0.0".to_owned(),
        config_digest: fluvial_helm::release::config_digest(&json!({})),
        ..Desired::default()
    }
}

/// A status that has seen these versions.
fn seen(versions: &[Stored]) -> HelmReleaseStatus {
    let mut status = HelmReleaseStatus::default();
    for stored in versions {
        record(&mut status.history, stored, "", Some(Action::Install));
    }
    status
}

fn state_of(spec: Value, status: &HelmReleaseStatus, versions: &[Stored]) -> State {
    determine(
        &object(spec),
        status,
        &History::new(versions.to_vec()),
        &desired(),
    )
    .unwrap()
}

#[test]
fn the_state_follows_what_is_stored_and_what_was_seen() {
    let plain = || json!({});
    let deployed = stored(1, Status::Deployed);
    let none = HelmReleaseStatus::default();
    assert_eq!(state_of(plain(), &none, &[]), State::Absent);
    let pending = stored(1, Status::PendingInstall);
    assert_eq!(
        state_of(plain(), &none, std::slice::from_ref(&pending)),
        State::Locked(Status::PendingInstall)
    );
    assert_eq!(
        state_of(plain(), &none, std::slice::from_ref(&deployed)),
        State::Unmanaged
    );
    let status = seen(std::slice::from_ref(&deployed));
    assert_eq!(
        state_of(plain(), &status, std::slice::from_ref(&deployed)),
        State::InSync
    );
    let mut touched = deployed.clone();
    touched.manifest = "x".to_owned();
    assert_eq!(state_of(plain(), &status, &[touched]), State::Unmanaged);
    let newer = stored(2, Status::Deployed);
    assert_eq!(
        state_of(plain(), &status, &[deployed.clone(), newer]),
        State::Unmanaged
    );
    let mut other = stored(1, Status::Deployed);
    other.chart = json!({"metadata": {"name": "podinfo", "version": "5.0.0"}});
    assert_eq!(
        state_of(plain(), &seen(std::slice::from_ref(&other)), &[other]),
        State::OutOfSync("chart changed")
    );
    let mut other = stored(1, Status::Deployed);
    other.config = json!({"a": 1}).as_object().cloned();
    assert_eq!(
        state_of(plain(), &seen(std::slice::from_ref(&other)), &[other]),
        State::OutOfSync("config values changed")
    );
    assert_eq!(
        state_of(json!({"test": {"enable": true}}), &status, &[deployed]),
        State::Untested
    );
    let gone = stored(1, Status::Uninstalled);
    assert_eq!(
        state_of(plain(), &seen(std::slice::from_ref(&gone)), &[gone]),
        State::Absent
    );
    assert_eq!(
        state_of(plain(), &none, &[stored(1, Status::Uninstalling)]),
        State::HalfGone
    );
}

/// What comes next after failures of an action.
fn after(spec: Value, action: &str, failures: i64, versions: &[Stored]) -> Next {
    let mut status = seen(versions);
    status.last_attempted_release_action = Some(action.to_owned());
    match action {
        "install" => status.install_failures = failures,
        _ => status.upgrade_failures = failures,
    }
    let history = History::new(versions.to_vec());
    let object = object(spec);
    let state = determine(&object, &status, &history, &desired()).unwrap();
    next(&object, &status, &history, &state, false)
}

#[test]
fn failures_are_remediated_as_the_spec_says() {
    let failed = [stored(1, Status::Failed)];
    let Next::Stall(reason, text) = after(json!({}), "install", 1, &failed) else {
        panic!("it has no retries");
    };
    assert_eq!(
        (reason, text.as_str()),
        ("RetriesExceeded", "Failed to install after 1 attempt(s)")
    );
    let retries = |what: &str| json!({what: {"remediation": {"retries": 2}}});
    assert_eq!(
        after(retries("install"), "install", 1, &failed),
        Next::Do(Action::Uninstall)
    );
    assert_eq!(
        after(retries("install"), "install", 0, &failed),
        Next::Do(Action::Upgrade)
    );
    let upgraded = [stored(1, Status::Deployed), stored(2, Status::Failed)];
    assert_eq!(
        after(retries("upgrade"), "upgrade", 1, &upgraded),
        Next::Do(Action::Rollback)
    );
    assert_eq!(
        after(retries("upgrade"), "upgrade", 3, &upgraded),
        Next::Do(Action::Rollback)
    );
    let never = json!({"upgrade": {"remediation": {"retries": 0}}});
    assert!(matches!(
        after(never, "upgrade", 1, &upgraded),
        Next::Stall("RetriesExceeded", _)
    ));
    let uninstall = json!({"upgrade": {"remediation": {"retries": 1, "strategy": "uninstall"}}});
    assert_eq!(
        after(uninstall, "upgrade", 1, &upgraded),
        Next::Do(Action::Uninstall)
    );
    let retry = json!({"upgrade": {"strategy": {"name": "RetryOnFailure"}}});
    assert_eq!(after(retry, "upgrade", 9, &upgraded), Next::Do(Action::Upgrade));
    let alone = [stored(2, Status::Failed)];
    assert!(matches!(
        after(retries("upgrade"), "upgrade", 1, &alone),
        Next::Stall("MissingRollbackTarget", _)
    ));
}

#[test]
fn a_target_that_was_touched_is_not_rolled_back_to() {
    let versions = [stored(1, Status::Deployed), stored(2, Status::Failed)];
    let mut status = seen(&versions);
    status.last_attempted_release_action = Some("upgrade".to_owned());
    status.upgrade_failures = 1;
    let object = object(json!({"upgrade": {"remediation": {"retries": 1}}}));
    let mut touched = versions.to_vec();
    touched[0].manifest = "x".to_owned();
    let with = |versions: Vec<Stored>| next(&object, &status, &History::new(versions), &State::Failed, false);
    assert_eq!(with(touched), Next::Do(Action::Upgrade));
    assert!(matches!(
        with(vec![versions[1].clone()]),
        Next::Stall("MissingRollbackTarget", _)
    ));
}

#[test]
fn another_target_asks_for_a_new_installation() {
    let versions = [stored(1, Status::Deployed)];
    let mut status = seen(&versions);
    status.storage_namespace = Some("ns".to_owned());
    let changed = |spec: Value, chart: &str| {
        let object = object(spec);
        target_changed(&object, &status, &Names::of(&object), chart)
    };
    assert_eq!(changed(json!({}), "podinfo"), None);
    assert_eq!(
        changed(json!({"releaseName": "other"}), "podinfo"),
        Some("release name changed")
    );
    assert_eq!(
        changed(json!({"storageNamespace": "other"}), "podinfo"),
        Some("storage namespace changed")
    );
    assert_eq!(changed(json!({}), "other"), Some("chart name changed"));
    let in_place = json!({"upgrade": {"chartNameChangeStrategy": "InPlaceUpdate"}});
    assert_eq!(changed(in_place, "other"), None);
}

#[test]
fn snapshots_are_kept_up_to_the_one_to_roll_back_to() {
    let mut history = seen(&[
        stored(1, Status::Superseded),
        stored(2, Status::Superseded),
        stored(3, Status::Failed),
        stored(4, Status::Deployed),
    ])
    .history;
    truncate(&mut history, false);
    let versions: Vec<i64> = history.iter().map(|snapshot| snapshot.version).collect();
    assert_eq!(versions, [4, 3, 2]);
    assert_eq!(previous(&history, false).unwrap().version, 2);
}
