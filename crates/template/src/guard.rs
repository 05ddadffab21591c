//! Notices whether templates change what other templates see: then outputs may not be taken over.

use rustc_hash::FxHashMap;

use crate::value::{Map, Value};

/// The tables that templates share, with how often each had been lent for changes.
#[derive(Default)]
pub struct Guard {
    tables: Vec<(Map, u32)>,
    /// Places in `tables` by address.
    known: FxHashMap<usize, usize>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tables", self.tables.len())
    }
}

impl Guard {
    /// Guards a table and those below it, lists between them included. What objects of the host hold is not followed.
    pub fn add(&mut self, table: &Map) {
        let mut waiting = vec![Value::Map(table.clone())];
        while let Some(value) = waiting.pop() {
            match value {
                Value::Map(map) => {
                    let place = self.tables.len();
                    if *self.known.entry(map.address()).or_insert(place) != place {
                        continue;
                    }
                    waiting.extend(map.borrow().values().filter(|value| holds(value)).cloned());
                    let changes = map.changes();
                    self.tables.push((map, changes));
                }
                Value::List(list) => {
                    waiting.extend(list.items().iter().filter(|value| holds(value)).cloned());
                }
                _ => {}
            }
        }
    }

    /// Runs what changes a guarded table without that counting.
    pub fn accept(&mut self, table: &Map, change: impl FnOnce()) {
        let before = table.changes();
        change();
        let known = self.known.get(&table.address()).copied();
        if let Some((table, changes)) = known.and_then(|place| self.tables.get_mut(place)) {
            *changes = changes.wrapping_add(table.changes().wrapping_sub(before));
        }
    }

    /// Whether one of the tables was lent for changes.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.tables
            .iter()
            .any(|(table, changes)| table.changes() != *changes)
    }
}

fn holds(value: &Value) -> bool {
    matches!(value, Value::Map(_) | Value::List(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::List;

    fn table(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Map {
        let map = Map::default();
        let entries = entries.into_iter().map(|(key, value)| (key.into(), value));
        map.borrow_mut().extend(entries);
        map
    }

    #[test]
    fn changes_at_any_depth_are_noticed() {
        let deep = table([]);
        let within = List::any(vec![Value::List(List::any(vec![deep.clone().into()]))]);
        let root = table([("list", within.into()), ("beside", table([]).into())]);
        let mut guard = Guard::default();
        guard.add(&root);
        assert!(!guard.changed());
        guard.accept(&deep, || deep.borrow_mut().clear());
        assert!(!guard.changed());
        deep.borrow_mut().clear();
        assert!(guard.changed());
        guard.accept(&deep, || deep.borrow_mut().clear());
        assert!(guard.changed(), "what was changed before stays changed");
        root.borrow_mut().clear();
        assert!(
            guard.changed(),
            "the tables are kept, whatever becomes of those above"
        );
    }

    #[test]
    fn tables_that_hold_each_other_end() {
        let (one, two) = (table([]), table([]));
        one.borrow_mut().insert("two".into(), two.clone().into());
        two.borrow_mut().insert("one".into(), one.clone().into());
        let mut guard = Guard::default();
        guard.add(&one);
        guard.add(&two);
        assert!(!guard.changed());
        two.borrow_mut().clear();
        assert!(guard.changed());
        one.borrow_mut().clear();
    }

    #[test]
    fn others_may_change() {
        let mut guard = Guard::default();
        guard.add(&table([]));
        let other = table([]);
        other.borrow_mut().clear();
        guard.accept(&other, || other.borrow_mut().clear());
        assert!(!guard.changed());
    }
}
