//! The hash suffix of generated ConfigMaps and Secrets.

use fluvial_yaml::{Mode, Node, NodeData, ScalarStyle, Style};
use serde_json::{Map, Number, Value};
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
            text_of_json(&Value::Object(map), &float)
        }
        "Secret" => {
            let mut map = base(object, "Secret")?;
            map.insert(
                "type".to_owned(),
                field(object, "type")?.unwrap_or_else(|| "".into()),
            );
            if let Some(strings) = field(object, "stringData")? {
                map.insert("stringData".to_owned(), strings);
            }
            text_of_json(&Value::Object(map), &float)
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

/// JSON as Go writes it: HTML's special characters are escaped, and floats have no exponent up to 21 digits.
pub(crate) fn go_json(value: &Value) -> String {
    escape_html(&text_of_json(value, &|number| {
        if number.is_f64() {
            float(number)
        } else {
            number.to_string()
        }
    }))
}

fn text_of_json(value: &Value, number: &dyn Fn(&Number) -> String) -> String {
    match value {
        Value::Number(own) => number(own),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| text_of_json(item, number)).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), text_of_json(value, number)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        other => other.to_string(),
    }
}

/// A number as Go's JSON encoder writes a float.
fn float(number: &Number) -> String {
    let value = number.as_f64().unwrap_or_default();
    if value == 0.0 || (1e-6..1e21).contains(&value.abs()) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    if text.contains("e-") {
        text
    } else {
        text.replace('e', "e+")
    }
}

/// JSON that goes over several lines, with the same numbers.
pub(crate) fn go_json_lines(value: &Value) -> String {
    fn write(value: &Value, depth: usize, out: &mut String) {
        let line = |out: &mut String, depth: usize| {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        };
        match value {
            Value::Array(items) if !items.is_empty() => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    line(out, depth + 1);
                    write(item, depth + 1, out);
                }
                line(out, depth);
                out.push(']');
            }
            Value::Object(fields) if !fields.is_empty() => {
                out.push('{');
                for (index, (key, value)) in fields.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    line(out, depth + 1);
                    out.push_str(&go_json(&Value::from(key.as_str())));
                    out.push_str(": ");
                    write(value, depth + 1, out);
                }
                line(out, depth);
                out.push('}');
            }
            other => out.push_str(&go_json(other)),
        }
    }
    let mut out = String::new();
    write(value, 0, &mut out);
    out
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

    #[test]
    fn floats_are_written_as_go_writes_them() {
        let value = serde_json::json!([
            1e20,
            1e21,
            1.5e300,
            0.000_001,
            1e-7,
            -0.0,
            2.5,
            9_007_199_254_740_993_u64,
            {}
        ]);
        let want = "[100000000000000000000,1e+21,1.5e+300,0.000001,1e-7,-0,2.5,9007199254740993,{}]";
        assert_eq!(go_json(&value), want);
        let value = serde_json::json!({"a": [1e20], "b": []});
        let want = "{\n  \"a\": [\n    100000000000000000000\n  ],\n  \"b\": []\n}";
        assert_eq!(go_json_lines(&value), want);
        // What is hashed has been read as floats.
        let hash = |data: &str| {
            let text = format!("apiVersion: v1\nkind: ConfigMap\ndata: {data}\n");
            let options = fluvial_yaml::ReadOptions {
                file: fluvial_yaml::FileId::NONE,
                limits: fluvial_yaml::Limits::default(),
            };
            suffix(&fluvial_yaml::parse_values(&text, &options).unwrap().unwrap()).unwrap()
        };
        assert_eq!(hash("{two: 2, one: \"\", three: 1e20}"), "8m5567cf9c");
        assert_eq!(hash("{a: 9007199254740993}"), hash("{a: 9007199254740992}"));
    }
}
