//! Stories of Kustomizations.

use serde_json::json;

use crate::fakes::tree;
use crate::world::{World, condition, git_repository, ks, kustomization, message, repository, url};

const CONFIG: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: NAME\n  namespace: default\ndata:\n  key: VALUE\n";

/// A ConfigMap as a file.
pub fn config(name: &str, value: &str) -> String {
    CONFIG.replace("NAME", name).replace("VALUE", value)
}

/// A kustomization.yaml with resources.
pub fn resources(names: &[&str]) -> String {
    let mut text =
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n".to_owned();
    for name in names {
        text.push_str(&format!("- {name}\n"));
    }
    text
}

/// What a ConfigMap is called.
pub fn config_map(name: &str) -> [&str; 4] {
    ["v1", "ConfigMap", "default", name]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_becomes_objects_an_update_changes_them_and_what_leaves_is_deleted() {
    let mut world = World::new().await;
    let first = world.fakes.repositories.commit(
        &url("fleet"),
        tree(&[
            ("apps/kustomization.yaml", &resources(&["a.yaml", "b.yaml"])),
            ("apps/a.yaml", &config("a", "one")),
            ("apps/b.yaml", &config("b", "one")),
        ]),
    );
    world.create(git_repository("fleet")).await;
    world
        .create(kustomization("apps", json!({"path": "./apps"})))
        .await;
    let of = ks("apps");
    let ready = world
        .condition(&of, "Ready", "True", "ReconciliationSucceeded")
        .await;
    assert_eq!(ready["status"]["lastAppliedRevision"], first.as_str());
    assert_eq!(ready["status"]["lastAttemptedRevision"], first.as_str());
    assert_eq!(ready["status"]["observedGeneration"], 1);
    assert_eq!(ready["metadata"]["finalizers"], json!(["finalizers.fluxcd.io"]));
    assert_eq!(
        ready["status"]["inventory"]["entries"],
        json!([{"id": "default_a__ConfigMap", "v": "v1"}, {"id": "default_b__ConfigMap", "v": "v1"}])
    );
    let a = world
        .get("v1", "ConfigMap", "default", "a")
        .await
        .expect("applied");
    assert_eq!(a["data"]["key"], "one");
    assert_eq!(
        a["metadata"]["labels"],
        json!({"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "default"})
    );

    let second = world.fakes.repositories.commit(
        &url("fleet"),
        tree(&[
            ("apps/kustomization.yaml", &resources(&["a.yaml"])),
            ("apps/a.yaml", &config("a", "two")),
        ]),
    );
    let ready = world.applied(&of, &second).await;
    assert_eq!(
        ready["status"]["inventory"]["entries"],
        json!([{"id": "default_a__ConfigMap", "v": "v1"}])
    );
    let a = world
        .get("v1", "ConfigMap", "default", "a")
        .await
        .expect("applied");
    assert_eq!(a["data"]["key"], "two");
    world.gone(&config_map("b")).await;

    world.delete(&of).await;
    world.gone(&of).await;
    world.gone(&config_map("a")).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_new_writes_nothing_and_drift_is_put_right() {
    let mut world = World::new().await;
    world.commit(&[("a.yaml", &config("a", "one"))]);
    world.create(git_repository("fleet")).await;
    world.create(kustomization("apps", json!({}))).await;
    let of = ks("apps");
    let ready = world
        .condition(&of, "Ready", "True", "ReconciliationSucceeded")
        .await;
    world.quiet().await;
    let writes = world.writes();
    let asked = world.request(&of, "one").await;
    // The token alone is written.
    assert_eq!(world.writes() - writes, 1);
    assert_eq!(asked["status"]["inventory"], ready["status"]["inventory"]);

    // A commit that does not touch what the build reads moves the revision only.
    let second = world.commit(&[("a.yaml", &config("a", "one")), ("README.md", "hello")]);
    world.applied(&of, &second).await;
    world.quiet().await;
    assert_eq!(world.controllers().metrics.builds("built"), 1);

    world
        .patch(
            &config_map("a"),
            json!({"data": {"key": "changed", "other": "stays"}}),
        )
        .await;
    world.request(&of, "two").await;
    let a = world.get("v1", "ConfigMap", "default", "a").await.expect("there");
    assert_eq!(a["data"], json!({"key": "one", "other": "stays"}));

    // A process that starts finds everything as it should be.
    let before = world.get(of[0], of[1], of[2], of[3]).await.expect("there");
    world.stop().await;
    world.start();
    world.quiet().await;
    let after = world.get(of[0], of[1], of[2], of[3]).await.expect("there");
    assert_eq!(
        before["metadata"]["resourceVersion"],
        after["metadata"]["resourceVersion"]
    );
    assert_eq!(world.writes(), 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_dependencies_is_applied_in_its_order() {
    let mut world = World::new().await;
    let first = world.commit(&[
        ("one/a.yaml", &config("a", "one")),
        ("two/b.yaml", &config("b", "one")),
        ("three/c.yaml", &config("c", "one")),
    ]);
    for (name, path, needs) in [
        ("three", "three", Some("two")),
        ("two", "two", Some("one")),
        ("one", "one", None),
    ] {
        let depends_on: Vec<_> = needs.iter().map(|name| json!({"name": name})).collect();
        world
            .create(kustomization(
                name,
                json!({"path": path, "dependsOn": depends_on}),
            ))
            .await;
    }
    world
        .condition(&ks("two"), "Ready", "False", "ArtifactFailed")
        .await;
    world.create(git_repository("fleet")).await;
    for name in ["one", "two", "three"] {
        world.applied(&ks(name), &first).await;
    }
    let mut versions = Vec::new();
    for name in ["a", "b", "c"] {
        let object = world
            .get("v1", "ConfigMap", "default", name)
            .await
            .expect("there");
        let version: u64 = object["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default()
            .parse()
            .expect("a number");
        versions.push(version);
    }
    assert!(versions.is_sorted(), "{versions:?}");

    // The first one breaks: the others wait, and go on when it is mended.
    world.commit(&[
        ("one/a.yaml", "{"),
        ("two/b.yaml", &config("b", "two")),
        ("three/c.yaml", &config("c", "two")),
    ]);
    world.condition(&ks("one"), "Ready", "False", "BuildFailed").await;
    let waiting = world
        .condition(&ks("two"), "Ready", "False", "DependencyNotReady")
        .await;
    assert!(
        message(&waiting).starts_with("dependency 'default/one'"),
        "{waiting}"
    );
    let third = world.commit(&[
        ("one/a.yaml", &config("a", "three")),
        ("two/b.yaml", &config("b", "three")),
        ("three/c.yaml", &config("c", "three")),
    ]);
    for name in ["one", "two", "three"] {
        world.applied(&ks(name), &third).await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_is_named_and_stalls() {
    let mut world = World::new().await;
    world.commit(&[("a.yaml", &config("a", "one"))]);
    world.create(git_repository("fleet")).await;
    world
        .create(kustomization("a", json!({"dependsOn": [{"name": "b"}]})))
        .await;
    world
        .create(kustomization("b", json!({"dependsOn": [{"name": "a"}]})))
        .await;
    let stalled = world
        .condition(&ks("b"), "Stalled", "True", "DependencyCycle")
        .await;
    assert!(
        message(&stalled).contains("default/b -> default/a -> default/b"),
        "{stalled}"
    );
    // Taking one dependency away frees both.
    world.patch(&ks("b"), json!({"spec": {"dependsOn": null}})).await;
    for name in ["a", "b"] {
        world
            .condition(&ks(name), "Ready", "True", "ReconciliationSucceeded")
            .await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_files_say_where_and_cost_nobody_else_anything() {
    let mut world = World::new().await;
    world.commit(&[
        (
            "bad/a.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a\n",
        ),
        ("escape/kustomization.yaml", &resources(&["../../../etc"])),
        ("good/a.yaml", &config("a", "one")),
    ]);
    world.create(git_repository("fleet")).await;
    for path in ["bad", "good", "absent", "escape"] {
        world.create(kustomization(path, json!({"path": path}))).await;
    }
    world
        .condition(&ks("good"), "Ready", "True", "ReconciliationSucceeded")
        .await;
    let bad = world.condition(&ks("bad"), "Ready", "False", "BuildFailed").await;
    assert!(message(&bad).contains("bad/a.yaml"), "{bad}");
    assert!(
        condition(&bad, "Reconciling").is_some_and(|found| found["reason"] == "ProgressingWithRetry"),
        "{bad}"
    );
    assert_eq!(bad["status"]["observedGeneration"], -1);
    let absent = world
        .condition(&ks("absent"), "Ready", "False", "ArtifactFailed")
        .await;
    assert!(
        message(&absent).contains("'absent' is not in the source") && message(&absent).contains("good"),
        "{absent}"
    );
    world
        .condition(&ks("escape"), "Ready", "False", "BuildFailed")
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_object_keeps_its_whole_stage_from_being_written() {
    let mut world = World::new().await;
    let bad = config("b", "one").replace("key:", "no key:");
    world.commit(&[("a.yaml", &config("a", "one")), ("b.yaml", &bad)]);
    world.create(git_repository("fleet")).await;
    world
        .create(kustomization("apps", json!({"retryInterval": "1h"})))
        .await;
    let of = ks("apps");
    let failed = world
        .condition(&of, "Ready", "False", "ReconciliationFailed")
        .await;
    let text = message(&failed);
    assert!(
        text.starts_with("ConfigMap/default/b (b.yaml:1) dry-run failed (Invalid): "),
        "{text}"
    );
    assert!(world.get("v1", "ConfigMap", "default", "a").await.is_none());
    // What was meant to be applied is on record, so that nothing can be orphaned.
    assert_eq!(
        failed["status"]["inventory"]["entries"].as_array().map(Vec::len),
        Some(2)
    );
    let mended = world.commit(&[("a.yaml", &config("a", "one"))]);
    let ready = world.applied(&of, &mended).await;
    assert_eq!(
        ready["status"]["inventory"]["entries"],
        json!([{"id": "default_a__ConfigMap", "v": "v1"}])
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_tried_again_after_the_retry_interval() {
    let mut world = World::new().await;
    let elsewhere = config("a", "one").replace("namespace: default", "namespace: later");
    world.commit(&[("a.yaml", &elsewhere)]);
    world.create(git_repository("fleet")).await;
    world
        .create(kustomization("apps", json!({"retryInterval": "200ms"})))
        .await;
    let of = ks("apps");
    world
        .condition(&of, "Ready", "False", "ReconciliationFailed")
        .await;
    world
        .create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "later"}}))
        .await;
    world
        .condition(&of, "Ready", "True", "ReconciliationSucceeded")
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_one_rests_and_is_let_go_without_its_objects() {
    let mut world = World::new().await;
    let first = world.commit(&[("a.yaml", &config("a", "one"))]);
    world.create(git_repository("fleet")).await;
    world.create(kustomization("apps", json!({}))).await;
    let of = ks("apps");
    world.applied(&of, &first).await;
    world.patch(&of, json!({"spec": {"suspend": true}})).await;
    world.quiet().await;
    let second = world.commit(&[("a.yaml", &config("a", "two"))]);
    world
        .until(&repository("fleet"), "at the second revision", |object| {
            object.is_some_and(|object| object["status"]["artifact"]["revision"] == second.as_str())
        })
        .await;
    world.quiet().await;
    let a = world.get("v1", "ConfigMap", "default", "a").await.expect("there");
    assert_eq!(a["data"]["key"], "one");
    world.patch(&of, json!({"spec": {"suspend": false}})).await;
    world.applied(&of, &second).await;
    world.patch(&of, json!({"spec": {"suspend": true}})).await;
    world.quiet().await;
    world.delete(&of).await;
    world.gone(&of).await;
    assert!(world.get("v1", "ConfigMap", "default", "a").await.is_some());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_say_what_is_deleted() {
    let mut world = World::new().await;
    let all: Vec<(&str, serde_json::Value, bool)> = vec![
        ("mirror", json!({"prune": false}), true),
        ("orphan", json!({"deletionPolicy": "Orphan"}), true),
        (
            "delete",
            json!({"prune": false, "deletionPolicy": "Delete"}),
            false,
        ),
        ("wait", json!({"deletionPolicy": "WaitForTermination"}), false),
    ];
    let files: Vec<(String, String)> = all
        .iter()
        .map(|(name, _, _)| (format!("{name}/a.yaml"), config(name, "one")))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    world.commit(&files);
    world.create(git_repository("fleet")).await;
    for (name, spec, stays) in &all {
        let mut spec = spec.clone();
        spec["path"] = json!(name);
        world.create(kustomization(name, spec)).await;
        world
            .condition(&ks(name), "Ready", "True", "ReconciliationSucceeded")
            .await;
        world.delete(&ks(name)).await;
        world.gone(&ks(name)).await;
        let there = world.get("v1", "ConfigMap", "default", name).await.is_some();
        assert_eq!(there, *stays, "{name}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_secret_is_never_applied_as_it_is() {
    let mut world = World::new().await;
    world.commit(&[(
        "a.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: default}\nstringData: {key: 'ENC[AES256_GCM,data:x]'}\nsops: {version: 3.9.0}\n",
    )]);
    world.create(git_repository("fleet")).await;
    world.create(kustomization("apps", json!({}))).await;
    let failed = world
        .condition(&ks("apps"), "Ready", "False", "ReconciliationFailed")
        .await;
    assert!(
        message(&failed).contains("a.yaml:1: Secret/default/a is SOPS encrypted"),
        "{failed}"
    );
    assert!(world.get("v1", "Secret", "default", "a").await.is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_source_is_followed() {
    let mut world = World::new().await;
    let artifact = |revision: &str| {
        json!({"status": {"artifact": {"path": "gitrepository/default/fleet/x", "url": "http://x", "revision": revision,
            "digest": "sha256:00", "lastUpdateTime": "2026-01-01T00:00:00Z"}}})
    };
    let of = [
        "source.toolkit.fluxcd.io/v1",
        "ExternalArtifact",
        "default",
        "made",
    ];
    let spec = json!({"sourceRef": {"kind": "ExternalArtifact", "name": "made"}});
    world.create(kustomization("apps", spec)).await;
    let failed = world
        .condition(&ks("apps"), "Ready", "False", "ArtifactFailed")
        .await;
    assert_eq!(
        message(&failed),
        "ExternalArtifact.source.toolkit.fluxcd.io \"made\" not found"
    );
    world
        .create(
            json!({"apiVersion": of[0], "kind": of[1], "metadata": {"name": "made", "namespace": "default"},
            "spec": {"sourceRef": {"apiVersion": "example.org/v1", "kind": "Maker", "name": "made"}}}),
        )
        .await;
    world.patch_status(&of, artifact("latest@sha256:1")).await;
    world
        .until(&ks("apps"), "waiting for the artifact", |object| {
            object
                .is_some_and(|object| message(object).starts_with("Source is not ready, artifact not found"))
        })
        .await;
    world.stop().await;
}
