//! The actions of Helm: install, upgrade, roll back, uninstall, test. Each stores what it is about to do before it does
//! it, and how it ended after; killed in between, it is taken up as a failure.

use std::sync::Arc;

use fluvial_api::HelmRelease;
use fluvial_api::helm::TestHookStatus;
use fluvial_helm::release::{
    History, Info, Object, Phase, Status, Stored, objects_of, record_chart, uninstall_order,
};
use fluvial_helm::{Capabilities, Chart};
use fluvial_ports::{Clock, Cluster};
use serde_json::Value;

use super::crds;
use super::hooks::Moment;
use super::names::{self, Action, Manner};
use super::objects::{Hands, Placed, Trouble, Waits, awaited};
use super::render::{self, Live, Recipe};
use super::storage::Storage;
use crate::Aside;

/// Everything that the actions of a run work with.
pub(crate) struct Engine<'a> {
    /// Whose release it is.
    pub(crate) object: &'a Arc<HelmRelease>,
    /// Acts on objects.
    pub(crate) hands: Hands<'a>,
    /// Keeps versions.
    pub(crate) storage: Storage<'a>,
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// The cluster, as the identity that applies.
    pub(crate) cluster: Arc<dyn Cluster>,
    /// The processors.
    pub(crate) aside: &'a Aside,
}

/// What is released.
pub(crate) struct Wanted {
    /// The chart.
    pub(crate) chart: Arc<Chart>,
    /// Its version, with the digest of its source where there is one.
    pub(crate) version: String,
    /// The user's values.
    pub(crate) values: Value,
    /// What the cluster can do.
    pub(crate) capabilities: Capabilities,
}

/// What an action came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Versions that were written, as they are now, newest first.
    pub(crate) written: Vec<Stored>,
    /// Why it failed.
    pub(crate) trouble: Option<Trouble>,
    /// Definitions that were applied.
    pub(crate) definitions: Vec<Placed>,
}

impl Outcome {
    fn failed(mut self, trouble: Trouble) -> Self {
        self.trouble = Some(trouble);
        self
    }

    fn wrote(&mut self, stored: &Stored) {
        match self
            .written
            .iter_mut()
            .find(|known| known.version == stored.version)
        {
            Some(known) => *known = stored.clone(),
            None => self.written.push(stored.clone()),
        }
        self.written
            .sort_by_key(|stored| std::cmp::Reverse(stored.version));
    }
}

/// A change of what is in the cluster from one version to the next.
struct Change<'c> {
    manner: Manner,
    before: &'c [Object],
    before_server_side: bool,
    pre: Phase,
    post: Phase,
    limit: tokio::time::Instant,
}

impl Engine<'_> {
    /// Renders on a thread that may block.
    async fn render(
        &self,
        wanted: &Wanted,
        manner: &Manner,
        version: i64,
        upgrade: bool,
    ) -> Result<render::Made, Trouble> {
        let recipe = Recipe {
            object: Arc::clone(self.object),
            chart: Arc::clone(&wanted.chart),
            values: wanted.values.clone(),
            release: fluvial_helm::Release {
                name: self.hands.release.to_owned(),
                namespace: self.hands.namespace.to_owned(),
                revision: version,
                is_upgrade: upgrade,
            },
            capabilities: wanted.capabilities.clone(),
            check_schema: manner.check_schema,
            clock: Arc::clone(&self.clock),
            lookup: Arc::new(Live {
                cluster: Arc::clone(&self.cluster),
                runtime: tokio::runtime::Handle::current(),
            }),
        };
        let made = match self.aside.run(move || render::make(&recipe)).await {
            Ok(made) => made.map_err(Trouble::from)?,
            // The process is ending: nothing may be concluded from that.
            Err(error) if error.is_cancelled() => std::future::pending().await,
            Err(_panic) => {
                return Err(Trouble::from(
                    "rendering crashed; this is a bug, please report it with the chart and its values"
                        .to_owned(),
                ));
            }
        };
        for warning in &made.warnings {
            tracing::warn!(release = self.hands.release, "{warning}");
        }
        Ok(made)
    }

    fn now(&self) -> String {
        self.clock.now().to_string()
    }

    /// The version that an action is about to make.
    fn begun(
        &self,
        wanted: &Wanted,
        made: render::Made,
        manner: &Manner,
        history: &History,
        status: Status,
    ) -> Stored {
        let now = self.now();
        let first = history.last().map(|last| last.info.first_deployed.clone());
        let chart = record_chart(&wanted.chart, &wanted.version);
        Stored {
            name: self.hands.release.to_owned(),
            namespace: self.hands.namespace.to_owned(),
            version: history.next_version(),
            info: Info {
                first_deployed: first
                    .filter(|first| !first.is_empty())
                    .unwrap_or_else(|| now.clone()),
                last_deployed: now,
                status,
                notes: made.notes,
                ..Info::default()
            },
            chart,
            config: wanted
                .values
                .as_object()
                .filter(|values| !values.is_empty())
                .cloned(),
            manifest: made.manifest,
            hooks: made.hooks,
            apply_method: method(manner.server_side).to_owned(),
            labels: std::collections::BTreeMap::new(),
            made_for: self.object.metadata.uid.clone(),
        }
    }

    /// Installs.
    pub(crate) async fn install(
        &self,
        wanted: &Wanted,
        history: &mut History,
        waits: &mut Waits<'_>,
    ) -> Outcome {
        let manner = names::manner(self.object, Action::Install, true);
        let limit = tokio::time::Instant::now() + manner.timeout;
        let mut outcome = Outcome::default();
        if let Err(trouble) = self.check_name(history) {
            return outcome.failed(trouble);
        }
        if let Err(trouble) = self
            .definitions(wanted, &manner, limit, waits, &mut outcome)
            .await
        {
            return outcome.failed(trouble);
        }
        if let Err(trouble) = self.create_namespace().await {
            return outcome.failed(trouble);
        }
        let made = match self.render(wanted, &manner, history.next_version(), false).await {
            Ok(made) => made,
            Err(trouble) => return outcome.failed(trouble),
        };
        let mut release = self.begun(wanted, made, &manner, history, Status::PendingInstall);
        release
            .info
            .first_deployed
            .clone_from(&release.info.last_deployed);
        release.info.description = "Initial install underway".to_owned();
        let change = Change {
            manner,
            before: &[],
            before_server_side: true,
            pre: Phase::PreInstall,
            post: Phase::PostInstall,
            limit,
        };
        self.carry_out(release, &change, history, waits, "install", outcome)
            .await
    }

    /// Whether the name is free: the record of an uninstalled release keeps it, unless it may be replaced.
    fn check_name(&self, history: &History) -> Result<(), Trouble> {
        let replace = self
            .object
            .spec
            .install
            .as_ref()
            .is_some_and(|install| install.replace);
        match history.last() {
            Some(last) if !replace => Err(Trouble::from(format!(
                "cannot re-use a name that is still in use: the record of uninstalled release {}.v{} was kept; set \
                 spec.install.replace, or uninstall without keepHistory",
                last.name, last.version
            ))),
            _ => Ok(()),
        }
    }

    /// Upgrades what is deployed, or what was tried last.
    pub(crate) async fn upgrade(
        &self,
        wanted: &Wanted,
        history: &mut History,
        waits: &mut Waits<'_>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(current) = history.current().cloned() else {
            return outcome.failed(Trouble::from(format!(
                "\"{}\" has no deployed releases",
                self.hands.release
            )));
        };
        let manner = names::manner(self.object, Action::Upgrade, current.is_server_side());
        let limit = tokio::time::Instant::now() + manner.timeout;
        if let Err(trouble) = self
            .definitions(wanted, &manner, limit, waits, &mut outcome)
            .await
        {
            return outcome.failed(trouble);
        }
        let made = match self.render(wanted, &manner, history.next_version(), true).await {
            Ok(made) => made,
            Err(trouble) => return outcome.failed(trouble),
        };
        let before = match self.standing(history, &current) {
            Ok(before) => before,
            Err(trouble) => return outcome.failed(trouble),
        };
        let mut release = self.begun(wanted, made, &manner, history, Status::PendingUpgrade);
        release.labels.clone_from(&current.labels);
        release.info.description = "Preparing upgrade".to_owned();
        let change = Change {
            manner,
            before: &before,
            before_server_side: current.is_server_side(),
            pre: Phase::PreUpgrade,
            post: Phase::PostUpgrade,
            limit,
        };
        self.carry_out(release, &change, history, waits, "upgrade", outcome)
            .await
    }

    /// What may be in the cluster: of the version that is deployed, and of those that failed after it.
    fn standing(&self, history: &History, current: &Stored) -> Result<Vec<Object>, Trouble> {
        let mut all = read(current)?;
        for later in history
            .all()
            .iter()
            .filter(|later| later.version > current.version)
        {
            for one in read(later)? {
                if !all
                    .iter()
                    .any(|known| super::objects::same_object(&known.object, &one.object))
                {
                    all.push(one);
                }
            }
        }
        Ok(all)
    }

    /// Rolls back to a version, by a new version that is like it.
    pub(crate) async fn rollback(
        &self,
        version: i64,
        history: &mut History,
        waits: &mut Waits<'_>,
    ) -> Outcome {
        let outcome = Outcome::default();
        let (Some(target), Some(current)) = (history.get(version).cloned(), history.last().cloned()) else {
            return outcome.failed(Trouble::from(format!("release has no {version} version")));
        };
        let manner = names::manner(self.object, Action::Rollback, target.is_server_side());
        let spec = self.object.spec.rollback.as_ref();
        if spec.is_some_and(|rollback| rollback.recreate) {
            tracing::warn!(
                release = self.hands.release,
                "spec.rollback.recreate has no effect since Helm 4"
            );
        }
        let limit = tokio::time::Instant::now() + manner.timeout;
        let deployed = history.deployed().cloned().unwrap_or_else(|| current.clone());
        let before = match self.standing(history, &deployed) {
            Ok(before) => before,
            Err(trouble) => return outcome.failed(trouble),
        };
        let mut release = Stored {
            version: history.next_version(),
            info: Info {
                first_deployed: current.info.first_deployed.clone(),
                last_deployed: self.now(),
                deleted: String::new(),
                description: format!("{}{version}", super::state::ROLLBACK),
                status: Status::PendingRollback,
                notes: target.info.notes.clone(),
            },
            apply_method: method(manner.server_side).to_owned(),
            made_for: self.object.metadata.uid.clone(),
            ..target
        };
        for hook in &mut release.hooks {
            hook.last_run = fluvial_helm::release::HookRun::default();
        }
        let change = Change {
            manner,
            before: &before,
            before_server_side: current.is_server_side(),
            pre: Phase::PreRollback,
            post: Phase::PostRollback,
            limit,
        };
        self.carry_out(release, &change, history, waits, "rollback", outcome)
            .await
    }

    /// Stores a version, makes the cluster match it, and stores how that ended.
    async fn carry_out(
        &self,
        mut release: Stored,
        change: &Change<'_>,
        history: &mut History,
        waits: &mut Waits<'_>,
        verb: &str,
        mut outcome: Outcome,
    ) -> Outcome {
        let objects = match self.prepare(&release, change, verb).await {
            Ok(objects) => objects,
            Err(trouble) => return outcome.failed(trouble),
        };
        let max = names::max_history(self.object);
        if let Err(error) = self.storage.create(history, &release, max).await {
            return outcome.failed(Trouble::from(error));
        }
        outcome.wrote(&release);
        let mut created = Vec::new();
        let result = self
            .change(&mut release, &objects, change, waits, &mut created)
            .await;
        if let Err(trouble) = result {
            let text = match verb {
                "upgrade" => format!("Upgrade \"{}\" failed: {}", release.name, trouble.text),
                "rollback" => format!("Rollback \"{}\" failed: {}", release.name, trouble.text),
                _ => format!("Release \"{}\" failed: {}", release.name, trouble.text),
            };
            release.set_status(Status::Failed, text);
            if change.manner.cleanup && !change.before.is_empty() {
                self.clean_up(&created, change, waits).await;
            }
            return self.store_end(release, history, outcome, Some(trouble)).await;
        }
        let description = match verb {
            "install" => "Install complete".to_owned(),
            "upgrade" => "Upgrade complete".to_owned(),
            _ => release.info.description.clone(),
        };
        release.set_status(Status::Deployed, description);
        // First what was deployed before: of two that say so, the newer one counts.
        outcome = self.store_end(release, history, outcome, None).await;
        if outcome.trouble.is_none()
            && let Err(error) = self.supersede(history, &mut outcome).await
        {
            tracing::warn!("an older version could not be marked as superseded: {error}");
        }
        outcome
    }

    async fn store_end(
        &self,
        release: Stored,
        history: &mut History,
        mut outcome: Outcome,
        trouble: Option<Trouble>,
    ) -> Outcome {
        let stored = self.storage.update(history, &release).await;
        outcome.trouble = trouble;
        match stored {
            Ok(()) => outcome.wrote(&release),
            Err(error) if outcome.trouble.is_none() => outcome.trouble = Some(Trouble::from(error)),
            Err(error) => tracing::warn!("the failure of a release could not be stored: {error}"),
        }
        outcome
    }

    /// Sees to it that one version at most is deployed; nothing is written if it is so.
    pub(crate) async fn settle(&self, history: &mut History) -> Outcome {
        let mut outcome = Outcome::default();
        if let Err(error) = self.supersede(history, &mut outcome).await {
            outcome.trouble = Some(Trouble::from(error));
        }
        outcome
    }

    /// Marks all deployed versions but the newest one, and an uninstalled one whose name was taken again.
    async fn supersede(&self, history: &mut History, outcome: &mut Outcome) -> Result<(), String> {
        let newest = history.deployed().map(|release| release.version);
        let before = newest.map(|version| version - 1);
        let older: Vec<Stored> = history
            .all()
            .iter()
            .filter(|release| match release.info.status {
                Status::Deployed => Some(release.version) != newest,
                Status::Uninstalled => Some(release.version) == before,
                _ => false,
            })
            .cloned()
            .collect();
        for mut release in older {
            if release.info.status == Status::Uninstalled {
                "superseded by new release".clone_into(&mut release.info.description);
            }
            release.info.status = Status::Superseded;
            self.storage.update(history, &release).await?;
            outcome.wrote(&release);
        }
        Ok(())
    }

    /// What can be told before anything is stored.
    async fn prepare(
        &self,
        release: &Stored,
        change: &Change<'_>,
        verb: &str,
    ) -> Result<Vec<Object>, Trouble> {
        let objects = read(release)?;
        self.hands.check_kinds(&objects).await?;
        if !change.manner.take_ownership {
            let new: Vec<Object> = objects
                .iter()
                .filter(|one| {
                    !change
                        .before
                        .iter()
                        .any(|old| super::objects::same_object(&old.object, &one.object))
                })
                .cloned()
                .collect();
            self.hands.check_owners(&new, verb).await?;
        }
        Ok(objects)
    }

    /// Hooks, objects, removal of what is no longer wanted, health, hooks.
    async fn change(
        &self,
        release: &mut Stored,
        objects: &[Object],
        change: &Change<'_>,
        waits: &mut Waits<'_>,
        created: &mut Vec<Placed>,
    ) -> Result<(), Trouble> {
        let manner = &change.manner;
        let clock = &*self.clock;
        if manner.hooks {
            self.hands
                .run_hooks(release, moment(change.pre, change.limit), manner, clock, waits)
                .await
                .map_err(|trouble| trouble.context(failed_hooks(change.pre)))?;
        }
        if manner.server_side && !change.before_server_side {
            self.hands.take_over(objects).await?;
        }
        let mut applied = Vec::new();
        self.hands
            .apply(objects, change.before, manner, &mut applied, created)
            .await?;
        let mut gone: Vec<Object> = change
            .before
            .iter()
            .filter(|old| {
                !objects
                    .iter()
                    .any(|one| super::objects::same_object(&old.object, &one.object))
            })
            .cloned()
            .collect();
        uninstall_order(&mut gone);
        let (_, errors) = self
            .hands
            .delete(&gone, fluvial_ports::Propagation::Background)
            .await;
        if !errors.is_empty() {
            return Err(Trouble::from(errors.join("; ")));
        }
        self.hands
            .wait(awaited(applied, manner), change.limit, waits)
            .await?;
        if manner.hooks {
            self.hands
                .run_hooks(release, moment(change.post, change.limit), manner, clock, waits)
                .await
                .map_err(|trouble| trouble.context(failed_hooks(change.post)))?;
        }
        Ok(())
    }

    /// Deletes what a failed action had made.
    async fn clean_up(&self, created: &[Placed], change: &Change<'_>, waits: &mut Waits<'_>) {
        let objects: Vec<Object> = created
            .iter()
            .map(|placed| Object {
                source: String::new(),
                object: placed.object.clone(),
            })
            .collect();
        let (going, errors) = self
            .hands
            .delete(&objects, fluvial_ports::Propagation::Background)
            .await;
        for error in errors {
            tracing::warn!("cleaning up after a failed release: {error}");
        }
        if let Err(trouble) = self.hands.wait_gone(&going, change.limit, waits).await {
            tracing::warn!("cleaning up after a failed release: {}", trouble.text);
        }
    }

    /// Uninstalls. `keep` leaves the record.
    pub(crate) async fn uninstall(
        &self,
        keep: bool,
        history: &mut History,
        waits: &mut Waits<'_>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(mut release) = history.last().cloned() else {
            return outcome;
        };
        let manner = names::manner(self.object, Action::Uninstall, release.is_server_side());
        let limit = tokio::time::Instant::now() + manner.timeout;
        if release.info.status != Status::Uninstalled {
            release.set_status(Status::Uninstalling, "Deletion in progress (or silently failed)");
            release.info.deleted = self.now();
            if let Err(error) = self.storage.update(history, &release).await {
                return outcome.failed(Trouble::from(error));
            }
            outcome.wrote(&release);
            if let Err(trouble) = self.remove(&mut release, history, &manner, limit, waits).await {
                release.set_status(Status::Failed, format!("uninstallation failed: {}", trouble.text));
                return self.store_end(release, history, outcome, Some(trouble)).await;
            }
            release.set_status(Status::Uninstalled, "Uninstallation complete");
        }
        if keep {
            return self.store_end(release, history, outcome, None).await;
        }
        let versions: Vec<i64> = history.all().iter().map(|stored| stored.version).collect();
        for version in versions {
            if let Err(error) = self.storage.forget(version).await {
                return outcome.failed(Trouble::from(error));
            }
            history.remove(version);
        }
        outcome.wrote(&release);
        outcome
    }

    async fn remove(
        &self,
        release: &mut Stored,
        history: &History,
        manner: &Manner,
        limit: tokio::time::Instant,
        waits: &mut Waits<'_>,
    ) -> Result<(), Trouble> {
        if manner.hooks {
            self.hands
                .run_hooks(
                    release,
                    moment(Phase::PreDelete, limit),
                    manner,
                    &*self.clock,
                    waits,
                )
                .await
                .map_err(|trouble| trouble.context("failed pre-delete"))?;
        }
        // An upgrade that failed half-way may have left objects of the version before.
        let mut objects = match history.deployed() {
            Some(deployed) => self.standing(history, deployed)?,
            None => read(release)?,
        };
        uninstall_order(&mut objects);
        let (going, errors) = self.hands.delete(&objects, manner.propagation).await;
        if !errors.is_empty() {
            return Err(Trouble::from(format!(
                "failed to delete release: {}: {}",
                release.name,
                errors.join("; ")
            )));
        }
        if manner.wait {
            self.hands.wait_gone(&going, limit, waits).await?;
        }
        if manner.hooks {
            self.hands
                .run_hooks(
                    release,
                    moment(Phase::PostDelete, limit),
                    manner,
                    &*self.clock,
                    waits,
                )
                .await
                .map_err(|trouble| trouble.context("failed post-delete"))?;
        }
        Ok(())
    }

    /// Runs the tests of the last version.
    pub(crate) async fn test(&self, history: &mut History, waits: &mut Waits<'_>) -> Outcome {
        let outcome = Outcome::default();
        let Some(mut release) = history.last().cloned() else {
            return outcome.failed(Trouble::from("release: not found".to_owned()));
        };
        let manner = names::manner(self.object, Action::Test, release.is_server_side());
        let limit = tokio::time::Instant::now() + manner.timeout;
        let filters = self.object.spec.test.iter().flat_map(|test| &test.filters);
        let (mut only, mut without) = (Vec::new(), Vec::new());
        for filter in filters {
            if filter.exclude {
                without.push(filter.name.as_str());
            } else {
                only.push(filter.name.as_str());
            }
        }
        let wanted = |name: &str| !without.contains(&name) && (only.is_empty() || only.contains(&name));
        let tests = Moment {
            only: Some(&wanted),
            ..moment(Phase::Test, limit)
        };
        let result = self
            .hands
            .run_hooks(&mut release, tests, &manner, &*self.clock, waits)
            .await;
        self.store_end(release, history, outcome, result.err()).await
    }

    /// Marks a version whose action was cut off as failed.
    pub(crate) async fn unlock(&self, history: &mut History) -> Outcome {
        let outcome = Outcome::default();
        let Some(mut release) = history.last().cloned() else {
            return outcome;
        };
        let text = format!("Release unlocked from stale '{}' state", release.info.status);
        release.set_status(Status::Failed, text);
        self.store_end(release, history, outcome, None).await
    }

    /// Applies the definitions of `crds/`.
    async fn definitions(
        &self,
        wanted: &Wanted,
        manner: &Manner,
        limit: tokio::time::Instant,
        waits: &mut Waits<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), Trouble> {
        outcome.definitions = crds::apply(
            &self.hands,
            self.object,
            &wanted.chart,
            &wanted.values,
            manner,
            limit,
            waits,
        )
        .await?;
        Ok(())
    }

    /// Makes the namespace of the release, if the spec says so and it is not there.
    async fn create_namespace(&self) -> Result<(), Trouble> {
        let spec = &self.object.spec;
        let wanted = spec
            .install
            .as_ref()
            .is_some_and(|install| install.create_namespace);
        let Some(name) = spec
            .target_namespace
            .as_ref()
            .filter(|name| wanted && !name.is_empty())
        else {
            return Ok(());
        };
        let object = serde_json::json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {"name": name}}});
        self.hands.create_if_absent(&object).await
    }
}

fn moment<'f>(phase: Phase, limit: tokio::time::Instant) -> Moment<'f> {
    Moment {
        phase,
        limit,
        only: None,
    }
}

fn method(server_side: bool) -> &'static str {
    if server_side { "ssa" } else { "csa" }
}

fn failed_hooks(phase: Phase) -> &'static str {
    match phase {
        Phase::PreInstall => "failed pre-install",
        Phase::PostInstall => "failed post-install",
        Phase::PreUpgrade => "pre-upgrade hooks failed",
        Phase::PostUpgrade => "post-upgrade hooks failed",
        Phase::PreRollback => "pre-rollback hooks failed",
        Phase::PostRollback => "post-rollback hooks failed",
        Phase::PreDelete => "failed pre-delete",
        Phase::PostDelete => "failed post-delete",
        Phase::Test => "test hooks failed",
    }
}

/// The objects of a stored version.
pub(crate) fn read(release: &Stored) -> Result<Vec<Object>, Trouble> {
    objects_of(&release.manifest).map_err(|error| {
        Trouble::from(format!(
            "unable to build kubernetes objects from the manifest of version {}: {error}",
            release.version
        ))
    })
}

/// How the tests of a release ended, by name.
pub(crate) fn tests_of(release: &Stored) -> std::collections::BTreeMap<String, TestHookStatus> {
    let filled = |text: &str| {
        let time = fluvial_object::time::parse(text).ok()?;
        Some(fluvial_object::time::format(time))
    };
    release
        .hooks
        .iter()
        .filter(|hook| hook.is_for("test"))
        .map(|hook| {
            let run = &hook.last_run;
            let status = TestHookStatus {
                last_started: filled(&run.started_at),
                last_completed: filled(&run.completed_at),
                phase: (!run.phase.is_empty()).then(|| run.phase.clone()),
            };
            (hook.name.clone(), status)
        })
        .collect()
}
