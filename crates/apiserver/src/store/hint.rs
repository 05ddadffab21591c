//! Which labels an object may have, told from eight bytes beside it: who asks for the few objects of one name or owner
//! among thousands need not look into the others.

use std::hash::{Hash as _, Hasher as _};

use fluvial_object::labels::{Operator, Selector};
use rustc_hash::FxHasher;
use serde_json::Value;

/// A trace of each label of an object (a Bloom filter with two bits to a label).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelHint(u64);

impl LabelHint {
    /// The labels are not known: it may have all of them.
    pub const UNKNOWN: Self = Self(u64::MAX);

    /// The traces of an object's labels.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        let Some(labels) = object.pointer("/metadata/labels").and_then(Value::as_object) else {
            return Self(0);
        };
        labels
            .iter()
            .try_fold(0, |all, (key, value)| Some(all | trace(key, value.as_str()?)))
            .map_or(Self::UNKNOWN, Self)
    }

    /// Whether an object may be selected; if not, it certainly is not.
    #[must_use]
    pub fn may_match(self, selector: &Selector) -> bool {
        selector
            .requirements()
            .unwrap_or_default()
            .iter()
            .all(|requirement| {
                let some_value = matches!(
                    requirement.operator(),
                    Operator::Equals | Operator::DoubleEquals | Operator::In
                );
                let key = requirement.key();
                !some_value || requirement.values().any(|value| self.may_have(key, value))
            })
    }

    fn may_have(self, key: &str, value: &str) -> bool {
        let trace = trace(key, value);
        self.0 & trace == trace
    }
}

fn trace(key: &str, value: &str) -> u64 {
    let mut hasher = FxHasher::default();
    (key, value).hash(&mut hasher);
    let hash = hasher.finish();
    1 << (hash >> 58) | 1 << (hash >> 52 & 63)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selector(text: &str) -> Selector {
        Selector::parse(text).unwrap()
    }

    #[test]
    fn what_matches_may_match() {
        for number in 0..200 {
            let name = format!("app-{number}");
            let object = json!({"metadata": {"labels": {"name": name, "owner": "helm", "empty": ""}}});
            let hint = LabelHint::of(&object);
            for text in [
                format!("name={name},owner=helm"),
                format!("name in (other,{name}),owner"),
                "name!=other,empty=".to_owned(),
                "!absent,owner notin (me)".to_owned(),
            ] {
                let selector = selector(&text);
                assert!(
                    selector.matches_object(&object) && hint.may_match(&selector),
                    "{text}"
                );
                assert!(LabelHint::UNKNOWN.may_match(&selector));
            }
        }
    }

    #[test]
    fn most_of_what_does_not_match_is_told() {
        let hints = (0..1_000).map(|number| {
            LabelHint::of(
                &json!({"metadata": {"labels": {"name": format!("app-{number}"), "owner": "helm"}}}),
            )
        });
        let asked = selector("name=app-7,owner=helm");
        let looked_into = hints.filter(|hint| hint.may_match(&asked)).count();
        assert!((1..50).contains(&looked_into), "{looked_into} of 1,000");
        assert!(!LabelHint::of(&json!({"metadata": {}})).may_match(&asked));
    }
}
