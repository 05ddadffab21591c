//! The objects that hold stored releases: Secrets, as Helm makes them by default, or ConfigMaps.

use std::fmt;
use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use fluvial_tree::Digest;
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

    /// A text as its `data` holds it.
    pub(super) fn value(self, text: &str) -> Json {
        Json::String(match self {
            Driver::Secret => STANDARD.encode(text),
            Driver::ConfigMap => text.to_owned(),
        })
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

impl StoreError {
    pub(super) fn new(text: String) -> Self {
        StoreError(text)
    }
}

/// What an unpacked release may hold at most.
const UNPACKED: u64 = 64 << 20;
/// What an API server takes in one Secret.
pub(super) const LIMIT: usize = 1_048_576;
/// Labels that are Helm's own.
const OWN_LABELS: [&str; 6] = ["name", "owner", "status", "version", "createdAt", "modifiedAt"];

/// Annotation that says for whom a version was made, a UID, and the digest of the text that was written. Who changes a
/// version with other tools takes it off or leaves it behind, so what carries a fitting one is as we wrote it.
const MADE_FOR: &str = "fluvial.dev/made-for";

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
    let text = packed(release, true)?;
    if text.len() > LIMIT {
        return Err(StoreError(format!(
            "release {} has {} bytes when packed, and one object holds {LIMIT}: leave large files out of the chart with \
             .helmignore, split the chart, or have the release kept in several objects (see `split-storage` in the \
             documentation)",
            release.name,
            text.len()
        )));
    }
    Ok(text)
}

/// Packed; `hard` tries harder where it does not fit into one object.
fn packed(release: &Stored, hard: bool) -> Result<String, StoreError> {
    let json = serde_json::to_vec(release)
        .map_err(|error| StoreError(format!("release {} cannot be written: {error}", release.name)))?;
    let mut text = pack(&json, Compression::default());
    if hard && text.len() > LIMIT {
        text = pack(&json, Compression::best());
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
    let text = text_of(object)?;
    let name = object
        .pointer("/metadata/name")
        .and_then(Json::as_str)
        .unwrap_or_default();
    let mut stored = decode(&text).map_err(|error| StoreError(format!("{name}: {}", error.0)))?;
    label(&mut stored, object, &text);
    Ok(stored)
}

/// The text of the release in an object.
pub(super) fn text_of(object: &Json) -> Result<String, StoreError> {
    text_under(object, "release")
}

/// The text under a key of an object.
pub(super) fn text_under(object: &Json, key: &str) -> Result<String, StoreError> {
    let name = object
        .pointer("/metadata/name")
        .and_then(Json::as_str)
        .unwrap_or_default();
    let failed = |text: &str| StoreError(format!("{name}: {text}"));
    let field = object
        .get("data")
        .and_then(|data| data.get(key)?.as_str())
        .ok_or_else(|| failed(&format!("it has no key '{key}'")))?;
    if object.get("kind").and_then(Json::as_str) == Some("ConfigMap") {
        return Ok(field.to_owned());
    }
    let bytes = STANDARD
        .decode(field)
        .map_err(|error| failed(&error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| failed(&error.to_string()))
}

/// Takes over what an object says of its release besides the release itself.
pub(super) fn label(stored: &mut Stored, object: &Json, text: &str) {
    let labels = object.pointer("/metadata/labels").and_then(Json::as_object);
    stored.labels = labels
        .into_iter()
        .flatten()
        .filter(|(key, _)| !OWN_LABELS.contains(&key.as_str()))
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    let annotations = object.pointer("/metadata/annotations");
    let made_for = annotations
        .and_then(|annotations| annotations.get(MADE_FOR)?.as_str()?.rsplit_once(' '))
        .filter(|(_, digest)| *digest == Digest::of(text.as_bytes()).to_hex());
    stored.made_for = made_for.map(|(uid, _)| uid).unwrap_or_default().to_owned();
}

/// The objects that hold a version, in the order in which they are to be written. `stamp` is the label that says when:
/// `createdAt` or `modifiedAt`, in seconds. It is one object, unless it does not fit and `split` allows for more: then
/// the last one is the one that counts (see [`super::parts_of`]).
///
/// # Errors
/// If it is larger than it may be.
pub fn to_objects(
    release: &Stored,
    driver: Driver,
    namespace: &str,
    stamp: (&str, i64),
    split: bool,
) -> Result<Vec<Json>, StoreError> {
    if split {
        let text = packed(release, false)?;
        if text.len() > LIMIT {
            return super::parts::split(release, &text, driver, namespace, stamp);
        }
        let data = Map::from_iter([("release".to_owned(), driver.value(&text))]);
        return Ok(vec![object(release, driver, namespace, stamp, (data, &text))]);
    }
    to_object(release, driver, namespace, stamp).map(|object| vec![object])
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
    let data = Map::from_iter([("release".to_owned(), driver.value(&text))]);
    Ok(object(release, driver, namespace, stamp, (data, &text)))
}

/// The object of a version with this content, which holds the beginning of this text, or all of it.
pub(super) fn object(
    release: &Stored,
    driver: Driver,
    namespace: &str,
    stamp: (&str, i64),
    (data, text): (Map<String, Json>, &str),
) -> Json {
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
    let mut metadata = json!({
        "name": storage_name(&release.name, release.version), "namespace": namespace, "labels": labels,
    });
    if !release.made_for.is_empty() {
        let digest = Digest::of(text.as_bytes()).to_hex();
        metadata["annotations"] = json!({MADE_FOR: format!("{} {digest}", release.made_for)});
    }
    let mut object = json!({"apiVersion": "v1", "kind": driver.kind(), "metadata": metadata, "data": data});
    if driver == Driver::Secret {
        object["type"] = json!("helm.sh/release.v1");
    }
    object
}
