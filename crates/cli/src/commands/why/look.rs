//! How an object is, and which other one makes it so.

use fluvial_delivery::health::{self, Status};
use fluvial_delivery::inventory::Inventory;
use fluvial_object::ObjectExt;
use fluvial_ports::{Cluster, ErrorKind, Resource, Select, Target};
use jiff::Timestamp;
use serde_json::Value;

use super::Step;
use crate::environment::Failure;
use crate::nouns::{self, NOUNS};
use crate::state::{self, condition, field, text};
use crate::view::{Fare, fare};

/// What a name stands for on the cluster.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// This object.
    Object(Box<Value>),
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
            Found::Object(object) => state::id(object),
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

/// Built-in kinds that people ask for by a short word.
const WORDS: [(&str, &str, &str); 14] = [
    ("deployment", "apps/v1", "Deployment"),
    ("deploy", "apps/v1", "Deployment"),
    ("statefulset", "apps/v1", "StatefulSet"),
    ("sts", "apps/v1", "StatefulSet"),
    ("daemonset", "apps/v1", "DaemonSet"),
    ("ds", "apps/v1", "DaemonSet"),
    ("job", "batch/v1", "Job"),
    ("pod", "v1", "Pod"),
    ("service", "v1", "Service"),
    ("configmap", "v1", "ConfigMap"),
    ("secret", "v1", "Secret"),
    ("namespace", "v1", "Namespace"),
    ("persistentvolumeclaim", "v1", "PersistentVolumeClaim"),
    ("ingress", "networking.k8s.io/v1", "Ingress"),
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

    async fn kind(&self, word: &str) -> Result<(String, String), Failure> {
        if let Some((name, group)) = word.split_once('.') {
            return self.custom(name, group).await;
        }
        let named =
            |noun: &&nouns::Noun| noun.name == word || noun.plural == word || noun.aliases.contains(&word);
        if let Some(noun) = nouns::of_word(word).or_else(|| NOUNS.iter().find(named)) {
            return Ok((noun.info().api_version(), noun.kind.to_owned()));
        }
        let lower = word.to_lowercase();
        let single = lower.strip_suffix('s').unwrap_or(&lower);
        WORDS
            .iter()
            .find(|(short, _, _)| *short == lower || *short == single)
            .map(|(_, version, kind)| ((*version).to_owned(), (*kind).to_owned()))
            .ok_or_else(|| {
                Failure::new(format!(
                    "{word} is no kind that why knows; ask for a Flux kind or one of {}",
                    WORDS.map(|(word, _, _)| word).join(", ")
                ))
            })
    }

    /// A custom kind, written as plural or singular name and group.
    async fn custom(&self, word: &str, group: &str) -> Result<(String, String), Failure> {
        let version = "apiextensions.k8s.io/v1";
        let resource = self.cluster.resource(version, "CustomResourceDefinition").await?;
        let definitions = self.cluster.list(&resource, &Select::default()).await?;
        let found = definitions.iter().find(|definition| {
            let is = |field: &str| {
                let name = text(definition, &["spec", "names", field]);
                name.is_some_and(|name| name.eq_ignore_ascii_case(word))
            };
            text(definition, &["spec", "group"]) == Some(group)
                && (is("plural") || is("singular") || is("kind"))
        });
        let kind = found.and_then(|found| text(found, &["spec", "names", "kind"]));
        let versions = found.and_then(|found| field(found, &["spec", "versions"])?.as_array());
        let served = versions
            .into_iter()
            .flatten()
            .find(|version| version["served"] == true);
        match (kind, served.and_then(|version| text(version, &["name"]))) {
            (Some(kind), Some(version)) => Ok((format!("{group}/{version}"), kind.to_owned())),
            _ => Err(Failure::new(format!("the cluster has no kind {word}.{group}"))),
        }
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

    /// How it is, and what is behind that.
    pub(crate) async fn judge(&self, found: &Found) -> Result<(Step, Option<Found>), Failure> {
        let mut step = Step {
            id: found.id(),
            well: false,
            state: String::new(),
            message: String::new(),
            place: None,
            source: None,
        };
        let object = match found {
            Found::Object(object) => object,
            Found::Absent { .. } => {
                "is not on the cluster".clone_into(&mut step.state);
                return Ok((step, None));
            }
        };
        if nouns::of_kind(state::kind(object)).is_some_and(|noun| noun.info().group == object.group()) {
            self.judge_flux(object, step).await
        } else {
            self.judge_other(object, step).await
        }
    }

    async fn judge_flux(&self, object: &Value, mut step: Step) -> Result<(Step, Option<Found>), Failure> {
        let (how, message) = fare(object, &[]);
        step.message = message;
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
        step.well = how == Fare::Ready;
        if matches!(how, Fare::Ready | Fare::Suspended | Fare::Idle) {
            return Ok((step, None));
        }
        let reason = condition(object, "Ready").and_then(|ready| text(ready, &["reason"]));
        let cause = match reason.unwrap_or_default() {
            "DependencyNotReady" => self.dependency(object).await?,
            "BuildFailed" => None,
            _ => match self.source(object).await? {
                Some(source) => Some(source),
                None => self.unhealthy(object).await?,
            },
        };
        Ok((step, cause))
    }

    /// The first dependency that is not ready.
    async fn dependency(&self, object: &Value) -> Result<Option<Found>, Failure> {
        let list = field(object, &["spec", "dependsOn"]).and_then(Value::as_array);
        for reference in list.into_iter().flatten() {
            let kind = text(reference, &["kind"]).unwrap_or(state::kind(object));
            let api_version = text(reference, &["apiVersion"])
                .map(str::to_owned)
                .or_else(|| nouns::of_kind(kind).map(|noun| noun.info().api_version()))
                .unwrap_or_default();
            let namespace = text(reference, &["namespace"]).unwrap_or(state::namespace(object));
            let name = text(reference, &["name"]).unwrap_or_default();
            let found = self.get(&api_version, kind, namespace, name).await?;
            match &found {
                Found::Object(object) if matches!(fare(object, &[]).0, Fare::Ready) => {}
                _ => return Ok(Some(found)),
            }
        }
        Ok(None)
    }

    /// The source, if it is the one that is not well.
    async fn source(&self, object: &Value) -> Result<Option<Found>, Failure> {
        let paths: [&[&str]; 4] = [
            &["spec", "sourceRef"],
            &["spec", "chartRef"],
            &["spec", "chart", "spec", "sourceRef"],
            &["spec", "imageRepositoryRef"],
        ];
        for reference in paths.iter().filter_map(|path| field(object, path)) {
            let kind = text(reference, &["kind"]).unwrap_or("ImageRepository");
            let Some(noun) = nouns::of_kind(kind) else {
                continue;
            };
            let namespace = text(reference, &["namespace"]).unwrap_or(state::namespace(object));
            let name = text(reference, &["name"]).unwrap_or_default();
            let found = self
                .get(&noun.info().api_version(), kind, namespace, name)
                .await?;
            match &found {
                Found::Object(object) if matches!(fare(object, &[]).0, Fare::Ready) => {}
                _ => return Ok(Some(found)),
            }
        }
        Ok(None)
    }

    /// The worst of what an object has applied.
    async fn unhealthy(&self, object: &Value) -> Result<Option<Found>, Failure> {
        let Some(inventory) = field(object, &["status", "inventory"]) else {
            return Ok(None);
        };
        let inventory = Inventory::from_value(inventory)?;
        let mut worst: Option<(u8, Found)> = None;
        for entry in inventory.entries() {
            let id = &entry.id;
            let found = self
                .get(&entry.api_version(), &id.kind, &id.namespace, &id.name)
                .await?;
            let rank = match &found {
                Found::Absent { .. } => 2,
                Found::Object(object) => match health::assess(Some(object), self.now).status {
                    Status::Current => continue,
                    Status::InProgress | Status::Unknown => 1,
                    _ => 3,
                },
            };
            if worst.as_ref().is_none_or(|(before, _)| *before < rank) {
                worst = Some((rank, found));
            }
        }
        Ok(worst.map(|(_, found)| found))
    }

    async fn judge_other(&self, object: &Value, mut step: Step) -> Result<(Step, Option<Found>), Failure> {
        let health = health::assess(Some(object), self.now);
        step.well = health.status == Status::Current;
        step.state = if step.well {
            "is well".to_owned()
        } else {
            format!("is {}", health.status.as_str())
        };
        step.message.clone_from(&health.message);
        if step.well {
            return Ok((step, None));
        }
        if state::kind(object) == "Pod" {
            if let Some(reason) = pod_reason(object) {
                step.message = reason;
            }
            return Ok((step, None));
        }
        Ok((step, self.pod(object).await?))
    }

    /// The first pod of a workload that is not well.
    async fn pod(&self, object: &Value) -> Result<Option<Found>, Failure> {
        let Some(labels) = field(object, &["spec", "selector", "matchLabels"]).and_then(Value::as_object)
        else {
            return Ok(None);
        };
        let selector: Vec<String> = labels
            .iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
            .collect();
        if selector.is_empty() {
            return Ok(None);
        }
        let resource = self.cluster.resource("v1", "Pod").await?;
        let select = Select {
            namespace: Some(state::namespace(object).to_owned()),
            labels: Some(selector.join(",")),
            ..Select::default()
        };
        let pods = self.cluster.list(&resource, &select).await?;
        let bad = pods
            .into_iter()
            .find(|pod| health::assess(Some(pod), self.now).status != Status::Current);
        Ok(bad.map(|pod| Found::Object(Box::new(pod))))
    }
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
