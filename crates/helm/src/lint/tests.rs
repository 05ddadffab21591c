use fluvial_template::sprig::Ambient;
use fluvial_tree::{File, TreeBuilder, TreePath};

use super::*;

struct Still;

impl Ambient for Still {
    fn now(&mut self) -> i128 {
        0
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

/// The findings about `//- name` marked files.
fn findings(files: &str) -> Vec<String> {
    findings_with(files, &Values::new())
}

/// The same with values of a user.
fn findings_with(files: &str, values: &Values) -> Vec<String> {
    let mut builder = TreeBuilder::default();
    for part in files.split("//- ").skip(1) {
        let (name, content) = part.split_once('\n').unwrap();
        builder.file(name, File::new(content.as_bytes(), false)).unwrap();
    }
    let found = lint(LintRequest {
        tree: &builder.build(),
        path: &TreePath::root(),
        folder: "/charts/one",
        values,
        namespace: "default",
        capabilities: &Capabilities::default(),
        skip_schema: false,
        ambient: Box::new(Still),
    });
    match found {
        Ok(found) => found.iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    }
}

const CHART: &str = "//- Chart.yaml\napiVersion: v2\nname: one\nversion: 1.0.0\nicon: https://a/b.png\n";

#[test]
fn a_good_chart_has_nothing_to_tell() {
    let files = format!(
        "{CHART}//- values.yaml\na: 1\n//- templates/a.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"
    );
    assert_eq!(findings(&files), Vec::<String>::new());
}

#[test]
fn the_head_of_a_chart_is_checked_in_helms_order() {
    let files = "//- Chart.yaml\napiVersion: v3x\nname: one\nversion: 1\nappVersion: 1.2\nicon: ftp\nodd: 1\n\
                 sources: [abc]\ntype: application\n//- values.yaml\n";
    assert_eq!(
        findings(files),
        [
            "[WARNING] Chart.yaml: failed to strictly parse chart metadata file\n\terror unmarshaling JSON: while \
             decoding JSON: json: unknown field \"odd\"",
            "[ERROR] Chart.yaml: apiVersion 'v3x' is not valid. The value must be either \"v1\" or \"v2\"",
            "[ERROR] Chart.yaml: version should be of type string but it's of type float64",
            "[ERROR] Chart.yaml: appVersion should be of type string but it's of type float64",
            "[ERROR] Chart.yaml: invalid source URL 'abc'",
            "[ERROR] Chart.yaml: invalid icon URL 'ftp'",
            "[ERROR] Chart.yaml: chart type is not valid in apiVersion 'v3x'. It is valid in apiVersion 'v2'",
            "[WARNING] Chart.yaml: version '1' is not a valid SemVerV2",
            "[WARNING] templates/: directory does not exist",
            "[ERROR] : unable to load chart\n\tunsupported chart version",
        ]
    );
    assert_eq!(
        findings("//- a\n"),
        ["unable to check Chart.yaml file in chart: stat /charts/one/Chart.yaml: no such file or directory"]
    );
}

#[test]
fn objects_are_checked_for_names_versions_and_selectors() {
    let files = format!(
        "{CHART}//- values.yaml\na: 1\n//- templates/a.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: A\n---\n\
         apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {{name: d}}\n---\n\
         apiVersion: policy/v1\nkind: Role\nmetadata: {{name: \"a:B\"}}\n//- templates/b.txt2\n//- crds/c.yaml\nkind: X\n"
    );
    let found = findings(&files);
    assert!(
        found[0].starts_with("[WARNING] templates/a.yaml: object name does not conform"),
        "{found:?}"
    );
    assert_eq!(
        found[1..],
        [
            "[WARNING] templates/a.yaml: extensions/v1beta1 Deployment is deprecated in v1.8+, unavailable in v1.16+; \
             use apps/v1 Deployment",
            "[ERROR] templates/a.yaml: a Deployment must contain matchLabels or matchExpressions, and \"d\" does not",
            "[ERROR] templates/b.txt2: file extension '.txt2' not valid. Valid extensions are .yaml, .yml, .tpl, or .txt",
            "[ERROR] crds/c.yaml: apiVersion is not in 'apiextensions.k8s.io'",
            "[ERROR] crds/c.yaml: object kind is not 'CustomResourceDefinition'",
        ]
    );
}

#[test]
fn a_chart_that_does_not_load_is_told_of_wherever_it_is_read() {
    const REASON: &str = "validation: maintainers must not contain empty or null nodes";
    let found = findings(&format!(
        "{CHART}maintainers: [null]\n//- values.yaml\na: 1\n//- templates/a.yaml\n//- crds/c.yaml\nkind: X\n"
    ));
    assert_eq!(
        found,
        [
            "[ERROR] Chart.yaml: a maintainer entry is empty".to_owned(),
            format!("[ERROR] templates/: {REASON}"),
            format!("[ERROR] : unable to load chart\n\t{REASON}"),
            format!("[ERROR] crds/: {REASON}"),
        ]
    );
}

#[test]
fn what_cannot_be_rendered_or_read_is_said_once() {
    let parse = format!("{CHART}//- values.yaml\na: 1\n//- templates/a.yaml\n{{{{ if }}}}\n");
    assert_eq!(
        findings(&parse),
        ["[ERROR] templates/: parse error at (one/templates/a.yaml:1): missing value for if"]
    );
    let schema = format!(
        "{CHART}//- values.yaml\na: 1\n//- values.schema.json\n{{\"properties\": {{\"a\": {{\"type\": \"string\"}}}}}}\n\
         //- templates/a.yaml\n"
    );
    assert_eq!(
        findings(&schema),
        [
            "[ERROR] values.yaml: - at '/a': got number, want string\n",
            "[ERROR] templates/: values don't meet the specifications of the schema(s) in the following chart(s):\none:\n\
             - at '/a': got number, want string\n",
        ]
    );
}

#[test]
fn large_and_small_numbers_of_schemas_have_powers_of_ten() {
    for (value, want) in [
        ("123456.5", "123,456.5"),
        ("1234567", "1.234567×10⁰⁶"),
        ("-0.0000015", "-1.5×10⁻⁰⁶"),
        ("1e20", "1×10²⁰"),
        ("0", "0"),
    ] {
        let found = findings(&format!(
            "{CHART}//- values.yaml\na: {value}\n//- values.schema.json\n{{\"properties\": {{\"a\": {{\"maximum\": \
             -7}}}}}}\n"
        ));
        assert_eq!(
            found[0],
            format!("[ERROR] values.yaml: - at '/a': maximum: got {want}, want -7\n")
        );
    }
}

#[test]
fn values_that_are_no_table_are_none() {
    let found = findings(&format!("{CHART}//- values.yaml\n- a\n"));
    assert!(
        found[0].ends_with("json: cannot unmarshal array into Go value of type common.Values"),
        "{found:?}"
    );
}

#[test]
fn schemas_are_quoted_as_they_are_written() {
    let with = |schema: &str| {
        findings(&format!(
            "{CHART}//- values.yaml\na: x\n//- values.schema.json\n{schema}\n"
        ))
    };
    let first = |schema: &str| with(schema).remove(0);
    assert_eq!(
        first(r#"{"properties": {"a": {"pattern": "^\\d+$"}}}"#),
        "[ERROR] values.yaml: - at '/a': 'x' does not match pattern '^\\\\d+$'\n"
    );
    assert_eq!(
        first(r#"{"$schema": "odd"}"#),
        "[ERROR] values.yaml: failing loading \"odd\": no URLLoader registered for \"odd\""
    );
    assert_eq!(
        first("x"),
        "[ERROR] values.yaml: invalid character 'x' looking for beginning of value"
    );
}

#[test]
fn a_null_of_the_users_takes_away_what_the_chart_has() {
    let files = format!(
        "{CHART}//- values.yaml\na: x\n//- values.schema.json\n{{\"properties\": {{\"a\": {{\"type\": \"string\"}}}}}}\n\
         //- templates/a.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\n"
    );
    let values = Values::from_yaml("a: null\n").unwrap();
    assert_eq!(findings_with(&files, &values), Vec::<String>::new());
}

#[test]
fn values_that_do_not_fit_together_are_not_looked_at() {
    let files = format!(
        "{CHART}//- values.yaml\na: x\n//- templates/a.yaml\n{{{{ fail \"seen\" }}}}\n\
         //- charts/b/Chart.yaml\napiVersion: v2\nname: b\nversion: 1.0.0\n"
    );
    let values = Values::from_yaml("b: text\n").unwrap();
    let found = findings_with(&files, &values);
    assert!(
        found.iter().all(|finding| !finding.contains("templates/")),
        "{found:?}"
    );
}

#[test]
fn objects_are_read_as_gos_decoder_reads_them() {
    let told = |object: &str| {
        findings(&format!(
            "{CHART}//- values.yaml\n//- templates/a.yaml\n{object}\n"
        ))
    };
    let unfit = |what: &str| {
        vec![format!(
            "[ERROR] templates/a.yaml: unable to parse YAML: error unmarshaling JSON: while decoding JSON: json: cannot \
             unmarshal {what}"
        )]
    };
    // A name of another kind is the text that it is written as.
    assert_eq!(told("kind: A\nmetadata: {name: true}"), Vec::<String>::new());
    assert_eq!(told("KIND: A\nMetadata: {Name: a}"), Vec::<String>::new());
    assert_eq!(told("null"), Vec::<String>::new());
    for (object, wanted) in [
        ("- a", "array into Go value of type rules.k8sYamlStruct"),
        (
            "kind: [a]",
            "array into Go struct field k8sYamlStruct.Kind of type string",
        ),
        (
            "metadata: x",
            "string into Go struct field k8sYamlStruct.Metadata of type rules.k8sYamlMetadata",
        ),
        (
            "metadata: {namespace: []}",
            "array into Go struct field k8sYamlMetadata.Metadata.Namespace of type string",
        ),
        (
            "kind: List\nmetadata: {name: a}\nitems: [{metadata: {annotations: x}}]",
            "string into Go struct field .Items.Metadata.Annotations of type map[string]string",
        ),
    ] {
        assert_eq!(told(object), unfit(wanted), "{object}");
    }
    let kept = "kind: List\nmetadata: {name: a}\nitems: [{}, {metadata: {annotations: {helm.sh/resource-policy: keep}}}]";
    assert_eq!(
        told(kept),
        ["[ERROR] templates/a.yaml: annotation 'helm.sh/resource-policy' within List objects are ignored"]
    );
}

#[test]
fn all_that_is_wrong_with_a_name_is_told() {
    let told = |kind: &str, name: &str| {
        let object = format!("kind: {kind}\nmetadata: {{name: {name}}}\n");
        let found = findings(&format!("{CHART}//- values.yaml\n//- templates/a.yaml\n{object}"));
        found.concat()
    };
    assert!(told("Role", "a/b%c").ends_with(
        "\"a/b%c\": [metadata.name: Invalid value: \"a/b%c\": may not contain '/', metadata.name: Invalid value: \
         \"a/b%c\": may not contain '%']"
    ));
    assert!(told("Namespace", "a.b").ends_with("\"a.b\": must not contain dots"));
    let long = told("Service", &"9".repeat(5).replace('9', "a1234567890123"));
    assert!(long.ends_with("must be no more than 63 characters"), "{long}");
}

#[test]
fn the_head_of_a_chart_is_read_strictly_and_its_people_can_be_reached() {
    let told = |more: &str| {
        let files = format!(
            "//- Chart.yaml\napiVersion: v2\nname: one\nicon: https://a/b.png\n{more}\n//- values.yaml\n\
             //- templates/a.txt\n"
        );
        findings(&files)
    };
    assert_eq!(
        told("version: 0.0.0-0\nname: one"),
        [
            "[WARNING] Chart.yaml: failed to strictly parse chart metadata file\n\terror converting YAML to JSON: yaml: \
             unmarshal errors:\n  line 5: key \"name\" already set in map",
            "[ERROR] Chart.yaml: version \"0.0.0-0\" is less than or equal to \"0.0.0-0\"",
        ]
    );
    for (field, good) in [
        ("url: example.com", true),
        ("url: 'http://localhost:8080/a?b#c'", true),
        ("url: 'https://a b'", false),
        ("url: x", false),
        ("url: 'http://x:123456'", false),
        ("email: x+y@a.b.co", true),
        ("email: ü@ü.de", true),
        ("email: a b@c.de", false),
        ("email: a..b@c.de", false),
        ("email: a@-c.de", false),
        ("email: a@localhost", false),
    ] {
        let found = told(&format!("version: 1.0.0\nmaintainers: [{{name: a, {field}}}]"));
        assert_eq!(found.is_empty(), good, "{field}: {found:?}");
    }
}

#[test]
fn a_null_of_the_users_takes_away_no_default_of_what_is_rendered() {
    let files = format!(
        "{CHART}//- values.yaml\na: {{b: 1}}\nc: {{d: {{e: 1}}}}\n//- templates/a.yaml\nkind: A\nmetadata: {{name: \
         a{{{{ .Values.a.b }}}}-{{{{ .Values.c.d.e }}}}}}\n"
    );
    let values = Values::from_yaml("a: null\nc: {d: null}\n").unwrap();
    assert_eq!(findings_with(&files, &values), Vec::<String>::new());
    let values = Values::from_yaml("n: null\n").unwrap();
    let files = files.replace("{{ .Values.a.b }}", "{{ .Values.n.x }}");
    let found = findings_with(&files, &values).concat();
    assert!(found.contains("nil pointer evaluating interface {}.x"), "{found}");
}

#[test]
fn what_begins_as_json_is_told_as_json_and_folders_are_folders() {
    let told = |object: &str| {
        let found = findings(&format!(
            "{CHART}//- values.yaml\n//- templates/a.yaml\n{object}\n"
        ));
        found
            .concat()
            .replace("[ERROR] templates/a.yaml: unable to parse YAML: ", "")
    };
    assert_eq!(told("{\"metadata\": {\"name\": 1}}"), "");
    for (object, wanted) in [
        (
            "{ {- x -}}",
            "json: offset 3: invalid character '{' looking for beginning of object key string",
        ),
        ("{\"a\": [", "unexpected EOF"),
        (
            "{\"kind\": [1]}",
            "json: cannot unmarshal array into Go struct field k8sYamlStruct.Kind of type string",
        ),
    ] {
        assert_eq!(told(object), wanted, "{object}");
    }
    for folder in ["templates", "crds"] {
        let found = findings(&format!("{CHART}//- values.yaml\n//- {folder}\nx\n")).concat();
        assert!(
            found.contains(&format!("[ERROR] {folder}/: not a directory")),
            "{found}"
        );
    }
}

#[test]
fn the_tables_of_a_user_have_met_the_defaults_before_dependencies_see_them() {
    let files = "//- Chart.yaml\napiVersion: v2\nname: one\nversion: 1.0.0\nicon: https://a/b.png\ndependencies:\n\
                 - {name: sub, version: 1.0.0}\n//- charts/sub/Chart.yaml\napiVersion: v2\nname: sub\nversion: 1.0.0\n\
                 //- values.yaml\nsub: {enabled: true}\n//- templates/a.yaml\nkind: A\nmetadata: {name: \
                 'a-{{ .Values.sub.enabled }}-{{ .Values.sub.other }}'}\n";
    let values = Values::from_yaml("sub: {enabled: null, other: b}\n").unwrap();
    assert_eq!(findings_with(files, &values), Vec::<String>::new());
}
