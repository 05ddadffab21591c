//! Cluster roles that are made of others.

use fluvial_object::labels::Selector;
use serde_json::{Value, json};

use super::mutate;
use crate::api::Api;

/// Where cluster roles are.
pub const COLLECTION: &str = "clusterroles.rbac.authorization.k8s.io";

/// Applies rules to a role, and takes them from whoever else had written them.
fn applied(api: &Api, role: &mut Value, rules: &[Value]) {
    let kinds = api.kinds();
    let Some(kind) = kinds.find("rbac.authorization.k8s.io", "v1", "clusterroles") else {
        return;
    };
    let mut live = role.clone();
    kind.stamp(&mut live);
    let mut applied = json!({"apiVersion": kind.api_version(), "kind": kind.kind,
        "metadata": {"name": role["metadata"]["name"].clone()}});
    if !rules.is_empty() {
        applied["rules"] = rules.into();
    }
    let types = kind.types(&api.schemas);
    let result = fluvial_merge::managed::apply(&fluvial_merge::managed::ApplyRequest {
        types: types.as_ref(),
        live: Some(&live),
        empty: None,
        applied: &applied,
        manager: "clusterrole-aggregation-controller",
        subresource: "",
        api_version: &kind.api_version(),
        time: &api.now(),
        force: true,
        reset_fields: &[],
    });
    match result {
        Ok(mut new) => {
            // It stays in the version that it is kept in.
            if let Some(map) = new.as_object_mut() {
                map.remove("apiVersion");
                map.remove("kind");
            }
            *role = new;
            if rules.is_empty() {
                role["rules"] = Value::Null;
            }
        }
        Err(_) => role["rules"] = rules.into(),
    }
}

/// Fills in the rules of aggregated cluster roles.
pub fn aggregate(api: &Api) {
    let collection = api.store.collection(COLLECTION);
    let Ok(snapshot) = collection.snapshot(&api.store, "", None, None) else {
        return;
    };
    // Aggregates may be part of others: as many rounds as the longest chain.
    for _ in 0..8 {
        let mut changed = false;
        let roles: Vec<Value> = snapshot
            .objects
            .iter()
            .filter_map(|stored| collection.get(&stored.key))
            .map(|stored| stored.value())
            .collect();
        for role in roles.iter().filter(|role| role["aggregationRule"].is_object()) {
            let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array();
            let mut rules: Vec<Value> = vec![];
            for selector in selectors
                .into_iter()
                .flatten()
                .filter_map(|value| Selector::from_value(value).ok())
            {
                let others = roles
                    .iter()
                    .filter(|other| other["metadata"]["name"] != role["metadata"]["name"]);
                for other in others.filter(|other| selector.matches_object(other)) {
                    for rule in other["rules"].as_array().into_iter().flatten() {
                        if !rules.contains(rule) {
                            rules.push(rule.clone());
                        }
                    }
                }
            }
            let name = role["metadata"]["name"].as_str().unwrap_or("");
            mutate(api, &collection, name, &mut |value| {
                let same = value["rules"].as_array().is_some_and(|old| *old == rules)
                    || (rules.is_empty() && value["rules"].as_array().is_none_or(Vec::is_empty));
                if !same {
                    applied(api, value, &rules);
                    changed = true;
                }
                !same
            });
        }
        if !changed {
            return;
        }
    }
}
