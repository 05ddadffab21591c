//! Pods: scheduled, started, ended, and stopped.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::conditions::{self, Said};
use super::{
    Class, Found, Outcome, Script, Simulator, controller, erase, events, find, make, nodes, reference,
    seconds, update,
};
use crate::api::{Api, meta};
use crate::status::Failure;
use crate::store::Stored;

/// What others ask about a pod.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Facts {
    /// Its labels.
    pub(super) labels: Vec<(Box<str>, Box<str>)>,
    /// Phase by its first letter: Pending, Running, Succeeded, Failed.
    pub(super) phase: u8,
    /// When it became ready, in seconds.
    pub(super) ready: Option<i64>,
    /// Whether it is being deleted.
    pub(super) deleting: bool,
    /// Its address.
    pub(super) address: Box<str>,
    /// Class of its controller.
    pub(super) owner: Option<Class>,
}

impl Facts {
    /// Reads them from a pod.
    pub(super) fn of(pod: &Value, owner: Option<(Class, &str, &str)>) -> Self {
        let labels = pod["metadata"]["labels"].as_object().into_iter().flatten();
        let ready = conditions::get(&pod["status"], "Ready").filter(|ready| ready["status"] == "True");
        Facts {
            labels: labels
                .map(|(name, value)| (name.as_str().into(), value.as_str().unwrap_or("").into()))
                .collect(),
            phase: pod["status"]["phase"]
                .as_str()
                .and_then(|phase| phase.bytes().next())
                .unwrap_or(b'P'),
            ready: ready.and_then(|ready| seconds(&ready["lastTransitionTime"])),
            deleting: !pod["metadata"]["deletionTimestamp"].is_null(),
            address: pod["status"]["podIP"].as_str().unwrap_or("").into(),
            owner: owner.map(|(class, _, _)| class),
        }
    }

    /// A label's value.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels
            .iter()
            .find(|(own, _)| **own == *name)
            .map(|(_, value)| &**value)
    }

    /// Whether it has ended.
    pub(super) fn ended(&self) -> bool {
        matches!(self.phase, b'S' | b'F')
    }

    /// Whether it counts for its owner.
    pub(super) fn active(&self) -> bool {
        !self.ended() && !self.deleting
    }
}

/// A pod to make.
pub(super) struct Wanted<'a> {
    pub(super) class: Class,
    pub(super) owner: &'a Value,
    pub(super) name: String,
    pub(super) labels: &'a [(&'a str, &'a str)],
    pub(super) annotations: &'a [(&'a str, &'a str)],
    pub(super) script: Script,
}

fn entries(map: &mut Value, pairs: &[(&str, &str)]) {
    for (name, value) in pairs {
        map[*name] = (*value).into();
    }
}

fn containers(spec: &Value, field: &str, state: &dyn Fn(&Value) -> Value) -> Vec<Value> {
    let list = spec[field].as_array().into_iter().flatten();
    list.map(|container| {
        let image = container["image"].as_str().unwrap_or("");
        let mut status = state(container);
        status["name"] = container["name"].clone();
        status["image"] = image.into();
        status["imageID"] = image.into();
        status["lastState"] = json!({});
        status
    })
    .collect()
}

/// Which of its states a pod is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unscheduled,
    Starting,
    Running,
    Crashing,
    Succeeded,
    Failed,
}

fn state(script: Script, age: Duration, ends: bool) -> State {
    match script.outcome {
        Outcome::Pending => State::Unscheduled,
        _ if age < script.delay => State::Starting,
        Outcome::Healthy if ends => State::Succeeded,
        Outcome::Healthy => State::Running,
        Outcome::Fail if ends => State::Failed,
        Outcome::Fail => State::Crashing,
    }
}

fn container_state(state: State, now: &str) -> Value {
    let ended = |code: i32, reason: &str| {
        json!({"ready": false, "started": false, "restartCount": 0, "state": {"terminated":
            {"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now}}})
    };
    match state {
        State::Running => {
            json!({"ready": true, "started": true, "restartCount": 0, "state": {"running": {"startedAt": now}}})
        }
        State::Crashing => json!({"ready": false, "started": false, "restartCount": 5, "state": {"waiting":
            {"reason": "CrashLoopBackOff", "message": "back-off 2m40s restarting failed container: the simulator was told to fail"}}}),
        State::Succeeded => ended(0, "Completed"),
        State::Failed => ended(1, "Error"),
        _ => {
            json!({"ready": false, "started": false, "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}})
        }
    }
}

/// Whether the pod's containers are meant to end.
fn ends(pod: &Value) -> bool {
    matches!(pod["spec"]["restartPolicy"].as_str(), Some("Never" | "OnFailure"))
}

/// Writes the status of a pod in a state.
fn show(pod: &mut Value, state: State, now: &str, address: &str) {
    let ready = state == State::Running;
    let scheduled = state != State::Unscheduled;
    let ended = matches!(state, State::Succeeded | State::Failed);
    let names: Vec<&str> = pod["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect();
    let unready = format!("containers with unready status: [{}]", names.join(" "));
    let (reason, message) = match state {
        _ if ready => ("", String::new()),
        State::Succeeded => ("PodCompleted", String::new()),
        State::Failed => ("PodFailed", String::new()),
        _ => ("ContainersNotReady", unready),
    };
    let flag = |yes: bool| if yes { "True" } else { "False" };
    let mut status = pod["status"].take();
    if !status.is_object() {
        status = Value::Object(Map::new());
    }
    let phase = match state {
        State::Unscheduled | State::Starting => "Pending",
        State::Running | State::Crashing => "Running",
        State::Succeeded => "Succeeded",
        State::Failed => "Failed",
    };
    status["phase"] = phase.into();
    let unscheduled = "0/1 nodes are available: the simulator was told to keep this pod pending.";
    let mut said = vec![];
    if scheduled {
        let quiet = if ended { "PodCompleted" } else { "" };
        said.push(("PodReadyToStartContainers", flag(!ended), "", ""));
        said.push((
            "Initialized",
            flag(state != State::Starting || !has_init(&pod["spec"])),
            quiet,
            "",
        ));
        said.push(("Ready", flag(ready), reason, message.as_str()));
        said.push(("ContainersReady", flag(ready), reason, message.as_str()));
        said.push(("PodScheduled", "True", "", ""));
    } else {
        said.push(("PodScheduled", "False", "Unschedulable", unscheduled));
    }
    for (kind, flag, reason, message) in said {
        let said = Said {
            kind,
            status: flag,
            reason,
            message,
        };
        conditions::set(&mut status, &said, None, now);
    }
    if scheduled {
        pod["spec"]["nodeName"] = nodes::NODE.into();
        status["hostIP"] = nodes::ADDRESS.into();
        status["hostIPs"] = json!([{"ip": nodes::ADDRESS}]);
        if status["startTime"].is_null() {
            status["startTime"] = now.into();
        }
        if state != State::Starting && status["podIP"].is_null() {
            let own = if pod["spec"]["hostNetwork"] == true {
                nodes::ADDRESS
            } else {
                address
            };
            status["podIP"] = own.into();
            status["podIPs"] = json!([{"ip": own}]);
        }
        let spec = &pod["spec"];
        let now_state = container_state(state, now);
        status["containerStatuses"] = containers(spec, "containers", &|_| now_state.clone()).into();
        if has_init(spec) {
            let init = containers(spec, "initContainers", &|container| {
                if state == State::Starting || (ready && container["restartPolicy"] == "Always") {
                    return now_state.clone();
                }
                let mut done = container_state(State::Succeeded, now);
                done["ready"] = true.into();
                done
            });
            status["initContainerStatuses"] = init.into();
        }
    }
    pod["status"] = status;
}

fn has_init(spec: &Value) -> bool {
    spec["initContainers"]
        .as_array()
        .is_some_and(|list| !list.is_empty())
}

/// The state that a pod's status shows.
fn shown(pod: &Value) -> Option<State> {
    let status = &pod["status"];
    Some(match status["phase"].as_str()? {
        "Succeeded" => State::Succeeded,
        "Failed" => State::Failed,
        "Running" => {
            let ready = conditions::get(status, "Ready").is_some_and(|ready| ready["status"] == "True");
            if ready { State::Running } else { State::Crashing }
        }
        _ => match conditions::get(status, "PodScheduled") {
            Some(scheduled) if scheduled["status"] == "True" => State::Starting,
            Some(_) => State::Unscheduled,
            None => return None,
        },
    })
}

impl Simulator {
    fn address(&mut self) -> String {
        self.addresses = self.addresses % 65_534 + 1;
        format!("10.244.{}.{}", self.addresses >> 8, self.addresses & 0xff)
    }

    /// Makes a pod of its owner's template, running as its script has it; an event of the owner tells of a refusal.
    pub(super) fn make_pod(&mut self, api: &Api, wanted: &Wanted<'_>) -> Result<Arc<Stored>, Failure> {
        let template = &wanted.owner["spec"]["template"];
        let mut object = json!({"metadata": {"name": wanted.name, "namespace": meta(wanted.owner, "namespace"),
            "ownerReferences": reference(api, wanted.class, wanted.owner)}, "spec": template["spec"]});
        for field in ["labels", "annotations", "finalizers"] {
            if !template["metadata"][field].is_null() {
                object["metadata"][field] = template["metadata"][field].clone();
            }
        }
        if !wanted.labels.is_empty() {
            entries(&mut object["metadata"]["labels"], wanted.labels);
        }
        if !wanted.annotations.is_empty() {
            entries(&mut object["metadata"]["annotations"], wanted.annotations);
        }
        let (now, address) = (api.now(), self.address());
        let state = state(wanted.script, Duration::ZERO, ends(&object));
        let stored = make(api, Class::Pod, object, &mut |pod| {
            show(pod, state, &now, &address)
        })
        .inspect_err(|failure| {
            let refused = events::Refused {
                class: wanted.class,
                owner: wanted.owner,
                pod: &wanted.name,
                claim: None,
                message: &failure.message,
            };
            events::refused(api, &refused);
        })?;
        self.learn(Class::Pod, &stored);
        if wanted.script.delay > Duration::ZERO && state == State::Starting {
            self.later(wanted.script.delay, (Class::Pod, stored.key.clone()));
        }
        Ok(stored)
    }

    /// Removes a pod at once.
    pub(super) fn drop_pod(&mut self, api: &Api, key: &Arc<str>) {
        if let Some(stored) = api.store.collection("pods").get(key) {
            erase(api, Class::Pod, &stored, Some(0));
        }
        if let Some(facts) = self.pods.get_mut(key) {
            facts.deleting = true;
        }
    }

    /// Schedules, starts, ends or stops a pod.
    pub(super) fn pod(&mut self, api: &Api, found: &Found) {
        let pod = &found.value;
        let key = &found.stored.key;
        if found.deleting() {
            // The containers stop at once.
            if pod["metadata"]["deletionGracePeriodSeconds"]
                .as_i64()
                .unwrap_or(0)
                > 0
            {
                erase(api, Class::Pod, &found.stored, Some(0));
            }
            return;
        }
        let script = pod_script(api, found);
        let now = (api.clock)();
        let since = seconds(&pod["metadata"]["creationTimestamp"]).unwrap_or_else(|| now.as_second());
        let mut age = Duration::from_secs(u64::try_from(now.as_second() - since).unwrap_or(0));
        if pod["status"]["phase"] == "Running" {
            age = age.max(script.delay);
        }
        let wanted = state(script, age, ends(pod));
        let shown = shown(pod);
        if shown == Some(wanted) || matches!(shown, Some(State::Succeeded | State::Failed)) {
            if wanted == State::Starting {
                let left = script.delay.saturating_sub(age).max(Duration::from_millis(20));
                self.later(left, (Class::Pod, key.clone()));
            }
            return;
        }
        let (now, address) = (api.now(), self.address());
        update(api, Class::Pod, key, "status", &mut |pod| {
            show(pod, wanted, &now, &address)
        });
        if let Some(stored) = api.store.collection("pods").get(key) {
            self.learn(Class::Pod, &stored);
        }
        if wanted == State::Starting {
            self.later(script.delay, (Class::Pod, key.clone()));
        }
    }
}

/// The script of a pod: its own, or that of its controller.
fn pod_script(api: &Api, found: &Found) -> Script {
    if Script::is_in(&found.stored) {
        return Script::of(&found.value);
    }
    let Some((class, name, _)) = controller(&found.value) else {
        return Script::default();
    };
    match find(api, class, &format!("{}/{name}", found.stored.namespace())) {
        Some(owner) if Script::is_in(&owner.stored) => Script::of(&owner.value),
        _ => Script::default(),
    }
}
