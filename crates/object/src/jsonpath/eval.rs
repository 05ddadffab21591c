//! Walking data along the nodes of a template.

use std::cmp::Ordering;

use serde_json::Value;

use super::parse::{Node, Slice};
use super::{JsonPathError, Numbers, Options, error, print};

/// A value found in the data, or one that the template itself holds.
#[derive(Clone, Debug)]
pub(super) enum Item<'a> {
    Data(&'a Value),
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// An element of a string: its bytes, as Go sees it.
    Byte(u8),
}

impl Item<'_> {
    pub(super) fn into_value(self) -> Value {
        match self {
            Item::Data(value) => value.clone(),
            Item::Text(text) => Value::String(text),
            Item::Int(number) => number.into(),
            Item::Float(number) => number.into(),
            Item::Bool(flag) => flag.into(),
            Item::Byte(byte) => byte.into(),
        }
    }

    /// The item as a scalar that compares.
    fn scalar(&self, numbers: Numbers) -> Option<Scalar<'_>> {
        Some(match self {
            Item::Text(text) => Scalar::Text(text),
            Item::Int(number) => Scalar::Int(*number),
            Item::Float(number) => Scalar::Float(*number),
            Item::Bool(flag) => Scalar::Bool(*flag),
            Item::Data(Value::String(text)) => Scalar::Text(text),
            Item::Data(Value::Bool(flag)) => Scalar::Bool(*flag),
            Item::Data(Value::Number(number)) => match number.as_i64() {
                Some(integer) if numbers == Numbers::Typed => Scalar::Int(integer),
                _ => Scalar::Float(number.as_f64()?),
            },
            Item::Data(_) | Item::Byte(_) => return None,
        })
    }
}

enum Scalar<'a> {
    Text(&'a str),
    Int(i64),
    Float(f64),
    Bool(bool),
}

pub(super) fn find<'a>(
    nodes: &'a [Node],
    data: &'a Value,
    options: Options,
) -> Result<Vec<Vec<Item<'a>>>, JsonPathError> {
    let mut walk = Walk {
        nodes,
        options,
        ranges_begun: 0,
        ranges_ended: 0,
        ranges_open: 0,
        last_end: None,
        steps: 0,
    };
    walk.results(0, &[Item::Data(data)])
}

/// Values visited in one evaluation; templates come from users, and `..` within ranges multiplies.
const MAX_STEPS: usize = 10_000_000;

struct Walk<'a> {
    nodes: &'a [Node],
    options: Options,
    ranges_begun: usize,
    ranges_ended: usize,
    ranges_open: usize,
    last_end: Option<usize>,
    steps: usize,
}

type Items<'a> = Vec<Item<'a>>;

impl<'a> Walk<'a> {
    /// Results of the template's parts from `start` on, up to the end of the range that they stand in.
    fn results(&mut self, start: usize, data: &[Item<'a>]) -> Result<Vec<Items<'a>>, JsonPathError> {
        let nodes = self.nodes;
        let mut full = Vec::new();
        let mut at = start;
        while at < nodes.len() {
            let found = self.node(data.to_vec(), &nodes[at])?;
            if self.ranges_ended > 0 && self.ranges_ended <= self.ranges_open {
                self.ranges_ended -= 1;
                self.last_end = Some(at);
                break;
            }
            if self.ranges_begun > 0 {
                self.ranges_begun -= 1;
                self.ranges_open += 1;
                if found.is_empty() {
                    // Nothing to go through, but the end of the range must be found. Like the reference, this
                    // asks nothing for the fields on the way.
                    let nothing: &[Item<'a>] = if self.options.allow_missing {
                        &[]
                    } else {
                        &[Item::Data(&Value::Null)]
                    };
                    self.results(at + 1, nothing)?;
                }
                for item in found {
                    full.extend(self.results(at + 1, &[item])?);
                }
                self.ranges_open -= 1;
                if let Some(end) = self.last_end.filter(|end| *end > at) {
                    at = end;
                }
            } else {
                full.push(found);
            }
            at += 1;
        }
        Ok(full)
    }

    fn list(&mut self, input: Items<'a>, nodes: &'a [Node]) -> Result<Items<'a>, JsonPathError> {
        nodes.iter().try_fold(input, |items, node| self.node(items, node))
    }

    fn node(&mut self, input: Items<'a>, node: &'a Node) -> Result<Items<'a>, JsonPathError> {
        self.steps += 1 + input.len();
        if self.steps > MAX_STEPS {
            return error("template visits too many values");
        }
        let each = |item: Item<'a>| vec![item; input.len()];
        match node {
            Node::List(nodes) => self.list(input, nodes),
            Node::Text(text) => Ok(vec![Item::Text(text.clone())]),
            Node::Int(number) => Ok(each(Item::Int(*number))),
            Node::Float(number) => Ok(each(Item::Float(*number))),
            Node::Bool(flag) => Ok(each(Item::Bool(*flag))),
            Node::Identifier(name) => self.identifier(input, name),
            Node::Field(name) => self.field(&input, name),
            Node::Slice(slice) => slice_of(&input, *slice, self.options.numbers),
            Node::Wildcard => Ok(input.iter().flat_map(children).collect()),
            Node::Recursive => {
                let mut found = Vec::new();
                for item in &input {
                    self.descend(item, &mut found)?;
                }
                Ok(found)
            }
            Node::Union(parts) => {
                let mut found = Vec::new();
                for part in parts {
                    found.extend(self.list(input.clone(), part)?);
                }
                Ok(found)
            }
            Node::Filter {
                left,
                right,
                operator,
            } => self.filter(&input, left, right, operator),
        }
    }

    fn identifier(&mut self, input: Items<'a>, name: &str) -> Result<Items<'a>, JsonPathError> {
        match name {
            "range" => {
                self.ranges_begun += 1;
                Ok(input)
            }
            "end" if self.ranges_open > 0 => {
                self.ranges_ended += 1;
                Ok(Vec::new())
            }
            "end" => error("not in range, nothing to end"),
            _ => error(format!("unrecognized identifier {name}")),
        }
    }

    fn field(&self, input: &[Item<'a>], name: &str) -> Result<Items<'a>, JsonPathError> {
        let found: Items<'a> = input
            .iter()
            .filter_map(|item| match item {
                Item::Data(Value::Object(map)) => map.get(name).map(Item::Data),
                _ => None,
            })
            .collect();
        if found.is_empty() && !input.is_empty() && !self.options.allow_missing {
            return error(format!("{name} is not found"));
        }
        Ok(found)
    }

    fn descend(&mut self, item: &Item<'a>, found: &mut Items<'a>) -> Result<(), JsonPathError> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return error("template visits too many values");
        }
        let children = children(item);
        if !children.is_empty() {
            found.push(item.clone());
            for child in &children {
                self.descend(child, found)?;
            }
        }
        Ok(())
    }

    fn filter(
        &mut self,
        input: &[Item<'a>],
        left: &'a [Node],
        right: &'a [Node],
        operator: &str,
    ) -> Result<Items<'a>, JsonPathError> {
        let mut found = Vec::new();
        for item in input {
            let Item::Data(Value::Array(elements)) = item else {
                return error(format!(
                    "{} is not array or slice and cannot be filtered",
                    print::go_value(item, self.options.numbers)
                ));
            };
            for element in elements {
                let lefts = self.list(vec![Item::Data(element)], left);
                if operator == "exists" {
                    if lefts.is_ok_and(|lefts| !lefts.is_empty()) {
                        found.push(Item::Data(element));
                    }
                    continue;
                }
                let lefts = lefts?;
                let Some(left) = single(&lefts)? else { continue };
                let rights = self.list(vec![Item::Data(element)], right)?;
                let Some(right) = single(&rights)? else { continue };
                if compares(left, operator, right, self.options.numbers)? {
                    found.push(Item::Data(element));
                }
            }
        }
        Ok(found)
    }
}

fn single<'a, 'b>(items: &'b [Item<'a>]) -> Result<Option<&'b Item<'a>>, JsonPathError> {
    match items {
        [] => Ok(None),
        [item] => Ok(Some(item)),
        _ => error("can only compare one element at a time"),
    }
}

fn children<'a>(item: &Item<'a>) -> Items<'a> {
    match item {
        Item::Data(Value::Object(map)) => map.values().map(Item::Data).collect(),
        Item::Data(Value::Array(list)) => list.iter().map(Item::Data).collect(),
        Item::Data(Value::String(text)) => text.bytes().map(Item::Byte).collect(),
        _ => Vec::new(),
    }
}

fn slice_of<'a>(input: &[Item<'a>], slice: Slice, numbers: Numbers) -> Result<Items<'a>, JsonPathError> {
    let mut found = Vec::new();
    for item in input {
        let list = match item {
            Item::Data(Value::Null) => continue,
            Item::Data(Value::Array(list)) => list,
            other => {
                return error(format!(
                    "{} is not array or slice",
                    print::go_type(other, numbers)
                ));
            }
        };
        let length = list.len() as i64;
        let mut start = slice.start.unwrap_or(0);
        if start < 0 {
            start += length;
        }
        let mut end = slice.end.unwrap_or(length);
        if end < 0 || (end == 0 && slice.end_is_derived) {
            end += length;
        }
        if start == end {
            continue;
        }
        let out_of_bounds = |index: i64| {
            error(format!(
                "array index out of bounds: index {index}, length {length}"
            ))
        };
        if !(0..length).contains(&start) {
            return out_of_bounds(start);
        }
        if !(0..=length).contains(&end) {
            return out_of_bounds(end - 1);
        }
        if start > end {
            return error(format!(
                "starting index {start} is greater than ending index {end}"
            ));
        }
        let step = slice.step.unwrap_or(1);
        if step <= 0 {
            return error("step must be > 0");
        }
        let part = &list[start as usize..end as usize];
        found.extend(part.iter().step_by(step as usize).map(Item::Data));
    }
    Ok(found)
}

fn compares(
    left: &Item<'_>,
    operator: &str,
    right: &Item<'_>,
    numbers: Numbers,
) -> Result<bool, JsonPathError> {
    let holds: fn(Ordering) -> bool = match operator {
        "==" => Ordering::is_eq,
        "!=" => Ordering::is_ne,
        "<" => Ordering::is_lt,
        "<=" => Ordering::is_le,
        ">" => Ordering::is_gt,
        ">=" => Ordering::is_ge,
        other => return error(format!("unrecognized filter operator {other}")),
    };
    let (Some(left), Some(right)) = (left.scalar(numbers), right.scalar(numbers)) else {
        return error("invalid type for comparison");
    };
    let ordering = match (left, right) {
        (Scalar::Text(left), Scalar::Text(right)) => left.cmp(right),
        (Scalar::Int(left), Scalar::Int(right)) => left.cmp(&right),
        (Scalar::Float(left), Scalar::Float(right)) => left.total_cmp(&right),
        (Scalar::Bool(left), Scalar::Bool(right)) => {
            if !matches!(operator, "==" | "!=") {
                return error("invalid type for comparison");
            }
            left.cmp(&right)
        }
        _ => return error("incompatible types for comparison"),
    };
    Ok(holds(ordering))
}
