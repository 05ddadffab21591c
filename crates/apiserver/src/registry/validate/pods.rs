//! Pods, and the templates that pods are made of.

use std::collections::BTreeSet;

use fluvial_object::quantity::Quantity;
use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use super::common::{
    Errors, duplicate, forbidden, invalid, is_empty, items, named, not_negative, one_of, port, required, text,
};
use crate::names;

/// Fields of a pod that its containers may refer to.
const POD_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "metadata.labels",
    "metadata.annotations",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// What is wrong with the specification of a pod.
pub(super) fn spec(spec: &Value, path: &str, errors: &mut Errors) {
    volumes(spec, path, errors);
    containers(spec, "containers", path, errors);
    if is_empty(&spec["containers"]) {
        errors.push(required(format!("{path}.containers"), ""));
    }
    containers(spec, "initContainers", path, errors);
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
    security(
        &spec["securityContext"],
        &format!("{path}.securityContext"),
        errors,
    );
    if spec["dnsPolicy"] == "None" && is_empty(&spec["dnsConfig"]) {
        let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
        errors.push(required(format!("{path}.dnsConfig"), detail));
    }
    for (field, rule) in [
        (
            "serviceAccountName",
            names::subdomain as fn(&str) -> names::Complaints,
        ),
        ("nodeName", names::subdomain),
    ] {
        if !text(spec, field).is_empty() {
            named(text(spec, field), rule, &format!("{path}.{field}"), errors);
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
        let own = text(spec, field);
        let path = format!("{path}.{field}");
        if own.contains('.') {
            errors.push(invalid(path, own, "must not contain dots"));
        } else if !own.is_empty() {
            named(own, names::label, &path, errors);
        }
    }
    tolerations(spec, path, errors);
}

fn volumes(spec: &Value, path: &str, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, volume) in items(spec, "volumes") {
        let path = format!("{path}.volumes[{index}]");
        let name = text(volume, "name");
        if name.is_empty() {
            errors.push(required(format!("{path}.name"), ""));
        } else {
            named(name, names::label, &format!("{path}.name"), errors);
            if !seen.insert(name) {
                errors.push(duplicate(format!("{path}.name"), name));
            }
        }
        let sources = volume
            .as_object()
            .map_or(0, |map| map.len() - usize::from(map.contains_key("name")));
        if sources > 1 {
            errors.push(forbidden(path, "may not specify more than 1 volume type"));
        }
    }
}

fn containers(spec: &Value, field: &str, path: &str, errors: &mut Errors) {
    let volumes: BTreeSet<&str> = items(spec, "volumes")
        .map(|(_, volume)| text(volume, "name"))
        .collect();
    let mut seen = BTreeSet::new();
    if field == "initContainers" {
        seen.extend(items(spec, "containers").map(|(_, container)| text(container, "name")));
    }
    for (index, container) in items(spec, field) {
        let path = format!("{path}.{field}[{index}]");
        let name = text(container, "name");
        if name.is_empty() {
            errors.push(required(format!("{path}.name"), ""));
        } else {
            named(name, names::label, &format!("{path}.name"), errors);
            if !seen.insert(name) {
                errors.push(duplicate(format!("{path}.name"), name));
            }
        }
        image(text(container, "image"), format!("{path}.image"), errors);
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            self::probe(&container[probe], &format!("{path}.{probe}"), errors);
        }
        one_of(
            &container["imagePullPolicy"],
            &["Always", "IfNotPresent", "Never"],
            format!("{path}.imagePullPolicy"),
            errors,
        );
        resources(&container["resources"], &format!("{path}.resources"), errors);
        ports(container, &path, errors);
        environment(container, &path, errors);
        mounts(container, &volumes, &path, errors);
        security(
            &container["securityContext"],
            &format!("{path}.securityContext"),
            errors,
        );
    }
}

fn image(image: &str, path: String, errors: &mut Errors) {
    if image.is_empty() {
        errors.push(required(path, ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(invalid(path, image, detail));
    }
}

fn probe(probe: &Value, path: &str, errors: &mut Errors) {
    if probe.is_null() {
        return;
    }
    let handlers = ["exec", "httpGet", "tcpSocket", "grpc"];
    match handlers
        .iter()
        .filter(|handler| !probe[**handler].is_null())
        .count()
    {
        0 => errors.push(required(path, "must specify a handler type")),
        1 => {}
        _ => errors.push(forbidden(path, "may not specify more than 1 handler type")),
    }
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        not_negative(probe, field, path, errors);
    }
}

fn ports(container: &Value, path: &str, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, own) in items(container, "ports") {
        let path = format!("{path}.ports[{index}]");
        let name = text(own, "name");
        if !name.is_empty() {
            let complaints = names::port_name(name);
            if complaints.is_empty() && !seen.insert(name) {
                errors.push(duplicate(format!("{path}.name"), name));
            }
            errors.extend(
                complaints
                    .into_iter()
                    .map(|detail| invalid(format!("{path}.name"), name, detail)),
            );
        }
        if own["containerPort"].as_i64().unwrap_or(0) == 0 {
            errors.push(required(format!("{path}.containerPort"), ""));
        } else {
            port(&own["containerPort"], &format!("{path}.containerPort"), errors);
        }
        if own["hostPort"].as_i64().is_some_and(|number| number != 0) {
            port(&own["hostPort"], &format!("{path}.hostPort"), errors);
        }
        one_of(
            &own["protocol"],
            &["SCTP", "TCP", "UDP"],
            format!("{path}.protocol"),
            errors,
        );
    }
}

fn environment(container: &Value, path: &str, errors: &mut Errors) {
    for (index, variable) in items(container, "env") {
        let path = format!("{path}.env[{index}]");
        if text(variable, "name").is_empty() {
            errors.push(required(format!("{path}.name"), ""));
        }
        let source = &variable["valueFrom"];
        if source.is_null() {
            continue;
        }
        let path = format!("{path}.valueFrom");
        let field = text(&source["fieldRef"], "fieldPath");
        let subscripted = field.ends_with("']") && field.starts_with("metadata.");
        if !source["fieldRef"].is_null() && !subscripted {
            let path = format!("{path}.fieldRef.fieldPath");
            if field.is_empty() {
                errors.push(required(path, ""));
            } else if !POD_FIELDS.contains(&field) {
                let detail = format!("error converting fieldPath: field label not supported: {field}");
                errors.push(invalid(path, field, detail));
            }
        }
        if !text(variable, "value").is_empty() {
            errors.push(invalid(
                path,
                "",
                "may not be specified when `value` is not empty",
            ));
        } else if is_empty(source) {
            let detail =
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
            errors.push(invalid(path, "", detail));
        }
    }
}

fn mounts(container: &Value, volumes: &BTreeSet<&str>, path: &str, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, mount) in items(container, "volumeMounts") {
        let path = format!("{path}.volumeMounts[{index}]");
        let name = text(mount, "name");
        if name.is_empty() {
            errors.push(required(format!("{path}.name"), ""));
        }
        if !volumes.contains(name) {
            let missing = FieldError::new(ErrorKind::NotFound, format!("{path}.name"), name.into(), "");
            errors.push(missing);
        }
        let at = text(mount, "mountPath");
        if at.is_empty() {
            errors.push(required(format!("{path}.mountPath"), ""));
        } else if !seen.insert(at) {
            errors.push(invalid(format!("{path}.mountPath"), at, "must be unique"));
        }
    }
}

/// The quantity that a value is; what is absent is none.
fn quantity(value: &Value) -> Option<Quantity> {
    if value.is_null() {
        return None;
    }
    Quantity::from_value(value).ok()
}

fn resources(resources: &Value, path: &str, errors: &mut Errors) {
    for field in ["limits", "requests"] {
        for (name, value) in resources[field].as_object().into_iter().flatten() {
            if quantity(value).is_some_and(|quantity| quantity.sign() < 0) {
                let path = format!("{path}.{field}[{name}]");
                errors.push(invalid(path, value.clone(), "must be greater than or equal to 0"));
            }
        }
    }
    for (name, value) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][name];
        if let (Some(wanted), Some(limited)) = (quantity(value), quantity(limit))
            && wanted > limited
        {
            let detail = format!("must be less than or equal to {name} limit of {limited}");
            errors.push(invalid(format!("{path}.requests"), value.clone(), detail));
        }
    }
}

fn security(context: &Value, path: &str, errors: &mut Errors) {
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        if let Some(id) = context[field].as_i64()
            && !(0..=2_147_483_647).contains(&id)
        {
            let detail = "must be between 0 and 2147483647, inclusive";
            errors.push(invalid(format!("{path}.{field}"), id, detail));
        }
    }
}

fn tolerations(spec: &Value, path: &str, errors: &mut Errors) {
    for (index, toleration) in items(spec, "tolerations") {
        let path = format!("{path}.tolerations[{index}]");
        let (key, operator) = (text(toleration, "key"), text(toleration, "operator"));
        if !key.is_empty() {
            named(key, names::qualified_name, &format!("{path}.key"), errors);
        }
        if key.is_empty() && operator != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(invalid(format!("{path}.operator"), operator, detail));
        }
        if operator == "Exists" && !text(toleration, "value").is_empty() {
            let detail = "value must be empty when `operator` is 'Exists'";
            let value = toleration["value"].clone();
            errors.push(invalid(format!("{path}.operator"), value, detail));
        }
        one_of(
            &toleration["operator"],
            &["Equal", "Exists"],
            format!("{path}.operator"),
            errors,
        );
        one_of(
            &toleration["effect"],
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            format!("{path}.effect"),
            errors,
        );
    }
}
