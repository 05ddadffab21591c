//! Work that keeps a processor busy, away from the threads that must not wait, and no more of it at a time than there
//! are processors: it would not be done sooner, and every further thread keeps memory of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;

/// How long work waits for other work. Some of that waits for the network itself, and nobody is held up by it.
const PATIENCE: Duration = Duration::from_millis(100);

/// The processors, shared by all who have a copy of this.
#[derive(Debug, Clone)]
pub struct Aside(Arc<Semaphore>);

impl Default for Aside {
    fn default() -> Self {
        let count = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self(Arc::new(Semaphore::new(count.max(2))))
    }
}

impl Aside {
    /// Does it, soon.
    ///
    /// # Errors
    /// It panicked, or the process is ending.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let turn = turn(&self.0, PATIENCE).await;
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
    }
}

/// A turn, or none if others take too long.
async fn turn(turns: &Arc<Semaphore>, patience: Duration) -> Option<OwnedSemaphorePermit> {
    let turn = Arc::clone(turns).acquire_owned();
    tokio::time::timeout(patience, turn).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_is_held_up_by_work_that_takes_long() {
        let turns = Arc::new(Semaphore::new(1));
        let first = turn(&turns, PATIENCE).await;
        assert!(first.is_some());
        let start = tokio::time::Instant::now();
        assert!(turn(&turns, PATIENCE).await.is_none());
        assert!(start.elapsed() >= PATIENCE);
        drop(first);
        assert!(turn(&turns, PATIENCE).await.is_some());
    }

    #[tokio::test]
    async fn work_that_crashes_gives_its_turn_back() {
        let aside = Aside::default();
        for _ in 0..64 {
            let crashed = aside.run(|| panic!("on purpose")).await;
            assert!(crashed.is_err_and(|error: JoinError| error.is_panic()));
        }
        assert_eq!(aside.run(|| 7).await.unwrap(), 7);
    }
}
