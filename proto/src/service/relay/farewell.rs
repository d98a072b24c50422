//! Telling everybody that the relay is about to end.
//!
//! Every device that has a channel is told, and told again each second while it has one: the word may be lost, and
//! whoever has gone elsewhere has given its channels up. What is said at once fits the outbox; the rest comes with
//! the next call.

use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::Bound;
use core::time::Duration;

use lanyard_wire::ids::{Channel, DeviceId};
use lanyard_wire::relay::FromRelay;

use crate::service::say::Says;
use crate::time::{Instant, Wakeup};

/// Time between two rounds: longer than a device takes to move with one repeated question.
const ROUND: Duration = Duration::from_secs(1);

/// How far the telling is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Farewell {
    at: Instant,
    /// The last device told in the round under way.
    told: Option<DeviceId>,
}

impl Farewell {
    pub(super) const fn new(now: Instant) -> Self {
        Self { at: now, told: None }
    }

    /// Tells those whose turn it is.
    pub(super) fn say(
        &mut self,
        devices: &BTreeMap<DeviceId, BTreeSet<Channel>>,
        says: &mut Says,
        now: Instant,
    ) {
        if self.at > now {
            return;
        }
        let from = self.told.take().map_or(Bound::Unbounded, Bound::Excluded);
        for device in devices.range((from, Bound::Unbounded)).map(|(device, _)| *device) {
            says.tell(device, &FromRelay::Draining);
            if says.is_long() {
                self.told = Some(device);
                return;
            }
        }
        self.at = now + ROUND;
    }

    pub(super) const fn wakeup(&self) -> Wakeup {
        Wakeup { at: self.at, why: "the relay is about to end" }
    }
}
