//! The cells of the matrix: two ends, and what is to become of them.
//!
//! What is expected follows from what the two NATs do, not from a list of pairs: [`expected`] is the column "ours" of
//! the table in docs/matrix.md.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::Lab;
use crate::pair::PATIENCE;

/// Each way on the link of each site, where the start of two ends must be synchronised: with `wan_input = accept` a
/// probe that arrives before ours has left spoils our own mapping.
const ACCEPT_DELAY_MS: u32 = 20;

/// Sizes of port blocks that are measured.
const BLOCKS: [u16; 4] = [512, 1_024, 2_048, 4_096];

/// A pair that can never be direct is watched for this long.
const RELAY_PATIENCE: Duration = Duration::from_secs(3);

/// What a pair of ends comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A direct path.
    Direct,
    /// The relay: nothing else can carry it.
    Relay,
}

impl Expected {
    /// As paths are named elsewhere.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
        }
    }
}

/// What counts of a NAT for whether a pair can be joined, and the letter its share of endpoints has in `matrix --share`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// O: anybody reaches it: no NAT, endpoint-independent filtering, or a port mapped by the router.
    Reachable,
    /// A: an address that was sent to reaches it on one public port.
    AddressRestricted,
    /// P: an address and port that was sent to reaches it on one public port; firewalls, too.
    PortRestricted,
    /// Q: another public port for each destination, one after the other.
    Sequential,
    /// B: another one for each destination, out of a block of at most 4,096.
    Block,
    /// R: another one for each destination, any.
    Random,
    /// X: no UDP at all.
    NoUdp,
    /// IPv6 behind a firewall, no IPv4.
    OnlyIpv6,
}

/// Whether two ends become direct: the column "ours".
#[must_use]
pub const fn expected(a: Class, b: Class) -> Expected {
    use Class::{AddressRestricted, Block, NoUdp, OnlyIpv6, PortRestricted, Random, Reachable, Sequential};
    match (a, b) {
        (OnlyIpv6, OnlyIpv6) => Expected::Direct,
        // No address family is common to both, or no UDP gets out; what TCP can do is the business of `Cell::pair`.
        (OnlyIpv6 | NoUdp, _) | (_, OnlyIpv6 | NoUdp) => Expected::Relay,
        // An end with one public port, and one that finds it, by guessing where need be.
        (Reachable | AddressRestricted | PortRestricted, _)
        | (_, Reachable | AddressRestricted | PortRestricted) => Expected::Direct,
        // Both change ports, but tell which comes next.
        (Sequential, Sequential) => Expected::Direct,
        (Sequential | Block | Random, Sequential | Block | Random) => Expected::Relay,
    }
}

/// One end: a site with a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// A kind of natlab, or one of ours (`block-1024`).
    pub name: String,
    /// Which pairs it can be part of.
    pub class: Class,
    /// The settings of the site.
    settings: String,
}

impl End {
    /// A kind of natlab, `block-SIZE`, `KIND-accept` (the router lets strangers' packets in) or `KIND-portmap`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (kind, extra, class) = if let Some(size) = name.strip_prefix("block-") {
            let size: u16 = size.parse().ok()?;
            ("symmetric", format!("port_block = {size}\n"), Class::Block)
        } else if let Some(kind) = name.strip_suffix("-accept") {
            let extra = format!("wan_input = \"accept\"\ndelay = {ACCEPT_DELAY_MS}\n");
            (kind, extra, class_of(kind)?)
        } else if let Some(kind) = name.strip_suffix("-portmap") {
            (kind, "portmap = true\n".to_owned(), Class::Reachable)
        } else {
            (name, String::new(), class_of(name)?)
        };
        let settings = format!("nat = \"{kind}\"\n{extra}");
        Some(Self { name: name.to_owned(), class, settings })
    }

    /// By TCP, which gets out everywhere here and in at the other end.
    fn calls(&self, other: &Self) -> bool {
        self.name == "udp-blocked" && other.name == "open"
    }
}

fn class_of(kind: &str) -> Option<Class> {
    Some(match kind {
        "open" | "full-cone" => Class::Reachable,
        "addr-restricted" => Class::AddressRestricted,
        "firewall" | "port-restricted" | "remapped" => Class::PortRestricted,
        "symmetric-seq" => Class::Sequential,
        "addr-symmetric" | "symmetric" => Class::Random,
        "udp-blocked" | "tcp443-only" | "proxy-only" => Class::NoUdp,
        "v6-firewall" => Class::OnlyIpv6,
        _ => return None,
    })
}

/// One row of the matrix: a topology in which `a` speaks to `b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// `full-cone:symmetric`, the initiator first, or a name of its own.
    pub name: String,
    sites: Vec<Site>,
    /// What is to become of it.
    pub expected: Expected,
    /// The classes of its ends, where it is a pair of them.
    pub classes: Option<[Class; 2]>,
}

/// A section of the topology.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Site {
    name: &'static str,
    settings: String,
}

/// What the links of all sites are like, beside what a site sets itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Each way, in milliseconds: twice this is the round trip to the coordinator, four times that between peers.
    pub delay_ms: u32,
    /// Datagrams lost on the link of a site, in percent, each way.
    pub loss_percent: u32,
}

impl Cell {
    /// A pair of ends, of which the first is the initiator: `full-cone:symmetric`.
    #[must_use]
    pub fn pair(a: &End, b: &End) -> Self {
        let sites = [("ra", a, "a"), ("rb", b, "b")];
        Self {
            name: format!("{}:{}", a.name, b.name),
            sites: sites.map(|(name, end, host)| Site::with(name, &end.settings, &[host])).to_vec(),
            expected: if a.calls(b) || b.calls(a) { Expected::Direct } else { expected(a.class, b.class) },
            classes: Some([a.class, b.class]),
        }
    }

    /// Any row by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if let Some((a, b)) = name.split_once(':') {
            return Some(Self::pair(&End::named(a)?, &End::named(b)?));
        }
        topologies().into_iter().find(|cell| cell.name == name)
    }

    /// The topology for natlab, with these links.
    #[must_use]
    pub fn topology(&self, links: Links) -> String {
        let mut text = "[server.s]\naddrs = 2\n".to_owned();
        for Site { name, settings } in &self.sites {
            let _ = write!(text, "[site.{name}]\n{settings}");
            let is_inner = settings.contains("via = ");
            if links.delay_ms > 0 && !is_inner && !settings.contains("delay = ") {
                let _ = writeln!(text, "delay = {}", links.delay_ms);
            }
            if links.loss_percent > 0 && !is_inner {
                let _ = writeln!(text, "loss = {}", links.loss_percent);
            }
        }
        text
    }

    /// How long to watch it: long enough to be sure.
    #[must_use]
    pub const fn patience(&self) -> Duration {
        match self.expected {
            Expected::Direct => PATIENCE,
            Expected::Relay => RELAY_PATIENCE,
        }
    }
}

impl Site {
    fn with(name: &'static str, settings: &str, hosts: &[&str]) -> Self {
        Self { name, settings: format!("{settings}hosts = {hosts:?}\n") }
    }
}

/// Every row: all kinds of natlab with themselves, both directions; blocks; open routers; topologies.
///
/// # Errors
///
/// When natlab cannot be run, or has a kind whose [`Class`] is not known here.
pub fn all() -> Result<Vec<Cell>> {
    let kinds = Lab::kinds()?;
    let ends = kinds.iter().map(|kind| End::named(kind).with_context(|| format!("what class is {kind}?")));
    let ends = ends.collect::<Result<Vec<End>>>()?;
    let mut cells: Vec<Cell> = ends.iter().flat_map(|a| ends.iter().map(|b| Cell::pair(a, b))).collect();
    let block = |size| format!("block-{size}");
    let others = BLOCKS.iter().flat_map(|size| both_ways(&block(*size), "port-restricted"));
    let with_block = ["full-cone", "addr-restricted", "symmetric-seq", "symmetric", "udp-blocked"];
    let others = others.chain(with_block.into_iter().flat_map(|kind| both_ways(&block(1_024), kind)));
    let accepting = ["port-restricted", "addr-restricted", "remapped"].map(|kind| format!("{kind}-accept"));
    let others = others
        .chain(both_ways(&block(1_024), &block(1_024)))
        .chain(accepting.iter().flat_map(|a| accepting.iter().map(move |b| format!("{a}:{b}"))))
        .chain(both_ways("port-restricted-portmap", "symmetric"))
        .chain(both_ways("symmetric-portmap", "symmetric"))
        .chain(both_ways("symmetric-portmap", "port-restricted-portmap"));
    cells.extend(others.filter_map(|name| Cell::named(&name)));
    cells.extend(topologies());
    Ok(cells)
}

fn both_ways(a: &str, b: &str) -> Vec<String> {
    let mut names = vec![format!("{a}:{b}"), format!("{b}:{a}")];
    names.dedup();
    names
}

/// Rows that are no pair of two ends behind one router each.
fn topologies() -> Vec<Cell> {
    let cell = |name: &str, expected, sites: &[(&'static str, &str, &[&str])]| Cell {
        name: name.to_owned(),
        sites: sites.iter().map(|(name, settings, hosts)| Site::with(name, settings, hosts)).collect(),
        expected,
        classes: None,
    };
    let cgn = "nat = \"port-restricted\"\nlan = \"100.64.0.0/24\"\n";
    let hairpin = format!("{cgn}hairpin = true\n");
    let homes: [(&'static str, &str, &[&str]); 2] =
        [("ra", "via = \"cgn\"\n", &["a"]), ("rb", "via = \"cgn\"\n", &["b"])];
    let symmetric = "nat = \"symmetric\"\nv6 = true\n";
    vec![
        cell("cgn", Expected::Direct, &[("cgn", &hairpin, &[]), homes[0], homes[1]]),
        cell("cgn-no-hairpin", Expected::Relay, &[("cgn", cgn, &[]), homes[0], homes[1]]),
        cell("same-nat", Expected::Direct, &[("ra", "hairpin = true\nisolate = true\n", &["a", "b"])]),
        cell("same-nat-no-hairpin", Expected::Relay, &[("ra", "isolate = true\n", &["a", "b"])]),
        cell("same-lan", Expected::Direct, &[("ra", "nat = \"symmetric\"\n", &["a", "b"])]),
        cell("dual-stack", Expected::Direct, &[("ra", symmetric, &["a"]), ("rb", symmetric, &["b"])]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_does_not_depend_on_who_begins() {
        let names = ["open", "addr-restricted", "remapped", "symmetric-seq", "block-512", "symmetric"];
        let ends: Vec<End> = names.iter().map(|name| End::named(name).unwrap()).collect();
        for (a, b) in ends.iter().flat_map(|a| ends.iter().map(move |b| (a.class, b.class))) {
            assert_eq!(expected(a, b), expected(b, a), "{a:?} {b:?}");
        }
        let relayed = ends.iter().flat_map(|a| ends.iter().map(move |b| expected(a.class, b.class)));
        assert_eq!(relayed.filter(|path| *path == Expected::Relay).count(), 8);
    }

    #[test]
    fn links_are_for_sites_that_have_none_of_their_own() {
        let links = Links { delay_ms: 7, loss_percent: 5 };
        let of = |name: &str| Cell::named(name).unwrap().topology(links);
        assert_eq!(of("open:symmetric").matches("delay = 7\nloss = 5").count(), 2);
        let accepting = of("remapped-accept:open");
        assert_eq!((accepting.matches("delay = 7").count(), accepting.matches("delay = 20").count()), (1, 1));
        assert_eq!(of("cgn").matches("delay = 7").count(), 1);
    }
}
