//! Conditions of workloads: set only when something changed, with the times that then change.

use serde_json::{Map, Value, json};

/// What a condition says.
pub(super) struct Said<'a> {
    pub(super) kind: &'a str,
    pub(super) status: &'a str,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
}

/// The condition of a type.
pub(super) fn get<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)
}

/// Sets a condition; `updates` names the time field that changes with every text, if there is one.
pub(super) fn set(status: &mut Value, said: &Said<'_>, updates: Option<&str>, now: &str) {
    let old = get(status, said.kind);
    let same = old.is_some_and(|old| {
        old["status"] == said.status
            && old["reason"].as_str().unwrap_or("") == said.reason
            && old["message"].as_str().unwrap_or("") == said.message
    });
    if same {
        return;
    }
    let since = old
        .filter(|old| old["status"] == said.status)
        .map_or_else(|| now.into(), |old| old["lastTransitionTime"].clone());
    let mut condition = Map::new();
    condition.insert("type".into(), said.kind.into());
    condition.insert("status".into(), said.status.into());
    condition.insert("lastTransitionTime".into(), since);
    if let Some(field) = updates {
        condition.insert(field.into(), now.into());
    }
    for (field, text) in [("reason", said.reason), ("message", said.message)] {
        if !text.is_empty() {
            condition.insert(field.into(), text.into());
        }
    }
    let list = conditions(status);
    match list.iter_mut().find(|old| old["type"] == said.kind) {
        Some(old) => *old = condition.into(),
        None => list.push(condition.into()),
    }
}

/// Takes a condition away.
pub(super) fn remove(status: &mut Value, kind: &str) {
    if get(status, kind).is_some() {
        conditions(status).retain(|condition| condition["type"] != kind);
    }
}

fn conditions(status: &mut Value) -> &mut Vec<Value> {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    match &mut status["conditions"] {
        Value::Array(list) => list,
        _ => unreachable!("it was made an array above"),
    }
}

/// Sets a count; zero is left out, as in real statuses.
pub(super) fn count(status: &mut Value, field: &str, number: usize) {
    if number > 0 {
        status[field] = number.into();
    } else if let Some(map) = status.as_object_mut() {
        map.remove(field);
    }
}
