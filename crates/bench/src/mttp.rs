//! Mean time to production: a fleet of N Kustomizations or HelmReleases in a Git repository, from the start of
//! `fluvial up` to everything Ready; its peak memory; and how many writes the API server sees once nothing happens.
//! `kube.rs` does the same with `fluvial serve`, or with Flux's controllers, on kube-apiserver and etcd.

mod engine;
mod kube;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fluvial_cluster::Client;
use fluvial_ports::{Cluster, Connection, Create, Select, Target};
use serde_json::{Value, json};

use crate::measure::{measure, medians};
use crate::programs::{Running, cpu, status, write};
use crate::{Failure, flag};

/// What a fleet is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    Kustomizations,
    HelmReleases,
}

impl Made {
    fn read(word: &str) -> Result<Self, Failure> {
        match word {
            "kustomization" => Ok(Made::Kustomizations),
            "helmrelease" => Ok(Made::HelmReleases),
            other => Err(format!("--kind is kustomization or helmrelease, not {other}")),
        }
    }

    /// API version, kind, and what the figures call many of them.
    pub(crate) fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Made::Kustomizations => (
                "kustomize.toolkit.fluxcd.io/v1",
                "Kustomization",
                "kustomizations",
            ),
            Made::HelmReleases => ("helm.toolkit.fluxcd.io/v2", "HelmRelease", "helmreleases"),
        }
    }
}

/// Longer than any machine needs for a fleet that works.
const PATIENCE: Duration = Duration::from_mins(5);

/// Runs `PROGRAM up` on a generated fleet.
pub(crate) fn run(words: &[String]) -> Result<Value, Failure> {
    let ours = flag(words, "--ours").ok_or("--ours PROGRAM is missing: a release build of fluvial")?;
    let number = |name: &str, default: &str| -> Result<u64, Failure> {
        let text = flag(words, name).unwrap_or(default);
        text.parse().map_err(|_| format!("{name} needs a number"))
    };
    let count = number("--n", "1000")?;
    let quiet = Duration::from_secs(number("--quiet", "300")?);
    let rounds = number("--rounds", "3")?;
    let made = Made::read(flag(words, "--kind").unwrap_or("kustomization"))?;

    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    let fleet = work.path().join("fleet");
    match flag(words, "--server").unwrap_or("own") {
        "own" => {}
        "kube" => {
            repository(&fleet, made, count, Some(kube::NAMESPACE))?;
            let peers = Path::new(flag(words, "--peers").unwrap_or("target/peers"));
            let flux = flag(words, "--flux").map(Path::new);
            return kube::run(&kube::Task {
                ours,
                engine: flux.map_or(engine::Engine::Fluvial(ours), engine::Engine::Flux),
                peers,
                fleet: &fleet,
                made,
                count,
                quiet,
                manager_qps: flag(words, "--manager-qps"),
            });
        }
        other => return Err(format!("--server is own or kube, not {other}")),
    }
    repository(&fleet, made, count, None)?;

    let once = once(ours, &fleet);
    let costs = (0..rounds)
        .map(|_| measure(&once))
        .collect::<Result<Vec<_>, _>>()?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let rest = runtime.block_on(stay(ours, &fleet, made, work.path(), count, quiet))?;
    Ok(json!({
        (made.names().2): count,
        "objects": count * 4,
        "rounds": rounds,
        "all_ready": medians(&costs).json(),
        "stayed": rest,
    }))
}

/// The command that brings a fleet to life and ends then.
pub(crate) fn once(ours: &str, fleet: &Path) -> Vec<String> {
    let folder = fleet.display().to_string();
    [ours, "up", &folder, "--path", "clusters/bench", "--once"]
        .map(str::to_owned)
        .to_vec()
}

/// A repository with a fleet: the owners themselves are in `clusters/bench`.
pub(crate) fn repository(folder: &Path, made: Made, count: u64, shared: Option<&str>) -> Result<(), Failure> {
    match made {
        Made::Kustomizations => folders(folder, count, shared)?,
        Made::HelmReleases => chart(folder)?,
    }
    let mut owners = String::new();
    for number in 0..count {
        owners.push_str(&fluvial_yaml::json_to_yaml(&owner(made, number)));
        owners.push_str("---\n");
    }
    write(&folder.join("clusters/bench/apps.yaml"), &owners)?;
    for arguments in [
        &["init", "--quiet", "--initial-branch", "main"][..],
        &["add", "--all"],
        &["commit", "--quiet", "--message", "Fleet"],
    ] {
        git(folder, arguments)?;
    }
    Ok(())
}

/// The chart of every HelmRelease: a Deployment without replicas, a ConfigMap, a ServiceAccount and a Service.
fn chart(folder: &Path) -> Result<(), Failure> {
    let chart = folder.join("charts/app");
    write(
        &chart.join("Chart.yaml"),
        "apiVersion: v2\nname: app\nversion: 1.0.0\n",
    )?;
    write(&chart.join("values.yaml"), "replicas: 0\nkey: one\n")?;
    let head = |api_version: &str, kind: &str| {
        format!(
            "apiVersion: {api_version}\nkind: {kind}\nmetadata:\n  name: {{{{ .Release.Name }}}}\n  \
             labels: {{{{- include \"app.labels\" . | nindent 4 }}}}\n"
        )
    };
    let labels = "app.kubernetes.io/name: {{ .Chart.Name }}\napp.kubernetes.io/instance: {{ .Release.Name }}";
    let pod = "spec:\n  replicas: {{ .Values.replicas }}\n  selector:\n    matchLabels: {app: {{ .Release.Name }}}\n  \
               template:\n    metadata:\n      labels: {app: {{ .Release.Name }}}\n    spec:\n      \
               serviceAccountName: {{ .Release.Name }}\n      containers:\n      - name: app\n        image: app:1\n";
    for (file, text) in [
        (
            "_helpers.tpl",
            format!("{{{{- define \"app.labels\" }}}}\n{labels}\n{{{{- end }}}}\n"),
        ),
        ("deployment.yaml", head("apps/v1", "Deployment") + pod),
        (
            "config.yaml",
            head("v1", "ConfigMap") + "data:\n  key: {{ .Values.key | quote }}\n",
        ),
        ("account.yaml", head("v1", "ServiceAccount")),
        (
            "service.yaml",
            head("v1", "Service") + "spec:\n  selector: {app: {{ .Release.Name }}}\n  ports: [{port: 80}]\n",
        ),
    ] {
        write(&chart.join("templates").join(file), &text)?;
    }
    Ok(())
}

/// Per Kustomization a folder with a ConfigMap, a ServiceAccount and a Service; and a Namespace, if they do not share one.
fn folders(folder: &Path, count: u64, shared: Option<&str>) -> Result<(), Failure> {
    for number in 0..count {
        let name = named(number);
        let namespace = shared.unwrap_or(&name);
        let metadata = format!("metadata: {{name: {name}, namespace: {namespace}}}\n");
        let app = folder.join("apps").join(&name);
        let mut resources = "resources: [objects.yaml]\n";
        if shared.is_none() {
            resources = "resources: [namespace.yaml, objects.yaml]\n";
            write(
                &app.join("namespace.yaml"),
                &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"),
            )?;
        }
        write(&app.join("kustomization.yaml"), resources)?;
        write(
            &app.join("objects.yaml"),
            &format!(
                "apiVersion: v1\nkind: ConfigMap\n{metadata}data: {{key: one}}\n---\n\
                 apiVersion: v1\nkind: ServiceAccount\n{metadata}---\n\
                 apiVersion: v1\nkind: Service\n{metadata}spec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}\n"
            ),
        )?;
    }
    Ok(())
}

fn named(number: u64) -> String {
    format!("app-{number:04}")
}

/// The Kustomization or HelmRelease of a number.
fn owner(made: Made, number: u64) -> Value {
    let (api_version, kind, _) = made.names();
    let name = named(number);
    let source = json!({"kind": "GitRepository", "name": "flux-system"});
    let spec = match made {
        Made::Kustomizations => json!({
            "interval": "10m", "prune": true, "wait": true, "path": format!("./apps/{name}"), "sourceRef": source,
        }),
        Made::HelmReleases => json!({
            "interval": "10m",
            "chart": {"spec": {"chart": "./charts/app", "sourceRef": source}},
            "values": {"key": format!("v{number}")},
        }),
    };
    json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {"name": name, "namespace": "flux-system"},
        "spec": spec,
    })
}

fn git(folder: &Path, arguments: &[&str]) -> Result<(), Failure> {
    let status = Command::new("git")
        .args(["-c", "user.name=bench", "-c", "user.email=bench@example.com"])
        .args(arguments)
        .current_dir(folder)
        .status()
        .map_err(|error| format!("git: {error}"))?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| format!("git {} failed", arguments.join(" ")))
}

/// Runs the program without `--once`, and looks at what it does when all is ready.
async fn stay(
    ours: &str,
    fleet: &Path,
    made: Made,
    work: &Path,
    count: u64,
    quiet: Duration,
) -> Result<Value, Failure> {
    let kubeconfig = work.join("kubeconfig");
    let start = Instant::now();
    let child = Command::new(ours)
        .arg("up")
        .arg(fleet)
        .args(["--path", "clusters/bench", "--kubeconfig-out"])
        .arg(&kubeconfig)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start {ours}: {error}"))?;
    let running = Running(child);
    let cluster = connect(&kubeconfig, start).await?;
    // Looking costs the program time, so it is looked seldom; `all_ready` has the time that counts.
    while ready(&cluster, made).await? < count {
        patience(start, "not everything became ready")?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // The last events and statuses are on their way still.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (before, cpu_before) = (version(&cluster).await?, cpu(running.0.id())?);
    tokio::time::sleep(quiet).await;
    let (after, cpu_after) = (version(&cluster).await?, cpu(running.0.id())?);
    Ok(json!({
        "resident_kib": status(running.0.id(), "VmRSS:")?,
        "peak_kib": status(running.0.id(), "VmHWM:")?,
        "quiet_seconds": quiet.as_secs(),
        // The measuring's own object is one of them.
        "quiet_writes": after.saturating_sub(before + 1),
        "quiet_cpu_ms": cpu_after - cpu_before,
    }))
}

fn patience(start: Instant, problem: &str) -> Result<(), Failure> {
    (start.elapsed() < PATIENCE)
        .then_some(())
        .ok_or_else(|| format!("{problem} in {} s", PATIENCE.as_secs()))
}

async fn connect(kubeconfig: &Path, start: Instant) -> Result<Client, Failure> {
    loop {
        let credentials = Connection {
            kubeconfig: Some(kubeconfig.to_owned()),
            ..Connection::default()
        };
        if kubeconfig.exists()
            && let Ok(client) = Client::connect(&credentials).await
            && client
                .resource(Made::Kustomizations.names().0, "Kustomization")
                .await
                .is_ok()
        {
            return Ok(client);
        }
        patience(start, "the API server did not come up")?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How many objects of the fleet are ready.
async fn ready(cluster: &Client, made: Made) -> Result<u64, Failure> {
    let (api_version, kind, _) = made.names();
    let resource = cluster
        .resource(api_version, kind)
        .await
        .map_err(|error| error.to_string())?;
    let listed = cluster
        .list(&resource, &Select::default())
        .await
        .map_err(|error| error.to_string())?;
    let of_fleet = |object: &&Value| object["metadata"]["name"].as_str() != Some("flux-system");
    Ok(listed
        .iter()
        .filter(of_fleet)
        .filter(|object| is_ready(object))
        .count() as u64)
}

/// Whether an object says that it is ready.
fn is_ready(object: &Value) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// The store's version, which counts every write of the API server: read off an object written now.
async fn version(cluster: &Client) -> Result<u64, Failure> {
    let resource = cluster
        .resource("v1", "ConfigMap")
        .await
        .map_err(|error| error.to_string())?;
    let probe = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"generateName": "probe-", "namespace": "default"},
    });
    let target = Target {
        resource: &resource,
        namespace: "default",
        name: "",
    };
    let how = Create {
        manager: "fluvial-bench",
        dry_run: false,
    };
    let created = cluster
        .create(target, &probe, how)
        .await
        .map_err(|error| error.to_string())?;
    created["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| "the API server's answer has no resource version".to_owned())
}
