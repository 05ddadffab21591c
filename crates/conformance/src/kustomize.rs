//! kustomize: whole builds of the corpus, and its small functions.

mod charts;

use std::collections::BTreeMap;
use std::path::Path;

use fluvial_kustomize::{
    BuildRequest, FileError, LoadRestrictor, Options, RemoteResolver, Reorder, RepoSpec,
};
use fluvial_tree::{File, Tree, TreeBuilder, TreePath};
use serde_json::{Value, json};

use crate::txtar::Archive;
use crate::{Case, Suite};

/// The suites of this module.
#[must_use]
pub fn suites() -> Vec<Suite> {
    vec![
        Suite {
            name: "kustomize/builds",
            needs: "corpus/kustomize",
            run: builds,
        },
        Suite {
            name: "kustomize/helm",
            needs: "corpus/kustomize/helm",
            run: helm,
        },
        Suite {
            name: "kustomize/legacy",
            needs: "corpus/kustomize",
            run: legacy,
        },
        Suite {
            name: "kustomize/warnings",
            needs: "corpus/kustomize",
            run: warnings,
        },
        Suite {
            name: "kustomize/units",
            needs: "corpus/kustomize/units",
            run: units,
        },
    ]
}

/// The folder that `@ROOT@` stands for: where the repositories of a case are.
const REPOSITORIES: &str = "/repositories";

const GROUPS: [&str; 7] = [
    "krusty",
    "target",
    "builtin",
    "generators",
    "remote",
    "examples",
    "extra",
];

const WITH_HELM: [&str; 8] = [
    "krusty",
    "target",
    "builtin",
    "generators",
    "remote",
    "examples",
    "extra",
    "helm",
];

/// A whole build of the corpus.
struct BuildCase {
    archive: Archive,
    tree: Tree,
    repositories: Repositories,
}

/// The repositories of a case: by name, then branch; the first branch is the default one.
struct Repositories(BTreeMap<String, Vec<(String, Tree)>>);

impl RemoteResolver for Repositories {
    fn repository(&self, spec: &RepoSpec) -> Result<Tree, String> {
        let name = spec
            .repository
            .strip_prefix(REPOSITORIES)
            .and_then(|name| name.strip_prefix('/'))
            .ok_or_else(|| format!("no such repository: {}", spec.clone_url()))?;
        let branches = self
            .0
            .get(name)
            .ok_or_else(|| format!("no such repository: {name}"))?;
        let found = if spec.reference.is_empty() {
            branches.first()
        } else {
            branches.iter().find(|(branch, _)| *branch == spec.reference)
        };
        let (_, tree) = found.ok_or_else(|| format!("no such branch: {}", spec.reference))?;
        if spec.submodules {
            Ok(tree.clone())
        } else {
            // Submodules lie in the tree below a marker; without them they are empty folders.
            Ok(without_submodules(tree))
        }
    }

    fn file(&self, url: &str) -> Result<Vec<u8>, FileError> {
        Err(FileError::Failed(format!("no network here: {url}")))
    }
}

const SUBMODULE: &str = ".submodule";

fn without_submodules(tree: &Tree) -> Tree {
    let mut builder = tree.to_builder();
    let markers: Vec<TreePath> = tree
        .iter()
        .filter(|(path, _)| path.name() == Some(SUBMODULE))
        .filter_map(|(path, _)| path.parent())
        .collect();
    for (path, _) in tree.iter() {
        if markers
            .iter()
            .any(|marker| path.starts_with(marker) && path != marker)
        {
            builder.remove(path);
        }
    }
    builder.build()
}

fn content(archive: &Archive, name: &str) -> Vec<u8> {
    let data = archive.section(name).unwrap_or_default();
    let base64 = archive.values("base64").any(|one| one == name);
    let data = if base64 { decode(data) } else { data.to_vec() };
    if !data.windows(6).any(|part| part == b"@ROOT@") {
        return data;
    }
    String::from_utf8_lossy(&data)
        .replace("@ROOT@", REPOSITORIES)
        .into_bytes()
}

/// Decodes base64; the corpus holds no malformed text.
fn decode(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in data {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    out
}

/// The files below a prefix of an archive as a tree.
fn subtree(archive: &Archive, prefix: &str) -> Tree {
    let mut builder = TreeBuilder::default();
    for (name, _) in &archive.sections {
        if let Some(path) = name.strip_prefix(prefix) {
            // Names that are no paths of a tree are not in the corpus.
            let _ = builder.file(path, File::new(content(archive, name), false));
        }
    }
    for name in archive.values("empty-dir") {
        if let Some(path) = name.strip_prefix(prefix) {
            let _ = builder.folder(path);
        }
    }
    builder.build()
}

fn repositories(archive: &Archive) -> Repositories {
    let mut all = BTreeMap::new();
    for line in archive.values("repo") {
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        let branches: Vec<(String, Tree)> = words
            .map(|branch| {
                (
                    branch.to_owned(),
                    subtree(archive, &format!("repos/{name}/{branch}/")),
                )
            })
            .collect();
        all.insert(name.to_owned(), branches);
    }
    let plain = all.clone();
    for line in archive.values("submodule") {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, branch, path, url] = words[..] else {
            continue;
        };
        let target = url.rsplit('/').next().unwrap_or_default();
        let Some((_, files)) = plain.get(target).and_then(|branches: &Vec<_>| branches.first()) else {
            continue;
        };
        let Some((_, tree)) = all
            .get_mut(name)
            .and_then(|branches| branches.iter_mut().find(|(one, _)| one == branch))
        else {
            continue;
        };
        let mut builder = tree.to_builder();
        for (file, entry) in files.iter() {
            if let fluvial_tree::Entry::File(file_content) = entry {
                let _ = builder.file(&format!("{path}/{file}"), file_content.clone());
            }
        }
        let _ = builder.file(&format!("{path}/{SUBMODULE}"), File::new(Vec::new(), false));
        *tree = builder.build();
    }
    Repositories(all)
}

fn build_cases(shared: &Path, groups: &[&str]) -> Vec<BuildCase> {
    let root = shared.join("corpus/kustomize");
    let mut cases = Vec::new();
    for group in groups {
        let walk = walkdir::WalkDir::new(root.join(group)).sort_by_file_name();
        for entry in walk.into_iter().flatten() {
            if entry
                .path()
                .extension()
                .is_none_or(|extension| extension != "txtar")
            {
                continue;
            }
            let Ok(data) = std::fs::read(entry.path()) else {
                continue;
            };
            let archive = Archive::parse(&data);
            let tree = subtree(&archive, "in/");
            let repositories = repositories(&archive);
            cases.push(BuildCase {
                archive,
                tree,
                repositories,
            });
        }
    }
    cases
}

impl BuildCase {
    fn name(&self) -> &str {
        self.archive.value("name").unwrap_or_default()
    }

    fn build(&self, reorder: Option<Reorder>) -> Result<fluvial_kustomize::Build, String> {
        let archive = &self.archive;
        let is_set = |key: &str, value: &str| archive.value(key) == Some(value);
        let options = Options {
            load_restrictor: if is_set("load-restrictor", "LoadRestrictionsNone") {
                LoadRestrictor::None
            } else {
                LoadRestrictor::RootOnly
            },
            reorder: reorder.unwrap_or(if is_set("reorder", "none") {
                Reorder::None
            } else {
                Reorder::Legacy
            }),
            remote: is_set("plugins", "git"),
            managed_by_label: is_set("enable-managedby-label", "true"),
            root_path: Some("/".to_owned()),
            helm: is_set("plugins", "helm"),
            helm_kube_version: archive.value("helm-kube-version").unwrap_or_default().to_owned(),
            helm_api_versions: archive.values("helm-api-version").map(str::to_owned).collect(),
            ..Options::cli()
        };
        let path = TreePath::parse(archive.value("dir").unwrap_or(".")).map_err(|error| error.to_string())?;
        fluvial_kustomize::build(&BuildRequest {
            tree: &self.tree,
            path: &path,
            options: &options,
            remote: &self.repositories,
            charts: &charts::LocalCharts,
        })
        .map_err(|error| error.to_string())
    }

    fn yaml(&self, reorder: Option<Reorder>) -> Result<String, String> {
        let text = self
            .build(reorder)?
            .to_yaml(2)
            .map_err(|error| error.to_string())?;
        Ok(text.replace(REPOSITORIES, "@ROOT@"))
    }
}

fn compare(name: &str, want: Option<String>, got: Result<String, String>, error: &str) -> Case {
    let outcome = match (want, got) {
        (Some(want), Ok(got)) => return Case::compare(name, &want, &got),
        (None, Err(_)) => Ok(()),
        (Some(_), Err(error)) => Err(format!("fails: {error}")),
        (None, Ok(_)) => Err(format!("should fail: {error}")),
    };
    Case {
        name: name.to_owned(),
        outcome,
    }
}

fn builds(shared: &Path) -> Vec<Case> {
    build_groups(shared, &GROUPS)
}

/// The builds that fail: name, the reference's error, and what comes here.
pub(crate) fn failed_builds(shared: &Path) -> Vec<(String, String, Result<String, String>)> {
    build_cases(shared, &GROUPS)
        .iter()
        .filter(|case| case.archive.value("outcome") == Some("error"))
        .map(|case| {
            let section = case
                .archive
                .text("expected.error")
                .filter(|text| !text.trim().is_empty());
            let error = section.or_else(|| case.archive.value("error").map(str::to_owned));
            let error = error.unwrap_or_default().replace("@ROOT@", REPOSITORIES);
            (case.name().to_owned(), error, case.yaml(None))
        })
        .collect()
}

fn helm(shared: &Path) -> Vec<Case> {
    build_groups(shared, &["helm"])
}

fn build_groups(shared: &Path, groups: &[&str]) -> Vec<Case> {
    build_cases(shared, groups)
        .iter()
        .map(|case| {
            let ok = case.archive.value("outcome") == Some("ok");
            let want = ok.then(|| case.archive.text("expected.yaml").unwrap_or_default());
            let error = case.archive.value("error").unwrap_or_default();
            compare(case.name(), want, case.yaml(None), error)
        })
        .collect()
}

fn legacy(shared: &Path) -> Vec<Case> {
    build_cases(shared, &WITH_HELM)
        .iter()
        .filter_map(|case| {
            let want = case.archive.text("expected.legacy.yaml")?;
            Some(compare(
                case.name(),
                Some(want),
                case.yaml(Some(Reorder::Legacy)),
                "",
            ))
        })
        .collect()
}

fn warnings(shared: &Path) -> Vec<Case> {
    build_cases(shared, &WITH_HELM)
        .iter()
        .filter(|case| case.archive.value("outcome") == Some("ok"))
        .map(|case| {
            let want: Vec<&str> = case.archive.values("warning").collect();
            let got = case.build(None).map(|build| {
                let mut texts: Vec<String> = Vec::new();
                for warning in build.warnings {
                    if warning.message.starts_with("# Warning") && !texts.contains(&warning.message) {
                        texts.push(warning.message);
                    }
                }
                texts
            });
            let outcome = match got {
                Ok(got)
                    if want.len() == got.len()
                        && want.iter().all(|one| got.iter().any(|text| text == one)) =>
                {
                    Ok(())
                }
                Ok(got) => Err(format!("want {want:?}, got {got:?}")),
                Err(error) => Err(error),
            };
            Case {
                name: case.name().to_owned(),
                outcome,
            }
        })
        .collect()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn units(shared: &Path) -> Vec<Case> {
    const FILES: [&str; 8] = [
        "load",
        "hash",
        "repospec",
        "imagesplit",
        "imagematch",
        "envfile",
        "pathsplit",
        "selector",
    ];
    FILES
        .iter()
        .flat_map(|file| lines(&shared.join(format!("corpus/kustomize/units/{file}.jsonl"))))
        .map(|case| {
            let name = case["name"].as_str().unwrap_or_default().to_owned();
            let outcome = match (case.get("expected"), unit(&case)) {
                (Some(want), Ok(got)) if *want == got => Ok(()),
                (Some(want), Ok(got)) => Err(format!("want {want}, got {got}")),
                (Some(_), Err(error)) => Err(format!("fails: {error}")),
                (None, Err(_)) => Ok(()),
                (None, Ok(_)) => Err(format!("should fail: {}", case["error"])),
            };
            Case { name, outcome }
        })
        .collect()
}

fn unit(case: &Value) -> Result<Value, String> {
    let text = |key: &str| case[key].as_str().unwrap_or_default();
    match text("kind") {
        "load" => load_unit(text("input")),
        "hash" => {
            let options = fluvial_yaml::ReadOptions::default();
            let node = fluvial_yaml::parse_first(text("input"), &options)
                .map_err(|error| error.to_string())?
                .ok_or("no document")?;
            fluvial_kustomize::hash_suffix(&node)
                .map(Value::from)
                .map_err(|error| error.to_string())
        }
        "repospec" => RepoSpec::parse(text("url")).map(|spec| {
            json!({
                "clone": spec.clone_url(), "host": spec.host, "path": spec.path, "ref": spec.reference,
                "repo_path": spec.repository, "submodules": spec.submodules,
                "timeout_seconds": spec.timeout.as_secs(),
            })
        }),
        "imagesplit" => {
            let parts = fluvial_kustomize::ImageParts::split(text("image"));
            Ok(json!({"digest": parts.digest, "name": parts.name, "tag": parts.tag}))
        }
        "imagematch" => Ok(fluvial_kustomize::image_matches(text("image"), text("pattern")).into()),
        "envfile" => {
            let data = case.get("input_base64").map_or_else(
                || text("input").as_bytes().to_vec(),
                |encoded| decode(encoded.as_str().unwrap_or_default().as_bytes()),
            );
            let pairs = fluvial_kustomize::env_file(&data).map_err(|error| error.to_string())?;
            Ok(pairs
                .into_iter()
                .map(|(key, value)| json!({"key": key, "value": String::from_utf8_lossy(&value)}))
                .collect())
        }
        "pathsplit" => Ok(if case["smart"] == true {
            fluvial_kustomize::split_path_with_brackets(text("path"), text("delimiter"))
        } else {
            fluvial_kustomize::split_path(text("path"), text("delimiter"))
        }
        .into()),
        "selector" => {
            let labels: Vec<(&str, &str)> = case["labels"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
                .collect();
            fluvial_kustomize::Requirements::parse(text("selector"))
                .map(|selector| selector.match_all(&labels).into())
                .map_err(|error| error.to_string())
        }
        other => Err(format!("unknown kind {other}")),
    }
}

/// What a file under `resources:` becomes.
fn load_unit(input: &str) -> Result<Value, String> {
    let resources = fluvial_kustomize::load(input).map_err(|error| error.to_string())?;
    resources
        .iter()
        .map(|resource| {
            let value = resource.to_json().map_err(|error| error.to_string())?;
            let gvk = resource.gvk();
            Ok(json!({
                "group": gvk.group, "version": gvk.version, "kind": gvk.kind, "name": resource.name(),
                "namespace": resource.namespace(), "cluster_scoped": resource.id().cluster_scoped,
                "yaml": fluvial_yaml::json_to_yaml(&value),
            }))
        })
        .collect()
}
