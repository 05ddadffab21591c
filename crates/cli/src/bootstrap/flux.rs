//! What a repository holds of Flux itself, in the `flux-system` folder of a cluster: how it wants its controllers to be
//! started, the accounts that they act as, and the two objects that follow the repository. All of it is read from the
//! folder's own build, because that is where people patch it; files that `flux bootstrap` has not filled yet are
//! filled for this.

use fluvial_delivery::substitute::Substitution;
use fluvial_object::ObjectExt;
use fluvial_tree::{Entry, File, Tree, TreePath};
use serde_json::{Value, json};

use super::FLUX_SYSTEM;
use super::arguments::{self, Asked};
use crate::render::{self, Recipe};

/// Flux's controllers.
const CONTROLLERS: [&str; 7] = [
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-reflector-controller",
    "image-automation-controller",
    "source-watcher",
];
/// Names of kustomization files.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// Kinds of objects that an account consists of.
const ACCOUNT_KINDS: [&str; 5] = [
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
];
/// The file with Flux's controllers.
const COMPONENTS: &str = "gotk-components.yaml";
/// The file with the objects that follow the repository.
const SYNC: &str = "gotk-sync.yaml";

/// What there is of Flux.
#[derive(Debug)]
pub(super) struct Flux {
    /// Accounts that the controllers act as, and what they may do.
    pub accounts: Vec<Value>,
    /// The two objects that follow the repository.
    pub sync: Sync,
    /// How the controllers are to be started.
    pub asked: Asked,
}

/// The objects that follow a repository.
#[derive(Clone, Debug)]
pub(super) struct Sync {
    /// The GitRepository.
    pub source: Value,
    /// The Kustomization.
    pub kustomization: Value,
}

/// Reads the `flux-system` folder below a cluster's folder; `sync` is what `flux bootstrap` would put there.
pub(super) fn read(tree: &Tree, path: &TreePath, sync: Sync) -> Flux {
    let folder = path
        .join(FLUX_SYSTEM)
        .ok()
        .filter(|folder| tree.is_folder(folder));
    let Some(folder) = folder else {
        return Flux {
            accounts: accounts(),
            sync,
            asked: Asked::default(),
        };
    };
    let filled = fill(tree, &folder, &sync);
    // Only what is built with the folder can patch it. A build that fails is for the controllers to complain of.
    let whole = has_kustomization(tree, path)
        .then(|| build(&filled, path))
        .flatten();
    let objects = whole
        .or_else(|| build(&filled, &folder))
        .unwrap_or_else(|| documents(&filled, &folder).collect());
    let asked = arguments::asked(objects.iter());
    let objects = objects.into_iter().map(fluvial_api::convert::to_current);
    let mut own = vec![];
    let (mut source, mut kustomization) = (None, None);
    for object in objects {
        match (object.kind(), object.group()) {
            ("GitRepository", _) if object.name() == FLUX_SYSTEM => source = Some(object),
            ("Kustomization", "kustomize.toolkit.fluxcd.io") if object.name() == FLUX_SYSTEM => {
                kustomization = Some(object);
            }
            (kind, _) if ACCOUNT_KINDS.contains(&kind) && is_of_flux(&object) => own.push(object),
            _ => {}
        }
    }
    let has_account = own
        .iter()
        .any(|object| object.kind() == "ServiceAccount" && object.name() == "kustomize-controller");
    if !has_account {
        own = accounts();
    }
    Flux {
        accounts: own,
        sync: match (source, kustomization) {
            (Some(source), Some(kustomization)) if follows(&kustomization) => Sync {
                source,
                kustomization,
            },
            _ => sync,
        },
        asked,
    }
}

/// Whether a Kustomization takes its files from a Git repository, which alone can be followed from here.
fn follows(kustomization: &Value) -> bool {
    kustomization
        .pointer("/spec/sourceRef/kind")
        .and_then(Value::as_str)
        == Some("GitRepository")
}

fn is_of_flux(object: &Value) -> bool {
    let label = |name: &str| object["metadata"]["labels"][name].as_str();
    label("app.kubernetes.io/part-of") == Some("flux")
        || label("app.kubernetes.io/instance") == Some(FLUX_SYSTEM)
}

fn has_kustomization(tree: &Tree, folder: &TreePath) -> bool {
    KUSTOMIZATIONS
        .iter()
        .any(|name| folder.join(name).is_ok_and(|path| tree.get(&path).is_some()))
}

/// The tree with what `flux bootstrap` writes, where the repository has only empty files for it.
fn fill(tree: &Tree, folder: &TreePath, sync: &Sync) -> Tree {
    let mut builder = tree.to_builder();
    let mut put = |name: &str, objects: &[Value]| {
        let Ok(path) = folder.join(name) else {
            return;
        };
        let is_empty = match tree.get(&path) {
            None => true,
            Some(Entry::File(file)) => parse(file.data()).next().is_none(),
            Some(_) => false,
        };
        if is_empty {
            let text: Vec<String> = objects.iter().map(fluvial_yaml::json_to_yaml).collect();
            // A tree that is too full for one more file is one that no build takes.
            let _ = builder.file(path.as_str(), File::new(text.join("---\n").into_bytes(), false));
        }
    };
    let mut components = accounts();
    components.extend(CONTROLLERS.map(deployment));
    put(COMPONENTS, &components);
    put(SYNC, &[sync.source.clone(), sync.kustomization.clone()]);
    builder.build()
}

/// The objects of a folder as a Kustomization would build it.
fn build(tree: &Tree, path: &TreePath) -> Option<Vec<Value>> {
    let object = json!({
        "metadata": {"name": FLUX_SYSTEM, "namespace": FLUX_SYSTEM},
        "spec": {"path": format!("./{path}")},
    });
    let rendered = render::render(&Recipe {
        object: &object,
        tree,
        path,
        substitution: &Substitution::default(),
        decryptor: None,
        root: None,
    });
    let objects = rendered
        .ok()?
        .into_iter()
        .map(|rendered| without_owner(rendered.object));
    Some(objects.collect())
}

/// An object without the labels of the Kustomization that would own it.
fn without_owner(mut object: Value) -> Value {
    let labels = object
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut);
    if let Some(labels) = labels {
        labels.retain(|name, _| !name.starts_with("kustomize.toolkit.fluxcd.io/"));
        if labels.is_empty()
            && let Some(metadata) = object["metadata"].as_object_mut()
        {
            metadata.remove("labels");
        }
    }
    object
}

/// The objects of a folder's files as they are.
fn documents<'t>(tree: &'t Tree, folder: &'t TreePath) -> impl Iterator<Item = Value> + 't {
    tree.children(folder)
        .filter_map(|(file, entry)| match entry {
            Entry::File(content) if is_yaml(file.as_str()) => Some(parse(content.data())),
            _ => None,
        })
        .flatten()
}

fn is_yaml(path: &str) -> bool {
    path.ends_with(".yaml") || path.ends_with(".yml")
}

/// The objects of a file; what cannot be read is left out.
fn parse(data: &[u8]) -> impl Iterator<Item = Value> + use<> {
    let text = std::str::from_utf8(data).unwrap_or_default();
    let documents = fluvial_yaml::split_documents(text).unwrap_or_default();
    documents
        .into_iter()
        .filter_map(|document| fluvial_yaml::yaml_to_json(&document, false).ok())
        .filter(Value::is_object)
}

fn labels() -> Value {
    json!({
        "app.kubernetes.io/instance": FLUX_SYSTEM,
        "app.kubernetes.io/part-of": "flux",
    })
}

/// The accounts that Flux's controllers act as; two of them may do everything.
fn accounts() -> Vec<Value> {
    let mut accounts: Vec<Value> = CONTROLLERS
        .iter()
        .map(|name| {
            json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": name, "namespace": FLUX_SYSTEM, "labels": labels()},
            })
        })
        .collect();
    let subject = |name: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": FLUX_SYSTEM});
    accounts.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": format!("cluster-reconciler-{FLUX_SYSTEM}"), "labels": labels()},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [subject("kustomize-controller"), subject("helm-controller")],
    }));
    accounts
}

/// A Deployment for patches to find; it never reaches a cluster.
fn deployment(name: &str) -> Value {
    let container = json!({"name": "manager", "image": name, "args": ["--watch-all-namespaces=true"]});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": FLUX_SYSTEM, "labels": labels()},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "serviceAccountName": name,
                    "containers": [container],
                    "volumes": [{"name": "data", "emptyDir": {}}, {"name": "temp", "emptyDir": {}}],
                },
            },
        },
    })
}
