//! Charts rendered by the own engine: for `helmCharts` of kustomizations and for `helm template`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fluvial_helm::{Chart, Inflation, Output};
use fluvial_kustomize::{ChartRenderer, ChartRequest};
use fluvial_template::sprig::Ambient;
use fluvial_tree::Tree;
use serde_json::Value;

use crate::commands::helm::fetch::{fetch, plain_request};
use crate::environment::{Outside, SourceOptions};

/// Renders charts that lie in the tree of a build, or in repositories and registries.
pub(crate) struct Charts {
    outside: Arc<dyn Outside>,
    /// Who fetches; nobody where only files are read.
    runtime: Option<tokio::runtime::Handle>,
    /// Whether something was to be fetched and nobody was there.
    missed: AtomicBool,
    /// What has been fetched, by repository, name and version.
    fetched: Mutex<BTreeMap<[String; 3], Arc<Chart>>>,
}

impl Charts {
    /// With the clock, randomness and sources of a process. Builds run on threads that may wait.
    pub(crate) fn new(outside: Arc<dyn Outside>) -> Self {
        Charts {
            runtime: Some(tokio::runtime::Handle::current()),
            ..Charts::of_files(outside)
        }
    }

    /// Those of the tree alone: nothing is fetched.
    pub(crate) fn of_files(outside: Arc<dyn Outside>) -> Self {
        Charts {
            outside,
            runtime: None,
            missed: AtomicBool::new(false),
            fetched: Mutex::default(),
        }
    }

    /// Whether something was to be fetched that nobody could.
    pub(crate) fn missed(&self) -> bool {
        self.missed.load(Ordering::Relaxed)
    }

    fn load(&self, tree: &Tree, request: &ChartRequest) -> Result<Arc<Chart>, String> {
        if let Some(path) = &request.local {
            return Chart::load(tree, path).map_err(|error| error.to_string());
        }
        let ChartRequest {
            name,
            version,
            repository,
            devel,
            ..
        } = request;
        let key = [repository, name, version].map(Clone::clone);
        let fetched = || self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chart) = fetched().get(&key) {
            return Ok(Arc::clone(chart));
        }
        let Some(runtime) = &self.runtime else {
            self.missed.store(true, Ordering::Relaxed);
            return Err(absent(request));
        };
        let sources = self.outside.sources(&SourceOptions::default());
        let chart = sources.and_then(|sources| {
            let request = plain_request(repository, name, version, *devel);
            runtime.block_on(fetch(sources.as_ref(), request))
        });
        let chart = chart.map_err(|error| format!("{error}; {}", absent(request)))?;
        fetched().insert(key, Arc::clone(&chart));
        Ok(chart)
    }
}

/// The clock and randomness that charts are rendered with.
pub(crate) fn ambient(outside: &dyn Outside) -> Result<Box<dyn Ambient>, String> {
    outside
        .ambient()
        .ok_or_else(|| "charts are not rendered here: there is neither clock nor randomness".to_owned())
}

/// The same where templates may resolve names.
pub(crate) fn resolving(outside: Arc<dyn Outside>) -> Result<Box<dyn Ambient>, String> {
    let inner = ambient(outside.as_ref())?;
    Ok(Box::new(Resolving { inner, outside }))
}

/// An ambient that resolves names.
struct Resolving {
    inner: Box<dyn Ambient>,
    outside: Arc<dyn Outside>,
}

impl Ambient for Resolving {
    fn now(&mut self) -> i128 {
        self.inner.now()
    }

    fn random(&mut self, buffer: &mut [u8]) {
        self.inner.random(buffer);
    }

    fn addresses(&mut self, host: &str) -> Option<Vec<String>> {
        Some(self.outside.addresses(host))
    }
}

/// What to do about a chart that could not be fetched.
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
        "builds also look for it in {folder}/{name} (with chartHome in place of charts, if set). To get it there: \
         helm pull {source}{version} --untar --untardir {folder}"
    )
}

/// The name of a release that a template makes.
pub(crate) fn named(template: &str, outside: &dyn Outside) -> Result<String, String> {
    fluvial_helm::release_name(template, ambient(outside)?).map_err(|error| error.to_string())
}

impl ChartRenderer for Charts {
    fn default_values(&self, tree: &Tree, request: &ChartRequest) -> Result<Value, String> {
        Ok(self.load(tree, request)?.values.clone())
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
        let chart = self.load(tree, request)?;
        fluvial_helm::inflate(&chart, &inflation, ambient(self.outside.as_ref())?)
            .map_err(|error| error.to_string())
    }
}
