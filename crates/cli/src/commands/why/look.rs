//! How an object is, and which other one makes it so.

use std::collections::BTreeSet;

use fluvial_api::HelmRelease;
use fluvial_api::keys::{HELM_NAME, HELM_NAMESPACE};
use fluvial_api::meta::HealthCheckExpr;
use fluvial_delivery::health::custom::HealthExprs;
use fluvial_delivery::health::{self, Health, Status};
use fluvial_delivery::inventory::Inventory;
use fluvial_object::ObjectExt;
use fluvial_ports::{Cluster, ErrorKind, Resource, Select, Target};
use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde_json::Value;

use super::graph::Step;
use super::words::built_in;
use crate::environment::Failure;
use crate::nouns::{self, NOUNS};
use crate::state::{self, condition, field, shorten_digests, text};
use crate::view::{Fare, fare};

/// Questions to the cluster at once.
const AT_ONCE: usize = 16;

/// What a name stands for on the cluster.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// This object.
    Object(Box<Value>),
    /// This object, whose health somebody else has judged: by expressions of their own.
    Judged {
        /// The object.
        object: Box<Value>,
        /// How it is.
        health: Health,
    },
    /// Nothing.
    Absent {
        /// Its kind.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl Found {
    /// `Kind/namespace/name`.
    pub(crate) fn id(&self) -> String {
        match self {
            Found::Object(object) | Found::Judged { object, .. } => state::id(object),
            Found::Absent {
                kind,
                namespace,
                name,
                ..
            } if namespace.is_empty() => format!("{kind}/{name}"),
            Found::Absent {
                kind,
                namespace,
                name,
                ..
            } => format!("{kind}/{namespace}/{name}"),
        }
    }
}

/// Looks at a cluster.
pub(crate) struct Looker<'a> {
    /// The cluster.
    pub cluster: &'a dyn Cluster,
    namespace: &'a str,
    now: Timestamp,
}

/// What a release may be waited for.
const WORKLOADS: [(&str, &str); 5] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("v1", "PersistentVolumeClaim"),
];

impl<'a> Looker<'a> {
    /// A looker; `namespace` is where names without one are looked for.
    pub(crate) fn new(cluster: &'a dyn Cluster, namespace: &'a str, now: Timestamp) -> Self {
        Looker {
            cluster,
            namespace,
            now,
        }
    }

    /// The object that a kind and a name (or NAMESPACE/NAME) mean.
    pub(crate) async fn find(&self, word: &str, name: &str) -> Result<Found, Failure> {
        let (api_version, kind) = self.kind(word).await?;
        let (namespace, name) = name.split_once('/').unwrap_or((self.namespace, name));
        let found = self.get(&api_version, &kind, namespace, name).await?;
        if matches!(found, Found::Object(_)) || namespace != self.namespace {
            return Ok(found);
        }
        // Few people think of the namespace; one object of that name is the one that is meant.
        let Ok(resource) = self.cluster.resource(&api_version, &kind).await else {
            return Ok(found);
        };
        let select = Select {
            fields: Some(format!("metadata.name={name}")),
            ..Select::default()
        };
        let mut all = self.cluster.list(&resource, &select).await?;
        match (all.pop(), all.is_empty()) {
            (Some(object), true) => Ok(Found::Object(Box::new(object))),
            (Some(object), false) => Err(Failure::new(format!(
                "several objects are called {kind}/{name}, one of them in {}; choose with -n",
                state::namespace(&object)
            ))),
            (None, _) => Ok(found),
        }
    }

    /// API version and kind that a word means: a kind, a plural or an abbreviation, with or without its group
    /// (`deployments.apps`, `widget.example.com`, `HelmRelease.v2.helm.toolkit.fluxcd.io`).
    pub(crate) async fn kind(&self, word: &str) -> Result<(String, String), Failure> {
        let lower = word.to_lowercase();
        let (name, group) = lower.split_once('.').unwrap_or((&lower, ""));
        let named =
            |noun: &&nouns::Noun| noun.name == name || noun.plural == name || noun.aliases.contains(&name);
        let flux = nouns::of_word(name).or_else(|| NOUNS.iter().find(named));
        // A version may stand between name and group.
        let is_of = |api_version: &str| {
            let (known, version) = api_version.split_once('/').unwrap_or(("", api_version));
            group.is_empty()
                || group == known
                || group
                    .strip_prefix(version)
                    .is_some_and(|rest| rest == format!(".{known}"))
        };
        if let Some(noun) = flux.filter(|noun| is_of(&noun.info().api_version())) {
            return Ok((noun.info().api_version(), noun.kind.to_owned()));
        }
        if let Some((version, kind)) = built_in(name).filter(|(version, _)| is_of(version)) {
            return Ok((version, kind));
        }
        let found = self.custom(name, group).await?;
        found.ok_or_else(|| Failure::new(format!("the server doesn't have a resource type {word:?}")))
    }

    /// A custom kind, by one of its names and perhaps its group.
    async fn custom(&self, word: &str, group: &str) -> Result<Option<(String, String)>, Failure> {
        let version = "apiextensions.k8s.io/v1";
        let resource = self.cluster.resource(version, "CustomResourceDefinition").await?;
        let definitions = self.cluster.list(&resource, &Select::default()).await?;
        for definition in &definitions {
            let is = |field: &str| {
                let name = text(definition, &["spec", "names", field]);
                name.is_some_and(|name| name.eq_ignore_ascii_case(word))
            };
            let short = field(definition, &["spec", "names", "shortNames"]).and_then(Value::as_array);
            let is_short = short
                .into_iter()
                .flatten()
                .any(|name| name.as_str() == Some(word));
            let own = text(definition, &["spec", "group"]).unwrap_or_default();
            let of_group = group.is_empty()
                || group
                    .strip_suffix(own)
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            if !of_group || !(is("plural") || is("singular") || is("kind") || is_short) {
                continue;
            }
            let wanted = group
                .strip_suffix(own)
                .map(|version| version.trim_end_matches('.'));
            let versions = field(definition, &["spec", "versions"]).and_then(Value::as_array);
            let served = versions.into_iter().flatten().find(|version| {
                let name = text(version, &["name"]);
                version["served"] == true
                    && wanted.is_none_or(|wanted| wanted.is_empty() || name == Some(wanted))
            });
            let names = (
                served.and_then(|version| text(version, &["name"])),
                text(definition, &["spec", "names", "kind"]),
            );
            if let (Some(version), Some(kind)) = names {
                return Ok(Some((format!("{own}/{version}"), kind.to_owned())));
            }
        }
        Ok(None)
    }

    /// An object by its kind and name.
    pub(crate) async fn get(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Found, Failure> {
        let absent = || Found::Absent {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let resource = match self.cluster.resource(api_version, kind).await {
            Ok(resource) => resource,
            Err(error) if error.kind == ErrorKind::NoKind => return Ok(absent()),
            Err(error) => return Err(error.into()),
        };
        let namespace = if resource.namespaced { namespace } else { "" };
        let target = Target {
            resource: &resource,
            namespace,
            name,
        };
        Ok(match self.cluster.get(target).await? {
            Some(object) => Found::Object(Box::new(object)),
            None => absent(),
        })
    }

    /// All objects of Flux kinds that are not ready.
    pub(crate) async fn unready(&self) -> Result<Vec<Found>, Failure> {
        let mut found = vec![];
        for noun in NOUNS {
            let resource: Resource = noun.resource();
            match self.cluster.list(&resource, &Select::default()).await {
                Ok(objects) => found.extend(
                    objects
                        .into_iter()
                        .filter(|object| !matches!(fare(object, &[]).0, Fare::Ready | Fare::Suspended))
                        .map(|object| Found::Object(Box::new(object))),
                ),
                Err(error) if matches!(error.kind, ErrorKind::NoKind | ErrorKind::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    /// How it is, and what is behind that, the worst first.
    pub(crate) async fn judge(&self, found: &Found) -> Result<(Step, Vec<Found>), Failure> {
        let mut step = Step {
            id: found.id(),
            fare: Fare::Failed,
            state: String::new(),
            message: String::new(),
            place: None,
            source: None,
        };
        let (object, health) = match found {
            Found::Object(object) => (object, None),
            Found::Judged { object, health } => (object, Some(health.clone())),
            Found::Absent { .. } => {
                "is not on the cluster".clone_into(&mut step.state);
                return Ok((step, vec![]));
            }
        };
        if nouns::of_kind(state::kind(object)).is_some_and(|noun| noun.info().group == object.group()) {
            self.judge_flux(object, step).await
        } else {
            let health = health.unwrap_or_else(|| health::assess(Some(object), self.now));
            self.judge_other(object, &health, step).await
        }
    }

    async fn judge_flux(&self, object: &Value, mut step: Step) -> Result<(Step, Vec<Found>), Failure> {
        let (how, message) = fare(object, &[]);
        let ready = condition(object, "Ready");
        let whole = ready
            .and_then(|ready| text(ready, &["message"]))
            .unwrap_or_default();
        // A message of several lines is told whole; `fare` gives the first one.
        step.message = match whole.trim().contains('\n') && message.ends_with(" …") {
            true => shorten_digests(whole.trim()),
            false => message,
        };
        let state = match how {
            Fare::Ready => "is ready",
            Fare::Suspended => "is suspended",
            Fare::Working => "is being worked on",
            Fare::Waiting => "waits",
            Fare::Failed => "failed",
            Fare::Idle => "was not looked at",
        };
        state.clone_into(&mut step.state);
        if how == Fare::Suspended {
            "resume it to let it go on".clone_into(&mut step.message);
        }
        step.fare = how;
        if matches!(how, Fare::Ready | Fare::Suspended | Fare::Idle) {
            return Ok((step, vec![]));
        }
        let reason = ready.and_then(|ready| text(ready, &["reason"]));
        let causes = match reason.unwrap_or_default() {
            "DependencyNotReady" | "DependencyCycle" => self.dependencies(object).await?,
            "BuildFailed" => vec![],
            _ => match self.sources(object).await? {
                sources if !sources.is_empty() => sources,
                _ => {
                    let mut unhealthy = self.unhealthy(object).await?;
                    if reason == Some("ReconciliationFailed") {
                        // What could not be applied is absent for the reason that is given.
                        unhealthy.retain(|found| !matches!(found, Found::Absent { .. }));
                    }
                    named_in(whole, unhealthy)
                }
            },
        };
        Ok((step, causes))
    }

    /// Those of some objects that are not ready, in the order of the references.
    async fn unready_of(&self, references: Vec<[String; 4]>) -> Result<Vec<Found>, Failure> {
        let found: Vec<Found> = stream::iter(&references)
            .map(|[version, kind, namespace, name]| self.get(version, kind, namespace, name))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let is_well =
            |found: &Found| matches!(found, Found::Object(object) if fare(object, &[]).0 == Fare::Ready);
        Ok(found.into_iter().filter(|found| !is_well(found)).collect())
    }

    /// The dependencies that are not ready.
    async fn dependencies(&self, object: &Value) -> Result<Vec<Found>, Failure> {
        let list = field(object, &["spec", "dependsOn"]).and_then(Value::as_array);
        let references = list.into_iter().flatten().map(|reference| {
            let kind = text(reference, &["kind"]).unwrap_or(state::kind(object));
            let version = text(reference, &["apiVersion"])
                .map(str::to_owned)
                .or_else(|| nouns::of_kind(kind).map(|noun| noun.info().api_version()));
            let namespace = text(reference, &["namespace"]).unwrap_or(state::namespace(object));
            let name = text(reference, &["name"]).unwrap_or_default();
            [
                version.unwrap_or_default(),
                kind.to_owned(),
                namespace.to_owned(),
                name.to_owned(),
            ]
        });
        self.unready_of(references.collect()).await
    }

    /// The sources that are not well: the nearest of each way.
    async fn sources(&self, object: &Value) -> Result<Vec<Found>, Failure> {
        let paths: [&[&str]; 4] = [
            &["spec", "sourceRef"],
            &["spec", "chartRef"],
            &["spec", "chart", "spec", "sourceRef"],
            &["spec", "imageRepositoryRef"],
        ];
        let own = state::namespace(object);
        let mut references: Vec<[String; 4]> = vec![];
        let mut add = |kind: &str, namespace: &str, name: &str| {
            if let Some(noun) = nouns::of_kind(kind) {
                let version = noun.info().api_version();
                references.push([version, kind.to_owned(), namespace.to_owned(), name.to_owned()]);
            }
        };
        if let Some((namespace, name)) =
            text(object, &["status", "helmChart"]).and_then(|chart| chart.split_once('/'))
        {
            // The chart leads to its repository.
            add("HelmChart", namespace, name);
        }
        for reference in paths.iter().filter_map(|path| field(object, path)) {
            let kind = text(reference, &["kind"]).unwrap_or("ImageRepository");
            let namespace = text(reference, &["namespace"]).unwrap_or(own);
            add(kind, namespace, text(reference, &["name"]).unwrap_or_default());
        }
        let mut found = self.unready_of(references).await?;
        let leads =
            |found: &Found| matches!(found, Found::Object(chart) if state::kind(chart) == "HelmChart");
        if found.first().is_some_and(leads) && found.len() > 1 {
            found.truncate(1);
        }
        Ok(found)
    }

    /// What an object has applied or watches that is not well, the worst first.
    async fn unhealthy(&self, object: &Value) -> Result<Vec<Found>, Failure> {
        let mut references: Vec<[String; 4]> = vec![];
        if let Some(inventory) = field(object, &["status", "inventory"]) {
            let inventory = Inventory::from_value(inventory)?;
            references.extend(inventory.entries().iter().map(|entry| {
                let id = &entry.id;
                [
                    entry.api_version(),
                    id.kind.clone(),
                    id.namespace.clone(),
                    id.name.clone(),
                ]
            }));
        }
        let checks = field(object, &["spec", "healthChecks"]).and_then(Value::as_array);
        for check in checks.into_iter().flatten() {
            let part = |name: &str| text(check, &[name]).unwrap_or_default().to_owned();
            let namespace = text(check, &["namespace"]).unwrap_or(state::namespace(object));
            let reference = [
                part("apiVersion"),
                part("kind"),
                namespace.to_owned(),
                part("name"),
            ];
            if !references.iter().any(|known| known[1..] == reference[1..]) {
                references.push(reference);
            }
        }
        // One that brings itself does not wait for itself.
        references.retain(|[_, kind, namespace, name]| {
            kind != state::kind(object)
                || namespace != state::namespace(object)
                || name != state::name(object)
        });
        let mut found: Vec<Found> = stream::iter(&references)
            .map(|[version, kind, namespace, name]| self.get(version, kind, namespace, name))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        for one in self.released(object).await {
            if !found.iter().any(|known| known.id() == one.id()) {
                found.push(one);
            }
        }
        let expressions = expressions(object);
        let mut ranked: Vec<(u8, Found)> = found
            .into_iter()
            .filter_map(|found| {
                let Found::Object(object) = found else {
                    return Some((1, found));
                };
                let health = expressions.assess(Some(&object), self.now);
                let rank = match health.status {
                    Status::Current => return None,
                    Status::InProgress | Status::Unknown => 2,
                    _ => 0,
                };
                Some((rank, Found::Judged { object, health }))
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        Ok(ranked.into_iter().map(|(_, found)| found).collect())
    }

    /// The workloads of a release, which are in no inventory before its action is over.
    async fn released(&self, object: &Value) -> Vec<Found> {
        if state::kind(object) != HelmRelease::KIND {
            return vec![];
        }
        let labels = format!(
            "{HELM_NAME}={},{HELM_NAMESPACE}={}",
            state::name(object),
            state::namespace(object)
        );
        let select = Select {
            labels: Some(labels),
            ..Select::default()
        };
        let mut found = vec![];
        for (version, kind) in WORKLOADS {
            // Whoever may not list them is told what the release itself says.
            let Ok(resource) = self.cluster.resource(version, kind).await else {
                continue;
            };
            let objects = self.cluster.list(&resource, &select).await.unwrap_or_default();
            found.extend(objects.into_iter().map(|object| Found::Object(Box::new(object))));
        }
        found
    }

    async fn judge_other(
        &self,
        object: &Value,
        health: &Health,
        mut step: Step,
    ) -> Result<(Step, Vec<Found>), Failure> {
        step.fare = match health.status {
            Status::Current => Fare::Ready,
            Status::InProgress | Status::Unknown => Fare::Working,
            _ => Fare::Failed,
        };
        step.state = match step.fare {
            Fare::Ready => "is well".to_owned(),
            _ => format!("is {}", health.status.as_str()),
        };
        step.message = health.words().to_owned();
        if step.is_well() {
            return Ok((step, vec![]));
        }
        if state::kind(object) == "Pod" {
            if let Some(reason) = pod_reason(object) {
                step.message = reason;
            }
            return Ok((step, vec![]));
        }
        let pods = self.pods(object).await?;
        if pods.is_empty()
            && health.hindrance.is_none()
            && let Some(warning) = self.warning(object).await
        {
            step.message = warning;
        }
        Ok((step, pods))
    }

    /// What the newest warning about an object says: a stateful set without pods has no other words for why.
    async fn warning(&self, object: &Value) -> Option<String> {
        let select = Select {
            namespace: Some(state::namespace(object).to_owned()).filter(|namespace| !namespace.is_empty()),
            fields: Some(format!(
                "involvedObject.uid={},type=Warning",
                text(object, &["metadata", "uid"])?
            )),
            ..Select::default()
        };
        // Whoever may not list events is told what the object itself says.
        let events = self.cluster.list(&Resource::core("Event"), &select).await.ok()?;
        let newest = events
            .iter()
            .max_by_key(|event| crate::commands::events::last_seen(event))?;
        let message = text(newest, &["message"])?.trim();
        (!message.is_empty()).then(|| message.to_owned())
    }

    /// The pods of a workload that are not well: one for each reason, for a hundred pods fail alike.
    async fn pods(&self, object: &Value) -> Result<Vec<Found>, Failure> {
        let Some(labels) = field(object, &["spec", "selector", "matchLabels"]).and_then(Value::as_object)
        else {
            return Ok(vec![]);
        };
        let selector: Vec<String> = labels
            .iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
            .collect();
        if selector.is_empty() {
            return Ok(vec![]);
        }
        let resource = self.cluster.resource("v1", "Pod").await?;
        let select = Select {
            namespace: Some(state::namespace(object).to_owned()),
            labels: Some(selector.join(",")),
            ..Select::default()
        };
        let pods = self.cluster.list(&resource, &select).await?;
        let mut reasons = BTreeSet::new();
        Ok(pods
            .into_iter()
            .filter(|pod| health::assess(Some(pod), self.now).status != Status::Current)
            .filter(|pod| reasons.insert(pod_reason(pod)))
            .map(|pod| Found::Object(Box::new(pod)))
            .collect())
    }
}

/// The expressions by which an object judges what it waits for; those that cannot be read are its own trouble.
fn expressions(object: &Value) -> HealthExprs {
    let list = field(object, &["spec", "healthCheckExprs"])
        .cloned()
        .unwrap_or_default();
    let list: Vec<HealthCheckExpr> = serde_json::from_value(list).unwrap_or_default();
    HealthExprs::new(&list).unwrap_or_default()
}

/// What keeps a pod from running: a container's reason, or why it has no node.
fn pod_reason(pod: &Value) -> Option<String> {
    let statuses = ["initContainerStatuses", "containerStatuses"];
    for status in statuses
        .iter()
        .filter_map(|name| field(pod, &["status", name])?.as_array())
        .flatten()
    {
        for state in ["waiting", "terminated"] {
            let Some(detail) = field(status, &["state", state]) else {
                continue;
            };
            let reason = text(detail, &["reason"]).unwrap_or_default();
            if matches!(reason, "" | "Completed" | "ContainerCreating" | "PodInitializing") {
                continue;
            }
            let name = text(status, &["name"]).unwrap_or_default();
            let message = text(detail, &["message"]).unwrap_or_default();
            return Some(
                format!("container {name}: {reason} {message}")
                    .trim_end()
                    .to_owned(),
            );
        }
    }
    let scheduled = condition(pod, "PodScheduled")?;
    (text(scheduled, &["status"]) == Some("False"))
        .then(|| text(scheduled, &["message"]).unwrap_or("has no node").to_owned())
}

/// Those that a message names, if it names any: the others are absent because of them.
fn named_in(message: &str, all: Vec<Found>) -> Vec<Found> {
    let is_named = |found: &Found| {
        let id = found.id();
        let words = message.split(|letter: char| letter.is_whitespace() || "'\",;()".contains(letter));
        words
            .map(|word| word.trim_end_matches(':'))
            .any(|word| word == id)
    };
    match all.iter().any(is_named) {
        true => all.into_iter().filter(is_named).collect(),
        false => all,
    }
}
