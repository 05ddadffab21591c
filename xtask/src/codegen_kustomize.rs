//! Makes the table of kustomize's built-in schema: which fields a kind has, of what type, and how
//! lists of them merge. The facts are those that kustomize carries, Kubernetes 1.21's OpenAPI.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub(crate) fn make(root: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, String> {
    let from = root.join("../shared/corpus/kustomize/facts");
    if !from.exists() {
        return Ok(vec![]);
    }
    Ok(vec![(
        "crates/kustomize/src/facts/kubernetes-1.21.txt".into(),
        table(&from)?.into_bytes(),
    )])
}

/// The table's text from the folder with `schema.jsonl` and `kinds.jsonl`.
fn table(facts: &Path) -> Result<String, String> {
    let mut out = String::new();
    let mut kinds = BTreeMap::new();
    for kind in lines(&facts.join("kinds.jsonl"))? {
        let scope = match (
            kind["namespaced"].as_bool(),
            kind["cluster_scoped_for_kustomize"].as_bool(),
        ) {
            (_, Some(true)) => 'C',
            (Some(true), _) => 'N',
            _ => '-',
        };
        let key = format!("{} {}", text(&kind["api_version"])?, text(&kind["kind"])?);
        kinds.insert(key, format!("{} {scope}", short(text(&kind["definition"])?)));
    }
    for (key, value) in kinds {
        let _ = writeln!(out, "{key} {value}");
    }
    out.push('\n');
    let mut definitions = BTreeMap::new();
    for definition in lines(&facts.join("schema.jsonl"))? {
        let mut line = match definition["type"].as_str() {
            Some(_) => scalar(&definition),
            None => "-".to_owned(),
        };
        for (name, property) in definition["properties"].as_object().into_iter().flatten() {
            let _ = write!(line, " {name}={}", property_type(property)?);
        }
        definitions.insert(short(text(&definition["definition"])?).to_owned(), line);
    }
    for (name, line) in definitions {
        let _ = writeln!(out, "{name} {line}");
    }
    Ok(out)
}

fn lines(path: &Path) -> Result<Vec<Value>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.lines()
        .map(|line| serde_json::from_str(line).map_err(|error| format!("{}: {error}", path.display())))
        .collect()
}

fn text(value: &Value) -> Result<&str, String> {
    value
        .as_str()
        .ok_or_else(|| format!("expected a text, found {value}"))
}

fn short(name: &str) -> &str {
    name.strip_prefix("io.k8s.").unwrap_or(name)
}

fn scalar(value: &Value) -> String {
    let letter = match value["type"].as_str() {
        Some("string") => "s",
        Some("integer") => "i",
        Some("boolean") => "b",
        Some("number") => "n",
        _ => "-",
    };
    match value["format"].as_str() {
        Some("int-or-string") => "x".to_owned(),
        _ => letter.to_owned(),
    }
}

/// A type: `s`, `i`, `b`, `n`, `x` (int or string), `@definition`, `[items`, `{values`; after it
/// `,patch:…`, `,list:…` and `,keys:…+…` where a list says how it merges.
fn property_type(property: &Value) -> Result<String, String> {
    let mut out = if let Some(name) = property["ref"].as_str() {
        format!("@{}", short(name))
    } else if property["items"].is_object() {
        format!("[{}", property_type(&property["items"])?)
    } else if property["values"].is_object() {
        format!("{{{}", property_type(&property["values"])?)
    } else {
        scalar(property)
    };
    if let Some(strategy) = property["patch_strategy"].as_str() {
        let _ = write!(out, ",patch:{}", strategy.replace(',', "+"));
    }
    let keys: Vec<&str> = match property["list_map_keys"].as_array() {
        Some(keys) => keys.iter().filter_map(Value::as_str).collect(),
        None => property["patch_merge_key"].as_str().into_iter().collect(),
    };
    if !keys.is_empty() {
        let _ = write!(out, ",keys:{}", keys.join("+"));
    }
    Ok(out)
}
