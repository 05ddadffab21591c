//! A watch that never ends: it starts from a streamed list where the server can do that, from a paged list otherwise,
//! and goes on from the last known version after a break.

use std::time::Duration;

use fluvial_ports::{ClusterError, ErrorKind, Resource, Select};
use futures::{Stream, StreamExt, TryStreamExt};
use http::Method;
use http_body_util::BodyExt;
use kube::core::WatchEvent;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::Client;
use crate::error;
use crate::request::{Form, Url, build, path};

/// Seconds after which a watch is asked to end and start anew.
const LIFETIME: &str = "290";
/// First and longest wait after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// Longest pause within a streamed list, after which it is asked for in pages.
const LIST_PAUSE: Duration = Duration::from_secs(10);
/// Events in flight between the connection and its reader.
const BACKLOG: usize = 128;
/// Marks the bookmark after a streamed list.
const LIST_END: &str = "k8s.io/initial-events-end";

pub(crate) enum Change<T> {
    Restarted,
    Applied(T),
    Deleted(T),
    Ready,
    Failed(ClusterError),
}

/// Follows the selected objects. The work ends when the stream is dropped.
pub(crate) fn follow<T>(
    client: &Client,
    resource: &Resource,
    select: &Select,
) -> impl Stream<Item = Change<T>> + Send + use<T>
where
    T: Versioned + DeserializeOwned + Clone + Send + Sync + 'static,
{
    let (sender, receiver) = mpsc::channel(BACKLOG);
    let follower = Follower {
        client: client.clone(),
        resource: resource.clone(),
        select: select.clone(),
        version: select.since.clone(),
        streamed_lists: true,
        sender: sender.clone(),
    };
    tokio::spawn(async move {
        tokio::select! {
            () = sender.closed() => {}
            () = follower.run() => {}
        }
    });
    futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|item| (item, receiver))
    })
    .boxed()
}

struct Follower<T> {
    client: Client,
    resource: Resource,
    select: Select,
    /// Where to go on; nothing before the first list.
    version: Option<String>,
    streamed_lists: bool,
    sender: mpsc::Sender<Change<T>>,
}

/// An object that knows its version.
pub(crate) trait Versioned {
    fn resource_version(&self) -> Option<&str>;
}

impl Versioned for serde_json::Value {
    fn resource_version(&self) -> Option<&str> {
        self.get("metadata")?.get("resourceVersion")?.as_str()
    }
}

#[derive(Deserialize)]
struct Page {
    metadata: PageMeta,
    items: Vec<Box<serde_json::value::RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: String,
}

/// The reader has gone.
struct Closed;

enum Break {
    Closed,
    Ended,
    Failed(ClusterError),
}

impl From<Closed> for Break {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<ClusterError> for Break {
    fn from(error: ClusterError) -> Self {
        Self::Failed(error)
    }
}

impl<T: Versioned + DeserializeOwned + Clone + Send + Sync + 'static> Follower<T> {
    async fn run(mut self) {
        let mut wait = BACKOFF.0;
        loop {
            let started = tokio::time::Instant::now();
            let ended = self.connection().await;
            if started.elapsed() > BACKOFF.1 {
                // It worked for a while: this is another failure than the one before.
                wait = BACKOFF.0;
            }
            match ended {
                Break::Closed => return,
                Break::Ended if started.elapsed() < BACKOFF.0 => tokio::time::sleep(BACKOFF.0).await,
                Break::Ended => wait = BACKOFF.0,
                Break::Failed(error) if error.kind == ErrorKind::Expired => self.version = None,
                Break::Failed(error)
                    if self.version.is_none() && self.streamed_lists && refuses_streaming(&error) =>
                {
                    self.streamed_lists = false;
                }
                Break::Failed(error) => {
                    tracing::debug!(kind = %self.resource.kind, %error, "watch broke");
                    if error.kind == ErrorKind::NotFound {
                        self.version = None;
                    }
                    if self.send(Change::Failed(error)).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(BACKOFF.1);
                }
            }
        }
    }

    async fn send(&self, change: Change<T>) -> Result<(), Closed> {
        self.sender.send(change).await.map_err(|_| Closed)
    }

    /// One connection from its start to its end.
    async fn connection(&mut self) -> Break {
        let result = async {
            if self.version.is_none() && !self.streamed_lists {
                self.list().await?;
            }
            self.events().await
        };
        match result.await {
            Ok(()) => Break::Ended,
            Err(reason) => reason,
        }
    }

    fn url(&self) -> Url {
        let namespace = self.select.namespace.as_deref().unwrap_or_default();
        Url::new(path(&self.resource, namespace, "", None)).selecting(&self.select)
    }

    async fn list(&mut self) -> Result<(), Break> {
        let form = if self.select.metadata_only {
            Form::MetadataList
        } else {
            Form::Whole
        };
        self.send(Change::Restarted).await?;
        let mut next = String::new();
        loop {
            let mut url = self.url().with("limit", "500");
            if !next.is_empty() {
                url = url.with("continue", &next);
            }
            let page: Page = self.client.call(Method::GET, url.as_str(), form, None).await?;
            for item in page.items {
                let object = serde_json::from_str(item.get()).map_err(|error| unreadable(&error))?;
                self.send(Change::Applied(object)).await?;
            }
            self.version = Some(page.metadata.resource_version);
            next = page.metadata.next;
            if next.is_empty() {
                return Ok(self.send(Change::Ready).await?);
            }
        }
    }

    async fn events(&mut self) -> Result<(), Break> {
        let mut url = self
            .url()
            .with("watch", "true")
            .with("allowWatchBookmarks", "true")
            .with("timeoutSeconds", LIFETIME);
        let starting = self.version.is_none();
        url = match &self.version {
            Some(version) => url.with("resourceVersion", version),
            None => url
                .with("sendInitialEvents", "true")
                .with("resourceVersionMatch", "NotOlderThan"),
        };
        let form = if self.select.metadata_only {
            Form::Metadata
        } else {
            Form::Whole
        };
        let mut lines = open(&self.client, url, form).await?;
        if starting {
            self.send(Change::Restarted).await?;
        }
        let mut listing = starting;
        loop {
            let Ok(line) = tokio::time::timeout(patience(listing), lines.next_line()).await else {
                // A server that never says where the list ends would be waited for as long as the watch lasts.
                self.streamed_lists = false;
                return Ok(());
            };
            let Some(line) = line? else { return Ok(()) };
            let event: WatchEvent<T> = serde_json::from_slice(&line).map_err(|error| unreadable(&error))?;
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    self.note_version(&object, listing);
                    self.send(Change::Applied(object)).await?;
                }
                WatchEvent::Deleted(object) => {
                    self.note_version(&object, listing);
                    self.send(Change::Deleted(object)).await?;
                }
                WatchEvent::Bookmark(mark) => {
                    let end = mark.metadata.annotations.get(LIST_END);
                    // Of a list that breaks off nothing may be left out: only its end says where to go on.
                    if listing && end.is_none_or(|end| end != "true") {
                        continue;
                    }
                    self.version = Some(mark.metadata.resource_version);
                    if listing {
                        listing = false;
                        self.send(Change::Ready).await?;
                    }
                }
                WatchEvent::Error(status) => {
                    return Err(error::from_transport(&kube::Error::Api(status), "").into());
                }
            }
        }
    }

    /// Objects of a streamed list are not in order of version: only its closing bookmark counts.
    fn note_version(&mut self, object: &T, listing: bool) {
        if let (false, Some(version)) = (listing, object.resource_version()) {
            self.version = Some(version.to_owned());
        }
    }
}

/// The lines of an answer that may take its time.
pub(crate) async fn open(client: &Client, url: Url, form: Form) -> Result<Lines, ClusterError> {
    let mut request = build(Method::GET, url, client.user.as_deref(), form, None)
        .map_err(|error| ClusterError::new(ErrorKind::Invalid, error.to_string()))?;
    // Compressed streams are not decoded event by event.
    request.headers_mut().insert(
        http::header::ACCEPT_ENCODING,
        http::HeaderValue::from_static("identity"),
    );
    let server = client.shared.server.clone();
    let lost = move |error| error::from_transport(&error, &server);
    let response = client.shared.client.send(request).await.map_err(&lost)?;
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        let bytes = body.collect().await.map_err(&lost)?.to_bytes();
        return Err(error::from_response(head.status, &bytes));
    }
    Ok(Lines {
        frames: body.into_data_stream().map_err(lost).boxed(),
        buffer: Vec::new(),
        read: 0,
    })
}

/// The lines of a response body as they arrive.
pub(crate) struct Lines {
    frames: futures::stream::BoxStream<'static, Result<bytes::Bytes, ClusterError>>,
    buffer: Vec<u8>,
    read: usize,
}

impl Lines {
    /// The next line with anything in it.
    pub(crate) async fn next_line(&mut self) -> Result<Option<Vec<u8>>, ClusterError> {
        loop {
            if let Some(end) = self.buffer[self.read..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer[self.read..self.read + end].to_vec();
                self.read += end + 1;
                if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                    return Ok(Some(line));
                }
                continue;
            }
            self.buffer.drain(..self.read);
            self.read = 0;
            match self.frames.next().await {
                Some(frame) => self.buffer.extend_from_slice(&frame?),
                None => return Ok(None),
            }
        }
    }

    /// What came last without the end of a line.
    pub(crate) fn rest(&mut self) -> Option<Vec<u8>> {
        let rest = std::mem::take(&mut self.buffer);
        (!rest.is_empty()).then_some(rest)
    }
}

fn unreadable(error: &serde_json::Error) -> ClusterError {
    ClusterError::new(ErrorKind::Other, format!("a watch event cannot be read: {error}"))
}

/// How long the next line may take: while nothing has changed there is none.
fn patience(listing: bool) -> Duration {
    if listing { LIST_PAUSE } else { Duration::MAX }
}

/// Servers without streamed lists call the parameters invalid.
fn refuses_streaming(error: &ClusterError) -> bool {
    matches!(error.kind, ErrorKind::Invalid)
        || (error.kind == ErrorKind::Forbidden && error.message.contains("sendInitialEvents"))
}
