//! What the other Kustomizations want, as far as it matters to objects that may be deleted.

use fluvial_object::ObjectId;
use rustc_hash::FxHashMap;

use crate::control::Owner;
use crate::inventory::Entry;

/// Who else wants the objects that a Kustomization may delete, or something that would go with them.
///
/// Only what concerns the candidates is kept, so it costs little to feed in the objects of a thousand Kustomizations.
/// Which objects a Kustomization wants is, in order of preference: what it builds at the revision at hand, else what
/// it has on record. Kustomizations of the same cluster count, suspended ones too; also those that are not there yet
/// but in a build of their parent. One that is being deleted wants nothing.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    candidates: FxHashMap<ObjectId, Option<Claim>>,
    /// Namespaces that may go, and who wants something inside.
    namespaces: FxHashMap<String, Option<Wanted>>,
    /// Groups whose definitions may go, and who wants objects of which kind.
    groups: FxHashMap<String, Vec<(String, Wanted)>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    Wanted(Owner),
    Unsure(Owner),
}

/// An object and who wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Who.
    pub owner: Owner,
    /// What.
    pub id: ObjectId,
}

pub(super) fn is_namespace(id: &ObjectId) -> bool {
    id.group.is_empty() && id.kind == "Namespace"
}

pub(super) fn is_definition(id: &ObjectId) -> bool {
    id.group == "apiextensions.k8s.io" && id.kind == "CustomResourceDefinition"
}

/// The group that a definition is for: its name is `<plural>.<group>`.
pub(super) fn defined_group(id: &ObjectId) -> &str {
    id.name.split_once('.').map_or("", |(_, group)| group)
}

/// Words that a build may have put around a name, on each side.
const MAX_AFFIXES: usize = 2;

/// A name as it may stand in the files: whole, or without words (between hyphens) at its ends.
fn forms(name: &str) -> impl Iterator<Item = &str> {
    let starts = std::iter::once(0).chain(name.match_indices('-').map(|(at, _)| at + 1));
    starts
        .take(MAX_AFFIXES + 1)
        .flat_map(move |start| {
            let rest = &name[start..];
            let ends = std::iter::once(rest.len()).chain(rest.rmatch_indices('-').map(|(at, _)| at));
            ends.take(MAX_AFFIXES + 1).map(move |end| &rest[..end])
        })
        .filter(|form| !form.is_empty())
}

impl Claims {
    /// Claims on these candidates; nobody has made any yet.
    #[must_use]
    pub fn about(candidates: &[Entry]) -> Self {
        let mut claims = Claims::default();
        for Entry { id, .. } in candidates {
            if is_namespace(id) {
                claims.namespaces.insert(id.name.clone(), None);
            } else if is_definition(id) {
                claims.groups.entry(defined_group(id).to_owned()).or_default();
            }
            claims.candidates.insert(id.clone(), None);
        }
        claims
    }

    /// `owner` wants these objects. To be called for the Kustomization at hand, too: a namespace or a definition does
    /// not go while its own objects are to stay.
    pub fn want<'i>(&mut self, owner: &Owner, ids: impl IntoIterator<Item = &'i ObjectId>) {
        for id in ids {
            if let Some(claim) = self.candidates.get_mut(id)
                && !matches!(claim, Some(Claim::Wanted(_)))
            {
                *claim = Some(Claim::Wanted(owner.clone()));
            }
            let wanted = || Wanted {
                owner: owner.clone(),
                id: id.clone(),
            };
            if let Some(inside) = self.namespaces.get_mut(&id.namespace) {
                inside.get_or_insert_with(wanted);
            }
            if let Some(kinds) = self.groups.get_mut(&id.group)
                && !kinds.iter().any(|(kind, _)| *kind == id.kind)
            {
                kinds.push((id.kind.clone(), wanted()));
            }
        }
    }

    /// What `owner` wants cannot be told, because its build fails. It may be the candidates that its files speak of:
    /// `mentions` says whether a text occurs in them. Prefixes and suffixes that a build adds to names are allowed for;
    /// rather too much is kept, until the build works again, than too little.
    pub fn unsure(&mut self, owner: &Owner, mentions: impl Fn(&str) -> bool) {
        for (id, claim) in &mut self.candidates {
            let spoken_of = if is_definition(id) {
                mentions(&id.name) || mentions(defined_group(id))
            } else {
                forms(&id.name).any(&mentions)
            };
            if claim.is_none() && spoken_of {
                *claim = Some(Claim::Unsure(owner.clone()));
            }
        }
    }

    /// Who wants an object.
    #[must_use]
    pub fn wanted(&self, id: &ObjectId) -> Option<&Owner> {
        match self.candidates.get(id)? {
            Some(Claim::Wanted(owner)) => Some(owner),
            _ => None,
        }
    }

    /// Whose build may or may not hold an object.
    #[must_use]
    pub fn unsure_about(&self, id: &ObjectId) -> Option<&Owner> {
        match self.candidates.get(id)? {
            Some(Claim::Unsure(owner)) => Some(owner),
            _ => None,
        }
    }

    /// What someone wants in a namespace.
    #[must_use]
    pub fn inside(&self, namespace: &str) -> Option<&Wanted> {
        self.namespaces.get(namespace)?.as_ref()
    }

    /// What someone wants of a custom kind.
    #[must_use]
    pub fn of_kind(&self, group: &str, kind: &str) -> Option<&Wanted> {
        let kinds = self.groups.get(group)?;
        kinds
            .iter()
            .find(|(own, _)| own == kind)
            .map(|(_, wanted)| wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_for_without_what_a_build_adds() {
        let all: Vec<&str> = forms("dev-web-abc12").collect();
        assert_eq!(
            all,
            ["dev-web-abc12", "dev-web", "dev", "web-abc12", "web", "abc12"]
        );
        assert_eq!(forms("web").collect::<Vec<_>>(), ["web"]);
    }

    #[test]
    fn only_what_concerns_the_candidates_is_kept() {
        let id = |group: &str, kind: &str, namespace: &str, name: &str| {
            ObjectId::new(group, kind, namespace, name)
        };
        let candidates: Vec<Entry> = [
            id("", "Namespace", "", "a"),
            id("", "ConfigMap", "b", "c"),
            id("", "ConfigMap", "b", "d"),
            id("apiextensions.k8s.io", "CustomResourceDefinition", "", "ws.x.y"),
        ]
        .map(|id| Entry {
            id,
            version: "v1".to_owned(),
        })
        .into();
        let mut claims = Claims::about(&candidates);
        let (one, two) = (Owner::new("f", "one"), Owner::new("f", "two"));
        claims.unsure(&one, |text| text == "c" || text == "d");
        let wanted = [
            id("", "ConfigMap", "b", "c"),
            id("", "Secret", "a", "s"),
            id("x.y", "W", "z", "w"),
            id("", "Secret", "z", "s"),
        ];
        claims.want(&two, &wanted);
        assert_eq!(claims.wanted(&wanted[0]), Some(&two));
        assert_eq!(claims.unsure_about(&wanted[0]), None);
        assert_eq!(claims.unsure_about(&id("", "ConfigMap", "b", "d")), Some(&one));
        assert_eq!(claims.inside("a").map(|wanted| &wanted.id), Some(&wanted[1]));
        assert_eq!(claims.inside("z"), None);
        assert_eq!(
            claims.of_kind("x.y", "W").map(|wanted| &wanted.id),
            Some(&wanted[2])
        );
        assert_eq!(claims.of_kind("x.y", "V"), None);
    }
}
