//! Warnings about pods and their templates.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::addresses::address;
use super::storage;
use crate::kinds::Kind;
use crate::names;
use crate::request::Request;

/// Where kinds that make pods have the template.
pub(super) fn template(kind: &Kind) -> Option<&'static str> {
    Some(match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "ControllerRevision") => return None,
        ("", "ReplicationController") | ("apps", _) | ("batch", "Job") => "spec.template",
        ("batch", "CronJob") => "spec.jobTemplate.spec.template",
        ("", "PodTemplate") => "template",
        _ => return None,
    })
}

/// What is said of a label of nodes that has another name today.
pub(super) fn old_label(label: &str) -> Option<&'static str> {
    Some(match label {
        "beta.kubernetes.io/arch" => "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        "beta.kubernetes.io/os" => "deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "failure-domain.beta.kubernetes.io/region" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"
        }
        "failure-domain.beta.kubernetes.io/zone" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"
        }
        "beta.kubernetes.io/instance-type" => {
            "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"
        }
        "app.kubernetes.io/created-by" => "deprecated since v1.9",
        "scheduler.alpha.kubernetes.io/preferAvoidPods" => {
            "deprecated since v1.22; use Taints and Tolerations instead"
        }
        "node-role.kubernetes.io/master" => "use \"node-role.kubernetes.io/control-plane\" instead",
        _ => return None,
    })
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    value[field].as_array().into_iter().flatten().enumerate()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("")
}

/// A term that selects nodes; preferences do not have to have good values.
pub(super) fn node_term(request: &Request, term: &Value, preferred: bool, path: &str) {
    for (index, expression) in list(term, "matchExpressions") {
        let path = format!("{path}.matchExpressions[{index}]");
        let key = text(expression, "key");
        if let Some(why) = old_label(key) {
            request.warn(format!("{path}.key: {key} is {why}"));
        }
        let values = list(expression, "values").filter(|_| preferred);
        for (number, value) in values {
            let value = value.as_str().unwrap_or("");
            for why in names::label_value(value) {
                request.warn(format!("{path}.values[{number}]: {value} is invalid, {why}"));
            }
        }
    }
}

/// Warns of what is doubtful in a pod, or in the template at `path`.
pub(super) fn warn(request: &Request, spec: &Value, meta: &Value, path: &str) {
    let base = path;
    let join = |below: &str| {
        if base.is_empty() {
            below.to_owned()
        } else {
            format!("{base}.{below}")
        }
    };
    let path = join("spec");
    placement(request, spec, &path);
    annotations(request, meta, &join("metadata.annotations"));
    volumes(request, spec, &path);
    doubles(request, spec, &path);
    let seccomp = "seccomp.security.alpha.kubernetes.io/pod";
    if spec["securityContext"]["seccompProfile"].is_null() && !meta["annotations"][seccomp].is_null() {
        request.warn(format!(
            "{}[{seccomp}]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
            join("metadata.annotations")
        ));
    }
    each(spec, &path, &mut |container, path| {
        self::container(request, container, path)
    });
    ports(request, spec, &path);
    if spec["terminationGracePeriodSeconds"]
        .as_i64()
        .is_some_and(|grace| grace < 0)
    {
        request.warn(format!(
            "{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    affinity(request, spec, &path);
    for (index, server) in list(&spec["dnsConfig"], "nameservers") {
        address(request, server, &format!("{path}.dnsConfig.nameservers[{index}]"));
    }
    for (index, alias) in list(spec, "hostAliases") {
        address(request, &alias["ip"], &format!("{path}.hostAliases[{index}].ip"));
    }
}

fn each(spec: &Value, path: &str, visit: &mut dyn FnMut(&Value, &str)) {
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        for (index, container) in list(spec, field) {
            visit(container, &format!("{path}.{field}[{index}]"));
        }
    }
}

fn placement(request: &Request, spec: &Value, path: &str) {
    for (label, _) in spec["nodeSelector"].as_object().into_iter().flatten() {
        if let Some(why) = old_label(label) {
            request.warn(format!("{path}.nodeSelector[{label}]: {why}"));
        }
    }
    let nodes = &spec["affinity"]["nodeAffinity"];
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in list(&nodes[required], "nodeSelectorTerms") {
        let path = format!("{path}.affinity.nodeAffinity.{required}.nodeSelectorTerms[{index}]");
        node_term(request, term, false, &path);
    }
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in list(nodes, preferred) {
        let path = format!("{path}.affinity.nodeAffinity.{preferred}[{index}].preference");
        node_term(request, &term["preference"], true, &path);
    }
    for (index, constraint) in list(spec, "topologySpreadConstraints") {
        let path = format!("{path}.topologySpreadConstraints[{index}]");
        let key = text(constraint, "topologyKey");
        if let Some(why) = old_label(key) {
            request.warn(format!("{path}.topologyKey: {key} is {why}"));
        }
        if constraint["labelSelector"].is_null() {
            request.warn(format!(
                "{path}.labelSelector: a null labelSelector results in matching no pod"
            ));
        }
    }
}

fn annotations(request: &Request, meta: &Value, path: &str) {
    for (key, why) in [
        (
            "scheduler.alpha.kubernetes.io/critical-pod",
            "non-functional in v1.16+; use the \"priorityClassName\" field instead",
        ),
        (
            "security.alpha.kubernetes.io/sysctls",
            "non-functional in v1.11+; use the \"sysctls\" field instead",
        ),
        (
            "security.alpha.kubernetes.io/unsafe-sysctls",
            "non-functional in v1.11+; use the \"sysctls\" field instead",
        ),
    ] {
        if !meta["annotations"][key].is_null() {
            request.warn(format!("{path}[{key}]: {why}"));
        }
    }
}

/// Volumes whose drivers are gone, and files that are in each other's way.
fn volumes(request: &Request, spec: &Value, path: &str) {
    for (index, volume) in list(spec, "volumes") {
        let path = format!("{path}.volumes[{index}]");
        for (maker, shown, since) in [
            (
                "photonPersistentDisk",
                "photonPersistentDisk",
                "deprecated in v1.11, non-functional in v1.16+",
            ),
            (
                "gitRepo",
                "gitRepo",
                "deprecated in v1.11, and disabled by default in v1.33+",
            ),
            (
                "scaleIO",
                "scaleIO",
                "deprecated in v1.16, non-functional in v1.22+",
            ),
            (
                "flocker",
                "flocker",
                "deprecated in v1.22, non-functional in v1.25+",
            ),
            (
                "storageos",
                "storageOS",
                "deprecated in v1.22, non-functional in v1.25+",
            ),
            (
                "quobyte",
                "quobyte",
                "deprecated in v1.22, non-functional in v1.25+",
            ),
            (
                "glusterfs",
                "glusterfs",
                "deprecated in v1.25, non-functional in v1.26+",
            ),
        ] {
            if !volume[maker].is_null() {
                request.warn(format!("{path}.{shown}: {since}"));
            }
        }
        let claim = &volume["ephemeral"]["volumeClaimTemplate"]["spec"];
        storage::claim(
            request,
            claim,
            &format!("{path}.ephemeral.volumeClaimTemplate.spec"),
        );
        for maker in ["cephfs", "rbd"] {
            if !volume[maker].is_null() {
                let shown = if maker == "cephfs" { "cephfs" } else { "rbd" };
                request.warn(format!(
                    "{path}.{shown}: deprecated in v1.28, non-functional in v1.31+"
                ));
            }
        }
    }
    for (_, volume) in list(spec, "volumes") {
        overlaps(request, volume);
    }
}

/// A file of a volume, and where it comes from if the volume has several sources.
type File = (String, String);

fn shown((path, source): &File) -> String {
    if source.is_empty() {
        format!("{path:?}")
    } else {
        format!("{path:?} ({source})")
    }
}

/// Adds files to others, and says which of these are in their way.
fn add(files: Vec<File>, all: &mut Vec<File>) -> Vec<String> {
    let mut found = vec![];
    for (path, source) in files {
        let file = (path.trim_end_matches('/').to_owned(), source);
        let inside = |outer: &str, inner: &str| format!("{inner}/").starts_with(&format!("{outer}/"));
        for other in all
            .iter()
            .filter(|other| !other.0.is_empty() && !file.0.is_empty())
        {
            if inside(&file.0, &other.0) || inside(&other.0, &file.0) {
                found.push(format!("{} with {}", shown(&file), shown(other)));
            }
        }
        all.push(file);
    }
    found
}

fn items(source: &Value, name: &str) -> Vec<File> {
    list(source, "items")
        .map(|(_, item)| (text(item, "path").to_owned(), name.to_owned()))
        .collect()
}

/// The files that one source of a projected volume gives.
fn projected(source: &Value) -> Vec<File> {
    let one = |part: &Value, field: &str, name: String| -> Vec<File> {
        let path = text(part, field);
        if path.is_empty() {
            vec![]
        } else {
            vec![(path.to_owned(), name)]
        }
    };
    let [config, secret, down, token, bundle, certificate] = [
        "configMap",
        "secret",
        "downwardAPI",
        "serviceAccountToken",
        "clusterTrustBundle",
        "podCertificate",
    ]
    .map(|field| &source[field]);
    if !config.is_null() {
        items(config, &format!("ConfigMap {:?}", text(config, "name")))
    } else if !secret.is_null() {
        items(secret, &format!("Secret {:?}", text(secret, "name")))
    } else if !down.is_null() {
        items(down, "DownwardAPI")
    } else if !token.is_null() {
        vec![(text(token, "path").to_owned(), "ServiceAccountToken".to_owned())]
    } else if !bundle.is_null() {
        let name = bundle["name"]
            .as_str()
            .unwrap_or_else(|| text(bundle, "signerName"));
        let path = text(bundle, "path").to_owned();
        vec![(path, format!("ClusterTrustBundle {name:?}"))]
    } else {
        let mut files = one(certificate, "certificateChainPath", "PodCertificate chain".into());
        files.extend(one(certificate, "keyPath", "PodCertificate key".into()));
        let bundle = "PodCertificate credential bundle";
        files.extend(one(certificate, "credentialBundlePath", bundle.into()));
        files
    }
}

fn overlaps(request: &Request, volume: &Value) {
    let name = text(volume, "name");
    let say = |what: &str, found: Vec<String>| {
        for each in found {
            request.warn(format!("volume {name:?} ({what}): overlapping paths: {each}"));
        }
    };
    let (config, secret) = (&volume["configMap"], &volume["secret"]);
    let what = format!("ConfigMap {:?}", text(config, "name"));
    say(&what, add(items(config, ""), &mut vec![]));
    let what = format!("Secret {:?}", text(secret, "secretName"));
    say(&what, add(items(secret, ""), &mut vec![]));
    say("DownwardAPI", add(items(&volume["downwardAPI"], ""), &mut vec![]));
    let mut all = vec![];
    for (_, source) in list(&volume["projected"], "sources") {
        if source
            .as_object()
            .is_none_or(|source| source.values().all(Value::is_null))
        {
            request.warn(format!("volume {name:?} (Projected) has no sources provided"));
            continue;
        }
        say("Projected", add(projected(source), &mut all));
    }
}

/// Names and addresses that are there twice.
fn doubles(request: &Request, spec: &Value, path: &str) {
    let mut seen = BTreeSet::new();
    for (index, alias) in list(spec, "hostAliases") {
        let ip = text(alias, "ip");
        if !seen.insert(ip) {
            request.warn(format!("{path}.hostAliases[{index}].ip: duplicate ip {ip:?}"));
        }
    }
    let mut seen = BTreeSet::new();
    for (index, secret) in list(spec, "imagePullSecrets") {
        let name = text(secret, "name");
        if !seen.insert(name) {
            request.warn(format!(
                "{path}.imagePullSecrets[{index}].name: duplicate name {name:?}"
            ));
        }
    }
    for (index, secret) in list(spec, "imagePullSecrets") {
        let name = text(secret, "name");
        if name.is_empty() {
            request.warn(format!(
                "{path}.imagePullSecrets[{index}].name: invalid empty name {name:?}"
            ));
        }
    }
    for name in ["memory", "ephemeral-storage"] {
        storage::fraction(
            request,
            &spec["overhead"][name],
            &format!("{path}.overhead[{name}]"),
        );
    }
}

fn container(request: &Request, container: &Value, path: &str) {
    for name in ["memory", "ephemeral-storage"] {
        for field in ["limits", "requests"] {
            let path = format!("{path}.resources.{field}[{name}]");
            storage::fraction(request, &container["resources"][field][name], &path);
        }
    }
    let mut seen = BTreeSet::new();
    for (index, variable) in list(container, "env") {
        let name = text(variable, "name");
        if !seen.insert(name) && !builds_on_itself(variable, name) {
            request.warn(format!(
                "{path}.env[{index}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
}

/// A variable that builds on its earlier value hides nothing.
fn builds_on_itself(variable: &Value, name: &str) -> bool {
    let (own, itself) = (text(variable, "value"), format!("$({name})"));
    variable["valueFrom"].is_null() && own != itself && own.contains(&itself)
}

/// Ports of all containers, which share one address.
fn ports(request: &Request, spec: &Value, path: &str) {
    let mut all: BTreeMap<(i64, String), Vec<(String, &Value)>> = BTreeMap::new();
    let mut named: BTreeMap<&str, String> = BTreeMap::new();
    let mut of_names = vec![];
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        for (index, container) in list(spec, field) {
            for (number, port) in list(container, "ports") {
                let place = format!("{path}.{field}[{index}].ports[{number}]");
                one_port(request, port, &place, &mut all);
                let name = text(port, "name");
                if name.is_empty() {
                    continue;
                }
                match named.get(name) {
                    Some(other) => of_names.push(format!(
                        "{place}: duplicate port name {name:?} with {other}, services and probes that select ports by \
                         name will use {other}"
                    )),
                    None => {
                        named.insert(name, place);
                    }
                }
            }
        }
    }
    of_names.into_iter().for_each(|text| request.warn(text));
}

fn one_port<'a>(
    request: &Request,
    port: &'a Value,
    place: &str,
    all: &mut BTreeMap<(i64, String), Vec<(String, &'a Value)>>,
) {
    let host = |port: &Value| port["hostPort"].as_i64().unwrap_or(0);
    let ip = text(port, "hostIP");
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    if !ip.is_empty() && host(port) == 0 {
        request.warn(format!(
            "{place}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{protocol} \
             HostIP:{ip}}}",
            text(port, "name"),
            port["containerPort"]
        ));
    }
    let key = (port["containerPort"].as_i64().unwrap_or(0), protocol.to_owned());
    let others = all.entry(key).or_default();
    for (other_place, other) in others.iter() {
        let other_ip = text(other, "hostIP");
        let how = if ip == other_ip && host(port) == host(other) {
            "duplicate"
        } else if host(port) == 0 || host(other) == 0 {
            "overlapping"
        } else if host(port) == host(other) && ip.is_empty() != other_ip.is_empty() {
            "dangerously ambiguous"
        } else {
            continue;
        };
        request.warn(format!("{place}: {how} port definition with {other_place}"));
    }
    others.push((place.to_owned(), port));
}

fn affinity(request: &Request, spec: &Value, path: &str) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        let say = |path: String| {
            request.warn(format!(
                "{path}.labelSelector: a null labelSelector results in matching no pod"
            ));
        };
        for (index, term) in list(&spec["affinity"][kind], required) {
            if term["labelSelector"].is_null() {
                say(format!("{path}.affinity.{kind}.{required}[{index}]"));
            }
        }
        for (index, term) in list(&spec["affinity"][kind], preferred) {
            if term["podAffinityTerm"]["labelSelector"].is_null() {
                say(format!(
                    "{path}.affinity.{kind}.{preferred}[{index}].podAffinityTerm"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn files_of_volumes_are_in_each_others_way() {
        let file = |path: &str, source: &str| (path.to_owned(), source.to_owned());
        let found = add(vec![file("a", ""), file("a/b", ""), file("ab", "")], &mut vec![]);
        assert_eq!(found, ["\"a/b\" with \"a\""]);
        let mut all = vec![];
        add(
            projected(&json!({"serviceAccountToken": {"path": "t"}})),
            &mut all,
        );
        let other = projected(&json!({"secret": {"name": "s", "items": [{"key": "k", "path": "t/"}]}}));
        assert_eq!(
            add(other, &mut all),
            ["\"t\" (Secret \"s\") with \"t\" (ServiceAccountToken)"]
        );
    }

    #[test]
    fn a_variable_may_build_on_its_earlier_value() {
        assert!(builds_on_itself(&json!({"name": "A", "value": "x:$(A)"}), "A"));
        assert!(!builds_on_itself(&json!({"name": "A", "value": "$(A)"}), "A"));
        assert!(!builds_on_itself(&json!({"name": "A", "value": "x"}), "A"));
    }
}
