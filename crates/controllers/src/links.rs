//! Who refers to whom, both ways, so that a change wakes exactly those that it concerns.

use std::collections::BTreeSet;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use rustc_hash::FxHashMap;

use crate::Key;

struct Inner<T, F> {
    forward: FxHashMap<F, Vec<T>>,
    reverse: FxHashMap<T, BTreeSet<F>>,
}

/// References from objects, by default those of one kind, to targets.
pub struct Links<T, F = Key>(Mutex<Inner<T, F>>);

impl<T, F> Default for Links<T, F> {
    fn default() -> Self {
        Self(Mutex::new(Inner {
            forward: FxHashMap::default(),
            reverse: FxHashMap::default(),
        }))
    }
}

impl<T: Clone + Eq + Hash, F: Clone + Ord + Hash> Links<T, F> {
    /// States what `from` refers to, in place of what it referred to before.
    pub fn set(&self, from: &F, to: Vec<T>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { forward, reverse } = &mut *inner;
        if forward.get(from).map(Vec::as_slice).unwrap_or_default() == to {
            return;
        }
        for old in forward.remove(from).unwrap_or_default() {
            if let Some(referrers) = reverse.get_mut(&old) {
                referrers.remove(from);
                if referrers.is_empty() {
                    reverse.remove(&old);
                }
            }
        }
        for target in &to {
            reverse.entry(target.clone()).or_default().insert(from.clone());
        }
        if !to.is_empty() {
            forward.insert(from.clone(), to);
        }
    }

    /// Who refers to `to`.
    pub fn referrers(&self, to: &T) -> Vec<F> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner
            .reverse
            .get(to)
            .map(|keys| keys.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Whether anybody refers to anything.
    pub fn is_empty(&self) -> bool {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.forward.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_and_forgotten_as_a_whole() {
        let links = Links::default();
        let (a, b) = (Key::new("ns", "a"), Key::new("ns", "b"));
        links.set(&a, vec!["x", "y"]);
        links.set(&b, vec!["x"]);
        assert_eq!(links.referrers(&"x"), [a.clone(), b.clone()]);
        links.set(&a, vec!["y"]);
        assert_eq!(links.referrers(&"x"), std::slice::from_ref(&b));
        links.set(&a, Vec::new());
        links.set(&b, Vec::new());
        assert!(links.referrers(&"y").is_empty());
        assert!(links.is_empty());
    }
}
