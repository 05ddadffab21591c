//! Waiting until objects are healthy: watches on those that are not, until all are or one has failed.

use std::sync::Arc;
use std::time::Duration;

use fluvial_api::Kustomization;
use fluvial_api::meta::HealthCheckExpr;
use fluvial_delivery::health::custom::HealthExprs;
use fluvial_delivery::health::{self, Health, Status};
use fluvial_object::{ObjectExt, ObjectId};
use fluvial_ports::{BoxStream, Clock, Cluster, Resource, Select, Target, Watched};
use futures::StreamExt;
use futures::stream::SelectAll;
use serde_json::Value;
use tokio::time::Instant;

use crate::deliverer::failure::Failure;

/// How long a failure has to stand before it ends a wait.
const SETTLE: Duration = Duration::from_secs(1);

/// An object that is waited for.
#[derive(Debug, Clone)]
pub(crate) struct Awaited {
    /// Which one.
    pub(crate) id: ObjectId,
    /// Its kind.
    pub(crate) resource: Arc<Resource>,
    /// How it was when last seen.
    pub(crate) health: Health,
    /// Whether it goes away by itself when it is done (a Job with a time to live).
    pub(crate) goes: bool,
    /// Whether a Pod is waited for until it has ended, and not until it runs (a hook).
    pub(crate) ends: bool,
    /// Its resource version when last seen: nothing that happens afterwards is missed, however soon it is gone again.
    pub(crate) since: Option<String>,
}

impl Awaited {
    /// An object as it was just seen.
    pub(crate) fn seen(id: ObjectId, resource: Arc<Resource>, live: &Value, judge: &Judge) -> Self {
        let version = live.resource_version();
        Self {
            id,
            resource,
            health: judge.assess(Some(live)),
            goes: health::removes_itself(live),
            ends: false,
            since: (!version.is_empty()).then(|| version.to_owned()),
        }
    }
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All are current.
    Current,
    /// At least one has failed.
    Failed,
}

/// Judges live objects.
#[derive(Clone)]
pub(crate) struct Judge {
    clock: Arc<dyn Clock>,
    expressions: Arc<HealthExprs>,
}

impl Judge {
    /// A judge by built-in rules and the expressions of a Kustomization.
    pub(crate) fn new(clock: Arc<dyn Clock>, object: &Kustomization) -> Result<Self, Failure> {
        Self::with(clock, &object.spec.health_check_exprs).map_err(Failure::expression)
    }

    /// A judge by built-in rules and expressions.
    pub(crate) fn with(clock: Arc<dyn Clock>, expressions: &[HealthCheckExpr]) -> Result<Self, String> {
        let expressions = HealthExprs::new(expressions).map_err(|error| error.to_string())?;
        Ok(Self {
            clock,
            expressions: Arc::new(expressions),
        })
    }

    /// How an object is.
    pub(crate) fn assess(&self, object: Option<&Value>) -> Health {
        self.expressions.assess(object, self.clock.now())
    }
}

/// A wait under way.
pub(crate) struct Wait {
    awaited: Vec<Awaited>,
    judge: Judge,
    watches: SelectAll<BoxStream<'static, (usize, Watched)>>,
    /// Objects that the current list of their watch has shown.
    listed: Vec<bool>,
    /// When a failure that was seen counts, unless it passes before.
    failing: Option<Instant>,
}

impl Wait {
    /// Starts to watch what is not current yet.
    pub(crate) fn new(cluster: &dyn Cluster, awaited: Vec<Awaited>, judge: Judge) -> Self {
        let mut watches = SelectAll::new();
        for (index, object) in awaited.iter().enumerate() {
            if object.health.status == Status::Current {
                continue;
            }
            let select = Select {
                namespace: object.resource.namespaced.then(|| object.id.namespace.clone()),
                fields: Some(format!("metadata.name={}", object.id.name)),
                since: object.since.clone(),
                ..Select::default()
            };
            let watch = cluster.watch(&object.resource, &select);
            watches.push(watch.map(move |watched| (index, watched)).boxed());
        }
        let listed = vec![false; awaited.len()];
        Self {
            awaited,
            judge,
            watches,
            listed,
            failing: None,
        }
    }

    /// Waits until all are current or one has failed. Cancel-safe.
    pub(crate) async fn run(&mut self, fail_early: bool) -> Ended {
        loop {
            if self.all_current() {
                return Ended::Current;
            }
            let until = self.failing().filter(|_| fail_early);
            if until.is_some_and(|until| until <= Instant::now()) {
                return Ended::Failed;
            }
            let next = self.watches.next();
            let event = match until {
                Some(until) => tokio::time::timeout_at(until, next).await,
                None => Ok(next.await),
            };
            match event {
                Ok(Some((index, watched))) => self.take(index, watched),
                // Watches do not end; if they do all the same, the time limit ends the wait.
                Ok(None) => futures::future::pending().await,
                Err(_elapsed) => {}
            }
        }
    }

    /// When it can be said that something has failed, if it looks so. What has ended has ended; anything else may
    /// show for a moment how it fared before it was changed: its controller counts the change first, and looks later.
    fn failing(&mut self) -> Option<Instant> {
        let mut failed = self
            .awaited
            .iter()
            .filter(|object| object.health.status == Status::Failed)
            .peekable();
        if failed.peek().is_none() {
            self.failing = None;
            return None;
        }
        let now = Instant::now();
        if failed.any(|object| matches!(object.id.kind.as_str(), "Job" | "Pod")) {
            return Some(now);
        }
        Some(*self.failing.get_or_insert(now + SETTLE))
    }

    fn take(&mut self, index: usize, watched: Watched) {
        let goes = self.awaited[index].goes;
        let gone = || Health {
            status: if goes { Status::Current } else { Status::NotFound },
            ..self.judge.assess(None)
        };
        let health = match watched {
            Watched::Applied(object) => {
                self.listed[index] = true;
                let health = self.judge.assess(Some(&object));
                if self.awaited[index].ends && self.awaited[index].id.kind == "Pod" {
                    ended(&object, health)
                } else {
                    health
                }
            }
            Watched::Deleted(_) => gone(),
            Watched::Restarted => {
                self.listed[index] = false;
                return;
            }
            Watched::Ready if !self.listed[index] => gone(),
            Watched::Ready | Watched::Failed(_) => return,
        };
        self.awaited[index].health = health;
    }

    fn all_current(&self) -> bool {
        self.awaited
            .iter()
            .all(|object| object.health.status == Status::Current)
    }

    /// What is not current, as text: Flux's list, then the objects' own words.
    pub(crate) fn report(&self, timed_out: bool) -> String {
        let open = || {
            self.awaited
                .iter()
                .filter(|object| object.health.status != Status::Current)
        };
        let list: Vec<String> = open()
            .map(|object| format!("{} status: '{}'", object.id, object.health.status))
            .collect();
        let what = if timed_out {
            "timeout waiting for"
        } else {
            "failed early due to stalled resources"
        };
        let words: Vec<String> = open()
            .map(|object| format!("\n{}: {}", object.id, object.health.words()))
            .take(10)
            .collect();
        format!("{what}: [{}]{}", list.join(", "), words.concat())
    }
}

/// How a Pod is that is to end: it has succeeded, has failed, or goes on.
fn ended(pod: &Value, health: Health) -> Health {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str);
    let status = match phase {
        Some("Succeeded") => Status::Current,
        Some("Failed") => Status::Failed,
        _ if health.status == Status::Failed => Status::Failed,
        _ => Status::InProgress,
    };
    Health { status, ..health }
}

/// Reads how objects are that were not just written.
pub(crate) async fn look(
    cluster: &dyn Cluster,
    judge: &Judge,
    id: ObjectId,
    resource: Arc<Resource>,
) -> Result<Awaited, fluvial_ports::ClusterError> {
    let namespace = if resource.namespaced {
        id.namespace.as_str()
    } else {
        ""
    };
    let target = Target {
        resource: &resource,
        namespace,
        name: &id.name,
    };
    Ok(match cluster.get(target).await? {
        Some(live) => Awaited::seen(id, resource, &live, judge),
        None => Awaited {
            health: judge.assess(None),
            goes: false,
            ends: false,
            since: None,
            id,
            resource,
        },
    })
}
