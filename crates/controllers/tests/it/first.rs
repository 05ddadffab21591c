//! Stories of a first delivery that is cut off before anything about it is on record.

use serde_json::json;

use crate::kustomizations::{config, config_map};
use crate::world::{World, git_repository, ks, kustomization, repository};

/// A Kustomization of three ConfigMaps whose process is killed after two of them.
async fn cut_off() -> World {
    let mut world = World::new().await;
    world.stop().await;
    world.commit(&[
        ("a.yaml", &config("a", "one")),
        ("b.yaml", &config("b", "one")),
        ("c.yaml", &config("c", "one")),
    ]);
    world.create(git_repository("fleet")).await;
    world.start_apart();
    world
        .condition(&repository("fleet"), "Ready", "True", "Succeeded")
        .await;
    // Its finalizer and two objects.
    world.end.after(3, false);
    world.create(kustomization("apps", json!({}))).await;
    world
        .until(&config_map("b"), "there", |object| object.is_some())
        .await;
    world.kill();
    let apps = world
        .get(
            "kustomize.toolkit.fluxcd.io/v1",
            "Kustomization",
            "default",
            "apps",
        )
        .await
        .expect("there");
    assert!(apps["status"]["inventory"].is_null(), "{apps}");
    assert_eq!(world.end.never(), Some(0));
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_while_nobody_looks_is_deleted() {
    let mut world = cut_off().await;
    // Somebody has copied an object with its labels.
    let mut copy = world.get("v1", "ConfigMap", "default", "b").await.expect("there");
    copy["metadata"] = json!({"name": "copy", "namespace": "default", "labels": copy["metadata"]["labels"]});
    world.create(copy).await;
    let without = world.commit(&[("a.yaml", &config("a", "one")), ("c.yaml", &config("c", "one"))]);
    world.start_apart();
    world.applied(&ks("apps"), &without).await;
    world.gone(&config_map("b")).await;
    for name in ["a", "c", "copy"] {
        assert!(
            world.get("v1", "ConfigMap", "default", name).await.is_some(),
            "{name}"
        );
    }
    world.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_goes_with_its_owner() {
    let mut world = cut_off().await;
    world.delete(&ks("apps")).await;
    world.start_apart();
    world.gone(&ks("apps")).await;
    for name in ["a", "b"] {
        world.gone(&config_map(name)).await;
    }
    world.kill();
}
