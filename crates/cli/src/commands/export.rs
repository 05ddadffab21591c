//! `export`: objects as manifests, without what the cluster added.

use fluvial_api::Resource as Typed;
use fluvial_ports::{Cluster, Select, Target};
use serde_json::{Map, Value, json};

use super::not_found;
use crate::environment::{Failure, Outcome, Session};
use crate::nouns::Noun;
use crate::state::{self, field, text};

/// Options of `export`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// All objects of the kind in the namespace.
    #[arg(long, global = true)]
    pub all: bool,
    /// With the Secret that a source names (sources).
    #[arg(long, global = true)]
    pub with_credentials: bool,
}

/// Exports one object, or all.
pub(crate) async fn run(
    session: &mut Session<'_>,
    noun: &'static Noun,
    name: Option<&str>,
    options: &Options,
) -> Outcome {
    let namespace = session.global.namespace.clone();
    let resource = noun.resource();
    let found = if options.all {
        let select = Select {
            namespace: Some(namespace.clone()),
            ..Select::default()
        };
        let cluster = session.cluster().await?;
        let mut found = cluster.list(&resource, &select).await?;
        if found.is_empty() {
            return Err(Failure::new(format!("no objects found in {namespace} namespace")));
        }
        found.sort_by(|a, b| state::name(a).cmp(state::name(b)));
        found
    } else {
        let name = name.ok_or_else(|| Failure::new("name is required"))?;
        let cluster = session.cluster().await?;
        let target = Target {
            resource: &resource,
            namespace: &namespace,
            name,
        };
        vec![cluster.get(target).await?.ok_or_else(|| not_found(noun, name))?]
    };
    for object in &found {
        print(session, &manifest(object))?;
        if options.with_credentials
            && noun.group == "source"
            && let Some(name) = text(object, &["spec", "secretRef", "name"])
        {
            let cluster = session.cluster().await?;
            let secret = secret(cluster.as_ref(), &namespace, name).await?;
            print(session, &secret)?;
        }
    }
    Ok(())
}

fn print(session: &mut Session<'_>, value: &Value) -> Outcome {
    session.print(&format!("---\n{}", fluvial_yaml::json_to_yaml(value)))
}

async fn secret(cluster: &dyn Cluster, namespace: &str, name: &str) -> Result<Value, Failure> {
    let resource = cluster.resource("v1", "Secret").await?;
    let target = Target {
        resource: &resource,
        namespace,
        name,
    };
    let found = cluster.get(target).await?;
    let found = found.ok_or_else(|| Failure::new(format!("secrets {name:?} not found")))?;
    let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": identity(&found)});
    for part in ["data", "type"] {
        if let Some(value) = found.get(part) {
            secret[part] = value.clone();
        }
    }
    Ok(secret)
}

/// Name, namespace, labels and annotations.
fn identity(object: &Value) -> Value {
    let mut kept = Map::new();
    for name in ["name", "namespace", "labels", "annotations"] {
        if let Some(value) = field(object, &["metadata", name]).filter(|value| !is_empty(value)) {
            kept.insert(name.to_owned(), value.clone());
        }
    }
    Value::Object(kept)
}

/// An object as it would be written by hand.
pub(crate) fn manifest(object: &Value) -> Value {
    json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"],
        "metadata": identity(object), "spec": spec(object),
    })
}

/// The spec with durations in their usual form, and without fields that say nothing.
fn spec(object: &Value) -> Value {
    let original = object.get("spec").cloned().unwrap_or_else(|| json!({}));
    let written = typed(object).and_then(|mut typed| typed.get_mut("spec").map(Value::take));
    match written {
        Some(mut written) => {
            complete(&mut written, &original);
            written
        }
        // An object that is not of its kind's form is shown as it is.
        None => original,
    }
}

/// Adds what the typed form leaves out because it is a default, unless it is empty as well.
fn complete(written: &mut Value, original: &Value) {
    match (written, original) {
        (Value::Object(written), Value::Object(original)) => {
            for (name, value) in original {
                match written.get_mut(name) {
                    Some(inner) => complete(inner, value),
                    None if is_empty(value) => {}
                    None => {
                        written.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Array(written), Value::Array(original)) if written.len() == original.len() => {
            for (inner, value) in written.iter_mut().zip(original) {
                complete(inner, value);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// The object read as its kind and written again.
fn typed(object: &Value) -> Option<Value> {
    fn of<T: Typed>(object: &Value) -> Option<Value> {
        T::from_value(object).ok().map(|typed| typed.to_value())
    }
    match state::kind(object) {
        "GitRepository" => of::<fluvial_api::GitRepository>(object),
        "OCIRepository" => of::<fluvial_api::OCIRepository>(object),
        "HelmRepository" => of::<fluvial_api::HelmRepository>(object),
        "HelmChart" => of::<fluvial_api::HelmChart>(object),
        "Bucket" => of::<fluvial_api::Bucket>(object),
        "ExternalArtifact" => of::<fluvial_api::ExternalArtifact>(object),
        "Kustomization" => of::<fluvial_api::Kustomization>(object),
        "HelmRelease" => of::<fluvial_api::HelmRelease>(object),
        "Receiver" => of::<fluvial_api::Receiver>(object),
        "Alert" => of::<fluvial_api::Alert>(object),
        "Provider" => of::<fluvial_api::Provider>(object),
        "ImageRepository" => of::<fluvial_api::ImageRepository>(object),
        "ImagePolicy" => of::<fluvial_api::ImagePolicy>(object),
        "ImageUpdateAutomation" => of::<fluvial_api::ImageUpdateAutomation>(object),
        "ArtifactGenerator" => of::<fluvial_api::ArtifactGenerator>(object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_has_no_trace_of_the_cluster() {
        let object = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "a", "namespace": "ns", "uid": "u", "annotations": {}, "managedFields": [{}]},
            "spec": {"interval": "90s", "prune": false, "force": false, "path": "", "deletionPolicy": "MirrorPrune",
                     "sourceRef": {"kind": "GitRepository", "name": "s"}},
            "status": {"observedGeneration": 1},
        });
        assert_eq!(
            manifest(&object),
            json!({
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
                "metadata": {"name": "a", "namespace": "ns"},
                "spec": {"interval": "1m30s", "prune": false, "deletionPolicy": "MirrorPrune",
                         "sourceRef": {"kind": "GitRepository", "name": "s"}},
            })
        );
    }
}
