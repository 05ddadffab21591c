//! `why` on a small fleet: apps wait for infrastructure, which waits for three releases.

use std::sync::{Arc, Mutex};

use fluvial_tree::File;
use serde_json::{Value, json};

use super::{Memory, REVISION, fluvial, kustomization};

fn unready(mut object: Value, reason: &str, message: &str) -> Value {
    object["status"]["conditions"] =
        json!([{"type": "Ready", "status": "False", "reason": reason, "message": message}]);
    object
}

fn owned(mut object: Value, owner: &str) -> Value {
    object["metadata"]["labels"] = json!({
        "kustomize.toolkit.fluxcd.io/name": owner, "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
    });
    object
}

fn release(name: &str) -> Value {
    json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": name, "namespace": "infra", "generation": 1},
        "status": {"observedGeneration": 1},
    })
}

const MANIFEST: &str =
    "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: NAME\n  namespace: infra\n";

fn source() -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": "fleet", "namespace": "flux-system", "generation": 1},
        "status": {
            "observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}],
            "artifact": {"url": "http://here/fleet.tar.gz", "revision": REVISION, "digest": "sha256:00"},
        },
    })
}

fn waiting() -> Memory {
    let id = |name: &str| format!("infra_{name}_helm.toolkit.fluxcd.io_HelmRelease");
    let ids = ["one", "two", "three", "gone"].map(id);
    let infra = kustomization("infra", false, &ids.each_ref().map(String::as_str));
    let mut infra = unready(
        infra,
        "HealthCheckFailed",
        "health check failed after 5m0s: timeout",
    );
    infra["spec"]["path"] = "infra".into();
    let mut apps = kustomization("apps", false, &[]);
    apps["spec"]["dependsOn"] = json!([{"name": "infra"}, {"name": "other"}]);
    let apps = unready(
        apps,
        "DependencyNotReady",
        "dependency 'flux-system/infra' is not ready",
    );
    let objects = vec![
        apps,
        infra,
        source(),
        owned(
            unready(release("one"), "InstallFailed", "no chart\nat all"),
            "infra",
        ),
        owned(
            unready(
                release("two"),
                "SourceNotReady",
                "HelmChart 'infra/two' is not ready",
            ),
            "infra",
        ),
        owned(unready(release("three"), "Progressing", "installing"), "infra"),
    ];
    let mut files = fluvial_tree::TreeBuilder::default();
    for name in ["one", "two", "three", "gone"] {
        let text = format!("# {name}\n{}", MANIFEST.replace("NAME", name));
        files
            .file(&format!("infra/{name}.yaml"), File::new(text.into_bytes(), false))
            .unwrap();
    }
    Memory {
        objects: Arc::new(Mutex::new(objects)),
        tree: Some(files.build()),
        ..Memory::default()
    }
}

#[tokio::test]
async fn every_cause_is_named_with_its_file_and_line() {
    let (code, out, err) = fluvial(&waiting(), "why ks apps").await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "✗ Kustomization/flux-system/apps waits: dependency 'flux-system/infra' is not ready\n\
         ├ ✗ Kustomization/flux-system/infra failed: health check failed after 5m0s: timeout\n\
         │ ├ ✗ HelmRelease/infra/gone is not on the cluster\n\
         │ │     infra/gone.yaml:2 (GitRepository/flux-system/fleet at main@sha1:5394cb7f)\n\
         │ ├ ✗ HelmRelease/infra/one failed: no chart\n\
         │ │     at all\n\
         │ │     infra/one.yaml:2\n\
         │ ├ ✗ HelmRelease/infra/two waits: HelmChart 'infra/two' is not ready\n\
         │ │     infra/two.yaml:2\n\
         │ └ ✗ HelmRelease/infra/three failed: installing\n\
         │       infra/three.yaml:2\n\
         └ ✗ Kustomization/flux-system/other is not on the cluster\n\
         \n\
         5 first causes; 1 object waits for them\n"
    );
}

#[tokio::test]
async fn causes_are_values_too() {
    let (_, out, _) = fluvial(&waiting(), "why ks apps -o json").await;
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["object"], "Kustomization/flux-system/apps");
    assert_eq!(value["causes"][0]["causes"][1]["place"], "infra/one.yaml:2");
    let firsts = value["firstCauses"].as_array().unwrap();
    let names: Vec<&str> = firsts
        .iter()
        .filter_map(|first| first["object"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "HelmRelease/infra/gone",
            "HelmRelease/infra/one",
            "HelmRelease/infra/two",
            "HelmRelease/infra/three",
            "Kustomization/flux-system/other"
        ]
    );
}

#[tokio::test]
async fn all_of_a_fleet_is_told_once() {
    let (code, out, _) = fluvial(&waiting(), "why").await;
    assert_eq!(code, 0);
    assert_eq!(out.matches("HelmRelease/infra/one").count(), 1, "{out}");
    assert!(
        out.ends_with("\n5 first causes; 2 objects wait for them\n"),
        "{out}"
    );
    let memory = Memory::default();
    assert_eq!(fluvial(&memory, "why").await.1, "everything is ready\n");
    let (_, out, _) = fluvial(&memory, "why -o json").await;
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap(),
        json!({"items": [], "firstCauses": []})
    );
}

#[tokio::test]
async fn the_newest_warning_says_what_keeps_an_object_that_has_no_words_for_it() {
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "shop", "uid": "7"}, "status": {"phase": "Pending"},
    });
    let event = |name: &str, uid: &str, kind: &str, at: &str, message: &str| {
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "shop"},
            "involvedObject": {"kind": "PersistentVolumeClaim", "name": "data", "uid": uid},
            "type": kind, "lastTimestamp": at, "message": message,
        })
    };
    let objects = vec![
        claim,
        event("b", "7", "Warning", "2026-01-02T00:00:02Z", "no space left"),
        event("a", "7", "Warning", "2026-01-02T00:00:01Z", "no such class"),
        event("c", "7", "Normal", "2026-01-02T00:00:03Z", "waiting"),
        event(
            "d",
            "6",
            "Warning",
            "2026-01-02T00:00:04Z",
            "of one that was there before",
        ),
    ];
    let memory = Memory {
        objects: Arc::new(Mutex::new(objects)),
        ..Memory::default()
    };
    let (code, out, _) = fluvial(&memory, "why pvc data -n shop").await;
    assert_eq!(code, 0);
    assert!(
        out.starts_with("✗ PersistentVolumeClaim/shop/data is InProgress: no space left\n"),
        "{out}"
    );
}

#[tokio::test]
async fn what_is_unhealthy_by_expressions_alone_is_a_cause() {
    let mut apps = kustomization("apps", false, &["shop_data__PersistentVolumeClaim"]);
    apps["spec"]["healthCheckExprs"] = json!([{"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "current": "status.phase == 'Bound' && status.scanned"}]);
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "shop"}, "status": {"phase": "Bound", "scanned": false},
    });
    let memory = Memory {
        objects: Arc::new(Mutex::new(vec![
            unready(apps, "HealthCheckFailed", "health check failed"),
            source(),
            claim,
        ])),
        ..Memory::default()
    };
    let (_, out, _) = fluvial(&memory, "why ks apps").await;
    assert!(
        out.contains(
            "└ ✗ PersistentVolumeClaim/shop/data is InProgress: InProgress by spec.healthCheckExprs\n"
        ),
        "{out}"
    );
}
