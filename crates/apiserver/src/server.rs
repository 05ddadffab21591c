//! The server as others use it: made from a configuration, asked through a tower service.

use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use jiff::Timestamp;

use crate::admission::plugins::Disabled;
use crate::api::{Api, Clock, Features, Parts};
use crate::auth::signer::{KeyError, Signer};
use crate::auth::tokens::StaticTokens;
use crate::http::Body;
use crate::registry::services::Range;
use crate::serve::certificates::{Authority, CertificateError, Given};
use crate::store::Store;
use crate::store::journal::JournalError;
use crate::{controllers, http as web, simulator};

/// How a server is to be.
pub struct Config {
    /// Folder for objects and keys; in memory if there is none.
    pub data: Option<PathBuf>,
    /// The time.
    pub clock: Clock,
    /// Known bearer tokens.
    pub tokens: StaticTokens,
    /// What runs beside the API.
    pub features: Features,
    /// Admission that takes no part.
    pub disabled: Disabled,
    /// Addresses of services.
    pub range: Range,
    /// Certificates of others.
    pub given: Given,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data: None,
            clock: Arc::new(Timestamp::now),
            tokens: StaticTokens::default(),
            features: Features {
                controllers: true,
                workloads: true,
            },
            disabled: Disabled::default(),
            range: Range::default(),
            given: Given::default(),
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Config")
            .field("data", &self.data)
            .field("features", &self.features)
            .finish_non_exhaustive()
    }
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The certificates.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// The key for tokens.
    #[error(transparent)]
    Tokens(#[from] KeyError),
}

/// A running API server.
#[derive(Clone, Debug)]
pub struct ApiServer {
    api: Arc<Api>,
    authority: Arc<Authority>,
}

impl ApiServer {
    /// Starts a server; its controllers run on the current tokio runtime.
    ///
    /// # Errors
    /// The data folder cannot be used or no keys can be made.
    pub fn new(config: Config) -> Result<Self, StartError> {
        let authority = Authority::load(config.data.as_deref())?.with(config.given);
        let (store, notices) = match &config.data {
            Some(folder) => Store::durable(folder)?,
            None => Store::in_memory(),
        };
        let api = Arc::new(Api::new(Parts {
            store,
            clock: config.clock,
            tokens: config.tokens,
            signer: Signer::new(authority.token_key())?,
            authority: authority.certificate().to_owned(),
            features: config.features,
            disabled: config.disabled,
            range: config.range,
        }));
        controllers::bootstrap::run(&api, config.range);
        let simulator = config.features.workloads.then(|| simulator::Simulator::new(&api));
        controllers::start(api.clone(), notices, simulator);
        Ok(ApiServer {
            api,
            authority: Arc::new(authority),
        })
    }

    /// The service that answers requests. Whoever calls it in the process says who asks by a
    /// [`crate::User`] among the request's extensions, or by a bearer token.
    #[must_use]
    pub fn service(&self) -> Service {
        Service {
            api: self.api.clone(),
        }
    }

    /// The shared state, for those who look inside.
    #[must_use]
    pub fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// The certificate authority.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A kubeconfig of an administrator for a server at this URL.
    ///
    /// # Errors
    /// No client certificate can be made.
    pub fn kubeconfig(&self, url: &str) -> Result<String, CertificateError> {
        self.authority.kubeconfig(url)
    }
}

/// Answers requests in the process.
#[derive(Clone, Debug)]
pub struct Service {
    api: Arc<Api>,
}

impl<B> tower::Service<::http::Request<B>> for Service
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = ::http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: ::http::Request<B>) -> Self::Future {
        let api = self.api.clone();
        Box::pin(async move { Ok(web::answer(api, request).await) })
    }
}
