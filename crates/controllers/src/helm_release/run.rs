//! One run of a HelmRelease: what it needs, then action after action until the release is as wanted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fluvial_api::HelmRelease;
use fluvial_api::helm::{DriftMode, HelmReleaseStatus};
use fluvial_api::keys::SPLIT_STORAGE;
use fluvial_delivery::inventory::{Entry, Inventory};
use fluvial_helm::release::{History, Status, config_digest, go_digest};
use fluvial_ports::Severity;
use serde_json::Value;

use super::actions::{self, Engine, Wanted};
use super::chart::Loaded;
use super::names::{self, Action, Names};
use super::objects::{Hands, Placed, Waits};
use super::report::{self, News, Report, told};
use super::state::{self, Desired, Next, State};
use super::step::{self, DRIFTED, REST_CLIENT_ERROR, STATE_ERROR, VALUES_ERROR};
use super::storage::Storage;
use super::{End, HelmReleases, drift, progress, values_of};
use crate::condition::{self, Conditions};
use crate::deliverer::depends;
use crate::deliverer::failure::{Class, Failure, INVALID_IGNORE};
use crate::kustomization::health::Judge;
use crate::queue::{Reasons, Work};
use crate::runner::Slot;
use crate::{Key, deliverer};

/// What a run has gathered before it looks at the release.
pub(super) struct Inputs {
    names: Names,
    loaded: Loaded,
    values: Value,
    desired: Desired,
    judge: Judge,
}

/// Where a run stands.
pub(super) struct Course {
    history: History,
    pub(super) done: Vec<Kind>,
    forced: bool,
}

/// Actions of one kind are done once a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Release,
    Test,
    Remedy,
    Unlock,
}

fn kind(action: Action) -> Kind {
    match action {
        Action::Install | Action::Upgrade => Kind::Release,
        Action::Test => Kind::Test,
        Action::Rollback | Action::Uninstall => Kind::Remedy,
        Action::Unlock => Kind::Unlock,
    }
}

impl HelmReleases {
    /// Makes the release what the object asks for.
    pub(super) async fn release(
        &self,
        key: &Key,
        object: &mut Arc<HelmRelease>,
        status: &mut HelmReleaseStatus,
        work: &mut Work<Key>,
        slot: &mut Slot,
    ) -> Result<End, Failure> {
        // What can never work is said before anything is waited for.
        let ready = depends::expressions(&**object)?;
        let rules = drift::rules(object).map_err(|error| Failure::stalled(INVALID_IGNORE, error))?;
        let judge = Judge::with(Arc::clone(&self.context.clock), &object.spec.health_check_exprs)
            .map_err(Failure::expression)?;
        status.helm_chart = self.keep_chart(object).await?;
        let inputs = match self.inputs(object, &ready, judge).await {
            Ok(inputs) => inputs,
            Err(failure) => return Self::patience(object, work, slot, failure).await,
        };
        self.wakes.wait_for_kinds(key, Vec::new());
        let cluster = deliverer::cluster_of(&self.context, &**object)
            .await
            .map_err(|error| Failure::retry(REST_CLIENT_ERROR, error.message()))?;
        if let Some(why) = state::target_changed(object, status, &inputs.names, inputs.loaded.chart.name()) {
            tracing::info!(%key, "release target configuration changed ({why}): the current release is uninstalled");
            self.uninstall_current(object, status, &inputs.judge, cluster, work, slot)
                .await?;
            return Ok(End::Again);
        }
        status.storage_namespace = Some(inputs.names.storage.clone());
        self.attempt(key, object, status, &inputs, work.reasons())?;
        let shared = Arc::clone(object);
        let engine = self.engine(&shared, &inputs.names, inputs.judge.clone(), cluster);
        let history = engine.storage.history().await.map_err(|error| {
            Failure::retry(STATE_ERROR, format!("Could not determine release state: {error}"))
        })?;
        let history = self.catch_up(object, status, &inputs, &engine, history).await?;
        let mut course = Course {
            history,
            done: Vec::new(),
            forced: step::is_forced(object),
        };
        let generation = object.metadata.generation;
        let newer = || {
            self.feed
                .store()
                .get(key)
                .is_none_or(|now| now.metadata.generation != generation || now.metadata.is_deleting())
        };
        let mut waits = Waits {
            work,
            slot,
            newer: Some(&newer),
        };
        loop {
            let next = self
                .next(object, status, &inputs, &engine, &rules, &mut course)
                .await?;
            let action = match next {
                Step::Over(result) => return result,
                Step::Do(action) => action,
            };
            if course.done.contains(&kind(action)) {
                return self.stop(object, status);
            }
            let late = self.announce(object, status, &inputs, action, &course).await?;
            let act = self.act(
                key,
                object,
                status,
                &inputs,
                &engine,
                &mut course,
                action,
                &mut waits,
            );
            let (result, written) = progress::both(act, late).await;
            if let Some(written) = written {
                // What is done is done for this spec, whatever it is by now.
                Arc::make_mut(object).status = written.status.clone();
            }
            result?;
            if kind(action) == Kind::Remedy {
                return self.stop_after_remedy(object, status);
            }
            course.done.push(kind(action));
        }
    }

    /// Takes down what is attempted, unless that has been put off.
    fn attempt(
        &self,
        key: &Key,
        object: &HelmRelease,
        status: &mut HelmReleaseStatus,
        inputs: &Inputs,
        reasons: Reasons,
    ) -> Result<(), Failure> {
        if step::is_reset(object) || state::must_reset(object, status, &inputs.desired) {
            state::clear_failures(status);
        } else if let Some(left) = self.tries.left(key)
            && !reasons.any(Reasons::REQUESTED)
        {
            // Nothing that counts has changed since.
            return Err(put_off(status, left));
        }
        status.last_attempted_generation = object.metadata.generation;
        status.last_attempted_revision = Some(inputs.desired.chart_version.clone());
        status.last_attempted_revision_digest =
            Some(inputs.loaded.digest.clone()).filter(|digest| !digest.is_empty());
        status.last_attempted_config_digest = Some(inputs.desired.config_digest.clone());
        status.last_attempted_values_checksum = None;
        status.last_release_revision = 0;
        Ok(())
    }

    /// Takes in what was stored for this object without a status telling of it, and ends what a kill has cut off there.
    async fn catch_up(
        &self,
        object: &HelmRelease,
        status: &mut HelmReleaseStatus,
        inputs: &Inputs,
        engine: &Engine<'_>,
        mut history: History,
    ) -> Result<History, Failure> {
        let digest = &inputs.loaded.digest;
        let caught = state::catch_up(status, &history, &object.metadata.uid, digest);
        let outcome = engine.settle(&mut history).await;
        for stored in &outcome.written {
            state::mark(&mut status.history, stored);
        }
        if let Some(trouble) = outcome.trouble {
            return Err(Failure::retry(STATE_ERROR, trouble.text));
        }
        if let Some(version) = caught
            && let Some(target) = status.history.iter().find(|known| known.version == version)
        {
            let target = target.clone();
            // Nobody waits for the event any more.
            let mut report = self.report(object, status, inputs);
            let (_news, result) = report.rolled_back(&target, &actions::Outcome::default());
            result?;
        }
        Ok(history)
    }

    /// What a run needs: dependencies, chart, values.
    async fn inputs(
        &self,
        object: &HelmRelease,
        ready: &[Option<fluvial_delivery::expr::Expression>],
        judge: Judge,
    ) -> Result<Inputs, Failure> {
        depends::check(
            object,
            |node| self.peers.find(node),
            self.context.settings.additive_ready_expr,
            ready,
            |_name, _found| Ok(()),
        )?;
        let source = self.source(object).await?;
        let values = values_of(&*self.context.cluster, object)
            .await
            .map_err(|error| Failure::retry(VALUES_ERROR, error))?;
        let loaded = self.load(&source).await?;
        let spec = &object.spec;
        let desired = Desired {
            chart_name: loaded.chart.name().to_owned(),
            chart_version: loaded.version.clone(),
            config_digest: config_digest(&values),
            app_version: Some(loaded.chart.metadata.app_version.clone())
                .filter(|version| !version.is_empty()),
            post_renderers: (!spec.post_renderers.is_empty()).then(|| go_digest(&spec.post_renderers)),
            common_metadata: spec.common_metadata.as_ref().map(go_digest),
        };
        Ok(Inputs {
            names: Names::of(object),
            loaded,
            values,
            desired,
            judge,
        })
    }

    /// What actions are done with.
    pub(super) fn engine<'a>(
        &'a self,
        object: &'a Arc<HelmRelease>,
        names: &'a Names,
        judge: Judge,
        cluster: Arc<dyn fluvial_ports::Cluster>,
    ) -> Engine<'a> {
        Engine {
            object,
            hands: Hands {
                cluster: Arc::clone(&cluster),
                release: &names.release,
                namespace: &names.namespace,
                judge,
                concurrent: self.context.settings.concurrent_requests,
                metrics: &self.context.metrics,
                schemas: &self.schemas,
                taken_over: &self.taken_over,
            },
            storage: Storage {
                cluster: Arc::clone(&cluster),
                namespace: &names.storage,
                release: &names.release,
                clock: &*self.context.clock,
                metrics: &self.context.metrics,
                split: object
                    .metadata
                    .annotation(SPLIT_STORAGE)
                    .is_some_and(|value| value.eq_ignore_ascii_case("enabled")),
                parts: Mutex::default(),
            },
            clock: Arc::clone(&self.context.clock),
            cluster,
            aside: &self.context.aside,
        }
    }

    /// What is to be done next.
    async fn next(
        &self,
        object: &Arc<HelmRelease>,
        status: &mut HelmReleaseStatus,
        inputs: &Inputs,
        engine: &Engine<'_>,
        rules: &fluvial_delivery::ignore::IgnoreRules,
        course: &mut Course,
    ) -> Result<Step, Failure> {
        let desired = effective(object, inputs, &course.history);
        let state = state::determine(object, status, &course.history, &desired).map_err(|error| {
            Failure::retry(STATE_ERROR, format!("Could not determine release state: {error}"))
        })?;
        let next = state::next(object, status, &course.history, &state, course.forced);
        match state {
            // Nothing that was observed before can be relied on.
            State::Unmanaged => status.history.clear(),
            State::InSync | State::Failed => state::forget_older(object, status, &state, &next),
            // What was rolled back to is what is wanted now.
            State::Untested => self.report(object, status, inputs).settle(),
            _ => {}
        }
        match next {
            Next::Do(action) => Ok(Step::Do(action)),
            Next::Stall(reason, message) => Ok(Step::Over(Err(Failure {
                told: condition::get(&status.conditions, condition::READY).is_some(),
                ..Failure::stalled(reason, message)
            }))),
            Next::Rest => {
                self.detect(object, status, inputs, engine, rules, course).await?;
                self.rest(object, status, inputs, engine, course).await;
                Ok(Step::Over(Ok(End::Done)))
            }
        }
    }

    /// The release is as wanted.
    async fn rest(
        &self,
        object: &Arc<HelmRelease>,
        status: &mut HelmReleaseStatus,
        inputs: &Inputs,
        engine: &Engine<'_>,
        course: &Course,
    ) {
        observe(status, &inputs.desired);
        if status.inventory.is_none() && self.keeps_inventory(&Key::of(&object.metadata)) {
            self.take_inventory(status, engine, &course.history, &[]).await;
        }
        let mut report = self.report(object, status, inputs);
        report.settle();
        report.summarize();
    }

    pub(super) fn report<'r>(
        &self,
        object: &'r HelmRelease,
        status: &'r mut HelmReleaseStatus,
        inputs: &'r Inputs,
    ) -> Report<'r> {
        Report {
            object,
            status,
            desired: &inputs.desired,
            names: &inputs.names,
            now: self.context.clock.now(),
        }
    }

    /// Does one thing and takes down what came of it.
    #[expect(
        clippy::too_many_arguments,
        reason = "one straight line cut in two for its length"
    )]
    async fn act(
        &self,
        key: &Key,
        object: &Arc<HelmRelease>,
        status: &mut HelmReleaseStatus,
        inputs: &Inputs,
        engine: &Engine<'_>,
        course: &mut Course,
        action: Action,
        waits: &mut Waits<'_>,
    ) -> Result<(), Failure> {
        let started = tokio::time::Instant::now();
        let history = &mut course.history;
        let was = history.last().map_or(Status::Unknown, |last| last.info.status);
        let mut target = None;
        let outcome = match action {
            Action::Install | Action::Upgrade => {
                course.forced = false;
                status.last_attempted_release_action = Some(action.as_str().to_owned());
                match self.wanted(object, inputs, engine, history).await {
                    Ok(wanted) if action == Action::Install => engine.install(&wanted, history, waits).await,
                    Ok(wanted) => engine.upgrade(&wanted, history, waits).await,
                    Err(failure) => return Err(failure),
                }
            }
            Action::Test => engine.test(history, waits).await,
            Action::Rollback => {
                let ignore = names::remedy(object, Action::Upgrade).is_some_and(|remedy| remedy.ignore_tests);
                let found = state::previous(&status.history, ignore)
                    .cloned()
                    .unwrap_or_default();
                let outcome = engine.rollback(found.version, history, waits).await;
                target = Some(found);
                outcome
            }
            Action::Uninstall => {
                let keep = names::manner(object, action, true).keep_history;
                engine.uninstall(keep, history, waits).await
            }
            Action::Unlock => engine.unlock(history).await,
        };
        if matches!(action, Action::Install | Action::Upgrade) {
            let took = fluvial_api::Duration(started.elapsed());
            status.last_attempted_release_action_duration = Some(took);
        }
        if let Some(trouble) = &outcome.trouble {
            self.wakes.wait_for_kinds(key, trouble.missing_kinds.clone());
        } else if matches!(action, Action::Install | Action::Upgrade) {
            observe(status, &inputs.desired);
        }
        let mut report = self.report(object, status, inputs);
        let (news, result) = match (action, target) {
            (Action::Install | Action::Upgrade, _) => report.released(action, &outcome),
            (Action::Test, _) => report.tested(&outcome),
            (Action::Rollback, Some(target)) => report.rolled_back(&target, &outcome),
            (Action::Unlock, _) => report.unlocked(was.as_str(), course.history.last(), &outcome),
            _ => report.uninstalled(&outcome),
        };
        self.tell(object, &news);
        if !outcome.written.is_empty() && kind(action) != Kind::Test {
            self.take_inventory(status, engine, &course.history, &outcome.definitions)
                .await;
        }
        result
    }

    /// What is to be released: the values of the last version below, where the spec says so.
    async fn wanted(
        &self,
        object: &HelmRelease,
        inputs: &Inputs,
        engine: &Engine<'_>,
        history: &History,
    ) -> Result<Wanted, Failure> {
        Ok(Wanted {
            chart: Arc::clone(&inputs.loaded.chart),
            version: inputs.loaded.version.clone(),
            values: values_over(object, inputs, history),
            capabilities: self.capabilities(object, &*engine.cluster).await?,
        })
    }

    /// Takes down which objects the release has.
    async fn take_inventory(
        &self,
        status: &mut HelmReleaseStatus,
        engine: &Engine<'_>,
        history: &History,
        definitions: &[Placed],
    ) {
        let last = history
            .last()
            .filter(|last| last.info.status != Status::Uninstalled);
        let Some(last) = last else {
            status.inventory = None;
            return;
        };
        let Ok(objects) = actions::read(last) else { return };
        let mut entries = Vec::with_capacity(objects.len());
        for one in objects {
            if let Ok(placed) = engine.hands.place(&one.object).await {
                entries.push(entry(&placed));
            }
        }
        entries.extend(definitions.iter().map(entry));
        // Definitions of earlier versions are never deleted.
        let known = status.inventory.iter().flat_map(|inventory| &inventory.entries);
        entries.extend(known.filter_map(|known| {
            let id = fluvial_delivery::inventory::decode(&known.id).ok()?;
            (id.kind == "CustomResourceDefinition").then(|| Entry {
                id,
                version: known.v.clone(),
            })
        }));
        let inventory = Inventory::new(entries);
        status.inventory = Some(crate::kustomization::step::status_inventory(inventory.entries()));
    }

    /// Looks for drift and corrects it, if the spec says so.
    async fn detect(
        &self,
        object: &Arc<HelmRelease>,
        status: &mut HelmReleaseStatus,
        inputs: &Inputs,
        engine: &Engine<'_>,
        rules: &fluvial_delivery::ignore::IgnoreRules,
        course: &Course,
    ) -> Result<(), Failure> {
        let now = self.context.clock.now();
        let generation = object.metadata.generation;
        let mode = names::drift_mode(object);
        let Some(last) = course.history.last().filter(|_| mode != DriftMode::Disabled) else {
            Conditions::of(&mut status.conditions, generation, now).remove(DRIFTED);
            return Ok(());
        };
        let objects = actions::read(last).map_err(|trouble| Failure::retry(STATE_ERROR, trouble.text))?;
        let found = engine.hands.drift(&objects, rules).await;
        if found.drifted.is_empty() && !found.errors.is_empty() {
            return Err(Failure::retry(
                STATE_ERROR,
                format!(
                    "Could not determine release state: unable to determine cluster state: {}",
                    found.errors.join("; ")
                ),
            ));
        }
        for error in &found.errors {
            tracing::warn!("drift cannot be told of {error}");
        }
        if found.drifted.is_empty() {
            Conditions::of(&mut status.conditions, generation, now).no(
                DRIFTED,
                "NoDriftDetected",
                "No drift detected",
            );
            return Ok(());
        }
        let name = state::latest(&status.history)
            .map(report::full_name)
            .unwrap_or_default();
        let text = format!(
            "Cluster state of release {name} has drifted from the desired state:\n{}",
            found.summary()
        );
        let known =
            condition::get(&status.conditions, DRIFTED).is_some_and(|drifted| drifted.message == text);
        if !known {
            self.tell(
                object,
                &self.drift_news(status, inputs, Severity::Error, "DriftDetected", text.clone()),
            );
        }
        Conditions::of(&mut status.conditions, generation, now).yes(DRIFTED, "DriftDetected", &text);
        if mode == DriftMode::Warn {
            return Ok(());
        }
        let corrected = engine.hands.correct(&found.drifted).await;
        let text = corrected.text(&name);
        let mut conditions = Conditions::of(&mut status.conditions, generation, now);
        if corrected.errors.is_empty() {
            conditions.no(DRIFTED, "DriftCorrected", &text);
            self.tell(
                object,
                &self.drift_news(status, inputs, Severity::Info, "DriftCorrected", text),
            );
            return Ok(());
        }
        conditions.yes(DRIFTED, "DriftCorrectionFailed", &text);
        Err(Failure::retry("DriftCorrectionFailed", text))
    }

    fn drift_news(
        &self,
        status: &HelmReleaseStatus,
        inputs: &Inputs,
        severity: Severity,
        reason: &str,
        message: String,
    ) -> News {
        News {
            severity,
            reason: reason.to_owned(),
            message,
            revision: inputs.desired.chart_version.clone(),
            token: inputs.desired.config_digest.clone(),
            app_version: state::latest(&status.history).and_then(|snapshot| snapshot.app_version.clone()),
            oci_digest: None,
        }
    }

    /// No more may be done in this run.
    fn stop(&self, object: &HelmRelease, status: &HelmReleaseStatus) -> Result<End, Failure> {
        if state::is_exhausted(object, status) {
            return Ok(End::Done);
        }
        let interval = state::active(status).and_then(|action| names::retry_interval(object, action));
        Err(match interval {
            Some(interval) => put_off(status, interval),
            None => as_told(status),
        })
    }

    /// After a remediation the next attempt is another run's.
    fn stop_after_remedy(&self, object: &HelmRelease, status: &HelmReleaseStatus) -> Result<End, Failure> {
        if !state::is_exhausted(object, status) {
            return self.stop(object, status);
        }
        let action = status
            .last_attempted_release_action
            .as_deref()
            .unwrap_or("install");
        let failures = state::active(status).map_or(0, |action| state::failures(status, action));
        Err(Failure {
            told: true,
            ..Failure::stalled(
                "RetriesExceeded",
                format!("Failed to {action} after {failures} attempt(s)"),
            )
        })
    }
}

/// A failure that Ready tells of.
fn as_told(status: &HelmReleaseStatus) -> Failure {
    let ready = condition::get(&status.conditions, condition::READY);
    let (reason, message) = ready.map_or(("Progressing", String::new()), |ready| {
        (ready.reason.as_str(), ready.message.clone())
    });
    told(reason, message)
}

/// The same, tried again after a time.
fn put_off(status: &HelmReleaseStatus, delay: Duration) -> Failure {
    Failure {
        class: Class::RetryAfter(delay),
        ..as_told(status)
    }
}

/// Takes down by which post-renderers and metadata the release was made.
fn observe(status: &mut HelmReleaseStatus, desired: &Desired) {
    status
        .observed_post_renderers_digest
        .clone_from(&desired.post_renderers);
    status
        .observed_common_metadata_digest
        .clone_from(&desired.common_metadata);
}

/// What comes next in a run.
enum Step {
    Over(Result<End, Failure>),
    Do(Action),
}

/// Values of the last version below the wanted ones, where the spec says so.
fn values_over(object: &HelmRelease, inputs: &Inputs, history: &History) -> Value {
    let keep = object
        .spec
        .upgrade
        .as_ref()
        .is_some_and(|upgrade| upgrade.preserve_values);
    let Some(last) = history.current().filter(|_| keep) else {
        return inputs.values.clone();
    };
    let mut values = last.values();
    merge(&mut values, &inputs.values);
    values
}

fn merge(into: &mut Value, other: &Value) {
    match (into, other) {
        (Value::Object(into), Value::Object(other)) => {
            for (key, value) in other {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, other) => *into = other.clone(),
    }
}

/// What is wanted, with the values that it would come to.
fn effective(object: &HelmRelease, inputs: &Inputs, history: &History) -> Desired {
    let keeps = object
        .spec
        .upgrade
        .as_ref()
        .is_some_and(|upgrade| upgrade.preserve_values);
    if !keeps {
        return inputs.desired.clone();
    }
    Desired {
        config_digest: config_digest(&values_over(object, inputs, history)),
        ..inputs.desired.clone()
    }
}

fn entry(placed: &Placed) -> Entry {
    Entry {
        id: placed.id.clone(),
        version: placed.resource.version.clone(),
    }
}
