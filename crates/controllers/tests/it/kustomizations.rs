//! Stories of Kustomizations.

use serde_json::json;

use crate::fakes::tree;
use crate::world::{World, git_repository, kustomization, ks, url};

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: NAME\n  namespace: default\ndata:\n  key: VALUE\n";

/// A ConfigMap as a file.
pub fn config(name: &str, value: &str) -> String {
    CONFIG.replace("NAME", name).replace("VALUE", value)
}

/// A kustomization.yaml with resources.
pub fn resources(names: &[&str]) -> String {
    let mut text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n".to_owned();
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
    world.create(kustomization("apps", json!({"path": "./apps"}))).await;
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
    let a = world.get("v1", "ConfigMap", "default", "a").await.expect("applied");
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
    let a = world.get("v1", "ConfigMap", "default", "a").await.expect("applied");
    assert_eq!(a["data"]["key"], "two");
    world.gone(&config_map("b")).await;

    world.delete(&of).await;
    world.gone(&of).await;
    world.gone(&config_map("a")).await;
    world.stop().await;
}
