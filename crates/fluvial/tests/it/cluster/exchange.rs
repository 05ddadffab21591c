//! One release in two hands: Fluvial's HelmRelease and the real helm read, change and take over what the other wrote.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::helm::chart;
use super::node::Node;
use super::server::{Ours, Real, Running, start};
use super::{PROGRAM, Tool, holds, peers};
use crate::fleet::eventually;

/// Programs and places of a story.
pub(crate) struct Stage {
    pub kubectl: Tool,
    pub helm: Tool,
    pub fluvial: Tool,
}

/// Runs the controllers, with a repository in the place of its URL.
pub(crate) fn serve(kubeconfig: &Path, repository: &Path, work: &Path) -> Running {
    let mirrors = work.join("mirrors.yaml");
    let to = repository.display();
    std::fs::write(
        &mirrors,
        format!("- from: https://git.example.com/fleet\n  to: {to}\n"),
    )
    .unwrap();
    start(
        Command::new(PROGRAM)
            .args(["serve", "--log-level", "warn", "--kubeconfig"])
            .arg(kubeconfig)
            .arg("--mirrors")
            .arg(&mirrors)
            .arg("--data")
            .arg(work.join("serve")),
        &work.join("serve.log"),
    )
}

/// A source of the repository that is in the place of its URL.
pub(crate) const SOURCE: &str = "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: flux-system, namespace: flux-system}
spec: {interval: 1h, url: 'https://git.example.com/fleet', ref: {branch: main}}
";

fn release(name: &str, values: &str) -> String {
    format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
         interval: 1h\n  timeout: 60s\n  chart: {{spec: {{chart: ./charts/web, \
         sourceRef: {{kind: GitRepository, name: flux-system, namespace: flux-system}}}}}}\n  values: {{{values}}}\n"
    )
}

fn commit(folder: &Path) {
    for words in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &[
            "-c",
            "user.name=Test",
            "-c",
            "user.email=test@example.com",
            "commit",
            "--quiet",
            "-m",
            "chart",
        ],
    ] {
        let done = Command::new("git")
            .args(words)
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Stage {
    /// Waits until a HelmRelease is ready in a revision of its release.
    fn ready(&self, name: &str, revision: u64) -> Value {
        let look = || {
            self.kubectl
                .json(&format!("get helmrelease {name} -n shop -o json"))
        };
        let mut seen = Value::Null;
        eventually(&format!("revision {revision} of {name}"), || {
            seen = look();
            let ready = seen["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            ready
                && seen["status"]["observedGeneration"] == seen["metadata"]["generation"]
                && seen["status"]["history"][0]["version"] == revision
        });
        seen
    }

    fn history(&self, name: &str) -> Vec<(u64, String)> {
        let history = self.helm.json(&format!("history {name} -n shop -o json"));
        let read = |entry: &Value| {
            (
                entry["revision"].as_u64().unwrap(),
                entry["status"].as_str().unwrap().to_owned(),
            )
        };
        history.as_array().unwrap().iter().map(read).collect()
    }

    fn key(&self, name: &str) -> String {
        self.kubectl
            .says(&format!("get configmap {name} -n shop -o jsonpath={{.data.key}}"))
    }

    /// helm reads what Fluvial wrote.
    fn helm_reads(&self) {
        self.kubectl.given("apply -f -", &release("web", "key: ours"));
        self.ready("web", 1);
        let list = self.helm.json("list -n shop -o json");
        let first = &list[0];
        let text = |name: &str| first[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            [
                text("name"),
                text("status"),
                text("chart"),
                text("app_version"),
                text("revision")
            ],
            ["web", "deployed", "web-1.0.0", "7", "1"]
        );
        assert_eq!(self.history("web"), [(1, "deployed".to_owned())]);
        holds(
            &self.helm.says("status web -n shop"),
            &["STATUS: deployed", "web is served."],
        );
        assert_eq!(
            self.helm.json("get values web -n shop -o json"),
            serde_json::json!({"key": "ours"})
        );
        holds(
            &self.helm.says("get manifest web -n shop"),
            &["# Source: web/templates/deployment.yaml", "kind: Service"],
        );
        holds(
            &self.helm.says("get hooks web -n shop"),
            &["web-before", "web-test"],
        );
        holds(&self.helm.says("get notes web -n shop"), &["web is served."]);
        holds(&self.helm.says("test web -n shop --timeout 60s"), &["Succeeded"]);
    }

    /// helm goes on from what Fluvial wrote, and Fluvial from what helm wrote.
    fn they_take_turns(&self) {
        // Two field managers: helm asks to be forced, as it would with any other controller's objects.
        let upgrade = "upgrade web charts/web -n shop --reuse-values --set key=theirs --wait --timeout 60s";
        holds(
            &self.helm.refuses(upgrade, ""),
            &["conflict with \"helm-controller\": .data.key"],
        );
        self.helm.says(&format!("{upgrade} --force-conflicts"));
        assert_eq!(self.key("web"), "theirs");
        let status = |history: &[(u64, String)]| {
            history
                .iter()
                .map(|(_, status)| status.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(status(&self.history("web")), ["superseded", "failed", "deployed"]);
        // The spec is what counts: Fluvial upgrades to it.
        self.fluvial
            .says("reconcile helmrelease web -n shop --timeout 60s");
        self.ready("web", 4);
        assert_eq!(self.key("web"), "ours");
        self.kubectl
            .given("apply -f -", &release("web", "key: newer, replicas: 2"));
        self.ready("web", 5);
        holds(
            &self
                .helm
                .says("rollback web 3 -n shop --force-conflicts --wait --timeout 60s"),
            &["Rollback was a success"],
        );
        assert_eq!(self.key("web"), "theirs");
        self.fluvial
            .says("reconcile helmrelease web -n shop --timeout 60s");
        self.ready("web", 7);
        assert_eq!(self.key("web"), "newer");
        let history = status(&self.history("web"));
        let (last, before) = history.split_last().unwrap();
        assert_eq!(last, "deployed");
        assert!(before.iter().all(|status| status != "deployed"), "{history:?}");
    }

    /// Fluvial takes over what helm installed, without a new installation.
    fn fluvial_adopts(&self) {
        self.helm
            .says("install old charts/web -n shop --set key=before --wait --timeout 60s");
        let uid = |kind: &str| {
            self.kubectl
                .says(&format!("get {kind} old -n shop -o jsonpath={{.metadata.uid}}"))
        };
        let before = [uid("deployment"), uid("service"), uid("configmap")];
        self.kubectl.given("apply -f -", &release("old", "key: after"));
        let status = self.ready("old", 2);
        holds(&status["status"]["conditions"].to_string(), &["UpgradeSucceeded"]);
        assert_eq!(self.key("old"), "after");
        assert_eq!([uid("deployment"), uid("service"), uid("configmap")], before);
        assert_eq!(
            self.history("old"),
            [(1, "superseded".to_owned()), (2, "deployed".to_owned())]
        );
    }

    /// Gone for one is gone for the other.
    fn they_end_it(&self) {
        self.kubectl.says("delete helmrelease old -n shop --timeout=80s");
        holds(&self.helm.refuses("status old -n shop", ""), &["not found"]);
        self.helm.says("uninstall web -n shop --wait --timeout 60s");
        self.fluvial
            .says("reconcile helmrelease web -n shop --timeout 60s");
        self.ready("web", 1);
        assert_eq!(self.key("web"), "newer");
        self.kubectl.says("delete helmrelease web -n shop --timeout=80s");
        assert_eq!(self.helm.json("list -n shop -o json"), serde_json::json!([]));
    }
}

fn play(kubeconfig: &Path, [helm, kubectl]: [&PathBuf; 2], work: &Path) {
    let repository = work.join("fleet");
    std::fs::create_dir_all(&repository).unwrap();
    chart(&repository);
    chart(work);
    commit(&repository);
    let stage = Stage {
        kubectl: Tool::new(kubectl, kubeconfig, work),
        helm: Tool::new(helm, kubeconfig, work),
        fluvial: Tool::new(Path::new(PROGRAM), kubeconfig, work),
    };
    stage.fluvial.says("install");
    let _serving = serve(kubeconfig, &repository, work);
    stage.kubectl.says("create namespace shop");
    stage.kubectl.given("apply -f -", SOURCE);
    stage.helm_reads();
    stage.they_take_turns();
    stage.fluvial_adopts();
    stage.they_end_it();
}

#[test]
#[ignore = "needs helm and kubectl: cargo xtask tier cluster"]
fn helm_and_fluvial_share_releases_on_our_api_server() {
    let Some([helm, kubectl]) = peers("releases in two hands on our API server", ["helm", "kubectl"]) else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let server = Ours::start(work.path(), false);
    play(&server.kubeconfig(), [&helm, &kubectl], work.path());
}

#[test]
#[ignore = "needs kube-apiserver, etcd, kube-controller-manager, helm and kubectl: cargo xtask tier cluster"]
fn helm_and_fluvial_share_releases_on_kube_apiserver() {
    let names = [
        "helm",
        "kubectl",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
    ];
    let Some([helm, kubectl, etcd, apiserver, manager]) =
        peers("releases in two hands on kube-apiserver", names)
    else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let server = Real::start([&etcd, &apiserver, &manager], work.path());
    let _node = Node::start(&kubectl, &server.kubeconfig(), work.path());
    play(&server.kubeconfig(), [&helm, &kubectl], work.path());
}
