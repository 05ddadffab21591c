//! Which flow schema a request belongs to, as API priority and fairness says. Nobody is made to wait for it here, but
//! clients look at the answer's headers: those of Flux limit themselves to a few requests a second where there are none.

use std::sync::{Arc, PoisonError, RwLock};

use http::HeaderValue;
use serde_json::Value;

use super::rbac::{strings, text};
use super::{Attributes, User};
use crate::store::Store;

const FLOWS: &str = "flowschemas.flowcontrol.apiserver.k8s.io";
const LEVELS: &str = "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io";

/// What an answer says of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The uid of the flow schema.
    pub schema: HeaderValue,
    /// The uid of its priority level.
    pub level: HeaderValue,
}

/// The flow schemas, what they match first at the front.
#[derive(Debug, Default)]
struct Known {
    /// Versions of the two collections.
    versions: (u64, u64),
    flows: Vec<(Flow, Vec<Value>)>,
}

/// Flow schemas, read once.
#[derive(Debug, Default)]
pub struct Cache(RwLock<Arc<Known>>);

impl Cache {
    /// The flow of a request; none if there is no schema for it.
    #[must_use]
    pub fn of(&self, store: &Store, user: &User, wanted: &Attributes<'_>) -> Option<Flow> {
        let known = self.known(store);
        let mut flows = known.flows.iter();
        flows
            .find(|(_, rules)| rules.iter().any(|rule| matches(rule, user, wanted)))
            .map(|(flow, _)| flow.clone())
    }

    fn known(&self, store: &Store) -> Arc<Known> {
        let versions = (
            store.collection(FLOWS).latest(),
            store.collection(LEVELS).latest(),
        );
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if known.versions == versions {
            return known;
        }
        let known = Arc::new(Known {
            versions,
            flows: read(store),
        });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known.clone();
        known
    }
}

/// The flow schemas whose level is there, by what is asked first.
fn read(store: &Store) -> Vec<(Flow, Vec<Value>)> {
    let levels = store.collection(LEVELS);
    let all = store.collection(FLOWS).snapshot(store, "", None, None);
    let all = all.into_iter().flat_map(|all| all.objects);
    let mut flows: Vec<(i64, Flow, Vec<Value>)> = all
        .filter_map(|stored| {
            let value = stored.value();
            let spec = &value["spec"];
            let level = levels
                .get(text(&spec["priorityLevelConfiguration"], "name"))?
                .value();
            let uid = |object: &Value| HeaderValue::from_str(text(&object["metadata"], "uid")).ok();
            let flow = Flow {
                schema: uid(&value)?,
                level: uid(&level)?,
            };
            let rules = spec["rules"].as_array().cloned().unwrap_or_default();
            Some((spec["matchingPrecedence"].as_i64().unwrap_or(0), flow, rules))
        })
        .collect();
    // Those of one precedence stay in the order of their names.
    flows.sort_by_key(|(precedence, ..)| *precedence);
    let parts = flows.into_iter().map(|(_, flow, rules)| (flow, rules));
    parts.collect()
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

fn matches(rule: &Value, user: &User, wanted: &Attributes<'_>) -> bool {
    if !list(rule, "subjects").any(|subject| is_subject(subject, user)) {
        return false;
    }
    if wanted.resource.is_empty() {
        return list(rule, "nonResourceRules").any(|rule| matches_path(rule, wanted));
    }
    list(rule, "resourceRules").any(|rule| matches_resource(rule, wanted))
}

fn is_subject(subject: &Value, user: &User) -> bool {
    match text(subject, "kind") {
        "User" => matches!(text(&subject["user"], "name"), name if name == "*" || name == user.name),
        "Group" => matches!(text(&subject["group"], "name"), name if name == "*" || user.is_in(name)),
        "ServiceAccount" => {
            let account = &subject["serviceAccount"];
            let own = user.name.strip_prefix("system:serviceaccount:");
            own.and_then(|own| own.split_once(':')).is_some_and(|own| {
                let name = text(account, "name");
                own.0 == text(account, "namespace") && (name == "*" || name == own.1)
            })
        }
        _ => false,
    }
}

fn has(rule: &Value, field: &str, wanted: &str) -> bool {
    strings(rule, field).any(|own| own == "*" || own == wanted)
}

fn matches_path(rule: &Value, wanted: &Attributes<'_>) -> bool {
    has(rule, "verbs", wanted.verb)
        && strings(rule, "nonResourceURLs").any(|own| match own.strip_suffix('*') {
            Some(head) => wanted.path.starts_with(head),
            None => own == wanted.path,
        })
}

fn matches_resource(rule: &Value, wanted: &Attributes<'_>) -> bool {
    let resource = || {
        if wanted.subresource.is_empty() {
            return has(rule, "resources", wanted.resource);
        }
        strings(rule, "resources")
            .any(|own| own == "*" || own.split_once('/') == Some((wanted.resource, wanted.subresource)))
    };
    let space = if wanted.namespace.is_empty() {
        rule["clusterScope"] == true
    } else {
        has(rule, "namespaces", wanted.namespace)
    };
    space && has(rule, "verbs", wanted.verb) && has(rule, "apiGroups", wanted.group) && resource()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Expect;
    use serde_json::json;

    fn schema(name: &str, precedence: i64, level: &str, rule: &Value) -> Value {
        json!({"metadata": {"name": name, "uid": name}, "spec": {
            "matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": level}, "rules": [rule]}})
    }

    #[test]
    fn the_first_schema_that_matches_counts_if_its_level_is_there() {
        let (store, _notices) = Store::in_memory();
        let put = |collection: &str, mut object: Value| {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            let collection = store.collection(collection);
            store
                .put(&collection, &name, Expect::Absent, &mut object)
                .unwrap();
        };
        let cache = Cache::default();
        let of = |name: &str, group: &str, wanted: Attributes<'_>| {
            let flow = cache.of(&store, &User::new(name, &[group]), &wanted);
            flow.map(|flow| flow.schema.to_str().unwrap().to_owned())
        };
        let pods = Attributes {
            verb: "get",
            resource: "pods",
            namespace: "a",
            ..Attributes::default()
        };
        let health = Attributes {
            verb: "get",
            path: "/livez/ping",
            ..Attributes::default()
        };
        assert_eq!(of("eve", "x", pods), None);
        put(LEVELS, json!({"metadata": {"name": "low", "uid": "l"}}));
        let all = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]});
        let paths = json!([{"verbs": ["get"], "nonResourceURLs": ["/livez/*", "/version"]}]);
        let anybody =
            json!({"subjects": [{"kind": "Group", "group": {"name": "*"}}], "resourceRules": [all]});
        put(FLOWS, schema("last", 9_000, "low", &anybody));
        put(FLOWS, schema("dangling", 1, "gone", &anybody));
        let account = json!([{"kind": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": "*"}}]);
        let own = json!({"subjects": account, "resourceRules": [all], "nonResourceRules": paths});
        put(FLOWS, schema("accounts", 10, "low", &own));

        assert_eq!(of("eve", "x", pods).as_deref(), Some("last"));
        assert_eq!(
            of("system:serviceaccount:a:b", "x", pods).as_deref(),
            Some("accounts")
        );
        assert_eq!(
            of("system:serviceaccount:b:b", "x", pods).as_deref(),
            Some("last")
        );
        assert_eq!(
            of("system:serviceaccount:a:b", "x", health).as_deref(),
            Some("accounts")
        );
        assert_eq!(of("eve", "x", health), None);
        // Nothing is said of what belongs to no namespace.
        assert_eq!(
            of(
                "eve",
                "x",
                Attributes {
                    namespace: "",
                    ..pods
                }
            ),
            None
        );
        let status = Attributes {
            subresource: "status",
            ..pods
        };
        assert_eq!(of("eve", "x", status).as_deref(), Some("last"));
    }
}
