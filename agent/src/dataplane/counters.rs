//! What the data plane counts: every packet it drops, by reason, of all peers together and of each.

use std::sync::atomic::{AtomicU64, Ordering};

use super::tunnel::Refusal;

macro_rules! dropped {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal,)+) => {
        /// Why a packet or datagram went no further.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Dropped {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Dropped {
            /// All of them, in the order in which [`Counters`] lists them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name of the counter.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

dropped! {
    /// From the TUN: not an IP packet, or headers that contradict each other.
    OddPacket => "tx_odd_packet",
    /// From the TUN: to no peer and to no address of a network; multicast mostly.
    NotRouted => "tx_not_routed",
    /// From the TUN: to an address of a network that no peer has; answered with "unreachable".
    NoPeer => "tx_no_peer",
    /// From the TUN: longer than the path to the peer carries, and not to be cut; answered with "too big".
    TooBig => "tx_too_big",
    /// From the TUN: pushed out by newer packets waiting for the same peer.
    WaitedTooLong => "tx_waited_too_long",
    /// To the network: the send buffer stayed full.
    SendBufferFull => "tx_send_buffer_full",
    /// To the network: longer than the first link takes.
    TooLong => "tx_too_long",
    /// To the network: refused by the kernel, no route mostly.
    SendFailed => "tx_failed",
    /// From the network: nothing that belongs on this port.
    Noise => "rx_noise",
    /// From the network: WireGuard, but not well-formed.
    Malformed => "rx_malformed",
    /// From the network: a data counter that no honest session reaches.
    CounterLimit => "rx_counter_limit",
    /// From the network: a relay frame of a channel that is not ours.
    UnknownChannel => "rx_unknown_channel",
    /// From the network: of a pair for which this device is a peer relay, and more than it passes on.
    OverRate => "rx_over_rate",
    /// From the network: for a session that is not known, after a restart mostly.
    NoSession => "rx_no_session",
    /// From the network: seen before, or too old.
    Replayed => "rx_replayed",
    /// From the network: not made by who it should be.
    Unauthenticated => "rx_unauthenticated",
    /// From the network: an initiation of someone who is no peer.
    UnknownPeer => "rx_unknown_peer",
    /// From the network: more handshakes than one source, or all together, may ask for.
    HandshakeLimit => "rx_handshake_limit",
    /// From a peer: an inner source that is not its address.
    ForeignSource => "rx_foreign_source",
    /// From a peer: to an inner address that is not ours.
    ForeignDestination => "rx_foreign_destination",
    /// From the network: a control message while the engine was behind.
    ControlFull => "rx_control_full",
    /// From a peer: a packet that came before the session, again. Not lost, delivered the first time.
    CameEarly => "rx_came_early",
    /// From a peer: the TUN did not take it.
    TunRefused => "rx_tun_refused",
}

impl From<Refusal> for Dropped {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed => Self::Malformed,
            Refusal::CounterLimit => Self::CounterLimit,
            Refusal::NoSession => Self::NoSession,
            Refusal::Replayed => Self::Replayed,
            Refusal::Unauthenticated => Self::Unauthenticated,
            Refusal::UnderLoad => Self::HandshakeLimit,
        }
    }
}

/// The counters while they run, shared by all threads. Drops are rare, so sharing costs nothing.
#[derive(Debug)]
pub(super) struct Counts([AtomicU64; Dropped::ALL.len()]);

impl Counts {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    pub(super) fn drop_one(&self, why: Dropped) {
        self.drop_many(why, 1);
    }

    pub(super) fn drop_many(&self, why: Dropped, count: u64) {
        tracing::trace!(why = why.as_str(), count, "dropped");
        self.add(why, count);
    }

    /// Counts what was told before.
    pub(super) fn add(&self, why: Dropped, count: u64) {
        if let Some(counter) = self.0.get(why as usize) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> Counters {
        let dropped = Dropped::ALL.iter().zip(&self.0);
        Counters { dropped: dropped.map(|(why, count)| (*why, count.load(Ordering::Relaxed))).collect() }
    }
}

/// What has been dropped since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Every reason and how often, in the order of [`Dropped::ALL`].
    pub dropped: Vec<(Dropped, u64)>,
}

impl Counters {
    /// How often for one reason.
    #[must_use]
    pub fn of(&self, why: Dropped) -> u64 {
        self.dropped.iter().find(|(reason, _)| *reason == why).map_or(0, |(_, count)| *count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        let counts = Counts::new();
        for (number, why) in Dropped::ALL.iter().enumerate() {
            counts.drop_many(*why, number as u64);
        }
        let read = counts.read();
        for (number, why) in Dropped::ALL.iter().enumerate() {
            assert_eq!(read.of(*why), number as u64, "{}", why.as_str());
        }
        let mut names: Vec<_> = Dropped::ALL.iter().map(|why| why.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Dropped::ALL.len());
    }
}
