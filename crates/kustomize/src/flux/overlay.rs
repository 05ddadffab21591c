//! The fields of a Flux Kustomization that end up in the kustomization file.

use fluvial_yaml::{Entry, Node};
use serde_json::Value;

use crate::error::{Error, Result};

/// What a Flux Kustomization adds to the kustomization file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FluxOverlay {
    /// `spec.targetNamespace`
    pub target_namespace: Option<String>,
    /// `spec.namePrefix`
    pub name_prefix: Option<String>,
    /// `spec.nameSuffix`
    pub name_suffix: Option<String>,
    /// `spec.patches`
    pub patches: Vec<OverlayPatch>,
    /// `spec.components`
    pub components: Vec<String>,
    /// `spec.ignoreMissingComponents`
    pub ignore_missing_components: bool,
    /// `spec.patchesStrategicMerge` of old versions, each as JSON or YAML text.
    pub patches_strategic_merge: Vec<String>,
    /// `spec.patchesJson6902` of old versions.
    pub patches_json6902: Vec<OverlayPatch>,
    /// `spec.images`
    pub images: Vec<OverlayImage>,
    /// `spec.buildMetadata`
    pub build_metadata: Vec<String>,
}

/// An entry of `spec.patches`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverlayPatch {
    /// Strategic merge patch or JSON patch, as text.
    pub patch: String,
    /// A kustomize selector: strings `group`, `version`, `kind`, `name`, `namespace`,
    /// `labelSelector`, `annotationSelector`.
    pub target: Option<Value>,
}

/// An entry of `spec.images`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverlayImage {
    /// Name as it stands in the manifests.
    pub name: String,
    /// New name; empty: as it is.
    pub new_name: String,
    /// New tag; empty: none.
    pub new_tag: String,
    /// New digest; empty: none.
    pub digest: String,
}

const SELECTOR: [&str; 7] = [
    "group",
    "version",
    "kind",
    "name",
    "namespace",
    "labelSelector",
    "annotationSelector",
];

impl FluxOverlay {
    /// Reads the `spec` of a Kustomization object.
    ///
    /// # Errors
    /// If a field has another type than it should.
    pub fn from_spec(spec: &Value) -> Result<Self> {
        let at = |field: &str| spec.get(field).filter(|value| !value.is_null());
        let string = |field: &str| -> Result<Option<String>> {
            at(field)
                .map(|value| text(value, &format!("spec.{field}")))
                .transpose()
        };
        Ok(FluxOverlay {
            target_namespace: string("targetNamespace")?,
            name_prefix: string("namePrefix")?,
            name_suffix: string("nameSuffix")?,
            patches: list(at("patches"), "spec.patches", patch)?,
            components: list(at("components"), "spec.components", text)?,
            ignore_missing_components: at("ignoreMissingComponents") == Some(&Value::Bool(true)),
            patches_strategic_merge: list(
                at("patchesStrategicMerge"),
                "spec.patchesStrategicMerge",
                |value, _| Ok(value.to_string()),
            )?,
            patches_json6902: list(at("patchesJson6902"), "spec.patchesJson6902", |value, place| {
                Ok(OverlayPatch {
                    patch: value.get("patch").unwrap_or(&Value::Null).to_string(),
                    target: selector(value.get("target"), place)?,
                })
            })?,
            images: list(at("images"), "spec.images", image)?,
            build_metadata: list(at("buildMetadata"), "spec.buildMetadata", text)?,
        })
    }
}

fn list<T>(value: Option<&Value>, place: &str, read: impl Fn(&Value, &str) -> Result<T>) -> Result<Vec<T>> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let items = value
        .as_array()
        .ok_or_else(|| Error::new(format!("{place} must be a list")))?;
    items
        .iter()
        .enumerate()
        .map(|(index, item)| read(item, &format!("{place}[{index}]")))
        .collect()
}

fn text(value: &Value, place: &str) -> Result<String> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::new(format!("{place} must be a string")))
}

fn field(value: &Value, name: &str, place: &str) -> Result<String> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(found) => text(found, &format!("{place}.{name}")),
    }
}

fn selector(value: Option<&Value>, place: &str) -> Result<Option<Value>> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let mut target = serde_json::Map::new();
    for name in SELECTOR {
        let found = field(value, name, &format!("{place}.target"))?;
        if !found.is_empty() {
            target.insert(name.to_owned(), found.into());
        }
    }
    Ok(Some(Value::Object(target)))
}

fn patch(value: &Value, place: &str) -> Result<OverlayPatch> {
    Ok(OverlayPatch {
        patch: field(value, "patch", place)?,
        target: selector(value.get("target"), place)?,
    })
}

fn image(value: &Value, place: &str) -> Result<OverlayImage> {
    Ok(OverlayImage {
        name: field(value, "name", place)?,
        new_name: field(value, "newName", place)?,
        new_tag: field(value, "newTag", place)?,
        digest: field(value, "digest", place)?,
    })
}

impl OverlayPatch {
    /// The entry as it stands in a kustomization file.
    pub(super) fn to_node(&self) -> Node {
        let mut entries = vec![Entry {
            key: Node::plain("patch"),
            value: super::multi_line(&self.patch),
        }];
        if let Some(target) = &self.target {
            entries.push(Entry {
                key: Node::plain("target"),
                value: Node::from_json(target),
            });
        }
        Node::mapping(entries)
    }
}
