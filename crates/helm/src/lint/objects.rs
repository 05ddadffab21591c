//! The rules about rendered objects and about files of `crds/`.

use std::sync::LazyLock;

use fluvial_template::quote;
use regex::Regex;
use serde_json::Value as Json;

use super::{Findings, Severity};
use crate::capabilities::{Capabilities, KubeVersion};
use crate::chart::Chart;
use crate::values::yaml_to_json;

/// Checks what a template made; an error ends the look at templates.
pub(super) fn check(
    path: &str,
    text: &str,
    capabilities: &Capabilities,
    findings: &mut Findings,
) -> Result<(), String> {
    if let Some(line) = text.lines().find(|line| !line.trim().is_empty())
        && line.starts_with([' ', '\t'])
    {
        findings.add(
            Severity::Warning,
            path,
            format!(
                "document starts with an illegal indent: {}, which may cause parsing problems",
                quote(line)
            ),
        );
    }
    let broken = |error: String| format!("unable to parse YAML: {error}");
    let documents = fluvial_yaml::split_documents(text)
        // The reference spells it in its own way here.
        .map_err(|error| broken(error.message.replace("YAML document", "Yaml document")))?;
    let first = documents.first().and_then(|document| yaml_to_json(document).ok());
    for document in &documents {
        let object = yaml_to_json(document).map_err(broken)?;
        if !object.is_object() {
            continue;
        }
        let kind = object["kind"].as_str().unwrap_or_default();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if let Some(problem) = bad_name(kind, name) {
            findings.add(
                Severity::Warning,
                path,
                format!(
                    "object name does not conform to Kubernetes naming requirements: {0}: metadata.name: Invalid \
                     value: {0}: {problem}",
                    quote(name)
                ),
            );
        }
        let version = object["apiVersion"].as_str().unwrap_or_default();
        if let Some(problem) = deprecated(version, kind, &capabilities.kube_version) {
            findings.add(Severity::Warning, path, problem);
        }
        if matches!(kind, "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet")
            && !text.contains("matchLabels")
            && !text.contains("matchExpressions")
        {
            findings.add(
                Severity::Error,
                path,
                format!(
                    "a {kind} must contain matchLabels or matchExpressions, and {} does not",
                    quote(name)
                ),
            );
        }
        if kind == "List" && first.as_ref().is_some_and(keeps_items) {
            findings.add(
                Severity::Error,
                path,
                "Annotation 'helm.sh/resource-policy' within List objects are ignored",
            );
        }
    }
    Ok(())
}

/// Whether an item of a list asks to be kept, which nobody would hear.
fn keeps_items(list: &Json) -> bool {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .filter_map(|item| item["metadata"]["annotations"].as_object())
        .any(|annotations| annotations.contains_key("helm.sh/resource-policy"))
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
                         '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used \
                         for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                     start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for \
                     validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SERVICE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                       alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', \
                       regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// Why an object of a kind cannot have a name.
fn bad_name(kind: &str, name: &str) -> Option<String> {
    static PATTERNS: LazyLock<[Option<Regex>; 3]> = LazyLock::new(|| {
        [
            r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
            r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
        ]
        .map(|pattern| Regex::new(pattern).ok())
    });
    let (pattern, longest, message) = match kind.to_lowercase().as_str() {
        "role" | "clusterrole" | "rolebinding" | "clusterrolebinding" => return bad_segment(name),
        "certificatesigningrequest" => return None,
        "namespace" => (1, 63, LABEL),
        "service" => (2, 63, SERVICE),
        _ => (0, 253, SUBDOMAIN),
    };
    if name.len() > longest {
        return Some(format!("must be no more than {longest} characters"));
    }
    let fits = PATTERNS[pattern]
        .as_ref()
        .is_some_and(|pattern| pattern.is_match(name));
    (!fits).then(|| message.to_owned())
}

fn bad_segment(name: &str) -> Option<String> {
    if matches!(name, "." | "..") {
        return Some(format!("may not be '{name}'"));
    }
    ['/', '%']
        .into_iter()
        .find(|c| name.contains(*c))
        .map(|c| format!("may not contain '{c}'"))
}

/// What is said of a kind that is going away.
fn deprecated(version: &str, kind: &str, cluster: &KubeVersion) -> Option<String> {
    const TABLE: &str = include_str!("deprecations.txt");
    let row = TABLE.lines().find_map(|line| {
        let rest = line.strip_prefix(version)?.strip_prefix(' ')?;
        rest.strip_prefix(kind)?.strip_prefix(' ')
    })?;
    let mut words = row.split(' ');
    let (since, gone) = (words.next()?, words.next()?);
    if !reached(since, cluster) {
        return None;
    }
    let gone = if gone == "-" {
        String::new()
    } else {
        format!(", unavailable in v{gone}+")
    };
    let successor: Vec<&str> = words.collect();
    let successor = if successor.is_empty() {
        String::new()
    } else {
        format!("; use {}", successor.join(" "))
    };
    Some(format!(
        "{version} {kind} is deprecated in v{since}+{gone}{successor}"
    ))
}

/// Whether a cluster is at least of a version.
fn reached(since: &str, cluster: &KubeVersion) -> bool {
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let (major, minor) = since.split_once('.').unwrap_or((since, "0"));
    (number(&cluster.major), number(&cluster.minor)) >= (number(major), number(minor))
}

/// Files of `crds/` hold definitions and nothing else.
pub(super) fn check_crds(chart: &Chart, findings: &mut Findings) {
    for file in chart.crd_files() {
        let path = &file.name;
        let documents = match fluvial_yaml::split_documents(&file.text()) {
            Ok(documents) => documents,
            Err(error) => {
                return findings.add(Severity::Error, path, format!("unable to parse YAML: {error}"));
            }
        };
        for document in &documents {
            let object = match yaml_to_json(document) {
                Ok(Json::Null) => continue,
                Ok(object) => object,
                Err(error) => {
                    return findings.add(Severity::Error, path, format!("unable to parse YAML: {error}"));
                }
            };
            let version = object["apiVersion"].as_str().unwrap_or_default();
            if !version.starts_with("apiextensions.k8s.io") {
                findings.add(
                    Severity::Error,
                    path,
                    "apiVersion is not in 'apiextensions.k8s.io'",
                );
            }
            if object["kind"] != "CustomResourceDefinition" {
                findings.add(
                    Severity::Error,
                    path,
                    "object kind is not 'CustomResourceDefinition'",
                );
            }
        }
    }
}
