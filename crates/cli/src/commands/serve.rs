//! Long-running parts alone: the API server, and the controllers.

use std::net::SocketAddr;
use std::path::PathBuf;

use fluvial_controllers::{Component, Restrictions, Settings};

use crate::environment::{
    ControllerOptions, Failure, LogOptions, Outcome, ServerOptions, Session, SourceOptions,
};

/// Options of commands that stay.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Logs {
    /// What to tell on standard error: error, warn, info, debug, trace, or off [default: $FLUVIAL_LOG]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// As lines for people, or as JSON
    #[arg(long, value_name = "FORMAT")]
    log_encoding: Option<Encoding>,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Encoding {
    /// One JSON object a line.
    Json,
    /// A line for people.
    Text,
}

impl Logs {
    /// Begins to tell; `level` and `json` hold where the options say nothing.
    pub(crate) fn begin(&self, session: &Session<'_>, level: &str, json: bool) -> Outcome {
        let variable = session.env.variables.get("FLUVIAL_LOG");
        let chosen = self.log_level.as_ref().or(variable).map(String::as_str);
        let level = chosen.unwrap_or(level);
        let options = LogOptions {
            level: level.to_owned(),
            json: self
                .log_encoding
                .map_or(json, |encoding| encoding == Encoding::Json),
        };
        session.env.outside.log(&options).map_err(Failure::new)
    }
}

/// Options of `apiserver`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ApiServer {
    /// Address and port to listen on [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Where to write the kubeconfig
    #[arg(long, value_name = "FILE")]
    kubeconfig_out: Option<PathBuf>,
    /// Tokens that are accepted, in the form of kube-apiserver: token,user,uid,"group1,group2"
    #[arg(long, value_name = "FILE")]
    token_auth_file: Option<PathBuf>,
    /// Keep the objects in this folder [default: in memory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Show this certificate, PEM with its chain [default: one of its own authority]
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// Key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,
    /// Believe client certificates of these authorities too, PEM
    #[arg(long, value_name = "FILE")]
    client_ca_file: Option<PathBuf>,
    /// Leave these admission plugins out, by kube-apiserver's names
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    disable_admission_plugins: Vec<String>,
    /// Addresses of Services: 10.96.0.0/12 [default: 10.0.0.0/16]
    #[arg(long, value_name = "CIDR")]
    service_cluster_ip_range: Option<String>,
    /// Only answer, as kube-apiserver does alone: no garbage collection, no emptied namespaces, no simulated workloads
    #[arg(long)]
    no_controllers: bool,
    /// Simulate no workloads, volumes or endpoints: the other controllers run, as in a cluster without nodes
    #[arg(long)]
    no_workloads: bool,
    #[command(flatten)]
    logs: Logs,
}

/// Options of `serve`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Serve {
    /// Address and port for artifacts, metrics and health [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Host and port in the URLs of artifacts, such as a Service's [default: where it listens]
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Keep artifacts and fetched repositories in this folder [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Rewrites of source URLs: a list of {from: URL prefix, to: path or URL}
    #[arg(long, value_name = "FILE")]
    mirrors: Option<PathBuf>,
    /// Trusted root of Sigstore (trusted_root.json), against which signatures of identities are verified
    #[arg(long, value_name = "FILE")]
    sigstore_trusted_root: Option<PathBuf>,
    /// Act without the leader lease; for a cluster with one replica
    #[arg(long)]
    no_leader_election: bool,
    /// Parts to run, as Flux names them, separated by commas [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    components: Vec<Part>,
    #[command(flatten)]
    restrictions: Restricted,
    #[command(flatten)]
    logs: Logs,
}

/// A part that can run beside Flux's own controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// All kinds of sources.
    SourceController,
    /// ArtifactGenerators.
    SourceWatcher,
    /// Kustomizations.
    KustomizeController,
    /// HelmReleases.
    HelmController,
}

impl Part {
    fn component(self) -> Component {
        match self {
            Part::SourceController => Component::Sources,
            Part::SourceWatcher => Component::Generators,
            Part::KustomizeController => Component::Kustomizations,
            Part::HelmController => Component::Releases,
        }
    }
}

/// Options that bind what objects may do, as Flux's controllers have them.
#[derive(Clone, Debug, Default, clap::Args)]
struct Restricted {
    /// Refuse references into other namespaces
    #[arg(long)]
    no_cross_namespace_refs: bool,
    /// Refuse kustomizations that name bases by address
    #[arg(long)]
    no_remote_bases: bool,
    /// Service account for Kustomizations and HelmReleases that name none
    #[arg(long, value_name = "NAME")]
    default_service_account: Option<String>,
    /// Only reconcile objects whose labels match
    #[arg(long, value_name = "SELECTOR")]
    watch_label_selector: Option<String>,
    /// Only let ConfigMaps and Secrets whose labels match wake those that refer to them [default: all]
    #[arg(long, value_name = "SELECTOR")]
    watch_configs_label_selector: Option<String>,
    /// Only reconcile objects in the namespace of -n
    #[arg(long)]
    watch_own_namespace: bool,
}

impl Restricted {
    fn settings(&self, namespace: &str) -> Settings {
        let restrictions = Restrictions {
            selector: self.watch_label_selector.clone(),
            no_cross_namespace_refs: self.no_cross_namespace_refs,
            default_service_account: self.default_service_account.clone(),
        };
        Settings {
            namespace: self.watch_own_namespace.then(|| namespace.to_owned()),
            kustomizations: restrictions.clone(),
            releases: restrictions.clone(),
            sources: restrictions,
            no_remote_bases: self.no_remote_bases,
            config_selector: self.watch_configs_label_selector.clone(),
            ..Settings::default()
        }
    }
}

/// Runs the API server until the process is told to end.
pub(crate) async fn api_server(session: &mut Session<'_>, options: &ApiServer) -> Outcome {
    options.logs.begin(session, "warn", false)?;
    let server = session
        .env
        .outside
        .api_server(&ServerOptions {
            listen: options.listen,
            data: options.data.clone(),
            kubeconfig: options.kubeconfig_out.clone(),
            tokens: options.token_auth_file.clone(),
            identity: options
                .tls_cert_file
                .clone()
                .zip(options.tls_private_key_file.clone()),
            client_authorities: options.client_ca_file.clone(),
            bare: options.no_controllers,
            no_workloads: options.no_workloads,
            disabled: options.disable_admission_plugins.clone(),
            service_range: options.service_cluster_ip_range.clone(),
        })
        .await
        .map_err(Failure::new)?;
    session.success(&format!("the API server listens at {}", server.url));
    session.print(&format!("export KUBECONFIG={}\n", server.kubeconfig.display()))?;
    session.env.outside.interrupted().await;
    session.action("ending");
    (server.stop)().await;
    Ok(())
}

/// Runs the controllers against a cluster until the process is told to end.
pub(crate) async fn serve(session: &mut Session<'_>, options: &Serve) -> Outcome {
    options.logs.begin(session, "info", true)?;
    let mut settings = options.restrictions.settings(&session.global.namespace);
    if !options.components.is_empty() {
        settings.components = options.components.iter().map(|part| part.component()).collect();
    }
    let cluster = session.cluster().await?;
    let sources = session
        .env
        .outside
        .sources(&SourceOptions {
            data: options.data.clone(),
            mirrors: options.mirrors.clone(),
            trusted_root: options.sigstore_trusted_root.clone(),
            ..SourceOptions::default()
        })
        .map_err(Failure::new)?;
    let controllers = session
        .env
        .outside
        .controllers(
            cluster,
            sources,
            &ControllerOptions {
                data: options.data.clone(),
                listen: options.listen,
                advertise: options.advertise.clone(),
                lease: (!options.no_leader_election).then(|| session.global.namespace.clone()),
                settings,
            },
        )
        .await
        .map_err(Failure::new)?;
    session.success(&format!(
        "controllers of {} run; artifacts, metrics and health at {}",
        controllers.kinds.join(", "),
        controllers.url
    ));
    let lost = tokio::select! {
        () = controllers.lost => true,
        () = session.env.outside.interrupted() => false,
    };
    session.action("ending");
    (controllers.stop)().await;
    if lost {
        return Err(Failure::new(
            "the leader lease was lost; start the program again to stand by (a Deployment does)",
        ));
    }
    Ok(())
}
