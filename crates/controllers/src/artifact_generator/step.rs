//! Decisions about an ArtifactGenerator: whether there is anything to do, and what its status says at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use fluvial_api::ArtifactGenerator;
use fluvial_api::extensions::{ArtifactGeneratorStatus, GeneratedArtifact};
use fluvial_ports::{Severity, SourceErrorClass};

use crate::backoff::jitter;
use crate::condition::{self, Conditions, READY, SUCCEEDED};
use crate::git_repository::step::Notice;
use crate::runner::Requeue;
use crate::source::step::{Decision, Failure, Moment};

/// Annotation that stops a generator.
const RECONCILE: &str = "source.extensions.fluxcd.io/reconcile";
/// How often a generator is looked at without being woken.
const INTERVAL: Duration = Duration::from_secs(3600);

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Done {
    /// What was made.
    pub inventory: Vec<GeneratedArtifact>,
    /// Digest over the sources.
    pub sources_digest: String,
}

/// Whether a generator rests.
pub fn is_disabled(generator: &ArtifactGenerator) -> bool {
    let value = generator.metadata.annotation(RECONCILE);
    value.is_some_and(|value| value.eq_ignore_ascii_case("disabled"))
}

/// Whether everything was made from these sources, for this spec.
pub fn is_current(generator: &ArtifactGenerator, sources_digest: &str) -> bool {
    let status = &generator.status;
    status.observed_sources_digest.as_deref() == Some(sources_digest)
        && condition::get(&status.conditions, READY).is_some_and(|ready| {
            ready.status == "True" && ready.observed_generation == generator.metadata.generation
        })
}

/// How a run ends that made what was to be made.
pub fn succeeded(
    generator: &ArtifactGenerator,
    done: Done,
    moment: Moment<'_>,
) -> Decision<ArtifactGeneratorStatus> {
    let mut status = handled(generator);
    let message = format!(
        "reconciliation succeeded, generated {} artifact(s)",
        done.inventory.len()
    );
    let is_new = status.inventory != done.inventory || !condition::is_true(&status.conditions, READY);
    status.inventory = done.inventory;
    status.observed_sources_digest = Some(done.sources_digest);
    Conditions::of(&mut status.conditions, generator.metadata.generation, moment.now)
        .ready(SUCCEEDED, &message);
    let notice = Notice {
        severity: Severity::Info,
        reason: "ReconciliationSucceeded".to_owned(),
        message,
        facts: BTreeMap::new(),
    };
    Decision {
        status,
        notices: is_new.then_some(notice).into_iter().collect(),
        requeue: Requeue::After(jitter(INTERVAL, moment.settings.jitter_percent, moment.random)),
    }
}

/// How a run ends that failed; `failures` counts those before it.
pub fn failed(
    generator: &ArtifactGenerator,
    failure: &Failure,
    failures: u32,
    moment: Moment<'_>,
) -> Decision<ArtifactGeneratorStatus> {
    let mut status = handled(generator);
    let mut conditions = Conditions::of(&mut status.conditions, generator.metadata.generation, moment.now);
    let requeue = match failure.class {
        SourceErrorClass::Stalled => {
            conditions.stalled(&failure.reason, &failure.message);
            Requeue::Never
        }
        SourceErrorClass::Waiting => {
            conditions.retrying(&failure.reason, &failure.message);
            Requeue::After(moment.settings.requeue_dependency)
        }
        SourceErrorClass::Retry => {
            conditions.retrying(&failure.reason, &failure.message);
            Requeue::After(moment.settings.backoff.after(failures + 1))
        }
    };
    let notice = Notice {
        severity: Severity::Error,
        reason: failure.reason.clone(),
        message: failure.message.clone(),
        facts: BTreeMap::new(),
    };
    Decision {
        status,
        notices: vec![notice],
        requeue,
    }
}

fn handled(generator: &ArtifactGenerator) -> ArtifactGeneratorStatus {
    let mut status = generator.status.clone();
    if let Some(token) = generator.metadata.requested_at() {
        status.last_handled_reconcile_at = Some(token.to_owned());
    }
    status
}
