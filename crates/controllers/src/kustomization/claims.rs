//! Who wants what at a revision. An object that leaves one Kustomization and enters another in the same revision must
//! not be deleted in between, so before anything is deleted all Kustomizations are asked: those of the source by what
//! they build at this revision, also those that exist only in the builds of others so far; and all of them by what they
//! have on record, because it goes on record before it is applied and stays there until it is let go.

use std::sync::Arc;

use fluvial_api::{Kustomization, Resource};
use fluvial_delivery::control::Owner;
use fluvial_delivery::inventory::Entry;
use fluvial_delivery::plan;
use fluvial_object::ObjectId;
use fluvial_tree::Tree;
use rustc_hash::FxHashSet;

use super::manifest::Built;
use super::wakes::source_of;
use crate::remote::Place;
use crate::{Key, SourceId};

/// The owner that labels name.
pub(crate) fn owner(key: &Key) -> Owner {
    Owner::new(key.namespace.as_ref(), key.name.as_ref())
}

/// What the Kustomizations of a source build.
#[derive(Debug, Default)]
pub(crate) struct Builds {
    known: Vec<(Owner, Place, Vec<ObjectId>)>,
    /// Kustomizations whose builds fail.
    unknown: Vec<(Owner, Place)>,
    /// The files that they are made of.
    tree: Tree,
}

impl Builds {
    /// No builds yet, at a revision with these files.
    pub(crate) fn new(tree: Tree) -> Self {
        Self {
            tree,
            ..Self::default()
        }
    }

    /// Takes in what one builds; gives the Kustomizations of the same source that are in it.
    pub(crate) fn add(
        &mut self,
        key: &Key,
        place: Place,
        built: &Built,
        source: &SourceId,
    ) -> Vec<Kustomization> {
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
        let objects = built.items.iter().map(|item| item.id.clone()).collect();
        self.known.push((owner(key), place, objects));
        nested
    }

    /// Notes that one cannot be built.
    pub(crate) fn unknown(&mut self, key: &Key, place: Place) {
        self.unknown.push((owner(key), place));
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

/// What all Kustomizations want in one cluster.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// Which cluster.
    pub(crate) place: Place,
    /// What those of one source build at its revision.
    pub(crate) builds: Arc<Builds>,
    /// What each has on record.
    pub(crate) recorded: Vec<(Owner, Vec<ObjectId>)>,
}

impl Wishes {
    /// What concerns objects that may be deleted, `asking` being the one that would delete them.
    pub(crate) fn about(&self, candidates: &[Entry], asking: &Owner) -> plan::Claims {
        let mut claims = plan::Claims::about(candidates);
        let builds = &*self.builds;
        let here = || {
            let known = builds.known.iter().filter(|(_, place, _)| *place == self.place);
            known.map(|(owner, _, objects)| (owner, objects))
        };
        let recorded = self.recorded.iter().map(|(owner, objects)| (owner, objects));
        for (owner, objects) in here().chain(recorded) {
            if owner != asking {
                claims.want(owner, objects);
            }
        }
        // What it has on record itself is what may go; only the rest of it needs namespaces and definitions.
        let going: FxHashSet<&ObjectId> = candidates.iter().map(|entry| &entry.id).collect();
        for (_, objects) in here().filter(|(owner, _)| *owner == asking) {
            claims.want(asking, objects.iter().filter(|id| !going.contains(*id)));
        }
        let unknown = builds.unknown.iter().filter(|(_, place)| *place == self.place);
        for (owner, _) in unknown.filter(|(owner, _)| owner != asking) {
            claims.unsure(owner, |text| builds.mentions(text));
        }
        claims
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
    use fluvial_delivery::control::Owner;
    use fluvial_delivery::inventory::Entry;
    use fluvial_object::ObjectId;

    use super::{Builds, Wishes, has_word};

    #[test]
    fn what_another_has_on_record_counts_until_it_is_let_go() {
        let id = |kind: &str, namespace: &str, name: &str| ObjectId::new("", kind, namespace, name);
        let entry = |id: &ObjectId| Entry {
            id: id.clone(),
            version: "v1".to_owned(),
        };
        let (us, other) = (Owner::new("flux", "us"), Owner::new("flux", "other"));
        let (space, moved, own) = (
            id("Namespace", "", "apps"),
            id("ConfigMap", "x", "a"),
            id("ConfigMap", "apps", "b"),
        );
        let candidates = [entry(&space), entry(&moved), entry(&own)];
        // It builds nothing of it at this revision, but has not got rid of it either.
        let builds = Builds {
            known: vec![(other.clone(), None, vec![id("Secret", "y", "t")])],
            ..Builds::default()
        };
        let mut wishes = Wishes {
            place: None,
            builds: builds.into(),
            recorded: vec![
                (us.clone(), vec![space, moved.clone(), own.clone()]),
                (other.clone(), vec![moved.clone(), id("Secret", "apps", "s")]),
            ],
        };
        let claims = wishes.about(&candidates, &us);
        assert_eq!(claims.wanted(&moved), Some(&other));
        assert_eq!(claims.wanted(&own), None);
        assert_eq!(claims.inside("apps").map(|wanted| &wanted.owner), Some(&other));
        wishes.recorded[1].1.clear();
        let claims = wishes.about(&candidates, &us);
        assert_eq!((claims.wanted(&moved), claims.inside("apps")), (None, None));
    }

    #[test]
    fn a_name_is_found_only_whole() {
        let text = b"metadata:\n  name: web-2\n  labels: {app: web}\n- app.yaml";
        assert!(has_word(text, "web-2") && has_word(text, "web") && has_word(text, "name"));
        assert!(!has_word(text, "eb") && !has_word(text, "web-") && !has_word(text, "app.y"));
    }
}
