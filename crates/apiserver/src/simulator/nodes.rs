//! The one node of the simulated cluster, and its default storage class.

use serde_json::{Value, json};

use crate::api::{Api, new_uid};
use crate::store::Expect;

/// Name of the node that pods run on.
pub(super) const NODE: &str = "fluvial";
/// Its address.
pub(super) const ADDRESS: &str = "192.168.0.1";
/// Who provides volumes.
pub(super) const PROVISIONER: &str = "simulator.fluvial.dev";
/// The default storage class.
const STORAGE_CLASS: &str = "standard";

/// Makes what is missing of the node and the storage class.
pub(super) fn furnish(api: &Api) {
    let now = api.now();
    let meta = |name: &str| json!({"name": name, "uid": new_uid(), "creationTimestamp": now});
    let mut node = json!({"metadata": meta(NODE), "spec": {"podCIDR": "10.244.0.0/16", "podCIDRs": ["10.244.0.0/16"]},
        "status": status(&now)});
    node["metadata"]["labels"] = json!({"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64",
        "node-role.kubernetes.io/control-plane": ""});
    let mut class = json!({"metadata": meta(STORAGE_CLASS), "provisioner": PROVISIONER, "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate", "allowVolumeExpansion": true});
    class["metadata"]["annotations"] = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    for (collection, name, mut object) in [
        ("nodes", NODE, node),
        ("storageclasses.storage.k8s.io", STORAGE_CLASS, class),
    ] {
        // What is there stays.
        let _there = api.store.put(
            &api.store.collection(collection),
            name,
            Expect::Absent,
            &mut object,
        );
    }
}

fn status(now: &str) -> Value {
    let capacity = json!({"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "100k"});
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": now,
            "lastTransitionTime": now})
    };
    json!({
        "capacity": capacity, "allocatable": capacity,
        "addresses": [{"type": "InternalIP", "address": ADDRESS}, {"type": "Hostname", "address": NODE}],
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            condition("Ready", "True", "KubeletReady", "the simulator is posting ready status"),
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {"architecture": "amd64", "operatingSystem": "linux", "kernelVersion": "6.0.0", "osImage": "Fluvial",
            "containerRuntimeVersion": "simulator://1.0.0", "kubeletVersion": "v1.36.3", "kubeProxyVersion": "",
            "machineID": "", "systemUUID": "", "bootID": ""},
    })
}

/// How many nodes there are.
pub(super) fn names(api: &Api) -> Vec<String> {
    let nodes = api.store.collection("nodes").snapshot(&api.store, "", None, None);
    let nodes = nodes.map(|snapshot| snapshot.objects).unwrap_or_default();
    nodes.iter().map(|stored| stored.name().to_owned()).collect()
}
