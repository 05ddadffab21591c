//! A chart in memory, and reading one from a tree or from an archive's bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fluvial_template::Parsed;
use fluvial_template::sprig::Patterns;
use fluvial_tree::{Entry, File, Tree, TreePath};
use serde_json::Value as Json;

use crate::archive;
use crate::error::Error;
use crate::ignore::Rules;
use crate::metadata::{Dependency, Metadata};
use crate::schema::Validator;
use crate::values::read_values;

/// Bounds of what is loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadLimits {
    /// Bytes of all files of an archive.
    pub total: u64,
    /// Bytes of one file.
    pub file: u64,
    /// Files of an archive.
    pub files: usize,
    /// Charts within charts.
    pub depth: usize,
}

impl Default for LoadLimits {
    fn default() -> Self {
        LoadLimits {
            total: 100 << 20,
            file: 5 << 20,
            files: 50_000,
            depth: 32,
        }
    }
}

/// A file of a chart.
#[derive(Clone, Debug)]
pub struct ChartFile {
    /// Path from the chart's folder.
    pub name: Arc<str>,
    file: File,
}

impl ChartFile {
    /// A file; a byte order mark at its beginning is no content.
    pub fn new(name: impl Into<Arc<str>>, file: File) -> Self {
        ChartFile {
            name: name.into(),
            file,
        }
    }

    /// The content, without a byte order mark.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        let data = self.file.data();
        data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data)
    }

    /// The content, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<[u8]> {
        let all = self.file.shared();
        match self.data() {
            data if data.len() < all.len() => data.into(),
            _ => all,
        }
    }

    /// The content as text.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        text_of(self.data())
    }
}

/// Bytes as text. Most of them are, which is quicker to find out than to look for what is not.
pub(crate) fn text_of(data: &[u8]) -> std::borrow::Cow<'_, str> {
    match std::str::from_utf8(data) {
        Ok(text) => text.into(),
        Err(_) => String::from_utf8_lossy(data),
    }
}

/// A chart, immutable and cheap to share: load it once per digest, render it many times.
#[derive(Debug)]
pub struct Chart {
    /// What `Chart.yaml` says.
    pub metadata: Metadata,
    /// What `Chart.lock` holds.
    pub lock: Option<Vec<Dependency>>,
    /// `values.yaml`.
    pub values: Json,
    /// The text of `values.yaml`, comments and all.
    pub values_text: Option<ChartFile>,
    /// `values.schema.json`.
    pub schema: Option<Arc<[u8]>>,
    /// Files under `templates/`.
    pub templates: Vec<ChartFile>,
    /// All other files, `crds/` among them.
    pub files: Vec<ChartFile>,
    /// Charts under `charts/`, by folder name.
    pub dependencies: Vec<Arc<Chart>>,
    /// Templates that have been parsed, by their full name.
    pub(crate) parsed: Parses,
    /// The schema, compiled.
    pub(crate) validator: Validator,
}

/// Parsed templates of a chart, and patterns that they use, kept from render to render.
#[derive(Default)]
pub(crate) struct Parses {
    templates: Mutex<BTreeMap<String, Parsed>>,
    pub(crate) patterns: Arc<Patterns>,
}

impl std::fmt::Debug for Parses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parses")
    }
}

impl Parses {
    pub(crate) fn is_empty(&self) -> bool {
        let templates = self.templates.lock();
        templates.unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Parsed> {
        self.templates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    pub(crate) fn put(&self, name: &str, parsed: Parsed) {
        self.templates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), parsed);
    }
}

impl Chart {
    /// The same chart with other charts below it.
    #[must_use]
    pub fn with_dependencies(&self, dependencies: Vec<Arc<Chart>>) -> Arc<Chart> {
        Arc::new(Chart {
            metadata: self.metadata.clone(),
            lock: self.lock.clone(),
            values: self.values.clone(),
            values_text: self.values_text.clone(),
            schema: self.schema.clone(),
            templates: self.templates.clone(),
            files: self.files.clone(),
            dependencies,
            parsed: Parses::default(),
            validator: Validator::default(),
        })
    }

    /// The files of `crds/` that are manifests.
    pub fn crd_files(&self) -> impl Iterator<Item = &ChartFile> {
        let is_manifest = |name: &str| {
            let (_, extension) = name.rsplit_once('.').unwrap_or_default();
            ["yaml", "yml", "json"]
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        };
        self.files
            .iter()
            .filter(move |file| file.name.starts_with("crds/") && is_manifest(&file.name))
    }

    /// Reads the chart in a folder of a tree; `path` may also lead to an archive.
    ///
    /// # Errors
    /// If it is no chart, or a broken one.
    pub fn load(tree: &Tree, path: &TreePath) -> Result<Arc<Chart>, Error> {
        Chart::load_with(tree, path, LoadLimits::default())
    }

    /// As [`Chart::load`], with bounds.
    ///
    /// # Errors
    /// If it is no chart, a broken one, or larger than allowed.
    pub fn load_with(tree: &Tree, path: &TreePath, limits: LoadLimits) -> Result<Arc<Chart>, Error> {
        if let Ok(file) = tree.file(path) {
            return Chart::from_archive(file.data(), limits);
        }
        let files = files_in(tree, path, limits)?;
        let chart = from_files(files, limits, 0)?;
        if !matches!(chart.metadata.api_version.as_str(), "v1" | "v2" | "v3") {
            return Err(Error::load("unsupported chart version"));
        }
        Ok(chart)
    }

    /// Reads a packed chart.
    ///
    /// # Errors
    /// If the bytes are no archive of a chart, or unpack to more than allowed.
    pub fn from_archive(data: &[u8], limits: LoadLimits) -> Result<Arc<Chart>, Error> {
        from_files(archive::unpack_with(data, limits)?, limits, 0)
    }

    /// The same chart under another version, which templates see.
    #[must_use]
    pub fn with_version(&self, version: &str) -> Arc<Chart> {
        let mut metadata = self.metadata.clone();
        version.clone_into(&mut metadata.version);
        Arc::new(Chart {
            metadata,
            lock: self.lock.clone(),
            values: self.values.clone(),
            values_text: self.values_text.clone(),
            schema: self.schema.clone(),
            templates: self.templates.clone(),
            files: self.files.clone(),
            dependencies: self.dependencies.clone(),
            parsed: Parses::default(),
            validator: Validator::default(),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Whether it can be a release: library charts cannot, nor those whose dependencies are missing.
    ///
    /// # Errors
    /// Says why not, as Helm does.
    pub fn check_installable(&self) -> Result<(), Error> {
        if self.metadata.is_library() {
            return Err(Error::load("library charts are not installable"));
        }
        self.check_dependencies()
    }

    /// The dependencies that `Chart.yaml` names and `charts/` lacks.
    ///
    /// # Errors
    /// Names them, as Helm does.
    pub fn check_dependencies(&self) -> Result<(), Error> {
        let has = |name: &str| self.dependencies.iter().any(|chart| chart.name() == name);
        let missing: Vec<&str> = self
            .metadata
            .dependencies
            .iter()
            .map(|dependency| dependency.name.as_str())
            .filter(|name| !has(name))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::load(format!(
            "an error occurred while checking for chart dependencies. You may need to run 'helm dependency \
             build' to fetch missing dependencies: found in Chart.yaml, but missing in charts/ directory: {}",
            missing.join(", ")
        )))
    }
}

/// The files of a chart's folder that `.helmignore` leaves in.
pub(crate) fn files_in(tree: &Tree, path: &TreePath, limits: LoadLimits) -> Result<Vec<ChartFile>, Error> {
    if !path.join("Chart.yaml").is_ok_and(|file| tree.file(&file).is_ok()) {
        let file = if path.is_root() {
            "Chart.yaml".to_owned()
        } else {
            format!("{path}/Chart.yaml")
        };
        return Err(Error::load(format!(
            "unable to detect chart at {file}: open {file}: no such file or directory"
        )));
    }
    let ignored = path.join(".helmignore").ok();
    let rules = match ignored.and_then(|path| tree.file(&path).ok()) {
        Some(file) => Rules::parse(&String::from_utf8_lossy(file.data())).map_err(Error::load)?,
        None => Rules::default(),
    };
    let mut files = Vec::new();
    let mut sum = 0;
    collect(tree, path, path, &rules, limits, &mut sum, &mut files, 0)?;
    Ok(files)
}

/// The files of a folder in the order of a walk: names sorted within each folder.
#[expect(clippy::too_many_arguments, reason = "a walk's state, used here only")]
fn collect(
    tree: &Tree,
    root: &TreePath,
    folder: &TreePath,
    rules: &Rules,
    limits: LoadLimits,
    sum: &mut u64,
    out: &mut Vec<ChartFile>,
    depth: usize,
) -> Result<(), Error> {
    if depth > 100 {
        return Err(Error::load("folders are nested more than 100 deep"));
    }
    let (real, _) = tree
        .resolve(folder)
        .map_err(|error| Error::load(error.to_string()))?;
    let mut children: Vec<(String, bool)> = Vec::new();
    for (path, entry) in tree.children(&real) {
        let Some(name) = path.name() else { continue };
        let is_folder = match entry {
            Entry::Folder => true,
            Entry::File(_) => false,
            Entry::Symlink(_) => tree.is_folder(path),
        };
        children.push((name.to_owned(), is_folder));
    }
    children.sort();
    for (name, is_folder) in children {
        let path = folder
            .join(&name)
            .map_err(|error| Error::load(error.to_string()))?;
        let relative = path.strip_prefix(root).unwrap_or_default().to_owned();
        if rules.ignores(&relative, is_folder) {
            continue;
        }
        if is_folder {
            collect(tree, root, &path, rules, limits, sum, out, depth + 1)?;
            continue;
        }
        let file = tree.file(&path).map_err(|error| Error::load(error.to_string()))?;
        let size = file.size() as u64;
        *sum += size;
        if size > limits.file {
            return Err(Error::load(format!(
                "chart file {} is larger than the maximum file size {}",
                fluvial_template::quote(&relative),
                limits.file
            )));
        }
        if *sum > limits.total || out.len() >= limits.files {
            return Err(Error::load("the chart is larger than allowed"));
        }
        out.push(ChartFile::new(relative, file.clone()));
    }
    Ok(())
}

struct Parts {
    metadata: Option<Metadata>,
    lock: Option<Vec<Dependency>>,
    values: Json,
    values_text: Option<ChartFile>,
    schema: Option<Arc<[u8]>>,
    templates: Vec<ChartFile>,
    files: Vec<ChartFile>,
    nested: BTreeMap<String, Vec<ChartFile>>,
}

fn from_files(files: Vec<ChartFile>, limits: LoadLimits, depth: usize) -> Result<Arc<Chart>, Error> {
    if depth > limits.depth {
        return Err(Error::load("charts are nested deeper than allowed"));
    }
    let mut parts = Parts {
        metadata: None,
        lock: None,
        values: Json::Object(serde_json::Map::new()),
        values_text: None,
        schema: None,
        templates: Vec::new(),
        files: Vec::new(),
        nested: BTreeMap::new(),
    };
    for file in files.iter().filter(|file| &*file.name == "Chart.yaml") {
        let metadata = parts.metadata.get_or_insert_default();
        merge_metadata(metadata, file, "Chart.yaml")?;
        if metadata.api_version.is_empty() {
            "v1".clone_into(&mut metadata.api_version);
        }
    }
    for file in files {
        sort_in(&mut parts, file)?;
    }
    let Some(mut metadata) = parts.metadata else {
        return Err(Error::load("Chart.yaml file is missing"));
    };
    metadata.validate()?;
    let mut dependencies = Vec::new();
    for (folder, files) in parts.nested {
        if folder.starts_with(['_', '.']) {
            continue;
        }
        let loaded = nested(&metadata.name, &folder, files, limits, depth)?;
        let wrap =
            |error: Error| error.context(format!("error unpacking subchart {folder} in {}", metadata.name));
        dependencies.push(loaded.map_err(wrap)?);
    }
    Ok(Arc::new(Chart {
        metadata,
        lock: parts.lock,
        values: parts.values,
        values_text: parts.values_text,
        schema: parts.schema,
        templates: parts.templates,
        files: parts.files,
        dependencies,
        parsed: Parses::default(),
        validator: Validator::default(),
    }))
}

fn nested(
    parent: &str,
    folder: &str,
    files: Vec<ChartFile>,
    limits: LoadLimits,
    depth: usize,
) -> Result<Result<Arc<Chart>, Error>, Error> {
    if folder.ends_with(".tgz") {
        let Some(file) = files.first().filter(|file| &*file.name == folder) else {
            let found = files.first().map_or("", |file| &*file.name);
            return Err(Error::load(format!(
                "error unpacking subchart tar in {parent}: expected {folder}, got {found}"
            )));
        };
        let unpacked = archive::unpack_with(file.data(), limits);
        return Ok(unpacked.and_then(|files| from_files(files, limits, depth + 1)));
    }
    let inside = files.into_iter().filter_map(|file| {
        let (_, name) = file.name.split_once('/')?;
        let name: Arc<str> = name.into();
        Some(ChartFile { name, ..file })
    });
    Ok(from_files(inside.collect(), limits, depth + 1))
}

fn sort_in(parts: &mut Parts, file: ChartFile) -> Result<(), Error> {
    match &*file.name {
        "Chart.yaml" => {}
        name @ ("Chart.lock" | "requirements.lock") => {
            let mut read = Metadata::default();
            merge_metadata(&mut read, &file, name)?;
            parts.lock = Some(read.dependencies);
            if name == "requirements.lock" && is_v1(parts) {
                parts.files.push(file);
            }
        }
        "values.yaml" => {
            parts.values =
                read_values(&file.text()).map_err(|error| error.context("cannot load values.yaml"))?;
            parts.values_text = Some(file);
        }
        "values.schema.json" => parts.schema = Some(file.shared()),
        "requirements.yaml" => {
            merge_metadata(parts.metadata.get_or_insert_default(), &file, "requirements.yaml")?;
            if is_v1(parts) {
                parts.files.push(file);
            }
        }
        name if name.starts_with("templates/") => parts.templates.push(file),
        name if name.starts_with("charts/") => {
            if name.ends_with(".prov") {
                parts.files.push(file);
                return Ok(());
            }
            let inner: Arc<str> = name["charts/".len()..].into();
            let folder = inner.split('/').next().unwrap_or_default().to_owned();
            let nested = parts.nested.entry(folder).or_default();
            nested.push(ChartFile { name: inner, ..file });
        }
        _ => parts.files.push(file),
    }
    Ok(())
}

fn is_v1(parts: &Parts) -> bool {
    parts
        .metadata
        .as_ref()
        .is_some_and(|metadata| metadata.api_version == "v1")
}

fn merge_metadata(metadata: &mut Metadata, file: &ChartFile, name: &str) -> Result<(), Error> {
    let read = crate::values::yaml_to_json(&file.text()).and_then(|json| metadata.merge(&json));
    read.map_err(|error| Error::load(format!("cannot load {name}: {error}")))
}
