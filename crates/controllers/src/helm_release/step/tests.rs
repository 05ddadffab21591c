use fluvial_api::Resource;
use serde_json::{Value, json};

use super::*;
use crate::helm_release::names::{Action, remedy, retry_interval};

fn object(spec: Value, annotations: Value) -> HelmRelease {
    let chart = json!({"spec": {"chart": "podinfo", "sourceRef": {"kind": "HelmRepository", "name": "r"}}});
    let mut object = json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": "web", "namespace": "ns", "generation": 2},
        "spec": {"interval": "1m", "chart": chart}});
    object["metadata"]["annotations"] = annotations;
    let Value::Object(fields) = spec else {
        unreachable!("a spec is a map")
    };
    for (key, value) in fields {
        object["spec"][key] = value;
    }
    HelmRelease::from_value(&object).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn a_run_begins_as_the_spec_says() {
    let settings = Settings {
        releases: crate::Restrictions {
            no_cross_namespace_refs: true,
            ..crate::Restrictions::default()
        },
        ..Settings::default()
    };
    let reason = |spec: Value| match begin(&object(spec, json!({})), &settings) {
        Begin::Delete => "delete".into(),
        Begin::Rest => "rest".into(),
        Begin::Go => "go".into(),
        Begin::Refuse(failure) => failure.reason,
    };
    let other = json!({"kind": "OCIRepository", "name": "x", "namespace": "other"});
    for (spec, expected) in [
        (json!({}), "go"),
        (json!({"suspend": true}), "rest"),
        (json!({"kubeConfig": {"secretRef": {"name": "x"}}}), "go"),
        (json!({"chartRef": other}), "InvalidChartReference"),
        (json!({"chartRef": other, "chart": null}), ACCESS_DENIED),
    ] {
        assert_eq!(reason(spec.clone()), expected, "{spec}");
    }
}

#[test]
fn requests_to_force_count_once_and_only_with_a_request_to_reconcile() {
    let with = |force: &str, requested: &str| {
        object(
            json!({}),
            json!({FORCE_AT: force, "reconcile.fluxcd.io/requestedAt": requested}),
        )
    };
    assert!(is_forced(&with("a", "a")));
    assert!(!is_forced(&with("a", "b")));
    let mut handled = with("a", "a");
    let mut status = HelmReleaseStatus::default();
    handle_requests(&handled, &mut status);
    assert_eq!(status.last_handled_force_at.as_deref(), Some("a"));
    assert_eq!(status.last_handled_reconcile_at.as_deref(), Some("a"));
    handled.status = status;
    assert!(!is_forced(&handled));
}

#[test]
fn only_strategies_that_are_not_named_are_set() {
    let mut named = object(
        json!({"upgrade": {"strategy": {"name": "RemediateOnFailure"}, "remediation": {"retries": 3}}}),
        json!({}),
    );
    only_retry(&mut named);

    assert_eq!(remedy(&named, Action::Install), None);
    assert!(retry_interval(&named, Action::Install).is_some());
    assert_eq!(
        remedy(&named, Action::Upgrade).map(|remedy| remedy.retries),
        Some(3)
    );
}

#[test]
fn ready_sums_up_what_happened_last() {
    let ready = |spec: Value, conditions: &[(&str, &str, i64)]| {
        let object = object(spec, json!({}));
        let mut status = HelmReleaseStatus::default();
        for (kind, state, generation) in conditions {
            Conditions::of(&mut status.conditions, *generation, at(0)).set(kind, state, kind, "text");
        }
        summarize(&object, &mut status, at(1));
        condition::get(&status.conditions, READY).map(|ready| (ready.status.clone(), ready.reason.clone()))
    };
    let is = |state: &str, reason: &str| Some((state.to_owned(), reason.to_owned()));
    assert_eq!(ready(json!({}), &[]), None);
    assert_eq!(ready(json!({}), &[(RELEASED, "True", 2)]), is("True", RELEASED));
    assert_eq!(
        ready(json!({}), &[(RELEASED, "False", 2), (REMEDIATED, "True", 2)]),
        is("False", REMEDIATED)
    );
    let tests = json!({"test": {"enable": true}});
    assert_eq!(
        ready(
            tests.clone(),
            &[(RELEASED, "True", 2), (TEST_SUCCESS, "False", 2)]
        ),
        is("False", TEST_SUCCESS)
    );
    assert_eq!(
        ready(tests, &[(RELEASED, "True", 2), (TEST_SUCCESS, "False", 1)]),
        is("True", RELEASED)
    );
    assert_eq!(
        ready(json!({}), &[(RELEASED, "True", 2), (TEST_SUCCESS, "False", 2)]),
        is("True", RELEASED)
    );
}
