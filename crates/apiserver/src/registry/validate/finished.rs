//! What the status of a job may say: how it ended has to go together.

use serde_json::Value;

use fluvial_schema::{ErrorKind, FieldError};

use super::common::{Errors, duplicate, invalid, is_empty, items, required};

/// Checks the status of a job that is changed: what was wrong before is no news.
pub(super) fn job(new: &Value, old: &Value, errors: &mut Errors) {
    let (mut is, mut was) = (vec![], vec![]);
    counts(&new["status"], errors);
    ends(new, &mut is);
    ends(old, &mut was);
    let known = |error: &FieldError| {
        was.iter()
            .any(|old| old.path == error.path && old.detail == error.detail)
    };
    errors.extend(is.into_iter().filter(|error| !known(error)));
    only_forward(new, old, errors);
}

fn counts(status: &Value, errors: &mut Errors) {
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        if status[field].as_i64().is_some_and(|number| number < 0) {
            let detail = "must be greater than or equal to 0";
            errors.push(invalid(format!("status.{field}"), status[field].clone(), detail));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for field in ["succeeded", "failed"] {
        for (index, own) in items(&status["uncountedTerminatedPods"], field) {
            let path = format!("status.uncountedTerminatedPods.{field}[{index}]");
            match own.as_str().unwrap_or("") {
                "" => errors.push(invalid(path, "", "must not be empty")),
                own if !seen.insert(own.to_owned()) => errors.push(duplicate(path, own)),
                _ => {}
            }
        }
    }
}

/// Whether a job has a condition.
fn has(job: &Value, name: &str) -> bool {
    items(&job["status"], "conditions").any(|(_, own)| own["type"] == name && own["status"] == "True")
}

fn ends(job: &Value, errors: &mut Errors) {
    const CONDITIONS: &str = "status.conditions";
    const COMPLETION: &str = "status.completionTime";
    let (spec, status) = (&job["spec"], &job["status"]);
    let (complete, failed) = (has(job, "Complete"), has(job, "Failed"));
    let wrong = |path: &str, detail: &str| FieldError::plain(ErrorKind::Invalid, path, detail);
    if complete && failed {
        errors.push(wrong(
            CONDITIONS,
            "cannot set Complete=True and Failed=true conditions",
        ));
    }
    if complete && has(job, "FailureTarget") {
        errors.push(wrong(
            CONDITIONS,
            "cannot set Complete=True and FailureTarget=true conditions",
        ));
    }
    let (start, end) = (&status["startTime"], &status["completionTime"]);
    if !end.is_null() && !complete {
        let detail = "cannot set completionTime when there is no Complete=True condition";
        errors.push(invalid(COMPLETION, end.clone(), detail));
    }
    if complete && end.is_null() {
        errors.push(required(
            COMPLETION,
            "completionTime is required for Complete jobs",
        ));
    }
    let time = |value: &Value| {
        value
            .as_str()
            .and_then(|text| text.parse::<jiff::Timestamp>().ok())
    };
    if let (Some(start), Some(finish)) = (time(start), time(end))
        && finish < start
    {
        errors.push(invalid(
            COMPLETION,
            end.clone(),
            "must be equal to or after `startTime`",
        ));
    }
    for (end, before) in [("Failed", "FailureTarget"), ("Complete", "SuccessCriteriaMet")] {
        if has(job, end) && !has(job, before) {
            let detail = format!("cannot set {end}=True condition without the {before}=true condition");
            errors.push(wrong(CONDITIONS, &detail));
        }
    }
    if complete || failed {
        if status["active"].as_i64().unwrap_or(0) > 0 {
            let detail = "active>0 is invalid for finished job";
            errors.push(invalid("status.active", status["active"].clone(), detail));
        }
        if start.is_null() {
            errors.push(required(
                "status.startTime",
                "startTime is required for finished job",
            ));
        }
    }
    if !is_empty(&status["completedIndexes"]) && spec["completionMode"] != "Indexed" {
        let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.push(invalid(
            "status.completedIndexes",
            status["completedIndexes"].clone(),
            detail,
        ));
    }
    if spec["backoffLimitPerIndex"].is_null() && !status["failedIndexes"].is_null() {
        let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.push(invalid(
            "status.failedIndexes",
            status["failedIndexes"].clone(),
            detail,
        ));
    }
}

/// What is counted is not taken back, and a job that runs has begun once.
fn only_forward(new: &Value, old: &Value, errors: &mut Errors) {
    let (is, was) = (&new["status"], &old["status"]);
    for end in ["Failed", "Complete"] {
        if has(old, end) && !has(new, end) {
            let detail = format!("cannot disable the terminal {end}=True condition");
            errors.push(FieldError::plain(ErrorKind::Invalid, "status.conditions", detail));
        }
    }
    for field in ["failed", "succeeded"] {
        let number = |status: &Value| status[field].as_i64().unwrap_or(0);
        if number(is) < number(was) {
            let detail = format!("cannot decrease the {field} counter");
            errors.push(invalid(format!("status.{field}"), number(is), detail));
        }
    }
    let start = &is["startTime"];
    if !was["startTime"].is_null() && start != &was["startTime"] && new["spec"]["suspend"] != true {
        let detail = "field is immutable for unsuspended job once set";
        errors.push(invalid("status.startTime", start.clone(), detail));
    }
}
