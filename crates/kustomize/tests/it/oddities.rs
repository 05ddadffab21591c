//! What the reference takes or refuses where one would expect otherwise: found by changing inputs at random and
//! building them with both.

use fluvial_kustomize::{Options, Reorder};

use crate::{build_at, tree};

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {z: \"1\"}\n";

/// What a kustomization with these files gives, or why it fails.
fn built(kustomization: &str, files: &[(&str, &str)]) -> Result<String, String> {
    let options = Options {
        reorder: Reorder::None,
        ..Options::cli()
    };
    with(kustomization, files, &options)
}

fn with(kustomization: &str, files: &[(&str, &str)], options: &Options) -> Result<String, String> {
    let mut all = vec![("kustomization.yaml", kustomization)];
    all.extend_from_slice(files);
    build_at(&tree(&all), "", options)
        .and_then(|build| build.to_yaml(1))
        .map_err(|error| error.to_string())
}

#[test]
fn what_follows_the_end_of_a_document_is_not_looked_at() {
    let odd = format!(
        "\u{feff}{MAP}...\n[ not: looked at\n---\n{}",
        MAP.replace("name: a", "name: b")
    );
    let output = built("resources: [a.yaml]\n...\n] neither\n", &[("a.yaml", &odd)]).unwrap();
    assert_eq!(output.matches("kind: ConfigMap").count(), 2, "{output}");
    let error = built(
        "resources: [a.yaml]",
        &[("a.yaml", &format!("{MAP}--- x\n{MAP}"))],
    )
    .unwrap_err();
    assert!(
        error.contains("a.yaml:5: MalformedYAMLError: invalid document separator"),
        "{error}"
    );
}

#[test]
fn of_metadata_only_the_name_is_looked_at() {
    let odd = "apiVersion: v1\nkind: X\nmetadata: {name: a, labels: text, namespace: {}}\nlist: [null]\n";
    let output = built("resources: [a.yaml]", &[("a.yaml", odd)]).unwrap();
    assert!(
        output.contains("labels: text") && output.contains("- null"),
        "{output}"
    );
}

#[test]
fn the_metadata_of_a_kustomization_are_checked() {
    let error = |metadata: &str| {
        built(
            &format!("metadata: {metadata}\nresources: [a.yaml]"),
            &[("a.yaml", MAP)],
        )
        .unwrap_err()
    };
    assert!(error("{namespace: true}").contains("field namespace"));
    assert!(error("{owner: x}").contains("unknown field \"owner\""));
}

#[test]
fn the_white_space_around_an_inline_patch_does_not_count() {
    let patch = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: |\n    one\n    two\n";
    let inline: String = patch.lines().map(|line| format!("    {line}\n")).collect();
    let output = built(
        &format!("resources: [a.yaml]\npatches:\n- patch: |\n\n{inline}"),
        &[("a.yaml", MAP)],
    );
    assert!(output.unwrap().contains("k: |-\n    one\n    two\n"));
    let output = built(
        "resources: [a.yaml]\npatches: [{path: p.yaml}]",
        &[("a.yaml", MAP), ("p.yaml", patch)],
    );
    assert!(output.unwrap().contains("k: |\n    one\n    two\n"));
}

#[test]
fn an_object_cannot_be_replaced_as_a_whole() {
    let patch = format!("{}$patch: replace\n", MAP.replace("z:", "y:"));
    let output = built(
        "resources: [a.yaml]\npatches: [{path: p.yaml}]",
        &[("a.yaml", MAP), ("p.yaml", &patch)],
    );
    assert!(output.unwrap().contains("data:\n  z: \"1\"\n"));
}

#[test]
fn what_is_wrong_with_a_patch_counts_where_it_has_a_target() {
    let build = |target: &str, patch: &str| {
        built(
            &format!("resources: [a.yaml]\npatches:\n- target: {target}\n  patch: '{patch}'\n"),
            &[("a.yaml", MAP)],
        )
    };
    let remove = r#"[{"op": "remove", "path": "/data"}]"#;
    assert!(build("{kind: Secret, labelSelector: \"=\"}", remove).is_ok());
    assert!(
        build("{kind: ConfigMap, labelSelector: \"=\"}", remove)
            .unwrap_err()
            .contains("label selector '='")
    );
    let odd = r#"[{"op": "drop", "path": "/data"}]"#;
    assert!(build("{kind: Secret}", odd).is_ok());
    assert!(build("{kind: ConfigMap}", odd).unwrap_err().contains("'drop'"));
    // A text that begins as JSON does is not read as YAML.
    assert!(
        build("{kind: ConfigMap}", "[{op: remove, path: /data}]")
            .unwrap_err()
            .contains("is none")
    );
    assert!(build("{kind: ConfigMap}", "- {op: remove, path: /data}").is_ok());
}

#[test]
fn namespaces_are_ordered_with_the_bar_that_follows_them() {
    let objects: Vec<String> = ["prod", "production"]
        .map(|namespace| MAP.replace("name: a", &format!("name: a, namespace: {namespace}")))
        .into();
    let output = with(
        "resources: [a.yaml]",
        &[("a.yaml", &objects.join("---\n"))],
        &Options::cli(),
    )
    .unwrap();
    assert!(
        output.find("namespace: production") < output.find("namespace: prod\n"),
        "{output}"
    );
}

#[test]
fn only_the_kustomization_that_is_built_says_how_to_sort() {
    let base = (
        "base/kustomization.yaml",
        "sortOptions: {order: best}\nbuildMetadata: [all]\nresources: [a.yaml]",
    );
    let files = [base, ("base/a.yaml", MAP)];
    assert!(built("resources: [base]", &files).is_ok());
    let error = built("resources: [base]\nsortOptions: {order: best}", &files).unwrap_err();
    assert!(error.contains("'sortOptions.order' must be one of"), "{error}");
}

#[test]
fn kinds_are_ordered_by_group_where_none_comes_first() {
    let kustomization = "\
resources: [a.yaml]
sortOptions: {order: legacy, legacySortOptions: {orderFirst: [Secret, Service, Secret], orderLast: []}}
";
    let of = |api_version: &str, kind: &str| {
        format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: a}}\n---\n")
    };
    let objects =
        of("v1", "Namespace") + &of("apps/v1", "Deployment") + &of("v1", "Secret") + &of("v1", "Service");
    let output = built(kustomization, &[("a.yaml", &objects)]).unwrap();
    let kinds: Vec<&str> = output
        .lines()
        .filter_map(|line| line.strip_prefix("kind: "))
        .collect();
    assert_eq!(kinds, ["Service", "Secret", "Deployment", "Namespace"]);
}

#[test]
fn a_secret_made_of_nothing_has_data() {
    let output = built("secretGenerator: [{name: a}]", &[]).unwrap();
    assert_eq!(
        output,
        "apiVersion: v1\ndata: {}\nkind: Secret\nmetadata:\n  name: a-46f8b28mk5\ntype: Opaque\n"
    );
}

#[test]
fn configurations_of_plugins_are_strict_in_places() {
    let error = |plugin: &str| {
        let kustomization =
            format!("resources: [a.yaml]\ntransformers:\n- |-\n  apiVersion: builtin\n{plugin}");
        built(&kustomization, &[("a.yaml", MAP)]).unwrap_err()
    };
    let name = "  metadata: {name: x}\n";
    assert!(error(&format!("  kind: PrefixTransformer\n{name}  prefix: p-\n")).contains("fieldSpecs"));
    assert!(error(&format!("  kind: SuffixTransformer\n{name}  suffix: -s\n")).contains("fieldSpecs"));
    let patch = "  patch: '[{\"op\": \"remove\", \"path\": \"/data\"}]'\n";
    let target = format!("  kind: PatchTransformer\n{name}{patch}  target: {{name: true}}\n");
    assert!(error(&target).contains("field name"));
    let twice = format!("  kind: HashTransformer\n{name}  a: 1\n  a: 2\n");
    assert!(error(&twice).contains("already defined"));
}

#[test]
fn fields_of_configurations_are_known_ones() {
    let error = built(
        "resources: [a.yaml]\nconfigurations: [c.yaml]",
        &[
            ("a.yaml", MAP),
            ("c.yaml", "images: [{path: spec/image, kinds: X}]"),
        ],
    );
    assert!(error.unwrap_err().contains("unknown field \"kinds\""));
    let error = built(
        "resources: [a.yaml]\nconfigurations: [c.yaml]",
        &[("a.yaml", MAP), ("c.yaml", "images: [{path: a, path: b}]")],
    );
    assert!(error.unwrap_err().contains("already set in map"));
}

#[test]
fn a_label_has_a_name() {
    assert!(built("resources: [a.yaml]\ncommonLabels: {\"\": x}", &[("a.yaml", MAP)]).is_err());
}

#[test]
fn folded_annotations_are_as_they_were_while_other_texts_change() {
    let text = ">\n    a\n      b\n    c\n";
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  annotations:\n   x: {text}data:\n  x: {text}"
    );
    let output = built("resources: [a.yaml]", &[("a.yaml", &map)]).unwrap();
    assert!(
        output.contains("data:\n  x: |\n    a\n\n      b\n    c\n"),
        "{output}"
    );
    assert!(
        output.contains("    x: |\n      a\n        b\n      c\n"),
        "{output}"
    );
}

#[test]
fn a_kustomization_ends_where_a_directive_begins() {
    let output = built(
        "resources: [a.yaml]\n%YAML 1.2\nnamePrefix: p-\n",
        &[("a.yaml", MAP)],
    )
    .unwrap();
    assert!(output.contains("name: a\n"), "{output}");
}

#[test]
fn null_is_a_key_that_is_there_twice() {
    for key in ["~", "null"] {
        let text = format!("{MAP}{key}: b\n");
        let error = built("resources: [a.yaml]\n", &[("a.yaml", &text)]).unwrap_err();
        assert!(error.contains("already defined"), "{error}");
    }
}

#[test]
fn an_object_brings_records_of_its_names_and_of_its_hash() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: new\n  annotations:\n    \
        internal.config.kubernetes.io/previousNames: old\n    \
        internal.config.kubernetes.io/previousNamespaces: default\n    \
        internal.config.kubernetes.io/previousKinds: ConfigMap\n    \
        internal.config.kubernetes.io/needsHashSuffix: enabled\ndata: {k: v}\n---\n\
        apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n\
        spec: {volumes: [{name: v, configMap: {name: old}}]}\n";
    let output = built("resources: [a.yaml]\nnamePrefix: x-\n", &[("a.yaml", text)]).unwrap();
    let name = output
        .lines()
        .find_map(|line| line.strip_prefix("  name: x-new-"))
        .expect("a hash");
    assert!(
        output.contains(&format!("configMap:\n      name: x-new-{name}\n")),
        "{output}"
    );
    assert!(!output.contains("annotations"), "{output}");
}

#[test]
fn annotations_as_a_whole_are_tested_with_the_records_among_them() {
    let kustomization = |target: &str| {
        format!(
            "resources: [a.yaml]\npatches:\n- target: {{kind: ConfigMap}}\n  patch: |-\n    - {{op: test, path: {target}}}\n"
        )
    };
    let text = MAP.replace("{name: a}", "{name: a, annotations: {b: c}}");
    let files = [("a.yaml", &*text)];
    assert!(built(&kustomization("/metadata/annotations, value: {b: c}"), &files).is_err());
    assert!(built(&kustomization("/metadata/annotations/b, value: c"), &files).is_ok());
}

#[test]
fn a_folded_number_with_a_tag_is_a_number() {
    let text = "apiVersion: x/v1\nkind: W\nmetadata: {name: w}\nspec:\n  a: !!float >-\n    1.5\n  b: !!str >-\n    2\n";
    let output = built("resources: [a.yaml]\n", &[("a.yaml", text)]).unwrap();
    assert!(output.contains("  a: 1.5\n  b: \"2\"\n"), "{output}");
}
