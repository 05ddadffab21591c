//! Takes keys off a queue and runs them, so many at a time. A run that waits gives its place away.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::Key;
use crate::metrics::Metrics;
use crate::queue::{Queue, Work};

/// When a key is looked at again without being woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requeue {
    /// Only when something happens to it.
    Never,
    /// After this time at the latest.
    After(Duration),
    /// At once.
    Now,
}

/// Reconciles one key.
pub trait Reconcile: Send + Sync + 'static {
    /// Kind, for logs and metrics.
    const KIND: &'static str;

    /// One run.
    fn reconcile(
        self: Arc<Self>,
        work: &mut Work<Key>,
        slot: &mut Slot,
    ) -> impl Future<Output = Requeue> + Send;
}

/// A place among the runs that work at the same time.
pub struct Slot {
    places: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Slot {
    /// Gives the place away while `wait` is pending, and queues for one afterwards.
    pub async fn parked<T>(&mut self, wait: impl Future<Output = T>) -> T {
        self.permit = None;
        let result = wait.await;
        // The semaphore is never closed; without a permit the run would merely not be counted.
        self.permit = Arc::clone(&self.places).acquire_owned().await.ok();
        result
    }
}

/// Wait after a run that panicked.
const AFTER_PANIC: Duration = Duration::from_secs(60);

/// Runs keys until the queue is closed, then waits up to `grace` for runs under way.
pub async fn run<R: Reconcile>(
    reconciler: Arc<R>,
    queue: Queue<Key>,
    concurrent: usize,
    grace: Duration,
    metrics: Arc<Metrics>,
) {
    let places = Arc::new(Semaphore::new(concurrent.max(1)));
    let mut runs = JoinSet::new();
    loop {
        // An idle loop holds no place: a run that has waited may need the only one.
        let Some(mut work) = queue.next().await else { break };
        let permit = tokio::select! {
            permit = Arc::clone(&places).acquire_owned() => permit,
            () = queue.closed() => break,
        };
        let Ok(permit) = permit else { break };
        // What has happened while the key waited for its place is part of the same run.
        work.news();
        while runs.try_join_next().is_some() {}
        let slot = Slot {
            places: Arc::clone(&places),
            permit: Some(permit),
        };
        runs.spawn(one(
            Arc::clone(&reconciler),
            queue.clone(),
            work,
            slot,
            Arc::clone(&metrics),
        ));
    }
    let finished = async { while runs.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, finished).await.is_err() {
        tracing::warn!(
            kind = R::KIND,
            "runs are still under way at shutdown and are cut off; they go on at the next start"
        );
        runs.abort_all();
    }
}

async fn one<R: Reconcile>(
    reconciler: Arc<R>,
    queue: Queue<Key>,
    mut work: Work<Key>,
    mut slot: Slot,
    metrics: Arc<Metrics>,
) {
    let key = work.key().clone();
    let started = tokio::time::Instant::now();
    let run = AssertUnwindSafe(reconciler.reconcile(&mut work, &mut slot)).catch_unwind();
    let requeue = run.await.unwrap_or_else(|_panic| {
        tracing::error!(kind = R::KIND, %key, "the run panicked; this is a bug, please report it");
        metrics.panicked(R::KIND);
        Requeue::After(AFTER_PANIC)
    });
    metrics.reconciled(R::KIND, &key, started.elapsed());
    match requeue {
        Requeue::Never => {}
        Requeue::After(delay) => queue.add_after(key, delay),
        Requeue::Now => work.keep(crate::queue::Reasons::TIMER),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::queue::Reasons;

    struct Story(Mutex<Vec<String>>);

    impl Reconcile for Story {
        const KIND: &'static str = "Story";

        async fn reconcile(self: Arc<Self>, work: &mut Work<Key>, slot: &mut Slot) -> Requeue {
            let name = work.key().name.to_string();
            self.0.lock().unwrap().push(format!("start {name}"));
            match name.as_str() {
                "waits" => {
                    slot.parked(work.changed()).await;
                }
                "panics" => panic!("boom"),
                _ => {}
            }
            self.0.lock().unwrap().push(format!("end {name}"));
            Requeue::Never
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_waits_holds_no_place_and_a_panic_stays_alone() {
        let queue = Queue::default();
        let story = Arc::new(Story(Mutex::default()));
        for name in ["waits", "panics", "works"] {
            queue.add(Key::new("ns", name), Reasons::SPEC);
        }
        let metrics = Arc::new(Metrics::default());
        let runner = tokio::spawn(run(
            Arc::clone(&story),
            queue.clone(),
            1,
            Duration::from_secs(1),
            metrics,
        ));
        tokio::time::sleep(Duration::from_millis(10)).await;
        queue.add(Key::new("ns", "waits"), Reasons::HEALTH);
        tokio::time::sleep(Duration::from_millis(10)).await;
        let told = story.0.lock().unwrap().clone();
        queue.close();
        runner.await.unwrap();
        assert_eq!(
            told,
            [
                "start waits",
                "start panics",
                "start works",
                "end works",
                "end waits"
            ]
        );
    }
}
