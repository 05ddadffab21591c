//! What stands in the columns of built-in kinds.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::kinds::Kind;

use super::{age, human};

mod rare;

fn text(value: &Value, none: &str) -> Value {
    match value.as_str() {
        Some("") | None => none.into(),
        Some(text) => text.into(),
    }
}

fn count(value: &Value) -> Value {
    value.as_i64().unwrap_or(0).into()
}

fn entries(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len) + value.as_array().map_or(0, Vec::len)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The first three of a list and how many more there are.
fn few(parts: impl Iterator<Item = String>, none: &str) -> Value {
    let parts: Vec<String> = parts.collect();
    let first = parts.iter().take(3).cloned().collect::<Vec<_>>().join(",");
    match (parts.is_empty(), parts.len().saturating_sub(3)) {
        (true, _) => none.into(),
        (_, 0) => first.into(),
        (_, more) => format!("{first} + {more} more...").into(),
    }
}

fn joined(parts: impl Iterator<Item = String>, none: &str) -> Value {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() {
        none.into()
    } else {
        parts.join(",").into()
    }
}

/// A plain map of labels as a selector shows it.
fn labels(value: &Value) -> Value {
    let pairs = value.as_object().into_iter().flatten();
    joined(
        pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or(""))),
        "<none>",
    )
}

fn selector(value: &Value) -> Value {
    match fluvial_object::labels::Selector::from_value(value) {
        Ok(selector) if !value.is_null() => text(&selector.formatted().into(), "<none>"),
        _ => "<none>".into(),
    }
}

fn containers(spec: &Value) -> [Value; 2] {
    let pick = |field: &str| {
        joined(
            list(&spec["containers"]).map(|item| item[field].as_str().unwrap_or("").to_owned()),
            "",
        )
    };
    [pick("name"), pick("image")]
}

/// Name and the cells after it.
pub(super) fn of(kind: &Kind, object: &Value, name: &Value, old: &str, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let age_cell = Value::from(old);
    let mut cells = vec![name.clone()];
    let mut workload = |own: Vec<Value>, pods: &Value, last: Option<Value>| {
        cells.extend(own);
        cells.extend(containers(pods));
        cells.extend(last);
    };
    let pods = &spec["template"]["spec"];
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment") => {
            let ready = format!("{}/{}", count(&status["readyReplicas"]), count(&spec["replicas"]));
            let ready = if status["replicas"].is_null() {
                ready
            } else {
                format!("{}/{}", count(&status["readyReplicas"]), count(&spec["replicas"]))
            };
            let own = vec![
                ready.into(),
                count(&status["updatedReplicas"]),
                count(&status["availableReplicas"]),
                age_cell,
            ];
            workload(own, pods, Some(selector(&spec["selector"])));
        }
        ("apps", "ReplicaSet") | ("", "ReplicationController") => {
            let own = vec![
                count(&spec["replicas"]),
                count(&status["replicas"]),
                count(&status["readyReplicas"]),
                age_cell,
            ];
            let last = if kind.group.is_empty() {
                labels(&spec["selector"])
            } else {
                selector(&spec["selector"])
            };
            workload(own, pods, Some(last));
        }
        ("apps", "StatefulSet") => {
            let ready = format!("{}/{}", count(&status["readyReplicas"]), count(&spec["replicas"]));
            workload(vec![ready.into(), age_cell], pods, None);
        }
        ("apps", "DaemonSet") => {
            let mut own: Vec<Value> = [
                "desiredNumberScheduled",
                "currentNumberScheduled",
                "numberReady",
                "updatedNumberScheduled",
                "numberAvailable",
            ]
            .iter()
            .map(|field| count(&status[field]))
            .collect();
            own.extend([labels(&pods["nodeSelector"]), age_cell]);
            workload(own, pods, Some(selector(&spec["selector"])));
        }
        ("batch", "Job") => {
            let own = vec![
                job_state(object),
                job_completions(spec, status),
                job_duration(status, now),
                age_cell,
            ];
            workload(own, pods, Some(selector(&spec["selector"])));
        }
        ("batch", "CronJob") => {
            let last = if status["lastScheduleTime"].is_null() {
                "<none>".to_owned()
            } else {
                age(&status["lastScheduleTime"], now)
            };
            let suspended = if spec["suspend"] == true { "True" } else { "False" };
            let own = vec![
                spec["schedule"].clone(),
                text(&spec["timeZone"], "<none>"),
                suspended.into(),
                list(&status["active"]).count().into(),
                last.into(),
                age_cell,
            ];
            let job = &spec["jobTemplate"]["spec"];
            workload(own, &job["template"]["spec"], Some(selector(&job["selector"])));
        }
        ("", "Event") | ("events.k8s.io", "Event") => return event(object, name, now),
        _ => {
            cells.extend(simple(kind, object, &age_cell));
        }
    }
    cells
}

fn simple(kind: &Kind, object: &Value, age: &Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let age = age.clone();
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => pod(object, age),
        ("", "Service") => service(spec, status, age),
        ("", "Secret") => vec![object["type"].clone(), entries(&object["data"]).into(), age],
        ("", "ConfigMap") => vec![
            (entries(&object["data"]) + entries(&object["binaryData"])).into(),
            age,
        ],
        ("", "Namespace") => vec![text(&status["phase"], ""), age],
        ("", "ServiceAccount") => vec![age],
        ("", "Endpoints") => vec![endpoints(object), age],
        ("", "Node") => node(object, age),
        ("", "ResourceQuota") => quota(spec, status, age),
        ("", "PersistentVolumeClaim") => vec![
            status["phase"].clone(),
            text(&spec["volumeName"], ""),
            // What is bound and does not say how much there is has nothing.
            text(
                &status["capacity"]["storage"],
                if spec["volumeName"].as_str().is_some_and(|name| !name.is_empty()) {
                    "0"
                } else {
                    ""
                },
            ),
            access_modes(&status["accessModes"]),
            text(&spec["storageClassName"], ""),
            text(&spec["volumeAttributesClassName"], "<unset>"),
            age,
            text(&spec["volumeMode"], "<unset>"),
        ],
        ("", "PersistentVolume") => {
            let claim = &spec["claimRef"];
            let claim = if claim.is_object() {
                format!(
                    "{}/{}",
                    claim["namespace"].as_str().unwrap_or(""),
                    claim["name"].as_str().unwrap_or("")
                )
            } else {
                String::new()
            };
            vec![
                text(&spec["capacity"]["storage"], ""),
                access_modes(&spec["accessModes"]),
                text(&spec["persistentVolumeReclaimPolicy"], ""),
                status["phase"].clone(),
                claim.into(),
                text(&spec["storageClassName"], ""),
                text(&spec["volumeAttributesClassName"], "<unset>"),
                text(&status["reason"], ""),
                age,
                text(&spec["volumeMode"], "<unset>"),
            ]
        }
        ("apps", "ControllerRevision") => {
            vec![controller(object).into(), object["revision"].clone(), age]
        }
        ("autoscaling", "Scale") => vec![
            count(&spec["replicas"]),
            count(&object["status"]["replicas"]),
            age,
        ],
        ("autoscaling", _) if kind.version == "v1" => {
            let mut newest = object.clone();
            crate::convert::builtin_to_storage(kind, &mut newest);
            autoscaler(&newest, age)
        }
        ("autoscaling", _) => autoscaler(object, age),
        ("networking.k8s.io", "Ingress" | "IngressClass" | "NetworkPolicy") => network(kind, object, age),
        ("policy", "PodDisruptionBudget") => {
            let shown = |value: &Value| match value {
                Value::Null => "N/A".into(),
                Value::Number(number) => Value::from(number.to_string()),
                other => other.clone(),
            };
            vec![
                shown(&spec["minAvailable"]),
                shown(&spec["maxUnavailable"]),
                count(&status["disruptionsAllowed"]),
                age,
            ]
        }
        ("rbac.authorization.k8s.io", _) => binding(object, age),
        _ => rare::of(kind, object, age),
    }
}

/// The owner that controls an object, as `kind.group/name`.
fn controller(object: &Value) -> String {
    let owner = list(&object["metadata"]["ownerReferences"]).find(|owner| owner["controller"] == true);
    owner.map_or("<none>".to_owned(), |owner| {
        let kind = owner["kind"].as_str().unwrap_or("").to_lowercase();
        let group = owner["apiVersion"]
            .as_str()
            .unwrap_or("")
            .split_once('/')
            .map_or("", |(group, _)| group);
        let dot = if group.is_empty() { "" } else { "." };
        format!("{kind}{dot}{group}/{}", owner["name"].as_str().unwrap_or(""))
    })
}

/// Init containers that go on running count as the others do.
fn sidecars(spec: &Value) -> usize {
    list(&spec["initContainers"])
        .filter(|container| container["restartPolicy"] == "Always")
        .count()
}

/// What a row says of its object beyond the cells.
#[must_use]
pub fn conditions(kind: &Kind, object: &Value) -> Option<Value> {
    if !kind.is("", "Pod") {
        return None;
    }
    let (reason, message) = match object["status"]["phase"].as_str()? {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

fn pod(object: &Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let mut restarts = 0;
    let mut ready = 0;
    let mut reason = status["reason"]
        .as_str()
        .or_else(|| status["phase"].as_str())
        .unwrap_or("")
        .to_owned();
    let gated = list(&status["conditions"])
        .any(|own| own["type"] == "PodScheduled" && own["reason"] == "SchedulingGated");
    if gated {
        "SchedulingGated".clone_into(&mut reason);
    }
    let mut running = false;
    for item in list(&status["containerStatuses"]) {
        restarts += item["restartCount"].as_i64().unwrap_or(0);
        ready += i32::from(item["ready"] == true && item["state"]["running"].is_object());
        running |= item["ready"] == true && item["state"]["running"].is_object();
        if let Some(waiting) = item["state"]["waiting"]["reason"]
            .as_str()
            .filter(|text| !text.is_empty())
        {
            waiting.clone_into(&mut reason);
        } else if let Some(ended) = item["state"]["terminated"].as_object() {
            let code = ended.get("exitCode").and_then(Value::as_i64).unwrap_or(0);
            let why = ended
                .get("reason")
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty());
            reason = why.map_or_else(|| format!("ExitCode:{code}"), str::to_owned);
        }
    }
    if reason == "Completed" && running {
        let is_ready =
            list(&status["conditions"]).any(|item| item["type"] == "Ready" && item["status"] == "True");
        reason = if is_ready { "Running" } else { "NotReady" }.to_owned();
    }
    if !object["metadata"]["deletionTimestamp"].is_null()
        && !matches!(reason.as_str(), "Succeeded" | "Failed")
    {
        reason = "Terminating".to_owned();
    }
    let gates = list(&spec["readinessGates"]).count();
    let met = list(&spec["readinessGates"])
        .filter(|gate| {
            list(&status["conditions"])
                .any(|item| item["type"] == gate["conditionType"] && item["status"] == "True")
        })
        .count();
    let gates = if gates == 0 {
        "<none>".to_owned()
    } else {
        format!("{met}/{gates}")
    };
    vec![
        format!("{ready}/{}", entries(&spec["containers"]) + sidecars(spec)).into(),
        reason.into(),
        restarts.to_string().into(),
        age,
        text(&status["podIP"], "<none>"),
        text(&spec["nodeName"], "<none>"),
        text(&status["nominatedNodeName"], "<none>"),
        gates.into(),
    ]
}

fn service(spec: &Value, status: &Value, age: Value) -> Vec<Value> {
    let kind = spec["type"].as_str().unwrap_or("ClusterIP");
    let given = || {
        list(&spec["externalIPs"])
            .filter_map(Value::as_str)
            .map(str::to_owned)
    };
    let balanced = || {
        list(&status["loadBalancer"]["ingress"])
            .filter_map(|item| item["ip"].as_str().or_else(|| item["hostname"].as_str()))
            .map(str::to_owned)
    };
    let outside = match kind {
        "ExternalName" => text(&spec["externalName"], ""),
        "LoadBalancer" => joined(balanced().chain(given()), "<pending>"),
        _ => joined(given(), "<none>"),
    };
    let ports = list(&spec["ports"]).map(|port| {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        match port["nodePort"].as_i64() {
            Some(node) if node > 0 => format!("{}:{node}/{protocol}", port["port"]),
            _ => format!("{}/{protocol}", port["port"]),
        }
    });
    vec![
        kind.into(),
        text(&spec["clusterIP"], "<none>"),
        outside,
        joined(ports, "<none>"),
        age,
        labels(&spec["selector"]),
    ]
}

fn endpoints(object: &Value) -> Value {
    let mut shown: Vec<String> = vec![];
    for subset in list(&object["subsets"]) {
        for address in list(&subset["addresses"]) {
            let ip = address["ip"].as_str().unwrap_or("");
            let before = shown.len();
            shown.extend(list(&subset["ports"]).map(|port| format!("{ip}:{}", port["port"])));
            if shown.len() == before {
                shown.push(ip.to_owned());
            }
        }
    }
    few(shown.into_iter(), "<none>")
}

fn node(object: &Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let ready = list(&status["conditions"]).find(|item| item["type"] == "Ready");
    let mut state = match ready.map(|item| item["status"] == "True") {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if spec["unschedulable"] == true {
        state.push_str(",SchedulingDisabled");
    }
    let roles = object["metadata"]["labels"].as_object().into_iter().flatten();
    let roles = roles
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .map(str::to_owned);
    let address = |kind: &str| {
        let found = list(&status["addresses"]).find(|item| item["type"] == kind);
        found.map_or("<none>".into(), |item| item["address"].clone())
    };
    let info = |field: &str| text(&status["nodeInfo"][field], "<unknown>");
    vec![
        state.into(),
        joined(roles, "<none>"),
        age,
        text(&status["nodeInfo"]["kubeletVersion"], ""),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn quota(spec: &Value, status: &Value, age: Value) -> Vec<Value> {
    let hard = if status["hard"].is_object() {
        &status["hard"]
    } else {
        &spec["hard"]
    };
    let shown = |limits: bool| {
        let pairs = hard.as_object().into_iter().flatten();
        let parts: Vec<String> = pairs
            .filter(|(name, _)| name.starts_with("limits") == limits)
            .map(|(name, value)| {
                let used = status["used"][name].as_str().unwrap_or("0");
                format!("{name}: {used}/{}", value.as_str().unwrap_or(""))
            })
            .collect();
        parts.join(", ")
    };
    vec![shown(false).into(), shown(true).into(), age]
}

fn access_modes(value: &Value) -> Value {
    let order = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let shown = order
        .iter()
        .filter(|(name, _)| list(value).any(|mode| mode == *name));
    joined(shown.map(|(_, short)| (*short).to_owned()), "")
}

fn autoscaler(object: &Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let target = &spec["scaleTargetRef"];
    let reference = format!(
        "{}/{}",
        target["kind"].as_str().unwrap_or(""),
        target["name"].as_str().unwrap_or("")
    );
    let metrics: Vec<String> = list(&spec["metrics"])
        .map(|metric| {
            let kind = metric["type"].as_str().unwrap_or("");
            let field = format!(
                "{}{}",
                kind[..kind.len().min(1)].to_lowercase(),
                kind.get(1..).unwrap_or("")
            );
            let own = &metric[&field];
            let name = own["name"]
                .as_str()
                .or_else(|| own["metric"]["name"].as_str())
                .unwrap_or("");
            let wanted = &own["target"];
            let shown = match wanted["averageUtilization"].as_i64() {
                Some(percent) => format!("{percent}%"),
                None => wanted["averageValue"]
                    .as_str()
                    .or_else(|| wanted["value"].as_str())
                    .unwrap_or("<unknown>")
                    .to_owned(),
            };
            if kind == "Resource" {
                format!("{name}: <unknown>/{shown}")
            } else {
                format!("<unknown>/{shown}")
            }
        })
        .collect();
    // The first two are shown.
    let metrics = match metrics.len() {
        0 => "<none>".to_owned(),
        1 | 2 => metrics.join(", "),
        all => format!("{} + {} more...", metrics[..2].join(", "), all - 2),
    };
    let least = spec["minReplicas"]
        .as_i64()
        .map_or("<unset>".to_owned(), |number| number.to_string());
    vec![
        reference.into(),
        metrics.into(),
        least.into(),
        count(&spec["maxReplicas"]),
        count(&status["currentReplicas"]),
        age,
    ]
}

fn network(kind: &Kind, object: &Value, age: Value) -> Vec<Value> {
    let spec = &object["spec"];
    match kind.kind.as_str() {
        "Ingress" => {
            let hosts = list(&spec["rules"])
                .filter_map(|rule| rule["host"].as_str())
                .map(str::to_owned);
            let address = list(&object["status"]["loadBalancer"]["ingress"])
                .filter_map(|item| item["ip"].as_str().or_else(|| item["hostname"].as_str()))
                .map(str::to_owned);
            let ports = if entries(&spec["tls"]) > 0 {
                "80, 443"
            } else {
                "80"
            };
            vec![
                text(&spec["ingressClassName"], "<none>"),
                few(hosts, "*"),
                joined(address, ""),
                ports.into(),
                age,
            ]
        }
        "IngressClass" => {
            let params = &spec["parameters"];
            let shown = if params.is_object() {
                let (kind, name) = (
                    params["kind"].as_str().unwrap_or(""),
                    params["name"].as_str().unwrap_or(""),
                );
                match params["apiGroup"].as_str() {
                    Some(group) => format!("{kind}.{group}/{name}"),
                    None => format!("{kind}/{name}"),
                }
            } else {
                "<none>".to_owned()
            };
            vec![text(&spec["controller"], ""), shown.into(), age]
        }
        _ => vec![selector(&spec["podSelector"]), age],
    }
}

fn binding(object: &Value, age: Value) -> Vec<Value> {
    let role = &object["roleRef"];
    let role = format!(
        "{}/{}",
        role["kind"].as_str().unwrap_or(""),
        role["name"].as_str().unwrap_or("")
    );
    let of = |kind: &str| {
        let subjects = list(&object["subjects"]).filter(|subject| subject["kind"] == kind);
        let names: Vec<String> = subjects
            .map(|subject| {
                let name = subject["name"].as_str().unwrap_or("");
                match kind {
                    "ServiceAccount" => format!("{}/{name}", subject["namespace"].as_str().unwrap_or("")),
                    _ => name.to_owned(),
                }
            })
            .collect();
        Value::from(names.join(", "))
    };
    vec![role.into(), age, of("User"), of("Group"), of("ServiceAccount")]
}

fn job_state(object: &Value) -> Value {
    let has = |kind: &str| {
        list(&object["status"]["conditions"]).any(|item| item["type"] == kind && item["status"] == "True")
    };
    let state = [
        ("Complete", "Complete"),
        ("Failed", "Failed"),
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ]
    .iter()
    .find(|(condition, _)| has(condition))
    .map(|(_, shown)| *shown);
    let deleting = !object["metadata"]["deletionTimestamp"].is_null();
    state
        .unwrap_or(if deleting { "Terminating" } else { "Running" })
        .into()
}

fn job_completions(spec: &Value, status: &Value) -> Value {
    let done = status["succeeded"].as_i64().unwrap_or(0);
    match (spec["completions"].as_i64(), spec["parallelism"].as_i64()) {
        (Some(all), _) => format!("{done}/{all}").into(),
        (None, Some(many)) if many > 1 => format!("{done}/1 of {many}").into(),
        _ => format!("{done}/1").into(),
    }
}

fn job_duration(status: &Value, now: Timestamp) -> Value {
    let time = |field: &str| {
        status[field]
            .as_str()
            .and_then(|text| text.parse::<Timestamp>().ok())
    };
    match (time("startTime"), time("completionTime")) {
        (None, _) => "".into(),
        (Some(start), end) => human(end.unwrap_or(now).as_second() - start.as_second()).into(),
    }
}

fn csr_state(object: &Value) -> Value {
    let has = |kind: &str| list(&object["status"]["conditions"]).any(|item| item["type"] == kind);
    let mut state = if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !object["status"]["certificate"].as_str().unwrap_or("").is_empty() {
        state.push_str(",Issued");
    }
    state.into()
}

fn event(object: &Value, name: &Value, now: Timestamp) -> Vec<Value> {
    let field = |old: &str, new: &str| {
        if object[old].is_null() {
            object[new].clone()
        } else {
            object[old].clone()
        }
    };
    let about = field("involvedObject", "regarding");
    let source = field("source", "deprecatedSource");
    let first = field("firstTimestamp", "deprecatedFirstTimestamp");
    let last = field("lastTimestamp", "deprecatedLastTimestamp");
    let made = &object["eventTime"];
    let first = if first.is_null() { made.clone() } else { first };
    let last = if last.is_null() { first.clone() } else { last };
    let count = field("count", "deprecatedCount")
        .as_i64()
        .or_else(|| object["series"]["count"].as_i64())
        .unwrap_or(1);
    let mut thing = about["kind"].as_str().unwrap_or("").to_lowercase();
    if let Some(name) = about["name"].as_str().filter(|name| !name.is_empty()) {
        thing = format!("{thing}/{name}");
    }
    let component = source["component"]
        .as_str()
        .or_else(|| object["reportingComponent"].as_str())
        .or_else(|| object["reportingController"].as_str())
        .unwrap_or("");
    let host = source["host"]
        .as_str()
        .or_else(|| object["reportingInstance"].as_str());
    let from = match host {
        Some(host) if !host.is_empty() => format!("{component}, {host}"),
        _ => component.to_owned(),
    };
    let message = field("message", "note");
    vec![
        age(&last, now).into(),
        text(&object["type"], ""),
        text(&object["reason"], ""),
        thing.into(),
        text(&about["fieldPath"], ""),
        from.into(),
        json!(message.as_str().unwrap_or("").trim()),
        age(&first, now).into(),
        count.into(),
        name.clone(),
    ]
}
