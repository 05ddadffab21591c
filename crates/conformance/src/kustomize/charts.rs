//! Charts in the tree, rendered by the own Helm engine.

use std::sync::Arc;

use fluvial_helm::{Chart, Inflation, Output};
use fluvial_kustomize::{ChartRenderer, ChartRequest};
use fluvial_template::sprig::Ambient;
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
        return Ok(request.release_name.clone());
    }
    fluvial_helm::release_name(&request.name_template, Box::new(Fixed)).map_err(|error| error.to_string())
}

impl ChartRenderer for LocalCharts {
    fn default_values(&self, tree: &Tree, request: &ChartRequest) -> Result<Value, String> {
        Ok(load(tree, request)?.values.clone())
    }

    fn render(&self, tree: &Tree, request: &ChartRequest) -> Result<String, String> {
        let inflation = Inflation {
            release_name: release_name(request)?,
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
        fluvial_helm::inflate(&load(tree, request)?, &inflation, Box::new(Fixed))
            .map_err(|error| error.to_string())
    }
}
