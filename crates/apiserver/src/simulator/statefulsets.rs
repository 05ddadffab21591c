//! Stateful sets: numbered pods with claims of their own, one after the other.

use std::sync::Arc;

use serde_json::{Value, json};

use super::conditions;
use super::pods::Wanted;
use super::replicas::{number, scale_up};
use super::{Class, Found, MOST_PODS, Script, Simulator, events, make, reference, revisions, update};
use crate::api::{Api, meta};
use crate::status::Failure;

const HASH: &str = "controller-revision-hash";

/// One look at a set: what it wants and who asks for it.
struct Look<'a> {
    set: &'a Value,
    namespace: &'a str,
    revision: &'a str,
    script: Script,
    ordered: bool,
}

fn ordinal(key: &str) -> Option<usize> {
    key.rsplit_once('-').and_then(|(_, number)| number.parse().ok())
}

impl Simulator {
    /// Makes, replaces and removes pods in order, and says so in the status.
    pub(super) fn stateful_set(&mut self, api: &Api, found: &Found) {
        if found.deleting() {
            return;
        }
        let set = &found.value;
        let revision = revisions::of(api, Class::StatefulSet, found);
        let spec = &set["spec"];
        let wanted = number(&spec["replicas"], 1);
        let simulated = wanted.min(MOST_PODS);
        let start = number(&spec["ordinals"]["start"], 0);
        let look = Look {
            set,
            namespace: found.stored.namespace(),
            revision: &revision,
            script: Script::of(set),
            ordered: spec["podManagementPolicy"] != "Parallel",
        };
        let mut keys = self.active(self.children(found.uid(), Class::Pod));
        self.mark_pods(&keys, Script::is_in(&found.stored));
        keys.retain(|key| {
            let stays = ordinal(key).is_some_and(|at| (start..start + simulated).contains(&at));
            if !stays {
                self.drop_pod(api, key);
            }
            stays
        });
        let mut result = self.fill(api, &look, start..start + simulated, &mut keys);
        if result.is_ok() && spec["updateStrategy"]["type"] != "OnDelete" {
            let partition = number(&spec["updateStrategy"]["rollingUpdate"]["partition"], 0);
            let from = partition.max(start);
            result = self.replace(api, &look, from..start + simulated, &mut keys);
        }
        let item = (Class::StatefulSet, found.stored.key.clone());
        match result {
            Ok(()) => {
                self.refusals.remove(&item);
            }
            Err(_) => self.again(item.clone()),
        }
        let mut counts = self.count_pods(api, &keys, spec["minReadySeconds"].as_i64().unwrap_or(0));
        if let Some(next) = counts.next {
            self.later(next, item);
        }
        scale_up(&mut counts, wanted);
        let mut updated = self.of_revision(&keys, &revision);
        if updated == simulated {
            updated = counts.all;
        }
        update(api, Class::StatefulSet, &found.stored.key, "status", &mut |set| {
            let generation = set["metadata"]["generation"].clone();
            let status = &mut set["status"];
            status["observedGeneration"] = generation;
            status["replicas"] = counts.all.into();
            status["collisionCount"] = 0.into();
            status["updateRevision"] = revision.clone().into();
            if status["currentRevision"].is_null() || (updated == counts.all && counts.ready == counts.all) {
                status["currentRevision"] = revision.clone().into();
            }
            let current = if status["currentRevision"] == revision.as_str() {
                updated
            } else {
                counts.all - updated
            };
            conditions::count(status, "currentReplicas", current);
            conditions::count(status, "updatedReplicas", updated);
            conditions::count(status, "readyReplicas", counts.ready);
            status["availableReplicas"] = counts.available.into();
        });
    }

    pub(super) fn of_revision(&self, keys: &[Arc<str>], revision: &str) -> usize {
        keys.iter()
            .filter(|key| self.pods.get(*key).and_then(|facts| facts.label(HASH)) == Some(revision))
            .count()
    }

    fn is_ready(&self, key: &str) -> bool {
        self.pods.get(key).is_some_and(|facts| facts.ready.is_some())
    }

    /// Makes what is missing; an ordered set waits for each pod.
    fn fill(
        &mut self,
        api: &Api,
        look: &Look<'_>,
        range: std::ops::Range<usize>,
        keys: &mut Vec<Arc<str>>,
    ) -> Result<(), Failure> {
        for at in range {
            let key = format!("{}/{}-{at}", look.namespace, meta(look.set, "name"));
            if !keys.iter().any(|own| **own == *key) {
                keys.push(self.numbered(api, look, at)?);
            }
            if look.ordered && !self.is_ready(&key) {
                break;
            }
        }
        Ok(())
    }

    /// Replaces pods of older templates, the last first.
    fn replace(
        &mut self,
        api: &Api,
        look: &Look<'_>,
        range: std::ops::Range<usize>,
        keys: &mut Vec<Arc<str>>,
    ) -> Result<(), Failure> {
        for at in range.rev() {
            let key = format!("{}/{}-{at}", look.namespace, meta(look.set, "name"));
            let Some(index) = keys.iter().position(|own| **own == *key) else {
                continue;
            };
            if self.of_revision(&keys[index..=index], look.revision) == 0 {
                self.drop_pod(api, &keys[index].clone());
                keys.swap_remove(index);
                keys.push(self.numbered(api, look, at)?);
            }
            if look.ordered && !self.is_ready(&key) {
                break;
            }
        }
        Ok(())
    }

    fn numbered(&mut self, api: &Api, look: &Look<'_>, at: usize) -> Result<Arc<str>, Failure> {
        let name = format!("{}-{at}", meta(look.set, "name"));
        let templates = look.set["spec"]["volumeClaimTemplates"].as_array();
        for template in templates.into_iter().flatten() {
            self.claim_of(api, look, template, &name)?;
        }
        let mut owner = look.set.clone();
        mount(&mut owner, &name);
        let index = at.to_string();
        let stored = self.make_pod(
            api,
            &Wanted {
                class: Class::StatefulSet,
                owner: &owner,
                name: name.clone(),
                labels: &[
                    (HASH, look.revision),
                    ("statefulset.kubernetes.io/pod-name", &name),
                    ("apps.kubernetes.io/pod-index", &index),
                ],
                annotations: &[],
                script: look.script,
            },
        )?;
        Ok(stored.key.clone())
    }

    fn claim_of(&mut self, api: &Api, look: &Look<'_>, template: &Value, pod: &str) -> Result<(), Failure> {
        let name = format!("{}-{pod}", meta(template, "name"));
        let key = format!("{}/{name}", look.namespace);
        if api
            .store
            .collection(Class::Claim.collection())
            .get(&key)
            .is_some()
        {
            return Ok(());
        }
        let mut claim = json!({"metadata": template["metadata"], "spec": template["spec"]});
        claim["metadata"]["name"] = name.clone().into();
        claim["metadata"]["namespace"] = look.namespace.into();
        if let Some(map) = claim["metadata"].as_object_mut() {
            map.remove("creationTimestamp");
        }
        let labels = look.set["spec"]["selector"]["matchLabels"].as_object();
        for (label, value) in labels.into_iter().flatten() {
            claim["metadata"]["labels"][label] = value.clone();
        }
        if look.set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete" {
            claim["metadata"]["ownerReferences"] = reference(api, Class::StatefulSet, look.set);
        }
        let stored = make(api, Class::Claim, claim, &mut |_| {}).inspect_err(|failure| {
            let refused = events::Refused {
                class: Class::StatefulSet,
                owner: look.set,
                pod,
                claim: Some(&name),
                message: &failure.message,
            };
            events::refused(api, &refused);
        })?;
        self.mark(Class::Claim, &stored.key);
        Ok(())
    }
}

/// Gives the template of a set the volumes, host name and domain of one of its pods.
fn mount(set: &mut Value, pod: &str) {
    let templates = set["spec"]["volumeClaimTemplates"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let service = set["spec"]["serviceName"].clone();
    let spec = &mut set["spec"]["template"]["spec"];
    let mut volumes = spec["volumes"].as_array().cloned().unwrap_or_default();
    for template in &templates {
        let name = &template["metadata"]["name"];
        volumes.retain(|volume| volume["name"] != *name);
        let claim = format!("{}-{pod}", name.as_str().unwrap_or(""));
        volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": claim}}));
    }
    if !volumes.is_empty() {
        spec["volumes"] = volumes.into();
    }
    spec["hostname"] = pod.into();
    if service.as_str().is_some_and(|service| !service.is_empty()) {
        spec["subdomain"] = service;
    }
}
