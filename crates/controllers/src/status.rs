//! Writing status: the smallest merge patch, and none when nothing changed.

use serde::Serialize;
use serde_json::{Map, Value};

/// The merge patch that turns one status into another; `None` when they are equal.
pub fn patch<S: Serialize + PartialEq>(old: &S, new: &S) -> Option<Value> {
    if old == new {
        return None;
    }
    let (old, new) = (to_value(old), to_value(new));
    difference(&old, &new).map(|status| Value::Object(Map::from_iter([("status".to_owned(), status)])))
}

fn to_value(status: &impl Serialize) -> Value {
    serde_json::to_value(status).expect("a status has text keys and finite numbers")
}

/// RFC 7386: objects are compared field by field, everything else as a whole.
fn difference(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(fresh)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut changes = Map::new();
    for key in old.keys().filter(|key| !fresh.contains_key(*key)) {
        changes.insert(key.clone(), Value::Null);
    }
    for (key, value) in fresh {
        let change = match old.get(key) {
            Some(before) => difference(before, value),
            None => Some(value.clone()),
        };
        if let Some(change) = change {
            changes.insert(key.clone(), change);
        }
    }
    (!changes.is_empty()).then_some(Value::Object(changes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_changed_is_written() {
        let old = json!({"a": 1, "artifact": {"digest": "x", "size": 3}, "gone": true, "list": [1]});
        let new = json!({"a": 1, "artifact": {"digest": "y", "size": 3}, "list": [1, 2]});
        assert_eq!(
            patch(&old, &new),
            Some(json!({"status": {"artifact": {"digest": "y"}, "gone": null, "list": [1, 2]}}))
        );
        assert_eq!(patch(&new, &new), None);
    }
}
