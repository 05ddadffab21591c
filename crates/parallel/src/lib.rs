//! Work on several threads at once, where there is enough of it to pay for starting them: what one command does
//! with one large input. Who works on many inputs at once has nothing to gain from it.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Bytes of text that one thread reads or writes in about the time that starting another takes.
pub const WORTH: usize = 64 * 1024;

/// Runs a function over all items by as many threads, the caller's among them; whichever is free takes the next
/// item. The results are in the items' order.
///
/// # Panics
/// As the function does.
pub fn each<T: Sync, R: Send>(items: &[T], threads: usize, run: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if threads < 2 || items.len() < 2 {
        return items.iter().map(run).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            match items.get(index) {
                Some(item) => done.push((index, run(item))),
                None => return done,
            }
        }
    };
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(items.len())).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_items_order() {
        let items: Vec<usize> = (0..1_000).collect();
        for threads in 0..5 {
            assert_eq!(
                each(&items, threads, |item| item + 1),
                (1..=1_000).collect::<Vec<_>>()
            );
        }
        assert_eq!(each(&[] as &[usize], 4, |item| *item), [] as [usize; 0]);
    }

    #[test]
    fn several_threads_work_at_once() {
        let both = std::sync::Barrier::new(2);
        // Neither of two items is done before the other has begun.
        assert_eq!(
            each(&[1, 2], 2, |item| {
                both.wait();
                *item
            }),
            [1, 2]
        );
    }
}
