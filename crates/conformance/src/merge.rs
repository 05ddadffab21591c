//! Vectors of patches and server-side apply against `fluvial-merge` and `fluvial-schema`.

use std::path::Path;

use fluvial_merge::managed::{self, ApplyError, ApplyRequest, UpdateRequest};
use fluvial_merge::{PatchError, json_patch, merge_patch, strategic};
use fluvial_schema::{CrdSchema, SchemaSet, TypeRef};
use serde_json::{Map, Value, json};

use crate::{Case, Suite};

const TIME: &str = "2024-01-01T00:00:00Z";

/// The suites of this module.
#[must_use]
pub fn suites() -> Vec<Suite> {
    vec![
        Suite {
            name: "merge/jsonpatch",
            needs: "corpus/vectors/jsonpatch.jsonl",
            run: |shared| run(shared, "jsonpatch", |case, _| json_patch_case(case)),
        },
        Suite {
            name: "merge/strategicmerge",
            needs: "corpus/vectors/strategicmerge.jsonl",
            run: |shared| run(shared, "strategicmerge", strategic_case),
        },
        Suite {
            name: "merge/smd",
            needs: "corpus/vectors/smd.jsonl",
            run: |shared| run(shared, "smd", smd_case),
        },
        Suite {
            name: "schema/recorded",
            needs: "corpus/api/records/cr-validation.json",
            run: recorded,
        },
    ]
}

/// What the API server said about custom resources and definitions in two recorded scenarios.
fn recorded(shared: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for name in ["cr-validation", "crd-invalid-structural"] {
        let file = shared.join(format!("corpus/api/records/{name}.json"));
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let record: Value = serde_json::from_str(&text).unwrap_or_default();
        let mut crd: Option<CrdSchema> = None;
        for (index, step) in record["steps"].as_array().into_iter().flatten().enumerate() {
            let body = &step["request"]["body"];
            let causes = step["response"]["body"]["details"]["causes"].as_array();
            let mut want: Vec<String> = causes
                .into_iter()
                .flatten()
                .map(|cause| format!("{}: {}", cause["field"], cause["message"]))
                // Names and labels are the API server's matter.
                .filter(|text| !text.starts_with("\"metadata."))
                .collect();
            let errors = if let Some(schema) = body.pointer("/spec/versions/0/schema/openAPIV3Schema") {
                match CrdSchema::parse(schema) {
                    Ok(read) => {
                        crd = Some(read);
                        vec![]
                    }
                    Err(errors) => errors,
                }
            } else if let (Some(crd), "POST") = (&crd, step["request"]["method"].as_str().unwrap_or_default())
            {
                let mut object = body.clone();
                crd.prune(&mut object);
                crd.default(&mut object);
                crd.validate(&object, None)
            } else {
                continue;
            };
            let mut got: Vec<String> = errors
                .iter()
                .map(|error| {
                    let schema = error.field().strip_prefix("openAPIV3Schema");
                    let field = schema.map_or_else(
                        || error.field().to_owned(),
                        |rest| format!("spec.validation.openAPIV3Schema{rest}"),
                    );
                    format!("{}: {}", Value::from(field), Value::from(error.body()))
                })
                .collect();
            if step["unordered"] == true {
                want.sort();
                got.sort();
            }
            cases.push(Case::compare(
                format!("{name}#{index}"),
                &want.join("\n"),
                &got.join("\n"),
            ));
        }
    }
    cases
}

struct Kinds {
    builtin: SchemaSet,
    widget: TypeRef,
}

type Outcome = Result<(), String>;

fn run(shared: &Path, group: &str, each: fn(&Value, &Kinds) -> Outcome) -> Vec<Case> {
    let folder = shared.join("corpus/vectors");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let widget: Value = serde_json::from_str(&read("smd-widget-schema.json")).unwrap_or_default();
    let kinds = Kinds {
        builtin: SchemaSet::builtin(),
        widget: TypeRef::from_openapi(&widget["com.example.v1.Widget"]),
    };
    read(&format!("{group}.jsonl"))
        .lines()
        .map(|line| match serde_json::from_str::<Value>(line) {
            Ok(case) => Case {
                name: case["name"].as_str().unwrap_or_default().to_owned(),
                outcome: each(&case, &kinds),
            },
            Err(error) => Case {
                name: line.chars().take(40).collect(),
                outcome: Err(error.to_string()),
            },
        })
        .collect()
}

fn same(what: &str, want: &Value, got: &Value) -> Outcome {
    if want == got {
        Ok(())
    } else {
        Err(format!("{what}: want {want}, got {got}"))
    }
}

fn parsed(case: &Value, key: &str) -> Result<Value, PatchError> {
    let text = case[key].as_str().unwrap_or_default();
    // A document that is no JSON fails before the patch library is asked.
    serde_json::from_str(text).or_else(|_| {
        let mut null = Value::Null;
        merge_patch::apply(&mut null, &json!({})).map(|()| null)
    })
}

fn json_patch_case(case: &Value) -> Outcome {
    let result = || -> Result<Value, PatchError> {
        match case["op"].as_str().unwrap_or_default() {
            "json" => {
                let mut document = parsed(case, "doc")?;
                json_patch::apply(&mut document, &parsed(case, "patch")?)?;
                Ok(document)
            }
            "merge" => {
                let mut document = parsed(case, "doc")?;
                merge_patch::apply(&mut document, &parsed(case, "patch")?)?;
                Ok(document)
            }
            "mergediff" => merge_patch::diff(&parsed(case, "original")?, &parsed(case, "modified")?),
            _ => merge_patch::combine(&parsed(case, "first")?, &parsed(case, "second")?),
        }
    };
    match (result(), case.get("error").and_then(Value::as_str)) {
        (Ok(got), None) => {
            let want = serde_json::from_str(case["want"].as_str().unwrap_or_default()).unwrap_or_default();
            same("result", &want, &got)
        }
        (Err(got), Some(want)) => {
            let own = case["op"] == "json" && !want.contains("unexpected end of JSON");
            if own && want != got.to_string() {
                Err(format!("error: want {want}, got {got}"))
            } else {
                Ok(())
            }
        }
        (Ok(got), Some(want)) => Err(format!("want error {want}, got {got}")),
        (Err(got), None) => Err(format!("want {}, got error {got}", case["want"])),
    }
}

fn strategic_case(case: &Value, kinds: &Kinds) -> Outcome {
    let kind = case["kind"].as_str().unwrap_or_default();
    let mut resources = kinds.builtin.resources().iter();
    let found = resources.find(|resource| resource.kind == kind);
    let types = found.and_then(|found| kinds.builtin.kind(&found.group, &found.version, kind));
    let types = types.as_ref();
    let original = &case["original"];
    let (result, base) = match case["op"].as_str().unwrap_or_default() {
        "apply" => (strategic::apply(original.clone(), &case["patch"], types), None),
        "diff" => (
            strategic::diff(original, &case["modified"], types),
            Some(original),
        ),
        _ => {
            let conflict =
                strategic::diff3(original, &case["modified"], &case["current"], types, false).is_err();
            if case.get("error").is_none() && conflict != case.get("conflict").is_some() {
                return Err(format!("want conflict {}, got {conflict}", case["conflict"]));
            }
            (
                strategic::diff3(original, &case["modified"], &case["current"], types, true),
                Some(&case["current"]),
            )
        }
    };
    match (result, case.get("error").and_then(Value::as_str)) {
        (Ok(got), None) => {
            same("result", &case["want"], &got)?;
            match (base, case.get("applied")) {
                (Some(base), Some(want)) => {
                    let applied =
                        strategic::apply(base.clone(), &got, types).map_err(|error| error.to_string())?;
                    same("applied", want, &applied)
                }
                _ => Ok(()),
            }
        }
        (Err(got), Some(want)) if want == got.to_string() => Ok(()),
        (Err(got), Some(want)) => Err(format!("error: want {want}, got {got}")),
        (Ok(got), Some(want)) => Err(format!("want error {want}, got {got}")),
        (Err(got), None) => Err(format!("want {}, got error {got}", case["want"])),
    }
}

/// Splits managed fields (without times) from an object.
fn split(object: &Value) -> (Value, Value) {
    let mut object = object.clone();
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    let mut fields = metadata
        .and_then(|metadata| metadata.remove("managedFields"))
        .unwrap_or_default();
    for entry in fields
        .as_array_mut()
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        entry.remove("time");
    }
    (object, fields)
}

fn smd_case(case: &Value, kinds: &Kinds) -> Outcome {
    let version = case["apiVersion"].as_str().unwrap_or_default();
    let kind = case["kind"].as_str().unwrap_or_default();
    let (group, short) = version.split_once('/').unwrap_or(("", version));
    let types = match case["types"].as_str() {
        Some("openapi") => kinds.builtin.kind(group, short, kind),
        Some("widget") => Some(kinds.widget.clone()),
        _ => None,
    };
    let mut live = json!({"apiVersion": version, "kind": kind});
    let mut exists = false;
    for (index, step) in case["steps"].as_array().into_iter().flatten().enumerate() {
        let result = smd_step(step, types.as_ref(), exists.then_some(&live), version);
        let fail = |message: String| Err(format!("step {index}: {message}"));
        match (result, step.get("error").and_then(Value::as_str)) {
            (Ok(object), None) => {
                live = object;
                exists = true;
            }
            (Err(error), Some(want)) => {
                if error.to_string() != want {
                    return fail(format!("error: want {want}, got {error}"));
                }
                if let (ApplyError::Conflict { conflicts, .. }, Some(want)) = (&error, step.get("causes")) {
                    let causes = conflicts.iter().map(|conflict| {
                        json!({"reason": "FieldManagerConflict", "message": conflict.message, "field": conflict.field})
                    });
                    if let Err(message) = same("causes", want, &causes.collect()) {
                        return fail(message);
                    }
                }
            }
            (Ok(_), Some(want)) => return fail(format!("want error {want}, got none")),
            (Err(error), None) => return fail(format!("got error {error}")),
        }
        let (object, fields) = split(&live);
        let compared = same("live", &step["live"], &object)
            .and_then(|()| same("managedFields", &step["managedFields"], &fields));
        if let Err(message) = compared {
            return fail(message);
        }
    }
    Ok(())
}

fn smd_step(
    step: &Value,
    types: Option<&TypeRef>,
    live: Option<&Value>,
    api_version: &str,
) -> Result<Value, ApplyError> {
    let manager = step["manager"].as_str().unwrap_or_default();
    let subresource = step["subresource"].as_str().unwrap_or_default();
    let mut updated = step["object"].clone();
    match step["op"].as_str().unwrap_or_default() {
        "apply" => {
            return managed::apply(&ApplyRequest {
                types,
                live,
                empty: None,
                applied: &step["object"],
                manager,
                subresource,
                api_version,
                time: TIME,
                force: step["force"].as_bool().unwrap_or(false),
                reset_fields: &[],
            });
        }
        "patch" => {
            updated = live.cloned().unwrap_or_else(|| Value::Object(Map::new()));
            let patch = step.get("patch").unwrap_or(&step["object"]);
            merge_patch::apply(&mut updated, patch)
                .map_err(|error| ApplyError::BadRequest(error.to_string()))?;
        }
        _ => {}
    }
    Ok(managed::update(UpdateRequest {
        types,
        live,
        updated,
        manager,
        subresource,
        api_version,
        time: TIME,
        reset_fields: &[],
    }))
}
