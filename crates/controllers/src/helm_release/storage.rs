//! Stored releases in the cluster: read, written, forgotten. One write a change, unless a version is too large for one
//! object and may be kept in several.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fluvial_helm::release::{self, Driver, History, Stored};
use fluvial_object::ObjectExt;
use fluvial_ports::{
    Clock, Cluster, ClusterError, Create, Delete, ErrorKind, Patch, PatchKind, Resource, Select, Target,
};
use serde_json::{Value, json};

use super::objects::MANAGER;
use crate::metrics::Metrics;

/// Where the versions of one release are kept.
pub(crate) struct Storage<'a> {
    /// The cluster, as the identity that applies.
    pub(crate) cluster: Arc<dyn Cluster>,
    /// Namespace.
    pub(crate) namespace: &'a str,
    /// Name of the release.
    pub(crate) release: &'a str,
    /// The clock.
    pub(crate) clock: &'a dyn Clock,
    /// Counts writes.
    pub(crate) metrics: &'a Metrics,
    /// Whether a version may be kept in several objects.
    pub(crate) split: bool,
    /// The objects that hold the rest of versions that do not fit into one.
    pub(crate) parts: Mutex<BTreeMap<i64, Vec<String>>>,
}

/// Secrets as the API serves them.
fn secrets() -> Resource {
    Resource::core(Driver::Secret.kind())
}

impl Storage<'_> {
    /// All versions. One that cannot be read is left out, and said.
    pub(crate) async fn history(&self) -> Result<History, String> {
        let found = self
            .cluster
            .list(&secrets(), &self.select(release::storage_selector(self.release)))
            .await
            .map_err(|error| format!("query: failed to query with labels: {error}"))?;
        let mut versions = Vec::with_capacity(found.len());
        for object in &found {
            match self.read(object).await {
                Ok(stored) => versions.push(stored),
                Err(error) => tracing::warn!(namespace = self.namespace, "stored release {error}"),
            }
        }
        Ok(History::new(versions))
    }

    fn select(&self, labels: String) -> Select {
        Select {
            namespace: Some(self.namespace.to_owned()),
            labels: Some(labels),
            ..Select::default()
        }
    }

    /// The version in an object, and in those that hold its rest.
    async fn read(&self, object: &Value) -> Result<Stored, String> {
        let names = release::parts_of(object).map_err(|error| error.to_string())?;
        if names.is_empty() {
            return release::read_object(object).map_err(|error| error.to_string());
        }
        let mut parts = Vec::with_capacity(names.len());
        for name in &names {
            let part = self.cluster.get(self.target(&secrets(), name)).await;
            let part = part.map_err(|error| format!("{name}: {error}"))?;
            parts.push(part.ok_or_else(|| format!("{}: its part {name} is not there", object.name()))?);
        }
        let stored = release::read_parts(object, &parts).map_err(|error| error.to_string())?;
        self.keep(stored.version, names);
        Ok(stored)
    }

    fn keep(&self, version: i64, names: Vec<String>) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if names.is_empty() {
            parts.remove(&version);
        } else {
            parts.insert(version, names);
        }
    }

    fn has_parts(&self, version: i64) -> bool {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.contains_key(&version)
    }

    /// The objects that hold a version: those with its rest, and the one that counts. The former are written here.
    async fn objects(&self, stored: &Stored, stamp: &str, verb: &str) -> Result<Value, String> {
        let stamp = (stamp, self.clock.now().as_second());
        let mut objects = release::to_objects(stored, Driver::Secret, self.namespace, stamp, self.split)
            .map_err(|error| format!("{verb}: failed to encode release \"{}\": {error}", stored.name))?;
        let main = objects.pop().unwrap_or_default();
        for part in &objects {
            match self.make(part).await {
                // Named by its content, it is from an attempt before this one.
                Err(error) if error.kind == ErrorKind::AlreadyExists => {}
                made => made.map_err(|error| format!("{verb}: failed to create {}: {error}", part.name()))?,
            }
        }
        Ok(main)
    }

    async fn make(&self, object: &Value) -> Result<(), ClusterError> {
        self.metrics.wrote("release");
        let how = Create {
            manager: MANAGER,
            dry_run: false,
        };
        let resource = secrets();
        self.cluster
            .create(self.target(&resource, object.name()), object, how)
            .await
            .map(|_now| ())
    }

    /// Stores a new version, after forgetting so many of the old ones that `max` are kept.
    pub(crate) async fn create(
        &self,
        history: &mut History,
        stored: &Stored,
        max: i64,
    ) -> Result<(), String> {
        for version in release::to_forget(history, max) {
            self.forget(version).await?;
            history.remove(version);
        }
        let object = self.objects(stored, "createdAt", "create").await?;
        self.make(&object).await.map_err(|error| match error.kind {
            ErrorKind::AlreadyExists => format!(
                "release: already exists: version {} was stored by somebody else meanwhile",
                stored.version
            ),
            _ => format!("create: failed to create: {error}"),
        })?;
        self.written(&object, stored.version).await;
        history.put(stored.clone());
        Ok(())
    }

    /// Changes a stored version.
    pub(crate) async fn update(&self, history: &mut History, stored: &Stored) -> Result<(), String> {
        let object = self.objects(stored, "modifiedAt", "update").await?;
        let mut body = json!({
            "metadata": {"labels": object["metadata"]["labels"]},
            "data": object["data"],
        });
        if let Some(annotations) = object.at(&["metadata", "annotations"]) {
            body["metadata"]["annotations"] = annotations.clone();
        }
        if self.has_parts(stored.version) && body["data"]["parts"].is_null() {
            body["data"]["parts"] = Value::Null;
        }
        self.metrics.wrote("release");
        let patch = Patch {
            kind: PatchKind::Merge,
            subresource: None,
            manager: MANAGER,
            body: &body,
            dry_run: false,
        };
        self.cluster
            .patch(self.target(&secrets(), object.name()), patch)
            .await
            .map_err(|error| format!("update: failed to update: {error}"))?;
        self.written(&object, stored.version).await;
        history.put(stored.clone());
        Ok(())
    }

    /// Forgets a version.
    pub(crate) async fn forget(&self, version: i64) -> Result<(), String> {
        let name = release::storage_name(self.release, version);
        self.remove(&name)
            .await
            .map_err(|error: ClusterError| format!("delete: failed to delete release {name}: {error}"))?;
        self.keep(version, Vec::new());
        self.tidy().await;
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<bool, ClusterError> {
        self.metrics.wrote("release");
        self.cluster
            .delete(self.target(&secrets(), name), Delete::default())
            .await
    }

    /// Takes down which objects hold the rest of a version.
    async fn written(&self, object: &Value, version: i64) {
        self.keep(version, release::parts_of(object).unwrap_or_default());
        self.tidy().await;
    }

    /// Deletes what holds the rest of no version any more. What stays is found the next time.
    async fn tidy(&self) {
        let known: Vec<String> = {
            let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
            parts.values().flatten().cloned().collect()
        };
        if !self.split && known.is_empty() {
            return;
        }
        let select = Select {
            metadata_only: true,
            ..self.select(release::parts_selector(self.release))
        };
        let found = match self.cluster.list(&secrets(), &select).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!("parts of stored releases cannot be listed: {error}");
                return;
            }
        };
        for part in found {
            if known.iter().any(|known| known == part.name()) {
                continue;
            }
            if let Err(error) = self.remove(part.name()).await {
                tracing::warn!(
                    "a part of a stored release, {}, cannot be deleted: {error}",
                    part.name()
                );
            }
        }
    }

    fn target<'t>(&'t self, resource: &'t Resource, name: &'t str) -> Target<'t> {
        Target {
            resource,
            namespace: self.namespace,
            name,
        }
    }
}
