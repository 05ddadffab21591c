//! What services say of their addresses and of who may reach them.

use serde_json::Value;

use super::common::{
    Errors, address, duplicate, forbidden, invalid, is_empty, items, named, one_of, port, text,
};
use super::network::network;
use crate::names;

/// Checks what depends on a service's type.
pub(super) fn by_type(spec: &Value, errors: &mut Errors) {
    let kind = text(spec, "type");
    let balanced = kind == "LoadBalancer";
    let headless = spec["clusterIP"] == "None";
    if headless && matches!(kind, "NodePort" | "LoadBalancer") {
        let detail = format!("may not be set to 'None' for {kind} services");
        errors.push(invalid("spec.clusterIPs[0]", "None", detail));
    }
    if kind == "ExternalName" {
        let detail = "may not be set for ExternalName services";
        for (field, path) in [
            ("clusterIP", "clusterIPs"),
            ("ipFamilies", "ipFamilies"),
            ("ipFamilyPolicy", "ipFamilyPolicy"),
        ] {
            if !is_empty(&spec[field]) || !is_empty(&spec[path]) {
                errors.push(forbidden(format!("spec.{path}"), detail));
            }
        }
    } else {
        families(spec, errors);
    }
    if kind == "ClusterIP" {
        for (index, own) in items(spec, "ports") {
            if own["nodePort"].as_i64().is_some_and(|port| port != 0) {
                let detail = "may not be used when `type` is 'ClusterIP'";
                errors.push(forbidden(format!("spec.ports[{index}].nodePort"), detail));
            }
        }
    }
    sources(spec, balanced, errors);
    let only = "may only be used when `type` is 'LoadBalancer'";
    if !balanced && !spec["allocateLoadBalancerNodePorts"].is_null() {
        errors.push(forbidden("spec.allocateLoadBalancerNodePorts", only));
    }
    if let Some(class) = spec["loadBalancerClass"].as_str() {
        if balanced {
            named(class, names::qualified_name, "spec.loadBalancerClass", errors);
        } else {
            errors.push(forbidden("spec.loadBalancerClass", only));
        }
    }
    let local = balanced && spec["externalTrafficPolicy"] == "Local";
    if let Some(own) = spec["healthCheckNodePort"].as_i64().filter(|port| *port != 0) {
        let path = "spec.healthCheckNodePort";
        if local {
            port(&own.into(), path, errors);
        } else {
            let detail =
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.push(invalid(path, own, detail));
        }
    }
}

/// Families of addresses, and the addresses that a service asks for.
fn families(spec: &Value, errors: &mut Errors) {
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    one_of(&spec["ipFamilyPolicy"], &policies, "spec.ipFamilyPolicy", errors);
    if spec["ipFamilyPolicy"] == "RequireDualStack" {
        let detail = "this cluster is not configured for dual-stack services";
        errors.push(invalid("spec.ipFamilyPolicy", "RequireDualStack", detail));
    }
    let mut seen = std::collections::BTreeSet::new();
    for (index, family) in items(spec, "ipFamilies") {
        let path = format!("spec.ipFamilies[{index}]");
        one_of(family, &["IPv4", "IPv6"], path.clone(), errors);
        if !seen.insert(family.as_str()) {
            errors.push(duplicate(path, family.clone()));
        }
    }
}

/// The addresses that a new service asks for.
pub(super) fn addresses(spec: &Value, errors: &mut Errors) {
    if spec["type"] == "ExternalName" {
        return;
    }
    let (all, first) = (&spec["clusterIPs"], text(spec, "clusterIP"));
    if is_empty(all) {
        return;
    }
    if first.is_empty() {
        let detail = "must be empty when `clusterIP` is not specified";
        errors.push(invalid("spec.clusterIPs", all.clone(), detail));
    } else if all[0] != first {
        errors.push(invalid(
            "spec.clusterIPs",
            all.clone(),
            "first value must match `clusterIP`",
        ));
    }
    for (index, own) in items(spec, "clusterIPs") {
        let own = own.as_str().unwrap_or("");
        if own != "None" && (index > 0 || own != first) {
            address(own, &format!("spec.clusterIPs[{index}]"), errors);
        }
    }
}

fn sources(spec: &Value, balanced: bool, errors: &mut Errors) {
    let path = "spec.LoadBalancerSourceRanges";
    if !balanced && !is_empty(&spec["loadBalancerSourceRanges"]) {
        errors.push(forbidden(path, "may only be used when `type` is 'LoadBalancer'"));
    }
    for (index, own) in items(spec, "loadBalancerSourceRanges") {
        let (path, own) = (format!("{path}[{index}]"), own.as_str().unwrap_or("").trim());
        match network(own) {
            None => {
                let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                errors.push(invalid(path, own, detail));
            }
            Some((base, length)) => {
                let (bits, most) = match base {
                    std::net::IpAddr::V4(base) => (u128::from(u32::from(base)), 32),
                    std::net::IpAddr::V6(base) => (u128::from(base), 128),
                };
                let rest = most - length;
                if rest < 128 && bits & ((1_u128 << rest) - 1) != 0 {
                    errors.push(invalid(
                        path,
                        own,
                        "must not have bits set beyond the prefix length",
                    ));
                }
            }
        }
    }
}

/// Checks words of which there are few.
pub(super) fn words(spec: &Value, errors: &mut Errors) {
    for (index, own) in items(spec, "ports") {
        if let Some(protocol) = own["appProtocol"].as_str() {
            let path = format!("spec.ports[{index}].appProtocol");
            named(protocol, names::qualified_name, &path, errors);
        }
    }
    let seconds = &spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
    if spec["sessionAffinity"] == "ClientIP"
        && seconds
            .as_i64()
            .is_some_and(|seconds| !(1..=86_400).contains(&seconds))
    {
        let path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
        let detail = "must be greater than 0 and less than 86400";
        errors.push(invalid(path, seconds.clone(), detail));
    }
    let lists: &[(&str, &[&str])] = &[
        ("internalTrafficPolicy", &["Cluster", "Local"]),
        (
            "trafficDistribution",
            &["PreferClose", "PreferSameZone", "PreferSameNode"],
        ),
    ];
    for (field, allowed) in lists {
        one_of(&spec[*field], allowed, format!("spec.{field}"), errors);
    }
    if spec["type"] != "ExternalName" {
        let path = "spec.externalTrafficPolicy";
        one_of(
            &spec["externalTrafficPolicy"],
            &["Cluster", "Local"],
            path,
            errors,
        );
    }
}
