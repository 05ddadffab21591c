//! What built-in kinds refuse. Each subject has its own file.

use fluvial_schema::FieldError;
use serde_json::Value;

use crate::api::Api;
use crate::kinds::Kind;

mod access;
mod autoscaling;
mod classes;
mod common;
mod core;
mod diff;
mod events;
mod finished;
mod flows;
mod jobs;
mod lasting;
mod network;
mod pods;
mod rare;
mod services;
mod shown;
mod status;
mod storage;
mod workloads;

/// A label selector must be one.
pub fn selector(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    common::selector(value, path, errors);
}

/// The checks of a kind.
fn check(kind: &Kind, object: &Value, errors: &mut Vec<FieldError>) {
    let name = kind.kind.as_str();
    match (kind.group.as_str(), name) {
        ("", "Namespace") => core::namespace(object, errors),
        ("", "Pod") => {
            pods::spec(&object["spec"], "spec", errors);
            pods::volumes::account_tokens(&object["spec"], errors);
        }
        ("", "Service") => network::service(object, errors),
        ("", "Endpoints") => network::endpoints(object, errors),
        ("", "PersistentVolumeClaim") => storage::claim(object, errors),
        ("", "PersistentVolume") => storage::volume(object, errors),
        ("", "ResourceQuota") => storage::quota(object, errors),
        ("", "LimitRange") => storage::limits(object, errors),
        ("", "PodTemplate") => workloads::template(&object["template"], "template", false, errors),
        ("", "ReplicationController") | ("apps" | "batch", _) => workloads::validate(name, object, errors),
        ("networking.k8s.io", "Ingress") => network::ingress(object, errors),
        ("networking.k8s.io", "IngressClass") => network::ingress_class(object, errors),
        ("networking.k8s.io", "NetworkPolicy") => network::policy(object, errors),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => {
            access::role(object, name == "ClusterRole", errors);
        }
        ("rbac.authorization.k8s.io", _) => access::binding(object, name == "ClusterRoleBinding", errors),
        ("admissionregistration.k8s.io", _) => {
            crate::admission::policies::check::validate(kind, object, errors)
        }
        ("apiregistration.k8s.io", "APIService") => core::api_service(object, errors),
        ("coordination.k8s.io", "Lease") => storage::lease(object, errors),
        ("node.k8s.io", "RuntimeClass") => {
            rare::handler(object, errors);
            classes::runtime(object, errors);
        }
        ("autoscaling", "HorizontalPodAutoscaler") => {
            let mut newest = object.clone();
            crate::convert::builtin_to_storage(kind, &mut newest);
            autoscaling::autoscaler(&newest, errors);
        }
        ("policy", "PodDisruptionBudget") => classes::budget(object, errors),
        ("scheduling.k8s.io", "PriorityClass") => classes::priority(object, errors),
        ("storage.k8s.io", "StorageClass") => classes::storage(object, errors),
        ("storage.k8s.io", "CSIDriver") => classes::driver(object, errors),
        ("discovery.k8s.io", "EndpointSlice") => classes::slice(object, errors),
        ("", "Node") => lasting::taints(&object["spec"], errors),
        _ if rare::validate(kind, object, errors) => {}
        _ => core::validate(kind, object, errors),
    }
}

/// What a kind's objects keep for life.
fn fixed(kind: &Kind, new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Service") => network::service_fixed(new, old, errors),
        ("", "PersistentVolumeClaim") => storage::claim_fixed(new, old, errors),
        ("", "ResourceQuota") => storage::quota_fixed(new, old, errors),
        ("", "PersistentVolume") => storage::volume_fixed(new, old, errors),
        ("apps", "StatefulSet") => workloads::stateful_fixed(new, old, errors),
        ("apps", "ControllerRevision") => workloads::revision_fixed(new, old, errors),
        ("storage.k8s.io", "StorageClass") => {
            let fields = &["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"];
            storage::fixed_fields(new, old, fields, errors);
        }
        ("node.k8s.io", "RuntimeClass") => storage::fixed_fields(new, old, &["handler"], errors),
        ("scheduling.k8s.io", "PriorityClass") => {
            if new["value"] != old["value"] {
                errors.push(common::forbidden("value", "may not be changed in an update."));
            }
            storage::fixed_fields(new, old, &["preemptionPolicy"], errors);
        }
        _ => {}
    }
}

/// What is wrong with a state that is written alone is told by the names that it has below.
fn of_status(error: &mut FieldError) {
    if let Some(rest) = error.detail.strip_prefix("status.")
        && rest.contains(" in body ")
    {
        error.detail = rest.to_owned();
    }
}

/// Errors of a new object beyond its metadata.
pub fn create(_api: &Api, kind: &Kind, object: &Value, errors: &mut Vec<FieldError>) {
    if let Some(custom) = &kind.custom {
        if let Some(schema) = &custom.schema {
            errors.extend(schema.validate(object, None));
        }
        return;
    }
    if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        errors.extend(crate::crd::definition::validate(object, None));
        return;
    }
    if kind.kind == "Event" {
        events::create(kind, object, errors);
        return;
    }
    check(kind, object, errors);
    if kind.is("networking.k8s.io", "Ingress") {
        classes::class_twice(object, errors);
    }
    if kind.is("", "Service") {
        services::addresses(&object["spec"], errors);
    }
    if kind.is("", "Pod") && !common::is_empty(&object["spec"]["ephemeralContainers"]) {
        errors.push(common::forbidden(
            "spec.ephemeralContainers",
            "cannot be set on create",
        ));
    }
}

/// Errors of a changed object beyond its metadata.
pub fn update(
    _api: &Api,
    kind: &Kind,
    new: &Value,
    old: &Value,
    subresource: &str,
    errors: &mut Vec<FieldError>,
) {
    if let Some(custom) = &kind.custom {
        let Some(schema) = &custom.schema else {
            return;
        };
        let mut found = schema.validate(new, Some(old));
        if subresource == "status" {
            found.iter_mut().for_each(of_status);
        }
        errors.extend(found);
        return;
    }
    if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        if subresource.is_empty() {
            errors.extend(crate::crd::definition::validate(new, Some(old)));
        }
        return;
    }
    if subresource == "status" {
        status::validate(kind, new, old, errors);
    }
    if kind.is("", "Pod") {
        match subresource {
            "" => {
                check(kind, new, errors);
                pods::update::update(new, old, errors);
            }
            "ephemeralcontainers" => {
                check(kind, new, errors);
                pods::update::ephemeral(new, old, errors);
            }
            "resize" => {
                check(kind, new, errors);
                pods::update::resize(new, old, errors);
            }
            _ => {}
        }
        return;
    }
    if kind.is("certificates.k8s.io", "CertificateSigningRequest") && !subresource.is_empty() {
        rare::signed(new, old, subresource, errors);
    }
    if !subresource.is_empty() {
        return;
    }
    if kind.kind == "Event" {
        events::update(kind, new, old, errors);
        return;
    }
    if !lasting::before(kind, new, old, errors) {
        return;
    }
    if kind.is("apps", "StatefulSet") {
        workloads::stateful_again(new, errors);
    } else {
        check(kind, new, errors);
    }
    if kind.is("", "PersistentVolume") {
        // Changed volumes are looked at twice.
        check(kind, new, errors);
    }
    if kind.is("batch", "Job") {
        // Changed jobs are looked at twice.
        core::job_selector(new, true, errors);
        check(kind, new, errors);
        core::job_selector(new, false, errors);
    }
    lasting::after(kind, new, old, errors);
    core::immutable(kind, new, old, errors);
    fixed(kind, new, old, errors);
}
