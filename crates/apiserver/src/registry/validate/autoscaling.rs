//! Horizontal pod autoscalers, as their newest version has them.

use fluvial_object::quantity::Quantity;
use fluvial_schema::FieldError;
use serde_json::Value;

use super::common::{Errors, forbidden, invalid, is_empty, items, named, one_of, required, text};
use crate::names;

/// The sources of metrics by the type that names them.
const SOURCES: &[(&str, &str)] = &[
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
    ("External", "external"),
];

fn segment(value: &str, path: String, missing: &str, errors: &mut Errors) {
    if value.is_empty() {
        errors.push(required(path, missing));
        return;
    }
    let complaints = names::segment(value).into_iter();
    errors.extend(complaints.map(|detail| invalid(path.clone(), value, detail)));
}

fn reference(value: &Value, path: &str, errors: &mut Errors) {
    segment(text(value, "kind"), format!("{path}.kind"), "", errors);
    segment(text(value, "name"), format!("{path}.name"), "", errors);
    // Kinds of the core have no group, but are few: whoever leaves it out has forgotten it.
    let version = text(value, "apiVersion");
    let kind = text(value, "kind");
    if version.is_empty() && path == "spec.scaleTargetRef" && kind != "ReplicationController" {
        let detail = "apiVersion must specify API group";
        errors.push(invalid(format!("{path}.apiVersion"), version, detail));
    } else if version.matches('/').count() > 1 {
        let detail = format!("unexpected GroupVersion string: {version}");
        errors.push(invalid(format!("{path}.apiVersion"), version, detail));
    } else if path == "spec.scaleTargetRef" && !version.contains('/') && !matches!(version, "" | "v1") {
        let detail = "apiVersion must specify API group";
        errors.push(invalid(format!("{path}.apiVersion"), version, detail));
    }
}

fn is_positive(value: &Value) -> bool {
    Quantity::from_value(value).is_ok_and(|quantity| quantity.sign() > 0)
}

fn target(target: &Value, path: &str, errors: &mut Errors) {
    let kind = text(target, "type");
    if kind.is_empty() {
        errors.push(required(
            format!("{path}.type"),
            "must specify a metric target type",
        ));
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.push(invalid(format!("{path}.type"), kind, detail));
    }
    for field in ["value", "averageValue"] {
        let own = &target[field];
        if !own.is_null() && !is_positive(own) {
            errors.push(invalid(
                format!("{path}.{field}"),
                own.clone(),
                "must be positive",
            ));
        }
    }
    if target["averageUtilization"]
        .as_i64()
        .is_some_and(|percent| percent < 1)
    {
        let percent = target["averageUtilization"].clone();
        errors.push(invalid(
            format!("{path}.averageUtilization"),
            percent,
            "must be greater than 0",
        ));
    }
}

fn metric_name(source: &Value, path: &str, errors: &mut Errors) {
    let name = text(&source["metric"], "name");
    segment(
        name,
        format!("{path}.metric.name"),
        "must specify a metric name",
        errors,
    );
}

fn per_resource(source: &Value, path: &str, errors: &mut Errors) {
    let target = &source["target"];
    let (percent, value) = (&target["averageUtilization"], &target["averageValue"]);
    if percent.is_null() && value.is_null() {
        let detail = "must set either a target raw value or a target utilization";
        errors.push(required(format!("{path}.target.averageUtilization"), detail));
    }
    if !percent.is_null() && !value.is_null() {
        let detail = "may not set both a target raw value and a target utilization";
        errors.push(forbidden(format!("{path}.target.averageValue"), detail));
    }
}

/// Which container's resource.
fn container_resource(source: &Value, path: &str, errors: &mut Errors) {
    let at = format!("{path}.container");
    match text(source, "container") {
        "" => errors.push(required(at, "must specify a container")),
        own => named(own, names::label, &at, errors),
    }
    if !text(source, "name").is_empty() {
        super::pods::resource_name(text(source, "name"), &format!("{path}.name"), errors);
    }
}

fn source(field: &str, source: &Value, path: &str, errors: &mut Errors) {
    let at = format!("{path}.target");
    let own = &source["target"];
    match field {
        "object" => {
            reference(
                &source["describedObject"],
                &format!("{path}.describedObject"),
                errors,
            );
            metric_name(source, path, errors);
            target(own, &at, errors);
            if own["value"].is_null() && own["averageValue"].is_null() {
                let detail = "must set either a target value or averageValue";
                errors.push(required(format!("{at}.averageValue"), detail));
            }
        }
        "external" => {
            metric_name(source, path, errors);
            target(own, &at, errors);
            match (own["value"].is_null(), own["averageValue"].is_null()) {
                (true, true) => {
                    let detail = "must set either a target value for metric or a per-pod target";
                    errors.push(required(format!("{at}.averageValue"), detail));
                }
                (false, false) => {
                    let detail = "may not set both a target value for metric and a per-pod target";
                    errors.push(forbidden(format!("{at}.value"), detail));
                }
                _ => {}
            }
        }
        "pods" => {
            metric_name(source, path, errors);
            target(own, &at, errors);
            if !is_positive(&own["averageValue"]) {
                let detail = "must specify a positive target averageValue";
                errors.push(required(format!("{at}.averageValue"), detail));
            }
        }
        _ => {
            if text(source, "name").is_empty() {
                errors.push(required(format!("{path}.name"), "must specify a resource name"));
            }
            if field == "containerResource" {
                container_resource(source, path, errors);
            }
            target(own, &at, errors);
            per_resource(source, path, errors);
        }
    }
}

fn metric(metric: &Value, path: &str, errors: &mut Errors) {
    let kind = text(metric, "type");
    let at = format!("{path}.type");
    if kind.is_empty() {
        errors.push(required(at.clone(), "must specify a metric source type"));
    }
    let wanted = SOURCES
        .iter()
        .find(|(name, _)| *name == kind)
        .map(|(_, field)| *field);
    let mut allowed: Vec<&str> = SOURCES.iter().map(|(name, _)| *name).collect();
    allowed.sort_unstable();
    let unsupported = || FieldError::not_supported(at.clone(), kind.into(), &allowed);
    if wanted.is_none() {
        errors.push(unsupported());
    }
    let order = ["object", "external", "pods", "resource", "containerResource"];
    let mut given: Vec<&str> = order
        .into_iter()
        .filter(|field| !metric[*field].is_null())
        .collect();
    if let Some(first) = given.first() {
        source(first, &metric[*first], &format!("{path}.{first}"), errors);
    }
    match wanted {
        None => errors.push(unsupported()),
        Some(wanted) if metric[wanted].is_null() => {
            let detail = "must populate information for the given metric source";
            errors.push(required(format!("{path}.{wanted}"), detail));
        }
        Some(_) => {}
    }
    if given.len() == 1 {
        return;
    }
    given.sort_unstable();
    for field in given.into_iter().filter(|field| Some(*field) != wanted) {
        let detail = "must populate the given metric source only";
        errors.push(forbidden(format!("{path}.{field}"), detail));
    }
}

fn rules(rules: &Value, path: &str, errors: &mut Errors) {
    if rules.is_null() {
        return;
    }
    if let Some(seconds) = rules["stabilizationWindowSeconds"].as_i64() {
        let path = format!("{path}.stabilizationWindowSeconds");
        if seconds < 0 {
            errors.push(invalid(path, seconds, "must be greater than or equal to zero"));
        } else if seconds > 3_600 {
            errors.push(invalid(path, seconds, "must be less than or equal to 3600"));
        }
    }
    one_of(
        &rules["selectPolicy"],
        &["Disabled", "Max", "Min"],
        format!("{path}.selectPolicy"),
        errors,
    );
    let at = format!("{path}.policies");
    if is_empty(&rules["policies"]) {
        errors.push(required(at.clone(), "must specify at least one Policy"));
    }
    for (index, policy) in items(rules, "policies") {
        let path = format!("{at}[{index}]");
        let allowed = ["Percent", "Pods"];
        one_of(&policy["type"], &allowed, format!("{path}.type"), errors);
        for field in ["value", "periodSeconds"] {
            let number = policy[field].as_i64().unwrap_or(0);
            let path = format!("{path}.{field}");
            if number <= 0 {
                errors.push(invalid(path, number, "must be greater than zero"));
            } else if field == "periodSeconds" && number > 1_800 {
                errors.push(invalid(path, number, "must be less than or equal to 1800"));
            }
        }
    }
}

/// Checks an autoscaler; what older versions call otherwise is already in its newest form.
pub(super) fn autoscaler(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    let least = spec["minReplicas"].as_i64();
    let most = spec["maxReplicas"].as_i64().unwrap_or(0);
    if least.is_some_and(|least| least < 1) {
        let detail = "must be greater than or equal to 1";
        errors.push(invalid("spec.minReplicas", least, detail));
    }
    if most == 0 {
        errors.push(required("spec.maxReplicas", "must be set and greater than 0"));
    } else if most < 0 {
        errors.push(invalid(
            "spec.maxReplicas",
            most,
            "must be greater than or equal to 1",
        ));
    }
    if most < least.unwrap_or(1) {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(invalid("spec.maxReplicas", most, detail));
    }
    reference(&spec["scaleTargetRef"], "spec.scaleTargetRef", errors);
    let mut outside = false;
    for (index, own) in items(spec, "metrics") {
        metric(own, &format!("spec.metrics[{index}]"), errors);
        outside |= matches!(text(own, "type"), "Object" | "External");
    }
    if least == Some(0) && !outside {
        let detail =
            "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(forbidden("spec.metrics", detail));
    }
    for way in ["scaleUp", "scaleDown"] {
        rules(&spec["behavior"][way], &format!("spec.behavior.{way}"), errors);
    }
}
