//! Whole devices that know each other from disk, with no coordinator in reach.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use lanyard_wire::names::NetworkName;

use super::*;
use crate::overlay::{ForwardingTable, Path};

mod fixture;
mod many;

use self::fixture::{World, coordinator, device_id, fresh, member, network};

#[test]
fn members_from_disk_are_in_the_table_before_any_coordinator_answers() {
    let world = World::new(&[network(1, "home", "10.7.0.0")]);
    let table = world.table(0);
    assert_eq!(table.generation, 1);
    assert_eq!(table.addresses.len(), 1);
    assert_eq!(table.addresses[0].ip4.unwrap().0.to_string(), "10.7.0.1");
    let peer = table.route("10.7.0.2".parse().unwrap()).unwrap();
    assert_eq!((peer.device, peer.path), (device_id(2), Path::None));
    assert!(table.is_local("10.7.0.1".parse().unwrap()));
}

#[test]
fn two_restarted_devices_find_each_other_and_traffic_goes_direct() {
    let mut world = World::new(&[network(1, "home", "10.7.0.0")]);
    world.run_for(2_000);
    world.connect(0);
    world.run_for(500);
    assert!(world.path(0).is_direct());
    world.connect(1);
    world.run_for(10);
    assert!(world.path(1).is_direct());
}

#[test]
fn devices_that_share_several_networks_are_one_peer_with_all_addresses() {
    let networks = [network(1, "home", "10.7.0.0"), network(2, "games", "10.8.0.0")];
    let world = World::new(&networks);
    let table = world.table(0);
    assert_eq!((table.addresses.len(), table.peers.len()), (2, 1));
    assert_eq!(table.peers[0].addresses.len(), 4);
    let by_home = table.route("10.7.0.2".parse().unwrap()).unwrap();
    assert_eq!(table.route("10.8.0.2".parse().unwrap()), Some(by_home));
}

#[test]
fn a_lan_with_the_prefix_of_a_network_keeps_its_addresses() {
    let mut world = World::new(&[network(1, "home", "10.7.0.0")]);
    let has_ip4 = |world: &World| world.table(0).addresses[0].ip4.is_some();
    assert!(has_ip4(&world));
    let carried_into = |world: &mut World, ip: &str, length| {
        let prefixes = [(ip.parse().unwrap(), length)].into();
        world.command(0, Command::LocalAddresses { addrs: Vec::new(), prefixes });
    };
    carried_into(&mut world, "10.0.0.0", 8);
    assert!(has_ip4(&world), "the longer prefix wins anyway");
    carried_into(&mut world, "10.7.0.128", 25);
    assert!(!has_ip4(&world), "the LAN's router would be out of reach");
    let status = world.devices[0].status(world.now);
    assert_eq!(status.networks[0].clash.as_deref(), Some("a LAN of this computer (10.7.0.128/25)"));
    assert!(world.table(0).route("fd00:1::2".parse().unwrap()).is_some());
    carried_into(&mut world, "192.168.1.0", 24);
    assert!(has_ip4(&world), "and it comes back elsewhere");
}

#[test]
fn of_two_overlapping_prefixes_the_later_network_runs_on_ipv6_alone() {
    let networks = [network(1, "home", "10.7.0.0"), network(2, "office", "10.7.0.0")];
    let mut world = World::new(&networks);
    let clashes: Vec<_> = world
        .events(0)
        .into_iter()
        .filter_map(|event| {
            let Event::Clash { name, with, .. } = event else { return None };
            Some((name.to_string(), with))
        })
        .collect();
    assert_eq!(clashes, [("office".to_string(), "home (10.7.0.0/24)".to_string())]);
    let table = world.table(0);
    assert!(table.addresses[0].ip4.is_some() && table.addresses[1].ip4.is_none());
    assert!(table.route("fd00:2::2".parse().unwrap()).is_some());
    assert!(world.devices[0].status(world.now).networks.iter().any(|network| network.clash.is_some()));

    // Without the earlier one the later one gets its IPv4.
    world.command(0, Command::Enable { network: networks[0].card.id, enabled: false });
    assert!(world.table(0).addresses[0].ip4.is_some());
}

#[test]
fn the_order_of_networks_survives_a_restart() {
    let networks = [network(9, "home", "10.7.0.0"), network(2, "office", "10.7.0.0")];
    let mut world = World::new(&networks);
    world.run_for(5_000);
    let saved = world.saved(0);
    let names: Vec<_> =
        saved.coordinators[0].networks.iter().map(|network| network.card.name.to_string()).collect();
    assert_eq!(names, ["home", "office"]);
    assert_eq!(world.table(0).addresses[0].name.to_string(), "home");
}

#[test]
fn a_later_coordinator_takes_neither_addresses_nor_keys_nor_foreign_space() {
    let mut world = World::new(&[network(1, "home", "10.7.0.0")]);
    // It claims the nas's number with another key, its address for somebody else, and an address of the internet.
    let mut evil = network(3, "evil", "10.66.0.0");
    let mut nas = member(2, 3, "10.66.0.0");
    nas.member.wireguard = PublicKey::from_bytes([66; 32]);
    let mut thief = member(7, 3, "10.66.0.0");
    thief.member.ip4 = "10.7.0.2".parse().unwrap();
    thief.member.ip6 = "fd00:1::2".parse().unwrap();
    let mut sniffer = member(8, 3, "10.66.0.0");
    sniffer.member.ip4 = "8.8.8.8".parse().unwrap();
    evil.members = [nas, thief, sniffer].into();
    world.add_coordinator(0, 2, &[evil]);
    let table = world.table(0);
    let nas = table.peer(&device_id(2)).unwrap();
    assert_ne!(nas.wireguard, PublicKey::from_bytes([66; 32]));
    assert_eq!(table.route("10.7.0.2".parse().unwrap()), Some(nas));
    assert_eq!(table.route("fd00:1::2".parse().unwrap()), Some(nas));
    assert_eq!(table.route("8.8.8.8".parse().unwrap()), None);
    assert_eq!(table.route("10.66.0.2".parse().unwrap()), None, "that key is not the nas's");
}

#[test]
fn a_refused_peer_hears_nothing_and_is_in_no_table() {
    let mut world = World::new(&[network(1, "home", "10.7.0.0")]);
    world.command(1, Command::Refuse { peer: device_id(1), refused: true });
    assert!(world.table(1).peers.is_empty());
    world.sent = [0, 0];
    world.run_for(20_000);
    world.connect(0);
    world.run_for(20_000);
    assert!(world.sent[0] > 0, "one end knocks");
    assert_eq!(world.sent[1], 0, "the other end gives no sign of life");
    assert_eq!(world.rejected(1, Rejected::RefusedPeer), world.sent[0]);

    world.command(1, Command::Refuse { peer: device_id(1), refused: false });
    assert_eq!(world.table(1).peers.len(), 1);
    world.run_for(60_000);
    assert!(world.path(0).is_direct(), "forgiven and found");
}

#[test]
fn refusing_a_connected_peer_cuts_the_tunnel_in_the_same_event() {
    let mut world = World::new(&[network(1, "home", "10.7.0.0")]);
    world.run_for(2_000);
    world.connect(0);
    assert!(world.path(0).is_direct());
    world.command(0, Command::Refuse { peer: device_id(2), refused: true });
    assert!(world.table(0).peers.is_empty());
}

#[test]
fn forgetting_the_coordinator_takes_its_members_out_of_the_table() {
    let mut world = World::new(&[network(1, "home", "10.7.0.0")]);
    world.run_for(2_000);
    world.connect(0);
    let generation = world.table(0).generation;
    world.command(0, Command::RemoveCoordinator { key: coordinator(1) });
    let table = world.table(0);
    assert!(table.peers.is_empty() && table.addresses.is_empty());
    assert_eq!(table.generation, generation + 1);
    world.sent[0] = 0;
    world.run_for(100_000);
    assert_eq!(world.sent[0], 0, "nothing is left to do");
}

#[test]
fn a_table_is_published_only_when_something_in_it_changed() {
    let mut world = World::new(&[network(1, "home", "10.7.0.0")]);
    world.run_for(2_000);
    let home = "192.168.1.5:7000".parse().unwrap();
    let generation = world.table(0).generation;
    world.events(0);
    for _ in 0..20 {
        world.devices[0].handle_timeout(world.now);
        world.command(0, Command::LocalAddresses { addrs: [home].into(), prefixes: Vec::new() });
    }
    assert!(!world.events(0).iter().any(|event| matches!(event, Event::Forwarding(_))));
    world.connect(0);
    assert_eq!(world.table(0).generation, generation + 1, "the path");
    world.connect(0);
    assert_eq!(world.table(0).generation, generation + 1);
}

#[test]
fn a_computer_without_any_address_has_no_path_until_it_has_one_again() {
    let mut world = World::new(&[network(1, "home", "10.7.0.0")]);
    world.connect(0);
    world.run_for(2_000);
    assert!(world.path(0).is_direct());
    let told = |world: &mut World, addrs: &[SocketAddr]| {
        world.command(0, Command::LocalAddresses { addrs: addrs.to_vec(), prefixes: Vec::new() });
        world.command(0, Command::NetworkChanged);
    };
    told(&mut world, &[]);
    assert_eq!(world.path(0), Path::None, "what went out would be lost");
    told(&mut world, &["192.168.1.5:7000".parse().unwrap()]);
    assert!(world.path(0) != Path::None);
    world.run_for(2_000);
    assert!(world.path(0).is_direct());
}

#[test]
fn a_probe_from_inside_the_overlay_is_not_a_path() {
    let mut world = World::new(&[network(1, "home", "10.7.0.0")]);
    world.devices[0].handle_timeout(world.now + core::time::Duration::from_secs(1));
    let ping = core::iter::from_fn(|| world.devices[0].poll_transmit())
        .find(|transmit| transmit.bytes.first() == Some(&PING))
        .unwrap();
    let inside = |ip: &str| Datagram {
        local: ping.local,
        remote: (ip.parse::<IpAddr>().unwrap(), 7_000).into(),
        bytes: &ping.bytes,
    };
    for ip in ["10.7.0.1", "fd00:1::1"] {
        assert_eq!(world.devices[1].handle_datagram(inside(ip), world.now), Err(Rejected::NotAllowed));
    }
    assert_eq!(world.devices[1].handle_datagram(inside("192.0.2.66"), world.now), Ok(()));
}

#[test]
fn a_probe_with_any_bit_changed_is_ignored() {
    let mut world = World::new(&[network(1, "home", "10.7.0.0")]);
    world.devices[0].handle_timeout(world.now + core::time::Duration::from_secs(1));
    let pings: Vec<Vec<u8>> = core::iter::from_fn(|| world.devices[0].poll_transmit())
        .map(|transmit| transmit.bytes)
        .filter(|bytes| bytes.first() == Some(&PING))
        .collect();
    let remote = ([192, 0, 2, 66], 666).into();
    for ping in &pings {
        for bit in 0..ping.len() * 8 {
            let mut bytes = ping.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let datagram = Datagram { local: crate::transmit::SocketId::MAIN, remote, bytes: &bytes };
            assert!(world.devices[1].handle_datagram(datagram, world.now).is_err(), "bit {bit}");
            let cut = Datagram { bytes: &ping[..bit / 8], ..datagram };
            assert!(world.devices[1].handle_datagram(cut, world.now).is_err(), "cut at {}", bit / 8);
        }
    }
    let answers = core::iter::from_fn(|| world.devices[1].poll_transmit());
    assert_eq!(answers.filter(|answer| answer.remote == remote).count(), 0);
}

#[test]
fn noise_and_datagrams_of_the_data_plane_are_turned_away() {
    let mut device = fresh(1, 1);
    let remote = ([192, 0, 2, 66], 666).into();
    let now = Instant::from_secs(1);
    let kinds: [(&[u8], Rejected); 6] = [
        (&[], Rejected::NotOurs),
        (b"hello", Rejected::NotOurs),
        (&[4; 64], Rejected::NotOurs),
        (&[PING; 64], Rejected::Malformed),
        (&[PONG], Rejected::Malformed),
        (&[0xC4; 40], Rejected::UnknownSession),
    ];
    for (bytes, why) in kinds {
        let datagram = Datagram { local: crate::transmit::SocketId::MAIN, remote, bytes };
        assert_eq!(device.handle_datagram(datagram, now), Err(why), "{bytes:02X?}");
        assert_eq!(device.poll_transmit(), None);
    }
}

#[test]
fn what_is_saved_brings_a_third_life() {
    let mut world = World::new(&[network(1, "home", "10.7.0.0")]);
    world.run_for(2_000);
    world.connect(0);
    world.connect(1);
    world.run_for(5_000);
    let saved = [0, 1].map(|at| world.saved(at));
    let member = &saved[0].coordinators[0].networks[0].members[0];
    assert_eq!(member.endpoints.first(), Some(&fixture::address(1)));
    assert!(member.attempt.is_some() && member.last_active_unix_s >= fixture::UNIX_S);

    let mut world = World::from_saved(saved);
    world.run_for(2_000);
    world.connect(0);
    assert!(world.path(0).is_direct());
}

#[test]
fn a_switch_thrown_just_before_the_end_is_saved() {
    let mut world = World::new(&[network(1, "home", "10.7.0.0")]);
    world.run_for(2_000);
    let network = world.table(0).addresses[0].network;
    world.command(0, Command::Enable { network, enabled: false });
    world.command(0, Command::Shutdown);
    assert!(!world.saved(0).coordinators[0].networks[0].enabled);
}

#[test]
fn commands_about_strangers_change_nothing() {
    let mut world = World::new(&[network(1, "home", "10.7.0.0")]);
    world.events(0);
    world.command(0, Command::Connect { peer: device_id(99) });
    world.command(0, Command::Connect { peer: device_id(1) });
    let join = Command::Join {
        tag: 5,
        key: coordinator(9),
        network: NetworkName::parse("home").unwrap(),
        invite: None,
        password: None,
        name: None,
    };
    world.command(0, join);
    world.command(0, Command::Leave { tag: 6, network: NetworkId::from_bytes([99; 16]) });
    let events = world.events(0);
    assert!(matches!(
        events.as_slice(),
        [
            Event::Joined { tag: 5, outcome: JoinOutcome::Refused(JoinRefusal::Unavailable) },
            Event::Left { tag: 6, .. }
        ]
    ));
}

#[test]
fn the_same_seed_gives_the_same_datagrams() {
    let run = || {
        let mut world = World::new(&[network(1, "home", "10.7.0.0")]);
        world.run_for(3_000);
        world.connect(0);
        world.run_for(60_000);
        world.transcript
    };
    assert_eq!(run(), run());
}

/// The newest of some events that is a table.
fn newest_table(events: &[Event]) -> Option<Arc<ForwardingTable>> {
    events.iter().rev().find_map(|event| {
        let Event::Forwarding(table) = event else { return None };
        Some(Arc::clone(table))
    })
}
