//! Field paths of replacements and variables: `spec.containers.[name=x].image`, `a.0.b`, `a.*.b`.

use fluvial_yaml::{FileId, Limits, Node, NodeData, ReadOptions, ScalarStyle};
use regex::Regex;

use crate::error::{Error, Result};
use crate::nodes::{self, Kind, is_null, text_of};
use crate::transformers::selector::compile;

/// Splits a path at a delimiter; a backslash before it keeps it.
#[must_use]
pub fn split_path(path: &str, delimiter: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let path = path.strip_prefix(delimiter).unwrap_or(path);
    for piece in path.split(delimiter) {
        match parts.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push_str(delimiter);
                last.push_str(piece);
            }
            _ => parts.push(piece.to_owned()),
        }
    }
    parts
}

/// As [`split_path`], but what stands in brackets stays together; brackets without `=` are taken
/// off, since they only quote a key.
#[must_use]
pub fn split_path_with_brackets(path: &str, delimiter: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut pieces = split_path(path, delimiter).into_iter();
    while let Some(piece) = pieces.next() {
        if !piece.starts_with('[') || piece.ends_with(']') {
            parts.push(piece);
            continue;
        }
        let mut joined = piece;
        for more in pieces.by_ref() {
            joined.push_str(delimiter);
            joined.push_str(&more);
            if more.ends_with(']') {
                break;
            }
        }
        if joined.contains('=') {
            parts.push(joined);
        } else {
            parts.push(joined.trim_matches(['[', ']']).to_owned());
        }
    }
    parts
}

/// One part of a path.
enum Step<'a> {
    Index(usize),
    /// `[field=value]`; an empty field means the item itself.
    Match(&'a str, &'a str),
    Every,
    Field(&'a str),
}

fn is_list_index(part: &str) -> bool {
    part.starts_with('[') && part.ends_with(']')
}

fn index_of(part: &str) -> Option<usize> {
    part.strip_prefix('+').unwrap_or(part).parse().ok()
}

fn step(part: &str) -> Result<Step<'_>> {
    if let Some(index) = index_of(part) {
        return Ok(Step::Index(index));
    }
    if is_list_index(part) {
        let inner = part.trim_start_matches('[').trim_end_matches(']');
        let (field, value) = inner.split_once('=').ok_or_else(|| {
            Error::new(format!(
                "list path element must contain fieldName=fieldValue for element to match: '{part}'"
            ))
        })?;
        return Ok(Step::Match(field, value));
    }
    Ok(if part == "*" {
        Step::Every
    } else {
        Step::Field(part)
    })
}

/// What is made for a part, given the one after it.
fn kind_before(next: Option<&String>, last: Kind) -> Kind {
    match next {
        None => last,
        Some(part) if is_list_index(part) || index_of(part).is_some() => Kind::Sequence,
        Some(_) => Kind::Mapping,
    }
}

/// Called with each node found, and whether it was just made.
pub(crate) type Visit<'v> = dyn FnMut(&mut Node, bool) -> Result<()> + 'v;

/// Visits every node that a path leads to, making what is missing if a kind is given; says how
/// many there were.
pub(crate) fn visit(
    node: &mut Node,
    path: &[String],
    create: Option<Kind>,
    set: &mut Visit<'_>,
) -> Result<usize> {
    walk(node, path, create, false, set)
}

fn walk(
    node: &mut Node,
    path: &[String],
    create: Option<Kind>,
    made: bool,
    set: &mut Visit<'_>,
) -> Result<usize> {
    let Some((part, rest)) = path.split_first() else {
        set(node, made)?;
        return Ok(1);
    };
    match step(part)? {
        Step::Field(name) => in_field(node, name, rest, create, made, set),
        Step::Index(at) => {
            let items = nodes::elements_mut(node)?;
            let mut fresh = false;
            if at == items.len()
                && let Some(last) = create
            {
                items.push(kind_before(rest.first(), last).make());
                fresh = true;
            }
            let count = items.len();
            let item = items
                .get_mut(at)
                .ok_or_else(|| Error::new(format!("index {at} specified but only {count} elements found")))?;
            walk(item, rest, create, fresh, set)
        }
        Step::Every => {
            let mut found = 0;
            for item in nodes::elements_mut(node)? {
                found += walk(item, rest, create, false, set)?;
            }
            Ok(found)
        }
        Step::Match(field, value) => matching(node, field, value, rest, create, set),
    }
}

fn in_field(
    node: &mut Node,
    name: &str,
    rest: &[String],
    create: Option<Kind>,
    made: bool,
    set: &mut Visit<'_>,
) -> Result<usize> {
    if is_null(node) && !made {
        // What the reference makes below null is seen by nobody.
        return create.map_or(Ok(0), |last| {
            let mut unseen = kind_before(rest.first(), last).make();
            walk(&mut unseen, rest, create, true, set)
        });
    }
    nodes::expect_kind(node, Kind::Mapping)?;
    if let Some(field) = node.get_mut(name) {
        return match field.as_text() {
            // The rest of the path leads into what the text holds: a copy, which nobody writes back.
            Some(text) if !rest.is_empty() => match parse_text(text)? {
                Some(mut document) => walk(&mut document, rest, create, false, set),
                None => Ok(0),
            },
            // What was made together with its mapping is new as well.
            _ => walk(field, rest, create, made, set),
        };
    }
    let Some(last) = create else {
        return Ok(0);
    };
    if name.is_empty() {
        // The reference takes a field without a name for the mapping itself, which cannot be the value.
        nodes::expect_kind(node, Kind::Scalar)?;
    }
    nodes::put(node, name, kind_before(rest.first(), last).make());
    let Some(field) = node.get_mut(name) else {
        return Ok(0);
    };
    walk(field, rest, create, true, set)
}

/// A node's text as it would be written, for matching.
fn written(node: &Node) -> String {
    match &node.data {
        NodeData::Scalar {
            text,
            style: ScalarStyle::Plain,
        } if node.comments().is_none() => text.trim().to_owned(),
        _ => fluvial_yaml::emit(node, &fluvial_yaml::EmitOptions::default())
            .trim()
            .to_owned(),
    }
}

fn matching(
    node: &mut Node,
    field: &str,
    value: &str,
    rest: &[String],
    create: Option<Kind>,
    set: &mut Visit<'_>,
) -> Result<usize> {
    let pattern = compile(value)?;
    let found = among(
        nodes::elements_mut(node)?,
        (field, &pattern),
        rest,
        create,
        false,
        set,
    )?;
    if found > 0 || create.is_none() {
        return Ok(found);
    }
    let items = nodes::elements_mut(node)?;
    items.push(element(field, value));
    let last = items.len() - 1;
    among(&mut items[last..], (field, &pattern), rest, create, true, set)
}

fn among(
    items: &mut [Node],
    (field, pattern): (&str, &Regex),
    rest: &[String],
    create: Option<Kind>,
    made: bool,
    set: &mut Visit<'_>,
) -> Result<usize> {
    let mut found = 0;
    for item in items {
        if field.is_empty() {
            if pattern.is_match(&written(item)) {
                set(item, made)?;
                found += 1;
            }
            continue;
        }
        if item
            .get(field)
            .is_some_and(|value| pattern.is_match(&written(value)))
        {
            found += walk(item, rest, create, made, set)?;
        }
    }
    Ok(found)
}

/// A text that is read as YAML; nothing if it is empty.
pub(crate) fn parse_text(text: &str) -> Result<Option<Node>> {
    let options = ReadOptions {
        file: FileId::NONE,
        limits: Limits::default(),
    };
    let mut documents =
        fluvial_yaml::parse_documents(text, &options).map_err(|error| Error::new(error.to_string()))?;
    Ok((!documents.is_empty()).then(|| documents.swap_remove(0)))
}

/// The one node that a path leads to, without wildcards, made where it is missing. There is none below null, nor past a
/// list's end.
pub(crate) fn lookup_or_make<'a>(
    node: &'a mut Node,
    path: &[String],
    kind: Kind,
) -> Result<Option<&'a mut Node>> {
    let path: Vec<String> = path
        .iter()
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect();
    let mut here = node;
    for (at, part) in path.iter().enumerate() {
        let next = if let Ok(index) = part.parse::<i64>() {
            let index = usize::try_from(index)
                .map_err(|_| Error::new(format!("array index {index} cannot be negative")))?;
            nodes::expect_kind(here, Kind::Sequence)?;
            here.items_mut().and_then(|items| items.get_mut(index))
        } else if part == "-" {
            nodes::expect_kind(here, Kind::Sequence)?;
            here.items_mut().and_then(|items| items.last_mut())
        } else if part == "*" {
            return Err(Error::new("wildcard is not supported here"));
        } else if is_list_index(part) {
            Some(item_or_make(here, part)?)
        } else if is_null(here) {
            None
        } else {
            let made = kind_before(path.get(at + 1), kind);
            Some(nodes::field_or_create(here, part, made)?)
        };
        match next {
            Some(next) => here = next,
            None => return Ok(None),
        }
    }
    Ok(Some(here))
}

/// The item of a list that a part in brackets names; a new one if there is none.
fn item_or_make<'a>(list: &'a mut Node, part: &str) -> Result<&'a mut Node> {
    let (field, value) = match step(part)? {
        Step::Match(field, value) => (field, value),
        _ => return Err(Error::new(format!("'{part}' names no item of a list"))),
    };
    let items = nodes::elements_mut(list)?;
    let fits = |item: &Node| {
        if field.is_empty() {
            item.as_text() == Some(value)
        } else {
            item.get(field).map(text_of) == Some(value)
        }
    };
    let at = items.iter().position(fits).unwrap_or_else(|| {
        items.push(element(field, value));
        items.len() - 1
    });
    Ok(&mut items[at])
}

fn element(field: &str, value: &str) -> Node {
    if field.is_empty() {
        return Node::plain(value);
    }
    let mut element = Node::mapping(Vec::new());
    nodes::put(&mut element, field, Node::plain(value));
    element
}

/// The one node that a path leads to, without wildcards.
pub(crate) fn lookup<'a>(node: &'a Node, path: &[String]) -> Result<Option<&'a Node>> {
    let mut here = node;
    for part in path
        .iter()
        .map(|part| part.trim())
        .filter(|part| !part.is_empty())
    {
        let next = if let Ok(index) = part.parse::<i64>() {
            let index = usize::try_from(index)
                .map_err(|_| Error::new(format!("array index {index} cannot be negative")))?;
            nodes::expect_kind(here, Kind::Sequence)?;
            here.items().and_then(|items| items.get(index))
        } else if part == "-" {
            nodes::expect_kind(here, Kind::Sequence)?;
            here.items().and_then(<[Node]>::last)
        } else if part == "*" {
            return Err(Error::new("wildcard is not supported here"));
        } else if is_list_index(part) {
            nodes::expect_kind(here, Kind::Sequence)?;
            let Step::Match(field, value) = step(part)? else {
                return Ok(None);
            };
            here.items().unwrap_or_default().iter().find(|item| {
                if field.is_empty() {
                    item.as_text() == Some(value)
                } else {
                    item.get(field).map(text_of) == Some(value)
                }
            })
        } else {
            if is_null(here) {
                return Ok(None);
            }
            nodes::expect_kind(here, Kind::Mapping)?;
            here.get(part)
        };
        match next {
            Some(node) => here = node,
            None => return Ok(None),
        }
    }
    Ok(Some(here))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_keep_their_delimiters() {
        assert_eq!(
            split_path_with_brackets("a.[b=c.d].e", "."),
            ["a", "[b=c.d]", "e"]
        );
        assert_eq!(split_path_with_brackets("a.[b.c].e", "."), ["a", "b.c", "e"]);
        assert_eq!(split_path(r"a\.b.c", "."), ["a.b", "c"]);
    }

    #[test]
    fn missing_parts_are_made_on_request() {
        let mut node = Node::mapping(vec![]);
        let path = split_path_with_brackets("a.[name=x].b", ".");
        let mut made = 0;
        let mut set = |_: &mut Node, fresh: bool| {
            made += usize::from(fresh);
            Ok(())
        };
        assert_eq!(visit(&mut node, &path, None, &mut set).unwrap(), 0);
        assert_eq!(visit(&mut node, &path, Some(Kind::Scalar), &mut set).unwrap(), 1);
        assert_eq!(made, 1);
        // Items that are no mappings have no fields, null takes none, and a field needs a name.
        let mut node = Node::mapping(vec![]);
        nodes::put(&mut node, "a", crate::nodes::Kind::Sequence.make());
        nodes::put(&mut node, "n", Node::plain("null"));
        nodes::elements_mut(node.get_mut("a").unwrap())
            .unwrap()
            .push(Node::plain("1"));
        let mut set = |_: &mut Node, _: bool| Ok(());
        for (path, want) in [("a.[name=x].b", 1), ("n.x", 1), ("n.x.[a=b].c", 1)] {
            let path = split_path_with_brackets(path, ".");
            let found = visit(&mut node, &path, Some(Kind::Scalar), &mut set);
            assert_eq!(found.unwrap(), want);
        }
        assert!(is_null(node.get("n").unwrap()));
        let path = split_path_with_brackets("n2.", ".");
        assert!(visit(&mut node, &path, Some(Kind::Scalar), &mut set).is_err());
        let found = lookup(&node, &split_path_with_brackets("a.[name=x].b", ".")).unwrap();
        assert!(found.is_some());
    }
}
