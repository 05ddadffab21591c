//! The versions of a release that are stored: which one runs, which one is the last, which ones may be forgotten.

use super::{Status, Stored};

/// All stored versions of one release, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History(Vec<Stored>);

impl History {
    /// A history from versions in any order.
    #[must_use]
    pub fn new(mut versions: Vec<Stored>) -> Self {
        versions.sort_by_key(|release| release.version);
        History(versions)
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All versions, oldest first.
    #[must_use]
    pub fn all(&self) -> &[Stored] {
        &self.0
    }

    /// The newest version.
    #[must_use]
    pub fn last(&self) -> Option<&Stored> {
        self.0.last()
    }

    /// One version.
    #[must_use]
    pub fn get(&self, version: i64) -> Option<&Stored> {
        self.0.iter().find(|release| release.version == version)
    }

    /// The newest version that is deployed.
    #[must_use]
    pub fn deployed(&self) -> Option<&Stored> {
        self.0
            .iter()
            .rev()
            .find(|release| release.info.status == Status::Deployed)
    }

    /// What an upgrade starts from: what is deployed, else the last one.
    #[must_use]
    pub fn current(&self) -> Option<&Stored> {
        self.deployed().or_else(|| self.last())
    }

    /// The number of the next version.
    #[must_use]
    pub fn next_version(&self) -> i64 {
        self.last().map_or(1, |release| release.version.saturating_add(1))
    }

    /// Takes a version in, in place of the one of its number.
    pub fn put(&mut self, release: Stored) {
        match self.0.iter_mut().find(|known| known.version == release.version) {
            Some(known) => *known = release,
            None => {
                self.0.push(release);
                self.0.sort_by_key(|release| release.version);
            }
        }
    }

    /// Forgets a version.
    pub fn remove(&mut self, version: i64) {
        self.0.retain(|release| release.version != version);
    }
}

/// The versions to forget before another one is stored, so that `max` are kept; 0 keeps all. What is deployed stays.
#[must_use]
pub fn to_forget(history: &History, max: i64) -> Vec<i64> {
    let Ok(max) = usize::try_from(max) else {
        return Vec::new();
    };
    if max == 0 || history.all().len() < max {
        return Vec::new();
    }
    let deployed = history.deployed().map(|release| release.version);
    let surplus = history.all().len() - (max - 1);
    let versions = history.all().iter().map(|release| release.version);
    versions
        .filter(|version| Some(*version) != deployed)
        .take(surplus)
        .collect()
}
