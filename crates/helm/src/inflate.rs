//! Charts as a build tool wants them: a folder in a tree and a few options in, text out.

use std::sync::Arc;

use fluvial_template::sprig::{self, Ambient, Host};
use fluvial_template::{Functions, Limits, Set, Value};
use fluvial_tree::{Tree, TreePath};
use serde_json::Value as Json;

use crate::capabilities::{Capabilities, KubeVersion};
use crate::chart::Chart;
use crate::error::{Error, Stage};
use crate::functions::NoCluster;
use crate::render::{Options, Output, Release, RenderRequest, render};
use crate::values::Values;

/// What `helm template` is asked for.
#[derive(Clone, Debug, Default)]
pub struct Inflation {
    /// Name of the release; empty for `release-name`.
    pub release_name: String,
    /// Namespace; empty for `default`.
    pub namespace: String,
    /// Values in order, later ones win.
    pub values: Vec<Json>,
    /// The cluster's version; empty for the default.
    pub kube_version: String,
    /// API versions besides the default ones.
    pub api_versions: Vec<String>,
    /// What to print.
    pub output: Output,
}

/// The name of a release that a template makes, as `--name-template` does: Sprig's functions, no data.
///
/// # Errors
/// If the template does not parse or fails.
pub fn release_name(template: &str, ambient: Box<dyn Ambient>) -> Result<String, Error> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::new(
            Stage::Request,
            format!("name template {}: {error}", fluvial_template::quote(template)),
        )
    };
    let mut functions = Functions::builtins();
    sprig::register(&mut functions);
    let mut set = Set::new(Arc::new(functions));
    set.add("name-template", template)
        .map_err(|error| failed(&error))?;
    let mut host = Host {
        ambient,
        state: Box::new(()),
    };
    set.execute("name-template", &Value::Nil, Limits::default(), &mut host)
        .map_err(|error| failed(&error))
}

/// A chart's own default values.
///
/// # Errors
/// If it is no chart.
pub fn default_values(tree: &Tree, path: &TreePath) -> Result<Json, Error> {
    Ok(Chart::load(tree, path)?.values.clone())
}

/// What `helm template` prints for a chart in a tree.
///
/// # Errors
/// If the chart cannot be loaded or rendered.
pub fn inflate(
    chart: &Arc<Chart>,
    inflation: &Inflation,
    ambient: Box<dyn Ambient>,
) -> Result<String, Error> {
    let or = |text: &str, default: &str| {
        if text.is_empty() {
            default.to_owned()
        } else {
            text.to_owned()
        }
    };
    let mut capabilities = Capabilities::default();
    if !inflation.kube_version.is_empty() {
        capabilities.kube_version = KubeVersion::parse(&inflation.kube_version).map_err(|error| {
            Error::new(
                Stage::Request,
                format!("invalid kube version '{}': {error}", inflation.kube_version),
            )
        })?;
    }
    capabilities.add_api_versions(inflation.api_versions.iter().cloned());
    let mut values = Values::new();
    for json in &inflation.values {
        values.merge(Values::from_json(json)?);
    }
    chart.check_installable()?;
    let release = Release {
        name: or(&inflation.release_name, "release-name"),
        namespace: or(&inflation.namespace, "default"),
        revision: 1,
        is_upgrade: false,
    };
    let rendered = render(RenderRequest {
        chart,
        values: &values,
        release: &release,
        capabilities: &capabilities,
        lookup: Arc::new(NoCluster),
        ambient,
        options: Options::default(),
    });
    rendered
        .map_err(|failure| failure.error)?
        .template(&inflation.output)
}
