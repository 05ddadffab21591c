//! The HelmReleases of real fleets.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use fluvial_helm::{Chart, LoadLimits};
use serde_json::Value;

use super::command::Command;
use crate::{Case, first_difference};

/// Every HelmRelease that has a chart here.
pub(super) fn releases(shared: &Path) -> Vec<Case> {
    let root = shared.join("fleets");
    let mut cases = Vec::new();
    let mut charts = BTreeMap::new();
    let folders = walkdir::WalkDir::new(&root)
        .min_depth(1)
        .max_depth(1)
        .sort_by_file_name();
    for folder in folders.into_iter().filter_map(Result::ok) {
        let list = std::fs::read_to_string(folder.path().join("helmreleases.json")).unwrap_or_default();
        let Ok(Value::Array(releases)) = serde_json::from_str(&list) else {
            continue;
        };
        let fleet = folder.file_name().to_string_lossy().into_owned();
        for release in &releases {
            if release["render"]["expected"].is_string() {
                let name = format!(
                    "{fleet}/{}/{}/{}",
                    release["cluster"].as_str().unwrap_or_default(),
                    release["namespace"].as_str().unwrap_or_default(),
                    release["name"].as_str().unwrap_or_default()
                );
                let outcome = one(&root, folder.path(), release, &mut charts);
                cases.push(Case { name, outcome });
            }
        }
    }
    cases
}

type Charts = BTreeMap<String, Result<Arc<Chart>, String>>;

fn one(root: &Path, fleet: &Path, release: &Value, charts: &mut Charts) -> Result<(), String> {
    let render = &release["render"];
    let file = render["chart"].as_str().unwrap_or_default();
    let load = || {
        let data = std::fs::read(root.join("charts").join(file)).map_err(|error| error.to_string())?;
        Chart::from_archive(&data, LoadLimits::default()).map_err(|error| error.to_string())
    };
    let chart = charts.entry(file.to_owned()).or_insert_with(load).clone();
    let mut arguments = vec![
        "template".to_owned(),
        release["releaseName"].as_str().unwrap_or_default().to_owned(),
        "chart".to_owned(),
    ];
    let given = render["args"].as_array().into_iter().flatten();
    arguments.extend(given.filter_map(|word| word.as_str().map(str::to_owned)));
    let command = Command::parse(&arguments)?;
    let values = serde_json::to_vec(&release["values"]).map_err(|error| error.to_string())?;
    let got = command.template(chart, &|_| Ok(values.clone()))?;
    let skip = usize::try_from(render["crds"]["bytes"].as_u64().unwrap_or(0)).unwrap_or(0);
    let got = got.get(skip..).ok_or("the output is shorter than the CRDs")?;
    let path = render["expected"].as_str().unwrap_or_default();
    let want = std::fs::read_to_string(fleet.join(path)).map_err(|error| error.to_string())?;
    if render["postrendered"].is_string() && render["postrendered"] == render["expected"] {
        return Ok(());
    }
    let volatile: Vec<u64> = render["volatileLines"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .collect();
    let mask = |text: &str| -> String {
        let lines = text.split('\n').zip(1u64..).map(|(line, number)| {
            if volatile.contains(&number) {
                "VOLATILE"
            } else {
                line
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let (want, got) = (mask(&want), mask(got));
    if want == got {
        Ok(())
    } else {
        Err(first_difference(&want, &got))
    }
}
