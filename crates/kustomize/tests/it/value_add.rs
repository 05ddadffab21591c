//! Targets of `ValueAddTransformer` that live in a file of their own.

use fluvial_kustomize::Options;

use crate::{build_at, error, tree};

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: m\ndata:\n  p: a/b/c\n";

fn files(transformer: &str) -> Vec<(&'static str, String)> {
    let head = "apiVersion: builtin\nkind: ValueAddTransformer\nmetadata: {name: x}\n";
    vec![
        (
            "kustomization.yaml",
            "resources: [m.yaml]\ntransformers: [t.yaml]\n".to_owned(),
        ),
        ("m.yaml", MAP.to_owned()),
        ("t.yaml", format!("{head}{transformer}")),
        (
            "targets.yaml",
            "targets: [{fieldPath: data/p, filePathPosition: 2, selector: {kind: ConfigMap}}]\n".to_owned(),
        ),
    ]
}

#[test]
fn targets_of_a_file_come_before_those_beside_it() {
    let files = files(
        "value: v\ntargetFilePath: targets.yaml\ntargets: [{fieldPath: data/p, filePathPosition: 9}]\n",
    );
    let output = build_at(&tree(&files), "", &Options::flux())
        .unwrap()
        .to_yaml(1)
        .unwrap();
    assert!(output.contains("p: a/v/b/c/v\n"), "{output}");
}

#[test]
fn configurations_that_say_nothing_useful_are_refused() {
    for (transformer, because) in [
        ("value: v\n", "must specify at least one target"),
        (
            "value: v\ntargets: [{selector: {kind: A}}]\n",
            "fieldPath cannot be empty",
        ),
        (
            "value: v\ntargets: [{fieldPath: a, filePathPosition: -1}]\n",
            "(-1) cannot be negative",
        ),
        ("value: v\ntargetFilePath: nope.yaml\n", "nope.yaml"),
    ] {
        let error = error(&files(transformer));
        assert!(error.contains(because), "{transformer}: {error}");
    }
}
