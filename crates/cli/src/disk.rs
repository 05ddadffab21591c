//! Files of this machine as a tree: only those that a build can reach, so that the rest of a disk costs nothing.
//!
//! The tree's root is the root of the file system. What a kustomization names is found by looking at the texts of those
//! fields of its file that can name files: whatever is the path of a file or folder that exists is taken in.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::FileType;
use std::io::{ErrorKind, Read as _};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fluvial_tree::{File, Tree, TreeBuilder, TreePath};
use serde_json::Value;

/// Names of kustomization files.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// Fields whose files name more files.
const PLUGINS: [&str; 3] = ["generators", "transformers", "validators"];
/// Fields that name files or folders, of kustomizations and of the configurations of generators and transformers.
const NAMING: [&str; 21] = [
    "resources",
    "bases",
    "components",
    "crds",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "patches",
    "patchesStrategicMerge",
    "path",
    "paths",
    "files",
    "env",
    "envs",
    "valuesFile",
    "values",
    "targetFilePath",
    "additionalValuesFiles",
    "valuesFiles",
    "chartHome",
];
/// Files above this are no manifests.
const LARGEST: u64 = 64 << 20;
/// Files below this are read at once; nearly all manifests are.
const BUFFER: usize = 16 << 10;
/// More files than any build reads.
const MOST: usize = 200_000;

/// A path with `.` and `..` resolved by name.
pub(crate) fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                tidy.pop();
            }
            other => tidy.push(other),
        }
    }
    tidy
}

/// The path in the tree for one of the machine.
pub(crate) fn tree_path(path: &Path) -> Result<TreePath, String> {
    TreePath::parse(path.to_string_lossy().trim_start_matches('/'))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// The first of the files that were left to be read later and could not be read then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unread(Arc<Mutex<Option<String>>>);

impl Unread {
    /// Fails if there is one: what was made meanwhile lacks its content.
    pub(crate) fn check(&self) -> Result<(), String> {
        let failure = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failure.map_or(Ok(()), Err)
    }

    fn remember(&self, failure: String) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(failure);
    }
}

/// Gathers files.
#[derive(Default)]
pub(crate) struct Reader {
    /// Remembers failures, if definitions in `crds` are to be read when they are asked for.
    later: Option<Unread>,
    builder: TreeBuilder,
    /// The folder that is the tree's root, if it is not the file system's.
    root: Option<PathBuf>,
    // Paths are compared as bytes: by their parts it takes many times as long.
    seen: BTreeSet<OsString>,
    /// What files are read into.
    buffer: Vec<u8>,
    /// How much has been read.
    bytes: usize,
}

impl Reader {
    /// For files below a folder, which is the tree's root.
    pub(crate) fn below(root: &Path) -> Self {
        Reader {
            root: Some(root.to_owned()),
            ..Reader::default()
        }
    }

    /// Leaves what lies in a chart's `crds` to be read when it is asked for: there can be megabytes, and most commands need
    /// none of it.
    pub(crate) fn definitions_later(mut self, unread: Option<&Unread>) -> Self {
        self.later = unread.cloned();
        self
    }

    /// The path in the tree for one of the machine.
    pub(crate) fn place(&self, path: &Path) -> Result<TreePath, String> {
        match self.root.as_ref().and_then(|root| path.strip_prefix(root).ok()) {
            Some(below) => tree_path(below),
            None => tree_path(path),
        }
    }

    /// How many bytes the files have so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The files so far.
    pub(crate) fn tree(self) -> Tree {
        self.builder.build()
    }

    /// Takes in a kustomization and all that it reaches.
    pub(crate) fn kustomization(&mut self, folder: &Path) -> Result<(), String> {
        let folder = &tidy(folder);
        if !self.seen.insert(folder.join("(kustomization)").into_os_string()) {
            return Ok(());
        }
        self.add_folder(folder)?;
        for name in KUSTOMIZATIONS {
            let path = folder.join(name);
            if path.is_file() {
                self.named_in(&path, folder)?;
            }
        }
        Ok(())
    }

    /// Takes in a folder with all that is below it, and all that its kustomizations reach.
    pub(crate) fn folder(&mut self, folder: &Path) -> Result<(), String> {
        let folder = &tidy(folder);
        if !self.seen.insert(folder.join("(all)").into_os_string()) {
            return Ok(());
        }
        self.kustomization(folder)?;
        let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                // Git keeps no manifests in its own folder; links may lead in circles.
                if path.file_name().is_some_and(|name| name != ".git") && !path.is_symlink() {
                    self.folder(&path)?;
                }
            } else {
                self.file(&path)?;
            }
        }
        Ok(())
    }

    /// Takes in a folder with all that is below it, whatever its files name.
    pub(crate) fn plain_folder(&mut self, folder: &Path) -> Result<(), String> {
        self.add_folder(folder)?;
        let mut entries: Vec<(OsString, FileType)> = std::fs::read_dir(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.file_name(), entry.file_type().ok()?))
            })
            .collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, kind) in entries {
            let path = folder.join(&name);
            // What the folder says of an entry need not be asked again.
            if kind.is_file() {
                if !self.left_for_later(&path)? {
                    self.plain_file(path)?;
                }
                continue;
            }
            if !kind.is_dir() && !path.is_dir() {
                self.file(&path)?;
                continue;
            }
            // A link to a folder above leads in circles.
            let circle = kind.is_symlink()
                && std::fs::canonicalize(&path).map_or(true, |target| path.starts_with(target));
            // What Git keeps of a repository belongs to nobody's files.
            let repository = name == ".git" && path.join("HEAD").is_file();
            if !repository && !circle {
                self.plain_folder(&path)?;
            }
        }
        Ok(())
    }

    /// Takes in a file without its content, if that is wanted of such a file.
    fn left_for_later(&mut self, path: &Path) -> Result<bool, String> {
        let Some(unread) = &self.later else {
            return Ok(false);
        };
        // Of all other files nothing more is asked than their names.
        let in_definitions = path
            .parent()
            .and_then(Path::file_name)
            .is_some_and(|name| name == "crds");
        if !in_definitions || self.seen.len() >= MOST {
            return Ok(false);
        }
        let place = self.place(path)?;
        let size = match std::fs::metadata(path) {
            Ok(facts) if facts.len() <= LARGEST => usize::try_from(facts.len()).unwrap_or(usize::MAX),
            // Whatever is wrong with it is said where it is read.
            _ => return Ok(false),
        };
        if place.parts().any(|part| part == "templates") {
            return Ok(false);
        }
        let (from, unread) = (path.to_owned(), unread.clone());
        let read = move || {
            read_bounded(&from, size).unwrap_or_else(|problem| {
                unread.remember(format!("{}: {problem}", from.display()));
                Arc::default()
            })
        };
        self.bytes += size;
        self.builder
            .file(place.as_str(), File::later(size, read))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        self.seen.insert(path.as_os_str().to_owned());
        Ok(true)
    }

    /// Takes in what a text may name, seen from a folder.
    pub(crate) fn text(&mut self, text: &str, folder: &Path) -> Result<(), String> {
        if text.is_empty() || text.len() > 4096 || text.contains(['\n', '\0']) || text.contains("://") {
            return Ok(());
        }
        // Generators take `key=path`.
        let after = text.split_once('=').map(|(_, path)| path);
        for path in [Some(text), after]
            .into_iter()
            .flatten()
            .filter(|path| !path.is_empty())
        {
            let path = folder.join(path);
            match std::fs::metadata(&path) {
                Ok(facts) if facts.is_dir() => self.kustomization(&path)?,
                Ok(facts) if facts.is_file() => {
                    self.linked_file(&path)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn add_folder(&mut self, folder: &Path) -> Result<(), String> {
        let path = self.place(folder)?;
        if !path.is_root() {
            self.builder
                .folder(path.as_str())
                .map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        Ok(())
    }

    /// Takes in a file.
    pub(crate) fn file(&mut self, path: &Path) -> Result<(), String> {
        let path = tidy(path);
        // Of a link to nothing the build says that the file is missing if it needs it.
        if std::fs::metadata(&path).is_ok_and(|facts| facts.is_file()) {
            self.plain_file(path)?;
        }
        Ok(())
    }

    /// Takes in what is known to be a file; the content if it was not there already.
    fn linked_file(&mut self, path: &Path) -> Result<Option<Arc<[u8]>>, String> {
        let tidy = tidy(path);
        // Behind a link to a folder the folder above may be another one by name.
        if tidy.components().count() < path.components().count() {
            return self.file(&tidy).map(|()| None);
        }
        self.plain_file(tidy)
    }

    /// Takes in what is known to be a file, at a tidy path; the content if it was not there already.
    fn plain_file(&mut self, path: PathBuf) -> Result<Option<Arc<[u8]>>, String> {
        if self.seen.contains(path.as_os_str()) {
            return Ok(None);
        }
        let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        if self.seen.len() >= MOST {
            return Err(fail(&"too many files; name a folder with fewer"));
        }
        let data = match self.read(&path) {
            Ok(Some(data)) => data,
            Ok(None) => {
                return Err(fail(&format!(
                    "more than {LARGEST} bytes are too many for a manifest"
                )));
            }
            // It has gone since.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(&error)),
        };
        let place = self.place(&path)?;
        self.bytes += data.len();
        self.builder
            .file(place.as_str(), File::new(Arc::clone(&data), false))
            .map_err(|error| fail(&error))?;
        self.seen.insert(path.into_os_string());
        Ok(Some(data))
    }

    /// Reads a file into the memory in which the tree keeps it; nothing if it is too large. Most are small and need no
    /// more than to be opened and read to the end.
    fn read(&mut self, path: &Path) -> std::io::Result<Option<Arc<[u8]>>> {
        let mut file = std::fs::File::open(path)?;
        self.buffer.resize(BUFFER, 0);
        let mut length = 0;
        while length < BUFFER {
            match file.read(&mut self.buffer[length..])? {
                0 => return Ok(Some(self.buffer[..length].into())),
                more => length += more,
            }
        }
        let size = file.metadata()?.len();
        if size > LARGEST {
            return Ok(None);
        }
        let size = usize::try_from(size).unwrap_or(BUFFER).max(BUFFER);
        let mut data: Arc<[u8]> = std::iter::repeat_n(0, size).collect();
        let whole = match Arc::get_mut(&mut data).map(|data| data.split_at_mut(BUFFER)) {
            Some((first, rest)) => {
                first.copy_from_slice(&self.buffer);
                match file.read_exact(rest) {
                    Ok(()) => file.read(&mut [0])? == 0,
                    Err(_) => false,
                }
            }
            None => false,
        };
        // It may be of another size by now.
        Ok(Some(if whole { data } else { std::fs::read(path)?.into() }))
    }

    /// Takes in what the texts of a YAML file name.
    fn named_in(&mut self, path: &Path, folder: &Path) -> Result<(), String> {
        let data = match self.linked_file(path)? {
            Some(data) => data,
            None => std::fs::read(path).unwrap_or_default().into(),
        };
        // A file that cannot be read as YAML is the build's to complain of.
        let text = std::str::from_utf8(&data).unwrap_or_default();
        for document in fluvial_yaml::split_documents(text).unwrap_or_default() {
            let Ok(value) = fluvial_yaml::yaml_to_json(&document, false) else {
                continue;
            };
            self.charts(&value, folder)?;
            self.fields(&value, folder)?;
            for plugin in PLUGINS
                .iter()
                .filter_map(|name| value.get(name)?.as_array())
                .flatten()
            {
                let file = plugin.as_str().map(|path| folder.join(path));
                if let Some(file) = file.filter(|file| file.is_file()) {
                    self.named_in(&file, file.parent().unwrap_or(folder))?;
                    self.named_in(&file, folder)?;
                }
            }
        }
        Ok(())
    }

    /// Takes in the folders with an object's charts.
    fn charts(&mut self, value: &Value, folder: &Path) -> Result<(), String> {
        for home in chart_homes(value).map(|home| folder.join(home)) {
            if home.is_dir() {
                self.folder(&home)?;
            }
        }
        Ok(())
    }

    /// Takes in what the fields of an object name.
    fn fields(&mut self, value: &Value, folder: &Path) -> Result<(), String> {
        match value {
            Value::Object(fields) => fields.iter().try_for_each(|(name, item)| {
                if NAMING.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                    self.texts(name, item, folder)
                } else {
                    self.fields(item, folder)
                }
            }),
            Value::Array(items) => items.iter().try_for_each(|item| self.fields(item, folder)),
            _ => Ok(()),
        }
    }

    /// Takes in what the texts of one field name.
    fn texts(&mut self, field: &str, value: &Value, folder: &Path) -> Result<(), String> {
        match value {
            // Inline configurations name files as well; patches do not.
            Value::String(text) if text.contains('\n') => match fluvial_yaml::yaml_to_json(text, false) {
                Ok(inner) if PLUGINS.contains(&field) => {
                    self.charts(&inner, folder)?;
                    self.fields(&inner, folder)
                }
                _ => Ok(()),
            },
            Value::String(text) => self.text(text, folder),
            Value::Array(items) => items.iter().try_for_each(|item| self.texts(field, item, folder)),
            Value::Object(_) => self.fields(value, folder),
            _ => Ok(()),
        }
    }
}

/// Reads a file that had this size; it may have grown meanwhile.
fn read_bounded(path: &Path, size: usize) -> Result<Arc<[u8]>, String> {
    let mut data = Vec::with_capacity(size);
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut data))
        .map_err(|error| error.to_string())?;
    if data.len() as u64 > LARGEST {
        return Err(format!("more than {LARGEST} bytes are too many for a manifest"));
    }
    Ok(data.into())
}

/// The folders in which a kustomization or a generator looks for charts.
fn chart_homes(value: &Value) -> impl Iterator<Item = &str> {
    let inflates = ["helmCharts", "helmChartInflationGenerator"]
        .iter()
        .any(|field| value.get(field).is_some())
        || value.get("kind").and_then(Value::as_str) == Some("HelmChartInflationGenerator");
    let items = value.get("helmChartInflationGenerator").and_then(Value::as_array);
    let named = ["/helmGlobals/chartHome", "/chartHome"]
        .into_iter()
        .filter_map(|place| value.pointer(place))
        .chain(
            items
                .into_iter()
                .flatten()
                .filter_map(|item| item.get("chartHome")),
        )
        .filter_map(Value::as_str);
    named.chain(inflates.then_some("charts"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Vec<String> {
        let home = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut reader = Reader::below(home.path());
        reader.kustomization(&home.path().join("app")).unwrap();
        let tree = reader.tree();
        tree.below(&TreePath::root())
            .filter(|(_, entry)| !matches!(entry, fluvial_tree::Entry::Folder))
            .map(|(path, _)| path.as_str().to_owned())
            .collect()
    }

    #[test]
    fn of_a_plain_folder_only_a_repository_is_left_out() {
        let home = tempfile::tempdir().unwrap();
        for path in [
            "chart/a",
            "chart/.git/config",
            "chart/sub/.git/HEAD",
            "chart/sub/b",
        ] {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let mut reader = Reader::below(home.path());
        reader.plain_folder(&home.path().join("chart")).unwrap();
        let tree = reader.tree();
        let root = TreePath::root();
        let files: Vec<_> = tree
            .below(&root)
            .filter(|(_, entry)| !matches!(entry, fluvial_tree::Entry::Folder))
            .map(|(path, _)| path.as_str().to_owned())
            .collect();
        assert_eq!(files, ["chart/.git/config", "chart/a", "chart/sub/b"]);
    }

    #[test]
    fn only_fields_that_name_files_are_followed() {
        let kustomization = "\
resources: [one.yaml, ../base]
namePrefix: secret.txt
Components: [../other]
patches:
- path: patch.yaml
- patch: |
    spec: {path: secret.txt}
replacements:
- source: {kind: ConfigMap, options: {delimiter: \"/\"}}
configMapGenerator:
- name: a
  files: [key=data.txt]
transformers:
- |
  kind: PatchTransformer
  path: inline.yaml
";
        let read = read(&[
            ("app/kustomization.yaml", kustomization),
            ("app/one.yaml", ""),
            ("app/patch.yaml", ""),
            ("app/data.txt", ""),
            ("app/inline.yaml", ""),
            ("app/secret.txt", ""),
            ("base/kustomization.yaml", "resources: [two.yaml]"),
            ("base/two.yaml", ""),
            ("base/unnamed.yaml", ""),
            ("other/kustomization.yaml", "namePrefix: a-"),
        ]);
        assert_eq!(
            read,
            [
                "app/data.txt",
                "app/inline.yaml",
                "app/kustomization.yaml",
                "app/one.yaml",
                "app/patch.yaml",
                "base/kustomization.yaml",
                "base/two.yaml",
                "other/kustomization.yaml"
            ]
        );
    }

    #[test]
    fn definitions_are_read_when_they_are_asked_for() {
        let home = tempfile::tempdir().unwrap();
        for path in [
            "crds/a.yaml",
            "crds/b.yaml",
            "templates/crds/c.yaml",
            "Chart.yaml",
        ] {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "kind: A\n").unwrap();
        }
        let unread = Unread::default();
        let mut reader = Reader::below(home.path()).definitions_later(Some(&unread));
        reader.plain_folder(home.path()).unwrap();
        let tree = reader.tree();
        let file = |path: &str| tree.file(&TreePath::parse(path).unwrap()).unwrap().clone();
        std::fs::remove_dir_all(home.path().join("templates")).unwrap();
        std::fs::remove_file(home.path().join("crds/b.yaml")).unwrap();
        assert_eq!(file("templates/crds/c.yaml").data(), b"kind: A\n");
        assert_eq!(file("crds/a.yaml").data(), b"kind: A\n");
        assert_eq!(file("crds/b.yaml").size(), 8);
        assert_eq!(unread.check(), Ok(()));
        // Nobody goes on with the empty content.
        assert_eq!(file("crds/b.yaml").data(), b"");
        let problem = unread.check().unwrap_err();
        assert!(problem.contains("crds/b.yaml: No such file"), "{problem}");
    }

    #[test]
    fn charts_are_taken_in_whole() {
        let read = read(&[
            ("app/kustomization.yaml", "generators: [charts.yaml]"),
            (
                "app/charts.yaml",
                "kind: HelmChartInflationGenerator\nchartHome: here\nname: a",
            ),
            ("app/here/a/Chart.yaml", ""),
            ("app/here/a/templates/b.yaml", ""),
        ]);
        assert!(read.contains(&"app/here/a/templates/b.yaml".to_owned()));
        let read = self::read(&[
            (
                "app/kustomization.yaml",
                "generators:\n- |\n  kind: HelmChartInflationGenerator\n  name: a\n",
            ),
            ("app/charts/a/templates/b.yaml", ""),
        ]);
        assert!(read.contains(&"app/charts/a/templates/b.yaml".to_owned()));
    }

    #[test]
    fn values_of_old_charts_and_shared_targets_are_taken_in() {
        let kustomization = "\
helmChartInflationGenerator: [{chartName: a, values: v.yaml}]
transformers: [add.yaml]
";
        let read = read(&[
            ("app/kustomization.yaml", kustomization),
            ("app/v.yaml", ""),
            (
                "app/add.yaml",
                "kind: ValueAddTransformer\ntargetFilePath: targets.yaml",
            ),
            ("app/targets.yaml", ""),
        ]);
        assert!(read.contains(&"app/v.yaml".to_owned()) && read.contains(&"app/targets.yaml".to_owned()));
    }
}
