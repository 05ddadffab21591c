//! Whole Flux repositories: every Kustomization completed, built and substituted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fluvial_delivery::substitute::{Reference, Substitution};
use fluvial_kustomize::flux::{self, FluxOverlay};
use fluvial_kustomize::{BuildRequest, NoCharts, NoRemote, Options};
use fluvial_tree::{File, Tree, TreeBuilder, TreePath};
use serde_json::{Map, Value};

use crate::{Case, Suite};

/// The suites of this module.
#[must_use]
pub fn suites() -> Vec<Suite> {
    vec![Suite {
        name: "fleets/kustomizations",
        needs: "fleets",
        run: kustomizations,
    }]
}

/// A fleet's folder, its trees read once.
struct Fleet<'a> {
    folder: &'a Path,
    trees: RefCell<BTreeMap<String, Tree>>,
}

impl Fleet<'_> {
    /// The tree that an inventory's `source` names.
    fn tree(&self, source: &Value) -> Option<Tree> {
        match source["kind"].as_str()? {
            "own" => Some(self.named("repo")),
            "revision" => Some(self.named(source["tree"].as_str()?)),
            "artifact" => Some(copied(&self.named("repo"), source["copy"].as_array()?)),
            _ => None,
        }
    }

    fn named(&self, name: &str) -> Tree {
        self.trees
            .borrow_mut()
            .entry(name.to_owned())
            .or_insert_with(|| read(&self.folder.join(name)))
            .clone()
    }
}

fn read(folder: &Path) -> Tree {
    let mut builder = TreeBuilder::default();
    for entry in walkdir::WalkDir::new(folder).into_iter().flatten() {
        let Ok(relative) = entry.path().strip_prefix(folder) else {
            continue;
        };
        let relative = relative.to_string_lossy();
        // What is no file, folder or link, or cannot be read, is missing in the build then.
        if entry.file_type().is_file() {
            let data = std::fs::read(entry.path()).unwrap_or_default();
            let _ = builder.file(&relative, File::new(data, false));
        } else if entry.file_type().is_symlink()
            && let Ok(target) = std::fs::read_link(entry.path())
        {
            let _ = builder.symlink(&relative, &target.to_string_lossy());
        }
    }
    builder.build()
}

/// The artifact that copying `@source/folder/**` to `@artifact/folder/` makes.
fn copied(tree: &Tree, copies: &[Value]) -> Tree {
    let mut builder = TreeBuilder::default();
    for copy in copies {
        let part = |at: usize| {
            let text = copy[at].as_str().unwrap_or_default();
            text.split_once('/').map_or("", |(_, path)| path).to_owned()
        };
        let (from, to) = (part(0), part(1));
        let from = TreePath::parse(from.trim_end_matches("**")).unwrap_or_default();
        for (path, entry) in tree.below(&from) {
            if let (Some(rest), fluvial_tree::Entry::File(file)) = (path.strip_prefix(&from), entry) {
                let _ = builder.file(&format!("{to}{rest}"), file.clone());
            }
        }
    }
    builder.build()
}

fn kustomizations(shared: &Path) -> Vec<Case> {
    let folder = shared.join("fleets");
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("inventory.json").is_file())
        .collect();
    names.sort();
    let mut cases = Vec::new();
    for folder in names {
        let text = std::fs::read_to_string(folder.join("inventory.json")).unwrap_or_default();
        let inventory: Value = serde_json::from_str(&text).unwrap_or_default();
        let fleet = Fleet {
            folder: &folder,
            trees: RefCell::default(),
        };
        for cluster in inventory["clusters"].as_array().into_iter().flatten() {
            run_cluster(&fleet, cluster, &mut cases);
        }
    }
    cases
}

/// Objects of a cluster by the Kustomization that makes them (`NAMESPACE/NAME`).
type Rendered = BTreeMap<String, Vec<Value>>;

fn id(value: &Value) -> String {
    let text = |field: &str| value[field].as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}

fn run_cluster(fleet: &Fleet<'_>, cluster: &Value, cases: &mut Vec<Case>) {
    let list = cluster["kustomizations"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let expected = |one: &Value| {
        let file = one["expected"].as_str()?;
        std::fs::read_to_string(fleet.folder.join(file)).ok()
    };
    let mut rendered: Rendered = list
        .iter()
        .filter_map(|one| Some((id(one), documents(&expected(one)?))))
        .collect();
    let given = std::fs::read_to_string(fleet.folder.join("cluster-objects.yaml")).unwrap_or_default();
    rendered.insert(String::new(), documents(&given));
    for one in list {
        let Some(want) = expected(one) else { continue };
        let fleet_name = fleet.folder.file_name().unwrap_or_default().to_string_lossy();
        let name = format!(
            "{fleet_name}/{}/{}",
            cluster["name"].as_str().unwrap_or_default(),
            id(one)
        );
        let outcome = match fleet.tree(&one["source"]) {
            None => Err("no tree for its source".to_owned()),
            Some(tree) => render(&tree, one, &rendered),
        };
        cases.push(match outcome {
            Ok(got) => Case::compare(name, &want, &got),
            Err(error) => Case {
                name,
                outcome: Err(format!("fails: {error}")),
            },
        });
    }
}

fn documents(text: &str) -> Vec<Value> {
    fluvial_yaml::split_documents(text)
        .unwrap_or_default()
        .iter()
        .filter_map(|document| fluvial_yaml::yaml_to_json(document, false).ok())
        .filter(|value| !value.is_null())
        .map(stored)
        .collect()
}

/// A Secret as a server stores it: `stringData` has become `data`.
fn stored(mut object: Value) -> Value {
    if object["kind"] == "Secret"
        && let Some(Value::Object(texts)) = object.as_object_mut().and_then(|it| it.remove("stringData"))
    {
        for (key, text) in texts {
            object["data"][key] = STANDARD.encode(text.as_str().unwrap_or_default()).into();
        }
    }
    object
}

/// The `spec` of a Kustomization as the one that defines it renders it; empty for the first one.
fn spec(one: &Value, rendered: &Rendered) -> Value {
    let parent = one["definedBy"].as_str().unwrap_or_default();
    let found = rendered.get(parent).into_iter().flatten().find(|object| {
        object["kind"] == "Kustomization"
            && object["apiVersion"]
                .as_str()
                .is_some_and(|version| version.starts_with("kustomize.toolkit.fluxcd.io/"))
            && id(&object["metadata"]) == id(one)
    });
    found.map_or_else(|| Value::Object(Map::new()), |object| object["spec"].clone())
}

fn render(tree: &Tree, one: &Value, rendered: &Rendered) -> Result<String, String> {
    let spec = spec(one, rendered);
    let path = one["path"].as_str().unwrap_or_default();
    let path = TreePath::parse(path.trim_start_matches('/')).map_err(|error| error.to_string())?;
    let overlay = FluxOverlay::from_spec(&spec).map_err(|error| error.to_string())?;
    let tree = flux::complete(tree, &path, &overlay).map_err(|error| error.to_string())?;
    let build = fluvial_kustomize::build(&BuildRequest {
        tree: &tree,
        path: &path,
        options: &Options::flux(),
        remote: &NoRemote,
        charts: &NoCharts,
    })
    .map_err(|error| error.to_string())?;
    let substitution = match spec.get("postBuild") {
        None => Substitution::default(),
        Some(post_build) => {
            let namespace = one["namespace"].as_str().unwrap_or_default();
            let lookup = |reference: &Reference| find(rendered, reference, namespace);
            Substitution::from_post_build(post_build, true, &lookup).map_err(|error| error.to_string())?
        }
    };
    let mut out = String::new();
    for resource in &build.resources {
        let mut object = resource.to_json().map_err(|error| error.to_string())?;
        if let Some(substituted) = substitution.object(&object).map_err(|error| error.to_string())? {
            object = substituted;
        }
        add_common_metadata(&mut object, &spec["commonMetadata"]);
        if !out.is_empty() {
            out.push_str("---\n");
        }
        out.push_str(&fluvial_yaml::json_to_yaml(&object));
    }
    Ok(out)
}

/// The ConfigMap or Secret that a reference means; an encrypted one counts as missing.
fn find<'r>(rendered: &'r Rendered, reference: &Reference, namespace: &str) -> Option<&'r Value> {
    rendered.values().flatten().find(|object| {
        object["kind"] == *reference.kind
            && object["metadata"]["name"] == *reference.name
            && object["metadata"]["namespace"] == namespace
            && object.get("sops").is_none()
    })
}

fn add_common_metadata(object: &mut Value, common: &Value) {
    for field in ["labels", "annotations"] {
        for (key, value) in common[field].as_object().into_iter().flatten() {
            object["metadata"][field][key] = value.clone();
        }
    }
}
