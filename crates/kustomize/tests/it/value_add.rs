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

fn built(transformer: &str) -> Result<String, String> {
    build_at(&tree(&files(transformer)), "", &Options::flux())
        .and_then(|build| build.to_yaml(1))
        .map_err(|error| error.to_string())
}

#[test]
fn targets_of_a_file_come_behind_those_beside_it() {
    let output = built(
        "value: v\ntargetFilePath: targets.yaml\ntargets: [{fieldPath: data/p, filePathPosition: 1}]\n",
    );
    assert!(output.as_ref().unwrap().contains("p: v/v/a/b/c\n"), "{output:?}");
    let output = built("value: v\ntargetFilePath: targets.yaml\ntargets: [{fieldPath: data/p}]\n");
    assert!(output.as_ref().unwrap().contains("p: v/v\n"), "{output:?}");
}

#[test]
fn white_space_around_the_value_does_not_count_and_paths_are_cleaned() {
    let output = built("value: ' /x//y '\ntargets: [{fieldPath: /data/p, filePathPosition: 2}]\n");
    assert!(output.as_ref().unwrap().contains("p: a/x/y/b/c\n"), "{output:?}");
    let output = built("value: ' v '\ntargets: [{fieldPath: /data/new}]\n");
    assert!(output.as_ref().unwrap().contains("new: v\n"), "{output:?}");
}

#[test]
fn a_path_names_one_item_of_a_list_and_makes_it() {
    let output = built("value: v\ntargets: [{fieldPath: 'spec/[name=a]/image'}]\n");
    assert!(
        output
            .as_ref()
            .unwrap()
            .contains("spec:\n- image: v\n  name: a\n"),
        "{output:?}"
    );
    let error = built("value: v\ntargets: [{fieldPath: data/p/q}]\n").unwrap_err();
    assert!(error.contains("ConfigMap.v1.[noGrp]/m"), "{error}");
}

#[test]
fn a_namespace_is_set_as_namespaces_are() {
    let output = built("value: v\ntargets: [{fieldPath: metadata/namespace, filePathPosition: 3}]\n");
    assert!(output.as_ref().unwrap().contains("namespace: v\n"), "{output:?}");
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
