//! The way through a carrier: another member that passes on this pair's frames.
//!
//! To the rules of [`Paths`] it is a path like a direct one: pinged at full size before it counts, watched while it is used,
//! left for the coordinator's relay as soon as it does not answer. Its lane is the carrier's address; what goes there has a
//! relay header in front.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use lanyard_wire::carry::{Carry, CarryWord};
use lanyard_wire::envelope::RelayHeader;
use lanyard_wire::ids::{Channel, DeviceId};

use super::{Action, Peer};
use crate::device::path::{PathEvent, Paths};
use crate::device::pings::Heard;
use crate::device::punch::Size;
use crate::overlay::Path;
use crate::rejected::Rejected;
use crate::time::{Instant, Wakeup};
use crate::transmit::{Datagram, Transmit, Way};

/// The coordinator's relay is kept where the way through the carrier takes more than twice its time and this: a member is there
/// to spare the relay, not to be a detour that people notice.
const DETOUR_MAX: Duration = Duration::from_millis(20);

/// The way through one carrier.
#[derive(Clone, Debug, Default)]
pub(super) struct Carried {
    /// The carrier's address, and the pair's channel.
    at: Option<(SocketAddr, Channel)>,
    paths: Paths,
    /// Round trip through the coordinator's relay, once measured.
    relay_rtt: Option<Duration>,
}

impl Carried {
    /// The path, if it answers and is not much longer than the relay's.
    fn live(&self) -> Option<Path> {
        let (relay, channel) = self.at?;
        self.paths.live()?;
        let is_detour = match (self.paths.rtt(), self.relay_rtt) {
            (Some(rtt), Some(relay)) => rtt > relay * 2 + DETOUR_MAX,
            (Some(_) | None, None) | (None, Some(_)) => false,
        };
        (!is_detour).then_some(Path::Relayed { relay, channel })
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
            let relay_rtt = self.carried.relay_rtt;
            self.carried = Carried { at, relay_rtt, ..Carried::default() };
            if at.is_some() {
                self.measure_relay(now);
            }
        }
        if let Some((carrier, _)) = at {
            self.carried.paths.pinged_from(Way::main(carrier), true, now);
        }
        self.settle("a carrier", now);
    }

    /// Reads a probe out of a frame that came from the carrier or the coordinator's relay.
    ///
    /// # Errors
    ///
    /// When the pair has no such channel there, the peer did not make it, or it answers or repeats nothing it should.
    pub(in crate::device) fn handle_framed(
        &mut self,
        channel: Channel,
        inner: Datagram<'_>,
        now: Instant,
    ) -> Result<(), Rejected> {
        let (way, path) = (inner.way(), Path::Relayed { relay: inner.remote, channel });
        let is_carrier = self.carried.is_path(path);
        let is_relay = self
            .reach
            .grant
            .is_some_and(|grant| grant.addr == inner.remote && grant.channel() == Some(channel));
        if !is_carrier && !is_relay {
            return Err(Rejected::UnknownChannel);
        }
        match self.pings.handle_datagram(inner, now)? {
            Heard::Ping { answer } => {
                self.send_framed(channel, answer);
                if is_carrier {
                    self.carried.paths.pinged_from(way, true, now);
                }
            }
            Heard::Pong { size, rtt, .. } if is_carrier => self.carried.paths.answered(way, size, rtt, now),
            Heard::Pong { rtt, .. } => self.carried.relay_rtt = Some(rtt),
        }
        self.settle("proven", now);
        Ok(())
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
        self.carried.live()
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
        self.carried.relay_rtt = None;
    }

    /// Round trip through the carrier.
    pub(super) fn carried_rtt(&self) -> Option<Duration> {
        self.carried.paths.rtt()
    }

    /// Something went out through the carrier, and nothing came in.
    pub(super) fn sent_by_carrier(&mut self, now: Instant) {
        self.carried.paths.sent(now);
    }

    /// One ping through the coordinator's relay: is it much nearer than the carrier?
    fn measure_relay(&mut self, now: Instant) {
        if let Some(Path::Relayed { relay, channel }) = self.relayed.path()
            && let Some(ping) = self.pings.ping(Way::main(relay), Size::Small, false, now)
        {
            self.send_framed(channel, ping);
        }
    }

    fn send_framed(&mut self, channel: Channel, mut probe: Transmit) {
        let Ok(length) = u16::try_from(probe.bytes.len()) else { return };
        probe.bytes.splice(0..0, RelayHeader { channel, length }.encode());
        self.actions.push_back(Action::Send(probe));
    }
}
