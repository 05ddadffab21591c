//! Field specifications: which field of which kinds a transformer writes.

use std::sync::OnceLock;

use fluvial_yaml::Node;

use crate::budget::MAX_NESTING;
use crate::error::{Error, Result, Within};
use crate::id::Gvk;
use crate::nodes::{self, Kind};

/// A path in objects of some kinds. A sequence on the way stands for each of its elements.
#[derive(Clone, Debug)]
pub(crate) struct FieldSpec {
    /// The kinds that it applies to.
    pub gvk: Gvk,
    /// Field names, split by `/`; `\/` is a slash in a name; a final `[]` says it is a sequence.
    pub path: String,
    /// Whether missing fields are made.
    pub create: bool,
    /// Made when first walked: of the hundreds of built-in fields a build walks few.
    parts: OnceLock<Vec<Part>>,
}

impl PartialEq for FieldSpec {
    fn eq(&self, other: &Self) -> bool {
        (&self.gvk, &self.path, self.create) == (&other.gvk, &other.path, other.create)
    }
}

impl Eq for FieldSpec {}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    name: String,
    sequence: bool,
}

/// What is made where a field is missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Create {
    pub(crate) kind: Kind,
    pub(crate) tag: Option<&'static str>,
}

impl FieldSpec {
    /// A field of some kinds.
    #[must_use]
    pub(crate) fn new(gvk: Gvk, path: &str, create: bool) -> Self {
        FieldSpec {
            gvk,
            path: path.to_owned(),
            create,
            parts: OnceLock::new(),
        }
    }

    /// The same field of the same or wider kinds.
    fn covered_by(&self, other: &FieldSpec) -> bool {
        self.gvk.is_selected_by(&other.gvk) && self.path == other.path
    }

    /// Whether it asks for annotations as they are: the reference keeps records of its own among them.
    pub(crate) fn sees_records(&self) -> bool {
        self.path.trim_start_matches('/') == "metadata/annotations"
    }

    /// The names that the path is made of.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let parts = self.parts.get_or_init(|| split(&self.path));
        parts.iter().map(|part| part.name.as_str())
    }

    /// Those of a list that are for an object's kind.
    pub(crate) fn of_kind<'f>(fields: &'f [FieldSpec], object: &Node) -> Vec<&'f FieldSpec> {
        Self::of_kind_among(fields, object)
    }

    /// The same for any collection of them.
    pub(crate) fn of_kind_among<'f>(
        fields: impl IntoIterator<Item = &'f FieldSpec>,
        object: &Node,
    ) -> Vec<&'f FieldSpec> {
        let kind = nodes::text_at(object, &["kind"]);
        let (group, version) = crate::id::split_api_version(nodes::text_at(object, &["apiVersion"]));
        let fits = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        fields
            .into_iter()
            .filter(|field| {
                let gvk = &field.gvk;
                fits(&gvk.kind, kind) && fits(&gvk.group, group) && fits(&gvk.version, version)
            })
            .collect()
    }

    /// Calls `set` on every node that the path leads to, if the object is of the kind.
    pub(crate) fn apply(
        &self,
        object: &mut Node,
        create: Option<Create>,
        set: &mut dyn FnMut(&mut Node) -> Result<()>,
    ) -> Result<()> {
        if Self::of_kind(std::slice::from_ref(self), object).is_empty() {
            return Ok(());
        }
        self.write(object, create, set)
    }

    /// The same for an object whose kind is known to fit. What is written to a node that is one with others is
    /// written to all.
    pub(crate) fn write(
        &self,
        object: &mut Node,
        create: Option<Create>,
        set: &mut dyn FnMut(&mut Node) -> Result<()>,
    ) -> Result<()> {
        let mut written = Vec::new();
        let mut noting = |node: &mut Node| {
            set(node)?;
            if node.twin() != 0 {
                written.push(node.clone());
            }
            Ok(())
        };
        self.write_one(object, create, &mut noting)?;
        written.iter().for_each(|written| object.write_twins(written));
        Ok(())
    }

    fn write_one(
        &self,
        object: &mut Node,
        create: Option<Create>,
        set: &mut dyn FnMut(&mut Node) -> Result<()>,
    ) -> Result<()> {
        let parts = self.parts.get_or_init(|| split(&self.path));
        if parts.len() > MAX_NESTING {
            return Err(Error::new(format!(
                "a field path may not have more than {MAX_NESTING} parts"
            )));
        }
        self.walk(object, parts, create, set).within(|| {
            format!(
                "considering field '{}' of object {}",
                self.path,
                crate::id::id_of(object)
            )
        })
    }

    fn walk(
        &self,
        node: &mut Node,
        rest: &[Part],
        create: Option<Create>,
        set: &mut dyn FnMut(&mut Node) -> Result<()>,
    ) -> Result<()> {
        let Some((part, after)) = rest.split_first() else {
            return set(node);
        };
        if nodes::is_null(node) {
            return Ok(());
        }
        match Kind::of(node) {
            Kind::Sequence => {
                for item in nodes::elements_mut(node)? {
                    self.walk(item, rest, create, set)?;
                }
                Ok(())
            }
            Kind::Mapping => {
                if part.name.is_empty() {
                    return Err(Error::new("cannot set or create an empty field name"));
                }
                let making = create.filter(|_| self.create && !part.sequence).map(|create| {
                    if after.is_empty() {
                        create
                    } else {
                        Create {
                            kind: Kind::Mapping,
                            tag: Some("!!map"),
                        }
                    }
                });
                let field = match making {
                    Some(create) => nodes::field_or_create(node, &part.name, create.kind)?,
                    None => match node.get_mut(&part.name) {
                        Some(field) => field,
                        None => return Ok(()),
                    },
                };
                if nodes::is_null(field) {
                    match making {
                        Some(create) => nodes::revive(field, create.kind, create.tag),
                        None if part.sequence => nodes::revive(field, Kind::Sequence, None),
                        None => {}
                    }
                }
                self.walk(field, after, create, set)
            }
            Kind::Scalar | Kind::Alias => Err(Error::new(format!(
                "expected sequence or mapping node at '{}'",
                part.name
            ))),
        }
    }
}

/// Splits a path into field names.
fn split(path: &str) -> Vec<Part> {
    let mut names: Vec<String> = Vec::new();
    for piece in path.strip_prefix('/').unwrap_or(path).split('/') {
        match names.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push('/');
                last.push_str(piece);
            }
            _ => names.push(piece.to_owned()),
        }
    }
    names
        .into_iter()
        .map(|name| match name.strip_suffix("[]") {
            Some(bare) => Part {
                name: bare.to_owned(),
                sequence: true,
            },
            None => Part {
                name,
                sequence: false,
            },
        })
        .collect()
}

/// Adds a field to a list unless it is there; fails if the two disagree about making it.
pub(crate) fn merge_one(list: &mut Vec<FieldSpec>, field: FieldSpec) -> Result<()> {
    match list.iter().find(|known| known.covered_by(&field)) {
        Some(known) if known.create != field.create => Err(Error::new(format!(
            "conflicting fieldspecs for path '{}'",
            field.path
        ))),
        Some(_) => Ok(()),
        None => {
            list.push(field);
            Ok(())
        }
    }
}

/// Adds all fields of a list.
pub(crate) fn merge_all(list: &mut Vec<FieldSpec>, others: &[FieldSpec]) -> Result<()> {
    others.iter().try_for_each(|field| merge_one(list, field.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fluvial_yaml::Entry;

    fn any(path: &str, create: bool) -> FieldSpec {
        FieldSpec::new(Gvk::default(), path, create)
    }

    fn entry(key: &str, value: Node) -> Entry {
        Entry {
            key: Node::plain(key),
            value,
        }
    }

    #[test]
    fn sequences_on_the_way_stand_for_their_elements() {
        let item = |text: &str| Node::mapping(vec![entry("image", Node::plain(text))]);
        let mut object = Node::mapping(vec![entry("c", Node::sequence(vec![item("a"), item("b")]))]);
        let mut seen = Vec::new();
        any("c/image", false)
            .apply(&mut object, None, &mut |node| {
                seen.push(nodes::text_of(node).to_owned());
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, ["a", "b"]);
    }

    #[test]
    fn missing_fields_are_made_only_on_request() {
        let create = Some(Create {
            kind: Kind::Mapping,
            tag: Some("!!map"),
        });
        let mut calls = 0;
        let mut object = Node::mapping(vec![entry("metadata", Node::plain("null"))]);
        for field in [any("metadata/labels", false), any("metadata/labels", true)] {
            field
                .apply(&mut object, create, &mut |_| {
                    calls += 1;
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(calls, 1);
        assert!(object.get("metadata").unwrap().get("labels").is_some());
    }

    #[test]
    fn an_escaped_slash_belongs_to_the_name() {
        let names: Vec<String> = split(r"metadata/annotations/a\/b")
            .into_iter()
            .map(|part| part.name)
            .collect();
        assert_eq!(names, ["metadata", "annotations", "a/b"]);
    }

    #[test]
    fn lists_refuse_fields_that_disagree() {
        let mut list = vec![any("a", true)];
        assert!(merge_one(&mut list, any("a", false)).is_err());
        merge_one(&mut list, any("a", true)).unwrap();
        assert_eq!(list.len(), 1);
    }
}
