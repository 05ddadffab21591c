//! What a server warns of although it takes it.

use serde_json::Value;

use crate::kinds::Kind;
use crate::names;
use crate::request::Request;

mod addresses;
mod pods;
mod storage;

use addresses::{address, range};

/// Warns of what is doubtful in an object; `old` is null for a new one.
pub fn warn(request: &Request, kind: &Kind, object: &Value, old: &Value) {
    if kind.custom.is_some() {
        finalizers(request, object, old);
        return;
    }
    let group = kind.group.as_str();
    if let Some(path) = pods::template(kind) {
        workload(request, kind, path, object, old);
        return;
    }
    match (group, kind.kind.as_str()) {
        ("", "Pod") if old.is_null() => {
            hostname(request, object, "the Pod's hostname");
            pods::warn(request, &object["spec"], &object["metadata"], "");
        }
        ("", "Service") => service(request, object),
        ("", "Secret") if object["type"] == "kubernetes.io/tls" => {
            storage::key_pair(request, &object["data"])
        }
        ("", "Endpoints") => endpoints(request, object),
        ("", "Node") => each_range(request, &object["spec"]["podCIDRs"], "spec.podCIDRs"),
        ("", "ResourceQuota") if old.is_null() => storage::quota(request, &object["spec"]["hard"]),
        ("", "PersistentVolume") => storage::volume(request, object),
        ("", "PersistentVolumeClaim") => {
            storage::class_annotation(request, object);
            storage::claim(request, &object["spec"], "spec");
        }
        ("storage.k8s.io", "StorageClass") => storage::class(request, object),
        ("storage.k8s.io", "CSIDriver") => storage::driver(request, &object["spec"], &old["spec"]),
        ("node.k8s.io", "RuntimeClass") => {
            for (label, _) in object["scheduling"]["nodeSelector"]
                .as_object()
                .into_iter()
                .flatten()
            {
                if let Some(why) = pods::old_label(label) {
                    request.warn(format!("scheduling.nodeSelector: {why}"));
                }
            }
        }
        ("discovery.k8s.io", "EndpointSlice") => slice(request, object, old),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            let mut odd = std::collections::BTreeSet::new();
            for version in object["spec"]["versions"].as_array().into_iter().flatten() {
                formats(&version["schema"]["openAPIV3Schema"], &mut odd);
            }
            for format in odd {
                request.warn(format!("unrecognized format {format:?}"));
            }
        }
        ("networking.k8s.io", "Ingress") if old.is_null() => {
            let class = "kubernetes.io/ingress.class";
            if !object["metadata"]["annotations"][class].is_null()
                && object["spec"]["ingressClassName"].is_null()
            {
                request.warn(format!(
                    "annotation {class:?} is deprecated, please use 'spec.ingressClassName' instead"
                ));
            }
        }
        ("networking.k8s.io", "NetworkPolicy") => policy(request, &object["spec"]),
        _ => {}
    }
}

/// Kinds that make pods: their names, and their templates where these may have changed.
fn workload(request: &Request, kind: &Kind, path: &str, object: &Value, old: &Value) {
    let named = matches!(
        kind.kind.as_str(),
        "Deployment" | "ReplicaSet" | "ReplicationController" | "Job" | "CronJob"
    );
    if old.is_null() && named {
        hostname(request, object, "Pod names and hostnames");
    }
    let generation = |object: &Value| object["metadata"]["generation"].clone();
    if old.is_null() || generation(object) != generation(old) {
        let template = object
            .pointer(&format!("/{}", path.replace('.', "/")))
            .unwrap_or(&Value::Null);
        if matches!(kind.kind.as_str(), "Job" | "CronJob") {
            indexes(request, object, path);
        }
        pods::warn(request, &template["spec"], &template["metadata"], path);
    }
    if kind.is("apps", "StatefulSet") {
        let between = if old.is_null() { "" } else { ".Spec" };
        let claims = object["spec"]["volumeClaimTemplates"]
            .as_array()
            .into_iter()
            .flatten();
        for (index, claim) in claims.enumerate() {
            let path = format!("spec.volumeClaimTemplates[{index}]{between}");
            storage::claim(request, &claim["spec"], &path);
        }
        if object["spec"]["revisionHistoryLimit"]
            .as_i64()
            .is_some_and(|limit| limit < 0)
        {
            request.warn(
                "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is \
                 recommended",
            );
        }
    }
    let schedule = object["spec"]["schedule"].as_str().unwrap_or("");
    if kind.is("batch", "CronJob") && !old.is_null() && schedule.contains("TZ") {
        request.warn(
            "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see \
             https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details",
        );
    }
}

/// Names that become hostnames should be labels.
fn hostname(request: &Request, object: &Value, used: &str) {
    let name = object["metadata"]["name"].as_str().unwrap_or("");
    let odd = names::label(name);
    if !odd.is_empty() {
        request.warn(format!(
            "metadata.name: this is used in {used}, which can result in surprising behavior; a DNS label is \
             recommended: [{}]",
            odd.join(" ")
        ));
    }
}

/// Jobs with more indexes than can be kept account of.
fn indexes(request: &Request, object: &Value, path: &str) {
    let path = path.trim_end_matches(".template");
    let spec = object
        .pointer(&format!("/{}", path.replace('.', "/")))
        .unwrap_or(&Value::Null);
    let number = |field: &str| spec[field].as_i64().unwrap_or(0);
    if spec["completionMode"] == "Indexed"
        && number("completions") > 100_000
        && number("parallelism") > 10_000
    {
        request.warn(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than \
             10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
}

fn each_address(request: &Request, list: &Value, path: &str) {
    for (index, value) in list.as_array().into_iter().flatten().enumerate() {
        address(request, value, &format!("{path}[{index}]"));
    }
}

fn each_range(request: &Request, list: &Value, path: &str) {
    for (index, value) in list.as_array().into_iter().flatten().enumerate() {
        range(request, value, &format!("{path}[{index}]"));
    }
}

/// Fields of a service that have no effect or are going away.
fn service(request: &Request, object: &Value) {
    let (hints, mode) = (
        "service.kubernetes.io/topology-aware-hints",
        "service.kubernetes.io/topology-mode",
    );
    if !object["metadata"]["annotations"][hints].is_null() {
        request.warn(format!(
            "annotation {hints} is deprecated, please use {mode} instead"
        ));
    }
    let spec = &object["spec"];
    let set = |field: &str| !spec[field].as_str().unwrap_or("").is_empty();
    let outside = spec["externalIPs"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    let elsewhere = spec["type"] == "ExternalName";
    let headless = spec["type"] == "ClusterIP" && spec["clusterIP"] == "None";
    if set("clusterIP") && !headless {
        each_address(request, &spec["clusterIPs"], "spec.clusterIPs");
    }
    if headless {
        if set("loadBalancerIP") {
            request.warn("spec.loadBalancerIP is ignored for headless services");
        }
        if outside {
            request.warn("spec.externalIPs is ignored for headless services");
        }
        if spec["sessionAffinity"] != "None" {
            request.warn("spec.SessionAffinity is ignored for headless services");
        }
    }
    each_address(request, &spec["externalIPs"], "spec.externalIPs");
    if outside && !headless && !elsewhere {
        request.warn("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    }
    address(request, &spec["loadBalancerIP"], "spec.loadBalancerIP");
    each_range(
        request,
        &spec["loadBalancerSourceRanges"],
        "spec.loadBalancerSourceRanges",
    );
    if elsewhere && outside {
        request.warn("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    }
    if !elsewhere && set("externalName") {
        request.warn("spec.externalName is ignored when spec.type is not \"ExternalName\"");
    }
    if spec["trafficDistribution"] == "PreferClose" {
        request.warn("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
    }
}

fn endpoints(request: &Request, object: &Value) {
    for (index, subset) in object["subsets"].as_array().into_iter().flatten().enumerate() {
        for field in ["addresses", "notReadyAddresses"] {
            for (number, item) in subset[field].as_array().into_iter().flatten().enumerate() {
                address(
                    request,
                    &item["ip"],
                    &format!("subsets[{index}].{field}[{number}].ip"),
                );
            }
        }
    }
}

fn slice(request: &Request, object: &Value, old: &Value) {
    if old.is_null() && object["addressType"] == "FQDN" {
        request.warn("spec.addressType: FQDN endpoints are deprecated");
    }
    for (index, endpoint) in object["endpoints"].as_array().into_iter().flatten().enumerate() {
        each_address(
            request,
            &endpoint["addresses"],
            &format!("endpoints[{index}].addresses"),
        );
    }
}

/// Ranges of addresses in a network policy.
fn policy(request: &Request, spec: &Value) {
    for (field, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in spec[field].as_array().into_iter().flatten().enumerate() {
            for (number, peer) in rule[peers].as_array().into_iter().flatten().enumerate() {
                let path = format!("spec.{field}[{index}].{peers}[{number}].ipBlock");
                range(request, &peer["ipBlock"]["cidr"], &format!("{path}.cidr"));
                each_range(request, &peer["ipBlock"]["except"], &format!("{path}.except"));
            }
        }
    }
}

/// Formats of texts that are checked; dashes do not count.
const FORMATS: &[&str] = &[
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "k8sshortname",
    "k8slongname",
];

/// The formats in a schema that nobody checks: those of texts, or of numbers, for what is one.
fn formats<'a>(schema: &'a Value, odd: &mut std::collections::BTreeSet<&'a str>) {
    if let Some(format) = schema["format"].as_str().filter(|format| !format.is_empty()) {
        let known = match schema["type"].as_str().unwrap_or("") {
            "" | "string" => FORMATS.contains(&format.replace('-', "").as_str()),
            "integer" => matches!(format, "int32" | "int64"),
            "number" => matches!(format, "float" | "double"),
            _ => false,
        };
        if !known {
            odd.insert(format);
        }
    }
    let properties = schema["properties"].as_object().into_iter();
    for below in properties.flat_map(|all| all.values()) {
        formats(below, odd);
    }
    for field in ["items", "additionalProperties", "not"] {
        if schema[field].is_object() {
            formats(&schema[field], odd);
        }
    }
    for field in ["allOf", "anyOf", "oneOf"] {
        for below in schema[field].as_array().into_iter().flatten() {
            formats(below, odd);
        }
    }
}

/// Finalizers that are new and could be anybody's.
fn finalizers(request: &Request, object: &Value, old: &Value) {
    let list = |object: &Value| -> std::collections::BTreeSet<String> {
        let all = object["metadata"]["finalizers"].as_array().into_iter().flatten();
        all.filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    for name in list(object).difference(&list(old)) {
        if !name.contains('/') && !matches!(name.as_str(), "orphan" | "foregroundDeletion") {
            request.warn(format!(
                "metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name to avoid accidental conflicts \
                 with other finalizer writers"
            ));
        }
    }
}
