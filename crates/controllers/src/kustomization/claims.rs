//! Who wants what at a revision. An object that leaves one Kustomization and enters another in the same revision must
//! not be deleted in between, so before anything is deleted all Kustomizations of the source are asked, also those
//! that exist only in the builds of others so far.

use fluvial_api::{Kustomization, Resource};
use fluvial_object::ObjectId;
use fluvial_tree::{Entry, Tree};
use rustc_hash::FxHashMap;

use super::depends::source_of;
use super::manifest::Built;
use crate::{Key, SourceId};

/// The wishes of all Kustomizations of a source at a revision.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    by_object: FxHashMap<ObjectId, Vec<Key>>,
    /// Kustomizations whose wishes are not known, because their build fails.
    unknown: Vec<Key>,
    tree: Tree,
}

impl Claims {
    /// No wishes yet, at a revision with these files.
    pub(crate) fn new(tree: Tree) -> Self {
        Self {
            tree,
            ..Self::default()
        }
    }

    /// Takes in what one wants; gives the Kustomizations of the same source that it wants.
    pub(crate) fn add(&mut self, key: &Key, built: &Built, source: &SourceId) -> Vec<Kustomization> {
        let mut nested = Vec::new();
        for item in &built.items {
            let claimants = self.by_object.entry(item.id.clone()).or_default();
            if !claimants.contains(key) {
                claimants.push(key.clone());
            }
            if item.id.kind == Kustomization::KIND
                && item.id.group == Kustomization::GROUP
                && let Ok(child) = Kustomization::from_value(&item.object)
                && source_of(&child) == *source
            {
                nested.push(child);
            }
        }
        nested
    }

    /// Notes that the wishes of one are not known.
    pub(crate) fn unknown(&mut self, key: &Key) {
        self.unknown.push(key.clone());
    }

    /// Another than `except` that wants the object, or may want it.
    pub(crate) fn claimant(&self, id: &ObjectId, except: &Key) -> Option<&Key> {
        let claimant = self
            .by_object
            .get(id)
            .and_then(|keys| keys.iter().find(|key| *key != except));
        claimant.or_else(|| {
            let unknown = self.unknown.iter().find(|key| *key != except)?;
            self.mentions(&id.name).then_some(unknown)
        })
    }

    /// Whether any file may speak of an object of this name. Where names are put together from parts, any may.
    fn mentions(&self, name: &str) -> bool {
        self.tree.iter().any(|(path, entry)| match entry {
            Entry::File(file) => {
                let path = path.as_str();
                let readable = [".yaml", ".yml", ".json", "Kustomization"];
                readable.iter().any(|end| path.ends_with(end))
                    && (has_word(file.data(), name)
                        || has_word(file.data(), "namePrefix")
                        || has_word(file.data(), "nameSuffix"))
            }
            _ => false,
        })
    }
}

/// Whether a word stands in a text, with no other letters of a name before and after it.
fn has_word(text: &[u8], word: &str) -> bool {
    let word = word.as_bytes();
    let inside = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':'))
    };
    !word.is_empty()
        && text.windows(word.len()).enumerate().any(|(at, window)| {
            window == word
                && !inside(at.checked_sub(1).and_then(|before| text.get(before)))
                && !inside(text.get(at + word.len()).filter(|byte| **byte != b':'))
        })
}

#[cfg(test)]
mod tests {
    use super::has_word;

    #[test]
    fn a_name_is_found_only_whole() {
        let text = b"metadata:\n  name: web-2\n  labels: {app: web}\n- app.yaml";
        assert!(has_word(text, "web-2") && has_word(text, "web") && has_word(text, "name"));
        assert!(!has_word(text, "eb") && !has_word(text, "web-") && !has_word(text, "app.y"));
    }
}
