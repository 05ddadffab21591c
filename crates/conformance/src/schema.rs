//! Vectors of the expression language against `fluvial_schema::cel` and the rules of definitions.

use std::path::Path;

use fluvial_schema::CrdSchema;
use fluvial_schema::cel::{CompileError, Env, Program, Type, Value as Cel, Vars};
use serde_json::{Value, json};

use crate::{Case, Suite};

/// The suites of this module.
#[must_use]
pub fn suites() -> Vec<Suite> {
    vec![
        Suite {
            name: "schema/cel",
            needs: "corpus/vectors/cel.jsonl",
            run: cel,
        },
        Suite {
            name: "schema/crdcel",
            needs: "corpus/vectors/crdcel.jsonl",
            run: |shared| cases(shared, "crdcel").iter().map(rules).collect(),
        },
    ]
}

fn cases(shared: &Path, group: &str) -> Vec<Value> {
    let file = shared.join(format!("corpus/vectors/{group}.jsonl"));
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_default())
        .collect()
}

fn name(case: &Value) -> String {
    case["name"].as_str().unwrap_or_default().to_owned()
}

fn cel(shared: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(shared.join("corpus/vectors/cel-self.json")).unwrap_or_default();
    let object: Value = serde_json::from_str(&text).unwrap_or_default();
    let env = Env::kubernetes().variable("self", Type::Dyn);
    cases(shared, "cel")
        .iter()
        .map(|case| Case {
            name: name(case),
            outcome: expression(case, &object, &env),
        })
        .collect()
}

fn expression(case: &Value, object: &Value, env: &Env) -> Result<(), String> {
    let source = case["expression"].as_str().unwrap_or_default();
    let texts = |want: &Value, got: &str| {
        let want = want.as_str().unwrap_or_default();
        if want == got {
            Ok(())
        } else {
            Err(format!("want error {want}, got {got}"))
        }
    };
    let program = match Program::compile(source, env) {
        Ok(program) => program,
        Err(CompileError::Check(text) | CompileError::Program(text)) => {
            return texts(&case["compileError"], &text);
        }
    };
    if let Some(text) = case["compileError"].as_str() {
        return Err(format!("want compile error {text}"));
    }
    let vars = Vars::default().with("self", Cel::json(object));
    let value = match program.eval(&vars) {
        Ok(value) => value,
        Err(error) => return texts(&case["error"], &error.to_string()),
    };
    let want = json!({"type": case["type"], "want": case["want"]});
    let got = json!({"type": value.type_name(), "want": shown(&value)});
    if want == got {
        Ok(())
    } else {
        Err(format!("want {want}, got {got}"))
    }
}

/// A value as the vectors show it.
fn shown(value: &Cel<'_>) -> Value {
    let typed = |item: &Cel<'_>| json!({"type": item.type_name(), "value": shown(item)});
    match value {
        Cel::Bool(value) => (*value).into(),
        Cel::Null => Value::Null,
        Cel::Bytes(bytes) => bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .into(),
        Cel::List(list) => list.iter().map(|item| typed(&item)).collect(),
        Cel::Optional(inner) => inner.iter().map(|item| typed(item)).collect(),
        Cel::Map(map) => {
            let entry = |key: Cel<'_>| (key.to_string(), printed(&map.get(&key).unwrap_or(Cel::Null)));
            Value::Object(map.keys().into_iter().map(entry).collect())
        }
        Cel::Double(value) => go_float(*value).into(),
        other => other.to_string().into(),
    }
}

/// A value as Go prints it.
fn printed(value: &Cel<'_>) -> Value {
    match value {
        Cel::List(list) => {
            let items: Vec<String> = list.iter().map(|item| item.to_string()).collect();
            format!("[{}]", items.join(" ")).into()
        }
        other => other.to_string().into(),
    }
}

/// Go's `%v` of a float.
fn go_float(value: f64) -> String {
    let text = Cel::Double(value).to_string();
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => {
            let exponent = format!("{number:e}");
            let (digits, power) = exponent.split_once('e').unwrap_or((&exponent, "0"));
            let power: i32 = power.parse().unwrap_or(0);
            if (-4..21).contains(&power) && power < 6 {
                text
            } else {
                format!("{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
            }
        }
        _ => text,
    }
}

fn rules(case: &Value) -> Case {
    let schema = CrdSchema::read(&case["schema"]);
    let old = case.get("oldObject").filter(|old| !old.is_null());
    let mut got: Vec<Value> = schema
        .validate(&case["object"], old)
        .iter()
        .map(|error| {
            json!({
                "field": error.field(),
                "type": error.reason(),
                "text": error.to_string(),
                "detail": error.detail,
            })
        })
        .collect();
    got.sort_by_key(|error| error["text"].to_string());
    let text = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
    Case::compare(name(case), &text(&case["want"]), &text(&Value::Array(got)))
}
