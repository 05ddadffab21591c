//! Leadership: one process of many reconciles, the others stand by. A Lease object as client-go's leader election
//! keeps it, given back at the end so that the next process need not wait.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fluvial_object::time;
use fluvial_ports::{Clock, Cluster, ClusterError, ErrorKind, Patch, PatchKind, Resource, Select, Target};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Name of the lease that processes of Fluvial share.
pub const NAME: &str = "fluvial-leader-election";

/// The kind as the API serves it.
fn resource() -> Resource {
    Resource {
        group: "coordination.k8s.io".to_owned(),
        version: "v1".to_owned(),
        kind: "Lease".to_owned(),
        plural: "leases".to_owned(),
        namespaced: true,
    }
}

/// A process that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leading {
    /// Name of its Lease: [`NAME`], or with a suffix for a process that does a part of the work.
    pub lease: String,
    /// What it calls itself.
    pub holder: String,
}

/// Who leads in a namespace, by the times that the Leases themselves state: good for telling people, not for taking
/// over.
pub async fn leaders(
    cluster: &dyn Cluster,
    namespace: &str,
    now: Timestamp,
) -> Result<Vec<Leading>, ClusterError> {
    let select = Select {
        namespace: Some(namespace.to_owned()),
        ..Select::default()
    };
    let mut leading = Vec::new();
    for lease in cluster.list(&resource(), &select).await? {
        let name = lease["metadata"]["name"].as_str().unwrap_or_default();
        if !name.starts_with(NAME) {
            continue;
        }
        let renewed = lease
            .pointer("/spec/renewTime")
            .and_then(Value::as_str)
            .and_then(|text| text.parse::<Timestamp>().ok());
        let seen = renewed.map_or(SignedDuration::MAX, |renewed| now.duration_since(renewed));
        if let View::Theirs { holder } = view(Some(&lease), "", seen, Duration::from_secs(35)) {
            leading.push(Leading {
                lease: name.to_owned(),
                holder,
            });
        }
    }
    Ok(leading)
}

/// Whose lease, where, and how long it holds.
#[derive(Debug, Clone)]
pub struct Config {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Who we are; unique among the processes.
    pub identity: String,
    /// How long others wait after the last sign of life.
    pub duration: Duration,
    /// How long to go on trying to renew before giving up the lead.
    pub renew: Duration,
    /// Pause between tries.
    pub retry: Duration,
    /// Where we serve artifacts, for those who stand by.
    pub address: Option<String>,
}

/// Annotation of a Lease: where its holder serves artifacts.
const ADDRESS: &str = "fluvial.dev/artifacts";

/// Where the process that leads serves artifacts, while that is another one.
#[derive(Debug, Default)]
pub struct Leader(Mutex<Option<String>>);

impl Leader {
    /// Its address, if it is another process and has one.
    pub fn address(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over what a Lease says.
    fn read(&self, view: &View, lease: Option<&Value>) {
        let annotations = lease.and_then(|lease| lease.pointer("/metadata/annotations"));
        let address = annotations
            .and_then(|all| all.get(ADDRESS))
            .and_then(Value::as_str);
        let address = address.filter(|_| matches!(view, View::Theirs { .. }));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = address.map(str::to_owned);
    }
}

impl Config {
    /// The usual times: 35 s, 30 s, 5 s.
    pub fn new(namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            duration: Duration::from_secs(35),
            renew: Duration::from_secs(30),
            retry: Duration::from_secs(5),
            address: None,
        }
    }
}

/// What the Lease object says about us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// Nobody has it: it can be taken (and is to be created if it does not exist).
    Free,
    /// We have it.
    Ours,
    /// Another one has it.
    Theirs {
        /// Who.
        holder: String,
    },
}

/// Reads a Lease. `seen` is when this process last saw its `renewTime` change: clocks of others are not trusted.
pub fn view(lease: Option<&Value>, identity: &str, seen: SignedDuration, duration: Duration) -> View {
    let Some(lease) = lease else { return View::Free };
    let holder = lease
        .pointer("/spec/holderIdentity")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if holder.is_empty() {
        return View::Free;
    }
    if holder == identity {
        return View::Ours;
    }
    let stated = lease
        .pointer("/spec/leaseDurationSeconds")
        .and_then(Value::as_u64)
        .map(Duration::from_secs);
    let limit = SignedDuration::try_from(stated.unwrap_or(duration)).unwrap_or(SignedDuration::MAX);
    if seen > limit {
        View::Free
    } else {
        View::Theirs {
            holder: holder.to_owned(),
        }
    }
}

/// The spec with which we take or renew a Lease.
pub fn claim(lease: Option<&Value>, config: &Config, now: Timestamp) -> Value {
    let spec = lease.and_then(|lease| lease.get("spec"));
    let field = |name: &str| spec.and_then(|spec| spec.get(name)).cloned();
    let ours = field("holderIdentity").is_some_and(|holder| holder == config.identity.as_str());
    let transitions = field("leaseTransitions")
        .and_then(|count| count.as_i64())
        .unwrap_or_default();
    let now = time::format_micro(now);
    json!({
        "holderIdentity": config.identity,
        "leaseDurationSeconds": config.duration.as_secs(),
        "acquireTime": if ours { field("acquireTime").unwrap_or_else(|| now.clone().into()) } else { now.clone().into() },
        "renewTime": now,
        "leaseTransitions": if ours || spec.is_none() { transitions } else { transitions + 1 },
    })
}

/// A Lease that this process tries to hold.
pub struct Lease {
    cluster: Arc<dyn Cluster>,
    clock: Arc<dyn Clock>,
    config: Config,
    /// What those who stand by are to know of the leader.
    pub(crate) leader: Arc<Leader>,
    resource: Resource,
    /// The last `renewTime` and when we saw it first.
    observed: Option<(String, Instant)>,
}

impl Lease {
    /// A Lease that is not held yet.
    pub fn new(cluster: Arc<dyn Cluster>, clock: Arc<dyn Clock>, config: Config) -> Self {
        let resource = resource();
        Self {
            cluster,
            clock,
            config,
            leader: Arc::default(),
            resource,
            observed: None,
        }
    }

    fn target(&self) -> Target<'_> {
        Target {
            resource: &self.resource,
            namespace: &self.config.namespace,
            name: &self.config.name,
        }
    }

    /// Tries once to take or renew the Lease.
    pub async fn attempt(&mut self) -> Result<View, ClusterError> {
        let lease = self.cluster.get(self.target()).await?;
        let renewed = lease
            .as_ref()
            .and_then(|lease| lease.pointer("/spec/renewTime"))
            .and_then(Value::as_str)
            .unwrap_or_default();
        let now = Instant::now();
        let since = match &self.observed {
            Some((known, since)) if known == renewed => *since,
            _ => {
                self.observed = Some((renewed.to_owned(), now));
                now
            }
        };
        let age = SignedDuration::try_from(now - since).unwrap_or(SignedDuration::MAX);
        let current = view(lease.as_ref(), &self.config.identity, age, self.config.duration);
        self.leader.read(&current, lease.as_ref());
        if matches!(current, View::Theirs { .. }) {
            return Ok(current);
        }
        let spec = claim(lease.as_ref(), &self.config, self.clock.now());
        match self.write(lease.as_ref(), &spec).await {
            Ok(()) => Ok(View::Ours),
            Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::AlreadyExists) => {
                Ok(View::Theirs {
                    holder: "a process that was quicker".to_owned(),
                })
            }
            Err(error) => Err(error),
        }
    }

    async fn write(&self, lease: Option<&Value>, spec: &Value) -> Result<(), ClusterError> {
        // Null takes away what an earlier holder said.
        let annotations = json!({ ADDRESS: self.config.address });
        match lease.and_then(|lease| lease.pointer("/metadata/resourceVersion")) {
            Some(version) => {
                let body = json!({"metadata": {"resourceVersion": version, "annotations": annotations}, "spec": spec});
                let patch = Patch {
                    kind: PatchKind::Merge,
                    subresource: None,
                    manager: "fluvial",
                    body: &body,
                    dry_run: false,
                };
                self.cluster.patch(self.target(), patch).await?;
            }
            None => {
                let mut object = json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": self.config.name, "namespace": self.config.namespace},
                    "spec": spec,
                });
                if self.config.address.is_some() {
                    object["metadata"]["annotations"] = annotations;
                }
                self.cluster
                    .create(
                        self.target(),
                        &object,
                        fluvial_ports::Create {
                            manager: "fluvial",
                            dry_run: false,
                        },
                    )
                    .await?;
            }
        }
        Ok(())
    }

    /// Waits until the Lease is ours.
    pub async fn acquire(&mut self) {
        let mut told = None;
        loop {
            match self.attempt().await {
                Ok(View::Ours) => return,
                Ok(View::Theirs { holder }) => {
                    if told.as_ref() != Some(&holder) {
                        tracing::info!(lease = %self.config.name, %holder, "standing by");
                        told = Some(holder);
                    }
                }
                Ok(View::Free) => {}
                Err(error) => {
                    tracing::warn!(lease = %self.config.name, %error, "the lease cannot be read or taken")
                }
            }
            tokio::time::sleep(self.config.retry).await;
        }
    }

    /// Renews the Lease; returns when it is lost.
    pub async fn hold(&mut self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(self.config.retry).await;
            match self.attempt().await {
                Ok(View::Ours) => renewed = Instant::now(),
                Ok(View::Theirs { holder }) => {
                    tracing::error!(lease = %self.config.name, %holder, "the lease was lost");
                    return;
                }
                Ok(View::Free) => {}
                Err(error) => {
                    tracing::warn!(lease = %self.config.name, %error, "the lease cannot be renewed")
                }
            }
            if renewed.elapsed() > self.config.renew {
                tracing::error!(lease = %self.config.name, "the lease could not be renewed in time");
                return;
            }
        }
    }

    /// Gives the Lease back.
    pub async fn release(&self) {
        let lease = match self.cluster.get(self.target()).await {
            Ok(Some(lease)) => lease,
            _ => return,
        };
        if lease.pointer("/spec/holderIdentity").and_then(Value::as_str) != Some(&self.config.identity) {
            return;
        }
        let mut spec = claim(Some(&lease), &self.config, self.clock.now());
        spec["holderIdentity"] = "".into();
        spec["leaseDurationSeconds"] = 1.into();
        if let Err(error) = self.write(Some(&lease), &spec).await {
            tracing::warn!(lease = %self.config.name, %error, "the lease could not be given back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str) -> Value {
        json!({"spec": {"holderIdentity": holder, "leaseDurationSeconds": 35, "leaseTransitions": 2, "acquireTime": "t0"}})
    }

    #[test]
    fn a_lease_is_free_without_holder_or_sign_of_life() {
        let limit = Duration::from_secs(35);
        let look =
            |lease: Option<Value>, age| view(lease.as_ref(), "me", SignedDuration::from_secs(age), limit);
        assert_eq!(look(None, 0), View::Free);
        assert_eq!(look(Some(lease("")), 0), View::Free);
        assert_eq!(look(Some(lease("me")), 99), View::Ours);
        assert_eq!(
            look(Some(lease("you")), 35),
            View::Theirs {
                holder: "you".to_owned()
            }
        );
        assert_eq!(look(Some(lease("you")), 36), View::Free);
    }

    #[test]
    fn the_leader_s_address_is_known_while_it_is_another_process() {
        let leader = Leader::default();
        let mut object = lease("you");
        object["metadata"]["annotations"] = json!({ ADDRESS: "http://10.0.0.7:8080" });
        let theirs = View::Theirs {
            holder: "you".to_owned(),
        };
        leader.read(&theirs, Some(&object));
        assert_eq!(leader.address().as_deref(), Some("http://10.0.0.7:8080"));
        leader.read(&View::Free, Some(&object));
        assert_eq!(leader.address(), None);
        leader.read(&theirs, Some(&lease("you")));
        assert_eq!(leader.address(), None);
    }

    #[test]
    fn a_renewal_keeps_the_time_of_the_taking() {
        let config = Config::new("ns", "lead", "me");
        let now = Timestamp::from_second(100).unwrap();
        let renewed = claim(Some(&lease("me")), &config, now);
        assert_eq!(
            (&renewed["acquireTime"], &renewed["leaseTransitions"]),
            (&json!("t0"), &json!(2))
        );
        let taken = claim(Some(&lease("you")), &config, now);
        assert_eq!(
            (&taken["acquireTime"], &taken["leaseTransitions"]),
            (&taken["renewTime"], &json!(3))
        );
        assert_eq!(claim(None, &config, now)["leaseTransitions"], 0);
    }
}
