//! Which crate may depend on which: lower layers only, and nothing that does I/O below the adapters.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// Edges inside one layer that the design names.
const INSIDE: &[(&str, &str)] = &[
    ("object", "yaml"),
    ("schema", "object"),
    ("api", "schema"),
    ("api", "object"),
    ("api", "yaml"),
    ("template", "yaml"),
    ("kustomize", "merge"),
    ("helm", "merge"),
    ("delivery", "merge"),
    ("cli", "controllers"),
];

/// Crates that do no I/O: their dependency trees hold none of [`FORBIDDEN`].
const PURE: &[&str] = &[
    "yaml",
    "tree",
    "parallel",
    "object",
    "schema",
    "api",
    "template",
    "merge",
    "kustomize",
    "helm",
    "liquid",
    "delivery",
    "verify",
];

/// Packages that bring a runtime, sockets, files or processes.
const FORBIDDEN: &[&str] = &[
    "tokio",
    "async-std",
    "smol",
    "mio",
    "socket2",
    "hyper",
    "reqwest",
    "curl",
    "ureq",
    "notify",
    "walkdir",
    "tempfile",
    "memmap2",
    "rustix",
    "kube-client",
    "gix",
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Layer {
    Numbered(u64),
    Dev,
}

struct Member {
    layer: Option<Layer>,
    manifest: PathBuf,
    /// Own crates that it depends on, tests not counted.
    needs: BTreeSet<String>,
    /// Every package in its dependency tree, tests not counted.
    tree: BTreeSet<String>,
}

/// The workspace's crates by short name (`yaml`, not `fluvial-yaml`).
pub(crate) struct Members(BTreeMap<String, Member>);

impl Members {
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }

    pub(crate) fn manifests(&self) -> Vec<PathBuf> {
        self.0.values().map(|member| member.manifest.clone()).collect()
    }
}

fn short(name: &str) -> String {
    name.strip_prefix("fluvial-").unwrap_or(name).to_owned()
}

/// Reads the workspace from `cargo metadata`.
pub(crate) fn members(root: &Path) -> Result<Members, String> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(vec![
            "--locked".to_owned(),
            "--filter-platform".to_owned(),
            "x86_64-unknown-linux-gnu".to_owned(),
        ])
        .exec()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let edges = normal_edges(&metadata);
    let names: BTreeMap<&PackageId, String> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package.name.to_string()))
        .collect();
    let own: BTreeSet<&PackageId> = metadata.workspace_members.iter().collect();
    let mut members = BTreeMap::new();
    for package in metadata.workspace_packages() {
        let layer = package
            .metadata
            .get("fluvial")
            .and_then(|table| table.get("layer"))
            .and_then(|layer| {
                if layer == "dev" {
                    Some(Layer::Dev)
                } else {
                    layer.as_u64().map(Layer::Numbered)
                }
            });
        let needs = edges
            .get(&package.id)
            .into_iter()
            .flatten()
            .filter(|id| own.contains(*id));
        let member = Member {
            layer,
            manifest: package.manifest_path.clone().into_std_path_buf(),
            needs: needs
                .filter_map(|id| names.get(*id))
                .map(|name| short(name))
                .collect(),
            tree: reachable(&edges, &package.id)
                .iter()
                .filter_map(|id| names.get(*id))
                .cloned()
                .collect(),
        };
        members.insert(short(&package.name), member);
    }
    Ok(Members(members))
}

fn normal_edges(metadata: &Metadata) -> BTreeMap<&PackageId, Vec<&PackageId>> {
    let mut edges = BTreeMap::new();
    for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
        let normal = node.deps.iter().filter(|dependency| {
            dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind == DependencyKind::Normal)
        });
        edges.insert(&node.id, normal.map(|dependency| &dependency.pkg).collect());
    }
    edges
}

fn reachable<'a>(
    edges: &BTreeMap<&'a PackageId, Vec<&'a PackageId>>,
    from: &'a PackageId,
) -> BTreeSet<&'a PackageId> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(id) = open.pop() {
        for next in edges.get(id).into_iter().flatten() {
            if seen.insert(*next) {
                open.push(next);
            }
        }
    }
    seen
}

/// All edges that lead up or sideways, and all I/O in the core.
pub(crate) fn check(members: &Members) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, member) in &members.0 {
        let Some(layer) = &member.layer else {
            problems.push(format!(
                "crate `{name}`: Cargo.toml lacks `[package.metadata.fluvial] layer`"
            ));
            continue;
        };
        for need in &member.needs {
            let Some(other) = members.0.get(need).and_then(|other| other.layer.as_ref()) else {
                continue;
            };
            if !may_depend(name, layer, need, other) {
                problems.push(format!(
                    "crate `{name}` ({layer:?}) may not depend on `{need}` ({other:?})"
                ));
            }
        }
        if PURE.contains(&name.as_str()) {
            for package in FORBIDDEN.iter().filter(|package| member.tree.contains(**package)) {
                problems.push(format!(
                    "crate `{name}` is pure, but its dependency tree holds `{package}`"
                ));
            }
        }
    }
    problems
}

fn may_depend(name: &str, layer: &Layer, need: &str, other: &Layer) -> bool {
    match (layer, other) {
        (Layer::Dev, _) => true,
        (Layer::Numbered(_), Layer::Dev) => false,
        (Layer::Numbered(own), Layer::Numbered(below)) => below < own || INSIDE.contains(&(name, need)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_lead_down_or_along_named_edges() {
        let numbered = Layer::Numbered;
        assert!(may_depend("kustomize", &numbered(1), "yaml", &numbered(0)));
        assert!(may_depend("kustomize", &numbered(1), "merge", &numbered(1)));
        assert!(!may_depend("kustomize", &numbered(1), "helm", &numbered(1)));
        assert!(!may_depend("yaml", &numbered(0), "kustomize", &numbered(1)));
        assert!(!may_depend("cli", &numbered(3), "testkit", &Layer::Dev));
        assert!(may_depend("xtask", &Layer::Dev, "cli", &numbered(3)));
    }
}
