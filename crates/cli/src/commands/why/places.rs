//! Where objects are written: their Kustomization rendered again from its source's artifact.

use std::collections::BTreeMap;
use std::sync::Arc;

use fluvial_delivery::substitute::{Reference, references};
use fluvial_object::ObjectExt;
use fluvial_ports::{Artifact, Select};
use fluvial_tree::{Tree, TreePath};
use serde_json::Value;

use super::look::{Found, Looker};
use crate::environment::Outside;
use crate::nouns;
use crate::render::{self, Recipe, Rendered};
use crate::state::{self, field, shorten_digests, text};
use crate::view::owner;

/// `file:line`, and the source that it is in.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    /// `file:line`.
    pub place: String,
    /// Source and revision.
    pub source: String,
}

/// What was rendered so far, by Kustomization.
#[derive(Default)]
pub(crate) struct Places {
    rendered: BTreeMap<String, Option<Made>>,
    trees: BTreeMap<String, Option<Tree>>,
}

struct Made {
    items: Arc<Vec<Rendered>>,
    source: String,
}

impl Places {
    /// Where an object is written, and who makes it; whoever asked for it is thought of first. Everything here may fail without harm: the chain is the answer,
    /// and places are an addition to it.
    pub(crate) async fn of(
        &mut self,
        looker: &Looker<'_>,
        outside: &dyn Outside,
        found: &Found,
        asker: Option<&str>,
    ) -> (Option<Placed>, Option<Found>) {
        let id = found.id();
        let makers = match found {
            Found::Object(object) | Found::Judged { object, .. } => match owner(object) {
                Some(owner) => vec![owner],
                None => return (None, None),
            },
            Found::Absent { .. } => {
                let mut makers = all(looker).await;
                makers.sort_by_key(|maker| Some(maker.as_str()) != asker);
                makers
            }
        };
        for maker in makers {
            let parts: Vec<&str> = maker.split('/').collect();
            let ["Kustomization", namespace, name] = parts[..] else {
                continue;
            };
            let Some(noun) = nouns::of_kind("Kustomization") else {
                continue;
            };
            let found = looker
                .get(&noun.info().api_version(), "Kustomization", namespace, name)
                .await;
            let Ok(Found::Object(object)) = found else {
                continue;
            };
            if !self.rendered.contains_key(&maker) {
                let made = self.make(looker, outside, &object).await;
                self.rendered.insert(maker.clone(), made);
            }
            let Some(Some(made)) = self.rendered.get(&maker) else {
                continue;
            };
            let item = made.items.iter().find(|item| state::id(&item.object) == id);
            if let Some(place) = item.and_then(|item| item.place.as_ref()) {
                let placed = Placed {
                    place: format!("{}:{}", place.file, place.line),
                    source: made.source.clone(),
                };
                return (Some(placed), Some(Found::Object(object)));
            }
        }
        (None, None)
    }

    async fn make(&mut self, looker: &Looker<'_>, outside: &dyn Outside, object: &Value) -> Option<Made> {
        let reference = field(object, &["spec", "sourceRef"])?;
        let kind = text(reference, &["kind"])?;
        let namespace = text(reference, &["namespace"]).unwrap_or(state::namespace(object));
        let name = text(reference, &["name"])?;
        let version = nouns::of_kind(kind)?.info().api_version();
        let Ok(Found::Object(source)) = looker.get(&version, kind, namespace, name).await else {
            return None;
        };
        let artifact = artifact(&source)?;
        let revision = shorten_digests(&artifact.revision);
        let tree = match self.trees.get(&artifact.digest) {
            Some(tree) => tree.clone(),
            None => {
                let tree = outside.artifact(&artifact).await.ok();
                self.trees.insert(artifact.digest.clone(), tree.clone());
                tree
            }
        }?;
        let mut variables = vec![];
        if let Some(post_build) = field(object, &["spec", "postBuild"]) {
            for reference in references(post_build) {
                let namespace = state::namespace(object);
                let found = looker
                    .get("v1", &reference.kind, namespace, &reference.name)
                    .await;
                if let Ok(Found::Object(object)) = found {
                    variables.push(*object);
                }
            }
        }
        let items = rendered(object.clone(), tree, variables).await?;
        Some(Made {
            items: Arc::new(items),
            source: format!("{} at {revision}", state::id(&source)),
        })
    }
}

async fn rendered(object: Value, tree: Tree, variables: Vec<Value>) -> Option<Vec<Rendered>> {
    let work = move || {
        let find = |reference: &Reference| {
            let is_it = |object: &&Value| object.kind() == reference.kind && object.name() == reference.name;
            variables.iter().find(is_it)
        };
        let substitution = render::substitution(&object, false, &find).ok()?;
        let path = text(&object, &["spec", "path"]).unwrap_or_default();
        let path = TreePath::parse(path.trim_start_matches('/')).ok()?;
        render::render(&Recipe {
            object: &object,
            tree: &tree,
            path: &path,
            substitution: &substitution,
            decryptor: None,
            root: None,
        })
        .ok()
    };
    tokio::task::spawn_blocking(work).await.ok()?
}

/// All Kustomizations, by id.
async fn all(looker: &Looker<'_>) -> Vec<String> {
    let Some(noun) = nouns::of_kind("Kustomization") else {
        return vec![];
    };
    let objects = looker.cluster.list(&noun.resource(), &Select::default()).await;
    objects.unwrap_or_default().iter().map(state::id).collect()
}

/// The artifact in a source's status.
pub(crate) fn artifact(source: &Value) -> Option<Artifact> {
    let artifact = field(source, &["status", "artifact"])?;
    let part = |name: &str| text(artifact, &[name]).map(str::to_owned);
    Some(Artifact {
        path: part("path").unwrap_or_default(),
        url: part("url")?,
        revision: part("revision").unwrap_or_default(),
        digest: part("digest")?,
        size: field(artifact, &["size"])
            .and_then(Value::as_u64)
            .unwrap_or_default(),
    })
}
