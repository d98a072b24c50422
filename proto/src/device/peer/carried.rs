//! The way through a carrier: another member that passes on this pair's frames.
//!
//! To the rules of [`Paths`] it is a path like a direct one: pinged at full size before it counts, watched while it is used,
//! left for the coordinator's relay as soon as it does not answer. Its lane is the carrier's address; what goes there has a
//! relay header in front.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::carry::{Carry, CarryWord};
use lanyard_wire::ids::{Channel, DeviceId};

use super::{Action, Peer};
use crate::device::path::{PathEvent, Paths};
use crate::device::punch::Size;
use crate::overlay::Path;
use crate::rejected::Rejected;
use crate::time::{Instant, Wakeup};
use crate::transmit::Way;

/// The coordinator's relay is kept where the way through the carrier takes more than twice its time and this: a member is there
/// to spare the relay, not to be a detour that people notice.
const DETOUR_MAX: Duration = Duration::from_millis(20);

/// The way through one carrier.
#[derive(Clone, Debug, Default)]
pub(super) struct Carried {
    /// The carrier's address, and the pair's channel.
    at: Option<(SocketAddr, Channel)>,
    paths: Paths,
}

impl Carried {
    /// Whether the way through the carrier is much longer than that through the relay, of which the round trip is known or not.
    fn is_detour(&self, relay: Option<Duration>) -> bool {
        match (self.paths.rtt(), relay) {
            (Some(rtt), Some(relay)) => rtt > relay * 2 + DETOUR_MAX,
            (Some(_) | None, None) | (None, Some(_)) => false,
        }
    }

    /// Whether a datagram of this path came through the carrier.
    fn is_path(&self, path: Path) -> bool {
        matches!((path, self.at), (Path::Relayed { relay, channel }, Some(at)) if at == (relay, channel))
    }
}

impl Peer {
    /// Whether the pair is relayed for want of a direct path, and nothing is under way to get one.
    pub(in crate::device) fn wants_carrier(&self) -> bool {
        self.may_be_carried() && self.reach.is_online && !self.attempt.is_running() && self.path != Path::None
    }

    /// Whether a carrier is of use as long as there is one.
    pub(in crate::device) fn may_be_carried(&self) -> bool {
        self.traffic_at.is_some() && self.paths.current().is_none()
    }

    /// Whether datagrams go through a carrier, or could.
    pub(in crate::device) fn is_carried(&self) -> bool {
        self.carried.paths.current().is_some()
    }

    /// Where the carrier is, and the pair's channel there.
    pub(in crate::device) const fn carrier(&self) -> Option<(SocketAddr, Channel)> {
        self.carried.at
    }

    /// Whether this is the path through the carrier.
    pub(in crate::device) fn is_carriers(&self, path: Path) -> bool {
        self.carried.is_path(path)
    }

    /// A carrier at this address has opened the pair's channel, or none has any more.
    pub(in crate::device) fn set_carrier(&mut self, at: Option<(SocketAddr, Channel)>, now: Instant) {
        if self.carried.at != at {
            self.carried = Carried { at, paths: Paths::default() };
        }
        if let Some((carrier, _)) = at {
            self.carried.paths.pinged_from(Way::main(carrier), true, now);
        }
        self.settle("a carrier", now);
    }

    /// The direct path is pinged now, and suspect if it does not answer.
    pub(in crate::device) fn ping_path(&mut self, now: Instant) {
        self.paths.ping(now);
        self.settle("a carrier", now);
    }

    /// Something to be said to this peer about a pair of which it is, or has, the carrier.
    pub(in crate::device) fn carry_word(
        &mut self,
        word: CarryWord,
        peer: DeviceId,
        channel: Channel,
    ) -> Option<Carry> {
        self.pings.word(word, peer, channel)
    }

    /// The datagram for it.
    pub(in crate::device) fn seal_carry(&self, carry: &Carry) -> Option<Vec<u8>> {
        self.pings.seal(carry)
    }

    /// Reads what it says.
    ///
    /// # Errors
    ///
    /// When it did not say it.
    pub(in crate::device) fn open_carry(&self, datagram: &[u8]) -> Result<Carry, Rejected> {
        self.pings.open(datagram)
    }

    /// Datagrams of the tunnel came by a relayed path.
    pub(super) fn heard_by_carrier(&mut self, path: Path, packets: u32, now: Instant) {
        let is_carriers = self.carried.is_path(path);
        if let Path::Relayed { relay, .. } = path {
            if is_carriers {
                self.carried.paths.heard(Way::main(relay), packets, now);
            } else {
                self.carried.paths.heard_by_relay(now);
            }
        }
    }

    /// Brings the way through the carrier in line; the reason for a change of path, if there is one.
    pub(super) fn align_carried(&mut self, is_active: bool, now: Instant) -> Option<&'static str> {
        let mut why = None;
        self.carried.paths.set_active(is_active, now);
        while let Some(event) = self.carried.paths.poll_event() {
            match event {
                PathEvent::Chosen { .. } => why = Some("a carrier"),
                PathEvent::Stopped => {}
                // Not even a doubt is forgiven: where the carrier's link loses much, answers would come often enough to keep
                // the way and data would not, and the relay is there.
                PathEvent::Suspected | PathEvent::Lost { .. } => {
                    why = Some("the carrier does not answer");
                    self.repeats.missed();
                    self.relayed.renew();
                    self.carried.at = None;
                    self.actions.push_back(Action::CarrierLost);
                }
            }
        }
        while let Some(probe) = self.carried.paths.poll_probe() {
            if let Some((_, channel)) = self.carried.at
                && let Some(ping) = self.pings.ping(probe.way, probe.size, false, now)
            {
                self.send_framed(channel, ping);
            }
        }
        why
    }

    /// The path through the carrier, if it is to be used.
    pub(super) fn carried_path(&self) -> Option<Path> {
        let (relay, channel) = self.carried.at?;
        self.carried.paths.live()?;
        (!self.carried.is_detour(self.sounding.rtt())).then_some(Path::Relayed { relay, channel })
    }

    /// A ping came through the carrier.
    pub(super) fn pinged_by_carrier(&mut self, way: Way, now: Instant) {
        self.carried.paths.pinged_from(way, true, now);
    }

    /// One of ours was answered through it.
    pub(super) fn answered_by_carrier(&mut self, way: Way, size: Size, rtt: Duration, now: Instant) {
        self.carried.paths.answered(way, size, rtt, now);
    }

    /// Does what is due.
    pub(super) fn carried_timeout(&mut self, now: Instant) {
        self.carried.paths.handle_timeout(now);
    }

    /// When something is due.
    pub(super) fn carried_wakeup(&self) -> Option<Wakeup> {
        self.carried.paths.poll_timeout()
    }

    /// Our own network changed.
    pub(super) fn carrier_network_changed(&mut self, now: Instant) {
        self.carried.paths.network_changed(now);
    }

    /// Round trip through the carrier.
    pub(super) fn carried_rtt(&self) -> Option<Duration> {
        self.carried.paths.rtt()
    }

    /// Something went out through the carrier, and nothing came in.
    pub(super) fn sent_by_carrier(&mut self, since: Instant) {
        self.carried.paths.sent(since);
    }
}
