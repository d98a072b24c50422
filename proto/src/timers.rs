//! A table of timers keyed by an enum.
//!
//! A machine names each of its timers with a variant (`Timer::KeepAlive`, `Timer::Repeat(push)`), sets and
//! cancels them by that name, and takes the due ones in `handle_timeout`. One key has at most one moment.
//! The order of due timers is by moment, then by key, so that a run repeats exactly.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::time::Instant;

/// Timers by key; the earliest is found in logarithmic time.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    moments: BTreeMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Clone> Timers<K> {
    /// No timer is set.
    #[must_use]
    pub const fn new() -> Self {
        Self { moments: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// Sets or moves the timer of `key`.
    pub fn set(&mut self, key: K, at: Instant) {
        if let Some(old) = self.moments.insert(key.clone(), at) {
            if old == at {
                return;
            }
            self.order.remove(&(old, key.clone()));
        }
        self.order.insert((at, key));
    }

    /// Sets the timer of `key` unless it is already set to go off earlier.
    pub fn set_earliest(&mut self, key: K, at: Instant) {
        if self.moments.get(&key).is_none_or(|old| at < *old) {
            self.set(key, at);
        }
    }

    /// Cancels the timer of `key`; says whether it was set.
    pub fn cancel(&mut self, key: &K) -> bool {
        match self.moments.remove(key) {
            Some(at) => self.order.remove(&(at, key.clone())),
            None => false,
        }
    }

    /// When the timer of `key` goes off, if it is set.
    #[must_use]
    pub fn at(&self, key: &K) -> Option<Instant> {
        self.moments.get(key).copied()
    }

    /// The timer that goes off first.
    #[must_use]
    pub fn first(&self) -> Option<(Instant, &K)> {
        self.order.first().map(|(at, key)| (*at, key))
    }

    /// Takes the first timer that is due at `now`; call until `None`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.order.first().is_none_or(|(at, _)| *at > now) {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.moments.remove(&key);
        Some(key)
    }

    /// How many timers are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.moments.len()
    }

    /// Whether no timer is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.moments.is_empty()
    }

    /// Cancels all timers.
    pub fn clear(&mut self) {
        self.moments.clear();
        self.order.clear();
    }
}

impl<K: Ord + Clone> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    enum Timer {
        KeepAlive,
        Repeat(u32),
    }

    #[test]
    fn timers_come_due_in_the_order_of_their_moments() {
        let mut timers = Timers::new();
        timers.set(Timer::KeepAlive, Instant::from_secs(3));
        timers.set(Timer::Repeat(2), Instant::from_secs(1));
        timers.set(Timer::Repeat(1), Instant::from_secs(1));
        assert_eq!(timers.pop_due(Instant::ZERO), None);
        assert_eq!(timers.pop_due(Instant::from_secs(2)), Some(Timer::Repeat(1)));
        assert_eq!(timers.pop_due(Instant::from_secs(2)), Some(Timer::Repeat(2)));
        assert_eq!(timers.pop_due(Instant::from_secs(2)), None);
        assert_eq!(timers.first(), Some((Instant::from_secs(3), &Timer::KeepAlive)));
    }

    #[test]
    fn a_timer_that_is_set_again_has_moved() {
        let mut timers = Timers::new();
        timers.set(Timer::KeepAlive, Instant::from_secs(1));
        timers.set(Timer::KeepAlive, Instant::from_secs(9));
        assert_eq!(timers.len(), 1);
        assert_eq!(timers.pop_due(Instant::from_secs(5)), None);
        assert_eq!(timers.pop_due(Instant::from_secs(9)), Some(Timer::KeepAlive));
        assert!(timers.is_empty());
    }

    #[test]
    fn set_earliest_brings_forward_and_never_puts_off() {
        let mut timers = Timers::new();
        timers.set_earliest(Timer::KeepAlive, Instant::from_secs(5));
        timers.set_earliest(Timer::KeepAlive, Instant::from_secs(8));
        assert_eq!(timers.at(&Timer::KeepAlive), Some(Instant::from_secs(5)));
        timers.set_earliest(Timer::KeepAlive, Instant::from_secs(2));
        assert_eq!(timers.at(&Timer::KeepAlive), Some(Instant::from_secs(2)));
        assert_eq!(timers.len(), 1);
    }

    #[test]
    fn a_cancelled_timer_never_goes_off() {
        let mut timers = Timers::new();
        timers.set(Timer::KeepAlive, Instant::from_secs(1));
        assert!(timers.cancel(&Timer::KeepAlive));
        assert!(!timers.cancel(&Timer::KeepAlive));
        assert_eq!(timers.pop_due(Instant::MAX), None);
        assert_eq!(timers.first(), None);
    }
}
