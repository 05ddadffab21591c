//! What jobs say of failures, successes and indexes.

use std::collections::BTreeSet;

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::{Value, json};

use super::common::{
    Errors, duplicate, go_struct, invalid, is_empty, items, named, not_negative, one_of, required, text,
};
use crate::names;

/// Most pods of a job with indexes.
const INDEXES: i64 = 100_000;
/// Most of them at once, and most that may fail, where there are more.
const AT_ONCE: i64 = 10_000;

/// Checks what is beyond a job's plain numbers.
pub(super) fn policies(spec: &Value, path: &str, errors: &mut Errors) {
    per_index(spec, path, errors);
    if let Some(by) = spec["managedBy"].as_str() {
        managed_by(by, &format!("{path}.managedBy"), errors);
    }
    let mode = &spec["completionMode"];
    let allowed = ["NonIndexed", "Indexed"];
    one_of(mode, &allowed, format!("{path}.completionMode"), errors);
    let indexed = mode == "Indexed";
    if indexed {
        index_bounds(spec, path, errors);
    } else if mode.is_null() || mode == "NonIndexed" {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if !spec[field].is_null() {
                let detail = "requires indexed completion mode";
                errors.push(invalid(format!("{path}.{field}"), spec[field].clone(), detail));
            }
        }
    }
    if !spec["podFailurePolicy"].is_null() {
        failure(spec, &format!("{path}.podFailurePolicy"), errors);
    }
    success(spec, indexed, &format!("{path}.successPolicy"), errors);
    let allowed: &[&str] = if spec["podFailurePolicy"].is_null() {
        &["Failed", "TerminatingOrFailed"]
    } else {
        &["Failed"]
    };
    let at = format!("{path}.podReplacementPolicy");
    one_of(&spec["podReplacementPolicy"], allowed, at, errors);
}

/// Who brings a job forward in the place of the usual controller.
fn managed_by(by: &str, path: &str, errors: &mut Errors) {
    if by.is_empty() {
        errors.push(required(path, ""));
    } else if !is_prefixed(by) {
        let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.push(invalid(path, by, detail));
    }
    if by.len() > 63 {
        let detail = "may not be more than 63 bytes";
        errors.push(FieldError::plain(ErrorKind::TooLong, path, detail));
    }
}

/// How many indexes there may be at once, and may fail.
fn index_bounds(spec: &Value, path: &str, errors: &mut Errors) {
    let number = |field: &str| spec[field].as_i64();
    let (completions, failed) = (number("completions"), number("maxFailedIndexes"));
    let parallel = number("parallelism").unwrap_or(0);
    if completions.is_none() {
        errors.push(required(
            format!("{path}.completions"),
            "when completion mode is Indexed",
        ));
    }
    let many = completions.is_some_and(|most| most > INDEXES) && !spec["backoffLimitPerIndex"].is_null();
    let mut missing = vec![];
    if many && failed.is_none() {
        let detail = format!("must be specified when completions is above {INDEXES}");
        missing.push(required(format!("{path}.maxFailedIndexes"), &detail));
    }
    let mut wrong = |field: &str, detail: String| {
        errors.push(invalid(format!("{path}.{field}"), spec[field].clone(), detail));
    };
    if parallel > INDEXES {
        let detail = format!("must be less than or equal to {INDEXES} when completion mode is Indexed");
        wrong("parallelism", detail);
    }
    if completions.is_some_and(|most| failed.is_some_and(|failed| failed > most)) {
        wrong(
            "maxFailedIndexes",
            "must be less than or equal to completions".to_owned(),
        );
    }
    if failed.is_some_and(|failed| failed > INDEXES) {
        wrong(
            "maxFailedIndexes",
            format!("must be less than or equal to {INDEXES}"),
        );
    }
    let detail = format!(
        "must be less than or equal to {AT_ONCE} when completions are above {INDEXES} and used with backoff limit per \
         index"
    );
    if many && parallel > AT_ONCE {
        wrong("parallelism", detail.clone());
    }
    if many && failed.is_some_and(|failed| failed > AT_ONCE) {
        wrong("maxFailedIndexes", detail);
    }
    errors.extend(missing);
}

fn is_prefixed(text: &str) -> bool {
    text.split_once('/')
        .is_some_and(|(domain, rest)| !rest.is_empty() && names::subdomain(domain).is_empty())
}

fn per_index(spec: &Value, path: &str, errors: &mut Errors) {
    for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
        not_negative(spec, field, path, errors);
    }
    if !spec["maxFailedIndexes"].is_null() && spec["backoffLimitPerIndex"].is_null() {
        let detail = "when maxFailedIndexes is specified";
        errors.push(required(format!("{path}.backoffLimitPerIndex"), detail));
    }
}

fn failure(spec: &Value, path: &str, errors: &mut Errors) {
    let template = &spec["template"]["spec"];
    let containers: BTreeSet<&str> = items(template, "containers")
        .chain(items(template, "initContainers"))
        .map(|(_, container)| text(container, "name"))
        .collect();
    for (index, rule) in items(&spec["podFailurePolicy"], "rules") {
        let path = format!("{path}.rules[{index}]");
        let action = &rule["action"];
        if is_empty(action) {
            let detail = "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]";
            errors.push(required(format!("{path}.action"), detail));
        } else {
            let allowed = ["Count", "FailIndex", "FailJob", "Ignore"];
            one_of(action, &allowed, format!("{path}.action"), errors);
        }
        if action == "FailIndex" && spec["backoffLimitPerIndex"].is_null() {
            let detail = "requires the backoffLimitPerIndex to be set";
            errors.push(invalid(format!("{path}.action"), "FailIndex", detail));
        }
        let (codes, conditions) = (&rule["onExitCodes"], &rule["onPodConditions"]);
        if !codes.is_null() {
            exit_codes(codes, &containers, &format!("{path}.onExitCodes"), errors);
        }
        for (index, condition) in items(rule, "onPodConditions") {
            let path = format!("{path}.onPodConditions[{index}]");
            let kind = text(condition, "type");
            named(kind, names::qualified_name, &format!("{path}.type"), errors);
            let allowed = ["False", "True", "Unknown"];
            one_of(&condition["status"], &allowed, format!("{path}.status"), errors);
        }
        let what = match (codes.is_null(), is_empty(conditions)) {
            (true, true) => "specifying one of OnExitCodes and OnPodConditions is required",
            (false, false) => "specifying both OnExitCodes and OnPodConditions is not supported",
            _ => continue,
        };
        errors.push(go_struct(ErrorKind::Invalid, path, what, ""));
    }
}

fn exit_codes(codes: &Value, containers: &BTreeSet<&str>, path: &str, errors: &mut Errors) {
    let operator = text(codes, "operator");
    if operator.is_empty() {
        let detail = "valid values: [\"In\" \"NotIn\"]";
        errors.push(required(format!("{path}.operator"), detail));
    } else {
        let allowed = ["In", "NotIn"];
        one_of(&codes["operator"], &allowed, format!("{path}.operator"), errors);
    }
    if let Some(name) = codes["containerName"].as_str()
        && !containers.contains(name)
    {
        let detail = "must be one of the container or initContainer names in the pod template";
        errors.push(invalid(format!("{path}.containerName"), name, detail));
    }
    let at = format!("{path}.values");
    let values: Vec<i64> = items(codes, "values")
        .filter_map(|(_, value)| value.as_i64())
        .collect();
    if values.is_empty() {
        let shown = if codes["values"].is_array() {
            json!([])
        } else {
            Value::Null
        };
        errors.push(invalid(at, shown, "at least one value is required"));
        return;
    }
    if values.len() > 255 {
        let detail = "must have at most 255 items";
        errors.push(FieldError::new(
            ErrorKind::TooMany,
            at,
            values.len().into(),
            detail,
        ));
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, value) in values.iter().enumerate() {
        let at = format!("{at}[{index}]");
        if *value == 0 && operator == "In" {
            errors.push(invalid(at.clone(), 0, "must not be 0 for the In operator"));
        }
        if !seen.insert(value) {
            errors.push(duplicate(at, *value));
        }
    }
    if !values.is_sorted() {
        errors.push(invalid(at, json!(values), "must be ordered"));
    }
}

/// The number of indexes that a text names.
fn indexes(text: &str, completions: i64) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let mut count = 0;
    let mut last = -1;
    for part in text.split(',') {
        let number = |text: &str| {
            let parsed: i64 = text
                .parse()
                .map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
            if parsed >= completions {
                return Err(format!("too large index: {text:?}"));
            }
            Ok(parsed)
        };
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high) = (number(low)?, number(high)?);
        if low > high || low <= last {
            return Err(format!("non-increasing order, previous: {last}, current: {low}"));
        }
        count += high - low + 1;
        last = high;
    }
    Ok(count)
}

fn success(spec: &Value, indexed: bool, path: &str, errors: &mut Errors) {
    let policy = &spec["successPolicy"];
    if policy.is_null() {
        return;
    }
    if !indexed {
        let rules = items(policy, "rules").map(|(_, rule)| {
            format!(
                "{{\"SucceededIndexes\":{},\"SucceededCount\":{}}}",
                rule["succeededIndexes"], rule["succeededCount"]
            )
        });
        let rules = if policy["rules"].is_array() {
            format!("[{}]", rules.collect::<Vec<_>>().join(","))
        } else {
            "null".to_owned()
        };
        let shown = format!("{{\"Rules\":{rules}}}");
        let detail = "requires indexed completion mode";
        errors.push(go_struct(ErrorKind::Invalid, path, &shown, detail));
        return;
    }
    if is_empty(&policy["rules"]) {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.push(required(format!("{path}.rules"), detail));
    }
    let completions = spec["completions"].as_i64().unwrap_or(0);
    for (index, rule) in items(policy, "rules") {
        let path = format!("{path}.rules[{index}]");
        let (given, count) = (rule["succeededIndexes"].as_str(), rule["succeededCount"].as_i64());
        if given.is_none() && count.is_none() {
            let detail = "at least one of succeededCount or succeededIndexes must be specified";
            errors.push(required(path.clone(), detail));
        }
        let mut named = None;
        if let Some(text) = given {
            named = Some(0);
            match indexes(text, completions) {
                Ok(count) => named = Some(count),
                Err(why) => {
                    let detail = format!("error parsing succeededIndexes: {why}");
                    errors.push(invalid(format!("{path}.succeededIndexes"), text, detail));
                }
            }
        }
        let Some(count) = count else { continue };
        let at = format!("{path}.succeededCount");
        if count < 0 {
            errors.push(invalid(at.clone(), count, "must be greater than or equal to 0"));
        }
        if count > completions {
            let detail =
                format!("must be less than or equal to {completions} (the number of specified completions)");
            errors.push(invalid(at.clone(), count, detail));
        }
        if let Some(named) = named.filter(|named| count > *named) {
            let detail = format!(
                "must be less than or equal to {named} (the number of indexes in the specified succeededIndexes field)"
            );
            errors.push(invalid(at, count, detail));
        }
    }
}

/// The pods of a job with indexes are named after it, the last one with the longest name.
pub(super) fn hostname(job: &Value, errors: &mut Errors) {
    let spec = &job["spec"];
    let completions = spec["completions"].as_i64().filter(|number| *number > 0);
    let Some(completions) = completions.filter(|_| spec["completionMode"] == "Indexed") else {
        return;
    };
    let name = crate::api::meta(job, "name");
    let last = format!("{name}-{}", completions - 1);
    if !names::label(&last).is_empty() {
        let detail = format!("will not able to create pod with invalid DNS label: {last}");
        errors.push(invalid("metadata.name", name, detail));
    }
}
