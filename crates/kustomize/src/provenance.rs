//! What `buildMetadata` records of an object's way through a build.

use std::sync::Arc;

use fluvial_yaml::{EmitOptions, Node};

use crate::nodes::{self, string};
use crate::remote::RepoSpec;
use crate::resource::Resource;

/// Where something came from, as `config.kubernetes.io/origin` says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    path: String,
    repository: String,
    reference: String,
    configured_in: String,
    configured_by: Option<ConfiguredBy>,
}

/// The configuration of a generator or transformer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ConfiguredBy {
    api_version: String,
    kind: String,
    name: String,
    namespace: String,
}

/// Joins paths and resolves `.` and `..` as far as they go.
fn join(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.join("/")
}

impl Trace {
    /// One step further: a path, or another repository.
    pub(crate) fn append(&self, path: &str) -> Trace {
        match RepoSpec::parse(path) {
            Ok(spec) => Trace {
                repository: spec.clone_url(),
                reference: spec.reference,
                // The reference names its placeholder for the clone where a folder is missing.
                path: join(
                    "",
                    if spec.path.is_empty() {
                        "notCloned"
                    } else {
                        &spec.path
                    },
                ),
                ..self.clone()
            },
            Err(_) => Trace {
                path: join(&self.path, path),
                ..self.clone()
            },
        }
    }

    /// A generator or transformer that a kustomization's field configures.
    pub(crate) fn built_in(&self, file: &str, kind: &str) -> Trace {
        Trace {
            path: String::new(),
            repository: self.repository.clone(),
            reference: self.reference.clone(),
            configured_in: join(&self.path, file),
            configured_by: Some(ConfiguredBy {
                api_version: "builtin".to_owned(),
                kind: kind.to_owned(),
                ..ConfiguredBy::default()
            }),
        }
    }

    /// A generator or transformer that an object configures.
    pub(crate) fn configured(resource: &Resource) -> Option<Arc<Trace>> {
        let own = resource.trace.as_ref()?;
        Some(Arc::new(Trace {
            path: String::new(),
            repository: own.repository.clone(),
            reference: own.reference.clone(),
            configured_in: own.path.clone(),
            configured_by: Some(ConfiguredBy {
                api_version: resource.api_version().to_owned(),
                kind: resource.kind().to_owned(),
                name: resource.name().to_owned(),
                namespace: resource.namespace().to_owned(),
            }),
        }))
    }

    /// As a mapping, empty parts left out.
    fn to_node(&self) -> Node {
        let mut node = object(&[
            ("path", &self.path),
            ("repo", &self.repository),
            ("ref", &self.reference),
            ("configuredIn", &self.configured_in),
        ]);
        if let Some(by) = &self.configured_by {
            let by = object(&[
                ("apiVersion", &by.api_version),
                ("kind", &by.kind),
                ("name", &by.name),
                ("namespace", &by.namespace),
            ]);
            nodes::put(&mut node, "configuredBy", by);
        }
        node
    }

    /// The annotation's text.
    pub(crate) fn to_text(&self) -> String {
        fluvial_yaml::emit(&self.to_node(), &EmitOptions::default())
    }

    /// The annotation's text for several.
    pub(crate) fn list_to_text(list: &[Arc<Trace>]) -> String {
        let items = list.iter().map(|trace| trace.to_node()).collect();
        fluvial_yaml::emit(&Node::sequence(items), &EmitOptions::default())
    }
}

fn object(fields: &[(&str, &str)]) -> Node {
    let mut node = Node::mapping(Vec::new());
    for (name, text) in fields {
        if !text.is_empty() {
            nodes::put(&mut node, name, string(text).to_node());
        }
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_repositories_start_anew() {
        let trace = Trace::default().append("../base").append("a.yaml");
        assert_eq!(trace.path, "../base/a.yaml");
        let remote = trace.append("https://github.com/o/r/x?ref=v1").append("y.yaml");
        assert_eq!(
            (&*remote.path, &*remote.repository, &*remote.reference),
            ("x/y.yaml", "https://github.com/o/r", "v1")
        );
    }
}
