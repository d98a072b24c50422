//! From what STUN servers saw to RFC 4787 words.
//!
//! Pure functions. Where an answer is missing the stricter behaviour is named, since a plan for a strict NAT
//! also works behind a lenient one; where nothing speaks for either, the verdict is `None`.

use alloc::vec::Vec;
use core::net::SocketAddr;

use lanyard_wire::nat::{Filtering, Mapping, PortPolicy};

/// Ports a NAT may step by and still count as sequential.
///
/// Other hosts behind the same NAT take ports between two of ours.
const STEP_MAX: i32 = 8;

/// Ports further apart than this are no block: the largest blocks that carriers hand out are 16,384 ports.
const BLOCK_SPREAD_MAX: u32 = 16_384;

/// Where the servers saw the main socket come from: `grid[ip][port]`.
pub(super) type Grid = [[Option<SocketAddr>; 2]; 2];

/// Mapping behaviour: does the external address depend on the destination?
///
/// `local` are this device's own addresses, each with the main socket's port.
pub(super) fn mapping(grid: &Grid, local: &[SocketAddr]) -> Option<Mapping> {
    let seen: Vec<SocketAddr> = grid.iter().flatten().flatten().copied().collect();
    let first = *seen.first()?;
    if seen.iter().all(|mapped| *mapped == first) {
        if local.contains(&first) {
            return Some(Mapping::None);
        }
        // One answer alone says nothing about another destination.
        return (seen.len() > 1).then_some(Mapping::EndpointIndependent);
    }
    // Two ports of one address saw the same: the port does not matter, so the address does. Where no address
    // answered on two ports the stricter behaviour stands.
    let same_port_matters = grid.iter().any(|[one, two]| matches!((one, two), (Some(a), Some(b)) if a != b));
    let same_port_known = grid.iter().any(|[one, two]| one.is_some() && two.is_some());
    if same_port_known && !same_port_matters {
        Some(Mapping::AddressDependent)
    } else {
        Some(Mapping::AddressAndPortDependent)
    }
}

/// Do two destinations see two addresses? Enough to go and sample ports.
pub(super) fn varies(grid: &Grid) -> bool {
    let mut seen = grid.iter().flatten().flatten();
    seen.next().is_some_and(|first| seen.any(|mapped| mapped != first))
}

/// What the questions about filtering brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// An answer from another address came in.
    pub(super) address_did: bool,
    /// The server can answer from another port of its address.
    pub(super) port_can: bool,
    /// An answer from another port came in.
    pub(super) port_did: bool,
}

/// Filtering behaviour: who may answer on a mapping?
pub(super) fn filtering(heard: Heard) -> Option<Filtering> {
    if heard.address_did {
        return Some(Filtering::EndpointIndependent);
    }
    if heard.port_did {
        return Some(Filtering::AddressDependent);
    }
    heard.port_can.then_some(Filtering::AddressAndPortDependent)
}

/// How a NAT that gives every destination another port chooses it.
///
/// `samples` are external ports in the order in which their mappings were made, `None` where an answer was
/// lost; `local_port` is the main socket's port and `main_ports` its external ones.
pub(super) fn ports(
    samples: &[Option<u16>],
    local_port: Option<u16>,
    main_ports: &[u16],
) -> Option<PortPolicy> {
    if let Some(local) = local_port
        && !main_ports.is_empty()
        && main_ports.iter().all(|port| *port == local)
    {
        return Some(PortPolicy::Preserved);
    }
    let known: Vec<(i32, i32)> = samples
        .iter()
        .enumerate()
        .filter_map(|(place, port)| Some((i32::try_from(place).ok()?, i32::from((*port)?))))
        .collect();
    // Three gaps that are small and of one sign are chance once in 10^11 runs; fewer samples decide nothing.
    if known.len() < 4 {
        return None;
    }
    if let Some(step) = step(&known) {
        return Some(PortPolicy::Sequential { step });
    }
    let drawn: Vec<i32> = known.iter().map(|(_, port)| *port).collect();
    // The main socket's ports are of the same block, unless the NAT has begun another one since they were made.
    let with_main: Vec<i32> =
        drawn.iter().copied().chain(main_ports.iter().map(|port| i32::from(*port))).collect();
    Some(block(&with_main).or_else(|| block(&drawn)).unwrap_or(PortPolicy::Random))
}

/// The step of a NAT that counts, if it does: every gap small, and all in one direction.
fn step(known: &[(i32, i32)]) -> Option<i8> {
    let mut steps = Vec::with_capacity(known.len());
    for pair in known.windows(2) {
        let [(place, port), (next_place, next_port)] = pair else { continue };
        let distance = next_place - place;
        let gap = next_port - port;
        if gap == 0 || gap.abs() > STEP_MAX * distance {
            return None;
        }
        steps.push(if gap % distance == 0 {
            gap / distance
        } else {
            gap.signum() * (gap.abs() / distance + 1)
        });
    }
    let upwards = steps.iter().all(|step| *step > 0);
    let downwards = steps.iter().all(|step| *step < 0);
    if !upwards && !downwards {
        return None;
    }
    // The middle one: a port that another host took makes one gap larger, not most.
    steps.sort_unstable();
    steps.get(steps.len() / 2).and_then(|step| i8::try_from(*step).ok())
}

/// The block that all ports seem to come from, if they lie close together.
fn block(known: &[i32]) -> Option<PortPolicy> {
    let low = *known.iter().min()?;
    let high = *known.iter().max()?;
    let spread = u32::try_from(high - low).ok()?;
    if spread >= BLOCK_SPREAD_MAX {
        return None;
    }
    // Carriers mostly cut their blocks at multiples of a power of two. If the ports fill more than half of the smallest such
    // block around them, that is it: of 16 drawn from a larger one, all lie in one half once in 30,000 times.
    let aligned = (low ^ high).checked_ilog2().map_or(1, |bit| 1_i32 << (bit + 1));
    let (low, high) = if (high - low) * 2 >= aligned {
        let start = low / aligned * aligned;
        (start, start + aligned - 1)
    } else {
        // The ends of another block were hardly drawn: widen by two mean gaps.
        let gap = (high - low) / i32::try_from(known.len()).ok()?;
        (low - 2 * gap, high + 2 * gap)
    };
    let port = |port: i32| u16::try_from(port.clamp(1, u16::MAX.into())).ok();
    Some(PortPolicy::Block { low: port(low)?, high: port(high)? })
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use core::net::Ipv4Addr;

    use super::*;
    use crate::rng::Rng;

    const US: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

    #[test]
    fn one_external_port_for_every_destination_is_endpoint_independent() {
        assert_eq!(mapping(&grid([4000, 4000, 4000, 4000]), &[]), Some(Mapping::EndpointIndependent));
    }

    #[test]
    fn an_external_address_that_is_ours_is_no_translation() {
        let local = [SocketAddr::from((US, 4000))];
        assert_eq!(mapping(&grid([4000, 4000, 4000, 4000]), &local), Some(Mapping::None));
        assert_eq!(mapping(&grid([4000, 0, 0, 0]), &local), Some(Mapping::None), "even from one answer");
    }

    #[test]
    fn a_port_per_address_is_address_dependent() {
        assert_eq!(mapping(&grid([4000, 4000, 5000, 5000]), &[]), Some(Mapping::AddressDependent));
        assert_eq!(mapping(&grid([4000, 4000, 5000, 0]), &[]), Some(Mapping::AddressDependent));
    }

    #[test]
    fn a_port_per_destination_is_address_and_port_dependent() {
        assert_eq!(mapping(&grid([4000, 4001, 4002, 4003]), &[]), Some(Mapping::AddressAndPortDependent));
        assert_eq!(
            mapping(&grid([4000, 4001, 0, 0]), &[]),
            Some(Mapping::AddressAndPortDependent),
            "one address with two ports suffices"
        );
    }

    #[test]
    fn without_a_second_port_the_stricter_mapping_is_named() {
        assert_eq!(mapping(&grid([4000, 0, 5000, 0]), &[]), Some(Mapping::AddressAndPortDependent));
    }

    #[test]
    fn one_answer_or_none_says_nothing_about_the_mapping() {
        assert_eq!(mapping(&grid([4000, 0, 0, 0]), &[]), None);
        assert_eq!(mapping(&grid([0, 0, 0, 0]), &[]), None);
    }

    #[test]
    fn filtering_follows_from_who_was_heard() {
        let able = Heard { port_can: true, ..Heard::default() };
        assert_eq!(filtering(Heard { address_did: true, ..able }), Some(Filtering::EndpointIndependent));
        assert_eq!(filtering(Heard { port_did: true, ..able }), Some(Filtering::AddressDependent));
        assert_eq!(filtering(able), Some(Filtering::AddressAndPortDependent));
        assert_eq!(filtering(Heard::default()), None, "a server that cannot change says nothing");
    }

    #[test]
    fn a_counting_nat_is_sequential_even_with_gaps_and_lost_answers() {
        let samples = [Some(100), Some(101), None, Some(103), Some(106), Some(107)];
        assert_eq!(ports(&samples, Some(9), &[98, 99]), Some(PortPolicy::Sequential { step: 1 }));
        let downwards = [Some(500), Some(498), Some(496), Some(494)];
        assert_eq!(ports(&downwards, Some(9), &[502]), Some(PortPolicy::Sequential { step: -2 }));
    }

    #[test]
    fn close_ports_in_no_order_are_a_block_that_holds_them() {
        let samples: Vec<_> = [40_990, 41_800, 41_100, 42_000, 41_400].map(Some).into();
        let Some(PortPolicy::Block { low, high }) = ports(&samples, Some(9), &[]) else { panic!("no block") };
        assert!(low <= 40_990 && high >= 42_000 && high - low < 8_192, "{low}..={high}");
    }

    #[test]
    fn a_block_holds_the_main_sockets_ports_too_unless_they_are_of_another() {
        let samples: Vec<_> = [20_300, 21_900, 20_700, 22_000, 21_100].map(Some).into();
        let holds = |main: &[u16], port: u16| match ports(&samples, Some(9), main) {
            Some(PortPolicy::Block { low, high }) => (low..=high).contains(&port) && high - low < 8_192,
            other => panic!("{other:?}"),
        };
        assert!(holds(&[20_001, 21_000], 20_001));
        assert!(holds(&[23_900], 23_900));
        assert!(!holds(&[60_000], 60_000));
    }

    #[test]
    fn a_block_that_begins_at_a_multiple_of_its_size_is_found_as_it_is() {
        for size in [512, 1_024, 2_048, 4_096, 16_384] {
            let exact = drawn(3 * size, size)
                .filter(|found| *found == PortPolicy::Block { low: 3 * size, high: 3 * size + (size - 1) });
            assert!(exact.count() >= 995, "of 1,000 blocks of {size}");
        }
    }

    #[test]
    fn of_any_other_block_most_is_found_and_little_besides() {
        for (low, size) in [(20_100, 1_024), (59_426, 2_048), (32_000, 2_000), (1_024, 700), (65_000, 535)] {
            let parts = drawn(low, size).map(|found| {
                let PortPolicy::Block { low: from, high: to } = found else { panic!("{found}") };
                assert!(to - from < 2 * size, "{from} to {to} for {size} from {low}");
                (to.min(low + (size - 1)) + 1).saturating_sub(from.max(low))
            });
            let good = parts.filter(|part| u32::from(*part) * 10 >= u32::from(size) * 7).count();
            assert!(good >= 990, "{good} of 1,000 blocks of {size} from {low}");
        }
    }

    #[test]
    fn ports_all_over_the_place_are_random() {
        let samples = vec![Some(1_024), Some(60_000), Some(20_000), Some(44_000)];
        assert_eq!(ports(&samples, Some(9), &[]), Some(PortPolicy::Random));
    }

    #[test]
    fn the_own_port_on_another_address_is_preserved() {
        assert_eq!(ports(&[], Some(4000), &[4000, 4000]), Some(PortPolicy::Preserved));
        assert_eq!(ports(&[Some(1), Some(2)], Some(4000), &[1, 2]), None, "too few samples");
    }

    /// What comes of 16 ports drawn from a block, a thousand times.
    fn drawn(low: u16, size: u16) -> impl Iterator<Item = PortPolicy> {
        let mut rng = Rng::from_seed([5; 32]);
        (0..1_000).map(move |_| {
            let mut port = || low + u16::try_from(rng.below(size.into())).unwrap();
            let samples: Vec<_> = (0..16).map(|_| Some(port())).collect();
            ports(&samples, Some(9), &[]).unwrap()
        })
    }

    fn grid(ports: [u16; 4]) -> Grid {
        let at = |port| (port != 0).then(|| SocketAddr::from((US, port)));
        [[at(ports[0]), at(ports[1])], [at(ports[2]), at(ports[3])]]
    }
}
