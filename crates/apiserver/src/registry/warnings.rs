//! What a server warns of although it takes it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::kinds::Kind;
use crate::request::Request;

/// Warns of what is doubtful in an object.
pub fn warn(request: &Request, kind: &Kind, object: &Value, old: &Value) {
    if kind.custom.is_some() {
        finalizers(request, object, old);
        return;
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => {
            let seccomp = "seccomp.security.alpha.kubernetes.io/pod";
            if !object["metadata"]["annotations"][seccomp].is_null() {
                request.warn(format!(
                    "metadata.annotations[{seccomp}]: non-functional in v1.27+; use the \"seccompProfile\" field instead"
                ));
            }
            pod(request, &object["spec"], "spec");
            host_addresses(request, &object["spec"]);
        }
        ("", "Service") => service(request, &object["spec"]),
        ("", "PersistentVolume") if object["spec"]["persistentVolumeReclaimPolicy"] == "Recycle" => {
            request.warn(
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended \
                 approach is to use dynamic provisioning."
                    .to_owned(),
            );
        }
        ("", "ReplicationController") | ("apps", _) | ("batch", "Job") => {
            pod(request, &object["spec"]["template"]["spec"], "spec.template.spec");
        }
        ("batch", "CronJob") => {
            let spec = &object["spec"]["jobTemplate"]["spec"]["template"]["spec"];
            pod(request, spec, "spec.jobTemplate.spec.template.spec");
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            let mut odd = std::collections::BTreeSet::new();
            for version in object["spec"]["versions"].as_array().into_iter().flatten() {
                formats(&version["schema"]["openAPIV3Schema"], &mut odd);
            }
            for format in odd {
                request.warn(format!("unrecognized format {format:?}"));
            }
        }
        ("networking.k8s.io", "Ingress") => {
            let class = "kubernetes.io/ingress.class";
            if !object["metadata"]["annotations"][class].is_null() {
                request.warn(format!(
                    "annotation {class:?} is deprecated, please use 'spec.ingressClassName' instead"
                ));
            }
        }
        _ => {}
    }
}

const OLD_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
];

fn pod(request: &Request, spec: &Value, path: &str) {
    for (old, new) in OLD_LABELS {
        if !spec["nodeSelector"][old].is_null() {
            request.warn(format!(
                "{path}.nodeSelector[{old}]: deprecated since v1.14; use \"{new}\" instead"
            ));
        }
    }
    let constraints = spec["topologySpreadConstraints"].as_array().into_iter().flatten();
    for (index, constraint) in constraints.enumerate() {
        if constraint["labelSelector"].is_null() {
            request.warn(format!(
                "{path}.topologySpreadConstraints[{index}].labelSelector: a null labelSelector results in matching no pod"
            ));
        }
    }
    pull_secrets(request, spec, path);
    for kind in ["podAffinity", "podAntiAffinity"] {
        let field = "requiredDuringSchedulingIgnoredDuringExecution";
        let terms = spec["affinity"][kind][field].as_array().into_iter().flatten();
        for (index, _) in terms
            .enumerate()
            .filter(|(_, term)| term["labelSelector"].is_null())
        {
            request.warn(format!(
                "{path}.affinity.{kind}.{field}[{index}].labelSelector: a null labelSelector results in matching no pod"
            ));
        }
    }
    if spec["terminationGracePeriodSeconds"]
        .as_i64()
        .is_some_and(|grace| grace < 0)
    {
        request.warn(format!(
            "{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    for field in ["initContainers", "containers"] {
        let list = spec[field].as_array().into_iter().flatten();
        for (index, container) in list.enumerate() {
            self::container(request, container, &format!("{path}.{field}[{index}]"));
        }
    }
}

/// Addresses of the machine without a port of it have no effect.
fn host_addresses(request: &Request, spec: &Value) {
    for field in ["initContainers", "containers"] {
        for (index, container) in spec[field].as_array().into_iter().flatten().enumerate() {
            let ports = container["ports"].as_array().into_iter().flatten();
            for (number, port) in ports.enumerate() {
                let text = |field: &str| port[field].as_str().unwrap_or("");
                if text("hostIP").is_empty() || port["hostPort"].as_i64().unwrap_or(0) != 0 {
                    continue;
                }
                request.warn(format!(
                    "spec.{field}[{index}].ports[{number}]: hostIP set without hostPort: {{Name:{} HostPort:0 \
                     ContainerPort:{} Protocol:{} HostIP:{}}}",
                    text("name"), port["containerPort"], text("protocol"), text("hostIP")
                ));
            }
        }
    }
}

/// Fields of a service that have no effect.
fn service(request: &Request, spec: &Value) {
    let set = |field: &str| !spec[field].as_str().unwrap_or("").is_empty();
    if set("externalName") && spec["type"] != "ExternalName" {
        request.warn("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    if spec["clusterIP"] == "None" {
        if set("loadBalancerIP") {
            request.warn("spec.loadBalancerIP is ignored for headless services".to_owned());
        }
        if spec["sessionAffinity"] == "ClientIP" {
            request.warn("spec.SessionAffinity is ignored for headless services".to_owned());
        }
    }
}

/// Secrets to pull images with, by their names.
fn pull_secrets(request: &Request, spec: &Value, path: &str) {
    let mut seen = std::collections::BTreeSet::new();
    for (index, secret) in spec["imagePullSecrets"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let name = secret["name"].as_str().unwrap_or("");
        let path = format!("{path}.imagePullSecrets[{index}].name");
        if name.is_empty() {
            request.warn(format!("{path}: invalid empty name {name:?}"));
        }
        if !seen.insert(name) {
            request.warn(format!("{path}: duplicate name {name:?}"));
        }
    }
}

fn container(request: &Request, container: &Value, path: &str) {
    for field in ["limits", "requests"] {
        for name in ["ephemeral-storage", "memory"] {
            let value = container["resources"][field][name].as_str().unwrap_or("");
            if value.ends_with('m') {
                request.warn(format!(
                    "{path}.resources.{field}[{name}]: fractional byte value {value:?} is invalid, must be an integer"
                ));
            }
        }
    }
    let mut seen = BTreeMap::new();
    for (index, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
        let name = variable["name"].as_str().unwrap_or("");
        if seen.insert(name, index).is_some() && !uses_itself(variable, name) {
            request.warn(format!(
                "{path}.env[{index}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
    let mut ports = BTreeMap::new();
    for (index, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
        let key = (
            port["containerPort"].as_i64(),
            port["protocol"].as_str().unwrap_or("TCP"),
        );
        if let Some(first) = ports.get(&key) {
            request.warn(format!(
                "{path}.ports[{index}]: duplicate port definition with {path}.ports[{first}]"
            ));
        } else {
            ports.insert(key, index);
        }
    }
}

/// A variable that builds on its earlier value hides nothing.
fn uses_itself(variable: &Value, name: &str) -> bool {
    let own = variable["value"].as_str().unwrap_or("");
    own.contains(&format!("$({name})"))
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

/// The formats of texts in a schema that nobody checks.
fn formats<'a>(schema: &'a Value, odd: &mut std::collections::BTreeSet<&'a str>) {
    if let Some(format) = schema["format"].as_str().filter(|_| schema["type"] == "string")
        && !FORMATS.contains(&format.replace('-', "").as_str())
    {
        odd.insert(format);
    }
    for below in schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, below)| below)
    {
        formats(below, odd);
    }
    for field in ["items", "additionalProperties"] {
        if schema[field].is_object() {
            formats(&schema[field], odd);
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
