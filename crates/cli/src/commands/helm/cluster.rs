//! What a cluster says of rendered objects: which it would refuse, and what `lookup` finds.

use std::sync::Arc;

use fluvial_helm::{Lookup, Rendered};
use fluvial_object::ObjectExt;
use fluvial_ports::{Apply, Cluster, ClusterError, ErrorKind, Select, Target};
use serde_json::{Value, json};
use tokio::runtime::Handle;

/// The name under which objects are tried.
const MANAGER: &str = "helm";

/// What is wrong with one object.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// The template.
    pub source: String,
    /// The line of the template's output at which the object begins, from 0.
    pub line: usize,
    /// The object's text.
    pub text: String,
    /// Kind and name.
    pub object: String,
    /// The field, if one is to blame.
    pub field: String,
    /// Why.
    pub reason: String,
    /// Whether the kind is merely unknown.
    pub unknown: bool,
}

/// A rendered object and where it stands.
struct Part<'r> {
    source: &'r str,
    line: usize,
    text: &'r str,
    object: &'r Value,
}

fn parts(rendered: &Rendered) -> impl Iterator<Item = Part<'_>> {
    let manifests = rendered.manifests.iter().map(|manifest| Part {
        source: &manifest.source,
        line: manifest.line,
        text: &manifest.content,
        object: manifest.object(),
    });
    let hooks = rendered.hooks.iter().map(|hook| Part {
        source: &hook.path,
        line: hook.line,
        text: &hook.manifest,
        object: hook.object(),
    });
    manifests.chain(hooks).filter(|part| part.object.is_object())
}

/// Asks a cluster to take every object, without keeping any; tells which it refuses.
pub(crate) async fn refusals(
    cluster: &Arc<dyn Cluster>,
    rendered: &Rendered,
    namespace: &str,
) -> Result<Vec<Refusal>, ClusterError> {
    let mut refused = Vec::new();
    for part in parts(rendered) {
        if let Err(error) = attempt(cluster, part.object, namespace, true).await {
            // Values of a wrong type are an internal error to servers that apply, as real ones say it.
            if error.is_transient() && error.code != 500 {
                return Err(error);
            }
            refused.extend(told(&part, &error));
        }
    }
    Ok(refused)
}

/// One refusal for each field that the server names, or one for all.
fn told(part: &Part<'_>, error: &ClusterError) -> Vec<Refusal> {
    let refusal = |field: &str, reason: &str| Refusal {
        source: part.source.to_owned(),
        line: part.line,
        text: part.text.to_owned(),
        object: format!("{}/{}", part.object.kind(), part.object.name()),
        field: field.to_owned(),
        reason: reason.to_owned(),
        unknown: error.kind == ErrorKind::NoKind,
    };
    if error.causes.is_empty() {
        // `…: .spec.replicas: expected numeric, got string`
        let field = error
            .message
            .split_once(": .")
            .and_then(|(_, rest)| rest.split(':').next());
        return vec![refusal(field.unwrap_or_default(), &error.message)];
    }
    error
        .causes
        .iter()
        .map(|cause| refusal(&cause.field, &cause.message))
        .collect()
}

async fn attempt(
    cluster: &Arc<dyn Cluster>,
    object: &Value,
    namespace: &str,
    dry_run: bool,
) -> Result<(), ClusterError> {
    let resource = cluster.resource(object.api_version(), object.kind()).await?;
    let namespace = match (resource.namespaced, object.namespace()) {
        (false, _) => "",
        (true, "") => namespace,
        (true, own) => own,
    };
    let target = Target {
        resource: &resource,
        namespace,
        name: object.name(),
    };
    let how = Apply {
        manager: MANAGER,
        force: true,
        dry_run,
    };
    cluster.apply(target, object, how).await.map(|_| ())
}

/// Puts into an empty cluster what the objects need to be looked at: namespaces, and the kinds that
/// the release brings along.
pub(crate) async fn prepare(cluster: &Arc<dyn Cluster>, rendered: &Rendered, namespace: &str) {
    let mut namespaces: Vec<&str> = parts(rendered).map(|part| part.object.namespace()).collect();
    namespaces.push(namespace);
    namespaces.sort_unstable();
    namespaces.dedup();
    for name in namespaces.into_iter().filter(|name| !name.is_empty()) {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        // What cannot be put there is found out when the objects are tried.
        let _ = attempt(cluster, &object, "", false).await;
    }
    let crds = rendered.crds.iter().flat_map(|crd| {
        let documents = fluvial_yaml::split_documents(&crd.content()).unwrap_or_default();
        documents
            .iter()
            .filter_map(|document| fluvial_yaml::yaml_to_json(document, false).ok())
            .collect::<Vec<_>>()
    });
    let own = parts(rendered)
        .filter(|part| part.object.kind() == "CustomResourceDefinition")
        .map(|part| part.object.clone());
    for definition in crds.chain(own) {
        let _ = attempt(cluster, &definition, "", false).await;
    }
}

/// `lookup` in a cluster, for templates that run apart from the runtime's own threads.
pub(crate) struct Live {
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// The runtime that talks to it.
    pub runtime: Handle,
}

impl Lookup for Live {
    fn lookup(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<Value, String> {
        self.runtime.block_on(async {
            let resource = match self.cluster.resource(api_version, kind).await {
                Ok(resource) => resource,
                Err(error) if error.kind == ErrorKind::NoKind => return Ok(json!({})),
                Err(error) => return Err(error.message),
            };
            if name.is_empty() {
                let select = Select {
                    namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
                    ..Select::default()
                };
                let items = self.cluster.list(&resource, &select).await;
                let items = items.map_err(|error| error.message)?;
                return Ok(json!({"apiVersion": api_version, "kind": format!("{kind}List"), "items": items}));
            }
            let target = Target {
                resource: &resource,
                namespace: if resource.namespaced { namespace } else { "" },
                name,
            };
            let found = self.cluster.get(target).await.map_err(|error| error.message)?;
            Ok(found.unwrap_or_else(|| json!({})))
        })
    }
}
