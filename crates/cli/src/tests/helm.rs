//! Helm's commands other than a plain rendering.

use std::fs;
use std::path::Path;

use super::{Memory, fluvial};

fn chart(folder: &Path) {
    for (name, text) in [
        (
            "Chart.yaml",
            "apiVersion: v2\nname: web\nversion: 1.0.0\nappVersion: \"7\"\n",
        ),
        (
            "values.yaml",
            "# how many\nreplicas: 1\nimage:\n  name: web\n  tag: v1\n",
        ),
        ("README.md", "# Web\n"),
        ("crds/one.yaml", "kind: One\n"),
        (
            "templates/_names.tpl",
            "{{- define \"image\" -}}\n{{ .Values.image.name }}:{{ .Values.image.tag }}\n{{- end }}\n",
        ),
        (
            "templates/web.yaml",
            "apiVersion: example.com/v1\nkind: Web\nmetadata:\n  name: {{ .Release.Name }}\nspec:\n  \
             {{- if .Values.replicas }}\n  replicas: {{ .Values.replicas }}\n  {{- end }}\n  image: {{ include \"image\" . }}\n",
        ),
    ] {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[tokio::test]
async fn show_prints_the_parts_of_a_chart_as_helm_does() {
    let folder = tempfile::tempdir().unwrap();
    chart(folder.path());
    let path = folder.path().display();
    for (part, want) in [
        (
            "chart",
            "apiVersion: v2\nappVersion: \"7\"\nname: web\nversion: 1.0.0\n\n",
        ),
        (
            "values",
            "# how many\nreplicas: 1\nimage:\n  name: web\n  tag: v1\n\n",
        ),
        ("readme", "# Web\n\n"),
        ("crds", "---\nkind: One\n\n"),
    ] {
        let (code, out, err) = fluvial(&Memory::default(), &format!("helm show {part} {path}")).await;
        assert_eq!((code, out.as_str(), err.as_str()), (0, want, ""), "{part}");
    }
    let (_, out, _) = fluvial(&Memory::default(), &format!("helm show all {path}")).await;
    assert!(
        out.contains("version: 1.0.0\n\n---\n# how many")
            && out.ends_with("---\n# Web\n\n---\nkind: One\n\n"),
        "{out}"
    );
}

#[tokio::test]
async fn explain_names_statement_values_and_who_set_them() {
    let folder = tempfile::tempdir().unwrap();
    chart(folder.path());
    fs::write(folder.path().join("prod.yaml"), "image:\n  tag: v2\n").unwrap();
    let path = folder.path().display();
    let line = format!(
        "helm template shop {path} -f {path}/prod.yaml --set replicas=3 --explain web/shop:spec.replicas"
    );
    let (code, out, err) = fluvial(&Memory::default(), &line).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "Web/shop:spec.replicas = 3\n  web/templates/web.yaml:7 {{ .Values.replicas }}\n    \
         replicas = 3 from --set replicas=3, over 1 from values.yaml:2\n    \
         within web/templates/web.yaml:6 {{ if .Values.replicas }}\n      \
         replicas = 3 from --set replicas=3, over 1 from values.yaml:2\n"
    );
    let line = format!("helm template shop {path} -f {path}/prod.yaml --explain web/shop:spec.image");
    let (_, out, err) = fluvial(&Memory::default(), &line).await;
    let file = format!("{path}/prod.yaml:2");
    assert_eq!(
        out,
        format!(
            "Web/shop:spec.image = \"web:v2\"\n  web/templates/_names.tpl:2 {{{{ .Values.image.name }}}}\n    \
             image.name = \"web\" from values.yaml:4\n  web/templates/_names.tpl:2 {{{{ .Values.image.tag }}}}\n    \
             image.tag = \"v2\" from {file}, over \"v1\" from values.yaml:5\n    \
             through web/templates/web.yaml:9 {{{{ include \"image\" . }}}}\n"
        ),
        "{err}"
    );
    let (_, out, _) = fluvial(
        &Memory::default(),
        &format!("helm template shop {path} --explain web/shop"),
    )
    .await;
    assert!(
        out.starts_with("Web/shop: web/templates/web.yaml:1\n  image.name = \"web\" from values.yaml:4\n"),
        "{out}"
    );
    let (code, _, err) = fluvial(
        &Memory::default(),
        &format!("helm template shop {path} --explain x/y"),
    )
    .await;
    assert!(
        code == 1 && err.contains("x/y is not in the output; there are Web/shop"),
        "{err}"
    );
}

#[tokio::test]
async fn lint_prints_findings_and_fails_for_errors() {
    let folder = tempfile::tempdir().unwrap();
    chart(folder.path());
    let path = folder.path().display();
    let (code, out, err) = fluvial(&Memory::default(), &format!("helm lint {path} --skip-api")).await;
    assert_eq!(code, 1);
    assert_eq!(
        out,
        format!(
            "==> Linting {path}\n[INFO] Chart.yaml: icon is recommended\n\
             [ERROR] crds/one.yaml: apiVersion is not in 'apiextensions.k8s.io'\n\
             [ERROR] crds/one.yaml: object kind is not 'CustomResourceDefinition'\n\n"
        )
    );
    assert!(err.contains("1 chart(s) linted, 1 chart(s) failed"), "{err}");
    fs::remove_dir_all(folder.path().join("crds")).unwrap();
    let (code, out, _) = fluvial(&Memory::default(), &format!("helm lint {path} --skip-api")).await;
    assert_eq!(code, 0);
    assert!(
        out.ends_with("\n\n1 chart(s) linted, 0 chart(s) failed\n"),
        "{out}"
    );
}

#[tokio::test]
async fn files_are_written_below_the_output_folder() {
    let folder = tempfile::tempdir().unwrap();
    chart(folder.path());
    let path = folder.path().display();
    let line = format!("helm template shop {path} --output-dir {path}/out --include-crds");
    for _ in 0..2 {
        let (code, out, err) = fluvial(&Memory::default(), &line).await;
        assert_eq!((code, err.as_str()), (0, ""));
        assert_eq!(
            out,
            format!("wrote {path}/out/web/crds/one.yaml\nwrote {path}/out/web/templates/web.yaml\n\n")
        );
    }
    let text = fs::read_to_string(folder.path().join("out/web/templates/web.yaml")).unwrap();
    assert!(
        text.starts_with("---\n# Source: web/templates/web.yaml\napiVersion: example.com/v1\n"),
        "{text}"
    );
    assert_eq!(text.matches("---").count(), 1);
}

#[tokio::test]
async fn options_that_cannot_be_followed_are_refused() {
    for (option, wanted) in [
        ("--repo https://example.com", "get it with helm pull"),
        ("--post-renderer x", "no programs and plugins are run"),
        ("--verify", "signatures are not looked at"),
        ("--enable-dns", "names are not resolved"),
        ("--dry-run=never", "it is client or server"),
    ] {
        let (code, _, err) = fluvial(&Memory::default(), &format!("helm template shop . {option}")).await;
        assert!(code == 1 && err.contains(wanted), "{option}: {err}");
    }
}
