//! Horizontal pod autoscalers as their first version shows them: all but the target for CPU is in annotations, as texts of
//! a form of its own.

use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";

/// Fields of the annotations in the order that they are written in; those named twice are in different objects.
const ORDER: &[&str] = &[
    "type",
    "status",
    "lastTransitionTime",
    "reason",
    "message",
    "object",
    "pods",
    "resource",
    "target",
    "kind",
    "name",
    "apiVersion",
    "metricName",
    "metricSelector",
    "targetAverageUtilization",
    "currentAverageUtilization",
    "targetValue",
    "currentValue",
    "targetAverageValue",
    "currentAverageValue",
    "container",
    "selector",
    "averageValue",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "containerResource",
    "external",
];

/// JSON with fields in their order.
fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let place = |name: &str| ORDER.iter().position(|own| *own == name).unwrap_or(ORDER.len());
            let mut fields: Vec<(&String, &Value)> = map.iter().collect();
            fields.sort_by_key(|(name, _)| place(name));
            for (index, (name, value)) in fields.into_iter().enumerate() {
                out.push(if index == 0 { '{' } else { ',' });
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(value, out);
            }
            out.push_str(if map.is_empty() { "{}" } else { "}" });
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                out.push(if index == 0 { '[' } else { ',' });
                write(item, out);
            }
            out.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        other => out.push_str(&other.to_string()),
    }
}

fn annotate(object: &mut Value, name: &str, value: &Value) {
    let mut text = String::new();
    write(value, &mut text);
    object["metadata"]["annotations"][name] = text.into();
}

fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

/// The field of a metric that says what it is about.
fn source(metric: &Value) -> Option<&'static str> {
    Some(match metric["type"].as_str()? {
        "Object" => "object",
        "Pods" => "pods",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "External" => "external",
        _ => return None,
    })
}

/// Names of what is measured, and of what selects it, in the first version.
const NAMES: [(&str, &str, &str); 3] = [
    ("object", "metricName", "selector"),
    ("pods", "metricName", "selector"),
    ("external", "metricName", "metricSelector"),
];

/// Names of the amounts of a target, or of what is current: the second version's and the first one's.
fn amounts(source: &str, current: bool) -> [(&'static str, String); 3] {
    let prefix = if current { "current" } else { "target" };
    let average = match source {
        "object" => "averageValue".to_owned(),
        _ => format!("{prefix}AverageValue"),
    };
    [
        ("value", format!("{prefix}Value")),
        ("averageValue", average),
        ("averageUtilization", format!("{prefix}AverageUtilization")),
    ]
}

/// A metric, or what it is at, as the first version has it.
fn metric_to_v1(metric: &Value, current: bool) -> Value {
    let mut out = json!({"type": metric["type"]});
    let Some(source) = source(metric).filter(|source| metric[*source].is_object()) else {
        return out;
    };
    let from = &metric[source];
    let mut to = Map::new();
    let mut keep = |name: &str, value: &Value| {
        if !value.is_null() {
            to.insert(name.to_owned(), value.clone());
        }
    };
    keep("name", &from["name"]);
    keep("container", &from["container"]);
    keep("target", &from["describedObject"]);
    if let Some((_, name, selector)) = NAMES.iter().find(|(own, _, _)| *own == source) {
        keep(name, &from["metric"]["name"]);
        keep(selector, &from["metric"]["selector"]);
    }
    let given = &from[if current { "current" } else { "target" }];
    for (two, one) in amounts(source, current) {
        keep(&one, &given[two]);
    }
    // Some amounts are always there.
    let always = match (source, current) {
        ("object", false) => "targetValue",
        ("object" | "external", true) => "currentValue",
        ("pods", false) => "targetAverageValue",
        ("pods" | "resource" | "containerResource", true) => "currentAverageValue",
        _ => "",
    };
    if !always.is_empty() && !to.contains_key(always) {
        to.insert(always.to_owned(), "0".into());
    }
    out[source] = Value::Object(to);
    out
}

/// The second version's form of such a metric.
fn metric_to_v2(metric: &Value, current: bool) -> Value {
    let mut out = json!({"type": metric["type"]});
    let Some(source) = source(metric).filter(|source| metric[*source].is_object()) else {
        return out;
    };
    let from = &metric[source];
    let mut to = json!({});
    for name in ["name", "container"] {
        if !from[name].is_null() {
            to[name] = from[name].clone();
        }
    }
    if from["target"].is_object() {
        to["describedObject"] = from["target"].clone();
    }
    if let Some((_, name, selector)) = NAMES.iter().find(|(own, _, _)| *own == source) {
        to["metric"]["name"] = from[*name].clone();
        if !from[*selector].is_null() {
            to["metric"]["selector"] = from[*selector].clone();
        }
    }
    let mut target = json!({});
    for (two, one) in amounts(source, current) {
        if !from[&one].is_null() {
            target[two] = from[&one].clone();
        }
    }
    if !current {
        let kind = match source {
            "pods" => "AverageValue",
            "object" if target["averageValue"].is_null() => "Value",
            "external" if !target["value"].is_null() => "Value",
            "resource" | "containerResource" if !target["averageUtilization"].is_null() => "Utilization",
            _ => "AverageValue",
        };
        target["type"] = kind.into();
    }
    to[if current { "current" } else { "target" }] = target;
    out[source] = to;
    out
}

/// What is known of scaling, as the server's own types print themselves: all fields, with capitals.
fn behavior_text(behavior: &Value) -> String {
    let policy = |policy: &Value| {
        let (kind, value, seconds) = (&policy["type"], &policy["value"], &policy["periodSeconds"]);
        format!("{{\"Type\":{kind},\"Value\":{value},\"PeriodSeconds\":{seconds}}}")
    };
    let rules = |rules: &Value| {
        if rules.is_null() {
            return "null".to_owned();
        }
        let policies: Vec<String> = list(&rules["policies"]).iter().map(policy).collect();
        let policies = match rules["policies"].is_array() {
            true => format!("[{}]", policies.join(",")),
            false => "null".to_owned(),
        };
        format!(
            "{{\"StabilizationWindowSeconds\":{},\"SelectPolicy\":{},\"Policies\":{policies},\"Tolerance\":{}}}",
            rules["stabilizationWindowSeconds"], rules["selectPolicy"], rules["tolerance"]
        )
    };
    let (up, down) = (rules(&behavior["scaleUp"]), rules(&behavior["scaleDown"]));
    format!("{{\"ScaleUp\":{up},\"ScaleDown\":{down}}}")
}

/// The same with the fields' usual names, and without those that say nothing.
fn small(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| {
                let mut letters = name.chars();
                let first = letters.next().map(|first| first.to_ascii_lowercase());
                (first.into_iter().chain(letters).collect::<String>(), small(value))
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(small).collect(),
        other => other,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Shows an object of the second version as one of the first.
pub(super) fn to_v1(object: &mut Value) {
    let taken = |value: &mut Value| value.as_object_mut().map(std::mem::take).unwrap_or_default();
    let mut spec = taken(&mut object["spec"]);
    if let Some(metrics) = spec.remove("metrics") {
        let for_cpu =
            |metric: &Value| is_cpu(metric) && !metric["resource"]["target"]["averageUtilization"].is_null();
        let (cpu, others): (Vec<&Value>, Vec<&Value>) =
            list(&metrics).iter().partition(|metric| for_cpu(metric));
        if let Some(first) = cpu.first() {
            let percent = first["resource"]["target"]["averageUtilization"].clone();
            spec.insert("targetCPUUtilizationPercentage".into(), percent);
        }
        if !others.is_empty() {
            let others = others
                .into_iter()
                .map(|metric| metric_to_v1(metric, false))
                .collect();
            annotate(object, METRICS, &Value::Array(others));
        }
    }
    if let Some(behavior) = spec.remove("behavior") {
        object["metadata"]["annotations"][BEHAVIOR] = behavior_text(&behavior).into();
    }
    object["spec"] = Value::Object(spec);
    let mut shown = json!({"currentReplicas": 0, "desiredReplicas": 0});
    for (name, value) in taken(&mut object["status"]) {
        match name.as_str() {
            "conditions" if list(&value).is_empty() => {}
            "conditions" => annotate(object, CONDITIONS, &value),
            "currentMetrics" if list(&value).is_empty() => {}
            "currentMetrics" => {
                let percent =
                    |metric: &&Value| metric["resource"]["current"].get("averageUtilization").is_some();
                if let Some(cpu) = list(&value).iter().filter(|metric| is_cpu(metric)).find(percent) {
                    shown["currentCPUUtilizationPercentage"] =
                        cpu["resource"]["current"]["averageUtilization"].clone();
                }
                let all = list(&value)
                    .iter()
                    .map(|metric| metric_to_v1(metric, true))
                    .collect();
                annotate(object, CURRENT, &Value::Array(all));
            }
            _ => shown[&name] = value,
        }
    }
    object["status"] = shown;
}

fn take_annotation(object: &mut Value, name: &str) -> Option<Value> {
    let annotations = object["metadata"].get_mut("annotations")?.as_object_mut()?;
    let text = annotations.remove(name)?;
    if annotations.is_empty() {
        object["metadata"].as_object_mut()?.remove("annotations");
    }
    serde_json::from_str(text.as_str()?).ok()
}

/// Turns an object of the first version into one of the second.
pub(super) fn to_v2(object: &mut Value) {
    let metrics = take_annotation(object, METRICS).unwrap_or_default();
    let mut metrics: Vec<Value> = list(&metrics)
        .iter()
        .map(|metric| metric_to_v2(metric, false))
        .collect();
    let spec = object.get_mut("spec").and_then(Value::as_object_mut);
    if let Some(percent) = spec.and_then(|spec| spec.remove("targetCPUUtilizationPercentage")) {
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": percent}}}));
    }
    if !metrics.is_empty() {
        object["spec"]["metrics"] = metrics.into();
    }
    if let Some(behavior) = take_annotation(object, BEHAVIOR) {
        object["spec"]["behavior"] = small(behavior);
    }
    if let Some(conditions) = take_annotation(object, CONDITIONS) {
        object["status"]["conditions"] = conditions;
    }
    let all = take_annotation(object, CURRENT);
    let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) else {
        return;
    };
    let percent = status.remove("currentCPUUtilizationPercentage");
    let current = match (all, percent) {
        (Some(all), _) => list(&all)
            .iter()
            .map(|metric| metric_to_v2(metric, true))
            .collect(),
        (None, Some(percent)) => json!([{"type": "Resource", "resource": {"name": "cpu",
            "current": {"averageUtilization": percent}}}]),
        (None, None) => Value::Null,
    };
    status.insert("currentMetrics".to_owned(), current);
    if status.get("currentReplicas").and_then(Value::as_i64) == Some(0) {
        status.remove("currentReplicas");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_first_version_lacks_comes_back_from_its_annotations() {
        let mut object = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3,
            "behavior": {"scaleDown": {"policies": [{"periodSeconds": 5, "type": "Pods", "value": 1}], "selectPolicy": "Max"}},
            "metrics": [
                {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 10}}},
                {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"},
                    "metric": {"name": "hits"}, "target": {"type": "Value", "value": "2k"}}},
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]},
            "status": {"currentMetrics": null, "desiredReplicas": 0}});
        let before = object.clone();
        to_v1(&mut object);
        assert_eq!(
            object["spec"],
            json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 50})
        );
        assert_eq!(
            object["metadata"]["annotations"][METRICS],
            "[{\"type\":\"Resource\",\"resource\":{\"name\":\"memory\",\"targetAverageUtilization\":10}},\
             {\"type\":\"Object\",\"object\":{\"target\":{\"kind\":\"Service\",\"name\":\"s\"},\"metricName\":\"hits\",\
             \"targetValue\":\"2k\"}}]"
        );
        assert_eq!(
            object["metadata"]["annotations"][BEHAVIOR],
            "{\"ScaleUp\":null,\"ScaleDown\":{\"StabilizationWindowSeconds\":null,\"SelectPolicy\":\"Max\",\
             \"Policies\":[{\"Type\":\"Pods\",\"Value\":1,\"PeriodSeconds\":5}],\"Tolerance\":null}}"
        );
        to_v2(&mut object);
        assert_eq!(object, before);
    }
}
