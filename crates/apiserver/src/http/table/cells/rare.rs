//! What stands in the columns of kinds that people see rarely.

use serde_json::Value;

use crate::kinds::Kind;

use super::{containers, count, csr_state, entries, human, joined, labels, list, text};

/// The cells of such a kind.
pub(super) fn of(kind: &Kind, object: &Value, age: Value) -> Vec<Value> {
    let spec = &object["spec"];
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("storage.k8s.io", "StorageClass") => vec![
            object["provisioner"].clone(),
            text(&object["reclaimPolicy"], "Delete"),
            text(&object["volumeBindingMode"], "<unset>"),
            (object["allowVolumeExpansion"] == true).into(),
            age,
        ],
        ("storage.k8s.io", "CSIDriver") => {
            let audiences =
                list(&spec["tokenRequests"]).map(|item| item["audience"].as_str().unwrap_or("").to_owned());
            let modes = list(&spec["volumeLifecycleModes"])
                .filter_map(Value::as_str)
                .map(str::to_owned);
            vec![
                (spec["attachRequired"] != false).into(),
                (spec["podInfoOnMount"] == true).into(),
                (spec["storageCapacity"] == true).into(),
                joined(audiences, "<unset>"),
                (spec["requiresRepublish"] == true).into(),
                joined(modes, "<none>"),
                age,
            ]
        }
        ("storage.k8s.io", "CSINode") => vec![entries(&spec["drivers"]).into(), age],
        ("storage.k8s.io", "VolumeAttachment") => vec![
            spec["attacher"].clone(),
            text(&spec["source"]["persistentVolumeName"], ""),
            spec["nodeName"].clone(),
            (object["status"]["attached"] == true).into(),
            age,
        ],
        ("storage.k8s.io", "VolumeAttributesClass") => vec![object["driverName"].clone(), age],
        ("scheduling.k8s.io", _) => vec![
            count(&object["value"]),
            (object["globalDefault"] == true).into(),
            age,
            text(&object["preemptionPolicy"], ""),
        ],
        ("certificates.k8s.io", _) => {
            let lasting = spec["expirationSeconds"]
                .as_i64()
                .map_or("<none>".to_owned(), human);
            vec![
                age,
                spec["signerName"].clone(),
                text(&spec["username"], ""),
                lasting.into(),
                csr_state(object),
            ]
        }
        ("", "PodTemplate") => {
            let [names, images] = containers(&object["template"]["spec"]);
            vec![names, images, labels(&object["template"]["metadata"]["labels"])]
        }
        ("networking.k8s.io", "ServiceCIDR") => vec![texts(&spec["cidrs"], "<none>"), age],
        ("networking.k8s.io", "IPAddress") => vec![parent(&spec["parentRef"]), age],
        ("apiregistration.k8s.io", _) => api_service(object, age),
        ("resource.k8s.io", name) => devices(name, object, age),
        ("node.k8s.io", _) => vec![object["handler"].clone(), age],
        ("coordination.k8s.io", _) => vec![text(&spec["holderIdentity"], ""), age],
        ("admissionregistration.k8s.io", name) => policy(name, object, age),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => flow(object, age),
        ("flowcontrol.apiserver.k8s.io", _) => {
            let limited = &spec["limited"];
            let queuing = &limited["limitResponse"]["queuing"];
            let shown = |value: &Value| {
                if value.is_null() {
                    "<none>".into()
                } else {
                    value.clone()
                }
            };
            vec![
                spec["type"].clone(),
                shown(&limited["nominalConcurrencyShares"]),
                shown(&queuing["queues"]),
                shown(&queuing["handSize"]),
                shown(&queuing["queueLengthLimit"]),
                age,
            ]
        }
        ("discovery.k8s.io", _) => {
            let ports = list(&object["ports"]).map(|port| port["port"].to_string());
            let hosts = list(&object["endpoints"])
                .flat_map(|item| list(&item["addresses"]))
                .filter_map(Value::as_str);
            vec![
                object["addressType"].clone(),
                joined(ports, "<unset>"),
                joined(hosts.map(str::to_owned), "<unset>"),
                age,
            ]
        }
        _ => vec![age],
    }
}

fn policy(name: &str, object: &Value, age: Value) -> Vec<Value> {
    let spec = &object["spec"];
    let kind = &spec["paramKind"];
    let params = if kind.is_object() {
        format!(
            "{}/{}",
            kind["apiVersion"].as_str().unwrap_or(""),
            kind["kind"].as_str().unwrap_or("")
        )
        .into()
    } else {
        Value::from("<unset>")
    };
    match name {
        "ValidatingAdmissionPolicy" => vec![entries(&spec["validations"]).into(), params, age],
        "MutatingAdmissionPolicy" => vec![entries(&spec["mutations"]).into(), params, age],
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => {
            let reference = &spec["paramRef"];
            let shown = match (reference["namespace"].as_str(), reference["name"].as_str()) {
                (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
                (None, Some(name)) => format!("*/{name}"),
                _ if reference["selector"].is_object() => selector(&reference["selector"]),
                _ => "<unset>".to_owned(),
            };
            vec![spec["policyName"].clone(), shown.into(), age]
        }
        _ => vec![entries(&object["webhooks"]).into(), age],
    }
}

/// A selector as Go's generated types print themselves.
fn selector(value: &Value) -> String {
    let labels: String = value["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}: {},", value.as_str().unwrap_or("")))
        .collect();
    let labels = if labels.is_empty() {
        "map[string]string{}".to_owned()
    } else {
        format!("map[string]string{{{labels}}}")
    };
    let terms: String = list(&value["matchExpressions"])
        .map(|term| {
            let values: Vec<&str> = list(&term["values"]).filter_map(Value::as_str).collect();
            format!(
                "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},",
                term["key"].as_str().unwrap_or(""),
                term["operator"].as_str().unwrap_or(""),
                values.join(" ")
            )
        })
        .collect();
    format!("&LabelSelector{{MatchLabels:{labels},MatchExpressions:[]LabelSelectorRequirement{{{terms}}},}}")
}

fn texts(value: &Value, none: &str) -> Value {
    joined(list(value).filter_map(Value::as_str).map(str::to_owned), none)
}

/// A condition's status, and its reason unless it is met.
fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    list(&object["status"]["conditions"]).find(|condition| condition["type"] == name)
}

fn flow(object: &Value, age: Value) -> Vec<Value> {
    let spec = &object["spec"];
    let dangling =
        condition(object, "Dangling").map_or("?".into(), |condition| text(&condition["status"], ""));
    vec![
        spec["priorityLevelConfiguration"]["name"].clone(),
        count(&spec["matchingPrecedence"]),
        text(&spec["distinguisherMethod"]["type"], "<none>"),
        age,
        dangling,
    ]
}

/// Whom an address belongs to: group, resource, namespace and name, as far as they are there.
fn parent(reference: &Value) -> Value {
    let resource = ["resource", "group"].map(|field| reference[field].as_str().unwrap_or(""));
    let resource = resource
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(".");
    let rest = ["namespace", "name"].map(|field| reference[field].as_str().unwrap_or(""));
    let parts = [resource.as_str()]
        .into_iter()
        .chain(rest)
        .filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("/").into()
}

fn api_service(object: &Value, age: Value) -> Vec<Value> {
    let service = &object["spec"]["service"];
    let shown = match (service["namespace"].as_str(), service["name"].as_str()) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        _ => "Local".to_owned(),
    };
    let available = match condition(object, "Available") {
        None => "Unknown".to_owned(),
        Some(condition) if condition["status"] == "True" => "True".to_owned(),
        Some(condition) => format!(
            "{} ({})",
            condition["status"].as_str().unwrap_or(""),
            condition["reason"].as_str().unwrap_or("")
        ),
    };
    vec![shown.into(), available.into(), age]
}

/// Devices, who wants them and who has them.
fn devices(name: &str, object: &Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    match name {
        "ResourceClaim" => {
            let going = !object["metadata"]["deletionTimestamp"].is_null();
            let allocated = status["allocation"].is_object();
            let mut states = vec![];
            if going {
                states.push("deleted");
            }
            if allocated {
                states.push("allocated");
                if entries(&status["reservedFor"]) > 0 {
                    states.push("reserved");
                }
            } else if !going {
                states.push("pending");
            }
            vec![states.join(",").into(), age]
        }
        "ResourceSlice" => {
            let node = text(&spec["nodeName"], "");
            vec![node, spec["driver"].clone(), spec["pool"]["name"].clone(), age]
        }
        _ => vec![age],
    }
}
