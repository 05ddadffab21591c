//! Services, ingresses, network policies and endpoints.

use std::collections::BTreeSet;

use fluvial_schema::FieldError;
use serde_json::{Value, json};

use super::common::{
    Errors, address, duplicate, forbidden, go_struct, invalid, is_empty, items, named, one_of,
    outside_address, port, required, selector, text,
};
use super::services;
use crate::names;

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// Checks a service.
pub(super) fn service(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    let kind = text(spec, "type");
    let headless = spec["clusterIP"] == "None";
    if is_empty(&spec["ports"]) && kind != "ExternalName" && !headless {
        errors.push(required("spec.ports", ""));
    }
    if kind == "ExternalName" {
        match text(spec, "externalName") {
            "" => errors.push(required("spec.externalName", "")),
            name => named(
                name.trim_end_matches('.'),
                names::subdomain,
                "spec.externalName",
                errors,
            ),
        }
    }
    let several = spec["ports"].as_array().is_some_and(|list| list.len() > 1);
    let mut seen = BTreeSet::new();
    for (index, own) in items(spec, "ports") {
        service_port(own, &format!("spec.ports[{index}]"), several, &mut seen, errors);
    }
    crate::registry::meta::validate_labels(&spec["selector"], "spec.selector", errors);
    one_of(
        &spec["sessionAffinity"],
        &["ClientIP", "None"],
        "spec.sessionAffinity",
        errors,
    );
    cluster_addresses(spec, errors);
    for (index, own) in items(spec, "externalIPs") {
        let path = format!("spec.externalIPs[{index}]");
        let own = own.as_str().unwrap_or("");
        if address(own, &path, errors) {
            outside_address(own, &path, errors);
        }
    }
    one_of(
        &spec["type"],
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        "spec.type",
        errors,
    );
    repeated_ports(spec, errors);
    services::by_type(spec, errors);
    services::words(spec, errors);
    let outside = matches!(kind, "LoadBalancer" | "NodePort") || !is_empty(&spec["externalIPs"]);
    if !outside && !spec["externalTrafficPolicy"].is_null() {
        let value = spec["externalTrafficPolicy"].clone();
        let detail = "may only be set for externally-accessible services";
        errors.push(invalid("spec.externalTrafficPolicy", value, detail));
    }
}

fn service_port<'a>(
    own: &'a Value,
    path: &str,
    several: bool,
    seen: &mut BTreeSet<&'a str>,
    errors: &mut Errors,
) {
    let name = text(own, "name");
    if name.is_empty() {
        if several {
            errors.push(required(format!("{path}.name"), ""));
        }
    } else {
        named(name, names::label, &format!("{path}.name"), errors);
        if !seen.insert(name) {
            errors.push(duplicate(format!("{path}.name"), name));
        }
    }
    port(&own["port"], &format!("{path}.port"), errors);
    one_of(&own["protocol"], PROTOCOLS, format!("{path}.protocol"), errors);
    let path = format!("{path}.targetPort");
    match &own["targetPort"] {
        Value::String(name) => {
            errors.extend(
                names::port_name(name)
                    .into_iter()
                    .map(|detail| invalid(&path, name.clone(), detail)),
            );
        }
        Value::Null => port(&Value::from(0), &path, errors),
        number => port(number, &path, errors),
    }
}

fn cluster_addresses(spec: &Value, errors: &mut Errors) {
    let asked = text(spec, "clusterIP");
    if !asked.is_empty() && asked != "None" && spec["type"] != "ExternalName" {
        address(asked, "spec.clusterIPs[0]", errors);
    }
}

fn repeated_ports(spec: &Value, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, own) in items(spec, "ports") {
        let key = (text(own, "protocol").to_owned(), own["port"].as_i64());
        if !seen.insert(key) {
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\"Port\":{},\"TargetPort\":0,\"NodePort\":0}}",
                own["protocol"], own["port"]
            );
            let path = format!("spec.ports[{index}]");
            errors.push(go_struct(fluvial_schema::ErrorKind::Duplicate, path, &shown, ""));
        }
    }
}

/// What must not change in a service.
pub(super) fn service_fixed(new: &Value, old: &Value, errors: &mut Errors) {
    let (new, old) = (&new["spec"], &old["spec"]);
    let class = |spec: &Value| spec["loadBalancerClass"].clone();
    let balanced = |spec: &Value| spec["type"] == "LoadBalancer";
    if balanced(new) && balanced(old) && class(new) != class(old) {
        errors.push(invalid(
            "spec.loadBalancerClass",
            class(new),
            "may not change once set",
        ));
    }
    let external = |spec: &Value| spec["type"] == "ExternalName";
    if external(new) || external(old) || old["clusterIP"].is_null() {
        return;
    }
    let given = new["clusterIPs"].clone();
    if new["clusterIPs"][0] != old["clusterIPs"][0] && !is_empty(&given) {
        errors.push(invalid("spec.clusterIPs[0]", given, "may not change once set"));
    } else if new["clusterIP"] != old["clusterIP"] && !new["clusterIP"].is_null() {
        let value = json!([new["clusterIP"]]);
        errors.push(invalid("spec.clusterIPs[0]", value, "may not change once set"));
    }
}

fn host(text: &str, path: &str, errors: &mut Errors) {
    if text.parse::<std::net::IpAddr>().is_ok() {
        errors.push(invalid(path, text, "must be a DNS name, not an IP address"));
    } else if text.contains('*') {
        let rest = text.strip_prefix("*.").unwrap_or("*");
        if !names::subdomain(rest).is_empty() {
            let detail = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which \
                must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character \
                (e.g. '*.example.com', regex used for validation is \
                '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
            errors.push(invalid(path, text, detail));
        }
    } else {
        named(text, names::subdomain, path, errors);
    }
}

/// Checks an ingress.
pub(super) fn ingress(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    if is_empty(&spec["rules"]) && spec["defaultBackend"].is_null() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(invalid("spec", spec["rules"].clone(), detail));
    }
    if !spec["defaultBackend"].is_null() {
        backend(&spec["defaultBackend"], "spec.defaultBackend", errors);
    }
    for (index, rule) in items(spec, "rules") {
        let path = format!("spec.rules[{index}]");
        if !text(rule, "host").is_empty() {
            host(text(rule, "host"), &format!("{path}.host"), errors);
        }
        if rule["http"].is_null() {
            continue;
        }
        if is_empty(&rule["http"]["paths"]) {
            errors.push(required(format!("{path}.http.paths"), ""));
        }
        for (index, own) in items(&rule["http"], "paths") {
            ingress_path(own, &format!("{path}.http.paths[{index}]"), errors);
        }
    }
    for (index, tls) in items(spec, "tls") {
        for (at, name) in items(tls, "hosts") {
            let path = format!("spec.tls[{index}].hosts[{at}]");
            // Certificates may be for addresses.
            let name = name.as_str().unwrap_or("");
            if name.parse::<std::net::IpAddr>().is_err() {
                host(name, &path, errors);
            }
        }
        if !text(tls, "secretName").is_empty() {
            let path = format!("spec.tls[{index}].secretName");
            named(text(tls, "secretName"), names::subdomain, &path, errors);
        }
    }
    if let Some(class) = spec["ingressClassName"].as_str() {
        named(class, names::subdomain, "spec.ingressClassName", errors);
    }
}

fn ingress_path(own: &Value, path: &str, errors: &mut Errors) {
    let at = text(own, "path");
    match own["pathType"].as_str() {
        None => {
            errors.push(required(format!("{path}.pathType"), "pathType must be specified"));
            return;
        }
        Some("Exact" | "Prefix") if !at.starts_with('/') => {
            errors.push(invalid(format!("{path}.path"), at, "must be an absolute path"));
        }
        Some("Exact" | "Prefix") => {
            for bad in ["//", "/./", "/../", "%2f", "%2F"] {
                if at.contains(bad) {
                    let detail = format!("must not contain '{bad}'");
                    errors.push(invalid(format!("{path}.path"), at, detail));
                }
            }
        }
        Some("ImplementationSpecific") if !at.is_empty() && !at.starts_with('/') => {
            errors.push(invalid(format!("{path}.path"), at, "must be an absolute path"));
        }
        Some("ImplementationSpecific") => {}
        Some(_) => one_of(
            &own["pathType"],
            &["Exact", "ImplementationSpecific", "Prefix"],
            format!("{path}.pathType"),
            errors,
        ),
    }
    backend(&own["backend"], &format!("{path}.backend"), errors);
}

fn backend(backend: &Value, path: &str, errors: &mut Errors) {
    let service = &backend["service"];
    match (service.is_null(), backend["resource"].is_null()) {
        (false, false) => errors.push(invalid(path, "", "cannot set both resource and service backends")),
        (true, true) => errors.push(invalid(path, "", "resource or service backend is required")),
        (true, false) => resource_backend(&backend["resource"], &format!("{path}.resource"), errors),
        (false, true) => {
            match text(service, "name") {
                "" => errors.push(required(format!("{path}.service.name"), "")),
                name => named(name, names::label, &format!("{path}.service.name"), errors),
            }
            let own = &service["port"];
            let number = own["number"].as_i64().unwrap_or(0);
            match (text(own, "name"), number) {
                ("", 0) => errors.push(required(path, "port name or number is required")),
                ("", _) => port(&own["number"], &format!("{path}.service.port.number"), errors),
                (name, 0) => {
                    let path = format!("{path}.service.port.name");
                    let complaints = names::port_name(name);
                    errors.extend(complaints.into_iter().map(|detail| invalid(&path, name, detail)));
                }
                _ => errors.push(invalid(path, "", "cannot set both port name & port number")),
            }
        }
    }
}

/// Another object that answers instead of a service.
fn resource_backend(own: &Value, path: &str, errors: &mut Errors) {
    if let Some(group) = own["apiGroup"].as_str() {
        named(group, names::subdomain, &format!("{path}.apiGroup"), errors);
    }
    super::classes::kind_and_name(own, path, errors);
}

/// Checks a class of ingresses.
pub(super) fn ingress_class(object: &Value, errors: &mut Errors) {
    match text(&object["spec"], "controller") {
        "" => errors.push(required("spec.controller", "")),
        own if !own.contains('/') => {
            let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(invalid("spec.controller", own, detail));
        }
        _ => {}
    }
    super::classes::ingress(&object["spec"], errors);
}

/// Checks a network policy.
pub(super) fn policy(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    selector(&spec["podSelector"], "spec.podSelector", errors);
    for (way, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in items(spec, way) {
            let path = format!("spec.{way}[{index}]");
            for (at, own) in items(rule, "ports") {
                policy_port(own, &format!("{path}.ports[{at}]"), errors);
            }
            for (at, own) in items(rule, peers) {
                peer(own, &format!("{path}.{peers}[{at}]"), errors);
            }
        }
    }
    let kinds = &spec["policyTypes"];
    if kinds.as_array().is_some_and(|kinds| kinds.len() > 2) {
        let detail = "may not specify more than two policyTypes";
        errors.push(invalid("spec.policyTypes", kinds.clone(), detail));
        return;
    }
    for (index, kind) in items(spec, "policyTypes") {
        one_of(
            kind,
            &["Ingress", "Egress"],
            format!("spec.policyTypes[{index}]"),
            errors,
        );
    }
}

fn policy_port(own: &Value, path: &str, errors: &mut Errors) {
    let protocols = ["TCP", "UDP", "SCTP"];
    one_of(&own["protocol"], &protocols, format!("{path}.protocol"), errors);
    if own["port"].is_string() && !own["endPort"].is_null() {
        let detail = "may not be specified when `port` is non-numeric";
        let path = format!("{path}.endPort");
        errors.push(invalid(path, own["endPort"].clone(), detail));
    }
    match &own["port"] {
        Value::Number(_) => {
            port(&own["port"], &format!("{path}.port"), errors);
            let (first, last) = (own["port"].as_i64(), own["endPort"].as_i64());
            if let (Some(first), Some(last)) = (first, last)
                && last < first
            {
                let detail = "must be greater than or equal to `port`";
                errors.push(invalid(format!("{path}.endPort"), first, detail));
            }
            if last.is_some() {
                port(&own["endPort"], &format!("{path}.endPort"), errors);
            }
        }
        Value::String(name) => errors.extend(
            names::port_name(name)
                .into_iter()
                .map(|detail| invalid(format!("{path}.port"), name.clone(), detail)),
        ),
        _ if !own["endPort"].is_null() => errors.push(invalid(
            format!("{path}.endPort"),
            own["endPort"].clone(),
            "may not be specified when `port` is not specified",
        )),
        _ => {}
    }
}

/// The address and the length of a network.
pub(super) fn network(text: &str) -> Option<(std::net::IpAddr, u32)> {
    let (base, length) = text.split_once('/')?;
    let base: std::net::IpAddr = base.parse().ok()?;
    let length: u32 = length.parse().ok()?;
    let most = if base.is_ipv4() { 32 } else { 128 };
    (length <= most).then_some((base, length))
}

fn bits(address: std::net::IpAddr) -> u128 {
    match address {
        std::net::IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        std::net::IpAddr::V6(address) => u128::from(address),
    }
}

fn within(inner: (std::net::IpAddr, u32), outer: (std::net::IpAddr, u32)) -> bool {
    let shift = 128_u32.saturating_sub(outer.1);
    let same = shift >= 128 || bits(inner.0) >> shift == bits(outer.0) >> shift;
    inner.0.is_ipv4() == outer.0.is_ipv4() && inner.1 > outer.1 && same
}

fn peer(own: &Value, path: &str, errors: &mut Errors) {
    let kinds = ["podSelector", "namespaceSelector"];
    let block = &own["ipBlock"];
    if block.is_null() && kinds.iter().all(|kind| own[*kind].is_null()) {
        errors.push(required(path, "must specify a peer"));
        return;
    }
    for kind in kinds {
        if !own[kind].is_null() {
            selector(&own[kind], &format!("{path}.{kind}"), errors);
        }
    }
    if block.is_null() {
        return;
    }
    let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    let whole = network(text(block, "cidr"));
    if text(block, "cidr").is_empty() {
        errors.push(required(format!("{path}.ipBlock.cidr"), ""));
    } else if whole.is_none() {
        errors.push(invalid(
            format!("{path}.ipBlock.cidr"),
            block["cidr"].clone(),
            detail,
        ));
    }
    for (index, except) in items(block, "except") {
        let path = format!("{path}.ipBlock.except[{index}]");
        match (network(except.as_str().unwrap_or("")), whole) {
            (None, _) => errors.push(invalid(path, except.clone(), detail)),
            (Some(part), Some(whole)) if !within(part, whole) => {
                errors.push(invalid(path, except.clone(), "must be a strict subset of `cidr`"));
            }
            _ => {}
        }
    }
    if kinds.iter().any(|kind| !own[*kind].is_null()) {
        errors.push(forbidden(path, "may not specify both ipBlock and another peer"));
    }
}

/// Checks endpoints.
pub(super) fn endpoints(object: &Value, errors: &mut Errors) {
    for (index, subset) in items(object, "subsets") {
        let several = subset["ports"].as_array().is_some_and(|ports| ports.len() > 1);
        if is_empty(&subset["addresses"]) && is_empty(&subset["notReadyAddresses"]) {
            let detail = "must specify `addresses` or `notReadyAddresses`";
            errors.push(required(format!("subsets[{index}]"), detail));
        }
        for field in ["addresses", "notReadyAddresses"] {
            for (at, own) in items(subset, field) {
                endpoint_address(own, &format!("subsets[{index}].{field}[{at}]"), errors);
            }
        }
        for (at, own) in items(subset, "ports") {
            let path = format!("subsets[{index}].ports[{at}]");
            match text(own, "name") {
                "" if several => errors.push(required(format!("{path}.name"), "")),
                "" => {}
                name => named(name, names::label, &format!("{path}.name"), errors),
            }
            port(&own["port"], &format!("{path}.port"), errors);
            match own["protocol"].as_str() {
                None | Some("") => errors.push(required(format!("{path}.protocol"), "")),
                Some(other) if !PROTOCOLS.contains(&other) => {
                    let path = format!("{path}.protocol");
                    errors.push(FieldError::not_supported(
                        path,
                        own["protocol"].clone(),
                        PROTOCOLS,
                    ));
                }
                _ => {}
            }
            if let Some(protocol) = own["appProtocol"].as_str() {
                named(
                    protocol,
                    names::qualified_name,
                    &format!("{path}.appProtocol"),
                    errors,
                );
            }
        }
    }
}

fn endpoint_address(own: &Value, path: &str, errors: &mut Errors) {
    let at = format!("{path}.ip");
    let ip = text(own, "ip");
    let good = address(ip, &at, errors);
    if !text(own, "hostname").is_empty() {
        named(
            text(own, "hostname"),
            names::label,
            &format!("{path}.hostname"),
            errors,
        );
    }
    if let Some(node) = own["nodeName"].as_str() {
        named(node, names::subdomain, &format!("{path}.nodeName"), errors);
    }
    if good {
        outside_address(ip, &at, errors);
    } else {
        errors.push(invalid(at, ip, "must be a valid IP address"));
    }
}
