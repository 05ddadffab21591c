//! Claims and volumes: every claim is bound, to a volume that fits or to a new one.

use serde_json::{Value, json};

use fluvial_object::quantity::Quantity;

use super::{Class, Found, Outcome, Script, Simulator, erase, find, make, nodes, update};
use crate::api::{Api, meta};
use crate::controllers::drop_finalizer;
use crate::store::Stored;

const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

fn storage(value: &Value) -> i64 {
    Quantity::from_value(value).map_or(0, |quantity| quantity.value())
}

fn fits(volume: &Value, claim: &Value) -> bool {
    let (have, want) = (&volume["spec"], &claim["spec"]);
    let modes = have["accessModes"].as_array();
    let wanted = want["accessModes"].as_array();
    let bound_to_other = have["claimRef"].is_object()
        && (have["claimRef"]["name"] != claim["metadata"]["name"]
            || have["claimRef"]["namespace"] != claim["metadata"]["namespace"]
            || have["claimRef"]["uid"]
                .as_str()
                .is_some_and(|uid| uid != meta(claim, "uid")));
    let selected = want["selector"].is_null()
        || fluvial_object::labels::Selector::from_value(&want["selector"])
            .is_ok_and(|selector| selector.matches_object(volume));
    !bound_to_other
        && selected
        && have["storageClassName"].as_str().unwrap_or("") == want["storageClassName"].as_str().unwrap_or("")
        && storage(&have["capacity"]["storage"]) >= storage(&want["resources"]["requests"]["storage"])
        && wanted
            .into_iter()
            .flatten()
            .all(|mode| modes.is_some_and(|modes| modes.contains(mode)))
}

impl Simulator {
    /// Binds a claim, or lets it go.
    pub(super) fn claim(&mut self, api: &Api, found: &Found) {
        let claim = &found.value;
        let key = found.stored.key.clone();
        if found.deleting() {
            if !self.used(api, &found.stored) {
                update(api, Class::Claim, &key, "", &mut |claim| {
                    drop_finalizer(claim, CLAIM_PROTECTION);
                });
            }
            return;
        }
        let phase = claim["status"]["phase"].as_str().unwrap_or("");
        if phase == "Bound" || phase == "Lost" {
            return;
        }
        let script = Script::of(claim);
        let age = super::seconds(&claim["metadata"]["creationTimestamp"])
            .map_or(0, |since| (api.clock)().as_second() - since);
        let left = i64::try_from(script.delay.as_secs()).unwrap_or(0) - age;
        if left > 0 {
            self.later(
                std::time::Duration::from_secs(u64::try_from(left).unwrap_or(0)),
                (Class::Claim, key),
            );
            return;
        }
        if script.outcome != Outcome::Healthy {
            return;
        }
        let Some(volume) = volume_for(api, claim) else {
            return;
        };
        bind(api, claim, &volume, &key);
    }

    /// Whether a pod that has not ended uses a claim.
    fn used(&self, api: &Api, claim: &Stored) -> bool {
        let prefix = format!("{}/", claim.namespace());
        let pods = api
            .store
            .collection("pods")
            .snapshot(&api.store, &prefix, None, None);
        pods.is_ok_and(|pods| {
            pods.objects.iter().any(|pod| {
                let running = self.pods.get(&pod.key).is_none_or(|facts| !facts.ended());
                running
                    && pod.value()["spec"]["volumes"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .any(|volume| volume["persistentVolumeClaim"]["claimName"] == claim.name())
            })
        })
    }

    /// Makes a volume available, or lets it go.
    pub(super) fn volume(&mut self, api: &Api, found: &Found) {
        let key = found.stored.key.clone();
        let phase = found.value["status"]["phase"].as_str().unwrap_or("");
        if found.deleting() {
            if phase != "Bound" {
                update(api, Class::Volume, &key, "", &mut |volume| {
                    drop_finalizer(volume, VOLUME_PROTECTION);
                });
            }
            return;
        }
        if phase == "Pending" || phase.is_empty() {
            update(api, Class::Volume, &key, "status", &mut |volume| {
                volume["status"]["phase"] = "Available".into();
            });
            // A claim may have waited for it.
            let claims = api.store.collection(Class::Claim.collection());
            if let Ok(snapshot) = claims.snapshot(&api.store, "", None, None) {
                for claim in snapshot
                    .objects
                    .iter()
                    .filter(|claim| claim.value()["status"]["phase"] != "Bound")
                {
                    self.mark(Class::Claim, &claim.key);
                }
            }
        }
    }

    /// Frees or removes the volumes of claims that have gone.
    pub(super) fn release(&mut self, api: &Api) {
        for name in std::mem::take(&mut self.released) {
            let Some(volume) = find(api, Class::Volume, &name) else {
                continue;
            };
            let claim = &volume.value["spec"]["claimRef"];
            let key = format!(
                "{}/{}",
                claim["namespace"].as_str().unwrap_or(""),
                claim["name"].as_str().unwrap_or("")
            );
            if let Some(other) = find(api, Class::Claim, &key)
                && claim["uid"] == other.uid()
            {
                continue;
            }
            update(api, Class::Volume, &name, "status", &mut |volume| {
                volume["status"]["phase"] = "Released".into();
            });
            if volume.value["spec"]["persistentVolumeReclaimPolicy"] == "Delete" {
                erase(api, Class::Volume, &volume.stored, None);
                update(api, Class::Volume, &name, "", &mut |volume| {
                    drop_finalizer(volume, VOLUME_PROTECTION);
                });
            }
        }
    }
}

/// The volume that a claim asks for, one that fits, or a new one.
fn volume_for(api: &Api, claim: &Value) -> Option<Value> {
    let spec = &claim["spec"];
    if let Some(name) = spec["volumeName"].as_str().filter(|name| !name.is_empty()) {
        return find(api, Class::Volume, name).map(|found| found.value);
    }
    let there = api
        .store
        .collection(Class::Volume.collection())
        .snapshot(&api.store, "", None, None)
        .ok()?
        .objects;
    // Most are bound: only those whose text speaks of being available are parsed.
    let free = there
        .iter()
        .filter(|stored| stored.mentions("\"Available\""))
        .map(|stored| stored.value())
        .filter(|volume| {
            volume["status"]["phase"] == "Available" && volume["metadata"]["deletionTimestamp"].is_null()
        });
    let best = free
        .filter(|volume| fits(volume, claim))
        .min_by_key(|volume| storage(&volume["spec"]["capacity"]["storage"]));
    if best.is_some() {
        return best;
    }
    let class = spec["storageClassName"]
        .as_str()
        .filter(|class| !class.is_empty())?;
    let name = format!("pvc-{}", meta(claim, "uid"));
    let known = api.store.collection("storageclasses.storage.k8s.io").get(class);
    let policy = known
        .and_then(|stored| stored.value()["reclaimPolicy"].as_str().map(str::to_owned))
        .unwrap_or_else(|| "Delete".to_owned());
    let mut volume = json!({"metadata": {"name": name, "finalizers": [VOLUME_PROTECTION],
        "annotations": {"pv.kubernetes.io/provisioned-by": nodes::PROVISIONER}},
        "spec": {"capacity": {"storage": spec["resources"]["requests"]["storage"]}, "accessModes": spec["accessModes"],
            "persistentVolumeReclaimPolicy": policy, "storageClassName": class,
            "csi": {"driver": nodes::PROVISIONER, "volumeHandle": name}}});
    if !spec["volumeMode"].is_null() {
        volume["spec"]["volumeMode"] = spec["volumeMode"].clone();
    }
    make(api, Class::Volume, volume, &mut |_| {})
        .ok()
        .map(|stored| stored.value())
}

fn bind(api: &Api, claim: &Value, volume: &Value, key: &str) {
    let name = meta(volume, "name");
    let version = &claim["metadata"]["resourceVersion"];
    let reference = json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": meta(claim, "namespace"),
        "name": meta(claim, "name"), "uid": meta(claim, "uid"), "resourceVersion": version});
    update(api, Class::Volume, name, "", &mut |volume| {
        volume["spec"]["claimRef"] = reference.clone();
        volume["status"]["phase"] = "Bound".into();
    });
    update(api, Class::Claim, key, "", &mut |claim| {
        let annotations = &mut claim["metadata"]["annotations"];
        annotations["pv.kubernetes.io/bind-completed"] = "yes".into();
        annotations["pv.kubernetes.io/bound-by-controller"] = "yes".into();
        claim["spec"]["volumeName"] = name.into();
    });
    update(api, Class::Claim, key, "status", &mut |claim| {
        claim["status"]["phase"] = "Bound".into();
        claim["status"]["accessModes"] = volume["spec"]["accessModes"].clone();
        claim["status"]["capacity"] = volume["spec"]["capacity"].clone();
    });
}
