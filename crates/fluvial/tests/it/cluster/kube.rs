//! The example fleet on kube-apiserver and etcd.

use std::path::Path;

use super::exchange::{SOURCE, serve};
use super::node::Node;
use super::server::Real;
use super::{PROGRAM, Tool, holds, peers};
use crate::fleet::{Fleet, eventually, head};

const ROOT: &str = "
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: flux-system, namespace: flux-system}
spec:
  interval: 1h
  path: ./clusters/demo
  prune: true
  sourceRef: {kind: GitRepository, name: flux-system}
";

#[test]
#[ignore = "needs kube-apiserver, etcd, kube-controller-manager and kubectl: cargo xtask tier cluster"]
fn the_example_fleet_comes_up_on_kube_apiserver() {
    let names = ["kubectl", "etcd", "kube-apiserver", "kube-controller-manager"];
    let Some([kubectl, etcd, apiserver, manager]) = peers("the example fleet on kube-apiserver", names)
    else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let fleet = Fleet::new();
    without_releases(&fleet);
    let server = Real::start([&etcd, &apiserver, &manager], work.path());
    let _node = Node::start(&kubectl, &server.kubeconfig(), work.path());
    let kubectl = Tool::new(&kubectl, &server.kubeconfig(), work.path());
    let fluvial = Tool::new(Path::new(PROGRAM), &server.kubeconfig(), work.path());
    let _serving = serve(&server.kubeconfig(), &fleet.repository(), work.path());
    kubectl.given("apply -f -", &format!("{SOURCE}---{ROOT}"));
    let ready = |commit: &str| {
        let said = kubectl.run(&["get", "ks", "-A", "-o", "json"], "");
        let list: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
        let all = list["items"].as_array().cloned().unwrap_or_default();
        all.len() == 5
            && all.iter().all(|object| {
                let conditions = object["status"]["conditions"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                let revision = object["status"]["lastAppliedRevision"]
                    .as_str()
                    .unwrap_or_default();
                revision.ends_with(commit)
                    && conditions
                        .iter()
                        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
            })
    };
    eventually("the fleet", || ready(&head(&fleet)));
    holds(
        &fluvial.says("get kustomizations"),
        &["flux-system", "kiosk", "orders", "broker"],
    );
    holds(&kubectl.says("get deployments -n shop"), &["kiosk", "orders"]);
    holds(&fluvial.says("why"), &["everything is ready"]);

    // A commit is applied and pruned there as here.
    fleet.edit(
        "apps/base/kiosk/teas.yaml",
        "---\napiVersion: shop.example.com/v1\nkind: Tea\nmetadata:\n  name: assam\nspec:\n  origin: Brahmaputra valley\n  minutes: 4\n",
        "",
    );
    fleet.commit("no more assam");
    fluvial.says("reconcile source git flux-system --timeout 60s");
    eventually("the removal", || ready(&head(&fleet)));
    holds(&kubectl.refuses("get tea assam -n shop", ""), &["NotFound"]);

    // Nothing to do, nothing written.
    let state = || {
        kubectl.says("get ks,gitrepositories,deployments,configmaps,teas -A -o jsonpath={.items[*].metadata.resourceVersion}")
    };
    let before = state();
    fluvial.says("reconcile kustomization kiosk --timeout 60s");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let after = state();
    let changed = before
        .split(' ')
        .zip(after.split(' '))
        .filter(|(one, other)| one != other)
        .count();
    assert_eq!(
        changed, 1,
        "only the Kustomization that was asked says that it has heard\n{before}\n{after}"
    );

    // And it all goes.
    kubectl.says("delete ks flux-system -n flux-system --timeout=80s");
    eventually("the end of the fleet", || {
        kubectl.run(&["get", "ks", "-A", "-o", "name"], "").out.is_empty()
    });
    holds(
        &kubectl.run(&["get", "deployments", "-n", "shop"], "").err,
        &["No resources found"],
    );
}

/// Leaves the fleet's release out: its hook is a Job, whose controller is not among those that are started.
fn without_releases(fleet: &Fleet) {
    let file = "clusters/demo/apps.yaml";
    let apps = std::fs::read_to_string(fleet.repository().join(file)).unwrap();
    let kept: Vec<&str> = apps
        .split("---\n")
        .filter(|document| !document.contains("name: samovar"))
        .collect();
    fleet.write(file, &kept.join("---\n"));
    fleet.commit("no releases");
}
