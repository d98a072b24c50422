//! Writes the state without keeping the engine waiting for the disk.
//!
//! Only the newest state is of interest: what comes while the disk is busy replaces what waits.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{State, Store};

/// Takes states and writes the newest one.
#[derive(Debug)]
pub struct Writer {
    newest: watch::Sender<State>,
    task: JoinHandle<()>,
}

impl Writer {
    /// Writes to `store` from now on. Needs a Tokio runtime.
    #[must_use]
    pub fn start(store: Store) -> Self {
        let (newest, states) = watch::channel(State::default());
        Self { newest, task: tokio::spawn(write(Arc::new(store), states)) }
    }

    /// Has this state written as soon as the disk is free.
    pub fn save(&self, state: State) {
        self.newest.send_replace(state);
    }

    /// Waits until the newest state is on the disk, and frees the state directory.
    pub async fn finish(self) {
        drop(self.newest);
        // It fails only by a panic, which has ended the process already.
        drop(self.task.await);
    }
}

async fn write(store: Arc<Store>, mut states: watch::Receiver<State>) {
    let mut failing = false;
    while states.changed().await.is_ok() {
        let state = states.borrow_and_update().clone();
        let store = Arc::clone(&store);
        match tokio::task::spawn_blocking(move || store.save(&state)).await {
            Ok(Ok(())) => failing = false,
            // Once, not with every try: the disk may stay full for days.
            Ok(Err(problem)) if !failing => {
                failing = true;
                tracing::error!(code = problem.code.as_str(), "{}", problem.text);
            }
            Ok(Err(_)) => {}
            Err(error) => tracing::error!(%error, "the state was not written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Damaged;

    #[tokio::test]
    async fn the_newest_state_is_on_the_disk_when_the_writer_finished() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _, mut state) = Store::open(directory.path(), Damaged::Refuse).unwrap();
        let writer = Writer::start(store);
        for port in 1..=200 {
            state.port = port;
            writer.save(state.clone());
            if port % 50 == 0 {
                tokio::task::yield_now().await;
            }
        }
        writer.finish().await;

        let (_store, _, read) = Store::open(directory.path(), Damaged::Refuse).unwrap();
        assert_eq!(read.port, 200);
    }
}
