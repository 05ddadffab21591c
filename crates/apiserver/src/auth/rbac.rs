//! Role-based access: which rules apply to a user, and whether they allow something.

use serde_json::Value;

use super::{Attributes, User};
use crate::api::Api;
use crate::store::Store;

mod cache;

pub use cache::Cache;

const ROLES: &str = "roles.rbac.authorization.k8s.io";
const CLUSTER_ROLES: &str = "clusterroles.rbac.authorization.k8s.io";
const BINDINGS: &str = "rolebindings.rbac.authorization.k8s.io";
const CLUSTER_BINDINGS: &str = "clusterrolebindings.rbac.authorization.k8s.io";

/// What a decision rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, as access reviews show it.
    pub reason: String,
}

pub(super) fn strings<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    value[field]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("")
}

/// Whether a subject of a binding is this user; `namespace` is the binding's.
fn is_subject(subject: &Value, user: &User, namespace: &str) -> bool {
    let name = text(subject, "name");
    match text(subject, "kind") {
        "User" => user.name == name,
        "Group" => user.is_in(name),
        "ServiceAccount" => {
            let own = text(subject, "namespace");
            let namespace = if own.is_empty() { namespace } else { own };
            user.name
                .strip_prefix("system:serviceaccount:")
                .and_then(|rest| rest.split_once(':'))
                .is_some_and(|(space, account)| {
                    space == namespace && account == name && !namespace.is_empty()
                })
        }
        _ => false,
    }
}

fn describe(subject: &Value, namespace: &str) -> String {
    let name = text(subject, "name");
    match text(subject, "kind") {
        "ServiceAccount" => {
            let own = text(subject, "namespace");
            let space = if own.is_empty() { namespace } else { own };
            format!("ServiceAccount \"{name}/{space}\"")
        }
        kind => format!("{kind} \"{name}\""),
    }
}

/// Whether a rule allows something.
#[must_use]
pub fn rule_allows(rule: &Value, wanted: &Attributes<'_>) -> bool {
    let has = |field: &str, value: &str| strings(rule, field).any(|own| own == "*" || own == value);
    if !has("verbs", wanted.verb) {
        return false;
    }
    if wanted.resource.is_empty() {
        return strings(rule, "nonResourceURLs").any(|own| {
            own == "*"
                || own == wanted.path
                || own
                    .strip_suffix('*')
                    .is_some_and(|head| wanted.path.starts_with(head))
        });
    }
    let resource = if wanted.subresource.is_empty() {
        has("resources", wanted.resource)
    } else {
        let whole = format!("{}/{}", wanted.resource, wanted.subresource);
        has("resources", &whole)
            || strings(rule, "resources").any(|own| own.strip_prefix("*/") == Some(wanted.subresource))
    };
    let mut names = strings(rule, "resourceNames").peekable();
    has("apiGroups", wanted.group)
        && resource
        && (names.peek().is_none() || names.any(|own| own == wanted.name))
}

/// Calls `visit` with every rule that applies to a user in a namespace, until it returns true.
///
/// The second argument of `visit` says which binding gives the rule.
pub fn visit_rules(
    api: &Api,
    user: &User,
    namespace: &str,
    visit: &mut dyn FnMut(&Value, &dyn Fn() -> String) -> bool,
) {
    visit_in(&api.store, &api.rules, user, namespace, visit);
}

fn visit_in(
    store: &Store,
    cache: &Cache,
    user: &User,
    namespace: &str,
    visit: &mut dyn FnMut(&Value, &dyn Fn() -> String) -> bool,
) {
    let places: &[&str] = if namespace.is_empty() {
        &[""]
    } else {
        &["", namespace]
    };
    for space in places {
        for binding in cache.bindings(store, user, space) {
            let Some(subject) = binding.subject(user) else {
                continue;
            };
            let (kind, role) = (&binding.role_kind, &binding.role);
            let found = if kind == "Role" {
                cache.rules(store, ROLES, &format!("{space}/{role}"))
            } else {
                cache.rules(store, CLUSTER_ROLES, role)
            };
            let Some(rules) = found else { continue };
            let because = || {
                let (binding_kind, shown) = if space.is_empty() {
                    ("ClusterRoleBinding", binding.name.clone())
                } else {
                    ("RoleBinding", format!("{}/{}", binding.name, space))
                };
                let to = describe(subject, space);
                format!("RBAC: allowed by {binding_kind} \"{shown}\" of {kind} \"{role}\" to {to}")
            };
            for rule in rules.iter() {
                if visit(rule, &because) {
                    return;
                }
            }
        }
    }
}

/// Whether a user may do something.
#[must_use]
pub fn authorize(api: &Api, user: &User, wanted: &Attributes<'_>) -> Decision {
    authorize_in(&api.store, &api.rules, user, wanted)
}

fn authorize_in(store: &Store, cache: &Cache, user: &User, wanted: &Attributes<'_>) -> Decision {
    if user.is_in("system:masters") {
        return Decision {
            allowed: true,
            reason: String::new(),
        };
    }
    let mut decision = Decision {
        allowed: false,
        reason: String::new(),
    };
    visit_in(store, cache, user, wanted.namespace, &mut |rule, because| {
        if rule_allows(rule, wanted) {
            decision = Decision {
                allowed: true,
                reason: because(),
            };
        }
        decision.allowed
    });
    decision
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Expect;
    use serde_json::json;

    #[test]
    fn a_role_binding_allows_in_its_namespace_only() {
        let (store, _notices) = Store::in_memory();
        let mut role = json!({"metadata": {"name": "r"}, "rules": [
            {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get"]}]});
        store
            .put(&store.collection(CLUSTER_ROLES), "r", Expect::Absent, &mut role)
            .unwrap();
        let mut binding = json!({"metadata": {"name": "b", "namespace": "n"},
            "roleRef": {"kind": "ClusterRole", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "name": "s", "namespace": "n"}]});
        store
            .put(&store.collection(BINDINGS), "n/b", Expect::Absent, &mut binding)
            .unwrap();
        let user = User::new("system:serviceaccount:n:s", &[]);
        let mut wanted = Attributes {
            verb: "get",
            resource: "pods",
            namespace: "n",
            ..Attributes::default()
        };
        let cache = Cache::default();
        let authorize = |wanted: &Attributes<'_>| authorize_in(&store, &cache, &user, wanted);
        let decision = authorize(&wanted);
        assert!(decision.allowed);
        assert_eq!(
            decision.reason,
            "RBAC: allowed by RoleBinding \"b/n\" of ClusterRole \"r\" to ServiceAccount \"s/n\""
        );
        wanted.subresource = "log";
        assert!(authorize(&wanted).allowed);
        wanted.namespace = "other";
        assert!(!authorize(&wanted).allowed);
        // A changed role or binding counts at once.
        wanted.namespace = "n";
        let bindings = store.collection(BINDINGS);
        let stored = bindings.get("n/b").unwrap();
        let mut gone = stored.value();
        store.remove(&bindings, "n/b", stored.version, &mut gone).unwrap();
        assert!(!authorize(&wanted).allowed);
    }
}
