//! The YAML corpora: reading, writing, resolving, splitting.

use std::path::Path;

use fluvial_yaml::{
    EmitOptions, Mode, Node, ReadOptions, ScalarStyle, emit, is_yaml_1_1_non_string, json_text_to_yaml,
    json_to_yaml, parse_first, scalar_type, split_documents, yaml_to_json,
};
use serde_json::{Value, json};

use crate::{Case, Suite, json_lines};

/// The suites of this module.
#[must_use]
pub fn suites() -> Vec<Suite> {
    const VECTORS: &str = "corpus/vectors";
    const KYAML: &str = "corpus/kustomize/kyaml";
    let suite = |name, needs, run| Suite { name, needs, run };
    vec![
        suite("yaml/kyaml", VECTORS, kyaml),
        suite("yaml/toyaml", VECTORS, toyaml),
        suite("yaml/roundtrip", KYAML, roundtrip),
        suite("yaml/resolve", KYAML, resolve),
        suite("yaml/scalar", KYAML, scalar),
        suite("yaml/deanchor", KYAML, deanchor),
    ]
}

fn lines(shared: &Path, file: &str) -> Vec<Value> {
    json_lines(&shared.join("corpus").join(file))
}

fn text<'v>(case: &'v Value, key: &str) -> &'v str {
    case[key].as_str().unwrap_or_default()
}

/// The first document, or an error where there is none, as kyaml's `Parse`.
pub(crate) fn parse(text: &str) -> Result<Node, String> {
    match parse_first(text, &ReadOptions::default()) {
        Ok(Some(node)) => Ok(node),
        Ok(None) => Err("EOF".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Compares a result with an expected text or error.
pub(crate) fn judge(
    want: Option<&str>,
    error: Option<&str>,
    got: Result<String, String>,
) -> Result<(), String> {
    match (want, error, got) {
        (Some(want), _, Ok(got)) if want == got => Ok(()),
        (Some(want), _, Ok(got)) => Err(format!(
            "{}\n  want {want:?}\n  got  {got:?}",
            crate::first_difference(want, &got)
        )),
        (Some(_), _, Err(got)) => Err(format!("fails: {got}")),
        (None, Some(_), Err(_)) | (None, None, _) => Ok(()),
        (None, Some(error), Ok(got)) => Err(format!("should fail with {error:?}, gives {got:?}")),
    }
}

fn compact(node: &Node) -> String {
    emit(node, &EmitOptions::default())
}

fn roundtrip(shared: &Path) -> Vec<Case> {
    lines(shared, "kustomize/kyaml/roundtrip.jsonl")
        .iter()
        .map(|case| Case {
            name: text(case, "name").to_owned(),
            outcome: judge(
                case["expected"].as_str(),
                case["error"].as_str(),
                match parse_first(text(case, "input"), &ReadOptions::default()) {
                    Ok(None) if case["error"].is_null() => Ok(String::new()),
                    Ok(None) => Err("EOF".to_owned()),
                    Ok(Some(node)) => Ok(compact(&node)),
                    Err(error) => Err(error.to_string()),
                },
            ),
        })
        .collect()
}

fn deanchor(shared: &Path) -> Vec<Case> {
    lines(shared, "kustomize/kyaml/deanchor.jsonl")
        .iter()
        .map(|case| {
            let run = || {
                let mut node = parse(text(case, "input"))?;
                node.deanchor().map_err(|error| error.to_string())?;
                Ok(compact(&node))
            };
            Case {
                name: text(case, "name").to_owned(),
                outcome: judge(case["expected"].as_str(), case["error"].as_str(), run()),
            }
        })
        .collect()
}

/// Compares JSON texts as values.
fn judge_json(want: Option<&str>, error: Option<&str>, got: Result<Value, String>) -> Result<(), String> {
    match (want, error, got) {
        (Some(want), _, Ok(got)) => {
            let want: Value = serde_json::from_str(want).map_err(|error| error.to_string())?;
            if json_equal(&want, &got) {
                Ok(())
            } else {
                Err(format!("want {want}, got {got}"))
            }
        }
        (Some(want), _, Err(got)) => Err(format!("wants {want}, fails: {got}")),
        (None, Some(_), Err(_)) | (None, None, _) => Ok(()),
        (None, Some(error), Ok(got)) => Err(format!("should fail with {error:?}, gives {got}")),
    }
}

/// Equal as JSON values: 1 and 1.0 are the same number.
fn json_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| json_equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, left)| right.get(key).is_some_and(|right| json_equal(left, right)))
        }
        (left, right) => left == right,
    }
}

/// As kyaml's `MarshalJSON`, which wants a mapping or a sequence.
fn kyaml_json(node: &Node) -> Result<Value, String> {
    if node.as_text() == Some("") {
        return Ok(json!({}));
    }
    let value = node.to_json(Mode::Kyaml).map_err(|error| error.to_string())?;
    if value.is_null() {
        return Ok(value);
    }
    if value.is_object() || value.is_array() {
        Ok(value)
    } else {
        Err("no mapping".to_owned())
    }
}

fn resolve(shared: &Path) -> Vec<Case> {
    lines(shared, "kustomize/kyaml/resolve.jsonl")
        .iter()
        .map(|case| {
            let input = text(case, "input");
            let expected = &case["expected"];
            let sigs = judge_json(
                expected["yaml_to_json"].as_str(),
                expected["yaml_to_json_error"].as_str(),
                yaml_to_json(input, false).map_err(|error| error.to_string()),
            );
            let node = judge_json(
                expected["node_to_json"].as_str(),
                expected["node_to_json_error"].as_str(),
                parse(input).and_then(|node| kyaml_json(&node)),
            );
            Case {
                name: text(case, "name").to_owned(),
                outcome: sigs
                    .map_err(|error| format!("sigs: {error} of {input:?}"))
                    .and(node.map_err(|error| format!("node: {error} of {input:?}"))),
            }
        })
        .collect()
}

fn scalar(shared: &Path) -> Vec<Case> {
    lines(shared, "kustomize/kyaml/scalar.jsonl")
        .iter()
        .map(|case| Case {
            name: text(case, "name").to_owned(),
            outcome: scalar_case(text(case, "text"), &case["expected"]),
        })
        .collect()
}

fn scalar_case(source: &str, expected: &Value) -> Result<(), String> {
    let parsed = parse(&format!("v: {source}")).and_then(|node| {
        let node = node.get("v").ok_or("no mapping")?.clone();
        let value = node.as_text().unwrap_or_default().to_owned();
        let tag = match node.tag().filter(|tag| *tag != "!") {
            None if node.entries().is_some() => "!!map".to_owned(),
            None if node.items().is_some() => "!!seq".to_owned(),
            Some(tag) => tag.to_owned(),
            None if !is_plain(&node) => "!!str".to_owned(),
            None => scalar_type(&value, Mode::Kyaml).tag().to_owned(),
        };
        Ok((tag, value))
    });
    match (expected["plain_tag"].as_str(), parsed) {
        (Some(tag), Ok(got)) if tag == got.0 && expected["plain_value"] == got.1 => {}
        (None, Err(_)) => {}
        (want, got) => {
            return Err(format!(
                "plain: want {want:?} {}, got {got:?}",
                expected["plain_value"]
            ));
        }
    }
    let non_string = is_yaml_1_1_non_string(source);
    if expected["non_string_in_yaml_1_1"] != non_string {
        return Err(format!("non_string_in_yaml_1_1 of {source:?}: got {non_string}"));
    }
    let mut node = Node::mapping(vec![]);
    set_field(&mut node, "v", fluvial_yaml::Node::string(source));
    judge(expected["as_string"].as_str(), None, Ok(compact(&node)))
        .map_err(|error| format!("as string: {error}"))
}

fn is_plain(node: &Node) -> bool {
    matches!(
        node.data,
        fluvial_yaml::NodeData::Scalar {
            style: ScalarStyle::Plain,
            ..
        }
    )
}

/// Sets a field as kyaml's `FieldSetter` does.
fn set_field(node: &mut Node, key: &str, mut value: Node) {
    let entries = node.entries_mut().expect("a mapping");
    match entries.iter_mut().find(|entry| entry.key.as_text() == Some(key)) {
        Some(entry) => entry.value = value,
        None => {
            if is_yaml_1_1_non_string(value.as_text().unwrap_or_default()) {
                set_style(&mut value, ScalarStyle::DoubleQuoted);
            }
            entries.push(fluvial_yaml::Entry {
                key: Node::plain(key),
                value,
            });
        }
    }
}

fn set_style(node: &mut Node, wish: ScalarStyle) {
    if let fluvial_yaml::NodeData::Scalar { style, .. } = &mut node.data {
        *style = wish;
    }
}

fn kyaml(shared: &Path) -> Vec<Case> {
    lines(shared, "vectors/kyaml.jsonl")
        .iter()
        .map(|case| Case {
            name: text(case, "name").to_owned(),
            outcome: kyaml_case(case),
        })
        .collect()
}

fn kyaml_case(case: &Value) -> Result<(), String> {
    let source = text(case, "yaml");
    let mut parsed = parse(source);
    if let Ok(node) = &mut parsed {
        for (field, plain) in [("setString", false), ("setPlain", true)] {
            for (key, value) in case[field].as_object().into_iter().flatten() {
                let value = value.as_str().unwrap_or_default();
                let new = if plain {
                    Node::plain(value)
                } else {
                    Node::string(value)
                };
                set_field(node, key, new);
            }
        }
    }
    let printed = parsed.as_ref().map(compact).map_err(Clone::clone);
    judge(case["want"].as_str(), case["error"].as_str(), printed)?;
    if let Ok(node) = &parsed {
        judge_json(
            case["json"].as_str(),
            case["jsonError"].as_str(),
            kyaml_json(node),
        )?;
    }
    Ok(())
}

fn toyaml(shared: &Path) -> Vec<Case> {
    lines(shared, "vectors/toyaml.jsonl")
        .iter()
        .map(|case| Case {
            name: text(case, "name").to_owned(),
            outcome: match text(case, "op") {
                "jsonToYaml" => json_case(case),
                "yamlToJson" => yaml_case(case),
                _ => split_case(case),
            },
        })
        .collect()
}

fn json_case(case: &Value) -> Result<(), String> {
    let source = text(case, "json");
    judge(
        case["want"].as_str(),
        case["error"].as_str(),
        json_text_to_yaml(source).map_err(|error| error.to_string()),
    )?;
    if let (Some(want), Ok(value)) = (
        case["wantFloat64"].as_str(),
        serde_json::from_str::<Value>(source),
    ) {
        judge(Some(want), None, Ok(json_to_yaml(&as_floats(value))))?;
    }
    Ok(())
}

/// All numbers as floats, as Go decodes JSON.
fn as_floats(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, |float| json!(float)),
        Value::Array(items) => items.into_iter().map(as_floats).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key, as_floats(value)))
            .collect(),
        other => other,
    }
}

fn yaml_case(case: &Value) -> Result<(), String> {
    let source = text(case, "yaml");
    let got = yaml_to_json(source, false).map_err(|error| error.to_string());
    if let Some(again) = case["again"].as_str()
        && let Ok(value) = &got
    {
        judge(Some(again), None, Ok(json_to_yaml(value)))?;
    }
    judge_json(case["want"].as_str(), case["error"].as_str(), got)?;
    let strict = yaml_to_json(source, true).map_err(|error| error.to_string());
    match case["strictError"].as_str() {
        Some(error) => judge_json(None, Some(error), strict),
        None => judge_json(case["want"].as_str(), case["error"].as_str(), strict),
    }
}

fn split_case(case: &Value) -> Result<(), String> {
    let documents = match (split_documents(text(case, "yaml")), case["error"].as_str()) {
        (Ok(documents), None) => documents,
        (Err(_), Some(_)) => return Ok(()),
        (got, want) => return Err(format!("want error {want:?}, got {got:?}")),
    };
    if json!(documents) != case["want"] {
        return Err(format!("want {}, got {documents:?}", case["want"]));
    }
    let decoded: Result<Vec<Value>, _> = documents
        .iter()
        .map(
            |document| match serde_json::Deserializer::from_str(document).into_iter().collect() {
                Ok(values) => Ok(values),
                Err(_) => yaml_to_json(document, false).map(|value| vec![value]),
            },
        )
        .collect::<Result<Vec<Vec<Value>>, _>>()
        .map(|values| values.into_iter().flatten().collect());
    match (decoded, case["decoded"].as_array()) {
        (Ok(got), Some(want)) if got == *want => Ok(()),
        (Ok(got), Some(want)) => Err(format!("want {want:?}, got {got:?}")),
        (Err(_), None) => Ok(()),
        (got, want) => Err(format!("want {want:?}, got {got:?}")),
    }
}
