//! Everything that commands ask of the world: where to print, what time it is, and the adapters behind
//! [`Outside`]. Tests put fakes in their place.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fluvial_controllers::Settings;
use fluvial_kustomize::RemoteResolver;
use fluvial_ports::{Artifact, BoxFuture, Clock, Cluster, Connection, Decryption, NoDecryption, Sources};
use fluvial_template::sprig::Ambient;
use fluvial_tree::Tree;

use crate::registry::Registry;

/// Inputs below this are done before another thread would have begun.
const SMALL: usize = 32 << 10;

/// How many threads one command may use for one large input.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How many threads one command may use for an input of so many bytes. To ask how many there are takes a look at several files.
pub(crate) fn threads_for(bytes: usize) -> usize {
    if bytes < SMALL { 1 } else { threads() }
}

/// Where a command runs.
pub struct Environment {
    /// Data goes here.
    pub out: Box<dyn Write + Send + Sync>,
    /// Progress and errors go here.
    pub err: Box<dyn Write + Send + Sync>,
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// The working folder, absolute: paths on the command line start from it.
    pub folder: PathBuf,
    /// Standard input.
    pub input: Box<dyn Read + Send + Sync>,
    /// Version of the binary.
    pub version: &'static str,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The adapters.
    pub outside: Arc<dyn Outside>,
}

/// How the API server inside is to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerOptions {
    /// Where it listens; a free port of the loopback address if absent.
    pub listen: Option<SocketAddr>,
    /// Folder that keeps its objects; in memory if absent.
    pub data: Option<PathBuf>,
    /// Where the kubeconfig is written; a place of the adapter's choice if absent.
    pub kubeconfig: Option<PathBuf>,
    /// File of tokens in the form of kube-apiserver.
    pub tokens: Option<PathBuf>,
    /// Files with its certificate and the key of it, PEM; it makes one if absent.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// File with authorities of client certificates, PEM, that it believes beside its own.
    pub client_authorities: Option<PathBuf>,
    /// Whether it only answers: nothing is collected, emptied or simulated.
    pub bare: bool,
    /// Whether no workloads are simulated: what nobody else runs stays as it was created.
    pub no_workloads: bool,
    /// Admission plugins that take no part.
    pub disabled: Vec<String>,
    /// Addresses that Services have, as `10.96.0.0/12`; the server's choice if absent.
    pub service_range: Option<String>,
}

/// Ends something that runs, in good order.
pub type Stop = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// An API server in this process.
pub struct Server {
    /// The way to it inside the process.
    pub cluster: Arc<dyn Cluster>,
    /// Its URL.
    pub url: String,
    /// Its kubeconfig.
    pub kubeconfig: PathBuf,
    /// Ends it.
    pub stop: Stop,
}

/// Where revisions come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceOptions {
    /// Folder for what is fetched; a temporary one if absent.
    pub data: Option<PathBuf>,
    /// File with rewrites of URLs.
    pub mirrors: Option<PathBuf>,
    /// Trusted root of Sigstore (`trusted_root.json`) for signatures of identities that name none.
    pub trusted_root: Option<PathBuf>,
    /// More rewrites, which win.
    pub rewrites: Vec<Rewrite>,
    /// Of local repositories, take the files of the work tree, committed or not.
    pub dirty: bool,
}

/// What of the process is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// `error`, `info`, …, or a list of `module=level`.
    pub level: String,
    /// One JSON object a line.
    pub json: bool,
}

/// A folder of this machine that stands for a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// The URL, as objects spell it.
    pub url: String,
    /// The repository that stands for it.
    pub path: PathBuf,
    /// The folder in it that is taken for the whole; empty for the root.
    pub folder: String,
}

/// How controllers are to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControllerOptions {
    /// Folder for artifacts; a temporary one if absent.
    pub data: Option<PathBuf>,
    /// Where artifacts, metrics and health are served; a free port of the loopback address if absent.
    pub listen: Option<SocketAddr>,
    /// Host and port under which others reach what is served; where it listens if absent.
    pub advertise: Option<String>,
    /// Only the process that holds the lease acts.
    pub lease: Option<String>,
    /// What objects may do.
    pub settings: Settings,
}

/// Controllers that run.
pub struct Controllers {
    /// URL of artifacts, metrics and health.
    pub url: String,
    /// Kinds that they reconcile.
    pub kinds: Vec<&'static str>,
    /// Comes when another process leads now, or may; these have ended then.
    pub lost: BoxFuture<'static, ()>,
    /// Ends them.
    pub stop: Stop,
}

/// A repository on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRepository {
    /// Its folder, absolute.
    pub path: PathBuf,
    /// The folder in it that was asked for; empty for the root.
    pub folder: String,
    /// The branch that is checked out, if one is.
    pub branch: Option<String>,
}

/// The adapters.
pub trait Outside: Send + Sync {
    /// Lets the parts of this process tell what they do, on standard error. The first call counts.
    fn log(&self, options: &LogOptions) -> Result<(), String>;

    /// Connects to a cluster.
    fn connect<'a>(&'a self, connection: &'a Connection) -> BoxFuture<'a, Result<Arc<dyn Cluster>, String>>;

    /// The namespace that a kubeconfig's context names.
    fn namespace<'a>(&'a self, _connection: &'a Connection) -> BoxFuture<'a, Result<String, String>> {
        Box::pin(async { Err("there is no kubeconfig here".to_owned()) })
    }

    /// Starts the API server inside; it answers when this resolves.
    fn api_server<'a>(&'a self, options: &'a ServerOptions) -> BoxFuture<'a, Result<Server, String>>;

    /// Where revisions come from. What was fetched is shared by all that this hands out.
    fn sources(&self, options: &SourceOptions) -> Result<Arc<dyn Sources>, String>;

    /// Starts the controllers.
    fn controllers<'a>(
        &'a self,
        cluster: Arc<dyn Cluster>,
        sources: Arc<dyn Sources>,
        options: &'a ControllerOptions,
    ) -> BoxFuture<'a, Result<Controllers, String>>;

    /// The repository at a path of this machine.
    fn repository(&self, path: &std::path::Path) -> Result<LocalRepository, String>;

    /// Fetches what kustomizations name by address.
    fn remotes(&self) -> Arc<dyn RemoteResolver + Send + Sync>;

    /// Clock and randomness (which must be fit for keys) for the templates of charts; without them no chart is
    /// rendered.
    fn ambient(&self) -> Option<Box<dyn Ambient>> {
        None
    }

    /// The addresses of a host, as the system resolves its name.
    fn addresses(&self, _host: &str) -> Vec<String> {
        vec![]
    }

    /// Who decrypts with keys of this machine. No key service is asked.
    fn decryption(&self) -> Arc<dyn Decryption> {
        Arc::new(NoDecryption)
    }

    /// The content of an artifact that a source has published.
    fn artifact<'a>(&'a self, artifact: &'a Artifact) -> BoxFuture<'a, Result<Tree, String>>;

    /// A key for Git over ssh and the one that the server of a URL shows. A given key is not changed.
    fn ssh_login<'a>(&'a self, _url: &'a str, _key: &'a SshKey) -> BoxFuture<'a, Result<SshLogin, String>> {
        Box::pin(async { Err("keys for Git over SSH cannot be made here".to_owned()) })
    }

    /// Registries of artifacts.
    fn registry(&self) -> Result<Arc<dyn Registry>, String> {
        Err("registries cannot be reached from here".to_owned())
    }

    /// Columns and rows of the terminal that is printed to; nothing if it is none.
    fn terminal(&self) -> Option<(u16, u16)>;

    /// Resolves when the process is told to end.
    fn interrupted(&self) -> BoxFuture<'_, ()>;
}

/// A key for Git over ssh: which kind to make, or one that there is.
#[derive(Clone, PartialEq, Eq)]
pub enum SshKey {
    /// A new Ed25519 key.
    Ed25519,
    /// A new key on NIST's curve of so many bits.
    Ecdsa(u16),
    /// A new RSA key of so many bits.
    Rsa(usize),
    /// This one.
    Given {
        /// What its file holds.
        private: String,
        /// Its passphrase.
        passphrase: Option<String>,
    },
}

/// What a Secret for Git over ssh holds.
#[derive(Clone, PartialEq, Eq)]
pub struct SshLogin {
    /// The private half of the key.
    pub private: String,
    /// The public half: a line.
    pub public: String,
    /// The server's key, as a line of `known_hosts`.
    pub known_hosts: String,
}

/// Why a command ends without success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// For people; nothing is printed if it is empty.
    pub message: String,
    /// Exit code.
    pub code: u8,
}

impl Failure {
    /// A failure with exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Failure {
            message: message.into(),
            code: 1,
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::new(error.to_string())
    }
}

/// What commands return.
pub(crate) type Outcome = Result<(), Failure>;

/// Options that all commands take.
#[derive(Clone, Debug)]
pub(crate) struct Global {
    /// Namespace.
    pub namespace: String,
    /// Which cluster.
    pub connection: Connection,
    /// How long to wait.
    pub timeout: Duration,
}

/// An environment with the global options of one call.
pub(crate) struct Session<'a> {
    /// Where the command runs.
    pub env: &'a mut Environment,
    /// Global options.
    pub global: Global,
}

fn printed(result: std::io::Result<()>) -> Outcome {
    match result {
        // Whoever read our output has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

impl Session<'_> {
    /// Connects to the chosen cluster.
    pub(crate) async fn cluster(&self) -> Result<Arc<dyn Cluster>, Failure> {
        self.env
            .outside
            .connect(&self.global.connection)
            .await
            .map_err(Failure::new)
    }

    /// Whether what is printed may be coloured: only on a terminal, and not against `NO_COLOR`.
    pub(crate) fn colours(&self) -> bool {
        let refused = |name: &str| {
            self.env
                .variables
                .get(name)
                .is_some_and(|value| !value.is_empty())
        };
        self.env.outside.terminal().is_some() && !refused("NO_COLOR")
    }

    /// Prints data.
    pub(crate) fn print(&mut self, text: &str) -> Outcome {
        let out = &mut self.env.out;
        printed(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// Prints pieces of a large text one after the other.
    pub(crate) fn print_all(&mut self, pieces: &[impl AsRef<str>]) -> Outcome {
        let mut out = std::io::BufWriter::with_capacity(32 << 10, &mut self.env.out);
        let mut pieces = pieces.iter();
        printed(
            pieces
                .try_for_each(|piece| out.write_all(piece.as_ref().as_bytes()))
                .and_then(|()| out.flush()),
        )
    }

    /// Prints a line of progress; losing one is no reason to stop.
    fn note(&mut self, sign: &str, text: &str) {
        let _ = writeln!(self.env.err, "{sign} {text}");
        let _ = self.env.err.flush();
    }

    /// Lines beside the data, as they are.
    pub(crate) fn remark(&mut self, text: &str) {
        let _ = self.env.err.write_all(text.as_bytes());
        let _ = self.env.err.flush();
    }

    /// `►` something is begun.
    pub(crate) fn action(&mut self, text: &str) {
        self.note("►", text);
    }

    /// `✚` something is made.
    pub(crate) fn addition(&mut self, text: &str) {
        self.note("✚", text);
    }

    /// `◎` something is waited for.
    pub(crate) fn waiting(&mut self, text: &str) {
        self.note("◎", text);
    }

    /// `✔` something is done.
    pub(crate) fn success(&mut self, text: &str) {
        self.note("✔", text);
    }

    /// `✗` something failed.
    pub(crate) fn failure(&mut self, text: &str) {
        self.note("✗", text);
    }

    /// `⚠` something is odd.
    pub(crate) fn warning(&mut self, text: &str) {
        self.note("⚠️", text);
    }
}
