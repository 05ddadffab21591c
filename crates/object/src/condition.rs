//! Conditions of a status: reading, setting and removing them as Kubernetes controllers do.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be told.
    Unknown,
}

impl ConditionStatus {
    /// The status as text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<bool> for ConditionStatus {
    fn from(value: bool) -> Self {
        if value {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        }
    }
}

/// One entry of `status.conditions` (metav1.Condition).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type, unique in the list.
    #[serde(rename = "type")]
    pub type_: String,
    /// Status.
    pub status: ConditionStatus,
    /// Generation that the condition was set for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the status last changed (RFC 3339).
    #[serde(default)]
    pub last_transition_time: String,
    /// Reason, one camel-case word.
    #[serde(default)]
    pub reason: String,
    /// Message for people.
    #[serde(default)]
    pub message: String,
}

impl Condition {
    /// A condition without a transition time: [`set`] puts it in.
    pub fn new(
        type_: impl Into<String>,
        status: impl Into<ConditionStatus>,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Condition {
            type_: type_.into(),
            status: status.into(),
            observed_generation: None,
            last_transition_time: String::new(),
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// The same, set for a generation.
    #[must_use]
    pub fn for_generation(mut self, generation: i64) -> Self {
        self.observed_generation = Some(generation);
        self
    }
}

/// The raw condition of a type in `status` (the object's status value, not the object).
#[must_use]
pub fn find<'a>(status: &'a Value, type_: &str) -> Option<&'a Value> {
    status
        .get("conditions")?
        .as_array()?
        .iter()
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some(type_))
}

/// The condition of a type in `status`, if it is there and well formed.
#[must_use]
pub fn get(status: &Value, type_: &str) -> Option<Condition> {
    Condition::deserialize(find(status, type_)?).ok()
}

/// Whether the condition of a type is `True`.
#[must_use]
pub fn is_true(status: &Value, type_: &str) -> bool {
    has_status(status, type_, ConditionStatus::True)
}

/// Whether the condition of a type is `False`.
#[must_use]
pub fn is_false(status: &Value, type_: &str) -> bool {
    has_status(status, type_, ConditionStatus::False)
}

fn has_status(status: &Value, type_: &str, want: ConditionStatus) -> bool {
    find(status, type_)
        .and_then(|condition| condition.get("status")?.as_str())
        .is_some_and(|status| status == want.as_str())
}

/// Sets a condition. The transition time is `now` when the status changes and stays otherwise; when nothing
/// but the time would change, nothing does. Says whether anything changed.
pub fn set(status: &mut Value, mut condition: Condition, now: &str) -> bool {
    if condition.last_transition_time.is_empty() {
        condition.last_transition_time = match find(status, &condition.type_) {
            Some(old) if old["status"] == condition.status.as_str() => {
                old["lastTransitionTime"].as_str().unwrap_or(now).to_owned()
            }
            _ => now.to_owned(),
        };
    }
    let value = to_value(&condition);
    let conditions = conditions_mut(status);
    let old = conditions
        .iter_mut()
        .find(|old| old.get("type").and_then(Value::as_str) == Some(&condition.type_));
    match old {
        Some(old) if *old == value => false,
        Some(old) => {
            *old = value;
            true
        }
        None => {
            conditions.push(value);
            true
        }
    }
}

/// Removes the condition of a type; says whether it was there.
pub fn remove(status: &mut Value, type_: &str) -> bool {
    let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) else {
        return false;
    };
    let before = conditions.len();
    conditions.retain(|condition| condition.get("type").and_then(Value::as_str) != Some(type_));
    conditions.len() != before
}

fn to_value(condition: &Condition) -> Value {
    let mut value = json!({
        "type": condition.type_,
        "status": condition.status.as_str(),
        "lastTransitionTime": condition.last_transition_time,
        "reason": condition.reason,
        "message": condition.message,
    });
    if let Some(generation) = condition.observed_generation {
        value["observedGeneration"] = generation.into();
    }
    value
}

fn conditions_mut(status: &mut Value) -> &mut Vec<Value> {
    if !status.is_object() {
        *status = json!({});
    }
    let conditions = &mut status["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    conditions.as_array_mut().expect("made a list above")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: &str = "2026-01-01T00:00:00Z";
    const LATE: &str = "2026-01-02T00:00:00Z";

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut status = Value::Null;
        assert!(set(&mut status, Condition::new("Ready", true, "A", "m"), EARLY));
        assert!(!set(&mut status, Condition::new("Ready", true, "A", "m"), LATE));
        assert!(set(&mut status, Condition::new("Ready", true, "B", "m"), LATE));
        assert_eq!(
            get(&status, "Ready").map(|c| c.last_transition_time),
            Some(EARLY.into())
        );
        assert!(set(
            &mut status,
            Condition::new("Ready", false, "B", "m").for_generation(3),
            LATE
        ));
        let ready = get(&status, "Ready").expect("set above");
        assert_eq!(
            (ready.last_transition_time.as_str(), ready.observed_generation),
            (LATE, Some(3))
        );
        assert!(is_false(&status, "Ready") && !is_true(&status, "Ready"));
    }

    #[test]
    fn a_removed_condition_is_gone() {
        let mut status = json!({"conditions": [{"type": "Stalled", "status": "True"}]});
        assert!(remove(&mut status, "Stalled"));
        assert!(!remove(&mut status, "Stalled"));
        assert_eq!(find(&status, "Stalled"), None);
    }
}
