//! The objects of one kind with those who want to hear of changes. Our own writes pass through here as well as what
//! the watch reports, so that a change made by this process wakes others at once.

use std::sync::{OnceLock, PoisonError, RwLock};

use fluvial_api::Resource;
use fluvial_ports::{BoxStream, Watched};
use futures::StreamExt;
use serde_json::Value;
use tokio::sync::Notify;

use crate::store::{Store, Transition};

/// Hears of one change.
pub type Listener<T> = Box<dyn Fn(&Transition<T>) + Send + Sync>;

/// The objects of one kind and their listeners.
pub struct Feed<T> {
    store: Store<T>,
    listeners: RwLock<Vec<Listener<T>>>,
    complete: Notify,
    opened: OnceLock<()>,
}

impl<T> Default for Feed<T> {
    fn default() -> Self {
        Self {
            store: Store::default(),
            listeners: RwLock::default(),
            complete: Notify::new(),
            opened: OnceLock::new(),
        }
    }
}

impl<T: Resource> Feed<T> {
    /// The objects.
    pub fn store(&self) -> &Store<T> {
        &self.store
    }

    /// Tells `listener` of all changes from now on.
    pub fn listen(&self, listener: impl Fn(&Transition<T>) + Send + Sync + 'static) {
        self.listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(listener));
    }

    /// Takes in an object that a write returned.
    pub fn put(&self, object: &Value) {
        if let Some(transition) = self.store.put(object) {
            self.tell(&transition);
        }
    }

    fn tell(&self, transition: &Transition<T>) {
        let listeners = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
        for listener in listeners.iter() {
            listener(transition);
        }
    }

    /// Follows a watch until it ends.
    pub async fn follow(&self, mut watch: BoxStream<'static, Watched>) {
        while let Some(watched) = watch.next().await {
            for transition in self.store.observe(watched) {
                self.tell(&transition);
            }
            if self.store.is_complete() && self.opened.set(()).is_ok() {
                self.complete.notify_waiters();
            }
        }
    }

    /// Waits until a first list has been read to its end.
    pub async fn complete(&self) {
        loop {
            let complete = self.complete.notified();
            if self.opened.get().is_some() {
                return;
            }
            complete.await;
        }
    }
}
