//! Deployments: one replica set for each template, rolled over as the strategy says.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::conditions::{self, Said};
use super::replicas::number;
use super::{Class, Found, Outcome, Script, Simulator, erase, find, hash, make, reference, seconds, update};
use crate::api::{Api, meta};
use crate::status::Failure;

const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MOST: &str = "deployment.kubernetes.io/max-replicas";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const HASH: &str = "pod-template-hash";

/// What a rollout may do at a time.
struct Limits {
    desired: usize,
    surge: usize,
    unavailable: usize,
}

/// An int-or-percent of a number.
fn share(value: &Value, of: usize, up: bool) -> usize {
    let Some(percent) = value
        .as_str()
        .and_then(|text| text.strip_suffix('%'))
        .and_then(|text| text.parse::<usize>().ok())
    else {
        return number(value, 0);
    };
    let exact = of.saturating_mul(percent);
    if up { exact.div_ceil(100) } else { exact / 100 }
}

impl Limits {
    fn of(deployment: &Value) -> Self {
        let spec = &deployment["spec"];
        let desired = number(&spec["replicas"], 1);
        if spec["strategy"]["type"] == "Recreate" {
            return Limits {
                desired,
                surge: 0,
                unavailable: desired,
            };
        }
        let rolling = &spec["strategy"]["rollingUpdate"];
        let surge = share(&rolling["maxSurge"], desired, true);
        let mut unavailable = share(&rolling["maxUnavailable"], desired, false).min(desired);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Limits {
            desired,
            surge,
            unavailable,
        }
    }
}

fn revision(set: &Value) -> i64 {
    let text = set["metadata"]["annotations"][REVISION].as_str();
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Annotations that a replica set takes over.
fn inherited(deployment: &Value, limits: &Limits, revision: i64) -> Value {
    let mut all = deployment["metadata"]["annotations"].clone();
    if !all.is_object() {
        all = json!({});
    }
    if let Some(map) = all.as_object_mut() {
        map.remove(LAST_APPLIED);
    }
    all[REVISION] = revision.to_string().into();
    all[DESIRED] = limits.desired.to_string().into();
    all[MOST] = (limits.desired + limits.surge).to_string().into();
    all
}

/// The replica sets of a deployment.
struct Sets {
    new: Option<Found>,
    old: Vec<Found>,
}

impl Sets {
    fn all(&self) -> impl Iterator<Item = &Found> {
        self.new.iter().chain(&self.old)
    }

    fn sum(&self, field: &str) -> usize {
        self.all().map(|set| number(&set.value["status"][field], 0)).sum()
    }
}

impl Simulator {
    fn sets(&self, api: &Api, uid: &str, hash: &str) -> Sets {
        let mut sets = Sets {
            new: None,
            old: vec![],
        };
        for key in self.children(uid, Class::ReplicaSet) {
            let Some(set) = find(api, Class::ReplicaSet, &key).filter(|set| !set.deleting()) else {
                continue;
            };
            if set.value["metadata"]["labels"][HASH] == hash {
                sets.new = Some(set);
            } else {
                sets.old.push(set);
            }
        }
        sets.old.sort_by_key(|set| revision(&set.value));
        sets
    }

    /// Rolls a deployment out and says how far it is.
    pub(super) fn deployment(&mut self, api: &Api, found: &Found) {
        if found.deleting() {
            return;
        }
        let deployment = &found.value;
        let hash = hash(&deployment["spec"]["template"]);
        let limits = Limits::of(deployment);
        let paused = deployment["spec"]["paused"] == true;
        let mut sets = self.sets(api, found.uid(), &hash);
        let item = (Class::Deployment, found.stored.key.clone());
        let mut refused = None;
        if sets.new.is_none() && !paused {
            match self.make_set(api, deployment, &hash, &limits, &sets) {
                Ok(()) => sets = self.sets(api, found.uid(), &hash),
                Err(failure) => {
                    refused = Some(failure.message);
                    self.again(item);
                }
            }
        }
        // Each step makes room for the next as long as new pods become available at once.
        for _ in 0..=2 * limits.desired.min(super::MOST_PODS) {
            if !self.roll(api, deployment, &limits, &sets) {
                break;
            }
            sets = self.sets(api, found.uid(), &hash);
        }
        self.clean_up(api, deployment, &sets);
        self.report(api, found, &sets, &limits, refused.as_deref());
    }

    fn make_set(
        &mut self,
        api: &Api,
        deployment: &Value,
        hash: &str,
        limits: &Limits,
        sets: &Sets,
    ) -> Result<(), Failure> {
        let spec = &deployment["spec"];
        let next = sets.old.iter().map(|set| revision(&set.value)).max().unwrap_or(0) + 1;
        let mut set = json!({"metadata": {"name": format!("{}-{hash}", meta(deployment, "name")),
            "namespace": meta(deployment, "namespace"), "annotations": inherited(deployment, limits, next),
            "labels": spec["template"]["metadata"]["labels"], "ownerReferences": reference(api, Class::Deployment, deployment)},
            "spec": {"replicas": 0, "selector": spec["selector"], "template": spec["template"]}});
        if let Some(seconds) = spec.get("minReadySeconds") {
            set["spec"]["minReadySeconds"] = seconds.clone();
        }
        set["metadata"]["labels"][HASH] = hash.into();
        set["spec"]["selector"]["matchLabels"][HASH] = hash.into();
        set["spec"]["template"]["metadata"]["labels"][HASH] = hash.into();
        // The pods follow in the same look: nobody needs to see the set without them.
        let first = Self::first_step(limits, sets);
        set["spec"]["replicas"] = first.into();
        let stored = make(api, Class::ReplicaSet, set, &mut |_| {})?;
        self.learn(Class::ReplicaSet, &stored);
        Ok(())
    }

    /// How many pods a new set may have while the old ones stay.
    fn first_step(limits: &Limits, sets: &Sets) -> usize {
        let old: usize = sets
            .old
            .iter()
            .map(|set| number(&set.value["spec"]["replicas"], 0))
            .sum();
        let kept = old.min(limits.desired.saturating_sub(limits.unavailable));
        (limits.desired + limits.surge)
            .saturating_sub(kept)
            .min(limits.desired)
    }

    /// Scales the sets one step on and lets their pods follow; false if nothing is left to do now.
    fn roll(&mut self, api: &Api, deployment: &Value, limits: &Limits, sets: &Sets) -> bool {
        if deployment["spec"]["paused"] == true {
            // A paused deployment is scaled but not rolled.
            if let Some(active) = sets.all().find(|set| asks(set)).or(sets.new.as_ref()) {
                self.scale(api, active, limits.desired, None);
            }
            return false;
        }
        let Some(new) = &sets.new else { return false };
        let highest = sets.old.iter().map(|set| revision(&set.value)).max().unwrap_or(0);
        let own = revision(&new.value);
        let own = if own <= highest { highest + 1 } else { own };
        let annotations = inherited(deployment, limits, own);
        let available = number(&new.value["status"]["availableReplicas"], 0);
        let mut keep = limits.desired.saturating_sub(limits.unavailable + available);
        let mut kept = 0;
        let mut moved = false;
        for set in sets.old.iter().rev().filter(|set| asks(set)) {
            let have = number(&set.value["spec"]["replicas"], 0);
            let left = have.min(keep);
            keep -= left;
            kept += left;
            if left < have {
                self.scale(api, set, left, None);
                moved = true;
            }
        }
        let step = limits
            .desired
            .min((limits.desired + limits.surge).saturating_sub(kept));
        moved |= number(&new.value["spec"]["replicas"], 0) != step;
        self.scale(api, new, step, Some(&annotations));
        moved
    }

    /// Gives a set its number and lets it work at once.
    fn scale(&mut self, api: &Api, set: &Found, replicas: usize, annotations: Option<&Value>) {
        let key = &set.stored.key;
        update(api, Class::ReplicaSet, key, "", &mut |set| {
            if number(&set["spec"]["replicas"], 1) != replicas {
                set["spec"]["replicas"] = replicas.into();
                let generation = set["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
                set["metadata"]["generation"] = generation.into();
            }
            if let Some(annotations) = annotations {
                set["metadata"]["annotations"] = annotations.clone();
            }
        });
        if let Some(set) = find(api, Class::ReplicaSet, key) {
            self.replica_set(api, Class::ReplicaSet, &set);
        }
    }

    /// Removes empty sets beyond those kept for going back.
    fn clean_up(&mut self, api: &Api, deployment: &Value, sets: &Sets) {
        let kept = number(&deployment["spec"]["revisionHistoryLimit"], 10);
        let empty: Vec<&Found> = sets.old.iter().filter(|set| !asks(set)).collect();
        for set in &empty[..empty.len().saturating_sub(kept)] {
            erase(api, Class::ReplicaSet, &set.stored, None);
        }
    }

    fn report(&mut self, api: &Api, found: &Found, sets: &Sets, limits: &Limits, refused: Option<&str>) {
        let deployment = &found.value;
        let key: &Arc<str> = &found.stored.key;
        let (all, ready, available) = (
            sets.sum("replicas"),
            sets.sum("readyReplicas"),
            sets.sum("availableReplicas"),
        );
        let field = |field: &str| {
            sets.new
                .as_ref()
                .map_or(0, |set| number(&set.value["status"][field], 0))
        };
        let updated = field("replicas");
        let complete = sets.new.is_some()
            && updated == limits.desired
            && all == updated
            && field("availableReplicas") == limits.desired;
        let failed = Script::is_in(&found.stored) && Script::of(deployment).outcome == Outcome::Fail;
        let now = api.now();
        let late = self.deadline(api, found, complete);
        let name = sets
            .new
            .as_ref()
            .map_or("", |set| meta(&set.value, "name"))
            .to_owned();
        let own_revision = sets.new.as_ref().map(|set| revision(&set.value).to_string());
        let replica_failure = sets
            .all()
            .find_map(|set| conditions::get(&set.value["status"], "ReplicaFailure"))
            .and_then(|condition| condition["message"].as_str())
            .or(refused)
            .map(str::to_owned);
        let enough = available >= limits.desired.saturating_sub(limits.unavailable);
        update(api, Class::Deployment, key, "status", &mut |deployment| {
            if let Some(revision) = &own_revision {
                deployment["metadata"]["annotations"][REVISION] = revision.clone().into();
            }
            let generation = deployment["metadata"]["generation"].clone();
            let paused = deployment["spec"]["paused"] == true;
            let status = &mut deployment["status"];
            status["observedGeneration"] = generation;
            conditions::count(status, "replicas", all);
            conditions::count(status, "updatedReplicas", updated);
            conditions::count(status, "readyReplicas", ready);
            conditions::count(status, "availableReplicas", available);
            conditions::count(
                status,
                "unavailableReplicas",
                all.max(limits.desired).saturating_sub(available),
            );
            let mut say = |kind: &str, flag: &str, reason: &str, message: &str| {
                let said = Said {
                    kind,
                    status: flag,
                    reason,
                    message,
                };
                conditions::set(status, &said, Some("lastUpdateTime"), &now);
            };
            if enough {
                say(
                    "Available",
                    "True",
                    "MinimumReplicasAvailable",
                    "Deployment has minimum availability.",
                );
            } else {
                let text = "Deployment does not have minimum availability.";
                say("Available", "False", "MinimumReplicasUnavailable", text);
            }
            if paused {
                say(
                    "Progressing",
                    "Unknown",
                    "DeploymentPaused",
                    "Deployment is paused",
                );
            } else if complete {
                let text = format!("ReplicaSet \"{name}\" has successfully progressed.");
                say("Progressing", "True", "NewReplicaSetAvailable", &text);
            } else if failed || late {
                let text = format!("ReplicaSet \"{name}\" has timed out progressing.");
                say("Progressing", "False", "ProgressDeadlineExceeded", &text);
            } else if !name.is_empty() {
                let text = format!("ReplicaSet \"{name}\" is progressing.");
                say("Progressing", "True", "ReplicaSetUpdated", &text);
            }
            match &replica_failure {
                Some(message) => say("ReplicaFailure", "True", "FailedCreate", message),
                None => conditions::remove(status, "ReplicaFailure"),
            }
        });
    }

    /// Whether the rollout has taken longer than it may; a timer watches one that has not.
    fn deadline(&mut self, api: &Api, found: &Found, complete: bool) -> bool {
        let Some(limit) = found.value["spec"]["progressDeadlineSeconds"].as_i64() else {
            return false;
        };
        if complete || limit >= i64::from(i32::MAX) {
            return false;
        }
        let progressing = conditions::get(&found.value["status"], "Progressing");
        let observed = found.value["status"]["observedGeneration"] == found.value["metadata"]["generation"];
        if observed && progressing.is_some_and(|condition| condition["reason"] == "ProgressDeadlineExceeded")
        {
            return true;
        }
        let now = (api.clock)().as_second();
        let started = progressing
            .filter(|condition| observed && condition["reason"] != "NewReplicaSetAvailable")
            .and_then(|condition| seconds(&condition["lastUpdateTime"]))
            .unwrap_or(now);
        let left = started + limit - now;
        if left <= 0 {
            return true;
        }
        let left = Duration::from_secs(u64::try_from(left).unwrap_or(1));
        self.later(left, (Class::Deployment, found.stored.key.clone()));
        false
    }
}

/// Whether a set asks for pods.
fn asks(set: &Found) -> bool {
    number(&set.value["spec"]["replicas"], 1) > 0
}
