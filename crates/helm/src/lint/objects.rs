//! The rules about rendered objects and about files of `crds/`.

use std::sync::LazyLock;

use fluvial_template::quote;
use fluvial_template::sprig::go_json_stream_error;
use regex::Regex;
use serde_json::Value as Json;

use super::{Findings, Severity};
use crate::capabilities::{Capabilities, KubeVersion};
use crate::chart::Chart;
use crate::metadata::{Reader, mismatch};
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
    for (index, document) in documents.iter().enumerate() {
        let stub = yaml_to_json(document).and_then(|object| Stub::read(&object));
        // What may be JSON is read as such first, and its error is the one that is told.
        let stub = stub.map_err(|error| match index == 0 && text.trim_start().starts_with('{') {
            true => broken(json_first(text, error)),
            false => broken(error),
        })?;
        let Some(stub) = stub else {
            continue;
        };
        if let Some(problem) = bad_name(&stub.kind, &stub.name) {
            findings.add(Severity::Warning, path, problem);
        }
        if let Some(problem) = deprecated(&stub.version, &stub.kind, &capabilities.kube_version) {
            findings.add(Severity::Warning, path, problem);
        }
        if matches!(
            stub.kind.as_str(),
            "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet"
        ) && !text.contains("matchLabels")
            && !text.contains("matchExpressions")
        {
            findings.add(
                Severity::Error,
                path,
                format!(
                    "a {} must contain matchLabels or matchExpressions, and {} does not",
                    stub.kind,
                    quote(&stub.name)
                ),
            );
        }
        if stub.kind == "List" {
            // The reference looks at the first document of the file, whichever this one is.
            match yaml_to_json(&documents[0]).and_then(|first| keeps_items(&first)) {
                Ok(false) => {}
                Ok(true) => findings.add(
                    Severity::Error,
                    path,
                    "annotation 'helm.sh/resource-policy' within List objects are ignored",
                ),
                Err(error) => findings.add(Severity::Error, path, broken(error)),
            }
        }
    }
    Ok(())
}

/// What is said of a text that is neither JSON nor YAML.
fn json_first(text: &str, error: String) -> String {
    go_json_stream_error(text).unwrap_or_else(|| {
        let bare = error.strip_prefix("error unmarshaling JSON: while decoding JSON: ");
        bare.map(str::to_owned).unwrap_or(error)
    })
}

/// What the rules know of an object.
#[derive(Default)]
struct Stub {
    version: String,
    kind: String,
    name: String,
}

impl Stub {
    /// Reads it as Go's decoder does: a field of the wrong kind is an error, null is nothing.
    fn read(object: &Json) -> Result<Option<Stub>, String> {
        let fields = match object {
            Json::Null => return Ok(None),
            Json::Object(fields) => fields,
            other => return Err(mismatch(other, "", "rules.k8sYamlStruct")),
        };
        let mut stub = Stub::default();
        let reader = Reader {
            fields,
            kind: "k8sYamlStruct",
        };
        reader.text("apiVersion", &mut stub.version)?;
        reader.text("Kind", &mut stub.kind)?;
        match reader.get("Metadata") {
            None | Some(Json::Null) => {}
            Some(Json::Object(fields)) => {
                let reader = Reader {
                    fields,
                    kind: "k8sYamlMetadata.Metadata",
                };
                reader.text("Name", &mut stub.name)?;
                reader.text("Namespace", &mut String::new())?;
            }
            Some(other) => return Err(mismatch(other, "k8sYamlStruct.Metadata", "rules.k8sYamlMetadata")),
        }
        Ok(Some(stub))
    }
}

/// Whether an item of a list asks to be kept, which nobody would hear.
fn keeps_items(list: &Json) -> Result<bool, String> {
    const METADATA: &str = "struct { Annotations map[string]string }";
    let item_type = format!("struct {{ Metadata {METADATA} }}");
    let within = |value: &Json, field: &str, name: &str, of: &str| match value {
        Json::Null => Ok(None),
        Json::Object(fields) => Ok(Reader { fields, kind: "" }.get(name).cloned()),
        other => Err(mismatch(other, field, of)),
    };
    let items = match within(list, "", "Items", &format!("struct {{ Items []{item_type} }}"))? {
        None | Some(Json::Null) => return Ok(false),
        Some(Json::Array(items)) => items,
        Some(other) => return Err(mismatch(&other, ".Items", &format!("[]{item_type}"))),
    };
    let mut keeps = false;
    for item in &items {
        let metadata = within(item, ".Items", "Metadata", &item_type)?.unwrap_or_default();
        let annotations = within(&metadata, ".Items.Metadata", "Annotations", METADATA)?;
        match annotations {
            None | Some(Json::Null) => {}
            Some(Json::Object(fields)) => {
                if let Some(odd) = fields
                    .values()
                    .find(|value| value.is_array() || value.is_object())
                {
                    return Err(mismatch(odd, ".Items.Metadata.Annotations", "string"));
                }
                keeps |= fields.contains_key("helm.sh/resource-policy");
            }
            Some(other) => {
                return Err(mismatch(
                    &other,
                    ".Items.Metadata.Annotations",
                    "map[string]string",
                ));
            }
        }
    }
    Ok(keeps)
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

/// What is said of an object of a kind that cannot have its name.
fn bad_name(kind: &str, name: &str) -> Option<String> {
    let shown = quote(name);
    let problems: Vec<String> = name_problems(kind, name)
        .into_iter()
        .map(|problem| format!("metadata.name: Invalid value: {shown}: {problem}"))
        .collect();
    let problems = match problems.as_slice() {
        [] => return None,
        [problem] => problem.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    Some(format!(
        "object name does not conform to Kubernetes naming requirements: {shown}: {problems}"
    ))
}

/// Why an object of a kind cannot have a name.
fn name_problems(kind: &str, name: &str) -> Vec<String> {
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
        "certificatesigningrequest" => return vec![],
        "namespace" => (1, 63, LABEL),
        "service" => (2, 63, SERVICE),
        _ => (0, 253, SUBDOMAIN),
    };
    let fits = |pattern: usize| {
        PATTERNS[pattern]
            .as_ref()
            .is_some_and(|pattern| pattern.is_match(name))
    };
    let mut problems = Vec::new();
    if name.len() > longest {
        problems.push(format!("must be no more than {longest} characters"));
    }
    if !fits(pattern) {
        problems.push(match pattern == 1 && fits(0) {
            true => "must not contain dots".to_owned(),
            false => message.to_owned(),
        });
    }
    problems
}

fn bad_segment(name: &str) -> Vec<String> {
    if matches!(name, "." | "..") {
        return vec![format!("may not be '{name}'")];
    }
    ['/', '%']
        .into_iter()
        .filter(|c| name.contains(*c))
        .map(|c| format!("may not contain '{c}'"))
        .collect()
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
            let stub = match yaml_to_json(document).and_then(|object| Stub::read(&object)) {
                Ok(None) => continue,
                Ok(Some(stub)) => stub,
                Err(error) => {
                    return findings.add(Severity::Error, path, format!("unable to parse YAML: {error}"));
                }
            };
            if !stub.version.starts_with("apiextensions.k8s.io") {
                findings.add(
                    Severity::Error,
                    path,
                    "apiVersion is not in 'apiextensions.k8s.io'",
                );
            }
            if stub.kind != "CustomResourceDefinition" {
                findings.add(
                    Severity::Error,
                    path,
                    "object kind is not 'CustomResourceDefinition'",
                );
            }
        }
    }
}
