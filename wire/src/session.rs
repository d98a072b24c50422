//! Messages about the session itself, the same with every service.

use core::net::SocketAddr;

use crate::codec::messages::wire_variants;
use crate::keys::PublicKey;
use crate::seal::Ticket;

/// From a service to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromService {
    /// A newer ticket; the older one stays good until it expires.
    Ticket(Ticket),
    /// Go to another service: this one is draining.
    Move {
        /// Where it is.
        addr: SocketAddr,
        /// Its identity; a device follows only to keys of the same coordinator.
        key: PublicKey,
    },
}

wire_variants!(FromService "session message" {
    0xC1 => Ticket(ticket),
    0xC2 => Move { addr, key },
});

/// From a device to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromDevice {
    /// The device leaves: it is offline at once, without waiting for silence.
    Bye,
    /// The device received the datagram that wanted an answer: it hears the service where it is now.
    Proof {
        /// The counter of that datagram.
        counter: u64,
    },
}

wire_variants!(FromDevice "session message" {
    0x41 => Bye,
    0x42 => Proof { counter },
});
