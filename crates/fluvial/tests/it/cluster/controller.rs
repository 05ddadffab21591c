//! A controller on controller-runtime with 200 objects, through a kill of the API server under it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::server::{Ours, Running, kubeconfig, start};
use super::{Tool, holds, peers};
use crate::fleet::eventually;

const COUNT: usize = 200;

/// The definition, and what the controller may do: no more than it needs.
const SETUP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: widgets}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.peers.fluvial.dev}
spec:
  group: peers.fluvial.dev
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, format: int64}
              colour: {type: string, default: green}
          status:
            type: object
            properties:
              observedGeneration: {type: integer, format: int64}
              size: {type: integer, format: int64}
              conditions:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [type]
                items:
                  type: object
                  required: [type, status, reason, message, lastTransitionTime]
                  properties:
                    type: {type: string}
                    status: {type: string}
                    reason: {type: string}
                    message: {type: string}
                    observedGeneration: {type: integer, format: int64}
                    lastTransitionTime: {type: string, format: date-time}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: controller, namespace: widgets}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: widgets}
rules:
- {apiGroups: [peers.fluvial.dev], resources: [widgets], verbs: [get, list, watch, patch]}
- {apiGroups: [peers.fluvial.dev], resources: [widgets/status, widgets/finalizers], verbs: [patch, update]}
- {apiGroups: [''], resources: [configmaps], verbs: [get, list, watch, create, patch, delete]}
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update, patch]}
- {apiGroups: ['', events.k8s.io], resources: [events], verbs: [create, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: widgets}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: widgets}
subjects: [{kind: ServiceAccount, name: controller, namespace: widgets}]
";

/// All Widgets in one size.
fn widgets(size: usize) -> String {
    let mut text = String::new();
    for number in 0..COUNT {
        writeln!(
            text,
            "---\napiVersion: peers.fluvial.dev/v1\nkind: Widget\nmetadata: {{name: w{number:03}, namespace: widgets}}\nspec: {{size: {size}}}"
        )
        .unwrap();
    }
    text
}

fn items(kubectl: &Tool, kinds: &str) -> Vec<Value> {
    let said = kubectl.run(&["get", kinds, "-n", "widgets", "-o", "json"], "");
    let list: Value = serde_json::from_str(&said.out).unwrap_or_default();
    list["items"].as_array().cloned().unwrap_or_default()
}

/// Whether every Widget of `count` says that it has this size, and has a ConfigMap of its own that says so too.
fn settled(kubectl: &Tool, count: usize, size: usize) -> bool {
    let widgets = items(kubectl, "widgets");
    let maps = items(kubectl, "configmaps");
    widgets.len() == count
        && widgets.iter().all(|widget| {
            let status = &widget["status"];
            let ready = &status["conditions"][0];
            let own =
                |map: &&Value| map["metadata"]["ownerReferences"][0]["uid"] == widget["metadata"]["uid"];
            ready["type"] == "Ready"
                && status["observedGeneration"] == widget["metadata"]["generation"]
                && status["size"] == size
                && widget["metadata"]["finalizers"][0] == "peers.fluvial.dev/widget"
                && maps.iter().find(own).is_some_and(|map| {
                    map["data"]["size"].as_str() == Some(&*size.to_string())
                        && map["data"]["colour"] == "green"
                })
        })
}

/// The newest version among them.
fn version(kubectl: &Tool) -> u64 {
    let of = |object: &Value| {
        object["metadata"]["resourceVersion"]
            .as_str()?
            .parse::<u64>()
            .ok()
    };
    items(kubectl, "widgets,configmaps")
        .iter()
        .filter_map(of)
        .max()
        .unwrap()
}

/// A replica of the controller, as its service account.
fn replica(program: &Path, file: &Path, work: &Path, name: &str) -> Running {
    start(
        Command::new(program)
            .args(["--lease-namespace", "widgets", "--cluster"])
            .arg(file),
        &work.join(format!("{name}.log")),
    )
}

/// A kubeconfig of the service account.
fn account(kubectl: &Tool, work: &Path) -> PathBuf {
    let token = kubectl.says("create token controller -n widgets --duration=1h");
    let url = kubectl.says("config view --minify -o jsonpath={.clusters[0].cluster.server}");
    let ca = kubectl.json("config view --minify --raw -o json")["clusters"][0]["cluster"]["certificate-authority-data"]
        .as_str()
        .map(|text| base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap())
        .unwrap();
    let ca_file = work.join("ca.crt");
    std::fs::write(&ca_file, ca).unwrap();
    let file = work.join("controller.kubeconfig");
    std::fs::write(&file, kubeconfig(&url, &ca_file, token.trim())).unwrap();
    file
}

fn leader(kubectl: &Tool) -> String {
    kubectl
        .run(
            &[
                "get",
                "lease",
                "widgets.peers.fluvial.dev",
                "-n",
                "widgets",
                "-o",
                "jsonpath={.spec.holderIdentity}",
            ],
            "",
        )
        .out
}

#[test]
#[ignore = "needs the controller and kubectl: cargo xtask tier cluster"]
fn a_controller_of_two_hundred_objects_lives_through_kills_of_the_server() {
    let Some([controller, kubectl]) = peers(
        "a controller through a restart of the API server",
        ["controller", "kubectl"],
    ) else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let mut server = Ours::start(work.path(), true);
    let kubectl = Tool::new(&kubectl, &server.kubeconfig(), work.path());
    kubectl.given("apply -f -", SETUP);
    kubectl.says("wait crd/widgets.peers.fluvial.dev --for=condition=Established --timeout=30s");
    let file = account(&kubectl, work.path());
    let first = replica(&controller, &file, work.path(), "first");
    eventually("a leader", || !leader(&kubectl).is_empty());
    let leading = leader(&kubectl);
    let second = replica(&controller, &file, work.path(), "second");

    kubectl.given("create -f -", &widgets(1));
    eventually("all Widgets", || settled(&kubectl, COUNT, 1));
    let told = items(&kubectl, "events.events.k8s.io");
    // A cache that lags makes a controller say something twice; never less.
    assert!(told.iter().filter(|event| event["reason"] == "Applied").count() >= COUNT);

    // Killed while it is asked for much, and back: nobody starts the controller again.
    for size in 2..5 {
        kubectl.given("apply --server-side --force-conflicts -f -", &widgets(size));
        server.kill();
        std::thread::sleep(Duration::from_millis(700));
        server.again();
        eventually("all Widgets after a kill", || settled(&kubectl, COUNT, size));
    }
    assert_eq!(leader(&kubectl), leading, "the lease outlives the server");

    // What somebody else takes away or changes comes back: the informers' watches are whole.
    kubectl.says("delete configmap w007 -n widgets");
    kubectl.says("patch configmap w008 -n widgets --type=merge -p {\"data\":{\"size\":\"many\"}}");
    eventually("what was taken away", || settled(&kubectl, COUNT, 4));
    let before = version(&kubectl);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(version(&kubectl), before, "who has nothing to do writes nothing");

    // The leader goes, the other takes over.
    drop(first);
    eventually("another leader", || {
        let now = leader(&kubectl);
        !now.is_empty() && now != leading
    });
    kubectl.given("apply --server-side --force-conflicts -f -", &widgets(9));
    eventually("all Widgets by another leader", || settled(&kubectl, COUNT, 9));

    // Finalizers hold each Widget until its ConfigMap is gone.
    kubectl.says("delete widgets --all -n widgets --timeout=80s");
    let left = kubectl.says("get configmaps -n widgets -o name");
    assert_eq!(left, "configmap/kube-root-ca.crt\n");
    drop(second);
    let log = std::fs::read_to_string(work.path().join("second.log")).unwrap();
    holds(&log, &["Starting workers"]);
    assert!(!log.contains("panic"), "{log}");
}
