//! Functions of lists, and lists as sets.

use std::cmp::Ordering;

use super::super::error::Error;
use super::super::library::Function;
use super::super::ops::{compare, equal, function as operator};
use super::super::value::{List, Value};

type Done<'a> = Result<Value<'a>, Error>;

pub(crate) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "isSorted" => is_sorted,
        "sum" => sum,
        "min" => |args| best(args, Ordering::Less, "min"),
        "max" => |args| best(args, Ordering::Greater, "max"),
        "slice" => slice,
        "sort" => |args| {
            let items: Vec<Value<'_>> = list(args, 0)?.iter().collect();
            sort_by(&items, &items)
        },
        "distinct" => |args| {
            let mut out: Vec<Value<'_>> = Vec::new();
            for item in list(args, 0)?.iter() {
                if !out.iter().any(|own| equal(own, &item)) {
                    out.push(item);
                }
            }
            Ok(Value::list(out))
        },
        "flatten" => flatten,
        "lists.range" => |args| match args[0] {
            Value::Int(count) => Ok(Value::list((0..count).map(Value::Int).collect())),
            _ => Err(Error::no_overload()),
        },
        "sets.contains" => |args| Ok(Value::Bool(subset(list(args, 1)?, list(args, 0)?))),
        "sets.equivalent" => |args| {
            let (one, other) = (list(args, 0)?, list(args, 1)?);
            Ok(Value::Bool(subset(one, other) && subset(other, one)))
        },
        "sets.intersects" => |args| {
            let others: Vec<Value<'_>> = list(args, 1)?.iter().collect();
            let common = |item: &Value<'_>| others.iter().any(|other| equal(item, other));
            Ok(Value::Bool(list(args, 0)?.iter().any(|item| common(&item))))
        },
        _ => return None,
    })
}

fn list<'v, 'a>(args: &'v [Value<'a>], at: usize) -> Result<&'v List<'a>, Error> {
    match args.get(at) {
        Some(Value::List(list)) => Ok(list),
        _ => Err(Error::no_overload()),
    }
}

fn subset(part: &List<'_>, whole: &List<'_>) -> bool {
    let all: Vec<Value<'_>> = whole.iter().collect();
    part.iter().all(|item| all.iter().any(|own| equal(own, &item)))
}

fn is_sorted<'a>(args: &[Value<'a>]) -> Done<'a> {
    let mut before: Option<Value<'a>> = None;
    for item in list(args, 0)?.iter() {
        if let Some(before) = &before {
            let ordering = compare(before, &item).ok_or_else(Error::no_overload)?;
            if ordering.is_gt() {
                return Ok(Value::Bool(false));
            }
        }
        before = Some(item);
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(args: &[Value<'a>]) -> Done<'a> {
    let add = operator("_+_").expect("addition is an operator");
    let mut total: Option<Value<'a>> = None;
    for item in list(args, 0)?.iter() {
        if !matches!(
            item,
            Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Duration(_)
        ) {
            return Err(Error::no_overload());
        }
        total = Some(match total {
            None => item,
            Some(total) => add(&[total, item])?,
        });
    }
    Ok(total.unwrap_or(Value::Int(0)))
}

fn best<'a>(args: &[Value<'a>], wanted: Ordering, name: &str) -> Done<'a> {
    let mut best: Option<Value<'a>> = None;
    for item in list(args, 0)?.iter() {
        let better = match &best {
            None => true,
            Some(best) => compare(&item, best).ok_or_else(Error::no_overload)? == wanted,
        };
        if better {
            best = Some(item);
        }
    }
    best.ok_or_else(|| Error::new(format!("{name} called on empty list")))
}

pub(crate) fn index_of<'a>(args: &[Value<'a>]) -> Done<'a> {
    let mut items = list(args, 0)?.iter();
    position(items.position(|item| equal(&item, &args[1])))
}

pub(crate) fn last_index_of<'a>(args: &[Value<'a>]) -> Done<'a> {
    let items: Vec<Value<'a>> = list(args, 0)?.iter().collect();
    position(items.iter().rposition(|item| equal(item, &args[1])))
}

fn position<'a>(at: Option<usize>) -> Done<'a> {
    Ok(Value::Int(at.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1)))
}

pub(crate) fn reverse<'a>(args: &[Value<'a>]) -> Done<'a> {
    let mut items: Vec<Value<'a>> = list(args, 0)?.iter().collect();
    items.reverse();
    Ok(Value::list(items))
}

fn slice<'a>(args: &[Value<'a>]) -> Done<'a> {
    let list = list(args, 0)?;
    let (Value::Int(start), Value::Int(end)) = (&args[1], &args[2]) else {
        return Err(Error::no_overload());
    };
    if *start < 0 || *end < 0 {
        return Err(Error::new(format!(
            "cannot slice({start}, {end}), negative indexes not supported"
        )));
    }
    if start > end {
        return Err(Error::new(format!(
            "cannot slice({start}, {end}), start index must be less than or equal to end index"
        )));
    }
    let (from, to) = (usize::try_from(*start), usize::try_from(*end));
    match (from, to) {
        (Ok(from), Ok(to)) if to <= list.len() => Ok(Value::list(
            (from..to).filter_map(|index| list.get(index)).collect(),
        )),
        _ => Err(Error::new(format!(
            "cannot slice({start}, {end}), list is length {}",
            list.len()
        ))),
    }
}

fn flatten<'a>(args: &[Value<'a>]) -> Done<'a> {
    let depth = match args.get(1) {
        None => 1,
        Some(Value::Int(depth)) if *depth >= 0 => *depth,
        Some(Value::Int(_)) => return Err(Error::new("level must be non-negative")),
        Some(_) => return Err(Error::no_overload()),
    };
    let mut out = Vec::new();
    flatten_into(list(args, 0)?, depth, &mut out);
    Ok(Value::list(out))
}

fn flatten_into<'a>(list: &List<'a>, depth: i64, out: &mut Vec<Value<'a>>) {
    for item in list.iter() {
        match item {
            Value::List(inner) if depth > 0 => flatten_into(&inner, depth - 1, out),
            other => out.push(other),
        }
    }
}

/// Items in the order of their keys.
pub(crate) fn sort_by<'a>(items: &[Value<'a>], keys: &[Value<'a>]) -> Done<'a> {
    if let Some(first) = keys.first()
        && keys.iter().any(|key| compare(first, key).is_none())
    {
        return Err(if compare(first, first).is_none() {
            Error::new(format!(
                "list elements must be comparable, was given {}",
                first.type_name()
            ))
        } else {
            Error::new("list elements must have the same type")
        });
    }
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by(|one, other| compare(&keys[*one], &keys[*other]).unwrap_or(Ordering::Equal));
    Ok(Value::list(
        order.into_iter().map(|at| items[at].clone()).collect(),
    ))
}
