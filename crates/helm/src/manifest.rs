//! From rendered texts to manifests and hooks: splitting, reading heads, install order.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value as Json;

use crate::error::{Error, Stage};
use crate::metadata::{Reader, mismatch};
use crate::values::yaml_to_json;

/// A document of the release.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The template that made it.
    pub source: String,
    /// The line of the template's output at which it begins, from 0.
    pub line: usize,
    /// Its text.
    pub content: String,
    /// Its `kind`.
    pub kind: String,
    /// The document as JSON.
    pub object: Json,
}

/// A document that is applied at certain moments, not kept as part of the release.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The object's name.
    pub name: String,
    /// The object's kind.
    pub kind: String,
    /// The template that made it.
    pub path: String,
    /// The line of the template's output at which it begins, from 0.
    pub line: usize,
    /// Its text.
    pub manifest: String,
    /// `pre-install`, `test`, and so on.
    pub events: Vec<String>,
    /// Lighter hooks of an event run first.
    pub weight: i64,
    /// When it is deleted again.
    pub delete_policies: Vec<String>,
    /// When its pods' logs are shown.
    pub output_log_policies: Vec<String>,
    /// The document as JSON.
    pub object: Json,
}

impl Hook {
    /// Whether it is a test.
    #[must_use]
    pub fn is_test(&self) -> bool {
        self.events.iter().any(|event| event == "test")
    }
}

const EVENTS: [&str; 9] = [
    "pre-install",
    "post-install",
    "pre-delete",
    "post-delete",
    "pre-upgrade",
    "post-upgrade",
    "pre-rollback",
    "post-rollback",
    "test",
];

/// Kinds in the order in which they are installed.
const INSTALL_ORDER: [&str; 38] = [
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// Where a kind stands; unknown ones come last, by name.
pub(crate) fn rank(kind: &str) -> (usize, &str) {
    match INSTALL_ORDER.iter().position(|known| *known == kind) {
        Some(rank) => (rank, ""),
        None => (INSTALL_ORDER.len(), kind),
    }
}

/// The documents of a text. They are told apart by a pattern, not by YAML's rules.
pub(crate) fn split(text: &str) -> Vec<&str> {
    static SEPARATOR: LazyLock<Regex> = LazyLock::new(|| {
        #[expect(
            clippy::expect_used,
            reason = "the pattern is a constant that a test compiles"
        )]
        Regex::new(r"(?m)^---\s*").expect("the pattern is valid")
    });
    let text = text.trim_start();
    SEPARATOR
        .split(text)
        .filter(|document| !document.trim().is_empty())
        .map(str::trim_start)
        .collect()
}

/// A document of a template's output.
#[derive(Clone, Debug)]
pub(crate) enum Document {
    Manifest(Manifest),
    Hook(Hook),
}

/// The documents of what a template made.
pub(crate) fn read(path: &str, text: &str) -> Result<Vec<Document>, Error> {
    let mut documents = Vec::new();
    let (mut line, mut counted) = (0, 0);
    for document in split(text) {
        let head = read_head(document)
            .map_err(|error| Error::new(Stage::Manifest, format!("YAML parse error on {path}: {error}")))?;
        // The document is a part of the text.
        let start = document.as_ptr().addr() - text.as_ptr().addr();
        line += text[counted..start].matches('\n').count();
        counted = start;
        let Some(events) = head.annotation("helm.sh/hook") else {
            documents.push(Document::Manifest(Manifest {
                source: path.to_owned(),
                line,
                content: document.to_owned(),
                kind: head.kind,
                object: head.object,
            }));
            continue;
        };
        if let Some(events) = read_events(events) {
            documents.push(Document::Hook(Hook {
                events,
                weight: head
                    .annotation("helm.sh/hook-weight")
                    .and_then(|weight| weight.parse().ok())
                    .unwrap_or(0),
                delete_policies: head.policies("helm.sh/hook-delete-policy"),
                output_log_policies: head.policies("helm.sh/hook-output-log-policy"),
                path: path.to_owned(),
                line,
                manifest: document.to_owned(),
                name: head.name,
                kind: head.kind,
                object: head.object,
            }));
        }
    }
    Ok(documents)
}

/// Manifests and hooks of a release, each in install order.
pub(crate) fn sort(documents: impl IntoIterator<Item = Document>) -> (Vec<Manifest>, Vec<Hook>) {
    let (mut manifests, mut hooks) = (Vec::new(), Vec::new());
    for document in documents {
        match document {
            Document::Manifest(manifest) => manifests.push(manifest),
            Document::Hook(hook) => hooks.push(hook),
        }
    }
    manifests.sort_by(|a, b| rank(&a.kind).cmp(&rank(&b.kind)));
    hooks.sort_by(|a, b| rank(&a.kind).cmp(&rank(&b.kind)));
    (manifests, hooks)
}

/// The events of a hook; none if one of them is unknown: such a hook never runs.
fn read_events(text: &str) -> Option<Vec<String>> {
    text.split(',')
        .map(|event| {
            let event = event.trim().to_lowercase();
            let event = if event == "test-success" {
                "test".to_owned()
            } else {
                event
            };
            EVENTS.contains(&event.as_str()).then_some(event)
        })
        .collect()
}

struct Head {
    kind: String,
    name: String,
    annotations: BTreeMap<String, String>,
    object: Json,
}

impl Head {
    fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }

    fn policies(&self, name: &str) -> Vec<String> {
        let Some(text) = self.annotation(name) else {
            return Vec::new();
        };
        text.split(',')
            .map(|policy| policy.trim().to_lowercase())
            .collect()
    }
}

fn read_head(document: &str) -> Result<Head, String> {
    if fluvial_template::bytes::is_binary(document) {
        let problem = "error converting YAML to JSON: yaml: invalid leading UTF-8 octet";
        return Err(problem.to_owned());
    }
    let object = yaml_to_json(document)?;
    let mut head = Head {
        kind: String::new(),
        name: String::new(),
        annotations: BTreeMap::new(),
        object: Json::Null,
    };
    match &object {
        Json::Null => {}
        Json::Object(fields) => {
            let reader = Reader {
                fields,
                kind: "SimpleHead",
            };
            let mut version = String::new();
            reader.text("apiVersion", &mut version)?;
            reader.text("kind", &mut head.kind)?;
            match reader.get("metadata") {
                None | Some(Json::Null) => {}
                Some(Json::Object(fields)) => read_metadata(fields, &mut head)?,
                Some(other) => {
                    let kind = "struct { Name string \"json:\\\"name\\\"\"; Annotations map[string]string \
                                \"json:\\\"annotations\\\"\" }";
                    return Err(mismatch(other, "SimpleHead.metadata", kind));
                }
            }
        }
        other => return Err(mismatch(other, "", "util.SimpleHead")),
    }
    head.object = object;
    Ok(head)
}

fn read_metadata(fields: &serde_json::Map<String, Json>, head: &mut Head) -> Result<(), String> {
    let reader = Reader {
        fields,
        kind: "SimpleHead.metadata",
    };
    reader.text("name", &mut head.name)?;
    match reader.get("annotations") {
        None | Some(Json::Null) => Ok(()),
        Some(Json::Object(entries)) => {
            let reader = Reader {
                fields: entries,
                kind: "SimpleHead.metadata.annotations",
            };
            for key in entries.keys() {
                let mut text = String::new();
                reader
                    .text(key, &mut text)
                    .map_err(|error| error.replace(&format!("annotations.{key} of"), "annotations of"))?;
                head.annotations.insert(key.clone(), text);
            }
            Ok(())
        }
        Some(other) => Err(mismatch(
            other,
            "SimpleHead.metadata.annotations",
            "map[string]string",
        )),
    }
}
