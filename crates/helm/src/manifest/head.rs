//! What Helm reads of a document: kind, name and annotations. Documents that are written in a simple way are
//! only looked over for it; all others are read whole, and these alone can be wrong.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use fluvial_yaml::simple::{Events, NotSimple, Scalar, Told, scan};
use fluvial_yaml::{Mode, ScalarType, scalar_type};
use serde_json::Value as Json;

use crate::metadata::{Reader, mismatch};
use crate::values::yaml_to_json;

/// What is known of a document.
#[derive(Default, Debug)]
pub(super) struct Head {
    pub(super) kind: String,
    pub(super) name: String,
    annotations: BTreeMap<String, String>,
    /// The whole document, if it had to be read.
    pub(super) object: OnceLock<Json>,
}

impl Head {
    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }

    pub(super) fn policies(&self, name: &str) -> Vec<String> {
        let Some(text) = self.annotation(name) else {
            return Vec::new();
        };
        text.split(',')
            .map(|policy| policy.trim().to_lowercase())
            .collect()
    }
}

/// Reads the head of a document.
pub(super) fn read(document: &str) -> Result<Head, String> {
    if fluvial_template::bytes::is_binary(document) {
        let problem = "error converting YAML to JSON: yaml: invalid leading UTF-8 octet";
        return Err(problem.to_owned());
    }
    let mut glance = Glance::default();
    match scan(document, &mut glance) {
        Ok(()) => Ok(glance.head),
        Err(NotSimple) => whole(document),
    }
}

/// A field of interest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Field {
    #[default]
    Other,
    Version,
    Kind,
    Metadata,
    Name,
    Annotations,
}

const TOP: [(&str, Field); 3] = [
    ("apiVersion", Field::Version),
    ("kind", Field::Kind),
    ("metadata", Field::Metadata),
];
const METADATA: [(&str, Field); 2] = [("name", Field::Name), ("annotations", Field::Annotations)];

/// Collects the head while a document is looked over.
#[derive(Default)]
struct Glance<'t> {
    head: Head,
    /// Collections that are open.
    depth: usize,
    /// The latest key of the document.
    top: Field,
    /// The latest key below that.
    below: Field,
    seen: Vec<Field>,
    annotation: Cow<'t, str>,
}

impl Glance<'_> {
    /// Which field a key is. Those that come twice, or in other letters, are for the whole reader.
    fn field(&mut self, key: &str, fields: &[(&str, Field)]) -> Result<Field, NotSimple> {
        let Some((name, field)) = fields.iter().find(|(name, _)| key.eq_ignore_ascii_case(name)) else {
            return Ok(Field::Other);
        };
        if key != *name || self.seen.contains(field) {
            return Err(NotSimple);
        }
        self.seen.push(*field);
        Ok(*field)
    }

    /// The field that a value at this depth belongs to.
    fn owner(&self) -> Field {
        match (self.depth, self.top) {
            (1, top) => top,
            (2 | 3, Field::Metadata) if self.depth == 2 || self.below == Field::Annotations => self.below,
            _ => Field::Other,
        }
    }
}

/// The text that a scalar is to a reader of strings.
fn text_of(scalar: Scalar<'_>) -> Result<Cow<'_, str>, NotSimple> {
    match scalar {
        Scalar::Quoted(text) => Ok(text),
        Scalar::Plain(text) => match scalar_type(text, Mode::Json) {
            ScalarType::Str | ScalarType::Timestamp => Ok(Cow::Borrowed(text)),
            _ => Err(NotSimple),
        },
        Scalar::Block(block) => block.text().map(Cow::Owned).ok_or(NotSimple),
        Scalar::Missing => Ok(Cow::Borrowed("")),
    }
}

/// Whether a plain scalar may be a number that JSON lacks.
fn is_odd(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
        && text.contains(['e', 'E', 'n', 'N'])
        && scalar_type(text, Mode::Json) == ScalarType::Float
}

impl<'t> Events<'t> for Glance<'t> {
    fn map(&mut self) -> Told {
        let fits = match self.depth {
            // Annotations hold no tables.
            3 => self.owner() != Field::Annotations,
            _ => matches!(self.owner(), Field::Other | Field::Metadata | Field::Annotations),
        };
        self.depth += 1;
        if fits { Ok(()) } else { Err(NotSimple) }
    }

    fn list(&mut self) -> Told {
        let fits = self.depth > 0 && self.owner() == Field::Other;
        self.depth += 1;
        if fits { Ok(()) } else { Err(NotSimple) }
    }

    fn end(&mut self) -> Told {
        self.depth -= 1;
        Ok(())
    }

    fn key(&mut self, key: Scalar<'t>) -> Told {
        let key = text_of(key)?;
        match (self.depth, self.top) {
            (1, _) => {
                self.top = self.field(&key, &TOP)?;
                self.below = Field::Other;
            }
            (2, Field::Metadata) => self.below = self.field(&key, &METADATA)?,
            (3, Field::Metadata) if self.below == Field::Annotations => {
                if self.head.annotations.contains_key(&*key) {
                    return Err(NotSimple);
                }
                self.annotation = key;
            }
            _ => {}
        }
        Ok(())
    }

    fn scalar(&mut self, scalar: Scalar<'t>) -> Told {
        match self.owner() {
            Field::Other => match scalar {
                Scalar::Plain(text) if is_odd(text) => return Err(NotSimple),
                _ => {}
            },
            Field::Version => drop(text_of(scalar)?),
            Field::Kind => self.head.kind = text_of(scalar)?.into_owned(),
            Field::Name => self.head.name = text_of(scalar)?.into_owned(),
            Field::Annotations if self.depth == 3 => {
                let key = std::mem::take(&mut self.annotation).into_owned();
                self.head.annotations.insert(key, text_of(scalar)?.into_owned());
            }
            Field::Metadata | Field::Annotations if scalar == Scalar::Missing => {}
            Field::Metadata | Field::Annotations => return Err(NotSimple),
        }
        Ok(())
    }
}

/// Reads the head of a document by reading all of it.
fn whole(document: &str) -> Result<Head, String> {
    let object = yaml_to_json(document)?;
    let mut head = Head::default();
    match &object {
        Json::Null => {}
        Json::Object(fields) => {
            let reader = Reader {
                fields,
                kind: "SimpleHead",
            };
            let mut version = String::new();
            reader.text("apiVersion", &mut version)?;
            reader.text("kind", &mut head.kind)?;
            match reader.get("metadata") {
                None | Some(Json::Null) => {}
                Some(Json::Object(fields)) => read_metadata(fields, &mut head)?,
                Some(other) => {
                    let kind = "struct { Name string \"json:\\\"name\\\"\"; Annotations map[string]string \
                                \"json:\\\"annotations\\\"\" }";
                    return Err(mismatch(other, "SimpleHead.metadata", kind));
                }
            }
        }
        other => return Err(mismatch(other, "", "util.SimpleHead")),
    }
    head.object = OnceLock::from(object);
    Ok(head)
}

fn read_metadata(fields: &serde_json::Map<String, Json>, head: &mut Head) -> Result<(), String> {
    let reader = Reader {
        fields,
        // Go has no name for the type of this field.
        kind: ".metadata",
    };
    read_annotations(&reader, head)?;
    reader.text("name", &mut head.name)
}

fn read_annotations(reader: &Reader<'_>, head: &mut Head) -> Result<(), String> {
    match reader.get("annotations") {
        None | Some(Json::Null) => Ok(()),
        Some(Json::Object(entries)) => {
            let reader = Reader {
                fields: entries,
                kind: ".metadata.annotations",
            };
            for key in entries.keys() {
                let mut text = String::new();
                reader
                    .text(key, &mut text)
                    .map_err(|error| error.replace(&format!("annotations.{key} of"), "annotations of"))?;
                head.annotations.insert(key.clone(), text);
            }
            Ok(())
        }
        Some(other) => Err(mismatch(other, ".metadata.annotations", "map[string]string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glance(document: &str) -> Option<Head> {
        let mut glance = Glance::default();
        scan(document, &mut glance).ok().map(|()| glance.head)
    }

    #[test]
    fn mistakes_are_told_as_go_tells_them() {
        let error = |document: &str| {
            let error = read(document).unwrap_err();
            error.rsplit("json: ").next().unwrap().to_owned()
        };
        for (document, wanted) in [
            (
                "kind: [a]\n",
                "array into Go struct field SimpleHead.kind of type string",
            ),
            (
                "metadata: {name: []}\n",
                "array into Go struct field .metadata.name of type string",
            ),
            (
                "metadata: {name: [], annotations: {a: {}}}\n",
                "object into Go struct field .metadata.annotations of type string",
            ),
            (
                "metadata: {annotations: true}\n",
                "bool into Go struct field .metadata.annotations of type map[string]string",
            ),
        ] {
            assert_eq!(
                error(document),
                format!("cannot unmarshal {wanted}"),
                "{document}"
            );
        }
    }

    #[test]
    fn a_glance_sees_what_the_whole_reader_sees() {
        for (document, simple) in [
            (
                "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n    x: \"1\"\n    z: b\nspec:\n- a: b\n",
                true,
            ),
            (
                "kind: Pod\nmetadata:\n  labels:\n    name: no\n    annotations: no\n  name: yes-it-is\nname: no\n",
                true,
            ),
            ("kind: Pod\nspec:\n  metadata:\n    name: no\n", true),
            ("kind: \"Pod\"\nmetadata:\n  annotations:\n  name: 'x'\n", true),
            ("kind:\nmetadata:\n", true),
            ("metadata: {}\nkind: A", true),
            ("metadata: {name: b, annotations: {c: d}}\nkind: A", true),
            ("metadata:\n  annotations:\n    x:\n", true),
            (
                "metadata:\n  annotations:\n    x: |\n      text\n  name: m\n",
                true,
            ),
            (
                "metadata:\n  name: m\n  ownerReferences:\n  - name: no\n    annotations:\n      na: na\n",
                true,
            ),
            ("kind: 1\n", false),
            ("Kind: Pod\n", false),
            ("kind: Pod\nkind: Job\n", false),
            ("metadata: text\n", false),
            ("metadata:\n- a\n", false),
            ("metadata:\n  name:\n    a: b\n", false),
            ("metadata:\n  annotations:\n    a: 1\n", false),
            ("metadata:\n  annotations:\n    a:\n      b: c\n", false),
            ("metadata:\n  annotations:\n    a:\n    - c\n", false),
            ("a: .inf\n", false),
            ("null: 1\n", false),
            ("- a\n", false),
            ("a: &b c\nd: *b\n", false),
        ] {
            let seen = glance(document);
            assert_eq!(seen.is_some(), simple, "{document:?}");
            if let Some(seen) = seen {
                let read = whole(document).unwrap();
                assert_eq!(
                    (seen.kind, seen.name, seen.annotations),
                    (read.kind, read.name, read.annotations),
                    "{document:?}"
                );
            }
        }
    }
}
