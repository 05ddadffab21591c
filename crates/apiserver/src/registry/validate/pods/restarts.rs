//! When containers start again: after they end, and when their resources change.

use std::collections::BTreeSet;

use fluvial_schema::FieldError;
use serde_json::Value;

use super::super::common::{Errors, duplicate, items, one_of, required, text};

/// What a change of each resource does to a container.
pub(super) fn resizes(container: &Value, path: &str, errors: &mut Errors) {
    let path = format!("{path}.resizePolicy");
    let mut seen = BTreeSet::new();
    for (index, policy) in items(container, "resizePolicy") {
        let lists: [(&str, &[&str]); 2] = [
            ("resourceName", &["cpu", "memory"]),
            ("restartPolicy", &["NotRequired", "RestartContainer"]),
        ];
        for (field, allowed) in lists {
            match text(policy, field) {
                "" => errors.push(required(path.clone(), "")),
                _ => one_of(&policy[field], allowed, path.clone(), errors),
            }
        }
        let name = text(policy, "resourceName");
        if !seen.insert(name) {
            errors.push(duplicate(format!("{path}[{index}]"), name));
        }
    }
}

/// A container's own policy, and its rules about how it ended.
pub(super) fn rules(container: &Value, path: &str, errors: &mut Errors) {
    let own = &container["restartPolicy"];
    one_of(
        own,
        &["Always", "Never", "OnFailure"],
        format!("{path}.restartPolicy"),
        errors,
    );
    let any = items(container, "restartPolicyRules").next().is_some();
    if any && own.is_null() {
        let detail = "must specify restartPolicy when restart rules are used";
        errors.push(required(format!("{path}.restartPolicy"), detail));
    }
    for (index, rule) in items(container, "restartPolicyRules") {
        let path = format!("{path}.restartPolicyRules[{index}]");
        let action = Value::from(text(rule, "action"));
        one_of(
            &action,
            &["Restart", "RestartAllContainers"],
            format!("{path}.action"),
            errors,
        );
        let codes = &rule["exitCodes"];
        if codes.is_null() {
            errors.push(required(format!("{path}.exitCodes"), "must be specified"));
            continue;
        }
        let operator = Value::from(text(codes, "operator"));
        if !["In", "NotIn"].contains(&text(codes, "operator")) {
            let path = format!("{path}.exitCodes.operator");
            errors.push(FieldError::not_supported(path, operator, &["In", "NotIn"]));
        }
    }
}
