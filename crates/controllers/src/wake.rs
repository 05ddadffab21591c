//! Which changes of an object are reasons to reconcile it.

use fluvial_api::Metadata;

use crate::queue::Reasons;

/// What the change of an object's metadata asks of its own reconciler. Changes of status or labels ask nothing.
pub(crate) fn own(old: Option<&Metadata>, new: Option<&Metadata>) -> Reasons {
    let Some(new) = new else {
        return Reasons::DELETED;
    };
    let Some(old) = old.filter(|old| old.uid == new.uid) else {
        return Reasons::SPEC;
    };
    let mut reasons = Reasons::default();
    if old.generation != new.generation {
        reasons = reasons.with(Reasons::SPEC);
    }
    if old.requested_at() != new.requested_at() {
        reasons = reasons.with(Reasons::REQUESTED);
    }
    if old.is_deleting() != new.is_deleting() {
        reasons = reasons.with(Reasons::DELETED);
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_spec_request_and_deletion_wake_an_object() {
        let mut old = Metadata::named("ns", "a");
        assert_eq!(own(None, Some(&old)), Reasons::SPEC);
        let mut new = old.clone();
        new.resource_version = "2".to_owned();
        new.labels.insert("a".to_owned(), "b".to_owned());
        assert!(own(Some(&old), Some(&new)).is_empty());
        new.generation = 2;
        assert_eq!(own(Some(&old), Some(&new)), Reasons::SPEC);
        old.clone_from(&new);
        new.annotations
            .insert(fluvial_api::keys::REQUESTED_AT.to_owned(), "x".to_owned());
        assert_eq!(own(Some(&old), Some(&new)), Reasons::REQUESTED);
        assert_eq!(own(Some(&old), None), Reasons::DELETED);
    }
}
