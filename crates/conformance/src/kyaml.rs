//! The node-level operations that kustomize is made of: merging, formatting, comments, order,
//! reading and writing streams of documents.

use std::path::Path;

use fluvial_kustomize::kyaml::comments::{copy_comments, sync_order};
use fluvial_kustomize::kyaml::format::format;
use fluvial_kustomize::kyaml::merge2::{self, ListDirection, MergeOptions};
use fluvial_kustomize::kyaml::merge3;
use fluvial_kustomize::kyaml::stream::{self, StreamOptions};
use fluvial_yaml::{EmitOptions, Node, SequenceIndent, emit};
use serde_json::Value;

use crate::yaml::{judge, parse};
use crate::{Case, Suite, json_lines};

/// The suites of this module.
#[must_use]
pub fn suites() -> Vec<Suite> {
    const KYAML: &str = "corpus/kustomize/kyaml";
    let suite = |name, run| Suite {
        name,
        needs: KYAML,
        run,
    };
    vec![
        suite("kustomize/merge2", |shared| cases(shared, "merge2", merge2)),
        suite("kustomize/smpatch", |shared| cases(shared, "smpatch", smpatch)),
        suite("kustomize/merge3", |shared| cases(shared, "merge3", merge3)),
        suite("kustomize/copycomments", |shared| {
            cases(shared, "copycomments", copycomments)
        }),
        suite("kustomize/syncorder", |shared| {
            cases(shared, "syncorder", syncorder)
        }),
        suite("kustomize/format", |shared| {
            cases(shared, "format", format_objects)
        }),
        suite("kustomize/seqindent", |shared| {
            cases(shared, "seqindent", sequence_indent)
        }),
        suite("kustomize/documents", documents),
        suite("kustomize/annotations", annotations),
        suite("kustomize/streams", streams),
        suite("kustomize/filters", |shared| {
            cases(shared, "../filters/filter", filters)
        }),
    ]
}

/// Runs each case of a file; the function gives the text that is to equal `expected`.
fn cases(shared: &Path, file: &str, run: fn(&Value) -> Result<String, String>) -> Vec<Case> {
    let path = shared.join("corpus/kustomize/kyaml").join(file);
    json_lines(&path.with_extension("jsonl"))
        .iter()
        .map(|case| Case {
            name: text(case, "name").to_owned(),
            outcome: judge(case["expected"].as_str(), case["error"].as_str(), run(case)),
        })
        .collect()
}

fn text<'v>(case: &'v Value, key: &str) -> &'v str {
    case[key].as_str().unwrap_or_default()
}

fn print(node: Option<&Node>) -> String {
    node.map(|node| emit(node, &EmitOptions::default()))
        .unwrap_or_default()
}

fn merge2(case: &Value) -> Result<String, String> {
    let patch = parse(text(case, "patch"))?;
    let dest = parse(text(case, "dest"))?;
    let options = MergeOptions {
        list_direction: match text(case, "list_direction") {
            "prepend" => ListDirection::Prepend,
            _ => ListDirection::Append,
        },
        infer: case["infer"] == true,
        schemas: None,
    };
    let merged = merge2::merge(&patch, Some(dest), None, &options).map_err(|error| error.to_string())?;
    Ok(print(merged.as_ref()))
}

fn smpatch(case: &Value) -> Result<String, String> {
    let patch = parse(text(case, "patch"))?;
    let dest = parse(text(case, "dest"))?;
    let merged = merge2::apply_patch(&patch, dest, false, false, None).map_err(|error| error.to_string())?;
    Ok(print(merged.as_ref()))
}

fn merge3(case: &Value) -> Result<String, String> {
    let dest = parse(text(case, "dest"))?;
    let original = parse(text(case, "original"))?;
    let updated = parse(text(case, "updated"))?;
    let merged =
        merge3::merge(dest, &original, &updated, case["infer"] == true).map_err(|error| error.to_string())?;
    Ok(print(merged.as_ref()))
}

fn copycomments(case: &Value) -> Result<String, String> {
    let from = parse(text(case, "from"))?;
    let mut to = parse(text(case, "to"))?;
    copy_comments(&from, &mut to).map_err(|error| error.to_string())?;
    Ok(print(Some(&to)))
}

fn syncorder(case: &Value) -> Result<String, String> {
    let from = parse(text(case, "from"))?;
    let mut to = parse(text(case, "to"))?;
    sync_order(&from, &mut to).map_err(|error| error.to_string())?;
    Ok(print(Some(&to)))
}

fn format_objects(case: &Value) -> Result<String, String> {
    let mut stream =
        stream::read(text(case, "input"), StreamOptions::default()).map_err(|error| error.to_string())?;
    for node in &mut stream.documents {
        format(node, case["use_schema"] == true).map_err(|error| error.to_string())?;
    }
    stream::write(&stream.documents, None).map_err(|error| error.to_string())
}

fn sequence_indent(case: &Value) -> Result<String, String> {
    Ok(match stream::sequence_indent(text(case, "input")) {
        SequenceIndent::Wide => "wide",
        SequenceIndent::Compact => "compact",
    }
    .to_owned())
}

fn documents(shared: &Path) -> Vec<Case> {
    let path = shared.join("corpus/kustomize/kyaml/documents.jsonl");
    json_lines(&path)
        .iter()
        .map(|case| Case {
            name: text(case, "name").to_owned(),
            outcome: documents_case(case),
        })
        .collect()
}

fn documents_case(case: &Value) -> Result<(), String> {
    let option = |key: &str| case["options"][key] == true;
    let options = StreamOptions {
        omit_annotations: option("omit_reader_annotations"),
        keep_sequence_indent: option("preserve_seq_indent"),
        wrap_sequences: option("wrap_bare_seq_node"),
        keep_lists: option("disable_unwrapping"),
        deanchor: option("anchors_aweigh"),
    };
    let stream = match (stream::read(text(case, "input"), options), case["error"].as_str()) {
        (Ok(stream), None) => stream,
        (Err(_), Some(_)) => return Ok(()),
        (got, want) => return Err(format!("want error {want:?}, got {got:?}")),
    };
    let expected = &case["expected"];
    let want: Vec<&str> = expected["documents"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let got: Vec<String> = stream.documents.iter().map(|node| print(Some(node))).collect();
    if want != got {
        return Err(format!("documents: want {want:?}, got {got:?}"));
    }
    let written = stream::write(&stream.documents, None).map_err(|error| error.to_string());
    judge(expected["written"].as_str(), None, written)
}

fn filters(case: &Value) -> Result<String, String> {
    let stream =
        stream::read(text(case, "input"), StreamOptions::default()).map_err(|error| error.to_string())?;
    let config = case["config"].to_string();
    let documents = fluvial_kustomize::filter(text(case, "filter"), &config, stream.documents)
        .map_err(|error| error.to_string())?;
    stream::write(&documents, None).map_err(|error| error.to_string())
}

/// Texts as annotations that code sets.
fn annotations(shared: &Path) -> Vec<Case> {
    let path = shared.join("corpus/kustomize/kyaml/scalar.jsonl");
    json_lines(&path)
        .iter()
        .map(|case| {
            let run = || {
                let mut node = parse("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n")?;
                stream::set_annotation(&mut node, "v", text(case, "text"))
                    .map_err(|error| error.to_string())?;
                Ok(print(Some(&node)))
            };
            Case {
                name: text(case, "name").to_owned(),
                outcome: judge(case["expected"]["as_annotation"].as_str(), None, run()),
            }
        })
        .collect()
}

/// The vectors that are read and written as streams.
fn streams(shared: &Path) -> Vec<Case> {
    json_lines(&shared.join("corpus/vectors/kyaml.jsonl"))
        .iter()
        .flat_map(|case| {
            let input = text(case, "yaml");
            let keep = StreamOptions {
                keep_sequence_indent: true,
                ..StreamOptions::default()
            };
            let expand = StreamOptions {
                omit_annotations: true,
                deanchor: true,
                ..StreamOptions::default()
            };
            [
                ("readerWriter", "readerWriterError", keep),
                ("anchorsAweigh", "anchorsAweighError", expand),
            ]
            .map(|(key, error, options)| {
                let run = || {
                    let stream = stream::read(input, options).map_err(|error| error.to_string())?;
                    let wrapper = stream.wrapper.as_ref().filter(|_| options.keep_sequence_indent);
                    stream::write(&stream.documents, wrapper).map_err(|error| error.to_string())
                };
                Case {
                    name: format!("{}/{key}", text(case, "name")),
                    outcome: judge(case[key].as_str(), case[error].as_str(), run()),
                }
            })
        })
        .collect()
}
