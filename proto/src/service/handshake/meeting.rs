//! At which relay two ends are to meet: where the sum of their round trips is the least.
//!
//! Each end says how far every relay is that answers it, first the one where the pair meets until now. A pair moves for a
//! gain that somebody would notice, and not to and fro between relays that are alike. Whoever lies about its distances
//! has its own pairs relayed by a detour.

use lanyard_wire::handshake::RelayDistance;
use lanyard_wire::ids::{DeviceId, RelayTag};

use super::attempt::End;

/// Least gain, in milliseconds, for which a pair moves: below it lies what queues and Wi-Fi add.
const GAIN_MS: u32 = 10;

/// The same, as a part of the way that it has now: a fifth.
const GAIN_PART: u32 = 5;

/// The relay for both; `None` where they measured none in common.
pub(super) fn choose(devices: [DeviceId; 2], ends: &[End; 2]) -> Option<RelayTag> {
    let [a, b] = [&ends[0].relays, &ends[1].relays];
    let sum = |relay| Some(u32::from(rtt_of(a, relay)?) + u32::from(rtt_of(b, relay)?));
    let common = || a.iter().filter_map(|distance| Some((sum(distance.relay)?, distance.relay)));
    // Of relays that are equally far each pair takes another one.
    let [x, y] = devices.map(|device| device.as_bytes().first_chunk().copied().map_or(0, u32::from_be_bytes));
    let (least, best) = common().min_by_key(|(sum, relay)| (*sum, relay.value() ^ x ^ y))?;
    let first = |end: &[RelayDistance]| end.first().and_then(|first| Some((sum(first.relay)?, first.relay)));
    let Some((now, kept)) = first(a).or_else(|| first(b)) else { return Some(best) };
    let is_gain = now.saturating_sub(least) >= GAIN_MS.max(now / GAIN_PART);
    Some(if is_gain { best } else { kept })
}

fn rtt_of(distances: &[RelayDistance], relay: RelayTag) -> Option<u16> {
    distances.iter().find(|distance| distance.relay == relay).map(|distance| distance.rtt_ms)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::fixture::{devices, easy, end};
    use super::*;

    const NEAR: RelayTag = RelayTag::new(1);
    const MIDDLE: RelayTag = RelayTag::new(2);
    const FAR: RelayTag = RelayTag::new(3);

    #[test]
    fn the_sum_of_both_round_trips_decides() {
        let ends = ends([(NEAR, 10), (MIDDLE, 60), (FAR, 200)], [(FAR, 10), (NEAR, 180), (MIDDLE, 60)]);
        assert_eq!(choose(devices(), &ends), Some(MIDDLE));
        let [a, b] = ends;
        assert_eq!(choose(devices(), &[b, a]), Some(MIDDLE));
    }

    #[test]
    fn a_relay_that_only_one_end_reaches_is_none_for_both() {
        assert_eq!(choose(devices(), &ends([(NEAR, 1), (FAR, 300)], [(FAR, 300)])), Some(FAR));
        assert_eq!(choose(devices(), &ends([(NEAR, 1)], [(FAR, 1)])), None);
        assert_eq!(choose(devices(), &ends([], [])), None);
    }

    #[test]
    fn a_pair_does_not_move_for_less_than_a_fifth_or_ten_milliseconds() {
        let from_to = |now: u16, other: u16| {
            choose(devices(), &ends([(NEAR, now), (FAR, other)], [(NEAR, 0), (FAR, 0)])).unwrap()
        };
        assert_eq!([from_to(12, 3), from_to(13, 3)], [NEAR, FAR]);
        assert_eq!([from_to(200, 161), from_to(200, 160)], [NEAR, FAR]);
    }

    #[test]
    fn where_the_ends_are_not_at_the_same_relay_yet_the_first_ones_counts() {
        assert_eq!(choose(devices(), &ends([(NEAR, 5), (FAR, 5)], [(FAR, 5), (NEAR, 5)])), Some(NEAR));
        assert_eq!(
            choose(devices(), &ends([(MIDDLE, 5), (NEAR, 5), (FAR, 5)], [(FAR, 5), (NEAR, 5)])),
            Some(FAR)
        );
    }

    #[test]
    fn relays_that_are_equally_far_are_shared_by_pairs_that_have_to_move() {
        let ends = ends([(FAR, 900), (NEAR, 5), (MIDDLE, 5)], [(NEAR, 5), (MIDDLE, 5), (FAR, 900)]);
        let pair = |number: u8| [DeviceId::from_bytes([0; 16]), DeviceId::from_bytes([number; 16])];
        let chosen = |relay| (0..100).filter(|number| choose(pair(*number), &ends) == Some(relay)).count();
        assert_eq!((chosen(NEAR), chosen(MIDDLE)), (50, 50));
    }

    fn ends<const A: usize, const B: usize>(a: [(RelayTag, u16); A], b: [(RelayTag, u16); B]) -> [End; 2] {
        let list = |list: &[(RelayTag, u16)]| -> Vec<RelayDistance> {
            list.iter().map(|(relay, rtt_ms)| RelayDistance { relay: *relay, rtt_ms: *rtt_ms }).collect()
        };
        let mut ends = [end(easy(), 0), end(easy(), 0)];
        (ends[0].relays, ends[1].relays) = (list(&a), list(&b));
        ends
    }
}
