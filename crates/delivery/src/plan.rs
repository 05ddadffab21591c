//! What is done to a cluster, decided from what is wanted, what is on record and what is there.
//!
//! Nobody loses data by surprise: deleting takes an object that is on record, carries our labels, does not ask to be
//! kept, and that nobody else wants. A run goes like this, and each step can be killed and repeated:
//!
//! 1. [`intent`]: what is about to be applied goes on record, beside what is there from earlier runs.
//! 2. Stage by stage ([`crate::stage`]): [`apply::ask`] says what to send as a dry run, [`apply::decide`] what its
//!    answer means, [`apply::stage`] whether the stage may be written.
//! 3. [`prune::plan`]: what becomes of objects on record that Git has no more, given what others want ([`Claims`]).
//! 4. [`prune::Plan::inventory`]: what stays on record.
//!
//! When the Kustomization itself is deleted, [`leave::leave`] says whether its objects go too, by the same plan.

use std::fmt;

use fluvial_object::ObjectId;

use crate::inventory::Inventory;

pub mod apply;
mod claims;
pub mod leave;
pub mod prune;

pub use claims::{Claims, Wanted};

/// The inventory that must be written before anything is applied: what is wanted, and what is on record from before.
/// `None` if the record already names all of it.
#[must_use]
pub fn intent(recorded: &Inventory, wanted: &Inventory) -> Option<Inventory> {
    let union = wanted.union(recorded);
    (!union.same_objects(recorded)).then_some(union)
}

/// A `no` of an API server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status, 0 without an answer.
    pub code: u16,
    /// The server's reason word, or empty.
    pub reason: String,
    /// Its words.
    pub message: String,
    /// Whether it is about fields of another manager.
    pub field_conflict: bool,
}

impl Refusal {
    /// A refusal with status, reason word and text.
    pub fn new(code: u16, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Refusal {
            code,
            reason: reason.into(),
            message: message.into(),
            field_conflict: false,
        }
    }

    /// Whether the object, its namespace or its kind is missing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code == 404 || self.reason == "NotFound"
    }

    /// Whether someone else changed the object meanwhile.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.reason == "Conflict" || (self.code == 409 && self.reason != "AlreadyExists")
    }

    /// Whether the name is taken.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    /// Whether an object that is made anew could get through where a change of it does not: conflicts, invalid
    /// contents, and the words that webhooks and rules use for immutable fields.
    #[must_use]
    pub fn may_be_immutable(&self) -> bool {
        self.is_conflict()
            || self.code == 422
            || self.reason == "Invalid"
            || has_words(&self.message, "is", "immutable")
            || has_words(&self.message, "immutable", "field")
    }
}

/// Whether a text has `first`, one white space and `second` in a row.
fn has_words(text: &str, first: &str, second: &str) -> bool {
    text.match_indices(first).any(|(position, _)| {
        let rest = &text[position + first.len()..];
        rest.strip_prefix([' ', '\t', '\n', '\r', '\u{c}'])
            .is_some_and(|rest| rest.starts_with(second))
    })
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A request that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The dry run that comes first.
    DryRun,
    /// The clean-up of field ownership.
    CleanUp,
    /// The apply.
    Apply,
    /// The deletion of an object that is made anew.
    Replace,
}

/// An object that could not be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyError {
    /// Which object.
    pub id: ObjectId,
    /// In which request.
    pub phase: Phase,
    /// What the server said.
    pub refusal: Refusal,
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, refusal) = (&self.id, &self.refusal);
        match self.phase {
            Phase::DryRun if refusal.is_not_found() && id.namespace.is_empty() => {
                write!(f, "{id} namespace not specified: {refusal}")
            }
            Phase::DryRun if refusal.is_not_found() => write!(f, "{id} not found: {refusal}"),
            Phase::DryRun => {
                let reason = if refusal.field_conflict {
                    "FieldManagerConflict"
                } else {
                    &refusal.reason
                };
                if reason.is_empty() {
                    write!(f, "{id} dry-run failed: {refusal}")
                } else {
                    write!(f, "{id} dry-run failed ({reason}): {refusal}")
                }
            }
            Phase::CleanUp => write!(f, "{id} metadata.managedFields cleanup failed: {refusal}"),
            Phase::Apply => write!(f, "{id} apply failed: {refusal}"),
            Phase::Replace => write!(
                f,
                "{id} immutable field detected, failed to delete object: {refusal}"
            ),
        }
    }
}

impl std::error::Error for ApplyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Entry;

    fn inventory(names: &[&str]) -> Inventory {
        names
            .iter()
            .map(|name| Entry {
                id: ObjectId::new("", "ConfigMap", "ns", *name),
                version: "v1".to_owned(),
            })
            .collect()
    }

    #[test]
    fn intent_is_written_only_if_it_says_something_new() {
        assert_eq!(intent(&inventory(&["a", "b"]), &inventory(&["b"])), None);
        assert_eq!(
            intent(&inventory(&["a", "b"]), &inventory(&["c", "b"])),
            Some(inventory(&["c", "b", "a"]))
        );
        assert_eq!(
            intent(&Inventory::default(), &inventory(&["a"])),
            Some(inventory(&["a"]))
        );
    }

    #[test]
    fn refusals_read_as_flux_words_them() {
        let error = |namespace: &str, phase, refusal| {
            let id = ObjectId::new("apps", "Deployment", namespace, "web");
            ApplyError { id, phase, refusal }.to_string()
        };
        let refusal = |code, reason: &str| Refusal::new(code, reason, "why");
        for (got, want) in [
            (
                error("a", Phase::DryRun, refusal(422, "Invalid")),
                "Deployment/a/web dry-run failed (Invalid): why",
            ),
            (
                error("a", Phase::DryRun, refusal(0, "")),
                "Deployment/a/web dry-run failed: why",
            ),
            (
                error("a", Phase::DryRun, refusal(404, "NotFound")),
                "Deployment/a/web not found: why",
            ),
            (
                error("", Phase::DryRun, refusal(404, "NotFound")),
                "Deployment/web namespace not specified: why",
            ),
            (
                error(
                    "a",
                    Phase::DryRun,
                    Refusal {
                        field_conflict: true,
                        ..refusal(409, "Conflict")
                    },
                ),
                "Deployment/a/web dry-run failed (FieldManagerConflict): why",
            ),
            (
                error("a", Phase::Apply, refusal(403, "Forbidden")),
                "Deployment/a/web apply failed: why",
            ),
        ] {
            assert_eq!(got, want);
        }
    }

    #[test]
    fn immutable_fields_are_known_by_status_or_words() {
        let refusal = |code, reason: &str, message: &str| Refusal::new(code, reason, message);
        for (refusal, want) in [
            (refusal(422, "Invalid", "x"), true),
            (refusal(409, "Conflict", "x"), true),
            (refusal(409, "AlreadyExists", "x"), false),
            (refusal(400, "BadRequest", "spec.x is immutable"), true),
            (refusal(400, "BadRequest", "an immutable\tfield"), true),
            (refusal(400, "BadRequest", "immutable"), false),
            (refusal(403, "Forbidden", "no"), false),
            (refusal(500, "InternalError", "boom"), false),
        ] {
            assert_eq!(refusal.may_be_immutable(), want, "{refusal:?}");
        }
    }
}
