//! Node trees to JSON values and back.
//!
//! Two ways, as the two Go libraries go: kyaml writes a node as text and reads that text with
//! go-yaml v3; sigs.k8s.io/yaml reads with yaml.v2. They differ in duplicate keys, in keys that
//! are no strings, in the order in which merge keys apply, and in some scalars.

use std::ptr;

use rustc_hash::FxHashMap;
use serde_json::{Map, Value};

use crate::error::{Error, Limits};
use crate::gosyntax;
use crate::node::{Entry, Node, NodeData, ScalarStyle, Style};
use crate::number::{self, Number};
use crate::parse::{ReadOptions, is_merge_key, parse_first, parse_values_v2};
use crate::resolve::{Mode, Resolved, resolve_plain};
use crate::simple;

/// The first document of a text as JSON, as `sigs.k8s.io/yaml.YAMLToJSON` reads it; null if there
/// is none. `strict` refuses duplicate keys, of which the last counts otherwise.
///
/// # Errors
/// The text is no YAML, or holds what JSON cannot.
pub fn yaml_to_json(text: &str, strict: bool) -> Result<Value, Error> {
    match simple::json(text, strict) {
        Some(value) => Ok(value),
        None => whole(text, strict),
    }
}

/// As [`yaml_to_json`], by the whole parser.
pub(crate) fn whole(text: &str, strict: bool) -> Result<Value, Error> {
    match parse_values_v2(text, &ReadOptions::default())? {
        Some(node) => Converter::new(&node, Mode::Json, strict).convert(),
        None => Ok(Value::Null),
    }
}

impl Node {
    /// The value as JSON, aliases and merge keys expanded.
    ///
    /// # Errors
    /// The tree holds what JSON cannot: keys that are no strings, infinity, an alias within its
    /// own anchor, or more than the limits allow once expanded.
    pub fn to_json(&self, mode: Mode) -> Result<Value, Error> {
        Converter::new(self, mode, false).convert()
    }

    /// A JSON value as a tree of block collections and scalars that resolve to it.
    #[must_use]
    pub fn from_json(value: &Value) -> Node {
        match value {
            Value::Null => Node::plain("null"),
            Value::Bool(value) => Node::plain(if *value { "true" } else { "false" }),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) => Node::plain(number::format_json(float)),
                None => Node::plain(number.to_string()),
            },
            Value::String(text) => Node::text(text),
            Value::Array(items) => Node::sequence(items.iter().map(Node::from_json).collect()),
            Value::Object(fields) => Node::mapping(
                fields
                    .iter()
                    .map(|(key, value)| Entry {
                        key: Node::text(key),
                        value: Node::from_json(value),
                    })
                    .collect(),
            ),
        }
    }

    /// Writes all numbers, truths, nulls and times below as they come back when a Go program turns YAML into JSON and
    /// that into YAML again: `0x1F` as `31`, a million as `1e+06`, what a float cannot hold as what is nearest.
    /// All nodes are new ones then, and none is one with another.
    pub fn spell_through_json(&mut self) {
        self.set_twin(0);
        match &mut self.data {
            NodeData::Mapping { entries, .. } => {
                entries
                    .iter_mut()
                    .for_each(|entry| entry.value.spell_through_json());
            }
            NodeData::Sequence { items, .. } => items.iter_mut().for_each(Node::spell_through_json),
            NodeData::Alias(_) => {}
            NodeData::Scalar { .. } => {
                let spelled = match resolve_node(self, Mode::Kyaml) {
                    Ok(Scalar::Other(Resolved::Null)) => Node::plain("null"),
                    Ok(Scalar::Other(Resolved::Bool(value))) => Node::plain(value.to_string()),
                    Ok(Scalar::Other(Resolved::Number(value))) => {
                        Node::plain(number::format_general(value.as_f64()))
                    }
                    Ok(Scalar::Other(Resolved::Timestamp)) => {
                        Node::text(&self.as_text().and_then(number::timestamp).unwrap_or_default())
                    }
                    _ => return,
                };
                self.set_tag(spelled.tag().map(Into::into));
                self.data = spelled.data;
            }
        }
    }

    /// A string. Only a text that would read as something else carries the tag that has it quoted.
    #[must_use]
    pub fn text(text: &str) -> Node {
        if resolve_plain(text, Mode::Kyaml, true) == Resolved::Str {
            Node::plain(text)
        } else {
            Node::string(text)
        }
    }
}

/// True if YAML 1.1 reads a text as something else than a string, or as nothing.
pub(crate) fn reads_as_non_string(text: &str) -> bool {
    // Most texts are one word.
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return resolve_plain(text, Mode::Json, true) != Resolved::Str
            && resolve_plain(text, Mode::Json, true) != Resolved::Timestamp;
    }
    match parse_first(text, &ReadOptions::default()) {
        Err(_) => false,
        Ok(None) => true,
        Ok(Some(node)) => match Converter::new(&node, Mode::Json, false).convert() {
            Ok(value) => !value.is_string(),
            // What JSON lacks: infinity, odd keys.
            Err(_) => match resolve_node(&node, Mode::Json) {
                Ok(Scalar::Other(Resolved::Number(_))) => true,
                _ => node.as_text().is_none(),
            },
        },
    }
}

struct Converter<'n> {
    root: &'n Node,
    mode: Mode,
    strict: bool,
    /// Alias to what it stands for; made when the first alias is met.
    targets: Option<FxHashMap<*const Node, &'n Node>>,
    /// Anchored nodes that are being expanded.
    open: Vec<*const Node>,
    budget: usize,
    depth: usize,
}

impl<'n> Converter<'n> {
    fn new(root: &'n Node, mode: Mode, strict: bool) -> Self {
        Converter {
            root,
            mode,
            strict,
            targets: None,
            open: Vec::new(),
            budget: Limits::default().expanded_nodes,
            depth: 0,
        }
    }

    fn convert(mut self) -> Result<Value, Error> {
        let root = self.root;
        self.value(root, false, true)
    }

    fn value(&mut self, node: &'n Node, in_flow: bool, top: bool) -> Result<Value, Error> {
        // Aliases nest what they stand for. An error ends it all, so it need not come up again.
        self.depth += 1;
        check_depth(self.depth, node)?;
        let value = self.value_at(node, in_flow, top)?;
        self.depth -= 1;
        Ok(value)
    }

    fn value_at(&mut self, node: &'n Node, in_flow: bool, top: bool) -> Result<Value, Error> {
        match &node.data {
            NodeData::Scalar { text, .. } => {
                self.spend(text.len() / BYTES_PER_NODE, node)?;
                self.scalar(node, in_flow)
            }
            NodeData::Alias(name) => {
                let target = self.enter(node, name)?;
                let value = self.value(target, in_flow, false);
                self.open.pop();
                value
            }
            NodeData::Sequence { items, style } => {
                let in_flow = in_flow || *style == Style::Flow;
                self.spend(items.len(), node)?;
                let items = items
                    .iter()
                    .map(|item| self.value(item, in_flow, false))
                    .collect::<Result<_, _>>()?;
                Ok(Value::Array(items))
            }
            NodeData::Mapping { .. } => {
                let mut fields = Map::new();
                match self.mode {
                    Mode::Json => self.fill_v2(node, in_flow, &mut fields)?,
                    Mode::Kyaml => self.fill_v3(node, in_flow, top, &mut fields)?,
                }
                Ok(Value::Object(fields))
            }
        }
    }

    fn spend(&mut self, nodes: usize, at: &Node) -> Result<(), Error> {
        // What stands in the text itself is bounded by its size.
        if self.open.is_empty() {
            return Ok(());
        }
        self.budget = self
            .budget
            .checked_sub(nodes + 1)
            .ok_or_else(|| Error::new(at.pos, "document contains excessive aliasing"))?;
        Ok(())
    }

    /// What an alias stands for; marks it as being expanded.
    fn enter(&mut self, alias: &'n Node, name: &str) -> Result<&'n Node, Error> {
        let root = self.root;
        let targets = self.targets.get_or_insert_with(|| alias_targets(root));
        let target = *targets
            .get(&ptr::from_ref(alias))
            .ok_or_else(|| Error::new(alias.pos, format!("unknown anchor '{name}' referenced")))?;
        let id = ptr::from_ref(target);
        if self.open.contains(&id) || self.open.len() > Limits::default().depth {
            return Err(Error::new(
                alias.pos,
                format!("anchor '{name}' value contains itself"),
            ));
        }
        self.open.push(id);
        self.spend(1, alias)?;
        Ok(target)
    }

    fn scalar(&self, node: &Node, in_flow: bool) -> Result<Value, Error> {
        let text = node.as_text().unwrap_or_default();
        let untagged = node.tag().is_none_or(|tag| tag == "!");
        if self.mode == Mode::Kyaml && in_flow && text.is_empty() && untagged {
            // Written as text, a missing value within brackets becomes ''.
            return Ok(Value::String(String::new()));
        }
        if self.mode == Mode::Kyaml
            && (untagged || node.tag() == Some("!!str"))
            && let NodeData::Scalar {
                style: ScalarStyle::Folded,
                ..
            } = &node.data
        {
            return Ok(Value::String(refolded(node, in_flow)));
        }
        let resolved = resolve_node(node, self.mode)?;
        Ok(match resolved {
            Scalar::Text(text) => Value::String(text),
            Scalar::Other(Resolved::Null) => Value::Null,
            Scalar::Other(Resolved::Bool(value)) => Value::Bool(value),
            Scalar::Other(Resolved::Number(value)) => json_number(value, node)?,
            Scalar::Other(Resolved::Timestamp) => Value::String(match self.mode {
                // Written within brackets, a time of day gets quotes: it is a text then.
                Mode::Kyaml if in_flow && text.contains(':') => text.to_owned(),
                Mode::Kyaml => number::timestamp(text).unwrap_or_default(),
                Mode::Json => text.to_owned(),
            }),
            Scalar::Other(Resolved::Merge | Resolved::Str) => Value::String(text.to_owned()),
        })
    }

    /// yaml.v2: entries apply in order, merge keys where they stand, and the last one wins.
    fn fill_v2(
        &mut self,
        node: &'n Node,
        in_flow: bool,
        fields: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        let in_flow = in_flow || is_flow(node);
        let entries = node.entries().unwrap_or_default();
        self.spend(entries.len(), node)?;
        for entry in entries {
            if is_merge_key(&entry.key) {
                match &self.merge_target(&entry.value)?.data {
                    NodeData::Sequence { items, .. } if !matches!(entry.value.data, NodeData::Alias(_)) => {
                        for item in items.iter().rev() {
                            self.merge_v2(item, fields)?;
                        }
                    }
                    _ => self.merge_v2(&entry.value, fields)?,
                }
                continue;
            }
            let key = self.key_v2(&entry.key)?;
            let value = self.value(&entry.value, in_flow, false)?;
            if self.strict && fields.contains_key(&key) {
                return Err(Error::new(
                    entry.key.pos,
                    format!("key {key:?} already set in map"),
                ));
            }
            fields.insert(key, value);
        }
        Ok(())
    }

    fn merge_v2(&mut self, value: &'n Node, fields: &mut Map<String, Value>) -> Result<(), Error> {
        match &value.data {
            NodeData::Alias(name) => {
                let target = self.enter(value, name)?;
                if target.entries().is_none() {
                    return Err(want_map(value));
                }
                let result = self.fill_v2(target, false, fields);
                self.open.pop();
                result
            }
            NodeData::Mapping { .. } => self.fill_v2(value, false, fields),
            _ => Err(want_map(value)),
        }
    }

    /// The node behind a chain of aliases.
    fn merge_target(&mut self, value: &'n Node) -> Result<&'n Node, Error> {
        let NodeData::Alias(name) = &value.data else {
            return Ok(value);
        };
        let target = self.enter(value, name)?;
        self.open.pop();
        Ok(target)
    }

    /// A key as sigs.k8s.io/yaml makes a string of it.
    fn key_v2(&mut self, key: &'n Node) -> Result<String, Error> {
        let target = self.merge_target(key)?;
        if !matches!(target.data, NodeData::Scalar { .. }) {
            let scalar = |node: &Node| match resolve_node(node, self.mode) {
                Ok(Scalar::Other(resolved)) => Some(resolved),
                _ => None,
            };
            let shown = gosyntax::go_syntax(gosyntax::bad_key_in(target).unwrap_or(target), &scalar);
            return Err(Error::new(key.pos, format!("invalid map key: {shown}")));
        }
        match resolve_node(target, self.mode)? {
            Scalar::Text(text) => Ok(text),
            Scalar::Other(Resolved::Bool(value)) => Ok(value.to_string()),
            Scalar::Other(Resolved::Number(Number::Int(value))) => Ok(value.to_string()),
            Scalar::Other(Resolved::Number(Number::Float(value))) => Ok(number::format_key(value)),
            Scalar::Other(Resolved::Timestamp | Resolved::Str | Resolved::Merge) => {
                Ok(target.as_text().unwrap_or_default().to_owned())
            }
            Scalar::Other(Resolved::Null | Resolved::Number(Number::Uint(_))) => Err(Error::new(
                key.pos,
                format!(
                    "unsupported map key {:?}: quote it",
                    target.as_text().unwrap_or_default()
                ),
            )),
        }
    }

    /// go-yaml v3: explicit keys win over merged ones, duplicates are refused.
    fn fill_v3(
        &mut self,
        node: &'n Node,
        in_flow: bool,
        top: bool,
        fields: &mut Map<String, Value>,
    ) -> Result<(), Error> {
        let in_flow = in_flow || is_flow(node);
        let entries = node.entries().unwrap_or_default();
        self.spend(entries.len(), node)?;
        let mut merges = Vec::new();
        let mut nulls = Vec::new();
        for entry in entries {
            if is_merge_key(&entry.key) {
                merges.push(&entry.value);
                if merges.len() > 1 {
                    return Err(duplicate(&entry.key, "<<"));
                }
                continue;
            }
            let Some(key) = self.key_v3(&entry.key, top)? else {
                let text = entry.key.as_text().unwrap_or_default();
                if nulls.contains(&text) {
                    return Err(duplicate(&entry.key, text));
                }
                nulls.push(text);
                continue;
            };
            let value = self.value(&entry.value, in_flow, false)?;
            if fields.insert(key.clone(), value).is_some() {
                return Err(duplicate(&entry.key, &key));
            }
        }
        for value in merges {
            match &value.data {
                NodeData::Sequence { items, .. } => {
                    for item in items {
                        self.merge_v3(item, top, fields)?;
                    }
                }
                _ => self.merge_v3(value, top, fields)?,
            }
        }
        Ok(())
    }

    fn merge_v3(&mut self, value: &'n Node, top: bool, fields: &mut Map<String, Value>) -> Result<(), Error> {
        let mut merged = Map::new();
        match &value.data {
            NodeData::Alias(name) => {
                let target = self.enter(value, name)?;
                if target.entries().is_none() {
                    return Err(want_map(value));
                }
                let result = self.fill_v3(target, false, top, &mut merged);
                self.open.pop();
                result?;
            }
            NodeData::Mapping { .. } => self.fill_v3(value, false, top, &mut merged)?,
            _ => return Err(want_map(value)),
        }
        for (key, value) in merged {
            fields.entry(key).or_insert(value);
        }
        Ok(())
    }

    fn key_v3(&mut self, key: &'n Node, top: bool) -> Result<Option<String>, Error> {
        let target = self.merge_target(key)?;
        if !matches!(target.data, NodeData::Scalar { .. }) {
            return Err(Error::new(
                key.pos,
                "a sequence or mapping cannot be a key in JSON",
            ));
        }
        let text = target.as_text().unwrap_or_default();
        match resolve_node(target, self.mode)? {
            Scalar::Text(text) => Ok(Some(text)),
            Scalar::Other(Resolved::Str | Resolved::Merge) => Ok(Some(text.to_owned())),
            // A missing key is written as ''.
            Scalar::Other(_) if text.is_empty() => Ok(Some(String::new())),
            // The outermost mapping is read into one with string keys; a null key is lost there.
            Scalar::Other(Resolved::Null) if top => Ok(None),
            Scalar::Other(_) if top => Ok(Some(text.to_owned())),
            Scalar::Other(found) => Err(Error::new(
                key.pos,
                format!(
                    "key {text:?} is a {}, JSON needs strings: quote it",
                    found.kind().tag()
                ),
            )),
        }
    }
}

/// A folded text after it has been written and read: go-yaml's folding does not keep all texts,
/// and kyaml takes that way.
fn refolded(node: &Node, in_flow: bool) -> String {
    let text = node.as_text().unwrap_or_default().to_owned();
    if in_flow || !text.trim_end_matches('\n').contains('\n') && !text.ends_with("\n\n") {
        return text;
    }
    let mut alone = Node::plain("");
    alone.data = node.data.clone();
    let outer = Node::mapping(vec![Entry {
        key: Node::plain("v"),
        value: alone,
    }]);
    let written = crate::emit(&outer, &crate::EmitOptions::default());
    match parse_first(&written, &ReadOptions::default()) {
        Ok(Some(read)) => read.get("v").and_then(Node::as_text).map_or(text, str::to_owned),
        _ => text,
    }
}

/// How many bytes of a text that an alias repeats count as one more node.
pub(crate) const BYTES_PER_NODE: usize = 64;

pub(crate) fn check_depth(depth: usize, node: &Node) -> Result<(), Error> {
    let limit = Limits::default().depth;
    if depth > limit + 1 {
        return Err(Error::new(
            node.pos,
            format!("exceeded the nesting limit of {limit} while expanding aliases"),
        ));
    }
    Ok(())
}

fn is_flow(node: &Node) -> bool {
    matches!(
        node.data,
        NodeData::Mapping {
            style: Style::Flow,
            ..
        }
    )
}

fn duplicate(key: &Node, text: &str) -> Error {
    Error::new(key.pos, format!("mapping key {text:?} already defined"))
}

fn want_map(node: &Node) -> Error {
    Error::new(
        node.pos,
        "map merge requires map or sequence of maps as the value",
    )
}

/// A scalar after its tag and style have been looked at.
enum Scalar {
    Text(String),
    Other(Resolved),
}

fn resolve_node(node: &Node, mode: Mode) -> Result<Scalar, Error> {
    let NodeData::Scalar { text, style } = &node.data else {
        return Ok(Scalar::Other(Resolved::Null));
    };
    let tag = node.tag().filter(|tag| mode == Mode::Json || *tag != "!");
    let Some(tag) = tag else {
        if *style != ScalarStyle::Plain {
            return Ok(Scalar::Text(text.to_string()));
        }
        return Ok(match resolve_plain(text, mode, true) {
            Resolved::Str => Scalar::Text(text.to_string()),
            other => Scalar::Other(other),
        });
    };
    let found = match tag {
        "!!binary" => return binary(node, text),
        "!!bool" | "!!int" | "!!float" | "!!null" | "!!timestamp" | "!!merge" => {
            resolve_plain(text, mode, tag == "!!timestamp")
        }
        _ => return Ok(Scalar::Text(text.to_string())),
    };
    if found.kind().tag() == tag {
        return Ok(Scalar::Other(found));
    }
    if tag == "!!float"
        && let Resolved::Number(Number::Int(value)) = found
    {
        #[expect(clippy::cast_precision_loss, reason = "the tag asks for a float")]
        return Ok(Scalar::Other(Resolved::Number(Number::Float(value as f64))));
    }
    Err(Error::new(
        node.pos,
        format!("cannot decode {} `{text}` as a {tag}", found.kind().tag()),
    ))
}

fn binary(node: &Node, text: &str) -> Result<Scalar, Error> {
    let bytes = crate::base64::decode(text)
        .ok_or_else(|| Error::new(node.pos, "!!binary value contains invalid base64 data"))?;
    Ok(Scalar::Text(String::from_utf8_lossy(&bytes).into_owned()))
}

fn json_number(value: Number, node: &Node) -> Result<Value, Error> {
    number_value(value).ok_or_else(|| {
        let float = match value {
            Number::Float(float) => float,
            _ => f64::NAN,
        };
        Error::new(node.pos, format!("unsupported value in JSON: {float}"))
    })
}

/// A number as JSON; nothing for those that JSON lacks.
pub(crate) fn number_value(value: Number) -> Option<Value> {
    let value = match value {
        Number::Int(value) => return Some(value.into()),
        Number::Uint(value) => return Some(value.into()),
        Number::Float(value) => value,
    };
    if value.fract() == 0.0 && !(value == 0.0 && value.is_sign_negative()) {
        // Go's JSON has no fraction here; the digits beyond those that tell floats apart are zeros.
        let text = number::format_json(value);
        if let Ok(whole) = text.parse::<i64>() {
            return Some(whole.into());
        }
        if let Ok(whole) = text.parse::<u64>() {
            return Some(whole.into());
        }
    }
    serde_json::Number::from_f64(value).map(Value::Number)
}

/// What each alias stands for: the last anchor of its name before it.
pub(crate) fn alias_targets(root: &Node) -> FxHashMap<*const Node, &Node> {
    let mut anchors: FxHashMap<&str, &Node> = FxHashMap::default();
    let mut targets = FxHashMap::default();
    let mut stack = vec![root];
    while let Some(node) = stack.pop() {
        if let NodeData::Alias(name) = &node.data {
            if let Some(target) = anchors.get(&**name) {
                targets.insert(ptr::from_ref(node), *target);
            }
            continue;
        }
        if let Some(anchor) = node.anchor() {
            anchors.insert(anchor, node);
        }
        match &node.data {
            NodeData::Sequence { items, .. } => stack.extend(items.iter().rev()),
            NodeData::Mapping { entries, .. } => {
                for entry in entries.iter().rev() {
                    stack.push(&entry.value);
                    stack.push(&entry.key);
                }
            }
            _ => {}
        }
    }
    targets
}
