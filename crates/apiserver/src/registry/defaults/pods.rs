//! What pods leave open, and templates of pods.

use serde_json::{Value, json};

use super::{claim, items, set};

/// A template of pods.
pub(super) fn template(template: &mut Value) {
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
    if latest && super::super::images::is_reference(image) {
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
pub(super) fn requests(spec: &mut Value) {
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
pub(super) fn pod_requests(spec: &mut Value) {
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

pub(super) fn volume_source(volume: &mut Value) {
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
