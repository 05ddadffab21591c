//! Artifacts for registries: an image of one layer with Flux's media types, and more tags for what is there.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use fluvial_ports::Access;
use serde_json::json;
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
        let created = artifact.annotations.get("org.opencontainers.image.created");
        let config = json!({
            "architecture": "", "os": "", "config": {}, "created": created,
            "history": [{"created": "0001-01-01T00:00:00Z"}],
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", crate::hex(&hash.finalize()))]},
        })
        .to_string();
        let (config_id, content_id) = (digest(config.as_bytes()), digest(&artifact.content.data));
        repository.put_blob(&content_id, &artifact.content.data).await?;
        repository.put_blob(&config_id, config.as_bytes()).await?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "size": config.len(), "digest": config_id},
            "layers": [{"mediaType": CONTENT, "size": artifact.content.size(), "digest": content_id}],
            "annotations": artifact.annotations,
        })
        .to_string();
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
