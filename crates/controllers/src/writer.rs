//! Writes to reconciled objects themselves: their status and their finalizer. What a write returns goes into the feed.

use std::sync::Arc;

use fluvial_api::{Resource as Kind, keys};
use fluvial_ports::{Cluster, ClusterError, ErrorKind, Patch, PatchKind, Resource, Target};
use serde_json::{Value, json};

use crate::feed::Feed;
use crate::metrics::Metrics;
use crate::{Key, status};

/// Writes objects of one kind.
pub struct Writer<T> {
    cluster: Arc<dyn Cluster>,
    feed: Arc<Feed<T>>,
    metrics: Arc<Metrics>,
    resource: Resource,
    /// Of both, finalizers and status: what the appliers of our kinds call themselves may not be it, because they take
    /// over what was written under their own name, and drop what Git does not have.
    manager: &'static str,
    /// The finalizer that holds an object.
    finalizer: &'static str,
}

/// The kind as the API serves it; no look-up is needed for our own kinds.
pub fn resource_of<T: Kind>() -> Resource {
    Resource {
        group: T::GROUP.to_owned(),
        version: T::VERSION.to_owned(),
        kind: T::KIND.to_owned(),
        plural: T::PLURAL.to_owned(),
        namespaced: true,
    }
}

impl<T> Writer<T>
where
    T: Kind + Send + Sync + 'static,
    T::Status: PartialEq,
{
    /// A writer with its field manager.
    pub fn new(
        cluster: Arc<dyn Cluster>,
        feed: Arc<Feed<T>>,
        metrics: Arc<Metrics>,
        manager: &'static str,
    ) -> Self {
        Self {
            cluster,
            feed,
            metrics,
            resource: resource_of::<T>(),
            manager,
            finalizer: keys::FINALIZER,
        }
    }

    /// The same with another finalizer.
    #[must_use]
    pub fn with_finalizer(mut self, finalizer: &'static str) -> Self {
        self.finalizer = finalizer;
        self
    }

    fn target<'a>(&'a self, object: &'a T) -> Target<'a> {
        Target {
            resource: &self.resource,
            namespace: &object.metadata().namespace,
            name: &object.metadata().name,
        }
    }

    /// The newest known state, if it is still the same object.
    fn newest(&self, object: &T) -> Option<Arc<T>> {
        self.feed
            .store()
            .get(&Key::of(object.metadata()))
            .filter(|newest| newest.metadata().uid == object.metadata().uid)
    }

    /// Changes the status; nothing is written when it is as it should be. `None` if the object is gone.
    pub async fn status(&self, object: &T, new: &T::Status) -> Result<Option<Arc<T>>, ClusterError> {
        let Some(mut body) = status::patch(object.status(), new) else {
            return Ok(self.newest(object));
        };
        body["metadata"] = json!({"uid": object.metadata().uid});
        self.metrics.wrote("status");
        let patch = Patch {
            kind: PatchKind::Merge,
            subresource: Some("status"),
            manager: self.manager,
            body: &body,
            dry_run: false,
        };
        match self.cluster.patch(self.target(object), patch).await {
            Ok(written) => {
                self.feed.put(&written);
                Ok(self.newest(object))
            }
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts our finalizer on the object, if it is not there. `None` if the object is gone.
    pub async fn hold(&self, object: &Arc<T>) -> Result<Option<Arc<T>>, ClusterError> {
        if has_finalizer(&**object, self.finalizer) {
            return Ok(Some(Arc::clone(object)));
        }
        self.finalizers(object, |list| list.push(self.finalizer.to_owned()))
            .await
    }

    /// Takes our finalizer off the object, so that it can go.
    pub async fn release(&self, object: &Arc<T>) -> Result<(), ClusterError> {
        if has_finalizer(&**object, self.finalizer) {
            self.finalizers(object, |list| {
                list.retain(|finalizer| finalizer != self.finalizer)
            })
            .await?;
        }
        Ok(())
    }

    /// Changes the list of finalizers; somebody else's change in between is taken in and the change made again.
    async fn finalizers(
        &self,
        object: &Arc<T>,
        change: impl Fn(&mut Vec<String>),
    ) -> Result<Option<Arc<T>>, ClusterError> {
        const TRIES: usize = 4;
        let mut metadata = object.metadata().clone();
        for tries in 1.. {
            let mut finalizers = metadata.finalizers.clone();
            change(&mut finalizers);
            let body = json!({"metadata": {
                "uid": metadata.uid, "resourceVersion": metadata.resource_version, "finalizers": finalizers,
            }});
            self.metrics.wrote("finalizer");
            let patch = Patch {
                kind: PatchKind::Merge,
                subresource: None,
                manager: self.manager,
                body: &body,
                dry_run: false,
            };
            let error = match self.cluster.patch(self.target(object), patch).await {
                Ok(written) => {
                    self.feed.put(&written);
                    return Ok(self.newest(object));
                }
                Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
                Err(error) => error,
            };
            if error.kind != ErrorKind::Conflict || tries == TRIES {
                return Err(error);
            }
            let Some(live) = self.cluster.get(self.target(object)).await? else {
                return Ok(None);
            };
            let Ok(live) = T::from_value(&live) else {
                return Err(error);
            };
            if live.metadata().uid != metadata.uid {
                return Ok(None);
            }
            metadata = live.metadata().clone();
        }
        Ok(None)
    }
}

/// Whether a finalizer is on an object.
pub(crate) fn has_finalizer(object: &impl Kind, wanted: &str) -> bool {
    object
        .metadata()
        .finalizers
        .iter()
        .any(|finalizer| finalizer == wanted)
}

/// Reads the data of a Secret or ConfigMap as it stands in the object: text by key, or base64 in a Secret's `data`.
pub fn config_data(object: &Value) -> Result<std::collections::BTreeMap<String, Vec<u8>>, String> {
    use base64::Engine;
    let is_secret = object.get("kind").and_then(Value::as_str) == Some("Secret");
    let mut all = std::collections::BTreeMap::new();
    for (field, encoded) in [("data", is_secret), ("binaryData", true)] {
        let Some(fields) = object.get(field).and_then(Value::as_object) else {
            continue;
        };
        for (key, value) in fields {
            let text = value.as_str().unwrap_or_default();
            let bytes = if encoded {
                base64::engine::general_purpose::STANDARD
                    .decode(text)
                    .map_err(|error| format!("key '{key}' is not base64: {error}"))?
            } else {
                text.as_bytes().to_vec()
            };
            all.insert(key.clone(), bytes);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_secrets_is_decoded_and_of_config_maps_taken_as_text() {
        let secret = json!({"kind": "Secret", "data": {"a": "eA=="}});
        assert_eq!(config_data(&secret).expect("valid")["a"], b"x");
        let map = json!({"kind": "ConfigMap", "data": {"a": "eA=="}, "binaryData": {"b": "eQ=="}});
        let data = config_data(&map).expect("valid");
        assert_eq!(
            (data["a"].as_slice(), data["b"].as_slice()),
            (&b"eA=="[..], &b"y"[..])
        );
        let broken = json!({"kind": "Secret", "data": {"a": "?"}});
        assert!(config_data(&broken).expect_err("broken").contains("key 'a'"));
    }
}
