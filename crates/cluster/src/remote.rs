//! Clients of other clusters, kept for as long as somebody asks for them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fluvial_ports::{BoxFuture, Cluster, ClusterError, ErrorKind, Remote, Remotes};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use rustc_hash::FxHashMap;

use crate::Client;
use crate::connect::chain;

/// How long a client is kept that nobody asks for.
const KEPT: Duration = Duration::from_hours(1);
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);

/// Connects to other clusters.
#[derive(Default)]
pub struct RemoteClients {
    /// With when each was asked for last.
    known: Mutex<FxHashMap<Remote, (Instant, Client)>>,
}

impl Remotes for RemoteClients {
    fn cluster<'a>(&'a self, remote: &'a Remote) -> BoxFuture<'a, Result<Arc<dyn Cluster>, ClusterError>> {
        Box::pin(async move {
            let client = match self.known(remote) {
                Some(client) => client,
                None => self.keep(remote, connect(remote).await?),
            };
            let cluster: Arc<dyn Cluster> = Arc::new(client);
            Ok(cluster)
        })
    }
}

impl RemoteClients {
    fn known(&self, remote: &Remote) -> Option<Client> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, client) = known.get_mut(remote)?;
        *asked = Instant::now();
        Some(client.clone())
    }

    /// Keeps a client, unless somebody else has been faster; forgets those that nobody wants any more.
    fn keep(&self, remote: &Remote, client: Client) -> Client {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (asked, _)| asked.elapsed() < KEPT);
        let (_, client) = known
            .entry(remote.clone())
            .or_insert_with(|| (Instant::now(), client));
        client.clone()
    }
}

fn refused(message: impl Into<String>) -> ClusterError {
    ClusterError::new(ErrorKind::Invalid, message)
}

async fn connect(remote: &Remote) -> Result<Client, ClusterError> {
    let file = match remote {
        Remote::Kubeconfig(data) => {
            let text = std::str::from_utf8(data).map_err(|_| refused("the kubeconfig is no UTF-8 text"))?;
            // What the parser says may quote the file.
            let mut file =
                Kubeconfig::from_yaml(text).map_err(|_| refused("the kubeconfig cannot be read"))?;
            confine(&mut file)?;
            file
        }
        Remote::Token { address, ca, token } => of_token(address, ca.as_deref(), token)?,
    };
    let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .map_err(|error| refused(format!("the kubeconfig cannot be used: {}", chain(&error))))?;
    config.read_timeout = None;
    config.connect_timeout = Some(CONNECT);
    let client = kube::Client::try_from(config)
        .map_err(|error| refused(format!("no connection can be set up: {}", chain(&error))))?;
    Ok(Client::new(client))
}

/// Takes out of a kubeconfig what is not for a process that others put it into: programs to run, files of this
/// machine, and connections to whoever answers.
fn confine(file: &mut Kubeconfig) -> Result<(), ClusterError> {
    for cluster in &mut file.clusters {
        let Some(of) = &mut cluster.cluster else { continue };
        of.insecure_skip_tls_verify = None;
        if of.certificate_authority.is_some() {
            return Err(elsewhere("certificate-authority"));
        }
    }
    for user in &mut file.auth_infos {
        let Some(of) = &mut user.auth_info else { continue };
        let files = [
            ("client-certificate", of.client_certificate.is_some()),
            ("client-key", of.client_key.is_some()),
            ("tokenFile", of.token_file.is_some()),
        ];
        if let Some((field, _)) = files.iter().find(|(_, given)| *given) {
            return Err(elsewhere(field));
        }
        let program = of.exec.take().is_some() || of.auth_provider.take().is_some();
        if program && !proves_itself(of) {
            return Err(refused(format!(
                "user '{}' of the kubeconfig signs in with a program (exec or auth-provider), and none is run here; use \
                 a token or a client certificate",
                user.name
            )));
        }
    }
    Ok(())
}

fn elsewhere(field: &str) -> ClusterError {
    refused(format!(
        "the kubeconfig names a file in '{field}', and files of this machine are not read for it; put the content into \
         '{field}-data' (a token into 'token')"
    ))
}

fn proves_itself(user: &AuthInfo) -> bool {
    user.token.is_some() || user.client_certificate_data.is_some() || user.password.is_some()
}

/// A kubeconfig for an address and a token.
fn of_token(address: &str, ca: Option<&str>, token: &str) -> Result<Kubeconfig, ClusterError> {
    if !address.starts_with("https://") {
        return Err(refused(format!(
            "the cluster's address '{address}' is no https URL"
        )));
    }
    let mut cluster = serde_json::json!({"server": address});
    if let Some(ca) = ca {
        use base64::Engine as _;
        cluster["certificate-authority-data"] = base64::engine::general_purpose::STANDARD.encode(ca).into();
    }
    let file = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "remote",
        "clusters": [{"name": "remote", "cluster": cluster}],
        "users": [{"name": "remote", "user": {"token": token}}],
        "contexts": [{"name": "remote", "context": {"cluster": "remote", "user": "remote"}}],
    });
    serde_json::from_value(file)
        .map_err(|_| refused("no kubeconfig can be made of the address and the token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(cluster: &str, user: &str) -> Remote {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{server: 'https://127.0.0.1:1'{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
        );
        Remote::Kubeconfig(text.into_bytes().into())
    }

    async fn error(remote: Remote) -> String {
        match RemoteClients::default().cluster(&remote).await {
            Ok(_) => String::new(),
            Err(error) => error.message,
        }
    }

    #[tokio::test]
    async fn programs_and_files_of_this_machine_are_refused() {
        let _ = rustls_provider();
        for (remote, says) in [
            (
                kubeconfig(
                    "",
                    "exec: {command: aws, apiVersion: client.authentication.k8s.io/v1}",
                ),
                "with a program",
            ),
            (kubeconfig("", "tokenFile: /var/run/secrets/token"), "'tokenFile'"),
            (kubeconfig("", "client-key: /etc/key"), "'client-key'"),
            (
                kubeconfig(", certificate-authority: /etc/ca", "token: t"),
                "'certificate-authority'",
            ),
            (Remote::Kubeconfig(b"{".as_slice().into()), "cannot be read"),
        ] {
            let message = error(remote).await;
            assert!(message.contains(says), "{message}");
        }
        let message = error(kubeconfig("", "token: t, exec: {command: aws, apiVersion: x}")).await;
        assert_eq!(message, "", "with a token the program is not needed");
    }

    #[tokio::test]
    async fn a_client_is_made_once_for_a_kubeconfig() {
        let _ = rustls_provider();
        let clients = RemoteClients::default();
        for token in ["a", "a", "b"] {
            clients
                .cluster(&kubeconfig("", &format!("token: {token}")))
                .await
                .unwrap();
        }
        assert_eq!(clients.known.lock().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_token_goes_over_https_only() {
        let _ = rustls_provider();
        let remote = |address: &str| Remote::Token {
            address: address.to_owned(),
            ca: None,
            token: "t".into(),
        };
        assert!(error(remote("http://127.0.0.1:1")).await.contains("no https URL"));
        assert_eq!(error(remote("https://127.0.0.1:1")).await, "");
        assert!(!format!("{:?}", remote("https://x")).contains("\"t\""));
    }

    /// What `main` installs.
    fn rustls_provider() -> Result<(), Arc<rustls::crypto::CryptoProvider>> {
        rustls::crypto::aws_lc_rs::default_provider().install_default()
    }
}
