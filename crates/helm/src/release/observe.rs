//! Digests by which a controller knows again what it has made: of a release as it is stored, and of values.

use fluvial_tree::Digest;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use super::metadata::Record;
use super::{Info, Status, Stored, StoredHook, gojson};

/// A release as it is digested: Helm's fields in Helm's order. Tests may be run by hand, so they do not count.
#[derive(Serialize)]
struct Observation<'a, I: Serialize, H: Serialize> {
    name: &'a str,
    version: i64,
    info: I,
    #[serde(rename = "chartMetadata")]
    chart_metadata: Record,
    config: Option<&'a Map<String, Json>>,
    manifest: &'a str,
    hooks: Option<Vec<H>>,
    namespace: &'a str,
    #[serde(rename = "ociDigest", skip_serializing_if = "Option::is_none")]
    oci_digest: Option<&'a str>,
}

/// [`Info`] as Helm 3 wrote it: times are there even when unset.
#[derive(Serialize)]
struct OldInfo<'a> {
    first_deployed: &'a str,
    last_deployed: &'a str,
    deleted: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "str::is_empty")]
    notes: &'a str,
}

impl<'a> OldInfo<'a> {
    fn of(info: &'a Info) -> Self {
        OldInfo {
            first_deployed: &info.first_deployed,
            last_deployed: &info.last_deployed,
            deleted: &info.deleted,
            description: &info.description,
            status: info.status,
            notes: &info.notes,
        }
    }
}

/// The digests that stand for a release: the current form, and those of older controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forms(Vec<String>);

impl Forms {
    /// The digests of a release.
    #[must_use]
    pub fn of(release: &Stored, oci_digest: &str) -> Self {
        let old: Vec<String> = [Some(oci_digest), None]
            .into_iter()
            .map(|oci_digest| {
                digest(&Observation {
                    name: &release.name,
                    version: release.version,
                    info: OldInfo::of(&release.info),
                    chart_metadata: chart_metadata(release),
                    config: config(release),
                    manifest: &release.manifest,
                    hooks: hooks(release).map(|hooks| hooks.map(old_hook).collect()),
                    namespace: &release.namespace,
                    oci_digest,
                })
            })
            .collect();
        let mut all = vec![observation_digest(release, oci_digest)];
        all.extend(old);
        Forms(all)
    }

    /// Whether a digest is one of them.
    #[must_use]
    pub fn include(&self, digest: &str) -> bool {
        self.0.iter().any(|known| known == digest)
    }
}

/// A hook with the times that Helm 3 wrote even when unset.
fn old_hook(hook: &StoredHook) -> Json {
    let mut json = serde_json::to_value(hook).unwrap_or_default();
    let run = &hook.last_run;
    json["last_run"] =
        json!({"started_at": run.started_at, "completed_at": run.completed_at, "phase": run.phase});
    json
}

/// The digest of a release as it is stored, in the form of Flux's snapshots.
#[must_use]
pub fn observation_digest(release: &Stored, oci_digest: &str) -> String {
    digest(&Observation {
        name: &release.name,
        version: release.version,
        info: &release.info,
        chart_metadata: chart_metadata(release),
        config: config(release),
        manifest: &release.manifest,
        hooks: hooks(release).map(Iterator::collect::<Vec<_>>),
        namespace: &release.namespace,
        oci_digest: Some(oci_digest),
    })
}

fn digest(observation: &impl Serialize) -> String {
    format!("sha256:{}", Digest::of(&gojson::line(observation)).to_hex())
}

fn chart_metadata(release: &Stored) -> Record {
    let metadata = release.chart.get("metadata").cloned().unwrap_or_default();
    serde_json::from_value(metadata).unwrap_or_default()
}

fn config(release: &Stored) -> Option<&Map<String, Json>> {
    release.config.as_ref().filter(|config| !config.is_empty())
}

/// The hooks that are no tests; none where none is left, as Go has it.
fn hooks(release: &Stored) -> Option<impl Iterator<Item = &StoredHook>> {
    let mut hooks = release
        .hooks
        .iter()
        .filter(|hook| !hook.is_for("test"))
        .peekable();
    hooks.peek().is_some().then_some(hooks)
}

/// The digest of values: of their YAML with sorted keys; no values have the digest of nothing.
#[must_use]
pub fn config_digest(values: &Json) -> String {
    let text = match values {
        Json::Object(fields) if fields.is_empty() => String::new(),
        Json::Null => String::new(),
        other => fluvial_yaml::json_to_yaml(other),
    };
    format!("sha256:{}", Digest::of(text.as_bytes()).to_hex())
}

/// The digest of a value as Go's JSON: of post-renderers and common metadata.
#[must_use]
pub fn go_digest(value: &impl Serialize) -> String {
    digest(value)
}
