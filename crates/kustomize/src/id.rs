//! Identity of resources: group, version, kind, name, namespace, and when two are the same.

use std::fmt;

/// Stands for the namespace of cluster-scoped resources.
pub(crate) const NO_NAMESPACE: &str = "_non_namespaceable_";

/// The namespace that an empty one means.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// Group, version and kind; as a selector, an empty part matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gvk {
    /// API group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
}

/// Splits `group/version`; without a slash it is a version of the core group.
#[must_use]
pub(crate) fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.rsplit_once('/').unwrap_or(("", api_version))
}

impl Gvk {
    /// From `apiVersion` and `kind`.
    #[must_use]
    pub fn new(api_version: &str, kind: &str) -> Self {
        let (group, version) = split_api_version(api_version);
        Gvk {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
        }
    }

    /// `group/version`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether a selector's non-empty parts equal this one's.
    #[must_use]
    pub fn is_selected_by(&self, selector: &Gvk) -> bool {
        (selector.group.is_empty() || selector.group == self.group)
            && (selector.version.is_empty() || selector.version == self.version)
            && (selector.kind.is_empty() || selector.kind == self.kind)
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: &str, other: &str| {
            if text.is_empty() {
                other.to_owned()
            } else {
                text.to_owned()
            }
        };
        write!(
            f,
            "{}.{}.{}",
            or(&self.kind, "[noKind]"),
            or(&self.version, "[noVer]"),
            or(&self.group, "[noGrp]")
        )
    }
}

/// A resource's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ResId {
    /// Group, version and kind.
    pub gvk: Gvk,
    /// Name.
    pub name: String,
    /// Namespace as written; see [`ResId::effective_namespace`].
    pub namespace: String,
    /// Whether the kind has no namespace.
    pub cluster_scoped: bool,
}

impl ResId {
    /// The namespace that counts: `default` for an empty one, a marker for cluster-scoped kinds.
    #[must_use]
    pub fn effective_namespace(&self) -> &str {
        effective_namespace(&self.namespace, self.cluster_scoped)
    }

    /// The same resource: equal group, version, kind, name and effective namespace.
    #[must_use]
    pub fn same(&self, other: &ResId) -> bool {
        self.name == other.name
            && self.gvk == other.gvk
            && self.effective_namespace() == other.effective_namespace()
    }

    /// What [`ResId::same`] compares, for maps.
    #[must_use]
    pub(crate) fn key(&self) -> IdKey {
        IdKey {
            gvk: self.gvk.clone(),
            name: self.name.clone(),
            namespace: self.effective_namespace().to_owned(),
        }
    }
}

/// An identity that a resource has or had, to look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdRef<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
    /// The namespace that counts.
    pub(crate) namespace: &'a str,
}

impl IdRef<'_> {
    /// Whether a selector's non-empty parts equal this one's.
    pub(crate) fn is_selected_by(&self, selector: &Gvk) -> bool {
        let fits = |wanted: &str, own: &str| wanted.is_empty() || wanted == own;
        fits(&selector.group, self.group)
            && fits(&selector.version, self.version)
            && fits(&selector.kind, self.kind)
    }
}

/// The namespace that counts.
pub(crate) fn effective_namespace(namespace: &str, cluster_scoped: bool) -> &str {
    if cluster_scoped {
        NO_NAMESPACE
    } else if namespace.is_empty() {
        DEFAULT_NAMESPACE
    } else {
        namespace
    }
}

/// An object's identity, to be named in a message.
pub(crate) fn id_of(object: &fluvial_yaml::Node) -> ResId {
    let text = |path: &[&str]| crate::nodes::text_at(object, path);
    ResId {
        gvk: Gvk::new(text(&["apiVersion"]), text(&["kind"])),
        name: text(&["metadata", "name"]).to_owned(),
        namespace: text(&["metadata", "namespace"]).to_owned(),
        cluster_scoped: false,
    }
}

/// A key of maps from resource identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IdKey {
    gvk: Gvk,
    name: String,
    namespace: String,
}

impl fmt::Display for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.gvk, self.name, self.namespace)
    }
}

impl fmt::Display for ResId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: &str, other: &str| {
            if text.is_empty() {
                other.to_owned()
            } else {
                text.to_owned()
            }
        };
        write!(
            f,
            "{}/{}.{}",
            self.gvk,
            or(&self.name, "[noName]"),
            or(&self.namespace, "[noNs]")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_namespace_is_the_default_one() {
        let named = |namespace: &str| ResId {
            gvk: Gvk::new("v1", "ConfigMap"),
            name: "a".to_owned(),
            namespace: namespace.to_owned(),
            cluster_scoped: false,
        };
        assert!(named("").same(&named("default")));
        assert!(!named("").same(&named("x")));
        assert_eq!(named("x").to_string(), "ConfigMap.v1.[noGrp]/a.x");
    }

    #[test]
    fn empty_parts_of_a_selector_match_everything() {
        let deployment = Gvk::new("apps/v1", "Deployment");
        assert!(deployment.is_selected_by(&Gvk::default()));
        assert!(deployment.is_selected_by(&Gvk {
            kind: "Deployment".to_owned(),
            ..Gvk::default()
        }));
        assert!(!deployment.is_selected_by(&Gvk::new("batch/v1", "Deployment")));
    }
}
