//! Where Flux's helm-controller is subtle: what it says of drift and of uninstallations, what it keeps in the history,
//! what it goes on with, and when it begins anew.

use serde_json::{Value, json};

use crate::helm_releases::{hr, ready, release, serve, serve_as, states, stored};
use crate::kustomizations::config;
use crate::world::{World, condition, git_repository, ks, kustomization, message};

/// The texts of all events with a reason.
async fn said(world: &World, reason: &str) -> Vec<String> {
    let events = world.list("v1", "Event").await;
    let of = events.iter().filter(|event| event["reason"] == reason);
    of.map(|event| event["message"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Waits until a release is as wanted.
async fn until(world: &World, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let found = world
        .until(&hr(name), what, |object| object.is_some_and(&wanted))
        .await;
    found.unwrap()
}

/// The numbers and states of the snapshots in a status.
fn history(object: &Value) -> Vec<(i64, &str)> {
    let all = object["status"]["history"].as_array().unwrap();
    all.iter()
        .map(|one| (one["version"].as_i64().unwrap(), one["status"].as_str().unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_told_by_counts_and_corrections_as_changes() {
    let mut world = World::new().await;
    serve(&world).await;
    let spec = json!({"values": {"extra": true, "kept": true}, "driftDetection": {"mode": "warn",
        "ignore": [{"paths": [""], "target": {"name": ".*-kept"}}]}});
    world.create(release("web", spec)).await;
    ready(&world, "web", "InstallSucceeded").await;
    let size = ["v1", "ConfigMap", "default", "web-config"];
    world.patch(&size, json!({"data": {"size": "9"}})).await;
    world.delete(&["v1", "ConfigMap", "default", "web-extra"]).await;
    world.request(&hr("web"), "look").await;
    let seen = "ConfigMap/default/web-config changed (0 additions, 1 changes, 0 removals)\n\
                ConfigMap/default/web-extra removed\nConfigMap/default/web-kept excluded";
    let drifted =
        format!("Cluster state of release default/web.v1 has drifted from the desired state:\n{seen}");
    let told = world
        .condition(&hr("web"), "Drifted", "True", "DriftDetected")
        .await;
    assert_eq!(condition(&told, "Drifted").unwrap()["message"], drifted);
    // Ready says how the last action ended; drift is told beside.
    assert_eq!(condition(&told, "Ready").unwrap()["status"], "True");
    world
        .patch(
            &hr("web"),
            json!({"spec": {"driftDetection": {"mode": "enabled"}}}),
        )
        .await;
    let corrected = world
        .condition(&hr("web"), "Drifted", "False", "DriftCorrected")
        .await;
    assert_eq!(
        condition(&corrected, "Drifted").unwrap()["message"],
        "Cluster state of release default/web.v1 has been corrected:\n\
         ConfigMap/default/web-extra created\nConfigMap/default/web-config configured"
    );
    assert_eq!(states(&stored(&world, "web").await), [(1, "deployed")]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_is_gone_on_with_when_its_source_fails_later() {
    let mut world = World::new().await;
    serve(&world).await;
    world.create(release("web", json!({}))).await;
    ready(&world, "web", "InstallSucceeded").await;
    let source = [
        "source.toolkit.fluxcd.io/v1",
        "ExternalArtifact",
        "default",
        "app",
    ];
    let failing = |kind: &str, status: &str| {
        json!({"status": {"conditions": [{"type": kind, "status": status, "reason": "FetchFailed",
            "message": "the registry is down", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})
    };
    world.patch_status(&source, failing("Ready", "False")).await;
    world
        .patch(&hr("web"), json!({"spec": {"values": {"size": 2}}}))
        .await;
    ready(&world, "web", "UpgradeSucceeded").await;
    // What has to be changed by somebody is waited for, with its own words.
    world.patch_status(&source, failing("Stalled", "True")).await;
    world
        .patch(&hr("web"), json!({"spec": {"values": {"size": 3}}}))
        .await;
    let waiting = world
        .condition(&hr("web"), "Ready", "False", "SourceNotReady")
        .await;
    assert_eq!(
        message(&waiting),
        "ExternalArtifact 'default/app' is not ready: the registry is down"
    );
    assert!(
        said(&world, "SourceNotReady").await.is_empty(),
        "a wait is no news"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_without_end_do_not_pile_up_in_the_history() {
    let mut world = World::new().await;
    serve(&world).await;
    let spec = json!({"timeout": "10s", "maxHistory": 10, "upgrade": {"remediation": {"retries": -1}}});
    world.create(release("web", spec)).await;
    ready(&world, "web", "InstallSucceeded").await;
    world
        .patch(
            &hr("web"),
            json!({"spec": {"values": {"job": "pre-upgrade", "outcome": "fail"}}}),
        )
        .await;
    let failed = until(&world, "web", "failed three times", |object| {
        object["status"]["upgradeFailures"].as_i64() >= Some(3)
    })
    .await;
    let known = history(&failed);
    // The newest, what it went back to, and at most the last failure with what was deployed before it.
    assert!(known.len() <= 4, "{known:?}");
    assert!(known[0].0 > 4, "{known:?}");
    let reason = condition(&failed, "Ready").unwrap()["reason"].clone();
    assert!(
        ["RollbackSucceeded", "UpgradeFailed", "Progressing"].contains(&reason.as_str().unwrap()),
        "{reason}"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_only_tried_again_has_been_seen_to() {
    let mut world = World::new().await;
    serve(&world).await;
    let spec = json!({"timeout": "10s", "values": {"job": "pre-install", "outcome": "fail"},
        "install": {"strategy": {"name": "RetryOnFailure", "retryInterval": "1h"}},
        "upgrade": {"strategy": {"name": "RetryOnFailure", "retryInterval": "1h"}}});
    world.create(release("web", spec)).await;
    let failed = world
        .condition(&hr("web"), "Reconciling", "True", "ProgressingWithRetry")
        .await;
    assert_eq!(
        failed["status"]["observedGeneration"],
        failed["metadata"]["generation"]
    );
    assert_eq!(condition(&failed, "Ready").unwrap()["reason"], "InstallFailed");
    assert!(condition(&failed, "Stalled").is_none());
    assert_eq!(states(&stored(&world, "web").await), [(1, "failed")]);
    // Nothing is rolled back or uninstalled: the next attempt is an upgrade.
    world
        .patch(&hr("web"), json!({"spec": {"values": {"job": null}}}))
        .await;
    let done = ready(&world, "web", "UpgradeSucceeded").await;
    assert_eq!(history(&done), [(2, "deployed"), (1, "failed")]);
    assert_eq!(done["status"]["failures"], Value::Null);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tests_that_may_fail_do_not_make_a_release_fail() {
    let mut world = World::new().await;
    serve_as(
        &world,
        "app",
        &[
            ("app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\n"),
            (
                "app/templates/test.yaml",
                "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {{ .Release.Name }}-test\n  annotations:\n    \
                 helm.sh/hook: test\n    simulator.fluvial.dev/outcome: fail\nspec:\n  restartPolicy: Never\n  \
                 containers:\n  - {name: test, image: example.org/test}\n",
            ),
        ],
    )
    .await;
    let test = |ignore: bool| json!({"timeout": "10s", "test": {"enable": true, "ignoreFailures": ignore}});
    world.create(release("may", test(true))).await;
    world.create(release("must", test(false))).await;
    let may = world
        .condition(&hr("may"), "TestSuccess", "False", "TestFailed")
        .await;
    let ready = condition(&may, "Ready").unwrap();
    assert_eq!(
        (&ready["status"], &ready["reason"]),
        (&json!("True"), &json!("InstallSucceeded"))
    );
    assert!(may["status"]["installFailures"].is_null(), "{}", may["status"]);
    let must = world
        .condition(&hr("must"), "Stalled", "True", "RetriesExceeded")
        .await;
    assert_eq!(condition(&must, "Ready").unwrap()["reason"], "TestFailed");
    assert_eq!(must["status"]["installFailures"], 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_storage_or_chart_begins_anew_unless_it_may_change_in_place() {
    let mut world = World::new().await;
    serve(&world).await;
    world
        .create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vault"}}))
        .await;
    world.create(release("web", json!({}))).await;
    ready(&world, "web", "InstallSucceeded").await;
    world
        .patch(&hr("web"), json!({"spec": {"storageNamespace": "vault"}}))
        .await;
    let moved = until(&world, "web", "stored in the other namespace", |object| {
        object["status"]["storageNamespace"] == "vault" && object["status"]["history"][0]["version"] == 1
    })
    .await;
    assert_eq!(history(&moved), [(1, "deployed")]);
    assert_eq!(
        said(&world, "UninstallSucceeded").await,
        [
            "Helm uninstall succeeded for release default/web.v1 with chart app@".to_owned()
                + moved["status"]["history"][0]["chartVersion"].as_str().unwrap()
        ]
    );
    let of = |name: &str| {
        [(
            format!("{name}/Chart.yaml"),
            format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n"),
        )]
    };
    for name in ["other", "third"] {
        let files = of(name);
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(file, text)| (file.as_str(), text.as_str()))
            .collect();
        serve_as(&world, name, &files).await;
    }
    let refer = |name: &str| json!({"chartRef": {"kind": "ExternalArtifact", "name": name}});
    world.patch(&hr("web"), json!({"spec": refer("other")})).await;
    let is = |name: &'static str, version: i64| {
        move |object: &Value| {
            let newest = &object["status"]["history"][0];
            newest["chartName"] == name && newest["version"] == version && newest["status"] == "deployed"
        }
    };
    until(&world, "web", "installed anew", is("other", 1)).await;
    let mut spec = refer("third");
    spec["upgrade"] = json!({"chartNameChangeStrategy": "InPlaceUpdate"});
    world.patch(&hr("web"), json!({"spec": spec})).await;
    until(&world, "web", "upgraded in place", is("third", 2)).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_has_uninstalled_is_no_news() {
    let mut world = World::new().await;
    serve(&world).await;
    world.create(release("web", json!({}))).await;
    ready(&world, "web", "InstallSucceeded").await;
    world.quiet().await;
    for secret in world.list("v1", "Secret").await {
        if secret["metadata"]["labels"]["name"] == "web" {
            let name = secret["metadata"]["name"].as_str().unwrap();
            world.delete(&["v1", "Secret", "default", name]).await;
        }
    }
    world.delete(&hr("web")).await;
    world.gone(&hr("web")).await;
    assert!(said(&world, "UninstallSucceeded").await.is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_under_way_is_not_cut_off_by_a_newer_spec() {
    let mut world = World::new().await;
    serve(&world).await;
    world
        .create(release(
            "web",
            json!({"values": {"job": "pre-upgrade", "delay": "1s"}}),
        ))
        .await;
    ready(&world, "web", "InstallSucceeded").await;
    world
        .patch(&hr("web"), json!({"spec": {"values": {"size": 2}}}))
        .await;
    let job = ["batch/v1", "Job", "default", "web-job"];
    world.until(&job, "there", |job| job.is_some()).await;
    world
        .patch(&hr("web"), json!({"spec": {"values": {"size": 3}}}))
        .await;
    let done = until(&world, "web", "upgraded twice", |object| {
        object["status"]["history"][0]["version"] == 3
            && object["status"]["history"][0]["status"] == "deployed"
    })
    .await;
    assert_eq!(history(&done), [(3, "deployed"), (2, "superseded")]);
    assert_eq!(
        states(&stored(&world, "web").await),
        [(1, "superseded"), (2, "superseded"), (3, "deployed")]
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_suspended_or_has_lost_its_account_leaves_everything_behind() {
    let mut world = World::new().await;
    serve(&world).await;
    for (group, kind, body) in [
        ("v1", "ServiceAccount", json!({})),
        (
            "rbac.authorization.k8s.io/v1",
            "ClusterRoleBinding",
            json!({"subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": "default"}],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}}),
        ),
    ] {
        let mut object = json!({"apiVersion": group, "kind": kind, "metadata": {"name": "deployer"}});
        if kind == "ServiceAccount" {
            object["metadata"]["namespace"] = json!("default");
        }
        for (key, value) in body.as_object().unwrap() {
            object[key] = value.clone();
        }
        world.create(object).await;
    }
    let revision = world.commit(&[("a.yaml", &config("a", "one"))]);
    world.create(git_repository("fleet")).await;
    let account = json!({"serviceAccountName": "deployer"});
    world.create(kustomization("apps", account.clone())).await;
    world.create(release("lost", account)).await;
    world.create(release("resting", json!({}))).await;
    world.applied(&ks("apps"), &revision).await;
    ready(&world, "lost", "InstallSucceeded").await;
    ready(&world, "resting", "InstallSucceeded").await;
    world
        .patch(&hr("resting"), json!({"spec": {"suspend": true}}))
        .await;
    world
        .delete(&["v1", "ServiceAccount", "default", "deployer"])
        .await;
    world.quiet().await;
    for of in [ks("apps"), hr("lost"), hr("resting")] {
        world.delete(&of).await;
        world.gone(&of).await;
    }
    for name in ["a", "lost-config", "resting-config"] {
        assert!(
            world.get("v1", "ConfigMap", "default", name).await.is_some(),
            "{name}"
        );
    }
    assert_eq!(stored(&world, "lost").await.len(), 1);
    let events = world.list("v1", "Event").await;
    let told = events
        .iter()
        .any(|event| event["message"] == "unable to prune objects: \nConfigMap/default/a");
    assert!(told, "{events:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_waited_for_is_told_in_fluxs_words() {
    let mut world = World::new().await;
    serve(&world).await;
    world.commit(&[("a.yaml", &config("a", "one"))]);
    world.create(git_repository("fleet")).await;
    let later = json!({"dependsOn": [{"name": "never"}]});
    world.create(kustomization("apps", later.clone())).await;
    world.create(release("web", later)).await;
    let waiting = world
        .condition(&ks("apps"), "Ready", "False", "DependencyNotReady")
        .await;
    assert_eq!(
        message(&waiting),
        "dependency 'default/never' not found: kustomizations.kustomize.toolkit.fluxcd.io \"never\" not found"
    );
    let waiting = world
        .condition(&hr("web"), "Ready", "False", "DependencyNotReady")
        .await;
    let unmet =
        "unable to get 'default/never' dependency: helmreleases.helm.toolkit.fluxcd.io \"never\" not found";
    assert_eq!(message(&waiting), unmet);
    world.quiet().await;
    let told = said(&world, "DependencyNotReady").await;
    let retried = "Dependencies do not meet ready condition, retrying in 30s";
    for text in [retried, unmet] {
        assert!(told.iter().any(|event| event == text), "{told:?}");
    }
    let wrong = json!({"dependsOn": [{"name": "never", "readyExpr": "self.("}]});
    world.create(kustomization("wrong", wrong)).await;
    let stalled = world
        .condition(&ks("wrong"), "Stalled", "True", "InvalidCELExpression")
        .await;
    let text = message(&stalled);
    let begin =
        "Reconciliation failed terminally due to configuration error: failed to evaluate dependency never: ";
    assert!(text.starts_with(begin), "{text}");
    world.stop().await;
}
