//! The vectors that need a chart or Helm's own small languages.

use std::collections::BTreeMap;
use std::path::Path;

use fluvial_helm::{Capabilities, Chart, Index, KubeVersion, Options, Release, Rules, Values, render_files};
use fluvial_tree::TreePath;
use serde::Deserialize;
use serde_json::Value;

use super::{request, tree};
use crate::{Case, json_lines};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    name: String,
    mode: String,
    template: String,
    option: Option<String>,
    want: Option<String>,
    error: Option<String>,
    error_text: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fixture {
    files: BTreeMap<String, String>,
    user_values: String,
    kube_version: String,
    api_versions: Vec<String>,
}

/// The cases of mode `helm`: the language with everything that charts have.
pub(super) fn templates(shared: &Path) -> Vec<Case> {
    let folder = shared.join("corpus/vectors");
    let fixture = std::fs::read_to_string(folder.join("gotemplate-fixture.json")).unwrap_or_default();
    let lines = std::fs::read_to_string(folder.join("gotemplate.jsonl")).unwrap_or_default();
    let Ok(fixture) = serde_json::from_str::<Fixture>(&fixture) else {
        return Vec::new();
    };
    let vectors = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Vector>(line).ok());
    vectors
        .filter(|vector| vector.mode == "helm")
        .map(|vector| run(&vector, &fixture))
        .collect()
}

fn run(vector: &Vector, fixture: &Fixture) -> Case {
    let got = render(vector, fixture);
    let outcome = match (&vector.want, &vector.error, got) {
        (Some(want), _, Ok(got)) => return Case::compare(&vector.name, want, &got),
        (Some(_), _, Err(error)) => Err(format!("fails: {error}")),
        (None, Some(_), Err(_)) if vector.error_text.is_some() => Ok(()),
        (None, Some(want), Err(got)) => return Case::compare(&vector.name, want, &got),
        (None, _, Ok(got)) => Err(format!("must fail, gives {got:?}")),
        (None, None, Err(error)) => Err(format!("fails: {error}")),
    };
    Case {
        name: vector.name.clone(),
        outcome,
    }
}

fn render(vector: &Vector, fixture: &Fixture) -> Result<String, String> {
    let own = ("templates/t.yaml", vector.template.as_bytes());
    let files = fixture
        .files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_bytes()));
    let tree = tree(files.chain([own]))?;
    let chart = Chart::load(&tree, &TreePath::root()).map_err(|error| error.to_string())?;
    let values = Values::from_yaml(&fixture.user_values).map_err(|error| error.to_string())?;
    let release = release();
    let capabilities = Capabilities {
        kube_version: KubeVersion::parse(&fixture.kube_version)?,
        api_versions: std::sync::Arc::new(fixture.api_versions.clone()),
        helm_version: "v4.3.1".to_owned(),
    };
    let options = Options {
        strict: vector.option.as_deref() == Some("strict"),
        lint: vector.option.as_deref() == Some("lint"),
        ..Options::default()
    };
    let request = request(&chart, &values, &release, &capabilities, options);
    let mut files = render_files(request).map_err(|error| error.to_string())?;
    files
        .remove("x/templates/t.yaml")
        .ok_or_else(|| "no output".to_owned())
}

/// Values of a chart and a dependency coming together.
pub(super) fn coalesce(shared: &Path) -> Vec<Case> {
    let rows = json_lines(&shared.join("corpus/vectors/coalesce.jsonl"));
    rows.iter().filter_map(one_coalesce).collect()
}

fn one_coalesce(row: &Value) -> Option<Case> {
    let name = row["name"].as_str()?;
    let text = |key: &str| row[key].as_str().unwrap_or_default();
    let chart_yaml = format!(
        "apiVersion: v2\nname: top\nversion: 1.0.0\ndependencies:\n{}\n",
        text("dependencies")
    );
    let files: [(&str, &[u8]); 4] = [
        ("Chart.yaml", chart_yaml.as_bytes()),
        ("values.yaml", text("parent").as_bytes()),
        (
            "charts/sub/Chart.yaml",
            b"apiVersion: v2\nname: sub\nversion: 1.0.0\n",
        ),
        ("charts/sub/values.yaml", text("sub").as_bytes()),
    ];
    let got = tree(files).and_then(|tree| {
        let chart = Chart::load(&tree, &TreePath::root()).map_err(|error| error.to_string())?;
        let values = Values::from_yaml(text("user")).map_err(|error| error.to_string())?;
        let release = release();
        let capabilities = Capabilities::default();
        let options = Options {
            values: true,
            ..Options::default()
        };
        let request = request(&chart, &values, &release, &capabilities, options);
        fluvial_helm::render(request).map_err(|failure| failure.to_string())
    });
    let outcome = match (row["error"].as_str(), got) {
        (None, Ok(rendered)) => {
            let enabled: Vec<&str> = rendered
                .charts
                .iter()
                .filter_map(|path| path.strip_prefix("top/charts/"))
                .collect();
            let want: Vec<&str> = row["want"]["enabled"]
                .as_array()?
                .iter()
                .filter_map(Value::as_str)
                .collect();
            if enabled != want {
                Err(format!("enabled: want {want:?}, got {enabled:?}"))
            } else {
                let got = fluvial_yaml::json_to_yaml(&rendered.values);
                return Some(Case::compare(name, row["want"]["values"].as_str()?, &got));
            }
        }
        (None, Err(error)) => Err(format!("fails: {error}")),
        (Some(want), Ok(_)) => Err(format!("must fail: {want}")),
        (Some(_), Err(_)) => Ok(()),
    };
    Some(Case {
        name: name.to_owned(),
        outcome,
    })
}

/// `.helmignore` over a tree.
pub(super) fn ignore(shared: &Path) -> Vec<Case> {
    let folder = shared.join("corpus/vectors");
    let files = std::fs::read_to_string(folder.join("helmignore-tree.json")).unwrap_or_default();
    let files: Vec<String> = serde_json::from_str(&files).unwrap_or_default();
    let rows = json_lines(&folder.join("helmignore.jsonl"));
    rows.iter().filter_map(|row| one_ignore(row, &files)).collect()
}

fn one_ignore(row: &Value, files: &[String]) -> Option<Case> {
    let name = row["name"].as_str()?;
    let left = Rules::parse(row["helmignore"].as_str()?).map(|rules| {
        let is_left = |path: &&String| {
            let ends = path.match_indices('/').map(|(end, _)| (end, true));
            ends.chain([(path.len(), false)])
                .all(|(end, folder)| !rules.ignores(&path[..end], folder))
        };
        let mut left: Vec<&str> = files.iter().filter(is_left).map(String::as_str).collect();
        left.sort_unstable();
        left.join("\n")
    });
    let mut want: Vec<&str> = row["want"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    want.sort_unstable();
    let outcome = match (row["error"].as_str(), left) {
        (None, Ok(left)) => return Some(Case::compare(name, &want.join("\n"), &left)),
        (Some(want), Err(got)) => return Some(Case::compare(name, want, &got)),
        (None, Err(error)) => Err(format!("fails: {error}")),
        (Some(want), Ok(_)) => Err(format!("must fail: {want}")),
    };
    Some(Case {
        name: name.to_owned(),
        outcome,
    })
}

/// The small language of `--set`.
pub(super) fn set(shared: &Path) -> Vec<Case> {
    let rows = json_lines(&shared.join("corpus/vectors/strvals.jsonl"));
    rows.iter().filter_map(one_set).collect()
}

fn one_set(row: &Value) -> Option<Case> {
    let name = row["name"].as_str()?;
    let text = row["text"].as_str()?;
    let mut values = match row.get("into") {
        Some(Value::String(yaml)) => Values::from_yaml(yaml).ok()?,
        Some(json) => Values::from_json(json).ok()?,
        None => Values::new(),
    };
    let result = match row["op"].as_str()? {
        "setString" => values.set_string(text),
        "setLiteral" => values.set_literal(text),
        "setJson" => values.set_json(text),
        _ => values.set(text),
    };
    let floats = |value: &Value| Values::from_json(value).map_or(Value::Null, |values| values.as_json());
    let outcome = match (row["error"].as_str(), result.map_err(|error| error.to_string())) {
        (None, Ok(())) if floats(&row["want"]) == floats(&values.as_json()) => Ok(()),
        (None, Ok(())) => Err(format!("want {}, got {}", row["want"], values.as_json())),
        (Some(_), Err(error)) if error.starts_with("failed parsing --set-json") => Ok(()),
        (Some(want), Err(got)) => {
            let got = got.split_once(" data: ").map_or(got.as_str(), |(_, got)| got);
            return Some(Case::compare(name, want, got));
        }
        (None, Err(error)) => Err(format!("fails: {error}")),
        (Some(want), Ok(())) => Err(format!("must fail: {want}")),
    };
    Some(Case {
        name: name.to_owned(),
        outcome,
    })
}

fn release() -> Release {
    Release {
        name: "rel".to_owned(),
        namespace: "ns".to_owned(),
        revision: 1,
        is_upgrade: false,
    }
}

/// `index.yaml`: loading, order, choice of a version.
pub(super) fn repo(shared: &Path) -> Vec<Case> {
    let rows = json_lines(&shared.join("corpus/vectors/chartrepo.jsonl"));
    rows.iter().filter_map(one_choice).collect()
}

fn one_choice(row: &Value) -> Option<Case> {
    let name = row["name"].as_str()?;
    let (chart, version) = (row["chart"].as_str()?, row["version"].as_str()?);
    let got = Index::parse(row["index"].as_str()?).and_then(|index| {
        let chosen = index.get(chart, version)?;
        let versions = index.versions(chart).iter();
        let order: Vec<&str> = versions.map(|known| known.metadata.version.as_str()).collect();
        Ok(serde_json::json!({
            "version": chosen.metadata.version,
            "digest": chosen.digest,
            "urls": if chosen.urls.is_empty() { Value::Null } else { chosen.urls.clone().into() },
            "order": order,
        }))
    });
    let outcome = match (row["error"].as_str(), got) {
        (None, Ok(got)) if got == row["want"] => Ok(()),
        (None, Ok(got)) => Err(format!("want {}, got {got}", row["want"])),
        (None, Err(error)) => Err(format!("fails: {error}")),
        (Some(want), Err(got)) => return Some(Case::compare(name, want, &got.to_string())),
        (Some(want), Ok(_)) => Err(format!("must fail: {want}")),
    };
    Some(Case {
        name: name.to_owned(),
        outcome,
    })
}
