//! Reading configuration: names match without case, scalars are YAML 1.1 as `sigs.k8s.io/yaml`
//! reads them, a wrong type is an error with its line.

use std::cell::RefCell;
use std::collections::BTreeMap;

use fluvial_yaml::{Mode, Node, NodeData, Pos};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::nodes::is_null;

/// A text and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    /// The text.
    pub text: String,
    /// Where it starts.
    pub pos: Pos,
}

/// A mapping that is read field by field.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    node: Option<&'a Node>,
    file: &'a str,
    mode: Mode,
    lenient: bool,
    /// Where unknown fields are noted instead of refused.
    unknown: Option<&'a RefCell<Vec<Error>>>,
}

impl<'a> Reader<'a> {
    /// Reads a mapping; null is an empty one. Aliases must be expanded.
    pub(crate) fn new(node: &'a Node, file: &'a str, mode: Mode) -> Result<Self> {
        match &node.data {
            NodeData::Mapping { .. } => Ok(Reader {
                node: Some(node),
                file,
                mode,
                lenient: false,
                unknown: None,
            }),
            _ if is_null(node) => Ok(Reader {
                node: None,
                file,
                mode,
                lenient: false,
                unknown: None,
            }),
            _ => Err(Error::new("a mapping is needed here").at(file, node.pos.line)),
        }
    }

    /// Takes numbers and booleans where strings are needed, as plugins' configurations are read.
    pub(crate) fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Takes strings alone, as the fields of a nested identity are read even in plugins' configurations.
    pub(crate) fn strict(mut self) -> Self {
        self.lenient = false;
        self
    }

    /// Notes unknown fields instead of refusing them.
    pub(crate) fn forgiving(mut self, unknown: &'a RefCell<Vec<Error>>) -> Self {
        self.unknown = Some(unknown);
        self
    }

    /// A reader of a part of this mapping.
    fn part(&self, node: &'a Node) -> Result<Reader<'a>> {
        let mut reader = Reader::new(node, self.file, self.mode)?;
        reader.lenient = self.lenient;
        reader.unknown = self.unknown;
        Ok(reader)
    }

    /// The file, for errors.
    pub(crate) fn file(&self) -> &'a str {
        self.file
    }

    /// The line, for errors.
    pub(crate) fn line(&self) -> u32 {
        self.node.map_or(0, |node| node.pos.line)
    }

    /// Where the mapping starts.
    pub(crate) fn pos(&self) -> Pos {
        self.node.map_or(Pos::NONE, |node| node.pos)
    }

    /// An error about this mapping.
    pub(crate) fn error(&self, message: impl Into<String>) -> Error {
        Error::new(message).at(self.file, self.line())
    }

    fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Node)> + use<'a> {
        self.node
            .and_then(Node::entries)
            .unwrap_or_default()
            .iter()
            .filter_map(|entry| Some((entry.key.as_text()?, &entry.value)))
    }

    /// The value under a name; of several, the last in the order of their spelling.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Node> {
        let mut found: Option<(&str, &Node)> = None;
        for (key, value) in self.entries() {
            if key.eq_ignore_ascii_case(name) && found.is_none_or(|(known, _)| key >= known) {
                found = Some((key, value));
            }
        }
        found.map(|(_, value)| value).filter(|value| !is_null(value))
    }

    /// Checks the values under the other spellings of a name: they do not count, but must be of the type too.
    fn others(&self, name: &str, fits: impl Fn(&Node) -> bool, wanted: &str) -> Result<()> {
        let chosen = self.get(name);
        for (key, value) in self.entries() {
            let other = chosen.is_none_or(|chosen| !std::ptr::eq(chosen, value));
            if other && key.eq_ignore_ascii_case(name) && !is_null(value) && !fits(value) {
                return Err(self.wrong(name, value, wanted));
            }
        }
        Ok(())
    }

    /// Whether there is a value that is not null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Fails on a field that is none of these.
    pub(crate) fn only(&self, known: &[&str]) -> Result<()> {
        for (key, value) in self.entries() {
            if !known.iter().any(|name| key.eq_ignore_ascii_case(name)) {
                let error = Error::new(format!("unknown field \"{key}\"")).at(self.file, value.pos.line);
                match self.unknown {
                    Some(unknown) => unknown.borrow_mut().push(error),
                    None => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn wrong(&self, name: &str, node: &Node, wanted: &str) -> Error {
        let found = match node.to_json(self.mode) {
            Ok(Value::Bool(_)) => "a boolean",
            Ok(Value::Number(_)) => "a number",
            Ok(Value::String(_)) => "a string",
            Ok(Value::Array(_)) => "a sequence",
            Ok(Value::Object(_)) => "a mapping",
            _ => "null",
        };
        Error::new(format!("field {name}: {wanted} is needed, but this is {found}"))
            .at(self.file, node.pos.line)
    }

    fn text(&self, name: &str, node: &Node) -> Result<String> {
        match node.to_json(self.mode) {
            Ok(Value::String(text)) => Ok(text),
            Ok(Value::Null) => Ok(String::new()),
            Ok(value @ (Value::Bool(_) | Value::Number(_))) if self.lenient => Ok(value.to_string()),
            _ => Err(self.wrong(name, node, "a string")),
        }
    }

    /// A string; empty if missing.
    pub(crate) fn string(&self, name: &str) -> Result<String> {
        Ok(self.optional_string(name)?.unwrap_or_default())
    }

    /// A string, if there.
    pub(crate) fn optional_string(&self, name: &str) -> Result<Option<String>> {
        self.others(name, |node| self.text(name, node).is_ok(), "a string")?;
        self.get(name).map(|node| self.text(name, node)).transpose()
    }

    /// A string with its place.
    pub(crate) fn located(&self, name: &str) -> Result<Text> {
        self.others(name, |node| self.text(name, node).is_ok(), "a string")?;
        self.get(name).map_or(Ok(Text::default()), |node| {
            Ok(Text {
                text: self.text(name, node)?,
                pos: node.pos,
            })
        })
    }

    /// A boolean; false if missing.
    pub(crate) fn boolean(&self, name: &str) -> Result<bool> {
        Ok(self.optional_boolean(name)?.unwrap_or(false))
    }

    /// A boolean, if there.
    pub(crate) fn optional_boolean(&self, name: &str) -> Result<Option<bool>> {
        let fits = |node: &Node| matches!(node.to_json(self.mode), Ok(Value::Bool(_)));
        self.others(name, fits, "a boolean")?;
        self.get(name)
            .map(|node| match node.to_json(self.mode) {
                Ok(Value::Bool(value)) => Ok(value),
                _ => Err(self.wrong(name, node, "a boolean")),
            })
            .transpose()
    }

    /// A whole number; 0 if missing.
    pub(crate) fn integer(&self, name: &str) -> Result<i64> {
        self.get(name)
            .map_or(Ok(0), |node| match node.to_json(self.mode) {
                Ok(Value::Number(number)) => number
                    .as_i64()
                    .ok_or_else(|| self.wrong(name, node, "a whole number")),
                _ => Err(self.wrong(name, node, "a whole number")),
            })
    }

    /// A mapping's reader, if there.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Reader<'a>>> {
        self.others(name, |node| node.entries().is_some(), "a mapping")?;
        self.get(name).map(|node| self.part(node)).transpose()
    }

    /// The items of a sequence.
    fn items(&self, name: &str) -> Result<&'a [Node]> {
        self.others(name, |node| node.items().is_some(), "a sequence")?;
        let Some(node) = self.get(name) else {
            return Ok(&[]);
        };
        node.items().ok_or_else(|| self.wrong(name, node, "a sequence"))
    }

    /// A sequence of mappings.
    pub(crate) fn list<T>(
        &self,
        name: &str,
        mut read: impl FnMut(Reader<'a>) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.items(name)?
            .iter()
            .map(|item| read(self.part(item)?))
            .collect()
    }

    /// A sequence of strings with their places.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<Text>> {
        self.items(name)?
            .iter()
            .map(|item| {
                Ok(Text {
                    text: self.text(name, item)?,
                    pos: item.pos,
                })
            })
            .collect()
    }

    /// A sequence of strings.
    pub(crate) fn strings(&self, name: &str) -> Result<Vec<String>> {
        self.items(name)?
            .iter()
            .map(|item| self.text(name, item))
            .collect()
    }

    /// A mapping of strings to strings, sorted.
    pub(crate) fn string_map(&self, name: &str) -> Result<BTreeMap<String, String>> {
        self.others(name, |node| node.entries().is_some(), "a mapping")?;
        let Some(node) = self.get(name) else {
            return Ok(BTreeMap::new());
        };
        let entries = node
            .entries()
            .ok_or_else(|| self.wrong(name, node, "a mapping"))?;
        let mut map = BTreeMap::new();
        for entry in entries {
            let key = match entry.key.to_json(self.mode) {
                Ok(Value::String(text)) => text,
                Ok(Value::Null | Value::Array(_) | Value::Object(_)) | Err(_) => {
                    return Err(self.wrong(name, &entry.key, "a string as key"));
                }
                Ok(scalar) => scalar.to_string(),
            };
            map.insert(key, self.text(name, &entry.value)?);
        }
        Ok(map)
    }

    /// The same with the values' places.
    pub(crate) fn located_map(&self, name: &str) -> Result<BTreeMap<String, Text>> {
        let mut places = BTreeMap::new();
        for entry in self.get(name).and_then(Node::entries).unwrap_or_default() {
            if let Some(key) = entry.key.as_text() {
                places.insert(key, entry.value.pos);
            }
        }
        let located = |(key, text): (String, String)| {
            let pos = places.get(key.as_str()).copied().unwrap_or(Pos::NONE);
            (key, Text { text, pos })
        };
        Ok(self.string_map(name)?.into_iter().map(located).collect())
    }

    /// A mapping of strings to booleans.
    pub(crate) fn boolean_map(&self, name: &str) -> Result<BTreeMap<String, bool>> {
        let Some(inner) = self.object(name)? else {
            return Ok(BTreeMap::new());
        };
        inner
            .entries()
            .map(|(key, _)| Ok((key.to_owned(), inner.boolean(key)?)))
            .collect()
    }

    /// The whole mapping as JSON.
    pub(crate) fn value(&self, name: &str) -> Result<Option<Value>> {
        self.get(name)
            .map(|node| {
                node.to_json(self.mode)
                    .map_err(|error| Error::new(error.to_string()).at(self.file, node.pos.line))
            })
            .transpose()
    }
}
