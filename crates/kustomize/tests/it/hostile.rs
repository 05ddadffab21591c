//! Trees that are meant to hurt: each is refused with one clear error, in bounded time.

use std::fmt::Write as _;

use fluvial_kustomize::{LoadRestrictor, Options};
use fluvial_tree::{File, TreeBuilder};

use crate::{build_at, error, tree};

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: b}\n";

#[track_caller]
fn refused<P: AsRef<str>, T: AsRef<[u8]>>(files: &[(P, T)], because: &str) {
    let error = error(files);
    assert!(error.contains(because), "{error}");
}

#[test]
fn a_kustomization_that_names_itself_or_a_circle_is_refused() {
    refused(&[("kustomization.yaml", "resources: [.]")], "cycle detected");
    refused(
        &[
            ("kustomization.yaml", "resources: [a]"),
            ("a/kustomization.yaml", "resources: [../b]"),
            ("b/kustomization.yaml", "components: [../a]"),
        ],
        "cycle detected",
    );
}

#[test]
fn kustomizations_that_double_at_each_level_are_refused() {
    let mut files = Vec::new();
    for level in 0..40 {
        let below = level + 1;
        for side in ["l", "r"] {
            files.push((
                format!("{level}{side}/kustomization.yaml"),
                format!("namePrefix: {side}-\nresources: [../{below}l, ../{below}r]\n"),
            ));
        }
    }
    for side in ["l", "r"] {
        files.push((
            format!("40{side}/kustomization.yaml"),
            format!("namePrefix: {side}-\nresources: [m.yaml]"),
        ));
        files.push((format!("40{side}/m.yaml"), MAP.to_owned()));
    }
    files.push(("kustomization.yaml".to_owned(), "resources: [0l]".to_owned()));
    refused(&files, "split it");
}

#[test]
fn kustomizations_that_nest_too_deep_are_refused() {
    let mut files = vec![("kustomization.yaml".to_owned(), "resources: [d]".to_owned())];
    let mut folder = String::from("d");
    for _ in 0..200 {
        files.push((
            format!("{folder}/kustomization.yaml"),
            "resources: [d]".to_owned(),
        ));
        folder.push_str("/d");
    }
    files.push((format!("{folder}/kustomization.yaml"), "resources: []".to_owned()));
    refused(&files, "more than 100 kustomizations below each other");
}

#[test]
fn anchors_that_grow_without_end_are_refused() {
    let mut text = String::from(
        "apiVersion: v1\nkind: A\nmetadata: {name: a}\nx0: &x0 [a, a, a, a, a, a, a, a, a, a]\n",
    );
    for level in 1..12 {
        let below = format!("*x{}", level - 1);
        let _ = writeln!(text, "x{level}: &x{level} [{}]", vec![below; 10].join(", "));
    }
    refused(
        &[("kustomization.yaml", "resources: [a.yaml]"), ("a.yaml", &text)],
        "a.yaml",
    );
}

#[test]
fn deep_nesting_is_refused() {
    let text = format!("a: {}", "[".repeat(100_000));
    refused(
        &[("kustomization.yaml", "resources: [a.yaml]"), ("a.yaml", &text)],
        "a.yaml",
    );
    refused(&[("kustomization.yaml", &text)], "kustomization.yaml");
}

#[test]
fn a_patch_that_copies_an_object_into_itself_is_refused() {
    let mut patch = String::from("patches:\n- target: {kind: ConfigMap}\n  patch: |\n");
    for round in 0..60 {
        let _ = writeln!(patch, "    - {{op: copy, from: /data, path: /data/c{round}}}");
    }
    let file = format!("resources: [m.yaml]\n{patch}");
    refused(
        &[("kustomization.yaml", &*file), ("m.yaml", MAP)],
        "the build adds to its objects more than",
    );
}

#[test]
fn a_patch_that_nests_without_end_is_refused() {
    let mut patch = String::from("patches:\n- target: {kind: ConfigMap}\n  patch: |\n");
    let mut path = String::from("/data");
    for _ in 0..700 {
        path.push_str("/x");
        let _ = writeln!(patch, "    - {{op: add, path: {path}, value: {{}}}}");
    }
    let file = format!("resources: [m.yaml]\n{patch}");
    refused(
        &[("kustomization.yaml", &*file), ("m.yaml", MAP)],
        "nested deeper than",
    );
}

#[test]
fn replacements_that_double_a_value_are_refused() {
    let mut file = String::from("resources: [m.yaml]\nreplacements:\n");
    for _ in 0..64 {
        file.push_str(
            "- source: {kind: ConfigMap, fieldPath: data.a}\n  targets:\n  - select: {kind: ConfigMap}\n    \
             fieldPaths: [data.a]\n    options: {delimiter: ';', index: -1}\n",
        );
    }
    refused(
        &[("kustomization.yaml", &*file), ("m.yaml", MAP)],
        "the build adds to its objects more than",
    );
}

#[test]
fn replacements_that_nest_a_mapping_in_itself_are_refused() {
    let mut file = String::from("resources: [m.yaml]\nreplacements:\n");
    for round in 0..64 {
        let _ = write!(
            file,
            "- source: {{kind: ConfigMap, fieldPath: data}}\n  targets:\n  - select: {{kind: ConfigMap}}\n    \
             fieldPaths: [data.r{round}]\n    options: {{create: true}}\n"
        );
    }
    refused(
        &[("kustomization.yaml", &*file), ("m.yaml", MAP)],
        "the build adds to its objects more than",
    );
}

#[test]
fn a_field_path_without_end_is_refused() {
    let path = vec!["a"; 100_000];
    let replacement = format!(
        "resources: [m.yaml]\nreplacements:\n- sourceValue: x\n  targets:\n  - select: {{kind: ConfigMap}}\n    \
         fieldPaths: [{}]\n    options: {{create: true}}\n",
        path.join(".")
    );
    refused(
        &[("kustomization.yaml", &*replacement), ("m.yaml", MAP)],
        "nested deeper than",
    );
    let label = format!(
        "resources: [m.yaml]\nlabels:\n- pairs: {{x: z}}\n  fields: [{{path: {}, create: true}}]\n",
        path.join("/")
    );
    refused(
        &[("kustomization.yaml", &*label), ("m.yaml", MAP)],
        "may not have more than",
    );
}

#[test]
fn a_file_that_is_read_a_thousand_times_is_refused() {
    let mut file = String::from("configMapGenerator:\n");
    for index in 0..2000 {
        let _ = writeln!(file, "- {{name: m{index}, files: [big]}}");
    }
    let big = "x".repeat(1 << 20);
    refused(
        &[("kustomization.yaml", &file), ("big", &big)],
        "the build reads more than",
    );
}

#[test]
fn regular_expressions_are_bounded() {
    let file = "resources: [m.yaml]\npatches:\n- target: {name: '((a{1000}){1000}){1000}'}\n  patch: '- {op: remove, path: /data}'\n";
    refused(
        &[("kustomization.yaml", file), ("m.yaml", MAP)],
        "is not a regular expression",
    );
    // Patterns that make backtracking matchers explode take linear time.
    let name = "a".repeat(200);
    let map = MAP.replace("name: m", &format!("name: {name}"));
    let file = "resources: [m.yaml]\npatches:\n- target: {name: '(a+)+$b'}\n  patch: '- {op: remove, path: /data}'\n";
    let built = build_at(
        &tree(&[("kustomization.yaml", file), ("m.yaml", &map)]),
        "",
        &Options::flux(),
    );
    assert!(built.unwrap().to_yaml(1).unwrap().contains("data:"));
}

#[test]
fn links_and_paths_out_of_the_tree_are_refused() {
    refused(
        &[("kustomization.yaml", "resources: [../x.yaml]")],
        "leads out of the tree",
    );
    refused(&[("kustomization.yaml", "resources: [/etc/passwd]")], "absolute");
    let mut builder = TreeBuilder::default();
    builder
        .file(
            "kustomization.yaml",
            File::new("configMapGenerator: [{name: m, files: [l]}]".as_bytes(), false),
        )
        .unwrap();
    builder.symlink("l", "../../etc/passwd").unwrap();
    let error = build_at(&builder.build(), "", &Options::flux())
        .unwrap_err()
        .to_string();
    assert!(error.contains("kustomization.yaml:1"), "{error}");
}

#[test]
fn files_above_the_folder_are_refused_unless_asked_for() {
    let files = [
        (
            "app/kustomization.yaml",
            "configMapGenerator: [{name: m, files: [../shared/x]}]",
        ),
        ("shared/x", "1"),
    ];
    let strict = Options {
        load_restrictor: LoadRestrictor::RootOnly,
        ..Options::flux()
    };
    let error = build_at(&tree(&files), "app", &strict).unwrap_err().to_string();
    assert!(
        error.contains("security; file 'shared/x' is not in or below 'app'"),
        "{error}"
    );
    assert!(build_at(&tree(&files), "app", &Options::flux()).is_ok());
}

#[test]
fn programs_containers_and_remote_files_are_refused() {
    let function = "apiVersion: x/v1\nkind: F\nmetadata:\n  name: f\n  annotations:\n    \
                    config.kubernetes.io/function: 'exec: {path: ./x}'\n";
    refused(
        &[
            ("kustomization.yaml", "generators: [f.yaml]"),
            ("f.yaml", function),
        ],
        "these are not run here",
    );
    refused(
        &[("kustomization.yaml", "resources: ['https://example.com/a.yaml']")],
        "not allowed",
    );
    refused(
        &[(
            "kustomization.yaml",
            "resources: ['https://github.com/o/r?ref=v1']",
        )],
        "not allowed",
    );
    refused(
        &[(
            "kustomization.yaml",
            "helmCharts: [{name: c, repo: 'https://example.com'}]",
        )],
        "--enable-helm",
    );
}
