use std::sync::Arc;

use fluvial_template::Limits;
use fluvial_template::sprig::Ambient;
use fluvial_tree::{File, TreeBuilder, TreePath};
use serde_json::json;

use super::*;
use crate::provenance::Layer;

mod threads;

struct Still;

impl Ambient for Still {
    fn now(&mut self) -> i128 {
        1_700_000_000_000_000_000
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

struct Recorded;

impl Lookup for Recorded {
    fn lookup(&self, _: &str, kind: &str, _: &str, name: &str) -> Result<Json, String> {
        Ok(json!({"kind": kind, "metadata": {"name": name}}))
    }
}

/// A chart from `//- name` marked files.
fn chart(text: &str) -> Result<Arc<Chart>, Error> {
    let mut builder = TreeBuilder::default();
    for part in text.split("//- ").skip(1) {
        let (name, content) = part.split_once('\n').unwrap();
        builder.file(name, File::new(content.as_bytes(), false)).unwrap();
    }
    Chart::load(&builder.build(), &TreePath::root())
}

fn render_with(files: &str, values: &str, limits: Limits) -> Result<Rendered, String> {
    let options = Options {
        limits,
        ..Options::default()
    };
    render_by(files, values, options)
}

fn render_by(files: &str, values: &str, options: Options) -> Result<Rendered, String> {
    let chart = chart(files).map_err(|error| error.to_string())?;
    let values = Values::from_yaml(values).map_err(|error| error.to_string())?;
    let release = Release {
        name: "demo".to_owned(),
        namespace: "apps".to_owned(),
        revision: 1,
        is_upgrade: false,
    };
    let request = RenderRequest {
        chart: &chart,
        values: &values,
        release: &release,
        capabilities: &Capabilities::default(),
        lookup: Arc::new(Recorded),
        ambient: Box::new(Still),
        options,
    };
    render(request).map_err(|failure| failure.to_string())
}

fn check(files: &str, values: &str, want: &str) {
    let rendered = render_with(files, values, Limits::default()).unwrap();
    assert_eq!(rendered.template(&Output::default()).unwrap(), want);
}

fn check_error(files: &str, values: &str, want: &str) {
    let error = render_with(files, values, Limits::default()).unwrap_err();
    assert_eq!(error, want);
}

const CHART: &str = "//- Chart.yaml\napiVersion: v2\nname: web\nversion: 0.1.0\n";

#[test]
fn values_and_release_reach_the_templates() {
    let files = format!(
        "{CHART}//- values.yaml\na: {{b: 1, c: 2}}\n//- templates/x.yaml\nn: {{{{ .Release.Name }}}}\nb: {{{{ \
         .Values.a.b }}}}\nc: {{{{ .Values.a.c }}}}\n"
    );
    check(
        &files,
        "a: {b: 1000000}",
        "---\n# Source: web/templates/x.yaml\nn: demo\nb: 1e+06\nc: 2\n",
    );
}

#[test]
fn dependencies_take_conditions_aliases_and_globals() {
    let files = format!(
        "{CHART}dependencies:\n- {{name: db, version: 1.x, alias: main}}\n- {{name: db, version: 1.x, condition: \
         db.enabled}}\n//- charts/db/Chart.yaml\napiVersion: v2\nname: db\nversion: 1.2.0\n//- \
         charts/db/templates/s.yaml\nname: {{{{ .Chart.Name }}}}\ng: {{{{ .Values.global.g }}}}\n"
    );
    check(
        &files,
        "global: {g: 5}\ndb: {enabled: false}",
        "---\n# Source: web/charts/main/templates/s.yaml\nname: main\ng: 5\n",
    );
}

#[test]
fn nil_lists_are_null_and_texts_come_back_as_the_reference_reads_them() {
    let row = |text: &str| {
        format!(
            "//- Chart.yaml\napiVersion: v2\nname: t\nversion: 1.0.0\n//- templates/a.yaml\na: '{text}'\n"
        )
    };
    for (text, want) in [
        (
            "{{ toJson (rest (list)) }}{{ toJson (concat) }}{{ toJson (list) }}",
            "nullnull[]",
        ),
        (
            r#"{{ regexFindAll "z" "a" -1 | toJson }}{{ regexSplit "a" "b" 0 | toYaml }}"#,
            "nullnull",
        ),
        (
            r#"{{ sortAlpha (regexFindAll "z" "a" -1) | deepCopy | toJson }}{{ printf "%#v" (rest (list)) }}"#,
            "null[]interface {}(nil)",
        ),
        (
            r#"{{ deepEqual (rest (list)) (list) }}{{ fromJson "null" | toJson }}"#,
            "falsenull",
        ),
        (
            r#"{{ toYaml "a\u007fb" }}|{{ toYaml "a \u0085 b" }}|{{ toYaml "x" }}"#,
            "|a b|x",
        ),
        (r#"{{ printf "%#q" 1.0 }}"#, "%!q(float64=1.00000)"),
        (
            r#"{{ (fromYaml "a: [x?y]").Error | trunc 32 }}{{ (fromYaml "a: x?y").a }}"#,
            "error converting YAML to JSON: yx?y",
        ),
    ] {
        let want = format!("---\n# Source: t/templates/a.yaml\na: '{want}'\n");
        check(&row(text), "", &want);
    }
    let error = render_with(
        &row(r#"{{ set (fromJson "null") "a" 1 }}"#),
        "",
        Limits::default(),
    )
    .unwrap_err();
    assert!(
        error.ends_with("error calling set: assignment to entry in nil map"),
        "{error}"
    );
}

#[test]
fn a_dependency_may_be_called_global_and_imports_into_one_table_share_it() {
    let rendered = render_with(
        "//- Chart.yaml\napiVersion: v2\nname: t\nversion: 1.0.0\ndependencies:\n- {name: s, version: 1.0.0, alias: global}\n\
         //- values.yaml\na: 1\n//- charts/s/Chart.yaml\napiVersion: v2\nname: s\nversion: 1.0.0\n//- charts/s/values.yaml\n\
         global: {x: {y: 1}}\nb: 2\n//- charts/s/charts/d/Chart.yaml\napiVersion: v2\nname: d\nversion: 1.0.0\n",
        "global: {c: {d: 1}}",
        Limits::default(),
    );
    assert!(rendered.is_ok(), "{rendered:?}");
    check(
        "//- Chart.yaml\napiVersion: v2\nname: t\nversion: 1.0.0\ndependencies:\n- name: s\n  version: 1.0.0\n  import-values:\n\
         \x20 - {child: one, parent: both}\n  - {child: two, parent: both}\n//- charts/s/Chart.yaml\napiVersion: v2\nname: s\n\
         version: 1.0.0\n//- charts/s/values.yaml\none: {a: 1}\ntwo: {b: 2}\n//- templates/a.yaml\n\
         a: '{{ .Values.both | toJson }} {{ .Values.s.one | toJson }} {{ .Values.s.two | toJson }}'\n",
        "",
        "---\n# Source: t/templates/a.yaml\na: '{\"a\":1,\"b\":2} {\"a\":1,\"b\":2} {\"b\":2}'\n",
    );
}

#[test]
fn fields_of_dependencies_are_named_by_what_they_are_in() {
    for (entry, want) in [
        (
            "dependencies: [{name: a, tags: x}]",
            "Dependency.dependencies.tags of type []string",
        ),
        (
            "maintainers: [{name: []}]",
            "Maintainer.maintainers.name of type string",
        ),
    ] {
        let error = chart(&format!("{CHART}{entry}\n")).unwrap_err().to_string();
        assert!(error.ends_with(want), "{error}");
    }
}

#[test]
fn charts_far_below_an_alias_keep_their_first_names_and_the_last_one_renders_them() {
    let files = format!(
        "{CHART}dependencies:\n- {{name: mid, version: 1.0.0, alias: one}}\n- {{name: mid, version: 1.0.0, alias: \
         two}}\n//- charts/mid/Chart.yaml\napiVersion: v2\nname: mid\nversion: 1.0.0\n//- \
         charts/mid/charts/low/Chart.yaml\napiVersion: v2\nname: low\nversion: 1.0.0\n//- \
         charts/mid/charts/low/templates/l.yaml\nl: {{{{ .Values.v }}}}\n//- \
         charts/mid/charts/low/charts/deep/Chart.yaml\napiVersion: v2\nname: deep\nversion: 1.0.0\n//- \
         charts/mid/charts/low/charts/deep/templates/d.yaml\nd: {{{{ .Values.v }}}}\n"
    );
    check(
        &files,
        "one: {low: {v: 1, deep: {v: 3}}}\ntwo: {low: {v: 2, deep: {v: 4}}}",
        "---\n# Source: web/charts/mid/charts/low/charts/deep/templates/d.yaml\nd: 4\n\n---\n# Source: \
         web/charts/one/charts/low/templates/l.yaml\nl: 1\n\n---\n# Source: \
         web/charts/two/charts/low/templates/l.yaml\nl: 2\n",
    );
}

#[test]
fn what_a_chart_does_not_say_of_itself_is_what_go_holds_for_it() {
    let files = "//- Chart.yaml\napiVersion: v2\nname: a\nversion: 1.0.0\ndependencies:\n- name: b\n  version: 1.0.0\n  \
                 import-values: [1, data]\n//- templates/a.yaml\na: '{{ toJson .Chart.Annotations }} {{ len \
                 .Chart.Annotations }} {{ toJson .Chart.Keywords }}'\nb: '{{ range .Chart.Dependencies }}{{ toJson \
                 .ImportValues }}{{ end }}'\n//- charts/b/Chart.yaml\napiVersion: v2\nname: b\nversion: 1.0.0\n//- \
                 charts/b/values.yaml\nexports: {data: {x: 1}}\n";
    check(
        files,
        "",
        "---\n# Source: a/templates/a.yaml\na: 'null 0 []'\nb: '[{\"child\":\"exports.data\",\"parent\":\".\"}]'\n",
    );
    check_error(
        files,
        "b: text",
        "chart dependencies processing failed: type mismatch on b: %!t(string=text)",
    );
}

#[test]
fn manifests_come_in_install_order_and_hooks_after_them() {
    let files = format!(
        "{CHART}//- templates/a.yaml\nkind: Service\n---\nkind: Namespace\n---\nkind: Job\nmetadata:\n  annotations: \
         {{helm.sh/hook: \"post-install,test\"}}\n"
    );
    let rendered = render_with(&files, "", Limits::default()).unwrap();
    let kinds: Vec<&str> = rendered
        .manifests
        .iter()
        .map(|manifest| manifest.kind.as_str())
        .collect();
    assert_eq!(kinds, ["Namespace", "Service"]);
    assert_eq!(rendered.hooks[0].events, ["post-install", "test"]);
    assert!(rendered.hooks[0].is_test());
}

#[test]
fn a_failure_names_the_template_and_the_place() {
    let files = format!("{CHART}//- templates/a.yaml\na: {{{{ .Values.x.y.z }}}}\n");
    check_error(
        &files,
        "",
        "web/templates/a.yaml:1:13\n  executing \"web/templates/a.yaml\" at <.Values.x.y.z>:\n    nil pointer evaluating \
         interface {}.y",
    );
    let files = format!("{CHART}//- templates/a.yaml\na: {{{{ required \"say who\" .Values.who }}}}\n");
    check_error(
        &files,
        "",
        "execution error at (web/templates/a.yaml:1:6): say who",
    );
}

#[test]
fn the_schema_is_checked_before_anything_runs() {
    let files = format!(
        "{CHART}//- values.schema.json\n{{\"properties\": {{\"a\": {{\"type\": \"integer\"}}}}}}\n//- \
         templates/a.yaml\n{{{{ fail \"no\" }}}}\n"
    );
    check_error(
        &files,
        "a: x",
        "values don't meet the specifications of the schema(s) in the following chart(s):\nweb:\n- at '/a': got string, \
         want integer\n",
    );
}

#[test]
fn what_runs_too_long_or_too_deep_ends_with_an_error() {
    let files = format!(
        "{CHART}//- templates/_h.tpl\n{{{{ define \"r\" }}}}{{{{ include \"r\" . }}}}{{{{ end }}}}\n//- \
         templates/a.yaml\n{{{{ include \"r\" . }}}}\n"
    );
    let error = render_with(&files, "", Limits::default()).unwrap_err();
    assert!(
        error.contains("rendering template has a nested reference name: r"),
        "{error}"
    );
    let files = format!("{CHART}//- templates/a.yaml\n{{{{ range until 100000 }}}}x{{{{ end }}}}\n");
    let limits = Limits {
        output: 1000,
        ..Limits::default()
    };
    let error = render_with(&files, "", limits).unwrap_err();
    assert!(error.contains("the output is larger than allowed"), "{error}");
    let limits = Limits {
        steps: 1000,
        ..Limits::default()
    };
    let error = render_with(&files, "", limits).unwrap_err();
    assert!(error.contains("the template runs longer than allowed"), "{error}");
}

#[test]
fn lookup_asks_its_port() {
    let files = format!(
        "{CHART}//- templates/a.yaml\na: {{{{ (lookup \"v1\" \"Secret\" \"n\" \"s\").metadata.name }}}}\n"
    );
    check(&files, "", "---\n# Source: web/templates/a.yaml\na: s\n");
}

#[test]
fn library_charts_cannot_be_installed_and_missing_dependencies_are_named() {
    let library = chart("//- Chart.yaml\napiVersion: v2\nname: l\nversion: 1.0.0\ntype: library\n").unwrap();
    assert_eq!(
        library.check_installable().unwrap_err().to_string(),
        "library charts are not installable"
    );
    let lacking = chart(&format!("{CHART}dependencies: [{{name: db, version: 1.0.0}}]\n")).unwrap();
    let error = lacking.check_installable().unwrap_err().to_string();
    assert!(error.ends_with("missing in charts/ directory: db"), "{error}");
}

#[test]
fn two_renders_share_a_chart_and_nothing_else() {
    let files = format!(
        "{CHART}//- values.yaml\nl: {{a: 1}}\n//- templates/a.yaml\n{{{{ $_ := set .Values.l \"b\" .Release \
         }}}}n: {{{{ len .Values.l }}}}\n"
    );
    for _ in 0..2 {
        check(&files, "", "---\n# Source: web/templates/a.yaml\nn: 2\n");
    }
}

const REUSE: &str = "\
//- Chart.yaml
apiVersion: v2
name: shop
version: 1.0.0
//- values.yaml
replicas: 1
image: {name: web, tag: v1}
labels: {team: a}
//- templates/a.yaml
kind: A
spec:
  replicas: {{ .Values.replicas }}
//- templates/b.yaml
{{- define \"b.image\" -}}
image: {{ .Values.image.name }}:{{ .Values.image.tag }}
{{- end }}
kind: B
spec:
  {{- include \"b.image\" . | nindent 2 }}
  {{- if .Values.labels }}
  labels: {{ toYaml .Values.labels | nindent 4 }}
  {{- end }}
//- templates/c.yaml
kind: C
token: {{ randAlpha 4 }}
";

fn again(chart: &Arc<Chart>, values: &str, provenance: bool, before: Option<&Record>) -> (Rendered, Record) {
    let release = Release {
        name: "demo".to_owned(),
        namespace: "apps".to_owned(),
        revision: 1,
        is_upgrade: false,
    };
    let request = RenderRequest {
        chart,
        values: &Values::from_yaml(values).unwrap(),
        release: &release,
        capabilities: &Capabilities::default(),
        lookup: Arc::new(Recorded),
        ambient: Box::new(Still),
        options: Options {
            provenance,
            ..Options::default()
        },
    };
    render_again(request, before).unwrap()
}

#[test]
fn templates_that_read_nothing_new_are_taken_over() {
    let chart = chart(REUSE).unwrap();
    let (first, record) = again(&chart, "", false, None);
    assert_eq!((record.reused(), record.templates()), (0, 3));
    for (values, reused) in [
        ("", 2),
        ("other: 3", 2),
        ("replicas: 2", 1),
        ("image: {tag: v2}", 1),
        ("image: {other: v2}", 2),
        ("labels: {team: b}", 1),
        ("labels: null", 1),
        ("{image: {tag: v2}, replicas: 3}", 0),
    ] {
        let (rendered, next) = again(&chart, values, false, Some(&record));
        let (fresh, _) = again(&chart, values, false, None);
        assert_eq!(next.reused(), reused, "{values}");
        assert_eq!(rendered.manifest(false), fresh.manifest(false), "{values}");
    }
    assert_eq!(first.manifests.len(), 3);
}

#[test]
fn a_template_that_changes_values_ends_reuse() {
    let files = format!("{REUSE}//- templates/z.yaml\n{{{{- $_ := set .Values \"replicas\" 7 }}}}\n");
    let chart = chart(&files).unwrap();
    let (first, record) = again(&chart, "", false, None);
    assert!(first.manifest(false).contains("replicas: 7"));
    let (next, record) = again(&chart, "", false, Some(&record));
    assert_eq!(record.reused(), 0);
    assert_eq!(first.manifest(false), next.manifest(false));
}

#[test]
fn changes_of_anything_that_templates_share_end_reuse() {
    for shared in [
        "(index .Values.items 0 0)",
        ".Release",
        ".Chart",
        ".",
        ".Subcharts",
    ] {
        let files = format!(
            "{CHART}//- values.yaml\nitems: [[{{}}]]\nword: one\n//- templates/a.yaml\nkind: A\nseen: {{{{ {shared}.seen \
             }}}}\n//- templates/z.yaml\n{{{{- $_ := set {shared} \"seen\" .Values.word }}}}\n"
        );
        // What stands for the dot by itself has no dot before the field.
        let chart = chart(&files.replace("..seen", ".seen")).unwrap();
        let (first, record) = again(&chart, "", false, None);
        assert!(first.manifest(false).contains("seen: one"), "{shared}");
        let (next, _) = again(&chart, "word: two", false, Some(&record));
        assert!(next.manifest(false).contains("seen: two"), "{shared}");
    }
}

#[test]
fn every_line_knows_its_statement_and_the_values_it_read() {
    let chart = chart(REUSE).unwrap();
    let (rendered, _) = again(&chart, "image: {tag: v3}", true, None);
    let provenance = rendered.provenance.as_ref().unwrap();
    let manifest = &rendered.manifests[1];
    assert_eq!((manifest.kind.as_str(), manifest.line), ("B", 1));
    let line = manifest.line + 2;
    let origins = provenance.origins(&manifest.source, line);
    let shown: Vec<(usize, &str, Vec<String>)> = origins
        .iter()
        .map(|origin| {
            let reads = origin.reads.iter().map(|read| read.path.join(".")).collect();
            (origin.line, origin.action.as_str(), reads)
        })
        .collect();
    let (name, tag) = ("image.name".to_owned(), "image.tag".to_owned());
    let both = vec!["image".to_owned(), name.clone(), tag.clone()];
    assert_eq!(
        shown,
        [
            (6, "{{ include \"b.image\" . | nindent 2 }}", both),
            (2, "", vec![]),
            (2, "{{ .Values.image.name }}", vec!["image".to_owned(), name]),
            (2, "", vec![]),
            (2, "{{ .Values.image.tag }}", vec!["image".to_owned(), tag]),
        ]
    );
    let layer = Layer {
        name: "prod.yaml".to_owned(),
        values: Values::from_yaml("image: {tag: v3}").unwrap(),
        text: Some("image: {tag: v3}\n".to_owned()),
    };
    let places: Vec<String> = provenance
        .sources(&["image", "tag"], &[layer])
        .into_iter()
        .map(|source| format!("{} {}", source.place, source.value))
        .collect();
    assert_eq!(places, ["prod.yaml:1 \"v3\"", "values.yaml:2 \"v1\""]);
}

#[test]
fn values_of_hosts_keep_their_types() {
    for (template, want) in [
        ("{{ .Values.z }} {{ toJson .Values.z }}", "-0 -0"),
        ("{{ 1i }}", "(0+1i)"),
        ("{{ .Capabilities.KubeVersion }}", "v1.37.0"),
        // A copy has no address, and so no String method.
        (
            "{{ include \"x\" .Capabilities.KubeVersion }}{{ define \"x\" }}{{ . }}{{ end }}",
            "{v1.37.0 v1.37.0 1 37}",
        ),
        ("{{ index .Files \"nope\" }}", "[]"),
        (
            "{{ (fromJson \"{\\\"a\\\":1e400,\\\"b\\\":1}\") | toJson }}",
            "{\"Error\":\"json: cannot unmarshal number 1e400 into Go value of type float64\",\"a\":null,\"b\":1}",
        ),
    ] {
        let files = format!("{CHART}//- templates/x.yaml\nv: |-\n  {template}\n");
        let want = format!("---\n# Source: web/templates/x.yaml\nv: |-\n  {want}\n");
        check(&files, "z: -0.0", &want);
    }
    for (expression, want) in [
        (
            "eq .Values 1",
            "calling eq: incompatible types for comparison: common.Values and int",
        ),
        (
            "eq .Files 1",
            "calling eq: incompatible types for comparison: engine.files and int",
        ),
        (
            "len .Capabilities",
            "calling len: len of type common.Capabilities",
        ),
        (
            "index (semver \"1.2.3\") 1",
            "calling index: can't index item of type semver.Version",
        ),
    ] {
        let files = format!("{CHART}//- templates/x.yaml\n{{{{ {expression} }}}}\n");
        let error = render_with(&files, "", Limits::default()).unwrap_err();
        assert!(error.ends_with(want), "{expression}: {error}");
    }
}

#[test]
fn a_chart_for_newer_clusters_names_the_whole_version_of_this_one() {
    let chart = chart(&format!("{CHART}kubeVersion: '>=1.32.0-0'\n")).unwrap();
    let capabilities = Capabilities {
        kube_version: crate::KubeVersion::parse("1.29.0-gke.100").unwrap(),
        ..Capabilities::default()
    };
    let release = Release {
        name: "demo".to_owned(),
        namespace: "apps".to_owned(),
        revision: 1,
        is_upgrade: false,
    };
    let failure = render(RenderRequest {
        chart: &chart,
        values: &Values::new(),
        release: &release,
        capabilities: &capabilities,
        lookup: Arc::new(Recorded),
        ambient: Box::new(Still),
        options: Options::default(),
    });
    assert_eq!(
        failure.unwrap_err().to_string(),
        "chart requires kubeVersion: >=1.32.0-0 which is incompatible with Kubernetes v1.29.0-gke.100"
    );
}

#[test]
fn numbers_where_texts_belong_have_the_digits_of_small_floats() {
    for (number, text) in [
        ("1.23456789012", "1.2345679"),
        ("123456789.5", "1.2345679e+08"),
        ("0.1", "0.1"),
        ("16777217", "16777217"),
    ] {
        let files =
            format!("{CHART}appVersion: {number}\n//- templates/x.yaml\nv: {{{{ .Chart.AppVersion }}}}\n");
        check(
            &files,
            "",
            &format!("---\n# Source: web/templates/x.yaml\nv: {text}\n"),
        );
    }
}
