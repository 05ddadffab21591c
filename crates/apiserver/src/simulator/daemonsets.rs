//! Daemon sets: a pod on every node.

use std::sync::Arc;

use super::conditions;
use super::pods::Wanted;
use super::{Class, Found, Script, Simulator, nodes, revisions, update};
use crate::api::{Api, meta, name_suffix};

impl Simulator {
    /// Makes and replaces pods, and says so in the status.
    pub(super) fn daemon_set(&mut self, api: &Api, found: &Found) {
        if found.deleting() {
            return;
        }
        let set = &found.value;
        let name = revisions::of(api, Class::DaemonSet, found);
        let revision = name.rsplit('-').next().unwrap_or("").to_owned();
        let wanted = nodes::names(api).len();
        let mut keys: Vec<Arc<str>> = self.active(self.children(found.uid(), Class::Pod));
        self.mark_pods(&keys, Script::is_in(&found.stored));
        if set["spec"]["updateStrategy"]["type"] != "OnDelete" {
            keys.retain(|key| {
                let current = self.of_revision(std::slice::from_ref(key), &revision) == 1;
                if !current {
                    self.drop_pod(api, key);
                }
                current
            });
        }
        while keys.len() > wanted {
            if let Some(key) = keys.pop() {
                self.drop_pod(api, &key);
            }
        }
        let generation = set["metadata"]["generation"].to_string();
        let item = (Class::DaemonSet, found.stored.key.clone());
        while keys.len() < wanted {
            let made = self.make_pod(
                api,
                &Wanted {
                    class: Class::DaemonSet,
                    owner: set,
                    name: format!("{}-{}", meta(set, "name"), name_suffix()),
                    labels: &[
                        ("controller-revision-hash", &revision),
                        ("pod-template-generation", &generation),
                    ],
                    annotations: &[],
                    script: Script::of(set),
                },
            );
            match made {
                Ok(stored) => keys.push(stored.key.clone()),
                Err(_) => {
                    self.again(item.clone());
                    break;
                }
            }
        }
        if keys.len() == wanted {
            self.refusals.remove(&item);
        }
        let counts = self.count_pods(api, &keys, set["spec"]["minReadySeconds"].as_i64().unwrap_or(0));
        if let Some(next) = counts.next {
            self.later(next, item);
        }
        let updated = self.of_revision(&keys, &revision);
        update(api, Class::DaemonSet, &found.stored.key, "status", &mut |set| {
            let generation = set["metadata"]["generation"].clone();
            let status = &mut set["status"];
            status["observedGeneration"] = generation;
            status["currentNumberScheduled"] = counts.all.into();
            status["desiredNumberScheduled"] = wanted.into();
            status["numberMisscheduled"] = 0.into();
            status["numberReady"] = counts.ready.into();
            conditions::count(status, "numberAvailable", counts.available);
            conditions::count(
                status,
                "numberUnavailable",
                wanted.saturating_sub(counts.available),
            );
            conditions::count(status, "updatedNumberScheduled", updated);
        });
    }
}
