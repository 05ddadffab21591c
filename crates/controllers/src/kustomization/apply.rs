//! Applying objects stage by stage: everything in a stage is tried out by dry run first, then only what differs is
//! written, then the stage is waited for.

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use fluvial_api::Kustomization;
use fluvial_delivery::changes::{Action, Change};
use fluvial_delivery::control::{self, ApplyMode};
use fluvial_delivery::drift::{Drift, compare};
use fluvial_delivery::health::Status;
use fluvial_delivery::ignore::{IgnoreRules, leave_alone};
use fluvial_delivery::ownership::{TakenOver, clean_up};
use fluvial_delivery::plan::Refusal;
use fluvial_delivery::plan::apply::may_recreate;
use fluvial_delivery::stage::{GroupKind, is_custom, stages};
use fluvial_object::{ObjectExt, ObjectId};
use fluvial_ports::{
    Apply, BoxFuture, Cluster, ClusterError, Create, Delete, ErrorKind, Patch, PatchKind, Propagation,
    Resource, Target,
};
use fluvial_tree::Digest;
use futures::{StreamExt, stream};
use regex::Regex;
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;

use super::health::{Awaited, Ended, Judge, Wait};
use super::manifest::Item;
use super::step::RECONCILIATION_FAILED;
use crate::deliverer::failure::Failure;
use crate::metrics::Metrics;

/// Field manager of everything that is applied.
pub(crate) const MANAGER: &str = "kustomize-controller";
/// How long a stage is waited for.
const STAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// How many objects an error names.
const NAMED: usize = 5;

/// What is known of an applied object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// Digest of what was applied.
    pub(crate) digest: Digest,
    /// The object's version right after.
    pub(crate) version: String,
}

/// What is remembered of the last run, by object.
pub(crate) type Memory = FxHashMap<ObjectId, Known>;

/// What an apply is done with.
pub(crate) struct Applier<'a> {
    /// The cluster, as the identity that applies.
    pub(crate) cluster: &'a dyn Cluster,
    /// Whose objects they are.
    pub(crate) object: &'a Kustomization,
    /// Objects that are probably there.
    pub(crate) present: &'a FxHashSet<ObjectId>,
    /// What is remembered of them.
    pub(crate) memory: &'a Memory,
    /// `spec.ignore`.
    pub(crate) ignore: &'a IgnoreRules,
    /// Whose fields are taken over.
    pub(crate) taken_over: &'a [TakenOver],
    /// Judges objects.
    pub(crate) judge: &'a Judge,
    /// Kinds with a stage of their own.
    pub(crate) stage_kinds: &'a [GroupKind],
    /// Requests at the same time.
    pub(crate) concurrent: usize,
    /// Counts writes.
    pub(crate) metrics: &'a Metrics,
}

/// What an apply came to; filled as far as it went.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// What became of the objects.
    pub(crate) changes: Vec<Change>,
    /// Objects as they were last seen, without those that were left alone.
    pub(crate) seen: Vec<Awaited>,
    /// What to remember.
    pub(crate) memory: Memory,
    /// UIDs of the objects.
    pub(crate) uids: FxHashSet<String>,
    /// Group and kind of objects whose kind is not served.
    pub(crate) missing_kinds: Vec<(String, String)>,
    /// Why objects wait for the definition of their kind, while the others are applied.
    pub(crate) waiting: Vec<String>,
}

/// What a dry run says.
enum Verdict {
    Leave,
    Unchanged,
    Write { created: bool },
    Recreate,
}

struct Examined<'i> {
    item: &'i Item,
    resource: Arc<Resource>,
    live: Option<Value>,
    verdict: Verdict,
}

struct Refused {
    text: String,
    missing_kind: Option<(String, String)>,
}

impl Applier<'_> {
    /// Applies all objects.
    pub(crate) async fn apply(&self, items: &[Item]) -> (Applied, Result<(), Failure>) {
        let mut applied = Applied::default();
        let result = self.stages(items, &mut applied).await;
        (applied, result)
    }

    async fn stages(&self, items: &[Item], applied: &mut Applied) -> Result<(), Failure> {
        let all: Vec<&Item> = items.iter().collect();
        for (stage, items) in stages(all, self.stage_kinds, |item| &item.id) {
            let first = applied.seen.len();
            let examined = self.examine_all(items, applied).await?;
            for examined in examined {
                self.act(examined, applied).await?;
            }
            if stage.is_awaited() {
                self.settle(first, applied).await?;
            }
        }
        Ok(())
    }

    /// Tries out a whole stage. One object that is refused is enough for nothing to be written.
    async fn examine_all<'i>(
        &self,
        items: Vec<&'i Item>,
        applied: &mut Applied,
    ) -> Result<Vec<Examined<'i>>, Failure> {
        let count = items.len();
        let tries: Vec<BoxFuture<'_, Result<Examined<'i>, Refused>>> = items
            .into_iter()
            .map(|item| Box::pin(self.examine(item)) as BoxFuture<'_, _>)
            .collect();
        let results: Vec<Result<Examined<'i>, Refused>> = stream::iter(tries)
            .buffered(self.concurrent.max(1))
            .collect()
            .await;
        let mut examined = Vec::with_capacity(count);
        let mut texts = Vec::new();
        let mut is_refused = false;
        for result in results {
            match result {
                Ok(one) => examined.push(one),
                Err(refused) => {
                    texts.push(refused.text);
                    // The definition of a custom kind may come yet, perhaps with a release that is among the objects.
                    is_refused |= !refused
                        .missing_kind
                        .as_ref()
                        .is_some_and(|(group, _)| is_custom(group));
                    applied.missing_kinds.extend(refused.missing_kind);
                }
            }
        }
        if is_refused {
            return Err(Failure::retry(RECONCILIATION_FAILED, some(texts)));
        }
        applied.waiting.append(&mut texts);
        Ok(examined)
    }

    async fn examine<'i>(&self, item: &'i Item) -> Result<Examined<'i>, Refused> {
        let object = &item.object;
        let found = self.cluster.resource(object.api_version(), object.kind()).await;
        let resource = found.map_err(|error| Refused {
            missing_kind: (error.kind == ErrorKind::NoKind)
                .then(|| (item.id.group.clone(), item.id.kind.clone())),
            text: refusal(item, &error),
        })?;
        if resource.namespaced && item.id.namespace.is_empty() {
            return Err(Refused {
                missing_kind: None,
                text: format!(
                    "{} namespace not specified: set metadata.namespace, or spec.targetNamespace of the Kustomization",
                    item.named()
                ),
            });
        }
        let (live, verdict) = self.judge(item, &resource).await.map_err(|error| Refused {
            text: refusal(item, &error),
            missing_kind: None,
        })?;
        Ok(Examined {
            item,
            resource,
            live,
            verdict,
        })
    }

    /// Compares one object with the cluster. What is not in the inventory is probably not there: then a dry run that
    /// creates it is the whole question.
    async fn judge(
        &self,
        item: &Item,
        resource: &Resource,
    ) -> Result<(Option<Value>, Verdict), ClusterError> {
        let object = &item.object;
        let target = target(resource, &item.id);
        let mode = control::apply_mode(object);
        let look = self.present.contains(&item.id) || mode == ApplyMode::IfNotPresent;
        let mut live = if look {
            self.cluster.get(target).await?
        } else {
            None
        };
        if let (Some(live), Some(known)) = (&live, self.memory.get(&item.id))
            && known.digest == item.digest
            && known.version == live.resource_version()
        {
            let verdict = match control::skip(object, Some(live)) {
                Some(_) => Verdict::Leave,
                None => Verdict::Unchanged,
            };
            return Ok((Some(live.clone()), verdict));
        }
        if control::skip(object, live.as_ref()).is_some() {
            return Ok((live, Verdict::Leave));
        }
        let how = Apply {
            manager: MANAGER,
            force: true,
            dry_run: true,
        };
        let tried = self.cluster.apply(target, object, how).await;
        let exists = tried
            .as_ref()
            .map_or(true, |dry| !dry.resource_version().is_empty());
        if !look && exists {
            live = self.cluster.get(target).await?;
            if control::skip(object, live.as_ref()).is_some() {
                return Ok((live, Verdict::Leave));
            }
        }
        let dry = match tried {
            Ok(dry) => dry,
            Err(error) => {
                let force = self.object.spec.force || control::is_force_enabled(object, live.as_ref());
                if force && live.is_some() && is_immutable(&error) {
                    self.would_come_back(item, target).await?;
                    return Ok((live, Verdict::Recreate));
                }
                return Err(error);
            }
        };
        let pointers = self.ignore.pointers(object);
        let drift = compare(&dry, live.as_ref(), &pointers);
        let unclean = mode != ApplyMode::Merge
            && live
                .as_ref()
                .is_some_and(|live| clean_up(live, MANAGER, self.taken_over).is_some());
        let verdict = match drift {
            Drift::None if !unclean => Verdict::Unchanged,
            Drift::None | Drift::Changed(_) => Verdict::Write { created: false },
            Drift::Created => Verdict::Write { created: true },
        };
        Ok((live, verdict))
    }

    /// Makes sure that an object would be accepted if it were not there: otherwise nothing would be left of it.
    async fn would_come_back(&self, item: &Item, target: Target<'_>) -> Result<(), ClusterError> {
        let how = Create {
            manager: MANAGER,
            dry_run: true,
        };
        let Err(error) = self.cluster.create(target, &item.object, how).await else {
            return Ok(());
        };
        let reason = match error.kind {
            ErrorKind::AlreadyExists => "AlreadyExists",
            _ => &error.reason,
        };
        let answer = Err(Refusal::new(error.code, reason, &error.message));
        may_recreate(&item.id, answer).map_err(|_refused| error)
    }

    async fn act(&self, examined: Examined<'_>, applied: &mut Applied) -> Result<(), Failure> {
        let Examined {
            item,
            resource,
            live,
            verdict,
        } = examined;
        let failed = |error: ClusterError| {
            Failure::retry(
                RECONCILIATION_FAILED,
                format!("{} apply failed{}: {error}", item.named(), reason(&error)),
            )
        };
        let (now, action) = match verdict {
            Verdict::Leave => {
                applied
                    .changes
                    .push(Change::new(item.id.clone(), Action::Skipped));
                return Ok(());
            }
            Verdict::Unchanged => (live.unwrap_or_default(), Action::Unchanged),
            Verdict::Write { created } => {
                let now = self.write(item, &resource, live.as_ref()).await.map_err(failed)?;
                let action = if created {
                    Action::Created
                } else {
                    Action::Configured
                };
                (now, action)
            }
            Verdict::Recreate => {
                let live = live.unwrap_or_default();
                self.remove(item, &resource, &live).await?;
                let now = self.write(item, &resource, None).await.map_err(failed)?;
                (now, Action::Created)
            }
        };
        applied.changes.push(Change::new(item.id.clone(), action));
        applied.uids.insert(now.uid().to_owned());
        applied.memory.insert(
            item.id.clone(),
            Known {
                digest: item.digest,
                version: now.resource_version().to_owned(),
            },
        );
        applied
            .seen
            .push(Awaited::seen(item.id.clone(), resource, &now, self.judge));
        Ok(())
    }

    /// Writes one object, after taking over what other tools left in it.
    async fn write(
        &self,
        item: &Item,
        resource: &Resource,
        live: Option<&Value>,
    ) -> Result<Value, ClusterError> {
        let target = target(resource, &item.id);
        if let Some(live) = live
            && control::apply_mode(&item.object) != ApplyMode::Merge
        {
            self.take_over(target, live).await?;
        }
        let how = Apply {
            manager: MANAGER,
            force: true,
            dry_run: false,
        };
        self.metrics.wrote("object");
        let pointers = self.ignore.pointers(&item.object);
        match live {
            Some(live) if !pointers.is_empty() => {
                let mut desired = item.object.clone();
                leave_alone(&mut desired, live, &pointers, MANAGER);
                self.cluster.apply(target, &desired, how).await
            }
            _ => self.cluster.apply(target, &item.object, how).await,
        }
    }

    /// Folds the fields of tools that came before into ours. A change in between is taken in and the patch made anew.
    async fn take_over(&self, target: Target<'_>, live: &Value) -> Result<(), ClusterError> {
        const TRIES: usize = 3;
        let mut newer: Option<Value> = None;
        for tries in 1..=TRIES {
            let Some(body) = clean_up(newer.as_ref().unwrap_or(live), MANAGER, self.taken_over) else {
                return Ok(());
            };
            let patch = Patch {
                kind: PatchKind::Json,
                subresource: None,
                manager: MANAGER,
                body: &body,
                dry_run: false,
            };
            self.metrics.wrote("object");
            match self.cluster.patch(target, patch).await {
                Ok(_) => return Ok(()),
                Err(error)
                    if tries < TRIES && matches!(error.kind, ErrorKind::Conflict | ErrorKind::Invalid) =>
                {
                    newer = self.cluster.get(target).await?;
                    if newer.is_none() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Deletes an object that is to be made anew, and waits until it is gone.
    async fn remove(&self, item: &Item, resource: &Arc<Resource>, live: &Value) -> Result<(), Failure> {
        let failed = |text: String| {
            Failure::retry(
                RECONCILIATION_FAILED,
                format!("{} cannot be recreated: {text}", item.named()),
            )
        };
        let how = Delete {
            uid: Some(live.uid()),
            resource_version: None,
            propagation: Propagation::Background,
        };
        self.metrics.wrote("object");
        self.cluster
            .delete(target(resource, &item.id), how)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let gone = super::prune::gone(self.cluster, &item.id, resource, live.uid());
        tokio::time::timeout(self.object.spec.timeout().0, gone)
            .await
            .map_err(|_elapsed| failed("it was deleted but does not go; look at its finalizers".to_owned()))?
            .map_err(|error| failed(error.to_string()))
    }

    /// Waits until the objects of a stage are there for the next one.
    async fn settle(&self, first: usize, applied: &mut Applied) -> Result<(), Failure> {
        let open = |object: &&Awaited| object.health.status != Status::Current;
        let awaited: Vec<Awaited> = applied.seen[first..].iter().filter(open).cloned().collect();
        if awaited.is_empty() {
            return Ok(());
        }
        let limit = STAGE_TIMEOUT.min(self.object.spec.timeout().0);
        let mut wait = Wait::new(self.cluster, awaited, self.judge.clone());
        match tokio::time::timeout(limit, wait.run(true)).await {
            Ok(Ended::Current) => {
                for object in &mut applied.seen[first..] {
                    object.health.status = Status::Current;
                }
                Ok(())
            }
            Ok(Ended::Failed) => Err(Failure::retry(RECONCILIATION_FAILED, wait.report(false))),
            Err(_elapsed) => Err(Failure::retry(RECONCILIATION_FAILED, wait.report(true))),
        }
    }
}

/// The object as a request names it.
pub(crate) fn target<'a>(resource: &'a Resource, id: &'a ObjectId) -> Target<'a> {
    Target {
        resource,
        namespace: if resource.namespaced {
            id.namespace.as_str()
        } else {
            ""
        },
        name: &id.name,
    }
}

/// The first few of many texts.
pub(crate) fn some(mut texts: Vec<String>) -> String {
    let more = texts.len().saturating_sub(NAMED);
    texts.truncate(NAMED);
    if more > 0 {
        texts.push(format!("and {more} more"));
    }
    texts.join("\n")
}

fn reason(error: &ClusterError) -> String {
    if error.reason.is_empty() {
        String::new()
    } else {
        format!(" ({})", error.reason)
    }
}

fn refusal(item: &Item, error: &ClusterError) -> String {
    format!("{} dry-run failed{}: {error}", item.named(), reason(error))
}

/// Whether an update was refused because of a field that cannot change.
fn is_immutable(error: &ClusterError) -> bool {
    static TEXT: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"is\simmutable|immutable\sfield").expect("the pattern is valid"));
    matches!(error.kind, ErrorKind::Conflict | ErrorKind::Invalid) || TEXT.is_match(&error.message)
}
