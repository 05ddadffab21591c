//! Field sets that were written under another schema: a type that has become atomic. One that has become granular is
//! treated as if it had always been.

use fluvial_schema::ListType;

use super::path::Step;
use super::set::{Item, Set};
use super::shape::{Form, Shape};

/// The set under today's schema, or `None` if it is the same.
pub(super) fn reconcile(shape: Shape<'_>, set: &Set) -> Option<Set> {
    if matches!(shape, Shape::Deduced) {
        return None;
    }
    below(shape, set)
}

/// Items of a map or list, if any changes.
fn below(shape: Shape<'_>, set: &Set) -> Option<Set> {
    let atom = shape.atom();
    let form = atom.form();
    let mut changed: Option<Set> = None;
    for (at, own) in set.items().iter().enumerate() {
        let child = match (&form, &own.step) {
            (Form::Map(map), Step::Field(name)) => map.field(name),
            (Form::List(list), _) => Some(list.items),
            _ => None,
        };
        let new = child.and_then(|child| item(child, own));
        if new.is_some() && changed.is_none() {
            let mut first = Set::default();
            for item in &set.items()[..at] {
                first.add(item.step.clone(), item.member, item.below.clone());
            }
            changed = Some(first);
        }
        if let Some(out) = &mut changed {
            let (member, below) = new.unwrap_or_else(|| (own.member, own.below.clone()));
            out.add(own.step.clone(), member, below);
        }
    }
    changed
}

fn item(shape: Shape<'_>, item: &Item) -> Option<(bool, Set)> {
    let atomic = match shape.atom().form() {
        Form::Map(map) => map.atomic,
        Form::List(list) => list.relation == ListType::Atomic,
        _ => return None,
    };
    if atomic {
        return (!item.below.is_empty()).then(|| (true, Set::default()));
    }
    below(shape, &item.below).map(|below| (item.member, below))
}
