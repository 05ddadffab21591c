//! `build helmrelease` and `diff helmrelease`: what a HelmRelease stands for, with all values that it takes, and what its
//! upgrade would change.

use std::sync::Arc;

use fluvial_api::{HelmRelease, Resource as _, convert};
use fluvial_controllers::helm_release::as_released;
use fluvial_delivery::ignore::IgnoreRules;
use fluvial_helm::{Capabilities, Chart, NoCluster, Output, Release, RenderRequest, Values};
use fluvial_object::ObjectExt;
use fluvial_ports::Cluster;
use fluvial_tree::{Entry, Tree, TreePath};
use serde_json::Value;

use super::why::look::{Found, Looker};
use super::{debug, diff, helm, not_found};
use crate::charts;
use crate::environment::{Failure, Outcome, Session};
use crate::nouns;
use crate::render::Rendered;
use crate::state::{self, field, text};

/// Options of both.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Name of the HelmRelease
    #[arg(value_name = "NAME")]
    helmrelease: Option<String>,
    /// Chart: a folder or a .tgz file [default: the one that the source on the cluster holds]
    #[arg(long, value_name = "PATH")]
    chart: Option<String>,
    /// File with the HelmRelease [default: the one on the cluster]
    #[arg(long, value_name = "FILE")]
    helmrelease_file: Option<String>,
    /// Use no cluster: take only the values written in the HelmRelease
    #[arg(long)]
    dry_run: bool,
}

/// Prints what a HelmRelease stands for.
pub(crate) async fn build(session: &mut Session<'_>, options: &Options) -> Outcome {
    let object = wanted(session, options).await?;
    let text = rendered(session, options, &object, true).await?;
    session.print(&text)
}

/// Shows what a HelmRelease's upgrade would change. Exit code 1: something; 2: that cannot be said.
pub(crate) async fn compare(session: &mut Session<'_>, options: &Options) -> Outcome {
    let work = async {
        let object = wanted(session, options).await?;
        let text = rendered(session, options, &object, false).await?;
        let cluster = session.cluster().await?;
        let items = items(cluster.as_ref(), &object, &text).await?;
        let trial = diff::Apply {
            manager: "helm-controller",
            ignore: &IgnoreRules::default(),
            items: &items,
        };
        diff::tell(session, cluster.as_ref(), &trial).await
    };
    let outcome = work.await;
    diff::verdict(session, outcome)
}

/// The objects of a rendered text, as the controller would apply them.
async fn items(cluster: &dyn Cluster, owner: &Value, text: &str) -> Result<Vec<Rendered>, Failure> {
    let release = release(owner);
    let mut items = vec![];
    for document in fluvial_yaml::split_documents(text)? {
        let mut object = fluvial_yaml::yaml_to_json(&document, false)?;
        if object.is_null() {
            continue;
        }
        let version = state::text(&object, &["apiVersion"]).unwrap_or_default();
        let namespaced = match cluster.resource(version, object.kind()).await {
            Ok(resource) => resource.namespaced,
            // The comparison says that there is no such kind.
            Err(_) => false,
        };
        if namespaced && object.namespace().is_empty() {
            object["metadata"]["namespace"] = release.namespace.as_str().into();
        }
        object.set_label(fluvial_api::keys::HELM_NAME, state::name(owner));
        object.set_label(fluvial_api::keys::HELM_NAMESPACE, state::namespace(owner));
        object.set_label("app.kubernetes.io/managed-by", "Helm");
        object.set_annotation("meta.helm.sh/release-name", &release.name);
        object.set_annotation("meta.helm.sh/release-namespace", &release.namespace);
        items.push(Rendered { object, place: None });
    }
    Ok(items)
}

/// The HelmRelease: of the file, or of the cluster.
async fn wanted(session: &Session<'_>, options: &Options) -> Result<Value, Failure> {
    let noun = nouns::of_kind("HelmRelease").ok_or_else(|| Failure::new("no such kind"))?;
    let name = options
        .helmrelease
        .as_deref()
        .ok_or_else(|| Failure::new("helmrelease name is required"))?;
    let namespace = session.global.namespace.as_str();
    let Some(file) = &options.helmrelease_file else {
        if options.dry_run {
            return Err(Failure::new("dry-run mode requires a helmrelease file"));
        }
        let resource = noun.resource();
        let target = fluvial_ports::Target {
            resource: &resource,
            namespace,
            name,
        };
        let cluster = session.cluster().await?;
        return cluster.get(target).await?.ok_or_else(|| not_found(noun, name));
    };
    let content = std::fs::read_to_string(session.env.folder.join(file))
        .map_err(|error| Failure::new(format!("{file}: {error}")))?;
    for document in fluvial_yaml::split_documents(&content)? {
        let mut object = fluvial_yaml::yaml_to_json(&document, false)
            .map_err(|error| Failure::new(format!("{file}: {error}")))?;
        if object.kind() != "HelmRelease" || object.name() != name {
            continue;
        }
        if object.namespace().is_empty() {
            object["metadata"]["namespace"] = namespace.into();
        }
        if object.namespace() == namespace {
            return Ok(object);
        }
    }
    Err(Failure::new(format!(
        "{file} holds no HelmRelease {namespace}/{name}"
    )))
}

/// The release that an object makes.
fn release(object: &Value) -> Release {
    let target = text(object, &["spec", "targetNamespace"]).filter(|text| !text.is_empty());
    let own = state::name(object);
    let name = match (
        text(object, &["spec", "releaseName"]).filter(|text| !text.is_empty()),
        target,
    ) {
        (Some(name), _) => name.to_owned(),
        (None, Some(target)) => format!("{target}-{own}"),
        (None, None) => own.to_owned(),
    };
    let version = field(object, &["status", "history"])
        .and_then(|history| history.get(0)?.get("version")?.as_i64())
        .unwrap_or(0);
    Release {
        name,
        namespace: target.unwrap_or(state::namespace(object)).to_owned(),
        revision: version + 1,
        is_upgrade: version > 0,
    }
}

/// The manifests of a HelmRelease.
async fn rendered(
    session: &mut Session<'_>,
    options: &Options,
    object: &Value,
    everything: bool,
) -> Result<String, Failure> {
    let values = if options.dry_run {
        let own = field(object, &["spec", "values"])
            .cloned()
            .unwrap_or_else(|| serde_json::json!({}));
        if field(object, &["spec", "valuesFrom"]).is_some() {
            session.warning("spec.valuesFrom is left out: --dry-run asks no cluster");
        }
        own
    } else if options.helmrelease_file.is_some() && field(object, &["spec", "valuesFrom"]).is_none() {
        field(object, &["spec", "values"])
            .cloned()
            .unwrap_or_else(|| serde_json::json!({}))
    } else {
        let cluster = session.cluster().await?;
        debug::values(cluster.as_ref(), object).await?
    };
    let spec = HelmRelease::from_value(&convert::to_current(object.clone()))
        .map_err(|error| Failure::new(error.to_string()))?;
    let chart = match &options.chart {
        Some(chart) => Source::Here(session.env.folder.clone(), chart.clone()),
        None if options.dry_run => return Err(Failure::new("dry-run mode requires --chart")),
        None => Source::Tree(artifact(session, object).await?),
    };
    let release = release(object);
    let crds = text(object, &["spec", "install", "crds"]) != Some("Skip");
    let skip_schema =
        field(object, &["spec", "install", "disableSchemaValidation"]) == Some(&Value::Bool(true));
    let outside = Arc::clone(&session.env.outside);
    let (warnings, text) = tokio::task::spawn_blocking(move || -> Result<_, String> {
        let chart = chart.load()?;
        chart.check_installable().map_err(|error| error.to_string())?;
        let values = Values::from_json(&values).map_err(|error| error.to_string())?;
        let mut rendered = fluvial_helm::render(RenderRequest {
            chart: &chart,
            values: &values,
            release: &release,
            capabilities: &Capabilities::default(),
            lookup: Arc::new(NoCluster),
            ambient: charts::ambient(outside.as_ref())?,
            options: fluvial_helm::Options {
                skip_schema,
                ..fluvial_helm::Options::default()
            },
        })
        .map_err(|failure| failure.error.to_string())?;
        as_released(&spec, &mut rendered)?;
        let output = Output {
            include_crds: crds,
            no_hooks: !everything,
            skip_tests: true,
            show_only: vec![],
        };
        let text = rendered.template(&output).map_err(|error| error.to_string())?;
        Ok((rendered.warnings, text))
    })
    .await?
    .map_err(Failure::new)?;
    for warning in warnings {
        session.warning(&warning);
    }
    Ok(text)
}

/// Where a chart is.
enum Source {
    /// On this machine, seen from a folder.
    Here(std::path::PathBuf, String),
    /// In an artifact.
    Tree(Tree),
}

impl Source {
    fn load(&self) -> Result<Arc<Chart>, String> {
        match self {
            Source::Here(folder, name) => helm::input::load(folder, name),
            Source::Tree(tree) => {
                // At the root, or in a folder of the chart's name.
                let file = tree
                    .iter()
                    .filter(|(path, entry)| {
                        matches!(entry, Entry::File(_))
                            && (path.as_str() == "Chart.yaml" || path.as_str().ends_with("/Chart.yaml"))
                    })
                    .map(|(path, _)| path)
                    .min_by_key(|path| path.as_str().matches('/').count())
                    .ok_or("the artifact of the chart holds no Chart.yaml")?;
                let folder = file.parent().unwrap_or_else(TreePath::root);
                Chart::load(tree, &folder).map_err(|error| error.to_string())
            }
        }
    }
}

/// What the source of the chart on the cluster holds.
async fn artifact(session: &Session<'_>, object: &Value) -> Result<Tree, Failure> {
    let cluster = session.cluster().await?;
    let looker = Looker::new(
        cluster.as_ref(),
        &session.global.namespace,
        session.env.clock.now(),
    );
    let (kind, namespace, name) = match (
        text(object, &["status", "helmChart"]).and_then(|chart| chart.split_once('/')),
        field(object, &["spec", "chartRef"]),
    ) {
        (Some((namespace, name)), _) => ("HelmChart", namespace, name),
        (None, Some(reference)) => (
            text(reference, &["kind"]).unwrap_or_default(),
            text(reference, &["namespace"]).unwrap_or_else(|| state::namespace(object)),
            text(reference, &["name"]).unwrap_or_default(),
        ),
        (None, None) => {
            return Err(Failure::new(
                "the HelmRelease has no chart on the cluster yet; name one of this machine with --chart",
            ));
        }
    };
    let (version, kind) = looker.kind(kind).await?;
    let found = looker.get(&version, &kind, namespace, name).await?;
    let Found::Object(source) = found else {
        return Err(Failure::new(format!(
            "{kind}/{namespace}/{name} is not on the cluster"
        )));
    };
    let artifact = super::why::places::artifact(&source)
        .ok_or_else(|| Failure::new(format!("{kind}/{namespace}/{name} has no artifact yet")))?;
    session
        .env
        .outside
        .artifact(&artifact)
        .await
        .map_err(Failure::new)
}
