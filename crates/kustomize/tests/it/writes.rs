//! What transformers write to, and what they leave alone, where the reference surprises.

use fluvial_kustomize::{Options, Reorder, explain};

use crate::{build_at, tree};

const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  n: null\n  list: [1, {name: a}]\n";

fn built(kustomization: &str, files: &[(&str, &str)]) -> Result<String, String> {
    let mut all = vec![("kustomization.yaml", kustomization), ("web.yaml", WEB)];
    all.extend_from_slice(files);
    let options = Options {
        reorder: Reorder::None,
        ..Options::cli()
    };
    build_at(&tree(&all), "", &options)
        .and_then(|build| build.to_yaml(1))
        .map_err(|error| error.to_string())
}

#[test]
fn a_value_that_is_one_node_in_several_places_is_written_in_all() {
    let base = "resources: [../web.yaml]\ncommonAnnotations: {a: old}\nlabels: [{pairs: {l: old}, includeTemplates: true}]\n";
    for transformer in [
        "transformers:\n- |-\n  {apiVersion: builtin, kind: ValueAddTransformer, metadata: {name: m}, value: new,\n   \
         targets: [{fieldPath: metadata/annotations/a}, {fieldPath: metadata/labels/l}]}\n",
        "transformers:\n- |-\n  {apiVersion: builtin, kind: PrefixTransformer, metadata: {name: m}, prefix: new,\n   \
         fieldSpecs: [{path: metadata/annotations/a}, {path: metadata/labels/l}]}\n",
    ] {
        let files = [("base/kustomization.yaml", base)];
        let mut all = vec![("web.yaml", WEB)];
        all.extend_from_slice(&files);
        let top = format!("resources: [base]\n{transformer}");
        all.push(("kustomization.yaml", &top));
        let options = Options {
            load_restrictor: fluvial_kustomize::LoadRestrictor::None,
            ..Options::cli()
        };
        let build = build_at(&tree(&all), "", &options).unwrap();
        let output = build.to_yaml(1).unwrap();
        assert_eq!(output.matches(": new").count(), 4, "{output}");
    }
}

#[test]
fn replacements_select_by_namespaces_as_they_are_written() {
    let replace = |select: &str| {
        format!(
            "resources: [web.yaml]\nreplacements:\n- sourceValue: x\n  targets:\n  - select: {select}\n    \
             fieldPaths: [spec.new]\n    options: {{create: true}}\n"
        )
    };
    let output = built(&replace("{kind: Deployment}"), &[]).unwrap();
    assert!(output.contains("new: x"), "{output}");
    // An object without namespace is in none, even if the default one is asked for.
    let output = built(&replace("{kind: Deployment, namespace: default}"), &[]).unwrap();
    assert!(!output.contains("new: x"), "{output}");
    // For a source it is, and for one of a kind that has no namespaces too.
    let source = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\n";
    let output = built(
        "resources: [web.yaml, r.yaml]\nreplacements:\n- source: {kind: ClusterRole, namespace: default}\n  targets:\n  \
         - {select: {kind: Deployment}, fieldPaths: [spec.new], options: {create: true}}\n",
        &[("r.yaml", source)],
    );
    assert!(output.as_ref().unwrap().contains("new: r"), "{output:?}");
}

#[test]
fn paths_of_replacements_pass_items_without_fields_and_end_in_null() {
    let replace = |path: &str| {
        built(
            &format!(
                "resources: [web.yaml]\nreplacements:\n- sourceValue: x\n  targets:\n  - select: {{kind: Deployment}}\n    \
                 fieldPaths: ['{path}']\n    options: {{create: true}}\n"
            ),
            &[],
        )
    };
    let output = replace("spec.list.[name=a].v").unwrap();
    assert!(output.contains("- 1\n  - name: a\n    v: x\n"), "{output}");
    assert!(replace("spec.n.below").unwrap().contains("\"n\": null"));
    for path in ["spec.", "spec..x", ""] {
        let error = replace(path).unwrap_err();
        assert!(
            error.contains("expected ScalarNode but got MappingNode"),
            "{error}"
        );
    }
}

#[test]
fn a_group_of_null_is_no_group_of_a_role() {
    let files = [(
        "rb.yaml",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: rb}\n\
         roleRef: {apiGroup: null, kind: Role, name: r}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r}\n",
    )];
    let output = built("resources: [rb.yaml]\nnamePrefix: p-\n", &files).unwrap();
    assert!(output.contains("  kind: Role\n  name: r\n"), "{output}");
}

#[test]
fn a_field_in_another_spelling_must_have_its_type_too() {
    let error = built("resources: [web.yaml]\nResources: {}\n", &[]).unwrap_err();
    assert!(error.contains("kustomization.yaml:2: field resources"), "{error}");
    assert!(built("resources: [web.yaml]\nResources: []\n", &[]).is_ok());
    assert!(built("namePrefix: a\nNAMEPREFIX: [b]\nresources: [web.yaml]\n", &[]).is_err());
}

#[test]
fn names_of_a_cloud_account_are_read_as_yaml() {
    let generator = |name: &str| {
        let config = format!(
            "apiVersion: builtin\nkind: IAMPolicyGenerator\nmetadata: {{name: g}}\ncloud: gke\n\
             kubernetesService: {{name: k, namespace: n}}\nserviceAccount: {{name: {name}, projectId: p}}\n"
        );
        built("generators: [g.yaml]\n", &[("g.yaml", &config)])
    };
    let output = generator("a").unwrap();
    assert!(
        output.contains("gcp-service-account: a@p.iam.gserviceaccount.com\n  name: k\n  namespace: \"n\"\n"),
        "{output}"
    );
    assert!(generator("1").unwrap_err().contains("field name"));
    assert!(generator("\"\\0\"").is_err());
}

#[test]
fn the_namespace_of_a_patch_with_a_target_need_be_no_text() {
    let output = built(
        "resources: [web.yaml]\npatches:\n- target: {kind: Deployment}\n  patch: |-\n    apiVersion: apps/v1\n    \
         kind: Deployment\n    metadata: {name: x, namespace: {a: b}}\n    spec: {v: 1}\n",
        &[],
    );
    assert!(output.as_ref().unwrap().contains("v: 1"), "{output:?}");
}

#[test]
fn labels_and_names_keep_the_places_that_set_them() {
    let files = [
        ("web.yaml", WEB),
        (
            "kustomization.yaml",
            "resources: [web.yaml]\npatches:\n- path: p.yaml\n  target: {kind: Deployment}\ntransformers: [t.yaml]\n",
        ),
        (
            "p.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: x\n  annotations:\n    new: value\n",
        ),
        (
            "t.yaml",
            "apiVersion: builtin\nkind: PrefixSuffixTransformer\nmetadata: {name: t}\nprefix: p-\n\
             fieldSpecs: [{path: metadata/name}]\n",
        ),
    ];
    let build = build_at(&tree(&files), "", &Options::cli()).unwrap();
    let text = explain(&build, &build.resources[0]);
    for line in ["metadata.annotations.new: p.yaml:6", "metadata.name: t.yaml:4"] {
        assert!(text.lines().any(|one| one == line), "{line} in\n{text}");
    }
}
#[test]
fn variables_are_written_wherever_a_value_is_one_node_and_found_by_the_namespace_as_it_is_written() {
    let kustomization = |objref: &str| {
        format!(
            "resources: [web.yaml, ns.yaml]\ncommonLabels: {{l: $(V)}}\nconfigurations: [c.yaml]\n\
             vars:\n- {{name: V, objref: {objref}}}\n"
        )
    };
    let files = [
        (
            "ns.yaml",
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: prod}\n",
        ),
        ("c.yaml", "varReference:\n- path: metadata/labels\n"),
    ];
    let output = built(
        &kustomization("{apiVersion: v1, kind: Namespace, name: prod}"),
        &files,
    )
    .unwrap();
    assert_eq!(output.matches("l: prod").count(), 4, "{output}");
    let error = built(
        &kustomization("{apiVersion: v1, kind: Namespace, name: prod, namespace: default}"),
        &files,
    )
    .unwrap_err();
    assert!(error.contains("cannot be mapped"), "{error}");
}

#[test]
fn what_one_object_configures_is_recorded_once() {
    let output = built(
        "resources: [web.yaml]\nbuildMetadata: [transformerAnnotations]\ntransformers:\n- |-\n  \
         {apiVersion: builtin, kind: PrefixSuffixTransformer, metadata: {name: m}, prefix: a, suffix: b,\n   \
         fieldSpecs: [{path: metadata/name}]}\n",
        &[],
    )
    .unwrap();
    assert_eq!(output.matches("PrefixSuffixTransformer").count(), 1, "{output}");
}

#[test]
fn annotations_of_a_patch_that_may_change_names_are_texts() {
    let output = built(
        "resources: [web.yaml]\npatches:\n- options: {allowNameChange: true}\n  patch: |-\n    \
         {apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {a: null}}}\n",
        &[],
    )
    .unwrap();
    assert!(output.contains("a: \"null\""), "{output}");
}

#[test]
fn a_schema_of_another_kind_knows_nothing() {
    let build = |schema: &str| {
        built(
            "resources: [web.yaml]\nopenapi: {path: schema.json}\n",
            &[("schema.json", schema)],
        )
    };
    assert!(build(r#"{"components": {"schemas": {}}}"#).is_ok());
    assert!(build(r#"{"definitions": []}"#).is_err());
    assert!(built("resources: [web.yaml]\ninventory: {}\n", &[]).is_err());
}
