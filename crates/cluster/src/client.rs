//! The client: requests as the port defines them, over kube's transport.

use std::sync::Arc;
use std::time::Duration;

use fluvial_ports::{
    Apply, BoxFuture, BoxStream, Cluster, ClusterError, Create, Delete, ErrorKind, KindChange, Lines, Patch,
    PatchKind, PodLog, Propagation, Resource, Select, Served, Target, Token, Watched,
};
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::sync::broadcast::error::RecvError;

use crate::discovery::{Definition, Discovery, ResourceList, no_kind};
use crate::error;
use crate::request::{Form, Url, build, path};
use crate::watch::{self, Change};

/// Time limit of one request that is not a watch.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// How often a throttled request is repeated.
const THROTTLED_TRIES: u32 = 6;
/// Objects of one page of a list.
const PAGE: &str = "500";

pub(crate) struct Shared {
    pub(crate) client: kube::Client,
    /// Where it is, for messages; empty for a service in this process.
    pub(crate) server: String,
    discovery: Discovery,
    definitions: OnceCell<()>,
}

/// A Kubernetes API server seen by one identity. Clones share connections and knowledge.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) user: Option<Arc<str>>,
}

impl Client {
    /// Wraps a kube client, whatever its transport.
    pub fn new(client: kube::Client) -> Self {
        Self::at(client, String::new())
    }

    /// Wraps a kube client of a server that messages name.
    pub(crate) fn at(client: kube::Client, server: String) -> Self {
        let shared = Shared {
            client,
            server,
            discovery: Discovery::default(),
            definitions: OnceCell::new(),
        };
        Self {
            shared: Arc::new(shared),
            user: None,
        }
    }

    /// A client of a service in this process (the embedded API server).
    pub fn from_service<S, B>(service: S) -> Self
    where
        S: tower::Service<Request<Body>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<tower::BoxError>,
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<tower::BoxError>,
    {
        Self::new(kube::Client::new(service, "default"))
    }

    fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The kube client below, for what the port does not cover.
    pub fn inner(&self) -> kube::Client {
        self.shared.client.clone()
    }

    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        form: Form,
        body: Option<(&'static str, Vec<u8>)>,
    ) -> Result<T, ClusterError> {
        let mut tries = 0;
        loop {
            let error = match self.call_once(&method, url, form, body.clone()).await {
                Ok(bytes) => return decode(&bytes),
                Err(error) => error,
            };
            tries += 1;
            if error.kind != ErrorKind::Throttled || tries >= THROTTLED_TRIES {
                return Err(error);
            }
            let wait = error
                .retry_after
                .unwrap_or(Duration::from_secs(1))
                .min(Duration::from_secs(10));
            tokio::time::sleep(wait).await;
        }
    }

    async fn call_once(
        &self,
        method: &Method,
        url: &str,
        form: Form,
        body: Option<(&'static str, Vec<u8>)>,
    ) -> Result<bytes::Bytes, ClusterError> {
        let request =
            build(method.clone(), Url::new(url.to_owned()), self.user(), form, body).map_err(|error| {
                ClusterError::new(ErrorKind::Invalid, format!("request cannot be made: {error}"))
            })?;
        let exchange = async {
            let response = self
                .shared
                .client
                .send(request)
                .await
                .map_err(|error| error::from_transport(&error, &self.shared.server))?;
            let (head, body) = response.into_parts();
            let bytes = body
                .collect()
                .await
                .map_err(|error| error::from_transport(&error, &self.shared.server))?
                .to_bytes();
            Ok::<_, ClusterError>((head.status, bytes))
        };
        let (status, bytes) = tokio::time::timeout(REQUEST_LIMIT, exchange)
            .await
            .map_err(|_elapsed| {
                ClusterError::new(
                    ErrorKind::Timeout,
                    format!("no answer to {method} {url} within {}s", REQUEST_LIMIT.as_secs()),
                )
            })??;
        if status.is_success() {
            Ok(bytes)
        } else {
            Err(error::from_response(status, &bytes))
        }
    }

    /// The same connection as nobody in particular: discovery belongs to it, not to the user it acts as.
    pub(crate) fn plain(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            user: None,
        }
    }

    async fn find_resource(&self, api_version: &str, kind: &str) -> Result<Arc<Resource>, ClusterError> {
        if let Some(resource) = self.shared.discovery.lookup(api_version, kind) {
            return Ok(resource);
        }
        self.follow_definitions().await;
        let url = if api_version.contains('/') {
            format!("/apis/{api_version}")
        } else {
            format!("/api/{api_version}")
        };
        match self
            .plain()
            .call::<ResourceList>(Method::GET, &url, Form::Whole, None)
            .await
        {
            Ok(list) => self.shared.discovery.learn(api_version, list, kind),
            Err(error) if error.code == StatusCode::NOT_FOUND.as_u16() => Err(no_kind(api_version, kind)),
            Err(error) => Err(error),
        }
    }

    /// Follows custom resource definitions from the first question on, so that no answer gets stale.
    async fn follow_definitions(&self) {
        let shared = &self.shared;
        shared
            .definitions
            .get_or_init(|| async {
                let resource = Resource {
                    group: "apiextensions.k8s.io".to_owned(),
                    version: "v1".to_owned(),
                    kind: "CustomResourceDefinition".to_owned(),
                    plural: "customresourcedefinitions".to_owned(),
                    namespaced: false,
                };
                let client = Self {
                    shared: Arc::clone(shared),
                    user: None,
                };
                let changes = watch::follow::<Definition>(&client, &resource, &Select::default());
                let weak = Arc::downgrade(shared);
                drop(client);
                tokio::spawn(async move {
                    let mut changes = changes;
                    while let Some(change) = changes.next().await {
                        let Some(shared) = weak.upgrade() else { return };
                        match change {
                            Change::Restarted => shared.discovery.forget(),
                            Change::Applied(definition) => shared.discovery.changed(definition.change(false)),
                            Change::Deleted(definition) => shared.discovery.changed(definition.change(true)),
                            Change::Ready | Change::Failed(_) => {}
                        }
                    }
                });
            })
            .await;
    }

    async fn list_all(&self, resource: &Resource, select: &Select) -> Result<Vec<Value>, ClusterError> {
        let namespace = select.namespace.as_deref().unwrap_or_default();
        let form = if select.metadata_only {
            Form::MetadataList
        } else {
            Form::Whole
        };
        let api_version = resource.api_version();
        let mut objects = Vec::new();
        let mut next = String::new();
        loop {
            let mut url = Url::new(path(resource, namespace, "", None))
                .selecting(select)
                .with("limit", PAGE);
            if !next.is_empty() {
                url = url.with("continue", &next);
            }
            let mut page: Value = self.call(Method::GET, url.as_str(), form, None).await?;
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                objects.reserve(items.len());
                objects.extend(
                    items
                        .into_iter()
                        .map(|item| typed(item, &api_version, &resource.kind)),
                );
            }
            match page.pointer("/metadata/continue").and_then(Value::as_str) {
                Some(token) if !token.is_empty() => token.clone_into(&mut next),
                _ => return Ok(objects),
            }
        }
    }
}

/// Items of lists (and metadata-only objects) do not say what they are.
pub(crate) fn typed(mut object: Value, api_version: &str, kind: &str) -> Value {
    if let Value::Object(map) = &mut object {
        map.insert("apiVersion".to_owned(), api_version.into());
        map.insert("kind".to_owned(), kind.into());
    }
    object
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ClusterError> {
    serde_json::from_slice(bytes).map_err(|error| {
        ClusterError::new(
            ErrorKind::Other,
            format!("the server's answer cannot be read: {error}"),
        )
    })
}

fn encode(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a JSON value can be written")
}

fn object_url(target: Target<'_>, subresource: Option<&str>) -> Url {
    Url::new(path(target.resource, target.namespace, target.name, subresource))
}

impl Cluster for Client {
    fn acting_as(&self, user: &str) -> Arc<dyn Cluster> {
        Arc::new(Self {
            shared: Arc::clone(&self.shared),
            user: Some(user.into()),
        })
    }

    fn resource<'a>(
        &'a self,
        api_version: &'a str,
        kind: &'a str,
    ) -> BoxFuture<'a, Result<Arc<Resource>, ClusterError>> {
        Box::pin(self.find_resource(api_version, kind))
    }

    fn served(&self) -> BoxFuture<'_, Result<Option<Served>, ClusterError>> {
        Box::pin(async move { crate::served::read(self).await.map(Some) })
    }

    fn kind_changes(&self) -> BoxStream<'static, KindChange> {
        let receiver = self.shared.discovery.subscribe();
        let client = self.clone();
        let started = async move { client.follow_definitions().await };
        let changes = futures::stream::unfold(receiver, |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(change) => return Some((change, receiver)),
                    // What was missed can only make somebody look again later, at the interval.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        Box::pin(
            futures::stream::once(started)
                .filter_map(|()| async { None })
                .chain(changes),
        )
    }

    fn get<'a>(&'a self, target: Target<'a>) -> BoxFuture<'a, Result<Option<Value>, ClusterError>> {
        Box::pin(async move {
            match self
                .call(Method::GET, object_url(target, None).as_str(), Form::Whole, None)
                .await
            {
                Ok(object) => Ok(Some(object)),
                Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    fn list<'a>(
        &'a self,
        resource: &'a Resource,
        select: &'a Select,
    ) -> BoxFuture<'a, Result<Vec<Value>, ClusterError>> {
        Box::pin(self.list_all(resource, select))
    }

    fn watch(&self, resource: &Resource, select: &Select) -> BoxStream<'static, Watched> {
        let api_version = resource.api_version();
        let kind = resource.kind.clone();
        let changes = watch::follow::<Value>(self, resource, select).map(move |change| match change {
            Change::Restarted => Watched::Restarted,
            Change::Applied(object) => Watched::Applied(typed(object, &api_version, &kind)),
            Change::Deleted(object) => Watched::Deleted(typed(object, &api_version, &kind)),
            Change::Ready => Watched::Ready,
            Change::Failed(error) => Watched::Failed(error),
        });
        Box::pin(changes)
    }

    fn log<'a>(&'a self, pod: Target<'a>, part: &'a PodLog) -> BoxFuture<'a, Result<Lines, ClusterError>> {
        let mut url = object_url(pod, Some("log"));
        if let Some(container) = &part.container {
            url = url.with("container", container);
        }
        if part.follow {
            url = url.with("follow", "true");
        }
        for (key, number) in [("tailLines", part.tail), ("sinceSeconds", part.since_seconds)] {
            if let Some(number) = number {
                url = url.with(key, &number.to_string());
            }
        }
        Box::pin(async move {
            let lines = watch::open(self, url, Form::Any).await?;
            let lines = futures::stream::try_unfold(lines, |mut lines| async move {
                let line = lines.next_line().await?.or_else(|| lines.rest());
                Ok(line.map(|line| (String::from_utf8_lossy(&line).into_owned(), lines)))
            });
            Ok(lines.boxed())
        })
    }

    fn apply<'a>(
        &'a self,
        target: Target<'a>,
        object: &'a Value,
        how: Apply<'a>,
    ) -> BoxFuture<'a, Result<Value, ClusterError>> {
        let mut url = object_url(target, None).with("fieldManager", how.manager);
        if how.force {
            url = url.with("force", "true");
        }
        if how.dry_run {
            url = url.with("dryRun", "All");
        }
        Box::pin(async move {
            let body = Some(("application/apply-patch+yaml", encode(object)));
            self.call(Method::PATCH, url.as_str(), Form::Whole, body).await
        })
    }

    fn patch<'a>(
        &'a self,
        target: Target<'a>,
        patch: Patch<'a>,
    ) -> BoxFuture<'a, Result<Value, ClusterError>> {
        let mut url = object_url(target, patch.subresource).with("fieldManager", patch.manager);
        if patch.dry_run {
            url = url.with("dryRun", "All");
        }
        let content_type = match patch.kind {
            PatchKind::Json => "application/json-patch+json",
            PatchKind::Merge => "application/merge-patch+json",
        };
        Box::pin(async move {
            let body = Some((content_type, encode(patch.body)));
            self.call(Method::PATCH, url.as_str(), Form::Whole, body).await
        })
    }

    fn create<'a>(
        &'a self,
        target: Target<'a>,
        object: &'a Value,
        how: Create<'a>,
    ) -> BoxFuture<'a, Result<Value, ClusterError>> {
        Box::pin(async move {
            let path = path(target.resource, target.namespace, "", None);
            let mut url = Url::new(path).with("fieldManager", how.manager);
            if how.dry_run {
                url = url.with("dryRun", "All");
            }
            self.call(
                Method::POST,
                url.as_str(),
                Form::Whole,
                Some(("application/json", encode(object))),
            )
            .await
        })
    }

    fn token<'a>(
        &'a self,
        (namespace, name): (&'a str, &'a str),
        audiences: &'a [String],
    ) -> BoxFuture<'a, Result<Token, ClusterError>> {
        Box::pin(async move {
            let accounts = Resource::core("ServiceAccount");
            let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                "spec": {"audiences": audiences, "expirationSeconds": 3600}});
            let url = Url::new(path(&accounts, namespace, name, Some("token")));
            let body = Some(("application/json", encode(&request)));
            let answer: Value = self.call(Method::POST, url.as_str(), Form::Whole, body).await?;
            let field = |name: &str| answer.pointer(name).and_then(Value::as_str);
            let expires = field("/status/expirationTimestamp").and_then(|text| text.parse().ok());
            match (field("/status/token"), expires) {
                (Some(text), Some(expires)) => Ok(Token {
                    text: text.into(),
                    expires,
                }),
                _ => Err(ClusterError::new(
                    ErrorKind::Other,
                    format!(
                        "the server's answer holds no token for the service account '{namespace}/{name}'"
                    ),
                )),
            }
        })
    }

    fn delete<'a>(
        &'a self,
        target: Target<'a>,
        how: Delete<'a>,
    ) -> BoxFuture<'a, Result<bool, ClusterError>> {
        let policy = match how.propagation {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        };
        let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy});
        if let Some(uid) = how.uid {
            options["preconditions"]["uid"] = uid.into();
        }
        if let Some(version) = how.resource_version {
            options["preconditions"]["resourceVersion"] = version.into();
        }
        Box::pin(async move {
            let body = Some(("application/json", encode(&options)));
            let url = object_url(target, None);
            let answer = self.call::<serde::de::IgnoredAny>(Method::DELETE, url.as_str(), Form::Whole, body);
            match answer.await {
                Ok(_) => Ok(true),
                Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            }
        })
    }
}
