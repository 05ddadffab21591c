//! The chart of a release: the HelmChart object that the spec asks for, the source with its artifact, the loaded chart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fluvial_api::helm::ChartTemplate;
use fluvial_api::keys::{FINALIZER, HELM_NAME, HELM_NAMESPACE};
use fluvial_api::meta::Artifact;
use fluvial_api::{HelmChart, HelmRelease, Resource as Kind};
use fluvial_helm::{Chart, LoadLimits};
use fluvial_object::ObjectExt;
use fluvial_ports::{Apply, Delete, Resource, Target};
use fluvial_tree::{Tree, TreePath};
use serde_json::{Map, Value, json};

use super::HelmReleases;
use super::objects::MANAGER;
use super::step::{CHART_MUTATE_ERROR, SOURCE_NOT_READY};
use crate::deliverer::failure::{ACCESS_DENIED, ARTIFACT_FAILED, Failure, not_found};
use crate::source::port_artifact;
use crate::writer::resource_of;
use crate::{Key, SourceId};

/// Kinds of sources besides HelmChart, with their plural names.
pub(crate) const FOREIGN: [(&str, &str); 2] = [
    ("OCIRepository", "ocirepositories"),
    ("ExternalArtifact", "externalartifacts"),
];
/// Charts that are kept loaded.
const KEPT: usize = 128;

/// The source that a HelmRelease has its chart from.
pub(crate) fn source_of(object: &HelmRelease) -> Option<SourceId> {
    let own = &object.metadata.namespace;
    if let Some(reference) = &object.spec.chart_ref {
        let namespace = reference
            .namespace
            .as_deref()
            .filter(|text| !text.is_empty())
            .unwrap_or(own);
        return Some(SourceId {
            kind: reference.kind.as_str().into(),
            key: Key::new(namespace, &reference.name),
        });
    }
    let template = object.spec.chart.as_ref()?;
    Some(SourceId {
        kind: HelmChart::KIND.into(),
        key: chart_key(object, template),
    })
}

/// Which HelmChart stands for a template.
fn chart_key(object: &HelmRelease, template: &ChartTemplate) -> Key {
    let own = &object.metadata.namespace;
    let namespace = template
        .spec
        .source_ref
        .namespace
        .as_deref()
        .filter(|text| !text.is_empty())
        .unwrap_or(own);
    Key::new(namespace, &format!("{own}-{}", object.metadata.name))
}

/// The HelmChart that a template asks for.
fn chart_object(object: &HelmRelease, template: &ChartTemplate) -> Value {
    let key = chart_key(object, template);
    let spec = &template.spec;
    let version = if spec.version.is_empty() {
        "*"
    } else {
        &spec.version
    };
    let mut source = json!({"kind": spec.source_ref.kind, "name": spec.source_ref.name});
    if let Some(api_version) = spec
        .source_ref
        .api_version
        .as_deref()
        .filter(|text| !text.is_empty())
    {
        source["apiVersion"] = json!(api_version);
    }
    let mut body = json!({
        "chart": spec.chart,
        "version": version,
        "sourceRef": source,
        "interval": spec.interval.unwrap_or(object.spec.interval),
        "reconcileStrategy": spec.reconcile_strategy,
    });
    if !spec.values_files.is_empty() {
        body["valuesFiles"] = json!(spec.values_files);
    }
    if spec.ignore_missing_values_files {
        body["ignoreMissingValuesFiles"] = json!(true);
    }
    if let Some(verify) = &spec.verify {
        body["verify"] = serde_json::to_value(verify).unwrap_or_default();
    }
    let mut labels = Map::new();
    let mut annotations = Map::new();
    if let Some(common) = &template.metadata {
        labels.extend(
            common
                .labels
                .iter()
                .map(|(key, value)| (key.clone(), json!(value))),
        );
        annotations.extend(
            common
                .annotations
                .iter()
                .map(|(key, value)| (key.clone(), json!(value))),
        );
    }
    labels.insert(HELM_NAME.to_owned(), json!(object.metadata.name));
    labels.insert(HELM_NAMESPACE.to_owned(), json!(object.metadata.namespace));
    // Whoever reconciles it puts this on as well; now it is one write less.
    let mut metadata = json!({"name": &*key.name, "namespace": &*key.namespace, "labels": labels,
        "finalizers": [FINALIZER]});
    if !annotations.is_empty() {
        metadata["annotations"] = Value::Object(annotations);
    }
    json!({"apiVersion": HelmChart::api_version(), "kind": HelmChart::KIND, "metadata": metadata, "spec": body})
}

/// Whether a HelmChart is what is asked for; labels and annotations of others are left alone.
fn is_as_wanted(live: &HelmChart, wanted: &Value) -> bool {
    let Ok(wanted) = HelmChart::from_value(wanted) else {
        return false;
    };
    let has = |live: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>| {
        wanted.iter().all(|(key, value)| live.get(key) == Some(value))
    };
    live.spec == wanted.spec
        && has(&live.metadata.labels, &wanted.metadata.labels)
        && has(&live.metadata.annotations, &wanted.metadata.annotations)
}

/// Charts that were loaded, by the digest of their artifact.
#[derive(Default)]
pub(crate) struct Charts(Mutex<Vec<(String, Arc<Chart>)>>);

impl Charts {
    fn get(&self, digest: &str) -> Option<Arc<Chart>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let position = kept.iter().position(|(known, _)| known == digest)?;
        // What was used last goes last.
        let found = kept.remove(position);
        let chart = Arc::clone(&found.1);
        kept.push(found);
        Some(chart)
    }

    fn put(&self, digest: &str, chart: &Arc<Chart>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((digest.to_owned(), Arc::clone(chart)));
    }
}

/// A source that is ready.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Which one.
    pub(crate) id: SourceId,
    /// Its artifact.
    pub(crate) artifact: Artifact,
}

/// A chart as it is released.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    /// The chart.
    pub(crate) chart: Arc<Chart>,
    /// Its version, with the digest of its source where that counts.
    pub(crate) version: String,
    /// Digest of its source; empty for HelmCharts.
    pub(crate) digest: String,
}

/// `TAG@sha256:…` as its parts.
fn parts(revision: &str) -> (&str, &str) {
    match revision.split_once('@') {
        Some((tag, digest)) => (tag, digest),
        None if revision.contains(':') => ("", revision),
        None => (revision, ""),
    }
}

/// The version of a chart whose source is known by digest.
fn version_with_digest(version: &str, revision: &str) -> Result<(String, String), String> {
    let (tag, digest) = parts(revision);
    if digest.is_empty() {
        return Err(format!("invalid revision '{revision}': no digest in it"));
    }
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    if hex.len() < 12 {
        return Err(format!("invalid revision '{revision}': its digest is too short"));
    }
    let plain = |text: &str| text.replace('_', "+");
    if fluvial_object::semver::Version::parse(tag).is_ok() && plain(tag) != version {
        let same = tag.trim_start_matches('v') == version.trim_start_matches('v');
        if !same {
            return Err(format!(
                "artifact revision {tag} does not match chart version {version}"
            ));
        }
    }
    let joint = if version.contains('+') { "." } else { "+" };
    Ok((format!("{version}{joint}{}", &hex[..12]), digest.to_owned()))
}

impl HelmReleases {
    /// Sees to it that the HelmChart that the spec asks for is there, and no other. Gives what the status says of it.
    pub(super) async fn keep_chart(&self, object: &HelmRelease) -> Result<Option<String>, Failure> {
        let wanted = object
            .spec
            .chart
            .as_ref()
            .filter(|_| object.spec.chart_ref.is_none() && !object.metadata.is_deleting());
        let mut known = object.status.helm_chart.clone();
        if object.metadata.is_deleting() && known.is_none() {
            // A kill may have come before the status could tell of it.
            let template = object.spec.chart.as_ref();
            known = template.map(|template| chart_key(object, template).to_string());
        }
        let key = wanted.map(|template| chart_key(object, template));
        if let Some(known) = known
            && key.as_ref().is_none_or(|key| key.to_string() != known)
        {
            self.drop_chart(object, &known).await?;
        }
        let (Some(template), Some(key)) = (wanted, key) else {
            return Ok(None);
        };
        let chart = chart_object(object, template);
        let live = self.charts_feed.store().get(&key);
        if live.is_some_and(|live| is_as_wanted(&live, &chart)) {
            return Ok(Some(key.to_string()));
        }
        let resource = resource_of::<HelmChart>();
        let target = Target {
            resource: &resource,
            namespace: &key.namespace,
            name: &key.name,
        };
        let how = Apply {
            manager: MANAGER,
            force: true,
            dry_run: false,
        };
        self.context.metrics.wrote("object");
        let written = self
            .context
            .cluster
            .apply(target, &chart, how)
            .await
            .map_err(|error| {
                Failure::retry(
                    "HelmChartSyncErr",
                    format!("failed to reconcile HelmChart '{key}': {error}"),
                )
            })?;
        self.charts_feed.put(&written);
        Ok(Some(key.to_string()))
    }

    /// Deletes a HelmChart that was made for this release.
    async fn drop_chart(&self, object: &HelmRelease, known: &str) -> Result<(), Failure> {
        let Some((namespace, name)) = known.split_once('/') else {
            return Ok(());
        };
        if self.context.settings.releases.no_cross_namespace_refs && namespace != object.metadata.namespace {
            return Ok(());
        }
        let resource = resource_of::<HelmChart>();
        let target = Target {
            resource: &resource,
            namespace,
            name,
        };
        let failed = |error: fluvial_ports::ClusterError| {
            Failure::retry(
                "HelmChartSyncErr",
                format!("failed to delete HelmChart '{known}': {error}"),
            )
        };
        let Some(live) = self.context.cluster.get(target).await.map_err(failed)? else {
            return Ok(());
        };
        let ours = live.label(HELM_NAME) == Some(object.metadata.name.as_str())
            && live.label(HELM_NAMESPACE) == Some(object.metadata.namespace.as_str());
        if !ours {
            return Ok(());
        }
        self.context.metrics.wrote("object");
        self.context
            .cluster
            .delete(target, Delete::default())
            .await
            .map(|_was_there| ())
            .map_err(failed)
    }

    /// The source of the chart, once it is ready.
    pub(super) async fn source(&self, object: &HelmRelease) -> Result<Source, Failure> {
        let Some(id) = source_of(object) else {
            return Err(Failure::stalled(
                "InvalidChartReference",
                "neither spec.chart nor spec.chartRef is set; one of them must be",
            ));
        };
        let other = *id.key.namespace != *object.metadata.namespace;
        if other && self.context.settings.releases.no_cross_namespace_refs {
            return Err(Failure::stalled(
                ACCESS_DENIED,
                format!("can't access '{id}', cross-namespace references have been blocked"),
            ));
        }
        let found = if *id.kind == *HelmChart::KIND {
            self.charts_feed
                .store()
                .get(&id.key)
                .map(|chart| chart.to_value())
        } else {
            self.foreign_source(&id).await?
        };
        let Some(found) = found else {
            return Err(Failure::waiting(
                ARTIFACT_FAILED,
                format!("could not get Source object: {}", not_found(&id)),
            ));
        };
        ready(&id, &found)
    }

    async fn foreign_source(&self, id: &SourceId) -> Result<Option<Value>, Failure> {
        let Some((kind, plural)) = FOREIGN.iter().find(|(kind, _)| *kind == &*id.kind) else {
            return Err(Failure::stalled(
                ARTIFACT_FAILED,
                format!(
                    "chart reference kind '{}' is not supported; use HelmChart, OCIRepository or ExternalArtifact",
                    id.kind
                ),
            ));
        };
        let resource = Resource {
            group: HelmChart::GROUP.to_owned(),
            version: "v1".to_owned(),
            kind: (*kind).to_owned(),
            plural: (*plural).to_owned(),
            namespaced: true,
        };
        let target = Target {
            resource: &resource,
            namespace: &id.key.namespace,
            name: &id.key.name,
        };
        self.context
            .cluster
            .get(target)
            .await
            .map_err(|error| Failure::retry(ARTIFACT_FAILED, format!("could not get Source object: {error}")))
    }

    /// The chart in an artifact, loaded once.
    pub(super) async fn load(&self, source: &Source) -> Result<Loaded, Failure> {
        let artifact = &source.artifact;
        let chart = match self.charts.get(&artifact.digest) {
            Some(chart) => chart,
            None => {
                let tree = self.tree(source).await?;
                let loaded = match self.context.aside.run(move || load(&tree)).await {
                    Ok(loaded) => loaded,
                    Err(error) if error.is_cancelled() => std::future::pending().await,
                    Err(_panic) => Err("loading it crashed; this is a bug, please report it".to_owned()),
                };
                let chart = loaded.map_err(|error| {
                    Failure::retry(ARTIFACT_FAILED, format!("Could not load chart: {error}"))
                })?;
                self.charts.put(&artifact.digest, &chart);
                chart
            }
        };
        let version = chart.metadata.version.clone();
        if *source.id.kind == *HelmChart::KIND {
            return Ok(Loaded {
                chart,
                version,
                digest: String::new(),
            });
        }
        let (joint, digest) = version_with_digest(&version, &artifact.revision)
            .map_err(|error| Failure::retry(CHART_MUTATE_ERROR, error))?;
        if !self.context.settings.versions_with_digest {
            return Ok(Loaded {
                chart,
                version,
                digest,
            });
        }
        let version = joint;
        let chart = with_version(&chart, &version);
        Ok(Loaded {
            chart,
            version,
            digest,
        })
    }

    async fn tree(&self, source: &Source) -> Result<Tree, Failure> {
        let Source { id, artifact } = source;
        if let Some(held) = self
            .context
            .revisions
            .exactly(id, &artifact.revision, &artifact.digest)
        {
            return Ok(held.tree.clone());
        }
        let loaded = self.context.artifacts.load(&port_artifact(artifact)).await;
        loaded.map_err(|error| {
            let wait = fluvial_api::Duration(self.context.settings.requeue_dependency);
            if error.missing {
                let text = format!("Source not ready: artifact not found. Retrying in {wait}: {error}");
                return Failure::waiting(ARTIFACT_FAILED, text);
            }
            Failure::retry(ARTIFACT_FAILED, format!("Could not load chart: {error}"))
        })
    }
}

/// A chart under another version: templates see it.
fn with_version(chart: &Arc<Chart>, version: &str) -> Arc<Chart> {
    chart.with_version(version)
}

/// The chart in the files of an artifact: at their root, or in the one folder at it.
fn load(tree: &Tree) -> Result<Arc<Chart>, String> {
    let root = TreePath::root();
    let has = |folder: &TreePath| {
        folder
            .join("Chart.yaml")
            .is_ok_and(|file| tree.file(&file).is_ok())
    };
    let folder = if has(&root) {
        root
    } else {
        let found = tree
            .children(&root)
            .map(|(path, _)| path)
            .find(|path| has(path))
            .cloned();
        found.unwrap_or(root)
    };
    Chart::load_with(tree, &folder, LoadLimits::default()).map_err(|error| error.to_string())
}

/// A source's artifact, if it is ready.
fn ready(id: &SourceId, found: &Value) -> Result<Source, Failure> {
    let waiting = |text: String| Failure::waiting(SOURCE_NOT_READY, text);
    let conditions = found.at(&["status", "conditions"]).and_then(Value::as_array);
    let said = |kind: &str, status: &str| {
        let mut all = conditions.into_iter().flatten();
        let one = all.find(|one| one["type"] == kind && one["status"] == status);
        one.map(|one| one["message"].as_str().unwrap_or_default())
    };
    let not_ready = |why: &str| waiting(format!("{} '{}' is not ready: {why}", id.kind, id.key));
    // ExternalArtifacts are made by others, who need not say what they have observed.
    let observed = found.integer_at(&["status", "observedGeneration"]);
    let handled = observed.is_none_or(|observed| observed == found.generation());
    if &*id.kind != "ExternalArtifact" && !(handled && observed.is_some()) {
        let why = said("Ready", "False").unwrap_or("latest generation of object has not been reconciled");
        return Err(not_ready(why));
    }
    if let Some(why) = said("Stalled", "True") {
        return Err(not_ready(why));
    }
    let artifact = found
        .at(&["status", "artifact"])
        .filter(|artifact| !artifact.is_null());
    // What was fetched before is gone on with, whatever has become of the source since.
    let Some(artifact) = artifact else {
        let why = said("Ready", "False").unwrap_or("does not have an artifact");
        return Err(not_ready(why));
    };
    let artifact = serde_json::from_value(artifact.clone()).map_err(|error| {
        Failure::retry(
            ARTIFACT_FAILED,
            format!("status.artifact of {id} cannot be read: {error}"),
        )
    })?;
    Ok(Source {
        id: id.clone(),
        artifact,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_of_a_registry_has_its_digest_in_its_version() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let of = |version: &str, tag: &str| version_with_digest(version, &format!("{tag}@{digest}"));
        assert_eq!(of("6.5.3", "6.5.3").unwrap().0, "6.5.3+abababababab");
        assert_eq!(of("6.5.3+x", "6.5.3_x").unwrap().0, "6.5.3+x.abababababab");
        assert_eq!(of("6.5.3", "latest").unwrap().1, digest);
        assert!(
            of("6.5.3", "6.5.4")
                .unwrap_err()
                .contains("does not match chart version 6.5.3")
        );
        assert!(version_with_digest("1.0.0", "1.0.0").is_err());
    }

    #[test]
    fn the_helm_chart_follows_the_template() {
        let object = HelmRelease::from_value(&json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "metadata": {"name": "web", "namespace": "ns"},
            "spec": {"interval": "1m", "chart": {"metadata": {"labels": {"a": "b"}},
                "spec": {"chart": "podinfo", "sourceRef": {"kind": "HelmRepository", "name": "r", "namespace": "other"}}}},
        }))
        .unwrap();
        let chart = chart_object(&object, object.spec.chart.as_ref().unwrap());
        assert_eq!(chart["metadata"]["namespace"], "other");
        assert_eq!(chart["metadata"]["name"], "ns-web");
        assert_eq!(chart["metadata"]["labels"]["a"], "b");
        assert_eq!(chart["spec"]["version"], "*");
        assert_eq!(chart["spec"]["interval"], "1m0s");
        let live = HelmChart::from_value(&chart).unwrap();
        assert!(is_as_wanted(&live, &chart));
        let mut other = chart;
        other["spec"]["version"] = json!("1.x");
        assert!(!is_as_wanted(&live, &other));
        assert_eq!(source_of(&object).unwrap().to_string(), "HelmChart/other/ns-web");
    }
}
