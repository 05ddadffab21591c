//! Random texts, always the same: nothing panics, and what was written reads as it was.
//!
//! `FLUVIAL_FUZZ_ROUNDS` asks for more of them.

use fluvial_yaml::{
    EmitOptions, Mode, Node, NodeData, ReadOptions, ScalarStyle, SequenceIndent, emit, json_to_yaml,
    parse_documents, split_documents, yaml_to_json,
};
use serde_json::{Map, Number, Value};

/// A small generator of pseudo-random numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit.max(1)
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

const SEEDS: &[&str] = &[
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: {x: \"1\", y: 'two'}\ndata:\n  t: |\n    line\n      more\n\n  u: >-\n    folded\n    text\n",
    "# head\na: 1 # line\n# foot\n\nb:\n# above\n- x # one\n- y\n# end\n",
    "- &a {k: v}\n- *a\n- <<: *a\n  z: [1, 2.5, 0x1F, 1e3, .inf, ~]\n- !!str 12\n- !tag {a: b}\n",
    "? complex\n: value\n? [a, b]\n: {c: d}\n",
    "a: 'it''s'\nb: \"tab\\t \\u00e9 \\x41 \\\n  cont\"\nc: plain text over\n  two lines\n",
    "%YAML 1.1\n---\na: b\n...\n---\nc\n--- |\n text\n",
    "\u{feff}a: 1\r\nb:\r\n  - c\r\n  - d: |+\r\n      x\r\n\r\n",
    "[a, {b: c}, [d, \"e\"], 'f', ]\n",
    "a:\n  - b:\n      - c:\n          d: 2001-12-14t21:59:43.10-05:00\n    e: 0o17\n  -\n    - f\n    -\n",
    "- |2\n   x\n- >+\n  a\n\n- \"\"\n- ''\n-\n",
];

const TOKENS: &[&str] = &[
    ":",
    ": ",
    "- ",
    "-",
    "? ",
    "?",
    "\n",
    "\n\n",
    " ",
    "  ",
    "    ",
    "\t",
    "#",
    " # c",
    "&a ",
    "*a",
    "<<: *a",
    "|",
    "|-\n",
    ">+2\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    "'",
    "\"",
    "\\",
    "\\x",
    "!",
    "!!int ",
    "!<a>",
    "%",
    "---",
    "--- ",
    "...",
    "a",
    "b: c",
    "0",
    "0x",
    "-1",
    "1e9",
    "yes",
    "null",
    "~",
    "\r\n",
    "\r",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "é",
    "😀",
    "\0",
    "\u{7f}",
    "@",
    "`",
    "a: |\n  x\n",
    "# foot\n",
    "- - ",
    "key: &k {a: 1}\n",
    "=",
    "2020-01-01",
];

fn mutate(random: &mut Random) -> String {
    let mut bytes = random.pick(SEEDS).as_bytes().to_vec();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 | 1 => {
                let token = random.pick(TOKENS).as_bytes();
                bytes.splice(at..at, token.iter().copied());
            }
            2 => {
                let end = (at + random.below(12)).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let other = random.pick(SEEDS).as_bytes();
                let from = random.below(other.len());
                let to = (from + random.below(40)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            4 => {
                let end = (at + random.below(30)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            5 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.next().to_ne_bytes()[0];
                }
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn tokens(random: &mut Random) -> String {
    (0..random.below(40)).map(|_| *random.pick(TOKENS)).collect()
}

#[expect(clippy::disallowed_methods, reason = "a person may ask for more rounds")]
fn rounds(normal: usize) -> usize {
    std::env::var("FLUVIAL_FUZZ_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(normal)
}

/// What the reference itself does not write as it was: comments move, folded texts get a line
/// more, a literal text that begins with a tab cannot be read, a missing key becomes a text.
fn is_unstable(node: &Node) -> bool {
    let comments = node
        .comments()
        .is_some_and(|comments| *comments != fluvial_yaml::Comments::default());
    comments
        || node.document_comments().is_some()
        || match &node.data {
            NodeData::Mapping { entries, .. } => entries.iter().any(|entry| {
                let missing = entry.key.anchor().is_some() && entry.key.as_text() == Some("");
                missing || is_unstable(&entry.key) || is_unstable(&entry.value)
            }),
            NodeData::Sequence { items, .. } => items.iter().any(is_unstable),
            NodeData::Scalar { text, style } => *style == ScalarStyle::Folded || begins_with_tab(text),
            NodeData::Alias(_) => false,
        }
}

fn begins_with_tab(text: &str) -> bool {
    text.starts_with('\t') && text.contains('\n')
}

fn has_unreadable_text(value: &Value) -> bool {
    match value {
        Value::String(text) => is_unreadable(text),
        Value::Array(items) => items.iter().any(has_unreadable_text),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| is_unreadable(key) || has_unreadable_text(value)),
        _ => false,
    }
}

/// A next line character is a line break to the reference, which does not write what it read either.
fn is_unreadable(text: &str) -> bool {
    begins_with_tab(text) || text.contains('\u{85}')
}

/// Whole floats are written as integers.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn check(text: &str) {
    let _ = split_documents(text);
    if let Ok(value) = yaml_to_json(text, false) {
        check_json(&value);
    }
    let _ = yaml_to_json(text, true);
    let Ok(nodes) = parse_documents(text, &ReadOptions::default()) else {
        return;
    };
    for node in &nodes {
        for sequences in [SequenceIndent::Compact, SequenceIndent::Wide] {
            check_written(text, node, &EmitOptions { sequences });
        }
        let mut expanded = node.clone();
        if expanded.deanchor().is_ok() {
            let _ = expanded.to_json(Mode::Json);
        }
    }
}

fn check_written(text: &str, node: &Node, options: &EmitOptions) {
    let written = emit(node, options);
    if is_unstable(node) {
        return;
    }
    let again = parse_documents(&written, &ReadOptions::default());
    let again = again.unwrap_or_else(|error| panic!("{text:?} is written as {written:?}: {error}"));
    let nothing = Node::plain("");
    let again = again.first().unwrap_or(&nothing);
    let (first, second) = (node.to_json(Mode::Kyaml), again.to_json(Mode::Kyaml));
    assert_eq!(
        first.is_ok(),
        second.is_ok(),
        "{text:?} is written as {written:?}"
    );
    if let (Ok(first), Ok(second)) = (first, second) {
        assert!(
            same(&first, &second),
            "{text:?} is written as {written:?}: {first} becomes {second}"
        );
    }
    assert_eq!(
        emit(again, options),
        written,
        "{text:?} is not written alike twice"
    );
}

fn check_json(value: &Value) {
    if has_unreadable_text(value) {
        return;
    }
    let written = json_to_yaml(value);
    let again = yaml_to_json(&written, true)
        .unwrap_or_else(|error| panic!("{value} is written as {written:?}: {error}"));
    assert!(same(&again, value), "{value} is written as {written:?}: {again}");
}

#[test]
fn mutated_documents_read_as_they_are_written() {
    let mut random = Random(0x5EED_1234_ABCD_0001);
    for _ in 0..rounds(8_000) {
        check(&mutate(&mut random));
    }
}

#[test]
fn random_tokens_read_as_they_are_written() {
    let mut random = Random(0x5EED_1234_ABCD_0002);
    for _ in 0..rounds(8_000) {
        check(&tokens(&mut random));
    }
}

#[test]
fn random_values_read_as_they_are_written() {
    let mut random = Random(0x5EED_1234_ABCD_0003);
    for _ in 0..rounds(8_000) {
        let value = value(&mut random, 0);
        if has_unreadable_text(&value) {
            continue;
        }
        check_json(&value);
        let node = Node::from_json(&value);
        let written = emit(&node, &EmitOptions::default());
        let again = parse_documents(&written, &ReadOptions::default())
            .unwrap_or_else(|error| panic!("{value} is written as {written:?}: {error}"));
        let again = again.first().map_or(Value::Null, |node| {
            node.to_json(Mode::Kyaml).expect("written by us")
        });
        assert!(same(&again, &value), "{value} is written as {written:?}: {again}");
    }
}

/// Without `<<`, which the reference writes without quotes.
fn text(random: &mut Random) -> String {
    let words = [
        "a",
        "yes",
        "n",
        "012",
        "1_000",
        "1:30",
        "0x1",
        "1e3",
        ".5",
        "null",
        "~",
        "",
        " ",
        "- a",
        "a: b",
        "a #b",
        "#",
        "\n",
        "x\ny",
        "x\n",
        "\tz",
        "é",
        "😀",
        "\u{85}",
        "\u{2028}",
        "\u{7}",
        "2020-01-01",
        "=",
        "?",
        "*",
        "&",
        "!",
        "|",
        ">",
        "%",
        "@",
        "`",
        "'",
        "\"",
        "{",
        "[",
        "a,b",
        "true",
        "-",
        "--- a",
        "...",
        "a\\b",
        "long words here",
        "\r",
        "\u{feff}",
        "0o7",
        "+1",
        "-.inf",
        ".nan",
    ];
    (0..=random.below(3))
        .map(|_| *random.pick(&words))
        .collect::<Vec<_>>()
        .join(*random.pick(&["", " ", "\n", "  "]))
}

fn value(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth > 3 { 5 } else { 8 }) {
        0 => Value::Null,
        1 => Value::Bool(random.below(2) == 0),
        2 => Value::from(i64::from_ne_bytes(random.next().to_ne_bytes()) >> random.below(64)),
        3 => {
            let [a, b, c, d, ..] = random.next().to_ne_bytes();
            let float = f64::from(i32::from_ne_bytes([a, b, c, d])) / 7.0;
            Number::from_f64(float).map_or(Value::Null, Value::Number)
        }
        4 | 5 => Value::String(text(random)),
        6 => (0..random.below(4)).map(|_| value(random, depth + 1)).collect(),
        _ => {
            let fields: Map<String, Value> = (0..random.below(4))
                .map(|_| (text(random), value(random, depth + 1)))
                .collect();
            Value::Object(fields)
        }
    }
}
