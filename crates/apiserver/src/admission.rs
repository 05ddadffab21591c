//! Checks between decoding and storing: namespaces, service accounts and other rules of the cluster.

pub mod limits;
pub mod plugins;
pub mod pod_security;
pub mod policies;
pub mod quota;
pub mod resources;
pub mod webhooks;

use std::sync::MutexGuard;

use fluvial_object::quantity::Quantity;
use serde_json::{Value, json};

use crate::admission::plugins::Plugin;
use crate::api::{Api, meta, name_suffix};
use crate::request::Request;
use crate::status::{Failure, Outcome};

/// Before an object is created: its namespace must be there, and pods get their service account.
///
/// # Errors
/// The cluster does not take it.
pub fn before_create(api: &Api, request: &Request, object: &mut Value) -> Outcome<()> {
    let kind = &request.kind;
    let on = |plugin| api.disabled.allows(plugin);
    if on(Plugin::NamespaceLifecycle)
        && kind.namespaced
        && !kind.is("authorization.k8s.io", "LocalSubjectAccessReview")
    {
        namespace(api, request, meta(object, "name"))?;
    }
    crate::auth::escalation::check(api, request, object, None)?;
    if on(Plugin::LimitRanger) {
        limits::fill(api, request, object);
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => pod(api, request, object)?,
        ("", "PersistentVolumeClaim") => storage_class(api, object)?,
        ("", "PersistentVolume") if on(Plugin::StorageObjectInUseProtection) => {
            protect(object, "kubernetes.io/pv-protection")
        }
        ("storage.k8s.io", "VolumeAttributesClass") if on(Plugin::StorageObjectInUseProtection) => {
            protect(object, "kubernetes.io/vac-protection")
        }
        ("networking.k8s.io", "Ingress") if on(Plugin::DefaultIngressClass) => ingress_class(api, object)?,
        _ => {}
    }
    mutate(api, request, "CREATE", object, &Value::Null)
}

/// Lets policies, then webhooks, change what is written.
fn mutate(
    api: &Api,
    request: &Request,
    operation: &'static str,
    object: &mut Value,
    old: &Value,
) -> Outcome<()> {
    if api.disabled.allows(Plugin::MutatingAdmissionPolicy) {
        policies::mutate(api, request, operation, object, old)?;
    }
    if api.disabled.allows(Plugin::MutatingAdmissionWebhook) {
        webhooks::mutate(api, request, operation, object, old)?;
    }
    Ok(())
}

/// Asks policies, then webhooks.
fn ask(api: &Api, context: &policies::Context<'_>) -> Outcome<()> {
    if api.disabled.allows(Plugin::ValidatingAdmissionPolicy) {
        policies::validate(api, context)?;
    }
    if api.disabled.allows(Plugin::ValidatingAdmissionWebhook) {
        webhooks::validate(api, context)?;
    }
    Ok(())
}

/// Whether there are policies or webhooks that may change or refuse what is written.
#[must_use]
pub fn has_policies(api: &Api) -> bool {
    [
        policies::VALIDATING,
        policies::MUTATING,
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
    ]
    .iter()
    .any(|name| !api.store.collection(name).is_empty())
}

/// Holds what is about to be written against everything that checks without changing. The guard is kept until the
/// object is in the store.
///
/// # Errors
/// Somebody refuses it.
pub fn validate<'a>(
    api: &'a Api,
    request: &Request,
    object: &Value,
    old: Option<&Value>,
) -> Outcome<Option<MutexGuard<'a, ()>>> {
    if api.disabled.allows(Plugin::PodSecurity) {
        pod_security::validate(api, request, object, old)?;
    }
    if api.disabled.allows(Plugin::Priority) && request.kind.is("scheduling.k8s.io", "PriorityClass") {
        only_default(api, request, object)?;
    }
    if let Some(old) = old.filter(|_| {
        let claim = request.kind.is("", "PersistentVolumeClaim") && request.target.subresource.is_empty();
        claim && api.disabled.allows(Plugin::PersistentVolumeClaimResize)
    }) {
        may_grow(api, request, object, old)?;
    }
    if api.disabled.allows(Plugin::LimitRanger) {
        limits::validate(api, request, object, old.is_some())?;
    }
    let context = policies::Context {
        request,
        operation: if old.is_some() { "UPDATE" } else { "CREATE" },
        object,
        old: old.unwrap_or(&Value::Null),
    };
    ask(api, &context)?;
    if !api.disabled.allows(Plugin::ResourceQuota) {
        return Ok(None);
    }
    quota::check(api, request, object, old)
}

/// A bound claim grows only where its class says that it can.
fn may_grow(api: &Api, request: &Request, new: &Value, old: &Value) -> Outcome<()> {
    let size = |claim: &Value| {
        let text = claim["spec"]["resources"]["requests"]["storage"].as_str()?;
        Quantity::parse(text).ok()
    };
    let grows = matches!((size(new), size(old)), (Some(new), Some(old)) if new > old);
    if !grows || old["status"]["phase"] != "Bound" {
        return Ok(());
    }
    let class = |claim: &Value| {
        let own = &claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"];
        let own = own
            .as_str()
            .or_else(|| claim["spec"]["storageClassName"].as_str());
        own.unwrap_or("").to_owned()
    };
    let name = class(new);
    let found = api.store.collection("storageclasses.storage.k8s.io").get(&name);
    let may = !name.is_empty()
        && name == class(old)
        && found.is_some_and(|found| found.value()["allowVolumeExpansion"] == true);
    if may {
        return Ok(());
    }
    let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    let (group, plural) = (&request.kind.group, &request.kind.plural);
    Err(Failure::forbidden(group, plural, &request.target.name, why))
}

fn namespace(api: &Api, request: &Request, name: &str) -> Outcome<()> {
    let own = &request.target.namespace;
    let Some(found) = api.store.collection("namespaces").get(own) else {
        return Err(Failure::not_found("", "namespaces", own));
    };
    // Few objects are being deleted: the text is searched before it is parsed.
    let deleting =
        found.mentions("\"deletionTimestamp\"") && !found.value()["metadata"]["deletionTimestamp"].is_null();
    if deleting {
        let kind = &request.kind;
        let why = format!("unable to create new content in namespace {own} because it is being terminated");
        let mut failure = Failure::forbidden(&kind.group, &kind.plural, name, &why);
        if let Some(details) = &mut failure.details {
            details["causes"] = json!([{"reason": "NamespaceTerminating",
                "message": format!("namespace {own} is being terminated"), "field": "metadata.namespace"}]);
        }
        return Err(failure);
    }
    Ok(())
}

/// Warns of kinds and versions that are on their way out, whatever is done with them.
pub fn deprecations(request: &Request) {
    let kind = &request.kind;
    if let Some(warning) = kind.custom.as_ref().and_then(|custom| custom.warning.as_ref()) {
        request.warn(warning.clone());
    }
    if kind.is("", "Endpoints") {
        request.warn("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");
    }
    if kind.is("", "ComponentStatus") {
        request.warn("v1 ComponentStatus is deprecated in v1.19+");
    }
}

fn service_account(api: &Api, request: &Request, object: &mut Value) -> Outcome<()> {
    let namespace = &request.target.namespace;
    if object["spec"]["serviceAccountName"]
        .as_str()
        .unwrap_or("")
        .is_empty()
    {
        object["spec"]["serviceAccountName"] = "default".into();
        object["spec"]["serviceAccount"] = "default".into();
    }
    let name = object["spec"]["serviceAccountName"]
        .as_str()
        .unwrap_or("")
        .to_owned();
    let found = api
        .store
        .collection("serviceaccounts")
        .get(&format!("{namespace}/{name}"));
    let Some(found) = found else {
        let why = format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        );
        return Err(Failure::forbidden("", "pods", meta(object, "name"), &why));
    };
    let account = found.value();
    let wanted = match (
        &object["spec"]["automountServiceAccountToken"],
        &account["automountServiceAccountToken"],
    ) {
        (Value::Bool(own), _) => *own,
        (_, Value::Bool(theirs)) => *theirs,
        _ => true,
    };
    let secrets = &account["imagePullSecrets"];
    if object["spec"]["imagePullSecrets"].is_null() && secrets.as_array().is_some_and(|list| !list.is_empty())
    {
        object["spec"]["imagePullSecrets"] = secrets.clone();
    }
    if wanted {
        mount_token(object);
    }
    Ok(())
}

/// What a pod gets before it is there.
fn pod(api: &Api, request: &Request, object: &mut Value) -> Outcome<()> {
    let on = |plugin| api.disabled.allows(plugin);
    if on(Plugin::ServiceAccount) {
        service_account(api, request, object)?;
    }
    if on(Plugin::DefaultTolerationSeconds) {
        tolerations(object);
    }
    if on(Plugin::Priority) {
        priority(api, object)?;
    }
    if on(Plugin::RuntimeClass) {
        runtime_class(api, object)?;
    }
    Ok(())
}

fn refused(object: &Value, why: &str) -> Failure {
    Failure::forbidden("", "pods", meta(object, "name"), why)
}

/// The class that a pod has without naming one: of those that say so, the least.
fn default_priority_class(api: &Api) -> Option<Value> {
    let classes = api.store.collection("priorityclasses.scheduling.k8s.io");
    let all = classes.snapshot(&api.store, "", None, None).ok()?.objects;
    all.iter()
        .map(|stored| stored.value())
        .filter(|class| class["globalDefault"] == true)
        .min_by_key(|class| class["value"].as_i64())
}

/// One class of priorities at most is the default.
fn only_default(api: &Api, request: &Request, object: &Value) -> Outcome<()> {
    let name = meta(object, "name");
    let other = default_priority_class(api).filter(|_| object["globalDefault"] == true);
    let Some(other) = other.filter(|other| meta(other, "name") != name) else {
        return Ok(());
    };
    let why = format!(
        "PriorityClass {} is already marked as default. Only one default can exist",
        meta(&other, "name")
    );
    Err(Failure::forbidden(
        &request.kind.group,
        &request.kind.plural,
        name,
        &why,
    ))
}

/// The priority comes from the class alone.
fn priority(api: &Api, object: &mut Value) -> Outcome<()> {
    let name = object["spec"]["priorityClassName"].as_str().unwrap_or("");
    let found = if name.is_empty() {
        default_priority_class(api)
    } else {
        let classes = api.store.collection("priorityclasses.scheduling.k8s.io");
        let found = classes.get(name);
        let why = format!("no PriorityClass with name {name} was found");
        Some(found.ok_or_else(|| refused(object, &why))?.value())
    };
    let class = found.unwrap_or_default();
    let value = class["value"].as_i64().unwrap_or(0);
    let policy = class["preemptionPolicy"].as_str();
    let policy = policy.unwrap_or("PreemptLowerPriority").to_owned();
    let spec = &object["spec"];
    let computed = |what: &str, given: &dyn std::fmt::Display, own: &dyn std::fmt::Display| {
        format!(
            "the {what} ({given}) must not be provided in pod spec; priority admission controller computed {own} from the \
             given PriorityClass name"
        )
    };
    if let Some(given) = spec["priority"].as_i64().filter(|given| *given != value) {
        let why = computed("integer value of priority", &given, &value);
        return Err(refused(object, &why));
    }
    if let Some(given) = spec["preemptionPolicy"].as_str().filter(|given| *given != policy) {
        let why = computed("string value of PreemptionPolicy", &given, &policy);
        return Err(refused(object, &why));
    }
    if !class.is_null() {
        object["spec"]["priorityClassName"] = meta(&class, "name").into();
    }
    object["spec"]["priority"] = value.into();
    object["spec"]["preemptionPolicy"] = policy.into();
    Ok(())
}

/// What a runtime class adds to its pods.
fn runtime_class(api: &Api, object: &mut Value) -> Outcome<()> {
    let name = object["spec"]["runtimeClassName"].as_str().unwrap_or("");
    let class = if name.is_empty() {
        Value::Null
    } else {
        let found = api.store.collection("runtimeclasses.node.k8s.io").get(name);
        let why = format!("pod rejected: RuntimeClass {name:?} not found");
        found.ok_or_else(|| refused(object, &why))?.value()
    };
    let fixed = &class["overhead"]["podFixed"];
    let given = &object["spec"]["overhead"];
    if fixed.is_null() && given.is_object() {
        let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
        return Err(refused(object, why));
    }
    if !fixed.is_null() {
        if !given.is_null() && given != fixed {
            let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
            return Err(refused(object, why));
        }
        object["spec"]["overhead"] = fixed.clone();
    }
    for (key, value) in class["scheduling"]["nodeSelector"]
        .as_object()
        .into_iter()
        .flatten()
    {
        let given = object["spec"]["nodeSelector"].get(key);
        if given.is_some_and(|given| given != value) {
            let why = format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = \
                 {}",
                value.as_str().unwrap_or(""),
                given.and_then(Value::as_str).unwrap_or("")
            );
            return Err(refused(object, &why));
        }
        object["spec"]["nodeSelector"][key.as_str()] = value.clone();
    }
    for own in class["scheduling"]["tolerations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        if let Some(list) = object["spec"]["tolerations"].as_array_mut() {
            if !list.contains(own) {
                list.push(own.clone());
            }
        } else {
            object["spec"]["tolerations"] = Value::Array(vec![own.clone()]);
        }
    }
    Ok(())
}

fn tolerations(object: &mut Value) {
    let mut list = object["spec"]["tolerations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let known = list.iter().any(|item| {
            let own = item["key"].as_str().unwrap_or("");
            let effect = item["effect"].as_str().unwrap_or("");
            (own == key || own.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        });
        if !known {
            list.push(
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
            );
        }
    }
    object["spec"]["tolerations"] = list.into();
}

fn mount_token(object: &mut Value) {
    const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let name = format!("kube-api-access-{}", name_suffix());
    let mut used = false;
    for field in ["initContainers", "containers"] {
        let list = object["spec"].get_mut(field).and_then(Value::as_array_mut);
        for container in list.into_iter().flatten() {
            let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
            if mounts.iter().any(|mount| mount["mountPath"] == PATH) {
                continue;
            }
            let mut mounts = mounts;
            mounts.push(json!({"name": name, "readOnly": true, "mountPath": PATH}));
            container["volumeMounts"] = mounts.into();
            used = true;
        }
    }
    if !used {
        return;
    }
    let mut volumes = object["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    volumes.push(json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}}));
    object["spec"]["volumes"] = volumes.into();
}

/// The newest object of a collection that an annotation marks as the default.
fn default_of(api: &Api, collection: &str, annotation: &str) -> Option<String> {
    let snapshot = api
        .store
        .collection(collection)
        .snapshot(&api.store, "", None, None)
        .ok()?;
    let marked = snapshot.objects.iter().map(|stored| stored.value());
    marked
        .filter(|value| value["metadata"]["annotations"][annotation] == "true")
        .max_by_key(|value| {
            (
                meta(value, "creationTimestamp").to_owned(),
                std::cmp::Reverse(meta(value, "name").to_owned()),
            )
        })
        .map(|value| meta(&value, "name").to_owned())
}

fn storage_class(api: &Api, object: &mut Value) -> Outcome<()> {
    if api.disabled.allows(Plugin::DefaultStorageClass) && object["spec"].get("storageClassName").is_none() {
        let found = default_of(
            api,
            "storageclasses.storage.k8s.io",
            "storageclass.kubernetes.io/is-default-class",
        );
        if let Some(name) = found {
            object["spec"]["storageClassName"] = name.into();
        }
    }
    if api.disabled.allows(Plugin::StorageObjectInUseProtection) {
        protect(object, "kubernetes.io/pvc-protection");
    }
    Ok(())
}

/// Adds a finalizer that keeps an object while it is used.
fn protect(object: &mut Value, finalizer: &str) {
    let finalizers = object["metadata"]["finalizers"].as_array();
    if finalizers.is_none_or(|list| !list.iter().any(|item| item == finalizer)) {
        let mut list = finalizers.cloned().unwrap_or_default();
        list.push(finalizer.into());
        object["metadata"]["finalizers"] = list.into();
    }
}

fn ingress_class(api: &Api, object: &mut Value) -> Outcome<()> {
    let old = &object["metadata"]["annotations"]["kubernetes.io/ingress.class"];
    if object["spec"].get("ingressClassName").is_none() && old.is_null() {
        let found = default_of(
            api,
            "ingressclasses.networking.k8s.io",
            "ingressclass.kubernetes.io/is-default-class",
        );
        if let Some(name) = found {
            object["spec"]["ingressClassName"] = name.into();
        }
    }
    Ok(())
}

/// Before an object is changed.
///
/// # Errors
/// The cluster does not take the change.
pub fn before_update(api: &Api, request: &Request, new: &mut Value, old: &Value) -> Outcome<()> {
    if request.target.subresource.is_empty() {
        crate::auth::escalation::check(api, request, new, Some(old))?;
        if request.kind.is("", "Pod") && api.disabled.allows(Plugin::DefaultTolerationSeconds) {
            tolerations(new);
        }
        if request.kind.is("", "Pod") && api.disabled.allows(Plugin::Priority) {
            // Whoever leaves out what was given to the pod does not take it away.
            for field in ["priority", "preemptionPolicy"] {
                if new["spec"][field].is_null() && !old["spec"][field].is_null() {
                    new["spec"][field] = old["spec"][field].clone();
                }
            }
        }
    }
    mutate(api, request, "UPDATE", new, old)
}

/// Takes the addresses and ports that a change asks for.
///
/// # Errors
/// None is left, or the one asked for is taken.
pub fn allocate(api: &Api, request: &Request, new: &mut Value, old: &Value) -> Outcome<()> {
    if request.kind.is("", "Service") && request.target.subresource.is_empty() {
        if request.dry_run {
            api.services.rehearse(new, Some(old))?;
        } else {
            api.services.allocate(new, Some(old))?;
        }
    }
    Ok(())
}

/// Before an object is deleted.
///
/// # Errors
/// It may not go.
pub fn before_delete(api: &Api, request: &Request, object: &Value) -> Outcome<()> {
    let name = request.target.name.as_str();
    if request.kind.is("", "Namespace") && matches!(name, "default" | "kube-system" | "kube-public") {
        return Err(Failure::forbidden(
            "",
            "namespaces",
            name,
            "this namespace may not be deleted",
        ));
    }
    let system = matches!(name, "system-node-critical" | "system-cluster-critical");
    if system && request.kind.is("scheduling.k8s.io", "PriorityClass") {
        let why = "this is a system priority class and cannot be deleted";
        return Err(Failure::forbidden(
            &request.kind.group,
            &request.kind.plural,
            name,
            why,
        ));
    }
    let context = policies::Context {
        request,
        operation: "DELETE",
        object: &Value::Null,
        old: object,
    };
    ask(api, &context)
}
