//! One channel of a pair at the relay: two devices, and where each is now.
//!
//! A binding caches the addresses of both ends' sessions, so that forwarding a packet is one look-up of the
//! channel and one comparison. Whoever moves a session tells the binding.

use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::ids::DeviceId;

use super::limits::Account;
use crate::service::place::Spot;
use crate::time::Instant;

/// How long a binding lives without a packet.
///
/// Longer than the 180 s after which a device lets an idle path go, so that bindings end by their owners'
/// word and not by ours.
pub(super) const IDLE: Duration = Duration::from_secs(300);

/// One end of a channel.
#[derive(Clone, Copy, Debug)]
struct End {
    device: DeviceId,
    /// Where its session is; `None` while it has none here.
    spot: Option<Spot>,
    /// Whether the end asked for the channel or used it, and did not let it go since.
    holds: bool,
}

/// A channel between two devices.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    ends: [End; 2],
    /// What the pair has used of the relay's limits.
    pub(super) account: Account,
    used: Instant,
}

/// Where a packet of a binding goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the other end.
    To(SocketAddr),
    /// The packet does not come from either end.
    Stranger,
    /// The other end has no session here, or has not shown yet that it is where it seems to be.
    Away,
}

impl Binding {
    /// A channel asked for by `holder`; the other end may use it from now on, too.
    pub(super) fn new(holder: DeviceId, other: DeviceId, account: Account, now: Instant) -> Self {
        let ends = [
            End { device: holder, spot: None, holds: true },
            End { device: other, spot: None, holds: false },
        ];
        Self { ends, account, used: now }
    }

    pub(super) const fn devices(&self) -> [DeviceId; 2] {
        [self.ends[0].device, self.ends[1].device]
    }

    /// Whether the channel is between these two.
    pub(super) fn joins(&self, first: DeviceId, second: DeviceId) -> bool {
        let devices = self.devices();
        devices == [first, second] || devices == [second, first]
    }

    /// Notes where a device is now; `None` when it has no session any more.
    pub(super) fn place(&mut self, device: DeviceId, spot: Option<Spot>) {
        for end in self.ends.iter_mut().filter(|end| end.device == device) {
            end.spot = spot;
        }
    }

    /// Notes that a device wants the channel.
    pub(super) fn hold(&mut self, device: DeviceId, now: Instant) {
        self.used = now;
        for end in self.ends.iter_mut().filter(|end| end.device == device) {
            end.holds = true;
        }
    }

    /// Notes that a device lets the channel go; says whether nobody wants it any more.
    pub(super) fn release(&mut self, device: DeviceId) -> bool {
        for end in self.ends.iter_mut().filter(|end| end.device == device) {
            end.holds = false;
        }
        self.ends.iter().all(|end| !end.holds)
    }

    pub(super) fn is_idle(&self, now: Instant) -> bool {
        now.saturating_since(self.used) >= IDLE
    }

    /// When the binding ends if nothing more is heard.
    pub(super) fn ends_at(&self) -> Instant {
        self.used + IDLE
    }

    /// Where packets from `remote` go.
    pub(super) fn way(&mut self, remote: SocketAddr, now: Instant) -> Way {
        let [first, second] = &mut self.ends;
        let is_from = |end: &End| end.spot.is_some_and(|spot| spot.addr == remote);
        let (from, to) = if is_from(first) {
            (first, second)
        } else if is_from(second) {
            (second, first)
        } else {
            return Way::Stranger;
        };
        // Whoever sends from an address need not be there: a stream must not follow a forged source.
        let Some(spot) = to.spot.filter(|spot| spot.is_proven) else { return Way::Away };
        from.holds = true;
        self.used = now;
        Way::To(spot.addr)
    }
}
