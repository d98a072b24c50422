//! Every kind of NAT gets its name, from a model of it.

use core::net::IpAddr;

use lanyard_wire::nat::PortPolicy;
use lanyard_wire::stun;

use self::world::*;
use super::*;

mod once;
mod world;

#[test]
fn every_kind_of_nat_is_named_as_it_is() {
    for mapping in [NoMapping, Eim, Adm, Apdm] {
        for filtering in [Eif, Adf, Apdf] {
            for ports in [Ports::Preserve, Ports::Random, Ports::Sequential] {
                let mut world = World::new(Nat::new(mapping, filtering, ports));
                let card = world.run();
                assert_eq!(
                    (card.udp, card.mapping, card.filtering),
                    (true, Some(mapping), Some(filtering)),
                    "{mapping} {filtering} {ports:?}"
                );
            }
        }
    }
}

#[test]
fn a_verdict_takes_at_most_one_point_two_seconds_and_less_where_everything_answers() {
    let mut open = World::new(Nat::new(NoMapping, Eif, Ports::Preserve));
    open.run();
    assert_eq!(open.now, Instant::ZERO + RTT, "one round trip");
    let mut strict = World::new(Nat::new(Apdm, Apdf, Ports::Random));
    strict.run();
    assert_eq!(strict.now, Instant::ZERO + RUN_TIME);
}

#[test]
fn after_a_failed_punch_a_card_that_is_not_fresh_is_measured_anew() {
    let mut world = World::new(Nat::new(Eim, Apdf, Ports::Preserve));
    world.run();
    world.netcheck.doubt(world.now + Duration::from_secs(20));
    assert_eq!(world.netcheck.poll_transmit(), None);
    world.netcheck.doubt(world.now + Duration::from_secs(40));
    assert!(world.netcheck.poll_transmit().is_some());
}

#[test]
fn port_policies_are_told_apart() {
    let policy = |mapping, ports| World::new(Nat::new(mapping, Apdf, ports)).run().ports;
    assert_eq!(policy(Eim, Ports::Preserve), Some(PortPolicy::Preserved));
    assert_eq!(policy(Eim, Ports::Random), None, "one port alone shows no policy");
    assert_eq!(policy(Apdm, Ports::Sequential), Some(PortPolicy::Sequential { step: 1 }));
    assert_eq!(policy(Adm, Ports::Sequential), Some(PortPolicy::Sequential { step: 1 }));
    assert_eq!(policy(Apdm, Ports::Random), Some(PortPolicy::Random));
    let Some(PortPolicy::Block { low, high }) = policy(Apdm, Ports::Block(50_000, 2_048)) else {
        panic!("no block")
    };
    assert!(low >= 45_000 && high <= 60_000, "{low}..={high}");
}

#[test]
fn mapping_and_ports_are_told_before_a_filter_was_silent_for_long_enough() {
    let mut world = World::new(Nat::new(Apdm, Apdf, Ports::Sequential));
    let card = world.run();
    let (told_at, early) = world.early.expect("the mapping was told early");
    assert_eq!(early, NatCard { filtering: None, hairpin: None, ..card });
    assert!(told_at <= Instant::ZERO + Duration::from_millis(100), "{told_at}");

    world.early = None;
    assert_eq!(world.run(), card);
    assert_eq!(world.early, None, "nothing new the next time");
}

#[test]
fn a_fresh_socket_is_shown_as_it_is_seen_now() {
    let mut world = World::new(Nat::new(Apdm, Apdf, Ports::Sequential));
    world.run();
    world.netcheck.sample(SocketId(99), world.now);
    let first = world.sampled();
    world.netcheck.sample(SocketId(100), world.now);
    let second = world.sampled();
    let port = |sampled: Option<SocketAddr>| sampled.map(|addr| addr.port());
    assert_eq!(port(second), port(first).map(|port| port + 1));

    world.blocked = true;
    world.netcheck.sample(SocketId(101), world.now);
    assert_eq!(world.sampled(), None, "nobody waits for an answer that does not come");
}

#[test]
fn the_card_of_a_network_that_was_left_is_not_shown_any_more() {
    let mut world = World::new(Nat::new(Apdm, Apdf, Ports::Random));
    world.run();
    assert!(!world.netcheck.is_new_here());
    world.nat = Nat::new(Eim, Apdf, Ports::Random);
    let begin = world.now;
    world.netcheck.network_changed(begin);
    assert!(world.netcheck.is_new_here(), "who needs it waits");
    while world.netcheck.is_new_here() {
        world.next_event();
    }
    assert_eq!(world.netcheck.card().mapping, Some(Eim));
    assert_eq!(world.now.saturating_since(begin), RTT, "for one round trip");

    world.blocked = true;
    world.netcheck.network_changed(world.now);
    let card = world.run();
    assert!(!card.udp && !world.netcheck.is_new_here(), "and not for ever");
}

#[test]
fn a_mapping_that_nothing_else_holds_is_held_and_known_when_it_changes() {
    let mut world = World::new(Nat::new(Eim, Apdf, Ports::Random));
    let before = world.run().reflexive4;
    world.netcheck.hold_mapping(true, world.now);
    world.count_of = Some(SocketId::MAIN);
    let begin = world.now;
    world.nat.mappings.clear();
    let NetcheckEvent::Card(card) = world.next_event() else { panic!("no new card") };
    assert_ne!(card.reflexive4, before);
    let of_main = |inside: &SocketAddr| inside.port() == MAIN_PORT;
    let outside = world.nat.mappings.iter().find(|((inside, ..), _)| of_main(inside)).map(|(_, seen)| *seen);
    assert_eq!(card.reflexive4.map(SocketAddr::V4), outside, "where it is seen now");
    assert!(world.now.saturating_since(begin) < Duration::from_secs(18));
    assert_eq!(world.counted, 1, "one question");
    world.run();
    assert!(world.counted < 40, "{} in five minutes", world.counted);

    world.netcheck.hold_mapping(false, world.now);
    let counted = world.counted;
    world.run();
    assert!(world.counted - counted <= 12, "nothing but the next run");
}

#[test]
fn spare_sockets_are_few_and_all_given_back() {
    let mut world = World::new(Nat::new(Apdm, Apdf, Ports::Random));
    world.run();
    assert_eq!(world.used.len(), 2 + survey::SAMPLE_SOCKETS, "for the filter, the hairpin and the ports");
    assert_eq!(world.used, world.closed);
    assert!(world.used.iter().all(|socket| (1..=SPARE_LAST).contains(&socket.0)));

    let mut easy = World::new(Nat::new(Eim, Eif, Ports::Preserve));
    easy.run();
    assert_eq!(easy.used.len(), 2);
    let first = easy.sent;
    assert!(first <= 14, "{first} datagrams");
    easy.run();
    assert!(easy.sent - first <= 6, "what is known is not asked again");
}

#[test]
fn lost_answers_are_asked_for_again() {
    for seed in 0..50 {
        let mut world = World::new(Nat::new(Adm, Adf, Ports::Random));
        world.loss = Some((Rng::from_seed([seed; 32]), 15));
        let card = world.run();
        assert_eq!((card.mapping, card.filtering), (Some(Adm), Some(Adf)), "seed {seed}");
    }
}

#[test]
fn silence_is_udp_blocked_and_looked_at_again_soon() {
    let mut world = World::new(Nat::new(Eim, Eif, Ports::Preserve));
    world.blocked = true;
    let card = world.run();
    assert_eq!(card, NatCard::default());
    let again = world.netcheck.poll_timeout().unwrap();
    assert!(again.at < world.now + Duration::from_secs(70), "{}", again.at);

    world.blocked = false;
    assert!(world.run().udp, "it notices by itself that UDP is back");
    let again = world.netcheck.poll_timeout().unwrap();
    assert!(again.at > world.now + Duration::from_secs(240), "{}", again.at);
}

#[test]
fn one_address_tells_what_it_can() {
    let card = |mapping, filtering| {
        let mut world = World::new(Nat::new(mapping, filtering, Ports::Random));
        world.keep_servers(2);
        world.run()
    };
    assert_eq!(card(Eim, Apdf).mapping, Some(Eim));
    assert_eq!(card(Apdm, Apdf).mapping, Some(Apdm));
    assert_eq!(card(Eim, Apdf).filtering, Some(Apdf));
    assert_eq!(card(Eim, Eif).filtering, Some(Adf), "the strictest that fits");
}

#[test]
fn a_server_that_cannot_change_its_address_says_nothing_about_filtering() {
    let mut world = World::new(Nat::new(Eim, Eif, Ports::Random));
    world.plain_servers = true;
    let card = world.run();
    assert_eq!((card.mapping, card.filtering), (Some(Eim), None));
}

#[test]
fn a_dead_first_server_is_passed_over_the_next_time() {
    let mut world = World::new(Nat::new(Eim, Adf, Ports::Random));
    world.dead = Some(world.servers[0].ip());
    assert_eq!(world.run().filtering, None);
    assert_eq!(world.run().mapping, Some(Eim), "two ports of the other address agree");
    assert_eq!(world.netcheck.servers.grid(false)[0][0].map(|addr| addr.ip()), Some(world.servers[2].ip()));
}

#[test]
fn ipv6_alone_is_judged_and_beside_ipv4_it_adds_its_address() {
    let mut world = World::new(Nat::new(NoMapping, Apdf, Ports::Preserve));
    world.servers = servers6();
    world.netcheck.set_servers(&servers6());
    let card = world.run();
    assert_eq!((card.mapping, card.filtering), (Some(NoMapping), Some(Apdf)));
    assert_eq!((card.reflexive4, card.reflexive6.is_some()), (None, true));

    let mut world = World::new(Nat::new(Apdm, Apdf, Ports::Random));
    let both: Vec<_> = servers4().into_iter().chain(servers6()).collect();
    world.servers.clone_from(&both);
    world.netcheck.set_servers(&both);
    let card = world.run();
    assert_eq!(card.mapping, Some(Apdm), "IPv4 is the family that has NATs");
    assert!(card.reflexive4.is_some() && card.reflexive6.is_some());
}

#[test]
fn a_family_without_an_address_here_is_not_waited_for() {
    let both: Vec<_> = servers4().into_iter().chain(servers6()).collect();
    let world = |nat, local: &[IpAddr]| {
        let mut world = World::new(nat);
        world.servers.clone_from(&both);
        world.netcheck.set_servers(&both);
        let local: Vec<_> = local.iter().map(|ip| SocketAddr::new(*ip, MAIN_PORT)).collect();
        world.netcheck.set_local(&local);
        world
    };
    let mut v4 = world(Nat::new(Eim, Eif, Ports::Preserve), &[HOME]);
    v4.dead_family = Some(true);
    assert_eq!((v4.run().hairpin, v4.netcheck.is_full_size()), (Some(false), Some(true)));
    assert!(v4.now < Instant::ZERO + RUN_TIME, "{}", v4.now);

    let mut v6 = world(Nat::new(NoMapping, Eif, Ports::Preserve), &[HOME6]);
    v6.dead_family = Some(false);
    assert_eq!((v6.run().mapping, v6.netcheck.is_full_size()), (Some(NoMapping), Some(true)));
    assert_eq!(v6.now, Instant::ZERO + RTT);

    let mut broken = world(Nat::new(Eim, Apdf, Ports::Preserve), &[HOME, HOME6]);
    broken.dead_family = Some(true);
    assert_eq!(broken.run().hairpin, Some(false), "an IPv6 address that leads nowhere hides nothing");
}

#[test]
fn an_address_of_another_family_that_came_during_a_run_is_asked_about_after_it() {
    let mut world = World::new(Nat::new(Eim, Apdf, Ports::Preserve));
    world.servers.extend(servers6());
    world.netcheck.set_servers(&world.servers);
    world.netcheck.set_local(&[SocketAddr::new(HOME, MAIN_PORT)]);
    world.netcheck.handle_timeout(world.now);
    world.netcheck.set_local(&[SocketAddr::new(HOME, MAIN_PORT), SocketAddr::new(HOME6, MAIN_PORT)]);
    assert_eq!(world.run().reflexive6, None);
    let begin = world.now;
    assert!(world.run().reflexive6.is_some());
    assert!(world.now < begin + RUN_TIME + RTT, "not five minutes later");
}

#[test]
fn answers_that_nobody_asked_for_change_nothing() {
    let mut world = World::new(Nat::new(Eim, Apdf, Ports::Random));
    world.netcheck.start(world.now);
    let first = world.netcheck.poll_transmit().unwrap();
    let txid = txid(&first.bytes).unwrap();
    let forged = stun::Response { txid, mapped: first.remote, origin: None, other: None }.encode();
    let mut hear = |local, remote, bytes: &[u8]| {
        world.netcheck.handle_datagram(Datagram { local, remote, bytes }, Instant::ZERO)
    };
    let stranger = SocketAddr::from(([203, 0, 113, 77], 3_478));
    assert_eq!(
        hear(SocketId::MAIN, stranger, &forged),
        Some(Err(Rejected::NotAllowed)),
        "right id, wrong source"
    );
    assert_eq!(hear(SocketId(9), first.remote, &forged), Some(Err(Rejected::NotAllowed)), "wrong socket");
    let mut other = forged.clone();
    other[19] ^= 1;
    assert_eq!(hear(SocketId::MAIN, first.remote, &other), None, "another machine's transaction");
    assert_eq!(hear(SocketId::MAIN, first.remote, &forged[..24]), Some(Err(Rejected::Malformed)));
    assert_eq!(hear(SocketId::MAIN, first.remote, b"?"), None);
    assert_eq!(hear(SocketId::MAIN, first.remote, &forged), Some(Ok(())));
    assert_eq!(hear(SocketId::MAIN, first.remote, &forged), Some(Err(Rejected::Unexpected)), "twice");
}

#[test]
fn without_servers_the_answer_is_what_is_known() {
    let mut netcheck = Netcheck::new(FULL_SIZE, Rng::from_seed([1; 32]));
    netcheck.start(Instant::ZERO);
    assert_eq!(netcheck.poll_event(), Some(NetcheckEvent::Checked(NatCard::default())));
    assert_eq!(netcheck.poll_timeout(), None);
}

#[test]
fn starting_again_gives_the_sockets_of_the_first_run_back() {
    let mut world = World::new(Nat::new(Eim, Apdf, Ports::Random));
    world.netcheck.start(world.now);
    world.netcheck.start(world.now);
    assert_eq!(world.netcheck.poll_event(), Some(NetcheckEvent::CloseSocket(SocketId(1))));
    world.run();
    assert!(world.used.contains(&SocketId(2)) && world.closed.contains(&SocketId(2)));
}
