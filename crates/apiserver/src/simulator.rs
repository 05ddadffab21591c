//! Workloads as a healthy cluster would run them.

use std::sync::Arc;

use tokio::time::Instant;

use crate::api::Api;
use crate::store::Notice;

/// Gives workloads their status.
#[derive(Debug)]
pub struct Simulator {}

impl Simulator {
    /// A simulator.
    #[must_use]
    pub fn new(_api: Arc<Api>) -> Self {
        Simulator {}
    }

    /// When it wants to run next.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        None
    }

    /// Reacts to a change.
    pub fn react(&mut self, _api: &Api, _notice: &Notice) {}

    /// Does what is due.
    pub fn run_due(&mut self, _api: &Api) {}
}
