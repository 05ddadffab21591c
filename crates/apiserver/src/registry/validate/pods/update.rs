//! What may change of a pod that is there, through it and through its subresources.

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use super::super::common::{Errors, invalid, items, required, text};
use super::super::{diff, shown};

const FEW: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n";

fn forbidden(path: impl Into<String>, detail: impl Into<String>) -> FieldError {
    FieldError::plain(ErrorKind::Forbidden, path, detail)
}

/// What is wrong with a change of the pod itself.
pub(in super::super) fn update(new: &Value, old: &Value, errors: &mut Errors) {
    let (new, old) = (&new["spec"], &old["spec"]);
    for field in ["containers", "initContainers"] {
        let count = |spec: &Value| spec[field].as_array().map_or(0, Vec::len);
        if count(new) != count(old) {
            let detail = "pod updates may not add or remove containers";
            errors.push(forbidden(format!("spec.{field}"), detail));
            return;
        }
        images(new, field, errors);
    }
    if !deadline(new, old, errors) {
        return;
    }
    tolerations(new, old, errors);
    for (index, gate) in items(new, "schedulingGates") {
        if !items(old, "schedulingGates").any(|(_, own)| own["name"] == gate["name"]) {
            let detail = format!(
                "only deletion is allowed, but found new scheduling gate '{}'",
                text(gate, "name")
            );
            errors.push(forbidden(format!("spec.schedulingGates[{index}].name"), detail));
        }
    }
    let munged = munged(new, old);
    let (was, is) = (shown::of("PodSpec", old), shown::of("PodSpec", &munged));
    if munged != *old && was.compact() != is.compact() {
        errors.push(forbidden("spec", format!("{FEW}{}", diff::unified(&was, &is))));
    }
}

fn images(new: &Value, field: &str, errors: &mut Errors) {
    for (index, container) in items(new, field) {
        let path = format!("spec.{field}[{index}].image");
        let image = text(container, "image");
        if image.is_empty() {
            errors.push(required(path, ""));
        } else if image.trim() != image {
            let detail = "must not have leading or trailing whitespace";
            errors.push(invalid(path, image, detail));
        }
    }
}

/// Whether the rest is looked at.
fn deadline(new: &Value, old: &Value, errors: &mut Errors) -> bool {
    const FIELD: &str = "spec.activeDeadlineSeconds";
    let (is, was) = (
        new["activeDeadlineSeconds"].as_i64(),
        old["activeDeadlineSeconds"].as_i64(),
    );
    match (is, was) {
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.push(invalid(FIELD, Value::Null, detail));
        }
        (Some(is), _) if !(0..=i64::from(i32::MAX)).contains(&is) => {
            errors.push(invalid(FIELD, is, "must be between 0 and 2147483647, inclusive"));
            return false;
        }
        (Some(is), Some(was)) if is > was => {
            errors.push(invalid(FIELD, is, "must be less than or equal to previous value"));
            return false;
        }
        _ => {}
    }
    true
}

fn tolerations(new: &Value, old: &Value, errors: &mut Errors) {
    let plain = |toleration: &Value| {
        let mut toleration = toleration.clone();
        if let Some(map) = toleration.as_object_mut() {
            map.remove("tolerationSeconds");
        }
        toleration
    };
    for (_, own) in items(old, "tolerations") {
        if !items(new, "tolerations").any(|(_, item)| plain(item) == plain(own)) {
            let detail = "existing toleration can not be modified except its tolerationSeconds";
            errors.push(forbidden("spec.tolerations", detail));
        }
    }
}

/// The new specification with what may change as it was.
fn munged(new: &Value, old: &Value) -> Value {
    let mut munged = new.clone();
    for field in ["containers", "initContainers"] {
        let list = munged.get_mut(field).and_then(Value::as_array_mut);
        for (index, container) in list.into_iter().flatten().enumerate() {
            container["image"] = old[field][index]["image"].clone();
        }
    }
    let was = old["terminationGracePeriodSeconds"].as_i64().unwrap_or(0);
    let mut kept = vec!["activeDeadlineSeconds", "schedulingGates", "tolerations"];
    if was < 0 && munged["terminationGracePeriodSeconds"] == 1 {
        kept.push("terminationGracePeriodSeconds");
    }
    // Where a pod that waits may run is made narrower.
    if items(old, "schedulingGates").next().is_some() {
        kept.extend(["nodeSelector", "affinity"]);
    }
    if let Some(map) = munged.as_object_mut() {
        for field in kept {
            match &old[field] {
                Value::Null => map.remove(field),
                value => map.insert(field.to_owned(), value.clone()),
            };
        }
    }
    munged
}

/// What is wrong with a change of a pod's ephemeral containers.
pub(in super::super) fn ephemeral(new: &Value, old: &Value, errors: &mut Errors) {
    const FIELD: &str = "spec.ephemeralContainers";
    for (_, own) in items(&old["spec"], "ephemeralContainers") {
        let name = text(own, "name");
        let found = items(&new["spec"], "ephemeralContainers").find(|(_, item)| text(item, "name") == name);
        match found {
            None => {
                let detail = format!("existing ephemeral containers \"{name}\" may not be removed\n");
                errors.push(forbidden(FIELD, detail));
            }
            Some((_, item)) if item != own => {
                let shown = diff::unified(
                    &shown::of("EphemeralContainer", own),
                    &shown::of("EphemeralContainer", item),
                );
                let detail = format!("existing ephemeral containers \"{name}\" may not be changed\n{shown}");
                errors.push(forbidden(FIELD, detail));
            }
            Some(_) => {}
        }
    }
}

/// What is wrong with a change of what a pod's containers get.
pub(in super::super) fn resize(new: &Value, old: &Value, errors: &mut Errors) {
    let (new, old) = (&new["spec"], &old["spec"]);
    let plain = |spec: &Value| {
        let mut spec = spec.clone();
        for field in ["containers", "initContainers"] {
            let list = spec.get_mut(field).and_then(Value::as_array_mut);
            for container in list.into_iter().flatten() {
                for part in ["limits", "requests"] {
                    let list = container["resources"]
                        .get_mut(part)
                        .and_then(Value::as_object_mut);
                    if let Some(list) = list {
                        list.remove("cpu");
                        list.remove("memory");
                    }
                }
                let resources = container.get_mut("resources").and_then(Value::as_object_mut);
                if let Some(resources) = resources {
                    resources.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
                }
            }
        }
        spec
    };
    if plain(new) != plain(old) {
        errors.push(forbidden("spec", "only cpu and memory resources are mutable"));
        return;
    }
    let class = crate::registry::workloads::quality(old);
    if crate::registry::workloads::quality(new) != class {
        let detail = "Pod QOS Class may not change as a result of resizing";
        errors.push(invalid("spec", class, detail));
    }
    for field in ["containers", "initContainers"] {
        for (index, container) in items(new, field) {
            let name = &container["name"];
            let Some((_, was)) = items(old, field).find(|(_, own)| own["name"] == *name) else {
                continue;
            };
            for part in ["requests", "limits"] {
                let had = was["resources"][part].as_object().into_iter().flatten();
                let mut gone = had.filter(|(name, _)| container["resources"][part][name.as_str()].is_null());
                if part == "limits" && gone.next().is_some() {
                    let path = format!("spec.{field}[{index}].resources.{part}");
                    errors.push(forbidden(path, format!("resource {part} cannot be removed")));
                }
            }
        }
    }
}
