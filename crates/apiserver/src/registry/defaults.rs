//! Defaults of built-in kinds that their schemas do not tell: what decoding fills in.

use serde_json::{Value, json};

use crate::kinds::Kind;

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
        ("autoscaling", _) => autoscaler(object),
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
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            set(
                &mut object["spec"],
                "usages",
                json!(["digital signature", "key encipherment"]),
            );
        }
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

/// Shows as null what is absent but always shown.
pub fn nulls(kind: &Kind, object: &mut Value) {
    let times: &[&str] = match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment") => &["lastUpdateTime", "lastTransitionTime"],
        ("certificates.k8s.io", _) => &["lastUpdateTime", "lastTransitionTime"],
        ("batch", "Job") | ("", "Pod" | "PersistentVolumeClaim") => &["lastProbeTime", "lastTransitionTime"],
        ("", "Node") => &["lastHeartbeatTime", "lastTransitionTime"],
        ("apps" | "autoscaling" | "flowcontrol.apiserver.k8s.io", _)
        | ("", "ReplicationController" | "Namespace") => &["lastTransitionTime"],
        _ => &[],
    };
    if !times.is_empty() && object["status"].is_object() {
        let conditions = object["status"]
            .get_mut("conditions")
            .and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten().filter_map(Value::as_object_mut) {
            for time in times {
                condition.entry(*time).or_insert(Value::Null);
            }
        }
    }
    if kind.is("", "ReplicationController") {
        // What the schema gives is not shown.
        if object["spec"]["minReadySeconds"] == 0
            && let Some(spec) = object["spec"].as_object_mut()
        {
            spec.remove("minReadySeconds");
        }
        return;
    }
    if kind.is("", "PersistentVolumeClaim") {
        for field in ["dataSource", "dataSourceRef"] {
            if let Some(source) = object["spec"].get_mut(field).and_then(Value::as_object_mut) {
                source.entry("apiGroup").or_insert(Value::Null);
            }
        }
    }
    if kind.is("", "Pod") {
        states(&mut object["status"]);
    }
    if kind.is("storage.k8s.io", "CSINode") {
        for driver in items(&mut object["spec"], "drivers").filter_map(Value::as_object_mut) {
            driver.entry("topologyKeys").or_insert(Value::Null);
        }
    }
    for path in always_shown(kind) {
        if let Some((parent, field)) = path.rsplit_once('/')
            && let Some(map) = object.pointer_mut(parent).and_then(Value::as_object_mut)
        {
            map.entry(field).or_insert(Value::Null);
        }
    }
}

/// The times of containers' states.
fn states(status: &mut Value) {
    for list in [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ] {
        if status.get(list).is_none() {
            continue;
        }
        for container in items(status, list).filter_map(Value::as_object_mut) {
            for state in ["state", "lastState"] {
                let Some(state) = container.get_mut(state).and_then(Value::as_object_mut) else {
                    continue;
                };
                if let Some(running) = state.get_mut("running").and_then(Value::as_object_mut) {
                    running.entry("startedAt").or_insert(Value::Null);
                }
                if let Some(ended) = state.get_mut("terminated").and_then(Value::as_object_mut) {
                    for time in ["startedAt", "finishedAt"] {
                        ended.entry(time).or_insert(Value::Null);
                    }
                }
            }
        }
    }
}

/// Fields that are shown even if nothing is in them.
fn always_shown(kind: &Kind) -> &'static [&'static str] {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => &["/rules"],
        ("autoscaling", "HorizontalPodAutoscaler") if kind.version == "v2" => &["/status/currentMetrics"],
        ("", "Event") => &["/eventTime", "/firstTimestamp", "/lastTimestamp"],
        ("events.k8s.io", "Event") => &[
            "/eventTime",
            "/deprecatedFirstTimestamp",
            "/deprecatedLastTimestamp",
        ],
        ("discovery.k8s.io", "EndpointSlice") => &["/endpoints", "/ports"],
        ("", "LimitRange") => &["/spec/limits"],
        ("storage.k8s.io", "CSINode") => &["/spec/drivers"],
        ("resource.k8s.io", "ResourceClaim") => &["/spec/devices/requests"],
        ("resource.k8s.io", "ResourceClaimTemplate") => &["/spec/spec/devices/requests"],
        _ => &[],
    }
}

/// Which of the fields that are always shown are empty lists: whoever writes one owns it, though it is kept as nothing.
pub fn emptied(kind: &Kind, object: &Value) -> Vec<&'static str> {
    let empty = |path: &&&str| {
        let list = object.pointer(path).and_then(Value::as_array);
        list.is_some_and(Vec::is_empty)
    };
    always_shown(kind).iter().filter(empty).copied().collect()
}

/// Makes nothing of lists that are empty, where that shows.
pub fn without_emptied(kind: &Kind, object: &mut Value) {
    for path in emptied(kind, object) {
        if let Some(list) = object.pointer_mut(path) {
            *list = Value::Null;
        }
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
    if spec["type"] == "Limited" {
        set(spec, "limited", json!({}));
        set(&mut spec["limited"], "nominalConcurrencyShares", 30);
        set(&mut spec["limited"], "lendablePercent", 0);
        set(&mut spec["limited"], "limitResponse", json!({"type": "Reject"}));
        if spec["limited"]["limitResponse"]["type"] == "Queue" {
            set(&mut spec["limited"]["limitResponse"], "queuing", json!({}));
            for (field, value) in [("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)] {
                set(&mut spec["limited"]["limitResponse"]["queuing"], field, value);
            }
        }
    }
}

/// A template of pods.
fn template(template: &mut Value) {
    if template.is_object() {
        pod_spec(&mut template["spec"]);
    }
}

/// What pods leave open.
pub fn pod_spec(spec: &mut Value) {
    if spec.is_null() {
        *spec = json!({});
    }
    set(spec, "dnsPolicy", "ClusterFirst");
    set(spec, "restartPolicy", "Always");
    set(spec, "terminationGracePeriodSeconds", 30);
    set(spec, "schedulerName", "default-scheduler");
    set(spec, "securityContext", json!({}));
    if let Some(account) = spec["serviceAccountName"].as_str().map(str::to_owned) {
        spec["serviceAccount"] = account.into();
    } else if let Some(account) = spec["serviceAccount"].as_str().map(str::to_owned) {
        spec["serviceAccountName"] = account.into();
    }
    let host = spec["hostNetwork"] == true;
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items(spec, field) {
            self::container(container, host);
        }
    }
    for volume in items(spec, "volumes") {
        let bare = volume
            .as_object()
            .is_some_and(|map| map.keys().all(|key| key == "name"));
        if bare {
            volume["emptyDir"] = json!({});
        }
        if volume["image"].is_object() && volume["image"]["pullPolicy"].is_null() {
            let image = volume["image"]["reference"].as_str().unwrap_or("");
            volume["image"]["pullPolicy"] = pull_policy(image).into();
        }
        volume_source(volume);
    }
}

/// When an image is pulled if nobody says so.
fn pull_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or("");
    let tag = last.split_once(':').map(|(_, tag)| tag);
    let latest = !image.contains('@') && (tag.is_none() || tag == Some("latest"));
    if latest && super::images::is_reference(image) {
        "Always"
    } else {
        "IfNotPresent"
    }
}

/// Fields that a server without their features does not keep. Whoever set them is their owner all the same.
pub fn without_features(spec: &mut Value) {
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("schedulingGroup");
    }
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items(spec, field) {
            let hooks = container.get_mut("lifecycle").and_then(Value::as_object_mut);
            let bare = hooks.is_some_and(|hooks| hooks.remove("stopSignal").is_some() && hooks.is_empty());
            if let Some(container) = container.as_object_mut().filter(|_| bare) {
                container.remove("lifecycle");
            }
        }
    }
    for volume in items(spec, "volumes") {
        let Some(projected) = volume.get_mut("projected") else {
            continue;
        };
        for source in items(projected, "sources").filter_map(Value::as_object_mut) {
            source.remove("podCertificate");
            source.remove("clusterTrustBundle");
        }
    }
    unnamed(spec, "imagePullSecrets");
}

/// References without a name have nothing.
pub fn unnamed(owner: &mut Value, field: &str) {
    for reference in items(owner, field).filter_map(Value::as_object_mut) {
        if reference.get("name").is_some_and(|name| *name == "") {
            reference.remove("name");
        }
    }
}

fn container(container: &mut Value, host: bool) {
    set(container, "resources", json!({}));
    set(container, "terminationMessagePath", "/dev/termination-log");
    set(container, "terminationMessagePolicy", "File");
    if container["imagePullPolicy"].is_null() {
        let image = container["image"].as_str().unwrap_or("");
        container["imagePullPolicy"] = pull_policy(image).into();
    }
    for port in items(container, "ports") {
        set(port, "protocol", "TCP");
        if host {
            let number = port["containerPort"].clone();
            set(port, "hostPort", number);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container[probe].is_object() {
            self::probe(&mut container[probe]);
        }
    }
    if container["lifecycle"].is_object() {
        for hook in ["postStart", "preStop"] {
            if container["lifecycle"][hook]["httpGet"].is_object() {
                http_get(&mut container["lifecycle"][hook]["httpGet"]);
            }
        }
    }
    let environment = container.get_mut("env").and_then(Value::as_array_mut);
    for variable in environment.into_iter().flatten() {
        if variable["valueFrom"]["fieldRef"].is_object() {
            set(&mut variable["valueFrom"]["fieldRef"], "apiVersion", "v1");
        }
        if variable["valueFrom"]["resourceFieldRef"].is_object() {
            set(&mut variable["valueFrom"]["resourceFieldRef"], "divisor", "0");
        }
    }
}

/// What a pod's containers are limited to they request as well, unless they say otherwise. A template keeps to itself.
fn requests(spec: &mut Value) {
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items(spec, field) {
            let limits = container["resources"]["limits"].as_object().cloned();
            for (name, value) in limits.unwrap_or_default() {
                if container["resources"]["requests"].get(&name).is_none() {
                    container["resources"]["requests"][&name] = value;
                }
            }
        }
    }
}

/// What a pod as a whole is limited to it requests as well: as much as its containers do, or all of it.
fn pod_requests(spec: &mut Value) {
    let limits = spec["resources"]["limits"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    for (name, limit) in limits {
        if spec["resources"]["requests"].get(&name).is_some() {
            continue;
        }
        let asked = spec["containers"].as_array().into_iter().flatten();
        let asked = asked.filter_map(|container| {
            let amount = container["resources"]["requests"][&name].as_str()?;
            fluvial_object::quantity::Quantity::parse(amount).ok()
        });
        let sum = asked.reduce(|sum, amount| sum.add(&amount));
        spec["resources"]["requests"][&name] = sum.map_or(limit, |sum| sum.to_string().into());
    }
    if spec["resources"].is_null()
        && let Some(spec) = spec.as_object_mut()
    {
        spec.remove("resources");
    }
}

fn http_get(action: &mut Value) {
    set(action, "path", "/");
    set(action, "scheme", "HTTP");
}

fn probe(probe: &mut Value) {
    for (field, value) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        set(probe, field, value);
    }
    if probe["httpGet"].is_object() {
        http_get(&mut probe["httpGet"]);
    }
    if probe["grpc"].is_object() {
        set(&mut probe["grpc"], "service", "");
    }
}

fn downward(item: &mut Value) {
    if item["fieldRef"].is_object() {
        set(&mut item["fieldRef"], "apiVersion", "v1");
    }
    if item["resourceFieldRef"].is_object() {
        set(&mut item["resourceFieldRef"], "divisor", "0");
    }
}

fn volume_source(volume: &mut Value) {
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if volume[source].is_object() {
            set(&mut volume[source], "defaultMode", 420);
        }
    }
    for item in items(&mut volume["downwardAPI"], "items") {
        downward(item);
    }
    for source in items(&mut volume["projected"], "sources") {
        if source["serviceAccountToken"].is_object() {
            set(&mut source["serviceAccountToken"], "expirationSeconds", 3600);
        }
        for item in items(&mut source["downwardAPI"], "items") {
            downward(item);
        }
    }
    if volume["hostPath"].is_object() {
        set(&mut volume["hostPath"], "type", "");
    }
    if volume["iscsi"].is_object() {
        set(&mut volume["iscsi"], "iscsiInterface", "default");
    }
    if volume["ephemeral"]["volumeClaimTemplate"]["spec"].is_object() {
        claim(&mut volume["ephemeral"]["volumeClaimTemplate"]["spec"]);
    }
}
