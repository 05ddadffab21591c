//! `IAMPolicyGenerator`: a service account that stands for one of the cloud.

use fluvial_yaml::{FileId, Limits, Node, ReadOptions};

use crate::error::{Error, Result};
use crate::kustomization::read::Reader;

/// Makes the service account. Names go into a text that is read as YAML, as in the reference: one that means something
/// there is no longer a name.
pub(crate) fn generate(reader: &Reader<'_>) -> Result<Node> {
    let cloud = reader.string("cloud")?;
    if cloud != "gke" {
        return Err(reader.error(format!("cloud provider {cloud} not supported yet")));
    }
    let part = |object: &str, field: &str| match reader.object(object)? {
        Some(inner) => inner.strict().string(field),
        None => Ok(String::new()),
    };
    let mut text = format!(
        "
apiVersion: v1
kind: ServiceAccount
metadata:
  annotations:
    iam.gke.io/gcp-service-account: {}@{}.iam.gserviceaccount.com
  name: {}
",
        part("serviceAccount", "name")?,
        part("serviceAccount", "projectId")?,
        part("kubernetesService", "name")?
    );
    let namespace = part("kubernetesService", "namespace")?;
    if !namespace.is_empty() {
        text.push_str(&format!("\n  namespace: {namespace}"));
    }
    let options = ReadOptions {
        file: FileId::NONE,
        limits: Limits::default(),
    };
    let malformed =
        |error: fluvial_yaml::Error| reader.error(format!("the names make no YAML: {}", error.message));
    let node = fluvial_yaml::parse_values(&text, &options).map_err(malformed)?;
    node.ok_or_else(|| Error::new("the names make no YAML"))
}
