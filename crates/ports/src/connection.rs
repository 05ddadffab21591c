//! The way to a cluster, as a command line names it.

use std::fmt;
use std::path::PathBuf;

/// Which cluster, and as whom: an entry of a kubeconfig, and what is said over it. What is absent is as the kubeconfig
/// has it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// Kubeconfig file; without it `KUBECONFIG`, `~/.kube/config`, then the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// Context in the file; its current one when absent.
    pub context: Option<String>,
    /// Cluster in the file, in place of the context's.
    pub cluster: Option<String>,
    /// User in the file, in place of the context's.
    pub entry: Option<String>,
    /// Address of the API server.
    pub server: Option<String>,
    /// Name that the server's certificate is for.
    pub server_name: Option<String>,
    /// File with the authorities that the server's certificate may be of.
    pub authorities: Option<PathBuf>,
    /// Whether any certificate of the server will do.
    pub insecure: bool,
    /// File with a certificate to show.
    pub certificate: Option<PathBuf>,
    /// File with that certificate's key.
    pub key: Option<PathBuf>,
    /// Bearer token.
    pub token: Option<String>,
    /// Act as this user.
    pub user: Option<String>,
    /// Act as a member of these groups.
    pub groups: Vec<String>,
    /// Act as a user of this UID.
    pub uid: Option<String>,
    /// Act as a user of whom more is known: names with values.
    pub extra: Vec<(String, String)>,
}

/// A token is not for logs.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("kubeconfig", &self.kubeconfig)
            .field("context", &self.context)
            .field("server", &self.server)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
