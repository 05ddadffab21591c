//! Labels and annotations with which objects steer their own delivery.
//!
//! Each key counts as label and as annotation, and its value in any letter case (`substitute` alone is exact).
//! Which copy counts, the one in Git or the one in the cluster, differs key by key: see each function.

use fluvial_object::ObjectExt;
use serde_json::Value;

/// Prefix of all keys.
pub const GROUP: &str = "kustomize.toolkit.fluxcd.io";
/// `disabled`: never touched, never pruned.
pub const RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";
/// How the object is applied: `Override`, `Merge`, `IfNotPresent`, `Ignore`.
pub const SSA: &str = "kustomize.toolkit.fluxcd.io/ssa";
/// `enabled`: recreated when a change is refused as immutable.
pub const FORCE: &str = "kustomize.toolkit.fluxcd.io/force";
/// `disabled`: never garbage-collected.
pub const PRUNE: &str = "kustomize.toolkit.fluxcd.io/prune";
/// `disabled`: no post-build substitution.
pub const SUBSTITUTE: &str = "kustomize.toolkit.fluxcd.io/substitute";
/// `disabled`: no decryption.
pub const DECRYPT: &str = "kustomize.toolkit.fluxcd.io/decrypt";
/// Label with the name of the owning Kustomization.
pub const OWNER_NAME: &str = "kustomize.toolkit.fluxcd.io/name";
/// Label with the namespace of the owning Kustomization.
pub const OWNER_NAMESPACE: &str = "kustomize.toolkit.fluxcd.io/namespace";

/// Whether label or annotation has the value, letter case aside.
fn says(object: &Value, key: &str, value: &str) -> bool {
    [object.label(key), object.annotation(key)]
        .into_iter()
        .flatten()
        .any(|found| found.eq_ignore_ascii_case(value))
}

/// Whether substitution is switched off. Exact letter case, as in Flux.
#[must_use]
pub fn is_substitution_disabled(object: &Value) -> bool {
    object.label(SUBSTITUTE) == Some("disabled") || object.annotation(SUBSTITUTE) == Some("disabled")
}

/// Whether decryption is switched off.
#[must_use]
pub fn is_decryption_disabled(object: &Value) -> bool {
    says(object, DECRYPT, "disabled")
}

/// How an object is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplyMode {
    /// What Git says holds, over other field managers.
    #[default]
    Override,
    /// Fields of other managers stay.
    Merge,
    /// Created if missing, then left alone.
    IfNotPresent,
    /// Left alone.
    Ignore,
}

/// How the object in Git asks to be applied.
#[must_use]
pub fn apply_mode(desired: &Value) -> ApplyMode {
    if says(desired, SSA, "Ignore") {
        ApplyMode::Ignore
    } else if says(desired, SSA, "IfNotPresent") {
        ApplyMode::IfNotPresent
    } else if says(desired, SSA, "Merge") {
        ApplyMode::Merge
    } else {
        ApplyMode::Override
    }
}

/// Why an object is not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// `reconcile: disabled` in Git or in the cluster.
    ReconcileDisabled,
    /// `ssa: Ignore` in Git or in the cluster.
    Ignored,
    /// `ssa: IfNotPresent`, and it is present.
    Present,
}

/// Whether an object is left alone: by its copy in Git, or by the one in the cluster, if there is one.
#[must_use]
pub fn skip(desired: &Value, live: Option<&Value>) -> Option<Skip> {
    let either = |key, value| says(desired, key, value) || live.is_some_and(|live| says(live, key, value));
    if either(RECONCILE, "disabled") {
        return Some(Skip::ReconcileDisabled);
    }
    if either(SSA, "Ignore") {
        return Some(Skip::Ignored);
    }
    (live.is_some() && apply_mode(desired) == ApplyMode::IfNotPresent).then_some(Skip::Present)
}

/// Whether an object may be recreated when a change is refused: by its copy in Git or in the cluster.
#[must_use]
pub fn is_force_enabled(desired: &Value, live: Option<&Value>) -> bool {
    says(desired, FORCE, "enabled") || live.is_some_and(|live| says(live, FORCE, "enabled"))
}

/// Why an object that left Git is not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// `prune: disabled` on the object in the cluster.
    PruneDisabled,
    /// `reconcile: disabled` on the object in the cluster.
    ReconcileDisabled,
    /// `ssa: Ignore` on the object in the cluster.
    Ignored,
}

/// Whether an object in the cluster says that it is not to be garbage-collected.
#[must_use]
pub fn keep(live: &Value) -> Option<Keep> {
    if says(live, PRUNE, "disabled") {
        Some(Keep::PruneDisabled)
    } else if says(live, RECONCILE, "disabled") {
        Some(Keep::ReconcileDisabled)
    } else if says(live, SSA, "Ignore") {
        Some(Keep::Ignored)
    } else {
        None
    }
}

/// The Kustomization that an object belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Owner {
    /// An owner.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Owner {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The owner that an object's labels name.
    #[must_use]
    pub fn of(object: &Value) -> Option<Owner> {
        Some(Owner::new(
            object.label(OWNER_NAMESPACE)?,
            object.label(OWNER_NAME)?,
        ))
    }

    /// Whether an object's labels name this owner.
    #[must_use]
    pub fn owns(&self, object: &Value) -> bool {
        object.label(OWNER_NAME) == Some(&self.name) && object.label(OWNER_NAMESPACE) == Some(&self.namespace)
    }

    /// Labels an object as belonging to this owner.
    pub fn label(&self, object: &mut Value) {
        object.set_label(OWNER_NAME, &self.name);
        object.set_label(OWNER_NAMESPACE, &self.namespace);
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kustomization/{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labelled(key: &str, value: &str) -> Value {
        json!({"metadata": {"labels": {key: value}}})
    }

    fn annotated(key: &str, value: &str) -> Value {
        json!({"metadata": {"annotations": {key: value}}})
    }

    #[test]
    fn keys_count_as_label_and_annotation_in_any_case() {
        for value in ["disabled", "Disabled", "DISABLED"] {
            assert_eq!(
                skip(&labelled(RECONCILE, value), None),
                Some(Skip::ReconcileDisabled)
            );
            assert_eq!(keep(&annotated(PRUNE, value)), Some(Keep::PruneDisabled));
        }
        assert!(is_substitution_disabled(&labelled(SUBSTITUTE, "disabled")));
        assert!(!is_substitution_disabled(&labelled(SUBSTITUTE, "Disabled")));
        assert_eq!(skip(&labelled(RECONCILE, "enabled"), None), None);
    }

    #[test]
    fn which_copy_counts_depends_on_the_key() {
        let plain = json!({});
        assert_eq!(
            skip(&plain, Some(&annotated(RECONCILE, "disabled"))),
            Some(Skip::ReconcileDisabled)
        );
        assert_eq!(skip(&plain, Some(&annotated(SSA, "ignore"))), Some(Skip::Ignored));
        let once = annotated(SSA, "IfNotPresent");
        assert_eq!(skip(&once, None), None);
        assert_eq!(skip(&once, Some(&plain)), Some(Skip::Present));
        assert_eq!(skip(&plain, Some(&once)), None);
        assert!(is_force_enabled(&plain, Some(&labelled(FORCE, "Enabled"))));
        assert!(!is_force_enabled(&plain, None));
    }

    #[test]
    fn owner_labels_are_written_and_read() {
        let owner = Owner::new("flux-system", "apps");
        let mut object = json!({});
        assert!(!owner.owns(&object));
        owner.label(&mut object);
        assert!(owner.owns(&object));
        assert_eq!(Owner::of(&object), Some(owner));
        assert!(!Owner::new("flux-system", "other").owns(&object));
    }
}
