//! The parts of the controllers as processes of their own, as Flux runs them: what one stores, another downloads.

use std::path::Path;
use std::process::Command;

use fluvial_ports::{Cluster as _, Patch, PatchKind, Resource, Select, Target};
use serde_json::{Value, json};

use super::{NAMESPACE, World};
use crate::cluster::PROGRAM;
use crate::cluster::server::{Ours, Running, start};
use crate::fleet::{Fleet, eventually};

/// Runs some parts; each process keeps its own artifacts.
fn part(kubeconfig: &Path, work: &Path, name: &str, components: &str) -> Running {
    let mut command = Command::new(PROGRAM);
    command
        .args([
            "serve",
            "--log-level",
            "warn",
            "--components",
            components,
            "--kubeconfig",
        ])
        .arg(kubeconfig)
        .arg("--mirrors")
        .arg(work.join("mirrors.yaml"))
        .arg("--data")
        .arg(work.join(name));
    start(&mut command, &work.join(format!("{name}.log")))
}

/// Where a part serves.
fn address(log: &Path) -> String {
    let mut address = None;
    eventually("a word of where it serves", || {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        address = text
            .split_once("health at ")
            .and_then(|(_, rest)| Some(rest.split_whitespace().next()?.to_owned()));
        address.is_some()
    });
    address.unwrap()
}

fn fleet() -> Fleet {
    Fleet::of(&[
        (
            "apps/tea.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: tea}\ndata: {cup: one}\n",
        ),
        (
            "charts/web/Chart.yaml",
            "apiVersion: v2\nname: web\nversion: 0.1.0\n",
        ),
        ("charts/web/values.yaml", "cup: one\n"),
        (
            "charts/web/templates/map.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {cup: '{{ .Values.cup }}'}\n",
        ),
    ])
}

impl World {
    /// Waits until these ConfigMaps have this cup.
    fn pours(&self, names: &[&str], cup: &str) {
        eventually(&format!("{names:?} with {cup}"), || {
            names
                .iter()
                .all(|name| self.get("ConfigMap", name)["data"]["cup"] == cup)
        });
    }

    /// The size of what is at an address, if there is something.
    fn download(&self, url: &str) -> Option<u64> {
        let body = self.runtime.block_on(async {
            let answer = reqwest::get(url).await.ok()?.error_for_status().ok()?;
            answer.bytes().await.ok()
        });
        body.map(|body| body.len() as u64)
    }

    /// Says of every lease that somebody else has it.
    fn takes_all_leases(&self) {
        let resource = Resource {
            group: "coordination.k8s.io".to_owned(),
            version: "v1".to_owned(),
            kind: "Lease".to_owned(),
            plural: "leases".to_owned(),
            namespaced: true,
        };
        let select = Select::default();
        let list = self.client.list(&resource, &select);
        let leases = self.runtime.block_on(list).unwrap();
        let leases = leases.iter().map(|lease| &lease["metadata"]);
        let body = json!({"spec": {"holderIdentity": "somebody"}});
        let ours = leases.filter(|lease| lease["name"].as_str().unwrap().starts_with("fluvial"));
        let mut count = 0;
        for lease in ours {
            let target = Target {
                resource: &resource,
                namespace: lease["namespace"].as_str().unwrap(),
                name: lease["name"].as_str().unwrap(),
            };
            let patch = Patch {
                kind: PatchKind::Merge,
                subresource: None,
                manager: "test",
                body: &body,
                dry_run: false,
            };
            self.runtime.block_on(self.client.patch(target, patch)).unwrap();
            count += 1;
        }
        assert_eq!(count, 3, "parts lead beside each other");
    }

    /// Where the artifact of the repository is.
    fn artifact(&self) -> Value {
        self.get("GitRepository", "fleet")["status"]["artifact"].clone()
    }
}

/// The sources, and those who use them.
fn objects(world: &World) {
    world.source(
        "GitRepository",
        "fleet",
        json!({"url": "https://git.example.com/fleet", "ref": {"branch": "main"}}),
    );
    let generator = json!({"sources": [{"alias": "fleet", "kind": "GitRepository", "name": "fleet"}],
        "artifacts": [{"name": "apps", "copy": [{"from": "@fleet/apps/**", "to": "@artifact/"}]}]});
    world.apply("ArtifactGenerator", "apps", json!({"spec": generator}));
    let kustomization = |kind: &str, name: &str, path: &str, prefix: &str| {
        json!({"spec": {"interval": "1h", "prune": true, "path": path, "targetNamespace": NAMESPACE,
            "namePrefix": prefix, "sourceRef": {"kind": kind, "name": name}}})
    };
    world.apply(
        "Kustomization",
        "whole",
        kustomization("GitRepository", "fleet", "./apps", "whole-"),
    );
    world.apply(
        "Kustomization",
        "part",
        kustomization("ExternalArtifact", "apps", "./", "part-"),
    );
    let chart = json!({"chart": "./charts/web", "reconcileStrategy": "Revision", "interval": "1s",
        "sourceRef": {"kind": "GitRepository", "name": "fleet"}});
    world.apply(
        "HelmRelease",
        "web",
        json!({"spec": {"interval": "1h", "chart": {"spec": chart}}}),
    );
}

#[test]
fn parts_run_apart_and_have_artifacts_of_each_other() {
    let work = tempfile::tempdir().unwrap();
    let work = work.path();
    let server = Ours::start(work, false);
    let kubeconfig = server.kubeconfig();
    let installed = Command::new(PROGRAM)
        .args(["install", "--kubeconfig"])
        .arg(&kubeconfig)
        .output();
    assert!(installed.unwrap().status.success());
    let fleet = fleet();
    let rule = json!([{"from": "https://git.example.com/fleet", "to": fleet.repository()}]);
    std::fs::write(work.join("mirrors.yaml"), rule.to_string()).unwrap();
    let sources = part(&kubeconfig, work, "sources", "source-controller,source-watcher");
    let kustomizations = part(&kubeconfig, work, "kustomizations", "kustomize-controller");
    let releases = part(&kubeconfig, work, "releases", "helm-controller");
    let world = World::over(fleet, None, kubeconfig.clone());
    objects(&world);
    let all = ["whole-tea", "part-tea", "web"];
    world.pours(&all, "one");
    let change = |from: &str, to: &str| {
        for file in ["apps/tea.yaml", "charts/web/values.yaml"] {
            world.fleet.edit(file, from, to);
        }
        world.fleet.commit(to);
    };
    change("one", "two");
    world.pours(&all, "two");
    // A replica stands by: it has no artifacts of its own, and gives out those of the one that leads.
    let replica = part(&kubeconfig, work, "others", "source-controller,source-watcher");
    let before = world.artifact();
    let others = address(&work.join("others.log"));
    let path = before["path"].as_str().unwrap();
    let size = before["size"].as_u64();
    eventually("the artifact from the replica", || {
        world.download(&format!("{others}/{path}")) == size
    });
    assert_eq!(world.download(&format!("{others}/{path}.not")), None);
    // It takes over, with nothing of the first one's artifacts, and at another address.
    drop(sources);
    eventually("the artifact at another address", || {
        world.artifact()["url"] != before["url"]
    });
    let after = world.artifact();
    for field in ["revision", "digest", "path", "size"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    change("two", "three");
    world.pours(&all, "three");
    // Whoever loses the lead ends, to be started again: somebody else may be at work.
    world.takes_all_leases();
    for mut part in [kustomizations, releases, replica] {
        let mut code = None;
        eventually("the end of who leads no more", || {
            code = part.0.try_wait().unwrap().map(|status| status.code());
            code.is_some()
        });
        assert_eq!(code, Some(Some(1)));
    }
}
