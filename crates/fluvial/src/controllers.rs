//! The controllers in this process: their ports, and one HTTP address for artifacts, metrics and health.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use fluvial_cli::{ControllerOptions, Controllers};
use fluvial_cluster::RemoteClients;
use fluvial_controllers::metrics::Metrics;
use fluvial_controllers::probe::Probe;
use fluvial_controllers::{Config, lease};
use fluvial_ports::{BoxFuture, Clock, Cluster, NoEvents, Sources};
use fluvial_secrets::{AmbientIdentity, Services, Sops};
use tokio::net::TcpListener;

use crate::artifacts::Stored;
use crate::folders::Folders;
use crate::server::{cannot_listen, reachable};

/// Kinds that are reconciled.
const KINDS: [&str; 8] = [
    "ArtifactGenerator",
    "Bucket",
    "GitRepository",
    "HelmChart",
    "HelmRelease",
    "HelmRepository",
    "Kustomization",
    "OCIRepository",
];

/// What the controllers are given besides the store.
pub(crate) struct Ports {
    /// The API server.
    pub cluster: Arc<dyn Cluster>,
    /// Where revisions come from.
    pub sources: Arc<dyn Sources>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// Starts them; `host` is who they say they are.
pub(crate) async fn start(
    ports: Ports,
    host: &str,
    options: &ControllerOptions,
    folders: &Folders,
) -> Result<Controllers, String> {
    let wanted = options
        .listen
        .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener = TcpListener::bind(wanted)
        .await
        .map_err(|error| cannot_listen("the controllers", wanted, &error))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let url = format!("http://{}", reachable(address));
    let advertised = match &options.advertise {
        Some(host) => format!(
            "http://{}",
            host.trim_end_matches('/').trim_start_matches("http://")
        ),
        None => url.clone(),
    };
    let store = Stored::open(folders.of(options.data.as_deref(), "artifacts")?, advertised)?;
    let files = store.router();
    let handle = fluvial_controllers::run(
        Config {
            settings: options.settings.clone(),
            lease: options
                .lease
                .as_deref()
                .map(|namespace| lease::Config::new(namespace, lease::NAME, host)),
        },
        fluvial_controllers::Ports {
            cluster: ports.cluster,
            sources: ports.sources,
            artifacts: Arc::new(store),
            decryption: Arc::new(decryption(&ports.clock)),
            remotes: Arc::new(RemoteClients::default()),
            events: Arc::new(NoEvents),
            clock: ports.clock,
        },
    );
    let router = router(files, Arc::clone(&handle.metrics), Arc::clone(&handle.probe));
    let serving = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "artifacts, metrics and health are served no more");
        }
    });
    Ok(Controllers {
        url,
        kinds: KINDS.to_vec(),
        stop: Box::new(move || -> BoxFuture<'static, ()> {
            Box::pin(async move {
                handle.stop();
                handle.ended().await;
                serving.abort();
            })
        }),
    })
}

/// Decryption with what Secrets hold, and with what this process is to its cloud.
fn decryption(clock: &Arc<dyn Clock>) -> Sops {
    const PREFIXES: [&str; 5] = ["AWS_", "AZURE_", "GCE_", "GOOGLE_", "VAULT_"];
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let known = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        known.then_some((name, value.into_string().ok()?))
    });
    Sops {
        ambient: Some(AmbientIdentity {
            variables: variables.collect(),
            read: Some(Arc::new(|path| {
                std::fs::read(path).map_err(|error| error.to_string())
            })),
        }),
        services: Some(Services {
            runtime: tokio::runtime::Handle::current(),
            clock: Arc::clone(clock),
        }),
        ..Sops::default()
    }
}

fn router(files: Router, metrics: Arc<Metrics>, probe: Arc<Probe>) -> Router {
    let answer = |good: bool| {
        if good {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready")
        }
    };
    let (alive, ready) = (Arc::clone(&probe), probe);
    Router::new()
        .route("/metrics", get(async move || metrics.text()))
        .route("/healthz", get(async move || answer(alive.is_alive())))
        .route("/readyz", get(async move || answer(ready.is_ready())))
        .fallback_service(files)
}
