//! Failures in a row, and until when an attempt has been put off.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use crate::Key;

/// What is remembered of the failures of all releases.
#[derive(Debug, Default)]
pub(super) struct Tries(Mutex<FxHashMap<Key, Tried>>);

#[derive(Debug, Default)]
struct Tried {
    count: u32,
    again: Option<Instant>,
}

impl Tries {
    fn of<T>(&self, key: &Key, change: impl FnOnce(&mut Tried) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry(key.clone()).or_default())
    }

    /// Counts a failure; how many there were in a row.
    pub(super) fn failed(&self, key: &Key) -> u32 {
        self.of(key, |tried| {
            tried.count = tried.count.saturating_add(1);
            tried.again = None;
            tried.count
        })
    }

    /// The next attempt is after this time, unless something changes.
    pub(super) fn put_off(&self, key: &Key, delay: Duration) {
        self.of(key, |tried| tried.again = Instant::now().checked_add(delay));
    }

    /// How long the next attempt is put off for.
    pub(super) fn left(&self, key: &Key) -> Option<Duration> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all.get(key)?.again?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Nothing fails any more, or nobody tries.
    pub(super) fn over(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_and_attempts_put_off_until_it_is_over() {
        let (tries, key) = (Tries::default(), Key::new("ns", "web"));
        assert_eq!((tries.failed(&key), tries.failed(&key)), (1, 2));
        assert_eq!(tries.left(&key), None);
        tries.put_off(&key, Duration::from_secs(60));
        assert!(tries.left(&key).is_some_and(|left| left.as_secs() > 50));
        tries.over(&key);
        assert_eq!((tries.left(&key), tries.failed(&key)), (None, 1));
    }
}
