//! Defaults of built-in kinds that their schemas do not tell: what decoding fills in.

use serde_json::{Value, json};

use crate::kinds::Kind;

mod pods;
mod shown;

use pods::{pod_requests, requests, template, volume_source};
pub use pods::{pod_spec, unnamed, without_features};
pub use shown::{emptied, nulls, without_emptied};

/// Sets a field that is absent.
fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(map) = object.as_object_mut()
        && map.get(field).is_none_or(Value::is_null)
    {
        map.insert(field.to_owned(), value.into());
    }
}

fn items<'a>(object: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    object
        .get_mut(field)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// Fills in what an object of a built-in kind leaves open.
pub fn apply(kind: &Kind, object: &mut Value) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Secret") => secret(object),
        ("", "Service") => service(object),
        ("", "Node") => super::nodes::networks(object),
        ("", "ServiceAccount") => {
            for secret in items(object, "secrets").filter_map(Value::as_object_mut) {
                secret.retain(|field, value| field == "name" && *value != "");
            }
        }
        ("", "Pod") => {
            pod_spec(&mut object["spec"]);
            requests(&mut object["spec"]);
            pod_requests(&mut object["spec"]);
            if object["status"]["podIPs"].is_null() && object["status"]["podIP"].is_string() {
                object["status"]["podIPs"] = json!([{"ip": object["status"]["podIP"]}]);
            }
            set(&mut object["spec"], "enableServiceLinks", true);
        }
        ("", "PodTemplate") => template(&mut object["template"]),
        ("", "Namespace") => namespace(object),
        ("", "PersistentVolumeClaim") => {
            claim(&mut object["spec"]);
        }
        ("", "PersistentVolume") => {
            set(&mut object["spec"], "persistentVolumeReclaimPolicy", "Retain");
            set(&mut object["spec"], "volumeMode", "Filesystem");
            volume_source(&mut object["spec"]);
        }
        ("", "ReplicationController") => replication_controller(object),
        ("", "LimitRange") => limits(object),
        ("", "ResourceQuota") => {}
        ("", "Endpoints") => {
            for subset in items(object, "subsets") {
                for port in items(subset, "ports") {
                    set(port, "protocol", "TCP");
                }
            }
        }
        ("apps", name) => apps(name, object),
        ("batch", "Job") => job_spec(&mut object["spec"]),
        ("batch", "CronJob") => cron_job(&mut object["spec"]),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(object),
        ("networking.k8s.io", name) => networking(name, object),
        ("rbac.authorization.k8s.io", name) => rbac(name, object),
        ("storage.k8s.io", "StorageClass") => {
            set(object, "reclaimPolicy", "Delete");
            set(object, "volumeBindingMode", "Immediate");
        }
        ("storage.k8s.io", "CSIDriver") => csi_driver(&mut object["spec"]),
        ("admissionregistration.k8s.io", name) => admission(name, object),
        ("apiextensions.k8s.io", _) => crate::crd::definition::defaults(object),
        ("scheduling.k8s.io", "PriorityClass") => set(object, "preemptionPolicy", "PreemptLowerPriority"),
        ("discovery.k8s.io", "EndpointSlice") => {
            for port in items(object, "ports") {
                set(port, "name", "");
                set(port, "protocol", "TCP");
            }
        }
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => flow_level(&mut object["spec"]),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => {
            set(object, "spec", json!({}));
            set(&mut object["spec"], "matchingPrecedence", 1000);
        }
        ("resource.k8s.io", "ResourceClaim") => devices(&mut object["spec"]["devices"]),
        ("resource.k8s.io", "ResourceClaimTemplate") => devices(&mut object["spec"]["spec"]["devices"]),
        ("apiregistration.k8s.io", _) if object["spec"]["service"].is_object() => {
            set(&mut object["spec"]["service"], "port", 443);
        }
        _ => {}
    }
}

fn namespace(object: &mut Value) {
    let name = object["metadata"]["name"].as_str().unwrap_or("").to_owned();
    if !name.is_empty() {
        object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into();
    }
}

fn secret(object: &mut Value) {
    use base64::Engine as _;
    let strings = object.as_object_mut().and_then(|map| map.remove("stringData"));
    for (key, text) in strings.as_ref().and_then(Value::as_object).into_iter().flatten() {
        let text = text.as_str().unwrap_or("");
        object["data"][key] = base64::engine::general_purpose::STANDARD.encode(text).into();
    }
    set(object, "type", "Opaque");
}

fn service(object: &mut Value) {
    let spec = &mut object["spec"];
    if !spec.is_object() {
        return;
    }
    set(spec, "sessionAffinity", "None");
    if spec["sessionAffinity"] == "None"
        && let Some(spec) = spec.as_object_mut()
    {
        spec.remove("sessionAffinityConfig");
    }
    set(spec, "type", "ClusterIP");
    if spec["sessionAffinity"] == "ClientIP"
        && spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].is_null()
    {
        spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] = 10_800.into();
    }
    for port in items(spec, "ports") {
        set(port, "protocol", "TCP");
        let target = &port["targetPort"];
        if target.is_null() || *target == 0 || *target == "" {
            port["targetPort"] = port["port"].clone();
        }
    }
    let kind = spec["type"].as_str().unwrap_or("").to_owned();
    let outside = spec["externalIPs"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && outside) {
        set(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        set(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
        let entries = object.pointer_mut("/status/loadBalancer/ingress");
        for entry in entries.and_then(Value::as_array_mut).into_iter().flatten() {
            if entry["ip"].as_str().is_some_and(|ip| !ip.is_empty()) {
                set(entry, "ipMode", "VIP");
            }
        }
    }
}

fn claim(spec: &mut Value) {
    set(spec, "volumeMode", "Filesystem");
}

fn replication_controller(object: &mut Value) {
    let labels = object["spec"]["template"]["metadata"]["labels"].clone();
    if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
        set(&mut object["spec"], "selector", labels.clone());
        if object["metadata"]["labels"].is_null() {
            object["metadata"]["labels"] = labels;
        }
    }
    set(&mut object["spec"], "replicas", 1);
    template(&mut object["spec"]["template"]);
}

fn limits(object: &mut Value) {
    for limit in items(&mut object["spec"], "limits") {
        if limit["type"] != "Container" {
            continue;
        }
        let maxima = limit["max"].as_object().cloned().unwrap_or_default();
        for (name, value) in maxima {
            if limit["default"].get(&name).is_none() {
                limit["default"][&name] = value;
            }
        }
        let defaults = limit["default"].as_object().cloned().unwrap_or_default();
        let minima = limit["min"].as_object().cloned().unwrap_or_default();
        for (name, value) in defaults.into_iter().chain(minima) {
            if limit["defaultRequest"].get(&name).is_none() {
                limit["defaultRequest"][&name] = value;
            }
        }
    }
}

fn rolling(update: &mut Value, fields: &[(&str, Value)]) {
    if update.is_null() {
        *update = json!({});
    }
    for (field, value) in fields {
        set(update, field, value.clone());
    }
}

fn apps(name: &str, object: &mut Value) {
    let spec = &mut object["spec"];
    if spec.is_null() && name != "ControllerRevision" {
        *spec = json!({});
    }
    if !spec.is_object() {
        return;
    }
    match name {
        "Deployment" => {
            set(spec, "replicas", 1);
            set(spec, "revisionHistoryLimit", 10);
            set(spec, "progressDeadlineSeconds", 600);
            set(spec, "strategy", json!({}));
            set(&mut spec["strategy"], "type", "RollingUpdate");
            if spec["strategy"]["type"] == "RollingUpdate" {
                let fields = [("maxUnavailable", "25%".into()), ("maxSurge", "25%".into())];
                rolling(&mut spec["strategy"]["rollingUpdate"], &fields);
            }
        }
        "ReplicaSet" => set(spec, "replicas", 1),
        "StatefulSet" => {
            set(spec, "replicas", 1);
            set(spec, "revisionHistoryLimit", 10);
            set(spec, "podManagementPolicy", "OrderedReady");
            set(spec, "updateStrategy", json!({}));
            set(&mut spec["updateStrategy"], "type", "RollingUpdate");
            if spec["updateStrategy"]["type"] == "RollingUpdate" {
                rolling(
                    &mut spec["updateStrategy"]["rollingUpdate"],
                    &[("partition", 0.into())],
                );
            }
            set(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
            for field in ["whenDeleted", "whenScaled"] {
                set(&mut spec["persistentVolumeClaimRetentionPolicy"], field, "Retain");
            }
            for template in items(spec, "volumeClaimTemplates") {
                template["kind"] = "PersistentVolumeClaim".into();
                template["apiVersion"] = "v1".into();
                set(template, "spec", json!({}));
                claim(&mut template["spec"]);
                template["status"] = json!({"phase": "Pending"});
            }
        }
        "DaemonSet" => {
            daemon_generation(&mut object["metadata"]);
            let spec = &mut object["spec"];
            set(spec, "revisionHistoryLimit", 10);
            set(spec, "updateStrategy", json!({}));
            set(&mut spec["updateStrategy"], "type", "RollingUpdate");
            if spec["updateStrategy"]["type"] == "RollingUpdate" {
                let fields = [("maxUnavailable", 1.into()), ("maxSurge", 0.into())];
                rolling(&mut spec["updateStrategy"]["rollingUpdate"], &fields);
            }
        }
        _ => return,
    }
    template(&mut object["spec"]["template"]);
}

/// The generation of the template is kept in an annotation.
fn daemon_generation(meta: &mut Value) {
    const NAME: &str = "deprecated.daemonset.template.generation";
    if !meta["annotations"].is_object() {
        meta["annotations"] = json!({});
    }
    set(&mut meta["annotations"], NAME, "0");
}

fn job_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        set(spec, "completions", 1);
    }
    set(spec, "parallelism", 1);
    let per_index = !spec["backoffLimitPerIndex"].is_null();
    set(spec, "backoffLimit", if per_index { 2_147_483_647 } else { 6 });
    set(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    set(spec, "manualSelector", false);
    let policy = if spec["podFailurePolicy"].is_null() {
        "TerminatingOrFailed"
    } else {
        "Failed"
    };
    set(spec, "podReplacementPolicy", policy);
    for rule in items(&mut spec["podFailurePolicy"], "rules") {
        for pattern in items(rule, "onPodConditions") {
            set(pattern, "status", "True");
        }
    }
    template(&mut spec["template"]);
}

fn cron_job(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    set(spec, "concurrencyPolicy", "Allow");
    set(spec, "suspend", false);
    set(spec, "successfulJobsHistoryLimit", 3);
    set(spec, "failedJobsHistoryLimit", 1);
    let job = &mut spec["jobTemplate"]["spec"];
    if job.is_object() {
        template(&mut job["template"]);
    }
}

fn autoscaler(object: &mut Value) {
    let spec = &mut object["spec"];
    set(spec, "minReplicas", 1);
    if object["apiVersion"] == "autoscaling/v1" {
        // Metrics of newer versions are kept as an annotation.
        if object["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"].is_null() {
            set(&mut object["spec"], "targetCPUUtilizationPercentage", 80);
        }
        return;
    }
    let spec = &mut object["spec"];
    if spec["metrics"].as_array().is_none_or(Vec::is_empty) {
        spec["metrics"] = json!([{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 80}}}]);
    }
    if let Some(behavior) = spec.get_mut("behavior").filter(|behavior| behavior.is_object()) {
        let up = json!([{"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15}]);
        let down = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
        set(behavior, "scaleUp", json!({}));
        set(&mut behavior["scaleUp"], "stabilizationWindowSeconds", 0);
        set(behavior, "scaleDown", json!({}));
        for (name, policies) in [("scaleUp", up), ("scaleDown", down)] {
            set(&mut behavior[name], "selectPolicy", "Max");
            set(&mut behavior[name], "policies", policies);
        }
    }
}

fn networking(name: &str, object: &mut Value) {
    match name {
        "IngressClass" if object["spec"]["parameters"].is_object() => {
            set(&mut object["spec"]["parameters"], "scope", "Cluster");
        }
        "NetworkPolicy" => {
            let spec = &mut object["spec"];
            for field in ["ingress", "egress"] {
                for rule in items(spec, field) {
                    for port in items(rule, "ports") {
                        set(port, "protocol", "TCP");
                    }
                }
            }
            if spec["policyTypes"].as_array().is_none_or(Vec::is_empty) {
                let egress = spec["egress"].as_array().is_some_and(|rules| !rules.is_empty());
                let types = if egress {
                    json!(["Ingress", "Egress"])
                } else {
                    json!(["Ingress"])
                };
                spec["policyTypes"] = types;
            }
        }
        _ => {}
    }
}

fn rbac(name: &str, object: &mut Value) {
    if !name.ends_with("Binding") {
        return;
    }
    if object["roleRef"].is_object() && object["roleRef"]["apiGroup"].as_str().unwrap_or("").is_empty() {
        object["roleRef"]["apiGroup"] = "rbac.authorization.k8s.io".into();
    }
    for subject in items(object, "subjects") {
        let group = match subject["kind"].as_str() {
            Some("User" | "Group") => "rbac.authorization.k8s.io",
            _ => continue,
        };
        if subject["apiGroup"].as_str().unwrap_or("").is_empty() {
            subject["apiGroup"] = group.into();
        }
    }
}

fn csi_driver(spec: &mut Value) {
    if spec.is_null() {
        *spec = json!({});
    }
    for (field, value) in [
        ("attachRequired", json!(true)),
        ("podInfoOnMount", json!(false)),
        ("storageCapacity", json!(false)),
        ("fsGroupPolicy", json!("ReadWriteOnceWithFSType")),
        ("volumeLifecycleModes", json!(["Persistent"])),
        ("requiresRepublish", json!(false)),
        ("seLinuxMount", json!(false)),
    ] {
        set(spec, field, value);
    }
}

/// What requests for devices leave open.
fn devices(claim: &mut Value) {
    let fill = |request: &mut Value| {
        set(request, "allocationMode", "ExactCount");
        if request["allocationMode"] == "ExactCount" {
            set(request, "count", 1);
        }
    };
    for request in items(claim, "requests") {
        if request["exactly"].is_object() {
            fill(&mut request["exactly"]);
        }
        items(request, "firstAvailable").for_each(fill);
    }
}

fn admission(name: &str, object: &mut Value) {
    let resources = |constraints: &mut Value| {
        set(constraints, "matchPolicy", "Equivalent");
        set(constraints, "namespaceSelector", json!({}));
        set(constraints, "objectSelector", json!({}));
        for field in ["resourceRules", "excludeResourceRules"] {
            for rule in items(constraints, field) {
                set(rule, "scope", "*");
            }
        }
    };
    match name {
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            for hook in items(object, "webhooks") {
                set(hook, "failurePolicy", "Fail");
                set(hook, "matchPolicy", "Equivalent");
                set(hook, "namespaceSelector", json!({}));
                set(hook, "objectSelector", json!({}));
                set(hook, "timeoutSeconds", 10);
                if name.starts_with("Mutating") {
                    set(hook, "reinvocationPolicy", "Never");
                }
                if hook["clientConfig"]["service"].is_object() {
                    set(&mut hook["clientConfig"]["service"], "port", 443);
                }
                for rule in items(hook, "rules") {
                    set(rule, "scope", "*");
                }
            }
        }
        "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy" => {
            set(&mut object["spec"], "failurePolicy", "Fail");
            if object["spec"]["matchConstraints"].is_object() {
                resources(&mut object["spec"]["matchConstraints"]);
            }
        }
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding"
            if object["spec"]["matchResources"].is_object() =>
        {
            resources(&mut object["spec"]["matchResources"]);
        }
        _ => {}
    }
}

fn flow_level(spec: &mut Value) {
    if spec["type"] != "Limited" || !spec["limited"].is_object() {
        return;
    }
    let limited = &mut spec["limited"];
    set(limited, "nominalConcurrencyShares", 30);
    set(limited, "lendablePercent", 0);
    if let Some(queues) = limited.pointer_mut("/limitResponse/queuing")
        && queues.is_object()
    {
        for (field, value) in [("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)] {
            set(queues, field, value);
        }
    }
}
