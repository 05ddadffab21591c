//! What of a release is to be done in which order: objects out of manifests, hooks of an event, removal.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::StoredHook;
use crate::error::{Error, Stage};
use crate::manifest::{self, Manifest};
use crate::render::Rendered;
use crate::values::yaml_to_json;

/// An object of a release.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The template that made it.
    pub source: String,
    /// The object.
    pub object: Json,
}

impl Object {
    fn text(&self, pointer: &str) -> &str {
        self.object
            .pointer(pointer)
            .and_then(Json::as_str)
            .unwrap_or_default()
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// Whether an uninstallation, or an upgrade that has it no more, leaves it where it is.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.text("/metadata/annotations/helm.sh~1resource-policy")
            .trim()
            .eq_ignore_ascii_case("keep")
    }
}

/// Moments of an action at which hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before an installation.
    PreInstall,
    /// After an installation.
    PostInstall,
    /// Before an upgrade.
    PreUpgrade,
    /// After an upgrade.
    PostUpgrade,
    /// Before a rollback.
    PreRollback,
    /// After a rollback.
    PostRollback,
    /// Before an uninstallation.
    PreDelete,
    /// After an uninstallation.
    PostDelete,
    /// When the release is tested.
    Test,
}

impl Phase {
    /// Helm's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::PreInstall => "pre-install",
            Phase::PostInstall => "post-install",
            Phase::PreUpgrade => "pre-upgrade",
            Phase::PostUpgrade => "post-upgrade",
            Phase::PreRollback => "pre-rollback",
            Phase::PostRollback => "post-rollback",
            Phase::PreDelete => "pre-delete",
            Phase::PostDelete => "post-delete",
            Phase::Test => "test",
        }
    }
}

/// The hooks of a moment, as positions in the list, in the order in which they run.
#[must_use]
pub fn hooks_of(hooks: &[StoredHook], phase: Phase) -> Vec<usize> {
    let mut found: Vec<usize> = (0..hooks.len())
        .filter(|position| hooks[*position].is_for(phase.as_str()))
        .collect();
    found.sort_by_key(|position| hooks[*position].weight);
    found
}

/// The objects of a stored manifest, in the order in which it has them; lists are taken apart.
///
/// # Errors
/// If a document is no YAML.
pub fn objects_of(manifest: &str) -> Result<Vec<Object>, Error> {
    let mut out = Vec::new();
    for document in manifest::split(manifest) {
        let source = document
            .strip_prefix("# Source: ")
            .and_then(|rest| rest.lines().next())
            .unwrap_or_default();
        let json = yaml_to_json(document).map_err(|error| {
            let at = if source.is_empty() { "the manifest" } else { source };
            Error::new(Stage::Manifest, format!("YAML parse error on {at}: {error}"))
        })?;
        flatten(source, json, &mut out);
    }
    Ok(out)
}

fn flatten(source: &str, json: Json, out: &mut Vec<Object>) {
    if !json.is_object() {
        return;
    }
    let is_list = json
        .get("kind")
        .and_then(Json::as_str)
        .is_some_and(|kind| kind.ends_with("List"));
    match json.get("items").and_then(Json::as_array) {
        Some(items) if is_list => {
            for item in items.clone() {
                flatten(source, item, out);
            }
        }
        _ => out.push(Object {
            source: source.to_owned(),
            object: json,
        }),
    }
}

/// A manifest in Helm's form of documents that were changed after rendering.
#[must_use]
pub fn manifest_of<'a>(documents: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (source, content) in documents {
        out.push_str("---\n# Source: ");
        out.push_str(source);
        out.push('\n');
        out.push_str(content);
        out.push('\n');
    }
    out
}

/// Puts documents in place of those that were rendered, by the template that made them, and finds out anew which ones
/// are hooks.
///
/// # Errors
/// If a document is no manifest.
pub fn replace_rendered(rendered: &mut Rendered, files: &BTreeMap<String, String>) -> Result<(), Error> {
    let mut documents = Vec::new();
    for (path, text) in files {
        manifest::read(path, text.clone(), &mut documents)?;
    }
    let (manifests, hooks) = manifest::sort(documents);
    rendered.manifests = manifests;
    rendered.hooks = hooks;
    Ok(())
}

/// The order in which objects are removed: that of installation, backwards.
pub fn uninstall_order(objects: &mut [Object]) {
    objects.sort_by(|one, other| manifest::rank(other.kind()).cmp(&manifest::rank(one.kind())));
}

impl From<&Manifest> for Object {
    fn from(manifest: &Manifest) -> Self {
        Object {
            source: manifest.source.clone(),
            object: manifest.object().clone(),
        }
    }
}
