//! How this process's services are, for `/healthz`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::config::Service;

/// One service's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// Not serving yet.
    Starting,
    /// Does its job.
    Ok,
    /// Goes on with what it knows; something it needs is away.
    Degraded {
        /// What is away.
        why: String,
    },
    /// Cannot do its job.
    Failed {
        /// Why.
        why: String,
    },
}

/// The states of all services here, shared.
#[derive(Debug, Clone, Default)]
pub struct Health {
    states: Arc<Mutex<BTreeMap<Service, State>>>,
}

impl Health {
    /// Begins with those services starting.
    #[must_use]
    pub fn of(services: &[Service]) -> Self {
        let states = services.iter().map(|service| (*service, State::Starting)).collect();
        Self { states: Arc::new(Mutex::new(states)) }
    }

    /// Notes a state of a service that runs here.
    pub fn set(&self, service: Service, state: State) {
        if let Some(now) = self.lock().get_mut(&service) {
            *now = state;
        }
    }

    /// Every service here and how it is.
    #[must_use]
    pub fn report(&self) -> BTreeMap<Service, State> {
        self.lock().clone()
    }

    /// The database answered.
    pub fn index_answers(&self) {
        self.set(Service::Index, State::Ok);
    }

    /// The database did not answer; tells whether that is news.
    #[must_use]
    pub fn index_fails(&self, why: &str) -> bool {
        let mut states = self.lock();
        let failed = State::Failed { why: why.to_owned() };
        states.insert(Service::Index, failed.clone()).is_none_or(|before| before != failed)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Service, State>> {
        // The map is whole after every statement, so a panic elsewhere leaves nothing half done.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
