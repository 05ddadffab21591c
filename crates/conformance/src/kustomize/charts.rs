//! Charts in the tree, rendered by the own Helm engine.

use std::sync::Arc;

use fluvial_helm::{Capabilities, Chart, KubeVersion, NoCluster, Output, Release, RenderRequest, Values};
use fluvial_kustomize::{ChartRenderer, ChartRequest};
use fluvial_template::sprig::Ambient;
use fluvial_template::{Functions, Limits, Set, Value as TemplateValue};
use fluvial_tree::Tree;
use serde_json::Value;

/// Renders charts that lie in the tree.
pub(super) struct LocalCharts;

/// Nothing in the corpus depends on time and randomness.
struct Fixed;

impl Ambient for Fixed {
    fn now(&mut self) -> i128 {
        0
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(4);
    }
}

fn load(tree: &Tree, request: &ChartRequest) -> Result<Arc<Chart>, String> {
    let path = request
        .local
        .as_ref()
        .ok_or_else(|| format!("chart {} is not in the tree", request.name))?;
    Chart::load(tree, path).map_err(|error| error.to_string())
}

/// The release's name: given, or made by a template.
fn release_name(request: &ChartRequest) -> Result<String, String> {
    if request.name_template.is_empty() {
        return Ok(if request.release_name.is_empty() {
            "release-name".to_owned()
        } else {
            request.release_name.clone()
        });
    }
    let mut functions = Functions::builtins();
    fluvial_template::sprig::register(&mut functions);
    let mut set = Set::new(Arc::new(functions));
    set.add("name-template", &request.name_template)
        .map_err(|error| error.to_string())?;
    set.execute("name-template", &TemplateValue::Nil, Limits::default(), &mut ())
        .map_err(|error| error.to_string())
}

impl ChartRenderer for LocalCharts {
    fn default_values(&self, tree: &Tree, request: &ChartRequest) -> Result<Value, String> {
        Ok(load(tree, request)?.values.clone())
    }

    fn render(&self, tree: &Tree, request: &ChartRequest) -> Result<String, String> {
        let chart = load(tree, request)?;
        let mut values = Values::new();
        for layer in &request.values {
            values.merge(Values::from_json(layer).map_err(|error| error.to_string())?);
        }
        let mut capabilities = Capabilities::default();
        if !request.kube_version.is_empty() {
            capabilities.kube_version = KubeVersion::parse(&request.kube_version)?;
        }
        capabilities.add_api_versions(request.api_versions.iter().cloned());
        let namespace = if request.namespace.is_empty() {
            "default"
        } else {
            &request.namespace
        };
        let release = Release {
            name: release_name(request)?,
            namespace: namespace.to_owned(),
            revision: 1,
            is_upgrade: false,
        };
        let rendered = fluvial_helm::render(RenderRequest {
            chart: &chart,
            values: &values,
            release: &release,
            capabilities: &capabilities,
            lookup: Arc::new(NoCluster),
            ambient: Box::new(Fixed),
            options: fluvial_helm::Options::default(),
        })
        .map_err(|failure| failure.error.to_string())?;
        rendered
            .template(&Output {
                include_crds: request.include_crds,
                no_hooks: request.skip_hooks,
                skip_tests: request.skip_tests,
                ..Output::default()
            })
            .map_err(|error| error.to_string())
    }
}
