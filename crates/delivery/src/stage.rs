//! In which order objects are applied: stages that wait for one another, and a fixed order of kinds within each.

use std::cmp::Ordering;

use fluvial_object::ObjectId;

/// A stage of an apply. A stage's objects must be there before the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Definitions that others need: CRDs, namespaces, cluster roles.
    Definitions,
    /// Kinds whose name ends in `Class`.
    Classes,
    /// Kinds that the operator asked to have applied early.
    Custom,
    /// Everything else.
    Rest,
}

impl Stage {
    /// Whether its objects are waited for before the next stage. Nothing comes after the last.
    #[must_use]
    pub fn is_awaited(self) -> bool {
        self != Stage::Rest
    }
}

/// Groups that every API server serves by itself, besides those without a dot.
const BUILT_IN: [&str; 18] = [
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];

/// Whether the kinds of a group come by definitions: one that is not served may be served later.
#[must_use]
pub fn is_custom(group: &str) -> bool {
    group.contains('.') && !BUILT_IN.contains(&group)
}

/// A group and kind that is applied in a stage of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupKind {
    /// Group, empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
}

/// The stage of an object.
#[must_use]
pub fn stage_of(id: &ObjectId, custom: &[GroupKind]) -> Stage {
    let definition = matches!(
        (id.group.as_str(), id.kind.as_str()),
        ("apiextensions.k8s.io", "CustomResourceDefinition")
            | ("", "Namespace")
            | ("rbac.authorization.k8s.io", "ClusterRole")
    );
    if definition {
        Stage::Definitions
    } else if id.kind.ends_with("Class") {
        Stage::Classes
    } else if custom
        .iter()
        .any(|kind| kind.group == id.group && kind.kind == id.kind)
    {
        Stage::Custom
    } else {
        Stage::Rest
    }
}

const FIRST: [&str; 23] = [
    "CustomResourceDefinition",
    "Namespace",
    "ClusterRole",
    "ClusterClass",
    "RuntimeClass",
    "PriorityClass",
    "StorageClass",
    "VolumeSnapshotClass",
    "IngressClass",
    "GatewayClass",
    "ClusterRoleBinding",
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

fn rank(kind: &str) -> usize {
    if let Some(position) = FIRST.iter().position(|first| *first == kind) {
        return position;
    }
    match LAST.iter().position(|last| *last == kind) {
        Some(position) => FIRST.len() + 1 + position,
        None => FIRST.len(),
    }
}

/// The order of objects in a stage: kinds in a fixed order, the unlisted by group and name, then namespace and name.
#[must_use]
pub fn compare(a: &ObjectId, b: &ObjectId) -> Ordering {
    rank(&a.kind)
        .cmp(&rank(&b.kind))
        .then_with(|| a.group.cmp(&b.group))
        .then_with(|| a.kind.cmp(&b.kind))
        .then_with(|| a.namespace.cmp(&b.namespace))
        .then_with(|| a.name.cmp(&b.name))
}

/// Sorts what has ids into apply order.
pub fn sort<T>(items: &mut [T], id: impl Fn(&T) -> &ObjectId) {
    items.sort_by(|a, b| compare(id(a), id(b)));
}

/// Splits what has ids into stages, each in apply order; empty stages are left out.
#[must_use]
pub fn stages<T>(items: Vec<T>, custom: &[GroupKind], id: impl Fn(&T) -> &ObjectId) -> Vec<(Stage, Vec<T>)> {
    let mut staged: Vec<(Stage, Vec<T>)> = [Stage::Definitions, Stage::Classes, Stage::Custom, Stage::Rest]
        .map(|stage| (stage, Vec::new()))
        .into();
    for item in items {
        let stage = stage_of(id(&item), custom);
        staged[stage as usize].1.push(item);
    }
    staged.retain(|(_, items)| !items.is_empty());
    for (_, items) in &mut staged {
        sort(items, &id);
    }
    staged
}

/// Sorts what has ids into the order of deletion: apply order in reverse.
pub fn sort_for_deletion<T>(items: &mut [T], id: impl Fn(&T) -> &ObjectId) {
    items.sort_by(|a, b| compare(id(b), id(a)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(list: &[(&str, &str, &str)]) -> Vec<ObjectId> {
        list.iter()
            .map(|(group, kind, name)| ObjectId::new(*group, *kind, "", *name))
            .collect()
    }

    #[test]
    fn objects_are_staged_and_ordered() {
        let objects = ids(&[
            (
                "admissionregistration.k8s.io",
                "ValidatingWebhookConfiguration",
                "w",
            ),
            ("apps", "Deployment", "b"),
            ("apps", "Deployment", "a"),
            ("example.com", "Widget", "w"),
            ("example.com", "Early", "e"),
            ("", "ServiceAccount", "s"),
            ("storage.k8s.io", "StorageClass", "c"),
            ("", "Namespace", "n"),
            ("apiextensions.k8s.io", "CustomResourceDefinition", "d"),
        ]);
        let custom = [GroupKind {
            group: "example.com".to_owned(),
            kind: "Early".to_owned(),
        }];
        let staged = stages(objects, &custom, |id| id);
        let shown: Vec<_> = staged
            .iter()
            .map(|(stage, ids)| {
                let names: Vec<_> = ids.iter().map(|id| id.name.as_str()).collect();
                format!("{stage:?} {}", names.join(" "))
            })
            .collect();
        assert_eq!(
            shown,
            ["Definitions d n", "Classes c", "Custom e", "Rest s a b w w"]
        );
    }

    #[test]
    fn deletion_goes_the_other_way_round() {
        let mut objects = ids(&[
            ("", "Namespace", "n"),
            ("apps", "Deployment", "a"),
            ("", "ConfigMap", "c"),
        ]);
        sort_for_deletion(&mut objects, |id| id);
        let names: Vec<_> = objects.iter().map(|id| id.name.as_str()).collect();
        assert_eq!(names, ["a", "c", "n"]);
    }
}
