//! Messages with RELAY, which forwards frames between the two ends of a channel.
//!
//! The frames themselves are in [`crate::envelope::RelayHeader`].

use crate::codec::messages::wire_variants;
use crate::ids::{Channel, DeviceId, RequestId};
use crate::token::Token;

/// From a device to RELAY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToRelay {
    /// Opens a channel, or says that it is still wanted; repeated until answered.
    Bind {
        /// Pairs the answer with it.
        request: RequestId,
        /// A token for a relay channel.
        token: Token,
    },
    /// Closes this end of a channel; sent once.
    Unbind {
        /// The channel.
        channel: Channel,
    },
}

wire_variants!(ToRelay "relay message" {
    0x30 => Bind { request, token },
    0x31 => Unbind { channel },
});

/// From RELAY to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromRelay {
    /// The channel is open.
    Bound {
        /// The Bind it answers.
        request: RequestId,
        /// The channel.
        channel: Channel,
        /// Whether the other end has a session here and so hears what is sent.
        peer_here: bool,
    },
    /// The channel is not open.
    Refused {
        /// The Bind it answers.
        request: RequestId,
        /// Why.
        why: RelayRefusal,
    },
    /// The peer opened a channel to this device; sent once, lost ones are made up for by the first frame.
    Incoming {
        /// The channel.
        channel: Channel,
        /// The device at its other end.
        peer: DeviceId,
    },
    /// This relay is about to end: it opens no more channels, and forwards on those it has until they have moved or it
    /// ends. Said again while the device has channels here.
    Draining,
}

wire_variants!(FromRelay "relay message" {
    0xB0 => Bound { request, channel, peer_here },
    0xB1 => Refused { request, why },
    0xB2 => Incoming { channel, peer },
    0xB3 => Draining,
});

/// Why a channel was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RelayRefusal {
    /// The token's time is over; the roster brings a new one.
    Expired,
    /// The token is not for this device, not for a channel, or not of this fleet.
    Forged,
    /// The channel is another pair's, or the service is draining.
    Busy,
    /// The service holds as many channels as it can.
    Full,
    /// Too many Binds from this device.
    RateLimited,
}

wire_variants!(RelayRefusal "relay refusal" {
    0x01 => Expired,
    0x02 => Forged,
    0x03 => Busy,
    0x04 => Full,
    0x05 => RateLimited,
});
