//! `tree`: what a Kustomization (or an ArtifactGenerator) made, and what that made in turn.

use fluvial_helm::release;
use fluvial_object::ObjectExt;
use fluvial_ports::{BoxFuture, Cluster, Select, Target};
use serde::Serialize;
use serde_json::Value;

use super::not_found;
use crate::environment::{Failure, Outcome, Session};
use crate::nouns::{self, Noun};
use crate::output::{Format, write_value};
use crate::state::{self, field, text};

/// Options of `tree`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Only objects that are reconciled themselves.
    #[arg(long)]
    pub compact: bool,
    /// Print values instead of a drawing.
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// Group and kind, in flux's spelling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct GroupKind {
    #[serde(rename = "Group")]
    group: String,
    #[serde(rename = "Kind")]
    kind: String,
}

/// One object, in flux's spelling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Id {
    #[serde(rename = "Namespace")]
    namespace: String,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "GroupKind")]
    group_kind: GroupKind,
}

impl Id {
    fn new(namespace: &str, name: &str, group: &str, kind: &str) -> Self {
        Id {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            group_kind: GroupKind {
                group: group.to_owned(),
                kind: kind.to_owned(),
            },
        }
    }

    /// From an inventory id: `<namespace>_<name>_<group>_<kind>`, `__` in names for `:`.
    fn parse(id: &str) -> Option<Self> {
        let (namespace, rest) = id.split_once('_')?;
        let (rest, kind) = rest.rsplit_once('_')?;
        let (name, group) = rest.rsplit_once('_')?;
        Some(Id::new(namespace, &name.replace("__", ":"), group, kind))
    }

    fn shown(&self) -> String {
        match self.namespace.as_str() {
            "" => format!("{}/{}", self.group_kind.kind, self.name),
            namespace => format!("{}/{namespace}/{}", self.group_kind.kind, self.name),
        }
    }
}

/// An object with those that it made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Branch {
    resource: Id,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<Branch>,
}

/// Deeper than any fleet: a Kustomization that contains itself ends here.
const DEEPEST: usize = 32;

/// Draws the tree of an object.
pub(crate) async fn run(
    session: &mut Session<'_>,
    noun: &'static Noun,
    name: &str,
    options: &Options,
) -> Outcome {
    let cluster = session.cluster().await?;
    let resource = noun.resource();
    let namespace = session.global.namespace.clone();
    let target = Target {
        resource: &resource,
        namespace: &namespace,
        name,
    };
    let object = cluster.get(target).await?.ok_or_else(|| not_found(noun, name))?;
    let info = noun.info();
    let root = Branch {
        resource: Id::new(&namespace, name, info.group, info.kind),
        resources: children(cluster.as_ref(), &object, options.compact, DEEPEST).await?,
    };
    match options.output {
        None => {
            let mut text = root.resource.shown() + "\n";
            draw(&root.resources, "", &mut text);
            session.print(&(text + "\n"))
        }
        // A struct keeps flux's order of fields, which a value would sort.
        Some(Format::Json) => session.print(&(serde_json::to_string_pretty(&root)? + "\n")),
        Some(Format::Yaml) => write_value(session, &serde_json::to_value(&root)?, Format::Yaml),
    }
}

fn children<'a>(
    cluster: &'a dyn Cluster,
    object: &'a Value,
    compact: bool,
    depth: usize,
) -> BoxFuture<'a, Result<Vec<Branch>, Failure>> {
    Box::pin(async move {
        let mut branches = vec![];
        let mut made = made_by(object);
        if made.is_empty() && state::kind(object) == "HelmRelease" {
            made = stored(cluster, object).await?;
        }
        for id in made {
            if compact && !id.group_kind.group.ends_with("fluxcd.io") {
                continue;
            }
            let mut resources = vec![];
            let itself = id.name == state::name(object)
                && id.namespace == state::namespace(object)
                && id.group_kind.kind == state::kind(object);
            if depth > 0
                && !itself
                && let Some(noun) = nouns::of_kind(&id.group_kind.kind)
                && noun.info().group == id.group_kind.group
            {
                let resource = noun.resource();
                let target = Target {
                    resource: &resource,
                    namespace: &id.namespace,
                    name: &id.name,
                };
                if let Some(child) = cluster.get(target).await? {
                    resources = children(cluster, &child, compact, depth - 1).await?;
                }
            }
            branches.push(Branch {
                resource: id,
                resources,
            });
        }
        Ok(branches)
    })
}

/// Ids of the objects of a release by what is stored of it: older definitions have no inventory in the status.
async fn stored(cluster: &dyn Cluster, object: &Value) -> Result<Vec<Id>, Failure> {
    let (Some(namespace), Some(name)) = (
        text(object, &["status", "storageNamespace"]),
        object.pointer("/status/history/0/name").and_then(Value::as_str),
    ) else {
        return Ok(vec![]);
    };
    let secrets = cluster.resource("v1", "Secret").await?;
    let select = Select {
        namespace: Some(namespace.to_owned()),
        labels: Some(release::storage_selector(name)),
        ..Select::default()
    };
    let found = cluster.list(&secrets, &select).await?;
    let versions = found.iter().flat_map(release::read_object).collect();
    let history = release::History::new(versions);
    let Some(last) = history.current() else {
        return Ok(vec![]);
    };
    let objects = release::objects_of(&last.manifest).map_err(|error| Failure::new(error.to_string()))?;
    let mut ids = vec![];
    for one in objects {
        let id = one.object.id();
        let api_version = one.object.api_version();
        let namespaced = cluster
            .resource(api_version, &id.kind)
            .await
            .is_ok_and(|resource| resource.namespaced);
        let own = if namespaced && id.namespace.is_empty() {
            last.namespace.as_str()
        } else {
            id.namespace.as_str()
        };
        ids.push(Id::new(own, &id.name, &id.group, &id.kind));
    }
    Ok(ids)
}

/// Ids of the objects that an object says it made.
fn made_by(object: &Value) -> Vec<Id> {
    let list = |path: &[&str]| {
        field(object, path)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    match state::kind(object) {
        "Kustomization" | "HelmRelease" => list(&["status", "inventory", "entries"])
            .iter()
            .filter_map(|entry| Id::parse(text(entry, &["id"])?))
            .collect(),
        "ArtifactGenerator" => list(&["status", "inventory"])
            .iter()
            .filter_map(|entry| {
                let group = "source.toolkit.fluxcd.io";
                Some(Id::new(
                    text(entry, &["namespace"])?,
                    text(entry, &["name"])?,
                    group,
                    "ExternalArtifact",
                ))
            })
            .collect(),
        _ => vec![],
    }
}

fn draw(branches: &[Branch], indent: &str, text: &mut String) {
    for (number, branch) in branches.iter().enumerate() {
        let is_last = number + 1 == branches.len();
        let (joint, below) = if is_last {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        text.push_str(&format!("{indent}{joint}{}\n", branch.resource.shown()));
        draw(&branch.resources, &format!("{indent}{below}"), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inventory_ids_are_read_from_both_ends() {
        assert_eq!(
            Id::parse("_podinfo__Namespace"),
            Some(Id::new("", "podinfo", "", "Namespace"))
        );
        assert_eq!(
            Id::parse("_system__node_rbac.authorization.k8s.io_ClusterRole"),
            Some(Id::new(
                "",
                "system:node",
                "rbac.authorization.k8s.io",
                "ClusterRole"
            ))
        );
        assert_eq!(Id::parse("x"), None);
    }
}
