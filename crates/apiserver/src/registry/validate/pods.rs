//! Pods, and the templates that pods are made of.

use std::collections::BTreeSet;

use fluvial_schema::ErrorKind;
use serde_json::Value;

use super::common::{
    Errors, address, duplicate, go_struct, invalid, is_empty, items, named, one_of, required, text,
};
use crate::names;

mod containers;
mod legacy;
mod placement;
mod probes;
mod restarts;
mod security;
pub(super) mod update;
pub(super) mod volumes;

pub(super) use volumes::HOST_PATHS;

/// What is wrong with the specification of a pod.
pub(super) fn spec(spec: &Value, path: &str, errors: &mut Errors) {
    let good = volumes::volumes(spec, path, errors);
    claims(spec, path, errors);
    containers::containers(spec, "containers", &good, path, errors);
    if is_empty(&spec["containers"]) {
        errors.push(required(format!("{path}.containers"), ""));
    }
    containers::containers(spec, "initContainers", &good, path, errors);
    containers::ephemeral(spec, &good, path, errors);
    containers::host_network(spec, path, errors);
    one_of(
        &spec["restartPolicy"],
        &["Always", "OnFailure", "Never"],
        format!("{path}.restartPolicy"),
        errors,
    );
    one_of(
        &spec["dnsPolicy"],
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        format!("{path}.dnsPolicy"),
        errors,
    );
    crate::registry::meta::validate_labels(&spec["nodeSelector"], &format!("{path}.nodeSelector"), errors);
    security::pod(spec, path, errors);
    placement::affinity(&spec["affinity"], &format!("{path}.affinity"), errors);
    dns(spec, path, errors);
    gates(spec, path, errors);
    placement::spread(spec, path, errors);
    security::host_users(spec, path, errors);
    name_fields(spec, path, errors);
    placement::tolerations(spec, path, errors);
    aliases(spec, path, errors);
    if !text(spec, "priorityClassName").is_empty() {
        let path = format!("{path}.priorityClassName");
        named(text(spec, "priorityClassName"), names::subdomain, &path, errors);
    }
    for field in ["runtimeClassName", "hostnameOverride"] {
        if let Some(name) = spec[field].as_str() {
            named(name, names::subdomain, &format!("{path}.{field}"), errors);
        }
    }
    preemption(
        &spec["preemptionPolicy"],
        &format!("{path}.preemptionPolicy"),
        errors,
    );
    security::os(spec, path, errors);
}

/// Whether a pod may push others off a machine.
pub(super) fn preemption(policy: &Value, path: &str, errors: &mut Errors) {
    match policy.as_str() {
        Some("") => errors.push(required(path, "")),
        _ => one_of(policy, &["PreemptLowerPriority", "Never"], path, errors),
    }
}

/// Names of others, and the pod's own in its network.
fn name_fields(spec: &Value, path: &str, errors: &mut Errors) {
    for field in ["serviceAccountName", "nodeName"] {
        if !text(spec, field).is_empty() {
            named(
                text(spec, field),
                names::subdomain,
                &format!("{path}.{field}"),
                errors,
            );
        }
    }
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64()
        && !(1..=2_147_483_647).contains(&seconds)
    {
        errors.push(invalid(
            format!("{path}.activeDeadlineSeconds"),
            seconds,
            "must be between 1 and 2147483647, inclusive",
        ));
    }
    for field in ["hostname", "subdomain"] {
        if !text(spec, field).is_empty() {
            named(
                text(spec, field),
                names::label,
                &format!("{path}.{field}"),
                errors,
            );
        }
    }
}

/// The pattern of a claim, at its own place.
pub(super) fn claim(template: &Value, path: &str, errors: &mut Errors) {
    volumes::claim(template, path, errors);
}

/// Terms that choose machines, wherever they are.
pub(super) fn node_terms(selector: &Value, path: &str, errors: &mut Errors) {
    placement::node_terms(selector, path, errors);
}

/// A resource of a container.
pub(super) fn resource_name(name: &str, path: &str, errors: &mut Errors) {
    containers::resource_name(name, path, errors);
}

/// A volume of a single maker, and what messages call it if it is one too many.
pub(super) fn maker_volume(kind: &str, source: &Value, path: &str, errors: &mut Errors) {
    legacy::volume(kind, source, path, errors);
}

/// What messages call a kind of volume that is one too many.
pub(super) fn refused_volume(kind: &str) -> &str {
    legacy::refused(kind)
}

/// Tolerations that come from elsewhere.
pub(super) fn tolerations(owner: &Value, path: &str, errors: &mut Errors) {
    placement::tolerations(owner, path, errors);
}

fn dns(spec: &Value, path: &str, errors: &mut Errors) {
    let config = &spec["dnsConfig"];
    let path = format!("{path}.dnsConfig");
    if spec["dnsPolicy"] == "None" {
        if config.is_null() {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.push(required(path, detail));
            return;
        }
        if is_empty(&config["nameservers"]) {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(required(format!("{path}.nameservers"), detail));
            return;
        }
    }
    let length = |field: &str| config[field].as_array().map_or(0, Vec::len);
    if length("nameservers") > 3 {
        let all = config["nameservers"].clone();
        let detail = "must not have more than 3 nameservers";
        errors.push(invalid(format!("{path}.nameservers"), all, detail));
    }
    for (index, server) in items(config, "nameservers") {
        address(
            server.as_str().unwrap_or(""),
            &format!("{path}.nameservers[{index}]"),
            errors,
        );
    }
    if length("searches") > 32 {
        let all = config["searches"].clone();
        let detail = "must not have more than 32 search paths";
        errors.push(invalid(format!("{path}.searches"), all, detail));
    }
    searches(config, &path, errors);
    for (index, option) in items(config, "options") {
        if text(option, "name").is_empty() {
            errors.push(required(format!("{path}.options[{index}]"), "must not be empty"));
        }
    }
}

/// Domains that names are looked for in.
fn searches(config: &Value, path: &str, errors: &mut Errors) {
    let all: Vec<&str> = items(config, "searches")
        .map(|(_, search)| search.as_str().unwrap_or(""))
        .collect();
    if all.join(" ").len() > 2048 {
        let detail = "must not have more than 2048 characters (including spaces) in the search list";
        let list = config["searches"].clone();
        errors.push(invalid(format!("{path}.searches"), list, detail));
    }
    for (index, search) in all.iter().enumerate().filter(|(_, search)| **search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        let at = format!("{path}.searches[{index}]");
        named(search, names::search_domain, &at, errors);
    }
}

/// Claims of devices that the containers of a pod may name.
fn claims(spec: &Value, path: &str, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, claim) in items(spec, "resourceClaims") {
        let path = format!("{path}.resourceClaims[{index}]");
        let name = text(claim, "name");
        if name.is_empty() {
            errors.push(required(format!("{path}.name"), ""));
        } else if !seen.insert(name) {
            errors.push(duplicate(format!("{path}.name"), name));
        } else {
            named(name, names::label, &format!("{path}.name"), errors);
        }
        let (own, template) = (&claim["resourceClaimName"], &claim["resourceClaimTemplateName"]);
        let detail = match (own.is_null(), template.is_null()) {
            (true, true) => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            (false, false) => {
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            }
            _ => "",
        };
        if !detail.is_empty() {
            let shown = format!(
                "{{\"Name\":{},\"ResourceClaimName\":{own},\"ResourceClaimTemplateName\":{template}}}",
                Value::from(name)
            );
            errors.push(go_struct(ErrorKind::Invalid, path.clone(), &shown, detail));
        }
        for field in ["resourceClaimName", "resourceClaimTemplateName"] {
            if let Some(name) = claim[field].as_str() {
                named(name, names::subdomain, &format!("{path}.{field}"), errors);
            }
        }
    }
}

fn gates(spec: &Value, path: &str, errors: &mut Errors) {
    for (index, gate) in items(spec, "readinessGates") {
        let path = format!("{path}.readinessGates[{index}].conditionType");
        named(text(gate, "conditionType"), names::qualified_name, &path, errors);
    }
    let mut seen = BTreeSet::new();
    for (index, gate) in items(spec, "schedulingGates") {
        let path = format!("{path}.schedulingGates[{index}]");
        let name = text(gate, "name");
        named(name, names::qualified_name, &path, errors);
        if !seen.insert(name) {
            errors.push(duplicate(path, name));
        }
    }
}

fn aliases(spec: &Value, path: &str, errors: &mut Errors) {
    for (index, alias) in items(spec, "hostAliases") {
        let path = format!("{path}.hostAliases[{index}]");
        address(text(alias, "ip"), &format!("{path}.ip"), errors);
        for (index, name) in items(alias, "hostnames") {
            let name = name.as_str().unwrap_or("");
            named(
                name,
                names::subdomain,
                &format!("{path}.hostnames[{index}]"),
                errors,
            );
        }
    }
}
