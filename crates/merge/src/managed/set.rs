//! Sets of field paths, as a tree in the order of the steps.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::path::Step;

/// Managed fields nest no deeper than objects may.
const DEPTH: usize = 256;

/// A set of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    /// Sorted by step, none twice.
    items: Vec<Item>,
}

/// The paths that begin with one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) step: Step,
    /// Whether the path that ends here is in the set.
    pub(super) member: bool,
    /// The paths that go on.
    pub(super) below: Set,
}

impl Set {
    pub(super) fn is_empty(&self) -> bool {
        self.items
            .iter()
            .all(|item| !item.member && item.below.is_empty())
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    pub(super) fn get(&self, step: &Step) -> Option<&Item> {
        let at = self.items.binary_search_by(|item| item.step.cmp(step)).ok()?;
        Some(&self.items[at])
    }

    pub(super) fn field(&self, name: &str) -> Option<&Item> {
        let at = self.items.binary_search_by(|item| match &item.step {
            Step::Field(own) => own.as_ref().cmp(name),
            _ => Ordering::Greater,
        });
        at.ok().map(|at| &self.items[at])
    }

    /// Adds paths below a step.
    pub(super) fn add(&mut self, step: Step, member: bool, below: Set) {
        if !member && below.items.is_empty() {
            return;
        }
        if self.items.last().is_none_or(|last| last.step < step) {
            self.items.push(Item { step, member, below });
            return;
        }
        match self.items.binary_search_by(|item| item.step.cmp(&step)) {
            Ok(at) => {
                let own = &mut self.items[at];
                own.member |= member;
                own.below = std::mem::take(&mut own.below).union(&below);
            }
            Err(at) => self.items.insert(at, Item { step, member, below }),
        }
    }

    /// Adds one path.
    pub(super) fn insert(&mut self, path: &[Step]) {
        let Some((step, rest)) = path.split_first() else {
            return;
        };
        let at = match self.items.binary_search_by(|item| item.step.cmp(step)) {
            Ok(at) => at,
            Err(at) => {
                let item = Item {
                    step: step.clone(),
                    member: false,
                    below: Set::default(),
                };
                self.items.insert(at, item);
                at
            }
        };
        if rest.is_empty() {
            self.items[at].member = true;
        } else {
            self.items[at].below.insert(rest);
        }
    }

    /// Walks two sets side by side.
    fn zip<'a>(&'a self, other: &'a Set, mut each: impl FnMut(Option<&'a Item>, Option<&'a Item>)) {
        let (mut left, mut right) = (self.items.as_slice(), other.items.as_slice());
        loop {
            let order = match (left.first(), right.first()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.step.cmp(&b.step),
            };
            let a = if order.is_le() {
                left.split_off_first()
            } else {
                None
            };
            let b = if order.is_ge() {
                right.split_off_first()
            } else {
                None
            };
            each(a, b);
        }
    }

    pub(super) fn union(mut self, other: &Set) -> Set {
        if self.items.is_empty() {
            return other.clone();
        }
        for item in &other.items {
            match self.items.binary_search_by(|own| own.step.cmp(&item.step)) {
                Ok(at) => {
                    let own = &mut self.items[at];
                    own.member |= item.member;
                    own.below = std::mem::take(&mut own.below).union(&item.below);
                }
                Err(at) => self.items.insert(at, item.clone()),
            }
        }
        self
    }

    fn push(&mut self, step: &Step, member: bool, below: Set) {
        if member || !below.items.is_empty() {
            self.items.push(Item {
                step: step.clone(),
                member,
                below,
            });
        }
    }

    pub(super) fn intersection(&self, other: &Set) -> Set {
        let mut out = Set::default();
        self.zip(other, |a, b| {
            if let (Some(a), Some(b)) = (a, b) {
                out.push(&a.step, a.member && b.member, a.below.intersection(&b.below));
            }
        });
        out
    }

    /// Whether all paths are in the other set.
    pub(super) fn is_subset(&self, other: &Set) -> bool {
        let mut all = true;
        self.zip(other, |a, b| match (a, b) {
            (Some(a), Some(b)) => all &= (!a.member || b.member) && a.below.is_subset(&b.below),
            (Some(a), None) => all &= !a.member && a.below.is_empty(),
            _ => {}
        });
        all
    }

    /// The paths that the other set does not have.
    pub(super) fn difference(&self, other: &Set) -> Set {
        if other.items.is_empty() {
            return self.clone();
        }
        let mut out = Set::default();
        self.zip(other, |a, b| match (a, b) {
            (Some(a), Some(b)) => out.push(&a.step, a.member && !b.member, a.below.difference(&b.below)),
            (Some(a), None) => out.items.push(a.clone()),
            _ => {}
        });
        out
    }

    /// The paths that are neither in the other set nor below one of its paths.
    pub(super) fn recursive_difference(&self, other: &Set) -> Set {
        if other.items.is_empty() {
            return self.clone();
        }
        let mut out = Set::default();
        self.zip(other, |a, b| match (a, b) {
            (Some(_), Some(b)) if b.member => {}
            (Some(a), Some(b)) => out.push(&a.step, a.member, a.below.recursive_difference(&b.below)),
            (Some(a), None) => out.items.push(a.clone()),
            _ => {}
        });
        out
    }

    /// Calls with the text and steps of each path in order.
    pub(super) fn each(&self, path: &mut Vec<Step>, call: &mut dyn FnMut(&[Step])) {
        // Members of a level come before what lies deeper.
        for item in self.items.iter().filter(|item| item.member) {
            path.push(item.step.clone());
            call(path);
            path.pop();
        }
        for item in &self.items {
            path.push(item.step.clone());
            item.below.each(path, call);
            path.pop();
        }
    }

    /// `fieldsV1`.
    pub(super) fn encode(&self) -> Value {
        Value::Object(self.encode_into(false))
    }

    fn encode_into(&self, own: bool) -> Map<String, Value> {
        let mut out = Map::new();
        if own && !self.items.is_empty() {
            out.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for item in &self.items {
            let mut key = String::new();
            item.step.encode(&mut key);
            out.insert(key, Value::Object(item.below.encode_into(item.member)));
        }
        out
    }

    /// Reads `fieldsV1`; steps of unknown kinds are left out.
    pub(super) fn decode(value: &Value) -> Result<Set, String> {
        let Value::Object(map) = value else {
            return Err("fieldsV1 is no object".to_owned());
        };
        Set::decode_map(map, 0)
    }

    fn decode_map(map: &Map<String, Value>, depth: usize) -> Result<Set, String> {
        if depth > DEPTH {
            return Err("fieldsV1 nests too deep".to_owned());
        }
        let mut items = Vec::with_capacity(map.len());
        for (key, value) in map {
            if key == "." {
                continue;
            }
            let Some(step) = decode_step(key)? else { continue };
            let Value::Object(below) = value else {
                return Err(format!("{key} is no object"));
            };
            items.push(Item {
                step,
                member: below.is_empty() || below.contains_key("."),
                below: Set::decode_map(below, depth + 1)?,
            });
        }
        items.sort_by(|a, b| a.step.cmp(&b.step));
        Ok(Set { items })
    }
}

fn decode_step(key: &str) -> Result<Option<Step>, String> {
    let json = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| format!("{key}: {error}"));
    let Some((kind, text)) = key.split_once(':') else {
        return Err(format!("key {key:?} has no kind"));
    };
    Ok(Some(match kind {
        "f" => Step::Field(text.into()),
        "v" => Step::Value(json(text)?),
        "i" => Step::Index(text.parse().map_err(|_| format!("{key} is no index"))?),
        "k" => {
            let Value::Object(map) = json(text)? else {
                return Err(format!("{key} is no key"));
            };
            Step::Key(
                map.into_iter()
                    .map(|(name, value)| (name.into(), value))
                    .collect(),
            )
        }
        _ => return Ok(None),
    }))
}
