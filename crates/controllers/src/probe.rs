//! What the health endpoints answer: alive while the process runs its loops, ready once it reconciles.

use std::sync::atomic::{AtomicU8, Ordering};

/// How far the process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Connecting, waiting for definitions or first lists.
    Starting,
    /// Another process leads.
    Standby,
    /// Reconciling.
    Running,
    /// Shutting down.
    Stopping,
}

/// Shared between the loops and the endpoints.
#[derive(Debug, Default)]
pub struct Probe(AtomicU8);

impl Probe {
    /// Notes how far the process has come.
    pub fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Relaxed);
    }

    /// How far the process has come.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Standby,
            2 => Phase::Running,
            _ => Phase::Stopping,
        }
    }

    /// Answer of `/healthz`.
    pub fn is_alive(&self) -> bool {
        true
    }

    /// Answer of `/readyz`: a standby is ready to take over, so that roll-outs of two replicas end.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase(), Phase::Running | Phase::Standby)
    }
}
