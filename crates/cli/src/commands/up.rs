//! `up`: a cluster inside this process that follows a repository, shown as it comes to life.

mod follow;
mod place;
mod seed;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fluvial_ports::{Apply, Cluster, ErrorKind, Fetched, Select, Sources, Watched};
use fluvial_tree::Tree;
use futures::StreamExt;
use serde_json::Value;

use super::serve::Logs;
use crate::bootstrap::{self, Plan, Repository};
use crate::environment::{
    ControllerOptions, Controllers, Failure, Outcome, Server, ServerOptions, Session, SourceOptions,
};
use crate::state::{self, holds, text};

/// How long a definition may take until it is served.
const DEFINITIONS: Duration = Duration::from_secs(20);

/// How long runs may go on at the end of a cluster that nobody keeps.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Options of `up`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: place::Place,
    /// Folder of the cluster in the repository [default: the only one below clusters/, else the root]
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// End when everything is ready (exit code 0), or with the causes when it cannot become so or --timeout is over (exit code 1)
    #[arg(long)]
    once: bool,
    /// Keep the cluster in this folder [default: in memory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Rewrites of source URLs: a list of {from: URL prefix, to: path or URL}
    #[arg(long, value_name = "FILE")]
    mirrors: Option<PathBuf>,
    /// Objects that the cluster has before it follows the repository, such as Secrets made by hand: a file or a folder
    #[arg(long, value_name = "PATH")]
    seed: Vec<PathBuf>,
    /// Trusted root of Sigstore (trusted_root.json), against which signatures of identities are verified
    #[arg(long, value_name = "FILE")]
    sigstore_trusted_root: Option<PathBuf>,
    /// Take the files of the work tree as they are, committed or not
    #[arg(long)]
    dirty: bool,
    /// Address and port of the API server [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Addresses of Services, where the repository names some: 10.96.0.0/12 [default: 10.0.0.0/16]
    #[arg(long, value_name = "CIDR")]
    service_cluster_ip_range: Option<String>,
    /// Where to write the kubeconfig
    #[arg(long, value_name = "FILE")]
    kubeconfig_out: Option<PathBuf>,
    #[command(flatten)]
    logs: Logs,
}

/// Runs until the process is told to end, or with `--once` until there is an answer.
pub(crate) async fn run(session: &mut Session<'_>, options: &Options) -> Outcome {
    // Warnings would tear the picture apart; failures of objects are in it, and in the lines that are printed instead.
    let level = match (session.env.outside.terminal(), &options.data) {
        (Some(_), _) => "off",
        (None, Some(_)) => "warn,fluvial_controllers::recorder=off",
        // What is cut off at the end has no next start.
        (None, None) => "warn,fluvial_controllers::recorder=off,fluvial_controllers::runner=error",
    };
    options.logs.begin(session, level, false)?;
    let repository = place::find(session, &options.place)?;
    let seeds = seed::read(session, &options.seed)?;
    let mut from = SourceOptions {
        data: options.data.clone(),
        mirrors: options.mirrors.clone(),
        trusted_root: options.sigstore_trusted_root.clone(),
        rewrites: repository.rewrite(&repository.url).into_iter().collect(),
        dirty: options.dirty,
    };
    let sources = session.env.outside.sources(&from).map_err(Failure::new)?;
    let (tree, revision) = look(sources.as_ref(), &repository, session.global.timeout).await?;
    let folder = bootstrap::folder(&tree, options.path.as_deref()).map_err(Failure::new)?;
    let plan = bootstrap::plan(&repository, &tree, &folder);
    for remark in &plan.remarks {
        session.warning(remark);
    }
    if !plan.lockdown.is_empty() {
        session.success(&format!(
            "as the repository starts Flux: {}",
            plan.lockdown.join(", ")
        ));
    }
    from.rewrites.clone_from(&plan.rewrites);
    let sources = session.env.outside.sources(&from).map_err(Failure::new)?;
    let server = start(session, options).await?;
    let place = repository.place();
    session.action(&format!("following ./{folder} of {place} at {revision}"));
    let result = match prepare(server.cluster.as_ref(), &plan, seeds).await {
        Ok(()) => live(session, options, &server, sources, &plan).await,
        Err(error) => Err(error),
    };
    (server.stop)().await;
    result
}

/// The repository's files now.
async fn look(
    sources: &dyn Sources,
    repository: &Repository,
    timeout: Duration,
) -> Result<(Tree, String), Failure> {
    match sources.fetch(repository.request(timeout)).await {
        Ok(Fetched::Changed(revision)) => Ok((revision.tree, state::shorten_digests(&revision.revision))),
        Ok(Fetched::Unchanged) => Err(Failure::new("the repository gave no revision")),
        Err(error) => Err(Failure::new(repository.in_words_of_the_command(&error.message))),
    }
}

async fn start(session: &mut Session<'_>, options: &Options) -> Result<Server, Failure> {
    let server = session
        .env
        .outside
        .api_server(&ServerOptions {
            listen: options.listen,
            data: options.data.clone(),
            kubeconfig: options.kubeconfig_out.clone(),
            service_range: options.service_cluster_ip_range.clone(),
            ..ServerOptions::default()
        })
        .await
        .map_err(Failure::new)?;
    session.success(&format!(
        "a cluster runs in this process: export KUBECONFIG={}",
        server.kubeconfig.display()
    ));
    Ok(server)
}

/// Puts on the cluster what is needed before anything is reconciled.
async fn prepare(cluster: &dyn Cluster, plan: &Plan, seeds: Vec<Value>) -> Outcome {
    put(cluster, &plan.base, "fluvial").await?;
    served(cluster, &plan.base).await?;
    if seeds.is_empty() {
        return Ok(());
    }
    seed::sow(cluster, seeds).await
}

/// From a cluster that serves all kinds to the end.
async fn live(
    session: &mut Session<'_>,
    options: &Options,
    server: &Server,
    sources: Arc<dyn Sources>,
    plan: &Plan,
) -> Outcome {
    let cluster = Arc::clone(&server.cluster);
    let mut settings = plan.settings.clone();
    if options.data.is_none() {
        // With the process the cluster is gone: nothing is worth being ended.
        settings.grace = LAST_WORDS;
    }
    let controllers = session
        .env
        .outside
        .controllers(
            Arc::clone(&cluster),
            sources,
            &ControllerOptions {
                data: options.data.clone(),
                settings,
                ..ControllerOptions::default()
            },
        )
        .await
        .map_err(Failure::new)?;
    let Controllers { kinds, stop, .. } = controllers;
    // What the repository itself holds is applied by the controller later, under the same name.
    let result = match put(cluster.as_ref(), &plan.objects, "kustomize-controller").await {
        Ok(()) => follow::follow(session, cluster.as_ref(), &kinds, options.once).await,
        Err(error) => Err(error),
    };
    stop().await;
    result
}

/// Applies objects one after the other.
pub(crate) async fn put(cluster: &dyn Cluster, objects: &[Value], manager: &str) -> Outcome {
    for object in objects {
        let api_version = text(object, &["apiVersion"]).unwrap_or_default();
        let resource = cluster.resource(api_version, state::kind(object)).await?;
        cluster
            .apply(
                state::target(&resource, object),
                object,
                Apply {
                    manager,
                    force: true,
                    dry_run: false,
                },
            )
            .await
            .map_err(|error| Failure::new(format!("{}: {error}", state::id(object))))?;
    }
    Ok(())
}

/// Waits until the kinds that some objects define are served.
pub(crate) async fn served(cluster: &dyn Cluster, objects: &[Value]) -> Outcome {
    let mut missing: Vec<&str> = objects
        .iter()
        .filter(|object| state::kind(object) == "CustomResourceDefinition")
        .map(state::name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let resource = cluster
        .resource("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        .await?;
    let mut events = cluster.watch(&resource, &Select::default());
    let wait = async {
        while !missing.is_empty() {
            match events.next().await {
                Some(Watched::Applied(object)) if holds(&object, "Established") => {
                    missing.retain(|name| *name != state::name(&object));
                }
                Some(Watched::Failed(error)) if error.kind == ErrorKind::Forbidden => {
                    return Err(error.into());
                }
                Some(_) => {}
                None => return Err(Failure::new("the watch ended")),
            }
        }
        Ok(())
    };
    tokio::time::timeout(DEFINITIONS, wait)
        .await
        .unwrap_or_else(|_| Err(Failure::new("the API server does not serve its definitions")))
}
