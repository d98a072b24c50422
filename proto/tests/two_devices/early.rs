//! Packets that do not wait for a session, by the machines of both ends.

use std::net::SocketAddr;

use lanyard_proto::device::{Command, Event};
use lanyard_wire::classify::{Class, classify};
use lanyard_wire::envelope::RelayHeader;

use super::world::{World, ms};

#[test]
fn a_packet_without_a_session_arrives_after_half_a_relayed_round_trip() {
    let mut world = World::new();
    world.join_both();
    let (start, packet) = (world.now, b"question".to_vec());
    world.waits(0, &packet);
    assert!(world.path(0).is_relayed(), "the packet is what gives the pair its relay");
    world.run_for(ms(41));
    assert_eq!(world.came_early(1), [packet]);
    world.waits(1, b"answer");
    world.run_for(ms(41));
    assert_eq!(world.came_early(0), [b"answer".to_vec()]);
    assert!(world.now.saturating_since(start) < ms(100), "one relayed round trip and 20 ms");
}

#[test]
fn a_replayed_early_packet_is_taken_once() {
    let mut world = World::new();
    world.join_both();
    world.waits(0, b"question");
    let frames = world.frames_of(0);
    world.run_for(ms(100));
    for (from, to, bytes) in frames {
        world.flying.push((world.now + ms(1), from, to, bytes));
    }
    world.run_for(ms(100));
    assert_eq!(world.came_early(1).len(), 1);
}

#[test]
fn an_early_packet_of_a_refused_peer_is_not_taken() {
    let mut world = World::new();
    world.join_both();
    let peer = world.devices[0].id;
    world.command(1, Command::Refuse { peer, refused: true });
    world.waits(0, b"question");
    world.run_for(ms(100));
    assert!(world.came_early(1).is_empty());
}

impl World {
    /// A packet for the other end waits in the data plane of this one.
    fn waits(&mut self, at: usize, packet: &[u8]) {
        let peer = self.devices[1 - at].id;
        self.command(at, Command::Waits { peer, packet: packet.to_vec() });
    }

    /// Packets that this end was handed before there was a session.
    fn came_early(&self, at: usize) -> Vec<Vec<u8>> {
        let early = |event: &Event| {
            let Event::Early { packet, .. } = event else { return None };
            Some(packet.clone())
        };
        self.devices[at].events.iter().filter_map(early).collect()
    }

    /// Relay frames with something of ours in them that this end has under way.
    fn frames_of(&self, at: usize) -> Vec<(SocketAddr, SocketAddr, Vec<u8>)> {
        let is_frame = |bytes: &[u8]| {
            RelayHeader::parse(bytes).is_ok_and(|(_, inner)| classify(inner) == Class::Lanyard)
        };
        let sent = self
            .flying
            .iter()
            .filter(|(_, from, _, bytes)| *from == self.devices[at].address && is_frame(bytes));
        sent.map(|(_, from, to, bytes)| (*from, *to, bytes.clone())).collect()
    }
}
