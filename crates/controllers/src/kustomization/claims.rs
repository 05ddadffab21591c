//! Who wants what at a revision. An object that leaves one Kustomization and enters another in the same revision must
//! not be deleted in between, so before anything is deleted all Kustomizations are asked: those of the source by what
//! they build at this revision, also those that exist only in the builds of others so far; the rest by what they have
//! on record.

use fluvial_api::{Kustomization, Resource};
use fluvial_delivery::control::Owner;
use fluvial_delivery::inventory::Entry;
use fluvial_delivery::plan;
use fluvial_object::ObjectId;
use fluvial_tree::Tree;
use rustc_hash::FxHashSet;

use super::depends::source_of;
use super::manifest::Built;
use crate::{Key, SourceId};

/// The owner that labels name.
pub(crate) fn owner(key: &Key) -> Owner {
    Owner::new(key.namespace.as_ref(), key.name.as_ref())
}

/// What all Kustomizations want.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    known: Vec<(Owner, Vec<ObjectId>)>,
    /// Kustomizations whose wishes are not known, because their build fails.
    unknown: Vec<Owner>,
    /// The files that unknown wishes are made of.
    tree: Tree,
}

impl Wishes {
    /// No wishes yet, at a revision with these files.
    pub(crate) fn new(tree: Tree) -> Self {
        Self {
            tree,
            ..Self::default()
        }
    }

    /// Takes in what one builds; gives the Kustomizations of the same source that are in it.
    pub(crate) fn builds(&mut self, key: &Key, built: &Built, source: &SourceId) -> Vec<Kustomization> {
        let mut nested = Vec::new();
        for item in &built.items {
            if item.id.kind == Kustomization::KIND
                && item.id.group == Kustomization::GROUP
                && let Ok(child) = Kustomization::from_value(&item.object)
                && source_of(&child) == *source
            {
                nested.push(child);
            }
        }
        self.wants(key, built.items.iter().map(|item| item.id.clone()).collect());
        nested
    }

    /// Takes in what one wants.
    pub(crate) fn wants(&mut self, key: &Key, objects: Vec<ObjectId>) {
        self.known.push((owner(key), objects));
    }

    /// Notes that the wishes of one are not known.
    pub(crate) fn unknown(&mut self, key: &Key) {
        self.unknown.push(owner(key));
    }

    /// What concerns objects that may be deleted, `asking` being the one that would delete them.
    pub(crate) fn about(&self, candidates: &[Entry], asking: &Owner) -> plan::Claims {
        let mut claims = plan::Claims::about(candidates);
        for (owner, objects) in self.known.iter().filter(|(owner, _)| owner != asking) {
            claims.want(owner, objects);
        }
        // What it has on record itself is what may go; only the rest of it needs namespaces and definitions.
        let going: FxHashSet<&ObjectId> = candidates.iter().map(|entry| &entry.id).collect();
        for (_, objects) in self.known.iter().filter(|(owner, _)| owner == asking) {
            claims.want(asking, objects.iter().filter(|id| !going.contains(*id)));
        }
        for owner in self.unknown.iter().filter(|owner| *owner != asking) {
            claims.unsure(owner, |text| self.mentions(text));
        }
        claims
    }

    /// Whether any file holds a text, as a whole word.
    fn mentions(&self, text: &str) -> bool {
        self.tree.iter().any(|(path, entry)| match entry {
            fluvial_tree::Entry::File(file) => {
                let readable = [".yaml", ".yml", ".json", "Kustomization"];
                readable.iter().any(|end| path.as_str().ends_with(end)) && has_word(file.data(), text)
            }
            _ => false,
        })
    }
}

/// Whether a word stands in a text, with no other letters of a name before and after it.
fn has_word(text: &[u8], word: &str) -> bool {
    let word = word.as_bytes();
    let inside = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
    };
    !word.is_empty()
        && text.windows(word.len()).enumerate().any(|(at, window)| {
            window == word
                && !inside(at.checked_sub(1).and_then(|before| text.get(before)))
                && !inside(text.get(at + word.len()))
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
