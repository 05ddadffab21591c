//! Field sets that were written under another schema: a type has become atomic, or granular.

use std::cell::OnceCell;

use fluvial_schema::ListType;
use serde_json::Value;

use super::path::Step;
use super::set::{Item, Set};
use super::shape::{Form, Shape};
use super::typed;

/// The set under today's schema, or `None` if it is the same.
pub(super) fn reconcile(shape: Shape<'_>, live: &Value, set: &Set) -> Option<Set> {
    if matches!(shape, Shape::Deduced) {
        return None;
    }
    let mut walk = Walk {
        root: shape,
        live,
        fields: OnceCell::new(),
        path: Vec::new(),
    };
    walk.below(shape, set)
}

struct Walk<'a> {
    root: Shape<'a>,
    live: &'a Value,
    /// All fields of the live object, made when first needed.
    fields: OnceCell<Set>,
    path: Vec<Step>,
}

impl<'a> Walk<'a> {
    /// Items of a map or list, if any changes.
    fn below(&mut self, shape: Shape<'a>, set: &Set) -> Option<Set> {
        let atom = shape.atom();
        let form = atom.form();
        let mut changed: Option<Set> = None;
        for (at, item) in set.items().iter().enumerate() {
            let child = match (&form, &item.step) {
                (Form::Map(map), Step::Field(name)) => map.field(name),
                (Form::List(list), _) => Some(list.items),
                _ => None,
            };
            let new = child.and_then(|child| {
                self.path.push(item.step.clone());
                let new = self.item(child, item);
                self.path.pop();
                new
            });
            if new.is_some() && changed.is_none() {
                let mut first = Set::default();
                for item in &set.items()[..at] {
                    first.add(item.step.clone(), item.member, item.below.clone());
                }
                changed = Some(first);
            }
            if let Some(out) = &mut changed {
                let (member, below) = new.unwrap_or_else(|| (item.member, item.below.clone()));
                out.add(item.step.clone(), member, below);
            }
        }
        changed
    }

    fn item(&mut self, shape: Shape<'a>, item: &Item) -> Option<(bool, Set)> {
        let leaf = item.member && item.below.items().is_empty();
        let (atomic, granular) = match shape.atom().form() {
            Form::Map(map) => (map.atomic, !map.atomic),
            Form::List(list) => (
                list.relation == ListType::Atomic,
                list.relation != ListType::Atomic,
            ),
            _ => return None,
        };
        if atomic && !leaf {
            return (!item.below.is_empty()).then(|| (true, Set::default()));
        }
        if granular && leaf {
            let fields = self.fields.get_or_init(|| typed::fields(self.root, self.live));
            let mut here = Some(fields);
            for step in &self.path {
                here = here.and_then(|set| set.get(step)).map(|item| &item.below);
            }
            return here.filter(|set| !set.is_empty()).map(|set| (true, set.clone()));
        }
        self.below(shape, &item.below).map(|below| (item.member, below))
    }
}
