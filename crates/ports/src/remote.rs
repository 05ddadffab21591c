//! Clusters besides the one that holds our objects.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::{Cluster, ClusterError};

/// How another cluster is reached.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Remote {
    /// As a kubeconfig says.
    Kubeconfig(Arc<[u8]>),
    /// At an address, with a token that a service account of ours is given for it.
    Token {
        /// `https://…`
        address: String,
        /// Certificates of the authorities that signed the server's; the system's without.
        ca: Option<String>,
        /// Bearer token.
        token: Arc<str>,
    },
}

/// Neither what a kubeconfig holds nor a token is for logs.
impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Remote::Kubeconfig(data) => write!(f, "Kubeconfig({} bytes)", data.len()),
            Remote::Token { address, .. } => write!(f, "Token({address})"),
        }
    }
}

/// Connects to other clusters.
pub trait Remotes: Send + Sync + 'static {
    /// A client. The same request gives the same one, with what it has learned, for as long as it is in use.
    fn cluster<'a>(&'a self, remote: &'a Remote) -> BoxFuture<'a, Result<Arc<dyn Cluster>, ClusterError>>;
}

/// Reaches no other cluster: for programs that have only one.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRemotes;

impl Remotes for NoRemotes {
    fn cluster<'a>(&'a self, _remote: &'a Remote) -> BoxFuture<'a, Result<Arc<dyn Cluster>, ClusterError>> {
        let error = ClusterError::new(crate::ErrorKind::Other, "this program reaches no other cluster");
        Box::pin(std::future::ready(Err(error)))
    }
}

/// A service account's token.
#[derive(Clone)]
pub struct Token {
    /// The token.
    pub text: Arc<str>,
    /// Until when it is good.
    pub expires: jiff::Timestamp,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token(until {})", self.expires)
    }
}
