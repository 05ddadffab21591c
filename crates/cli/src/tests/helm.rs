//! Helm's commands other than a plain rendering.

use std::fs;
use std::path::Path;

use fluvial_helm::{LoadLimits, Package};
use fluvial_tree::{File, TreeBuilder, TreePath};

use super::{Memory, fluvial};

/// A packed chart that prints a value of its own, with dependencies that it names.
pub(super) fn packed(name: &str, dependencies: &str) -> Vec<u8> {
    let mut files = TreeBuilder::default();
    let metadata = format!("apiVersion: v2\nname: {name}\nversion: 1.2.3\n{dependencies}");
    let template =
        "apiVersion: v1\nkind: {{ .Chart.Name | title }}\nmetadata:\n  name: {{ .Chart.Version }}\n";
    for (path, text) in [("Chart.yaml", metadata.as_str()), ("templates/a.yaml", template)] {
        files.file(path, File::new(text.as_bytes(), false)).unwrap();
    }
    let package = Package::from_tree(&files.build(), &TreePath::root(), LoadLimits::default());
    package.unwrap().pack().unwrap()
}

#[tokio::test]
async fn charts_come_from_repositories_and_registries() {
    let mut world = Memory::default();
    let needs = "dependencies:\n- name: base\n  version: 1.x\n  repository: https://other.example.com\n";
    for (address, name, dependencies) in [
        ("https://charts.example.com/web ~1.2", "web", ""),
        ("https://charts.example.com/web *", "web", needs),
        ("https://other.example.com/base 1.x", "base", ""),
        ("oci://registry.example.com/charts/web 1.2.3", "web", ""),
        ("oci://registry.example.com/charts/web >0.0.0-0", "web", ""),
    ] {
        world
            .charts
            .insert(address.to_owned(), packed(name, dependencies).into());
    }
    let own = "---\n# Source: web/templates/a.yaml\napiVersion: v1\nkind: Web\nmetadata:\n  name: 1.2.3\n";
    let base = "---\n# Source: web/charts/base/templates/a.yaml\napiVersion: v1\nkind: Base\nmetadata:\n  name: 1.2.3\n";
    for (line, wanted) in [
        (
            "web --repo https://charts.example.com --version ~1.2",
            own.to_owned(),
        ),
        (
            "web --repo https://charts.example.com --dependency-update",
            format!("{base}\n{own}"),
        ),
        (
            "oci://registry.example.com/charts/web --version 1.2.3",
            own.to_owned(),
        ),
        ("oci://registry.example.com/charts/web:1.2.3", own.to_owned()),
        ("oci://registry.example.com/charts/web --devel", own.to_owned()),
    ] {
        let (code, out, err) = fluvial(&world, &format!("helm template shop {line}")).await;
        assert_eq!((code, out, err.as_str()), (0, wanted, ""), "{line}");
    }
    for (line, wanted) in [
        (
            "none --repo https://charts.example.com",
            "chart none of https://charts.example.com: no chart at https://charts.example.com/none *",
        ),
        (
            "web --repo https://charts.example.com",
            "found in Chart.yaml, but missing in charts/ directory: base",
        ),
        ("oci://registry.example.com/charts/web@sha256:00", "not by digest"),
        (
            "oci://registry.example.com/charts/web --repo https://x",
            "do not go together",
        ),
        ("stable/web", "charts are fetched from a repository with --repo"),
    ] {
        let (code, _, err) = fluvial(&world, &format!("helm template shop {line}")).await;
        assert!(code == 1 && err.contains(wanted), "{line}: {err}");
    }
}

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
async fn show_takes_helms_options() {
    let folder = tempfile::tempdir().unwrap();
    chart(folder.path());
    let path = folder.path().display();
    for (line, want) in [
        (format!("show values {path} --jsonpath {{.image.tag}}"), "v1"),
        (
            format!("show readme {path} --version 9 --kube-context x"),
            "# Web\n\n",
        ),
        (
            format!("show crds {path} --qps=1 --colour never --debug"),
            "---\nkind: One\n\n",
        ),
    ] {
        let (code, out, err) = fluvial(&Memory::default(), &format!("helm {line}")).await;
        assert_eq!((code, out.as_str(), err.as_str()), (0, want, ""), "{line}");
    }
    let line = format!("helm show values {path} --jsonpath {{.nope}}");
    let (code, _, err) = fluvial(&Memory::default(), &line).await;
    assert!(code == 1 && err.contains("nope is not found"), "{err}");
}

#[tokio::test]
async fn addresses_are_fetched_and_hosts_resolved_only_where_that_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    chart(folder.path());
    let path = folder.path().display();
    // Nothing remote is there in these tests, and that is said of each address.
    for line in [
        format!("helm template shop {path} -f https://example.com/v.yaml"),
        format!("helm template shop {path} --set-file a=b.txt,c=http://example.com/v.yaml"),
        format!("helm lint {path} -f http://example.com/v.yaml"),
        "helm template shop https://example.com/web-1.0.0.tgz".to_owned(),
        "helm show chart https://example.com/web-1.0.0.tgz".to_owned(),
    ] {
        let (code, _, err) = fluvial(&Memory::default(), &line).await;
        assert!(code == 1 && err.contains("example.com"), "{line}: {err}");
    }
    let template = "a: {{ getHostByName \"example.com\" | quote }}\n";
    fs::write(folder.path().join("templates/host.yaml"), template).unwrap();
    let line = format!("helm template shop {path} --show-only templates/host.yaml");
    let (_, out, _) = fluvial(&Memory::default(), &line).await;
    assert!(
        out.starts_with("---\n# Source: web/templates/host.yaml\na: \"\"\n"),
        "{out}"
    );
    let (_, out, err) = fluvial(&Memory::default(), &format!("{line} --enable-dns")).await;
    assert!(out.contains("\na: \"192.0.2.1\"\n"), "{out}{err}");
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
    // Items of a list are told apart, and names of roles hold colons.
    let role =
        "kind: Role\nmetadata: {name: a:b}\nrules:\n- verb: get\n  of: pods\n- verb: put\n  of: jobs\n";
    fs::write(folder.path().join("templates/role.yaml"), role).unwrap();
    for (field, lines) in [
        ("a:b:rules[0].verb", 4..5),
        ("A:B:rules[1].of", 7..8),
        ("a:b:rules[1]", 6..8),
    ] {
        let line = format!("helm template shop {path} --explain role/{field}");
        let (_, out, err) = fluvial(&Memory::default(), &line).await;
        let told: Vec<&str> = out.lines().skip(1).collect();
        let want = lines.map(|line| format!("  web/templates/role.yaml:{line} written there as it is"));
        assert_eq!(told, want.collect::<Vec<_>>(), "{field}: {out}{err}");
    }
    fs::remove_file(folder.path().join("templates/role.yaml")).unwrap();
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
    let (_, out, _) = fluvial(
        &Memory::default(),
        &format!("helm lint {path} --skip-api --quiet"),
    )
    .await;
    assert_eq!(out, "");
    // All charts that are named come first, then what lies below any of them, however deep.
    for name in ["b/deep/Chart.yaml", "a/Chart.yaml", "a/charts/c/Chart.yaml"] {
        let file = folder.path().join("charts").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "apiVersion: v2\nname: x\n").unwrap();
    }
    let line = format!("helm lint {path} {path}/charts/a --skip-api --with-subcharts --quiet");
    let (_, out, _) = fluvial(&Memory::default(), &line).await;
    let linted: Vec<String> = out
        .lines()
        .filter_map(|line| line.strip_prefix("==> Linting "))
        .map(|name| name.replace(&path.to_string(), "."))
        .collect();
    let below = [
        "./charts/a",
        "./charts/a/charts/c",
        "./charts/b/deep",
        "./charts/a/charts/c",
    ];
    assert_eq!(linted[0], ".");
    assert_eq!(linted[1], "./charts/a");
    assert_eq!(linted[2..], below);
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
        ("--insecure-skip-tls-verify", "trust the server with --ca-file"),
        ("--post-renderer x", "no programs and plugins are run"),
        ("--verify", "signatures are not looked at"),
        ("--dry-run=never", "it is client or server"),
        ("-y", "unknown shorthand flag: 'y' in -y"),
    ] {
        let (code, _, err) = fluvial(&Memory::default(), &format!("helm template shop . {option}")).await;
        assert!(code == 1 && err.contains(wanted), "{option}: {err}");
    }
}
