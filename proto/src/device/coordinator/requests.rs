//! Questions to CHECKPOINT that wait for their answers.
//!
//! Each is repeated under the same id, so that the service answers a repetition without doing the thing
//! twice. While no session stands they wait; a new session sends them all again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use lanyard_wire::checkpoint::ToCheckpoint;
use lanyard_wire::codec::Wire as _;
use lanyard_wire::ids::{DeviceId, NetworkId, RequestId};

use super::super::directory::RosterAsk;
use super::repeat::Repeat;
use crate::time::Instant;

/// Questions under way at the most; one more displaces the oldest.
const REQUESTS_MAX: usize = 256;

/// Age at which the wish to begin an attempt is dropped: whoever had it has another plan by then.
const BEGIN_AGE: Duration = Duration::from_secs(15);

/// What an answer will be about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Presence.
    Register,
    /// The program's join.
    Join { tag: u64 },
    /// The program's leave.
    Leave { tag: u64, network: NetworkId },
    /// Changes of a network.
    Roster(RosterAsk),
    /// An attempt.
    Begin { peer: DeviceId },
    /// The list of refused devices.
    Consent,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Requests {
    next: u32,
    pending: BTreeMap<u64, Pending>,
    /// Counts questions, so that the oldest comes first however the ids wrap.
    order: u64,
}

#[derive(Debug)]
struct Pending {
    id: RequestId,
    ask: Ask,
    body: Vec<u8>,
    repeat: Repeat,
    until: Option<Instant>,
}

impl Ask {
    /// Does a question make another one pointless?
    fn replaces(&self, older: &Self) -> bool {
        match (self, older) {
            (Self::Register, Self::Register) | (Self::Consent, Self::Consent) => true,
            (Self::Roster(ask), Self::Roster(older)) => ask.network == older.network,
            (Self::Begin { peer }, Self::Begin { peer: older }) => peer == older,
            (
                Self::Register
                | Self::Join { .. }
                | Self::Leave { .. }
                | Self::Roster(_)
                | Self::Begin { .. }
                | Self::Consent,
                _,
            ) => false,
        }
    }
}

impl Requests {
    /// None; ids count from `first` on.
    pub(super) const fn new(first: u32) -> Self {
        Self { next: first, pending: BTreeMap::new(), order: 0 }
    }

    /// An id that no other question has.
    pub(super) const fn next_id(&mut self) -> RequestId {
        self.next = self.next.wrapping_add(1);
        RequestId::new(self.next)
    }

    /// Asks, in place of an older question that this one makes pointless.
    pub(super) fn ask(&mut self, ask: Ask, now: Instant, message: impl FnOnce(RequestId) -> ToCheckpoint) {
        self.pending.retain(|_, pending| !ask.replaces(&pending.ask));
        if self.pending.len() >= REQUESTS_MAX {
            self.pending.pop_first();
        }
        let id = self.next_id();
        let until = matches!(ask, Ask::Begin { .. }).then(|| now + BEGIN_AGE);
        let body = message(id).to_bytes();
        self.order += 1;
        self.pending.insert(self.order, Pending { id, ask, body, repeat: Repeat::from(now), until });
    }

    /// Is a question about this network under way?
    pub(super) fn asks_for(&self, network: NetworkId) -> bool {
        self.pending
            .values()
            .any(|pending| matches!(&pending.ask, Ask::Roster(ask) if ask.network == network))
    }

    /// The question that an answer belongs to, which is settled with that.
    pub(super) fn take(&mut self, id: RequestId) -> Option<Ask> {
        let order = *self.pending.iter().find(|(_, pending)| pending.id == id)?.0;
        self.pending.remove(&order).map(|pending| pending.ask)
    }

    /// A new session stands: everything is asked again.
    pub(super) fn restart(&mut self, now: Instant) {
        for pending in self.pending.values_mut() {
            pending.repeat = Repeat::from(now);
        }
    }

    /// What to send now, oldest first.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.pending.retain(|_, pending| pending.until.is_none_or(|until| now < until));
        let due = self.pending.values_mut().filter(|pending| pending.repeat.at() <= now);
        due.filter_map(|pending| pending.repeat.is_due(now).then(|| pending.body.clone())).collect()
    }

    /// When something is to be sent.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.repeat.at()).min()
    }
}
