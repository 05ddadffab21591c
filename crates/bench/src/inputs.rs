//! What is built: inputs of the corpora as folders, and trees made here.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use fluvial_conformance::json_lines;
use fluvial_conformance::txtar::Archive;

use crate::Failure;

/// A folder to build.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub name: String,
    pub folder: PathBuf,
}

fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let told = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(told)?;
    }
    std::fs::write(path, content).map_err(told)
}

/// The corpus' builds that need nothing but files and succeed, written below `work`.
pub(crate) fn corpus(shared: &Path, work: &Path) -> Result<Vec<Input>, Failure> {
    let corpus = shared.join("corpus/kustomize");
    let mut found = Vec::new();
    for (number, case) in json_lines(&corpus.join("index.jsonl")).iter().enumerate() {
        let file = case["file"].as_str().unwrap_or_default();
        if case["outcome"] != "ok" || Path::new(file).extension().is_none_or(|end| end != "txtar") {
            continue;
        }
        let data = std::fs::read(corpus.join(file)).map_err(|error| format!("{file}: {error}"))?;
        let archive = Archive::parse(&data);
        let plain = archive
            .value("plugins")
            .is_none_or(|plugins| plugins == "builtin")
            && archive.value("needs-root").is_none()
            && archive.value("released-panics").is_none()
            && archive.value("base64").is_none();
        if !plain {
            continue;
        }
        let root = work.join(format!("case-{number}"));
        for (name, content) in &archive.sections {
            if let Some(name) = name.strip_prefix("in/") {
                write(&root.join(name), content)?;
            }
        }
        found.push(Input {
            name: case["name"].as_str().unwrap_or_default().to_owned(),
            folder: root.join(archive.value("dir").unwrap_or(".")),
        });
    }
    Ok(found)
}

/// Every folder of the fleets that holds a kustomization.
pub(crate) fn fleets(shared: &Path) -> Vec<Input> {
    let mut found = Vec::new();
    let mut open = vec![shared.join("fleets")];
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().is_some_and(|name| name == "kustomization.yaml") {
                found.push(Input {
                    name: folder.display().to_string(),
                    folder: folder.clone(),
                });
            }
        }
    }
    found
}

/// One object of a made tree: a Deployment, a Service or a ConfigMap in turn.
fn document(number: usize) -> String {
    let name = format!("part-{number:05}");
    match number % 4 {
        0 => format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  labels: {{app: {name}}}\nspec:\n  replicas: 2\n  selector:\n    matchLabels: {{app: {name}}}\n  template:\n    metadata:\n      labels: {{app: {name}}}\n    spec:\n      containers:\n      - name: main\n        image: registry.example/team/{name}:1.{number}\n        env:\n        - name: LEVEL\n          value: info\n        envFrom:\n        - configMapRef: {{name: part-{:05}}}\n        ports:\n        - containerPort: 8080\n",
            number + 2
        ),
        1 => format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  selector: {{app: part-{:05}}}\n  ports:\n  - port: 80\n    targetPort: 8080\n",
            number - 1
        ),
        2 => format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  settings: |\n    level=info\n    number={number}\n  mode: \"on\"\n"
        ),
        _ => format!("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {name}\n"),
    }
}

/// One kustomization with `count` documents in files of forty, and a field of each common kind.
pub(crate) fn many_documents(folder: &Path, count: usize) -> Result<Input, Failure> {
    let mut list = String::new();
    for (file, start) in (0..count).step_by(40).enumerate() {
        let documents: Vec<String> = (start..(start + 40).min(count)).map(document).collect();
        write(
            &folder.join(format!("part-{file}.yaml")),
            documents.join("---\n").as_bytes(),
        )?;
        let _ = writeln!(list, "- part-{file}.yaml");
    }
    let text = format!(
        "resources:\n{list}namespace: load\nnamePrefix: made-\nlabels:\n- pairs: {{team: load}}\nimages:\n- name: registry.example/team/part-00000\n  newTag: v2\n"
    );
    write(&folder.join("kustomization.yaml"), text.as_bytes())?;
    Ok(Input {
        name: format!("{count} documents"),
        folder: folder.to_owned(),
    })
}

/// One base of eight objects and `count` overlays of it; gives the overlays.
pub(crate) fn overlays(folder: &Path, count: usize) -> Result<Vec<Input>, Failure> {
    let documents: Vec<String> = (0..8).map(document).collect();
    write(&folder.join("base/all.yaml"), documents.join("---\n").as_bytes())?;
    write(
        &folder.join("base/kustomization.yaml"),
        b"resources: [all.yaml]\n",
    )?;
    (0..count)
        .map(|number| {
            let overlay = folder.join(format!("overlay-{number}"));
            let text = format!(
                "resources: [../base]\nnamespace: tenant-{number}\nnameSuffix: -t{number}\nlabels:\n- pairs: {{tenant: t{number}}}\n  includeSelectors: true\nconfigMapGenerator:\n- name: extra\n  literals: [tenant=t{number}]\npatches:\n- target: {{kind: Deployment}}\n  patch: |\n    - op: replace\n      path: /spec/replicas\n      value: {}\n",
                number % 5 + 1
            );
            write(&overlay.join("kustomization.yaml"), text.as_bytes())?;
            Ok(Input { name: format!("overlay {number}"), folder: overlay })
        })
        .collect()
}
