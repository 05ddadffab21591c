//! Classes of things, budgets, and slices of endpoints.

use std::collections::BTreeSet;

use fluvial_object::quantity::Quantity;
use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use super::common::{
    Errors, address, duplicate, forbidden, go_struct, int_or_percent, invalid, is_empty, items, named,
    one_of, outside_address, required, selector, text,
};
use super::shown;
use crate::names;

/// Checks a class of storage.
pub(super) fn storage(object: &Value, errors: &mut Errors) {
    let provisioner = text(object, "provisioner");
    if provisioner.is_empty() {
        errors.push(required("provisioner", ""));
    } else {
        let low = provisioner.to_lowercase();
        named(&low, names::qualified_name, "provisioner", errors);
    }
    let parameters = object["parameters"].as_object();
    if parameters.is_some_and(|map| map.contains_key("")) {
        errors.push(invalid("parameters", "", "field can not be empty."));
    }
    let policies = ["Delete", "Retain"];
    if !text(object, "reclaimPolicy").is_empty() {
        one_of(&object["reclaimPolicy"], &policies, "reclaimPolicy", errors);
    }
    let modes = ["Immediate", "WaitForFirstConsumer"];
    one_of(&object["volumeBindingMode"], &modes, "volumeBindingMode", errors);
    let mut terms = BTreeSet::new();
    for (index, term) in items(object, "allowedTopologies") {
        let path = format!("allowedTopologies[{index}].matchLabelExpressions");
        for (at, own) in items(term, "matchLabelExpressions") {
            let path = format!("{path}[{at}]");
            if is_empty(&own["values"]) {
                errors.push(required(format!("{path}.values"), ""));
            }
            named(
                text(own, "key"),
                names::qualified_name,
                &format!("{path}.key"),
                errors,
            );
        }
        if !terms.insert(meant(term)) {
            errors.push(duplicate(path, ""));
        }
    }
}

/// What a term about places asks for, in whatever order.
fn meant(term: &Value) -> Vec<(&str, BTreeSet<&str>)> {
    let values = |own| {
        items(own, "values")
            .filter_map(|(_, value)| value.as_str())
            .collect()
    };
    let all = items(term, "matchLabelExpressions");
    let mut all: Vec<(&str, BTreeSet<&str>)> = all.map(|(_, own)| (text(own, "key"), values(own))).collect();
    all.sort();
    all
}

/// A new ingress may name its class in the old way, too, if it is the same.
pub(super) fn class_twice(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    const CLASS: &str = "kubernetes.io/ingress.class";
    if let (Some(old), Some(class)) = (
        object["metadata"]["annotations"][CLASS].as_str(),
        spec["ingressClassName"].as_str(),
    ) && old != class
    {
        let detail = "must match `ingressClassName` when both are specified";
        errors.push(invalid(format!("annotations.{CLASS}"), old, detail));
    }
}

/// Checks a driver of storage.
pub(super) fn driver(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    let policies = ["File", "None", "ReadWriteOnceWithFSType"];
    one_of(&spec["fsGroupPolicy"], &policies, "spec.fsGroupPolicy", errors);
    const PERIOD: &str = "nodeAllocatableUpdatePeriodSeconds";
    if spec[PERIOD].as_i64().is_some_and(|seconds| seconds < 10) {
        let detail = "must be greater than or equal to 10 seconds";
        errors.push(invalid(format!("spec.{PERIOD}"), spec[PERIOD].clone(), detail));
    }
    let mut seen = BTreeSet::new();
    for (index, own) in items(spec, "tokenRequests") {
        let audience = text(own, "audience");
        let path = format!("spec.tokenRequests[{index}]");
        if !seen.insert(audience) {
            errors.push(duplicate(format!("{path}.audience"), audience));
        }
        if own["expirationSeconds"]
            .as_i64()
            .is_some_and(|seconds| seconds < 600)
        {
            let detail = "may not specify a duration less than 10 minutes";
            let seconds = own["expirationSeconds"].clone();
            errors.push(invalid(format!("{path}.expirationSeconds"), seconds, detail));
        }
    }
    for (_, mode) in items(spec, "volumeLifecycleModes") {
        one_of(
            mode,
            &["Persistent", "Ephemeral"],
            "spec.volumeLifecycleModes",
            errors,
        );
    }
}

/// Checks a class of priorities.
pub(super) fn priority(object: &Value, errors: &mut Errors) {
    const MOST: i64 = 1_000_000_000;
    let name = crate::api::meta(object, "name");
    let system = matches!(name, "system-node-critical" | "system-cluster-critical");
    if name.starts_with("system-") && !system {
        let detail = format!(
            "priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known \
             system priority class"
        );
        errors.push(forbidden("metadata.name", detail));
    } else if !system && object["value"].as_i64().is_some_and(|value| value > MOST) {
        let detail = format!("maximum allowed value of a user defined priority is {MOST}");
        errors.push(forbidden("value", detail));
    }
    super::pods::preemption(&object["preemptionPolicy"], "preemptionPolicy", errors);
}

/// Checks what a runtime class adds to pods.
pub(super) fn runtime(object: &Value, errors: &mut Errors) {
    for (name, value) in object["overhead"]["podFixed"].as_object().into_iter().flatten() {
        if Quantity::from_value(value).is_ok_and(|quantity| quantity.sign() < 0) {
            let path = format!("overhead.limits[{name}]");
            errors.push(invalid(path, value.clone(), "must be greater than or equal to 0"));
        }
    }
    let scheduling = &object["scheduling"];
    crate::registry::meta::validate_labels(&scheduling["nodeSelector"], "scheduling.nodeSelector", errors);
    super::pods::tolerations(scheduling, "scheduling", errors);
}

/// Checks the parameters of a class of ingresses.
pub(super) fn ingress(spec: &Value, errors: &mut Errors) {
    if text(spec, "controller").len() > 250 {
        errors.push(FieldError::plain(
            ErrorKind::TooLong,
            "spec.controller",
            "may not be more than 250 bytes",
        ));
    }
    let parameters = &spec["parameters"];
    if parameters.is_null() {
        return;
    }
    let path = "spec.parameters";
    if let Some(group) = parameters["apiGroup"].as_str() {
        named(group, names::subdomain, &format!("{path}.apiGroup"), errors);
    }
    kind_and_name(parameters, path, errors);
    one_of(
        &parameters["scope"],
        &["Cluster", "Namespace"],
        format!("{path}.scope"),
        errors,
    );
    let namespace = text(parameters, "namespace");
    match text(parameters, "scope") {
        "Namespace" if !parameters["namespace"].is_null() => {
            named(namespace, names::label, &format!("{path}.namespace"), errors);
        }
        "Namespace" => {
            let detail = "`parameters.scope` is set to 'Namespace'";
            errors.push(required(format!("{path}.namespace"), detail));
        }
        "Cluster" if !namespace.is_empty() => {
            let detail = "`parameters.scope` is set to 'Cluster'";
            errors.push(forbidden(format!("{path}.namespace"), detail));
        }
        _ => {}
    }
}

/// What names another object: both must be there and be parts of a path.
pub(super) fn kind_and_name(owner: &Value, path: &str, errors: &mut Errors) {
    for field in ["kind", "name"] {
        let path = format!("{path}.{field}");
        match text(owner, field) {
            "" => errors.push(required(path, "")),
            own => named(own, names::segment, &path, errors),
        }
    }
}

/// Checks a budget of disruptions.
pub(super) fn budget(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    let (least, most) = (&spec["minAvailable"], &spec["maxUnavailable"]);
    if !least.is_null() && !most.is_null() {
        let shown = format!(
            "{{\"MinAvailable\":{least},\"Selector\":{},\"MaxUnavailable\":{most},\"UnhealthyPodEvictionPolicy\":{}}}",
            shown::of_form("*metav1.LabelSelector", &spec["selector"]).compact(),
            spec["unhealthyPodEvictionPolicy"]
        );
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(go_struct(ErrorKind::Invalid, "spec", &shown, detail));
    }
    for (value, path) in [(least, "spec.minAvailable"), (most, "spec.maxUnavailable")] {
        int_or_percent(value, path, errors);
        at_most_whole(value, path, errors);
    }
    if !spec["selector"].is_null() {
        selector(&spec["selector"], "spec.selector", errors);
    }
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    let path = "spec.unhealthyPodEvictionPolicy";
    one_of(&spec["unhealthyPodEvictionPolicy"], &policies, path, errors);
}

/// No percentage is above the whole.
pub(super) fn at_most_whole(value: &Value, path: &str, errors: &mut Errors) {
    let percent = value.as_str().and_then(|text| text.strip_suffix('%'));
    let percent = percent.and_then(|text| text.parse::<u64>().ok());
    if percent.is_some_and(|percent| percent > 100) {
        errors.push(invalid(path, value.clone(), "must not be greater than 100%"));
    }
}

/// Checks a slice of endpoints.
pub(super) fn slice(object: &Value, errors: &mut Errors) {
    let kind = text(object, "addressType");
    if kind.is_empty() {
        errors.push(required("addressType", ""));
    } else {
        let kinds = ["FQDN", "IPv4", "IPv6"];
        one_of(&object["addressType"], &kinds, "addressType", errors);
    }
    for (index, endpoint) in items(object, "endpoints") {
        slice_endpoint(endpoint, kind, &format!("endpoints[{index}]"), errors);
    }
    let mut seen = BTreeSet::new();
    for (index, own) in items(object, "ports") {
        let path = format!("ports[{index}]");
        let name = text(own, "name");
        if !name.is_empty() {
            named(name, names::label, &format!("{path}.name"), errors);
        }
        if !seen.insert(name) {
            errors.push(duplicate(format!("{path}.name"), name));
        }
        one_of(
            &own["protocol"],
            &["SCTP", "TCP", "UDP"],
            format!("{path}.protocol"),
            errors,
        );
        if let Some(protocol) = own["appProtocol"].as_str() {
            let path = format!("{path}.appProtocol");
            named(protocol, names::qualified_name, &path, errors);
        }
    }
}

fn slice_endpoint(endpoint: &Value, kind: &str, path: &str, errors: &mut Errors) {
    if is_empty(&endpoint["addresses"]) {
        errors.push(required(
            format!("{path}.addresses"),
            "must contain at least 1 address",
        ));
    }
    for (index, own) in items(endpoint, "addresses") {
        let (all, own) = (format!("{path}.addresses"), own.as_str().unwrap_or(""));
        let at = format!("{all}[{index}]");
        if kind == "FQDN" {
            named(own, names::subdomain, &at, errors);
            continue;
        }
        let good = address(own, &at, errors);
        let first = own.parse::<std::net::IpAddr>();
        if let Ok(found) = first {
            let fits = if kind == "IPv6" {
                found.is_ipv6()
            } else {
                found.is_ipv4()
            };
            if !fits && matches!(kind, "IPv4" | "IPv6") {
                errors.push(invalid(all, own, format!("must be an {kind} address")));
            }
        }
        if good {
            outside_address(own, &at, errors);
        }
    }
    if let Some(node) = endpoint["nodeName"].as_str() {
        named(node, names::subdomain, &format!("{path}.nodeName"), errors);
    }
    if let Some(host) = endpoint["hostname"].as_str() {
        named(host, names::label, &format!("{path}.hostname"), errors);
    }
}
