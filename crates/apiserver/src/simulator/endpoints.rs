//! Services: where their pods are, and the addresses of load balancers.

use serde_json::{Value, json};

use super::pods::Facts;
use super::{Class, Found, Simulator, make_kind, nodes, reference, update};
use crate::api::{Api, meta};
use crate::controllers;
use crate::store::Stored;

/// Addresses of load balancers: those reserved for documentation.
const BALANCERS: &str = "198.51.100.";

fn named_port(pod: &Stored, name: &str) -> Option<u64> {
    pod.value()["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|container| container["ports"].as_array().into_iter().flatten())
        .find(|port| port["name"] == name)
        .and_then(|port| port["containerPort"].as_u64())
}

/// The ports of a service as its pods have them.
fn ports(service: &Value, pod: &Stored) -> Vec<Value> {
    let list = service["spec"]["ports"].as_array().into_iter().flatten();
    list.filter_map(|port| {
        let number = match &port["targetPort"] {
            Value::String(name) => named_port(pod, name)?,
            Value::Null => port["port"].as_u64()?,
            other => other
                .as_u64()
                .filter(|number| *number > 0)
                .or_else(|| port["port"].as_u64())?,
        };
        let mut shown = json!({"port": number, "protocol": port["protocol"].as_str().unwrap_or("TCP")});
        if port["name"].is_string() {
            shown["name"] = port["name"].clone();
        }
        Some(shown)
    })
    .collect()
}

fn matches(selector: &Value, facts: &Facts) -> bool {
    let wanted = selector.as_object().into_iter().flatten();
    !facts.ended()
        && wanted
            .into_iter()
            .all(|(name, value)| facts.label(name) == value.as_str())
}

impl Simulator {
    /// Gives a service its endpoints and, if it balances, its address.
    pub(super) fn service(&mut self, api: &Api, found: &Found) {
        let service = &found.value;
        if found.deleting() || service["spec"]["type"] == "ExternalName" {
            return;
        }
        self.balance(api, found);
        let selector = &service["spec"]["selector"];
        if selector.as_object().is_none_or(serde_json::Map::is_empty) {
            return;
        }
        let prefix = format!("{}/", found.stored.namespace());
        let pods = api
            .store
            .collection("pods")
            .snapshot(&api.store, &prefix, None, None);
        let pods = pods.map(|pods| pods.objects).unwrap_or_default();
        let publish = service["spec"]["publishNotReadyAddresses"] == true;
        let mut endpoints = vec![];
        let mut shown_ports = vec![];
        for pod in &pods {
            let Some(facts) = self.pods.get(&pod.key).filter(|facts| matches(selector, facts)) else {
                continue;
            };
            if facts.address.is_empty() {
                continue;
            }
            if shown_ports.is_empty() {
                shown_ports = ports(service, pod);
            }
            let ready = publish || (facts.ready.is_some() && !facts.deleting);
            endpoints.push(json!({"addresses": [facts.address],
                "conditions": {"ready": ready, "serving": facts.ready.is_some(), "terminating": facts.deleting},
                "nodeName": nodes::NODE, "targetRef": {"kind": "Pod", "namespace": pod.namespace(), "name": pod.name(),
                "uid": meta(&pod.value(), "uid")}}));
        }
        self.slice(api, found, &endpoints, &shown_ports);
    }

    /// Writes the slice and the older form; neither is made before there is a pod to tell about.
    fn slice(&mut self, api: &Api, found: &Found, endpoints: &[Value], ports: &[Value]) {
        let service = &found.value;
        let (namespace, name) = (found.stored.namespace(), found.stored.name());
        let kinds = api.kinds();
        let Some(slices) = kinds.find("discovery.k8s.io", "v1", "endpointslices") else {
            return;
        };
        let Some(older) = kinds.find("", "v1", "endpoints") else {
            return;
        };
        let addresses = |ready: bool| -> Vec<Value> {
            let wanted = endpoints
                .iter()
                .filter(|endpoint| endpoint["conditions"]["ready"] == ready);
            wanted
                .map(|endpoint| {
                    json!({"ip": endpoint["addresses"][0], "nodeName": nodes::NODE, "targetRef": endpoint["targetRef"]})
                })
                .collect()
        };
        let (ready, unready) = (addresses(true), addresses(false));
        let mut subset = json!({});
        for (field, list) in [
            ("addresses", ready),
            ("notReadyAddresses", unready),
            ("ports", ports.to_vec()),
        ] {
            if !list.is_empty() {
                subset[field] = list.into();
            }
        }
        let subsets = if endpoints.is_empty() {
            json!([])
        } else {
            json!([subset])
        };
        let labels = service["metadata"]["labels"].clone();
        let slice_name = format!(
            "{name}-{}",
            super::hash(&service["metadata"]["uid"])[..5].to_owned()
        );
        let mut slice_labels = labels.clone();
        slice_labels["kubernetes.io/service-name"] = name.into();
        slice_labels["endpointslice.kubernetes.io/managed-by"] = "endpointslice-controller.k8s.io".into();
        if service["spec"]["clusterIP"] == "None" {
            slice_labels["service.kubernetes.io/headless"] = "".into();
        }
        // The one port without a name has the empty one in slices: clients look at it without asking.
        let mut slice_ports = ports.to_vec();
        for port in slice_ports.iter_mut().filter(|port| port["name"].is_null()) {
            port["name"] = "".into();
        }
        let slice = json!({"metadata": {"name": slice_name, "namespace": namespace, "labels": slice_labels,
            "ownerReferences": reference(api, Class::Service, service)}, "addressType": "IPv4", "endpoints": endpoints,
            "ports": slice_ports});
        let mut older_labels = labels;
        older_labels["endpoints.kubernetes.io/managed-by"] = "endpoint-controller".into();
        let old = json!({"metadata": {"name": name, "namespace": namespace, "labels": older_labels,
            "ownerReferences": reference(api, Class::Service, service)}, "subsets": subsets});
        for (kind, object, fields) in [
            (slices, slice, &["endpoints", "ports"][..]),
            (older, old, &["subsets"][..]),
        ] {
            let collection = api.store.collection(&kind.collection);
            let key = kind.key(namespace, meta(&object, "name"));
            if collection.get(&key).is_some() {
                controllers::mutate(api, &collection, &key, &mut |value| {
                    let before = value.clone();
                    for field in fields {
                        let new = &object[*field];
                        let empty = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
                        if !(empty(new) && empty(&value[*field])) {
                            value[*field] = new.clone();
                        }
                    }
                    *value != before
                });
            } else if !endpoints.is_empty() {
                // A namespace that is going takes no new ones.
                let _made = make_kind(api, kind, object, &mut |_| {});
            }
        }
    }

    fn balance(&mut self, api: &Api, found: &Found) {
        let service = &found.value;
        let balances = service["spec"]["type"] == "LoadBalancer";
        let shown = service["status"]["loadBalancer"]["ingress"]
            .as_array()
            .is_some_and(|list| !list.is_empty());
        if balances == shown {
            return;
        }
        let script = super::Script::of(service);
        if balances && script.outcome != super::Outcome::Healthy {
            return;
        }
        let last = service["spec"]["clusterIP"]
            .as_str()
            .and_then(|address| address.rsplit('.').next())
            .unwrap_or("1")
            .to_owned();
        update(api, Class::Service, &found.stored.key, "status", &mut |service| {
            service["status"]["loadBalancer"] = if balances {
                json!({"ingress": [{"ip": format!("{BALANCERS}{last}"), "ipMode": "VIP"}]})
            } else {
                json!({})
            };
        });
    }
}
