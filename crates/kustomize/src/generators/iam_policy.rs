//! `IAMPolicyGenerator`: a service account that stands for one of the cloud.

use fluvial_yaml::{Entry, Node};

use crate::error::Result;
use crate::kustomization::read::Reader;
use crate::nodes::{self, string};

/// Makes the service account.
pub(crate) fn generate(reader: &Reader<'_>) -> Result<Node> {
    let cloud = reader.string("cloud")?;
    if cloud != "gke" {
        return Err(reader.error(format!("cloud provider {cloud} not supported yet")));
    }
    let part = |object: &str, field: &str| match reader.object(object)? {
        Some(inner) => inner.string(field),
        None => Ok(String::new()),
    };
    let mut node = super::named_object("v1", "ServiceAccount", &part("kubernetesService", "name")?);
    let account = format!(
        "{}@{}.iam.gserviceaccount.com",
        part("serviceAccount", "name")?,
        part("serviceAccount", "projectId")?
    );
    let mut annotations = Node::mapping(Vec::new());
    nodes::put(
        &mut annotations,
        "iam.gke.io/gcp-service-account",
        string(&account).to_node(),
    );
    let namespace = part("kubernetesService", "namespace")?;
    if let Some(metadata) = node.get_mut("metadata") {
        if let Some(entries) = metadata.entries_mut() {
            entries.insert(
                0,
                Entry {
                    key: Node::plain("annotations"),
                    value: annotations,
                },
            );
        }
        if !namespace.is_empty() {
            nodes::put(metadata, "namespace", string(&namespace).to_node());
        }
    }
    Ok(node)
}
