//! Charts of this machine, rendered by the own engine: for `helmCharts` of kustomizations and for `helm template`.

use std::sync::Arc;

use fluvial_helm::{Chart, Inflation, Output};
use fluvial_kustomize::{ChartRenderer, ChartRequest};
use fluvial_template::sprig::Ambient;
use fluvial_tree::Tree;
use serde_json::Value;

use crate::environment::Outside;

/// Renders charts that lie in the tree of a build.
pub(crate) struct LocalCharts {
    outside: Arc<dyn Outside>,
}

impl LocalCharts {
    /// With the clock and randomness of a process.
    pub(crate) fn new(outside: Arc<dyn Outside>) -> Self {
        LocalCharts { outside }
    }
}

/// The clock and randomness that charts are rendered with.
pub(crate) fn ambient(outside: &dyn Outside) -> Result<Box<dyn Ambient>, String> {
    outside
        .ambient()
        .ok_or_else(|| "charts are not rendered here: there is neither clock nor randomness".to_owned())
}

fn load(tree: &Tree, request: &ChartRequest) -> Result<Arc<Chart>, String> {
    match &request.local {
        Some(path) => Chart::load(tree, path).map_err(|error| error.to_string()),
        None => Err(absent(request)),
    }
}

/// What to do about a chart that is not on this machine.
fn absent(request: &ChartRequest) -> String {
    let ChartRequest {
        name,
        version,
        repository,
        ..
    } = request;
    let (folder, version) = if version.is_empty() {
        ("charts".to_owned(), String::new())
    } else {
        (
            format!("charts/{name}-{version}"),
            format!(" --version {version}"),
        )
    };
    let source = if repository.starts_with("oci://") {
        format!("{}/{name}", repository.trim_end_matches('/'))
    } else {
        format!("{name} --repo {repository}")
    };
    format!(
        "chart {name} of {repository} is not on this machine, and builds fetch no charts; it is looked for in \
         {folder}/{name} (with chartHome in place of charts, if set). To get it there: \
         helm pull {source}{version} --untar --untardir {folder}"
    )
}

/// The name of a release that a template makes.
pub(crate) fn named(template: &str, outside: &dyn Outside) -> Result<String, String> {
    fluvial_helm::release_name(template, ambient(outside)?).map_err(|error| error.to_string())
}

impl ChartRenderer for LocalCharts {
    fn default_values(&self, tree: &Tree, request: &ChartRequest) -> Result<Value, String> {
        Ok(load(tree, request)?.values.clone())
    }

    fn render(&self, tree: &Tree, request: &ChartRequest) -> Result<String, String> {
        let inflation = Inflation {
            release_name: if request.name_template.is_empty() {
                request.release_name.clone()
            } else {
                named(&request.name_template, self.outside.as_ref())?
            },
            namespace: request.namespace.clone(),
            values: request.values.clone(),
            kube_version: request.kube_version.clone(),
            api_versions: request.api_versions.clone(),
            output: Output {
                include_crds: request.include_crds,
                no_hooks: request.skip_hooks,
                skip_tests: request.skip_tests,
                ..Output::default()
            },
        };
        let chart = load(tree, request)?;
        fluvial_helm::inflate(&chart, &inflation, ambient(self.outside.as_ref())?)
            .map_err(|error| error.to_string())
    }
}
