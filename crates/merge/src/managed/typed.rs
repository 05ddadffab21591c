//! The four walks of server-side apply over typed values: fields of a value, comparison of two,
//! merge of two, and removal of a set of fields.

use std::collections::BTreeMap;

use fluvial_schema::ListType;
use serde_json::{Map, Value};

use super::path::{Step, equal};
use super::set::Set;
use super::shape::{Form, ListShape, MapShape, Shape};

fn field_step(name: &str) -> Step {
    Step::Field(name.into())
}

fn list_of(value: Option<&Value>) -> Option<&Vec<Value>> {
    value.and_then(Value::as_array)
}

fn map_of(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

/// The paths of a value's fields.
pub(super) fn fields(shape: Shape<'_>, value: &Value) -> Set {
    let mut out = Set::default();
    fields_into(shape, value, &mut out);
    out
}

/// Adds the paths below; tells whether the place itself is one.
fn fields_into(shape: Shape<'_>, value: &Value, out: &mut Set) -> bool {
    match shape.atom().for_value(Some(value)).form() {
        Form::Scalar(_) => true,
        Form::Map(map) if map.atomic => true,
        Form::Map(map) => {
            for (key, child) in value.as_object().into_iter().flatten() {
                let mut below = Set::default();
                let (field, declared) = map.look_up(key);
                let own = field.is_none_or(|field| fields_into(field, child, &mut below));
                let empty = child.is_null() || child.as_object().is_some_and(Map::is_empty);
                out.add(field_step(key), own || empty || !declared, below);
            }
            false
        }
        Form::List(list) if list.relation == ListType::Atomic => true,
        Form::List(list) => {
            let mut seen: BTreeMap<Step, Option<&Value>> = BTreeMap::new();
            for item in value.as_array().into_iter().flatten() {
                if let Ok(step) = list.step(item) {
                    seen.entry(step)
                        .and_modify(|first| *first = None)
                        .or_insert(Some(item));
                }
            }
            for (step, item) in seen {
                let mut below = Set::default();
                // Of a duplicate only the place is known.
                if let Some(item) = item {
                    fields_into(list.items, item, &mut below);
                }
                out.add(step, true, below);
            }
            false
        }
        Form::Nothing => false,
    }
}

/// How two values differ.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: Set,
    pub(super) modified: Set,
    pub(super) removed: Set,
}

impl Comparison {
    pub(super) fn without(self, ignored: &Set) -> Comparison {
        Comparison {
            added: self.added.recursive_difference(ignored),
            modified: self.modified.recursive_difference(ignored),
            removed: self.removed.recursive_difference(ignored),
        }
    }

    fn attach(&mut self, step: &Step, change: Option<Change>, below: Comparison) {
        let put = |set: &mut Set, kind: Change, below: Set| {
            let member = change == Some(kind);
            if member || !below.items().is_empty() {
                set.add(step.clone(), member, below);
            }
        };
        put(&mut self.added, Change::Added, below.added);
        put(&mut self.modified, Change::Modified, below.modified);
        put(&mut self.removed, Change::Removed, below.removed);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Added,
    Modified,
    Removed,
}

/// Compares two values.
pub(super) fn compare(shape: Shape<'_>, left: &Value, right: &Value) -> Comparison {
    let mut out = Comparison::default();
    compare_into(shape, Some(left), Some(right), &mut out);
    out
}

fn leaf(left: Option<&Value>, right: Option<&Value>) -> Option<Change> {
    match (left, right) {
        (None, _) => Some(Change::Added),
        (_, None) => Some(Change::Removed),
        (Some(left), Some(right)) if !equal(left, right) => Some(Change::Modified),
        _ => None,
    }
}

/// Adds the changes below a place; tells what happened to the place itself.
fn compare_into(
    shape: Shape<'_>,
    left: Option<&Value>,
    right: Option<&Value>,
    out: &mut Comparison,
) -> Option<Change> {
    let atom = shape.atom();
    let (of_left, of_right) = (atom.for_value(left), atom.for_value(right));
    let form = if right.is_none() {
        of_left
    } else if left.is_none() || of_left.same(&of_right) {
        of_right
    } else {
        // A change of form: what was below goes, then the new form counts.
        let change = compare_form(&of_left.form(), left, right, out);
        let other = compare_form(&of_right.form(), left, right, out);
        return other.unwrap_or_else(|| change.flatten());
    };
    compare_form(&form.form(), left, right, out).unwrap_or(match (left, right) {
        (None, _) => Some(Change::Added),
        (_, None) => Some(Change::Removed),
        _ => None,
    })
}

/// `Some` if the place is a leaf, with its change.
fn compare_form(
    form: &Form<'_>,
    left: Option<&Value>,
    right: Option<&Value>,
    out: &mut Comparison,
) -> Option<Option<Change>> {
    match form {
        Form::Scalar(_) | Form::Nothing => Some(leaf(left, right)),
        Form::List(list) => {
            let (l, r) = (list_of(left), list_of(right));
            let empty = l.is_none_or(Vec::is_empty) && r.is_none_or(Vec::is_empty);
            if list.relation == ListType::Atomic || empty {
                return Some(leaf(left, right));
            }
            compare_lists(list, l, r, out);
            None
        }
        Form::Map(map) => {
            let (l, r) = (map_of(left), map_of(right));
            let empty = l.is_none_or(Map::is_empty) && r.is_none_or(Map::is_empty);
            if map.atomic || empty {
                return Some(leaf(left, right));
            }
            compare_maps(map, l, r, out);
            None
        }
    }
}

fn compare_child(
    shape: Shape<'_>,
    step: &Step,
    left: Option<&Value>,
    right: Option<&Value>,
    out: &mut Comparison,
) {
    let mut below = Comparison::default();
    let change = compare_into(shape, left, right, &mut below);
    out.attach(step, change, below);
}

fn compare_maps(
    shape: &MapShape<'_>,
    left: Option<&Map<String, Value>>,
    right: Option<&Map<String, Value>>,
    out: &mut Comparison,
) {
    let mut visit = |name: &str, left: Option<&Value>, right: Option<&Value>| {
        // Equal children are the rule; skip them before anything is allocated.
        if let (Some(left), Some(right)) = (left, right)
            && left == right
        {
            return;
        }
        let field = shape.field(name).unwrap_or(Shape::Deduced);
        compare_child(field, &field_step(name), left, right, out);
    };
    for (name, value) in left.into_iter().flatten() {
        visit(name, Some(value), right.and_then(|right| right.get(name)));
    }
    for (name, value) in right.into_iter().flatten() {
        if left.is_none_or(|left| !left.contains_key(name)) {
            visit(name, None, Some(value));
        }
    }
}

fn by_step<'v>(shape: &ListShape<'_>, list: Option<&'v Vec<Value>>) -> BTreeMap<Step, Vec<&'v Value>> {
    let mut out: BTreeMap<Step, Vec<&Value>> = BTreeMap::new();
    for item in list.into_iter().flatten() {
        if let Ok(step) = shape.step(item) {
            out.entry(step).or_default().push(item);
        }
    }
    out
}

fn compare_lists(
    shape: &ListShape<'_>,
    left: Option<&Vec<Value>>,
    right: Option<&Vec<Value>>,
    out: &mut Comparison,
) {
    let (left, mut right) = (by_step(shape, left), by_step(shape, right));
    let mut visit = |step: &Step, left: &[&Value], right: &[&Value]| match (left, right) {
        ([] | [_], [] | [_]) => {
            compare_child(
                shape.items,
                step,
                left.first().copied(),
                right.first().copied(),
                out,
            );
        }
        ([_, _, ..], [_, _, ..]) => {
            // Duplicates on both sides count as one atomic value.
            let same = left.len() == right.len() && left.iter().zip(right).all(|(a, b)| equal(a, b));
            if !same {
                out.modified.insert(std::slice::from_ref(step));
            }
        }
        ([_, _, ..], rest) => {
            if let Some(first) = rest.first() {
                compare_child(shape.items, step, None, Some(first), out);
            }
            out.removed.insert(std::slice::from_ref(step));
        }
        (rest, _) => {
            if let Some(first) = rest.first() {
                compare_child(shape.items, step, Some(first), None, out);
            }
            out.added.insert(std::slice::from_ref(step));
        }
    };
    for (step, items) in &left {
        visit(step, items, &right.remove(step).unwrap_or_default());
    }
    for (step, items) in &right {
        visit(step, &[], items);
    }
}

/// Merges `right` over `left`.
pub(super) fn merge(shape: Shape<'_>, left: &Value, right: &Value) -> Value {
    merge_into(shape, Some(left), Some(right)).unwrap_or(Value::Null)
}

fn merge_into(shape: Shape<'_>, left: Option<&Value>, right: Option<&Value>) -> Option<Value> {
    let atom = shape.atom();
    // Where the forms differ, the right one is walked last and wins.
    let form = atom.for_value(if right.is_some() { right } else { left }).form();
    let keep = || right.or(left).cloned();
    match form {
        Form::Scalar(_) | Form::Nothing => keep(),
        Form::List(list) => {
            let (l, r) = (list_of(left), list_of(right));
            let empty = l.is_none_or(Vec::is_empty) && r.is_none_or(Vec::is_empty);
            if list.relation == ListType::Atomic || empty {
                return keep();
            }
            if r.is_none_or(Vec::is_empty) {
                return left.cloned();
            }
            merge_lists(&list, l.map_or(&[], Vec::as_slice), r.map_or(&[], Vec::as_slice))
        }
        Form::Map(map) => {
            let (l, r) = (map_of(left), map_of(right));
            let empty = l.is_none_or(Map::is_empty) && r.is_none_or(Map::is_empty);
            if map.atomic || empty {
                return keep();
            }
            let mut out = Map::new();
            for (name, value) in l.into_iter().flatten() {
                let other = r.and_then(|r| r.get(name));
                let merged = match (other, map.field(name)) {
                    (None, _) => Some(value.clone()),
                    (Some(other), None) => Some(other.clone()),
                    (other, Some(field)) => merge_into(field, Some(value), other),
                };
                out.extend(merged.map(|merged| (name.clone(), merged)));
            }
            for (name, value) in r.into_iter().flatten() {
                if !l.is_some_and(|l| l.contains_key(name)) {
                    out.insert(name.clone(), value.clone());
                }
            }
            (!out.is_empty()).then_some(Value::Object(out))
        }
    }
}

/// Merges lists by item; the right side's order leads, items of the left side alone stay near
/// their neighbours.
fn merge_lists(shape: &ListShape<'_>, left: &[Value], right: &[Value]) -> Option<Value> {
    let steps = |list: &[Value]| list.iter().map(|item| shape.step(item).ok()).collect::<Vec<_>>();
    let (left_steps, right_steps) = (steps(left), steps(right));
    // An item that occurs twice on the left merges with nothing.
    let mut on_left: BTreeMap<&Step, Option<&Value>> = BTreeMap::new();
    for (step, item) in left_steps.iter().zip(left) {
        if let Some(step) = step {
            on_left
                .entry(step)
                .and_modify(|first| *first = None)
                .or_insert(Some(item));
        }
    }
    let on_right: BTreeMap<&Step, usize> = right_steps
        .iter()
        .enumerate()
        .filter_map(|(index, step)| Some((step.as_ref()?, index)))
        .collect();
    let mut shared = right_steps
        .iter()
        .flatten()
        .filter(|step| on_left.contains_key(step));
    let mut next_shared = shared.next();
    let mut merged = vec![false; right.len()];
    let mut out = Vec::with_capacity(left.len().max(right.len()));
    let take = |at: usize, step: &Step| {
        merge_into(
            shape.items,
            on_left.get(step).copied().flatten(),
            Some(&right[at]),
        )
    };
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        let left_step = left_steps.get(l).and_then(Option::as_ref);
        let right_step = right_steps.get(r).and_then(Option::as_ref);
        if l < left.len() && left_step.is_none() {
            l += 1;
            continue;
        }
        if r < right.len() && right_step.is_none() {
            r += 1;
            continue;
        }
        if let (Some(own), Some(other)) = (left_step, right_step) {
            if own == other {
                merged[r] = true;
                out.extend(take(r, other));
                l += 1;
                r += 1;
                next_shared = shared.next();
                continue;
            }
            // A shared item, but not the one whose turn it is.
            if on_right.contains_key(own) && next_shared.is_some_and(|next| next != own) {
                l += 1;
                continue;
            }
        }
        if let Some(own) = left_step {
            match on_right.get(own) {
                None => {
                    out.push(left[l].clone());
                    l += 1;
                    continue;
                }
                Some(at) if merged[*at] => l += 1,
                Some(_) => {}
            }
        }
        if let Some(other) = right_step {
            merged[r] = true;
            out.extend(take(r, other));
            r += 1;
            if next_shared == Some(other) {
                next_shared = shared.next();
            }
        }
    }
    (!out.is_empty()).then_some(Value::Array(out))
}

/// Removes the paths of a set; what becomes empty becomes null.
pub(super) fn remove(shape: Shape<'_>, value: &mut Value, paths: &Set) {
    match shape.atom().for_value(Some(value)).form() {
        Form::Map(map) => {
            let Value::Object(own) = value else {
                *value = Value::Null;
                return;
            };
            own.retain(|name, child| {
                let Some(item) = paths.field(name) else {
                    return true;
                };
                if item.member {
                    return false;
                }
                if !item.below.is_empty() {
                    remove(map.field(name).unwrap_or(Shape::Deduced), child, &item.below);
                }
                true
            });
            if own.is_empty() {
                *value = Value::Null;
            }
        }
        Form::List(list) => {
            let Value::Array(own) = value else {
                *value = Value::Null;
                return;
            };
            own.retain_mut(|child| {
                let step = if list.relation == ListType::Atomic {
                    None
                } else {
                    list.step(child).ok()
                };
                let Some(item) = step.and_then(|step| paths.get(&step)) else {
                    return true;
                };
                if item.member {
                    return false;
                }
                if !item.below.is_empty() {
                    remove(list.items, child, &item.below);
                }
                true
            });
            if own.is_empty() {
                *value = Value::Null;
            }
        }
        Form::Scalar(_) | Form::Nothing => {}
    }
}

/// The set with each declared field that leads to one of its paths added.
pub(super) fn with_named_fields(shape: Option<Shape<'_>>, set: &Set) -> Set {
    let atom = shape.map(Shape::atom).unwrap_or_default();
    let mut out = Set::default();
    for item in set.items() {
        let (mut member, mut below) = (item.member, None);
        match &item.step {
            Step::Field(name) => {
                if let Some(map) = &atom.map {
                    member |= !item.below.items().is_empty() && map.declares(name);
                    below = map.field(name);
                }
            }
            Step::Key(_) => below = atom.list.as_ref().map(|list| list.items),
            Step::Value(_) | Step::Index(_) => {}
        }
        out.add(item.step.clone(), member, with_named_fields(below, &item.below));
    }
    out
}
