//! Work that keeps a processor busy, away from the threads that must not wait, and no more of it at a time than there
//! are processors: it would not be done sooner, and every further thread keeps memory of its own.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinError;

/// How long work waits for other work. Some of that waits for the network itself, and nobody is held up by it.
const PATIENCE: Duration = Duration::from_millis(100);

/// One a processor: they are the process's, whoever works.
static PROCESSORS: LazyLock<Semaphore> = LazyLock::new(|| {
    let count = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    Semaphore::new(count.max(2))
});

/// Does it, soon.
///
/// # Errors
/// It panicked, or the process is ending.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    let turn = turn(&PROCESSORS, PATIENCE).await;
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    })
    .await
}

/// A turn, or none if others take too long.
async fn turn(turns: &Semaphore, patience: Duration) -> Option<SemaphorePermit<'_>> {
    tokio::time::timeout(patience, turns.acquire()).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_is_held_up_by_work_that_takes_long() {
        let turns = Semaphore::new(1);
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
        for _ in 0..64 {
            let crashed = aside(|| panic!("on purpose")).await;
            assert!(crashed.is_err_and(|error: JoinError| error.is_panic()));
        }
        assert_eq!(aside(|| 7).await.unwrap(), 7);
    }
}
