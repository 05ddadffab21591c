//! What Flux does to a folder before kustomize sees it: a kustomization file is made where there
//! is none, and the fields of the Flux Kustomization are written over or behind those of the file.
//!
//! The file's own text stays as far as it can, comments and lines included, so that errors and
//! provenance point into something that its author recognises.

mod overlay;

use fluvial_tree::{Entry as TreeEntry, File, Tree, TreePath};
use fluvial_yaml::{
    EmitOptions, Entry, FileId, Limits, Node, NodeData, ReadOptions, ScalarStyle, SequenceIndent,
};

use crate::error::{Error, Result};
use crate::kustomization::FILE_NAMES;
use crate::nodes::is_null;

pub use overlay::{FluxOverlay, OverlayImage, OverlayPatch};

/// The namespace of a kustomization without resources, which kustomize would refuse as empty.
const PLACEHOLDER: &str = "_placeholder";

/// Makes or completes the kustomization file of a folder as Flux does.
///
/// # Errors
/// The folder is not there, its file or a manifest in it is malformed, or a component's path is
/// not local and relative.
pub fn complete(tree: &Tree, path: &TreePath, overlay: &FluxOverlay) -> Result<Tree> {
    let folder = match tree.resolve(path) {
        Ok((folder, TreeEntry::Folder)) => folder,
        Ok(_) => {
            return Err(Error::new(format!(
                "kustomization path '{path}' is not a folder; set spec.path to one"
            )));
        }
        Err(error) => return Err(Error::new(format!("kustomization path not found: {error}"))),
    };
    if let Some((file, name)) = existing(tree, &folder)? {
        let (mut node, text_has_aliases) = read(file, &name)?;
        let changed = amend(&mut node, tree, &folder, overlay, true)?;
        if !changed && !text_has_aliases {
            return Ok(tree.clone());
        }
        return write(tree, &name, &node);
    }
    let mut node = generate(tree, &folder)?;
    amend(&mut node, tree, &folder, overlay, false)?;
    write(tree, &join(&folder, FILE_NAMES[0])?, &node)
}

fn join(folder: &TreePath, name: &str) -> Result<TreePath> {
    folder.join(name).map_err(|error| Error::new(error.to_string()))
}

/// The kustomization file of a folder.
fn existing<'t>(tree: &'t Tree, folder: &TreePath) -> Result<Option<(&'t File, TreePath)>> {
    for name in FILE_NAMES {
        let path = join(folder, name)?;
        if let Ok(file) = tree.file(&path) {
            return Ok(Some((file, path)));
        }
    }
    Ok(None)
}

/// Reads a kustomization file; says whether aliases in it had to be expanded.
fn read(file: &File, name: &TreePath) -> Result<(Node, bool)> {
    let text = std::str::from_utf8(file.data())
        .map_err(|error| Error::new(format!("not UTF-8 text ({error})")).at(name.as_str(), 0))?;
    let options = ReadOptions {
        file: FileId::NONE,
        limits: Limits::default(),
    };
    let located = |error: fluvial_yaml::Error| Error::new(error.message).at(name.as_str(), error.pos.line);
    let first = fluvial_yaml::parse_first(text, &options).map_err(located)?;
    let mut node = first
        .filter(|node| !is_null(node))
        .unwrap_or_else(|| Node::mapping(Vec::new()));
    if node.entries().is_none() {
        return Err(Error::new("a kustomization must be a mapping").at(name.as_str(), node.pos.line));
    }
    let aliases = has_alias(&node);
    if aliases {
        node.deanchor().map_err(located)?;
    }
    Ok((node, aliases))
}

fn has_alias(node: &Node) -> bool {
    match &node.data {
        NodeData::Alias(_) => true,
        NodeData::Mapping { entries, .. } => entries
            .iter()
            .any(|entry| has_alias(&entry.key) || has_alias(&entry.value)),
        NodeData::Sequence { items, .. } => items.iter().any(has_alias),
        NodeData::Scalar { .. } => false,
    }
}

fn write(tree: &Tree, name: &TreePath, node: &Node) -> Result<Tree> {
    let options = EmitOptions {
        sequences: SequenceIndent::Compact,
    };
    let text = fluvial_yaml::emit(node, &options);
    let mut builder = tree.to_builder();
    // A file that is a link to another one becomes one of its own: the other one may be shared.
    builder.remove(name);
    builder
        .file(name.as_str(), File::new(text.into_bytes(), false))
        .map_err(|error| Error::new(error.to_string()).at(name.as_str(), 0))?;
    Ok(builder.build())
}

/// A kustomization of every manifest in and below a folder.
fn generate(tree: &Tree, folder: &TreePath) -> Result<Node> {
    let mut found = Vec::new();
    scan(tree, folder, folder, &mut found)?;
    let mut node = Node::mapping(Vec::new());
    if found.is_empty() {
        set(&mut node, "namespace", Node::text(PLACEHOLDER));
    } else {
        let items = found.iter().map(|path| Node::text(path)).collect();
        set(&mut node, "resources", Node::sequence(items));
    }
    Ok(node)
}

/// Collects manifests in the order of a walk: by name, folders entered where their name stands.
/// A folder with a kustomization of its own counts as one entry.
fn scan(tree: &Tree, root: &TreePath, folder: &TreePath, found: &mut Vec<String>) -> Result<()> {
    for (path, entry) in tree.children(folder) {
        let relative = || format!("./{}", path.strip_prefix(root).unwrap_or(path.as_str()));
        if matches!(entry, TreeEntry::Folder) {
            if existing(tree, path)?.is_some() {
                found.push(relative());
            } else {
                scan(tree, root, path, found)?;
            }
            continue;
        }
        let name = path.name().unwrap_or_default();
        if !is_manifest(name) {
            continue;
        }
        // Flux reads each of them here; the build that follows does so anyway, and names the file.
        tree.file(path)
            .map_err(|error| Error::new(error.to_string()).at(path.as_str(), 0))?;
        found.push(relative());
    }
    Ok(())
}

fn is_manifest(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, extension)| matches!(extension, "yaml" | "yml"))
}

/// Writes the overlay into a kustomization; whether that changed anything.
fn amend(
    node: &mut Node,
    tree: &Tree,
    folder: &TreePath,
    overlay: &FluxOverlay,
    existing: bool,
) -> Result<bool> {
    let mut changed = false;
    for (field, value) in [
        ("apiVersion", "kustomize.config.k8s.io/v1beta1"),
        ("kind", "Kustomization"),
    ] {
        if !existing || entry_count(node) == 0 {
            set(node, field, Node::text(value));
            changed = true;
        }
    }
    // A kustomization that makes no objects would be refused as empty; this keeps it alive.
    if existing && is_empty_list(node, "resources") {
        let option = Node::text("originAnnotations");
        set(node, "buildMetadata", Node::sequence(vec![option]));
        changed = true;
    }
    for (field, value) in [
        ("namespace", &overlay.target_namespace),
        ("namePrefix", &overlay.name_prefix),
        ("nameSuffix", &overlay.name_suffix),
    ] {
        if let Some(value) = value {
            set(node, field, Node::text(value));
            changed = true;
        }
    }
    changed |= extend(node, "patches", overlay.patches.iter().map(OverlayPatch::to_node));
    let components = local_components(tree, folder, overlay)?;
    changed |= extend(node, "components", components.into_iter().map(Node::text));
    let strategic = overlay
        .patches_strategic_merge
        .iter()
        .map(|text| multi_line(text));
    changed |= extend(node, "patchesStrategicMerge", strategic);
    let json = overlay.patches_json6902.iter().map(OverlayPatch::to_node);
    changed |= extend(node, "patchesJson6902", json);
    for image in &overlay.images {
        put_image(node, image);
        changed = true;
    }
    if !overlay.build_metadata.is_empty() {
        let options = overlay.build_metadata.iter().map(|text| Node::text(text));
        set(node, "buildMetadata", Node::sequence(options.collect()));
        changed = true;
    }
    Ok(changed)
}

fn entry_count(node: &Node) -> usize {
    node.entries().map_or(0, <[Entry]>::len)
}

/// Where a field stands, whatever the case of its name; of several, the one that counts.
fn position(node: &Node, field: &str) -> Option<usize> {
    let entries = node.entries()?;
    let key = |at: usize| entries[at].key.as_text().unwrap_or_default();
    (0..entries.len())
        .filter(|at| key(*at).eq_ignore_ascii_case(field))
        .max_by(|a, b| key(*a).cmp(key(*b)).then(a.cmp(b)))
}

fn is_empty_list(node: &Node, field: &str) -> bool {
    position(node, field)
        .and_then(|at| node.entries()?.get(at)?.value.items())
        .is_none_or(<[Node]>::is_empty)
}

fn set(node: &mut Node, field: &str, value: Node) {
    let at = position(node, field);
    let Some(entries) = node.entries_mut() else {
        return;
    };
    match at {
        Some(at) => entries[at].value = value,
        None => entries.push(Entry {
            key: Node::plain(field),
            value,
        }),
    }
}

/// Adds items to a list; whether there were any.
fn extend(node: &mut Node, field: &str, items: impl Iterator<Item = Node>) -> bool {
    let mut items: Vec<Node> = items.collect();
    if items.is_empty() {
        return false;
    }
    let at = position(node, field);
    let known = at.and_then(|at| node.entries_mut()?.get_mut(at)?.value.items_mut());
    match known {
        Some(known) => known.append(&mut items),
        None => set(node, field, Node::sequence(items)),
    }
    true
}

/// The components to add: paths within the source.
fn local_components<'o>(tree: &Tree, folder: &TreePath, overlay: &'o FluxOverlay) -> Result<Vec<&'o str>> {
    let mut components = Vec::new();
    for component in &overlay.components {
        if !is_local_relative(component) {
            return Err(Error::new(format!(
                "component path '{component}' must be local and relative"
            )));
        }
        let there = folder
            .join(component)
            .is_ok_and(|path| tree.resolve(&path).is_ok());
        if there || !overlay.ignore_missing_components {
            components.push(component.as_str());
        }
    }
    Ok(components)
}

/// Whether a component's path can only mean a folder of the source.
fn is_local_relative(path: &str) -> bool {
    const ELSEWHERE: [&str; 9] = [
        "git::",
        "gh:",
        "ssh://",
        "https://",
        "http://",
        "file://",
        "git@",
        "github.com:",
        "github.com/",
    ];
    let lower = path.to_ascii_lowercase();
    !path.is_empty() && !path.starts_with('/') && !ELSEWHERE.iter().any(|prefix| lower.starts_with(prefix))
}

/// Sets an image: of one that is there already, the name on its own, tag and digest as a pair.
fn put_image(node: &mut Node, image: &OverlayImage) {
    let at = position(node, "images");
    let known = at
        .and_then(|at| node.entries_mut()?.get_mut(at)?.value.items_mut())
        .and_then(|items| {
            items.iter_mut().find(|item| {
                let name = position(item, "name").and_then(|at| item.entries()?.get(at)?.value.as_text());
                name == Some(&image.name)
            })
        });
    let Some(known) = known else {
        let mut item = Node::mapping(Vec::new());
        set(&mut item, "name", Node::text(&image.name));
        write_image(&mut item, image);
        extend(node, "images", std::iter::once(item));
        return;
    };
    if !image.new_tag.is_empty() || !image.digest.is_empty() {
        for field in ["newTag", "digest"] {
            if let (Some(at), Some(entries)) = (position(known, field), known.entries_mut()) {
                entries.remove(at);
            }
        }
    }
    write_image(known, image);
}

fn write_image(item: &mut Node, image: &OverlayImage) {
    for (field, value) in [
        ("newName", &image.new_name),
        ("newTag", &image.new_tag),
        ("digest", &image.digest),
    ] {
        if !value.is_empty() {
            set(item, field, Node::string(value.as_str()));
        }
    }
}

/// A text, as a block of lines if it has several.
fn multi_line(text: &str) -> Node {
    if text.trim_end().contains('\n') {
        Node::new(NodeData::Scalar {
            text: text.into(),
            style: ScalarStyle::Literal,
        })
    } else {
        Node::text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Build, BuildRequest, NoCharts, NoRemote, Options, build};
    use fluvial_tree::TreeBuilder;

    const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n";

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut builder = TreeBuilder::default();
        for (path, text) in files {
            builder.file(path, File::new(text.as_bytes(), false)).unwrap();
        }
        builder.build()
    }

    fn completed(files: &[(&str, &str)], overlay: &FluxOverlay) -> Result<(String, Build)> {
        let path = TreePath::parse("app").unwrap();
        let tree = complete(&tree(files), &path, overlay)?;
        let (file, _) = existing(&tree, &path)?.unwrap();
        let text = String::from_utf8(file.data().to_vec()).unwrap();
        let build = build(&BuildRequest {
            tree: &tree,
            path: &path,
            options: &Options::flux(),
            remote: &NoRemote,
            charts: &NoCharts,
        })?;
        Ok((text, build))
    }

    #[test]
    fn without_a_file_every_manifest_below_is_listed_and_kustomizations_count_as_one() {
        let other = CONFIG.replace("settings", "other");
        let (text, build) = completed(
            &[
                ("app/b.yml", CONFIG),
                ("app/a/kustomization.yaml", "resources: [c.yaml]"),
                ("app/a/c.yaml", &other),
                ("app/a-b/notes.txt", "no manifest"),
                ("app/z/y/x.yaml", "# only a comment\n"),
            ],
            &FluxOverlay::default(),
        )
        .unwrap();
        assert!(
            text.contains("resources:\n- ./a\n- ./b.yml\n- ./z/y/x.yaml\n"),
            "{text}"
        );
        assert_eq!(build.resources.len(), 2);
    }

    #[test]
    fn a_folder_without_manifests_builds_to_nothing() {
        let (text, build) = completed(&[("app/README.md", "hello")], &FluxOverlay::default()).unwrap();
        assert!(text.contains("namespace: _placeholder"), "{text}");
        assert!(build.resources.is_empty());
    }

    #[test]
    fn a_file_that_lists_nothing_builds_to_nothing() {
        let (_, build) = completed(&[("app/kustomization.yaml", "")], &FluxOverlay::default()).unwrap();
        assert!(build.resources.is_empty());
    }

    #[test]
    fn a_manifest_that_is_none_is_named() {
        let error = completed(&[("app/x.yaml", "a: [")], &FluxOverlay::default()).unwrap_err();
        assert!(error.to_string().contains("app/x.yaml"), "{error}");
    }

    #[test]
    fn the_specs_fields_go_over_or_behind_those_of_the_file() {
        let file = "# ours\nNamePrefix: a-\nresources: [c.yaml] # one\nimages:\n- name: web\n  newName: other\n  \
                    digest: sha256:00\n";
        let overlay = FluxOverlay {
            target_namespace: Some("team".to_owned()),
            name_prefix: Some("b-".to_owned()),
            patches: vec![OverlayPatch {
                patch: "- op: add\n  path: /data\n  value: {yes: \"no\"}\n".to_owned(),
                target: Some(serde_json::json!({"kind": "ConfigMap"})),
            }],
            images: vec![OverlayImage {
                name: "web".to_owned(),
                new_tag: "1.10".to_owned(),
                ..OverlayImage::default()
            }],
            components: vec!["../missing".to_owned()],
            ignore_missing_components: true,
            ..FluxOverlay::default()
        };
        let (text, build) = completed(
            &[("app/kustomization.yml", file), ("app/c.yaml", CONFIG)],
            &overlay,
        )
        .unwrap();
        assert!(text.starts_with("# ours\nNamePrefix: b-\n"), "{text}");
        assert!(
            text.contains("newName: other\n  newTag: \"1.10\"\n") && !text.contains("digest"),
            "{text}"
        );
        let yaml = build.to_yaml(1).unwrap();
        assert_eq!(
            yaml,
            "apiVersion: v1\ndata:\n  yes: \"no\"\nkind: ConfigMap\nmetadata:\n  name: b-settings\n  namespace: team\n"
                .replace("  yes:", "  \"yes\":")
        );
    }

    #[test]
    fn remote_components_are_refused() {
        for component in [
            "/etc",
            "HTTPS://example.com/x",
            "git@example.com:x",
            "github.com/o/r",
            "file:///x",
            "",
        ] {
            let overlay = FluxOverlay {
                components: vec![component.to_owned()],
                ..FluxOverlay::default()
            };
            let files = [("app/kustomization.yaml", "resources: []")];
            let error = completed(&files, &overlay).unwrap_err();
            assert!(
                error.to_string().contains("must be local and relative"),
                "{error}"
            );
        }
    }

    #[test]
    fn unknown_fields_of_the_completed_file_are_warnings() {
        let files = [
            (
                "app/kustomization.yaml",
                "resources: [c.yaml]\nresurces: []\nimages: [{name: a, tag: b}]",
            ),
            ("app/c.yaml", CONFIG),
        ];
        let (_, build) = completed(&files, &FluxOverlay::default()).unwrap();
        let warnings: Vec<&str> = build.warnings.iter().map(|one| one.message.as_str()).collect();
        assert_eq!(
            warnings,
            [
                "app/kustomization.yaml:2: unknown field \"resurces\": the field has no effect",
                "app/kustomization.yaml:3: unknown field \"tag\": the field has no effect"
            ]
        );
    }

    #[test]
    fn a_spec_is_read_with_its_types_checked() {
        let spec = serde_json::json!({"targetNamespace": "x", "images": [{"name": "a", "newTag": 1}]});
        let error = FluxOverlay::from_spec(&spec).unwrap_err();
        assert_eq!(error.to_string(), "spec.images[0].newTag must be a string");
    }
}
