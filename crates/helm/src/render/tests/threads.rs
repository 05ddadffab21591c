//! Large charts are rendered by several threads; nobody can tell by what comes out.

use super::*;

/// A chart with two copies of one library, one of them under an alias, and more than threads are started for.
fn large(last: &str) -> String {
    let library = "//- charts/NAME/charts/common/Chart.yaml\napiVersion: v2\nname: common\nversion: 1.0.0\ntype: library\n\
                   //- charts/NAME/charts/common/templates/_names.tpl\n{{ define \"common.name\" }}{{ .Chart.Name }}{{ end }}\n\
                   {{ define \"fails\" }}{{ .Values.none.at.all }}{{ end }}\n\
                   //- charts/NAME/Chart.yaml\napiVersion: v2\nname: NAME\nversion: 1.0.0\n\
                   //- charts/NAME/templates/map.yaml\nkind: ConfigMap\nmetadata:\n  name: {{ include \"common.name\" . }}\n";
    let mut files = format!(
        "{CHART}dependencies:\n- {{name: one, version: 1.x, alias: other}}\n- {{name: two, version: 1.x}}\n{}{}",
        library.replace("NAME", "one"),
        library.replace("NAME", "two")
    );
    let filler = "# nothing\n".repeat(300);
    for number in 0..60 {
        files.push_str(&format!(
            "//- templates/part-{number:02}.yaml\nkind: ConfigMap\nmetadata:\n  name: part-{number}\n{filler}"
        ));
    }
    files.push_str("//- templates/z.yaml\n");
    files.push_str(last);
    files
}

fn with(threads: usize, files: &str) -> Result<String, String> {
    let options = Options {
        threads,
        ..Options::default()
    };
    let rendered = render_by(files, "", options)?;
    rendered
        .template(&Output::default())
        .map_err(|error| error.to_string())
}

#[test]
fn a_large_chart_renders_the_same_by_several_threads() {
    let files = large("kind: Secret\nmetadata: {name: last}\n");
    let alone = with(1, &files).unwrap();
    for name in ["name: other", "name: two", "name: part-59", "name: last"] {
        assert!(alone.contains(name), "{name}");
    }
    for threads in 2..5 {
        assert!(with(threads, &files).unwrap() == alone, "{threads} threads");
    }
}

#[test]
fn errors_of_a_large_chart_are_the_same_by_several_threads() {
    for last in [
        "kind: [\n",
        "{{ if }}",
        "{{ include \"fails\" . }}",
        "{{ fail \"asked for\" }}",
        "kind: A\n//- templates/a.yaml\nkind: {\n//- templates/b.yaml\nkind: }\n",
    ] {
        let files = large(last);
        let alone = with(1, &files).unwrap_err();
        for threads in 2..5 {
            assert_eq!(
                with(threads, &files).unwrap_err(),
                alone,
                "{threads} threads: {last}"
            );
        }
    }
}

#[test]
fn a_failure_in_a_library_that_is_there_twice_names_the_copy_that_ran() {
    let error = with(2, &large("{{ include \"fails\" . }}")).unwrap_err();
    assert!(
        error.contains("web/charts/other/charts/common/templates/_names.tpl:2:"),
        "{error}"
    );
}
