//! The schema that strategic merges and scopes follow: the built-in one, or a kustomization's own.

use fluvial_yaml::Node;

use crate::error::Result;
use crate::nodes;
use crate::session::Session;

/// A kustomization's own schema (`openapi.path`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    keep_built_in: bool,
}

impl Schema {
    /// Reads an OpenAPI document.
    pub(crate) fn parse(_text: &str, keep_built_in: bool) -> Result<Self> {
        Ok(Schema { keep_built_in })
    }

    /// Whether objects of this kind have no namespace.
    pub(crate) fn is_cluster_scoped(&self, api_version: &str, kind: &str) -> bool {
        self.keep_built_in && built_in_is_cluster_scoped(api_version, kind)
    }
}

/// Whether the built-in schema says that objects of this kind have no namespace.
pub(crate) fn built_in_is_cluster_scoped(api_version: &str, kind: &str) -> bool {
    CLUSTER_SCOPED
        .iter()
        .any(|(known, versions)| *known == kind && versions.contains(&api_version))
}

/// Kinds without namespace, with their API versions.
const CLUSTER_SCOPED: &[(&str, &[&str])] = &[
    (
        "APIService",
        &["apiregistration.k8s.io/v1", "apiregistration.k8s.io/v1beta1"],
    ),
    ("CSIDriver", &["storage.k8s.io/v1", "storage.k8s.io/v1beta1"]),
    ("CSINode", &["storage.k8s.io/v1", "storage.k8s.io/v1beta1"]),
    (
        "CertificateSigningRequest",
        &["certificates.k8s.io/v1", "certificates.k8s.io/v1beta1"],
    ),
    (
        "ClusterRole",
        &[
            "rbac.authorization.k8s.io/v1",
            "rbac.authorization.k8s.io/v1beta1",
        ],
    ),
    (
        "ClusterRoleBinding",
        &[
            "rbac.authorization.k8s.io/v1",
            "rbac.authorization.k8s.io/v1beta1",
        ],
    ),
    ("ComponentStatus", &["v1"]),
    (
        "CustomResourceDefinition",
        &["apiextensions.k8s.io/v1", "apiextensions.k8s.io/v1beta1"],
    ),
    ("FlowSchema", &["flowcontrol.apiserver.k8s.io/v1beta1"]),
    (
        "IngressClass",
        &["networking.k8s.io/v1", "networking.k8s.io/v1beta1"],
    ),
    (
        "MutatingWebhookConfiguration",
        &[
            "admissionregistration.k8s.io/v1",
            "admissionregistration.k8s.io/v1beta1",
        ],
    ),
    ("Namespace", &["v1"]),
    ("Node", &["v1"]),
    ("PersistentVolume", &["v1"]),
    ("PodSecurityPolicy", &["policy/v1beta1"]),
    (
        "PriorityClass",
        &["scheduling.k8s.io/v1", "scheduling.k8s.io/v1beta1"],
    ),
    (
        "PriorityLevelConfiguration",
        &["flowcontrol.apiserver.k8s.io/v1beta1"],
    ),
    ("RuntimeClass", &["node.k8s.io/v1", "node.k8s.io/v1beta1"]),
    ("StorageClass", &["storage.k8s.io/v1", "storage.k8s.io/v1beta1"]),
    (
        "ValidatingWebhookConfiguration",
        &[
            "admissionregistration.k8s.io/v1",
            "admissionregistration.k8s.io/v1beta1",
        ],
    ),
    (
        "VolumeAttachment",
        &["storage.k8s.io/v1", "storage.k8s.io/v1beta1"],
    ),
];

/// Merges a patch into an object; nothing is left if the patch deletes it.
pub(crate) fn strategic_merge(_session: &Session<'_>, patch: &Node, object: Node) -> Result<Option<Node>> {
    let mut object = object;
    merge_mapping(&mut object, patch);
    Ok(Some(object))
}

fn merge_mapping(object: &mut Node, patch: &Node) {
    for entry in patch.entries().unwrap_or_default() {
        let key = entry.key.as_text().unwrap_or_default();
        if nodes::is_null(&entry.value) {
            nodes::remove(object, key);
            continue;
        }
        match object.get_mut(key) {
            Some(known) if known.entries().is_some() && entry.value.entries().is_some() => {
                merge_mapping(known, &entry.value);
            }
            _ => nodes::put(object, key, entry.value.clone()),
        }
    }
}
