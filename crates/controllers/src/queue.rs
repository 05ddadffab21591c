//! The work queue of one kind: keys wait in order of arrival, a key is worked on by one run at a time, and what
//! happens to it meanwhile is told to that run and, if still open at its end, queued again. Delays hold no worker.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Why a key is to be looked at; several are merged into one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reasons(u16);

impl Reasons {
    /// The object appeared or its spec changed.
    pub const SPEC: Self = Self(1);
    /// Somebody asked for it by annotation.
    pub const REQUESTED: Self = Self(1 << 1);
    /// Its source has another revision.
    pub const SOURCE: Self = Self(1 << 2);
    /// Something that it depends on changed.
    pub const DEPENDENCY: Self = Self(1 << 3);
    /// A ConfigMap or Secret that it reads changed.
    pub const CONFIG: Self = Self(1 << 4);
    /// An object that it waits for changed.
    pub const HEALTH: Self = Self(1 << 5);
    /// A kind that it needs is served now.
    pub const KINDS: Self = Self(1 << 6);
    /// Its time has come: interval, retry or time limit.
    pub const TIMER: Self = Self(1 << 7);
    /// It is being deleted.
    pub const DELETED: Self = Self(1 << 8);

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any of `other` is in.
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing is in.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

struct State<K> {
    ready: VecDeque<K>,
    delayed: BinaryHeap<Reverse<(Instant, u64)>>,
    delayed_keys: FxHashMap<u64, K>,
    entries: FxHashMap<K, Entry>,
    ticket: u64,
    open: bool,
}

#[derive(Default)]
struct Entry {
    reasons: Reasons,
    queued: bool,
    running: Option<Arc<Notify>>,
    /// The one timer of this key: its ticket and time.
    timer: Option<(u64, Instant)>,
}

impl Entry {
    fn is_idle(&self) -> bool {
        !self.queued && self.running.is_none() && self.timer.is_none() && self.reasons.is_empty()
    }
}

struct Shared<K> {
    state: Mutex<State<K>>,
    arrived: Notify,
    closed: Notify,
}

/// The work queue of one kind. Clones are handles to the same queue.
pub struct Queue<K>(Arc<Shared<K>>);

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Clone + Eq + Hash> Default for Queue<K> {
    fn default() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                delayed: BinaryHeap::new(),
                delayed_keys: FxHashMap::default(),
                entries: FxHashMap::default(),
                ticket: 0,
                open: true,
            }),
            arrived: Notify::new(),
            closed: Notify::new(),
        }))
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a run of `key`. Merged with what is queued already; a run under way is told.
    pub fn add(&self, key: K, reasons: Reasons) {
        let mut state = self.lock();
        if !state.open {
            return;
        }
        let entry = state.entries.entry(key.clone()).or_default();
        entry.reasons = entry.reasons.with(reasons);
        if let Some(running) = &entry.running {
            running.notify_one();
        } else if !entry.queued {
            entry.queued = true;
            state.ready.push_back(key);
            drop(state);
            self.0.arrived.notify_one();
        }
    }

    /// Sets the timer of `key`, in place of the one it may have.
    pub fn add_after(&self, key: K, delay: Duration) {
        let mut state = self.lock();
        if !state.open {
            return;
        }
        let at = Instant::now() + delay;
        state.ticket += 1;
        let ticket = state.ticket;
        let previous = state
            .entries
            .entry(key.clone())
            .or_default()
            .timer
            .replace((ticket, at));
        if let Some((previous, _)) = previous {
            state.delayed_keys.remove(&previous);
        }
        state.delayed.push(Reverse((at, ticket)));
        state.delayed_keys.insert(ticket, key);
        drop(state);
        self.0.arrived.notify_one();
    }

    /// Drops the timer of `key` and what is known of it, unless it runs.
    pub fn forget(&self, key: &K) {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(key) else {
            return;
        };
        let timer = entry.timer.take();
        let idle = entry.is_idle();
        if let Some((ticket, _)) = timer {
            state.delayed_keys.remove(&ticket);
        }
        if idle {
            state.entries.remove(key);
        }
    }

    /// The next key to work on; `None` once the queue is closed. Cancel-safe.
    pub async fn next(&self) -> Option<Work<K>> {
        loop {
            let arrived = self.0.arrived.notified();
            let timer = {
                let mut state = self.lock();
                if !state.open {
                    return None;
                }
                state.promote_due(Instant::now());
                if let Some(work) = self.take(&mut state) {
                    let more = !state.ready.is_empty();
                    drop(state);
                    if more {
                        self.0.arrived.notify_one();
                    }
                    return Some(work);
                }
                state.delayed.peek().map(|Reverse((at, _))| *at)
            };
            match timer {
                Some(at) => tokio::select! { () = arrived => {}, () = tokio::time::sleep_until(at) => {} },
                None => arrived.await,
            }
        }
    }

    fn take(&self, state: &mut State<K>) -> Option<Work<K>> {
        let key = state.ready.pop_front()?;
        let entry = state.entries.entry(key.clone()).or_default();
        entry.queued = false;
        let changed = Arc::new(Notify::new());
        entry.running = Some(Arc::clone(&changed));
        let reasons = std::mem::take(&mut entry.reasons);
        let timer = entry.timer.take();
        if let Some((ticket, _)) = timer {
            state.delayed_keys.remove(&ticket);
        }
        Some(Work {
            key,
            reasons,
            changed,
            queue: self.clone(),
        })
    }

    /// Keys ready to be worked on now.
    pub fn depth(&self) -> usize {
        self.lock().ready.len()
    }

    /// Ends the queue: `next` answers `None`, later calls do nothing.
    pub fn close(&self) {
        let mut state = self.lock();
        state.open = false;
        state.ready.clear();
        state.delayed.clear();
        state.delayed_keys.clear();
        drop(state);
        self.0.arrived.notify_waiters();
        self.0.arrived.notify_one();
        self.0.closed.notify_waiters();
    }

    /// Waits until the queue is closed.
    pub async fn closed(&self) {
        let closed = self.0.closed.notified();
        if self.lock().open {
            closed.await;
        }
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn promote_due(&mut self, now: Instant) {
        while let Some(Reverse((at, ticket))) = self.delayed.peek().copied() {
            let live = self.delayed_keys.contains_key(&ticket);
            if live && at > now {
                break;
            }
            self.delayed.pop();
            let Some(key) = self.delayed_keys.remove(&ticket) else {
                continue;
            };
            let Some(entry) = self.entries.get_mut(&key) else {
                continue;
            };
            entry.timer = None;
            entry.reasons = entry.reasons.with(Reasons::TIMER);
            if let Some(running) = &entry.running {
                running.notify_one();
            } else if !entry.queued {
                entry.queued = true;
                self.ready.push_back(key);
            }
        }
    }
}

/// A key taken from the queue. No other run of it starts before this is dropped.
pub struct Work<K: Clone + Eq + Hash> {
    key: K,
    reasons: Reasons,
    changed: Arc<Notify>,
    queue: Queue<K>,
}

impl<K: Clone + Eq + Hash> Work<K> {
    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Why it was queued, with what [`Work::changed`] has told since.
    pub fn reasons(&self) -> Reasons {
        self.reasons
    }

    /// What happened to the key since it was taken, without waiting.
    pub fn news(&mut self) -> Reasons {
        let mut state = self.queue.lock();
        let news = state
            .entries
            .get_mut(&self.key)
            .map(|entry| std::mem::take(&mut entry.reasons))
            .unwrap_or_default();
        drop(state);
        self.reasons = self.reasons.with(news);
        news
    }

    /// Waits until something happens to the key, and takes it off the queue's hands.
    pub async fn changed(&mut self) -> Reasons {
        loop {
            let news = self.news();
            if !news.is_empty() {
                return news;
            }
            self.changed.notified().await;
        }
    }

    /// Gives reasons back, so that the key is queued again when this run ends.
    pub fn keep(&self, reasons: Reasons) {
        let mut state = self.queue.lock();
        let entry = state.entries.entry(self.key.clone()).or_default();
        entry.reasons = entry.reasons.with(reasons);
    }
}

impl<K: Clone + Eq + Hash> Drop for Work<K> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        let open = state.open;
        let Some(entry) = state.entries.get_mut(&self.key) else {
            return;
        };
        entry.running = None;
        if !entry.reasons.is_empty() && !entry.queued && open {
            entry.queued = true;
            state.ready.push_back(self.key.clone());
            drop(state);
            self.queue.0.arrived.notify_one();
        } else if entry.is_idle() {
            state.entries.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests;
