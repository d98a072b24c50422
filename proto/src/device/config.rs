//! What a device is told once, at start.

use alloc::string::String;

use lanyard_wire::keys::{PublicKey, SecretKey};
use lanyard_wire::names::DeviceName;

use crate::time::WallClock;

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
    /// Largest IP packet inside the tunnel; a path counts only when proven for it.
    pub tunnel_mtu: u16,
    /// Bits a second that this device passes on for pairs of its networks that cannot meet directly; `None`: it does not.
    pub peer_relay: Option<u64>,
    /// Whether the first packets of a pair go beside WireGuard's handshake, sealed to a prekey, and are taken so.
    pub early_packets: bool,
}
