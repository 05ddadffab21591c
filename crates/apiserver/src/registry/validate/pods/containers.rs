//! The containers of a pod.

use std::collections::BTreeSet;

use fluvial_object::quantity::Quantity;
use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use super::super::common::{
    Errors, duplicate, forbidden, invalid, is_empty, items, named, one_of, port, required, text,
};
use super::volumes::descending;
use super::{probes, restarts, security};
use crate::names;

/// Fields of a pod that its containers may refer to.
const POD_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields that have a name at all.
const KNOWN_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "spec.restartPolicy",
    "spec.schedulerName",
    "status.phase",
];
/// What of a container's resources can be referred to.
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Containers of one list.
pub(super) fn containers(
    spec: &Value,
    field: &str,
    volumes: &BTreeSet<&str>,
    path: &str,
    errors: &mut Errors,
) {
    let grace = spec["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    let host_users = spec["hostUsers"] != false;
    let initial = field == "initContainers";
    let mut seen = BTreeSet::new();
    if initial {
        seen.extend(items(spec, "containers").map(|(_, container)| text(container, "name")));
    }
    let mut host_ports = BTreeSet::new();
    for (index, container) in items(spec, field) {
        let path = format!("{path}.{field}[{index}]");
        one(container, volumes, host_users, &path, errors);
        restarts::rules(container, &path, errors);
        let name = text(container, "name");
        if !name.is_empty() && !seen.insert(name) {
            errors.push(duplicate(format!("{path}.name"), name));
        }
        if initial && container["restartPolicy"] != "Always" {
            for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if !container[field].is_null() {
                    let detail = "may not be set for init containers without restartPolicy=Always";
                    errors.push(forbidden(format!("{path}.{field}"), detail));
                }
            }
        } else {
            probes::lifecycle(container, grace, &path, errors);
            probes::probes(container, grace, &path, errors);
        }
        if initial {
            host_ports.clear();
        }
        conflicts(container, &path, &mut host_ports, errors);
    }
}

fn one(container: &Value, volumes: &BTreeSet<&str>, host_users: bool, path: &str, errors: &mut Errors) {
    let name = text(container, "name");
    if name.is_empty() {
        errors.push(required(format!("{path}.name"), ""));
    } else {
        named(name, names::label, &format!("{path}.name"), errors);
    }
    image(text(container, "image"), format!("{path}.image"), errors);
    let policy = Value::from(text(container, "terminationMessagePolicy"));
    if policy != "" {
        let allowed = ["File", "FallbackToLogsOnError"];
        one_of(
            &policy,
            &allowed,
            format!("{path}.terminationMessagePolicy"),
            errors,
        );
    }
    ports(container, path, errors);
    environment(container, path, errors);
    environment_from(container, path, errors);
    mounts(container, volumes, path, errors);
    devices(container, volumes, path, errors);
    one_of(
        &container["imagePullPolicy"],
        &["Always", "IfNotPresent", "Never"],
        format!("{path}.imagePullPolicy"),
        errors,
    );
    resources(&container["resources"], &format!("{path}.resources"), errors);
    restarts::resizes(container, path, errors);
    let context = &container["securityContext"];
    security::container(context, host_users, &format!("{path}.securityContext"), errors);
}

/// Containers that are there to look into a pod.
pub(super) fn ephemeral(spec: &Value, volumes: &BTreeSet<&str>, path: &str, errors: &mut Errors) {
    let mut seen: BTreeSet<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|field| items(spec, field).map(|(_, own)| text(own, "name")))
        .collect();
    for (index, container) in items(spec, "ephemeralContainers") {
        let path = format!("{path}.ephemeralContainers[{index}]");
        one(container, volumes, spec["hostUsers"] != false, &path, errors);
        not_for_ephemeral(spec, container, &path, errors);
        if !seen.insert(text(container, "name")) {
            errors.push(duplicate(format!("{path}.name"), text(container, "name")));
        }
    }
}

/// What containers do that are part of a pod's life, those that look into it do not.
fn not_for_ephemeral(spec: &Value, container: &Value, path: &str, errors: &mut Errors) {
    const DETAIL: &str = "cannot be set for an Ephemeral Container";
    for field in [
        "ports",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
        "resizePolicy",
        "restartPolicy",
        "restartPolicyRules",
    ] {
        if !is_empty(&container[field]) {
            errors.push(forbidden(format!("{path}.{field}"), DETAIL));
        }
    }
    let resources = container["resources"].as_object();
    if resources.is_some_and(|resources| !resources.is_empty()) {
        errors.push(forbidden(format!("{path}.resources"), DETAIL));
    }
    for (index, mount) in items(container, "volumeMounts") {
        for field in ["subPath", "subPathExpr"] {
            if !text(mount, field).is_empty() {
                let path = format!("{path}.volumeMounts[{index}].{field}");
                errors.push(forbidden(path, DETAIL));
            }
        }
    }
    let target = text(container, "targetContainerName");
    let mut others = ["containers", "initContainers"]
        .iter()
        .flat_map(|field| items(spec, field));
    if !target.is_empty() && !others.any(|(_, other)| text(other, "name") == target) {
        errors.push(missing(format!("{path}.targetContainerName"), target));
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

/// A port of the machine can be had once.
fn conflicts(container: &Value, path: &str, taken: &mut BTreeSet<String>, errors: &mut Errors) {
    for (index, own) in items(container, "ports") {
        let number = own["hostPort"].as_i64().unwrap_or(0);
        let place = format!("{}/{}/{number}", text(own, "protocol"), text(own, "hostIP"));
        if number != 0 && !taken.insert(place.clone()) {
            errors.push(duplicate(format!("{path}.ports[{index}].hostPort"), place));
        }
    }
}

/// In the machine's network, ports are the machine's.
pub(super) fn host_network(spec: &Value, path: &str, errors: &mut Errors) {
    if spec["hostNetwork"] != true {
        return;
    }
    for field in ["containers", "initContainers"] {
        for (index, container) in items(spec, field) {
            for (number, own) in items(container, "ports") {
                let host = own["hostPort"].as_i64().unwrap_or(0);
                if host != 0 && own["hostPort"] != own["containerPort"] {
                    let path = format!("{path}.{field}[{index}].ports[{number}].hostPort");
                    let detail = "must match `containerPort` when `hostNetwork` is true";
                    errors.push(invalid(path, host, detail));
                }
            }
        }
    }
}

fn variable_name(name: &str, path: String, errors: &mut Errors) {
    if !name
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && byte != b'=')
    {
        let detail = "a valid environment variable name must consist only of printable ASCII characters other than '='";
        errors.push(invalid(path, name, detail));
    }
}

fn environment(container: &Value, path: &str, errors: &mut Errors) {
    for (index, variable) in items(container, "env") {
        let path = format!("{path}.env[{index}]");
        match text(variable, "name") {
            "" => errors.push(required(format!("{path}.name"), "")),
            name => variable_name(name, format!("{path}.name"), errors),
        }
        if !variable["valueFrom"].is_null() {
            let given = !text(variable, "value").is_empty();
            value_from(
                &variable["valueFrom"],
                given,
                &format!("{path}.valueFrom"),
                errors,
            );
        }
    }
}

fn value_from(source: &Value, given: bool, path: &str, errors: &mut Errors) {
    let mut count = 0;
    for name in [
        "fieldRef",
        "resourceFieldRef",
        "configMapKeyRef",
        "secretKeyRef",
        "fileKeyRef",
    ] {
        let own = &source[name];
        if own.is_null() {
            continue;
        }
        count += 1;
        let path = format!("{path}.{name}");
        match name {
            "fieldRef" => field_ref(own, POD_FIELDS, &path, errors),
            "resourceFieldRef" => resource_ref(own, false, &path, errors),
            "fileKeyRef" => {}
            _ => {
                named(
                    text(own, "name"),
                    names::subdomain,
                    &format!("{path}.name"),
                    errors,
                );
                match text(own, "key") {
                    "" => errors.push(required(format!("{path}.key"), "")),
                    key => named(key, names::config_key, &format!("{path}.key"), errors),
                }
            }
        }
    }
    if count == 0 {
        let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        errors.push(invalid(path, "", detail));
    }
    if given {
        if count != 0 {
            errors.push(invalid(
                path,
                "",
                "may not be specified when `value` is not empty",
            ));
        }
    } else if count > 1 {
        let detail = "may not have more than one field specified at a time";
        errors.push(invalid(path, "", detail));
    }
}

/// A field of the pod that a variable or a file shows.
pub(super) fn field_ref(reference: &Value, allowed: &[&str], path: &str, errors: &mut Errors) {
    let field = text(reference, "fieldPath");
    let at = format!("{path}.fieldPath");
    if field.is_empty() {
        errors.push(required(at, ""));
        return;
    }
    let subscript = field.strip_suffix("']").and_then(|rest| rest.split_once("['"));
    match subscript {
        Some(("metadata.annotations", key)) => {
            let low = key.to_lowercase();
            let complaints = names::qualified_name(&low).into_iter();
            errors.extend(complaints.map(|detail| invalid(path, key, detail)));
        }
        Some(("metadata.labels", key)) => named(key, names::qualified_name, path, errors),
        Some((other, _)) if POD_FIELDS.contains(&other) || KNOWN_FIELDS.contains(&other) => {
            errors.push(invalid(path, other, "does not support subscript"));
        }
        None if allowed.contains(&field) => {}
        None if POD_FIELDS.contains(&field) || KNOWN_FIELDS.contains(&field) => {
            let mut allowed = allowed.to_vec();
            allowed.sort_unstable();
            errors.push(FieldError::not_supported(at, field.into(), &allowed));
        }
        _ => {
            let detail = format!("error converting fieldPath: field label not supported: {field}");
            errors.push(invalid(at, field, detail));
        }
    }
}

/// A container's resource that a variable or a file shows.
pub(super) fn resource_ref(reference: &Value, file: bool, path: &str, errors: &mut Errors) {
    let resource = text(reference, "resource");
    if file && text(reference, "containerName").is_empty() {
        errors.push(required(format!("{path}.containerName"), ""));
    } else if resource.is_empty() {
        errors.push(required(format!("{path}.resource"), ""));
    } else if !RESOURCES.contains(&resource)
        && !["limits.hugepages-", "requests.hugepages-"]
            .iter()
            .any(|prefix| resource.starts_with(prefix))
    {
        errors.push(FieldError::not_supported(
            format!("{path}.resource"),
            resource.into(),
            RESOURCES,
        ));
    }
    divisor(&reference["divisor"], resource, path, errors);
}

/// Parts that a resource can be counted in.
fn divisor(value: &Value, resource: &str, path: &str, errors: &mut Errors) {
    const BYTES: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    let Ok(given) = Quantity::from_value(value) else {
        return;
    };
    let kind = resource.split_once('.').map_or("", |(_, kind)| kind);
    let (allowed, shown, kind) = match kind {
        "cpu" => ("1m, 1", "1m and 1", "cpu"),
        "memory" | "ephemeral-storage" => (BYTES, BYTES, kind),
        _ if kind.starts_with("hugepages-") => (BYTES, BYTES, "hugepages"),
        _ => return,
    };
    if given.sign() != 0 && !allowed.split(", ").any(|part| part == given.to_string()) {
        let detail = format!("only divisor's values {shown} are supported with the {kind} resource");
        errors.push(invalid(format!("{path}.divisor"), resource, detail));
    }
}

fn environment_from(container: &Value, path: &str, errors: &mut Errors) {
    let all = format!("{path}.envFrom");
    for (index, source) in items(container, "envFrom") {
        let path = format!("{all}[{index}]");
        variable_name(text(source, "prefix"), format!("{path}.prefix"), errors);
        let mut count = 0;
        for name in ["configMapRef", "secretRef"] {
            let own = &source[name];
            if own.is_null() {
                continue;
            }
            count += 1;
            let path = format!("{path}.{name}.name");
            match text(own, "name") {
                "" => errors.push(required(path, "")),
                name => named(name, names::subdomain, &path, errors),
            }
        }
        if count == 0 {
            let detail = "must specify one of: `configMapRef` or `secretRef`";
            errors.push(invalid(all.clone(), "", detail));
        } else if count > 1 {
            let detail = "may not have more than one field specified at a time";
            errors.push(invalid(all.clone(), "", detail));
        }
    }
}

fn missing(path: String, name: &str) -> FieldError {
    FieldError::new(ErrorKind::NotFound, path, name.into(), "")
}

fn mounts(container: &Value, volumes: &BTreeSet<&str>, path: &str, errors: &mut Errors) {
    let all = format!("{path}.volumeMounts");
    let device = |field: &str, value: &str| {
        !value.is_empty() && items(container, "volumeDevices").any(|(_, own)| text(own, field) == value)
    };
    let mut seen = BTreeSet::new();
    for (index, mount) in items(container, "volumeMounts") {
        let path = format!("{all}[{index}]");
        let name = text(mount, "name");
        if name.is_empty() {
            errors.push(required(format!("{path}.name"), ""));
        }
        if !volumes.contains(name) {
            errors.push(missing(format!("{path}.name"), name));
        }
        let at = text(mount, "mountPath");
        if at.is_empty() {
            errors.push(required(format!("{path}.mountPath"), ""));
        }
        if !seen.insert(at) {
            errors.push(invalid(format!("{path}.mountPath"), at, "must be unique"));
        }
        if device("name", name) {
            let detail = "must not already exist in volumeDevices";
            errors.push(invalid(format!("{path}.name"), name, detail));
        }
        if device("devicePath", at) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.push(invalid(format!("{path}.mountPath"), at, detail));
        }
        let (below, expression) = (text(mount, "subPath"), text(mount, "subPathExpr"));
        descending(below, &format!("{all}.subPath"), errors);
        if !expression.is_empty() {
            if !below.is_empty() {
                let detail = "subPathExpr and subPath are mutually exclusive";
                errors.push(invalid(format!("{path}.subPathExpr"), expression, detail));
            }
            descending(expression, &format!("{all}.subPathExpr"), errors);
        }
        propagation(mount, container, &all, errors);
    }
}

fn propagation(mount: &Value, container: &Value, path: &str, errors: &mut Errors) {
    let path = format!("{path}.mountPropagation");
    let allowed = ["Bidirectional", "HostToContainer", "None"];
    one_of(&mount["mountPropagation"], &allowed, path.clone(), errors);
    let read_only = ["Disabled", "Enabled", "IfPossible"];
    let recursive = path.replace(".mountPropagation", ".recursiveReadOnly");
    one_of(&mount["recursiveReadOnly"], &read_only, recursive, errors);
    let privileged = container["securityContext"]["privileged"] == true;
    if mount["mountPropagation"] == "Bidirectional" && !privileged {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        errors.push(forbidden(path, detail));
    }
}

fn devices(container: &Value, volumes: &BTreeSet<&str>, path: &str, errors: &mut Errors) {
    let (mut named, mut placed) = (BTreeSet::new(), BTreeSet::new());
    for (index, device) in items(container, "volumeDevices") {
        let path = format!("{path}.volumeDevices[{index}]");
        let (name, at) = (text(device, "name"), text(device, "devicePath"));
        if name.is_empty() {
            errors.push(required(format!("{path}.name"), ""));
        } else if !named.insert(name) {
            errors.push(invalid(format!("{path}.name"), name, "must be unique"));
        }
        if !volumes.contains(name) {
            errors.push(missing(format!("{path}.name"), name));
        }
        if at.is_empty() {
            errors.push(required(format!("{path}.devicePath"), ""));
        }
        if !placed.insert(at) {
            errors.push(invalid(format!("{path}.devicePath"), at, "must be unique"));
        }
        if at.split('/').any(|part| part == "..") {
            let detail = "can not contain backsteps ('..')";
            errors.push(invalid(format!("{path}.devicePath"), at, detail));
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

fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
}

/// Whether more can be promised of a resource than there is.
fn can_overcommit(name: &str) -> bool {
    !is_extended(name) && !name.starts_with("hugepages-")
}

pub(super) fn resource_name(name: &str, path: &str, errors: &mut Errors) {
    named(name, names::qualified_name, path, errors);
    if name.contains('/') {
        return;
    }
    let own = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    let known = own
        || matches!(
            name,
            "storage"
                | "requests.cpu"
                | "requests.memory"
                | "requests.storage"
                | "requests.ephemeral-storage"
                | "limits.cpu"
                | "limits.memory"
                | "limits.ephemeral-storage"
                | "pods"
                | "services"
                | "replicationcontrollers"
                | "resourcequotas"
                | "secrets"
                | "configmaps"
                | "persistentvolumeclaims"
                | "services.nodeports"
                | "services.loadbalancers"
        );
    if !known {
        errors.push(invalid(
            path,
            name,
            "must be a standard resource type or fully qualified",
        ));
    }
    if !own {
        errors.push(invalid(path, name, "must be a standard resource for containers"));
    }
}

fn amount(name: &str, value: &Value, path: &str, errors: &mut Errors) {
    let Some(quantity) = quantity(value) else {
        return;
    };
    if quantity.sign() < 0 {
        errors.push(invalid(path, value.clone(), "must be greater than or equal to 0"));
    }
    if is_extended(name) && quantity.milli_value() % 1_000 != 0 {
        errors.push(invalid(path, quantity.to_string(), "must be an integer"));
    }
    if let Some(size) = name.strip_prefix("hugepages-")
        && let Ok(size) = Quantity::parse(size)
        && size.value() > 0
        && quantity.value() % size.value() != 0
    {
        let detail = format!("{quantity} is not positive integer multiple of {name}");
        errors.push(invalid(path, quantity.to_string(), detail));
    }
}

fn resources(resources: &Value, path: &str, errors: &mut Errors) {
    let (mut huge, mut plain) = (false, false);
    for field in ["limits", "requests"] {
        for (name, value) in resources[field].as_object().into_iter().flatten() {
            let at = format!("{path}.{field}[{name}]");
            resource_name(name, &at, errors);
            amount(name, value, &at, errors);
            huge |= name.starts_with("hugepages-");
            plain |= matches!(name.as_str(), "cpu" | "memory");
            if field == "limits" {
                continue;
            }
            match (quantity(value), quantity(&resources["limits"][name])) {
                (Some(wanted), Some(limited)) => {
                    let at = format!("{path}.requests");
                    if wanted != limited && !can_overcommit(name) {
                        let detail = format!("must be equal to {name} limit of {limited}");
                        errors.push(invalid(at, value.clone(), detail));
                    } else if wanted > limited {
                        let detail = format!("must be less than or equal to {name} limit of {limited}");
                        errors.push(invalid(at, value.clone(), detail));
                    }
                }
                (Some(_), None) if !can_overcommit(name) => {
                    let detail = "Limit must be set for non overcommitable resources";
                    errors.push(required(format!("{path}.limits"), detail));
                }
                _ => {}
            }
        }
    }
    if huge && !plain {
        errors.push(forbidden(path, "HugePages require cpu or memory"));
    }
}
