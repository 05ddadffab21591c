//! Whole charts: `cases/`, `small/`, `unit/`, the `--set` table.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use fluvial_helm::{Chart, Rules};
use fluvial_tree::{File, Tree, TreeBuilder, TreePath};
use serde_json::{Value, json};

use super::command::{Command, load, reader};
use super::compare::Comparison;
use super::{folder, tree};
use crate::txtar::Archive;
use crate::{Case, json_lines};

/// Charts that several cases use, loaded once.
#[derive(Default)]
struct Charts(BTreeMap<String, Result<Arc<Chart>, String>>);

impl Charts {
    fn get(&mut self, root: &Path, name: &str) -> Result<Arc<Chart>, String> {
        let load_it = || folder(&root.join(name)).and_then(|tree| load(&tree, ""));
        self.0.entry(name.to_owned()).or_insert_with(load_it).clone()
    }
}

fn files_in(folder: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = walkdir::WalkDir::new(folder)
        .max_depth(1)
        .into_iter()
        .filter_map(Result::ok)
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// `cases/`: real charts with value files.
pub(super) fn cases(shared: &Path) -> Vec<Case> {
    let root = shared.join("corpus/helm");
    let mut charts = Charts::default();
    let files = files_in(&root.join("cases"), "yaml").into_iter();
    files
        .filter_map(|file| one_case(&root, &file, &mut charts))
        .collect()
}

fn words(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn one_case(root: &Path, file: &Path, charts: &mut Charts) -> Option<Case> {
    let text = std::fs::read_to_string(file).ok()?;
    let case = fluvial_yaml::yaml_to_json(&text, false).ok()?;
    let name = case["name"].as_str()?;
    let comparison = Comparison {
        how: case["compare"].as_str().unwrap_or("exact").to_owned(),
        mask: words(&case["mask"]),
    };
    let argv = words(&case["argv"]);
    let got = Command::parse(&argv)
        .and_then(|command| command.template(charts.get(root, &command.chart), &reader(root)));
    let want = match case["expected"].as_str() {
        Some(path) => Ok(std::fs::read_to_string(root.join(path)).ok()?),
        None => Err(case["error"].as_str().unwrap_or_default().to_owned()),
    };
    Some(comparison.judge(name, want.as_deref().map_err(String::as_str), &got))
}

/// `small/`: one chart, one behaviour.
pub(super) fn small(shared: &Path) -> Vec<Case> {
    archives(shared, "small")
}

/// `unit/`: values for the common library and app-template.
pub(super) fn units(shared: &Path) -> Vec<Case> {
    archives(shared, "unit")
}

fn archives(shared: &Path, part: &str) -> Vec<Case> {
    let root = shared.join("corpus/helm");
    let mut charts = Charts::default();
    let files = files_in(&root.join(part), "txtar").into_iter();
    files
        .filter_map(|file| one_archive(&root, &file, &mut charts))
        .collect()
}

fn one_archive(root: &Path, file: &Path, charts: &mut Charts) -> Option<Case> {
    let archive = Archive::parse(&std::fs::read(file).ok()?);
    let name = archive.value("name")?;
    let list = |key: &str| -> Vec<String> {
        let text = archive.value(key).unwrap_or("[]");
        serde_json::from_str(text).unwrap_or_default()
    };
    let comparison = Comparison {
        how: archive.value("compare").unwrap_or("exact").to_owned(),
        mask: list("mask"),
    };
    let read = |name: &str| {
        let data = archive.section(name.trim_start_matches("./")).map(<[u8]>::to_vec);
        data.ok_or_else(|| format!("open {name}: no such file or directory"))
    };
    let chart = |charts: &mut Charts, path: &str| match (path, archive.value("chart")) {
        ("{chart}", Some(chart)) => charts.get(root, chart),
        _ => {
            let files = archive.sections.iter().filter(|(name, _)| !name.starts_with('@'));
            let tree = tree(files.map(|(name, data)| (name.as_str(), data.as_slice())))?;
            let tree = list("pack")
                .iter()
                .try_fold(tree, |tree, folder| pack(&tree, folder))?;
            load(&tree, path.trim_start_matches("./"))
        }
    };
    let command = Command::parse(&list("args"));
    if archive.value("kind") == Some("release") {
        let got = command.and_then(|command| {
            let rendered = command.run(chart(charts, &command.chart), &read)?;
            Ok(release_json(&command, &rendered))
        });
        return Some(judge_release(name, &archive, &comparison, got));
    }
    let got = command.and_then(|command| command.template(chart(charts, &command.chart), &read));
    let expected = archive.text("@expected");
    let error = archive.text("@error").unwrap_or_default().replace("{cwd}/", "");
    let want = match &expected {
        Some(text) => Ok(text.as_str()),
        None => Err(error.as_str()),
    };
    Some(comparison.judge(name, want, &got))
}

fn release_json(command: &Command, rendered: &fluvial_helm::Rendered) -> Value {
    let hooks = rendered.hooks.iter().map(|hook| {
        let mut shown = json!({
            "name": hook.name,
            "kind": hook.kind,
            "path": hook.path,
            "manifest": hook.manifest,
            "events": hook.events,
        });
        if hook.weight != 0 {
            shown["weight"] = hook.weight.into();
        }
        for (key, list) in [
            ("delete_policies", &hook.delete_policies),
            ("output_log_policies", &hook.output_log_policies),
        ] {
            if !list.is_empty() {
                shown[key] = json!(list);
            }
        }
        shown
    });
    json!({
        "config": command.values.borrow().as_json(),
        "manifest": rendered.manifest(false),
        "hooks": hooks.collect::<Vec<_>>(),
        "notes": rendered.notes,
        "name": command.name,
    })
}

fn judge_release(name: &str, archive: &Archive, comparison: &Comparison, got: Result<Value, String>) -> Case {
    let Some(want) = archive.section("@release.json") else {
        let error = archive.text("@error").unwrap_or_default();
        let got = got.map(|value| value.to_string());
        let got = got.map_err(|error| format!("INSTALLATION FAILED: {error}"));
        return comparison.judge(name, Err(&error), &got);
    };
    let want: Value = serde_json::from_slice(want).unwrap_or_default();
    let outcome = got.and_then(|got| {
        for key in ["config", "manifest", "hooks", "notes", "name"] {
            let plain = |value: &Value| match value {
                Value::Null => json!({}),
                Value::Object(_) => {
                    fluvial_helm::Values::from_json(value).map_or(Value::Null, |v| v.as_json())
                }
                other => other.clone(),
            };
            let (want, got) = (plain(&want[key]), plain(&got[key]));
            if want != got {
                return Err(format!("{key}: want {want}, got {got}"));
            }
        }
        Ok(())
    });
    Case {
        name: name.to_owned(),
        outcome,
    }
}

/// Replaces a chart's folder by its archive, as `helm package` writes it.
fn pack(tree: &Tree, folder: &str) -> Result<Tree, String> {
    let path = TreePath::parse(folder).map_err(|error| error.to_string())?;
    let inner = tree.subtree(&path);
    let chart = Chart::load(&inner, &TreePath::root()).map_err(|error| error.to_string())?;
    let at = |name: &str| TreePath::parse(name).map_err(|error| error.to_string());
    let rules = match inner.file(&at(".helmignore")?) {
        Ok(file) => Rules::parse(&String::from_utf8_lossy(file.data()))?,
        Err(_) => Rules::default(),
    };
    let mut builder = tar::Builder::new(Vec::new());
    for (name, entry) in inner.iter() {
        let fluvial_tree::Entry::File(file) = entry else {
            continue;
        };
        let ignored = name.parts().scan(String::new(), |path, part| {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(part);
            Some(path.clone())
        });
        let ignored = ignored.collect::<Vec<_>>();
        let last = ignored.len().saturating_sub(1);
        if ignored
            .iter()
            .enumerate()
            .any(|(index, path)| rules.ignores(path, index < last))
        {
            continue;
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(file.data().len() as u64);
        header.set_mode(0o644);
        let name = format!("{}/{name}", chart.name());
        builder
            .append_data(&mut header, name, file.data())
            .map_err(|error| error.to_string())?;
    }
    let packed = builder.into_inner().map_err(|error| error.to_string())?;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&packed).map_err(|error| error.to_string())?;
    let packed = gzip.finish().map_err(|error| error.to_string())?;
    let parent = path.parent().map(|parent| parent.to_string()).unwrap_or_default();
    let name = format!("{parent}/{}-{}.tgz", chart.name(), chart.metadata.version);
    let mut out: TreeBuilder = tree.to_builder();
    out.remove(&path);
    out.file(name.trim_start_matches('/'), File::new(packed, false))
        .map_err(|error| error.to_string())?;
    Ok(out.build())
}

/// `strvals.jsonl`: what `--set` and its siblings make, seen through a template.
pub(super) fn strvals(shared: &Path) -> Vec<Case> {
    let rows = json_lines(&shared.join("corpus/helm/strvals.jsonl"));
    rows.iter().filter_map(one_set).collect()
}

fn one_set(row: &Value) -> Option<Case> {
    let name = row["name"].as_str()?;
    let mut arguments = vec!["template".to_owned(), "demo".to_owned(), "./chart".to_owned()];
    if row["base"].is_string() {
        arguments.extend(["-f".to_owned(), "@base".to_owned()]);
    }
    arguments.extend(words(&row["args"]));
    let read = |name: &str| {
        let text = if name == "@base" {
            &row["base"]
        } else {
            &row["files"][name]
        };
        let data = text.as_str().map(|text| text.as_bytes().to_vec());
        data.ok_or_else(|| format!("open {name}: no such file or directory"))
    };
    let files: [(&str, &[u8]); 2] = [
        ("Chart.yaml", b"apiVersion: v2\nname: web\nversion: 0.1.0\n"),
        ("templates/v.json", b"{{ .Values | toJson }}"),
    ];
    let got = Command::parse(&arguments).and_then(|command| {
        let chart = tree(files).and_then(|tree| load(&tree, ""));
        let rendered = command.run(chart, &read)?;
        let manifest = rendered.manifests.first().ok_or("nothing rendered")?;
        serde_json::from_str::<Value>(&manifest.content).map_err(|error| error.to_string())
    });
    let floats = |value: &Value| fluvial_helm::Values::from_json(value).map_or(Value::Null, |v| v.as_json());
    let outcome = match (row["error"].as_str(), got) {
        (Some(want), Err(got)) => return Some(Case::compare(name, want.trim_end(), got.trim_end())),
        (Some(want), Ok(got)) => Err(format!("must fail with {want}, gives {got}")),
        (None, Err(error)) => Err(format!("fails: {error}")),
        (None, Ok(got)) if floats(&row["values"]) == floats(&got) => Ok(()),
        (None, Ok(got)) => Err(format!("want {}, got {got}", row["values"])),
    };
    Some(Case {
        name: name.to_owned(),
        outcome,
    })
}
