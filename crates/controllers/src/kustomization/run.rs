//! One run of a Kustomization, from its source to healthy objects.

use std::sync::Arc;
use std::time::Duration;

use fluvial_api::Kustomization;
use fluvial_delivery::changes::{Change, event_text};
use fluvial_delivery::expr::Expression;
use fluvial_delivery::health::Status;
use fluvial_delivery::ignore::IgnoreRules;
use fluvial_delivery::inventory::{Entry, Inventory};
use fluvial_delivery::substitute::Substitution;
use fluvial_object::{ObjectExt, ObjectId};
use fluvial_ports::{Cluster, Severity};
use fluvial_tree::Tree;
use rustc_hash::FxHashSet;

use super::Kustomizations;
use super::apply::{Applied, Applier, some};
use super::claims::owner;
use super::health::{Awaited, Ended, Judge, Wait, look};
use super::inputs::{Source, remote_place};
use super::keys::Keys;
use super::manifest::{Built, Item};
use super::prune::{Pruned, Pruner};
use super::steady::{Basis, Ingredients, Remembered};
use super::step::{
    self, Facts, HEALTH_CHECK_AFTER, HEALTH_CHECK_CANCELED, HEALTH_CHECK_FAILED, PRUNE_FAILED,
    RECONCILIATION_FAILED,
};
use super::wakes::is_at_revision;
use crate::condition::PROGRESSING;
use crate::deliverer::depends;
use crate::deliverer::failure::{Class, DEPENDENCY_NOT_READY, Failure, INVALID_IGNORE};
use crate::queue::{Reasons, Work};
use crate::remote::RemoteError;
use crate::runner::Slot;
use crate::{Key, deliverer};

/// What a run has come to know.
#[derive(Default)]
pub(crate) struct Run {
    /// What the status is made from.
    pub(crate) facts: Facts,
    /// Whether a kind is not served.
    pub(crate) misses_kinds: bool,
    /// What was not healthy in time.
    pub(crate) unhealthy: Option<Wait>,
}

/// What a run works with.
struct Inputs {
    source: Source,
    tree: Tree,
    variables: Substitution,
    keys: Option<Keys>,
    cluster: Arc<dyn Cluster>,
    built: Built,
    old: Inventory,
    rules: Rules,
    recalled: Arc<Remembered>,
}

/// How a run ends that has not failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// All is as it should be.
    Done,
    /// The reasons have changed before anything was done.
    Again,
}

/// How long something that is about to be there is waited for before its absence is written down.
const PATIENCE: Duration = Duration::from_millis(500);

/// What ends a wait for health.
const NEWER: Reasons = Reasons::SPEC
    .with(Reasons::REQUESTED)
    .with(Reasons::SOURCE)
    .with(Reasons::CONFIG)
    .with(Reasons::DELETED);

/// What the spec says in languages of its own, read.
struct Rules {
    ignore: IgnoreRules,
    judge: Judge,
    ready: Vec<Option<Expression>>,
}

impl Rules {
    fn of(all: &Kustomizations, object: &Kustomization) -> Result<Self, Failure> {
        let ignore = serde_json::to_value(&object.spec.ignore)
            .map_err(|error| error.to_string())
            .and_then(|rules| IgnoreRules::from_value(&rules).map_err(|error| error.to_string()))
            .map_err(|error| Failure::stalled(INVALID_IGNORE, error))?;
        Ok(Self {
            ignore,
            judge: Judge::new(Arc::clone(&all.context.clock), object)?,
            ready: depends::expressions(object)?,
        })
    }
}

impl Kustomizations {
    pub(super) async fn reconcile_once(
        &self,
        key: &Key,
        object: &Arc<Kustomization>,
        run: &mut Run,
        work: &mut Work<Key>,
        slot: &mut Slot,
    ) -> Result<End, Failure> {
        let old = self.recorded(key, object, &mut run.facts).await?;
        // What can never work is said before anything is waited for.
        let rules = Rules::of(self, object)?;
        let source = match self.begin(object, run, &rules).await {
            Ok(source) => source,
            Err(failure) if failure.class == Class::Waiting => {
                let news = slot.parked(tokio::time::timeout(PATIENCE, work.changed())).await;
                if news.is_ok() {
                    return Ok(End::Again);
                }
                return Err(failure);
            }
            Err(failure) => return Err(failure),
        };
        let tree = self.tree(&source).await?;
        let cluster = deliverer::cluster_of(&self.context, &**object)
            .await
            .map_err(unreached)?;
        let variables = self.variables(object).await?;
        let keys = self.keys(object).await?;
        let recalled = self.recall(key);
        let steady = self
            .steady(
                object,
                &recalled,
                &Ingredients {
                    tree: &tree,
                    variables: &variables,
                    keys: keys.as_ref(),
                },
                &*cluster,
                &rules.judge,
                &old,
            )
            .await;
        if let Some(seen) = steady {
            run.facts.digest = recalled.basis.as_ref().map(|basis| basis.digest.clone());
            self.check_health(object, run, &*cluster, rules.judge, seen, work, slot)
                .await?;
            return Ok(End::Done);
        }
        let built = self
            .build(
                object,
                &tree,
                &source.artifact.revision,
                variables.clone(),
                keys.as_ref(),
            )
            .await?;
        run.facts.digest = Some(built.digest.clone());
        for warning in &built.warnings {
            tracing::warn!(%key, "{warning}");
        }
        let inputs = Inputs {
            source,
            tree,
            variables,
            keys,
            cluster,
            built,
            old,
            rules,
            recalled,
        };
        self.deliver(key, object, run, inputs, work, slot).await?;
        Ok(End::Done)
    }

    /// Source and dependencies.
    async fn begin(
        &self,
        object: &Arc<Kustomization>,
        run: &mut Run,
        rules: &Rules,
    ) -> Result<Source, Failure> {
        let source = self.source(object).await?;
        depends::check(
            &**object,
            |node| self.peers.find(node),
            self.context.settings.additive_ready_expr,
            &rules.ready,
            |name, found| is_at_revision(name, found, &source),
        )?;
        run.facts.revision.clone_from(&source.artifact.revision);
        run.facts.origin_revision = source.origin_revision();
        Ok(source)
    }

    /// Makes the cluster match what was built.
    async fn deliver(
        &self,
        key: &Key,
        object: &Arc<Kustomization>,
        run: &mut Run,
        inputs: Inputs,
        work: &mut Work<Key>,
        slot: &mut Slot,
    ) -> Result<(), Failure> {
        let Inputs {
            built, old, rules, ..
        } = &inputs;
        let new = Inventory::new(built.items.iter().map(|item| Entry::of(&item.object)));
        self.intend(key, object, run, old, &new, &built.items).await?;
        let cluster = Arc::clone(&inputs.cluster);
        let present: FxHashSet<ObjectId> = old.ids().cloned().collect();
        let applier = Applier {
            cluster: &*cluster,
            object,
            present: &present,
            memory: &inputs.recalled.objects,
            ignore: &rules.ignore,
            taken_over: &self.taken_over,
            judge: &rules.judge,
            stage_kinds: &self.stage_kinds,
            concurrent: self.context.settings.concurrent_requests,
            metrics: &self.context.metrics,
        };
        let (mut applied, result) = applier.apply(&built.items).await;
        run.misses_kinds = !applied.missing_kinds.is_empty();
        self.wakes
            .wait_for_kinds(key, std::mem::take(&mut applied.missing_kinds));
        if let Err(failure) = result {
            self.tell_changes(object, run, &applied.changes);
            return Err(failure);
        }
        if !applied.waiting.is_empty() {
            return Err(self.incomplete(key, object, run, applied));
        }
        let pruned = self
            .prune(key, object, run, &inputs, &new, &mut applied, &*cluster)
            .await;
        self.tell_changes(object, run, &applied.changes);
        let basis = pruned
            .is_ok()
            .then(|| Basis::new(object, built, inputs.variables.clone(), inputs.keys.as_ref(), new));
        self.remember(
            key,
            Remembered {
                objects: applied.memory,
                basis,
            },
        );
        pruned?;
        self.check_health(
            object,
            run,
            &*cluster,
            inputs.rules.judge,
            applied.seen,
            work,
            slot,
        )
        .await
    }

    /// Writes down what is about to be applied, so that a kill at any later point orphans nothing.
    async fn intend(
        &self,
        key: &Key,
        object: &Arc<Kustomization>,
        run: &mut Run,
        old: &Inventory,
        new: &Inventory,
        items: &[Item],
    ) -> Result<(), Failure> {
        let union = old.union(new);
        let recorded = object.status.inventory.as_ref();
        if union.same_objects(old) && (recorded.is_some() || union.is_empty()) {
            return Ok(());
        }
        if self.begins_at_once(key, object, items) {
            run.facts.inventory = Some(union.entries().to_vec());
            return Ok(());
        }
        let facts = Facts {
            inventory: Some(union.entries().to_vec()),
            ..run.facts.clone()
        };
        let text = format!(
            "Detecting drift for revision {} with a timeout of {}",
            run.facts.revision,
            object.spec.timeout()
        );
        let status = step::progressing(object, &facts, &text, self.context.clock.now());
        let written = self.writer.status(object, &status).await;
        match written {
            Ok(Some(_)) => {
                run.facts.inventory = facts.inventory;
                Ok(())
            }
            Ok(None) => Err(superseded("the object is gone")),
            Err(error) => Err(Failure::retry(
                RECONCILIATION_FAILED,
                format!("the inventory cannot be written, so nothing was applied: {error}"),
            )),
        }
    }

    fn tell_changes(&self, object: &Arc<Kustomization>, run: &Run, changes: &[Change]) {
        if let Some(text) = event_text(changes) {
            let mut event = self.event(object, &run.facts, Severity::Info, &text, None);
            PROGRESSING.clone_into(&mut event.reason);
            self.context.recorder.send(event);
        }
    }

    /// Some objects wait for the definition of their kind; the others are applied. What is no longer wanted stays until
    /// all are there, because they may be what comes in its place.
    fn incomplete(&self, key: &Key, object: &Arc<Kustomization>, run: &Run, applied: Applied) -> Failure {
        self.tell_changes(object, run, &applied.changes);
        let (done, all) = (
            applied.changes.len(),
            applied.changes.len() + applied.waiting.len(),
        );
        let text = format!(
            "{done} of {all} objects applied, waiting for the definitions of the others:\n{}",
            some(applied.waiting)
        );
        self.remember(
            key,
            Remembered {
                objects: applied.memory,
                basis: None,
            },
        );
        Failure::waiting(DEPENDENCY_NOT_READY, text)
    }

    /// Deletes what is no longer wanted and settles the inventory.
    #[expect(
        clippy::too_many_arguments,
        reason = "one straight line cut in two for its length"
    )]
    async fn prune(
        &self,
        key: &Key,
        object: &Arc<Kustomization>,
        run: &mut Run,
        inputs: &Inputs,
        new: &Inventory,
        applied: &mut Applied,
        cluster: &dyn Cluster,
    ) -> Result<(), Failure> {
        let candidates = inputs.old.without(new);
        let mut pruned = Pruned::default();
        if !candidates.is_empty() && object.spec.prune {
            let pruner = Pruner {
                cluster,
                owner: owner(key),
                applied: &applied.uids,
                everybody: self,
                place: remote_place(object),
                source: Some((&inputs.source, &inputs.tree)),
                patient: true,
            };
            pruned = pruner.prune(candidates).await;
        }
        for (entry, hold) in pruned.plan.held() {
            tracing::info!(%key, "{} is {hold}", entry.id);
        }
        applied
            .changes
            .extend(pruned.plan.changes(|id| pruned.failed.contains_key(id)));
        self.wake_takers(key, pruned.takers());
        let inventory = pruned.inventory(new);
        let recorded = object.status.inventory.as_ref();
        if run.facts.inventory.is_some() || recorded != Some(&step::status_inventory(inventory.entries())) {
            run.facts.inventory = Some(inventory.entries().to_vec());
        }
        let mut errors = pruned.errors();
        if errors.is_empty() {
            return Ok(());
        }
        errors.truncate(5);
        Err(Failure::retry(PRUNE_FAILED, errors.join("\n")))
    }

    /// Has those run that are to take objects over, and this one again when they have.
    pub(super) fn wake_takers(&self, key: &Key, takers: Vec<Key>) {
        self.takers.wait_for(key, takers.clone());
        for taker in takers {
            self.queue.add(taker, Reasons::DEPENDENCY);
        }
    }

    /// Waits until what is checked is healthy. A newer revision ends the wait.
    #[expect(
        clippy::too_many_arguments,
        reason = "one straight line cut in two for its length"
    )]
    async fn check_health(
        &self,
        object: &Arc<Kustomization>,
        run: &mut Run,
        cluster: &dyn Cluster,
        judge: Judge,
        seen: Vec<Awaited>,
        work: &mut Work<Key>,
        slot: &mut Slot,
    ) -> Result<(), Failure> {
        let spec = &object.spec;
        run.facts.checks_health = spec.wait || !spec.health_checks.is_empty();
        if !run.facts.checks_health {
            return Ok(());
        }
        let awaited = self.awaited(object, cluster, &judge, seen).await?;
        if awaited.is_empty() {
            return Ok(());
        }
        let started = tokio::time::Instant::now();
        run.facts.health_took = Some(Duration::ZERO);
        let timeout = spec.timeout();
        let text = format!(
            "Running health checks for revision {} with a timeout of {timeout}",
            run.facts.revision
        );
        let status = step::progressing(object, &run.facts, &text, self.context.clock.now());
        if let Err(error) = self.writer.status(object, &status).await {
            tracing::debug!(%error, "progress could not be shown");
        }
        let mut wait = Wait::new(cluster, awaited, judge);
        let waiting = async {
            loop {
                tokio::select! {
                    ended = wait.run(true) => return Ok(ended),
                    news = work.changed() => if news.any(NEWER) { return Err(()) },
                }
            }
        };
        let ended = slot.parked(tokio::time::timeout(timeout.0, waiting)).await;
        let took = fluvial_api::Duration(super::round(started.elapsed()));
        run.facts.health_took = Some(took.0);
        let failed = |report: String| {
            Failure::retry(
                HEALTH_CHECK_FAILED,
                format!("{HEALTH_CHECK_AFTER}{took}: {report}"),
            )
        };
        let result = match ended {
            Ok(Ok(Ended::Current)) => {
                let text = format!("Health check passed in {took}");
                self.tell(object, &run.facts, Severity::Info, &text, None);
                Ok(())
            }
            Ok(Ok(Ended::Failed)) => Err(failed(wait.report(false))),
            Ok(Err(())) => Err(Failure::new(
                Class::Superseded,
                HEALTH_CHECK_CANCELED,
                "New reconciliation triggered, health checks canceled",
            )),
            Err(_elapsed) => Err(failed(wait.report(true))),
        };
        if result.is_err() {
            run.unhealthy = Some(wait);
        }
        result
    }

    /// What is not healthy yet of that which is checked.
    async fn awaited(
        &self,
        object: &Kustomization,
        cluster: &dyn Cluster,
        judge: &Judge,
        seen: Vec<Awaited>,
    ) -> Result<Vec<Awaited>, Failure> {
        let is_self = |id: &ObjectId| {
            id.kind == "Kustomization"
                && id.group == "kustomize.toolkit.fluxcd.io"
                && id.name == object.metadata.name
                && id.namespace == object.metadata.namespace
        };
        if object.spec.wait {
            let open = |object: &Awaited| object.health.status != Status::Current && !is_self(&object.id);
            return Ok(seen.into_iter().filter(open).collect());
        }
        let mut awaited = Vec::new();
        for check in &object.spec.health_checks {
            let api_version = check
                .api_version
                .as_deref()
                .filter(|version| !version.is_empty())
                .unwrap_or("apps/v1");
            let reference = serde_json::json!({"apiVersion": api_version, "kind": check.kind,
                "metadata": {"name": check.name, "namespace": check.namespace}});
            let id = reference.id();
            let failed = |error: fluvial_ports::ClusterError| {
                Failure::retry(
                    HEALTH_CHECK_FAILED,
                    format!("health check of {} failed: {error}", reference.id()),
                )
            };
            let resource = cluster.resource(api_version, &check.kind).await.map_err(failed)?;
            let found = look(cluster, judge, id, resource).await.map_err(failed)?;
            if found.health.status != Status::Current && !is_self(&found.id) {
                awaited.push(found);
            }
        }
        Ok(awaited)
    }
}

/// The other cluster has no client.
#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn unreached(error: RemoteError) -> Failure {
    Failure::retry(
        RECONCILIATION_FAILED,
        format!("failed to build kube client: {}", error.message()),
    )
}

fn superseded(text: &str) -> Failure {
    Failure::new(Class::Superseded, RECONCILIATION_FAILED, text)
}
