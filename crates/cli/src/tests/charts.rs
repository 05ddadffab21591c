//! Charts on disk, rendered from the command line.

use std::fs;
use std::path::Path;

use super::{Memory, fluvial};

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
    let line = format!("kustomize build {path} --enable-helm --helm-command helm");
    let (code, _, err) = fluvial(&Memory::default(), &line).await;
    assert_eq!(code, 1);
    assert!(
        err.starts_with("✗ --helm-command: charts are rendered in this process"),
        "{err}"
    );
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

    chart(&folder.path().join("charts/web-1.0.0/web"));
    let (code, out, err) = fluvial(&Memory::default(), &line).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains("colour: blue\n") && out.contains("kind: Definition\n"),
        "{out}"
    );
}
