//! The vectors that need a chart or Helm's own small languages.

use std::collections::BTreeMap;
use std::path::Path;

use fluvial_helm::{Capabilities, Chart, KubeVersion, Options, Release, Values, render_files};
use fluvial_tree::TreePath;
use serde::Deserialize;

use super::{request, tree};
use crate::Case;

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
    let release = Release {
        name: "rel".to_owned(),
        namespace: "ns".to_owned(),
        revision: 1,
        is_upgrade: false,
    };
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
