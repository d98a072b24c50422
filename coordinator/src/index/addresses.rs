//! Which prefix a network gets and which addresses its members get.
//!
//! A prefix is drawn at random, because the one that is counted up is the one everybody has at home. It avoids every
//! prefix of this coordinator, everything devices report as locally routed, the server's own routes, and ranges that
//! routers and VPNs hand out by default. 100.64.0.0/10 belongs to carriers (RFC 6598) and is never drawn.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::Ipv4Network;

use super::db::sql;
use super::draft::Draft;
use super::error::{IndexError, Result};
use super::memberships::{ADDRESS_REST_MS, Member};
use super::networks::Network;

/// Length of a drawn prefix: 1,022 members, and 16,384 of them in 10/8.
const DRAWN_LENGTH: u8 = 22;

/// Longest prefix an administrator may choose: two members.
const LONGEST: u8 = 30;

/// Shortest prefix an administrator may choose: the largest private block.
const SHORTEST: u8 = 8;

/// Random draws per pool before it counts as full.
const DRAWS: u32 = 4_096;

/// Private space (RFC 1918) in the order in which it is drawn from.
const POOLS: [(Ipv4Addr, u8); 3] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// Ranges that other people's equipment uses out of the box.
const WELL_KNOWN: [(Ipv4Addr, u8); 8] = [
    (Ipv4Addr::new(10, 0, 0, 0), 15), // home routers, cloud networks, Kubernetes pods
    (Ipv4Addr::new(10, 8, 0, 0), 16), // OpenVPN
    (Ipv4Addr::new(10, 10, 0, 0), 16), // routers
    (Ipv4Addr::new(10, 42, 0, 0), 15), // k3s
    (Ipv4Addr::new(10, 96, 0, 0), 12), // Kubernetes services
    (Ipv4Addr::new(10, 244, 0, 0), 16), // Kubernetes pods
    (Ipv4Addr::new(172, 16, 0, 0), 13), // Docker, 172.17 to 172.23
    (Ipv4Addr::new(192, 168, 0, 0), 17), // home routers
];

/// Whether two prefixes share an address.
#[must_use]
pub fn overlap(a: Ipv4Network, b: Ipv4Network) -> bool {
    a.contains(b.network()) || b.contains(a.network())
}

/// Draws a prefix that overlaps nothing in `taken`.
///
/// `random` is called for each draw.
///
/// # Errors
/// [`IndexError::Full`] when all private space is taken, or what `random` says.
pub(super) fn draw_prefix(
    taken: &[Ipv4Network],
    mut random: impl FnMut() -> Result<u32>,
) -> Result<Ipv4Network> {
    for (base, length) in POOLS {
        let host_bits = 32 - u32::from(length);
        for _ in 0..DRAWS {
            let offset = random()? & (u32::MAX >> (32 - host_bits));
            let Some(prefix) = prefix(Ipv4Addr::from(u32::from(base) | offset), DRAWN_LENGTH) else {
                continue;
            };
            let is_well_known = WELL_KNOWN.iter().filter_map(|(ip, length)| self::prefix(*ip, *length));
            if !is_well_known.chain(taken.iter().copied()).any(|other| overlap(prefix, other)) {
                return Ok(prefix);
            }
        }
    }
    Err(IndexError::Full("private address space (10/8, 172.16/12, 192.168/16)".to_owned()))
}

/// The prefix of `length` around an address.
fn prefix(ip: Ipv4Addr, length: u8) -> Option<Ipv4Network> {
    let around = Ipv4Network::new(ip, length).ok()?;
    Ipv4Network::new(around.network(), length).ok()
}

/// Checks a prefix an administrator chose.
///
/// # Errors
/// [`IndexError::Prefix`] saying what is wrong.
pub(super) fn check_prefix(chosen: Ipv4Network, others: &[Ipv4Network]) -> Result<Ipv4Network> {
    let refuse = |why: String| Err(IndexError::Prefix { prefix: chosen.to_string(), why });
    if !(SHORTEST..=LONGEST).contains(&chosen.prefix()) {
        return refuse(format!("its length must be from {SHORTEST} to {LONGEST}, for example /22"));
    }
    if chosen.ip() != chosen.network() {
        return refuse(format!(
            "it has host bits set; did you mean {}/{}?",
            chosen.network(),
            chosen.prefix()
        ));
    }
    let shared = Ipv4Network::new(Ipv4Addr::new(100, 64, 0, 0), 10);
    let private = POOLS.iter().filter_map(|(ip, length)| prefix(*ip, *length)).chain(shared.ok());
    let is_inside = |pool: Ipv4Network| pool.contains(chosen.network()) && pool.contains(chosen.broadcast());
    if !private.into_iter().any(is_inside) {
        return refuse(
            "it is not inside 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10".to_owned(),
        );
    }
    if let Some(other) = others.iter().find(|other| overlap(**other, chosen)) {
        return refuse(format!("it overlaps {other}, which another network of this coordinator has"));
    }
    Ok(chosen)
}

/// The lowest free member address of a network, as its place in the prefix and in full.
///
/// `used` need not be sorted. The network's own and its broadcast address are never given out.
#[must_use]
pub(super) fn free_address(prefix4: Ipv4Network, used: &[Ipv4Addr]) -> Option<(u32, Ipv4Addr)> {
    let base = u32::from(prefix4.network());
    let last = u32::from(prefix4.broadcast());
    let mut used: Vec<u32> = used.iter().map(|ip| u32::from(*ip)).collect();
    used.sort_unstable();
    let mut candidate = base.checked_add(1)?;
    for taken in used {
        if taken > candidate {
            break;
        }
        if taken == candidate {
            candidate = taken.checked_add(1)?;
        }
    }
    (candidate < last).then(|| (candidate - base, Ipv4Addr::from(candidate)))
}

/// A member's IPv6 address: its place in the IPv4 prefix, inside the network's /64.
#[must_use]
pub(super) fn member_ip6(prefix6: Ipv6Addr, place: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(prefix6) | u128::from(place))
}

/// A random unique-local /48 (RFC 4193, 3.2): fd, then 40 random bits.
///
/// # Errors
/// When the operating system gives no random numbers.
pub(super) fn draw_ula() -> Result<Ipv6Addr> {
    let mut random = [0; 5];
    getrandom::fill(&mut random)?;
    let mut bytes = [0; 16];
    bytes[0] = 0xFD;
    bytes[1..6].copy_from_slice(&random);
    Ok(Ipv6Addr::from(bytes))
}

/// The /64 with a number inside the coordinator's /48.
#[must_use]
pub(super) fn subnet6(ula: Ipv6Addr, number: u16) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(ula) | (u128::from(number) << 64))
}

impl Draft<'_> {
    /// Gives a member addresses of its network, its former ones if they still fit.
    ///
    /// # Errors
    /// [`IndexError::Full`].
    pub(super) async fn settle_addresses(&mut self, network: &Network, member: &mut Member) -> Result<()> {
        if member.ip4.is_some_and(|ip| network.prefix4.contains(ip)) && member.ip6.is_some() {
            return Ok(());
        }
        let rested = self.now() - ADDRESS_REST_MS;
        sql!(
            "UPDATE memberships SET ip4 = NULL, ip6 = NULL WHERE network_id = $1 AND state IN ('left', 'denied') \
             AND updated_at < $2",
        )
        .bind(network.id.to_string())
        .bind(rested)
        .execute(self.connection())
        .await?;
        // One row with all of them: thousands of rows are most of what a join to a large network would cost.
        let used: String =
            sql!("SELECT COALESCE(string_agg(ip4, ' '), '') FROM memberships WHERE network_id = $1")
                .bind(network.id.to_string())
                .fetch_one(self.connection())
                .await?;
        let used: Vec<Ipv4Addr> = used.split(' ').filter_map(|ip| ip.parse().ok()).collect();
        let (place, ip4) = free_address(network.prefix4, &used)
            .ok_or_else(|| IndexError::Full(format!("network \"{}\" ({})", network.slug, network.prefix4)))?;
        member.ip4 = Some(ip4);
        member.ip6 = Some(network.ip6_at(place));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Network {
        text.parse().unwrap()
    }

    fn system_random() -> Result<u32> {
        Ok(getrandom::u32()?)
    }

    #[test]
    fn a_drawn_prefix_collides_with_nothing_reported() {
        let mut taken = vec![net("10.128.0.0/9"), net("10.64.0.0/10"), net("10.32.0.0/11")];
        for _ in 0..200 {
            let drawn = draw_prefix(&taken, system_random).unwrap();
            assert!(!taken.iter().any(|other| overlap(*other, drawn)), "{drawn}");
            assert_eq!(drawn.prefix(), DRAWN_LENGTH);
            assert_eq!(drawn.ip(), drawn.network());
            taken.push(drawn);
        }
    }

    #[test]
    fn when_all_of_ten_is_routed_the_next_private_block_serves() {
        let drawn = draw_prefix(&[net("10.0.0.0/8")], system_random).unwrap();
        assert!(net("172.16.0.0/12").contains(drawn.network()), "{drawn}");
    }

    #[test]
    fn when_all_private_space_is_routed_the_error_says_so() {
        let all = [net("10.0.0.0/8"), net("172.16.0.0/12"), net("192.168.0.0/16")];
        assert!(matches!(draw_prefix(&all, system_random), Err(IndexError::Full(_))));
    }

    #[test]
    fn addresses_are_given_out_from_the_lowest_and_gaps_are_filled() {
        let prefix4 = net("10.61.4.0/29");
        let ip = |last| Ipv4Addr::new(10, 61, 4, last);
        assert_eq!(free_address(prefix4, &[]), Some((1, ip(1))));
        assert_eq!(free_address(prefix4, &[ip(3), ip(1)]), Some((2, ip(2))));
        assert_eq!(free_address(prefix4, &[ip(6), ip(5), ip(4), ip(3), ip(2), ip(1)]), None);
        // An address left over from an earlier prefix takes no place.
        assert_eq!(free_address(prefix4, &[Ipv4Addr::new(10, 1, 1, 1), ip(1)]), Some((2, ip(2))));
    }

    #[test]
    fn a_chosen_prefix_is_checked_and_the_error_says_what_would_do() {
        assert!(check_prefix(net("10.61.0.0/16"), &[]).is_ok());
        let why =
            |text: &str, others: &[Ipv4Network]| check_prefix(net(text), others).unwrap_err().to_string();
        assert!(why("10.61.7.2/24", &[]).contains("10.61.7.0/24"));
        assert!(why("8.8.8.0/24", &[]).contains("10.0.0.0/8"));
        assert!(why("10.61.7.0/31", &[]).contains("/22"));
        assert!(why("10.61.7.0/24", &[net("10.61.0.0/16")]).contains("overlaps 10.61.0.0/16"));
    }

    #[test]
    fn every_network_has_its_own_ipv6_prefix_inside_the_coordinators() {
        let ula = draw_ula().unwrap();
        assert_eq!(ula.octets()[0], 0xFD);
        let subnet = subnet6(ula, 7);
        assert_eq!(subnet.segments()[3], 7);
        assert_eq!(member_ip6(subnet, 2).segments()[7], 2);
    }
}
