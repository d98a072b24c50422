//! Places for what takes long or much: so many of this process, and of one user so many of those.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// How many are taken, by user.
#[derive(Debug, Clone)]
pub(in crate::api) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    most_of_one: usize,
    taken: Mutex<BTreeMap<String, usize>>,
    freed: Notify,
}

/// One of them; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    user: String,
}

impl Places {
    /// So many of all, and so many of one user.
    pub(in crate::api) fn new(most: usize, most_of_one: usize) -> Self {
        let taken = Mutex::new(BTreeMap::new());
        Self(Arc::new(Inner { most, most_of_one, taken, freed: Notify::new() }))
    }

    /// A place for that user, if there is one.
    pub(super) fn take(&self, user: &str) -> Option<Place> {
        let mut taken = self.lock();
        if taken.values().sum::<usize>() >= self.0.most {
            return None;
        }
        let own = taken.entry(user.to_owned()).or_default();
        if *own >= self.0.most_of_one {
            return None;
        }
        *own += 1;
        Some(Place { places: self.clone(), user: user.to_owned() })
    }

    /// The same, as soon as there is one, if that is soon enough.
    pub(super) async fn wait(&self, user: &str, patience: Duration) -> Option<Place> {
        let waiting = async {
            loop {
                let freed = self.0.freed.notified();
                tokio::pin!(freed);
                // Before it looks: a place that gets free meanwhile wakes it.
                freed.as_mut().enable();
                if let Some(place) = self.take(user) {
                    return place;
                }
                freed.await;
            }
        };
        timeout(patience, waiting).await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        // The numbers are right after every statement, so a panic elsewhere leaves nothing half done.
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(own) = taken.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.user);
            }
        }
        drop(taken);
        self.places.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_so_many_places_and_each_is_free_when_it_is_left() {
        let places = Places::new(5, 2);
        let mut own: Vec<Place> = (0..2).map(|_| places.take("anna").unwrap()).collect();
        assert!(places.take("anna").is_none());
        let others: Vec<Place> = (0..).map_while(|number| places.take(&format!("user-{number}"))).collect();
        assert_eq!(others.len() + own.len(), 5);
        own.pop();
        assert!(places.take("anna").is_some());
        drop((own, others));
        assert!(places.lock().is_empty());
    }

    #[tokio::test]
    async fn who_waits_gets_the_place_that_is_left_and_waits_no_longer_than_they_want() {
        let places = Places::new(1, 1);
        let first = places.take("anna").unwrap();
        assert!(places.wait("ben", Duration::from_millis(20)).await.is_none());
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.wait("ben", Duration::from_secs(20)).await.is_some() }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waiting.await.unwrap());
    }
}
