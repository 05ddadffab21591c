//! Stored releases in the cluster: read, written, forgotten. One write a change.

use std::sync::Arc;

use fluvial_helm::release::{self, Driver, History, Stored};
use fluvial_ports::{
    Clock, Cluster, ClusterError, Create, Delete, ErrorKind, Patch, PatchKind, Resource, Select, Target,
};
use serde_json::json;

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
}

/// Secrets as the API serves them.
fn secrets() -> Resource {
    Resource {
        group: String::new(),
        version: "v1".to_owned(),
        kind: Driver::Secret.kind().to_owned(),
        plural: "secrets".to_owned(),
        namespaced: true,
    }
}

impl Storage<'_> {
    /// All versions. One that cannot be read is left out, and said.
    pub(crate) async fn history(&self) -> Result<History, String> {
        let select = Select {
            namespace: Some(self.namespace.to_owned()),
            labels: Some(release::storage_selector(self.release)),
            ..Select::default()
        };
        let found = self
            .cluster
            .list(&secrets(), &select)
            .await
            .map_err(|error| format!("query: failed to query with labels: {error}"))?;
        let mut versions = Vec::with_capacity(found.len());
        for object in &found {
            match release::read_object(object) {
                Ok(stored) => versions.push(stored),
                Err(error) => tracing::warn!(namespace = self.namespace, "stored release {error}"),
            }
        }
        Ok(History::new(versions))
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
        let stamp = ("createdAt", self.clock.now().as_second());
        let object = release::to_object(stored, Driver::Secret, self.namespace, stamp)
            .map_err(|error| format!("create: failed to encode release \"{}\": {error}", stored.name))?;
        let name = release::storage_name(self.release, stored.version);
        self.metrics.wrote("release");
        let how = Create {
            manager: MANAGER,
            dry_run: false,
        };
        self.cluster
            .create(self.target(&secrets(), &name), &object, how)
            .await
            .map_err(|error| match error.kind {
                ErrorKind::AlreadyExists => format!(
                    "release: already exists: version {} was stored by somebody else meanwhile",
                    stored.version
                ),
                _ => format!("create: failed to create: {error}"),
            })?;
        history.put(stored.clone());
        Ok(())
    }

    /// Changes a stored version.
    pub(crate) async fn update(&self, history: &mut History, stored: &Stored) -> Result<(), String> {
        let stamp = ("modifiedAt", self.clock.now().as_second());
        let object = release::to_object(stored, Driver::Secret, self.namespace, stamp)
            .map_err(|error| format!("update: failed to encode release \"{}\": {error}", stored.name))?;
        let body = json!({
            "metadata": {"labels": object["metadata"]["labels"]},
            "data": object["data"],
        });
        self.metrics.wrote("release");
        let name = release::storage_name(self.release, stored.version);
        let patch = Patch {
            kind: PatchKind::Merge,
            subresource: None,
            manager: MANAGER,
            body: &body,
            dry_run: false,
        };
        self.cluster
            .patch(self.target(&secrets(), &name), patch)
            .await
            .map_err(|error| format!("update: failed to update: {error}"))?;
        history.put(stored.clone());
        Ok(())
    }

    /// Forgets a version.
    pub(crate) async fn forget(&self, version: i64) -> Result<(), String> {
        let name = release::storage_name(self.release, version);
        self.metrics.wrote("release");
        self.cluster
            .delete(self.target(&secrets(), &name), Delete::default())
            .await
            .map(|_was_there| ())
            .map_err(|error: ClusterError| format!("delete: failed to delete release {name}: {error}"))
    }

    fn target<'t>(&'t self, resource: &'t Resource, name: &'t str) -> Target<'t> {
        Target {
            resource,
            namespace: self.namespace,
            name,
        }
    }
}
