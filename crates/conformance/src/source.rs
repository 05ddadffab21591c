//! Suites of the source crate.

use std::collections::BTreeMap;
use std::path::Path;

use fluvial_tree::{Entry, File, TreeBuilder};
use serde::Deserialize;

use crate::{Case, Suite};

/// The suites of this module.
pub(crate) fn suites() -> Vec<Suite> {
    vec![Suite {
        name: "source/ignore",
        needs: "corpus/vectors/ignore.jsonl",
        run: ignore,
    }]
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    name: String,
    files: BTreeMap<String, String>,
    spec_ignore: Option<String>,
    want: Vec<String>,
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn ignore(shared: &Path) -> Vec<Case> {
    let folder = shared.join("corpus/vectors");
    let run = || -> Result<Vec<Case>, String> {
        let base: Vec<String> = serde_json::from_str(&read(&folder.join("ignore-tree.json"))?)
            .map_err(|error| error.to_string())?;
        read(&folder.join("ignore.jsonl"))?
            .lines()
            .map(|line| {
                let vector: Vector = serde_json::from_str(line).map_err(|error| error.to_string())?;
                case(&base, &vector)
            })
            .collect()
    };
    run().unwrap_or_else(|error| {
        vec![Case {
            name: "vectors".to_owned(),
            outcome: Err(error),
        }]
    })
}

fn case(base: &[String], vector: &Vector) -> Result<Case, String> {
    let mut builder = TreeBuilder::default();
    let base = base.iter().map(|path| (path.as_str(), "x"));
    let own = vector
        .files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()));
    for (path, text) in base.chain(own) {
        builder
            .file(path, File::new(text.as_bytes(), false))
            .map_err(|error| error.to_string())?;
    }
    let tree = builder.build();
    let rules = fluvial_source::ignore::Rules::load(&tree, vector.spec_ignore.as_deref());
    let mut got: Vec<String> = rules
        .kept(&tree)
        .into_iter()
        .map(|(path, entry)| match entry {
            Entry::Folder => format!("{path}/"),
            Entry::File(_) | Entry::Symlink(_) => path.to_string(),
        })
        .collect();
    got.sort_unstable();
    let mut want = vector.want.clone();
    want.sort_unstable();
    Ok(Case::compare(&vector.name, &want.join("\n"), &got.join("\n")))
}
