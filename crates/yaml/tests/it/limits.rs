//! Texts that are small or well-formed, and yet would cost much.

use fluvial_yaml::{Limits, Mode, ReadOptions, parse_documents, parse_first, yaml_to_json};

fn bomb(levels: usize) -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..levels {
        let alias = format!("*a{}", level - 1);
        let list = vec![alias; 10].join(", ");
        text += &format!("a{level}: &a{level} [{list}]\n");
    }
    text
}

#[test]
fn an_alias_bomb_is_refused_when_it_is_expanded() {
    let text = bomb(12);
    let mut node = parse_first(&text, &ReadOptions::default())
        .expect("well-formed")
        .expect("a document");
    let error = node.to_json(Mode::Kyaml).unwrap_err().to_string();
    assert!(error.contains("alias"), "{error}");
    assert!(node.deanchor().is_err());
    assert!(yaml_to_json(&text, false).is_err());
}

#[test]
fn aliases_may_not_nest_without_end() {
    let mut text = "a0: &a0 x\n".to_owned();
    for level in 1..150 {
        let (open, close) = ("[".repeat(100), "]".repeat(100));
        text += &format!("a{level}: &a{level} {open}*a{}{close}\n", level - 1);
    }
    let mut node = parse_first(&text, &ReadOptions::default())
        .expect("well-formed")
        .expect("a document");
    assert!(node.to_json(Mode::Kyaml).is_err());
    assert!(node.deanchor().is_err());
    assert!(yaml_to_json(&text, false).is_err());
}

#[test]
fn a_long_text_may_not_be_repeated_without_end() {
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(10_000));
    let mut node = parse_first(&text, &ReadOptions::default())
        .expect("well-formed")
        .expect("a document");
    assert!(node.to_json(Mode::Kyaml).is_err());
    assert!(node.deanchor().is_err());
    assert!(yaml_to_json(&text, false).is_err());
}

#[test]
fn a_merge_bomb_is_refused() {
    let mut text = "a0: &a0 {k0: v}\n".to_owned();
    for level in 1..40 {
        let before = level - 1;
        text += &format!("a{level}: &a{level}\n  x: {{<<: *a{before}}}\n  y: {{<<: *a{before}}}\n");
    }
    let mut node = parse_first(&text, &ReadOptions::default())
        .expect("well-formed")
        .expect("a document");
    assert!(node.to_json(Mode::Kyaml).is_err());
    assert!(node.deanchor().is_err());
    assert!(yaml_to_json(&text, false).is_err());
}

#[test]
fn an_alias_inside_of_its_own_anchor_is_refused() {
    for text in ["a: &x [*x]\n", "&x a: *x\nb: &y {c: *y}\n", "a: &x\n  <<: *x\n"] {
        match parse_first(text, &ReadOptions::default()) {
            Err(_) | Ok(None) => {}
            Ok(Some(mut node)) => {
                assert!(node.to_json(Mode::Kyaml).is_err(), "{text}");
                assert!(node.deanchor().is_err(), "{text}");
            }
        }
    }
}

#[test]
fn deep_nesting_is_an_error_with_a_place() {
    for (open, count) in [
        ("[", 100_000),
        ("{a: ", 100_000),
        ("- ", 100_000),
        ("? ", 100_000),
        ("a:\n ", 3),
    ] {
        let text = open.repeat(count);
        let result = parse_documents(&text, &ReadOptions::default());
        if count > 200 {
            let error = result.unwrap_err();
            assert!(
                error.message.contains("nest") || error.message.contains("deep"),
                "{open}: {error}"
            );
            assert!(error.pos.line > 0, "{open}: {error}");
        }
    }
    let mut text = String::new();
    for level in 0..3_000 {
        text += &format!("{}a:\n", " ".repeat(level));
    }
    assert!(parse_documents(&text, &ReadOptions::default()).is_err());
}

#[test]
fn a_text_may_not_be_longer_than_the_limit() {
    let options = ReadOptions {
        limits: Limits {
            bytes: 10,
            ..Limits::default()
        },
        ..ReadOptions::default()
    };
    assert!(parse_documents("a: 123", &options).is_ok());
    let error = parse_documents("a: 123456789", &options).unwrap_err();
    assert!(error.to_string().contains("10"), "{error}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test is about time")]
fn long_texts_of_any_kind_take_linear_time() {
    // Each of these would take minutes if some step looked at all that came before.
    let size = 100_000;
    let texts = [
        "a: 1\n".repeat(size / 5),
        "- ".to_owned() + &"x".repeat(size),
        format!("a: \"{}\"", "\\n".repeat(size / 2)),
        format!("a: |\n{}", "  x\n".repeat(size / 4)),
        format!("a: >\n{}", "  x\n\n".repeat(size / 5)),
        format!("[{}]", "a, ".repeat(size / 3)),
        "# c\n".repeat(size / 4),
        format!("a: 1\n{}", "# c\n\n".repeat(size / 5)),
        format!("a:\n{}", "  # c\n  - x # d\n".repeat(size / 16)),
        "---\n".repeat(size / 4),
        "a: b\n---\n".repeat(size / 9),
        "\n".repeat(size),
        " ".repeat(size),
        "\t".repeat(size),
        format!("{{{}}}", "? a : b,".repeat(size / 8)),
        "&a ".repeat(size / 3),
        "'".repeat(size),
        "\"".repeat(size),
        "!".repeat(size),
        "%YAML".repeat(size / 5),
        "a: &x 1\n".repeat(size / 8),
        format!("a: &x 1\n{}", "b: *x\n".repeat(size / 6)),
        "? a\n".repeat(size / 4),
        "- - - a\n".repeat(size / 8),
        "é: ü\n".repeat(size / 7),
    ];
    for text in texts {
        let started = std::time::Instant::now();
        if let Ok(nodes) = parse_documents(&text, &ReadOptions::default()) {
            for node in &nodes {
                let _ = fluvial_yaml::emit(node, &fluvial_yaml::EmitOptions::default());
                let _ = node.to_json(Mode::Kyaml);
            }
        }
        let took = started.elapsed();
        let start: String = text.chars().take(20).collect();
        assert!(took.as_secs() < 10, "{start:?} took {took:?}");
    }
}
