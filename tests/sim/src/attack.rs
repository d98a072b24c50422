//! Hostile bytes: an attacker who can forge any source, knows every public key, and has recorded the wire.
//!
//! He cannot open anything. What he sends must change nothing for anybody, must not be answered by more than he
//! sent, and must not make a table grow; the world checks all of that on its ordinary ways.

use std::net::{IpAddr, SocketAddr};

use lanyard_wire::envelope::{self, GateKeys, Hello};
use lanyard_wire::ids::SessionIndex;
use lanyard_wire::limits::{CONTROL_PORT, STUN_ALTERNATE_PORT, STUN_PORT};

use crate::plane::MAIN_PORT;
use crate::services::server_ips;
use crate::world::World;

/// Where the attacker really is.
const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 200));

/// Sends so many hostile datagrams at once.
pub(crate) fn attack(world: &mut World, count: u32) {
    for _ in 0..count {
        let Some(target) = choose_target(world) else { return };
        let source = choose_source(world);
        let (source, target, bytes) = match world.rng.below(8) {
            0 => (source, target, noise(world)),
            1 | 2 => (source, target, kind_with_noise(world)),
            3 => (source, target, forged_hello(world)),
            4 => (source, target, stun(world)),
            5 => replay(world, false).unwrap_or((source, target, Vec::new())),
            6 => replay(world, true).unwrap_or((source, target, vec![0])),
            _ => {
                // The recorded bytes, from another source.
                let (_, at, bytes) = replay(world, false).unwrap_or((source, target, vec![envelope::HELLO]));
                (source, at, bytes)
            }
        };
        world.forge(source, target, bytes);
    }
}

fn choose_target(world: &mut World) -> Option<SocketAddr> {
    let servers: Vec<_> =
        world.coordinators.iter().flat_map(|entry| &entry.servers).map(|server| server.id).collect();
    if world.rng.below(2) == 0 {
        let server = pick(world, &servers)?;
        let port = pick(world, &[CONTROL_PORT, STUN_PORT, STUN_ALTERNATE_PORT])?;
        return Some(SocketAddr::new(server_ips(server)[0], port));
    }
    // Mappings that were seen on the wire lead through the routers.
    let seen: Vec<SocketAddr> = world.recorded.iter().map(|(source, ..)| *source).collect();
    pick(world, &seen).or_else(|| {
        let host = world.hosts.first()?.id;
        world.net.footprint(host).pop().map(|ip| SocketAddr::new(ip, MAIN_PORT))
    })
}

fn choose_source(world: &mut World) -> SocketAddr {
    let port = 1_024 + u16::try_from(world.rng.below(60_000)).unwrap_or(0);
    let somebody: Vec<SocketAddr> =
        world.recorded.iter().flat_map(|(source, target, _)| [*source, *target]).collect();
    match (world.rng.below(2), pick(world, &somebody)) {
        (0, Some(other)) => other,
        _ => SocketAddr::new(HOME, port),
    }
}

fn noise(world: &mut World) -> Vec<u8> {
    let length = usize::try_from(world.rng.below(1_400)).unwrap_or(0);
    let mut bytes = vec![0; length];
    world.rng.fill(&mut bytes);
    bytes
}

/// One of our kinds with anything behind it, often of the right length.
fn kind_with_noise(world: &mut World) -> Vec<u8> {
    let mut bytes = noise(world);
    if let Some(length) = pick(world, &[8, 16, 17, 32, 48, 64, 148, 160, 168])
        && world.rng.below(2) == 0
    {
        bytes.resize(length, 0);
    }
    if let Some(first) = bytes.first_mut() {
        *first = envelope::RELAY + u8::try_from(world.rng.below(10)).unwrap_or(0);
    }
    if let Some(reserved) = bytes.get_mut(1..4) {
        reserved.fill(0);
    }
    bytes
}

/// A first message with a right MAC1: public keys are public.
fn forged_hello(world: &mut World) -> Vec<u8> {
    let keys: Vec<_> =
        world.coordinators.iter().flat_map(|entry| &entry.servers).map(|server| server.public()).collect();
    let Some(key) = pick(world, &keys) else { return Vec::new() };
    let mut noise = [0; 120];
    world.rng.fill(&mut noise);
    let cookie = if world.rng.below(2) == 0 { [0; 16] } else { world.rng.bytes() };
    Hello::new(SessionIndex::new(world.rng.u32()), noise, cookie, &GateKeys::of(&key)).encode()
}

fn stun(world: &mut World) -> Vec<u8> {
    let mut bytes = vec![0x00, 0x01, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    bytes.extend(world.rng.bytes::<12>());
    let attributes = usize::try_from(world.rng.below(30)).unwrap_or(0) * 4;
    for _ in 0..attributes {
        bytes.push(u8::try_from(world.rng.below(256)).unwrap_or(0));
    }
    let length = u16::try_from(attributes).unwrap_or(0).to_be_bytes();
    bytes.splice(2..4, length);
    bytes
}

/// Something that was on the wire, as it was or with one bit flipped or its end missing.
fn replay(world: &mut World, is_damaged: bool) -> Option<(SocketAddr, SocketAddr, Vec<u8>)> {
    let recorded: Vec<_> = world.recorded.iter().cloned().collect();
    let (source, target, mut bytes) = pick(world, &recorded)?;
    if is_damaged {
        let at = usize::try_from(world.rng.below(u64::try_from(bytes.len()).unwrap_or(1))).unwrap_or(0);
        if world.rng.below(3) == 0 {
            bytes.truncate(at);
        } else if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << world.rng.below(8);
        }
    }
    Some((source, target, bytes))
}

fn pick<T: Clone>(world: &mut World, items: &[T]) -> Option<T> {
    let at = world.rng.below(u64::try_from(items.len()).ok()?);
    items.get(usize::try_from(at).ok()?).cloned()
}
