//! Warnings of what a controller could not make: the only thing that says why a stateful set has no pods.

use serde_json::{Value, json};

use super::{Class, kind_of, make_kind};
use crate::api::{Api, meta};
use crate::controllers;

/// A made object that was refused, and for whom it was.
pub(super) struct Refused<'a> {
    pub(super) class: Class,
    pub(super) owner: &'a Value,
    /// The pod, or the pod that a claim is for.
    pub(super) pod: &'a str,
    /// The claim, if it was one.
    pub(super) claim: Option<&'a str>,
    pub(super) message: &'a str,
}

impl Refused<'_> {
    /// The message as the controller of this class words it.
    fn words(&self) -> String {
        let Refused { pod, message, .. } = self;
        let set = meta(self.owner, "name");
        match (self.class, self.claim) {
            (Class::StatefulSet, None) => {
                format!("create Pod {pod} in StatefulSet {set} failed error: {message}")
            }
            (_, Some(claim)) => {
                format!("create Claim {claim} Pod {pod} in StatefulSet {set} failed error: {message}")
            }
            _ => format!("Error creating: {message}"),
        }
    }
}

/// The name that the controller of a class reports under.
fn reporter(class: Class) -> &'static str {
    match class {
        Class::StatefulSet => "statefulset-controller",
        Class::DaemonSet => "daemonset-controller",
        Class::Job => "job-controller",
        Class::ReplicationController => "replication-controller",
        _ => "replicaset-controller",
    }
}

/// Writes the warning, or counts up the one that there is: a set has one, however often it tries.
pub(super) fn refused(api: &Api, refused: &Refused<'_>) {
    let kinds = api.kinds();
    let Some(kind) = kinds.find("", "v1", "events") else {
        return;
    };
    let owner = refused.owner;
    let namespace = meta(owner, "namespace");
    let name = format!(
        "{}.{}",
        meta(owner, "name"),
        super::hash(&json!([owner["metadata"]["uid"], "FailedCreate"]))
    );
    let (now, words) = (api.now(), refused.words());
    let collection = api.store.collection(&kind.collection);
    let key = kind.key(namespace, &name);
    if collection.get(&key).is_some() {
        controllers::mutate(api, &collection, &key, &mut |event| {
            event["count"] = (event["count"].as_i64().unwrap_or(1) + 1).into();
            event["lastTimestamp"] = now.clone().into();
            event["message"] = words.clone().into();
            true
        });
        return;
    }
    let about = kind_of(api, refused.class);
    let component = reporter(refused.class);
    let event = json!({
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": about.as_ref().map(|kind| kind.api_version()), "kind": about.as_ref().map(|kind| &kind.kind),
            "namespace": namespace, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
            "resourceVersion": owner["metadata"]["resourceVersion"],
        },
        "reason": "FailedCreate", "message": words, "type": "Warning",
        "source": {"component": component}, "reportingComponent": component, "reportingInstance": "",
        "firstTimestamp": now, "lastTimestamp": now, "count": 1,
    });
    // A namespace that is going takes no events either.
    let _made = make_kind(api, kind, event, &mut |_| {});
}
