//! Any text: reading does not panic, and what is written reads again with the same value.

#![no_main]

use fluvial_yaml::{
    Comments, EmitOptions, Mode, Node, NodeData, ReadOptions, ScalarStyle, checked_json_to_yaml, emit,
    json_to_yaml, node_to_yaml, parse_documents, parse_part, parts, split_documents, yaml_to_json,
};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = split_documents(text);
    let _ = yaml_to_json(text, true);
    if let Ok(value) = yaml_to_json(text, false) {
        let _ = yaml_to_json(&json_to_yaml(&value), true);
    }
    let options = ReadOptions::default();
    let whole = parse_documents(text, &options);
    let parts = parts(text, 3)
        .iter()
        .map(|part| parse_part(part, &options))
        .collect::<Result<Vec<_>, _>>();
    if let Ok(parts) = parts {
        let whole = whole.as_deref().expect("parts that read are a text that reads");
        assert_eq!(values(&parts.concat()), values(whole));
    }
    for mut node in whole.unwrap_or_default() {
        match (node_to_yaml(&node), node.to_json(Mode::Kyaml)) {
            // Some control characters can be read and not be written.
            (text, Ok(value)) => assert_eq!(text.ok(), checked_json_to_yaml(&value).ok()),
            (text, Err(_)) => assert!(text.is_err()),
        }
        let written = emit(&node, &EmitOptions::default());
        if !is_unstable(&node) {
            let again =
                parse_documents(&written, &ReadOptions::default()).expect("what was written reads again");
            if let Some(again) = again.first() {
                assert_eq!(emit(again, &EmitOptions::default()), written);
                assert_eq!(again.to_json(Mode::Kyaml).ok(), node.to_json(Mode::Kyaml).ok());
            }
        }
        let _ = node.deanchor();
    }
});

/// Values and places, without comments.
fn values(documents: &[Node]) -> Vec<(u32, Option<serde_json::Value>)> {
    let of = |node: &Node| (node.pos.line, node.to_json(Mode::Kyaml).ok());
    documents.iter().map(of).collect()
}

/// What go-yaml does not write as it was: comments move, folded texts get a line more, a literal
/// text that begins with a tab cannot be read, a missing key becomes a text.
fn is_unstable(node: &Node) -> bool {
    let comments = node
        .comments()
        .is_some_and(|comments| *comments != Comments::default());
    comments
        || node.document_comments().is_some()
        || match &node.data {
            NodeData::Mapping { entries, .. } => entries.iter().any(|entry| {
                let missing = entry.key.anchor().is_some() && entry.key.as_text() == Some("");
                missing || is_unstable(&entry.key) || is_unstable(&entry.value)
            }),
            NodeData::Sequence { items, .. } => items.iter().any(is_unstable),
            NodeData::Scalar { text, style } => {
                let literal = *style == ScalarStyle::Literal || text.contains('\n');
                *style == ScalarStyle::Folded || text.starts_with('\t') && literal
            }
            NodeData::Alias(_) => false,
        }
}
