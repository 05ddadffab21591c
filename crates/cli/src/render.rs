//! From a Kustomization object and files to the objects that it stands for, by the function that the controllers use.

use fluvial_controllers::render::{self, RenderError};
use fluvial_delivery::control::Owner;
use fluvial_delivery::substitute::{Reference, Substitution};
use fluvial_kustomize::NoRemote;
use fluvial_object::ObjectExt;
use fluvial_ports::Decryptor;
use fluvial_tree::{Tree, TreePath};
use serde_json::{Value, json};

use crate::state::{field, name, namespace, text};

pub(crate) use fluvial_controllers::render::Rendered;

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
    /// Keys, if what is encrypted is to be read.
    pub decryptor: Option<&'a dyn Decryptor>,
    /// The absolute path that the tree's root stands for.
    pub root: Option<&'a str>,
}

/// The objects of a Kustomization in the order of the build.
pub(crate) fn render(recipe: &Recipe<'_>) -> Result<Vec<Rendered>, String> {
    let null = Value::Null;
    let rendering = render::render(&render::Recipe {
        spec: recipe.object.get("spec").unwrap_or(&null),
        owner: &Owner::new(namespace(recipe.object), name(recipe.object)),
        tree: recipe.tree,
        path: recipe.path,
        substitution: recipe.substitution,
        remote: Some(&NoRemote),
        // Like the controller, only where the Kustomization asks for it.
        decryptor: recipe
            .decryptor
            .filter(|_| field(recipe.object, &["spec", "decryption"]).is_some()),
        root: recipe.root,
    });
    rendering
        .map(|rendering| rendering.objects)
        .map_err(|error| match error {
            RenderError::Complete(error) => generation_failed(&error, recipe.root),
            other => other.to_string(),
        })
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
    from_above(&text, &folder)
}

/// The same for paths that lead into folders above: `../base/a.yaml`, or from the root if that is far away.
fn from_above(message: &str, folder: &str) -> String {
    /// So many folders up a path is still easy to read.
    const NEAR: usize = 4;
    let own: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    let Some(first) = own.first() else {
        return message.to_owned();
    };
    let in_path = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '~' | '@' | '+');
    let mut text = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find(in_path) {
        let (before, from) = rest.split_at(start);
        let (path, after) = from.split_at(from.find(|c| !in_path(c)).unwrap_or(from.len()));
        text.push_str(before);
        rest = after;
        let parts: Vec<&str> = path.split('/').collect();
        if parts.len() < 2 || parts[0] != *first {
            text.push_str(path);
            continue;
        }
        let common = own.iter().zip(&parts).take_while(|(a, b)| a == b).count();
        let up = own.len() - common;
        if up > NEAR {
            text.push('/');
            text.push_str(path);
            continue;
        }
        let steps = std::iter::repeat_n("..", up).chain(parts[common..].iter().copied());
        let relative: Vec<&str> = steps.collect();
        text.push_str(if relative.is_empty() { "." } else { "" });
        text.push_str(&relative.join("/"));
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
