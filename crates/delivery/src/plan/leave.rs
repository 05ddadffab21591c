//! A Kustomization is deleted: do its objects go with it?

use std::fmt;
use std::str::FromStr;

use super::prune::Seen;
use crate::inventory::Inventory;

/// `spec.deletionPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// As `spec.prune` says.
    #[default]
    MirrorPrune,
    /// They go.
    Delete,
    /// They go, and the Kustomization stays until they are gone, or its timeout.
    WaitForTermination,
    /// They stay.
    Orphan,
}

/// A word that is no deletion policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPolicy(String);

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "spec.deletionPolicy {:?} is unknown: want MirrorPrune, Delete, WaitForTermination or Orphan",
            self.0
        )
    }
}

impl std::error::Error for UnknownPolicy {}

impl FromStr for DeletionPolicy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match text {
            "" | "MirrorPrune" => Ok(DeletionPolicy::MirrorPrune),
            "Delete" => Ok(DeletionPolicy::Delete),
            "WaitForTermination" => Ok(DeletionPolicy::WaitForTermination),
            "Orphan" => Ok(DeletionPolicy::Orphan),
            _ => Err(UnknownPolicy(text.to_owned())),
        }
    }
}

/// What becomes of the objects of a Kustomization that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// They stay; the finalizer goes at once.
    LetGo,
    /// They are deleted, as far as [`super::prune::plan`] says so with the whole inventory as candidates and `prune`
    /// switched on. Then the finalizer goes.
    Delete {
        /// Whether it goes only when they are gone, or the timeout is over.
        wait: bool,
    },
}

/// Whether a Kustomization's objects are deleted with it. A suspended one is never cleaned up after.
#[must_use]
pub fn leave(policy: DeletionPolicy, prune: bool, suspended: bool, inventory: &Inventory) -> Leave {
    let deletes = match policy {
        DeletionPolicy::MirrorPrune => prune,
        DeletionPolicy::Delete | DeletionPolicy::WaitForTermination => true,
        DeletionPolicy::Orphan => false,
    };
    if deletes && !suspended && !inventory.is_empty() {
        Leave::Delete {
            wait: policy == DeletionPolicy::WaitForTermination,
        }
    } else {
        Leave::LetGo
    }
}

/// Whether a deleted object is gone: not there, or another one of its name is.
#[must_use]
pub fn is_gone(uid: &str, seen: Seen<'_>) -> bool {
    use fluvial_object::ObjectExt as _;
    match seen {
        Seen::Absent => true,
        Seen::There(live) => live.uid() != uid,
        Seen::Unreadable(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use fluvial_object::ObjectId;
    use serde_json::json;

    use super::*;
    use crate::inventory::Entry;

    #[test]
    fn policy_prune_and_suspend_decide_together() {
        let some: Inventory = [Entry {
            id: ObjectId::new("", "ConfigMap", "n", "c"),
            version: "v1".to_owned(),
        }]
        .into_iter()
        .collect();
        let gone = Leave::Delete { wait: false };
        for (policy, prune, suspended, want) in [
            ("", true, false, gone),
            ("MirrorPrune", false, false, Leave::LetGo),
            ("Delete", false, false, gone),
            ("Delete", true, true, Leave::LetGo),
            ("WaitForTermination", false, false, Leave::Delete { wait: true }),
            ("Orphan", true, false, Leave::LetGo),
        ] {
            let policy: DeletionPolicy = policy.parse().expect("known");
            assert_eq!(leave(policy, prune, suspended, &some), want, "{policy:?}");
            assert_eq!(
                leave(policy, prune, suspended, &Inventory::default()),
                Leave::LetGo
            );
        }
        assert!("Keep".parse::<DeletionPolicy>().is_err());
    }

    #[test]
    fn an_object_made_anew_under_the_name_does_not_count() {
        let live = json!({"metadata": {"uid": "b"}});
        assert!(is_gone("a", Seen::Absent));
        assert!(is_gone("a", Seen::There(&live)));
        assert!(!is_gone("b", Seen::There(&live)));
        assert!(!is_gone("b", Seen::Unreadable("timeout")));
    }
}
