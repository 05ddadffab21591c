//! The stored release: what Helm keeps in the cluster of every version of a release, so that Helm can go on from what
//! we wrote and we from what Helm wrote.
//!
//! Values only: whoever calls reads and writes the objects that hold them.

mod gojson;
mod history;
mod metadata;
mod observe;
mod parts;
mod plan;
mod store;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

pub use history::{History, to_forget};
pub use metadata::{record_chart, record_metadata};
pub use observe::{Forms, config_digest, go_digest, observation_digest};
pub use parts::{parts_of, parts_selector, read_parts};
pub use plan::{Object, Phase, hooks_of, manifest_of, objects_of, replace_rendered, uninstall_order};
pub use store::{
    Driver, StoreError, decode, encode, read_object, storage_name, storage_selector, to_object, to_objects,
};

use crate::manifest::Hook;

/// What state a version of a release is in, as Helm names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nobody knows.
    #[default]
    Unknown,
    /// It is what runs.
    Deployed,
    /// It is gone, its record was kept.
    Uninstalled,
    /// A later version took its place.
    Superseded,
    /// The action that made it failed.
    Failed,
    /// It is being uninstalled.
    Uninstalling,
    /// It is being installed.
    PendingInstall,
    /// It is being upgraded.
    PendingUpgrade,
    /// It is being rolled back.
    PendingRollback,
}

impl Status {
    /// Helm's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Unknown => "unknown",
            Status::Deployed => "deployed",
            Status::Uninstalled => "uninstalled",
            Status::Superseded => "superseded",
            Status::Failed => "failed",
            Status::Uninstalling => "uninstalling",
            Status::PendingInstall => "pending-install",
            Status::PendingUpgrade => "pending-upgrade",
            Status::PendingRollback => "pending-rollback",
        }
    }

    /// Whether an action is under way, or was cut off.
    #[must_use]
    pub fn is_pending(self) -> bool {
        matches!(
            self,
            Status::PendingInstall | Status::PendingUpgrade | Status::PendingRollback
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known of a version besides its content. Times are RFC 3339, empty when unset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// When the first version was deployed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub first_deployed: String,
    /// When this version was deployed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_deployed: String,
    /// When it was uninstalled.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deleted: String,
    /// What happened last.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its state.
    pub status: Status,
    /// The chart's notes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub notes: String,
}

/// How a hook ran last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HookRun {
    /// When it was started (RFC 3339).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub started_at: String,
    /// When it ended (RFC 3339).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub completed_at: String,
    /// `Running`, `Succeeded`, `Failed`, `Unknown`; empty when it never ran.
    pub phase: String,
}

/// A hook of a stored release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredHook {
    /// The object's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The object's kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The template that made it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Its text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifest: String,
    /// When it runs.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub events: Vec<String>,
    /// How it ran last.
    pub last_run: HookRun,
    /// Lighter ones run first.
    #[serde(skip_serializing_if = "is_zero")]
    pub weight: i64,
    /// When it is deleted.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub delete_policies: Vec<String>,
    /// When its logs are shown.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub output_log_policies: Vec<String>,
}

impl StoredHook {
    /// Whether it runs at an event.
    #[must_use]
    pub fn is_for(&self, event: &str) -> bool {
        self.events.iter().any(|known| known == event)
    }
}

impl From<&Hook> for StoredHook {
    fn from(hook: &Hook) -> Self {
        StoredHook {
            name: hook.name.clone(),
            kind: hook.kind.clone(),
            path: hook.path.clone(),
            manifest: hook.manifest.clone(),
            events: hook.events.clone(),
            last_run: HookRun::default(),
            weight: hook.weight,
            delete_policies: hook.delete_policies.clone(),
            output_log_policies: hook.output_log_policies.clone(),
        }
    }
}

/// One version of a release as Helm stores it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stored {
    /// Name of the release.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What is known of it.
    pub info: Info,
    /// The chart, as Helm writes it: kept as it was read.
    #[serde(skip_serializing_if = "Json::is_null")]
    pub chart: Json,
    /// The user's values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Map<String, Json>>,
    /// What was rendered, without hooks.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifest: String,
    /// The hooks.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub hooks: Vec<StoredHook>,
    /// Number of the version.
    #[serde(skip_serializing_if = "is_zero")]
    pub version: i64,
    /// Namespace that it is installed in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// `ssa` or `csa`; empty means `csa`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub apply_method: String,
    /// Labels of the user's on the object that holds it.
    #[serde(skip)]
    pub labels: BTreeMap<String, String>,
    /// UID of whom it was made for, if it is as this program wrote it; no part of what Helm stores.
    #[serde(skip)]
    pub made_for: String,
}

impl Stored {
    /// Name of the chart.
    #[must_use]
    pub fn chart_name(&self) -> &str {
        self.chart_field("name")
    }

    /// Version of the chart.
    #[must_use]
    pub fn chart_version(&self) -> &str {
        self.chart_field("version")
    }

    /// Version of the application.
    #[must_use]
    pub fn app_version(&self) -> &str {
        self.chart_field("appVersion")
    }

    fn chart_field(&self, field: &str) -> &str {
        self.chart
            .get("metadata")
            .and_then(|metadata| metadata.get(field))
            .and_then(Json::as_str)
            .unwrap_or_default()
    }

    /// The user's values.
    #[must_use]
    pub fn values(&self) -> Json {
        Json::Object(self.config.clone().unwrap_or_default())
    }

    /// Whether the server kept track of the owners of fields.
    #[must_use]
    pub fn is_server_side(&self) -> bool {
        self.apply_method == "ssa"
    }

    /// Says what state it is in now.
    pub fn set_status(&mut self, status: Status, description: impl Into<String>) {
        self.info.status = status;
        self.info.description = description.into();
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Go writes lists that were never made as null.
fn nullable<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
