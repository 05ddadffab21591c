//! Walking several trees at once, field by field, and making one of them.
//!
//! The first tree is the destination, which is changed; the others are looked at. Fields come in
//! the order of their names, so that those which the destination lacks are added in that order.
//! What is done with each node is up to a [`Visitor`].

mod fields;
mod items;

use std::sync::Arc;

use fluvial_yaml::{Node, NodeData, ScalarStyle, Style};

use super::{Error, is_null, wrong_kind};
use crate::facts::{SchemaRef, SchemaSet};

/// Where items go that the destination of a list lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListDirection {
    /// Behind those it has.
    #[default]
    Append,
    /// In front of them.
    Prepend,
}

/// What becomes the destination's node.
pub(crate) enum Choice {
    /// Nothing: the node is removed.
    Clear,
    /// The destination's own node.
    Dest,
    /// The destination's own node, the second tree's node replaced by this one.
    DestWith(Node),
    /// A copy of another tree's node; it is walked as the destination then.
    Source(Node),
    /// The same, for a node that takes the place of what other trees have, too.
    Both(Node),
}

/// The nodes at one place; the destination's first.
pub(crate) struct Sources<'s, 'n> {
    pub(crate) dest: Option<&'s Node>,
    pub(crate) others: [Option<&'n Node>; 2],
}

impl<'n> Sources<'_, 'n> {
    /// The second tree's node: the patch, or the original.
    pub(crate) fn origin(&self) -> Option<&'n Node> {
        self.others[0]
    }

    /// The third tree's node.
    pub(crate) fn updated(&self) -> Option<&'n Node> {
        self.others[1]
    }
}

/// Decides what becomes of each node.
pub(crate) trait Visitor {
    /// Brings comments or style into a node before anything is decided.
    fn prepare(&self, _dest: &mut Node, _origin: &Node) {}
    fn map(&self, nodes: &Sources<'_, '_>) -> Result<Choice, Error>;
    fn scalar(&self, nodes: &Sources<'_, '_>) -> Result<Choice, Error>;
    fn list(&self, nodes: &Sources<'_, '_>, associative: bool) -> Result<Choice, Error>;
}

/// What a walk made of a place.
pub(crate) enum Walked {
    /// Nothing is left.
    Nothing,
    /// The destination's node, changed or not.
    Own(Node),
    /// A node from elsewhere, and the style of the node in whose place it comes.
    Other(Node, Option<PlaceStyle>),
}

impl Walked {
    pub(crate) fn into_node(self) -> Option<Node> {
        match self {
            Walked::Nothing => None,
            Walked::Own(node) | Walked::Other(node, _) => Some(node),
        }
    }

    fn own(node: Option<Node>) -> Walked {
        node.map_or(Walked::Nothing, Walked::Own)
    }
}

/// The style of a node, which outlives it: what replaces it in its field is written alike.
#[derive(Clone, Copy)]
pub(crate) struct PlaceStyle {
    pub(crate) scalar: ScalarStyle,
    pub(crate) collection: Style,
    /// Whether the tag is written out.
    pub(crate) tagged: bool,
}

impl PlaceStyle {
    pub(crate) fn of(node: &Node) -> PlaceStyle {
        let mut place = PlaceStyle {
            scalar: ScalarStyle::Plain,
            collection: Style::Block,
            tagged: node.has_explicit_tag() && node.tag() != Some("!"),
        };
        match node.data {
            NodeData::Scalar { style, .. } => place.scalar = style,
            NodeData::Mapping { style, .. } | NodeData::Sequence { style, .. } => place.collection = style,
            NodeData::Alias(_) => {}
        }
        place
    }
}

pub(crate) struct Walker<'v, V> {
    pub(crate) visitor: &'v V,
    pub(crate) infer: bool,
    /// Keys are visited too, for their comments.
    pub(crate) keys: bool,
    pub(crate) direction: ListDirection,
    pub(crate) schemas: &'v Arc<SchemaSet>,
    pub(crate) depth: usize,
    /// Whether the destination's node is the other tree's own: what took the place of something is walked with itself.
    pub(crate) shared: bool,
    /// What was written to nodes that are one with others, in order.
    pub(crate) written: Vec<Node>,
}

const DEPTH: usize = 500;

impl<V: Visitor> Walker<'_, V> {
    pub(crate) fn walk(
        &mut self,
        schema: Option<SchemaRef>,
        dest: Option<Node>,
        others: [Option<&Node>; 2],
    ) -> Result<Walked, Error> {
        if self.depth == DEPTH {
            let place = dest.as_ref().or(others[0]);
            return Err(Error {
                pos: place.map_or(fluvial_yaml::Pos::NONE, |node| node.pos),
                message: format!("exceeded the nesting limit of {DEPTH}"),
            });
        }
        self.depth += 1;
        let result = self.walk_inner(schema, dest, others);
        self.depth -= 1;
        result
    }

    fn walk_inner(
        &mut self,
        schema: Option<SchemaRef>,
        mut dest: Option<Node>,
        others: [Option<&Node>; 2],
    ) -> Result<Walked, Error> {
        let schema = self.schema_at(schema, dest.as_ref(), others);
        let nodes = || {
            [dest.as_ref(), others[0], others[1]]
                .into_iter()
                .flatten()
                .filter(|node| !is_null(node))
        };
        let kind = nodes().next().map(|first| std::mem::discriminant(&first.data));
        if let Some(first) = nodes().next()
            && let Some(node) = nodes().find(|node| Some(std::mem::discriminant(&node.data)) != kind)
        {
            return Err(wrong_kind(first, node));
        }
        let first_kind = nodes().next().map(|first| match first.data {
            NodeData::Mapping { .. } => Kind::Map,
            NodeData::Sequence { .. } => Kind::List,
            NodeData::Scalar { .. } => Kind::Scalar,
            NodeData::Alias(_) => Kind::Alias,
        });
        if let (Some(dest), Some(origin)) = (&mut dest, others[0]) {
            self.visitor.prepare(dest, origin);
        }
        match first_kind {
            // What is empty everywhere is walked as a map.
            Some(Kind::Map) | None => self.walk_map(schema.as_ref(), dest, others),
            Some(Kind::List) => self.walk_list(schema.as_ref(), dest, others),
            Some(Kind::Scalar) => self.walk_scalar(dest, others),
            Some(Kind::Alias) => Ok(Walked::Nothing),
        }
    }

    /// Does a part of the walk with or without a shared node.
    fn sharing<T>(&mut self, shared: bool, walk: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.shared, shared);
        let result = walk(self);
        self.shared = before;
        result
    }

    /// The schema that a comment at the place gives, the one known so far, or the object's.
    fn schema_at(
        &self,
        known: Option<SchemaRef>,
        dest: Option<&Node>,
        others: [Option<&Node>; 2],
    ) -> Option<SchemaRef> {
        let nodes = || [dest, others[0], others[1]].into_iter().flatten();
        let commented = nodes()
            .filter(|node| !is_null(node))
            .find_map(|node| comment_schema(node, self.schemas));
        commented.or(known).or_else(|| {
            nodes().find_map(|node| {
                let version = node.get("apiVersion")?.as_text()?;
                let kind = node.get("kind")?.as_text()?;
                self.schemas.schema_for(version, kind)
            })
        })
    }

    fn walk_scalar(&mut self, dest: Option<Node>, others: [Option<&Node>; 2]) -> Result<Walked, Error> {
        let choice = self.visitor.scalar(&Sources {
            dest: dest.as_ref(),
            others,
        })?;
        Ok(match choice {
            Choice::Clear => Walked::Nothing,
            Choice::Dest | Choice::DestWith(_) => Walked::own(dest),
            Choice::Source(node) | Choice::Both(node) => {
                Walked::Other(node, dest.as_ref().map(PlaceStyle::of))
            }
        })
    }

    fn walk_map(
        &mut self,
        schema: Option<&SchemaRef>,
        dest: Option<Node>,
        others: [Option<&Node>; 2],
    ) -> Result<Walked, Error> {
        let choice = self.visitor.map(&Sources {
            dest: dest.as_ref(),
            others,
        })?;
        let place = dest.as_ref().map(PlaceStyle::of);
        Ok(match (choice, dest) {
            (Choice::Clear, _) | (Choice::Dest | Choice::DestWith(_), None) => Walked::Nothing,
            (Choice::Dest, Some(dest)) => Walked::Own(self.merge_fields(schema, dest, others)?),
            (Choice::DestWith(patch), Some(dest)) => {
                let dest = if self.shared { patch.clone() } else { dest };
                Walked::Own(self.merge_fields(schema, dest, [Some(&patch), None])?)
            }
            (Choice::Source(node), _) => Walked::Other(self.merge_fields(schema, node, others)?, place),
            (Choice::Both(node), _) => {
                let source = node.clone();
                let merged = self.sharing(true, |walker| {
                    walker.merge_fields(schema, node, [Some(&source), None])
                })?;
                Walked::Other(merged, place)
            }
        })
    }

    fn walk_list(
        &mut self,
        schema: Option<&SchemaRef>,
        dest: Option<Node>,
        others: [Option<&Node>; 2],
    ) -> Result<Walked, Error> {
        let associative = match schema {
            Some(schema) => schema.merges_items(),
            None => self.infer && items::is_associative(dest.as_ref(), others),
        };
        let choice = self.visitor.list(
            &Sources {
                dest: dest.as_ref(),
                others,
            },
            associative,
        )?;
        let place = dest.as_ref().map(PlaceStyle::of);
        let mut shared = self.shared;
        let (node, own, source) = match (choice, dest) {
            (Choice::Clear, _) | (Choice::Dest | Choice::DestWith(_), None) => return Ok(Walked::Nothing),
            (Choice::Dest, Some(dest)) => (dest, true, None),
            (Choice::DestWith(patch), Some(_)) if shared => (patch.clone(), true, Some(patch)),
            (Choice::DestWith(patch), Some(dest)) => (dest, true, Some(patch)),
            (Choice::Source(node), _) => (node, false, None),
            (Choice::Both(node), _) => {
                shared = true;
                let source = associative.then(|| node.clone());
                (node, false, source)
            }
        };
        let fresh = associative
            && self.direction == ListDirection::Prepend
            && (node.items().is_some_and(|items| !items.is_empty())
                || others
                    .iter()
                    .flatten()
                    .any(|other| other.items().is_some_and(|items| !items.is_empty())));
        let merged = if !associative {
            Some(node)
        } else if let Some(source) = source {
            self.sharing(shared, |walker| {
                walker.merge_items(schema, node, [Some(&source), None])
            })?
        } else {
            self.merge_items(schema, node, others)?
        };
        // Where items come in front, those of the destination are put behind them in a list that is new.
        let merged = merged.map(|node| {
            if !fresh {
                return node;
            }
            let (pos, twin) = (node.pos, node.twin());
            let mut list = Node::sequence(Vec::new());
            list.pos = pos;
            list.set_twin(twin);
            list.data = match node.data {
                NodeData::Sequence { items, .. } if !own => NodeData::Sequence {
                    items,
                    style: Style::Block,
                },
                data => data,
            };
            list
        });
        Ok(match merged {
            None => Walked::Nothing,
            Some(node) if own => Walked::Own(node),
            Some(node) => Walked::Other(node, place),
        })
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Map,
    List,
    Scalar,
    Alias,
}

/// The schema that a node's line or head comment holds as JSON.
fn comment_schema(node: &Node, schemas: &Arc<SchemaSet>) -> Option<SchemaRef> {
    let comments = node.comments()?;
    let text = [&comments.line, &comments.head]
        .into_iter()
        .find(|text| !text.is_empty())?
        .trim_start_matches('#')
        .trim_start();
    if !text.starts_with('{') {
        return None;
    }
    schemas.inline(&serde_json::from_str(text).ok()?)
}
