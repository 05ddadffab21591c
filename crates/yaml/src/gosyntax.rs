//! Values as Go writes them in its own syntax (`%#v`): what errors quote of a key that cannot be one.

use std::fmt::Write as _;

use crate::node::{Node, NodeData};
use crate::number::Number;
use crate::resolve::Resolved;

/// The first key below a node that is a collection, in the order in which Go's library meets them.
pub(crate) fn bad_key_in(node: &Node) -> Option<&Node> {
    match &node.data {
        NodeData::Mapping { entries, .. } => entries.iter().find_map(|entry| {
            let is_bad = !matches!(entry.key.data, NodeData::Scalar { .. } | NodeData::Alias(_));
            bad_key_in(&entry.key)
                .or(is_bad.then_some(&entry.key))
                .or_else(|| bad_key_in(&entry.value))
        }),
        NodeData::Sequence { items, .. } => items.iter().find_map(bad_key_in),
        _ => None,
    }
}

/// What a node holds, read by `scalar`.
pub(crate) fn go_syntax(node: &Node, scalar: &dyn Fn(&Node) -> Option<Resolved>) -> String {
    let mut out = String::new();
    write(&mut out, node, scalar);
    out
}

fn write(out: &mut String, node: &Node, scalar: &dyn Fn(&Node) -> Option<Resolved>) {
    match &node.data {
        NodeData::Mapping { entries, .. } => {
            let mut pairs: Vec<(String, &Node)> = entries
                .iter()
                .map(|entry| (go_syntax(&entry.key, scalar), &entry.value))
                .collect();
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
            out.push_str("map[interface {}]interface {}{");
            for (index, (key, value)) in pairs.into_iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                out.push_str(&key);
                out.push(':');
                write(out, value, scalar);
            }
            out.push('}');
        }
        NodeData::Sequence { items, .. } => {
            out.push_str("[]interface {}{");
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write(out, item, scalar);
            }
            out.push('}');
        }
        NodeData::Scalar { text, .. } => match scalar(node) {
            Some(Resolved::Null) => out.push_str("interface {}(nil)"),
            // Writing into a String cannot fail.
            Some(Resolved::Bool(value)) => drop(write!(out, "{value}")),
            Some(Resolved::Number(Number::Int(value))) => drop(write!(out, "{value}")),
            Some(Resolved::Number(Number::Uint(value))) => drop(write!(out, "{value:#x}")),
            Some(Resolved::Number(Number::Float(value))) => out.push_str(&crate::number::format_json(value)),
            _ => quote(out, text),
        },
        NodeData::Alias(_) => out.push_str("interface {}(nil)"),
    }
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' || c == '\u{7F}' => drop(write!(out, "\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use crate::yaml_to_json;

    #[test]
    fn keys_that_are_none_are_quoted_as_go_writes_them() {
        let error = |text| yaml_to_json(text, false).unwrap_err().message;
        assert_eq!(
            error("a: {{ .Values.b }}\n"),
            "invalid map key: map[interface {}]interface {}{\".Values.b\":interface {}(nil)}"
        );
        assert_eq!(
            error("{{ a }}: c\n"),
            "invalid map key: map[interface {}]interface {}{\"a\":interface {}(nil)}"
        );
        assert_eq!(
            error("? [b, 1, 1.5, true, {z: \"q\\\"\", a: [~]}]\n: x\n"),
            "invalid map key: []interface {}{\"b\", 1, 1.5, true, \
             map[interface {}]interface {}{\"a\":[]interface {}{interface {}(nil)}, \"z\":\"q\\\"\"}}"
        );
    }
}
