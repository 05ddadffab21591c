//! Nobody grants what he may not do himself, unless he may escalate or bind.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Attributes, User, rbac};
use crate::api::{Api, meta};
use crate::request::Request;
use crate::status::{Failure, Outcome};

const GROUP: &str = "rbac.authorization.k8s.io";

fn strings<'a>(value: &'a Value, field: &str) -> Vec<&'a str> {
    let list = value[field].as_array().into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}

/// Every single permission of a rule, as rules of one verb, group and resource.
fn parts(rule: &Value) -> Vec<Value> {
    let mut all = vec![];
    let names = strings(rule, "resourceNames");
    for group in strings(rule, "apiGroups") {
        for resource in strings(rule, "resources") {
            for verb in strings(rule, "verbs") {
                let part = json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]});
                if names.is_empty() {
                    all.push(part);
                    continue;
                }
                for name in &names {
                    let mut part = part.clone();
                    part["resourceNames"] = json!([name]);
                    all.push(part);
                }
            }
        }
    }
    for url in strings(rule, "nonResourceURLs") {
        for verb in strings(rule, "verbs") {
            all.push(json!({"nonResourceURLs": [url], "verbs": [verb]}));
        }
    }
    all
}

/// Whether a rule grants at least a single permission.
fn covers(rule: &Value, part: &Value) -> bool {
    let has = |field: &str| {
        let wanted = strings(part, field);
        let own = strings(rule, field);
        own.contains(&"*") || wanted.iter().all(|wanted| own.contains(wanted))
    };
    if !has("verbs") {
        return false;
    }
    if part["nonResourceURLs"].is_array() {
        let wanted = strings(part, "nonResourceURLs");
        return strings(rule, "nonResourceURLs").iter().any(|own| {
            wanted.iter().all(|wanted| {
                own == wanted || own.strip_suffix('*').is_some_and(|head| wanted.starts_with(head))
            })
        });
    }
    let own = strings(rule, "resources");
    let resource = strings(part, "resources").iter().all(|wanted| {
        own.contains(&"*")
            || own.contains(wanted)
            || wanted
                .split_once('/')
                .is_some_and(|(_, sub)| own.contains(&format!("*/{sub}").as_str()))
    });
    let own_names = strings(rule, "resourceNames");
    let wanted_names = strings(part, "resourceNames");
    let names = own_names.is_empty()
        || (!wanted_names.is_empty() && wanted_names.iter().all(|name| own_names.contains(name)));
    has("apiGroups") && resource && names
}

/// A list as Go prints it.
fn go_list(list: &[&str]) -> String {
    let all: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", all.join(" "))
}

/// Missing permissions, those of one resource together.
fn shown(missing: &[Value]) -> String {
    let mut merged: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut order: Vec<String> = vec![];
    for part in missing {
        let mut head = vec![];
        for (field, name) in [
            ("apiGroups", "APIGroups"),
            ("resources", "Resources"),
            ("resourceNames", "ResourceNames"),
            ("nonResourceURLs", "NonResourceURLs"),
        ] {
            if part[field].is_array() {
                head.push(format!("{name}:{}", go_list(&strings(part, field))));
            }
        }
        let head = head.join(", ");
        if !merged.contains_key(&head) {
            order.push(head.clone());
        }
        let verbs = strings(part, "verbs").into_iter().map(str::to_owned);
        merged.entry(head).or_default().extend(verbs);
    }
    let mut lines: Vec<String> = order
        .iter()
        .map(|head| {
            let verbs: Vec<&str> = merged[head].iter().map(String::as_str).collect();
            format!("{{{head}, Verbs:{}}}", go_list(&verbs))
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

/// Refuses rules that a user does not hold in a namespace.
fn hold(api: &Api, user: &User, namespace: &str, rules: &Value) -> Result<(), String> {
    let mut missing: Vec<Value> = rules.as_array().into_iter().flatten().flat_map(parts).collect();
    rbac::visit_rules(api, user, namespace, &mut |rule, _| {
        missing.retain(|part| !covers(rule, part));
        missing.is_empty()
    });
    if missing.is_empty() {
        return Ok(());
    }
    let groups: Vec<&str> = user.groups.iter().map(String::as_str).collect();
    Err(format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        go_list(&groups),
        shown(&missing)
    ))
}

fn may(api: &Api, request: &Request, verb: &str, resource: &str, name: &str) -> bool {
    let wanted = Attributes {
        verb,
        group: GROUP,
        resource,
        namespace: &request.target.namespace,
        name,
        ..Attributes::default()
    };
    rbac::authorize(api, &request.user, &wanted).allowed
}

/// Before a role or binding is written.
///
/// # Errors
/// It would grant what the user does not hold.
pub fn check(api: &Api, request: &Request, new: &Value, old: Option<&Value>) -> Outcome<()> {
    let kind = &request.kind;
    if kind.group != GROUP || request.user.is_in("system:masters") {
        return Ok(());
    }
    let name = meta(new, "name");
    let refuse = |why: String| Failure::forbidden(GROUP, &kind.plural, name, &why);
    let namespace = &request.target.namespace;
    if matches!(kind.kind.as_str(), "Role" | "ClusterRole") {
        let same = old.is_some_and(|old| {
            old["rules"] == new["rules"] && old["aggregationRule"] == new["aggregationRule"]
        });
        if same || may(api, request, "escalate", &kind.plural, name) {
            return Ok(());
        }
        if !new["aggregationRule"].is_null() {
            // Whoever aggregates may come to hold anything.
            let all = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                {"nonResourceURLs": ["*"], "verbs": ["*"]}]);
            hold(api, &request.user, namespace, &all).map_err(|_| {
                refuse("must have cluster-admin privileges to use the aggregationRule".to_owned())
            })?;
        }
        return hold(api, &request.user, namespace, &new["rules"]).map_err(refuse);
    }
    let same = old.is_some_and(|old| old["roleRef"] == new["roleRef"] && old["subjects"] == new["subjects"]);
    if same {
        return Ok(());
    }
    let role = &new["roleRef"];
    let role_name = role["name"].as_str().unwrap_or("");
    let (plural, key) = if role["kind"] == "Role" {
        ("roles", format!("{namespace}/{role_name}"))
    } else {
        ("clusterroles", role_name.to_owned())
    };
    if may(api, request, "bind", plural, role_name) {
        return Ok(());
    }
    let Some(found) = api.store.collection(&format!("{plural}.{GROUP}")).get(&key) else {
        return Err(Failure::not_found(GROUP, &request.kind.plural, role_name));
    };
    hold(api, &request.user, namespace, &found.value()["rules"]).map_err(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_cover_their_parts_and_what_is_missing_is_said_in_short() {
        let wide = json!({"apiGroups": ["*"], "resources": ["pods", "*/status"], "verbs": ["get", "list"]});
        let rule = json!({"apiGroups": [""], "resources": ["pods", "secrets", "nodes/status"], "verbs": ["get", "watch"]});
        let missing: Vec<Value> = parts(&rule)
            .into_iter()
            .filter(|part| !covers(&wide, part))
            .collect();
        assert_eq!(
            shown(&missing),
            "{APIGroups:[\"\"], Resources:[\"nodes/status\"], Verbs:[\"watch\"]}\n\
             {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"watch\"]}\n\
             {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"watch\"]}"
        );
    }
}
