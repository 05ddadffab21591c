//! A chart as a stored release holds it: Helm's JSON, its fields in Helm's order where digests are taken over them.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::nullable;
use crate::chart::{Chart, ChartFile};
use crate::metadata::{Dependency, ImportValues, Metadata};

/// `Chart.yaml` in the order in which Go writes its fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Record {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    home: String,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    sources: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    keywords: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    maintainers: Vec<Person>,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    condition: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    tags: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    app_version: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deprecated: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    kube_version: String,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    dependencies: Vec<Needed>,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    kind: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Person {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    email: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Needed {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    repository: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    condition: String,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    enabled: bool,
    #[serde(
        rename = "import-values",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    import_values: Vec<Json>,
    #[serde(skip_serializing_if = "String::is_empty")]
    alias: String,
}

impl From<&Dependency> for Needed {
    fn from(dependency: &Dependency) -> Self {
        let import = |import: &ImportValues| match import {
            ImportValues::Export(name) => json!(name),
            ImportValues::Table { child, parent } => json!({"child": child, "parent": parent}),
            ImportValues::Other(other) => other.clone(),
        };
        Needed {
            name: dependency.name.clone(),
            version: dependency.version.clone(),
            repository: dependency.repository.clone(),
            condition: dependency.condition.clone(),
            tags: dependency.tags.clone(),
            enabled: dependency.enabled,
            import_values: dependency.import_values.iter().map(import).collect(),
            alias: dependency.alias.clone(),
        }
    }
}

impl Record {
    fn of(metadata: &Metadata, version: &str) -> Self {
        let people = metadata.maintainers.iter();
        Record {
            name: metadata.name.clone(),
            home: metadata.home.clone(),
            sources: metadata.sources.clone(),
            version: version.to_owned(),
            description: metadata.description.clone(),
            keywords: metadata.keywords.clone(),
            maintainers: people
                .map(|person| Person {
                    name: person.name.clone(),
                    email: person.email.clone(),
                    url: person.url.clone(),
                })
                .collect(),
            icon: metadata.icon.clone(),
            api_version: metadata.api_version.clone(),
            condition: metadata.condition.clone(),
            tags: metadata.tags.clone(),
            app_version: metadata.app_version.clone(),
            deprecated: metadata.deprecated,
            annotations: metadata.annotations.clone().unwrap_or_default(),
            kube_version: metadata.kube_version.clone(),
            dependencies: metadata.dependencies.iter().map(Needed::from).collect(),
            kind: metadata.kind.clone(),
        }
    }
}

/// `Chart.yaml` as a release records it, under a version that may differ from the file's.
#[must_use]
pub fn record_metadata(metadata: &Metadata, version: &str) -> Json {
    serde_json::to_value(Record::of(metadata, version)).unwrap_or_default()
}

/// A chart as a release records it: without the charts below it, as Helm does.
#[must_use]
pub fn record_chart(chart: &Chart, version: &str) -> Json {
    let files = |files: &[ChartFile]| -> Vec<Json> {
        let file = |file: &ChartFile| json!({"name": &*file.name, "data": STANDARD.encode(file.data())});
        files.iter().map(file).collect()
    };
    let lock = chart.lock.as_ref().map(|dependencies| {
        let dependencies: Vec<Needed> = dependencies.iter().map(Needed::from).collect();
        json!({"generated": "0001-01-01T00:00:00Z", "digest": "", "dependencies": dependencies})
    });
    json!({
        "metadata": record_metadata(&chart.metadata, version),
        "lock": lock,
        "templates": files(&chart.templates),
        "values": chart.values,
        "schema": chart.schema.as_ref().map(|schema| STANDARD.encode(schema)),
        "files": files(&chart.files),
    })
}
