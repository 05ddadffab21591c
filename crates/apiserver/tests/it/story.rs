//! What a person does with kubectl, against a server with simulated workloads. Skipped where there is no kubectl.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc;

use fluvial_apiserver::{ApiServer, Config};
use tempfile::TempDir;

const APP: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: nginx:1
        ports: [{containerPort: 80}]
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
  ports: [{port: 80}]
";

/// A server of this process and the folder with its kubeconfig. It ends with the process.
struct Cluster {
    folder: TempDir,
    kubeconfig: PathBuf,
}

impl Cluster {
    /// None if there is no kubectl here.
    fn start() -> Option<Cluster> {
        let there = Command::new("kubectl").args(["version", "--client"]).output();
        if !there.is_ok_and(|output| output.status.success()) {
            println!("skipped: kubectl is not on this machine");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let (started, ready) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let server = ApiServer::new(Config::default()).unwrap();
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let url = format!("https://{}", listener.local_addr().unwrap());
                started.send(server.kubeconfig(&url).unwrap()).unwrap();
                fluvial_apiserver::serve::serve(server, listener).await.unwrap();
            });
        });
        std::fs::write(&kubeconfig, ready.recv().unwrap()).unwrap();
        Some(Cluster { folder, kubeconfig })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new("kubectl")
            .args(words)
            .arg("--request-timeout=30s")
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.path())
            .output()
            .unwrap()
    }

    /// What a command prints that must succeed.
    fn kubectl(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "kubectl {}: {text}{error}",
            words.join(" ")
        );
        text
    }

    /// What a command complains about that must fail.
    fn refused(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "kubectl {}: {text}", words.join(" "));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn an_application_is_applied_looked_at_changed_and_deleted_with_kubectl() {
    let Some(cluster) = Cluster::start() else { return };
    let app = cluster.file("app.yaml", APP);
    let applied = cluster.kubectl(&["apply", "-f", &app]);
    contains(&applied, &["deployment.apps/web created", "service/web created"]);
    let rollout = cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    contains(&rollout, &["successfully rolled out"]);
    cluster.kubectl(&[
        "wait",
        "--for=condition=Available",
        "deployment/web",
        "--timeout=60s",
    ]);
    let wide = cluster.kubectl(&["get", "deployments", "-o", "wide"]);
    contains(&wide, &["2/2", "nginx:1", "app=web"]);
    contains(&cluster.kubectl(&["get", "pods"]), &["Running", "1/1"]);
    contains(
        &cluster.kubectl(&["apply", "-f", &app]),
        &["deployment.apps/web unchanged"],
    );
    let described = cluster.kubectl(&["describe", "deployment", "web"]);
    contains(
        &described,
        &["Replicas:", "2 desired", "nginx:1", "NewReplicaSet:"],
    );

    let changed = cluster.file("changed.yaml", &APP.replace("nginx:1", "nginx:2"));
    let diff = cluster.run(&["diff", "-f", &changed]);
    assert_eq!(diff.status.code(), Some(1));
    contains(&String::from_utf8_lossy(&diff.stdout), &["nginx:1", "nginx:2"]);
    let conflict = cluster.refused(&["apply", "--server-side", "--field-manager=other", "-f", &changed]);
    contains(
        &conflict,
        &[
            "conflict with \"kubectl-client-side-apply\"",
            ".spec.template.spec.containers",
        ],
    );
    let forced = cluster.kubectl(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=other",
        "-f",
        &changed,
    ]);
    contains(&forced, &["deployment.apps/web serverside-applied"]);
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    contains(
        &cluster.kubectl(&["rollout", "history", "deployment/web"]),
        &["REVISION"],
    );

    cluster.kubectl(&[
        "patch",
        "deployment",
        "web",
        "--type=merge",
        "-p",
        r#"{"spec":{"replicas":3}}"#,
    ]);
    cluster.kubectl(&["scale", "deployment/web", "--replicas=1"]);
    cluster.kubectl(&["label", "service", "web", "tier=front"]);
    contains(
        &cluster.kubectl(&["get", "svc", "-l", "tier=front", "-o", "name"]),
        &["service/web"],
    );
    contains(&cluster.kubectl(&["delete", "-f", &app]), &["deleted"]);
    contains(&cluster.refused(&["get", "deployment", "web"]), &["NotFound"]);
}

#[test]
fn kubectl_finds_its_way_around() {
    let Some(cluster) = Cluster::start() else { return };
    let resources = cluster.kubectl(&["api-resources"]);
    contains(
        &resources,
        &["deployments", "customresourcedefinitions", "apiservices"],
    );
    contains(&cluster.kubectl(&["api-versions"]), &["apps/v1", "batch/v1"]);
    let explained = cluster.kubectl(&["explain", "deployment.spec.replicas"]);
    contains(&explained, &["FIELD: replicas", "integer"]);
    contains(&cluster.kubectl(&["auth", "can-i", "create", "pods"]), &["yes"]);
    let other = cluster.run(&["auth", "can-i", "create", "pods", "--as=jane"]);
    assert_eq!(String::from_utf8_lossy(&other.stdout).trim(), "no");
    contains(&cluster.kubectl(&["auth", "whoami"]), &["Username"]);
    cluster.kubectl(&["create", "serviceaccount", "robot"]);
    let token = cluster.kubectl(&["create", "token", "robot"]);
    assert_eq!(token.trim().split('.').count(), 3);
    cluster.kubectl(&[
        "create",
        "rolebinding",
        "robot",
        "--clusterrole=view",
        "--serviceaccount=default:robot",
    ]);
    let can = cluster.kubectl(&[
        "auth",
        "can-i",
        "list",
        "pods",
        "--as=system:serviceaccount:default:robot",
    ]);
    contains(&can, &["yes"]);
    contains(&cluster.kubectl(&["get", "--raw", "/readyz"]), &["ok"]);
}

#[test]
fn kubectl_is_refused_in_the_words_of_a_cluster() {
    let Some(cluster) = Cluster::start() else { return };
    let bad = cluster.file(
        "bad.yaml",
        &APP.replace("matchLabels: {app: web}", "matchLabels: {app: other}"),
    );
    contains(
        &cluster.refused(&["apply", "-f", &bad]),
        &[
            "spec.template.metadata.labels: Invalid value",
            "`selector` does not match template `labels`",
        ],
    );
    let unknown = cluster.file("unknown.yaml", &APP.replace("replicas: 2", "replica: 2"));
    contains(
        &cluster.refused(&["apply", "-f", &unknown]),
        &["unknown field \"spec.replica\""],
    );
    cluster.kubectl(&["create", "quota", "q", "--hard=configmaps=1"]);
    let over = cluster.refused(&["create", "configmap", "one-more"]);
    contains(&over, &["exceeded quota: q, requested: configmaps=1"]);
    cluster.kubectl(&["create", "namespace", "strict"]);
    cluster.kubectl(&[
        "label",
        "namespace",
        "strict",
        "pod-security.kubernetes.io/enforce=restricted",
    ]);
    let pod = cluster.refused(&["-n", "strict", "run", "p", "--image=nginx"]);
    contains(&pod, &["violates PodSecurity \"restricted:latest\""]);
}
