//! Which requests rules and selectors mean. Webhooks and policies share it.

use fluvial_object::labels::Selector;
use serde_json::Value;

use super::Context;
use crate::api::Api;

fn has(list: &Value, wanted: &str) -> bool {
    list.as_array()
        .is_some_and(|all| all.iter().any(|own| own == "*" || own == wanted))
}

/// `pods`, `pods/status`, `pods/*`, `*/scale`, `*`, `*/*`.
fn resource(list: &Value, plural: &str, sub: &str) -> bool {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .any(|own| match own.split_once('/') {
            None => sub.is_empty() && (own == "*" || own == plural),
            Some((first, second)) => {
                (first == "*" || first == plural)
                    && (second == "*" || second == sub)
                    // `pods/*` means the subresources and, as `*/*` does, the resource itself only with both stars.
                    && (!sub.is_empty() || (first == "*" && second == "*"))
            }
        })
}

/// Whether a rule means a request. An equivalent policy takes any version of the resource.
#[must_use]
pub fn rule(rule: &Value, context: &Context<'_>, equivalent: bool) -> bool {
    let (kind, target) = (&context.request.kind, &context.request.target);
    let scope = match rule["scope"].as_str() {
        Some("Namespaced") => kind.namespaced,
        Some("Cluster") => !kind.namespaced,
        _ => true,
    };
    let named = rule["resourceNames"].as_array().is_none_or(|names| {
        let name = if target.name.is_empty() {
            context.object["metadata"]["name"].as_str().unwrap_or("")
        } else {
            &target.name
        };
        names.is_empty() || names.iter().any(|own| own == name)
    });
    scope
        && named
        && has(&rule["operations"], context.operation)
        && has(&rule["apiGroups"], &kind.group)
        && (equivalent || has(&rule["apiVersions"], &kind.version))
        && resource(&rule["resources"], &kind.plural, &target.subresource)
}

/// Whether selectors of namespaces and objects take a request.
#[must_use]
pub fn selectors(api: &Api, constraints: &Value, context: &Context<'_>) -> bool {
    let selector =
        |field: &str| Selector::from_value(&constraints[field]).unwrap_or_else(|_| Selector::nothing());
    if !constraints["namespaceSelector"].is_null() {
        let own = context.request.kind.is("", "Namespace");
        let selector = selector("namespaceSelector");
        let namespace;
        let subject = if own {
            let [new, old] = context.subjects();
            if new.is_null() { old } else { new }
        } else {
            namespace = context.namespace(api);
            &namespace
        };
        // What lives in no namespace is always taken.
        if !subject.is_null() && !selector.matches_object(subject) {
            return false;
        }
    }
    if !constraints["objectSelector"].is_null() {
        let selector = selector("objectSelector");
        let mut subjects = context
            .subjects()
            .into_iter()
            .filter(|subject| !subject.is_null());
        if !selector.is_everything() && !subjects.any(|subject| selector.matches_object(subject)) {
            return false;
        }
    }
    true
}

/// Whether the constraints of a policy take a request.
#[must_use]
pub fn matches(api: &Api, constraints: &Value, context: &Context<'_>) -> bool {
    let equivalent = constraints["matchPolicy"] != "Exact";
    let any = |field: &str| {
        let rules = constraints[field].as_array().into_iter().flatten();
        rules.into_iter().any(|own| rule(own, context, equivalent))
    };
    any("resourceRules") && !any("excludeResourceRules") && selectors(api, constraints, context)
}

/// Whether the narrower constraints of a binding take a request; none take all.
#[must_use]
pub fn optional(api: &Api, constraints: &Value, context: &Context<'_>) -> bool {
    if constraints.is_null() {
        return true;
    }
    let equivalent = constraints["matchPolicy"] != "Exact";
    let any = |field: &str| {
        let rules = constraints[field].as_array().into_iter().flatten();
        rules.into_iter().any(|own| rule(own, context, equivalent))
    };
    let ruled = constraints["resourceRules"].as_array().is_none_or(Vec::is_empty) || any("resourceRules");
    ruled && !any("excludeResourceRules") && selectors(api, constraints, context)
}
