//! Decisions about an ArtifactGenerator: whether there is anything to do, and what its status says of what was made.

use std::collections::BTreeMap;

use fluvial_api::ArtifactGenerator;
use fluvial_api::extensions::{ArtifactGeneratorStatus, GeneratedArtifact};
use fluvial_ports::Severity;

use crate::condition::{self, READY, SUCCEEDED};
use crate::source::step::{Decision, Found, Moment, Notice, again, handled, well};

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Done {
    /// What was made.
    pub inventory: Vec<GeneratedArtifact>,
    /// Digest over the sources.
    pub sources_digest: String,
}

/// Whether everything was made from these sources, for this spec.
pub fn is_current(generator: &ArtifactGenerator, sources_digest: &str) -> bool {
    let status = &generator.status;
    status.observed_sources_digest.as_deref() == Some(sources_digest)
        && condition::get(&status.conditions, READY).is_some_and(|ready| {
            ready.status == "True" && ready.observed_generation == generator.metadata.generation
        })
}

impl Found<ArtifactGenerator> for Done {
    fn conclude(
        self,
        generator: &ArtifactGenerator,
        _url: &dyn Fn(&str) -> String,
        moment: Moment<'_>,
    ) -> Decision<ArtifactGeneratorStatus> {
        let mut status = handled(generator);
        let message = format!(
            "reconciliation succeeded, generated {} artifact(s)",
            self.inventory.len()
        );
        let is_new = status.inventory != self.inventory || !condition::is_true(&status.conditions, READY);
        status.inventory = self.inventory;
        status.observed_sources_digest = Some(self.sources_digest);
        let generation = generator.metadata.generation;
        well::<ArtifactGenerator>(&mut status, generation, moment, |conditions| {
            conditions.ready(SUCCEEDED, &message);
        });
        let notice = Notice {
            severity: Severity::Info,
            reason: "ReconciliationSucceeded".to_owned(),
            message,
            facts: BTreeMap::new(),
        };
        Decision {
            status,
            notices: is_new.then_some(notice).into_iter().collect(),
            requeue: again(generator, moment),
        }
    }
}
