//! What is measured once in a network: hairpinning, lifetime, full-size datagrams.

use super::*;

/// Long enough for every measurement to end.
const SOON: Duration = Duration::from_secs(900);

#[test]
fn a_router_that_turns_datagrams_around_is_told_from_one_that_does_not() {
    for mapping in [Eim, Apdm] {
        for hairpin in [true, false] {
            let mut world = World::new(Nat { hairpin, ..Nat::new(mapping, Apdf, Ports::Random) });
            assert_eq!(world.run().hairpin, Some(hairpin), "{mapping}");
            let sent = world.sent;
            assert_eq!(world.run().hairpin, Some(hairpin));
            assert!(world.sent <= sent + 40, "a second run asks no more about it");
        }
    }
}

#[test]
fn without_a_nat_there_is_nothing_to_turn_around() {
    assert_eq!(World::new(Nat::new(NoMapping, Apdf, Ports::Preserve)).run().hairpin, None);
}

#[test]
fn a_silent_mapping_is_seen_to_live_as_long_as_it_does() {
    let pairs = [(15, 10), (20, 18), (30, 28), (60, 55), (90, 85), (120, 115), (180, 175), (300, 240)];
    for (lifetime_s, measured) in pairs {
        for (mapping, filtering, ports) in [
            (Eim, Apdf, Ports::Preserve),
            (Eim, Adf, Ports::Preserve),
            (NoMapping, Apdf, Ports::Preserve),
            (Apdm, Apdf, Ports::Random),
            (Adm, Apdf, Ports::Sequential),
        ] {
            let mut world = aging(lifetime_s, Nat::new(mapping, filtering, ports));
            let card = world.until_measured();
            assert_eq!(card.lifetime_s, Some(measured), "{mapping} {filtering} {lifetime_s} s");
        }
    }
}

#[test]
fn what_forgets_at_once_is_seen_to_live_for_a_second() {
    let mut world = aging(9, Nat::new(Eim, Apdf, Ports::Preserve));
    assert_eq!(world.until_measured().lifetime_s, Some(1));
    assert_eq!(world.netcheck.keep_alive(), KEEP_ALIVE_MIN);
}

#[test]
fn the_keep_alive_is_half_of_what_a_mapping_lives_within_bounds() {
    for (lifetime_s, every_s) in [(20, 9), (30, 14), (60, 22), (300, 22)] {
        let mut world = aging(lifetime_s, Nat::new(Eim, Apdf, Ports::Preserve));
        assert_eq!(world.netcheck.keep_alive(), KEEP_ALIVE, "nothing measured yet");
        world.until_measured();
        assert_eq!(world.netcheck.keep_alive(), Duration::from_secs(every_s), "{lifetime_s} s");
        world.netcheck.network_changed(world.now);
        assert_eq!(world.netcheck.keep_alive(), KEEP_ALIVE, "another network, another router");
    }
}

#[test]
fn a_measurement_takes_a_bounded_number_of_datagrams_and_is_made_once() {
    for lifetime_s in [9, 15, 20, 30, 60, 90, 120, 180, 300] {
        let mut world = aging(lifetime_s, Nat::new(Eim, Apdf, Ports::Preserve));
        world.run();
        world.count_of = Some(lifetime::SOCKET);
        world.until_measured();
        assert!(world.counted <= 5 * 7, "{lifetime_s} s: {}", world.counted);
        let counted = world.counted;
        let end = world.now + SOON;
        while world.now < end {
            world.run();
        }
        world.netcheck.network_changed(world.now);
        assert_eq!(world.run().lifetime_s, world.netcheck.card().lifetime_s);
        world.run();
        assert_eq!(world.counted, counted, "this network is known");
    }
}

#[test]
fn loss_does_not_make_a_mapping_shorter_than_it_is() {
    for seed in 0..20 {
        let mut world = aging(120, Nat::new(Eim, Apdf, Ports::Preserve));
        world.run();
        world.loss = Some((Rng::from_seed([seed; 32]), 10));
        let measured = world.until_measured().lifetime_s.unwrap();
        assert!(measured <= 115, "never longer");
        assert!(measured >= 28, "three datagrams lost in a row: {measured}");
    }
}

#[test]
fn where_nothing_tells_a_new_mapping_from_an_old_one_nothing_is_measured() {
    for (filtering, ports) in [(Eif, Ports::Preserve), (Eif, Ports::Random)] {
        let mut world = aging(30, Nat::new(Eim, filtering, ports));
        world.settle();
        assert_eq!(world.netcheck.card().lifetime_s, None);
        assert!(!world.used.contains(&lifetime::SOCKET));
    }
    // Servers that cannot answer from elsewhere: the step of one second shows it.
    let mut world = aging(30, Nat::new(Eim, Apdf, Ports::Preserve));
    world.run();
    world.plain_servers = true;
    world.settle();
    assert_eq!(world.netcheck.card().lifetime_s, None);
    assert!(world.closed.contains(&lifetime::SOCKET));
}

#[test]
fn a_network_that_goes_down_meanwhile_is_measured_later() {
    let mut world = aging(30, Nat::new(Eim, Apdf, Ports::Preserve));
    world.run();
    world.blocked = true;
    world.run();
    world.blocked = false;
    assert_eq!(world.until_measured().lifetime_s, Some(28));
}

#[test]
fn datagrams_too_long_for_the_way_out_are_noticed() {
    for (mtu, expected) in [(1_500, true), (1_200, false)] {
        let mut world = World::new(Nat::new(Eim, Apdf, Ports::Preserve));
        world.mtu = mtu;
        assert_eq!(world.netcheck.is_full_size(), None);
        world.run();
        assert_eq!(world.netcheck.is_full_size(), Some(expected));
    }
}

#[test]
fn a_knock_that_nobody_sent_proves_nothing() {
    let mut world = World::new(Nat::new(Eim, Apdf, Ports::Preserve));
    let knock = stun::Request::new([9; 12], stun::Change::default()).encode();
    world.netcheck.start(world.now);
    let stranger = SocketAddr::new(PUBLIC, 1);
    let datagram = Datagram { local: SocketId::MAIN, remote: stranger, bytes: &knock };
    assert_eq!(world.netcheck.handle_datagram(datagram, world.now), None);
    assert_eq!(world.run().hairpin, Some(false));
}

fn aging(lifetime_s: u64, nat: Nat) -> World {
    World::new(Nat { lifetime: Duration::from_secs(lifetime_s), ..nat })
}

impl World {
    /// Lets time pass until the lifetime is known.
    fn until_measured(&mut self) -> NatCard {
        let end = self.now + SOON * 2;
        while self.now < end {
            self.next_event();
            if self.netcheck.card().lifetime_s.is_some() {
                return *self.netcheck.card();
            }
        }
        panic!("nothing measured in {SOON:?}")
    }

    /// Lets time pass until nothing but runs is to come.
    fn settle(&mut self) {
        let end = self.now + SOON;
        while self.now < end {
            self.next_event();
        }
    }
}
