//! Where pods may run: affinities, spreading, tolerations.

use fluvial_schema::FieldError;
use serde_json::Value;

use super::super::common::{
    Errors, duplicate, forbidden, invalid, is_empty, items, named, one_of, required, selector, text,
};
use crate::names;

fn requirement(requirement: &Value, path: &str, errors: &mut Errors) {
    let count = requirement["values"].as_array().map_or(0, Vec::len);
    let at = format!("{path}.values");
    match text(requirement, "operator") {
        "In" | "NotIn" if count == 0 => errors.push(required(
            at,
            "must be specified when `operator` is 'In' or 'NotIn'",
        )),
        "Exists" | "DoesNotExist" if count > 0 => errors.push(forbidden(
            at,
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        )),
        "Gt" | "Lt" if count != 1 => errors.push(required(
            at,
            "must be specified single value when `operator` is 'Lt' or 'Gt'",
        )),
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.push(invalid(
            format!("{path}.operator"),
            other,
            "not a valid selector operator",
        )),
    }
    let key = text(requirement, "key");
    named(key, names::qualified_name, &format!("{path}.key"), errors);
    if matches!(text(requirement, "operator"), "In" | "NotIn") {
        label_values(requirement, path, errors);
    }
}

/// Values that labels are held against.
fn label_values(requirement: &Value, path: &str, errors: &mut Errors) {
    for (index, value) in items(requirement, "values") {
        let path = format!("{path}.values[{index}]");
        named(value.as_str().unwrap_or(""), names::label_value, &path, errors);
    }
}

fn field(requirement: &Value, path: &str, errors: &mut Errors) {
    match text(requirement, "operator") {
        "In" | "NotIn" => {
            if requirement["values"].as_array().map_or(0, Vec::len) != 1 {
                let detail =
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(required(format!("{path}.values"), detail));
            }
        }
        other => errors.push(invalid(
            format!("{path}.operator"),
            other,
            "not a valid selector operator",
        )),
    }
    if text(requirement, "key") != "metadata.name" {
        let key = text(requirement, "key");
        errors.push(invalid(
            format!("{path}.key"),
            key,
            "not a valid field selector key",
        ));
        return;
    }
    for (index, value) in items(requirement, "values") {
        let at = format!("{path}.values[{index}]");
        named(value.as_str().unwrap_or(""), names::subdomain, &at, errors);
    }
}

fn node_term(term: &Value, path: &str, errors: &mut Errors) {
    for (index, own) in items(term, "matchExpressions") {
        requirement(own, &format!("{path}.matchExpressions[{index}]"), errors);
    }
    for (index, own) in items(term, "matchFields") {
        field(own, &format!("{path}.matchFields[{index}]"), errors);
    }
}

fn weight(term: &Value, path: &str, errors: &mut Errors) {
    let weight = term["weight"].as_i64().unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.push(invalid(
            format!("{path}.weight"),
            weight,
            "must be in the range 1-100",
        ));
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Terms of which a machine must meet one.
pub(super) fn node_terms(selector: &Value, path: &str, errors: &mut Errors) {
    let path = format!("{path}.nodeSelectorTerms");
    if is_empty(&selector["nodeSelectorTerms"]) {
        errors.push(required(
            path.clone(),
            "must have at least one node selector term",
        ));
    }
    for (index, term) in items(selector, "nodeSelectorTerms") {
        node_term(term, &format!("{path}[{index}]"), errors);
    }
}

fn node_affinity(affinity: &Value, path: &str, errors: &mut Errors) {
    if !affinity[REQUIRED].is_null() {
        node_terms(&affinity[REQUIRED], &format!("{path}.{REQUIRED}"), errors);
    }
    for (index, term) in items(affinity, PREFERRED) {
        let path = format!("{path}.{PREFERRED}[{index}]");
        weight(term, &path, errors);
        node_term(&term["preference"], &format!("{path}.preference"), errors);
    }
}

/// Labels of which pods must have the same value, or another.
fn label_keys(owner: &Value, field: &str, path: &str, errors: &mut Errors) {
    for (index, key) in items(owner, field) {
        let at = format!("{path}.{field}[{index}]");
        named(key.as_str().unwrap_or(""), names::qualified_name, &at, errors);
    }
}

fn pod_term(term: &Value, path: &str, errors: &mut Errors) {
    for field in ["labelSelector", "namespaceSelector"] {
        if !term[field].is_null() {
            selector(&term[field], &format!("{path}.{field}"), errors);
        }
    }
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        if !is_empty(&term[field]) && term["labelSelector"].is_null() {
            let detail = "must not be specified when labelSelector is not set";
            errors.push(forbidden(format!("{path}.{field}"), detail));
        } else {
            label_keys(term, field, path, errors);
        }
    }
    for (_, namespace) in items(term, "namespaces") {
        let name = namespace.as_str().unwrap_or("");
        named(name, names::label, &format!("{path}.namespace"), errors);
    }
    let key = text(term, "topologyKey");
    let path = format!("{path}.topologyKey");
    if key.is_empty() {
        errors.push(required(path.clone(), "can not be empty"));
    }
    named(key, names::qualified_name, &path, errors);
}

/// Affinities to nodes and to other pods.
pub(super) fn affinity(affinity: &Value, path: &str, errors: &mut Errors) {
    node_affinity(&affinity["nodeAffinity"], &format!("{path}.nodeAffinity"), errors);
    for kind in ["podAffinity", "podAntiAffinity"] {
        for (index, term) in items(&affinity[kind], REQUIRED) {
            pod_term(term, &format!("{path}.{kind}.{REQUIRED}[{index}]"), errors);
        }
        for (index, term) in items(&affinity[kind], PREFERRED) {
            let path = format!("{path}.{kind}.{PREFERRED}[{index}]");
            weight(term, &path, errors);
            pod_term(
                &term["podAffinityTerm"],
                &format!("{path}.podAffinityTerm"),
                errors,
            );
        }
    }
}

/// How pods are spread.
pub(super) fn spread(spec: &Value, path: &str, errors: &mut Errors) {
    let all: Vec<(usize, &Value)> = items(spec, "topologySpreadConstraints").collect();
    for (index, constraint) in &all {
        let path = format!("{path}.topologySpreadConstraints[{index}]");
        let skew = constraint["maxSkew"].as_i64().unwrap_or(0);
        if skew <= 0 {
            errors.push(invalid(
                format!("{path}.maxSkew"),
                skew,
                "must be greater than zero",
            ));
        }
        if !is_empty(&constraint["matchLabelKeys"]) && constraint["labelSelector"].is_null() {
            let detail = "must not be specified when labelSelector is not set";
            errors.push(forbidden(format!("{path}.matchLabelKeys"), detail));
        } else {
            label_keys(constraint, "matchLabelKeys", &path, errors);
        }
        let (key, when) = (
            text(constraint, "topologyKey"),
            text(constraint, "whenUnsatisfiable"),
        );
        if key.is_empty() {
            errors.push(required(format!("{path}.topologyKey"), "can not be empty"));
        }
        let value = Value::from(when);
        let allowed = ["DoNotSchedule", "ScheduleAnyway"];
        one_of(&value, &allowed, format!("{path}.whenUnsatisfiable"), errors);
        let same =
            |other: &Value| text(other, "topologyKey") == key && text(other, "whenUnsatisfiable") == when;
        if all[index + 1..].iter().any(|(_, other)| same(other)) {
            let at = format!("{path}.{{topologyKey, whenUnsatisfiable}}");
            errors.push(duplicate(at, format!("{{{key}, {when}}}")));
        }
        if let Some(domains) = constraint["minDomains"].as_i64() {
            let at = format!("{path}.minDomains");
            if domains <= 0 {
                errors.push(invalid(at.clone(), domains, "must be greater than zero"));
            }
            if when != "DoNotSchedule" {
                let detail =
                    format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
                errors.push(invalid(at, domains, detail));
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            one_of(
                &constraint[field],
                &["Honor", "Ignore"],
                format!("{path}.{field}"),
                errors,
            );
        }
        if !constraint["labelSelector"].is_null() {
            selector(
                &constraint["labelSelector"],
                &format!("{path}.labelSelector"),
                errors,
            );
        }
    }
}

/// Taints that a pod bears.
pub(super) fn tolerations(spec: &Value, path: &str, errors: &mut Errors) {
    for (index, toleration) in items(spec, "tolerations") {
        let path = format!("{path}.tolerations[{index}]");
        let (key, operator) = (text(toleration, "key"), text(toleration, "operator"));
        if !key.is_empty() {
            named(key, names::qualified_name, &format!("{path}.key"), errors);
        }
        if key.is_empty() && operator != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(invalid(format!("{path}.operator"), operator, detail));
        }
        if !toleration["tolerationSeconds"].is_null() && toleration["effect"] != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(invalid(
                format!("{path}.effect"),
                text(toleration, "effect"),
                detail,
            ));
        }
        if operator == "Exists" && !text(toleration, "value").is_empty() {
            let detail = "value must be empty when `operator` is 'Exists'";
            let value = toleration["value"].clone();
            errors.push(invalid(format!("{path}.operator"), value, detail));
        }
        if matches!(operator, "" | "Equal") {
            let value = text(toleration, "value");
            named(value, names::label_value, &format!("{path}.operator"), errors);
        }
        // Two operators are known but not switched on.
        let known: &[&str] = match text(toleration, "operator") {
            "Lt" | "Gt" => &["Equal", "Exists", "Lt", "Gt"],
            _ => &["Equal", "Exists"],
        };
        if !["", "Equal", "Exists"].contains(&text(toleration, "operator")) {
            let operator = toleration["operator"].clone();
            errors.push(FieldError::not_supported(
                format!("{path}.operator"),
                operator,
                known,
            ));
        }
        one_of(
            &toleration["effect"],
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            format!("{path}.effect"),
            errors,
        );
    }
}
