//! What is kept of chart repositories: each index once, by its digest, with a table of where its charts are; charts
//! that an index names a digest of; and per URL what the server said of its index.

use std::fs;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fluvial_helm::ChartVersion;
use rustc_hash::FxHashMap;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::folder::Found;
use super::index::{self, IndexError, Table};
use super::{FAILED, INDEXATION_FAILED};
use crate::error::SourceError;

/// Charts are kept up to this many bytes.
const ARCHIVES: u64 = 256 << 20;

/// What a server said of an index.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Known {
    pub(crate) revision: String,
    pub(crate) etag: Option<String>,
    pub(crate) modified: Option<String>,
}

/// The state of one URL; whoever holds it fetches.
pub(crate) type Slot = Arc<tokio::sync::Mutex<Option<Known>>>;

/// An index on disk.
#[derive(Debug)]
pub(crate) struct Held {
    /// `sha256:…` of the index as it was served.
    pub(crate) revision: String,
    /// The index as JSON.
    pub(crate) file: PathBuf,
    /// Bytes as it was served.
    pub(crate) size: u64,
    table: Table,
}

#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
    counter: AtomicU64,
    slots: Mutex<FxHashMap<String, Slot>>,
    held: Mutex<FxHashMap<String, Arc<Held>>>,
}

fn failed(path: &Path, error: &io::Error) -> SourceError {
    SourceError::retry(FAILED, format!("cache file '{}': {error}", path.display()))
}

fn plain_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Held {
    /// The versions of a chart, newest first; nothing if there is no such chart.
    pub(crate) fn versions(&self, chart: &str) -> Result<Option<Vec<ChartVersion>>, SourceError> {
        let Some((at, length)) = self.table.charts.get(chart) else {
            return Ok(None);
        };
        let read = || -> io::Result<Vec<u8>> {
            let mut file = fs::File::open(&self.file)?;
            file.seek(SeekFrom::Start(*at))?;
            let mut data = vec![0; usize::try_from(*length).unwrap_or(usize::MAX)];
            file.read_exact(&mut data)?;
            Ok(data)
        };
        let data = read().map_err(|error| failed(&self.file, &error))?;
        let rows: Vec<Value> =
            serde_json::from_slice(&data).map_err(|error| failed(&self.file, &error.into()))?;
        Ok(Some(rows.iter().filter_map(ChartVersion::from_json).collect()))
    }
}

impl Cache {
    pub(crate) fn new(root: PathBuf) -> Self {
        Cache {
            root,
            counter: AtomicU64::new(0),
            slots: Mutex::default(),
            held: Mutex::default(),
        }
    }

    fn folder(&self, name: &str) -> Result<PathBuf, SourceError> {
        let folder = self.root.join(name);
        fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
        Ok(folder)
    }

    /// A place for a file under way.
    pub(crate) fn pending(&self) -> Result<PathBuf, SourceError> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        Ok(self
            .folder("pending")?
            .join(format!("{}-{number}", std::process::id())))
    }

    /// Removes a file under way.
    pub(crate) fn discard(&self, path: &Path) {
        // What stays is overwritten by a later process of the same number, or goes with the folder.
        let _ = fs::remove_file(path);
    }

    /// The state of a URL.
    pub(crate) fn slot(&self, url: &str) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(url.to_owned()).or_default())
    }

    fn state_file(&self, url: &str) -> Result<PathBuf, SourceError> {
        let name = crate::hex(&Sha256::digest(url.as_bytes()));
        Ok(self.folder("urls")?.join(name))
    }

    /// What is known of a URL, from an earlier process too.
    pub(crate) fn known(&self, url: &str, slot: &mut Option<Known>) -> Option<Known> {
        if slot.is_none()
            && let Ok(path) = self.state_file(url)
            && let Ok(data) = fs::read(path)
        {
            *slot = serde_json::from_slice(&data).ok();
        }
        slot.clone()
    }

    /// Keeps what a server said; an index that no URL leads to any more goes.
    pub(crate) fn remember(&self, url: &str, slot: &mut Option<Known>, known: &Known) {
        let before = slot.replace(known.clone());
        if let Ok(path) = self.state_file(url)
            && let Ok(data) = serde_json::to_vec(known)
        {
            // Without it the next process downloads the index once more.
            let _ = fs::write(path, data);
        }
        if let Some(before) = before.filter(|before| before.revision != known.revision) {
            self.forget(url, &before.revision);
        }
    }

    /// Removes an index, unless another URL leads to it.
    fn forget(&self, url: &str, revision: &str) {
        let others: Vec<Slot> = {
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let others = slots.iter().filter(|(other, _)| *other != url);
            others.map(|(_, slot)| Arc::clone(slot)).collect()
        };
        let used = others.iter().any(|slot| match slot.try_lock() {
            Ok(known) => known.as_ref().is_some_and(|known| known.revision == revision),
            // It is being fetched: it may use it.
            Err(_) => true,
        });
        if used {
            return;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.remove(revision) {
            // Whoever reads it has it open, or fetches the present one.
            let _ = fs::remove_file(&held.file);
        }
    }

    /// An index of this revision.
    pub(crate) fn held(&self, revision: &str) -> Option<Arc<Held>> {
        {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(held) = held.get(revision) {
                return held.file.is_file().then(|| Arc::clone(held));
            }
        }
        let digest = revision
            .strip_prefix("sha256:")
            .filter(|digest| plain_hex(digest))?;
        let file = self.folder("indexes").ok()?.join(digest);
        let size = fs::metadata(&file).ok()?.len();
        // Of an earlier process: its table is made anew.
        self.take_in(&file, revision, size).ok()
    }

    /// Takes an index in.
    pub(crate) fn take_in(&self, from: &Path, revision: &str, size: u64) -> Result<Arc<Held>, SourceError> {
        if let Some(known) = self
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(revision)
            .filter(|known| known.file.is_file())
        {
            return Ok(Arc::clone(known));
        }
        let pending = self.pending()?;
        let made = fs::File::open(from).map_err(IndexError::Io).and_then(|input| {
            index::normalise(input, || {
                Ok(BufWriter::with_capacity(64 << 10, fs::File::create(&pending)?))
            })
        });
        let table = match made {
            Ok((table, _)) => table,
            Err(error) => {
                self.discard(&pending);
                return Err(match error {
                    IndexError::Io(error) => failed(from, &error),
                    IndexError::Content(text) => SourceError::waiting(
                        INDEXATION_FAILED,
                        format!("failed to load Helm repository from index YAML: {text}"),
                    ),
                });
            }
        };
        self.keep(&pending, revision, size, table)
    }

    fn keep(
        &self,
        pending: &Path,
        revision: &str,
        size: u64,
        table: Table,
    ) -> Result<Arc<Held>, SourceError> {
        let name = revision.strip_prefix("sha256:").unwrap_or(revision);
        let file = self.folder("indexes")?.join(name);
        fs::rename(pending, &file).map_err(|error| failed(&file, &error))?;
        let held = Arc::new(Held {
            revision: revision.to_owned(),
            file,
            size,
            table,
        });
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(revision.to_owned(), Arc::clone(&held));
        Ok(held)
    }

    /// An index of charts that were found in a folder.
    pub(crate) fn of_charts(&self, charts: Vec<Found>) -> Result<Arc<Held>, SourceError> {
        let mut entries: Map<String, Value> = Map::new();
        for chart in charts {
            let list = entries
                .entry(chart.name)
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Some(list) = list.as_array_mut() {
                list.push(chart.row);
            }
        }
        let json = serde_json::json!({"apiVersion": "v1", "entries": entries}).to_string();
        let revision = format!("sha256:{}", crate::hex(&Sha256::digest(json.as_bytes())));
        if let Some(held) = self.held(&revision) {
            return Ok(held);
        }
        let raw = self.pending()?;
        fs::write(&raw, &json).map_err(|error| failed(&raw, &error))?;
        let held = self.take_in(&raw, &revision, json.len() as u64);
        self.discard(&raw);
        held
    }

    /// A chart's archive by the digest of its index entry.
    pub(crate) fn archive(&self, digest: &str) -> Option<Arc<[u8]>> {
        if !plain_hex(digest) {
            return None;
        }
        let file = self.folder("charts").ok()?.join(digest.to_ascii_lowercase());
        let mut data = Vec::new();
        BufReader::new(fs::File::open(file).ok()?)
            .read_to_end(&mut data)
            .ok()?;
        crate::hex(&Sha256::digest(&data))
            .eq_ignore_ascii_case(digest)
            .then(|| data.into())
    }

    /// Keeps a chart's archive; the oldest go when there are too many.
    pub(crate) fn keep_archive(&self, digest: &str, data: &[u8]) {
        let keep = || -> Result<(), SourceError> {
            let folder = self.folder("charts")?;
            let pending = self.pending()?;
            fs::write(&pending, data).map_err(|error| failed(&pending, &error))?;
            let file = folder.join(digest.to_ascii_lowercase());
            fs::rename(&pending, &file).map_err(|error| failed(&file, &error))?;
            let mut files: Vec<_> = fs::read_dir(&folder)
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|entry| {
                    let meta = entry.metadata().ok()?;
                    Some((meta.modified().ok()?, meta.len(), entry.path()))
                })
                .collect();
            let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
            files.sort_unstable();
            for (_, size, path) in files {
                if total <= ARCHIVES {
                    break;
                }
                total -= size;
                // It is downloaded again if it is needed.
                let _ = fs::remove_file(path);
            }
            Ok(())
        };
        // A cache that cannot be written costs downloads, nothing else.
        let _ = keep();
    }
}
