//! Disruption budgets and autoscalers.

use fluvial_object::labels::Selector;
use serde_json::{Value, json};

use super::conditions::{self, Said};
use super::replicas::number;
use super::{Class, Found, Simulator, find, update};
use crate::api::{Api, meta};

/// An int-or-percent, rounded up as budgets do.
fn share(value: &Value, of: usize) -> usize {
    let percent = value.as_str().and_then(|text| text.strip_suffix('%'));
    match percent.and_then(|text| text.parse::<usize>().ok()) {
        Some(percent) => of.saturating_mul(percent).div_ceil(100),
        None => number(value, 0),
    }
}

impl Simulator {
    /// Counts the pods that a budget protects.
    pub(super) fn budget(&mut self, api: &Api, found: &Found) {
        let budget = &found.value;
        let namespace = found.stored.namespace();
        let Ok(selector) = Selector::from_value(&budget["spec"]["selector"]) else {
            return;
        };
        let prefix = format!("{namespace}/");
        let (mut expected, mut healthy) = (0, 0);
        let pods = api
            .store
            .collection("pods")
            .snapshot(&api.store, &prefix, None, None);
        for pod in pods.map(|pods| pods.objects).unwrap_or_default() {
            let Some(facts) = self.pods.get(&pod.key).filter(|facts| !facts.ended()) else {
                continue;
            };
            if selector.matches(|name| facts.label(name)) {
                expected += 1;
                healthy += usize::from(facts.ready.is_some() && !facts.deleting);
            }
        }
        let spec = &budget["spec"];
        let desired = if spec["maxUnavailable"].is_null() {
            share(&spec["minAvailable"], expected)
        } else {
            expected.saturating_sub(share(&spec["maxUnavailable"], expected))
        };
        let allowed = healthy.saturating_sub(desired);
        let allowed = if expected == 0 { 0 } else { allowed };
        let now = api.now();
        update(api, Class::Budget, &found.stored.key, "status", &mut |budget| {
            let generation = budget["metadata"]["generation"].clone();
            let status = &mut budget["status"];
            status["currentHealthy"] = healthy.into();
            status["desiredHealthy"] = desired.into();
            status["expectedPods"] = expected.into();
            status["disruptionsAllowed"] = allowed.into();
            let said = if allowed > 0 {
                ("True", "SufficientPods")
            } else {
                ("False", "InsufficientPods")
            };
            let said = Said {
                kind: "DisruptionAllowed",
                status: said.0,
                reason: said.1,
                message: "",
            };
            conditions::set(status, &said, None, &now);
            if let Some(list) = status["conditions"].as_array_mut() {
                for condition in list {
                    condition["observedGeneration"] = generation.clone();
                    condition["message"] = "".into();
                }
            }
            status["observedGeneration"] = generation;
        });
    }

    /// Holds an autoscaler's target within its bounds; there is no load that would move it.
    pub(super) fn autoscaler(&mut self, api: &Api, found: &Found) {
        let spec = &found.value["spec"];
        let target = &spec["scaleTargetRef"];
        let class = match target["kind"].as_str() {
            Some("Deployment") => Some(Class::Deployment),
            Some("StatefulSet") => Some(Class::StatefulSet),
            Some("ReplicaSet") => Some(Class::ReplicaSet),
            Some("ReplicationController") => Some(Class::ReplicationController),
            _ => None,
        };
        let key = format!(
            "{}/{}",
            found.stored.namespace(),
            target["name"].as_str().unwrap_or("")
        );
        let target = class.and_then(|class| find(api, class, &key).map(|target| (class, target)));
        let now = api.now();
        let current = target
            .as_ref()
            .map(|(_, target)| number(&target.value["spec"]["replicas"], 1));
        let (low, high) = (number(&spec["minReplicas"], 1), number(&spec["maxReplicas"], 1));
        // None at all switches the autoscaler off, as a real one.
        let desired = current.map(|current| {
            if current == 0 {
                0
            } else {
                current.clamp(low, high.max(low))
            }
        });
        if let (Some((class, _)), Some(current), Some(desired)) = (&target, current, desired)
            && current != desired
        {
            update(api, *class, &key, "scale", &mut |target| {
                target["spec"]["replicas"] = desired.into();
                let generation = target["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
                target["metadata"]["generation"] = generation.into();
            });
        }
        update(
            api,
            Class::Autoscaler,
            &found.stored.key,
            "status",
            &mut |scaler| {
                let generation = scaler["metadata"]["generation"].clone();
                let name = meta(scaler, "name").to_owned();
                let status = &mut scaler["status"];
                if !generation.is_null() {
                    status["observedGeneration"] = generation;
                }
                status["currentReplicas"] = desired.unwrap_or(0).into();
                status["desiredReplicas"] = desired.unwrap_or(0).into();
                if status["currentMetrics"].is_null() {
                    status["currentMetrics"] = json!([]);
                }
                let mut say = |kind: &str, flag: &str, reason: &str, message: &str| {
                    let said = Said {
                        kind,
                        status: flag,
                        reason,
                        message,
                    };
                    conditions::set(status, &said, None, &now);
                };
                if desired.is_none() {
                    let text =
                        format!("the HPA controller was unable to get the target's current scale for {name}");
                    say("AbleToScale", "False", "FailedGetScale", &text);
                    return;
                }
                say(
                    "AbleToScale",
                    "True",
                    "ReadyForNewScale",
                    "recommended size matches current size",
                );
                if desired == Some(0) {
                    let text = "scaling is disabled since the replica count of the target is zero";
                    say("ScalingActive", "False", "ScalingDisabled", text);
                    return;
                }
                let text = "the HPA was able to successfully calculate a replica count";
                say("ScalingActive", "True", "ValidMetricFound", text);
                let text = "the desired count is within the acceptable range";
                say("ScalingLimited", "False", "DesiredWithinRange", text);
            },
        );
    }
}
