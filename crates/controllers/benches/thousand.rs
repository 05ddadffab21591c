//! Many Kustomizations of one repository on the embedded API server: how long until all are ready, how much memory,
//! how many writes, and how many writes follow when nothing happens.
//!
//! `cargo bench -p fluvial-controllers --bench thousand -- [COUNT] [QUIET SECONDS]` prints one line of JSON.

#![expect(
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a benchmark measures time and memory, and ends when it cannot go on"
)]

#[path = "../tests/it/fakes.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared with the tests, which use all of it"
)]
mod fakes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fluvial_apiserver::{ApiServer, User};
use fluvial_cluster::Client;
use fluvial_controllers::condition;
use fluvial_controllers::ports::{Cluster, NoEvents, Target};
use fluvial_controllers::{Config, Handle, Ports};
use serde_json::{Value, json};
use tower::ServiceExt;

use fakes::{Fakes, Wall};

fn files(count: usize, value: &str) -> Vec<(String, String)> {
    let mut files = Vec::with_capacity(count * 4);
    for number in 0..count {
        let name = format!("app-{number:04}");
        let metadata = format!("metadata: {{name: {name}, namespace: {name}}}\n");
        files.push((
            format!("apps/{name}/kustomization.yaml"),
            "resources: [namespace.yaml, objects.yaml]\n".to_owned(),
        ));
        files.push((
            format!("apps/{name}/namespace.yaml"),
            format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"),
        ));
        files.push((
            format!("apps/{name}/objects.yaml"),
            format!(
                "apiVersion: v1\nkind: ConfigMap\n{metadata}data: {{key: {value}}}\n---\n\
                 apiVersion: v1\nkind: ServiceAccount\n{metadata}---\n\
                 apiVersion: v1\nkind: Service\n{metadata}spec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}\n"
            ),
        ));
    }
    files
}

fn commit(fakes: &Fakes, count: usize, value: &str) -> String {
    let files = files(count, value);
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    fakes
        .repositories
        .commit("https://git.test/fleet", fakes::tree(&files))
}

async fn create(cluster: &dyn Cluster, object: &Value) {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let resource = loop {
        match cluster.resource(text("/apiVersion"), text("/kind")).await {
            Ok(resource) => break resource,
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    };
    let target = Target {
        resource: &resource,
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
    };
    cluster
        .create(
            target,
            object,
            fluvial_controllers::ports::Create {
                manager: "bench",
                dry_run: false,
            },
        )
        .await
        .unwrap_or_else(|error| panic!("{object}: {error}"));
}

fn ready(handle: &Handle, revision: &str) -> usize {
    let all = handle.kustomizations.store().all();
    all.iter()
        .filter(|one| {
            condition::is_true(&one.status.conditions, condition::READY)
                && one.status.last_applied_revision.as_deref() == Some(revision)
        })
        .count()
}

async fn until_ready(handle: &Handle, count: usize, revision: &str) -> Duration {
    let started = Instant::now();
    while ready(handle, revision) < count {
        assert!(
            started.elapsed() < Duration::from_secs(300),
            "{} of {count} are ready",
            ready(handle, revision)
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or_default()
}

fn writes(handle: &Handle) -> Value {
    let count = |what| handle.metrics.writes(what);
    json!({"object": count("object"), "status": count("status"), "finalizer": count("finalizer"), "event": count("event")})
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn run(count: usize, quiet: Duration) -> Value {
    let server = ApiServer::new(fluvial_apiserver::Config::default()).expect("a server in memory starts");
    let service = server
        .service()
        .map_request(|mut request: http::Request<fluvial_cluster::Body>| {
            request.extensions_mut().insert(User::admin());
            request
        });
    let cluster: Arc<dyn Cluster> = Arc::new(Client::from_service(service));
    for definition in fluvial_api::definitions() {
        create(&*cluster, &definition).await;
    }
    let fakes = Fakes::default();
    let ports = Ports {
        cluster: Arc::clone(&cluster),
        sources: fakes.repositories.clone(),
        artifacts: fakes.shelf.clone(),
        decryption: Arc::new(fluvial_controllers::ports::NoDecryption),
        remotes: Arc::new(fluvial_controllers::ports::NoRemotes),
        events: Arc::new(NoEvents),
        clock: Arc::new(Wall),
        aside: fluvial_controllers::Aside::default(),
    };
    let first = commit(&fakes, count, "one");
    let idle = memory("VmRSS:");
    for number in 0..count {
        let name = format!("app-{number:04}");
        create(
            &*cluster,
            &json!({
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"interval": "1h", "prune": true, "wait": true, "path": format!("apps/{name}"),
                    "sourceRef": {"kind": "GitRepository", "name": "fleet"}},
            }),
        )
        .await;
    }
    create(
        &*cluster,
        &json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "fleet", "namespace": "default"},
            "spec": {"url": "https://git.test/fleet", "interval": "1h"},
        }),
    )
    .await;
    let created = memory("VmRSS:");
    let handle = fluvial_controllers::run(Config::default(), ports);
    let install = until_ready(&handle, count, &first).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let installed = writes(&handle);
    let second = commit(&fakes, count, "two");
    let update = until_ready(&handle, count, &second).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = writes(&handle);
    tokio::time::sleep(quiet).await;
    let after = writes(&handle);
    let report = json!({
        "kustomizations": count,
        "ready_ms": milliseconds(install),
        "update_ms": milliseconds(update),
        "rss_idle_kb": idle,
        "rss_created_kb": created,
        "rss_kb": memory("VmRSS:"),
        "rss_peak_kb": memory("VmHWM:"),
        "writes_install": installed,
        "writes_total": before,
        "quiet_seconds": quiet.as_secs(),
        "quiet_writes": if before == after { json!(0) } else { after },
    });
    handle.stop();
    handle.ended().await;
    report
}

fn main() {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok());
    let count = numbers.next().unwrap_or(1000);
    let quiet = Duration::from_secs(numbers.next().unwrap_or(5) as u64);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime can be started");
    let report = runtime.block_on(run(count, quiet));
    #[expect(clippy::print_stdout, reason = "the report is what it is run for")]
    {
        println!("{report}");
    }
}
