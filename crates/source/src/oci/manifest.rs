//! Manifests of images: layers, annotations, and lists of images by platform.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A part of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    pub(crate) platform: Option<Platform>,
    pub(crate) artifact_type: String,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What an image runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Platform {
    pub(crate) os: String,
    pub(crate) architecture: String,
}

/// An image, or a list of images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) manifests: Vec<Descriptor>,
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads a manifest.
    pub(crate) fn parse(data: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(data).map_err(|error| format!("the manifest cannot be read: {error}"))
    }

    /// The image of a list that everybody takes where no platform is asked for.
    pub(crate) fn of_list(&self) -> Option<&Descriptor> {
        if self.manifests.is_empty() {
            return None;
        }
        let usual = |descriptor: &&Descriptor| {
            let platform = descriptor.platform.as_ref();
            platform.is_some_and(|platform| platform.os == "linux" && platform.architecture == "amd64")
        };
        self.manifests
            .iter()
            .find(usual)
            .or_else(|| self.manifests.first())
    }
}
