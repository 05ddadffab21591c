//! Statuses that workload controllers write.

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use crate::kinds::Kind;
use crate::names;

use super::common::{forbidden, go_struct, invalid, is_empty, items, named, text};
use super::shown;

/// What must hold of the numbers in a status.
struct Rules {
    /// Those that are never negative.
    counts: &'static [&'static str],
    /// Pairs of which the first is at most the second.
    ordered: &'static [(&'static str, &'static str)],
    /// Whether the count of collisions only rises.
    collisions: bool,
}

const DEPLOYMENT: Rules = Rules {
    counts: &[
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
    ],
    ordered: &[
        ("updatedReplicas", "replicas"),
        ("readyReplicas", "replicas"),
        ("availableReplicas", "replicas"),
        ("availableReplicas", "readyReplicas"),
    ],
    collisions: true,
};

const REPLICA_SET: Rules = Rules {
    counts: &[
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
    ],
    ordered: &[
        ("fullyLabeledReplicas", "replicas"),
        ("readyReplicas", "replicas"),
        ("availableReplicas", "replicas"),
        ("availableReplicas", "readyReplicas"),
    ],
    collisions: false,
};

const STATEFUL_SET: Rules = Rules {
    counts: &[
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
    ],
    ordered: &[
        ("readyReplicas", "replicas"),
        ("currentReplicas", "replicas"),
        ("updatedReplicas", "replicas"),
        ("availableReplicas", "replicas"),
        ("availableReplicas", "readyReplicas"),
    ],
    collisions: true,
};

const DAEMON_SET: Rules = Rules {
    counts: &[
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
    ],
    ordered: &[],
    collisions: true,
};

const BUDGET: Rules = Rules {
    counts: &[
        "disruptionsAllowed",
        "currentHealthy",
        "desiredHealthy",
        "expectedPods",
    ],
    ordered: &[],
    collisions: false,
};

fn number(status: &Value, field: &str) -> i64 {
    status[field].as_i64().unwrap_or(0)
}

/// What a balancer says of where a service or an ingress is reached.
fn balancer(new: &Value, modes: bool, errors: &mut Vec<FieldError>) {
    const PATH: &str = "status.loadBalancer.ingress";
    if modes && new["spec"]["type"] != "LoadBalancer" && !is_empty(&new["status"]["loadBalancer"]["ingress"])
    {
        let detail = "may only be used when `spec.type` is 'LoadBalancer'";
        errors.push(forbidden(PATH, detail));
        return;
    }
    for (index, entry) in items(&new["status"]["loadBalancer"], "ingress") {
        let path = format!("{PATH}[{index}]");
        let (ip, host) = (text(entry, "ip"), text(entry, "hostname"));
        if !ip.is_empty() && ip.parse::<std::net::IpAddr>().is_err() {
            errors.push(invalid(format!("{path}.ip"), ip, ADDRESS));
        }
        let at = format!("{path}.ipMode");
        match entry["ipMode"].as_str().filter(|_| modes) {
            None => {}
            Some(_) if ip.is_empty() => {
                errors.push(forbidden(at, "may not be specified when `ip` is not set"));
            }
            Some(mode) if !matches!(mode, "Proxy" | "VIP") => {
                errors.push(FieldError::not_supported(at, mode.into(), &["Proxy", "VIP"]));
            }
            Some(_) => {}
        }
        let at = format!("{path}.hostname");
        if host.parse::<std::net::IpAddr>().is_ok() {
            errors.push(invalid(at, host, "must be a DNS name, not an IP address"));
        } else if !host.is_empty() {
            named(host, names::subdomain, &at, errors);
        }
    }
}

const ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/// What a kubelet says of a pod.
fn pod(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (is, was) = (&new["status"], &old["status"]);
    let node = text(is, "nominatedNodeName");
    if !node.is_empty() {
        named(node, names::subdomain, "status.nominatedNodeName", errors);
    }
    if is["qosClass"] != was["qosClass"] {
        errors.push(shown::fixed("s", "status.qosClass", &is["qosClass"]));
    }
    let list: Vec<&str> = items(is, "podIPs").map(|(_, item)| text(item, "ip")).collect();
    let mut families = vec![];
    for (index, ip) in list.iter().enumerate() {
        match ip.parse::<std::net::IpAddr>() {
            Ok(address) => families.push(address.is_ipv4()),
            Err(_) => errors.push(invalid(format!("status.podIPs[{index}]"), *ip, ADDRESS)),
        }
    }
    if let [one, rest @ ..] = families.as_slice()
        && (rest.len() > 1 || rest.first() == Some(one))
    {
        let all: Vec<String> = list
            .iter()
            .map(|ip| format!("{{\"IP\":{}}}", Value::from(*ip)))
            .collect();
        let shown = format!("[{}]", all.join(","));
        let detail = "may specify no more than one IP for each IP family";
        errors.push(go_struct(ErrorKind::Invalid, "status.podIPs", &shown, detail));
    }
}

/// Errors of a status.
pub(super) fn validate(kind: &Kind, new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let rules = match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment") => DEPLOYMENT,
        ("apps", "ReplicaSet") | ("", "ReplicationController") => REPLICA_SET,
        ("apps", "StatefulSet") => STATEFUL_SET,
        ("apps", "DaemonSet") => DAEMON_SET,
        ("policy", "PodDisruptionBudget") => BUDGET,
        ("batch", "Job") => return super::finished::job(new, old, errors),
        ("", "Pod") => return pod(new, old, errors),
        ("", "Service") => return balancer(new, true, errors),
        ("networking.k8s.io", "Ingress") => return balancer(new, false, errors),
        _ => return,
    };
    let status = &new["status"];
    for field in rules.counts {
        if number(status, field) < 0 {
            let detail = "must be greater than or equal to 0";
            errors.push(invalid(format!("status.{field}"), number(status, field), detail));
        }
    }
    for (field, most) in rules.ordered {
        if number(status, field) > number(status, most) {
            // Deployments and replica sets name this one alone without its place.
            let bare = *most == "readyReplicas"
                && matches!(
                    kind.kind.as_str(),
                    "Deployment" | "ReplicaSet" | "ReplicationController"
                );
            let place = if bare { "" } else { "status." };
            let detail = format!("cannot be greater than {place}{most}");
            errors.push(invalid(format!("status.{field}"), number(status, field), detail));
        }
    }
    let (is, was) = (
        number(status, "collisionCount"),
        number(&old["status"], "collisionCount"),
    );
    if rules.collisions && is < was {
        errors.push(invalid("status.collisionCount", is, "cannot be decremented"));
    }
}
