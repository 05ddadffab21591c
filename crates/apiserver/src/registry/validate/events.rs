//! Events: strict in their own group, lenient in the first one.

use fluvial_schema::FieldError;
use serde_json::Value;

use crate::kinds::Kind;
use crate::names;

use super::common::{invalid, required};
use super::shown;

type Errors = Vec<FieldError>;

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("")
}

/// A field under its name in the version of the request.
fn field<'a>(kind: &Kind, event: &'a Value, core: &str) -> &'a Value {
    let own = if kind.group.is_empty() {
        core
    } else {
        match core {
            "involvedObject" => "regarding",
            "message" => "note",
            "source" => "deprecatedSource",
            "firstTimestamp" => "deprecatedFirstTimestamp",
            "lastTimestamp" => "deprecatedLastTimestamp",
            "count" => "deprecatedCount",
            "reportingComponent" => "reportingController",
            other => other,
        }
    };
    &event[own]
}

fn long(event: &Value, name: &str, most: usize, errors: &mut Errors) {
    if text(event, name).len() > most {
        errors.push(invalid(name, "", format!("can have at most {most} characters")));
    }
}

/// Errors that both groups know.
fn both(kind: &Kind, event: &Value, errors: &mut Errors) {
    let namespace = event["metadata"]["namespace"].as_str().unwrap_or("");
    let about = text(field(kind, event, "involvedObject"), "namespace");
    if about != namespace && !(about.is_empty() && namespace == "default") {
        errors.push(invalid(
            "involvedObject.namespace",
            about,
            "does not match event.namespace",
        ));
    }
    if event["eventTime"].is_null() {
        return;
    }
    let path = if kind.group.is_empty() {
        "reportingComponent"
    } else {
        "reportingController"
    };
    let reporter = field(kind, event, "reportingComponent").as_str().unwrap_or("");
    if reporter.is_empty() {
        errors.push(required(path, ""));
    }
    errors.extend(
        names::qualified_name(reporter)
            .into_iter()
            .map(|detail| invalid(path, reporter, detail)),
    );
    for name in ["reportingInstance", "action", "reason"] {
        if text(event, name).is_empty() {
            errors.push(required(name, ""));
        }
        long(event, name, 128, errors);
    }
    if field(kind, event, "message").as_str().unwrap_or("").len() > 1024 {
        errors.push(invalid("message", "", "can have at most 1024 characters"));
    }
}

fn series(event: &Value, errors: &mut Errors) {
    let series = &event["series"];
    if series.is_null() {
        return;
    }
    if series["count"].as_i64().unwrap_or(0) < 2 {
        errors.push(invalid("series.count", "", "should be at least 2"));
    }
    if series["lastObservedTime"].is_null() {
        errors.push(required("series.lastObservedTime", ""));
    }
}

/// Errors of a new event.
pub(super) fn create(kind: &Kind, event: &Value, errors: &mut Errors) {
    both(kind, event, errors);
    if kind.group.is_empty() {
        return;
    }
    series(event, errors);
    if event["eventTime"].is_null() {
        errors.push(required("eventTime", ""));
    }
    let class = text(event, "type");
    if !matches!(class, "Normal" | "Warning") {
        errors.push(invalid("type", "", format!("has invalid value: {class}")));
    }
    for name in ["firstTimestamp", "lastTimestamp"] {
        if !field(kind, event, name).is_null() {
            errors.push(invalid(name, "", "needs to be unset"));
        }
    }
    if field(kind, event, "count").as_i64().unwrap_or(0) != 0 {
        errors.push(invalid("count", "", "needs to be unset"));
    }
    let source = field(kind, event, "source");
    if !text(source, "component").is_empty() || !text(source, "host").is_empty() {
        errors.push(invalid("source", "", "needs to be unset"));
    }
}

/// Errors of a changed event: in its own group all but the series is fixed.
pub(super) fn update(kind: &Kind, new: &Value, old: &Value, errors: &mut Errors) {
    both(kind, new, errors);
    if kind.group.is_empty() {
        return;
    }
    if new["series"] != old["series"] {
        series(new, errors);
    }
    for name in [
        "involvedObject",
        "reason",
        "message",
        "source",
        "firstTimestamp",
        "lastTimestamp",
        "count",
        "reason",
        "type",
        "eventTime",
        "action",
        "related",
        "reportingComponent",
        "reportingInstance",
    ] {
        let (is, was) = (field(kind, new, name), field(kind, old, name));
        if is != was {
            let path = if name == "reportingComponent" {
                "reportingController"
            } else {
                name
            };
            let form = match name {
                "involvedObject" => "&ObjectReference",
                "related" => "*ObjectReference",
                "source" => "&EventSource",
                "count" => "n",
                "firstTimestamp" | "lastTimestamp" | "eventTime" => "p",
                _ => "s",
            };
            errors.push(shown::fixed(form, path, is));
        }
    }
}
