//! From a Kustomization object and files to the objects that it stands for, with the engines that the controllers use.

use fluvial_delivery::control::Owner;
use fluvial_delivery::substitute::{Place, Reference, Substitution};
use fluvial_kustomize::flux::{self, FluxOverlay};
use fluvial_kustomize::{BuildRequest, NoCharts, NoRemote, Options};
use fluvial_object::ObjectExt;
use fluvial_tree::{Tree, TreePath};
use serde_json::{Value, json};

use crate::state::{field, name, namespace, text};

/// What to render.
pub(crate) struct Recipe<'a> {
    /// The Kustomization object.
    pub object: &'a Value,
    /// The files.
    pub tree: &'a Tree,
    /// The folder in them.
    pub path: &'a TreePath,
    /// Variables.
    pub substitution: &'a Substitution,
    /// The absolute path that the tree's root stands for.
    pub root: Option<&'a str>,
}

/// One object, and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Rendered {
    /// The object.
    pub object: Value,
    /// File and line.
    pub place: Option<Place>,
}

/// The objects of a Kustomization in the order of the build.
pub(crate) fn render(recipe: &Recipe<'_>) -> Result<Vec<Rendered>, String> {
    let null = Value::Null;
    let spec = recipe.object.get("spec").unwrap_or(&null);
    let overlay = FluxOverlay::from_spec(spec).map_err(|error| error.to_string())?;
    let tree = flux::complete(recipe.tree, recipe.path, &overlay)
        .map_err(|error| generation_failed(&error, recipe.root))?;
    let options = Options {
        root_path: recipe.root.map(str::to_owned),
        ..Options::flux()
    };
    let request = BuildRequest {
        tree: &tree,
        path: recipe.path,
        options: &options,
        remote: &NoRemote,
        charts: &NoCharts,
    };
    let build =
        fluvial_kustomize::build(&request).map_err(|error| format!("kustomize build failed: {error}"))?;
    let owner = Owner::new(namespace(recipe.object), name(recipe.object));
    let mut all = Vec::with_capacity(build.resources.len());
    for resource in &build.resources {
        let place = build.file(resource.origin.file).map(|file| Place {
            file: file.to_owned(),
            line: resource.origin.line,
        });
        let mut object = resource.to_json().map_err(|error| error.to_string())?;
        match recipe.substitution.object(&object) {
            Ok(Some(substituted)) => object = substituted,
            Ok(None) => {}
            Err(error) => {
                let error = match place {
                    Some(place) => error.at(place),
                    None => error,
                };
                return Err(format!("post build failed for {error}"));
            }
        }
        for (part, set) in [("labels", true), ("annotations", false)] {
            let common = field(spec, &["commonMetadata", part]).and_then(Value::as_object);
            for (key, value) in common.into_iter().flatten() {
                // What YAML reads as a boolean or a number is text here.
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                if set {
                    object.set_label(key, &value);
                } else {
                    object.set_annotation(key, &value);
                }
            }
        }
        owner.label(&mut object);
        all.push(Rendered { object, place });
    }
    Ok(all)
}

fn generation_failed(error: &fluvial_kustomize::Error, root: Option<&str>) -> String {
    let place = error.location().filter(|location| !location.file.is_empty());
    match (place, root) {
        (Some(location), Some(root)) => format!(
            "failed to generate kustomization.yaml: failed to decode Kubernetes YAML from {root}{}: {}",
            location.file,
            error.message()
        ),
        _ => format!("failed to generate kustomization.yaml: {error}"),
    }
}

/// A message with the paths of the tree as paths from the working folder.
pub(crate) fn localise(message: &str, folder: &std::path::Path) -> String {
    let folder = folder.to_string_lossy();
    let prefix = format!("{}/", folder.trim_start_matches('/'));
    if prefix.len() == 1 {
        return message.to_owned();
    }
    let mut text = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.find(&prefix) {
        let absolute = rest[..at].ends_with('/');
        text.push_str(&rest[..at]);
        if absolute {
            text.push_str(&prefix);
        }
        rest = &rest[at + prefix.len()..];
    }
    text.push_str(rest);
    text
}

/// The variables of a Kustomization; `find` gives what it takes them from.
pub(crate) fn substitution<'o>(
    object: &Value,
    strict: bool,
    find: &dyn Fn(&Reference) -> Option<&'o Value>,
) -> Result<Substitution, String> {
    match field(object, &["spec", "postBuild"]) {
        None => Ok(Substitution::default()),
        Some(post_build) => {
            Substitution::from_post_build(post_build, strict, find).map_err(|error| error.to_string())
        }
    }
}

/// Takes encrypted values out of sight, as they are no use to a reader.
pub(crate) fn hide_encrypted(object: &mut Value) {
    const MASK: &str = "KipTT1BTKio=";
    const DOCKER: &str = r#"{"mask":"**SOPS**"}"#;
    if object.kind() != "Secret" {
        return;
    }
    let is_docker = text(object, &["type"]) == Some("kubernetes.io/dockerconfigjson");
    let whole = object.get("sops").is_some();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("sops");
    }
    if whole && let Some(texts) = object.get_mut("stringData").and_then(Value::as_object_mut) {
        for value in texts.values_mut() {
            *value = json!(if is_docker { DOCKER } else { "**SOPS**" });
        }
    }
    let Some(data) = object.get_mut("data").and_then(Value::as_object_mut) else {
        return;
    };
    for value in data.values_mut() {
        let encrypted = || {
            use base64::Engine as _;
            let compact: String = value.as_str().unwrap_or_default().split_whitespace().collect();
            let decoded = base64::engine::general_purpose::STANDARD.decode(compact);
            let text = String::from_utf8(decoded.unwrap_or_default()).unwrap_or_default();
            text.contains("sops") && text.contains("ENC[")
        };
        if whole && is_docker {
            *value = json!("eyJtYXNrIjoiKipTT1BTKioifQ==");
        } else if whole || encrypted() {
            *value = json!(MASK);
        }
    }
}
