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

/// Families of addresses, and the addresses that a service asks for. There is one family here.
fn families(spec: &Value, errors: &mut Errors) {
    const POLICY: &str = "spec.ipFamilyPolicy";
    let before = errors.len();
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    one_of(&spec["ipFamilyPolicy"], &policies, POLICY, errors);
    let mut seen = std::collections::BTreeSet::new();
    for (index, family) in items(spec, "ipFamilies") {
        let path = format!("spec.ipFamilies[{index}]");
        one_of(family, &["IPv4", "IPv6"], path.clone(), errors);
        if !seen.insert(family.as_str()) {
            errors.push(duplicate(path, family.clone()));
        }
    }
    let first = text(spec, "clusterIP");
    let single = serde_json::json!([first]);
    let asked = match &spec["clusterIPs"] {
        list if !is_empty(list) => list,
        _ if first.is_empty() => &Value::Null,
        _ => &single,
    };
    let addresses: Vec<std::net::IpAddr> = asked
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|address| address.as_str()?.parse().ok())
        .collect();
    let name = |address: &std::net::IpAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
    if let [one, other] = addresses.as_slice()
        && name(one) == name(other)
    {
        let detail = "may specify no more than one IP for each IP family";
        errors.push(invalid("spec.clusterIPs", asked.clone(), detail));
    }
    let given = spec["ipFamilies"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, (family, address)) in given.iter().zip(&addresses).enumerate() {
        if *family != name(address) {
            let family = family.as_str().unwrap_or("");
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            let path = format!("spec.clusterIPs[{index}]");
            errors.push(invalid(path, address.to_string(), detail));
        }
    }
    if errors.len() > before {
        return;
    }
    let headless = first == "None" && is_empty(&spec["selector"]);
    let policy = match text(spec, "ipFamilyPolicy") {
        "" if headless => "RequireDualStack",
        "" => "SingleStack",
        own => own,
    };
    for (many, what) in [(addresses.len(), "cluster IPs"), (given.len(), "IP families")] {
        if policy == "SingleStack" && many == 2 {
            let detail =
                format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
            errors.push(invalid(POLICY, policy, detail));
        }
    }
    for (index, address) in addresses.iter().enumerate().skip(given.len()) {
        if address.is_ipv6() {
            let path = format!("spec.clusterIPs[{index}]");
            errors.push(invalid(
                path,
                asked.clone(),
                "IPv6 is not configured on this cluster",
            ));
        }
    }
    if errors.len() > before || headless {
        return;
    }
    if policy == "RequireDualStack" {
        let detail = "this cluster is not configured for dual-stack services";
        errors.push(invalid(POLICY, policy, detail));
    }
    for (index, family) in given.iter().enumerate().filter(|(_, family)| *family == "IPv6") {
        let path = format!("spec.ipFamilies[{index}]");
        errors.push(invalid(path, family.clone(), "not configured on this cluster"));
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
