//! Rules for objects of any kind, and reading of the fields that all rules look at.

use fluvial_object::{ObjectExt, go};
use serde_json::Value;

use super::{Health, HealthError, Status};

/// A condition as kstatus reads it; absent fields are empty.
pub(super) struct Condition<'a> {
    pub(super) kind: &'a str,
    pub(super) status: &'a str,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
}

impl Condition<'_> {
    pub(super) fn is(&self, kind: &str, status: &str) -> bool {
        self.kind == kind && self.status == status
    }
}

/// The value at `path`, which must be of a type; `None` if a step is absent.
fn typed<'a, T>(
    object: &'a Value,
    path: &[&str],
    want: &str,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Result<Option<T>, HealthError> {
    let field = path.join(".");
    let mistyped = |value: &Value, want: &str| {
        HealthError(format!(
            "looking up {field} from resource: .{} accessor error: {} is of the type {}, expected {want}",
            path.join("."),
            go::plain(value),
            go::type_name(value)
        ))
    };
    let mut value = object;
    for (depth, key) in path.iter().enumerate() {
        let Some(map) = value.as_object() else {
            return Err(mistyped(value, "map[string]interface{}"));
        };
        match map.get(*key) {
            Some(next) => value = next,
            None => return Ok(None),
        }
        // Null on the way counts as absent; as the last value it is of the wrong type.
        if value.is_null() && depth + 1 < path.len() {
            return Ok(None);
        }
    }
    read(value).map(Some).ok_or_else(|| mistyped(value, want))
}

pub(super) fn deletion_and_generation(object: &Value) -> Result<Option<Health>, HealthError> {
    let deleted = typed(
        object,
        &["metadata", "deletionTimestamp"],
        "string",
        Value::as_str,
    )?;
    if deleted.is_some_and(|time| !time.is_empty()) {
        return Ok(Some(Health::new(
            Status::Terminating,
            "",
            "Resource scheduled for deletion",
        )));
    }
    let Some(generation) = typed(object, &["metadata", "generation"], "int64", Value::as_i64)? else {
        return Ok(None);
    };
    let observed = typed(object, &["status", "observedGeneration"], "int64", Value::as_i64)?;
    Ok(observed
        .filter(|observed| *observed != generation)
        .map(|observed| {
            let kind = object.kind();
            Health::in_progress(
                "LatestGenerationNotObserved",
                format!("{kind} generation is {generation}, but latest observed generation is {observed}"),
            )
        }))
}

pub(super) fn conditions(object: &Value) -> Result<Vec<Condition<'_>>, HealthError> {
    let structure = |value: &Value| HealthError(format!("cannot restore struct from: {}", kind_name(value)));
    let status = match object.get("status") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(status)) => status,
        Some(other) => return Err(structure(other)),
    };
    let list = match status.get("conditions") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(other) => {
            return Err(HealthError(format!(
                "cannot restore slice from {}",
                kind_name(other)
            )));
        }
    };
    list.iter()
        .filter(|entry| !entry.is_null())
        .map(|entry| {
            let map = entry.as_object().ok_or_else(|| structure(entry))?;
            let typed = |key: &str, kind: &str| match map.get(key) {
                None | Some(Value::Null) => Ok(""),
                Some(Value::String(text)) => Ok(text.as_str()),
                Some(Value::Number(number)) if !number.is_f64() => {
                    Err(HealthError(format!("cannot convert int64 to {kind}")))
                }
                Some(_) => Err(HealthError("unrecognized type: string".to_owned())),
            };
            let text = |key: &str| typed(key, "string");
            Ok(Condition {
                kind: text("type")?,
                status: typed("status", "v1.ConditionStatus")?,
                reason: text("reason")?,
                message: text("message")?,
            })
        })
        .collect()
}

fn kind_name(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
        other => go::type_name(other),
    }
}

/// `Reconciling` and `Stalled` decide for every kind; of two, the first.
pub(super) fn standard_conditions(conditions: &[Condition<'_>]) -> Option<Health> {
    conditions.iter().find_map(|condition| {
        if condition.is("Reconciling", "True") {
            return Some(Health::in_progress(condition.reason, condition.message));
        }
        condition
            .is("Stalled", "True")
            .then(|| Health::failed(condition.reason, condition.message))
    })
}

/// The last resort: `Ready`. Not ready is under way, not failed.
pub(super) fn ready_condition(conditions: &[Condition<'_>]) -> Health {
    conditions
        .iter()
        .filter(|condition| condition.kind == "Ready")
        .find_map(|condition| match condition.status {
            "True" => Some(Health::current("Resource is Ready")),
            "False" | "Unknown" => Some(Health::in_progress(condition.reason, condition.message)),
            _ => None,
        })
        .unwrap_or_else(|| Health::current("Resource is current"))
}

pub(super) fn definition(conditions: &[Condition<'_>]) -> Health {
    conditions
        .iter()
        .find_map(|condition| {
            let refused = condition.is("NamesAccepted", "False")
                || (condition.is("Established", "False") && condition.reason != "Installing");
            if refused {
                return Some(Health::failed(condition.reason, condition.message));
            }
            condition
                .is("Established", "True")
                .then(|| Health::current("CRD is established"))
        })
        .unwrap_or_else(|| Health::in_progress("Installing", "Install in progress"))
}

/// A whole number at `path`, or a default where there is none.
pub(super) fn integer(object: &Value, path: &[&str], default: i64) -> i64 {
    object.integer_at(path).unwrap_or(default)
}
