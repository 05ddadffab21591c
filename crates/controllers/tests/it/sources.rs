//! Stories of GitRepositories.

use fluvial_controllers::ports::{ArtifactName, Artifacts as _};
use serde_json::json;

use crate::fakes::tree;
use crate::kustomizations::{config, config_map};
use crate::world::{World, condition, git_repository, ks, kustomization, message, repository, url};

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_becomes_an_artifact_and_a_commit_another_one() {
    let mut world = World::new().await;
    let first = world
        .fakes
        .repositories
        .commit(&url("fleet"), tree(&[("a.yaml", "a: 1")]));
    world.create(git_repository("fleet")).await;
    let of = repository("fleet");
    let ready = world.condition(&of, "Ready", "True", "Succeeded").await;
    assert_eq!(ready["status"]["artifact"]["revision"], first.as_str());
    assert_eq!(ready["status"]["observedGeneration"], 1);
    assert_eq!(
        condition(&ready, "Ready").expect("ready")["message"],
        format!("stored artifact for revision '{first}'")
    );
    assert_eq!(ready["metadata"]["finalizers"], json!(["finalizers.fluxcd.io"]));

    let second = world
        .fakes
        .repositories
        .commit(&url("fleet"), tree(&[("a.yaml", "a: 2")]));
    let ready = world
        .until(&of, "at the second revision", |object| {
            object.is_some_and(|object| object["status"]["artifact"]["revision"] == second.as_str())
        })
        .await
        .expect("there");
    assert_eq!(
        world.fakes.shelf.paths().len(),
        1,
        "the old artifact is collected"
    );

    // A request is answered; nothing else changes.
    world
        .patch(
            &of,
            json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "one"}}}),
        )
        .await;
    let again = world
        .until(&of, "at the request", |object| {
            object.is_some_and(|object| object["status"]["lastHandledReconcileAt"] == "one")
        })
        .await
        .expect("there");
    assert_eq!(again["status"]["artifact"], ready["status"]["artifact"]);

    // A process that starts finds everything as it should be and writes nothing.
    world.stop().await;
    world.start();
    world.controllers().git_repositories.complete().await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let quiet = world.get(of[0], of[1], of[2], of[3]).await.expect("there");
    assert_eq!(
        quiet["metadata"]["resourceVersion"],
        again["metadata"]["resourceVersion"]
    );

    world.delete(&of).await;
    world.gone(&of).await;
    assert!(world.fakes.shelf.paths().is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_not_there_is_looked_for_again() {
    let mut world = World::new().await;
    world.create(git_repository("fleet")).await;
    let of = repository("fleet");
    let failed = world.condition(&of, "Ready", "False", "GitOperationFailed").await;
    assert_eq!(
        condition(&failed, "Reconciling").expect("retrying")["reason"],
        "ProgressingWithRetry"
    );
    world
        .fakes
        .repositories
        .commit(&url("fleet"), tree(&[("a.yaml", "a: 1")]));
    let ready = world.condition(&of, "Ready", "True", "Succeeded").await;
    assert!(condition(&ready, "FetchFailed").is_none());
    let reasons: Vec<String> = world
        .list("v1", "Event")
        .await
        .iter()
        .map(|event| event["reason"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert!(reasons.contains(&"GitOperationFailed".to_owned()), "{reasons:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_repository_rests_and_an_include_waits_for_the_other_one() {
    let mut world = World::new().await;
    world
        .fakes
        .repositories
        .commit(&url("base"), tree(&[("lib/b.yaml", "b: 1")]));
    world
        .fakes
        .repositories
        .commit(&url("fleet"), tree(&[("a.yaml", "a: 1")]));
    let mut resting = git_repository("base");
    resting["spec"]["suspend"] = true.into();
    world.create(resting).await;
    let mut fleet = git_repository("fleet");
    fleet["spec"]["include"] =
        json!([{"repository": {"name": "base"}, "fromPath": "lib", "toPath": "vendor"}]);
    world.create(fleet).await;
    let of = repository("fleet");
    world
        .condition(&of, "IncludeUnavailable", "True", "IncludeUnavailable")
        .await;
    world
        .patch(&repository("base"), json!({"spec": {"suspend": false}}))
        .await;
    let ready = world.condition(&of, "Ready", "True", "Succeeded").await;
    assert_eq!(
        ready["status"]["includedArtifacts"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(
        ready["status"]["artifact"]["size"], 3,
        "a.yaml, vendor, vendor/b.yaml"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_vanishes_and_a_store_that_is_lost_take_nothing_away() {
    let mut world = World::new().await;
    let first = world.commit(&[("a.yaml", &config("a", "one"))]);
    world.create(git_repository("fleet")).await;
    world.create(kustomization("apps", json!({}))).await;
    world.applied(&ks("apps"), &first).await;
    world.fakes.repositories.remove(&url("fleet"));
    world
        .patch(
            &repository("fleet"),
            json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "one"}}}),
        )
        .await;
    world
        .condition(&repository("fleet"), "Ready", "False", "GitOperationFailed")
        .await;
    // What is there stays, and is put right from the revision that is held.
    world
        .patch(&config_map("a"), json!({"data": {"key": "changed"}}))
        .await;
    world.request(&ks("apps"), "one").await;
    let a = world.get("v1", "ConfigMap", "default", "a").await.expect("there");
    assert_eq!(a["data"]["key"], "one");

    // The next life has neither the repository nor the store: it says so, and touches nothing.
    world.stop().await;
    world.fakes.shelf.clear();
    world.start();
    let waiting = world
        .condition(&ks("apps"), "Ready", "False", "ArtifactFailed")
        .await;
    assert!(message(&waiting).contains("artifact not found"), "{waiting}");
    assert!(world.get("v1", "ConfigMap", "default", "a").await.is_some());
    world.commit(&[("a.yaml", &config("a", "two"))]);
    world
        .patch(
            &repository("fleet"),
            json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "two"}}}),
        )
        .await;
    world
        .condition(&ks("apps"), "Ready", "True", "ReconciliationSucceeded")
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_becomes_an_artifact_is_followed_and_what_is_built_from_it_too() {
    let mut world = World::new().await;
    let of = ["source.toolkit.fluxcd.io/v1", "Bucket", "default", "fleet"];
    world
        .create(json!({
            "apiVersion": of[0], "kind": of[1], "metadata": {"name": "fleet", "namespace": "default"},
            "spec": {"bucketName": "fleet", "endpoint": "s3.test", "interval": "1h"},
        }))
        .await;
    let failed = world
        .condition(&of, "Ready", "False", "BucketOperationFailed")
        .await;
    assert!(condition(&failed, "FetchFailed").is_some());
    let first = config("a", "one");
    world
        .fakes
        .repositories
        .commit("s3.test/fleet", tree(&[("a.yaml", &first)]));
    let ready = world.condition(&of, "Ready", "True", "Succeeded").await;
    let artifact = &ready["status"]["artifact"];
    let digest = artifact["revision"].as_str().expect("there")["sha256:".len()..].to_owned();
    assert_eq!(
        artifact["path"],
        format!("bucket/default/fleet/{digest}.tar.gz"),
        "the file is named for the listing"
    );
    assert!(
        ready["status"]["url"]
            .as_str()
            .expect("there")
            .ends_with("/latest.tar.gz")
    );

    let mut apps = kustomization("apps", json!({}));
    apps["spec"]["sourceRef"] = json!({"kind": "Bucket", "name": "fleet"});
    world.create(apps).await;
    world
        .condition(&ks("apps"), "Ready", "True", "ReconciliationSucceeded")
        .await;
    let second = config("a", "two");
    world
        .fakes
        .repositories
        .commit("s3.test/fleet", tree(&[("a.yaml", &second)]));
    world
        .patch(
            &of,
            json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "one"}}}),
        )
        .await;
    world
        .until(&config_map("a"), "two", |object| {
            object.is_some_and(|object| object["data"]["key"] == "two")
        })
        .await;
    world.delete(&of).await;
    world.gone(&of).await;
    assert!(world.fakes.shelf.paths().is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generator_wakes_when_someone_elses_artifact_changes() {
    let mut world = World::new().await;
    world
        .create(
            json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "ExternalArtifact",
            "metadata": {"name": "theirs", "namespace": "default"}, "spec": {}}),
        )
        .await;
    let theirs = [
        "source.toolkit.fluxcd.io/v1",
        "ExternalArtifact",
        "default",
        "theirs",
    ];
    let publish = async |world: &World, text: &str| {
        let name = ArtifactName {
            kind: "ExternalArtifact".to_owned(),
            namespace: "default".to_owned(),
            name: "theirs".to_owned(),
            file: format!("{}.tar.gz", text.len()),
        };
        let artifact = world
            .fakes
            .shelf
            .put(&name, "x", &tree(&[("a.yaml", text)]))
            .await
            .unwrap();
        let status = json!({
            "artifact": {"path": artifact.path, "url": artifact.url, "revision": format!("latest@{}", artifact.digest),
                "digest": artifact.digest, "lastUpdateTime": "2026-01-01T00:00:00Z", "size": artifact.size},
        });
        world.patch_status(&theirs, json!({"status": status})).await;
    };
    publish(&world, "a: 1").await;
    world
        .create(
            json!({"apiVersion": "source.extensions.fluxcd.io/v1beta1", "kind": "ArtifactGenerator",
            "metadata": {"name": "ours", "namespace": "default"},
            "spec": {"sources": [{"alias": "up", "kind": "ExternalArtifact", "name": "theirs"}],
                "artifacts": [{"name": "made", "copy": [{"from": "@up/**", "to": "@artifact/"}]}]}}),
        )
        .await;
    let made = [
        "source.toolkit.fluxcd.io/v1",
        "ExternalArtifact",
        "default",
        "made",
    ];
    let digest =
        |object: &serde_json::Value| object["status"]["artifact"]["digest"].as_str().map(str::to_owned);
    let first = world
        .until(&made, "made", |object| {
            object.is_some_and(|object| digest(object).is_some())
        })
        .await
        .expect("there");
    publish(&world, "a: 22").await;
    world
        .until(&made, "made anew", |object| {
            object.is_some_and(|object| digest(object).is_some() && digest(object) != digest(&first))
        })
        .await;
    world.stop().await;
}
