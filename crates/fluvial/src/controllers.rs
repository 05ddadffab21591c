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
use fluvial_controllers::{Aside, Component, Config, Ended, Settings, lease};
use fluvial_ports::{BoxFuture, Clock, Cluster, NoEvents, Sources};
use fluvial_secrets::{AmbientIdentity, Services, Sops};
use futures::FutureExt as _;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use crate::artifacts::Stored;
use crate::folders::Folders;
use crate::replicas;
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
    let aside = Aside::default();
    let store = Stored::open(
        folders.of(options.data.as_deref(), "artifacts")?,
        advertised,
        aside.clone(),
    )?;
    let files = store.router();
    let own = format!("http://{}", replicas::own_address(address));
    let lease = options.lease.as_deref().map(|namespace| lease::Config {
        address: Some(own),
        ..lease::Config::new(namespace, &lease_name(&options.settings), host)
    });
    let handle = fluvial_controllers::run(
        Config {
            settings: options.settings.clone(),
            lease,
        },
        fluvial_controllers::Ports {
            cluster: ports.cluster,
            sources: ports.sources,
            artifacts: Arc::new(store),
            decryption: Arc::new(decryption(&ports.clock)),
            remotes: Arc::new(RemoteClients::default()),
            events: Arc::new(NoEvents),
            clock: ports.clock,
            aside,
        },
    );
    let files = replicas::router(files, Arc::clone(&handle.leader))?;
    let router = router(files, Arc::clone(&handle.metrics), Arc::clone(&handle.probe));
    let serving = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "artifacts, metrics and health are served no more");
        }
    });
    let stop = handle.stopper();
    let ended = tokio::spawn(handle.ended())
        .map(|ended| ended.unwrap_or(Ended::Stopped))
        .shared();
    let lost = ended.clone();
    Ok(Controllers {
        url,
        kinds: KINDS
            .into_iter()
            .filter(|kind| options.settings.components.contains(&Component::of(kind)))
            .collect(),
        lost: Box::pin(async move {
            if lost.await != Ended::LeaseLost {
                std::future::pending().await
            }
        }),
        stop: Box::new(move || -> BoxFuture<'static, ()> {
            Box::pin(async move {
                stop();
                ended.await;
                serving.abort();
            })
        }),
    })
}

/// The lease of processes that would do the same. Those that do another part of the work lead beside each other.
fn lease_name(settings: &Settings) -> String {
    let mut part = String::new();
    if settings.components.len() < Component::ALL.len() {
        part = format!("{:?}", settings.components);
    }
    if let Some(selector) = &settings.sources.selector {
        part = format!("{part} {selector}");
    }
    if part.is_empty() {
        return lease::NAME.to_owned();
    }
    let id: String = Sha256::digest(part)[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{}-{id}", lease::NAME)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_do_other_parts_of_the_work_have_other_leases() {
        let whole = Settings::default();
        assert_eq!(lease_name(&whole), lease::NAME);
        let mut part = whole.clone();
        part.components = [Component::Sources].into();
        let mut shard = whole.clone();
        shard.sources.selector = Some("shard=one".to_owned());
        let mut other = whole;
        other.sources.selector = Some("shard=two".to_owned());
        let names = [&part, &shard, &other].map(lease_name);
        assert!(
            names
                .iter()
                .all(|name| name.starts_with(lease::NAME) && name != lease::NAME),
            "{names:?}"
        );
        assert!(names[0] != names[1] && names[1] != names[2], "{names:?}");
    }
}
