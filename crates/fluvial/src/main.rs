//! GitOps in one binary: names the adapters and hands them to the commands.

mod artifacts;
mod controllers;
mod folders;
mod logins;
mod registry;
mod remotes;
mod replicas;
mod server;
mod sources;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use fluvial_cli::{
    Connection, ControllerOptions, Controllers, Environment, LocalRepository, LogOptions, Outside, Server,
    ServerOptions, SourceOptions, SshKey, SshLogin,
};
use fluvial_cluster::Client;
use fluvial_kustomize::RemoteResolver;
use fluvial_ports::{Artifact, BoxFuture, Clock, Cluster, Decryption, Sources};
use fluvial_secrets::Sops;
use fluvial_template::sprig::Ambient;
use fluvial_tree::Tree;
use jiff::Timestamp;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The adapters of this process.
#[derive(Default)]
struct Adapters {
    /// What this process calls itself among others.
    host: String,
    folders: Arc<folders::Folders>,
    sources: Arc<sources::Shared>,
}

impl Outside for Adapters {
    fn log(&self, options: &LogOptions) -> Result<(), String> {
        let filter = EnvFilter::try_new(&options.level)
            .map_err(|error| format!("log level {:?}: {error}", options.level))?;
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(false);
        // Only the first call sets it.
        let _ = if options.json {
            logs.json().flatten_event(true).try_init()
        } else {
            logs.try_init()
        };
        Ok(())
    }

    fn connect<'a>(&'a self, connection: &'a Connection) -> BoxFuture<'a, Result<Arc<dyn Cluster>, String>> {
        Box::pin(async move {
            let client = Client::connect(connection)
                .await
                .map_err(|error| error.to_string())?;
            let cluster: Arc<dyn Cluster> = Arc::new(client);
            Ok(cluster)
        })
    }

    fn namespace<'a>(&'a self, connection: &'a Connection) -> BoxFuture<'a, Result<String, String>> {
        Box::pin(async move {
            let found = fluvial_cluster::namespace(connection).await;
            found.map_err(|error| error.to_string())
        })
    }

    fn ssh_login<'a>(&'a self, url: &'a str, key: &'a SshKey) -> BoxFuture<'a, Result<SshLogin, String>> {
        Box::pin(logins::ssh(url, key))
    }

    fn api_server<'a>(&'a self, options: &'a ServerOptions) -> BoxFuture<'a, Result<Server, String>> {
        Box::pin(server::start(options, &self.folders))
    }

    fn sources(&self, options: &SourceOptions) -> Result<Arc<dyn Sources>, String> {
        self.sources.with(options, &self.folders)
    }

    fn controllers<'a>(
        &'a self,
        cluster: Arc<dyn Cluster>,
        sources: Arc<dyn Sources>,
        options: &'a ControllerOptions,
    ) -> BoxFuture<'a, Result<Controllers, String>> {
        let ports = controllers::Ports {
            cluster,
            sources,
            clock: Arc::new(SystemClock),
        };
        Box::pin(controllers::start(ports, &self.host, options, &self.folders))
    }

    fn repository(&self, path: &Path) -> Result<LocalRepository, String> {
        sources::repository(path)
    }

    fn remotes(&self) -> Arc<dyn RemoteResolver + Send + Sync> {
        Arc::new(remotes::Remotes::new(
            Arc::clone(&self.sources),
            Arc::clone(&self.folders),
        ))
    }

    fn decryption(&self) -> Arc<dyn Decryption> {
        Arc::new(Sops::default())
    }

    fn ambient(&self) -> Option<Box<dyn Ambient>> {
        Some(Box::new(Present))
    }

    fn addresses(&self, host: &str) -> Vec<String> {
        use std::net::ToSocketAddrs as _;
        let mut all = Vec::new();
        for address in (host, 0).to_socket_addrs().into_iter().flatten() {
            let address = address.ip().to_string();
            if !all.contains(&address) {
                all.push(address);
            }
        }
        all
    }

    fn artifact<'a>(&'a self, artifact: &'a Artifact) -> BoxFuture<'a, Result<Tree, String>> {
        Box::pin(async { artifacts::fetch(artifact).await.map_err(|error| error.message) })
    }

    fn registry(&self) -> Result<Arc<dyn fluvial_cli::Registry>, String> {
        let oci = self.sources.registries(&self.folders)?;
        Ok(Arc::new(registry::Registries::new(oci)))
    }

    fn terminal(&self) -> Option<(u16, u16)> {
        let stdout = std::io::stdout();
        let (width, height) = terminal_size::terminal_size_of(stdout)?;
        Some((width.0, height.0))
    }

    fn interrupted(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if told_to_end().await.is_err() {
                // Without a signal handler the system ends the process by itself.
                std::future::pending::<()>().await;
            }
        })
    }
}

/// Resolves at Ctrl-C, at the signal that service managers send, and when the terminal is closed.
async fn told_to_end() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut end = signal(SignalKind::terminate())?;
        let mut closed = signal(SignalKind::hangup())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result,
            _ = end.recv() => Ok(()),
            _ = closed.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// Clock and randomness for templates.
struct Present;

impl Ambient for Present {
    fn now(&mut self) -> i128 {
        Timestamp::now().as_nanosecond()
    }

    fn random(&mut self, buffer: &mut [u8]) {
        fill(buffer);
    }
}

/// Random bytes that nobody can guess: charts make keys and passwords of them.
fn fill(buffer: &mut [u8]) {
    // Not the TLS library's: that one measures noise for as long as a whole chart takes before its first byte.
    getrandom::fill(buffer).expect("the system's source of randomness works");
}

/// The system's clock.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn random(&self) -> f64 {
        // Hash keys are the standard library's own source of randomness.
        use std::hash::{BuildHasher, RandomState};
        let bits = u32::try_from(RandomState::new().hash_one(0_u8) >> 32).unwrap_or_default();
        f64::from(bits) / f64::from(u32::MAX)
    }

    fn fill(&self, buffer: &mut [u8]) {
        fill(buffer);
    }
}

/// The commands that serve. The others are done sooner than threads for them would have started.
const SERVING: [&str; 3] = ["up", "serve", "apiserver"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    // A variable that is not text cannot be one of ours.
    let variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let host = variables.get("HOSTNAME").map_or("fluvial", String::as_str);
    let adapters = Adapters {
        host: format!("{host}_{}", std::process::id()),
        ..Adapters::default()
    };
    let mut environment = Environment {
        out: Box::new(std::io::stdout()),
        err: Box::new(std::io::stderr()),
        variables,
        folder: std::env::current_dir().unwrap_or_default(),
        input: Box::new(std::io::stdin()),
        version: env!("CARGO_PKG_VERSION"),
        clock: Arc::new(SystemClock),
        outside: Arc::new(adapters),
    };
    // What needs nothing but files is done before a runtime would have started.
    if let Some(code) = fluvial_cli::run_here(&arguments, &mut environment) {
        return ExitCode::from(code);
    }
    // Fails only if a provider is there already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut builder = if arguments.iter().any(|word| SERVING.contains(&word.as_str())) {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    match builder.enable_all().build() {
        Ok(runtime) => ExitCode::from(runtime.block_on(fluvial_cli::run(&arguments, &mut environment))),
        Err(_) => ExitCode::FAILURE,
    }
}
