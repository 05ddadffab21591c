//! The revisions that this process holds as trees: fetched once, shared by all that build from them.

use std::sync::{Arc, Mutex, PoisonError};

use fluvial_tree::Tree;
use rustc_hash::FxHashMap;

use crate::SourceId;

/// A revision of a source with its files.
#[derive(Debug, Clone)]
pub struct Held {
    /// As `status.artifact.revision` spells it.
    pub revision: String,
    /// Digest of the stored artifact.
    pub digest: String,
    /// Its files, as the artifact has them.
    pub tree: Tree,
}

/// The newest held revision of each source.
#[derive(Debug, Default)]
pub struct Revisions(Mutex<FxHashMap<SourceId, Arc<Held>>>);

impl Revisions {
    /// What is held of a source.
    pub fn get(&self, source: &SourceId) -> Option<Arc<Held>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(source)
            .cloned()
    }

    /// What is held of a source, if it is this artifact.
    pub fn exactly(&self, source: &SourceId, revision: &str, digest: &str) -> Option<Arc<Held>> {
        self.get(source)
            .filter(|held| held.revision == revision && held.digest == digest)
    }

    /// Holds a revision in place of the source's earlier one.
    pub fn put(&self, source: SourceId, held: Held) -> Arc<Held> {
        let held = Arc::new(held);
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(source, Arc::clone(&held));
        held
    }

    /// Lets go of a source.
    pub fn remove(&self, source: &SourceId) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(source);
    }
}
