//! Parts that many kinds share.

use std::collections::BTreeMap;

use serde_json::Value;

/// Text to text, sorted.
pub type Strings = BTreeMap<String, String>;

/// Whether an optional field says nothing and is left out of the output.
pub trait Blank {
    /// True if it says nothing.
    fn blank(&self) -> bool;
}

impl<T> Blank for Option<T> {
    fn blank(&self) -> bool {
        self.is_none()
    }
}

impl<T> Blank for Vec<T> {
    fn blank(&self) -> bool {
        self.is_empty()
    }
}

impl<K, V> Blank for BTreeMap<K, V> {
    fn blank(&self) -> bool {
        self.is_empty()
    }
}

impl Blank for String {
    fn blank(&self) -> bool {
        self.is_empty()
    }
}

impl Blank for bool {
    fn blank(&self) -> bool {
        !self
    }
}

impl Blank for i64 {
    fn blank(&self) -> bool {
        *self == 0
    }
}

record! {
    /// Names, labels and the server's own fields of an object.
    Metadata {
        optional {
            /// Name.
            name: String,
            /// Namespace; empty for cluster-wide kinds.
            namespace: String,
            /// Unique id.
            uid: String,
            /// Version of the stored object.
            resource_version: String,
            /// Counts changes of the spec.
            generation: i64,
            /// Labels.
            labels: Strings,
            /// Annotations.
            annotations: Strings,
            /// Finalizers still to be run.
            finalizers: Vec<String>,
            /// When it was created (RFC 3339).
            creation_timestamp: Option<String>,
            /// When its deletion was asked for (RFC 3339).
            deletion_timestamp: Option<String>,
        }
    }
}

impl Metadata {
    /// Metadata with a name and a namespace.
    #[must_use]
    pub fn named(namespace: &str, name: &str) -> Self {
        Metadata {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            ..Metadata::default()
        }
    }

    /// An annotation's value.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// The token of the last request to reconcile, if there was one.
    #[must_use]
    pub fn requested_at(&self) -> Option<&str> {
        self.annotation(crate::keys::REQUESTED_AT)
    }

    /// Whether deletion was asked for.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }
}

record! {
    /// One condition of a status.
    Condition {
        required {
            /// `Ready`, `Reconciling`, `Stalled`, …
            r#type: String,
            /// `True`, `False` or `Unknown`.
            status: String,
            /// One word in CamelCase.
            reason: String,
            /// For people.
            message: String,
            /// When the status changed last (RFC 3339).
            last_transition_time: String,
        }
        optional {
            /// The generation that it speaks of.
            observed_generation: i64,
        }
    }
}

record! {
    /// A reference to an object of a known kind in the same namespace.
    LocalReference {
        required {
            /// Name.
            name: String,
        }
    }
}

record! {
    /// A reference to one key of a Secret.
    SecretKeyReference {
        required {
            /// Name of the Secret.
            name: String,
        }
        optional {
            /// Key in it.
            key: Option<String>,
        }
    }
}

record! {
    /// A reference to an object of a known kind, possibly in another namespace.
    NamespacedReference {
        required {
            /// Name.
            name: String,
        }
        optional {
            /// Namespace; the referrer's if absent.
            namespace: Option<String>,
        }
    }
}

record! {
    /// A reference to a source.
    SourceReference {
        required {
            /// Kind of the source.
            kind: String,
            /// Name.
            name: String,
        }
        optional {
            /// API version, for people.
            api_version: Option<String>,
            /// Namespace; the referrer's if absent.
            namespace: Option<String>,
        }
    }
}

words! {
    /// Kinds that can depend on one another.
    DependencyKind {
        /// What a revision holds.
        Kustomization = "Kustomization",
        /// A chart with values.
        HelmRelease = "HelmRelease",
    }
}

record! {
    /// Something that must be ready first.
    Dependency {
        required {
            /// Name.
            name: String,
        }
        optional {
            /// Kind, the dependant's if absent: an extension of Fluvial's own.
            kind: Option<DependencyKind>,
            /// Namespace; the dependant's if absent.
            namespace: Option<String>,
            /// CEL over `self` and `dep` that says when it is ready.
            ready_expr: Option<String>,
        }
    }
}

record! {
    /// The key of an object whose health is waited for.
    HealthCheck {
        required {
            /// Kind.
            kind: String,
            /// Name.
            name: String,
        }
        optional {
            /// API version; `apps/v1` if absent.
            api_version: Option<String>,
            /// Namespace.
            namespace: Option<String>,
        }
    }
}

record! {
    /// How the health of a custom kind is told from its fields.
    HealthCheckExpr {
        required {
            /// API version of the kind.
            api_version: String,
            /// True when healthy.
            current: String,
        }
        optional {
            /// Kind; every kind of the group if absent.
            kind: Option<String>,
            /// True while it is getting there.
            in_progress: Option<String>,
            /// True when it failed.
            failed: Option<String>,
        }
    }
}

record! {
    /// Labels and annotations for everything that is applied.
    CommonMetadata {
        optional {
            /// Labels.
            labels: Strings,
            /// Annotations.
            annotations: Strings,
        }
    }
}

record! {
    /// Which objects are meant; all patterns are anchored regular expressions, or selectors.
    Selector {
        optional {
            /// API group.
            group: String,
            /// Version.
            version: String,
            /// Kind.
            kind: String,
            /// Name.
            name: String,
            /// Namespace.
            namespace: String,
            /// Selector over labels.
            label_selector: String,
            /// Selector over annotations.
            annotation_selector: String,
        }
    }
}

record! {
    /// A patch of kustomize.
    Patch {
        required {
            /// Strategic merge patch or JSON patch, as YAML.
            patch: String,
        }
        optional {
            /// What it applies to.
            target: Option<Selector>,
        }
    }
}

record! {
    /// A replacement of an image's name, tag or digest.
    Image {
        required {
            /// Name as it stands in the manifests.
            name: String,
        }
        optional {
            /// New name.
            new_name: String,
            /// New tag.
            new_tag: String,
            /// New digest.
            digest: String,
        }
    }
}

record! {
    /// Fields that drift detection leaves alone.
    IgnoreRule {
        required {
            /// JSON pointers.
            paths: Vec<String>,
        }
        optional {
            /// Objects it holds for; all if absent.
            target: Option<Selector>,
        }
    }
}

record! {
    /// How a remote cluster is reached.
    KubeConfig {
        optional {
            /// A Secret with a kubeconfig.
            secret_ref: Option<SecretKeyReference>,
            /// A ConfigMap that says how to sign in.
            config_map_ref: Option<LocalReference>,
        }
    }
}

record! {
    /// A stored artifact of a source.
    Artifact {
        required {
            /// Digest of the file, with its algorithm.
            digest: String,
            /// When it was stored (RFC 3339).
            last_update_time: String,
            /// Path in the storage.
            path: String,
            /// Revision that people can trace.
            revision: String,
            /// Where it can be fetched.
            url: String,
        }
        optional {
            /// Bytes.
            size: Option<i64>,
            /// Metadata of the upstream.
            metadata: Strings,
        }
    }
}

record! {
    /// What was applied: ids of objects.
    Inventory {
        required {
            /// One entry an object.
            entries: Vec<InventoryEntry>,
        }
    }
}

record! {
    /// An applied object.
    InventoryEntry {
        required {
            /// `<namespace>_<name>_<group>_<kind>`.
            id: String,
            /// API version without the group.
            v: String,
        }
    }
}

record! {
    /// A label selector.
    LabelSelector {
        optional {
            /// Labels that must be equal.
            match_labels: Strings,
            /// Requirements that must all hold.
            match_expressions: Vec<Value>,
        }
    }
}

record! {
    /// Who else may refer to an object.
    AccessFrom {
        required {
            /// Namespaces by their labels.
            namespace_selectors: Vec<NamespaceSelector>,
        }
    }
}

record! {
    /// Namespaces by their labels.
    NamespaceSelector {
        optional {
            /// Labels that must be equal.
            match_labels: Strings,
        }
    }
}
