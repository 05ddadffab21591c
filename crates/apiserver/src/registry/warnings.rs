//! What a server warns of although it takes it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::kinds::Kind;
use crate::request::Request;

/// Warns of what is doubtful in an object.
pub fn warn(request: &Request, kind: &Kind, object: &Value) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => {
            let seccomp = "seccomp.security.alpha.kubernetes.io/pod";
            if !object["metadata"]["annotations"][seccomp].is_null() {
                request.warn(format!(
                    "metadata.annotations[{seccomp}]: non-functional in v1.27+; use the \"seccompProfile\" field instead"
                ));
            }
            pod(request, &object["spec"], "spec");
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
    for field in ["initContainers", "containers"] {
        let list = spec[field].as_array().into_iter().flatten();
        for (index, container) in list.enumerate() {
            self::container(request, container, &format!("{path}.{field}[{index}]"));
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
