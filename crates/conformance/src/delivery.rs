//! Substitution and health.

use std::path::Path;

use fluvial_delivery::health::custom::Custom;
use fluvial_delivery::substitute::Substitution;
use fluvial_delivery::{envsubst, health};
use serde_json::{Map, Value, json};

use crate::object::vectors;
use crate::{Case, Suite};

/// The suites of this module.
pub(crate) fn suites() -> Vec<Suite> {
    let suite = |name, needs, run| Suite { name, needs, run };
    vec![
        suite("delivery/envsubst", "corpus/vectors/envsubst.jsonl", expansions),
        suite(
            "delivery/substitute",
            "corpus/vectors/substitute.jsonl",
            substitutions,
        ),
        suite("delivery/kstatus", "corpus/vectors/kstatus.jsonl", statuses),
        suite(
            "delivery/healthcel",
            "corpus/vectors/healthcel.jsonl",
            health_expressions,
        ),
    ]
}

fn read_json(path: &Path) -> Value {
    std::fs::read_to_string(path)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn expansions(shared: &Path) -> Vec<Case> {
    let variables: Map<String, Value> = read_json(&shared.join("corpus/vectors/envsubst-variables.json"))
        .as_object()
        .cloned()
        .unwrap_or_default();
    vectors(shared, "envsubst.jsonl", |vector| {
        let run = |strict| {
            envsubst::expand(vector.str("text"), &|name| variables.get(name)?.as_str(), strict)
                .map_err(|located| located.error.to_string())
        };
        let want = vector
            .value
            .get("wantHex")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .or_else(|| Some(hex(vector.value.get("want")?.as_str()?.as_bytes())));
        let error = vector.value.get("error").and_then(Value::as_str);
        let strict_error = vector.value.get("strictError").and_then(Value::as_str).or(error);
        judge("lenient", run(false), want.as_deref(), error)?;
        judge("strict", run(true), want.as_deref(), strict_error)
    })
}

fn judge(
    mode: &str,
    got: Result<Vec<u8>, String>,
    want: Option<&str>,
    error: Option<&str>,
) -> Result<(), String> {
    match (got, error) {
        (Err(_), Some(want)) if want.starts_with("PANIC") => Ok(()),
        (Err(got), Some(want)) if got == want => Ok(()),
        (Ok(got), None) if want == Some(hex(&got).as_str()) => Ok(()),
        (got, _) => Err(format!(
            "{mode}: want {error:?} or {want:?}, got {:?}",
            got.map(|got| String::from_utf8_lossy(&got).into_owned())
        )),
    }
}

fn statuses(shared: &Path) -> Vec<Case> {
    // Long after every time that the cases name.
    let now = jiff::Timestamp::from_second(4_000_000_000).unwrap_or_default();
    vectors(shared, "kstatus.jsonl", |vector| {
        let got = health::compute(&vector.value["object"], now);
        if let (Err(got), Some(want)) = (&got, vector.value.get("error").and_then(Value::as_str)) {
            return Case::compare("", want, &got.to_string()).outcome;
        }
        let health = got.map_err(|error| error.to_string())?;
        let condition = health.condition().map(|kind| {
            let mut condition = json!({"type": kind, "status": "True", "reason": health.reason,
                "message": health.detail.as_deref().unwrap_or(&health.message)});
            if let Some(map) = condition.as_object_mut() {
                map.retain(|_, value| value != "");
            }
            condition
        });
        let got = json!({"status": health.status.as_str(), "message": health.message,
            "conditions": condition.into_iter().collect::<Vec<_>>()});
        let mut want = json!({"status": vector.value["status"], "message": vector.value["message"],
            "conditions": vector.value["conditions"]});
        for condition in want["conditions"].as_array_mut().into_iter().flatten() {
            if let Some(map) = condition.as_object_mut() {
                map.retain(|_, value| value != "");
            }
        }
        Case::compare("", &want.to_string(), &got.to_string()).outcome
    })
}

fn health_expressions(shared: &Path) -> Vec<Case> {
    vectors(shared, "healthcel.jsonl", |vector| {
        let expressions = &vector.value["expressions"];
        let text = |name: &str| expressions[name].as_str();
        let custom = Custom::parse(
            text("current").unwrap_or_default(),
            text("inProgress"),
            text("failed"),
        );
        let custom = match (custom, vector.value["compileError"].as_str()) {
            (Err(error), Some(want)) => return Case::compare("", want, &error.to_string()).outcome,
            (Err(error), None) => return Err(error.to_string()),
            (Ok(_), Some(want)) => return Err(format!("want error {want:?}")),
            (Ok(custom), None) => custom,
        };
        let got = custom
            .status(&vector.value["object"])
            .map(|status| status.as_str().to_owned())
            .unwrap_or_else(|error| error.to_string());
        let want = vector.value.get("error").unwrap_or(&vector.value["status"]);
        Case::compare("", want.as_str().unwrap_or_default(), &got).outcome
    })
}

/// The objects of a stream of YAML documents, as kustomize reads them.
fn objects(text: &str) -> Result<Vec<Value>, String> {
    fluvial_yaml::parse_documents(text, &fluvial_yaml::ReadOptions::default())
        .map_err(|error| error.to_string())?
        .iter()
        .map(|node| {
            node.to_json(fluvial_yaml::Mode::Kyaml)
                .map_err(|error| error.to_string())
        })
        .collect()
}

fn substitutions(shared: &Path) -> Vec<Case> {
    vectors(shared, "substitute.jsonl", |vector| {
        let resource = objects(vector.str("resource"))?
            .into_iter()
            .next()
            .unwrap_or_default();
        let cluster = objects(vector.str("objects"))?;
        let mut post_build =
            fluvial_yaml::yaml_to_json(vector.str("postBuild"), false).map_err(|error| error.to_string())?;
        if vector.value["always"] == true {
            post_build["substituteStrategy"] = json!("Always");
        }
        let strict = vector.value["strict"] == true;
        let got = Substitution::from_post_build(&post_build, strict, &|reference| {
            cluster.iter().find(|object| {
                object["kind"] == *reference.kind
                    && object["metadata"]["name"] == *reference.name
                    && object["metadata"]["namespace"] == "ns"
            })
        })
        .and_then(|substitution| substitution.object(&resource));
        match (got, vector.value.get("error").and_then(Value::as_str)) {
            // A YAML parser's own words and lines are not compared.
            (Err(_), Some(want)) if want.contains("YAMLToJSON") => Ok(()),
            (Err(got), Some(want)) => Case::compare("", want, got.message()).outcome,
            (Err(got), None) => Err(got.to_string()),
            (Ok(_), Some(want)) => Err(format!("want error {want:?}")),
            (Ok(got), None) => {
                let got = fluvial_yaml::json_to_yaml(got.as_ref().unwrap_or(&resource));
                Case::compare("", vector.str("want"), &got).outcome
            }
        }
    })
}
