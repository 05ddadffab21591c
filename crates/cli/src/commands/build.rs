//! `build`: what a Kustomization, or a whole cluster's folder, stands for; offline where that is wanted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fluvial_delivery::substitute::{Reference, Substitution, references};
use fluvial_object::ObjectExt;
use fluvial_ports::{Cluster, Decryptor, Target};
use fluvial_tree::{Tree, TreePath};
use serde_json::{Value, json};

use super::not_found;
use crate::disk::{self, Reader, tidy};
use crate::environment::{Failure, Outcome, Session, SourceOptions};
use crate::nouns;
use crate::render::{self, Recipe, Rendered};
use crate::state::{field, name, namespace, text};

/// Options of `build kustomization`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Name of the Kustomization
    #[arg(value_name = "NAME")]
    kustomization: Option<String>,
    /// Folder with the manifests
    #[arg(long, value_name = "DIR", default_value = "")]
    path: String,
    /// File with the Kustomization [default: the one on the cluster]
    #[arg(long, value_name = "FILE")]
    kustomization_file: Option<String>,
    /// Use no cluster: substitute only what is written in the Kustomization
    #[arg(long)]
    dry_run: bool,
    /// Fail for a variable without a value and a default
    #[arg(long)]
    strict_substitute: bool,
    /// Files to leave out, in .gitignore's form
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    ignore_paths: Vec<String>,
    /// Build the Kustomizations in the output as well
    #[arg(short, long)]
    recursive: bool,
    /// Where sources are on this machine: KIND/NAMESPACE/NAME=DIR
    #[arg(long, value_name = "SOURCES", value_delimiter = ',')]
    local_sources: Vec<String>,
    /// Show in plain text what these keys decrypt: files named *.agekey or *.asc [default: encrypted values are masked]
    #[arg(long, value_name = "FILE")]
    decrypt_with: Vec<PathBuf>,
    /// For flux's scripts: builds are always in memory
    #[arg(long)]
    in_memory_build: bool,
}

impl Options {
    /// Fails if the folder with the manifests is missing, in the words of the command line.
    pub(crate) fn demand_folder(&self, session: &Session<'_>) -> Outcome {
        match !self.path.is_empty() && session.env.folder.join(&self.path).is_dir() {
            true => Ok(()),
            false => Err(Failure::new(format!("invalid resource path {:?}", self.path))),
        }
    }
}

/// Options of `build dir`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Whole {
    /// Folder of the repository
    #[arg(value_name = "REPO", default_value = ".")]
    repository: String,
    /// Folder of the cluster in it
    #[arg(long, value_name = "PATH", default_value = "")]
    path: String,
    /// Only the Kustomization of this name, or NAMESPACE/NAME
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Where other sources are on this machine: KIND/NAMESPACE/NAME=DIR
    #[arg(long, value_name = "SOURCES", value_delimiter = ',')]
    local_sources: Vec<String>,
    /// Show in plain text what these keys decrypt: files named *.agekey or *.asc [default: encrypted values are masked]
    #[arg(long, value_name = "FILE")]
    decrypt_with: Vec<PathBuf>,
}

/// Folders of this machine that stand for sources.
fn local_sources(entries: &[String], folder: &Path) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut sources = BTreeMap::new();
    for entry in entries {
        let (source, path) = entry.split_once('=').ok_or_else(|| {
            Failure::new(format!(
                "--local-sources {entry}: expected KIND/NAMESPACE/NAME=DIR"
            ))
        })?;
        sources.insert(source.to_owned(), tidy(&folder.join(path)));
    }
    Ok(sources)
}

/// What a build gave.
pub(crate) struct Built {
    /// The Kustomizations that were built: the one that was asked for, and those in the output if they count too.
    pub owners: Vec<Value>,
    /// The objects.
    pub items: Vec<Rendered>,
}

/// Builds one Kustomization, and those in its output if that is wanted.
pub(crate) async fn built(session: &Session<'_>, options: &Options) -> Result<Built, Failure> {
    let name = options
        .kustomization
        .as_deref()
        .ok_or_else(|| Failure::new("kustomization name is required"))?;
    let folder = tidy(&session.env.folder.join(&options.path));
    if options.path.is_empty() || !folder.is_dir() {
        let shown = match options.path.is_empty() {
            true => String::new(),
            false => folder.display().to_string(),
        };
        return Err(Failure::new(format!("invalid resource path {shown:?}")));
    }
    if let Some(file) = &options.kustomization_file {
        if !session.env.folder.join(file).is_file() {
            return Err(Failure::new(format!("invalid kustomization file {file:?}")));
        }
    } else if options.dry_run {
        return Err(Failure::new("dry-run mode requires a kustomization file"));
    }
    let sources = local_sources(&options.local_sources, &session.env.folder)?;
    let decryptor = decryptor(session, &options.decrypt_with)?;
    let object = wanted(session, name, options)
        .await
        .map_err(|error| Failure::new(format!("failed to get kustomization object: {}", error.message)))?;
    let mut queue = VecDeque::from([(object, folder)]);
    let mut known = BTreeSet::new();
    let mut built = Built {
        owners: vec![],
        items: vec![],
    };
    while let Some((object, folder)) = queue.pop_front() {
        if !known.insert(object.id()) {
            continue;
        }
        let found = match options.dry_run {
            true => vec![],
            false => variables(session, &object).await?,
        };
        let rendered = one(session, &object, &folder, &found, options, decryptor.clone()).await?;
        for item in rendered.iter().filter(|_| options.recursive) {
            if let Some(folder) = source_folder(&item.object, &sources) {
                queue.push_back((item.object.clone(), folder));
            }
        }
        built.owners.push(object);
        built.items.extend(rendered);
    }
    Ok(built)
}

/// Prints what a Kustomization stands for.
pub(crate) async fn kustomization(session: &mut Session<'_>, options: &Options) -> Outcome {
    let mut text = String::new();
    for item in &mut built(session, options).await?.items {
        render::hide_encrypted(&mut item.object);
        text.push_str(&fluvial_yaml::json_to_yaml(&item.object));
        text.push_str("---\n");
    }
    session.print(&text)
}

/// Keys from files; none if no file is named.
fn decryptor(session: &Session<'_>, files: &[PathBuf]) -> Result<Option<Arc<dyn Decryptor>>, Failure> {
    if files.is_empty() {
        return Ok(None);
    }
    let mut entries = BTreeMap::new();
    for file in files {
        let refused =
            |why: &dyn std::fmt::Display| Failure::new(format!("--decrypt-with {}: {why}", file.display()));
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name
            .filter(|name| name.ends_with(".agekey") || name.ends_with(".asc"))
            .ok_or_else(|| {
                refused(&"the name of a file with age keys ends in .agekey, with OpenPGP keys in .asc")
            })?;
        let data = std::fs::read(session.env.folder.join(file)).map_err(|error| refused(&error))?;
        // Files of one name in several folders are all wanted.
        entries.insert(format!("{}.{name}", entries.len()), data);
    }
    let decryptor = session.env.outside.decryption().decryptor(&entries);
    let refused =
        |error: fluvial_ports::KeyError| Failure::new(format!("--decrypt-with {}: {error}", error.entry));
    decryptor.map(Some).map_err(refused)
}

/// The Kustomization to build: of the file, or of the cluster.
async fn wanted(session: &Session<'_>, name: &str, options: &Options) -> Result<Value, Failure> {
    let namespace = session.global.namespace.as_str();
    let Some(file) = &options.kustomization_file else {
        let noun = nouns::of_kind("Kustomization").ok_or_else(|| Failure::new("no such kind"))?;
        let resource = noun.resource();
        let target = Target {
            resource: &resource,
            namespace,
            name,
        };
        let cluster = session.cluster().await?;
        return cluster.get(target).await?.ok_or_else(|| not_found(noun, name));
    };
    let path = session.env.folder.join(file);
    let content = std::fs::read_to_string(&path).map_err(|error| Failure::new(format!("{file}: {error}")))?;
    for document in fluvial_yaml::split_documents(&content)? {
        let mut object = fluvial_yaml::yaml_to_json(&document, false)
            .map_err(|error| Failure::new(format!("{file}: {error}")))?;
        let of_kind = object.kind() == "Kustomization" && object.group() == "kustomize.toolkit.fluxcd.io";
        if !of_kind || object.name() != name {
            continue;
        }
        if object.namespace().is_empty() {
            object["metadata"]["namespace"] = namespace.into();
        }
        if object.namespace() == namespace {
            return Ok(object);
        }
    }
    Err(Failure::new(format!(
        "failed find kustomization with name '{name}' and namespace '{namespace}' in file '{file}'"
    )))
}

/// The ConfigMaps and Secrets that a Kustomization takes variables from, as far as they are on the cluster.
async fn variables(session: &Session<'_>, object: &Value) -> Result<Vec<Value>, Failure> {
    let Some(post_build) = field(object, &["spec", "postBuild"]) else {
        return Ok(vec![]);
    };
    let wanted = references(post_build);
    if wanted.is_empty() {
        return Ok(vec![]);
    }
    let cluster = session.cluster().await?;
    let mut found = vec![];
    for reference in wanted {
        found.extend(look(cluster.as_ref(), &reference, namespace(object)).await?);
    }
    Ok(found)
}

async fn look(
    cluster: &dyn Cluster,
    reference: &Reference,
    namespace: &str,
) -> Result<Option<Value>, Failure> {
    let resource = cluster.resource("v1", &reference.kind).await?;
    let target = Target {
        resource: &resource,
        namespace,
        name: &reference.name,
    };
    Ok(cluster.get(target).await?)
}

/// Renders one Kustomization from a folder of this machine.
async fn one(
    session: &Session<'_>,
    object: &Value,
    folder: &Path,
    found: &[Value],
    options: &Options,
    decryptor: Option<Arc<dyn Decryptor>>,
) -> Result<Vec<Rendered>, Failure> {
    let mut tree = files(object, folder).map_err(Failure::new)?;
    let path = disk::tree_path(folder).map_err(Failure::new)?;
    if !options.ignore_paths.is_empty() {
        let sources = session
            .env
            .outside
            .sources(&SourceOptions::default())
            .map_err(Failure::new)?;
        let rules = options.ignore_paths.join("\n");
        let kept = sources.filter(&tree.subtree(&path), Some(&rules))?;
        tree = replaced(&tree, &path, &kept);
    }
    let mut object = object.clone();
    if options.dry_run
        && let Some(post_build) = object
            .pointer_mut("/spec/postBuild")
            .and_then(Value::as_object_mut)
    {
        post_build.remove("substituteFrom");
    }
    let find = |reference: &Reference| {
        found
            .iter()
            .find(|object| object.kind() == reference.kind && object.name() == reference.name)
    };
    let substitution =
        render::substitution(&object, options.strict_substitute, &find).map_err(Failure::new)?;
    let work = move || {
        render::render(&Recipe {
            object: &object,
            tree: &tree,
            path: &path,
            substitution: &substitution,
            decryptor: decryptor.as_deref(),
            root: Some("/"),
        })
    };
    let folder = session.env.folder.clone();
    tokio::task::spawn_blocking(work)
        .await?
        .map_err(|error| Failure::new(render::localise(&error, &folder)))
}

/// The files that a Kustomization can reach from a folder.
fn files(object: &Value, folder: &Path) -> Result<Tree, String> {
    let mut reader = Reader::default();
    reader.folder(folder)?;
    let components = field(object, &["spec", "components"]).and_then(Value::as_array);
    for component in components.into_iter().flatten().filter_map(Value::as_str) {
        reader.text(component, folder)?;
    }
    Ok(reader.tree())
}

/// A tree with a folder's content replaced.
fn replaced(tree: &Tree, folder: &TreePath, content: &Tree) -> Tree {
    use fluvial_tree::Entry;
    let mut builder = tree.to_builder();
    let gone: Vec<TreePath> = tree
        .below(folder)
        .filter(|(path, entry)| {
            let inner = path
                .strip_prefix(folder)
                .and_then(|rest| TreePath::parse(rest).ok());
            !matches!(entry, Entry::Folder) && inner.is_none_or(|inner| content.get(&inner).is_none())
        })
        .map(|(path, _)| path.clone())
        .collect();
    for path in gone {
        builder.remove(&path);
    }
    builder.build()
}

/// The folder of this machine with the manifests of a Kustomization, if its source is known.
fn source_folder(object: &Value, sources: &BTreeMap<String, PathBuf>) -> Option<PathBuf> {
    if object.kind() != "Kustomization" || object.group() != "kustomize.toolkit.fluxcd.io" {
        return None;
    }
    let reference = field(object, &["spec", "sourceRef"])?;
    let source = format!(
        "{}/{}/{}",
        text(reference, &["kind"])?,
        text(reference, &["namespace"]).unwrap_or_else(|| namespace(object)),
        text(reference, &["name"])?
    );
    let path = text(object, &["spec", "path"]).unwrap_or_default();
    Some(tidy(&sources.get(&source)?.join(path.trim_start_matches('/'))))
}

/// Builds all that a cluster's folder stands for.
pub(crate) async fn whole(session: &mut Session<'_>, options: &Whole) -> Outcome {
    let repository = tidy(&session.env.folder.join(&options.repository));
    if !repository.is_dir() {
        return Err(Failure::new(format!("{} is no folder", repository.display())));
    }
    let mut sources = local_sources(&options.local_sources, &session.env.folder)?;
    sources
        .entry("GitRepository/flux-system/flux-system".to_owned())
        .or_insert_with(|| repository.clone());
    let entry = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": "flux-system", "namespace": "flux-system"},
        "spec": {"path": options.path, "sourceRef": {"kind": "GitRepository", "name": "flux-system"}},
    });
    let root = repository.clone();
    let folder = source_folder(&entry, &sources).unwrap_or(repository);
    if !folder.is_dir() {
        return Err(Failure::new(format!("{} is no folder", folder.display())));
    }
    let decryptor = decryptor(session, &options.decrypt_with)?;
    let work = move || Fleet::render(entry, folder, &sources, decryptor);
    let fleet = tokio::task::spawn_blocking(work).await?.map_err(Failure::new)?;
    let mut output = String::new();
    let root = format!("{}/", root.to_string_lossy().trim_start_matches('/'));
    for (owner, items) in &fleet.done {
        let short = owner.split_once('/').map_or(owner.as_str(), |(_, name)| name);
        let wanted = options.only.as_deref();
        if wanted.is_some_and(|wanted| wanted != owner && wanted != short) {
            continue;
        }
        for item in items {
            let mut object = item.object.clone();
            render::hide_encrypted(&mut object);
            if let Some(place) = &item.place {
                let file = place.file.strip_prefix(&root).unwrap_or(&place.file);
                output.push_str(&format!("# {owner}: {file}:{}\n", place.line));
            }
            output.push_str(&fluvial_yaml::json_to_yaml(&object));
            output.push_str("---\n");
        }
    }
    session.print(&output)?;
    for remark in &fleet.remarks {
        session.warning(remark);
    }
    match fleet.failures.is_empty() {
        true => Ok(()),
        false => {
            let failures = fleet.failures.join("\n✗ ");
            Err(Failure::new(render::localise(&failures, &session.env.folder)))
        }
    }
}

/// Kustomizations under way, and what came of those before.
#[derive(Default)]
struct Fleet {
    done: Vec<(String, Vec<Rendered>)>,
    remarks: Vec<String>,
    failures: Vec<String>,
    decryptor: Option<Arc<dyn Decryptor>>,
}

impl Fleet {
    /// Renders the entry, then what it holds, and so on; those that take variables from what others make come later.
    fn render(
        entry: Value,
        folder: PathBuf,
        sources: &BTreeMap<String, PathBuf>,
        decryptor: Option<Arc<dyn Decryptor>>,
    ) -> Result<Fleet, String> {
        let mut fleet = Fleet {
            decryptor,
            ..Fleet::default()
        };
        let mut seen = BTreeSet::from([entry.id()]);
        let mut queue = VecDeque::from([(entry, folder)]);
        let mut postponed = 0;
        while let Some((object, folder)) = queue.pop_front() {
            let owner = format!("{}/{}", namespace(&object), name(&object));
            let missing = fleet.missing(&object);
            if !missing.is_empty() && postponed < queue.len() {
                queue.push_back((object, folder));
                postponed += 1;
                continue;
            }
            postponed = 0;
            match fleet.one(&object, &folder) {
                Ok(items) => {
                    for item in &items {
                        fleet.add(item, sources, &mut seen, &mut queue);
                    }
                    fleet.done.push((owner, items));
                }
                Err(error) => fleet.failures.push(format!("Kustomization/{owner}: {error}")),
            }
        }
        Ok(fleet)
    }

    fn add(
        &mut self,
        item: &Rendered,
        sources: &BTreeMap<String, PathBuf>,
        seen: &mut BTreeSet<fluvial_object::ObjectId>,
        queue: &mut VecDeque<(Value, PathBuf)>,
    ) {
        let object = &item.object;
        let is_one = object.kind() == "Kustomization" && object.group() == "kustomize.toolkit.fluxcd.io";
        if !is_one || !seen.insert(object.id()) {
            return;
        }
        match source_folder(object, sources) {
            Some(folder) => queue.push_back((object.clone(), folder)),
            None => self.remarks.push(format!(
                "{} is left out: its source is not on this machine; name it with --local-sources",
                object.id()
            )),
        }
    }

    /// What a Kustomization takes variables from and nothing has made yet.
    fn missing(&self, object: &Value) -> Vec<Reference> {
        let post_build = field(object, &["spec", "postBuild"]);
        post_build
            .map(references)
            .unwrap_or_default()
            .into_iter()
            .filter(|reference| self.find(reference, namespace(object)).is_none())
            .collect()
    }

    fn find(&self, reference: &Reference, namespace: &str) -> Option<&Value> {
        self.done
            .iter()
            .flat_map(|(_, items)| items)
            .map(|item| &item.object)
            .find(|object| {
                object.kind() == reference.kind
                    && object.name() == reference.name
                    && object.namespace() == namespace
                    && object.get("sops").is_none()
            })
    }

    fn one(&self, object: &Value, folder: &Path) -> Result<Vec<Rendered>, String> {
        if !folder.is_dir() {
            return Err(format!("spec.path: {} is no folder", folder.display()));
        }
        let namespace = namespace(object).to_owned();
        let find = |reference: &Reference| self.find(reference, &namespace);
        let substitution: Substitution = render::substitution(object, true, &find)?;
        render::render(&Recipe {
            object,
            tree: &files(object, folder)?,
            path: &disk::tree_path(folder)?,
            substitution: &substitution,
            decryptor: self.decryptor.as_deref(),
            root: Some("/"),
        })
    }
}
