//! A folder of charts, packed or not, in place of a repository: what mirrors lead to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use fluvial_helm::{LoadLimits, Package};
use fluvial_tree::TreePath;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::SourceError;
use crate::limits::Limits;

/// Most files that are looked at in one folder.
const MOST: usize = 10_000;

/// A chart in a folder.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Name of the chart.
    pub(crate) name: String,
    /// Its row in an index.
    pub(crate) row: Value,
}

type Stamp = (u64, Option<SystemTime>);

/// What archives were found to hold, so that each is opened once.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<FxHashMap<PathBuf, (Stamp, Option<Found>)>>);

fn failed(path: &Path, error: &dyn std::fmt::Display) -> SourceError {
    SourceError::retry(
        "Failed",
        format!("mirror '{}' cannot be read: {error}", path.display()),
    )
}

/// Whether a place is a folder of this machine.
pub(crate) fn path_of(url: &str) -> Option<PathBuf> {
    if let Some(path) = url.strip_prefix("file://") {
        return Some(PathBuf::from(path));
    }
    (!url.contains("://")).then(|| PathBuf::from(url))
}

/// Whether a folder is a chart.
pub(crate) fn is_chart(path: &Path) -> bool {
    path.join("Chart.yaml").is_file()
}

/// The charts in a folder; the folder itself if it is one.
pub(crate) fn charts(folder: &Path, seen: &Seen, limits: LoadLimits) -> Result<Vec<Found>, SourceError> {
    if is_chart(folder) {
        let package = package(folder, limits)?;
        return Ok(vec![found(&package, ".", None)]);
    }
    let entries = std::fs::read_dir(folder).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "; make the folder, or correct the mirrors file",
            _ => "",
        };
        failed(folder, &format!("{error}{hint}"))
    })?;
    let mut names: Vec<String> = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed(folder, &error))?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
        if names.len() > MOST {
            return Err(failed(folder, &format!("it has more than {MOST} entries")));
        }
    }
    names.sort_unstable();
    let mut all = Vec::new();
    for name in names {
        let path = folder.join(&name);
        if name.ends_with(".tgz") {
            all.extend(seen.archive(&path, &name, limits)?);
        } else if is_chart(&path) {
            all.push(found(&package(&path, limits)?, &name, None));
        }
    }
    Ok(all)
}

impl Seen {
    fn archive(&self, path: &Path, name: &str, limits: LoadLimits) -> Result<Option<Found>, SourceError> {
        let meta = path.metadata().map_err(|error| failed(path, &error))?;
        let stamp = (meta.len(), meta.modified().ok());
        {
            let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((known, found)) = seen.get(path)
                && *known == stamp
            {
                return Ok(found.clone());
            }
        }
        let data = std::fs::read(path).map_err(|error| failed(path, &error))?;
        // Other archives may lie there too.
        let result = Package::from_archive(&data, limits)
            .ok()
            .map(|package| found(&package, name, Some(&data)));
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(path.to_owned(), (stamp, result.clone()));
        Ok(result)
    }
}

/// A chart's folder, read.
pub(crate) fn package(folder: &Path, limits: LoadLimits) -> Result<Package, SourceError> {
    let tree = crate::folder::read(folder, Limits::default())?;
    Package::from_tree(&tree, &TreePath::root(), limits).map_err(|error| failed(folder, &error))
}

fn found(package: &Package, url: &str, data: Option<&[u8]>) -> Found {
    let metadata = package.metadata();
    let text = package.file("Chart.yaml").map(|file| file.text().into_owned());
    let json = text.and_then(|text| fluvial_yaml::yaml_to_json(&text, false).ok());
    let mut row = match json {
        Some(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    row.insert("urls".to_owned(), json!([url]));
    if let Some(data) = data {
        row.insert("digest".to_owned(), crate::hex(&Sha256::digest(data)).into());
    }
    Found {
        name: metadata.name.clone(),
        row: row.into(),
    }
}

/// An archive, or a folder packed into one.
pub(crate) fn archive(path: &Path, limits: LoadLimits) -> Result<Arc<[u8]>, SourceError> {
    if path.is_dir() {
        let data = package(path, limits)?
            .pack()
            .map_err(|error| failed(path, &error))?;
        return Ok(data.into());
    }
    let size = path.metadata().map_err(|error| failed(path, &error))?.len();
    if size > limits.total {
        return Err(failed(
            path,
            &format!("it has {size} bytes, more than a chart may have"),
        ));
    }
    Ok(std::fs::read(path).map_err(|error| failed(path, &error))?.into())
}
