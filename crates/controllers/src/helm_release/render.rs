//! From a chart and values to what is installed: rendering, post-renderers, and the labels that tell whose it is. Runs
//! on threads that may block.

use std::collections::BTreeMap;
use std::sync::Arc;

use fluvial_api::HelmRelease;
use fluvial_api::helm::{KustomizePostRenderer, PostRenderStrategy};
use fluvial_api::keys::{HELM_NAME, HELM_NAMESPACE};
use fluvial_helm::release::{StoredHook, replace_rendered};
use fluvial_helm::{Capabilities, Chart, Lookup, RenderRequest, Rendered, Values};
use fluvial_kustomize::{BuildRequest, NoCharts, NoRemote};
use fluvial_object::ObjectExt;
use fluvial_ports::{Clock, Cluster, Select, Target};
use fluvial_template::sprig::Ambient;
use fluvial_tree::{File, Tree, TreeBuilder, TreePath};
use serde_json::{Map, Value, json};

/// Tells through post-renderers which template made a document.
const SOURCE: &str = "postrenderer.helm.sh/source";

/// What a release is made from.
pub(crate) struct Recipe {
    /// Whose it is.
    pub(crate) object: Arc<HelmRelease>,
    /// The chart.
    pub(crate) chart: Arc<Chart>,
    /// The user's values.
    pub(crate) values: Value,
    /// For whom it is rendered.
    pub(crate) release: fluvial_helm::Release,
    /// What the cluster can do.
    pub(crate) capabilities: Capabilities,
    /// Whether values are held against schemas.
    pub(crate) check_schema: bool,
    /// Whether notes of dependencies count.
    pub(crate) clock: Arc<dyn Clock>,
    /// The cluster that `lookup` sees.
    pub(crate) lookup: Arc<dyn Lookup>,
}

/// A release as it is to be stored and applied.
#[derive(Debug, Clone, Default)]
pub(crate) struct Made {
    /// The manifest as Helm stores it.
    pub(crate) manifest: String,
    /// The hooks.
    pub(crate) hooks: Vec<StoredHook>,
    /// The notes.
    pub(crate) notes: String,
    /// What a person should know.
    pub(crate) warnings: Vec<String>,
}

/// Clock and randomness for templates.
struct Present(Arc<dyn Clock>);

impl Ambient for Present {
    fn now(&mut self) -> i128 {
        self.0.now().as_nanosecond()
    }

    fn random(&mut self, buffer: &mut [u8]) {
        self.0.fill(buffer);
    }
}

/// Renders.
pub(crate) fn make(recipe: &Recipe) -> Result<Made, String> {
    recipe
        .chart
        .check_installable()
        .map_err(|error| error.to_string())?;
    let values = Values::from_json(&recipe.values).map_err(|error| error.to_string())?;
    let options = fluvial_helm::Options {
        skip_schema: !recipe.check_schema,
        ..fluvial_helm::Options::default()
    };
    let mut rendered = fluvial_helm::render(RenderRequest {
        chart: &recipe.chart,
        values: &values,
        release: &recipe.release,
        capabilities: &recipe.capabilities,
        lookup: Arc::clone(&recipe.lookup),
        ambient: Box::new(Present(Arc::clone(&recipe.clock))),
        options,
    })
    .map_err(|failure| failure.to_string())?;
    run_steps(&recipe.object, &mut rendered)?;
    Ok(finish(&recipe.object, &rendered))
}

/// What a chart renders to, as the spec of a release has it: after its post-renderers, with its common metadata.
///
/// # Errors
/// A post-renderer refuses.
pub fn as_released(object: &HelmRelease, rendered: &mut Rendered) -> Result<(), String> {
    run_steps(object, rendered)?;
    if object.spec.common_metadata.is_none() {
        return Ok(());
    }
    let mark_hooks = super::names::post_render(object) != PostRenderStrategy::NoHooks;
    let mut files = Files::default();
    for one in &rendered.manifests {
        let mut document = one.object().clone();
        set_common(&mut document, object);
        files.put(&one.source, &document);
    }
    for hook in &rendered.hooks {
        let mut document = hook.object().clone();
        if mark_hooks {
            set_common(&mut document, object);
        }
        files.put(&hook.path, &document);
    }
    replace_rendered(rendered, &files.0).map_err(|error| error.to_string())
}

/// Runs the post-renderers of a release.
fn run_steps(object: &HelmRelease, rendered: &mut Rendered) -> Result<(), String> {
    let steps = object.spec.post_renderers.iter();
    let steps: Vec<&KustomizePostRenderer> = steps.filter_map(|step| step.kustomize.as_ref()).collect();
    if steps.is_empty() {
        return Ok(());
    }
    post_render(rendered, &steps, super::names::post_render(object))
        .map_err(|error| format!("error while running post render on files: {error}"))
}

/// Documents by the file that they come from.
#[derive(Default)]
struct Files(BTreeMap<String, String>);

impl Files {
    fn put(&mut self, source: &str, document: &Value) {
        if !document.is_object() {
            return;
        }
        let file = self.0.entry(source.to_owned()).or_default();
        file.push_str("---\n");
        file.push_str(&fluvial_yaml::json_to_yaml(document));
    }

    fn put_all(&mut self, documents: Vec<(String, Value)>) {
        for (source, document) in documents {
            self.put(&source, &document);
        }
    }
}

/// Puts common metadata and the labels of the origin on everything, and writes it down.
fn finish(object: &HelmRelease, rendered: &Rendered) -> Made {
    let mark_hooks = super::names::post_render(object) != PostRenderStrategy::NoHooks;
    let marked = |document: &Value, text: &str| -> String {
        let mut document = document.clone();
        if !document.is_object() {
            return text.to_owned();
        }
        mark(&mut document, object);
        fluvial_yaml::json_to_yaml(&document)
    };
    let mut manifest = String::new();
    for one in &rendered.manifests {
        if one.object().is_null() {
            continue;
        }
        let text = marked(one.object(), &one.content);
        manifest.push_str("---\n# Source: ");
        manifest.push_str(&one.source);
        manifest.push('\n');
        manifest.push_str(&text);
        if !text.ends_with('\n') {
            manifest.push('\n');
        }
    }
    let hooks = rendered.hooks.iter().map(|hook| {
        let mut stored = StoredHook::from(hook);
        if mark_hooks {
            stored.manifest = marked(hook.object(), &hook.manifest);
        }
        stored
    });
    Made {
        manifest,
        hooks: hooks.collect(),
        notes: rendered.notes.clone(),
        warnings: rendered.warnings.clone(),
    }
}

/// Common metadata, and labels that name the HelmRelease. In lists each item gets them.
pub(crate) fn mark(document: &mut Value, object: &HelmRelease) {
    let is_list = document.kind().ends_with("List");
    if let Some(items) = document.get_mut("items").and_then(Value::as_array_mut)
        && is_list
    {
        for item in items {
            mark(item, object);
        }
        return;
    }
    set_common(document, object);
    document.set_label(HELM_NAME, &object.metadata.name);
    document.set_label(HELM_NAMESPACE, &object.metadata.namespace);
}

/// Common metadata on one document.
fn set_common(document: &mut Value, object: &HelmRelease) {
    let Some(common) = object
        .spec
        .common_metadata
        .as_ref()
        .filter(|_| document.is_object())
    else {
        return;
    };
    for (key, value) in &common.labels {
        document.set_label(key, value);
    }
    for (key, value) in &common.annotations {
        document.set_annotation(key, value);
    }
}

/// Runs the post-renderers over manifests, and over hooks with them, apart or not at all.
fn post_render(
    rendered: &mut Rendered,
    steps: &[&KustomizePostRenderer],
    strategy: PostRenderStrategy,
) -> Result<(), String> {
    let manifests = || {
        rendered
            .manifests
            .iter()
            .map(|one| (one.source.as_str(), one.object()))
    };
    let hooks = || {
        rendered
            .hooks
            .iter()
            .map(|hook| (hook.path.as_str(), hook.object()))
    };
    let mut files = Files::default();
    let mut put = |documents| files.put_all(documents);
    match strategy {
        PostRenderStrategy::Combined => put(patched(manifests().chain(hooks()), steps)?),
        PostRenderStrategy::Separate => {
            put(patched(manifests(), steps)?);
            put(patched(hooks(), steps)?);
        }
        PostRenderStrategy::NoHooks => {
            put(patched(manifests(), steps)?);
            put(hooks()
                .map(|(source, hook)| (source.to_owned(), hook.clone()))
                .collect());
        }
    }
    replace_rendered(rendered, &files.0).map_err(|error| error.to_string())
}

/// Documents after all steps.
fn patched<'a>(
    documents: impl Iterator<Item = (&'a str, &'a Value)>,
    steps: &[&KustomizePostRenderer],
) -> Result<Vec<(String, Value)>, String> {
    let mut all: Vec<Value> = documents
        .filter(|(_, document)| document.is_object())
        .map(|(source, document)| {
            let mut document = document.clone();
            document.set_annotation(SOURCE, source);
            document
        })
        .collect();
    for step in steps {
        if !all.is_empty() {
            all = kustomized(&all, step)?;
        }
    }
    Ok(all
        .into_iter()
        .map(|mut document| {
            let source = document.annotation(SOURCE).unwrap_or_default().to_owned();
            document.remove_annotation(SOURCE);
            (source, document)
        })
        .collect())
}

/// One step of kustomize.
fn kustomized(documents: &[Value], step: &KustomizePostRenderer) -> Result<Vec<Value>, String> {
    let mut text = String::new();
    for document in documents {
        text.push_str("---\n");
        text.push_str(&fluvial_yaml::json_to_yaml(document));
    }
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": ["rendered.yaml"],
        "patches": step.patches, "images": step.images,
    });
    let mut builder = TreeBuilder::default();
    for (name, text) in [
        ("rendered.yaml", text),
        ("kustomization.yaml", fluvial_yaml::json_to_yaml(&kustomization)),
    ] {
        builder
            .file(name, File::new(text.into_bytes(), false))
            .map_err(|error| error.to_string())?;
    }
    let tree: Tree = builder.build();
    let options = fluvial_kustomize::Options {
        remote: false,
        ..fluvial_kustomize::Options::flux()
    };
    let build = fluvial_kustomize::build(&BuildRequest {
        tree: &tree,
        path: &TreePath::root(),
        options: &options,
        remote: &NoRemote,
        charts: &NoCharts,
    })
    .map_err(|error| error.to_string())?;
    build
        .resources
        .iter()
        .map(|resource| resource.to_json().map_err(|error| error.to_string()))
        .collect()
}

/// The cluster as `lookup` sees it.
pub(crate) struct Live {
    /// The cluster, as the identity that applies.
    pub(crate) cluster: Arc<dyn Cluster>,
    /// Where requests run.
    pub(crate) runtime: tokio::runtime::Handle,
}

impl Lookup for Live {
    fn lookup(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<Value, String> {
        self.runtime.block_on(async {
            let resource = self
                .cluster
                .resource(api_version, kind)
                .await
                .map_err(|error| error.to_string())?;
            let namespace = if resource.namespaced { namespace } else { "" };
            if name.is_empty() {
                let select = Select {
                    namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
                    ..Select::default()
                };
                let items = self
                    .cluster
                    .list(&resource, &select)
                    .await
                    .map_err(|error| error.to_string())?;
                return Ok(json!({"apiVersion": api_version, "kind": format!("{kind}List"), "items": items}));
            }
            let target = Target {
                resource: &resource,
                namespace,
                name,
            };
            let found = self
                .cluster
                .get(target)
                .await
                .map_err(|error| error.to_string())?;
            Ok(found.unwrap_or_else(|| Value::Object(Map::new())))
        })
    }
}
