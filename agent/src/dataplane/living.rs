//! The peers whose timers are driven: those that have a tunnel, or packets that wait for one.
//!
//! A device may know ten thousand peers and speak to ten. Four times a second the keeper looks at these ten; to look at
//! all of them for the few that live would be a cache miss for each.

use std::sync::Arc;

use parking_lot::Mutex;

use super::peers::Peer;

/// The list. Its lock is taken for a peer's first packet after a silence, and by the keeper.
#[derive(Debug, Default)]
pub(super) struct Living(Mutex<Vec<Arc<Peer>>>);

impl Living {
    /// Notes a peer that was not alive before; see [`Peer::revive`].
    pub(super) fn add(&self, peer: Arc<Peer>) {
        self.0.lock().push(peer);
    }

    /// Takes all of them. Whoever looks them up has to take the table's snapshot after this: an older one may lack the
    /// newest of them.
    pub(super) fn take(&self) -> Vec<Arc<Peer>> {
        std::mem::take(&mut *self.0.lock())
    }

    /// Gives back those that are still alive. Others may have been added meanwhile.
    pub(super) fn give_back(&self, mut peers: Vec<Arc<Peer>>) {
        let mut list = self.0.lock();
        peers.append(&mut list);
        *list = peers;
    }
}
