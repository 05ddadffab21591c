//! Progress: what is about to be done is shown before it is done, or, where it is mostly a matter of a moment and a kill
//! leaves nothing that could not be told from what is stored, only if it takes longer.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fluvial_api::HelmRelease;
use fluvial_api::helm::HelmReleaseStatus;
use tokio::time::Instant;

use super::HelmReleases;
use super::names::Action;
use super::run::{Course, Inputs};
use super::step::STATE_ERROR;
use crate::deliverer::failure::{Class, Failure};

/// What takes longer is shown.
const MOMENT: Duration = Duration::from_secs(3);
/// So much longer for each release that is under way at the same time: a cluster's own controllers ask the API server
/// some 20 times a second, and a Deployment costs them four or five requests; some are still asked for a release that
/// is ready and no longer counts here. Many at once take long without anything wrong.
const EACH: Duration = Duration::from_millis(300);

/// A status that is to be shown after a moment.
pub(super) struct Late<'a> {
    releases: &'a HelmReleases,
    object: Arc<HelmRelease>,
    status: HelmReleaseStatus,
    /// Whether the write has begun.
    begun: AtomicBool,
    /// How many were under way when it began.
    others: u32,
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        self.releases.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Late<'_> {
    async fn show(&self) -> Option<Arc<HelmRelease>> {
        let start = Instant::now();
        let mut most = self.others;
        loop {
            // Those that came after it slow it down as well.
            most = most.max(self.releases.under_way.load(Ordering::Relaxed).saturating_sub(1));
            let left = (MOMENT + EACH * most).saturating_sub(start.elapsed());
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left).await;
        }
        self.begun.store(true, Ordering::Relaxed);
        let written = self.releases.writer.status(&self.object, &self.status).await;
        written
            .inspect_err(|error| tracing::debug!(%error, "progress could not be shown"))
            .ok()
            .flatten()
    }
}

/// Does something, and shows it if it takes long. A write that has begun is waited for: it must not overtake what is
/// written next.
pub(super) async fn both<T>(
    act: impl Future<Output = T>,
    late: Option<Late<'_>>,
) -> (T, Option<Arc<HelmRelease>>) {
    let Some(late) = late else {
        return (act.await, None);
    };
    let (mut act, mut show) = (pin!(act), pin!(late.show()));
    tokio::select! {
        biased;
        result = &mut act => {
            let written = if late.begun.load(Ordering::Relaxed) { show.await } else { None };
            (result, written)
        }
        written = &mut show => (act.await, written),
    }
}

impl HelmReleases {
    /// Shows what is about to be done, or gives what shows it later.
    pub(super) async fn announce(
        &self,
        object: &mut Arc<HelmRelease>,
        status: &mut HelmReleaseStatus,
        inputs: &Inputs,
        action: Action,
        course: &Course,
    ) -> Result<Option<Late<'_>>, Failure> {
        let now = self.context.clock.now();
        self.report(object, status, inputs).begin(action, now);
        let before = &object.status;
        // Whoever deletes it looks into the storage then.
        let is_found = before.conditions.is_empty() || before.storage_namespace.is_some();
        if course.done.is_empty() && is_found && matches!(action, Action::Install | Action::Upgrade) {
            let others = self.under_way.fetch_add(1, Ordering::Relaxed);
            return Ok(Some(Late {
                releases: self,
                object: Arc::clone(object),
                status: status.clone(),
                begun: AtomicBool::new(false),
                others,
            }));
        }
        match self.writer.status(object, status).await {
            Ok(Some(written)) => {
                // What is done is done for this spec, whatever it is by now.
                Arc::make_mut(object).status = written.status.clone();
                Ok(None)
            }
            Ok(None) => Err(Failure {
                class: Class::Superseded,
                ..Failure::retry(STATE_ERROR, "the object is gone")
            }),
            Err(error) => Err(Failure::retry(
                STATE_ERROR,
                format!("the status cannot be written, so nothing was done: {error}"),
            )),
        }
    }
}
