//! What a cluster needs before it follows a repository: the definitions, a namespace, and the two objects that name
//! repository and folder. Those of the repository's own `flux-system` folder are taken if it has them, so that what is
//! put there first is what the repository puts there later.

use std::collections::BTreeSet;

use fluvial_api::{definitions, keys};
use fluvial_ports::{FetchRequest, Reference};
use fluvial_tree::{Entry, Tree, TreePath};
use serde_json::{Value, json};

use crate::environment::{LocalRepository, Rewrite};

/// Name of the objects and of their namespace.
const FLUX_SYSTEM: &str = "flux-system";

/// Which repository, and what of it.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    /// The URL that objects show.
    pub url: String,
    /// Which revision.
    pub reference: Reference,
    /// Where it is, if it is on this machine.
    pub local: Option<LocalRepository>,
}

impl Repository {
    /// The folder of this machine that stands for a URL of it.
    pub(crate) fn rewrite(&self, url: &str) -> Option<Rewrite> {
        let local = self.local.as_ref()?;
        Some(Rewrite {
            url: url.to_owned(),
            path: local.path.clone(),
            folder: local.folder.clone(),
        })
    }

    /// The place, for people.
    pub(crate) fn place(&self) -> String {
        match &self.local {
            Some(local) => local.path.join(&local.folder).display().to_string(),
            None => self.url.clone(),
        }
    }

    /// What to fetch in order to look at it.
    pub(crate) fn request(&self, timeout: std::time::Duration) -> FetchRequest {
        FetchRequest {
            url: self.url.clone(),
            reference: self.reference.clone(),
            timeout,
            ..FetchRequest::default()
        }
    }
}

/// What to put on the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Definitions and namespace: first of all.
    pub base: Vec<Value>,
    /// What follows the repository.
    pub objects: Vec<Value>,
    /// Rewrites of URLs that this takes.
    pub rewrites: Vec<Rewrite>,
    /// What the user should know.
    pub remarks: Vec<String>,
}

/// The folder to follow when none was named: the only folder of `clusters`, or the whole repository.
pub(crate) fn folder(tree: &Tree, wanted: Option<&str>) -> Result<TreePath, String> {
    if let Some(wanted) = wanted {
        let path = TreePath::parse(wanted.trim_start_matches("./").trim_end_matches('/'))
            .map_err(|error| format!("--path {wanted}: {error}"))?;
        return if path.is_root() || tree.is_folder(&path) {
            Ok(path)
        } else {
            let near = folders(tree, &path.parent().unwrap_or_else(TreePath::root));
            Err(format!(
                "--path {wanted}: there is no such folder in the repository{near}"
            ))
        };
    }
    let clusters = TreePath::parse("clusters").map_err(|error| error.to_string())?;
    let found: BTreeSet<String> = tree
        .below(&clusters)
        .filter_map(|(path, _)| path.as_str().split('/').nth(1).map(str::to_owned))
        .filter(|name| TreePath::parse(&format!("clusters/{name}")).is_ok_and(|path| tree.is_folder(&path)))
        .collect();
    match found.len() {
        0 => Ok(TreePath::root()),
        1 => TreePath::parse(&format!("clusters/{}", found.first().map_or("", String::as_str)))
            .map_err(|error| error.to_string()),
        _ => Err(format!(
            "the repository has several clusters; choose one with --path: {}",
            found
                .iter()
                .map(|name| format!("clusters/{name}"))
                .collect::<Vec<_>>()
                .join(", ")
        )),
    }
}

fn folders(tree: &Tree, parent: &TreePath) -> String {
    let prefix = if parent.is_root() {
        String::new()
    } else {
        format!("{parent}/")
    };
    let names: BTreeSet<&str> = tree
        .iter()
        .filter_map(|(path, _)| path.as_str().strip_prefix(prefix.as_str())?.split_once('/'))
        .map(|(name, _)| name)
        .collect();
    if names.is_empty() {
        return String::new();
    }
    let names: Vec<String> = names
        .into_iter()
        .take(8)
        .map(|name| format!("{prefix}{name}"))
        .collect();
    format!("; there are {}", names.join(", "))
}

/// What to put on the cluster so that it follows `path` of a repository with these files.
pub(crate) fn plan(repository: &Repository, tree: &Tree, path: &TreePath) -> Plan {
    let mut plan = Plan {
        base: definitions(),
        ..Plan::default()
    };
    plan.base.push(json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": FLUX_SYSTEM},
    }));
    plan.rewrites.extend(repository.rewrite(&repository.url));
    match own(tree, path) {
        Some((source, kustomization)) => take_own(repository, source, kustomization, &mut plan),
        None => {
            plan.objects.push(git_repository(repository));
            plan.objects.push(kustomization(path));
        }
    }
    plan
}

fn git_repository(repository: &Repository) -> Value {
    let reference = &repository.reference;
    let mut names = serde_json::Map::new();
    for (key, value) in [
        ("branch", &reference.branch),
        ("tag", &reference.tag),
        ("semver", &reference.semver),
        ("name", &reference.name),
        ("commit", &reference.commit),
    ] {
        if let Some(value) = value {
            names.insert(key.to_owned(), value.as_str().into());
        }
    }
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": FLUX_SYSTEM, "namespace": FLUX_SYSTEM},
        "spec": {"interval": "1m", "url": repository.url, "ref": names},
    })
}

fn kustomization(path: &TreePath) -> Value {
    json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": FLUX_SYSTEM, "namespace": FLUX_SYSTEM},
        "spec": {
            "interval": "10m", "path": format!("./{path}"), "prune": true,
            "sourceRef": {"kind": "GitRepository", "name": FLUX_SYSTEM},
        },
    })
}

/// The objects of the repository's own `flux-system` folder, with placeholders left as they are.
fn own(tree: &Tree, path: &TreePath) -> Option<(Value, Value)> {
    let folder = path.join(FLUX_SYSTEM).ok()?;
    let (mut source, mut kustomization) = (None, None);
    for (file, entry) in tree.children(&folder) {
        let (true, Entry::File(content)) = (is_yaml(file.as_str()), entry) else {
            continue;
        };
        // Files that cannot be read are the build's to complain of.
        let text = std::str::from_utf8(content.data()).unwrap_or_default();
        for document in fluvial_yaml::split_documents(text).unwrap_or_default() {
            let Ok(object) = fluvial_yaml::yaml_to_json(&document, false) else {
                continue;
            };
            if object.pointer("/metadata/name").and_then(Value::as_str) != Some(FLUX_SYSTEM) {
                continue;
            }
            match object["kind"].as_str() {
                Some("GitRepository") => source = Some(object),
                Some("Kustomization")
                    if object["apiVersion"]
                        .as_str()
                        .is_some_and(|version| version.starts_with("kustomize.toolkit.")) =>
                {
                    kustomization = Some(object);
                }
                _ => {}
            }
        }
    }
    Some((source?, kustomization?))
}

fn is_yaml(path: &str) -> bool {
    path.ends_with(".yaml") || path.ends_with(".yml")
}

fn take_own(repository: &Repository, source: Value, kustomization: Value, plan: &mut Plan) {
    if let Some(url) = source.pointer("/spec/url").and_then(Value::as_str) {
        plan.rewrites.extend(repository.rewrite(url));
    }
    let branch = source.pointer("/spec/ref/branch").and_then(Value::as_str);
    if let (Some(theirs), Some(ours)) = (branch, &repository.reference.branch)
        && theirs != ours
    {
        plan.remarks.push(format!(
            "{} is checked out, but the repository's own flux-system folder follows {theirs}",
            ours
        ));
    }
    // Credentials for the real place are not needed here, yet the object names them.
    let secret = source.pointer("/spec/secretRef/name").and_then(Value::as_str);
    if let (Some(name), true) = (secret, repository.local.is_some()) {
        plan.objects.push(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": name, "namespace": FLUX_SYSTEM,
                "annotations": {"fluvial.dev/stands-in": "the repository is local and needs no credentials"},
                "labels": {keys::SUBSTITUTE: "disabled"},
            },
            "stringData": {},
        }));
    }
    plan.objects.push(source);
    plan.objects.push(kustomization);
}
