//! Workloads as a healthy cluster would run them, within milliseconds and without containers.
//!
//! Controllers, scheduler and kubelet in one: Deployments make ReplicaSets, these make Pods, Pods
//! run on the one node `fluvial`, claims are bound, services find their endpoints. Node selectors,
//! storage classes and images are taken on trust: the cluster has whatever is asked for.
//!
//! A failure is rehearsed by annotations, on the workload, on its pod template, on a Pod or on a claim:
//!
//! | annotation | value | effect |
//! | --- | --- | --- |
//! | `simulator.fluvial.dev/outcome` | `healthy` | runs, or ends well; the default |
//! | | `fail` | containers crash; a rollout has exceeded its deadline at once; jobs fail |
//! | | `pending` | pods are never scheduled, claims never bound |
//! | `simulator.fluvial.dev/delay` | a duration (`2s`) | how long it takes until the outcome shows |
//!
//! Everything happens in the one task that follows the store: changes mark objects, marked objects
//! are looked at once however often they were marked, and what needs time leaves a timer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api::{Api, meta};
use crate::controllers;
use crate::convert;
use crate::kinds::Kind;
use crate::status::Failure;
use crate::store::{Change, Expect, Notice, Stored};
use crate::verbs::{Reply, create, delete};

mod budgets;
mod conditions;
mod cron;
mod cronjobs;
mod daemonsets;
mod deployments;
mod endpoints;
mod events;
mod jobs;
mod nodes;
mod pods;
mod replicas;
mod revisions;
mod statefulsets;
#[cfg(test)]
mod tests;
mod volumes;

use pods::Facts;

/// Whether a text is the schedule of a cron job.
#[must_use]
pub fn is_schedule(text: &str) -> bool {
    cron::Schedule::parse(text).is_some()
}

/// Annotation that says how a workload ends up.
pub const OUTCOME: &str = "simulator.fluvial.dev/outcome";
/// Annotation that says how long that takes.
pub const DELAY: &str = "simulator.fluvial.dev/delay";
/// What both begin with.
const PREFIX: &str = "simulator.fluvial.dev/";

/// Pods that one workload gets at most; further replicas exist as figures in its status only.
const MOST_PODS: usize = 250;
/// Objects looked at before requests get their turn.
const BATCH: usize = 64;
/// Longest pause before a refused creation is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How a workload is to end up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Outcome {
    #[default]
    Healthy,
    Fail,
    Pending,
}

/// What the annotations ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Script {
    outcome: Outcome,
    delay: Duration,
}

impl Script {
    /// The script of an object: its own annotations, then its template's.
    fn of(object: &Value) -> Self {
        let own = &object["metadata"]["annotations"];
        let template = &object["spec"]["template"]["metadata"]["annotations"];
        let find = |name: &str| own[name].as_str().or_else(|| template[name].as_str());
        let outcome = match find(OUTCOME) {
            Some("fail") => Outcome::Fail,
            Some("pending") => Outcome::Pending,
            _ => Outcome::Healthy,
        };
        let delay = find(DELAY)
            .and_then(|text| fluvial_object::duration::parse_std(text).ok())
            .unwrap_or_default();
        Script { outcome, delay }
    }

    /// Whether an object has a script at all, told from its text.
    fn is_in(stored: &Stored) -> bool {
        stored.mentions(PREFIX)
    }
}

/// What is looked at; pods first, so that those who count them see their new state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Class {
    Claim,
    Volume,
    Pod,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
    DaemonSet,
    Job,
    Deployment,
    CronJob,
    Autoscaler,
    Budget,
    Service,
}

const CLASSES: [(Class, &str); 13] = [
    (Class::Claim, "persistentvolumeclaims"),
    (Class::Volume, "persistentvolumes"),
    (Class::Pod, "pods"),
    (Class::ReplicaSet, "replicasets.apps"),
    (Class::ReplicationController, "replicationcontrollers"),
    (Class::StatefulSet, "statefulsets.apps"),
    (Class::DaemonSet, "daemonsets.apps"),
    (Class::Job, "jobs.batch"),
    (Class::Deployment, "deployments.apps"),
    (Class::CronJob, "cronjobs.batch"),
    (Class::Autoscaler, "horizontalpodautoscalers.autoscaling"),
    (Class::Budget, "poddisruptionbudgets.policy"),
    (Class::Service, "services"),
];

impl Class {
    fn of(collection: &str) -> Option<Self> {
        CLASSES
            .iter()
            .find(|(_, name)| *name == collection)
            .map(|(class, _)| *class)
    }

    fn collection(self) -> &'static str {
        CLASSES
            .iter()
            .find(|(class, _)| *class == self)
            .map_or("", |(_, name)| name)
    }

    /// The class of an owner by its kind.
    fn of_kind(kind: &str) -> Option<Self> {
        Some(match kind {
            "ReplicaSet" => Class::ReplicaSet,
            "ReplicationController" => Class::ReplicationController,
            "StatefulSet" => Class::StatefulSet,
            "DaemonSet" => Class::DaemonSet,
            "Job" => Class::Job,
            "Deployment" => Class::Deployment,
            "CronJob" => Class::CronJob,
            _ => return None,
        })
    }
}

type Item = (Class, Arc<str>);

/// Gives workloads their status.
#[derive(Debug, Default)]
pub struct Simulator {
    marked: BTreeSet<Item>,
    /// Namespaces whose services, budgets and autoscalers are to be looked at.
    touched: BTreeSet<Box<str>>,
    timers: BTreeMap<Instant, Vec<Item>>,
    /// The next timer of each object.
    waiting: FxHashMap<Item, Instant>,
    /// How often a creation was refused in a row.
    refusals: FxHashMap<Item, u32>,
    pods: FxHashMap<Arc<str>, Facts>,
    /// Pods, replica sets and jobs by the uid of their controller.
    owned: FxHashMap<Box<str>, BTreeSet<Item>>,
    /// Owners of what is in `owned`.
    owners: FxHashMap<Item, Box<str>>,
    /// Volumes whose claims have gone.
    released: Vec<Box<str>>,
    addresses: u32,
}

/// An object with what is needed to write it.
struct Found {
    stored: Arc<Stored>,
    value: Value,
}

impl Found {
    fn deleting(&self) -> bool {
        !self.value["metadata"]["deletionTimestamp"].is_null()
    }

    fn uid(&self) -> &str {
        meta(&self.value, "uid")
    }
}

/// The controller among an object's owners: class, name and uid.
fn controller(value: &Value) -> Option<(Class, &str, &str)> {
    let owners = value["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    Some((
        Class::of_kind(owner["kind"].as_str()?)?,
        owner["name"].as_str()?,
        owner["uid"].as_str()?,
    ))
}

/// The kind of a class in its storage version.
fn kind_of(api: &Api, class: Class) -> Option<Arc<Kind>> {
    let kinds = api.kinds();
    let found = match class {
        Class::Autoscaler => kinds.find("autoscaling", "v2", "horizontalpodautoscalers"),
        _ => {
            let (plural, group) = class
                .collection()
                .split_once('.')
                .unwrap_or((class.collection(), ""));
            kinds.find(group, "v1", plural)
        }
    };
    found.cloned()
}

fn find(api: &Api, class: Class, key: &str) -> Option<Found> {
    let stored = api.store.collection(class.collection()).get(key)?;
    let value = stored.value();
    Some(Found { stored, value })
}

/// Changes an object as its controller does, if there is anything to change.
fn update(api: &Api, class: Class, key: &str, subresource: &str, change: &mut dyn FnMut(&mut Value)) {
    let Some(kind) = kind_of(api, class) else { return };
    let mut request = controllers::request(&kind, "", "");
    request.target.subresource = subresource.to_owned();
    controllers::mutate(
        api,
        &api.store.collection(class.collection()),
        key,
        &mut |value| {
            kind.stamp(value);
            let mut new = value.clone();
            change(&mut new);
            if new == *value {
                return false;
            }
            // Pods are many and nobody applies their status: who wrote it is not kept.
            *value = if class == Class::Pod {
                new
            } else {
                create::own(api, &request, Some(value), new, "kube-controller-manager")
            };
            true
        },
    );
}

/// Makes an object through the same checks as any client's; `finish` completes it before it is seen.
fn make(
    api: &Api,
    class: Class,
    object: Value,
    finish: &mut dyn FnMut(&mut Value),
) -> Result<Arc<Stored>, Failure> {
    let missing = || Failure::internal(format!("no kind for {}", class.collection()));
    let kind = kind_of(api, class).ok_or_else(missing)?;
    make_kind(api, &kind, object, finish)
}

fn make_kind(
    api: &Api,
    kind: &Arc<Kind>,
    mut object: Value,
    finish: &mut dyn FnMut(&mut Value),
) -> Result<Arc<Stored>, Failure> {
    let (namespace, name) = (
        meta(&object, "namespace").to_owned(),
        meta(&object, "name").to_owned(),
    );
    let mut request = controllers::request(kind, &namespace, &name);
    request.dry_run = true;
    kind.stamp(&mut object);
    let mut complaints = crate::verbs::decode::Complaints::default();
    crate::verbs::decode::typed(api, kind, &mut object, &mut complaints).map_err(Failure::bad_request)?;
    let Reply::Value(_, mut object) = create::insert(api, &request, object)? else {
        return Err(Failure::internal("a trial creation stored something"));
    };
    finish(&mut object);
    convert::builtin_to_storage(kind, &mut object);
    let collection = api.store.collection(&kind.collection);
    let key = kind.key(&namespace, &name);
    api.store
        .put(&collection, &key, Expect::Absent, &mut object)
        .map_err(|_| Failure::already_exists(&kind.group, &kind.plural, &name))
}

/// The reference to a controller for what it makes.
fn reference(api: &Api, class: Class, owner: &Value) -> Value {
    let kind = kind_of(api, class);
    json!([{"apiVersion": kind.as_ref().map(|kind| kind.api_version()), "kind": kind.as_ref().map(|kind| &kind.kind),
        "name": meta(owner, "name"), "uid": meta(owner, "uid"), "controller": true, "blockOwnerDeletion": true}])
}

/// Removes an object at once.
fn erase(api: &Api, class: Class, stored: &Stored, grace: Option<i64>) {
    let Some(kind) = kind_of(api, class) else { return };
    let options = delete::Options {
        grace,
        propagation: Some("Background".to_owned()),
        ..delete::Options::default()
    };
    // What is gone already needs no removal.
    let _gone = delete::one(
        api,
        &controllers::request(&kind, stored.namespace(), stored.name()),
        &options,
    );
}

/// A few characters that tell contents apart, as in the names of replica sets.
fn hash(value: &Value) -> String {
    use sha2::{Digest, Sha256};
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let digest = Sha256::digest(value.to_string().as_bytes());
    digest[..10]
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
        .collect()
}

fn seconds(value: &Value) -> Option<i64> {
    value
        .as_str()?
        .parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_second)
}

impl Simulator {
    /// A simulator that has seen what is there.
    #[must_use]
    pub fn new(api: &Api) -> Self {
        let mut simulator = Simulator::default();
        nodes::furnish(api);
        for (class, collection) in CLASSES {
            let collection = api.store.collection(collection);
            if let Ok(snapshot) = collection.snapshot(&api.store, "", None, None) {
                for stored in snapshot.objects {
                    simulator.learn(class, &stored);
                    simulator.mark(class, &stored.key);
                }
            }
        }
        simulator
    }

    /// When it wants to run next; None while nothing is due.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        if !self.marked.is_empty() || !self.touched.is_empty() || !self.released.is_empty() {
            return Some(Instant::now());
        }
        self.timers.keys().next().copied()
    }

    /// Takes note of a change.
    pub fn react(&mut self, api: &Api, notice: &Notice) {
        let event = &notice.event;
        let Some(class) = Class::of(&notice.collection) else {
            if event.change != Change::Modified && &*notice.collection == "nodes" {
                self.mark_all(api, Class::DaemonSet);
            }
            return;
        };
        if event.change == Change::Deleted {
            self.forget(class, &event.object);
        } else {
            self.learn(class, &event.object);
            self.mark(class, &event.object.key);
        }
        if matches!(class, Class::Deployment | Class::StatefulSet) {
            self.touched.insert(event.object.namespace().into());
        }
    }

    fn mark(&mut self, class: Class, key: &Arc<str>) {
        self.marked.insert((class, key.clone()));
    }

    fn mark_all(&mut self, api: &Api, class: Class) {
        let collection = api.store.collection(class.collection());
        if let Ok(snapshot) = collection.snapshot(&api.store, "", None, None) {
            for stored in snapshot.objects {
                self.mark(class, &stored.key);
            }
        }
    }

    fn later(&mut self, after: Duration, item: Item) {
        // A day is long enough: what is due later is put off again then.
        let at = Instant::now() + after.min(Duration::from_secs(86_400));
        if self.waiting.get(&item).is_some_and(|next| *next <= at) {
            return;
        }
        self.waiting.insert(item.clone(), at);
        self.timers.entry(at).or_default().push(item);
    }

    /// Puts off what was refused, longer each time.
    fn again(&mut self, item: Item) {
        let count = self.refusals.entry(item.clone()).or_default();
        *count += 1;
        let pause = Duration::from_millis(100) * 2_u32.saturating_pow((*count).min(12));
        self.later(pause.min(LONGEST_PAUSE), item);
    }

    /// Learns who owns an object, and about pods what others ask for.
    fn learn(&mut self, class: Class, stored: &Arc<Stored>) {
        if !matches!(class, Class::Pod | Class::ReplicaSet | Class::Job) {
            return;
        }
        let value = stored.value();
        let item = (class, stored.key.clone());
        let owner = controller(&value);
        let uid = owner.map_or("", |(_, _, uid)| uid);
        if self.owners.get(&item).map_or("", |uid| uid) != uid {
            self.disown(&item);
            if !uid.is_empty() {
                self.owners.insert(item.clone(), uid.into());
                self.owned.entry(uid.into()).or_default().insert(item.clone());
            }
        }
        if let Some((owner, name, _)) = owner {
            let namespace = stored.namespace();
            self.marked.insert((owner, format!("{namespace}/{name}").into()));
        }
        if class == Class::Pod {
            let facts = Facts::of(&value, owner);
            if self.pods.get(&stored.key) != Some(&facts) {
                self.touched.insert(stored.namespace().into());
                self.pods.insert(stored.key.clone(), facts);
            }
        }
    }

    fn disown(&mut self, item: &Item) {
        if let Some(uid) = self.owners.remove(item)
            && let Some(items) = self.owned.get_mut(&uid)
        {
            items.remove(item);
            if items.is_empty() {
                self.owned.remove(&uid);
            }
        }
    }

    fn forget(&mut self, class: Class, stored: &Arc<Stored>) {
        let item = (class, stored.key.clone());
        self.refusals.remove(&item);
        self.marked.remove(&item);
        if self.owners.contains_key(&item) {
            if let Some((owner, name, _)) = controller(&stored.value()) {
                let key = format!("{}/{name}", stored.namespace());
                self.marked.insert((owner, key.into()));
            }
            self.disown(&item);
        }
        if class == Class::Pod && self.pods.remove(&stored.key).is_some() {
            self.touched.insert(stored.namespace().into());
        }
        if class == Class::Claim
            && let Some(volume) = stored.value()["spec"]["volumeName"].as_str()
        {
            self.released.push(volume.into());
        }
    }

    fn children(&self, uid: &str, class: Class) -> Vec<Arc<str>> {
        let items = self.owned.get(uid).into_iter().flatten();
        items
            .filter(|(own, _)| *own == class)
            .map(|(_, key)| key.clone())
            .collect()
    }

    /// Looks at what is marked and at what is due, up to a batch.
    pub fn run(&mut self, api: &Api) {
        let now = Instant::now();
        while let Some(entry) = self.timers.first_entry()
            && *entry.key() <= now
        {
            for item in entry.remove() {
                self.waiting.remove(&item);
                self.marked.insert(item);
            }
        }
        self.release(api);
        for _ in 0..BATCH {
            if let Some((class, key)) = self.marked.pop_first() {
                self.look(api, class, &key);
            } else if let Some(namespace) = self.touched.pop_first() {
                self.touch(api, &namespace);
            } else {
                return;
            }
        }
    }

    fn touch(&mut self, api: &Api, namespace: &str) {
        let prefix = format!("{namespace}/");
        for class in [Class::Claim, Class::Autoscaler, Class::Budget, Class::Service] {
            let collection = api.store.collection(class.collection());
            if collection.is_empty() {
                continue;
            }
            if let Ok(snapshot) = collection.snapshot(&api.store, &prefix, None, None) {
                // Of the claims only those matter that waited for their pods to go.
                let matters =
                    |stored: &Stored| class != Class::Claim || stored.mentions("\"deletionTimestamp\"");
                for stored in snapshot.objects.iter().filter(|stored| matters(stored)) {
                    self.mark(class, &stored.key);
                }
            }
        }
    }

    fn look(&mut self, api: &Api, class: Class, key: &Arc<str>) {
        let Some(found) = find(api, class, key) else {
            return;
        };
        match class {
            Class::Claim => self.claim(api, &found),
            Class::Volume => self.volume(api, &found),
            Class::Pod => self.pod(api, &found),
            Class::ReplicaSet | Class::ReplicationController => {
                self.replica_set(api, class, &found);
            }
            Class::StatefulSet => self.stateful_set(api, &found),
            Class::DaemonSet => self.daemon_set(api, &found),
            Class::Job => self.job(api, &found),
            Class::Deployment => self.deployment(api, &found),
            Class::CronJob => self.cron_job(api, &found),
            Class::Autoscaler => self.autoscaler(api, &found),
            Class::Budget => self.budget(api, &found),
            Class::Service => self.service(api, &found),
        }
    }
}
