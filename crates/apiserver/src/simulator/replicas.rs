//! Replica sets and replication controllers: as many pods as asked for.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::conditions::{self, Said};
use super::pods::Wanted;
use super::{Class, Found, MOST_PODS, Script, Simulator, update};
use crate::api::{Api, meta, name_suffix};

/// How many pods of a set are there, ready and available.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) all: usize,
    pub(super) ready: usize,
    pub(super) available: usize,
    /// When the next of the ready ones becomes available.
    pub(super) next: Option<Duration>,
}

/// A count in a spec.
pub(super) fn number(value: &Value, default: usize) -> usize {
    value
        .as_i64()
        .map_or(default, |number| usize::try_from(number).unwrap_or(0))
}

impl Simulator {
    /// Counts the active pods among these.
    pub(super) fn count_pods(&self, api: &Api, keys: &[Arc<str>], min_ready: i64) -> Counts {
        let now = (api.clock)().as_second();
        let mut counts = Counts::default();
        for facts in keys.iter().filter_map(|key| self.pods.get(key)) {
            if !facts.active() {
                continue;
            }
            counts.all += 1;
            let Some(since) = facts.ready else { continue };
            counts.ready += 1;
            let left = since + min_ready - now;
            if min_ready == 0 || left <= 0 {
                counts.available += 1;
            } else {
                let left = Duration::from_secs(u64::try_from(left).unwrap_or(1));
                counts.next = Some(counts.next.map_or(left, |next| next.min(left)));
            }
        }
        counts
    }

    /// Those of these pods that count.
    pub(super) fn active(&self, keys: Vec<Arc<str>>) -> Vec<Arc<str>> {
        keys.into_iter()
            .filter(|key| self.pods.get(key).is_some_and(super::pods::Facts::active))
            .collect()
    }

    /// Looks again at the pods that do not run, or at all if their script may have changed.
    pub(super) fn mark_pods(&mut self, keys: &[Arc<str>], all: bool) {
        for key in keys {
            if all || self.pods.get(key).is_some_and(|facts| facts.ready.is_none()) {
                self.mark(Class::Pod, key);
            }
        }
    }

    /// Makes or removes pods until their number is right, and says so in the status.
    pub(super) fn replica_set(&mut self, api: &Api, class: Class, found: &Found) {
        if found.deleting() {
            return;
        }
        let set = &found.value;
        let wanted = number(&set["spec"]["replicas"], 1);
        let simulated = wanted.min(MOST_PODS);
        let script = Script::of(set);
        let mut keys = self.active(self.children(found.uid(), Class::Pod));
        self.mark_pods(&keys, Script::is_in(&found.stored));
        let mut refused = None;
        while keys.len() < simulated {
            let made = self.make_pod(
                api,
                &Wanted {
                    class,
                    owner: set,
                    name: format!("{}-{}", meta(set, "name"), name_suffix()),
                    labels: &[],
                    annotations: &[],
                    script,
                },
            );
            match made {
                Ok(stored) => keys.push(stored.key.clone()),
                Err(failure) => {
                    refused = Some(failure.message);
                    break;
                }
            }
        }
        if keys.len() > simulated {
            // Those that do not run go first.
            keys.sort_by_key(|key| self.pods.get(key).is_none_or(|facts| facts.ready.is_none()));
            for key in keys.split_off(simulated) {
                self.drop_pod(api, &key);
            }
        }
        let item = (class, found.stored.key.clone());
        if refused.is_some() {
            self.again(item.clone());
        } else {
            self.refusals.remove(&item);
        }
        let min_ready = set["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
        let mut counts = self.count_pods(api, &keys, min_ready);
        if let Some(next) = counts.next {
            self.later(next, item);
        }
        scale_up(&mut counts, wanted);
        let now = api.now();
        update(api, class, &found.stored.key, "status", &mut |set| {
            let generation = set["metadata"]["generation"].clone();
            let status = &mut set["status"];
            status["replicas"] = counts.all.into();
            conditions::count(status, "fullyLabeledReplicas", counts.all);
            conditions::count(status, "readyReplicas", counts.ready);
            conditions::count(status, "availableReplicas", counts.available);
            status["observedGeneration"] = generation;
            let known = conditions::get(status, "ReplicaFailure")
                .is_some_and(|known| known["status"] == "True" && known["reason"] == "FailedCreate");
            match &refused {
                // The message names a pod that has another name at each try: writing that would be a change to react to.
                Some(_) if known => {}
                Some(message) => {
                    let said = Said {
                        kind: "ReplicaFailure",
                        status: "True",
                        reason: "FailedCreate",
                        message,
                    };
                    conditions::set(status, &said, None, &now);
                }
                None => conditions::remove(status, "ReplicaFailure"),
            }
        });
    }
}

/// Counts the replicas beyond those that are simulated as if they were like them.
pub(super) fn scale_up(counts: &mut Counts, wanted: usize) {
    if wanted > MOST_PODS && counts.all == MOST_PODS {
        let rest = wanted - MOST_PODS;
        counts.all += rest;
        if counts.ready == MOST_PODS {
            counts.ready += rest;
        }
        if counts.available == MOST_PODS {
            counts.available += rest;
        }
    }
}
