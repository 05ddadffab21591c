//! What becomes of objects on record that are wanted no more.

use std::fmt;

use fluvial_object::{ObjectExt, ObjectId};
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;

use super::Refusal;
use super::claims::{self, Claims, Wanted};
use crate::changes::{Action, Change};
use crate::control::{self, Keep, Owner};
use crate::inventory::{Entry, Inventory};
use crate::stage;

/// What the cluster has under an id.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// This object.
    There(&'a Value),
    /// Nothing; also if its kind is not served, and the server says so for sure.
    Absent,
    /// It cannot be told, for this reason.
    Unreadable(&'a str),
}

/// What decides over deletions.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Whose objects they are.
    pub owner: &'a Owner,
    /// Whether anything is deleted at all.
    pub prune: bool,
    /// What everybody wants, made from the same candidates.
    pub claims: &'a Claims,
    /// UIDs of what was applied in this run: one object can have been on record under another group.
    pub applied: &'a FxHashSet<String>,
    /// Whether there is time to wait for others to take objects over. Not so if the Kustomization is being deleted
    /// and its timeout is over.
    pub patient: bool,
}

/// What becomes of an object that was on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is deleted, in the background, if it is still as it was seen.
    Delete(Deletion),
    /// It is not there any more.
    Gone,
    /// It is on its way out already.
    Terminating,
    /// It stays in the cluster, and goes off the record.
    Release(Release),
    /// It stays in the cluster and on record; the next run looks again.
    Hold(Hold),
}

/// The object that may be deleted, and no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Its UID.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// Whether other objects go with it, as with a namespace or a definition. Its version does not tell of them: with
    /// claims as they are right before the request, [`decide`] once more.
    pub takes_along: bool,
}

/// Why an object is ours no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// Pruning is switched off.
    PruneOff,
    /// Its labels name another owner: it was handed over.
    HandedOver(Owner),
    /// It has no owner labels.
    Unowned,
    /// It asks to be kept.
    Kept(Keep),
    /// It is wanted after all, under another id.
    Renamed,
    /// Something in it (a namespace) or of it (a definition) asks to be kept.
    Shelters(ObjectId),
    /// Another wants it but did not take it over in time.
    GivenUp(Owner),
}

/// Why it is not decided yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Another wants it and has not taken it over yet.
    Wanted(Owner),
    /// Something in it (a namespace) or of it (a definition) is wanted.
    Shelters(Wanted),
    /// Another may want it; its build fails.
    Unsure(Owner),
    /// It cannot be read.
    Unreadable(String),
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::Wanted(owner) => write!(f, "kept until {owner} takes it over"),
            Hold::Shelters(wanted) => {
                write!(
                    f,
                    "kept because {} of {} needs it; remove that first",
                    wanted.id, wanted.owner
                )
            }
            Hold::Unsure(owner) => write!(f, "kept because {owner} may want it and cannot be built"),
            Hold::Unreadable(why) => write!(f, "query failed: {why}"),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Release::PruneOff => f.write_str("left in the cluster because spec.prune is off"),
            Release::HandedOver(owner) => write!(f, "handed over to {owner}"),
            Release::Unowned => f.write_str("left in the cluster because it carries no owner labels"),
            Release::Kept(_) => f.write_str("left in the cluster, as its labels or annotations ask for"),
            Release::Renamed => f.write_str("wanted under another API group"),
            Release::Shelters(id) => write!(f, "left in the cluster because {id} asks to be kept"),
            Release::GivenUp(owner) => write!(f, "left in the cluster for {owner}"),
        }
    }
}

/// What becomes of one object, taken by itself.
#[must_use]
pub fn decide(entry: &Entry, seen: Seen<'_>, rules: &Rules<'_>) -> Fate {
    if !rules.prune {
        return Fate::Release(Release::PruneOff);
    }
    let live = match seen {
        Seen::There(live) => live,
        Seen::Absent => return Fate::Gone,
        Seen::Unreadable(why) => return Fate::Hold(Hold::Unreadable(why.to_owned())),
    };
    if !rules.owner.owns(live) {
        return Fate::Release(match Owner::of(live) {
            Some(other) => Release::HandedOver(other),
            None => Release::Unowned,
        });
    }
    if live.deletion_timestamp().is_some() {
        return Fate::Terminating;
    }
    if let Some(keep) = control::keep(live) {
        return Fate::Release(Release::Kept(keep));
    }
    // Without a UID there is no telling that it is the object that gets deleted.
    if live.uid().is_empty() {
        return Fate::Hold(Hold::Unreadable("the object has no UID".to_owned()));
    }
    if rules.applied.contains(live.uid()) {
        return Fate::Release(Release::Renamed);
    }
    match claim(&entry.id, live, rules) {
        Some(hold) if rules.patient => Fate::Hold(hold),
        Some(Hold::Wanted(owner) | Hold::Unsure(owner)) => Fate::Release(Release::GivenUp(owner)),
        Some(Hold::Shelters(wanted)) => Fate::Release(Release::GivenUp(wanted.owner)),
        Some(hold) => Fate::Hold(hold),
        None => Fate::Delete(Deletion {
            uid: live.uid().to_owned(),
            resource_version: live.resource_version().to_owned(),
            takes_along: claims::is_namespace(&entry.id) || claims::is_definition(&entry.id),
        }),
    }
}

/// Who wants an object, or what would go with it.
fn claim(id: &ObjectId, live: &Value, rules: &Rules<'_>) -> Option<Hold> {
    let claims = rules.claims;
    if let Some(owner) = claims.wanted(id).filter(|owner| *owner != rules.owner) {
        return Some(Hold::Wanted(owner.clone()));
    }
    let sheltered = if claims::is_namespace(id) {
        claims.inside(&id.name)
    } else if claims::is_definition(id) {
        claims.of_kind(claims::defined_group(id), defined_kind(live))
    } else {
        None
    };
    if let Some(wanted) = sheltered {
        return Some(Hold::Shelters(wanted.clone()));
    }
    claims.unsure_about(id).map(|owner| Hold::Unsure(owner.clone()))
}

fn defined_kind(definition: &Value) -> &str {
    definition.text_at(&["spec", "names", "kind"]).unwrap_or_default()
}

/// What becomes of all objects that are wanted no more, in the order of deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Each object and its fate.
    pub fates: Vec<(Entry, Fate)>,
}

/// Decides over all candidates together: the whole inventory without what is wanted. `seen` is asked for each once.
pub fn plan<'s>(mut candidates: Vec<Entry>, seen: impl Fn(&Entry) -> Seen<'s>, rules: &Rules<'_>) -> Plan {
    stage::sort_for_deletion(&mut candidates, |entry| &entry.id);
    if !rules.prune {
        let release = |entry| (entry, Fate::Release(Release::PruneOff));
        return Plan {
            fates: candidates.into_iter().map(release).collect(),
        };
    }
    let mut kinds: FxHashMap<ObjectId, String> = FxHashMap::default();
    let mut fates: Vec<(Entry, Fate)> = Vec::with_capacity(candidates.len());
    for entry in candidates {
        let seen = seen(&entry);
        if let Seen::There(live) = seen
            && claims::is_definition(&entry.id)
        {
            kinds.insert(entry.id.clone(), defined_kind(live).to_owned());
        }
        let fate = decide(&entry, seen, rules);
        fates.push((entry, fate));
    }
    shelter(&mut fates, &kinds, rules);
    Plan { fates }
}

/// What stays must not go with its namespace or its definition.
fn shelter(fates: &mut [(Entry, Fate)], kinds: &FxHashMap<ObjectId, String>, rules: &Rules<'_>) {
    let staying: Vec<(ObjectId, bool)> = fates
        .iter()
        .filter_map(|(entry, fate)| match fate {
            Fate::Hold(_) => Some((entry.id.clone(), true)),
            Fate::Release(Release::Kept(_) | Release::GivenUp(_) | Release::Renamed) => {
                Some((entry.id.clone(), false))
            }
            _ => None,
        })
        .collect();
    if staying.is_empty() {
        return;
    }
    for (entry, fate) in fates {
        if !matches!(fate, Fate::Delete(_)) {
            continue;
        }
        let id = &entry.id;
        let goes_along = |other: &ObjectId| {
            if claims::is_namespace(id) {
                other.namespace == id.name
            } else {
                claims::is_definition(id)
                    && claims::defined_group(id) == other.group
                    && kinds.get(id) == Some(&other.kind)
            }
        };
        // What is released for good keeps its shelter for good.
        let kept = staying.iter().find(|(other, held)| !held && goes_along(other));
        if let Some((other, _)) = kept {
            *fate = Fate::Release(Release::Shelters(other.clone()));
        } else if let Some((other, _)) = staying.iter().find(|(other, _)| goes_along(other)) {
            *fate = Fate::Hold(Hold::Shelters(Wanted {
                owner: rules.owner.clone(),
                id: other.clone(),
            }));
        }
    }
}

impl Plan {
    /// What is to be deleted, in order.
    pub fn deletions(&self) -> impl Iterator<Item = (&Entry, &Deletion)> {
        self.fates.iter().filter_map(|(entry, fate)| match fate {
            Fate::Delete(deletion) => Some((entry, deletion)),
            _ => None,
        })
    }

    /// What is not decided yet.
    pub fn held(&self) -> impl Iterator<Item = (&Entry, &Hold)> {
        self.fates.iter().filter_map(|(entry, fate)| match fate {
            Fate::Hold(hold) => Some((entry, hold)),
            _ => None,
        })
    }

    /// Puts another fate in the place of the one decided before, after another look at the object.
    pub fn replace(&mut self, id: &ObjectId, fate: Fate) {
        if let Some((_, old)) = self.fates.iter_mut().find(|(entry, _)| entry.id == *id) {
            *old = fate;
        }
    }

    /// What is on record afterwards: what is wanted, then what is held and what could not be deleted.
    #[must_use]
    pub fn inventory(&self, wanted: &Inventory, failed: impl Fn(&ObjectId) -> bool) -> Inventory {
        let stays = |(entry, fate): &(Entry, Fate)| match fate {
            Fate::Hold(_) => true,
            Fate::Delete(_) => failed(&entry.id),
            Fate::Gone | Fate::Terminating | Fate::Release(_) => false,
        };
        let rest = self.fates.iter().rev().filter(|fate| stays(fate));
        let rest = rest.map(|(entry, _)| entry.clone());
        wanted.entries().iter().cloned().chain(rest).collect()
    }

    /// What the event says of the deletions.
    #[must_use]
    pub fn changes(&self, failed: impl Fn(&ObjectId) -> bool) -> Vec<Change> {
        self.deletions()
            .filter(|(entry, _)| !failed(&entry.id))
            .map(|(entry, _)| Change::new(entry.id.clone(), Action::Deleted))
            .collect()
    }
}

/// What the answer to a deletion means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is on its way out, or was gone already.
    Done,
    /// It is not as it was seen: [`decide`] again, by another look.
    LookAgain,
    /// It stays on record.
    Failed(Refusal),
}

/// What the answer to a deletion means.
#[must_use]
pub fn after_delete(answer: Result<(), Refusal>) -> Deleted {
    match answer {
        Ok(()) => Deleted::Done,
        Err(refusal) if refusal.is_not_found() => Deleted::Done,
        Err(refusal) if refusal.is_conflict() => Deleted::LookAgain,
        Err(refusal) => Deleted::Failed(refusal),
    }
}

/// How often an object that keeps changing is looked at again before its deletion counts as failed.
pub const MAX_LOOKS: usize = 5;

/// The text of deletions that failed, as Flux words it.
#[must_use]
pub fn error_text<'e>(failed: impl IntoIterator<Item = (&'e ObjectId, &'e str)>) -> Option<String> {
    let lines: Vec<String> = failed
        .into_iter()
        .map(|(id, why)| format!("{id} delete failed: {why}"))
        .collect();
    (!lines.is_empty()).then(|| format!("delete failed, errors: {}", lines.join("; ")))
}

#[cfg(test)]
mod tests;
