//! Go templates: the vectors that need no chart.

use std::path::Path;
use std::sync::Arc;

use fluvial_template::{Functions, Limits, Set, Value, sprig};
use serde::Deserialize;

use crate::{Case, Suite};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    name: String,
    mode: String,
    template: String,
    want: Option<String>,
    error: Option<String>,
    error_text: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fixture {
    raw_data: serde_json::Value,
}

/// The suites of this module.
#[must_use]
pub fn suites() -> Vec<Suite> {
    vec![Suite {
        name: "template/raw",
        needs: "corpus/vectors/gotemplate.jsonl",
        run: raw,
    }]
}

/// The cases of mode `raw`: the language with Sprig alone.
fn raw(shared: &Path) -> Vec<Case> {
    let folder = shared.join("corpus/vectors");
    let fixture = std::fs::read_to_string(folder.join("gotemplate-fixture.json")).unwrap_or_default();
    let lines = std::fs::read_to_string(folder.join("gotemplate.jsonl")).unwrap_or_default();
    let data =
        serde_json::from_str::<Fixture>(&fixture).map_or(serde_json::Value::Null, |fixture| fixture.raw_data);
    let mut functions = Functions::builtins();
    sprig::register(&mut functions);
    let functions = Arc::new(functions);
    let vectors = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Vector>(line).ok());
    vectors
        .filter(|vector| vector.mode == "raw")
        .map(|vector| run(&vector, &functions, &data))
        .collect()
}

fn run(vector: &Vector, functions: &Arc<Functions>, data: &serde_json::Value) -> Case {
    let got = render(&vector.template, functions, data);
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

fn render(template: &str, functions: &Arc<Functions>, data: &serde_json::Value) -> Result<String, String> {
    let mut set = Set::new(Arc::clone(functions));
    set.add("t", template).map_err(|error| error.to_string())?;
    set.execute("t", &Value::from_json(data), Limits::default(), &mut ())
        .map_err(|error| error.to_string())
}
