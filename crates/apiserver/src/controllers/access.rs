//! Cluster roles that are made of others.

use fluvial_object::labels::Selector;
use serde_json::Value;

use super::mutate;
use crate::api::Api;

/// Where cluster roles are.
pub const COLLECTION: &str = "clusterroles.rbac.authorization.k8s.io";

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
                    value["rules"] = rules.clone().into();
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
