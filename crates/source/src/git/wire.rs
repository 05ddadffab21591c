//! What all transports share: waiting with a deadline from a blocking thread, counting what comes in, and remembering a
//! failure as what it was, because gix only passes texts on.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::error::{SourceError, reason};

/// What went wrong on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Status(u16),
    Connect(String),
    Timeout,
    Cancelled,
    Redirect(String),
    /// More came than this.
    TooLarge(u64),
    /// The program on the server's side ended with this on its error output.
    Remote(String),
}

/// Most bytes of the list of references, which is held in memory.
const LARGEST_LIST: u64 = 256 << 20;

/// What is known of an exchange after it; shared with the transport inside gix.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    failure: Mutex<Option<Failure>>,
    pub(crate) version2: AtomicBool,
    received: AtomicU64,
    /// More is not taken in.
    limit: AtomicU64,
}

impl Outcome {
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn fail(&self, failure: Failure) -> io::Error {
        let text = format!("{failure:?}");
        let mut slot = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(failure);
        io::Error::other(text)
    }

    /// Takes in a piece of an answer; `first` says whether it is the answer's beginning.
    pub(crate) fn take(&self, chunk: &[u8], first: bool) -> io::Result<()> {
        if first && find(chunk, b"version 2") {
            self.version2.store(true, Ordering::Relaxed);
        }
        let size = chunk.len() as u64;
        let limit = self.limit.load(Ordering::Relaxed);
        if self.received.fetch_add(size, Ordering::Relaxed) + size > limit {
            return Err(self.fail(Failure::TooLarge(limit)));
        }
        Ok(())
    }

    /// What comes from now on is written to disk, and may be so much.
    pub(crate) fn allow(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }
}

/// Whether the first bytes hold this text.
fn find(data: &[u8], text: &[u8]) -> bool {
    data[..data.len().min(256)]
        .windows(text.len())
        .any(|window| window == text)
}

/// Drives async work from a blocking thread.
#[derive(Debug)]
pub(crate) enum Driver {
    Shared(tokio::runtime::Handle),
    Own(tokio::runtime::Runtime),
}

impl Driver {
    pub(crate) fn new() -> Result<Self, SourceError> {
        if let Ok(handle) = tokio::runtime::Handle::try_current() {
            return Ok(Driver::Shared(handle));
        }
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map(Driver::Own)
            .map_err(|error| {
                SourceError::retry(
                    reason::GIT_OPERATION_FAILED,
                    format!("cannot start network access: {error}"),
                )
            })
    }

    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        match self {
            Driver::Shared(handle) => handle.block_on(future),
            Driver::Own(runtime) => runtime.block_on(future),
        }
    }
}

/// What bounds one fetch.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) driver: Driver,
    pub(crate) deadline: Instant,
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) outcome: Arc<Outcome>,
}

impl Wire {
    pub(crate) fn new(
        deadline: Instant,
        cancelled: Arc<AtomicBool>,
        limit: u64,
    ) -> Result<Self, SourceError> {
        let outcome = Outcome::default();
        outcome.allow(limit.min(LARGEST_LIST));
        Ok(Wire {
            driver: Driver::new()?,
            deadline,
            cancelled,
            outcome: Arc::new(outcome),
        })
    }

    /// Waits for `future`, at most until the deadline.
    pub(crate) fn wait<F: Future>(&self, future: F) -> io::Result<F::Output> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(self.outcome.fail(Failure::Cancelled));
        }
        let deadline = tokio::time::Instant::from_std(self.deadline);
        self.driver
            .run(async { tokio::time::timeout_at(deadline, future).await })
            .map_err(|_| self.outcome.fail(Failure::Timeout))
    }
}
