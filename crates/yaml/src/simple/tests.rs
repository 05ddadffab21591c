//! What the quick way accepts, the whole parser reads as the same.

use super::*;
use crate::json::whole;

/// Documents as people write them.
const DOCUMENTS: [&str; 19] = [
    "a:\n  {}\nb:\n  c:\n    [1, {d: e}] # x\n  f:\ni:\n- \n  []\n- j\n-\n  {g: h}\n",
    "a: one two\n  three: four\n",
    "a: one two\n  three - \"four\"\n\n  five\n\nb:\n- one\n  two\n- c: x\n    y\n  d: 1\n",
    "a: 'one\n  two''s\n\n  three'\nb: \"one\n  \\\"two\\\"\n   three \" # x\nc: ''\n",
    "a: 1\nb:\n  c: x\n  d:\n  - 1\n  - e: 2\n    f: 'it''s'\n  -\n    g: 3\nh: [a, 1, \"b\"]\ni: {}\n",
    "# head\n---\nkey: value # tail\nother: \"q\\n\\\"\" # tail\nlist:\n- - a\n  - b\n- - c\n",
    "a: |\n  one\n    two\n\n  three\n\n\nb: >-\n  fold\n  ed\n\n  text\nc: |+\n  keep\n\nd: |-\n  strip\n\n",
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n  annotations:\n    \"helm.sh/hook\": pre-install\ndata:\n  a.b: |\n    # no comment\n    k: v\n",
    "- a\n- b: c\n  d: e\n-   f: 1\n    g: 2\n",
    "x: http://a/b:c#d\nya: -1\nz: 1e3\nt: 2001-01-01\nna: ~\nm:\no: 0x1F\np: 1_000\nq: 010\nr: 1.0\n",
    "  a: 1\n  b: 2\n",
    "a:\n  - b\n  - c\nd:\n- e\n-  - f\n",
    "yes: 1\n",
    "a: {b: c, d: [e, {f: \"g\"}], h: 'i'}\n",
    "a: \u{e9}t\u{e9}\nb: \"\u{1f600}\"\n",
    "a: >\n  one\n  two\n\n\n  three\nb: 1",
    "a: |\n  last line has no end",
    "a:\n  b: |\n\n  # none\n  c: >-\n  d: |-\n\n\ne: >\nf: 1\n",
    "a:\nb:\n  c:\n    d:\n  e:\nf:\n- \n-\n- x\n",
];

fn same(text: &str) -> bool {
    for strict in [false, true] {
        if let Some(value) = value::json(text, strict) {
            assert_eq!(
                whole(text, strict).map_err(|error| error.to_string()),
                Ok(value),
                "strict {strict}: {text:?}"
            );
        }
    }
    value::json(text, false).is_some()
}

#[test]
fn plain_documents_take_the_quick_way_and_read_as_the_same() {
    for text in DOCUMENTS {
        assert!(
            same(text) || text.starts_with("yes") || text.contains("three:"),
            "{text:?}"
        );
    }
}

#[test]
fn whatever_a_document_is_changed_into_reads_as_the_same() {
    const PIECES: [&str; 46] = [
        " ", "  ", "\n", "\n\n", "\t", ":", ": ", "- ", "-", "#", " #", "\"", "'", "''", "|", ">", "|-\n",
        ">+\n", "[", "]", "{", "}", ",", ", ", "&a ", "*a", "!!str ", "? ", "---\n", "...\n", "%", "@", "`",
        "\\", "a", "0", "1.5", "~", "null", "<<", "=", "\r\n", "\u{85}", "\u{2028}", "\u{feff}", "\u{0}",
    ];
    let mut seed = 7_u64;
    let mut below = |bound: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % bound as u64).unwrap()
    };
    let mut quick = 0;
    for round in 0..60_000 {
        let mut text: Vec<char> = DOCUMENTS[round % DOCUMENTS.len()].chars().collect();
        for _ in 0..=below(3) {
            let at = below(text.len());
            match below(4) {
                0 => drop(text.drain(at..(at + 1 + below(4)).min(text.len()))),
                1 => {
                    let copied: Vec<char> = text[at..(at + 1 + below(12)).min(text.len())].to_vec();
                    let to = below(text.len());
                    text.splice(to..to, copied);
                }
                _ => drop(text.splice(at..at, PIECES[below(PIECES.len())].chars())),
            }
            if text.is_empty() {
                break;
            }
        }
        let text: String = text.into_iter().collect();
        quick += usize::from(same(&text));
    }
    assert!(quick > 10_000, "{quick} documents were simple");
}

#[test]
fn an_escape_of_json_is_none_of_yaml() {
    assert!(value::json("a: \"x\\/y\"\n", false).is_none());
    assert!(whole("a: \"x\\/y\"\n", false).is_err());
}

#[test]
fn deep_documents_are_left_to_the_whole_parser() {
    let deep: String = (0..100)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    assert!(value::json(&deep, false).is_none());
    assert!(value::json(&format!("a: {}", "[".repeat(5000)), false).is_none());
}
