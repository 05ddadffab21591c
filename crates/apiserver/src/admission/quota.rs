//! ResourceQuota: what a namespace may use, and what it does use.

use std::collections::BTreeMap;
use std::sync::MutexGuard;

use fluvial_object::quantity::{Format, Quantity};
use serde_json::{Value, json};

use super::resources::{self, Amounts, add, count};
use crate::api::{Api, meta};
use crate::kinds::Kind;
use crate::request::Request;
use crate::status::{Failure, Outcome};
use crate::store::Expect;

const COLLECTION: &str = "resourcequotas";

fn quotas(api: &Api, namespace: &str) -> Vec<Value> {
    let collection = api.store.collection(COLLECTION);
    if collection.is_empty() {
        return vec![];
    }
    collection
        .snapshot(&api.store, &format!("{namespace}/"), None, None)
        .map(|snapshot| snapshot.objects.iter().map(|stored| stored.value()).collect())
        .unwrap_or_default()
}

/// Whether a scope takes a pod.
fn in_scope(scope: &str, operator: &str, values: &Value, pod: &Value) -> bool {
    let spec = &pod["spec"];
    let best_effort = pod["status"]["qosClass"].as_str().map_or_else(
        || {
            let (requests, limits) = resources::pod(spec);
            requests.is_empty() && limits.is_empty()
        },
        |class| class == "BestEffort",
    );
    let terminating = spec["activeDeadlineSeconds"]
        .as_i64()
        .is_some_and(|seconds| seconds >= 0);
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => best_effort,
        "NotBestEffort" => !best_effort,
        "PriorityClass" => {
            let own = spec["priorityClassName"].as_str().unwrap_or("");
            let listed = values
                .as_array()
                .is_some_and(|list| list.iter().any(|value| value == own));
            match operator {
                "In" => listed,
                "NotIn" => !own.is_empty() && !listed,
                "DoesNotExist" => own.is_empty(),
                _ => !own.is_empty(),
            }
        }
        "CrossNamespacePodAffinity" => {
            let affinity = spec["affinity"].to_string();
            affinity.contains("\"namespaces\"") || affinity.contains("\"namespaceSelector\"")
        }
        _ => true,
    }
}

/// Whether a quota counts a pod; quotas with scopes count nothing else.
fn takes(quota: &Value, kind: &Kind, object: &Value) -> bool {
    let spec = &quota["spec"];
    let scopes = spec["scopes"].as_array().map_or(&[][..], Vec::as_slice);
    let expressions = spec["scopeSelector"]["matchExpressions"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if scopes.is_empty() && expressions.is_empty() {
        return true;
    }
    if !kind.is("", "Pod") {
        return false;
    }
    scopes
        .iter()
        .all(|scope| in_scope(scope.as_str().unwrap_or(""), "Exists", &Value::Null, object))
        && expressions.iter().all(|one| {
            let text = |field: &str| one[field].as_str().unwrap_or("");
            in_scope(text("scopeName"), text("operator"), &one["values"], object)
        })
}

/// What one object uses, by the names that quotas have for it.
fn usage(kind: &Kind, object: &Value) -> Amounts {
    let mut used = Amounts::new();
    let group = if kind.group.is_empty() {
        String::new()
    } else {
        format!(".{}", kind.group)
    };
    used.insert(format!("count/{}{group}", kind.plural), count(1));
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => {
            if matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
                return used;
            }
            used.insert("pods".into(), count(1));
            let (requests, limits) = resources::pod(&object["spec"]);
            for (name, amount) in requests {
                if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage")
                    || name.starts_with("hugepages-")
                {
                    used.insert(name.clone(), amount.clone());
                }
                used.insert(format!("requests.{name}"), amount);
            }
            for (name, amount) in limits {
                used.insert(format!("limits.{name}"), amount);
            }
        }
        ("", "Service") => {
            used.insert("services".into(), count(1));
            let ports = object["spec"]["ports"].as_array().map_or(0, Vec::len);
            match object["spec"]["type"].as_str() {
                Some("NodePort") => {
                    used.insert("services.nodeports".into(), count(ports));
                }
                Some("LoadBalancer") => {
                    used.insert("services.loadbalancers".into(), count(1));
                    if object["spec"]["allocateLoadBalancerNodePorts"] != false {
                        used.insert("services.nodeports".into(), count(ports));
                    }
                }
                _ => {}
            }
        }
        ("", "PersistentVolumeClaim") => {
            used.insert("persistentvolumeclaims".into(), count(1));
            let class = object["spec"]["storageClassName"].as_str().unwrap_or("");
            let storage = &resources::amounts(&object["spec"]["resources"]["requests"]);
            let class_prefix = format!("{class}.storageclass.storage.k8s.io/");
            if !class.is_empty() {
                used.insert(format!("{class_prefix}persistentvolumeclaims"), count(1));
            }
            if let Some(amount) = storage.get("storage") {
                used.insert("requests.storage".into(), amount.clone());
                if !class.is_empty() {
                    used.insert(format!("{class_prefix}requests.storage"), amount.clone());
                }
            }
        }
        ("", "ConfigMap" | "Secret" | "ReplicationController" | "ResourceQuota") => {
            used.insert(kind.plural.clone(), count(1));
        }
        _ => {}
    }
    used
}

/// What of a namespace a quota counts now.
fn used(api: &Api, quota: &Value, namespace: &str) -> Amounts {
    let hard = resources::amounts(&quota["spec"]["hard"]);
    let mut total = Amounts::new();
    for kind in counted(api, &hard) {
        let prefix = format!("{namespace}/");
        let Ok(snapshot) = api
            .store
            .collection(&kind.collection)
            .snapshot(&api.store, &prefix, None, None)
        else {
            continue;
        };
        for stored in snapshot.objects {
            let object = stored.value();
            if takes(quota, &kind, &object) {
                add(&mut total, &usage(&kind, &object));
            }
        }
    }
    hard.keys()
        .map(|name| {
            let own = total.remove(name);
            (
                name.clone(),
                own.unwrap_or_else(|| Quantity::from_integer(0, Format::DecimalSi)),
            )
        })
        .collect()
}

/// The kinds whose objects count towards some of these names.
fn counted(api: &Api, hard: &Amounts) -> Vec<std::sync::Arc<Kind>> {
    let kinds = api.kinds();
    let wants = |kind: &Kind| {
        hard.keys().any(|name| match name.strip_prefix("count/") {
            Some(resource) => resource == kind.resource(),
            None if !kind.group.is_empty() => false,
            None => match kind.kind.as_str() {
                "Pod" => {
                    name == "pods"
                        || (!name.contains("storage") && !name.contains('/') && !is_plain(name))
                        || name.contains("ephemeral-storage")
                        || (name.contains('/') && !name.contains("storageclass"))
                }
                "Service" => name == "services" || name.starts_with("services."),
                "PersistentVolumeClaim" => {
                    name == "persistentvolumeclaims"
                        || name == "requests.storage"
                        || name.contains(".storageclass.storage.k8s.io/")
                }
                _ => *name == kind.plural,
            },
        })
    };
    let mut found: Vec<std::sync::Arc<Kind>> = vec![];
    for kind in kinds.collections().filter(|kind| kind.namespaced && wants(kind)) {
        found.push(kind.clone());
    }
    found
}

fn is_plain(name: &str) -> bool {
    matches!(
        name,
        "configmaps"
            | "secrets"
            | "replicationcontrollers"
            | "resourcequotas"
            | "persistentvolumeclaims"
            | "services"
    ) || name.starts_with("services.")
}

fn shown(amounts: &BTreeMap<&str, String>) -> String {
    let all: Vec<String> = amounts
        .iter()
        .map(|(name, amount)| format!("{name}={amount}"))
        .collect();
    all.join(",")
}

/// Resources that every container of a pod must name because a quota counts them.
fn unnamed(hard: &Amounts, pod: &Value) -> Option<String> {
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in hard.keys() {
        let (field, resource) = match name.split_once('.') {
            Some(("limits", rest)) => ("limits", rest),
            Some(("requests", rest)) => ("requests", rest),
            _ => ("requests", name.as_str()),
        };
        if !matches!(resource, "cpu" | "memory") {
            continue;
        }
        for list in ["containers", "initContainers"] {
            for container in pod["spec"][list].as_array().into_iter().flatten() {
                let whole = !pod["spec"]["resources"][field][resource].is_null();
                if container["resources"][field][resource].is_null() && !whole {
                    missing
                        .entry(name)
                        .or_default()
                        .push(container["name"].as_str().unwrap_or(""));
                }
            }
        }
    }
    let all: Vec<String> = missing
        .into_iter()
        .map(|(name, mut who)| {
            who.sort_unstable();
            format!("{name} for: {}", who.join(","))
        })
        .collect();
    (!all.is_empty()).then(|| format!("must specify {}", all.join("; ")))
}

/// Holds what a request adds against the quotas of its namespace. The guard that comes back is held until the object
/// is written, so that two requests never share what is left.
///
/// # Errors
/// A quota would be exceeded, or a pod does not say what it uses.
pub fn check<'a>(
    api: &'a Api,
    request: &Request,
    object: &Value,
    old: Option<&Value>,
) -> Outcome<Option<MutexGuard<'a, ()>>> {
    let kind = &request.kind;
    if !kind.namespaced || !request.target.subresource.is_empty() {
        return Ok(None);
    }
    let namespace = &request.target.namespace;
    if api.store.collection(COLLECTION).is_empty() {
        return Ok(None);
    }
    let guard = api
        .quotas
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let all = quotas(api, namespace);
    if all.is_empty() {
        return Ok(None);
    }
    let refuse = |why: String| Failure::forbidden(&kind.group, &kind.plural, meta(object, "name"), &why);
    for quota in all {
        if !takes(&quota, kind, object) {
            continue;
        }
        let name = meta(&quota, "name");
        let hard = resources::amounts(&quota["spec"]["hard"]);
        if kind.is("", "Pod")
            && old.is_none()
            && let Some(why) = unnamed(&hard, object)
        {
            return Err(refuse(format!("failed quota: {name}: {why}")));
        }
        let mut more = usage(kind, object);
        if let Some(old) = old.filter(|old| takes(&quota, kind, old)) {
            for (name, amount) in usage(kind, old) {
                if let Some(own) = more.get(&name) {
                    let less = own.sub(&amount);
                    more.insert(name, less);
                }
            }
        }
        more.retain(|name, amount| hard.contains_key(name) && amount.sign() > 0);
        if more.is_empty() {
            continue;
        }
        let now = used(api, &quota, namespace);
        let over: Vec<&String> = more
            .iter()
            .filter(|(name, amount)| now.get(*name).is_some_and(|used| used.add(amount) > hard[*name]))
            .map(|(name, _)| name)
            .collect();
        if !over.is_empty() {
            let pick = |from: &Amounts| -> BTreeMap<&str, String> {
                over.iter()
                    .map(|name| (name.as_str(), from[*name].to_string()))
                    .collect()
            };
            return Err(refuse(format!(
                "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
                shown(&pick(&more)),
                shown(&pick(&now)),
                shown(&pick(&hard))
            )));
        }
    }
    Ok(Some(guard))
}

/// Brings the statuses of a namespace's quotas up to date.
pub fn refresh(api: &Api, namespace: &str) {
    let collection = api.store.collection(COLLECTION);
    let Ok(snapshot) = collection.snapshot(&api.store, &format!("{namespace}/"), None, None) else {
        return;
    };
    let types = api.schemas.kind("", "v1", "ResourceQuota");
    for stored in snapshot.objects {
        let mut live = stored.value();
        let texts = |amounts: &Amounts| -> Value {
            amounts
                .iter()
                .map(|(name, amount)| (name.clone(), Value::from(amount.to_string())))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let status =
            json!({"hard": live["spec"]["hard"].clone(), "used": texts(&used(api, &live, namespace))});
        if live["status"] == status || live["spec"]["hard"].is_null() {
            continue;
        }
        live["apiVersion"] = "v1".into();
        live["kind"] = "ResourceQuota".into();
        let mut updated = live.clone();
        updated["status"] = status;
        let mut new = fluvial_merge::managed::update(fluvial_merge::managed::UpdateRequest {
            types: types.as_ref(),
            live: Some(&live),
            updated,
            manager: "kube-controller-manager",
            subresource: "status",
            api_version: "v1",
            time: &api.now(),
            reset_fields: &[],
        });
        // Whoever changed it meanwhile is followed next.
        let _done = api.store.put(
            &collection,
            &stored.key,
            Expect::Version(stored.version),
            &mut new,
        );
    }
}
