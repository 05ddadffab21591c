//! Ways to an API server: a kubeconfig file, the pod's own service account, or a service in this process.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::Client;

/// Which kubeconfig entry to use.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Kubeconfig file; without it `KUBECONFIG`, `~/.kube/config`, then the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// Context in the file; its current one when absent.
    pub context: Option<String>,
    /// Act as this user.
    pub user: Option<String>,
}

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
    /// The configuration is fine, but no transport can be made of it.
    #[error("no connection can be set up: {0}")]
    Transport(String),
}

impl Client {
    /// Connects as a kubeconfig or the pod's service account says. Nothing is sent yet.
    pub async fn connect(credentials: &Credentials) -> Result<Self, ConnectError> {
        let options = KubeConfigOptions {
            context: credentials.context.clone(),
            ..KubeConfigOptions::default()
        };
        let mut config =
            match &credentials.kubeconfig {
                Some(path) => from_file(path, &options).await?,
                None if credentials.context.is_some() => kube::Config::from_kubeconfig(&options)
                    .await
                    .map_err(|error| ConnectError::Kubeconfig {
                        path: "from the environment".to_owned(),
                        message: chain(&error),
                    })?,
                None => kube::Config::infer()
                    .await
                    .map_err(|error| ConnectError::Kubeconfig {
                        path: "from the environment".to_owned(),
                        message: chain(&error),
                    })?,
            };
        if let Some(user) = &credentials.user {
            config.auth_info.impersonate = Some(user.clone());
        }
        // Watches are long-lived and requests carry their own time limit.
        config.read_timeout = None;
        let client =
            kube::Client::try_from(config).map_err(|error| ConnectError::Transport(chain(&error)))?;
        Ok(Self::new(client))
    }
}

async fn from_file(path: &Path, options: &KubeConfigOptions) -> Result<kube::Config, ConnectError> {
    let fail = |error: &dyn std::error::Error| ConnectError::Kubeconfig {
        path: path.display().to_string(),
        message: chain(error),
    };
    let file = Kubeconfig::read_from(path).map_err(|error| fail(&error))?;
    kube::Config::from_custom_kubeconfig(file, options)
        .await
        .map_err(|error| fail(&error))
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
