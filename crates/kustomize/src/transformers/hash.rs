//! The hash suffix of generated ConfigMaps and Secrets.

use fluvial_yaml::{Mode, Node, NodeData, ScalarStyle, Style};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::nodes::{Kind, text_at};
use crate::resmap::ResMap;
use crate::session::Session;
use crate::transformers::Transformer;

/// Appends the hash to the names of what was generated.
pub(crate) struct HashTransformer;

impl Transformer for HashTransformer {
    fn transform(&self, map: &mut ResMap, _session: &Session<'_>) -> Result<()> {
        if !map.resources().iter().any(|resource| resource.needs_hash) {
            return Ok(());
        }
        for resource in map.resources_mut() {
            if resource.needs_hash {
                let name = format!("{}-{}", resource.name(), suffix(&resource.node)?);
                resource.remember_id();
                resource.set_name(&name)?;
            }
        }
        Ok(())
    }
}

/// The ten characters that stand for an object's content.
///
/// # Errors
/// If a mapping has a key twice.
pub fn suffix(object: &Node) -> Result<String> {
    let text = match text_at(object, &["kind"]) {
        "ConfigMap" => {
            let mut map = base(object, "ConfigMap")?;
            if let Some(binary) = field(object, "binaryData")? {
                map.insert("binaryData".to_owned(), binary);
            }
            Value::Object(map).to_string()
        }
        "Secret" => {
            let mut map = base(object, "Secret")?;
            map.insert("type".to_owned(), text_at(object, &["type"]).into());
            if let Some(strings) = field(object, "stringData")? {
                map.insert("stringData".to_owned(), strings);
            }
            Value::Object(map).to_string()
        }
        _ => record(object),
    };
    let digest = Sha256::digest(escape_html(&text).as_bytes());
    Ok(digest
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .take(10)
        .map(|digit| match digit {
            0 => 'g',
            1 => 'h',
            3 => 'k',
            10 => 'm',
            14 => 't',
            other => char::from_digit(u32::from(other), 16).unwrap_or('g'),
        })
        .collect())
}

fn json(node: &Node) -> Result<Value> {
    node.to_json(Mode::Kyaml)
        .map_err(|error| Error::new(error.to_string()))
}

/// Other kinds are hashed by the record that go-yaml keeps of a node, in the order of its fields.
fn record(node: &Node) -> String {
    let quote = |text: &str| Value::from(text).to_string();
    let (kind, mut style, text, children) = match &node.data {
        NodeData::Mapping { entries, style } => {
            let children = entries
                .iter()
                .flat_map(|entry| [record(&entry.key), record(&entry.value)])
                .collect();
            (4, flow(*style), "", Some(children))
        }
        NodeData::Sequence { items, style } => {
            let children: Vec<String> = items.iter().map(record).collect();
            (2, flow(*style), "", Some(children))
        }
        NodeData::Scalar { text, style } => {
            let style = match style {
                ScalarStyle::Plain => 0,
                ScalarStyle::DoubleQuoted => 2,
                ScalarStyle::SingleQuoted => 4,
                ScalarStyle::Literal => 8,
                ScalarStyle::Folded => 16,
            };
            (8, style, &**text, None)
        }
        NodeData::Alias(name) => (16, 0, &**name, None),
    };
    let tag = node.tag().unwrap_or_else(|| match kind {
        4 => "!!map",
        2 => "!!seq",
        _ => crate::nodes::resolved_tag(node).unwrap_or_default(),
    });
    if node.tag().is_some() {
        style |= 1;
    }
    let comments = node.comments().cloned().unwrap_or_default();
    let children = children
        .filter(|list| !list.is_empty())
        .map_or("null".to_owned(), |list| format!("[{}]", list.join(",")));
    format!(
        r#"{{"Kind":{kind},"Style":{style},"Tag":{},"Value":{},"Anchor":{},"Alias":null,"Content":{children},"HeadComment":{},"LineComment":{},"FootComment":{},"Line":{},"Column":{}}}"#,
        quote(tag),
        quote(text),
        quote(node.anchor().unwrap_or_default()),
        quote(&comments.head),
        quote(&comments.line),
        quote(&comments.foot),
        node.pos.line,
        node.pos.column
    )
}

fn flow(style: Style) -> u32 {
    match style {
        Style::Block => 0,
        Style::Flow => 32,
    }
}

/// What both kinds have.
fn base(object: &Node, kind: &str) -> Result<Map<String, Value>> {
    let mut map = Map::new();
    map.insert("kind".to_owned(), kind.into());
    // The name does not count: equal contents get equal suffixes.
    map.insert("name".to_owned(), "".into());
    map.insert(
        "data".to_owned(),
        field(object, "data")?.unwrap_or_else(|| "".into()),
    );
    Ok(map)
}

/// A mapping's content; nothing if it is missing or empty text.
fn field(object: &Node, name: &str) -> Result<Option<Value>> {
    match object.get(name) {
        None => Ok(None),
        Some(node) if Kind::of(node) == Kind::Scalar => {
            Ok(node.as_text().filter(|text| !text.is_empty()).map(Into::into))
        }
        Some(node) => json(node).map(Some),
    }
}

/// JSON as Go writes it: HTML's special characters are escaped.
pub(crate) fn go_json(value: &Value) -> String {
    escape_html(&value.to_string())
}

/// Escapes HTML's special characters in JSON, where they can stand in strings only.
pub(crate) fn escape_html(json: &str) -> String {
    if !json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return json.to_owned();
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped_for_html() {
        assert_eq!(go_json(&"a<b&c".into()), r#""a\u003cb\u0026c""#);
    }
}
