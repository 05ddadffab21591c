//! A build: from a folder of a tree to ordered objects.

use fluvial_tree::{Tree, TreePath};
use fluvial_yaml::{Node, NodeData, ScalarStyle};

use crate::accumulate::Target;
use crate::error::{Error, Result};
use crate::fieldspec::FieldSpec;
use crate::id::Gvk;
use crate::kustomization::read::Text;
use crate::options::{Options, Reorder};
use crate::parallel;
use crate::provenance::Trace;
use crate::remote::{ChartRenderer, RemoteResolver};
use crate::resmap::ResMap;
use crate::resource::Resource;
use crate::session::{Reads, Session, Warning};
use crate::transformers::Transformer as _;
use crate::transformers::labels::EntriesTransformer;
use crate::transformers::sort_order::{SortOrder, SortOrderTransformer};

/// The release of kustomize whose behaviour this is, as `managedByLabel` writes it.
pub const KUSTOMIZE_VERSION: &str = "kustomize-v5.8.1";

/// What to build.
#[derive(Clone, Copy)]
pub struct BuildRequest<'a> {
    /// The files.
    pub tree: &'a Tree,
    /// The folder with the kustomization.
    pub path: &'a TreePath,
    /// The choices.
    pub options: &'a Options,
    /// Fetches what is elsewhere; [`crate::NoRemote`] refuses it.
    pub remote: &'a dyn RemoteResolver,
    /// Renders charts; [`crate::NoCharts`] refuses them.
    pub charts: &'a dyn ChartRenderer,
}

/// What a build gives.
#[derive(Clone, Debug, Default)]
pub struct Build {
    /// The objects in order.
    pub resources: Vec<Resource>,
    /// What kustomize would print to standard error.
    pub warnings: Vec<Warning>,
    /// What was read.
    pub reads: Reads,
    /// The names of the files that positions speak of; those of other repositories have their
    /// address in front.
    pub files: Vec<String>,
}

impl Build {
    /// The name of the file that a position is in.
    #[must_use]
    pub fn file(&self, id: fluvial_yaml::FileId) -> Option<&str> {
        self.files.get(id.0 as usize).map(String::as_str)
    }

    /// The objects as documents, as `kustomize build` prints them, by as many threads at once.
    ///
    /// # Errors
    /// If a mapping has a key twice.
    pub fn to_yaml(&self, threads: usize) -> Result<String> {
        parallel::write(&self.resources, threads, |resource| {
            fluvial_yaml::node_to_yaml(&resource.node).map_err(|error| {
                let file = self.file(error.pos.file).unwrap_or_default();
                Error::new(error.message).at(file, error.pos.line)
            })
        })
    }
}

/// Builds a kustomization.
///
/// # Errors
/// If anything in it is wrong; see [`Error`].
pub fn build(request: &BuildRequest<'_>) -> Result<Build> {
    let session = Session::new(request.options, request.remote, request.charts);
    let target = Target::root(&session, request.tree, request.path)?;
    let mut map = target.build()?;
    sort(&mut map, &target, &session)?;
    if request.options.managed_by_label || target.kustomization.wants("managedByLabel") {
        add_managed_by_label(&mut map, &session)?;
    }
    let origin = target.kustomization.wants("originAnnotations");
    let transformations = target.kustomization.wants("transformerAnnotations");
    let mut resources = map.into_resources();
    for resource in &mut resources {
        finish(resource, origin, transformations)?;
    }
    drop(target);
    let (files, warnings, reads) = session.finish();
    Ok(Build {
        resources,
        warnings,
        reads,
        files,
    })
}

fn sort(map: &mut ResMap, target: &Target<'_, '_>, session: &Session<'_>) -> Result<()> {
    let order = match (&target.kustomization.sort_order, session.options.reorder) {
        (Some(order), _) => order.clone(),
        (None, Reorder::None) => return Ok(()),
        (None, Reorder::Legacy) => SortOrder::legacy(),
    };
    SortOrderTransformer { order }.transform(map, session)
}

fn add_managed_by_label(map: &mut ResMap, session: &Session<'_>) -> Result<()> {
    let label = (
        "app.kubernetes.io/managed-by".to_owned(),
        Text {
            text: KUSTOMIZE_VERSION.to_owned(),
            pos: fluvial_yaml::Pos::NONE,
        },
    );
    EntriesTransformer {
        entries: [label].into(),
        fields: vec![FieldSpec::new(Gvk::default(), "metadata/labels", true)],
    }
    .transform(map, session)
}

const ORIGIN: &str = "config.kubernetes.io/origin";
const TRANSFORMATIONS: &str = "alpha.config.kubernetes.io/transformations";

/// Annotations of the build itself, which an object may bring along.
fn is_internal(key: &str) -> bool {
    match key.strip_prefix("internal.config.kubernetes.io/") {
        Some(name) => BOOKKEEPING.contains(&name),
        None => matches!(
            key,
            "config.kubernetes.io/path"
                | "config.kubernetes.io/index"
                | "config.k8s.io/id"
                | ORIGIN
                | TRANSFORMATIONS
        ),
    }
}

/// The names under `internal.config.kubernetes.io/` that the reference keeps its records under: others are an object's own.
const BOOKKEEPING: [&str; 16] = [
    "previousKinds",
    "previousNames",
    "previousNamespaces",
    "prefixes",
    "suffixes",
    "refBy",
    "generatorBehavior",
    "needsHashSuffix",
    "allowNameChange",
    "allowKindChange",
    "path",
    "index",
    "seqindent",
    "id",
    "annotations-migration-resource-id",
    "helm-generated",
];

/// Brings annotations to their final form: strings, nothing of the build, what was asked for.
fn finish(resource: &mut Resource, origin: bool, transformations: bool) -> Result<()> {
    let has_field = resource
        .node
        .get("metadata")
        .is_some_and(|metadata| metadata.get("annotations").is_some());
    if has_field {
        let plain = resource.annotations().iter().all(|(key, _)| !is_internal(key))
            && all_plain_strings(resource)
            && !resource.annotations().is_empty();
        if !plain {
            let kept: Vec<(String, String)> = resource
                .annotations()
                .into_iter()
                .filter(|(key, _)| !is_internal(key))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            resource.set_metadata_map("annotations", &kept)?;
        }
    }
    if origin && let Some(trace) = resource.trace.clone() {
        resource.annotate(ORIGIN, &trace.to_text())?;
    }
    if transformations && !resource.transformations.is_empty() {
        let text = Trace::list_to_text(&resource.transformations);
        resource.annotate(TRANSFORMATIONS, &text)?;
    }
    Ok(())
}

/// Whether all annotations are strings, and none is folded: the reference writes them anew, and a folded text that is
/// written and read again is another.
fn all_plain_strings(resource: &Resource) -> bool {
    let folded = |node: &Node| {
        matches!(
            node.data,
            NodeData::Scalar {
                style: ScalarStyle::Folded,
                ..
            }
        )
    };
    resource
        .node
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"))
        .and_then(Node::entries)
        .is_none_or(|entries| {
            entries
                .iter()
                .all(|entry| crate::nodes::is_string(&entry.value) && !folded(&entry.value))
        })
}

/// A convenience for callers that only want text.
///
/// # Errors
/// As [`build`] and [`Build::to_yaml`].
pub fn build_to_yaml(request: &BuildRequest<'_>) -> Result<String, Error> {
    build(request)?.to_yaml(request.options.threads)
}

/// Reads a file of resources by itself.
///
/// # Errors
/// If it is malformed or holds something without identity.
pub fn load(text: &str) -> Result<Vec<Resource>> {
    let options = Options::default();
    let session = Session::new(&options, &crate::NoRemote, &crate::NoCharts);
    let file = session.add_file("input");
    crate::parse::resources(&session, text, file)
}
