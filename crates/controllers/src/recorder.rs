//! Events: handed to notifications at once, written as core Events behind the run's back, equal ones counted in one
//! object.

mod held;

use std::collections::BTreeMap;
use std::sync::Arc;

use fluvial_object::time;
use fluvial_ports::{Clock, Cluster, Event, Events, Patch, PatchKind, Resource, Severity, Target};
use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::metrics::Metrics;
use held::Held;

/// Events that wait to be written; more are dropped (they were logged and handed to notifications).
const BACKLOG: usize = 4096;
/// Events that are remembered for counting.
const REMEMBERED: usize = 2048;
/// The API allows 1024 characters in a core Event's message.
const MESSAGE_LIMIT: usize = 1000;

/// Takes events. Clones are handles.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Event>,
    events: Arc<dyn Events>,
    clock: Arc<dyn Clock>,
}

/// The object that events are about, and who reports them.
#[derive(Debug, Clone)]
pub struct About<'a> {
    /// API version.
    pub api_version: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// Its metadata.
    pub metadata: &'a fluvial_api::Metadata,
    /// Name of the controller.
    pub controller: &'static str,
}

impl Recorder {
    /// A recorder, and the task that writes for it (to be spawned; ends with the last handle).
    pub fn new(
        cluster: Arc<dyn Cluster>,
        events: Arc<dyn Events>,
        clock: Arc<dyn Clock>,
        instance: String,
        metrics: Arc<Metrics>,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let writer = Writer {
            cluster,
            instance,
            metrics,
            remembered: FxHashMap::default(),
        };
        (
            Self {
                sender,
                events,
                clock,
            },
            writer.run(receiver),
        )
    }

    /// Makes an event about an object.
    pub fn event(&self, about: &About<'_>, severity: Severity, reason: &str, message: &str) -> Event {
        let prefix = about.api_version.split('/').next().unwrap_or_default();
        let copied = about.metadata.annotations.iter().filter_map(|(key, value)| {
            let name = key.strip_prefix("event.toolkit.fluxcd.io/")?;
            Some((format!("{prefix}/{name}"), value.clone()))
        });
        Event {
            api_version: about.api_version.to_owned(),
            kind: about.kind.to_owned(),
            namespace: about.metadata.namespace.clone(),
            name: about.metadata.name.clone(),
            uid: about.metadata.uid.clone(),
            resource_version: about.metadata.resource_version.clone(),
            severity,
            reason: reason.to_owned(),
            message: message.to_owned(),
            metadata: copied.collect(),
            time: self.clock.now(),
            controller: about.controller,
        }
    }

    /// Hands an event to notifications and to the API server.
    pub fn send(&self, event: Event) {
        if event.severity != Severity::Trace {
            self.events.notify(&event);
        }
        let object = format!("{}/{}/{}", event.kind, event.namespace, event.name);
        match event.severity {
            Severity::Error => tracing::error!(%object, reason = %event.reason, "{}", event.message),
            _ => tracing::info!(%object, reason = %event.reason, "{}", event.message),
        }
        if self.sender.try_send(event).is_err() {
            tracing::debug!("too many events to write; one is dropped");
        }
    }

    /// Hands an event to notifications only: it tells nothing new to somebody who lists Events.
    pub fn notify(&self, event: &Event) {
        self.events.notify(event);
    }
}

struct Writer {
    cluster: Arc<dyn Cluster>,
    instance: String,
    metrics: Arc<Metrics>,
    /// Uid, reason and message of a written event → its name, count.
    remembered: FxHashMap<(String, String, String), (String, u64)>,
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<Event>) {
        let mut held = Held::default();
        loop {
            let next = match held.due() {
                Some(due) => tokio::time::timeout_at(due, receiver.recv()).await,
                None => Ok(receiver.recv().await),
            };
            match next {
                Ok(Some(event)) => self.write_all(held.take(event, Instant::now())).await,
                Ok(None) => break,
                Err(_elapsed) => self.write_all(held.expired(Instant::now())).await,
            }
        }
        self.write_all(held.all()).await;
    }

    async fn write_all(&mut self, events: Vec<Event>) {
        let resource = Resource::core("Event");
        for event in events {
            if let Err(error) = self.write(&resource, &event).await {
                tracing::debug!(%error, "an event could not be written");
            }
        }
    }

    async fn write(&mut self, resource: &Resource, event: &Event) -> Result<(), fluvial_ports::ClusterError> {
        self.metrics.wrote("event");
        let identity = (event.uid.clone(), event.reason.clone(), event.message.clone());
        if let Some((name, count)) = self.remembered.get_mut(&identity) {
            *count += 1;
            let body = json!({"count": *count, "lastTimestamp": time::format(event.time)});
            let target = Target {
                resource,
                namespace: &event.namespace,
                name,
            };
            let patch = Patch {
                kind: PatchKind::Merge,
                subresource: None,
                manager: event.controller,
                body: &body,
                dry_run: false,
            };
            if self.cluster.patch(target, patch).await.is_ok() {
                return Ok(());
            }
        }
        let object = core_event(event, &self.instance);
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let target = Target {
            resource,
            namespace: &event.namespace,
            name: &name,
        };
        self.cluster
            .create(
                target,
                &object,
                fluvial_ports::Create {
                    manager: event.controller,
                    dry_run: false,
                },
            )
            .await?;
        if self.remembered.len() >= REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert(identity, (name, 1));
        Ok(())
    }
}

/// The core Event for an event, named as client-go names them: the object and the time in nanoseconds.
fn core_event(event: &Event, instance: &str) -> Value {
    let nanoseconds = event.time.as_nanosecond();
    let at = time::format(event.time);
    let message = if event.message.len() > MESSAGE_LIMIT {
        let end = event.message.floor_char_boundary(MESSAGE_LIMIT);
        format!("{}…", &event.message[..end])
    } else {
        event.message.clone()
    };
    let annotations: &BTreeMap<String, String> = &event.metadata;
    let name: String = event.name.chars().take(230).collect();
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": format!("{name}.{nanoseconds:x}"), "namespace": event.namespace},
        "involvedObject": {
            "apiVersion": event.api_version, "kind": event.kind, "namespace": event.namespace, "name": event.name,
            "uid": event.uid, "resourceVersion": event.resource_version,
        },
        "type": if event.severity == Severity::Error { "Warning" } else { "Normal" },
        "reason": event.reason,
        "message": message,
        "source": {"component": event.controller},
        "reportingComponent": event.controller,
        "reportingInstance": instance,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    });
    if !annotations.is_empty() {
        object["metadata"]["annotations"] = json!(annotations);
    }
    object
}
