//! Stories of objects that move from one Kustomization to another in one commit: they are never deleted in between.

use fluvial_controllers::ports::{Patch, PatchKind, Target};
use serde_json::{Value, json};

use crate::kustomizations::{config, config_map};
use crate::tap::Happening;
use crate::world::{World, git_repository, ks, kustomization};

fn owner(object: &Value) -> &str {
    object["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"]
        .as_str()
        .unwrap_or_default()
}

fn ids(object: &Value) -> Vec<&str> {
    let entries = object["status"]["inventory"]["entries"].as_array();
    entries
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["id"].as_str())
        .collect()
}

/// An object moves from `from` to `to`, one of which waits for the other one.
async fn story(waits: &str, needs: &str) {
    let mut world = World::new().await;
    let before = world.commit(&[
        ("from/a.yaml", &config("a", "one")),
        ("from/b.yaml", &config("b", "one")),
        ("to/c.yaml", &config("c", "one")),
    ]);
    world.create(git_repository("fleet")).await;
    for name in ["from", "to"] {
        let mut spec = json!({"path": name});
        if name == waits {
            spec["dependsOn"] = json!([{"name": needs}]);
        }
        world.create(kustomization(name, spec)).await;
    }
    for name in ["from", "to"] {
        world.applied(&ks(name), &before).await;
    }
    let uid = |object: Option<Value>| object.map(|object| object["metadata"]["uid"].clone());
    let first = uid(world.get("v1", "ConfigMap", "default", "b").await);
    let after = world.commit(&[
        ("from/a.yaml", &config("a", "one")),
        ("to/b.yaml", &config("b", "one")),
        ("to/c.yaml", &config("c", "one")),
    ]);
    for name in ["from", "to"] {
        world.applied(&ks(name), &after).await;
    }
    let moved = world
        .until(&config_map("b"), "with its new owner", |object| {
            object.is_some_and(|object| owner(object) == "to")
        })
        .await;
    assert_eq!(uid(moved), first, "it was never deleted");
    let from = world
        .until(&ks("from"), "without what has left", |object| {
            object.is_some_and(|object| ids(object) == ["default_a__ConfigMap"])
        })
        .await
        .expect("there");
    assert_eq!(from["status"]["lastAppliedRevision"], after.as_str());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_moves_when_its_new_owner_comes_first() {
    story("from", "to").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_moves_when_its_old_owner_comes_first() {
    story("to", "from").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_moves_to_a_child_that_does_not_exist_yet_and_back_when_the_child_goes() {
    let mut world = World::new().await;
    let child = serde_json::to_string(&kustomization("child", json!({"path": "child"}))).expect("JSON");
    let before = world.commit(&[
        ("parent/a.yaml", &config("a", "one")),
        ("parent/b.yaml", &config("b", "one")),
    ]);
    world.create(git_repository("fleet")).await;
    world
        .create(kustomization("parent", json!({"path": "parent"})))
        .await;
    world.applied(&ks("parent"), &before).await;
    let b = world.get("v1", "ConfigMap", "default", "b").await.expect("there");

    let after = world.commit(&[
        ("parent/a.yaml", &config("a", "one")),
        ("parent/child.yaml", &child),
        ("child/b.yaml", &config("b", "one")),
    ]);
    world.applied(&ks("child"), &after).await;
    world.applied(&ks("parent"), &after).await;
    let moved = world.get("v1", "ConfigMap", "default", "b").await.expect("there");
    assert_eq!(owner(&moved), "child");
    assert_eq!(moved["metadata"]["uid"], b["metadata"]["uid"]);

    let last = world.commit(&[
        ("parent/a.yaml", &config("a", "one")),
        ("parent/b.yaml", &config("b", "one")),
    ]);
    world.applied(&ks("parent"), &last).await;
    world.gone(&ks("child")).await;
    let back = world.get("v1", "ConfigMap", "default", "b").await.expect("there");
    assert_eq!(owner(&back), "parent");
    assert_eq!(back["metadata"]["uid"], b["metadata"]["uid"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_that_a_broken_build_may_want() {
    let mut world = World::new().await;
    let before = world.commit(&[
        ("from/b.yaml", &config("b", "one")),
        ("from/d.yaml", &config("d", "one")),
        ("to/c.yaml", &config("c", "one")),
    ]);
    world.create(git_repository("fleet")).await;
    for name in ["from", "to"] {
        world.create(kustomization(name, json!({"path": name}))).await;
        world.applied(&ks(name), &before).await;
    }
    let b = world.get("v1", "ConfigMap", "default", "b").await.expect("there");
    let broken = world.commit(&[
        ("from/kustomization.yaml", "resources: []\n"),
        ("to/b.yaml", &config("b", "one")),
        ("to/c.yaml", "metadata: {"),
    ]);
    world.applied(&ks("from"), &broken).await;
    world.gone(&config_map("d")).await;
    assert!(world.get("v1", "ConfigMap", "default", "b").await.is_some());
    let mended = world.commit(&[
        ("from/kustomization.yaml", "resources: []\n"),
        ("to/b.yaml", &config("b", "two")),
        ("to/c.yaml", &config("c", "two")),
    ]);
    for name in ["from", "to"] {
        world.applied(&ks(name), &mended).await;
    }
    let moved = world.get("v1", "ConfigMap", "default", "b").await.expect("there");
    assert_eq!(moved["metadata"]["uid"], b["metadata"]["uid"]);
    assert_eq!(owner(&moved), "to");
    world.stop().await;
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn placed(name: &str, namespace: &str) -> String {
    config(name, "one").replace("namespace: default", &format!("namespace: {namespace}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_stays_while_another_has_something_on_record_in_it() {
    let mut world = World::new().await;
    let space = serde_json::to_string(&namespace("shop")).expect("JSON");
    let before = world.commit(&[
        ("from/space.yaml", &space),
        ("from/c.yaml", &config("c", "one")),
        ("in/a.yaml", &placed("a", "shop")),
        ("in/b.yaml", &config("b", "one")),
    ]);
    world.create(git_repository("fleet")).await;
    for name in ["from", "in"] {
        let spec = json!({"path": name, "retryInterval": "100ms"});
        world.create(kustomization(name, spec)).await;
        world.applied(&ks(name), &before).await;
    }
    let shop = ["v1", "Namespace", "", "shop"];
    // The one inside cannot run at the new revision yet; it does not build the object any more.
    world
        .patch(&ks("in"), json!({"spec": {"dependsOn": [{"name": "later"}]}}))
        .await;
    world
        .condition(&ks("in"), "Ready", "False", "DependencyNotReady")
        .await;
    let after = world.commit(&[
        ("from/c.yaml", &config("c", "one")),
        ("in/b.yaml", &config("b", "one")),
    ]);
    let from = world.applied(&ks("from"), &after).await;
    assert_eq!(ids(&from), ["default_c__ConfigMap", "_shop__Namespace"]);
    assert!(world.get("v1", "ConfigMap", "shop", "a").await.is_some());
    assert!(world.get("v1", "Namespace", "", "shop").await.is_some());
    world.patch(&ks("in"), json!({"spec": {"dependsOn": null}})).await;
    world.applied(&ks("in"), &after).await;
    world.gone(&shop).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_deleted_does_not_wait_for_its_own_successor() {
    let mut world = World::new().await;
    let child = |spec: Value| serde_json::to_string(&kustomization("child", spec)).expect("JSON");
    let space = serde_json::to_string(&namespace("shop")).expect("JSON");
    let before = world.commit(&[
        ("parent/child.yaml", &child(json!({"path": "child"}))),
        ("child/space.yaml", &space),
        ("child/a.yaml", &placed("a", "shop")),
    ]);
    world.create(git_repository("fleet")).await;
    world
        .create(kustomization("parent", json!({"path": "parent"})))
        .await;
    world.applied(&ks("child"), &before).await;
    let uid = |object: Option<Value>| object.expect("there")["metadata"]["uid"].clone();
    let shop = ["v1", "Namespace", "", "shop"];
    let first = uid(world.get("v1", "Namespace", "", "shop").await);
    // Git has something new in the namespace, which the child has not applied when it is deleted by hand.
    let waits = child(json!({"path": "child", "dependsOn": [{"name": "later"}]}));
    world.commit(&[
        ("parent/child.yaml", &waits),
        ("child/space.yaml", &space),
        ("child/a.yaml", &placed("a", "shop")),
    ]);
    let waiting = world
        .condition(&ks("child"), "Ready", "False", "DependencyNotReady")
        .await;
    let old = uid(Some(waiting));
    let after = world.commit(&[
        ("parent/child.yaml", &waits),
        ("child/space.yaml", &space),
        ("child/a.yaml", &placed("a", "shop")),
        ("child/b.yaml", &placed("b", "shop")),
    ]);
    world.applied(&ks("parent"), &after).await;
    // Its parent has applied it several times, and has not taken its finalizer away.
    let held = world
        .until(&ks("child"), "there", |object| object.is_some())
        .await;
    let finalizers = &held.expect("there")["metadata"]["finalizers"];
    assert_eq!(*finalizers, json!(["finalizers.fluxcd.io"]));
    world.delete(&ks("child")).await;
    world
        .until(&ks("child"), "gone or made anew", |object| {
            object.is_none_or(|object| object["metadata"]["uid"] != old)
        })
        .await;
    assert!(world.get("v1", "ConfigMap", "shop", "a").await.is_none());
    let kept = world
        .until(&shop, "still there", |object| {
            object.is_some_and(|object| object["metadata"]["deletionTimestamp"].is_null())
        })
        .await;
    assert_eq!(uid(kept), first);
    world.request(&ks("parent"), "again").await;
    let reborn = world
        .until(&ks("child"), "made anew", |object| object.is_some())
        .await;
    assert_ne!(uid(reborn), old);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_into_a_namespace_at_the_last_moment_keeps_it() {
    let mut world = World::new().await;
    let space = serde_json::to_string(&namespace("shop")).expect("JSON");
    let before = world.commit(&[("from/space.yaml", &space), ("from/c.yaml", &config("c", "one"))]);
    world.create(git_repository("fleet")).await;
    world.create(kustomization("from", json!({"path": "from"}))).await;
    world.applied(&ks("from"), &before).await;
    // Another one, of which only the record is known.
    let other = json!({"path": "other", "suspend": true});
    world.create(kustomization("other", other)).await;
    let cluster = std::sync::Arc::clone(&world.cluster);
    let [api_version, kind, ..] = ks("other");
    let resource = cluster.resource(api_version, kind).await.expect("served");
    let what = async move {
        let body = json!({"status": {"inventory": {"entries": [{"id": "shop_a__ConfigMap", "v": "v1"}]}}});
        let target = Target {
            resource: &resource,
            namespace: "default",
            name: "other",
        };
        let patch = Patch {
            kind: PatchKind::Merge,
            subresource: Some("status"),
            manager: "test",
            body: &body,
            dry_run: false,
        };
        cluster.patch(target, patch).await.expect("the patch fits");
    };
    // Everybody was asked before the namespace is looked at.
    *world.next.lock().unwrap() = Some(Happening {
        kind: "Namespace",
        name: "shop",
        what: Box::pin(what),
    });
    let after = world.commit(&[("from/c.yaml", &config("c", "one"))]);
    let from = world.applied(&ks("from"), &after).await;
    assert!(world.next.lock().unwrap().is_none(), "it has happened");
    assert_eq!(ids(&from), ["default_c__ConfigMap", "_shop__Namespace"]);
    let shop = world.get("v1", "Namespace", "", "shop").await.expect("there");
    assert!(shop["metadata"]["deletionTimestamp"].is_null());
    world.stop().await;
}
