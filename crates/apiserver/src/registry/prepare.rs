//! What kinds do with an object before it is stored, and facts about them.

use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::kinds::Kind;
use crate::request::Request;
use crate::status::Outcome;

/// Whether objects of the kind count the changes of their wishes.
#[must_use]
pub fn has_generation(kind: &Kind) -> bool {
    if kind.custom.is_some() {
        return true;
    }
    match kind.group.as_str() {
        "" => matches!(
            kind.kind.as_str(),
            "Pod" | "PodTemplate" | "ReplicationController"
        ),
        "apps" => kind.kind != "ControllerRevision",
        "batch"
        | "policy"
        | "flowcontrol.apiserver.k8s.io"
        | "admissionregistration.k8s.io"
        | "apiextensions.k8s.io"
        | "scheduling.k8s.io"
        | "discovery.k8s.io" => true,
        "networking.k8s.io" => matches!(kind.kind.as_str(), "Ingress" | "IngressClass" | "NetworkPolicy"),
        "resource.k8s.io" => matches!(kind.kind.as_str(), "ResourceSlice" | "DeviceClass"),
        _ => false,
    }
}

/// Whether the kind's status is written through its subresource alone.
#[must_use]
pub fn has_status(kind: &Kind) -> bool {
    kind.subresource("status").is_some()
}

/// Whether an update may leave out the version.
#[must_use]
pub fn unconditional(kind: &Kind) -> bool {
    if kind.custom.is_some() {
        return false;
    }
    !matches!(
        (kind.group.as_str(), kind.kind.as_str()),
        ("coordination.k8s.io", _)
            | ("apiextensions.k8s.io", _)
            | ("apiregistration.k8s.io", _)
            | ("policy", _)
            | ("admissionregistration.k8s.io", _)
            | (
                "storage.k8s.io",
                "CSIDriver" | "CSINode" | "CSIStorageCapacity" | "VolumeAttachment"
            )
            | ("node.k8s.io", _)
    )
}

/// Whether an update makes an object that is missing.
#[must_use]
pub fn made_by_update(kind: &Kind) -> bool {
    kind.custom.is_none()
        && matches!(
            (kind.group.as_str(), kind.kind.as_str()),
            ("", "Service" | "Endpoints" | "Event" | "LimitRange")
                | ("rbac.authorization.k8s.io", _)
                | ("coordination.k8s.io", "Lease")
                | ("events.k8s.io", _)
                | ("node.k8s.io", _)
        )
}

/// Whether a status is written without the labels, annotations, owners and finalizers that come with it.
fn keeps_meta(kind: &Kind) -> bool {
    matches!(
        (kind.group.as_str(), kind.kind.as_str()),
        ("apiregistration.k8s.io", "APIService")
            | ("flowcontrol.apiserver.k8s.io", _)
            | ("storage.k8s.io", "VolumeAttachment")
            | ("networking.k8s.io", "ServiceCIDR")
            | ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy")
            | ("resource.k8s.io", "ResourceClaim")
    )
}

/// Fields that a writer does not come to own, because the strategy takes them from elsewhere.
#[must_use]
pub fn reset_fields(kind: &Kind, subresource: &str) -> Vec<&'static [&'static str]> {
    const STATUS: &[&str] = &["status"];
    const SPEC: &[&str] = &["spec"];
    const META: &[&str] = &["metadata"];
    const LABELS: &[&str] = &["metadata", "labels"];
    match subresource {
        "status" if kind.custom.is_some() || keeps_meta(kind) => vec![SPEC, META],
        "status" if kind.is("apps", "Deployment") => vec![SPEC, LABELS],
        "status" => vec![SPEC],
        "finalize" => vec![STATUS],
        "" if kind.is("certificates.k8s.io", "CertificateSigningRequest") => vec![SPEC, STATUS],
        _ if has_status(kind) => vec![STATUS],
        _ => vec![],
    }
}

fn initial_status(kind: &Kind) -> Option<Value> {
    Some(match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace") => json!({"phase": "Active"}),
        ("", "PersistentVolumeClaim") => json!({"phase": "Pending"}),
        ("", "Pod") => json!({"phase": "Pending"}),
        _ => return None,
    })
}

/// Prepares a new object.
///
/// # Errors
/// A value of it cannot be had.
pub fn create(api: &Api, request: &Request, object: &mut Value) -> Outcome<()> {
    let kind = &request.kind;
    // Some kinds keep a status given at creation.
    let keeps = matches!(kind.kind.as_str(), "Node" | "CSINode") && kind.custom.is_none();
    if has_status(kind) && !keeps {
        if kind.custom.is_some() {
            if let Some(map) = object.as_object_mut() {
                map.remove("status");
            }
            if let Some(schema) = kind.custom.as_ref().and_then(|custom| custom.schema.as_ref()) {
                schema.default(object);
            }
        } else {
            object["status"] = json!({});
            if kind.is("", "PersistentVolume") {
                object["status"] = json!({"phase": "Pending", "lastPhaseTransitionTime": api.now()});
            }
            if let Some(status) = initial_status(kind) {
                object["status"] = status;
            }
            if let Some(types) = kind.types(&api.schemas) {
                types.default(object);
            }
            super::defaults::nulls(kind, object);
        }
    }
    unkept(kind, object, &Value::Null);
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace") => {
            let list = object["spec"]["finalizers"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            if !list.iter().any(|item| item == "kubernetes") {
                let mut list = list;
                list.push("kubernetes".into());
                object["spec"]["finalizers"] = list.into();
            }
        }
        ("", "Pod") => {
            super::workloads::pod_status(object, &api.now());
            if object["spec"]["terminationGracePeriodSeconds"]
                .as_i64()
                .is_some_and(|grace| grace < 0)
            {
                object["spec"]["terminationGracePeriodSeconds"] = 1.into();
            }
        }
        ("", "Node") => super::nodes::taint(object),
        ("apps", "DaemonSet") => template_generation(object, 1),
        ("batch", "Job") => super::workloads::job_labels(object),
        ("", "Secret") => {}
        ("apiextensions.k8s.io", _) => crate::crd::definition::prepare(api, object, None),
        ("certificates.k8s.io", _) => csr_user(request, object),
        _ => {}
    }
    Ok(())
}

/// Takes away what is not kept, and completes what is said twice; owners of fields do not change by it.
fn unkept(kind: &Kind, object: &mut Value, old: &Value) {
    if kind.custom.is_none() {
        super::defaults::without_emptied(kind, object);
    }
    let path = match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => "/spec",
        ("", "PodTemplate") => "/template/spec",
        ("", "ReplicationController") | ("apps", _) | ("batch", "Job") => "/spec/template/spec",
        ("batch", "CronJob") => "/spec/jobTemplate/spec/template/spec",
        ("", "PersistentVolumeClaim") => {
            super::claims::data_sources(&mut object["spec"], !old["spec"]["dataSource"].is_null());
            return;
        }
        ("discovery.k8s.io", "EndpointSlice") => {
            let endpoints = object.get_mut("endpoints").and_then(Value::as_array_mut);
            for endpoint in endpoints.into_iter().flatten().filter_map(Value::as_object_mut) {
                endpoint.remove("deprecatedTopology");
            }
            return;
        }
        ("storage.k8s.io", "CSIDriver") => {
            if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
                spec.remove("preventPodSchedulingIfMissing");
            }
            return;
        }
        ("", "ServiceAccount") => {
            super::defaults::unnamed(object, "imagePullSecrets");
            return;
        }
        _ => return,
    };
    if kind.is("apps", "StatefulSet") {
        let rolling = object.pointer_mut("/spec/updateStrategy/rollingUpdate");
        if let Some(rolling) = rolling.and_then(Value::as_object_mut) {
            rolling.remove("maxUnavailable");
        }
    }
    if let Some(spec) = object.pointer_mut(path).filter(|_| kind.custom.is_none()) {
        super::defaults::without_features(spec);
    }
}

fn template_generation(object: &mut Value, generation: i64) {
    object["metadata"]["annotations"]["deprecated.daemonset.template.generation"] =
        generation.to_string().into();
}

fn csr_user(request: &Request, object: &mut Value) {
    let user = &request.user;
    object["spec"]["username"] = user.name.clone().into();
    object["spec"]["groups"] = json!(user.groups);
    if !user.uid.is_empty() {
        object["spec"]["uid"] = user.uid.clone().into();
    }
    if !user.extra.is_empty() {
        object["spec"]["extra"] = json!(user.extra);
    }
}

/// Takes addresses and ports for an object that is about to be stored.
///
/// # Errors
/// None is left, or the one asked for is taken.
pub fn allocate(api: &Api, request: &Request, object: &mut Value) -> Outcome<()> {
    if request.kind.is("", "Service") {
        api.services.allocate(object, None)?;
    }
    Ok(())
}

/// Gives back what an object no longer needs.
pub fn released(api: &Api, kind: &Kind, gone: bool, new: &Value, old: &Value) {
    if kind.is("", "Service") {
        api.services.release(old, if gone { None } else { Some(new) });
    }
}

/// Whether a change counts as one of the object's wishes.
fn wishes_changed(kind: &Kind, new: &Value, old: &Value) -> bool {
    if kind.is("apps", "Deployment") && new["metadata"]["annotations"] != old["metadata"]["annotations"] {
        return true;
    }
    if kind.is("discovery.k8s.io", "EndpointSlice") && new["metadata"]["labels"] != old["metadata"]["labels"]
    {
        return true;
    }
    let empty = Map::new();
    let (new, old) = (
        new.as_object().unwrap_or(&empty),
        old.as_object().unwrap_or(&empty),
    );
    let counts = |key: &str| {
        !matches!(key, "metadata" | "apiVersion" | "kind")
            && !(key == "status" && (has_status(kind) || kind.custom.is_none()))
    };
    new.iter()
        .any(|(key, value)| counts(key) && old.get(key) != Some(value))
        || old.keys().any(|key| counts(key) && !new.contains_key(key))
}

/// Takes over from the live object what a request may not change.
pub fn update(api: &Api, request: &Request, new: &mut Value, old: &Value) {
    let kind = &request.kind;
    let old_meta = &old["metadata"];
    if let Some(meta) = new["metadata"].as_object_mut() {
        meta.remove("selfLink");
        for field in ["creationTimestamp", "generation"] {
            match &old_meta[field] {
                Value::Null => meta.remove(field),
                value => meta.insert(field.to_owned(), value.clone()),
            };
        }
        for field in [
            "uid",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generateName",
        ] {
            if !meta.contains_key(field) && !old_meta[field].is_null() {
                meta.insert(field.to_owned(), old_meta[field].clone());
            }
        }
    }
    match request.target.subresource.as_str() {
        "" if has_status(kind) => copy(new, old, "status"),
        "status" => status_only(kind, new, old),
        "ephemeralcontainers" => {
            let given = new["spec"]["ephemeralContainers"].clone();
            copy(new, old, "spec");
            copy(new, old, "status");
            new["spec"]["ephemeralContainers"] = given;
        }
        "resize" => resources_only(new, old),
        "approval" => {
            let conditions = new["status"]["conditions"].take();
            copy(new, old, "spec");
            copy(new, old, "status");
            if !conditions.is_null() {
                new["status"]["conditions"] = conditions;
            }
        }
        "finalize" => {
            let finalizers = new["spec"]["finalizers"].take();
            *new = json!({"apiVersion": new["apiVersion"].clone(), "kind": new["kind"].clone(),
                "metadata": new["metadata"].clone(), "spec": old["spec"].clone(), "status": old["status"].clone()});
            if finalizers.as_array().is_none_or(Vec::is_empty) {
                new["spec"] = json!({});
            } else {
                new["spec"]["finalizers"] = finalizers;
            }
        }
        _ => {}
    }
    if request.target.subresource.is_empty() {
        if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
            crate::crd::definition::prepare(api, new, Some(old));
        }
        if kind.is("", "Service") {
            super::services::keep(new, old);
        }
        if kind.is("", "Secret") && new["type"] == "Opaque" && old["type"].is_null() {
            copy(new, old, "type");
        }
    }
    if kind.is("apps", "DaemonSet") && request.target.subresource.is_empty() {
        let old_generation = old["metadata"]["annotations"]["deprecated.daemonset.template.generation"]
            .as_str()
            .and_then(|text| text.parse::<i64>().ok())
            .unwrap_or(0);
        let changed = i64::from(new["spec"]["template"] != old["spec"]["template"]);
        template_generation(new, old_generation + changed);
    }
    if kind.is("certificates.k8s.io", "CertificateSigningRequest") {
        // What was asked for stays what was asked for.
        copy(new, old, "spec");
        condition_times(new, old, &api.now());
    }
}

/// Whether a change may be recorded as it was sent, because what it has no say in counts for nobody anyway. The narrow
/// subresources take their part out of it first.
#[must_use]
pub fn in_time(request: &Request) -> bool {
    matches!(request.target.subresource.as_str(), "" | "status" | "scale")
}

/// Counts the change of an object's wishes. What is not kept is no wish, so it is asked last.
pub fn count(request: &Request, new: &mut Value, old: &Value) {
    let kind = &request.kind;
    let wishes = matches!(
        request.target.subresource.as_str(),
        "" | "scale" | "approval" | "finalize" | "resize" | "ephemeralcontainers"
    );
    // Drivers are counted from their first change on, and classes of priorities never again.
    let driver = kind.is("storage.k8s.io", "CSIDriver");
    let counted = driver || (has_generation(kind) && kind.group != "scheduling.k8s.io");
    if counted && wishes && wishes_changed(kind, new, old) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        new["metadata"]["generation"] = generation.into();
    }
}

/// Conditions that a request for a certificate did not have get the time of now where they say none.
fn condition_times(new: &mut Value, old: &Value, now: &str) {
    let conditions = new["status"].get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten().filter_map(Value::as_object_mut) {
        let known = old["status"]["conditions"].as_array().into_iter().flatten();
        let known: Vec<_> = known
            .filter(|known| Some(&known["type"]) == condition.get("type"))
            .collect();
        if condition.get("lastUpdateTime").is_none_or(Value::is_null) {
            condition.insert("lastUpdateTime".into(), now.into());
        }
        if condition.get("lastTransitionTime").is_none_or(Value::is_null) {
            let same = known
                .iter()
                .find(|known| Some(&known["status"]) == condition.get("status"));
            let time = same.map_or(Value::from(now), |known| known["lastTransitionTime"].clone());
            condition.insert("lastTransitionTime".into(), time);
        }
    }
}

/// What a kind undoes after it has been recorded who owns what.
pub fn settle(request: &Request, new: &mut Value, old: &Value) {
    if !request.target.subresource.is_empty() {
        return;
    }
    unkept(&request.kind, new, old);
    if request.kind.is("", "Service") {
        super::services::drop_dependents(new, old);
    }
    // A namespace's finalizers change through their subresource.
    if request.kind.is("", "Namespace") && !old["spec"].is_null() {
        copy(new, old, "spec");
    }
}

fn copy(new: &mut Value, old: &Value, field: &str) {
    if let Some(map) = new.as_object_mut() {
        match &old[field] {
            Value::Null => map.remove(field),
            value => map.insert(field.to_owned(), value.clone()),
        };
    }
}

/// A resize changes what containers get and nothing else.
fn resources_only(new: &mut Value, old: &Value) {
    let given = new["spec"].take();
    copy(new, old, "spec");
    copy(new, old, "status");
    for field in ["containers", "initContainers"] {
        let own = new["spec"].get_mut(field).and_then(Value::as_array_mut);
        for container in own.into_iter().flatten() {
            let list = given[field].as_array().into_iter().flatten();
            let Some(wanted) = list.into_iter().find(|item| item["name"] == container["name"]) else {
                continue;
            };
            for part in ["resources", "resizePolicy"] {
                copy(container, wanted, part);
            }
        }
    }
}

/// A status update changes status and little else.
fn status_only(kind: &Kind, new: &mut Value, old: &Value) {
    if kind.custom.is_some() {
        let status = new["status"].take();
        let (fields, version) = (
            new["metadata"]["managedFields"].take(),
            new["metadata"]["resourceVersion"].take(),
        );
        *new = old.clone();
        copy(new, &json!({"status": status}), "status");
        if !fields.is_null() {
            new["metadata"]["managedFields"] = fields;
        }
        copy_meta(new, version, "resourceVersion");
        return;
    }
    for field in ["spec", "data", "rules", "webhooks"] {
        copy(new, old, field);
    }
    if keeps_meta(kind) {
        for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
            copy_meta(new, old["metadata"][field].clone(), field);
        }
    }
    if kind.is("apps", "Deployment") {
        let labels = old["metadata"]["labels"].clone();
        copy_meta(new, labels, "labels");
    }
    if kind.is("", "Pod") {
        // Old kubelets know of one address, which then counts.
        let (one, first) = (&new["status"]["podIP"], &new["status"]["podIPs"][0]["ip"]);
        if !one.is_null() && one != first {
            let one = one.clone();
            new["status"]["podIPs"] = json!([{"ip": one}]);
        }
        let owners = old["metadata"]["ownerReferences"].clone();
        copy_meta(new, owners, "ownerReferences");
    }
}

fn copy_meta(new: &mut Value, value: Value, field: &str) {
    if let Some(meta) = new["metadata"].as_object_mut() {
        if value.is_null() {
            meta.remove(field);
        } else {
            meta.insert(field.to_owned(), value);
        }
    }
}

/// Whether the answer to a deletion shows the object rather than a Status.
#[must_use]
pub fn deletion_shows_object(kind: &Kind) -> bool {
    kind.custom.is_none()
        && matches!(
            (kind.group.as_str(), kind.kind.as_str()),
            (
                "",
                "Service"
                    | "ServiceAccount"
                    | "ResourceQuota"
                    | "PodTemplate"
                    | "Pod"
                    | "Namespace"
                    | "PersistentVolume"
                    | "PersistentVolumeClaim"
            ) | (
                "storage.k8s.io",
                "CSIDriver" | "StorageClass" | "CSINode" | "VolumeAttachment" | "VolumeAttributesClass"
            ) | ("resource.k8s.io", _)
        )
}

/// Whether the kind waits before it goes.
#[must_use]
pub fn graceful(kind: &Kind) -> bool {
    kind.is("", "Pod")
}

/// Seconds until a deleted object goes.
#[must_use]
pub fn grace(kind: &Kind, object: &Value, asked: Option<i64>) -> i64 {
    if !graceful(kind) {
        return 0;
    }
    let phase = object["status"]["phase"].as_str().unwrap_or("");
    if object["spec"]["nodeName"].as_str().unwrap_or("").is_empty() || matches!(phase, "Succeeded" | "Failed")
    {
        return 0;
    }
    let wanted = asked
        .or_else(|| object["spec"]["terminationGracePeriodSeconds"].as_i64())
        .unwrap_or(30);
    if wanted < 0 { 1 } else { wanted }
}

/// Warns of what a deletion without a policy leaves behind.
pub fn warn_of_orphans(request: &Request) {
    if request.kind.is("batch", "Job") {
        request.warn(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove \
             them or set propagationPolicy=Orphan to suppress this warning",
        );
    }
}

/// What happens to dependents when the request does not say, which is warned of.
#[must_use]
pub fn default_propagation(request: &Request) -> &'static str {
    warn_of_orphans(request);
    let kind = &request.kind;
    if kind.is("batch", "Job") || kind.is("", "ReplicationController") {
        "Orphan"
    } else {
        "Background"
    }
}
