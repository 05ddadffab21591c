//! The reference keeps records of its own in annotations. Nobody is to see them, and yet they show: fields exist that
//! the files do not have, and what changes no field is a change.

use fluvial_kustomize::Options;

use crate::{build_at, tree};

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

fn built(files: &[(&str, &str)]) -> Result<String, String> {
    build_at(&tree(files), "", &Options::flux())
        .and_then(|build| build.to_yaml(1))
        .map_err(|error| error.to_string())
}

#[test]
fn annotations_of_the_same_domain_that_are_no_records_stay() {
    let object = "apiVersion: v1
kind: ConfigMap
metadata:
  name: a
  annotations: {internal.config.kubernetes.io/own: x, internal.config.kubernetes.io/prefixes: y}
";
    let output = built(&[("kustomization.yaml", "resources: [a.yaml]"), ("a.yaml", object)]).unwrap();
    assert!(
        output.contains("internal.config.kubernetes.io/own: x"),
        "{output}"
    );
    assert!(!output.contains("prefixes"), "{output}");
}

#[test]
fn old_json_patches_find_annotations_only_where_there_are_some() {
    let add = "patchesJson6902:
- target: {version: v1, kind: ConfigMap, name: a}
  patch: '- {op: add, path: /metadata/annotations/x, value: v}'
";
    let plain = format!("resources: [a.yaml]\n{add}");
    let error = built(&[("kustomization.yaml", &plain), ("a.yaml", MAP)]).unwrap_err();
    assert!(error.contains("missing path: /metadata/annotations/x"), "{error}");
    let renamed = [
        ("kustomization.yaml", &*format!("resources: [base]\n{add}")),
        ("base/kustomization.yaml", "namePrefix: p-\nresources: [a.yaml]"),
        ("base/a.yaml", MAP),
    ];
    assert!(built(&renamed).unwrap().contains("x: v"));
}

#[test]
fn an_empty_list_is_a_patch_that_does_nothing() {
    let kustomization = "resources: [a.yaml]\npatches: [{patch: '[]', target: {kind: ConfigMap}}]";
    built(&[("kustomization.yaml", kustomization), ("a.yaml", MAP)]).unwrap();
}

#[test]
fn labels_reach_annotations_of_what_was_renamed() {
    let labels = "labels:\n- pairs: {l: v}\n  fields: [{path: metadata/annotations}]\n";
    let annotated = |prefix: &str| {
        let kustomization = format!("{prefix}resources: [a.yaml]\n{labels}");
        built(&[("kustomization.yaml", &kustomization), ("a.yaml", MAP)]).unwrap()
    };
    assert!(!annotated("").contains("annotations"));
    assert!(annotated("namePrefix: p-\n").contains("annotations:\n    l: v\n"));
}

#[test]
fn a_validator_that_only_changes_records_is_refused() {
    let validated = |kind: &str| {
        let validator = format!(
            "apiVersion: builtin
kind: PatchTransformer
metadata: {{name: n}}
patch: '- {{op: test, path: /kind, value: ConfigMap}}'
target: {{kind: {kind}}}
"
        );
        built(&[
            ("kustomization.yaml", "resources: [a.yaml]\nvalidators: [v.yaml]"),
            ("v.yaml", &validator),
            ("a.yaml", MAP),
        ])
    };
    let error = validated("ConfigMap").unwrap_err();
    assert!(error.contains("validator shouldn't modify"), "{error}");
    validated("Secret").unwrap();
}

#[test]
fn fields_that_hold_names_have_their_shape_though_nothing_is_renamed() {
    let object = |volume: &str| {
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{volumes: [{volume}]}}\n")
    };
    let build = |volume: &str| {
        built(&[
            ("kustomization.yaml", "resources: [a.yaml]"),
            ("a.yaml", &object(volume)),
        ])
    };
    build("{name: x, secret: {secretName: s}}, {configMap: null}").unwrap();
    let error = build("{name: x, secret: s}").unwrap_err();
    assert!(
        error.contains("updating name reference in 'spec/volumes/secret/secretName' field of 'Pod.v1"),
        "{error}"
    );
    let binding = "apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: a}
subjects: [{kind: User}]
";
    let error = built(&[("kustomization.yaml", "resources: [a.yaml]"), ("a.yaml", binding)]).unwrap_err();
    assert!(error.contains("no 'name' field in node"), "{error}");
}

#[test]
fn a_patch_that_may_rename_cannot_make_two_of_one() {
    let files = |kind: &str| {
        format!(
            "resources: [a.yaml, b.yaml]
patches:
- target: {{kind: {kind}}}
  options: {{allowNameChange: true}}
  patch: '{{apiVersion: v1, kind: ConfigMap, metadata: {{name: c}}}}'
"
        )
    };
    let other = MAP.replace("name: a", "name: b").replace("ConfigMap", "Secret");
    let build = |kind: &str, other: &str| {
        let kustomization = files(kind);
        built(&[
            ("kustomization.yaml", &*kustomization),
            ("a.yaml", MAP),
            ("b.yaml", other),
        ])
    };
    let error = build("ConfigMap", &MAP.replace("name: a", "name: b")).unwrap_err();
    assert!(
        error.contains("already registered id: ConfigMap.v1.[noGrp]/c"),
        "{error}"
    );
    assert!(build("ConfigMap", &other).unwrap().contains("name: c"));
}

#[test]
fn a_kind_that_a_replacement_writes_decides_about_namespaces() {
    let kustomization = "namespace: moved
resources: [a.yaml]
replacements:
- sourceValue: Other
  targets: [{select: {kind: PersistentVolume}, fieldPaths: [kind]}]
";
    let base = [
        ("kustomization.yaml", "resources: [base]\nnamespace: moved"),
        (
            "base/kustomization.yaml",
            &kustomization.replace("namespace: n\n", ""),
        ),
        (
            "base/a.yaml",
            "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: a}\n",
        ),
    ];
    let output = built(&base).unwrap();
    assert!(
        output.contains("kind: Other") && output.contains("namespace: moved"),
        "{output}"
    );
}

#[test]
fn directives_inside_of_what_is_replaced_are_taken_away() {
    let object = "apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec: {template: {spec: {containers: [{name: x, image: one}]}}}
";
    let patch = "apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec:
  template:
    $patch: replace
    spec:
      containers:
      - {name: x, $patch: replace, image: two}
      - {name: w, $patch: merge, image: three}
      - {name: z, $patch: delete}
";
    let output = built(&[
        (
            "kustomization.yaml",
            "resources: [a.yaml]\npatches: [{path: p.yaml}]",
        ),
        ("a.yaml", object),
        ("p.yaml", patch),
    ])
    .unwrap();
    assert!(
        output.contains("- image: two\n        name: x\n      - image: three\n        name: w\n"),
        "{output}"
    );
    assert!(
        !output.contains("$patch") && !output.contains("name: z"),
        "{output}"
    );
}

#[test]
fn fields_of_ones_own_stand_behind_the_built_in_ones() {
    let own = "images:\n- {path: 'spec/template/spec/containers[]/image', kind: Widget}\n";
    let files = [
        (
            "kustomization.yaml",
            "resources: [base]\nconfigurations: [c.yaml]",
        ),
        ("c.yaml", own),
        ("base/kustomization.yaml", "resources: [a.yaml]"),
        ("base/a.yaml", MAP),
    ];
    built(&files).unwrap();
    // Alone, what is for one kind comes first, and the built-in field for all contradicts it.
    let alone = [
        (
            "kustomization.yaml",
            "resources: [a.yaml]\nconfigurations: [c.yaml]",
        ),
        ("c.yaml", own),
        ("a.yaml", MAP),
    ];
    assert!(built(&alone).unwrap_err().contains("conflicting fieldspecs"));
}

#[test]
fn an_empty_prefix_makes_the_fields_that_it_is_for() {
    let transformer = "apiVersion: builtin
kind: PrefixTransformer
metadata: {name: n}
prefix: ''
fieldSpecs: [{path: spec/x, create: true}]
";
    let output = built(&[
        (
            "kustomization.yaml",
            "resources: [a.yaml]\ntransformers: [t.yaml]",
        ),
        ("t.yaml", transformer),
        ("a.yaml", MAP),
    ])
    .unwrap();
    assert!(output.contains("spec:\n  x: "), "{output}");
}

#[test]
fn a_variable_for_what_is_no_scalar_stays_as_it_is() {
    let kustomization = "resources: [a.yaml]
vars:
- {name: V, objref: {apiVersion: v1, kind: Pod, name: a}, fieldref: {fieldpath: spec.volumes}}
";
    let pod = "apiVersion: v1
kind: Pod
metadata: {name: a}
spec: {volumes: [{name: v}], containers: [{name: c, args: [$(V)]}]}
";
    let output = built(&[("kustomization.yaml", kustomization), ("a.yaml", pod)]).unwrap();
    assert!(output.contains("- $(V)"), "{output}");
}
