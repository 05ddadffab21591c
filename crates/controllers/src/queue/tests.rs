use std::time::Duration;

use tokio::time::Instant;

use super::{Queue, Reasons};

#[tokio::test(start_paused = true)]
async fn keys_come_in_order_of_arrival_and_once() {
    let queue = Queue::default();
    queue.add("a", Reasons::SPEC);
    queue.add("b", Reasons::SPEC);
    queue.add("a", Reasons::SOURCE);
    let a = queue.next().await.unwrap();
    let b = queue.next().await.unwrap();
    assert_eq!((*a.key(), *b.key()), ("a", "b"));
    assert!(a.reasons().any(Reasons::SOURCE) && a.reasons().any(Reasons::SPEC));
    assert_eq!(queue.depth(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_runs_is_told_and_not_run_twice() {
    let queue = Queue::default();
    queue.add("a", Reasons::SPEC);
    let mut work = queue.next().await.unwrap();
    queue.add("a", Reasons::SOURCE);
    assert_eq!(queue.depth(), 0);
    assert_eq!(work.changed().await, Reasons::SOURCE);
    drop(work);
    assert_eq!(queue.depth(), 0, "the run has taken the news");
}

#[tokio::test(start_paused = true)]
async fn news_that_a_run_did_not_take_queue_the_key_again() {
    let queue = Queue::default();
    queue.add("a", Reasons::SPEC);
    let work = queue.next().await.unwrap();
    queue.add("a", Reasons::CONFIG);
    drop(work);
    let again = queue.next().await.unwrap();
    assert_eq!(again.reasons(), Reasons::CONFIG);
}

#[tokio::test(start_paused = true)]
async fn a_key_has_one_timer_and_the_last_one_counts() {
    let queue = Queue::default();
    let start = Instant::now();
    queue.add_after("a", Duration::from_secs(60));
    queue.add_after("a", Duration::from_secs(5));
    queue.add_after("b", Duration::from_secs(1));
    let b = queue.next().await.unwrap();
    assert_eq!((*b.key(), start.elapsed().as_secs()), ("b", 1));
    let a = queue.next().await.unwrap();
    assert_eq!(
        (*a.key(), a.reasons(), start.elapsed().as_secs()),
        ("a", Reasons::TIMER, 5)
    );
    drop((a, b));
    let none = tokio::time::timeout(Duration::from_secs(600), queue.next()).await;
    assert!(none.is_err(), "the first timer of a is gone");
}

#[tokio::test(start_paused = true)]
async fn a_run_takes_the_timer_of_its_key_with_it() {
    let queue = Queue::default();
    queue.add_after("a", Duration::from_secs(60));
    queue.add("a", Reasons::SPEC);
    drop(queue.next().await.unwrap());
    assert!(
        tokio::time::timeout(Duration::from_secs(600), queue.next())
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_is_set_during_a_run_fires_after_it() {
    let queue = Queue::default();
    queue.add("a", Reasons::SPEC);
    let work = queue.next().await.unwrap();
    queue.add_after("a", Duration::from_secs(30));
    drop(work);
    assert_eq!(queue.next().await.unwrap().reasons(), Reasons::TIMER);
}

#[tokio::test(start_paused = true)]
async fn a_closed_queue_ends_its_workers() {
    let queue = Queue::<&str>::default();
    let worker = tokio::spawn({
        let queue = queue.clone();
        async move { queue.next().await.is_none() }
    });
    tokio::task::yield_now().await;
    queue.close();
    assert!(worker.await.unwrap());
    queue.add("a", Reasons::SPEC);
    assert_eq!(queue.depth(), 0);
}

#[tokio::test(start_paused = true)]
async fn forgotten_keys_leave_nothing_behind() {
    let queue = Queue::default();
    queue.add_after("a", Duration::from_secs(60));
    queue.forget(&"a");
    assert!(queue.lock().entries.is_empty());
    assert!(
        tokio::time::timeout(Duration::from_secs(600), queue.next())
            .await
            .is_err()
    );
}
