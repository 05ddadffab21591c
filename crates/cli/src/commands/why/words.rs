//! The words that people have for built-in kinds, as kubectl understands them.

/// Built-in kinds that people ask for, with their abbreviations; plurals are understood too.
const WORDS: [(&[&str], &str, &str); 36] = [
    (&["bindings"], "v1", "Binding"),
    (&["configmap", "cm"], "v1", "ConfigMap"),
    (&["endpoints", "ep"], "v1", "Endpoints"),
    (&["event", "ev"], "v1", "Event"),
    (&["limitrange", "limits"], "v1", "LimitRange"),
    (&["namespace", "ns"], "v1", "Namespace"),
    (&["node", "no"], "v1", "Node"),
    (&["persistentvolumeclaim", "pvc"], "v1", "PersistentVolumeClaim"),
    (&["persistentvolume", "pv"], "v1", "PersistentVolume"),
    (&["pod", "po"], "v1", "Pod"),
    (&["podtemplate"], "v1", "PodTemplate"),
    (&["replicationcontroller", "rc"], "v1", "ReplicationController"),
    (&["resourcequota", "quota"], "v1", "ResourceQuota"),
    (&["secret"], "v1", "Secret"),
    (&["serviceaccount", "sa"], "v1", "ServiceAccount"),
    (&["service", "svc"], "v1", "Service"),
    (&["daemonset", "ds"], "apps/v1", "DaemonSet"),
    (&["deployment", "deploy"], "apps/v1", "Deployment"),
    (&["replicaset", "rs"], "apps/v1", "ReplicaSet"),
    (&["statefulset", "sts"], "apps/v1", "StatefulSet"),
    (&["cronjob", "cj"], "batch/v1", "CronJob"),
    (&["job"], "batch/v1", "Job"),
    (
        &["horizontalpodautoscaler", "hpa"],
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
    ),
    (&["ingressclass"], "networking.k8s.io/v1", "IngressClass"),
    (&["ingress", "ing"], "networking.k8s.io/v1", "Ingress"),
    (
        &["networkpolicy", "netpol"],
        "networking.k8s.io/v1",
        "NetworkPolicy",
    ),
    (
        &["poddisruptionbudget", "pdb"],
        "policy/v1",
        "PodDisruptionBudget",
    ),
    (
        &["clusterrolebinding"],
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
    ),
    (&["clusterrole"], "rbac.authorization.k8s.io/v1", "ClusterRole"),
    (&["rolebinding"], "rbac.authorization.k8s.io/v1", "RoleBinding"),
    (&["role"], "rbac.authorization.k8s.io/v1", "Role"),
    (&["storageclass", "sc"], "storage.k8s.io/v1", "StorageClass"),
    (&["priorityclass", "pc"], "scheduling.k8s.io/v1", "PriorityClass"),
    (
        &["customresourcedefinition", "crd"],
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
    ),
    (
        &["validatingwebhookconfiguration"],
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
    ),
    (
        &["mutatingwebhookconfiguration"],
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
    ),
];

/// A built-in kind by any of its words.
pub(super) fn built_in(word: &str) -> Option<(String, String)> {
    let singular = [Some(word), word.strip_suffix('s'), word.strip_suffix("es")];
    let ies = word.strip_suffix("ies").map(|stem| format!("{stem}y"));
    let means = |known: &&str| singular.contains(&Some(*known)) || ies.as_deref() == Some(*known);
    WORDS
        .iter()
        .find(|(words, _, _)| words.iter().any(&means))
        .map(|(_, version, kind)| ((*version).to_owned(), (*kind).to_owned()))
}
