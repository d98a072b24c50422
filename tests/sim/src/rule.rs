//! What must become of a pair of devices, by where they are.
//!
//! The same rule as the namespace lab's `punchable`: sending to the address that STUN showed joins two ends if
//! both keep their mapping for every destination, or one does and does not filter by port. To it come a shared
//! LAN, hairpinning and IPv6. Where more than plain punching could help, or luck, the rule stays silent
//! ([`Expect::Either`]). What guessing ports adds to it stands here, too, and counts once devices do it ([`PLANS`]).

use lanyard_wire::nat::{Filtering, Mapping};

use crate::nat::{Behaviour, Ports};
use crate::net::{HostId, Net, SiteId};

/// What the oracle demands of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// A direct path.
    Direct,
    /// The relay, for good.
    Relayed,
    /// Connected, no matter how.
    Either,
    /// One end gets no UDP out: nothing.
    Nothing,
}

/// How devices find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plans {
    /// By sending to the addresses that STUN showed.
    Plain,
    /// Also by predicting and guessing ports, and by a second round on fresh ports.
    Guessing,
}

/// What the machines can do today: the one thing to change when they learn more.
pub const PLANS: Plans = Plans::Guessing;

/// Largest datagram a path is proven with: the tunnel's MTU and what WireGuard adds.
pub const PROOF: usize = 1_280 + 32;

/// What must become of two devices where they are plugged in now.
#[must_use]
pub fn expect(net: &Net, a: HostId, b: HostId) -> Expect {
    expect_with(PLANS, net, a, b)
}

/// The same, if devices had these plans.
#[must_use]
pub fn expect_with(plans: Plans, net: &Net, a: HostId, b: HostId) -> Expect {
    let (Some(site_a), Some(site_b)) = (net.site_of(a), net.site_of(b)) else { return Expect::Nothing };
    let (chain_a, chain_b) = (chain(net, site_a), chain(net, site_b));
    let (all_a, all_b) = (Traits::of(net, &chain_a), Traits::of(net, &chain_b));
    if !all_a.udp || !all_b.udp {
        return Expect::Nothing;
    }
    if net.computer_of(a) == net.computer_of(b) {
        return Expect::Direct;
    }
    let joint = chain_a.iter().copied().find(|site| chain_b.contains(site));
    let below = |chain: &[SiteId]| -> Vec<SiteId> {
        chain.iter().copied().take_while(|site| Some(*site) != joint).collect()
    };
    let (below_a, below_b) = (below(&chain_a), below(&chain_b));
    let is_one_lan = below_a.is_empty() && below_b.is_empty();
    if !is_one_lan && has_ipv6(net, site_a) && has_ipv6(net, site_b) {
        return Expect::Direct;
    }
    if let Some(joint) = joint {
        return expect_near(net, joint, &below_a, &below_b);
    }
    let mtu = all_a.mtu.min(all_b.mtu);
    if mtu < PROOF + crate::link::IPV4_OVERHEAD {
        return Expect::Relayed;
    }
    match plans {
        Plans::Plain if all_a.strangers || all_b.strangers => Expect::Either,
        Plans::Plain if is_punchable(&all_a, &all_b) => Expect::Direct,
        Plans::Plain => Expect::Relayed,
        Plans::Guessing => expect_guessed(&all_a, &all_b, net.hosts() <= 2),
    }
}

/// Whether two devices are direct only after a guess in a block, which costs hundreds of packets and is not repeated soon
/// once one between their networks failed.
#[must_use]
pub fn is_dear(net: &Net, a: HostId, b: HostId) -> bool {
    let ends = [a, b].map(|host| net.site_of(host).map(|site| Traits::of(net, &chain(net, site))));
    let has_block = ends.iter().flatten().any(|end| matches!(end.pattern, Pattern::Block(_)));
    has_block && expect_with(Plans::Plain, net, a, b) != Expect::Direct && expect(net, a, b) == Expect::Direct
}

/// The guessing plans: who may be predicted, guessed, or neither.
///
/// A table over (mapping, filtering, ports) of both ends. *Direct* stands where success is as good as certain: one
/// miss in 10,000 or fewer. Guesses among all ports miss more often (one in
/// 70), and busy neighbours carry a prediction away: there either outcome is right in a single run.
fn expect_guessed(a: &Traits, b: &Traits, are_alone: bool) -> Expect {
    if is_punchable(a, b) {
        return Expect::Direct;
    }
    let is_guess = a.pattern != Pattern::Kept || b.pattern != Pattern::Kept;
    if is_guess && (a.strangers || b.strangers) {
        // What the one opens may be at the other's router before that has sent anything there.
        return Expect::Either;
    }
    let counts = |traits: &Traits| matches!(traits.pattern, Pattern::Counted { .. });
    if !are_alone && (counts(a) || counts(b)) {
        // Two attempts at once count on the same ports, and foil each other.
        return Expect::Either;
    }
    match (a.pattern, b.pattern) {
        (Pattern::Kept, other) | (other, Pattern::Kept) => match other {
            Pattern::Kept | Pattern::Counted { is_quiet: true } => Expect::Direct,
            Pattern::Block(size) if size <= 4_096 => Expect::Direct,
            Pattern::Counted { is_quiet: false } | Pattern::Block(_) | Pattern::Random | Pattern::Mixed => {
                Expect::Either
            }
        },
        (Pattern::Counted { is_quiet: true }, Pattern::Counted { is_quiet: true }) => Expect::Direct,
        (Pattern::Counted { .. }, Pattern::Counted { .. }) | (Pattern::Mixed, _) | (_, Pattern::Mixed) => {
            Expect::Either
        }
        // By luck alone, and less than once in ten.
        (Pattern::Counted { .. } | Pattern::Block(_) | Pattern::Random, _) => Expect::Relayed,
    }
}

/// IPv6 that carries full-size packets; it does not pass the carrier's router.
fn has_ipv6(net: &Net, site: SiteId) -> bool {
    let config = net.site(site).map(|site| site.config);
    config
        .is_some_and(|config| config.ipv6.is_some() && config.link.mtu >= PROOF + crate::link::IPV6_OVERHEAD)
}

/// Two devices below the same router, or the same carrier.
fn expect_near(net: &Net, joint: SiteId, below_a: &[SiteId], below_b: &[SiteId]) -> Expect {
    let Some(site) = net.site(joint) else { return Expect::Nothing };
    let keeps = matches!(site.config.nat.mapping, Mapping::None | Mapping::EndpointIndependent);
    if below_a.is_empty() && below_b.is_empty() {
        return match (site.config.isolated, site.config.nat.hairpin) {
            (false, _) => Expect::Direct,
            (true, true) if keeps && site.config.via.is_none() => Expect::Direct,
            (true, false) if site.config.via.is_none() && site.config.ipv6.is_none() => Expect::Relayed,
            (true, _) => Expect::Either,
        };
    }
    if below_a.is_empty() || below_b.is_empty() || !keeps {
        return Expect::Either;
    }
    let (a, b) = (Traits::of(net, below_a), Traits::of(net, below_b));
    let is_wide = a.mtu.min(b.mtu) >= PROOF + crate::link::IPV4_OVERHEAD;
    match (site.config.nat.hairpin, is_wide && is_punchable(&a, &b)) {
        (true, true) if !a.strangers && !b.strangers => Expect::Direct,
        (true, _) => Expect::Either,
        (false, _) if site.config.via.is_none() => Expect::Relayed,
        (false, _) => Expect::Either,
    }
}

/// How the outside port of a mapping follows from what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    /// One mapping for all destinations.
    Kept,
    /// The next one; others behind the router take few of them, or many.
    Counted { is_quiet: bool },
    /// One of so many.
    Block(u16),
    /// Any.
    Random,
    /// Several routers in a row that each change it.
    Mixed,
}

impl Pattern {
    const fn of(nat: &Behaviour) -> Self {
        match (nat.mapping, nat.ports) {
            (Mapping::None | Mapping::EndpointIndependent, _) => Self::Kept,
            (_, Ports::Sequential { others, .. }) => Self::Counted { is_quiet: others <= 30 },
            (_, Ports::Block { size, .. }) => Self::Block(size),
            (_, Ports::Random | Ports::Preserved) => Self::Random,
        }
    }

    /// Behind another router, which leaves the ports as they are as long as it `preserves` them.
    const fn then(self, outer: Self, preserves: bool) -> Self {
        match (self, outer) {
            (Self::Kept, other) => other,
            // One mapping for all destinations of a port that is another for each of them.
            (other, Self::Kept) if preserves => other,
            _ => Self::Mixed,
        }
    }
}

/// Several routers in a row behave as the strictest of them.
struct Traits {
    mapping: u8,
    pattern: Pattern,
    filters_ports: bool,
    udp: bool,
    strangers: bool,
    mtu: usize,
}

impl Traits {
    fn of(net: &Net, chain: &[SiteId]) -> Self {
        let mut all = Self {
            mapping: 0,
            pattern: Pattern::Kept,
            filters_ports: false,
            udp: true,
            strangers: false,
            mtu: usize::MAX,
        };
        for site in chain.iter().filter_map(|site| net.site(*site)) {
            let nat = site.config.nat;
            all.mapping = all.mapping.max(match nat.mapping {
                Mapping::None | Mapping::EndpointIndependent => 0,
                Mapping::AddressDependent => 1,
                Mapping::AddressAndPortDependent => 2,
            });
            all.pattern = all.pattern.then(Pattern::of(&nat), site.nat.preserves_ports());
            all.filters_ports |= nat.filtering == Filtering::AddressAndPortDependent;
            all.udp &= nat.udp;
            all.strangers |= nat.accepts_strangers;
            all.mtu = all.mtu.min(site.config.link.mtu);
        }
        all
    }
}

fn is_punchable(a: &Traits, b: &Traits) -> bool {
    match (a.mapping == 0, b.mapping == 0) {
        (true, true) => true,
        (true, false) => !a.filters_ports,
        (false, true) => !b.filters_ports,
        (false, false) => false,
    }
}

fn chain(net: &Net, site: SiteId) -> Vec<SiteId> {
    std::iter::successors(Some(site), |site| net.site(*site).and_then(|site| site.config.via)).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use lanyard_proto::rng::Rng;

    use super::*;
    use crate::nat::{Behaviour, Kind};
    use crate::net::SiteConfig;

    #[test]
    fn the_rule_agrees_with_the_lab_on_every_pair() {
        let lab = concat!(env!("CARGO_MANIFEST_DIR"), "/../natlab/natlab");
        let output = Command::new(lab).arg("pairs").output().expect("the lab lists its pairs");
        let text = String::from_utf8(output.stdout).unwrap();
        let (mut seen, mut known) = (0, std::collections::BTreeSet::new());
        for line in text.lines() {
            let (pair, verdict) = line.split_once(' ').unwrap();
            let (a, b) = pair.split_once(':').unwrap();
            let kind = |name: &str| Kind::ALL.iter().find(|kind| kind.name() == name).copied();
            let (Some(a), Some(b)) = (kind(a), kind(b)) else { continue };
            known.extend([a, b]);
            let expected = match (verdict, a.behaviour().udp && b.behaviour().udp) {
                (_, false) => Expect::Nothing,
                ("direct", true) => Expect::Direct,
                (_, true) => Expect::Relayed,
            };
            let net = net_of(SiteConfig::of(a), SiteConfig::of(b));
            assert_eq!(expect_with(Plans::Plain, &net, HostId(0), HostId(1)), expected, "{line}");
            seen += 1;
        }
        assert_eq!(seen, known.len() * (known.len() + 1) / 2, "{text}");
        assert!(known.len() >= 10, "the lab knows {known:?}");
    }

    #[test]
    fn ipv6_at_both_ends_makes_any_pair_direct_and_a_narrow_link_none() {
        let ipv6 = Some(Filtering::AddressAndPortDependent);
        let site = SiteConfig { ipv6, ..SiteConfig::of(Kind::Symmetric) };
        assert_eq!(pair_of(site, site), Expect::Direct);
        let narrow =
            SiteConfig { link: crate::link::Link::CLEAN.narrow(1_300), ..SiteConfig::of(Kind::Open) };
        assert_eq!(pair_of(narrow, SiteConfig::of(Kind::Open)), Expect::Relayed);
    }

    #[test]
    fn guessing_makes_those_pairs_direct_whose_ports_can_be_told() {
        use Expect::{Direct, Either, Relayed};
        use Kind::{
            AddrSymmetric, Block512, Block1024, Block4096, FullCone, PortRestricted, Symmetric, SymmetricSeq,
            SymmetricSeqBusy, SymmetricSeqTwo, WanAccept,
        };
        for (a, b, plain, guessing) in [
            (PortRestricted, PortRestricted, Direct, Direct),
            (FullCone, Symmetric, Direct, Direct),
            (PortRestricted, WanAccept, Either, Direct),
            (WanAccept, WanAccept, Either, Direct),
            (PortRestricted, SymmetricSeq, Relayed, Direct),
            (WanAccept, SymmetricSeq, Either, Either),
            (PortRestricted, SymmetricSeqTwo, Relayed, Direct),
            (PortRestricted, SymmetricSeqBusy, Relayed, Either),
            (PortRestricted, Block512, Relayed, Direct),
            (Block1024, PortRestricted, Relayed, Direct),
            (PortRestricted, Block4096, Relayed, Direct),
            (PortRestricted, Symmetric, Relayed, Either),
            (PortRestricted, AddrSymmetric, Relayed, Either),
            (SymmetricSeq, SymmetricSeqTwo, Relayed, Direct),
            (SymmetricSeq, SymmetricSeqBusy, Relayed, Either),
            (SymmetricSeq, Symmetric, Relayed, Relayed),
            (Block512, Block512, Relayed, Relayed),
            (Symmetric, Symmetric, Relayed, Relayed),
        ] {
            let found = [Plans::Plain, Plans::Guessing].map(|plans| {
                let net = net_of(SiteConfig::of(a), SiteConfig::of(b));
                let there = expect_with(plans, &net, HostId(0), HostId(1));
                assert_eq!(there, expect_with(plans, &net, HostId(1), HostId(0)), "{a:?} {b:?}");
                there
            });
            assert_eq!(found, [plain, guessing], "{a:?} {b:?}");
        }
    }

    #[test]
    fn ports_of_a_block_are_told_through_another_router_as_long_as_that_one_leaves_them() {
        use Expect::{Direct, Either};
        for (outer, rebinds, expected) in
            [(Kind::FullCone, 0, Direct), (Kind::FullCone, 1, Either), (Kind::Remapped, 0, Either)]
        {
            let mut net = Net::default();
            let mut rng = Rng::from_seed([0; 32]);
            let outer = net.add_site(SiteConfig::of(outer), &mut rng);
            let inner = SiteConfig { via: Some(outer), lan: 10, ..SiteConfig::of(Kind::Block2048) };
            let inner = net.add_site(inner, &mut rng);
            let firewall = net.add_site(SiteConfig::of(Kind::Firewall), &mut rng);
            net.plug(HostId(0), inner);
            net.plug(HostId(1), firewall);
            (0..rebinds).for_each(|_| net.rebind(outer));
            assert_eq!(expect(&net, HostId(0), HostId(1)), expected, "{rebinds} rebinds");
        }
    }

    #[test]
    fn a_guess_in_a_block_is_dear_and_nothing_that_plain_probes_reach() {
        use Kind::{Block512, FullCone, Open, PortRestricted, SymmetricSeq};
        for (a, b, expected) in [
            (PortRestricted, Block512, true),
            (Block512, PortRestricted, true),
            (FullCone, Block512, false),
            (Open, Block512, false),
            (PortRestricted, SymmetricSeq, false),
        ] {
            let net = net_of(SiteConfig::of(a), SiteConfig::of(b));
            assert_eq!(is_dear(&net, HostId(0), HostId(1)), expected, "{a:?} {b:?}");
        }
    }

    #[test]
    fn two_devices_on_one_computer_are_direct_whatever_is_around_them() {
        let site = SiteConfig { isolated: true, ..SiteConfig::of(Kind::Symmetric) };
        let mut net = net_of(site, site);
        net.share(HostId(2), HostId(0));
        net.plug(HostId(2), SiteId(0));
        assert_eq!(net.addresses(HostId(2)), net.addresses(HostId(0)));
        assert_eq!(expect(&net, HostId(0), HostId(2)), Expect::Direct);
        assert_eq!(expect(&net, HostId(1), HostId(2)), Expect::Relayed);
    }

    #[test]
    fn neighbours_are_direct_unless_kept_apart_without_hairpinning() {
        for (isolated, hairpin, expected) in
            [(false, false, Expect::Direct), (true, true, Expect::Direct), (true, false, Expect::Relayed)]
        {
            let nat = Behaviour { hairpin, ..Kind::PortRestricted.behaviour() };
            let mut net = Net::default();
            let mut rng = Rng::from_seed([0; 32]);
            net.add_site(SiteConfig { nat, isolated, ..SiteConfig::of(Kind::Open) }, &mut rng);
            net.plug(HostId(0), SiteId(0));
            net.plug(HostId(1), SiteId(0));
            assert_eq!(expect(&net, HostId(0), HostId(1)), expected);
        }
    }

    fn pair_of(a: SiteConfig, b: SiteConfig) -> Expect {
        expect(&net_of(a, b), HostId(0), HostId(1))
    }

    fn net_of(a: SiteConfig, b: SiteConfig) -> Net {
        let mut net = Net::default();
        let mut rng = Rng::from_seed([0; 32]);
        for (host, site) in [a, b].into_iter().enumerate() {
            let site = net.add_site(site, &mut rng);
            net.plug(HostId(host), site);
        }
        net
    }
}
