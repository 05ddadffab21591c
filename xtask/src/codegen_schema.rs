//! Writes the table of built-in kinds (`crates/schema/data`) from an API server's own documents.
//!
//! Input: a folder with `openapi-v3/*.json.gz` and `resources.json`. Output: `kinds.txt` (types as
//! indented lines, see `fluvial_schema::table`) and `resources.json` (one served resource a line).
//! Descriptions are left out: they are prose, and most of the size.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

const PREFIX: &str = "#/components/schemas/";

/// Makes both files; nothing where the documents are not on this machine.
pub(crate) fn make(root: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, String> {
    let from = root.join("../shared/corpus/api/schema");
    if !from.exists() {
        return Ok(vec![]);
    }
    let mut kinds = String::new();
    for (name, schema) in &definitions(&from.join("openapi-v3"))? {
        write_type(&mut kinds, 0, name, schema)?;
    }
    let resources =
        std::fs::read_to_string(from.join("resources.json")).map_err(|error| error.to_string())?;
    let resources: Vec<Value> = serde_json::from_str(&resources).map_err(|error| error.to_string())?;
    let lines: Vec<String> = resources.iter().map(Value::to_string).collect();
    Ok(vec![
        ("crates/schema/data/kinds.txt".into(), kinds.into_bytes()),
        (
            "crates/schema/data/resources.json".into(),
            format!("[\n{}\n]\n", lines.join(",\n")).into_bytes(),
        ),
    ])
}

fn definitions(folder: &Path) -> Result<BTreeMap<String, Value>, String> {
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    for file in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let file = file.map_err(|error| error.to_string())?;
        if !file.path().to_string_lossy().ends_with(".json.gz") {
            continue;
        }
        let packed = std::fs::read(file.path()).map_err(|error| error.to_string())?;
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*packed)
            .read_to_string(&mut text)
            .map_err(|error| format!("{}: {error}", file.path().display()))?;
        let Ok(document) = serde_json::from_str::<Value>(&text) else {
            continue;
        };
        let Some(schemas) = document.pointer("/components/schemas").and_then(Value::as_object) else {
            continue;
        };
        for (name, schema) in schemas {
            let mut schema = schema.clone();
            strip(&mut schema);
            // Options and watch events are published with the group they are served in: keep all.
            match all.get_mut(name) {
                None => {
                    all.insert(name.clone(), schema);
                }
                Some(known) => join_kinds(known, &schema),
            }
        }
    }
    Ok(all)
}

/// Removes descriptions of schemas (not properties that are named `description`).
fn strip(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    if map.get("description").is_some_and(Value::is_string) {
        map.remove("description");
    }
    if let Some(children) = map.get_mut("properties").and_then(Value::as_object_mut) {
        children.values_mut().for_each(strip);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = map.get_mut(key) {
            strip(child);
        }
    }
}

fn join_kinds(known: &mut Value, other: &Value) {
    const KEY: &str = "x-kubernetes-group-version-kind";
    let Some(more) = other.get(KEY).and_then(Value::as_array) else {
        return;
    };
    let Some(have) = known.get_mut(KEY).and_then(Value::as_array_mut) else {
        return;
    };
    for kind in more {
        if !have.contains(kind) {
            have.push(kind.clone());
        }
    }
    have.sort_by_key(Value::to_string);
}

fn write_type(out: &mut String, depth: usize, name: &str, schema: &Value) -> Result<(), String> {
    let map = schema
        .as_object()
        .ok_or_else(|| format!("{name}: not a schema: {schema}"))?;
    let _ = write!(out, "{:depth$}{name}\t", "");
    let reference = |map: &Map<String, Value>| {
        map.get("$ref")
            .and_then(Value::as_str)
            .and_then(|text| text.strip_prefix(PREFIX))
            .map(str::to_owned)
    };
    let mut rest = map.clone();
    rest.remove("properties");
    rest.remove("items");
    rest.remove("additionalProperties");
    if let Some(target) = reference(map) {
        let _ = write!(out, "@{target}");
        rest.remove("$ref");
    } else if let Some(target) = map
        .get("allOf")
        .and_then(Value::as_array)
        .and_then(|all| all.first())
        .and_then(Value::as_object)
        .and_then(reference)
    {
        // `&` stands for a reference inside `allOf`, as documents write one with siblings.
        let _ = write!(out, "&{target}");
        rest.remove("allOf");
    } else if let Some(kind) = rest.remove("type") {
        out.push_str(kind.as_str().ok_or_else(|| format!("{name}: type {kind}"))?);
    } else {
        out.push('-');
    }
    for (key, value) in &rest {
        let _ = match (key.as_str(), value) {
            ("x-kubernetes-group-version-kind", Value::Array(kinds)) => {
                for kind in kinds {
                    let part = |key: &str| kind[key].as_str().unwrap_or_default().to_owned();
                    let _ = write!(
                        out,
                        "\tkind={}/{}/{}",
                        part("group"),
                        part("version"),
                        part("kind")
                    );
                }
                Ok(())
            }
            (_, Value::String(text)) if key != "default" => {
                write!(out, "\t{}={text}", key.trim_start_matches("x-kubernetes-"))
            }
            _ => write!(out, "\t{}={value}", key.trim_start_matches("x-kubernetes-")),
        };
    }
    out.push('\n');
    if let Some(properties) = map.get("properties").and_then(Value::as_object) {
        for (child, schema) in properties {
            write_type(out, depth + 1, child, schema)?;
        }
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        match map.get(key) {
            None => {}
            Some(schema) => write_type(out, depth + 1, mark, schema)?,
        }
    }
    Ok(())
}
