//! The served built-in resources, as discovery lists them.

use std::sync::LazyLock;

use serde::Deserialize;

static RESOURCES: LazyLock<Vec<Resource>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../data/resources.json")).expect("the checked-in file is well-formed")
});

/// One served resource.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind of an object.
    pub kind: String,
    /// Name in paths.
    pub plural: String,
    /// Name of one.
    pub singular: String,
    /// Short names for command lines.
    pub short_names: Vec<String>,
    /// Groups of resources it belongs to, such as `all`.
    pub categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Verbs.
    pub verbs: Vec<String>,
    /// Subresources.
    pub subresources: Vec<Subresource>,
}

/// One served subresource.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subresource {
    /// Name in paths.
    pub name: String,
    /// Kind of its bodies.
    pub kind: String,
    /// Group of its bodies, if not the resource's.
    #[serde(default)]
    pub response_group: Option<String>,
    /// Version of its bodies, if not the resource's.
    #[serde(default)]
    pub response_version: Option<String>,
    /// Verbs.
    pub verbs: Vec<String>,
}

pub(crate) fn all() -> &'static [Resource] {
    &RESOURCES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_readable_and_has_scale_subresources() {
        let deployments = all()
            .iter()
            .find(|resource| resource.plural == "deployments")
            .expect("served");
        assert_eq!(deployments.short_names, ["deploy"]);
        let scale = deployments
            .subresources
            .iter()
            .find(|sub| sub.name == "scale")
            .expect("served");
        assert_eq!(
            (scale.kind.as_str(), scale.response_group.as_deref()),
            ("Scale", Some("autoscaling"))
        );
    }
}
