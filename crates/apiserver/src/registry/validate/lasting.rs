//! What rarely written kinds keep for life.

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use crate::kinds::Kind;
use crate::names;

use super::common::{Errors, forbidden, go_struct, is_empty, items, named, required, text};
use super::shown;

/// Errors of a change that come before what is wrong with the object itself; false if the rest is not looked at.
pub(super) fn before(kind: &Kind, new: &Value, old: &Value, errors: &mut Errors) -> bool {
    let (is, was) = (&new["spec"], &old["spec"]);
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("resource.k8s.io", "ResourceClaim") => {
            if is != was {
                errors.push(shown::fixed("&resource.ResourceClaimSpec", "spec", is));
            }
            return false;
        }
        ("networking.k8s.io", "ServiceCIDR") => return ranges(is, was, errors),
        ("networking.k8s.io", "IngressClass") if is["controller"] != was["controller"] => {
            errors.push(shown::fixed("s", "spec.controller", &is["controller"]));
        }
        ("apps", "DaemonSet") if is["selector"] != was["selector"] => {
            let form = "*metav1.LabelSelector";
            errors.push(shown::fixed(form, "spec.selector", &is["selector"]));
        }
        ("storage.k8s.io", "VolumeAttributesClass") => {
            for field in ["driverName", "parameters"] {
                if new[field] != old[field] {
                    let detail = format!("updates to {field} are forbidden.");
                    errors.push(forbidden(field, detail));
                }
            }
        }
        ("storage.k8s.io", "CSIStorageCapacity") => {
            let fields = [
                ("nodeTopology", "*metav1.LabelSelector"),
                ("storageClassName", "s"),
            ];
            for (field, form) in fields {
                if new[field] != old[field] {
                    errors.push(shown::fixed(form, field, &new[field]));
                }
            }
            return false;
        }
        ("", "Node") => {
            node(is, was, errors);
            return false;
        }
        _ => {}
    }
    true
}

/// Errors of a change that come after.
pub(super) fn after(kind: &Kind, new: &Value, old: &Value, errors: &mut Errors) {
    let (is, was) = (&new["spec"], &old["spec"]);
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("networking.k8s.io", "IPAddress") if is["parentRef"] != was["parentRef"] => {
            let form = "*networking.ParentReference";
            errors.push(shown::fixed(form, "spec.parentRef", &is["parentRef"]));
        }
        ("storage.k8s.io", "VolumeAttachment") if is != was => {
            errors.push(shown::fixed("&storage.VolumeAttachmentSpec", "spec", is));
        }
        ("storage.k8s.io", "CSIDriver") => {
            for (field, path) in [
                ("attachRequired", "attachedRequired"),
                ("volumeLifecycleModes", "volumeLifecycleModes"),
            ] {
                if is[field] != was[field] {
                    errors.push(shown::fixed("p", format!("spec.{path}"), &is[field]));
                }
            }
        }
        _ => {}
    }
}

/// A range of addresses gets a second family at most.
fn ranges(is: &Value, was: &Value, errors: &mut Errors) -> bool {
    let list = |spec: &Value| spec["cidrs"].as_array().cloned().unwrap_or_default();
    let (is, was) = (list(is), list(was));
    let more = was.len() == 1 && is.len() == 2;
    if is.len() != was.len() && !more {
        let all = if is.is_empty() { Value::Null } else { is.into() };
        errors.push(shown::fixed("p", "spec.cidrs", &all));
        return false;
    }
    for (index, (own, _)) in is.iter().zip(&was).enumerate().filter(|(_, (is, was))| is != was) {
        errors.push(shown::fixed("p", format!("spec.cidrs[{index}]"), own));
    }
    more
}

fn node(is: &Value, was: &Value, errors: &mut Errors) {
    const ONCE: &str = "node updates may not change";
    if !is_empty(&was["podCIDRs"]) && is["podCIDRs"] != was["podCIDRs"] {
        let detail = format!("{ONCE} podCIDR except from \"\" to valid");
        let list = |spec: &Value| spec["podCIDRs"].as_array().cloned().unwrap_or_default();
        let (is, was) = (list(is), list(was));
        let changed = if is.len() == was.len() {
            is.iter().zip(&was).filter(|(is, was)| is != was).count()
        } else {
            1
        };
        let error = forbidden("spec.podCIDRs", detail);
        errors.extend(std::iter::repeat_n(error, changed));
    }
    if !text(was, "providerID").is_empty() && is["providerID"] != was["providerID"] {
        let detail = format!("{ONCE} providerID except from \"\" to valid");
        errors.push(forbidden("spec.providerID", detail));
    }
    taints(is, errors);
    if text(is, "externalID") != text(was, "externalID") {
        errors.push(forbidden("spec.externalID", "may not be updated"));
    }
}

/// Checks what keeps pods away from a node.
pub(super) fn taints(spec: &Value, errors: &mut Errors) {
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    let mut seen: Vec<(&str, &str)> = vec![];
    for (index, taint) in items(spec, "taints") {
        let path = format!("metadata.taints[{index}]");
        let (key, effect) = (text(taint, "key"), text(taint, "effect"));
        named(key, names::qualified_name, &format!("{path}.key"), errors);
        let value = text(taint, "value");
        let wrong = names::label_value(value);
        if !wrong.is_empty() {
            errors.push(super::common::invalid(
                format!("{path}.value"),
                value,
                wrong.join(";"),
            ));
        }
        if effect.is_empty() {
            errors.push(required(format!("{path}.effect"), ""));
        } else if !EFFECTS.contains(&effect) {
            let path = format!("{path}.effect");
            errors.push(FieldError::not_supported(path, effect.into(), &EFFECTS));
        }
        if seen.contains(&(key, effect)) {
            let shown = shown::of("Taint", taint).compact();
            let detail = "taints must be unique by key and effect pair";
            errors.push(go_struct(ErrorKind::Duplicate, path, &shown, detail));
        }
        seen.push((key, effect));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn taints_are_told_apart_by_key_and_effect() {
        let spec = json!({"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"},
            {"key": "a", "effect": "Later"}]});
        let mut errors = vec![];
        taints(&spec, &mut errors);
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "metadata.taints[1]: Duplicate value: {\"Key\":\"a\",\"Value\":\"\",\"Effect\":\"NoSchedule\",\"TimeAdded\":null}: taints must be unique by key and effect pair",
                "metadata.taints[2].effect: Unsupported value: \"Later\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
            ]
        );
    }

    #[test]
    fn a_range_of_addresses_may_get_a_second_family() {
        let found = |is: Value| {
            let mut errors = vec![];
            let more = ranges(
                &json!({"cidrs": is}),
                &json!({"cidrs": ["10.0.0.0/24"]}),
                &mut errors,
            );
            (
                more,
                errors
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("; "),
            )
        };
        assert_eq!(found(json!(["10.0.0.0/24"])), (false, String::new()));
        assert_eq!(found(json!(["10.0.0.0/24", "fd00::/64"])), (true, String::new()));
        let text = "spec.cidrs[0]: Invalid value: \"10.1.0.0/24\": field is immutable";
        assert_eq!(found(json!(["10.1.0.0/24"])), (false, text.to_owned()));
        let text = "spec.cidrs: Invalid value: null: field is immutable";
        assert_eq!(found(json!([])), (false, text.to_owned()));
    }
}
