use std::sync::Arc;

use crate::{Functions, Limits, Set, Value, sprig};

/// The error of a template, behind the place.
fn error(template: &str) -> String {
    let mut functions = Functions::builtins();
    sprig::register(&mut functions);
    let mut set = Set::new(Arc::new(functions));
    set.add("t", template).unwrap();
    let data = Value::from_json(
        &serde_json::json!({"words": ["a", "b"], "map": {"k": 1.0}, "none": [],
        "nils": [null], "nil_map": {"n": null}}),
    );
    let error = set.execute("t", &data, Limits::default(), &mut ()).unwrap_err();
    let text = error.to_string();
    text.rsplit_once(">: ")
        .map_or(text.clone(), |(_, rest)| rest.to_owned())
}

#[test]
fn items_have_no_type_until_they_go_through_a_pipeline() {
    let of = |kind: &str| format!("can't evaluate field x in type {kind}");
    for (template, kind) in [
        ("{{ range .words }}{{ .x }}{{ end }}", "interface {}"),
        ("{{ range $w := .words }}{{ $w.x }}{{ end }}", "interface {}"),
        ("{{ range $i, $w := .words }}{{ $w.x }}{{ end }}", "interface {}"),
        ("{{ range $i, $w := .words }}{{ $i.x }}{{ end }}", "int"),
        (
            "{{ range .map }}{{ if true }}{{ .x }}{{ end }}{{ end }}",
            "interface {}",
        ),
        (
            "{{ $w := 1 }}{{ range $w = .words }}{{ end }}{{ $w.x }}",
            "interface {}",
        ),
        (
            "{{ range .words }}{{ with . }}{{ .x }}{{ end }}{{ end }}",
            "string",
        ),
        (
            "{{ range $w := .words }}{{ $v := $w }}{{ $v.x }}{{ end }}",
            "string",
        ),
        ("{{ range $w := .words }}{{ $w = 5 }}{{ $w.x }}{{ end }}", "int"),
        ("{{ range $w := .words }}{{ end }}{{ $v := 5 }}{{ $v.x }}", "int"),
        (
            "{{ range .words }}{{ range until 1 }}{{ .x }}{{ end }}{{ end }}",
            "int",
        ),
        ("{{ range splitList \",\" \"a\" }}{{ .x }}{{ end }}", "string"),
        (
            "{{ define \"d\" }}{{ .x }}{{ end }}{{ range .words }}{{ template \"d\" . }}{{ end }}",
            "string",
        ),
    ] {
        assert_eq!(error(template), of(kind), "{template}");
    }
}

#[test]
fn the_nil_of_a_collection_has_no_fields() {
    let nil = "nil pointer evaluating interface {}.x";
    for template in [
        "{{ range .nils }}{{ .x }}{{ end }}",
        "{{ range $n := .nils }}{{ if $n.x }}{{ end }}{{ end }}",
        "{{ range $k, $n := .nil_map }}{{ $n.x }}{{ end }}",
    ] {
        assert_eq!(error(template), nil, "{template}");
    }
    // Through a pipeline it is no value at all, whose fields are none either.
    let mut set = Set::new(Arc::new(Functions::builtins()));
    let template =
        "{{ range .nils }}{{ with . }}no{{ else }}{{ $n := . }}[{{ $n.x }}{{ . }}]{{ end }}{{ end }}";
    set.add("t", template).unwrap();
    let data = Value::from_json(&serde_json::json!({"nils": [null]}));
    let text = set.execute("t", &data, Limits::default(), &mut ()).unwrap();
    assert_eq!(text, "[<no value><no value>]");
}

#[test]
fn an_index_behind_the_end_fails_as_go_does() {
    assert_eq!(
        error("{{ index .none 0 }}"),
        "error calling index: reflect: slice index out of range"
    );
    assert_eq!(
        error("{{ index .words 2 }}"),
        "error calling index: reflect: slice index out of range"
    );
    assert_eq!(
        error("{{ index .words 3 }}"),
        "error calling index: index out of range: 3"
    );
    assert_eq!(
        error("{{ index \"ab\" 2 }}"),
        "error calling index: reflect: string index out of range"
    );
    assert_eq!(
        error("{{ index .words -1 }}"),
        "error calling index: index out of range: -1"
    );
}

#[test]
fn operands_by_themselves_stand_without_parentheses() {
    assert_eq!(error("{{ (1) 2 }}"), "can't give argument to non-function 1");
    assert_eq!(
        error("{{ call (list 1) }}"),
        "error calling call: non-function list 1 of type []interface {}"
    );
    assert_eq!(
        error("{{ 2 | call }}"),
        "error calling call: non-function <int Value> of type int"
    );
    assert_eq!(
        error("{{ \"a\" | call }}"),
        "error calling call: non-function a of type string"
    );
    assert_eq!(
        error("{{ index (now) 1 }}"),
        "error calling now: this run has neither clock nor randomness"
    );
    assert_eq!(
        error("{{ eq 1i 1 }}"),
        "error calling eq: incompatible types for comparison: complex128 and int"
    );
    assert_eq!(
        error("{{ eq .words (until 1) }}"),
        "error calling eq: non-comparable type [%!s(int=0)]: []int"
    );
}

#[test]
fn equal_texts_are_taken_over_only_where_the_name_makes_no_difference() {
    let functions = Functions::builtins();
    for (text, taken) in [
        ("own{{ define \"x\" }}x{{ end }}", true),
        ("{{ define \"x\" }}x{{ end }}", true),
        ("own{{ define \"second\" }}{{ end }}", false),
        ("{{ define \"second\" }}defined{{ end }}", false),
        ("{{ define \"first\" }}defined{{ end }}", false),
        (
            "{{ define \"first\" }}defined{{ end }}{{ define \"x\" }}x{{ end }}",
            false,
        ),
    ] {
        let Some(copy) = functions.parse("first", text).unwrap().again("second") else {
            assert!(!taken, "{text}");
            continue;
        };
        assert!(taken, "{text}");
        let parsed = functions.parse("second", text).unwrap();
        let outputs = [parsed, copy].map(|parsed| {
            let mut set = Set::new(Arc::new(functions.clone()));
            set.add_parsed(&parsed);
            ["first", "second", "x"]
                .map(|name| set.execute(name, &Value::Nil, Limits::default(), &mut ()).ok())
        });
        assert_eq!(outputs[0], outputs[1], "{text}");
    }
}
