//! The small value languages of Kubernetes: quantities, durations, selectors, JSON paths, versions.

use std::path::Path;

use fluvial_object::{duration, fields::FieldSelector, jsonpath, labels, quantity::Quantity, semver, time};
use serde_json::{Value, json};

use crate::{Case, Suite};

/// The suites of this module.
pub(crate) fn suites() -> Vec<Suite> {
    let suite = |name, needs, run| Suite { name, needs, run };
    vec![
        suite("object/quantity", "corpus/vectors/quantity.jsonl", quantities),
        suite("object/duration", "corpus/vectors/duration.jsonl", durations),
        suite("object/labels", "corpus/vectors/labels.jsonl", selectors),
        suite(
            "object/fieldselector",
            "corpus/vectors/fieldselector.jsonl",
            field_selectors,
        ),
        suite("object/jsonpath", "corpus/vectors/jsonpath.jsonl", json_paths),
        suite("object/semver", "corpus/vectors/semver.jsonl", versions),
    ]
}

/// One line of a vector file.
pub(crate) struct Vector {
    /// The line as it stands.
    pub(crate) text: String,
    /// The line's value.
    pub(crate) value: Value,
}

impl Vector {
    /// A string of the case; empty when absent.
    pub(crate) fn str(&self, key: &str) -> &str {
        self.value[key].as_str().unwrap_or_default()
    }
}

/// Runs every line of `corpus/vectors/GROUP.jsonl`.
pub(crate) fn vectors(shared: &Path, group: &str, run: impl Fn(&Vector) -> Result<(), String>) -> Vec<Case> {
    let path = shared.join("corpus/vectors").join(group);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| {
            let vector = Vector {
                text: line.to_owned(),
                value: serde_json::from_str(line).unwrap_or_default(),
            };
            Case {
                name: vector.str("name").to_owned(),
                outcome: run(&vector),
            }
        })
        .collect()
}

/// Holds a result against `want` or `error`; the texts of errors must be equal.
pub(crate) fn check<E: ToString>(vector: &Vector, got: Result<Value, E>) -> Result<(), String> {
    let error = vector.value.get("error").and_then(Value::as_str);
    match (got, error) {
        (Err(got), Some(want)) if got.to_string() == want => Ok(()),
        (Err(got), Some(want)) => Err(format!("want error {want:?}, got {:?}", got.to_string())),
        (Err(got), None) => Err(format!("unexpected error {:?}", got.to_string())),
        (Ok(got), Some(want)) => Err(format!("want error {want:?}, got {got}")),
        (Ok(got), None) if got == vector.value["want"] => Ok(()),
        (Ok(got), None) => Err(format!("want {}, got {got}", vector.value["want"])),
    }
}

fn quantities(shared: &Path) -> Vec<Case> {
    vectors(shared, "quantity.jsonl", |vector| match vector.str("op") {
        "json" => {
            // The number's spelling counts: `1e3` is another format than `1000`.
            let raw = vector.text.split("\"json\":").nth(1).unwrap_or_default();
            let raw = &raw[..raw.find([',', '}']).unwrap_or(raw.len())];
            let quantity = match &vector.value["json"] {
                Value::Number(_) => Quantity::parse(raw),
                other => Quantity::from_value(other),
            };
            check(vector, quantity.map(|quantity| json!(quantity.to_string())))
        }
        "math" => {
            let (a, b) = (Quantity::parse(vector.str("a")), Quantity::parse(vector.str("b")));
            let (Ok(a), Ok(b)) = (a, b) else {
                return Err("operand is no quantity".to_owned());
            };
            let got = json!({
                "add": a.add(&b).to_string(),
                "sub": a.sub(&b).to_string(),
                "cmp": a.cmp(&b) as i8,
                "equal": a == b,
            });
            check::<String>(vector, Ok(got))
        }
        _ => check(
            vector,
            Quantity::parse(vector.str("text")).map(|quantity| {
                let mut got = json!({
                    "dec": quantity.to_decimal(),
                    "format": quantity.format().as_str(),
                    "sign": quantity.sign(),
                    "string": quantity.to_string(),
                    "value": quantity.value().to_string(),
                });
                if let Some(integer) = quantity.as_integer() {
                    got["int64"] = json!(integer.to_string());
                }
                // The reference gives thousandths only where they fit.
                if vector.value["want"].get("milli").is_some() {
                    got["milli"] = json!(quantity.milli_value().to_string());
                }
                got
            }),
        ),
    })
}

fn durations(shared: &Path) -> Vec<Case> {
    vectors(shared, "duration.jsonl", |vector| {
        let text = match &vector.value["json"] {
            Value::String(text) => Ok(text.as_str()),
            Value::Null => Ok(""),
            _ => Err("json: cannot unmarshal number into Go value of type string".to_owned()),
        };
        let null = vector.value["json"].is_null();
        let got = match vector.str("op") {
            "parse" => duration::parse_go(vector.str("text"))
                .map(|nanoseconds| {
                    json!({"nanoseconds": nanoseconds.to_string(), "string": duration::format_go(nanoseconds)})
                })
                .map_err(|error| error.to_string()),
            "metav1" => text.and_then(|text| {
                duration::parse_go(text)
                    .map(|nanoseconds| json!(duration::format_go(nanoseconds)))
                    .map_err(|error| error.to_string())
            }),
            _ if null => Ok(Value::Null),
            "time" => text.and_then(|text| {
                time::parse(text)
                    .map(|time| json!(time::format(time)))
                    .map_err(|error| error.to_string())
            }),
            _ => text.and_then(|text| {
                time::parse_micro(text)
                    .map(|time| json!(time::format_micro(time)))
                    .map_err(|error| error.to_string())
            }),
        };
        check(vector, got)
    })
}

fn sets(vector: &Vector) -> impl Iterator<Item = &Value> {
    vector.value["sets"].as_array().into_iter().flatten()
}

fn selectors(shared: &Path) -> Vec<Case> {
    vectors(shared, "labels.jsonl", |vector| {
        let described = vector.str("op") == "labelSelector";
        let selector = if described {
            label_selector(vector.str("yaml"))
        } else {
            labels::Selector::parse(vector.str("selector")).map_err(|error| error.to_string())
        };
        let got = selector.map(|selector| {
            let matches: Vec<bool> = sets(vector)
                .map(|set| selector.matches(|key| set.get(key)?.as_str()))
                .collect();
            let mut got = json!({"matches": matches, "string": selector.to_string()});
            if described {
                got["empty"] = json!(selector.is_everything());
                got["formatted"] = json!(selector.formatted());
            }
            got
        });
        check(vector, got)
    })
}

fn label_selector(yaml: &str) -> Result<labels::Selector, String> {
    let value = fluvial_yaml::yaml_to_json(yaml, false).map_err(|error| error.to_string())?;
    labels::Selector::from_value(&value).map_err(|error| error.to_string())
}

fn field_selectors(shared: &Path) -> Vec<Case> {
    vectors(shared, "fieldselector.jsonl", |vector| {
        let got = FieldSelector::parse(vector.str("selector")).map(|selector| {
            let matches: Vec<bool> = sets(vector)
                .map(|set| selector.matches(|field| set.get(field)?.as_str()))
                .collect();
            let requirements: Vec<String> = selector
                .terms()
                .iter()
                .map(|term| {
                    let operator = if term.equal { "=" } else { "!=" };
                    format!("{} {operator} {}", term.field, term.value)
                })
                .collect();
            json!({"empty": selector.is_empty(), "matches": matches, "requirements": requirements,
                "string": selector.to_string()})
        });
        check(vector, got)
    })
}

fn json_paths(shared: &Path) -> Vec<Case> {
    let document = std::fs::read_to_string(shared.join("corpus/vectors/jsonpath-document.json"))
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or(Value::Null);
    vectors(shared, "jsonpath.jsonl", |vector| {
        let run = |allow_missing| {
            let options = jsonpath::Options {
                allow_missing,
                numbers: jsonpath::Numbers::Float,
            };
            jsonpath::Template::parse(vector.str("template"))
                .and_then(|template| template.execute(&document, options))
                .map(Value::String)
        };
        check(vector, run(false))?;
        match (vector.value.get("allowMissing"), run(true)) {
            (Some(want), Ok(got)) if *want != got => Err(format!("missing allowed: want {want}, got {got}")),
            (Some(_), Err(error)) => Err(format!("missing allowed: {error}")),
            _ => Ok(()),
        }
    })
}

fn parse_all(vector: &Vector) -> Result<Vec<semver::Version>, String> {
    vector.value["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|text| semver::Version::parse(text).map_err(|error| error.to_string()))
        .collect()
}

fn constrained(vector: &Vector) -> Result<Value, String> {
    let constraint =
        semver::Constraint::parse(vector.str("constraint")).map_err(|error| error.to_string())?;
    let versions = parse_all(vector)?;
    let matches: Vec<&str> = versions
        .iter()
        .filter(|version| constraint.matches(version))
        .map(semver::Version::original)
        .collect();
    let best = constraint.best(&versions).map(semver::Version::original);
    let mut got = json!({"matches": matches, "string": constraint.to_string()});
    if let Some(best) = best {
        got["best"] = json!(best);
    } else if vector.value["want"].get("best").is_some() {
        got["best"] = json!("");
    }
    Ok(got)
}

fn versions(shared: &Path) -> Vec<Case> {
    vectors(shared, "semver.jsonl", |vector| {
        let parse = |text: &str| semver::Version::parse(text).map_err(|error| error.to_string());
        let got = match vector.str("op") {
            "constraint" => constrained(vector),
            "sort" => parse_all(vector).map(|mut versions| {
                versions.sort();
                versions.iter().map(|version| json!(version.original())).collect()
            }),
            "compare" => parse(vector.str("a")).and_then(|a| {
                let b = parse(vector.str("b"))?;
                Ok(json!({"compare": a.cmp(&b) as i8, "reverse": b.cmp(&a) as i8, "equal": a == b}))
            }),
            _ => parse(vector.str("version")).map(|version| {
                json!({
                    "major": version.major().to_string(),
                    "minor": version.minor().to_string(),
                    "patch": version.patch().to_string(),
                    "prerelease": version.prerelease(),
                    "metadata": version.metadata(),
                    "original": version.original(),
                    "string": version.to_string(),
                    "strict": semver::Version::parse_strict(version.original()).is_ok(),
                })
            }),
        };
        check(vector, got)
    })
}
