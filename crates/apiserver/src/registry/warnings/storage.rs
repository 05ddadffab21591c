//! Warnings about volumes, claims, their classes and drivers, and quotas.

use fluvial_object::quantity::Quantity;
use serde_json::Value;

use super::pods::{node_term, old_label};
use crate::request::Request;

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";

/// A number of bytes that has a fraction.
pub(super) fn fraction(request: &Request, value: &Value, path: &str) {
    let text = value.as_str().unwrap_or("");
    if Quantity::parse(text).is_ok_and(|amount| amount.milli_value() % 1000 != 0) {
        request.warn(format!(
            "{path}: fractional byte value {text:?} is invalid, must be an integer"
        ));
    }
}

/// The annotation that named a class before there was a field.
pub(super) fn class_annotation(request: &Request, object: &Value) {
    if !object["metadata"]["annotations"][CLASS].is_null() {
        request.warn(format!(
            "metadata.annotations[{CLASS}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        ));
    }
}

/// What a claim asks for.
pub(super) fn claim(request: &Request, spec: &Value, path: &str) {
    for field in ["requests", "limits"] {
        let path = format!("{path}.resources.{field}[storage]");
        fraction(request, &spec["resources"][field]["storage"], &path);
    }
}

/// A volume, its annotations, the nodes that reach it, and makers whose drivers are gone.
pub(super) fn volume(request: &Request, object: &Value) {
    class_annotation(request, object);
    if !object["metadata"]["annotations"][OPTIONS].is_null() {
        request.warn(format!(
            "metadata.annotations[{OPTIONS}]: deprecated since v1.31; use \"mountOptions\" attribute instead"
        ));
    }
    let spec = &object["spec"];
    if spec["persistentVolumeReclaimPolicy"] == "Recycle" {
        request.warn(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended \
             approach is to use dynamic provisioning.",
        );
    }
    let terms = spec["nodeAffinity"]["required"]["nodeSelectorTerms"].as_array();
    for (index, term) in terms.into_iter().flatten().enumerate() {
        let path = format!("spec.nodeAffinity.required.nodeSelectorTerms[{index}]");
        node_term(request, term, false, &path);
    }
    for (maker, since) in [
        ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        (
            "photonPersistentDisk",
            "deprecated in v1.11, non-functional in v1.16+",
        ),
        ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ] {
        if !spec[maker].is_null() {
            let shown = if maker == "storageos" { "storageOS" } else { maker };
            request.warn(format!("spec.{shown}: {since}"));
        }
    }
}

/// Where the volumes of a class may be.
pub(super) fn class(request: &Request, object: &Value) {
    for (index, term) in object["allowedTopologies"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let expressions = term["matchLabelExpressions"].as_array().into_iter().flatten();
        for (number, expression) in expressions.enumerate() {
            if let Some(why) = old_label(expression["key"].as_str().unwrap_or("")) {
                request.warn(format!(
                    "allowedTopologies[{index}].matchLabelExpressions[{number}].key: {why}"
                ));
            }
        }
    }
}

/// Drivers that are given tokens, and do not say in which way.
pub(super) fn driver(request: &Request, spec: &Value, old: &Value) {
    let asks = spec["tokenRequests"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    if asks && spec["serviceAccountTokenInSecrets"].is_null() && spec["tokenRequests"] != old["tokenRequests"]
    {
        request.warn(
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent \
             possible logging of tokens in volume attributes",
        );
    }
}

/// Quotas that let more be requested than there may be.
pub(super) fn quota(request: &Request, hard: &Value) {
    for name in ["cpu", "memory", "ephemeral-storage"] {
        let mut asked = format!("requests.{name}");
        if hard[&asked].is_null() && name != "ephemeral-storage" {
            name.clone_into(&mut asked);
        }
        let limit = format!("limits.{name}");
        let text = |field: &str| hard[field].as_str().unwrap_or("").to_owned();
        let (request_text, limit_text) = (text(&asked), text(&limit));
        let (Ok(wanted), Ok(most)) = (Quantity::parse(&request_text), Quantity::parse(&limit_text)) else {
            continue;
        };
        if wanted > most {
            request.warn(format!(
                "ResourceQuota {asked} ({request_text}) should be less than {limit} ({limit_text})"
            ));
        }
    }
}

/// A certificate and its key, which a server could not use if they are not written as such.
pub(super) fn key_pair(request: &Request, data: &Value) {
    use base64::Engine as _;
    for (field, what) in [("tls.crt", "certificate"), ("tls.key", "key")] {
        let text = data[field].as_str().unwrap_or("");
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap_or_default();
        if !String::from_utf8_lossy(&bytes).contains("-----BEGIN ") {
            request.warn(format!("tls: failed to find any PEM data in {what} input"));
            return;
        }
    }
}
