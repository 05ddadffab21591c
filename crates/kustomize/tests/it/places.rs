//! Every field of the output knows the file and line that set it, and so does every error.

use fluvial_kustomize::{Options, explain, history};

use crate::{build_at, error, tree};

const FILES: [(&str, &str); 4] = [
    (
        "base/kustomization.yaml",
        "resources:\n- deployment.yaml\nconfigMapGenerator:\n- name: settings\n  literals:\n  - a=b\n",
    ),
    (
        "base/deployment.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 1\n  template:\n    spec:\n      \
         containers:\n      - name: web\n        image: web:1\n",
    ),
    (
        "kustomization.yaml",
        "resources:\n- base\npatches:\n- path: patch.yaml\n- patch: |\n    - op: add\n      path: /spec/paused\n      \
         value: true\n  target:\n    kind: Deployment\n",
    ),
    (
        "patch.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 3\n",
    ),
];

#[test]
fn each_field_is_explained_by_the_line_that_set_it() {
    let build = build_at(&tree(&FILES), "", &Options::flux()).unwrap();
    let text = explain(&build, &build.resources[0]);
    for line in [
        "metadata.name: base/deployment.yaml:4",
        "spec.replicas: patch.yaml:6",
        "spec.paused: kustomization.yaml:8",
        "spec.template.spec.containers[0].image: base/deployment.yaml:11",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in\n{text}");
    }
    let text = explain(&build, &build.resources[1]);
    assert!(text.contains("data.a: base/kustomization.yaml:6"), "{text}");
}

#[test]
fn a_recorded_build_tells_what_a_field_was_before() {
    let options = Options {
        record_changes: true,
        ..Options::flux()
    };
    let mut files = FILES.to_vec();
    let file = format!(
        "{}replicas:\n- name: web\n  count: 7\nnamePrefix: p-\n",
        FILES[2].1
    );
    files[2].1 = &file;
    let build = build_at(&tree(&files), "", &options).unwrap();
    let text = explain(&build, &build.resources[0]);
    for line in [
        "spec.replicas: kustomization.yaml:13 by ReplicaCountTransformer, before patch.yaml:6 by PatchTransformer, \
         before base/deployment.yaml:6",
        "metadata.name: kustomization.yaml:14 by PrefixTransformer, before base/deployment.yaml:4",
        "spec.paused: kustomization.yaml:8 by PatchTransformer",
        "kind: base/deployment.yaml:2",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in\n{text}");
    }
    let settings = history(&build, &build.resources[0], "spec.replicas").unwrap();
    assert_eq!(settings.len(), 3);
    assert_eq!(settings[1].by, Some("PatchTransformer"));
    assert!(history(&build, &build.resources[0], "spec.nothing").is_none());
}

#[test]
fn errors_name_file_and_line() {
    let mut files = FILES.to_vec();
    files[3].1 = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: other\n";
    let text = error(&files);
    assert!(text.contains("patch.yaml:1"), "{text}");
    assert!(
        text.contains("no resource matches strategic merge patch"),
        "{text}"
    );

    files[3].1 = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec: [\n";
    let text = error(&files);
    assert!(text.contains("patch.yaml:"), "{text}");

    let text = error(&[("kustomization.yaml", "resources:\n- missing.yaml\n")]);
    assert!(text.contains("kustomization.yaml:2"), "{text}");
    assert!(text.contains("missing.yaml"), "{text}");

    let text = error(&[(
        "kustomization.yaml",
        "namePrefix: a\nimages:\n- name: x\n  newTag: 1.10\n",
    )]);
    assert!(
        text.contains("kustomization.yaml:4: field newTag: a string is needed"),
        "{text}"
    );
}

#[test]
fn a_build_says_what_it_read_so_that_equal_trees_need_no_build() {
    let before = tree(&FILES);
    let build = build_at(&before, "", &Options::flux()).unwrap();
    assert!(build.reads.same_in(&before));
    let mut files = FILES.to_vec();
    files.push(("unrelated/x.yaml", "x"));
    assert!(build.reads.same_in(&tree(&files)));
    files[1].1 = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n";
    assert!(!build.reads.same_in(&tree(&files)));
    // A kustomization file of another name would be found twice.
    let mut files = FILES.to_vec();
    files.push(("base/kustomization.yml", "resources: []"));
    assert!(!build.reads.same_in(&tree(&files)));
}

#[test]
fn transformers_put_their_own_lines_on_what_they_set() {
    let files = [
        (
            "kustomization.yaml",
            "resources:\n- base\nnamespace: team\nnamePrefix: p-\nnameSuffix: -s\nlabels:\n- pairs:\n    env: prod\n  \
             includeSelectors: true\ncommonAnnotations:\n  owner: me\nimages:\n- name: web\n  newTag: v2\nreplicas:\n- name: web\n  \
             count: 5\nreplacements:\n- source:\n    kind: Deployment\n    fieldPath: metadata.name\n  targets:\n  - select:\n      \
             kind: Deployment\n    fieldPaths:\n    - spec.note\n    options:\n      create: true\n",
        ),
        ("base/kustomization.yaml", FILES[0].1),
        ("base/deployment.yaml", FILES[1].1),
    ];
    let build = build_at(&tree(&files), "", &Options::flux()).unwrap();
    let text = explain(&build, &build.resources[0]);
    for line in [
        "metadata.namespace: kustomization.yaml:3",
        "metadata.labels.env: kustomization.yaml:8",
        "metadata.annotations.owner: kustomization.yaml:11",
        "spec.replicas: kustomization.yaml:17",
        "spec.template.spec.containers[0].image: kustomization.yaml:14",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in\n{text}");
    }
}

#[test]
fn builds_run_side_by_side() {
    fn may_cross<T: Send + Sync>(_: &T) {}
    let build = build_at(&tree(&FILES), "", &Options::flux()).unwrap();
    may_cross(&build);
    let expected = build.to_yaml(1).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let build = build_at(&tree(&FILES), "", &Options::flux()).unwrap();
                assert_eq!(build.to_yaml(1).unwrap(), expected);
            });
        }
    });
}
