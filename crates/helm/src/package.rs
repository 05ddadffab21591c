//! Charts as archives: a chart with another version, other default values or further dependencies is packed anew, in
//! Helm's order and with bytes that depend on the content alone.

use std::io::Write;
use std::sync::Arc;

use flate2::{Compression, GzBuilder};
use fluvial_object::semver::Version;
use fluvial_tree::{File, Tree, TreePath};
use serde_json::Value as Json;

use crate::archive;
use crate::chart::{ChartFile, LoadLimits, files_in};
use crate::error::Error;
use crate::metadata::{Dependency, Metadata};
use crate::values::{merge_json, read_values, yaml_to_json};

/// The files of a chart, without its own folder, and what its `Chart.yaml` says.
#[derive(Clone, Debug)]
pub struct Package {
    files: Vec<ChartFile>,
    metadata: Metadata,
}

impl Package {
    /// Takes an archive apart.
    ///
    /// # Errors
    /// If it is no archive of a chart, or unpacks to more than allowed.
    pub fn from_archive(data: &[u8], limits: LoadLimits) -> Result<Self, Error> {
        Self::of(archive::unpack_with(data, limits)?)
    }

    /// Takes in a folder of a tree, or an archive that the path leads to.
    ///
    /// # Errors
    /// If it is no chart, or larger than allowed.
    pub fn from_tree(tree: &Tree, path: &TreePath, limits: LoadLimits) -> Result<Self, Error> {
        if let Ok(file) = tree.file(path) {
            return Self::from_archive(file.data(), limits);
        }
        Self::of(files_in(tree, path, limits)?)
    }

    fn of(files: Vec<ChartFile>) -> Result<Self, Error> {
        let mut metadata = Metadata::default();
        let mut found = false;
        for file in &files {
            let name = &*file.name;
            let counts = match name {
                "Chart.yaml" => true,
                // Charts of version 1 list their dependencies in a file of their own.
                "requirements.yaml" => true,
                _ => false,
            };
            if !counts {
                continue;
            }
            found |= name == "Chart.yaml";
            let json = yaml_to_json(&file.text())
                .map_err(|error| Error::load(format!("cannot load {name}: {error}")))?;
            metadata
                .merge(&json)
                .map_err(|error| Error::load(format!("cannot load {name}: {error}")))?;
        }
        if !found {
            return Err(Error::load("Chart.yaml file is missing"));
        }
        if metadata.api_version.is_empty() {
            "v1".clone_into(&mut metadata.api_version);
        }
        metadata.validate()?;
        Ok(Package { files, metadata })
    }

    /// What its `Chart.yaml` says.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// A file by its path in the chart.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&ChartFile> {
        self.files.iter().find(|file| &*file.name == path)
    }

    /// The dependencies that `Chart.yaml` names and `charts/` lacks.
    #[must_use]
    pub fn missing_dependencies(&self) -> Vec<&Dependency> {
        let has = |dependency: &&Dependency| {
            let folder = format!("charts/{}/", dependency.name);
            let archive = format!("charts/{}-", dependency.name);
            self.files.iter().any(|file| {
                file.name.starts_with(&folder)
                    || file.name.strip_prefix(&archive).is_some_and(|rest| {
                        rest.ends_with(".tgz") && rest.starts_with(|c: char| c.is_ascii_digit() || c == 'v')
                    })
            })
        };
        let all = self.metadata.dependencies.iter();
        all.filter(|dependency| !has(dependency)).collect()
    }

    /// The versions that `Chart.lock` (or `requirements.lock`) holds dependencies to.
    #[must_use]
    pub fn locked(&self) -> Vec<Dependency> {
        let Some(file) = ["Chart.lock", "requirements.lock"]
            .iter()
            .find_map(|name| self.file(name))
        else {
            return Vec::new();
        };
        let mut lock = Metadata::default();
        match yaml_to_json(&file.text()) {
            Ok(json) if lock.merge(&json).is_ok() => lock.dependencies,
            _ => Vec::new(),
        }
    }

    /// Gives the version other build metadata (`+…`).
    ///
    /// # Errors
    /// If the version is none.
    pub fn set_version_metadata(&mut self, build: &str) -> Result<(), Error> {
        let version = Version::parse(&self.metadata.version).map_err(|error| {
            Error::load(format!(
                "failed to parse version from chart metadata as SemVer: {error}"
            ))
        })?;
        let version = version
            .with_metadata(build)
            .map_err(|error| Error::load(format!("build metadata '{build}': {error}")))?;
        self.set_version(&version.to_string())
    }

    fn set_version(&mut self, version: &str) -> Result<(), Error> {
        version.clone_into(&mut self.metadata.version);
        for file in self.files.iter_mut().filter(|file| &*file.name == "Chart.yaml") {
            let mut json = yaml_to_json(&file.text()).map_err(Error::load)?;
            if let Some(fields) = json.as_object_mut() {
                fields.retain(|key, _| !key.eq_ignore_ascii_case("version"));
                fields.insert("version".to_owned(), Json::String(version.to_owned()));
            }
            *file = of_json(&file.name, &json);
        }
        Ok(())
    }

    /// Puts other default values in the place of the chart's.
    pub fn set_values(&mut self, values: &Json) {
        let values = of_json("values.yaml", values);
        match self.files.iter_mut().find(|file| file.name == values.name) {
            Some(file) => *file = values,
            None => self.files.push(values),
        }
    }

    /// Adds the archive of a dependency, in place of one that is there.
    pub fn add_dependency(&mut self, name: &str, version: &str, archive: Arc<[u8]>) {
        let path = format!("charts/{name}-{version}.tgz");
        self.files.retain(|file| *file.name != *path);
        self.files.push(ChartFile::new(path, File::new(archive, false)));
    }

    /// Packs it.
    ///
    /// # Errors
    /// If a name is too long for an archive.
    pub fn pack(&self) -> Result<Vec<u8>, Error> {
        let mut files: Vec<&ChartFile> = self.files.iter().collect();
        files.sort_by_key(|file| (rank(&file.name), &file.name));
        files.dedup_by(|a, b| a.name == b.name);
        let gzip = GzBuilder::new()
            .mtime(0)
            .operating_system(255)
            .write(Vec::new(), Compression::default());
        let mut archive = tar::Builder::new(gzip);
        let bad = |error: std::io::Error| Error::load(format!("chart cannot be packed: {error}"));
        for file in files {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(0o644);
            header.set_size(file.data().len() as u64);
            header.set_mtime(0);
            let path = format!("{}/{}", self.metadata.name, file.name);
            archive.append_data(&mut header, path, file.data()).map_err(bad)?;
        }
        let mut gzip = archive.into_inner().map_err(bad)?;
        gzip.flush().map_err(bad)?;
        gzip.finish().map_err(bad)
    }
}

/// A file of this name with a JSON value as YAML.
fn of_json(name: &str, json: &Json) -> ChartFile {
    let text = fluvial_yaml::json_to_yaml(json);
    ChartFile::new(name, File::new(text.into_bytes(), false))
}

/// Helm's order: metadata, lock, values, schema, templates, files, dependencies.
fn rank(name: &str) -> u8 {
    match name {
        "Chart.yaml" => 0,
        "Chart.lock" => 1,
        "values.yaml" => 2,
        "values.schema.json" => 3,
        name if name.starts_with("templates/") => 4,
        name if name.starts_with("charts/") => 6,
        _ => 5,
    }
}

/// Lays values files over each other, later ones over earlier ones; a file is its name and its text.
///
/// # Errors
/// If one is no table; names it.
pub fn merge_values<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Json, Error> {
    let mut merged = serde_json::Map::new();
    for (name, text) in files {
        let values = read_values(text)
            .map_err(|error| Error::values(format!("unable to read values from '{name}': {error}")))?;
        if let Json::Object(fields) = values {
            merge_json(&mut merged, fields);
        }
    }
    Ok(Json::Object(merged))
}

#[cfg(test)]
mod tests {
    use fluvial_tree::{File, TreeBuilder};

    use super::*;
    use crate::Chart;

    fn package() -> Package {
        let mut tree = TreeBuilder::default();
        for (path, text) in [
            (
                "c/Chart.yaml",
                "apiVersion: v2\nname: web\nversion: v1.2.3+old\ndependencies:\n- {name: db, version: 1.x, repository: \"file://../db\"}\n",
            ),
            ("c/values.yaml", "a: 1\n"),
            ("c/templates/x.yaml", "kind: ConfigMap\n"),
            ("c/README.md", "hello"),
            ("c/secret.txt", "no"),
            ("c/.helmignore", "secret.txt\n"),
        ] {
            tree.file(path, File::new(text.as_bytes(), false)).unwrap();
        }
        let path = TreePath::parse("c").unwrap();
        Package::from_tree(&tree.build(), &path, LoadLimits::default()).unwrap()
    }

    #[test]
    fn a_folder_becomes_an_archive_that_is_the_same_each_time() {
        let package = package();
        let data = package.pack().unwrap();
        assert_eq!(data, package.pack().unwrap());
        let chart = Chart::from_archive(&data, LoadLimits::default()).unwrap();
        assert_eq!(
            (chart.name(), chart.metadata.version.as_str()),
            ("web", "v1.2.3+old")
        );
        let names: Vec<&str> = chart.files.iter().map(|file| &*file.name).collect();
        assert!(
            names.contains(&"README.md") && !names.contains(&"secret.txt"),
            "{names:?}"
        );
    }

    #[test]
    fn version_values_and_dependencies_change() {
        let mut package = package();
        assert_eq!(package.missing_dependencies()[0].name, "db");
        package.set_version_metadata("0123456789ab.4").unwrap();
        let values = merge_values([("a", "a: {x: 1, z: 2}\n"), ("b", "a: {z: 3}\nb: 1.5\n")]).unwrap();
        package.set_values(&values);
        let dependency = {
            let mut tree = TreeBuilder::default();
            let text = "apiVersion: v2\nname: db\nversion: 1.0.0\n";
            tree.file("Chart.yaml", File::new(text.as_bytes(), false))
                .unwrap();
            let tree = tree.build();
            Package::from_tree(&tree, &TreePath::root(), LoadLimits::default()).unwrap()
        };
        package.add_dependency("db", "1.0.0", dependency.pack().unwrap().into());
        assert!(package.missing_dependencies().is_empty());
        let chart = Chart::from_archive(&package.pack().unwrap(), LoadLimits::default()).unwrap();
        assert_eq!(chart.metadata.version, "1.2.3+0123456789ab.4");
        assert_eq!(chart.dependencies[0].name(), "db");
        let text = chart.values_text.as_ref().unwrap().text().into_owned();
        assert_eq!(text, "a:\n  x: 1\n  z: 3\nb: 1.5\n");
    }

    #[test]
    fn a_values_file_that_is_no_table_is_named() {
        let error = merge_values([("prod.yaml", "- 1\n")]).unwrap_err();
        assert!(error.to_string().contains("'prod.yaml'"), "{error}");
    }
}
