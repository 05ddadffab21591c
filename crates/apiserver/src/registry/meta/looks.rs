//! How often the checks of a kind look at the metadata of a changed object: each look reports what it finds.

use crate::kinds::Kind;

/// The looks of a kind, beside those that all kinds have.
#[derive(Clone, Copy)]
pub(super) struct Looks {
    /// Whether it compares with the metadata before.
    pub(super) compares: bool,
    /// How often it looks at all metadata as if they were new.
    pub(super) whole: usize,
    /// Whether it knows which finalizers need no domain.
    pub(super) strict: bool,
}

pub(super) fn at_changes(kind: &Kind) -> Looks {
    let looks = |compares, whole, strict| Looks {
        compares,
        whole,
        strict,
    };
    if kind.custom.is_some() {
        return looks(true, 0, false);
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Event") | ("policy", _) => looks(false, 0, false),
        ("", "PersistentVolume") => looks(false, 2, true),
        ("", "LimitRange")
        | ("discovery.k8s.io" | "flowcontrol.apiserver.k8s.io", _)
        | ("storage.k8s.io", "CSINode" | "VolumeAttachment") => looks(false, 1, true),
        ("admissionregistration.k8s.io", _) => looks(false, 1, false),
        ("coordination.k8s.io", "Lease") | ("apiextensions.k8s.io", _) => looks(true, 0, false),
        ("node.k8s.io" | "apiregistration.k8s.io", _) => looks(true, 1, false),
        ("", "Service" | "PodTemplate" | "ReplicationController" | "ResourceQuota")
        | ("apps", "Deployment" | "DaemonSet" | "ReplicaSet" | "StatefulSet")
        | ("batch", "CronJob")
        | ("autoscaling" | "events.k8s.io" | "scheduling.k8s.io", _)
        | ("networking.k8s.io", "NetworkPolicy" | "ServiceCIDR")
        | ("storage.k8s.io", "CSIDriver")
        | ("resource.k8s.io", "ResourceSlice") => looks(true, 0, true),
        _ => looks(true, 1, true),
    }
}
