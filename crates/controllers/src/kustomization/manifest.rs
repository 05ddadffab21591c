//! From files to objects: completion of the kustomization, build, substitution, metadata. Pure; runs on threads that
//! may block.

use std::sync::Arc;

use fluvial_api::Kustomization;
use fluvial_delivery::control::Owner;
use fluvial_delivery::inventory;
use fluvial_delivery::normalise::normalise;
use fluvial_delivery::substitute::{Place, Substitution};
use fluvial_kustomize::{Reads, RemoteResolver};
use fluvial_object::{ObjectExt, ObjectId};
use fluvial_ports::Decryptor;
use fluvial_schema::SchemaSet;
use fluvial_tree::{Digest, Tree, TreePath};
use serde_json::Value;

use super::step::{BUILD_FAILED, RECONCILIATION_FAILED};
use crate::decrypt::still_encrypted;
use crate::deliverer::failure::{ARTIFACT_FAILED, Failure};
use crate::render::{self, Rendered, render};

/// One object as it is to be applied.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Which object.
    pub(crate) id: ObjectId,
    /// The object, with owner labels.
    pub(crate) object: Value,
    /// Digest of the object: whether it is the same as last time.
    pub(crate) digest: Digest,
    /// Where it comes from.
    pub(crate) place: Option<Place>,
}

impl Item {
    /// The object with its place, for messages.
    pub(crate) fn named(&self) -> String {
        match &self.place {
            Some(place) => format!("{} ({}:{})", self.id, place.file, place.line),
            None => self.id.to_string(),
        }
    }
}

/// Everything that a Kustomization wants at a revision.
#[derive(Debug)]
pub(crate) struct Built {
    /// The objects in the order of the build.
    pub(crate) items: Vec<Item>,
    /// Digest of all of it.
    pub(crate) digest: String,
    /// What was read.
    pub(crate) reads: Reads,
    /// What a person should know.
    pub(crate) warnings: Vec<String>,
}

/// What a build is made with, besides the files.
#[derive(Clone)]
pub(crate) struct Recipe {
    /// Whose build it is.
    pub(crate) object: Arc<Kustomization>,
    /// Variables.
    pub(crate) substitution: Arc<Substitution>,
    /// Keys, if the spec asks for decryption.
    pub(crate) decryptor: Option<Arc<dyn Decryptor>>,
    /// Schemas of the built-in kinds.
    pub(crate) schemas: SchemaSet,
}

/// The folder that a Kustomization builds.
pub(crate) fn folder(object: &Kustomization) -> Result<TreePath, Failure> {
    let path = object.spec.path.trim_start_matches('/');
    TreePath::parse(path).map_err(|error| {
        Failure::stalled(
            ARTIFACT_FAILED,
            format!(
                "kustomization path not found: spec.path '{}': {error}",
                object.spec.path
            ),
        )
    })
}

/// Builds.
pub(crate) fn make(
    tree: &Tree,
    revision: &str,
    recipe: &Recipe,
    remote: Option<&dyn RemoteResolver>,
) -> Result<Built, Failure> {
    let path = folder(&recipe.object)?;
    if !tree.is_folder(&path) {
        return Err(missing(tree, &path, revision));
    }
    let spec = spec(&recipe.object)?;
    let metadata = &recipe.object.metadata;
    let rendering = render(&render::Recipe {
        spec: &spec,
        owner: &Owner::new(metadata.namespace.as_str(), metadata.name.as_str()),
        tree,
        path: &path,
        substitution: &recipe.substitution,
        remote,
        decryptor: recipe.decryptor.as_deref(),
        root: None,
    })
    .map_err(|error| Failure::retry(BUILD_FAILED, error.to_string()))?;
    let mut warnings = rendering.warnings;
    let mut items = Vec::with_capacity(rendering.objects.len());
    let mut all = Vec::new();
    for rendered in rendering.objects {
        let item = item(rendered, recipe, &mut warnings)?;
        all.extend_from_slice(item.digest.as_bytes());
        items.push(item);
    }
    Ok(Built {
        items,
        digest: fluvial_delivery::history::digest(&all),
        reads: rendering.reads,
        warnings,
    })
}

fn spec(object: &Kustomization) -> Result<Value, Failure> {
    serde_json::to_value(&object.spec)
        .map_err(|error| Failure::retry(BUILD_FAILED, format!("kustomize build failed: {error}")))
}

/// Whether a build of this tree would read what an earlier one has read.
pub(crate) fn reads_same(tree: &Tree, object: &Kustomization, reads: &Reads) -> bool {
    let Ok(path) = folder(object) else { return false };
    let Ok(spec) = spec(object) else { return false };
    render::complete(tree, &path, &spec).is_ok_and(|tree| reads.same_in(&tree))
}

fn missing(tree: &Tree, path: &TreePath, revision: &str) -> Failure {
    let mut parent = path.parent();
    while let Some(folder) = &parent
        && !tree.is_folder(folder)
    {
        parent = folder.parent();
    }
    let parent = parent.unwrap_or_else(TreePath::root);
    let what = if tree.get(path).is_some() {
        "is no folder"
    } else {
        "is not in the source"
    };
    let there: Vec<&str> = tree
        .children(&parent)
        .filter(|(child, _)| tree.is_folder(child))
        .filter_map(|(child, _)| child.name())
        .take(8)
        .collect();
    let at = if parent.is_root() { "/" } else { parent.as_str() };
    let hint = if there.is_empty() {
        String::new()
    } else {
        format!("; folders in '{at}': {}", there.join(", "))
    };
    Failure::retry(
        ARTIFACT_FAILED,
        format!("kustomization path not found: '{path}' {what} at revision {revision}{hint}"),
    )
}

/// An object of Flux in the version that is served, and a definition of Flux's kinds that serves this version: a repository
/// may hold both from years ago.
fn current(object: Value, warnings: &mut Vec<String>) -> Value {
    let before = object.api_version().to_owned();
    if object.kind() == "CustomResourceDefinition" {
        return match fluvial_api::current_definition(&object) {
            Some(current) => {
                warnings.push(format!(
                    "{} is an older definition, which does not serve what is needed here; the present one is applied",
                    object.id()
                ));
                current
            }
            None => object,
        };
    }
    let object = fluvial_api::convert::to_current(object);
    if object.api_version() != before {
        warnings.push(format!(
            "{} is of version {before}, which is served no more; it is applied as {}",
            object.id(),
            object.api_version()
        ));
    }
    object
}

/// One built object, made ready.
fn item(rendered: Rendered, recipe: &Recipe, warnings: &mut Vec<String>) -> Result<Item, Failure> {
    let Rendered { mut object, place } = rendered;
    let failed = |text: String| {
        let at = place
            .as_ref()
            .map(|place| format!("{}:{}: ", place.file, place.line))
            .unwrap_or_default();
        Failure::retry(BUILD_FAILED, format!("{at}{text}"))
    };
    if let Some(field) = still_encrypted(&object) {
        let refused = failed(format!(
            "{} is SOPS encrypted (it has {field}), configuring decryption is required for this {} to be reconciled",
            object.id(),
            object.kind().to_lowercase()
        ));
        return Err(Failure {
            reason: RECONCILIATION_FAILED.into(),
            ..refused
        });
    }
    object = current(object, warnings);
    for (field, text) in [
        ("apiVersion", object.api_version()),
        ("kind", object.kind()),
        ("metadata.name", object.name()),
    ] {
        if text.is_empty() {
            return Err(failed(format!("{} has no {field}", object.id())));
        }
    }
    let id = object.id();
    if inventory::decode(&inventory::encode(&id)).ok().as_ref() != Some(&id) {
        return Err(failed(format!(
            "{id}: a name with '_' cannot be kept in the inventory; rename the object"
        )));
    }
    for field in normalise(&mut object, &recipe.schemas) {
        warnings.push(format!("{id}: unknown field '{field}' is left out"));
    }
    let digest = Digest::of(object.to_string().as_bytes());
    Ok(Item {
        id,
        object,
        digest,
        place,
    })
}
