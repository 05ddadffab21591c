//! From a Kustomization's spec and files to the objects that it stands for: what the controller applies is what the
//! command line shows. Pure; runs on threads that may block.

use fluvial_delivery::control::Owner;
use fluvial_delivery::substitute::{Place, Substitution};
use fluvial_kustomize::flux::{self, FluxOverlay};
use fluvial_kustomize::{BuildRequest, NoCharts, NoRemote, Options, Reads, RemoteResolver};
use fluvial_object::ObjectExt;
use fluvial_ports::Decryptor;
use fluvial_tree::{File, Tree, TreePath};
use serde_json::Value;

use crate::decrypt;

/// What to render.
#[derive(Clone, Copy)]
pub struct Recipe<'a> {
    /// `spec` of the Kustomization.
    pub spec: &'a Value,
    /// Whose objects they are.
    pub owner: &'a Owner,
    /// The files.
    pub tree: &'a Tree,
    /// The folder in them.
    pub path: &'a TreePath,
    /// Variables.
    pub substitution: &'a Substitution,
    /// Who fetches remote bases; without it they are refused.
    pub remote: Option<&'a dyn RemoteResolver>,
    /// Who reads what is encrypted; without it, encrypted it stays.
    pub decryptor: Option<&'a dyn Decryptor>,
    /// The absolute path that the tree's root stands for.
    pub root: Option<&'a str>,
}

/// One object, and where it comes from.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The object.
    pub object: Value,
    /// File and line.
    pub place: Option<Place>,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Rendering {
    /// The objects in the order of the build.
    pub objects: Vec<Rendered>,
    /// What was read of the tree.
    pub reads: Reads,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Why there is no rendering.
#[derive(Debug)]
pub enum RenderError {
    /// The kustomization file cannot be made or completed.
    Complete(fluvial_kustomize::Error),
    /// kustomize refuses.
    Build(fluvial_kustomize::Error),
    /// A variable.
    PostBuild(String),
    /// Something does not decrypt.
    Decryption(decrypt::Refused),
    /// An object is none, or the spec cannot be read.
    Other(String),
}

impl std::fmt::Display for RenderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RenderError::Complete(error) | RenderError::Build(error) => {
                write!(f, "kustomize build failed: {error}")
            }
            RenderError::PostBuild(text) => write!(f, "post build failed for {text}"),
            RenderError::Decryption(refused) => f.write_str(&refused.message),
            RenderError::Other(text) => f.write_str(text),
        }
    }
}

/// The tree with its kustomization file made or completed, as the spec says.
pub(crate) fn complete(tree: &Tree, path: &TreePath, spec: &Value) -> Result<Tree, RenderError> {
    let overlay = FluxOverlay::from_spec(spec).map_err(|error| RenderError::Other(error.to_string()))?;
    flux::complete(tree, path, &overlay).map_err(RenderError::Complete)
}

/// The objects of a Kustomization.
///
/// # Errors
/// The build fails, a variable has no value, something does not decrypt.
pub fn render(recipe: &Recipe<'_>) -> Result<Rendering, RenderError> {
    let tree = complete(recipe.tree, recipe.path, recipe.spec)?;
    let plain = match recipe.decryptor {
        Some(decryptor) => decrypt::files(&tree, recipe.path, decryptor).map_err(RenderError::Decryption)?,
        None => tree.clone(),
    };
    let options = Options {
        root_path: recipe.root.map(str::to_owned),
        remote: recipe.remote.is_some(),
        ..Options::flux()
    };
    let request = BuildRequest {
        tree: &plain,
        path: recipe.path,
        options: &options,
        remote: recipe.remote.unwrap_or(&NoRemote),
        charts: &NoCharts,
    };
    let build = fluvial_kustomize::build(&request).map_err(RenderError::Build)?;
    let mut rendering = Rendering {
        objects: Vec::with_capacity(build.resources.len()),
        warnings: build
            .warnings
            .iter()
            .map(|warning| warning.message.clone())
            .collect(),
        reads: Reads::default(),
    };
    for resource in &build.resources {
        let place = build.file(resource.origin.file).map(|file| Place {
            file: file.to_owned(),
            line: resource.origin.line,
        });
        let object = resource.to_json().map_err(|error| {
            let at = place
                .as_ref()
                .map(|place| format!("{}:{}: ", place.file, place.line));
            RenderError::Other(format!("{}{error}", at.unwrap_or_default()))
        })?;
        if object.group() == "kustomize.config.k8s.io" {
            continue;
        }
        let object = finish(recipe, object, place.as_ref())?;
        rendering.objects.push(Rendered { object, place });
    }
    rendering.reads = build.reads;
    if recipe.decryptor.is_some() {
        // Whether it reads the same again is seen by what is there, not by what it says.
        for (path, digest) in &mut rendering.reads.files {
            *digest = tree.file(path).ok().map(File::digest);
        }
    }
    Ok(rendering)
}

/// Decryption, variables and metadata of one object.
fn finish(recipe: &Recipe<'_>, mut object: Value, place: Option<&Place>) -> Result<Value, RenderError> {
    if let Some(decryptor) = recipe.decryptor
        && let Some(plain) = decrypt::object(&object, decryptor).map_err(RenderError::Decryption)?
    {
        object = plain;
    }
    match recipe.substitution.object(&object) {
        Ok(None) => {}
        Ok(Some(substituted)) => object = substituted,
        Err(error) => {
            let error = match place {
                Some(place) => error.at(place.clone()),
                None => error,
            };
            return Err(RenderError::PostBuild(error.to_string()));
        }
    }
    let common = |part: &str| {
        let fields = recipe
            .spec
            .get("commonMetadata")
            .and_then(|common| common.get(part));
        let fields = fields.and_then(Value::as_object).into_iter().flatten();
        // What YAML reads as a boolean or a number is text here.
        fields.map(|(key, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (key.clone(), text)
        })
    };
    for (key, value) in common("labels") {
        object.set_label(&key, &value);
    }
    for (key, value) in common("annotations") {
        object.set_annotation(&key, &value);
    }
    recipe.owner.label(&mut object);
    Ok(object)
}
