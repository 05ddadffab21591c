//! What a build may use up, so that a small hostile tree cannot become a huge one: patches that
//! copy an object into itself, values that are put into thousands of objects, files that are named
//! a thousand times.

use std::cell::Cell;

use fluvial_yaml::{Node, NodeData};

use crate::error::{Error, Result};

/// The most bytes of files that a build may read, those that it reads twice counted twice.
const MAX_READ: usize = 256 << 20;
/// The most bytes that it may add to what it has read: about those of memory.
const MAX_ADDED: usize = 512 << 20;
/// The deepest nesting of an object.
pub(crate) const MAX_NESTING: usize = 600;
/// The longest prefix, suffix, namespace or part of an image's name.
const MAX_NAME: usize = 4096;
/// What a node weighs besides its text.
const NODE: usize = 64;

/// What was used up.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    read: Cell<usize>,
    added: Cell<usize>,
}

impl Budget {
    /// Counts bytes of a file.
    pub(crate) fn read(&self, bytes: usize) -> Result<()> {
        take(&self.read, bytes, MAX_READ, "reads")
    }

    /// Counts bytes that are put into objects.
    pub(crate) fn add(&self, bytes: usize) -> Result<()> {
        take(&self.added, bytes, MAX_ADDED, "adds to its objects")
    }

    /// Counts a node that is put into an object below some others.
    pub(crate) fn place(&self, node: &Node, below: usize) -> Result<()> {
        let mut bytes = 0;
        if below > MAX_NESTING || !weigh(node, MAX_NESTING - below, &mut bytes) {
            return Err(Error::new(format!(
                "the object would be nested deeper than {MAX_NESTING} levels"
            )));
        }
        self.add(bytes)
    }
}

fn take(used: &Cell<usize>, bytes: usize, limit: usize, what: &str) -> Result<()> {
    used.set(used.get().saturating_add(bytes));
    if used.get() > limit {
        return Err(Error::new(format!(
            "the build {what} more than {} MiB; split it",
            limit >> 20
        )));
    }
    Ok(())
}

/// Adds up the bytes of a node; false if it is nested deeper than that.
fn weigh(node: &Node, levels: usize, bytes: &mut usize) -> bool {
    *bytes = bytes.saturating_add(NODE);
    let Some(levels) = levels.checked_sub(1) else {
        return false;
    };
    match &node.data {
        NodeData::Scalar { text, .. } => {
            *bytes = bytes.saturating_add(text.len());
            true
        }
        NodeData::Mapping { entries, .. } => entries
            .iter()
            .all(|entry| weigh(&entry.key, levels, bytes) && weigh(&entry.value, levels, bytes)),
        NodeData::Sequence { items, .. } => items.iter().all(|item| weigh(item, levels, bytes)),
        NodeData::Alias(_) => true,
    }
}

/// Refuses what is too long to be part of a name.
pub(crate) fn check_name(text: &str, what: &str) -> Result<()> {
    if text.len() > MAX_NAME {
        return Err(Error::new(format!(
            "a {what} may not be longer than {MAX_NAME} bytes"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nested_too_deep_is_refused_where_it_would_stand() {
        let budget = Budget::default();
        let mut node = Node::plain("x");
        for _ in 0..10 {
            node = Node::sequence(vec![node]);
        }
        assert!(budget.place(&node, 0).is_ok());
        assert!(budget.place(&node, MAX_NESTING - 5).is_err());
        assert!(budget.place(&node, usize::MAX).is_err());
    }

    #[test]
    fn what_is_used_up_does_not_come_back() {
        let budget = Budget::default();
        assert!(budget.read(MAX_READ).is_ok());
        assert!(budget.read(1).is_err());
        assert!(budget.add(usize::MAX).is_err());
    }
}
