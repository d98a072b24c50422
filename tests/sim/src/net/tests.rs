//! Packets between hosts, sites and servers, with the addresses each end sees.

use super::*;

const A: HostId = HostId(0);
const B: HostId = HostId(1);

#[test]
fn a_server_sees_the_router_and_its_answer_comes_back() {
    let mut lab = Lab::new(&[SiteConfig::of(Kind::Symmetric)]);
    lab.net.plug(A, SiteId(0));
    let there = lab.net.depart(A, 41_641, server(), Instant::ZERO).unwrap();
    assert_eq!(there.place, Place::Server(ServerId(0)));
    assert_eq!(there.source.ip(), public_ip(0, 1));
    assert_eq!(there.link.delay, Link::CLEAN.delay * 2);
    let back = lab.net.depart_core(Some(ServerId(0)), server(), there.source).unwrap();
    assert_eq!(lab.net.arrive(&back, Instant::ZERO), Ok(Arrival::Host(A, 41_641)));
    let stranger = lab.net.depart_core(None, "203.0.113.77:9".parse().unwrap(), there.source).unwrap();
    assert_eq!(lab.net.arrive(&stranger, Instant::ZERO), Err(Lost::Router(Dropped::Filtered)));
}

#[test]
fn hosts_of_one_lan_talk_directly_unless_isolated() {
    for isolated in [false, true] {
        let mut lab = Lab::new(&[SiteConfig { isolated, ..SiteConfig::of(Kind::PortRestricted) }]);
        lab.net.plug(A, SiteId(0));
        lab.net.plug(B, SiteId(0));
        let target = SocketAddr::new(lab.net.addresses(B)[0], 41_641);
        let sent = lab.net.depart(A, 41_641, target, Instant::ZERO);
        if isolated {
            assert_eq!(sent, Err(Lost::Isolated));
        } else {
            assert_eq!(lab.net.arrive(&sent.unwrap(), Instant::ZERO), Ok(Arrival::Host(B, 41_641)));
        }
    }
}

#[test]
fn two_homes_with_the_same_lan_prefix_do_not_meet() {
    let mut lab = Lab::new(&[SiteConfig::of(Kind::FullCone), SiteConfig::of(Kind::FullCone)]);
    lab.net.plug(A, SiteId(0));
    lab.net.plug(B, SiteId(1));
    assert_eq!(lab.net.addresses(A), lab.net.addresses(B));
    let own = SocketAddr::new(lab.net.addresses(B)[0], 41_641);
    assert_eq!(lab.net.depart(A, 41_641, own, Instant::ZERO).unwrap().place, Place::Host(A));
}

#[test]
fn hairpinning_turns_a_packet_around_where_the_router_can() {
    for hairpin in [false, true] {
        let nat = Behaviour { hairpin, ..Kind::PortRestricted.behaviour() };
        let mut lab = Lab::new(&[SiteConfig { nat, isolated: true, ..SiteConfig::of(Kind::Open) }]);
        lab.net.plug(A, SiteId(0));
        lab.net.plug(B, SiteId(0));
        let outside = lab.net.depart(B, 41_641, server(), Instant::ZERO).unwrap().source;
        let sent = lab.net.depart(A, 41_642, outside, Instant::ZERO);
        if hairpin {
            let sent = sent.unwrap();
            assert_eq!(sent.source.ip(), outside.ip(), "the source is public, too");
            assert_eq!(lab.net.arrive(&sent, Instant::ZERO), Ok(Arrival::Host(B, 41_641)));
        } else {
            assert_eq!(sent, Err(Lost::Router(Dropped::Hairpin)));
        }
    }
}

#[test]
fn a_home_behind_a_carrier_is_translated_twice() {
    let mut lab = Lab::new(&[
        SiteConfig::of(Kind::Symmetric),
        SiteConfig { via: Some(SiteId(0)), ..SiteConfig::of(Kind::FullCone) },
    ]);
    lab.net.plug(A, SiteId(1));
    let first = lab.net.depart(A, 41_641, server(), Instant::ZERO).unwrap();
    assert_eq!(first.source.ip(), public_ip(0, 1));
    let mut other = server();
    other.set_port(3_479);
    let second = lab.net.depart(A, 41_641, other, Instant::ZERO).unwrap();
    assert_ne!(first.source, second.source, "the carrier's mapping shows");
    let back = lab.net.depart_core(Some(ServerId(0)), server(), first.source).unwrap();
    let Arrival::Onward(home) = lab.net.arrive(&back, Instant::ZERO).unwrap() else { panic!("one hop only") };
    assert_eq!(lab.net.arrive(&home, Instant::ZERO), Ok(Arrival::Host(A, 41_641)));
}

#[test]
fn ipv6_passes_a_firewall_only_after_the_inside_spoke() {
    let ipv6 = Some(Filtering::AddressAndPortDependent);
    let site = SiteConfig { ipv6, ..SiteConfig::of(Kind::Symmetric) };
    let mut lab = Lab::new(&[site, site]);
    lab.net.plug(A, SiteId(0));
    lab.net.plug(B, SiteId(1));
    let (a, b) = (lab.ip6(A), lab.ip6(B));
    let early = lab.net.depart(A, 1, SocketAddr::new(b, 1), Instant::ZERO).unwrap();
    assert!(lab.net.arrive(&early, Instant::ZERO).is_err());
    lab.net.depart(B, 1, SocketAddr::new(a, 1), Instant::ZERO).unwrap();
    assert_eq!(lab.net.arrive(&early, Instant::ZERO), Ok(Arrival::Host(B, 1)));
}

#[test]
fn a_cut_works_one_way_and_a_dead_uplink_both() {
    let mut lab = Lab::new(&[SiteConfig::of(Kind::PortRestricted)]);
    lab.net.plug(A, SiteId(0));
    let out = lab.net.depart(A, 1, server(), Instant::ZERO).unwrap();
    lab.net.cut(Place::Server(ServerId(0)), Place::Gate(SiteId(0)), true);
    assert!(lab.net.depart(A, 1, server(), Instant::ZERO).is_ok());
    assert_eq!(lab.net.depart_core(Some(ServerId(0)), server(), out.source), Err(Lost::Cut));
    lab.net.cut(Place::Server(ServerId(0)), Place::Gate(SiteId(0)), false);
    lab.net.site_mut(SiteId(0)).unwrap().down = true;
    assert_eq!(lab.net.depart(A, 1, server(), Instant::ZERO), Err(Lost::Cut));
}

#[test]
fn moving_a_host_or_renumbering_a_router_leaves_nothing_at_the_old_address() {
    let mut lab = Lab::new(&[SiteConfig::of(Kind::Open), SiteConfig::of(Kind::FullCone)]);
    lab.net.plug(A, SiteId(0));
    let before = SocketAddr::new(lab.net.addresses(A)[0], 1);
    assert!(lab.net.depart_core(None, server(), before).is_ok());
    lab.net.plug(A, SiteId(1));
    assert_eq!(lab.net.depart_core(None, server(), before), Err(Lost::Unrouted));
    let outside = lab.net.depart(A, 1, server(), Instant::ZERO).unwrap().source;
    lab.net.renumber(SiteId(1));
    assert_eq!(lab.net.depart_core(None, server(), outside), Err(Lost::Unrouted));
    assert_ne!(lab.net.depart(A, 1, server(), Instant::ZERO).unwrap().source.ip(), outside.ip());
}

struct Lab {
    net: Net,
}

impl Lab {
    fn new(sites: &[SiteConfig]) -> Self {
        let mut net = Net::default();
        let mut rng = Rng::from_seed([3; 32]);
        net.add_server(&[server().ip()], Link::CLEAN);
        for site in sites {
            net.add_site(*site, &mut rng);
        }
        Self { net }
    }

    fn ip6(&self, host: HostId) -> IpAddr {
        self.net.addresses(host)[1]
    }
}

fn server() -> SocketAddr {
    "203.0.113.1:3478".parse().unwrap()
}
