//! Tokens are kept until they are about to expire, and asked for once however many want them at the same time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use tokio::sync::Mutex as AsyncMutex;

use crate::error::SourceError;

/// Most tokens that are kept; beyond that, those that expire first go.
const CAPACITY: usize = 1000;
/// A token is used for this part of its life.
const USED_PERCENT: u32 = 80;

/// Something that is good for some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring<T> {
    /// The token.
    pub value: T,
    /// How long from now it is good.
    pub lifetime: Duration,
}

/// Where one token is, or is being asked for.
type Slot<T> = Arc<AsyncMutex<Option<(T, Instant)>>>;

/// Tokens by whom they are for.
#[derive(Debug)]
pub struct TokenCache<T> {
    slots: Mutex<FxHashMap<String, (Slot<T>, Instant)>>,
}

impl<T> Default for TokenCache<T> {
    fn default() -> Self {
        TokenCache {
            slots: Mutex::default(),
        }
    }
}

impl<T: Clone> TokenCache<T> {
    /// The token for `key`, which must name the identity and all that the token depends on. An expired one is asked
    /// for anew; failures are not kept.
    ///
    /// # Errors
    /// What asking ends with.
    pub async fn get(
        &self,
        key: &str,
        ask: impl Future<Output = Result<Expiring<T>, SourceError>>,
    ) -> Result<T, SourceError> {
        let slot = self.slot(key);
        let mut slot = slot.lock().await;
        let now = Instant::now();
        if let Some((value, until)) = &*slot
            && *until > now
        {
            return Ok(value.clone());
        }
        *slot = None;
        let Expiring { value, lifetime } = ask.await?;
        let until = Instant::now() + lifetime * USED_PERCENT / 100;
        *slot = Some((value.clone(), until));
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = slots.get_mut(key) {
            *known = until;
        }
        Ok(value)
    }

    /// Drops the token for `key`: it was refused.
    pub fn forget(&self, key: &str) {
        self.slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }

    fn slot(&self, key: &str) -> Slot<T> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if !slots.contains_key(key) && slots.len() >= CAPACITY {
            let now = Instant::now();
            slots.retain(|_, (_, until)| *until > now);
            let first = slots.iter().min_by_key(|(_, (_, until))| *until);
            if slots.len() >= CAPACITY
                && let Some(first) = first.map(|(key, _)| key.clone())
            {
                slots.remove(&first);
            }
        }
        let (slot, _) = slots
            .entry(key.to_owned())
            .or_insert_with(|| (Slot::default(), Instant::now()));
        Arc::clone(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_token_is_asked_for_once_until_it_expires() {
        let cache = TokenCache::default();
        let asked = AtomicUsize::new(0);
        let ask = |lifetime| {
            let asked = &asked;
            async move {
                tokio::task::yield_now().await;
                let value = asked.fetch_add(1, Ordering::Relaxed);
                Ok(Expiring { value, lifetime })
            }
        };
        let hour = Duration::from_secs(3600);
        let (a, b) = tokio::join!(cache.get("x", ask(hour)), cache.get("x", ask(hour)));
        assert_eq!((a, b), (Ok(0), Ok(0)));
        assert_eq!(cache.get("y", ask(Duration::ZERO)).await, Ok(1));
        assert_eq!(cache.get("y", ask(hour)).await, Ok(2));
        cache.forget("x");
        assert_eq!(cache.get("x", ask(hour)).await, Ok(3));
    }

    #[tokio::test]
    async fn failures_are_not_kept_and_the_number_of_tokens_is_bounded() {
        let cache = TokenCache::default();
        let error = SourceError::retry("X", "no");
        assert_eq!(cache.get("x", async { Err(error.clone()) }).await, Err(error));
        for n in 0..CAPACITY + 10 {
            let lifetime = Duration::from_secs(3600);
            let got = cache
                .get(&n.to_string(), async { Ok(Expiring { value: n, lifetime }) })
                .await;
            assert_eq!(got, Ok(n));
        }
        assert!(cache.slots.lock().unwrap().len() <= CAPACITY);
    }
}
