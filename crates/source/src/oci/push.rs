//! Artifacts for registries: an image of one layer with Flux's media types, and more tags for what is there.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use fluvial_ports::Access;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::manifest::Manifest;
use super::{OciSource, layer_failed, pull_failed};
use crate::artifact::Packed;
use crate::error::SourceError;

/// What a manifest is.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// What the description of an artifact is.
const CONFIG: &str = "application/vnd.cncf.flux.config.v1+json";
/// What its layer is.
const CONTENT: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";

/// An artifact to be stored.
#[derive(Clone, Debug)]
pub struct NewArtifact {
    /// Its files as a tarball.
    pub content: Packed,
    /// Annotations of its manifest; `org.opencontainers.image.created` is its time.
    pub annotations: BTreeMap<String, String>,
}

/// The description of an artifact, with its fields in the order that Flux writes them in: digests are of bytes.
#[derive(Serialize)]
struct Config<'a> {
    architecture: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a String>,
    history: [Value; 1],
    os: &'a str,
    rootfs: Layers,
    config: Value,
}

#[derive(Serialize)]
struct Layers {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: [String; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    media_type: &'static str,
    size: usize,
    digest: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewManifest<'a> {
    schema_version: u8,
    media_type: &'static str,
    config: Described,
    layers: [Described; 1],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

fn written<T: Serialize>(value: &T) -> Result<String, SourceError> {
    serde_json::to_string(value)
        .map_err(|error| layer_failed(format!("the artifact cannot be described: {error}")))
}

fn digest(data: &[u8]) -> String {
    format!("sha256:{}", crate::hex(&Sha256::digest(data)))
}

impl OciSource {
    /// Stores an artifact under a tag of a repository (`oci://HOST/PATH`); its digest.
    ///
    /// # Errors
    /// If the registry cannot be reached or refuses.
    pub async fn push(
        &self,
        url: &str,
        tag: &str,
        artifact: &NewArtifact,
        access: &Access,
    ) -> Result<String, SourceError> {
        let repository = self.opened(url, access, None, true).await?;
        let mut hash = Sha256::new();
        let mut reader = GzDecoder::new(&artifact.content.data[..]);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = reader
                .read(&mut buffer)
                .map_err(|error| layer_failed(format!("the artifact's tarball cannot be read: {error}")))?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
        }
        let config = written(&Config {
            architecture: "",
            created: artifact.annotations.get("org.opencontainers.image.created"),
            history: [json!({"created": "0001-01-01T00:00:00Z"})],
            os: "",
            rootfs: Layers {
                kind: "layers",
                diff_ids: [format!("sha256:{}", crate::hex(&hash.finalize()))],
            },
            config: json!({}),
        })?;
        let described = |media_type, data: &[u8]| Described {
            media_type,
            size: data.len(),
            digest: digest(data),
        };
        let (content, data) = (described(CONTENT, &artifact.content.data), &artifact.content.data);
        repository.put_blob(&content.digest, data).await?;
        let description = described(CONFIG, config.as_bytes());
        repository
            .put_blob(&description.digest, config.as_bytes())
            .await?;
        let manifest = written(&NewManifest {
            schema_version: 2,
            media_type: MANIFEST,
            config: description,
            layers: [content],
            annotations: &artifact.annotations,
        })?;
        repository
            .put_manifest(tag, MANIFEST, manifest.as_bytes())
            .await?;
        Ok(digest(manifest.as_bytes()))
    }

    /// Gives what a tag or digest means one more tag.
    ///
    /// # Errors
    /// If it is not there, or the registry refuses.
    pub async fn tag(
        &self,
        url: &str,
        reference: &str,
        tag: &str,
        access: &Access,
    ) -> Result<(), SourceError> {
        let repository = self.opened(url, access, None, true).await?;
        let raw = repository.raw(reference).await?;
        let raw = raw.ok_or_else(|| pull_failed(format!("'{url}' has no artifact '{reference}'")))?;
        let media_type = match Manifest::parse(&raw.data) {
            Ok(manifest) if !manifest.media_type.is_empty() => manifest.media_type,
            _ => raw.media_type,
        };
        repository.put_manifest(tag, &media_type, &raw.data).await
    }

    /// Digest and annotations of what tags mean, in their order.
    ///
    /// # Errors
    /// If one of them is not there, or the registry refuses.
    pub async fn describe(
        &self,
        url: &str,
        tags: &[String],
        access: &Access,
    ) -> Result<Vec<(String, BTreeMap<String, String>)>, SourceError> {
        let repository = self.repository(url, access, None).await?;
        let mut all = Vec::new();
        for tag in tags {
            let (digest, manifest) = repository.manifest(tag).await?;
            all.push((digest, manifest.annotations));
        }
        Ok(all)
    }
}
