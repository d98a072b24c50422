//! What waits for a browser to come back: bounded, short-lived, given out once.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::index::Result;
use crate::index::secrets::Secret;

/// How long something waits.
const LIFETIME: Duration = Duration::from_secs(600);

/// How many wait at a time; one more, and the oldest is dropped.
const MAX: usize = 4_096;

/// Values that wait under secrets of 256 bits.
pub(super) struct Waiting<T>(Mutex<Held<T>>);

impl<T> fmt::Debug for Waiting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting(..)")
    }
}

struct Held<T> {
    values: HashMap<String, (Instant, T)>,
    /// The secrets in their order; one that was taken stays until its turn comes.
    order: VecDeque<(Instant, String)>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self(Mutex::new(Held { values: HashMap::new(), order: VecDeque::new() }))
    }
}

impl<T> Waiting<T> {
    /// Keeps a value, and returns the secret that it is given out for.
    ///
    /// # Errors
    /// When the operating system gives no random numbers.
    pub(super) fn keep(&self, value: T) -> Result<String> {
        self.keep_at(value, Instant::now())
    }

    /// Gives out what waits under a secret, once; `None` for what is too old, too.
    pub(super) fn take(&self, key: &str) -> Option<T> {
        self.take_at(key, Instant::now())
    }

    fn keep_at(&self, value: T, now: Instant) -> Result<String> {
        let key = Secret::draw()?.reveal();
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((since, _)) = held.order.front()
            && (held.order.len() >= MAX || now.duration_since(*since) >= LIFETIME)
        {
            if let Some((_, oldest)) = held.order.pop_front() {
                held.values.remove(&oldest);
            }
        }
        held.order.push_back((now, key.clone()));
        held.values.insert(key.clone(), (now, value));
        Ok(key)
    }

    fn take_at(&self, key: &str, now: Instant) -> Option<T> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, value) = held.values.remove(key)?;
        (now.duration_since(since) < LIFETIME).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_given_out_once_and_in_time() {
        let (waiting, now) = (Waiting::default(), Instant::now());
        let key = waiting.keep_at(1, now).unwrap();
        assert_eq!(waiting.take_at("another", now), None);
        assert_eq!(waiting.take_at(&key, now), Some(1));
        assert_eq!(waiting.take_at(&key, now), None, "once");
        let late = waiting.keep_at(2, now).unwrap();
        assert_eq!(waiting.take_at(&late, now + LIFETIME), None, "too late");
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let (waiting, now) = (Waiting::default(), Instant::now());
        let keys: Vec<String> = (0..MAX + 10).map(|number| waiting.keep_at(number, now).unwrap()).collect();
        {
            let held = waiting.0.lock().unwrap();
            assert!(held.values.len() == MAX && held.order.len() == MAX);
        }
        assert_eq!(waiting.take_at(&keys[9], now), None, "the oldest were dropped");
        assert_eq!(waiting.take_at(&keys[10], now), Some(10));
        waiting.keep_at(0, now + LIFETIME).unwrap();
        assert_eq!(waiting.0.lock().unwrap().values.len(), 1, "old ones leave by themselves");
    }
}
