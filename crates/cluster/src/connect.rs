//! Ways to an API server: a kubeconfig file, the pod's own service account, or a service in this process.

use std::path::Path;

use fluvial_ports::Connection;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::Client;

/// No client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("kubeconfig {path}: {message}")]
    Kubeconfig {
        /// Its path, or a word for the default ones.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// The service account of this pod cannot be used.
    #[error("the pod's own service account: {0}")]
    Pod(String),
    /// There is no configuration.
    #[error(
        "no cluster is named: there is neither --kubeconfig nor $KUBECONFIG nor ~/.kube/config; `fluvial up` starts a cluster and prints its kubeconfig"
    )]
    Nowhere,
    /// An option over it cannot be used.
    #[error("{0}")]
    Option(String),
    /// The configuration is fine, but no transport can be made of it.
    #[error("no connection can be set up: {0}")]
    Transport(String),
}

impl Client {
    /// Connects as a kubeconfig or the pod's service account says. Nothing is sent yet.
    pub async fn connect(connection: &Connection) -> Result<Self, ConnectError> {
        let mut config = configuration(connection).await?;
        // Watches are long-lived and requests carry their own time limit.
        config.read_timeout = None;
        let server = config.cluster_url.to_string();
        let client =
            kube::Client::try_from(config).map_err(|error| ConnectError::Transport(chain(&error)))?;
        Ok(Self::at(client, server.trim_end_matches('/').to_owned()))
    }
}

/// The namespace of the context that is chosen, if it names one.
pub async fn namespace(connection: &Connection) -> Result<String, ConnectError> {
    Ok(configuration(connection).await?.default_namespace)
}

/// What a kubeconfig says, and what was said over it.
async fn configuration(connection: &Connection) -> Result<kube::Config, ConnectError> {
    let options = KubeConfigOptions {
        context: connection.context.clone(),
        cluster: connection.cluster.clone(),
        user: connection.entry.clone(),
    };
    let config = match &connection.kubeconfig {
        Some(path) => from_file(path, &options).await?,
        None => usual(&options, connection).await?,
    };
    said_over(config, connection)
}

/// A configuration with what was said over it.
fn said_over(mut config: kube::Config, connection: &Connection) -> Result<kube::Config, ConnectError> {
    if let Some(server) = &connection.server {
        config.cluster_url = address(server)?;
    }
    if let Some(path) = &connection.authorities {
        std::fs::metadata(path).map_err(|error| {
            ConnectError::Option(format!("--certificate-authority {}: {error}", path.display()))
        })?;
        config.root_cert = None;
        config.root_cert_file = Some(path.clone());
    }
    if connection.insecure {
        config.accept_invalid_certs = true;
    }
    if let Some(name) = &connection.server_name {
        config.tls_server_name = Some(name.clone());
    }
    let identity = &mut config.auth_info;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    if let Some(path) = &connection.certificate {
        identity.client_certificate = Some(text(path));
        identity.client_certificate_data = None;
    }
    if let Some(path) = &connection.key {
        identity.client_key = Some(text(path));
        identity.client_key_data = None;
    }
    if let Some(token) = &connection.token {
        // As with kubectl, a token goes before every other proof.
        identity.token = Some(token.clone().into());
        identity.token_file = None;
        identity.exec = None;
    }
    if let Some(user) = &connection.user {
        identity.impersonate = Some(user.clone());
    }
    if !connection.groups.is_empty() {
        identity.impersonate_groups = Some(connection.groups.clone());
    }
    if let Some(uid) = &connection.uid {
        identity.impersonate_uid = Some(uid.clone());
    }
    for (name, value) in &connection.extra {
        let extra = identity.impersonate_user_extra.get_or_insert_default();
        extra.entry(name.clone()).or_default().push(value.clone());
    }
    Ok(config)
}

/// The address of a server; one without a scheme is of HTTPS, as kubectl has it for names and ports.
fn address(server: &str) -> Result<http::Uri, ConnectError> {
    let whole = match server.contains("://") {
        true => server.to_owned(),
        false => format!("https://{server}"),
    };
    whole
        .parse()
        .map_err(|error| ConnectError::Option(format!("--server {server}: {error}")))
}

/// The configuration of the usual places, in kubectl's order: `KUBECONFIG`, `~/.kube/config`, the pod's own.
async fn usual(options: &KubeConfigOptions, connection: &Connection) -> Result<kube::Config, ConnectError> {
    let variable = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
    if let Some(paths) = variable {
        let path = format!("{} (of $KUBECONFIG)", paths.to_string_lossy());
        let file = Kubeconfig::from_env().map_err(|error| unusable(&path, &error))?;
        return of(file.unwrap_or_default(), &path, options).await;
    }
    let home = std::env::home_dir().map(|home| home.join(".kube/config"));
    if let Some(path) = home.filter(|path| path.exists()) {
        return from_file(&path, options).await;
    }
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && options.context.is_none() {
        return kube::Config::incluster().map_err(|error| ConnectError::Pod(chain(&error)));
    }
    match &connection.server {
        // Whoever names the server needs no file.
        Some(server) if options.context.is_none() => Ok(kube::Config::new(address(server)?)),
        _ => Err(ConnectError::Nowhere),
    }
}

async fn from_file(path: &Path, options: &KubeConfigOptions) -> Result<kube::Config, ConnectError> {
    let shown = path.display().to_string();
    let file = Kubeconfig::read_from(path).map_err(|error| unusable(&shown, &error))?;
    of(file, &shown, options).await
}

async fn of(file: Kubeconfig, path: &str, options: &KubeConfigOptions) -> Result<kube::Config, ConnectError> {
    let contexts: Vec<String> = file.contexts.iter().map(|context| context.name.clone()).collect();
    let chosen = options.context.as_ref().or(file.current_context.as_ref());
    let fail = |message: String| ConnectError::Kubeconfig {
        path: path.to_owned(),
        message,
    };
    let there = match contexts.is_empty() {
        true => "there is none in the file".to_owned(),
        false => format!("there are {}", contexts.join(", ")),
    };
    match chosen.filter(|name| !name.is_empty()) {
        None => {
            return Err(fail(format!(
                "no context is chosen; name one with --context: {there}"
            )));
        }
        Some(name) if !contexts.contains(name) => {
            return Err(fail(format!("no context '{name}': {there}")));
        }
        Some(_) => {}
    }
    kube::Config::from_custom_kubeconfig(file, options)
        .await
        .map_err(|error| unusable(path, &error))
}

/// Why a file is no kubeconfig, on one line.
fn unusable(path: &str, error: &dyn std::error::Error) -> ConnectError {
    use std::error::Error;
    let mut next: Option<&(dyn Error + 'static)> = error.source();
    let mut message = String::new();
    while let Some(cause) = next {
        if cause.downcast_ref::<std::io::Error>().is_some() {
            message = cause.to_string();
        }
        next = cause.source();
    }
    if message.is_empty() {
        message = chain(error);
    }
    ConnectError::Kubeconfig {
        path: path.to_owned(),
        message: message.lines().next().unwrap_or_default().to_owned(),
    }
}

/// An error with its causes, each said once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let part = cause.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_over_a_kubeconfig_wins() {
        let mut config = kube::Config::new("https://old:1".parse().unwrap());
        config.root_cert = Some(vec![vec![1]]);
        config.auth_info.token = Some("old".to_owned().into());
        config.auth_info.client_key_data = Some("old".to_owned().into());
        let untouched = said_over(config.clone(), &Connection::default()).unwrap();
        assert_eq!(untouched.cluster_url, config.cluster_url);
        assert!(untouched.root_cert.is_some() && untouched.auth_info.impersonate.is_none());

        let file = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let connection = Connection {
            server: Some("new:2".to_owned()),
            server_name: Some("name".to_owned()),
            authorities: Some(file.clone()),
            key: Some("key.pem".into()),
            user: Some("me".to_owned()),
            groups: vec!["a".to_owned(), "b".to_owned()],
            uid: Some("7".to_owned()),
            extra: [("x", "1"), ("x", "2")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            insecure: true,
            ..Connection::default()
        };
        let config = said_over(config, &connection).unwrap();
        assert_eq!(config.cluster_url.to_string(), "https://new:2/");
        assert_eq!(config.tls_server_name.as_deref(), Some("name"));
        assert_eq!((config.root_cert, config.root_cert_file), (None, Some(file)));
        assert!(config.accept_invalid_certs);
        let identity = config.auth_info;
        assert_eq!(identity.client_key.as_deref(), Some("key.pem"));
        assert!(identity.client_key_data.is_none());
        assert_eq!(identity.impersonate.as_deref(), Some("me"));
        assert_eq!(identity.impersonate_groups, Some(connection.groups));
        assert_eq!(identity.impersonate_uid.as_deref(), Some("7"));
        assert_eq!(identity.impersonate_user_extra.unwrap()["x"], ["1", "2"]);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let said = |connection: Connection| {
            let config = kube::Config::new("https://old:1".parse().unwrap());
            said_over(config, &connection).unwrap_err().to_string()
        };
        let missing = said(Connection {
            authorities: Some("/nowhere/ca.crt".into()),
            ..Connection::default()
        });
        assert!(
            missing.starts_with("--certificate-authority /nowhere/ca.crt: "),
            "{missing}"
        );
        let server = said(Connection {
            server: Some("a b".to_owned()),
            ..Connection::default()
        });
        assert!(server.starts_with("--server a b: "), "{server}");
    }
}
