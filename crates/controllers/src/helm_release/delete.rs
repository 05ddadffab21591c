//! The end of a HelmRelease: its release is uninstalled, its HelmChart goes, then its finalizer.

use std::sync::Arc;

use fluvial_api::HelmRelease;
use fluvial_api::helm::{HelmReleaseStatus, Snapshot};
use fluvial_api::keys::{HELM_NAME, HELM_NAMESPACE};
use fluvial_helm::release::History;
use fluvial_object::ObjectExt;
use fluvial_ports::{Cluster, Severity};

use super::actions::{self, Outcome};
use super::names::{self, Action, Names};
use super::objects::Waits;
use super::report::{News, chart_of, full_name, told};
use super::state;
use super::step::RELEASED;
use super::{End, HelmReleases};
use crate::condition::Conditions;
use crate::deliverer::failure::Failure;
use crate::kustomization::health::Judge;
use crate::queue::Work;
use crate::remote::RemoteError;
use crate::runner::{Requeue, Slot};
use crate::{Key, deliverer};

const FAILED: &str = "UninstallFailed";

impl HelmReleases {
    pub(super) async fn delete(
        &self,
        key: &Key,
        object: &Arc<HelmRelease>,
        work: &mut Work<Key>,
        slot: &mut Slot,
    ) -> Requeue {
        if !object.spec.suspend {
            let mut status = object.status.clone();
            let result = self.clean_up(object, &mut status, work, slot).await;
            if let Err(failure) = result {
                return self.conclude(key, object, status, Err(failure)).await;
            }
        }
        match self.writer.release(object).await {
            Ok(()) => Requeue::Never,
            Err(error) => self.unwritten(key, &error),
        }
    }

    async fn clean_up(
        &self,
        object: &Arc<HelmRelease>,
        status: &mut HelmReleaseStatus,
        work: &mut Work<Key>,
        slot: &mut Slot,
    ) -> Result<End, Failure> {
        // Without a status a kill may have cut off the first installation.
        if (status.storage_namespace.is_some() || status.conditions.is_empty())
            && let Some(cluster) = self.reachable(object).await?
        {
            let judge = Judge::with(Arc::clone(&self.context.clock), &[])
                .map_err(|error| Failure::retry(FAILED, error))?;
            self.uninstall_current(object, status, &judge, cluster, work, slot)
                .await?;
        }
        self.keep_chart(object).await?;
        Ok(End::Done)
    }

    /// The cluster of the release as the identity that applied; nothing if nobody can act there any more.
    async fn reachable(&self, object: &HelmRelease) -> Result<Option<Arc<dyn Cluster>>, Failure> {
        let may = deliverer::may_act(&self.context, object).await.map_err(|error| {
            let name = deliverer::account(&self.context.settings, object).unwrap_or_default();
            Failure::retry(
                FAILED,
                format!(
                    "failed to confirm ServiceAccount '{name}' can be used to uninstall release: {error}"
                ),
            )
        })?;
        if !may {
            return Ok(None);
        }
        match deliverer::cluster_of(&self.context, object).await {
            Ok(cluster) => Ok(Some(cluster)),
            Err(RemoteError::Missing(why)) => {
                let key = Key::of(&object.metadata);
                tracing::warn!(%key, "the release in the other cluster is left there: {why}");
                Ok(None)
            }
            Err(error) => Err(Failure::retry(
                FAILED,
                format!(
                    "failed to confirm KubeConfig can be used to uninstall release: {}",
                    error.message()
                ),
            )),
        }
    }

    /// Uninstalls the release that the status tells of, and forgets it.
    pub(super) async fn uninstall_current(
        &self,
        object: &Arc<HelmRelease>,
        status: &mut HelmReleaseStatus,
        judge: &Judge,
        cluster: Arc<dyn Cluster>,
        work: &mut Work<Key>,
        slot: &mut Slot,
    ) -> Result<(), Failure> {
        let mut names = Names::of(object);
        if let Some(storage) = &status.storage_namespace {
            names.storage.clone_from(storage);
        }
        if let Some(latest) = state::latest(&status.history) {
            names.release.clone_from(&latest.name);
            names.namespace.clone_from(&latest.namespace);
        }
        let engine = self.engine(object, &names, judge.clone(), cluster);
        let mut history = engine
            .storage
            .history()
            .await
            .map_err(|error| Failure::retry(FAILED, error))?;
        if !status.history.is_empty() || is_ours(&history, object) {
            let keep = names::manner(object, Action::Uninstall, true).keep_history;
            let before = history.last().map(|last| state::snapshot(last, "", None));
            let mut waits = Waits {
                work,
                slot,
                newer: None,
            };
            let outcome = engine.uninstall(keep, &mut history, &mut waits).await;
            let end = ended(before.as_ref(), keep, &status.history, &outcome);
            Conditions::of(
                &mut status.conditions,
                object.metadata.generation,
                self.context.clock.now(),
            )
            .no(RELEASED, end.reason, &end.message);
            if end.is_news {
                self.tell(object, &end.news());
            }
            if outcome.trouble.is_some() {
                status.failures += 1;
                for stored in outcome.written.iter().rev() {
                    state::record(&mut status.history, stored, "", Some(Action::Uninstall));
                }
                super::step::summarize(object, status, self.context.clock.now());
                return Err(told(end.reason, end.message));
            }
        }
        status.history.clear();
        state::clear_failures(status);
        status.storage_namespace = None;
        status.inventory = None;
        Ok(())
    }
}

/// How an uninstallation ended.
struct Ended {
    about: Snapshot,
    severity: Severity,
    reason: &'static str,
    message: String,
    /// Whether something was done that others should hear of.
    is_news: bool,
}

impl Ended {
    fn news(&self) -> News {
        News {
            severity: self.severity,
            reason: self.reason.to_owned(),
            message: self.message.clone(),
            revision: self.about.chart_version.clone(),
            token: self.about.config_digest.clone(),
            app_version: self.about.app_version.clone(),
            oci_digest: self.about.oci_digest.clone(),
        }
    }
}

/// What is told of an uninstallation: `before` is the last stored version as it was, `known` what the status tells of.
fn ended(before: Option<&Snapshot>, keep: bool, known: &[Snapshot], outcome: &Outcome) -> Ended {
    let about = before
        .or_else(|| state::latest(known))
        .cloned()
        .unwrap_or_default();
    let name = full_name(&about);
    let what = format!("release {name} with chart {}", chart_of(&about));
    let gone = |message: String, is_news| (Severity::Info, "UninstallSucceeded", message, is_news);
    let (severity, reason, message, is_news) = match (&outcome.trouble, before) {
        (Some(trouble), _) => {
            let text = format!("Helm uninstall failed for {what}: {}", trouble.text.trim());
            (Severity::Error, FAILED, text, true)
        }
        (None, None) => gone(
            format!("Release {name} was not found, assuming it is uninstalled"),
            false,
        ),
        (None, Some(before)) if keep && before.status == "uninstalled" => {
            gone(format!("Release {name} was already uninstalled"), false)
        }
        (None, Some(_)) => gone(format!("Helm uninstall succeeded for {what}"), true),
    };
    Ended {
        about,
        severity,
        reason,
        message,
        is_news,
    }
}

/// Whether what is stored was made for this object: a kill may have come before the status could tell.
fn is_ours(history: &History, object: &HelmRelease) -> bool {
    let Some(last) = history.last() else { return false };
    let Ok(objects) = actions::read(last) else {
        return false;
    };
    objects.iter().any(|one| {
        one.object.label(HELM_NAME) == Some(object.metadata.name.as_str())
            && one.object.label(HELM_NAMESPACE) == Some(object.metadata.namespace.as_str())
    })
}
