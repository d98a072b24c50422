//! The five services, each in a process of its own, joined by the bus alone.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod member;
mod server;

use std::net::SocketAddr;

use lanyard_proto::device::Command;
use lanyard_proto::overlay::Path;
use lanyard_wire::envelope::{RelayHeader, Unknown};
use lanyard_wire::ids::Channel;

use self::member::{Member, until};
use self::server::{Directory, Server};

/// Sessions at a process; the metric has this name wherever devices have sessions.
const SESSIONS: &str = "lanyard_checkpoint_sessions";

/// Processes of one coordinator.
struct Fleet {
    directory: Directory,
    _index: Server,
    checkpoint: Server,
    handshake: Server,
    relay: Server,
    stun: Server,
}

impl Fleet {
    fn started() -> Self {
        let directory = Directory::made();
        let index = directory.serve("index", &[("BUS_LISTEN", "127.0.0.1:0".into())]);
        let bus = ("BUS_CONNECT", index.place("tcp bus").to_string());
        let outpost =
            |service: &str| directory.serve(service, &[bus.clone(), ("SERVICES_NAME", service.into())]);
        let [handshake, relay, stun] = ["handshake", "relay", "stun"].map(outpost);
        let elsewhere = |name: &str, server: &Server| {
            format!("[{{ name = \"{name}\", addresses = [\"{}\"] }}]", server.place("udp control"))
        };
        let stuns: Vec<String> = stun.places("udp stun").iter().map(|addr| format!("\"{addr}\"")).collect();
        let settings = [
            bus.clone(),
            ("HANDSHAKE_ELSEWHERE", elsewhere("handshake", &handshake)),
            ("RELAY_ELSEWHERE", elsewhere("relay", &relay)),
            ("STUN_ELSEWHERE", format!("[{}]", stuns.join(", "))),
        ];
        let checkpoint = directory.serve("checkpoint", &settings);
        // Until then a wish to join would be answered with "try later".
        for server in [&handshake, &relay, &checkpoint] {
            server.until_metric("lanyard_index_connected", |connected| connected == 1);
        }
        Self { directory, _index: index, checkpoint, handshake, relay, stun }
    }

    /// Two members who know each other.
    fn members(&self) -> [Member; 2] {
        let mut members = [Member::new(1, "laptop"), Member::new(2, "nas")];
        for member in &mut members {
            member.join(&self.directory.join, self.checkpoint.place("udp control"));
        }
        until(&mut members, "both join and know each other", |members| {
            members.iter().all(|member| member.has_joined() && member.table.peers.len() == 1)
        });
        members
    }
}

#[test]
fn members_register_at_one_process_and_have_sessions_at_the_others() {
    let fleet = Fleet::started();
    let mut members = fleet.members();
    let relay = fleet.relay.place("udp control");
    let channel = connect(&mut members, relay);
    for (from, to) in [(0, 1), (1, 0)] {
        let frame = frame(channel, 96);
        members[from].socket.send_to(&frame, relay).unwrap();
        until(&mut members, "a relayed frame arrives", |members| members[to].frames.contains(&frame));
    }
    for (name, server) in
        [("checkpoint", &fleet.checkpoint), ("handshake", &fleet.handshake), ("relay", &fleet.relay)]
    {
        let sessions = server.until_metric(SESSIONS, |count| count >= 2);
        assert_eq!(sessions, 2, "{name}");
    }
    assert_eq!(fleet.relay.until_metric("lanyard_relay_bindings", |count| count > 0), 1);
    assert!(fleet.stun.until_metric("lanyard_stun_answered_total", |count| count > 0) > 0, "netcheck ran");
}

#[test]
fn a_removed_member_loses_the_relay_which_has_no_roster() {
    let fleet = Fleet::started();
    let mut members = fleet.members();
    let relay = fleet.relay.place("udp control");
    let channel = connect(&mut members, relay);
    let gone = members[0].table.peers[0].device;

    let removed = fleet.directory.command().args(["member", "remove", "home", "nas"]).output().unwrap();
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));

    until(&mut members, "the other member and the removed one know", |members| {
        members[0].table.peer(&gone).is_none() && members[1].table.peers.is_empty()
    });
    fleet.relay.until_metric("lanyard_relay_bindings", |count| count == 0);
    for member in &mut members {
        member.frames.clear();
    }
    // The relay still answers: it knows of no such channel.
    members[0].socket.send_to(&frame(channel, 96), relay).unwrap();
    let mut answer = [0; 64];
    let unknown = (0..1_000).any(|_| {
        let heard = members[0].socket.recv_from(&mut answer);
        heard.is_ok_and(|(length, _)| Unknown::parse(&answer[..length]) == Ok(Unknown::Channel(channel)))
    });
    assert!(unknown, "the relay says that the channel is not there");
    assert!(members[1].frames.is_empty());
}

/// Has the first want the second; gives their channel once both ends use it.
fn connect(members: &mut [Member; 2], relay: SocketAddr) -> Channel {
    let peer = members[0].table.peers[0].device;
    members[0].command(Command::Connect { peer });
    let mut channel = None;
    until(members, "both ends have a path through the relay", |members| {
        let paths = [0, 1].map(|at| members[at].table.peers[0].path);
        channel = match paths {
            [Path::Relayed { relay: first, channel }, Path::Relayed { relay: second, .. }] => {
                assert_eq!([first, second], [relay, relay]);
                Some(channel)
            }
            _ => None,
        };
        channel.is_some()
    });
    channel.unwrap()
}

/// A frame of this length that carries what looks like WireGuard.
fn frame(channel: Channel, length: u16) -> Vec<u8> {
    let mut frame = RelayHeader { channel, length }.encode().to_vec();
    frame.extend([4, 0, 0, 0]);
    frame.resize(8 + usize::from(length), 9);
    frame
}
