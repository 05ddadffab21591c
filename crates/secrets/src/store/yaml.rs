//! YAML documents, with the comments between their values.

use std::collections::BTreeMap;

use fluvial_yaml::{
    Comments, Entry, Mode, Node, NodeData, ReadOptions, ScalarStyle, ScalarType, is_yaml_1_1_non_string,
    parse_documents, scalar_type,
};
use serde_json::Value as Json;

use super::{Loaded, NO_METADATA};
use crate::metadata::FIELD;
use crate::value::{Comment, Item, VALUES, Value, limits};

pub(super) fn load(data: &[u8]) -> Result<Loaded, String> {
    let text = std::str::from_utf8(data).map_err(|error| format!("not UTF-8 text ({error})"))?;
    let options = ReadOptions {
        limits: limits(),
        ..ReadOptions::default()
    };
    let malformed = |error: fluvial_yaml::Error| format!("Error unmarshalling input yaml: {error}");
    let documents = parse_documents(text, &options).map_err(malformed)?;
    let mut metadata = None;
    let mut branches = Vec::with_capacity(documents.len());
    for document in &documents {
        // All documents carry the same ones.
        if metadata.is_none() {
            metadata = match document.get(FIELD) {
                Some(node) => Some(node.to_json(Mode::Kyaml).map_err(malformed)?),
                None => return Err(NO_METADATA.to_owned()),
            };
        }
        branches.push(Reader::default().document(document)?);
    }
    match metadata {
        None | Some(Json::Null) => Err(NO_METADATA.to_owned()),
        Some(metadata) => Ok(Loaded { branches, metadata }),
    }
}

#[derive(Default)]
struct Reader {
    anchors: BTreeMap<String, Value>,
    values: usize,
}

/// The lines of a comment.
fn lines(text: &str, inline: bool) -> impl Iterator<Item = Comment> + '_ {
    text.split('\n')
        .filter(|line| !line.is_empty())
        .map(move |line| Comment {
            text: line.strip_prefix('#').unwrap_or(line).to_owned(),
            inline,
        })
}

fn comments(node: &Node) -> Comments {
    node.comments().cloned().unwrap_or_default()
}

impl Reader {
    fn document(&mut self, node: &Node) -> Result<Vec<Item>, String> {
        let (head, foot) = node.document_comments().unwrap_or(("", ""));
        let mut items: Vec<Item> = lines(head, false).map(Item::Comment).collect();
        match &node.data {
            NodeData::Mapping { .. } => {
                let Value::Branch(branch) = self.value(node, false)? else {
                    return Err("a mapping is expected".to_owned());
                };
                items.extend(branch);
            }
            NodeData::Scalar { text, .. } if text.is_empty() => {}
            NodeData::Sequence { .. } => {
                return Err("YAML documents that are sequences are not supported".to_owned());
            }
            _ => return Err("YAML documents that are values are not supported".to_owned()),
        }
        items.extend(lines(foot, false).map(Item::Comment));
        items.retain(|item| !matches!(item, Item::Entry { key, .. } if key == FIELD));
        Ok(items)
    }

    /// A node; `handled` says that whoever holds it has taken its comments.
    fn value(&mut self, node: &Node, handled: bool) -> Result<Value, String> {
        self.values += 1;
        if self.values > VALUES {
            return Err(format!("the file holds more than {VALUES} values"));
        }
        let value = match &node.data {
            NodeData::Scalar { .. } => scalar(node)?,
            NodeData::Sequence { items, .. } => Value::List(self.list(node, items, handled)?),
            NodeData::Mapping { entries, .. } => Value::Branch(self.branch(node, entries, handled)?),
            NodeData::Alias(name) => {
                let value = self
                    .anchors
                    .get(&**name)
                    .cloned()
                    .ok_or_else(|| format!("line {}: unknown anchor '{name}'", node.pos.line))?;
                self.values += size(&value);
                value
            }
        };
        if let Some(anchor) = node.anchor() {
            self.anchors.insert(anchor.to_owned(), value.clone());
        }
        Ok(value)
    }

    fn list(&mut self, node: &Node, items: &[Node], handled: bool) -> Result<Vec<Value>, String> {
        let mut list = Vec::with_capacity(items.len());
        let own = comments(node);
        if !handled {
            list.extend(lines(&own.head, false).map(Value::Comment));
            list.extend(lines(&own.line, true).map(Value::Comment));
        }
        for item in items {
            let about = comments(item);
            list.extend(lines(&about.head, false).map(Value::Comment));
            list.extend(lines(&about.line, true).map(Value::Comment));
            list.push(self.value(item, true)?);
            list.extend(lines(&about.foot, false).map(Value::Comment));
        }
        if !handled {
            list.extend(lines(&own.foot, false).map(Value::Comment));
        }
        Ok(list)
    }

    fn branch(&mut self, node: &Node, entries: &[Entry], handled: bool) -> Result<Vec<Item>, String> {
        let mut branch = Vec::with_capacity(entries.len());
        let own = comments(node);
        if !handled {
            branch.extend(lines(&own.head, false).map(Item::Comment));
            branch.extend(lines(&own.line, true).map(Item::Comment));
        }
        for entry in entries {
            let about = comments(&entry.key);
            branch.extend(lines(&about.head, false).map(Item::Comment));
            branch.extend(lines(&about.line, true).map(Item::Comment));
            let alone = matches!(entry.value.data, NodeData::Scalar { .. } | NodeData::Alias(_));
            let of_value = comments(&entry.value);
            if alone {
                branch.extend(lines(&of_value.head, false).map(Item::Comment));
                branch.extend(lines(&of_value.line, true).map(Item::Comment));
            }
            let key = match (&entry.key.data, entry.key.as_text()) {
                (NodeData::Scalar { style, .. }, Some(text)) if is_text(&entry.key, text, *style) => {
                    text.to_owned()
                }
                _ => {
                    return Err(format!(
                        "line {}: only keys that are strings are supported",
                        entry.key.pos.line
                    ));
                }
            };
            let value = self.value(&entry.value, alone)?;
            branch.push(Item::Entry { key, value });
            if alone {
                branch.extend(lines(&of_value.foot, false).map(Item::Comment));
            }
            branch.extend(lines(&about.foot, false).map(Item::Comment));
        }
        if !handled {
            branch.extend(lines(&own.foot, false).map(Item::Comment));
        }
        Ok(branch)
    }
}

/// How many values a value stands for.
fn size(value: &Value) -> usize {
    match value {
        Value::Branch(items) => items
            .iter()
            .map(|item| match item {
                Item::Entry { value, .. } => size(value),
                Item::Comment(_) => 1,
            })
            .sum(),
        Value::List(items) => items.iter().map(size).sum(),
        // Long texts count for several.
        Value::Text(text) => 1 + text.len() / 64,
        _ => 1,
    }
}

fn is_text(node: &Node, text: &str, style: ScalarStyle) -> bool {
    match node.tag() {
        Some("!!str" | "!!merge") => true,
        Some(_) => false,
        None => {
            style != ScalarStyle::Plain
                || matches!(
                    scalar_type(text, Mode::Kyaml),
                    ScalarType::Str | ScalarType::Merge
                )
        }
    }
}

fn scalar(node: &Node) -> Result<Value, String> {
    let NodeData::Scalar { text, style } = &node.data else {
        return Ok(Value::Null);
    };
    let refused = |error: String| format!("line {}: {error}", node.pos.line);
    if node.tag() == Some("!!binary") {
        use base64::Engine as _;
        let compact: String = text.split_whitespace().collect();
        let bytes = base64::engine::general_purpose::STANDARD.decode(compact);
        return bytes
            .map(Value::Text)
            .map_err(|_| refused("!!binary value contains invalid base64 data".to_owned()));
    }
    if is_text(node, text, *style) {
        return Ok(Value::text(text.as_bytes()));
    }
    if node.tag().is_none() && scalar_type(text, Mode::Kyaml) == ScalarType::Timestamp {
        return time(text)
            .map(Value::Time)
            .ok_or_else(|| refused(format!("'{text}' is no time")));
    }
    Ok(
        match node.to_json(Mode::Kyaml).map_err(|error| error.to_string())? {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(value),
            Json::String(text) => Value::text(text),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => Value::Int(number),
                (None, Some(number)) if number.is_finite() => Value::Float(number),
                _ => return Err(refused("a number that cannot be read".to_owned())),
            },
            Json::Array(_) | Json::Object(_) => return Err(refused("a value is expected".to_owned())),
        },
    )
}

/// A date, or a date with a time of day, as RFC 3339 writes it.
fn time(text: &str) -> Option<String> {
    let numbers = |text: &str, sign: char| -> Option<Vec<u32>> {
        text.split(sign).map(|part| part.parse().ok()).collect()
    };
    let at = text.find(['T', 't', ' ']);
    let date = numbers(&text[..at.unwrap_or(text.len())], '-')?;
    let [year, month, day] = date[..] else { return None };
    let Some(at) = at else {
        return Some(format!("{year:04}-{month:02}-{day:02}T00:00:00Z"));
    };
    let rest = text[at + 1..].trim();
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone_at);
    let (clock, fraction) = clock.trim().split_once('.').unwrap_or((clock.trim(), ""));
    let clock = numbers(clock, ':')?;
    let [hour, minute, second] = clock[..] else {
        return None;
    };
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    let zone = if zone.is_empty() { "Z" } else { zone };
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{dot}{fraction}{zone}"
    ))
}

pub(super) fn emit(branches: &[Vec<Item>]) -> Vec<u8> {
    let mut out = String::new();
    for (number, branch) in branches.iter().enumerate() {
        if number > 0 {
            out.push_str("---\n");
        }
        out.push_str(&fluvial_yaml::emit_deep(&mapping(branch)));
    }
    out.into_bytes()
}

/// Comments that wait for the value they stand above or behind.
#[derive(Default)]
struct Waiting {
    above: Vec<String>,
    behind: Vec<String>,
}

impl Waiting {
    fn add(&mut self, comment: &Comment) {
        let lines = if comment.inline {
            &mut self.behind
        } else {
            &mut self.above
        };
        lines.push(format!("#{}", comment.text));
    }

    fn above(&mut self) -> String {
        std::mem::take(&mut self.above).join("\n")
    }

    fn behind(&mut self) -> String {
        std::mem::take(&mut self.behind).join("\n")
    }

    /// All of them, behind the last value.
    fn rest(&mut self) -> String {
        let mut lines = std::mem::take(&mut self.behind);
        lines.append(&mut self.above);
        lines.join("\n")
    }
}

fn set_head(node: &mut Node, text: String) {
    if !text.is_empty() {
        node.comments_mut().head = text;
    }
}

fn mapping(branch: &[Item]) -> Node {
    let mut entries: Vec<Entry> = Vec::with_capacity(branch.len());
    let mut waiting = Waiting::default();
    let mut head = String::new();
    for item in branch {
        match item {
            Item::Comment(comment) => waiting.add(comment),
            Item::Entry { key, value } => {
                if entries.is_empty() {
                    head = waiting.above();
                }
                let mut key = key_node(key);
                set_head(&mut key, waiting.above());
                let mut value = node(value);
                let behind = waiting.behind();
                if !behind.is_empty() {
                    let holder = if value.as_text().is_some() {
                        &mut value
                    } else {
                        &mut key
                    };
                    holder.comments_mut().line = behind;
                }
                entries.push(Entry { key, value });
            }
        }
    }
    let rest = waiting.rest();
    if !rest.is_empty() {
        match entries.last_mut() {
            Some(entry) => entry.key.comments_mut().foot = rest,
            None => head = rest,
        }
    }
    let mut node = Node::mapping(entries);
    set_head(&mut node, head);
    node
}

fn sequence(items: &[Value]) -> Node {
    let mut nodes: Vec<Node> = Vec::with_capacity(items.len());
    let mut waiting = Waiting::default();
    let mut head = String::new();
    for item in items {
        if let Value::Comment(comment) = item {
            waiting.add(comment);
            continue;
        }
        if nodes.is_empty() {
            head = waiting.above();
        }
        let mut node = node(item);
        set_head(&mut node, waiting.above());
        let behind = waiting.behind();
        if !behind.is_empty() {
            node.comments_mut().line = behind;
        }
        nodes.push(node);
    }
    let rest = waiting.rest();
    if !rest.is_empty() {
        match nodes.last_mut() {
            Some(node) => node.comments_mut().foot = rest,
            None => head = rest,
        }
    }
    let mut node = Node::sequence(nodes);
    set_head(&mut node, head);
    node
}

fn node(value: &Value) -> Node {
    match value {
        Value::Branch(items) => mapping(items),
        Value::List(items) => sequence(items),
        Value::Null | Value::Comment(_) => Node::plain("null"),
        Value::Bool(value) => Node::plain(value.to_string()),
        Value::Int(number) => Node::plain(number.to_string()),
        Value::Float(number) => Node::from_json(&Json::from(*number)),
        Value::Time(time) => Node::plain(time.as_str()),
        Value::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text_node(text),
            Err(_) => {
                use base64::Engine as _;
                let text = base64::engine::general_purpose::STANDARD.encode(bytes);
                let mut node = Node::plain(text);
                node.set_explicit_tag("!!binary".into());
                node
            }
        },
    }
}

/// A key; one that merges stays such.
fn key_node(text: &str) -> Node {
    let mut node = text_node(text);
    if text == "<<" {
        node = Node::plain(text);
        node.set_explicit_tag("!!merge".into());
    }
    node
}

/// A string, in the style that go-yaml's encoder chooses.
fn text_node(text: &str) -> Node {
    let style = if text.contains('\n') {
        ScalarStyle::Literal
    } else if scalar_type(text, Mode::Kyaml) != ScalarType::Str || is_yaml_1_1_non_string(text) {
        ScalarStyle::DoubleQuoted
    } else {
        ScalarStyle::Plain
    };
    Node::new(NodeData::Scalar {
        text: text.into(),
        style,
    })
}
