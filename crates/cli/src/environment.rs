//! Everything that commands ask of the world: where to print, what time it is, and the adapters behind
//! [`Outside`]. Tests put fakes in their place.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fluvial_ports::{BoxFuture, Clock, Cluster};

/// Where a command runs.
pub struct Environment {
    /// Data goes here.
    pub out: Box<dyn Write + Send + Sync>,
    /// Progress and errors go here.
    pub err: Box<dyn Write + Send + Sync>,
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// Version of the binary.
    pub version: &'static str,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The adapters.
    pub outside: Arc<dyn Outside>,
}

/// Which cluster, and as whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Kubeconfig file; the usual places if absent.
    pub kubeconfig: Option<PathBuf>,
    /// Context in it.
    pub context: Option<String>,
    /// User to act as.
    pub user: Option<String>,
}

/// The adapters.
pub trait Outside: Send + Sync {
    /// Connects to a cluster.
    fn connect<'a>(&'a self, connection: &'a Connection) -> BoxFuture<'a, Result<Arc<dyn Cluster>, String>>;

    /// Resolves when the process is told to end.
    fn interrupted(&self) -> BoxFuture<'_, ()>;
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

impl Session<'_> {
    /// Connects to the chosen cluster.
    pub(crate) async fn cluster(&self) -> Result<Arc<dyn Cluster>, Failure> {
        self.env
            .outside
            .connect(&self.global.connection)
            .await
            .map_err(Failure::new)
    }

    /// Prints data.
    pub(crate) fn print(&mut self, text: &str) -> Outcome {
        match self
            .env
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.env.out.flush())
        {
            // Whoever read our output has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            result => Ok(result?),
        }
    }

    /// Prints a line of progress; losing one is no reason to stop.
    fn note(&mut self, sign: &str, text: &str) {
        let _ = writeln!(self.env.err, "{sign} {text}");
        let _ = self.env.err.flush();
    }

    /// `►` something is begun.
    pub(crate) fn action(&mut self, text: &str) {
        self.note("►", text);
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
