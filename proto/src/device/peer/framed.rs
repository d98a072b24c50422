//! Probes in relay frames: through a carrier, or through the coordinator's relay to learn how far that way is.

use core::time::Duration;

use lanyard_wire::envelope::RelayHeader;
use lanyard_wire::ids::Channel;

use super::{Action, Peer};
use crate::device::pings::Heard;
use crate::device::punch::Size;
use crate::overlay::Path;
use crate::rejected::Rejected;
use crate::time::{Instant, Wakeup};
use crate::transmit::{Datagram, Transmit, Way};

/// The way through the relay is measured again after this, while it is used.
const AGAIN: Duration = Duration::from_secs(60);

/// The same as long as no answer came: before its first attempt a pair has no key for probes.
const AGAIN_UNANSWERED: Duration = Duration::from_secs(5);

/// How far the way through the coordinator's relay is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sounding {
    rtt: Option<Duration>,
    asked_at: Option<Instant>,
}

impl Sounding {
    /// Its round trip, once measured.
    pub(super) const fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    fn due_at(&self, now: Instant) -> Instant {
        let again = if self.rtt.is_some() { AGAIN } else { AGAIN_UNANSWERED };
        self.asked_at.map_or(now, |at| at + again)
    }
}

impl Peer {
    /// Reads a probe out of a frame of the pair's channel.
    ///
    /// # Errors
    ///
    /// When the peer did not make it, or it answers or repeats nothing it should.
    pub(in crate::device) fn handle_framed(
        &mut self,
        channel: Channel,
        inner: Datagram<'_>,
        now: Instant,
    ) -> Result<(), Rejected> {
        let way = inner.way();
        let is_carrier = self.is_carriers(Path::Relayed { relay: inner.remote, channel });
        match self.pings.handle_datagram(inner, now)? {
            Heard::Ping { answer } => {
                self.send_framed(channel, answer);
                if is_carrier {
                    self.pinged_by_carrier(way, now);
                }
            }
            Heard::Pong { size, rtt, .. } if is_carrier => self.answered_by_carrier(way, size, rtt, now),
            Heard::Pong { rtt, .. } => self.sounding.rtt = Some(rtt),
        }
        self.settle("proven", now);
        Ok(())
    }

    /// Measures the way through the coordinator's relay, where that is used and it is time.
    pub(super) fn sound(&mut self, now: Instant) {
        if let Some((way, channel)) = self.sounded()
            && self.sounding.due_at(now) <= now
        {
            self.sounding.asked_at = Some(now);
            if let Some(ping) = self.pings.ping(way, Size::Small, false, now) {
                self.send_framed(channel, ping);
            }
        }
    }

    /// When it is time again.
    pub(super) fn sounding_wakeup(&self) -> Option<Wakeup> {
        self.sounded()?;
        Some(Wakeup { at: self.sounding.due_at(self.sounding.asked_at?), why: "how far a relay is" })
    }

    /// Sends a probe in a frame.
    pub(super) fn send_framed(&mut self, channel: Channel, mut probe: Transmit) {
        let Ok(length) = u16::try_from(probe.bytes.len()) else { return };
        probe.bytes.splice(0..0, RelayHeader { channel, length }.encode());
        self.actions.push_back(Action::Send(probe));
    }

    fn sounded(&self) -> Option<(Way, Channel)> {
        match self.path {
            Path::Relayed { relay, channel } if !self.is_carriers(self.path) => {
                Some((Way::main(relay), channel))
            }
            Path::Relayed { .. } | Path::Direct { .. } | Path::None => None,
        }
    }
}
