//! The objects that hold stored releases: Secrets, as Helm makes them by default, or ConfigMaps.

use std::fmt;
use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Map, Value as Json, json};

use super::Stored;

/// What kind of object holds releases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// Secrets.
    #[default]
    Secret,
    /// ConfigMaps.
    ConfigMap,
}

impl Driver {
    /// The kind of object.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Driver::Secret => "Secret",
            Driver::ConfigMap => "ConfigMap",
        }
    }
}

/// A stored release that cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

/// What an unpacked release may hold at most.
const UNPACKED: u64 = 64 << 20;
/// What an API server takes in one Secret.
const LIMIT: usize = 1_048_576;
/// Labels that are Helm's own.
const OWN_LABELS: [&str; 6] = ["name", "owner", "status", "version", "createdAt", "modifiedAt"];

/// Name of the object that holds a version.
#[must_use]
pub fn storage_name(release: &str, version: i64) -> String {
    format!("sh.helm.release.v1.{release}.v{version}")
}

/// Label selector for all versions of a release.
#[must_use]
pub fn storage_selector(release: &str) -> String {
    format!("name={release},owner=helm")
}

/// A release as text: JSON, packed, in base64.
///
/// # Errors
/// If it is larger than one object may be.
pub fn encode(release: &Stored) -> Result<String, StoreError> {
    let json = serde_json::to_vec(release)
        .map_err(|error| StoreError(format!("release {} cannot be written: {error}", release.name)))?;
    let mut text = pack(&json, Compression::default());
    if text.len() > LIMIT {
        text = pack(&json, Compression::best());
    }
    if text.len() > LIMIT {
        return Err(StoreError(format!(
            "release {} has {} bytes when packed, and one object holds {LIMIT}: leave large files out of the chart with \
             .helmignore, or split the chart",
            release.name,
            text.len()
        )));
    }
    Ok(text)
}

fn pack(json: &[u8], level: Compression) -> String {
    let mut packer = GzEncoder::new(Vec::new(), level);
    // Writing into memory cannot fail.
    let _ = packer.write_all(json);
    STANDARD.encode(packer.finish().unwrap_or_default())
}

/// Reads what [`encode`] or Helm wrote; what is not packed (very old releases) is taken too.
///
/// # Errors
/// If it is no release.
pub fn decode(text: &str) -> Result<Stored, StoreError> {
    let bytes = STANDARD
        .decode(text.trim())
        .map_err(|error| StoreError(format!("the stored release is not base64: {error}")))?;
    let bytes = if bytes.starts_with(&[0x1f, 0x8b, 0x08]) {
        let mut unpacked = Vec::new();
        GzDecoder::new(&*bytes)
            .take(UNPACKED + 1)
            .read_to_end(&mut unpacked)
            .map_err(|error| StoreError(format!("the stored release cannot be unpacked: {error}")))?;
        if unpacked.len() as u64 > UNPACKED {
            return Err(StoreError(format!(
                "the stored release unpacks to more than {UNPACKED} bytes"
            )));
        }
        unpacked
    } else {
        bytes
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| StoreError(format!("the stored release is no release: {error}")))
}

/// Reads the release in a Secret or ConfigMap.
///
/// # Errors
/// If there is none.
pub fn read_object(object: &Json) -> Result<Stored, StoreError> {
    let name = object
        .pointer("/metadata/name")
        .and_then(Json::as_str)
        .unwrap_or_default();
    let failed = |text: &str| StoreError(format!("{name}: {text}"));
    let field = object
        .pointer("/data/release")
        .and_then(Json::as_str)
        .ok_or_else(|| failed("it has no key 'release'"))?;
    let in_secret = object.get("kind").and_then(Json::as_str) != Some("ConfigMap");
    let text = if in_secret {
        let bytes = STANDARD
            .decode(field)
            .map_err(|error| failed(&error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| failed(&error.to_string()))?
    } else {
        field.to_owned()
    };
    let mut stored = decode(&text).map_err(|error| failed(&error.0))?;
    let labels = object.pointer("/metadata/labels").and_then(Json::as_object);
    stored.labels = labels
        .into_iter()
        .flatten()
        .filter(|(key, _)| !OWN_LABELS.contains(&key.as_str()))
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    Ok(stored)
}

/// The object that holds a version. `stamp` is the label that says when: `createdAt` or `modifiedAt`, in seconds.
///
/// # Errors
/// If it is larger than one object may be.
pub fn to_object(
    release: &Stored,
    driver: Driver,
    namespace: &str,
    stamp: (&str, i64),
) -> Result<Json, StoreError> {
    let text = encode(release)?;
    let mut labels: Map<String, Json> = release
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    for (key, value) in [
        ("name", release.name.clone()),
        ("owner", "helm".to_owned()),
        ("status", release.info.status.to_string()),
        ("version", release.version.to_string()),
        (stamp.0, stamp.1.to_string()),
    ] {
        labels.insert(key.to_owned(), Json::String(value));
    }
    let metadata = json!({
        "name": storage_name(&release.name, release.version), "namespace": namespace, "labels": labels,
    });
    Ok(match driver {
        Driver::Secret => json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "helm.sh/release.v1",
            "data": {"release": STANDARD.encode(text)},
        }),
        Driver::ConfigMap => json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"release": text},
        }),
    })
}
