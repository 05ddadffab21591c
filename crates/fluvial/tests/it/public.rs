//! Public fleets, unmodified, from clone to Ready with one command. They are kept beside the repository; where they
//! are not, these tests say so and end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fleet::{PROGRAM, copy, eventually};

/// Longer than a debug build needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Public fleets, and a folder for what a test makes of one.
struct Public {
    fleets: PathBuf,
    work: tempfile::TempDir,
}

fn git(arguments: &[&str], folder: &Path) {
    let done = Command::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn commit(folder: &Path, message: &str) {
    git(&["add", "--all", "--force"], folder);
    git(&["commit", "--quiet", "--message", message], folder);
}

impl Public {
    /// The fleets, if they are at hand.
    fn new() -> Option<Self> {
        let fleets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fleets");
        if !fleets.is_dir() {
            eprintln!("skipped: the public fleets are not beside the repository");
            return None;
        }
        Some(Public {
            fleets: fleets.canonicalize().unwrap(),
            work: tempfile::tempdir().unwrap(),
        })
    }

    /// A folder of this test.
    fn folder(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// The charts of the fleets.
    fn charts(&self) -> PathBuf {
        self.fleets.join("charts")
    }

    /// A repository with the files of a folder of the fleets.
    fn repository(&self, name: &str, files: &str) -> PathBuf {
        let folder = self.folder(name);
        copy(&self.fleets.join(files), &folder);
        git(&["init", "--quiet", "--initial-branch=main"], &folder);
        commit(&folder, "the fleet");
        folder
    }

    /// A branch of a repository with nothing but the files of a folder of the fleets.
    fn branch(&self, repository: &Path, name: &str, files: &str) {
        git(&["checkout", "--quiet", "--orphan", name], repository);
        git(&["rm", "-r", "--quiet", "--force", "."], repository);
        copy(&self.fleets.join(files), repository);
        commit(repository, "a branch");
        git(&["checkout", "--quiet", "main"], repository);
    }

    /// The mirrors file with these rules.
    fn mirrors(&self, rules: &[(&str, &Path)]) {
        let rules: Vec<String> = rules
            .iter()
            .map(|(from, to)| format!("- from: {from}\n  to: {}\n", to.display()))
            .collect();
        std::fs::write(self.folder("mirrors.yaml"), rules.concat()).unwrap();
    }

    /// Writes a file of this test.
    fn write(&self, file: &str, text: &str) {
        let path = self.folder(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Starts `up`.
    fn up(&self, repository: &Path, path: &str, more: &[&str]) -> Running {
        let log = std::fs::File::create(self.folder("log")).unwrap();
        let child = Command::new(PROGRAM)
            .arg("up")
            .arg(repository)
            .args(["--path", path, "--mirrors"])
            .arg(self.folder("mirrors.yaml"))
            .arg("--kubeconfig-out")
            .arg(self.folder("kubeconfig"))
            .args(more)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Running(child)
    }

    /// Runs `up --once` to its end: how it ended, and what it said.
    fn once(&self, repository: &Path, path: &str) -> (Option<i32>, String) {
        let started = Instant::now();
        let mut up = self.up(repository, path, &["--once"]);
        let code = loop {
            if let Some(status) = up.0.try_wait().unwrap() {
                break status.code();
            }
            if started.elapsed() > PATIENCE {
                break None;
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        drop(up);
        eprintln!("{path}: {:?}", started.elapsed());
        (
            code,
            std::fs::read_to_string(self.folder("log")).unwrap_or_default(),
        )
    }

    /// All is ready with one command.
    fn comes_up(&self, repository: &Path, path: &str) -> String {
        let (code, log) = self.once(repository, path);
        assert_eq!(code, Some(0), "{path}\n{log}");
        assert!(log.contains("all is ready: "), "{path}\n{log}");
        log
    }

    /// What a command prints that runs against what `up` runs.
    fn ask(&self, arguments: &[&str]) -> String {
        let done = Command::new(PROGRAM)
            .args(arguments)
            .arg("--kubeconfig")
            .arg(self.folder("kubeconfig"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Reason and message of an object's Ready condition.
    fn ready(&self, kind: &str, namespace: &str, name: &str) -> (String, String) {
        let text = self.ask(&["get", kind, name, "-n", namespace, "-o", "json"]);
        let object: Value = serde_json::from_str(&text).unwrap_or_default();
        let object = object["items"].get(0).unwrap_or(&object);
        let conditions = object["status"]["conditions"].as_array();
        let ready = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Ready");
        let field = |name: &str| {
            ready
                .and_then(|ready| ready[name].as_str())
                .unwrap_or_default()
                .to_owned()
        };
        (field("reason"), field("message"))
    }
}

/// The program, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_demo_fleet_comes_up_offline() {
    let Some(public) = Public::new() else { return };
    let demo = public.fleets.join("f4z3r+flux-demo");
    let bundle = demo.join("flux-demo.bundle");
    git(
        &["clone", "--quiet", &bundle.to_string_lossy(), "demo"],
        public.work.path(),
    );
    let clone = public.folder("demo");
    let text = std::fs::read_to_string(demo.join("mirrors.yaml"))
        .unwrap()
        .replace("@REPO@", &clone.to_string_lossy())
        .replace("@CHARTS@", &public.charts().to_string_lossy());
    public.write("mirrors.yaml", &text);
    public.comes_up(&clone, "clusters/demo");
}

#[test]
fn the_example_of_kustomize_and_helm_comes_up_on_both_clusters() {
    let Some(public) = Public::new() else { return };
    let clone = public.repository("clone", "fluxcd+flux2-kustomize-helm-example/repo");
    let charts = public.charts();
    public.mirrors(&[
        ("oci://docker.io/envoyproxy/gateway-helm", &charts),
        ("oci://quay.io/jetstack/charts/cert-manager", &charts),
        ("https://stefanprodan.github.io/podinfo", &charts),
    ]);
    for cluster in ["clusters/staging", "clusters/production"] {
        let log = public.comes_up(&clone, cluster);
        for release in [
            "cert-manager/cert-manager",
            "envoy-gateway-system/envoy-gateway",
            "podinfo/podinfo",
        ] {
            assert!(log.contains(&format!("✔ HelmRelease/{release} ")), "{log}");
        }
    }
}

/// What stands in for the manifests of Kyverno, which are not at hand.
const KYVERNO: &str = "apiVersion: v1
kind: Namespace
metadata: {name: kyverno}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: clusterpolicies.kyverno.io}
spec:
  group: kyverno.io
  scope: Cluster
  names: {kind: ClusterPolicy, plural: clusterpolicies, singular: clusterpolicy}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: kyverno, namespace: kyverno}
spec:
  selector: {matchLabels: {app: kyverno}}
  template:
    metadata: {labels: {app: kyverno}}
    spec: {containers: [{name: kyverno, image: kyverno}]}
";

fn multi_tenancy(public: &Public) -> PathBuf {
    let fleet = "fluxcd+flux2-multi-tenancy";
    let clone = public.repository("clone", &format!("{fleet}/repo"));
    public.branch(&clone, "dev-team", &format!("{fleet}/sources/dev-team"));
    public.write("kyverno/install.yaml", KYVERNO);
    public.mirrors(&[
        ("https://github.com/fluxcd/flux2-multi-tenancy", &clone),
        (
            "oci://ghcr.io/kyverno/manifests/kyverno",
            &public.folder("kyverno"),
        ),
        ("https://stefanprodan.github.io/podinfo", &public.charts()),
    ]);
    clone
}

#[test]
fn tenants_come_up_locked_down_as_their_repository_asks() {
    let Some(public) = Public::new() else { return };
    let clone = multi_tenancy(&public);
    for cluster in ["clusters/staging", "clusters/production"] {
        let log = public.comes_up(&clone, cluster);
        for argument in [
            "--default-service-account=default (helm-controller, kustomize-controller)",
            "--no-cross-namespace-refs=true (helm-controller, kustomize-controller)",
            "--no-remote-bases=true (kustomize-controller)",
        ] {
            assert!(log.contains(argument), "{argument}\n{log}");
        }
        assert!(log.contains("✔ HelmRelease/apps/podinfo "), "{log}");
        // Nobody vouches for what a mirror holds.
        let signed = log
            .lines()
            .find(|line| line.starts_with("✔ OCIRepository/flux-system/kyverno-controller "));
        assert!(signed.is_some_and(|line| line.contains("mirror")), "{log}");
    }
}

#[test]
fn a_tenant_that_reaches_for_another_namespace_is_refused() {
    let Some(public) = Public::new() else { return };
    let clone = multi_tenancy(&public);
    let _up = public.up(&clone, "clusters/production", &[]);
    eventually("the tenant", || {
        public.ready("ks", "apps", "dev-team").0 == "ReconciliationSucceeded"
    });
    // The tenant writes into a namespace that is not its own, and names a source there.
    git(&["checkout", "--quiet", "dev-team"], &clone);
    let resources = clone.join("base/kustomization.yaml");
    let text = std::fs::read_to_string(&resources).unwrap();
    std::fs::write(&resources, format!("{text}  - reach.yaml\n")).unwrap();
    let reach = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: reach, namespace: flux-system}\n";
    std::fs::write(clone.join("base/reach.yaml"), reach).unwrap();
    commit(&clone, "reach");
    eventually("the refusal of the object", || {
        let (_, message) = public.ready("ks", "apps", "dev-team");
        message.contains("system:serviceaccount:apps:dev-team") && message.contains("flux-system")
    });
    let borrow = "apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: borrow, namespace: apps}
spec:
  interval: 5m
  serviceAccountName: dev-team
  prune: true
  sourceRef: {kind: GitRepository, name: flux-system, namespace: flux-system}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: nobody, namespace: apps}
spec:
  interval: 5m
  path: ./base
  prune: true
  sourceRef: {kind: GitRepository, name: dev-team}
";
    std::fs::write(clone.join("base/reach.yaml"), borrow).unwrap();
    commit(&clone, "borrow");
    eventually("the refusal of the source", || {
        let (reason, message) = public.ready("ks", "apps", "borrow");
        reason == "AccessDenied" && message.contains("cross-namespace references have been blocked")
    });
    // One that names no account acts as `default`, which may do nothing.
    eventually("the refusal of the account", || {
        let (_, message) = public.ready("ks", "apps", "nobody");
        message.contains("system:serviceaccount:apps:default")
    });
}

/// A definition of a kind that takes everything.
fn definition(group: &str, version: &str, kind: &str, plural: &str) -> String {
    format!(
        "---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {plural}.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: {kind}, plural: {plural}, singular: {}}}
  versions:
  - name: {version}
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
",
        kind.to_lowercase()
    )
}

#[test]
fn objects_of_old_versions_work_and_are_stored_as_current_ones() {
    let Some(public) = Public::new() else { return };
    let clone = public.repository("clone", "apps-repo-guide/repo");
    let apps = public.repository("apps", "apps-repo-guide/sources/my-apps");
    public.mirrors(&[("ssh://git@github.com/organisation/my-apps.git", &apps)]);
    // What the guide's readers have made by hand.
    public.write(
        "seed/all.yaml",
        &format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: apps-deploykey, namespace: flux-system}}\n---\n\
             apiVersion: v1\nkind: Namespace\nmetadata: {{name: app}}\n---\n\
             apiVersion: v1\nkind: Namespace\nmetadata: {{name: my-apps}}\n{}",
            [
                definition("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
                definition("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
            ]
            .concat()
        ),
    );
    let seed = public.folder("seed");
    let seed = seed.to_string_lossy();
    for (cluster, other) in [
        ("staging-cluster-name", "app"),
        ("production-cluster-name", "my-apps"),
    ] {
        let _up = public.up(&clone, &format!("flux/clusters/{cluster}"), &["--seed", &seed]);
        eventually("the fleet", || {
            let all = public.ask(&["get", "kustomizations", "-A", "-o", "json"]);
            let all: Value = serde_json::from_str(&all).unwrap_or_default();
            let items = all["items"].as_array().cloned().unwrap_or_default();
            items.len() == 3
                && ["flux-system", "apps", other]
                    .iter()
                    .all(|name| public.ready("ks", "flux-system", name).0 == "ReconciliationSucceeded")
        });
        for (kind, name, version) in [
            ("ks", "apps", "kustomize.toolkit.fluxcd.io/v1"),
            ("source git", other, "source.toolkit.fluxcd.io/v1"),
        ] {
            let mut words = vec!["export"];
            words.extend(kind.split(' '));
            words.push(name);
            let text = public.ask(&words);
            assert!(text.contains(&format!("apiVersion: {version}\n")), "{text}");
        }
    }
}
