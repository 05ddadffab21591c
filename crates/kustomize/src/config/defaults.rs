//! The built-in field lists. Rows are facts of Kubernetes' types; workloads that hold a pod
//! template share theirs.

use crate::config::{NameReference, TransformerConfig};
use crate::fieldspec::FieldSpec;
use crate::id::Gvk;

/// Group, version and kind of a row.
type Row = (&'static str, &'static str, &'static str);

const ANY: Row = ("", "", "");
const POD: (Row, &str) = (("", "", "Pod"), "spec");
const POD_V1: (Row, &str) = (("", "v1", "Pod"), "spec");
const POD_TEMPLATE: (Row, &str) = (("", "", "PodTemplate"), "template/spec");
const DEPLOYMENT: (Row, &str) = (("", "", "Deployment"), "spec/template/spec");
const REPLICA_SET: (Row, &str) = (("", "", "ReplicaSet"), "spec/template/spec");
const REPLICATION_CONTROLLER: (Row, &str) = (("", "", "ReplicationController"), "spec/template/spec");
const DAEMON_SET: (Row, &str) = (("", "", "DaemonSet"), "spec/template/spec");
const STATEFUL_SET: (Row, &str) = (("", "", "StatefulSet"), "spec/template/spec");
const JOB: (Row, &str) = (("", "", "Job"), "spec/template/spec");
const CRON_JOB: (Row, &str) = (("", "", "CronJob"), "spec/jobTemplate/spec/template/spec");

/// What mounts ConfigMaps and Secrets.
const MOUNTING: [(Row, &str); 8] = [
    POD_V1,
    POD_TEMPLATE,
    DEPLOYMENT,
    REPLICA_SET,
    DAEMON_SET,
    STATEFUL_SET,
    JOB,
    CRON_JOB,
];

/// What runs under a service account, claims volumes and has a priority.
const RUNNING: [(Row, &str); 7] = [
    POD,
    STATEFUL_SET,
    DEPLOYMENT,
    REPLICATION_CONTROLLER,
    CRON_JOB,
    JOB,
    DAEMON_SET,
];

const ROLES: [Row; 2] = [("", "", "Role"), ("", "", "ClusterRole")];
const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

fn field(row: Row, path: &str, create: bool) -> FieldSpec {
    FieldSpec::new(gvk(row), path, create)
}

fn gvk((group, version, kind): Row) -> Gvk {
    Gvk {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
    }
}

fn fields(create: bool, rows: &[(Row, &str)]) -> Vec<FieldSpec> {
    rows.iter().map(|(row, path)| field(*row, path, create)).collect()
}

/// Each path in the pod specification of each workload.
fn in_pods(workloads: &[(Row, &str)], paths: &[&str]) -> Vec<FieldSpec> {
    workloads
        .iter()
        .flat_map(|(row, spec)| {
            paths
                .iter()
                .map(move |path| field(*row, &format!("{spec}/{path}"), false))
        })
        .collect()
}

pub(super) fn built_in() -> TransformerConfig {
    let template_labels = template_labels();
    let mut common_labels = selectors();
    common_labels.extend(template_labels.iter().cloned());
    TransformerConfig {
        name_prefix: fields(false, &[(ANY, "metadata/name")]),
        name_suffix: fields(false, &[(ANY, "metadata/name")]),
        namespace: namespace(),
        common_labels,
        labels: Vec::new(),
        template_labels,
        common_annotations: annotations(),
        name_reference: name_references(),
        var_reference: variables(),
        images: fields(
            true,
            &[
                (ANY, "spec/containers[]/image"),
                (ANY, "spec/initContainers[]/image"),
                (ANY, "spec/volumes[]/image/reference"),
                (ANY, "spec/template/spec/containers[]/image"),
                (ANY, "spec/template/spec/initContainers[]/image"),
                (ANY, "spec/template/spec/volumes[]/image/reference"),
            ],
        ),
        replicas: fields(
            true,
            &[
                (("", "", "Deployment"), "spec/replicas"),
                (("", "", "ReplicationController"), "spec/replicas"),
                (("", "", "ReplicaSet"), "spec/replicas"),
                (("", "", "StatefulSet"), "spec/replicas"),
            ],
        ),
    }
}

fn namespace() -> Vec<FieldSpec> {
    vec![
        field(("", "", "Namespace"), "metadata/name", true),
        field(
            ("apiregistration.k8s.io", "", "APIService"),
            "spec/service/namespace",
            true,
        ),
        field(
            ("apiextensions.k8s.io", "", "CustomResourceDefinition"),
            "spec/conversion/webhook/clientConfig/service/namespace",
            false,
        ),
    ]
}

fn template_labels() -> Vec<FieldSpec> {
    const TEMPLATE: &str = "spec/template/metadata/labels";
    fields(
        true,
        &[
            (ANY, "metadata/labels"),
            (("", "v1", "ReplicationController"), TEMPLATE),
            (("", "", "Deployment"), TEMPLATE),
            (("", "", "ReplicaSet"), TEMPLATE),
            (("", "", "DaemonSet"), TEMPLATE),
            (("apps", "", "StatefulSet"), TEMPLATE),
            (
                ("apps", "", "StatefulSet"),
                "spec/volumeClaimTemplates[]/metadata/labels",
            ),
            (("batch", "", "Job"), TEMPLATE),
            (("batch", "", "CronJob"), "spec/jobTemplate/metadata/labels"),
            (
                ("batch", "", "CronJob"),
                "spec/jobTemplate/spec/template/metadata/labels",
            ),
        ],
    )
}

fn annotations() -> Vec<FieldSpec> {
    const TEMPLATE: &str = "spec/template/metadata/annotations";
    fields(
        true,
        &[
            (ANY, "metadata/annotations"),
            (("", "v1", "ReplicationController"), TEMPLATE),
            (("", "", "Deployment"), TEMPLATE),
            (("", "", "ReplicaSet"), TEMPLATE),
            (("", "", "DaemonSet"), TEMPLATE),
            (("", "", "StatefulSet"), TEMPLATE),
            (("batch", "", "Job"), TEMPLATE),
            (("batch", "", "CronJob"), "spec/jobTemplate/metadata/annotations"),
            (
                ("batch", "", "CronJob"),
                "spec/jobTemplate/spec/template/metadata/annotations",
            ),
        ],
    )
}

/// Selectors of pods, for labels that are to be selected by.
fn selectors() -> Vec<FieldSpec> {
    const MATCH: &str = "spec/selector/matchLabels";
    let mut list = vec![
        field(("", "v1", "Service"), "spec/selector", true),
        field(("", "v1", "ReplicationController"), "spec/selector", true),
        field(("", "", "Deployment"), MATCH, true),
    ];
    list.extend(spreading("Deployment"));
    list.push(field(("", "", "ReplicaSet"), MATCH, true));
    list.push(field(("", "", "DaemonSet"), MATCH, true));
    list.push(field(("apps", "", "StatefulSet"), MATCH, true));
    list.extend(spreading("StatefulSet"));
    list.extend(fields(
        false,
        &[
            (("batch", "", "Job"), MATCH),
            (
                ("batch", "", "CronJob"),
                "spec/jobTemplate/spec/selector/matchLabels",
            ),
            (("policy", "", "PodDisruptionBudget"), MATCH),
            (
                ("networking.k8s.io", "", "NetworkPolicy"),
                "spec/podSelector/matchLabels",
            ),
            (
                ("networking.k8s.io", "", "NetworkPolicy"),
                "spec/ingress/from/podSelector/matchLabels",
            ),
            (
                ("networking.k8s.io", "", "NetworkPolicy"),
                "spec/egress/to/podSelector/matchLabels",
            ),
        ],
    ));
    list
}

/// Where a workload's pods say which other pods they want or do not want near them.
fn spreading(kind: &'static str) -> Vec<FieldSpec> {
    [
        "affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
        "affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
        "affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
        "affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
        "topologySpreadConstraints/labelSelector/matchLabels",
    ]
    .iter()
    .map(|path| field(("apps", "", kind), &format!("spec/template/spec/{path}"), false))
    .collect()
}

fn name_references() -> Vec<NameReference> {
    let mut list: Vec<NameReference> = ["Deployment", "ReplicationController", "ReplicaSet", "StatefulSet"]
        .map(|kind| {
            reference(
                ("", "", kind),
                vec![field(
                    ("", "", "HorizontalPodAutoscaler"),
                    "spec/scaleTargetRef/name",
                    false,
                )],
            )
        })
        .into();
    list.push(reference(("", "v1", "ConfigMap"), config_map_referrers()));
    list.push(reference(("", "v1", "Secret"), secret_referrers()));
    list.push(reference(("", "v1", "Service"), service_referrers()));
    list.extend(access_references());
    list.extend(storage_references());
    list.push(reference(
        ("scheduling.k8s.io", "v1", "PriorityClass"),
        in_pods(&RUNNING, &["priorityClassName"]),
    ));
    list.push(reference(
        // The group holds a version by mistake, which kustomize keeps: no object matches it.
        ("networking.k8s.io/v1", "v1", "IngressClass"),
        vec![field(("", "", "Ingress"), "spec/ingressClassName", false)],
    ));
    list.push(reference(
        (ADMISSION, "", "ValidatingAdmissionPolicy"),
        vec![field(
            (ADMISSION, "", "ValidatingAdmissionPolicyBinding"),
            "spec/policyName",
            false,
        )],
    ));
    list
}

fn reference(target: Row, referrers: Vec<FieldSpec>) -> NameReference {
    NameReference {
        target: gvk(target),
        referrers,
    }
}

fn config_map_referrers() -> Vec<FieldSpec> {
    let mut list = in_pods(
        &MOUNTING,
        &[
            "volumes/configMap/name",
            "containers/env/valueFrom/configMapKeyRef/name",
            "initContainers/env/valueFrom/configMapKeyRef/name",
            "containers/envFrom/configMapRef/name",
            "initContainers/envFrom/configMapRef/name",
            "volumes/projected/sources/configMap/name",
        ],
    );
    list.push(field(("", "", "Node"), "spec/configSource/configMap", false));
    list.extend(ROLES.map(|role| field(role, "rules/resourceNames", false)));
    list.push(field(
        ("", "", "Ingress"),
        r"metadata/annotations/nginx.ingress.kubernetes.io\/fastcgi-params-configmap",
        false,
    ));
    list
}

fn secret_referrers() -> Vec<FieldSpec> {
    let mut list = in_pods(
        &MOUNTING,
        &[
            "volumes/secret/secretName",
            "containers/env/valueFrom/secretKeyRef/name",
            "initContainers/env/valueFrom/secretKeyRef/name",
            "containers/envFrom/secretRef/name",
            "initContainers/envFrom/secretRef/name",
            "imagePullSecrets/name",
            "volumes/projected/sources/secret/name",
        ],
    );
    list.extend(
        [
            "spec/tls/secretName",
            r"metadata/annotations/ingress.kubernetes.io\/auth-secret",
            r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-secret",
            r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-tls-secret",
        ]
        .map(|path| field(("", "", "Ingress"), path, false)),
    );
    list.push(field(("", "", "ServiceAccount"), "imagePullSecrets/name", false));
    list.extend(
        ["secretName", "adminSecretName", "userSecretName", "secretRef"]
            .map(|name| field(("", "", "StorageClass"), &format!("parameters/{name}"), false)),
    );
    list.extend(ROLES.map(|role| field(role, "rules/resourceNames", false)));
    list.push(field(
        ("serving.knative.dev", "v1", "Service"),
        "spec/template/spec/containers/env/valueFrom/secretKeyRef/name",
        false,
    ));
    list.push(field(
        ("", "", "PersistentVolume"),
        "spec/azureFile/secretName",
        false,
    ));
    list
}

fn service_referrers() -> Vec<FieldSpec> {
    fields(
        false,
        &[
            (("apps", "", "StatefulSet"), "spec/serviceName"),
            (("", "", "Ingress"), "spec/rules/http/paths/backend/serviceName"),
            (("", "", "Ingress"), "spec/backend/serviceName"),
            (("", "", "Ingress"), "spec/rules/http/paths/backend/service/name"),
            (("", "", "Ingress"), "spec/defaultBackend/service/name"),
            (("apiregistration.k8s.io", "", "APIService"), "spec/service/name"),
            (
                (ADMISSION, "", "ValidatingWebhookConfiguration"),
                "webhooks/clientConfig/service",
            ),
            (
                (ADMISSION, "", "MutatingWebhookConfiguration"),
                "webhooks/clientConfig/service",
            ),
        ],
    )
}

fn access_references() -> Vec<NameReference> {
    let binding = (RBAC, "", "RoleBinding");
    let cluster_binding = (RBAC, "", "ClusterRoleBinding");
    let mut accounts = fields(false, &[(binding, "subjects"), (cluster_binding, "subjects")]);
    accounts.extend(in_pods(&RUNNING, &["serviceAccountName"]));
    vec![
        reference((RBAC, "", "Role"), fields(false, &[(binding, "roleRef/name")])),
        reference(
            (RBAC, "", "ClusterRole"),
            fields(
                false,
                &[(binding, "roleRef/name"), (cluster_binding, "roleRef/name")],
            ),
        ),
        reference(("", "v1", "ServiceAccount"), accounts),
    ]
}

fn storage_references() -> Vec<NameReference> {
    let claim = ("", "", "PersistentVolumeClaim");
    vec![
        reference(
            ("", "v1", "PersistentVolumeClaim"),
            in_pods(&RUNNING, &["volumes/persistentVolumeClaim/claimName"]),
        ),
        reference(
            ("", "v1", "PersistentVolume"),
            fields(
                false,
                &[
                    (claim, "spec/volumeName"),
                    (("", "", "ClusterRole"), "rules/resourceNames"),
                ],
            ),
        ),
        reference(
            ("storage.k8s.io", "v1", "StorageClass"),
            fields(
                false,
                &[
                    (("", "", "PersistentVolume"), "spec/storageClassName"),
                    (claim, "spec/storageClassName"),
                    (
                        ("", "", "StatefulSet"),
                        "spec/volumeClaimTemplates/spec/storageClassName",
                    ),
                ],
            ),
        ),
    ]
}

fn variables() -> Vec<FieldSpec> {
    const IN_CONTAINERS: [&str; 8] = [
        "containers/args",
        "containers/command",
        "containers/env/value",
        "containers/volumeMounts/mountPath",
        "initContainers/args",
        "initContainers/command",
        "initContainers/env/value",
        "initContainers/volumeMounts/mountPath",
    ];
    const NFS: &str = "volumes/nfs/server";
    let workloads = [
        CRON_JOB,
        DAEMON_SET,
        DEPLOYMENT,
        JOB,
        POD,
        REPLICA_SET,
        STATEFUL_SET,
    ];
    let mut list = in_pods(&workloads, &IN_CONTAINERS);
    list.extend(in_pods(&[DAEMON_SET, DEPLOYMENT, JOB, POD, REPLICA_SET], &[NFS]));
    list.extend(fields(
        false,
        &[
            (
                ("", "", "CronJob"),
                "spec/jobTemplate/spec/template/volumes/nfs/server",
            ),
            (("", "", "Deployment"), "spec/template/metadata/annotations"),
            (("", "", "Ingress"), "spec/rules/host"),
            (("", "", "Ingress"), "spec/tls/hosts"),
            (("", "", "Ingress"), "spec/tls/secretName"),
            (("", "", "Service"), "spec/ports/port"),
            (("", "", "Service"), "spec/ports/targetPort"),
            (
                ("", "", "StatefulSet"),
                "spec/volumeClaimTemplates/spec/nfs/server",
            ),
            (("", "", "PersistentVolume"), "spec/nfs/server"),
            (ANY, "metadata/labels"),
            (ANY, "metadata/annotations"),
        ],
    ));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_expand_to_all_rows() {
        let config = built_in();
        let referrers: usize = config.name_reference.iter().map(|one| one.referrers.len()).sum();
        assert_eq!(config.name_reference.len(), 16);
        assert_eq!(referrers, 166);
        assert_eq!(config.var_reference.len(), 72);
        assert_eq!(config.common_labels.len(), 32);
    }
}
