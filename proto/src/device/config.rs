//! What a device is told once, at start.

use alloc::string::String;

use lanyard_wire::keys::{PublicKey, SecretKey};
use lanyard_wire::names::DeviceName;

use crate::time::WallClock;

/// How large IP packets inside the tunnel are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelMtu {
    /// What every path carries; one counts only when proven for it.
    pub least: u16,
    /// The largest that is looked for on a direct path; no more than `least` for no search.
    pub most: u16,
}

impl TunnelMtu {
    /// The least that IPv6 asks of a link (RFC 8200, section 5), on every path.
    pub const LEAST: Self = Self { least: 1_280, most: 1_280 };

    /// The same, and what a link of 1,500 bytes leaves (IPv6 and UDP take 48, WireGuard 32) where a path carries it.
    pub const ETHERNET: Self = Self { most: 1_420, ..Self::LEAST };
}

/// Everything [`Device::new`](super::Device::new) needs to know.
#[derive(Debug)]
pub struct DeviceConfig {
    /// The identity key; its public half names this device.
    pub identity: SecretKey,
    /// Public half of the WireGuard key, announced to coordinators.
    pub wireguard: PublicKey,
    /// Counts the starts of this device; a service tells an old session from a new one by it.
    pub boot: u64,
    /// Seed of all randomness of this machine.
    pub seed: [u8; 32],
    /// Wall time at one instant of the machine's clock.
    pub wall: WallClock,
    /// The name this device asks for when it joins a network.
    pub name: DeviceName,
    /// Operating system, for people; at most 32 bytes are sent.
    pub os: String,
    /// Program version, for people; at most 32 bytes are sent.
    pub version: String,
    /// The packets inside the tunnel.
    pub tunnel_mtu: TunnelMtu,
    /// Bits a second that this device passes on for pairs of its networks that cannot meet directly; `None`: it does not.
    pub peer_relay: Option<u64>,
    /// Whether the first packets of a pair go beside WireGuard's handshake, sealed to a prekey, and are taken so.
    pub early_packets: bool,
}
