//! Charts on disk, rendered from the command line.

use std::fs;
use std::path::Path;

use super::{Memory, fluvial, here};

const DEPLOYMENT: &str = "\
kind: Web
metadata:
  name: {{ .Release.Name }}
  namespace: {{ .Release.Namespace }}
data:
  colour: {{ .Values.colour }}
  kube: {{ .Capabilities.KubeVersion.Version }}
  has: {{ .Capabilities.APIVersions.Has \"example.com/v1\" }}
  password: {{ randAlphaNum 4 | len }}
apiVersion: example.com/v1
";

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A chart `web` in a folder.
fn chart(folder: &Path) {
    write(
        folder,
        "Chart.yaml",
        "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    );
    write(folder, "values.yaml", "colour: blue\n");
    write(folder, "templates/web.yaml", DEPLOYMENT);
    write(
        folder,
        "templates/note.yaml",
        "apiVersion: v1\nkind: Note\nmetadata:\n  name: note\n",
    );
    write(
        folder,
        "crds/one.yaml",
        "apiVersion: v1\nkind: Definition\nmetadata:\n  name: one\n",
    );
}

#[tokio::test]
async fn kustomize_renders_local_charts_with_what_the_command_line_says() {
    let folder = tempfile::tempdir().unwrap();
    chart(&folder.path().join("home/web"));
    write(
        folder.path(),
        "kustomization.yaml",
        "namePrefix: my-\nhelmGlobals:\n  chartHome: home\nhelmCharts:\n- name: web\n  releaseName: shop\n  \
         namespace: apps\n  valuesInline:\n    colour: red\n",
    );
    let path = folder.path().display();
    let line = format!(
        "kustomize build {path} --enable-helm --helm-kube-version v1.31.2 --helm-api-versions a/v1,example.com/v1"
    );
    let (code, out, err) = fluvial(&Memory::default(), &line).await;
    assert_eq!((code, err.as_str()), (0, ""));
    for part in [
        "name: my-shop\n",
        "namespace: apps\n",
        "colour: red\n",
        "kube: v1.31.2\n",
        "has: true\n",
        "password: 4\n",
    ] {
        assert!(out.contains(part), "{part:?} is not in\n{out}");
    }
    assert!(!out.contains("Definition"), "{out}");

    let (code, _, err) = fluvial(&Memory::default(), &format!("kustomize build {path}")).await;
    assert_eq!(code, 1);
    assert!(
        err.contains("helmCharts are not enabled; use --enable-helm"),
        "{err}"
    );
    // What is said of programs that kustomize would run changes nothing.
    let line = format!(
        "kustomize build {path} --enable-helm --helm-command helm --helm-debug --enable-alpha-plugins --enable-exec \
         -e A=b --mount c --network --network-name d --as-current-user --stack-trace"
    );
    let (code, idle, err) = fluvial(&Memory::default(), &line).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(idle.contains("name: my-shop\n"), "{idle}");
}

#[tokio::test]
async fn objects_go_into_files_of_a_folder_and_old_flags_are_told() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "kustomization.yaml", "resources: [all.yaml]\n");
    let object =
        |kind: &str, metadata: &str| format!("apiVersion: v1\nkind: {kind}\nmetadata: {{{metadata}}}\n---\n");
    let objects = [
        object("ConfigMap", "name: a"),
        object("ConfigMap", "name: a, namespace: x"),
        object("Namespace", "name: x"),
    ];
    write(folder.path(), "all.yaml", &objects.concat());
    let path = folder.path().display();
    write(folder.path(), "out/kept.yaml", "");
    let line = format!("kustomize build {path} -o {path}/out --reorder none");
    let (code, out, err) = fluvial(&Memory::default(), &line).await;
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.starts_with("Flag --reorder has been deprecated"), "{err}");
    // An object without namespace is in the default one, one of a kind without namespaces in none.
    for name in [
        "default_v1_configmap_a",
        "x_v1_configmap_a",
        "v1_namespace_x",
        "kept",
    ] {
        assert!(folder.path().join(format!("out/{name}.yaml")).is_file(), "{name}");
    }
}

#[tokio::test]
async fn a_chart_of_a_repository_is_taken_from_disk_or_said_how_to_get() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "kustomization.yaml",
        "helmCharts:\n- name: web\n  repo: https://charts.example.com\n  version: 1.0.0\n  includeCRDs: true\n",
    );
    let line = format!("kustomize build {} --enable-helm", folder.path().display());
    let (code, _, err) = fluvial(&Memory::default(), &line).await;
    assert_eq!(code, 1);
    let wanted =
        "helm pull web --repo https://charts.example.com --version 1.0.0 --untar --untardir charts/web-1.0.0";
    assert!(err.contains(wanted), "{err}");

    let mut world = Memory::default();
    let archive = super::helm::packed("web", "");
    world
        .charts
        .insert("https://charts.example.com/web 1.0.0".to_owned(), archive.into());
    let (code, out, err) = fluvial(&world, &line).await;
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (0, "apiVersion: v1\nkind: Web\nmetadata:\n  name: 1.2.3\n", "")
    );

    chart(&folder.path().join("charts/web-1.0.0/web"));
    let (code, out, err) = fluvial(&Memory::default(), &line).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains("colour: blue\n") && out.contains("kind: Definition\n"),
        "{out}"
    );
}

#[tokio::test]
async fn helm_template_prints_a_chart_folder_with_values_in_helms_order() {
    let folder = tempfile::tempdir().unwrap();
    chart(&folder.path().join("web"));
    write(folder.path(), "green.yaml", "colour: green\n");
    let path = folder.path().display();
    let (code, out, err) = fluvial(&Memory::default(), &format!("helm template shop {path}/web")).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "---\n# Source: web/templates/note.yaml\napiVersion: v1\nkind: Note\nmetadata:\n  name: note\n\n\
         ---\n# Source: web/templates/web.yaml\nkind: Web\nmetadata:\n  name: shop\n  namespace: default\n\
         data:\n  colour: blue\n  kube: v1.37.0\n  has: false\n  password: 4\napiVersion: example.com/v1\n"
    );
    let line = format!(
        "helm template {path}/web --name-template {{{{`X`|lower}}}} -n apps -f {path}/green.yaml --kube-version 1.30.0 -a x/v1,example.com/v1 \
         --include-crds"
    );
    let (_, out, err) = fluvial(&Memory::default(), &line).await;
    for part in [
        "# Source: web/crds/one.yaml\n",
        "name: x\n",
        "namespace: apps\n",
        "colour: green\n",
        "kube: v1.30.0\n",
        "has: true\n",
    ] {
        assert!(out.contains(part), "{part:?} is not in\n{out}{err}");
    }
    let line = format!(
        "helm template shop {path}/web --set-string colour=7 --set colour=red -f {path}/green.yaml \
         --is-upgrade --show-only templates/web.yaml"
    );
    let (_, out, _) = fluvial(&Memory::default(), &line).await;
    assert!(
        out.starts_with("---\n# Source: web/templates/web.yaml\n"),
        "{out}"
    );
    assert!(out.contains("colour: 7\n") && !out.contains("Note"), "{out}");
}

#[tokio::test]
async fn helm_template_says_what_is_wrong_with_a_chart() {
    let folder = tempfile::tempdir().unwrap();
    chart(&folder.path().join("web"));
    let path = folder.path().display();
    for (line, wanted) in [
        (
            "helm template shop oci://example.com/web",
            "chart web of oci://example.com: ",
        ),
        (
            "helm template shop PATH/none",
            "a chart is a folder or a .tgz file",
        ),
        (
            "helm template shop PATH",
            "unable to detect chart at PATH/Chart.yaml: open PATH/Chart.yaml: no such file",
        ),
        ("helm show chart PATH", "Chart.yaml file is missing"),
        ("helm template shop PATH/web/Chart.yaml", "PATH/web/Chart.yaml: "),
        ("helm template shop PATH/web -f PATH/none.yaml", "none.yaml: "),
        (
            "helm template shop PATH/web --set a[x]=1",
            "failed parsing --set data",
        ),
        (
            "helm template shop PATH/web -s nope.yaml",
            "could not find template nope.yaml",
        ),
        (
            "helm template shop PATH/web --kube-version x",
            "invalid kube version 'x'",
        ),
        ("helm template Bad_Name PATH/web", "Bad_Name"),
        (
            "helm template shop PATH/web --name-template x",
            "cannot set --name-template and also specify a name",
        ),
    ] {
        let line = line.replace("PATH", &path.to_string());
        let (code, out, err) = fluvial(&Memory::default(), &line).await;
        let wanted = wanted.replace("PATH", &path.to_string());
        assert_eq!((code, out.as_str()), (1, ""), "{line}");
        assert!(err.contains(&wanted), "{line}: {err}");
    }
}

#[tokio::test]
async fn a_helm_release_is_rendered_with_its_own_values_and_name() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n");
    write("web/values.yaml", "size: 1\ncolour: red\n");
    write(
        "web/templates/a.yaml",
        "kind: ConfigMap\nname: {{ .Release.Name }}\nin: {{ .Release.Namespace }}\ndata: {{ .Values.size }} {{ .Values.colour }}\n",
    );
    write(
        "hr.yaml",
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: web\nspec:\n  interval: 1m\n  targetNamespace: shop\n  \
         values:\n    size: 3\n",
    );
    let path = |name: &str| folder.path().join(name).display().to_string();
    let memory = super::Memory::default();
    let file = path("hr.yaml");
    let line = format!(
        "build hr web --chart {} --helmrelease-file {file} --dry-run",
        path("web")
    );
    let (code, out, err) = super::fluvial(&memory, &line).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("name: shop-web\nin: shop\ndata: 3 red\n"), "{out}");
    // Post-renderers and common metadata are carried out as the controller does.
    write(
        "web/templates/a.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {size: '{{ .Values.size }}'}\n",
    );
    write(
        "hr.yaml",
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: web\nspec:\n  interval: 1m\n  \
         commonMetadata:\n    labels: {team: tea}\n  postRenderers:\n  - kustomize:\n      patches:\n      - target: {kind: ConfigMap}\n        \
         patch: '[{\"op\": \"add\", \"path\": \"/data/patched\", \"value\": \"yes\"}]'\n",
    );
    let (code, out, err) = super::fluvial(&memory, &line).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains("  patched: \"yes\"\n") && out.contains("    team: tea\n"),
        "{out}"
    );
    let (code, _, err) = super::fluvial(
        &memory,
        &format!("build hr other --helmrelease-file {file} --dry-run"),
    )
    .await;
    assert_eq!(code, 1);
    assert!(err.contains("holds no HelmRelease flux-system/other"), "{err}");
}

#[test]
fn what_needs_nothing_but_files_is_done_without_a_runtime() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().display();
    chart(&home.path().join("charts/web"));
    write(
        home.path(),
        "one.yaml",
        "apiVersion: v1\nkind: One\nmetadata:\n  name: one\n",
    );
    let kustomization =
        |folder: &str, text: &str| write(&home.path().join(folder), "kustomization.yaml", text);
    kustomization(
        "",
        "resources: [one.yaml]\nnamePrefix: my-\nhelmCharts:\n- name: web\n  releaseName: a\n",
    );
    kustomization("remote", "resources: [https://example.com/org/base?ref=v1]\n");
    kustomization(
        "fetched",
        "helmCharts:\n- name: web\n  repo: https://charts.example.com\n  version: 1.2.3\n",
    );
    kustomization("broken", "resources: [none.yaml]\n");
    let world = Memory::default();
    for (line, wanted) in [
        ("--version".to_owned(), (Some(0), "fluvial 0.1.0")),
        (
            format!("kustomize build {path} --enable-helm"),
            (Some(0), "name: my-one"),
        ),
        (
            format!("helm template shop {path}/charts/web -n apps"),
            (Some(0), "namespace: apps"),
        ),
        (format!("helm template shop {path}/none"), (Some(1), "")),
        (format!("kustomize build {path}/broken --network"), (Some(1), "")),
        (format!("kustomize build {path}/broken"), (Some(1), "")),
        // These have to be fetched, to be asked of a cluster, or to be explained.
        (format!("kustomize build {path}/remote"), (None, "")),
        (
            format!("kustomize build {path}/fetched --enable-helm"),
            (None, ""),
        ),
        (
            "kustomize build https://example.com/org/base".to_owned(),
            (None, ""),
        ),
        (
            format!("helm template shop {path}/charts/web --validate"),
            (None, ""),
        ),
        (
            format!("helm template shop {path}/charts/web --dry-run=server"),
            (None, ""),
        ),
        (
            "helm template shop web --repo https://charts.example.com".to_owned(),
            (None, ""),
        ),
        (
            format!("kustomize build {path} --ns-follows-kube-context"),
            (None, ""),
        ),
        (format!("kustomize build {path} --unknown"), (None, "")),
        ("kustomize build --help".to_owned(), (None, "")),
        ("get all".to_owned(), (None, "")),
    ] {
        let (code, out, err) = here(&world, &line);
        assert_eq!(code, wanted.0, "{line}: {err}");
        assert!(out.contains(wanted.1), "{line}: {out}");
        assert_eq!(err.is_empty(), code != Some(1), "{line}: {err}");
    }
}
