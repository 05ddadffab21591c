//! JSON as a quick look at a schema needs it: exact lists in place of trees, and nothing of what is said to people, which is
//! most of a chart's schema.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// A JSON value. No object has a key twice.
#[derive(Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    List(Box<[Node]>),
    /// Sorted by key.
    Object(Box<[(Box<str>, Node)]>),
}

/// Keywords whose texts say nothing about values.
const SAID: [&str; 3] = ["title", "description", "$comment"];

impl Node {
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_list(&self) -> Option<&[Node]> {
        match self {
            Node::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn as_object(&self) -> Option<&[(Box<str>, Node)]> {
        match self {
            Node::Object(fields) => Some(fields),
            _ => None,
        }
    }

    pub(super) fn as_number(&self) -> Option<&Number> {
        match self {
            Node::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The value of a key, if this is an object that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let fields = self.as_object()?;
        let at = fields.binary_search_by(|(known, _)| (**known).cmp(key));
        at.ok().map(|at| &fields[at].1)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("no finite number"))?;
        Ok(Node::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields: Vec<(Box<str>, Node)> = Vec::new();
        while let Some((key, mut value)) = map.next_entry::<Box<str>, Node>()? {
            if SAID.contains(&&*key) && value.as_str().is_some() {
                value = Node::Text(Box::default());
            }
            fields.push((key, value));
        }
        fields.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        if fields.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(A::Error::custom("a key comes twice"));
        }
        Ok(Node::Object(fields.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_to_people_is_left_out() {
        let read = |text: &str| serde_json::from_str::<Node>(text);
        let node = read(
            r#"{"title": "T", "b": [1, -2, 1.5, null, true, "x"], "a": {"description": {"type": "string"}}}"#,
        )
        .unwrap();
        assert_eq!(node.get("title"), Some(&Node::Text("".into())));
        assert_eq!(node.get("b").and_then(Node::as_list).map(<[Node]>::len), Some(6));
        let property = node.get("a").and_then(|a| a.get("description"));
        assert_eq!(
            property.and_then(|property| property.get("type")?.as_str()),
            Some("string")
        );
        assert!(node.get("c").is_none() && node.get("b").unwrap().get("b").is_none());
        assert!(read(r#"{"a": 1, "b": 2, "a": 3}"#).is_err());
    }
}
