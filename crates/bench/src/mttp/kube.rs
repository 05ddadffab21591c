//! `fluvial serve`, or Flux's controllers, on kube-apiserver and etcd: the same owners, counted by the API server's own audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fluvial_cluster::Client;
use fluvial_ports::{Cluster, Connection, Create, Resource, Select, Target, Watched};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::engine::{self, Engine};
use super::{Made, PATIENCE, owner, patience};
use crate::Failure;
use crate::programs::{self, Kube, Running, cpu, free_port, peer, spawn, status, write};

/// Where the objects of all Kustomizations are.
pub(super) const NAMESPACE: &str = "flux-system";
/// How many owners are created at the same time.
const HANDS: usize = 16;
/// Writes and nothing else, once each.
const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
                      - {level: None, verbs: [get, list, watch]}\n- {level: Metadata}\n";
/// Who is who in the audit log.
const TOKENS: &str = "bench-token,bench,1,\"system:masters\"\nserve-token,serve,2,\"system:masters\"\n\
                      manager-token,manager,3,\"system:masters\"\n";

/// What is measured.
pub(super) struct Task<'t> {
    /// The program; it also brings the definitions.
    pub(super) ours: &'t str,
    /// What makes the owners ready.
    pub(super) engine: Engine<'t>,
    /// Folder of the peers.
    pub(super) peers: &'t Path,
    /// The repository.
    pub(super) fleet: &'t Path,
    /// What the owners are.
    pub(super) made: Made,
    /// How many.
    pub(super) count: u64,
    /// How long it is looked at afterwards.
    pub(super) quiet: Duration,
    /// How often the cluster's own controllers may ask a second; as they come without it.
    pub(super) manager_qps: Option<&'t str>,
}

/// The programs, in the order in which they are started.
struct Side {
    etcd: Running,
    apiserver: Running,
    _manager: Running,
    engine: Vec<(&'static str, Running)>,
    audit: PathBuf,
}

/// Creates the owners, and waits until all are ready.
pub(super) fn run(task: &Task<'_>) -> Result<Value, Failure> {
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(measured(task, work.path()))
}

async fn measured(task: &Task<'_>, work: &Path) -> Result<Value, Failure> {
    let Task {
        made, count, quiet, ..
    } = *task;
    let (side, client, url) = start(task, work).await?;
    let (api_version, kind, plural) = made.names();
    let resource = client
        .resource(api_version, kind)
        .await
        .map_err(|error| error.to_string())?;
    sourced(&client, &url).await?;
    // The program is at rest, and its caches are filled.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = side.processors()?;
    let written = writes(&side.audit)?;
    let begin = Instant::now();
    let (made_at, ready_at) = tokio::join!(
        create(&client, &resource, made, count, begin),
        all_ready(&client, &resource, count, begin),
    );
    let (made_at, ready_at) = (made_at?, ready_at?);
    let after = side.processors()?;
    // The last events are on their way still.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let spent = since(&written, &writes(&side.audit)?);
    let (total, tried) = totals(&spent);
    let peaks = side.peaks()?;
    let still = writes(&side.audit)?;
    tokio::time::sleep(quiet).await;
    let restless = since(&still, &writes(&side.audit)?);
    let seconds = |time: Duration| (time.as_secs_f64() * 1e3).round() / 1e3;
    let spent_ms: BTreeMap<_, _> = (before.iter().zip(&after))
        .map(|((name, before), (_, after))| (*name, after - before))
        .collect();
    Ok(json!({
        (plural): count,
        "created_s": seconds(made_at),
        "all_ready_s": seconds(ready_at),
        "cpu_ms": spent_ms,
        "peak_kib": peaks,
        "writes": total,
        "writes_per_owner": (total as f64 / count as f64 * 100.0).round() / 100.0,
        "dry_runs": tried,
        "writes_by_kind": spent,
        "quiet_seconds": quiet.as_secs(),
        "quiet_writes": totals(&restless).0,
        "quiet_writes_by_kind": restless,
    }))
}

impl Side {
    /// A figure of every program, by its name.
    fn each(
        &self,
        look: impl Fn(u32) -> Result<u64, Failure>,
    ) -> Result<BTreeMap<&'static str, u64>, Failure> {
        let servers = [("kube-apiserver", &self.apiserver), ("etcd", &self.etcd)];
        (self.engine.iter().map(|(name, running)| (*name, running)))
            .chain(servers)
            .map(|(name, running)| Ok((name, look(running.0.id())?)))
            .collect()
    }

    fn processors(&self) -> Result<BTreeMap<&'static str, u64>, Failure> {
        self.each(cpu)
    }

    fn peaks(&self) -> Result<BTreeMap<&'static str, u64>, Failure> {
        self.each(|id| status(id, "VmHWM:"))
    }
}

/// Starts everything; the client is the measuring's own, the text the repository's URL.
async fn start(task: &Task<'_>, work: &Path) -> Result<(Side, Client, String), Failure> {
    let audit = work.join("audit.log");
    let Kube {
        etcd,
        apiserver,
        port,
    } = server(task.peers, &audit, work)?;
    let ca = work.join("certificates/apiserver.crt");
    let kubeconfig = |user: &str| -> Result<PathBuf, Failure> {
        let file = work.join(format!("{user}.kubeconfig"));
        let ca = ca.display();
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: own\n\
             clusters:\n- name: own\n  cluster: {{server: \"https://127.0.0.1:{port}\", certificate-authority: {ca}}}\n\
             users:\n- name: own\n  user: {{token: {user}-token}}\n\
             contexts:\n- name: own\n  context: {{cluster: own, user: own}}\n"
        );
        write(&file, &text)?;
        Ok(file)
    };
    let (bench, serve, manager) = (kubeconfig("bench")?, kubeconfig("serve")?, kubeconfig("manager")?);
    installed(task.ours, &bench).await?;
    let manager = managing(task.peers, &manager, task.manager_qps, work)?;
    let (engine, url) = engine::start(task.engine, task.made, task.fleet, &serve, work)?;
    let client = Client::connect(&Connection {
        kubeconfig: Some(bench),
        ..Connection::default()
    })
    .await
    .map_err(|error| error.to_string())?;
    let side = Side {
        etcd,
        apiserver,
        _manager: manager,
        engine,
        audit,
    };
    Ok((side, client, url))
}

/// kube-controller-manager for Deployments; how often it may ask is the cluster's choice, 20 times a second by default.
fn managing(peers: &Path, kubeconfig: &Path, qps: Option<&str>, work: &Path) -> Result<Running, Failure> {
    let mut command = Command::new(peer(peers, "kube-controller-manager")?);
    command
        .args(["--leader-elect=false", "--secure-port", &free_port()?.to_string()])
        .args(["--bind-address", "127.0.0.1"])
        .args([
            "--controllers",
            "deployment-controller,replicaset-controller,endpointslice-controller",
        ])
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .arg("--cert-dir")
        .arg(work.join("manager"));
    if let Some(qps) = qps {
        command.args(["--kube-api-qps", qps, "--kube-api-burst", qps]);
    }
    spawn(&mut command, &work.join("manager.log"))
}

/// kube-apiserver with an audit log of writes.
fn server(peers: &Path, audit: &Path, work: &Path) -> Result<Kube, Failure> {
    let policy = work.join("policy.yaml");
    write(&policy, POLICY)?;
    let flags = [
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", audit.display()),
    ];
    programs::kube(peers, work, TOKENS, &[&flags[0], &flags[1]])
}

/// Puts the definitions there as soon as the server answers.
async fn installed(ours: &str, kubeconfig: &Path) -> Result<(), Failure> {
    let begin = Instant::now();
    loop {
        let done = Command::new(ours)
            .args(["install", "--kubeconfig"])
            .arg(kubeconfig)
            .output()
            .map_err(|error| format!("cannot start {ours}: {error}"))?;
        if done.status.success() {
            return Ok(());
        }
        let problem = format!("install: {}", String::from_utf8_lossy(&done.stderr).trim());
        patience(begin, &problem)?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Creates the source, and waits for its artifact.
async fn sourced(client: &Client, url: &str) -> Result<(), Failure> {
    let source = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": "flux-system", "namespace": NAMESPACE},
        "spec": {"interval": "1h", "url": url, "ref": {"branch": "main"}},
    });
    let resource = client
        .resource("source.toolkit.fluxcd.io/v1", "GitRepository")
        .await
        .map_err(|error| error.to_string())?;
    put(client, &resource, &source).await?;
    all_ready(client, &resource, 1, Instant::now()).await.map(|_| ())
}

async fn put(client: &Client, resource: &Resource, object: &Value) -> Result<(), Failure> {
    let how = Create {
        manager: "fluvial-bench",
        dry_run: false,
    };
    let target = Target {
        resource,
        namespace: NAMESPACE,
        name: object["metadata"]["name"].as_str().unwrap_or_default(),
    };
    client
        .create(target, object, how)
        .await
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// Creates all owners; the time that it took.
async fn create(
    client: &Client,
    resource: &Resource,
    made: Made,
    count: u64,
    begin: Instant,
) -> Result<Duration, Failure> {
    futures::stream::iter((0..count).map(Ok))
        .try_for_each_concurrent(HANDS, |number| async move {
            put(client, resource, &owner(made, number)).await
        })
        .await?;
    Ok(begin.elapsed())
}

/// Waits until `count` objects of a kind are ready; the time since `begin`.
async fn all_ready(
    client: &Client,
    resource: &Resource,
    count: u64,
    begin: Instant,
) -> Result<Duration, Failure> {
    let mut ready = BTreeSet::new();
    let mut events = client.watch(resource, &Select::default());
    let look = async {
        while (ready.len() as u64) < count {
            let Some(event) = events.next().await else { break };
            let Watched::Applied(object) = event else { continue };
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if super::is_ready(&object) {
                ready.insert(name);
            } else {
                ready.remove(&name);
            }
        }
    };
    let patience = PATIENCE.max(Duration::from_secs(2 * count));
    let whole = tokio::time::timeout(patience, look).await.is_ok();
    whole.then(|| begin.elapsed()).ok_or_else(|| {
        format!(
            "only {} of {count} became ready in {} s",
            ready.len(),
            patience.as_secs()
        )
    })
}

/// What the engine has written so far, by verb and kind of object.
fn writes(audit: &Path) -> Result<BTreeMap<String, u64>, Failure> {
    let text = std::fs::read_to_string(audit).map_err(|error| format!("{}: {error}", audit.display()))?;
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if entry["user"]["username"] != "serve" || entry["stage"] != "ResponseComplete" {
            continue;
        }
        let object = &entry["objectRef"];
        // The lease is the election's, whatever the work.
        if object["resource"] == "leases" || object["resource"].is_null() {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut name = format!("{} {}", text(&entry["verb"]), text(&object["resource"]));
        if let Some(part) = object["subresource"].as_str() {
            name = format!("{name}/{part}");
        }
        if entry["requestURI"]
            .as_str()
            .is_some_and(|uri| uri.contains("dryRun="))
        {
            name = format!("{name}{DRY}");
        }
        *counts.entry(name).or_default() += 1;
    }
    Ok(counts)
}

/// Ends the name of what was only tried.
const DRY: &str = " (dry run)";

/// How many requests wrote something, and how many only tried.
fn totals(counts: &BTreeMap<String, u64>) -> (u64, u64) {
    let (dry, real): (Vec<_>, Vec<_>) = counts.iter().partition(|(name, _)| name.ends_with(DRY));
    let sum = |list: Vec<(&String, &u64)>| list.into_iter().map(|(_, count)| count).sum();
    (sum(real), sum(dry))
}

/// What came between.
fn since(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    after
        .iter()
        .map(|(name, count)| {
            (
                name.clone(),
                count - before.get(name).copied().unwrap_or_default(),
            )
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}
