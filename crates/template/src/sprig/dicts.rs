//! Maps.

use std::collections::{BTreeMap, BTreeSet};

use crate::function::{FunctionResult, Functions, Params, Type};
use crate::value::{List, Map, Value};

use super::cast::to_text;
use super::text_at;

/// How deep copies and merges go: `set` can tie a map into itself.
const MAX_DEPTH: usize = 1000;

pub(super) fn register(functions: &mut Functions) {
    let map_and_key = || Params::fixed(&[Type::Map, Type::Str]);
    functions.pure("dict", Params::variadic(&[], Type::Any), dict);
    functions.pure("get", map_and_key(), |v| {
        Ok(map_at(v, 0).get(text_at(v, 1)).unwrap_or_else(|| Value::from("")))
    });
    functions.pure("set", Params::fixed(&[Type::Map, Type::Str, Type::Any]), |v| {
        if v[0].is_nil() {
            return Err("assignment to entry in nil map".into());
        }
        let map = map_at(v, 0);
        if map.is_nil() {
            return Err("assignment to entry in nil map".into());
        }
        let value = if v[2].is_nil() {
            Value::NilInterface
        } else {
            v[2].clone()
        };
        map.borrow_mut().insert(text_at(v, 1).into(), value);
        Ok(map.into())
    });
    functions.pure("unset", map_and_key(), |v| {
        let map = map_at(v, 0);
        map.borrow_mut().remove(text_at(v, 1));
        Ok(map.into())
    });
    functions.pure("hasKey", map_and_key(), |v| {
        Ok(map_at(v, 0).borrow().contains_key(text_at(v, 1)).into())
    });
    functions.pure("pluck", Params::variadic(&[Type::Str], Type::Map), |v| {
        let found = (1..v.len()).filter_map(|index| map_at(v, index).get(text_at(v, 0)));
        Ok(List::any(found.collect()).into())
    });
    functions.pure("keys", Params::variadic(&[], Type::Map), |v| {
        let mut keys = Vec::new();
        for index in 0..v.len() {
            keys.extend(map_at(v, index).borrow().keys().cloned());
        }
        Ok(List::strings(keys).into())
    });
    functions.pure("values", Params::fixed(&[Type::Map]), |v| {
        Ok(List::any(map_at(v, 0).borrow().values().cloned().collect()).into())
    });
    functions.pure("pick", Params::variadic(&[Type::Map], Type::Str), |v| {
        Ok(selected(v, true).into())
    });
    functions.pure("omit", Params::variadic(&[Type::Map], Type::Str), |v| {
        Ok(selected(v, false).into())
    });
    for (name, must, overwrite) in [
        ("merge", "mustMerge", false),
        ("mergeOverwrite", "mustMergeOverwrite", true),
    ] {
        let body: fn(&[Value]) -> FunctionResult = if overwrite {
            |v| merge_all(v, true)
        } else {
            |v| merge_all(v, false)
        };
        functions.pure(name, Params::variadic(&[Type::Map], Type::Map), body);
        functions.alias(must, name);
    }
    functions.pure("dig", Params::variadic(&[], Type::Any), dig);
    functions.pure("deepCopy", Params::fixed(&[Type::Any]), |v| {
        if v[0].is_nil() {
            return Err("reflect: call of reflect.Value.Type on zero Value".into());
        }
        Ok(deep_copy(&v[0], 0)?)
    });
    functions.alias("mustDeepCopy", "deepCopy");
}

fn as_map(value: &Value) -> Option<Map> {
    match value {
        Value::Map(map) => Some(map.clone()),
        Value::Object(object) => object.as_map(),
        _ => None,
    }
}

fn map_at(values: &[Value], index: usize) -> Map {
    match values.get(index) {
        Some(Value::Map(map)) => map.clone(),
        Some(Value::Object(object)) => object.as_map().unwrap_or_default(),
        _ => Map::default(),
    }
}

fn dict(values: &[Value]) -> FunctionResult {
    let mut entries = BTreeMap::new();
    for pair in values.chunks(2) {
        let value = match pair.get(1) {
            None => Value::from(""),
            Some(value) if value.is_nil() => Value::NilInterface,
            Some(value) => value.clone(),
        };
        entries.insert(to_text(&pair[0]).into(), value);
    }
    Ok(Map::new(entries).into())
}

fn selected(values: &[Value], keep: bool) -> Map {
    let names: BTreeSet<&str> = values[1..].iter().filter_map(Value::as_str).collect();
    let map = map_at(values, 0);
    let entries = map.borrow();
    Map::new(
        entries
            .iter()
            .filter(|(key, _)| names.contains(&***key) == keep)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}

fn merge_all(values: &[Value], overwrite: bool) -> FunctionResult {
    let target = map_at(values, 0);
    for index in 1..values.len() {
        merge(&target, &map_at(values, index), overwrite, 0)?;
    }
    Ok(target.into())
}

/// Merges as `mergo` does: maps deeply; other values only where the target's is empty, or, when
/// overwriting, always. Nil counts for nothing unless it overwrites.
fn merge(target: &Map, source: &Map, overwrite: bool, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("maps nest deeper than {MAX_DEPTH}"));
    }
    if target.same(source) {
        return Ok(());
    }
    let entries: Vec<_> = source
        .borrow()
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for (key, value) in entries {
        let present = target.get(&key);
        if let (Some(inner), Some(other)) = (present.as_ref().and_then(as_map), as_map(&value)) {
            merge(&inner, &other, overwrite, depth + 1)?;
            continue;
        }
        let replace = match &present {
            _ if value.is_nil() => overwrite,
            None => true,
            Some(old) => overwrite || is_empty(old),
        };
        if replace {
            target.borrow_mut().insert(key, value);
        }
    }
    Ok(())
}

/// Empty as `mergo` judges: zero values, nil, and collections without items.
fn is_empty(value: &Value) -> bool {
    !value.truth()
}

fn deep_copy(value: &Value, depth: usize) -> Result<Value, String> {
    if depth > MAX_DEPTH {
        return Err(format!("values nest deeper than {MAX_DEPTH}"));
    }
    Ok(match value {
        Value::Map(map) => {
            let mut copy = BTreeMap::new();
            for (key, value) in map.borrow().iter() {
                copy.insert(key.clone(), deep_copy(value, depth + 1)?);
            }
            let mut copied = Map::new(copy);
            copied.element = map.element;
            copied.type_name = map.type_name;
            Value::Map(copied)
        }
        Value::List(list) => {
            let items: Result<Vec<Value>, String> = list
                .items()
                .iter()
                .map(|item| deep_copy(item, depth + 1))
                .collect();
            let copy = List::of(list.element, items?);
            Value::List(if list.is_nil() { copy.or_nil() } else { copy })
        }
        other => other.clone(),
    })
}

/// `dig "a" "b" default map`: the value at a path, or the default where the path ends early.
fn dig(values: &[Value]) -> FunctionResult {
    if values.len() < 3 {
        return Err("dig needs at least three arguments".into());
    }
    let (path, tail) = values.split_at(values.len() - 2);
    let mut here = match &tail[1] {
        Value::Map(map) => map.clone(),
        other => return Err(conversion(other).into()),
    };
    for (index, key) in path.iter().enumerate() {
        let key = key.as_str().ok_or_else(|| {
            format!(
                "interface conversion: interface {{}} is {}, not string",
                key.type_name()
            )
        })?;
        let found = here.get(key);
        let Some(value) = found else {
            return Ok(tail[0].clone());
        };
        if index + 1 == path.len() {
            return Ok(value);
        }
        here = match value {
            Value::Map(map) => map,
            other => return Err(conversion(&other).into()),
        };
    }
    Ok(here.into())
}

fn conversion(value: &Value) -> String {
    let have = match value {
        Value::Nil | Value::NilInterface => "nil".to_owned(),
        other => other.type_name(),
    };
    format!("interface conversion: interface {{}} is {have}, not map[string]interface {{}}")
}
