//! What patches do in the reference beyond what they say: each of these surprised somebody once.

use fluvial_kustomize::Options;

use crate::{build_at, tree};

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: a
  annotations: {gone: was}
spec:
  template:
    spec: {containers: []}
";
const PATCH: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: a\n";

/// Builds a deployment with common labels under a kustomization, and prints it.
fn overlaid(base: &str, overlay: &str, patch: &str) -> String {
    let files = [
        ("base/kustomization.yaml", format!("resources: [a.yaml]\n{base}")),
        ("base/a.yaml", DEPLOYMENT.to_owned()),
        ("kustomization.yaml", format!("resources: [base]\n{overlay}")),
        ("patch.yaml", format!("{PATCH}{patch}")),
    ];
    let build = build_at(&tree(&files), "", &Options::flux()).unwrap();
    build.to_yaml(1).unwrap()
}

const COMMON: &str = "commonLabels: {app: one}\ncommonAnnotations: {note: one}\n";

#[test]
fn a_common_label_that_is_patched_in_one_place_changes_in_all() {
    let output = overlaid(COMMON, "patches: [{path: patch.yaml}]", "  labels: {app: two}\n");
    assert_eq!(output.matches("app: two").count(), 3, "{output}");
    assert!(!output.contains("app: one"), "{output}");
    assert_eq!(output.matches("note: one").count(), 2, "{output}");
}

#[test]
fn of_several_places_that_a_patch_writes_the_last_by_name_counts() {
    let patch = "  labels: {app: two}\nspec: {selector: {matchLabels: {app: three}}}\n";
    let output = overlaid(COMMON, "patches: [{path: patch.yaml}]", patch);
    assert_eq!(output.matches("app: three").count(), 3, "{output}");
}

#[test]
fn labels_of_an_overlay_reach_the_selectors_that_common_labels_made() {
    let output = overlaid(COMMON, "labels: [{pairs: {app: two}}]", "");
    assert_eq!(output.matches("app: two").count(), 3, "{output}");
}

#[test]
fn replacements_write_all_places_of_a_common_label() {
    let overlay = "\
replacements:
- source: {kind: Deployment, fieldPath: metadata.name}
  targets:
  - select: {kind: Deployment}
    fieldPaths: [spec.template.metadata.labels.app]
";
    let output = overlaid(COMMON, overlay, "");
    assert_eq!(output.matches("app: a\n").count(), 3, "{output}");
}

#[test]
fn after_a_json_patch_each_place_is_on_its_own() {
    let overlay = "\
patches:
- target: {kind: Deployment}
  patch: |
    - {op: replace, path: /metadata/labels/app, value: two}
";
    let output = overlaid(COMMON, overlay, "");
    assert_eq!(output.matches("app: one").count(), 2, "{output}");
    assert_eq!(output.matches("app: two").count(), 1, "{output}");
}

#[test]
fn only_a_patch_that_names_its_object_takes_an_annotation_away() {
    let null = "  annotations: {gone: null}\n";
    let taken = overlaid("", "patches: [{path: patch.yaml}]", null);
    assert!(!taken.contains("gone"), "{taken}");
    for overlay in [
        "patches: [{path: patch.yaml, target: {kind: Deployment}}]",
        "patchesStrategicMerge: [patch.yaml]",
    ] {
        let kept = overlaid("", overlay, null);
        assert!(kept.contains("gone: \"null\""), "{kept}");
    }
}

#[test]
fn a_json_patch_leaves_numbers_as_json_has_them() {
    let overlay = "\
patches:
- target: {kind: Deployment}
  patch: |
    - op: add
      path: /metadata/annotations
      value: {whole: 1000000, hex: 0x1F, none: ~}
";
    let output = overlaid("", overlay, "");
    assert!(
        output.contains("    hex: \"31\"\n    none: \"null\"\n    whole: \"1e+06\"\n"),
        "{output}"
    );
}

#[test]
fn references_do_not_follow_a_name_that_patches_json6902_changes() {
    let objects = "\
apiVersion: v1
kind: Service
metadata: {name: s}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: i}
spec: {defaultBackend: {service: {name: s}}}
";
    for (field, name) in [("patches", "t"), ("patchesJson6902", "s")] {
        let kustomization = format!(
            "resources: [a.yaml]\n{field}:\n- target: {{version: v1, kind: Service, name: s}}\n  \
             patch: |\n    - {{op: replace, path: /metadata/name, value: t}}\n"
        );
        let files = [
            ("kustomization.yaml", kustomization.as_str()),
            ("a.yaml", objects),
        ];
        let build = build_at(&tree(&files), "", &Options::flux()).unwrap();
        let output = build.to_yaml(1).unwrap();
        assert!(
            output.contains(&format!("      name: {name}\n")),
            "{field}: {output}"
        );
    }
}
