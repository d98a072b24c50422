//! Which peers there is something to observe of, and when the engine is told so.
//!
//! A device may know ten thousand peers and hear of ten. The engine looks at those that were marked since it last did, and at no
//! others. A shard marks a peer after every batch; all but the first of these between two observations find the mark
//! and touch nothing that other shards use.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::peers::Peer;

/// The marks since the last observation.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// The engine was told and has not looked yet.
    is_told: AtomicBool,
    notify: Notify,
    marked: Mutex<Marked>,
}

#[derive(Debug, Default)]
struct Marked {
    peers: Vec<Arc<Peer>>,
    /// Empty, with the room that an earlier list had: shards are not to allocate.
    spare: Vec<Arc<Peer>>,
}

impl Activity {
    pub(super) fn notify(&self) -> &Notify {
        &self.notify
    }

    /// Tells the engine that the data plane itself changed, however much it was told already.
    pub(super) fn alarm(&self) {
        self.notify.notify_one();
    }

    /// There is something to observe of a peer.
    pub(super) fn mark(&self, peer: &Arc<Peer>) {
        if peer.set_mark() {
            self.marked.lock().peers.push(Arc::clone(peer));
        }
        if !self.is_told.load(Ordering::Acquire) && !self.is_told.swap(true, Ordering::AcqRel) {
            self.notify.notify_one();
        }
    }

    /// Names every marked peer once. Whoever is marked meanwhile is told anew.
    pub(super) fn take(&self, name: impl FnMut(Arc<Peer>)) {
        self.is_told.store(false, Ordering::Release);
        let mut peers = {
            let mut marked = self.marked.lock();
            let spare = mem::take(&mut marked.spare);
            mem::replace(&mut marked.peers, spare)
        };
        peers.drain(..).for_each(name);
        self.marked.lock().spare = peers;
    }
}
