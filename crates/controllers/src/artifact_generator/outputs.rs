//! The ExternalArtifacts that a generator makes, as objects of the cluster.

use std::collections::BTreeMap;

use fluvial_api::{ArtifactGenerator, ExternalArtifact, Metadata, Resource as _, meta};
use fluvial_ports::{self as ports, Apply, Delete, Patch, PatchKind, Resource, Target};
use serde_json::{Value, json};

use crate::condition::{Conditions, SUCCEEDED};
use crate::context::Context;
use crate::source::step::{Failure, described};
use crate::writer::resource_of;
use crate::{Key, SourceId};

/// Field manager of what is written.
const MANAGER: &str = "source-watcher";

/// What is to be written.
pub(super) struct Output<'a> {
    pub(super) name: &'a str,
    pub(super) artifact: &'a ports::Artifact,
    pub(super) metadata: BTreeMap<String, String>,
    /// Labels from the path pattern.
    pub(super) labels: BTreeMap<String, String>,
}

/// The kind.
pub(super) fn resource() -> Resource {
    resource_of::<ExternalArtifact>()
}

/// The id of an ExternalArtifact among all sources.
pub(super) fn source(namespace: &str, name: &str) -> SourceId {
    SourceId {
        kind: ExternalArtifact::KIND.into(),
        key: Key::new(namespace, name),
    }
}

fn failed(name: &str, what: &str, error: &ports::ClusterError) -> Failure {
    Failure::fetch(
        "ReconciliationFailed",
        format!("ExternalArtifact '{name}' cannot be {what}: {error}"),
    )
}

/// Writes the object and its status; nothing that is there already.
pub(super) async fn write(
    context: &Context,
    generator: &ArtifactGenerator,
    output: &Output<'_>,
) -> Result<(), Failure> {
    let resource = resource();
    let owner = &generator.metadata;
    let target = Target {
        resource: &resource,
        namespace: &owner.namespace,
        name: output.name,
    };
    let found = context.cluster.get(target).await;
    let found = found.map_err(|error| failed(output.name, "read", &error))?;
    let wanted = object(generator, output);
    let current = match found {
        Some(current) if holds(&current, &wanted) => current,
        _ => {
            let how = Apply {
                manager: MANAGER,
                force: true,
                dry_run: false,
            };
            context.metrics.wrote("object");
            let applied = context.cluster.apply(target, &wanted, how).await;
            applied.map_err(|error| failed(output.name, "written", &error))?
        }
    };
    let Ok(current) = ExternalArtifact::from_value(&current) else {
        return Err(Failure::fetch(
            "ReconciliationFailed",
            format!("ExternalArtifact '{}' cannot be understood", output.name),
        ));
    };
    let now = context.clock.now();
    let mut status = current.status.clone();
    let known = status.artifact.clone();
    status.artifact = Some(described(
        output.artifact,
        output.metadata.clone(),
        known.as_ref(),
        now,
    ));
    Conditions::of(&mut status.conditions, current.metadata.generation, now)
        .ready(SUCCEEDED, "Artifact is ready");
    let Some(body) = crate::status::patch(&current.status, &status) else {
        return Ok(());
    };
    context.metrics.wrote("status");
    let patch = Patch {
        kind: PatchKind::Merge,
        subresource: Some("status"),
        manager: MANAGER,
        body: &body,
        dry_run: false,
    };
    let patched = context.cluster.patch(target, patch).await;
    patched
        .map(|_| ())
        .map_err(|error| failed(output.name, "written", &error))
}

fn object(generator: &ArtifactGenerator, output: &Output<'_>) -> Value {
    let owner: &Metadata = &generator.metadata;
    let common: meta::CommonMetadata = generator.spec.common_metadata.clone().unwrap_or_default();
    let mut labels = common.labels;
    labels.extend(output.labels.clone());
    labels.insert("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned());
    labels.insert(
        "source.extensions.fluxcd.io/generator".to_owned(),
        owner.uid.clone(),
    );
    let mut metadata = json!({"name": output.name, "namespace": owner.namespace, "labels": labels});
    if !common.annotations.is_empty() {
        metadata["annotations"] = json!(common.annotations);
    }
    json!({
        "apiVersion": ExternalArtifact::api_version(),
        "kind": ExternalArtifact::KIND,
        "metadata": metadata,
        "spec": {"sourceRef": {
            "apiVersion": ArtifactGenerator::api_version(),
            "kind": ArtifactGenerator::KIND,
            "name": owner.name,
            "namespace": owner.namespace,
        }},
    })
}

/// Whether an object says everything that is wanted of it.
fn holds(current: &Value, wanted: &Value) -> bool {
    match (current, wanted) {
        (Value::Object(current), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| current.get(key).is_some_and(|current| holds(current, wanted))),
        (current, wanted) => current == wanted,
    }
}

/// Removes an object and its artifacts.
pub(super) async fn remove(context: &Context, namespace: &str, name: &str) -> Result<(), Failure> {
    let resource = resource();
    let target = Target {
        resource: &resource,
        namespace,
        name,
    };
    let deleted = context.cluster.delete(target, Delete::default()).await;
    deleted.map_err(|error| failed(name, "deleted", &error))?;
    context.revisions.remove(&source(namespace, name));
    let removed = context
        .artifacts
        .remove(ExternalArtifact::KIND, namespace, name)
        .await;
    if let Err(error) = removed {
        tracing::warn!(%namespace, %name, %error, "the artifacts of a deleted ExternalArtifact could not be removed");
    }
    Ok(())
}
